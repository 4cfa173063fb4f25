"""The only writer of the dev chain: mines one journaled block for a transaction, or for an idle
head.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from chain.devnode.anvil import Node, NodeGone, NodeRefused
from chain.devnode.journal import REFUSED, Entry, Journal
from chain.devnode.snapshots import Snapshots
from chain.errors import ChainError

SNAPSHOT_SECONDS = 1.0  # of mining between two snapshots, about the duration of a restart
DUMP_SHARE = 10  # ... and at least so many times the duration of the last snapshot
STILL_SECONDS = 5.0  # more than any block takes
TELL_SECONDS = 1.0  # between two progress lines of a replay
CLOSE_SECONDS = 5.0  # a write in progress may take at the end
IDLE_SECONDS = 10  # a head older than this is renewed by an empty block: leases run on block time
SERVER_ERROR = -32000  # JSON-RPC's code for what the server itself refuses


class HistoryDiffers(ChainError):
    """Replaying the journal does not end in the blocks that were recorded."""


class GenesisDiffers(ChainError):
    """The folder's chain has another genesis time than the requested one."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block: number, hash (0x-hex), time in seconds."""

    number: int
    hash: str
    time: int


class Writer:
    """Makes every block of the chain: journal line first, then one transaction in one block at
    clock time.

    Blocks of one second share its timestamp, so that block time never runs ahead of the clock.
    """

    def __init__(
        self,
        node: Node,
        journal: Journal,
        snapshots: Snapshots,
        clock: Callable[[], int],
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        self._node, self._journal, self._snapshots, self._clock = node, journal, snapshots, clock
        self._snapshot_seconds = snapshot_seconds
        self._wire = node.connect()
        self._lock = threading.Lock()
        self._still = threading.Event()  # no block is being made
        self._still.set()
        self._unsettled = False  # a write is journaled, but not its outcome
        self._writes = 0  # in the journal, and done
        self._mining = self._dumping = 0.0  # seconds: since the last snapshot, and for it
        self._saving = threading.Lock()
        # anvil would mine at any time and keep a transaction with a nonce gap for later: neither
        # can be replayed.
        self._wire.call("evm_setAutomine", False)
        self.head = self._read_head()[0]

    def replay(self, done: int, total: int) -> None:
        """Makes the journaled blocks again; the node holds the first `done` of `total` writes
        already.

        Raises HistoryDiffers at the first block that is not as recorded.
        """
        recorded, reported_at = self.head.hash, time.monotonic()
        with self._lock:
            for entry in self._journal.entries():
                if time.monotonic() - reported_at >= TELL_SECONDS:
                    reported_at = time.monotonic()
                    tell_progress(self._writes, total)
                self._writes += 1
                if self._writes > done:
                    if recorded != self.head.hash:
                        raise self._differs()
                    self._repeat(entry)
                    recorded = self.head.hash
                elif entry.outcome not in (None, REFUSED):
                    recorded = entry.outcome

    def send(self, raw: str) -> str:
        """Mines one raw signed transaction (0x-hex) and returns its hash.

        Raises NodeRefused; NodeGone; OSError when the journal cannot be written, then nothing was
        sent.
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
        self._snapshot_when_due()
        if included != [sent]:
            raise NodeRefused(
                {"code": SERVER_ERROR, "message": "the transaction is not valid on this chain"}
            )
        return sent

    def await_still(self) -> None:
        """Waits while a block is being made: anvil shows parts of it before the rest."""
        self._still.wait(STILL_SECONDS)

    def freshen(self) -> None:
        """Mines an empty block if the head is older than IDLE_SECONDS."""
        if self._clock() - self.head.time <= IDLE_SECONDS:
            return
        with self._lock:
            if self._clock() - self.head.time > IDLE_SECONDS:
                with self._recorded(None) as at:
                    self._mine(at)
                    self._settle(self.head.hash)

    def close(self) -> None:
        """Waits for the write in progress, CLOSE_SECONDS at most, then closes the journal for good.

        A write that takes longer is journaled already: the next start finishes it.
        """
        self._lock.acquire(timeout=CLOSE_SECONDS)
        self._journal.close()
        self._wire.close()

    @contextmanager
    def _recorded(self, raw: str | None) -> Iterator[int]:
        """Journals a write and gives its block time. If it stays unsettled the node is stopped: a
        replay has the outcome.
        """
        if self._unsettled:
            raise NodeGone("the chain node has stopped")
        at = max(self._clock(), self.head.time)
        self._journal.append(at, raw)
        self._writes += 1
        self._unsettled = True
        self._still.clear()
        try:
            yield at
        finally:
            self._still.set()
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
        began = time.monotonic()
        self._wire.call("evm_mine", hex(at))
        self.head, included = self._read_head()
        self._mining += time.monotonic() - began
        return included

    def _snapshot_when_due(self) -> None:
        due = self._mining > max(self._snapshot_seconds, DUMP_SHARE * self._dumping)
        if due and self._saving.acquire(blocking=False):
            threading.Thread(target=self._snapshot, daemon=True).start()

    def _snapshot(self) -> None:
        """Dumps between two writes, and saves during later ones. A failure only makes the next
        restart slower.

        It has a separate connection: if the dump ends early, the connection for writes must stay
        open.
        """
        try:
            with closing(self._node.connect()) as wire:
                with self._lock:
                    if self._unsettled:
                        return
                    began, writes = time.monotonic(), self._writes
                    dump = wire.stream("anvil_dumpState")
                    first = next(dump, b"")
                    self._mining, self._dumping = 0.0, time.monotonic() - began
                self._snapshots.save(writes, itertools.chain([first], dump))
        except (ChainError, OSError) as error:
            tell("no snapshot", str(error))
        finally:
            self._saving.release()

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
        head = Head(
            int(str(block["number"]), 16), str(block["hash"]), int(str(block["timestamp"]), 16)
        )
        return head, cast(list[str], block["transactions"])

    def _differs(self) -> HistoryDiffers:
        return HistoryDiffers(
            f"the journal no longer gives the ledger it recorded (after block {self.head.number})",
            "use the same anvil as before, restore the folder, or start a new ledger in an empty one",
        )


def tell_progress(done: int, total: int) -> None:
    """Print the progress of the replay for the process that waits for the start."""
    print(f"replaying {done} {total}", flush=True)


def tell(event: str, fact: str) -> None:
    """One line of the log, in the format of the other processes' logs; it contains only texts of
    this program.
    """
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"part": "gateway", "event": event, "fact": fact, "level": "warning", "timestamp": at}
    print(json.dumps(line), file=sys.stderr, flush=True)


def open_chain(
    folder: Path,
    anvil: str,
    genesis_time: int | None,
    isolated: bool,
    clock: Callable[[], int],
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> tuple[Node, Writer]:
    """Starts anvil on `folder` (made 0700) and replays its journal. Raises ChainError."""
    if genesis_time is not None and genesis_time > clock():
        raise GenesisDiffers(
            "the genesis time lies in the future", "name one that has passed, or none"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    journal = Journal(folder / "journal.jsonl", clock() if genesis_time is None else genesis_time)
    snapshots = Snapshots(folder)

    def start(path: Path | None, done: int) -> tuple[Node, Writer]:
        node = Node(folder, anvil, journal.genesis_time, isolated, path)
        try:
            writer = Writer(node, journal, snapshots, clock, snapshot_seconds)
            writer.replay(done, total)
        except ChainError:
            node.stop()
            raise
        return node, writer

    try:
        if genesis_time not in (None, journal.genesis_time):
            raise GenesisDiffers(
                "this folder holds a chain that began at another time",
                "leave the genesis time out, or name an empty folder",
            )
        # Only a block of the journal proves the state that it was made from.
        total = proving = 0
        for total, entry in enumerate(journal.entries(), 1):
            if entry.outcome not in (None, REFUSED):
                proving = total
        for snapshot in snapshots.before(proving):
            try:
                return start(snapshot.path, snapshot.writes)
            except ChainError as error:
                tell(f"{snapshot.path.name} is not used", str(error))
        return start(None, 0)
    except ChainError:
        journal.close()
        raise
