"""Converts htslib's calls to packed dosages, and keeps the counts of a file.

A call without exactly two alleles is missing, never homozygous reference: `./.`, `./1`, and one
allele or three on an autosome. So is a call that FT marks as failed (VCF 4.2 §1.4.2). An absent or
unreadable depth or quality stays absent: it is neither zero nor low.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field

import numpy as np
from cyvcf2 import Variant
from numpy.typing import NDArray

from analytics.errors import PayloadError
from analytics.kinship import count_genotypes
from analytics.readers.genotypes import LARGEST, MISSING, NOT_GIVEN

END = -2  # cyvcf2's mark that a call has no more alleles
_LEAST = -(1 << 31) + 8  # htslib's smallest number; smaller values are marks
# FT of a call that passed all filters, or that no filter was applied to.
_PASSED = frozenset({b"PASS", b".", b""})
_INTEGER = re.compile(rb"[+-]?[0-9]{1,10}")
_FLOAT = re.compile(rb"-?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?")
_LARGEST_FLOAT = 3e38  # of 32 bits, about


@dataclass(slots=True)
class VcfReport:
    """Counts of one file, never a name or a value.

    people: those whose records are written; left_out: samples of the file without a named subject.
    skipped: rows that are not in the packed genotypes, by reason (x, y, mt, other-contig,
    position-0, alleles, repeated, no-genotypes); alleles_skipped: ALTs of autosomes that are
    symbolic, `*` or not written in bases;
    repeated: ALTs that are not packed since the same variant occurs several times; missing: calls
    packed as missing, among them half_calls, haploid_calls, polyploid_calls (more than two alleles)
    and failed_calls (two alleles, and FT names a filter that the call did not pass); without_depth
    and without_quality: the other packed calls without DP or GQ; unreadable: QUAL, DP and GQ that
    are not a number or below zero, treated as absent; info_removed and ids_removed: entries and ids
    left out since they are free text; undefined: FORMAT fields and filters that rows use without a
    usable definition in the header;
    build_unsaid: 1 if the header names no genome build. kinship: how far relatives can be told by
    these variants, 0 not at all, 1 copies of a genome, 2 to 4 relatives of the first to third
    degree; copies, first_degree, second_degree, third_degree: pairs of people. sexed: people of
    whom chromosome X tells the sex.
    """

    people: int = 0
    left_out: int = 0
    records: int = 0
    packed_records: int = 0
    packed_rows: int = 0
    multiallelic: int = 0
    alleles_skipped: int = 0
    repeated: int = 0
    half_calls: int = 0
    haploid_calls: int = 0
    polyploid_calls: int = 0
    failed_calls: int = 0
    missing: int = 0
    without_depth: int = 0
    without_quality: int = 0
    unreadable: int = 0
    not_passed: int = 0
    info_removed: int = 0
    ids_removed: int = 0
    undefined: int = 0
    build_unsaid: int = 0
    kinship: int = 0
    copies: int = 0
    first_degree: int = 0
    second_degree: int = 0
    third_degree: int = 0
    sexed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The counts as JSON: integers, and one object of integers."""
        return asdict(self)

    def clear(self, row: Row, name: bytes, is_float: bool) -> list[int]:
        """Replace values that are not numbers by a dot and count them; returns their columns."""
        if name not in row.keys:
            return []
        index = row.keys.index(name)
        cleared = []
        for i, call in enumerate(row.calls):
            given = call.split(b":")
            if (
                len(given) > index
                and given[index] != b"."
                and not _is_number(given[index], is_float)
            ):
                given[index] = b"."
                row.calls[i] = b":".join(given)
                cleared.append(i)
        self.unreadable += len(cleared)
        return cleared


@dataclass(frozen=True, slots=True)
class Row:
    """site: contig, position, REF and ALTs; shared: the nine columns that every person's file
    repeats; keys: the fields of FORMAT; calls: text of all people whose records are written, in
    which invalid numbers become dots; packed: numbers of the packed ALTs."""

    site: tuple[str, int, str, list[str]]
    shared: bytes
    keys: list[bytes]
    calls: list[bytes]
    packed: list[int]


class Calls:
    """htslib's unchanged calls of the packed rows of one block, for all people to write."""

    def __init__(self, people: int, float_quality: bool, report: VcfReport) -> None:
        """report: its count of unreadable values grows as rows are added, the others in `pack`."""
        self._people = people
        self._float_quality = float_quality
        self._report = report
        self._none = np.full((people, 1), np.nan, np.float32)
        self._genotypes: list[NDArray[np.int16]] = []
        self._depth: list[NDArray[np.float32]] = []
        self._quality: list[NDArray[np.float32]] = []
        self._polyploid = self._failed = self._below = 0
        self.packed: list[tuple[int, int]] = []  # (row, number of the ALT) of each packed row

    def add(self, record: Variant, row: Row) -> None:
        """Add a record with a packed ALT. Raises PayloadError."""
        try:
            genotypes = record.genotype.array()[:, :-1]  # the last column is the phase
            # htslib is asked only for the fields of the row, since an undefined field is an error
            # there.
            depth, quality = (
                record.format(name.decode()) if name in row.keys else None
                for name in (b"DP", b"GQ")
            )
        except Exception:  # cyvcf2 raises bare exceptions
            raise PayloadError("variant file: the genotypes of a row cannot be read") from None
        if genotypes.shape[0] != self._people:
            raise PayloadError("variant file: the genotypes of a row cannot be read")
        if genotypes.max() > len(row.site[3]):
            raise PayloadError("variant file: a call names an allele that its row does not have")
        two = genotypes
        if genotypes.shape[1] != 2:
            two = np.full((self._people, 2), END, np.int16)
            two[:, : genotypes.shape[1]] = genotypes[:, :2]
            more = (genotypes[:, 2:] != END).any(axis=1)
            two[more] = MISSING
            self._polyploid += int(more.sum())
        if b"FT" in row.keys:
            failed = _failed(row) & (two >= 0).all(axis=1)
            two = np.where(failed[:, None], np.int16(MISSING), two)
            self._failed += int(failed.sum())
        self.packed += [(len(self._genotypes), number) for number in row.packed]
        self._genotypes.append(two)
        self._depth.append(self._numbers(depth, row, b"DP", False))
        self._quality.append(self._numbers(quality, row, b"GQ", self._float_quality))

    def _numbers(
        self, values: NDArray[np.int32 | np.float32] | None, row: Row, name: bytes, is_float: bool
    ) -> NDArray[np.float32]:
        """Depths or qualities of one row, NaN if there is none.

        htslib reads a number that is too large as missing, and several numbers as the first one, so
        in these cases the text is checked.
        """
        if values is None:
            return self._none
        if values.dtype.kind not in "if":
            raise PayloadError("variant file: the genotypes of a row cannot be read")
        if values.shape[1] == 1 and values.min() >= 0 and values.max() < np.inf:  # most rows
            return values.astype(np.float32)
        first = values[:, 0]
        numbers = first.astype(np.float32)
        if first.dtype.kind == "i":
            numbers[first < _LEAST] = np.nan
        if values.shape[1] > 1 or not np.isfinite(numbers).all():
            numbers[self._report.clear(row, name, is_float)] = np.nan
        below = numbers < 0
        numbers[below] = np.nan
        self._below += int(below.sum())
        return numbers[:, None]

    def pack(self, people: slice) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(3, packed rows, people): dosage + 1, depth, quality; and (3, packed rows): how many of
        all people have 0, 1 and 2 copies. All people are counted."""
        report = self._report
        genotypes = np.stack(self._genotypes)
        first, second = genotypes[..., 0], genotypes[..., 1]
        missing = (first < 0) | (second < 0)
        row, number = np.array(self.packed).T
        report.polyploid_calls += self._polyploid
        report.failed_calls += self._failed
        report.unreadable += self._below
        report.haploid_calls += int(((first >= 0) & (second == END)).sum())
        report.half_calls += int(
            (((first >= 0) & (second == MISSING)) | ((first == MISSING) & (second >= 0))).sum()
        )
        report.missing += int(missing[row].sum())
        depth, quality = (
            _bytes(np.stack(values)[row][..., 0]) for values in (self._depth, self._quality)
        )
        called = ~missing[row]
        report.without_depth += int((called & (depth == NOT_GIVEN)).sum())
        report.without_quality += int((called & (quality == NOT_GIVEN)).sum())
        wanted = number[:, None]
        copies = (first[row] == wanted).astype(np.int8) + (second[row] == wanted)
        dosage = np.where(missing[row], np.int8(MISSING), copies)
        planes = [(dosage[:, people] + 1).astype(np.uint8), depth[:, people], quality[:, people]]
        return np.stack(planes), count_genotypes(dosage.T)


def _failed(row: Row) -> NDArray[np.bool_]:
    """Whether FT names a filter, for each call; from the text, since it may have any type."""
    index = row.keys.index(b"FT")
    return np.array(
        [
            len(given) > index and given[index] not in _PASSED
            for given in (call.split(b":", index + 1) for call in row.calls)
        ]
    )


def _is_number(text: bytes, is_float: bool) -> bool:
    if is_float:
        return _FLOAT.fullmatch(text) is not None and abs(float(text)) <= _LARGEST_FLOAT
    return _INTEGER.fullmatch(text) is not None and _LEAST <= int(text) < 1 << 31


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Whole numbers 0 to LARGEST, and NOT_GIVEN for NaN."""
    rounded = np.clip(np.nan_to_num(values, nan=0), 0, LARGEST).astype(np.uint8)
    return np.where(np.isnan(values), np.uint8(NOT_GIVEN), rounded)
