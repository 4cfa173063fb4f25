"""How the place is doing, counted from the rows: numbers for whoever operates it, no person and no id."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from governance.readmodel.tables import Access, Block, Event, Mark, RunRecord
from governance.rules.encoding import strict_json
from governance.runs import waiting

_GATE = (
    "consent",
    "fetch",
    "keys",
)  # phases of an attempt between asking the ledger and holding the keys
_AT_ONCE = 500  # runs in one question to the database
_RUN_REFUSALS = ("RunRefused", "ReleaseRefused", "Rejected")


def queue_depth(engine: Engine) -> int:
    """Runs that are asked for and not yet computed, held by a worker or not."""
    return len(waiting(engine))


def refusals(engine: Engine) -> Counter[int]:
    """How often each reason refused a person, a run or an output on the ledger."""
    found: Counter[int] = Counter()
    people = (
        select(Access.reason, func.count()).where(Access.granted.is_(False)).group_by(Access.reason)
    )
    others = select(Event.fields).where(Event.name.in_(_RUN_REFUSALS))
    with engine.connect() as connection:
        for reason, count in connection.execute(people):
            found[reason] += count
        for text in connection.execute(others).scalars():
            fields: Any = strict_json(text.encode())
            found[int(fields["reason"])] += 1
    return found


def newest_row(engine: Engine) -> int | None:
    """The newest block that rows were made from; a block without events makes none."""
    with engine.connect() as connection:
        return connection.execute(select(func.max(Block.number))).scalar()


def gate_seconds(engine: Engine) -> list[float]:
    """Of each sealed attempt: seconds from asking the ledger until the keys were there."""
    with engine.connect() as connection:
        texts = list(connection.execute(select(RunRecord.record)).scalars())
    records: list[Any] = [strict_json(text.encode()) for text in texts]
    return [sum(float(one["seconds"].get(phase, 0)) for phase in _GATE) for one in records]


def stop_seconds(engine: Engine) -> list[float]:
    """Of each attempt that a revocation met: seconds from the mined revocation until its process was dead.

    Both by this machine's clock; an attempt that was over before the revocation does not count.
    """
    with engine.connect() as connection:
        ended = dict(_marked(connection, "stopped:"))
        runs = sorted({name.split(":")[1] for name in ended})
        pairs: list[tuple[str, str]] = []
        for first in range(0, len(runs), _AT_ONCE):
            revoked = select(Access.run, Access.attempt, Event.tx).join(
                Event,
                (Event.subject == Access.subject) & (Event.block > Access.block),
            )
            met = revoked.where(
                Event.name == "ConsentRevoked",
                Access.granted,
                Access.run.in_(runs[first : first + _AT_ONCE]),
            )
            pairs += [
                (f"stopped:{run}:{attempt}", f"mined:{tx}")
                for run, attempt, tx in connection.execute(met)
            ]
        marked = ended | (dict(_marked(connection, "mined:")) if pairs else {})
    spent: dict[str, float] = {}
    for stopped, mined in pairs:
        if stopped in marked and mined in marked and marked[stopped] >= marked[mined]:
            took = (marked[stopped] - marked[mined]) / 1000
            spent[stopped] = max(
                took, spent.get(stopped, 0.0)
            )  # of several, the one that waited longest
    return list(spent.values())


def _marked(connection: Connection, prefix: str) -> list[tuple[str, int]]:
    """The marks whose names begin so, with their milliseconds."""
    query = select(Mark.name, Mark.at).where(Mark.name.startswith(prefix, autoescape=True))
    return [(name, at) for name, at in connection.execute(query)]
