"""Calls in the one encoding that every library writes, and the many others that a contract would
read as well.
"""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple
from hypothesis import given
from hypothesis import strategies as st

from chain.artifacts import CONTRACTS, load
from chain.devnode.encoding import is_canonical

FUNCTIONS = [
    entry
    for name in CONTRACTS
    for entry in load(name).abi
    if entry["type"] == "function" and entry["inputs"]
]


def value_of(kind: str, draw: Any) -> Any:
    """Something of that ABI type, as eth_abi takes it."""
    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        length = int(count) if count else draw(st.integers(0, 3))
        return [value_of(inner, draw) for _ in range(length)]
    if kind.startswith("("):
        return tuple(value_of(part, draw) for part in split(kind[1:-1]))
    if kind == "bytes":
        return draw(st.binary(max_size=70))
    if kind == "bytes32":
        return draw(st.binary(min_size=32, max_size=32))
    if kind == "address":
        return "0x" + draw(st.binary(min_size=20, max_size=20)).hex()
    return draw(st.booleans()) if kind == "bool" else draw(st.integers(0, 200))


def split(kinds: str) -> list[str]:
    parts, depth = [""], 0
    for sign in kinds:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


@given(st.data())
def test_what_a_library_writes_is_canonical_and_nothing_longer_is(data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(FUNCTIONS))
    kinds = [collapse_if_tuple(value) for value in entry["inputs"]]
    written = encode(kinds, [value_of(kind, data.draw) for kind in kinds])
    assert is_canonical(entry["inputs"], written)
    assert not is_canonical(entry["inputs"], written + bytes(32))
    assert not is_canonical(entry["inputs"], written + b"\0")
    assert not is_canonical(entry["inputs"], written[:-1])


def slack(written: bytes) -> bytes:
    """The bytes begin a word later."""
    return (64).to_bytes(32, "big") + bytes(32) + written[32:]


def filled(written: bytes) -> bytes:
    return written[:-1] + b"x"


@pytest.mark.parametrize("change", [slack, filled, lambda w: w[:32] + b"\xff" * 32 + w[64:]])
def test_other_encodings_are_not_canonical(change: Any) -> None:
    arguments = [{"type": "bytes"}]
    written = encode(["bytes"], [b"hello"])
    assert is_canonical(arguments, written)
    assert not is_canonical(arguments, change(written))


def test_overlapping_items_are_not_canonical() -> None:
    """As a decoder reads them, 4,000 pointers to one text of 60 kB take 240 MB."""
    arguments = [{"type": "bytes[]"}]
    written = encode(["bytes[]"], [[b"a", b"a"]])
    assert is_canonical(arguments, written)
    shared = written[:64] + (64).to_bytes(32, "big") * 2 + written[128:192]
    assert not is_canonical(arguments, shared)
    many = (32).to_bytes(32, "big") + (1 << 200).to_bytes(32, "big") + bytes(1000)
    assert not is_canonical(arguments, many)
