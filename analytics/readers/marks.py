"""Marks of a person's records: what a care plan must know of their ingest, without any content.

They are tags of the record's Bundle. The first two are written only where they are true, so a
record of an earlier version, which has none, counts as shifted and as incomplete.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from analytics.readers.codes import (
    CARE,
    DOUBTING,
    LOCAL,
    MEASURED,
    SYSTEMS,
    URIS,
    Coding,
    codings_of,
    normal_code,
)
from analytics.readers.genomics import GUIDE, spelled
from analytics.readers.staging import (
    CLINICAL,
    GROUPS,
    IN_SNOMED,
    PATHOLOGICAL,
    is_stage_in_doubt,
)

SYSTEM = "urn:volens:record"
TRUE_DATES = "true-dates"  # no date was shifted
# Nothing was held back that is or could be a medicine that she takes or took.
ALL_MEDICINES = "all-medicines"
# Of the record with the genome's category alone, since they tell of genomic results; followed by
# a slash and the HGNC id where the result names its gene.
RESULTS_NOT_FINAL = "genomic-results-not-final"
RESULTS_NOT_KEPT = "genomic-results-held-back"
# Of a variant, in its own tag: a classification of it was held back, which may say otherwise. Of the
# record with the genome's category, with a gene as above: so was one of a variant that is not known.
CLASS_NOT_KEPT = "classification-held-back"
# Of the record of observations: a result of a code that a care plan reads was not kept, so that an
# older one beside it may be outdated. Followed by the code and the day, without value.
OBSERVATION_NOT_FINAL = "observation-not-final"
OBSERVATION_NOT_KEPT = "observation-held-back"
# Of the record of observations: a diagnosis was not kept that could be one of those of which a "no"
# is stated. Followed by its last day, without its code.
CONDITION_NOT_KEPT = "condition-held-back"
# Of every record: an allergy was not kept that could be one to a medicine.
ALLERGY_NOT_KEPT = "allergy-held-back"
# Of a Condition, in its own tag: a stage of it is IV, or not understood.
STAGE_IN_DOUBT = "stage-in-doubt"
# Of a medicine or result, in its own tag: every reason for it, or focus of it, is another disease than
# one of the breast, or is a cancer of the breast (where the file also names another cancer); of a
# result, that others of the file are of another cancer of the breast.
FOR_ANOTHER_DISEASE = "for-another-disease"
FOR_BREAST_CANCER = "for-breast-cancer"
OF_SEVERAL_TUMOURS = "of-several-tumours"
# Of a medicine, in its own tag: it is put on the skin or into the eye alone.
ON_SKIN_OR_EYE = "on-skin-or-eye"
# Of a medicine, in its own tag: how many days after its date it may still have been handed out, or
# given, as its repeats, its validity, its dosage and its dispenses say. Followed by a slash and the
# number, which a shift of the dates does not change.
LASTS = "lasts"
# Of a procedure, in its own tag: all its reasons are other diseases than a cancer of the breast.
OTHER_OPERATION = "for-another-reason"
# Of an encounter or a procedure, in its own tag: chemotherapy was the reason for it. Of the record of
# procedures, followed by its day: such a one was not kept.
CHEMOTHERAPY_SESSION = "chemotherapy-session"
# Of a Patient, in its own tag: the sex that is recorded at birth is not the administrative gender.
SEX_IN_DOUBT = "sex-in-doubt"
# Statuses of what never was a result (R4 observation-status).
VOID = frozenset({"entered-in-error", "cancelled"})
_LOINC = URIS["loinc"]
_STAGES = (*CLINICAL.values(), *PATHOLOGICAL.values(), *GROUPS)
_ASKED = {
    **{
        code: Coding(_LOINC, code)
        for codes in (*MEASURED.values(), *DOUBTING.values(), _STAGES)
        for code in codes
    },
    **{code: Coding(_LOINC, same) for code, same in IN_SNOMED.items()},
    **{question: Coding(LOCAL, question) for question in CARE},
    # T, N and M as mCODE and registries ask for them in SNOMED CT: clinical, pathological, or either.
    **{
        code: Coding(_LOINC, asked)
        for codes, asked in (
            ("78873005 384625004", "21899-0"),
            ("277206009 371494008", "21900-6"),
            ("277208005 399387003 371497001", "21907-1"),
        )
        for code in codes.split()
    },
}
_MEDICINES = frozenset({"MedicationRequest", "MedicationStatement", "MedicationAdministration"})
_MEDICINES_UNREAD = frozenset({"MedicationDispense", "MedicationUsage"})
# ICD-10 and ICD-10-CM: the diagnoses of which a care plan states a "no", and those around them.
_DENIED = re.compile(
    r"C7[789]|C80|C9[2-5]|D46|G08|I26|I6[37]6|I8[0125]|J6[78]|J70|J84|K7[0-46]|K918|O|Z3[2-79A]"
    r"|Z856|Z867"
)
_ICD = {URIS[system]: system for system in ("icd-10", "icd-10-cm")}
# SNOMED CT as HL7's value set allergyintolerance-code names it: no known allergy, also of a drug, of
# the environment, of food.
_NO_ALLERGY = frozenset({"716186003", "409137002", "428607008", "429625007"})
_OF_MEDICINES = frozenset({"medication", "biologic"})  # R4 allergy-intolerance-category
_WITHDRAWN = frozenset({"refuted", "entered-in-error"})
# How certain a German diagnosis is (BfArM, ICD-10-GM: Zusatzkennzeichen; an extension of HL7
# Germany): excluded, suspected, state after it; G is certain.
_CERTAINTY = re.compile(r"icd-10-gm-diagnosesicherheit", re.IGNORECASE)
EXCLUDED, SUSPECTED, HISTORY = "A", "V", "Z"
# How a result is called whose code is not known: its genes (HGNC), and what a care plan measures.
_GENES = {"BRCA1": "1100", "BRCA2": "1101", "DPYD": "3012", "CYP2D6": "2625"}
_GENE_NAMES = re.compile(
    r"BRCA[12/]*|DPYD|CYP2D6|(dihydropyrimidin|\bDPD\b|\bDPD-|\buracil)", re.IGNORECASE
)
_OF_GENOME = re.compile(r"GE|genetics?|genomics?", re.IGNORECASE)
_OF_URINE = r"\bu[- ]|[- (]u\b|\bur\b|\bi\. ?u\."
_FLUIDS = "fluid|ascit|aszit|pleur|punktat|drain|dialys|liquor|csf"
# By LOINC code: its names in small letters, as whole words, and what makes it another quantity.
_CALLED = {
    code: (re.compile(rf"\b(?:{names})\b"), re.compile(others))
    for code, names, others in (
        (
            "2160-0",
            r"\w*[ck]reatinin\w*|crea|creat|krea",
            f"urin|harn|orina|clear|ratio|kinase|24 ?h|albumin|{_OF_URINE}|{_FLUIDS}",
        ),
        (
            "718-7",
            r"\w*h(?:a|ae|ä|e)moglobin|hb|hgb",
            "a1c|gly[ck]|carbox|met-?h|f(?:o?e)tal|urin|harn|stool|stuhl|mean|corpus|mch|free|frei|"
            + _FLUIDS,
        ),
        ("751-8", r"\w*neutro\w*|anc|neut", f"%|percent|prozent|{_FLUIDS}"),
        (
            "777-3",
            r"platelets?|thrombo[cz]yt\w*|plts?",
            "mean|mittler|volum(?!e\\])|distrib|antibod|aggreg|apheresis|product",
        ),
        (
            "29463-7",
            r"(?:body)?weight|\w*gewicht",
            r"birth|geburt|ideal|goal|target|ziel|loss|gain|change|f(?:o?e)tal|specific|molec|bearing|\bfor\b|"
            r"\bdry|trocken|soll|wunsch|adjust|pre[- ]?pregnan|vor erkrank|id[ée]al|\blean|\bibw\b|"
            r"usual|baby|specimen|placenta",
        ),
        (
            "48676-1",
            r"her[ -]?2\w*|(?:c-?)?erb-?b-?2|hercep\s?test|p185\w*|"
            r"human epidermal growth factor receptor 2",
            "(?!)",
        ),
        ("85337-4", r"(?:o?e|ö)strogen[ -]?re[cz]eptor\w*", "(?!)"),
        ("85339-0", r"progesterone?[ -]?re[cz]eptor\w*", "(?!)"),
    )
}
# By every LOINC code of a measurement, what its words may not say.
_OTHERS = {
    same: others
    for code, (_, others) in _CALLED.items()
    for codes in MEASURED.values()
    if code in codes
    for same in codes
}
# Specimens of urine: HL7 v2 table 0487, SNOMED CT as the value set of specimens names it.
_URINE = frozenset({"UR", "URC", "122575003", "276833005"})
# By these statuses a medicine was surely not taken.
_NOT_HANDED_OUT = frozenset({"cancelled", "declined", "entered-in-error"})
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
    return kind in _MEDICINES_UNREAD and str(resource.get("status")) not in _NOT_HANDED_OUT


def could_be_diagnosis(condition: Mapping[str, object]) -> bool:
    """Whether a Condition that is not kept could be a diagnosis of which a care plan states a "no".

    One without a code of ICD-10 may be any.
    """
    if _is_withdrawn(condition) or EXCLUDED in certainties_of(condition.get("code")):
        return False
    codes = [
        coding
        for coding in codings_of(condition.get("code"))
        if coding.system in _ICD and coding.code
    ]
    return not codes or any(map(is_denied, codes)) or is_stage_in_doubt(condition)


def is_denied(coding: Coding) -> bool:
    """Whether a code is of a diagnosis of which a care plan states a "no", or around one."""
    return (
        coding.system in _ICD
        and coding.code is not None
        and _DENIED.match(normal_code(_ICD[coding.system], coding.code)) is not None
    )


def is_session(coding: Coding) -> bool:
    """Whether a code says that somebody came for chemotherapy (ICD-10, ICD-10-CM: Z51.1, Z51.11)."""
    code = normal_code("icd-10", coding.code or "")
    return coding.system in _ICD and code in ("Z511", "Z5111")


def certainties_of(concept: object) -> frozenset[str]:
    """How certain the German codes of a diagnosis say that it is: EXCLUDED, SUSPECTED, HISTORY."""
    if isinstance(concept, Mapping) and _CERTAINTY.search(str(concept.get("url"))):
        return frozenset(texts_within(concept)) & {EXCLUDED, SUSPECTED, HISTORY}
    parts = concept.values() if isinstance(concept, Mapping) else concept
    listed = parts if isinstance(parts, Iterable) and not isinstance(parts, str) else ()
    return frozenset[str]().union(*map(certainties_of, listed))


def could_be_allergy(allergy: Mapping[str, object]) -> bool:
    """Whether an AllergyIntolerance that is not kept could be an allergy to a medicine."""
    kinds = allergy.get("category")
    of_others = (
        isinstance(kinds, list) and kinds and not _OF_MEDICINES.intersection(map(str, kinds))
    )
    codes = {coding.code for coding in codings_of(allergy.get("code"))}
    return not (_is_withdrawn(allergy) or of_others or codes & _NO_ALLERGY)


def _is_withdrawn(resource: Mapping[str, object]) -> bool:
    stated = {coding.code for coding in codings_of(resource.get("verificationStatus"))}
    return bool(stated & _WITHDRAWN)


def genes_called(observation: Mapping[str, object]) -> frozenset[str] | None:
    """The HGNC ids of the genes that a result names in words, of those of which a care plan asks;
    empty if it is a genetic one and says neither its genes nor a code that is known; None if it
    seems to be none. What the guide for genomic reports names otherwise than a result, as its
    advice on drugs, is none.
    """
    systems = {spelled(coding).system for coding in codings_of(observation.get("code"))}
    if GUIDE in systems:
        return None
    parts = [observation.get(name) for name in ("code", "valueString", "valueCodeableConcept")]
    written = " ".join(texts_within([*parts, observation.get("component")]))
    # The enzyme, and what it breaks down, tell of its gene.
    named = {"DPYD" if match[1] else match[0].upper() for match in _GENE_NAMES.finditer(written)}
    if not named:
        category = [] if systems & SYSTEMS.keys() else texts_within(observation.get("category"))
        return frozenset() if any(map(_OF_GENOME.fullmatch, category)) else None
    known = named <= _GENES.keys()
    return frozenset(f"HGNC:{_GENES[name]}" for name in named) if known else frozenset()


def codes_called(concept: object) -> frozenset[Coding]:
    """What a result measures by its name, if its code is in no system that is known."""
    if any(coding.system in SYSTEMS for coding in codings_of(concept)):
        return frozenset()
    texts = (text for text in texts_within(concept) if "://" not in text)
    written = " ".join(texts).lower().replace("_", " ")
    return frozenset(
        Coding(_LOINC, code)
        for code, (names, others) in _CALLED.items()
        if names.search(written) and not others.search(written)
    )


def is_called_otherwise(concept: object, meant: object, specimens: Sequence[object]) -> bool:
    """Whether the words of what was measured, or of its specimens, say another quantity than its
    code, as "creatinine, urine" beside the code of serum; so does a code of a specimen of urine.

    meant: the concept by a custodian's map.
    """
    codes = {coding.code or "" for coding in codings_of(meant)} & _OTHERS.keys()
    if any(text in _URINE for text in texts_within(specimens)):
        return bool(codes)
    texts = (text for part in (concept, *specimens) for text in texts_within(part))
    written = " ".join(text for text in texts if "://" not in text).lower()
    return any(_OTHERS[code].search(written) for code in codes)


def asked_codes(concept: object) -> frozenset[Coding]:
    """The codes of a concept that a care plan reads, in whatever system or shape they stand: senders
    spell LOINC's in many ways, and a code that is not kept must not be missed."""
    return frozenset(
        _ASKED[text] for text in map(str.strip, texts_within(concept)) if text in _ASKED
    )


def texts_within(value: object) -> Iterator[str]:
    """Every text inside, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_within(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from texts_within(item)


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


def condition_mark(day: str) -> str:
    """The mark of a Condition that is not kept. day: its date as FHIR writes it, or nothing."""
    return f"{CONDITION_NOT_KEPT}/{day}"


def session_mark(day: str) -> str:
    """The mark of a visit or operation for chemotherapy that is not kept. day: as above."""
    return f"{CHEMOTHERAPY_SESSION}/{day}"


def sessions_not_kept(marks: Iterable[str]) -> Iterator[str]:
    """The days that `session_mark` was given, in order."""
    for mark in sorted(marks):
        kind, separator, day = mark.partition("/")
        if kind == CHEMOTHERAPY_SESSION and separator:
            yield day


def conditions_not_kept(marks: Iterable[str]) -> Iterator[str]:
    """The days that `condition_mark` was given, in order."""
    for mark in sorted(marks):
        kind, _, day = mark.partition("/")
        if kind == CONDITION_NOT_KEPT:
            yield day


def days_lasting(marks: Iterable[str]) -> int:
    """The days of the mark `LASTS`, 0 without it."""
    prefix = f"{LASTS}/"
    days = [mark.removeprefix(prefix) for mark in marks if mark.startswith(prefix)]
    return max((int(text) for text in days if text.isdecimal()), default=0)


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
