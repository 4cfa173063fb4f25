"""System calls without a Python function, by their x86-64 numbers; errors are raised as OSError."""

from __future__ import annotations

import ctypes
import os
from enum import IntEnum

Argument = int | bytes | ctypes.Structure | ctypes.Array[ctypes.c_uint32] | None
_libc = ctypes.CDLL(None, use_errno=True)


class Number(IntEnum):
    """Numbers of the system calls used here, from asm/unistd_64.h."""

    CAPSET = 126
    PIVOT_ROOT = 155
    PRCTL = 157
    MOUNT = 165
    UMOUNT2 = 166
    UNSHARE = 272
    SETNS = 308
    SECCOMP = 317
    LANDLOCK_CREATE_RULESET = 444
    LANDLOCK_ADD_RULE = 445
    LANDLOCK_RESTRICT_SELF = 446


PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
PR_SET_MM, PR_SET_MM_MAP = 35, 14
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000


def call(number: int, *arguments: Argument) -> int:
    """Make a system call; structures and arrays are passed by address. Raises OSError."""
    passed = [_as_register(argument) for argument in arguments]
    result = _libc.syscall(ctypes.c_long(number), *passed)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _as_register(argument: Argument) -> ctypes.c_ulong | ctypes.c_char_p | ctypes.c_void_p:
    if isinstance(argument, int):
        return ctypes.c_ulong(argument)
    if argument is None or isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    return ctypes.c_void_p(ctypes.addressof(argument))
