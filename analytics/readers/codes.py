"""Code systems, value sets of the sensitive categories, and the variables that codes represent.

All three are data: `codes/sensitive.json` and `codes/genetic.json` (category, system, codes,
source) and `codes/variables.json`. Genetic results belong to the category of the genome, whatever
resource holds them. ICD-10, ICD-10-PCS and ATC are hierarchies: a listed code includes everything
below it, and a code *above* a listed one is too broad to be routed. Self-harm in ICD-10-CM is a
character inside other codes, so it is in this module instead of a list. LOINC and RxNorm have no
hierarchy: only listed codes are recognised, so a hospital adds its full lists with
`load_value_sets`, which can only add. Dots and capitals in ICD codes do not matter.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from analytics.canonical import load_strict
from analytics.errors import JsonRefused, PayloadError
from analytics.vocabulary import Category

# Categories that a code decides, for any resource type. They include germline-variants: a person
# who withholds the genome also withholds the results read from it.
SENSITIVE = frozenset(
    {
        Category.GERMLINE_VARIANTS,
        Category.MENTAL_HEALTH,
        Category.SUBSTANCE_USE,
        Category.SEXUAL_HEALTH,
        Category.HIV,
    }
)

LOCAL = "urn:volens:code"
# A code of which a custodian's map says the category alone (code_map.py). No file may use it.
MAPPED = "urn:volens:mapped"
WORDS = "urn:volens:words"  # of a reason that a custodian's map explains: the words are the code
UCUM = "http://unitsofmeasure.org"
# system URI: short name. SNOMED CT and CPT are absent (licences), national ICD editions too: held
# back at ingest.
SYSTEMS = {
    "http://loinc.org": "loinc",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "rxnorm",
    "http://www.whocc.no/atc": "atc",
    "http://hl7.org/fhir/sid/icd-10-cm": "icd-10-cm",
    "http://hl7.org/fhir/sid/icd-10": "icd-10",
    "http://www.cms.gov/Medicare/Coding/ICD10": "icd-10-pcs",
    "http://terminology.hl7.org/CodeSystem/icd-o-3": "icd-o-3",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode": "act-code",
    # Categories of the TNM classification, as AJCC and UICC both write them (staging.py).
    "http://cancerstaging.org": "tnm",
    LOCAL: "local",
    MAPPED: "mapped",
}
URIS = {short: uri for uri, short in SYSTEMS.items()}
SNOMED = "http://snomed.info/sct"
# ATC as the German institute publishes it, with the same codes for the same substances; and the
# object identifiers of HL7's registry, as files that were CDA documents before have them.
_OTHER_URIS = {
    "http://fhir.de/CodeSystem/bfarm/atc": URIS["atc"],
    "urn:oid:2.16.840.1.113883.6.1": URIS["loinc"],
    "urn:oid:2.16.840.1.113883.6.3": URIS["icd-10"],
    "urn:oid:2.16.840.1.113883.6.4": URIS["icd-10-pcs"],
    "urn:oid:2.16.840.1.113883.6.43.1": URIS["icd-o-3"],
    "urn:oid:2.16.840.1.113883.6.73": URIS["atc"],
    "urn:oid:2.16.840.1.113883.6.88": URIS["rxnorm"],
    "urn:oid:2.16.840.1.113883.6.90": URIS["icd-10-cm"],
    "urn:oid:2.16.840.1.113883.6.96": SNOMED,
}
HIERARCHIES = frozenset({"icd-10-cm", "icd-10", "icd-10-pcs", "icd-o-3", "atc"})
# A code that does not match its system's pattern may be free text or a disguised listed code, so it
# is held back.
_ICD = re.compile(r"[A-Za-z][0-9][0-9A-Za-z](?:\.?[0-9A-Za-z]{1,4})?")
# A category of T, N or M with its prefix (clinical, pathological, after treatment) and suffix.
TNM = re.compile(
    r"[ry]{0,2}[cp]?(?:T(?:X|0|is(?:\((?:DCIS|LCIS|Paget)\))?|[1-4](?:mi|[a-d])?(?:\(m\))?)"
    r"|N(?:X|0(?:\((?:i|mol)[+-]\))?|[1-3](?:mi|[a-c])?)(?:\((?:sn|f)\))?|M(?:0(?:\(i\+\))?|1[a-c]?))"
)
_SHAPES = {
    "loinc": re.compile(r"[1-9][0-9]{0,6}-[0-9]|LA[0-9]{1,6}-[0-9]"),
    "rxnorm": re.compile(r"[1-9][0-9]{0,7}"),
    "atc": re.compile(r"[A-Z](?:[0-9]{2}(?:[A-Z](?:[A-Z](?:[0-9]{2})?)?)?)?"),
    "icd-10-cm": _ICD,
    "icd-10": _ICD,
    "icd-10-pcs": re.compile(r"[0-9A-HJ-NP-Z]{7}"),
    "icd-o-3": re.compile(r"C[0-9]{2}(?:\.[0-9])?|[89][0-9]{3}/[0-9]"),
    "tnm": TNM,
    # Classes of an encounter (R4 value set v3-ActEncounterCode); its other codes are labels.
    "act-code": re.compile(r"AMB|EMER|FLD|HH|IMP|ACUTE|NONAC|OBSENC|PRENC|SS|VR"),
}
# A fact is about the person's own disease, medicine or procedure, but for these types: a mother's
# cancer is not hers, and who is allergic to a drug does not take it.
FACT_PREFIXES = {
    "AllergyIntolerance": "allergy-",
    "Encounter": "encounter-",
    "FamilyMemberHistory": "family-",
}
FACT_SYSTEMS = {
    prefix + system: system for prefix in ("", *FACT_PREFIXES.values()) for system in URIS
}
# ICD-10-CM (NCHS, Official Guidelines I.C.19.e and tabular list, chapters 19 and 20) has no
# X60-X70: a poisoning, toxic effect or asphyxiation code contains the intent, as 6th character or,
# before a placeholder X, as 5th: 2 is self-harm.
_WITH_INTENT = re.compile(r"T(?:3[6-9]|[45][0-9]|6[0-5]|71)")
_SELF_HARM = re.compile(_WITH_INTENT.pattern + r"[0-9A-Z](?:[0-9A-Z]2|2X)")
# Every code of these systems describes a genome. HL7 FHIR R4, "Code Systems for Genetics"; HL7
# Genomics Reporting, "Codings"; OIDs of HL7 v2 LRI: RefSeq, HGNC, HGVS, LRG, dbSNP, ISCN,
# cytogenetic location, IMGT/HLA, COSMIC, PharmGKB. Senders write them with and without https, www
# and a path (genenames.org/geneId).
_GENETIC_SYSTEM = re.compile(
    r"(?:https?://)?(?:[a-z0-9-]+\.)*(?:genenames\.org|hgvs\.org|sequenceontology\.org|ensembl\.org"
    r"|lrg-sequence\.org|pharmgkb\.org|pharmvar\.org|iscn\.karger\.com|ebi\.ac\.uk/ipd/imgt/hla"
    r"|cancer\.sanger\.ac\.uk/cancergenome|hl7\.org/fhir/uv/genomics-reporting"
    r"|ncbi\.nlm\.nih\.gov/(?:projects/snp|snp|clinvar|gene|refseq|dbvar|nuccore|variation))(?:[/#?|]|\Z)"
    r"|urn:oid:2\.16\.840\.1\.113883\.(?:6\.(?:28[0-4]|299|335|341)|3\.91[23])\Z",
    re.IGNORECASE,
)
UNKNOWN_SYSTEM = "unknown code system"
TOO_BROAD = "code too broad"
_FOLDER = Path(__file__).parent / "codes"
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Coding:
    """One (system, code) as written in a resource; either may be missing."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a custodian's map says of a code: the codes that it equals, and its categories.

    possible: codes of which one is meant, and nobody can say which. They bring nothing in, whatever
    other maps say, but what is sensitive among them counts.
    """

    targets: tuple[Coding, ...]
    categories: frozenset[int]
    possible: tuple[Coding, ...] = ()


@dataclass(frozen=True, slots=True)
class ValueSets:
    """categories: by system (short name, else its URI) and normal code; broad: codes above a listed
    one; mapped: what a custodian's maps say of codes of other systems, and of RxNorm's; recognised:
    codes that a custodian's list names without a meaning; optional: systems whose codes of
    a medicine may be left out beside a known one, as he says (meaning.py)."""

    categories: Mapping[str, Mapping[str, frozenset[int]]]
    broad: Mapping[str, frozenset[str]]
    mapped: Mapping[Coding, Mapped] = field(default_factory=dict)
    recognised: frozenset[Coding] = frozenset()
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Variable:
    """Meaning of a code. units: UCUM unit → (factor, offset) into `unit`; plausible: low < value <=
    high."""

    name: str
    unit: str
    category: int
    kind: str
    units: Mapping[str, tuple[float, float]]
    answers: Mapping[Coding, float]
    plausible: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's number, or None with the reason as note. Other notes: "", "converted"."""

    number: float | None
    note: str = ""


def usual_system(system: str) -> str:
    """The URI of a system as SYSTEMS spells it: without a stroke at its end, or by another name."""
    short = system.rstrip("/")
    return _OTHER_URIS.get(short, short if short in SYSTEMS else system)


def normal_code(system: str, code: str) -> str:
    """The spelling that is used to compare codes of this system (short name)."""
    return code.replace(".", "").upper() if system.startswith("icd-10") else code


def load_value_sets(payload: bytes, base: ValueSets | None = None) -> ValueSets:
    """`base` and the sets of a JSON list of {"category": 5 or 16-19, "system", "source", "codes":
    […]} added to it.

    system: a short name of SYSTEMS or a URI. Nothing can be removed. Raises PayloadError.
    """
    hint = "Give a JSON list of objects with category (5, or 16 to 19), system, source and codes."
    try:
        document = load_strict(payload, max_bytes=_MAX_BYTES, max_depth=4)
    except JsonRefused as refused:
        raise PayloadError(f"value sets: {refused}", hint) from None
    categories: dict[str, dict[str, frozenset[int]]] = (
        {} if base is None else {system: dict(codes) for system, codes in base.categories.items()}
    )
    for item in document if isinstance(document, list) else [None]:
        if not isinstance(item, dict) or set(item) != {"category", "system", "source", "codes"}:
            raise PayloadError(
                "value sets: an entry has not exactly category, system, source and codes", hint
            )
        category, name, codes = item["category"], item["system"], item["codes"]
        if type(category) is not int or category not in SENSITIVE:
            raise PayloadError("value sets: a category is not one of the sensitive ones", hint)
        if not isinstance(name, str) or not isinstance(codes, list):
            raise PayloadError(
                "value sets: a system is not text, or its codes are not a list", hint
            )
        system = SYSTEMS.get(usual_system(name), name)
        sets = categories.setdefault(system, {})
        for code in codes:
            if not isinstance(code, str) or not code:
                raise PayloadError("value sets: a code is not text", hint)
            sets[normal_code(system, code)] = sets.get(normal_code(system, code), frozenset()) | {
                category
            }
    return ValueSets(
        categories,
        {
            system: _ancestors(codes)
            for system, codes in categories.items()
            if system in HIERARCHIES
        },
    )


def sensitive_categories(coding: Coding, sets: ValueSets) -> frozenset[int]:
    """The sensitive categories of this code, also if its system is not in SYSTEMS.

    What a map says is added to what the lists say, so that it takes no code out of its category.
    """
    if coding.system is None:
        return frozenset()
    mapped = sets.mapped.get(coding)
    categories = _listed_categories(coding, sets)
    if _GENETIC_SYSTEM.match(coding.system):
        categories |= {Category.GERMLINE_VARIANTS}
    if mapped is not None:
        of_targets = (
            _listed_categories(target, sets) for target in (*mapped.targets, *mapped.possible)
        )
        categories = categories.union(mapped.categories & SENSITIVE, *of_targets)
    return categories


def _listed_categories(coding: Coding, sets: ValueSets) -> frozenset[int]:
    if coding.system is None or coding.code is None:
        return frozenset()
    system = SYSTEMS.get(coding.system, coding.system)
    codes = sets.categories.get(system, {})
    code = normal_code(system, coding.code)
    if system not in HIERARCHIES:
        return codes.get(code, frozenset())
    self_harm = {Category.MENTAL_HEALTH} if system == "icd-10-cm" and _SELF_HARM.match(code) else ()
    return frozenset(self_harm).union(
        *(codes.get(code[:end], ()) for end in range(1, len(code) + 1))
    )


def why_unroutable(coding: Coding, sets: ValueSets) -> str | None:
    """Why the category of this code cannot be determined; None if it can be routed."""
    mapped = sets.mapped.get(coding)
    if mapped is None or mapped.possible:
        return _why_unroutable_itself(coding, sets)
    # A target is taken as it is, also where the map explains it as well. What has a category alone
    # is written under a system of our own.
    named = (target for target in mapped.targets if target.system != MAPPED)
    return min(
        filter(None, (_why_unroutable_itself(target, sets) for target in named)), default=None
    )


def _why_unroutable_itself(coding: Coding, sets: ValueSets) -> str | None:
    if coding.code is None:
        return "no code"
    system = SYSTEMS.get(coding.system or "")
    if system is None or system == "mapped":
        return UNKNOWN_SYSTEM
    if system == "local":
        return None if coding in LOCAL_CODES else "unknown local code"
    if not _SHAPES[system].fullmatch(coding.code):
        return "malformed code"
    code = normal_code(system, coding.code)
    without_intent = (
        system == "icd-10-cm" and len(code) < 6 and _WITH_INTENT.match(code) is not None
    )
    if code in sets.broad.get(system, ()) or (
        without_intent and not sensitive_categories(coding, sets)
    ):
        return TOO_BROAD
    return None


def is_well_formed(coding: Coding) -> bool:
    """Whether a code looks like one of its system, which is one of SYSTEMS with a public shape."""
    shape = _SHAPES.get(SYSTEMS.get(coding.system or "", ""))
    return shape is not None and shape.fullmatch(coding.code or "") is not None


def measure(variable: Variable, element: Mapping[str, object]) -> Value:
    """The number of this variable in an Observation or component (value[x]), in its unit."""
    if variable.kind == "quantity":
        return _quantity(variable, element.get("valueQuantity"))
    if variable.kind == "boolean":
        answer = element.get("valueBoolean")
        return Value(float(answer)) if isinstance(answer, bool) else Value(None, "unknown answer")
    codings = list(codings_of(element.get("valueCodeableConcept")))
    numbers = {variable.answers[coding] for coding in codings if coding in variable.answers}
    return Value(numbers.pop()) if len(numbers) == 1 else Value(None, "unknown answer")


def codings_of(concept: object) -> Iterator[Coding]:
    """The codings of a CodeableConcept; a part that is not text counts as missing."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    for coding in codings if isinstance(codings, list) else []:
        if isinstance(coding, dict):
            system, code = coding.get("system"), coding.get("code")
            yield Coding(
                usual_system(system) if isinstance(system, str) else None,
                code if isinstance(code, str) else None,
            )


def _quantity(variable: Variable, quantity: object) -> Value:
    unit = (
        quantity.get("code")
        if isinstance(quantity, dict) and quantity.get("system") == UCUM
        else None
    )
    if not isinstance(quantity, dict) or not isinstance(unit, str) or unit not in variable.units:
        return Value(None, "unknown unit")
    number = quantity.get("value")
    if (
        isinstance(number, bool)
        or not isinstance(number, int | Decimal)
        or "comparator" in quantity
    ):
        return Value(None, "not one number")
    factor, offset = variable.units[unit]
    value = float(number) * factor + offset
    if not variable.plausible[0] < value <= variable.plausible[1]:
        return Value(None, "implausible")
    return Value(value, "" if (factor, offset) == (1, 0) else "converted")


def _ancestors(codes: Mapping[str, object]) -> frozenset[str]:
    above = {code[:end] for code in codes for end in range(1, len(code))}
    return frozenset(
        code for code in above if not any(code[:end] in codes for end in range(1, len(code) + 1))
    )


def _load_variables() -> tuple[dict[str, Variable], dict[Coding, Variable]]:
    document = load_strict(
        (_FOLDER / "variables.json").read_bytes(), max_bytes=_MAX_BYTES, max_depth=6
    )
    by_name: dict[str, Variable] = {}
    by_code: dict[Coding, Variable] = {}
    # Our file, which a test checks completely.
    for name, row in document.items():  # type: ignore[attr-defined]
        variable = Variable(
            name,
            row["unit"],
            row["category"],
            row["kind"],
            {
                unit: (float(factor), float(offset))
                for unit, (factor, offset) in row.get("units", {}).items()
            },
            {
                Coding(URIS[system], code): float(number)
                for system, code, number in row.get("answers", [])
            },
            (float(row["range"][0]), float(row["range"][1])) if "range" in row else (0.0, 0.0),
        )
        by_name[name] = variable
        by_code.update({Coding(URIS[system], code): variable for system, code in row["codes"]})
    return by_name, by_code


def _load_measured(part: str) -> dict[str, tuple[str, ...]]:
    document = load_strict(
        (_FOLDER / "measured.json").read_bytes(), max_bytes=_MAX_BYTES, max_depth=4
    )
    listed = document[part]  # type: ignore[index]
    return {name: tuple(codes) for name, codes in listed.items()}


def _load_care() -> dict[str, dict[str, str]]:
    document = load_strict((_FOLDER / "care.json").read_bytes(), max_bytes=_MAX_BYTES, max_depth=3)
    return dict(document)  # type: ignore[call-overload, no-any-return]


VARIABLES, VARIABLE_OF = _load_variables()
# Local codes of what a care plan asks and no free code system names: question, answers and words.
CARE = _load_care()
# LOINC codes of the measurements and tests that a care plan reads, by what they are of; and those
# that it does not read (in whole blood, as a number, as stated) but which put an older one in doubt.
MEASURED, DOUBTING = _load_measured("read"), _load_measured("doubt")
LOCAL_CODES = frozenset(
    coding
    for coding in [
        *VARIABLE_OF,
        *(answer for variable in VARIABLES.values() for answer in variable.answers),
        *(Coding(LOCAL, code) for question in CARE for code in (question, *CARE[question])),
    ]
    if coding.system == LOCAL
)
SHIPPED = load_value_sets(
    (_FOLDER / "genetic.json").read_bytes(),
    load_value_sets((_FOLDER / "sensitive.json").read_bytes()),
)
