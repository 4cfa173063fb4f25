"""Statistics of a deployment for its operator, counted from the rows; they name no person and no
id.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from governance.readmodel.tables import Access, Block, Event, Mark, RunRecord
from governance.rules.encoding import strict_json
from governance.runs import waiting

# Phases of an attempt from its request to the ledger until the worker has the keys.
_GATE = ("consent", "fetch", "keys")
_BATCH = 500  # runs in one database query
_RUN_REFUSALS = ("RunRefused", "ReleaseRefused", "Rejected")


def queue_depth(engine: Engine) -> int:
    """The number of requested runs without a computed output, claimed by a worker or not."""
    return len(waiting(engine))


def refusals(engine: Engine) -> Counter[int]:
    """By reason, the number of refusals of a person, a run or an output on the ledger."""
    counts: Counter[int] = Counter()
    people = (
        select(Access.reason, func.count()).where(Access.granted.is_(False)).group_by(Access.reason)
    )
    run_refusals = select(Event.fields).where(Event.name.in_(_RUN_REFUSALS))
    with engine.connect() as connection:
        for reason, count in connection.execute(people):
            counts[reason] += count
        for text in connection.execute(run_refusals).scalars():
            fields: Any = strict_json(text.encode())
            counts[int(fields["reason"])] += 1
    return counts


def newest_row(engine: Engine) -> int | None:
    """The newest block with rows; a block without events has none."""
    with engine.connect() as connection:
        return connection.execute(select(func.max(Block.number))).scalar()


def gate_seconds(engine: Engine) -> list[float]:
    """For each sealed attempt: seconds from its request to the ledger until the worker had the
    keys.
    """
    with engine.connect() as connection:
        texts = list(connection.execute(select(RunRecord.record)).scalars())
    records: list[Any] = [strict_json(text.encode()) for text in texts]
    return [sum(float(record["seconds"].get(phase, 0)) for phase in _GATE) for record in records]


def stop_seconds(engine: Engine) -> list[float]:
    """For each attempt that a revocation stopped: seconds from the mined revocation until its
    process was dead.

    Both by this machine's clock; an attempt that was over before the revocation does not count.
    """
    with engine.connect() as connection:
        ended = dict(_marked(connection, "stopped:"))
        runs = sorted({name.split(":")[1] for name in ended})
        pairs: list[tuple[str, str]] = []
        for first in range(0, len(runs), _BATCH):
            revoked = select(Access.run, Access.attempt, Event.tx).join(
                Event,
                (Event.subject == Access.subject) & (Event.block > Access.block),
            )
            met = revoked.where(
                Event.name == "ConsentRevoked",
                Access.granted,
                Access.run.in_(runs[first : first + _BATCH]),
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
            spent[stopped] = max(took, spent.get(stopped, 0.0))  # the longest of several
    return list(spent.values())


def _marked(connection: Connection, prefix: str) -> list[tuple[str, int]]:
    """The marks whose names begin with the prefix, with their times in milliseconds."""
    query = select(Mark.name, Mark.at).where(Mark.name.startswith(prefix, autoescape=True))
    return [(name, at) for name, at in connection.execute(query)]
