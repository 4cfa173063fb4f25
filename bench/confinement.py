"""What confining a child costs: CPU seconds of one training, in a confined child and in one that is not, by turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from analytics.params import complete
from api.confinement import Confinement, Layer
from api.worker.sandbox import Child, ForkServer
from bench.races import summarise

PEOPLE = 200
TRAINING = {
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "models": {"logistic": ["combined"]},
    "permutations": 19,
}
NONE = Confinement(Layer(0), Layer(0))
NANOSECONDS = 1e9


class Trainings:
    """A server whose children are confined and one whose children are not, for as many measurements as one likes."""

    def __init__(self) -> None:
        self._within, self._without = ForkServer(), ForkServer(confinement=NONE)

    def __enter__(self) -> Self:
        _train(self._within)
        _train(self._without)
        return self

    def __exit__(self, *_: object) -> None:
        self._within.end()
        self._without.end()

    def measure(self, pairs: int) -> dict[str, Any]:
        """The ratio of CPU seconds, confined / not confined, of the child from its fork to its result.

        Confining itself is in it. Raises AssertionError where the two results differ in one byte.
        """
        turns = []
        for pair in range(pairs):
            # Whoever is second finds a warmer or a busier machine, so each is first by turns.
            order = (self._within, self._without) if pair % 2 else (self._without, self._within)
            found = {server: _train(server) for server in order}
            confined, plain = found[self._within], found[self._without]
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
    child = server.child()
    try:
        asked = {"params": complete(TRAINING).decode(), "rehearse": PEOPLE, "device": "cpu"}
        child.say(asked)
        said, blobs = child.hear()
        while said["say"] == "progress":
            said, blobs = child.hear()
        return _cpu_seconds(child), blobs[0].decode()
    finally:
        child.end()


def _cpu_seconds(child: Child) -> float:
    """What its one thread has run so far, by the scheduler's own count (proc(5), schedstat)."""
    text = Path(f"/proc/{child.pid}/schedstat").read_text(encoding="ascii")
    return int(text.split()[0]) / NANOSECONDS
