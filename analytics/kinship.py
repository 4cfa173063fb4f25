"""Kinship of every two people by KING-robust, with a standard error for each value.

The estimator for two people of unknown families (Manichaikul et al. 2010, Bioinformatics 26:2867,
equation 11; the one of KING and of plink2's --make-king). Over the variants called in both, D is
the sum of the squared differences of their dosages and H the number of heterozygous calls:

    kinship = 1/2 - D / (4 min(H of one, H of the other))

It uses no allele frequencies, so common ancestry does not pass for kinship. Its standard error is
that of a block jackknife over stretches of the genome (Busing, Meijer & van der Leeden 1999), since
neighbouring variants are correlated. A degree is claimed only if the value reaches its cut, and if
its lower bound excludes the kinship of the next lower degree. The bound is simultaneous for all
pairs (Bonferroni): otherwise chance would make relatives among the many pairs of a cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analytics.readers.genotypes import MISSING

# Smallest kinship of each degree (Manichaikul et al. 2010, table 1).
SAME_GENOME, FIRST, SECOND, THIRD = 0.354, 0.177, 0.0884, 0.0442
CUTS = (SAME_GENOME, FIRST, SECOND, THIRD)  # by degree, 0 for one person's or identical twins'
EXPECTED = (0.5, 0.25, 0.125, 0.0625, 0.0)  # kinship of each degree, and of people unrelated
REACHES = ("same-genome", "first-degree", "second-degree", "third-degree")
ALPHA = 0.05  # probability that any pair of a cohort gets a degree that is too close
# At rare variants everybody agrees: they cost time and tell little.
LEAST_FREQUENCY_PERCENT = 5
MOST_VARIANTS = 10_000  # more tell hardly more, since neighbours are correlated
LEAST_HETEROZYGOUS = 50  # calls of each of two people; with fewer they are not compared
LEAST_COMPARED = 0.9  # of all pairs: else it is not claimed that copies or relatives would be found
# Stretches of the genome, wider than correlations between variants reach.
STRETCH, LEAST_BLOCKS, MOST_BLOCKS = 10_000_000, 10, 50
_CELLS = 1 << 20  # pairs that are compared at once
Labels = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Kinship:
    """The related pairs of `people`: (one, other, degree), one < other, by position.

    furthest: the furthest degree that such variants can tell among so many people, 0 to 3; None if
    they are too few to compare most of them.
    """

    people: int
    pairs: tuple[tuple[int, int, int], ...]
    furthest: int | None

    def groups(self, degree: int) -> Labels:
        """(people,) a label each: equal for those linked by pairs of `degree` or closer."""
        # Loading it takes as long as comparing a small cohort, and mostly there are no pairs.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        linked = [pair for pair in self.pairs if pair[2] <= degree]
        rows, columns = ([pair[at] for pair in linked] for at in (0, 1))
        graph = coo_array((np.ones(len(linked)), (rows, columns)), (self.people, self.people))
        labels: Labels = connected_components(graph, directed=False)[1].astype(np.int64)
        return labels


@dataclass(frozen=True, slots=True)
class Relatives:
    """Who of some people have the same genome, or belong to one family (related to the third
    degree, directly or through others): equal labels, by subject. People without genotypes are
    absent. furthest: as in Kinship.
    """

    genome: Mapping[str, int]
    family: Mapping[str, int]
    furthest: int | None

    @property
    def reach(self) -> str:
        """How far relatives can be recognised, as a result prints it."""
        return "none" if self.furthest is None else REACHES[self.furthest]


NOBODY = Relatives({}, {}, None)


def count_genotypes(dosage: NDArray[np.int8]) -> NDArray[np.int64]:
    """(3, m) how often 0, 1 and 2 copies occur in (n, m) dosages."""
    return np.stack([np.count_nonzero(dosage == copies, axis=0) for copies in (0, 1, 2)])


def choose_common(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Columns of common variants, at most MOST_VARIANTS at even distances, from (3, m) counts of
    genotypes."""
    called = counts.sum(axis=0)
    copies = counts[1] + 2 * counts[2]
    rarer = np.minimum(copies, 2 * called - copies)
    common = np.flatnonzero((called > 0) & (100 * rarer >= LEAST_FREQUENCY_PERCENT * 2 * called))
    if len(common) <= MOST_VARIANTS:
        return common
    return common[np.linspace(0, len(common) - 1, MOST_VARIANTS).astype(np.intp)]


def relate(
    dosage: NDArray[np.int8],
    chromosome: NDArray[np.uint8],
    position: NDArray[np.uint32],
    tick: Callable[[float], None] = lambda fraction: None,
) -> Kinship:
    """Compare every two of n people.

    dosage: (n, m) of 0, 1, 2 or MISSING, of common variants in the order of the genome; chromosome,
    position: (m,). tick: called with the completed fraction. Neither the order of the people nor
    which allele is counted changes any value.
    """
    people = len(dosage)
    blocks = _blocks(chromosome, position)
    if people < 2 or len(blocks) < LEAST_BLOCKS:
        tick(1.0)
        return Kinship(people, (), None)
    among = people * (people - 1) // 2
    quantile = -float(stdtrit(len(blocks) - 1, ALPHA / among))  # of Student's t
    candidates: list[NDArray[np.float64]] = []
    spread = information = 0.0
    compared, start = 0, 0
    while start < people - 1:
        rows = max(1, _CELLS // (people - start))
        kinship, error, fewest = estimate(dosage[start:], blocks, rows)
        later = np.arange(people - start)[None, :] > np.arange(len(kinship))[:, None]
        usable = later & np.isfinite(kinship)
        spread += float((error[usable].astype(np.float64) ** 2).sum())
        information += float(fewest[usable].astype(np.float64).sum())
        compared += int(usable.sum())
        i, j = np.nonzero(usable & (kinship > THIRD))
        values = (part[i, j].astype(np.float64) for part in (kinship, error, fewest))
        candidates.append(np.stack([start + i, start + j, *values]))
        start += rows
        tick(1 - max(0, people - start) * max(0, people - start - 1) / (2 * among))
    if not compared:
        return Kinship(people, (), None)
    typical = quantile * float(np.sqrt(spread / compared))
    i, j, kinship, error, fewest = np.concatenate(candidates, axis=1)
    degree = _classify(
        kinship, quantile * error, typical * np.sqrt(information / compared / fewest)
    )
    pairs = tuple(
        (int(first), int(second), int(at))
        for first, second, at in zip(i, j, degree, strict=True)
        if at < len(CUTS)
    )
    furthest = sum(typical < expected for expected in EXPECTED[1:-1])
    return Kinship(people, pairs, furthest if compared >= LEAST_COMPARED * among else None)


def _classify(
    kinship: NDArray[np.float64], own: NDArray[np.float64], null: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The closest degree of each pair that its kinship and its lower bound allow; len(CUTS) if
    none.

    own: what may be error in the pair's value; null: in that of two unrelated people with as many
    heterozygous calls. Whether two are related is decided by the second: relatives share some
    stretches and not others, so their own error is larger, and an unrelated pair whose few
    stretches happen to agree has too small a one. Copies agree everywhere and have nearly no error.
    """
    degree = np.full(len(kinship), len(CUTS))
    bounds = (own, np.maximum(own, null), np.maximum(own, null), null)
    for at in reversed(range(len(CUTS))):
        degree[(kinship > CUTS[at]) & (kinship - bounds[at] > EXPECTED[at + 1])] = at
    return degree


def _blocks(chromosome: NDArray[np.uint8], position: NDArray[np.uint32]) -> list[slice]:
    """At most MOST_BLOCKS stretches of the genome, as slices of the columns."""
    stretch = chromosome.astype(np.int64) << 32 | position // STRETCH
    starts = np.flatnonzero(np.diff(stretch, prepend=-1))
    if len(starts) > MOST_BLOCKS:
        starts = starts[np.arange(MOST_BLOCKS) * len(starts) // MOST_BLOCKS]
    return [slice(int(first), int(end)) for first, end in pairwise([*starts, len(stretch)])]


def estimate(
    dosage: NDArray[np.int8], blocks: list[slice], rows: int
) -> tuple[Matrix, Matrix, Matrix]:
    """(kinship, standard error, the fewer heterozygous calls), (rows, n) each, of the first `rows`
    people with all; NaN for pairs with too few such calls.

    Every product sums whole numbers below 2^24, so float32 is exact and their order is irrelevant.
    """
    rows, people = min(rows, len(dosage)), len(dosage)
    distance, own, other, dd, ds, ss = np.zeros((6, rows, people), np.float32)
    for block in blocks:
        part = dosage[:, block]
        # Homozygous calls are -1 or 1, so all sums are of products of two people's codes.
        called = (part != MISSING).astype(np.float32)
        mixed = (part == 1).astype(np.float32)
        alike = (part == 2).astype(np.float32) - (part == 0)
        a, b = mixed[:rows] @ called.T, called[:rows] @ mixed.T
        own += a
        other += b
        a += b
        d = called[:rows] @ called.T
        d -= alike[:rows] @ alike.T
        d *= 2
        d -= a
        distance += d
        dd += d * d
        ds += d * a
        ss += a * a
    fewest = np.minimum(own, other)
    fewest[fewest < LEAST_HETEROZYGOUS] = np.nan
    ratio = distance / np.where(np.isnan(fewest), np.float32(1), own + other)
    # Of the ratio of two sums over blocks: the jackknife to first order.
    variance = np.maximum(dd - 2 * ratio * ds + ratio**2 * ss, 0) * len(blocks) / (len(blocks) - 1)
    kinship: Matrix = np.float32(0.5) - distance / (4 * fewest)
    error: Matrix = (np.sqrt(variance) / (4 * fewest)).astype(np.float32)
    return kinship, error, fewest
