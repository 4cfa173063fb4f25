"""Ancestry components of an association scan: LD pruning, and leaving out the tested chromosome.

Components of linked variants, or of a panel of few, are the panel's own signals: as covariates they
take a causal effect away. So they come from variants that are nearly independent, never from the
chromosome that is tested (as in LOCO scans, Yang et al. 2014, https://doi.org/10.1038/ng.2876), and
there are none where that leaves too few variants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

Floats = NDArray[np.float64]
MOST_R2 = 0.2  # of two variants that both stay
WINDOW = 50  # kept variants before it on the chromosome that a variant is compared with
LEAST_INDEPENDENT = 500  # pruned variants on the other chromosomes, fewer are a panel
MOST_INDEPENDENT = 10_000  # more are thinned evenly: they cost time and change no component
_ITERATIONS = 4


def prune(dosage: Floats, chromosome: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(m,) greedy LD pruning in the order of the columns (by chromosome and position): a variant
    stays if its r^2 with each of the last WINDOW that stayed on its chromosome is below MOST_R2.

    dosage: (n, m) without NaN. A column without variance does not stay.
    """
    people = len(dosage)
    centred = (dosage - dosage.mean(axis=0)).astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    kept = length > 1e-6 * np.sqrt(people)
    unit = np.ascontiguousarray((centred / np.where(kept, length, 1)).T)
    recent, filled, current = np.zeros((WINDOW, people), np.float32), 0, -1
    for at in np.flatnonzero(kept).tolist():
        if chromosome[at] != current:
            filled, current = 0, int(chromosome[at])
        before = recent[: min(filled, WINDOW)]
        if len(before) and np.square(before @ unit[at]).max() >= MOST_R2:
            kept[at] = False
        else:
            recent[filled % WINDOW] = unit[at]
            filled += 1
    return np.asarray(kept)


def components_by_chromosome(
    dosage: Floats, chromosome: NDArray[np.uint8], tested: Sequence[int], count: int
) -> dict[int, Floats]:
    """For each tested chromosome (n, count) components of the other chromosomes' variants; empty if
    `count` is 0, or for one chromosome fewer than LEAST_INDEPENDENT variants are on the others.

    dosage, chromosome: of pruned variants, without NaN. Principal components of the standardised
    genotypes (Patterson, Price & Reich 2006), unit length, signs fixed; from the n x n
    relationship matrix, by subspace iterations with a fixed seed (Halko et al. 2011).
    """
    others = {number: int((chromosome != number).sum()) for number in tested}
    if not count or min(others.values()) < LEAST_INDEPENDENT:
        return {}
    thinned = slice(None, None, -(-dosage.shape[1] // MOST_INDEPENDENT))
    dosage, chromosome = dosage[:, thinned], chromosome[thinned]
    # Half the precision for half the time: the components are covariates, not results.
    scaled = ((dosage - dosage.mean(axis=0)) / dosage.std(axis=0)).astype(np.float32)
    total = scaled @ scaled.T
    components = {}
    for number in tested:
        own = scaled[:, chromosome == number]
        vectors, _, _ = randomized_svd(
            total - own @ own.T,
            min(count, len(dosage) - 1),
            n_oversamples=10,
            n_iter=_ITERATIONS,
            power_iteration_normalizer="QR",
            random_state=0,
        )
        components[number] = np.asarray(vectors, np.float64)
    return components
