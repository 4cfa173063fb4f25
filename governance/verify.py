"""The auditor's file: executes the ledger's rules again, step by step, and says where the two part.

`python verify.py TRAIL --head COUNT:HEX` says consistent, signed, anchored. What a call must leave is compared byte for
byte, and every head covers the block's number and time. Only `load_crypto` needs packages. Block and transaction hashes
enter no head: they are labels, and are printed as such. Only a head that somebody else holds shows a cut end.
The caller MUST hand every log of a transaction to the fold, in order.
"""

import os
import sys

# A file beside this one could be imported in place of the standard library and decide what is printed. So the program
# starts itself again, isolated: without this folder, the environment's paths and the user's own packages (python -I).
# Nothing is imported before that but what Python has loaded already: `from __future__` would be a file, too.
if __name__ == "__main__" and not sys.flags.isolated:
    os.execv(  # noqa: S606 (this interpreter, with this file)
        sys.executable, [sys.executable, "-I", os.path.abspath(__file__), *sys.argv[1:]]
    )

import argparse
import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from itertools import accumulate, chain, pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

MAX_DEPTH, MAX_JSON, MAX_BUNDLE = 32, 1 << 20, 1 << 28  # of JSON: levels, bytes, bytes of a trail
# Values that any JSON may have; bytes of its limit for each one more.
MIN_VALUES, VALUE_BYTES = 10_000, 16
MAX_INTEGER = (1 << 53) - 1  # of JSON; numbers above are texts
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1
PURPOSES, CATEGORIES = 0xFFFF037F, 0x000F03FF  # the bits that exist
CARE = 1 << 6  # her own care: no permit may ask for it
COMMITTEE, CUSTODIAN, REGISTRAR, ANALYST, CHECKER = 1, 2, 3, 4, 5  # roles
PROTECTION, BROKER, WORKER = 7, 9, 10
LAST_ROLE = WORKER
LIVE, REVOKED = 1, 2  # of a consent
REQUESTED, APPROVED, SUSPENDED, REJECTED = 1, 2, 3, 4  # of a permit
DAY, FOREVER = 86_400, (1 << 40) - 1  # seconds
MAX_ATTEMPTS, MAX_SUBJECTS, MAX_PARAMS, MAX_ITEMS = 16, 1000, 2048, 256
OUTPUT_CLASSES, GENOMIC = (1, 2, 3), 3  # those that can be sealed; per-variant statistics
BUDGET = 128_000  # millionths of m / N that released per-variant statistics of a dataset may reach
_HALF = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: no character, and no UTF-8
_HEX = re.compile("(?:0x)?[0-9a-fA-F]*")
_DEEP = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]'
)  # a text (whole, or to the end), or a bracket


class VerifyError(Exception):
    """Base of this file's errors: `str(error)` is the fact, `hint` what to do next."""

    hint = "ask whoever gave you this for a fresh copy, and compare it with another source"


class Malformed(VerifyError):
    """Bytes without the shape they must have, or a step that the rules do not allow."""


class Finding(VerifyError):
    """Ledger and rules part here: step, block, transaction, and the fact."""


class _Skip(VerifyError):
    """The contract skips this item of a batch and records that: the error's name and selector."""


def need(holds: object, fact: str, error: type[VerifyError] = Malformed) -> None:
    """Raise error(fact) unless it holds."""
    if not holds:
        raise error(fact)


# ---- 1 Bytes ----
def canonical(tag: bytes, *fields: bytes | str | int) -> bytes:
    """Each length as u32be, then the bytes; an int as u64be, a str as UTF-8 in NFC. Raises Malformed."""
    parts = list[bytes]()
    for value in (tag, *fields):
        if isinstance(value, str) and not _HALF.search(value):
            value = unicodedata.normalize("NFC", value).encode()
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
            value = value.to_bytes(8, "big")
        if not isinstance(value, bytes):
            raise Malformed("a field is neither bytes, a text nor a whole number of 8 bytes")
        parts += (len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


def _plain(value: object, null: bool, depth: int = 0) -> None:
    """Raise Malformed unless the value is made of texts, whole numbers and bools in lists and objects."""
    if isinstance(value, dict | list | tuple):
        keys = not isinstance(value, dict) or all(isinstance(key, str) for key in value)
        need(keys and depth < MAX_DEPTH, "the JSON is nested too deeply, or a key is not text")
        for item in chain(value, value.values() if isinstance(value, dict) else ()):
            _plain(item, null, depth + 1)
    else:
        ok = (
            abs(value) <= MAX_INTEGER
            if isinstance(value, int)
            else isinstance(value, str) and not _HALF.search(value)
        )
        need(
            ok or (null and value is None),
            "the JSON holds more than texts, whole numbers below 2^53, true, false",
        )


def strict_json(data: bytes, limit: int = MAX_JSON) -> object:
    """Parse UTF-8 JSON; refuses (Malformed) duplicate keys, NaN, Infinity, floats, depth > 32, size > limit.

    Also far more values than a document of ours has: parsed, each takes many times its bytes.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        need(len(dict(pairs)) == len(pairs), "a JSON object names the same key twice")
        return dict(pairs)

    need(len(data) <= limit, "the JSON is larger than allowed")
    try:
        text = data.decode()
        values = text.count(",") + text.count("[") + text.count("{")
        need(values <= max(MIN_VALUES, limit // VALUE_BYTES), "the JSON has too many values")
        signs = (found[0] for found in _DEEP.finditer(text))
        depths = accumulate((sign in "[{") - (sign in "]}") for sign in signs)
        need(
            max(depths, default=0) <= MAX_DEPTH, "the JSON is nested too deeply"
        )  # json itself can crash on that
        found: object = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise Malformed("this is not JSON in UTF-8") from None
    _plain(found, null=True)
    return found


def canonical_json(obj: object) -> bytes:
    """The one byte form of a JSON value: no null, no floats, keys sorted, no spaces. Raises Malformed."""
    _plain(obj, null=False)
    return json.dumps(obj, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def words(*values: bytes | int) -> bytes:
    """Each value in 32 bytes: numbers, bools, addresses right-aligned, bytes4 left-aligned, bytes32 as it is."""
    return b"".join(
        [
            value.to_bytes(32, "big")
            if isinstance(value, int)
            else value.ljust(32, b"\0")
            if len(value) == 4
            else value.rjust(32, b"\0")
            for value in values
        ]
    )


def to_int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _table(text: str) -> dict[str, str]:
    entries = (entry.split(":") for entry in " ".join(text.split()).replace(", ", ",").split(";"))
    return {name.strip(): rest.strip() for name, rest in entries}


STRUCTS = {
    name: re.sub(r"(^|,)(\w+)(?=,|$)", r"\1bytes32 \2", fields)
    for name, fields in _table("""
RoleChange: address account, uint8 role, uint40 start, uint40 end, uint32 replaces, uint40 deadline;
CancelRole: address account, uint32 version, uint40 deadline;
RegisterDataset: dataset, documentHash, uint40 deadline; Vote: permit, requestHash, bool yes, uint40 deadline;
PermitRequest: permit, dataset, uint32 purposeNeed, uint32 categories, codeHash, paramsSchemaHash, uint32 minCohort,
    uint16 outputClasses, uint40 expiry, documentHash, uint40 deadline;
Enrolment: subject, bytes signer, uint8 assurance, uint40 deadline;
Grant: subject, dataset, uint32 epoch, uint24 replaces, uint24 fromDay, uint24 untilDay, uint32 purposes,
    uint32 categories, termsCommitment, noticeHash, uint40 deadline; Revoke: subject, dataset, uint32 epoch;
RecordsRegistered: ingest, dataset, leavesRoot, uint32 count, uint8 relaxed, uint40 deadline;
VoidRecords: ingest, uint40 deadline; Suspend: permit, uint40 deadline;
RunRequest: permit, paramsHash, resultKey, uint256 nonce, uint40 deadline;
WorkerBinding: run, uint32 attempt, subjectsHash, workerKey, codeHash, uint32 leaseSeconds, uint8 relaxed,
    uint40 deadline;
Seal: run, uint32 attempt, outputCommitment, ciphertextHash, keyCommitment, disclosureCommitment, uint8 outputClass,
    uint32 statistics, uint40 deadline; Review: run, uint32 attempt, viewerKey, uint40 deadline;
Decision: run, uint32 attempt, sealHash, uint8 reason, uint40 deadline; Cancel: run, uint40 deadline;
Resume: run, uint32 attempts, uint40 deadline; Identity: id;
Witness: identity, uint64 block, blockHash, uint64 time, uint64 count, head;
GrantItem: Grant grant, bytes signer, bytes signature;
EnrolmentItem: Enrolment enrolment, bytes registrarSignature, bytes signerSignature
""").items()
}  # as in contracts/typed-data.json; a field without a type is bytes32
CALLS = _table("""
a1df0040: PermitRegistry setRole RoleChange m, bytes[] signatures;
bef6b08a: PermitRegistry cancelRole CancelRole m;
cce569d9: PermitRegistry registerDataset RegisterDataset m; 9e37263e: PermitRegistry requestPermit PermitRequest m;
417f812d: PermitRegistry vote Vote m; 4e8a690d: PermitRegistry suspend Suspend m;
edf3773c: ConsentRegistry enrol EnrolmentItem[] items; 5cb2fc01: ConsentRegistry grant GrantItem[] items;
970d206c: ConsentRegistry revoke Revoke m, bytes signer; 94da0170: AccessLedger registerRecords RecordsRegistered m;
2e1c509e: AccessLedger voidRecords VoidRecords m, bytes[] signatures;
45de6e7f: AccessLedger requestRun RunRequest m, bytes params;
6eb5a8ae: AccessLedger authorise WorkerBinding m, bytes signature, bytes32[] subjects;
95d8ea03: AccessLedger seal Seal m; e387bf03: AccessLedger viewOutput Review m;
eaced72e: AccessLedger release Decision m, bytes32[] subjects, uint32[] epochs, bytes[2] signatures;
ea19e3ba: AccessLedger reject Decision m; 489260de: AccessLedger cancel Cancel m;
d70efbcd: AccessLedger resume Resume m
""")  # by selector; `bytes signature` follows where nothing else is named so
EVENTS = _table("""
Head: H1yTEXR3g7w94iMvM3t1/RUgHfHKUDmJEibuU1D+R/Y; RoleSet: ujoTcwL4ByurTz5/zenjn2eH0mPmb/X7QzxRzP3v8oE;
RoleCancelled: a1T8slR/fCM6thfdVxerswasg+czioH3/UCuAl1oPfw; PermitRejected: mtZ+wyPqznbW8r1MXfXzSwajd3y4a/S0D98u75EP0hc;
DatasetRegistered: irrnS+Is0gk3/7/4yj65jTDYyL7Y3VbyFxPxEx5QbHY; Voted: Fu/ZpXZq1DyhefXvWLh0jEjd7dLdKiKEYEZb+pDU0Gk;
PermitRequested: gmhkCQsNXAgdaRoo0kqPyWJ2ex/E8TSFiE8GT1dSXbQ; Enrolled: rB+kv7qiayu97R47DIriYKH083TbJuc6+NUJpn1zKt4;
PermitApproved: WG6N1Zq8Mfk/yCO/Ql1mONi1ILvNp2yM/hbaxXqXW7w; RevokeStale: sgoj1BVmbk6eFgErlAyD58dWxLBMWwBwTaCM2JaYClQ;
PermitSuspended: cSXcMLwo+DWBj1HueHzY+AK7HUZdGU2sCbjLXS+UmuM; ItemRefused: B9qambPL1uJEoV5+yxgAotNaDc2aNSiDVNenlZaH11o;
ConsentGranted: WGzcbJtQwMSuwmnFpHNYB9NJT639359E1y2K20jqsOU; RunRequested: QApyf6j+VtnUvV3VIABoIuKLKccVGFN0SojCayqpbkg;
ConsentRevoked: 1dLL6PaNZn9CauEgwWJ0h9x6PjeoBKR2cNVxjPe1bAo; AccessDenied: bWTgjhd4UsR0sYk8UiEqKZZAIvec1ULrw2j1F5dtasE;
RecordsSealed: N5rAOXlWVrtLTsTrDrKfc/7F9HAJAiecY3JUtpYGBBw; AccessGranted: twJnsU91Q/5WUOjZc+CY5OCroZXobdk3G847Wg8S7zU;
RunRefused: n8mhMKw8kVeQ/y6nuxaNCzBx9BwzIX5WDA6INIgItdw; RunAuthorised: UlegL1UTgOOPNmZkJaQ4w8703mA/qMsJTxNTJwWRFSc;
RecordsVoided: Cz2etN6B4NyYEaYJ2EU0rOfKfv2bW6oBN3RO/ZcFooY; RunResumed: 2JusLKi/Rrhfmq/VVnnQSQUCWgIGmFR3EgfaGWKSxDI;
Sealed: OzxLxFhFQ977TwWb/C0wZCdEupyUhj5TErzJZAVyKAE; OutputViewed: BsCjnAGowy5q23rWj8tLoODh4FnvrBwPfZEuFRDjnL4;
Released: Fn0VQTQN/EF1NSPg2sSnqz8aeQQRHKHxHc6T4nJflC0; ReleaseRefused: NKFCLA3G/MXrtX3oXxdaEGPmZRGMoBClQxml5elu0Pw;
Rejected: hq3QWBzkSFWx48XvshwmbGFiBcxINNQXhSRzylHBpQ0; RunCancelled: kbzau1BzQmI6MkfwdC2OogxICDPgn5N3y457q9BM58U
""")  # keccak256 of each event's signature, in base64
TOPICS = {name: base64.b64decode(topic + "=") for name, topic in EVENTS.items()}


@cache
def _split(fields: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (kind, name) for kind, _, name in (part.partition(" ") for part in fields.split(","))
    )


@cache
def _dynamic(kind: str) -> bool:
    return kind.endswith(("bytes", "]")) or (
        kind in STRUCTS and any(_dynamic(k) for k, _ in _split(STRUCTS[kind]))
    )


@cache
def _size(kind: str) -> int:  # where the value stands: a dynamic one has only its offset there
    return 32 if _dynamic(kind) or kind not in STRUCTS else 32 * len(_split(STRUCTS[kind]))


def _word(data: bytes, at: int) -> bytes:
    need(at + 32 <= len(data), "the encoded values end too early")
    return (
        data[at : at + 32] if at >= 0 else bytes(32)
    )  # before the start is far outside: there the EVM reads zeros


def _fields(data: bytes, fields: str, base: int) -> dict[str, Any]:
    found, at = {}, base
    for kind, name in _split(fields):
        found[name], at = _value(data, kind, base, at), at + _size(kind)
    return found


def _value(data: bytes, kind: str, base: int, at: int) -> Any:
    """One ABI-encoded value whose head is at `at`. Raises Malformed for what Solidity refuses: dirty bits, short data.
    Not more: anyone may relay a message in an odd encoding (slack, parts out of order) that the contracts accept, and
    a stricter reader could be made to stop there. The items of a batch are read when they are called."""
    if _dynamic(kind):
        at = base + int.from_bytes(_word(data, at), "big", signed=True)
    if kind in STRUCTS:
        return _fields(data, STRUCTS[kind], at)
    if not kind.endswith("]") and kind != "bytes":
        raw, size = (
            _word(data, at),
            32 if kind == "bytes32" else 20 if kind == "address" else int(kind[4:] or 8) // 8,
        )
        need(
            not any(raw[: 32 - size]) and (kind != "bool" or raw[31] < 2),
            f"a {kind} has bits that are not its own",
        )
        return raw[32 - size :] if kind in ("bytes32", "address") else to_int(raw)
    item, _, fixed = kind.rstrip("]").partition("[")
    count, at = (int(fixed), at) if fixed else (to_int(_word(data, at)), at + 32)
    size = 1 if kind == "bytes" else _size(item)
    need(at + count * size <= len(data), "the encoded values end too early")
    if kind == "bytes":
        return data[at : at + count] if at >= 0 else b""
    late = [partial(_value, data, item, at, at + i * size) for i in range(count)]
    return late if item in STRUCTS else [read() for read in late]


def decode_call(data: bytes) -> tuple[str, str, dict[str, Any]]:
    """Calldata as (contract, function, arguments by name). Raises Malformed."""
    need(
        data[:4].hex() in CALLS, "the transaction calls a function that the ledger does not record"
    )
    contract, function, fields = CALLS[data[:4].hex()].split(" ", 2)
    fields += "" if "signature" in fields or "items" in fields else ",bytes signature"
    return contract, function, _fields(data, fields, 4)


# ---- 2 Sources ----
CONTRACTS = (
    "Trail",
    "PermitRegistry",
    "ConsentRegistry",
    "AccessLedger",
)  # in the order of the identity
Block = NamedTuple("Block", [("number", int), ("timestamp", int), ("hash", bytes)])
Transaction = NamedTuple(
    "Transaction",
    [("hash", bytes), ("block", int), ("index", int), ("to", bytes), ("input", bytes)],
)
Log = NamedTuple(
    "Log",
    [
        ("address", bytes),
        ("topics", tuple[bytes, ...]),
        ("data", bytes),
        ("index", int),
        ("block", int),
        ("tx", bytes),
    ],
)
Identity = NamedTuple(
    "Identity",
    [  # contracts by name: address, sha256 of the runtime code
        ("chain_id", int),
        ("genesis", bytes),
        ("deploy_block", int),
        ("salt", bytes),
        ("quorum", int),
        ("cohort_floor", int),  # people; seconds the other two
        ("max_lease", int),
        ("role_delay", int),
        ("contracts", Mapping[str, tuple[bytes, bytes]]),
        ("founders", tuple[bytes, ...]),
        ("signatures", Mapping[bytes, bytes]),
    ],
)


def raw(value: object, size: int | None = None) -> bytes:
    """Hex text, with or without 0x, as bytes (`size` of them). Raises Malformed."""
    shaped = isinstance(value, str) and _HEX.fullmatch(value)
    digits = str(value).removeprefix("0x")
    need(
        shaped and len(digits) % 2 == 0 and size in (None, len(digits) // 2),
        "a value is not hex of the right length",
    )
    return bytes.fromhex(digits)


def number(value: object) -> int:
    """A JSON number, or a quantity of JSON-RPC (0x…), below 2^64. Raises Malformed."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    need(
        isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", value),
        "a value is not a whole number",
    )
    return int(str(value), 16)


def part(source: Any, name: str, kind: type = object) -> Any:
    """`source[name]` of a JSON object. Raises Malformed."""
    found = isinstance(source, Mapping) and name in source and isinstance(source[name], kind)
    need(found, f"'{name}' is missing or has the wrong form")
    return source[name]


def parse_block(rpc: Mapping[str, Any]) -> Block:  # a raw eth_getBlockByNumber answer
    return Block(
        number(part(rpc, "number")), number(part(rpc, "timestamp")), raw(part(rpc, "hash"), 32)
    )


def parse_transaction(
    rpc: Mapping[str, Any],
) -> Transaction:  # a raw eth_getTransactionByHash answer, mined
    place = number(part(rpc, "blockNumber")), number(part(rpc, "transactionIndex"))
    return Transaction(
        raw(part(rpc, "hash"), 32), *place, raw(part(rpc, "to"), 20), raw(part(rpc, "input"))
    )


def parse_log(rpc: Mapping[str, Any]) -> Log:  # one raw eth_getLogs answer
    place = (
        number(part(rpc, "logIndex")),
        number(part(rpc, "blockNumber")),
        raw(part(rpc, "transactionHash"), 32),
    )
    need(not rpc.get("removed"), "a log was taken back by the node")
    topics = tuple(raw(topic, 32) for topic in part(rpc, "topics", list))
    return Log(raw(part(rpc, "address"), 20), topics, raw(part(rpc, "data")), *place)


def parse_identity(source: object) -> Identity:
    """The JSON form: the four contracts in order, three founders or more. Raises Malformed."""
    need(part(source, "type") == "volens/identity/2", "this is not a ledger identity")
    items = part(source, "contracts", list)
    need(
        [part(item, "name") for item in items] == list(CONTRACTS),
        "the identity does not name the four contracts",
    )
    contracts = {
        item["name"]: (raw(part(item, "address"), 20), raw(part(item, "codeHash"), 32))
        for item in items
    }
    founders = tuple(raw(who, 20) for who in part(source, "founders", list))
    quorum, floor, lease, delay = (
        number(part(source, name)) for name in ("quorum", "cohortFloor", "maxLease", "roleDelay")
    )
    need(3 <= len(founders) == len(set(founders)), "there are fewer than three different founders")
    need(2 <= quorum <= len(founders), "the quorum is below two, or more than there are founders")
    signatures = {raw(who, 20): raw(by) for who, by in part(source, "signatures", dict).items()}
    genesis, salt = raw(part(source, "genesisHash"), 32), raw(part(source, "salt"), 32)
    first, chain_id = number(part(source, "deployBlock")), number(part(source, "chainId"))
    values = (chain_id, genesis, first, salt, quorum, floor, lease, delay)
    return Identity(*values, contracts, founders, signatures)


def identity_bytes(identity: object) -> bytes:
    """The bytes that name a ledger (protocol.md §1), from its JSON form. Raises Malformed."""
    i = parse_identity(identity)
    contracts: list[bytes] = [part for pair in i.contracts.values() for part in pair]
    return canonical(
        b"volens/ledger/2",
        i.chain_id,
        i.genesis,
        i.deploy_block,
        i.salt,
        *contracts,
        i.quorum,
        i.cohort_floor,
        i.max_lease,
        i.role_delay,
        len(i.founders),
        *i.founders,
    )


def identity_id(identity: object) -> bytes:  # the 32 bytes that everybody pins
    return sha256(identity_bytes(identity))


def origin_of(identity: Identity) -> bytes:
    """The head before the first step: whoever holds any head holds the rules that it was made under."""
    contracts = (address for address, _ in identity.contracts.values())
    rules = (identity.quorum, identity.cohort_floor, identity.max_lease, identity.role_delay)
    place = (identity.chain_id, identity.genesis, identity.salt)
    return sha256(words(*place, *contracts, *rules, *identity.founders))


# ---- 3 Crypto ----
Args = Mapping[str, Any]  # a message by the field names in STRUCTS, or a call's arguments
SIGNED_FOR = {
    call.split(" ")[2].removesuffix("Item[]"): call.split(" ")[0] for call in CALLS.values()
} | {
    "Identity": "PermitRegistry",
    "Witness": "PermitRegistry",
}  # each message is for the contract that takes it


class Crypto:
    """Who signed what, for one deployment (EIP-712 with its salt). The packages come from `load_crypto`."""

    def __init__(
        self, ledger: Identity, keccak: Any, signature: Any, error: type[Exception]
    ) -> None:
        self._keccak, self._signature, self._error = keccak, signature, error
        layout = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
        named, at = (
            (keccak(layout), keccak(b"volens"), keccak(b"1"), ledger.chain_id),
            ledger.contracts,
        )
        self._kinds = {
            kind: (
                keccak(words(*named, at[contract][0], ledger.salt)),
                keccak(f"{kind}({STRUCTS[kind]})".encode()),
            )
            for kind, contract in SIGNED_FOR.items()
        }

    def signer(self, kind: str, message: Args, signature: bytes) -> bytes:
        """The address that signed, or b"" for nobody: 65 bytes, v 27 or 28, s in the lower half (EIP-2)."""
        if (
            len(signature) != 65
            or signature[64] not in (27, 28)
            or to_int(signature[32:64]) > HALF_ORDER
        ):
            return b""
        domain, body = self._kinds[kind]
        for inner, name in _split(STRUCTS[kind]):
            body += self._keccak(message[name]) if _dynamic(inner) else words(message[name])
        digest = self._keccak(b"\x19\x01" + domain + self._keccak(body))
        try:
            pair = self._signature(signature[:64] + bytes([signature[64] - 27]))
            return bytes(pair.recover_public_key_from_msg_hash(digest).to_canonical_address())
        except self._error:
            return b""


def load_crypto(identity: Identity) -> Crypto:
    """Signature checks through eth-account's own parts (faster with coincurve). Raises ImportError without them."""
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.crypto import keccak

    return Crypto(identity, keccak, Signature, BadSignature)


# ---- 4 Fold ----
Member = NamedTuple("Member", [("role", int), ("start", int), ("end", int), ("version", int)])
NOBODY, NOTHING = Member(0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0)
Permit = NamedTuple(
    "Permit",
    [
        ("applicant", bytes),
        ("request", Args),
        ("request_hash", bytes),
        ("status", int),
        ("votes", dict[bytes, bool]),
    ],
)
Consent = NamedTuple(
    "Consent",
    [
        ("status", int),
        ("epoch", int),
        ("version", int),
        ("from_day", int),
        ("until_day", int),
        ("purposes", int),
        ("categories", int),
    ],
)
Ingest = NamedTuple(
    "Ingest",
    [("dataset", bytes), ("root", bytes), ("count", int), ("relaxed", int), ("void", bool)],
)
Run = NamedTuple(  # resumed: how often it was given sixteen attempts more
    "Run",
    [
        ("analyst", bytes),
        ("request", Args),
        ("attempts", int),
        ("ended", str),
        ("resumed", int),
    ],
)
Attempt = NamedTuple(
    "Attempt",
    [  # granted: subject, epoch, version; denied: subject, reason; no worker without crypto
        ("worker", bytes),
        ("binding", Args),
        ("granted", list[tuple[bytes, int, int]]),
        ("denied", list[tuple[bytes, int]]),
        ("lease_until", int),
        ("list_hash", bytes),
        ("tx", bytes),
        ("block", int),
        ("seal", Args),
        ("seal_hash", bytes),
        ("views", dict[bytes, bytes]),
    ],
)  # who looked: newest viewer key
Event = tuple[str, tuple[Any, ...], tuple[Any, ...]]  # name, indexed values, the others
Effect = tuple[int, bytes, list[Event]]  # kind of the step, body words, what the logs must say
_Item = tuple[bytes, bytes, Event, Callable[[], None]]  # of a batch: see Fold._batch


def slot_of(consent: Consent) -> int:
    """The word that the contract keeps (docs/ledger.md, Consent slot)."""
    places = (248, 216, 192, 168, 144, 112, 80)
    return sum(value << place for value, place in zip(consent, places, strict=True))


def _effect(
    kind: int, name: str, indexed: tuple[Any, ...], plain: tuple[Any, ...] = (), body: bytes = b""
) -> Effect:
    return kind, body or words(*indexed, *plain), [(name, indexed, plain)]


def _refused(name: bytes, refusal: _Skip) -> _Item:
    """A refused item of a batch; its index is put in where it is known."""
    selector = bytes.fromhex(str(refusal)[-8:])
    return name, b"", ("ItemRefused", (0,), (selector,)), lambda: None


def most_attempts(run: Run) -> int:
    """How many attempts a run may have so far."""
    return MAX_ATTEMPTS * (run.resumed + 1)


class Fold:
    """The state that the law gives, one transaction after the other; after a Finding it MUST NOT be used on."""

    def __init__(self, identity: object) -> None:
        self.identity = parse_identity(identity)
        self.members = {who: Member(COMMITTEE, 0, FOREVER, 0) for who in self.identity.founders}
        # What each account was, with the step from which on it was that.
        self.terms = dict[bytes, list[tuple[int, Member]]]()
        self.set_at = dict[bytes, int]()  # when an account's newest role was given
        self.committee_until = dict[bytes, int]()  # how far terms went that a change has replaced
        self.datasets = dict[bytes, bytes]()  # dataset: custodian
        self.spent = dict[bytes, int]()  # dataset: what released statistics took of its BUDGET
        self.permits = dict[bytes, Permit]()
        self.ingests = dict[bytes, Ingest]()  # in the ledger's order
        self.signers = dict[bytes, bytes]()
        self.consents = dict[tuple[bytes, bytes], Consent]()  # (dataset, subject)
        self.recorded = set[bytes]()  # messages that changed nothing, and have their step
        self.runs, self.attempts = dict[bytes, Run](), dict[tuple[bytes, int], Attempt]()
        # How many steps, and the value after the last.
        self.count, self.head = 0, origin_of(self.identity)
        self.signatures = 0  # how many were checked
        self.place, self.time = (0, -1), 0  # (block, index) and seconds of the last transaction

    def apply(
        self, block: Block, tx: Transaction, logs: Sequence[Log], crypto: Crypto | None = None
    ) -> None:
        """Execute one mined transaction; `logs` are all that it left at the four contracts. Raises Finding.
        With crypto every signature that leads to an access is checked; without it, the ledger's word is taken."""
        try:
            need(
                block.number == tx.block and self.place < (tx.block, tx.index),
                "it does not follow the one before",
            )
            need(self.time <= block.timestamp, "its time is before the time of the block before")
            need(all(x.index < y.index for x, y in pairwise(logs)), "its events are not in order")
            self.place, self.time = (tx.block, tx.index), block.timestamp
            self._tx, self._logs, self._crypto = tx, tuple(logs), crypto
            contract, function, arguments = decode_call(tx.input)
            address = self.identity.contracts[contract][0]
            need(tx.to == address, f"{function} was not sent to the {contract}")
            rule, m = getattr(self, f"_{function}"), arguments.get("m")
            kind, body, events = rule(m, arguments) if m else rule(arguments["items"])
            self.count, call, digest = self.count + 1, sha256(tx.input), sha256(body)
            place = (address, kind, tx.block, self.time)
            self.head = sha256(words(self.head, *place, call, digest))
            head: Event = ("Head", (self.count,), (self.head, kind, digest))
            trail = self.identity.contracts["Trail"][0]
            must = [(address, event) for event in events] + [(trail, head)]
            self._compare(
                [(name, who, [*map(words, at)], words(*rest)) for who, (name, at, rest) in must]
            )
        except Malformed as error:
            raise Finding(
                f"step {self.count}, block {tx.block}, transaction 0x{tx.hash.hex()}: {error}"
            ) from None

    def _compare(self, must: Sequence[tuple[str, bytes, Sequence[bytes], bytes]]) -> None:
        for i, (name, address, indexed, data) in enumerate(must, 1):
            need(len(self._logs) >= i, f"event {i} ({name}) is missing")
            log, law = self._logs[i - 1], (TOPICS[name], *indexed, data)
            ours = (log.address, log.tx, log.block, log.topics[:1]) == (
                address,
                self._tx.hash,
                self._tx.block,
                law[:1],
            )
            need(ours, f"event {i} ({name}) is another one, or not of this call")
            for want, said in zip_longest(law, (*log.topics, log.data), fillvalue=b""):
                need(
                    said == want,
                    f"event {i} ({name}) must say 0x{want.hex()} where it says 0x{said.hex()}",
                )
        need(len(self._logs) == len(must), f"event {len(must) + 1} should not be there")

    def consent(self, dataset: bytes, subject: bytes) -> Consent:
        return self.consents.get((dataset, subject), Consent(*NOTHING))

    def denied(
        self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int
    ) -> int:
        """0 while her consent allows all of it on that day, else the reason: 1 not enrolled, or 2-7."""
        status, _, _, first, last, allowed, kinds = self.consent(dataset, subject)
        if status != LIVE:
            return 1 if subject not in self.signers else 3 if status else 2
        if not first <= day <= last:
            return 4 if day < first else 5
        return 6 if purposes & ~allowed else 7 if categories & ~kinds else 0

    def consent_live(
        self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int
    ) -> bool:
        return not self.denied(dataset, subject, purposes, categories, day)

    def granted(self, run: bytes, attempt: int) -> list[tuple[bytes, int, int]]:
        return (
            list(self.attempts[run, attempt].granted) if (run, attempt) in self.attempts else []
        )  # as in Attempt

    def newest_attempt(self, run: bytes) -> int:
        return self.runs[run].attempts if run in self.runs else 0  # 0: none was authorised

    def member_live(self, account: bytes, role: int, time: int) -> bool:
        member = self.members.get(account, NOBODY)
        return member.role == role and member.start <= time < member.end

    def member_then(self, account: bytes, role: int, step: int, time: int) -> bool:
        """Whether the account was live in the role at that step and time, whatever became of it since."""
        told = [member for count, member in self.terms.get(account, []) if count <= step]
        member = told[-1] if told else NOBODY
        return member.role == role and member.start <= time < member.end

    def _become(self, account: bytes, member: Member) -> None:
        self.members[account] = member
        self.terms.setdefault(account, []).append((self.count + 1, member))

    def _claim(
        self, event: str, place: int, subject: bytes = b""
    ) -> bytes:  # what it says there, indexed words first
        found = [
            log
            for log in self._logs
            if log.topics[:1] == (TOPICS[event],) and subject in (b"", *log.topics[1:2])
        ]
        need(found, f"the call must leave the event {event}")
        return (b"".join(found[0].topics[1:]) + found[0].data)[32 * place : 32 * place + 32]

    def _signer(self, kind: str, message: Args, signature: bytes, claimed: bytes) -> bytes:
        self.signatures += bool(self._crypto)
        return self._crypto.signer(kind, message, signature) if self._crypto else claimed[-20:]

    def _by(
        self, kind: str, message: Args, signature: bytes, claimed: bytes = b"", role: int = 0
    ) -> bytes:
        """Who signed, in time, and live in the role; without crypto the claimed one, or b"". Raises Malformed."""
        need(self.time <= message["deadline"], "the signed deadline had passed")
        who = self._signer(kind, message, signature, claimed)
        need(who or not self._crypto, f"the {kind} carries nobody's signature")
        need(
            claimed[-20:] in (b"", who),
            f"the {kind} is signed by 0x{who.hex()}, not by 0x{claimed[-20:].hex()}",
        )
        need(
            not who or not role or self.member_live(who, role, self.time),
            f"0x{who.hex()} is not live in that role",
        )
        return who

    # PermitRegistry: who holds which role, which datasets exist, what the committee allowed
    def _setRole(self, m: Args, a: Args) -> Effect:
        held, quorum = self.members.get(m["account"], NOBODY), self.identity.quorum
        signers = [
            self._by("RoleChange", m, signature, role=COMMITTEE) for signature in a["signatures"]
        ]
        ordered = self._crypto is None or all(x < y for x, y in pairwise(signers))
        need(len(signers) >= quorum and ordered, "no quorum of different members signed, in order")
        need(m["role"] <= LAST_ROLE, "there is no such role")
        need(m["replaces"] == held.version, "the change replaces another version of the role")
        start, end = self._window(m, held)
        need(any(m["account"]) and m["role"] and start <= end, "the change is senseless")
        taken = held.role not in (0, m["role"]) and self.time < held.end
        need(not taken, "the account holds another role")
        version = held.version + 1
        self.committee_until[m["account"]] = self._member_until(m["account"])
        self._become(m["account"], Member(m["role"], start, end, version))
        self.set_at[m["account"]] = self.time
        need(self._committee_at(self.time) >= quorum, "no quorum is left")
        if self.datasets and COMMITTEE in (held.role, m["role"]):
            self._need_lasting_quorum()
        return _effect(1, "RoleSet", (m["account"], m["role"]), (start, end, version))

    def _need_lasting_quorum(self) -> None:
        left = self._committee_at(self.time + self.identity.role_delay, lasting=True)
        fact = "no quorum without an end is left after the delay"
        need(left >= self.identity.quorum, fact)

    def _committee_at(self, time: int, lasting: bool = False) -> int:
        return sum(
            self.member_live(who, COMMITTEE, time) and not (lasting and held.end != FOREVER)
            for who, held in self.members.items()
        )

    def _member_until(self, who: bytes) -> int:
        """Until when the account was in the committee, now at the latest; 0 if never."""
        member, before = self.members.get(who, NOBODY), self.committee_until.get(who, 0)
        begun = member.start < member.end and member.start <= self.time
        if member.role != COMMITTEE or not begun:
            return before
        return max(before, min(member.end, self.time))

    def _window(self, m: Args, held: Member) -> tuple[int, int]:
        """From when and until when a change of a role holds, once there is a dataset to read.

        A new worker or broker begins after the delay, and a member of the committee stays one until it is over.
        """
        start, end, earliest = m["start"], m["end"], self.time + self.identity.role_delay
        if not self.datasets:
            return start, end
        if self.member_live(m["account"], COMMITTEE, self.time):
            return held.start, max(end, min(earliest, held.end))
        live = self.member_live(m["account"], m["role"], self.time)
        waits = m["role"] in (BROKER, WORKER) and end > self.time and not live
        return (max(start, earliest) if waits else start), end

    def _cancelRole(self, m: Args, a: Args) -> Effect:
        held = self.members.get(m["account"], NOBODY)
        by = self._by("CancelRole", m, a["signature"], self._claim("RoleCancelled", 1))
        was = self._member_until(by) > self.set_at.get(m["account"], 0)
        live = self.member_live(by, COMMITTEE, self.time)
        need(was or live, f"0x{by.hex()} is no member of the committee, and was none then")
        need(m["version"] == held.version, "the order is about another version of the role")
        pending = held.role in (BROKER, WORKER) and held.start > self.time
        need(pending, "no worker or broker of this account is waiting")
        version = held.version + 1
        self._become(m["account"], Member(held.role, self.time, self.time, version))
        return _effect(6, "RoleCancelled", (m["account"], by), (version,))

    def _registerDataset(self, m: Args, a: Args) -> Effect:
        need(any(m["dataset"]), "a dataset has no id")
        need(m["dataset"] not in self.datasets, "the dataset is registered already")
        who = self._by(
            "RegisterDataset", m, a["signature"], self._claim("DatasetRegistered", 1), CUSTODIAN
        )
        if not self.datasets:
            self._need_lasting_quorum()
        self.datasets[m["dataset"]] = who
        return _effect(2, "DatasetRegistered", (m["dataset"], who), (m["documentHash"],))

    def _requestPermit(self, m: Args, a: Args) -> Effect:
        values, asked, categories = tuple(m.values()), m["purposeNeed"], m["categories"]
        who = self._by(
            "PermitRequest", m, a["signature"], self._claim("PermitRequested", 2), ANALYST
        )
        need(
            m["permit"] not in self.permits and m["dataset"] in self.datasets,
            "a known permit, or an unknown dataset",
        )
        need(
            asked and not asked & ~(PURPOSES & ~CARE),
            "the purposes are not allowed",
        )
        need(
            categories and not categories & ~CATEGORIES and m["outputClasses"],
            "categories or outputs not allowed",
        )
        need(m["expiry"] > self.time, "the permit would have ended already")
        self.permits[m["permit"]] = Permit(who, m, sha256(words(*values)), REQUESTED, {})
        return _effect(
            3, "PermitRequested", (m["permit"], m["dataset"], who), values, words(who, *values)
        )

    def _vote(self, m: Args, a: Args) -> Effect:
        permit = self._permit(m["permit"], REQUESTED)
        who = self._by("Vote", m, a["signature"], self._claim("Voted", 1), COMMITTEE)
        fresh = (
            who not in (permit.applicant, *permit.votes) and m["requestHash"] == permit.request_hash
        )
        need(fresh, "the applicant voted, somebody voted twice, or on another request")
        permit.votes[who] = bool(m["yes"])
        kind, body, events = _effect(4, "Voted", (m["permit"], who), (m["yes"],))
        same = [member for member, said in permit.votes.items() if said == bool(m["yes"])]
        live = sum(self.member_live(member, COMMITTEE, self.time) for member in same)
        if live >= self.identity.quorum:
            status = APPROVED if m["yes"] else REJECTED
            self.permits[m["permit"]] = permit._replace(status=status)
            expiry = (permit.request["expiry"],)
            events.append(
                ("PermitApproved", (m["permit"],), expiry)
                if m["yes"]
                else ("PermitRejected", (m["permit"],), ())
            )
        return kind, body, events

    def _suspend(self, m: Args, a: Args) -> Effect:
        said = self._claim("PermitSuspended", 1)
        role = PROTECTION if self.members.get(said[-20:], NOBODY).role == PROTECTION else COMMITTEE
        by = self._by("Suspend", m, a["signature"], said, role)
        self.permits[m["permit"]] = self._permit(m["permit"], APPROVED)._replace(status=SUSPENDED)
        return _effect(5, "PermitSuspended", (m["permit"],), (by,))

    def _permit(self, permit: bytes, status: int) -> Permit:
        found = self.permits.get(permit)
        need(found and found.status == status, "the permit is unknown, or not at that point")
        return self.permits[permit]

    # ConsentRegistry: who is enrolled with which key, and what she allows
    def _batch(
        self, kind: int, rule: Callable[[Args], _Item | None], items: list[Callable[[], Args]]
    ) -> Effect:
        """Each item by itself: accepted, refused with its own place on the trail, or without a trace.

        A refused item is recorded once, and only where an enrolled key or a live registrar signed it, no later message
        has replaced it, and it does not wait for an earlier one: strangers cannot make the trail grow. Without crypto
        nobody sees who signed, and what the ledger left of an item is believed.
        """
        need(len(items) <= MAX_ITEMS, "the batch is too long")
        accepted, refused, events = b"", b"", list[Event]()
        for index, read in enumerate(items):
            found = rule(read())
            if found is None or found[0] in self.recorded:
                continue
            name, added, must, accept = found
            event = must if self._crypto else self._believed(len(events), index, must)
            if event is None:
                continue
            if event[0] == "ItemRefused":
                event = (event[0], (index,), event[2])
                self.recorded.add(name)
                refused += words(name, *event[2])
            else:
                accept()
                accepted += added
            events.append(event)
        need(events, "the batch leaves nothing, and the contract refuses such a call")
        return kind, words(len(accepted) // 32) + accepted + refused, events

    def _believed(self, place: int, index: int, event: Event) -> Event | None:
        """Without crypto: the event if the ledger has it there, a refusal that takes keys to see, or None."""
        log = self._logs[place] if place < len(self._logs) else None
        if log is None:
            return None
        if log.topics == (TOPICS["ItemRefused"], words(index)):
            return event
        name, indexed, plain = event
        whole = (TOPICS[name], *map(words, indexed)), words(*plain)
        return event if name != "ItemRefused" and (log.topics, log.data) == whole else None

    def _enrol(self, items: list[Callable[[], Args]]) -> Effect:
        return self._batch(16, self._enrolment, items)

    def _enrolment(self, item: Args) -> _Item | None:
        e = item["enrolment"]
        subject, key = e["subject"], e["signer"]
        registrar = b""
        if self._crypto:
            registrar = self._signer("Enrolment", e, item["registrarSignature"], b"")
            if not self.member_live(registrar, REGISTRAR, self.time):
                return None
        else:
            said = [x for x in self._logs if x.topics[:2] == (TOPICS["Enrolled"], subject)]
            registrar = said[0].topics[2][12:] if said and len(said[0].topics) == 3 else bytes(20)
            live = self.member_live(registrar, REGISTRAR, self.time)
            need(live or not said, f"0x{registrar.hex()} is no live registrar")
        if self.signers.get(subject) == key:
            return None
        name = sha256(words(subject, sha256(key), e["assurance"], e["deadline"]))
        try:
            need(self.time <= e["deadline"], "DeadlinePassed 6747c9fd", _Skip)
            need(subject not in self.signers, "AlreadyEnrolled ea3cca5e", _Skip)
            need(len(key) == 20 and any(subject), "SignerInvalid e0061160", _Skip)
        except _Skip as refusal:
            return _refused(name, refusal)
        if self._signer("Enrolment", e, item["signerSignature"], key) != key:
            return None  # whoever sees it on its way must not use up what she signed
        # The signer is `bytes`: offset, length, content.
        encoded = (64, e["assurance"], 20, key.ljust(32, b"\0"))
        event: Event = ("Enrolled", (subject, registrar), encoded)
        accept = partial(self.signers.__setitem__, subject, key)
        return name, words(subject, sha256(key), registrar), event, accept

    def _grant(self, items: list[Callable[[], Args]]) -> Effect:
        return self._batch(17, self._consent, items)

    def _consent(self, item: Args) -> _Item | None:
        g, today = item["grant"], self.time // DAY
        subject, dataset, start, end, purposes, categories = (
            g[name]
            for name in ("subject", "dataset", "fromDay", "untilDay", "purposes", "categories")
        )
        old, name = self.consent(dataset, subject), sha256(words(*g.values()))
        if subject not in self.signers or not self._own("Grant", g, item):
            return None
        # Neither replaced by a later consent, nor ahead of what it follows: nobody uses that up by sending it first.
        if dataset not in self.datasets or g["replaces"] != old.version or g["epoch"] > old.epoch:
            return None
        try:
            need(self.time <= g["deadline"], "DeadlinePassed 6747c9fd", _Skip)
            need(g["epoch"] == old.epoch, "EpochStale ee07e7f9", _Skip)
            need(start <= end >= today, "WindowInvalid b795c652", _Skip)
            need(purposes and categories, "NothingGranted f1cc6308", _Skip)
            unknown = purposes & ~PURPOSES or categories & ~CATEGORIES
            need(not unknown, "MaskUnknown 9cf1b05c", _Skip)
        except _Skip as refusal:
            return _refused(name, refusal)
        lost = old.purposes & ~purposes or old.categories & ~categories or end < old.until_day
        narrower = old.status == LIVE and (lost or max(start, today) > max(old.from_day, today))
        epoch, version = old.epoch + bool(narrower), old.version + 1
        new = Consent(LIVE, epoch, version, start, end, purposes, categories)
        plain = (epoch, version, slot_of(new), g["termsCommitment"], g["noticeHash"])
        event: Event = ("ConsentGranted", (subject, dataset), plain)
        accept = partial(self.consents.__setitem__, (dataset, subject), new)
        return name, words(subject, *plain[2:4]), event, accept

    def _revoke(self, m: Args, a: Args) -> Effect:
        who, old = (m["subject"], m["dataset"]), self.consent(m["dataset"], m["subject"])
        need(m["dataset"] in self.datasets, "there is no such dataset")
        own = m["subject"] in self.signers and self._own("Revoke", m, a)
        need(
            own and m["epoch"] <= old.epoch, "the revocation is not her own, or of an epoch to come"
        )
        if m["epoch"] < old.epoch:
            self.recorded.add(self._unused(words(*m.values())))
            return _effect(19, "RevokeStale", who, (m["epoch"], old.epoch))
        self.consents[m["dataset"], m["subject"]] = old._replace(
            status=REVOKED, epoch=old.epoch + 1
        )
        return _effect(18, "ConsentRevoked", who, (old.epoch,))

    def _unused(self, message: bytes) -> bytes:
        """The message's hash. One that changed nothing is recorded, and neither repeated nor acted on later."""
        name = sha256(message)
        need(name not in self.recorded, "the same message is recorded already")
        return name

    def _own(self, kind: str, message: Args, given: Args) -> bool:
        signer = self.signers[message["subject"]]
        return bool(
            given["signer"] == signer == self._signer(kind, message, given["signature"], signer)
        )

    # AccessLedger: records, runs, accesses, releases
    def _registerRecords(self, m: Args, a: Args) -> Effect:
        need(
            m["dataset"] in self.datasets and m["ingest"] not in self.ingests and m["count"],
            "no new ingest",
        )
        self._by("RecordsRegistered", m, a["signature"], self.datasets[m["dataset"]], CUSTODIAN)
        self.ingests[m["ingest"]] = Ingest(
            m["dataset"], m["leavesRoot"], m["count"], m["relaxed"], False
        )
        plain = (m["leavesRoot"], m["count"], m["relaxed"])
        return _effect(32, "RecordsSealed", (m["ingest"], m["dataset"]), plain)

    def _voidRecords(self, m: Args, a: Args) -> Effect:
        ingest = self.ingests.get(m["ingest"])
        need(ingest and not ingest.void, "there is no such registration, or it is void already")
        ingest = self.ingests[m["ingest"]]
        signers = [self._by("VoidRecords", m, signature) for signature in a["signatures"]]
        custodian = self.datasets[ingest.dataset]
        if len(signers) == 1 and signers[0] in (custodian, b""):
            live = self.member_live(custodian, CUSTODIAN, self.time)
            need(live, "the custodian's role is not live")
        else:
            members = [self.member_live(who, COMMITTEE, self.time) for who in signers if who]
            ordered = not self._crypto or all(x < y for x, y in pairwise(signers))
            quorum = len(signers) >= self.identity.quorum
            need(quorum and ordered and all(members), "neither the custodian nor a quorum signed")
        self.ingests[m["ingest"]] = ingest._replace(void=True)
        return _effect(42, "RecordsVoided", (m["ingest"], ingest.dataset))

    def _requestRun(self, m: Args, a: Args) -> Effect:
        need(m["permit"] in self.permits, "there is no such permit")
        permit = self.permits[m["permit"]]
        need(permit.status != REQUESTED, "the committee has not decided on the permit")
        need(
            sha256(a["params"]) == m["paramsHash"] and len(a["params"]) <= MAX_PARAMS,
            "the parameters are not as signed",
        )
        who = self._by("RunRequest", m, a["signature"], permit.applicant, ANALYST)
        run, reason = sha256(words(who, m["nonce"])), self._permit_reason(permit)
        need(run not in self.runs, "the run exists already")
        message = self._unused(words(run, *m.values()))
        if reason:
            self.recorded.add(message)
            return _effect(35, "RunRefused", (run,), (0, reason))
        self.runs[run] = Run(who, m, 0, "", 0)
        return _effect(
            33,
            "RunRequested",
            (run, m["permit"], who),
            (m["paramsHash"], m["resultKey"], m["deadline"]),
        )

    def _permit_reason(self, permit: Permit) -> int:
        if permit.status != APPROVED:
            return {SUSPENDED: 34, REJECTED: 39}[permit.status]
        return 35 if self.time >= permit.request["expiry"] else 0

    def _authorise(self, m: Args, a: Args) -> Effect:
        subjects, name, nth, run = a["subjects"], m["run"], m["attempt"], self._run(m)
        permit, worker = (
            self.permits[run.request["permit"]],
            self._by("WorkerBinding", m, a["signature"], role=WORKER),
        )
        need(
            run.ended in ("", "cancelled") and nth == run.attempts + 1 <= most_attempts(run),
            "the run ended, or not the next attempt",
        )
        need(
            len(subjects) <= MAX_SUBJECTS
            and all(x < y for x, y in pairwise((bytes(32), *subjects))),
            "the list is too long or unsorted",
        )
        need(
            sha256(b"".join(subjects)) == m["subjectsHash"],
            "the list is not the one that the worker signed",
        )
        dataset, *want = (
            *(permit.request[n] for n in ("dataset", "purposeNeed", "categories")),
            self.time // DAY,
        )
        judged = [(subject, self.denied(dataset, subject, *want)) for subject in subjects]
        live = [
            (subject, self.consent(dataset, subject)) for subject, reason in judged if not reason
        ]
        least = max(1, permit.request["minCohort"], self.identity.cohort_floor)
        reasons = [  # in the contract's order
            run.ended and 43,
            self.time > run.request["deadline"] and 41,
            m["codeHash"] != permit.request["codeHash"] and 38,
            not self.member_live(run.analyst, ANALYST, self.time) and 36,
            self._permit_reason(permit),
            len(live) < least and 40,
        ]
        # Without crypto nobody sees which worker signed, and two may send the same.
        message = self._unused(words(worker, *m.values())) if self._crypto else b""
        if any(reasons):
            self.recorded.add(message)
            return _effect(35, "RunRefused", (name,), (nth, next(filter(None, reasons))))
        denied = [(subject, reason) for subject, reason in judged if reason]
        granted = [(subject, consent.epoch, consent.version) for subject, consent in live]
        packed = {subject: nth << 56 | epoch << 24 | version for subject, epoch, version in granted}
        list_hash = sha256(b"".join(words(subject, epoch) for subject, epoch, _ in granted))
        ends = [permit.request["expiry"], *((consent.until_day + 1) * DAY for _, consent in live)]
        lease, tx = (
            min(self.time + min(m["leaseSeconds"], self.identity.max_lease), *ends),
            self._tx,
        )
        self.runs[name] = run._replace(attempts=nth)
        self.attempts[name, nth] = Attempt(
            worker, m, granted, denied, lease, list_hash, tx.hash, tx.block, {}, b"", {}
        )
        events: list[Event] = [
            ("AccessDenied", (name, who), (nth, reason))
            if reason
            else ("AccessGranted", (name, who), (packed[who],))
            for who, reason in judged
        ]
        totals = (nth, len(granted), len(denied), lease, m["workerKey"], list_hash, m["relaxed"])
        return (
            34,
            words(name, m["relaxed"] << 32 | nth, *chain(*packed.items(), *denied)),
            [*events, ("RunAuthorised", (name,), totals)],
        )

    def _run(self, m: Args) -> Run:
        need(m["run"] in self.runs, "the run is unknown")
        return self.runs[m["run"]]

    def _open(self, m: Args) -> tuple[Run, Attempt]:
        run = self._run(m)
        need(
            not run.ended and m["attempt"] == run.attempts > 0,
            "the run ended, or the attempt is not the newest",
        )
        return run, self.attempts[m["run"], m["attempt"]]

    def _seal(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        self._by("Seal", m, a["signature"], attempt.worker, WORKER)
        need(
            self.time <= attempt.lease_until and not attempt.seal,
            "the lease is over, or the output sealed already",
        )
        allowed = (
            self.permits[run.request["permit"]].request["outputClasses"] >> m["outputClass"] & 1
        )
        need(
            allowed and m["outputClass"] in OUTPUT_CLASSES,
            "the permit does not allow this class of output",
        )
        need(m["outputClass"] != GENOMIC or m["statistics"], "a genomic output without statistics")
        self._cost(run, attempt, m)
        plain = (m["attempt"], sha256(words(*m.values())), *m.values())
        self.attempts[m["run"], m["attempt"]] = attempt._replace(seal=m, seal_hash=plain[1])
        return _effect(36, "Sealed", (m["run"],), plain, words(m["run"], *plain[:2]))

    def _cost(self, run: Run, attempt: Attempt, seal: Args) -> dict[bytes, int]:
        """What the dataset has spent with this seal: m statistics of N people, in millionths of m / N, rounded up."""
        dataset = self.permits[run.request["permit"]].request["dataset"]
        total = self.spent.get(dataset, 0) - (-seal["statistics"] * 10**6 // len(attempt.granted))
        need(total <= BUDGET, "the dataset's budget of per-variant statistics is spent")
        return {dataset: total} if seal["statistics"] else {}

    def _viewOutput(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        who = self._by("Review", m, a["signature"], self._claim("OutputViewed", 1), CHECKER)
        need(who != run.analyst and attempt.seal, "the analyst looked, or nothing is sealed")
        body = words(m["run"], m["attempt"], who, m["viewerKey"])
        self.recorded.add(self._unused(body))
        attempt.views[who] = m["viewerKey"]
        return _effect(37, "OutputViewed", (m["run"], who), (m["attempt"], m["viewerKey"]), body)

    def _checker(
        self, m: Args, run: Run, attempt: Attempt, signature: bytes, claimed: bytes
    ) -> bytes:
        need(m["sealHash"] == attempt.seal_hash, "the decision is not on what was sealed")
        who = self._by("Decision", m, signature, claimed, CHECKER)
        need(
            not who or (who != run.analyst and who in attempt.views),
            "the checker is the analyst, or did not look",
        )
        return who

    def _release(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        permit, done = (
            self.permits[run.request["permit"]],
            [log.topics[0] for log in self._logs if log.topics],
        )
        said = [
            self._claim("Released", place) if TOPICS["Released"] in done else b""
            for place in (3, 4)
        ]
        pair = [
            self._checker(m, run, attempt, *signed)
            for signed in zip(a["signatures"], said, strict=True)
        ]
        need(
            m["reason"] == 0 and (pair[0] < pair[1] or not any(pair)),
            "two different checkers must agree",
        )
        granted = [(subject, epoch) for subject, epoch, _ in attempt.granted]
        need(
            list(zip_longest(a["subjects"], a["epochs"])) == granted,
            "the list is not the granted one",
        )
        dataset, *want = (
            *(permit.request[n] for n in ("dataset", "purposeNeed", "categories")),
            self.time // DAY,
        )
        dismissed = not self.member_live(run.analyst, ANALYST, self.time)
        refusals = [
            (bytes(32), 36 if dismissed else self._permit_reason(permit)),
            *(
                (
                    who,
                    self.denied(dataset, who, *want)
                    or 75 * (self.consent(dataset, who).epoch != epoch),
                )
                for who, epoch in granted
            ),
        ]
        message = self._unused(words(*m.values()))
        for (
            subject,
            reason,
        ) in refusals:  # analyst and permit, then the first who is unwilling, or at another epoch
            if reason:
                self.recorded.add(message)
                return _effect(39, "ReleaseRefused", (m["run"],), (m["attempt"], subject, reason))
        self.spent |= self._cost(run, attempt, attempt.seal)
        self.runs[m["run"]] = run._replace(ended="released")
        return _effect(38, "Released", (m["run"],), (m["attempt"], m["sealHash"], *pair))

    def _reject(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        who = self._checker(m, run, attempt, a["signature"], self._claim("Rejected", 3))
        need(m["reason"], "a rejection names its reason")
        self.runs[m["run"]] = run._replace(ended="rejected")
        return _effect(40, "Rejected", (m["run"],), (m["attempt"], m["sealHash"], who, m["reason"]))

    def _cancel(self, m: Args, a: Args) -> Effect:
        run = self._run(m)
        self._by("Cancel", m, a["signature"], run.analyst)
        need(not run.ended, "the run has ended")
        self.runs[m["run"]] = run._replace(ended="cancelled")
        return _effect(41, "RunCancelled", (m["run"],))

    def _resume(self, m: Args, a: Args) -> Effect:
        run = self._run(m)
        self._by("Resume", m, a["signature"], run.analyst, ANALYST)
        used = m["attempts"] == run.attempts == most_attempts(run)
        need(not run.ended and used, "the run has ended, or has attempts left")
        self.runs[m["run"]] = run._replace(resumed=run.resumed + 1)
        return _effect(43, "RunResumed", (m["run"],), (m["attempts"],))


# ---- 5 Withdrawals: what became of the uses that one met ----
RUN_STATES = {  # the event that a run had last, and where it stands then
    "RunRequested": "queued",
    "RunRefused": "denied",
    "RunAuthorised": "authorised",
    "Sealed": "sealed",
    "Released": "released",
    "ReleaseRefused": "queued",
    "Rejected": "refused",
    "RunCancelled": "withdrawn",
    "RunResumed": "queued",
}
WORKER_REASONS = (38,)  # the worker's own fault: the run stays as it was
_ENDS = ("Rejected", "RunCancelled")  # a refusal ends nothing: a later attempt may be granted
Past = NamedTuple("Past", [("name", str), ("step", int), ("attempt", int), ("reason", int)])
Access = NamedTuple("Access", [("attempt", int), ("granted", bool), ("step", int), ("block", int)])
Use = NamedTuple(
    "Use",
    [
        ("run", bytes),
        ("was", str),  # where it stood at that step: queued, computing, sealed, released
        ("attempt", int),  # the one she was in; 0: none yet
        ("sealed", bool),  # it finished all the same, and its output is held back
        ("next_attempt", int),  # the first later attempt, if she is not in it, else 0
        ("next_block", int),
        ("state", str),  # of the run now
        ("over", bool),  # a later attempt shows that this one has ended
        ("taken_in", bool),  # she is in a later attempt, under what she allowed by then
    ],
)


def run_state(history: Sequence[Past]) -> str:
    """Where a run stands after these events, "" before its request."""
    state = ""
    for past in history:
        if not (past.name == "RunRefused" and state and past.reason in WORKER_REASONS):
            state = RUN_STATES.get(past.name, state)
    return state


def use_met(run: bytes, step: int, history: Sequence[Past], hers: Sequence[Access]) -> Use | None:
    """Where the run stood when the withdrawal became step `step`; None when it does not concern her.

    history: the run's events, hers: what was granted or denied of her, both in the ledger's order.
    """
    earlier = [past for past in history if past.step < step]
    names = [past.name for past in earlier]
    if "RunRequested" not in names or any(end in names for end in _ENDS):
        return None
    attempts = [past.attempt for past in earlier if past.name == "RunAuthorised"]
    newest = max(attempts, default=0)
    in_it = max((one.attempt for one in hers if one.granted and one.step < step), default=0)
    later = next((one for one in hers if one.step > step), None)
    again, at = (later.attempt, later.block) if later and not later.granted else (0, 0)
    state, over = run_state(history), later is not None
    taken_in = any(one.granted and one.step > step for one in hers)
    if newest == 0 and run_state(earlier) == "denied":
        return None  # refused, and nothing of hers was read: a later attempt leaves her out
    if newest == 0 or (in_it != newest and run_state(earlier) == "queued"):
        return Use(run, "queued", 0, False, again, at, state, over, taken_in)
    if in_it != newest:
        return None
    seals = [x.step for x in history if x.name == "Sealed" and x.attempt == newest]
    was = "computing"
    if "Released" in names:
        was = "released"
    elif seals and seals[0] < step:
        was = "sealed"
    finished = bool(seals) and was == "computing"
    return Use(run, was, newest, finished, again, at, state, over, taken_in)


def may_stop(use: Use) -> bool:
    """Whether there was a computation to stop."""
    return use.was == "computing" and not use.sealed


def sentence_of(use: Use, stopped: float | None) -> str:
    """What happened to one run, for the person herself; `stopped`: seconds until its process was dead, if known."""
    again = (
        f" It was started again without you (attempt {use.next_attempt}, block {use.next_block})."
        if use.next_attempt
        else ""
    )
    held = "the ledger refuses its release." + again
    if use.was == "released":
        return "A result with your data in it had been released before; it cannot be called back."
    if use.was == "queued" and use.taken_in:
        return "A use that was waiting took you in later, under what you allowed by then."
    if use.was == "queued":
        return "A use that was waiting leaves you out." + again
    if use.was == "sealed" and use.state in ("withdrawn", "refused"):
        return "A finished output with your data in it was never released; its run has ended."
    if use.was == "sealed":
        return f"A finished output with your data in it is held back: {held}"
    if use.sealed:
        return f"A use finished as you withdrew; its output is held back: {held}"
    if stopped is not None or use.next_attempt:
        after = "" if not stopped else f" after {stopped:.1f} s"
        return (
            f"A running use of your data was stopped{after}; what it had computed is gone.{again}"
        )
    if use.over:
        return "A running use went on under what you allow now."
    return "A running use of your data is being stopped."


def use_ended(use: Use, stopped: float | None, state: str) -> bool:
    """Whether all that can be stopped of this use was; `state`: the run's, or "failed" on its worker's machine."""
    return bool(
        use.was != "computing"
        or use.sealed
        or stopped is not None
        or use.over
        or state not in ("queued", "authorised", "denied")
    )


# ---- 6 Bundle ----
RECEIPTS = {
    "volens/receipt/2": "grants",
    "volens/run-receipt/2": "releases",
    "volens/withdrawal-receipt/2": "stops",
}
PLACE = "tx block blockHash time count head"
WITNESS = "broker block blockHash time count head signature"
RECEIPT_FIELDS = {
    "grants": f"subject dataset epoch version terms termsSalt signedMessage signature {PLACE}",
    "releases": "run attempt permit listHash granted sealHash outputCommitment outputSalt releaseTx time count head "
    "codeHash paramsHash",
    "stops": "subject dataset receipt asOf settled effects",
}
Step = NamedTuple(
    "Step",
    [("count", int), ("head", bytes), ("block", Block), ("tx", Transaction), ("logs", list[Log])],
)
Found = dict[str, tuple[str, str]]  # word: ok, no, partly or not-checked, and a plain reason


class Replay:
    """A bundle put through the fold: `steps[n - 1]` is step n of the trail. Raises Malformed, Finding."""

    def __init__(self, source: object, crypto: Crypto | None = None) -> None:
        need(part(source, "type") == "volens/trail/2", "this is not a trail of this release")
        self.fold, self.crypto, self.steps = Fold(part(source, "identity")), crypto, list[Step]()
        self.id, self.blocks = identity_id(part(source, "identity")), part(source, "blocks", dict)
        for item in part(source, "transactions", list):
            names = {"blockNumber": "block", "transactionIndex": "index", "transactionHash": "hash"}
            place = {name: part(item, short) for name, short in names.items()}
            tx, entries = parse_transaction(item | place), part(item, "logs", list)
            block = parse_block({**part(self.blocks, str(tx.block), dict), "number": tx.block})
            logs = [
                parse_log({**place, "logIndex": part(entry, "index"), **entry}) for entry in entries
            ]
            self.fold.apply(block, tx, logs, crypto)
            self.steps.append(Step(self.fold.count, self.fold.head, block, tx, logs))
        end, last = part(source, "head"), (self.fold.count, self.fold.head)
        need(
            (number(part(end, "count")), raw(part(end, "head"), 32)) == last,
            "the last step has another head",
        )
        signed, founders = self.fold.identity.signatures, set(self.fold.identity.founders)
        need(
            len(signed.keys() & founders) >= self.fold.identity.quorum,
            "too few founders signed the identity",
        )
        for who, by in signed.items() if crypto else ():
            need(
                crypto and crypto.signer("Identity", {"id": self.id}, by) == who,
                f"0x{who.hex()} did not sign it",
            )

    def held(self, source: Any) -> Step:
        """The step whose {count, head} somebody holds. Raises Malformed when the trail has another one, or none."""
        count, head = number(part(source, "count")), raw(part(source, "head"), 32)
        ours = "identity" not in source or raw(source["identity"], 32) == self.id
        need(ours, f"the head of step {count} is of another ledger")
        need(
            0 < count <= len(self.steps),
            f"step {count} is held elsewhere, and the trail ends at step {len(self.steps)}: "
            "it was cut, or exported earlier",
        )
        step = self.steps[count - 1]
        need(
            step.head == head,
            f"step {count}, block {step.block.number}: its head is not the one that is held",
        )
        return step

    def witnessed(self, source: Any) -> tuple[int, bool]:
        """The step that a witness is of, and whether its signer was a live broker when it signed.

        Judged by the block and the time that it signed, as far as the trail tells, not by its step: on a quiet
        ledger a term begins or ends long after the last one. Raises Malformed for a forged witness, or one of
        another trail.
        """
        step, who = self.held(source), raw(part(source, "broker"), 20)
        need(source.keys() == set(WITNESS.split()), "a witness has other fields")
        by, hashed = raw(part(source, "signature")), raw(part(source, "blockHash"), 32)
        seen, time = number(part(source, "block")), number(part(source, "time"))
        mined = self.blocks.get(str(seen), {"hash": hashed.hex(), "timestamp": time})
        same = raw(part(mined, "hash")) == hashed and number(part(mined, "timestamp")) == time
        earlier = [one for one in self.steps if one.block.number <= seen]
        later = self.steps[len(earlier) : len(earlier) + 1]
        between = all(one.block.timestamp <= time for one in earlier[-1:]) and all(
            time <= one.block.timestamp for one in later
        )
        need(same and between and seen >= step.block.number, "a witness saw another block")
        message = {
            "identity": self.id,
            "block": seen,
            "blockHash": hashed,
            "time": time,
            "count": step.count,
            "head": step.head,
        }
        need(
            not self.crypto or self.crypto.signer("Witness", message, by) == who,
            "a witness did not sign this head",
        )
        return step.count, self.fold.member_then(who, BROKER, len(earlier), time)

    def receipt(self, data: bytes) -> int:
        """Check a receipt (docs/ledger.md, Receipts) against the trail; the step up to which its witness anchors it.

        Whoever keeps a receipt may have written it: without a witness it can contradict the trail, and anchors
        nothing. Raises Malformed.
        """
        r: Any = strict_json(data)
        kind = RECEIPTS.get(part(r, "type", str), "")
        ours = kind and raw(part(r, "identity"), 32) == self.id
        need(ours, "the receipt is of another ledger or kind")
        # What nobody checks must not be read as checked.
        extra = r.keys() - {"type", "identity", "witness", *RECEIPT_FIELDS[kind].split()}
        need(not extra, "the receipt has fields that no receipt of its kind has")
        place = part(r, "receipt", dict) if kind == "stops" else r
        need(kind != "stops" or place.keys() == set(PLACE.split()), "its place has other fields")
        step = self.held(place)
        name = raw(part(place, "releaseTx" if kind == "releases" else "tx"), 32)
        need(step.tx.hash == name, "the trail has another transaction at the receipt's step")
        same = number(part(place, "time")) == step.block.timestamp
        need(same, "the receipt names another time than its block has")
        need(
            getattr(self, f"_{kind}")(r, step),
            "the receipt is not what its transaction recorded",
        )
        if "witness" not in r:
            return 0
        reached, live = self.witnessed(part(r, "witness", dict))
        need(live, "the receipt's witness was no live broker when it signed")
        told = max(step.count, self.held(r["asOf"]).count if kind == "stops" else 0)
        need(reached >= told, "the receipt's witness is older than the receipt")
        return reached if self.crypto else 0

    def _grants(self, r: Any, step: Step) -> bool:
        subject, dataset = raw(part(r, "subject"), 32), raw(part(r, "dataset"), 32)
        key = (TOPICS["ConsentGranted"], subject, dataset)
        terms = canonical(
            b"volens/terms/1", raw(part(r, "termsSalt"), 32), sha256(part(r, "terms", str).encode())
        )
        epoch, version = number(part(r, "epoch")), number(part(r, "version"))
        place = number(part(r, "block")), raw(part(r, "blockHash"), 32)
        g: Any = {
            n: raw(v) if isinstance(v, str) else number(v)
            for n, v in part(r, "signedMessage", dict).items()
        }
        sent = any(
            (item.get("signature"), item.get("grant")) == (raw(part(r, "signature")), g)
            for item in (read() for read in decode_call(step.tx.input)[2].get("items", []))
        )
        need(sent, "the transaction holds no such signed message")
        # A batch may hold other messages in her name, which the contract skips: this one made the very event.
        given = (g[n] for n in ("fromDay", "untilDay", "purposes", "categories"))
        slot = slot_of(Consent(LIVE, epoch, version, *given))
        event = words(epoch, version, slot, sha256(terms), g["noticeHash"])
        same = (g["subject"], g["dataset"], g["termsCommitment"]) == (
            subject,
            dataset,
            sha256(terms),
        )
        signer = self._grantor(g, raw(part(r, "signature")))
        own = signer == self.fold.signers.get(subject) and g["replaces"] + 1 == version
        made = any((log.topics, log.data) == (key, event) for log in step.logs)
        return made and same and own and place == (step.block.number, step.block.hash)

    def _grantor(self, grant: Args, signature: bytes) -> bytes:
        """Who signed a consent; without crypto, whose it is."""
        if self.crypto:
            return self.crypto.signer("Grant", grant, signature)
        return self.fold.signers.get(grant["subject"], b"")

    def _stops(self, r: Any, step: Step) -> bool:
        """A revocation, or a grant that narrows, and every use that it met, as the trail up to `asOf` proves them.

        Seconds, and a run that failed on its worker's machine, are that machine's word and in no head.
        """
        subject, dataset = raw(part(r, "subject"), 32), raw(part(r, "dataset"), 32)
        ended = (TOPICS["ConsentRevoked"], subject, dataset)
        narrowed = (TOPICS["ConsentGranted"], subject, dataset)
        before = self._epoch(subject, dataset, step.count - 1)
        said = any(
            log.topics == ended or (log.topics == narrowed and to_int(log.data[:32]) > before)
            for log in step.logs
        )
        as_of = self.held(part(r, "asOf", dict)).count
        need(r["asOf"].keys() == {"count", "head"}, "what it is told as of has other fields")
        need(as_of >= step.count, "the receipt tells what followed as of a step before its own")
        proven = self._met(subject, dataset, step, as_of)
        final = self._met(subject, dataset, step, len(self.steps))
        told = {raw(part(one, "run"), 32): one for one in part(r, "effects", list)}
        need(len(part(r, "effects")) == len(told), "the receipt names a run twice")
        need(told.keys() == proven.keys(), "the receipt leaves out a run that it met, or adds one")
        for run, one in told.items():
            stoppable = one.get("stopped") is None or may_stop(final[run])
            need(stoppable, "what is told as stopped was sealed all the same")
            failed = one.get("state") == "failed"
            went_on = failed and self._went_on(run, subject, as_of)
            need(not went_on, "a run that is told as failed went on, and nobody had resumed it")
        over = [_as_proven(told[run], use) for run, use in proven.items()]
        need(part(r, "settled", bool) == all(over), "the receipt says otherwise whether all ended")
        place = part(r, "receipt", dict)
        block = number(part(place, "block")), raw(part(place, "blockHash"), 32)
        return said and block == (step.block.number, step.block.hash)

    def _went_on(self, run: bytes, subject: bytes, as_of: int) -> bool:
        """Whether the run was sealed, or took her in, after that step: a failed one is not tried again.

        Unless its analyst resumes it: what follows then is no contradiction.
        """
        for log in (log for step in self.steps[as_of:] for log in step.logs):
            if log.topics[1:2] == (run,):
                if log.topics[0] == TOPICS["RunResumed"]:
                    return False
                hers = log.topics == (TOPICS["AccessGranted"], run, subject)
                if hers or log.topics[0] == TOPICS["Sealed"]:
                    return True
        return False

    def _epoch(self, subject: bytes, dataset: bytes, last: int) -> int:
        """The epoch of her consent after the first `last` steps."""
        epoch = 0
        for step in self.steps[:last]:
            for log in step.logs:
                if log.topics[1:] == (subject, dataset):
                    if log.topics[0] == TOPICS["ConsentGranted"]:
                        epoch = to_int(log.data[:32])
                    elif log.topics[0] == TOPICS["ConsentRevoked"]:
                        epoch = to_int(log.data[:32]) + 1
        return epoch

    def _met(self, subject: bytes, dataset: bytes, step: Step, last: int) -> dict[bytes, Use]:
        """The uses that a withdrawal met, by run, as the first `last` steps tell them."""
        names = {topic: name for name, topic in TOPICS.items()}
        history, hers = dict[bytes, list[Past]](), dict[bytes, list[Access]]()
        for one in self.steps[:last]:
            for log in one.logs:
                name, place = names[log.topics[0]], (one.count, one.block.number)
                run = log.topics[1] if len(log.topics) > 1 else b""
                if name == "AccessGranted" and log.topics[2] == subject:
                    hers.setdefault(run, []).append(Access(to_int(log.data) >> 56, True, *place))
                elif name == "AccessDenied" and log.topics[2] == subject:
                    hers.setdefault(run, []).append(Access(to_int(log.data[:32]), False, *place))
                elif name in RUN_STATES:
                    numbers = to_int(log.data[:32]), to_int(log.data[32:64])
                    attempt, reason = numbers if name == "RunRefused" else (numbers[0], 0)
                    history.setdefault(run, []).append(Past(name, one.count, attempt, reason))
        found = dict[bytes, Use]()
        for run, past in history.items():
            asked = self.fold.runs.get(run)
            if asked and self.fold.permits[asked.request["permit"]].request["dataset"] == dataset:
                use = use_met(run, step.count, past, hers.get(run, []))
                found |= {run: use} if use else {}
        return found

    def _releases(self, r: Any, step: Step) -> bool:
        name, nth = raw(part(r, "run"), 32), number(part(r, "attempt"))
        done = [
            to_int(log.data[:32]) for log in step.logs if log.topics == (TOPICS["Released"], name)
        ]
        need(done == [nth], "the receipt's transaction released something else")
        run, attempt = self.fold.runs[name], self.fold.attempts[name, nth]
        raw(part(r, "outputSalt"), 32)  # its shape: the output, which it opens, is not here
        facts = {
            **attempt.binding,
            **run.request,
            **attempt.seal,
            "listHash": attempt.list_hash,
            "sealHash": attempt.seal_hash,
            "granted": len(attempt.granted),
        }
        hashes = "permit paramsHash codeHash outputCommitment listHash sealHash".split()
        return canonical_json(part(r, "granted")) == canonical_json(facts["granted"]) and all(
            raw(part(r, n), 32) == facts[n] for n in hashes
        )


def _as_proven(told: Any, use: Use) -> bool:
    """Whether all that can be stopped of the use was; raises Malformed unless it is told as the trail proves it."""
    text, state = told.get("stopped"), use.state
    shaped = text is None or (isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}\.[0-9]{2}", text))
    need(shaped, "the receipt names seconds that are no number")
    need(text is None or may_stop(use), "the receipt tells a stop where there was none to make")
    stopped = None if text is None else float(text)
    if state in ("queued", "authorised") and told.get("state") == "failed":
        state = "failed"  # on its worker's machine: in no head
    proven = {
        "run": use.run.hex(),
        "was": use.was,
        "attempt": use.attempt,
        "sealed": use.sealed,
        "nextAttempt": use.next_attempt,
        "nextBlock": use.next_block,
        "state": state,
        "over": use.over,
        "sentence": sentence_of(use, stopped),
    }
    # Compared as JSON: in Python true is 1, and a receipt that says one is not one that says the other.
    same = {name: value for name, value in told.items() if name != "stopped"}
    need(
        canonical_json(same) == canonical_json(proven),
        f"the receipt tells another end of run 0x{use.run.hex()} than the trail proves",
    )
    return use_ended(use, stopped, state)


def examine(data: bytes, heads: Sequence[Args] = (), receipts: Sequence[bytes] = ()) -> Found:
    """The words consistent, signed, anchored, each with ok, no, partly or not-checked and a plain reason.

    Anchored is ok only where a held head is that of the last step: whatever stands behind it is nobody's word but
    the exporter's.
    """
    word, found = "consistent", dict.fromkeys(WORDS, ("not-checked", "a check failed"))
    if len(data) > MAX_BUNDLE:
        too_large = f"the trail has more than the {MAX_BUNDLE >> 20} MiB that this program reads"
        return dict.fromkeys(WORDS, ("not-checked", too_large))
    try:
        source: Any = strict_json(data, MAX_BUNDLE)
        replay = Replay(source)
        count, head = replay.fold.count, replay.fold.head.hex()
        found[word] = ("ok", f"{count} steps of 0x{replay.id.hex()}, head 0x{head}")
        word = "signed"
        try:
            replay = Replay(source, load_crypto(replay.fold.identity))
            found[word] = ("ok", f"{replay.fold.signatures} signatures of people and workers")
        except ImportError:
            found[word] = (
                "not-checked",
                "signatures need a package: pip install eth-account (not --user)",
            )
        # The bundle's maker chose these: they must be true, and they anchor nothing. A service goes on asking a
        # broker whose term is over: that makes no sound trail a bad one, and is said.
        live = [replay.witnessed(witness)[1] for witness in part(source, "witnesses", list)]
        if not all(live):
            found[word] = (found[word][0], f"{found[word][1]}; {unheard(live)}")
        word = "anchored"
        reached = [*map(replay.receipt, receipts), *(replay.held(one).count for one in heads)]
        upto = max(reached, default=0)
        if upto and upto == count:
            found[word] = ("ok", f"up to the last step, {upto}, of {moment(replay.fold.time)}")
        elif upto:
            found[word] = ("partly", partly(upto, count))
        else:
            found[word] = ("not-checked", "give --head, --heads or --receipt, from somebody else")
    except VerifyError as error:
        found[word] = ("no", str(error))
    return found


def unheard(live: Sequence[bool]) -> str:
    who = "whoever signed was no live broker then"
    return f"{live.count(False)} of {len(live)} witnesses in the trail's file say nothing: {who}"


def moment(seconds: int) -> str:
    """An exporter may end a trail where somebody holds a head: its reader sees how old the end is."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def partly(upto: int, count: int) -> str:
    return f"up to step {upto} of {count}; for the rest nobody vouches"


WORDS = ("consistent", "signed", "anchored")
VALID, FAILED, NOT_CHECKED, PARTLY = 0, 7, 8, 9  # exit codes
SAYS = {
    VALID: "valid",
    FAILED: f"NOT VALID: {VerifyError.hint}",
    NOT_CHECKED: "not proven: see what was not checked",
    PARTLY: "not proven to its end: hold a newer head, from a node or broker of your own",
}
UNCHECKED = "an output's salt, seconds, and that a run failed: nothing on the trail tells them"
LABELS = "block and transaction hashes, and places within a block: no head covers them, they are the exporter's word"


def code_of(found: Found) -> int:
    """The exit code of what `examine` found."""
    states = [state for state, _ in found.values()]
    if "no" in states:
        return FAILED
    if "not-checked" in states:
        return NOT_CHECKED
    return PARTLY if "partly" in states else VALID


def held_heads(data: bytes) -> list[Args]:
    """The heads in a file that `volens trail hold` keeps: one JSON object on each line. Raises Malformed."""
    found = list[Args]()
    for line in data.splitlines():
        head: Any = strict_json(line)
        need(part(head, "type") == "volens/held-head/1", "this is not a file of held heads")
        found.append({name: part(head, name) for name in ("identity", "count", "head")})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the three words; 0 valid, 7 something failed, 8 something was not checked, 9 anchored only in part."""
    parser = argparse.ArgumentParser(
        prog="verify",
        description="Check an exported trail: no network, no database.",
        epilog="Exit code: 0 valid, 7 not valid, 8 something was not checked, 9 anchored up to an earlier step only.",
    )
    parser.add_argument("bundle", type=Path, help="the trail, as volens trail export wrote it")
    parser.add_argument(
        "--head", metavar="COUNT:HEX", action="append", default=[], help="a head that you hold"
    )
    parser.add_argument(
        "--heads",
        type=Path,
        action="append",
        default=[],
        help="a file that volens trail hold keeps",
    )
    parser.add_argument(
        "--receipt", type=Path, action="append", default=[], help="a receipt that somebody kept"
    )
    given = parser.parse_args(arguments)
    try:
        typed = [
            re.fullmatch(r"([0-9]{1,15}):((?:0x)?[0-9a-fA-F]{64})", head) for head in given.head
        ]
        need(all(typed), "a --head is a count, a colon and 32 bytes in hex")
        held: list[Args] = [{"count": int(head[1]), "head": head[2]} for head in typed if head]
        held += [head for path in given.heads for head in held_heads(path.read_bytes())]
        receipts = [path.read_bytes() for path in given.receipt]
        found = examine(given.bundle.read_bytes(), held, receipts)
    except OSError:
        found = {"consistent": ("no", "a file cannot be read")}
    except Malformed as error:
        found = {"consistent": ("no", str(error))}
    for word, (state, reason) in found.items():
        print(f"{word:<12}{state:<13}{reason}")
    print(f"{'labels':<12}{'not proven':<13}{LABELS}")
    if given.receipt:
        print(f"{'receipts':<12}{'not proven':<13}{UNCHECKED}")
    code = code_of(found)
    print(SAYS[code])
    return code


if __name__ == "__main__":
    raise SystemExit(main())
