"""Measurements and states that a dose depends on: weight, blood, liver, pregnancy, menopause.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from analytics.care.entries import (
    LOINC,
    Entry,
    Records,
    answer,
    is_final,
    local_answer,
    names,
    newest,
    number,
    yes_or_no,
)
from analytics.care.facts import FACTS, Fact, Known, Reason, Unknown, Value
from analytics.care.tumour import conditions, recorded
from analytics.readers.clinical import OLDEST, day_number, year_of
from analytics.readers.codes import CARE, LOCAL, URIS, codings_of
from analytics.vocabulary import Category

_OBSERVATIONS, _SEXUAL = Category.OBSERVATIONS, Category.SEXUAL_HEALTH
_ONE = Decimal(1)
_PER_MG_DL = _ONE / Decimal("88.42")  # µmol/L of creatinine
_COUNTS = {
    "10*9/L": _ONE,
    "10*3/uL": _ONE,
    "/uL": Decimal("0.001"),
    "10*6/L": Decimal("0.001"),
}
# Further codes in serum or blood than that of `FACTS`, units of UCUM, and what is plausible.
_MEASURED: dict[str, tuple[tuple[str, ...], Mapping[str, Decimal], tuple[str, str]]] = {
    "weight": (
        ("3141-9",),
        {"kg": _ONE, "g": Decimal("0.001"), "[lb_av]": Decimal("0.45359237")},
        ("20", "400"),
    ),
    "creatinine": (
        ("14682-9",),
        {"mg/dL": _ONE, "umol/L": _PER_MG_DL, "mmol/L": _PER_MG_DL * 1000},
        ("0.1", "30"),
    ),
    "haemoglobin": ((), {"g/dL": _ONE, "g/L": Decimal("0.1")}, ("1", "25")),
    "neutrophils": (("753-4", "26499-4"), _COUNTS, ("0", "500")),
    "platelets": (("778-1", "26515-7"), _COUNTS, ("0", "5000")),
}
MONITORED = tuple(_MEASURED)
# Of several values of a day that are nearly the same, the one that leads to less of a drug.
_HIGHEST = frozenset({"creatinine"})
_NEARLY = Decimal("1.05")
_PREGNANCY, _PREGNANT = "82810-3", {"LA15173-0": True, "LA26683-5": False}
_HCG, _HCG_POSITIVE = ("2106-3", "2118-8"), {"LA6576-8": True}  # presence in urine, in serum
# Pregnancy confirmed (Z32.01, of the WHO Z32.1), its state, supervision, screening and week; all of
# chapter O but the puerperium. Z33.2 ends one.
_PREGNANT_CODES = re.compile(r"Z3201|Z321|Z33(?!2)|Z3[456A]|O(?!8[5-9]|9[0-2])[0-9][0-9A]")
_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_CONDITIONS = {
    # Myelodysplastic syndromes; acute myeloid leukaemias.
    "mds_aml": (re.compile(r"D46|C92[034568A]|C93|C94[0246]|C950"), "mds-aml"),
    "pneumonitis": (re.compile(r"J67|J680|J70[0-4]|J84"), "pneumonitis"),
    "thrombosis": (re.compile(r"I26|I80[1-3]|I82"), "venous-thromboembolism"),
}
# The same in ICD-O-3, as pathology codes it: acute leukaemias of unclear or myeloid line, chronic
# myelomonocytic leukaemia, myelodysplastic syndromes.
_MDS_AML = re.compile(
    r"(?:980[15-9]|9840|986[15-79]|987[1-4789]|989[15-8]|991[0-2]|9920|993[01]|994[56])/3"
    r"|99(?:8[0-9]|9[1-3])/[0-9]"
)
_LIVER = {"A": "mild", "B": "moderate", "C": "severe"}


def read_laboratory(records: Records) -> dict[str, Fact]:
    """The facts of the person, her measurements and her states."""
    facts = _person(records)
    for name in MONITORED:
        entries, read = measurements(records, name)
        choose = _careful(max if name in _HIGHEST else min)
        facts[name] = newest(entries, read, records.missing(_OBSERVATIONS), choose)
    for name, (pattern, question) in _CONDITIONS.items():
        facts[name] = _disease(records, pattern, question)
    facts["pregnant"] = _pregnant(records)
    facts["breast_feeding"] = newest(
        records.observations(LOCAL, "breast-feeding"),
        yes_or_no,
        records.missing(_OBSERVATIONS, _SEXUAL),
    )
    facts["menopause"] = _coded(records, "menopausal-status", _OBSERVATIONS, _SEXUAL)
    facts["child_pugh"] = _coded(records, "child-pugh-class", _OBSERVATIONS)
    facts["hepatic_impairment"] = _liver(records, facts["child_pugh"])
    facts["cps_eg"] = newest(
        records.observations(LOCAL, "cps-eg-score"),
        number({"1": _ONE}, Decimal(0), Decimal(6)),
        records.missing(_OBSERVATIONS),
    )
    return facts


def measurements(
    records: Records, name: str
) -> tuple[list[Entry], Callable[[Entry], Value | Reason]]:
    """The entries that measure one of `MONITORED`, and how to read the value of one."""
    codes, units, (low, high) = _MEASURED[name]
    return records.observations(LOINC, FACTS[name].loinc, *codes), number(
        units, Decimal(low), Decimal(high)
    )


def _coded(records: Records, question: str, *categories: int) -> Fact:
    entries = records.observations(LOCAL, question)
    return newest(entries, local_answer(CARE[question]), records.missing(*categories))


def _disease(records: Records, pattern: re.Pattern[str], question: str) -> Fact:
    """Yes by a diagnosis; otherwise as a clinician answered when he asked for it: a list of
    diagnoses never says that there is none. Of MDS, AML and pneumonitis a later "no" erases no
    "yes": who had one is not as safe as who never had it.
    """
    diagnoses = conditions(records, pattern)
    if question == "mds-aml":
        diagnoses += [one for one in records.entries if _is_mds_aml(one) and one not in diagnoses]
    diagnosed = recorded(records, diagnoses)
    if isinstance(diagnosed, Known) or records.withheld & {Category.CONDITIONS}:
        return diagnosed
    entries = records.observations(LOCAL, question)
    affirmed = [one for one in entries if is_final(one) and yes_or_no(one) is True]
    if question == "mds-aml" and affirmed:
        return recorded(records, affirmed)
    fact = newest(entries, yes_or_no, records.missing(_OBSERVATIONS))
    denied = isinstance(fact, Known) and fact.value is False
    if question == "pneumonitis" and affirmed and denied:
        return Unknown(Reason.CONFLICTING, "an earlier yes", fact.day, names(entries))
    return fact


def _is_mds_aml(entry: Entry) -> bool:
    """Whether a condition has such a morphology of ICD-O-3."""
    return entry.kind == "Condition" and any(
        code.system == URIS["icd-o-3"] and _MDS_AML.fullmatch(code.code or "")
        for code in entry.codes
    )


def _person(records: Records) -> dict[str, Fact]:
    """Sex, and the age that she has or will have this year: the higher one never makes a dose
    larger."""
    patient = next((one for one in records.entries if one.kind == "Patient"), None)
    missing = records.missing(Category.DEMOGRAPHICS)
    if patient is None:
        return {"sex": missing, "age": missing}
    facts: dict[str, Fact] = {"sex": missing, "age": missing}
    if patient.resource.get("gender") in ("female", "male", "other"):
        facts["sex"] = Known(str(patient.resource["gender"]), None, (patient.name,))
    born = str(patient.resource.get("birthDate", ""))[:4]
    if born.isdecimal():
        years = year_of(records.today) - int(born)
        if years < OLDEST:
            facts["age"] = Known(Decimal(years), records.today, (patient.name,))
        else:
            facts["age"] = Unknown(
                Reason.NOT_UNDERSTOOD, f"{OLDEST} or more: grouped at ingest", None, (patient.name,)
            )
    return facts


def _careful(
    pick: Callable[[Sequence[Decimal]], Decimal],
) -> Callable[[Sequence[Value]], Value | None]:
    """Chooses one of several values of a day, if they differ by rounding only."""

    def choose(values: Sequence[Value]) -> Value | None:
        numbers = [value for value in values if isinstance(value, Decimal)]
        near = numbers and max(numbers) <= min(numbers) * _NEARLY
        return pick(numbers) if near else None

    return choose


def _pregnant(records: Records) -> Fact:
    """The newest statement: a coded status, a positive test, or a diagnosis that only a pregnant
    woman has. A negative test alone says nothing of the weeks before it can be positive.

    No negative status overrules a diagnosis that is active, of the same day, or may be newer.
    """
    missing = records.missing(_OBSERVATIONS, _SEXUAL, Category.CONDITIONS)
    positive = answer(_HCG_POSITIVE)
    tests = [one for one in records.observations(LOINC, *_HCG) if positive(one) is True]
    statements = [*records.observations(LOINC, _PREGNANCY), *tests]
    fact = newest(statements, answer({**_PREGNANT, **_HCG_POSITIVE}), missing)
    entries = conditions(records, _PREGNANT_CODES)
    diagnosed = recorded(records, entries)
    if not isinstance(diagnosed, Known):
        return fact
    if not isinstance(fact, Known) or any(map(_lasts, entries)):
        return diagnosed
    stated = fact.day or 0
    if (diagnosed.day or 0) > stated:
        return diagnosed
    if fact.value is True:
        return fact
    if any(one.day is None and one.can_be_since(stated) for one in entries):
        return Unknown(Reason.NO_DATE, "", None, names(entries))
    if any(_end(one) >= stated for one in entries):
        source = tuple(sorted({*fact.source, *names(entries)}))
        return Unknown(Reason.CONFLICTING, "its status and a diagnosis", fact.day, source)
    return fact


def _lasts(condition: Entry) -> bool:
    """Whether a condition is stated to be active still."""
    states = codings_of(condition.resource.get("clinicalStatus"))
    ended = "abatementDateTime" in condition.resource
    return not ended and any(state.code in _ACTIVE for state in states)


def _end(condition: Entry) -> int:
    """The last day that a condition is known to have lasted."""
    ended = condition.resource.get("abatementDateTime")
    return max(condition.day or 0, day_number(ended) if isinstance(ended, str) else 0)


def _liver(records: Records, child_pugh: Fact) -> Fact:
    """As it is stated, or by the Child-Pugh class, as labels of drugs define it."""
    fact = _coded(records, "hepatic-impairment", _OBSERVATIONS)
    if isinstance(child_pugh, Unknown):
        older = None not in (child_pugh.day, fact.day) and (child_pugh.day or 0) < (fact.day or 0)
        # A class that is recorded but not known may be worse than the impairment that is stated.
        doubt = child_pugh.reason != Reason.NOT_RECORDED and not older
        return child_pugh if doubt and isinstance(fact, Known) else fact
    by_class = Known(_LIVER[str(child_pugh.value)], child_pugh.day, child_pugh.source)
    if not isinstance(fact, Known) or (by_class.day or 0) > (fact.day or 0):
        return by_class if isinstance(fact, Known) or fact.reason == Reason.NOT_RECORDED else fact
    if fact.day == by_class.day and fact.value != by_class.value:
        source = tuple(sorted({*fact.source, *by_class.source}))
        return Unknown(Reason.CONFLICTING, "its grade and the Child-Pugh class", fact.day, source)
    return fact
