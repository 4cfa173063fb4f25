"""The auditor's file against the real contracts: the replayed rules agree step by step, and every
forgery is named.
"""

from __future__ import annotations

import copy
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from narrated import ROOT, Forger, Narrative, as_bytes, calls, reasons, replay, states, twisted
from speed import allowed

from api.demo.forgeries import rewrite
from api.demo.stage import CATEGORIES, random32
from governance import verify
from governance.verify import (
    BROKER,
    CHECKER,
    WORKER,
    Finding,
    ReplayedState,
    decode_call,
    examine,
    load_crypto,
    main,
    parse_block,
    parse_identity,
    parse_log,
    parse_transaction,
    words,
)


@pytest.mark.parametrize("signed", [False, True])
def test_replayed_state_agrees_with_the_contracts_at_every_step(
    narrative: Narrative, signed: bool
) -> None:
    ledger, replayed = narrative.world.ledger, ReplayedState(narrative.bundle["identity"])
    crypto = load_crypto(replayed.identity) if signed else None
    logs: dict[bytes, list[verify.Log]] = {}
    for entry in ledger.logs(0, int(ledger.block()["number"], 16)):
        logs.setdefault(parse_log(entry).tx, []).append(parse_log(entry))
    for name, entries in logs.items():
        tx = parse_transaction(ledger.transaction("0x" + name.hex()))
        replayed.apply(parse_block(ledger.block(tx.block)), tx, entries, crypto)
    assert (replayed.count, replayed.head) == ledger.head()
    for (dataset, subject), consent in replayed.consents.items():
        assert verify.slot_of(consent) == narrative.world.slot(subject, dataset)
    names, subjects = narrative.names, narrative.names["subjects"]
    assert replayed.newest_attempt(names["run"]) == 2
    assert [s for s, _, _ in replayed.granted(names["run"], 2)] == subjects[1:6]
    assert replayed.attempts[names["run"], 1].denied == [(subjects[6], 2)]
    assert [replayed.runs[names[n]].ended for n in ("run", "small", "third")] == [
        "released",
        "cancelled",
        "rejected",
    ]
    assert replayed.consent_live(
        narrative.world.dataset, subjects[0], 0b10, CATEGORIES, replayed.time // 86400
    )
    assert not replayed.consent_live(
        narrative.world.dataset, subjects[1], 0b100, CATEGORIES, replayed.time // 86400
    )
    for name, role in (("bram", BROKER), ("wanda", WORKER), ("sol", CHECKER)):
        assert replayed.member_live(
            bytes.fromhex(narrative.world.people[name].address[2:]), role, replayed.time
        )
    assert (replayed.attempts[names["run"], 1].worker != b"") == signed


def test_a_trail_step_by_hand(narrative: Narrative) -> None:
    """Step 1 is the founder's new role: docs/ledger.md, written out."""
    first = narrative.bundle["transactions"][0]
    change = decode_call(bytes.fromhex(first["input"][2:]))[2]["m"]
    registry = bytes.fromhex(narrative.bundle["identity"]["contracts"][1]["address"][2:])
    body = hashlib.sha256(
        b"".join(
            bytes(12) + change["account"] if n == "account" else change[n].to_bytes(32, "big")
            for n in ("account", "role", "start", "end")
        )
        + (1).to_bytes(32, "big")  # the version that this change makes
    ).digest()
    time = narrative.bundle["blocks"][str(first["block"])]["timestamp"]
    agreed = narrative.bundle["identity"]
    rules = [agreed[name] for name in ("quorum", "cohortFloor", "maxLease", "roleDelay")]
    accounts = [item["address"] for item in agreed["contracts"]], agreed["founders"]
    contracts, founders = (
        b"".join(bytes(12) + bytes.fromhex(who[2:]) for who in some) for some in accounts
    )
    origin = hashlib.sha256(
        agreed["chainId"].to_bytes(32, "big")
        + bytes.fromhex(agreed["genesisHash"].removeprefix("0x"))
        + bytes.fromhex(agreed["salt"].removeprefix("0x"))
        + contracts
        + b"".join(rule.to_bytes(32, "big") for rule in rules)
        + founders
    ).digest()
    head = hashlib.sha256(
        origin
        + bytes(12)
        + registry
        + (1).to_bytes(32, "big")
        + first["block"].to_bytes(32, "big")
        + time.to_bytes(32, "big")
        + hashlib.sha256(bytes.fromhex(first["input"][2:])).digest()
        + body
    )
    assert first["logs"][-1]["data"][2:66] == head.hexdigest()


@pytest.mark.parametrize(
    ("signature", "fact"),
    [("high s", "nobody"), ("v 0", "nobody"), ("short", "nobody"), ("zero", "nobody")],
)
def test_crypto_takes_one_form_of_a_signature(
    narrative: Narrative, signature: str, fact: str
) -> None:
    crypto, message = (
        load_crypto(parse_identity(narrative.bundle["identity"])),
        {"permit": random32(), "deadline": 1},
    )
    good = narrative.world.by("pia", "Suspend", message)
    assert (
        crypto.signer("Suspend", message, good).hex()
        == narrative.world.people["pia"].address[2:].lower()
    )
    assert crypto.signer("Suspend", message, twisted(good, signature)) == b"", fact
    other = load_crypto(parse_identity(narrative.bundle["identity"] | {"salt": "33" * 32}))
    assert other.signer("Suspend", message, good) != crypto.signer("Suspend", message, good)


def test_a_good_bundle_is_not_anchored_until_somebody_holds_a_head(narrative: Narrative) -> None:
    assert states(narrative.bundle) == ["ok", "ok", "not-checked"]
    assert states(narrative.bundle, heads=[narrative.bundle["head"]]) == ["ok", "ok", "ok"]


def test_a_cut_tail_is_found_with_a_head_only(narrative: Narrative) -> None:
    cut = narrative.copy()
    cut["transactions"] = cut["transactions"][:-6]
    rewrite(cut)
    assert states(cut) == ["ok", "ok", "not-checked"]
    assert states(cut, heads=[narrative.bundle["head"]]) == ["ok", "ok", "no"]
    assert "the trail ends at step" in reasons(cut, heads=[narrative.bundle["head"]])


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ((), "trail"),
        (("identity",), "identity"),
        (("identity", "contracts", 0), "contract"),
        (("blocks", None), "block"),
        (("transactions", 0), "transaction"),
        (("transactions", 0, "logs", 0), "log"),
        (("head",), "head"),
        (("witnesses", 0), ""),
    ],
)
def test_a_field_that_no_export_has_is_refused_as_in_receipts(
    narrative: Narrative, part: tuple[Any, ...], name: str
) -> None:
    """A reader could take it for one that is checked; and one of a log would move it elsewhere."""
    trail = narrative.copy()
    heads = [trail["head"]]
    holder: Any = trail
    if "witnesses" in part:
        trail["witnesses"] = [{"count": trail["head"]["count"], "head": trail["head"]["head"]}]
        trail["witnesses"][0]["broker"] = "00" * 20
    for step in part:
        holder = next(iter(holder.values())) if step is None else holder[step]
    holder["note"] = "approved by the committee"
    assert "no" in states(trail, heads=heads)
    if name:
        assert f"the trail's file has other fields than an export, in: {name}" in reasons(trail)
    else:
        assert "a witness has other fields" in reasons(trail)


def edited(bundle: dict[str, Any]) -> None:
    """A grant's purposes widened, in the message itself."""
    item = bundle["transactions"][calls(bundle, "grant")[0]]
    word = (0b110).to_bytes(32, "big").hex()
    before, purposes, after = item["input"].rpartition(word)
    item["input"] = before + purposes.replace("06", "07") + after


def dropped(bundle: dict[str, Any]) -> None:
    """The committee's suspension never happened."""
    del bundle["transactions"][calls(bundle, "suspend")[0]]


def inserted(bundle: dict[str, Any]) -> None:
    """A role change played twice, replacing the version that the first one made."""
    position = calls(bundle, "setRole")[0]
    item = copy.deepcopy(bundle["transactions"][position])
    raw = bytearray.fromhex(item["input"][2:])
    raw[4 + 5 * 32 - 1] += 1
    bundle["transactions"].insert(
        position + 1, item | {"input": "0x" + raw.hex(), "index": 1, "hash": "0x" + "77" * 32}
    )


def reordered(bundle: dict[str, Any]) -> None:
    """The two looks of the first attempt change places."""
    first, second = (bundle["transactions"][i] for i in calls(bundle, "viewOutput")[:2])
    for key in ("input", "logs", "hash"):
        first[key], second[key] = second[key], first[key]


def swapped(bundle: dict[str, Any]) -> None:
    """Two votes exchange their signatures."""
    first, second = (bundle["transactions"][i] for i in calls(bundle, "vote")[:2])
    raw = [
        decode_call(bytes.fromhex(tx["input"][2:]))[2]["signature"].hex() for tx in (first, second)
    ]
    first["input"], second["input"] = (
        first["input"].replace(*raw),
        second["input"].replace(*raw[::-1]),
    )


def high_s(bundle: dict[str, Any]) -> None:
    item = bundle["transactions"][calls(bundle, "seal")[0]]
    good = decode_call(bytes.fromhex(item["input"][2:]))[2]["signature"]
    item["input"] = item["input"].replace(good.hex(), twisted(good, "high s").hex())


def wrong_type(bundle: dict[str, Any]) -> None:
    """A cancellation carries the signature of the run request: the right person, another message."""
    item, request = (
        bundle["transactions"][calls(bundle, name)[0]] for name in ("cancel", "requestRun")
    )
    good, other = (
        decode_call(bytes.fromhex(tx["input"][2:]))[2]["signature"].hex() for tx in (item, request)
    )
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


@pytest.mark.parametrize(
    ("forgery", "verdict"), FORGERIES, ids=lambda x: getattr(x, "__name__", None)
)
def test_a_careful_forgery_is_found_by_signatures_or_by_a_held_head(
    narrative: Narrative, forgery: Any, verdict: list[str]
) -> None:
    heads = [narrative.bundle["head"]]
    forged = narrative.copy()
    forgery(forged)
    if forgery in (edited, dropped, inserted, reordered):  # naively: the later heads no longer fit
        assert states(forged, heads=heads)[0] == "no"
        assert re.search(
            r"step \d+, block \d+, transaction 0x[0-9a-f]{64}: event \d+|carries|leave|step",
            reasons(forged),
        )
    assert states(rewrite(forged), heads=heads) == verdict
    if verdict[1] == "ok":
        assert states(forged) == ["ok", "ok", "not-checked"]


def test_one_changed_event_field_is_named(narrative: Narrative) -> None:
    forged = narrative.copy()
    position = next(i for i in calls(forged, "authorise"))
    log = forged["transactions"][position]["logs"][0]
    log["data"] = log["data"][:-1] + ("0" if log["data"][-1] != "0" else "1")
    verdict = examine(as_bytes(forged))["consistent"]
    assert verdict[0] == "no"
    assert f"block {forged['transactions'][position]['block']}" in verdict[1]
    assert "event 1 (AccessGranted) must say 0x" in verdict[1]


def test_every_changed_byte_is_found_or_changes_nothing(narrative: Narrative) -> None:
    """Data and topics: always found. Input: found, or slack that no contract reads (padding, a
    refused item): the state and the head are then the same. A thirteenth of the bytes, over each
    kind of call and event.
    """
    replayed, crypto = (
        ReplayedState(narrative.bundle["identity"]),
        load_crypto(parse_identity(narrative.bundle["identity"])),
    )
    seen: set[str] = set()
    tried, slack = 0, 0
    for item in narrative.bundle["transactions"]:
        tx = parse_transaction(
            item | {"blockNumber": item["block"], "transactionIndex": item["index"]}
        )
        position = {"blockNumber": tx.block, "transactionHash": item["hash"]}
        block = parse_block(narrative.bundle["blocks"][str(tx.block)] | {"number": tx.block})
        logs = [parse_log(log | position | {"logIndex": log["index"]}) for log in item["logs"]]
        replayed._crypto = None
        before = copy.deepcopy(replayed)
        replayed.apply(block, tx, logs, crypto)
        shape = tx.input[:4].hex() + "".join(sorted({log.topics[0].hex() for log in logs}))
        if shape in seen:
            continue
        seen.add(shape)
        for changed_tx, changed_logs in changes(tx, logs):
            tried += 1
            altered = copy.deepcopy(before)
            try:
                altered.apply(block, changed_tx, changed_logs, crypto)
            except Finding:
                continue
            assert changed_tx.input != tx.input
            assert facts(altered) == facts(replayed)
            slack += 1
    assert tried > 800
    assert slack < tried // 3


def changes(tx: Any, logs: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    def flips(data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), 13):
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
                    [
                        *logs[:i],
                        log._replace(topics=(*log.topics[:t], data, *log.topics[t + 1 :])),
                        *logs[i + 1 :],
                    ],
                )


def facts(replayed: ReplayedState) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(replayed).items()
        if not name.startswith("_") and name != "signatures"
    }


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The file alone, without the product on the path and without site-packages."""
    script = ROOT / "governance" / "verify.py"
    return subprocess.run(
        [sys.executable, "-I", "-S", str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_stands_alone_and_says_what_it_could_not_check(
    narrative: Narrative, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "trail.json"
    path.write_bytes(as_bytes(narrative.bundle))
    head = f"{narrative.bundle['head']['count']}:{narrative.bundle['head']['head']}"
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
    capsys.readouterr()
    assert main([str(path), "--head", "one"]) == 8  # what is wrong is the head
    assert "a --head is a count" in (typed := capsys.readouterr().out)
    assert "NOT VALID" not in typed
    assert main([str(path), "--heads", str(path)]) == 8
    assert "the trail was not looked at" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing.json")]) == 8  # it says nothing of any trail
    assert "nothing.json cannot be read" in capsys.readouterr().out


def test_two_thousand_people_take_seconds(narrative: Narrative) -> None:
    """Enrolments, grants and an authorisation, encoded here; the signatures stand for nothing, the
    law is executed.
    """
    address = {
        item["name"]: bytes.fromhex(item["address"][2:])
        for item in narrative.bundle["identity"]["contracts"]
    }
    replayed, world, signature = (
        Forger(narrative.bundle, trusting=True),
        narrative.world,
        b"\1" * 65,
    )
    vars(replayed).update(vars(replay(narrative.bundle).replayed))
    permit, day = replayed.permits[narrative.names["permit"]], replayed.time // 86400
    replayed.permits[narrative.names["permit"]] = permit._replace(status=verify.APPROVED)
    rita, subjects = (
        bytes.fromhex(world.people["rita"].address[2:]),
        sorted(random32() for _ in range(2000)),
    )
    calls: list[tuple[str, bytes, list[Any]]] = []
    for first in range(0, 2000, 100):
        part = subjects[first : first + 100]
        enrolments = [((s, s[:20], 1, 2**40 - 1), signature, signature) for s in part]
        grants = [
            (
                (s, world.dataset, 0, 0, day, day + 9, 6, CATEGORIES, s, s, 2**40 - 1),
                s[:20],
                signature,
            )
            for s in part
        ]
        event_logs = [((verify.TOPICS["Enrolled"], s, words(rita)), b"") for s in part]
        calls += [
            (
                "edf3773c",
                encode(["((bytes32,bytes,uint8,uint40),bytes,bytes)[]"], [enrolments]),
                event_logs,
            )
        ]
        types = "bytes32,bytes32,uint32,uint24,uint24,uint24,uint32,uint32,bytes32,bytes32,uint40"
        calls += [("5cb2fc01", encode([f"(({types}),bytes,bytes)[]"], [grants]), [])]
    request = (narrative.names["permit"], hashlib.sha256(b"").digest(), bytes(32), 7, 2**40 - 1)
    calls.append(
        (
            "45de6e7f",
            encode(
                ["(bytes32,bytes32,bytes32,uint256,uint40)", "bytes", "bytes"],
                [request, b"", signature],
            ),
            [],
        )
    )
    run = hashlib.sha256(words(permit.applicant, 7)).digest()
    listed = subjects[:1000]
    binding = (
        run,
        1,
        hashlib.sha256(b"".join(listed)).digest(),
        run,
        permit.request["codeHash"],
        60,
        0,
        2**40 - 1,
    )
    types = "(bytes32,uint32,bytes32,bytes32,bytes32,uint32,uint8,uint40)"
    calls.append(
        ("6eb5a8ae", encode([types, "bytes", "bytes32[]"], [binding, signature, listed]), [])
    )
    started = time.monotonic()
    for i, (selector, arguments, event_logs) in enumerate(calls):
        block = verify.Block(replayed.position[0] + 1, replayed.time, bytes(32))
        tx = verify.Transaction(
            words(i),
            block.number,
            0,
            address[verify.CALLS[selector].split()[0]],
            bytes.fromhex(selector) + arguments,
        )
        logs = [
            verify.Log(b"", topics, data, n, block.number, tx.hash)
            for n, (topics, data) in enumerate(event_logs)
        ]
        replayed.apply(block, tx, logs)
    assert len(replayed.granted(run, 1)) == 1000
    assert len(replayed.consents) >= 2000
    assert time.monotonic() - started < allowed(5)


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
        "input cut": tx("input", "0xa1df0040" + "ff" * 40),
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
    "name",
    [*mutilated(), "not JSON", "empty", "duplicate key", "too deep", "a list", "half a character"],
)
def test_a_mutilated_bundle_gets_a_plain_sentence(
    narrative: Narrative, name: str, tmp_path: Path
) -> None:
    texts = {
        "not JSON": b"PK",
        "empty": b"",
        "duplicate key": b'{"type":1,"type":1}',
        "too deep": b"[" * 200_000,
        "a list": b"[]",
        "half a character": b'{"type":"\\ud800"}',
    }
    bundle: Any = texts.get(name) or narrative.copy()
    if name in mutilated():
        mutilated()[name](bundle)
    if name == "empty":
        bundle = b""
    verdicts = examine(as_bytes(bundle))
    assert "no" in [state for state, _ in verdicts.values()]
    assert not re.search(r"Traceback|Error|\.py|<class", reasons(bundle))


def test_a_bundle_s_own_head_and_kind_are_checked(narrative: Narrative) -> None:
    head = narrative.bundle["head"]
    for change in (
        {"type": "volens/trail/1"},
        {"head": head | {"count": head["count"] + 1}},
        {"head": head | {"head": "00" * 32}},
    ):
        assert states(narrative.bundle | change)[0] == "no"
