"""Hide the command line and environment of this process (/proc/PID/cmdline and /proc/PID/environ).

Anybody on the host may read a process's command line, and the kernel takes it from the process's
own memory: a child could publish data by writing there, without any system call. Here the kernel's
record of the address range is set to an empty range. The system call that could set it again
(prctl) is refused afterwards by seccomp.

Uses prctl(2), PR_SET_MM_MAP: needs no privilege, and a kernel with CONFIG_CHECKPOINT_RESTORE.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from api.confinement.kernel import PR_SET_MM, PR_SET_MM_MAP, Number, call

KEPT = 0xFFFFFFFF  # exe_fd: the program's file does not change
# Numbers of fields in proc_pid_stat(5); the pid is field 1.
START_CODE, END_CODE, START_STACK, START_DATA, END_DATA, START_BRK = 26, 27, 28, 45, 46, 47
ARG_START, ARG_END, ENV_START, ENV_END = 48, 49, 50, 51


class _Map(ctypes.Structure):
    """struct prctl_mm_map of linux/prctl.h."""

    _fields_ = (
        ("start_code", ctypes.c_uint64),
        ("end_code", ctypes.c_uint64),
        ("start_data", ctypes.c_uint64),
        ("end_data", ctypes.c_uint64),
        ("start_brk", ctypes.c_uint64),
        ("brk", ctypes.c_uint64),
        ("start_stack", ctypes.c_uint64),
        ("arg_start", ctypes.c_uint64),
        ("arg_end", ctypes.c_uint64),
        ("env_start", ctypes.c_uint64),
        ("env_end", ctypes.c_uint64),
        ("auxv", ctypes.c_uint64),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    )


def hide() -> None:
    """Show an empty command line and environment from now on.

    Needs /proc. Raises OSError if refused.
    """
    code, end_code, stack, data, end_data, heap, nowhere = _fields(
        Path("/proc/self"),
        (START_CODE, END_CODE, START_STACK, START_DATA, END_DATA, START_BRK, ARG_START),
    )
    described = _Map(
        code,
        end_code,
        data,
        end_data,
        heap,
        _find_break(),
        stack,
        arg_start=nowhere,
        arg_end=nowhere,
        env_start=nowhere,
        env_end=nowhere,
        exe_fd=KEPT,
    )
    call(Number.PRCTL, PR_SET_MM, PR_SET_MM_MAP, described, ctypes.sizeof(described), 0)


def is_hidden(process_folder: Path) -> bool:
    """Whether a process, by its folder in /proc, shows neither. Raises OSError, ValueError.

    Checks the addresses, not the shown content: an unmapped range shows nothing until memory is
    mapped there. The addresses are all 0 for a reader without permission.
    """
    start, end, env_start, env_end = _fields(
        process_folder, (ARG_START, ARG_END, ENV_START, ENV_END)
    )
    return start == end != 0 and env_start == env_end != 0


def _fields(process_folder: Path, numbers: tuple[int, ...]) -> list[int]:
    # The program's name comes second, in brackets, and may hold anything.
    after_name = (process_folder / "stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    return [int(after_name[number - 3]) for number in numbers]


def _find_break() -> int:
    """Where the heap ends."""
    find = ctypes.CDLL(None).sbrk
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    return int(find(0))
