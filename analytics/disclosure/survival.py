"""Disclosure control for survival curves, strata and calibration at the horizon.

As for rows (counts.py), the attacker knows this file and the exact number of people. A table is how
many had the event, and how many were still at risk, at each printed time. A curve is printed at the
finest step (1, 2, 5, 10 %) that holds 5 people, if at least 5 tables of events, and 5 of people at
risk, print exactly the same: the true one, and those in which one or two people had the event, were
censored or reached the horizon at another time. Else at the next step, where a table that would have
been printed at the finer one does not count; else it is withheld. Each curve is judged alone, as
rows are.

Times are multiples of a tenth of the horizon, the same for every stratum. A time is left out until
at least 10 people had the event or were censored since the one before, and none is printed with
fewer than 10 at risk, or where nobody or everybody would be without the event. Where fewer than 10
were censored so far, neither they nor the number at risk is printed, which would give them back.

A stratum with fewer than 10 people, events or others is withheld; so that it does not follow from
the others and all, at least two are then withheld, with 10 people and 10 events together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product

import numpy as np

from analytics.disclosure.counts import CANDIDATES_NEEDED, Integers, percent
from analytics.disclosure.curves import CURVE_STEPS
from analytics.disclosure.rounding import SMALLEST_COUNT, round_count
from analytics.survival import Flags, Floats, kaplan_meier, log_log_interval

PARTS = 10  # of the horizon
STEPS = (1, 2, 5, 10)  # percent
LEAST_IN_STEP = 5  # people of a curve
CHUNK = 20_000  # numbers of one batch of tables
PAIRS = 3000  # of people moved together, beside each alone
MOST_FINER = 20  # tables that are shown at a finer step, after which no more are tried
# A calibration is printed in the finest step that holds so many people of its smallest group.
LEAST_IN_GROUP_STEP = 3
MOST_MOVED = 4
ALL_ALIKE = (0, 100)


@dataclass(frozen=True, slots=True)
class Lives:
    """People's follow-up, time and event (n,) as in analytics/survival.py, at most the horizon."""

    time: Floats
    event: Flags

    def __getitem__(self, at: Integers) -> Lives:
        return Lives(self.time[at], self.event[at])

    @property
    def people(self) -> int:
        return len(self.time)

    @property
    def events(self) -> int:
        return int(self.event.sum())


@dataclass(frozen=True, slots=True)
class Point:
    """One printed time of a curve. survival, low, high: percent; at_risk, censored (so far): rounded
    to 5, None where suppressed.
    """

    day: int
    survival: int
    low: int
    high: int
    at_risk: int | None
    censored: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A curve as it is printed, in steps of `step` percent. events, censored: until the horizon,
    rounded; reaches: whether the last time is the horizon.
    """

    step: int
    points: tuple[Point, ...]
    events: int | None
    censored: int | None
    reaches: bool


def list_days(horizon: int) -> Integers:
    """The times that can be printed: tenths of the horizon in overall days."""
    return np.unique([max(1, horizon * part // PARTS) for part in range(1, PARTS + 1)])


def show_curve(lives: Lives, horizon: int) -> Shown | None:
    """The curve in the finest step that holds enough people and hides its table, or in the next; None
    if both tell too much.
    """
    if min(lives.events, lives.people - lives.events) < SMALLEST_COUNT:
        return None
    days = list_days(horizon)
    steps = [step for step in STEPS if step * lives.people >= 100 * LEAST_IN_STEP][:2]
    for at, step in enumerate(steps):
        shown = _print(_tabulate(lives.time[None], lives.event[None], days), 0, step, days)
        if shown is not None and _is_hidden(lives, shown, days, steps[:at]):
            return shown
    return None


def show_strata(
    groups: Sequence[tuple[str, Integers]], lives: Lives, horizon: int, overall: Shown | None
) -> dict[str, Shown]:
    """The curves that may be printed beside that of all (`overall`), by stratum; groups: (name,
    positions of its people). One that is not returned is withheld.
    """
    if overall is None:
        return {}
    curves = {name: show_curve(lives[inside], horizon) for name, inside in groups}
    shown = {name: curve for name, curve in curves.items() if curve is not None}
    # People, with the event, and others.
    sizes = {
        name: (len(inside), lives[inside].events, len(inside) - lives[inside].events)
        for name, inside in groups
    }
    secret = curves.keys() - shown.keys()
    while shown and not _follow_from_nothing(sizes, shown, secret):
        shown.pop(min(shown, key=lambda name: sizes[name]))
    return shown


def calibration_groups(
    risk: Floats, lives: Lives, horizon: int
) -> tuple[int, list[tuple[int, int]]] | None:
    """(step, [(mean predicted risk in steps of 5 %, Kaplan-Meier risk in steps of `step` %), ...]) at
    the horizon, by groups of rising predicted risk; None when withheld.

    As many groups, from 5 down to 2, as leave in each 10 people with the event, 10 without, and 10
    at risk at the horizon. Printed if at least 5 tables of events by group, with the same sum, print
    the same.
    """
    order = np.argsort(risk, kind="stable")
    groups = next(
        (
            parts
            for parts in (np.array_split(order, count) for count in range(5, 1, -1))
            if all(_is_large(lives[part], horizon) for part in parts)
        ),
        [],
    )
    smallest = min((len(part) for part in groups), default=0)
    step = next((step for step in CURVE_STEPS if step * smallest >= 100 * LEAST_IN_GROUP_STEP), 0)
    if not step:
        return None
    seen = [_risk_of(lives[part], horizon, step) for part in groups]
    moves = [
        [by for by in _moves(lives[part]) if _moved_risk(lives[part], horizon, step, by) == value]
        for part, value in zip(groups, seen, strict=True)
    ]
    alike = sum(sum(by) == 0 for by in product(*moves))
    if alike < CANDIDATES_NEEDED or set(seen) & set(ALL_ALIKE):
        return None
    predicted = [percent(float(risk[part].mean()), 5) for part in groups]
    return step, list(zip(predicted, seen, strict=True))


def _follow_from_nothing(
    sizes: Mapping[str, tuple[int, int, int]], shown: Mapping[str, Shown], secret: Set[str]
) -> bool:
    """Whether no curve of `secret` can be told from the printed strata and all: what is withheld is
    nobody, or enough people with the event and without. Beside the largest secret there must be
    enough people in other withheld strata: an empty one, or one of two people, hides nothing of it.
    """
    withheld = [size for name, size in sizes.items() if name not in shown and size[0]]
    people, events, others = (sum(size[at] for size in withheld) for at in (0, 1, 2))
    beside_largest = people - max((sizes[name][0] for name in secret), default=0)
    return not withheld or min(events, others, beside_largest) >= SMALLEST_COUNT


@dataclass(frozen=True, slots=True)
class _Tables:
    """Of several sets of n people, at each of the days (sets, days): survival with its interval, and
    people at risk, with the event so far, censored so far.
    """

    people: int
    survival: Floats
    low: Floats
    high: Floats
    at_risk: Integers
    events: Integers
    censored: Integers


def _tabulate(time: Floats, event: Flags, days: Integers) -> _Tables:
    """time, event: (sets, n). Taken one after the other, events of one day give the same product and
    the same sum of Greenwood as taken together.
    """
    sets, people = time.shape
    order = np.lexsort((~event, time), axis=-1)
    time, event = np.take_along_axis(time, order, 1), np.take_along_axis(event, order, 1)
    left = people - np.arange(people)
    with np.errstate(divide="ignore"):
        survives = np.cumprod(np.where(event, 1 - 1 / left, 1.0), axis=1)
        variance = np.cumsum(np.where(event, 1 / (left * (left - 1.0)), 0.0), axis=1)
    first = np.zeros((sets, 1))
    until = np.stack([(time <= day).sum(axis=1) for day in days], axis=1)
    survival: Floats = np.take_along_axis(np.hstack([first + 1, survives]), until, 1)
    greenwood: Floats = np.take_along_axis(np.hstack([first, variance]), until, 1)
    low, high = log_log_interval(survival, greenwood)
    return _Tables(
        people,
        survival,
        low,
        high,
        np.stack([(time >= day).sum(axis=1) for day in days], axis=1),
        np.stack([(event & (time <= day)).sum(axis=1) for day in days], axis=1),
        np.stack([(~event & (time < day)).sum(axis=1) for day in days], axis=1),
    )


def _print(tables: _Tables, at: int, step: int, days: Integers) -> Shown | None:
    """One of the sets as a step prints it; None if no time can be printed."""
    survival, low, high = (
        [percent(float(value), step) for value in values[at]]
        for values in (tables.survival, tables.low, tables.high)
    )
    at_risk, censored = tables.at_risk[at].tolist(), tables.censored[at].tolist()
    chosen = _choose_times(tables.people, at_risk, survival)
    if not chosen:
        return None
    points = []
    for k in chosen:
        few = censored[k] < SMALLEST_COUNT
        points.append(
            Point(
                int(days[k]),
                survival[k],
                low[k],
                high[k],
                None if few else round_count(at_risk[k]),
                round_count(censored[k]),
            )
        )
    events = round_count(int(tables.events[at, -1]))
    reaches = chosen[-1] == len(days) - 1
    return Shown(step, tuple(points), events, round_count(censored[-1]), reaches)


def _choose_times(people: int, at_risk: Sequence[int], survival: Sequence[int]) -> list[int]:
    """Positions of the printed times: at least 10 people leave before each, and 10 are at risk."""
    chosen: list[int] = []
    before = people
    for k, left in enumerate(at_risk):
        if left < SMALLEST_COUNT or survival[k] in ALL_ALIKE:
            continue
        if before - left >= SMALLEST_COUNT:
            chosen.append(k)
            before = left
        elif chosen and k == len(at_risk) - 1:
            chosen[-1] = k  # few left since the last time: it is joined with the horizon
    return chosen


def _is_hidden(lives: Lives, shown: Shown, days: Integers, finer: Sequence[int] = ()) -> bool:
    """Whether enough tables print as `shown`, none of them at a finer step."""
    events, at_risk = ({table} for table in _table(lives, shown))
    finer_shown = 0
    for other in _alike(lives, shown, days):
        table = _table(other, shown)
        if table[0] in events and table[1] in at_risk:
            continue
        if any(_is_shown(other, step, days) for step in finer):
            finer_shown += 1
            if finer_shown > MOST_FINER:
                break
            continue
        events.add(table[0])
        at_risk.add(table[1])
        if min(len(events), len(at_risk)) >= CANDIDATES_NEEDED:
            return True
    return False


def _is_shown(lives: Lives, step: int, days: Integers) -> bool:
    """Whether people are printed at this step, the first that is tried."""
    shown = _print(_tabulate(lives.time[None], lives.event[None], days), 0, step, days)
    return shown is not None and _is_hidden(lives, shown, days)


def _alike(lives: Lives, shown: Shown, days: Integers) -> Iterator[Lives]:
    """What else may have happened with the same print."""
    chosen = np.searchsorted(days, [point.day for point in shown.points])
    truth = _tabulate(lives.time[None], lives.event[None], days)
    for time, event in _neighbours(lives, days):
        tables = _tabulate(time, event, days)
        for at in np.flatnonzero(_rounds_to(tables, truth, chosen, shown.step)):
            if _print(tables, int(at), shown.step, days) == shown:
                yield Lives(time[at], event[at])


def _table(lives: Lives, shown: Shown) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(with the event so far, at risk) at each printed time."""
    days = [point.day for point in shown.points]
    events = np.searchsorted(np.sort(lives.time[lives.event]), days, "right")
    at_risk = lives.people - np.searchsorted(np.sort(lives.time), days, "left")
    return tuple(events.tolist()), tuple(at_risk.tolist())


def _rounds_to(tables: _Tables, truth: _Tables, chosen: Integers, step: int) -> Flags:
    """(sets,) whether percents at the chosen times round as in the truth: a quick necessary test."""
    same = np.ones(len(tables.survival), np.bool_)
    for ours, theirs in (
        (tables.survival, truth.survival),
        (tables.low, truth.low),
        (tables.high, truth.high),
    ):
        ours, theirs = (np.floor(100 * x[:, chosen] / step + 0.5) for x in (ours, theirs))
        same &= (ours == theirs).all(axis=1)
    return same


def _neighbours(lives: Lives, days: Integers) -> Iterator[tuple[Floats, Flags]]:
    """Batches (sets, n) of what else may have happened: one person of a kind (the event or censored in
    a tenth of the horizon, or neither until then) is of another kind, or two are.
    """
    part, parts = np.searchsorted(days, lives.time, "left"), len(days)
    kinds = np.where(lives.event, part, np.where(lives.time < days[-1], parts + part, 2 * parts))
    middle = (np.append(0, days[:-1]) + days) / 2
    times = np.concatenate([middle, middle, days[-1:]])
    moves = []
    for kind in np.unique(kinds):
        inside = np.flatnonzero(kinds == kind)
        person = inside[np.argsort(lives.time[inside], kind="stable")[len(inside) // 2]]
        moves += [(person, to, kind) for to in range(2 * parts + 1) if to != kind]
    draw = np.random.default_rng(0)
    alone = draw.permutation(np.array(moves))
    # Two small changes can make up for each other. Whoever moves twice is where the second puts her.
    reached = np.maximum(alone[:, 1], alone[:, 2]) == 2 * parts
    near = alone[reached | (np.abs(alone[:, 1] % parts - alone[:, 2] % parts) <= 1)]
    pairs = near[draw.integers(0, len(near), (PAIRS, 2))]
    size = max(1, CHUNK // lives.people)
    for several in (alone[:, None].repeat(2, axis=1), pairs):
        for begin in range(0, len(several), size):
            chunk = several[begin : begin + size]
            rows = np.arange(len(chunk))
            time = np.tile(lives.time, (len(chunk), 1))
            event = np.tile(lives.event, (len(chunk), 1))
            for at in (0, 1):
                person, to = chunk[:, at, 0], chunk[:, at, 1]
                time[rows, person], event[rows, person] = times[to], to < parts
            yield time, event


def _is_large(lives: Lives, horizon: int) -> bool:
    reached = int((lives.time >= horizon).sum())
    return min(lives.events, lives.people - lives.events, reached) >= SMALLEST_COUNT


def _risk_of(lives: Lives, horizon: int, step: int) -> int:
    return percent(1 - kaplan_meier(lives.time, lives.event).at(horizon)[0], step)


def _moves(lives: Lives) -> range:
    """By how many the events of a group may differ, as long as the group stays large."""
    fewer = min(MOST_MOVED, lives.events - SMALLEST_COUNT)
    return range(-fewer, min(MOST_MOVED, lives.people - lives.events - SMALLEST_COUNT) + 1)


def _moved_risk(lives: Lives, horizon: int, step: int, by: int) -> int:
    """The risk with `by` events more, of people who reached the horizon, or fewer."""
    time, event = lives.time.copy(), lives.event.copy()
    if by < 0:
        fewer = np.flatnonzero(event)[:-by]
        time[fewer], event[fewer] = horizon, False
    else:
        more = np.flatnonzero(~event & (time >= horizon))[:by]
        time[more], event[more] = horizon / 2, True
    return _risk_of(Lives(time, event), horizon, step)
