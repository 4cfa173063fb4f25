"""Starts a program in namespaces of its own, tied to this process; it is known by the pid that this process sees."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from api.confinement.layers import Confinement

LAUNCHER = Path(__file__).with_name("launcher.py")
# One thread for each numerical library: the same sums in the same order on every machine.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
START = 30.0  # seconds in which the launcher must have said the pid
GONE = 10.0  # seconds that a killed process is waited for


class Launched:
    """A program that `launch` started; `stdin` and `stdout` are its pipes where they were asked for."""

    def __init__(self, process: subprocess.Popen[bytes], pid: int, descriptor: int) -> None:
        self.pid = pid
        self._process, self._descriptor = process, descriptor
        self._ending = threading.Lock()

    @property
    def stdin(self) -> IO[bytes] | None:
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Kill it and all that it started, and return when nothing of them is left. May be called again."""
        self._process.kill()
        self._process.wait()
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with self._ending:  # whoever comes second waits too, and closes no descriptor that is somebody else's by then
            if self._descriptor >= 0:
                select.select([self._descriptor], [], [], GONE)
                os.close(self._descriptor)
                self._descriptor = -1


def launch(
    command: Sequence[str],
    confinement: Confinement,
    *,
    pipes: bool = False,
    descriptors: Sequence[int] = (),
) -> Launched:
    """Run `command` (a program's absolute path first) in the wanted namespaces, as far as the host offers them.

    It dies with the calling *thread*: call from one that lives as long as the program should. It gets an environment
    of four names, no standard streams but `pipes`, and `descriptors`. Raises OSError when it does not start.
    """
    told, telling = os.pipe()
    stream = subprocess.PIPE if pipes else subprocess.DEVNULL
    layers = str(int(confinement.wanted))
    argv = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), layers, str(telling)]
    try:
        process = subprocess.Popen(
            [*argv, *command],
            stdin=stream,
            stdout=stream,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(telling, *descriptors),
            bufsize=0,
        )
    except OSError:
        os.close(told)
        raise
    finally:
        os.close(telling)
    with os.fdopen(told, "rb", buffering=0) as answer:
        ready = select.select([answer], [], [], START)[0]
        said = answer.read(32) if ready else b""
    launched = Launched(process, int(said or 0), -1)
    try:
        # The launcher leaves its command unreaped: while it lives, this pid is no other process's.
        launched._descriptor = os.pidfd_open(launched.pid)
        if not launched.alive:
            raise ProcessLookupError("the program ended at once")
    except OSError:
        launched.end()
        raise
    return launched


def pid_of(descriptor: int) -> int:
    """The pid, as this process sees it, of the process that a process descriptor is of; below 1 when it is gone."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
