"""Code maps that a custodian brings: what codes of systems that are not shipped here mean.

SNOMED CT needs a licence, a hospital's own codes are its own, and RxNorm has too many products, so no
map is shipped. A map says
for a code which code of a known system it equals, or which category of consent it belongs to. It
only adds readings: a code that is sensitive by the shipped lists or the custodian's value sets
stays so, whatever a map says (`codes.sensitive_categories`). Read are:

- JSON: {"system": URI, "source": text, "codes": {CODE: {"to": "icd-10-cm:C50.9" or a list of
  these, "category": "conditions"}}}, each code with one of both or both; or a list of such objects.
  With "optional": true, a medicine's codes of the system may be left out beside a known one.
  With the system "words", a CODE is a reason in words alone, such as "high blood pressure";
- a table with a header, separated by tabs or commas: system, code, to;
- RF2, the map of SNOMED CT to ICD-10 or ICD-10-CM (`der2_iisssccRefset_ExtendedMap…txt`): concepts
  whose rows hold always, see `_read_rf2`;
- a table whose first column is the id of a concept (such as the free SNOMED sets GPS and IPS): they
  give no meaning, and the report only says that such a code is one of that list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from analytics.canonical import load_strict
from analytics.errors import JsonRefused, PayloadError
from analytics.readers.codes import (
    LOCAL_CODES,
    MAPPED,
    SNOMED,
    SYSTEMS,
    URIS,
    WORDS,
    Coding,
    Mapped,
    ValueSets,
    is_well_formed,
    usual_system,
)
from analytics.readers.meaning import LONGEST_REASON, can_be_mapped, words_of
from analytics.vocabulary import Category

MAX_BYTES = 256 * 1024 * 1024  # of a map: the international RF2 map has about 60 MiB
MAX_CODES = 1_000_000
MAX_TARGETS = 8  # of one code
TARGETS = ("atc", "icd-10", "icd-10-cm", "icd-10-pcs", "icd-o-3", "local", "loinc", "rxnorm", "tnm")
_CATEGORIES = {
    category.name.lower().replace("_", "-"): int(category)
    for category in (
        Category.CONDITIONS,
        Category.OBSERVATIONS,
        Category.MEDICATIONS,
        Category.PROCEDURES,
        Category.GERMLINE_VARIANTS,
        Category.LIFESTYLE,
        Category.MENTAL_HEALTH,
        Category.SUBSTANCE_USE,
        Category.SEXUAL_HEALTH,
        Category.HIV,
    )
}
_OF_PRODUCTS = {URIS["atc"], URIS["rxnorm"]}
# RF2 identifiers of the two maps: of the international edition, and of the US edition.
_RF2_TARGETS = {"447562003": "icd-10", "6011000124106": "icd-10-cm"}
_RF2_COLUMNS = (
    "active",
    "refsetId",
    "referencedComponentId",
    "mapGroup",
    "mapRule",
    "mapTarget",
)
_CONCEPT_COLUMNS = frozenset({"id", "conceptid", "concept id", "sctid", "referencedcomponentid"})
_CONCEPT = re.compile(r"[1-9][0-9]{5,17}")
# Written out: a hint that a confined child sends is known by its text (known_sentences.py).
_CHOOSE_CATEGORY = (
    "Choose among: conditions, observations, medications, procedures, germline-variants, "
    "lifestyle, mental-health, substance-use, sexual-health, hiv."
)
_CHOOSE_SYSTEM = (
    "Write SYSTEM:CODE; systems: atc, icd-10, icd-10-cm, icd-10-pcs, icd-o-3, local, "
    "loinc, rxnorm, tnm."
)
_HINT = "See the guide for custodians for the forms that a map may have."


@dataclass(frozen=True, slots=True)
class CodeMap:
    """codes: what each code means, or may mean. recognised: codes without a meaning. ambiguous: how
    many codes of an RF2 map have no meaning that always holds. optional: systems whose codes of a
    medicine may be left out beside a known one.
    """

    codes: Mapping[Coding, Mapped]
    recognised: frozenset[Coding] = frozenset()
    ambiguous: int = 0
    optional: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, int]:
        """Counts for the report of an ingest."""
        return {
            "codes": len(self.codes) - self.ambiguous,
            "ambiguous": self.ambiguous,
            "recognised": len(self.recognised),
        }


def load_code_map(payload: bytes) -> CodeMap:
    """A map in one of the forms above. Raises PayloadError, which never quotes the file."""
    if len(payload) > MAX_BYTES:
        raise PayloadError(f"code map: it is larger than {MAX_BYTES} bytes")
    payload = payload.removeprefix(b"\xef\xbb\xbf")
    if payload.lstrip()[:1] in (b"{", b"["):
        return _read_json(payload)
    try:
        rows = payload.decode().splitlines()
    except UnicodeDecodeError:
        raise PayloadError("code map: it is not UTF-8", _HINT) from None
    header = rows[0] if rows else ""
    separator = "\t" if "\t" in header or "," not in header else ","
    columns = [name.strip() for name in header.split(separator)]
    # RF2 quotes nothing: a quotation mark in it is text.
    if separator == "," and any('"' in row for row in rows):
        raise PayloadError("code map: a table with commas has quotation marks", "Use tabs.")
    table = (row.split(separator) for row in rows[1:] if row)
    if set(_RF2_COLUMNS) <= set(columns):
        return _read_rf2(table, columns)
    if columns == ["system", "code", "to"]:
        return CodeMap(_read_table(table))
    if columns[0].lower() in _CONCEPT_COLUMNS:
        return CodeMap({}, _read_concepts(table, columns))
    raise PayloadError("code map: its first line names no columns that are known here", _HINT)


def with_maps(sets: ValueSets, maps: Sequence[CodeMap]) -> ValueSets:
    """Value sets that also know what the maps say; of a code in two maps, what both say."""
    mapped: dict[Coding, Mapped] = dict(sets.mapped)
    for code_map in maps:
        for coding, meaning in code_map.codes.items():
            mapped[coding] = _joined(mapped.get(coding), meaning)
    # What a map says of a category alone is written under a system of our own, with that category.
    own: dict[Coding, Mapped] = {}
    for meaning in mapped.values():
        for target in meaning.targets:
            if target.system == MAPPED:
                only = Mapped((), meaning.categories)
                own[target] = _joined(own.get(target), only)
    return replace(
        sets,
        mapped={**mapped, **own},
        recognised=sets.recognised.union(*(code_map.recognised for code_map in maps)),
        optional=sets.optional.union(*(code_map.optional for code_map in maps)),
    )


def _joined(first: Mapped | None, second: Mapped) -> Mapped:
    if first is None:
        return second
    targets = tuple(dict.fromkeys((*first.targets, *second.targets)))
    possible = tuple(dict.fromkeys((*first.possible, *second.possible)))
    return Mapped(targets, first.categories | second.categories, possible)


def _read_json(payload: bytes) -> CodeMap:
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=6)
    except JsonRefused as refused:
        raise PayloadError(f"code map: {refused}", _HINT) from None
    codes: dict[Coding, Mapped] = {}
    optional = set[str]()
    for part in document if isinstance(document, list) else [document]:
        if not isinstance(part, dict) or set(part) - {"optional"} != {"system", "source", "codes"}:
            raise PayloadError("code map: it has not exactly system, source and codes", _HINT)
        if type(part.get("optional", False)) is not bool:
            raise PayloadError("code map: optional is neither true nor false", _HINT)
        if part.get("optional"):
            optional.add(_optional(part["system"]))
        listed = part["codes"]
        if not isinstance(part["source"], str) or not isinstance(listed, dict):
            raise PayloadError("code map: its source is not text, or its codes no object", _HINT)
        for code, meaning in listed.items():
            if (
                not isinstance(meaning, dict)
                or not meaning
                or not set(meaning) <= {"to", "category"}
            ):
                raise PayloadError(
                    "code map: a code has something else than to and category", _HINT
                )
            named = meaning.get("to", [])
            _add(codes, part["system"], code, named, meaning.get("category"))
    return CodeMap(codes, optional=frozenset(optional))


def _optional(system: object) -> str:
    if (
        not isinstance(system, str)
        or not system
        or {usual_system(system), system} & {*SYSTEMS, *URIS}
    ):
        raise PayloadError("code map: optional are codes of a system that is not known here", _HINT)
    return system


def _read_table(table: Iterator[list[str]]) -> dict[Coding, Mapped]:
    codes: dict[Coding, Mapped] = {}
    for row in table:
        if len(row) != 3:
            raise PayloadError("code map: a row has not exactly system, code and to", _HINT)
        _add(codes, row[0].strip(), row[1].strip(), row[2].strip(), None)
    return codes


def _add(
    codes: dict[Coding, Mapped], system: object, code: object, named: object, category: object
) -> None:
    """Add what a code means. named: one target as text, or a list. Raises PayloadError."""
    if not isinstance(system, str) or not isinstance(code, str) or not system or not code:
        raise PayloadError("code map: a system or code is not text", _HINT)
    system = {"rxnorm": URIS["rxnorm"], "words": WORDS}.get(system, system)
    if system == WORDS:
        code = words_of(code)
        if not 0 < len(code) <= LONGEST_REASON:
            raise PayloadError(
                f"code map: a reason in words has not 1 to {LONGEST_REASON} characters", _HINT
            )
    if not can_be_mapped(Coding(system, code)) or system in URIS:
        raise PayloadError(
            "code map: it maps codes of a system that is known here",
            "Map other systems only, or products of RxNorm.",
        )
    if category is not None and not (isinstance(category, str) and category in _CATEGORIES):
        raise PayloadError("code map: a category is not known", _CHOOSE_CATEGORY)
    listed = named if isinstance(named, list) else [named]
    targets = tuple(dict.fromkeys(_target(text) for text in listed))
    if len(targets) > MAX_TARGETS or (not targets and category is None):
        raise PayloadError(f"code map: a code has not 1 to {MAX_TARGETS} meanings", _HINT)
    categories = frozenset({_CATEGORIES[str(category)]} if category is not None else ())
    if system == URIS["rxnorm"] and (
        category is not None or not {target.system for target in targets} <= _OF_PRODUCTS
    ):
        raise PayloadError(
            "code map: a product of RxNorm is mapped to something else than its ingredients", _HINT
        )
    if not targets:
        targets = (Coding(MAPPED, code),)
    key = Coding(system, code)
    codes[key] = _joined(codes.get(key), Mapped(targets, categories))
    if len(codes) > MAX_CODES:
        raise PayloadError(f"code map: it has more than {MAX_CODES} codes")


def _target(text: object) -> Coding:
    short, _, code = text.partition(":") if isinstance(text, str) else ("", "", "")
    coding = Coding(URIS.get(short), code)
    known = coding in LOCAL_CODES or is_well_formed(coding)
    if short not in TARGETS or not known:
        raise PayloadError(
            "code map: a code is mapped to something that is no code of a known system",
            _CHOOSE_SYSTEM,
        )
    return coding


def _read_rf2(table: Iterator[list[str]], columns: Sequence[str]) -> CodeMap:
    """The concepts whose map holds for everybody.

    RF2 (SNOMED CT Release File Specifications, 5.2.10): the rows of a map group are rules in order
    of priority, and of each group one applies. Taken is a concept of which every group has one
    active row, whose rule is TRUE (its advice begins with ALWAYS); each group gives a code. Where a
    rule asks for more (age, sex, another finding), or a group has no code, nobody can say from the
    concept alone which code is meant: it is counted as ambiguous, and brings nothing in, but is as
    sensitive as all its codes together. All groups are read, not the
    first alone, so that a sensitive second code is not lost.
    """
    at = {name: columns.index(name) for name in _RF2_COLUMNS}
    groups: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = {}
    for row in table:
        if len(row) != len(columns):
            raise PayloadError(
                "code map: a row of the RF2 table has not as many fields as its header"
            )
        active, refset, concept, group, rule, target = (row[at[name]] for name in _RF2_COLUMNS)
        if active == "1" and refset in _RF2_TARGETS:
            key = (refset, concept)
            groups.setdefault(key, {}).setdefault(group, []).append((rule, target))
            if len(groups) > MAX_CODES:
                raise PayloadError(f"code map: it has more than {MAX_CODES} codes")
    codes: dict[Coding, Mapped] = {}
    ambiguous = set[Coding]()
    for (refset, concept), of_groups in groups.items():
        uri = URIS[_RF2_TARGETS[refset]]
        coding = Coding(SNOMED, concept)
        rows = [row for listed in of_groups.values() for row in listed]
        targets = [Coding(uri, target) for _, target in rows]
        always = len(rows) == len(of_groups) and all(rule == "TRUE" for rule, _ in rows)
        if not always or len(targets) > MAX_TARGETS or not all(map(is_well_formed, targets)):
            ambiguous.add(coding)
            meaning = Mapped((), frozenset(), tuple(dict.fromkeys(targets)))
        else:
            meaning = Mapped(tuple(dict.fromkeys(targets)), frozenset())
        codes[coding] = _joined(codes.get(coding), meaning)
    return CodeMap(codes, frozenset(), len(ambiguous))


def _read_concepts(table: Iterator[list[str]], columns: Sequence[str]) -> frozenset[Coding]:
    """The active concepts of a list."""
    lower = [name.lower() for name in columns]
    active = lower.index("active") if "active" in lower else None
    column = lower.index("referencedcomponentid") if "referencedcomponentid" in lower else 0
    concepts: set[Coding] = set()
    for row in table:
        if len(row) != len(columns) or not _CONCEPT.fullmatch(row[column].strip()):
            raise PayloadError("code map: a row of the list does not begin with a concept", _HINT)
        if active is None or row[active].strip() in ("1", "true"):
            concepts.add(Coding(SNOMED, row[column].strip()))
        if len(concepts) > MAX_CODES:
            raise PayloadError(f"code map: it has more than {MAX_CODES} codes")
    return frozenset(concepts)
