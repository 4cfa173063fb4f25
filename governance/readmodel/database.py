"""Opens the database, tells temporary faults from lasting ones, and stores the transactor's outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from governance.errors import DatabaseBroken
from governance.readmodel import schema
from governance.readmodel.tables import OutboxEntry, PinnedLedger, Row, table_of

# Outages of disk or database: they are temporary, and the interrupted work is tried again.
OUTAGES = (OSError, OperationalError)
# Every fault, including a damaged file, which is not temporary.
DATABASE_FAULTS = (SQLAlchemyError, sqlite3.Error)
Database = Engine  # the name that routes use
DatabaseAway = OperationalError  # the name for those who answer a request
_ADDRESS = "set VOLENS_DATABASE_URL to one like sqlite:////folder/volens.db, or leave it away"
_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def open_database(url: str) -> Engine:
    """An engine on `url` with every table present and up to date; SQLite in WAL mode, durable at
    each commit. Raises DatabaseBroken.

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
        # A connection that the server has closed meanwhile is replaced before it is used.
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, **memory)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise DatabaseBroken("the address of the database is invalid", _ADDRESS) from None
    except ImportError:
        raise DatabaseBroken(
            "the driver of this kind of database is not installed",
            "for PostgreSQL: pip install 'volens[postgres]'",
        ) from None
    except OSError:
        raise DatabaseBroken(
            "the folder of the database cannot be made", "see who may write there"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    try:
        schema.prepare(engine)
    except DatabaseBroken:
        engine.dispose()
        raise
    except (*DATABASE_FAULTS, OSError):
        engine.dispose()
        raise DatabaseBroken(
            "the database does not answer, is damaged, or is none",
            "see VOLENS_DATABASE_URL, who may write there, and the free space; put a damaged file aside, then derive "
            "the rows anew: volens rebuild",
        ) from None
    return engine


def is_in_use(engine: Engine) -> bool:
    """Whether the database belongs to a ledger already."""
    with engine.connect() as connection:
        return connection.execute(select(PinnedLedger)).first() is not None


def server_version(engine: Engine) -> str:
    """The version of PostgreSQL, "" for SQLite, which is no server."""
    if engine.dialect.name != "postgresql":
        return ""
    with engine.connect() as connection:
        return str(connection.execute(text("SHOW server_version")).scalar())


def _durable(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


class TableOutbox:
    """Signed transactions that are not settled yet, committed before they are sent
    (chain.transactor.Outbox).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, sender: str, nonce: int, tx: bytes, raw: bytes) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                insert(OutboxEntry).values(tx=tx.hex(), sender=sender, nonce=nonce, raw=raw)
            )

    def settle(self, tx: bytes) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(OutboxEntry).where(OutboxEntry.tx == tx.hex()))

    def pending(self, sender: str) -> list[tuple[int, bytes, bytes]]:
        query = select(OutboxEntry).where(OutboxEntry.sender == sender).order_by(OutboxEntry.nonce)
        with self._engine.connect() as connection:
            return [
                (row.nonce, bytes.fromhex(row.tx), row.raw) for row in connection.execute(query)
            ]


def upsert(connection: Connection, noun: type[Row], rows: Sequence[Row]) -> None:
    """Insert or replace rows by their keys, in one statement; of several with the same key the last
    one counts.
    """
    upsert_values(connection, noun, [values_of(row) for row in rows])


def upsert_values(
    connection: Connection, noun: type[Row], rows: Sequence[Mapping[str, Any]]
) -> None:
    """The same of many rows that are no objects yet, by column: to make objects of them takes as
    long as to write them.
    """
    table = table_of(noun)
    keys = [column.name for column in table.primary_key]
    newest = {tuple(row[key] for key in keys): row for row in rows}
    if not newest:
        return
    statement = _INSERTS[connection.dialect.name](table)
    replaced = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=replaced), list(newest.values())
    )


def insert_new(connection: Connection, noun: type[Row], rows: Sequence[Row]) -> None:
    """Insert the rows whose keys are not there yet."""
    if rows:
        statement = _INSERTS[connection.dialect.name](table_of(noun)).on_conflict_do_nothing()
        connection.execute(statement, [values_of(row) for row in rows])


def values_of(row: Row) -> dict[str, Any]:
    """The values of a row, by column name."""
    return {column.name: getattr(row, column.name) for column in table_of(type(row)).columns}
