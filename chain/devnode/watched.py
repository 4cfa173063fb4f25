"""Whether a process that starts still gets on: no limit in seconds fits every history, standing still does."""

from __future__ import annotations

import os
import time
from pathlib import Path

_WORKING = 0.05  # seconds of computing that show that a process gets on


class Watched:
    """Whether a process that starts still gets on: it moved, or it computed, within `patience` seconds."""

    def __init__(self, pid: int, timeout: float) -> None:
        self._pid, self._timeout = pid, timeout
        self._state: object = None
        self._computed = 0.0
        self._at = time.monotonic()

    def moved(self, state: object) -> None:
        """Tells how far it is; only another state than the last one counts."""
        if state != self._state:
            self._state, self._at = state, time.monotonic()

    def stuck(self) -> bool:
        now, computed = time.monotonic(), cpu_seconds(self._pid)
        if abs(computed - self._computed) >= _WORKING:  # less: a child has ended
            self._computed, self._at = computed, now
        return now - self._at > self._timeout


def cpu_seconds(pid: int) -> float:
    """What a process and its living descendants computed so far; 0 for those that are gone (proc(5), fields 14, 15)."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        children = [
            int(one) for task in folder.glob("task/*/children") for one in task.read_text().split()
        ]
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_seconds, children))
