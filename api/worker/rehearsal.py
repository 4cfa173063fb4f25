"""Rehearse a run on synthetic people: its duration and the shape of its result.

On the analyst's own machine without limits of its own; for a page of the service within `Bounds`.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from analytics.params import find_late_models
from api.confinement import Confinement
from api.errors import NotServing, UsageError
from api.operate.settings import Settings
from api.worker.child_messages import BEGINS, Phases
from api.worker.sandbox import AttemptEnded, ForkServer

NOTE = "The people are synthetic: only the shape of the result and the seconds mean something."
_NICE = 10  # below the service that answers people on the same machine


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rehearsal may use: `seconds` on the clock, with the start of its process, and as many
    of one CPU; `memory` in bytes of address space.
    """

    seconds: float
    memory: int


def rehearse_here(
    settings: Settings,
    params: bytes,
    people: int,
    tell: Callable[[str, float], None],
    bounds: Bounds | None = None,
) -> dict[str, Any]:
    """As `rehearse`, in a computing process of its own, confined as on a worker.

    Raises UsageError beyond the bounds; nothing of it runs on then.
    """
    children = ForkServer(confinement=Confinement.of(settings.relax, settings.home))
    try:
        with _ended_after(children, bounds):
            # A page's rehearsal leaves a GPU to the runs.
            device = settings.device if bounds is None else "cpu"
            return rehearse(children, params, people, device, tell, bounds)
    finally:
        children.end()


@contextmanager
def _ended_after(children: ForkServer, bounds: Bounds | None) -> Iterator[None]:
    """End the processes when the time is over, whatever they are waiting for. Raises UsageError."""
    if bounds is None:
        yield
        return
    over = threading.Event()

    def end() -> None:
        over.set()
        children.end()

    timer = threading.Timer(bounds.seconds, end)
    timer.daemon = True
    try:
        children.warm()
        timer.start()
        yield
    except (AttemptEnded, NotServing) as error:
        if over.is_set():
            raise UsageError(
                f"the rehearsal was ended after {bounds.seconds:g} seconds, the most that it has here",
                "ask for fewer repeats or permutations, or rehearse on your own machine",
            ) from None
        if isinstance(error, AttemptEnded):
            raise _not_serving(error) from None
        raise
    finally:
        timer.cancel()


def rehearse(
    children: ForkServer,
    params: bytes,
    people: int,
    device: str,
    tell: Callable[[str, float], None],
    bounds: Bounds | None = None,
) -> dict[str, Any]:
    """{result, disclosure (JSON texts), record, note} for canonical parameters.

    Raises UsageError, NotServing.
    """
    try:
        child = children.child(find_late_models(params.decode()))
        try:
            if bounds is not None:
                _limit(child.pid, bounds)
            clock = Phases()
            child.say({"params": params.decode(), "rehearse": people, "device": device})
            while True:
                header, blobs = child.hear()
                match header["say"]:
                    case "progress":
                        tell(header["step"], header["fraction"])
                        if header["step"] in BEGINS:
                            clock.enter(BEGINS[header["step"]])
                    case "rehearsed":
                        result, disclosure = (blob.decode() for blob in blobs)
                        record = header["record"] | clock.end(child.pid)
                        report = {"record": record, "result": result, "disclosure": disclosure}
                        return header | report | {"note": NOTE}
                    case _ if bounds is not None and header.get("kind") in ("memory", "fault"):
                        # Libraries that get no memory fail in ways of their own.
                        raise UsageError(
                            "the rehearsal needs more memory than it has here, or failed within",
                            "rehearse on your own machine, which tells the two apart",
                        )
                    case _:
                        raise UsageError(str(header["message"]), str(header["hint"]))
        finally:
            child.end()
    except AttemptEnded as ended:
        raise _not_serving(ended) from None


def _limit(pid: int, bounds: Bounds) -> None:
    """Lower the limits of a child that has read nothing yet. Raises NotServing if they cannot be
    set.
    """
    seconds = int(bounds.seconds) + 1
    try:
        resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))
        resource.prlimit(pid, resource.RLIMIT_AS, (bounds.memory, bounds.memory))
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
    except OSError:
        raise NotServing(
            "the rehearsal cannot be bounded on this machine", "rehearse on your own machine"
        ) from None


def _not_serving(ended: AttemptEnded) -> NotServing:
    return NotServing(
        f"the rehearsal ended: {ended}", ended.hint or "try it with fewer people or a smaller model"
    )
