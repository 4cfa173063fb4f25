"""The broker's journal: a hash chain with a line for every new response that releases a key,
written before it is sent.

A response that is repeated for the same request has its line already.

A line is canonical JSON {seq, prev, kind, run, attempt, tx, block, head, subjects, records, key,
signature}; `prev` is the sha256 of the line before (32 zero bytes first), `signature` the broker's
over the line without it. A response whose line would be longer than MAX_LINE takes several lines:
each has a part of the subjects and records and all other fields, and `part` and `parts` give its
number and their count. All of them are on disk (one write, one fsync) before the response is sent.
At opening, a torn last line and a response with lines missing at the end (a crash while writing)
are cut off: that response was never sent. Anything else that breaks the chain is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from governance.rules.encoding import Malformed, canonical_json, strict_json

MAX_LINE = 1 << 20  # bytes of a line that is written
# Earlier releases wrote a response as one line of any length, and could not read it again. No
# request is longer than 16 MiB (governance/broker/endpoint.py), and a request is longer than its
# line.
MAX_OLD_LINE = 16 << 20
ROOM = 1 << 12  # bytes of a line without its lists: ids, hashes and the signature
_SHARED = ("subjects", "records")  # the lists that are divided among the lines of a response


class JournalBroken(Exception):
    """A line in the journal is not the one that was written."""


class Journal:
    """Appends; the caller holds a lock. After a failed write it takes no line until it is opened
    again.
    """

    def __init__(self, path: Path, sign: Callable[[bytes], bytes]) -> None:
        """Reads the whole chain, one line in memory at a time. Raises JournalBroken."""
        self._sign = sign
        self._failed = False
        self.count, self.head = 0, bytes(32)
        self._open: dict[str, Any] | None = None  # the last line of an incomplete response
        path.touch(mode=0o600, exist_ok=True)
        self._file = path.open("r+b")
        # The end of the last complete response, and the chain there.
        end, count, head = 0, self.count, self.head
        for line in self._complete_lines():
            self._follow(line[:-1])
            if self._open is None:
                end, count, head = self._file.tell(), self.count, self.head
        self._open, self.count, self.head = None, count, head
        self._file.truncate(end)
        self._file.seek(end)

    def append(self, entry: dict[str, Any]) -> int:
        """Write the lines of one response to disk, and return the number of the first."""
        first, count, head, data = self.count, self.count, self.head, b""
        for fields in _divided(entry):
            body = fields | {"seq": count, "prev": head.hex()}
            signature = self._sign(sha256(canonical_json(body)).digest())
            line = canonical_json(body | {"signature": signature.hex()})
            count, head, data = count + 1, sha256(line).digest(), data + line + b"\n"
        if self._failed:
            raise OSError("the journal cannot be written")
        self._failed = True
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._failed = False
        self.count, self.head = count, head
        return first

    def _complete_lines(self) -> Iterator[bytes]:
        """The lines with a line end. Raises JournalBroken for a longer line than any release wrote."""
        while (line := self._file.readline(MAX_OLD_LINE + 1)).endswith(b"\n"):
            yield line
        if len(line) > MAX_OLD_LINE:
            raise self._broken()

    def _follow(self, line: bytes) -> None:
        try:
            entry = strict_json(line, MAX_OLD_LINE)
        except Malformed:
            entry = None
        if (
            not isinstance(entry, dict)
            or entry.get("prev") != self.head.hex()
            or entry.get("seq") != self.count
            or not _continues(self._open, entry)
        ):
            raise self._broken()
        self._open = entry if entry.get("part", 0) < entry.get("parts", 1) - 1 else None
        self.count, self.head = self.count + 1, sha256(line).digest()

    def _broken(self) -> JournalBroken:
        return JournalBroken(f"line {self.count} of the journal is not the one that was written")


def _divided(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The entry as one line, or as several that are each short enough for MAX_LINE."""
    sizes = {name: len(canonical_json(entry.get(name, []))) for name in _SHARED}
    if sum(sizes.values()) + ROOM <= MAX_LINE:
        return [entry]
    # Every item of a list has about the same length (ids and small numbers); half of MAX_LINE for
    # each list.
    parts = max(-(-size // ((MAX_LINE - ROOM) // 2)) for size in sizes.values()) + 1
    shares = [
        {name: _share(entry.get(name, []), number, parts) for name in _SHARED}
        for number in range(parts)
    ]
    return [entry | share | {"part": number, "parts": parts} for number, share in enumerate(shares)]


def _share(items: list[Any], number: int, parts: int) -> list[Any]:
    return items[len(items) * number // parts : len(items) * (number + 1) // parts]


def _continues(before: dict[str, Any] | None, entry: dict[str, Any]) -> bool:
    """Whether a line is the next one of an incomplete response, or starts a response if none is
    incomplete.
    """
    part, parts = entry.get("part", 0), entry.get("parts", 1)
    if type(part) is not int or type(parts) is not int or not 0 <= part < parts:
        return False
    if before is None:
        return part == 0
    line_fields = {*_SHARED, "part", "seq", "prev", "signature"}
    common = {name: value for name, value in entry.items() if name not in line_fields}
    earlier = {name: value for name, value in before.items() if name not in line_fields}
    return bool(part == before["part"] + 1 and common == earlier)
