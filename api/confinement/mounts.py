"""A root of the process's own: a file system in memory that holds only the named paths, all of it read-only.

Nothing else of the host can be named any more, neither read nor asked about. Needs a user namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from api.confinement.kernel import CLONE_NEWNS, Number, call

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
REMOUNT, NOATIME, NODIRATIME, BIND, REC = 1 << 5, 1 << 10, 1 << 11, 1 << 12, 1 << 14
PRIVATE, RELATIME = 1 << 18, 1 << 21
DETACH = 2  # flag of umount2
NAME = b"volens"  # the source that /proc/PID/mountinfo shows for the root
# An unprivileged remount must keep what the mount had: its flag as statvfs tells it, and as mount takes it.
KEPT = {2: NOSUID, 4: NODEV, 8: NOEXEC, 1024: NOATIME, 2048: NODIRATIME, 4096: RELATIME}
# Where the new root is put together, before it becomes the root; one that holds nothing of what is mounted in it.
PLACES = ("/mnt", "/srv", "/media", "/opt", "/run", "/var", "/tmp", "/proc")  # noqa: S108


def keep_only(readable: Sequence[str], devices: Sequence[str]) -> list[str]:
    """Enter a mount namespace whose root holds `readable` (folders and files) and `devices`.

    Returns what it holds besides. Raises OSError.
    """
    call(Number.UNSHARE, CLONE_NEWNS)
    call(Number.MOUNT, None, b"/", None, REC | PRIVATE, None)
    root = _free_place([*readable, *devices])
    call(Number.MOUNT, NAME, root.encode(), b"tmpfs", NOSUID | NODEV, b"size=64k,mode=755")
    for path in readable:
        _bind(path, root, NODEV)
    for path in devices:
        _bind(path, root, 0)
    if devices:  # a GPU's library reads it; of this namespace, so it shows no other process
        os.mkdir(f"{root}/proc", 0o755)
        flags = RDONLY | NOSUID | NODEV | NOEXEC
        call(Number.MOUNT, b"proc", f"{root}/proc".encode(), b"proc", flags, None)
    flags = REMOUNT | BIND | RDONLY | NOSUID | NODEV
    call(Number.MOUNT, None, root.encode(), None, flags, None)
    os.chdir(root)
    call(Number.PIVOT_ROOT, b".", b".")  # the old root now lies above the new one
    call(Number.UMOUNT2, b".", DETACH)
    os.chdir("/")
    return ["/proc"] if devices else []


def _free_place(paths: Iterable[str]) -> str:
    """A folder of the host that neither holds one of the paths nor lies in one. Raises OSError."""
    real = [os.path.realpath(path) for path in paths]
    for place in PLACES:
        apart = all(os.path.commonpath([place, path]) not in (place, path) for path in real)
        if apart and os.path.isdir(place) and not os.path.islink(place):
            return place
    raise OSError("there is no folder in which a root could be put together")


def _bind(path: str, root: str, flags: int) -> None:
    """Show a folder or file of the host at the same path under the new root, read-only if it is a folder or file."""
    target = root + path
    if os.path.isdir(path):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC | os.O_RDONLY, 0o644))
    call(Number.MOUNT, path.encode(), target.encode(), None, BIND | REC, None)
    had = os.statvfs(target).f_flag
    kept = sum(flag for told, flag in KEPT.items() if had & told)
    every = REMOUNT | BIND | RDONLY | NOSUID | flags | kept
    call(Number.MOUNT, None, target.encode(), None, every, None)
