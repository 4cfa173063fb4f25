"""Test cohorts from a matrix of genotypes, and parameters for their analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analytics.cohort import Cohort, Member, Person
from analytics.params import Params, complete, parse_params
from analytics.readers.clinical import ClinicalRecord, Reading
from analytics.readers.genotypes import MISSING, Genotypes, Sites, build_sites

OUTCOME = {
    "kind": "diagnosis",
    "index": ["icd-10-cm:C50"],
    "event": ["icd-10-cm:C79"],
    "horizon_days": 1825,
    "censoring": "exclude",
}


def sites_of(columns: int, chromosomes: int = 1) -> Sites:
    chromosome = np.sort(np.arange(columns) % chromosomes) + 1
    return build_sites(
        "GRCh38", chromosome, range(1, columns + 1), ["A>G"] * columns, [True] * columns
    )


def cohort_of(
    dosage: np.ndarray,
    event: np.ndarray,
    granted: int = 0,
    names: Sequence[str] = (),
    values: np.ndarray | None = None,
    chromosomes: int = 1,
) -> Cohort:
    """dosage: (n, m), NaN missing; values: (n, names)."""
    sites = sites_of(dosage.shape[1], chromosomes)
    calls = np.where(np.isnan(dosage), MISSING, dosage).astype(np.int8)
    full = np.full(dosage.shape[1], 60, np.uint8)
    members = []
    for at, row in enumerate(calls):
        known = (
            []
            if values is None
            else [(n, v) for n, v in zip(names, values[at], strict=True) if not np.isnan(v)]
        )
        clinical = ClinicalRecord(
            None, None, (), tuple(Reading(name, float(value), 0) for name, value in known), 100
        )
        person = Person(f"{at:064x}", clinical, None, Genotypes(sites, bytes(32), row, full, full))
        members.append(Member(person, 0, bool(event[at])))
    return Cohort(
        tuple(members),
        (("has the records", tuple(member.person.subject for member in members)),),
        granted or len(members),
    )


def asking(analysis: str = "associate", **changes: Any) -> Params:
    document: dict[str, Any] = {"analysis": analysis, **changes}
    if analysis == "associate":
        document["outcome"] = OUTCOME
    return parse_params(complete(document))


def silent(_phase: str, _fraction: float) -> None:
    pass
