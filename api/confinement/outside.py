"""Check a child's confinement from outside: which layers are in force, according to the kernel.

The child's own report is not used, with one exception: Landlock cannot be seen from outside. If a
child has no root of its own, its report that Landlock is in force is believed; it sends it before
it has read any input.
"""

from __future__ import annotations

import os
from pathlib import Path

from api.confinement.commandline import is_hidden
from api.confinement.layers import Layer
from api.confinement.mounts import NAME

FILTERED = "2"  # SECCOMP_MODE_FILTER


def layers_in_force(pid: int, landlock: int) -> Layer:
    """The layers in force for a process, by its pid; `landlock` is the ABI that it reports, 0 for
    none.

    A process that is gone or cannot be inspected has none.
    """
    process_folder = Path("/proc") / str(pid)
    layers = Layer(0)
    try:
        if not _shares(process_folder, "net"):
            layers |= Layer.NETWORK
        if not _shares(process_folder, "pid") and _numbers(process_folder)[-1] == "1":
            layers |= Layer.PROCESSES
        if landlock > 0 or has_own_root(pid):
            layers |= Layer.FILES
        # A hidden command line stays hidden only while the system calls are filtered.
        if all(map(_is_filtered, (process_folder / "task").iterdir())) and is_hidden(
            process_folder
        ):
            layers |= Layer.CALLS
    except (OSError, KeyError, ValueError):
        return Layer(0)
    return layers


def has_own_root(pid: int) -> bool:
    """Whether its root was made by `mounts` and is entirely read-only. Raises OSError."""
    process_folder = Path("/proc") / str(pid)
    if _shares(process_folder, "mnt"):
        return False
    mounted = [line.split() for line in (process_folder / "mountinfo").read_text().splitlines()]
    roots = [fields[fields.index("-") + 2] for fields in mounted if fields[4] == "/"]
    return roots == [NAME.decode()] and all("ro" in fields[5].split(",") for fields in mounted)


def _shares(process_folder: Path, kind: str) -> bool:
    return os.readlink(process_folder / "ns" / kind) == os.readlink(f"/proc/self/ns/{kind}")


def _numbers(process_folder: Path) -> list[str]:
    """Its pid in each namespace in which it is visible, its own namespace last."""
    return _status(process_folder)["NSpid"].split()


def _is_filtered(task: Path) -> bool:
    status = _status(task)
    return (status["Seccomp"], status["NoNewPrivs"]) == (FILTERED, "1")


def _status(process_folder: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in (process_folder / "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}
