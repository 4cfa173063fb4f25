"""Which worker and API processes are alive, and which of them holds a key.

A key belongs to one process: a transaction needs a number (nonce) that only one process can count,
and a worker gives up the claims of its predecessor. So the newest process that starts with a key
holds it, and an older one that is still there ends.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, delete, select, update

from chain.paging import Progress
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES, upsert
from governance.readmodel.tables import Process

Kind = Literal["worker", "api"]
ALIVE_SECONDS = 15  # a process whose last sign of life is older is down
_FAULTS = (*OUTAGES, *DATABASE_FAULTS)  # whatever it is, the next sign is tried again
SIGN_SECONDS = 3.0  # between two signs of life at least, unless what they say changes


class Presence:
    """The sign of life of this process, under its key. Safe for threads."""

    def __init__(
        self,
        engine: Engine,
        account: str,
        kind: Kind,
        progress: Callable[[], Progress | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the key over from an earlier process. Raises the database's errors.

        progress: with the ledger, None once it has been read.
        """
        self._engine, self._account, self._progress, self._clock = engine, account, progress, clock
        self._kind = kind
        self._instance = secrets.token_hex(16)
        self._given: tuple[float, bool] = (time.monotonic(), progress() is not None)
        self._lock = threading.Lock()
        self.replaced = threading.Event()  # a later process holds the key now
        own = Process(
            account=account, kind=kind, instance=self._instance, **self._values(progress())
        )
        with engine.begin() as connection:
            upsert(connection, Process, [own])

    def sign(self) -> None:
        """Write a sign of life, unless the last one is young; a database that is away gets none."""
        progress, now = self._progress(), time.monotonic()
        with self._lock:
            given, reading = self._given
            if now - given < SIGN_SECONDS and reading == (progress is not None):
                return
            self._given = (now, progress is not None)
        values = self._values(progress)
        with suppress(*_FAULTS), self._engine.begin() as connection:
            written = connection.execute(update(Process).where(*self._own()).values(values))
            if written.rowcount == 0:
                self._find_out(connection, values)

    def _find_out(self, connection: Connection, values: dict[str, Any]) -> None:
        """Our row is gone: another process has the key, or the database is an older copy."""
        query = select(Process.instance).where(Process.account == self._account)
        if connection.execute(query).scalar() is not None:
            self.replaced.set()
            return
        own = Process(account=self._account, kind=self._kind, instance=self._instance, **values)
        upsert(connection, Process, [own])

    def keep_signing(self, done: threading.Event, every: float = SIGN_SECONDS) -> None:
        """Sign until `done`, or until another process holds the key; for a thread."""
        while not self.replaced.is_set() and not done.wait(every):
            self.sign()

    def leave(self) -> None:
        """A stopped process has no sign of life."""
        with suppress(*_FAULTS), self._engine.begin() as connection:
            connection.execute(delete(Process).where(*self._own()))

    def _values(self, progress: Progress | None) -> dict[str, Any]:
        block, newest = (progress.block, progress.newest) if progress else (None, None)
        return {"at": int(self._clock()), "block": block, "newest": newest}

    def _own(self) -> tuple[ColumnElement[bool], ...]:
        return Process.account == self._account, Process.instance == self._instance


def is_alive(engine: Engine, account: str, now: float) -> bool:
    """Whether a process that uses this key gave a recent sign of life."""
    query = select(Process.at).where(Process.account == account)
    with engine.connect() as connection:
        at = connection.execute(query).scalar()
    return at is not None and abs(now - at) < ALIVE_SECONDS


def alive(engine: Engine, kind: Kind, now: float) -> list[Process]:
    """The processes of a kind with a recent sign of life, by account. A sign in the future does not
    count.
    """
    query = select(Process).where(Process.kind == kind).order_by(Process.account)
    with engine.connect() as connection:
        return [
            Process(**row._mapping)
            for row in connection.execute(query)
            if abs(now - row.at) < ALIVE_SECONDS
        ]
