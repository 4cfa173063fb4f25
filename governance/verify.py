"""The auditor's file: executes the ledger's law again, step by step, and says where the two part.

1 Bytes: canonical encodings, strict JSON, the contracts' words. 2 Sources: blocks, transactions, logs, the identity.
3 Crypto: who signed; the only place that needs packages. 4 Fold: the law; what a call must leave is compared byte for
byte. 5 Bundle: `python verify.py BUNDLE [--head COUNT:HEX] [--receipt FILE]` says consistent, signed, anchored.
Not done here: block and transaction hashes are labels (no headers are read), and only a head that somebody else holds
shows whether the end of a bundle was cut. The caller MUST hand every log of a transaction to the fold, in order.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

MAX_DEPTH, MAX_JSON, MAX_BUNDLE = 32, 1 << 20, 1 << 28  # nesting; bytes of a message; bytes of a bundle
MAX_INTEGER = (1 << 53) - 1  # what every JSON reader keeps exactly; larger numbers are texts
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1
MAX_LEASE, DAY, FOREVER = 86_400, 86_400, (1 << 40) - 1
PURPOSES, CATEGORIES, CARE = 0xFFFF037F, 0x000F03FF, 1 << 6  # the bits that exist; clinical care stands alone
COMMITTEE, CUSTODIAN, REGISTRAR, ANALYST, CHECKER, PROTECTION, BROKER, WORKER = 1, 2, 3, 4, 5, 7, 9, 10
LIVE, REVOKED = 1, 2  # a consent
REQUESTED, APPROVED, SUSPENDED = 1, 2, 3  # a permit

class VerifyError(Exception):
    """Base of this file's errors: `str(error)` is the fact, `hint` what to do next."""
    hint = "ask whoever gave you this for a fresh copy, and compare it with another source"

class Malformed(VerifyError):
    """Bytes without the shape they must have, or a step that the law does not allow."""

class Finding(VerifyError):
    """Ledger and law part here: `where` names step, block and transaction, `what` the fact."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where, self.what = where, what

def need(holds: object, fact: str) -> None:
    """Raise Malformed(fact) unless `holds`."""
    if not holds:
        raise Malformed(fact)

# ---- 1 Bytes ----

def canonical(tag: bytes, *fields: bytes | str | int) -> bytes:
    """Each length as u32be, then the bytes; an int as u64be, a str as UTF-8 in NFC. Raises Malformed."""
    out = bytearray()
    for value in (tag, *fields):
        if isinstance(value, int) and not isinstance(value, bool):
            need(0 <= value < 1 << 64, "a number does not fit in 8 bytes")
            value = value.to_bytes(8, "big")
        elif isinstance(value, str):
            value = utf8(unicodedata.normalize("NFC", value))
        need(isinstance(value, bytes), "a field is neither bytes, text nor a whole number")
        out += len(value).to_bytes(4, "big") + value
    return bytes(out)

def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Malformed("a text holds half a character") from None

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]|null', re.DOTALL)

def strict_json(data: bytes, limit: int = MAX_JSON) -> object:
    """Parse UTF-8 JSON; refuses (Malformed) duplicate keys, NaN, Infinity, floats, depth > 32, size > limit."""
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        need(len(dict(pairs)) == len(pairs), "a JSON object names the same key twice")
        return dict(pairs)

    def whole(digits: str) -> int:
        need(len(digits) <= 17 and abs(int(digits)) <= MAX_INTEGER, "a JSON number is larger than 2^53")
        return int(digits)

    def refuse(_: str) -> object:
        raise Malformed("the JSON holds a number that is not a whole number")

    need(len(data) <= limit, "the JSON is larger than allowed")
    depth = 0
    try:
        text = data.decode("utf-8")
        for token in _TOKEN.finditer(text):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0][0], 0)
            need(depth <= MAX_DEPTH, "the JSON is nested too deeply")
        found = json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_float=refuse, parse_constant=refuse)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise Malformed("this is not JSON in UTF-8") from None
    if "\\u" in text:
        utf8(json.dumps(found, ensure_ascii=False))  # an escaped half of a surrogate pair
    return found

def canonical_json(obj: object) -> bytes:
    """The one byte form of a JSON value: texts, integers, bools, lists, objects; keys sorted. Raises Malformed."""
    try:
        text = json.dumps(obj, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise Malformed("this value cannot be written as canonical JSON") from None
    strict_json(utf8(text), MAX_BUNDLE)
    need(all(token[0] != "null" for token in _TOKEN.finditer(text)), "canonical JSON holds no null")
    return utf8(text)

def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()

def word(value: bytes | int) -> bytes:
    """A value as 32 bytes: numbers, bools, addresses right-aligned, bytes4 left-aligned, bytes32 as it is."""
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    return value.ljust(32, b"\0") if len(value) == 4 else value.rjust(32, b"\0")

def words(*values: bytes | int) -> bytes:
    """What abi.encode gives for static values."""
    return b"".join(map(word, values))

def _table(text: str) -> dict[str, str]:
    entries = (entry.split(":") for entry in " ".join(text.split()).replace(", ", ",").split(";"))
    return {name.strip(): rest.strip() for name, rest in entries}

STRUCTS = _table("""
RoleChange: address account, uint8 role, uint40 start, uint40 end, uint256 nonce, uint40 deadline;
RegisterDataset: bytes32 dataset, bytes32 documentHash, uint40 deadline;
PermitRequest: bytes32 permit, bytes32 dataset, uint32 purposeNeed, uint32 categories, bytes32 codeHash,
    bytes32 paramsSchemaHash, uint32 minCohort, uint16 outputClasses, uint40 expiry, bytes32 documentHash,
    uint40 deadline;
Vote: bytes32 permit, bytes32 requestHash, bool yes, uint40 deadline;
Suspend: bytes32 permit, uint40 deadline;
Enrolment: bytes32 subject, bytes signer, uint8 assurance, uint40 deadline;
Grant: bytes32 subject, bytes32 dataset, uint32 epoch, uint24 replaces, uint24 fromDay, uint24 untilDay,
    uint32 purposes, uint32 categories, bytes32 termsCommitment, bytes32 noticeHash, uint40 deadline;
Revoke: bytes32 subject, bytes32 dataset, uint32 epoch;
RecordsRegistered: bytes32 ingest, bytes32 dataset, bytes32 leavesRoot, uint32 count, uint40 deadline;
RunRequest: bytes32 permit, bytes32 paramsHash, bytes32 resultKey, uint256 nonce, uint40 deadline;
WorkerBinding: bytes32 run, uint32 attempt, bytes32 subjectsHash, bytes32 workerKey, bytes32 codeHash,
    uint32 leaseSeconds, uint40 deadline;
Seal: bytes32 run, uint32 attempt, bytes32 outputCommitment, bytes32 ciphertextHash, bytes32 keyCommitment,
    bytes32 disclosureCommitment, uint8 outputClass, uint32 statistics, uint40 deadline;
Review: bytes32 run, uint32 attempt, bytes32 viewerKey, uint40 deadline;
Decision: bytes32 run, uint32 attempt, bytes32 sealHash, uint8 reason, uint40 deadline;
Cancel: bytes32 run, uint40 deadline;
Identity: bytes32 id;
Witness: bytes32 identity, uint64 block, bytes32 blockHash, uint64 count, bytes32 head;
EnrolmentItem: Enrolment enrolment, bytes registrarSignature, bytes signerSignature;
GrantItem: Grant grant, bytes signer, bytes signature
""")
CALLS = _table("""
5a15f075: PermitRegistry setRole RoleChange change, bytes[] signatures;
cce569d9: PermitRegistry registerDataset RegisterDataset r, bytes signature;
9e37263e: PermitRegistry requestPermit PermitRequest request, bytes signature;
417f812d: PermitRegistry vote Vote ballot, bytes signature;
4e8a690d: PermitRegistry suspend Suspend order, bytes signature;
edf3773c: ConsentRegistry enrol EnrolmentItem[] items;
5cb2fc01: ConsentRegistry grant GrantItem[] items;
970d206c: ConsentRegistry revoke Revoke r, bytes signer, bytes signature;
5873651e: AccessLedger registerRecords RecordsRegistered r, bytes signature;
45de6e7f: AccessLedger requestRun RunRequest r, bytes params, bytes signature;
1513ef07: AccessLedger authorise WorkerBinding b, bytes signature, bytes32[] subjects;
95d8ea03: AccessLedger seal Seal s, bytes signature;
e387bf03: AccessLedger viewOutput Review v, bytes signature;
eaced72e: AccessLedger release Decision d, bytes32[] subjects, uint32[] epochs, bytes[2] signatures;
ea19e3ba: AccessLedger reject Decision d, bytes signature;
489260de: AccessLedger cancel Cancel c, bytes signature
""")
EVENTS = _table("""
Head: 1f5c9311747783bc3de2232f337b75fd15201df1ca5039891226ee5350fe47f6;
RoleSet: 29e5bb82484047eee2b79f5dd079258c6729ae8ebcb206348183989c85c070df;
DatasetRegistered: 8abae74be22cd20937ffbff8ca3eb98d30d8c8bed8dd56f21713f1131e506c76;
PermitRequested: 826864090b0d5c081d691a28d24a8fc962767b1fc4f13485884f064f57525db4;
Voted: 16efd9a5766ad43ca179f5ef58b8748c48ddedd2dd2a228460465bfa90d4d069;
PermitApproved: 586e8dd59abc31f93fc823bf425d6638d8b520bbcda76c8cfe16dac57a975bbc;
PermitSuspended: 7125dc30bc28f835818f51ee787cd8f802bb1d465d194dac09b8cb5d2f949ae3;
Enrolled: ac1fa4bfbaa26b2bbded1e3b0c8ae260a1f4f374db26e73af8d509a67d732ade;
ConsentGranted: 586cdc6c9b50c0c4aec269c5a4735807d3494fadfddf9f44d72d8adb48eab0e5;
ConsentRevoked: d5d2cbe8f68d667f426ae120c1627487dc7a3e37a804a47670d5718cf7b56c0a;
RevokeStale: b20a23d415666e4e9e16012b940c83e7c756c4b04c5b00704da08cd896980a54;
ItemRefused: 07da9a99b3cbd6e244a15e7ecb1800a2d35a0dcd9a35288354d7a7959687d75a;
RecordsSealed: 61942db6485e3e088cda83333675d113ef4d486210df582e3aff0d12e83d7476;
RunRequested: 400a727fa8fe56d9d4bd5dd520006822e28b29c7151853744a88c26b2aa96e48;
AccessGranted: b70267b14f7543fe5650e8d973e098e4e0aba195e86dd9371bce3b5a0f12ef35;
AccessDenied: 6d64e08e177852c474b1893c52212a29964022f79cd542ebc368f517976d6ac1;
RunRefused: 9fc9a130ac3c915790ff2ea7bb168d0b3071f41c33217e560c0e88348808b5dc;
RunAuthorised: c884b7f123ee88536847ff62ab0f7df7649a1b8fec4b900652a6664de3445dbd;
Sealed: 3b3c4bc4584543defb4f059bfc2d30642744ba9c94863e5312bcc96405722801;
OutputViewed: 06c0a39c01a8c32e6adb7ad68fcb4ba0e0e1e059efac1c0f7d912e1510e39cbe;
Released: 167d1541340dfc41753523e0dac4a7ab3f1a7904111ca1f11dce93e2725f942d;
ReleaseRefused: 34a1422c0dc6fcc5ebb57de85f175a1063e665118ca010a54319a5e5e96ed0fc;
Rejected: 86add0581ce44855b1e3c5efb21c266c616205cc4834d417852473ca51c1a50d;
RunCancelled: 91bcdabb507342623a3247f0742d8ea20c480833e09f9377cb8e7babd04ce7c5
""")
REFUSALS = _table("""
DeadlinePassed: 6747c9fd; AlreadyEnrolled: ea3cca5e; NotEnrolled: af1f454a; SignerInvalid: e0061160;
NotARegistrar: d72188c4; SignatureInvalid: 37e8456b; EpochStale: ee07e7f9; VersionStale: 9b8d7ca1;
WindowInvalid: b795c652; NothingGranted: f1cc6308; MaskUnknown: 9cf1b05c
""")
CONTRACTS = ("Trail", "PermitRegistry", "ConsentRegistry", "AccessLedger")  # in the order of the identity
TOPICS = {name: bytes.fromhex(topic) for name, topic in EVENTS.items()}

@cache
def _split(fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((kind, name) for kind, _, name in (part.partition(" ") for part in fields.split(",")))

@cache
def _dynamic(kind: str) -> bool:
    inside = _split(STRUCTS[kind]) if kind in STRUCTS else ()
    return kind == "bytes" or kind.endswith("]") or any(_dynamic(inner) for inner, _ in inside)

@cache
def _size(kind: str) -> int:
    """Bytes that a value takes where it stands: a dynamic one has only its offset there."""
    return 32 if _dynamic(kind) or kind not in STRUCTS else 32 * len(_split(STRUCTS[kind]))

class Struct:
    """ABI-encoded fields, each read when it is asked for, as Solidity's own decoder does with calldata.

    Anyone may relay a signed message in an odd encoding (slack, parts out of order) that the contracts accept: a
    stricter reader could be made to stop at a valid step. What Solidity refuses (dirty bits, ends) is refused here.
    """

    def __init__(self, data: bytes, fields: str, base: int) -> None:
        self.data, self.base, self.places = data, base, dict[str, tuple[str, int]]()
        for kind, name in _split(fields):
            self.places[name] = (kind, base)
            base += _size(kind)

    def __getitem__(self, name: str) -> Any:
        kind, at = self.places[name]
        return self._value(kind, self.base, at)

    def all(self) -> dict[str, Any]:
        found = {name: self[name] for name in self.places}
        return {name: value.all() if isinstance(value, Struct) else value for name, value in found.items()}

    def _word(self, at: int) -> bytes:
        need(at + 32 <= len(self.data), "the encoded values end too early")
        return self.data[at:at + 32] if at >= 0 else bytes(32)  # before the start is far outside: the EVM reads zeros

    def _value(self, kind: str, base: int, at: int) -> Any:
        if _dynamic(kind):
            at = base + int.from_bytes(self._word(at), "big", signed=True)
        if kind in STRUCTS:
            return Struct(self.data, STRUCTS[kind], at)
        if not kind.endswith("]") and kind != "bytes":
            return _scalar(kind, self._word(at))
        item, _, fixed = kind.rstrip("]").partition("[")
        count, at = (int(fixed), at) if fixed else (int.from_bytes(self._word(at), "big"), at + 32)
        size = 1 if kind == "bytes" else _size(item)
        need(at + count * size <= len(self.data), "the encoded values end too early")
        return self.data[at:at + count] if kind == "bytes" else [self._value(item, at, at + i * size) for i in range(count)]

def _scalar(kind: str, raw: bytes) -> int | bytes:
    size = 32 if kind == "bytes32" else 20 if kind == "address" else int(kind[4:] or 8) // 8
    need(not any(raw[:32 - size]) and (kind != "bool" or raw[31] < 2), f"a {kind} has bits that do not belong to it")
    return raw[32 - size:] if kind in ("bytes32", "address") else int.from_bytes(raw, "big")

def decode_call(data: bytes) -> tuple[str, str, dict[str, Any]]:
    """Calldata as (contract, function, arguments); the items of a batch stay unread. Raises Malformed."""
    known = CALLS.get(data[:4].hex(), "")
    need(known, "the transaction calls a function that the ledger does not record")
    contract, function, fields = known.split(" ", 2)
    return contract, function, Struct(data, fields, 4).all()

# ---- 2 Sources ----

Block = NamedTuple("Block", [("number", int), ("timestamp", int), ("hash", bytes)])
Transaction = NamedTuple("Transaction", [("hash", bytes), ("block", int), ("index", int), ("to", bytes), ("input", bytes)])
Log = NamedTuple("Log", [("address", bytes), ("topics", tuple[bytes, ...]), ("data", bytes), ("index", int),
                         ("block", int), ("tx", bytes)])
Identity = NamedTuple("Identity", [
    ("chain_id", int), ("genesis", bytes), ("deploy_block", int), ("salt", bytes),
    ("contracts", Mapping[str, tuple[bytes, bytes]]),  # by name: address, sha256 of the runtime code
    ("quorum", int), ("founders", tuple[bytes, ...]), ("signatures", Mapping[bytes, bytes])])

def raw(value: object, size: int | None = None) -> bytes:
    """Hex text, with or without 0x, as bytes (`size` of them). Raises Malformed."""
    shaped = isinstance(value, str) and re.fullmatch(r"(0x)?([0-9a-fA-F]{2})*", value)
    found = bytes.fromhex(str(value).removeprefix("0x")) if shaped else b""
    need(shaped and size in (None, len(found)), "a value is not hex of the right length")
    return found

def number(value: object) -> int:
    """A JSON number, or a quantity of JSON-RPC (0x…), below 2^64. Raises Malformed."""
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", value):
        return int(value, 16)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    raise Malformed("a value is not a whole number")

def part(source: object, name: str, kind: type = object) -> Any:
    """`source[name]` of a JSON object. Raises Malformed."""
    if not isinstance(source, Mapping) or name not in source or not isinstance(source[name], kind):
        raise Malformed(f"'{name}' is missing or has the wrong form")
    return source[name]

def parse_block(rpc: Mapping[str, Any]) -> Block:
    """A raw eth_getBlockByNumber answer. Raises Malformed."""
    return Block(number(part(rpc, "number")), number(part(rpc, "timestamp")), raw(part(rpc, "hash"), 32))

def parse_transaction(rpc: Mapping[str, Any]) -> Transaction:
    """A raw eth_getTransactionByHash answer of a mined transaction. Raises Malformed."""
    place = number(part(rpc, "blockNumber")), number(part(rpc, "transactionIndex"))
    return Transaction(raw(part(rpc, "hash"), 32), *place, raw(part(rpc, "to"), 20), raw(part(rpc, "input")))

def parse_log(rpc: Mapping[str, Any]) -> Log:
    """One raw eth_getLogs answer. Raises Malformed, also for a log that a reorganisation took back."""
    need(not rpc.get("removed"), "a log was taken back by the node")
    place = number(part(rpc, "logIndex")), number(part(rpc, "blockNumber")), raw(part(rpc, "transactionHash"), 32)
    topics = tuple(raw(topic, 32) for topic in part(rpc, "topics", list))
    return Log(raw(part(rpc, "address"), 20), topics, raw(part(rpc, "data")), *place)

def parse_identity(source: object) -> Identity:
    """The JSON form: the four contracts in order, three founders or more. Raises Malformed."""
    need(part(source, "type") == "volens/identity/1", "this is not a ledger identity")
    items = part(source, "contracts", list)
    need([part(item, "name") for item in items] == list(CONTRACTS), "the identity does not name the four contracts")
    contracts = {item["name"]: (raw(part(item, "address"), 20), raw(part(item, "codeHash"), 32)) for item in items}
    founders, quorum = tuple(raw(who, 20) for who in part(source, "founders", list)), number(part(source, "quorum"))
    need(3 <= len(founders) == len(set(founders)) and 2 <= quorum <= len(founders), "founders or quorum are too few")
    signatures = {raw(who, 20): raw(by) for who, by in part(source, "signatures", dict).items()}
    start = number(part(source, "chainId")), raw(part(source, "genesisHash"), 32), number(part(source, "deployBlock"))
    return Identity(*start, raw(part(source, "salt"), 32), contracts, quorum, founders, signatures)

def identity_bytes(identity: object) -> bytes:
    """The bytes that name a ledger (protocol.md §1), from its JSON form. Raises Malformed."""
    i = parse_identity(identity)
    contracts, founders = chain.from_iterable(i.contracts.values()), (i.quorum, len(i.founders), *i.founders)
    return canonical(b"volens/ledger/1", i.chain_id, i.genesis, i.deploy_block, i.salt, *contracts, *founders)

def identity_id(identity: object) -> bytes:
    """The 32 bytes that everybody pins: sha256 of identity_bytes."""
    return sha256(identity_bytes(identity))

# ---- 3 Crypto ----

SIGNED_FOR = {
    "PermitRegistry": "RoleChange RegisterDataset PermitRequest Vote Suspend Identity Witness".split(),
    "ConsentRegistry": "Enrolment Grant Revoke".split(),
    "AccessLedger": "RecordsRegistered RunRequest WorkerBinding Seal Review Decision Cancel".split(),
}

class Crypto:
    """EIP-712 (with salt) of one deployment: `keccak` hashes, `recover(signature, digest)` gives a key or b""."""

    def __init__(self, ledger: Identity, keccak: Callable[[bytes], bytes], recover: Callable[[bytes, bytes], bytes]) -> None:
        self._keccak, self._recover, self._kinds = keccak, recover, dict[str, tuple[bytes, bytes]]()
        layout = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
        named = (keccak(layout), keccak(b"volens"), keccak(b"1"), ledger.chain_id)
        for contract, kinds in SIGNED_FOR.items():
            domain = keccak(words(*named, ledger.contracts[contract][0], ledger.salt))
            self._kinds |= {kind: (domain, keccak(f"{kind}({STRUCTS[kind]})".encode())) for kind in kinds}

    def digest(self, kind: str, message: Mapping[str, Any] | Struct) -> bytes:
        """The 32 bytes that a wallet signs for a message of this kind, given by field name."""
        domain, body = self._kinds[kind]
        for inner, name in _split(STRUCTS[kind]):
            body += self._keccak(message[name]) if _dynamic(inner) else word(message[name])
        return self._keccak(b"\x19\x01" + domain + self._keccak(body))

    def signer(self, kind: str, message: Mapping[str, Any] | Struct, signature: bytes) -> bytes:
        """The address that signed, or b"" for nobody: 65 bytes, v 27 or 28, s in the lower half (EIP-2)."""
        if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64], "big") > HALF_ORDER:
            return b""
        key = self._recover(signature, self.digest(kind, message))
        return self._keccak(key)[12:] if key else b""

def load_crypto(identity: Identity) -> Crypto:
    """Signature checks by the parts of eth-account, faster when coincurve is installed. Raises ImportError."""
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature, ValidationError
    from eth_utils.crypto import keccak

    def recover(signature: bytes, digest: bytes) -> bytes:
        try:
            pair = Signature(signature[:64] + bytes([signature[64] - 27]))
            return bytes(pair.recover_public_key_from_msg_hash(digest).to_bytes())
        except (BadSignature, ValidationError):
            return b""

    return Crypto(identity, lambda data: bytes(keccak(data)), recover)

# ---- 4 Fold ----

Consent = NamedTuple("Consent", [("status", int), ("epoch", int), ("version", int), ("from_day", int),
                                 ("until_day", int), ("purposes", int), ("categories", int)])
Member = NamedTuple("Member", [("role", int), ("start", int), ("end", int)])
Ingest = NamedTuple("Ingest", [("dataset", bytes), ("root", bytes), ("count", int)])
Event = tuple[str, tuple[Any, ...], tuple[Any, ...]]  # name, indexed values, the others
Effect = tuple[int, bytes, list[Event]]  # kind (0: no step on the trail), body words, what the logs must say
Args = Mapping[str, Any]
ABSENT = Consent(0, 0, 0, 0, 0, 0, 0)

@dataclass(slots=True)
class Permit:
    """`request` has the fields of PermitRequest; `votes` says yes or no by member."""
    applicant: bytes
    request: dict[str, Any]
    request_hash: bytes
    status: int = REQUESTED
    votes: dict[bytes, bool] = field(default_factory=dict)

@dataclass(slots=True)
class Run:
    """`request` has the fields of RunRequest; `ended` is empty, cancelled, rejected or released."""
    analyst: bytes
    request: dict[str, Any]
    attempts: int = 0
    ended: str = ""

@dataclass(slots=True)
class Attempt:
    """`binding` has the fields of WorkerBinding, `seal` those of Seal; `worker` is empty without crypto."""
    worker: bytes
    binding: dict[str, Any]
    granted: list[tuple[bytes, int, int]]  # subject, epoch, version; ascending
    denied: list[tuple[bytes, int]]  # subject, reason; ascending
    lease_until: int
    list_hash: bytes
    tx: bytes
    block: int
    seal: dict[str, Any] = field(default_factory=dict)
    seal_hash: bytes = b""
    views: dict[bytes, bytes] = field(default_factory=dict)  # who looked: newest viewer key

class _Refused(Exception):
    """This item of a batch is skipped, for the named error."""

def _refuse(holds: object, name: str) -> None:
    if holds:
        raise _Refused(name)

def slot_of(consent: Consent) -> int:
    """The word that the contract keeps (docs/ledger.md, Consent slot)."""
    return sum(value << shift for value, shift in zip(consent, (248, 216, 192, 168, 144, 112, 80), strict=True))

def why_not(consent: Consent, purposes: int, categories: int, day: int) -> int:
    """0 while the consent allows all of it on that day, else the reason of an enrolled person who is denied (2-7)."""
    if consent.status != LIVE:
        return 3 if consent.version else 2
    if not consent.from_day <= day <= consent.until_day:
        return 4 if day < consent.from_day else 5
    return 6 if purposes & ~consent.purposes else 7 if categories & ~consent.categories else 0

def _effect(kind: int, name: str, indexed: tuple[Any, ...], plain: tuple[Any, ...] = (), body: bytes = b"") -> Effect:
    return kind, body or words(*indexed, *plain), [(name, indexed, plain)]

class Fold:
    """The state that the law gives, one transaction after the other; after a Finding it MUST NOT be used on."""

    def __init__(self, identity: object) -> None:
        self.identity = parse_identity(identity)
        self.members = {who: Member(COMMITTEE, 0, FOREVER) for who in self.identity.founders}
        self.nonces: set[int] = set()
        self.datasets: dict[bytes, bytes] = {}  # dataset: custodian
        self.permits: dict[bytes, Permit] = {}
        self.signers: dict[bytes, bytes] = {}  # subject: signer
        self.consents: dict[tuple[bytes, bytes], Consent] = {}  # (dataset, subject)
        self.ingests: dict[bytes, Ingest] = {}  # in the ledger's order
        self.runs: dict[bytes, Run] = {}
        self.attempts: dict[tuple[bytes, int], Attempt] = {}
        self.count, self.head, self.signatures = 0, bytes(32), 0  # steps, the value after the last; signatures checked
        self.place, self.time = (0, -1), 0  # (block, index) and seconds of the last transaction
        self._floor = (0, 1 << 32)  # the contract's smallest cohort, which no log names: above, at most
        self._tx, self._logs, self._crypto = b"", list[Log](), None

    def apply(self, block: Block, tx: Transaction, logs: Sequence[Log], crypto: Crypto | None = None) -> None:
        """Execute one mined transaction; `logs` are all that it left at the four contracts. Raises Finding.

        With crypto every signature that leads to an access is checked; without it, the ledger's word is taken.
        """
        try:
            need(block.number == tx.block and self.place < (tx.block, tx.index), "it does not follow the one before")
            need(self.time <= block.timestamp, "its time is before the time of the block before")
            self.place, self.time, self._tx, self._logs, self._crypto = tx[1:3], block.timestamp, tx, logs, crypto
            contract, function, arguments = decode_call(tx.input)
            address, trail = self.identity.contracts[contract][0], self.identity.contracts["Trail"][0]
            need(tx.to == address, f"{function} was not sent to the {contract}")
            law: Callable[[Args], Effect] = getattr(self, f"_{function}")
            kind, body, events = law(arguments)
            written = [(name, address, map(word, indexed), words(*plain)) for name, indexed, plain in events]
            if kind:
                self.count, digest = self.count + 1, sha256(body)
                self.head = sha256(words(self.head, address, kind, tx.block, digest))
                written.append(("Head", trail, [word(self.count)], words(self.head, kind, digest)))
            self._compare(written)
        except Malformed as error:
            where = f"after step {self.count}, block {tx.block}, transaction 0x{tx.hash.hex()}"
            raise Finding(where, str(error)) from None

    def _compare(self, written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]]) -> None:
        """Raise Malformed at the first log that is not byte for byte what the law writes."""
        for i, (name, address, indexed, data) in enumerate(written):
            where = f"event {i + 1} ({name})"
            need(i < len(self._logs), f"{where} is missing")
            log, law = self._logs[i], (TOPICS[name], *indexed, data)
            need((log.tx, log.block, log.address) == (self._tx.hash, self._tx.block, address), f"{where} is misplaced")
            need(i == 0 or log.index > self._logs[i - 1].index, f"{where} is not in its order")
            for said, must in zip((*log.topics, log.data), law, strict=False):
                need(said == must, f"{where} must say 0x{must.hex()} where it says 0x{said.hex()}")
            need(len(log.topics) == len(law) - 1, f"{where} has too many or too few topics")
        need(len(self._logs) == len(written), f"event {len(written) + 1} should not be there")

    # Questions
    def consent(self, dataset: bytes, subject: bytes) -> Consent:
        return self.consents.get((dataset, subject), ABSENT)

    def denied(self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int) -> int:
        """0 while she may be used, else the reason: 1 not enrolled, or 2-7."""
        return why_not(self.consent(dataset, subject), purposes, categories, day) if subject in self.signers else 1

    def consent_live(self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int) -> bool:
        return not self.denied(dataset, subject, purposes, categories, day)

    def granted(self, run: bytes, attempt: int) -> list[tuple[bytes, int, int]]:
        """(subject, epoch, version) of each granted person; empty for an attempt that was never authorised."""
        return list(self.attempts[run, attempt].granted) if (run, attempt) in self.attempts else []

    def newest_attempt(self, run: bytes) -> int:
        """The number of the newest authorised attempt; 0 for none."""
        return self.runs[run].attempts if run in self.runs else 0

    def role_of(self, account: bytes) -> int:
        return self.members[account].role if account in self.members else 0

    def member_live(self, account: bytes, role: int, time: int) -> bool:
        return self.role_of(account) == role and self.members[account].start <= time < self.members[account].end

    # What every law asks
    def _claim(self, event: str, place: int, subject: bytes = b"") -> bytes:
        """What the ledger says at `place` of an event (indexed words first). Raises Malformed without the event."""
        for log in self._logs:
            if log.topics[:1] == (TOPICS[event],) and (not subject or log.topics[1:2] == (subject,)):
                return (b"".join(log.topics[1:]) + log.data)[32 * place:32 * place + 32]
        raise Malformed(f"the call must leave the event {event}")

    def _signer(self, kind: str, message: Any, signature: bytes, claimed: bytes) -> bytes:
        self.signatures += bool(self._crypto)
        return self._crypto.signer(kind, message, signature) if self._crypto else claimed

    def _by(self, kind: str, message: Args, signature: bytes, claimed: bytes = b"", role: int = 0) -> bytes:
        """Who signed, in time, and live in the role; without crypto the claimed one, or b"". Raises Malformed."""
        need(self.time <= message["deadline"], "the signed deadline had passed")
        claimed, who = claimed[-20:], self._signer(kind, message, signature, claimed[-20:])
        need(who or not self._crypto, f"the {kind} carries nobody's signature")
        need(not claimed or who == claimed, f"the {kind} is signed by 0x{who.hex()}, not by 0x{claimed.hex()}")
        need(not who or not role or self.member_live(who, role, self.time), f"0x{who.hex()} is not live in that role")
        return who

    # PermitRegistry
    def _setRole(self, a: Args) -> Effect:
        c, account, quorum = a["change"], a["change"]["account"], self.identity.quorum
        signers = [self._by("RoleChange", c, signature, role=COMMITTEE) for signature in a["signatures"]]
        need(len(signers) >= quorum and (not self._crypto or all(x < y for x, y in pairwise(signers))), "no quorum signed")
        need(c["nonce"] not in self.nonces and c["role"] and c["start"] <= c["end"], "the change is used, or senseless")
        held = self.members.get(account)
        need(not held or held.role == c["role"] or self.time >= held.end, "the account holds another role")
        self.nonces.add(c["nonce"])
        self.members[account] = Member(c["role"], c["start"], c["end"])
        need(sum(self.member_live(who, COMMITTEE, self.time) for who in self.members) >= quorum, "no quorum is left")
        return _effect(1, "RoleSet", (account, c["role"]), (c["start"], c["end"]))

    def _registerDataset(self, a: Args) -> Effect:
        r, dataset = a["r"], a["r"]["dataset"]
        who = self._by("RegisterDataset", r, a["signature"], self._claim("DatasetRegistered", 1), CUSTODIAN)
        need(dataset not in self.datasets, "the dataset is registered already")
        self.datasets[dataset] = who
        return _effect(2, "DatasetRegistered", (dataset, who), (r["documentHash"],))

    def _requestPermit(self, a: Args) -> Effect:
        r, values, asked = a["request"], tuple(a["request"].values()), a["request"]["purposeNeed"]
        who = self._by("PermitRequest", r, a["signature"], self._claim("PermitRequested", 2), ANALYST)
        need(r["permit"] not in self.permits and r["dataset"] in self.datasets, "the permit is known, or its dataset not")
        need(asked and not asked & ~PURPOSES and (asked == CARE or not asked & CARE), "the purposes are not allowed")
        need(r["categories"] and not r["categories"] & ~CATEGORIES and r["outputClasses"], "categories or outputs are not")
        need(r["expiry"] > self.time, "the permit would have ended already")
        self.permits[r["permit"]] = Permit(who, r, sha256(words(*values)))
        return _effect(3, "PermitRequested", (r["permit"], r["dataset"], who), values, words(who, *values))

    def _vote(self, a: Args) -> Effect:
        v, permit = a["ballot"], self.permits.get(a["ballot"]["permit"])
        who = self._by("Vote", v, a["signature"], self._claim("Voted", 1), COMMITTEE)
        if permit is None or permit.status != REQUESTED or v["requestHash"] != permit.request_hash:
            raise Malformed("the vote is not on an open request")
        need(who != permit.applicant and who not in permit.votes, "the applicant voted, or somebody twice")
        permit.votes[who] = bool(v["yes"])
        kind, body, events = _effect(4, "Voted", (v["permit"], who), (v["yes"],))
        live = sum(yes and self.member_live(member, COMMITTEE, self.time) for member, yes in permit.votes.items())
        if v["yes"] and live >= self.identity.quorum:
            permit.status = APPROVED
            events.append(("PermitApproved", (v["permit"],), (permit.request["expiry"],)))
        return kind, body, events

    def _suspend(self, a: Args) -> Effect:
        order, claimed, permit = a["order"], self._claim("PermitSuspended", 1), self.permits.get(a["order"]["permit"])
        role = PROTECTION if self.role_of(claimed[-20:]) == PROTECTION else COMMITTEE
        by = self._by("Suspend", order, a["signature"], claimed, role)
        if permit is None or permit.status != APPROVED:
            raise Malformed("the permit was not approved")
        permit.status = SUSPENDED
        return _effect(5, "PermitSuspended", (order["permit"],), (by,))

    # ConsentRegistry
    def _enrol(self, a: Args) -> Effect:
        return self._batch(16, a["items"], self._enrolment)

    def _grant(self, a: Args) -> Effect:
        return self._batch(17, a["items"], self._granting)

    def _batch(self, kind: int, items: list[Struct], law: Callable[[Struct, str], tuple[bytes, Event]]) -> Effect:
        """Each item by itself; without crypto, a skip for its signature must be believed."""
        body, events = b"", list[Event]()
        skipped = {log.topics[1]: log.data[:4] for log in self._logs if log.topics[:-1] == (TOPICS["ItemRefused"],)}
        unseen = {bytes.fromhex(REFUSALS[name]): name for name in ("NotARegistrar", "SignatureInvalid")}
        for index, item in enumerate(items):
            try:
                words_, event = law(item, "" if self._crypto else unseen.get(skipped.get(word(index), b""), ""))
                body += words_
            except _Refused as refusal:
                event = ("ItemRefused", (index,), (bytes.fromhex(REFUSALS[str(refusal)]),))
            events.append(event)
        return kind if body else 0, body, events

    def _enrolment(self, item: Struct, believed: str) -> tuple[bytes, Event]:
        e = item["enrolment"]
        _refuse(self.time > e["deadline"], "DeadlinePassed")
        subject, signer = e["subject"], e["signer"]
        _refuse(subject in self.signers, "AlreadyEnrolled")
        _refuse(len(signer) != 20 or not any(subject), "SignerInvalid")
        _refuse(believed, believed)
        claimed = b"" if self._crypto else self._claim("Enrolled", 1, subject)[-20:]
        registrar = self._signer("Enrolment", e, item["registrarSignature"], claimed)
        _refuse(not self.member_live(registrar, REGISTRAR, self.time), "NotARegistrar")
        _refuse(self._signer("Enrolment", e, item["signerSignature"], signer) != signer, "SignatureInvalid")
        self.signers[subject] = signer
        encoded = (64, e["assurance"], 20, signer.ljust(32, b"\0"))  # signer is `bytes`: offset, length, content
        return words(subject, sha256(signer)), ("Enrolled", (subject, registrar), encoded)

    def _granting(self, item: Struct, believed: str) -> tuple[bytes, Event]:
        g, today = item["grant"], self.time // DAY
        _refuse(self.time > g["deadline"], "DeadlinePassed")
        _refuse(g["subject"] not in self.signers, "NotEnrolled")
        _refuse(believed or not self._own("Grant", g, item), "SignatureInvalid")
        g = g.all()
        key, start, end, purposes, categories = (
            (g["dataset"], g["subject"]), g["fromDay"], g["untilDay"], g["purposes"], g["categories"])
        old = self.consent(*key)
        _refuse(g["epoch"] != old.epoch, "EpochStale")
        _refuse(g["replaces"] != old.version, "VersionStale")
        _refuse(start > end or end < today, "WindowInvalid")
        _refuse(not purposes or not categories, "NothingGranted")
        _refuse(purposes & ~PURPOSES or categories & ~CATEGORIES, "MaskUnknown")
        lost = old.purposes & ~purposes or old.categories & ~categories or end < old.until_day
        narrower = old.status == LIVE and (lost or max(start, today) > max(old.from_day, today))
        new = Consent(LIVE, old.epoch + bool(narrower), old.version + 1, start, end, purposes, categories)
        self.consents[key] = new
        plain = (new.epoch, new.version, slot_of(new), g["termsCommitment"], g["noticeHash"])
        return words(g["subject"], *plain[2:4]), ("ConsentGranted", (g["subject"], g["dataset"]), plain)

    def _revoke(self, a: Args) -> Effect:
        r, who = a["r"], (a["r"]["subject"], a["r"]["dataset"])
        old = self.consent(*who[::-1])
        need(who[0] in self.signers and self._own("Revoke", r, a), "the revocation is not her own")
        need(r["epoch"] <= old.epoch, "the revocation names an epoch that has not begun")
        if r["epoch"] < old.epoch:
            return 0, b"", [("RevokeStale", who, (r["epoch"], old.epoch))]
        self.consents[who[::-1]] = old._replace(status=REVOKED, epoch=old.epoch + 1)
        return _effect(18, "ConsentRevoked", who, (old.epoch,))

    def _own(self, kind: str, message: Any, given: Any) -> bool:
        signer = self.signers[message["subject"]]
        return bool(given["signer"] == signer == self._signer(kind, message, given["signature"], signer))

    # AccessLedger
    def _registerRecords(self, a: Args) -> Effect:
        r, ingest, dataset = a["r"], a["r"]["ingest"], a["r"]["dataset"]
        need(dataset in self.datasets and ingest not in self.ingests and r["count"], "dataset, ingest or count is wrong")
        self._by("RecordsRegistered", r, a["signature"], self.datasets[dataset], CUSTODIAN)
        self.ingests[ingest] = Ingest(dataset, r["leavesRoot"], r["count"])
        return _effect(32, "RecordsSealed", (ingest, dataset), (r["leavesRoot"], r["count"]))

    def _requestRun(self, a: Args) -> Effect:
        r, permit = a["r"], self.permits.get(a["r"]["permit"])
        need(sha256(a["params"]) == r["paramsHash"] and len(a["params"]) <= 2048, "the parameters are not the signed ones")
        who = self._by("RunRequest", r, a["signature"], permit.applicant if permit else b"")
        if who:
            need(self.role_of(who) == ANALYST, "no analyst asked")
            run = sha256(words(who, r["nonce"]))
            reason = self._permit_reason(permit) if self.member_live(who, ANALYST, self.time) else 36
        else:  # without crypto, nothing says who asked for a permit that does not exist
            run, reason = self._claim("RunRefused", 0), int.from_bytes(self._claim("RunRefused", 2), "big")
            need(reason in (32, 36), "the permit does not exist, and the refusal says otherwise")
        need(run not in self.runs, "the run exists already")
        if reason:
            return _effect(35, "RunRefused", (run,), (0, reason))
        self.runs[run] = Run(who, r)
        return _effect(33, "RunRequested", (run, r["permit"], who), (r["paramsHash"], r["resultKey"], r["deadline"]))

    def _permit_reason(self, permit: Permit | None) -> int:
        if permit is None or permit.status != APPROVED:
            return 32 if permit is None else 33 if permit.status == REQUESTED else 34
        return 35 if self.time >= permit.request["expiry"] else 0

    def _authorise(self, a: Args) -> Effect:
        b, subjects, run, name, number = a["b"], a["subjects"], self._run(a["b"]), a["b"]["run"], a["b"]["attempt"]
        worker, permit = self._by("WorkerBinding", b, a["signature"]), self.permits[run.request["permit"]].request
        need(not worker or self.role_of(worker) == WORKER, "no worker signed the binding")
        need(run.ended in ("", "cancelled") and number == run.attempts + 1 <= 16, "the run ended, or not the next attempt")
        need(len(subjects) <= 1000 and all(x < y for x, y in pairwise(subjects)), "the list is not ascending, or too long")
        need(sha256(b"".join(subjects)) == b["subjectsHash"], "the list is not the one that the worker signed")
        where = permit["purposeNeed"], permit["categories"], self.time // DAY
        judged = {subject: self.denied(permit["dataset"], subject, *where) for subject in subjects}
        granted = {s: self.consent(permit["dataset"], s) for s, denied in judged.items() if not denied}
        if reason := self._authorise_reason(b, run, worker, len(granted)):
            return _effect(35, "RunRefused", (name,), (number, reason))
        list_hash = sha256(b"".join(words(subject, consent.epoch) for subject, consent in granted.items()))
        ends = self.time + min(b["leaseSeconds"], MAX_LEASE), permit["expiry"]
        lease = min(*ends, *((consent.until_day + 1) * DAY for consent in granted.values()))
        receipts = {s: number << 56 | consent.epoch << 24 | consent.version for s, consent in granted.items()}
        denied = [(subject, reason) for subject, reason in judged.items() if reason]
        people = [(subject, consent.epoch, consent.version) for subject, consent in granted.items()]
        run.attempts = number
        self.attempts[name, number] = Attempt(worker, b, people, denied, lease, list_hash, self._tx.hash, self._tx.block)
        events: list[Event] = [
            ("AccessDenied", (name, s), (number, why)) if why else ("AccessGranted", (name, s), (receipts[s],))
            for s, why in judged.items()]
        totals = (number, len(granted), len(denied), lease, b["workerKey"], list_hash)
        body = words(name, number, *chain(*receipts.items(), *denied))
        return 34, body, [*events, ("RunAuthorised", (name,), totals)]

    def _authorise_reason(self, b: Args, run: Run, worker: bytes, granted: int) -> int:
        """Why this attempt is refused (0: it is not), in the contract's order."""
        permit, refusal = self.permits[run.request["permit"]], (TOPICS["RunRefused"], b["run"])
        said = [int.from_bytes(log.data[32:64], "big") for log in self._logs if log.topics == refusal]
        if run.ended or self.time > run.request["deadline"]:
            return 43 if run.ended else 41
        if said == [37] if not self._crypto else not self.member_live(worker, WORKER, self.time):
            return 37
        if b["codeHash"] != permit.request["codeHash"]:
            return 38
        if not self.member_live(run.analyst, ANALYST, self.time):
            return 36
        if (reason := self._permit_reason(permit)) or granted < max(1, permit.request["minCohort"]):
            return reason or 40
        above, most = self._floor  # what the contract did with one size of cohort it must do again
        self._floor = (max(above, granted), most) if said else (above, min(most, granted))
        need(self._floor[0] < self._floor[1], "a cohort of this size was judged otherwise before")
        return 40 if said else 0

    def _run(self, named: Args) -> Run:
        need(named["run"] in self.runs, "the run is unknown")
        return self.runs[named["run"]]

    def _open(self, named: Args) -> tuple[Run, Attempt]:
        run = self._run(named)
        need(not run.ended and named["attempt"] == run.attempts > 0, "the run ended, or the attempt is not the newest")
        return run, self.attempts[named["run"], named["attempt"]]

    def _seal(self, a: Args) -> Effect:
        s, (run, attempt) = a["s"], self._open(a["s"])
        self._by("Seal", s, a["signature"], attempt.worker, WORKER)
        need(self.time <= attempt.lease_until and not attempt.seal, "the lease is over, or the output sealed already")
        allowed = self.permits[run.request["permit"]].request["outputClasses"] >> s["outputClass"] & 1
        need(allowed and s["outputClass"] in (1, 2, 3, 5), "the permit does not allow this class of output")
        attempt.seal, attempt.seal_hash = s, sha256(words(*s.values()))
        plain = (s["attempt"], attempt.seal_hash, *s.values())
        return _effect(36, "Sealed", (s["run"],), plain, words(s["run"], *plain[:2]))

    def _viewOutput(self, a: Args) -> Effect:
        v, (run, attempt) = a["v"], self._open(a["v"])
        who = self._by("Review", v, a["signature"], self._claim("OutputViewed", 1), CHECKER)
        need(who != run.analyst and attempt.seal, "the analyst looked, or nothing is sealed")
        attempt.views[who] = v["viewerKey"]
        body = words(v["run"], v["attempt"], who, v["viewerKey"])
        return _effect(37, "OutputViewed", (v["run"], who), (v["attempt"], v["viewerKey"]), body)

    def _checker(self, d: Args, run: Run, attempt: Attempt, signature: bytes, claimed: bytes) -> bytes:
        need(attempt.seal and d["sealHash"] == attempt.seal_hash, "the decision is not on what was sealed")
        who = self._by("Decision", d, signature, claimed, CHECKER)
        need(not who or (who != run.analyst and who in attempt.views), "the checker is the analyst, or did not look")
        return who

    def _release(self, a: Args) -> Effect:
        d, (run, attempt) = a["d"], self._open(a["d"])
        done = any(log.topics[:1] == (TOPICS["Released"],) for log in self._logs)
        said = [self._claim("Released", place) if done else b"" for place in (3, 4)]
        pair = [self._checker(d, run, attempt, *signed) for signed in zip(a["signatures"], said, strict=True)]
        need(d["reason"] == 0 and (pair[0] < pair[1] or not any(pair)), "two different checkers must agree")
        listed, granted = (a["subjects"], a["epochs"]), [person[:2] for person in attempt.granted]
        need(listed == ([s for s, _ in granted], [epoch for _, epoch in granted]), "the list is not the granted one")
        permit = self.permits[run.request["permit"]]
        reason, unwilling = self._permit_reason(permit), bytes(32)
        where = permit.request["purposeNeed"], permit.request["categories"], self.time // DAY
        for subject, epoch in granted if not reason else ():
            changed = 75 * (self.consent(permit.request["dataset"], subject).epoch != epoch)
            if reason := self.denied(permit.request["dataset"], subject, *where) or changed:
                unwilling = subject
                break
        if reason:
            return _effect(39, "ReleaseRefused", (d["run"],), (d["attempt"], unwilling, reason))
        run.ended = "released"
        return _effect(38, "Released", (d["run"],), (d["attempt"], d["sealHash"], *pair))

    def _reject(self, a: Args) -> Effect:
        d, (run, attempt) = a["d"], self._open(a["d"])
        who = self._checker(d, run, attempt, a["signature"], self._claim("Rejected", 3))
        need(d["reason"], "a rejection names its reason")
        run.ended = "rejected"
        return _effect(40, "Rejected", (d["run"],), (d["attempt"], d["sealHash"], who, d["reason"]))

    def _cancel(self, a: Args) -> Effect:
        c, run = a["c"], self._run(a["c"])
        self._by("Cancel", c, a["signature"], run.analyst)
        need(not run.ended, "the run has ended")
        run.ended = "cancelled"
        return _effect(41, "RunCancelled", (c["run"],))

