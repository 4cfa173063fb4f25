"""Disclosure control for curves: ROC points and calibration groups, from perturbed cells
(noise.py).

ROC: the true positive rate at few false positive rates, so that a step of the grid has at least 10
people without the event; each point has its noise, and then the curve is made to rise. Calibration:
the share with the event in groups of at least 10 people of both outcomes. Both are printed in the
finest step that holds the spread of the noise, and are withheld where none does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from analytics.disclosure.counts import Integers, Sizes, inner_percent, percent
from analytics.disclosure.noise import EVENT, PERSON, RATE, SPREAD, Noise
from analytics.disclosure.rounding import SMALLEST_COUNT

CURVE_STEPS = (5, 10, 20)
# Few points: each is an answer about the same people.
ROC_GRIDS = (20, 25, 50)
MOST_GROUPS = 5


def curve_step(people: float, noise: float = SPREAD) -> int | None:
    """The finest step, in percent, in which so many people hold the spread of the noise."""
    return next((step for step in CURVE_STEPS if step * people >= 100 * noise), None)


def roc_grid(
    noise: Noise,
    name: str,
    probabilities: NDArray[np.float64],
    event: Integers,
    people: Sequence[str],
    sizes: Sizes,
) -> list[tuple[int, int]]:
    """(false positive rate, true positive rate) in percent on a grid; [] when withheld.

    name: of the row; probabilities: (repeats, n); event, people: (n,) outcomes and ids. Vertical
    averages over the repeats (Fawcett 2006, Pattern Recognit Lett 27:861).
    """
    others = sizes.people - sizes.events
    wide = next((step for step in ROC_GRIDS if step * others >= 100 * SMALLEST_COUNT), None)
    step = curve_step(sizes.events, RATE * SPREAD)
    if wide is None or step is None:
        return []
    grid = np.arange(wide, 100, wide)
    curves = [np.interp(grid / 100, *roc_curve(event, scores)[:2]) for scores in probabilities]
    affected = [person for person, happened in zip(people, event, strict=True) if happened]
    perturbed = [
        rate + RATE * noise.shift(EVENT, affected, f"ROC at {at} of {name}", rate) / sizes.events
        for at, rate in zip(grid.tolist(), np.mean(curves, axis=0).tolist(), strict=True)
    ]
    rising = np.clip(np.maximum.accumulate(perturbed), 0, 1)
    drawn = [(at, percent(rate, step)) for at, rate in zip(grid.tolist(), rising, strict=True)]
    return [(0, 0), *drawn, (100, 100)]


def mean_predicted(noise: Noise, predicted: NDArray[np.float64], people: Sequence[str]) -> int:
    """The mean predicted probability of a group, with noise, in steps of 5 %: one outcome moves
    what a model predicts for others.
    """
    mean = float(predicted.mean())
    moved = RATE * noise.shift(PERSON, people, "predicted", mean) / len(predicted)
    return percent(min(1.0, max(0.0, mean + moved)), CURVE_STEPS[0])


def calibration_groups(
    noise: Noise, probabilities: NDArray[np.float64], event: Integers, people: Sequence[str]
) -> tuple[int, list[tuple[int, int]]] | None:
    """(step, [(mean predicted in steps of 5 %, observed in steps of `step` %), ...]) by groups of
    rising predicted probability; None when withheld.

    As many groups of one size, from 5 down to 2, as have at least 10 people of both outcomes each.
    """
    predicted, total = probabilities.mean(axis=0), noise.count(PERSON, people)
    ids, order = np.asarray(people), np.argsort(predicted, kind="stable")
    for number in range(MOST_GROUPS, 1, -1):
        groups = np.array_split(order, number)
        counts = [noise.count(EVENT, ids[group][event[group] == 1].tolist()) for group in groups]
        # By perturbed numbers alone: by exact ones, that something is printed would tell them.
        each = total // number
        step = curve_step(each)
        if step is not None and all(min(count, each - count) >= SMALLEST_COUNT for count in counts):
            return step, [
                (
                    mean_predicted(noise, predicted[group], ids[group].tolist()),
                    inner_percent(count / each, step),
                )
                for count, group in zip(counts, groups, strict=True)
            ]
    return None
