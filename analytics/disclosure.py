"""What may leave the room: pure functions that round, suppress and withhold, and the record of what they did.

Rules (domain.md §5, ACRO defaults): counts below 10 are suppressed and what would give them back with them;
counts are rounded to 5; figures are means over at least 10 repeats in whole percent; no ROC, no per-person
value, no coefficient.

Metrics betray cells: with 35 events among 189 people, four figures at three digits leave one confusion
matrix. So the integer matrices that fit everything published are counted, by an attacker who knows this file,
in two ways:

1. *one pass*: matrices of any cohort size and number of events that fit the published counts and every row at
once;
2. *all repeats*: the summed matrix, by an attacker who even knows size and events exactly.

Below 5 in either count the next coarser step (2 %, 5 %) is used for the whole table; a row that stays below
is withheld.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.evaluate import Cells, figures_of

SMALLEST_COUNT = 10
COUNT_GRID = 5
STEPS = (1, 2, 5)
CANDIDATES_NEEDED = 5
FIGURES = ("accuracy", "precision", "recall", "f1", "balanced_accuracy")


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of a cohort that may be printed; None is suppressed. granted is exact: it stands on the
    ledger."""

    granted: int
    people: int | None
    events: int | None
    baseline: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """Printable threshold figures: whole percents in steps of `step`, in FIGURES' order, by layer.

    candidates: by printed layer, (matrices of one pass, summed matrices) that fit. withheld: layers without
    figures.
    """

    step: int
    rows: Mapping[str, tuple[int, ...]]
    candidates: Mapping[str, tuple[int, int]]
    withheld: tuple[str, ...]


def percent(fraction: float, step: int = 1) -> int:
    """Nearest multiple of `step` percent, halves upwards."""
    return step * math.floor(100 * fraction / step + 0.5)


def round_count(count: int) -> int | None:
    """Nearest multiple of 5, or None below 10."""
    return None if count < SMALLEST_COUNT else COUNT_GRID * math.floor(count / COUNT_GRID + 0.5)


def filter_counts(*, granted: int, people: int, events: int) -> Counts:
    """Round or suppress the cohort's counts, related ones together.

    Fewer than 10 left out: `people` beside the public `granted` would give that small count, so it goes.
    Fewer than 10 of either outcome: `events` and the majority `baseline` both go, since either gives the
    other.
    """
    shown_people = round_count(people) if granted - people >= SMALLEST_COUNT else None
    if min(events, people - events) < SMALLEST_COUNT:
        return Counts(granted, shown_people, None, None)
    baseline = percent(max(events, people - events) / people)
    return Counts(granted, shown_people, round_count(events), baseline)


def plausible_sizes(counts: Counts) -> list[tuple[int, int]]:
    """Every (people, events) that would have been printed as `counts`: what an outsider cannot tell apart."""
    if counts.events is None:
        return []
    around = range(counts.events - COUNT_GRID, counts.events + COUNT_GRID + 1)
    first = 2 * SMALLEST_COUNT if counts.people is None else counts.people - COUNT_GRID
    if counts.people is None:
        first = max(first, counts.granted - SMALLEST_COUNT)
    return [
        (people, events)
        for people in range(first, counts.granted + 1)
        for events in around
        if 0 < events < people and filter_counts(granted=counts.granted, people=people, events=events) == counts
    ]


def count_candidates(row: Sequence[int], step: int, people: int, events: int) -> int:
    """Integer confusion matrices of `people` with `events` whose five figures all round to `row`."""
    found = 0
    for tp in range(*_window(row[FIGURES.index("recall")], step, events)):
        low, high = _window(row[FIGURES.index("accuracy")], step, people)
        tn = np.arange(max(0, low - tp), min(people - events, high - 1 - tp) + 1)
        found += int(_fits(row, step, tp, events - tp, people - events - tn, tn).sum())
    return found


def build_table(summed: Mapping[str, Cells], counts: Counts) -> Table:
    """Threshold figures of every layer at the finest step whose rows all survive both counts.

    summed: confusion matrices over all repeats. Nothing is printed when an outcome has fewer than 10 people.
    """
    sizes = plausible_sizes(counts)
    if not sizes:
        return Table(STEPS[0], {}, {}, tuple(summed))
    for step in STEPS:
        rows = {layer: tuple(percent(value, step) for value in figures_of(cells)) for layer, cells in summed.items()}
        candidates = _candidates(rows, summed, step, sizes)
        if all(_survives(found) for found in candidates.values()):
            return Table(step, rows, candidates, ())
    while rows and not all(_survives(found) for found in candidates.values()):
        rows.pop(min(candidates, key=lambda layer: (min(candidates[layer]), layer)))
        candidates = _candidates(rows, summed, step, sizes)
    return Table(step, rows, candidates, tuple(layer for layer in summed if layer not in rows))


def describe_disclosure(counts: Counts, table: Table, repeats: int) -> dict[str, object]:
    """The machine-readable disclosure record (SATRE 3.3.09): rules, what was coarsened or withheld, and
    why."""
    withheld: list[object] = [
        {"what": f"accuracy, precision, recall, f1, balanced_accuracy: {layer}", "why": _why_row(counts)}
        for layer in table.withheld
    ]
    if counts.people is None:
        withheld.append({"what": "people", "why": "fewer than 10 were left out; beside granted it would tell how many"})
    if counts.events is None:
        withheld.append({"what": "events, baseline", "why": "an outcome has fewer than 10 people"})
    coarsened: list[object] = []
    if table.rows and table.step > STEPS[0]:
        coarsened.append(
            {"what": "threshold figures", "step": table.step, "why": "matrix count below 5 at finer steps"}
        )
    if counts.events is None:
        coarsened.append(
            {"what": "auc, interval, gain", "step": STEPS[-1], "why": "an outcome has fewer than 10 people"}
        )
    matrices = {layer: {"one_pass": one, "all_repeats": every} for layer, (one, every) in table.candidates.items()}
    return {
        "type": "volens/disclosure/1",
        "statistic_class": "metrics",
        "statistics": 0,
        "people": counts.granted,
        "rules": [
            {"rule": "small counts", "below": SMALLEST_COUNT, "source": "ACRO"},
            {"rule": "rounded counts", "to": COUNT_GRID},
            {"rule": "means over repeats", "repeats": repeats},
            {"rule": "matrix count", "at_least": CANDIDATES_NEEDED, "step": table.step, "found": matrices},
            {
                "rule": "never leaves",
                "what": ["per-person values", "coefficients", "fold membership", "ROC curve"],
            },
        ],
        "coarsened": coarsened,
        "withheld": withheld,
    }


def _candidates(
    rows: Mapping[str, tuple[int, ...]],
    summed: Mapping[str, Cells],
    step: int,
    sizes: Sequence[tuple[int, int]],
) -> dict[str, tuple[int, int]]:
    """(one pass, all repeats) by layer. All layers share one cohort: a size that one row excludes is gone for
    all."""
    one_pass = {layer: [count_candidates(row, step, *size) for size in sizes] for layer, row in rows.items()}
    shared = [all(found[at] for found in one_pass.values()) for at in range(len(sizes))]
    result = {}
    for layer, row in rows.items():
        cells = summed[layer]
        one = sum(found for found, possible in zip(one_pass[layer], shared, strict=True) if possible)
        every = count_candidates(row, step, cells.tp + cells.fp + cells.fn + cells.tn, cells.tp + cells.fn)
        result[layer] = (one, every)
    return result


def _survives(found: tuple[int, int]) -> bool:
    return min(found) >= CANDIDATES_NEEDED


def _window(shown: int, step: int, total: int) -> tuple[int, int]:
    """Range of counts out of `total` that can print as `shown` percent, one wider on both sides."""
    low = math.floor((shown - step / 2) / 100 * total) - 1
    high = math.ceil((shown + step / 2) / 100 * total) + 1
    return max(0, low), min(total, high) + 1


def _fits(
    row: Sequence[int], step: int, tp: int, fn: int, fp: NDArray[np.int64], tn: NDArray[np.int64]
) -> NDArray[np.bool_]:
    positive = np.maximum(tp + fp, 1)  # tp is 0 where nobody is predicted: precision 0, as in figures_of
    recall = tp / (tp + fn)
    figures: tuple[NDArray[np.float64] | float, ...] = (
        (tp + tn) / (tp + fp + fn + tn),
        tp / positive,
        recall,
        2 * tp / (2 * tp + fp + fn),
        (recall + tn / (tn + fp)) / 2,
    )
    fits = np.ones(len(fp), dtype=np.bool_)
    for shown, figure in zip(row, figures, strict=True):
        fits &= step * np.floor(100 * figure / step + 0.5) == shown
    return fits


def _why_row(counts: Counts) -> str:
    if counts.events is None:
        return "an outcome has fewer than 10 people"
    return "fewer than 5 confusion matrices fit even at 5 percent"
