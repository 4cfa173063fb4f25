"""Calls as htslib gives them, made into packed dosages; and the counts of a whole file.

A call that is not two alleles is missing, never homozygous reference: `./.`, `./1`, and one allele on an autosome.
A depth or quality that is not given stays so: it is neither zero nor low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from cyvcf2 import Variant
from numpy.typing import NDArray

from analytics.errors import PayloadError
from analytics.readers.genotypes import LARGEST, MISSING, NOT_GIVEN

_END = -2  # cyvcf2's mark that a call has no more alleles
_LEAST = -(1 << 31) + 8  # htslib's smallest number; those below are marks


@dataclass(slots=True)
class VcfReport:
    """Counts of one file, never a name or a value.

    people: those whose records are written; left_out: samples of the file that nobody was named for.
    skipped: rows that are in nobody's packed genotypes, by reason (x, y, mt, other-contig, alleles, no-genotypes);
    alleles_skipped: ALTs of autosomes that are symbolic, `*` or not written in bases; missing: calls packed as missing,
    among them half_calls and haploid_calls; without_depth and without_quality: the other packed calls without DP or GQ;
    info_removed and ids_removed: entries and ids left out since they are free text; undefined: FORMAT fields and
    filters that rows use and the header does not define; build_unsaid: 1 where the header says no genome build.
    """

    people: int = 0
    left_out: int = 0
    records: int = 0
    packed_records: int = 0
    packed_rows: int = 0
    multiallelic: int = 0
    alleles_skipped: int = 0
    half_calls: int = 0
    haploid_calls: int = 0
    missing: int = 0
    without_depth: int = 0
    without_quality: int = 0
    not_passed: int = 0
    info_removed: int = 0
    ids_removed: int = 0
    undefined: int = 0
    build_unsaid: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Integers, and one object of integers."""
        return asdict(self)


class Calls:
    """htslib's calls of the packed rows of one block, for all samples of the file, still as it gave them."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._none = np.full((samples, 1), np.nan, np.float32)
        self._genotypes: list[NDArray[np.int16]] = []
        self._depth: list[NDArray[np.float32]] = []
        self._quality: list[NDArray[np.float32]] = []
        self._alts: list[int] = []
        self.packed: list[tuple[int, int]] = []  # (row, number of the ALT) of each packed row

    def add(self, record: Variant, alts: int, rows: Sequence[int], fields: Sequence[bytes]) -> None:
        """One record with `alts` alternatives, of which `rows` are packed; fields: its columns as text. Raises
        PayloadError."""
        keys = fields[8].split(b":")
        try:
            genotypes = record.genotype.array()
            # htslib is asked for what the row has and for nothing else: what no header defines is an error there.
            depth, quality = (
                record.format(name.decode()) if name in keys else None for name in (b"DP", b"GQ")
            )
        except Exception:  # cyvcf2 raises bare exceptions
            raise PayloadError("variant file: the genotypes of a row cannot be read") from None
        ploidy = genotypes.shape[1] - 1
        if genotypes.shape[0] != self._samples or ploidy > 2:
            raise PayloadError("variant file: a call on an autosome has more than two alleles")
        if ploidy == 1:
            genotypes = np.insert(genotypes, 1, _END, axis=1)
        self.packed += [(len(self._alts), number) for number in rows]
        for name, values in ((b"DP", depth), (b"GQ", quality)):
            if values is not None:
                _check_values(values, keys.index(name), fields[9:])
        self._genotypes.append(genotypes[:, :2])
        self._depth.append(self._none if depth is None else _numbers(depth))
        self._quality.append(self._none if quality is None else _numbers(quality))
        self._alts.append(alts)

    def pack(
        self, report: VcfReport, everybody: NDArray[np.intp], people: slice
    ) -> NDArray[np.uint8]:
        """(3, packed rows, people): dosage + 1, depth, quality. Raises PayloadError.

        everybody: the columns of those whose records are written, all of whom are counted; people: which of them.
        """
        genotypes = np.stack(self._genotypes)
        if np.any(genotypes.max(axis=(1, 2)) > np.array(self._alts)):
            raise PayloadError("variant file: a call names an allele that its row does not have")
        genotypes = genotypes[:, everybody]
        first, second = genotypes[..., 0], genotypes[..., 1]
        missing = (first < 0) | (second < 0)
        row, number = np.array(self.packed).T
        report.haploid_calls += int(((first >= 0) & (second == _END)).sum())
        report.half_calls += int(
            (((first >= 0) & (second == MISSING)) | ((first == MISSING) & (second >= 0))).sum()
        )
        report.missing += int(missing[row].sum())
        depth, quality = (
            _bytes(np.stack(values)[row][:, everybody, 0])
            for values in (self._depth, self._quality)
        )
        called = ~missing[row]
        report.without_depth += int((called & (depth == NOT_GIVEN)).sum())
        report.without_quality += int((called & (quality == NOT_GIVEN)).sum())
        first, second, missing = first[row, people], second[row, people], missing[row, people]
        wanted = number[:, None]
        dosage = np.where(missing, MISSING, (first == wanted).astype(np.int8) + (second == wanted))
        return np.stack([(dosage + 1).astype(np.uint8), depth[:, people], quality[:, people]])


def _check_values(
    values: NDArray[np.int32 | np.float32], place: int, calls: Sequence[bytes]
) -> None:
    """Depths or qualities of one row, and the calls as text, in which they stand at `place`. Raises PayloadError.

    htslib reads what is no number, or too large a one, as missing; and below zero it would be packed as not given.
    """
    if values.dtype.kind not in "if":
        raise _no_number()
    if values.shape[1] == 1 and values.min() >= 0:
        return
    first = values[:, 0]
    absent = np.isnan(first) if first.dtype.kind == "f" else first < _LEAST
    wrong = values.shape[1] > 1 or bool((first[~absent] < 0).any())
    for i in np.flatnonzero(absent).tolist():
        given = calls[i].split(b":", place + 1)
        wrong = wrong or (len(given) > place and given[place] != b".")
    if wrong:
        raise _no_number()


def _no_number() -> PayloadError:
    return PayloadError(
        "variant file: a depth or quality is no number that can be one",
        "Write a dot where there is none.",
    )


def _numbers(values: NDArray[np.int32 | np.float32]) -> NDArray[np.float32]:
    """As numbers that can be absent: htslib marks a missing whole number with a very negative one."""
    found = values.astype(np.float32)
    if values.dtype.kind == "i":
        found[values < _LEAST] = np.nan
    return found


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Whole numbers 0 to LARGEST, and NOT_GIVEN for NaN."""
    whole = np.clip(np.nan_to_num(values, nan=0), 0, LARGEST).astype(np.uint8)
    return np.where(np.isnan(values), np.uint8(NOT_GIVEN), whole)
