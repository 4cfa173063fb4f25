"""Snapshots of the dev chain's state on disk, so that a restart replays only the end of the
journal.

A snapshot is named after its position in the journal and the sha256 of its bytes, and is written
atomically. It is trusted only after a later journaled write gave the recorded block on top of it:
the hash of a block covers the complete state, so a snapshot without a later write is not used. The
journal alone is enough; snapshots only save time.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PART = 1 << 20  # bytes of a state that are unpacked at once
_GZIP = 31  # zlib's window bits for gzip
GENERATIONS = 2  # the newest may lack a later write, or be damaged
_NAME = re.compile(r"state-(\d{10})-([0-9a-f]{64})\.json")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after the first `writes` of the journal."""

    writes: int
    path: Path


class Snapshots:
    """The newest states in one folder; one process at a time (by the journal's lock)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unfinished.unlink(missing_ok=True)

    def save(self, writes: int, dump: Iterable[bytes]) -> None:
        """Saves the result of `anvil_dumpState` (gzip, in parts) after so many journaled writes,
        not through memory.

        Raises OSError.
        """
        unpacking, digest = zlib.decompressobj(wbits=_GZIP), hashlib.sha256()
        with self._unfinished.open("wb") as file:
            try:
                for packed in dump:
                    while packed:
                        part = unpacking.decompress(packed, PART)
                        packed = unpacking.unconsumed_tail
                        digest.update(part)
                        file.write(part)
            except zlib.error:
                raise OSError("the node's dump cannot be read") from None
            if not unpacking.eof:
                raise OSError("the node's dump ends too early")
            file.flush()
            os.fsync(file.fileno())
        self._unfinished.rename(self._folder / f"state-{writes:010}-{digest.hexdigest()}.json")
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)
        for old in self._all()[GENERATIONS:]:
            old.path.unlink()

    def before(self, writes: int) -> Iterator[Snapshot]:
        """Undamaged ones that at least one of so many journaled writes comes after, newest first."""
        for snapshot in self._all():
            if (
                snapshot.writes < writes
                and _digest(snapshot.path) == snapshot.path.stem.rsplit("-", 1)[1]
            ):
                yield snapshot

    @property
    def _unfinished(self) -> Path:
        return self._folder / "state.unfinished"

    def _all(self) -> list[Snapshot]:
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        snapshots = [Snapshot(int(name[1]), self._folder / name[0]) for name in names if name]
        return sorted(snapshots, key=lambda snapshot: snapshot.writes, reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
