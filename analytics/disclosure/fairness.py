"""What may be printed of a comparison of groups: with noise, in steps of five people or more, or
nothing.

The measures of each group get the noise that those of a model get (counts.py), by who is in the
group. A rate of few people tells about each of them, so a step of a printed number holds at least
PEOPLE_IN_A_STEP people of the smallest of the four parts of a comparison: those with and without
the event, of both groups. With a part of fewer than 28 (whose rounded number is not surely 25) it
is "too few to tell", and so is a difference with an interval wider than WIDEST percent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.disclosure.counts import (
    Z_95,
    Sizes,
    percent,
    perturb_error,
    perturb_rank,
    perturb_sizes,
)
from analytics.disclosure.noise import BOUND, EVENT, RANK, RATE, SPREAD, Noise
from analytics.disclosure.rounding import COUNT_GRID, round_count

GROUP_STEPS = (5, 10, 20)
PEOPLE_IN_A_STEP = 5
WIDEST = 40  # percent, of an interval
TOO_FEW, NOT_SHOWN, HIGHER, LOWER = "too few to tell", "no difference shown", "higher", "lower"


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A group with its noise: (AUC, true and false positive rate), the standard deviation of the
    noise of each, and how many have the event and how many not: perturbed too, since by an exact
    number a printed AUC would tell that there are so many.
    """

    sizes: Sizes
    values: tuple[float, float, float]
    spreads: tuple[float, float, float]
    parts: tuple[int, int]


def perturb_group(
    noise: Noise,
    cell: str,
    exact: Sequence[float],
    with_event: Collection[str],
    without: Collection[str],
) -> Perturbed:
    """exact: AUC, true and false positive rate; NaN stays NaN. cell: whose they are."""
    people = [*with_event, *without]
    sizes = perturb_sizes(noise, len(people) + BOUND, (), people, with_event)
    events, others = max(1, sizes.events), max(1, sizes.people - sizes.events)
    auc, *rates = exact
    recall, alarm = (
        float(
            np.clip(rate + RATE * noise.shift(EVENT, of, f"{name} of {cell}", rate) / total, 0, 1)
        )
        for name, rate, of, total in zip(
            ("tpr", "fpr"), rates, (with_event, without), (events, others), strict=True
        )
    )
    return Perturbed(
        sizes,
        (perturb_rank(noise, with_event, sizes, f"AUC of {cell}", auc), recall, alarm),
        (RANK * SPREAD / sizes.rarer, RATE * SPREAD / events, RATE * SPREAD / others),
        (events, others),
    )


def gap_interval(
    noise: Noise,
    cell: str,
    of: Collection[str],
    gap: float,
    error: float,
    groups: Sequence[Perturbed],
    measure: int,
) -> tuple[float, float]:
    """The 95 % interval around a perturbed difference of two groups, which counts their noise. of:
    who has the event in either; error: its exact standard error, perturbed too; measure: which of
    `values`.
    """
    rarer = min(group.sizes.rarer for group in groups)
    moved = perturb_error(noise, of, rarer, cell, error)
    half = Z_95 * math.hypot(moved, *(group.spreads[measure] for group in groups))
    return max(-1.0, gap - half), min(1.0, gap + half)


def group_step(parts: Sequence[int]) -> int | None:
    """The step in percent, from the numbers of people in the parts; None for too few."""
    rounded = round_count(min(parts))
    least = 0 if rounded is None else rounded - COUNT_GRID // 2
    enough = 100 * PEOPLE_IN_A_STEP
    return next((step for step in GROUP_STEPS if step * least >= enough), None)


def show_gap(gap: float, interval: tuple[float, float], step: int | None) -> dict[str, object]:
    """A difference of two groups as printed: its verdict, and the numbers unless it is too few to
    tell. The verdict follows from what is printed."""
    if step is None or not 100 * (interval[1] - interval[0]) <= WIDEST:
        return {"verdict": TOO_FEW}
    low, high = (percent(end, step) for end in interval)
    verdict = HIGHER if low > 0 else LOWER if high < 0 else NOT_SHOWN
    return {
        "gap": percent(gap, step),
        "interval": [low, high],
        "step": step,
        "verdict": verdict,
    }
