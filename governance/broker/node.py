"""The broker's own view of the ledger: raw JSON-RPC, every signature checked, never a step back.

1. The node must hold the pinned ledger: chain id and genesis block.
2. The newest block ever believed must still be there with the same hash, also after a restart.
3. Every transaction since is executed again by the fold, with every signature that leads to an access checked.
4. The fold's own head must be what `Trail.head()` says.
5. The newest block must be young: an idle or stuck node cannot show that a consent is still live.

A long history is folded in pages, each kept. One call folds for FOLLOW_SECONDS at most: a broker that is further behind
lets out nothing until it has caught up, and says how far it is.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chain.paging import TOO_LARGE, Pages, Progress
from governance.objects.keys import replace_private
from governance.rules.encoding import (
    Finding,
    Malformed,
    canonical_json,
    number,
    part,
    raw,
    strict_json,
)
from governance.rules.ledger_data import (
    Block,
    identity_id,
    parse_block,
    parse_log,
    parse_transaction,
)
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import load_crypto

MAX_AGE = 60  # seconds between the newest block and the broker's clock, either way
FOLLOW_SECONDS = 2.0  # that one question may take for folding what is new
MAX_ANSWER = (
    32 << 20
)  # bytes of one answer that are read; a page that gives more is asked for in halves
HEAD_CALL = "0x8f7dcfa3"  # Trail.head()


class NodeDown(Exception):
    """The node does not answer, is behind, or its clock is off."""


class NodeSlow(NodeDown):
    """The node did not give this answer in time, or it is too large: for fewer blocks it may."""


class CatchingUp(Exception):
    """The broker has not folded the whole ledger yet; each question and each moment brings it further."""


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
        self._line = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout
        )
        self._pages = Pages()
        self._clock = clock
        self.identity = identity
        self.identity_id = identity_id(identity)
        self.replayed = ReplayedState(identity)
        self._crypto = load_crypto(self.replayed.identity)
        self._addresses = [
            "0x" + address.hex() for address, _ in self.replayed.identity.contracts.values()
        ]
        self._last: Block | None = None  # folded up to here
        self._path = seen
        self._seen = self._read_seen()  # number and hash; outlives a fold that is begun anew
        self._known = False
        # Read without a lock by whoever asks how far the broker is; before the first question nobody knows.
        self.progress = Progress(0, 0)

    def follow(self, seconds: float = FOLLOW_SECONDS) -> Head:
        """Fold everything up to the newest block, for so long at most.

        Raises CatchingUp (then ask again), NodeDown, OtherLedger, LedgerBehind.
        """
        until = time.monotonic() + seconds
        try:
            return self._follow_or_reset(until)
        except OtherLedger:  # a node may show a block a moment before its logs: only what stays wrong is another ledger
            return self._follow_or_reset(until)

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

    def _follow_or_reset(self, until: float) -> Head:
        try:
            return self._follow(until)
        except (Finding, Malformed) as error:
            self._reset()  # after a Finding a fold must not be used on: start over from the identity
            raise OtherLedger(str(error)) from None

    def _follow(self, until: float) -> Head:
        newest = parse_block(self._call("eth_getBlockByNumber", ["latest", False]))
        if abs(self._clock() - newest.timestamp) > MAX_AGE:
            raise NodeDown("the newest block and the broker's clock differ by more than a minute")
        if not self._known:
            self._check_ledger()
        if self._seen is not None:
            there, as_it_was = self._seen
            if newest.number < there or self._block(there).hash != as_it_was:
                raise LedgerBehind(f"block {there} is not there as it was")
        self._progress(newest)
        while not self.progress.complete:
            self._take_page(newest)
            self._progress(newest)
            if not self.progress.complete and time.monotonic() > until:
                raise CatchingUp(f"block {self.progress.block} of {newest.number}")
        count, value = self._trail_head(newest.number)
        if (count, value) != (self.replayed.count, self.replayed.head):
            raise Malformed("the trail's head is not the one its steps lead to")
        self._seen = (newest.number, newest.hash)
        return Head(newest, count, value)

    def _progress(self, newest: Block) -> None:
        folded = self._last.number if self._last else self.replayed.identity.deploy_block - 1
        self.progress = Progress(folded, newest.number)

    def _take_page(self, newest: Block) -> None:
        """Fetch and fold the next page; one that the node cannot give in time is asked for in halves."""
        first = self.progress.block + 1
        while True:
            end = self._pages.end(first, newest.number)
            try:
                events = self._replay_page(first, end)
                break
            except NodeSlow:
                if not self._pages.halve():
                    raise
        self._pages.took(end - first + 1, events)
        self._last = newest if end == newest.number else self._block(end)

    def _replay_page(self, first: int, last: int) -> int:
        """The number of events. All of it is fetched before any of it is folded: a node that fails in between leaves
        the fold as it was."""
        logs: dict[bytes, list[Any]] = {}
        where = {"fromBlock": hex(first), "toBlock": hex(last), "address": self._addresses}
        found = self._call("eth_getLogs", [where])
        for entry in found:
            log = parse_log(entry)
            logs.setdefault(log.tx, []).append(log)
        transactions = [
            parse_transaction(self._call("eth_getTransactionByHash", ["0x" + tx.hex()]))
            for tx in logs
        ]
        blocks = {number: self._block(number) for number in {tx.block for tx in transactions}}
        for transaction in transactions:
            self.replayed.apply(
                blocks[transaction.block], transaction, logs[transaction.hash], self._crypto
            )
        return len(found)

    def _check_ledger(self) -> None:
        pinned = self.replayed.identity
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
        """One JSON-RPC answer. Raises NodeSlow where fewer blocks may help, NodeDown for anything else."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            answer = json.loads(self._exchange(body))
        except TimeoutError:
            raise NodeSlow("the node does not answer in time") from None
        except (OSError, http.client.HTTPException, ValueError):
            raise NodeDown("the node does not answer") from None
        if not isinstance(answer, dict) or answer.get("result") is None:
            error = answer.get("error") if isinstance(answer, dict) else None
            slow = isinstance(error, dict) and error.get("code") == TOO_LARGE
            raise (NodeSlow if slow else NodeDown)(f"the node refuses {method}")
        return answer["result"]

    def _exchange(self, body: str) -> bytes:
        """The node's answer on a line that is kept; one that the node has closed meanwhile is opened again, once."""
        kept = self._line.sock is not None
        try:
            return self._ask(body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not kept:
                raise
            return self._ask(body)

    def _ask(self, body: str) -> bytes:
        try:
            self._line.request("POST", "/", body, {"Content-Type": "application/json"})
            data = self._line.getresponse().read(MAX_ANSWER + 1)
        except BaseException:
            self._line.close()  # a late answer must not become the next question's
            raise
        if len(data) > MAX_ANSWER:
            self._line.close()
            raise NodeSlow("the answer is too large")
        return data

    def _reset(self) -> None:
        self.replayed = ReplayedState(self.identity)
        self._last = None
        self._known = False
