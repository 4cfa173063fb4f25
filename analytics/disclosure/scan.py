"""What may leave the room of one variant's z: it is rounded until at least 5 tables of genotypes and outcomes fit.

As for rows (counts.py), the attacker knows this file and the exact numbers of people and of events, and a table
that a finer step prints is none of the 5. She also knows how many people have which genotype, from frequencies of the
same people (sites.py) or from filters that let the variant pass: only how those of the event divide is open.

A table's z is the score test's without covariates and components: with them z hangs on more than the table, and more
tables fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.disclosure.counts import CANDIDATES_NEEDED, Whole

Floats = NDArray[np.float64]
Z_STEPS = (1, 2, 5, 10)  # tenths
LEAST_TESTED = 100  # variants from which their median is printed


@dataclass(frozen=True, slots=True)
class Table:
    """(reference, heterozygous, homozygous) people of known genotype: those with the event, and all."""

    positives: tuple[int, int, int]
    every: tuple[int, int, int]


def tenths(z: Floats | float, step: int) -> Whole:
    """z as the nearest multiple of `step` tenths, halves upwards; also what a fit leaves just below a half."""
    return step * np.floor(10 * np.asarray(z) / step + 0.5 + 1e-5).astype(np.int64)


def tabulate(dosage: Floats, event: Whole) -> Table:
    """The table of a column of genotypes (n,); NaN is unknown and counts nowhere. event: (n,) 0 or 1."""
    profiles = [dosage == copies for copies in (0, 1, 2)]
    positives, every = (
        [int((kind & among).sum()) for kind in profiles] for among in (event == 1, event >= 0)
    )
    return Table((positives[0], positives[1], positives[2]), (every[0], every[1], every[2]))


def choose_step(table: Table, share: float) -> int:
    """The finest of Z_STEPS at which 5 tables share the printed z; 0 where there is none.

    share: of the whole cohort, how many have the event; people of unknown genotype are in it and take the mean.
    """
    if _alike(table) >= CANDIDATES_NEEDED:
        return Z_STEPS[0]
    # Only small cohorts come here, and variants of few homozygous or few other people.
    (ref, het, hom), events = table.every, sum(table.positives)
    positives = np.indices((het + 1, hom + 1)).reshape(2, -1)
    others = events - positives.sum(axis=0)
    positives = positives[:, (others >= 0) & (others <= ref)]
    truth = (positives == np.array(table.positives[1:])[:, None]).all(axis=0)
    z = _z_of(positives, table, share)
    for step in Z_STEPS:
        _, which, found = np.unique(tenths(z, step), return_inverse=True, return_counts=True)
        good = found[which] >= CANDIDATES_NEEDED
        if good[truth].any():
            return step
        z, truth = z[~good], truth[~good]
    return 0


def _alike(table: Table) -> int:
    """Tables in which those with the event carry as many copies: they have the very same z."""
    (ref, het, hom), events, copies = (
        table.every,
        sum(table.positives),
        table.positives[1] + 2 * table.positives[2],
    )
    fewest = max(0, copies - events, -((het - copies) // 2))  # homozygous people with the event
    return min(hom, copies // 2, ref - events + copies) - fewest + 1


def _z_of(positives: Whole, table: Table, share: float) -> Floats:
    """(n,) the score test's z without covariates where of the site's people `sick` (2, n), heterozygous and homozygous,
    have the event. Unknown genotypes take the mean."""
    (_, het, hom), known = table.every, sum(table.every)
    mean = (het + 2 * hom) / known
    information = share * (1 - share) * (het + 4 * hom - known * mean**2)
    score = positives[0] + 2 * positives[1] - mean * sum(table.positives)
    z: Floats = score / np.sqrt(max(information, 1e-9))
    return z
