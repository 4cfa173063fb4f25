"""The variants of DPYD in CPIC's table: their names, and how they are recognised."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.canonical import load_strict

# Of HapB3: c.1129-5923C>G changes splicing, c.1236G>A is usually inherited with it (CPIC 2024).
CAUSAL, PROXY = "c.1129-5923C>G", "c.1236G>A"


@dataclass(frozen=True, slots=True)
class Site:
    """A variant as a VCF of GRCh38 writes it, and as HGVS does."""

    position: int
    alleles: str
    genomic: str


def _load() -> Any:
    path = Path(__file__).parent / "dpyd.json"
    return load_strict(path.read_bytes(), max_bytes=1 << 20, max_depth=4)


_TABLE = _load()
_CHROMOSOME_1 = "NC_000001."
# The gene is at 97,077,743 to 97,921,059 in GRCh38, and 465,556 further in GRCh37.
_REGION = range(97_000_000, 98_500_000)
CHROMOSOME, BUILD = int(_TABLE["chromosome"]), str(_TABLE["build"])
VARIANTS: dict[str, Site] = {
    name: Site(int(row["position"]), f"{row['ref']}>{row['alt']}", row["genomic"])
    for name, row in _TABLE["variants"].items()
}

# Those with the activity value of a copy without a variant, and those with half of it (CPIC).
NORMAL, DECREASED = (
    frozenset(name for name, row in _TABLE["variants"].items() if row.get("function") == function)
    for function in ("normal", "decreased")
)


def _plain(change: str) -> str:
    """A change without the bases that HGVS lets a laboratory add to a deletion."""
    return re.sub(r"del[ACGT]+$", "del", change)


_BY_CODING = {_plain(name): name for name in VARIANTS}
_BY_GENOME = {
    **{site.genomic: name for name, site in VARIANTS.items()},
    "g.97740415_97740418del": "c.295_298delTCAT",  # HGVS's rule of the most 3' position
}


def is_in_dpyd(change: str) -> bool:
    """Whether a change of the genome (HGVS) is within the gene, in either build, or near it."""
    sequence, _, text = change.partition(":")
    positions = [int(digits) for digits in re.findall(r"[0-9]{6,9}", text)]
    return sequence.startswith(_CHROMOSOME_1) and any(at in _REGION for at in positions)


def position_of(name: str) -> str:
    """What counts as one position when two sources are compared: of HapB3, one of its two variants
    stands for the other."""
    return CAUSAL if name == PROXY else name


def name_of(
    coding: Collection[str], genomic: Collection[str], transcripts: Collection[str]
) -> str | None:
    """The table's name of a change; None if the table does not have it, or its parts disagree.

    A change in the transcript needs the transcript: without it, or with another, its numbers may
    mean another place.
    """
    named = set()
    for change in coding:
        reference, _, text = change.rpartition(":")
        references = {reference.partition("(")[0], *transcripts} - {""}
        of_table = {transcript.partition(".")[0] for transcript in references} == {
            _TABLE["transcript"]
        }
        named.add(_BY_CODING.get(_plain(text)) if of_table else None)
    for change in genomic:
        sequence, _, text = change.partition(":")
        named.add(_BY_GENOME.get(_plain(text)) if sequence == _TABLE["sequence"] else None)
    return named.pop() if len(named) == 1 else None
