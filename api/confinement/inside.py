"""What a child does to itself before it is given anything: memory, files, privileges, system calls, in order."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from api.confinement import commandline, landlock, mounts, seccomp
from api.confinement.interpreter import find_devices, find_readable
from api.confinement.kernel import (
    CLONE_NEWPID,
    PR_CAPBSET_DROP,
    PR_SET_NO_NEW_PRIVS,
    Number,
    call,
)
from api.confinement.layers import Confinement, Layer

CAPABILITY_VERSION = 0x20080522  # of linux/capability.h: two words for each of three sets


def confine(confinement: Confinement) -> int:
    """Every wanted layer that the host offers; the Landlock ABI in force, 0 for none.

    What the host refuses is left out: whether the rest is enough is judged by who looks from outside. For a process of
    one thread.
    """
    used, readable, devices = 0, find_readable(), find_devices()
    if Layer.CALLS in confinement.wanted:
        with suppress(OSError):
            commandline.hide()  # first: it reads /proc, which the child then has no more
    files = Layer.FILES in confinement.wanted
    if files and confinement.mounts:
        with suppress(OSError):
            readable += mounts.keep_only(readable, devices)
    call(Number.PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if files:
        present = [path for path in readable if os.path.exists(path)]
        with suppress(OSError):
            used = landlock.restrict(present, devices, confinement.landlock)
    if confinement.wanted:
        drop_capabilities()
    if Layer.CALLS in confinement.wanted:
        with suppress(OSError):
            seccomp.install(bool(devices))
    return used


def drop_capabilities() -> None:
    """None is left, and none can come back."""
    number = 0
    while True:
        try:
            call(Number.PRCTL, PR_CAPBSET_DROP, number, 0, 0, 0)
        except OSError:  # past the last one, or not ours to drop
            break
        number += 1
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    call(Number.CAPSET, header, (ctypes.c_uint32 * 6)())


class Forks:
    """Forks of a process that is the first of its pid namespace: each gets a pid namespace of its own.

    Where this process has no pid namespace of its own, they are plain forks.
    """

    def __init__(self) -> None:
        first = os.getpid() == 1
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if first else -1

    def fork(self) -> int:
        """As os.fork. Raises OSError."""
        if self._home < 0:
            return os.fork()
        call(Number.UNSHARE, CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:  # the next fork begins again from this process's own namespace
                call(Number.SETNS, self._home, CLONE_NEWPID)
        return pid
