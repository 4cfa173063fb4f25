"""The field's words: replaced ones occur in no identifier of the product, command, API key or
heading.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("analytics", "api", "bench", "chain", "docs", "governance", "tests", "volens")
# Replaced word: the glossary's word.
REPLACED = {
    "chance": "predicted probability",
    "chances": "predicted probabilities",
    "chart": "clinical record",
    "charts": "clinical records",
    "desk": "context",
    "door": "endpoint, route",
    "doors": "endpoints, routes",
    "figure": "metric",
    "figures": "metrics",
    "fold": "replayed state",
    "found": "the thing's own noun",
    "founding": "bootstrap, key ceremony",
    "birth": "bootstrap, key ceremony",
    "allowance": "rate limit",
    "held": "the thing's own noun",
    "honest": "control",
    "house": "deployment",
    "lane": "parser sandbox",
    "lanes": "parser sandboxes",
    "law": "rules",
    "layer": "feature set",
    "layers": "feature sets",
    "look": "view, review",
    "looks": "views",
    "one": "the thing's own noun",
    "patience": "timeout",
    "place": "deployment",
    "played": "demo account",
    "said": "the thing's own noun",
    "sick": "positive",
    "spoil": "tamper",
    "spoils": "tampers",
    "told": "the thing's own noun",
    "twin": "control, synthetic data",
    "whoever": "any caller",
    "whole": "the thing's own noun",
}
# True uses: (file or folder, word): why.
ALLOWED = {
    ("api/confinement", "layer"): "layers of confinement",
    ("api/confinement", "layers"): "layers of confinement",
    ("api/operate/doctor.py", "layers"): "layers of confinement",
    ("api/worker", "layers"): "layers of confinement",
    ("api/worker/sandbox.py", "layer"): "layers of confinement",
    ("api/pages/plots.py", "figure"): "a figure of matplotlib",
    ("api/pages/plots.py", "figures"): "figures of matplotlib",
    ("api/pages/labels.py", "chance"): "better than chance",
    ("analytics/care", "chart"): "a patient's chart: the facts that are read from her records",
    ("analytics", "birth"): "a year of birth",
    ("chain/vocabulary.py", "look"): "a reason's name on the ledger",
    ("governance/rules/tables.py", "look"): "a reason's name on the ledger",
    ("api/demo/attacks", "twin"): "the high-s form of a signature",
    ("chain/events.py", "one"): "the only event of a kind",
    ("tests/analytics/care", "chart"): "a patient's chart",
    ("tests/charts.py", "chart"): "a patient's chart",
    ("tests/charts.py", "charts"): "patients' charts",
    ("tests/analytics/readers", "birth"): "a year of birth",
    ("tests/extent.py", "whole"): "the whole of a campaign, as `--whole` says",
    ("tests/test_confinement.py", "layer"): "layers of confinement",
    ("tests/test_report.py", "figures"): "figures of HTML",
}


def words_of(name: str) -> list[str]:
    return [word for word in re.split(r"_|(?<=[a-z0-9])(?=[A-Z])|-|\W", name) if word]


def replaced(name: str, where: str) -> list[str]:
    """The replaced words in a name, but for true uses at this place."""
    return [
        word
        for word in map(str.lower, words_of(name))
        if word in REPLACED
        and (word != "one" or name.strip("_") == "one")  # a name of more words counts with it
        and name.lower() not in ("not_found", "notfound", "anvilnotfound", "notfounderror")
        and not any(where.startswith(path) and word == use for path, use in ALLOWED)
        and not re.fullmatch(r"(?i)_?held_?(back|heads?|step)|heldback|still_held", name)
    ]


def is_test(name: str) -> bool:
    """The name of a test, or of a file of tests, is a sentence."""
    return name.startswith(("test_", "Test"))


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    if not is_test(path.stem):
        yield 1, path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if not is_test(node.name):
                    yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str() as name):
                yield node.lineno, name
            case ast.MatchAs(name=str() as name) | ast.ExceptHandler(name=str() as name):
                yield node.lineno, name
            case ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
                yield node.lineno, name


@pytest.mark.parametrize("room", ROOMS)
def test_no_identifier_has_a_replaced_word(room: str) -> None:
    refused = []
    for path in sorted((ROOT / room).rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        if where == "governance/verify.py" or "node_modules" in path.parts:
            continue  # joined from modules that are looked at
        for line, name in identifiers(path):
            refused += [f"{where}:{line} {name}: say {REPLACED[w]}" for w in replaced(name, where)]
    assert refused == []


def commands() -> Iterator[str]:
    from typer.main import get_command

    from api.cli.root import app

    def names_of(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield from (option.lstrip("-") for option in parameter.opts)
        for name, below in getattr(command, "commands", {}).items():
            yield name
            yield from names_of(below)

    yield from names_of(get_command(app))


def api_names() -> Iterator[str]:
    from api.app import describe_api

    document = describe_api()
    for path, operations in document["paths"].items():
        yield path
        for operation in operations.values():
            yield operation["operationId"]
            yield from (parameter["name"] for parameter in operation.get("parameters", []))
    for name, schema in document["components"]["schemas"].items():
        yield name
        yield from schema.get("properties", {})


def result_keys() -> Iterator[str]:
    """Keys of the demo's report and of a run's parameters."""

    def keys(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from value.get("properties", {}) if "properties" in value else ()
            for part in value.values():
                yield from keys(part)
        elif isinstance(value, list):
            for part in value:
                yield from keys(part)

    for name in ("api/demo/report-schema.json", "analytics/params-schema.json"):
        yield from keys(json.loads((ROOT / name).read_text("utf-8")))


def headings() -> Iterator[str]:
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        if path.name not in ("CHANGELOG.md", "THIRD_PARTY.md") and "decisions" not in path.parts:
            yield from re.findall(r"(?m)^#+ (.+)$", path.read_text("utf-8"))


TEMPLATES = ROOT / "api" / "pages" / "templates"


def page_words() -> Iterator[str]:
    """What pages call things: the texts of headings, buttons, labels and links, and the names of
    parts and classes; the sentences between them are plain English.
    """
    for path in sorted(TEMPLATES.glob("*.html")):
        text = path.read_text("utf-8")
        yield path.stem
        for inner in re.findall(
            r"(?s)<(?:h[1-6]|button|label|legend|summary|th|dt|title|a)\b[^>]*>(.*?)</", text
        ):
            yield re.sub(r"(?s)\{[{%].*?[%}]\}|<[^>]*>", " ", inner)
        for value in re.findall(r'\s(?:class|id)="([^"]*)"', text):
            yield re.sub(r"\{[{%].*?[%}]\}", " ", value)
        yield from re.findall(r"\{%-? (?:set|macro|for) ([\w, ]+?)(?: in |\(| =| %)", text)


def script_names() -> Iterator[str]:
    """Declared names of the script that signs in a browser: of values, functions and parameters."""
    for path in sorted((ROOT / "web").glob("*.js")):
        text = re.sub(r"(?s)/\*.*?\*/|//[^\n]*", "", path.read_text("utf-8"))
        yield path.stem
        yield from re.findall(r"\b(?:const|let|var|function|class)\s+\*?\s*([\w$]+)", text)
        for names in re.findall(
            r"\bfunction\s*[\w$]*\(([^)]*)\)|\(([^()]*)\)\s*=>|\b([\w$]+)\s*=>", text
        ):
            yield from re.findall(r"[\w$]+", " ".join(names))
        for names in re.findall(r"\b(?:const|let)\s*[\[{]([^\]}]*)[\]}]\s*=", text):
            yield from re.findall(r"[\w$]+", names)


def test_names_of_pages_and_scripts_are_seen() -> None:
    assert {"request", "wallets", "answered", "timer", "chainId"} <= set(script_names())
    assert {"Exactly what is signed", "quoted", "part-form"} <= set(page_words())


@pytest.mark.parametrize(
    "names", [commands, api_names, result_keys, headings, page_words, script_names]
)
def test_no_name_that_people_meet_has_a_replaced_word(names: Any) -> None:
    met = list(names())
    assert len(met) > 20
    # `folds` of a cross-validation and a patient's button are true uses.
    assert [name for name in met if replaced(name, "")] == []


def test_a_replaced_word_is_found_in_every_form() -> None:
    for name in ("door", "open_doors", "OtherDoor", "_law", "chart_of", "one", "_one"):
        assert replaced(name, "api/x.py"), name
    for name in ("folds", "outdoor", "lawful", "layers_in_force", "one_thread"):
        assert not replaced(name, "api/confinement/x.py"), name
