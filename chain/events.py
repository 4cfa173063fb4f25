"""What the contracts said: one frozen dataclass an event, decoded from raw JSON-RPC logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from eth_abi.abi import decode
from eth_utils.abi import event_abi_to_log_topic
from eth_utils.address import to_checksum_address

from chain.artifacts import CONTRACTS, load
from chain.errors import ChainError


@dataclass(frozen=True, slots=True)
class Event:
    """Where the event stands: block number, transaction hash, index of the log in its block."""

    block: int
    tx: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Head(Event):
    count: int
    head: bytes
    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class RoleSet(Event):
    account: str
    role: int
    start: int
    end: int
    version: int


@dataclass(frozen=True, slots=True)
class RoleCancelled(Event):
    account: str
    by: str
    version: int


@dataclass(frozen=True, slots=True)
class DatasetRegistered(Event):
    dataset: bytes
    custodian: str
    documentHash: bytes


@dataclass(frozen=True, slots=True)
class PermitRequested(Event):
    permit: bytes
    dataset: bytes
    applicant: str
    request: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Voted(Event):
    permit: bytes
    member: str
    yes: bool


@dataclass(frozen=True, slots=True)
class PermitApproved(Event):
    permit: bytes
    expiry: int


@dataclass(frozen=True, slots=True)
class PermitRejected(Event):
    permit: bytes


@dataclass(frozen=True, slots=True)
class PermitSuspended(Event):
    permit: bytes
    by: str


@dataclass(frozen=True, slots=True)
class Enrolled(Event):
    subject: bytes
    signer: bytes
    assurance: int
    registrar: str


@dataclass(frozen=True, slots=True)
class ConsentGranted(Event):
    subject: bytes
    dataset: bytes
    epoch: int
    version: int
    slot: int
    termsCommitment: bytes
    noticeHash: bytes


@dataclass(frozen=True, slots=True)
class ConsentRevoked(Event):
    subject: bytes
    dataset: bytes
    endedEpoch: int


@dataclass(frozen=True, slots=True)
class RevokeStale(Event):
    subject: bytes
    dataset: bytes
    named: int
    current: int


@dataclass(frozen=True, slots=True)
class ItemRefused(Event):
    index_: int
    reason: bytes


@dataclass(frozen=True, slots=True)
class RecordsSealed(Event):
    ingest: bytes
    dataset: bytes
    leavesRoot: bytes
    count: int
    relaxed: int


@dataclass(frozen=True, slots=True)
class RecordsVoided(Event):
    ingest: bytes
    dataset: bytes


@dataclass(frozen=True, slots=True)
class RunRequested(Event):
    run: bytes
    permit: bytes
    analyst: str
    paramsHash: bytes
    resultKey: bytes
    deadline: int


@dataclass(frozen=True, slots=True)
class AccessGranted(Event):
    run: bytes
    subject: bytes
    attemptEpochVersion: int

    @property
    def epoch(self) -> int:
        return (self.attemptEpochVersion >> 24) & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class AccessDenied(Event):
    run: bytes
    subject: bytes
    attempt: int
    reason: int


@dataclass(frozen=True, slots=True)
class RunRefused(Event):
    run: bytes
    attempt: int
    reason: int


@dataclass(frozen=True, slots=True)
class RunAuthorised(Event):
    run: bytes
    attempt: int
    granted: int
    denied: int
    leaseUntil: int
    workerKey: bytes
    listHash: bytes
    relaxed: int


@dataclass(frozen=True, slots=True)
class Sealed(Event):
    run: bytes
    attempt: int
    sealHash: bytes
    sealedOutput: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class OutputViewed(Event):
    run: bytes
    attempt: int
    viewer: str
    viewerKey: bytes


@dataclass(frozen=True, slots=True)
class Released(Event):
    run: bytes
    attempt: int
    sealHash: bytes
    checkerA: str
    checkerB: str


@dataclass(frozen=True, slots=True)
class ReleaseRefused(Event):
    run: bytes
    attempt: int
    subject: bytes
    reason: int


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    run: bytes
    attempt: int
    sealHash: bytes
    checker: str
    reason: int


@dataclass(frozen=True, slots=True)
class RunCancelled(Event):
    run: bytes


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    run: bytes
    attempts: int


E_ = TypeVar("E_", bound=Event)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction of ours: where it stands and what it made the contracts say."""

    tx: bytes
    block: int
    block_hash: bytes
    gas: int
    events: tuple[Event, ...]

    def all(self, kind: type[E_]) -> list[E_]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E_]) -> E_:
        """The only event of that kind; raises ValueError when there is none or more."""
        (found,) = self.all(kind)
        return found


@cache
def _by_topic() -> dict[bytes, tuple[type[Event], Mapping[str, Any]]]:
    entries = [entry for name in CONTRACTS for entry in load(name).abi if entry["type"] == "event"]
    known: dict[str, Any] = {entry["name"]: entry for entry in entries}
    if missing := [kind.__name__ for kind in Event.__subclasses__() if kind.__name__ not in known]:
        raise ChainError(f"the artifacts know no event {', '.join(missing)}", "run make fix")
    kinds = [(kind, known[kind.__name__]) for kind in Event.__subclasses__()]
    return {event_abi_to_log_topic(abi): (kind, abi) for kind, abi in kinds}


def event_topic(kind: type[Event]) -> bytes:
    """What the logs of an event begin with."""
    return next(topic for topic, (known, _) in _by_topic().items() if known is kind)


def parse(log: Mapping[str, Any]) -> Event | None:
    """One raw log as its dataclass, or None when the topic is not ours."""
    topics = [_bytes(topic) for topic in log["topics"]]
    found = _by_topic().get(topics[0]) if topics else None
    if found is None:
        return None
    kind, abi = found
    indexed = [entry for entry in abi["inputs"] if entry["indexed"]]
    others = [entry for entry in abi["inputs"] if not entry["indexed"]]
    plain = decode([_type(e) for e in others], _bytes(log["data"]))
    values = dict(zip((e["name"] for e in others), plain, strict=True))
    for entry, topic in zip(indexed, topics[1:], strict=True):
        values[entry["name"]] = decode([_type(entry)], topic)[0]
    if kind is ItemRefused:
        values["index_"] = values.pop("index")  # `index` is the log's own place
    fields = {
        name: to_checksum_address(value) if _is_address(abi, name) else value
        for name, value in values.items()
    }
    return kind(
        int(log["blockNumber"], 16),
        _bytes(log["transactionHash"]),
        int(log["logIndex"], 16),
        **fields,
    )


def parse_all(logs: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Every log of ours, in order."""
    return [event for event in map(parse, logs) if event is not None]


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def _type(entry: Mapping[str, Any]) -> str:
    if entry["type"].startswith("tuple"):
        return f"({','.join(_type(inner) for inner in entry['components'])}){entry['type'].removeprefix('tuple')}"
    return str(entry["type"])


def _is_address(abi: Mapping[str, Any], name: str) -> bool:
    return any(entry["name"] == name and entry["type"] == "address" for entry in abi["inputs"])
