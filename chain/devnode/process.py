"""Starts and stops the dev chain's gateway process, for the command line and the tests."""

from __future__ import annotations

import http.client
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from chain.devnode.tether import tether
from chain.devnode.watched import Watched
from chain.errors import ChainError

_LOG = "gateway.log"
_READ_LOG = f"read {_LOG} in the ledger's folder"
_CHECK_SECONDS = 0.25  # between two checks of a starting chain


class DevChainNotStarted(ChainError):
    """The gateway refused to start, or did not respond in time; the message is the gateway's."""


@dataclass(frozen=True, slots=True)
class DevChain:
    """A running gateway: JSON-RPC at `url`, started in `seconds`; `isolated` is reported by its
    health check.
    """

    url: str
    folder: Path
    port: int
    isolated: bool
    seconds: float
    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls,
        folder: Path,
        port: int = 0,
        *,
        anvil: str | None = None,
        genesis_time: int | None = None,
        relax_isolation: bool = False,
        timeout: float = 120.0,
        snapshot_seconds: float | None = None,
        identity: Path | None = None,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> DevChain:
        """Starts on `folder` (a new ledger if it is empty, else the one in it) and waits until it
        is healthy.

        Port 0 takes a free one. `timeout` limits the time without progress, however long the ledger
        is; `tell` gets lines about the progress. With `identity`, only senders in the folder's file
        `senders` are accepted without a simulation (chain/devnode/strangers.py). Times in seconds.

        Call from a thread that lives as long as the chain should: the gateway ends with it. Raises
        DevChainNotStarted.
        """
        began = time.monotonic()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = [
            sys.executable,
            "-P",  # nothing is imported from the folder where this was called
            "-m",
            "chain.devnode.gateway",
            "--folder",
            str(folder),
            "--port",
            str(port),
        ]
        argv += ["--anvil", anvil] if anvil else []
        argv += ["--genesis-time", str(genesis_time)] if genesis_time is not None else []
        argv += ["--relax-isolation"] if relax_isolation else []
        argv += (
            ["--snapshot-seconds", str(snapshot_seconds)] if snapshot_seconds is not None else []
        )
        argv += ["--identity", str(identity)] if identity is not None else []
        with (folder / _LOG).open("wb") as log:
            process = subprocess.Popen(
                tether(argv, number=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            url = _await_ready(process, folder, timeout, tell)
            health = _read_health(url)
        except DevChainNotStarted:
            process.kill()
            process.wait()
            raise
        return cls(
            url,
            folder,
            int(url.rsplit(":", 1)[1]),
            health.get("isolated") is True,
            time.monotonic() - began,
            process,
        )

    def stop(self) -> None:
        """Stops the gateway and its anvil; the folder keeps the ledger. A second call does nothing."""
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> DevChain:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _await_ready(
    process: subprocess.Popen[bytes], folder: Path, timeout: float, tell: Callable[[str], None]
) -> str:
    """The address the gateway prints once it has replayed its journal and serves."""
    if process.stdout is None:
        raise DevChainNotStarted("the chain did not start", _READ_LOG)
    watched = Watched(process.pid, timeout)
    while not watched.stuck():
        if not select.select([process.stdout], [], [], _CHECK_SECONDS)[0]:
            continue
        word, _, rest = process.stdout.readline().decode().strip().partition(" ")
        if word == "ready":
            return rest
        if word != "replaying":
            process.wait()
            raise _refused(folder)
        watched.moved(rest)
        done, _, total = rest.partition(" ")
        tell(f"chain   makes its blocks again: {done} of {total}")
    raise DevChainNotStarted("the chain did not start in time", _READ_LOG)


def _refused(folder: Path) -> DevChainNotStarted:
    """The gateway's message when it could not start; its other lines are a log."""
    lines = (folder / _LOG).read_text(errors="replace").strip().splitlines()
    sentence, _, hint = "\n".join(line for line in lines if not line.startswith("{")).partition(
        "\n"
    )
    return DevChainNotStarted(sentence or "the chain did not start", hint or _READ_LOG)


def _read_health(url: str) -> dict[str, object]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/health")
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        raise DevChainNotStarted("the chain started but does not answer", _READ_LOG) from None
    finally:
        connection.close()
    return dict(answer)
