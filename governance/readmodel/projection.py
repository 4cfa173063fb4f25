"""The projection: rows derived from ledger events, thrown away and rebuilt at will.

1. Raw logs and transactions of the new blocks are fetched.
2. The auditor's fold executes each transaction again, every signature checked; a node that alters one is found out.
3. Rows of everything a block touched are written in one database transaction, in block order, once.
Several processes may project into one database: a block that another wrote is folded, not written again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields as fields_of
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from chain import events as ev
from chain.ledger import Ledger
from chain.paging import Pages, Progress
from governance.errors import (
    BucketUnavailable,
    CatchingUp,
    DatabaseOfAnotherLedger,
    LedgerBehind,
    LedgerInconsistent,
    ObjectAltered,
    ObjectMissing,
)
from governance.objects.ingest import Leaf, load_leaves
from governance.objects.vault import Bucket
from governance.readmodel import projectors, tables
from governance.readmodel.database import open_database, upsert, values_of
from governance.readmodel.run_states import State, next_state
from governance.readmodel.tables import PROJECTION, Row, table_of
from governance.rules.abi import decode_call
from governance.rules.encoding import Finding, Malformed, canonical_json
from governance.rules.ledger_data import (
    Block,
    Transaction,
    identity_id,
    parse_block,
    parse_log,
    parse_transaction,
)
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import load_crypto
from governance.runs import try_again

BOUND_SECONDS = 2.0  # that one request may take for what is new on the ledger
SLICE_SECONDS = (
    0.25  # of reading at once in the background; whoever waits for the lock waits for no longer
)


class Projection:
    """One database's rows, and the fold they come from. Safe for threads."""

    def __init__(
        self, engine: Engine, ledger: Ledger, bucket: Bucket, bound: float | None = None
    ) -> None:
        """bound: seconds that one `sync` may take; with it somebody MUST call `catch_up` whenever `behind` is set."""
        self._engine, self._ledger, self._bucket = engine, ledger, bucket
        self._bound, self._pages = bound, Pages()
        self.behind = threading.Event()  # set while there is more to read than one `sync` reads
        self._crypto = load_crypto(ReplayedState(ledger.identity).identity)
        self._lock = threading.RLock()
        self._start()
        self._pin()

    def _start(self) -> None:
        self.replayed = ReplayedState(self._ledger.identity)
        self.states: dict[bytes, State] = {}
        self.params: dict[bytes, str] = {}
        self._next = self.replayed.identity.deploy_block
        self.progress = Progress(self._next - 1, 0)
        self._newest = b""  # the hash of the newest block folded
        self._lists: dict[bytes, list[Leaf]] = {}  # by ingest
        self._waiting: set[bytes] = set()  # ingests whose leaf list the bucket did not hand out yet
        self._voided: set[bytes] = set()  # ingests whose rows are to be taken out

    def _pin(self) -> None:
        """The database belongs to one ledger, for good."""
        own = identity_id(self._ledger.identity).hex()
        with (
            suppress(IntegrityError),
            self._engine.begin() as connection,
        ):  # another process may pin it as well
            if connection.execute(select(tables.PinnedLedger.identity)).scalar() is None:
                connection.execute(insert(tables.PinnedLedger).values(identity=own))
        with self._engine.connect() as connection:
            if connection.execute(select(tables.PinnedLedger.identity)).scalar() != own:
                raise DatabaseOfAnotherLedger(
                    "the database belongs to another ledger",
                    "name another database, or the ledger it was made with",
                )

    def sync(self) -> int:
        """Fold and write everything up to the newest block, and return its number.

        Raises CatchingUp when that takes longer than the bound, and at once while others read on in the background;
        LedgerDown, LedgerInconsistent, LedgerBehind. The rows stay at the last whole block.
        """
        if self._bound is not None and self.behind.is_set():
            raise CatchingUp(self.progress.block, self.progress.newest)
        return self._sync(self._bound)

    def catch_up(self) -> bool:
        """Read on for SLICE_SECONDS; whether everything has been read. Raises as `sync` does, but for CatchingUp."""
        self.behind.set()
        try:
            self._sync(SLICE_SECONDS)
        except CatchingUp:
            return False
        self.behind.clear()
        return True

    def _sync(self, seconds: float | None) -> int:
        until = None if seconds is None else time.monotonic() + seconds
        with self._lock:
            newest = parse_block(self._ledger.block("latest"))
            last = newest.number
            if newest.hash != self._newest:
                self._check_continuity(last)
            self.progress = Progress(self._next - 1, last)
            try:
                while self._next <= last:
                    self._take(last)
                    self.progress = Progress(self._next - 1, last)
                    if until is not None and self._next <= last and time.monotonic() > until:
                        self.behind.set()
                        raise CatchingUp(self._next - 1, last)
            except (Finding, Malformed) as error:
                self._start()  # after a Finding a fold must not be used on
                raise LedgerInconsistent(
                    f"the ledger does not add up: {error}", "compare with another node, and audit"
                ) from None
            except SQLAlchemyError:
                self._start()  # the fold is ahead of the rows now
                raise
            if self._waiting or self._voided:
                with self._engine.begin() as connection:
                    self._write_records(connection)
            self._newest = newest.hash
            return last

    def _check_continuity(self, last: int) -> None:
        """The newest block that rows stand on is still there, as it was."""
        with self._engine.connect() as connection:
            newest = connection.execute(
                select(tables.Block).order_by(tables.Block.number.desc()).limit(1)
            ).first()
        gone = newest is not None and (
            newest.number > last
            or parse_block(self._ledger.block(newest.number)).hash.hex() != newest.hash
        )
        if gone or last < self._next - 1:
            self._start()
            raise LedgerBehind(
                "the ledger has lost blocks that it showed before",
                "stop, and restore the newest copy of the ledger's folder; if this is the newest, rows "
                "were edited: volens rebuild --compare",
            )

    def _take(self, newest: int) -> None:
        """The next page of blocks: fold all of it, then write what it touched."""
        last, fetched, known = self._fetch(newest)
        found: list[tuple[Block, list[ev.Event], int]] = []
        for transaction, own in fetched:
            block = known[transaction.block]
            self.replayed.apply(block, transaction, [parse_log(log) for log in own], self._crypto)
            happened = ev.parse_all(own)
            self._remember(happened, transaction.input)
            found.append((block, happened, self.replayed.count))
        with self._engine.begin() as connection:
            # A write first: it takes the lock, so nobody projects between our reading and our writing.
            connection.execute(
                update(tables.PinnedLedger).values(identity=tables.PinnedLedger.identity)
            )
            written = connection.execute(select(func.max(tables.Block.number))).scalar() or 0
            new = [item for item in found if item[0].number > written]
            upsert(connection, tables.Block, [_block_row(block) for block, _, _ in new])
            if new:
                said = [
                    values_of(event_row(event, step))
                    for _, happened, step in new
                    for event in happened
                ]
                connection.execute(insert(tables.Event), said)
            for _, happened, _ in new:
                for event in happened:
                    if isinstance(event, ev.RunResumed):
                        try_again(connection, event.run.hex())
            touched: dict[type[Row], dict[Any, None]] = {}
            for _, happened, _ in new:
                for event in happened:
                    for noun, key in projectors.touched(event):
                        touched.setdefault(noun, {})[key] = None
            for noun, keys in touched.items():
                upsert(connection, noun, [projectors.build(self, noun, key) for key in keys])
            self._write_records(connection)
        self._next = last + 1

    def _fetch(
        self, newest: int
    ) -> tuple[int, list[tuple[Transaction, list[dict[str, Any]]]], dict[int, Block]]:
        """The page's last block, its transactions with their logs, and their blocks: all before any of it is folded.

        A node that fails in between leaves the fold where it was. One may show a log a moment before it says in which
        block the transaction is: it is asked twice.
        """
        for pause in (0.1, 0.0):
            logs: dict[str, list[dict[str, Any]]] = {}
            last, found = self._ledger.page_of_logs(self._next, newest, self._pages)
            for log in found:
                logs.setdefault(log["transactionHash"], []).append(log)
            try:
                fetched = [
                    (parse_transaction(self._ledger.transaction(tx)), own)
                    for tx, own in logs.items()
                ]
                own_blocks = {tx.block for tx, _ in fetched}
                return last, fetched, {n: parse_block(self._ledger.block(n)) for n in own_blocks}
            except Malformed:
                if not pause:
                    raise
                time.sleep(pause)
        raise AssertionError("the loop returns or raises")

    def _remember(self, happened: Iterable[ev.Event], calldata: bytes) -> None:
        """What the fold does not keep: run states, parameters, and ingests whose list is to be read."""
        for event in happened:
            if isinstance(event, ev.RunRequested):
                self.params[event.run] = decode_call(calldata)[2]["params"].decode(
                    "utf-8", "replace"
                )
            if isinstance(event, ev.RecordsSealed):
                self._waiting.add(event.ingest)
            if isinstance(event, ev.RecordsVoided):
                self._waiting.discard(event.ingest)
                self._lists.pop(event.ingest, None)
                self._voided.add(event.ingest)
            run = getattr(event, "run", None)
            if isinstance(run, bytes) and (
                run in self.states or isinstance(event, ev.RunRequested)
            ):
                self.states[run] = next_state(self.states.get(run), event)

    def records_of(self, dataset: bytes) -> list[Leaf]:
        """Every record of a dataset in its latest version, by record id: from lists whose roots are on the ledger.

        What is read and who is a candidate is never taken from the tables, which anybody with the database may edit.
        """
        found: dict[bytes, dict[int, Leaf]] = {}
        for leaves in self.lists_of(dataset).values():
            for leaf in leaves:
                found.setdefault(leaf.record, {}).setdefault(leaf.version, leaf)
        return [found[record][max(found[record])] for record in sorted(found)]

    def lists_of(self, dataset: bytes) -> dict[bytes, list[Leaf]]:
        """The leaf lists of a dataset by ingest, in the ledger's order."""
        with self._lock:
            return {
                ingest: self._lists[ingest]
                for ingest, entry in self.replayed.ingests.items()
                if entry.dataset == dataset and ingest in self._lists
            }

    def ingests_of(self, dataset: bytes) -> list[dict[str, Any]]:
        """What was registered for a dataset, in the ledger's order: {ingest, records, state, relaxed}.

        state: readable, void, or missing while the bucket does not hand out the list.
        """
        with self._lock:
            return [
                {
                    "ingest": ingest.hex(),
                    "records": entry.count,
                    "relaxed": entry.relaxed,
                    "state": "void"
                    if entry.void
                    else "missing"
                    if ingest in self._waiting
                    else "readable",
                }
                for ingest, entry in self.replayed.ingests.items()
                if entry.dataset == dataset
            ]

    def unread(self, dataset: bytes) -> bool:
        """Whether an ingest of this dataset is on the ledger whose list of records could not be read yet."""
        return any(self.replayed.ingests[ingest].dataset == dataset for ingest in self._waiting)

    def _take_out_voided(self, connection: Connection) -> None:
        """Without a void ingest, what a later one registered of the same record and version counts."""
        for ingest in self._voided:
            connection.execute(delete(tables.Record).where(tables.Record.ingest == ingest.hex()))
            for other, leaves in self.lists_of(self.replayed.ingests[ingest].dataset).items():
                self._write_list(connection, other, leaves)
        self._voided.clear()

    def _write_records(self, connection: Connection) -> None:
        self._take_out_voided(connection)
        blocked: set[bytes] = (
            set()
        )  # datasets with an unread list: what was registered later must not come first
        for ingest in sorted(self._waiting, key=list(self.replayed.ingests).index):
            entry = self.replayed.ingests[ingest]
            if entry.dataset in blocked:
                continue
            try:
                leaves = load_leaves(self._bucket, ingest, entry.dataset, entry.root)
            except (ObjectMissing, ObjectAltered, BucketUnavailable):
                blocked.add(
                    entry.dataset
                )  # nothing can be read of it either; asked again at the next sync
                continue
            self._lists[ingest] = leaves
            self._write_list(connection, ingest, leaves)
            self._waiting.discard(ingest)

    def _write_list(self, connection: Connection, ingest: bytes, leaves: Sequence[Leaf]) -> None:
        """A (record, version) belongs to the ingest that was registered first."""
        dataset = self.replayed.ingests[ingest].dataset
        known = projectors.records_in(connection, dataset.hex())
        new = {
            (leaf.record.hex(), leaf.version): leaf
            for leaf in reversed(leaves)
            if (leaf.record.hex(), leaf.version) not in known
        }
        found = [_record_row(ingest, dataset, leaf) for leaf in new.values()]
        upsert(connection, tables.Record, found)

    def rebuild(self) -> dict[str, int]:
        """Throw all derived rows away and derive them again; returns the rows of each table."""
        with self._lock:
            with self._engine.begin() as connection:
                for noun in PROJECTION:
                    connection.execute(delete(noun))
            self._start()
            self.sync()
            return {name: count for name, (count, _) in self.fingerprints().items()}

    def fingerprints(self) -> dict[str, tuple[int, str]]:
        """Rows and sha256 over the sorted rows of each derived table."""
        with self._engine.connect() as connection:
            return {
                noun.__tablename__: _fingerprint(_all_of(connection, noun)) for noun in PROJECTION
            }

    def compare(self) -> list[str]:
        """Derive everything anew beside the database and name each row that differs (empty: none does)."""
        with suppress(LedgerBehind):  # an edited block looks like that: the comparison names it
            self.sync()
        fresh = Projection(open_database("sqlite://"), self._ledger, self._bucket)
        fresh.sync()
        found = []
        with self._engine.connect() as ours, fresh._engine.connect() as theirs:
            for noun in PROJECTION:
                found += _differences(table_of(noun), _all_of(ours, noun), _all_of(theirs, noun))
        return found


def _differences(
    table: Table, here: list[dict[str, Any]], derived: list[dict[str, Any]]
) -> list[str]:
    names = [column.name for column in table.primary_key]

    def keyed(found: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {tuple(row[name] for name in names): row for row in found}

    def named(key: tuple[Any, ...]) -> str:
        return f"{table.name} " + " ".join(
            f"{name} {value}" for name, value in zip(names, key, strict=True)
        )

    ours, theirs = keyed(here), keyed(derived)
    changed = [
        f"{named(key)}: {', '.join(c for c in row if row[c] != theirs[key][c])} edited"
        for key, row in ours.items()
        if key in theirs and row != theirs[key]
    ]
    return (
        changed
        + [f"{named(key)}: deleted" for key in theirs.keys() - ours.keys()]
        + [f"{named(key)}: not from the ledger" for key in ours.keys() - theirs.keys()]
    )


def _all_of(connection: Connection, noun: type[Row]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(select(noun))]


def _fingerprint(found: list[dict[str, Any]]) -> tuple[int, str]:
    lines = sorted(
        canonical_json({name: str(value) for name, value in row.items()}) for row in found
    )
    return len(lines), sha256(b"\n".join(lines)).hexdigest()


def _block_row(block: Block) -> tables.Block:
    return tables.Block(number=block.number, hash=block.hash.hex(), timestamp=block.timestamp)


def _record_row(ingest: bytes, dataset: bytes, leaf: Leaf) -> tables.Record:
    return tables.Record(
        dataset=dataset.hex(),
        record=leaf.record.hex(),
        version=leaf.version,
        ingest=ingest.hex(),
        subject=leaf.subject.hex(),
        category=leaf.category,
        ciphertext=leaf.ciphertext.hex(),
        key_commitment=leaf.key_commitment.hex(),
    )


def event_row(event: ev.Event, step: int) -> tables.Event:
    """The row of an event after which the trail has `step` steps."""
    own = {
        f.name: _plain(getattr(event, f.name))
        for f in fields_of(event)
        if f.name not in ("block", "tx", "index")
    }
    return tables.Event(
        block=event.block,
        position=event.index,
        tx=event.tx.hex(),
        name=type(event).__name__,
        run=own.get("run"),
        subject=own.get("subject"),
        step=step,
        fields=canonical_json(own).decode(),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return (
        str(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 53
        else value
    )
