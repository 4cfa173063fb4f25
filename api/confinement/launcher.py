"""Program started by `launching`: enters new namespaces and runs a command, tied to its parent.

    python -I -S launcher.py PARENT LAYERS REPORT COMMAND...

PARENT is the pid of the process that must live, LAYERS the wanted layers as a number, REPORT a
descriptor to which the command's pid, as PARENT sees it, is written. A pid namespace begins with
the next fork, so this process stays as the command's parent: killing it kills the command and
everything in the namespace.
A namespace that the host refuses is left out: the supervisor checks the confinement from outside.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
from contextlib import suppress

# The same numbers as in `layers` and `kernel`, because this file runs without the package.
NETWORK, PROCESSES, FILES = 1, 2, 4
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x4000000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
MOST_DESCRIPTORS = 1 << 16
_libc = ctypes.CDLL(None)


def main() -> int:
    """Run the command; returns its exit status."""
    parent, layers, report = (int(text) for text in sys.argv[1:4])
    command = sys.argv[4:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold keys
    os.set_inheritable(report, False)
    separate = enter_namespaces(layers)
    # After entering a user namespace, which may clear the signal (man 2 PR_SET_PDEATHSIG).
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        return 1
    if not separate:
        os.write(report, f"{os.getpid()}\n".encode())
        os.execv(command[0], command)  # noqa: S606 (its purpose)
    alive, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if select.select([alive], [], [], 0)[0]:  # the parent died before the signal was set
            os._exit(1)
        os.execv(command[0], command)  # noqa: S606 (its purpose)
    os.write(report, f"{pid}\n".encode())
    os.closerange(0, write_end)
    os.closerange(write_end + 1, MOST_DESCRIPTORS)
    # Not reaped: while this process lives, no other process gets the reported pid.
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return ended.si_status if ended is not None and ended.si_code == os.CLD_EXITED else 1


def enter_namespaces(layers: int) -> bool:
    """Enter the namespaces of the layers; True if the next fork starts a pid namespace."""
    wanted = 0
    if layers & (NETWORK | PROCESSES | FILES):
        wanted |= CLONE_NEWUSER  # mounts need its capabilities
    if layers & NETWORK:
        wanted |= CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    if layers & PROCESSES:
        wanted |= CLONE_NEWPID
    user, group = os.geteuid(), os.getegid()
    if not wanted or _libc.unshare(wanted) != 0:
        return False
    maps = (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1"))
    with suppress(OSError):  # a host may allow the namespace without rights in it
        for name, text in maps:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    return bool(wanted & CLONE_NEWPID)


if __name__ == "__main__":
    sys.exit(main())
