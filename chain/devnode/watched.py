"""Detects a starting process that makes no progress, since no fixed time limit fits a history of
any length.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_WORKING = 0.05  # seconds of CPU time that count as progress


class Watched:
    """A starting process, which is stuck without progress or CPU time for `timeout` seconds."""

    def __init__(self, pid: int, timeout: float) -> None:
        self._pid, self._timeout = pid, timeout
        self._state: object = None
        self._computed = 0.0
        self._at = time.monotonic()

    def moved(self, state: object) -> None:
        """Record the progress; only a change of the state counts."""
        if state != self._state:
            self._state, self._at = state, time.monotonic()

    def stuck(self) -> bool:
        now, computed = time.monotonic(), cpu_seconds(self._pid)
        if abs(computed - self._computed) >= _WORKING:  # less: a child has ended
            self._computed, self._at = computed, now
        return now - self._at > self._timeout


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and its living descendants; 0 for a process that has ended (proc(5),
    fields 14, 15).
    """
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        children = [
            int(child)
            for task in folder.glob("task/*/children")
            for child in task.read_text().split()
        ]
    except OSError:
        return 0.0
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds + sum(map(cpu_seconds, children))
