"""What became of the uses that a withdrawal met."""

from collections.abc import Sequence
from typing import NamedTuple

RUN_STATES = {  # the event that a run had last, and where it stands then
    "RunRequested": "queued",
    "RunRefused": "denied",
    "RunAuthorised": "authorised",
    "Sealed": "sealed",
    "Released": "released",
    "ReleaseRefused": "queued",
    "Rejected": "refused",
    "RunCancelled": "withdrawn",
    "RunResumed": "queued",
}
WORKER_REASONS = (38,)  # the worker's own fault: the run stays as it was
_ENDS = ("Rejected", "RunCancelled")  # a refusal ends nothing: a later attempt may be granted


class Past(NamedTuple):
    """One event of a run: its name, the step of the trail, and attempt and reason where it has them."""

    name: str
    step: int
    attempt: int
    reason: int


class Access(NamedTuple):
    """What one attempt decided about one person."""

    attempt: int
    granted: bool
    step: int
    block: int


class Use(NamedTuple):
    """What became of one use of a person's data after her withdrawal.

    was: where the run was at that step (queued, computing, sealed, released). attempt: the one she was in, 0 for none
    yet. sealed: it finished all the same, and its output is held back. next_attempt, next_block: the first later
    attempt, if she is not in it, else 0. state: of the run now. over: a later attempt shows that this one has ended.
    taken_in: she is in a later attempt, under what she allowed by then.
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
    """Where a run stands after these events, "" before its request."""
    state = ""
    for past in history:
        if not (past.name == "RunRefused" and state and past.reason in WORKER_REASONS):
            state = RUN_STATES.get(past.name, state)
    return state


def use_met(run: bytes, step: int, history: Sequence[Past], hers: Sequence[Access]) -> Use | None:
    """Where the run stood when the withdrawal became step `step`; None when it does not concern her.

    history: the run's events, hers: what was granted or denied of her, both in the ledger's order.
    """
    earlier = [past for past in history if past.step < step]
    names = [past.name for past in earlier]
    if "RunRequested" not in names or any(end in names for end in _ENDS):
        return None
    attempts = [past.attempt for past in earlier if past.name == "RunAuthorised"]
    newest = max(attempts, default=0)
    in_it = max((one.attempt for one in hers if one.granted and one.step < step), default=0)
    later = next((one for one in hers if one.step > step), None)
    again, at = (later.attempt, later.block) if later and not later.granted else (0, 0)
    state, over = run_state(history), later is not None
    taken_in = any(one.granted and one.step > step for one in hers)
    if newest == 0 and run_state(earlier) == "denied":
        return None  # refused, and nothing of hers was read: a later attempt leaves her out
    if newest == 0 or (in_it != newest and run_state(earlier) == "queued"):
        return Use(run, "queued", 0, False, again, at, state, over, taken_in)
    if in_it != newest:
        return None
    seals = [x.step for x in history if x.name == "Sealed" and x.attempt == newest]
    was = "computing"
    if "Released" in names:
        was = "released"
    elif seals and seals[0] < step:
        was = "sealed"
    finished = bool(seals) and was == "computing"
    return Use(run, was, newest, finished, again, at, state, over, taken_in)


def may_stop(use: Use) -> bool:
    """Whether there was a computation to stop."""
    return use.was == "computing" and not use.sealed


def sentence_of(use: Use, stopped: float | None) -> str:
    """What happened to one run, for the person herself; `stopped`: seconds until its process was dead, if known."""
    again = (
        f" It was started again without you (attempt {use.next_attempt}, block {use.next_block})."
        if use.next_attempt
        else ""
    )
    held = "the ledger refuses its release." + again
    if use.was == "released":
        return "A result with your data in it had been released before; it cannot be called back."
    if use.was == "queued" and use.taken_in:
        return "A use that was waiting took you in later, under what you allowed by then."
    if use.was == "queued":
        return "A use that was waiting leaves you out." + again
    if use.was == "sealed" and use.state in ("withdrawn", "refused"):
        return "A finished output with your data in it was never released; its run has ended."
    if use.was == "sealed":
        return f"A finished output with your data in it is held back: {held}"
    if use.sealed:
        return f"A use finished as you withdrew; its output is held back: {held}"
    if stopped is not None or use.next_attempt:
        after = "" if not stopped else f" after {stopped:.1f} s"
        return (
            f"A running use of your data was stopped{after}; what it had computed is gone.{again}"
        )
    if use.over:
        return "A running use went on under what you allow now."
    return "A running use of your data is being stopped."


def use_ended(use: Use, stopped: float | None, state: str) -> bool:
    """Whether all that can be stopped of this use was; `state`: the run's, or "failed" on its worker's machine."""
    return bool(
        use.was != "computing"
        or use.sealed
        or stopped is not None
        or use.over
        or state not in ("queued", "authorised", "denied")
    )
