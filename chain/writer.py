"""The one writer of the dev chain: turns a transaction, or an idle head, into exactly one journaled block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from chain.errors import ChainError
from chain.journal import REFUSED, Entry, Journal
from chain.node import Node, NodeGone, NodeRefused

IDLE_SECONDS = 10       # a head older than this is renewed by an empty block: leases run on block time
SERVER_ERROR = -32000   # JSON-RPC's code for what the server itself refuses


class HistoryDiffers(ChainError):
    """Replaying the journal does not end in the blocks that were recorded."""


class GenesisDiffers(ChainError):
    """The folder's chain began at another time than the one asked for."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block: number, hash (0x-hex), time in seconds."""

    number: int
    hash: str
    time: int


class Writer:
    """Makes every block of the chain: journal line first, then one transaction in one block at clock time.

    Blocks of one second share its timestamp, so that block time never runs ahead of the clock.
    """

    def __init__(self, node: Node, journal: Journal, clock: Callable[[], int]) -> None:
        self._node, self._journal, self._clock = node, journal, clock
        self._wire = node.connect()
        self._lock = threading.Lock()
        self._unsettled = False     # a write is journaled and its outcome is not
        # anvil would mine when it likes and keep a transaction with a nonce gap for later: neither replays.
        self._wire.call("evm_setAutomine", False)
        self.head = self._read_head()[0]

    def replay(self) -> None:
        """Makes all journaled blocks again. Raises HistoryDiffers at the first that is not as recorded."""
        with self._lock:
            for entry in self._journal.entries():
                self._repeat(entry)

    def send(self, raw: str) -> str:
        """Mines one raw signed transaction (0x-hex) and returns its hash.

        Raises NodeRefused; NodeGone; OSError when the journal cannot be written, then nothing was sent.
        """
        with self._lock, self._recorded(raw) as at:
            try:
                sent = self._submit(raw)
            except NodeRefused:
                self._settle(REFUSED)
                raise
            included = self._mine(at)
            if included != [sent]:
                self._empty_pool()
            self._settle(self.head.hash)
        if included != [sent]:
            raise NodeRefused({"code": SERVER_ERROR, "message": "the transaction is not valid on this chain"})
        return sent

    def freshen(self) -> None:
        """Mines an empty block when the head is older than IDLE_SECONDS."""
        if self._clock() - self.head.time <= IDLE_SECONDS:
            return
        with self._lock:
            if self._clock() - self.head.time > IDLE_SECONDS:
                with self._recorded(None) as at:
                    self._mine(at)
                    self._settle(self.head.hash)

    def close(self) -> None:
        """Waits for the write in progress, then closes the journal for good."""
        self._lock.acquire()
        self._journal.close()
        self._wire.close()

    @contextmanager
    def _recorded(self, raw: str | None) -> Iterator[int]:
        """Journals a write and gives its block time. Left unsettled, it ends the node: a replay will tell."""
        if self._unsettled:
            raise NodeGone("the chain node has stopped")
        at = max(self._clock(), self.head.time)
        self._journal.append(at, raw)
        self._unsettled = True
        try:
            yield at
        finally:
            if self._unsettled:
                self._node.process.kill()

    def _settle(self, outcome: str) -> None:
        self._journal.settle(outcome)
        self._unsettled = False

    def _submit(self, raw: str) -> str:
        """Puts a transaction into the pool; refuses one that could not be mined at once."""
        sent = str(self._wire.call("eth_sendRawTransaction", raw))
        pool = cast(dict[str, str], self._wire.call("txpool_status"))
        if int(pool["pending"], 16) != 1:
            self._empty_pool()
            raise NodeRefused({"code": SERVER_ERROR, "message": "nonce too high"})
        return sent

    def _mine(self, at: int) -> list[str]:
        """Makes the next block from the pool; returns the hashes of its transactions."""
        self._wire.call("evm_mine", hex(at))
        self.head, included = self._read_head()
        return included

    def _repeat(self, entry: Entry) -> None:
        if entry.outcome == REFUSED:
            return
        try:
            sent = [self._submit(entry.raw)] if entry.raw is not None else []
            if self._mine(entry.time) != sent:
                self._empty_pool()
        except NodeRefused:
            if entry.outcome is not None:
                raise self._differs() from None
            self._journal.settle(REFUSED)
            return
        if entry.outcome is None:
            self._journal.settle(self.head.hash)
        elif entry.outcome != self.head.hash:
            raise self._differs()

    def _empty_pool(self) -> None:
        self._wire.call("anvil_dropAllTransactions")

    def _read_head(self) -> tuple[Head, list[str]]:
        block = cast(dict[str, object], self._wire.call("eth_getBlockByNumber", "latest", False))
        head = Head(int(str(block["number"]), 16), str(block["hash"]), int(str(block["timestamp"]), 16))
        return head, cast(list[str], block["transactions"])

    def _differs(self) -> HistoryDiffers:
        return HistoryDiffers(
            f"the journal no longer gives the ledger it recorded (after block {self.head.number})",
            "use the same anvil as before, restore the folder, or start a new ledger in an empty one")


def open_chain(folder: Path, anvil: str, genesis_time: int | None, isolated: bool,
               clock: Callable[[], int]) -> tuple[Node, Writer]:
    """Starts anvil on `folder` (made 0700) and replays its journal. Raises ChainError."""
    if genesis_time is not None and genesis_time > clock():
        raise GenesisDiffers("the genesis time lies in the future", "name one that has passed, or none")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    journal = Journal(folder / "journal.jsonl", clock() if genesis_time is None else genesis_time)
    try:
        if genesis_time not in (None, journal.genesis_time):
            raise GenesisDiffers("this folder holds a chain that began at another time",
                                 "leave the genesis time out, or name an empty folder")
        node = Node(folder, anvil, journal.genesis_time, isolated)
        try:
            writer = Writer(node, journal, clock)
            writer.replay()
        except ChainError:
            node.stop()
            raise
    except ChainError:
        journal.close()
        raise
    return node, writer
