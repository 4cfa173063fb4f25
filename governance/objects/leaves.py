"""Leaves: what the Merkle root of an ingest commits to, one for each encrypted object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from governance.objects.envelope import Label, list_root, record_leaf
from governance.rules.encoding import number, part, raw


@dataclass(frozen=True, slots=True)
class Leaf:
    """One encrypted object, with the fields that the ledger's root commits to."""

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
        return {
            "record": self.record.hex(),
            "subject": self.subject.hex(),
            "category": self.category,
            "version": self.version,
            "ciphertext": self.ciphertext.hex(),
            "keyCommitment": self.key_commitment.hex(),
        }


def leaf_of(item: object) -> Leaf:
    """A leaf from its JSON form. Raises Malformed."""
    return Leaf(
        raw(part(item, "record"), 32),
        raw(part(item, "subject"), 32),
        number(part(item, "category")),
        number(part(item, "version")),
        raw(part(item, "ciphertext"), 32),
        raw(part(item, "keyCommitment"), 32),
    )


def leaves_root(ingest: bytes, dataset: bytes, leaves: Sequence[Leaf]) -> bytes:
    """The Merkle root that the custodian signs (docs/ledger.md). Raises ObjectMalformed for
    an empty list or duplicates.
    """
    return list_root([leaf.encode(ingest, dataset) for leaf in leaves])
