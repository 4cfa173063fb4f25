"""The auditor's file by itself: one form of every byte, and constants as the contracts have them."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from eth_utils.crypto import keccak
from narrated import IDENTITY, ROOT

from governance import verify
from governance.verify import (
    Malformed,
    canonical,
    canonical_json,
    identity_bytes,
    identity_id,
    strict_json,
)


def test_canonical_is_length_prefixed_and_injective() -> None:
    assert canonical(b"volens/x/1", 1, "e\u0301", b"\0").hex() == (
        "0000000a766f6c656e732f782f3100000008000000000000000100000002c3a90000000100"
    )
    assert canonical(b"t", "A", "BC") != canonical(b"t", "AB", "C")
    for bad in (-1, 1 << 64, True, 1.5, None, "\ud800"):
        with pytest.raises(Malformed):
            canonical(b"t", bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b"NaN",
        b"-Infinity",
        b"1.0",
        b"1e3",
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'"\\ud800"',
        b"\xff",
        b"9007199254740992",
        b"9" * 5000,
        b"{",
        b"",
        b"\xef\xbb\xbf1",
        b'"' + b"a" * (1 << 20) + b'"',
    ],
)
def test_strict_json_refuses(text: bytes) -> None:
    with pytest.raises(Malformed):
        strict_json(text)


def test_canonical_json_has_one_form() -> None:
    assert (
        canonical_json({"b": [1, True, "\u00fc\n"], "a": {}})
        == '{"a":{},"b":[1,true,"\u00fc\\n"]}'.encode()
    )
    assert strict_json(canonical_json({"a": ["\U0001f600"]})) == {"a": ["\U0001f600"]}
    for bad in (
        None,
        1.5,
        {1: 2},
        {"a": float("nan")},
        "\ud800",
        1 << 53,
        b"x",
        [[[]]] and _nested(40),
    ):
        with pytest.raises(Malformed):
            canonical_json(bad)


def _nested(depth: int) -> list[Any]:
    return [] if depth == 0 else [_nested(depth - 1)]


def test_identity_vector() -> None:
    parts = [
        b"volens/ledger/3",
        (31337).to_bytes(8, "big"),
        b"\x11" * 32,
        (5).to_bytes(8, "big"),
        b"\x22" * 32,
    ]
    for i in range(1, 6):
        parts += [i.to_bytes(20, "big"), i.to_bytes(32, "big")]
    parts += [
        (2).to_bytes(8, "big"),
        (10).to_bytes(8, "big"),
        (86_400).to_bytes(8, "big"),
        (172_800).to_bytes(8, "big"),
        (3).to_bytes(8, "big"),
        *(i.to_bytes(20, "big") for i in (7, 8, 9)),
    ]
    assert identity_bytes(IDENTITY) == b"".join(len(p).to_bytes(4, "big") + p for p in parts)
    assert identity_id(IDENTITY) == hashlib.sha256(identity_bytes(IDENTITY)).digest()
    for change in (
        {"quorum": 1},
        {"founders": IDENTITY["founders"][:2]},
        {"salt": "22"},
        {"type": "x"},
        {"contracts": IDENTITY["contracts"][::-1]},
        {"chainId": True},
    ):
        with pytest.raises(Malformed):
            identity_id(IDENTITY | change)


def abi() -> list[dict[str, Any]]:
    merged = []
    for name in verify.CONTRACTS:
        entries = json.loads((ROOT / "contracts" / "artifacts" / f"{name}.json").read_text())["abi"]
        merged += [entry | {"contract": name} for entry in entries]
    return merged


def solidity(item: dict[str, Any]) -> str:
    inner = ",".join(solidity(part) for part in item.get("components", []))
    return item["type"].replace("tuple", f"({inner})")


def test_topics_selectors_and_refusals_are_the_contracts() -> None:
    signatures = {
        e["name"]: f"{e['name']}({','.join(map(solidity, e['inputs']))})"
        for e in abi()
        if "name" in e
    }
    events = {
        e["name"]: keccak(text=signatures[e["name"]])
        for e in abi()
        if e["type"] == "event" and e["name"] in verify.EVENTS
    }
    assert verify.TOPICS == events
    emitted = {e["name"] for e in abi() if e["type"] == "event"} - {"EIP712DomainChanged"}
    assert emitted == set(verify.EVENTS)
    writes = {
        keccak(text=signatures[e["name"]])[:4].hex(): (e["contract"], e["name"])
        for e in abi()
        if e["type"] == "function"
        and e["stateMutability"] == "nonpayable"
        and e["name"] != "append"
    }
    assert {
        selector: tuple(call.split(" ")[:2]) for selector, call in verify.CALLS.items()
    } == writes
    reasons = set(
        re.findall(r'"([A-Z]\w+) ([0-9a-f]{8})"', (ROOT / "governance" / "verify.py").read_text())
    )
    assert len(reasons) == 7
    assert all(keccak(text=signatures[name])[:4].hex() == selector for name, selector in reasons)


def test_types_are_the_shared_typed_data() -> None:
    shared = json.loads((ROOT / "contracts" / "typed-data.json").read_text())
    assert set(shared["types"]) - set(verify.SIGNED_FOR) == {
        "SignIn",
        "Statement",
    }  # nothing on the trail carries them
    for name, contract in verify.SIGNED_FOR.items():
        assert verify.STRUCTS[name] == ",".join(
            f"{kind} {field}" for field, kind in shared["types"][name]
        )
        assert name in shared["contracts"][contract]
