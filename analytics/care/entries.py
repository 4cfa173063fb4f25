"""One person's records as entries: what a chart is read from, each with its day and its codes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from analytics.care.facts import Fact, Known, Reason, Unknown, Value
from analytics.errors import InputsError
from analytics.people import CLINICAL_RECORD, Input
from analytics.readers.clinical import day_number, is_record, read_resources
from analytics.readers.codes import (
    DOUBTING,
    LOCAL,
    MEASURED,
    SHIPPED,
    URIS,
    Coding,
    codings_of,
    sensitive_categories,
)
from analytics.readers.genomics import FINAL, is_result
from analytics.readers.genotypes import Genotypes, is_genotypes, read_genotypes
from analytics.readers.marks import (
    ALL_MEDICINES,
    ALLERGY_NOT_KEPT,
    CHEMOTHERAPY_SESSION,
    TRUE_DATES,
    VOID,
    conditions_not_kept,
    observations_not_kept,
    sessions_not_kept,
    write_marks,
)
from analytics.readers.resources import concepts_of
from analytics.vocabulary import Category

LOINC = URIS["loinc"]
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE = re.compile(r"[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?|" + _DAY.pattern)
_TOGETHER = "Ingest all files of the patient at once."
_AGAIN = "Ingest the files again, without shifting dates, with this version."


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource. name: a hash of its content. day: None if its date is not a complete day, or
    after the plan's. codes: of what it states. latest: the last day it can be of; None for any."""

    name: str
    category: int
    resource: Mapping[str, object]
    day: int | None
    codes: frozenset[Coding]
    latest: int | None = None
    unread: bool = False  # what ingest did not keep, known by its mark alone

    @property
    def kind(self) -> str:
        return str(self.resource["resourceType"])

    def has(self, system: str, codes: Collection[str]) -> bool:
        """Whether it states one of these codes of a system (a URI)."""
        return any(code.system == system and code.code in codes for code in self.codes)

    def can_be_since(self, day: int) -> bool:
        """Whether it is of this day or later, or may be for all that its date says."""
        last = self.latest if self.day is None else self.day
        return last is None or last >= day


@dataclass(frozen=True, slots=True)
class Records:
    """What a chart is read from. marks: those that all records of the person have (ALL_MEDICINES),
    that one has (ALLERGY_NOT_KEPT), or that of the genome has. withheld: categories that the consent
    leaves out."""

    entries: tuple[Entry, ...]
    genotypes: Genotypes | None
    marks: frozenset[str]
    withheld: frozenset[int]
    today: int

    def observations(self, system: str, *codes: str) -> list[Entry]:
        """The Observations of these codes that a plan may use."""
        return [
            entry
            for entry in self.entries
            if entry.kind == "Observation" and entry.has(system, codes)
        ]

    def measured(self, name: str) -> list[Entry]:
        """The Observations of a measurement or test (readers/codes/measured.json), also those that
        are not read but put an older one in doubt."""
        return self.observations(LOINC, *MEASURED[name], *DOUBTING.get(name, ()))

    def missing(self, *categories: int, detail: str = "") -> Unknown:
        """Why nothing is known of what would be in these categories."""
        if self.withheld.intersection(categories):
            return Unknown(Reason.WITHHELD, detail)
        return Unknown(Reason.NOT_RECORDED, detail)


def read_records(inputs: Sequence[Input], granted: Collection[int], today: int) -> Records:
    """The entries of one person's records. granted: the categories that her consent contains.

    Raises InputsError for records of several people, of a category that she did not grant, or whose
    dates may have been shifted; PayloadError for one that cannot be read.
    """
    if len({item.subject for item in inputs}) != 1:
        raise InputsError("a care plan is not drawn from the records of exactly one person")
    if any(item.category not in granted for item in inputs):
        raise InputsError("a record has a category that the consent leaves out")
    records = [item.category for item in inputs if is_record(item.payload)]
    if len(set(records)) < len(records):
        # What one ingest did not keep stands in its own record: two of them cannot be joined.
        raise InputsError("two records of one kind of data", _TOGETHER)
    entries: dict[str, Entry] = {}
    shared: list[frozenset[str]] = []
    single: frozenset[str] = frozenset()
    genotypes = None
    for item in inputs:
        if item.category in CLINICAL_RECORD and is_record(item.payload):
            resources, marks = read_resources(item.category, item.payload, item.subject)
            shared.append(marks & {ALL_MEDICINES, TRUE_DATES})
            of_genome = item.category == Category.GERMLINE_VARIANTS
            single |= (
                marks - {ALL_MEDICINES, TRUE_DATES} if of_genome else marks & {ALLERGY_NOT_KEPT}
            )
            if any(map(_has_died, resources)):
                raise InputsError("the record says that the patient has died", "No plan is drawn.")
            kept = _entries(item.category, resources, granted, today)
            for entry in (*kept, *_not_kept(item.category, marks, today)):
                entries[f"{item.category} {entry.name}"] = entry
        elif is_genotypes(item.payload):
            genotypes = read_genotypes(item.payload, {})
    if not all(TRUE_DATES in marks for marks in shared):
        raise InputsError("the dates of the records may have been shifted at ingest", _AGAIN)
    in_all = frozenset.intersection(*shared) if shared else frozenset()
    ordered = tuple(entries[key] for key in sorted(entries))
    withheld = frozenset(map(int, Category)) - frozenset(granted)
    return Records(ordered, genotypes, in_all | single, withheld, today)


def _entries(
    category: int,
    resources: Iterable[Mapping[str, object]],
    granted: Collection[int],
    today: int,
) -> Iterator[Entry]:
    for resource in (part for listed in resources for part in (listed, *_parts_of(listed))):
        patient = resource["resourceType"] == "Patient"
        concepts = [] if patient else concepts_of(resource)
        codes = frozenset(code for concept in concepts for code in codings_of(concept))
        belongs = frozenset[int]().union(*(sensitive_categories(code, SHIPPED) for code in codes))
        if not belongs <= frozenset(granted):
            continue  # of an old record: what it says belongs to a category that is left out
        text = json.dumps(resource, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        day, latest = (None, None) if patient else _days_of(resource, today)
        yield Entry(name, category, resource, day, codes, latest)


def _has_died(resource: Mapping[str, object]) -> bool:
    return "deceasedDateTime" in resource or resource.get("deceasedBoolean") is True


def _parts_of(resource: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The parts of a panel, each as an Observation of its own; not those of a genomic result, which
    mean something only together."""
    listed = resource.get("component")
    if resource["resourceType"] != "Observation" or is_result(resource):
        return
    around = {
        name: value
        for name, value in resource.items()
        if name not in ("code", "component") and not name.startswith("value")
    }
    for part in listed if isinstance(listed, list) else []:
        yield {**around, **part}


def _not_kept(category: int, marks: Iterable[str], today: int) -> Iterator[Entry]:
    """What ingest did not keep of what a plan reads, by the marks of a record."""
    for coding, date, final in observations_not_kept(marks):
        resource = {"resourceType": "Observation", "effectiveDateTime": date, "status": "unknown"}
        day, latest = _days_of(resource, today) if date else (None, None)
        name = hashlib.sha256(f"{coding.code} {date} {final}".encode()).hexdigest()[:16]
        yield Entry(name, category, resource, day, frozenset({coding}), latest, unread=final)
    for date in sessions_not_kept(marks):
        visit: dict[str, object] = {"resourceType": "Encounter", "period": {"end": date}}
        visit |= write_marks({CHEMOTHERAPY_SESSION})
        day, latest = _days_of(visit, today) if date else (None, None)
        name = hashlib.sha256(f"a visit of {date}".encode()).hexdigest()[:16]
        yield Entry(name, category, visit, day, frozenset(), latest, unread=True)
    for date in conditions_not_kept(marks):
        resource = {"resourceType": "Condition", "recordedDate": date}
        day, latest = _days_of(resource, today) if date else (None, None)
        name = hashlib.sha256(f"a diagnosis of {date}".encode()).hexdigest()[:16]
        yield Entry(name, category, resource, day, frozenset(), latest, unread=True)


def _days_of(resource: Mapping[str, object], today: int) -> tuple[int | None, int | None]:
    """The day of an entry, of a period its end, and the last day it can be of. One from tomorrow, as
    time zones may write it, is of today."""
    for element in _DATES:
        text = resource.get(element)
        if isinstance(text, dict):
            text = text.get("end", text.get("start"))
        if isinstance(text, str):
            if not _DATE.fullmatch(text):
                return None, None
            last = day_number(text)
            complete = _DAY.fullmatch(text) is not None and last <= today + 1
            return (min(last, today) if complete else None), last
    return None, None


_DATES = (
    "effectiveDateTime",
    "effectivePeriod",
    "performedPeriod",
    "performedDateTime",
    "onsetDateTime",
    "authoredOn",
    "period",
    "date",
    "recordedDate",
)


def start_of(entry: Entry) -> int | None:
    """The day on which what an entry states began; of a single day, that day."""
    for element in ("effectivePeriod", "performedPeriod"):
        period = entry.resource.get(element)
        if isinstance(period, dict):
            start = str(period.get("start", ""))
            return day_number(start) if _DAY.fullmatch(start) else None
    return entry.day


def is_read(entry: Entry, name: str) -> bool:
    """Whether its code is one by which a plan reads this measurement or test."""
    return entry.has(LOINC, MEASURED[name])


def is_final(entry: Entry) -> bool:
    """Whether an Observation has a status in which its laboratory stands by it."""
    return entry.resource.get("status") in FINAL


def newest(
    entries: Sequence[Entry],
    read: Callable[[Entry], Value | Reason],
    missing: Unknown,
    choose: Callable[[Sequence[Value]], Value | None] = lambda values: None,
) -> Fact:
    """What the newest day of these entries says, if all of that day say the same, and if no entry
    can be as new that is not final or has no complete day: it may say otherwise.

    choose: what counts of different values of one day; None if they contradict each other.
    """
    final = [entry for entry in entries if is_final(entry)]
    if not final:
        return _doubt(entries) if entries else missing
    dated = [entry for entry in final if entry.day is not None]
    if not dated:
        return Unknown(Reason.NO_DATE, source=names(final))
    day = max(entry.day for entry in dated if entry.day is not None)
    pending = [
        entry
        for entry in entries
        if not is_final(entry) and entry.resource.get("status") not in VOID
    ]
    pending = [entry for entry in pending if entry.can_be_since(day)]
    if pending:
        return _doubt(pending, day)
    undated = [entry for entry in final if entry.day is None and entry.can_be_since(day)]
    if undated:
        return Unknown(Reason.NO_DATE, source=names(undated))
    of_day = [entry for entry in dated if entry.day == day]
    source = names(of_day)
    results = [read(entry) for entry in of_day]
    reasons = sorted({result for result in results if isinstance(result, Reason)})
    values = list(dict.fromkeys(result for result in results if not isinstance(result, Reason)))
    if reasons:
        return Unknown(reasons[0], day=day, source=source)
    value = values[0] if len(values) == 1 else choose(values)
    if value is None:
        return Unknown(Reason.CONFLICTING, day=day, source=source)
    return Known(value, day, source)


def _doubt(entries: Sequence[Entry], day: int | None = None) -> Unknown:
    """Of entries that are not final, or that ingest did not keep."""
    source = names(entries)
    if all(entry.unread for entry in entries):
        detail = "a result as new as any other: see it where it was made"
        return Unknown(Reason.HELD_BACK, detail, day, source)
    return Unknown(Reason.NOT_FINAL, "", day, source)


def checked_denial(records: Records, fact: Fact, *denied: Value) -> Fact:
    """A fact, unless it denies a disease and a diagnosis that ingest did not keep is not older: that
    may be the disease."""
    if not isinstance(fact, Known) or fact.value not in denied:
        return fact
    unread = [
        entry
        for entry in records.entries
        if entry.kind == "Condition" and entry.unread and entry.can_be_since(fact.day or 0)
    ]
    if not unread:
        return fact
    detail = "a diagnosis as new as it: see it where it was made"
    source = tuple(sorted({*fact.source, *names(unread)}))
    return Unknown(Reason.HELD_BACK, detail, fact.day, source)


def answer(
    words: Mapping[str, str | bool], system: str = LOINC
) -> Callable[[Entry], Value | Reason]:
    """Reads a coded value by these words."""

    def read(entry: Entry) -> Value | Reason:
        codings = codings_of(entry.resource.get("valueCodeableConcept"))
        answers = {words.get(coding.code or "") for coding in codings if coding.system == system}
        value = answers.pop() if len(answers) == 1 else None
        return Reason.NOT_UNDERSTOOD if value is None else value

    return read


def local_answer(words: Mapping[str, str]) -> Callable[[Entry], Value | Reason]:
    """Reads a value coded in our own system."""
    return answer(words, LOCAL)


def yes_or_no(entry: Entry) -> Value | Reason:
    """Reads a boolean."""
    value = entry.resource.get("valueBoolean")
    return value if isinstance(value, bool) else Reason.NOT_UNDERSTOOD


def number(
    units: Mapping[str, Decimal], low: Decimal, high: Decimal
) -> Callable[[Entry], Value | Reason]:
    """Reads a quantity. units: UCUM unit and what it is multiplied by; plausible: low to high."""

    def read(entry: Entry) -> Value | Reason:
        quantity = entry.resource.get("valueQuantity")
        if isinstance(entry.resource.get("valueInteger"), int):
            quantity = {"value": entry.resource["valueInteger"], "code": "1"}
        if not isinstance(quantity, dict) or "comparator" in quantity:
            return Reason.NOT_UNDERSTOOD
        factor = units.get(str(quantity.get("code")))
        if factor is None:
            return Reason.UNIT
        value = Decimal(str(quantity["value"])) * factor
        return value if low <= value <= high else Reason.NOT_UNDERSTOOD

    return read


def names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The names of entries, in order, as the source of a fact."""
    return tuple(sorted({entry.name for entry in entries}))
