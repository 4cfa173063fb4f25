"""What followed from a person's withdrawals: which uses were stopped, how long that took, what cannot be undone.

Derived from the ledger's events; only the seconds come from this machine's clock, and are absent after a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Engine, select

from governance.runs import WORKER_REASONS
from governance.tables import accesses, blocks, claims, events, marks, permits, runs
from governance.verify import strict_json

Was = Literal["queued", "computing", "sealed", "released"]
Kind = Literal["revoked", "narrowed"]
_ENDS = ("RunRefused", "Rejected", "RunCancelled")


@dataclass(frozen=True, slots=True)
class Effect:
    """One run that a withdrawal met.

    was: where the run stood in that block. attempt: the one she was in (0: none yet). stopped: seconds from the block
    until its process was dead, None while that is not known. sealed: it finished all the same, and its output is held
    back. next_attempt, next_block: the first later attempt, if she is not in it, else 0 (she may be, where a narrower
    consent still allows the use). state: of the run now. over: a later attempt shows that this one has ended.
    """

    run: str
    was: Was
    attempt: int
    stopped: float | None
    sealed: bool
    next_attempt: int
    next_block: int
    state: str
    over: bool


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
        return all(
            one.was != "computing"
            or one.sealed
            or one.stopped is not None
            or one.over
            or one.state not in ("queued", "authorised")
            for one in self.effects
        )


def withdrawals_of(engine: Engine, subject: str) -> list[Withdrawal]:
    """Every restrictive change of a person's consents, newest first, with what became of the runs it met."""
    with engine.connect() as connection:
        query = (
            select(events.c.name, events.c.block, events.c.tx, events.c.fields, blocks.c.timestamp)
            .join(blocks, blocks.c.number == events.c.block)
            .where(
                events.c.subject == subject, events.c.name.in_(("ConsentGranted", "ConsentRevoked"))
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
            effects = tuple(_effects(engine, subject, dataset, tx, block))
            changes.append(Withdrawal(dataset, kind, tx, block, time, effects))
    return changes[::-1]


def _effects(engine: Engine, subject: str, dataset: str, tx: str, block: int) -> list[Effect]:
    with engine.connect() as connection:
        asked = select(runs.c.run, runs.c.state, claims.c.failed).join(
            permits, permits.c.permit == runs.c.permit
        )
        asked = asked.outerjoin(claims, claims.c.run == runs.c.run)
        candidates = list(connection.execute(asked.where(permits.c.dataset == dataset)).all())
        marked = {
            name: at for name, at in connection.execute(select(marks.c.name, marks.c.at)).all()
        }
    found = []
    for run, on_ledger, failed in candidates:
        state = "failed" if failed and on_ledger in ("queued", "authorised") else on_ledger
        with engine.connect() as connection:
            history = connection.execute(
                select(events.c.name, events.c.block, events.c.fields)
                .where(
                    events.c.run == run,
                    events.c.name.not_in(("AccessGranted", "AccessDenied", "OutputViewed")),
                )
                .order_by(events.c.block, events.c.position)
            ).all()
            hers = connection.execute(
                select(accesses.c.attempt, accesses.c.granted, accesses.c.block)
                .where(accesses.c.run == run, accesses.c.subject == subject)
                .order_by(accesses.c.attempt)
            ).all()
        effect = _effect(run, state, block, history, hers)
        if effect is not None:
            began, ended = marked.get(f"mined:{tx}"), marked.get(f"stopped:{run}:{effect.attempt}")
            if effect.was == "computing" and began is not None and ended is not None:
                if ended >= began:
                    effect = replace(effect, stopped=(ended - began) / 1000)
                elif not effect.sealed:
                    continue  # it was over by itself, and its process dead, before she changed her mind
            found.append(effect)
    return found


def _effect(
    run: str, state: str, block: int, history: Sequence[Any], hers: Sequence[Any]
) -> Effect | None:
    """Where the run stood when the withdrawal was mined; None when it does not concern her.

    history: (event, block, fields) of the run in the ledger's order; hers: (attempt, granted, block).
    """
    earlier = [
        (name, text) for name, at, text in history if at < block and not _of_worker(name, text)
    ]
    names = [name for name, _ in earlier]
    if "RunRequested" not in names or any(end in names for end in _ENDS):
        return None
    in_it = max((attempt for attempt, granted, at in hers if granted and at < block), default=0)
    newest = max(
        (_attempt_of(text) for name, text in earlier if name == "RunAuthorised"), default=0
    )
    later = next(((attempt, granted, at) for attempt, granted, at in hers if at > block), None)
    again, at_block = (0, 0) if later is None or later[1] else (later[0], later[2])
    over = later is not None
    if newest == 0 or names[-1] == "ReleaseRefused":
        return Effect(run, "queued", 0, None, False, again, at_block, state, over)
    if in_it != newest:
        return None
    sealed_at = [
        at for name, at, text in history if name == "Sealed" and _attempt_of(text) == newest
    ]
    was: Was = "computing"
    if "Released" in names:
        was = "released"
    elif sealed_at and sealed_at[0] < block:
        was = "sealed"
    return Effect(
        run, was, newest, None, bool(sealed_at) and was == "computing", again, at_block, state, over
    )


def _of_worker(name: str, text: str) -> bool:
    """A refusal that ends nothing: another worker may still take the run."""
    fields: Any = strict_json(text.encode())
    return name == "RunRefused" and fields["reason"] in WORKER_REASONS


def _attempt_of(text: str) -> int:
    fields: Any = strict_json(text.encode())
    return int(fields["attempt"])
