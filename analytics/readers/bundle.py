"""One person's FHIR R4 Bundle as a hospital exports it: read strictly, checked whole, before anything is taken.

Here the file as a whole is refused: not strict JSON, no R4 Bundle, about two people, one page of several, an id of two
different resources. A single resource that is not valid R4, or says too little, is held back alone, named by its type
and element.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.canonical import load_strict
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
BUNDLE_TYPES = ("transaction", "collection", "searchset")
# R4 Observation, Procedure, Condition, medications: what a subject may be that is no patient.
NO_PATIENT = ("Device", "Group", "Location")
ELSEWHERE = "about a patient at an address that the file does not give hers"
UNCLEAR = "does not clearly say whom it is about"
ANOTHER = "about another patient"
NO_RESOURCE = "an entry that has no resource"
COPY = "a copy of another resource of the file"
PATCH = "a change (PATCH), not a resource"
PATCHED = "a change to it (PATCH) is in the file"
PAGES = ("next", "previous", "prev")  # relations of links from one page of an answer to another
_ASTRAL = re.compile(rb"[\xf0-\xff]|\\u[dD]")
_BEYOND_LATIN_1 = re.compile(rb"[\xc4-\xff]|\\u(?!00)")
_ELEMENT = re.compile(r"_?[A-Za-z]{1,64}")
_HISTORY = re.compile(r"/_history/([A-Za-z0-9.-]{1,64})\Z")
_NO_PATIENT = re.compile(rf"(?:\A|/)(?:{'|'.join(NO_PATIENT)})/[A-Za-z0-9.-]{{1,64}}\Z")
_PATIENT = re.compile(r"(?:https?://[^?#]+/)?Patient/[A-Za-z0-9.-]{1,64}\Z")
_ADDRESS = re.compile(r"https?://[^?#]+/([A-Za-z]+/[A-Za-z0-9.-]{1,64})\Z")
_RELATIVE = re.compile(r"[A-Za-z]+/[A-Za-z0-9.-]{1,64}\Z")
# The address of a resource on a server; what stands before its type and id is the server's base.
_RESTFUL = re.compile(r"((?i:https?)://[^?#]+)/[A-Z][A-Za-z]*/[^/?#]+/?(?:[?#]|\Z)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the references of a resource stand. inside: the resources in it, by the reference that means them there.
    full_url: of its entry, "" where it has none. base: what a relative reference is added to, None where the entry has
    no address on a server.
    """

    inside: Mapping[str, Mapping[str, object]]
    full_url: str = ""
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The resources of one file, the references that may mean the person, and what references mean.

    anywhere: by Type/id, the resources of which the file does not say at what address they lie. labelled: the file
    and its Patient, their meta only: what is written there holds for every resource. unfit: by identity of a resource,
    why it must be held back; what it says of its neighbours counts all the same. dropped: by reason, how many entries
    are held back before anything is read of them. places: by identity of a resource. others: by identity, what is not
    taken itself, such as a specimen, and says that it is about somebody else.
    """

    resources: Sequence[Mapping[str, object]]
    person: frozenset[str]
    by_reference: Mapping[str, Mapping[str, object]]
    anywhere: Mapping[str, Mapping[str, object]]
    labelled: tuple[Mapping[str, object], ...]
    unfit: Mapping[int, str]
    dropped: Mapping[str, int]
    places: Mapping[int, Place]
    others: Set[int]


def read_source(payload: bytes, subject: str) -> Source:
    """The checked resources of the one person's bundle. subject: 64 hex characters. Raises PayloadError."""
    if not SUBJECT.fullmatch(subject):
        raise PayloadError("FHIR bundle: the subject is not 64 lower-case hexadecimal characters")
    _check_size(payload)
    try:
        document = load_strict(
            payload, max_bytes=MAX_BYTES, max_depth=MAX_FILE_DEPTH, any_range=True
        )
    except JsonRefused as refused:
        raise PayloadError(f"FHIR bundle: {refused}") from None
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        raise PayloadError("FHIR bundle: it is not a FHIR Bundle")
    if document.get("type") not in BUNDLE_TYPES:
        raise PayloadError("FHIR bundle: its type is not transaction, collection or searchset")
    entries = document.get("entry")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ENTRIES:
        raise PayloadError(f"FHIR bundle: it must have 1 to {MAX_ENTRIES} entries")
    _check_whole(document, entries)
    meta = {"meta": document["meta"]} if "meta" in document else {}
    _check_labels(meta)
    source = _index(entries, subject, meta)
    _check_total(document, entries, source.dropped.get(COPY, 0))
    return source


def _check_whole(document: Mapping[str, object], entries: Sequence[object]) -> None:
    """It is not one page of several, and says of each entry that it is there or changed, not that it goes.

    Raises PayloadError.
    """
    links = document.get("link", [])
    if not isinstance(links, list) or any(
        not isinstance(link, dict) or link.get("relation") in PAGES for link in links
    ):
        raise PayloadError(
            "FHIR bundle: it is one page of several", "Join all pages into one bundle."
        )
    for entry in entries:
        if _method(entry) in ("GET", "HEAD", "DELETE"):
            raise PayloadError(
                "FHIR bundle: an entry's request is not POST or PUT",
                "Hand in resources as they are: no deletions, changes or searches.",
            )
        if _is_patch(entry) and "?" in str(_part(entry, "request").get("url", "?")):
            raise PayloadError(
                "FHIR bundle: a PATCH does not name the resource that it changes",
                "Hand in resources as they are: no deletions, changes or searches.",
            )


def _part(entry: object, name: str) -> Mapping[str, object]:
    """An entry's request or search, empty where it is broken: both are about how it was sent, not about a person."""
    part = entry.get(name) if isinstance(entry, dict) else None
    return part if isinstance(part, dict) else {}


def _method(entry: object) -> str:
    return str(_part(entry, "request").get("method")).upper()


def _is_patch(entry: object) -> bool:
    return _method(entry) == "PATCH"


def _check_total(document: Mapping[str, object], entries: Sequence[object], copies: int) -> None:
    """R4 bundle.html: `total` counts the matches of a search on all its pages. Servers count what was included with
    them, too, so what is missing beyond doubt is what not even all entries make up. Raises PayloadError.
    """
    total = document.get("total", 0)
    if type(total) is not int or total > len(entries) - copies:
        raise PayloadError(
            "FHIR bundle: its total says more entries than it has",
            "Join all pages into one bundle.",
        )


def contained(resource: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The resources inside this one, by the reference that means them there."""
    found: dict[str, Mapping[str, object]] = {}
    listed = resource.get("contained")
    for inner in listed if isinstance(listed, list) else []:
        if isinstance(inner, dict):
            found.setdefault(f"#{inner.get('id')}", inner)
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
    name = _absolute(_without_version(name), place.base)
    address = _ADDRESS.match(name)
    target = source.by_reference.get(name) or (source.anywhere.get(address[1]) if address else None)
    meta = target.get("meta") if target else None
    if version and isinstance(meta, dict) and meta.get("versionId", version[1]) != version[1]:
        return None
    return target


def _without_version(name: str) -> str:
    version = _HISTORY.search(name)
    return name[: version.start()] if version else name


def _base(full_url: str) -> str | None:
    found = _RESTFUL.match(_without_version(full_url))
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


def _index(entries: Sequence[object], subject: str, meta: Mapping[str, object]) -> Source:
    resources: list[Mapping[str, object]] = []
    by_reference: dict[str, Mapping[str, object]] = {}
    anywhere: dict[str, Mapping[str, object]] = {}
    labelled = [meta]
    person: set[str] = set()
    dropped: dict[str, int] = {}
    changes: list[tuple[Mapping[str, object], object]] = []
    places: dict[int, Place] = {}
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(resource, dict):
            dropped[NO_RESOURCE] = dropped.get(NO_RESOURCE, 0) + 1
            continue
        if _is_patch(entry):
            changes.append((resource, _part(entry, "request").get("url")))
        names = set() if _is_patch(entry) else _names(entry, resource)
        if names and all(_is_copy(resource, by_reference.get(name)) for name in names):
            dropped[COPY] = dropped.get(COPY, 0) + 1
            continue
        if any(name in by_reference for name in names):
            raise PayloadError("FHIR bundle: two resources have the same id")
        by_reference.update(dict.fromkeys(names, resource))
        if resource.get("resourceType") == "Patient":
            if person:
                raise PayloadError(
                    "FHIR bundle: it is about more than one patient", "Export one patient a bundle."
                )
            person = {*names, SUBJECT_PREFIX + subject}
            labelled.append({"meta": resource.get("meta")})
            _check_labels(resource)
        full_url = str(entry.get("fullUrl", ""))
        places[id(resource)] = Place(contained(resource), full_url, _base(full_url))
        if not full_url.lower().startswith(("http:", "https:")):
            anywhere.update((name, resource) for name in names)
        resources.append(resource)
    if not person:
        raise PayloadError(
            "FHIR bundle: it holds no Patient", "Export the patient with the records."
        )
    bases = {place.base for place in places.values()} - {None}
    if len(bases) == 1:  # the one server of a file that gives her no address is hers
        person |= {_absolute(name, *bases) for name in person if name in anywhere}
    unfit: dict[int, str] = {}
    others: set[int] = set()
    named = frozenset(person), by_reference, anywhere
    source = Source(resources, *named, tuple(labelled), unfit, dropped, places, others)
    for resource in resources:
        # First: who is in a file decides about all of it.
        anonymous = _check_subject(resource, source)
        why = _why_unfit(resource) or anonymous
        if why is not None:
            unfit[id(resource)] = why
        others |= _about_others(resource, source)
    unfit |= _why_changed(changes, source)
    return source


def _why_changed(
    changes: Sequence[tuple[Mapping[str, object], object]], source: Source
) -> dict[int, str]:
    """By identity, the changes themselves and what they change: as it stands here it is not as it is."""
    changed = [resolve({"reference": url}, Place({}), source) for _, url in changes]
    return {id(change): PATCH for change, _ in changes} | {
        id(resource): PATCHED for resource in changed if resource is not None
    }


def _is_copy(resource: Mapping[str, object], known: Mapping[str, object] | None) -> bool:
    """Whether both are written alike, numbers and order included: 1, 1.0 and true are equal to Python."""
    return known is not None and repr(known) == repr(resource)


def _why_unfit(resource: Mapping[str, object]) -> str | None:
    kind = resource.get("resourceType")
    taken = isinstance(kind, str) and (kind == "Patient" or kind in PROFILES)
    if taken and _is_long(resource):
        return "more values than a statement about a person has"
    return _why_unreadable(resource) or _why_invalid(kind, resource if taken else None)


def _why_unreadable(resource: Mapping[str, object]) -> str | None:
    """Why nothing must go on with a resource: its R4 model may recurse as deep as it is nested, and an integer of
    1e999999999 has as many digits."""
    for name, value in resource.items():
        fault = _fault(value)
        if fault is not None:
            return _named(fault, resource.get("resourceType"), name)
    return None


def _fault(value: object) -> str | None:
    """What is wrong with the value of a resource's element, level by level; it lies at the fifth of its file."""
    level = [value]
    for depth in range(5, MAX_FILE_DEPTH + 1):
        level = [item for item in level if isinstance(item, dict | list) or _is_out_of_range(item)]
        if any(map(_is_out_of_range, level)):
            return "a number out of range"
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


def _is_out_of_range(value: object) -> bool:
    return isinstance(value, Decimal) and value.is_infinite()


def _named(fault: str, kind: object, element: str) -> str:
    """The fault with type and element, as far as both are R4's own words."""
    from fhir.resources.R4B import get_fhir_model_class

    try:
        model = get_fhir_model_class(str(kind))
    except Exception:
        return fault
    own = {field.alias for field in model.model_fields.values()}
    return f"{fault}: {kind}.{element}" if element in own else f"{fault}: {kind}"


def _is_long(resource: Mapping[str, object]) -> bool:
    seen, stack = 0, [resource]
    while stack and seen <= MAX_RESOURCE_VALUES:
        value: Any = stack.pop()
        if isinstance(value, dict | list):
            seen += len(value)
            stack += value.values() if isinstance(value, dict) else value
    return seen > MAX_RESOURCE_VALUES


def _names(entry: Mapping[str, object], resource: Mapping[str, object]) -> set[str]:
    names = set()
    if isinstance(resource.get("id"), str):
        names.add(f"{resource.get('resourceType')}/{resource['id']}")
    if isinstance(entry.get("fullUrl"), str):
        names.add(_without_version(str(entry["fullUrl"])))
    return names


def _check_labels(holder: Mapping[str, object]) -> None:
    """The labels of the file or its Patient, which speak for every resource, can be read. Raises PayloadError.

    What else its meta says speaks for nothing here.
    """
    meta = holder.get("meta", {})
    labels = {"security": meta["security"]} if isinstance(meta, dict) and "security" in meta else {}
    if not isinstance(meta, dict) or _why_invalid("Meta", labels):
        raise PayloadError("FHIR bundle: the meta of the file or its Patient is not valid FHIR R4")


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
    known = {field.alias for field in model.model_fields.values()} | set(model.model_fields)
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
            why = _why_not_the_person(target, place, source)
            if why == ANOTHER:
                raise PayloadError(
                    "FHIR bundle: a resource is about another subject",
                    "Export one patient a bundle.",
                )
            if why is not None:
                return f"{why}: {kind}.{element}"
        elif reference is None and element == "subject":
            return f"does not say whom it is about: {kind}"
    return None


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
        if isinstance(target, dict) and isinstance(target.get("reference"), str)
        if _why_not_the_person(target, place, source) is not None
    }


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _why_not_the_person(target: Mapping[str, object], place: Place, source: Source) -> str | None:
    """Why what a resource is about is not the person; None: it is.

    A version of the person is the person. Where the file does not say at what address its Patient lies, the same id
    at some address may be the same person: nobody here can say. Nor can anybody where only type and id are hers, and
    the entry is of another server. A patient is named as R4 references.html has it, or as volens does; whatever else
    stands there names nobody, and may be a mistake of one resource.
    """
    name = _without_version(str(target["reference"]))
    absolute = _absolute(name, place.base)
    if absolute in source.person:
        kind = str(target.get("type", "Patient"))  # or the address of its definition
        return None if kind.rpartition("/")[2] == "Patient" else UNCLEAR
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
