"""What the projection tables say, as plain values: lists and single entries for the doors.

Nothing here decides: the tables can be thrown away, and the contracts never read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, Select, case, func, literal, select, union_all

from governance.errors import NotFound
from governance.readmodel.tables import (
    accesses,
    blocks,
    claims,
    consents,
    datasets,
    events,
    marks,
    members,
    outputs,
    permits,
    progress,
    records,
    run_records,
    runs,
    subjects,
)
from governance.rules.encoding import strict_json
from governance.runs import waiting

Noun = TypeVar("Noun")
_LOOK_AGAIN = "check the id; a new entry shows up once it is mined"


@dataclass(frozen=True, slots=True)
class Consent:
    """The newest consent of one person for one dataset; days are whole UTC days since 1970."""

    dataset: str
    status: int
    epoch: int
    version: int
    from_day: int
    until_day: int
    purposes: int
    categories: int


@dataclass(frozen=True, slots=True)
class Member:
    """An account's role; times in seconds, `version` counts its changes."""

    account: str
    role: int
    start: int
    end: int
    version: int


@dataclass(frozen=True, slots=True)
class Dataset:
    dataset: str
    custodian: str
    document: str
    records: int


@dataclass(frozen=True, slots=True)
class Permit:
    permit: str
    dataset: str
    applicant: str
    status: int
    expiry: int
    need: int
    categories: int
    code: str
    params_schema: str
    minimum: int
    output_classes: int
    request_hash: str
    yes: int
    no: int


@dataclass(frozen=True, slots=True)
class Run:
    run: str
    permit: str
    analyst: str
    params: str
    params_hash: str
    result_key: str
    deadline: int
    attempt: int
    state: str
    reason: int
    block: int


@dataclass(frozen=True, slots=True)
class Attempt:
    attempt: int
    granted: int
    denied: int
    block: int
    tx: str


@dataclass(frozen=True, slots=True)
class Output:
    run: str
    attempt: int
    seal_hash: str
    ciphertext: str
    commitment: str
    output_class: int
    statistics: int
    released: int
    release_tx: str


@dataclass(frozen=True, slots=True)
class Step:
    """How far an attempt is; `fraction` per mille."""

    attempt: int
    step: str
    fraction: int
    at: int


@dataclass(frozen=True, slots=True)
class Access:
    """One person in one attempt: who asked for what, and what the ledger decided. `time` in seconds.

    `state` is that attempt's, not the run's: denied (she was left out), released (its output left), superseded (a newer
    attempt exists), sealed, in progress, ended (nothing of it left and nothing will).
    """

    run: str
    attempt: int
    granted: bool
    reason: int
    block: int
    time: int
    tx: str
    analyst: str
    permit: str
    need: int
    categories: int
    state: str


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal of the ledger; `subject` is empty when the whole run was refused."""

    run: str
    attempt: int
    subject: str
    reason: int
    block: int


def signer_of(engine: Engine, subject: str) -> str:
    """The enrolled signer (hex) of a person, "" for nobody."""
    with engine.connect() as connection:
        query = select(subjects.c.signer).where(subjects.c.subject == subject)
        return str(connection.execute(query).scalar_one_or_none() or "")


def consents_of(engine: Engine, subject: str) -> list[Consent]:
    """Her newest consent for each dataset. Raises NotFound for a person who is not enrolled."""
    if not signer_of(engine, subject):
        raise NotFound("nobody is enrolled under this id", _LOOK_AGAIN)
    fields = [column for column in consents.c if column.name != "subject"]
    query = select(*fields).where(consents.c.subject == subject).order_by(consents.c.dataset)
    return _all(engine, Consent, query)


def list_members(engine: Engine, after: str, limit: int) -> list[Member]:
    """At most `limit` accounts with their roles, by account, from the one after `after` on."""
    query = select(members).where(members.c.account > after).order_by(members.c.account)
    return _all(engine, Member, query.limit(limit))


def list_datasets(engine: Engine) -> list[Dataset]:
    counted = select(func.count()).where(records.c.dataset == datasets.c.dataset).scalar_subquery()
    query = select(datasets, counted.label("records")).order_by(datasets.c.dataset)
    return _all(engine, Dataset, query)


def list_permits(engine: Engine) -> list[Permit]:
    return _all(engine, Permit, select(permits).order_by(permits.c.expiry, permits.c.permit))


def find_permit(engine: Engine, permit: str) -> Permit:
    """Raises NotFound."""
    found = _only(engine, select(permits).where(permits.c.permit == permit), "permit")
    return Permit(**found._mapping)


def list_runs(
    engine: Engine, state: str = "", limit: int | None = None, offset: int = 0
) -> list[Run]:
    """Newest first, at most `limit` after the first `offset`; in `state` only, when one is named."""
    query = select(runs).order_by(runs.c.block.desc(), runs.c.run).limit(limit).offset(offset)
    return _all(engine, Run, query.where(runs.c.state == state) if state else query)


def count_runs(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(runs)).scalar_one())


def params_of(engine: Engine, names: Sequence[str]) -> dict[str, str]:
    """The parameters of these runs, by run."""
    query = select(runs.c.run, runs.c.params).where(runs.c.run.in_(names))
    return {run: params for run, params in _rows(engine, query)}


def find_run(engine: Engine, run: str) -> Run:
    """Raises NotFound."""
    return Run(**_only(engine, select(runs).where(runs.c.run == run), "run")._mapping)


def attempts_of(engine: Engine, run: str) -> list[Attempt]:
    """The authorised attempts of a run with how many people were granted and denied, in order."""
    given = func.sum(case((accesses.c.granted, 1), else_=0))
    query = select(
        accesses.c.attempt,
        given.label("granted"),
        (func.count() - given).label("denied"),
        func.min(accesses.c.block).label("block"),
        func.min(accesses.c.tx).label("tx"),
    ).where(accesses.c.run == run)
    query = query.group_by(accesses.c.attempt).order_by(accesses.c.attempt)
    return _all(engine, Attempt, query)


def outputs_of(engine: Engine, run: str) -> list[Output]:
    """What was sealed for a run, by attempt."""
    query = select(outputs).where(outputs.c.run == run).order_by(outputs.c.attempt)
    return _all(engine, Output, query)


def progress_of(engine: Engine, run: str) -> list[Step]:
    """What the worker reported of a run, oldest first."""
    query = select(progress.c.attempt, progress.c.step, progress.c.fraction, progress.c.at)
    return _all(engine, Step, query.where(progress.c.run == run).order_by(progress.c.id))


def failure_of(engine: Engine, run: str) -> str:
    """Why no worker will try this run again, "" while one may."""
    with engine.connect() as connection:
        return str(
            connection.execute(
                select(claims.c.failed).where(claims.c.run == run)
            ).scalar_one_or_none()
            or ""
        )


def why_waiting(engine: Engine, run: Run, queue: Sequence[str] | None = None) -> str | None:
    """Why a queued or authorised run is not being computed, None when it is or has ended.

    queue: what `waiting` says, where it was asked already.
    """
    if run.state not in ("queued", "authorised"):
        return None
    with engine.connect() as connection:
        newest = select(progress.c.attempt, progress.c.step).where(progress.c.run == run.run)
        last = connection.execute(newest.order_by(progress.c.id.desc()).limit(1)).one_or_none()
        if last is not None and last.step != "stopped":
            return None
        queue = (
            waiting(engine) if queue is None else queue
        )  # whoever is computed before it counts too
        ahead = queue.index(run.run) if run.run in queue else 0
        place = f"{ahead} before it" if ahead else "next in the queue"
        if last is None:
            return f"waiting for a worker: {place}"
        note = connection.execute(
            select(marks.c.note).where(marks.c.name == f"stopped:{run.run}:{last.attempt}")
        ).scalar_one_or_none()
        return f"attempt {last.attempt} ended{f': {note}' if note else ''}; {place}"


def record_of(engine: Engine, run: str, attempt: int) -> dict[str, Any] | None:
    """The run record of a sealed attempt: device, peak memory, seconds by phase; None after a loss."""
    query = select(run_records.c.record).where(
        run_records.c.run == run, run_records.c.attempt == attempt
    )
    with engine.connect() as connection:
        text = connection.execute(query).scalar_one_or_none()
    found: Any = None if text is None else strict_json(text.encode())
    return found if isinstance(found, dict) else None


# What became of one access. A run that was released says nothing about its earlier attempts: a person may be in
# those only.
_CAME_OF_IT = case(
    (accesses.c.granted.is_(False), "denied"),
    (outputs.c.released > 0, "released"),
    (runs.c.attempt > accesses.c.attempt, "superseded"),
    (runs.c.state == "sealed", "sealed"),
    (claims.c.failed != "", "ended"),
    (runs.c.state == "authorised", "in progress"),
    else_="ended",
)


def runs_with(engine: Engine, subject: str, limit: int, offset: int = 0) -> list[str]:
    """So many of the runs that asked for this person's data, that with the newest access first."""
    query = select(accesses.c.run).where(accesses.c.subject == subject).group_by(accesses.c.run)
    query = query.order_by(func.max(accesses.c.block).desc(), accesses.c.run)
    return [run for (run,) in _rows(engine, query.limit(limit).offset(offset))]


def last_uses(engine: Engine, subject: str) -> dict[str, int]:
    """When this person's data was last used, in seconds, by dataset."""
    query = (
        select(permits.c.dataset, func.max(blocks.c.timestamp))
        .select_from(accesses)
        .join(blocks, blocks.c.number == accesses.c.block)
        .join(runs, runs.c.run == accesses.c.run)
        .join(permits, permits.c.permit == runs.c.permit)
        .where(accesses.c.subject == subject, accesses.c.granted)
        .group_by(permits.c.dataset)
    )
    return {dataset: time for dataset, time in _rows(engine, query)}


def count_uses(engine: Engine, subject: str) -> dict[tuple[str, str], int]:
    """How many runs stand where with this person's data, by (dataset, what came of her newest access)."""
    newest = (
        select(accesses.c.run, func.max(accesses.c.attempt).label("attempt"))
        .where(accesses.c.subject == subject)
        .group_by(accesses.c.run)
        .subquery()
    )
    query = (
        select(permits.c.dataset, _CAME_OF_IT, func.count())
        .select_from(accesses)
        .join(newest, (newest.c.run == accesses.c.run) & (newest.c.attempt == accesses.c.attempt))
        .outerjoin(
            outputs, (outputs.c.run == accesses.c.run) & (outputs.c.attempt == accesses.c.attempt)
        )
        .join(runs, runs.c.run == accesses.c.run)
        .join(permits, permits.c.permit == runs.c.permit)
        .outerjoin(claims, claims.c.run == runs.c.run)
        .where(accesses.c.subject == subject)
        .group_by(permits.c.dataset, _CAME_OF_IT)
    )
    return {(dataset, state): count for dataset, state, count in _rows(engine, query)}


def accesses_of(engine: Engine, subject: str, names: Sequence[str] | None = None) -> list[Access]:
    """Every time the ledger decided on this person's data, newest first; of these runs only, if named.

    Raises NotFound.
    """
    if not signer_of(engine, subject):
        raise NotFound("nobody is enrolled under this id", _LOOK_AGAIN)
    query = (
        select(
            accesses.c.run,
            accesses.c.attempt,
            accesses.c.granted,
            accesses.c.reason,
            accesses.c.block,
            blocks.c.timestamp.label("time"),
            accesses.c.tx,
            runs.c.analyst,
            runs.c.permit,
            permits.c.need,
            permits.c.categories,
            _CAME_OF_IT.label("state"),
        )
        .select_from(accesses)
        .outerjoin(
            outputs, (outputs.c.run == accesses.c.run) & (outputs.c.attempt == accesses.c.attempt)
        )
        .join(blocks, blocks.c.number == accesses.c.block)
        .join(runs, runs.c.run == accesses.c.run)
        .join(permits, permits.c.permit == runs.c.permit)
        .outerjoin(claims, claims.c.run == runs.c.run)
        .where(accesses.c.subject == subject)
        .order_by(accesses.c.block.desc(), accesses.c.attempt.desc())
    )
    if names is not None:
        query = query.where(accesses.c.run.in_(names))
    return _all(engine, Access, query)


def list_denials(engine: Engine, limit: int | None = None, offset: int = 0) -> list[Denial]:
    """People denied in an authorised attempt, and runs whose newest answer was a refusal, by block.

    At most `limit` after the first `offset`.
    """
    people = select(
        accesses.c.run,
        accesses.c.attempt,
        accesses.c.subject,
        accesses.c.reason,
        accesses.c.block,
    ).where(accesses.c.granted.is_(False))
    refused = select(
        runs.c.run, runs.c.attempt, literal("").label("subject"), runs.c.reason, runs.c.block
    ).where(runs.c.reason != 0)
    both = union_all(people, refused).subquery()
    query = select(both).order_by(both.c.block, both.c.run, both.c.subject)
    return _all(engine, Denial, query.limit(limit).offset(offset))


def find_receipt(engine: Engine, tx: str) -> dict[str, Any]:
    """Where a transaction of the trail stands: {tx, block, blockHash, time, count, head}. Raises NotFound."""
    query = (
        select(events.c.block, blocks.c.hash, blocks.c.timestamp, events.c.fields)
        .join(blocks, blocks.c.number == events.c.block)
        .where(events.c.tx == tx, events.c.name == "Head")
    )
    found = _only(engine, query, "step of the trail")
    step: Any = strict_json(found.fields.encode())
    return {
        "tx": tx,
        "block": found.block,
        "blockHash": found.hash,
        "time": found.timestamp,
        "count": step["count"],
        "head": step["head"],
    }


def newest_step(engine: Engine) -> dict[str, Any]:
    """{count, head} of the newest step that the rows know; what is read up to it can be checked against a trail."""
    query = select(events.c.fields).where(events.c.name == "Head")
    with engine.connect() as connection:
        found = connection.execute(query.order_by(events.c.step.desc()).limit(1)).scalar()
    step: Any = strict_json(found.encode()) if found else {"count": 0, "head": "00" * 32}
    return {"count": step["count"], "head": step["head"]}


def _all(engine: Engine, noun: Callable[..., Noun], query: Select[*tuple[Any, ...]]) -> list[Noun]:
    """A noun for each row, by the names of its columns: two of one type cannot change places unseen."""
    return [noun(**row._mapping) for row in _rows(engine, query)]


def _rows(engine: Engine, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    with engine.connect() as connection:
        return connection.execute(query).all()


def _only(engine: Engine, query: Select[*tuple[Any, ...]], what: str) -> Row[*tuple[Any, ...]]:
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no such {what}", _LOOK_AGAIN)
    return row
