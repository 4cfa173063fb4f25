"""What followed from a person's withdrawals: which uses were stopped, how long that took, what cannot be undone.

Derived from the ledger's events by the auditor's own rules (`verify.use_met`), so that a receipt of it can be checked
whole; only the seconds, and a run that failed on its worker's machine, come from here and are absent after a loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Engine, Row, select

from governance.readmodel.tables import Block, Claim, Event, Mark, Permit, Run
from governance.rules.encoding import strict_json
from governance.rules.withdrawals import (
    RUN_STATES,
    Access,
    Past,
    Use,
    may_stop,
    sentence_of,
    use_ended,
    use_met,
)

Kind = Literal["revoked", "narrowed"]
_AT_ONCE = 500  # names in one question to the database


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


def withdrawals_of(
    engine: Engine, subject: str, upto: int, names: Sequence[str] | None = None
) -> list[Withdrawal]:
    """Every restrictive change of a person's consents, newest first, with what became of the runs it met.

    upto: the step of the trail up to which the ledger is read; what is told can be checked against that trail.
    names: tell of these runs only.
    """
    with engine.connect() as connection:
        query = (
            select(
                Event.name,
                Event.block,
                Event.step,
                Event.tx,
                Event.fields,
                Block.timestamp,
            )
            .join(Block, Block.number == Event.block)
            .where(
                Event.subject == subject,
                Event.name.in_(("ConsentGranted", "ConsentRevoked")),
                Event.step <= upto,
            )
            .order_by(Event.block, Event.position)
        )
        found = list(connection.execute(query).all())
    epochs: dict[str, int] = {}
    stories: dict[
        str, dict[str, _Story]
    ] = {}  # by dataset: read once, however often she changed her mind
    changes: list[Withdrawal] = []
    for name, block, step, tx, text, time in found:
        fields: Any = strict_json(text.encode())
        dataset = fields["dataset"]
        before = epochs.get(dataset, 0)
        epochs[dataset] = fields["endedEpoch"] + 1 if name == "ConsentRevoked" else fields["epoch"]
        if epochs[dataset] > before:
            kind: Kind = "revoked" if name == "ConsentRevoked" else "narrowed"
            if dataset not in stories:
                stories[dataset] = _read_stories(engine, subject, dataset, upto, names)
            effects = tuple(_effects(engine, stories[dataset], tx, step))
            changes.append(Withdrawal(dataset, kind, tx, block, time, effects))
    return changes[::-1]


@dataclass(slots=True)
class _Story:
    """What the rows say of a run: whether no worker tries it again, its events, and her accesses in it."""

    failed: str
    history: list[Past] = field(default_factory=list)
    hers: list[Access] = field(default_factory=list)


def _read_stories(
    engine: Engine, subject: str, dataset: str, upto: int, names: Sequence[str] | None
) -> dict[str, _Story]:
    """The runs of a dataset up to that step, by their ids and in that order: in three questions to the database."""
    asked = select(Run.run, Claim.failed).join(Permit, Permit.permit == Run.permit)
    asked = asked.outerjoin(Claim, Claim.run == Run.run).order_by(Run.run)
    told = (
        select(Run.run, Event.name, Event.step, Event.fields)
        .select_from(Event)
        .join(Run, Run.run == Event.run)
        .join(Permit, Permit.permit == Run.permit)
        .where(Permit.dataset == dataset, Event.name.in_(RUN_STATES), Event.step <= upto)
        .order_by(Event.block, Event.position)
    )
    own = (
        select(Event.run, Event.name, Event.step, Event.block, Event.fields)
        .where(
            Event.subject == subject,
            Event.name.in_(("AccessGranted", "AccessDenied")),
            Event.step <= upto,
        )
        .order_by(Event.block, Event.position)
    )
    if names is not None:
        asked, told = asked.where(Run.run.in_(names)), told.where(Run.run.in_(names))
        own = own.where(Event.run.in_(names))
    with engine.connect() as connection:
        candidates = connection.execute(asked.where(Permit.dataset == dataset))
        found = {run: _Story(failed or "") for run, failed in candidates}
        for past in connection.execute(told):
            found[past.run].history.append(_past(past))
        for access in connection.execute(own):
            if access.run in found:  # else of another dataset
                found[access.run].hers.append(_access(access))
    return found


def _effects(engine: Engine, stories: Mapping[str, _Story], tx: str, step: int) -> list[Effect]:
    met = [
        (run, story, use)
        for run, story in stories.items()
        if (use := use_met(bytes.fromhex(run), step, story.history, story.hers)) is not None
    ]
    stops = {run: f"stopped:{run}:{use.attempt}" for run, _, use in met if may_stop(use)}
    marked = _marked(engine, [f"mined:{tx}", *stops.values()]) if stops else {}
    began = marked.get(f"mined:{tx}")
    found = []
    for run, story, use in met:
        ended = marked.get(stops.get(run, ""))
        stopped = None
        if began is not None and ended is not None:
            # Its process may be dead before the withdrawal's own mark is written: the worker saw the block first.
            stopped = round(max(0, ended - began) / 1000, 2)  # as it is told in receipts
        waits = use.state in ("queued", "authorised")
        found.append(Effect(use, stopped, "failed" if story.failed and waits else use.state))
    return found


def _marked(engine: Engine, names: Sequence[str]) -> dict[str, int]:
    """When these were marked, in milliseconds, of those that were."""
    found: dict[str, int] = {}
    with engine.connect() as connection:
        for first in range(0, len(names), _AT_ONCE):
            query = select(Mark.name, Mark.at).where(Mark.name.in_(names[first : first + _AT_ONCE]))
            found |= {name: at for name, at in connection.execute(query)}
    return found


def _past(row: Row[*tuple[Any, ...]]) -> Past:
    fields: Any = json.loads(row.fields)  # a row of ours, in canonical JSON: there are very many
    return Past(row.name, row.step, int(fields.get("attempt", 0)), int(fields.get("reason", 0)))


def _access(row: Row[*tuple[Any, ...]]) -> Access:
    fields: Any = json.loads(row.fields)
    granted = row.name == "AccessGranted"
    attempt = int(fields["attemptEpochVersion"]) >> 56 if granted else int(fields["attempt"])
    return Access(attempt, granted, row.step, row.block)
