"""What a member of the committee reads before voting: who is willing, and what was asked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from chain.vocabulary import ConsentStatus, PermitStatus
from governance.readmodel.tables import Access, Block, Consent, Event, Permit, Run

DAY = 86_400
EARLIER = 20  # permits of one applicant
QUESTIONS = 20  # runs of one permit


@dataclass(frozen=True, slots=True)
class EarlierPermit:
    """A permit that the same account asked for, with its newest runs and how many there were."""

    permit: Permit
    runs: Sequence[Run]
    count: int


def count_willing(engine: Engine, dataset: str, purposes: int, categories: int, now: int) -> int:
    """How many people's consents allow all these purposes and categories today.

    The contract reads the same masks (`governance.rules.steps.Steps.denied`). The exact number is
    for rounding only: two numbers a day apart could tell of one person.
    """
    today = now // DAY
    query = (
        select(func.count())
        .select_from(Consent)
        .where(
            Consent.dataset == dataset,
            Consent.status == ConsentStatus.LIVE,
            Consent.from_day <= today,
            Consent.until_day >= today,
            Consent.purposes.op("&")(purposes) == purposes,
            Consent.categories.op("&")(categories) == categories,
        )
    )
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def count_changed(engine: Engine, dataset: str, run: str, attempt: int) -> int:
    """How many people of a sealed attempt have withdrawn since, also those who agreed again.

    For rounding only, as count_willing.
    """
    query = (
        select(func.count())
        .select_from(Access)
        .join(Consent, (Consent.subject == Access.subject) & (Consent.dataset == dataset))
        .where(
            Access.run == run,
            Access.attempt == attempt,
            Access.granted.is_(True),
            (Consent.status != ConsentStatus.LIVE) | (Consent.epoch != Access.epoch),
        )
    )
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def count_withdrawn(engine: Engine, dataset: str, run: str, attempt: int, before: int) -> int:
    """How many people of an attempt have withdrawn after it and before a time. For a class of
    people only: the exact number, or one of today, could tell of one person.
    """
    query = (
        select(func.count(Access.subject.distinct()))
        .select_from(Access)
        .join(Event, (Event.subject == Access.subject) & (Event.block > Access.block))
        .join(Block, Block.number == Event.block)
        .where(
            Access.run == run,
            Access.attempt == attempt,
            Access.granted.is_(True),
            Event.name == "ConsentRevoked",
            Event.fields.contains(dataset),
            Block.timestamp < before,
        )
    )
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def earlier_permits(engine: Engine, permit: Permit) -> list[EarlierPermit]:
    """The applicant's other permits, at most EARLIER: those of the same dataset, then those that
    end last.
    """
    query = (
        select(Permit)
        .where(Permit.applicant == permit.applicant, Permit.permit != permit.permit)
        .order_by((Permit.dataset == permit.dataset).desc(), Permit.expiry.desc(), Permit.permit)
        .limit(EARLIER)
    )
    with engine.connect() as connection:
        others = [Permit(**row._mapping) for row in connection.execute(query)]
    return [EarlierPermit(other, *runs_under(engine, other.permit)) for other in others]


def runs_under(engine: Engine, permit: str) -> tuple[list[Run], int]:
    """The newest runs of a permit, at most QUESTIONS, and the number of all."""
    query = (
        select(Run)
        .where(Run.permit == permit, Run.subject == "")
        .order_by(Run.block.desc(), Run.run)
    )
    counted = select(func.count()).select_from(Run).where(Run.permit == permit, Run.subject == "")
    with engine.connect() as connection:
        runs = [Run(**row._mapping) for row in connection.execute(query.limit(QUESTIONS))]
        return runs, int(connection.execute(counted).scalar_one())


def runs_on(engine: Engine, dataset: str) -> list[Run]:
    """The newest runs on a dataset under any permit, at most QUESTIONS."""
    query = (
        select(Run)
        .join(Permit, Permit.permit == Run.permit)
        .where(Permit.dataset == dataset, Run.subject == "")
        .order_by(Run.block.desc(), Run.run)
        .limit(QUESTIONS)
    )
    with engine.connect() as connection:
        return [Run(**row._mapping) for row in connection.execute(query)]


def last_approved(engine: Engine, permit: Permit) -> Permit | None:
    """The approved permit with another hash of its code that ends last: of the same dataset, else
    of any.
    """
    query = (
        select(Permit)
        .where(
            Permit.permit != permit.permit,
            Permit.code != permit.code,
            Permit.status == PermitStatus.APPROVED,
        )
        .order_by((Permit.dataset == permit.dataset).desc(), Permit.expiry.desc(), Permit.permit)
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return Permit(**row._mapping) if row else None
