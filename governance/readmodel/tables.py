"""The tables: rows derived from ledger events, and the little state that cannot be derived.

Projection tables can be thrown away and rebuilt (`volens rebuild`); state tables start empty after a loss.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex

from governance.errors import DatabaseBroken

OUTAGES = (
    OSError,
    OperationalError,
)  # of disk or database: they pass, and what they interrupted is tried again
DATABASE_FAULTS = (
    SQLAlchemyError,
    sqlite3.Error,
)  # every kind: also a damaged file, which does not pass
metadata = MetaData()
Database = Engine  # by this name the doors hold it
_ADDRESS = "set VOLENS_DATABASE_URL to one like sqlite:////folder/volens.db, or leave it away"

# --- derived from events -------------------------------------------------------------------------------------------

blocks = Table(
    "blocks",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("timestamp", Integer, nullable=False),
)
events = Table(
    "events",
    metadata,
    Column("block", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),  # of the log in its block
    Column("tx", String(64), nullable=False, index=True),
    Column("name", String(32), nullable=False, index=True),
    Column("run", String(64), index=True),
    Column("subject", String(64), index=True),
    Column("step", Integer),  # the trail's count after this call
    Column("fields", Text, nullable=False),  # canonical JSON
)
STEPS = Index("events_by_name_and_step", events.c.name, events.c.step)  # the newest steps of a kind
members = Table(
    "members",
    metadata,
    Column("account", String(42), primary_key=True),
    Column("role", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("version", Integer, nullable=False),  # how often the role was changed
)
subjects = Table(
    "subjects",
    metadata,
    Column("subject", String(64), primary_key=True),
    Column("signer", String(132), nullable=False, index=True),
    Column("assurance", Integer, nullable=False),
    Column("block", Integer, nullable=False),
)
datasets = Table(
    "datasets",
    metadata,
    Column("dataset", String(64), primary_key=True),
    Column("custodian", String(42), nullable=False),
    Column("document", String(64), nullable=False),
)
consents = Table(
    "consents",
    metadata,
    Column("dataset", String(64), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("status", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("from_day", Integer, nullable=False),
    Column("until_day", Integer, nullable=False),
    Column("purposes", Integer, nullable=False),
    Column("categories", Integer, nullable=False),
)
permits = Table(
    "permits",
    metadata,
    Column("permit", String(64), primary_key=True),
    Column("dataset", String(64), nullable=False),
    Column("applicant", String(42), nullable=False),
    Column("status", Integer, nullable=False),
    Column("expiry", Integer, nullable=False),
    Column("need", Integer, nullable=False),
    Column("categories", Integer, nullable=False),
    Column("code", String(64), nullable=False),
    Column("params_schema", String(64), nullable=False),
    Column("minimum", Integer, nullable=False),
    Column("output_classes", Integer, nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("yes", Integer, nullable=False),
    Column("no", Integer, nullable=False),
)
records = Table(
    "records",
    metadata,
    Column(
        "dataset", String(64), primary_key=True
    ),  # a custodian's records are no other custodian's
    Column("record", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("ingest", String(64), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("category", Integer, nullable=False),
    Column(
        "ciphertext", String(64), nullable=False
    ),  # sha256 of the object, which is its name in the bucket
    Column("key_commitment", String(64), nullable=False),
)
runs = Table(
    "runs",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("permit", String(64), nullable=False),
    Column("analyst", String(42), nullable=False),
    Column("params", Text, nullable=False),
    Column("params_hash", String(64), nullable=False),
    Column("result_key", String(64), nullable=False),
    Column("deadline", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # newest authorised, 0 before the first
    Column("state", String(12), nullable=False),
    Column("reason", Integer, nullable=False),  # of the newest refusal, 0 when there is none
    Column("block", Integer, nullable=False),
)
accesses = Table(
    "accesses",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("subject", String(64), primary_key=True, index=True),
    Column("granted", Boolean, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("block", Integer, nullable=False),
    Column("tx", String(64), nullable=False),
)
REFUSED = Index(  # people who were left out: few among very many accesses
    "accesses_refused",
    accesses.c.reason,
    sqlite_where=accesses.c.granted.is_(False),
    postgresql_where=accesses.c.granted.is_(False),
)
outputs = Table(
    "outputs",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("seal_hash", String(64), nullable=False),
    Column("ciphertext", String(64), nullable=False),
    Column("commitment", String(64), nullable=False),
    Column("output_class", Integer, nullable=False),
    Column("statistics", Integer, nullable=False),
    Column("released", Integer, nullable=False),  # block, 0 when it is not
    Column("release_tx", String(64), nullable=False),
)

PROJECTION = (
    blocks,
    events,
    members,
    subjects,
    consents,
    datasets,
    permits,
    records,
    runs,
    accesses,
    outputs,
)

# --- state ---------------------------------------------------------------------------------------------------------

pinned = Table(
    "pinned",
    metadata,
    Column("identity", String(64), primary_key=True),  # of the ledger these rows come from
)
outbox = Table(
    "outbox",
    metadata,
    Column("tx", String(64), primary_key=True),
    Column("sender", String(42), nullable=False),
    Column("nonce", Integer, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Index("outbox_by_sender", "sender", "nonce"),
)
claims = Table(
    "claims",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("worker", String(64), nullable=False),
    Column(
        "token", Integer, nullable=False
    ),  # fencing: rises at each claim, an older holder can write nothing
    Column("until", Integer, nullable=False),
    Column(
        "failed", Text, nullable=False, default=""
    ),  # why no worker will try again, in a plain sentence
)
challenges = Table(
    "challenges",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("expires", Integer, nullable=False),
)
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("account", String(42), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("expires", Integer, nullable=False),
)
approvals = Table(  # a checker's yes that waits for a second one over the identical decision
    "approvals",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("checker", String(42), primary_key=True),
    Column("decision", Text, nullable=False),  # canonical JSON, bytes in hex
    Column("signature", String(130), nullable=False),
    Column("deadline", Integer, nullable=False),
)
progress = Table(
    "progress",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(64), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("step", String(40), nullable=False),
    Column("fraction", Integer, nullable=False),  # per mille
    Column("at", Integer, nullable=False),
)
marks = Table(  # when something happened by this machine's clock; the ledger's blocks know whole seconds only
    "marks",
    metadata,
    Column(
        "name", String(160), primary_key=True
    ),  # mined:<tx> of a consent, stopped:<run>:<attempt>
    Column("at", BigInteger, nullable=False),  # milliseconds since 1970
    Column("note", Text, nullable=False),
)
run_records = Table(  # device, memory and seconds of an attempt: facts about the machine, not about the result
    "run_records",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("record", Text, nullable=False),  # canonical JSON
)


def open_database(url: str) -> Engine:
    """An engine on `url` with every table present; SQLite in WAL mode, durable at each commit. Raises DatabaseBroken.

    No error of the engine names the values of a statement: they are ids.
    """
    try:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        # One in-memory database is one connection; on disk every thread has its own.
        memory = (
            {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            if url == "sqlite://"
            else {}
        )
        engine = create_engine(url, hide_parameters=True, **memory)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise DatabaseBroken("the address of the database is none", _ADDRESS) from None
    except ImportError:
        raise DatabaseBroken(
            "the driver of this kind of database is not installed", _ADDRESS
        ) from None
    except OSError:
        raise DatabaseBroken(
            "the folder of the database cannot be made", "see who may write there"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    try:
        metadata.create_all(engine)
        with engine.begin() as connection:  # also in a database that is older than they are
            for index in (REFUSED, STEPS):
                connection.execute(CreateIndex(index, if_not_exists=True))
    except (*DATABASE_FAULTS, OSError):
        engine.dispose()
        raise DatabaseBroken(
            "the database does not answer, is damaged, or is none",
            "see VOLENS_DATABASE_URL, who may write there, and the free space; put a damaged file aside, then derive "
            "the rows anew: volens rebuild",
        ) from None
    return engine


def _durable(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


class TableOutbox:
    """Signed transactions that are not settled yet, committed before they are sent (chain.transactor.Outbox)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, sender: str, nonce: int, tx: bytes, raw: bytes) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                insert(outbox).values(tx=tx.hex(), sender=sender, nonce=nonce, raw=raw)
            )

    def settle(self, tx: bytes) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(outbox).where(outbox.c.tx == tx.hex()))

    def pending(self, sender: str) -> list[tuple[int, bytes, bytes]]:
        query = select(outbox).where(outbox.c.sender == sender).order_by(outbox.c.nonce)
        with self._engine.connect() as connection:
            return [
                (row.nonce, bytes.fromhex(row.tx), row.raw) for row in connection.execute(query)
            ]
