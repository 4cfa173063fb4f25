"""One person's FHIR R4 Bundle as a hospital exports it: read strictly, checked whole, before anything is taken.

Here the file as a whole is refused: not strict JSON, not R4, about two people, one page of several, an id twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics.canonical import load_strict
from analytics.errors import JsonRefused, PayloadError
from analytics.readers.resources import PROFILES, SUBJECT, SUBJECT_PREFIX

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32
MAX_ENTRIES = 100_000
MAX_VALUES = 200_000  # below this, values may be as short as they like
BYTES_A_VALUE = 8  # an export has 20; empty lists and short numbers, 3 bytes each, take forty times that in memory
BUNDLE_TYPES = ("transaction", "collection", "searchset")


@dataclass(frozen=True, slots=True)
class Source:
    """The resources of one file, the references that may mean the person, and what references mean."""

    resources: Sequence[Mapping[str, object]]
    person: frozenset[str]
    by_reference: Mapping[str, Mapping[str, object]]


def read_source(payload: bytes, subject: str) -> Source:
    """The checked resources of the one person's bundle. subject: 64 hex characters. Raises PayloadError."""
    if not SUBJECT.fullmatch(subject):
        raise PayloadError("FHIR bundle: the subject is not 64 lower-case hexadecimal characters")
    values = sum(payload.count(sign) for sign in (b",", b"[", b"{"))
    if values > max(MAX_VALUES, len(payload) // BYTES_A_VALUE):
        raise PayloadError("FHIR bundle: it has more values than a file of its size can mean")
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    except JsonRefused as refused:
        raise PayloadError(f"FHIR bundle: {refused}") from None
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        raise PayloadError("FHIR bundle: it is not a FHIR Bundle")
    if document.get("type") not in BUNDLE_TYPES:
        raise PayloadError("FHIR bundle: its type is not transaction, collection or searchset")
    links = document.get("link", [])
    if not isinstance(links, list) or any(
        not isinstance(link, dict) or link.get("relation") == "next" for link in links
    ):
        raise PayloadError("FHIR bundle: it is one page of several", "Join all pages into one bundle.")
    entries = document.get("entry")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ENTRIES:
        raise PayloadError(f"FHIR bundle: it must have 1 to {MAX_ENTRIES} entries")
    return _index(entries, subject)


def resolve(reference: object, resource: Mapping[str, object], source: Source) -> Mapping[str, object]:
    """The resource of this file that a reference means, or an empty one."""
    name = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(name, str):
        return {}
    contained = resource.get("contained")
    for inner in contained if isinstance(contained, list) else []:
        if isinstance(inner, dict) and name == f"#{inner.get('id')}":
            return inner
    return source.by_reference.get(name, {})


def _index(entries: Sequence[object], subject: str) -> Source:
    resources: list[Mapping[str, object]] = []
    by_reference: dict[str, Mapping[str, object]] = {}
    person: set[str] = set()
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(resource, dict):
            raise PayloadError("FHIR bundle: an entry has no resource")
        names = _names(entry, resource)
        if any(name in by_reference for name in names):
            raise PayloadError("FHIR bundle: two resources have the same id")
        by_reference.update(dict.fromkeys(names, resource))
        if resource.get("resourceType") == "Patient":
            if person:
                raise PayloadError("FHIR bundle: it is about more than one patient", "Export one patient a bundle.")
            person = {*names, SUBJECT_PREFIX + subject}
        resources.append(resource)
    if not person:
        raise PayloadError("FHIR bundle: it holds no Patient", "Export the patient with the records.")
    for resource in resources:
        _check_model(resource)
        _check_subject(resource, person)
    return Source(resources, frozenset(person), by_reference)


def _names(entry: Mapping[str, object], resource: Mapping[str, object]) -> set[str]:
    names = set()
    if isinstance(resource.get("id"), str):
        names.add(f"{resource.get('resourceType')}/{resource['id']}")
    if isinstance(entry.get("fullUrl"), str):
        names.add(str(entry["fullUrl"]))
    return names


def _check_model(resource: Mapping[str, object]) -> None:
    """R4 by the library's models for what is taken; of the rest only that R4 has such a type: it never leaves.

    The library lets TypeError, KeyError and RecursionError escape, and its messages quote the input.
    """
    from fhir.resources.R4B import get_fhir_model_class

    kind = resource.get("resourceType")
    try:
        model = get_fhir_model_class(str(kind))
        if kind == "Patient" or kind in PROFILES:
            model.model_validate(resource)
    except Exception:
        raise PayloadError("FHIR bundle: a resource is not valid FHIR R4") from None


def _check_subject(resource: Mapping[str, object], person: set[str]) -> None:
    """What is taken must name the person; nothing in the file may name another patient."""
    for element in ("subject", "patient", "beneficiary"):
        target = resource.get(element)
        reference = target.get("reference") if isinstance(target, dict) else None
        if isinstance(reference, str) and reference not in person:
            if resource["resourceType"] in PROFILES or "Patient/" in reference or reference.startswith(SUBJECT_PREFIX):
                raise PayloadError("FHIR bundle: a resource is about another subject")
        elif reference is None and element == "subject" and resource["resourceType"] in PROFILES:
            raise PayloadError("FHIR bundle: a resource does not say whom it is about")
