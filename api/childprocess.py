"""The supervisor's end of a child: started without network, spoken to through two pipes, killed in the end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from api.pipe import PipeClosed, read_frame, write_frame
from chain.tether import tether

SILENCE = 120.0  # seconds a child may say nothing where it must


class AttemptEnded(Exception):
    """This attempt is over; a new one may follow, after `pause` seconds."""

    def __init__(self, why: str, pause: int = 0) -> None:
        super().__init__(why)
        self.pause = pause


class Child:
    """The child process and its two pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._stdin, self._stdout = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        os.set_blocking(self._stdin.fileno(), False)

    @classmethod
    def start(cls, folder: Path | None, isolated: bool) -> Child:
        """`folder` is put before the installed packages (a copied package shows another code hash)."""
        path = f"sys.path.insert(0, {str(folder)!r}); " if folder else ""
        code = f"import sys; {path}from api.child import main; sys.exit(main())"
        argv = tether([sys.executable, "-I", "-c", code], isolated=isolated)
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return cls(
            subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        )

    def say(self, header: dict[str, Any], *blobs: bytes) -> None:
        try:
            write_frame(self, header, *blobs)
        except PipeClosed:
            raise AttemptEnded("the child is gone") from None

    def hear(self) -> tuple[dict[str, Any], list[bytes]]:
        try:
            return read_frame(self)
        except PipeClosed:
            raise AttemptEnded("the child is gone", pause=2) from None

    def read(self, size: int) -> bytes:
        """Some bytes of a frame; a child that stops in the middle of one is given up."""
        if not self.has_something(SILENCE):
            raise AttemptEnded("the child says nothing", pause=2)
        return os.read(self._stdout.fileno(), size)

    def write(self, data: memoryview) -> int:
        """Some bytes of a frame; a child that does not take them is given up."""
        if not select.select([], [self._stdin], [], SILENCE)[1]:
            raise AttemptEnded("the child takes nothing", pause=2)
        return os.write(self._stdin.fileno(), data)

    def flush(self) -> None:
        """Nothing is held back."""

    def has_something(self, seconds: float) -> bool:
        return bool(select.select([self._stdout], [], [], seconds)[0])

    def end(self) -> None:
        """Kill it, and with it every key and plaintext it held."""
        self.process.kill()
        self.process.wait()
        for stream in (self._stdin, self._stdout):
            with suppress(OSError):
                stream.close()
