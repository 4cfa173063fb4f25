"""Who is in the analysis: joins each subject's records, decides the outcome, leaves out who cannot be judged.

Does not choose features by looking at outcomes: everything that is fitted belongs into the fold (models.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.errors import CohortTooSmall, InputsError
from analytics.readers.observations import Findings

CLINICAL = ("age_years", "size_mm", "grade", "er_positive")
# A probe measured in fewer people than this is left out; in the others a gap is imputed inside the fold.
PROBE_COVERAGE = 0.5


@dataclass(frozen=True, slots=True)
class Record:
    """One subject's parsed records; None where no record of that category was given."""

    subject: str
    expression: Mapping[str, float] | None
    findings: Findings | None


@dataclass(frozen=True, slots=True)
class Cohort:
    """n people in ascending order of subject. Missing values are NaN.

    genes: (n, probes) log2; clinical: (n, 4) in the order of CLINICAL; event: (n,) 1 = metastasis within the
    horizon.
    granted: number of subjects handed in, of whom n could be analysed.
    """

    genes: NDArray[np.float64]
    probes: tuple[str, ...]
    clinical: NDArray[np.float64]
    event: NDArray[np.int64]
    granted: int

    @property
    def people(self) -> int:
        return len(self.event)


def assemble_cohort(
    records: Iterable[Record], *, horizon_days: int, needs_genes: bool, minimum: int, per_class: int
) -> Cohort:
    """Keep who has all needed records and a known outcome at the horizon.

    The same people serve every layer, so layers are comparable. Raises CohortTooSmall below `minimum` people
    or below `per_class` people with or without the event: the number found is not said.
    """
    ordered = sorted(records, key=lambda record: record.subject)
    kept: list[tuple[Record, Findings, bool]] = []
    for record in ordered:
        findings = record.findings
        if findings is None or (needs_genes and record.expression is None):
            continue
        event = outcome_at(findings, horizon_days)
        if event is not None:
            kept.append((record, findings, event))
    events = np.array([event for _, _, event in kept], dtype=np.int64)
    if len(kept) < max(minimum, 1):
        raise CohortTooSmall("fewer people than the minimum remain after filtering")
    if min(int(events.sum()), int((1 - events).sum())) < per_class:
        raise CohortTooSmall("one outcome has fewer people than there are folds")
    expressions = [record.expression or {} for record, _, _ in kept] if needs_genes else []
    genes, probes = _matrix_of(expressions) if needs_genes else (np.empty((len(kept), 0)), ())
    clinical = np.array([[_number(getattr(findings, name)) for name in CLINICAL] for _, findings, _ in kept])
    return Cohort(genes, probes, clinical, events, len(ordered))


def outcome_at(findings: Findings, horizon_days: int) -> bool | None:
    """Metastasis within the horizon? None when follow-up ended before it without one, or is missing.

    Leaving censored people out biases the estimate if they differ from the others: a survival model comes
    later.
    """
    if findings.metastasis is None or findings.follow_up_days is None:
        return None
    if findings.metastasis and findings.follow_up_days <= horizon_days:
        return True
    return False if findings.follow_up_days >= horizon_days else None


def _matrix_of(expressions: list[Mapping[str, float]]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    counts: dict[str, int] = {}
    for expression in expressions:
        for probe in expression:
            counts[probe] = counts.get(probe, 0) + 1
    probes = tuple(sorted(probe for probe, n in counts.items() if n >= PROBE_COVERAGE * len(expressions)))
    if not probes:
        raise InputsError("no probe is shared by half of the people", "Use records of one and the same platform.")
    rows = [[expression.get(probe, np.nan) for probe in probes] for expression in expressions]
    return np.array(rows, dtype=np.float64), probes


def _number(value: float | int | bool | None) -> float:
    return np.nan if value is None else float(value)
