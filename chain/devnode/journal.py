"""The dev chain's journal: every write is on disk before it is sent, and a replay gives the same
blocks.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chain.errors import ChainError

REFUSED = "refused"


class JournalDamaged(ChainError):
    """The journal on disk was not written by this program, or a part of it is missing."""


class JournalInUse(ChainError):
    """Another gateway serves the same folder."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One write: block time in seconds, raw signed transaction as 0x-hex (None: an empty block),
    its outcome.

    The outcome is the block's hash, REFUSED, or None when the process ended before it was known.
    """

    time: int
    raw: str | None
    outcome: str | None


class Journal:
    """An append-only file of JSON lines. Line 1 is the genesis time; then a write and its outcome
    alternate.

    A write is fsynced before `append` returns. Outcomes are not: the next write's fsync carries
    them, and only the very last may be lost, in which case the replay finds it again.
    """

    def __init__(self, path: Path, genesis_time: int) -> None:
        """Opens or creates. `genesis_time` is used for a new file. Raises JournalInUse,
        JournalDamaged.
        """
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise JournalInUse(
                "another gateway already serves this folder", "stop it or name another folder"
            ) from None
        self._drop_torn_line()
        if os.fstat(self._fd).st_size == 0:
            self._write({"genesis_time": genesis_time}, sync=True)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(folder)
            os.close(folder)
        self.genesis_time = self._read_genesis()

    def entries(self) -> Iterator[Entry]:
        """All writes, oldest first. Raises JournalDamaged at the first line that does not fit."""
        pending: tuple[int, str | None] | None = None
        for number, line in self._lines():
            if number == 1:
                continue
            keys = set(line)
            if (
                pending is None
                and keys == {"time", "raw"}
                and isinstance(line["time"], int)
                and isinstance(line["raw"], str | None)
            ):
                pending = (line["time"], line["raw"])
            elif pending is not None and keys == {"outcome"} and isinstance(line["outcome"], str):
                yield Entry(*pending, line["outcome"])
                pending = None
            else:
                raise self._damaged(number)
        if pending is not None:
            yield Entry(*pending, None)

    def append(self, time: int, raw: str | None) -> None:
        """Records a write; on disk when this returns. Raises OSError, then nothing was recorded."""
        self._write({"time": time, "raw": raw}, sync=True)

    def settle(self, outcome: str) -> None:
        """Records the outcome of the last write: a block hash or REFUSED."""
        self._write({"outcome": outcome}, sync=False)

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)

    def _write(self, line: dict[str, object], sync: bool) -> None:
        size = os.fstat(self._fd).st_size
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError("the disk took only a part of the journal line")
            if sync:
                os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def _drop_torn_line(self) -> None:
        """Cuts off a last line without its end: it was never acknowledged and never sent."""
        data = self._path.read_bytes()
        os.ftruncate(self._fd, data.rfind(b"\n") + 1)

    def _lines(self) -> Iterator[tuple[int, dict[str, object]]]:
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = json.loads(raw)
                except ValueError:
                    line = None
                if not isinstance(line, dict):
                    raise self._damaged(number)
                yield number, line

    def _read_genesis(self) -> int:
        _, line = next(self._lines())
        time = line.get("genesis_time")
        if not isinstance(time, int):
            raise self._damaged(1)
        return time

    @staticmethod
    def _damaged(number: int) -> JournalDamaged:
        return JournalDamaged(
            f"line {number} of the ledger's journal cannot be read",
            "restore the folder from a copy, or start a new ledger in an empty folder",
        )
