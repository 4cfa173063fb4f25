"""Strict JSON, canonical bytes, hashes and hex: the encodings that every checker of a trail must
agree on.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from itertools import accumulate, chain
from typing import Any

MAX_DEPTH, MAX_JSON, MAX_BUNDLE = 32, 1 << 20, 1 << 28  # of JSON: levels, bytes, bytes of a trail
# Any JSON may have MIN_VALUES values, and a large one a value for each VALUE_BYTES of its size
# limit.
MIN_VALUES, VALUE_BYTES = 10_000, 16
MAX_INTEGER = (1 << 53) - 1  # of JSON; numbers above are texts
_HALF = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: not a character, and not in UTF-8
_HEX = re.compile("(?:0x)?[0-9a-fA-F]*")
# A string (to its closing quote, or to the end of the text), or a bracket.
_DEEP = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]')


class VerifyError(Exception):
    """Base of this file's errors: `str(error)` is the fact, `hint` what to do next."""

    hint = "ask whoever gave you this for a fresh copy, and compare it with another source"


class Malformed(VerifyError):
    """Bytes in the wrong format, or a step that the rules do not allow."""


class Finding(VerifyError):
    """The ledger differs from the rules: step, block, transaction, and the fact."""


class ItemRefused(VerifyError):
    """The contract refuses this item of a batch and records that in an event of the same name.
    Holds the name and selector of the contract's error.
    """


def need(holds: object, fact: str, error: type[VerifyError] = Malformed) -> None:
    """Raise error(fact) unless it holds."""
    if not holds:
        raise error(fact)


def canonical(tag: bytes, *fields: bytes | str | int) -> bytes:
    """Each length as u32be, then the bytes; an int as u64be, a str as UTF-8 in NFC. Raises
    Malformed.
    """
    parts = list[bytes]()
    for value in (tag, *fields):
        if isinstance(value, str) and not _HALF.search(value):
            value = unicodedata.normalize("NFC", value).encode()
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
            value = value.to_bytes(8, "big")
        if not isinstance(value, bytes):
            raise Malformed("a field is neither bytes, a text nor a whole number of 8 bytes")
        parts += (len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


def _plain(value: object, null: bool, depth: int = 0) -> None:
    """Raise Malformed unless the value is made of texts, whole numbers and bools in lists and
    objects.
    """
    if isinstance(value, dict | list | tuple):
        keys = not isinstance(value, dict) or all(isinstance(key, str) for key in value)
        need(keys and depth < MAX_DEPTH, "the JSON is nested too deeply, or a key is not text")
        for item in chain(value, value.values() if isinstance(value, dict) else ()):
            _plain(item, null, depth + 1)
    else:
        ok = (
            abs(value) <= MAX_INTEGER
            if isinstance(value, int)
            else isinstance(value, str) and not _HALF.search(value)
        )
        need(
            ok or (null and value is None),
            "the JSON holds more than texts, whole numbers below 2^53, true, false",
        )


def strict_json(data: bytes, limit: int = MAX_JSON) -> object:
    """Parse UTF-8 JSON; refuses (Malformed) duplicate keys, NaN, Infinity, floats, depth > 32, size
    > limit.

    Also far more values than the project's documents have: once parsed, each takes many times its
    bytes.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        need(len(dict(pairs)) == len(pairs), "a JSON object names the same key twice")
        return dict(pairs)

    need(len(data) <= limit, "the JSON is larger than allowed")
    try:
        text = data.decode()
        values = text.count(",") + text.count("[") + text.count("{")
        need(values <= max(MIN_VALUES, limit // VALUE_BYTES), "the JSON has too many values")
        signs = (match[0] for match in _DEEP.finditer(text))
        depths = accumulate((sign in "[{") - (sign in "]}") for sign in signs)
        # Checked before parsing: the json module can crash on deep nesting.
        need(max(depths, default=0) <= MAX_DEPTH, "the JSON is nested too deeply")
        value: object = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise Malformed("this is not JSON in UTF-8") from None
    _plain(value, null=True)
    return value


def canonical_json(obj: object) -> bytes:
    """The only byte form of a JSON value: no null, no floats, keys sorted, no spaces. Raises
    Malformed.
    """
    _plain(obj, null=False)
    return json.dumps(obj, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def words(*values: bytes | int) -> bytes:
    """Each value in 32 bytes: numbers, bools, addresses right-aligned, bytes4 left-aligned, bytes32
    as it is.
    """
    return b"".join(
        [
            value.to_bytes(32, "big")
            if isinstance(value, int)
            else value.ljust(32, b"\0")
            if len(value) == 4
            else value.rjust(32, b"\0")
            for value in values
        ]
    )


def to_int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def raw(value: object, size: int | None = None) -> bytes:
    """Hex text, with or without 0x, as bytes (`size` of them). Raises Malformed."""
    shaped = isinstance(value, str) and _HEX.fullmatch(value)
    digits = str(value).removeprefix("0x")
    need(
        shaped and len(digits) % 2 == 0 and size in (None, len(digits) // 2),
        "a value is not hex of the right length",
    )
    return bytes.fromhex(digits)


def number(value: object) -> int:
    """A JSON number, or a quantity of JSON-RPC (0x…), below 2^64. Raises Malformed."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    need(
        isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", value),
        "a value is not a whole number",
    )
    return int(str(value), 16)


def part(source: Any, name: str, kind: type = object) -> Any:
    """`source[name]` of a JSON object. Raises Malformed."""
    present = isinstance(source, Mapping) and name in source and isinstance(source[name], kind)
    need(present, f"'{name}' is missing or has the wrong form")
    return source[name]
