"""The error messages that a confined child may send, extracted from the code that raises them.

A child's message is matched, not passed on: the sentence from the source code replaces it, with "…"
in place of each value. A value stays only if it belongs to a small known set.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product, zip_longest
from pathlib import Path

import analytics
import analytics.errors
import governance
import governance.errors
from analytics.catalogue import FEATURE_SETS, MODELS

OPEN = "\0"  # marks the position of a removed value
MAX_VALUE = 400  # characters of a value
MAX_MESSAGE = 1000
LEAST_FIXED = 16  # letters that a sentence must have besides its values
_ROOMS = {
    "analytics": Path(str(analytics.__file__)).parent,
    "governance": Path(str(governance.__file__)).parent,
}
# Packages that import their own modules by listing them.
_LISTED = ("analytics.models", "analytics.explanations", "analytics.clusterings")
# Known values in sentences, by the expression in the f-string: models, feature sets, and how many
# statistics one of a million variants may count as.
_CLOSED = {
    "model": MODELS,
    "feature_set": (*FEATURE_SETS, "an assay"),
    "ceil(most)": tuple(map(str, range(1, 100))),
}


class Sentences:
    """The allowed messages: every error message in `files`, and every message that a child sends."""

    def __init__(self, files: Iterable[Path], hints: bool = False, numbers: bool = False) -> None:
        """hints: allow the hints of the errors instead of their messages.

        numbers: keep counts of at most five digits; for a reader who already has the file.
        """
        self._kept = re.compile("[0-9]{1,5}" if numbers else "(?!)")
        texts = {text for file in files for text in _texts_of(file, _closed_values(), hints)}
        self._patterns = [
            (re.compile(f"(.{{1,{MAX_VALUE}}})".join(map(re.escape, text.split(OPEN)))), text)
            for text in sorted(texts, key=lambda text: (text.count(OPEN), text))
        ]

    def find(self, message: object) -> str | None:
        """The known sentence without its values; None for an unknown message."""
        if not isinstance(message, str) or len(message) > MAX_MESSAGE:
            return None
        for pattern, text in self._patterns:
            if match := pattern.fullmatch(message):
                values = [value if self._kept.fullmatch(value) else "…" for value in match.groups()]
                fixed = text.split(OPEN)
                return "".join(map("".join, zip_longest(fixed, values, fillvalue="")))
        return None


def reachable(program: Path) -> set[Path]:
    """A child's program, its imports from governance, and all its imports from analytics."""
    files, unread = {program}, [program]
    while unread:
        file = unread.pop()
        for name in _imports(file):
            room, _, rest = name.partition(".")
            if room == "analytics" or (room == "governance" and file == program):
                path = _ROOMS[room].joinpath(*rest.split("."))
                listed = path.glob("*.py") if name in _LISTED else ()
                new = {*listed, *filter(Path.is_file, [path.with_suffix(".py")])} - files
                files |= new
                unread += new
    return files


@cache
def _closed_values() -> Mapping[str, tuple[str, ...]]:
    """_CLOSED, and the messages of the JSON reader, which other sentences quote."""
    reader = _ROOMS["analytics"] / "canonical.py"
    faults = tuple(
        str(why.value)
        for node in ast.walk(_parse(reader))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Fault"
        for why in node.args
        if isinstance(why, ast.Constant)
    )
    return {**_CLOSED, "refused": (*_texts_of(reader, {}), *faults), "fault.why": faults}


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(_parse(file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _texts_of(
    file: Path, closed: Mapping[str, tuple[str, ...]], hints: bool = False
) -> Iterator[str]:
    """Every sentence of a file: its errors, and the frames with which a child reports a failure."""
    tree = _parse(file)
    closed = {**closed, **_named_texts(tree)}
    errors = _error_names() | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in _error_names() for base in node.bases)
    }
    for node in ast.walk(tree):
        for expression in _hints_of(node, errors) if hints else _messages_of(node, errors):
            for text in _texts(expression, closed):
                fixed = len(text.replace(OPEN, ""))
                if fixed and (OPEN not in text or fixed >= LEAST_FIXED):
                    yield text


def _messages_of(node: ast.AST, errors: set[str]) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[expression, *_]) if name in errors:
            yield expression
        case ast.Call(func=ast.Attribute(value=ast.Call(), attr="__init__"), args=[expression, *_]):
            yield expression  # of super()
        case ast.Call(func=ast.Name(id="_fail"), args=[_, expression, *_]):
            yield expression
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "message":
                    yield value


def _hints_of(node: ast.AST, errors: set[str]) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[_, expression, *_]) if name in errors:
            yield expression
        case ast.Call(func=ast.Name(id="_fail"), args=[_, _, expression]):
            yield expression
        case ast.Assign(targets=[ast.Name(id="hint")], value=expression):
            yield expression


def _named_texts(tree: ast.Module) -> dict[str, tuple[str, ...]]:
    """The texts to which a module gives a name in capitals."""
    return {
        node.targets[0].id: (node.value.value,)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id.isupper()
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def _texts(node: ast.expr, closed: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The possible values of an expression, with OPEN for each unknown part."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [a + b for a, b in product(_texts(left, closed), _texts(right, closed))]
        case ast.JoinedStr(values=parts):
            return ["".join(some) for some in product(*(_texts(part, closed) for part in parts))]
        case ast.Name(id=name) if name.isupper():
            return list(closed.get(name, (OPEN,)))
        case ast.FormattedValue(value=value):
            return list(closed.get(ast.unparse(value), (OPEN,)))
    return [OPEN]


@cache
def _error_names() -> set[str]:
    return {
        name
        for module in (analytics.errors, governance.errors)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())
