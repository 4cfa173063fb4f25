"""The broker's own view of the ledger: raw JSON-RPC, every signature checked, never a step back.

1. The node must hold the pinned ledger: chain id and genesis block.
2. The newest block ever believed must still be there with the same hash, also after a restart.
3. Every transaction since is executed again by the fold, with every signature that leads to an access checked.
4. The fold's own head must be what `Trail.head()` says.
5. The newest block must be young: an idle or stuck node cannot show that a consent is still live.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from governance.keys import replace_private
from governance.verify import (
    Block,
    Finding,
    Fold,
    Malformed,
    canonical_json,
    identity_id,
    load_crypto,
    number,
    parse_block,
    parse_log,
    parse_transaction,
    part,
    raw,
    strict_json,
)

MAX_AGE = 60  # seconds between the newest block and the broker's clock, either way
PAGE = 500  # blocks fetched and folded at once
HEAD_CALL = "0x8f7dcfa3"  # Trail.head()


class NodeDown(Exception):
    """The node does not answer, is behind, or its clock is off."""


class OtherLedger(Exception):
    """The node shows another ledger than the pinned one, or one whose record does not add up."""


class LedgerBehind(Exception):
    """The node has lost a block that the broker has stood for: it was restored from an older copy, or rewritten."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the broker stands: the newest block it folded, and the trail's value there."""

    block: Block
    count: int
    value: bytes


class Node:
    """Follows one node; not safe for threads, the caller holds a lock."""

    def __init__(
        self,
        url: str,
        identity: dict[str, Any],
        clock: Callable[[], int],
        seen: Path,
        timeout: float = 5.0,
    ) -> None:
        """seen: where the newest block that an answer stood on is kept, whatever becomes of this process."""
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._timeout = timeout
        self._clock = clock
        self.identity = identity
        self.identity_id = identity_id(identity)
        self.fold = Fold(identity)
        self._crypto = load_crypto(self.fold.identity)
        self._addresses = [
            "0x" + address.hex() for address, _ in self.fold.identity.contracts.values()
        ]
        self._last: Block | None = None  # folded up to here
        self._path = seen
        self._seen = self._read_seen()  # number and hash; outlives a fold that is begun anew
        self._known = False

    def follow(self) -> Head:
        """Fold everything up to the newest block. Raises NodeDown, OtherLedger, LedgerBehind."""
        try:
            return self._follow_or_reset()
        except OtherLedger:  # a node may show a block a moment before its logs: only what stays wrong is another ledger
            return self._follow_or_reset()

    def stand_for(self, head: Head) -> None:
        """Keep the block that an answer stands on, on disk before the answer leaves."""
        replace_private(
            self._path, canonical_json({"block": head.block.number, "hash": head.block.hash.hex()})
        )

    def _read_seen(self) -> tuple[int, bytes] | None:
        if not self._path.exists():
            return None
        kept = strict_json(self._path.read_bytes())
        return number(part(kept, "block")), raw(part(kept, "hash"), 32)

    def _follow_or_reset(self) -> Head:
        try:
            return self._follow()
        except (Finding, Malformed) as error:
            self._reset()  # after a Finding a fold must not be used on: start over from the identity
            raise OtherLedger(str(error)) from None

    def _follow(self) -> Head:
        newest = parse_block(self._call("eth_getBlockByNumber", ["latest", False]))
        if abs(self._clock() - newest.timestamp) > MAX_AGE:
            raise NodeDown("the newest block and the broker's clock differ by more than a minute")
        if not self._known:
            self._check_ledger()
        if self._seen is not None:
            there, as_it_was = self._seen
            if newest.number < there or self._block(there).hash != as_it_was:
                raise LedgerBehind(f"block {there} is not there as it was")
        first = self._last.number + 1 if self._last else self.fold.identity.deploy_block
        for start in range(first, newest.number + 1, PAGE):
            end = min(newest.number, start + PAGE - 1)
            self._fold_page(start, end)
            self._last = newest if end == newest.number else self._block(end)
        count, value = self._trail_head(newest.number)
        if (count, value) != (self.fold.count, self.fold.head):
            raise Malformed("the trail's head is not the one its steps lead to")
        self._seen = (newest.number, newest.hash)
        return Head(newest, count, value)

    def _fold_page(self, first: int, last: int) -> None:
        """All of it is fetched before any of it is folded: a node that fails in between leaves the fold as it was."""
        logs: dict[bytes, list[Any]] = {}
        where = {"fromBlock": hex(first), "toBlock": hex(last), "address": self._addresses}
        for found in self._call("eth_getLogs", [where]):
            log = parse_log(found)
            logs.setdefault(log.tx, []).append(log)
        transactions = [
            parse_transaction(self._call("eth_getTransactionByHash", ["0x" + tx.hex()]))
            for tx in logs
        ]
        blocks = {number: self._block(number) for number in {tx.block for tx in transactions}}
        for transaction in transactions:
            self.fold.apply(
                blocks[transaction.block], transaction, logs[transaction.hash], self._crypto
            )

    def _check_ledger(self) -> None:
        pinned = self.fold.identity
        if (
            number(self._call("eth_chainId", [])) != pinned.chain_id
            or self._block(0).hash != pinned.genesis
        ):
            raise OtherLedger("the node's chain is not the pinned one")
        self._known = True

    def _trail_head(self, block: int) -> tuple[int, bytes]:
        """The contract's own answer at that block."""
        answer = raw(
            self._call("eth_call", [{"to": self._addresses[0], "data": HEAD_CALL}, hex(block)]), 64
        )
        return int.from_bytes(answer[:32], "big"), answer[32:]

    def _block(self, wanted: int) -> Block:
        return parse_block(self._call("eth_getBlockByNumber", [hex(wanted), False]))

    def _call(self, method: str, params: list[Any]) -> Any:
        """One JSON-RPC answer. Raises NodeDown for anything else."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection = http.client.HTTPConnection(*self._address, timeout=self._timeout)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            raise NodeDown("the node does not answer") from None
        finally:
            connection.close()
        if not isinstance(answer, dict) or answer.get("result") is None:
            raise NodeDown(f"the node refuses {method}")
        return answer["result"]

    def _reset(self) -> None:
        self.fold = Fold(self.identity)
        self._last = None
        self._known = False
