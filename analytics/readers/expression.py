"""Gene expression of one person (category 6): a canonical JSON object, probe to log2 value.

Format `volens/expression/1`, stable:

    {"type": "volens/expression/1", "unit": "log2", "values": {"<probe>": "<decimal>", …}}

A probe is 1-64 characters of `A-Z a-z 0-9 _ . - /`; a decimal is `-?digits[.digits]`, at most 32
characters, between -64 and 64 (a larger value is a raw intensity in the wrong unit). A missing
value is an absent probe, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from analytics.canonical import dump_canonical, load_strict
from analytics.errors import JsonRefused, PayloadError

FORMAT = "volens/expression/1"
UNIT = "log2"
MAX_BYTES = 4 * 1024 * 1024
MAX_PROBES = 60_000
LARGEST_LOG2 = 64.0

_PROBE = re.compile(r"[A-Za-z0-9_.\-/]{1,64}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,20})?")


def read_expression(payload: bytes) -> dict[str, float]:
    """Log2 values by probe, in order. Raises PayloadError (never naming a probe or a value)."""
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=2)
    except JsonRefused as refused:
        raise PayloadError(f"expression record: {refused}") from None
    if not isinstance(document, dict) or set(document) != {"type", "unit", "values"}:
        raise PayloadError("expression record: it must have exactly type, unit and values")
    if document["type"] != FORMAT:
        raise PayloadError("expression record: the format is not volens/expression/1")
    if document["unit"] != UNIT:
        raise PayloadError(
            "expression record: the unit is not log2",
            "Transform to log2 and ingest the record again.",
        )
    values = document["values"]
    if not isinstance(values, dict) or not 0 < len(values) <= MAX_PROBES:
        raise PayloadError(f"expression record: values must name 1 to {MAX_PROBES} probes")
    return {probe: _log2(probe, values[probe]) for probe in sorted(values)}


def write_expression(values: Mapping[str, str]) -> bytes:
    """Payload of one person from decimal strings by probe; read back, so always valid."""
    payload = dump_canonical({"type": FORMAT, "unit": UNIT, "values": dict(values)})
    read_expression(payload)
    return payload


def _log2(probe: str, text: object) -> float:
    if not _PROBE.fullmatch(probe):
        raise PayloadError("expression record: a probe name has characters that are not allowed")
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise PayloadError("expression record: a value is not a decimal string")
    value = float(text)
    if abs(value) > LARGEST_LOG2:
        raise PayloadError(
            "expression record: a value is too large for log2",
            "Transform to log2 and ingest the record again.",
        )
    return value
