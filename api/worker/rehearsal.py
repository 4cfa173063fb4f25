"""Rehearse a run on synthetic people: its duration and the shape of its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analytics.params import find_late_models
from api.confinement import Confinement
from api.errors import NotServing, UsageError
from api.operate.settings import Settings
from api.worker.child_messages import BEGINS, Phases
from api.worker.sandbox import AttemptEnded, ForkServer

NOTE = "The people are synthetic: only the shape of the result and the seconds mean something."


def rehearse_here(
    settings: Settings, params: bytes, people: int, tell: Callable[[str, float], None]
) -> dict[str, Any]:
    """As `rehearse`, in a computing process of its own, confined as on a worker."""
    children = ForkServer(confinement=Confinement.of(settings.relax, settings.home))
    try:
        return rehearse(children, params, people, settings.device, tell)
    finally:
        children.end()


def rehearse(
    children: ForkServer,
    params: bytes,
    people: int,
    device: str,
    tell: Callable[[str, float], None],
) -> dict[str, Any]:
    """{result, disclosure (JSON texts), record, note} for canonical parameters.

    Raises UsageError, NotServing.
    """
    try:
        child = children.child(find_late_models(params.decode()))
        try:
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
                    case _:
                        raise UsageError(str(header["message"]), str(header["hint"]))
        finally:
            child.end()
    except AttemptEnded as ended:
        raise NotServing(
            f"the rehearsal ended: {ended}",
            ended.hint or "try it with fewer people or a smaller model",
        ) from None
