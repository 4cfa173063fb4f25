"""Disclosure control for counts and metrics: what is printed of them.

Every number is computed from perturbed cells (noise.py) and then rounded: counts to 5, with counts
below 10 suppressed (ACRO defaults); shares and ranks to a step that holds about two people of the
rarer outcome, 5 % where none does. What is computed from perturbed cells alone tells no more than they do, so no rule
counts what fits a printed number, and no row affects another. No per-person value, no coefficient,
no model file. docs/explain/disclosure.md has a row for each number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analytics.disclosure.noise import BOUND, ERROR, EVENT, PERSON, RANK, RATE, SPREAD, Noise
from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT, round_count
from analytics.metrics import METRICS, Confusion

if TYPE_CHECKING:  # callers that only count people (the ingest dictionary) load no model library
    from analytics.evaluate import Cells

Integers = NDArray[np.int64]
STEPS = (1, 2, 5)  # percent
CANDIDATES_NEEDED = 5  # tables that must print a site or a z the same (sites.py, scan.py)
LEAST_IN_STEP = 2  # people of the rarer outcome
# With fewer distinct feature profiles (rows of a feature set), interval, gain and curve depend on a
# few cells.
PROFILES_NEEDED = 10
Z_95 = 1.959963984540054
Flow = Sequence[tuple[str, Collection[str]]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The perturbed numbers of a cohort, never printed as they are: (step, people left) of the flow
    chart, falling; people; those with the event. granted is exact, as on the ledger.
    """

    granted: int
    flow: tuple[tuple[str, int], ...]
    people: int
    events: int

    @property
    def rarer(self) -> int:
        """People of the rarer outcome, at least 1."""
        return max(1, min(self.events, self.people - self.events))


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


def inner_percent(fraction: float, step: int = 1) -> int:
    """As `percent`, at least one step from 0 and 100: that nobody is in it, or everybody, is never
    told.
    """
    return min(100 - step, max(step, percent(fraction, step)))


def share(part: int, total: int, step: int = 1) -> int:
    """Percent of `part` in `total` in integer arithmetic: 115 of 200 is exactly 57.5."""
    return step * ((200 * part + step * total) // (2 * step * total))


def perturb_sizes(
    noise: Noise, granted: int, flow: Flow, people: Collection[str], events: Collection[str]
) -> Sizes:
    """The numbers of a cohort with their noise. flow: who is left after each step; people, events:
    everybody in the cohort, and those with the event."""
    left, steps = granted, []
    for name, remaining in flow:
        # Each step draws anew: else two steps were equal only where the second left nobody out.
        left = min(left, noise.count(PERSON, remaining, "" if name == flow[-1][0] else name))
        steps.append((name, left))
    everybody = min(left, noise.count(PERSON, people))
    return Sizes(granted, tuple(steps), everybody, min(everybody, noise.count(EVENT, events)))


def filter_counts(sizes: Sizes) -> Counts:
    """Round or suppress the cohort's counts, related ones together.

    If fewer than 10 were left out, `people` is suppressed: with the public `granted` it would
    reveal that small count. If either outcome has fewer than 10, `events` is suppressed.
    """
    few_left_out = sizes.granted - sizes.people < SMALLEST_COUNT
    small = min(sizes.events, sizes.people - sizes.events) < SMALLEST_COUNT
    return Counts(
        sizes.granted,
        None if few_left_out else round_count(sizes.people),
        None if small else round_count(sizes.events),
    )


def baseline_of(sizes: Sizes) -> int:
    """The share of the more frequent outcome, in percent."""
    return inner_percent(max(sizes.events, sizes.people - sizes.events) / max(1, sizes.people))


def step_for(sizes: Sizes) -> int:
    """The finest step, in percent, that holds LEAST_IN_STEP people of the rarer outcome."""
    fine = (step for step in STEPS if step * sizes.rarer >= 100 * LEAST_IN_STEP)
    return next(fine, STEPS[-1])


@dataclass(frozen=True, slots=True)
class Calls:
    """Whom a model calls positive. cells: the confusion matrix summed over all repeats; called: the
    ids of those whom most repeats call positive."""

    cells: Cells
    called: Collection[str]


def build_table(
    noise: Noise, calls: Mapping[str, Calls], events: Collection[str], sizes: Sizes
) -> dict[str, Shown]:
    """The threshold metrics, by row: of the rates of those with and without the event who are
    called positive, each with its noise.
    """
    return {name: _show_row(noise, name, of, set(events), sizes) for name, of in calls.items()}


def _show_row(noise: Noise, name: str, of: Calls, events: set[str], sizes: Sizes) -> Shown:
    cells, called = of.cells, set(of.called)
    recall, alarm = (
        float(np.clip(rate + RATE * noise.shift(EVENT, people, cell, rate) / max(1, total), 0, 1))
        for cell, rate, people, total in (
            (f"recall of {name}", cells.tp / (cells.tp + cells.fn), called & events, sizes.events),
            (
                f"alarms of {name}",
                cells.fp / (cells.fp + cells.tn),
                called - events,
                sizes.people - sizes.events,
            ),
        )
    )
    affected, others = max(1, sizes.events), max(1, sizes.people - sizes.events)
    perturbed = Confusion(recall * affected, alarm * others, affected, others)
    step, few = step_for(sizes), perturbed.tp + perturbed.fp < SMALLEST_COUNT
    return Shown(
        step,
        {
            metric.name: (percent if metric.signed else inner_percent)(
                metric.compute(perturbed), step
            )
            for metric in METRICS
            if not (few and metric.of_the_called)
        },
    )


def perturb_rank(
    noise: Noise, events: Collection[str], sizes: Sizes, cell: str, value: float, part: float = RANK
) -> float:
    """A measure of ranks or probabilities (AUC, Brier score, concordance, slope) with its noise.
    events: who has the event; cell: which measure of which row; part: of a count's noise, in people
    of the rarer outcome.
    """
    return value + part * noise.shift(EVENT, events, cell, value) / sizes.rarer


@dataclass(frozen=True, slots=True)
class Perturbation:
    """The noise of one cohort, for what is computed before anything is printed. subjects: (n,) who
    its people are."""

    noise: Noise
    subjects: Sequence[str]
    sizes: Sizes

    def rank(self, cell: str, event: Integers, value: float) -> float:
        """`perturb_rank` of a statistic of these outcomes (n,), also of permuted ones."""
        affected = [self.subjects[at] for at in np.flatnonzero(event).tolist()]
        return perturb_rank(self.noise, affected, self.sizes, cell, value)

    def profiles(self, x: NDArray[np.float64]) -> int:
        """The perturbed number of distinct rows of x (n, columns; NaN is missing), each counted by
        the first person who has it: by the exact one, whoever has a row of her own could be told.
        """
        first = first_of_each(x)
        return self.noise.count(PERSON, [self.subjects[at] for at in first.tolist()])


def first_of_each(x: NDArray[np.float64]) -> Integers:
    """The position of the first of each distinct row of x (n, columns; NaN is missing)."""
    filled = np.where(np.isnan(x), np.inf, x)
    first: Integers = np.unique(filled, axis=0, return_index=True)[1]
    return first


def perturb_interval(
    noise: Noise,
    events: Collection[str],
    sizes: Sizes,
    cell: str,
    value: float,
    error: float,
    spread: float = SPREAD,
) -> tuple[float, float]:
    """The 95 % interval around a perturbed measure of ranks, which counts the noise of the value.

    error: its exact standard error, perturbed too; spread: of the value's noise, in people.
    """
    moved = perturb_error(noise, events, sizes.rarer, cell, error)
    half = Z_95 * math.hypot(moved, RANK * spread / sizes.rarer)
    return value - half, value + half


def perturb_error(
    noise: Noise, events: Collection[str], rarer: int, cell: str, error: float
) -> float:
    """A standard error with its noise. rarer: people of the rarer outcome."""
    moved = ERROR * noise.shift(EVENT, events, f"error of {cell}", error) / rarer
    return error * max(0.0, 1 + moved)


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
    """The smallest number of people that could have been printed as `counts`.

    The genomic bound is computed from it, because the number of reported variants reveals the
    bound: computed from the exact number of people, it would reveal how many were left out.
    """
    if counts.people is None:
        return max(SMALLEST_COUNT, counts.granted - SMALLEST_COUNT + 1 - BOUND)
    return max(SMALLEST_COUNT, counts.people - COUNT_GRID // 2 - BOUND)
