"""Run states: one transition table over the ledger's events of a run.

States: queued, authorised, sealed, released; ends: denied, withdrawn, refused. A run that is being
computed, or whose worker failed, is authorised on the ledger; the worker's progress has the
details.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain import events as ev
from governance.rules.withdrawals import RUN_STATES, WORKER_REASONS

ENDS = ("released", "denied", "withdrawn", "refused")

# event -> state; docs/run-states.md is generated from this table
TRANSITIONS: dict[type[ev.Event], str] = {
    getattr(ev, name): state for name, state in RUN_STATES.items()
}


@dataclass(frozen=True, slots=True)
class State:
    """The state of a run on the ledger, the reason code of its newest refusal (0: none), and its
    first block.
    """

    name: str
    reason: int
    since: int


def next_state(state: State | None, event: ev.Event) -> State:
    """The state after an event of the run."""
    if isinstance(event, ev.RunRefused) and state is not None and event.reason in WORKER_REASONS:
        return State(state.name, event.reason, state.since)
    name = TRANSITIONS.get(type(event))
    if name is None:
        if state is None:
            raise ValueError("a run begins with its request")
        return state
    return State(name, int(getattr(event, "reason", 0)), event.block)
