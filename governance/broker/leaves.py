"""Leaf lists: the encrypted objects of each ingest, from the custodians, confirmed by the ledger's
Merkle roots.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.objects.keys import replace_private
from governance.objects.leaves import Leaf, leaf_of, leaves_root
from governance.rules.encoding import Malformed, canonical_json, raw, strict_json
from governance.rules.state import Ingest

MAX_LIST = 64 << 20  # bytes of one list


class LeafLists:
    """All received lists, on disk and indexed by record; the caller holds a lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[bytes] = set()  # ingests
        # By (dataset, record) and version: (ingest, leaf) in no order.
        self._by_record: dict[tuple[bytes, bytes], dict[int, list[tuple[bytes, Leaf]]]] = {}
        for path in sorted(folder.glob("*.json")):
            stored: Any = strict_json(path.read_bytes(), MAX_LIST)
            ingest, dataset = bytes.fromhex(path.stem), raw(stored["dataset"], 32)
            self._index(ingest, dataset, [leaf_of(item) for item in stored["leaves"]])

    def add(self, ingest: bytes, mined: Ingest, items: list[Any]) -> int:
        """Keep a list with the mined root and length, and return that length. Raises Malformed for
        any other.
        """
        leaves = [leaf_of(item) for item in items]
        if len(leaves) != mined.count or leaves_root(ingest, mined.dataset, leaves) != mined.root:
            raise Malformed("the list is not the one the ledger's root commits to")
        path = self._folder / f"{ingest.hex()}.json"
        if not path.exists():
            replace_private(path, canonical_json({"dataset": mined.dataset.hex(), "leaves": items}))
            self._index(ingest, mined.dataset, leaves)
        return len(leaves)

    def find(
        self, dataset: bytes, record: bytes, version: int, order: Mapping[bytes, Ingest]
    ) -> Leaf | None:
        """The object of a record's version, from the first registered ingest that has it and is not
        void.
        """
        registered = self._by_record.get((dataset, record), {}).get(version, [])
        valid = [(ingest, leaf) for ingest, leaf in registered if not order[ingest].void]
        ranks = {ingest: rank for rank, ingest in enumerate(order)} if len(valid) > 1 else {}
        _, leaf = min(valid, key=lambda entry: ranks.get(entry[0], 0), default=(b"", None))
        return leaf

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
                if not all(order[ingest].void for ingest, _ in leaves)
            ),
            default=0,
        )

    def _index(self, ingest: bytes, dataset: bytes, leaves: list[Leaf]) -> None:
        self._kept.add(ingest)
        for leaf in leaves:
            versions = self._by_record.setdefault((dataset, leaf.record), {})
            versions.setdefault(leaf.version, []).append((ingest, leaf))
