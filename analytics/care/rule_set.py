"""The rules as data: loaded from `rules/`, checked, and named by one hash.

`index.json` lists every file with its sha256; the hash of the rule set is that of the index, and
is what a committee approves. A rule whose text, source or bound changes is another rule set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from analytics.canonical import dump_canonical, load_strict
from analytics.care.days import day_of
from analytics.care.facts import FACTS, Kind
from analytics.care.formulas import DERIVATIONS, Tables
from analytics.errors import RuleSetError

FOLDER = Path(__file__).parent / "rules"
TYPE = "volens/rule-set/1"
# A list of medicines is read together with whether it is the whole list.
COMPLETE = {"medicines": "medicines_complete", "medicines_ever": "medicines_complete"}
_MAX_BYTES, _MAX_DEPTH = 1_000_000, 24


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `content`: the checked JSON (rules/schema.json). `needs`: the maximal age in days
    of each fact that it reads, None for any age. `lasting`: facts of which a "yes" has no such age:
    what once was is not undone by time. `sources`: its own, and
    those of the lists and tables that it reads. `expires`: the first day on which it is refused;
    that of a list or table that it reads, if earlier."""

    id: str
    content: Mapping[str, Any]
    needs: Mapping[str, int | None]
    lasting: frozenset[str]
    sources: tuple[Mapping[str, Any], ...]
    expires: int


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in the order of their ids. `lists`: by the list's name, the names of its
    medicines by code; `titles`: what the lists are; `read_codes`: all codes of which we know what
    they are; `digest`: its hash (hex)."""

    jurisdiction: str
    rules: tuple[Rule, ...]
    lists: Mapping[str, Mapping[str, str]]
    titles: Mapping[str, str]
    read_codes: frozenset[str]
    tables: Tables
    digest: str


def rule_set_hash() -> bytes:
    """32 bytes that name the shipped rule set. Raises RuleSetError if a file differs from it."""
    return bytes.fromhex(shipped().digest)


@cache
def shipped() -> RuleSet:
    """The rule set of this package. Raises RuleSetError, as `rule_set_of` does."""
    return rule_set_of({path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.json"))})


def index_of(files: Mapping[str, bytes], jurisdiction: str) -> bytes:
    """The bytes of index.json for these files."""
    hashes = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files.items()
        if name != "index.json"
    }
    content = {"type": TYPE, "jurisdiction": jurisdiction, "files": hashes}
    return dump_canonical(content) + b"\n"


def rule_set_of(files: Mapping[str, bytes]) -> RuleSet:
    """The rule set of files by name, index.json among them.

    Raises RuleSetError if a file is not the one of the index, is not what the schema allows, reads
    a fact without saying how old it may be, or names a fact, word or list that does not exist.
    """
    content = {name: _parsed(name, data) for name, data in files.items()}
    try:
        jurisdiction = content["index.json"]["jurisdiction"]
        if files["index.json"] != index_of(files, jurisdiction):
            raise RuleSetError("a file of the rule set is not the one that its index names")
        schema, parts = content["schema.json"], content["lists.json"]
        tables = {name: content[f"{name}-table.json"] for name in ("dpyd", "cyp2d6")}
    except KeyError as missing:
        raise RuleSetError(f"the rule set has no {missing}") from None
    validator = jsonschema.Draft202012Validator(schema)
    reserved = {"index.json", "schema.json", "lists.json", *(f"{n}-table.json" for n in tables)}
    for name in content.keys() - {"index.json", "schema.json"}:
        if error := next(validator.iter_errors(content[name]), None):
            raise RuleSetError(f"{name}: {error.message[:120]} at {list(error.absolute_path)}")
    lists = {name: part["codes"] for name, part in parts["lists"].items()}
    rules = [
        _rule(content[name], parts["lists"], tables) for name in sorted(content.keys() - reserved)
    ]
    return RuleSet(
        jurisdiction,
        tuple(sorted(rules, key=lambda rule: rule.id)),
        lists,
        {name: part["title"] for name, part in parts["lists"].items()},
        frozenset().union(*lists.values()),
        _tables(tables),
        hashlib.sha256(files["index.json"]).hexdigest(),
    )


def leaves(condition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The comparisons of a nested condition."""
    for key in ("all", "any"):
        for part in condition.get(key, ()):
            yield from leaves(part)
    if "not" in condition:
        yield from leaves(condition["not"])
    if "fact" in condition:
        yield condition


def facts_of(condition: Mapping[str, Any]) -> Iterator[str]:
    """The facts that a condition reads: of a derived one its inputs, of a list whether it is the
    whole list."""
    for leaf in leaves(condition):
        names = [leaf["fact"]] + ([leaf["value"]] if leaf["op"] == "after" else [])
        for name in names:
            yield from DERIVATIONS[name].inputs if name in DERIVATIONS else (name,)
        if leaf["op"] == "any of" and leaf["fact"] in COMPLETE:
            yield COMPLETE[leaf["fact"]]


def conditions_of(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every condition of a rule: of its gates, options and warnings."""
    for part in (*content["gates"], *content["options"], *content["warnings"]):
        if "when" in part:
            yield part["when"]


def _rule(
    content: dict[str, Any],
    lists: Mapping[str, Mapping[str, Any]],
    tables: Mapping[str, dict[str, Any]],
) -> Rule:
    needs = {need["fact"]: need.get("days") for need in content["needs"]}
    parts: list[Mapping[str, Any]] = [content]
    for condition in conditions_of(content):
        for leaf in leaves(condition):
            _check_leaf(content["id"], leaf, lists)
            if leaf["op"] == "any of":
                parts.append(lists[leaf["value"]])
            if leaf["fact"] in ("dpyd_score", "cyp2d6_score"):
                parts.append(tables[leaf["fact"].split("_")[0]])
        if undeclared := set(facts_of(condition)) - needs.keys():
            raise RuleSetError(f"{content['id']} reads {min(undeclared)}, which it does not need")
    if any("dose" in option for option in content["options"]):
        guessed = [
            leaf for c in conditions_of(content) for leaf in leaves(c) if "on_unknown" in leaf
        ]
        if guessed:
            raise RuleSetError(f"{content['id']} gives a dose and reads an unknown fact as 'no'")
    if content["category"] == "medicine" and "medicine_in_words" not in content:
        raise RuleSetError(f"{content['id']} is about a medicine and does not name it in words")
    ids = {option["id"] for option in content["options"]}
    if strange := {item["option"] for item in content["schedule"] if "option" in item} - ids:
        raise RuleSetError(f"{content['id']} schedules for {min(strange)}, which is no option")
    if unknown := needs.keys() - FACTS.keys():
        raise RuleSetError(f"{content['id']} needs {min(unknown)}, which is no fact")
    lasting = frozenset(need["fact"] for need in content["needs"] if "yes_lasts" in need)
    sources = [source for part in parts for source in part["sources"]]
    distinct = tuple(source for at, source in enumerate(sources) if source not in sources[:at])
    expires = min(_day(part["expires"]) for part in parts)
    return Rule(content["id"], content, needs, lasting, distinct, expires)


def _check_leaf(rule: str, leaf: Mapping[str, Any], lists: Mapping[str, Any]) -> None:
    kind, op, value = FACTS.get(leaf["fact"]), leaf["op"], leaf.get("value")
    if kind is None:
        raise RuleSetError(f"{rule} reads {leaf['fact']}, which is no fact")
    words = value if isinstance(value, list) else [value]
    if op in ("is", "in"):
        right = isinstance(words[0], bool) == (kind.kind is Kind.YES_NO)
        if kind.kind is Kind.WORD:
            right = right and {*words, *leaf.get("unclear", ())} <= set(kind.words)
    elif op in (">=", "<"):
        right = kind.kind is Kind.NUMBER
    elif op == "any of":
        right = kind.kind is Kind.LIST and value in lists
    else:
        right = op in ("known", "unknown", "unrecorded") or value in FACTS
    if not right:
        raise RuleSetError(f"{rule}: {leaf['fact']} cannot be compared so: {op} {value}")


def _tables(tables: Mapping[str, dict[str, Any]]) -> Tables:
    values = {
        name: {key: Decimal(value) for key, value in table["values"].items()}
        for name, table in tables.items()
    }
    return Tables(
        values["dpyd"],
        tables["dpyd"]["haplotypes"],
        tuple(tuple(names) for names in tables["dpyd"]["positions"]),
        values["cyp2d6"],
    )


def _parsed(name: str, data: bytes) -> dict[str, Any]:
    value = load_strict(data, max_bytes=_MAX_BYTES, max_depth=_MAX_DEPTH)
    if not isinstance(value, dict):
        raise RuleSetError(f"{name} is not a JSON object")
    return value


def _day(text: str) -> int:
    try:
        return day_of(text)
    except ValueError:
        raise RuleSetError(f"{text} is not a date") from None
