"""Ingest of a hospital's FHIR R4 export: one person's Bundle in, one reduced Bundle for each category out.

Routing goes by code, not by type (domain.md §1): a resource with a code of a sensitive value set goes into that
category's record and into no other; one that falls in two of them, or that cannot be understood (unknown code
system, no code, free text), goes into none and is counted. SNOMED CT is unknown here: its licence does not allow
to ship it. Every resource of the file is kept, held back or not taken, and the report adds up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from analytics.errors import PayloadError
from analytics.readers.bundle import Source, read_source, resolve
from analytics.readers.codes import (
    SHIPPED,
    UCUM,
    URIS,
    VARIABLE_OF,
    VARIABLES,
    Coding,
    ValueSets,
    codings_of,
    measure,
    sensitive_categories,
    why_unroutable,
)
from analytics.readers.resources import (
    CLINICAL,
    PROFILES,
    VERIFICATION,
    HeldBack,
    codings_or_none,
    reduce_patient,
    reduce_resource,
    value_codings,
)

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_RESTRICTED = frozenset({Coding(_CONFIDENTIALITY, "R"), Coding(_CONFIDENTIALITY, "V")})
NOTES = (
    "SNOMED CT is not among the code systems (licence): what is coded in it alone or beside another code is held back.",
    "LOINC and RxNorm have no hierarchy: only listed codes are recognised as sensitive; add the full value sets.",
)


@dataclass(frozen=True, slots=True)
class Split:
    """records: by category, a FHIR R4 Bundle (collection). report: counts only, no code and no value."""

    records: Mapping[int, bytes]
    report: Mapping[str, object]


def split_bundle(payload: bytes, subject: str, sets: ValueSets = SHIPPED) -> Split:
    """Records by category of the one person in a transaction, collection or searchset Bundle.

    subject: 64 hex characters, written instead of every reference to the person. The same input gives the same
    bytes. Raises PayloadError when the file as a whole cannot be trusted: not strict JSON, not R4, about two
    people, incomplete, or with an id twice.
    """
    source = read_source(payload, subject)
    kept: dict[int, list[Mapping[str, object]]] = {}
    held: dict[str, int] = {}
    left: dict[str, int] = {}
    for resource in source.resources:
        kind = str(resource["resourceType"])
        if kind != "Patient" and kind not in PROFILES:
            left[kind] = left.get(kind, 0) + 1
            continue
        try:
            category, reduced = _route(resource, source, subject, sets)
        except HeldBack as why:
            held[str(why)] = held.get(str(why), 0) + 1
        else:
            kept.setdefault(category, []).append(reduced)
    seen = len(source.resources)
    if seen != sum(map(len, kept.values())) + sum(held.values()) + sum(left.values()):
        raise PayloadError("FHIR bundle: the resources kept, held back and not taken do not add up")
    report = {
        "type": "volens/split/1",
        "seen": seen,
        "kept": {str(category): len(kept[category]) for category in sorted(kept)},
        "held back": dict(sorted(held.items())),
        "not taken": dict(sorted(left.items())),
        "values": _count_values([resource for resources in kept.values() for resource in resources]),
        "notes": list(NOTES),
    }
    return Split({category: write_record(kept[category]) for category in sorted(kept)}, report)


def write_record(resources: Sequence[Mapping[str, object]]) -> bytes:
    """A Bundle (collection) of reduced resources in the order of their bytes."""
    encoded = sorted(_encode({"resource": resource}) for resource in resources)
    return b'{"entry":[' + b",".join(encoded) + b'],"resourceType":"Bundle","type":"collection"}'


def _encode(value: object) -> bytes:
    def number(item: object) -> float:
        if isinstance(item, Decimal):
            return float(item)
        raise TypeError

    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=number).encode()


def _route(
    resource: Mapping[str, object], source: Source, subject: str, sets: ValueSets
) -> tuple[int, Mapping[str, object]]:
    """Category and reduced resource. Raises HeldBack."""
    if resource["resourceType"] == "Patient":
        return 0, reduce_patient(resource, subject)
    profile = PROFILES[str(resource["resourceType"])]
    medication = resolve(resource.get("medicationReference"), resource, source)
    related = _related(resource, "reasonReference", source)
    # mCODE: a staging's focus is the person's own cancer. Any other focus is a fetus, a donor, a relative, a device.
    if any(focus.get("resourceType") not in PROFILES for focus in _related(resource, "focus", source)):
        raise HeldBack("about somebody or something else than the person")
    concept = resource.get(profile.concept, medication.get("code", {}))
    reduced = reduce_resource(resource, concept if isinstance(concept, dict) else {}, subject)
    why = {why_unroutable(coding, sets) for coding in _deciding(resource, concept)} - {None}
    if why:
        raise HeldBack(min(map(str, why)))
    everywhere = {coding for part in (resource, medication, *related) for coding in _walk(part)}
    categories = {category for coding in everywhere for category in sensitive_categories(coding, sets)}
    if len(categories) > 1:
        raise HeldBack("in two sensitive categories")
    if categories:
        return categories.pop(), reduced
    if everywhere & _RESTRICTED:
        raise HeldBack("marked restricted by its source")
    return _ordinary(profile.category, reduced), reduced


def _ordinary(category: int, reduced: Mapping[str, object]) -> int:
    """The type's category; an observation of a lifestyle variable (steps, sleep) has its own."""
    variables = [VARIABLE_OF[coding] for coding in codings_of(reduced.get("code")) if coding in VARIABLE_OF]
    return variables[0].category if category == PROFILES["Observation"].category and variables else category


def _deciding(resource: Mapping[str, object], concept: object) -> Iterator[Coding]:
    """The codings that must all be understood: what is recorded, what it answers, and why it was done."""
    yield from codings_or_none(concept)
    yield from value_codings(resource)
    reasons = resource.get("reasonCode")
    for reason in reasons if isinstance(reasons, list) else []:
        yield from codings_or_none(reason)


def _related(resource: Mapping[str, object], element: str, source: Source) -> list[Mapping[str, object]]:
    references = resource.get(element)
    return [resolve(item, resource, source) for item in (references if isinstance(references, list) else [])]


def _walk(value: object) -> Iterator[Coding]:
    """Every coding anywhere inside, also in elements that are not kept: a reason or a label tells as much."""
    if isinstance(value, dict):
        if isinstance(value.get("system"), str) and isinstance(value.get("code"), str):
            yield Coding(value["system"], value["code"])
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _count_values(resources: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """How the observations kept will read in a run: "read", "converted", or why there is no number."""
    counts: dict[str, int] = {}
    for resource in resources:
        if resource["resourceType"] != "Observation":
            continue
        components = resource.get("component", [])
        for part in [resource, *(components if isinstance(components, list) else [])]:
            if not any(key.startswith("value") for key in part):
                continue
            variables = [VARIABLE_OF[coding] for coding in codings_of(part.get("code")) if coding in VARIABLE_OF]
            for note in [measure(variable, part).note or "read" for variable in variables] or ["no variable"]:
                counts[note] = counts.get(note, 0) + 1
    return dict(sorted(counts.items()))


def bundle_of(
    subject: str,
    *,
    gender: str,
    birth_year: int,
    conditions: Sequence[tuple[str, str, str | None]] = (),
    observations: Sequence[tuple[str | tuple[str, str], float | bool, str | None]] = (),
    medications: Sequence[tuple[str, str, str | None]] = (),
    procedures: Sequence[tuple[str, str, str | None]] = (),
) -> bytes:
    """A Bundle as a hospital would export it, of (system's short name, code, date) and, for observations, a
    variable of variables.json (in its unit) or (system, code) with a pure number or a truth value.

    The same arguments give the same bytes. Raises PayloadError for a system or variable that is not known.
    """
    resources: list[dict[str, object]] = [
        {"resourceType": "Patient", "id": subject, "gender": gender, "birthDate": f"{birth_year:04d}"}
    ]
    about = {"subject": {"reference": f"Patient/{subject}"}}
    for system, code, date in conditions:
        states = {"clinicalStatus": _coded(CLINICAL, "active"), "verificationStatus": _coded(VERIFICATION, "confirmed")}
        dated = {} if date is None else {"onsetDateTime": date}
        resources.append({"resourceType": "Condition", **states, "code": _named(system, code), **about, **dated})
    for name, value, date in observations:
        dated = {} if date is None else {"effectiveDateTime": date}
        resources.append({"resourceType": "Observation", "status": "final", **_observed(name, value), **about, **dated})
    for system, code, date in medications:
        dated = {} if date is None else {"authoredOn": date}
        order = {"status": "active", "intent": "order", "medicationCodeableConcept": _named(system, code)}
        resources.append({"resourceType": "MedicationRequest", **order, **about, **dated})
    for system, code, date in procedures:
        dated = {} if date is None else {"performedDateTime": date}
        done = {"status": "completed", "code": _named(system, code)}
        resources.append({"resourceType": "Procedure", **done, **about, **dated})
    entries = [{"resource": {"id": f"r{n}", **resource}} for n, resource in enumerate(resources)]
    return _encode({"resourceType": "Bundle", "type": "collection", "entry": entries})


def _observed(name: str | tuple[str, str], value: float | bool) -> dict[str, object]:
    if isinstance(name, tuple):
        pure = {"valueBoolean": value} if isinstance(value, bool) else {"valueQuantity": _amount(value, "1")}
        return {"code": _named(*name), **pure}
    if name not in VARIABLES:
        raise PayloadError("FHIR bundle: a variable is not in the list")
    variable = VARIABLES[name]
    code = next(coding for coding, measured in VARIABLE_OF.items() if measured is variable)
    asked = {"code": _coded(code.system, code.code)}
    if variable.kind == "quantity":
        return {**asked, "valueQuantity": _amount(value, next(iter(variable.units)))}
    if variable.kind == "boolean":
        return {**asked, "valueBoolean": bool(value)}
    answer = next((coding for coding, number in variable.answers.items() if number == value), None)
    if answer is None:
        raise PayloadError("FHIR bundle: an answer is not in the list")
    return {**asked, "valueCodeableConcept": _coded(answer.system, answer.code)}


def _amount(value: float, unit: str) -> dict[str, object]:
    return {"value": int(value) if float(value).is_integer() else float(value), "system": UCUM, "code": unit}


def _named(system: str, code: str) -> dict[str, object]:
    if system not in URIS:
        raise PayloadError("FHIR bundle: a code system is not known", "Use the short names of SYSTEMS.")
    return _coded(URIS[system], code)


def _coded(system: str | None, code: str | None) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code}]}
