"""Effects of a withdrawal: the state of each run that used the person's data or would have used it."""

from collections.abc import Sequence
from typing import NamedTuple

from governance.rules.tables import Reason

# By the run's last event, its state.
RUN_STATES = {
    "RunRequested": "queued",
    "PlanRequested": "queued",
    "RunRefused": "denied",
    "RunAuthorised": "authorised",
    "Sealed": "sealed",
    "Released": "released",
    "Countersigned": "released",
    "ReleaseRefused": "queued",
    "Rejected": "refused",
    "RunCancelled": "withdrawn",  # cancelled by its analyst; receipts and the API have this word
    "RunResumed": "queued",
}
WORKER_REASONS = (Reason.CODE,)  # the worker's own fault: the run keeps its state
_REQUESTS = {"RunRequested", "PlanRequested"}
_RELEASES = {"Released", "Countersigned"}
_ENDS = ("Rejected", "RunCancelled")  # a refusal ends no run: a later attempt may be granted


class Past(NamedTuple):
    """One event of a run: its name, its step of the trail, and its attempt and reason (0 for none)."""

    name: str
    step: int
    attempt: int
    reason: int


class Access(NamedTuple):
    """The decision of one attempt about one person."""

    attempt: int
    granted: bool
    step: int
    block: int


class Use(NamedTuple):
    """One use of a person's data, and its state after her withdrawal.

    was: the run's state at that step (queued, computing, sealed, released). attempt: the one with
    her data, 0 for none yet. sealed: the computation finished all the same, and its output is held
    back. next_attempt, next_block: the first later attempt, if it leaves her out, else 0. state:
    the run's state now. over: there is a later attempt, with or without her, so this one has ended.
    taken_in: a later attempt includes her, under a later consent.
    """

    run: bytes
    was: str
    attempt: int
    sealed: bool
    next_attempt: int
    next_block: int
    state: str
    over: bool
    taken_in: bool


def run_state(history: Sequence[Past]) -> str:
    """The state of a run after these events, "" before its request."""
    state = ""
    for past in history:
        if not (past.name == "RunRefused" and state and past.reason in WORKER_REASONS):
            state = RUN_STATES.get(past.name, state)
    return state


def use_met(
    run: bytes, step: int, history: Sequence[Past], accesses: Sequence[Access]
) -> Use | None:
    """The use that the withdrawal at step `step` affects, None if the run does not concern her.

    history: the run's events, accesses: the run's decisions about her, both in the ledger's order.
    """
    earlier = [past for past in history if past.step < step]
    names = [past.name for past in earlier]
    if not _REQUESTS & set(names) or any(end in names for end in _ENDS):
        return None
    attempts = [past.attempt for past in earlier if past.name == "RunAuthorised"]
    newest = max(attempts, default=0)
    granted = [access for access in accesses if access.granted]
    in_attempt = max((access.attempt for access in granted if access.step < step), default=0)
    later = next((access for access in accesses if access.step > step), None)
    again, at = (later.attempt, later.block) if later and not later.granted else (0, 0)
    state, over = run_state(history), later is not None
    taken_in = any(access.step > step for access in granted)
    if newest == 0 and run_state(earlier) == "denied":
        return None  # refused before her data was read: a later attempt leaves her out
    if newest == 0 or (in_attempt != newest and run_state(earlier) == "queued"):
        return Use(run, "queued", 0, False, again, at, state, over, taken_in)
    if in_attempt != newest:
        return None
    seals = [past.step for past in history if past.name == "Sealed" and past.attempt == newest]
    was = "computing"
    if _RELEASES & set(names):
        was = "released"
    elif seals and seals[0] < step:
        was = "sealed"
    finished = bool(seals) and was == "computing"
    return Use(run, was, newest, finished, again, at, state, over, taken_in)


def may_stop(use: Use) -> bool:
    """Whether there was a computation to stop."""
    return use.was == "computing" and not use.sealed


def sentence_of(use: Use, stopped: float | None) -> str:
    """One run's outcome as a sentence for the person; `stopped`: seconds until its process was
    dead, if known.
    """
    again = (
        f" It was started again without you (attempt {use.next_attempt}, block {use.next_block})."
        if use.next_attempt
        else ""
    )
    held_back = "the ledger refuses its release." + again
    if use.was == "released":
        return "A result with your data in it had been released before; it cannot be called back."
    if use.was == "queued" and use.taken_in:
        return "A use that was waiting took you in later, under what you allowed by then."
    if use.was == "queued":
        return "A use that was waiting leaves you out." + again
    if use.was == "sealed" and use.state in ("withdrawn", "refused"):
        return "A finished output with your data in it was never released; its run has ended."
    if use.was == "sealed":
        return f"A finished output with your data in it is held back: {held_back}"
    if use.sealed:
        return f"A use finished as you withdrew; its output is held back: {held_back}"
    if stopped is not None or use.next_attempt:
        after = "" if not stopped else f" after {stopped:.1f} s"
        return (
            f"A running use of your data was stopped{after}; what it had computed is gone.{again}"
        )
    if use.over:
        return "A running use went on under what you allow now."
    return "A running use of your data is being stopped."


def use_ended(use: Use, stopped: float | None, state: str) -> bool:
    """Whether nothing of this use can still be stopped; `state`: the run's, or "failed" on its
    worker's machine.
    """
    return bool(
        use.was != "computing"
        or use.sealed
        or stopped is not None
        or use.over
        or state not in ("queued", "authorised", "denied")
    )
