"""Links between the resources of a file: which one was made from, or is listed by, which other.

References are matched as broadly as possible here, since a match only marks more resources as
sensitive: any letter case, any version, http as https, an identifier instead of an id, a
conditional reference. References to resources that must be in the file are resolved strictly, by
`resolve` of bundle.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from analytics.canonical import key_values, paired
from analytics.readers.bundle import ReferenceContext, Source, contained, identity

# Elements that name a resource's source, order, purpose, topic or evidence, which reveal its
# content (R4 Observation, Procedure, Condition, medications; intermediate resources between them
# and a finding: CarePlan, Goal, DetectedIssue, RiskAssessment, Task; a specimen links an order and
# its findings, also through its parent specimen). The code of a panel, report or list reveals its
# members, and so do a Task or CarePlan their outcome, and a ClinicalImpression what it examined.
# Encounter, subject and performer are in neither list: a visit to one clinic does not make its
# blood count genetic.
_MADE_FROM = (
    "addresses",
    "appointment",
    "basedOn",
    "basis",
    "complicationDetail",
    "derivedFrom",
    "detectedIssue",
    "diagnosis.condition",
    "episodeOfCare",
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
# An extension may name anything; these types are shared by otherwise unrelated resources, like
# encounter and performer.
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
_MAX_PARAMETERS = 16  # of a conditional reference; further ones are ignored
_ESCAPED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
# How a resource refers to another: it was made from it, lists it, or has an extension that names
# it.
ORIGIN, LISTED, EXTENDED = "origin", "listed", "extended"
# A name that references and resources share: the kind of name, and its parts.
_Name = tuple[str | None, ...]


class Links:
    """Which resource was made from which, and which lists which; by identity.

    A fully sensitive resource (by its own code, its source, or the panel that lists it) makes
    sensitive what was made from it and what it lists. A sensitive member also makes its panel or
    report sensitive, but not fully: that spreads to what was made from the panel, never to its
    other members.

    parts: the linked resources that may have codes or labels. By identity of a resource of the
    file: extensions, those anywhere in it; unreadable, the element of a conditional reference that
    cannot be read. unread: by identity, the parts that were made from the target of such a
    reference.
    """

    def __init__(self) -> None:
        self.parts: dict[int, Mapping[str, object]] = {}
        self.extensions: dict[int, list[Mapping[str, object]]] = {}
        self.unreadable: dict[int, str] = {}
        self.unread: set[int] = set()
        self._makes: dict[int, list[int]] = {}
        self._lists: dict[int, list[int]] = {}
        self._listed: dict[int, list[int]] = {}
        # A node for each name, between the resources that use it and those that have it, so each
        # needs only one link.
        self._origins: dict[_Name, object] = {}
        self._extended: dict[_Name, object] = {}
        self._members: dict[_Name, object] = {}

    def link_origin(self, origin: object, made: object) -> None:
        self._makes.setdefault(id(origin), []).append(id(made))

    def link_member(self, panel: object, member: object) -> None:
        self._lists.setdefault(id(panel), []).append(id(member))
        self._listed.setdefault(id(member), []).append(id(panel))

    def add_origin_reference(
        self,
        part: Mapping[str, object],
        reference: object,
        context: ReferenceContext,
        extension: bool = False,
    ) -> None:
        """Link the possible targets of a reference in the part or its extension as its origins."""
        named = self._extended if extension else self._origins
        for name in _target_names(reference):
            self.link_origin(named.setdefault(name, object()), part)
            self.parts[id(part)] = part
        inner = context.inside.get(_text(reference))
        if inner is not None:
            self.link_origin(inner, part)
            self.parts[id(part)], self.parts[id(inner)] = part, inner
        if is_unreadable(reference):
            self.unread.add(id(part))

    def add_member_reference(
        self, part: Mapping[str, object], reference: object, context: ReferenceContext
    ) -> None:
        """Link the possible targets of a reference in the part as members, or the entire type."""
        names = list(_member_names(reference))
        for name in names:
            self.link_member(part, self._members.setdefault(name, object()))
            self.parts[id(part)] = part
        inner = context.inside.get(_text(reference))
        if inner is not None:
            self.link_member(part, inner)
            self.parts[id(part)], self.parts[id(inner)] = part, inner

    def add_name(self, part: Mapping[str, object], name: _Name) -> None:
        """Register a name by which others reference the part."""
        if name in self._origins:
            self.link_origin(part, self._origins[name])
            self.parts[id(part)] = part
        if name in self._extended and str(part.get("resourceType")) not in _SHARED:
            self.link_origin(part, self._extended[name])
            self.parts[id(part)] = part
        if name in self._members:
            self.link_member(self._members[name], part)
            self.parts[id(part)] = part

    def propagate(
        self, initial: Mapping[int, Iterable[int | str]], downwards: frozenset[str]
    ) -> dict[int, set[int | str]]:
        """The marks that reach each part. A mark visits a part twice at most, so loops end.

        downwards: marks that spread to what was made from a part, never to what lists it.
        """
        waiting = [(key, mark, True) for key, marks in initial.items() for mark in marks]
        seen = set(waiting)
        while waiting:
            key, mark, full = waiting.pop()
            reached = [(made, full) for made in self._makes.get(key, ())]
            if mark not in downwards:
                reached += [(panel, False) for panel in self._listed.get(key, ())]
            reached += [(member, True) for member in self._lists.get(key, ()) if full]
            for target, target_full in reached:
                step = (target, mark, target_full)
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
        reaching: dict[int, set[int | str]] = {}
        for key, mark, _ in seen:
            reaching.setdefault(key, set()).add(mark)
        return reaching


def read_links(source: Source) -> Links:
    """The links of all resources of a file, of those inside them, and of those beside it."""
    links = Links()
    resources = (*source.resources, *source.beside)
    for outer in resources:
        context = source.contexts[id(outer)]
        unreadable = _read_part(outer, context, links)
        for inner in context.inside.values():
            links.link_origin(inner, outer)
            unreadable += ["contained" for _ in _read_part(inner, context, links)]
        for extension in _extensions(outer):
            links.extensions.setdefault(id(outer), []).append(extension)
            for reference in _references(extension, "valueReference"):
                links.add_origin_reference(outer, reference, context, extension=True)
                unreadable += ["extension"] if is_unreadable(reference) else []
        if unreadable:
            links.unreadable[id(outer)] = unreadable[0]
    for outer in resources:
        context = source.contexts[id(outer)]
        for name in _addresses(outer, context.full_urls):
            links.add_name(outer, name)
        for part in (outer, *context.inside.values()):
            for name in _identifiers(part):
                links.add_name(part, name)
    return links


def _read_part(part: Mapping[str, object], context: ReferenceContext, links: Links) -> list[str]:
    """Add the part's links; returns the elements of conditional references that cannot be read."""
    unreadable = []
    for listing, holder, element, reference in _references_in(part):
        link = links.add_member_reference if listing else links.add_origin_reference
        link(holder, reference, context)
        unreadable += [element] if element and is_unreadable(reference) else []
    for holder, section in _sections(part):
        links.link_member(holder, section)
        links.parts[id(holder)], links.parts[id(section)] = holder, section
    return unreadable


def _references_in(
    part: Mapping[str, object],
) -> Iterator[tuple[bool, Mapping[str, object], str, object]]:
    """(whether it lists, holder, element, reference) of a part; a section has no element."""
    for listing, paths in ((False, _MADE_FROM), (True, _LISTS)):
        for path in paths:
            element = path.partition(".")[0]
            for reference in _references(part, path) if element in part else ():
                yield listing, part, element, reference
    for _, section in _sections(part):
        for reference in _references(section, "entry"):
            yield True, section, "", reference


def names_of(resource: Mapping[str, object], full_urls: Iterable[str] = ()) -> Iterator[_Name]:
    """Every name by which others may refer to a resource or to one that it contains."""
    yield from _addresses(resource, full_urls)
    for part in (resource, *contained(resource).values()):
        yield from _identifiers(part)


def references_of(resource: Mapping[str, object]) -> Iterator[tuple[str, _Name]]:
    """(relation, name) of all that a resource, its contained ones and extensions refer to."""
    for part in (resource, *contained(resource).values()):
        for listing, _, _, reference in _references_in(part):
            named = _member_names(reference) if listing else _target_names(reference)
            yield from ((LISTED if listing else ORIGIN, name) for name in named)
    for extension in _extensions(resource):
        for reference in _references(extension, "valueReference"):
            yield from ((EXTENDED, name) for name in _target_names(reference))


def values_at(resource: Mapping[str, object], path: str) -> Iterator[object]:
    """The values at a path such as evidence.detail, where each element is one value or a list."""
    name, _, rest = path.partition(".")
    value = resource.get(name)
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        if not rest:
            yield item
        elif isinstance(item, dict):
            yield from values_at(item, rest)


def _references(part: Mapping[str, object], path: str) -> Iterator[object]:
    """The References at a path; one with duplicate `reference` keys also yields each value."""
    for reference in values_at(part, path):
        yield reference
        texts = key_values(reference.get("reference")) if isinstance(reference, dict) else []
        yield from ({"reference": text} for text in texts if len(texts) > 1)


def _extensions(resource: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Every extension anywhere in a resource, including its elements and contained resources."""
    waiting: list[object] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name in ("extension", "modifierExtension"):
                if name in value:
                    yield from (item for item in values_at(value, name) if isinstance(item, dict))
        inside = value.values() if isinstance(value, dict) else value
        waiting += [item for item in inside if isinstance(item, dict | list)]  # type: ignore[attr-defined]


def is_unreadable(reference: object) -> bool:
    """Whether a conditional reference searches by anything other than an identifier or id."""
    return _is_conditional(reference) and _parse_conditional(reference)[1] is None


def _sections(
    document: Mapping[str, object],
) -> Iterator[tuple[Mapping[str, object], Mapping[str, object]]]:
    """Every section of a document with its parent: the code of each applies to the content."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        for section in values_at(holder, "section"):
            if isinstance(section, dict):
                yield holder, section
                waiting.append(section)


def _text(reference: object) -> str:
    text = reference.get("reference") if isinstance(reference, dict) else None
    return text if isinstance(text, str) else ""


def _target_names(reference: object) -> Iterator[_Name]:
    """The names of all possible targets of a reference in the file, except contained resources."""
    if not isinstance(reference, dict):
        return
    kind = reference.get("type")
    for system, value in _systems_and_values(reference):
        # R4 references.html#logical; the type may be the address of its definition.
        yield "identifier", _folded(kind).rsplit("/")[-1], system, value
    text = _text(reference)
    if _is_conditional(reference):
        name = _parse_conditional(reference)[1]
        yield from () if name is None else (name,)
    elif text and not text.startswith("#"):
        address = _address(text)
        yield "address", address
        if "://" in address:
            yield "anywhere", _last_two(address)


def _member_names(reference: object) -> Iterator[_Name]:
    """The names of the members that a reference means; one that cannot be read: the entire type."""
    yield from _target_names(reference)
    if is_unreadable(reference):
        yield "any", _parse_conditional(reference)[0]


def _addresses(resource: Mapping[str, object], full_urls: Iterable[str]) -> Iterator[_Name]:
    """The names of a resource for references by type and id, or by address."""
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
    """The names of a resource by its identifiers, with and without type, and with any system."""
    for system, value in _systems_and_values(resource):
        yield "identifier", "", system, value
        for kind in map(_folded, key_values(resource.get("resourceType"))):
            yield "identifier", kind, system, value
            yield "identifier", kind, None, value


def _systems_and_values(holder: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for identifier in values_at(holder, "identifier"):
        if isinstance(identifier, dict):
            for system, value in paired(identifier.get("system"), identifier.get("value")):
                if isinstance(value, str):
                    yield _folded(system), _folded(value)


def _is_conditional(reference: object) -> bool:
    text = _text(reference)
    return "?" in text or "%3f" in text.casefold()


def _parse_conditional(reference: object) -> tuple[str, _Name | None]:
    """The type that a conditional reference searches, and the name that its target must have (R4
    http.html#trules, search.html#token); None: it cannot be read. Further parameters only narrow
    the search.
    """
    text = _text(reference)
    path, _, query = (text if "?" in text else _unescaped(text)).partition("?")
    kind = _address(path).rpartition("/")[2]
    for parameter in query.split("&", _MAX_PARAMETERS):
        key, _, value = map(_unescaped, parameter.partition("="))
        # Escaped twice, or several values: the target would be a guess.
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
    """An address, or type and id, for comparison: case-folded, no fragment, by `identity`."""
    return identity(
        _folded(_unescaped(text)).partition("#")[0].partition("/_history")[0].strip("/")
    )


def _last_two(address: str) -> str:
    """The type and id at the end of an address."""
    return "/".join(address.rsplit("/", 2)[-2:])


def _folded(text: object) -> str:
    """A text for comparison, case-folded; a plus is a space, as in a search."""
    return text.casefold().replace("+", " ").strip() if isinstance(text, str) else ""


def _unescaped(text: str) -> str:
    """%7C as |; urllib.parse is in a package with networking, which readers may not import."""
    if "%" not in text:
        return text
    plain = _ESCAPED.sub(
        lambda match: bytes.fromhex(match[0].replace(b"%", b"").decode()),
        text.encode(errors="replace"),
    )
    return plain.decode(errors="replace")
