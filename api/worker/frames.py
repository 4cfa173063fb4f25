"""Frames between the worker's supervisor and its child: a JSON header and blobs, length-prefixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from analytics.canonical import check_depth
from analytics.errors import JsonRefused

MAX_DEPTH = 32
MAX_HEADER = 16 << 20
MAX_BLOB = 1 << 30


class Readable(Protocol):
    """Returns at most `size` bytes, and none at the end."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """Writes some of the given bytes, and returns how many."""

    def write(self, data: memoryview, /) -> int: ...
    def flush(self) -> None: ...


class PipeClosed(Exception):
    """The other side is gone, or sent an invalid frame."""


def write_frame(stream: Writable, header: Mapping[str, Any], *blobs: bytes) -> None:
    """u32be header length ‖ header ‖ blobs; the header carries the blobs' lengths."""
    data = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    try:
        for part in (len(data).to_bytes(4, "big") + data, *blobs):
            rest = memoryview(part)
            while rest:  # an unbuffered pipe may write only a part
                rest = rest[stream.write(rest) :]
        stream.flush()
    except (BrokenPipeError, ValueError):
        raise PipeClosed("the other side of the pipe is gone") from None


def read_frame(
    stream: Readable, max_header: int = MAX_HEADER
) -> tuple[dict[str, Any], list[bytes]]:
    """The next header and its blobs.

    Raises PipeClosed at the end of the stream and for a header above `max_header`.
    """
    header_size = int.from_bytes(_exactly(stream, 4), "big")
    if header_size > max_header:
        raise PipeClosed("this is no frame")
    try:
        text = _exactly(stream, header_size).decode()
        check_depth(text, MAX_DEPTH)
        header = json.loads(text)
    except (JsonRefused, ValueError):
        raise PipeClosed("this is no frame") from None
    sizes = header.pop("blobs", None) if isinstance(header, dict) else None
    # A negative size would read without limit to the end of the stream.
    if (
        not isinstance(sizes, list)
        or not all(type(size) is int and size >= 0 for size in sizes)
        or sum(sizes) > MAX_BLOB
    ):
        raise PipeClosed("this is no frame")
    return header, [_exactly(stream, length) for length in sizes]


def _exactly(stream: Readable, size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise PipeClosed("the other side of the pipe is gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
