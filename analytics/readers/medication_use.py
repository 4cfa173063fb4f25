"""What a medicine is for or a result is about, where a medicine is put on, and how long it lasts:
marks of an entry, without content (marks.py).

A reason is a diagnosis, of another category than the medicine, so its code is not kept with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from analytics.errors import PayloadError
from analytics.readers.clinical import day_number
from analytics.readers.codes import SNOMED, URIS, Coding, codings_of, normal_code
from analytics.readers.links import values_at
from analytics.readers.marks import (
    FOR_ANOTHER_DISEASE,
    FOR_BREAST_CANCER,
    LASTS,
    ON_SKIN_OR_EYE,
    texts_within,
)
from analytics.readers.staging import is_another_cancer

_ICD = {URIS[system]: system for system in ("icd-10", "icd-10-cm")}
# ICD-10 and ICD-10-CM: a malignant neoplasm of a site that is neither the breast nor unclear, or a
# disease that is none. Not so: a metastasis, symptoms, history, tumours of uncertain kind.
_ANOTHER = re.compile(r"C(?!50|7[6-9]|80|97)|[ABE-M]|N(?!6[0-4])|D[5-8]")
_BREAST = re.compile(r"C50")
_BREAST_SYSTEMS = frozenset({*_ICD, URIS["icd-o-3"]})
_V3 = "http://terminology.hl7.org/CodeSystem/v3-"
# SNOMED CT as FHIR's own value set route-codes names it (topical, cutaneous, ophthalmic), and HL7 v3
# RouteOfAdministration.
_LOCAL = frozenset(
    {
        *(Coding(SNOMED, code) for code in ("6064005", "448598008", "54485002")),
        *(Coding(_V3 + "RouteOfAdministration", code) for code in ("SKIN", "OPTHALTA")),
    }
)
_LOCAL_WORDS = re.compile(
    r"(?:topical|cutaneous|ophthalmic|ocular)(?: (?:use|route))?(?: \(qualifier value\))?",
    re.IGNORECASE,
)
# Words of a dosage that contradict such a route.
_INTO_THE_BODY = re.compile(
    r"\boral|mouth|swallow|\btabs?\b|tablet|\bcaps?\b|capsule|kapsel|intraven|\bi\.?v\b|"
    r"inject|injekt|infus|subcut|\bp\.?o\b|\bfood\b|\b(?:sr|er|xr|xl)\b",
    re.IGNORECASE,
)
# Where chemotherapy is put for a tumour that lies there: none of the breast.
_INTO_A_CAVITY = re.compile(
    r"intra-?(?:vesical|peritoneal|pleural|thecal|arterial|hepatic|cavit)|\b(?:IVESINST|IPERINJ)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SAYS_HOW_LONG = (
    "dispenseRequest",
    "dosageInstruction",
    "dosage",
    "daysSupply",
    "quantity",
    "whenHandedOver",
)
_ITS_DAY = ("effectiveDateTime", "effectivePeriod", "authoredOn", "dateAsserted")
_SUPPLY, _BOUNDS = ("expectedSupplyDuration", "daysSupply"), ("boundsDuration", "boundsRange")
# Units of time in UCUM and in words, each rounded up to days. Another unit means for ever.
_DAYS = {
    **dict.fromkeys("s sec second seconds min minute minutes h hr hour hours".split(), 1),
    **dict.fromkeys("d day days tag tage".split(), 1),
    **dict.fromkeys("wk wks week weeks woche wochen".split(), 7),
    **dict.fromkeys("mo mos month months monat monate".split(), 31),
    **dict.fromkeys("a y yr yrs year years jahr jahre".split(), 366),
}
_BRACKETS = re.compile(r"\(\w{1,2}\)")  # day(s), Tag(e)
_USUAL_SUPPLY = 90  # days, of a repeat that does not say how much it is
_LONGEST = 36_500  # days, or repeats: whatever is more is an error, and means for ever


def use_marks(medicine: Mapping[str, object], reasons: Sequence[object]) -> set[str]:
    """The marks of a medicine's entry. reasons: the concepts of all that it is taken for."""
    marks = disease_marks(reasons)
    dosages = [*values_at(medicine, "dosageInstruction"), *values_at(medicine, "dosage")]
    local = dosages and all(
        isinstance(dosage, dict)
        and _is_local(dosage.get("route"))
        and not any(map(_INTO_THE_BODY.search, texts_within(dosage)))
        for dosage in dosages
    )
    forms = [*values_at(medicine, "form"), *values_at(medicine, "contained.form")]
    local = local and not any(map(_INTO_THE_BODY.search, texts_within(forms)))
    routes = [*values_at(medicine, "dosage.route"), *values_at(medicine, "dosageInstruction.route")]
    if any(map(_INTO_A_CAVITY.search, texts_within(routes))):
        marks = {FOR_ANOTHER_DISEASE}
    return marks | ({ON_SKIN_OR_EYE} if local else set())


def disease_marks(concepts: Sequence[object]) -> set[str]:
    """The mark of what is for, or about, these diagnoses."""
    if concepts and all(map(is_of_breast, concepts)):
        return {FOR_BREAST_CANCER}
    return {FOR_ANOTHER_DISEASE} if concepts and all(map(_is_another, concepts)) else set()


def is_of_breast(concept: object) -> bool:
    """Whether a code of a concept names a cancer of the breast."""
    return any(
        coding.system in _BREAST_SYSTEMS and _BREAST.match((coding.code or "").upper())
        for coding in codings_of(concept)
    )


def lasting_marks(*parts: Mapping[str, object]) -> set[str]:
    """The mark of how long a medicine lasts after its day, by its entry and by what was handed out
    on it. Without a complete day of its own it needs none: it may be of any day.
    """
    begun = next((_first_day(parts[0][name]) for name in _ITS_DAY if name in parts[0]), None)
    if begun is None:
        return set()
    last = max(_last_day(part, begun) for part in parts)
    return {f"{LASTS}/{min(last - begun, _LONGEST)}"} if last > begun else set()


def _amount(quantity: object) -> int:
    return _number(quantity.get("value")) if isinstance(quantity, Mapping) else 0


def _counted(repeat: object) -> int:
    """The days of a dosage that says how often it is taken: the times, each after one more period."""
    if not isinstance(repeat, Mapping) or "count" not in repeat:
        return 0
    period = {"value": repeat.get("period", 1), "code": repeat.get("periodUnit", "d")}
    times = max(_number(repeat[name]) for name in ("count", "countMax") if name in repeat)
    return math.ceil(times * _length(period) / max(1, _number(repeat.get("frequency", 1))))


def _first_day(value: object) -> int | None:
    """The day from which its entry is counted: of a period its end, as care/entries.py reads it."""
    if isinstance(value, Mapping):
        value = value.get("end", value.get("start"))
    return next(_days(value), None)


def _last_day(part: Mapping[str, object], begun: int) -> int:
    """The last day that it names, and what its durations reach from the first one."""
    says = {name: part[name] for name in _SAYS_HOW_LONG if name in part}
    period = part.get("effectivePeriod")
    if not isinstance(period, Mapping) or "end" not in period:  # taken until it was asserted
        says["dateAsserted"] = part.get("dateAsserted")
    since = next(_days(part.get("whenHandedOver")), begun)
    repeats = max(map(_number, _named(says, "numberOfRepeatsAllowed")), default=0)
    bounds, supply = (
        max((_length(item) for name in names for item in _named(says, name)), default=0)
        for names in (_BOUNDS, _SUPPLY)
    )
    bounds = max(bounds, *map(_counted, _named(says, "repeat")), 0)
    # How many were handed out, without how long they last: one a day at least.
    supply = supply or max(map(_amount, _named(says, "quantity")), default=0)
    handed_out = (supply or (_USUAL_SUPPLY if repeats else 0)) * (1 + repeats)
    return max(begun, *_days(says), since + max(bounds, handed_out))


def _length(duration: object) -> int:
    """The days of a duration, rounded up; without a unit days, in one that is not known for ever."""
    if not isinstance(duration, Mapping):
        return 0
    if "high" in duration:
        return _length(duration["high"])
    number, unit = _number(duration.get("value")), duration.get("code", duration.get("unit", "d"))
    return number * _DAYS.get(_BRACKETS.sub("", str(unit)).strip().lower(), _LONGEST)


def _number(value: object) -> int:
    """A number, rounded up, and no larger than is possible; 0 for none."""
    return math.ceil(min(value, _LONGEST)) if isinstance(value, int | Decimal) else 0


def _days(value: object) -> Iterator[int]:
    """Every complete day inside, however deep."""
    if isinstance(value, str) and _DATE.match(value):
        try:
            yield day_number(value[: len("2011-02-03")])
        except PayloadError:
            return
    for item in _inside(value):
        yield from _days(item)


def _named(value: object, name: str) -> Iterator[object]:
    """Every element of this name inside, however deep."""
    if isinstance(value, Mapping) and name in value:
        yield value[name]
    for item in _inside(value):
        yield from _named(item, name)


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _is_another(concept: object) -> bool:
    """Whether all codes of a concept name a disease that is surely none of the breast."""
    codings = list(codings_of(concept))
    of_icd = [coding for coding in codings if coding.system in _ICD]
    others = {coding.system for coding in codings} - _BREAST_SYSTEMS
    return not others and (
        all(
            _ANOTHER.match(normal_code(_ICD[coding.system or ""], coding.code or ""))
            for coding in of_icd
        )
        if of_icd
        else is_another_cancer(codings)
    )


def _is_local(route: object) -> bool:
    """Whether a route is by its code, or its words, onto the skin or into the eye."""
    if not isinstance(route, dict):
        return False
    codings = route.get("coding")
    displays = [coding.get("display") for coding in codings] if isinstance(codings, list) else []
    words = [text for text in (route.get("text"), *displays) if isinstance(text, str)]
    return bool(_LOCAL.intersection(codings_of(route))) or any(
        _LOCAL_WORDS.fullmatch(text.strip()) for text in words
    )
