"""Queries of the projection tables, for routes and pages: lists and single entries as plain values.

They decide nothing: the tables can be deleted and rebuilt, and the contracts never read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, Select, case, func, literal, select, union_all

from chain.vocabulary import PermitStatus
from governance.errors import NotFound
from governance.readmodel.tables import (
    Access,
    Block,
    Claim,
    Consent,
    Dataset,
    Event,
    Mark,
    Member,
    Output,
    Permit,
    Progress,
    Record,
    Run,
    RunRecord,
    Subject,
)
from governance.rules.encoding import strict_json
from governance.runs import waiting

Noun = TypeVar("Noun")
_CHECK_ID = "check the id; a new entry shows up once it is mined"


@dataclass(frozen=True, slots=True)
class DatasetSize:
    """A dataset and its number of records."""

    dataset: str
    custodian: str
    document: str
    records: int


@dataclass(frozen=True, slots=True)
class Attempt:
    attempt: int
    granted: int
    denied: int
    block: int
    tx: str


@dataclass(frozen=True, slots=True)
class Step:
    """The progress of an attempt; `fraction` in thousandths."""

    attempt: int
    step: str
    fraction: int
    at: int


@dataclass(frozen=True, slots=True)
class AccessDetail:
    """One person in one attempt: the analyst's request and the ledger's decision. `time` in
    seconds.

    `state` is that attempt's, not the run's: denied (she was left out), released (its output was
    released), superseded (a newer attempt exists), sealed, in progress, ended (nothing was or will
    be released).
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
    """A refusal of the ledger; `subject` is empty if the run itself was refused."""

    run: str
    attempt: int
    subject: str
    reason: int
    block: int


def subjects_of(engine: Engine, signer: str, most: int) -> list[str]:
    """The ids of at most so many people whose enrolled signer (hex) this is."""
    with engine.connect() as connection:
        query = select(Subject.subject).where(Subject.signer == signer).limit(most)
        return list(connection.execute(query).scalars())


def signer_of(engine: Engine, subject: str) -> str:
    """The enrolled signer (hex) of a person, "" if she is not enrolled."""
    with engine.connect() as connection:
        query = select(Subject.signer).where(Subject.subject == subject)
        return str(connection.execute(query).scalar_one_or_none() or "")


def consents_of(engine: Engine, subject: str) -> list[Consent]:
    """Her newest consent for each dataset. Raises NotFound for a person who is not enrolled."""
    if not signer_of(engine, subject):
        raise NotFound("nobody is enrolled under this id", _CHECK_ID)
    query = select(Consent).where(Consent.subject == subject).order_by(Consent.dataset)
    return _all(engine, Consent, query)


def list_members(engine: Engine, after: str, limit: int) -> list[Member]:
    """At most `limit` accounts with their roles, ordered by account, after the account `after`."""
    query = select(Member).where(Member.account > after).order_by(Member.account)
    return _all(engine, Member, query.limit(limit))


def list_datasets(engine: Engine, limit: int | None = None, offset: int = 0) -> list[DatasetSize]:
    query = _datasets().order_by(Dataset.dataset).limit(limit).offset(offset)
    return _all(engine, DatasetSize, query)


def document_of(engine: Engine, dataset: str) -> str:
    """The hash of a dataset's description, "" for an unknown dataset."""
    with engine.connect() as connection:
        query = select(Dataset.document).where(Dataset.dataset == dataset)
        return str(connection.execute(query).scalar_one_or_none() or "")


def people_by_category(engine: Engine, dataset: str) -> dict[int, int]:
    """How many people have records of each category in a dataset; not for release as it is."""
    query = (
        select(Record.category, func.count(Record.subject.distinct()))
        .where(Record.dataset == dataset)
        .group_by(Record.category)
        .order_by(Record.category)
    )
    return {category: people for category, people in _rows(engine, query)}


def find_dataset(engine: Engine, dataset: str) -> DatasetSize:
    """Raises NotFound."""
    row = _only(engine, _datasets().where(Dataset.dataset == dataset), "dataset")
    return DatasetSize(**row._mapping)


def list_permits(
    engine: Engine,
    status: int | None = None,
    applicant: str = "",
    dataset: str = "",
    limit: int | None = None,
    offset: int = 0,
) -> list[Permit]:
    """Permits, those that end last first, at most `limit` after the first `offset`; only those with
    this status, of this applicant, for this dataset, if given.
    """
    query = select(Permit).order_by(Permit.expiry.desc(), Permit.permit)
    if status is not None:
        query = query.where(Permit.status == status)
    if applicant:
        query = query.where(Permit.applicant == applicant)
    if dataset:
        query = query.where(Permit.dataset == dataset)
    return _all(engine, Permit, query.limit(limit).offset(offset))


def is_code_of_a_permit(engine: Engine, code: str) -> bool:
    """Whether a permit names this code hash."""
    with engine.connect() as connection:
        query = select(Permit.permit).where(Permit.code == code).limit(1)
        return connection.execute(query).first() is not None


def find_permit(engine: Engine, permit: str) -> Permit:
    """Raises NotFound."""
    row = _only(engine, select(Permit).where(Permit.permit == permit), "permit")
    return Permit(**row._mapping)


def shut_among(engine: Engine, runs: Sequence[Run]) -> set[str]:
    """The released runs among these whose permit is suspended: no key to their results leaves."""
    permits = {run.permit for run in runs if run.state == "released"}
    query = select(Permit.permit).where(
        Permit.permit.in_(permits), Permit.status == int(PermitStatus.SUSPENDED)
    )
    with engine.connect() as connection:
        suspended = set(connection.execute(query).scalars()) if permits else set()
    return {run.run for run in runs if run.state == "released" and run.permit in suspended}


def list_runs(
    engine: Engine,
    state: str = "",
    limit: int | None = None,
    offset: int = 0,
    analyst: str = "",
) -> list[Run]:
    """Runs of research, newest first, at most `limit` after the first `offset`; only those in
    `state`, and of this analyst, if given. Plans are in no list that others read (`list_plans`).
    """
    query = (
        select(Run)
        .where(Run.subject == "")
        .order_by(Run.block.desc(), Run.run)
        .limit(limit)
        .offset(offset)
    )
    if state:
        query = query.where(Run.state == state)
    return _all(engine, Run, query.where(Run.analyst == analyst) if analyst else query)


def count_runs(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).where(Run.subject == "")).scalar_one())


def params_of(engine: Engine, names: Sequence[str]) -> dict[str, str]:
    """The parameters of these runs, by run."""
    query = select(Run.run, Run.params).where(Run.run.in_(names))
    return {run: params for run, params in _rows(engine, query)}


def find_run(engine: Engine, run: str) -> Run:
    """A run of research. Raises NotFound, also for a plan."""
    query = select(Run).where(Run.run == run, Run.subject == "")
    return Run(**_only(engine, query, "run")._mapping)


def find_plan(engine: Engine, run: str) -> Run:
    """The run of a plan. Raises NotFound."""
    query = select(Run).where(Run.run == run, Run.subject != "")
    return Run(**_only(engine, query, "plan")._mapping)


def list_plans(
    engine: Engine,
    clinician: str = "",
    subject: str = "",
    limit: int | None = None,
    offset: int = 0,
) -> list[Run]:
    """The plans that a clinician asked for, or of a patient: newest first, at most `limit` after
    the first `offset`.
    """
    mine = Run.analyst == clinician if clinician else Run.subject == subject
    query = select(Run).where(Run.subject != "", mine).order_by(Run.block.desc(), Run.run)
    return _all(engine, Run, query.limit(limit).offset(offset))


def attempts_of(engine: Engine, run: str) -> list[Attempt]:
    """The authorised attempts of a run, in order, with the numbers of people granted and denied."""
    granted = func.sum(case((Access.granted, 1), else_=0))
    query = select(
        Access.attempt,
        granted.label("granted"),
        (func.count() - granted).label("denied"),
        func.min(Access.block).label("block"),
        func.min(Access.tx).label("tx"),
    ).where(Access.run == run)
    query = query.group_by(Access.attempt).order_by(Access.attempt)
    return _all(engine, Attempt, query)


def outputs_of(engine: Engine, run: str) -> list[Output]:
    """The sealed outputs of a run, by attempt."""
    query = select(Output).where(Output.run == run).order_by(Output.attempt)
    return _all(engine, Output, query)


def progress_of(engine: Engine, run: str) -> list[Step]:
    """The worker's progress reports of a run, oldest first."""
    query = select(Progress.attempt, Progress.step, Progress.fraction, Progress.at)
    return _all(engine, Step, query.where(Progress.run == run).order_by(Progress.id))


def failure_of(engine: Engine, run: str) -> str:
    """Why no worker will try this run again, "" if one may."""
    with engine.connect() as connection:
        return str(
            connection.execute(select(Claim.failed).where(Claim.run == run)).scalar_one_or_none()
            or ""
        )


def why_waiting(engine: Engine, run: Run, queue: Sequence[str] | None = None) -> str | None:
    """Why a queued or authorised run is not being computed, None if it is, or has ended.

    queue: the result of `waiting`, if the caller has it already.
    """
    if run.state not in ("queued", "authorised"):
        return None
    with engine.connect() as connection:
        newest = select(Progress.attempt, Progress.step).where(Progress.run == run.run)
        last = connection.execute(newest.order_by(Progress.id.desc()).limit(1)).one_or_none()
        if last is not None and last.step != "stopped":
            return None
        queue = waiting(engine) if queue is None else queue  # includes runs being computed
        ahead = queue.index(run.run) if run.run in queue else 0
        position = f"{ahead} before it" if ahead else "next in the queue"
        if last is None:
            return f"waiting for a worker: {position}"
        note = connection.execute(
            select(Mark.note).where(Mark.name == f"stopped:{run.run}:{last.attempt}")
        ).scalar_one_or_none()
        return f"attempt {last.attempt} ended{f': {note}' if note else ''}; {position}"


def record_of(engine: Engine, run: str, attempt: int) -> dict[str, Any] | None:
    """The run record of a sealed attempt: device, peak memory, seconds by phase; None after a loss."""
    query = select(RunRecord.record).where(RunRecord.run == run, RunRecord.attempt == attempt)
    with engine.connect() as connection:
        text = connection.execute(query).scalar_one_or_none()
    record: Any = None if text is None else strict_json(text.encode())
    return record if isinstance(record, dict) else None


# The state of one access. The release of a run concerns its last attempt only: a person may be in
# an earlier one only.
_ACCESS_STATE = case(
    (Access.granted.is_(False), "denied"),
    (Output.released > 0, "released"),
    (Run.attempt > Access.attempt, "superseded"),
    (Run.state == "sealed", "sealed"),
    (Claim.failed != "", "ended"),
    (Run.state == "authorised", "in progress"),
    else_="ended",
)


def runs_with(engine: Engine, subject: str, limit: int, offset: int = 0) -> list[str]:
    """At most `limit` of the runs that asked for this person's data, the newest access first."""
    query = select(Access.run).where(Access.subject == subject).group_by(Access.run)
    query = query.order_by(func.max(Access.block).desc(), Access.run)
    return [run for (run,) in _rows(engine, query.limit(limit).offset(offset))]


def last_uses(engine: Engine, subject: str) -> dict[str, int]:
    """By dataset, the time in seconds at which this person's data was last used."""
    query = (
        select(Permit.dataset, func.max(Block.timestamp))
        .select_from(Access)
        .join(Block, Block.number == Access.block)
        .join(Run, Run.run == Access.run)
        .join(Permit, Permit.permit == Run.permit)
        .where(Access.subject == subject, Access.granted)
        .group_by(Permit.dataset)
    )
    return {dataset: time for dataset, time in _rows(engine, query)}


def count_uses(engine: Engine, subject: str) -> dict[tuple[str, str], int]:
    """The number of runs with this person's data, by (dataset, state of her newest access)."""
    newest = (
        select(Access.run, func.max(Access.attempt).label("attempt"))
        .where(Access.subject == subject)
        .group_by(Access.run)
        .subquery()
    )
    query = (
        select(Permit.dataset, _ACCESS_STATE, func.count())
        .select_from(Access)
        .join(newest, (newest.c.run == Access.run) & (newest.c.attempt == Access.attempt))
        .outerjoin(Output, (Output.run == Access.run) & (Output.attempt == Access.attempt))
        .join(Run, Run.run == Access.run)
        .join(Permit, Permit.permit == Run.permit)
        .outerjoin(Claim, Claim.run == Run.run)
        .where(Access.subject == subject)
        .group_by(Permit.dataset, _ACCESS_STATE)
    )
    return {(dataset, state): count for dataset, state, count in _rows(engine, query)}


def accesses_of(
    engine: Engine, subject: str, names: Sequence[str] | None = None
) -> list[AccessDetail]:
    """Every decision of the ledger on this person's data, newest first; only for these runs, if
    given.

    Raises NotFound.
    """
    if not signer_of(engine, subject):
        raise NotFound("nobody is enrolled under this id", _CHECK_ID)
    query = (
        select(
            Access.run,
            Access.attempt,
            Access.granted,
            Access.reason,
            Access.block,
            Block.timestamp.label("time"),
            Access.tx,
            Run.analyst,
            Run.permit,
            Permit.need,
            Permit.categories,
            _ACCESS_STATE.label("state"),
        )
        .select_from(Access)
        .outerjoin(Output, (Output.run == Access.run) & (Output.attempt == Access.attempt))
        .join(Block, Block.number == Access.block)
        .join(Run, Run.run == Access.run)
        .join(Permit, Permit.permit == Run.permit)
        .outerjoin(Claim, Claim.run == Run.run)
        .where(Access.subject == subject)
        .order_by(Access.block.desc(), Access.attempt.desc())
    )
    if names is not None:
        query = query.where(Access.run.in_(names))
    return _all(engine, AccessDetail, query)


def list_denials(engine: Engine, limit: int | None = None, offset: int = 0) -> list[Denial]:
    """People denied in an authorised attempt, and runs whose newest decision was a refusal, by
    block.

    At most `limit` after the first `offset`.
    """
    people = select(
        Access.run,
        Access.attempt,
        Access.subject,
        Access.reason,
        Access.block,
    ).where(Access.granted.is_(False))
    refused = select(
        Run.run, Run.attempt, literal("").label("subject"), Run.reason, Run.block
    ).where(Run.reason != 0)
    both = union_all(people, refused).subquery()
    query = select(both).order_by(both.c.block, both.c.run, both.c.subject)
    return _all(engine, Denial, query.limit(limit).offset(offset))


def find_receipt(engine: Engine, tx: str) -> dict[str, Any]:
    """The position of a transaction on the trail: {tx, block, blockHash, time, count, head}. Raises
    NotFound.
    """
    query = (
        select(Event.block, Block.hash, Block.timestamp, Event.fields)
        .join(Block, Block.number == Event.block)
        .where(Event.tx == tx, Event.name == "Head")
    )
    row = _only(engine, query, "step of the trail")
    step: Any = strict_json(row.fields.encode())
    return {
        "tx": tx,
        "block": row.block,
        "blockHash": row.hash,
        "time": row.timestamp,
        "count": step["count"],
        "head": step["head"],
    }


def time_of_block(engine: Engine, number: int) -> int:
    """The time in seconds of a block with events, 0 for any other."""
    with engine.connect() as connection:
        query = select(Block.timestamp).where(Block.number == number)
        return int(connection.execute(query).scalar() or 0)


def newest_step(engine: Engine) -> dict[str, Any]:
    """{count, head} of the newest step in the rows; results up to it can be checked against a
    trail.
    """
    query = select(Event.fields).where(Event.name == "Head")
    with engine.connect() as connection:
        text = connection.execute(query.order_by(Event.step.desc()).limit(1)).scalar()
    step: Any = strict_json(text.encode()) if text else {"count": 0, "head": "00" * 32}
    return {"count": step["count"], "head": step["head"]}


def _datasets() -> Select[*tuple[Any, ...]]:
    counted = select(func.count()).where(Record.dataset == Dataset.dataset).scalar_subquery()
    return select(Dataset, counted.label("records"))


def _all(engine: Engine, noun: Callable[..., Noun], query: Select[*tuple[Any, ...]]) -> list[Noun]:
    """One object for each row, filled by column names: two columns of one type cannot be confused."""
    return [noun(**row._mapping) for row in _rows(engine, query)]


def _rows(engine: Engine, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    with engine.connect() as connection:
        return connection.execute(query).all()


def _only(engine: Engine, query: Select[*tuple[Any, ...]], what: str) -> Row[*tuple[Any, ...]]:
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no such {what}", _CHECK_ID)
    return row
