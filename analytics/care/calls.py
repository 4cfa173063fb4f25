"""What packed genotypes alone say: tested DPYD positions, and a reason to confirm a BRCA1/2 call.

A position that the file does not list, or without a call, is not reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analytics.care.dpyd import BUILD, CHROMOSOME, VARIANTS
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.care.variants import listed
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
    """Facts from genotypes alone; `brca` is a reason for a test, never one for a drug.

    dpyd_copies: of each variant of DPYD that was called, also where another has no call: one of
    them may contradict a report.
    """

    brca: Fact
    dpyd_variants: Fact
    dpyd_positions: Fact
    dpyd_copies: Mapping[str, int] = field(default_factory=dict)


def read_calls(genotypes: Genotypes | None) -> Calls:
    """The facts of a person's genotypes."""
    if genotypes is None:
        return Calls(_NO_FACT, _NO_FACT, _NO_FACT)
    if genotypes.sites.build != BUILD:
        build = Unknown(Reason.BUILD_MISSING, source=_SOURCE)
        return Calls(build, build, build)
    called = any((_dosage(genotypes, *site) or 0) > 0 for site in _PATHOGENIC)
    # Nothing called is no "no": the file may not have the place, and other variants are not known.
    brca: Fact = Known(True, None, _SOURCE) if called else Unknown(Reason.NO_REPORT, source=_SOURCE)
    return Calls(brca, *_dpyd(genotypes))


def _dpyd(genotypes: Genotypes) -> tuple[Fact, Fact, dict[str, int]]:
    copies: dict[str, int] = {}
    unknown: list[Unknown] = []
    trusted = genotypes.sites.passed & genotypes.is_trusted(_MIN_DEPTH, _MIN_QUALITY)
    for name, site in VARIANTS.items():
        rows = _rows(genotypes, CHROMOSOME, site.position)
        if not len(rows):
            continue
        dosages = genotypes.dosage[rows]
        alleles = [genotypes.sites.alleles[row] for row in rows]
        if (dosages < 0).any() or not trusted[rows].all():
            unknown.append(Unknown(Reason.NO_CALL, f"DPYD {name}", source=_SOURCE))
            continue
        others = [int(dosages[at]) for at, pair in enumerate(alleles) if pair != site.alleles]
        if any(others):
            detail = "a DPYD variant that CPIC's table does not have"
            unknown.append(Unknown(Reason.NOT_UNDERSTOOD, detail, source=_SOURCE))
            continue
        own = [int(dosages[at]) for at, pair in enumerate(alleles) if pair == site.alleles]
        copies[name] = own[0] if own else 0
    # A variant that was seen tells more than a call that is missing.
    unknown.sort(key=lambda one: one.reason != Reason.NOT_UNDERSTOOD)
    if not copies:
        missing = unknown[0] if unknown else Unknown(Reason.NOT_RECORDED, "no DPYD position")
        return missing, missing, copies
    positions = Known(tuple(sorted(copies)), None, _SOURCE)
    variants = Known(listed(copies), None, _SOURCE)
    return (unknown[0] if unknown else variants), positions, copies


def _dosage(genotypes: Genotypes, chromosome: int, position: int, alleles: str) -> int | None:
    for row in _rows(genotypes, chromosome, position):
        if genotypes.sites.alleles[row] == alleles and genotypes.sites.passed[row]:
            return int(genotypes.dosage[row])
    return None


def _rows(genotypes: Genotypes, chromosome: int, position: int) -> list[int]:
    sites = genotypes.sites
    at = np.flatnonzero((sites.chromosome == chromosome) & (sites.position == position))
    return [int(row) for row in at]
