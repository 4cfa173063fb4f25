"""Generates docs/threats.md from docs/threats.toml: threat, control, tests. Each named test must
exist.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "threats.toml"
GROUPS = {
    "R": "By role",
    "L": "Ledger and signatures",
    "K": "Keys and ciphertext",
    "I": "Inputs, web and running",
}
_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)(?:\[(.+)\])?")
# Tables whose rows may be named in brackets, too.
_TABLES = ("api/demo/attacks", "api/demo/tampers.py", "tests/removals.py")


def missing(source: Path = SOURCE) -> list[str]:
    """A sentence for each invalid entry: no test, a test that does not exist, a repeated id."""
    entries = tomllib.loads(source.read_text(encoding="utf-8"))
    ids = [entry["id"] for entry in entries["threat"]]
    faults = [
        f"threat {name} stands twice in {source.name}"
        for name in sorted({i for i in ids if ids.count(i) > 1})
    ]
    for entry in entries["threat"]:
        if not entry["tests"]:
            faults.append(f"threat {entry['id']} names no test in {source.name}")
        faults += [
            f"threat {entry['id']} names a test that does not exist: {test}"
            for test in entry["tests"]
            if not _exists(test)
        ]
    return faults


def write() -> list[str]:
    """The lines of docs/threats.md."""
    entries = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    lines = [
        "# Threats",
        "",
        "Threats, the controls against them, and the tests that prove the controls. Every test in",
        "this index exists, or `make check` fails; run one by its name:",
        "`.venv/bin/python -m pytest TEST`. Threats without a control are at the end.",
    ]
    for letter, title in GROUPS.items():
        lines += ["", f"## {title}", "", "| | threat | control | tests |", "|---|---|---|---|"]
        for entry in entries["threat"]:
            if entry["id"].startswith(letter):
                tests = "<br>".join(map(_shown, entry["tests"]))
                lines.append(
                    f"| {entry['id']} | {entry['threat']} | {entry['control']} | {tests} |"
                )
    lines += [
        "",
        "## Not yet",
        "",
        "| | threat | why, and what holds until then |",
        "|---|---|---|",
    ]
    return [
        *lines,
        *(
            f"| {entry['id']} | {entry['threat']} | {entry['why']} |"
            for entry in entries["not_yet"]
        ),
    ]


def _shown(test: str) -> str:
    """A test's name as pytest takes it, with the row of its table in words after it."""
    plain, _, row = test.partition("[")
    return f"`{plain}`" + (f" ({row.removesuffix(']')})" if row else "")


def _exists(test: str) -> bool:
    match = _TEST.fullmatch(test)
    if match is None or not (ROOT / match[1]).is_file():
        return False
    functions, texts = _contents(match[1])
    return (
        match[2].startswith("test_")
        and match[2] in functions
        and (
            match[3] is None
            or match[3] in texts
            or any(match[3] in _contents(name)[1] for name in _tables())
        )
    )


@cache
def _contents(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """The test functions of a file, and all texts and names in it, which may name a row."""
    tree = list(ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))))
    functions = frozenset(
        node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    texts = frozenset(
        node.value
        for node in tree
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return functions, functions | texts


def _tables() -> Iterator[str]:
    for name in _TABLES:
        path = ROOT / name
        paths = sorted(path.glob("*.py")) if path.is_dir() else [path]
        yield from (file.relative_to(ROOT).as_posix() for file in paths if file.is_file())
