"""The tumour: diagnosis, receptors, TNM, lymph nodes, and how it answered to treatment.

Codes: LOINC as HL7 mCODE names them (tumour marker and TNM profiles; read on 2026-11-30), ICD-10,
ICD-10-CM, ICD-O-3. This material contains content from LOINC (http://loinc.org), © Regenstrief
Institute, Inc.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from analytics.care.entries import (
    LOINC,
    Entry,
    Records,
    answer,
    checked_denial,
    is_final,
    is_read,
    names,
    newest,
    number,
    start_of,
)
from analytics.care.facts import Fact, Known, Reason, Unknown, Value
from analytics.readers.codes import URIS, codings_of
from analytics.readers.marks import (
    FOR_ANOTHER_DISEASE,
    FOR_BREAST_CANCER,
    OF_SEVERAL_TUMOURS,
    STAGE_IN_DOUBT,
    marks_of,
)
from analytics.readers.staging import CLINICAL, GROUPS, LATE, PATHOLOGICAL, is_another_cancer
from analytics.vocabulary import Category

_OBSERVATIONS, _CONDITIONS = Category.OBSERVATIONS, Category.CONDITIONS
_POSITIVE = {"LA6576-8": "positive", "LA6577-6": "negative"}
_HER2 = {**_POSITIVE, "LA11884-6": "equivocal"}
# In tissue or a breast cancer specimen: interpretation, immune stain, FISH. A number, as a ratio of
# copies is, is not read.
_RECEPTORS: dict[str, Mapping[str, str]] = {
    "her2": _HER2,
    "oestrogen_receptor": _POSITIVE,
    "progesterone_receptor": _POSITIVE,
}
_COUNT = {"1": Decimal(1)}
_ICD = (URIS["icd-10"], URIS["icd-10-cm"])
_ICD_O = URIS["icd-o-3"]
_BREAST = re.compile(r"C50")
# Of lymph nodes those that are not regional for the breast: within the chest, belly and pelvis,
# of the groin, of several regions (C77.0 and C77.3 may be regional); effusions by a cancer.
_METASTASIS = re.compile(r"C7[89]|C77[12458]|C800|J910|R180")
_CARCINOMA = re.compile(r"8[0-5][0-9]{2}/3")  # ICD-O-3: invasive carcinomas
_FAMILY = re.compile(r"C50|C56|D05|Z803|Z8041")
_OF_FAMILY = re.compile(r"Z803|Z8041")  # stated as a condition of the person
_HALF_A_YEAR = 183  # days
BEFORE_DIAGNOSIS = 31  # a diagnosis may be written down after the treatment has begun
# TNM, 8th edition: positive nodes of the axilla at most, by the category.
_MOST_NODES = {"N0": 0, "N1": 3, "N2": 9}
SEVERAL = "of several tumours of the breast: see which result or treatment is whose"
WHOSE = "another cancer is recorded: see which result or treatment is whose"
# ICD-10-CM: a malignant neoplasm of the right or left breast, also of a man, or inflammatory.
# ICD-10, its quadrant: of a site that is stated.
_SIDE, _SITE = re.compile(r"C50(?:[0-689][12]|A)([12])"), re.compile(r"C50([0-6])")
# R4 condition-clinical.
_ENDED, _AGAIN = (
    frozenset({"inactive", "remission", "resolved"}),
    frozenset({"recurrence", "relapse"}),
)
# ATC and RxNorm: medicines for HER2 positive breast cancer (trastuzumab, pertuzumab, T-DM1, and the
# kinase inhibitors); trastuzumab deruxtecan is for HER2 low too.
_AGAINST_HER2 = re.compile(r"L01(?:FD0[1236]|FY01|EH|XC(?:03|13|14))")
_AGAINST_HER2_RXNORM = ("224905", "1298944", "1371041")
_STAGE = re.compile(r"([ry]*)([cp]?)([TNM])(is|[0-9])(.*)")


def read_tumour(records: Records) -> dict[str, Fact]:
    """The facts of the tumour."""
    facts: dict[str, Fact] = {}
    for name, words in _RECEPTORS.items():
        facts[name] = _receptor(records, name, words)
    facts["breast_cancer"] = recorded(records, breast_cancers(records))
    facts["breast_cancer_in_family"] = _family(records)
    facts["tumour_size"] = _stage(records, "T")
    facts["nodes"] = _stage(records, "N")
    facts["metastatic"] = _metastatic(records)
    facts["complete_response"] = _complete_response(records)
    facts["positive_nodes"] = _positive_nodes(records, facts["nodes"])
    return facts


def another_cancer(records: Records) -> list[Entry]:
    """Her malignant tumours of other sites than the breast, or their history: results and treatment
    may be of these."""
    return [
        entry
        for entry in records.entries
        if entry.kind == "Condition" and is_another_cancer(entry.codes)
    ]


def is_of(entry: Entry, mark: str) -> bool:
    """Whether what a treatment is for, or a result is about, has this mark."""
    return mark in marks_of(entry.resource)


def _about_breast(entries: Sequence[Entry]) -> list[Entry]:
    """The results that are not said to be of another disease."""
    return [entry for entry in entries if not is_of(entry, FOR_ANOTHER_DISEASE)]


def _of_one_tumour(records: Records, fact: Fact, entries: Sequence[Entry]) -> Fact:
    """The fact that these results give, unless they may be of another tumour: beside another cancer
    each must say that it is about that of the breast; of several tumours of the breast, two results
    or more must say the same, the newest since the last tumour was diagnosed."""
    if not isinstance(fact, Known):
        return fact
    used = [entry for entry in entries if is_final(entry)]
    others = another_cancer(records)
    if others and not all(is_of(entry, FOR_BREAST_CANCER) for entry in used):
        return Unknown(Reason.CONFLICTING, WHOSE, fact.day, names([*used, *others]))
    days = [cancer.day or 0 for cancer in breast_cancers(records)]
    lone = len(used) < 2 or (fact.day or 0) < max(days, default=0) - BEFORE_DIAGNOSIS
    if several_tumours(records) and lone:
        return Unknown(Reason.CONFLICTING, SEVERAL, fact.day, names(used))
    return fact


def _positive_nodes(records: Records, nodes: Fact) -> Fact:
    """How many nodes were positive, unless the category says that there are fewer."""
    entries = _about_breast(records.measured("positive_nodes"))
    count = number(_COUNT, Decimal(0), Decimal(100))
    fact = newest(entries, count, records.missing(_OBSERVATIONS))
    if isinstance(fact, Known) and isinstance(nodes, Known):
        most = _MOST_NODES.get(str(nodes.value))
        if most is not None and Decimal(str(fact.value)) > most:
            source = tuple(sorted({*fact.source, *nodes.source}))
            return Unknown(Reason.CONFLICTING, "more nodes than the category N", fact.day, source)
    counts = {count(entry) for entry in entries if is_final(entry)}
    if len(counts) > 1 and several_tumours(records):
        return Unknown(Reason.CONFLICTING, SEVERAL, fact.day, names(entries))
    return _of_one_tumour(records, fact, entries)


def has_icd(entry: Entry, pattern: re.Pattern[str]) -> bool:
    """Whether an entry has a code of ICD-10 or ICD-10-CM that begins so."""
    return any(
        code.system in _ICD and pattern.match((code.code or "").replace(".", "").upper())
        for code in entry.codes
    )


def has_pcs(entry: Entry, pattern: re.Pattern[str]) -> bool:
    """Whether an entry has a code of ICD-10-PCS that fits."""
    return any(
        code.system == URIS["icd-10-pcs"] and pattern.fullmatch(code.code or "")
        for code in entry.codes
    )


def conditions(records: Records, pattern: re.Pattern[str]) -> list[Entry]:
    """The person's own conditions with such a code."""
    return [
        entry for entry in records.entries if entry.kind == "Condition" and has_icd(entry, pattern)
    ]


def procedures(records: Records, pattern: re.Pattern[str]) -> list[Entry]:
    """What was done to the person, with a code of ICD-10-PCS that fits."""
    return [
        entry for entry in records.entries if entry.kind == "Procedure" and has_pcs(entry, pattern)
    ]


def recorded(records: Records, entries: Sequence[Entry]) -> Fact:
    """Yes if there is an entry; otherwise unknown, since what is not recorded is no "no"."""
    if not entries:
        return records.missing(_CONDITIONS)
    days = [entry.day for entry in entries if entry.day is not None]
    return Known(True, max(days, default=None), names(entries))


def breast_cancers(records: Records) -> list[Entry]:
    """The person's own diagnoses of breast cancer."""
    return [
        entry
        for entry in records.entries
        if entry.kind == "Condition" and (has_icd(entry, _BREAST) or _is_breast_carcinoma(entry))
    ]


def _is_breast_carcinoma(entry: Entry) -> bool:
    """ICD-O-3: an invasive carcinoma by its morphology, in the breast by its topography."""
    codes = [code.code or "" for code in entry.codes if code.system == _ICD_O]
    return any(map(_BREAST.match, codes)) and any(map(_CARCINOMA.fullmatch, codes))


def _family(records: Records) -> Fact:
    entries = [
        entry
        for entry in records.entries
        if entry.kind == "FamilyMemberHistory" and has_icd(entry, _FAMILY)
    ]
    entries += conditions(records, _OF_FAMILY)
    if not entries:
        return records.missing(Category.GERMLINE_VARIANTS, _CONDITIONS)
    return recorded(records, entries)


# ICD-10-CM: the status of receptors as a diagnosis' code, alone or with that of HER2.
_STATUS = {
    "her2": {
        "positive": re.compile(r"Z17(?:31|4[12]0)"),
        "negative": re.compile(r"Z17(?:32|4[12]1)"),
    },
    "oestrogen_receptor": {"positive": re.compile(r"Z170"), "negative": re.compile(r"Z171")},
    "progesterone_receptor": {"positive": re.compile(r"Z1721"), "negative": re.compile(r"Z1722")},
}


def _receptor(records: Records, name: str, words: Mapping[str, str]) -> Fact:
    """The newest test, unless another of the same half year says otherwise: of two tumours, or of one
    that is not alike everywhere, each may count."""
    coded = answer(words)

    def read(entry: Entry) -> Value | Reason:
        return coded(entry) if is_read(entry, name) else Reason.NOT_UNDERSTOOD

    entries = _about_breast(records.measured(name))
    fact = newest(entries, read, records.missing(_OBSERVATIONS), _definite)
    if not isinstance(fact, Known) or fact.day is None or fact.value == "equivocal":
        return fact
    several = several_tumours(records)
    others = [
        entry
        for entry in entries
        if is_final(entry)
        and read(entry) in words.values()
        and read(entry) not in ("equivocal", fact.value)
    ]
    # Of one day, `newest` has settled it.
    since = fact.day - _HALF_A_YEAR
    others = [
        entry
        for entry in others
        if entry.day != fact.day and (several or entry.can_be_since(since))
    ]
    stated = [
        entry
        for value, pattern in _STATUS.get(name, {}).items()
        if value != fact.value
        for entry in conditions(records, pattern)
        if entry.can_be_since(since)
    ]
    if stated:
        source = tuple(sorted({*fact.source, *names(stated)}))
        return Unknown(Reason.CONFLICTING, "a test, and a diagnosis' code", fact.day, source)
    if others:
        source = tuple(sorted({*fact.source, *names(others)}))
        detail = SEVERAL if several else "two tests within half a year"
        return Unknown(Reason.CONFLICTING, detail, fact.day, source)
    if name == "her2" and fact.value == "negative":
        given = [entry for entry in records.entries if _is_against_her2(entry, fact.day)]
        if given:
            detail = "a medicine for HER2 positive cancer was given since"
            return Unknown(Reason.CONFLICTING, detail, fact.day, names(given))
    return _of_one_tumour(records, fact, entries)


def _is_against_her2(entry: Entry, since: int) -> bool:
    """Whether it is a medicine for HER2 positive breast cancer, of this day or later."""
    of_class = any(
        code.system == URIS["atc"] and _AGAINST_HER2.match(code.code or "") for code in entry.codes
    )
    return (
        (of_class or entry.has(URIS["rxnorm"], _AGAINST_HER2_RXNORM))
        and entry.kind.startswith("Medication")
        and not is_of(entry, FOR_ANOTHER_DISEASE)
        and (entry.can_be_since(since) or entry.resource.get("status") == "active")
    )


def several_tumours(records: Records) -> bool:
    """Whether the diagnoses name both breasts, or two sites and more than half a year between, or one
    that is over and one that began later; or results are about two of them."""
    sides: set[str] = set()
    first_day: dict[str, int] = {}  # of each site
    over: list[int] = []
    later: list[int] = []
    for entry in breast_cancers(records):
        began = start_of(entry)
        if began is not None:
            (over if is_over(entry) else later).append(began)
        for code in entry.codes:
            text = (code.code or "").replace(".", "").upper()
            if side := _SIDE.match(text):
                sides.add(side[1])
            if (site := _SITE.match(text)) and began is not None:
                first_day[site[1]] = min(began, first_day.get(site[1], began))
    days = first_day.values()
    return (
        len(sides) > 1
        or max(days, default=0) - min(days, default=0) > _HALF_A_YEAR
        or (bool(over and later) and min(later) - min(over) > _HALF_A_YEAR)
        or any(is_of(entry, OF_SEVERAL_TUMOURS) for entry in records.entries)
    )


def is_over(condition: Entry) -> bool:
    """Whether a diagnosis is stated to have ended."""
    return "abatementDateTime" in condition.resource or bool(states_of(condition) & _ENDED)


def states_of(condition: Entry) -> set[str]:
    """The codes of its clinicalStatus."""
    return {str(state.code) for state in codings_of(condition.resource.get("clinicalStatus"))}


def _definite(values: Sequence[Value]) -> Value | None:
    """Of one day's tests: an equivocal stain is settled by the test made after it."""
    definite = [value for value in values if value != "equivocal"]
    return definite[0] if len(definite) == 1 else None


def _parts(entry: Entry) -> tuple[str, bool, str, str] | None:
    """(prefix of treatment, whether pathological, number, suffix) of a category of T, N or M."""
    codings = codings_of(entry.resource.get("valueCodeableConcept"))
    texts = {code.code or "" for code in codings if code.system == URIS["tnm"]}
    match = _STAGE.fullmatch(texts.pop()) if len(texts) == 1 else None
    if match is None:
        return None
    pathological = entry.has(LOINC, PATHOLOGICAL.values()) and match[2] != "c"
    return match[1], pathological, f"{match[3]}{match[4]}", match[5]


def _categories(records: Records, letter: str) -> list[Entry]:
    return _about_breast(records.observations(LOINC, CLINICAL[letter], PATHOLOGICAL[letter]))


def _category(entry: Entry) -> Value | Reason:
    parts = _parts(entry)
    return Reason.NOT_UNDERSTOOD if parts is None else parts[2]


def _stage(records: Records, letter: str) -> Fact:
    """The pathological category before drug treatment. A clinical one may be larger or smaller."""
    entries = _categories(records, letter)
    before = [entry for entry in entries if not (_parts(entry) or ("",))[0]]
    pathological = [entry for entry in before if _is_pathological(entry)]
    missing = records.missing(_OBSERVATIONS)
    if before and not pathological:
        missing = replace(missing, detail="a clinical category alone", source=names(before))
    fact = newest(pathological, _category, missing)
    if isinstance(fact, Known) and several_tumours(records):
        others = [
            entry for entry in pathological if is_final(entry) and _category(entry) != fact.value
        ]
        if others:
            source = tuple(sorted({*fact.source, *names(others)}))
            return Unknown(Reason.CONFLICTING, SEVERAL, fact.day, source)
    # Of a newer cancer there may be a clinical category alone yet.
    newer = [
        entry
        for entry in before
        if fact.day is not None
        and not _is_pathological(entry)
        and entry.can_be_since(fact.day + _HALF_A_YEAR)
    ]
    if isinstance(fact, Known) and newer:
        source = tuple(sorted({*fact.source, *names(newer)}))
        return Unknown(Reason.CONFLICTING, "a newer clinical category", fact.day, source)
    return _of_one_tumour(records, fact, pathological)


def _is_pathological(entry: Entry) -> bool:
    """By its value, or its code where there is no value that can be read."""
    parts = _parts(entry)
    return entry.has(LOINC, PATHOLOGICAL.values()) if parts is None else parts[1]


def _metastatic(records: Records) -> Fact:
    """Yes by any M1 or a code of a metastasis; no by the newest M0 if there is none, and no stage
    of IV: that one alone does not say of which tumour it is."""
    staged = _categories(records, "M")
    positive = [entry for entry in staged if _category(entry) == "M1"]
    spread = conditions(records, _METASTASIS)
    positive += [entry for entry in spread if not is_over(entry)]
    others = another_cancer(records)
    if others:
        of_breast = [entry for entry in positive or staged if is_of(entry, FOR_BREAST_CANCER)]
        if (positive and not of_breast) or (len(of_breast) < len(staged) and not positive):
            return Unknown(Reason.CONFLICTING, WHOSE, None, names([*positive, *staged, *others]))
        positive = of_breast if positive else []
    since = max((entry.day or 0 for entry in positive), default=0)
    denied = [entry for entry in staged if _category(entry) == "M0" and entry.can_be_since(since)]
    if positive and denied and not spread:
        detail = "distant metastases, and a stage without them that is not older"
        return Unknown(Reason.CONFLICTING, detail, None, names([*positive, *denied]))
    if positive:
        return recorded(records, positive)
    if spread:
        detail = "a metastasis that is stated to be over"
        return Unknown(Reason.NOT_UNDERSTOOD, detail, None, names(spread))
    if records.withheld & {_CONDITIONS}:
        return Unknown(Reason.WITHHELD)
    groups = _about_breast(records.observations(LOINC, *GROUPS))
    late = [group for group in groups if _group(group) == LATE]
    late += [
        cancer for cancer in breast_cancers(records) if STAGE_IN_DOUBT in marks_of(cancer.resource)
    ]
    if late:
        return Unknown(
            Reason.NOT_UNDERSTOOD, "a stage that may be IV, without M1", None, names(late)
        )
    staged += [group for group in groups if _group(group) is None]
    fact = newest(staged, _category, records.missing(_OBSERVATIONS, _CONDITIONS))
    if not isinstance(fact, Known):
        return fact
    again = [cancer for cancer in breast_cancers(records) if states_of(cancer) & _AGAIN]
    restaged = [
        entry
        for entry in staged
        if entry.name in fact.source and (parts := _parts(entry)) and "r" in parts[0]
    ]
    if again and not restaged:
        detail = "the cancer has come back, and M0 may be of the time before"
        return Unknown(Reason.NOT_UNDERSTOOD, detail, fact.day, names(again))
    return checked_denial(records, Known(False, fact.day, fact.source), False)


def _group(entry: Entry) -> str | None:
    """The stage group that an Observation states."""
    codings = codings_of(entry.resource.get("valueCodeableConcept"))
    return next((code.code for code in codings if code.system == URIS["tnm"]), None)


def _complete_response(records: Records) -> Fact:
    """ypT0 or ypTis with ypN0, as most trials define a complete pathological response."""
    treated = {
        letter: [
            entry
            for entry in _categories(records, letter)
            if _is_pathological(entry) and ((parts := _parts(entry)) is None or "y" in parts[0])
        ]
        for letter in "TN"
    }

    def is_free(entry: Entry) -> Value | Reason:
        parts = _parts(entry)
        if parts is None:
            return Reason.NOT_UNDERSTOOD
        cells = parts[3].startswith("(") and "+" in parts[3]  # isolated tumour cells: no response
        return parts[2] in ("T0", "Tis", "N0") and not cells

    missing = records.missing(_OBSERVATIONS)
    tumour, nodes = (
        _of_one_tumour(records, newest(treated[letter], is_free, missing), treated[letter])
        for letter in "TN"
    )
    for fact in (tumour, nodes):
        if isinstance(fact, Known) and fact.value is False:
            return fact
    for fact in (tumour, nodes):
        if isinstance(fact, Unknown):
            return fact
    both = treated["T"] + treated["N"]
    return Known(True, max(entry.day or 0 for entry in both), names(both))
