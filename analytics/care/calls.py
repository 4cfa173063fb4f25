"""What packed genotypes alone say: a reason to confirm a call of BRCA1/2 or DPYD, or to doubt a
laboratory's report that differs from it.

A position that the file does not list, or without a call, is not reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analytics.care.dpyd import BUILD, CHROMOSOME, NORMAL, VARIANTS
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.readers.genotypes import Genotypes

# Frequent pathogenic variants, as ClinVar's expert panel (ENIGMA) classifies them; GRCh38, VCF form:
# BRCA1 c.68_69del and c.5266dup, BRCA2 c.5946del. Read on 2026-11-30. A call of one is a reason to
# order the test that confirms it; no call of one says nothing.
_PATHOGENIC = (
    (17, 43124027, "ACT>A"),
    (17, 43057062, "T>TG"),
    (13, 32340300, "GT>G"),
)
_SOURCE = ("genotypes",)
# Reads and quality of a call that a dose may rest on; what the file does not give is not below.
_MIN_DEPTH, _MIN_QUALITY = 10, 20
_NO_FACT = Unknown(Reason.NOT_RECORDED, "no genotypes")


@dataclass(frozen=True, slots=True)
class Calls:
    """Facts from genotypes alone: a reason for a test, never one for a drug or a dose.

    dpyd_copies: of each variant of DPYD at a position that was called. dpyd_other: whether another
    allele was called there, which CPIC's table does not have.
    """

    brca: Fact
    dpyd: Fact
    dpyd_copies: Mapping[str, int] = field(default_factory=dict)
    dpyd_other: bool = False


def read_calls(genotypes: Genotypes | None) -> Calls:
    """The facts of a person's genotypes."""
    if genotypes is None:
        return Calls(_NO_FACT, _NO_FACT)
    if genotypes.sites.build != BUILD:
        build = Unknown(Reason.BUILD_MISSING, source=_SOURCE)
        return Calls(build, build)
    called = any((_dosage(genotypes, *site) or 0) > 0 for site in _PATHOGENIC)
    # Nothing called is no "no": the file may not have the place, and other variants are not known.
    brca: Fact = Known(True, None, _SOURCE) if called else Unknown(Reason.NO_REPORT, source=_SOURCE)
    copies, other = _dpyd(genotypes)
    reduced = other or any(number for name, number in copies.items() if name not in NORMAL)
    dpyd: Fact = (
        Known(True, None, _SOURCE) if reduced else Unknown(Reason.NO_REPORT, source=_SOURCE)
    )
    return Calls(brca, dpyd, copies, other)


def _dpyd(genotypes: Genotypes) -> tuple[dict[str, int], bool]:
    """Copies of each variant that was called, and whether another allele was called in its place."""
    copies: dict[str, int] = {}
    other = False
    trusted = genotypes.sites.passed & genotypes.is_trusted(_MIN_DEPTH, _MIN_QUALITY)
    for name, site in VARIANTS.items():
        rows = _rows(genotypes, CHROMOSOME, site.position)
        dosages = genotypes.dosage[rows]
        if not len(rows) or (dosages < 0).any() or not trusted[rows].all():
            continue
        own = [genotypes.sites.alleles[row] == site.alleles for row in rows]
        other = other or bool(dosages[np.logical_not(own)].any())
        copies[name] = int(dosages[own][0]) if any(own) else 0
    return copies, other


def _dosage(genotypes: Genotypes, chromosome: int, position: int, alleles: str) -> int | None:
    for row in _rows(genotypes, chromosome, position):
        if genotypes.sites.alleles[row] == alleles and genotypes.sites.passed[row]:
            return int(genotypes.dosage[row])
    return None


def _rows(genotypes: Genotypes, chromosome: int, position: int) -> list[int]:
    sites = genotypes.sites
    at = np.flatnonzero((sites.chromosome == chromosome) & (sites.position == position))
    return [int(row) for row in at]
