"""Which resource of a file hangs on which: it was made from it, or is listed by it.

A reference is read here as widely as it may be meant, since what is found only marks more as sensitive: letters of
either case, any version, http as https, an identifier instead of an id, a conditional reference. What a resource must
not be kept without is looked up strictly, by `resolve` of bundle.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from analytics.canonical import paired, readings
from analytics.readers.bundle import Place, Source, identity

# What a resource was made from, asked for by or given for, is about, or has as its evidence tells what it says (R4
# Observation, Procedure, Condition, medications; what stands between them and a finding: CarePlan, Goal,
# DetectedIssue, RiskAssessment, Task); a specimen, or one that another was taken from, stands between an order and what
# was found in it. What a panel, report or list holds is told by its own code, and so is what came of a Task or a
# CarePlan, or was looked at in a ClinicalImpression. Encounter, subject and performer are in neither: a visit to one
# clinic does not make its blood count genetic.
_MADE_FROM = (
    "addresses",
    "basedOn",
    "basis",
    "complicationDetail",
    "derivedFrom",
    "detectedIssue",
    "evidence.detail",
    "focus",
    "goal",
    "ingredient.itemReference",
    "ingredient.substanceReference",
    "input.valueReference",
    "medicationReference",
    "parent",
    "partOf",
    "priorPrescription",
    "reasonReference",
    "request",
    "specimen",
    "stage.assessment",
    "supportingInformation",
    "usedReference",
)
_LISTS = (
    "activity.reference",
    "entry.item",
    "finding.itemReference",
    "hasMember",
    "implicated",
    "investigation.item",
    "output.valueReference",
    "report",
    "result",
)
# An extension may name anything; these are shared by what has nothing else in common, as encounter and performer are.
_SHARED = frozenset(
    {
        "CareTeam",
        "Encounter",
        "EpisodeOfCare",
        "HealthcareService",
        "Location",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
    }
)
_MAX_PARAMETERS = 16  # of a conditional reference; what follows is not looked at
_ESCAPED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
# What a reference may name, and what a resource is called: a word that says how, and the parts of the name.
_Name = tuple[str | None, ...]


class Links:
    """Which resource was made from which, and which lists which; by identity.

    What is sensitive as a whole (its own code, or what it was made from, or the panel it stands in) makes so what was
    made from it and what it lists. A panel or report is told by one member as well, but not as a whole: that goes on to
    what was made from it, never to its other members.

    parts: what is linked, as far as it may say something. By identity of a resource of the file: extensions, those
    anywhere in it; unreadable, the element of a conditional reference that cannot be read. unread: by identity, the
    parts that were made from what such a reference means.
    """

    def __init__(self) -> None:
        self.parts: dict[int, Mapping[str, object]] = {}
        self.extensions: dict[int, list[Mapping[str, object]]] = {}
        self.unreadable: dict[int, str] = {}
        self.unread: set[int] = set()
        self._makes: dict[int, list[int]] = {}
        self._lists: dict[int, list[int]] = {}
        self._listed: dict[int, list[int]] = {}
        # A thing of its own for each name, between those that use it and those that bear it: a link each, however many.
        self._origins: dict[_Name, object] = {}
        self._extended: dict[_Name, object] = {}
        self._members: dict[_Name, object] = {}

    def make(self, origin: object, made: object) -> None:
        self._makes.setdefault(id(origin), []).append(id(made))

    def list(self, panel: object, member: object) -> None:
        self._lists.setdefault(id(panel), []).append(id(member))
        self._listed.setdefault(id(member), []).append(id(panel))

    def make_from(
        self, part: Mapping[str, object], reference: object, place: Place, extension: bool = False
    ) -> None:
        """The part was made from what a reference in it, or in an extension of it, may mean."""
        named = self._extended if extension else self._origins
        for name in _meant(reference):
            self.make(named.setdefault(name, object()), part)
            self.parts[id(part)] = part
        inner = place.inside.get(_text(reference))
        if inner is not None:
            self.make(inner, part)
            self.parts[id(part)], self.parts[id(inner)] = part, inner
        if is_unreadable(reference):
            self.unread.add(id(part))

    def hold(self, part: Mapping[str, object], reference: object, place: Place) -> None:
        """The part lists what a reference in it may mean; where that cannot be read, everything of that type."""
        names = list(_meant(reference))
        if is_unreadable(reference):
            names.append(("any", _searched(reference)[0]))
        for name in names:
            self.list(part, self._members.setdefault(name, object()))
            self.parts[id(part)] = part
        inner = place.inside.get(_text(reference))
        if inner is not None:
            self.list(part, inner)
            self.parts[id(part)], self.parts[id(inner)] = part, inner

    def bear(self, part: Mapping[str, object], name: _Name) -> None:
        """The part is what others mean by this name."""
        if name in self._origins:
            self.make(part, self._origins[name])
            self.parts[id(part)] = part
        if name in self._extended and str(part.get("resourceType")) not in _SHARED:
            self.make(part, self._extended[name])
            self.parts[id(part)] = part
        if name in self._members:
            self.list(self._members[name], part)
            self.parts[id(part)] = part

    def spread(
        self, own: Mapping[int, Iterable[int | str]], downwards: frozenset[str]
    ) -> dict[int, set[int | str]]:
        """The marks that reach each; each passes it once as a whole and once not, so loops of references end.

        downwards: those that are told to what came of a part, never to what lists it.
        """
        waiting = [(key, mark, True) for key, found in own.items() for mark in found]
        seen = set(waiting)
        while waiting:
            key, mark, whole = waiting.pop()
            reached = [(other, whole) for other in self._makes.get(key, ())]
            if mark not in downwards:
                reached += [(other, False) for other in self._listed.get(key, ())]
            reached += [(other, True) for other in self._lists.get(key, ()) if whole]
            for other, as_whole in reached:
                step = (other, mark, as_whole)
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
        found: dict[int, set[int | str]] = {}
        for key, mark, _ in seen:
            found.setdefault(key, set()).add(mark)
        return found


def read_links(source: Source) -> Links:
    """The links of all resources of a file and of those inside them."""
    links = Links()
    for outer in source.resources:
        place = source.places[id(outer)]
        unreadable = _read_part(outer, place, links)
        for inner in place.inside.values():
            links.make(inner, outer)
            unreadable += ["contained" for _ in _read_part(inner, place, links)]
        for extension in _extensions(outer):
            links.extensions.setdefault(id(outer), []).append(extension)
            for reference in _references(extension, "valueReference"):
                links.make_from(outer, reference, place, extension=True)
                unreadable += ["extension"] if is_unreadable(reference) else []
        if unreadable:
            links.unreadable[id(outer)] = unreadable[0]
    for outer in source.resources:
        place = source.places[id(outer)]
        for name in _addresses(outer, place.full_urls):
            links.bear(outer, name)
        for part in (outer, *place.inside.values()):
            for name in _identifiers(part):
                links.bear(part, name)
    return links


def _read_part(part: Mapping[str, object], place: Place, links: Links) -> list[str]:
    """The part's links. Returns the elements of conditional references that cannot be read."""
    unreadable = []
    for paths, link in ((_MADE_FROM, links.make_from), (_LISTS, links.hold)):
        for path in paths:
            element = path.partition(".")[0]
            for reference in _references(part, path) if element in part else ():
                link(part, reference, place)
                unreadable += [element] if is_unreadable(reference) else []
    for holder, section in _sections(part):
        links.list(holder, section)
        links.parts[id(holder)], links.parts[id(section)] = holder, section
        for reference in _references(section, "entry"):
            links.hold(section, reference, place)
    return unreadable


def at(resource: Mapping[str, object], path: str) -> Iterator[object]:
    """What stands at a path such as evidence.detail, where each element is one or a list."""
    name, _, rest = path.partition(".")
    value = resource.get(name)
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        if not rest:
            yield item
        elif isinstance(item, dict):
            yield from at(item, rest)


def _references(part: Mapping[str, object], path: str) -> Iterator[object]:
    """The References at a path; of one whose `reference` stands twice in the file, one for each of them."""
    for reference in at(part, path):
        yield reference
        texts = readings(reference.get("reference")) if isinstance(reference, dict) else []
        yield from ({"reference": text} for text in texts if len(texts) > 1)


def _extensions(resource: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Every extension anywhere in a resource, also of its elements and of what is inside it."""
    waiting: list[object] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name in ("extension", "modifierExtension"):
                if name in value:
                    yield from (item for item in at(value, name) if isinstance(item, dict))
        inside = value.values() if isinstance(value, dict) else value
        waiting += [item for item in inside if isinstance(item, dict | list)]  # type: ignore[attr-defined]


def is_unreadable(reference: object) -> bool:
    """Whether a conditional reference asks for something else than an identifier or id, or in a way not known here."""
    return _is_conditional(reference) and _searched(reference)[1] is None


def _sections(
    document: Mapping[str, object],
) -> Iterator[tuple[Mapping[str, object], Mapping[str, object]]]:
    """Every section of a document with what holds it: the code of each speaks for what stands in it."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        for section in at(holder, "section"):
            if isinstance(section, dict):
                yield holder, section
                waiting.append(section)


def _text(reference: object) -> str:
    text = reference.get("reference") if isinstance(reference, dict) else None
    return text if isinstance(text, str) else ""


def _meant(reference: object) -> Iterator[_Name]:
    """The names of all that a reference may mean in the file; none for what is inside the resource."""
    if not isinstance(reference, dict):
        return
    kind = reference.get("type")
    for system, value in _systems_and_values(reference):
        # R4 references.html#logical; the type may be the address of its definition.
        yield "identifier", _folded(kind).rsplit("/")[-1], system, value
    text = _text(reference)
    if _is_conditional(reference):
        name = _searched(reference)[1]
        yield from () if name is None else (name,)
    elif text and not text.startswith("#"):
        address = _address(text)
        yield "address", address
        if "://" in address:
            yield "anywhere", _last_two(address)


def _addresses(resource: Mapping[str, object], full_urls: Iterable[str]) -> Iterator[_Name]:
    """The names by which references to a type and id or to an address mean a resource of the file."""
    addresses = [_address(full_url) for full_url in full_urls]
    names = {name for address in addresses if address for name in (address, _last_two(address))}
    for kind, name in paired(resource.get("resourceType"), resource.get("id")):
        if isinstance(name, str):
            names.add(_address(f"{kind}/{name}"))
        yield "any", _folded(kind)
    for name in names:
        yield "address", name
        if not any(address.startswith("http:") for address in addresses):
            yield "anywhere", name


def _identifiers(resource: Mapping[str, object]) -> Iterator[_Name]:
    """The names that an identifier of a resource gives it, with and without its type, and whatever its system."""
    for system, value in _systems_and_values(resource):
        yield "identifier", "", system, value
        for kind in map(_folded, readings(resource.get("resourceType"))):
            yield "identifier", kind, system, value
            yield "identifier", kind, None, value


def _systems_and_values(holder: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for one in at(holder, "identifier"):
        if isinstance(one, dict):
            for system, value in paired(one.get("system"), one.get("value")):
                if isinstance(value, str):
                    yield _folded(system), _folded(value)


def _is_conditional(reference: object) -> bool:
    text = _text(reference)
    return "?" in text or "%3f" in text.casefold()


def _searched(reference: object) -> tuple[str, _Name | None]:
    """The type that a conditional reference asks for, and the name that what it means must bear (R4 http.html#trules,
    search.html#token); None: that cannot be read. Further parameters ask for the same thing more closely.
    """
    text = _text(reference)
    path, _, query = (text if "?" in text else _unescaped(text)).partition("?")
    kind = _address(path).rpartition("/")[2]
    for parameter in query.split("&", _MAX_PARAMETERS):
        key, _, value = map(_unescaped, parameter.partition("="))
        # Escaped once more, or one of several values: what it means would be a guess.
        if key not in ("identifier", "_id") or any(sign in value for sign in "\\%,"):
            continue
        if key == "_id":
            return kind, ("address", _address(f"{kind}/{value}"))
        system, bar, rest = value.partition("|")
        wanted, name = (_folded(system), _folded(rest)) if bar else (None, _folded(value))
        if name:
            return kind, ("identifier", kind, wanted, name)
    return kind, None


def _address(text: str) -> str:
    """An address, or type and id, as it is compared: whatever its letter case, without fragment, and by `identity`."""
    return identity(
        _folded(_unescaped(text)).partition("#")[0].partition("/_history")[0].strip("/")
    )


def _last_two(address: str) -> str:
    """The type and id at the end of an address."""
    return "/".join(address.rsplit("/", 2)[-2:])


def _folded(text: object) -> str:
    """A text as it is compared; a plus is a space where it stood in a search."""
    return text.casefold().replace("+", " ").strip() if isinstance(text, str) else ""


def _unescaped(text: str) -> str:
    """%7C as |. (The library's own function stands beside what opens connections, which no reader may import.)"""
    if "%" not in text:
        return text
    plain = _ESCAPED.sub(
        lambda found: bytes.fromhex(found[0].replace(b"%", b"").decode()),
        text.encode(errors="replace"),
    )
    return plain.decode(errors="replace")
