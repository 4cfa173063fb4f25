"""Disclosure control for counts and metrics: pure functions that round, suppress and withhold.

Rules (ACRO defaults): counts below 10 are suppressed, together with any count that would reveal
them; counts are rounded to 5; threshold metrics come from the confusion matrix summed over at least
10 repeats, in steps of 1, 2 or 5 percent; a curve has at least 10 people per step; no per-person
value, no coefficient, no model file. docs/explain/disclosure.md has a row for each number.

Metrics reveal cells: with 35 events among 189 people, four metrics at three digits leave one
confusion matrix. So a row is printed at a level (LEVELS) only if at least 5 matrices of one pass
would have been printed exactly like this, for an attacker who knows this file and the numbers of
people and events: a matrix that would have been printed at a finer level does not count among the
5. The row is that of the summed matrix; matrices of one pass are counted because the attacker may
know that all passes gave the same one. Each row is judged alone against the exact size, so no row
affects another. A row without such a level is withheld. The same holds for curves (curves.py), for
sites (sites.py) and for the z of a variant (scan.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT, round_count

if TYPE_CHECKING:  # callers that only count people (the ingest dictionary) load no model library
    from analytics.evaluate import Cells

Integers = NDArray[np.int64]
STEPS = (1, 2, 5)
CANDIDATES_NEEDED = 5
# With fewer distinct feature profiles (rows of a feature set), AUC, interval, gain and curve depend
# on a few cells.
PROFILES_NEEDED = 10
METRICS = ("accuracy", "precision", "recall", "f1", "balanced_accuracy")
# From fine to coarse: (step in percent, printed metrics).
LEVELS = (
    *((step, METRICS) for step in STEPS),
    (5, ("accuracy", "balanced_accuracy")),
    (1, ("accuracy",)),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """The printable counts of a cohort; None is suppressed. granted is exact, as on the ledger."""

    granted: int
    people: int | None
    events: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """The printed metrics of one row: whole percents in steps of `step`, by metric."""

    step: int
    metrics: Mapping[str, int]


def percent(fraction: float, step: int = 1) -> int:
    """Nearest multiple of `step` percent, halves upwards."""
    return step * math.floor(100 * fraction / step + 0.5)


def share(part: int, total: int, step: int = 1) -> int:
    """Percent of `part` in `total` in integer arithmetic: 115 of 200 is exactly 57.5."""
    return step * ((200 * part + step * total) // (2 * step * total))


def filter_counts(*, granted: int, people: int, events: int) -> Counts:
    """Round or suppress the cohort's counts, related ones together.

    If fewer than 10 were left out, `people` is suppressed: with the public `granted` it would
    reveal that small count. If either outcome has fewer than 10, or fewer than 5 sizes would be
    printed the same, `events` is suppressed.
    """
    counts = _round_counts(granted, people, events)
    hidden = len(plausible_sizes(counts)) >= CANDIDATES_NEEDED
    return counts if hidden else replace(counts, events=None)


def plausible_sizes(counts: Counts) -> list[tuple[int, int]]:
    """Every (people, events) that prints as `counts`: an outsider cannot distinguish them."""
    if counts.events is None:
        return []
    around = range(counts.events - COUNT_GRID, counts.events + COUNT_GRID + 1)
    first = counts.granted - SMALLEST_COUNT if counts.people is None else counts.people - COUNT_GRID
    return [
        (people, events)
        for people in range(max(first, 2 * SMALLEST_COUNT), counts.granted + 1)
        for events in around
        if _round_counts(counts.granted, people, events) == counts
    ]


def baseline_at_most(counts: Counts) -> int | None:
    """The largest share of the more frequent outcome, in percent rounded up, of all sizes that
    print as `counts`; None where the events are suppressed.

    It follows from what is printed. The exact share in whole percents would not: whoever knows how
    many people were analysed, as where nobody is missing, could read the exact number of events.
    """
    sizes = plausible_sizes(counts)
    return max(
        (-(-100 * max(events, people - events) // people) for people, events in sizes), default=None
    )


def build_table(summed: Mapping[str, Cells], *, people: int, events: int) -> dict[str, Shown]:
    """The threshold metrics that may be printed, by row; a row that is not returned is withheld.

    summed: by row, the confusion matrix summed over all repeats, of `people` with `events`; its
    metrics are compared with those of every matrix of one pass. Nothing is printed if an outcome
    has fewer than 10 people.
    """
    table: dict[str, Shown] = {}
    printable: list[Integers] | None = None
    for name, cells in summed.items() if min(events, people - events) >= SMALLEST_COUNT else ():
        at = 0
        if count_candidates(_print(cells, 0), STEPS[0], people, events) < CANDIDATES_NEEDED:
            # Reached by small cohorts, and by large ones with a rare outcome or with metrics near 0
            # or 100 %. All matrices of one pass are counted, once for all rows.
            printable = _printable(people, events) if printable is None else printable
            keys = (_keys(_percents(_column(cells), step), names) for step, names in LEVELS)
            at = next(
                (
                    at
                    for at, (key, good) in enumerate(zip(keys, printable, strict=True))
                    if key[0] in good
                ),
                -1,
            )
        if at >= 0:
            table[name] = Shown(LEVELS[at][0], _print(cells, at))
    return table


def count_candidates(metrics: Mapping[str, int], step: int, people: int, events: int) -> int:
    """How many confusion matrices of `people` with `events` print exactly these `metrics`."""
    return int(_candidates(metrics, step, people, events).shape[1])


def list_candidates(shown: Shown, people: int, events: int) -> Integers:
    """(4, n) confusion matrices (tp, fp, fn, tn) that print as `shown`, and at no finer level."""
    matrices = _candidates(shown.metrics, shown.step, people, events)
    at = LEVELS.index((shown.step, tuple(name for name in METRICS if name in shown.metrics)))
    for (step, names), good in zip(
        LEVELS[:at], _printable(people, events) if at else (), strict=False
    ):
        matrices = matrices[:, ~np.isin(_keys(_percents(matrices, step), names), good)]
    return matrices


def auc_leaves_enough_tables(auc: int, shown: Shown | None, people: int, events: int) -> bool:
    """Whether the AUC of one variable, in steps of 5 %, leaves 5 of the matrices of its row.

    For a single variable the AUC is the balanced accuracy of deciding by it. False if the row is
    withheld, since withholding already reveals that the matrix is one of few.
    """
    if shown is None:
        return False
    tables = _percents(list_candidates(shown, people, events), STEPS[-1])
    return int((tables[METRICS.index("balanced_accuracy")] == auc).sum()) >= CANDIDATES_NEEDED


def possible_sizes(counts: Counts, table: Mapping[str, Shown]) -> list[tuple[int, int]]:
    """The plausible sizes that are consistent with every printed row: rows share one cohort."""
    return [
        size
        for size in plausible_sizes(counts)
        if all(count_candidates(shown.metrics, shown.step, *size) for shown in table.values())
    ]


def filter_flow(granted: int, flow: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """A flow chart's (step, people left), rounded to 5; a step that left out fewer than 10 is
    merged into the next.

    Zero counts as fewer than 10: that nobody failed a step is a fact about each person. If the last
    steps left out fewer than 10, they are merged into the step before; the final count is present
    exactly when filter_counts shows it.
    """
    merged: list[tuple[str, int]] = []
    names, before, left = [], granted, granted
    for name, left in flow:
        names.append(name)
        if before - left >= SMALLEST_COUNT:
            merged.append((", ".join(names), left))
            names, before = [], left
    if names and merged:
        merged[-1] = (", ".join([merged[-1][0], *names]), left)
    rounded = [(name, round_count(people)) for name, people in merged]
    return [(name, people) for name, people in rounded if people is not None]


def left_out_at(step: str, granted: int, flow: Sequence[tuple[str, int]]) -> int | None:
    """How many people left at a step of the flow chart, rounded to 5: the difference of its printed
    numbers, so it tells no more than they do. Few who left at steps that are joined with it, fewer
    than 10 before and after it, are in it. None where fewer than 10 left.
    """
    left = pairwise([granted, *(people for _, people in flow)])
    exact = dict(zip((name for name, _ in flow), left, strict=True))
    if step not in exact or exact[step][0] - exact[step][1] < SMALLEST_COUNT:
        return None
    before = granted
    for name, people in filter_flow(granted, flow):
        if step in name.split(", "):
            return round_count(before - people)
        before = people
    return None


def filter_variants(used: int, flow: Sequence[tuple[str, int]]) -> dict[str, object]:
    """How many variants were used, and left out by each rule, rounded like people. The difference
    of exact numbers between two runs would count the rare variants of the people who are in one of
    them only."""
    left_out = [
        {"rule": rule, "variants": shown}
        for rule, n in flow
        if (shown := round_count(n)) is not None
    ]
    shown = round_count(used)
    return {"left_out": left_out} if shown is None else {"left_out": left_out, "used": shown}


def genomic_bound(people: int) -> int:
    """The most variants that may be reported on `people`: inference stays at AUC 0.60 or less.

    AUC = Phi(sqrt(m / 2N)) for m statistics from N people (Homer et al. 2008,
    Sankararaman et al. 2009), so m <= 0.128 N, for variants that were named beforehand; for others
    see association.selection_costs. The ledger records what was spent per dataset.
    """
    return people * 128 // 1000


def charge(statistics: int, granted: int, people: int) -> int:
    """The number of statistics to charge on the ledger, which divides by everybody `granted`.

    Only the `people` that the statistics describe spend the budget, however many others were
    granted.
    """
    return -(-statistics * granted // people)


def least_people(counts: Counts) -> int:
    """The smallest number of people that would have been printed as `counts`.

    The genomic bound is computed from it, because the number of reported variants reveals the
    bound: computed from the exact number of people, it would reveal how many were left out.
    """
    if counts.people is None:
        return counts.granted - SMALLEST_COUNT + 1
    return max(SMALLEST_COUNT, counts.people - COUNT_GRID // 2)


def _round_counts(granted: int, people: int, events: int) -> Counts:
    shown_people = round_count(people) if granted - people >= SMALLEST_COUNT else None
    small = min(events, people - events) < SMALLEST_COUNT
    return Counts(granted, shown_people, None if small else round_count(events))


def _print(cells: Cells, level: int) -> dict[str, int]:
    """The metrics of a row as a level prints them."""
    step, names = LEVELS[level]
    printed = dict(zip(METRICS, _percents(_column(cells), step)[:, 0].tolist(), strict=True))
    return {name: printed[name] for name in names}


def _column(cells: Cells) -> Integers:
    return np.array([[cells.tp], [cells.fp], [cells.fn], [cells.tn]])


def _percents(matrices: Integers, step: int) -> Integers:
    """(metrics, n): metrics_of each of (4, n) matrices as nearest multiples of `step` percent, in
    integer arithmetic, since a tie must round the same way wherever it is printed or counted."""
    tp, fp, fn, tn = matrices
    positives, negatives = tp + fn, tn + fp
    parts = (
        (tp + tn, positives + negatives),
        (tp, np.maximum(tp + fp, 1)),  # tp is 0 if nobody is predicted positive: precision 0
        (tp, positives),
        (2 * tp, 2 * tp + fp + fn),
        (tp * negatives + tn * positives, 2 * positives * negatives),
    )
    return np.stack(
        [step * ((200 * part + step * total) // (2 * step * total)) for part, total in parts]
    )


def _candidates(metrics: Mapping[str, int], step: int, people: int, events: int) -> Integers:
    """(4, n) confusion matrices that print exactly these `metrics`."""
    blocks = [np.zeros((4, 0), np.int64)]
    low, high = _window(metrics["accuracy"], step, people)
    for tp in range(
        *(_window(metrics["recall"], step, events) if "recall" in metrics else (0, events + 1))
    ):
        tn = np.arange(max(0, low - tp), min(people - events, high - 1 - tp) + 1)
        matrices = np.stack(
            [np.full_like(tn, tp), people - events - tn, np.full_like(tn, events - tp), tn]
        )
        printed = _percents(matrices, step)
        fits = [printed[at] == metrics[name] for at, name in enumerate(METRICS) if name in metrics]
        blocks.append(matrices[:, np.logical_and.reduce(fits)])
    return np.concatenate(blocks, axis=1)


def _keys(printed: Integers, names: Sequence[str]) -> Integers:
    """One number for each combination of the named metrics."""
    key = np.zeros(printed.shape[1], np.int64)
    for at, name in enumerate(METRICS):
        if name in names:
            key = key * 101 + printed[at]
    return key


def _printable(people: int, events: int) -> list[Integers]:
    """By level, the keys that are printed there: 5 or more matrices that no finer level prints."""
    tp, fp = np.indices((events + 1, people - events + 1)).reshape(2, -1)
    left = np.stack([tp, fp, events - tp, people - events - fp])
    printable = []
    for step, names in LEVELS:
        keys, which, counts = np.unique(
            _keys(_percents(left, step), names), return_inverse=True, return_counts=True
        )
        printable.append(keys[counts >= CANDIDATES_NEEDED])
        left = left[:, counts[which] < CANDIDATES_NEEDED]
    return printable


def _window(shown: int, step: int, total: int) -> tuple[int, int]:
    """Range of counts out of `total` that can print as `shown` percent, one wider on both sides."""
    low = math.floor((shown - step / 2) / 100 * total) - 1
    high = math.ceil((shown + step / 2) / 100 * total) + 1
    return max(0, low), min(total, high) + 1
