"""FHIR Bulk Data exports: finds out which line of NDJSON files is about whom.

An export has one file for each resource type, with the resources of everybody, one a line. A line
belongs to the patient whom it names; the custodian's list says which subject that is. What makes a
resource sensitive may be in a line that names nobody (a medication, a panel, a specimen), or that
names somebody else. So a person also gets each line of nobody from which a mark can reach hers
(links.py), and, to hold back hers, such lines of somebody else. Only positions and hashes of names
are kept, so memory grows with the number of lines and references, not with their text.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from analytics.canonical import key_values
from analytics.errors import PayloadError
from analytics.readers.bundle import (
    BYTE_ORDER_MARK,
    MAX_ALL_ENTRIES,
    MAX_BYTES,
    NOT_R4,
    base_of,
    bundle_entries,
    is_type,
    read_line,
)
from analytics.readers.links import EXTENDED, LISTED, ORIGIN, names_of, references_of

MAX_LINES = 5_000_000  # of all files of an export; each costs about 300 bytes of memory
_COPY = 1 << 20
# Elements that name the patient (R4, patient compartment) of the types that are read, and of those
# whose links say what a finding was made from.
_PERSON = ("subject", "patient", "beneficiary", "for")
_PATIENT = re.compile(r"(?:\A|/)Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]*)?\Z")
_UUID = re.compile(r"urn:uuid:([0-9a-fA-F-]{36})\Z")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
# Of nobody's lines that all people get together: each costs reading it once more.
MAX_SHARED = 20_000_000
_RELATIONS = (ORIGIN, LISTED, EXTENDED)
_NOBODY, _UNLISTED = -1, -2  # instead of the number of a subject
_DOCUMENT = "Composition"  # its labels hold for all of a person's files

# A line: its offset in the files, and its length.
Span = tuple[int, int]
# A file: whose it is ("" if of everybody), its offset among the files, and its length.
File = tuple[str, int, int]
# Reads so many bytes from this offset on.
Read = Callable[[int, int], bytes]


@dataclass(slots=True)
class Export:
    """The lines of each subject, and counts of those that are nobody's.

    beside: by subject, lines about somebody else that are linked with hers. unlisted: lines about
    patients whom the list does not name; unlisted_people: how many these are. nobody: lines that
    name no patient and reach nobody, by type. server: the only one that references to patients
    name.
    """

    lines: dict[str, list[Span]] = field(default_factory=dict)
    beside: dict[str, list[Span]] = field(default_factory=dict)
    seen: int = 0
    unlisted: int = 0
    unlisted_people: int = 0
    nobody: dict[str, int] = field(default_factory=dict)
    server: str | None = None

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
    files: Sequence[File],
    patients: Mapping[str, str],
    leave_out_unlisted: bool = False,
    tell: Callable[[float], None] = lambda _: None,
    bundles: Sequence[File] = (),
) -> Export:
    """Which lines are about whom.

    patients: subject by the patient's id in these files. bundles: like files, each a Bundle of one
    person, whose resources may refer to lines of nobody. Raises PayloadError, which names file
    (from 1) and line.
    """
    reader = _Reader(patients, leave_out_unlisted)
    total = sum(length for _, _, length in files) or 1
    done = 0
    for file, (owner, start, length) in enumerate(files, 1):
        for line, span, text in _lines(read, start, length, file):
            tell((done + span[0] - start) / total)
            try:
                reader.take(read_line(text), span, owner)
            except PayloadError as why:
                raise PayloadError(
                    f"line {line} of NDJSON file {file} cannot be taken: {why}",
                    why.hint,
                ) from None
        done += length
    reader.check_all_met()
    if any(not owner for owner, _, _ in files):
        for subject, start, length in bundles:
            for resource, full_urls in _entries_of(read(start, length)):
                reader.index.add(resource, None, subject, full_urls, alone=True)
    return reader.finish()


class _Reader:
    """Gives each line its owner, one line after the other."""

    def __init__(self, patients: Mapping[str, str], leave_out_unlisted: bool) -> None:
        self.index = _Index()
        self._patients, self._leave_out_unlisted = patients, leave_out_unlisted
        self._export = Export()
        self._met: set[str] = set()
        self._unlisted: set[str] = set()
        self._servers: set[str] = set()

    def take(self, resource: Mapping[str, object], span: Span, owner: str) -> None:
        """A line of a file of `owner`, or of everybody (""). Raises PayloadError."""
        export = self._export
        export.seen += 1
        if export.seen > MAX_LINES:
            raise PayloadError(
                f"the NDJSON files have more than {MAX_LINES} lines",
                "Hand in fewer people at once.",
            )
        if owner:
            self.index.add(resource, span, owner, alone=True)
            return
        references = _patients_of(resource)
        self._servers |= {server for _, server in references if server is not None}
        named = {name for name, _ in references}
        if len(named) == 1:
            self._take_persons(named.pop(), resource, span)
            return
        if named:  # about several people: to each, it is about somebody else
            kind = _kind(resource)
            export.nobody[kind] = export.nobody.get(kind, 0) + 1
        self.index.add(resource, span, _UNLISTED if named else _NOBODY)

    def _take_persons(self, patient: str, resource: Mapping[str, object], span: Span) -> None:
        if patient in self._patients:
            self._met.add(patient)
            self.index.add(resource, span, self._patients[patient])
            return
        if not self._leave_out_unlisted:
            raise PayloadError(
                "FHIR resource: the list of patients does not name its patient",
                "Name the patient in --patients, or leave out who is not named: "
                "--leave-out-unlisted.",
            )
        self._export.unlisted += 1
        self._unlisted.add(patient)
        self.index.add(resource, span, _UNLISTED)

    def check_all_met(self) -> None:
        """Raises PayloadError if the list names patients of whom there is no line."""
        missing = len(self._patients.keys() - self._met)
        if missing:
            raise PayloadError(
                f"the list of patients names {missing} patients of whom the NDJSON files say nothing",
                "Compare the list with Patient.id in the files.",
            )

    def finish(self) -> Export:
        """Raises PayloadError if too many lines are linked with others."""
        export = self._export
        export.unlisted_people = len(self._unlisted)
        export.server = self._servers.pop() if len(self._servers) == 1 else None
        self.index.share(export)
        return export


def _entries_of(payload: bytes) -> list[tuple[Mapping[str, object], Sequence[str]]]:
    try:
        return list(bundle_entries(payload))
    except PayloadError:  # its reader will say why, with whose it is
        return []


class _Index:
    """All lines, with hashes of their names and of the names to which they refer.

    Names are those of links.py, so each line that can mark another is met. Two names with the same
    hash only give a person a line more, of which links.py makes nothing.
    """

    def __init__(self) -> None:
        self._spans: list[Span | None] = []
        self._owners = array("q")
        self._numbers: dict[str, int] = {}
        self._kinds: dict[int, str] = {}  # of nobody's lines
        # Of line n: from [n] to [n + 1] of the hashes.
        self._names, self._names_at = array("q"), array("q", [0])
        self._targets, self._targets_at = array("q"), array("q", [0])
        self._relations = array("b")
        self._alone: set[int] = set()
        self._known: dict[int, tuple[list[int], list[dict[int, int]]]] = {}

    def add(
        self,
        resource: Mapping[str, object],
        span: Span | None,
        owner: str | int,
        full_urls: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        """alone: of a file of one person, whose ids mean nothing in the files of others."""
        line = len(self._spans)
        number = (
            self._numbers.setdefault(owner, len(self._numbers)) if isinstance(owner, str) else owner
        )
        self._spans.append(span)
        self._owners.append(number)
        if number == _NOBODY:
            self._kinds[line] = _kind(resource)
        if alone:
            self._alone.add(line)
        self._names.extend({hash(name) for name in names_of(resource, full_urls)})
        self._names_at.append(len(self._names))
        for relation, target in {(how, hash(name)) for how, name in references_of(resource)}:
            self._targets.append(target)
            self._relations.append(_RELATIONS.index(relation))
        self._targets_at.append(len(self._targets))

    def share(self, export: Export) -> None:
        """Give each person her lines and those that can mark them. Raises PayloadError."""
        wanted = set(self._targets)
        having, listing = _Lines(), _Lines()
        for line, owner in enumerate(self._owners):
            if line in self._alone:
                continue
            for name in self._names_of(line):
                if name in wanted:
                    having.add(name, line, owner)
            for relation, name in self._targets_of(line):
                if relation == LISTED:
                    listing.add(name, line, owner)
        own: dict[int, list[int]] = {number: [] for number in self._numbers.values()}
        for line, owner in enumerate(self._owners):
            if owner >= 0:
                own[owner].append(line)
        for_all = [
            line
            for line, kind in self._kinds.items()
            if kind == _DOCUMENT and not any(name in having for _, name in self._targets_of(line))
        ]
        used, shared = set(for_all if own else ()), 0
        for subject, number in self._numbers.items():
            nobodys, others = self._reached(number, [*own[number], *for_all], having, listing)
            nobodys |= dict.fromkeys(for_all)
            shared += len(nobodys) + len(others)
            if shared > MAX_SHARED or len(nobodys) + len(others) > MAX_ALL_ENTRIES:
                raise PayloadError(
                    "the NDJSON files have too many lines that name nobody or somebody else "
                    "and are linked with a person's",
                    "Name the patient in each resource, or hand in fewer people at once.",
                )
            used |= nobodys.keys()
            lines = [*own[number], *nobodys]
            export.lines[subject] = [span for line in lines if (span := self._spans[line])]
            beside = [span for line in others if (span := self._spans[line])]
            if beside:
                export.beside[subject] = beside
        for line, kind in self._kinds.items():
            if line not in used:
                export.nobody[kind] = export.nobody.get(kind, 0) + 1

    def _reached(
        self, number: int, first: list[int], having: _Lines, listing: _Lines
    ) -> tuple[dict[int, None], dict[int, None]]:
        """The lines of nobody, and of somebody else, from which a mark can reach these lines.

        A mark comes from what a line was made from, what it lists, and what lists it. One line of
        somebody else is enough for each relation of a line: all have the same mark, which holds
        back more than any other, so what is behind them does not count.
        """
        nobodys: dict[int, None] = {}
        others: dict[int, None] = {}
        waiting = list(first)
        while waiting and len(nobodys) + len(others) <= MAX_ALL_ENTRIES:
            line = waiting.pop()
            near, by_relation = self._around(line, having, listing)
            for other in near:
                if other not in nobodys:
                    nobodys[other] = None
                    waiting.append(other)
            for known in by_relation:
                others |= dict.fromkeys(
                    [other for other, owner in known.items() if owner != number][:1]
                )
        return nobodys, others

    def _around(
        self, line: int, having: _Lines, listing: _Lines
    ) -> tuple[list[int], list[dict[int, int]]]:
        """The lines of nobody that can mark this one, and by relation, those of two people."""
        if line in self._known:
            return self._known[line]
        nobodys: dict[int, None] = {}
        others: dict[object, dict[int, int]] = {}
        related = [
            (name if relation == EXTENDED else relation, having, name)
            for relation, name in self._targets_of(line)
        ]
        related += [("lister", listing, name) for name in self._names_of(line)]
        for relation, lines, name in related:
            nobodys |= dict.fromkeys(lines.nobodys.get(name, ()))
            known = others.setdefault(relation, {})
            for other, owner in lines.others.get(name, {}).items():
                _keep_two(known, other, owner)
        around = list(nobodys), [known for known in others.values() if known]
        if self._owners[line] == _NOBODY:  # many people may reach it
            self._known[line] = around
        return around

    def _names_of(self, line: int) -> array[int]:
        return self._names[self._names_at[line] : self._names_at[line + 1]]

    def _targets_of(self, line: int) -> Iterator[tuple[str, int]]:
        for at in range(self._targets_at[line], self._targets_at[line + 1]):
            yield _RELATIONS[self._relations[at]], self._targets[at]


class _Lines:
    """By the hash of a name, the lines of nobody, and those of two people."""

    def __init__(self) -> None:
        self.nobodys: dict[int, list[int]] = {}
        self.others: dict[int, dict[int, int]] = {}

    def __contains__(self, name: int) -> bool:
        return name in self.nobodys or name in self.others

    def add(self, name: int, line: int, owner: int) -> None:
        if owner == _NOBODY:
            self.nobodys.setdefault(name, []).append(line)
            return
        _keep_two(self.others.setdefault(name, {}), line, owner)


def _keep_two(known: dict[int, int], line: int, owner: int) -> None:
    """Keep lines of two people at most: to anybody, one of them is about somebody else."""
    if len(known) < 2 and owner not in known.values():
        known[line] = owner


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


def _kind(resource: Mapping[str, object]) -> str:
    kind = str(resource.get("resourceType"))
    return kind if is_type(kind) else NOT_R4


def _patients_of(resource: Mapping[str, object]) -> list[tuple[str, str | None]]:
    """The id of each patient whom a resource names, and the server that the reference gives.

    Raises PayloadError for a Patient without an id.
    """
    if resource.get("resourceType") == "Patient":
        name = resource.get("id")
        if not isinstance(name, str) or not _ID.match(name):
            raise PayloadError(
                "FHIR resource: a Patient has no id that R4 allows",
                "Give the Patient an id of letters, digits, - and . (at most 64), "
                "as its resources name it.",
            )
        return [(name, None)]
    return [
        (match[1], base_of(reference))
        for element in _PERSON
        for target in _listed(resource.get(element))
        if isinstance(target, dict)
        for reference in key_values(target.get("reference"))
        if isinstance(reference, str)
        if (match := _PATIENT.search(reference) or _UUID.match(reference))
    ]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
