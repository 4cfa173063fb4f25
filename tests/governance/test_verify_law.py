"""What a lying node could show: real signatures over calls that the contracts would have refused."""

from __future__ import annotations

import ast
import copy
import hashlib
import re
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from speed import allowed
from told import ROOT, bundle_of, replay, twisted

from api.demo.stage import World, random32
from chain.devchain import DevChain
from chain.ledger import message_tuple
from chain.wallets import Wallet
from governance import verify
from governance.verify import (
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
    with pytest.raises(Malformed, match="too many values"):  # 16 MiB of these took 470 MB
        strict_json(b"[" + b"[]," * 5_000_000 + b"[]]", 16 << 20)
    assert time.monotonic() - started < allowed(3)


class Open:
    """A world in the middle of its work: a permit to vote on, an approved one, a run sealed and seen by one checker."""

    module: ModuleType = verify

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
        self.newcomer, self.ingest = Wallet.new().address, world.register_records()
        world.set_role(self.newcomer, "broker")
        self.flapping = world.request_run(self.permit)
        for attempt in range(1, 17):
            world.authorise(self.flapping, self.subjects, attempt=attempt)
        genomic = world.permit(outputClasses=1 << 1 | 1 << 3)
        self.genomic = world.request_run(genomic)
        world.authorise(self.genomic, self.subjects)
        self.checked = world.request_run(self.permit)
        world.authorise(self.checked, self.subjects)
        self.checked_seal = world.seal(self.checked)
        for name in ("sol", "tess"):
            world.look(self.checked, name)
        self.cancelled = world.request_run(self.permit)
        cancel = {"run": self.cancelled, "deadline": 2**40 - 1}
        world.relay("AccessLedger", "cancel", "Cancel", cancel, world.by("noor", "Cancel", cancel))
        (self.left,) = world.enrol(1)
        world.grant([self.left])
        world.revoke(self.left)
        world.revoke(self.left, epoch=0)  # stale, and recorded
        self.bundle = bundle_of(world)
        self.fold = replay(self.bundle, signed=True).fold
        self.fold._crypto = None
        self.crypto = load_crypto(self.fold.identity)

    def read_by(self, module: ModuleType) -> Open:
        """The same trail as another auditor's file reads it."""
        other = copy.copy(self)
        other.module = module
        crypto = module.load_crypto(module.parse_identity(self.bundle["identity"]))
        other.fold, other.crypto = module.Replay(self.bundle, crypto).fold, crypto
        other.fold._crypto = None
        return other

    def lets_through(self, lie: Callable[[Open], str]) -> bool:
        """Whether nothing but the absent logs speaks against the lie."""
        try:
            return bool(re.search(r"event [12] \((?!ItemRefused)", lie(self)))
        except (KeyError, AttributeError, IndexError):  # the rule kept it from falling over
            return True

    def verdict(self, row: Row, signer: str, later: int = 0, **change: Any) -> str:
        """What the fold says of this call; `event 1` when only the (absent) logs are wrong."""
        fold, world, verify = copy.deepcopy(self.fold), self.world, self.module
        message = row.message(self) | {"deadline": 2**40 - 1} | change
        if row.kind == "Revoke":
            del message["deadline"]
        names = signer.split()
        if signer == "by two":  # in the contract's order
            names = sorted(("pia", "rui"), key=lambda one: int(world.people[one].address, 16))
        signed = (
            [world.by(n, row.kind, message) for n in names]
            if names[0] in world.people
            else [
                world.subjects[[*self.subjects, self.left][int(n)]].sign(
                    world.ledger.domain, row.kind, message
                )
                for n in names
            ]
        )
        arguments = [message_tuple(row.kind, message), *row.rest(self, signed)]
        said = (
            words(bytes.fromhex(world.people[names[0]].address[2:])) * 8
            if names[0] in world.people
            else b""
        )
        logs = [((verify.TOPICS[name],), said) for name in row.claims]
        return self.answer(fold, row.contract, row.function, arguments, logs, later)

    def answer(
        self,
        fold: Any,
        contract: str,
        function: str,
        arguments: list[Any],
        logs: list[tuple[tuple[bytes, ...], bytes]],
        later: int = 0,
        signed: bool = True,
    ) -> str:
        """What the fold says of this call with these logs, which are never those that it must leave."""
        verify = self.module
        tx = verify.Transaction(
            bytes(32),
            fold.place[0] + 1,
            0,
            fold.identity.contracts[contract][0],
            self.world.ledger.encode(contract, function, *arguments),
        )
        left = [
            verify.Log(b"", topics, data, i, tx.block, tx.hash)
            for i, (topics, data) in enumerate(logs)
        ]
        block = verify.Block(tx.block, fold.time + later, bytes(32))
        with pytest.raises(verify.Finding) as found:
            fold.apply(block, tx, left, self.crypto if signed else None)
        return str(found.value)

    def batch(
        self,
        function: str,
        items: list[Any],
        change: Callable[[Any], Any] = lambda fold: None,
        logs: list[tuple[tuple[bytes, ...], bytes]] = [],  # noqa: B006 (never changed)
        signed: bool = True,
    ) -> str:
        """What the fold says of a batch; `change` puts its state where the lie needs it."""
        fold = copy.deepcopy(self.fold)
        change(fold)
        return self.answer(fold, "ConsentRegistry", function, [items], logs, signed=signed)

    def enrolment(self, **change: Any) -> tuple[Any, ...]:
        return self.world.enrolment(change.pop("subject", random32()), Wallet.new(), **change)

    def consent(self, subject: bytes = b"", **change: Any) -> tuple[Any, ...]:
        message = self.world.grant_message(subject or self.subjects[0], **change)
        return self.world.grant_item(message)


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
        lambda o: {"account": "0x" + "55" * 20, "role": 4, "start": 0, "end": 9, "replaces": 0},
        (),
        one_list,
    ),
    "cancelRole": Row(
        "PermitRegistry",
        "cancelRole",
        "CancelRole",
        lambda o: {"account": o.newcomer, "version": 1},
        ("RoleCancelled",),
    ),
    "voidRecords": Row(
        "AccessLedger",
        "voidRecords",
        "VoidRecords",
        lambda o: {"ingest": o.ingest},
        (),
        one_list,
    ),
    "resume": Row(
        "AccessLedger", "resume", "Resume", lambda o: {"run": o.flapping, "attempts": 16}
    ),
    "registerDataset": Row(
        "PermitRegistry",
        "registerDataset",
        "RegisterDataset",
        lambda o: {"dataset": words(77), "documentHash": bytes(32)},
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
            "relaxed": 0,
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
    ("cancelRole", "rui"),
    ("registerDataset", "omar"),
    ("requestPermit", "noor"),
    ("vote", "quinn"),
    ("suspend", "dora"),
    ("suspend", "rui"),
    ("revoke", "0"),
    ("registerRecords", "omar"),
    ("voidRecords", "omar"),
    ("voidRecords", "by two"),
    ("resume", "noor"),
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
    ("setRole", "pia quinn", "another role", {"account": "sol", "replaces": 1}),
    ("setRole", "pia quinn", "another version", {"replaces": 1}),
    ("cancelRole", "sol", "no member of the committee", {}),
    ("cancelRole", "rui", "another version", {"version": 0}),
    ("cancelRole", "rui", "is waiting", {"account": "wanda"}),
    ("registerDataset", "noor", "not live", {}),
    ("registerDataset", "omar", "already", {"dataset": "known"}),
    ("registerDataset", "omar", "no id", {"dataset": bytes(32)}),
    ("requestPermit", "sol", "not live", {}),
    ("requestPermit", "noor", "known permit", {"permit": "known"}),
    ("requestPermit", "noor", "known permit", {"dataset": bytes(32)}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 7}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 6 | 2}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 6}),
    ("requestPermit", "noor", "categories", {"categories": 1 << 10}),
    ("requestPermit", "noor", "ended", {"expiry": 1}),
    ("vote", "noor", "not live", {}),
    ("vote", "pia", "twice", {}),
    ("vote", "quinn", "request", {"requestHash": bytes(32)}),
    ("vote", "quinn", "not at that point", {"permit": "approved"}),
    ("suspend", "sol", "not live", {}),
    ("suspend", "rui", "not at that point", {"permit": "known"}),
    ("revoke", "1", "her own", {}),
    ("revoke", "0", "no such dataset", {"dataset": bytes(32)}),
    ("revoke", "0", "to come", {"epoch": 1}),
    ("registerRecords", "noor", "signed by", {}),
    ("registerRecords", "omar", "ingest", {"count": 0}),
    ("voidRecords", "rita", "neither", {}),
    ("voidRecords", "pia", "neither", {}),
    ("voidRecords", "pia pia", "neither", {}),
    ("voidRecords", "omar", "no such", {"ingest": bytes(32)}),
    ("resume", "sol", "signed by", {}),
    ("resume", "noor", "attempts left", {"run": "unsealed", "attempts": 1}),
    ("resume", "noor", "attempts left", {"attempts": 15}),
    ("requestRun", "sol", "signed by", {}),
    ("requestRun", "noor", "no such permit", {"permit": bytes(32)}),
    ("requestRun", "noor", "not decided", {"permit": "known"}),
    ("requestRun", "noor", "not as signed", {"paramsHash": bytes(32)}),
    ("authorise", "sol", "not live", {}),
    ("authorise", "wanda", "next attempt", {"attempt": 2}),
    ("authorise", "wanda", "worker signed", {"subjectsHash": bytes(32)}),
    ("unsorted", "wanda", "unsorted", {}),
    ("authorise", "wanda", "unknown", {"run": bytes(32)}),
    ("seal", "wilma", "signed by", {}),
    ("seal", "wanda", "does not allow", {"outputClass": 2}),
    ("seal", "wanda", "does not allow", {"outputClass": 4}),
    ("seal", "wanda", "does not allow", {"outputClass": 5}),
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


def told_by(row: tuple[str, str, str, dict[str, Any]]) -> Callable[[Open], str]:
    name, signer, _, change = row
    return lambda o: o.verdict(ROWS[name], signer, **placed(o, change))


def by_a_twin(o: Open) -> str:
    row = ROWS["setRole"]
    return o.verdict(row._replace(rest=lambda o, s: [[twisted(s[0], "high s"), s[1]]]), "pia quinn")


def with_the_last_quorum(o: Open) -> str:
    people = o.world.people
    other = copy.copy(o)
    other.fold = copy.deepcopy(o.fold)
    other.fold.members[bytes.fromhex(people["rui"].address[2:])] = verify.Member(1, 0, 1, 1)
    ended = {"account": people["quinn"].address, "role": 1, "start": 0, "end": 1, "replaces": 0}
    return other.verdict(ROWS["setRole"], "pia quinn", **ended)


def with_the_last_quorum_of_founders(o: Open) -> str:
    """Before there is a dataset nobody waits, and nobody may be too few at once."""
    other = copy.copy(o)
    other.fold = copy.deepcopy(o.fold)
    other.fold.datasets = {}
    return with_the_last_quorum(other)


def founded_by_few(o: Open) -> str:
    other = copy.copy(o)
    other.fold = copy.deepcopy(o.fold)
    other.fold.datasets = {}
    for name in ("pia", "quinn"):
        account = bytes.fromhex(o.world.people[name].address[2:])
        other.fold.members[account] = verify.Member(1, 0, verify.FOREVER - 1, 1)
    return other.verdict(ROWS["registerDataset"], "omar")


def void_by_a_former_custodian(o: Open) -> str:
    other = copy.copy(o)
    other.fold = copy.deepcopy(o.fold)
    omar = bytes.fromhex(o.world.people["omar"].address[2:])
    other.fold.members[omar] = verify.Member(2, 0, 1, 1)
    return other.verdict(ROWS["voidRecords"], "omar")


def released_without_everybody(o: Open) -> str:
    pair = sorted(("sol", "tess"), key=lambda one: int(o.world.people[one].address, 16))
    of = {"run": o.checked, "sealHash": o.checked_seal}
    return o.verdict(ROWS["short"], " ".join(pair), **of)


def revoked_again(o: Open) -> str:
    row = ROWS["revoke"]._replace(rest=lambda o, s: [o.world.subjects[o.left].signer, s[0]])
    return o.verdict(row, "4", subject=o.left)


def enrolled_by_no_registrar(o: Open) -> str:
    """Where nobody checks signatures, the ledger's own word is checked against the roles."""
    item = o.enrolment()
    noor = words(bytes.fromhex(o.world.people["noor"].address[2:]))
    subject, key, assurance, _ = item[0]
    log = (verify.TOPICS["Enrolled"], subject, noor)
    said = words(64, assurance, 20, key.ljust(32, b"\0"))
    return o.batch("enrol", [item], logs=[(log, said)], signed=False)


TODAY = int(time.time()) // 86_400
MORE_LIES: dict[str, Callable[[Open], str]] = {
    "a signature by nobody": by_a_twin,
    "the last quorum": with_the_last_quorum,
    "the last quorum of founders": with_the_last_quorum_of_founders,
    "founded by a committee that ends": founded_by_few,
    "a former custodian": void_by_a_former_custodian,
    "a shorter list": released_without_everybody,
    "a revocation repeated": revoked_again,
    "a run's id used again": told_by(("requestRun", "noor", "", {"nonce": "used run"})),
    "genomic, no statistics": told_by(("seal", "wanda", "", {"run": "genomic", "outputClass": 3})),
    "beyond the budget": told_by(
        ("seal", "wanda", "", {"run": "genomic", "outputClass": 3, "statistics": 10**6})
    ),
    "a cancelled run": told_by(("cancel", "noor", "", {"run": "cancelled"})),
    "a batch too long": lambda o: o.batch("enrol", [o.enrolment()] * 257),
    "a batch of strangers": lambda o: o.batch("enrol", [o.enrolment(registrar="noor")]),
    "no registrar": enrolled_by_no_registrar,
    "enrolled too late": lambda o: o.batch("enrol", [o.enrolment(deadline=1)]),
    "enrolled twice": lambda o: o.batch("enrol", [o.enrolment(subject=o.subjects[0])]),
    "enrolled as nobody": lambda o: o.batch("enrol", [o.enrolment(subject=bytes(32))]),
    "enrolled unasked": lambda o: o.batch("enrol", [(*o.enrolment()[:2], bytes(65))]),
    "a grant too late": lambda o: o.batch("grant", [o.consent(deadline=1)]),
    "a grant of an epoch that is over": lambda o: o.batch("grant", [o.consent(o.left, epoch=0)]),
    "a grant of an epoch to come": lambda o: o.batch("grant", [o.consent(epoch=7)]),
    "a grant over a version to come": lambda o: o.batch("grant", [o.consent(replaces=7)]),
    "a grant of the past": lambda o: o.batch("grant", [o.consent(fromDay=1, untilDay=2)]),
    "a grant of nothing": lambda o: o.batch("grant", [o.consent(purposes=0)]),
    "a grant of what is not": lambda o: o.batch("grant", [o.consent(purposes=1 << 7)]),
}


@pytest.fixture(scope="module")
def opened(devchain: DevChain) -> Open:
    return Open(World.create(devchain.url))


def placed(o: Open, change: dict[str, Any]) -> dict[str, Any]:
    known = {
        ("permit", "known"): o.asked["permit"],
        ("permit", "approved"): o.permit,
        ("dataset", "known"): o.world.dataset,
        ("account", "sol"): o.world.people["sol"].address,
        ("account", "wanda"): o.world.people["wanda"].address,
        ("run", "sealed"): o.run,
        ("run", "unsealed"): o.unsealed,
        ("run", "genomic"): o.genomic,
        ("run", "cancelled"): o.cancelled,
        ("nonce", "used run"): o.fold.runs[o.fresh].request["nonce"],
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


@pytest.mark.parametrize("name", MORE_LIES)
def test_these_lies_are_named_too(opened: Open, name: str) -> None:
    assert not opened.lets_through(MORE_LIES[name]), MORE_LIES[name](opened)


def test_the_lease_and_the_last_quorum_are_kept(opened: Open) -> None:
    assert "lease" in opened.verdict(ROWS["seal"], "wanda", later=3601)
    assert "event 1 (" in opened.verdict(ROWS["seal"], "wanda", later=3600 - 60)
    people = opened.world.people
    opened.fold.members[bytes.fromhex(people["rui"].address[2:])] = verify.Member(1, 0, 1, 1)
    ended = {"account": people["quinn"].address, "role": 1, "start": 0, "end": 1, "replaces": 0}
    assert "no quorum" in opened.verdict(ROWS["setRole"], "pia quinn", **ended)


def test_an_applicant_on_the_committee_does_not_vote_on_her_own_request(opened: Open) -> None:
    noor = bytes.fromhex(opened.world.people["noor"].address[2:])
    opened.fold.members[noor], before = verify.Member(1, 0, 2**40 - 1, 1), opened.fold.members[noor]
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


def test_a_run_id_is_used_once(opened: Open) -> None:
    used = opened.fold.runs[opened.fresh].request["nonce"]
    assert "exists already" in opened.verdict(ROWS["requestRun"], "noor", nonce=used)
    run, before = opened.fresh, opened.fold.runs[opened.fresh]
    opened.fold.runs[run] = before._replace(ended="cancelled")
    assert "has ended" in opened.verdict(ROWS["cancel"], "noor")
    opened.fold.runs[run] = before


def test_who_was_dismissed_requests_and_resumes_no_run(opened: Open) -> None:
    noor, run = bytes.fromhex(opened.world.people["noor"].address[2:]), opened.fresh
    before, member = opened.fold.runs[run], opened.fold.members[noor]
    opened.fold.runs[run] = before._replace(attempts=verify.MAX_ATTEMPTS)
    resumed = {"run": run, "attempts": verify.MAX_ATTEMPTS}
    assert "event 1 (RunResumed)" in opened.verdict(ROWS["resume"], "noor", **resumed)
    opened.fold.members[noor] = member._replace(end=1)
    assert "not live" in opened.verdict(ROWS["resume"], "noor", **resumed)
    assert "not live" in opened.verdict(ROWS["requestRun"], "noor")
    opened.fold.runs[run], opened.fold.members[noor] = before, member


def test_a_release_names_everybody_who_was_granted(opened: Open) -> None:
    views = opened.fold.attempts[opened.run, 1].views
    views[bytes.fromhex(opened.world.people["tess"].address[2:])] = bytes(32)
    by = " ".join(
        sorted(("sol", "tess"), key=lambda name: int(opened.world.people[name].address, 16))
    )
    assert "event 1 (Released)" in opened.verdict(ROWS["release"], by)
    assert "not the granted one" in opened.verdict(ROWS["short"], by)
    views.popitem()


# -- every rule is missed by somebody

SOURCE = ROOT / "governance" / "verify.py"
# Of the whole trail, not of one call: their forgeries stand in test_verify.py and test_verify_steps.py.
OF_THE_TRAIL = {"apply", "_compare", "_claim"}


def rules() -> dict[str, ast.Call]:
    """Each `need` of the fold by its place: the function it stands in and how many stand before it there."""
    (fold,) = [
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Fold"
    ]
    found = {}
    for function in fold.body:
        if isinstance(function, ast.FunctionDef) and function.name not in OF_THE_TRAIL:
            needs = [
                node
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "need"
            ]
            found |= {f"{function.name} {n}": node for n, node in enumerate(needs)}
    return found


def with_switches(kept: dict[str, ast.Call]) -> ModuleType:
    """The auditor's file with each rule's test behind a switch: the one whose place is in OFF is taken out."""
    lines = SOURCE.read_text().splitlines(keepends=True)
    begins = list(accumulate(map(len, lines), initial=0))
    text = "".join(lines)
    for place, rule in sorted(kept.items(), key=lambda one: -one[1].lineno):
        test = rule.args[0]
        start = begins[test.lineno - 1] + test.col_offset
        end = begins[(test.end_lineno or 0) - 1] + (test.end_col_offset or 0)
        text = f"{text[:start]}(OFF == {place!r} or ({text[start:end]})){text[end:]}"
    module = ModuleType("verify_with_switches")
    sys.modules[module.__name__] = module
    module.__dict__["OFF"] = ""
    exec(compile(text, "verify", "exec"), module.__dict__)
    return module


def test_every_rule_taken_out_lets_a_lie_through(opened: Open) -> None:
    """Counted: no rule of the fold stands there untried."""
    kept, useless = rules(), []
    lies = [("", lie) for lie in MORE_LIES.values()]
    lies += [(f"_{ROWS[row[0]].function}", told_by(row)) for row in LIES]
    assert len(kept) > 50
    switched = with_switches(kept)
    loose = opened.read_by(switched)
    assert not any(loose.lets_through(lie) for _, lie in lies)
    for place, rule in kept.items():
        switched.__dict__["OFF"] = place
        # Calls of the rule's own function first: the others mostly fail for what they always fail for.
        own = place.split()[0]
        ordered = [lie for name, lie in lies if name == own]
        ordered += [lie for name, lie in lies if name != own]
        if not any(map(loose.lets_through, ordered)):
            useless.append(f"{place}: {ast.unparse(rule.args[1])}")
    assert not useless, "\n".join(useless)
