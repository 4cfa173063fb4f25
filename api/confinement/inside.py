"""Confine the calling process: command line, files, privileges, system calls, in this order."""

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
    """Apply every wanted layer that the host offers; returns the Landlock ABI in force, 0 for none.

    A layer that the host refuses is left out: the supervisor checks from outside whether the rest
    is enough. For a process with one thread.
    """
    used, readable, devices = 0, find_readable(), find_devices()
    if Layer.CALLS in confinement.wanted:
        with suppress(OSError):
            commandline.hide()  # first, because it reads /proc
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
    """Drop all capabilities for good."""
    number = 0
    while True:
        try:
            call(Number.PRCTL, PR_CAPBSET_DROP, number, 0, 0, 0)
        except OSError:  # past the last capability, or not permitted
            break
        number += 1
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    call(Number.CAPSET, header, (ctypes.c_uint32 * 6)())


class Forks:
    """Forks of the first process of a pid namespace: each gets its own pid namespace.

    If this process is not the first of its pid namespace, they are plain forks.
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
