"""A named assay of one person's molecular measurements (category 6): a canonical JSON object.

Format `volens/assay/1`, stable:

    {"assay": "methylation", "type": "volens/assay/1", "values": {"<column>": "<decimal>", …}}

The custodian names the assay at ingest: 2-20 of `a-z 0-9 -`, first a letter. A column is named as a
probe (expression.py); a decimal is at most 1,000,000 in size, in the same unit for everybody, which
only the custodian can know. A missing value is an absent column, never 0.

An assay's table, from which records are written: tab-separated, the first line `column` and the
subjects' ids, then a line for each column with a decimal for each subject, empty or NA where there
is none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from analytics.canonical import dump_canonical, load_strict
from analytics.errors import JsonRefused, PayloadError

FORMAT = "volens/assay/1"
MAX_BYTES = 4 * 1024 * 1024
MAX_COLUMNS = 60_000
LARGEST = 1_000_000.0
# What feature sets of a run are called, or may be: no assay's name.
RESERVED = frozenset(
    "clinical combined expression fused gene-sets genes none series variants".split()
)

_NAME = re.compile(r"[a-z][a-z0-9-]{1,19}", re.ASCII)
_HEAD = re.compile(rb'\{"assay":"([a-z][a-z0-9-]{1,19})",')
_COLUMN = re.compile(r"[A-Za-z0-9_.\-/]{1,64}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,20})?")
_SUBJECT = re.compile(r"[0-9a-f]{64}")
_ABSENT = frozenset({"", "NA"})


def is_name(text: str) -> bool:
    """Whether an assay may have this name."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


def name_of(payload: bytes) -> str | None:
    """The assay of a record by its beginning, since canonical JSON begins with it; None for another
    record."""
    head = _HEAD.match(payload)
    return None if head is None else head[1].decode()


def ordinal_of(name: str) -> int:
    """Which of a person's records of the category an assay is; 0 is her expression record. It
    follows from the name, so that another ingest of an assay is its next version.
    """
    return 1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


def read_assay(payload: bytes) -> tuple[str, dict[str, float]]:
    """(name, values by column, in order). Raises PayloadError (never naming a column or a value)."""
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=2)
    except JsonRefused as refused:
        raise PayloadError(f"assay record: {refused}") from None
    if not isinstance(document, dict) or set(document) != {"assay", "type", "values"}:
        raise PayloadError("assay record: it must have exactly assay, type and values")
    name, values = document["assay"], document["values"]
    if document["type"] != FORMAT:
        raise PayloadError("assay record: the format is not volens/assay/1")
    if not isinstance(name, str) or not is_name(name):
        raise PayloadError("assay record: an assay cannot have this name")
    if not isinstance(values, dict) or not 0 < len(values) <= MAX_COLUMNS:
        raise PayloadError(f"assay record: values must name 1 to {MAX_COLUMNS} columns")
    return name, {column: _number(column, values[column]) for column in sorted(values)}


def write_assay(name: str, values: Mapping[str, str]) -> bytes:
    """Payload of one person from decimal strings by column; read back, so always valid."""
    payload = dump_canonical({"assay": name, "type": FORMAT, "values": dict(values)})
    read_assay(payload)
    return payload


def write_assays(name: str, table: bytes) -> dict[str, bytes]:
    """The record of each subject of an assay's table. Raises PayloadError, which names a line and
    no value.
    """
    try:
        lines = table.decode("utf-8").removesuffix("\n").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise PayloadError("assay table: it is not UTF-8 text") from None
    first, *subjects = lines[0].split("\t")
    if first != "column" or not subjects or len(set(subjects)) < len(subjects):
        raise PayloadError("assay table: the first line is not column and each patient's id once")
    if not all(map(_SUBJECT.fullmatch, subjects)):
        raise PayloadError("assay table: the first line has something that is not a patient's id")
    of_subject: list[dict[str, str]] = [{} for _ in subjects]
    seen = set[str]()
    for number, line in enumerate(lines[1:], 2):
        column, *values = line.split("\t")
        if not _COLUMN.fullmatch(column) or column in seen:
            raise PayloadError(f"assay table: line {number} has no new column's name")
        if len(values) != len(subjects):
            raise PayloadError(f"assay table: line {number} has not one value for each patient")
        seen.add(column)
        for own, value in zip(of_subject, values, strict=True):
            if value in _ABSENT:
                continue
            if not _DECIMAL.fullmatch(value):
                raise PayloadError(
                    f"assay table: line {number} has a value that is not a decimal",
                    "Write decimals without an exponent; leave a missing one empty.",
                )
            own[column] = value
    if not all(of_subject):
        raise PayloadError("assay table: somebody has no value at all", "Leave her column out.")
    return {
        subject: write_assay(name, own) for subject, own in zip(subjects, of_subject, strict=True)
    }


def _number(column: str, text: object) -> float:
    if not _COLUMN.fullmatch(column):
        raise PayloadError("assay record: a column's name has characters that are not allowed")
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise PayloadError("assay record: a value is not a decimal string")
    value = float(text)
    if abs(value) > LARGEST:
        raise PayloadError(
            "assay record: a value is above 1,000,000",
            "Normalise the assay, and ingest it again.",
        )
    return value
