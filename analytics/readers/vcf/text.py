"""Reads the lines of a VCF file, plain or gzip, from a descriptor within size limits.

No other code sees the raw bytes before they were counted here. A compressed file of a megabyte can
contain a gigabyte, so every limit is checked during decompression. Data is only in memory, one
block at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import FileIO

from analytics.errors import PayloadError

MAX_TEXT = 8 << 30  # bytes, inflated
MAX_LINE = 4 << 20  # bytes; 2,500 people with 1,000 characters each are 2.5 MB
MAX_RATIO = 300  # a real cohort inflates 10 to 100 times; zeros inflate 1,025 times
BLOCK = 1 << 20  # bytes, inflated; htslib's calls of a block take 20 times as much

_RAW_BLOCK = 1 << 18  # bytes; small, since each bgzip member end copies the rest of a block
_RATIO_FROM = 16 << 20  # bytes: below this a high ratio is harmless
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8
_GZIP = b"\x1f\x8b"
# SAM specification §4.1.2
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def read_lines(file: FileIO) -> Iterator[list[bytes]]:
    """The complete lines of each block of about BLOCK bytes, without line ends.

    Line ends of Windows and a byte order mark before the first line, which the specification does
    not have and editors write, are taken away: neither can be read in two ways. Restores the file
    position between blocks, since another reader may share the descriptor. Raises PayloadError.
    """
    rest = last = b""
    for block in _with_unix_ends(_blocks(_bounded(file))):
        if b"\0" in block:
            raise PayloadError(
                "variant file: it holds a zero byte", "Save it as plain text in UTF-8 or ASCII."
            )
        # Checked before splitting: a megabyte of them would be a million lines.
        if b"\n\n" in block:
            raise PayloadError("variant file: it has an empty line", "Take empty lines out.")
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE or max(map(len, lines), default=0) > MAX_LINE:
            raise PayloadError(
                "variant file: a line is too long", f"The longest allowed has {MAX_LINE} bytes."
            )
        last = lines[-1] if lines else last
        yield lines
    if rest:
        if not _is_complete(rest, last, _read_at(file, 0)[:2] == _GZIP):
            raise _truncated()
        yield [rest]


def _with_unix_ends(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without a byte order mark at their start, and with \\n for each \\r\\n. A carriage
    return elsewhere, where programs read another number of lines, raises PayloadError.
    """
    kept = b""  # a carriage return at the end of a block: its line end may begin the next
    for at, block in enumerate(blocks):
        text = kept + (block if at else block.removeprefix(_BYTE_ORDER_MARK))
        kept = b"\r" if text.endswith(b"\r") else b""
        text = text.removesuffix(kept).replace(b"\r\n", b"\n") if b"\r" in text else text
        if b"\r" in text:
            raise _stray()
        yield text
    if kept:
        raise _stray()


def _is_complete(line: bytes, before: bytes, compressed: bool) -> bool:
    """Whether a last line without a line end is a complete row.

    Compressed data mark their end. Plain text does not: there the row must have as many columns as
    the one before, and its last call as many fields as FORMAT. A row cut within its last value is
    accepted, like a file cut between two rows.
    """
    fields = line.split(b"\t")
    if line.startswith(b"#") or len(fields) < 10 or len(fields) != before.count(b"\t") + 1:
        return False
    return compressed or (
        fields[-1].count(b":") == fields[8].count(b":") and fields[-1][-1:].isalnum()
    )


def _blocks(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join parts (a bgzip member has up to 64 KiB), since each block costs work per person."""
    pending: list[bytes] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= BLOCK:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)


def _bounded(file: FileIO) -> Iterator[bytes]:
    """The text in parts of at most BLOCK bytes. Raises PayloadError beyond a limit."""
    consumed = total = 0
    for part, read in _text(file):
        consumed, total = read, total + len(part)
        if total > MAX_TEXT or (total > _RATIO_FROM and total > MAX_RATIO * consumed):
            raise PayloadError(
                "variant file: it inflates to more than is allowed",
                "Split the file by chromosome or by people.",
            )
        yield part


def _text(file: FileIO) -> Iterator[tuple[bytes, int]]:
    """(part, raw bytes read so far)."""
    offset = 0
    stream = None
    compressed = _read_at(file, 0)[:2] == _GZIP
    if compressed:
        _check_end(file)
    while raw := _read_at(file, offset):
        offset += len(raw)
        if not compressed:
            yield raw, offset
            continue
        while raw:
            stream = stream or zlib.decompressobj(31)  # one for each gzip member
            try:
                part = stream.decompress(raw, BLOCK)
            except zlib.error:
                raise PayloadError(
                    "variant file: the compressed data are damaged", "Copy the file again."
                ) from None
            yield part, offset
            raw = stream.unused_data if stream.eof else stream.unconsumed_tail
            stream = None if stream.eof else stream
    if stream is not None:
        raise _truncated()


def _check_end(file: FileIO) -> None:
    """Check the end mark of bgzip: a file cut between two members inflates without error."""
    start = _read_at(file, 0)[:16]
    if start[3:4] == b"\x04" and start[12:14] == b"BC":
        here = file.tell()
        file.seek(0, 2)
        size = file.tell()
        file.seek(here)
        if _read_at(file, max(0, size - len(_BGZIP_END))) != _BGZIP_END:
            raise _truncated()


def _read_at(file: FileIO, offset: int) -> bytes:
    here = file.tell()
    file.seek(offset)
    raw = file.read(_RAW_BLOCK)
    file.seek(here)
    return raw or b""


def _stray() -> PayloadError:
    return PayloadError(
        "variant file: it holds a carriage return within a line",
        "Convert the line ends to Unix ones.",
    )


def _truncated() -> PayloadError:
    return PayloadError(
        "variant file: it ends in the middle", "Copy the file again; its end is missing."
    )
