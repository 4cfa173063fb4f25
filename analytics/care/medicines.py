"""Medicines: what she takes, what she was given, and whether the list can be complete.

A medicine is known by an RxNorm ingredient of the table, or by a full ATC code. One that is coded
otherwise makes the list incomplete: whether it interacts is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analytics.care.entries import (
    Entry,
    Records,
    local_answer,
    names,
    newest,
    start_of,
    yes_or_no,
)
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.care.medicine_table import TABLE, code_of
from analytics.care.tumour import (
    BEFORE_DIAGNOSIS,
    SEVERAL,
    WHOSE,
    another_cancer,
    breast_cancers,
    has_icd,
    has_pcs,
    is_of,
    procedures,
    several_tumours,
)
from analytics.readers.codes import CARE, LOCAL, SENSITIVE, URIS
from analytics.readers.marks import (
    ALL_MEDICINES,
    ALLERGY_NOT_KEPT,
    CHEMOTHERAPY_SESSION,
    FOR_ANOTHER_DISEASE,
    FOR_BREAST_CANCER,
    ON_SKIN_OR_EYE,
    OTHER_OPERATION,
    days_lasting,
    marks_of,
)
from analytics.vocabulary import Category

_KINDS = frozenset({"MedicationRequest", "MedicationStatement", "MedicationAdministration"})
_NOW = frozenset({"active", "on-hold", "in-progress"})
# A prescription counts as completed when it was handed out; what it gave may still be taken, for as
# long as it says itself (LASTS), and three months more, which are given out at most at once. When
# one was stopped is not said: it went on until then, and a prescription is valid for a year.
# Of what was given once, or says its end, nothing is left after a month.
_STILL_DAYS, _AFTERWARDS, _UNTIL_STOPPED = 90, 30, 365
# OlympiA began within 12 weeks of the last treatment; after chemotherapy that may be an operation and
# radiotherapy. Beyond a year it is none of the trial's patients by any schedule.
_AFTER_ADJUVANT, _EARLY = 365, ("adjuvant", "neoadjuvant")
_LONG_AGO = (
    "over a year ago; the trial of early disease began within 12 weeks of the last treatment"
)
_NEAR_DAYS = 183  # between chemotherapy and the operation that it belongs to, at most
_ON_THE_SKIN = frozenset({"L01BC52"})  # fluorouracil with salicylic acid: no chemotherapy
# Cytotoxic medicines that are given for diseases of joints, vessels, skin, blood or nerves too, and
# fluorouracil, also a cream: of one that does not say what for or how, alone, nothing follows.
_ALSO_FOR_OTHERS = frozenset(
    {"L01AA01", "L01AA02", "L01BA01", "L01BB02", "L01BB04", "L01BC02", "L01DB07"}
)
# Combinations with psycholeptics, which may be a barbiturate.
_WITH_OTHERS = re.compile(r"[A-Z0-9]{5}7[0-9]")
_FULL = 7  # letters of an ATC code that names a substance
# Whatever its type is, a resource may be in the record of a sensitive category.
_CATEGORIES = (Category.MEDICATIONS, *sorted(SENSITIVE))
_SESSION = re.compile(r"Z511(?:1|$)")  # ICD-10-CM, ICD-10: a session of chemotherapy
_INFUSION = re.compile(r"3E0[34]305")  # ICD-10-PCS: other antineoplastic into a vein
_SURGERY = re.compile(r"0H[BT][TUV][0-9A-Z]{2}[^X]")  # excision, resection of breast; no biopsy
# Groups of ATC whose members are all of this class.
_CLASSES = {
    "cytotoxic": ("L01A", "L01B", "L01C", "L01D", "L01XA"),
    "endocrine": ("L02AE", "L02BA", "L02BG"),
    "parp": ("L01XK",),
}


_GROUPS = tuple(TABLE["groups_with_interactions"])
_NAMES: dict[tuple[str, str], str] = {
    (URIS[system], code): name
    for name, row in TABLE["ingredients"].items()
    for system, codes in (
        ("atc", row["atc"]),
        ("rxnorm", [*row.get("products", []), *([row["rxnorm"]] if "rxnorm" in row else [])]),
    )
    for code in codes
}


@dataclass(frozen=True, slots=True)
class _Medicine:
    """One medicine entry. understood: whether its codes say for certain what is in it."""

    entry: Entry
    codes: frozenset[str]
    classes: frozenset[str]
    understood: bool
    tells_of_parp: bool  # whether its codes say for certain whether it is a PARP inhibitor
    now: bool
    may_be_for_others: bool  # whether it says nothing of cancer by itself
    for_another: bool  # whether every reason for it is another disease
    local: bool  # whether it is put on the skin or into the eye alone


def read_medicines(records: Records, metastatic: Fact) -> dict[str, Fact]:
    """The facts of medicines. metastatic: what is known of distant metastases (tumour.py)."""
    medicines = [_read(entry, records.today) for entry in records.entries if entry.kind in _KINDS]
    # What is put on the skin or into the eye interacts with nothing.
    taken = [medicine for medicine in medicines if not medicine.local]
    now = [medicine for medicine in taken if medicine.now]
    strange = [medicine.entry for medicine in now if not medicine.understood]
    complete = _complete(records, medicines, strange)
    ever = _complete(records, medicines, [it.entry for it in taken if not it.understood])
    unsure = [medicine.entry for medicine in taken if not medicine.tells_of_parp]
    facts = {
        "medicines": _list(records, medicines, now),
        "medicines_ever": _list(records, medicines, taken),
        "medicines_complete": complete,
        "allergies": _allergies(records),
        "earlier_parp_inhibitor": _parp_inhibitor(
            records, medicines, _complete(records, medicines, unsure)
        ),
    }
    facts["chemotherapy"] = _chemotherapy(records, medicines, ever, metastatic)
    facts["endocrine_therapy"] = _endocrine(records, medicines, ever)
    return facts


def _read(entry: Entry, today: int) -> _Medicine:
    atc = {code.code or "" for code in entry.codes if code.system == URIS["atc"]}
    rxnorm = {code.code or "" for code in entry.codes if code.system == URIS["rxnorm"]}
    keys = {(code.system or "", code.code or "") for code in entry.codes}
    known = {_NAMES[key] for key in keys if key in _NAMES}
    other = {code for code in atc if (URIS["atc"], code) not in _NAMES}
    codes = {code_of(name) for name in known} | {f"atc:{code}" for code in other}
    certain = bool(known) or any(len(code) == _FULL for code in other)
    # A code that is not read may name another ingredient of it.
    unread = {code for code in rxnorm if (URIS["rxnorm"], code) not in _NAMES}
    unclear = any(code.startswith(_GROUPS) or _WITH_OTHERS.fullmatch(code) for code in other)
    # A group above the last level may hold whatever it begins with; PARP inhibitors had codes of
    # L01XX before ATC gave them a group of their own.
    may_be_parp = any("L01XK".startswith(code) or code.startswith("L01XX") for code in other)
    tells_of_parp = bool(known or other) and not unread and not may_be_parp
    certain = certain and not unread and not unclear
    codes |= {f"rxnorm:{code}" for code in unread}
    classes = {TABLE["ingredients"][name].get("class", "") for name in known}
    classes |= {
        kind
        for kind, groups in _CLASSES.items()
        for code in atc - _ON_THE_SKIN
        if code.startswith(groups)
    }
    used = marks_of(entry.resource)
    if ON_SKIN_OR_EYE in used:
        classes.discard("cytotoxic")
    cytotoxic = "cytotoxic" in classes
    period = entry.resource.get("effectivePeriod")
    ended = entry.kind == "MedicationAdministration" or (
        isinstance(period, dict) and "end" in period
    )
    still = _AFTERWARDS if cytotoxic or ended else _STILL_DAYS
    lasts = days_lasting(used)
    if _has_no_end(entry) and not cytotoxic:
        lasts = max(lasts, _UNTIL_STOPPED)
    last = entry.latest if entry.day is None else entry.day
    recent = last is None or last + lasts >= today - still
    active = entry.resource.get("status") in _NOW
    named = {code for name in known for code in TABLE["ingredients"][name]["atc"]} | other
    for_others = bool(named & _ALSO_FOR_OTHERS)
    for_another = FOR_ANOTHER_DISEASE in used
    return _Medicine(
        entry,
        frozenset(codes),
        frozenset(classes),
        certain,
        tells_of_parp,
        active or recent,
        for_others,
        for_another,
        ON_SKIN_OR_EYE in used,
    )


def _has_no_end(entry: Entry) -> bool:
    """Whether a medicine was taken until a day that is not said."""
    if entry.kind == "MedicationAdministration":
        return False
    period = entry.resource.get("effectivePeriod")
    return (
        "end" not in period
        if isinstance(period, dict)
        else entry.resource.get("status") == "stopped"
    )


def _list(records: Records, medicines: Sequence[_Medicine], chosen: Sequence[_Medicine]) -> Fact:
    if not medicines:
        return records.missing(*_CATEGORIES)
    codes = frozenset[str]().union(*(medicine.codes for medicine in chosen))
    return Known(
        tuple(sorted(codes)), _newest(medicines), names(medicine.entry for medicine in chosen)
    )


def _complete(records: Records, medicines: Sequence[_Medicine], strange: Sequence[Entry]) -> Fact:
    """Whether nothing can be missing in a list, and everything in it is understood. strange: what
    is not.
    """
    if records.withheld.intersection(_CATEGORIES):
        return Unknown(Reason.WITHHELD, "a category that could hold a medicine")
    if ALL_MEDICINES not in records.marks:
        return Unknown(Reason.HELD_BACK, "an entry that is or could be a medicine")
    if not medicines:
        return Unknown(Reason.NOT_RECORDED, "no medicine is recorded")
    if strange:
        detail = "a medicine with a code that is not read, or of a group that may interact"
        return Unknown(Reason.NOT_UNDERSTOOD, detail, None, names(strange))
    return Known(True, _newest(medicines), names(medicine.entry for medicine in medicines))


def _given(medicines: Sequence[_Medicine], kind: str, complete: Fact) -> Fact:
    """Whether she ever had a medicine of a class; no only if the list is complete."""
    of_class = [medicine for medicine in medicines if kind in medicine.classes]
    if of_class:
        return Known(True, _newest(of_class), names(medicine.entry for medicine in of_class))
    return Known(False, complete.day, complete.source) if isinstance(complete, Known) else complete


def _allergies(records: Records) -> Fact:
    """The medicines to which an allergy or intolerance is recorded; no entry says that there is
    none.
    """
    entries = [entry for entry in records.entries if entry.kind == "AllergyIntolerance"]
    codes = frozenset[str]().union(*(_read(entry, records.today).codes for entry in entries))
    if not codes:
        return records.missing(*_CATEGORIES)
    days = [entry.day for entry in entries if entry.day is not None]
    return Known(tuple(sorted(codes)), max(days, default=None), names(entries))


def _parp_inhibitor(records: Records, medicines: Sequence[_Medicine], complete: Fact) -> Fact:
    """Whether she ever had one; who is allergic to one had it. No "no" while an allergy was held
    back."""
    allergies = [
        entry
        for entry in records.entries
        if entry.kind == "AllergyIntolerance" and "parp" in _read(entry, records.today).classes
    ]
    if allergies:
        return Known(
            True,
            max((allergy.day for allergy in allergies if allergy.day), default=None),
            names(allergies),
        )
    given = _given(medicines, "parp", complete)
    if isinstance(given, Known) and given.value is False and ALLERGY_NOT_KEPT in records.marks:
        return Unknown(Reason.HELD_BACK, "an allergy that could be one to a medicine", given.day)
    return given


def _chemotherapy(
    records: Records, medicines: Sequence[_Medicine], complete: Fact, metastatic: Fact
) -> Fact:
    cytotoxic = [medicine for medicine in medicines if "cytotoxic" in medicine.classes]
    going_on = [
        medicine.entry for medicine in cytotoxic if medicine.entry.resource.get("status") in _NOW
    ]
    if going_on:  # or only ordered yet
        return Unknown(Reason.NOT_FINAL, "chemotherapy is not over", None, names(going_on))
    # Of another disease, it counts for nothing but the day of the last one.
    others = [medicine.entry for medicine in cytotoxic if medicine.for_another]
    given_so = [medicine for medicine in cytotoxic if not medicine.for_another]
    if others and not given_so:
        detail = "given for another disease than one of the breast"
        return Unknown(Reason.NOT_UNDERSTOOD, detail, None, names(others))
    sessions = _sessions(records)
    entries = [*(medicine.entry for medicine in given_so), *sessions]
    if records.withheld & {Category.PROCEDURES, Category.CONDITIONS}:  # or a later session
        return Unknown(Reason.WITHHELD, "", None, names(entries))
    if not entries:
        given = _given(medicines, "cytotoxic", complete)
        return Known("none", given.day, given.source) if isinstance(given, Known) else given
    if any(entry.day is None for entry in (*entries, *others)):
        return Unknown(Reason.NO_DATE, "a day of chemotherapy is not known", None, names(entries))
    stated = _stated_setting(records, entries)
    if isinstance(stated, Known):
        setting = str(stated.value)
    elif stated.reason != Reason.NOT_RECORDED:
        return stated
    else:
        of_breast = _of_the_breast_cancer(records, entries)
        if isinstance(of_breast, Unknown):
            return of_breast
        if not sessions and all(medicine.may_be_for_others for medicine in given_so):
            detail = "medicines alone that are given for other diseases too"
            return Unknown(Reason.NOT_UNDERSTOOD, detail, _newest(given_so), names(entries))
        others += [entry for entry in entries if entry not in of_breast]
        entries = of_breast
        setting = _setting(records, entries, metastatic)
    source = tuple(sorted({*names(entries), *names(others), *stated.source}))
    early = not (isinstance(metastatic, Known) and metastatic.value is True)
    treated = max(entry.day or 0 for entry in entries)
    if early and setting in _EARLY and treated < records.today - _AFTER_ADJUVANT:
        return Unknown(Reason.TOO_OLD, _LONG_AGO, treated, source)
    last = max(_last_given(entry) for entry in (*entries, *others))
    return Known(setting, min(last, records.today), source)


def _sessions(records: Records) -> list[Entry]:
    """What says that chemotherapy was given, without its medicine."""
    return [
        entry
        for entry in records.entries
        if has_icd(entry, _SESSION)
        or CHEMOTHERAPY_SESSION in marks_of(entry.resource)
        or (entry.kind == "Procedure" and has_pcs(entry, _INFUSION))
    ]


def _of_the_breast_cancer(records: Records, entries: Sequence[Entry]) -> list[Entry] | Unknown:
    """Of the entries of chemotherapy those for the breast cancer; unknown where none surely is."""
    days = [entry.day for entry in entries if entry.day is not None]
    if several_tumours(records):
        return Unknown(Reason.CONFLICTING, SEVERAL, max(days), names(entries))
    of_breast = list(entries)
    if another_cancer(records):
        of_breast = [entry for entry in entries if is_of(entry, FOR_BREAST_CANCER)]
        if not of_breast:
            return Unknown(Reason.CONFLICTING, WHOSE, max(days), names(entries))
    diagnosed = [cancer.day for cancer in breast_cancers(records) if cancer.day is not None]
    if diagnosed:  # what came before was for another disease
        since = min(diagnosed) - BEFORE_DIAGNOSIS
        earlier = of_breast
        of_breast = [entry for entry in earlier if (entry.day or 0) >= since]
        if not of_breast:
            detail = "given before breast cancer was diagnosed"
            return Unknown(Reason.NOT_UNDERSTOOD, detail, max(days), names(earlier))
    return of_breast


def _last_given(entry: Entry) -> int:
    """The last day on which a medicine may have been given: an order may end long after its own."""
    return (entry.day or 0) + days_lasting(marks_of(entry.resource))


def _stated_setting(records: Records, entries: Sequence[Entry]) -> Fact:
    """The setting as it is recorded; not if before the first chemotherapy, or where there are several
    cancers before the last one: of an earlier treatment or tumour then."""
    stated = newest(
        records.observations(LOCAL, "chemotherapy-setting"),
        local_answer(CARE["chemotherapy-setting"]),
        Unknown(Reason.NOT_RECORDED),
    )
    several, another = several_tumours(records), another_cancer(records)
    cancers = [*breast_cancers(records), *another] if several or another else []
    first = min(entry.day for entry in entries if entry.day is not None)
    since = max([first, *(cancer.day or 0 for cancer in cancers)])
    earlier = isinstance(stated, Known) and (stated.day or 0) < since
    return Unknown(Reason.NOT_RECORDED) if earlier else stated


def _setting(records: Records, entries: Sequence[Entry], metastatic: Fact) -> str:
    """By what came first: chemotherapy in the months before an operation of the breast, in those
    after it, or after metastases were recorded."""
    periods = [
        (start, entry.day)
        for entry in entries
        if (start := start_of(entry)) is not None and entry.day is not None
    ]
    if len(periods) < len(entries):
        return "setting not said"
    first = min(start for start, _ in periods)
    if isinstance(metastatic, Known) and metastatic.value is True:
        after = metastatic.day is not None and first >= metastatic.day
        return "metastatic" if after else "setting not said"
    operations = list(_operations(records))
    if any(start <= day <= end for day in operations for start, end in periods):
        return "setting not said"
    # Others, years before or after, are of another disease or of the other breast.
    before = any(first - _NEAR_DAYS <= day < first for day in operations)
    after = any(0 < day - end <= _NEAR_DAYS for day in operations for _, end in periods)
    if before == after:
        return "setting not said"
    return "adjuvant" if before else "neoadjuvant"


def _operations(records: Records) -> Iterator[int]:
    """The days of her operations of the breast for its cancer: done, for no other reason, and not
    before it was diagnosed.
    """
    diagnosed = [cancer.day for cancer in breast_cancers(records) if cancer.day is not None]
    since = min(diagnosed) - BEFORE_DIAGNOSIS if diagnosed else None
    for entry in procedures(records, _SURGERY):
        done = entry.resource.get("status") == "completed" and not is_of(entry, OTHER_OPERATION)
        if done and entry.day is not None and (since is None or entry.day >= since):
            yield entry.day


def _endocrine(records: Records, medicines: Sequence[_Medicine], complete: Fact) -> Fact:
    unsuitable = newest(
        records.observations(LOCAL, "endocrine-therapy-unsuitable"),
        yes_or_no,
        Unknown(Reason.NOT_RECORDED),
    )
    diagnosed = [cancer.day for cancer in breast_cancers(records) if cancer.day is not None]
    since = min(diagnosed) - BEFORE_DIAGNOSIS if diagnosed else None
    # Not what was for another disease, came before this one, or may not have begun yet.
    of_her_cancer = [
        medicine
        for medicine in medicines
        if not medicine.for_another
        and medicine.entry.resource.get("status") != "on-hold"
        and (since is None or medicine.entry.day is None or medicine.entry.day >= since)
        and medicine.entry.day != records.today
    ]
    given = _given(of_her_cancer, "endocrine", complete)
    if isinstance(given, Known) and given.value:
        return Known("given", given.day, given.source)
    if isinstance(unsuitable, Known) and unsuitable.value:
        return Known("unsuitable", unsuitable.day, unsuitable.source)
    if isinstance(unsuitable, Unknown) and unsuitable.reason != Reason.NOT_RECORDED:
        return unsuitable
    return Known("none", given.day, given.source) if isinstance(given, Known) else given


def _newest(medicines: Sequence[_Medicine]) -> int | None:
    return max(
        (medicine.entry.day for medicine in medicines if medicine.entry.day is not None),
        default=None,
    )
