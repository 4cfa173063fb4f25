"""The single-sample VCFs of people, compressed while a cohort's rows are read.

What everybody's file repeats is held once. Rows wait until there are many: a compressor takes 256 KB while it works,
so nobody has one of her own. Each person's parts are one gzip member, as pigz writes it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

WAITING = 8 << 20  # bytes of calls

_LEVEL = 1  # of deflate: three times faster than the default and 10 % larger
_GZIP_START = bytes.fromhex("1f8b08000000000000ff")  # RFC 1952: deflate, no name, no time
_DEFLATE_END = b"\x03\x00"  # an empty last block


class Sources:
    """Texts of `people` persons, in the order of their columns; each begins with `head`."""

    def __init__(self, people: int, head: bytes) -> None:
        self._shared: list[list[bytes]] = []  # by block: what stands before each row's call
        self._calls: list[list[bytes]] = [
            [] for _ in range(people)
        ]  # by block: a person's calls, a line each
        self._waiting = 0
        start = _GZIP_START + _deflated(head)
        self._parts: list[list[bytes]] = [[start] for _ in range(people)]
        self._sums = [(zlib.crc32(head), len(head))] * people  # of the text: CRC 32, length

    def add(self, shared: list[bytes], calls: Sequence[Sequence[bytes]]) -> None:
        """The rows of one block: what all share of each, and each row's calls of these people."""
        self._shared.append(shared)
        self._waiting += sum(map(len, shared))
        for own, column in zip(self._calls, zip(*calls, strict=True), strict=True):
            own.append(b"\n".join(column))
            self._waiting += len(own[-1])
        if self._waiting > WAITING:
            self._compress()

    def take(self, i: int) -> bytes:
        """Person i's file, gzip; after the last row, and once."""
        self._compress()
        crc, length = self._sums[i]
        whole = b"".join(
            (*self._parts[i], _DEFLATE_END, struct.pack("<II", crc, length & 0xFFFFFFFF))
        )
        self._parts[i] = []
        return whole

    def _compress(self) -> None:
        """What waits, of everybody."""
        for i, blocks in enumerate(self._calls if self._shared else ()):
            text = b"".join(
                [
                    place + call + b"\n"
                    for shared, calls in zip(self._shared, blocks, strict=True)
                    for place, call in zip(shared, calls.split(b"\n"), strict=True)
                ]
            )
            crc, length = self._sums[i]
            self._sums[i] = zlib.crc32(text, crc), length + len(text)
            self._parts[i].append(_deflated(text))
            blocks.clear()
        self._shared.clear()
        self._waiting = 0


def _deflated(text: bytes) -> bytes:
    """Whole blocks that end at a byte: such parts may follow one another."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    return compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
