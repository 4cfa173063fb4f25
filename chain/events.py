"""The contracts' events: one frozen dataclass for each, decoded from raw JSON-RPC logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar

from eth_abi.abi import decode
from eth_abi.grammar import parse as parse_type
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic
from eth_utils.address import to_checksum_address

from chain.artifacts import CONTRACTS, load
from chain.errors import ChainError


@dataclass(frozen=True, slots=True)
class Event:
    """The position of an event: block number, transaction hash, index of the log in its block."""

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
    attemptEpochVersion: int  # attempt << 56 | epoch << 24 | version

    @property
    def attempt(self) -> int:
        return self.attemptEpochVersion >> 56

    @property
    def epoch(self) -> int:
        return (self.attemptEpochVersion >> 24) & 0xFFFFFFFF

    @property
    def version(self) -> int:
        return self.attemptEpochVersion & 0xFFFFFF


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


@dataclass(frozen=True, slots=True)
class Appointed(Event):
    subject: bytes
    dataset: bytes
    clinician: bytes  # salted hash
    epoch: int
    version: int
    untilDay: int
    resultToMe: bool
    noticeHash: bytes


@dataclass(frozen=True, slots=True)
class PlanRequested(Event):
    run: bytes
    permit: bytes
    clinician: str
    subject: bytes
    paramsHash: bytes
    deadline: int


@dataclass(frozen=True, slots=True)
class Countersigned(Event):
    run: bytes
    attempt: int
    sealHash: bytes
    clinician: str
    notesHash: bytes


@dataclass(frozen=True, slots=True)
class PlanOpened(Event):
    run: bytes
    attempt: int
    viewer: str
    viewerKey: bytes


E_ = TypeVar("E_", bound=Event)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction of this program: its position and its events."""

    tx: bytes
    block: int
    block_hash: bytes
    gas: int
    events: tuple[Event, ...]

    def all(self, kind: type[E_]) -> list[E_]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E_]) -> E_:
        """The only event of that kind. Raises ValueError if there is none, or more than one."""
        (event,) = self.all(kind)
        return event


class _Shape(NamedTuple):
    """How an event class is decoded: names of its values (indexed first), types of both, and its
    addresses.
    """

    kind: type[Event]
    names: list[str]
    indexed: list[str]
    plain: list[str]
    addresses: list[str]
    one_piece: bool


@cache
def _by_topic() -> dict[bytes, _Shape]:
    entries = [entry for name in CONTRACTS for entry in load(name).abi if entry["type"] == "event"]
    known: dict[str, Any] = {entry["name"]: entry for entry in entries}
    if missing := [kind.__name__ for kind in Event.__subclasses__() if kind.__name__ not in known]:
        raise ChainError(f"the artifacts know no event {', '.join(missing)}", "run make fix")
    kinds = [(kind, known[kind.__name__]) for kind in Event.__subclasses__()]
    return {event_abi_to_log_topic(abi): _shape(kind, abi) for kind, abi in kinds}


def _shape(kind: type[Event], abi: Mapping[str, Any]) -> _Shape:
    indexed = [entry for entry in abi["inputs"] if entry["indexed"]]
    plain = [entry for entry in abi["inputs"] if not entry["indexed"]]
    plain_types = [collapse_if_tuple(entry) for entry in plain]
    return _Shape(
        kind,
        [entry["name"] for entry in (*indexed, *plain)],
        [collapse_if_tuple(entry) for entry in indexed],
        plain_types,
        [entry["name"] for entry in abi["inputs"] if entry["type"] == "address"],
        not any(parse_type(kind).is_dynamic for kind in plain_types),
    )


def event_topic(kind: type[Event]) -> bytes:
    """The first topic of the logs of an event class."""
    return next(topic for topic, shape in _by_topic().items() if shape.kind is kind)


def parse(log: Mapping[str, Any]) -> Event | None:
    """One raw log as its dataclass, None for an unknown topic."""
    return decode_log(
        [_bytes(topic) for topic in log["topics"]],
        _bytes(log["data"]),
        int(log["blockNumber"], 16),
        _bytes(log["transactionHash"]),
        int(log["logIndex"], 16),
    )


def decode_log(
    topics: Sequence[bytes], data: bytes, block: int, tx: bytes, index: int
) -> Event | None:
    """A log whose parts are bytes already, as `parse`."""
    shape = _by_topic().get(topics[0]) if topics else None
    if shape is None:
        return None
    if len(topics) != 1 + len(shape.indexed):
        raise ValueError("an event has another number of indexed values than its kind")
    # No indexed value of these contracts is longer than its topic.
    indexed = b"".join(topics[1:])
    if shape.one_piece:
        values = decode(shape.indexed + shape.plain, indexed + data)
    else:
        values = *decode(shape.indexed, indexed), *decode(shape.plain, data)
    fields = dict(zip(shape.names, values, strict=True))
    if shape.kind is ItemRefused:
        fields["index_"] = fields.pop("index")  # `index` is the position of the log
    for name in shape.addresses:
        fields[name] = to_checksum_address(fields[name])
    return shape.kind(block, tx, index, **fields)


def parse_all(logs: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Every log with a known topic, in order."""
    return [event for event in map(parse, logs) if event is not None]


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))
