"""Reads and checks one person's FHIR R4 resources from a hospital export, before any is used.

They come as a Bundle, as several, or as lines of NDJSON. This module refuses an entire file if it
is not well-formed JSON, not strict JSON around its entries, no R4 Bundle, about two people, one
page of several, or has no name for the person. A single resource that is not valid R4 or not strict
JSON, has too little information, or shares its id with another one, is held back alone, with its
type and element as the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from analytics.canonical import OUT_OF_RANGE, TWICE, Fault, key_values, load_strict, paired
from analytics.errors import JsonRefused, PayloadError
from analytics.readers.resources import PROFILES, SUBJECT, SUBJECT_PREFIX, invalid

# Any bundle within these limits is read in 2 s and 64 MB. The largest in the fixture: 2.6 MB, 3,200
# entries, 39,000 objects, 113,000 values.
MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32  # of a record, and of a resource in a file; a deeper resource is held back
MAX_FILE_DEPTH = 128  # a deeper file is refused before it is parsed
MAX_ENTRIES = 20_000
MAX_VALUES = 200_000  # commas and opening brackets
MAX_OBJECTS = 50_000  # opening braces: most time goes into the R4 models, up to 33 µs per object
# The R4 model of a resource takes three times its JSON; the fixture's largest resource has 200
# values.
MAX_RESOURCE_VALUES = 5_000
MAX_MEMORY = 48 * 1024 * 1024  # bytes of JSON, as estimated by `_memory`
# What one person's files may have at an ingest, in multiples of these: 64 MiB, as much as a run
# reads of a record (clinical.MAX_BYTES), in about half a minute and 450 MB.
FILES = 8
MAX_ALL_BYTES = FILES * MAX_BYTES
MAX_ALL_ENTRIES = 100_000  # as many as a record may have (clinical.MAX_ENTRIES)
# Of a parsed object with its first key, and of any other value (CPython 3.11).
OBJECT_BYTES, VALUE_BYTES = 264, 72
BUNDLE_TYPES = ("transaction", "batch", "collection", "searchset", "document")
# Of an R4 Bundle: one without entries may have these alone, or its entries have a wrong name.
ELEMENTS = frozenset(
    "resourceType id meta implicitRules language identifier type timestamp total entry link signature".split()
)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
# R4 Observation, Procedure, Condition, medications: types of a subject that is not a patient.
NO_PATIENT = ("Device", "Group", "Location")
ELSEWHERE = "about a patient at an address that the file does not give for the person"
UNCLEAR = "does not clearly say whom it is about"
ANOTHER = "about another patient"
NO_RESOURCE = "an entry that has no resource"
COPY = "a copy of another resource of the file"
PATCH = "a change (PATCH), not a resource"
PATCHED = "a change to it (PATCH) is in the file"
DELETED = "a deletion of it (DELETE) is in the file"
SAME_NAME = "another resource of the file has the same id or fullUrl"
NOT_R4 = "not a type of FHIR R4"
TWO_PEOPLE = "its reference names the person, and its identifier somebody else"
# Requests that bring in no resource.
REQUESTS = {
    "DELETE": "a deletion (DELETE), not a resource",
    "GET": "a search or read (GET), not a resource",
    "HEAD": "a search or read (HEAD), not a resource",
}
NO_TOTAL = "Bundle.total is not a number: it does not show whether the file is complete."
PAGES = ("next", "previous", "prev")  # relations of links between the pages of an answer
_ASTRAL = re.compile(rb"[\xf0-\xff]|\\u[dD]")
_BEYOND_LATIN_1 = re.compile(rb"[\xc4-\xff]|\\u(?!00)")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
MAX_PATH = 8  # nested R4 elements that a reason names
_OF_THE_LIBRARY = "fhir_comments"  # an element of its models that R4 does not have
_ELEMENT = re.compile(r"_?[A-Za-z]{1,64}")
_HISTORY = re.compile(r"/_history/([A-Za-z0-9.-]{1,64})\Z")
_ORIGIN = re.compile(r"(https?)://([^/?#]*)", re.IGNORECASE)
_OWN_PORTS = {"http": ":80", "https": ":443"}
_UUID = re.compile(
    r"(?:urn:uuid:|Patient/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z", re.IGNORECASE
)
_NO_PATIENT = re.compile(rf"(?:\A|/)(?:{'|'.join(NO_PATIENT)})/[A-Za-z0-9.-]{{1,64}}\Z")
_PATIENT = re.compile(r"(?:https?://[^?#]+/)?Patient/[A-Za-z0-9.-]{1,64}\Z")
_ADDRESS = re.compile(r"https?://[^?#]+/([A-Za-z]+/[A-Za-z0-9.-]{1,64})\Z")
_RELATIVE = re.compile(r"[A-Za-z]+/[A-Za-z0-9.-]{1,64}\Z")
# The address of a resource on a server; the part before its type and id is the server's base.
_RESTFUL = re.compile(r"((?i:https?)://[^?#]+)/[A-Z][A-Za-z]*/[^/?#]+/?(?:[?#]|\Z)")


@dataclass(frozen=True, slots=True)
class ReferenceContext:
    """The context in which the references of a resource are resolved.

    inside: its contained resources, by their local reference. full_urls: of its entry: one or none,
    or several if that key is duplicated. base: the base of relative references, None if the entry
    has no address on a server.
    """

    inside: Mapping[str, Mapping[str, object]]
    full_urls: Sequence[str] = ()
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The resources of one file, references to the person, and the targets of references.

    anywhere: by Type/id, the resources without an address in the file. labelled: the labels of the
    file, its Patient and its documents, which apply to every resource. unfit: by identity of a
    resource, why it must be held back; its information about related resources still counts.
    dropped: by reason, the number of entries that are held back unread. left: by kind, the number
    of entries that are requests without a resource. contexts: by identity of a resource. others: by
    identity, resources that are not kept themselves, such as a specimen, and are about somebody
    else. unsure: whether the Patient's id is invalid, so any Patient/id may mean the person. notes:
    sentences about the file. beside: resources about somebody else that are not of the file;
    they mark what is linked with them, and nothing of them is used.
    """

    resources: Sequence[Mapping[str, object]]
    patient: Mapping[str, object]
    person: frozenset[str]
    by_reference: Mapping[str, Mapping[str, object]]
    anywhere: Mapping[str, Mapping[str, object]]
    labelled: tuple[Mapping[str, object], ...]
    unfit: Mapping[int, str]
    dropped: Mapping[str, int]
    left: Mapping[str, int]
    contexts: Mapping[int, ReferenceContext]
    others: Set[int]
    unsure: bool
    notes: tuple[str, ...]
    beside: Sequence[Mapping[str, object]] = ()


def read_source(
    bundles: Sequence[bytes],
    subject: str,
    lines: Iterable[bytes] = (),
    most: int = 1,
    beside: Iterable[bytes] = (),
    server: str | None = None,
) -> Source:
    """The checked resources of one person's files. subject: 64 hex characters.

    bundles: each the bytes of a Bundle. lines: each the bytes of one resource (NDJSON). most: what
    they may have together, in multiples of the limits of a Bundle. beside: lines about somebody
    else, to which these refer or which refer to these. server: the address of the only server from
    which all lines are. Raises PayloadError.
    """
    if not SUBJECT.fullmatch(subject):
        raise PayloadError("FHIR bundle: the subject is not 64 lower-case hexadecimal characters")
    read, size = _Entries(), _Size(most)
    metas: list[Mapping[str, object]] = []
    notes: list[str] = []
    for payload in bundles:
        # RFC 8259 section 8.1 allows a reader to ignore a byte order mark.
        payload = payload.removeprefix(BYTE_ORDER_MARK)
        document, entries = _read_bundle(payload, size)
        metas.append({"meta": document.get("meta")})
        _check_labels(metas[-1])
        copies = read.dropped.get(COPY, 0)
        for entry in entries:
            read.add(entry)
        notes += _check_total(document, entries, read.dropped.get(COPY, 0) - copies)
    for line in lines:
        size.add(line)
        size.add_entries(1)
        read.add({"resource": read_line(line)})
    for line in beside:
        size.add(line)
        size.add_entries(1)
        read.add_beside(read_line(line))
    return _check_resources(read, subject, metas, tuple(dict.fromkeys(notes)), server)


def bundle_entries(payload: bytes) -> Iterator[tuple[Mapping[str, object], Sequence[str]]]:
    """Each resource of a Bundle, not checked, with the addresses of its entry. Raises PayloadError."""
    for entry in _read_bundle(payload.removeprefix(BYTE_ORDER_MARK), _Size(FILES))[1]:
        for resource in _resources_in(entry):
            yield resource, _texts(entry, "fullUrl")


def read_line(line: bytes) -> Mapping[str, object]:
    """The resource of a line of NDJSON; what is not strict JSON in it is a Fault.

    Raises PayloadError.
    """
    faults: set[Fault] = set()
    try:
        document = load_strict(line, max_bytes=MAX_BYTES, max_depth=MAX_FILE_DEPTH, faults=faults)
    except JsonRefused as refused:
        raise PayloadError(f"FHIR resource: {refused}", "Write one resource a line.") from None
    if not isinstance(document, dict):
        raise PayloadError("FHIR resource: it is not a JSON object", "Write one resource a line.")
    return document


def _read_bundle(payload: bytes, size: _Size) -> tuple[Mapping[str, object], Sequence[object]]:
    """A Bundle that is complete, and its entries. Raises PayloadError."""
    size.add(payload)
    faults: set[Fault] = set()
    try:
        document = load_strict(
            payload, max_bytes=len(payload), max_depth=MAX_FILE_DEPTH, faults=faults
        )
    except JsonRefused as refused:
        raise PayloadError(f"FHIR bundle: {refused}") from None
    if not isinstance(document, dict):
        raise PayloadError("FHIR bundle: it is not a FHIR Bundle")
    if faults:
        _check_around(document)
    if document.get("resourceType") != "Bundle":
        raise PayloadError("FHIR bundle: it is not a FHIR Bundle")
    if document.get("type") not in BUNDLE_TYPES:
        raise PayloadError(
            "FHIR bundle: its type is not transaction, batch, collection, searchset or document"
        )
    # Without any, as the last page of a search may be (R4: 0..*).
    entries = document.get("entry", [])
    if not isinstance(entries, list) or (not entries and not ELEMENTS.issuperset(document)):
        raise PayloadError("FHIR bundle: it has no entries under their name")
    size.add_entries(len(entries))
    _check_complete(document, entries)
    return document, entries


class _Size:
    """What the files of one person have together. most: in multiples of a Bundle's limits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = self._values = self._objects = self._memory = self._entries = 0

    def add(self, payload: bytes) -> None:
        """Check the sum of all files or lines before this one is parsed. Raises PayloadError."""
        self._bytes += len(payload)
        self._values += sum(payload.count(sign) for sign in (b",", b"[", b"{"))
        self._objects += payload.count(b"{")
        most = self._most * MAX_BYTES
        if self._bytes > most:
            raise PayloadError(f"FHIR bundle: the document is larger than {most} bytes")
        most = self._most * MAX_VALUES
        if self._values > most:
            raise PayloadError(f"FHIR bundle: it has more values than {most}")
        most = self._most * MAX_OBJECTS
        if self._objects > most:
            raise PayloadError(f"FHIR bundle: it has more objects than {most}")
        self._memory += _memory(payload)
        if self._memory > self._most * MAX_MEMORY:
            raise PayloadError(
                "FHIR bundle: it would take more memory than one person's bundle may"
            )

    def add_entries(self, count: int) -> None:
        """Count resources. Raises PayloadError."""
        self._entries += count
        most = min(self._most * MAX_ENTRIES, MAX_ALL_ENTRIES)
        if self._entries > most:
            raise PayloadError(f"FHIR bundle: it has more entries than {most}")


def _check_around(document: Mapping[str, object]) -> None:
    """Check that the text outside the entries is strict JSON. Raises PayloadError."""
    entries = document.get("entry")
    around = [value for name, value in document.items() if name != "entry"]
    around += entries[-1:] if isinstance(entries, list) and entries[-1:] == [TWICE] else []
    fault = next(_faults(around), None)
    if fault is not None:
        raise PayloadError(f"FHIR bundle: {fault.why}")


def _faults(value: object) -> Iterator[Fault]:
    """Deviations from strict JSON in a value. A number out of range is valid, but unusable."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Fault):
            yield from () if item is OUT_OF_RANGE else (item,)
        elif isinstance(item, dict | list):
            waiting += item.values() if isinstance(item, dict) else item


def _check_complete(document: Mapping[str, object], entries: Sequence[object]) -> None:
    """Check that it is not one of several pages and changes have targets. Raises PayloadError."""
    links = document.get("link") or []
    if not isinstance(links, list) or any(
        not isinstance(link, dict) or link.get("relation") in PAGES for link in links
    ):
        raise PayloadError(
            "FHIR bundle: it is one page of several", "Join all pages into one bundle."
        )
    for method, url in (request for entry in entries for request in _requests(entry)):
        if isinstance(url, str):
            unnamed = "?" in url and "/" not in _changed(url)
        else:
            unnamed = method == "PATCH"
        if method in ("PATCH", "DELETE") and unnamed:
            raise PayloadError(
                f"FHIR bundle: a {method} does not name the resource that it changes",
                "Hand in resources as they are: no deletions, changes or searches.",
            )


def _changed(url: str) -> str:
    """The target of a request (R4 http.html): an address, or type and id, without parameters."""
    return url.partition("?")[0].strip("/")


def _requests(entry: object) -> Iterator[tuple[str, object]]:
    """The (method, url) of an entry's request, several if a key is duplicated. A malformed request
    is ignored, since it describes how the entry was sent, not a person.
    """
    for request in key_values(entry.get("request")) if isinstance(entry, dict) else ():
        if isinstance(request, dict):
            for method, url in paired(request.get("method"), request.get("url")):
                yield str(method).upper(), url


def _check_total(
    document: Mapping[str, object], entries: Sequence[object], copies: int
) -> tuple[str, ...]:
    """R4 bundle.html: `total` counts the matches of a search on all its pages. Some servers also
    count included resources, so only a total above the number of all entries proves missing
    resources. Raises PayloadError.

    A total that is not a number is ignored, with the returned note.
    """
    total = document.get("total", 0)
    if type(total) is not int:
        return (NO_TOTAL,)
    if total > len(entries) - copies:
        raise PayloadError(
            "FHIR bundle: its total is larger than its number of entries",
            "Join all pages into one bundle.",
        )
    return ()


def contained(resource: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The contained resources, by their local reference."""
    resources: dict[str, Mapping[str, object]] = {}
    listed = resource.get("contained")
    for inner in listed if isinstance(listed, list) else []:
        if isinstance(inner, dict):
            for name in key_values(inner.get("id")):
                resources.setdefault(f"#{name}", inner)
    return resources


def resolve(
    reference: object, context: ReferenceContext, source: Source
) -> Mapping[str, object] | None:
    """The resource of this file that a reference means; None if it is not in the file.

    R4 bundle.html#references: without its version, the reference is the target's fullUrl or
    Type/id, and a version is the target's meta.versionId. A relative one is on the server that its
    entry's fullUrl names. Another server's address means a target only if the file gives that
    target no address.
    """
    name = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(name, str):
        return None
    if name.startswith("#"):
        return context.inside.get(name)
    version = _HISTORY.search(name)
    name = _absolute(identity(name), context.base)
    address = _ADDRESS.match(name)
    target = source.by_reference.get(name) or (source.anywhere.get(address[1]) if address else None)
    meta = target.get("meta") if target else None
    if version and isinstance(meta, dict) and meta.get("versionId", version[1]) != version[1]:
        return None
    return target


def identity(name: str) -> str:
    """An address, or type and id, for comparison: without its version, and http as https (R4
    http.html), scheme and host in small letters, without the scheme's default port (RFC 3986
    section 6.2).
    """
    version = _HISTORY.search(name)
    plain = name[: version.start()] if version else name
    origin = _ORIGIN.match(plain)
    if not origin:
        return plain
    host = origin[2].lower().removesuffix(_OWN_PORTS[origin[1].lower()])
    return f"http://{host}{plain[origin.end() :].removesuffix('/')}"


def base_of(full_url: str) -> str | None:
    """The address of the server of a resource, from the address of the resource."""
    match = _RESTFUL.match(identity(full_url))
    return match[1] if match else None


def _absolute(name: str, base: str | None) -> str:
    return name if base is None or not _RELATIVE.match(name) else f"{base}/{name}"


def _memory(payload: bytes) -> int:
    """Upper bound of the bytes for parsing: file, three copies of its text, and its values.

    Python stores a text that has a character beyond Latin-1 in 2 bytes per character, beyond U+FFFF
    in 4.
    """
    width = 4 if _ASTRAL.search(payload) else 2 if _BEYOND_LATIN_1.search(payload) else 1
    objects = payload.count(b"{")
    others = payload.count(b",") + payload.count(b"[")
    return len(payload) * (1 + 3 * width) + objects * OBJECT_BYTES + others * VALUE_BYTES


class _Entries:
    """The resources of a file and their names, collected before the person is known.

    shared: names that two different resources have; such a name means neither. Other attributes as
    in Source.
    """

    def __init__(self) -> None:
        self.resources: list[Mapping[str, object]] = []
        self.patient: Mapping[str, object] | None = None
        self.labelled: list[Mapping[str, object]] = []
        self.by_reference: dict[str, Mapping[str, object]] = {}
        self.anywhere: dict[str, Mapping[str, object]] = {}
        self.shared: set[str] = set()
        self.unfit: dict[int, str] = {}
        self.dropped: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.contexts: dict[int, ReferenceContext] = {}
        self.names: dict[int, set[str]] = {}
        self.beside: list[Mapping[str, object]] = []
        self.changed: list[tuple[object, str]] = []  # target of a request, and why to hold it back

    def add(self, entry: object) -> None:
        """Add one entry. Raises PayloadError for a second Patient."""
        requests = list(_requests(entry))
        methods = {method for method, _ in requests}
        if methods and methods <= REQUESTS.keys():
            self.changed += [(url, DELETED) for method, url in requests if method == "DELETE"]
            kind = REQUESTS[min(methods)]
            self.left[kind] = self.left.get(kind, 0) + 1
            return
        self.changed += [(url, PATCHED) for method, url in requests if method == "PATCH"]
        resources = _resources_in(entry)
        fault = _fault_around(entry)
        if not resources:
            why = NO_RESOURCE if fault is None else f"JSON: {fault.why}"
            self.dropped[why] = self.dropped.get(why, 0) + 1
        for resource in resources:
            names = _names(entry, resource)
            if fault is not None:
                self.unfit[id(resource)] = _named(
                    f"JSON: {fault.why}", resource.get("resourceType")
                )
            if "PATCH" in methods:
                self.unfit[id(resource)] = PATCH
                names = set()
            self._add_resource(resource, names, _texts(entry, "fullUrl"))

    def _add_resource(
        self, resource: Mapping[str, object], names: set[str], full_urls: Sequence[str]
    ) -> None:
        if names and all(_is_copy(resource, self.by_reference.get(name)) for name in names):
            self.dropped[COPY] = self.dropped.get(COPY, 0) + 1
            return
        if resource.get("resourceType") == "Patient":
            self.labelled.append({"meta": resource.get("meta")})
            if self._is_the_patient(resource, names):
                self.dropped[COPY] = self.dropped.get(COPY, 0) + 1
                return
            if self.patient is not None:
                raise PayloadError(
                    "FHIR bundle: it is about more than one patient", "Export one patient a bundle."
                )
            self.patient = resource
        for name in names:
            self.shared |= {name} if name in self.by_reference else set()
            self.by_reference.setdefault(name, resource)
        base = base_of(full_urls[0]) if full_urls else None
        self.contexts[id(resource)] = ReferenceContext(contained(resource), full_urls, base)
        if not any(url.lower().startswith(("http:", "https:")) for url in full_urls):
            self.anywhere.update((name, resource) for name in names)
        self.names[id(resource)] = names
        self.resources.append(resource)

    def _is_the_patient(self, resource: Mapping[str, object], names: set[str]) -> bool:
        """Whether this repeats the Patient with another meta, as exports of several queries do."""
        if self.patient is None or not names:
            return False
        known = self.names[id(self.patient)]
        if not (names <= known or known <= names):  # two servers may each have a Patient of this id
            return False
        first, second = (
            {name: value for name, value in patient.items() if name != "meta"}
            for patient in (self.patient, resource)
        )
        return _is_copy(second, first)

    def add_beside(self, resource: Mapping[str, object]) -> None:
        """Add a resource that is about somebody else: no reference of the file resolves to it."""
        self.contexts[id(resource)] = ReferenceContext(contained(resource))
        self.beside.append(resource)

    def end(self) -> None:
        """Call after the last entry: a shared name means neither resource, so hold back both."""
        for resource in self.resources:
            if self.names[id(resource)] & self.shared:
                why = _named(SAME_NAME, resource.get("resourceType"), "id")
                self.unfit.setdefault(id(resource), why)
        for name in self.shared:
            del self.by_reference[name]
            self.anywhere.pop(name, None)


def _resources_in(entry: object) -> list[Mapping[str, object]]:
    """The resource of an entry; several if that key is duplicated, none if there is no object."""
    values = key_values(entry.get("resource")) if isinstance(entry, dict) else []
    return [resource for resource in values if isinstance(resource, dict)]


def _fault_around(entry: object) -> Fault | None:
    """The first fault in an entry outside its resource, since it may concern the resource."""
    if not isinstance(entry, dict):
        return next(_faults(entry), None)
    around = [
        value for name, value in entry.items() if name != "resource" or not isinstance(value, dict)
    ]
    return next(_faults(around), None)


def _texts(holder: object, name: str) -> list[str]:
    """The non-blank texts of a key: one or none, or several if the key is duplicated."""
    values = key_values(holder.get(name)) if isinstance(holder, dict) else []
    return [text for text in values if isinstance(text, str) and text.strip()]


def _check_resources(
    read: _Entries,
    subject: str,
    metas: Sequence[Mapping[str, object]],
    notes: tuple[str, ...],
    server: str | None,
) -> Source:
    """Determine the person of the file and the resources to hold back. Raises PayloadError."""
    patient = read.patient
    if patient is None:
        raise PayloadError(
            "FHIR bundle: it holds no Patient", "Export the patient with the records."
        )
    for labelled in read.labelled:
        _check_labels(labelled)
    read.end()
    person = {SUBJECT_PREFIX + subject, *_names_of_person(patient, read)}
    bases = {server, *(context.base for context in read.contexts.values())} - {None}
    if len(bases) == 1:  # the person is on the only server of the file
        person |= {_absolute(name, *bases) for name in person if name in read.anywhere}
    others = {
        id(part)
        for resource in read.beside
        for part in (resource, *read.contexts[id(resource)].inside.values())
    }
    source = Source(
        read.resources,
        patient,
        frozenset(person),
        read.by_reference,
        read.anywhere,
        (*metas, *read.labelled, *map(_label_of_document, read.resources)),
        read.unfit,
        read.dropped,
        read.left,
        read.contexts,
        others,
        "id" in patient and not any(name.startswith("Patient/") for name in person),
        notes,
        read.beside,
    )
    for resource in source.resources:
        # First, since the people in a file decide about all of it.
        anonymous = _check_subject(resource, source)
        why = _why_unfit(resource) or anonymous
        if why is not None:
            read.unfit.setdefault(id(resource), why)
        others |= _about_others(resource, source)
    for url, why in read.changed:
        # The copy in the file is not the current state.
        name = _changed(url) if isinstance(url, str) else url
        changed = resolve({"reference": name}, ReferenceContext({}), source)
        read.unfit |= {} if changed is None else {id(changed): why}
    return source


def _names_of_person(patient: Mapping[str, object], read: _Entries) -> set[str]:
    """The person's names in the file; empty if there are two ids or two addresses."""
    full_urls = read.contexts[id(patient)].full_urls
    if len(set(_texts(patient, "id"))) > 1 or len(set(full_urls)) > 1:
        return set()
    names = read.names[id(patient)] - read.shared
    # A UUID identifies one thing in any spelling.
    uuids = {match[1] for name in names if (match := _UUID.match(name))}
    return names | {f"{kind}{uuid}" for uuid in uuids for kind in ("urn:uuid:", "Patient/")}


def _label_of_document(resource: Mapping[str, object]) -> Mapping[str, object]:
    """R4 composition.html: the confidentiality of a document applies to all its entries, including
    unlisted ones. So do the labels of its own meta."""
    if "Composition" not in key_values(resource.get("resourceType")):
        return {}
    codes = [code for code in key_values(resource.get("confidentiality")) if code is not None]
    labels: list[object] = [{"system": CONFIDENTIALITY, "code": code} for code in codes]
    for meta in key_values(resource.get("meta")):
        labels += _listed(meta.get("security") or []) if isinstance(meta, dict) else []
    return {"meta": {"security": labels}}


def _is_copy(resource: Mapping[str, object], known: Mapping[str, object] | None) -> bool:
    """Whether both are written the same, since in Python 1, 1.0 and true are equal.

    Equality is tested first, so a large resource is not converted to text for each small one with
    its id.
    """
    return known == resource and repr(known) == repr(resource)


def _why_unfit(resource: Mapping[str, object]) -> str | None:
    kind = resource.get("resourceType")
    taken = isinstance(kind, str) and (kind == "Patient" or kind in PROFILES)
    if taken and _is_long(resource):
        return "more values than a statement about a person has"
    why = _why_unreadable(resource)
    if why is None and taken:
        why = _why_no_element(kind, resource)
    return why or _why_invalid(kind, resource if taken else None)


def _why_no_element(kind: object, resource: Mapping[str, object]) -> str | None:
    """Faults that the library accepts and R4 does not: null for absent (json.html), long ids."""
    for name, value in resource.items():
        is_valid_id = name != "id" or (isinstance(value, str) and _ID.fullmatch(value))
        if not is_valid_id or _holds_null(value):
            return _named("not valid FHIR R4", kind, name)
    return None


def _why_unreadable(resource: Mapping[str, object]) -> str | None:
    """Why a resource must not be processed: it is not strict JSON, or nested too deep for its R4
    model, or has a number like 1e999999999, whose integer has that many digits."""
    for name, value in resource.items():
        fault = _fault(value)
        if fault is not None:
            return _named(fault, resource.get("resourceType"), name)
    return None


def _fault(value: object) -> str | None:
    """The first fault of a resource's element, level by level, from level 5 of the file."""
    level = [value]
    for depth in range(5, MAX_FILE_DEPTH + 1):
        level = [item for item in level if isinstance(item, dict | list | Fault)]
        fault = next((item for item in level if isinstance(item, Fault)), None)
        if fault is not None:
            return "a number out of range" if fault is OUT_OF_RANGE else f"JSON: {fault.why}"
        if not level:
            return None
        if depth > MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH}"
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return None


def _holds_null(value: object) -> bool:
    """Whether it contains null; in a list, null may mean an element with only an extension."""
    if value is None:
        return True
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if None in item.values():
                return True
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return False


def _named(fault: str, kind: object, element: str = "") -> str:
    """The fault with type and element, if both are R4 names."""
    from fhir.resources.R4B import get_fhir_model_class

    try:
        model = get_fhir_model_class(str(kind))
    except Exception:
        return fault
    known = {field.alias for field in model.model_fields.values()} - {_OF_THE_LIBRARY}
    return f"{fault}: {kind}.{element}" if element in known else f"{fault}: {kind}"


def _is_long(resource: Mapping[str, object]) -> bool:
    seen, stack = 0, [resource]
    while stack and seen <= MAX_RESOURCE_VALUES:
        value: Any = stack.pop()
        if isinstance(value, dict | list):
            seen += len(value)
            stack += value.values() if isinstance(value, dict) else value
    return seen > MAX_RESOURCE_VALUES


def _names(entry: object, resource: Mapping[str, object]) -> set[str]:
    """The names of a resource for references: Type/id and fullUrl. An invalid id gives no name."""
    return {
        f"{kind}/{name}"
        for kind, name in paired(resource.get("resourceType"), resource.get("id"))
        if isinstance(name, str) and _ID.fullmatch(name)
    } | {identity(url) for url in _texts(entry, "fullUrl")}


def _check_labels(holder: Mapping[str, object]) -> None:
    """Check the labels of file or Patient, which apply to every resource. Raises PayloadError.

    The rest of the meta is not used here.
    """
    for meta in key_values(holder.get("meta")):
        if meta is None:
            continue
        labels = (
            {"security": meta["security"]} if isinstance(meta, dict) and "security" in meta else {}
        )
        if not isinstance(meta, dict) or _why_invalid("Meta", labels):
            raise PayloadError(
                "FHIR bundle: the meta of the file or its Patient is not valid FHIR R4"
            )


def is_type(kind: str) -> bool:
    """Whether R4 has a type of this name."""
    return _why_invalid(kind, None) is None


def _why_invalid(kind: object, element: object) -> str | None:
    """Why this is not valid R4 by the library's models; None if it is valid. For types that are not
    kept (element None) only the type itself is checked.

    The library lets TypeError, KeyError and RecursionError escape, and its messages quote the
    input: only names of elements are taken from them.
    """
    from fhir.resources.R4B import get_fhir_model_class

    try:
        model = get_fhir_model_class(str(kind))
    except Exception:
        return NOT_R4
    try:
        if element is not None:
            model.model_validate(element)
    except Exception as refused:
        return invalid(str(kind), _element_of(refused, model))
    return None


def _element_of(refused: Any, model: Any) -> str:
    """The path of the first fault, such as code.coding, without names that R4 does not have.

    refused: the library's error, which lists its faults, or one of Python's that it lets escape.
    """
    if not hasattr(refused, "errors"):
        return ""
    error = refused.errors()[0]
    # "root" is where the library keeps what should have been an object.
    path = [part for part in error["loc"] if isinstance(part, str) and part != "root"]
    if error["type"] == "extra_forbidden":
        path = path[:-1]
    if "contained" in path:  # the R4 path does not give the type of a contained resource
        path = path[: path.index("contained") + 1]
    path = path[:MAX_PATH]
    known = {field.alias for field in model.model_fields.values()} | set(model.model_fields)
    known.discard(_OF_THE_LIBRARY)
    fits = path and path[0] in known and all(_ELEMENT.fullmatch(part) for part in path)
    return ".".join(path) if fits else ""


def _check_subject(resource: Mapping[str, object], source: Source) -> str | None:
    """Why a resource does not clearly name the person. Raises PayloadError for another patient.

    A resource of a type that is not kept may be about anybody (such as a father's insurance), since
    none of it is used.
    """
    kind = str(resource.get("resourceType"))
    context = source.contexts[id(resource)]
    for element in ("subject", "patient", "beneficiary") if kind in PROFILES else ():
        target = resource.get(element)
        reference = target.get("reference") if isinstance(target, dict) else None
        if isinstance(target, dict) and isinstance(reference, str):
            why = _why_not_the_person(reference, target.get("type"), context, source)
            if why == ANOTHER:
                why = _check_another(source)
            if why is None and _is_of_another(target, source.patient):
                why = TWO_PEOPLE
            if why is not None:
                return f"{why}: {kind}.{element}"
        elif reference is None and element == PROFILES[kind].person:
            return f"does not say whom it is about: {kind}"
    return None


def _is_of_another(reference: Mapping[str, object], patient: Mapping[str, object]) -> bool:
    """Whether its identifier differs from the patient's identifiers of the same system.

    R4 references.html#logical: both name the same thing. If the patient has no identifier of that
    system, it is unknown.
    """
    identifier = reference.get("identifier")
    if not isinstance(identifier, dict):
        return False
    values = {
        known.get("value")
        for known in _listed(patient.get("identifier"))
        if isinstance(known, dict) and known.get("system") == identifier.get("system")
        if isinstance(known.get("value"), str)
    }
    value = identifier.get("value")
    return bool(values) and isinstance(value, str) and value not in values


def _check_another(source: Source) -> str:
    """Why an unknown patient may still be the person. Raises PayloadError if it is not."""
    if len(source.person) == 1:  # only the name that volens gives the person
        raise PayloadError(
            "FHIR bundle: its Patient has no valid id and no fullUrl, "
            "so no resource is certainly about this person",
            "Give the Patient an id of letters, digits, - and . (at most 64), "
            "as its resources name it.",
        )
    if not source.unsure:
        raise PayloadError(
            "FHIR bundle: a resource is about another subject", "Export one patient a bundle."
        )
    return UNCLEAR


def _about_others(resource: Mapping[str, object], source: Source) -> set[int]:
    """By identity, the resource and its contained ones that are not kept and name another person.

    A specimen, report or order is not kept, but its findings, members or results are about the same
    person.
    """
    context = source.contexts[id(resource)]
    parts = [*context.inside.values()]
    if str(resource.get("resourceType")) not in PROFILES:
        parts.append(resource)
    return {
        id(part)
        for part in parts
        for element in ("subject", "patient", "for")
        for target in _listed(part.get(element))
        if isinstance(target, dict)
        if _is_of_another(target, source.patient)
        or any(
            _why_not_the_person(reference, target.get("type"), context, source) is not None
            for reference in key_values(target.get("reference"))
            if isinstance(reference, str)
        )
    }


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _why_not_the_person(
    reference: str, kind: object, context: ReferenceContext, source: Source
) -> str | None:
    """Why a reference does not mean the person; None if it does.

    A version of the person is the person. If the file gives its Patient no address, the same id at
    some address may or may not be the same person. The same holds if only type and id match and the
    entry is from another server. A patient is named as in R4 references.html, or as in volens; any
    other text names nobody, and may be a mistake in one resource.
    """
    name = identity(reference)
    absolute = _absolute(name, context.base)
    if absolute in source.person:
        # The type may be the address of its definition.
        typed = "Patient" if kind is None else str(kind).rpartition("/")[2]
        return None if typed == "Patient" else UNCLEAR
    address = _ADDRESS.match(absolute)
    if name in source.person or (
        address and address[1] in source.person and address[1] in source.anywhere
    ):
        return ELSEWHERE
    if _PATIENT.match(name) or name.startswith(SUBJECT_PREFIX):
        return ANOTHER
    thing = resolve({"reference": name}, context, source)
    if _NO_PATIENT.search(name) or (thing and thing.get("resourceType") in NO_PATIENT):
        return "about something else than a patient"
    return UNCLEAR
