"""Queries of the trail: a list of steps, newest first; a step is one recorded call with all its
events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Integer, Select, func, literal_column, or_, select

from governance.errors import NotFound
from governance.readmodel.tables import Block, Event, Run
from governance.rules.encoding import strict_json

DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a step; `run` and `subject` are "" if it names none."""

    name: str
    run: str
    subject: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `count` and `head` are the trail's after this call; `time` in seconds."""

    count: int
    head: str
    block: int
    time: int
    tx: str
    events: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter: empty or 0 means any. Times in seconds, `until` is exclusive; block bounds are
    inclusive.
    """

    names: tuple[str, ...] = ()
    subject: str = ""
    run: str = ""
    actor: str = ""  # a checksummed address, in any field of the event
    reason: int = 0
    first_block: int = 0
    last_block: int = 0
    since: int = 0
    until: int = 0
    care: bool = True  # steps of patients' own care too


def list_steps(engine: Engine, wanted: Wanted, before: int = 0, limit: int = 20) -> list[Step]:
    """At most `limit` steps with an event that matches, newest first; `before` is the cursor, a
    step's count.
    """
    query = (
        select(Event.tx, Event.step, Event.block, Block.timestamp, Event.fields)
        .join(Block, Block.number == Event.block)
        .where(Event.name == "Head")
        .order_by(Event.step.desc())
        .limit(limit)
    )
    if any((wanted.names, wanted.subject, wanted.run, wanted.actor, wanted.reason)):
        query = query.where(Event.tx.in_(_matching(wanted)))
    if not wanted.care:
        query = query.where(Event.tx.not_in(_care()))
    if before:
        query = query.where(Event.step < before)
    bounds = (
        (wanted.first_block, Event.block >= wanted.first_block),
        (wanted.last_block, Event.block <= wanted.last_block),
        (wanted.since, Block.timestamp >= wanted.since),
        (wanted.until, Block.timestamp < wanted.until),
    )
    for value, bound in bounds:
        query = query.where(bound) if value else query
    return _read(engine, query)


def find_step(engine: Engine, count: int) -> Step:
    """Raises NotFound."""
    query = (
        select(Event.tx, Event.step, Event.block, Block.timestamp, Event.fields)
        .join(Block, Block.number == Event.block)
        .where(Event.name == "Head", Event.step == count)
    )
    steps = _read(engine, query)
    if not steps:
        raise NotFound("there is no such step of the trail", "look at the newest ones")
    return steps[0]


def care_days(engine: Engine, since: int = 0, until: int = 0) -> dict[int, int]:
    """How many steps of patients' own care each day has, by the day since 1970; of the blocks from
    `since` on and before `until` (seconds), 0 for any.
    """
    # Written out, not bound: PostgreSQL does not see that two parameters are the same number.
    day = Block.timestamp // literal_column(str(DAY), Integer)
    query = (
        select(day, func.count())
        .select_from(Event)
        .join(Block, Block.number == Event.block)
        .where(Event.name == "Head", Event.tx.in_(_care()), Block.timestamp >= since)
        .group_by(day)
    )
    query = query.where(Block.timestamp < until) if until else query
    with engine.connect() as connection:
        return {int(number): count for number, count in connection.execute(query)}


def is_care(engine: Engine, step: Step) -> bool:
    """Whether a step is one of a patient's own care."""
    query = select(func.count()).select_from(Event).where(Event.tx == step.tx)
    with engine.connect() as connection:
        return bool(connection.execute(query.where(Event.tx.in_(_care()))).scalar_one())


def _care() -> Select[Any]:
    """The transactions of patients' own care: appointments, and what happens to plans."""
    plans = select(Run.run).where(Run.subject != "")
    return select(Event.tx).where(or_(Event.name == "Appointed", Event.run.in_(plans)))


@dataclass(frozen=True, slots=True)
class Viewing:
    """One recorded view or opening of an output: by which account, when (seconds), in which
    block."""

    viewer: str
    time: int
    block: int
    tx: str


def viewings(engine: Engine, run: str) -> list[Viewing]:
    """Every view and opening of a run's outputs, in their order."""
    query = (
        select(Event.fields, Block.timestamp, Event.block, Event.tx)
        .join(Block, Block.number == Event.block)
        .where(Event.run == run, Event.name.in_(("OutputViewed", "PlanOpened")))
        .order_by(Event.block, Event.position)
    )
    with engine.connect() as connection:
        return [
            Viewing(str(_object(fields)["viewer"]), time, block, tx)
            for fields, time, block, tx in connection.execute(query)
        ]


def milestones(engine: Engine, run: str) -> dict[str, tuple[int, int]]:
    """(block, seconds) of the newest event of each name that a run has."""
    query = (
        select(Event.name, Event.block, Block.timestamp)
        .join(Block, Block.number == Event.block)
        .where(Event.run == run, Event.name.not_in(("AccessGranted", "AccessDenied")))
        .order_by(Event.block, Event.position)
    )
    with engine.connect() as connection:
        return {name: (block, time) for name, block, time in connection.execute(query)}


def _matching(wanted: Wanted) -> Select[Any]:
    """The transactions with an event that matches."""
    query = select(Event.tx)
    if wanted.names:
        query = query.where(Event.name.in_(wanted.names))
    if wanted.subject:
        query = query.where(Event.subject == wanted.subject)
    if wanted.run:
        query = query.where(Event.run == wanted.run)
    if wanted.actor:
        query = query.where(Event.fields.contains(f'"{wanted.actor}"', autoescape=True))
    if wanted.reason:
        # The fields are canonical JSON: a number ends at a comma or at the object's end.
        ends = (f'"reason":{wanted.reason},', f'"reason":{wanted.reason}}}')
        query = query.where(or_(*(Event.fields.contains(end, autoescape=True) for end in ends)))
    return query


def _read(engine: Engine, query: Select[*tuple[Any, ...]]) -> list[Step]:
    with engine.connect() as connection:
        heads = connection.execute(query).all()
        rows = connection.execute(
            select(Event.tx, Event.name, Event.run, Event.subject, Event.fields)
            .where(Event.tx.in_([head.tx for head in heads]), Event.name != "Head")
            .order_by(Event.block, Event.position)
        ).all()
    events: dict[str, list[Happening]] = {}
    for row in rows:
        events.setdefault(row.tx, []).append(
            Happening(row.name, row.run or "", row.subject or "", _object(row.fields))
        )
    return [
        Step(
            head.step,
            str(_object(head.fields)["head"]),
            head.block,
            head.timestamp,
            head.tx,
            tuple(events.get(head.tx, ())),
        )
        for head in heads
    ]


def _object(text: str) -> dict[str, Any]:
    value: Any = strict_json(text.encode())
    return dict(value)
