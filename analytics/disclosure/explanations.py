"""What may be printed of an explanation: sums over all held-out people, rounded by their number.

Values of single people never leave. The step of a number follows from how many people it is of,
which is printed, so it tells nothing more. It is many times what one person changes: an attacker
who knows everybody else seldom sees a printed number change with her (the test says how seldom).
It is also about the standard error of the number, so little is lost. A column is named only if at
least 10 people seem to differ in it from its most frequent value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.disclosure.counts import Sizes, perturb_rank
from analytics.disclosure.noise import EVENT, PERSON, Noise
from analytics.disclosure.rounding import SMALLEST_COUNT

MOST_FEATURES = 10  # of one explanation, the largest
# Steps that a gene column needs to be named: those of one are within the error, and come and go
# with one person.
LEAST_STEPS_OF_A_GENE = 2
# Of the mean size of a value, in hundredths of log-odds or of a probability: a step is taken from
# so many people on, divided by it. By the outcome of one of n people, such a mean changes by 3 / n
# log-odds on average, and without her by 1 / n (measured on 100 to 1000 people); a probability by a
# quarter. A share of attention changes like a probability, by what the drawn folds leave of it (on
# 100 people; other folds change it by more than that).
SIZE_STEPS = (1, 2, 5, 10, 20, 50)
PEOPLE_TIMES_STEP = {"log-odds": 3600, "probability": 900, "share": 900}
# Of a loss of AUC, in percent, likewise from LEAST_TIMES_STEP / step people of the rarer outcome
# on.
LOSS_STEPS = (1, 2, 5, 10)
LEAST_TIMES_STEP = 350


# By how much one outcome moves such a mean on average, times the number of people (as above).
OUTCOME_MOVES = {"log-odds": 3.0, "probability": 0.75, "share": 0.75}


def perturb_importance(
    noise: Noise, events: Collection[str], sizes: Sizes, cell: str, value: float, scale: str
) -> float:
    """The mean size of a value, or the loss of AUC, with its noise. events: who has the event;
    cell: of which part in which explanation. Of a mean size it is that of a whole count, since ten
    columns are printed. Where columns are chosen in the fold, one outcome can bring a column in or
    put it out, which no such noise hides (docs/explain/disclosure.md).
    """
    if scale not in OUTCOME_MOVES:
        return perturb_rank(noise, events, sizes, cell, value)
    moved = noise.shift(EVENT, events, cell, float(value))
    return value + OUTCOME_MOVES[scale] * moved / max(1, sizes.people)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A printed part: its number, and its rounded importance in steps."""

    part: int
    steps: int


def size_step(people: int, scale: str) -> int | None:
    """The step of a mean size in hundredths, for at least so many people; None for too few."""
    least = PEOPLE_TIMES_STEP[scale]
    return next((step for step in SIZE_STEPS if step * people >= least), None)


def loss_step(fewest: int) -> int | None:
    """The step of a loss of AUC in percent, for at least so many people of the rarer outcome."""
    return next((step for step in LOSS_STEPS if step * fewest >= LEAST_TIMES_STEP), None)


def nearest(value: float, step: float) -> int:
    """The nearest multiple of a step, halves upwards."""
    return floor(value / step + 0.5)


def tells_enough_apart(noise: Noise, column: NDArray[np.float64], subjects: Sequence[str]) -> bool:
    """Whether at least 10 people seem to have a known value other than the most frequent one: by
    the perturbed number, since the exact one would tell who is the tenth. subjects: (n,) whose
    values.
    """
    known = ~np.isnan(column)
    values, counts = np.unique(column[known], return_counts=True)
    others = known if not len(values) else known & (column != values[counts.argmax()])
    return (
        noise.count(PERSON, [subjects[at] for at in np.flatnonzero(others).tolist()])
        >= SMALLEST_COUNT
    )


def choose_parts(
    importance: NDArray[np.float64],
    step: float,
    printable: NDArray[np.bool_],
    charged: NDArray[np.bool_],
    affordable: int,
) -> list[Chosen]:
    """The at most MOST_FEATURES parts that are printed, the largest first, by their rounded values:
    an order by exact ones would tell between which two others each lies.

    charged: the parts that count as statistics of a gene column, of which at most `affordable` are
    printed, and none below LEAST_STEPS_OF_A_GENE.
    """
    rounded = [Chosen(part, nearest(value, step)) for part, value in enumerate(importance)]
    chosen: list[Chosen] = []
    for candidate in sorted(rounded, key=lambda candidate: (-candidate.steps, candidate.part)):
        if len(chosen) == MOST_FEATURES:
            break
        if not printable[candidate.part]:
            continue
        if charged[candidate.part]:
            if candidate.steps < LEAST_STEPS_OF_A_GENE or affordable <= 0:
                continue
            affordable -= 1
        chosen.append(candidate)
    return chosen


def add_to_record(
    record: dict[str, Any],
    printed: Sequence[tuple[str, float]],
    withheld: Sequence[tuple[str, str]],
    genomic: tuple[int, int] | None,
) -> None:
    """Write the explanations into the disclosure record of the model's metrics.

    printed: (what, step); withheld: (what, why). genomic: the number of statistics of gene columns,
    and the most that were allowed; None where no gene column can be named.
    """
    why = "one person must not be read from it"
    record["coarsened"] += [
        {"what": what, "step": f"{step:g}", "why": why} for what, step in printed
    ]
    record["withheld"] += [{"what": what, "why": reason} for what, reason in withheld]
    record["rules"].append(
        {"rule": "explanations of all people", "people_at_least": SMALLEST_COUNT}
    )
    if genomic is not None:
        record["statistic_class"] = "genomic"
        record["statistics"], allowed = genomic
        record["rules"].append(
            {"rule": "genomic bound", "at_most": allowed, "inference_auc_at_most": "0.60"}
        )
