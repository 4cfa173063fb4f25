"""Starts confined children for the supervisor: fork, check the confinement, exchange frames, kill.

Loading the models' libraries takes seconds, so one process (`ForkServer`) loads them once and holds
nothing else. Each attempt is a fork of it: a separate process with its own session, which dies with
the server. The confinement that a child reports is checked from outside; an unconfined child gets
no data.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from api.confinement import ALL, Confinement, NotConfined
from api.confinement.launching import Launched, launch, pid_of
from api.confinement.outside import layers_in_force
from api.worker.frames import PipeClosed, read_frame, write_frame

SILENCE = 120.0  # seconds that a child may neither send an expected frame nor read one
FRAME = 60.0  # seconds from the first byte of a child's frame to the last
PULSE = 0.1  # seconds between two calls of `watch`, at most
MAX_HEADER = 1 << 16  # bytes of a frame's header, without its blobs
Watch = Callable[[], None]


class AttemptEnded(Exception):
    """This attempt is over; a new one may follow, after `pause` seconds.

    `hint`: what to do about it, if anything.
    """

    def __init__(self, why: str, pause: int = 0, hint: str = "") -> None:
        super().__init__(why)
        self.pause = pause
        self.hint = hint


class ForkServer:
    """Starts children from a server process, which starts at first use and again after its death.

    `folder` comes before the installed packages in the path (a copied package has another code
    hash). Call from threads that live as long as the server should: it dies with the thread that
    started it.
    """

    PROGRAM = "from api.worker.compute import serve; sys.exit(serve({descriptor}, {confinement!r}))"

    def __init__(self, folder: Path | None = None, confinement: Confinement | None = None) -> None:
        self.folder, self.confinement = folder, confinement or Confinement()
        self._server: Launched | None = None
        self._socket: socket.socket | None = None

    def warm(self) -> None:
        """Start loading, without waiting for it.

        Raises AttemptEnded when no process can be started.
        """
        if self._server is not None and self._server.alive:
            return
        self.end()
        ours, theirs = socket.socketpair()
        path = f"sys.path.insert(0, {str(self.folder)!r}); " if self.folder else ""
        code = self.PROGRAM.format(
            descriptor=theirs.fileno(), confinement=self.confinement.encode()
        )
        command = [sys.executable, "-I", "-c", f"import sys; {path}{code}"]
        with theirs:
            try:
                self._server = launch(command, self.confinement, descriptors=(theirs.fileno(),))
            except OSError:
                ours.close()
                raise AttemptEnded("no computing process can be started", pause=5) from None
        ours.settimeout(SILENCE)
        self._socket = ours

    def child(self, models: Iterable[str] = ()) -> Child:
        """A new, confined child. Raises AttemptEnded when none can be started.

        models: of those that are loaded late, the ones that it will need
        (`analytics.params.find_late_models`); the first child that needs one waits for its
        libraries.
        """
        self.warm()
        connection = self._socket
        to_child, ours_out = os.pipe()
        ours_in, from_child = os.pipe()
        try:
            if connection is None:
                raise OSError("no server")
            request = " ".join(models) + "\n"
            socket.send_fds(connection, [request.encode()], [to_child, from_child])
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            if len(descriptors) != 1:
                raise OSError("the server is gone")
        except OSError:
            os.close(ours_out)
            os.close(ours_in)
            self.end()
            raise AttemptEnded("no computing process can be started", pause=5) from None
        finally:
            os.close(to_child)
            os.close(from_child)
        child = Child(pid_of(descriptors[0]), descriptors[0], ours_out, ours_in)
        try:
            child.check(self.confinement)
        except BaseException:
            child.end()
            raise
        return child

    def end(self) -> None:
        """Stop the server, and with it every child. Any thread may call this, also several."""
        server, connection = self._server, self._socket
        self._server = self._socket = None
        if server is not None:
            server.end()
        if connection is not None:
            connection.close()


class Child:
    """One attempt's process, by its pid and process descriptor, and the two pipes to it.

    `relaxed`: the layers of confinement that it lacks, as a bit mask (0: none); known after
    `check`.
    """

    def __init__(self, pid: int, descriptor: int, stdin: int, stdout: int) -> None:
        self.pid, self.relaxed = pid, ALL
        self._descriptor, self._stdin, self._stdout = descriptor, stdin, stdout
        os.set_blocking(stdin, False)

    def check(self, confinement: Confinement) -> None:
        """Hear that the child is confined, and verify it.

        Raises AttemptEnded if it is not, or is silent.
        """
        header, _ = self.hear()
        landlock = header.get("landlock")
        try:
            if header.get("say") != "confined" or type(landlock) is not int:
                raise NotConfined("the child does not say how it is confined")
            self.relaxed = confinement.check(layers_in_force(self.pid, landlock))
        except NotConfined as error:
            raise AttemptEnded(str(error), pause=30, hint=error.hint) from None

    def say(self, header: dict[str, Any], *blobs: bytes, watch: Watch | None = None) -> None:
        """Send a frame; `watch` is called while the child reads it, and may end the attempt.

        Raises AttemptEnded.
        """
        try:
            write_frame(_Outgoing(self._stdin, watch), header, *blobs)
        except PipeClosed:
            raise AttemptEnded("the child is gone") from None

    def hear(self, watch: Watch | None = None) -> tuple[dict[str, Any], list[bytes]]:
        """The next frame, which must begin within SILENCE seconds and end within FRAME.

        Raises AttemptEnded.

        With `watch` there is no limit of silence: `watch` is called every PULSE seconds, also in
        the middle of a frame, and an exception from it ends the waiting.
        """
        try:
            return read_frame(_Incoming(self._stdout, watch), MAX_HEADER)
        except PipeClosed:
            raise AttemptEnded("the child is gone", pause=2) from None

    @property
    def alive(self) -> bool:
        return self._descriptor >= 0 and not select.select([self._descriptor], [], [], 0)[0]

    def end(self) -> None:
        """Kill the child and all that it started; returns when it is gone."""
        if self._descriptor < 0:
            return
        with suppress(ProcessLookupError):  # it may not lead a process group yet
            if self.alive:  # while it lives, no other group has its number
                os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        select.select([self._descriptor], [], [], 10)
        for descriptor in (self._descriptor, self._stdin, self._stdout):
            os.close(descriptor)
        self._descriptor = -1


class _Incoming:
    """Reads one frame from a child, however slowly its bytes come."""

    def __init__(self, descriptor: int, watch: Watch | None) -> None:
        self._descriptor, self._watch = descriptor, watch
        self._until = float("inf") if watch else time.monotonic() + SILENCE
        self._begun = False

    def read(self, size: int) -> bytes:
        """Read some bytes. Raises AttemptEnded for a child that is too slow."""
        ready = False
        while not ready:
            if time.monotonic() >= self._until:
                raise AttemptEnded("the child says nothing", pause=2)
            ready = _wait([self._descriptor], [], self._watch)
        if not self._begun:
            self._begun, self._until = True, time.monotonic() + FRAME
        return os.read(self._descriptor, size)


class _Outgoing:
    """Writes one frame to a child, however slowly it reads the bytes."""

    def __init__(self, descriptor: int, watch: Watch | None) -> None:
        self._descriptor, self._watch = descriptor, watch

    def write(self, data: memoryview) -> int:
        """Write some bytes. Raises AttemptEnded for a child that reads none for SILENCE seconds."""
        until = time.monotonic() + SILENCE
        while not _wait([], [self._descriptor], self._watch):
            if time.monotonic() >= until:
                raise AttemptEnded("the child takes nothing", pause=2)
        return os.write(self._descriptor, data)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def _wait(readable: list[int], writable: list[int], watch: Watch | None) -> bool:
    """Whether a descriptor is ready within PULSE seconds; calls `watch` first."""
    if watch:
        watch()
    return any(select.select(readable, writable, [], PULSE))
