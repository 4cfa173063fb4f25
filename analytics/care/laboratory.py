"""Measurements and states that a dose depends on: weight, blood, liver, pregnancy, menopause.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from analytics.care.entries import (
    Entry,
    Records,
    answer,
    checked_denial,
    is_final,
    is_read,
    local_answer,
    names,
    newest,
    number,
    yes_or_no,
)
from analytics.care.facts import Fact, Known, Reason, Unknown, Value
from analytics.care.tumour import conditions, has_icd, procedures, recorded, states_of
from analytics.readers.clinical import OLDEST, day_number, year_of
from analytics.readers.codes import CARE, LOCAL, URIS, codings_of
from analytics.readers.marks import SEX_IN_DOUBT, marks_of
from analytics.vocabulary import Category

_OBSERVATIONS, _SEXUAL = Category.OBSERVATIONS, Category.SEXUAL_HEALTH
_ONE = Decimal(1)
_PER_MG_DL = _ONE / Decimal("88.42")  # µmol/L of creatinine
_COUNTS = {
    "10*9/L": _ONE,
    "10*6/mL": _ONE,
    "10*3/uL": _ONE,
    "10*3/mm3": _ONE,
    "/nL": _ONE,
    "/uL": Decimal("0.001"),
    "/mm3": Decimal("0.001"),
    "10*6/L": Decimal("0.001"),
}
# Units of UCUM, and what is plausible in the unit of the fact.
_UNITS: dict[str, tuple[Mapping[str, Decimal], tuple[str, str]]] = {
    "weight": (
        {
            "kg": _ONE,
            "g": Decimal("0.001"),
            "[lb_av]": Decimal("0.45359237"),
            "[oz_av]": Decimal("0.028349523125"),
        },
        ("20", "400"),
    ),
    "creatinine": (
        {
            "mg/dL": _ONE,
            "mg/L": Decimal("0.1"),
            "umol/L": _PER_MG_DL,
            "mmol/L": _PER_MG_DL * 1000,
        },
        ("0.1", "30"),
    ),
    # Moles are of one chain with its iron, of 16,114 g/mol, as laboratories give them. Of the entire
    # molecule of four there would be fewer: such a value is read as too low, never as too high.
    "haemoglobin": (
        {"g/dL": _ONE, "g/L": Decimal("0.1"), "mmol/L": Decimal("1.6114")},
        ("1", "25"),
    ),
    "neutrophils": (_COUNTS, ("0", "500")),
    "platelets": (_COUNTS, ("0", "5000")),
}
MONITORED = tuple(_UNITS)
# Of several values of a day that are nearly the same, the one that leads to less of a drug.
_HIGHEST = frozenset({"creatinine"})
_NEARLY = Decimal("1.05")
# Nobody's weight changes by a fifth within three months: one of the two is an error, or somebody
# else's.
_WEIGHTS, _WEIGHT_DAYS = Decimal("1.2"), 100
# Creatinine that rises by half is acute kidney injury (KDIGO 2012, 2.1.1): while it changes, no
# clearance follows from one value.
_CREATININES, _CREATININE_DAYS = Decimal("1.5"), 31
# Clearances and filtration rates, also of 1.73 m2 of body surface, as laboratories write that.
_FILTRATIONS = {
    f"{volume}/{time}{surface}": factor
    for volume in ("mL", "ml")
    for time, factor in (("min", _ONE), ("s", Decimal(60)))
    for surface in ("", "/{1.73_m2}", "/1.73.m2", "/1.73m2")
}
_read_filtration = number(_FILTRATIONS, _ONE, Decimal(300))
_PREGNANT = {"LA15173-0": True, "LA26683-5": False}
_HCG_POSITIVE = {"LA6576-8": True}
_test = answer({**_HCG_POSITIVE, "LA6577-6": False})
# LOINC LL3324-2, sex assigned at birth; of gender identity (76691-5), man and woman.
_SEXES = {"LA3-6": "female", "LA2-8": "male", "LA22878-5": "male", "LA22879-3": "female"}
# ICD-10 and ICD-10-CM: gender incongruence, its history.
_OTHER_SEX = re.compile(r"F64|Z87890")
_FEEDS = answer({"LA33-6": True, "LA32-8": False})
# Pregnancy confirmed (Z32.01, of the WHO Z32.1), its state, supervision, screening and week; all of
# chapter O but the puerperium. Z33.2 ends one.
_PREGNANT_CODES = re.compile(r"Z3201|Z321|Z33(?!2)|Z3[456A]|O(?!8[5-9]|9[0-2])[0-9][0-9A]")
_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_CONDITIONS = {
    # Myelodysplastic syndromes; acute myeloid leukaemias.
    "mds_aml": (re.compile(r"D46|C92[034568A]|C93|C94[0246]|C950"), "mds-aml"),
    "pneumonitis": (re.compile(r"J67|J680|J70[0-4]|J84"), "pneumonitis"),
    # In lungs, limbs, portal vein, sinuses of the brain, and of pregnancy.
    "thrombosis": (
        re.compile(r"I26|I80[1-389]|I8[12]|G08|I636|I676|O22[35]|O87[13]|O882|Z8671"),
        "venous-thromboembolism",
    ),
}
# Leukaemia of a kind that is not said, or its history: it may have been acute myeloid leukaemia.
_LEUKAEMIA = re.compile(r"Z856|C92[79Z]|C94[78]|C95[279]")
# The same in ICD-O-3, as pathology codes it: acute leukaemias of unclear or myeloid line, chronic
# myelomonocytic leukaemia, myelodysplastic syndromes.
_HISTOLOGY = ("59847-4",)  # LOINC: histology and behaviour of a cancer
_MDS_AML = re.compile(
    r"(?:980[15-9]|9840|986[15-79]|987[1-4789]|989[15-8]|991[0-2]|9920|993[01]|994[56])/3"
    r"|99(?:8[0-9]|9[1-3])/[0-9]"
)
# Kidney disease of stage 4 and 5, acute failure, dialysis (ICD-10, ICD-10-CM), haemodialysis
# (ICD-10-PCS).
_RENAL = re.compile(r"N17|N18[4-6]|N19|N990|I120|I1311|I132|T824|T861|Y841|Z49|Z992")
_DIALYSIS = re.compile(r"5A1D.*")
# Diseases that no treatment but a transplant ends, whatever their status says: end-stage kidney
# disease with dialysis, cirrhosis with portal hypertension.
_LASTING = re.compile(r"N18[56]|N990|I120|I1311|I132|Z992|K703|K717|K74[3-6]|K766|I85")
_ACUTE = re.compile(r"N17")
_ACUTE_DAYS = 90  # an acute failure that nobody says is over, this long ago, is over
# Diagnoses that are impairment: cirrhosis, portal hypertension; of failure it is more than mild.
_CIRRHOSIS = re.compile(r"K703|K717|K74[3-6]|K766|I85")
_LIVER_FAILURE = re.compile(r"K704|K711|K72|K767|K7682|K9182")
# Delivery, its outcome, care after it, of a mother who feeds, and disorders of that.
_FEEDING = re.compile(r"O8[0-2]|O9[12]|Z37|Z39")
_LIVER = {"A": "mild", "B": "moderate", "C": "severe"}


def read_laboratory(records: Records) -> dict[str, Fact]:
    """The facts of the person, her measurements and her states."""
    facts = _person(records)
    for name in MONITORED:
        entries, read = measurements(records, name)
        choose = _careful(max if name in _HIGHEST else min)
        facts[name] = newest(entries, read, records.missing(_OBSERVATIONS), choose)
    for name, (pattern, question) in _CONDITIONS.items():
        facts[name] = checked_denial(records, _disease(records, pattern, question), False)
    facts["weight"] = _without_jump(
        records,
        "weight",
        facts["weight"],
        _WEIGHTS,
        _WEIGHT_DAYS,
        "two weights of three months, one more than a fifth above the other",
    )
    facts["creatinine"] = _without_jump(
        records,
        "creatinine",
        _steady(records, facts["creatinine"]),
        _CREATININES,
        _CREATININE_DAYS,
        "two values of a month, one more than half above the other: no clearance follows from them",
    )
    facts["reported_clearance"] = newest(
        records.measured("filtration"),
        _filtration,
        records.missing(_OBSERVATIONS),
        lambda values: min(value for value in values if isinstance(value, Decimal)),
    )
    facts["pregnant"] = checked_denial(records, _pregnant(records), False)
    facts["breast_feeding"] = checked_denial(records, _breast_feeding(records), False)
    facts["menopause"] = _coded(records, "menopausal-status", _OBSERVATIONS, _SEXUAL)
    facts["child_pugh"] = _coded(records, "child-pugh-class", _OBSERVATIONS)
    impairment = _as_diagnosed(records, _liver(records, facts["child_pugh"]))
    facts["hepatic_impairment"] = checked_denial(records, impairment, "none", "mild")
    facts["cps_eg"] = newest(
        records.observations(LOCAL, "cps-eg-score"),
        number({"1": _ONE}, Decimal(0), Decimal(6)),
        records.missing(_OBSERVATIONS),
    )
    return facts


def _filtration(entry: Entry) -> Value | Reason:
    """A clearance; of one that is beyond a bound, as laboratories say "> 60", that bound."""
    quantity = entry.resource.get("valueQuantity")
    if isinstance(quantity, dict):
        exact = {name: value for name, value in quantity.items() if name != "comparator"}
        entry = replace(entry, resource={**entry.resource, "valueQuantity": exact})
    return _read_filtration(entry)


def measurements(
    records: Records, name: str
) -> tuple[list[Entry], Callable[[Entry], Value | Reason]]:
    """The entries that measure one of `MONITORED`, and how to read the value of one."""
    units, (low, high) = _UNITS[name]
    read_number = number(_spellings(units), Decimal(low), Decimal(high))

    def read(entry: Entry) -> Value | Reason:
        return read_number(entry) if is_read(entry, name) else Reason.NOT_UNDERSTOOD

    return records.measured(name), read


def _spellings(units: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The units in every spelling of UCUM: the litre has a small letter too, and ten its powers
    after either sign; what stood in braces before a stroke is 1 (readers/resources.py)."""
    return {
        spelling: factor
        for unit, factor in units.items()
        for litre in (unit, unit.replace("L", "l"))
        for spelling in (litre, litre.replace("10*", "10^"), litre.replace("/", "1/", 1))
        if spelling == litre or spelling.startswith(("10^", "1/"))
    }


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
        diagnoses += [
            entry for entry in records.entries if _is_mds_aml(entry) and entry not in diagnoses
        ]
    diagnosed = recorded(records, diagnoses)
    if isinstance(diagnosed, Known) or records.withheld & {Category.CONDITIONS}:
        return diagnosed
    perhaps = conditions(records, _LEUKAEMIA) if question == "mds-aml" else []
    if perhaps:
        detail = "leukaemia, or its history, of a kind that is not said"
        return Unknown(Reason.NOT_UNDERSTOOD, detail, None, names(perhaps))
    entries = records.observations(LOCAL, question)
    affirmed = [entry for entry in entries if is_final(entry) and yes_or_no(entry) is True]
    if question == "mds-aml" and affirmed:
        return recorded(records, affirmed)
    fact = newest(entries, yes_or_no, records.missing(_OBSERVATIONS))
    denied = isinstance(fact, Known) and fact.value is False
    if question == "pneumonitis" and affirmed and denied:
        return Unknown(Reason.CONFLICTING, "an earlier yes", fact.day, names(entries))
    return fact


def _is_mds_aml(entry: Entry) -> bool:
    """Whether a condition, or a pathologist's result, has such a morphology of ICD-O-3."""
    pathology = entry.has(URIS["loinc"], _HISTOLOGY) and is_final(entry)
    value = codings_of(entry.resource.get("valueCodeableConcept")) if pathology else ()
    return any(
        code.system == URIS["icd-o-3"] and _MDS_AML.fullmatch(code.code or "")
        for code in (entry.codes if entry.kind == "Condition" else value)
    )


def _person(records: Records) -> dict[str, Fact]:
    """Sex, and the age that she has or will have this year: the higher one never makes a dose
    larger."""
    patient = next((entry for entry in records.entries if entry.kind == "Patient"), None)
    missing = records.missing(Category.DEMOGRAPHICS)
    if patient is None:
        return {"sex": missing, "age": missing}
    facts: dict[str, Fact] = {"sex": missing, "age": missing}
    stated = {answer(_SEXES)(entry) for entry in records.measured("sex_at_birth")}
    other = stated - {patient.resource.get("gender")} or conditions(records, _OTHER_SEX)
    if SEX_IN_DOUBT in marks_of(patient.resource) or other:
        detail = "administrative gender and another statement of the sex"
        facts["sex"] = Unknown(Reason.CONFLICTING, detail, None, (patient.name,))
    elif patient.resource.get("gender") in ("female", "male", "other"):
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


def _without_jump(
    records: Records, name: str, fact: Fact, most: Decimal, days: int, why: str
) -> Fact:
    """The fact, unless another measurement of these days before is more than `most` times as large
    or as small: one of them is wrong, or what is measured has changed too fast."""
    if not isinstance(fact, Known) or not isinstance(fact.value, Decimal) or not fact.day:
        return fact
    entries, read = measurements(records, name)
    others = [
        entry
        for entry in entries
        if is_final(entry)
        and entry.can_be_since(fact.day - days)
        and isinstance(value := read(entry), Decimal)
        and max(value, fact.value) > min(value, fact.value) * most
    ]
    if not others:
        return fact
    source = tuple(sorted({*fact.source, *names(others)}))
    return Unknown(Reason.CONFLICTING, why, fact.day, source)


def _pregnant(records: Records) -> Fact:
    """The newest statement: a coded status, a positive test, or a diagnosis that only a pregnant
    woman has. A negative test alone says nothing of the weeks before it can be positive.

    No negative status overrules a diagnosis that is active, of the same day, or may be newer.
    """
    missing = records.missing(_OBSERVATIONS, _SEXUAL, Category.CONDITIONS)
    tests = [
        test
        for test in records.measured("pregnancy_test")
        # One that was not kept, or is a number, may be positive.
        if _test(test) is not False or not is_final(test)
    ]
    statements = [*records.measured("pregnancy"), *tests]
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
    if any(entry.day is None and entry.can_be_since(stated) for entry in entries):
        return Unknown(Reason.NO_DATE, "", None, names(entries))
    if any(_end(entry) >= stated for entry in entries):
        source = tuple(sorted({*fact.source, *names(entries)}))
        return Unknown(Reason.CONFLICTING, "its status and a diagnosis", fact.day, source)
    return fact


def _breast_feeding(records: Records) -> Fact:
    """As it is stated, unless a delivery or a feeding mother's diagnosis may be as new as a "no"."""
    missing = records.missing(_OBSERVATIONS, _SEXUAL)
    entries = [*records.observations(LOCAL, "breast-feeding"), *records.measured("breast_feeding")]
    fact = newest(
        entries,
        lambda entry: yes_or_no(entry) if "valueBoolean" in entry.resource else _FEEDS(entry),
        missing,
    )
    if not isinstance(fact, Known) or fact.value is True:
        return fact
    since = fact.day or 0
    diagnoses = [
        condition
        for condition in conditions(records, _FEEDING)
        if condition.can_be_since(since) or _end(condition) >= since
    ]
    if not diagnoses:
        return fact
    source = tuple(sorted({*fact.source, *names(diagnoses)}))
    return Unknown(Reason.CONFLICTING, "a no and a diagnosis", fact.day, source)


def _lasts(condition: Entry) -> bool:
    """Whether a condition is stated to be active still."""
    ended = "abatementDateTime" in condition.resource
    return not ended and bool(states_of(condition) & _ACTIVE)


def _is_over(condition: Entry) -> bool:
    """Whether a condition is stated to have ended; of one that lasts, with a day."""
    if "abatementDateTime" in condition.resource:
        return True
    return bool(states_of(condition) - _ACTIVE) and not has_icd(condition, _LASTING)


def _steady(records: Records, creatinine: Fact) -> Fact:
    """Creatinine, unless a renal failure, a kidney disease of stage 4 or 5, or dialysis may go on:
    no clearance follows from it then.
    """
    since = records.today - _ACUTE_DAYS
    entries = [
        condition
        for condition in conditions(records, _RENAL)
        if not _is_over(condition)
        and (_lasts(condition) or condition.can_be_since(since) or not has_icd(condition, _ACUTE))
    ]
    entries += [
        procedure for procedure in procedures(records, _DIALYSIS) if procedure.can_be_since(since)
    ]
    if not entries or not isinstance(creatinine, Known):
        return creatinine
    detail = (
        "renal failure, a kidney disease of stage 4 or 5 or dialysis is recorded: no clearance "
        "follows from it"
    )
    source = tuple(sorted({*creatinine.source, *names(entries)}))
    return Unknown(Reason.NOT_UNDERSTOOD, detail, creatinine.day, source)


def _as_diagnosed(records: Records, impairment: Fact) -> Fact:
    """What is stated of the liver, unless a diagnosis that is not over says that it is worse."""
    for pattern, too_good in ((_CIRRHOSIS, ("none",)), (_LIVER_FAILURE, ("none", "mild"))):
        entries = [
            condition for condition in conditions(records, pattern) if not _is_over(condition)
        ]
        if entries and isinstance(impairment, Known) and impairment.value in too_good:
            source = tuple(sorted({*impairment.source, *names(entries)}))
            detail = "its grade and a diagnosis of the liver"
            return Unknown(Reason.CONFLICTING, detail, impairment.day, source)
    return impairment


def _end(condition: Entry) -> int:
    """The last day that a condition is known to have lasted: of its end, or else of its record,
    since what was written down then is what was known then."""
    known = condition.resource.get("abatementDateTime", condition.resource.get("recordedDate"))
    return max(condition.day or 0, day_number(known) if isinstance(known, str) else 0)


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
