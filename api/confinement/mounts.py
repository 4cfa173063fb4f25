"""Give this process a root of its own: a read-only file system in memory with only the named paths.

No other file of the host can be opened or inspected any more. Needs a user namespace.
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
# An unprivileged remount must keep the mount's flags: as statvfs reports them, and as mount takes
# them.
KEPT = {2: NOSUID, 4: NODEV, 8: NOEXEC, 1024: NOATIME, 2048: NODIRATIME, 4096: RELATIME}
# Folders in which the new root may be built; one is chosen that contains none of the mounted paths.
PLACES = ("/mnt", "/srv", "/media", "/opt", "/run", "/var", "/tmp", "/proc")  # noqa: S108


def keep_only(readable: Sequence[str], devices: Sequence[str]) -> list[str]:
    """Enter a mount namespace whose root holds `readable` (folders and files) and `devices`.

    Returns the further paths in it. Raises OSError.
    """
    call(Number.UNSHARE, CLONE_NEWNS)
    call(Number.MOUNT, None, b"/", None, REC | PRIVATE, None)
    root = _free_folder([*readable, *devices])
    call(Number.MOUNT, NAME, root.encode(), b"tmpfs", NOSUID | NODEV, b"size=64k,mode=755")
    for path in readable:
        _bind(path, root, NODEV)
    for path in devices:
        _bind(path, root, 0)
    if devices:  # a GPU's library reads it; it shows only this namespace's processes
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


def _free_folder(paths: Iterable[str]) -> str:
    """A folder of the host that neither holds one of the paths nor lies in one. Raises OSError."""
    real = [os.path.realpath(path) for path in paths]
    for folder in PLACES:
        apart = all(os.path.commonpath([folder, path]) not in (folder, path) for path in real)
        if apart and os.path.isdir(folder) and not os.path.islink(folder):
            return folder
    raise OSError("there is no folder in which a root could be built")


def _bind(path: str, root: str, flags: int) -> None:
    """Show a folder or file of the host at the same path under the new root, read-only if it is a
    folder or file.
    """
    target = root + path
    if os.path.isdir(path):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC | os.O_RDONLY, 0o644))
    call(Number.MOUNT, path.encode(), target.encode(), None, BIND | REC, None)
    had = os.statvfs(target).f_flag
    kept = sum(flag for reported, flag in KEPT.items() if had & reported)
    every = REMOUNT | BIND | RDONLY | NOSUID | flags | kept
    call(Number.MOUNT, None, target.encode(), None, every, None)
