"""The broker's own view of the ledger: reads a node by raw JSON-RPC, checks every signature,
refuses rollbacks.

1. The node must hold the pinned ledger: chain id and genesis block.
2. The newest block that the broker has accepted must still exist with the same hash, also after a
   restart.
3. Every later transaction is replayed by the rules, with every signature that leads to an access
   checked.
4. The replayed head must equal that of `Trail.head()`.
5. The newest block must be recent: an idle or stuck node cannot show that a consent is still live.

A long history is replayed in pages, each kept. One call replays for at most FOLLOW_SECONDS: a
broker that is further behind releases nothing until it has caught up, and reports its progress.
"""

from __future__ import annotations

import http.client
import json
import ssl
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
FOLLOW_SECONDS = 2.0  # that one request may spend on replaying new blocks
MAX_ANSWER = 32 << 20  # bytes of one response; a page with more is requested in halves
HEAD_CALL = "0x8f7dcfa3"  # Trail.head()


class NodeDown(Exception):
    """The node does not respond, is behind, or its clock is off."""


class NodeSlow(NodeDown):
    """The response was too slow or too large: a request for fewer blocks may succeed."""


class CatchingUp(Exception):
    """The broker has not replayed the whole ledger yet; it continues with each request and in the
    background.
    """


class OtherLedger(Exception):
    """The node shows another ledger than the pinned one, or a ledger that breaks its rules."""


class LedgerBehind(Exception):
    """The node has lost a block that a response was based on: it was restored from an older copy,
    or rewritten.
    """


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block that the broker replayed, and the trail's head there."""

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
        """seen: the file with the newest block that a response was based on; it survives this
        process.
        """
        self._connection = _connection_to(url, timeout)
        self._pages = Pages()
        self._clock = clock
        self.identity = identity
        self.identity_id = identity_id(identity)
        self.replayed = ReplayedState(identity)
        self._crypto = load_crypto(self.replayed.identity)
        self._addresses = [
            "0x" + address.hex() for address, _ in self.replayed.identity.contracts.values()
        ]
        self._last: Block | None = None  # the last replayed block
        self._path = seen
        self._seen = self._read_seen()  # number and hash; kept when the replay starts over
        self._known = False
        # Read without a lock by status requests; zero until the first request.
        self.progress = Progress(0, 0)

    def follow(self, seconds: float = FOLLOW_SECONDS) -> Head:
        """Replay everything up to the newest block, for at most so many seconds.

        Raises CatchingUp (then call again), NodeDown, OtherLedger, LedgerBehind.
        """
        until = time.monotonic() + seconds
        try:
            return self._follow_or_reset(until)
        except OtherLedger:
            # A node may show a block a moment before its logs, so only a second failure counts.
            return self._follow_or_reset(until)

    def save_head(self, head: Head) -> None:
        """Write to disk the block that a response is based on, before the response is sent."""
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
            self._reset()  # after a Finding the state is unusable: start over from the identity
            raise OtherLedger(str(error)) from None

    def _follow(self, until: float) -> Head:
        newest = parse_block(self._call("eth_getBlockByNumber", ["latest", False]))
        if abs(self._clock() - newest.timestamp) > MAX_AGE:
            raise NodeDown("the newest block and the broker's clock differ by more than a minute")
        if not self._known:
            self._check_ledger()
        if self._seen is not None:
            seen_number, seen_hash = self._seen
            if newest.number < seen_number or self._block(seen_number).hash != seen_hash:
                raise LedgerBehind(f"block {seen_number} is not there as it was")
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
        replayed = self._last.number if self._last else self.replayed.identity.deploy_block - 1
        self.progress = Progress(replayed, newest.number)

    def _take_page(self, newest: Block) -> None:
        """Fetch and replay the next page; a page that is too slow or too large is requested in
        halves.
        """
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
        """Replay the blocks, and return the number of events.

        Everything is fetched before anything is replayed: a node that fails in between leaves the
        state unchanged.
        """
        logs: dict[bytes, list[Any]] = {}
        criteria = {"fromBlock": hex(first), "toBlock": hex(last), "address": self._addresses}
        entries = self._call("eth_getLogs", [criteria])
        for entry in entries:
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
        return len(entries)

    def _check_ledger(self) -> None:
        pinned = self.replayed.identity
        if (
            number(self._call("eth_chainId", [])) != pinned.chain_id
            or self._block(0).hash != pinned.genesis
        ):
            raise OtherLedger("the node's chain is not the pinned one")
        self._known = True

    def _trail_head(self, block: int) -> tuple[int, bytes]:
        """Count and head of the trail, from the contract at that block."""
        answer = raw(
            self._call("eth_call", [{"to": self._addresses[0], "data": HEAD_CALL}, hex(block)]), 64
        )
        return int.from_bytes(answer[:32], "big"), answer[32:]

    def _block(self, height: int) -> Block:
        return parse_block(self._call("eth_getBlockByNumber", [hex(height), False]))

    def _call(self, method: str, params: list[Any]) -> Any:
        """The result of one JSON-RPC call. Raises NodeSlow if fewer blocks may help, else NodeDown."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            answer = json.loads(self._exchange(body))
        except TimeoutError:
            raise NodeSlow("the node does not answer in time") from None
        except (OSError, http.client.HTTPException, ValueError, RecursionError):
            raise NodeDown("the node does not answer") from None
        if not isinstance(answer, dict) or answer.get("result") is None:
            error = answer.get("error") if isinstance(answer, dict) else None
            slow = isinstance(error, dict) and error.get("code") == TOO_LARGE
            raise (NodeSlow if slow else NodeDown)(f"the node refuses {method}")
        return answer["result"]

    def _exchange(self, body: str) -> bytes:
        """The node's response on a kept connection, which is reopened once if the node has closed
        it meanwhile.
        """
        reused = self._connection.sock is not None
        try:
            return self._ask(body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not reused:
                raise
            return self._ask(body)

    def _ask(self, body: str) -> bytes:
        try:
            self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
            data = self._connection.getresponse().read(MAX_ANSWER + 1)
        except BaseException:
            self._connection.close()  # a late response must not be taken for the next one
            raise
        if len(data) > MAX_ANSWER:
            self._connection.close()
            raise NodeSlow("the answer is too large")
        return data

    def _reset(self) -> None:
        self.replayed = ReplayedState(self.identity)
        self._last = None
        self._known = False


def _connection_to(url: str, timeout: float) -> http.client.HTTPConnection:
    """Over https the node's certificate is checked against the system's authorities, or those in
    SSL_CERT_FILE.
    """
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, parts.port or 443, timeout=timeout, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, parts.port or 80, timeout=timeout)
