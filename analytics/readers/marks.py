"""Marks of a person's records: what a care plan must know of their ingest, without any content.

They are tags of the record's Bundle. The first two are written only where they are true, so a
record of an earlier version, which has none, counts as shifted and as incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
