"""What followed from a person's withdrawals: which uses were stopped, how long that took, what cannot be undone.

Derived from the ledger's events by the auditor's own rules (`verify.use_met`), so that a receipt of it can be checked
whole; only the seconds, and a run that failed on its worker's machine, come from here and are absent after a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, select

from governance.tables import accesses, blocks, claims, events, marks, permits, runs
from governance.verify import (
    RUN_STATES,
    Access,
    Past,
    Use,
    sentence_of,
    strict_json,
    use_ended,
    use_met,
)

Kind = Literal["revoked", "narrowed"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One run that a withdrawal met, as `verify.Use` has it.

    stopped: seconds from the withdrawal until its process was dead, None while that is not known. state: the run's, or
    "failed" where no worker will try it again.
    """

    use: Use
    stopped: float | None
    state: str

    @property
    def sentence(self) -> str:
        return sentence_of(self.use, self.stopped)

    @property
    def ended(self) -> bool:
        return use_ended(self.use, self.stopped, self.state)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A restrictive change: a revocation, or a new consent that allows less."""

    dataset: str
    kind: Kind
    tx: str
    block: int
    time: int
    effects: tuple[Effect, ...]

    @property
    def settled(self) -> bool:
        """Whether everything that can be stopped was."""
        return all(one.ended for one in self.effects)


def withdrawals_of(engine: Engine, subject: str, upto: int) -> list[Withdrawal]:
    """Every restrictive change of a person's consents, newest first, with what became of the runs it met.

    upto: the step of the trail up to which the ledger is read; what is told can be checked against that trail.
    """
    with engine.connect() as connection:
        query = (
            select(events.c.name, events.c.block, events.c.tx, events.c.fields, blocks.c.timestamp)
            .join(blocks, blocks.c.number == events.c.block)
            .where(
                events.c.subject == subject,
                events.c.name.in_(("ConsentGranted", "ConsentRevoked")),
                events.c.step <= upto,
            )
            .order_by(events.c.block, events.c.position)
        )
        found = list(connection.execute(query).all())
    epochs: dict[str, int] = {}
    changes: list[Withdrawal] = []
    for name, block, tx, text, time in found:
        fields: Any = strict_json(text.encode())
        dataset = fields["dataset"]
        before = epochs.get(dataset, 0)
        epochs[dataset] = fields["endedEpoch"] + 1 if name == "ConsentRevoked" else fields["epoch"]
        if epochs[dataset] > before:
            kind: Kind = "revoked" if name == "ConsentRevoked" else "narrowed"
            effects = tuple(_effects(engine, subject, dataset, tx, block, upto))
            changes.append(Withdrawal(dataset, kind, tx, block, time, effects))
    return changes[::-1]


def _effects(
    engine: Engine, subject: str, dataset: str, tx: str, block: int, upto: int
) -> list[Effect]:
    with engine.connect() as connection:
        asked = select(runs.c.run, claims.c.failed).join(permits, permits.c.permit == runs.c.permit)
        asked = asked.outerjoin(claims, claims.c.run == runs.c.run).order_by(runs.c.run)
        candidates = list(connection.execute(asked.where(permits.c.dataset == dataset)).all())
        last = connection.execute(
            select(events.c.block).where(events.c.step == upto, events.c.name == "Head")
        ).scalar_one_or_none()
        began = _marked(connection, f"mined:{tx}")
    found = []
    for run, failed in candidates:
        with engine.connect() as connection:
            history = connection.execute(
                select(events.c.name, events.c.block, events.c.fields)
                .where(
                    events.c.run == run,
                    events.c.name.in_(RUN_STATES),
                    events.c.step <= upto,
                )
                .order_by(events.c.block, events.c.position)
            ).all()
            hers = connection.execute(
                select(accesses.c.attempt, accesses.c.granted, accesses.c.block)
                .where(
                    accesses.c.run == run,
                    accesses.c.subject == subject,
                    accesses.c.block <= (last or 0),
                )
                .order_by(accesses.c.attempt)
            ).all()
            use = use_met(bytes.fromhex(run), block, [*map(_past, history)], [*map(_access, hers)])
            if use is None:
                continue
            ended = _marked(connection, f"stopped:{run}:{use.attempt}")
        stopped = None
        if use.was == "computing" and began is not None and ended is not None:
            # Its process may be dead before the withdrawal's own mark is written: the worker saw the block first.
            stopped = round(max(0, ended - began) / 1000, 2)  # as it is told in receipts
        state = "failed" if failed and use.state in ("queued", "authorised") else use.state
        found.append(Effect(use, stopped, state))
    return found


def _marked(connection: Connection, name: str) -> int | None:
    """When something was marked, in milliseconds."""
    return connection.execute(select(marks.c.at).where(marks.c.name == name)).scalar_one_or_none()


def _past(row: Sequence[Any]) -> Past:
    name, block, text = row
    fields: Any = strict_json(text.encode())
    return Past(name, block, int(fields.get("attempt", 0)), int(fields.get("reason", 0)))


def _access(row: Sequence[Any]) -> Access:
    attempt, granted, block = row
    return Access(attempt, bool(granted), block)
