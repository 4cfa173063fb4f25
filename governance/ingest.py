"""Ingest, in the custodian's own process: no plaintext passes a door, and no key leaves custody.

Bytes first, then the ledger: every object is in the bucket under the hash of its bytes, and so is the list of leaves,
before the custodian signs the root that makes them exist. A crashed ingest is simply run again with new keys and new
objects; what no ledger entry names stays in the bucket, and nobody gets a key for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from governance.brokers import BrokerClient
from governance.envelope import Label, WrapItem, list_root, record_id, record_leaf
from governance.errors import ObjectAltered, ObjectMalformed
from governance.vault import Bucket, seal_record
from governance.verify import Malformed, canonical_json, number, part, raw, strict_json

MAX_LIST = 64 << 20  # bytes of one leaf list
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Source:
    """One record to encrypt: the plaintext of a subject's category; `ordinal` tells records of one category apart."""

    subject: bytes
    category: int
    payload: bytes
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """One encrypted object, as the ledger's root will commit to it."""

    record: bytes
    subject: bytes
    category: int
    version: int
    ciphertext: bytes
    key_commitment: bytes

    def encode(self, ingest: bytes, dataset: bytes) -> bytes:
        label = Label(bytes(32), self.record, self.subject, dataset, self.category, self.version)
        return record_leaf(ingest, label, self.ciphertext, self.key_commitment)

    def to_json(self) -> dict[str, Any]:
        return {"record": self.record.hex(), "subject": self.subject.hex(), "category": self.category,
                "version": self.version, "ciphertext": self.ciphertext.hex(),
                "keyCommitment": self.key_commitment.hex()}


def leaf_of(item: object) -> Leaf:
    """A leaf from its JSON form. Raises Malformed."""
    return Leaf(raw(part(item, "record"), 32), raw(part(item, "subject"), 32), number(part(item, "category")),
                number(part(item, "version")), raw(part(item, "ciphertext"), 32), raw(part(item, "keyCommitment"), 32))


def leaves_root(ingest: bytes, dataset: bytes, leaves: Sequence[Leaf]) -> bytes:
    """The root the custodian signs (protocol.md section 1); raises ObjectMalformed for none or duplicates."""
    return list_root([leaf.encode(ingest, dataset) for leaf in leaves])


def encrypt(
    sources: Iterable[Source], dataset: bytes, identity_id: bytes, broker: BrokerClient, bucket: Bucket,
    versions: Mapping[bytes, int] | None = None, progress: Callable[[int], None] = lambda _: None,
) -> list[Leaf]:
    """Encrypt every source under a key of its own and put it in the bucket; returns the leaves in order.

    `versions` holds the newest registered version by record id; a new record starts at 1.
    """

    def one(source: Source) -> Leaf:
        record = record_id(dataset, source.subject, source.category, source.ordinal)
        version = (versions or {}).get(record, 0) + 1
        label = Label(identity_id, record, source.subject, dataset, source.category, version)
        sealed = seal_record(label, source.payload, lambda shares: broker.wrap([
            WrapItem(source.subject, dataset, record, version, j, share) for j, share in enumerate(shares)
        ]))
        bucket.put(sealed.blob)
        return Leaf(record, source.subject, source.category, version, sealed.ciphertext_hash, sealed.key_commitment)

    leaves = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for leaf in pool.map(one, sources):
            leaves.append(leaf)
            progress(len(leaves))
    return leaves


def store_leaves(bucket: Bucket, root: bytes, leaves: Sequence[Leaf]) -> None:
    """Put the leaf list beside the objects, so that bucket and ledger alone rebuild every row."""
    bucket.put_list(root, canonical_json([leaf.to_json() for leaf in leaves]))


def load_leaves(bucket: Bucket, ingest: bytes, dataset: bytes, root: bytes) -> list[Leaf]:
    """The leaf list of a mined ingest. Raises ObjectMissing, ObjectAltered, BucketUnavailable."""
    try:
        items = strict_json(bucket.get_list(root), MAX_LIST)
        leaves = [leaf_of(item) for item in items] if isinstance(items, list) else []
        if leaves and leaves_root(ingest, dataset, leaves) == root:
            return leaves
    except (Malformed, ObjectMalformed):  # altered, or a custodian signed something that is no list of records
        leaves = []
    raise ObjectAltered("the bucket's list of an ingest is not the one on the ledger", "restore it from a copy")
