"""The sentences by which a confined child may end, read out of the code that can raise them.

What a child says is matched and not passed on: the code's own sentence is said in its place, with "…" where it puts a
value. A value stays only where it is one of a few that this code knows.
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

OPEN = "\0"  # where a value stood that is left out
MAX_VALUE = 400  # characters of one
MAX_MESSAGE = 1000
LEAST_FIXED = 16  # letters that a sentence with a value must have besides
_ROOMS = {
    "analytics": Path(str(analytics.__file__)).parent,
    "governance": Path(str(governance.__file__)).parent,
}
# A package that imports its own modules by listing them.
_LISTED = "analytics.models"
# What the code writes into its sentences, by the expression that stands there: models, layers, and how many statistics
# one of a million variants may count as.
_CLOSED = {
    "model": MODELS,
    "feature_set": FEATURE_SETS,
    "ceil(most)": tuple(map(str, range(1, 100))),
}


class Sentences:
    """What may be said: every sentence of an error that `files` make, or handed to the other side of a child's pipe."""

    def __init__(self, files: Iterable[Path], hints: bool = False, numbers: bool = False) -> None:
        """hints: what stands beside the sentences, what to do next, instead of themselves.

        numbers: counts of at most five digits stay; for somebody who has what was read.
        """
        self._kept = re.compile("[0-9]{1,5}" if numbers else "(?!)")
        texts = {text for file in files for text in _texts_of(file, _closed_values(), hints)}
        self._said = [
            (re.compile(f"(.{{1,{MAX_VALUE}}})".join(map(re.escape, text.split(OPEN)))), text)
            for text in sorted(texts, key=lambda text: (text.count(OPEN), text))
        ]

    def find(self, message: object) -> str | None:
        """The code's own sentence, values left out; None for what it does not say."""
        if not isinstance(message, str) or len(message) > MAX_MESSAGE:
            return None
        for pattern, text in self._said:
            if found := pattern.fullmatch(message):
                values = [one if self._kept.fullmatch(one) else "…" for one in found.groups()]
                fixed = text.split(OPEN)
                return "".join(map("".join, zip_longest(fixed, values, fillvalue="")))
        return None


def reachable(program: Path) -> set[Path]:
    """A child's program, what it imports of governance, and of analytics all that this imports in turn."""
    found, unread = {program}, [program]
    while unread:
        file = unread.pop()
        for name in _imports(file):
            room, _, rest = name.partition(".")
            if room == "analytics" or (room == "governance" and file == program):
                place = _ROOMS[room].joinpath(*rest.split("."))
                listed = place.glob("*.py") if name == _LISTED else ()
                new = {*listed, *filter(Path.is_file, [place.with_suffix(".py")])} - found
                found |= new
                unread += new
    return found


@cache
def _closed_values() -> Mapping[str, tuple[str, ...]]:
    """With what the reader of JSON says, which other sentences quote: why it refuses, and where a fault is."""
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
    """Every sentence of a file: of the errors it makes or defines, and of the frames by which a child fails."""
    tree = _parse(file)
    errors = _error_names() | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in _error_names() for base in node.bases)
    }
    for node in ast.walk(tree):
        for said in _hints_of(node, errors) if hints else _said_by(node, errors):
            for text in _texts(said, closed):
                fixed = len(text.replace(OPEN, ""))
                if fixed and (OPEN not in text or fixed >= LEAST_FIXED):
                    yield text


def _said_by(node: ast.AST, errors: set[str]) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[said, *_]) if name in errors:
            yield said
        case ast.Call(func=ast.Attribute(value=ast.Call(), attr="__init__"), args=[said, *_]):
            yield said  # of super()
        case ast.Call(func=ast.Name(id="_fail"), args=[_, said, *_]):
            yield said
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "message":
                    yield value


def _hints_of(node: ast.AST, errors: set[str]) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[_, said, *_]) if name in errors:
            yield said
        case ast.Call(func=ast.Name(id="_fail"), args=[_, _, said]):
            yield said
        case ast.Assign(targets=[ast.Name(id="hint")], value=said):
            yield said


def _texts(node: ast.expr, closed: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What an expression may come to, with OPEN for what is not known."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [a + b for a, b in product(_texts(left, closed), _texts(right, closed))]
        case ast.JoinedStr(values=parts):
            return ["".join(some) for some in product(*(_texts(part, closed) for part in parts))]
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
