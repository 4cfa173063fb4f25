"""The broker's journal: one line for every answer that lets a key out, on disk before the answer leaves.

A line is canonical JSON {seq, prev, kind, run, attempt, tx, block, head, subjects, records, key, signature}; `prev` is
the sha256 of the line before (32 zero bytes first), `signature` the broker's over the line without it. A torn last line
(a crash while writing) is cut off at opening: its answer never left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from governance.verify import Malformed, canonical_json, strict_json


class JournalBroken(Exception):
    """A line that stands in the journal is not the one that was written."""


class Journal:
    """Appends; the caller holds a lock. After a failed write it takes no line until it is opened again."""

    def __init__(self, path: Path, sign: Callable[[bytes], bytes]) -> None:
        self._sign = sign
        self._failed = False
        self.count, self.head = 0, bytes(32)
        path.touch(mode=0o600, exist_ok=True)
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].splitlines():
            self._follow(line)
        self._file = path.open("r+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def append(self, entry: dict[str, Any]) -> int:
        """Write one line and return its number, once it is on disk."""
        body = entry | {"seq": self.count, "prev": self.head.hex()}
        signature = self._sign(sha256(canonical_json(body)).digest())
        line = canonical_json(body | {"signature": signature.hex()})
        if self._failed:
            raise OSError("the journal cannot be written")
        self._failed = True
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._failed = False
        self.count, self.head = self.count + 1, sha256(line).digest()
        return self.count - 1

    def _follow(self, line: bytes) -> None:
        try:
            entry = strict_json(line)
        except Malformed:
            entry = None
        if (
            not isinstance(entry, dict)
            or entry.get("prev") != self.head.hex()
            or entry.get("seq") != self.count
        ):
            raise JournalBroken(f"line {self.count} of the journal is not the one that was written")
        self.count, self.head = self.count + 1, sha256(line).digest()
