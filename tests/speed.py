"""Limits in seconds that mean the same on a slower machine.

A limit is written for a machine that takes REFERENCE_SECONDS for the yardstick below: a server's core of 3 GHz with
nothing else running. Where that loop takes longer, everything does, and the limit is as much longer. It never becomes
shorter.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ADDITIONS = 2_000_000
REFERENCE_SECONDS = 0.1
TRIES = 5


def slowness(clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times slower than the reference this machine is now; 1 where it is faster.

    clock: what the limit is measured by; `time.process_time` where it is CPU time, so that others do not count.
    """
    return max(1.0, statistics.median(_yardstick(clock) for _ in range(TRIES)) / REFERENCE_SECONDS)


def allowed(seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """`seconds` of the reference machine, on this one."""
    return seconds * slowness(clock)


def allowed_together(seconds: float) -> float:
    """As `allowed`, for what keeps two cores busy: where they are two halves of one, each is slower then."""
    program = "import speed; print(speed.slowness())"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parent
        )
        for _ in range(2)
    ]
    return seconds * max(float(one.communicate()[0]) for one in both)


def _yardstick(clock: Callable[[], float]) -> float:
    began = clock()
    total = 0
    for n in range(ADDITIONS):
        total += n
    return clock() - began
