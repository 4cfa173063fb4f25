"""Strict JSON parsing and canonical JSON output.

`json` alone accepts duplicate keys, NaN, UTF-16 and unbounded nesting; all data that is hashed,
signed or computed on goes through `load_strict` instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from analytics.errors import JsonRefused

MAX_NUMBER_CHARACTERS = 40
_STRING_OR_BRACKET = re.compile(r'"[^"]*"|[\[\]{}]')
_UNREADABLE_KEY = "\ufffd"


@dataclass(frozen=True, slots=True)
class Fault:
    """Replaces a value that strict JSON does not allow in a parsed document. why: the reason."""

    why: str


TWICE = Fault("an object has the same key twice")
CONSTANT = Fault("NaN and Infinity are not JSON")
TOO_LONG = Fault("a number is too long")
OUT_OF_RANGE = Fault("a number is out of range")
HALF = Fault("a string holds half a character")


def load_strict(
    data: bytes, *, max_bytes: int, max_depth: int, faults: set[Fault] | None = None
) -> object:
    """Parse one JSON document (RFC 8259), refusing what two parsers could read differently.

    data: UTF-8 bytes without byte order mark, at most `max_bytes`. Nesting at most `max_depth`
    containers. Returns dict, list, str, int, Decimal (numbers with a fraction or
    exponent), bool or None.
    faults: if given, a value that is not strict JSON becomes a Fault in the document and is added
    to this set instead of an error, so the caller can see its position; for duplicate keys see
    `key_values`.
    Raises JsonRefused; its message never quotes the document.
    """
    if len(data) > max_bytes:
        raise JsonRefused(f"the document is larger than {max_bytes} bytes")
    reader = _Reader(faults)
    try:
        text = data.decode("utf-8")
        check_depth(text, max_depth)
        value = json.loads(
            text,
            object_pairs_hook=reader.read_object,
            parse_constant=reader.read_constant,
            parse_float=reader.read_decimal,
            parse_int=reader.read_integer,
        )
    except UnicodeDecodeError:
        raise JsonRefused("the document is not UTF-8") from None
    except ValueError:
        # JSONDecodeError quotes the document in its attributes: it must not be chained.
        raise JsonRefused("the document is not well-formed JSON") from None
    return reader.read_strings(value)


def key_values(value: object) -> Sequence[object]:
    """The values of a key of an object: one, or all of them (for lists, all items) if the key is
    duplicated. Parsers differ in which one they take.
    """
    return value[:-1] if isinstance(value, list) and value and value[-1] is TWICE else [value]


def paired(first: object, second: object) -> Iterator[tuple[object, object]]:
    """The values of two keys in pairs: the first of each, the second of each, and so on."""
    # A duplicated key with empty lists has no values.
    firsts, seconds = key_values(first) or [None], key_values(second) or [None]
    for n in range(max(len(firsts), len(seconds))):
        yield firsts[min(n, len(firsts) - 1)], seconds[min(n, len(seconds) - 1)]


def dump_canonical(value: object) -> bytes:
    """Canonical JSON (sorted keys, no spaces, UTF-8) of dicts, lists, strings, integers and bools.

    Keys are sorted by code point, which equals RFC 8785's order for the ASCII keys used here.
    Raises JsonRefused for any other type (a float has more than one spelling: write decimals as
    strings).
    """
    _check_canonical(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8"
    )


class _Reader:
    """The parser hooks of `load_strict`. faults: as there."""

    def __init__(self, faults: set[Fault] | None) -> None:
        self._faults = faults

    def _note(self, fault: Fault) -> Fault:
        if self._faults is None:
            raise JsonRefused(fault.why)
        self._faults.add(fault)
        return fault

    def read_object(self, pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
        document = dict(pairs)
        return document if len(document) == len(pairs) else _joined(pairs, self._note(TWICE))

    def read_constant(self, _name: str) -> object:
        return self._note(CONSTANT)

    def read_integer(self, text: str) -> int | Fault:
        return self._note(TOO_LONG) if len(text) > MAX_NUMBER_CHARACTERS else int(text)

    def read_decimal(self, text: str) -> Decimal | Fault:
        if len(text) > MAX_NUMBER_CHARACTERS:
            return self._note(TOO_LONG)
        try:
            number = Decimal(text)
        except InvalidOperation:  # the exponent is beyond the range of decimal
            return self._note(OUT_OF_RANGE)
        in_range = not number or -300 < number.adjusted() < 300
        return number if in_range else self._note(OUT_OF_RANGE)

    def read_strings(self, value: object) -> object:
        """The value with a Fault for each string with half a surrogate pair (not encodable)."""
        if isinstance(value, str):
            return self._note(HALF) if _holds_half(value) else value
        if isinstance(value, dict):
            for key, item in value.items():
                value[key] = self.read_strings(item)
            halves = [key for key in value if _holds_half(key)]
            if halves:
                value[_UNREADABLE_KEY] = [*map(value.pop, halves), self._note(HALF)]
        elif isinstance(value, list):
            for n, item in enumerate(value):
                value[n] = self.read_strings(item)
        return value


def _joined(pairs: Sequence[tuple[str, object]], fault: Fault) -> dict[str, object]:
    """An object where a duplicate key has all its values (for lists, all items), then the fault."""
    document: dict[str, object] = {}
    joined: dict[str, list[object]] = {}
    for key, value in pairs:
        if key not in document:
            document[key] = value
            continue
        if key not in joined:
            first = document[key]
            document[key] = joined[key] = list(first) if isinstance(first, list) else [first]
        joined[key] += value if isinstance(value, list) else [value]
    for values in joined.values():
        values.append(fault)
    return document


def _holds_half(text: str) -> bool:
    return not text.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def check_depth(text: str, max_depth: int) -> None:
    """Check the nesting before parsing; raises JsonRefused. Under a raised recursion limit the C
    parser would end the process instead of raising.

    Time and memory grow only with the length of the text: no part of it is kept. Escaped
    backslashes and quotes are removed first (a run of backslashes pairs up from its left; outside a
    string a parser stops at one), then every remaining quote begins or ends a string.
    """
    plain, depth = text.replace("\\\\", "").replace('\\"', ""), 0
    for match in _STRING_OR_BRACKET.finditer(plain):
        sign = plain[match.start()]
        depth += 0 if sign == '"' else 1 if sign in "[{" else -1
        if depth > max_depth:
            raise JsonRefused(f"the document is nested deeper than {max_depth}")


def _check_canonical(value: object) -> None:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise JsonRefused("canonical JSON needs string keys")
        for item in value.values():
            _check_canonical(item)
    elif isinstance(value, list):
        for item in value:
            _check_canonical(item)
    elif not isinstance(value, str | int):
        raise JsonRefused("canonical JSON holds integers, strings and bools only")
