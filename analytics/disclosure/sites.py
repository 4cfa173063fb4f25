"""Disclosure control for the carrier count and allele frequency of one variant.

As for rows (counts.py), the attacker knows this file and how many people's genotype is known:
carriers and frequency are printed at a level only if at least 5 (reference, heterozygous,
homozygous) counts would have been printed exactly like this; counts that a finer level prints do
not count among the 5.
"""

from __future__ import annotations

import numpy as np

from analytics.disclosure.counts import CANDIDATES_NEEDED, Integers, share
from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT, round_count

# From fine to coarse: (step of the frequency in percent, whether carriers are printed).
SITE_LEVELS = ((1, True), (2, True), (5, True), (1, False))
# With more people the counts are not listed: a site that fails the finest level is then withheld.
MOST_PEOPLE = 1000


def show_site(ref: int, het: int, hom: int) -> dict[str, int]:
    """{"frequency", "step", "carriers"}: percent in steps of `step`, count rounded to 5. Fewer or
    no keys if they would reveal the counts, and none with fewer than 10 carriers or
    non-carriers."""
    people, carriers, alleles = ref + het + hom, het + hom, het + 2 * hom
    if min(carriers, ref) < SMALLEST_COUNT:
        return {}
    at = _find_level(people, carriers, alleles)
    if at < 0:
        return {}
    step, both = SITE_LEVELS[at]
    shown = {"frequency": share(alleles, 2 * people, step), "step": step}
    rounded = round_count(carriers)
    return shown | {"carriers": rounded} if both and rounded is not None else shown


def _find_level(people: int, carriers: int, alleles: int) -> int:
    """Index of the level at which a site is printed, or -1."""
    low = COUNT_GRID * ((2 * carriers + COUNT_GRID) // (2 * COUNT_GRID)) - COUNT_GRID // 2
    near = np.arange(max(low, SMALLEST_COUNT), min(low + COUNT_GRID, people - SMALLEST_COUNT + 1))
    keys = _keys(*_counts(near), people, 0)
    if (
        int((keys == _keys(np.array([carriers]), np.array([alleles]), people, 0)).sum())
        >= CANDIDATES_NEEDED
    ):
        return 0
    if people > MOST_PEOPLE:
        return -1
    # Only few sites reach this line: those of small cohorts, or at the edge of the values that both
    # numbers leave.
    left = np.stack(_counts(np.arange(SMALLEST_COUNT, people - SMALLEST_COUNT + 1)))
    for level in range(len(SITE_LEVELS)):
        _, which, counts = np.unique(
            _keys(left[0], left[1], people, level), return_inverse=True, return_counts=True
        )
        good = counts[which] >= CANDIDATES_NEEDED
        if ((left[0] == carriers) & (left[1] == alleles) & good).any():
            return level
        left = left[:, ~good]
    return -1


def _counts(carriers: Integers) -> tuple[Integers, Integers]:
    """(carriers, alleles) for every number of homozygous people among each number of carriers."""
    each = carriers.repeat(carriers + 1)
    start = np.repeat(np.cumsum(carriers + 1) - carriers - 1, carriers + 1)
    return each, each + np.arange(len(each)) - start


def _keys(carriers: Integers, alleles: Integers, people: int, level: int) -> Integers:
    """One number for each printed result of a level."""
    step, both = SITE_LEVELS[level]
    frequency = step * ((100 * alleles + step * people) // (2 * step * people))
    return frequency + (101 * ((2 * carriers + COUNT_GRID) // (2 * COUNT_GRID)) if both else 0)
