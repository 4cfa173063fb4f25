"""Disclosure control for curves: ROC points and calibration groups, coarsened to hide counts.

As for rows (counts.py), the attacker knows this file and the exact numbers of people and of events,
and a table that would have been printed at a finer level does not count among the 5 that must fit.

ROC: a table is one pass's true positives at every false positive rate of the grid. A curve is
printed at a step at which three rules hold. At each point, at least 5 pairs (events, true
positives) print as its rate, at the sizes that an outsider considers possible, and at least 2
counts do at the exact size. At the exact size, at least 5 tables fit the entire curve: a joint
rule, since a point is a mean over at least 10 passes, which need not equal any single count.

A row's matrix lies on its own curve. An attacker who knows that all passes gave the same scores can
combine both: if fewer than 5 of the row's matrices lie on a curve that would be printed like this,
the curve is withheld and the row stays.

Calibration: a table is the events of every group, for an attacker who also knows the groups' sizes;
at least 5 fit. Steps of 5, 10 and 20 % are tried, then fewer groups, then nothing is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from analytics.disclosure.counts import CANDIDATES_NEEDED, Counts, Integers, percent, share
from analytics.disclosure.rounding import SMALLEST_COUNT

CURVE_STEPS = (5, 10, 20)
# A ROC step other than the last is tried only if it contains 1.5 counts, and enough for about 10
# tables over all points of the grid: a step that hardly any curve passes would only reduce the
# tables left for the next one.
LEAST_COUNTS = 1.5
LEAST_TABLES = 10
# If there are more tables than this, they are not listed: a curve that fails the finest level is
# then withheld.
MOST_TABLES = 300_000
Sizes = Sequence[tuple[int, int]]
Runs = tuple[tuple[int, ...], ...]


def roc_grid(
    probabilities: NDArray[np.float64],
    event: Integers,
    sizes: Sizes,
    matrices: Integers | None = None,
) -> list[tuple[int, int]]:
    """(false positive rate, true positive rate) in percent on a grid; [] when withheld.

    probabilities: (repeats, n). sizes: possible_sizes. matrices: of the same row (list_candidates).
    Vertical averages over the repeats (Fawcett 2006, Pattern Recognit Lett 27:861). A step of the
    grid contains at least 10 people without the event at every possible size; true positive rates
    are rounded until the three rules above hold.
    """
    negatives = min((people - events for people, events in sizes), default=0)
    wide = next(
        (step for step in (10, 20, 25, 50) if step * negatives >= 100 * SMALLEST_COUNT), None
    )
    if wide is None:
        return []
    grid = np.arange(wide, 100, wide)
    curves = [np.interp(grid / 100, *roc_curve(event, scores)[:2]) for scores in probabilities]
    drawn = _round_rates(np.mean(curves, axis=0), int(event.sum()), {events for _, events in sizes})
    if drawn is None or (matrices is not None and not _hides_row(drawn, grid, matrices)):
        return []
    return [(0, 0), *zip(map(int, grid), drawn.shown, strict=True), (100, 100)]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A curve as it is printed. shown: percent at each point of the grid; printed: (events + 1,)
    the percent that each count prints; finer: for each finer step that was tried, (events + 1,)
    whether a count prints there as an allowed percent.
    """

    shown: list[int]
    printed: Integers
    finer: list[NDArray[np.bool_]]


def _round_rates(rates: NDArray[np.float64], events: int, possible: set[int]) -> _Drawn | None:
    """The rates of a curve at the finest step that hides them; None if no step does.

    events: exact; possible: the numbers that an outsider considers possible, so the tried steps
    reveal no more.
    """
    finer: list[NDArray[np.bool_]] = []
    for step in CURVE_STEPS:
        counts = step * min(possible) / 100
        if step < CURVE_STEPS[-1] and (
            counts < LEAST_COUNTS or counts ** len(rates) < LEAST_TABLES
        ):
            continue
        printed = _percents_of(events, step)
        drawn = _Drawn([percent(float(rate), step) for rate in rates], printed, finer)
        common = [
            value
            for value in range(0, 101, step)
            if _rates_that_fit(value, step, possible) >= CANDIDATES_NEEDED
            and (printed == value).sum() > 1
        ]
        if set(drawn.shown) <= set(common) and _curves_that_fit(drawn) >= CANDIDATES_NEEDED:
            return drawn
        finer = [*finer, np.isin(printed, common)]
    return None


def _hides_row(drawn: _Drawn, grid: Integers, matrices: Integers) -> bool:
    """Whether at least 5 of a row's matrices (4, n) lie on curves that print like this one."""
    fitting = 0
    for tp, fp, fn, tn in matrices.T.tolist():
        # The number of grid points left of the matrix.
        before = int(np.searchsorted(grid * (fp + tn), 100 * fp))
        every = np.arange(tp + fn + 1)
        allowed = [every <= tp] * before + [every >= tp] * (len(grid) - before)
        fitting += _curves_that_fit(drawn, allowed) > 0
        if fitting >= CANDIDATES_NEEDED:
            return True
    return False


def calibration_groups(
    probabilities: NDArray[np.float64], event: Integers, counts: Counts
) -> tuple[int, list[tuple[int, int]]] | None:
    """(step, [(mean predicted in steps of 5 %, observed in steps of `step` %), ...]) by groups of
    rising predicted probability; None when withheld.

    Groups begin as fifths of the people and are merged until each has at least 10 people of both
    outcomes; a single group gives no calibration, so it is not printed.
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
    """(fifths of each group, step) at the finest level that 5 tables share; else no groups.

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
    # Only small cohorts reach this line, or a curve in which every group lies at the end of its
    # step.
    if _ways(totals, sum(events)) > MOST_TABLES:
        return (), 0
    left = _tables(totals, sum(events))
    for joined, step in (
        (joined, step) for joined in _fewer(len(runs), sizes) for step in CURVE_STEPS
    ):
        wide = _sums(sizes, joined)
        sums = np.stack([left[:, list(run)].sum(axis=1) for run in joined], axis=1)
        printed = np.stack(
            [_percents_of(n, step)[column] for n, column in zip(wide, sums.T, strict=True)], axis=1
        )
        good = _shared(sums, printed)
        if good[(left == truth).all(axis=1)].any():
            return tuple(tuple(at for group in run for at in runs[group]) for run in joined), step
        left = left[~good]
    return (), 0


def _form_groups(events: Sequence[int], people: Sequence[int]) -> Runs:
    """Join fifths until each group has 10 people of both outcomes."""
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
    """The groups, then one fewer at a time down to two, by joining the two neighbours that are
    smallest together."""
    runs: list[tuple[int, ...]] = [(at,) for at in range(groups)]
    while len(runs) > 1:
        yield tuple(runs)
        wide = _sums(sizes, runs)
        at = min(range(len(runs) - 1), key=lambda at: wide[at] + wide[at + 1])
        runs[at : at + 2] = [runs[at] + runs[at + 1]]


def _shared(sums: Integers, printed: Integers) -> NDArray[np.bool_]:
    """For each row of `sums`, whether at least 5 different rows print the same."""
    _, first, back = np.unique(sums, axis=0, return_index=True, return_inverse=True)
    _, which, counts = np.unique(printed[first], axis=0, return_inverse=True, return_counts=True)
    good: NDArray[np.bool_] = counts[which.ravel()][back.ravel()] >= CANDIDATES_NEEDED
    return good


def _tables(totals: Sequence[NDArray[np.float64]], events: int) -> Integers:
    """(tables, groups): every distribution of `events`; totals: the counts each group can have."""
    tables = np.zeros((1, 0), np.int64)
    for at, total in enumerate(totals):
        values = np.flatnonzero(total)
        tables = np.column_stack([tables.repeat(len(values), axis=0), np.tile(values, len(tables))])
        following = [np.flatnonzero(later) for later in totals[at + 1 :]]
        rest = events - tables.sum(axis=1)
        fits = (rest >= sum(counts[0] for counts in following)) & (
            rest <= sum(counts[-1] for counts in following)
        )
        tables = tables[fits]
    return tables


def _totals(sizes: Sequence[int], last: bool) -> NDArray[np.float64]:
    """By number of events: 1 if _form_groups can make such a group of these fifths, else 0."""
    ways = np.zeros(sum(sizes) + 1)
    for at in range(len(sizes)) if last else (len(sizes) - 1,):
        reached = np.convolve(_too_small(sizes[:at]), np.ones(sizes[at] + 1)) > 0
        full = reached & ~_is_small(np.arange(len(reached)), len(reached) - 1)
        ways += np.convolve(full, _too_small(sizes[at + 1 :]))
    return np.minimum(ways, 1)


def _too_small(sizes: Sequence[int]) -> NDArray[np.float64]:
    """By number of events: 1 if fifths of these sizes can stay too small at each join."""
    reached = np.ones(1)
    for size in sizes:
        reached = np.minimum(np.convolve(reached, np.ones(size + 1)), 1)
        reached = reached * _is_small(np.arange(len(reached)), len(reached) - 1)
    return reached


def _ways(totals: Sequence[NDArray[np.float64]], events: int) -> float:
    """The number of ways in which the groups' totals add up to `events`."""
    ways = np.ones(1)
    for total in totals:
        ways = np.convolve(ways, total)
    return float(np.rint(ways[events]))


def _curves_that_fit(drawn: _Drawn, allowed: Sequence[NDArray[np.bool_]] | None = None) -> int:
    """The number of rising true positive counts that print as drawn, and at no finer step.

    allowed: for each point, (events + 1,) whether a count is possible there.
    """
    total = 0
    for chosen in range(2 ** len(drawn.finer)):
        excluded = [finer for at, finer in enumerate(drawn.finer) if chosen >> at & 1]
        # Python integers, which do not overflow.
        ways = np.ones(len(drawn.printed), object)
        for at, value in enumerate(drawn.shown):
            fits = np.logical_and.reduce(
                [drawn.printed == value, *excluded, *(allowed[at : at + 1] if allowed else ())]
            )
            ways = np.cumsum(np.where(fits, ways, 0), dtype=object)
        total += (-1) ** len(excluded) * int(ways[-1])
    return total


def _percents_of(total: int, step: int) -> Integers:
    """(total + 1,) share(part, total, step) for every part."""
    return step * ((200 * np.arange(total + 1) + step * total) // (2 * step * total))


def _rates_that_fit(shown: int, step: int, events: set[int]) -> int:
    """The number of (events, true positives) pairs whose rate prints as `shown`."""
    return sum(int((_percents_of(n, step) == shown).sum()) for n in events)


def _sums(values: Sequence[int], runs: Sequence[tuple[int, ...]]) -> list[int]:
    return [sum(values[at] for at in run) for run in runs]


def _is_small(events: Integers | int, people: int) -> NDArray[np.bool_]:
    return np.minimum(events, people - events) < SMALLEST_COUNT
