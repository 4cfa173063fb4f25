"""What deriving the database's rows costs, beside writing the same rows and nothing else.

The whole of it reads the ledger, executes its rules again and checks every signature, as each
verifier does; the rows' part only decodes the events, makes rows of them and writes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine, insert, select

from api.demo.stage import World
from bench.races import seconds, summarise
from chain import events as ev
from chain.ledger import Ledger
from governance.objects.vault import Bucket
from governance.readmodel.projection import Projection, Step
from governance.readmodel.tables import PROJECTION, Event, Row
from governance.rules.ledger_data import Log

PEOPLE, RUNS, TURNS = 1000, 10, 7


def make_history(url: str, people: int = PEOPLE, runs: int = RUNS) -> Ledger:
    """A ledger on which so many people agreed, and were in each of so many runs."""
    world = World.create(url)
    subjects = world.enrol(people)
    world.grant(subjects)
    permit = world.permit()
    for _ in range(runs):
        run = world.request_run(permit)
        world.authorise(run, subjects)
        world.seal(run)
    return world.ledger


def measure_projection(
    ledger: Ledger, bucket: Bucket, empty: Callable[[], Engine], turns: int = TURNS
) -> dict[str, Any]:
    """{events, rows, seconds, events_per_second} of deriving everything into a database that
    `empty` makes, and the ratios `rows_over_inserts` and `all_over_inserts`.
    """
    wholes, parts, bare = [], [], []
    for _ in range(turns):
        projection = _Timed(empty(), ledger, bucket)
        wholes.append(seconds(projection.sync))
        parts.append(projection.seconds)
        written = _rows_of(projection.engine)
        copy = empty()
        bare.append(seconds(lambda copy=copy, written=written: _insert(copy, written)))  # type: ignore[misc]
        projection.engine.dispose()
        copy.dispose()
    spent = sorted(wholes)[len(wholes) // 2]
    events = len(written[Event])
    return {
        "events": events,
        "rows": sum(map(len, written.values())),
        "seconds": round(spent, 2),
        "events_per_second": round(events / spent),
        "rows_over_inserts": summarise([a / b for a, b in zip(parts, bare, strict=True)]),
        "all_over_inserts": summarise([a / b for a, b in zip(wholes, bare, strict=True)]),
    }


class _Timed(Projection):
    """Counts the seconds of what a verifier does not do."""

    def __init__(self, engine: Engine, ledger: Ledger, bucket: Bucket) -> None:
        self.engine, self.seconds = engine, 0.0
        super().__init__(engine, ledger, bucket)

    def _decode(self, logs: Sequence[Log]) -> list[ev.Event]:
        began = time.perf_counter()
        events = super()._decode(logs)
        self.seconds += time.perf_counter() - began
        return events

    def _write(self, steps: Sequence[Step]) -> None:
        began = time.perf_counter()
        super()._write(steps)
        self.seconds += time.perf_counter() - began


def _rows_of(engine: Engine) -> dict[type[Row], list[dict[str, Any]]]:
    with engine.connect() as connection:
        return {
            noun: [dict(row._mapping) for row in connection.execute(select(noun))]
            for noun in PROJECTION
        }


def _insert(engine: Engine, rows: dict[type[Row], list[dict[str, Any]]]) -> None:
    with engine.begin() as connection:
        for noun, own in rows.items():
            if own:
                connection.execute(insert(noun), own)
