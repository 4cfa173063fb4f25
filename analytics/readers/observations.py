"""Clinical observations of one person (category 2): a FHIR R4 Bundle of Observation resources.

Format, stable: Bundle (type `collection`) whose entries are Observations with status final, amended
or corrected, subject reference `urn:volens:subject:<64 hex>`, each of these codes at most once:

    finding                  code                                    value
    age at diagnosis         urn:volens:code | age-at-diagnosis      Quantity, UCUM a
    oestrogen receptor       http://loinc.org | 85337-4              LOINC answer LA6576-8 positive,
                                                                     LA6577-6 negative
    histologic grade         http://loinc.org | 33732-9              urn:volens:code | grade-1,
                                                                     grade-2, grade-3
    tumour size              http://loinc.org | 21889-1              Quantity, UCUM mm or cm
    follow-up (metastasis)   urn:volens:code | follow-up             Quantity, UCUM d
    distant metastasis       urn:volens:code | distant-metastasis    boolean: seen by the end of
                                                                     follow-up
    lobular histology        urn:volens:code | lobular-histology     boolean
    subtype luminal A        urn:volens:code | pam50-luminal-a       boolean (PAM50)

A missing value is an absent Observation or one with `dataAbsentReason`, never 0. An unknown code is
refused, not skipped: it might be data of a more sensitive category. Other FHIR elements may be
present and are not read. LOINC codes: this material contains content from LOINC (http://loinc.org),
© Regenstrief Institute, Inc.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from analytics.canonical import load_strict
from analytics.errors import JsonRefused, PayloadError
from analytics.readers.clinical import OLDEST

LOINC = "http://loinc.org"
LOCAL = "urn:volens:code"
UCUM = "http://unitsofmeasure.org"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
SUBJECT_PREFIX = "urn:volens:subject:"

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_ENTRIES = 64
STATUSES = frozenset({"final", "amended", "corrected"})

# finding: (system, code)
CODES = {
    "age_years": (LOCAL, "age-at-diagnosis"),
    "er_positive": (LOINC, "85337-4"),
    "grade": (LOINC, "33732-9"),
    "size_mm": (LOINC, "21889-1"),
    "follow_up_days": (LOCAL, "follow-up"),
    "metastasis": (LOCAL, "distant-metastasis"),
    "lobular": (LOCAL, "lobular-histology"),
    "luminal_a": (LOCAL, "pam50-luminal-a"),
}
BOOLEANS = ("metastasis", "lobular", "luminal_a")
# Not written where they are missing: few records have them.
RARE = ("lobular", "luminal_a")
FINDING_OF = {code: finding for finding, code in CODES.items()}
# finding: ({UCUM unit: factor}, largest plausible value after conversion)
QUANTITIES: dict[str, tuple[dict[str, int], int]] = {
    "age_years": ({"a": 1}, 130),
    "size_mm": ({"mm": 1, "cm": 10}, 1000),
    "follow_up_days": ({"d": 1}, 40_000),
}
ANSWERS: dict[str, dict[tuple[str, str], int]] = {
    "er_positive": {(LOINC, "LA6576-8"): 1, (LOINC, "LA6577-6"): 0},
    "grade": {(LOCAL, "grade-1"): 1, (LOCAL, "grade-2"): 2, (LOCAL, "grade-3"): 3},
}
_SUBJECT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Findings:
    """One person's findings; None is missing. grade is 1-3, er_positive 0 or 1."""

    age_years: float | None = None
    size_mm: float | None = None
    grade: int | None = None
    er_positive: int | None = None
    follow_up_days: float | None = None
    metastasis: bool | None = None
    lobular: bool | None = None
    luminal_a: bool | None = None


def read_observations(payload: bytes, subject: str) -> Findings:
    """Findings of `subject` (64 hex characters). Raises PayloadError, also for another subject."""
    findings: dict[str, float | int | bool | None] = {}
    seen: set[str] = set()
    for observation in _observations(_load(payload)):
        if _subject_of(observation) != subject:
            raise PayloadError("observation record: it is about another subject")
        finding = _finding_of(observation)
        if finding in seen:
            raise PayloadError("observation record: the same finding appears twice")
        seen.add(finding)
        findings[finding] = _value_of(finding, observation)
    return Findings(**findings)  # type: ignore[arg-type]  # keys of CODES


def validate_observations(payload: bytes) -> None:
    """Full check at ingest, before encryption: strict JSON, our profile, then FHIR R4 (R4B models).

    Slow (it imports the FHIR models), so runs read without them (clinical.py). Raises PayloadError
    for every defect: the library lets TypeError, KeyError and RecursionError escape on malformed
    input, and its messages quote the input.
    """
    document = _load(payload)
    subjects = {_subject_of(observation) for observation in _observations(document)}
    if len(subjects) != 1:
        raise PayloadError("observation record: it must be about exactly one subject")
    read_observations(payload, subjects.pop())
    from fhir.resources.R4B.bundle import Bundle

    try:
        Bundle.model_validate(document)
    except Exception:  # one typed error at the boundary; chaining would carry the patient's values
        raise PayloadError("observation record: it is not a valid FHIR R4 bundle") from None


def write_observations(findings: Findings, subject: str) -> bytes:
    """Payload of one person; a missing finding is written with a reason, not as a value."""

    entries = [
        {"resource": _resource(finding, value, subject)}
        for finding in CODES
        if (value := getattr(findings, finding)) is not None or finding not in RARE
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    payload = json.dumps(bundle, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    read_observations(payload, subject)
    return payload


def _load(payload: bytes) -> dict[str, object]:
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    except JsonRefused as refused:
        raise PayloadError(f"observation record: {refused}") from None
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        raise PayloadError("observation record: it is not a FHIR Bundle")
    if document.get("type") != "collection":
        raise PayloadError("observation record: the Bundle's type is not collection")
    return document


def _observations(bundle: dict[str, object]) -> Iterator[dict[str, object]]:
    entries = bundle.get("entry")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ENTRIES:
        raise PayloadError(f"observation record: it must have 1 to {MAX_ENTRIES} entries")
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or resource.get("resourceType") != "Observation":
            raise PayloadError("observation record: an entry is not an Observation")
        if resource.get("status") not in STATUSES:
            raise PayloadError(
                "observation record: an Observation is not final, amended or corrected"
            )
        yield resource


def _subject_of(observation: dict[str, object]) -> str:
    subject = observation.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str) or not reference.startswith(SUBJECT_PREFIX):
        raise PayloadError("observation record: an Observation has no volens subject reference")
    identifier = reference.removeprefix(SUBJECT_PREFIX)
    if not _SUBJECT.fullmatch(identifier):
        raise PayloadError(
            "observation record: a subject is not 64 lower-case hexadecimal characters"
        )
    return identifier


def _coding(concept: object) -> tuple[str, str]:
    """The only (system, code) of a CodeableConcept; more than one is ambiguous."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    if not isinstance(codings, list) or len(codings) != 1 or not isinstance(codings[0], dict):
        raise PayloadError("observation record: a concept must have exactly one coding")
    system, code = codings[0].get("system"), codings[0].get("code")
    if not isinstance(system, str) or not isinstance(code, str):
        raise PayloadError("observation record: a coding has no system or code")
    return system, code


def _finding_of(observation: dict[str, object]) -> str:
    finding = FINDING_OF.get(_coding(observation.get("code")))
    if finding is None:
        raise PayloadError(
            "observation record: an Observation has a code that is not expected here"
        )
    return finding


def _value_of(finding: str, observation: dict[str, object]) -> float | int | bool | None:
    value_keys = [key for key in observation if key.startswith("value")]
    if "dataAbsentReason" in observation:
        if value_keys:
            raise PayloadError(
                "observation record: there is both a value and a reason for its absence"
            )
        return None
    if len(value_keys) != 1:
        raise PayloadError(
            "observation record: an Observation must have one value or a reason for its absence"
        )
    value = observation[value_keys[0]]
    if finding in QUANTITIES and value_keys[0] == "valueQuantity":
        return _quantity(finding, value)
    if finding in ANSWERS and value_keys[0] == "valueCodeableConcept":
        answer = ANSWERS[finding].get(_coding(value))
        if answer is None:
            raise PayloadError("observation record: an answer code is not expected here")
        return answer
    if finding in BOOLEANS and value_keys[0] == "valueBoolean" and isinstance(value, bool):
        return value
    raise PayloadError("observation record: a value has the wrong type for its code")


def _quantity(finding: str, quantity: object) -> float:
    units, largest = QUANTITIES[finding]
    if (
        not isinstance(quantity, dict)
        or quantity.get("system") != UCUM
        or quantity.get("code") not in units
    ):
        raise PayloadError(
            "observation record: a quantity has an unknown unit",
            f"Use UCUM units: {', '.join(sorted(units))} "
            f"for {finding.rpartition('_')[0].replace('_', ' ')}.",
        )
    if "comparator" in quantity:
        raise PayloadError("observation record: a quantity with a comparator is not one number")
    value = quantity.get("value")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise PayloadError("observation record: a quantity has no number")
    converted = float(value * units[str(quantity["code"])])
    if not 0 < converted <= largest:
        raise PayloadError("observation record: a quantity is not plausible")
    if finding == "age_years" and converted > OLDEST:
        raise PayloadError(
            f"observation record: an age is above {OLDEST}", "Write 90 for 90 and more."
        )
    return converted


def _resource(finding: str, value: float | int | bool | None, subject: str) -> dict[str, object]:
    system, code = CODES[finding]
    resource: dict[str, object] = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": SUBJECT_PREFIX + subject},
    }
    if value is None:
        resource["dataAbsentReason"] = {"coding": [{"system": ABSENT, "code": "unknown"}]}
    elif finding in QUANTITIES:
        number = int(value) if float(value).is_integer() else value
        unit = next(iter(QUANTITIES[finding][0]))
        resource["valueQuantity"] = {"value": number, "system": UCUM, "code": unit}
    elif finding in ANSWERS:
        answer = next(key for key, meaning in ANSWERS[finding].items() if meaning == value)
        resource["valueCodeableConcept"] = {"coding": [{"system": answer[0], "code": answer[1]}]}
    else:
        resource["valueBoolean"] = value
    return resource
