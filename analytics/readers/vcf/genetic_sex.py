"""Sex by the X chromosome of a cohort's VCF, to find samples under another's name.

Outside the pseudo-autosomal regions males have one X, so hardly a heterozygous call. As plink's
--check-sex (Purcell et al. 2007, Am J Hum Genet 81:559): F = 1 - heterozygous / expected, expected
by the allele frequencies of the cohort. A haploid call is not heterozygous.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cyvcf2 import Variant

from analytics.readers.vcf.calls import END, Row

FEMALE_BELOW, MALE_ABOVE = 0.2, 0.8  # of F; between them it tells nothing
# Rarer alleles have hardly a heterozygous call in either sex.
LEAST_FREQUENCY = 0.05
# With fewer, chance can take a female above MALE_ABOVE: the standard error of F is about 0.15.
LEAST_VARIANTS = 100
LEAST_PEOPLE = 10  # with fewer, their own calls make the frequencies
# Both ends of chromosome X pair with Y (Genome Reference Consortium, GRCh37 and GRCh38).
PSEUDO_AUTOSOMAL = {
    "GRCh37": ((60_001, 2_699_520), (154_931_044, 155_260_560)),
    "GRCh38": ((10_001, 2_781_479), (155_701_383, 156_030_895)),
}
_BASES = frozenset("ACGT")


class GeneticSex:
    """Heterozygous and expected calls of each person at variants of X."""

    def __init__(self, people: int, build: str) -> None:
        self._regions = PSEUDO_AUTOSOMAL[build]
        self._called = np.zeros(people, np.int64)
        self._heterozygous = np.zeros(people, np.int64)
        self._expected = np.zeros(people)

    def takes(self, row: Row, passed: bool) -> bool:
        """Whether a row is a variant of one base by which sexes differ."""
        contig, position, ref, alts = row.site
        return (
            passed
            and contig.removeprefix("chr") == "X"
            and row.keys[0] == b"GT"
            and len(alts) == 1
            and {ref.upper(), alts[0].upper()} <= _BASES
            and not any(first <= position <= last for first, last in self._regions)
        )

    def add(self, record: Variant) -> None:
        """Count the calls of a row that is taken; one that cannot be read tells nothing."""
        try:
            alleles = record.genotype.array()[:, :-1]  # the last column is the phase
        except Exception:  # cyvcf2 raises bare exceptions; rows of X are not packed
            return
        if len(alleles) != len(self._called) or alleles.shape[1] > 2:
            return
        first, second = alleles[:, 0], alleles[:, -1]
        haploid = second == END if alleles.shape[1] == 2 else np.True_
        called = (first >= 0) & ((second >= 0) | haploid)
        copies = np.where(called, first + np.where(haploid, 0, second), 0)
        alleles_called = int(called.sum() + (called & ~haploid).sum())
        if not alleles_called or copies.max() > 2:
            return
        frequency = copies.sum() / alleles_called
        if min(frequency, 1 - frequency) < LEAST_FREQUENCY:
            return
        # As plink: without the bias of a frequency that counts these people themselves.
        correction = alleles_called / (alleles_called - 1)
        self._called += called
        self._heterozygous += called & ~haploid & (first != second)
        self._expected += np.where(called, 2 * frequency * (1 - frequency) * correction, 0.0)

    def tell(self, subjects: Sequence[str]) -> dict[str, bool]:
        """Whether each person's X chromosomes are a female's, by subject; without whom they do not
        tell.
        """
        if len(subjects) < LEAST_PEOPLE:
            return {}
        enough = self._called >= LEAST_VARIANTS
        f = 1 - self._heterozygous / np.where(enough, self._expected, 1)
        return {
            subject: bool(value < FEMALE_BELOW)
            for subject, many, value in zip(subjects, enough, f, strict=True)
            if many and not FEMALE_BELOW <= value <= MALE_ABOVE
        }
