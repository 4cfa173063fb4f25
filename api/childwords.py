"""What a computing child may say in clear while it holds plaintext: steps, sentences and figures that this code knows.

A confined child has one way out, its pipe. What it says there is kept and shown to anybody who may see the run, so
nothing of its own choosing is believed: a step is one of a list, a sentence is one that stands in the code, a figure is
a number of few digits. The output itself leaves encrypted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import analytics
import governance
from analytics.catalogue import LAYERS, MODELS

UNKNOWN = "the computation said something that it may not say; tell whoever keeps the models"
STEPS = frozenset(
    {"decrypted", "read", "compute", "components", "scan", "count", "filter", "disclose"}
) | {
    f"{phase}:{model}/{layer}"
    for phase in ("evaluate", "permute")
    for model in MODELS
    for layer in LAYERS
}
PHASES = frozenset({"decrypt", "parse", "compute", "disclosure", "seal"})
MAX_BYTES = 1 << 50  # of memory
MAX_CLASS = 1 << 32  # the ledger's width of a class, and of a number of statistics
_SECONDS = re.compile(r"[0-9]{1,7}\.[0-9]{4}")
_NAMES = {  # of a device, as torch gives it
    "cpu": re.compile(r"[A-Z0-9 ]{2,12}"),
    "cuda": re.compile(r"[A-Za-z0-9 ._-]{2,40}"),
}
_BLANK = "[A-Za-z0-9.,:/_-]{0,24}"  # what a sentence of the code leaves open: a model, a number
LEAST_FIXED = 24  # letters of a sentence that are not left open: mere blanks are none


class UnknownWords(Exception):
    """A child said something that no honest one says."""


def progress_of(said: Mapping[str, Any]) -> tuple[str, float]:
    """(step, fraction) of a child's word about its progress. Raises UnknownWords."""
    step, fraction = said.get("step"), said.get("fraction")
    if (
        not isinstance(step, str)
        or step not in STEPS
        or not isinstance(fraction, int | float)
        or not 0 <= fraction <= 1
    ):
        raise UnknownWords
    return step, round(float(fraction), 2)


def failure_of(said: Mapping[str, Any]) -> str:
    """The sentence by which a child ends. Raises UnknownWords for one that stands nowhere in the code."""
    message = said.get("message")
    if not isinstance(message, str) or not any(one.fullmatch(message) for one in _sentences()):
        raise UnknownWords
    return message


def output_of(said: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
    """What a child says of its sealed output `blob`. Raises UnknownWords."""
    hashes = ("outputCommitment", "ciphertextHash", "keyCommitment", "disclosureCommitment")
    if (
        set(said) != {"say", *hashes, "outputClass", "statistics", "record"}
        or not all(re.fullmatch("[0-9a-f]{64}", str(said[name])) for name in hashes)
        or said["ciphertextHash"] != sha256(blob).hexdigest()
        or not all(
            type(said[name]) is int and 0 <= said[name] < MAX_CLASS
            for name in ("outputClass", "statistics")
        )
    ):
        raise UnknownWords
    return {**said, "record": record_of(said["record"])}


def record_of(record: object) -> dict[str, Any]:
    """The run record: device, its name, the most memory, seconds by phase. Raises UnknownWords."""
    if not isinstance(record, dict):
        raise UnknownWords
    known = {"device", "name", "peak_bytes", "peakMemory", "seconds"}
    name = _NAMES.get(str(record.get("device")))
    numbers = [record[one] for one in ("peak_bytes", "peakMemory") if one in record]
    seconds = record.get("seconds")
    if (
        not set(record) <= known
        or name is None
        or not name.fullmatch(str(record.get("name")))
        or not all(type(one) is int and 0 <= one < MAX_BYTES for one in numbers)
        or not isinstance(seconds, dict)
        or not set(seconds) <= PHASES
        or not all(_SECONDS.fullmatch(str(one)) for one in seconds.values())
    ):
        raise UnknownWords
    return record


@cache
def _sentences() -> tuple[re.Pattern[str], ...]:
    """Every text of several words in the code that a child runs, with blanks where it puts a value."""
    files = [Path(__file__).with_name("child.py")]
    for package in (analytics, governance):
        files += Path(str(package.__file__)).parent.rglob("*.py")
    found: set[str] = set()
    for file in files:
        found.update(_texts(ast.parse(file.read_bytes())))
    return tuple(re.compile(one) for one in sorted(found))


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else _BLANK
                for part in node.values
            ]
            fixed = sum(len(part) for part in parts if part != _BLANK)
            if fixed >= LEAST_FIXED:
                yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield re.escape(node.value)
