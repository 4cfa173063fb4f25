"""Runs that wait for a worker: who holds which, until when, and what a worker said of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from governance.readmodel.tables import Claim, Event, Mark, Progress, Run, RunRecord
from governance.rules.encoding import canonical_json


def claim(engine: Engine, run: str, worker: str, now: int, seconds: int) -> Claim | None:
    """Take a run nobody holds; None when another worker does."""
    with (
        suppress(IntegrityError),
        engine.begin() as connection,
    ):  # another worker may be the first as well
        connection.execute(
            insert(Claim).values(run=run, worker=worker, token=1, until=now + seconds, failed="")
        )
        return Claim(run=run, worker=worker, token=1, until=now + seconds)
    with engine.begin() as connection:
        held = connection.execute(select(Claim).where(Claim.run == run)).one()
        if held.failed or (held.until > now and held.worker != worker):
            return None
        taken = connection.execute(
            update(Claim)
            .where(Claim.run == run, Claim.token == held.token)
            .values(worker=worker, token=held.token + 1, until=now + seconds)
        )
        if taken.rowcount != 1:
            return None
        return Claim(run=run, worker=worker, token=held.token + 1, until=now + seconds)


def give_up_all(engine: Engine, worker: str) -> None:
    """Let go of what an earlier process of this worker held: it was killed. One process works under one key."""
    with engine.begin() as connection:
        connection.execute(update(Claim).where(Claim.worker == worker).values(until=0))


def still_held(engine: Engine, held: Claim) -> bool:
    """Whether no newer claim exists; the caller MUST ask before each step that others can see."""
    query = select(Claim.token).where(Claim.run == held.run)
    with engine.connect() as connection:
        return connection.execute(query).scalar() == held.token


def give_up(engine: Engine, held: Claim) -> None:
    """Let another worker take the run at once."""
    with engine.begin() as connection:
        connection.execute(
            update(Claim).where(Claim.run == held.run, Claim.token == held.token).values(until=0)
        )


def hold_on(engine: Engine, held: Claim, until: int) -> None:
    """Keep a claim for longer; a newer one stays untouched."""
    with engine.begin() as connection:
        mine = (Claim.run == held.run, Claim.token == held.token)
        connection.execute(update(Claim).where(*mine).values(until=until))


def fail(engine: Engine, held: Claim, sentence: str) -> None:
    """No worker shall try this run again; `sentence` says why, without values."""
    with engine.begin() as connection:
        mine = (Claim.run == held.run, Claim.token == held.token)
        connection.execute(update(Claim).where(*mine).values(until=0, failed=sentence))


def try_again(connection: Connection, run: str) -> None:
    """Workers may take the run again: its analyst said so on the ledger."""
    connection.execute(update(Claim).where(Claim.run == run).values(failed=""))


def waiting(engine: Engine, now: int | None = None) -> list[str]:
    """Runs that a worker may take: queued, or authorised while nobody holds them; by their request, oldest first.

    Without a time also those that somebody holds: the whole queue.
    """
    out = Claim.failed != ""
    held = select(Claim.run).where(out if now is None else out | (Claim.until > now))
    asked = (Event.run == Run.run) & (
        Event.name == "RunRequested"
    )  # a stopped attempt costs no place
    query = (
        select(Run.run)
        .join(Event, asked)
        .where(Run.state.in_(("queued", "authorised")), Run.run.not_in(held))
    )
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(Event.block, Event.position)).scalars())


def tell(engine: Engine, run: str, attempt: int, step: str, fraction: float, now: int) -> None:
    """Record how far an attempt is; `fraction` from 0 to 1. State, not truth: it starts empty after a loss."""
    with engine.begin() as connection:
        row = {
            "run": run,
            "attempt": attempt,
            "step": step,
            "fraction": int(1000 * fraction),
            "at": now,
        }
        connection.execute(insert(Progress).values(row))


def mark(engine: Engine, name: str, note: str = "") -> None:
    """Remember that something happened now, to the millisecond, and why; the first time counts."""
    with suppress(IntegrityError), engine.begin() as connection:
        connection.execute(
            insert(Mark).values(name=name, at=time.time_ns() // 1_000_000, note=note)
        )


def keep_record(engine: Engine, run: str, attempt: int, record: Mapping[str, Any]) -> None:
    """Keep the run record of a sealed attempt: device, memory and seconds."""
    with suppress(IntegrityError), engine.begin() as connection:
        row = {"run": run, "attempt": attempt, "record": canonical_json(dict(record)).decode()}
        connection.execute(insert(RunRecord).values(row))
