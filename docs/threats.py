"""docs/threats.md from docs/threats.toml: threat, control, tests. Each named test must exist in its file."""

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
_ROWS_ELSEWHERE = (
    "api/demo/attacks",
    "api/demo/tampers.py",
    "tests/removals.py",
)  # tables whose rows are named by [what] too


def missing(source: Path = SOURCE) -> list[str]:
    """A sentence for each entry that proves nothing: no test, a test that is not there, an id named twice."""
    entries = tomllib.loads(source.read_text(encoding="utf-8"))
    ids = [entry["id"] for entry in entries["threat"]]
    found = [
        f"threat {name} stands twice in {source.name}"
        for name in sorted({i for i in ids if ids.count(i) > 1})
    ]
    for entry in entries["threat"]:
        if not entry["tests"]:
            found.append(f"threat {entry['id']} names no test in {source.name}")
        found += [
            f"threat {entry['id']} names a test that does not exist: {test}"
            for test in entry["tests"]
            if not _exists(test)
        ]
    return found


def write() -> list[str]:
    """The lines of docs/threats.md."""
    entries = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    lines = [
        "# Threats",
        "",
        "What may go wrong, what stands against it, and the tests that prove it. A test in this index exists, or",
        "`make check` fails; run one by its name: `.venv/bin/python -m pytest TEST`. What is not defended stands last.",
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
    """A test's name as pytest takes it; a row of a table in words after it."""
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
    """The test functions of a file, and the texts and names in it that may be a row's name."""
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
    for name in _ROWS_ELSEWHERE:
        place = ROOT / name
        paths = sorted(place.glob("*.py")) if place.is_dir() else [place]
        yield from (path.relative_to(ROOT).as_posix() for path in paths if path.is_file())
