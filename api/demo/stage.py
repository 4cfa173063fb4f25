"""Demo personas and their signed messages, with defaults, for the demo's attacks and the tests.

A `World` is a separate deployment, so attempts in it do not affect the real one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analytics.code import params_schema_hash
from api.operate.bootstrap import FOREVER, ROLE_DELAY, ROLES, sign_identity
from chain.consent_slot import epoch_of
from chain.events import Receipt
from chain.ledger import Ledger, deploy, message_tuple
from chain.vocabulary import Category, OutputClass, Purpose
from chain.wallets import Wallet

DAY = 86_400
CAST = {
    "omar": "custodian",
    "rita": "registrar",
    "noor": "analyst",
    "sol": "checker",
    "tess": "checker",
    "bram": "broker",
    "wanda": "worker",
    "wilma": "worker",
    "dora": "protection",
    "cleo": "clinician",
}
CODE = hashlib.sha256(b"code").digest()
SCHEMA = params_schema_hash()
PARAMS = b'{"model":"logistic"}'
PARAMS_HASH = hashlib.sha256(PARAMS).digest()
RESEARCH = 1 << Purpose.GENERAL_RESEARCH | 1 << Purpose.HEALTH_RESEARCH
CATEGORIES = 1 << Category.OBSERVATIONS | 1 << Category.EXPRESSION


def random32() -> bytes:
    return secrets.token_bytes(32)


class MemoryOutbox:
    """An outbox for a temporary world: it survives no crash."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, tuple[str, int, bytes]] = {}

    def put(self, sender: str, nonce: int, tx: bytes, raw: bytes) -> None:
        self.waiting[tx] = (sender, nonce, raw)

    def settle(self, tx: bytes) -> None:
        self.waiting.pop(tx, None)

    def pending(self, sender: str) -> list[tuple[int, bytes, bytes]]:
        return sorted((n, tx, raw) for tx, (s, n, raw) in self.waiting.items() if s == sender)


@dataclass
class World:
    """One deployment with all personas in their roles; `sign` and `relay` act for them."""

    ledger: Ledger
    people: dict[str, Wallet]
    dataset: bytes
    relayer: Wallet
    subjects: dict[bytes, Wallet] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        url: str,
        floor: int = 3,
        salt: bytes | None = None,
        relay: Wallet | None = None,
        people: dict[str, Wallet] | None = None,
        roles: bool = True,
        role_delay: int = ROLE_DELAY,
    ) -> World:
        names = ["pia", "quinn", "rui", *CAST]
        people = people or {name: Wallet.new() for name in names}
        relay = relay or Wallet.new()
        outbox = MemoryOutbox()
        founders = [people[name].address for name in ("pia", "quinn", "rui")]
        identity = deploy(url, relay, outbox, founders, 2, salt or random32(), floor, role_delay)
        identity["signatures"] = sign_identity(identity, [people["pia"], people["quinn"]])
        world = cls(Ledger.connect(url, identity, relay, outbox), people, random32(), relay)
        if roles:
            for name, role in CAST.items():
                world.set_role(people[name].address, role)
            world.register_dataset()
        return world

    # -- the committee

    def set_role(
        self,
        account: str,
        role: str,
        start: int = 0,
        end: int = FOREVER,
        by: Sequence[str] = ("pia", "quinn"),
        **change: Any,
    ) -> Receipt:
        message = {
            "account": account,
            "role": ROLES[role],
            "start": start,
            "end": end,
            "replaces": self.ledger.read("PermitRegistry", "roleOf", account)[3],
            "deadline": FOREVER,
        } | change
        return self.relay(
            "PermitRegistry",
            "setRole",
            "RoleChange",
            message,
            self.quorum("RoleChange", message, by),
        )

    def quorum(self, kind: str, message: Mapping[str, Any], by: Sequence[str]) -> list[bytes]:
        wallets = sorted((self.people[name] for name in by), key=lambda w: int(w.address, 16))
        return [wallet.sign(self.ledger.domain, kind, message) for wallet in wallets]

    def register_dataset(self, dataset: bytes | None = None) -> Receipt:
        message = {
            "dataset": dataset or self.dataset,
            "documentHash": random32(),
            "deadline": FOREVER,
        }
        return self.relay(
            "PermitRegistry",
            "registerDataset",
            "RegisterDataset",
            message,
            self.by("omar", "RegisterDataset", message),
        )

    def cancel_role(self, account: str, by: str = "rui", **change: Any) -> Receipt:
        """One member cancels a worker or broker that may not act yet."""
        version = self.ledger.read("PermitRegistry", "roleOf", account)[3]
        message = {"account": account, "version": version, "deadline": FOREVER} | change
        signature = self.by(by, "CancelRole", message)
        return self.relay("PermitRegistry", "cancelRole", "CancelRole", message, signature)

    def records(self, **change: Any) -> dict[str, Any]:
        """A message that registers invented records."""
        return {
            "ingest": random32(),
            "dataset": self.dataset,
            "leavesRoot": random32(),
            "count": 14,
            "relaxed": 0,
            "deadline": FOREVER,
        } | change

    def register_records(self, by: str = "omar", **change: Any) -> bytes:
        """Register records; returns the ingest."""
        message = self.records(**change)
        signature = self.by(by, "RecordsRegistered", message)
        self.relay("AccessLedger", "registerRecords", "RecordsRegistered", message, signature)
        ingest: bytes = message["ingest"]
        return ingest

    def void_records(self, ingest: bytes, by: Sequence[str] = ("omar",)) -> Receipt:
        message = {"ingest": ingest, "deadline": FOREVER}
        signatures = self.quorum("VoidRecords", message, by)
        return self.relay("AccessLedger", "voidRecords", "VoidRecords", message, signatures)

    def permit(self, approve: Sequence[str] = ("pia", "quinn"), **change: Any) -> bytes:
        """A requested permit with the given yes votes; returns its id."""
        request = self.permit_request(**change)
        self.relay(
            "PermitRegistry",
            "requestPermit",
            "PermitRequest",
            request,
            self.by("noor", "PermitRequest", request),
        )
        for name in approve:
            self.vote(request["permit"], name)
        return bytes(request["permit"])

    def permit_request(self, **change: Any) -> dict[str, Any]:
        return {
            "permit": random32(),
            "dataset": self.dataset,
            "purposeNeed": 1 << Purpose.GENERAL_RESEARCH,
            "categories": CATEGORIES,
            "codeHash": CODE,
            "paramsSchemaHash": SCHEMA,
            "minCohort": 3,
            "outputClasses": 1 << OutputClass.METRICS,
            "questions": 12,
            "expiry": FOREVER,
            "documentHash": random32(),
            "deadline": FOREVER,
        } | change

    def vote(self, permit: bytes, name: str, yes: bool = True, **change: Any) -> Receipt:
        stored = self.ledger.read("PermitRegistry", "permitOf", permit)
        message = {
            "permit": permit,
            "requestHash": stored[4],
            "yes": yes,
            "deadline": FOREVER,
        } | change
        return self.relay("PermitRegistry", "vote", "Vote", message, self.by(name, "Vote", message))

    # -- patients

    def enrol(self, count: int = 1) -> list[bytes]:
        """Enrol new people, each with a key of her own; returns their ids in ascending order."""
        new = {random32(): Wallet.new() for _ in range(count)}
        items = [self.enrolment(subject, wallet) for subject, wallet in new.items()]
        for first in range(0, len(items), 60):
            self.ledger.relay("ConsentRegistry", "enrol", items[first : first + 60])
        self.subjects |= new
        return sorted(new)

    def enrolment(
        self, subject: bytes, wallet: Wallet, registrar: str = "rita", **change: Any
    ) -> tuple[Any, ...]:
        message = {
            "subject": subject,
            "signer": wallet.signer,
            "assurance": 1,
            "deadline": FOREVER,
        } | change
        return (
            message_tuple("Enrolment", message),
            self.by(registrar, "Enrolment", message),
            wallet.sign(self.ledger.domain, "Enrolment", message),
        )

    def grant_message(
        self, subject: bytes, slot: int | None = None, **change: Any
    ) -> dict[str, Any]:
        """A consent that follows the one in `slot`: what the ledger has, where the caller has not
        read it.
        """
        slot = self.slot(subject, change.get("dataset", self.dataset)) if slot is None else slot
        today = change["fromDay"] if "fromDay" in change else self.ledger.now() // DAY
        return {
            "subject": subject,
            "dataset": self.dataset,
            "epoch": epoch_of(slot),
            "replaces": slot >> 192 & 0xFFFFFF,
            "fromDay": today,
            "untilDay": today + 730,
            "purposes": RESEARCH,
            "categories": CATEGORIES,
            "termsCommitment": random32(),
            "noticeHash": random32(),
            "deadline": FOREVER,
        } | change

    def grant_item(
        self, message: Mapping[str, Any], wallet: Wallet | None = None
    ) -> tuple[Any, ...]:
        wallet = wallet or self.subjects[message["subject"]]
        signer_wallet = self.subjects.get(message["subject"], wallet)
        return (
            message_tuple("Grant", message),
            signer_wallet.signer,
            wallet.sign(self.ledger.domain, "Grant", message),
        )

    def grant(self, subjects: Sequence[bytes], **change: Any) -> Receipt:
        change = {"fromDay": self.ledger.now() // DAY} | change
        dataset = change.get("dataset", self.dataset)
        slots = self.ledger.read("ConsentRegistry", "slotsOf", dataset, subjects)
        items = [
            self.grant_item(self.grant_message(subject, slot, **change))
            for subject, slot in zip(subjects, slots, strict=True)
        ]
        receipts = [
            self.ledger.relay("ConsentRegistry", "grant", items[i : i + 60])
            for i in range(0, len(items), 60)
        ]
        return receipts[-1]

    def revoke(
        self, subject: bytes, epoch: int | None = None, wallet: Wallet | None = None
    ) -> Receipt:
        current = epoch_of(self.slot(subject))
        message = {
            "subject": subject,
            "dataset": self.dataset,
            "epoch": current if epoch is None else epoch,
        }
        signature = (wallet or self.subjects[subject]).sign(self.ledger.domain, "Revoke", message)
        return self.ledger.relay(
            "ConsentRegistry",
            "revoke",
            message_tuple("Revoke", message),
            self.subjects[subject].signer,
            signature,
        )

    def slot(self, subject: bytes, dataset: bytes | None = None) -> int:
        return int(self.ledger.read("ConsentRegistry", "slotOf", subject, dataset or self.dataset))

    def live_through(self) -> None:
        """Make a trail with every kind of step: five people, four of them willing, a sealed run, a
        withdrawal.
        """
        subjects = self.enrol(5)
        self.grant(subjects[:4])
        run = self.request_run(self.permit())
        self.authorise(run, subjects)
        self.seal(run)
        self.view_output(run, "sol")
        self.revoke(subjects[0])

    # -- runs

    def request_run(
        self, permit: bytes, by: str = "noor", params: bytes = PARAMS, **change: Any
    ) -> bytes:
        """A mined run request; returns the run id."""
        message = {
            "permit": permit,
            "paramsHash": hashlib.sha256(params).digest(),
            "resultKey": random32(),
            "nonce": secrets.randbits(256),
            "deadline": FOREVER,
        } | change
        self.relay(
            "AccessLedger",
            "requestRun",
            "RunRequest",
            message,
            params,
            self.by(by, "RunRequest", message),
        )
        account = bytes.fromhex(self.people[by].address[2:]).rjust(32, b"\0")
        return hashlib.sha256(account + int(str(message["nonce"])).to_bytes(32, "big")).digest()

    def binding(self, run: bytes, subjects: Sequence[bytes], **change: Any) -> dict[str, Any]:
        return {
            "run": run,
            "attempt": 1,
            "subjectsHash": hashlib.sha256(b"".join(subjects)).digest(),
            "workerKey": random32(),
            "codeHash": CODE,
            "leaseSeconds": 3600,
            "relaxed": 0,
            "deadline": FOREVER,
        } | change

    def authorise(
        self, run: bytes, subjects: Sequence[bytes], by: str = "wanda", **change: Any
    ) -> Receipt:
        message = self.binding(run, subjects, **change)
        return self.relay(
            "AccessLedger",
            "authorise",
            "WorkerBinding",
            message,
            self.by(by, "WorkerBinding", message),
            list(subjects),
        )

    def resume(self, run: bytes, attempts: int = 16, by: str = "noor") -> Receipt:
        message = {"run": run, "attempts": attempts, "deadline": FOREVER}
        signature = self.by(by, "Resume", message)
        return self.relay("AccessLedger", "resume", "Resume", message, signature)

    def seal_message(self, run: bytes, attempt: int = 1, **change: Any) -> dict[str, Any]:
        return {
            "run": run,
            "attempt": attempt,
            "outputCommitment": random32(),
            "ciphertextHash": random32(),
            "keyCommitment": random32(),
            "disclosureCommitment": random32(),
            "outputClass": OutputClass.METRICS,
            "statistics": 0,
            "deadline": FOREVER,
        } | change

    def seal(self, run: bytes, attempt: int = 1, by: str = "wanda", **change: Any) -> bytes:
        """A sealed output; returns the seal hash."""
        from chain.events import Sealed

        message = self.seal_message(run, attempt, **change)
        receipt = self.relay("AccessLedger", "seal", "Seal", message, self.by(by, "Seal", message))
        return receipt.one(Sealed).sealHash

    def view_output(self, run: bytes, by: str, attempt: int = 1, **change: Any) -> Receipt:
        message = {
            "run": run,
            "attempt": attempt,
            "viewerKey": random32(),
            "deadline": FOREVER,
        } | change
        return self.relay(
            "AccessLedger", "viewOutput", "Review", message, self.by(by, "Review", message)
        )

    def release(
        self,
        run: bytes,
        seal: bytes,
        subjects: Sequence[bytes],
        epochs: Sequence[int],
        by: Sequence[str] = ("sol", "tess"),
        attempt: int = 1,
        **change: Any,
    ) -> Receipt:
        message = {
            "run": run,
            "attempt": attempt,
            "sealHash": seal,
            "reason": 0,
            "deadline": FOREVER,
        } | change
        return self.relay(
            "AccessLedger",
            "release",
            "Decision",
            message,
            list(subjects),
            list(epochs),
            self.quorum("Decision", message, by),
        )

    # -- doing

    def by(self, name: str, kind: str, message: Mapping[str, Any]) -> bytes:
        return self.people[name].sign(self.ledger.domain, kind, message)

    def relay(
        self, contract: str, function: str, kind: str, message: Mapping[str, Any], *rest: Any
    ) -> Receipt:
        return self.ledger.relay(contract, function, message_tuple(kind, message), *rest)
