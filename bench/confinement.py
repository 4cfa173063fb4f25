"""Cost of confinement: CPU seconds of one training in a confined and an unconfined child."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from analytics.params import complete, find_late_models
from api.confinement import Confinement, Layer
from api.worker.sandbox import Child, ForkServer
from bench.races import summarise

PEOPLE = 200
TRAINING = {
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "models": {"logistic": ["combined"]},
    "permutations": 19,
    "bootstraps": 0,
}
NONE = Confinement(Layer(0), Layer(0))
NANOSECONDS = 1e9


class Trainings:
    """Two servers, with confined and with unconfined children, for any number of turns."""

    def __init__(self) -> None:
        self._confined, self._unconfined = ForkServer(), ForkServer(confinement=NONE)

    def __enter__(self) -> Self:
        _train(self._confined)
        _train(self._unconfined)
        return self

    def __exit__(self, *_: object) -> None:
        self._confined.end()
        self._unconfined.end()

    def measure(self, pairs: int) -> dict[str, Any]:
        """The ratio of CPU seconds, confined / not confined, of the child from fork to result.

        Includes the confining itself. Raises AssertionError if the two results differ in any byte.
        """
        turns = []
        for pair in range(pairs):
            # The machine may be warmer or busier for the second, so they alternate.
            order = (
                [self._confined, self._unconfined]
                if pair % 2
                else [self._unconfined, self._confined]
            )
            trained = {server: _train(server) for server in order}
            confined, plain = trained[self._confined], trained[self._unconfined]
            if confined[1] != plain[1]:
                raise AssertionError("a confined training gave other bytes than one that is not")
            turns.append((confined[0], plain[0]))
        spent = sorted(plain for _, plain in turns)
        return summarise([confined / plain for confined, plain in turns]) | {
            "cpu_seconds": round(spent[len(spent) // 2], 3),
            "same_bytes": True,
        }


def _train(server: ForkServer) -> tuple[float, str]:
    """(CPU seconds, result) of one rehearsal."""
    params = complete(TRAINING).decode()
    child = server.child(find_late_models(params))
    try:
        request = {"params": params, "rehearse": PEOPLE, "device": "cpu"}
        child.say(request)
        message, blobs = child.hear()
        while message["say"] == "progress":
            message, blobs = child.hear()
        return _cpu_seconds(child), blobs[0].decode()
    finally:
        child.end()


def _cpu_seconds(child: Child) -> float:
    """CPU seconds of the child's only thread, as counted by the scheduler (proc(5), schedstat)."""
    text = Path(f"/proc/{child.pid}/schedstat").read_text(encoding="ascii")
    return int(text.split()[0]) / NANOSECONDS
