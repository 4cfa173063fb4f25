"""The projection: derives database rows from ledger events; they can be deleted and rebuilt at any
time.

1. Raw logs and transactions of the new blocks are fetched.
2. The rules execute each transaction again and check every signature, which detects a node that
   alters one.
3. The rows that a page of blocks changes are written in one database transaction, in block order,
   once.
Several processes may project into one database: a block that another process wrote is replayed, not
written again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields as fields_of
from hashlib import sha256
from typing import Any, NamedTuple

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
from governance.objects.ingest import load_leaves
from governance.objects.leaves import Leaf
from governance.objects.vault import Bucket
from governance.readmodel import projectors, tables
from governance.readmodel.database import open_database, upsert, upsert_values
from governance.readmodel.run_states import State, next_state
from governance.readmodel.tables import PROJECTION, Row, table_of
from governance.rules.abi import decode_call
from governance.rules.encoding import Finding, Malformed, canonical_json
from governance.rules.ledger_data import (
    Block,
    Log,
    Transaction,
    identity_id,
    parse_block,
    parse_log,
    parse_transaction,
)
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import load_crypto
from governance.runs import try_again

BOUND_SECONDS = 2.0  # that one request may spend on new blocks
# By event, what it says, without its position.
_FIELDS = {
    kind.__name__: [
        field.name for field in fields_of(kind) if field.name not in ("block", "tx", "index")
    ]
    for kind in ev.Event.__subclasses__()
}
SLICE_SECONDS = 0.25  # of reading at once in the background; others wait no longer for the lock


class Step(NamedTuple):
    """A replayed transaction: its block, what it said, and the trail's count after it."""

    block: Block
    events: list[ev.Event]
    count: int  # type: ignore[assignment]  # hides a tuple's own method


class Projection:
    """The rows of one database, and the replayed state that they come from. Safe for threads."""

    def __init__(
        self, engine: Engine, ledger: Ledger, bucket: Bucket, bound: float | None = None
    ) -> None:
        """bound: seconds that one `sync` may take; with it the process MUST call `catch_up`
        whenever `behind` is set.
        """
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
        self._newest = b""  # the hash of the newest replayed block
        self._lists: dict[bytes, list[Leaf]] = {}  # by ingest
        self._waiting: set[bytes] = set()  # ingests whose leaf list could not be read yet
        self._voided: set[bytes] = set()  # ingests whose rows are to be deleted

    def _pin(self) -> None:
        """Bind the database to this ledger for ever. Raises DatabaseOfAnotherLedger."""
        ledger_id = identity_id(self._ledger.identity).hex()
        # Another process may pin it at the same time.
        with suppress(IntegrityError), self._engine.begin() as connection:
            if connection.execute(select(tables.PinnedLedger.identity)).scalar() is None:
                connection.execute(insert(tables.PinnedLedger).values(identity=ledger_id))
        with self._engine.connect() as connection:
            if connection.execute(select(tables.PinnedLedger.identity)).scalar() != ledger_id:
                raise DatabaseOfAnotherLedger(
                    "the database belongs to another ledger",
                    "name another database, or the ledger it was made with",
                )

    def reading(self) -> Progress | None:
        """The progress with the ledger while there is more to read than one `sync` reads."""
        return self.progress if self.behind.is_set() else None

    def sync(self) -> int:
        """Replay and write everything up to the newest block, and return its number.

        Raises CatchingUp if that takes longer than the bound, and at once while the background
        still reads; LedgerDown, LedgerInconsistent, LedgerBehind. The rows stay at the last
        complete block.
        """
        if self._bound is not None and self.behind.is_set():
            raise CatchingUp(self.progress.block, self.progress.newest)
        return self._sync(self._bound)

    def catch_up(self) -> bool:
        """Read for SLICE_SECONDS; returns whether everything has been read. Raises as `sync`,
        except CatchingUp.
        """
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
                self._start()  # after a Finding the state is unusable
                raise LedgerInconsistent(
                    f"the ledger does not add up: {error}", "compare with another node, and audit"
                ) from None
            except SQLAlchemyError:
                self._start()  # the state is ahead of the rows now
                raise
            if self._waiting or self._voided:
                with self._engine.begin() as connection:
                    self._write_records(connection)
            self._newest = newest.hash
            return last

    def _check_continuity(self, last: int) -> None:
        """Raise LedgerBehind unless the newest block in the rows still exists, unchanged."""
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
        """Replay the next page of blocks, then write the rows that it changes."""
        last, fetched, blocks = self._fetch(newest)
        steps: list[Step] = []
        for transaction, logs in fetched:
            block = blocks[transaction.block]
            self.replayed.apply(block, transaction, logs, self._crypto)
            events = self._decode(logs)
            self._remember(events, transaction.input)
            steps.append(Step(block, events, self.replayed.count))
        self._write(steps)
        self._next = last + 1

    def _decode(self, logs: Sequence[Log]) -> list[ev.Event]:
        decoded = (
            ev.decode_log(log.topics, log.data, log.block, log.tx, log.index) for log in logs
        )
        return [event for event in decoded if event is not None]

    def _write(self, steps: Sequence[Step]) -> None:
        """Write the rows of these steps that no other process has written."""
        with self._engine.begin() as connection:
            # A write first: it takes the lock, so that no other process projects between the read
            # and the write.
            connection.execute(
                update(tables.PinnedLedger).values(identity=tables.PinnedLedger.identity)
            )
            written = connection.execute(select(func.max(tables.Block.number))).scalar() or 0
            new = [step for step in steps if step.block.number > written]
            upsert(connection, tables.Block, [_block_row(step.block) for step in new])
            if new:
                rows = [event_values(event, step.count) for step in new for event in step.events]
                connection.execute(insert(tables.Event), rows)
            touched: dict[type[Row], dict[Any, None]] = {}
            accesses: list[dict[str, Any]] = []
            for step in new:
                for event in step.events:
                    if isinstance(event, ev.RunResumed):
                        try_again(connection, event.run.hex())
                    if isinstance(event, ev.AccessGranted | ev.AccessDenied):
                        accesses.append(projectors.access_values(event))
                        continue
                    for noun, key in projectors.touched(event):
                        touched.setdefault(noun, {})[key] = None
            upsert_values(connection, tables.Access, accesses)
            for noun, keys in touched.items():
                upsert(connection, noun, [projectors.build(self, noun, key) for key in keys])
            self._write_records(connection)

    def _fetch(
        self, newest: int
    ) -> tuple[int, list[tuple[Transaction, list[Log]]], dict[int, Block]]:
        """The page's last block, its transactions with their logs, and their blocks.

        Everything is fetched before anything is replayed: a node that fails in between leaves the
        state unchanged. A node may show a log a moment before the block of its transaction: the
        page is then fetched a second time.
        """
        for pause in (0.1, 0.0):
            logs: dict[bytes, list[Log]] = {}
            last, page = self._ledger.page_of_logs(self._next, newest, self._pages)
            for log in map(parse_log, page):
                logs.setdefault(log.tx, []).append(log)
            try:
                fetched = [
                    (parse_transaction(self._ledger.transaction(f"0x{tx.hex()}")), entries)
                    for tx, entries in logs.items()
                ]
                numbers = {tx.block for tx, _ in fetched}
                return last, fetched, {n: parse_block(self._ledger.block(n)) for n in numbers}
            except Malformed:
                if not pause:
                    raise
                time.sleep(pause)
        raise AssertionError("the loop returns or raises")

    def _remember(self, events: Iterable[ev.Event], calldata: bytes) -> None:
        """Keep what the replayed state lacks: run states, parameters, and ingests whose list is to
        be read.
        """
        for event in events:
            if isinstance(event, ev.RunRequested | ev.PlanRequested):
                # An analyst can sign any bytes: PostgreSQL keeps no text with a zero in it.
                params = decode_call(calldata)[2]["params"].decode("utf-8", "replace")
                self.params[event.run] = params.replace("\0", "\N{REPLACEMENT CHARACTER}")
            if isinstance(event, ev.RecordsSealed):
                self._waiting.add(event.ingest)
            if isinstance(event, ev.RecordsVoided):
                self._waiting.discard(event.ingest)
                self._lists.pop(event.ingest, None)
                self._voided.add(event.ingest)
            run = getattr(event, "run", None)
            if isinstance(run, bytes) and (
                run in self.states or isinstance(event, ev.RunRequested | ev.PlanRequested)
            ):
                self.states[run] = next_state(self.states.get(run), event)

    def records_of(self, dataset: bytes) -> list[Leaf]:
        """Every record of a dataset in its latest version, by record id: from lists whose roots are
        on the ledger.

        Records to read and candidates never come from the tables, which any user of the database
        can edit.
        """
        versions: dict[bytes, dict[int, Leaf]] = {}
        for leaves in self.lists_of(dataset).values():
            for leaf in leaves:
                versions.setdefault(leaf.record, {}).setdefault(leaf.version, leaf)
        return [versions[record][max(versions[record])] for record in sorted(versions)]

    def lists_of(self, dataset: bytes) -> dict[bytes, list[Leaf]]:
        """The leaf lists of a dataset by ingest, in the ledger's order."""
        with self._lock:
            return {
                ingest: self._lists[ingest]
                for ingest, entry in self.replayed.ingests.items()
                if entry.dataset == dataset and ingest in self._lists
            }

    def ingests_of(self, dataset: bytes) -> list[dict[str, Any]]:
        """The registrations of a dataset, in the ledger's order: {ingest, records, state, relaxed}.

        state: readable, void, or missing while the list cannot be read from the bucket.
        """
        with self._lock:
            return [
                {
                    "ingest": ingest.hex(),
                    "records": entry.count,
                    "relaxed": entry.relaxed,
                    "state": self._ingest_state(ingest, entry.void),
                }
                for ingest, entry in self.replayed.ingests.items()
                if entry.dataset == dataset
            ]

    def _ingest_state(self, ingest: bytes, void: bool) -> str:
        if void:
            return "void"
        return "missing" if ingest in self._waiting else "readable"

    def unread(self, dataset: bytes) -> bool:
        """Whether the record list of a registered ingest of this dataset could not be read yet."""
        return any(self.replayed.ingests[ingest].dataset == dataset for ingest in self._waiting)

    def _delete_voided(self, connection: Connection) -> None:
        """Delete the rows of void ingests; a later ingest's object of the same record and version
        takes their place.
        """
        for ingest in self._voided:
            connection.execute(delete(tables.Record).where(tables.Record.ingest == ingest.hex()))
            for remaining, leaves in self.lists_of(self.replayed.ingests[ingest].dataset).items():
                self._write_list(connection, remaining, leaves)
        self._voided.clear()

    def _write_records(self, connection: Connection) -> None:
        self._delete_voided(connection)
        # Datasets with an unread list: later registrations must not be written before it.
        blocked: set[bytes] = set()
        for ingest in sorted(self._waiting, key=list(self.replayed.ingests).index):
            entry = self.replayed.ingests[ingest]
            if entry.dataset in blocked:
                continue
            try:
                leaves = load_leaves(self._bucket, ingest, entry.dataset, entry.root)
            except (ObjectMissing, ObjectAltered, BucketUnavailable):
                blocked.add(entry.dataset)  # tried again at the next sync
                continue
            self._lists[ingest] = leaves
            self._write_list(connection, ingest, leaves)
            self._waiting.discard(ingest)

    def _write_list(self, connection: Connection, ingest: bytes, leaves: Sequence[Leaf]) -> None:
        """Write the records of an ingest; a (record, version) belongs to the ingest that was
        registered first.
        """
        dataset = self.replayed.ingests[ingest].dataset
        known = projectors.records_in(connection, dataset.hex())
        new = {
            (leaf.record.hex(), leaf.version): leaf
            for leaf in reversed(leaves)
            if (leaf.record.hex(), leaf.version) not in known
        }
        upsert(
            connection, tables.Record, [_record_row(ingest, dataset, leaf) for leaf in new.values()]
        )

    def rebuild(self) -> dict[str, int]:
        """Delete all derived rows and derive them again; returns the number of rows of each table."""
        with self._lock:
            with self._engine.begin() as connection:
                for noun in PROJECTION:
                    connection.execute(delete(noun))
            self._start()
            self.sync()
            return {name: count for name, (count, _) in self.fingerprints().items()}

    def fingerprints(self) -> dict[str, tuple[int, str]]:
        """By derived table, the number of rows and the sha256 over the sorted rows."""
        with self._engine.connect() as connection:
            return {
                noun.__tablename__: _fingerprint(_all_of(connection, noun)) for noun in PROJECTION
            }

    def compare(self) -> list[str]:
        """Derive all rows again in memory, and list each row of the database that differs from
        them.
        """
        with suppress(LedgerBehind):  # an edited block row causes this: the comparison names it
            self.sync()
        fresh = Projection(open_database("sqlite://"), self._ledger, self._bucket)
        fresh.sync()
        differences = []
        with self._engine.connect() as stored, fresh._engine.connect() as derived:
            for noun in PROJECTION:
                rows, derived_rows = _all_of(stored, noun), _all_of(derived, noun)
                differences += _differences(table_of(noun), rows, derived_rows)
        return differences


def _differences(
    table: Table, stored_rows: list[dict[str, Any]], derived_rows: list[dict[str, Any]]
) -> list[str]:
    names = [column.name for column in table.primary_key]

    def keyed(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {tuple(row[name] for name in names): row for row in rows}

    def named(key: tuple[Any, ...]) -> str:
        return f"{table.name} " + " ".join(
            f"{name} {value}" for name, value in zip(names, key, strict=True)
        )

    stored, derived = keyed(stored_rows), keyed(derived_rows)
    changed = [
        f"{named(key)}: {', '.join(c for c in row if row[c] != derived[key][c])} edited"
        for key, row in stored.items()
        if key in derived and row != derived[key]
    ]
    return (
        changed
        + [f"{named(key)}: deleted" for key in derived.keys() - stored.keys()]
        + [f"{named(key)}: not from the ledger" for key in stored.keys() - derived.keys()]
    )


def _all_of(connection: Connection, noun: type[Row]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(select(noun))]


def _fingerprint(rows: list[dict[str, Any]]) -> tuple[int, str]:
    lines = sorted(
        canonical_json({name: str(value) for name, value in row.items()}) for row in rows
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


def event_values(event: ev.Event, step: int) -> dict[str, Any]:
    """The row of an event, by column; `step` is the trail's count after its call."""
    values = {name: _plain(getattr(event, name)) for name in _FIELDS[type(event).__name__]}
    return {
        "block": event.block,
        "position": event.index,
        "tx": event.tx.hex(),
        "name": type(event).__name__,
        "run": values.get("run"),
        "subject": values.get("subject"),
        "step": step,
        "fields": canonical_json(values).decode(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    large = isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 53
    return str(value) if large else value
