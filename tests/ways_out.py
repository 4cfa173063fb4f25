"""Escape attempts of code in a confined child. Imported in the child before its confinement.

Each way is a function that does it and returns something, or raises OSError. `only` names the one
layer that stands against it; None: at least two do, so that it is refused also with any one layer
taken out. `fatal`: trying it may end the process. `root`: without confinement it works for the
superuser only. `rooted`: of the layer FILES it takes the root of its own, Landlock does not stand
against it. `shown`: it is a way out only where somebody outside reads it, in the file of this name
in the process's folder in /proc; the test looks there.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.confinement import Layer
from api.confinement.kernel import call

Scene = dict[str, Any]
FILES, PROCESSES, CALLS = Layer.FILES, Layer.PROCESSES, Layer.CALLS
PROGRAM = "/lib64/ld-linux-x86-64.so.2"  # one that lies among the interpreter's libraries
READABLE = os.__file__  # as the interpreter's own files do
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER = 0x20000, 0x4000000, 0x10000000
IPC_CREAT = 0o1000


@dataclass(frozen=True)
class Way:
    what: str
    go: Callable[[Scene], Any]
    only: Layer | None
    fatal: bool = False
    root: bool = False
    rooted: bool = False
    shown: str = ""


WAYS: dict[str, Way] = {}


def way(
    what: str,
    only: Layer | None,
    fatal: bool = False,
    root: bool = False,
    rooted: bool = False,
    shown: str = "",
) -> Callable[[Callable[[Scene], Any]], Callable[[Scene], Any]]:
    def add(go: Callable[[Scene], Any]) -> Callable[[Scene], Any]:
        assert what not in WAYS
        WAYS[what] = Way(what, go, only, fatal, root, rooted, shown)
        return go

    return add


def attempt(scene: Scene) -> dict[str, str]:
    """What became of each way that is asked for: "through", or "refused" with the error."""
    return {what: _try(WAYS[what], scene) for what in scene["ways"]}


def _try(way: Way, scene: Scene) -> str:
    try:
        became = way.go(scene)
    except OSError as error:
        return f"refused: {errno.errorcode.get(error.errno or 0, error)}"
    except Exception as error:  # a fault of the way itself, which the test reports
        return f"fault: {error!r}"
    return "through" if became is not False else "refused"


def apart(do: Callable[[], Any]) -> Any:
    """Do it in a fork, since it changes the process; where no fork can be made, here."""
    try:
        pid = os.fork()
    except OSError:
        return do()
    if not pid:
        code = 255
        os.closerange(1, 3)  # what it prints is no frame
        try:
            do()
            code = 0
        except OSError as error:
            code = error.errno or 254
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise OSError(status, "in the fork")
    return True


def keys(scene: Scene, name: str) -> bytes:
    return Path(scene["home"], name).read_bytes()


# -- what lies in the home, and in the rest of the host

way("read the broker's master key", FILES)(lambda s: keys(s, "broker/master.key"))
way("read a seed", FILES)(lambda s: keys(s, "broker/seeds/1"))
way("read a private key", FILES)(lambda s: keys(s, "keys/ada.json"))
way("read the database", FILES)(lambda s: keys(s, "volens.db"))
way("list the home", FILES)(lambda s: os.listdir(s["home"]))
way("read a user's file elsewhere", FILES)(lambda s: Path("/etc/passwd").read_bytes())
way("list the host's root", FILES)(lambda s: "home" in os.listdir("/") or False)
way("read the command line of the supervisor", FILES)(
    lambda s: Path(f"/proc/{s['supervisor']}/cmdline").read_bytes()
)
way("read what is mounted", FILES)(lambda s: Path("/proc/self/mountinfo").read_bytes())
way("read the broker's environment", None)(
    lambda s: Path(f"/proc/{s['victims'][0]}/environ").read_bytes()
)
# Landlock lets everybody ask whether a file exists: only a root of its own answers no.
way("see that a key exists", FILES, rooted=True)(
    lambda s: os.stat(Path(s["home"], "keys/ada.json"))
)


@way("read the supervisor's memory through /proc", None)
def read_memory(scene: Scene) -> bytes | bool:
    with open(f"/proc/{scene['supervisor']}/mem", "rb", buffering=0) as memory:
        memory.seek(scene["address"])
        return memory.read(8) == b"canary!!"


@way("read the supervisor's memory by system call", None)
def read_by_call(scene: Scene) -> bool:
    return copied(scene["supervisor"], scene["address"]) == b"canary!!"


@way("read one's own memory by system call", CALLS)
def read_own(scene: Scene) -> bytes:
    canary = ctypes.create_string_buffer(b"canary!!")
    return copied(os.getpid(), ctypes.addressof(canary))


def copied(pid: int, address: int) -> bytes:
    into = ctypes.create_string_buffer(8)
    ours = (ctypes.c_uint64 * 2)(ctypes.addressof(into), 8)
    theirs = (ctypes.c_uint64 * 2)(address, 8)
    call(310, pid, ours, 1, theirs, 1, 0)
    return into.raw


# -- writing: files, names, time stamps

way("write a file into the home", None)(lambda s: Path(s["home"], "leak").write_bytes(b"x"))
way("write a file into shared memory", None)(lambda s: Path(s["shared"]).write_bytes(b"x"))
way("make a nameless file", None)(
    lambda s: os.write(os.open(s["home"], os.O_TMPFILE | os.O_RDWR), b"x")
)
way("make a file in memory", CALLS)(lambda s: os.memfd_create("leak"))
way("open a file by the newest call, whose arguments lie in memory", CALLS)(
    lambda s: os.close(call(437, (1 << 64) - 100, READABLE.encode(), (ctypes.c_uint32 * 6)(), 24))
)
way("cut a file", None)(lambda s: os.truncate(Path(s["home"], "cut"), 1))
way("make a folder", None)(lambda s: os.mkdir(Path(s["home"], "folder")))
way("rename a file", None)(
    lambda s: os.rename(Path(s["home"], "rename"), Path(s["home"], "renamed"))
)
way("remove a file", None)(lambda s: os.unlink(Path(s["home"], "unlink")))
way("make a hard link", None)(
    lambda s: os.link(Path(s["home"], "volens.db"), Path(s["home"], "link"))
)
way("carry 2,000 bytes in the name of a symlink", None)(
    lambda s: os.symlink("q" * 2000, Path(s["home"], "symlink"))
)
way("make a named pipe", None)(lambda s: os.mkfifo(Path(s["home"], "fifo")))
way("carry data in a file's time stamp", None)(
    lambda s: os.utime(Path(s["home"], "volens.db"), (123456789, 123456789))
)
way("carry data in the time stamp of an open descriptor", CALLS)(
    lambda s: os.utime(s.get("descriptor", 0), (123456789, 123456789))
)
way("carry data in a file's mode", None)(lambda s: os.chmod(Path(s["home"], "volens.db"), 0o640))
way("carry data in the mode of an open descriptor", CALLS)(
    lambda s: os.chmod(s.get("descriptor", 0), 0o640)
)
way("give a file to somebody", None)(
    lambda s: os.chown(Path(s["home"], "volens.db"), os.getuid(), os.getgid())
)
way("give an open descriptor to somebody", CALLS)(
    lambda s: os.fchown(s.get("descriptor", 0), os.getuid(), -1)
)
way("carry data in an extended attribute", None)(
    lambda s: os.setxattr(Path(s["home"], "volens.db"), "user.leak", b"x")
)
way("carry data in a lock on a file that all read", CALLS)(
    lambda s: __import__("fcntl").flock(os.open(READABLE, os.O_RDONLY), 1)
)
way("carry data in a lock on a part of a file", CALLS)(
    lambda s: __import__("fcntl").lockf(os.open(READABLE, os.O_RDONLY), 1, 1)
)
way("have signals sent when a pipe is written to", CALLS)(
    lambda s: __import__("fcntl").fcntl(0, 8, os.getpid())
)
way("control a pipe's device", CALLS)(
    lambda s: __import__("fcntl").ioctl(0, 0x5452, struct.pack("i", 0))
)
way("watch a folder", CALLS)(lambda s: call(294, 0))
way("watch the file system", CALLS)(lambda s: call(300, 0x200, 0))
way("change what new files may do", CALLS)(lambda s: os.umask(0o022) >= 0)
way("change the working folder", CALLS)(lambda s: os.chdir("/usr/lib"))
way("change the root", None, root=True)(lambda s: apart(lambda: os.chroot("/usr/lib")))


# -- sockets


def connected(family: int, kind: int, address: Any, protocol: int = 0) -> bool:
    with socket.socket(family, kind, protocol) as reached:
        reached.settimeout(2)
        reached.connect(address)
    return True


way("connect to a unix socket by its path", None)(
    lambda s: connected(socket.AF_UNIX, socket.SOCK_STREAM, s["socket"])
)
way("connect to an abstract unix socket", None)(
    lambda s: connected(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + s["abstract"])
)
way("connect over TCP", None)(
    lambda s: connected(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", s["port"]))
)
way("send over UDP", None)(
    lambda s: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
        b"x", ("127.0.0.1", s["port"])
    )
)
way("make a TCP socket", CALLS)(lambda s: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close())
way("make a UDP socket", CALLS)(lambda s: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
way("make a unix socket", CALLS)(lambda s: socket.socket(socket.AF_UNIX).close())
way("make a pair of sockets", CALLS)(lambda s: [line.close() for line in socket.socketpair()])
way("make a raw socket", None, root=True)(
    lambda s: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
)
way("ask the kernel over netlink", CALLS)(
    lambda s: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
)


# -- programs and processes


@way("make a process", CALLS)
def fork(scene: Scene) -> int:
    pid = os.fork()
    if not pid:
        os._exit(0)
    return os.waitpid(pid, 0)[0]


@way("make a process the older way", CALLS)
def vfork(scene: Scene) -> int:
    pid = call(57)  # fork(2) itself, which the C library does not use
    if not pid:
        os._exit(0)
    return os.waitpid(pid, 0)[0]


@way("make a process by the newest call", CALLS)
def clone3(scene: Scene) -> int:
    asked = (ctypes.c_uint32 * 16)()
    asked[8] = signal.SIGCHLD  # exit_signal of struct clone_args
    pid = call(435, asked, 64)
    if not pid:
        os._exit(0)
    return os.waitpid(pid, 0)[0]


@way("run a program", None)
def run(scene: Scene) -> Any:
    return apart(lambda: os.execv(PROGRAM, [PROGRAM, "--help"]))


@way("start a program", None)
def spawn(scene: Scene) -> bool:
    pid = os.posix_spawn(PROGRAM, [PROGRAM, "--help"], {}, file_actions=QUIET)
    return os.waitpid(pid, 0)[1] == 0


QUIET = [(os.POSIX_SPAWN_CLOSE, number) for number in (1, 2)]


@way("run a program from memory", CALLS)
def run_from_memory(scene: Scene) -> Any:
    program = os.memfd_create("program")
    os.write(program, b"#!/nowhere\n")
    try:
        apart(lambda: os.execve(program, ["x"], {}))
    except FileNotFoundError:  # its interpreter: the kernel began to run it
        return True
    return False


way("signal the broker", None)(lambda s: os.kill(s["victims"][0], signal.SIGUSR1))
way("signal one thread of the broker", None)(
    lambda s: call(234, s["victims"][1], s["victims"][1], signal.SIGUSR1)
)
way("signal one thread by its number alone", None)(
    lambda s: call(200, s["victims"][1], signal.SIGUSR1)
)
way("signal the supervisor by a process descriptor", None)(
    lambda s: signal.pidfd_send_signal(os.pidfd_open(s["victims"][2]), signal.SIGUSR1)
)
way("signal a whole group", None)(lambda s: os.killpg(s["victims"][3], signal.SIGUSR1))
way("send data with a signal", None)(
    lambda s: call(129, s["victims"][3], signal.SIGUSR1, queued(s["victims"][3]))
)
way("stop or resume a process", None)(lambda s: os.kill(s["victims"][0], signal.SIGCONT))
way("slow the broker down", None)(lambda s: os.setpriority(os.PRIO_PROCESS, s["victims"][0], 1))
way("bind the broker to one core", None)(lambda s: os.sched_setaffinity(s["victims"][0], {0}))
way("limit what the broker may use", None)(
    lambda s: resource.prlimit(s["victims"][0], resource.RLIMIT_CORE, (0, 0))
)
way("limit oneself, for others to see", CALLS)(
    lambda s: call(160, resource.RLIMIT_CORE, (ctypes.c_uint32 * 4)())
)
way("limit oneself by the newer call", CALLS)(
    lambda s: call(302, 0, resource.RLIMIT_CORE, (ctypes.c_uint32 * 4)(), None)
)
way("see that another process runs", PROCESSES)(lambda s: os.sched_getaffinity(s["victims"][0]))
way("see who the parent is", PROCESSES)(lambda s: os.getppid() or False)
way("trace the broker", None)(lambda s: call(101, 16, s["victims"][0], None, None))
way("be traced", CALLS)(lambda s: apart(lambda: call(101, 0, 0, None, None)))
way("carry data in the process's name", CALLS)(lambda s: call(157, 15, b"leak", 0, 0, 0))
way("carry data in the memory of the command line", CALLS, shown="cmdline")(
    lambda s: overwrite(pointer("program_invocation_name"), mark(s, "cmdline"))
)
way("carry data in the memory of the environment", CALLS, shown="environ")(
    lambda s: overwrite(
        ctypes.c_void_p.from_address(pointer("environ")).value or 0, mark(s, "environ")
    )
)
way("let oneself be debugged again", CALLS)(lambda s: apart(lambda: call(157, 4, 1, 0, 0, 0)))
way("outlive the parent", CALLS)(lambda s: apart(lambda: call(157, 1, 0, 0, 0, 0)))
way("carry data in the process's priority", CALLS)(lambda s: apart(lambda: os.nice(1)))
way("carry data in the process's cores", CALLS)(
    lambda s: os.sched_setaffinity(0, os.sched_getaffinity(0))
)
way("change the session", CALLS)(lambda s: apart(os.setsid))


SHOWN = 1.0  # seconds for which somebody outside may look


def mark(scene: Scene, shown: str) -> bytes:
    """What is looked for in that file; short, since it is written over the first word there."""
    return f"{scene['abstract']}{shown[:3]}".encode()


def pointer(symbol: str) -> int:
    return ctypes.c_void_p.in_dll(ctypes.CDLL(None), symbol).value or 0


def overwrite(address: int, data: bytes) -> None:
    """For a while, without any system call that says so."""
    before = ctypes.string_at(address, len(data))
    ctypes.memmove(address, data, len(data))
    time.sleep(SHOWN)
    ctypes.memmove(address, before, len(before))


def queued(pid: int) -> ctypes.Array[ctypes.c_uint32]:
    information = (ctypes.c_uint32 * 32)()
    information[0], information[2] = signal.SIGUSR1, 0xFFFFFFFF  # si_signo, si_code SI_QUEUE
    return information


# -- memory and queues that processes share, and keys of the kernel

way("make System V shared memory", CALLS)(lambda s: removed(29, 31, 0, 4096, IPC_CREAT | 0o600))
way("make a System V queue", CALLS)(lambda s: removed(68, 71, 0, IPC_CREAT | 0o600))
way("make System V semaphores", CALLS)(lambda s: removed(64, 66, 0, 1, IPC_CREAT | 0o600))


@way("make a POSIX queue", None)
def queue(scene: Scene) -> None:
    name = f"volens-{os.getpid()}".encode()
    os.close(call(240, name, os.O_CREAT | os.O_RDWR, 0o600, None))
    call(241, name)


way("keep something in a keyring", CALLS)(
    lambda s: call(248, b"user", b"volens", b"x", 1, (1 << 64) - 2)
)
way("use a keyring", CALLS)(lambda s: call(250, 0, (1 << 64) - 2, 1))


def removed(make: int, control: int, *arguments: int) -> bool:
    number = call(make, *arguments)
    if control == 66:
        call(control, number, 0, 0, None)  # semctl(2): IPC_RMID is its third argument
    else:
        call(control, number, 0, None)
    return True


# -- the kernel's larger surfaces


@way("set up a ring of system calls", CALLS)
def ring(scene: Scene) -> None:
    os.close(call(425, 1, (ctypes.c_uint32 * 30)()))


@way("load a program into the kernel", None, root=True)
def load_program(scene: Scene) -> None:
    attributes = (ctypes.c_uint32 * 32)()
    attributes[:4] = (2, 4, 4, 1)  # BPF_MAP_TYPE_ARRAY, sizes of key and value, one entry
    os.close(call(321, 0, attributes, 128))


@way("count the processor's events", CALLS)
def count_events(scene: Scene) -> None:
    attributes = (ctypes.c_uint32 * 32)()
    # PERF_TYPE_SOFTWARE, size, PERF_COUNT_SW_TASK_CLOCK; without kernel and hypervisor
    attributes[:3] = (1, 128, 1)
    attributes[10] = 1 << 5 | 1 << 6
    os.close(call(298, attributes, 0, (1 << 64) - 1, (1 << 64) - 1, 0))


way("handle page faults", CALLS)(lambda s: os.close(call(323, 1)))
way("change how programs are laid out", CALLS)(lambda s: apart(lambda: call(135, 0x0040000)))
way("make a user namespace", CALLS)(lambda s: apart(lambda: call(272, CLONE_NEWUSER)))
way("make a process in new namespaces", CALLS)(lambda s: namespaced())
way("enter a namespace", None, root=True)(
    lambda s: apart(lambda: call(308, os.pidfd_open(os.getpid()), CLONE_NEWUTS))
)


def namespaced() -> int:
    pid = call(56, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        os._exit(0)
    return os.waitpid(pid, 0)[0]


@way("mount a file system", None)
def mount(scene: Scene) -> Any:
    def do() -> None:
        call(272, CLONE_NEWUSER | CLONE_NEWNS)
        call(165, b"x", b"/usr/lib", b"tmpfs", 0, None)

    return apart(do)


@way("turn the root round", None)
def pivot(scene: Scene) -> Any:
    def do() -> None:
        call(272, CLONE_NEWUSER | CLONE_NEWNS)
        call(165, None, b"/", None, 1 << 18 | 1 << 14, None)
        call(165, b"x", b"/usr/lib", b"tmpfs", 0, None)
        os.chdir("/usr/lib")
        call(155, b".", b".")

    return apart(do)


way("open a GPU's device", None)(lambda s: os.close(os.open("/dev/zero", os.O_RDWR)))
way("open a terminal", None)(lambda s: [os.close(descriptor) for descriptor in os.openpty()])
way("send a descriptor to nowhere", CALLS)(lambda s: call(293, (ctypes.c_uint32 * 2)(), 0))
way("wait for events", CALLS)(lambda s: os.close(call(291, 0)))


# -- other ways to say a system call; both end a process that is confined


@way("call the kernel as an x32 program", CALLS, fatal=True)
def as_x32(scene: Scene) -> bool:
    try:
        call(0x40000000 | 39)
    except OSError as error:
        return error.errno == errno.ENOSYS  # the kernel has no such interface, but was asked
    return True


@way("call the kernel as a 32-bit program", CALLS, fatal=True)
def as_32_bit(scene: Scene) -> bool:
    code = bytes.fromhex("b814000000cd80c3")  # mov eax, 20 (getpid); int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return bool(enter() == os.getpid())


# -- the two children


def answer(source: Any, sink: Any, code: bytes) -> int:
    """In place of an attempt of the computing child: hear a scene, say what became of its ways."""
    from api.worker.frames import read_frame, write_frame

    scene, _ = read_frame(source)
    write_frame(sink, {"say": "ways", "found": attempt(scene)})
    return 0


def parse(sink: Any, descriptor: int, request: Any) -> Any:
    """In place of the parser's work: the scene is the request, and what became of it a refusal's
    sentence.
    """
    from analytics.errors import PayloadError

    raise PayloadError(json.dumps(attempt({**request["scene"], "descriptor": descriptor})))


sys.modules.setdefault("ways_out", sys.modules[__name__])
