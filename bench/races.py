"""Two ways of doing the same work, timed in turn: the ratio of each pair, since a neighbour's load comes and goes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from statistics import median
from typing import Any

LIBRARIES = ("volens", "cryptography", "cyvcf2", "numpy", "scikit-learn", "torch", "urllib3")


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def race(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> dict[str, Any]:
    """{ratio, low, high, pairs}: median and range of ours / theirs over `pairs` turns, after one turn unmeasured."""
    ours()
    theirs()
    return summarise([seconds(ours) / seconds(theirs) for _ in range(pairs)])


def summarise(found: list[float]) -> dict[str, Any]:
    return {"ratio": round(median(found), 4), "low": round(min(found), 4), "high": round(max(found), 4),
            "pairs": len(found)}  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """What the figures were taken on, and how busy it was."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }
