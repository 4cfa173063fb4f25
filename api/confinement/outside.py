"""Looks at a child from outside: which layers of confinement are in force, by what the kernel says of its process.

The child is not asked, with one exception: Landlock shows nothing of itself. Where a child has no root of its own,
its word that Landlock is in force is believed; it gives it before it has read anything that it was not started with.
"""

from __future__ import annotations

import os
from pathlib import Path

from api.confinement.commandline import is_hidden
from api.confinement.layers import Layer
from api.confinement.mounts import NAME

FILTERED = "2"  # SECCOMP_MODE_FILTER


def look(pid: int, landlock: int) -> Layer:
    """The layers in force of a process by its pid here; `landlock` is the ABI that it says it uses, 0 for none.

    A process that is gone, or that may not be looked at, has none.
    """
    place = Path("/proc") / str(pid)
    found = Layer(0)
    try:
        if not _shares(place, "net"):
            found |= Layer.NETWORK
        if not _shares(place, "pid") and _numbers(place)[-1] == "1":
            found |= Layer.PROCESSES
        if landlock > 0 or has_own_root(pid):
            found |= Layer.FILES
        # Only while its calls are filtered does a command line that is hidden stay so.
        if all(map(_is_filtered, (place / "task").iterdir())) and is_hidden(place):
            found |= Layer.CALLS
    except (OSError, KeyError, ValueError):
        return Layer(0)
    return found


def has_own_root(pid: int) -> bool:
    """Whether its root is the one that `mounts` makes, with nothing in it that can be written to. Raises OSError."""
    place = Path("/proc") / str(pid)
    if _shares(place, "mnt"):
        return False
    mounted = [line.split() for line in (place / "mountinfo").read_text().splitlines()]
    roots = [fields[fields.index("-") + 2] for fields in mounted if fields[4] == "/"]
    return roots == [NAME.decode()] and all("ro" in fields[5].split(",") for fields in mounted)


def _shares(place: Path, kind: str) -> bool:
    return os.readlink(place / "ns" / kind) == os.readlink(f"/proc/self/ns/{kind}")


def _numbers(place: Path) -> list[str]:
    """Its pid in each namespace that it is seen in, its own last."""
    return _status(place)["NSpid"].split()


def _is_filtered(task: Path) -> bool:
    status = _status(task)
    return (status["Seccomp"], status["NoNewPrivs"]) == (FILTERED, "1")


def _status(place: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in (place / "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}
