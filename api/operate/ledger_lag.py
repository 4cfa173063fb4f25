"""Lag of the database rows behind the ledger."""

from __future__ import annotations

import httpx

from chain.errors import ChainError
from chain.ledger import Ledger
from governance.certificates import trusted
from governance.readmodel import statistics
from governance.readmodel.database import Database

ANSWER_SECONDS = 1.0  # limit for one answer of the ledger


def newest_block(url: str, renew: bool = False) -> tuple[int, int]:
    """Number and time of the ledger's newest block. Raises ChainError within about two seconds.

    The dev chain's gateway mines a block if it is idle and asked for the newest one. Frequent
    requests must not fill the ledger, so the gateway is asked for its own count first; not with
    `renew`.
    """
    from chain.node import Node

    node = Node(url, timeout=ANSWER_SECONDS)
    number = None if renew else _head_of_gateway(url)
    block = node.call("eth_getBlockByNumber", ["latest" if number is None else hex(number), False])
    if not isinstance(block, dict):
        raise ChainError("the node does not have its newest block", "look at the ledger's log")
    return int(block["number"], 16), int(block["timestamp"], 16)


def lag_of(engine: Database, ledger: Ledger, newest: int | None = None) -> tuple[int, int]:
    """Blocks with events after the newest that the rows hold, and how long the oldest of them waits
    (seconds).

    Raises ChainError.
    """
    head = newest_block(ledger.node.url)[0] if newest is None else newest
    last = statistics.newest_row(engine) or int(ledger.identity["deployBlock"]) - 1
    missing = (
        sorted(
            {
                int(entry["blockNumber"], 16)
                for page in ledger.all_logs(last + 1, head)
                for entry in page
            }
        )
        if last < head
        else []
    )
    if not missing:
        return 0, 0
    times = [int(ledger.block(number)["timestamp"], 16) for number in (missing[0], head)]
    return len(missing), times[1] - times[0]


def _head_of_gateway(url: str) -> int | None:
    try:
        health = httpx.get(
            f"{url}/health", timeout=ANSWER_SECONDS, trust_env=False, verify=trusted()
        ).json()
    except (httpx.HTTPError, ValueError, RecursionError):
        return None
    head = health.get("head") if isinstance(health, dict) else None
    return head if type(head) is int else None
