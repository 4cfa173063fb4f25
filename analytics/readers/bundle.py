"""One person's FHIR R4 Bundle as a hospital exports it: read strictly, checked whole, before anything is taken.

Here the file as a whole is refused: not well-formed JSON, or not strict JSON around its entries, no R4 Bundle, about
two people, one page of several, nothing by which a resource could be the person's. A single resource that is not valid
R4 or not strict JSON, says too little, or shares its id with another one, is held back alone, named by its type and
element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from analytics.canonical import OUT_OF_RANGE, TWICE, Fault, load_strict, paired, readings
from analytics.errors import JsonRefused, PayloadError
from analytics.readers.resources import PROFILES, SUBJECT, SUBJECT_PREFIX, invalid

# Any chart is read within 2 s and 64 MB. The largest of the fixture: 2.6 MB, 3,200 entries, 39,000 objects, 113,000
# values.
MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32  # of a record, and of what is read of a file; one resource beyond it is held back
MAX_FILE_DEPTH = 128  # beyond it the file is refused before it is parsed
MAX_ENTRIES = 20_000
MAX_VALUES = 200_000  # commas and opening brackets
MAX_OBJECTS = 50_000  # opening braces: what takes time is the R4 models, up to 33 µs an object
MAX_RESOURCE_VALUES = (
    5_000  # its R4 model takes three times its JSON; the fixture's largest resource has 200
)
MAX_MEMORY = 48 * 1024 * 1024  # bytes of JSON, as `_memory` reckons
OBJECT_BYTES, VALUE_BYTES = (
    264,
    72,
)  # of a parsed object with its first key, of any other value (CPython 3.11)
BUNDLE_TYPES = ("transaction", "batch", "collection", "searchset", "document")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
# R4 Observation, Procedure, Condition, medications: what a subject may be that is no patient.
NO_PATIENT = ("Device", "Group", "Location")
ELSEWHERE = "about a patient at an address that the file does not give hers"
UNCLEAR = "does not clearly say whom it is about"
ANOTHER = "about another patient"
NO_RESOURCE = "an entry that has no resource"
COPY = "a copy of another resource of the file"
PATCH = "a change (PATCH), not a resource"
PATCHED = "a change to it (PATCH) is in the file"
DELETED = "a deletion of it (DELETE) is in the file"
SAME_NAME = "another resource of the file has the same id or fullUrl"
TWO_PEOPLE = "its reference names her, and its identifier somebody else"
# Requests by which nothing comes in.
REQUESTS = {
    "DELETE": "a deletion (DELETE), not a resource",
    "GET": "a search or read (GET), not a resource",
    "HEAD": "a search or read (HEAD), not a resource",
}
NO_TOTAL = "Bundle.total is no number: it does not say whether the file is whole."
PAGES = ("next", "previous", "prev")  # relations of links from one page of an answer to another
_ASTRAL = re.compile(rb"[\xf0-\xff]|\\u[dD]")
_BEYOND_LATIN_1 = re.compile(rb"[\xc4-\xff]|\\u(?!00)")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
MAX_PATH = 8  # elements of R4 that a reason names, one within the other
_OF_THE_LIBRARY = "fhir_comments"  # an element that its models have and R4 has not
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
# The address of a resource on a server; what stands before its type and id is the server's base.
_RESTFUL = re.compile(r"((?i:https?)://[^?#]+)/[A-Z][A-Za-z]*/[^/?#]+/?(?:[?#]|\Z)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the references of a resource stand. inside: the resources in it, by the reference that means them there.
    full_urls: of its entry, which has one or none, or several where that key stands twice. base: what a relative
    reference is added to, None where the entry has no address on a server.
    """

    inside: Mapping[str, Mapping[str, object]]
    full_urls: Sequence[str] = ()
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The resources of one file, the references that may mean the person, and what references mean.

    anywhere: by Type/id, the resources of which the file does not say at what address they lie. labelled: the file,
    its Patient and its documents, their labels only: what is written there holds for every resource. unfit: by
    identity of a resource, why it must be held back; what it says of its neighbours counts all the same. dropped: by
    reason, how many entries are held back before anything is read of them. left: by kind, how many entries are requests
    by which nothing comes in. places: by identity of a resource. others: by identity, what is not taken itself, such as
    a specimen, and says that it is about somebody else. unsure: whether her Patient's id is no id, so that any
    Patient/id may be hers. notes: sentences about the file.
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
    places: Mapping[int, Place]
    others: Set[int]
    unsure: bool
    notes: tuple[str, ...]


def read_source(payload: bytes, subject: str) -> Source:
    """The checked resources of the one person's bundle. subject: 64 hex characters. Raises PayloadError."""
    if not SUBJECT.fullmatch(subject):
        raise PayloadError("FHIR bundle: the subject is not 64 lower-case hexadecimal characters")
    # RFC 8259 section 8.1 lets a reader pass over it.
    payload = payload.removeprefix(BYTE_ORDER_MARK)
    _check_size(payload)
    faults: set[Fault] = set()
    try:
        document = load_strict(
            payload, max_bytes=MAX_BYTES, max_depth=MAX_FILE_DEPTH, faults=faults
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
    entries = document.get("entry")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ENTRIES:
        raise PayloadError(f"FHIR bundle: it must have 1 to {MAX_ENTRIES} entries")
    _check_whole(document, entries)
    meta = {"meta": document.get("meta")}
    _check_labels(meta)
    read = _Entries()
    for entry in entries:
        read.add(entry)
    notes = _check_total(document, entries, read.dropped.get(COPY, 0))
    return _check_resources(read, subject, meta, notes)


def _check_around(document: Mapping[str, object]) -> None:
    """What stands around the entries is strict JSON: it speaks for all of them. Raises PayloadError."""
    entries = document.get("entry")
    around = [value for name, value in document.items() if name != "entry"]
    around += entries[-1:] if isinstance(entries, list) and entries[-1:] == [TWICE] else []
    fault = next(_faults(around), None)
    if fault is not None:
        raise PayloadError(f"FHIR bundle: {fault.why}")


def _faults(value: object) -> Iterator[Fault]:
    """What is not strict JSON anywhere in a value. A number out of range is JSON, only no use."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Fault):
            yield from () if item is OUT_OF_RANGE else (item,)
        elif isinstance(item, dict | list):
            waiting += item.values() if isinstance(item, dict) else item


def _check_whole(document: Mapping[str, object], entries: Sequence[object]) -> None:
    """It is not one page of several, and each change names what it changes. Raises PayloadError."""
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
    """What a request names (R4 http.html): an address, or type and id, without the parameters that say how."""
    return url.partition("?")[0].strip("/")


def _requests(entry: object) -> Iterator[tuple[str, object]]:
    """The method and url by which an entry was sent, of a key that stands twice each. A request that is broken is none:
    it is about how the entry was sent, not about a person.
    """
    for request in readings(entry.get("request")) if isinstance(entry, dict) else ():
        if isinstance(request, dict):
            for method, url in paired(request.get("method"), request.get("url")):
                yield str(method).upper(), url


def _check_total(
    document: Mapping[str, object], entries: Sequence[object], copies: int
) -> tuple[str, ...]:
    """R4 bundle.html: `total` counts the matches of a search on all its pages. Servers count what was included with
    them, too, so what is missing beyond doubt is what not even all entries make up. Raises PayloadError.

    A total that is no number counts nothing: returned is a note about it.
    """
    total = document.get("total", 0)
    if type(total) is not int:
        return (NO_TOTAL,)
    if total > len(entries) - copies:
        raise PayloadError(
            "FHIR bundle: its total says more entries than it has",
            "Join all pages into one bundle.",
        )
    return ()


def contained(resource: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The resources inside this one, by the reference that means them there."""
    found: dict[str, Mapping[str, object]] = {}
    listed = resource.get("contained")
    for inner in listed if isinstance(listed, list) else []:
        if isinstance(inner, dict):
            for name in readings(inner.get("id")):
                found.setdefault(f"#{name}", inner)
    return found


def resolve(reference: object, place: Place, source: Source) -> Mapping[str, object] | None:
    """The resource of this file that a reference means; None: it is not here.

    R4 bundle.html#references: without its version, the reference is the target's fullUrl or Type/id, and a version
    is the target's meta.versionId. A relative one is of the server that its entry's fullUrl names. Another server's
    address means a target only if the file gives it no address.
    """
    name = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(name, str):
        return None
    if name.startswith("#"):
        return place.inside.get(name)
    version = _HISTORY.search(name)
    name = _absolute(identity(name), place.base)
    address = _ADDRESS.match(name)
    target = source.by_reference.get(name) or (source.anywhere.get(address[1]) if address else None)
    meta = target.get("meta") if target else None
    if version and isinstance(meta, dict) and meta.get("versionId", version[1]) != version[1]:
        return None
    return target


def identity(name: str) -> str:
    """An address, or type and id, as it is compared: without its version, and http as https (R4 http.html), scheme and
    host in small letters, without the port that the scheme has anyway (RFC 3986 section 6.2).
    """
    version = _HISTORY.search(name)
    plain = name[: version.start()] if version else name
    origin = _ORIGIN.match(plain)
    if not origin:
        return plain
    host = origin[2].lower().removesuffix(_OWN_PORTS[origin[1].lower()])
    return f"http://{host}{plain[origin.end() :].removesuffix('/')}"


def _base(full_url: str) -> str | None:
    found = _RESTFUL.match(identity(full_url))
    return found[1] if found else None


def _absolute(name: str, base: str | None) -> str:
    return name if base is None or not _RELATIVE.match(name) else f"{base}/{name}"


def _check_size(payload: bytes) -> None:
    """Before anything is parsed. Raises PayloadError."""
    if len(payload) > MAX_BYTES:
        raise PayloadError(f"FHIR bundle: the document is larger than {MAX_BYTES} bytes")
    if sum(payload.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise PayloadError(f"FHIR bundle: it has more values than {MAX_VALUES}")
    if payload.count(b"{") > MAX_OBJECTS:
        raise PayloadError(f"FHIR bundle: it has more objects than {MAX_OBJECTS}")
    if _memory(payload) > MAX_MEMORY:
        raise PayloadError("FHIR bundle: it would take more memory than one person's chart may")


def _memory(payload: bytes) -> int:
    """Bytes that parsing takes at most: the file, its text three times while it is checked, and what it holds.

    Python keeps a text with one character beyond Latin-1 in 2 bytes each, with one beyond U+FFFF in 4.
    """
    width = 4 if _ASTRAL.search(payload) else 2 if _BEYOND_LATIN_1.search(payload) else 1
    objects = payload.count(b"{")
    others = payload.count(b",") + payload.count(b"[")
    return len(payload) * (1 + 3 * width) + objects * OBJECT_BYTES + others * VALUE_BYTES


class _Entries:
    """The resources of a file and their names, entry by entry, before it is known whom the file is about.

    shared: names that two different resources have; such a name means neither. Else as of Source.
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
        self.places: dict[int, Place] = {}
        self.names: dict[int, set[str]] = {}
        self.changed: list[tuple[object, str]] = []  # what a request names, and what becomes of it

    def add(self, entry: object) -> None:
        """Raises PayloadError for a second Patient."""
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
        base = _base(full_urls[0]) if full_urls else None
        self.places[id(resource)] = Place(contained(resource), full_urls, base)
        if not any(url.lower().startswith(("http:", "https:")) for url in full_urls):
            self.anywhere.update((name, resource) for name in names)
        self.names[id(resource)] = names
        self.resources.append(resource)

    def _is_the_patient(self, resource: Mapping[str, object], names: set[str]) -> bool:
        """Whether this is the Patient once more, with another meta, as exports of several queries have it."""
        if self.patient is None or not names:
            return False
        known = self.names[id(self.patient)]
        if not (names <= known or known <= names):  # two servers may each have a Patient of this id
            return False
        first, second = (
            {name: value for name, value in one.items() if name != "meta"}
            for one in (self.patient, resource)
        )
        return _is_copy(second, first)

    def end(self) -> None:
        """After the last entry: a name that two resources share means neither, and both are held back."""
        for resource in self.resources:
            if self.names[id(resource)] & self.shared:
                why = _named(SAME_NAME, resource.get("resourceType"), "id")
                self.unfit.setdefault(id(resource), why)
        for name in self.shared:
            del self.by_reference[name]
            self.anywhere.pop(name, None)


def _resources_in(entry: object) -> list[Mapping[str, object]]:
    """The resource of an entry; several where that key stands twice, none where there is no object."""
    found = readings(entry.get("resource")) if isinstance(entry, dict) else []
    return [resource for resource in found if isinstance(resource, dict)]


def _fault_around(entry: object) -> Fault | None:
    """What is not strict JSON in an entry, but for its resource: it may be about the resource."""
    if not isinstance(entry, dict):
        return next(_faults(entry), None)
    around = [
        value for name, value in entry.items() if name != "resource" or not isinstance(value, dict)
    ]
    return next(_faults(around), None)


def _texts(holder: object, name: str) -> list[str]:
    """The text under a key: one or none, or several where the key stands twice. Blank text is none."""
    found = readings(holder.get(name)) if isinstance(holder, dict) else []
    return [text for text in found if isinstance(text, str) and text.strip()]


def _check_resources(
    read: _Entries, subject: str, meta: Mapping[str, object], notes: tuple[str, ...]
) -> Source:
    """Who the file is about, and which of its resources must be held back. Raises PayloadError."""
    patient = read.patient
    if patient is None:
        raise PayloadError(
            "FHIR bundle: it holds no Patient", "Export the patient with the records."
        )
    for labelled in read.labelled:
        _check_labels(labelled)
    read.end()
    person = {SUBJECT_PREFIX + subject, *_her_names(patient, read)}
    bases = {place.base for place in read.places.values()} - {None}
    if len(bases) == 1:  # the one server of a file that gives her no address is hers
        person |= {_absolute(name, *bases) for name in person if name in read.anywhere}
    others: set[int] = set()
    source = Source(
        read.resources,
        patient,
        frozenset(person),
        read.by_reference,
        read.anywhere,
        (meta, *read.labelled, *map(_label_of_document, read.resources)),
        read.unfit,
        read.dropped,
        read.left,
        read.places,
        others,
        "id" in patient and not any(name.startswith("Patient/") for name in person),
        notes,
    )
    for resource in source.resources:
        # First: who is in a file decides about all of it.
        anonymous = _check_subject(resource, source)
        why = _why_unfit(resource) or anonymous
        if why is not None:
            read.unfit.setdefault(id(resource), why)
        others |= _about_others(resource, source)
    for url, why in read.changed:
        # As it stands here it is not as it is.
        name = _changed(url) if isinstance(url, str) else url
        changed = resolve({"reference": name}, Place({}), source)
        read.unfit |= {} if changed is None else {id(changed): why}
    return source


def _her_names(patient: Mapping[str, object], read: _Entries) -> set[str]:
    """What the file calls the person; nothing where it gives her two ids or addresses: one of them is not hers."""
    full_urls = read.places[id(patient)].full_urls
    if len(set(_texts(patient, "id"))) > 1 or len(set(full_urls)) > 1:
        return set()
    names = read.names[id(patient)] - read.shared
    # A UUID is one thing's, however it is written.
    uuids = {found[1] for name in names if (found := _UUID.match(name))}
    return names | {f"{kind}{uuid}" for uuid in uuids for kind in ("urn:uuid:", "Patient/")}


def _label_of_document(resource: Mapping[str, object]) -> Mapping[str, object]:
    """R4 composition.html: the confidentiality of a document is that of all its entries, whatever it lists. So is what
    its own meta is labelled."""
    if "Composition" not in readings(resource.get("resourceType")):
        return {}
    said = [one for one in readings(resource.get("confidentiality")) if one is not None]
    labels: list[object] = [{"system": CONFIDENTIALITY, "code": one} for one in said]
    for meta in readings(resource.get("meta")):
        labels += _listed(meta.get("security") or []) if isinstance(meta, dict) else []
    return {"meta": {"security": labels}}


def _is_copy(resource: Mapping[str, object], known: Mapping[str, object] | None) -> bool:
    """Whether both are written alike, numbers and order included: 1, 1.0 and true are equal to Python.

    Equal first: a large resource is not written out for each small one that has its id.
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
    """What the library lets pass and R4 does not: null for absent (json.html), and an id of more than 64 characters."""
    for name, value in resource.items():
        is_id = name != "id" or (isinstance(value, str) and _ID.fullmatch(value))
        if not is_id or _holds_null(value):
            return _named("not valid FHIR R4", kind, name)
    return None


def _why_unreadable(resource: Mapping[str, object]) -> str | None:
    """Why nothing must go on with a resource: it is not strict JSON, its R4 model may recurse as deep as it is nested,
    and an integer of 1e999999999 has as many digits."""
    for name, value in resource.items():
        fault = _fault(value)
        if fault is not None:
            return _named(fault, resource.get("resourceType"), name)
    return None


def _fault(value: object) -> str | None:
    """What is wrong with the value of a resource's element, level by level; it lies at the fifth of its file."""
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
    """Whether it is null, or an element in it is. In a list null may stand for one that has an extension only."""
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
    """The fault with type and element, as far as both are R4's own words."""
    from fhir.resources.R4B import get_fhir_model_class

    try:
        model = get_fhir_model_class(str(kind))
    except Exception:
        return fault
    own = {field.alias for field in model.model_fields.values()} - {_OF_THE_LIBRARY}
    return f"{fault}: {kind}.{element}" if element in own else f"{fault}: {kind}"


def _is_long(resource: Mapping[str, object]) -> bool:
    seen, stack = 0, [resource]
    while stack and seen <= MAX_RESOURCE_VALUES:
        value: Any = stack.pop()
        if isinstance(value, dict | list):
            seen += len(value)
            stack += value.values() if isinstance(value, dict) else value
    return seen > MAX_RESOURCE_VALUES


def _names(entry: object, resource: Mapping[str, object]) -> set[str]:
    """Type/id and the fullUrl: what references mean the resource by. An id that is no R4 id names nothing."""
    return {
        f"{kind}/{one}"
        for kind, one in paired(resource.get("resourceType"), resource.get("id"))
        if isinstance(one, str) and _ID.fullmatch(one)
    } | {identity(url) for url in _texts(entry, "fullUrl")}


def _check_labels(holder: Mapping[str, object]) -> None:
    """The labels of the file or its Patient, which speak for every resource, can be read. Raises PayloadError.

    What else its meta says speaks for nothing here.
    """
    for meta in readings(holder.get("meta")):
        if meta is None:  # it says nothing
            continue
        labels = (
            {"security": meta["security"]} if isinstance(meta, dict) and "security" in meta else {}
        )
        if not isinstance(meta, dict) or _why_invalid("Meta", labels):
            raise PayloadError(
                "FHIR bundle: the meta of the file or its Patient is not valid FHIR R4"
            )


def _why_invalid(kind: object, element: object) -> str | None:
    """Why this is not R4 by the library's models, for what is taken; of the rest (None) only that R4 has such a type,
    since it never leaves. None where it is valid.

    The library lets TypeError, KeyError and RecursionError escape, and its messages quote the input: only names of
    elements are taken from them.
    """
    from fhir.resources.R4B import get_fhir_model_class

    try:
        model = get_fhir_model_class(str(kind))
    except Exception:
        return "not a type of FHIR R4"
    try:
        if element is not None:
            model.model_validate(element)
    except Exception as refused:
        return invalid(str(kind), _element_of(refused, model))
    return None


def _element_of(refused: Any, model: Any) -> str:
    """The path of the first fault, such as code.coding; a name that R4 does not have is not repeated.

    refused: the library's error, which lists its faults, or one of Python's that it lets escape.
    """
    if not hasattr(refused, "errors"):
        return ""
    error = refused.errors()[0]
    # "root" is where the library keeps what should have been an object.
    path = [part for part in error["loc"] if isinstance(part, str) and part != "root"]
    if error["type"] == "extra_forbidden":
        path = path[:-1]
    if "contained" in path:  # of which type that is, R4's path does not say
        path = path[: path.index("contained") + 1]
    path = path[:MAX_PATH]
    known = {field.alias for field in model.model_fields.values()} | set(model.model_fields)
    known.discard(_OF_THE_LIBRARY)
    fits = path and path[0] in known and all(_ELEMENT.fullmatch(part) for part in path)
    return ".".join(path) if fits else ""


def _check_subject(resource: Mapping[str, object], source: Source) -> str | None:
    """Why a resource that must name the person does not. Raises PayloadError for one that names another patient.

    A resource of a type that is not taken may be about anybody (her father's insurance): nothing of it goes anywhere.
    """
    kind = str(resource.get("resourceType"))
    place = source.places[id(resource)]
    for element in ("subject", "patient", "beneficiary") if kind in PROFILES else ():
        target = resource.get(element)
        reference = target.get("reference") if isinstance(target, dict) else None
        if isinstance(target, dict) and isinstance(reference, str):
            why = _why_not_the_person(reference, target.get("type"), place, source)
            if why == ANOTHER:
                why = _check_another(source)
            if why is None and _is_of_another(target, source.patient):
                why = TWO_PEOPLE
            if why is not None:
                return f"{why}: {kind}.{element}"
        elif reference is None and element == "subject":
            return f"does not say whom it is about: {kind}"
    return None


def _is_of_another(reference: Mapping[str, object], patient: Mapping[str, object]) -> bool:
    """Whether a reference has an identifier too that is not the patient's, who has others of its system.

    R4 references.html#logical: both name the same thing. Of a system that she has no identifier of nobody can say.
    """
    said = reference.get("identifier")
    if not isinstance(said, dict):
        return False
    hers = {
        one.get("value")
        for one in _listed(patient.get("identifier"))
        if isinstance(one, dict) and one.get("system") == said.get("system")
        if isinstance(one.get("value"), str)
    }
    return bool(hers) and isinstance(said.get("value"), str) and said["value"] not in hers


def _check_another(source: Source) -> str:
    """Why a resource about a patient who is not the person by any name may still be about her. Raises PayloadError."""
    if len(source.person) == 1:  # only the name that volens gives her
        raise PayloadError(
            "FHIR bundle: its Patient has no valid id and no fullUrl, so no resource is about her for certain",
            "Give the Patient an id of letters, digits, - and . (at most 64), as its resources name it.",
        )
    if not source.unsure:
        raise PayloadError(
            "FHIR bundle: a resource is about another subject", "Export one patient a bundle."
        )
    return UNCLEAR


def _about_others(resource: Mapping[str, object], source: Source) -> set[int]:
    """By identity, the resource and those inside it, as far as they are not taken and name somebody else.

    Nothing of a specimen, report or order goes anywhere, but what was found in it, is listed in it or was asked for by
    it is about whom it is about.
    """
    place = source.places[id(resource)]
    parts = [*place.inside.values()]
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
            _why_not_the_person(reference, target.get("type"), place, source) is not None
            for reference in readings(target.get("reference"))
            if isinstance(reference, str)
        )
    }


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _why_not_the_person(reference: str, kind: object, place: Place, source: Source) -> str | None:
    """Why what a resource is about is not the person; None: it is.

    A version of the person is the person. Where the file does not say at what address its Patient lies, the same id
    at some address may be the same person: nobody here can say. Nor can anybody where only type and id are hers, and
    the entry is of another server. A patient is named as R4 references.html has it, or as volens does; whatever else
    stands there names nobody, and may be a mistake of one resource.
    """
    name = identity(reference)
    absolute = _absolute(name, place.base)
    if absolute in source.person:
        # Or the address of its definition.
        typed = "Patient" if kind is None else str(kind).rpartition("/")[2]
        return None if typed == "Patient" else UNCLEAR
    address = _ADDRESS.match(absolute)
    if name in source.person or (
        address and address[1] in source.person and address[1] in source.anywhere
    ):
        return ELSEWHERE
    if _PATIENT.match(name) or name.startswith(SUBJECT_PREFIX):
        return ANOTHER
    thing = resolve({"reference": name}, place, source)
    if _NO_PATIENT.search(name) or (thing and thing.get("resourceType") in NO_PATIENT):
        return "about something else than a patient"
    return UNCLEAR
