"""Strict JSON in, canonical JSON out (protocol §1).

`json` alone accepts duplicate keys, NaN, UTF-16 and unbounded nesting; everything that is hashed, signed or
computed on goes through `load_strict` instead.
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
    """Stands in a parsed document where the text says what strict JSON does not have. why: what that is."""

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

    data: UTF-8 bytes without byte order mark, at most `max_bytes`. Nesting at most `max_depth` containers.
    Returns dict, list, str, int, Decimal (numbers with a fraction or exponent), bool or None.
    faults: where it is given, a value that is not strict JSON is a Fault in its place, is added here and refuses
    nothing, so that the caller can tell where it stands; of a key that stands twice, see `readings`.
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


def readings(value: object) -> Sequence[object]:
    """What stands under a key of an object: one value, or each of them (of a list, each item) where the key stands
    twice. Parsers differ in which one they take.
    """
    return value[:-1] if isinstance(value, list) and value and value[-1] is TWICE else [value]


def paired(one: object, other: object) -> Iterator[tuple[object, object]]:
    """The values of two keys as one object has them: the first of each, the second of each, and so on."""
    ones, others = readings(one) or [None], readings(other) or [None]  # [] twice is nothing
    for n in range(max(len(ones), len(others))):
        yield ones[min(n, len(ones) - 1)], others[min(n, len(others) - 1)]


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


class _Reader:
    """How the parts of a document are read. faults: as of `load_strict`."""

    def __init__(self, faults: set[Fault] | None) -> None:
        self._faults = faults

    def _tell(self, fault: Fault) -> Fault:
        if self._faults is None:
            raise JsonRefused(fault.why)
        self._faults.add(fault)
        return fault

    def read_object(self, pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        return found if len(found) == len(pairs) else _joined(pairs, self._tell(TWICE))

    def read_constant(self, _name: str) -> object:
        return self._tell(CONSTANT)

    def read_integer(self, text: str) -> int | Fault:
        return self._tell(TOO_LONG) if len(text) > MAX_NUMBER_CHARACTERS else int(text)

    def read_decimal(self, text: str) -> Decimal | Fault:
        if len(text) > MAX_NUMBER_CHARACTERS:
            return self._tell(TOO_LONG)
        try:
            number = Decimal(text)
        except InvalidOperation:  # an exponent beyond those that decimal itself has
            return self._tell(OUT_OF_RANGE)
        in_range = not number or -300 < number.adjusted() < 300
        return number if in_range else self._tell(OUT_OF_RANGE)

    def read_strings(self, value: object) -> object:
        """The value, where no string holds half a surrogate pair: that could not be encoded again."""
        if isinstance(value, str):
            return self._tell(HALF) if _holds_half(value) else value
        if isinstance(value, dict):
            for key, item in value.items():
                value[key] = self.read_strings(item)
            halves = [key for key in value if _holds_half(key)]
            if halves:
                value[_UNREADABLE_KEY] = [*map(value.pop, halves), self._tell(HALF)]
        elif isinstance(value, list):
            for n, item in enumerate(value):
                value[n] = self.read_strings(item)
        return value


def _joined(pairs: Sequence[tuple[str, object]], fault: Fault) -> dict[str, object]:
    """An object in which a key that stands twice has all its values, of lists their items, and then the fault."""
    found: dict[str, object] = {}
    joined: dict[str, list[object]] = {}
    for key, value in pairs:
        if key not in found:
            found[key] = value
            continue
        if key not in joined:
            first = found[key]
            found[key] = joined[key] = list(first) if isinstance(first, list) else [first]
        joined[key] += value if isinstance(value, list) else [value]
    for values in joined.values():
        values.append(fault)
    return found


def _holds_half(text: str) -> bool:
    return not text.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in text)


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
