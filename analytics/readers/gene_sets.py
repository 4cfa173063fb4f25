"""Gene sets in the GMT format of MSigDB: a line for each set, tab-separated: its name, a
description (not read), and its genes (Liberzon et al. 2011, Bioinformatics 27:1739).

Genes are named as the columns of an expression record, letter for letter. A set's name is 2-200 of
`A-Z a-z 0-9 _ . -`; one of more than 80 characters, the longest text of a result, is shortened to
71 and the beginning of its hash, which keeps it unique.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from analytics.errors import InputsError, PayloadError

MAX_BYTES = 16 * 1024 * 1024
MAX_SETS = 20_000
MAX_GENES = 2_000  # of one set: larger ones say little, and MSigDB's are smaller
# Measured ones, without which a set is left out: it is to be a mean, no gene's value.
LEAST_GENES = 5
LONGEST = 80
_NAME = re.compile(r"[A-Za-z0-9_.\-]{2,200}")
_GENE = re.compile(r"[A-Za-z0-9_.\-/]{1,64}")

GeneSets = Mapping[str, tuple[str, ...]]


def read_gene_sets(file: bytes) -> GeneSets:
    """The genes of each set, in the file's order. Raises PayloadError, which names a line."""
    if len(file) > MAX_BYTES:
        raise PayloadError(f"gene sets: the file is larger than {MAX_BYTES} bytes")
    try:
        lines = file.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise PayloadError("gene sets: the file is not UTF-8 text") from None
    if len(lines) > MAX_SETS:
        raise PayloadError(f"gene sets: there are more than {MAX_SETS} sets")
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        name, *rest = line.split("\t")
        genes = [gene for gene in rest[1:] if gene]  # some programs write a tab at the end
        if not _NAME.fullmatch(name):
            raise PayloadError(
                f"gene sets: line {number} does not begin with a set's name",
                "Write GMT: name, description and genes, separated by tabs.",
            )
        if not genes:
            raise PayloadError(f"gene sets: line {number} has no genes")
        if len(genes) > MAX_GENES:
            raise PayloadError(f"gene sets: line {number} has more than {MAX_GENES} genes")
        if len(set(genes)) < len(genes):
            raise PayloadError(f"gene sets: line {number} names a gene twice")
        if not all(map(_GENE.fullmatch, genes)):
            raise PayloadError(f"gene sets: line {number} has something that is no gene's name")
        if _short(name) in sets:
            raise PayloadError(f"gene sets: line {number} has the name of an earlier set")
        sets[_short(name)] = tuple(genes)
    return sets


def check_gene_sets(file: bytes, digest: str) -> GeneSets:
    """The sets of the file that a run's parameters name by its sha256. Raises InputsError,
    PayloadError."""
    if hashlib.sha256(file).hexdigest() != digest:
        raise InputsError(
            "the gene sets are not those that the parameters name",
            "Name the sha256 that the dataset's page shows.",
        )
    return read_gene_sets(file)


def _short(name: str) -> str:
    """The name as a result prints it."""
    if len(name) <= LONGEST:
        return name
    return f"{name[:71]}_{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
