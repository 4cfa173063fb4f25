"""Reduces FHIR R4 resources to an allow-list of elements per type, with dates cut to the day.

Ids, narrative, notes, display texts, extensions, performers, encounters and locations are in no
list, so they are never kept. A resource that is not a plain statement about the person (refuted,
entered in error, not done, a plan, or with a modifier this reader does not know) is held back: read
as a fact it would mean the opposite. So is one that is not valid R4, with its type and element as
the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from analytics.readers.codes import UCUM, URIS, Coding, codings_of
from analytics.readers.genomics import (
    GENOTYPE,
    UNKNOWN_VALUE,
    UnfitResult,
    diplotype_of,
    is_result,
    reduce_components,
    spelled,
)
from analytics.readers.marks import SEX_IN_DOUBT, STAGE_IN_DOUBT, write_marks
from analytics.readers.staging import is_stage_in_doubt, stage_of
from analytics.vocabulary import Category

SUBJECT = re.compile(r"[0-9a-f]{64}")
SUBJECT_PREFIX = "urn:volens:subject:"
URI_SYSTEM = "urn:ietf:rfc:3986"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"

GENDERS = frozenset({"male", "female", "other", "unknown"})
# Extensions of a Patient: sex at birth, sex (US Core), recorded sex, sex for clinical use, and
# gender identity (HL7). Their answers: HL7 v3 AdministrativeGender, SNOMED CT as US Core names them.
_ABOUT_SEX = re.compile(
    r"birth-?sex|core-sex|recordedSex|sexParameter|genderIdentity", re.IGNORECASE
)
_SEXES = {
    **dict.fromkeys(("F", "female", "female-typical", "248152002", "446141000124107"), "female"),
    **dict.fromkeys(("M", "male", "male-typical", "248153007", "446151000124109"), "male"),
}
_BESIDE_SEX = frozenset({"type", "jurisdiction", "period", "sourceField", "acquisitionDate"})
_SEX_UNKNOWN = frozenset({"UNK", "ASKU", "asked-unknown", "unknown", "asked-declined"})
_CONDITION_STATES = {
    "clinicalStatus": (
        CLINICAL,
        frozenset({"active", "recurrence", "relapse", "inactive", "remission", "resolved"}),
    ),
    "verificationStatus": (
        VERIFICATION,
        frozenset(
            {
                "unconfirmed",
                "provisional",
                "differential",
                "confirmed",
                "refuted",
                "entered-in-error",
            }
        ),
    ),
}
_ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-"
_ALLERGY_STATES = {
    "clinicalStatus": (_ALLERGY + "clinical", frozenset({"active", "inactive", "resolved"})),
    "verificationStatus": (
        _ALLERGY + "verification",
        frozenset({"unconfirmed", "confirmed", "refuted", "entered-in-error"}),
    ),
}
# HL7 v3 RoleCode: by marriage, adoption or fostering, and neighbours: no inherited risk.
_NO_KIN = re.compile(
    r"HUSB|WIFE|SPS|FMRSPS|DOMPART|SIGOTHR|STP[A-Z]*|ADOPT[A-Z]*|[A-Z]*FOST|[A-Z]*INLAW|NBOR|FRND|ROOM"
)
_INTENTS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
_OTHER_INTENTS = frozenset({"proposal", "plan", "option"})

_MODIFIERS = ("modifierExtension", "implicitRules")  # they change the meaning of other elements
# {1.73_m2} belongs to the unit; any other annotation in braces is free text and equals 1 (UCUM
# §12).
_ANNOTATED_ONE = re.compile(r"(^|[/.])\{(?!1\.73_m2\})[^{}]*\}")
_ANNOTATION = re.compile(r"\{(?!1\.73_m2\})[^{}]*\}")
_UNIT = re.compile(r"[A-Za-z0-9\[\]_./*^%'()+\-{}]{1,32}")
# Units that senders confuse, in small letters, each with what it is: UCUM's codes and usual words.
_UNIT_MEANINGS = {
    **{
        unit: unit
        for unit in "mg/dl g/dl g/l mg/l ug/dl umol/l mmol/l nmol/l kg g cm fl pg".split()
    },
    **dict.fromkeys("[lb_av] lb lbs pound pounds pfund pfd".split(), "pound"),
    **dict.fromkeys("[oz_av] oz".split(), "ounce"),
    **dict.fromkeys("[stone_av] st stone".split(), "stone"),
    **dict.fromkeys("% percent prozent".split(), "%"),
    **dict.fromkeys("g/24h g/(24.h) g/d mg/24h mg/(24.h) mg/d".split(), "a day"),
    **dict.fromkeys("ml/min ml/min/{1.73_m2} ml/min/1.73m2".split(), "clearance"),
    **dict.fromkeys("/ul cells/ul {cells}/ul /mm3 mm3 /cmm".split(), "/ul"),
    **dict.fromkeys("10*3/ul 10*9/l 10*3/mm3 /nl".split(), "10*3/ul"),
}
# Systems whose codes name what is in a medicine.
MEDICINE_SYSTEMS = frozenset({URIS["atc"], URIS["rxnorm"]})
# Systems of nothing but medicines, which need a map: NDC (US), dm+d (NHS), PZN (Germany).
NATIONAL = frozenset(
    {
        "http://hl7.org/fhir/sid/ndc",
        "urn:oid:2.16.840.1.113883.6.69",
        "https://dmd.nhs.uk",
        "http://fhir.de/CodeSystem/ifa/pzn",
    }
)
_DAY = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?")


NO_FACT = "not a fact by its status"
INVALID_VALUE = "a result that its interpretation says is not valid"
# HL7 v3 ObservationInterpretation, and v2 table 0078 before it: failed quality control, substances
# that disturb the test, off its scale, held for a medical review.
_NO_VALUE = frozenset({"QCF", "AC", "TOX", "<", ">", "HM"})


class HeldBack(Exception):
    """This resource goes into no record. The argument is the reason, without resource text."""


def invalid(kind: str, element: str = "") -> str:
    """The reason for a resource that is not valid R4; both names must be names of R4."""
    return f"not valid FHIR R4: {kind}.{element}" if element else f"not valid FHIR R4: {kind}"


@dataclass(frozen=True, slots=True)
class Profile:
    """One resource type. statuses: every status of its R4 value set, True if it is a fact.

    times: elements that may contain its date, best first, each with the element it is written to.
    states: of a type without statuses, the value sets of its states. person: the element that names
    the person.
    """

    category: int
    concept: str
    statuses: Mapping[str, bool]
    times: tuple[tuple[str, str], ...]
    states: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    person: str = "subject"


def _statuses(taken: str, refused: str) -> dict[str, bool]:
    return {**dict.fromkeys(taken.split(), True), **dict.fromkeys(refused.split(), False)}


_EFFECTIVE = (("effectiveDateTime", "effectiveDateTime"), ("effectivePeriod", "effectiveDateTime"))
# What lasts keeps its period: a care plan asks when it ended, research when it began.
_LASTING = (("effectiveDateTime", "effectiveDateTime"), ("effectivePeriod", "effectivePeriod"))
_MEDICATION = "medicationCodeableConcept"
# Value sets: FHIR R4 (4.0.1) observation-status, medicationrequest-status,
# medication-statement-status, medication-admin-status, event-status, encounter-status,
# history-status, allergyintolerance-clinical and -verification.
PROFILES = {
    "Condition": Profile(
        Category.CONDITIONS,
        "code",
        {},
        (
            ("onsetDateTime", "onsetDateTime"),
            ("onsetPeriod", "onsetDateTime"),
            ("recordedDate", "recordedDate"),
        ),
        _CONDITION_STATES,
    ),
    "AllergyIntolerance": Profile(
        Category.MEDICATIONS,
        "code",
        {},
        (
            ("onsetDateTime", "onsetDateTime"),
            ("onsetPeriod", "onsetDateTime"),
            ("recordedDate", "recordedDate"),
        ),
        _ALLERGY_STATES,
        "patient",
    ),
    # Care as it was given: that somebody was in hospital, and why, is read from its type.
    "Encounter": Profile(
        Category.PROCEDURES,
        "type",
        _statuses(
            "arrived triaged in-progress onleave finished",
            "planned cancelled entered-in-error unknown",
        ),
        (("period", "period"),),
    ),
    # It speaks for kin, and of inherited risk: the category of the genome (fhir.py).
    "FamilyMemberHistory": Profile(
        Category.GERMLINE_VARIANTS,
        "condition",
        _statuses("partial completed", "entered-in-error health-unknown"),
        (("date", "date"),),
        person="patient",
    ),
    "Observation": Profile(
        Category.OBSERVATIONS,
        "code",
        _statuses(
            "final amended corrected", "registered preliminary cancelled entered-in-error unknown"
        ),
        (*_EFFECTIVE, ("effectiveInstant", "effectiveDateTime"), ("issued", "effectiveDateTime")),
    ),
    "MedicationRequest": Profile(
        Category.MEDICATIONS,
        _MEDICATION,
        _statuses("active on-hold completed stopped", "cancelled entered-in-error draft unknown"),
        (("authoredOn", "authoredOn"),),
    ),
    "MedicationStatement": Profile(
        Category.MEDICATIONS,
        _MEDICATION,
        _statuses(
            "active completed stopped on-hold", "entered-in-error intended unknown not-taken"
        ),
        (*_LASTING, ("dateAsserted", "effectiveDateTime")),
    ),
    "MedicationAdministration": Profile(
        Category.MEDICATIONS,
        _MEDICATION,
        _statuses("in-progress completed stopped on-hold", "not-done entered-in-error unknown"),
        _LASTING,
    ),
    "Procedure": Profile(
        Category.PROCEDURES,
        "code",
        _statuses(
            "completed in-progress", "preparation not-done on-hold stopped entered-in-error unknown"
        ),
        (("performedDateTime", "performedDateTime"), ("performedPeriod", "performedPeriod")),
    ),
}


def reduce_patient(patient: Mapping[str, object], subject: str) -> dict[str, object]:
    """Sex, year of birth, and whether or in which year the person died. Raises HeldBack."""
    reduced: dict[str, object] = {
        "resourceType": "Patient",
        "identifier": [{"system": URI_SYSTEM, "value": SUBJECT_PREFIX + subject}],
    }
    if "gender" in patient:
        if patient["gender"] not in GENDERS:
            raise HeldBack(invalid("Patient", "gender"))
        reduced["gender"] = patient["gender"]
    for source in ("birthDate", "deceasedDateTime"):
        if source in patient:
            reduced[source] = _day("Patient", source, patient[source])[:4]
    if isinstance(patient.get("deceasedBoolean"), bool):
        reduced["deceasedBoolean"] = patient["deceasedBoolean"]
    return reduced | write_marks({SEX_IN_DOUBT} if _is_sex_in_doubt(patient) else ())


def _is_sex_in_doubt(patient: Mapping[str, object]) -> bool:
    """Whether an extension about her sex says another one than her gender, or what is not read."""
    around = patient.get("_gender")
    for part in (patient, around if isinstance(around, dict) else {}):
        for extension in _listed(part, "extension"):
            if isinstance(extension, dict) and _ABOUT_SEX.search(str(extension.get("url"))):
                codes = set(_codes_in(extension))
                known = codes - _SEX_UNKNOWN
                if not codes or any(_SEXES.get(code) != patient.get("gender") for code in known):
                    return True
    return False


def _codes_in(value: object) -> Iterator[str]:
    """Every code of the values in an extension, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from _codes_in(item)
    elif isinstance(value, dict):
        if str(value.get("url")) in _BESIDE_SEX:
            return
        for name, item in value.items():
            if name in ("code", "valueCode") and isinstance(item, str):
                yield item
            else:
                yield from _codes_in(item)


def reduce_resource(
    resource: Mapping[str, object], concepts: Sequence[object], subject: str
) -> dict[str, object]:
    """The allowed elements of a resource of PROFILES; `concepts` are its `concepts_of`.

    Raises HeldBack, also for a status outside its value set.
    """
    kind = str(resource["resourceType"])
    profile = PROFILES[kind]
    if any(key in resource for key in _MODIFIERS) or resource.get("doNotPerform") is True:
        raise HeldBack("a modifier that this reader does not know")
    if kind == "FamilyMemberHistory" and _is_no_kin(resource):
        raise HeldBack("about somebody who is no kin by blood")
    reduced: dict[str, object] = {
        "resourceType": kind,
        **_coded(kind, profile.concept, concepts),
        profile.person: {"reference": SUBJECT_PREFIX + subject},
        **_states(resource, profile),
        **_time(resource, profile),
    }
    if kind == "Condition":
        reduced.update(_abatement(resource))
        reduced.update(write_marks({STAGE_IN_DOUBT} if is_stage_in_doubt(resource) else ()))
    if kind == "Observation":
        reduced.update(_result_values(resource) if is_result(resource) else _values(resource))
    if is_result(resource) and not any(name.startswith("effective") for name in resource):
        reduced.pop("effectiveDateTime", None)  # the day of issue is not that of the test
    return reduced


def _is_no_kin(history: Mapping[str, object]) -> bool:
    return any(
        _NO_KIN.fullmatch(coding.code or "") for coding in codings_of(history.get("relationship"))
    )


def concepts_of(
    resource: Mapping[str, object], medication: Mapping[str, object] | None = None
) -> list[object]:
    """The concepts that say what a resource states, of the original as of the reduced one.

    They decide about its category, so one without a code must not be ignored. medication: the one
    that it refers to.
    """
    kind = str(resource.get("resourceType"))
    if kind == "Encounter":
        kinds = [*_listed(resource, "type"), *_listed(resource, "serviceType")]
        # A class says too little to route by; a ward or service is in the type.
        return [{"coding": [resource.get("class")]}, *(kinds or [{}])]
    if kind == "FamilyMemberHistory":
        conditions = _listed(resource, "condition")
        return [part.get("code") if isinstance(part, dict) else None for part in conditions]
    if kind == "AllergyIntolerance":
        reactions = _listed(resource, "reaction")
        substances = [
            part["substance"]
            for part in reactions
            if isinstance(part, dict) and "substance" in part
        ]
        return [*([resource["code"]] if "code" in resource else []), *substances]
    concept = PROFILES[kind].concept
    return [resource.get(concept, (medication or {}).get("code")), *_ingredients(medication or {})]


def _ingredients(medication: Mapping[str, object]) -> Iterator[object]:
    """The ingredients of a Medication of which a code is of a system that names medicines."""
    for ingredient in _listed(medication, "ingredient"):
        concept = ingredient.get("itemCodeableConcept") if isinstance(ingredient, dict) else None
        named = [code for code in codings_of(concept) if code.system in MEDICINE_SYSTEMS]
        if named:
            yield _concept(iter(named))


def _listed(resource: Mapping[str, object], element: str) -> list[object]:
    value = resource.get(element)
    return value if isinstance(value, list) else [] if value is None else [value]


def _coded(kind: str, element: str, concepts: Sequence[object]) -> dict[str, object]:
    """The concepts of a resource in its element, codings only."""
    written = [_concept(map(spelled, codings_of(concept))) for concept in concepts]
    if kind == "Encounter":
        listed = written[0]["coding"]
        return {**({"class": listed[0]} if listed else {}), element: written[1:]}
    if kind == "FamilyMemberHistory":
        return {element: [{"code": concept} for concept in written]}
    return {element: {"coding": [coding for concept in written for coding in concept["coding"]]}}


def value_codings(resource: Mapping[str, object]) -> Iterator[Coding]:
    """Codings of an Observation besides its own code: of components and coded values.

    Not those that a stricter reader has checked: genomics.py, staging.py.
    """
    components = resource.get("component")
    if stage_of(resource) is not None or (_is_genotype(resource) and diplotype_of(resource)):
        return
    if is_result(resource):
        components = None
    for part in [resource, *(components if isinstance(components, list) else [])]:
        if isinstance(part, dict):
            if part is not resource:
                yield from codings_or_none(part.get("code"))
            if "valueCodeableConcept" in part:
                yield from codings_or_none(part["valueCodeableConcept"])


def codings_or_none(concept: object) -> list[Coding]:
    """The codings of a concept, or one empty coding: text without a code must not be ignored."""
    return list(codings_of(concept)) or [Coding(None, None)]


def _day(kind: str, element: str, value: object) -> str:
    """YYYY, YYYY-MM or YYYY-MM-DD of a FHIR date, dateTime or instant. Raises HeldBack."""
    match = _DAY.match(value) if isinstance(value, str) else None
    if match is None:
        raise HeldBack(invalid(kind, element))
    return match.group()


def _concept(codings: Iterator[Coding]) -> dict[str, list[dict[str, str | None]]]:
    return {"coding": [{"system": coding.system, "code": coding.code} for coding in codings]}


def _states(resource: Mapping[str, object], profile: Profile) -> dict[str, object]:
    if profile.statuses:
        status = resource.get("status")
        if not isinstance(status, str) or status not in profile.statuses:
            raise HeldBack(invalid(str(resource["resourceType"]), "status"))
        if not profile.statuses[status]:
            raise HeldBack(NO_FACT)
        return {"status": status, **_intent(resource)}
    states: dict[str, object] = {}
    for name, (system, allowed) in profile.states.items():
        if name in resource:
            code = _state(resource[name], system, allowed)
            if code is None:
                raise HeldBack(invalid(str(resource["resourceType"]), name))
            states[name] = _concept(iter([Coding(system, code)]))
            if name == "verificationStatus" and code != "confirmed":
                raise HeldBack(NO_FACT)
    return states


def _state(concept: object, system: str, allowed: frozenset[str]) -> str | None:
    """The only code, if it is in the R4 value set; None for another code or several."""
    codes = {coding.code for coding in codings_of(concept) if coding.system == system}
    code = codes.pop() if len(codes) == 1 else None
    return code if code in allowed else None


def _intent(resource: Mapping[str, object]) -> dict[str, object]:
    if resource["resourceType"] != "MedicationRequest":
        return {}
    intent = resource.get("intent")
    reported = resource.get("reportedBoolean") is True or "reportedReference" in resource
    if intent == "plan" and reported:  # US Core: what a person says that she takes
        return {"intent": "order"}
    if intent in _OTHER_INTENTS:
        raise HeldBack(NO_FACT)
    if intent not in _INTENTS:
        raise HeldBack(invalid("MedicationRequest", "intent"))
    return {"intent": intent}


def dates_not_kept(resource: Mapping[str, object]) -> list[str]:
    """The dates of a resource that is not kept; one that is empty if none can be read."""
    try:
        dates = _time(resource, PROFILES[str(resource["resourceType"])])
    except HeldBack:
        return [""]
    days = [
        date.get("end", date.get("start")) if isinstance(date, dict) else date
        for date in dates.values()
    ]
    return [str(day) for day in days] or [""]


def _time(resource: Mapping[str, object], profile: Profile) -> dict[str, object]:
    """Its dates: when it was, and for what has both, when it was recorded. Raises HeldBack."""
    dates: dict[str, object] = {}
    kind = str(resource["resourceType"])
    for source, target in profile.times:
        taken = target in dates or (source == "dateAsserted" and dates)
        value = None if taken else resource.get(source)
        if source == target and isinstance(value, dict):  # a period that stays one
            ends = {end: _day(kind, source, value[end]) for end in ("start", "end") if end in value}
            dates |= {target: ends} if ends else {}
            continue
        if isinstance(value, dict):
            # A period: its start; for an observation, its end, when it was complete.
            order = (
                ("end", "start") if resource["resourceType"] == "Observation" else ("start", "end")
            )
            value = next((value[end] for end in order if end in value), None)
        if value is not None:
            dates[target] = _day(str(resource["resourceType"]), source, value)
    if not dates and resource["resourceType"] == "MedicationAdministration":
        raise HeldBack("no date where R4 wants one")
    return dates


def _abatement(resource: Mapping[str, object]) -> dict[str, object]:
    period = resource.get("abatementPeriod")
    value = resource.get(
        "abatementDateTime", period.get("end") if isinstance(period, dict) else None
    )
    element = "abatementDateTime" if "abatementDateTime" in resource else "abatementPeriod"
    return {} if value is None else {"abatementDateTime": _day("Condition", element, value)}


def _result_values(resource: Mapping[str, object]) -> dict[str, object]:
    """The value and components of a genomic result."""
    try:
        components = reduce_components(resource)
    except UnfitResult as why:
        raise HeldBack(str(why)) from None
    if _is_genotype(resource):
        diplotype = diplotype_of(resource)
        if diplotype is None:
            raise HeldBack(UNKNOWN_VALUE)
        value: dict[str, object] = {"valueString": diplotype}
    else:
        value = _value(resource)
    if not value and not components:
        raise HeldBack("no value")
    return {**value, "component": components} if components else value


def _is_genotype(resource: Mapping[str, object]) -> bool:
    return GENOTYPE in map(spelled, codings_of(resource.get("code")))


def _values(resource: Mapping[str, object]) -> dict[str, object]:
    stage = stage_of(resource)
    if stage is not None:
        return {"valueCodeableConcept": _concept(iter([stage]))}
    reduced = _value(resource)
    components = []
    listed = resource.get("component")
    for part in listed if isinstance(listed, list) else []:
        value = _value(part)
        if value:
            components.append({"code": _concept(codings_of(part.get("code"))), **value})
    if components:
        reduced["component"] = components
    if not reduced:
        raise HeldBack("no value")
    return reduced


def _value(element: Mapping[str, object]) -> dict[str, object]:
    """The value[x] of an Observation or component, if its type cannot contain free text."""
    if "modifierExtension" in element:
        raise HeldBack("a modifier that this reader does not know")
    interpretations = _listed(element, "interpretation")
    if any(
        code.code in _NO_VALUE
        for interpretation in interpretations
        for code in codings_of(interpretation)
    ):
        raise HeldBack(INVALID_VALUE)
    value_keys = [key for key in element if key.startswith("value")]
    if not value_keys:
        return {}
    if "dataAbsentReason" in element:  # R4 obs-6, obs-7
        raise HeldBack("a value beside a reason for its absence")
    kind, value = value_keys[0], element[value_keys[0]]
    if kind in ("valueBoolean", "valueInteger"):
        return {kind: value}
    if kind == "valueCodeableConcept":
        return {kind: _concept(codings_of(value))}
    if kind == "valueQuantity" and isinstance(value, dict):
        return {kind: _quantity(value)}
    raise HeldBack("free text, or a kind of value that is not taken")


def _quantity(quantity: Mapping[str, object]) -> dict[str, object]:
    value, code, shown = (quantity.get(name) for name in ("value", "code", "unit"))
    written = (_plain_unit(str(text)) for text in (code, shown))
    if len({_UNIT_MEANINGS[text] for text in written if text in _UNIT_MEANINGS}) > 1:
        raise HeldBack("its unit says two things")
    if quantity.get("system") != UCUM or not isinstance(code, str) or not _is_number(value):
        raise HeldBack("a quantity without number or UCUM unit")
    unit = _ANNOTATION.sub("", _ANNOTATED_ONE.sub(r"\g<1>1", code))
    if not _UNIT.fullmatch(unit):
        raise HeldBack("a quantity without number or UCUM unit")
    reduced: dict[str, object] = {"value": value, "system": UCUM, "code": unit}
    if "comparator" in quantity:
        if quantity["comparator"] not in ("<", "<=", ">=", ">"):
            raise HeldBack(invalid("Observation", "valueQuantity.comparator"))
        reduced["comparator"] = quantity["comparator"]
    return reduced


def _plain_unit(text: str) -> str:
    """A unit as `_UNIT_MEANINGS` writes it: "lb(s)" and "Lbs." are lbs, "µmol/L" is umol/l."""
    plain = text.strip().casefold().replace("µ", "u").replace("μ", "u").removesuffix(".")
    return re.sub(r"\((\w+)\)$", r"\1", plain).replace("mcmol", "umol").replace("micromol", "umol")


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)
