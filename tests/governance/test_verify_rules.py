"""What a lying node could show: real signatures over calls that the contracts would have refused."""

from __future__ import annotations

import ast
import copy
import hashlib
import re
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard

import pytest
from narrated import ROOT, bundle_of, replay, twisted
from speed import allowed

from api.demo.care_stage import (
    PLAN_PARAMS,
    appoint,
    appointment,
    authorise_plan,
    care_permit,
    countersign,
    end_plan,
    patient,
    plan_binding,
    plan_request,
    request_plan,
    seal_plan,
    sealed_plan,
    view_plan,
    viewing,
)
from api.demo.stage import World, random32
from chain.devnode.process import DevChain
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
    """A world in the middle of its work: a permit to vote on, an approved one, a run sealed and
    seen by one checker.
    """

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
        world.view_output(self.run, "sol")
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
        self.odd = world.request_run(world.permit(outputClasses=1 << 1 | 1 << 4))
        world.authorise(self.odd, self.subjects)
        self.checked = world.request_run(self.permit)
        world.authorise(self.checked, self.subjects)
        self.checked_seal = world.seal(self.checked)
        for name in ("sol", "tess"):
            world.view_output(self.checked, name)
        self.released = world.request_run(self.permit)
        world.authorise(self.released, self.subjects)
        seal = world.seal(self.released)
        for name in ("sol", "tess"):
            world.view_output(self.released, name)
        world.release(self.released, seal, self.subjects, [0] * 4)
        self.auditor, self.void = Wallet.new().address, world.register_records()
        world.set_role(self.auditor, "auditor", start=world.ledger.now() + 10**6)
        world.void_records(self.void)
        self.cancelled = world.request_run(self.permit)
        cancel = {"run": self.cancelled, "deadline": 2**40 - 1}
        world.relay("AccessLedger", "cancel", "Cancel", cancel, world.by("noor", "Cancel", cancel))
        self.live_through_care()
        (self.left,) = world.enrol(1)
        world.grant([self.left])
        world.revoke(self.left)
        world.revoke(self.left, epoch=0)  # stale, and recorded
        self.bundle = bundle_of(world)
        self.replayed = replay(self.bundle, signed=True).replayed
        self.replayed._crypto = None
        self.crypto = load_crypto(self.replayed.identity)

    def live_through_care(self) -> None:
        """Plans at every point: asked for, authorised, sealed, viewed, countersigned, ended; and of
        patients who withdrew.
        """
        world = self.world
        self.care_permit, self.undecided = care_permit(world), care_permit(world, approve=())
        self.patient, self.plan, self.plan_seal = sealed_plan(world)
        appoint(world, self.patient)
        self.queued = self.plan_of(self.patient)
        self.drawn = self.plan_of(self.patient, "authorised")
        self.unviewed = self.plan_of(self.patient, "sealed")
        self.unviewed_seal = self.newest_seal
        self.signed = self.plan_of(self.patient, "countersigned")
        self.signed_seal = self.newest_seal
        self.ended_early = self.plan_of(self.patient, "authorised")
        self.ended_late = self.plan_of(self.patient, "sealed")
        for run in (self.ended_early, self.ended_late):
            end_plan(world, run)
        self.gone = patient(world)
        appoint(world, self.gone)
        self.gone_queued = self.plan_of(self.gone)
        self.gone_viewed = self.plan_of(self.gone, "viewed")
        self.gone_seal = self.newest_seal
        self.gone_signed = self.plan_of(self.gone, "countersigned")
        world.revoke(self.gone)
        self.silent = patient(world)
        appoint(world, self.silent, resultToMe=False)
        self.unwanted = self.plan_of(self.silent, "countersigned")

    def plan_of(self, subject: bytes, point: str = "asked") -> bytes:
        """A plan of hers, up to that point."""
        world = self.world
        run = request_plan(world, self.care_permit, subject)
        points = ("asked", "authorised", "sealed", "viewed", "countersigned")
        reached = points.index(point)
        if reached > 0:
            authorise_plan(world, run)
        if reached > 1:
            self.newest_seal = seal_plan(world, run)
        if reached > 2:
            view_plan(world, run)
        if reached > 3:
            countersign(world, run, self.newest_seal)
        return run

    def read_by(self, module: ModuleType) -> Open:
        """The same trail as another auditor's file reads it."""
        reader = copy.copy(self)
        reader.module = module
        crypto = module.load_crypto(module.parse_identity(self.bundle["identity"]))
        reader.replayed, reader.crypto = module.Replay(self.bundle, crypto).replayed, crypto
        reader.replayed._crypto = None
        return reader

    def lets_through(self, lie: Callable[[Open], str]) -> bool:
        """Whether only the absent logs contradict the forgery."""
        try:
            return bool(re.search(r"event [12] \((?!ItemRefused)", lie(self)))
        except (KeyError, AttributeError, IndexError):  # the rule kept it from falling over
            return True

    def where(self, change: Callable[[Any], Any]) -> Open:
        """The same with another replayed state."""
        changed = copy.copy(self)
        changed.replayed = copy.deepcopy(self.replayed)
        change(changed.replayed)
        return changed

    def verdict(
        self, row: Row, signer: str, later: int = 0, twice: bool = False, **change: Any
    ) -> str:
        """The verdict of the rules on this call, or on its repetition; `event 1` if only the logs
        are wrong.
        """
        replayed, world, verify = copy.deepcopy(self.replayed), self.world, self.module
        message = row.message(self) | {"deadline": 2**40 - 1} | change
        if row.kind == "Revoke":
            del message["deadline"]
        names = signer.replace("by two", "pia rui").removeprefix("unsorted ").split()
        if row.rest is one_list and all(name in world.people for name in names):
            names.sort(key=lambda name: int(world.people[name].address, 16))  # as the contract asks
        if signer.startswith("unsorted "):
            names.reverse()
        signed = (
            [world.by(n, row.kind, message) for n in names]
            if names[0] in world.people
            else [
                world.subjects[self.everybody[int(n)]].sign(world.ledger.domain, row.kind, message)
                for n in names
            ]
        )
        arguments = [message_tuple(row.kind, message), *row.rest(self, signed)]
        data = (
            words(bytes.fromhex(world.people[names[0]].address[2:])) * 8
            if names[0] in world.people
            else b""
        )
        logs = [((verify.TOPICS[name],), data) for name in row.claims]
        if twice:
            self.answer(replayed, row.contract, row.function, arguments, logs, later)
        return self.answer(replayed, row.contract, row.function, arguments, logs, later)

    @property
    def everybody(self) -> list[bytes]:
        """Those whom a row names by number."""
        return [*self.subjects, self.left, self.patient, self.gone, self.silent]

    def answer(
        self,
        replayed: Any,
        contract: str,
        function: str,
        arguments: list[Any],
        logs: list[tuple[tuple[bytes, ...], bytes]],
        later: int = 0,
        signed: bool = True,
    ) -> str:
        """The verdict of the rules on this call with these logs, which are never the required ones."""
        verify = self.module
        tx = verify.Transaction(
            bytes(32),
            replayed.position[0] + 1,
            0,
            replayed.identity.contracts[contract][0],
            self.world.ledger.encode(contract, function, *arguments),
        )
        left = [
            verify.Log(b"", topics, data, i, tx.block, tx.hash)
            for i, (topics, data) in enumerate(logs)
        ]
        block = verify.Block(tx.block, replayed.time + later, bytes(32))
        with pytest.raises(verify.Finding) as finding:
            replayed.apply(block, tx, left, self.crypto if signed else None)
        return str(finding.value)

    def batch(
        self,
        function: str,
        items: list[Any],
        change: Callable[[Any], Any] = lambda replayed: None,
        logs: list[tuple[tuple[bytes, ...], bytes]] = [],  # noqa: B006 (never changed)
        signed: bool = True,
    ) -> str:
        """The verdict of the rules on a batch; `change` adapts the state to the forgery."""
        replayed = copy.deepcopy(self.replayed)
        change(replayed)
        return self.answer(replayed, "ConsentRegistry", function, [items], logs, signed=signed)

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


CROWD = [number.to_bytes(32, "big") for number in range(1, 1_002)]  # one more than a run takes
LONG = b"{" + b" " * 2_047 + b"}"  # one byte more than parameters have
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
            "requestHash": o.replayed.permits[o.asked["permit"]].request_hash,
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
    "seventeenth": Row(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        lambda o: o.world.binding(o.flapping, o.subjects),
        (),
        lambda o, signed: [signed[0], o.subjects],
    ),
    "crowded": Row(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        lambda o: o.world.binding(o.fresh, CROWD),
        (),
        lambda o, signed: [signed[0], CROWD],
    ),
    "long": Row(
        "AccessLedger",
        "requestRun",
        "RunRequest",
        lambda o: {
            "permit": o.permit,
            "paramsHash": hashlib.sha256(LONG).digest(),
            "resultKey": bytes(32),
            "nonce": 5,
        },
        (),
        lambda o, signed: [LONG, signed[0]],
    ),
    "unsorted": Row(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        lambda o: o.world.binding(o.fresh, o.subjects[::-1]),
        (),
        lambda o, signed: [signed[0], o.subjects[::-1]],
    ),
    "nobody": Row(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        lambda o: o.world.binding(o.fresh, [bytes(32), *o.subjects]),
        (),
        lambda o, signed: [signed[0], [bytes(32), *o.subjects]],
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
    "appoint": Row(
        "CareLedger",
        "appoint",
        "Appoint",
        lambda o: appointment(o.world, o.patient),
        (),
        lambda o, signed: [o.world.subjects[o.patient].signer, signed[0]],
    ),
    "appoint by a researched": Row(
        "CareLedger",
        "appoint",
        "Appoint",
        lambda o: appointment(o.world, o.subjects[0]),
        (),
        lambda o, signed: [o.world.subjects[o.subjects[0]].signer, signed[0]],
    ),
    "appoint with another's key": Row(
        "CareLedger",
        "appoint",
        "Appoint",
        lambda o: appointment(o.world, o.patient),
        (),
        lambda o, signed: [o.world.subjects[o.subjects[0]].signer, signed[0]],
    ),
    "requestPlan": Row(
        "CareLedger",
        "requestPlan",
        "PlanRequest",
        lambda o: plan_request(o.care_permit, o.patient),
        (),
        lambda o, signed: [PLAN_PARAMS, signed[0]],
    ),
    "requestPlan with much": Row(
        "CareLedger",
        "requestPlan",
        "PlanRequest",
        lambda o: (
            plan_request(o.care_permit, o.patient) | {"paramsHash": hashlib.sha256(LONG).digest()}
        ),
        (),
        lambda o, signed: [LONG, signed[0]],
    ),
    "authorisePlan": Row(
        "CareLedger", "authorisePlan", "PlanBinding", lambda o: plan_binding(o.world, o.queued)
    ),
    "sealPlan": Row(
        "CareLedger",
        "sealPlan",
        "PlanSeal",
        lambda o: o.world.seal_message(o.drawn, outputClass=5),
    ),
    "viewPlan": Row("CareLedger", "viewPlan", "PlanView", lambda o: viewing(o.plan)),
    "countersign": Row(
        "CareLedger",
        "countersign",
        "Countersign",
        lambda o: {"run": o.plan, "attempt": 1, "sealHash": o.plan_seal, "notesHash": bytes(32)},
    ),
    "openPlan": Row(
        "CareLedger",
        "openPlan",
        "PlanOpening",
        lambda o: viewing(o.signed),
        (),
        lambda o, signed: [o.world.subjects[o.patient].signer, signed[0]],
    ),
    "openPlan by one who left": Row(
        "CareLedger",
        "openPlan",
        "PlanOpening",
        lambda o: viewing(o.gone_signed),
        (),
        lambda o, signed: [o.world.subjects[o.gone].signer, signed[0]],
    ),
    "openPlan by one who did not ask": Row(
        "CareLedger",
        "openPlan",
        "PlanOpening",
        lambda o: viewing(o.unwanted),
        (),
        lambda o, signed: [o.world.subjects[o.silent].signer, signed[0]],
    ),
    "endPlan": Row("CareLedger", "endPlan", "PlanEnd", lambda o: {"run": o.queued}),
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
    ("appoint", "5"),
    ("requestPlan", "cleo"),
    ("authorisePlan", "wanda"),
    ("sealPlan", "wanda"),
    ("viewPlan", "cleo"),
    ("countersign", "cleo"),
    ("openPlan", "5"),
    ("endPlan", "cleo"),
]
LIES: list[tuple[str, str, str, dict[str, Any]]] = [
    *((name, by, "deadline", {"deadline": 1}) for name, by in TWINS if name != "revoke"),
    ("setRole", "pia", "quorum", {}),
    ("setRole", "pia pia", "quorum", {}),
    ("setRole", "unsorted pia quinn", "in order", {}),
    ("setRole", "pia quinn", "no such role", {"role": 11}),
    ("setRole", "pia quinn", "senseless", {"account": "0x" + "00" * 20}),
    ("setRole", "pia sol", "not live", {}),
    ("setRole", "pia quinn", "senseless", {"role": 0}),
    ("setRole", "pia quinn", "senseless", {"start": 10}),
    ("setRole", "pia quinn", "another role", {"account": "sol", "replaces": 1}),
    ("setRole", "pia quinn", "another version", {"replaces": 1}),
    ("cancelRole", "sol", "no member of the committee", {}),
    ("cancelRole", "rui", "another version", {"version": 0}),
    ("cancelRole", "rui", "is waiting", {"account": "wanda"}),
    ("cancelRole", "rui", "is waiting", {"account": "auditor to come"}),
    ("registerDataset", "noor", "not live", {}),
    ("registerDataset", "omar", "already", {"dataset": "known"}),
    ("registerDataset", "omar", "no id", {"dataset": bytes(32)}),
    ("requestPermit", "sol", "not live", {}),
    ("requestPermit", "noor", "known permit", {"permit": "known"}),
    ("requestPermit", "noor", "known permit", {"dataset": bytes(32)}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 7}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 1 << 6 | 2}),
    ("requestPermit", "noor", "not live in that role", {"purposeNeed": 1 << 6}),
    ("requestPermit", "noor", "purposes", {"purposeNeed": 0}),
    ("requestPermit", "noor", "categories", {"categories": 1 << 10}),
    ("requestPermit", "noor", "categories", {"categories": 0}),
    ("requestPermit", "noor", "categories", {"outputClasses": 0}),
    ("requestPermit", "noor", "allows no question", {"questions": 0}),
    ("requestPermit", "noor", "more than a permit may", {"questions": 101}),
    ("requestPermit", "noor", "ended", {"expiry": 1}),
    ("vote", "noor", "not live", {}),
    ("vote", "pia", "twice", {}),
    ("vote", "quinn", "request", {"requestHash": bytes(32)}),
    ("vote", "quinn", "not at that point", {"permit": "approved"}),
    ("vote", "quinn", "unknown", {"permit": bytes(32)}),
    ("suspend", "sol", "not live", {}),
    ("suspend", "rui", "not at that point", {"permit": "known"}),
    ("revoke", "1", "her own", {}),
    ("revoke", "0", "no such dataset", {"dataset": bytes(32)}),
    ("revoke", "0", "to come", {"epoch": 1}),
    ("registerRecords", "noor", "signed by", {}),
    ("registerRecords", "omar", "ingest", {"count": 0}),
    ("registerRecords", "omar", "ingest", {"ingest": "registered"}),
    ("registerRecords", "omar", "ingest", {"dataset": bytes(32)}),
    ("voidRecords", "rita", "neither", {}),
    ("voidRecords", "pia", "neither", {}),
    ("voidRecords", "pia pia", "neither", {}),
    ("voidRecords", "omar", "no such", {"ingest": bytes(32)}),
    ("voidRecords", "omar", "void already", {"ingest": "void"}),
    ("voidRecords", "pia sol", "neither", {}),
    ("resume", "sol", "signed by", {}),
    ("resume", "noor", "attempts left", {"run": "unsealed", "attempts": 1}),
    ("resume", "noor", "attempts left", {"attempts": 15}),
    ("requestRun", "sol", "signed by", {}),
    ("requestRun", "noor", "no such permit", {"permit": bytes(32)}),
    ("requestRun", "noor", "not decided", {"permit": "known"}),
    ("requestRun", "noor", "not as signed", {"paramsHash": bytes(32)}),
    ("long", "noor", "not as signed", {}),
    ("authorise", "sol", "not live", {}),
    ("authorise", "wanda", "next attempt", {"attempt": 2}),
    ("authorise", "wanda", "worker signed", {"subjectsHash": bytes(32)}),
    ("unsorted", "wanda", "unsorted", {}),
    ("nobody", "wanda", "unsorted", {}),
    ("authorise", "wanda", "unknown", {"run": bytes(32)}),
    ("authorise", "wanda", "run ended", {"run": "released", "attempt": 2}),
    ("seventeenth", "wanda", "next attempt", {"attempt": 17}),
    ("crowded", "wanda", "too long", {}),
    ("seal", "wilma", "signed by", {}),
    ("seal", "wanda", "does not allow", {"outputClass": 2}),
    ("seal", "wanda", "does not allow", {"outputClass": 4}),
    ("seal", "wanda", "does not allow", {"outputClass": 5}),
    ("seal", "wanda", "already", {"run": "sealed"}),
    ("seal", "wanda", "newest", {"attempt": 2}),
    ("viewOutput", "noor", "not live", {}),
    ("viewOutput", "sol", "nothing is sealed", {"run": "unsealed"}),
    ("viewOutput", "tess", "ended", {"run": "released"}),
    ("viewOutput", "tess", "newest", {"run": "fresh", "attempt": 0}),
    ("release", "sol sol", "two different", {}),
    ("release", "sol tess", "did not view", {}),
    ("release", "sol pia", "not live", {}),
    ("release", "sol sol", "two different", {"reason": 1}),
    ("short", "sol sol", "two different|granted", {}),
    ("reject", "tess", "did not view", {}),
    ("reject", "sol", "reason", {"reason": 0}),
    ("reject", "sol", "sealed", {"sealHash": bytes(32)}),
    ("cancel", "sol", "signed by", {}),
    ("cancel", "cleo", "unknown", {"run": "queued plan"}),
    ("appoint", "0", "signed by", {}),
    ("appoint", "5", "not enrolled", {"subject": bytes(32)}),
    ("appoint with another's key", "5", "that she enrolled", {}),
    ("appoint", "5", "no such dataset", {"dataset": bytes(32), "replaces": 0, "untilDay": 0}),
    ("appoint", "5", "replaces another", {"replaces": 0}),
    ("appoint", "5", "another epoch", {"epoch": 7}),
    ("appoint by a researched", "0", "her own care", {}),
    ("requestPlan", "noor", "signed by", {}),
    ("requestPlan", "cleo", "no such permit", {"permit": bytes(32)}),
    ("requestPlan", "cleo", "not as signed", {"paramsHash": bytes(32)}),
    ("requestPlan with much", "cleo", "not as signed", {}),
    ("requestPlan", "cleo", "exists already", {"nonce": "used plan"}),
    ("requestPlan", "cleo", "not usable", {"permit": "undecided"}),
    ("requestPlan", "cleo", "not appointed", {"salt": bytes(32)}),
    ("authorisePlan", "noor", "not live", {}),
    ("authorisePlan", "wanda", "no such plan", {"run": bytes(32)}),
    ("authorisePlan", "wanda", "no such plan", {"run": "fresh"}),
    ("authorisePlan", "wanda", "plan ended", {"run": "ended plan", "attempt": 2}),
    ("authorisePlan", "wanda", "next attempt", {"attempt": 2}),
    ("sealPlan", "wilma", "signed by", {}),
    ("sealPlan", "wanda", "has ended", {"run": "ended plan"}),
    ("sealPlan", "wanda", "sealed already", {"run": "viewed plan"}),
    ("sealPlan", "wanda", "class Individual", {"outputClass": 1}),
    ("sealPlan", "wanda", "newest", {"attempt": 2}),
    ("viewPlan", "noor", "signed by", {}),
    ("viewPlan", "cleo", "nothing is sealed", {"run": "drawn plan"}),
    ("viewPlan", "cleo", "plan ended", {"run": "plan ended late"}),
    ("viewPlan", "cleo", "ended", {"run": "plan of one who left"}),
    ("viewPlan", "cleo", "newest", {"run": "queued plan", "attempt": 0}),
    ("countersign", "noor", "signed by", {}),
    ("countersign", "cleo", "has ended", {"run": "signed plan", "sealHash": "signed"}),
    ("countersign", "cleo", "what was sealed", {"sealHash": bytes(32)}),
    ("countersign", "cleo", "did not view", {"run": "unviewed plan", "sealHash": "unviewed"}),
    ("openPlan", "0", "signed by", {}),
    ("openPlan", "5", "not countersigned", {"run": "viewed plan"}),
    ("openPlan by one who did not ask", "7", "did not ask", {}),
    ("openPlan by one who left", "6", "own care", {}),
    ("endPlan", "noor", "signed by", {}),
    ("endPlan", "cleo", "has ended", {"run": "ended plan"}),
]


def verdict_by(row: tuple[str, str, str, dict[str, Any]]) -> Callable[[Open], str]:
    name, signer, _, change = row
    return lambda o: o.verdict(ROWS[name], signer, **placed(o, change))


def by_the_high_s(o: Open) -> str:
    row = ROWS["setRole"]
    return o.verdict(row._replace(rest=lambda o, s: [[twisted(s[0], "high s"), s[1]]]), "pia quinn")


def with_the_last_quorum(o: Open) -> str:
    former = verify.Member(1, 0, 1, 1)
    account = o.world.people["quinn"].address
    ended = {"account": account, "role": 1, "start": 0, "end": 1, "replaces": 0}
    return o.where(lambda replayed: replayed.members.update({member(o, "rui"): former})).verdict(
        ROWS["setRole"], "pia quinn", **ended
    )


def with_the_last_quorum_of_founders(o: Open) -> str:
    """Before there is a dataset nobody waits, and nobody may be too few at once."""
    return with_the_last_quorum(o.where(lambda replayed: replayed.datasets.clear()))


def founded_by_few(o: Open) -> str:
    def leave(replayed: Any) -> None:
        replayed.datasets.clear()
        for name in ("pia", "quinn"):
            replayed.members[member(o, name)] = verify.Member(1, 0, verify.FOREVER - 1, 1)

    return o.where(leave).verdict(ROWS["registerDataset"], "omar")


def void_by_a_former_custodian(o: Open) -> str:
    former = verify.Member(2, 0, 1, 1)
    return o.where(lambda replayed: replayed.members.update({member(o, "omar"): former})).verdict(
        ROWS["voidRecords"], "omar"
    )


def released_without_everybody(o: Open) -> str:
    return o.verdict(ROWS["short"], checkers(o), **checked(o))


def revoked_again(o: Open) -> str:
    row = ROWS["revoke"]._replace(rest=lambda o, s: [o.world.subjects[o.left].signer, s[0]])
    return o.verdict(row, "4", subject=o.left)


def enrolled_by_no_registrar(o: Open) -> str:
    """Without signature checks, the ledger's events are checked against the roles."""
    item = o.enrolment()
    noor = words(bytes.fromhex(o.world.people["noor"].address[2:]))
    subject, key, assurance, _ = item[0]
    log = (verify.TOPICS["Enrolled"], subject, noor)
    data = words(64, assurance, 20, key.ljust(32, b"\0"))
    return o.batch("enrol", [item], logs=[(log, data)], signed=False)


def member(o: Open, name: str) -> bytes:
    return bytes.fromhex(o.world.people[name].address[2:])


def looked_at_by_its_analyst(o: Open) -> str:
    """She is a checker now."""
    checker = verify.Member(5, 0, verify.FOREVER, 2)
    return o.where(lambda replayed: replayed.members.update({member(o, "noor"): checker})).verdict(
        ROWS["viewOutput"], "noor"
    )


def released_for_a_reason(o: Open) -> str:
    return o.verdict(ROWS["release"], checkers(o), reason=1, **checked(o))


def checkers(o: Open) -> str:
    return " ".join(sorted(("sol", "tess"), key=lambda name: int(o.world.people[name].address, 16)))


def checked(o: Open) -> dict[str, Any]:
    return {"run": o.checked, "sealHash": o.checked_seal}


def refused_release_repeated(o: Open) -> str:
    dismissed = o.where(
        lambda replayed: replayed.members.update({member(o, "noor"): verify.NOBODY})
    )
    return dismissed.verdict(ROWS["release"], checkers(o), twice=True, **checked(o))


def refused_grant_repeated(o: Open) -> str:
    replayed, items = copy.deepcopy(o.replayed), [o.consent(deadline=1)]
    o.answer(replayed, "ConsentRegistry", "grant", [items], [])
    return o.answer(replayed, "ConsentRegistry", "grant", [items], [])


def refused_run_repeated(o: Open) -> str:
    def suspend(replayed: Any) -> None:
        replayed.permits[o.permit] = replayed.permits[o.permit]._replace(status=verify.SUSPENDED)

    return o.where(suspend).verdict(ROWS["requestRun"], "noor", twice=True)


def resumed_after_its_end(o: Open) -> str:
    def end(replayed: Any) -> None:
        replayed.runs[o.flapping] = replayed.runs[o.flapping]._replace(ended="cancelled")

    return o.where(end).verdict(ROWS["resume"], "noor")


def enrolled_with_a_short_key(o: Open) -> str:
    message = {"subject": random32(), "signer": b"short", "assurance": 1, "deadline": 1 << 39}
    signature = o.world.by("rita", "Enrolment", message)
    return o.batch("enrol", [(message_tuple("Enrolment", message), signature, bytes(65))])


def research_under_a_care_permit(o: Open) -> str:
    """She is an analyst now."""
    analyst = verify.Member(4, 0, verify.FOREVER, 2)
    now = o.where(lambda replayed: replayed.members.update({member(o, "cleo"): analyst}))
    return now.verdict(ROWS["requestRun"], "cleo", permit=o.care_permit)


def care_under_a_research_permit(o: Open) -> str:
    """Its applicant is a clinician now."""

    def change(replayed: Any) -> None:
        replayed.permits[o.permit] = replayed.permits[o.permit]._replace(
            applicant=member(o, "cleo")
        )

    return o.where(change).verdict(ROWS["requestPlan"], "cleo", permit=o.permit)


def seventeenth_attempt_at_a_plan(o: Open) -> str:
    def change(replayed: Any) -> None:
        replayed.runs[o.queued] = replayed.runs[o.queued]._replace(attempts=16)

    return o.where(change).verdict(ROWS["authorisePlan"], "wanda", attempt=17)


def refused_countersignature_repeated(o: Open) -> str:
    change = {"run": o.gone_viewed, "sealHash": o.gone_seal}
    return o.verdict(ROWS["countersign"], "cleo", twice=True, **change)


TODAY = int(time.time()) // 86_400
MORE_LIES: dict[str, Callable[[Open], str]] = {
    "a signature by nobody": by_the_high_s,
    "the last quorum": with_the_last_quorum,
    "the last quorum of founders": with_the_last_quorum_of_founders,
    "founded by a committee that ends": founded_by_few,
    "a former custodian": void_by_a_former_custodian,
    "a shorter list": released_without_everybody,
    "a revocation repeated": revoked_again,
    "a run's id used again": verdict_by(("requestRun", "noor", "", {"nonce": "used run"})),
    "genomic, no statistics": verdict_by(
        ("seal", "wanda", "", {"run": "genomic", "outputClass": 3})
    ),
    "beyond the budget": verdict_by(
        ("seal", "wanda", "", {"run": "genomic", "outputClass": 3, "statistics": 10**6})
    ),
    "a seal after the lease": lambda o: o.verdict(ROWS["seal"], "wanda", later=3_601),
    "an output of no class": verdict_by(("seal", "wanda", "", {"run": "odd", "outputClass": 4})),
    "looked at by its analyst": looked_at_by_its_analyst,
    "looked at twice": lambda o: o.verdict(ROWS["viewOutput"], "tess", twice=True),
    "released for a reason": released_for_a_reason,
    "a refused release repeated": refused_release_repeated,
    "a refused run repeated": refused_run_repeated,
    "a refused attempt repeated": lambda o: o.verdict(
        ROWS["authorise"], "wanda", twice=True, codeHash=bytes(32)
    ),
    "resumed after its end": resumed_after_its_end,
    "research under a care permit": research_under_a_care_permit,
    "care under a research permit": care_under_a_research_permit,
    "a seventeenth attempt at a plan": seventeenth_attempt_at_a_plan,
    "a plan sealed after the lease": lambda o: o.verdict(ROWS["sealPlan"], "wanda", later=3_601),
    "a refused plan repeated": lambda o: o.verdict(
        ROWS["authorisePlan"], "wanda", twice=True, codeHash=bytes(32)
    ),
    "a plan viewed twice": lambda o: o.verdict(ROWS["viewPlan"], "cleo", twice=True),
    "a plan opened twice": lambda o: o.verdict(ROWS["openPlan"], "5", twice=True),
    "a refused countersignature repeated": refused_countersignature_repeated,
    "a cancelled run": verdict_by(("cancel", "noor", "", {"run": "cancelled"})),
    "a batch too long": lambda o: o.batch("enrol", [o.enrolment()] * 257),
    "a batch of strangers": lambda o: o.batch("enrol", [o.enrolment(registrar="noor")]),
    "no registrar": enrolled_by_no_registrar,
    "enrolled too late": lambda o: o.batch("enrol", [o.enrolment(deadline=1)]),
    "enrolled twice": lambda o: o.batch("enrol", [o.enrolment(subject=o.subjects[0])]),
    "enrolled as nobody": lambda o: o.batch("enrol", [o.enrolment(subject=bytes(32))]),
    "enrolled with a short key": enrolled_with_a_short_key,
    "enrolled unasked": lambda o: o.batch("enrol", [(*o.enrolment()[:2], bytes(65))]),
    "a grant too late": lambda o: o.batch("grant", [o.consent(deadline=1)]),
    "a grant of an epoch that is over": lambda o: o.batch("grant", [o.consent(o.left, epoch=0)]),
    "a grant of an epoch to come": lambda o: o.batch("grant", [o.consent(epoch=7)]),
    "a grant over a version to come": lambda o: o.batch("grant", [o.consent(replaces=7)]),
    "a grant of the past": lambda o: o.batch("grant", [o.consent(fromDay=1, untilDay=2)]),
    "a grant that ends before it begins": lambda o: o.batch(
        "grant", [o.consent(fromDay=TODAY + 9, untilDay=TODAY + 2)]
    ),
    "a grant of no category": lambda o: o.batch("grant", [o.consent(categories=0)]),
    "a refused grant repeated": refused_grant_repeated,
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
        ("run", "released"): o.released,
        ("run", "fresh"): o.fresh,
        ("run", "odd"): o.odd,
        ("account", "auditor to come"): o.auditor,
        ("ingest", "registered"): o.ingest,
        ("ingest", "void"): o.void,
        ("nonce", "used run"): o.replayed.runs[o.fresh].request["nonce"],
        ("nonce", "used plan"): o.replayed.runs[o.queued].request["nonce"],
        ("permit", "undecided"): o.undecided,
        ("run", "queued plan"): o.queued,
        ("run", "drawn plan"): o.drawn,
        ("run", "viewed plan"): o.plan,
        ("run", "unviewed plan"): o.unviewed,
        ("run", "signed plan"): o.signed,
        ("run", "ended plan"): o.ended_early,
        ("run", "plan ended late"): o.ended_late,
        ("run", "plan of one who left"): o.gone_viewed,
        ("sealHash", "unviewed"): o.unviewed_seal,
        ("sealHash", "signed"): o.signed_seal,
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
    verdict = opened.verdict(ROWS[name], signer, **placed(opened, change))
    assert re.search(fact, verdict), verdict
    assert "event 1 (" not in verdict


@pytest.mark.parametrize("name", MORE_LIES)
def test_further_unlawful_calls_are_named(opened: Open, name: str) -> None:
    assert not opened.lets_through(MORE_LIES[name]), MORE_LIES[name](opened)


def test_the_lease_and_the_last_quorum_are_kept(opened: Open) -> None:
    assert "lease" in opened.verdict(ROWS["seal"], "wanda", later=3601)
    assert "event 1 (" in opened.verdict(ROWS["seal"], "wanda", later=3600 - 60)
    people = opened.world.people
    opened.replayed.members[bytes.fromhex(people["rui"].address[2:])] = verify.Member(1, 0, 1, 1)
    ended = {"account": people["quinn"].address, "role": 1, "start": 0, "end": 1, "replaces": 0}
    assert "no quorum" in opened.verdict(ROWS["setRole"], "pia quinn", **ended)


def test_an_applicant_on_the_committee_does_not_vote_on_her_own_request(opened: Open) -> None:
    noor = bytes.fromhex(opened.world.people["noor"].address[2:])
    opened.replayed.members[noor], before = (
        verify.Member(1, 0, 2**40 - 1, 1),
        opened.replayed.members[noor],
    )
    assert "applicant voted" in opened.verdict(ROWS["vote"], "noor")
    opened.replayed.members[noor] = before


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
    used = opened.replayed.runs[opened.fresh].request["nonce"]
    assert "exists already" in opened.verdict(ROWS["requestRun"], "noor", nonce=used)
    run, before = opened.fresh, opened.replayed.runs[opened.fresh]
    opened.replayed.runs[run] = before._replace(ended="cancelled")
    assert "has ended" in opened.verdict(ROWS["cancel"], "noor")
    opened.replayed.runs[run] = before


def test_a_dismissed_analyst_requests_and_resumes_no_run(opened: Open) -> None:
    noor, run = bytes.fromhex(opened.world.people["noor"].address[2:]), opened.fresh
    before, member = opened.replayed.runs[run], opened.replayed.members[noor]
    opened.replayed.runs[run] = before._replace(attempts=verify.MAX_ATTEMPTS)
    resumed = {"run": run, "attempts": verify.MAX_ATTEMPTS}
    assert "event 1 (RunResumed)" in opened.verdict(ROWS["resume"], "noor", **resumed)
    opened.replayed.members[noor] = member._replace(end=1)
    assert "not live" in opened.verdict(ROWS["resume"], "noor", **resumed)
    assert "not live" in opened.verdict(ROWS["requestRun"], "noor")
    opened.replayed.runs[run], opened.replayed.members[noor] = before, member


def test_a_release_names_everybody_who_was_granted(opened: Open) -> None:
    views = opened.replayed.attempts[opened.run, 1].views
    views[bytes.fromhex(opened.world.people["tess"].address[2:])] = bytes(32)
    by = " ".join(
        sorted(("sol", "tess"), key=lambda name: int(opened.world.people[name].address, 16))
    )
    assert "event 1 (Released)" in opened.verdict(ROWS["release"], by)
    assert "not the granted one" in opened.verdict(ROWS["short"], by)
    views.popitem()


def refused(o: Open, row: str, signer: str, **change: Any) -> bool:
    """Whether the rules ask for a refusal of this call, not for what it would do."""
    verdict = o.verdict(ROWS[row], signer, **change)
    assert "event 1 (" in verdict
    return re.search(r"event 1 \((Run|Release)Refused\)", verdict) is not None


def as_asked(opened: Open) -> Callable[[Any], None]:
    """The dataset's records are as when the checked run asked the question of the fresh one."""

    def change(replayed: Any) -> None:
        run = replayed.runs[opened.checked]
        records = replayed.attempts[opened.checked, run.attempts].records
        replayed.questions.changes[opened.world.dataset] = records

    return change


def test_questions_beyond_a_permit_or_a_dataset_are_refused(opened: Open) -> None:
    def other(replayed: Any) -> None:
        run = replayed.runs[opened.fresh]
        request = run.request | {"paramsHash": bytes(32)}
        replayed.runs[opened.fresh] = run._replace(request=request)

    def asked(count: int) -> Callable[[Any], None]:
        def change(replayed: Any) -> None:
            questions = replayed.questions.asked[opened.permit]
            for number in range(1, count - len(questions) + 1):
                questions[number.to_bytes(32, "big")] = verify.Asked(b"", 0, b"")

        return change

    def about(count: int) -> Callable[[Any], None]:
        return lambda replayed: replayed.questions.about.update({opened.world.dataset: count})

    new, most = opened.where(other), opened.replayed.permits[opened.permit].request["questions"]
    for spent, bound in ((asked, most), (about, verify.DATASET_QUESTIONS)):
        assert not refused(new.where(spent(bound - 1)), "authorise", "wanda")
        assert refused(new.where(spent(bound)), "authorise", "wanda")
        same = opened.where(as_asked(opened)).where(spent(bound))
        assert not refused(same, "authorise", "wanda")  # asked before


def test_what_a_run_paid_goes_on_with_it(opened: Open) -> None:
    """The permit has no question left; the fresh run began about others, and paid, or another did."""

    def began(payer: bytes, moves: int = 0) -> Callable[[Any], None]:
        def change(replayed: Any) -> None:
            run = replayed.runs[opened.fresh]
            replayed.runs[opened.fresh] = run._replace(attempts=1, moves=moves)
            first = replayed.attempts[opened.checked, 1]._replace(list_hash=bytes(32))
            replayed.attempts[opened.fresh, 1] = first
            params = run.request["paramsHash"]
            question = verify.Question(params, first.records, first.list_hash)
            paid = verify.Asked(params, first.records, payer)
            replayed.questions.asked[opened.permit] = {question.name: paid}
            replayed.permits[opened.permit].request["questions"] = 1

        return change

    def denied(change: Callable[[Any], None]) -> bool:
        return refused(opened.where(change), "authorise", "wanda", attempt=2)

    assert not denied(began(opened.fresh))
    assert not denied(began(opened.fresh, moves=verify.MAX_MOVES - 1))
    assert denied(began(opened.fresh, moves=verify.MAX_MOVES))
    for other in (opened.checked, b""):  # another run paid, or has asked it as well
        assert denied(began(other))


def test_records_registered_since_make_another_question(opened: Open) -> None:
    def full(replayed: Any) -> None:
        replayed.permits[opened.permit].request["questions"] = 1

    def registered(replayed: Any) -> None:
        full(replayed)
        replayed.questions.note_change(opened.world.dataset)

    same = opened.where(as_asked(opened))
    assert not refused(same.where(full), "authorise", "wanda")
    assert refused(same.where(registered), "authorise", "wanda")


# -- every rule is missed by somebody

SOURCE = ROOT / "governance" / "verify.py"
RULES = ("Steps", "PermitRules", "ConsentRules", "AccessRules", "CareRules", "ReplayedState")
# Of the whole trail, not of one call: their forgeries stand in test_verify.py and
# test_verify_steps.py.
OF_THE_TRAIL = {"apply", "_compare", "_claim"}
# Of one item of a batch: a refusal of it is recorded, or it leaves nothing.
OF_AN_ITEM = ("_batch", "_enrolment", "_consent")


class Switches(ast.NodeTransformer):
    """Puts each rule behind a switch: the rule whose name is in OFF is disabled.

    A rule is what a `need` asks for; of several conditions joined by "and", each by itself. So is
    every message that is recorded as used up. `places`: by function and number of the rule, its
    text.
    """

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self._function, self._named, self._count = "", dict[str, str](), 0

    def visit_Module(self, node: ast.Module) -> ast.Module:
        for item in node.body:
            if isinstance(item, ast.ClassDef) and item.name in RULES:
                item.body = [self._method(inner) for inner in item.body]
        return node

    def _method(self, node: ast.stmt) -> ast.stmt:
        if not isinstance(node, ast.FunctionDef) or node.name in OF_THE_TRAIL:
            return node
        self._function, self._count = node.name, 0
        needs = [item for item in ast.walk(node) if is_need(item)]
        # Conditions that have a name first: `fresh = a and b`, then `need(fresh, …)`.
        self._named = {
            item.args[0].id: fact_of(item) for item in needs if isinstance(item.args[0], ast.Name)
        }
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        name = getattr(node.targets[0], "id", "")
        if name in self._named:
            node.value = self._switched(node.value, self._named[name])
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if is_need(node) and not isinstance(node.args[0], ast.Name):
            node.args[0] = self._switched(node.args[0], fact_of(node))
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        if ast.unparse(node).startswith("self.used_up.add("):
            test = self._switch("the message is used up")
            return ast.If(ast.Compare(test, [ast.Eq()], [ast.Constant(False)]), [node], [])
        return self.generic_visit(node)  # type: ignore[return-value]

    def _switched(self, test: ast.expr, fact: str) -> ast.expr:
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return ast.BoolOp(ast.And(), [self._switched(item, fact) for item in test.values])
        if isinstance(test, ast.Compare) and len(test.ops) > 1:
            sides = [test.left, *test.comparators]
            pairs = [
                ast.Compare(left, [sign], [right])
                for left, sign, right in zip(sides, test.ops, sides[1:], strict=False)
            ]
            return ast.BoolOp(ast.And(), [self._switched(item, fact) for item in pairs])
        return ast.BoolOp(ast.Or(), [self._switch(f"{ast.unparse(test)}: {fact}"), test])

    def _switch(self, text: str) -> ast.expr:
        switch = f"{self._function} {self._count}"
        self._count += 1
        self.places[switch] = text
        return ast.Compare(ast.Name("OFF", ast.Load()), [ast.Eq()], [ast.Constant(switch)])


def is_need(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "need"


def fact_of(need: ast.Call) -> str:
    return ast.unparse(need.args[1])


def with_switches() -> tuple[ModuleType, dict[str, str]]:
    """The auditor's file with every rule behind its switch, and where they are."""
    switches = Switches()
    tree = ast.fix_missing_locations(switches.visit(ast.parse(SOURCE.read_text())))
    module = ModuleType("verify_with_switches")
    sys.modules[module.__name__] = module
    module.__dict__["OFF"] = ""
    exec(compile(tree, "verify", "exec"), module.__dict__)
    return module, switches.places


def test_every_rule_taken_out_lets_a_lie_through(opened: Open) -> None:
    """Every rule, and every part of one, is tested."""
    lies = [("", lie) for lie in MORE_LIES.values()]
    lies += [(f"_{ROWS[row[0]].function}", verdict_by(row)) for row in LIES]
    (switched, places), useless = with_switches(), []
    assert len(places) > 90
    loose = opened.read_by(switched)
    assert not any(loose.lets_through(lie) for _, lie in lies)
    kept = {lie: lie(loose) for _, lie in lies}
    for switch, text in places.items():
        switched.__dict__["OFF"] = switch
        if switch.startswith(OF_AN_ITEM):  # its item leaves something else, and so does the call
            if all(lie(loose) == verdict for lie, verdict in kept.items()):
                useless.append(f"{switch}: {text}")
            continue
        # Calls of the rule's own function first: the others mostly fail for what they always fail
        # for.
        own = switch.split()[0]
        ordered = [lie for name, lie in lies if name == own]
        ordered += [lie for name, lie in lies if name != own]
        if not any(map(loose.lets_through, ordered)):
            useless.append(f"{switch}: {text}")
    assert not useless, "\n".join(useless)
