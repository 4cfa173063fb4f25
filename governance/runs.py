"""The run queue: claims of workers on runs, their progress, failures, time marks and run records."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from governance.notices.inbox import News, add
from governance.readmodel.tables import Claim, Event, Mark, Progress, Run, RunRecord
from governance.rules.encoding import canonical_json


def claim(engine: Engine, run: str, worker: str, now: int, seconds: int) -> Claim | None:
    """Claim a run that no worker has claimed; None if another worker has."""
    # Another worker may insert the first claim at the same time.
    with suppress(IntegrityError), engine.begin() as connection:
        connection.execute(
            insert(Claim).values(run=run, worker=worker, token=1, until=now + seconds, failed="")
        )
        return Claim(run=run, worker=worker, token=1, until=now + seconds)
    with engine.begin() as connection:
        current = connection.execute(select(Claim).where(Claim.run == run)).one()
        if current.failed or (current.until > now and current.worker != worker):
            return None
        taken = connection.execute(
            update(Claim)
            .where(Claim.run == run, Claim.token == current.token)
            .values(worker=worker, token=current.token + 1, until=now + seconds)
        )
        if taken.rowcount != 1:
            return None
        return Claim(run=run, worker=worker, token=current.token + 1, until=now + seconds)


def holders(engine: Engine, runs: Sequence[str]) -> dict[str, str]:
    """The worker that claimed a run last, by run."""
    query = select(Claim.run, Claim.worker).where(Claim.run.in_(runs))
    with engine.connect() as connection:
        return {run: worker for run, worker in connection.execute(query)}


def take_next(engine: Engine, worker: str, now: int, seconds: int) -> Claim | None:
    """Claim the first waiting run that no other worker claims meanwhile; None if there is none."""
    for run in waiting(engine, now):
        own = claim(engine, run, worker, now, seconds)
        if own is not None:
            return own
    return None


def give_up_all(engine: Engine, worker: str) -> None:
    """Release all claims of a killed earlier process of this worker. Only one process works under
    one key.
    """
    with engine.begin() as connection:
        connection.execute(update(Claim).where(Claim.worker == worker).values(until=0))


def still_held(engine: Engine, claim: Claim) -> bool:
    """Whether no newer claim exists; the caller MUST check before each step that others can see."""
    query = select(Claim.token).where(Claim.run == claim.run)
    with engine.connect() as connection:
        return connection.execute(query).scalar() == claim.token


def give_up(engine: Engine, claim: Claim) -> None:
    """Let another worker claim the run at once."""
    with engine.begin() as connection:
        connection.execute(
            update(Claim).where(Claim.run == claim.run, Claim.token == claim.token).values(until=0)
        )


def hold_on(engine: Engine, claim: Claim, until: int) -> None:
    """Extend a claim; a newer claim is not changed."""
    with engine.begin() as connection:
        mine = (Claim.run == claim.run, Claim.token == claim.token)
        connection.execute(update(Claim).where(*mine).values(until=until))


def fail(engine: Engine, claim: Claim, sentence: str) -> None:
    """Mark that no worker shall try this run again; `sentence` says why, without values. Its
    analyst, or a plan's clinician, gets a notice.
    """
    with engine.begin() as connection:
        mine = (Claim.run == claim.run, Claim.token == claim.token)
        marked = connection.execute(update(Claim).where(*mine).values(until=0, failed=sentence))
        asked = select(Run.analyst, Run.subject).where(Run.run == claim.run)
        run = connection.execute(asked).one_or_none()
        if marked.rowcount and run:
            source, now = f"{claim.run}:{claim.token}", int(time.time())
            kind = "plan-failed" if run.subject else "run-failed"
            add(connection, [News(run.analyst, kind, source, claim.run, now)])


def try_again(connection: Connection, run: str) -> None:
    """Let workers claim the run again, after its analyst resumed it on the ledger."""
    connection.execute(update(Claim).where(Claim.run == run).values(failed=""))


def waiting(engine: Engine, now: int | None = None) -> list[str]:
    """Runs that a worker may claim: queued, or authorised without a live claim; the oldest request
    first.

    Without a time, claimed runs are included: the complete queue.
    """
    failed = Claim.failed != ""
    unavailable = select(Claim.run).where(failed if now is None else failed | (Claim.until > now))
    # Ordered by the request: a run keeps its position in the queue after a stopped attempt.
    requested = (Event.run == Run.run) & Event.name.in_(("RunRequested", "PlanRequested"))
    query = (
        select(Run.run)
        .join(Event, requested)
        .where(Run.state.in_(("queued", "authorised")), Run.run.not_in(unavailable))
    )
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(Event.block, Event.position)).scalars())


def tell(engine: Engine, run: str, attempt: int, step: str, fraction: float, now: int) -> None:
    """Record the progress of an attempt; `fraction` from 0 to 1. Not derived from the ledger: empty
    after a loss.
    """
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
    """Record the time of an event, in milliseconds, and a note; only the first call counts."""
    with suppress(IntegrityError), engine.begin() as connection:
        connection.execute(
            insert(Mark).values(name=name, at=time.time_ns() // 1_000_000, note=note)
        )


def keep_record(engine: Engine, run: str, attempt: int, record: Mapping[str, Any]) -> None:
    """Keep the run record of a sealed attempt: device, memory and seconds."""
    with suppress(IntegrityError), engine.begin() as connection:
        row = {"run": run, "attempt": attempt, "record": canonical_json(dict(record)).decode()}
        connection.execute(insert(RunRecord).values(row))
