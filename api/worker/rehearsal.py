"""A run rehearsed on invented people, before anybody is asked for a permit: how long it takes, what would come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.errors import NotServing, UsageError
from api.worker.child_messages import BEGINS, Phases
from api.worker.sandbox import AttemptEnded, ForkServer

NOTE = "The people are invented: the figures mean nothing, only their shape and the seconds do."


def rehearse(
    children: ForkServer,
    params: bytes,
    people: int,
    device: str,
    tell: Callable[[str, float], None],
) -> dict[str, Any]:
    """{result, disclosure (JSON texts), record, note} of canonical parameters. Raises UsageError, NotServing."""
    try:
        child = children.child()
        try:
            clock = Phases()
            child.say({"params": params.decode(), "rehearse": people, "device": device})
            while True:
                said, blobs = child.hear()
                match said["say"]:
                    case "progress":
                        tell(said["step"], said["fraction"])
                        if said["step"] in BEGINS:
                            clock.enter(BEGINS[said["step"]])
                    case "rehearsed":
                        result, disclosure = (blob.decode() for blob in blobs)
                        record = said["record"] | clock.end(child.pid)
                        told = {"record": record, "result": result, "disclosure": disclosure}
                        return said | told | {"note": NOTE}
                    case _:
                        raise UsageError(str(said["message"]), str(said["hint"]))
        finally:
            child.end()
    except AttemptEnded as ended:
        raise NotServing(
            f"the rehearsal ended: {ended}",
            ended.hint or "try it with fewer people or a smaller model",
        ) from None
