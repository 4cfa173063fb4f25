"""Strict JSON in, canonical JSON out (protocol §1).

`json` alone accepts duplicate keys, NaN, UTF-16 and unbounded nesting; everything that is hashed, signed or
computed on goes through `load_strict` instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from analytics.errors import JsonRefused

MAX_NUMBER_CHARACTERS = 40
_INFINITE = Decimal("Infinity")
_STRING_OR_BRACKET = re.compile(r'"[^"]*"|[\[\]{}]')


def load_strict(data: bytes, *, max_bytes: int, max_depth: int, any_range: bool = False) -> object:
    """Parse one JSON document (RFC 8259), refusing what two parsers could read differently.

    data: UTF-8 bytes without byte order mark, at most `max_bytes`. Nesting at most `max_depth` containers.
    Returns dict, list, str, int, Decimal (numbers with a fraction or exponent), bool or None.
    any_range: a number out of range is Decimal("Infinity"), which JSON itself cannot say, so that the caller can tell
    where it stands. Raises JsonRefused; its message never quotes the document.
    """
    if len(data) > max_bytes:
        raise JsonRefused(f"the document is larger than {max_bytes} bytes")
    try:
        text = data.decode("utf-8")
        check_depth(text, max_depth)
        value = json.loads(
            text,
            object_pairs_hook=_object_of_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_decimal_or_infinite if any_range else _decimal,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise JsonRefused("the document is not UTF-8") from None
    except ValueError:
        # JSONDecodeError quotes the document in its attributes: it must not be chained.
        raise JsonRefused("the document is not well-formed JSON") from None
    _check_strings(value)
    return value


def dump_canonical(value: object) -> bytes:
    """Canonical JSON of dicts with string keys, lists, strings, integers and bools: sorted keys, no spaces,
    UTF-8.

    Keys are sorted by code point, which equals RFC 8785's order for the ASCII keys used here. Raises
    JsonRefused for any other type (a float has more than one spelling: write decimals as strings).
    """
    _check_canonical(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8"
    )


def _object_of_unique_keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonRefused("an object has the same key twice")
    return found


def _refuse_constant(_name: str) -> object:
    raise JsonRefused("NaN and Infinity are not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise JsonRefused("a number is too long")
    return int(text)


def _decimal(text: str) -> Decimal:
    number = _decimal_or_infinite(text)
    if number.is_infinite():
        raise JsonRefused("a number is out of range")
    return number


def _decimal_or_infinite(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise JsonRefused("a number is too long")
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond those that decimal itself has
        return _INFINITE
    return number if not number or -300 < number.adjusted() < 300 else _INFINITE


def check_depth(text: str, max_depth: int) -> None:
    """Before parsing: under a raised recursion limit the C parser ends the process instead of raising. Raises
    JsonRefused.

    In time and memory that grow with the text alone: no piece of it is kept. Escaped backslashes and quotes are taken
    out first (a run of backslashes pairs up from its left; outside a string a parser stops at one), then every quote
    left begins or ends a string.
    """
    plain, depth = text.replace("\\\\", "").replace('\\"', ""), 0
    for found in _STRING_OR_BRACKET.finditer(plain):
        sign = plain[found.start()]
        depth += 0 if sign == '"' else 1 if sign in "[{" else -1
        if depth > max_depth:
            raise JsonRefused(f"the document is nested deeper than {max_depth}")


def _check_strings(value: object) -> None:
    """A string with half a surrogate pair cannot be encoded again."""
    if isinstance(value, str):
        if not value.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise JsonRefused("a string holds half a character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key)
            _check_strings(item)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item)


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
