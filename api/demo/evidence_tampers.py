"""Tampering with evidence besides the trail: objects in the bucket, the broker's journal, receipts,
results.

Each change is made on a copy, or undone at once; `word` names the check that must fail. Unchanged
evidence passes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.client.results import Opened, check_output
from api.errors import VerificationFailed
from governance.broker.journal import Journal, JournalBroken
from governance.errors import ObjectAltered, ObjectMissing
from governance.rules.encoding import VerifyError, canonical_json, strict_json
from governance.rules.trail import Replay

Parts = list[bytes]


@dataclass(frozen=True, slots=True)
class EvidenceTamper:
    """`change` gets the evidence's parts and returns tampered ones.

    For the bucket, two objects, the second of which is stored under the first's name, or no part
    for a lost object; for a journal, its lines; a receipt or result has one part.
    """

    name: str
    word: str
    change: Callable[[Parts], Parts]
    receipt: str = ""  # which receipt: grant, stop or run


@dataclass(frozen=True, slots=True)
class Shelf:
    """The evidence.

    `replay` is the trail with its signatures checked; `result` is an opened output's bytes.
    """

    objects: tuple[Path, Path]
    get: Callable[[str], bytes]
    journal: bytes
    receipts: Mapping[str, bytes]
    replay: Replay
    result: bytes
    run: bytes
    attempt: int
    commitment: bytes


def noticed(shelf: Shelf, what: EvidenceTamper) -> tuple[str, str]:
    """(word, reason) of the failed check, ("", "") if all passed."""
    check = {"object": _object, "journal": _journal, "receipt": _receipt, "result": _result}[
        what.word
    ]
    try:
        check(shelf, what)
    except (ObjectAltered, ObjectMissing, JournalBroken, VerifyError, VerificationFailed) as error:
        return what.word, str(error)
    return "", ""


def untouched(word: str, receipt: str = "") -> EvidenceTamper:
    """The same check of unchanged evidence."""
    return EvidenceTamper("nothing", word, lambda parts: parts, receipt)


def inside(opened: Opened) -> bytes:
    """The plaintext of an output's encrypted object."""
    return canonical_json(
        {
            "type": "volens/output/1",
            "salt": opened.salt.hex(),
            "result": opened.result.decode(),
            "disclosure": opened.disclosure.decode(),
        }
    )


def _object(shelf: Shelf, what: EvidenceTamper) -> None:
    """Change the emulator's file, read the object through the bucket's API, and undo the change."""
    path, other = shelf.objects
    before = path.read_bytes()
    parts = what.change([before, other.read_bytes()])
    aside = path.with_suffix(".aside")
    try:
        if parts:
            path.write_bytes(parts[0])
        else:
            path.rename(aside)
        shelf.get(f"o/{path.name}")
    finally:
        if aside.exists():
            aside.rename(path)
        path.write_bytes(before)


def _journal(shelf: Shelf, what: EvidenceTamper) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.jsonl"
        copy.write_bytes(b"".join(line + b"\n" for line in what.change(shelf.journal.splitlines())))
        Journal(copy, lambda digest: digest)


def _receipt(shelf: Shelf, what: EvidenceTamper) -> None:
    shelf.replay.receipt(what.change([shelf.receipts[what.receipt]])[0])


def _result(shelf: Shelf, what: EvidenceTamper) -> None:
    check_output(what.change([shelf.result])[0], shelf.run, shelf.attempt, shelf.commitment)


def _with(**change: Any) -> Callable[[Parts], Parts]:
    """Change values of a JSON object; a function gets the old value."""

    def apply(parts: Parts) -> Parts:
        document: Any = strict_json(parts[0])
        for name, value in change.items():
            document[name] = value(document[name]) if callable(value) else value
        return [canonical_json(document)]

    return apply


def _flip(text: str) -> str:
    """Hex with its first digit changed."""
    return ("0" if text[0] != "0" else "1") + text[1:]


def _never_released(effects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A false outcome for each use."""
    return [
        {**effect, "was": "sealed" if effect["was"] == "released" else "released"}
        for effect in effects
    ]


TABLE = (
    EvidenceTamper(
        "an object's bit flipped", "object", lambda p: [p[0][:-1] + bytes([p[0][-1] ^ 1])]
    ),
    EvidenceTamper("an object cut short", "object", lambda p: [p[0][:-1000]]),
    EvidenceTamper("an object emptied", "object", lambda p: [b""]),
    EvidenceTamper("another object put in its place", "object", lambda p: [p[1]]),
    EvidenceTamper("an object lost", "object", lambda p: []),
    EvidenceTamper(
        "a line of the broker's journal edited", "journal", lambda p: [*_with(key=_flip)(p), *p[1:]]
    ),
    EvidenceTamper("a line of the broker's journal dropped", "journal", lambda p: p[1:]),
    EvidenceTamper(
        "two lines of the broker's journal exchanged", "journal", lambda p: [p[1], p[0], *p[2:]]
    ),
    EvidenceTamper(
        "other terms in a patient's receipt",
        "receipt",
        _with(terms=lambda terms: terms + " "),
        "grant",
    ),
    EvidenceTamper(
        "another consent in a patient's receipt", "receipt", _with(subject=_flip), "grant"
    ),
    EvidenceTamper(
        "another person's signature in a patient's receipt",
        "receipt",
        _with(signature=_flip),
        "grant",
    ),
    EvidenceTamper(
        "another broker's word in a patient's receipt",
        "receipt",
        _with(witness=lambda witness: {**witness, "signature": _flip(witness["signature"])}),
        "grant",
    ),
    EvidenceTamper(
        "what became of her uses, told otherwise", "receipt", _with(effects=_never_released), "stop"
    ),
    EvidenceTamper(
        "fewer people in a run's receipt",
        "receipt",
        _with(granted=lambda granted: granted - 1),
        "run",
    ),
    EvidenceTamper(
        "another output in a run's receipt", "receipt", _with(outputCommitment=_flip), "run"
    ),
    EvidenceTamper("other code in a run's receipt", "receipt", _with(codeHash=_flip), "run"),
    EvidenceTamper("a receipt of another ledger", "receipt", _with(identity=_flip), "run"),
    EvidenceTamper("a released result edited", "result", _with(result=lambda result: result + " ")),
    EvidenceTamper("another salt beside a released result", "result", _with(salt=_flip)),
)
