"""GSE7390: 198 node-negative, untreated breast-cancer patients, 76 probes (Desmedt et al. 2007).

The ARFF file is part of the scikit-survival wheel and is read as a data file: the package itself
(GPL) is never imported, so the file is located through the distribution's metadata instead of
`importlib.resources`.
"""

from __future__ import annotations

import importlib.metadata
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import arff

from analytics.errors import SourceError
from analytics.readers.observations import Findings
from analytics.readers.person import Person

PEOPLE = 198
PROBES = 76
_FILE = "sksurv/datasets/data/breast_cancer_GSE7390-metastasis.arff"
_CLINICAL = ("age", "size", "grade", "er", "t.tdm", "e.tdm")
# The misspelt fourth level is the file's word for a missing grade.
_GRADES = {
    b"well differentiated": 1,
    b"intermediate": 2,
    b"poorly differentiated": 3,
    b"unkown": None,
}
_ER = {b"negative": 0, b"positive": 1}
_EVENT = {b"0": False, b"1": True}


def locate_gse7390() -> Path:
    """Path of the data file in the installed scikit-survival distribution. Raises SourceError."""
    try:
        distribution = importlib.metadata.distribution("scikit-survival")
    except importlib.metadata.PackageNotFoundError:
        raise SourceError("the package that carries GSE7390 is not installed") from None
    path = Path(str(distribution.locate_file(_FILE)))
    if not path.is_file():
        raise SourceError("the installed scikit-survival does not carry GSE7390")
    return path


def load_gse7390(path: Path) -> list[Person]:
    """The 198 people in file order. Size is converted to mm; follow-up in days, expression in log2.

    Raises SourceError if the file is absent or differs from the expected shape.
    """
    try:
        rows, meta = arff.loadarff(path)
    except Exception:  # scipy lets IndexError, StopIteration and more escape on a damaged file
        raise SourceError("the GSE7390 file cannot be read") from None
    names = meta.names()
    probes = names[len(_CLINICAL) :]
    if tuple(names[: len(_CLINICAL)]) != _CLINICAL or len(probes) != PROBES or len(rows) != PEOPLE:
        raise SourceError("the GSE7390 file does not have the expected 198 rows and 82 columns")
    try:
        return [_person(ordinal, row, probes) for ordinal, row in enumerate(rows)]
    except KeyError:
        raise SourceError("the GSE7390 file holds an unexpected category") from None


def _person(ordinal: int, row: np.void, probes: list[str]) -> Person:
    size_cm = _number(row["size"])
    findings = Findings(
        age_years=_number(row["age"]),
        size_mm=None if size_cm is None else float(round(size_cm * 10, 3)),
        grade=_GRADES[bytes(row["grade"])],
        er_positive=_ER[bytes(row["er"])],
        follow_up_days=_number(row["t.tdm"]),
        metastasis=_EVENT[bytes(row["e.tdm"])],
    )
    values = tuple(
        (probe.removeprefix("X"), _text(row[probe]))
        for probe in probes
        if not math.isnan(row[probe])
    )
    return Person(ordinal, values, findings)


def _number(value: NDArray[np.float64]) -> float | None:
    return None if math.isnan(value) else float(value)


def _text(value: NDArray[np.float64]) -> str:
    """The shortest decimal without exponent that reads back as the same double."""
    return format(Decimal(repr(float(value))), "f")
