"""Effects of a person's withdrawals: which uses were stopped, how long that took, what cannot be
undone.

Derived from the ledger's events by the rules that auditors use (`use_met`), so that all of a
receipt can be checked. Only the seconds, and failures on a worker's machine, come from this
database and are absent after its loss.
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
_BATCH = 500  # names in one database query


@dataclass(frozen=True, slots=True)
class Effect:
    """One run that a withdrawal affects.

    stopped: seconds from the withdrawal until the run's process was dead, None if unknown. state:
    the run's, or "failed" if no worker will try it again.
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
        """Whether nothing remains that can still be stopped."""
        return all(effect.ended for effect in self.effects)


def withdrawals_of(
    engine: Engine, subject: str, upto: int, names: Sequence[str] | None = None
) -> list[Withdrawal]:
    """Every restrictive change of a person's consents, newest first, with its effects on runs.

    upto: the last step of the trail that is read; the result can be checked against the trail up to
    it. names: only these runs are included.
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
        consent_events = list(connection.execute(query).all())
    epochs: dict[str, int] = {}
    # By dataset and run: read once for all withdrawals of a dataset.
    histories: dict[str, dict[str, _RunHistory]] = {}
    changes: list[Withdrawal] = []
    for name, block, step, tx, text, time in consent_events:
        fields: Any = strict_json(text.encode())
        dataset = fields["dataset"]
        before = epochs.get(dataset, 0)
        epochs[dataset] = fields["endedEpoch"] + 1 if name == "ConsentRevoked" else fields["epoch"]
        if epochs[dataset] > before:
            kind: Kind = "revoked" if name == "ConsentRevoked" else "narrowed"
            if dataset not in histories:
                histories[dataset] = _read_histories(engine, subject, dataset, upto, names)
            effects = tuple(_effects(engine, histories[dataset], tx, step))
            changes.append(Withdrawal(dataset, kind, tx, block, time, effects))
    return changes[::-1]


@dataclass(slots=True)
class _RunHistory:
    """The rows of a run: why no worker tries it again ("" otherwise), its events, and the accesses
    to her data.
    """

    failed: str
    history: list[Past] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)


def _read_histories(
    engine: Engine, subject: str, dataset: str, upto: int, names: Sequence[str] | None
) -> dict[str, _RunHistory]:
    """The runs of a dataset up to that step, ordered by their ids: three database queries."""
    runs = select(Run.run, Claim.failed).join(Permit, Permit.permit == Run.permit)
    runs = runs.outerjoin(Claim, Claim.run == Run.run).order_by(Run.run)
    events = (
        select(Run.run, Event.name, Event.step, Event.fields)
        .select_from(Event)
        .join(Run, Run.run == Event.run)
        .join(Permit, Permit.permit == Run.permit)
        .where(Permit.dataset == dataset, Event.name.in_(RUN_STATES), Event.step <= upto)
        .order_by(Event.block, Event.position)
    )
    accesses = (
        select(Event.run, Event.name, Event.step, Event.block, Event.fields)
        .where(
            Event.subject == subject,
            Event.name.in_(("AccessGranted", "AccessDenied")),
            Event.step <= upto,
        )
        .order_by(Event.block, Event.position)
    )
    if names is not None:
        runs, events = runs.where(Run.run.in_(names)), events.where(Run.run.in_(names))
        accesses = accesses.where(Event.run.in_(names))
    with engine.connect() as connection:
        candidates = connection.execute(runs.where(Permit.dataset == dataset))
        histories = {run: _RunHistory(failed or "") for run, failed in candidates}
        for past in connection.execute(events):
            histories[past.run].history.append(_past(past))
        for access in connection.execute(accesses):
            if access.run in histories:  # otherwise the run is of another dataset
                histories[access.run].accesses.append(_access(access))
    return histories


def _effects(
    engine: Engine, histories: Mapping[str, _RunHistory], tx: str, step: int
) -> list[Effect]:
    met = [
        (run, history, use)
        for run, history in histories.items()
        if (use := use_met(bytes.fromhex(run), step, history.history, history.accesses)) is not None
    ]
    stop_marks = {run: f"stopped:{run}:{use.attempt}" for run, _, use in met if may_stop(use)}
    marked = _marked(engine, [f"mined:{tx}", *stop_marks.values()]) if stop_marks else {}
    began = marked.get(f"mined:{tx}")
    effects = []
    for run, history, use in met:
        ended = marked.get(stop_marks.get(run, ""))
        stopped = None
        if began is not None and ended is not None:
            # The process may be dead before the withdrawal's mark is written: the worker saw the
            # block first.
            stopped = round(max(0, ended - began) / 1000, 2)  # the precision of receipts
        waits = use.state in ("queued", "authorised")
        effects.append(Effect(use, stopped, "failed" if history.failed and waits else use.state))
    return effects


def _marked(engine: Engine, names: Sequence[str]) -> dict[str, int]:
    """The time of each existing mark, in milliseconds."""
    times: dict[str, int] = {}
    with engine.connect() as connection:
        for first in range(0, len(names), _BATCH):
            query = select(Mark.name, Mark.at).where(Mark.name.in_(names[first : first + _BATCH]))
            times |= {name: at for name, at in connection.execute(query)}
    return times


def _past(row: Row[*tuple[Any, ...]]) -> Past:
    # json.loads, because there are very many rows, all written by this program.
    fields: Any = json.loads(row.fields)
    return Past(row.name, row.step, int(fields.get("attempt", 0)), int(fields.get("reason", 0)))


def _access(row: Row[*tuple[Any, ...]]) -> Access:
    fields: Any = json.loads(row.fields)
    granted = row.name == "AccessGranted"
    attempt = int(fields["attemptEpochVersion"]) >> 56 if granted else int(fields["attempt"])
    return Access(attempt, granted, row.step, row.block)
