"""Disclosure control for a variant's z: rounded until at least 5 tables fit.

A table is of genotypes by outcome. As for rows (counts.py), the attacker knows this file and the
exact numbers of people and of events, and a table that a finer step prints does not count among the
5. The attacker also knows how many people have each genotype, from frequencies of the same people
(sites.py) or from filters that the variant passed: only the genotypes of those with the event are
unknown.

A table's z is that of the score test without covariates and components, with the same saddlepoint
approximation as in the scan: with covariates z depends on more than the table, and more tables fit.
Tables with the same copies among the people with the event have the same score, so the same z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.disclosure.counts import CANDIDATES_NEEDED, Integers
from analytics.saddlepoint import equivalent_z

Floats = NDArray[np.float64]
Z_STEPS = (1, 2, 5, 10)  # tenths
LEAST_TESTED = 100  # variants needed to print their median


@dataclass(frozen=True, slots=True)
class Table:
    """(reference, heterozygous, homozygous) people of known genotype: with the event, and all."""

    positives: tuple[int, int, int]
    every: tuple[int, int, int]


def tenths(z: Floats | float, step: int) -> Integers:
    """z as the nearest multiple of `step` tenths, halves (also nearly halves) upwards."""
    return step * np.floor(10 * np.asarray(z) / step + 0.5 + 1e-5).astype(np.int64)


def tabulate(dosage: Floats, event: Integers) -> Table:
    """The table of genotypes (n,), where NaN is unknown and not counted. event: (n,) 0 or 1."""
    genotypes = [dosage == copies for copies in (0, 1, 2)]
    positives, every = (
        [int((genotype & group).sum()) for genotype in genotypes]
        for group in (event == 1, event >= 0)
    )
    return Table((positives[0], positives[1], positives[2]), (every[0], every[1], every[2]))


def choose_step(table: Table, share: float, people: int) -> int:
    """The finest of Z_STEPS at which 5 tables share the printed z; 0 if there is none.

    share: fraction of the entire cohort of `people` with the event, including people of unknown
    genotype, who take the mean.
    """
    if _alike(table) >= CANDIDATES_NEEDED:
        return Z_STEPS[0]
    # Only small cohorts reach this line, and variants with few homozygous or few other people.
    (ref, het, hom), events = table.every, sum(table.positives)
    positives = np.indices((het + 1, hom + 1)).reshape(2, -1)
    reference_positives = events - positives.sum(axis=0)
    positives = positives[:, (reference_positives >= 0) & (reference_positives <= ref)]
    truth = (positives == np.array(table.positives[1:])[:, None]).all(axis=0)
    z = _z_of(positives, table, share, people)
    for step in Z_STEPS:
        _, which, counts = np.unique(tenths(z, step), return_inverse=True, return_counts=True)
        good = counts[which] >= CANDIDATES_NEEDED
        if good[truth].any():
            return step
        z, truth = z[~good], truth[~good]
    return 0


def _alike(table: Table) -> int:
    """The number of tables with the same number of copies with the event, so the same z."""
    (ref, het, hom), events = table.every, sum(table.positives)
    copies = table.positives[1] + 2 * table.positives[2]
    fewest = max(0, copies - events, -((het - copies) // 2))  # homozygous people with the event
    return min(hom, copies // 2, ref - events + copies) - fewest + 1


def _z_of(positives: Integers, table: Table, share: float, people: int) -> Floats:
    """(n,) z of the score test without covariates if `positives` (2, n), heterozygous and
    homozygous, have the event. Unknown genotypes take the mean."""
    every, copies = np.array(table.every, np.float64), np.arange(3.0)
    mean = every @ copies / every.sum()
    scores, which = np.unique(positives[0] + 2 * positives[1], return_inverse=True)
    z = equivalent_z(
        scores - mean * sum(table.positives),
        np.append(copies - mean, 0.0)[:, None],
        np.full(4, share),
        np.append(every, people - every.sum()),
    )
    return z[which]
