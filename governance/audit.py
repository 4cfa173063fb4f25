"""The audit bundle: everything that an auditor needs to check the ledger independently, in one JSON
file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain.ledger import Ledger

# The program beside each export: the rules joined into one file (docs/join_verifier.py). It is
# never imported here.
PROGRAM = Path(__file__).with_name("verify.py")


def export_bundle(ledger: Ledger, witnesses: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Identity, blocks, transactions with their logs, head and broker witnesses, as
    `governance/verify.py` reads it.
    """
    last = int(ledger.block("latest")["number"], 16)
    first = int(ledger.identity["deployBlock"])
    logs: dict[str, list[dict[str, Any]]] = {}
    for page in ledger.all_logs(first, last):
        for log in page:
            logs.setdefault(log["transactionHash"], []).append(log)
    blocks: dict[str, Any] = {}
    transactions = []
    for tx, entries in logs.items():
        transaction = ledger.transaction(tx)
        number = int(transaction["blockNumber"], 16)
        if str(number) not in blocks:
            block = ledger.block(number)
            blocks[str(number)] = {"hash": block["hash"], "timestamp": int(block["timestamp"], 16)}
        transactions.append(
            {
                "hash": tx,
                "block": number,
                "index": int(transaction["transactionIndex"], 16),
                "to": transaction["to"],
                "input": transaction["input"],
                "logs": [
                    {
                        "address": log["address"],
                        "topics": log["topics"],
                        "data": log["data"],
                        "index": int(log["logIndex"], 16),
                    }
                    for log in entries
                ],
            }
        )
    count, head = ledger.head(last)  # calls may be mined meanwhile
    return {
        "type": "volens/trail/2",
        "identity": dict(ledger.identity),
        "blocks": blocks,
        "transactions": transactions,
        "head": {"count": count, "head": head.hex()},
        "witnesses": list(witnesses),
    }
