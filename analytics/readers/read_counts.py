"""Tables of read counts (RNA sequencing) as expression: TPM or RPKM, by the lengths of the genes.

Counts: tab-separated, the first line `gene` and the subjects' ids, then a line for each gene with
its name and a whole number for each subject. Lengths: `gene` and `length`, in base pairs; a gene
without one is refused, since TPM of a person depends on all of hers. Values of a record are log2(x
+ 1), as its format wants, with four decimals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.errors import PayloadError
from analytics.readers.expression import MAX_PROBES, write_expression

Floats = NDArray[np.float64]
LONGEST_GENE = 10_000_000  # base pairs
_COUNT = "[0-9]{1,12}"
_LENGTH = re.compile(r"[1-9][0-9]{0,7}(?:\.[0-9]{1,6})?")
_GENE = re.compile(r"[A-Za-z0-9_.\-/]{1,64}")
_SUBJECT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """counts: (genes, subjects)."""

    genes: tuple[str, ...]
    subjects: tuple[str, ...]
    counts: Floats


def to_tpm(counts: Floats, lengths: Floats) -> Floats:
    """Transcripts per million of each column (Wagner, Kin & Lynch 2012, Theory Biosci 131:281):
    counts by length, as a share of their sum; each person's sum to a million. counts: (genes, n),
    lengths: (genes,)."""
    rates = counts / lengths[:, None]
    tpm: Floats = 1e6 * rates / rates.sum(axis=0)
    return tpm


def to_rpkm(counts: Floats, lengths: Floats) -> Floats:
    """Reads per kilobase of the gene and million reads of the person (Mortazavi et al. 2008, Nat
    Methods 5:621). Unlike TPM, sums differ between people. Shapes as in `to_tpm`."""
    rpkm: Floats = 1e9 * counts / lengths[:, None] / counts.sum(axis=0)
    return rpkm


UNITS: Mapping[str, Callable[[Floats, Floats], Floats]] = {"rpkm": to_rpkm, "tpm": to_tpm}


def read_lengths(table: bytes) -> dict[str, float]:
    """Base pairs by gene. Raises PayloadError, which names a line and no value."""
    heading, *lines = _lines(table, "gene lengths")
    if heading != "gene\tlength":
        raise PayloadError("gene lengths: the first line is not gene and length")
    lengths: dict[str, float] = {}
    for number, line in enumerate(lines, 2):
        gene, _, length = line.partition("\t")
        if not _GENE.fullmatch(gene) or gene in lengths:
            raise PayloadError(f"gene lengths: line {number} has no new gene's name")
        if not _LENGTH.fullmatch(length) or float(length) > LONGEST_GENE:
            raise PayloadError(f"gene lengths: line {number} has no length in base pairs")
        lengths[gene] = float(length)
    if not lengths:
        raise PayloadError("gene lengths: there is no gene")
    return lengths


def read_counts(table: bytes) -> ReadCounts:
    """A table of read counts. Raises PayloadError, which names a line and no value."""
    heading, *lines = _lines(table, "read counts")
    first, *subjects = heading.split("\t")
    if first != "gene" or not subjects or len(set(subjects)) < len(subjects):
        raise PayloadError("read counts: the first line is not gene and each patient's id once")
    if not all(map(_SUBJECT.fullmatch, subjects)):
        raise PayloadError("read counts: the first line has something that is not a patient's id")
    genes, matrix = dict[str, None](), np.empty((len(lines), len(subjects)))
    row = re.compile(rf"{_COUNT}(?:\t{_COUNT}){{{len(subjects) - 1}}}")
    for number, line in enumerate(lines):
        gene, _, counts = line.partition("\t")
        if not _GENE.fullmatch(gene) or gene in genes or len(genes) == MAX_PROBES:
            raise PayloadError(
                f"read counts: line {number + 2} has no new gene's name, or is one of too many",
                f"A record has at most {MAX_PROBES} genes, each once.",
            )
        if not row.fullmatch(counts):
            raise PayloadError(
                f"read counts: line {number + 2} has not a whole number for each patient",
                "Bring the raw counts, not values that are normalised already.",
            )
        genes[gene] = None
        matrix[number] = counts.split("\t")
    if not (matrix.sum(axis=0) > 0).all():
        raise PayloadError("read counts: somebody has no reads at all", "Leave her column out.")
    return ReadCounts(tuple(genes), tuple(subjects), matrix)


def write_records(table: ReadCounts, lengths: Mapping[str, float], unit: str) -> dict[str, bytes]:
    """The expression record of each subject, in TPM or RPKM (`UNITS`). Raises PayloadError."""
    missing = sum(gene not in lengths for gene in table.genes)
    if missing:
        raise PayloadError(
            f"read counts: {missing} genes have no length",
            "Add their lengths, or leave them out of the counts of everybody.",
        )
    values = UNITS[unit](table.counts, np.array([lengths[gene] for gene in table.genes]))
    log2 = np.log2(values + 1)
    return {
        subject: write_expression(
            {gene: f"{value:.4f}" for gene, value in zip(table.genes, column, strict=True)}
        )
        for subject, column in zip(table.subjects, log2.T, strict=True)
    }


def _lines(table: bytes, what: str) -> list[str]:
    """The lines of a table, of which the last may be empty."""
    try:
        text = table.decode("utf-8")
    except UnicodeDecodeError:
        raise PayloadError(f"{what}: it is not UTF-8 text") from None
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")
