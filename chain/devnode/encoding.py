"""Checks that a call's arguments have the canonical ABI encoding of all libraries (Solidity docs,
Contract ABI).

A contract follows whatever offsets it finds: the same arguments may have any number of bytes
between them, and two may share one place. Nothing is decoded here: each part must begin where the
one before it ends, so that the time is that of the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_WORD = 32  # bytes
_ARRAY = re.compile(r"(.*)\[([0-9]*)\]")
Argument = Mapping[str, Any]  # as an ABI describes it: type, and components of a tuple


def is_canonical(arguments: Sequence[Argument], data: bytes) -> bool:
    """Whether `data`, without the selector, is nothing but these arguments in their canonical
    encoding.
    """
    try:
        return _end(arguments, data, 0) == len(data)
    except ValueError:
        return False


def _end(parts: Sequence[Argument], data: bytes, start: int) -> int:
    """The end of a tuple that begins at `start`. Raises ValueError if a part is in the wrong
    position.
    """
    head, tail = start, start + sum(map(_head_size, parts))
    for part in parts:
        if _is_dynamic(part):
            if start + _number(data, head) != tail:
                raise ValueError("an offset leads elsewhere")
            tail = _end_of(part, data, tail)
        head += _head_size(part)
    if tail > len(data):
        raise ValueError("the data ends too early")
    return tail


def _end_of(part: Argument, data: bytes, start: int) -> int:
    """The end of a dynamic part that begins at `start`."""
    array = _ARRAY.fullmatch(part["type"])
    if array:
        length = int(array[2]) if array[2] else _number(data, start)
        if length > len(data) // _WORD:
            raise ValueError("there is no room for so many")
        element = {**part, "type": array[1]}
        return _end([element] * length, data, start + (0 if array[2] else _WORD))
    if part["type"] == "tuple":
        return _end(part["components"], data, start)
    size = _number(data, start)  # of bytes or a text, filled up with zeros
    end = start + _WORD + -(-size // _WORD) * _WORD
    if end > len(data) or any(data[start + _WORD + size : end]):
        raise ValueError("bytes have another end")
    return end


def _number(data: bytes, at: int) -> int:
    if at + _WORD > len(data):
        raise ValueError("the data ends too early")
    return int.from_bytes(data[at : at + _WORD], "big")


def _is_dynamic(part: Argument) -> bool:
    array = _ARRAY.fullmatch(part["type"])
    if array:
        return not array[2] or _is_dynamic({**part, "type": array[1]})
    if part["type"] == "tuple":
        return any(map(_is_dynamic, part["components"]))
    return part["type"] in ("bytes", "string")


def _head_size(part: Argument) -> int:
    """Bytes that the part takes in the head: an offset, or the part itself if its size is fixed."""
    array = _ARRAY.fullmatch(part["type"])
    if _is_dynamic(part):
        return _WORD
    if array:
        return int(array[2]) * _head_size({**part, "type": array[1]})
    return sum(map(_head_size, part["components"])) if part["type"] == "tuple" else _WORD
