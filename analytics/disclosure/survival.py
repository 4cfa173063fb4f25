"""Disclosure control for survival curves, strata and calibration at the horizon.

A curve is a life table (Cutler & Ederer 1958) of perturbed cells (noise.py): how many people have
the event in each part of the horizon, how many are censored in it, how many are followed to its
end, how many have the event at all, and all. One person is in at most three of them, wherever her
time ends: perturbed numbers at risk would each be another look at whether she is still followed.
The numbers that are printed are those not below zero that fit the cells best (least squares). The
parts are tenths of the horizon, or fifths with fewer than MANY people, the same for every stratum.
So a curve tells no more than its cells do, and neither do risk and median, which are read off it.
The interval counts the noise.

A time is left out until at least 10 people had the event or were censored since the one before, and
none is printed with fewer than 10 at risk, or where nobody or everybody would be without the event.
A stratum with fewer than 10 people, events or others is withheld. Ten are needed by the perturbed
number alone: by an exact one, that a curve is printed would tell who is the tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from analytics.disclosure.counts import Integers, inner_percent, percent
from analytics.disclosure.curves import MOST_GROUPS, curve_step, mean_predicted
from analytics.disclosure.noise import EVENT, PERSON, SPREAD, Noise
from analytics.disclosure.rounding import SMALLEST_COUNT, round_count
from analytics.survival import Flags, Floats, log_log_interval

PARTS, FEW_PARTS = 10, 5  # of the horizon
MANY = 500  # people
STEPS = (1, 2, 5, 10)  # percent
LEAST_IN_STEP = 5  # people of a curve
LEAST_PEOPLE = 50
ALL_ALIKE = (0, 100)


@dataclass(frozen=True, slots=True)
class Lives:
    """People's follow-up, time and event (n,) as in analytics/survival.py, at most the horizon;
    ids: (n,) who they are.
    """

    time: Floats
    event: Flags
    ids: Sequence[str]

    def __getitem__(self, at: Integers) -> Lives:
        return Lives(self.time[at], self.event[at], [self.ids[k] for k in at.tolist()])

    @property
    def people(self) -> int:
        return len(self.time)

    def who(self, inside: Flags) -> list[str]:
        """The ids of those for whom `inside` (n,) is true."""
        return [self.ids[at] for at in np.flatnonzero(inside).tolist()]


@dataclass(frozen=True, slots=True)
class Point:
    """One printed time of a curve. survival, low, high: percent; at_risk, censored (so far):
    rounded to 5, None where suppressed.
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


@dataclass(frozen=True, slots=True)
class _Table:
    """Numbers that follow from perturbed cells. people, events: of all, as perturbed; by_part,
    censored: (parts,) with the event in each part, and censored in it; reached: followed to the
    end. These fit each other.
    """

    people: int
    events: int
    by_part: Floats
    censored: Floats
    reached: float

    @property
    def at_risk(self) -> Floats:
        """(parts,) still at risk at the end of each part."""
        leaving = self.by_part + self.censored
        after: Floats = self.reached + leaving.sum() - np.cumsum(leaving)
        return after

    @property
    def large(self) -> bool:
        """Whether 10 have the event, and 10 have not."""
        return min(self.events, self.people - self.events) >= SMALLEST_COUNT


def list_days(horizon: int, people: int = MANY) -> Integers:
    """The times that can be printed: the ends of the parts of the horizon in overall days."""
    parts = PARTS if people >= MANY else FEW_PARTS
    return np.unique([max(1, horizon * part // parts) for part in range(1, parts + 1)])


def show_curve(noise: Noise, lives: Lives, horizon: int) -> Shown | None:
    """The curve of the perturbed cells; None with too few people, events or others."""
    people = noise.count(PERSON, lives.ids)
    days = list_days(horizon, people)
    table = _tabulate(noise, lives, days, people)
    step = next((step for step in STEPS if step * people >= 100 * LEAST_IN_STEP), None)
    if not table.large or people < LEAST_PEOPLE or step is None:
        return None
    return _print(table, days, step)


def show_strata(
    noise: Noise, groups: Sequence[tuple[str, Integers]], lives: Lives, horizon: int
) -> dict[str, Shown]:
    """The curves that may be printed, by stratum; groups: (name, positions of its people). One that
    is not returned is withheld.
    """
    curves = {name: show_curve(noise, lives[inside], horizon) for name, inside in groups}
    return {name: curve for name, curve in curves.items() if curve is not None}


def calibration_groups(
    noise: Noise, risk: Floats, lives: Lives, horizon: int
) -> tuple[int, list[tuple[int, int]]] | None:
    """(step, [(mean predicted risk in steps of 5 %, risk by the life table in steps of `step` %),
    ...]) at the horizon, by groups of rising predicted risk; None when withheld.

    As many groups, from 5 down to 2, as have each 10 people with the event, 10 without, and 10 at
    risk at the horizon.
    """
    order, total = np.argsort(risk, kind="stable"), noise.count(PERSON, lives.ids)
    for number in range(MOST_GROUPS, 1, -1):
        groups, each = np.array_split(order, number), total // number
        tables = [_tabulate(noise, lives[group], np.array([horizon]), each) for group in groups]
        step = curve_step(each)
        if step is not None and all(
            table.large and table.reached >= SMALLEST_COUNT for table in tables
        ):
            predicted = [mean_predicted(noise, risk[group], lives[group].ids) for group in groups]
            seen = [inner_percent(1 - float(_survival(table)[0][-1]), step) for table in tables]
            return step, list(zip(predicted, seen, strict=True))
    return None


def _tabulate(noise: Noise, lives: Lives, days: Integers, people: int) -> _Table:
    """The perturbed cells of a curve. people: the perturbed number, or of a group by rank its part
    of it.
    """
    part = np.searchsorted(days, lives.time, "left")
    ends = np.where(lives.event, EVENT, np.where(lives.time < days[-1], "censored", "followed"))
    events = min(people, noise.count(EVENT, lives.who(lives.event)))
    # Named, since empty parts would share one noise.
    happening, censored = (
        [
            noise.count(kind, lives.who((ends == end) & (part == at)), f"{end} in part {at}")
            for at in range(len(days))
        ]
        for kind, end in ((EVENT, EVENT), (PERSON, "censored"))
    )
    followed = noise.count(PERSON, lives.who(ends == "followed"), "followed")
    fitting, _ = nnls(_sums(len(days)), np.array([*happening, *censored, followed, events, people]))
    by_part, censored_by_part = np.split(fitting[:-1], 2)
    return _Table(people, events, by_part, censored_by_part, float(fitting[-1]))


def _sums(parts: int) -> Floats:
    """Which numbers (columns: with the event by part, censored by part, followed) each cell (rows:
    the same ones, those with the event, all) is the sum of.
    """
    numbers = 2 * parts + 1
    return np.vstack([np.eye(numbers), np.arange(numbers) < parts, np.ones(numbers)])


def _survival(table: _Table) -> tuple[Floats, Floats]:
    """(survival, variance of its logarithm), each (parts,): Greenwood's formula and the noise's, by
    the delta method.
    """
    parts = len(table.by_part)
    numbers = np.concatenate([table.by_part, table.censored, [table.reached]])
    # Exposed in a part is who enters it, less half of those who are censored in it.
    later, half = np.triu(np.ones((parts, parts))), np.eye(parts) / 2
    exposes = np.hstack([later, later - half, np.ones((parts, 1))])
    exposed = np.maximum(exposes @ numbers, 1.0)
    hazard = np.minimum(table.by_part / exposed, 1.0)
    survival: Floats = np.cumprod(1 - hazard)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood: Floats = np.cumsum(hazard / (exposed * (1 - hazard)))
        slope = np.eye(parts, len(numbers)) - hazard[:, None] * exposes
        slope = np.cumsum(slope / (exposed * (1 - hazard))[:, None], axis=0)
    sums = _sums(parts)
    spread = SPREAD**2 * np.linalg.inv(sums.T @ sums)
    noise: Floats = np.einsum("ij,jk,ik->i", slope, spread, slope)
    return survival, greenwood + noise


def _print(table: _Table, days: Integers, step: int) -> Shown | None:
    """A table as a step prints it; None if no time can be printed."""
    exact = _survival(table)
    survival, low, high = (
        [percent(float(value), step) for value in values]
        for values in (exact[0], *log_log_interval(*exact))
    )
    chosen = _choose_times(table, survival)
    if not chosen:
        return None
    censored = [round_count(round(number)) for number in np.cumsum(table.censored).tolist()]
    points = tuple(
        Point(
            int(days[k]),
            survival[k],
            low[k],
            high[k],
            round_count(round(float(table.at_risk[k]))),
            censored[k],
        )
        for k in chosen
    )
    return Shown(step, points, round_count(table.events), censored[-1], chosen[-1] == len(days) - 1)


def _choose_times(table: _Table, survival: Sequence[int]) -> list[int]:
    """Positions of the printed times: at least 10 people leave before each, and 10 are at risk."""
    chosen: list[int] = []
    before: float = table.people
    for k, left in enumerate(table.at_risk.tolist()):
        if left < SMALLEST_COUNT or survival[k] in ALL_ALIKE:
            continue
        if before - left >= SMALLEST_COUNT:
            chosen.append(k)
            before = left
        elif chosen and k == len(survival) - 1:
            chosen[-1] = k  # few left since the last time: it is joined with the horizon
    return chosen
