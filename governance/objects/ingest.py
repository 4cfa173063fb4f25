"""Ingest of records, in the custodian's own process: no plaintext is sent, and no key leaves
custody.

Bytes first, then the ledger: all objects and the list of leaves are in the bucket, under the hashes
of their bytes, before the custodian signs the root that registers them. A crashed ingest is simply
run again with new keys and new objects; what no ledger entry names stays in the bucket, and nobody
gets a key for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from governance.errors import ObjectAltered, ObjectMalformed, TooManyRecords
from governance.objects.broker_client import BrokerClient
from governance.objects.envelope import (
    Label,
    WrapItem,
    WrappedShare,
    record_id,
)
from governance.objects.leaves import Leaf, leaf_of, leaves_root
from governance.objects.vault import Bucket, Shares, seal_records
from governance.rules.encoding import Malformed, canonical_json, strict_json

MAX_LIST = 64 << 20  # bytes of one leaf list
MAX_RECORDS = 20_000  # of one ingest: the list fits into one message to service and broker
_THREADS = 4
_BATCH, _BATCH_BYTES = 32, 8 << 20  # records, bytes of plaintext


@dataclass(frozen=True, slots=True)
class Source:
    """One record to encrypt: the plaintext of a subject's category; `ordinal` distinguishes records
    of one category.
    """

    subject: bytes
    category: int
    payload: bytes
    ordinal: int = 0


def encrypt(
    sources: Iterable[Source],
    dataset: bytes,
    identity_id: bytes,
    broker: BrokerClient,
    bucket: Bucket,
    versions: Mapping[bytes, int] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Leaf]:
    """Encrypt every source under a key of its own and put it in the bucket; returns the leaves in
    order.

    `versions` holds the newest registered version by record id; a new record starts at 1. Raises
    TooManyRecords, before the first one where `sources` says how many it has.
    """
    if isinstance(sources, Sequence) and len(sources) > MAX_RECORDS:
        raise _too_many()

    def seal(batch: Sequence[Source]) -> list[Leaf]:
        labels = [_label(source, dataset, identity_id, versions or {}) for source in batch]

        def wrap(shares: list[Shares]) -> list[list[WrappedShare]]:
            items = [
                WrapItem(label.subject, dataset, label.record, label.version, j, share)
                for label, triple in zip(labels, shares, strict=True)
                for j, share in enumerate(triple)
            ]
            wrapped = broker.wrap(items)
            return [wrapped[first : first + 3] for first in range(0, len(wrapped), 3)]

        sealed = seal_records(
            [(label, source.payload) for label, source in zip(labels, batch, strict=True)], wrap
        )
        for sealed_record in sealed:
            bucket.put(sealed_record.blob)
        pairs = zip(labels, sealed, strict=True)
        return [
            Leaf(
                it.record,
                it.subject,
                it.category,
                it.version,
                sealed_record.ciphertext_hash,
                sealed_record.key_commitment,
            )
            for it, sealed_record in pairs
        ]

    leaves: list[Leaf] = []
    waiting: deque[Future[list[Leaf]]] = deque()

    def take() -> None:
        leaves.extend(waiting.popleft().result())
        progress(len(leaves))

    with ThreadPoolExecutor(_THREADS) as pool:
        for batch in _batches(sources):
            waiting.append(pool.submit(seal, batch))
            # Sources may be generated on demand: this bounds how many are in memory.
            if len(waiting) >= 2 * _THREADS:
                take()
        while waiting:
            take()
    return leaves


def _label(
    source: Source, dataset: bytes, identity_id: bytes, versions: Mapping[bytes, int]
) -> Label:
    record = record_id(dataset, source.subject, source.category, source.ordinal)
    version = versions.get(record, 0) + 1
    return Label(identity_id, record, source.subject, dataset, source.category, version)


def _too_many() -> TooManyRecords:
    return TooManyRecords(
        f"one ingest has at most {MAX_RECORDS:,} records",
        "bring the people in in several ingests; nothing of this one was registered",
    )


def _batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    """Batches of sources: one request to the broker wraps the keys of a batch."""
    batch: list[Source] = []
    for count, source in enumerate(sources, 1):
        if count > MAX_RECORDS:
            raise _too_many()
        batch.append(source)
        if len(batch) == _BATCH or sum(len(source.payload) for source in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def store_leaves(bucket: Bucket, root: bytes, leaves: Sequence[Leaf]) -> None:
    """Put the leaf list into the bucket, so that every row can be rebuilt from bucket and ledger
    alone.
    """
    bucket.put_list(root, canonical_json([leaf.to_json() for leaf in leaves]))


def load_leaves(bucket: Bucket, ingest: bytes, dataset: bytes, root: bytes) -> list[Leaf]:
    """The leaf list of a mined ingest. Raises ObjectMissing, ObjectAltered, BucketUnavailable."""
    try:
        items = strict_json(bucket.get_list(root), MAX_LIST)
        leaves = [leaf_of(item) for item in items] if isinstance(items, list) else []
        if leaves and leaves_root(ingest, dataset, leaves) == root:
            return leaves
    except (Malformed, ObjectMalformed):
        pass  # altered, or the custodian signed the root of another file
    raise ObjectAltered(
        "the bucket's list of an ingest is not the one on the ledger", "restore it from a copy"
    )
