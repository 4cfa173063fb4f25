"""Byte formats of encrypted objects, wrapped key shares and key messages; pure functions without
input or output.

Formats: docs/ledger.md. Chunks follow STREAM (Hoang, Reyhanitabar, Rogaway, Vizar 2015); key
messages are HPKE (RFC 9180), base mode. Keys are drawn by the caller; `split_key` draws shares, and
wrapping draws nonces.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from governance.errors import (
    ChunkRefused,
    KeyMismatch,
    MessageMalformed,
    MessageRefused,
    ObjectMalformed,
    ObjectTruncated,
    ShareRefused,
    WrongObject,
)
from governance.rules.encoding import canonical, canonical_json

MAGIC, FORMAT = b"VOLN", 1
CHUNK = 1 << 16  # plaintext bytes of every chunk but the last
TAG = 16  # bytes AES-GCM adds
SHARES = 3  # an object key is the XOR of so many shares
OUTPUT = 255  # the category of a run's output: it is stored as a record of its own
WRAPPED = 12 + 32 + TAG  # bytes of a wrapped share
MAX_HEADER = 1 << 12  # bytes; one broker's takes 547, three brokers' 847

_OBJECT, _WRAP, _PIECES, _ASKED, _RUN_KEYS = (
    f"volens/{n}/1".encode() for n in ("object", "wrap", "pieces", "wrap-request", "run-keys")
)
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Label:
    """The identity of an object: ids are 32 bytes, `version` counts from 1.

    A run's output has subject = record = run, version = attempt, category = OUTPUT and the permit's
    dataset.
    """

    identity: bytes
    record: bytes
    subject: bytes
    dataset: bytes
    category: int
    version: int

    def __post_init__(self) -> None:
        _require_sizes(32, self.identity, self.record, self.subject, self.dataset)
        if not 0 <= self.category <= OUTPUT or not 1 <= self.version < 1 << 32:
            raise ObjectMalformed("an object's category or version is out of range")


@dataclass(frozen=True, slots=True)
class WrappedShare:
    """Share `j` of an object's key, wrapped by the broker `broker` (20 bytes): 60 bytes that only
    it can open.
    """

    broker: bytes
    j: int
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The part of an object that anyone may read; all of it is authenticated with every chunk."""

    label: Label
    shares: tuple[WrappedShare, ...]
    key_commitment: bytes

    def __post_init__(self) -> None:
        _require_sizes(32, self.key_commitment)
        _require_sizes(20, *(share.broker for share in self.shares))
        _require_sizes(WRAPPED, *(share.wrapped for share in self.shares))
        order = [(share.broker, share.j) for share in self.shares]
        if order != sorted(set(order)) or {share.j for share in self.shares} != set(range(SHARES)):
            raise ObjectMalformed("an object's key shares are incomplete or out of order")

    def encode(self) -> bytes:
        """canonical("volens/object/1", identity, record, subject, dataset, category, version, chunk
        size, key commitment, n, n x (broker, j, wrapped)).
        """
        label = self.label
        shares = [part for share in self.shares for part in (share.broker, share.j, share.wrapped)]
        return canonical(
            _OBJECT,
            label.identity,
            label.record,
            label.subject,
            label.dataset,
            label.category,
            label.version,
            CHUNK,
            self.key_commitment,
            len(self.shares),
            *shares,
        )


def decode_header(data: bytes) -> Header:
    """The header whose encoding is exactly `data`. Raises ObjectMalformed."""
    fields = _split_fields(data)
    if fields is None or len(fields) < 10 or fields[0] != _OBJECT or (len(fields) - 10) % 3:
        raise ObjectMalformed("the object's header has another form")
    shares = tuple(
        WrappedShare(fields[at], _number(fields[at + 1]), fields[at + 2])
        for at in range(10, len(fields), 3)
    )
    label = Label(
        fields[1], fields[2], fields[3], fields[4], _number(fields[5]), _number(fields[6])
    )
    header = Header(label, shares, fields[8])
    if header.encode() != data:  # chunk size, count, and other fields with more than one encoding
        raise ObjectMalformed("the object's header has another form")
    return header


# --- objects
# ----------------------------------------------------------------------------------------------


def key_commitment(key: bytes) -> bytes:
    """sha256("volens-kc" || key): AES-GCM alone would let one ciphertext open under two keys."""
    return sha256(b"volens-kc" + key).digest()


def seal_object(
    key: bytes, label: Label, shares: Sequence[WrappedShare], plaintext: bytes
) -> bytes:
    """The encrypted object. `key` is 32 fresh random bytes, used for this one call: its nonces
    start at zero.
    """
    ordered = tuple(sorted(shares, key=lambda share: (share.broker, share.j)))
    header = Header(label, ordered, key_commitment(key)).encode()
    cipher = AESGCM(key)
    parts = [MAGIC, FORMAT.to_bytes(2, "big"), len(header).to_bytes(4, "big"), header]
    count = max(1, -(-len(plaintext) // CHUNK))
    for index in range(count):
        chunk = plaintext[index * CHUNK : (index + 1) * CHUNK]
        parts.append(cipher.encrypt(_nonce(index, index == count - 1), chunk, header))
    return b"".join(parts)


def read_header(blob: bytes) -> Header:
    """The header of an encrypted object. Raises ObjectMalformed."""
    return decode_header(_split_object(blob)[0])


def open_object(key: bytes, blob: bytes, label: Label) -> bytes:
    """The plaintext, only after every chunk was checked.

    Raises ObjectMalformed, WrongObject (not the object `label` names), KeyMismatch (before anything
    is decrypted), ObjectTruncated, ChunkRefused.
    """
    raw, body = _split_object(blob)
    header = decode_header(raw)
    if header.label != label:
        raise WrongObject(
            "this is the object of another record, version or ledger",
            "fetch the one the ledger names",
        )
    if len(key) != 32 or not compare_digest(key_commitment(key), header.key_commitment):
        raise KeyMismatch(
            "the key is not the one this object was sealed with", "ask the brokers again"
        )
    cipher = AESGCM(key)
    pieces = [body[at : at + CHUNK + TAG] for at in range(0, len(body), CHUNK + TAG)]
    if len(pieces[-1]) < TAG or (len(pieces) > 1 and len(pieces[-1]) == TAG):
        raise ObjectTruncated("the object ends within its last part", "fetch the object again")
    return b"".join(
        _open_chunk(cipher, raw, index, index == len(pieces) - 1, piece)
        for index, piece in enumerate(pieces)
    )


def object_name(blob: bytes) -> str:
    """The object's name in the bucket: o/<sha256 of the file in hex>."""
    return "o/" + sha256(blob).hexdigest()


def _open_chunk(cipher: AESGCM, header: bytes, index: int, last: bool, piece: bytes) -> bytes:
    try:
        return cipher.decrypt(_nonce(index, last), piece, header)
    except InvalidTag:
        pass
    if last and _opens(cipher, _nonce(index, False), piece, header):
        raise ObjectTruncated("the object ends before its last part", "fetch the object again")
    raise ChunkRefused(index)


def _opens(cipher: AESGCM, nonce: bytes, piece: bytes, header: bytes) -> bool:
    try:
        cipher.decrypt(nonce, piece, header)
    except InvalidTag:
        return False
    return True


def _nonce(index: int, last: bool) -> bytes:
    return bytes(7) + index.to_bytes(4, "big") + bytes([last])


def _split_object(blob: bytes) -> tuple[bytes, bytes]:
    """Header bytes and chunks."""
    size = int.from_bytes(blob[6:10], "big")
    if blob[:6] != MAGIC + FORMAT.to_bytes(2, "big") or not 0 < size <= MAX_HEADER:
        raise ObjectMalformed("this is not an encrypted object of format 1")
    if len(blob) <= 10 + size:
        raise ObjectTruncated("the object ends before its first part", "fetch the object again")
    return blob[10 : 10 + size], blob[10 + size :]


# --- key shares
# -------------------------------------------------------------------------------------------


def split_key(key: bytes) -> tuple[bytes, bytes, bytes]:
    """Three shares of 32 bytes whose XOR is the key; any two reveal nothing about it."""
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    return first, second, _xor(_xor(key, first), second)


def join_shares(shares: Sequence[bytes]) -> bytes:
    """The key of shares 0, 1 and 2. Raises ShareRefused when they are not three of 32 bytes."""
    if len(shares) != SHARES or any(len(share) != 32 for share in shares):
        raise ShareRefused(
            "an object key needs its three shares", "ask the brokers for the missing ones"
        )
    return _xor(_xor(shares[0], shares[1]), shares[2])


def wrap_context(
    *,
    identity: bytes,
    broker: bytes,
    subject: bytes,
    dataset: bytes,
    record: bytes,
    version: int,
    j: int,
) -> bytes:
    """C, the context that a wrapped share is bound to. For an output: subject = record = run,
    version = attempt.
    """
    return canonical(_WRAP, identity, broker, subject, dataset, record, version, j)


def wrap_share(seed: bytes, context: bytes, share: bytes) -> bytes:
    """12 random bytes || AES-256-GCM of the 32-byte share under the key that `seed` (the owner's)
    gives for C.
    """
    _require_sizes(32, seed, share)
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(_wrapping_key(seed, context)).encrypt(nonce, share, context)


def unwrap_share(seed: bytes, context: bytes, wrapped: bytes) -> bytes:
    """The 32-byte share. Raises ShareRefused unless seed and every field of C are those it was
    wrapped with.
    """
    if len(wrapped) != WRAPPED:
        raise ShareRefused(
            "a wrapped share has 60 bytes", "send the share as the object's header has it"
        )
    try:
        return AESGCM(_wrapping_key(seed, context)).decrypt(wrapped[:12], wrapped[12:], context)
    except InvalidTag:
        raise ShareRefused(
            "the share was wrapped for something else", "name the record and version it is for"
        ) from None


def _wrapping_key(seed: bytes, context: bytes) -> bytes:
    return HKDFExpand(hashes.SHA256(), 32, context).derive(seed)


# --- messages with key pieces
# -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """Share `j` of one object's key, unwrapped."""

    record: bytes
    version: int
    j: int
    share: bytes = field(repr=False)


def encode_pieces(broker: bytes, pieces: Iterable[Piece]) -> bytes:
    """canonical("volens/pieces/1", broker, n, n x (record, version, j, share)), ascending."""
    ordered = sorted(pieces, key=lambda piece: (piece.record, piece.version, piece.j))
    fields = [
        part for piece in ordered for part in (piece.record, piece.version, piece.j, piece.share)
    ]
    return canonical(_PIECES, broker, len(ordered), *fields)


def decode_pieces(data: bytes, broker: bytes) -> tuple[Piece, ...]:
    """The pieces of a message of `broker`. Raises MessageMalformed unless it is exactly their
    encoding.
    """
    fields = _split_fields(data)
    if fields is None or len(fields) < 3 or (len(fields) - 3) % 4:
        raise MessageMalformed("the message is not a list of key pieces", "ask the broker again")
    pieces = tuple(
        Piece(fields[at], _number(fields[at + 1]), _number(fields[at + 2]), fields[at + 3])
        for at in range(3, len(fields), 4)
    )
    sized = all(
        len(piece.record) == len(piece.share) == 32 and 0 <= piece.j < SHARES for piece in pieces
    )
    distinct = len({(piece.record, piece.version, piece.j) for piece in pieces}) == len(pieces)
    if not sized or not distinct or encode_pieces(broker, pieces) != data:
        raise MessageMalformed(
            "the message is not a list of this broker's key pieces", "ask the broker again"
        )
    return pieces


def encode_run_keys(noise_key: bytes, pieces: bytes) -> bytes:
    """canonical("volens/run-keys/1", noise key, encoded pieces): what a worker gets for an attempt.
    noise_key: 32 bytes, the dataset's.
    """
    return canonical(_RUN_KEYS, noise_key, pieces)


def decode_run_keys(data: bytes) -> tuple[bytes, bytes]:
    """(the dataset's noise key, encoded pieces). Raises MessageMalformed unless it is exactly their
    encoding.
    """
    fields = _split_fields(data)
    if fields is None or len(fields) != 3 or fields[0] != _RUN_KEYS or len(fields[1]) != 32:
        raise MessageMalformed("the message does not hold a run's keys", "ask the broker again")
    return fields[1], fields[2]


def pieces_info(
    *,
    identity: bytes,
    run: bytes,
    attempt: int,
    tx: bytes,
    block_hash: bytes,
    broker: bytes,
    worker_key: bytes,
    records: Iterable[bytes],
    lease_end: int,
) -> bytes:
    """HPKE's info: what a message with pieces is bound to. `records` in any order, without
    duplicates.
    """
    ordered = sorted(set(records))
    listed = sha256(canonical(b"volens/records/1", len(ordered), *ordered)).digest()
    return sha256(
        canonical(
            b"volens/info/1",
            identity,
            run,
            attempt,
            tx,
            block_hash,
            broker,
            worker_key,
            listed,
            lease_end,
        )
    ).digest()


def question_digest(question: object) -> bytes:
    """The digest that a broker's client signs: sha256 over the canonical JSON of the request
    without its signature.
    """
    asked = question.items() if isinstance(question, dict) else ()
    unsigned = {name: value for name, value in asked if name != "signature"}
    return sha256(canonical(b"volens/question/1", canonical_json(unsigned))).digest()


def seal_message(public: bytes, info: bytes, message: bytes) -> bytes:
    """HPKE to a 32-byte X25519 key; base mode does not authenticate the sender. Raises
    MessageRefused for a bad key.
    """
    try:
        return _SUITE.encrypt(message, X25519PublicKey.from_public_bytes(public), info=info)
    except ValueError:
        raise MessageRefused(
            "the recipient's key is not a usable X25519 key", "send the key you hold"
        ) from None


def open_message(private: X25519PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """The plaintext that `seal_message` sealed. Raises MessageRefused."""
    try:
        return _SUITE.decrypt(sealed, private, info=info)
    except (InvalidTag, ValueError):
        raise MessageRefused(
            "the message was not sealed for this key and purpose", "ask the broker again"
        ) from None


# --- messages with keys to wrap
# ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WrapItem:
    """Share `j` of one object's key, on its way to a broker; subject = record = run for an output."""

    subject: bytes
    dataset: bytes
    record: bytes
    version: int
    j: int
    share: bytes = field(repr=False)


def wrap_info(identity: bytes, broker: bytes) -> bytes:
    """HPKE's info of a message with shares to wrap: one broker of one ledger."""
    return sha256(canonical(b"volens/wrap-info/1", identity, broker)).digest()


def encode_wrap_request(items: Sequence[WrapItem]) -> bytes:
    """canonical("volens/wrap-request/1", n, n x (subject, dataset, record, version, j, share)), in
    the order given.
    """
    fields = [
        part
        for item in items
        for part in (item.subject, item.dataset, item.record, item.version, item.j, item.share)
    ]
    return canonical(_ASKED, len(items), *fields)


def decode_wrap_request(data: bytes) -> tuple[WrapItem, ...]:
    """The shares of a message. Raises MessageMalformed unless it is exactly their encoding."""
    fields = _split_fields(data)
    if fields is None or len(fields) < 2 or (len(fields) - 2) % 6:
        raise MessageMalformed(
            "the message is not a list of key shares", "send the shares as encode_wrap_request does"
        )
    items = tuple(
        WrapItem(
            fields[at],
            fields[at + 1],
            fields[at + 2],
            _number(fields[at + 3]),
            _number(fields[at + 4]),
            fields[at + 5],
        )
        for at in range(2, len(fields), 6)
    )
    sized = all(
        len(part) == 32
        for item in items
        for part in (item.subject, item.dataset, item.record, item.share)
    )
    if not sized or encode_wrap_request(items) != data:
        raise MessageMalformed("the message is not a list of key shares")
    return items


# --- hashes an auditor recomputes
# -------------------------------------------------------------------------


def record_id(dataset: bytes, subject: bytes, category: int, ordinal: int) -> bytes:
    """A record's id, stable over its versions."""
    return sha256(canonical(b"volens/record/1", dataset, subject, category, ordinal)).digest()


def record_leaf(ingest: bytes, label: Label, ciphertext_hash: bytes, commitment: bytes) -> bytes:
    """The leaf of one object in an ingest's list."""
    return canonical(
        b"volens/leaf/1",
        ingest,
        label.record,
        label.subject,
        label.dataset,
        label.category,
        label.version,
        ciphertext_hash,
        commitment,
    )


def list_root(leaves: Sequence[bytes]) -> bytes:
    """sha256 over the leaves' sha256, sorted bytewise. Raises ObjectMalformed for duplicates or an
    empty list.
    """
    hashed = sorted({sha256(leaf).digest() for leaf in leaves})
    if not hashed or len(hashed) != len(leaves):
        raise ObjectMalformed("a list of leaves is empty or names one twice")
    return sha256(b"".join(hashed)).digest()


def output_commitment(run: bytes, attempt: int, result: bytes, salt: bytes) -> bytes:
    """`result` is the output's bytes; `salt` (32 bytes) lies with it inside the encrypted object."""
    return sha256(
        canonical(b"volens/output/1", run, attempt, sha256(result).digest(), salt)
    ).digest()


def disclosure_commitment(run: bytes, attempt: int, disclosure: bytes, salt: bytes) -> bytes:
    """`disclosure` is the canonical JSON of the disclosure record, `salt` the output's."""
    return sha256(
        canonical(b"volens/disclosure/1", run, attempt, sha256(disclosure).digest(), salt)
    ).digest()


def _split_fields(data: bytes) -> list[bytes] | None:
    """The fields of a canonical encoding, the tag first; None when the lengths do not add up."""
    fields, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        fields.append(data[at + 4 : end])
        at = end
    return fields if at == len(data) else None


def _number(raw: bytes) -> int:
    """A number field; one of another length gives a value whose encoding differs, which the caller
    compares.
    """
    return int.from_bytes(raw[:8], "big")


def _require_sizes(size: int, *values: bytes) -> None:
    if any(len(value) != size for value in values):
        raise ObjectMalformed(f"a field of an object does not have its {size} bytes")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
