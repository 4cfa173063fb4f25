"""Marks of a person's records: what a care plan must know of their ingest, without any content.

They are tags of the record's Bundle. The first two are written only where they are true, so a
record of an earlier version, which has none, counts as shifted and as incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from analytics.readers.codes import CARE, DOUBTING, LOCAL, MEASURED, URIS, Coding
from analytics.readers.staging import CLINICAL, PATHOLOGICAL

SYSTEM = "urn:volens:record"
TRUE_DATES = "true-dates"  # no date was shifted
# Nothing was held back that is or could be a medicine that she takes or took.
ALL_MEDICINES = "all-medicines"
# Of the record with the genome's category alone, since they tell of genomic results; followed by
# a slash and the HGNC id where the result names its gene.
RESULTS_NOT_FINAL = "genomic-results-not-final"
RESULTS_NOT_KEPT = "genomic-results-held-back"
# Of a variant, in its own tag: a classification of it was held back, which may say otherwise.
CLASS_NOT_KEPT = "classification-held-back"
# Of the record of observations: a result of a code that a care plan reads was not kept, so that an
# older one beside it may be outdated. Followed by the code and the day, without value.
OBSERVATION_NOT_FINAL = "observation-not-final"
OBSERVATION_NOT_KEPT = "observation-held-back"
# Of a Patient, in its own tag: the sex that is recorded at birth is not the administrative gender.
SEX_IN_DOUBT = "sex-in-doubt"
# Statuses of what never was a result (R4 observation-status).
VOID = frozenset({"entered-in-error", "cancelled"})
_LOINC = URIS["loinc"]
_STAGES = (*CLINICAL.values(), *PATHOLOGICAL.values())
_ASKED = {
    **{
        code: Coding(_LOINC, code)
        for codes in (*MEASURED.values(), *DOUBTING.values(), _STAGES)
        for code in codes
    },
    **{question: Coding(LOCAL, question) for question in CARE},
}
_MEDICINES = frozenset({"MedicationRequest", "MedicationStatement", "MedicationAdministration"})
_MEDICINES_UNREAD = frozenset({"MedicationDispense", "MedicationUsage"})
# By these statuses a medicine was surely not taken.
_NOT_TAKEN = frozenset({"cancelled", "entered-in-error", "draft", "not-taken", "not-done"})


def could_be_medicine(resource: Mapping[str, object]) -> bool:
    """Whether a resource that is held back or not taken may name a medicine of the person.

    One whose type R4 does not have may be anything.
    """
    kind = resource.get("resourceType")
    if not isinstance(kind, str):
        return True
    if kind in _MEDICINES:
        return str(resource.get("status")) not in _NOT_TAKEN
    return kind in _MEDICINES_UNREAD


def asked_codes(concept: object) -> frozenset[Coding]:
    """The codes of a concept that a care plan reads, in whatever system or shape they stand: senders
    spell LOINC's in many ways, and a code that is not kept must not be missed."""
    return frozenset(_ASKED[text] for text in map(str.strip, _texts(concept)) if text in _ASKED)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def observation_mark(coding: Coding, day: str, final: bool) -> str:
    """The mark of an Observation that is not kept. day: its date as FHIR writes it, or nothing."""
    kind = OBSERVATION_NOT_KEPT if final else OBSERVATION_NOT_FINAL
    return f"{kind}/{coding.code}/{day}"


def observations_not_kept(marks: Iterable[str]) -> Iterator[tuple[Coding, str, bool]]:
    """What `observation_mark` was given for each of these marks, in order."""
    for mark in sorted(marks):
        kind, _, rest = mark.partition("/")
        if kind in (OBSERVATION_NOT_KEPT, OBSERVATION_NOT_FINAL):
            code, _, day = rest.partition("/")
            system = LOCAL if code in CARE else _LOINC
            yield Coding(system, code), day, kind == OBSERVATION_NOT_KEPT


def write_marks(marks: Iterable[str]) -> dict[str, object]:
    """The element of a record's Bundle with these marks."""
    tags = [{"code": mark, "system": SYSTEM} for mark in sorted(marks)]
    return {"meta": {"tag": tags}} if tags else {}


def marks_of(record: Mapping[str, object]) -> frozenset[str]:
    """The marks of a record's Bundle, or of a resource."""
    meta = record.get("meta")
    tags: object = meta.get("tag") if isinstance(meta, dict) else None
    return frozenset(
        str(tag.get("code"))
        for tag in (tags if isinstance(tags, Sequence) else ())
        if isinstance(tag, dict) and tag.get("system") == SYSTEM
    )
