"""Times two ways of doing the same work alternately; ratios of pairs are robust against varying
machine load."""

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

LIBRARIES = ("volens", "cryptography", "cyvcf2", "numpy", "scikit-learn", "torch", "web3")


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call, without garbage collection, like timeit."""
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
    """`summarise` ours / theirs over `pairs` turns, after one unmeasured turn; theirs does `times`
    as much work."""
    ours()
    theirs()
    return summarise([times * seconds(ours) / seconds(theirs) for _ in range(pairs)])


def summarise(ratios: list[float]) -> dict[str, Any]:
    """{ratio, interval, low, high, pairs}: median, its 95 % interval by order statistics, range."""
    ordered, pairs = sorted(ratios), len(ratios)
    rank = max(0, int(binom.ppf(0.025, pairs, 0.5)) - 1)
    return {
        "ratio": round(median(ratios), 4),
        "interval": [round(ordered[rank], 4), round(ordered[-1 - rank], 4)],
        "low": round(ordered[0], 4),
        "high": round(ordered[-1], 4),
        "pairs": pairs,
    }


def describe_machine() -> dict[str, Any]:
    """The machine of the measurements and its load."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }
