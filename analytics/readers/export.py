"""FHIR Bulk Data exports: finds out which line of NDJSON files is about whom.

An export has one file for each resource type, with the resources of everybody, one a line. A line
belongs to the patient whom it names; the custodian's list says which subject that is. A medication
names nobody, and goes to everybody whose resources refer to it. Only positions are kept, so memory
grows with the number of lines, not with their text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from analytics.canonical import key_values
from analytics.errors import PayloadError
from analytics.readers.bundle import BYTE_ORDER_MARK, MAX_BYTES, NOT_R4, is_type, read_line

MAX_LINES = 5_000_000  # of all files of an export; each costs about 200 bytes of memory
_COPY = 1 << 20
# Elements that name the patient (R4, patient compartment) of the types that are read, and of those
# whose links say what a finding was made from.
_PERSON = ("subject", "patient", "beneficiary", "for")
_SHARED = "Medication"
_REFERENCES = ("medicationReference", "itemReference")
_PATIENT = re.compile(r"(?:\A|/)Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]*)?\Z")
_UUID = re.compile(r"urn:uuid:([0-9a-fA-F-]{36})\Z")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
_MEDICATION = re.compile(r"(?:\A|/)(Medication/[A-Za-z0-9.-]{1,64})(?:/_history/[^/]*)?\Z")

# A line: its offset in the files, and its length.
Span = tuple[int, int]
# Reads so many bytes from this offset on.
Read = Callable[[int, int], bytes]


@dataclass(slots=True)
class Export:
    """The lines of each subject, and counts of those that are nobody's.

    unlisted: lines about patients whom the list does not name; unlisted_people: how many these are.
    nobody: lines that name no patient, by type.
    """

    lines: dict[str, list[Span]] = field(default_factory=dict)
    seen: int = 0
    unlisted: int = 0
    unlisted_people: int = 0
    nobody: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Counts only."""
        return {
            "lines": self.seen,
            "unlisted": self.unlisted,
            "unlisted_people": self.unlisted_people,
            "nobody": dict(sorted(self.nobody.items())),
        }


def read_export(
    read: Read,
    files: Sequence[tuple[str, int, int]],
    patients: Mapping[str, str],
    leave_out_unlisted: bool = False,
    tell: Callable[[float], None] = lambda _: None,
) -> Export:
    """Which lines are about whom.

    files: (subject, offset, length); an empty subject is a file of everybody. patients: subject by
    the patient's id in these files. Raises PayloadError, which names file (from 1) and line.
    """
    export, unlisted = Export(), set[str]()
    shared: dict[str, list[tuple[Span, frozenset[str]]]] = {}
    wanted: dict[str, set[str]] = {}
    met: set[str] = set()
    total = sum(length for _, _, length in files) or 1
    done = 0
    for file, (owner, start, length) in enumerate(files, 1):
        for line, span, text in _lines(read, start, length, file):
            tell((done + span[0] - start) / total)
            export.seen += 1
            if export.seen > MAX_LINES:
                raise PayloadError(
                    f"the NDJSON files have more than {MAX_LINES} lines",
                    "Hand in fewer people at once.",
                )
            try:
                resource = read_line(text)
                patient = "" if owner else _patient_of(resource)
                if not (owner or patient is None or patient in patients or leave_out_unlisted):
                    raise PayloadError(
                        "FHIR resource: the list of patients does not name its patient",
                        "Name the patient in --patients, or leave out who is not named: "
                        "--leave-out-unlisted.",
                    )
            except PayloadError as why:
                raise PayloadError(
                    f"line {line} of NDJSON file {file} cannot be taken: {why}",
                    why.hint,
                ) from None
            named = frozenset(_medications(resource))
            subject = owner
            if not owner:
                if patient is None:
                    kind = str(resource.get("resourceType"))
                    name = resource.get("id")
                    if kind == _SHARED and isinstance(name, str) and _ID.match(name):
                        shared.setdefault(f"{kind}/{name}", []).append((span, named))
                    else:
                        kind = kind if is_type(kind) else NOT_R4
                        export.nobody[kind] = export.nobody.get(kind, 0) + 1
                    continue
                if patient not in patients:
                    export.unlisted += 1
                    unlisted.add(patient)
                    continue
                met.add(patient)
                subject = patients[patient]
            export.lines.setdefault(subject, []).append(span)
            wanted.setdefault(subject, set()).update(named)
        done += length
    missing = len(patients.keys() - met)
    if missing:
        raise PayloadError(
            f"the list of patients names {missing} patients of whom the NDJSON files say nothing",
            "Compare the list with Patient.id in the files.",
        )
    export.unlisted_people = len(unlisted)
    used = set[str]()
    for subject, names in wanted.items():
        spans = list(_reached(names, shared, used))
        export.lines[subject] += spans
    unused = sum(len(spans) for name, spans in shared.items() if name not in used)
    if unused:
        export.nobody[_SHARED] = export.nobody.get(_SHARED, 0) + unused
    return export


def _reached(
    names: set[str], shared: Mapping[str, list[tuple[Span, frozenset[str]]]], used: set[str]
) -> Iterator[Span]:
    """The medications of these names, and those that they are made of; adds their names to used."""
    waiting, seen = sorted(names & shared.keys()), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for span, inside in shared[name]:
            yield span
            waiting += sorted(inside & shared.keys())
    used |= seen


def _lines(read: Read, start: int, length: int, file: int) -> Iterator[tuple[int, Span, bytes]]:
    """(number, span, text) of each line that is not empty, in parts of 1 MiB. Raises PayloadError."""
    rest, at, number = b"", start, 0  # rest begins at `at`
    position, end = start, start + length
    while position < end or rest:
        part = read(position, min(_COPY, end - position))
        if position < end and not part:
            raise PayloadError("the NDJSON file is shorter than declared", "hand it in again")
        position += len(part)
        *complete, rest = (rest + part).split(b"\n")
        if position == end and rest:
            complete, rest = [*complete, rest], b""
        for text in complete:
            number += 1
            begin, size = at, len(text)
            at += size + 1
            if number == 1 and text.startswith(BYTE_ORDER_MARK):
                begin, size = begin + len(BYTE_ORDER_MARK), size - len(BYTE_ORDER_MARK)
                text = text.removeprefix(BYTE_ORDER_MARK)
            if text.strip():
                _check_length(size, number, file)
                yield number, (begin, size), text
        _check_length(len(rest), number + 1, file)


def _check_length(size: int, line: int, file: int) -> None:
    if size > MAX_BYTES:
        raise PayloadError(
            f"line {line} of NDJSON file {file} has more bytes than the {MAX_BYTES} of a resource"
        )


def _patient_of(resource: Mapping[str, object]) -> str | None:
    """The id of the only patient whom a resource names; None for none or several."""
    if resource.get("resourceType") == "Patient":
        name = resource.get("id")
        return name if isinstance(name, str) and _ID.match(name) else None
    names = {
        match[1]
        for element in _PERSON
        for target in _listed(resource.get(element))
        if isinstance(target, dict)
        for reference in key_values(target.get("reference"))
        if isinstance(reference, str)
        if (match := _PATIENT.search(reference) or _UUID.match(reference))
    }
    return names.pop() if len(names) == 1 else None


def _medications(resource: Mapping[str, object]) -> Iterator[str]:
    """Type and id of the medications to which a resource refers."""
    holders: list[object] = [resource, *_listed(resource.get("ingredient"))]
    for holder in holders:
        if isinstance(holder, dict):
            for element in _REFERENCES:
                target = holder.get(element)
                text = target.get("reference") if isinstance(target, dict) else None
                match = _MEDICATION.search(text) if isinstance(text, str) else None
                if match:
                    yield match[1]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
