"""The anvil process behind the gateway, and the socket connections to it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from chain.devnode.tether import require_namespaces, tether
from chain.devnode.watched import Watched
from chain.errors import ChainError
from chain.paging import TOO_LARGE

FLAGS = (
    "--accounts",
    "0",
    "--gas-price",
    "0",
    "--block-base-fee-per-gas",
    "0",
    "--disable-min-priority-fee",
    "--hardfork",
    "osaka",
    "--enable-tx-gas-limit",
    "--gas-limit",
    "60000000",
    # States of old blocks: a few in memory. By default anvil writes each to a cache in the user's
    # home and leaves it there when it is killed: gigabytes in an hour of tests. They are never
    # read; auditors use events.
    "--prune-history",
    "64",
)
_SOCKET = "anvil.ipc"
_IN_WHEEL = Path(__file__).resolve().parent / "bin" / "anvil"
_CHECKOUT = Path(__file__).resolve().parents[2]
_START_SECONDS = 20.0  # without computing anything; loading a large state takes as long as it takes
_ANSWER_SECONDS = 60.0
MAX_ANSWER = (
    64 << 20
)  # bytes of an answer that are read; a question that gives more is to be asked in parts
_HEX_RESULT, _MAX_START = b'"result":"0x', 1024  # how an answer in hex begins, within so many bytes


class AnvilNotFound(ChainError):
    """This machine has no anvil binary."""


class NodeNotStarted(ChainError):
    """anvil ended, or did not respond, while starting."""


class NodeGone(ChainError):
    """anvil no longer responds on its socket."""


class NodeRefused(ChainError):
    """anvil responded to a call with a JSON-RPC error, which is in `error`."""

    def __init__(self, error: dict[str, object]) -> None:
        super().__init__(str(error.get("message", "refused")))
        self.error = error


def find_anvil(named: str | None = None) -> str:
    """Path of the anvil binary: the one named, else one on PATH, in the wheel, or in the checkout's
    node_modules.

    Raises AnvilNotFound. Only a native binary counts: npm's `anvil` on PATH is a script whose child
    would outlive this process.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil"
    candidates = [named] if named else [shutil.which("anvil"), _IN_WHEEL, _CHECKOUT / package]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and Path(candidate).is_file():
            with open(candidate, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    return str(Path(candidate).resolve())
    raise AnvilNotFound(
        "anvil, the dev chain's program, was not found",
        "run `make install` (it comes with npm), or name the binary",
    )


class Wire:
    """One connection to anvil's socket; one request at a time. Not shared between threads."""

    def __init__(self, folder: Path) -> None:
        """Raises NodeGone if no process listens."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_ANSWER_SECONDS)
        self.received = 0  # bytes of answers so far
        # A socket's path may have 107 bytes only; through the open folder it is short wherever that
        # lies.
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket.connect(f"/proc/self/fd/{opened}/{_SOCKET}")
        except OSError:
            self._socket.close()
            raise _gone() from None
        finally:
            os.close(opened)

    def exchange(self, method: str, params: list[object]) -> dict[str, object]:
        """The answer's `result` or `error` member, as a dict with that one key.

        Raises NodeGone; UnicodeEncodeError when a text holds half a surrogate pair.
        """
        request = _request(method, params)
        parts: list[bytes] = []
        size = 0
        try:
            self._socket.sendall(request)
            while not parts or not parts[-1].endswith(b"\n"):  # one answer is one line
                parts.append(self._receive())
                size += len(parts[-1])
                self.received += len(parts[-1])
                if size > MAX_ANSWER:
                    self._socket.close()  # the rest must not be taken for the next response
                    raise NodeRefused(
                        {"code": TOO_LARGE, "message": "the answer is too large: ask for less"}
                    )
            answer = json.loads(b"".join(parts))
        except (OSError, ValueError, RecursionError, NodeGone):
            self._socket.close()  # a late response must not be taken for the next one
            raise _gone() from None
        return {"error": answer["error"]} if "error" in answer else {"result": answer.get("result")}

    def stream(self, method: str) -> Iterator[bytes]:
        """The bytes of a response that is one hex text of any size, in parts as they arrive.

        The node has completed it when the first part arrives. Raises NodeGone, also for an answer
        of another form.
        """
        try:
            self._socket.sendall(_request(method, []))
            start = b""
            while _HEX_RESULT not in start:
                start += self._receive()
                if len(start) > _MAX_START or start.endswith(b"\n"):
                    break
            before, prefix, digits = start.partition(_HEX_RESULT)
            if not prefix:
                raise ValueError(before)
            ended = b""
            while not ended:
                digits, ended, _ = digits.partition(b'"')
                even = len(digits) - len(digits) % 2
                yield bytes.fromhex(digits[:even].decode("ascii"))
                digits = digits[even:] + (b"" if ended else self._receive())
        except (OSError, ValueError, NodeGone):
            self._socket.close()
            raise _gone() from None

    def call(self, method: str, *params: object) -> object:
        """The result. Raises NodeRefused for a JSON-RPC error, NodeGone."""
        answer = self.exchange(method, list(params))
        error = answer.get("error")
        if isinstance(error, dict):
            raise NodeRefused(error)
        return answer["result"]

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        received = self._socket.recv(1 << 16)
        if not received:
            raise _gone()
        return received


class Node:
    """A running anvil. It is killed when the thread that started it, the main thread, ends for any
    reason.
    """

    def __init__(
        self, folder: Path, anvil: str, genesis_time: int, isolated: bool, state: Path | None = None
    ) -> None:
        """Begins with its genesis, or with a dumped state. `folder` is made 0700 by the caller.

        Raises NoNamespaces, NodeNotStarted.
        """
        if isolated:
            require_namespaces()
        self.folder, self.isolated = folder, isolated
        (folder / _SOCKET).unlink(missing_ok=True)
        argv = [anvil, *FLAGS, "--ipc", _SOCKET, "--timestamp", str(genesis_time)]
        argv += ["--load-state", str(state.resolve())] if state else []
        if not isolated:
            argv += ["--port", "0"]  # two chains of one host would fight for 8545
        with (folder / "anvil.log").open("wb") as log:
            self.process = subprocess.Popen(
                tether(argv, isolated=isolated),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            self._await_answer()
        except NodeNotStarted:
            self.stop()
            raise

    def connect(self) -> Wire:
        return Wire(self.folder)

    def stop(self) -> None:
        """Kills anvil, which stores nothing: the journal does."""
        self.process.kill()
        self.process.wait()

    def _await_answer(self) -> None:
        watched = Watched(self.process.pid, _START_SECONDS)
        while not watched.stuck() and self.process.poll() is None:
            try:
                wire = self.connect()
            except NodeGone:
                time.sleep(0.01)
                continue
            try:
                wire.call("web3_clientVersion")
            finally:
                wire.close()
            return
        raise NodeNotStarted(
            "the chain node did not start", "read anvil.log in the ledger's folder"
        )


def _request(method: str, params: list[object]) -> bytes:
    """Raises UnicodeEncodeError when a text holds half a surrogate pair."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.dumps(call, ensure_ascii=False).encode()


def _gone() -> NodeGone:
    return NodeGone("the chain node has stopped", "start the ledger again; its journal is complete")
