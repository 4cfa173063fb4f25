"""Limits in seconds that mean the same on a slower machine.

A limit is written for a machine that takes REFERENCE_SECONDS for the yardstick below: a server's
core of 3 GHz with nothing else running. Where that loop takes longer, everything does, and the
limit is as much longer. It never becomes shorter.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

ADDITIONS = 2_000_000
REFERENCE_SECONDS = 0.06
TRIES = 5
WATCH_SECONDS = 3.0  # between two looks of a watch
GOOD_SECONDS = 30.0
_measured: dict[Callable[[], float], tuple[float, float]] = {}  # by clock: when, how slow


def slowness(clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times slower than the reference this machine is now; 1 where it is faster.

    clock: what the limit is measured by; `time.process_time` where it is CPU time, so that others
    do not count.
    What was found is good for GOOD_SECONDS: it takes half a second to find.
    """
    when, slow = _measured.get(clock, (float("-inf"), 1.0))
    if time.monotonic() - when > GOOD_SECONDS:
        slow = max(
            1.0, statistics.median(_yardstick(clock) for _ in range(TRIES)) / REFERENCE_SECONDS
        )
        _measured[clock] = (time.monotonic(), slow)
    return slow


def allowed(seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """`seconds` of the reference machine, on this one."""
    return seconds * slowness(clock)


class Watch:
    """How slow the machine is while something else runs: the yardstick now and then, in a thread.

    It is taken in CPU time of that thread, so that waiting for a core does not count: what runs may
    use all of them.
    """

    def __init__(self, every: float = WATCH_SECONDS) -> None:
        self._every, self._ended = every, threading.Event()
        self._seconds: list[float] = []
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def allowed(self, seconds: float) -> float:
        """`seconds` of the reference machine, on this one as it was meanwhile."""
        return seconds * self.slowness()

    def slowness(self) -> float:
        """How many times slower than the reference the machine was meanwhile, 1 where it was
        faster.
        """
        return max(1.0, statistics.mean(self._seconds or [0.0]) / REFERENCE_SECONDS)

    def _measure(self) -> None:
        while not self._seconds or not self._ended.wait(self._every):
            self._seconds.append(_yardstick(time.thread_time))


def _yardstick(clock: Callable[[], float]) -> float:
    began = clock()
    total = 0
    for n in range(ADDITIONS):
        total += n
    return clock() - began
