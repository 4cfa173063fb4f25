"""The auditor's file against the real contracts: the law agrees step by step, and every forgery is named."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from api.demo.stage import CATEGORIES, World, random32
from chain.devchain import DevChain
from chain.ledger import message_tuple
from governance import verify
from governance.verify import (
    BROKER,
    CHECKER,
    WORKER,
    Finding,
    Fold,
    Malformed,
    canonical,
    canonical_json,
    decode_call,
    examine,
    identity_bytes,
    identity_id,
    load_crypto,
    main,
    parse_block,
    parse_identity,
    parse_log,
    parse_transaction,
    strict_json,
    words,
)

ROOT = Path(__file__).resolve().parents[2]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
IDENTITY = {
    "type": "volens/identity/1",
    "chainId": 31337,
    "genesisHash": "0x" + "11" * 32,
    "deployBlock": 5,
    "salt": "22" * 32,
    "contracts": [
        {"name": name, "address": f"0x{i:040x}", "codeHash": f"{i:064x}"}
        for i, name in enumerate(("Trail", "PermitRegistry", "ConsentRegistry", "AccessLedger"), 1)
    ],
    "quorum": 2,
    "founders": [f"0x{i:040x}" for i in (7, 8, 9)],
    "signatures": {},
}


# ---- one story on a real chain, as raw JSON-RPC and as a bundle ----


def tell(world: World) -> dict[str, Any]:
    """Every kind of step at least once; returns the names that the tests ask for."""
    world.set_role(world.people["pia"].address, "committee")
    subjects = world.enrol(7)
    world.ledger.relay(
        "ConsentRegistry",
        "enrol",
        [
            world.enrolment(subjects[0], world.subjects[subjects[0]]),
            world.enrolment(random32(), world.people["pia"], registrar="noor"),
        ],
    )
    world.grant(subjects[:6])
    stale = world.grant_message(subjects[0], replaces=7)
    world.ledger.relay(
        "ConsentRegistry",
        "grant",
        [world.grant_item(stale), world.grant_item(world.grant_message(subjects[1]), world.subjects[subjects[2]])],
    )
    records = {
        "ingest": random32(),
        "dataset": world.dataset,
        "leavesRoot": random32(),
        "count": 14,
        "deadline": 2**40 - 1,
    }
    world.relay(
        "AccessLedger", "registerRecords", "RecordsRegistered", records, world.by("omar", "RecordsRegistered", records)
    )
    permit = world.permit()
    run = world.request_run(permit)
    world.authorise(run, subjects)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.look(run, name)
    world.revoke(subjects[0])
    world.revoke(subjects[0], epoch=0)
    world.release(run, seal, subjects[:6], [0] * 6)  # refused: the first has revoked
    world.authorise(run, subjects, attempt=2)
    seal = world.seal(run, attempt=2)
    for name in ("sol", "tess"):
        world.look(run, name, attempt=2)
    world.release(run, seal, subjects[1:6], [0] * 5, attempt=2)
    small = world.request_run(permit)
    world.authorise(small, subjects[:3])  # refused: two willing, three needed
    cancel = {"run": small, "deadline": 2**40 - 1}
    world.relay("AccessLedger", "cancel", "Cancel", cancel, world.by("noor", "Cancel", cancel))
    world.authorise(small, subjects)  # refused: cancelled
    third = world.request_run(permit)
    world.authorise(third, subjects)
    no = {"run": third, "attempt": 1, "sealHash": world.seal(third), "reason": 98, "deadline": 2**40 - 1}
    world.look(third, "sol")
    world.relay("AccessLedger", "reject", "Decision", no, world.by("sol", "Decision", no))
    world.request_run(random32())  # refused: no such permit
    world.grant([subjects[1]], purposes=0b10)  # narrower: a new epoch
    world.grant([subjects[0]])
    order = {"permit": permit, "deadline": 2**40 - 1}
    world.relay("PermitRegistry", "suspend", "Suspend", order, world.by("dora", "Suspend", order))
    world.request_run(permit)  # refused: suspended
    return {"subjects": subjects, "permit": permit, "run": run, "small": small, "third": third, "seal": seal}


def bundle_of(world: World) -> dict[str, Any]:
    """The trail of a world as a bundle, with its identity signed by two founders and the broker."""
    ledger = world.ledger
    identity = copy.deepcopy(dict(ledger.identity))
    for name in ("pia", "quinn", "bram"):
        signature = world.by(name, "Identity", {"id": identity_id(identity)})
        identity["signatures"][world.people[name].address] = "0x" + signature.hex()
    logs: dict[str, list[Any]] = {}
    for log in ledger.logs(0, int(ledger.block()["number"], 16)):
        logs.setdefault(log["transactionHash"], []).append(log)
    transactions, blocks = [], {}
    for name, own in logs.items():
        tx = ledger.transaction(name)
        block = ledger.block(int(tx["blockNumber"], 16))
        blocks[str(int(block["number"], 16))] = {"hash": block["hash"], "timestamp": int(block["timestamp"], 16)}
        transactions.append(
            {
                "hash": name,
                "block": int(tx["blockNumber"], 16),
                "index": int(tx["transactionIndex"], 16),
                "to": tx["to"],
                "input": tx["input"],
                "logs": [
                    {
                        "address": log["address"],
                        "topics": log["topics"],
                        "data": log["data"],
                        "index": int(log["logIndex"], 16),
                    }
                    for log in own
                ],
            }
        )
    count, head = ledger.head()
    return {
        "type": "volens/trail/1",
        "identity": identity,
        "blocks": blocks,
        "transactions": transactions,
        "head": {"count": count, "head": head.hex()},
        "witnesses": [],
    }


class Told:
    def __init__(self, world: World) -> None:
        self.world, self.names = world, tell(world)
        self.bundle = bundle_of(world)

    def copy(self) -> dict[str, Any]:
        return copy.deepcopy(self.bundle)

    def witness(self, count: int, by: str = "bram") -> dict[str, Any]:
        """What a broker gives for step `count`."""
        step = replay(self.bundle).steps[count - 1]
        message = {
            "identity": identity_id(self.bundle["identity"]),
            "block": step.block.number,
            "blockHash": step.block.hash,
            "count": count,
            "head": step.head,
        }
        signature = self.world.by(by, "Witness", message)
        return {
            "broker": self.world.people[by].address,
            "block": step.block.number,
            "blockHash": step.block.hash.hex(),
            "count": count,
            "head": step.head.hex(),
            "signature": signature.hex(),
        }


@pytest.fixture(scope="module")
def told(devchain: DevChain) -> Told:
    return Told(World.create(devchain.url))


def replay(bundle: dict[str, Any], signed: bool = False) -> verify.Replay:
    crypto = load_crypto(parse_identity(bundle["identity"])) if signed else None
    return verify.Replay(bundle, crypto)


def states(bundle: object, **held: Any) -> list[str]:
    return [state for state, _ in examine(as_bytes(bundle), **held).values()]


def reasons(bundle: object, **held: Any) -> str:
    return " ".join(reason for _, reason in examine(as_bytes(bundle), **held).values())


def as_bytes(bundle: object) -> bytes:
    return bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()


# ---- bytes ----


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
    assert canonical_json({"b": [1, True, "\u00fc\n"], "a": {}}) == '{"a":{},"b":[1,true,"\u00fc\\n"]}'.encode()
    assert strict_json(canonical_json({"a": ["\U0001f600"]})) == {"a": ["\U0001f600"]}
    for bad in (None, 1.5, {1: 2}, {"a": float("nan")}, "\ud800", 1 << 53, b"x", [[[]]] and _nested(40)):
        with pytest.raises(Malformed):
            canonical_json(bad)


def _nested(depth: int) -> list[Any]:
    return [] if depth == 0 else [_nested(depth - 1)]


def test_identity_vector() -> None:
    parts = [b"volens/ledger/1", (31337).to_bytes(8, "big"), b"\x11" * 32, (5).to_bytes(8, "big"), b"\x22" * 32]
    for i in range(1, 5):
        parts += [i.to_bytes(20, "big"), i.to_bytes(32, "big")]
    parts += [(2).to_bytes(8, "big"), (3).to_bytes(8, "big"), *(i.to_bytes(20, "big") for i in (7, 8, 9))]
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


# ---- constants against the contracts ----


def abi() -> list[dict[str, Any]]:
    found = []
    for name in verify.CONTRACTS:
        entries = json.loads((ROOT / "contracts" / "artifacts" / f"{name}.json").read_text())["abi"]
        found += [entry | {"contract": name} for entry in entries]
    return found


def solidity(item: dict[str, Any]) -> str:
    inner = ",".join(solidity(part) for part in item.get("components", []))
    return item["type"].replace("tuple", f"({inner})")


def test_topics_selectors_and_refusals_are_the_contracts() -> None:
    signatures = {e["name"]: f"{e['name']}({','.join(map(solidity, e['inputs']))})" for e in abi() if "name" in e}
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
        if e["type"] == "function" and e["stateMutability"] == "nonpayable" and e["name"] != "append"
    }
    assert {selector: tuple(call.split(" ")[:2]) for selector, call in verify.CALLS.items()} == writes
    reasons = set(re.findall(r'"([A-Z]\w+) ([0-9a-f]{8})"', (ROOT / "governance" / "verify.py").read_text()))
    assert len(reasons) == 12
    assert all(keccak(text=signatures[name])[:4].hex() == selector for name, selector in reasons)


def test_types_are_the_shared_typed_data() -> None:
    shared = json.loads((ROOT / "contracts" / "typed-data.json").read_text())
    assert set(shared["types"]) - set(verify.SIGNED_FOR) == {"SignIn", "Statement"}  # nothing on the trail carries them
    for name, contract in verify.SIGNED_FOR.items():
        assert verify.STRUCTS[name] == ",".join(f"{kind} {field}" for field, kind in shared["types"][name])
        assert name in shared["contracts"][contract]


# ---- the law against the chain ----


@pytest.mark.parametrize("signed", [False, True])
def test_fold_agrees_with_the_contracts_at_every_step(told: Told, signed: bool) -> None:
    ledger, fold = told.world.ledger, Fold(told.bundle["identity"])
    crypto = load_crypto(fold.identity) if signed else None
    logs: dict[bytes, list[verify.Log]] = {}
    for found in ledger.logs(0, int(ledger.block()["number"], 16)):
        logs.setdefault(parse_log(found).tx, []).append(parse_log(found))
    for name, own in logs.items():
        tx = parse_transaction(ledger.transaction("0x" + name.hex()))
        fold.apply(parse_block(ledger.block(tx.block)), tx, own, crypto)
    assert (fold.count, fold.head) == ledger.head()
    for (dataset, subject), consent in fold.consents.items():
        assert verify.slot_of(consent) == told.world.slot(subject, dataset)
    names, subjects = told.names, told.names["subjects"]
    assert fold.newest_attempt(names["run"]) == 2
    assert [s for s, _, _ in fold.granted(names["run"], 2)] == subjects[1:6]
    assert fold.attempts[names["run"], 1].denied == [(subjects[6], 2)]
    assert [fold.runs[names[n]].ended for n in ("run", "small", "third")] == ["released", "cancelled", "rejected"]
    assert fold.consent_live(told.world.dataset, subjects[0], 0b10, CATEGORIES, fold.time // 86400)
    assert not fold.consent_live(told.world.dataset, subjects[1], 0b100, CATEGORIES, fold.time // 86400)
    for name, role in (("bram", BROKER), ("wanda", WORKER), ("sol", CHECKER)):
        assert fold.member_live(bytes.fromhex(told.world.people[name].address[2:]), role, fold.time)
    assert (fold.attempts[names["run"], 1].worker != b"") == signed


def test_a_trail_step_by_hand(told: Told) -> None:
    """Step 1 is the founder's new role: docs/ledger.md, written out."""
    first = told.bundle["transactions"][0]
    change = decode_call(bytes.fromhex(first["input"][2:]))[2]["m"]
    registry = bytes.fromhex(told.bundle["identity"]["contracts"][1]["address"][2:])
    body = hashlib.sha256(
        b"".join(
            bytes(12) + change["account"] if n == "account" else change[n].to_bytes(32, "big")
            for n in ("account", "role", "start", "end")
        )
    ).digest()
    head = hashlib.sha256(
        bytes(32) + bytes(12) + registry + (1).to_bytes(32, "big") + first["block"].to_bytes(32, "big") + body
    )
    assert first["logs"][-1]["data"][2:66] == head.hexdigest()


@pytest.mark.parametrize(
    ("signature", "fact"), [("high s", "nobody"), ("v 0", "nobody"), ("short", "nobody"), ("zero", "nobody")]
)
def test_crypto_takes_one_form_of_a_signature(told: Told, signature: str, fact: str) -> None:
    crypto, message = load_crypto(parse_identity(told.bundle["identity"])), {"permit": random32(), "deadline": 1}
    good = told.world.by("pia", "Suspend", message)
    assert crypto.signer("Suspend", message, good).hex() == told.world.people["pia"].address[2:].lower()
    assert crypto.signer("Suspend", message, twisted(good, signature)) == b"", fact
    other = load_crypto(parse_identity(told.bundle["identity"] | {"salt": "33" * 32}))
    assert other.signer("Suspend", message, good) != crypto.signer("Suspend", message, good)


def twisted(signature: bytes, how: str) -> bytes:
    high = (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    return {
        "high s": signature[:32] + high + bytes([55 - signature[64]]),
        "v 0": signature[:64] + bytes([signature[64] - 27]),
        "short": signature[:64],
        "zero": bytes(64) + b"\x1b",
    }[how]


# ---- the three words ----


def test_a_good_bundle_is_not_anchored_until_somebody_holds_a_head(told: Told) -> None:
    assert states(told.bundle) == ["ok", "ok", "not-checked"]
    assert states(told.bundle, heads=[told.bundle["head"]]) == ["ok", "ok", "ok"]


def test_a_cut_tail_is_found_with_a_head_only(told: Told) -> None:
    cut = told.copy()
    cut["transactions"] = cut["transactions"][:-6]
    forge(cut)
    assert states(cut) == ["ok", "ok", "not-checked"]
    assert states(cut, heads=[told.bundle["head"]]) == ["ok", "ok", "no"]
    assert "has" in reasons(cut, heads=[told.bundle["head"]])


def forge(bundle: dict[str, Any]) -> dict[str, Any]:
    """What a careful forger does: writes every log and head anew as the law wants them."""

    class Forger(Fold):
        def _compare(self, law: Any) -> None:
            self.law = law

    fold = Forger(bundle["identity"])
    for item in bundle["transactions"]:
        tx = parse_transaction(item | {"blockNumber": item["block"], "transactionIndex": item["index"]})
        block = parse_block(bundle["blocks"][str(tx.block)] | {"number": tx.block})
        place = {"blockNumber": tx.block, "transactionHash": item["hash"]}
        fold.apply(block, tx, [parse_log(log | place | {"logIndex": log["index"]}) for log in item["logs"]])
        item["logs"] = [
            {
                "address": "0x" + address.hex(),
                "topics": ["0x" + topic.hex() for topic in (verify.TOPICS[name], *indexed)],
                "data": "0x" + data.hex(),
                "index": i,
            }
            for i, (name, address, indexed, data) in enumerate(fold.law)
        ]
    bundle["head"] = {"count": fold.count, "head": fold.head.hex()}
    return bundle


def calls(bundle: dict[str, Any], function: str) -> list[int]:
    return [
        i for i, tx in enumerate(bundle["transactions"]) if decode_call(bytes.fromhex(tx["input"][2:]))[1] == function
    ]


def edited(bundle: dict[str, Any]) -> None:
    """A grant's purposes widened, in the message itself."""
    item = bundle["transactions"][calls(bundle, "grant")[0]]
    word = (0b110).to_bytes(32, "big").hex()
    before, found, after = item["input"].rpartition(word)
    item["input"] = before + found.replace("06", "07") + after


def dropped(bundle: dict[str, Any]) -> None:
    """The committee's suspension never happened."""
    del bundle["transactions"][calls(bundle, "suspend")[0]]


def inserted(bundle: dict[str, Any]) -> None:
    """A role change played twice, with another nonce."""
    place = calls(bundle, "setRole")[-1]
    item = copy.deepcopy(bundle["transactions"][place])
    raw = bytearray.fromhex(item["input"][2:])
    raw[4 + 4 * 32 + 5] ^= 1
    bundle["transactions"].insert(place + 1, item | {"input": "0x" + raw.hex(), "index": 1, "hash": "0x" + "77" * 32})


def reordered(bundle: dict[str, Any]) -> None:
    """The two looks of the first attempt change places."""
    first, second = (bundle["transactions"][i] for i in calls(bundle, "viewOutput")[:2])
    for key in ("input", "logs", "hash"):
        first[key], second[key] = second[key], first[key]


def swapped(bundle: dict[str, Any]) -> None:
    """Two votes exchange their signatures."""
    first, second = (bundle["transactions"][i] for i in calls(bundle, "vote")[:2])
    raw = [decode_call(bytes.fromhex(tx["input"][2:]))[2]["signature"].hex() for tx in (first, second)]
    first["input"], second["input"] = first["input"].replace(*raw), second["input"].replace(*raw[::-1])


def high_s(bundle: dict[str, Any]) -> None:
    item = bundle["transactions"][calls(bundle, "seal")[0]]
    good = decode_call(bytes.fromhex(item["input"][2:]))[2]["signature"]
    item["input"] = item["input"].replace(good.hex(), twisted(good, "high s").hex())


def wrong_type(bundle: dict[str, Any]) -> None:
    """A cancellation carries the signature of the run request: the right person, another message."""
    item, request = (bundle["transactions"][calls(bundle, name)[0]] for name in ("cancel", "requestRun"))
    good, other = (decode_call(bytes.fromhex(tx["input"][2:]))[2]["signature"].hex() for tx in (item, request))
    item["input"] = item["input"].replace(good, other)


FORGERIES: list[tuple[Callable[[dict[str, Any]], None], list[str]]] = [
    (edited, ["ok", "no", "not-checked"]),
    (inserted, ["ok", "no", "not-checked"]),
    (swapped, ["ok", "no", "not-checked"]),
    (high_s, ["ok", "no", "not-checked"]),
    (wrong_type, ["ok", "no", "not-checked"]),
    (dropped, ["ok", "ok", "no"]),
    (reordered, ["ok", "ok", "no"]),
]


@pytest.mark.parametrize(("forgery", "verdict"), FORGERIES, ids=lambda x: getattr(x, "__name__", None))
def test_a_careful_forgery_is_found_by_signatures_or_by_a_held_head(
    told: Told, forgery: Any, verdict: list[str]
) -> None:
    held = [told.bundle["head"]]
    forged = told.copy()
    forgery(forged)
    if forgery in (edited, dropped, inserted, reordered):  # naively: the later heads no longer fit
        assert states(forged, heads=held)[0] == "no"
        assert re.search(
            r"step \d+, block \d+, transaction 0x[0-9a-f]{64}: event \d+|carries|leave|step", reasons(forged)
        )
    assert states(forge(forged), heads=held) == verdict
    if verdict[1] == "ok":
        assert states(forged) == ["ok", "ok", "not-checked"]


def test_one_changed_event_field_is_named(told: Told) -> None:
    forged = told.copy()
    place = next(i for i in calls(forged, "authorise"))
    log = forged["transactions"][place]["logs"][0]
    log["data"] = log["data"][:-1] + ("0" if log["data"][-1] != "0" else "1")
    said = examine(as_bytes(forged))["consistent"]
    assert said[0] == "no"
    assert f"block {forged['transactions'][place]['block']}" in said[1]
    assert "event 1 (AccessGranted) must say 0x" in said[1]


def test_every_changed_byte_is_found_or_changes_nothing(told: Told) -> None:
    """Data and topics: always found. Input: found, or slack that no contract reads (padding, a refused item): the
    state and the head are then the same. A seventh of the bytes, over each kind of call and event."""
    fold, crypto = Fold(told.bundle["identity"]), load_crypto(parse_identity(told.bundle["identity"]))
    seen: set[str] = set()
    tried, slack = 0, 0
    for item in told.bundle["transactions"]:
        tx = parse_transaction(item | {"blockNumber": item["block"], "transactionIndex": item["index"]})
        place = {"blockNumber": tx.block, "transactionHash": item["hash"]}
        block = parse_block(told.bundle["blocks"][str(tx.block)] | {"number": tx.block})
        logs = [parse_log(log | place | {"logIndex": log["index"]}) for log in item["logs"]]
        fold._crypto = None
        before = copy.deepcopy(fold)
        fold.apply(block, tx, logs, crypto)
        shape = tx.input[:4].hex() + "".join(sorted({log.topics[0].hex() for log in logs}))
        if shape in seen:
            continue
        seen.add(shape)
        for changed_tx, changed_logs in changes(tx, logs):
            tried += 1
            other = copy.deepcopy(before)
            try:
                other.apply(block, changed_tx, changed_logs, crypto)
            except Finding:
                continue
            assert changed_tx.input != tx.input
            assert facts(other) == facts(fold)
            slack += 1
    assert tried > 1500
    assert slack < tried // 3


def changes(tx: Any, logs: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    def flips(data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), 7):
            yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    for data in flips(tx.input):
        yield tx._replace(input=data), logs
    for i, log in enumerate(logs):
        for data in flips(log.data):
            yield tx, [*logs[:i], log._replace(data=data), *logs[i + 1 :]]
        for t, topic in enumerate(log.topics):
            for data in flips(topic):
                yield (
                    tx,
                    [*logs[:i], log._replace(topics=(*log.topics[:t], data, *log.topics[t + 1 :])), *logs[i + 1 :]],
                )


def facts(fold: Fold) -> dict[str, Any]:
    return {name: value for name, value in vars(fold).items() if not name.startswith("_") and name != "signatures"}


# ---- receipts, witnesses, the command ----


def patient_receipt(told: Told) -> dict[str, Any]:
    """A consent given through the real terms, as its holder keeps it (protocol.md §1)."""
    world, subject, terms, salt = told.world, told.names["subjects"][6], '{"type":"volens/terms/1"}', random32()
    commitment = hashlib.sha256(canonical(b"volens/terms/1", salt, hashlib.sha256(terms.encode()).digest())).digest()
    message = world.grant_message(subject, termsCommitment=commitment)
    item = world.grant_item(message)
    world.ledger.relay("ConsentRegistry", "grant", [item])
    told.bundle = bundle_of(world)
    last = told.bundle["transactions"][-1]
    signed = {name: value.hex() if isinstance(value, bytes) else value for name, value in message.items()}
    count, head = world.ledger.head()
    return {
        "type": "volens/receipt/1",
        "identity": identity_id(told.bundle["identity"]).hex(),
        "subject": subject.hex(),
        "dataset": world.dataset.hex(),
        "epoch": 0,
        "version": 1,
        "tx": last["hash"],
        "block": last["block"],
        "blockHash": told.bundle["blocks"][str(last["block"])]["hash"],
        "count": count,
        "head": head.hex(),
        "terms": terms,
        "termsSalt": salt.hex(),
        "signedMessage": signed,
        "signature": item[2].hex(),
        "witness": told.witness(count),
    }


def run_receipt(told: Told) -> dict[str, Any]:
    fold = replay(told.bundle).fold
    run, attempt = told.names["run"], fold.attempts[told.names["run"], 2]
    steps = replay(told.bundle).steps
    count = 1 + next(
        i for i, step in enumerate(steps) if any(log.topics[0] == verify.TOPICS["Released"] for log in step.logs)
    )
    request = fold.runs[run].request
    return {
        "type": "volens/run-receipt/1",
        "identity": identity_id(told.bundle["identity"]).hex(),
        "run": run.hex(),
        "attempt": 2,
        "permit": request["permit"].hex(),
        "listHash": attempt.list_hash.hex(),
        "granted": 5,
        "sealHash": told.names["seal"].hex(),
        "outputCommitment": attempt.seal["outputCommitment"].hex(),
        "outputSalt": "00" * 32,
        "releaseTx": steps[count - 1].tx.hash.hex(),
        "count": count,
        "head": steps[count - 1].head.hex(),
        "witness": told.witness(count),
        "codeHash": attempt.binding["codeHash"].hex(),
        "paramsHash": request["paramsHash"].hex(),
    }


@pytest.mark.parametrize("make", [patient_receipt, run_receipt])
def test_a_receipt_anchors_and_each_of_its_facts_is_checked(told: Told, make: Callable[[Told], dict[str, Any]]) -> None:
    receipt = make(told)
    assert states(told.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    for name, value in receipt.items():
        if name in ("witness", "outputSalt"):  # the salt opens the output, not the trail
            continue
        other: Any = value + 1 if isinstance(value, int) else {} if isinstance(value, dict) else "00" * 31 + "01"
        assert states(told.bundle, receipts=[as_bytes(receipt | {name: other})]) == ["ok", "ok", "no"], name
        assert states(told.bundle, receipts=[as_bytes({n: v for n, v in receipt.items() if n != name})])[2] == "no", (
            name
        )
    for change in (
        {"broker": told.world.people["sol"].address},
        told.witness(receipt["count"], by="sol"),
        {"count": 1},
        {"signature": told.witness(1)["signature"]},
        {"block": 1},
        {"blockHash": "00" * 32},
    ):
        forged = receipt | {"witness": receipt["witness"] | change}
        assert states(told.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"], change


def withdrawal_receipt(told: Told, who: int, event: str, run: str, was: str, attempt: int) -> dict[str, Any]:
    """What a patient keeps of the first step that took something back, as her command writes it; one effect."""
    subject = told.names["subjects"][who]
    steps = replay(told.bundle).steps
    step = next(
        step for step in steps for log in step.logs
        if log.topics[:2] == (verify.TOPICS[event], subject) and (event == "ConsentRevoked" or any(log.data[:32]))
    )  # fmt: skip
    mined = {"tx": step.tx.hash.hex(), "block": step.block.number, "blockHash": step.block.hash.hex(),
             "count": step.count, "head": step.head.hex()}  # fmt: skip
    effect = {"run": told.names[run].hex(), "was": was, "attempt": attempt, "sealed": False, "nextAttempt": 0,
              "nextBlock": 0, "state": "released", "sentence": "What became of it."}  # fmt: skip
    return {"type": "volens/withdrawal-receipt/1", "identity": identity_id(told.bundle["identity"]).hex(),
            "subject": subject.hex(), "dataset": told.world.dataset.hex(), "receipt": mined, "settled": True,
            "effects": [effect]}  # fmt: skip


@pytest.mark.parametrize("given", [
    (0, "ConsentRevoked", "run", "sealed", 1), (1, "ConsentGranted", "run", "released", 2),
], ids=["revoked", "narrowed"])  # fmt: skip
def test_a_receipt_of_a_withdrawal_anchors_and_its_ledger_facts_are_checked(told: Told, given: tuple[Any, ...]) -> None:
    receipt = withdrawal_receipt(told, *given)
    assert states(told.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    assert states(told.bundle, receipts=[as_bytes(receipt | {"effects": []})]) == ["ok", "ok", "ok"]
    mined, (effect,) = receipt["receipt"], receipt["effects"]
    forged = [receipt | {name: "00" * 31 + "01"} for name in ("identity", "subject", "dataset")]
    forged += [receipt | {"receipt": mined | {name: value + 1 if isinstance(value, int) else "00" * 31 + "01"}}
               for name, value in mined.items()]  # fmt: skip
    released = "sealed" if effect["was"] == "released" else "released"
    other = {"run": "00" * 31 + "01", "was": released, "attempt": 3 - effect["attempt"] if given[0] == 0 else 3}
    forged += [receipt | {"effects": [effect | {name: value}]} for name, value in other.items()]
    if effect["was"] == "released":  # it is not hidden behind an attempt that she was not in
        forged.append(receipt | {"effects": [effect | {"was": "queued", "attempt": 0}]})
    forged += [{n: v for n, v in receipt.items() if n != name} for name in ("receipt", "effects", "subject", "dataset")]
    for one in forged:
        assert states(told.bundle, receipts=[as_bytes(one)]) == ["ok", "ok", "no"], one


def test_only_a_step_that_takes_something_back_is_a_withdrawal(told: Told) -> None:
    """Her first grant, her grant after the withdrawal, and the enrolment are hers too, and take nothing back."""
    receipt = withdrawal_receipt(told, 0, "ConsentRevoked", "run", "sealed", 1)
    subject, refused = bytes.fromhex(receipt["subject"]), 0
    for step in replay(told.bundle).steps:
        if any(subject in log.topics for log in step.logs) and step.tx.hash.hex() != receipt["receipt"]["tx"]:
            mined = {"tx": step.tx.hash.hex(), "block": step.block.number, "blockHash": step.block.hash.hex(),
                     "count": step.count, "head": step.head.hex()}  # fmt: skip
            assert states(told.bundle, receipts=[as_bytes(receipt | {"receipt": mined})]) == ["ok", "ok", "no"]
            refused += 1
    assert refused >= 4


def test_a_receipt_that_names_another_kind_of_call_is_answered(told: Told) -> None:
    receipt = patient_receipt(told)
    steps = replay(told.bundle).steps
    enrolled = next(one for one in steps if any(log.topics[0] == verify.TOPICS["Enrolled"] for log in one.logs))
    forged = receipt | {"tx": enrolled.tx.hash.hex()}
    assert states(told.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"]


def test_witnesses_in_the_bundle_are_checked_but_anchor_nothing(told: Told) -> None:
    bundle = told.copy() | {"witnesses": [told.witness(3)]}
    assert states(bundle) == ["ok", "ok", "not-checked"]
    bundle["witnesses"] = [told.witness(3) | {"head": told.witness(4)["head"]}]
    assert states(bundle)[1] == "no"


def test_the_identity_needs_a_quorum_of_founders(told: Told) -> None:
    for change in (
        lambda s: s.pop(told.world.people["pia"].address),
        lambda s: s.update({told.world.people["rui"].address: "00" * 65}),
    ):
        bundle = told.copy()
        change(bundle["identity"]["signatures"])
        assert "no" in states(bundle)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The file alone, without the product on the path and without site-packages."""
    script = ROOT / "governance" / "verify.py"
    return subprocess.run(
        [sys.executable, "-I", "-S", str(script), *arguments], capture_output=True, text=True, check=False
    )


def test_the_command_stands_alone_and_says_what_it_could_not_check(told: Told, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "trail.json"
    path.write_bytes(as_bytes(told.bundle))
    head = f"{told.bundle['head']['count']}:{told.bundle['head']['head']}"
    alone = command(str(path), "--head", head)
    assert alone.returncode == 8, alone.stderr
    assert [line.split()[:2] for line in alone.stdout.splitlines()[:3]] == [
        ["consistent", "ok"],
        ["signed", "not-checked"],
        ["anchored", "ok"],
    ]
    assert "pip install eth-account" in alone.stdout
    assert main([str(path), "--head", head]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "valid"
    assert main([str(path)]) == 8
    assert main([str(path), "--head", "1:" + "00" * 32]) == 7
    assert main([str(path), "--head", "one"]) == 7
    assert main([str(tmp_path / "nothing.json")]) == 7


def test_two_thousand_people_take_seconds(told: Told) -> None:
    """Enrolments, grants and an authorisation, encoded here; the signatures stand for nothing, the law is executed."""
    address = {item["name"]: bytes.fromhex(item["address"][2:]) for item in told.bundle["identity"]["contracts"]}
    fold, world, signature = replay(told.bundle).fold, told.world, b"\1" * 65
    permit, day = fold.permits[told.names["permit"]], fold.time // 86400
    fold.permits[told.names["permit"]] = permit._replace(status=verify.APPROVED)
    rita, subjects = bytes.fromhex(world.people["rita"].address[2:]), sorted(random32() for _ in range(2000))
    calls: list[tuple[str, bytes, list[Any]]] = []
    for first in range(0, 2000, 100):
        part = subjects[first : first + 100]
        enrolments = [((s, s[:20], 1, 2**40 - 1), signature, signature) for s in part]
        grants = [
            ((s, world.dataset, 0, 0, day, day + 9, 6, CATEGORIES, s, s, 2**40 - 1), s[:20], signature) for s in part
        ]
        said = [((verify.TOPICS["Enrolled"], s, words(rita)), b"") for s in part]
        calls += [("edf3773c", encode(["((bytes32,bytes,uint8,uint40),bytes,bytes)[]"], [enrolments]), said)]
        kinds = "bytes32,bytes32,uint32,uint24,uint24,uint24,uint32,uint32,bytes32,bytes32,uint40"
        calls += [("5cb2fc01", encode([f"(({kinds}),bytes,bytes)[]"], [grants]), [])]
    request = (told.names["permit"], hashlib.sha256(b"").digest(), bytes(32), 7, 2**40 - 1)
    calls.append(
        (
            "45de6e7f",
            encode(["(bytes32,bytes32,bytes32,uint256,uint40)", "bytes", "bytes"], [request, b"", signature]),
            [],
        )
    )
    run = hashlib.sha256(words(permit.applicant, 7)).digest()
    listed = subjects[:1000]
    binding = (run, 1, hashlib.sha256(b"".join(listed)).digest(), run, permit.request["codeHash"], 60, 2**40 - 1)
    kinds = "(bytes32,uint32,bytes32,bytes32,bytes32,uint32,uint40)"
    calls.append(("1513ef07", encode([kinds, "bytes", "bytes32[]"], [binding, signature, listed]), []))
    started = time.monotonic()
    for i, (selector, arguments, said) in enumerate(calls):
        block = verify.Block(fold.place[0] + 1, fold.time, bytes(32))
        tx = verify.Transaction(
            words(i), block.number, 0, address[verify.CALLS[selector].split()[0]], bytes.fromhex(selector) + arguments
        )
        logs = [verify.Log(b"", topics, data, n, block.number, tx.hash) for n, (topics, data) in enumerate(said)]
        with pytest.raises(Finding, match="event"):  # these logs are stubs: the state is what counts
            fold.apply(block, tx, logs)
    assert len(fold.granted(run, 1)) == 1000
    assert len(fold.consents) >= 2000
    assert time.monotonic() - started < 5


def folded(world: World) -> Fold:
    """The fold of a whole chain, with every signature checked; its head is the contract's."""
    bundle = bundle_of(world)
    assert replay(bundle).fold.head == replay(bundle, signed=True).fold.head == bytes.fromhex(bundle["head"]["head"])
    return replay(bundle, signed=True).fold


def test_every_reason_of_the_contracts_is_the_fold_s(world: World) -> None:
    now, today = world.ledger.now(), world.ledger.now() // 86400
    subjects = world.enrol(9)
    world.grant(subjects[:4])
    for subject, change in zip(
        subjects[4:7], ({"fromDay": today + 9}, {"purposes": 1 << 3}, {"categories": 1}), strict=True
    ):
        world.grant([subject], **change)
    world.grant([subjects[7]])
    world.revoke(subjects[7])
    permit, stranger = world.permit(expiry=now + 10**6), random32()
    run = world.request_run(permit)
    world.authorise(run, sorted([*subjects, stranger]), leaseSeconds=10**7)
    fold = folded(world)
    attempt = fold.attempts[run, 1]
    assert dict(attempt.denied) == dict(zip([stranger, *subjects[4:]], (1, 4, 6, 7, 3, 2), strict=True))
    assert attempt.lease_until == fold.time + 86400
    world.authorise(run, subjects, attempt=2, codeHash=random32())  # 38
    late = world.request_run(permit, deadline=world.ledger.now())  # 41 below
    world.authorise(late, subjects)
    world.request_run(world.permit(approve=["pia"]))  # 33
    world.set_role(world.people["wanda"].address, "worker", end=world.ledger.now())
    world.authorise(run, subjects, attempt=2)  # 37
    world.set_role(world.people["noor"].address, "analyst", end=world.ledger.now())
    world.authorise(run, subjects, attempt=2, by="wilma")  # 36
    world.request_run(permit)  # 36
    assert folded(world).newest_attempt(run) == 1
    told = [
        log["data"]
        for tx in bundle_of(world)["transactions"]
        for log in tx["logs"]
        if log["topics"][0] == "0x" + verify.TOPICS["RunRefused"].hex()
    ]
    assert {int(data[-64:], 16) for data in told} >= {33, 36, 37, 38}


def test_a_step_through_another_contract_or_out_of_order_is_refused(told: Told) -> None:
    for change in ({"to": told.bundle["identity"]["contracts"][2]["address"]}, {"to": "0x" + "99" * 20}):
        bundle = told.copy()
        bundle["transactions"][0].update(change)
        assert "was not sent to the PermitRegistry" in reasons(bundle)
    bundle = told.copy()
    bundle["transactions"].insert(1, bundle["transactions"][0])
    assert "does not follow" in reasons(bundle)
    bundle = told.copy()
    bundle["blocks"][str(bundle["transactions"][5]["block"])]["timestamp"] = 1
    assert "time" in reasons(bundle)


def test_an_odd_encoding_that_the_contracts_accept_is_accepted(told: Told) -> None:
    """Somebody relays a valid vote with its signature moved and slack behind it: no fold may stop there."""
    bundle = told.copy()
    item = bundle["transactions"][calls(bundle, "vote")[0]]
    raw = bytes.fromhex(item["input"][2:])
    head, tail = raw[: 4 + 4 * 32], raw[4 + 5 * 32 :]
    item["input"] = "0x" + (head + words(6 * 32) + b"\xee" * 32 + tail + b"\xdd" * 7).hex()
    assert states(bundle, heads=[bundle["head"]]) == ["ok", "ok", "ok"]


def test_deep_and_broken_texts_are_refused_quickly() -> None:
    started = time.monotonic()
    for text in ('"' + '\\"' * 400_000, "[" * 900_000, '{"a":' * 100_000, '"' * 1_000_000):
        with pytest.raises(Malformed):
            strict_json(text.encode())
    assert time.monotonic() - started < 3


def mutilated() -> dict[str, Callable[[dict[str, Any]], Any]]:
    def tx(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda b: b["transactions"][3].update({key: value})

    def log(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda b: b["transactions"][3]["logs"][0].update({key: value})

    return {
        "no type": lambda b: b.pop("type"),
        "no identity": lambda b: b.pop("identity"),
        "identity a list": lambda b: b.update(identity=[]),
        "no blocks": lambda b: b.pop("blocks"),
        "blocks a list": lambda b: b.update(blocks=[]),
        "a block gone": lambda b: b["blocks"].popitem(),
        "no head": lambda b: b.pop("head"),
        "head null": lambda b: b.update(head=None),
        "count a text": lambda b: b["head"].update(count="x"),
        "no witnesses": lambda b: b.pop("witnesses"),
        "transactions null": lambda b: b.update(transactions=None),
        "a transaction a number": lambda b: b["transactions"].append(7),
        "signatures null": lambda b: b["identity"].update(signatures=None),
        "time negative": lambda b: next(iter(b["blocks"].values())).update(timestamp=-1),
        "float": lambda b: b["head"].update(count=1.5),
        "to null": tx("to", None),
        "to short": tx("to", "0x00"),
        "input odd": tx("input", "0x123"),
        "input empty": tx("input", "0x"),
        "input not hex": tx("input", "0xzz"),
        "input cut": tx("input", "0x5a15f075" + "ff" * 40),
        "index negative": tx("index", -1),
        "block a bool": tx("block", True),
        "block missing": tx("block", 1 << 40),
        "hash short": tx("hash", "0x12"),
        "no logs": tx("logs", []),
        "logs null": tx("logs", None),
        "logs of numbers": tx("logs", [1]),
        "topics null": log("topics", None),
        "no topics": log("topics", []),
        "topic short": log("topics", ["0x00"]),
        "data null": log("data", None),
        "data odd": log("data", "0x1"),
        "address short": log("address", "0x1"),
        "index a text": log("index", "first"),
    }


@pytest.mark.parametrize(
    "name", [*mutilated(), "not JSON", "empty", "duplicate key", "too deep", "a list", "half a character"]
)
def test_a_mutilated_bundle_gets_a_plain_sentence(told: Told, name: str, tmp_path: Path) -> None:
    texts = {
        "not JSON": b"PK",
        "empty": b"",
        "duplicate key": b'{"type":1,"type":1}',
        "too deep": b"[" * 200_000,
        "a list": b"[]",
        "half a character": b'{"type":"\\ud800"}',
    }
    bundle: Any = texts.get(name) or told.copy()
    if name in mutilated():
        mutilated()[name](bundle)
    if name == "empty":
        bundle = b""
    found = examine(as_bytes(bundle))
    assert "no" in [state for state, _ in found.values()]
    assert not re.search(r"Traceback|Error|\.py|<class", reasons(bundle))


# ---- what a lying node could show: real signatures over calls that the contracts would have refused ----


class Open:
    """A world in the middle of its work: a permit to vote on, an approved one, a run sealed and seen by one checker."""

    def __init__(self, world: World) -> None:
        self.world, self.subjects = world, world.enrol(4)
        world.grant(self.subjects)
        self.asked = world.permit_request()
        request = world.by("noor", "PermitRequest", self.asked)
        world.relay("PermitRegistry", "requestPermit", "PermitRequest", self.asked, request)
        world.vote(self.asked["permit"], "pia")
        self.permit = world.permit()
        self.fresh = world.request_run(self.permit)
        self.run = world.request_run(self.permit)
        world.authorise(self.run, self.subjects)
        self.seal = world.seal(self.run)
        world.look(self.run, "sol")
        self.unsealed = world.request_run(self.permit)
        world.authorise(self.unsealed, self.subjects)
        self.fold = replay(bundle_of(world), signed=True).fold
        self.fold._crypto = None
        self.crypto = load_crypto(self.fold.identity)

    def verdict(self, row: Row, signer: str, later: int = 0, **change: Any) -> str:
        """What the fold says of this call; `event 1` when only the (absent) logs are wrong."""
        fold, world = copy.deepcopy(self.fold), self.world
        message = row.message(self) | {"deadline": 2**40 - 1} | change
        if row.kind == "Revoke":
            del message["deadline"]
        names = signer.split()
        signed = (
            [world.by(n, row.kind, message) for n in names]
            if names[0] in world.people
            else [world.subjects[self.subjects[int(n)]].sign(world.ledger.domain, row.kind, message) for n in names]
        )
        arguments = [message_tuple(row.kind, message), *row.rest(self, signed)]
        data = world.ledger.encode(row.contract, row.function, *arguments)
        tx = verify.Transaction(
            bytes(32), fold.place[0] + 1, 0, fold.identity.contracts[row.contract][0], data
        )
        said = words(bytes.fromhex(world.people[names[0]].address[2:])) * 8 if names[0] in world.people else b""
        logs = [
            verify.Log(b"", (topic,), said, i, tx.block, tx.hash)
            for i, topic in enumerate(map(verify.TOPICS.get, row.claims))
        ]
        with pytest.raises(Finding) as found:
            fold.apply(verify.Block(tx.block, fold.time + later, bytes(32)), tx, logs, self.crypto)
        return str(found.value)


class Row(NamedTuple):
    contract: str
    function: str
    kind: str
    message: Callable[[Open], dict[str, Any]]
    claims: tuple[str, ...] = ()
    rest: Callable[[Open, list[bytes]], list[Any]] = lambda o, signed: [signed[0]]


def one_list(o: Open, signed: list[bytes]) -> list[Any]:
    return [signed]


ROWS = {
    "setRole": Row(
        "PermitRegistry",
        "setRole",
        "RoleChange",
        lambda o: {"account": "0x" + "55" * 20, "role": 4, "start": 0, "end": 9, "nonce": 1},
        (),
        one_list,
    ),
    "registerDataset": Row(
        "PermitRegistry",
        "registerDataset",
        "RegisterDataset",
        lambda o: {"dataset": bytes(32), "documentHash": bytes(32)},
        ("DatasetRegistered",),
    ),
    "requestPermit": Row(
        "PermitRegistry",
        "requestPermit",
        "PermitRequest",
        lambda o: o.asked | {"permit": bytes(32)},
        ("PermitRequested",),
    ),
    "vote": Row(
        "PermitRegistry",
        "vote",
        "Vote",
        lambda o: {
            "permit": o.asked["permit"],
            "requestHash": o.fold.permits[o.asked["permit"]].request_hash,
            "yes": True,
        },
        ("Voted",),
    ),
    "suspend": Row("PermitRegistry", "suspend", "Suspend", lambda o: {"permit": o.permit}, ("PermitSuspended",)),
    "revoke": Row(
        "ConsentRegistry",
        "revoke",
        "Revoke",
        lambda o: {"subject": o.subjects[0], "dataset": o.world.dataset, "epoch": 0},
        (),
        lambda o, signed: [o.world.subjects[o.subjects[0]].signer, signed[0]],
    ),
    "registerRecords": Row(
        "AccessLedger",
        "registerRecords",
        "RecordsRegistered",
        lambda o: {"ingest": bytes(32), "dataset": o.world.dataset, "leavesRoot": bytes(32), "count": 1},
    ),
    "requestRun": Row(
        "AccessLedger",
        "requestRun",
        "RunRequest",
        lambda o: {
            "permit": o.permit,
            "paramsHash": hashlib.sha256(b"{}").digest(),
            "resultKey": bytes(32),
            "nonce": 5,
        },
        (),
        lambda o, signed: [b"{}", signed[0]],
    ),
    "authorise": Row(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        lambda o: o.world.binding(o.fresh, o.subjects),
        (),
        lambda o, signed: [signed[0], o.subjects],
    ),
    "unsorted": Row(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        lambda o: o.world.binding(o.fresh, o.subjects[::-1]),
        (),
        lambda o, signed: [signed[0], o.subjects[::-1]],
    ),
    "seal": Row("AccessLedger", "seal", "Seal", lambda o: o.world.seal_message(o.unsealed)),
    "viewOutput": Row(
        "AccessLedger",
        "viewOutput",
        "Review",
        lambda o: {"run": o.run, "attempt": 1, "viewerKey": bytes(32)},
        ("OutputViewed",),
    ),
    "release": Row(
        "AccessLedger",
        "release",
        "Decision",
        lambda o: {"run": o.run, "attempt": 1, "sealHash": o.seal, "reason": 0},
        (),
        lambda o, signed: [o.subjects, [0] * 4, signed],
    ),
    "short": Row(
        "AccessLedger",
        "release",
        "Decision",
        lambda o: {"run": o.run, "attempt": 1, "sealHash": o.seal, "reason": 0},
        (),
        lambda o, signed: [o.subjects[1:], [0] * 3, signed],
    ),
    "reject": Row(
        "AccessLedger",
        "reject",
        "Decision",
        lambda o: {"run": o.run, "attempt": 1, "sealHash": o.seal, "reason": 98},
        ("Rejected",),
    ),
    "cancel": Row("AccessLedger", "cancel", "Cancel", lambda o: {"run": o.fresh}),
}
TWINS = [
    ("setRole", "pia quinn"),
    ("registerDataset", "omar"),
    ("requestPermit", "noor"),
    ("vote", "quinn"),
    ("suspend", "dora"),
    ("suspend", "rui"),
    ("revoke", "0"),
    ("registerRecords", "omar"),
    ("requestRun", "noor"),
    ("authorise", "wanda"),
    ("seal", "wanda"),
    ("viewOutput", "tess"),
    ("reject", "sol"),
    ("cancel", "noor"),
]
LIES: list[tuple[str, str, str, dict[str, Any]]] = [
    *((name, by, "deadline", {"deadline": 1}) for name, by in TWINS if name != "revoke"),
    ("setRole", "pia", "quorum", {}),
    ("setRole", "pia pia", "quorum", {}),
    ("setRole", "pia sol", "not live", {}),
    ("setRole", "pia quinn", "senseless", {"role": 0}),
    ("setRole", "pia quinn", "senseless", {"start": 10}),
    ("setRole", "pia quinn", "another role", {"account": "sol"}),
    ("setRole", "pia quinn", "used", {"nonce": "used"}),
    ("registerDataset", "noor", "not live", {}),
    ("registerDataset", "omar", "already", {"dataset": "known"}),
    ("requestPermit", "sol", "not live", {}),
    ("requestPermit", "noor", "known permit", {"permit": "known"}),
    ("requestPermit", "noor", "known permit", {"dataset": bytes(32)}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 7}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 6 | 2}),
    ("requestPermit", "noor", "categories", {"categories": 1 << 10}),
    ("requestPermit", "noor", "ended", {"expiry": 1}),
    ("vote", "noor", "not live", {}),
    ("vote", "pia", "twice", {}),
    ("vote", "quinn", "request", {"requestHash": bytes(32)}),
    ("vote", "quinn", "not at that point", {"permit": "approved"}),
    ("suspend", "sol", "not live", {}),
    ("suspend", "rui", "not at that point", {"permit": "known"}),
    ("revoke", "1", "her own", {}),
    ("revoke", "0", "to come", {"epoch": 1}),
    ("registerRecords", "noor", "signed by", {}),
    ("registerRecords", "omar", "ingest", {"count": 0}),
    ("requestRun", "sol", "signed by", {}),
    ("requestRun", "noor", "not as signed", {"paramsHash": bytes(32)}),
    ("authorise", "sol", "no worker", {}),
    ("authorise", "wanda", "next attempt", {"attempt": 2}),
    ("authorise", "wanda", "worker signed", {"subjectsHash": bytes(32)}),
    ("unsorted", "wanda", "unsorted", {}),
    ("authorise", "wanda", "unknown", {"run": bytes(32)}),
    ("seal", "wilma", "signed by", {}),
    ("seal", "wanda", "does not allow", {"outputClass": 2}),
    ("seal", "wanda", "does not allow", {"outputClass": 4}),
    ("seal", "wanda", "already", {"run": "sealed"}),
    ("seal", "wanda", "newest", {"attempt": 2}),
    ("viewOutput", "noor", "not live", {}),
    ("viewOutput", "sol", "nothing is sealed", {"run": "unsealed"}),
    ("release", "sol sol", "two different", {}),
    ("release", "sol tess", "did not look", {}),
    ("release", "sol pia", "not live", {}),
    ("release", "sol sol", "two different", {"reason": 1}),
    ("short", "sol sol", "two different|granted", {}),
    ("reject", "tess", "did not look", {}),
    ("reject", "sol", "reason", {"reason": 0}),
    ("reject", "sol", "sealed", {"sealHash": bytes(32)}),
    ("cancel", "sol", "signed by", {}),
]


@pytest.fixture(scope="module")
def opened(devchain: DevChain) -> Open:
    return Open(World.create(devchain.url))


def placed(o: Open, change: dict[str, Any]) -> dict[str, Any]:
    known = {
        ("permit", "known"): o.asked["permit"],
        ("permit", "approved"): o.permit,
        ("dataset", "known"): o.world.dataset,
        ("nonce", "used"): min(o.fold.nonces),
        ("account", "sol"): o.world.people["sol"].address,
        ("run", "sealed"): o.run,
        ("run", "unsealed"): o.unsealed,
    }
    return {
        name: known.get((name, value), value) if isinstance(value, str) else value for name, value in change.items()
    }


@pytest.mark.parametrize(("name", "signer"), TWINS)
def test_a_lawful_call_passes_up_to_its_absent_logs(opened: Open, name: str, signer: str) -> None:
    assert re.search(r": event 1 \(", opened.verdict(ROWS[name], signer))


@pytest.mark.parametrize(("name", "signer", "fact", "change"), LIES)
def test_an_unlawful_call_is_named_whatever_the_node_shows(
    opened: Open, name: str, signer: str, fact: str, change: dict[str, Any]
) -> None:
    said = opened.verdict(ROWS[name], signer, **placed(opened, change))
    assert re.search(fact, said), said
    assert "event 1 (" not in said


def test_the_lease_and_the_last_quorum_are_kept(opened: Open) -> None:
    assert "lease" in opened.verdict(ROWS["seal"], "wanda", later=3601)
    assert "event 1 (" in opened.verdict(ROWS["seal"], "wanda", later=3600 - 60)
    people = opened.world.people
    opened.fold.members[bytes.fromhex(people["rui"].address[2:])] = verify.Member(1, 0, 1)
    ended = {"account": people["quinn"].address, "role": 1, "start": 0, "end": 1}
    assert "no quorum is left" in opened.verdict(ROWS["setRole"], "pia quinn", **ended)


def test_dirty_bits_are_refused_as_solidity_does(told: Told) -> None:
    bundle = told.copy()
    data = bundle["transactions"][0]["input"]
    bundle["transactions"][0]["input"] = data[:10] + "01" + data[12:]  # above the 20 bytes of an address
    assert "bits that are not its own" in reasons(bundle)


def test_an_applicant_on_the_committee_does_not_vote_on_her_own_request(opened: Open) -> None:
    noor = bytes.fromhex(opened.world.people["noor"].address[2:])
    opened.fold.members[noor], before = verify.Member(1, 0, 2**40 - 1), opened.fold.members[noor]
    assert "applicant voted" in opened.verdict(ROWS["vote"], "noor")
    opened.fold.members[noor] = before


def test_an_item_that_cannot_be_read_may_only_have_been_skipped(told: Told) -> None:
    """The contracts skip an item by its deadline before they read the rest; nothing else may hide behind bad bytes."""
    bundle = told.copy()
    item = bundle["transactions"][calls(bundle, "enrol")[-1]]  # two items, both skipped
    raw = bytes.fromhex(item["input"][2:])
    item["input"] = "0x" + (raw[: 4 + 3 * 32] + words(1 << 200) + raw[4 + 4 * 32 :]).hex()
    assert states(bundle, heads=[bundle["head"]]) == ["ok", "ok", "ok"]
    granted = bundle["transactions"][calls(bundle, "grant")[0]]
    raw = bytes.fromhex(granted["input"][2:])
    granted["input"] = "0x" + (raw[: 4 + 2 * 32] + words(1 << 200) + raw[4 + 3 * 32 :]).hex()
    assert "cannot be read" in reasons(bundle)


def test_every_skipped_item_is_skipped_for_the_contract_s_reason(world: World) -> None:
    people, today = world.enrol(2), world.ledger.now() // 86400
    (known, other), mine = people, world.subjects
    wallet, stranger = mine[known], random32()
    short = {"subject": stranger, "signer": wallet.signer[:19], "assurance": 1, "deadline": 2**40 - 1}
    world.ledger.relay("ConsentRegistry", "enrol", [
        world.enrolment(stranger, wallet, deadline=1), world.enrolment(known, wallet),
        world.enrolment(bytes(32), wallet),
        (message_tuple("Enrolment", short), bytes(65), bytes(65)),
        world.enrolment(stranger, wallet, registrar="omar"),
        (*world.enrolment(stranger, wallet)[:2], bytes(65)),
    ])  # fmt: skip
    changes: list[dict[str, Any]] = [
        {"deadline": 1}, {"epoch": 1}, {"replaces": 1}, {"fromDay": today + 9, "untilDay": today},
        {"untilDay": today - 1, "fromDay": 0},
        {"purposes": 0}, {"categories": 0}, {"purposes": 1 << 7}, {"categories": 1 << 10},
    ]  # fmt: skip
    items = [world.grant_item(world.grant_message(known, **change)) for change in changes]
    message = world.grant_message(known)
    items += [world.grant_item(message, mine[other]), (message_tuple("Grant", message), mine[other].signer, bytes(65)),
              world.grant_item(world.grant_message(stranger), wallet), world.grant_item(message)]  # fmt: skip
    world.ledger.relay("ConsentRegistry", "grant", items)
    assert len(folded(world).consents) == 1
    skipped = [log["data"][2:10] for tx in bundle_of(world)["transactions"] for log in tx["logs"]
               if log["topics"][0] == "0x" + verify.TOPICS["ItemRefused"].hex()]  # fmt: skip
    assert set(skipped) == set(re.findall(r'"[A-Z]\w+ ([0-9a-f]{8})"', (ROOT / "governance" / "verify.py").read_text()))


@pytest.mark.parametrize(("name", "signer"), [("setRole", "pia quinn"), ("authorise", "wanda"), ("requestRun", "noor")])
def test_a_signature_of_nobody_never_counts(opened: Open, name: str, signer: str) -> None:
    row = ROWS[name]
    bad = row._replace(rest=lambda o, signed: row.rest(o, [twisted(signature, "high s") for signature in signed]))
    assert "nobody's signature" in opened.verdict(bad, signer)


def test_an_event_more_elsewhere_or_out_of_order_is_named(told: Told) -> None:
    bundle = told.copy()
    logs = bundle["transactions"][3]["logs"]
    logs.append(logs[-1] | {"index": 9})
    assert "event 3 should not be there" in reasons(bundle)
    logs.pop()
    logs[0]["address"] = "0x" + "99" * 20
    assert "event 1" in reasons(bundle)
    bundle = told.copy()
    bundle["transactions"][3]["logs"][1]["index"] = 0
    assert "not in order" in reasons(bundle)
    start = int(told.world.ledger.identity["deployBlock"])
    log = told.world.ledger.logs(start, start + 20)[0]
    with pytest.raises(Malformed, match="taken back"):
        parse_log(log | {"removed": True})


def test_a_run_id_is_used_once_and_only_by_an_analyst(opened: Open) -> None:
    used = opened.fold.runs[opened.fresh].request["nonce"]
    assert "old run" in opened.verdict(ROWS["requestRun"], "noor", nonce=used)
    assert "stranger" in opened.verdict(ROWS["requestRun"], "sol", permit=bytes(32))
    run, before = opened.fresh, opened.fold.runs[opened.fresh]
    opened.fold.runs[run] = before._replace(ended="cancelled")
    assert "has ended" in opened.verdict(ROWS["cancel"], "noor")
    opened.fold.runs[run] = before


def test_a_release_names_everybody_who_was_granted(opened: Open) -> None:
    views = opened.fold.attempts[opened.run, 1].views
    views[bytes.fromhex(opened.world.people["tess"].address[2:])] = bytes(32)
    by = " ".join(sorted(("sol", "tess"), key=lambda name: int(opened.world.people[name].address, 16)))
    assert "event 1 (Released)" in opened.verdict(ROWS["release"], by)
    assert "not the granted one" in opened.verdict(ROWS["short"], by)
    views.popitem()


def test_a_bundle_s_own_head_and_kind_are_checked(told: Told) -> None:
    head = told.bundle["head"]
    for change in (
        {"type": "volens/trail/2"},
        {"head": head | {"count": head["count"] + 1}},
        {"head": head | {"head": "00" * 32}},
    ):
        assert states(told.bundle | change)[0] == "no"


def test_a_witness_of_another_block_or_of_an_older_head_does_not_anchor_a_receipt(told: Told) -> None:
    receipt, world = run_receipt(told), told.world
    older = receipt | {"witness": told.witness(1)}
    assert states(told.bundle, receipts=[as_bytes(older)]) == ["ok", "ok", "no"]
    step = replay(told.bundle).steps[receipt["count"] - 1]
    message = {"identity": identity_id(told.bundle["identity"]), "block": step.block.number, "blockHash": bytes(32),
               "count": step.count, "head": step.head}  # fmt: skip
    fork = receipt["witness"] | {"blockHash": "00" * 32, "signature": world.by("bram", "Witness", message).hex()}
    assert states(told.bundle, receipts=[as_bytes(receipt | {"witness": fork})]) == ["ok", "ok", "no"]
