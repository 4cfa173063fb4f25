"""Start a program in new namespaces, tied to this process and known by the pid seen from here."""

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
START = 30.0  # seconds in which the launcher must report the pid
GONE = 10.0  # seconds to wait for the end of a killed process


class Launched:
    """A program started by `launch`; `stdin` and `stdout` are its pipes if requested."""

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
        """Kill it and all that it started; returns when they are gone. May be called again."""
        self._process.kill()
        self._process.wait()
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        # A second caller waits too, and must not close a descriptor number that was reused
        # meanwhile.
        with self._ending:
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
    """Run `command` (a program's absolute path first) in the wanted namespaces, as far as the host
    offers them.

    It dies with the calling *thread*: call from one that lives as long as the program should. It
    gets only ENVIRONMENT, the standard streams if `pipes` is set, and `descriptors`. Raises OSError
    when it does not start.
    """
    read_end, write_end = os.pipe()
    stream = subprocess.PIPE if pipes else subprocess.DEVNULL
    layers = str(int(confinement.wanted))
    argv = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), layers, str(write_end)]
    try:
        process = subprocess.Popen(
            [*argv, *command],
            stdin=stream,
            stdout=stream,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(write_end, *descriptors),
            bufsize=0,
        )
    except OSError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    with os.fdopen(read_end, "rb", buffering=0) as answer:
        ready = select.select([answer], [], [], START)[0]
        line = answer.read(32) if ready else b""
    launched = Launched(process, int(line or 0), -1)
    try:
        # The launcher does not reap its command: while it lives, no other process gets this pid.
        launched._descriptor = os.pidfd_open(launched.pid)
        if not launched.alive:
            raise ProcessLookupError("the program ended at once")
    except OSError:
        launched.end()
        raise
    return launched


def pid_of(descriptor: int) -> int:
    """The pid, as seen by this process, for a process descriptor; below 1 when the process is gone."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
