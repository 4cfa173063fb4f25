"""Runs programs that end with their parent process, optionally without network; they leave no core
files.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence

from chain.errors import ChainError

# Runs *after* unshare, because entering a user namespace may clear the parent-death signal (man 2
# prctl); then becomes the program itself (exec), so that no process remains between the two. The
# check of the parent covers the case that it died before the signal was set.
_LEASH = """
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
parent, number = int(sys.argv[1]), int(sys.argv[2])
if ctypes.CDLL(None).prctl(1, number, 0, 0, 0) != 0 or os.getppid() != parent:
    sys.exit("the process that started this one is gone")
os.execv(sys.argv[3], sys.argv[3:])
"""


class NoNamespaces(ChainError):
    """This host does not allow user and network namespaces."""


def tether(
    argv: Sequence[str], *, number: int = signal.SIGKILL, isolated: bool = False
) -> list[str]:
    """The command line that runs `argv` (an absolute program path first) bound to the calling
    process.

    No core file of it is ever written: it would hold keys. The kernel sends signal `number` to it
    when the calling *thread* ends (PR_SET_PDEATHSIG): call from a thread that lives as long as the
    program should. `isolated` gives it its own user and network namespace.
    """
    bound = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), str(int(number)), *argv]
    return ["unshare", "-rn", "--", *bound] if isolated else bound


def leave_no_core() -> None:
    """Disable core files of this process and its children: for a process that may be started
    without a tether.

    A core file would hold keys and decrypted data.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def require_namespaces() -> None:
    """Raises NoNamespaces when `unshare -rn` does not work on this host."""
    try:
        done = subprocess.run(
            ["unshare", "-rn", "true"], capture_output=True, timeout=10, check=False
        )
        possible = done.returncode == 0
    except FileNotFoundError:
        raise NoNamespaces(
            "the program unshare is missing, so nothing can be shut off from the network",
            "install util-linux, or set VOLENS_RELAX=isolation, which every report will show",
        ) from None
    except (OSError, subprocess.TimeoutExpired):
        possible = False
    if not possible:
        raise NoNamespaces(
            "this host allows no user and network namespaces, so nothing can be shut off from the network",
            "allow unprivileged user namespaces, or set VOLENS_RELAX=isolation, which every report will show",
        )
