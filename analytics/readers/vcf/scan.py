"""Counts a VCF as text and enforces limits, before htslib reads any of it.

htslib allocates memory by the content of a row, not by the file length: every field of every call
as long as the longest, and a definition for every name that the header lacks. So this module limits
the content of rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO

from analytics.errors import PayloadError
from analytics.readers.genotypes import MAX_VARIANTS
from analytics.readers.vcf.header import (
    LEADING_PHASE,
    MAX_HEADER,
    MAX_HEADER_COMMAS,
    MAX_HEADER_LINES,
    autosome,
)
from analytics.readers.vcf.text import read_lines

MAX_INFO = 1_000  # entries of one row
MAX_ALTS = 999  # of one row; a call names alleles with up to three digits
# Per row, from ALTS_FROM on: cohorts have 1 to 2, and each becomes a separate row when packed.
MEAN_ALTS = 4
ALTS_FROM = 10_000
# Contigs, filters, INFO and FORMAT fields of all rows; human references have up to 3,400 contigs.
MAX_NAMES = 5_000
# Bytes of one row's calls, with each field as long as the longest of its kind: twice the longest
# line.
MAX_CALLS = 8 << 20

# A column whose GT is not up to 16 alleles of up to three digits: htslib reads larger numbers
# modulo its word size.
_ALLELE = rb"(?:[0-9]{1,3}|\.)"
_CALL = _ALLELE + rb"(?:[/|]" + _ALLELE + rb"){0,15}(?:[:\t]|$)"
_NO_CALL = re.compile(rb"(?:^|\t)(?!" + _CALL + rb")")
_NO_CALL_4_4 = re.compile(rb"(?:^|\t)(?![/|]?" + _CALL + rb")")  # it may begin with its phase
BASES = re.compile(r"[ACGTN]+")  # alleles that are packed
MAX_REPEATED = 200_000  # variants that occur several times
MAX_REPEATED_TEXT = 16 << 20  # letters of those, or of all at one position


@dataclass(frozen=True, slots=True)
class Scan:
    """The counts of a file's text from the first pass."""

    header: tuple[bytes, ...]  # its lines
    rows: int
    alts: int  # alternatives of all rows
    length: int  # bytes of all rows
    shared: int  # bytes of the columns that every person's file repeats
    digest: bytes
    names: frozenset[bytes]  # contigs, filters, INFO and FORMAT fields that the rows use
    filters: frozenset[bytes]  # of the names
    formats: frozenset[bytes]
    # (contig, position, REF, ALT) that can be packed and occur several times.
    repeated: frozenset[tuple[str, int, str, str]]


def scan_text(file: FileIO) -> Scan:
    """Count everything and check the limits. Raises PayloadError."""
    header = _HeaderLines()
    digest = hashlib.sha256()
    rows = alts = length = shared = 0
    no_call = _NO_CALL
    names, repeated = _Names(), _Repeated()
    for lines in read_lines(file):
        if rows > MAX_VARIANTS:
            break
        digest.update(b"\n".join(lines))
        for line in lines:
            tabs = header.tabs
            if not tabs:
                header.add(line)
                no_call = _NO_CALL_4_4 if LEADING_PHASE.match(header.lines[0]) else _NO_CALL
                continue
            fields = line.split(b"\t", 9)
            if (
                line.count(b"\t") != tabs
                or line.startswith(b"#")
                or not (line.isascii() or _is_plain(fields))
            ):
                raise PayloadError("variant file: a row has not one plain field for each column")
            if tabs >= 9:
                alts += _count_alts(fields[4])
                names.add(fields)
                _check_calls(fields[8], fields[9], tabs - 8, no_call)
                repeated.add(fields)
            rows += 1
            if alts > ALTS_FROM + MEAN_ALTS * rows:
                raise PayloadError(
                    f"variant file: its rows have more than {MEAN_ALTS} alternatives on average",
                    "Take out rows with very many, or split the file by chromosome.",
                )
            length += len(line)
            shared += len(line) - len(fields[-1])
    if not header.tabs or not 0 < rows <= MAX_VARIANTS:
        raise PayloadError(
            f"variant file: it does not have 1 to {MAX_VARIANTS} rows",
            "Split the file by region (for example with bcftools view -r chr22:1-30000000), "
            "or by chromosome if it has several.",
        )
    return Scan(
        tuple(header.lines),
        rows,
        alts,
        length,
        shared,
        digest.digest(),
        frozenset(names.names),
        frozenset(names.filters),
        frozenset(names.formats),
        frozenset(repeated.variants),
    )


def _is_plain(fields: Sequence[bytes]) -> bool:
    """Whether all fields but ID and INFO are ASCII; of those two only ASCII content is kept."""
    return all(field.isascii() for at, field in enumerate(fields) if at not in (2, 7))


class _HeaderLines:
    """The header lines. `tabs`: of the column line, which is the last; 0 before it was read."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.tabs = self._size = self._commas = 0

    def add(self, line: bytes) -> None:
        """Add one line. Raises PayloadError."""
        self.lines.append(line)
        self._size += len(line)
        self._commas += line.count(b",")
        if line.startswith(b"#CHROM") and not line.startswith(b"#CHROM\t"):
            raise PayloadError(
                "variant file: its columns are not separated by tabs",
                "Convert it, for example with bcftools view.",
            )
        many = (
            self._size > MAX_HEADER
            or self._commas > MAX_HEADER_COMMAS
            or len(self.lines) > MAX_HEADER_LINES
        )
        if many or not line.startswith(b"#"):
            raise PayloadError("variant file: it has no VCF header, or one that is too long")
        self.tabs = line.count(b"\t") if line.startswith(b"#CHROM\t") else 0


class _Names:
    """Names used in rows; htslib adds undefined ones to its header and searches it each time."""

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self.filters: set[bytes] = set()
        self.formats: set[bytes] = set()
        self._texts: set[tuple[bytes, bytes]] = set()  # of FILTER and FORMAT, as written in rows

    def add(self, fields: list[bytes]) -> None:
        """The columns of one row. Raises PayloadError."""
        info = fields[7].split(b";", MAX_INFO)
        if len(info) > MAX_INFO:
            raise PayloadError(f"variant file: a row has more than {MAX_INFO} entries of INFO")
        self.names.add(fields[0])
        self.names.update([entry.partition(b"=")[0] for entry in info])
        for text, sign, kind in (
            (fields[6], b";", self.filters),
            (fields[8], b":", self.formats),
        ):
            if (text, sign) not in self._texts:
                self._texts.add((text, sign))
                kind.update(text.split(sign, MAX_NAMES + 1))
                self.names.update(kind)
        if len(self.names) > MAX_NAMES:
            raise PayloadError(
                f"variant file: its rows name more than {MAX_NAMES} contigs, filters and fields"
            )


class _Repeated:
    """Packable variants that occur several times, in one row or in consecutive rows."""

    def __init__(self) -> None:
        self.variants: set[tuple[str, int, str, str]] = set()
        self._contig = self._position = b""
        self._first: list[bytes] = []  # the first row at this position, until there is a second
        self._here: set[tuple[str, str]] = set()
        # REF and ALT of rows at this position without a new variant.
        self._twice: set[tuple[bytes, bytes]] = set()
        self._length = self._repeated_length = 0

    def add(self, fields: list[bytes]) -> None:
        """The columns of one row. Raises PayloadError."""
        if fields[1] != self._position or fields[0] != self._contig:
            self._contig, self._position, self._first, self._length = (
                fields[0],
                fields[1],
                fields,
                0,
            )
            if self._here:
                self._here.clear()
                self._twice.clear()
            if b"," in fields[4]:
                self._note(fields)
                self._first = []
            return
        if self._first:
            self._note(self._first)
            self._first = []
        if (fields[3], fields[4]) not in self._twice:
            self._note(fields)

    def _note(self, fields: list[bytes]) -> None:
        contig, number, ref = fields[0].decode(), fields[1], fields[3].decode().upper()
        gt = fields[8].partition(b":")[0] == b"GT"
        if not gt or not autosome(contig) or not number.isdigit() or len(number) > 10:
            return
        if not BASES.fullmatch(ref):
            return
        new = False
        for alt in fields[4].decode().upper().split(","):
            if not BASES.fullmatch(alt):
                continue
            if (ref, alt) in self._here:
                self.variants.add((contig, int(number), ref, alt))
                self._repeated_length += len(ref) + len(alt)
            else:
                new = True
                self._here.add((ref, alt))
                self._length += len(ref) + len(alt)
        if not new:
            self._twice.add((fields[3], fields[4]))
        if (
            len(self.variants) > MAX_REPEATED
            or max(self._length, self._repeated_length) > MAX_REPEATED_TEXT
        ):
            raise PayloadError(
                "variant file: too many of its variants occur several times",
                "Remove duplicates, for example with bcftools norm --rm-dup exact.",
            )


def _count_alts(text: bytes) -> int:
    alts = text.count(b",") + 1
    if alts > MAX_ALTS:
        raise PayloadError(f"variant file: a row has more than {MAX_ALTS} alternatives")
    return alts


def _check_calls(form: bytes, calls: bytes, people: int, no_call: re.Pattern[bytes]) -> None:
    """The calls of one row, each with the fields of FORMAT (`form`). Raises PayloadError."""
    fields = form.count(b":") + 1
    if (form == b"GT" or form.startswith(b"GT:")) and no_call.search(calls):
        raise PayloadError("variant file: a genotype is not written as VCF has it")
    # An upper bound: the other calls take at least 2 bytes each.
    if fields * people * (len(calls) - 2 * people) <= MAX_CALLS:
        return
    columns = calls.split(b"\t")
    if fields * people * max(map(len, columns)) <= MAX_CALLS:
        return
    widths = [0] * fields
    for column in columns:
        for number, field in enumerate(column.split(b":", fields)[:fields]):
            widths[number] = max(widths[number], len(field))
    if people * sum(widths) > MAX_CALLS:
        raise PayloadError(
            "variant file: a call is too long for a row of so many people",
            "Split the file by people.",
        )
