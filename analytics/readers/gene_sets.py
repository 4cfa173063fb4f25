"""Gene sets in the GMT format of MSigDB: a line for each set, tab-separated: its name, a
description (not read), and its genes (Liberzon et al. 2011, Bioinformatics 27:1739).

Other places write the same format with names of their own: g:Profiler `GO:0007049`, Enrichr `Cell
Cycle (GO:0007049)`, the Bader lab `CELL CYCLE%GOBP%GO:0007049`. A result prints of a set's name
`A-Z a-z 0-9 _ . -` and one `_` for anything else between them. Where that is longer than 80
characters, the longest text of a result, or the same as an earlier set's, it is shortened and ends
in the beginning of the name's hash.

Genes are named as the columns of an expression record, letter for letter; a cell that no such
column could be named by is left out, and of a gene that stands twice the second.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

from analytics.errors import InputsError, PayloadError

MAX_BYTES = 16 * 1024 * 1024
MAX_SETS = 20_000
MAX_GENES = 30_000  # of one set: the roots of the Gene Ontology have nearly all genes
# Measured ones, without which a set is left out: it is to be a mean, no gene's value.
LEAST_GENES = 5
LONGEST = 80
LONGEST_NAME = 500  # in the file
_OTHERS = re.compile(r"[^A-Za-z0-9_.\-]+")
_WEIGHT = re.compile(r",[0-9.]+")  # Enrichr's older files
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
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        name, *rest = line.split("\t")
        genes = [gene for gene in rest[1:] if gene]  # some programs write a tab at the end
        if len(_printable(name)) < 2 or len(name) > LONGEST_NAME:
            raise PayloadError(
                f"gene sets: line {number} does not begin with a set's name",
                "Write GMT: name, description and genes, separated by tabs.",
            )
        if not genes:
            raise PayloadError(f"gene sets: line {number} has no genes")
        if len(genes) > MAX_GENES:
            raise PayloadError(f"gene sets: line {number} has more than {MAX_GENES} genes")
        if name in seen:
            raise PayloadError(f"gene sets: line {number} has the name of an earlier set")
        seen.add(name)
        named = dict.fromkeys(_WEIGHT.sub("", gene) for gene in genes)
        readable = tuple(gene for gene in named if _GENE.fullmatch(gene))
        if not readable:
            raise PayloadError(f"gene sets: line {number} has nothing that is a gene's name")
        sets[_short(name, sets)] = readable
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


def _printable(name: str) -> str:
    return _OTHERS.sub("_", name).strip("_") if _OTHERS.search(name) else name


def _short(name: str, earlier: Collection[str]) -> str:
    """The name as a result prints it."""
    printed = _printable(name)
    if len(printed) <= LONGEST and printed not in earlier:
        return printed
    return f"{printed[:71]}_{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
