"""What a lying node could show: real signatures over calls that the contracts would have refused."""

from __future__ import annotations

import copy
import hashlib
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from told import bundle_of, replay, twisted

from api.demo.stage import World
from chain.devchain import DevChain
from chain.ledger import message_tuple
from governance import verify
from governance.verify import (
    Finding,
    Malformed,
    load_crypto,
    strict_json,
    words,
)


def test_deep_and_broken_texts_are_refused_quickly() -> None:
    started = time.monotonic()
    for text in ('"' + '\\"' * 400_000, "[" * 900_000, '{"a":' * 100_000, '"' * 1_000_000):
        with pytest.raises(Malformed):
            strict_json(text.encode())
    assert time.monotonic() - started < 3


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
            else [
                world.subjects[self.subjects[int(n)]].sign(world.ledger.domain, row.kind, message)
                for n in names
            ]
        )
        arguments = [message_tuple(row.kind, message), *row.rest(self, signed)]
        data = world.ledger.encode(row.contract, row.function, *arguments)
        tx = verify.Transaction(
            bytes(32), fold.place[0] + 1, 0, fold.identity.contracts[row.contract][0], data
        )
        said = (
            words(bytes.fromhex(world.people[names[0]].address[2:])) * 8
            if names[0] in world.people
            else b""
        )
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
    "suspend": Row(
        "PermitRegistry", "suspend", "Suspend", lambda o: {"permit": o.permit}, ("PermitSuspended",)
    ),
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
        lambda o: {
            "ingest": bytes(32),
            "dataset": o.world.dataset,
            "leavesRoot": bytes(32),
            "count": 1,
        },
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
        name: known.get((name, value), value) if isinstance(value, str) else value
        for name, value in change.items()
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


def test_an_applicant_on_the_committee_does_not_vote_on_her_own_request(opened: Open) -> None:
    noor = bytes.fromhex(opened.world.people["noor"].address[2:])
    opened.fold.members[noor], before = verify.Member(1, 0, 2**40 - 1), opened.fold.members[noor]
    assert "applicant voted" in opened.verdict(ROWS["vote"], "noor")
    opened.fold.members[noor] = before


@pytest.mark.parametrize(
    ("name", "signer"), [("setRole", "pia quinn"), ("authorise", "wanda"), ("requestRun", "noor")]
)
def test_a_signature_of_nobody_never_counts(opened: Open, name: str, signer: str) -> None:
    row = ROWS[name]
    bad = row._replace(
        rest=lambda o, signed: row.rest(o, [twisted(signature, "high s") for signature in signed])
    )
    assert "nobody's signature" in opened.verdict(bad, signer)


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
    by = " ".join(
        sorted(("sol", "tess"), key=lambda name: int(opened.world.people[name].address, 16))
    )
    assert "event 1 (Released)" in opened.verdict(ROWS["release"], by)
    assert "not the granted one" in opened.verdict(ROWS["short"], by)
    views.popitem()
