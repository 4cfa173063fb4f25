"""Two ways of doing the same work, timed in turn: the ratio of each pair, since a neighbour's load comes and goes."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from statistics import median
from typing import Any

from scipy.stats import binom

LIBRARIES = ("volens", "cryptography", "cyvcf2", "numpy", "scikit-learn", "torch", "urllib3")


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call, without the garbage of others, as timeit does."""
    gc.disable()
    try:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    finally:
        gc.enable()


def race(
    ours: Callable[[], object], theirs: Callable[[], object], pairs: int, times: float = 1.0
) -> dict[str, Any]:
    """`summarise` of ours / theirs over `pairs` turns, after one turn unmeasured; theirs does `times` as much."""
    ours()
    theirs()
    return summarise([times * seconds(ours) / seconds(theirs) for _ in range(pairs)])


def summarise(found: list[float]) -> dict[str, Any]:
    """{ratio, interval, low, high, pairs}: median, its 95 % interval by order statistics, and the range."""
    ordered, pairs = sorted(found), len(found)
    rank = max(0, int(binom.ppf(0.025, pairs, 0.5)) - 1)
    return {
        "ratio": round(median(found), 4),
        "interval": [round(ordered[rank], 4), round(ordered[-1 - rank], 4)],
        "low": round(ordered[0], 4),
        "high": round(ordered[-1], 4),
        "pairs": pairs,
    }


def describe_machine() -> dict[str, Any]:
    """What the figures were taken on, and how busy it was."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }
