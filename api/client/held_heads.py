"""Heads of the trail that an auditor keeps, from a node or broker, to compare later exports with.

A file of JSON lines, one head each: {type, identity, count, head, block, blockHash, time, from}.
Lines are only added. A head that contradicts a kept one is refused: then a ledger was rewritten.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.errors import UsageError, VerificationFailed
from chain.ledger import Ledger
from chain.signatures import domain_of, recover
from governance.objects.broker_client import BrokerClient
from governance.rules.cli import held_heads
from governance.rules.encoding import Malformed, canonical_json, strict_json
from governance.rules.ledger_data import identity_id

TYPE = "volens/held-head/1"


def from_node(url: str, identity: Mapping[str, Any], count: int = 0) -> dict[str, Any]:
    """The head of step `count`, or of the newest step, from a node of this ledger.

    Raises IdentityMismatch, LedgerDown, ChainError, UsageError for a step that the node does not
    have.
    """
    ledger = Ledger.connect(url, identity)
    step = ledger.head_of(count or ledger.head()[0])
    if step is None:
        raise UsageError(
            "the node has no such step",
            "let it catch up; if it has, the trail is of another ledger",
        )
    block = ledger.block(step.block)
    return _line(identity, step.count, step.head.hex(), "node") | {
        "block": step.block,
        "blockHash": block["hash"].removeprefix("0x"),
        "time": int(block["timestamp"], 16),
    }


def from_broker(url: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The newest head under the signature of a broker that signed this ledger's identity.

    Raises VerificationFailed.
    """
    domain, pinned = domain_of(identity), identity_id(identity)
    witness = BrokerClient(url, domain, pinned).witness()
    message = {
        "identity": pinned,
        "block": witness["block"],
        "blockHash": bytes.fromhex(witness["blockHash"]),
        "time": witness["time"],
        "count": witness["count"],
        "head": bytes.fromhex(witness["head"]),
    }
    signer = recover(domain, "Witness", message, bytes.fromhex(witness["signature"]))
    if signer.lower() not in {who.lower() for who in identity["signatures"]}:
        raise VerificationFailed(
            "this broker did not sign the ledger's identity", "ask for the address of one that did"
        )
    block = {name: witness[name] for name in ("block", "blockHash", "time")}
    return _line(identity, witness["count"], witness["head"], "broker") | block


def keep(path: Path, head: Mapping[str, Any]) -> bool:
    """Add a head to the file; False if it is already there.

    Raises VerificationFailed for a contradiction.
    """
    kept_heads = held_heads(path.read_bytes()) if path.exists() else []
    for kept in kept_heads:
        if kept["count"] != head["count"] or kept["identity"] != head["identity"]:
            continue
        if kept["head"] != head["head"]:
            raise VerificationFailed(
                f"step {head['count']} has another head than the one that you keep",
                "the ledger was rewritten, or this is another one: keep the file, and ask why",
            )
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(canonical_json(dict(head)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return True


def last_step(trail: Path) -> int:
    """The number of steps of an exported trail. Raises UsageError."""
    try:
        document: Any = strict_json(trail.read_bytes(), 1 << 28)
        return int(document["head"]["count"])
    except OSError:
        raise UsageError("there is no such trail", "export one: volens trail export") from None
    except (Malformed, KeyError, TypeError, ValueError):
        raise UsageError(
            "this is no exported trail", "name a file of volens trail export"
        ) from None


def _line(identity: Mapping[str, Any], count: int, head: str, source: str) -> dict[str, Any]:
    pinned = identity_id(identity).hex()
    return {"type": TYPE, "identity": pinned, "count": count, "head": head, "from": source}
