"""What may leave the room of a curve: ROC points and calibration groups, coarsened until counts are hidden.

As for rows (counts.py), the attacker knows this file and the exact numbers of people and of events, and a table
that would have been printed at a finer level is none of the 5 that must fit.

ROC: a table is one pass's true positives at every false positive rate of the grid; at least 5 of them fit the curve as
a whole, and at least 2 counts fit each point. The rule is joint since a point is a mean over at least 10 passes, which
no single count need have been.

A row's matrix lies on its own curve. Who knows that all passes gave the same scores looks at both at once: where fewer
than 5 of the row's matrices lie on a curve that would be printed so, the curve goes and the row stays.

Calibration: a table is the events of every group, for an attacker who knows the groups' sizes too; at least 5 fit.
Steps of 5, 10 and 20 % are tried, then fewer groups, then nothing is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from analytics.disclosure.counts import (
    CANDIDATES_NEEDED,
    SMALLEST_COUNT,
    Counts,
    Whole,
    percent,
    share,
)

CURVE_STEPS = (5, 10, 20)
# A step of a ROC but the last is tried where it holds 1.5 counts, and enough for about 10 tables over all points of the
# grid: a step that hardly a curve passes would only spoil the next one.
LEAST_COUNTS = 1.5
LEAST_TABLES = 10
# More tables than this are not listed: what does not fit the finest level is then withheld.
MOST_TABLES = 300_000
Sizes = Sequence[tuple[int, int]]
Runs = tuple[tuple[int, ...], ...]


def roc_grid(
    probabilities: NDArray[np.float64], event: Whole, sizes: Sizes, matrices: Whole | None = None
) -> list[tuple[int, int]]:
    """(false positive rate, true positive rate) in percent at a grid of false positive rates; [] when withheld.

    chances: (repeats, n). sizes: possible_sizes. matrices: of the row beside it (list_candidates). Vertical averages
    over the repeats (Fawcett 2006, Pattern Recognit Lett 27:861). A step of the grid holds at least 10 people without
    the event at every possible size; true positive rates are rounded until at least 5 counts of the possible sizes fit
    each, and 5 tables of the exact size fit all.
    """
    negatives = min((people - events for people, events in sizes), default=0)
    wide = next(
        (step for step in (10, 20, 25, 50) if step * negatives >= 100 * SMALLEST_COUNT), None
    )
    if wide is None:
        return []
    grid = np.arange(wide, 100, wide)
    curves = [np.interp(grid / 100, *roc_curve(event, one)[:2]) for one in probabilities]
    drawn = _round_rates(np.mean(curves, axis=0), int(event.sum()), {events for _, events in sizes})
    if drawn is None or (matrices is not None and not _hides_row(drawn, grid, matrices)):
        return []
    return [(0, 0), *zip(map(int, grid), drawn.shown, strict=True), (100, 100)]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A curve as it is printed. shown: percents, at each point of the grid; told: (events + 1,) what each count prints;
    finer: of each finer step that was tried, (events + 1,) whether a count prints there as something that is printed.
    """

    shown: list[int]
    told: Whole
    finer: list[NDArray[np.bool_]]


def _round_rates(rates: NDArray[np.float64], events: int, possible: set[int]) -> _Drawn | None:
    """The rates of a curve at the finest step that hides them; None where there is none.

    events: exact; possible: what an outsider takes them for, so that the steps that are tried tell no more.
    """
    finer: list[NDArray[np.bool_]] = []
    for step in CURVE_STEPS:
        counts = step * min(possible) / 100
        if step < CURVE_STEPS[-1] and (
            counts < LEAST_COUNTS or counts ** len(rates) < LEAST_TABLES
        ):
            continue
        told = _percents_of(events, step)
        drawn = _Drawn([percent(float(rate), step) for rate in rates], told, finer)
        common = [
            value
            for value in range(0, 101, step)
            if _rates_that_fit(value, step, possible) >= CANDIDATES_NEEDED
            and (told == value).sum() > 1
        ]
        if set(drawn.shown) <= set(common) and _curves_that_fit(drawn) >= CANDIDATES_NEEDED:
            return drawn
        finer = [*finer, np.isin(told, common)]
    return None


def _hides_row(drawn: _Drawn, grid: Whole, matrices: Whole) -> bool:
    """Whether at least 5 of a row's matrices (4, n) lie on a curve that is printed as this one."""
    found = 0
    for tp, fp, fn, tn in matrices.T.tolist():
        before = int(
            np.searchsorted(grid * (fp + tn), 100 * fp)
        )  # points of the grid left of the matrix
        every = np.arange(tp + fn + 1)
        allowed = [every <= tp] * before + [every >= tp] * (len(grid) - before)
        found += _curves_that_fit(drawn, allowed) > 0
        if found >= CANDIDATES_NEEDED:
            return True
    return False


def calibration_groups(
    probabilities: NDArray[np.float64], event: Whole, counts: Counts
) -> tuple[int, list[tuple[int, int]]] | None:
    """(step, [(mean predicted in steps of 5 %, observed in steps of `step` %), ...]) by groups of rising predicted
    chance; None when withheld.

    Groups begin as fifths of the people and are merged until each holds at least 10 people of both outcomes; one
    group alone says nothing.
    """
    if counts.events is None:
        return None
    predicted = probabilities.mean(axis=0)
    fifths = np.array_split(np.argsort(predicted, kind="stable"), 5)
    events, people = [int(event[fifth].sum()) for fifth in fifths], [len(fifth) for fifth in fifths]
    runs, step = _choose_groups(events, people)
    if not runs:
        return None
    groups = [np.concatenate([fifths[at] for at in run]) for run in runs]
    return step, [
        (percent(float(predicted[g].mean()), 5), share(int(event[g].sum()), len(g), step))
        for g in groups
    ]


def _choose_groups(events: Sequence[int], people: Sequence[int]) -> tuple[Runs, int]:
    """(fifths of each group, step) at the finest level that 5 tables share; no groups where there is none.

    events, people: of each fifth.
    """
    runs = _form_groups(events, people)
    if len(runs) < 2:
        return (), 0
    sizes, truth = _sums(people, runs), _sums(events, runs)
    totals = [_totals([people[at] for at in run], run == runs[-1]) for run in runs]
    step = CURVE_STEPS[0]
    alike = [
        total * (_percents_of(size, step) == share(true, size, step))
        for total, size, true in zip(totals, sizes, truth, strict=True)
    ]
    if _ways(alike, sum(events)) >= CANDIDATES_NEEDED:
        return runs, step
    # Only small cohorts come here, or a curve of which every group lies at the end of its step.
    if _ways(totals, sum(events)) > MOST_TABLES:
        return (), 0
    left = _tables(totals, sum(events))
    for joined, step in (
        (joined, step) for joined in _fewer(len(runs), sizes) for step in CURVE_STEPS
    ):
        wide = _sums(sizes, joined)
        told = np.stack([left[:, list(run)].sum(axis=1) for run in joined], axis=1)
        printed = np.stack(
            [_percents_of(n, step)[one] for n, one in zip(wide, told.T, strict=True)], axis=1
        )
        good = _shared(told, printed)
        if good[(left == truth).all(axis=1)].any():
            return tuple(tuple(at for group in run for at in runs[group]) for run in joined), step
        left = left[~good]
    return (), 0


def _form_groups(events: Sequence[int], people: Sequence[int]) -> Runs:
    """Fifths joined until each group has 10 people of both outcomes; the last ones join the group before."""
    runs: list[tuple[int, ...]] = []
    for at in range(len(people)):
        if runs and _is_small(_sums(events, runs[-1:])[0], _sums(people, runs[-1:])[0]):
            runs[-1] = (*runs[-1], at)
        else:
            runs.append((at,))
    if len(runs) > 1 and _is_small(_sums(events, runs[-1:])[0], _sums(people, runs[-1:])[0]):
        runs[-2:] = [runs[-2] + runs[-1]]
    return tuple(runs)


def _fewer(groups: int, sizes: Sequence[int]) -> Iterator[Runs]:
    """The groups, then one fewer at a time down to two, by joining the two neighbours that are smallest together."""
    runs: list[tuple[int, ...]] = [(at,) for at in range(groups)]
    while len(runs) > 1:
        yield tuple(runs)
        wide = _sums(sizes, runs)
        at = min(range(len(runs) - 1), key=lambda at: wide[at] + wide[at + 1])
        runs[at : at + 2] = [runs[at] + runs[at + 1]]


def _shared(told: Whole, printed: Whole) -> NDArray[np.bool_]:
    """Of each row of `told`, whether at least 5 different ones print as it does."""
    _, first, back = np.unique(told, axis=0, return_index=True, return_inverse=True)
    _, which, found = np.unique(printed[first], axis=0, return_inverse=True, return_counts=True)
    good: NDArray[np.bool_] = found[which.ravel()][back.ravel()] >= CANDIDATES_NEEDED
    return good


def _tables(totals: Sequence[NDArray[np.float64]], events: int) -> Whole:
    """(tables, groups): every way to spread `events` over the groups; totals: of each group, which it can have."""
    tables = np.zeros((1, 0), np.int64)
    for at, total in enumerate(totals):
        values = np.flatnonzero(total)
        tables = np.column_stack([tables.repeat(len(values), axis=0), np.tile(values, len(tables))])
        following = [np.flatnonzero(one) for one in totals[at + 1 :]]
        rest = events - tables.sum(axis=1)
        fits = (rest >= sum(one[0] for one in following)) & (
            rest <= sum(one[-1] for one in following)
        )
        tables = tables[fits]
    return tables


def _totals(sizes: Sequence[int], last: bool) -> NDArray[np.float64]:
    """By number of events, 1 where a group made of these fifths can have it, as _form_groups makes groups; else 0."""
    found = np.zeros(sum(sizes) + 1)
    for at in range(len(sizes)) if last else (len(sizes) - 1,):
        reached = np.convolve(_too_small(sizes[:at]), np.ones(sizes[at] + 1)) > 0
        full = reached & ~_is_small(np.arange(len(reached)), len(reached) - 1)
        found += np.convolve(full, _too_small(sizes[at + 1 :]))
    return np.minimum(found, 1)


def _too_small(sizes: Sequence[int]) -> NDArray[np.float64]:
    """By number of events, 1 where fifths of these sizes can be too small each time that one more joins them."""
    reached = np.ones(1)
    for size in sizes:
        reached = np.minimum(np.convolve(reached, np.ones(size + 1)), 1)
        reached = reached * _is_small(np.arange(len(reached)), len(reached) - 1)
    return reached


def _ways(totals: Sequence[NDArray[np.float64]], events: int) -> float:
    """In how many ways the groups' totals add up to `events`."""
    ways = np.ones(1)
    for total in totals:
        ways = np.convolve(ways, total)
    return float(np.rint(ways[events]))


def _curves_that_fit(drawn: _Drawn, allowed: Sequence[NDArray[np.bool_]] | None = None) -> int:
    """Rising true positives at the points of a grid that print as drawn and surely at none of the finer steps.

    allowed: of each point, (events + 1,) whether a count may be. A curve of which one point does not was surely not
    printed so.
    """
    found = 0
    for chosen in range(2 ** len(drawn.finer)):
        struck = [one for at, one in enumerate(drawn.finer) if chosen >> at & 1]
        # Python's whole numbers, which do not run over.
        ways = np.ones(len(drawn.told), object)
        for at, value in enumerate(drawn.shown):
            fits = np.logical_and.reduce(
                [drawn.told == value, *struck, *(allowed[at : at + 1] if allowed else ())]
            )
            ways = np.cumsum(np.where(fits, ways, 0), dtype=object)
        found += (-1) ** len(struck) * int(ways[-1])
    return found


def _percents_of(whole: int, step: int) -> Whole:
    """(whole + 1,) share(part, whole, step) of every part."""
    return step * ((200 * np.arange(whole + 1) + step * whole) // (2 * step * whole))


def _rates_that_fit(shown: int, step: int, events: set[int]) -> int:
    """(events, true positives) whose rate prints as `shown`."""
    return sum(int((_percents_of(n, step) == shown).sum()) for n in events)


def _sums(values: Sequence[int], runs: Sequence[tuple[int, ...]]) -> list[int]:
    return [sum(values[at] for at in run) for run in runs]


def _is_small(events: Whole | int, people: int) -> NDArray[np.bool_]:
    return np.minimum(events, people - events) < SMALLEST_COUNT
