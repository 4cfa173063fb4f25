"""Reads one person's clinical records for a run: plain JSON, without FHIR models.

It reads the reduced bundles. A record was checked when it was split (fhir.py) or written
(observations.py); here only its structure is checked again, strictly, and unexpected content is
refused. Values that are implausible or not a number in a known unit give no reading: the report of
the split has counted them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from analytics.canonical import load_strict
from analytics.errors import InputsError, JsonRefused, PayloadError
from analytics.readers.codes import (
    FACT_PREFIXES,
    FACT_SYSTEMS,
    HIERARCHIES,
    SENSITIVE,
    SHIPPED,
    SYSTEMS,
    VARIABLE_OF,
    VARIABLES,
    Coding,
    codings_of,
    measure,
    normal_code,
    sensitive_categories,
)
from analytics.readers.marks import marks_of
from analytics.readers.resources import PROFILES, SUBJECT_PREFIX, concepts_of
from analytics.vocabulary import Category

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 12
MAX_ENTRIES = 100_000
OLDEST = 90  # years: higher ages are one group (45 CFR 164.514(b)(2)(i)(C))
ANY_TIME = 400 * 366  # days: longer than any human life

_MEDICATIONS = frozenset({"MedicationRequest", "MedicationStatement", "MedicationAdministration"})
_TYPES: dict[int, frozenset[str]] = {
    Category.DEMOGRAPHICS: frozenset({"Patient"}),
    Category.CONDITIONS: frozenset({"Condition"}),
    Category.OBSERVATIONS: frozenset({"Observation"}),
    Category.MEDICATIONS: _MEDICATIONS | {"AllergyIntolerance"},
    Category.PROCEDURES: frozenset({"Procedure", "Encounter"}),
    Category.LIFESTYLE: frozenset({"Observation"}),
    **dict.fromkeys(SENSITIVE, frozenset(PROFILES)),
}
_TIMES = {
    kind: tuple(dict.fromkeys(target for _, target in profile.times))
    for kind, profile in PROFILES.items()
}
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_MONTH_ENDS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Fact:
    """A diagnosis, medication, procedure, allergy, encounter, or disease of a relative.

    system: short name, with a prefix of FACT_PREFIXES; day: since 1970-01-01 or None. recorded: the
    day from which it was known, if that is later.
    """

    category: int
    system: str
    code: str
    day: int | None
    recorded: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a variable, in its unit."""

    variable: str
    value: float
    day: int | None


@dataclass(frozen=True, slots=True)
class ClinicalRecord:
    """One person's record. first_day, last_day: of the dated entries of any type."""

    birth_year: int | None
    female: bool | None
    facts: tuple[Fact, ...]
    readings: tuple[Reading, ...]
    last_day: int | None
    first_day: int | None = None


def read_clinical_record(payloads: Mapping[int, bytes], subject: str) -> ClinicalRecord:
    """The record of `subject` (64 hex) from payloads by category (0-5, 9, 16-19; may be missing).

    Raises PayloadError for a payload that is not a reduced bundle, has another category or is about
    somebody else.
    """
    birth_year, female = None, None
    facts: list[Fact] = []
    readings: list[Reading] = []
    days: list[int] = []
    for category in sorted(payloads):
        for resource in read_resources(category, payloads[category], subject)[0]:
            kind = resource["resourceType"]
            if kind == "Patient":
                birth_year, female = _person(resource)
                continue
            of_resource = list(_days_of(resource))
            day = of_resource[0] if of_resource else None
            days += [] if day is None else [day]
            if kind == "Observation":
                readings += _readings(resource, day)
            else:
                recorded = max(of_resource, default=None)
                facts += _facts(category, resource, day, None if recorded == day else recorded)
    return ClinicalRecord(
        birth_year,
        female,
        tuple(
            sorted(
                facts, key=lambda fact: (fact.category, fact.system, fact.code, _or_first(fact.day))
            )
        ),
        tuple(
            sorted(
                readings,
                key=lambda reading: (reading.variable, _or_first(reading.day), reading.value),
            )
        ),
        max(days, default=None),
        min(days, default=None),
    )


def read_resources(
    category: int, payload: bytes, subject: str
) -> tuple[list[Mapping[str, object]], frozenset[str]]:
    """The resources of a record of this category about `subject`, and its marks (marks.py).

    Raises PayloadError.
    """
    document = _load(category, payload)
    resources = list(_resources(category, document))
    for resource in resources:
        _check_subject(resource, subject)
    return resources, marks_of(document)


def is_record(payload: bytes) -> bool:
    """Whether a payload is a clinical record: it begins like JSON, unlike the other formats."""
    return payload[:1] == b"{"


def value_at(
    clinical: ClinicalRecord, variable: str, day: int | None, days_before: int = ANY_TIME
) -> float | None:
    """The latest value on `day` or at most `days_before` before it; an undated one if none is.

    day None: the latest of all. Of several on one day the middle one (the lower of two).
    `age_years` is computed from the year of birth if it is not recorded, and OLDEST at most;
    `female` is 1, 0 or None.
    Raises InputsError.
    """
    if variable == "female":
        return None if clinical.female is None else float(clinical.female)
    if variable not in VARIABLES:
        raise InputsError(
            "a variable is not in the list",
            f"Choose among: {', '.join(sorted(VARIABLES))}, female.",
        )
    candidates = [reading for reading in clinical.readings if reading.variable == variable]
    dated = [
        (reading.day, reading.value)
        for reading in candidates
        if reading.day is not None and (day is None or day - days_before <= reading.day <= day)
    ]
    if dated:
        latest = max(when for when, _ in dated)
        values = [value for when, value in dated if when == latest]
    else:
        values = [reading.value for reading in candidates if reading.day is None]
    if values:
        return sorted(values)[(len(values) - 1) // 2]
    return _age(clinical, day) if variable == "age_years" else None


def matches(fact: Fact, pattern: str) -> bool:
    """Whether the fact has a code: "icd-10-cm:C50" and all below, or exactly "rxnorm:36437".

    Raises InputsError for a pattern without a known system or without a code.
    """
    system, _, code = pattern.partition(":")
    if system not in FACT_SYSTEMS or not code:
        raise InputsError(
            "a code pattern is not SYSTEM:CODE", "Systems: " + ", ".join(sorted(FACT_SYSTEMS)) + "."
        )
    if fact.system != system:
        return False
    base = FACT_SYSTEMS[system]
    wanted, actual = normal_code(base, code), normal_code(base, fact.code)
    return actual.startswith(wanted) if base in HIERARCHIES else actual == wanted


def day_number(text: str) -> int:
    """Days from 1970-01-01 to an ISO date of the proleptic Gregorian calendar, years 1 to 9999.

    A year or month alone means its last day, since the event may have happened as late as that.
    Raises PayloadError. Source: H. Hinnant, chrono-compatible low-level date algorithms,
    days_from_civil.
    """
    match = _DATE.fullmatch(text)
    year, month, day = (
        (None if part is None else int(part) for part in match.groups())
        if match
        else (0, None, None)
    )
    if not year or (month is not None and not 1 <= month <= 12):
        raise PayloadError("clinical record: a date is not a date")
    month = month or 12
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 29 if month == 2 and leap else _MONTH_ENDS[month - 1]
    if day is not None and not 1 <= day <= last:
        raise PayloadError("clinical record: a date is not a date")
    return _days(year, month, last if day is None else day)


def year_of(day: int) -> int:
    """The calendar year of a day number."""
    year = 1970 + math.floor(day / 365.2425)
    return year + (day >= _days(year + 1, 1, 1)) - (day < _days(year, 1, 1))


def _days(year: int, month: int, day: int) -> int:
    """days_from_civil: years begin in March, so that the leap day is the last."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _age(clinical: ClinicalRecord, day: int | None) -> float | None:
    when = clinical.last_day if day is None else day
    if clinical.birth_year is None or when is None or year_of(when) < clinical.birth_year:
        return None
    return float(min(year_of(when) - clinical.birth_year, OLDEST))


def _load(category: int, payload: bytes) -> Mapping[str, object]:
    if category not in _TYPES:
        raise PayloadError("clinical record: its category holds no clinical records")
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    except JsonRefused as refused:
        raise PayloadError(f"clinical record: {refused}") from None
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        raise PayloadError("clinical record: it is not a FHIR Bundle")
    return document


def _resources(category: int, document: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    entries = document.get("entry")
    if (
        document.get("type") != "collection"
        or not isinstance(entries, list)
        or len(entries) > MAX_ENTRIES
    ):
        raise PayloadError(
            f"clinical record: it is not a collection of {MAX_ENTRIES} entries at most"
        )
    if category == Category.DEMOGRAPHICS and len(entries) != 1:
        raise PayloadError("clinical record: it holds more than one patient")
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if (
            not isinstance(resource, dict)
            or not isinstance(kind, str)
            or kind not in _TYPES[category]
        ):
            raise PayloadError("clinical record: an entry is not of the record's category")
        statuses = PROFILES[kind].statuses if kind in PROFILES else {}
        status = resource.get("status")
        if statuses and not (isinstance(status, str) and statuses.get(status, False)):
            raise PayloadError("clinical record: an entry is not a fact by its status")
        yield resource


def _check_subject(resource: Mapping[str, object], subject: str) -> None:
    names = (
        resource.get("identifier")
        if resource["resourceType"] == "Patient"
        else [resource.get(PROFILES[str(resource["resourceType"])].person)]
    )
    element = "value" if resource["resourceType"] == "Patient" else "reference"
    name = names[0] if isinstance(names, list) and len(names) == 1 else None
    if not isinstance(name, dict) or name.get(element) != SUBJECT_PREFIX + subject:
        raise PayloadError("clinical record: it is about another subject")


def _person(patient: Mapping[str, object]) -> tuple[int | None, bool | None]:
    born = patient.get("birthDate")
    if born is not None and not (isinstance(born, str) and _DATE.fullmatch(born)):
        raise PayloadError("clinical record: a date is not a date")
    female = {"female": True, "male": False}.get(str(patient.get("gender")))
    return None if born is None else int(born[:4]), female


def _days_of(resource: Mapping[str, object]) -> Iterator[int]:
    """Its days, best first. A visit counts from its end, when it is settled what it was for; a
    treatment from its start."""
    for element in _TIMES[str(resource["resourceType"])]:
        value = resource.get(element)
        if isinstance(value, dict):  # a period
            visit = element == "period"
            value = value.get("end") if visit else value.get("start", value.get("end"))
        if value is not None:
            yield day_number(value if isinstance(value, str) else "")


def _readings(observation: Mapping[str, object], day: int | None) -> Iterator[Reading]:
    components = observation.get("component", [])
    for part in [observation, *(components if isinstance(components, list) else [])]:
        if not isinstance(part, dict):
            raise PayloadError("clinical record: a component is not an object")
        names = {VARIABLE_OF[coding].name for coding in _codings(part) if coding in VARIABLE_OF}
        for name in sorted(names):
            number = measure(VARIABLES[name], part).number
            if number is not None:
                yield Reading(name, min(number, OLDEST) if name == "age_years" else number, day)


def _facts(
    category: int, resource: Mapping[str, object], day: int | None, recorded: int | None
) -> Iterator[Fact]:
    """The facts of a resource, except codes that belong to another category than its record.

    A record may be older than the list with such a code: an analyst with consent for diagnoses only
    must not learn from it that a mutation was found.
    """
    prefix = FACT_PREFIXES.get(str(resource["resourceType"]), "")
    for coding in _codings(resource):
        system = SYSTEMS.get(coding.system or "")
        if system is None or coding.code is None:
            raise PayloadError("clinical record: a code has no known system")
        belongs = sensitive_categories(coding, SHIPPED)
        if belongs and category not in belongs:
            continue
        yield Fact(category, prefix + system, coding.code, day, recorded)


def _codings(part: Mapping[str, object]) -> list[Coding]:
    """The codings of a resource, or of a component of an Observation."""
    concepts = concepts_of(part) if "resourceType" in part else [part.get("code")]
    codings = [coding for concept in concepts for coding in codings_of(concept)]
    if not codings:
        raise PayloadError("clinical record: an entry has no code")
    return codings


def _or_first(day: int | None) -> float:
    return -math.inf if day is None else day
