"""seccomp: the system calls that a confined child may make; all others are refused.

The list was traced (strace) over every model, analysis, selection, imputation and scaling of the
catalogue, rehearsals, sealing, and both parsers, with their late imports; `tests/trace_calls.py`
repeats it. The list also contains calls to which the C library may fall back: time without a clock
page, threads, returning memory. Where the number of a call is not enough, its arguments are
checked: files are opened for reading only, threads but no processes may be made, signals go to this
process only. A refused call fails with EPERM; a call for which the C library has an older one to
fall back to fails with ENOSYS. A call of another architecture or of the x32 interface ends the
process.

Follows the kernel's documentation, userspace-api/seccomp_filter, and linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass

from api.confinement.kernel import Number, call

AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
SET_MODE_FILTER, FLAG_TSYNC = 1, 1  # seccomp(2): for all threads of this process
KILL_PROCESS, RETURN_ERROR, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
# From linux/filter.h: load a word of the call's description, compare, mask, return.
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # bytes into struct seccomp_data

ALLOWED = {
    # Reading, and writing to the pipe.
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "lseek": 8,
    "pread64": 17,
    "getdents64": 217,
    # Facts about files; the layer FILES decides which paths exist.
    "stat": 4,
    "lstat": 6,
    "access": 21,
    "getcwd": 79,
    "readlink": 89,
    "newfstatat": 262,
    "statx": 332,
    # Memory.
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "mremap": 25,
    "madvise": 28,
    # Threads, locks, waiting, time.
    "poll": 7,
    "sched_yield": 24,
    "nanosleep": 35,
    "gettimeofday": 96,
    "futex": 202,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "set_robust_list": 273,
    "rseq": 334,
    # Signals that this process gets.
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "sigaltstack": 131,
    # Identity and resource use of the process.
    "getpid": 39,
    "uname": 63,
    "getrusage": 98,
    "getuid": 102,
    "getgid": 104,
    "geteuid": 107,
    "getegid": 108,
    "getppid": 110,
    "gettid": 186,
    "sched_getaffinity": 204,
    "getrandom": 318,
    # Its end.
    "exit": 60,
    "exit_group": 231,
}
# The C library falls back to `clone`, whose flags can be checked, and to `openat`.
UNKNOWN = {"clone3": 435, "openat2": 437}


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is allowed when every condition (argument, mask, values) holds.

    The argument's low word under the mask must be one of the values. The high word of an argument
    in `whole` must be 0.
    """

    number: int
    conditions: tuple[tuple[int, int, tuple[int, ...]], ...]
    full_width: tuple[int, ...] = ()


WORD = 0xFFFFFFFF
TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY  # without the bit that reading a folder sets too
MAKES = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND | os.O_ASYNC | TMPFILE  # of open(2)
WRITES = MAKES | os.O_ACCMODE
# clone(2): a thread of this process, and no namespace of its own.
CLONE_VM, CLONE_SIGHAND, CLONE_THREAD = 0x100, 0x800, 0x10000
CLONE_THREAD_OF_OURS = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD
CLONE_NAMESPACES = 0x7E020000
# ioctl(2): TCGETS (is it a terminal?), FIONCLEX, FIOCLEX, FIONBIO.
FILE_CONTROL = (0x5401, 0x5450, 0x5451, 0x5421)
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030
# arch_prctl(2): asking for the matrix registers that linear algebra uses on newer processors.
ARCH_XCOMP = (0x1021, 0x1022, 0x1023)
# Further calls of a GPU's library: waiting for events, locked memory, threads bound to cores.
GPU_CALLS = {"mlock": 149, "munlock": 150, "sched_setaffinity": 203, "eventfd2": 290, "pipe2": 293}
# Of ioctl(2).
TYPE_BYTE, TERMINAL_CONTROL, EXT_CONTROL, XFS_CONTROL = 0xFF00, 0x5400, 0x6600, 0x5800
OPEN, OPENAT, IOCTL, CLONE, FCNTL = 2, 257, 16, 56, 72
ARCH_PRCTL, TGKILL, PRLIMIT64 = 158, 234, 302


def rules(devices: bool) -> list[Rule]:
    """The calls whose arguments are checked, for this process. devices: whether a GPU is used."""
    opened = MAKES if devices else WRITES
    thread = (0, CLONE_THREAD_OF_OURS | CLONE_NAMESPACES, (CLONE_THREAD_OF_OURS,))
    all_rules = [
        Rule(OPEN, ((1, opened, (0,)),)),
        Rule(OPENAT, ((2, opened, (0,)),)),
        Rule(CLONE, (thread,)),
        Rule(FCNTL, ((1, WORD, (F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC)),)),
        Rule(TGKILL, ((0, WORD, (os.getpid(),)),)),  # how a process aborts itself
        Rule(PRLIMIT64, ((0, WORD, (0,)), (2, WORD, (0,))), full_width=(2,)),  # asking, of itself
        Rule(ARCH_PRCTL, ((0, WORD, ARCH_XCOMP),)),
    ]
    if not devices:
        all_rules.append(Rule(IOCTL, ((1, WORD, FILE_CONTROL),)))
    return all_rules


Instruction = tuple[int, int, int, int]  # code, steps over when true, steps over when false, value


def compile_filter(devices: bool) -> list[Instruction]:
    """The program that the kernel runs at each call of this process."""
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_AT_LEAST, 0, 1, X32_BIT),
        (RETURN, 0, 0, KILL_PROCESS),
    ]
    for number in {**ALLOWED, **(GPU_CALLS if devices else {})}.values():
        program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    for number in UNKNOWN.values():
        program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, RETURN_ERROR | errno.ENOSYS)]
    for rule in rules(devices):
        body = _compile_rule(rule)
        program += [(JUMP_EQUAL, 0, len(body), rule.number), *body]
    if devices:
        body = _compile_device_control()
        program += [(JUMP_EQUAL, 0, len(body), IOCTL), *body]
    return [*program, (RETURN, 0, 0, RETURN_ERROR | errno.EPERM)]


def _compile_rule(rule: Rule) -> list[Instruction]:
    """Allow when all conditions hold, else refuse; the call's number is no longer loaded
    afterwards.
    """
    refuse = (RETURN, 0, 0, RETURN_ERROR | errno.EPERM)
    body: list[Instruction] = []
    for argument in rule.full_width:
        body += [(LOAD, 0, 0, ARGUMENTS_AT + 8 * argument + 4), (JUMP_EQUAL, 1, 0, 0), refuse]
    for argument, mask, values in rule.conditions:
        body += [(LOAD, 0, 0, ARGUMENTS_AT + 8 * argument), (AND, 0, 0, mask)]
        # A hit steps over the other values and the refusal.
        body += [(JUMP_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
        body.append(refuse)
    return [*body, (RETURN, 0, 0, ALLOW)]


def _compile_device_control() -> list[Instruction]:
    """Allow FILE_CONTROL on any file, and other ioctls except those of terminals and file systems."""
    refused_types = (TERMINAL_CONTROL, EXT_CONTROL, XFS_CONTROL)
    body: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS_AT + 8)]
    for request in FILE_CONTROL:
        body += [(JUMP_EQUAL, 0, 1, request), (RETURN, 0, 0, ALLOW)]
    body.append((AND, 0, 0, TYPE_BYTE))
    body += [
        (JUMP_EQUAL, len(refused_types) - at, 0, kind) for at, kind in enumerate(refused_types)
    ]
    return [*body, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, RETURN_ERROR | errno.EPERM)]


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.c_void_p))


def install(devices: bool) -> None:
    """Filter every thread of this process, permanently. Needs no_new_privs. Raises OSError."""
    steps = [_Instruction(*step) for step in compile_filter(devices)]
    program = (_Instruction * len(steps))(*steps)
    described = _Program(len(steps), ctypes.addressof(program))
    if call(Number.SECCOMP, SET_MODE_FILTER, FLAG_TSYNC, described):
        raise OSError(errno.ESRCH, "a thread could not be filtered")
