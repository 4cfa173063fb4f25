"""Leaf lists: the encrypted objects of each ingest, from the custodians, confirmed by the ledger's
Merkle roots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.objects.envelope import Label, list_root, record_leaf
from governance.objects.keys import replace_private
from governance.rules.encoding import Malformed, canonical_json, number, part, raw, strict_json
from governance.rules.state import Ingest

MAX_LIST = 64 << 20  # bytes of one list


@dataclass(frozen=True, slots=True)
class Leaf:
    """One registered object, with the hashes that the ledger's root commits to."""

    ingest: bytes
    record: bytes
    subject: bytes
    dataset: bytes
    category: int
    version: int
    ciphertext: bytes
    key_commitment: bytes


class LeafLists:
    """All received lists, on disk and indexed by record; the caller holds a lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[bytes] = set()  # ingests
        # By (dataset, record) and version.
        self._by_record: dict[tuple[bytes, bytes], dict[int, list[Leaf]]] = {}
        for path in sorted(folder.glob("*.json")):
            stored: Any = strict_json(path.read_bytes(), MAX_LIST)
            ingest, dataset = bytes.fromhex(path.stem), raw(stored["dataset"], 32)
            self._index([_leaf(ingest, dataset, item) for item in stored["leaves"]])

    def add(self, ingest: bytes, mined: Ingest, items: list[Any]) -> int:
        """Keep a list with the mined root and length, and return that length. Raises Malformed for
        any other.
        """
        leaves = [_leaf(ingest, mined.dataset, item) for item in items]
        if len(leaves) != mined.count or root_of(leaves) != mined.root:
            raise Malformed("the list is not the one the ledger's root commits to")
        path = self._folder / f"{ingest.hex()}.json"
        if not path.exists():
            replace_private(path, canonical_json({"dataset": mined.dataset.hex(), "leaves": items}))
            self._index(leaves)
        return len(leaves)

    def find(
        self, dataset: bytes, record: bytes, version: int, order: Mapping[bytes, Ingest]
    ) -> Leaf | None:
        """The object of a record's version, from the first registered ingest that has it and is not
        void.
        """
        registered = self._by_record.get((dataset, record), {}).get(version, [])
        leaves = [leaf for leaf in registered if not order[leaf.ingest].void]
        ranks = {ingest: rank for rank, ingest in enumerate(order)} if len(leaves) > 1 else {}
        return min(leaves, key=lambda leaf: ranks.get(leaf.ingest, 0), default=None)

    def lacks(self, dataset: bytes, order: Mapping[bytes, Ingest]) -> bool:
        """Whether the list of a registered ingest of this dataset is missing."""
        return any(
            entry.dataset == dataset and not entry.void and ingest not in self._kept
            for ingest, entry in order.items()
        )

    def latest(self, dataset: bytes, record: bytes, order: Mapping[bytes, Ingest]) -> int:
        """The highest version that is registered and not void, 0 for an unknown record."""
        versions = self._by_record.get((dataset, record), {})
        return max(
            (
                version
                for version, leaves in versions.items()
                if not all(order[leaf.ingest].void for leaf in leaves)
            ),
            default=0,
        )

    def _index(self, leaves: list[Leaf]) -> None:
        self._kept.update(leaf.ingest for leaf in leaves)
        for leaf in leaves:
            self._by_record.setdefault((leaf.dataset, leaf.record), {}).setdefault(
                leaf.version, []
            ).append(leaf)


def root_of(leaves: list[Leaf]) -> bytes:
    """The Merkle root that a custodian signs (docs/ledger.md)."""
    return list_root(
        [
            record_leaf(
                leaf.ingest,
                Label(
                    bytes(32), leaf.record, leaf.subject, leaf.dataset, leaf.category, leaf.version
                ),
                leaf.ciphertext,
                leaf.key_commitment,
            )
            for leaf in leaves
        ]
    )


def _leaf(ingest: bytes, dataset: bytes, item: object) -> Leaf:
    return Leaf(
        ingest,
        raw(part(item, "record"), 32),
        raw(part(item, "subject"), 32),
        dataset,
        number(part(item, "category")),
        number(part(item, "version")),
        raw(part(item, "ciphertext"), 32),
        raw(part(item, "keyCommitment"), 32),
    )
