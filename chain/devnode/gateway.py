"""The only endpoint of the dev chain: an allow-list of read methods, and one journaled write at a
time.

    python -m chain.devnode.gateway --folder DIR --port P [--genesis-time T] [--anvil PATH] [--relax-isolation]
        [--snapshot-seconds S] [--identity FILE --senders FILE]

JSON-RPC 2.0 over HTTP on 127.0.0.1; anvil itself has no network (chain/devnode/anvil.py). Prints
`ready http://127.0.0.1:PORT` once it serves; a refusal to start is a plain sentence on stderr, code
1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from chain.bounded_http import BoundedHandler, BoundedServer
from chain.devnode.anvil import Node, NodeGone, NodeRefused, Wire, find_anvil
from chain.devnode.executions import METHODS as EXECUTING
from chain.devnode.executions import Executions, Turn, is_hex
from chain.devnode.strangers import RATE, Strangers
from chain.devnode.writer import SERVER_ERROR, SNAPSHOT_SECONDS, Writer, open_chain, tell
from chain.errors import ChainError

READS = frozenset(
    {
        "eth_chainId",
        "eth_blockNumber",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getTransactionByHash",
        "eth_getTransactionReceipt",
        "eth_getTransactionCount",
        "eth_getLogs",
        "eth_getCode",
        "eth_call",
        "eth_estimateGas",
        "eth_gasPrice",
        "eth_maxPriorityFeePerGas",
        "eth_feeHistory",
        "eth_getBalance",
        "net_version",
        "web3_clientVersion",
    }
)
WRITES = frozenset({"eth_sendRawTransaction", "eth_sendRawTransactionSync"})
# Where each time-dependent read names its block; None: it always means the newest.
_BLOCK_PARAMETER = {
    "eth_blockNumber": None,
    "eth_getBlockByNumber": 0,
    "eth_call": 1,
    "eth_estimateGas": 1,
}
LARGE = frozenset({"eth_getLogs", "eth_feeHistory"})  # reads that may give megabytes: in turn
MAX_PERCENTILES = 16  # of fees, which are 0 here; wallets ask for three
SENDERS = "senders"  # in the ledger's folder: the addresses of the deployment's own senders
MAX_BODY = 1 << 20  # bytes; the largest transaction of this program is below 200 kB
MAX_BATCH = 1000  # calls
BATCHES = 8  # processed at a time; this program sends none
BATCH_SECONDS = 3.0  # for one batch; the remaining calls are then refused
BATCH_BYTES = 4 << 20  # of its responses from the node; also for one batch
MAX_DEPTH = 64  # brackets within brackets
MAX_VALUES = 20_000  # of one body; a thousand calls have ten thousand
# A string (to its closing quote, or to the end of the body), or a bracket. An unclosed string must
# match, too: otherwise the search starts again at each of its escaped quotes, and 80 kB of them
# blocked all threads for half a minute.
_NESTING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, BAD_PARAMS = -32700, -32600, -32601, -32602


class Shared:
    """The limits that all connections share."""

    def __init__(self, executions: Executions) -> None:
        self.executions = executions
        self.readings = Turn()
        self.batches = threading.BoundedSemaphore(BATCHES)


class CallerGone(Exception):
    """The client has closed the connection and waits for no response."""


class Rpc:
    """JSON-RPC 2.0 for one connection: checks the format of requests, and forwards the allowed
    methods.
    """

    def __init__(
        self,
        node: Node,
        writer: Writer,
        strangers: Strangers | None = None,
        shared: Shared | None = None,
        check_caller: Callable[[], None] = lambda: None,
    ) -> None:
        """`check_caller` raises if the client has gone; `shared` is common to all connections."""
        self._node, self._writer, self._strangers = node, writer, strangers
        self._shared, self._check_caller = shared or Shared(Executions()), check_caller
        self._wire: Wire | None = None

    def answer(self, body: bytes) -> object:
        """The response object, or list of them for a batch.

        Raises what `check_caller` does, and nothing for what is in `body`.
        """
        try:
            text = body.decode("utf-8")
            if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
                return _error(None, INVALID_REQUEST, f"a body has at most {MAX_VALUES} values")
            _refuse_depth(text)
            request = json.loads(text, parse_constant=_refuse_constant)
        except ValueError:
            return _error(None, PARSE_ERROR, "the body is not JSON")
        if not isinstance(request, list):
            return self._answer_one(request)
        if not 1 <= len(request) <= MAX_BATCH:
            return _error(None, INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} calls")
        if not self._shared.batches.acquire(blocking=False):
            return _error(None, SERVER_ERROR, "too many batches are being answered: ask one by one")
        try:
            return self._answer_batch(request)
        finally:
            self._shared.batches.release()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()

    def _answer_batch(self, calls: list[object]) -> list[dict[str, object]]:
        deadline, answers = time.monotonic() + BATCH_SECONDS, []
        before = self._received()
        for call in calls:
            self._check_caller()
            late = time.monotonic() >= deadline
            if not late and self._received() - before <= BATCH_BYTES:
                answers.append(self._answer_one(call))
                continue
            number = call.get("id") if isinstance(call, dict) else None
            number = number if isinstance(number, int | str) else None
            why = "the batch took too long" if late else "the answers of a batch are too large"
            answers.append(_error(number, SERVER_ERROR, f"{why}: ask for less"))
        return answers

    def _received(self) -> int:
        """Bytes of the node's responses on this connection."""
        return 0 if self._wire is None else self._wire.received

    def _execute(self, method: str, params: list[object]) -> dict[str, object]:
        """As `_exchange`, but queued if the call may execute code or return much of the ledger."""
        if method in LARGE:
            with self._shared.readings.taken(self._check_caller):
                return self._exchange(method, params)
        if method not in EXECUTING:
            return self._exchange(method, params)
        with self._shared.executions.turn(params, self._check_caller):
            return self._exchange(method, params)

    def _exchange(self, method: str, params: list[object]) -> dict[str, object]:
        self._wire = self._wire or self._node.connect()
        try:
            return self._wire.exchange(method, params)
        except (NodeGone, NodeRefused):  # NodeRefused: a response that was too large to be read
            self._wire = None
            raise

    def _answer_one(self, request: object) -> dict[str, object]:
        if (
            not isinstance(request, dict)
            or not isinstance(request.get("id"), int | str)
            or isinstance(request["id"], bool)
        ):
            return _error(None, INVALID_REQUEST, "a call is an object with a number or text as id")
        number, method, params = request["id"], request.get("method"), request.get("params", [])
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return _error(number, INVALID_REQUEST, "a call names jsonrpc 2.0 and a method")
        if method not in READS and method not in WRITES:
            return _error(number, NO_METHOD, "this method is not available")
        if not isinstance(params, list):
            return _error(number, BAD_PARAMS, "params is a list")
        if method == "eth_feeHistory" and not _is_short_history(params):
            return _error(number, BAD_PARAMS, f"at most {MAX_PERCENTILES} percentiles are given")
        try:
            outcome = self._send(method, params) if method in WRITES else self._read(method, params)
        except NodeRefused as refusal:
            outcome = {"error": refusal.error}
        except UnicodeEncodeError:
            return _error(number, BAD_PARAMS, "a text is not valid Unicode")
        except NodeGone as gone:
            return _error(number, SERVER_ERROR, str(gone))
        except OSError:
            return _error(number, SERVER_ERROR, "the journal cannot be written; nothing was sent")
        return {"jsonrpc": "2.0", "id": number, **outcome}

    def _read(self, method: str, params: list[object]) -> dict[str, object]:
        if method in _BLOCK_PARAMETER:
            position = _BLOCK_PARAMETER[method]
            named = (
                params[position] if position is not None and len(params) > position else "latest"
            )
            if named in ("latest", "pending", None):
                self._writer.freshen()
        self._writer.await_still()
        return self._execute(
            method, self._shared.executions.bounded(params) if method in EXECUTING else params
        )

    def _send(self, method: str, params: list[object]) -> dict[str, object]:
        raw = params[0] if params else None
        if not isinstance(raw, str) or not is_hex(raw):
            return {
                "error": {"code": BAD_PARAMS, "message": "the transaction is 0x and hex digits"}
            }
        if self._strangers is not None:
            self._writer.freshen()  # a simulation is of now
            self._strangers.admit(raw, self._execute)
        sent = self._writer.send(raw)
        return (
            {"result": sent}
            if method == "eth_sendRawTransaction"
            else self._exchange("eth_getTransactionReceipt", [sent])
        )


class GatewayServer(BoundedServer):
    """HTTP/1.1 with keep-alive, one thread and one socket to anvil per connection."""

    def __init__(
        self, port: int, node: Node, writer: Writer, strangers: Strangers | None = None
    ) -> None:
        self.node, self.writer, self.strangers = node, writer, strangers
        self.shared = Shared(Executions(strangers.contracts) if strangers else Executions())
        super().__init__(port, Connection)


class Connection(BoundedHandler):
    """One client's connection: POST / is JSON-RPC, GET /health is the chain's status."""

    max_body = MAX_BODY
    server: GatewayServer

    def setup(self) -> None:
        super().setup()
        of = self.server
        self._rpc = Rpc(of.node, of.writer, of.strangers, of.shared, self._check_caller)
        self._left = select.poll()  # notices a closed connection even with unread data
        self._left.register(self.connection, select.POLLRDHUP)

    def _check_caller(self) -> None:
        if self._left.poll(0):
            raise CallerGone

    def finish(self) -> None:
        self._rpc.close()
        super().finish()

    def do_GET(self) -> None:
        if self.path != "/health":
            return self._reply(404, {"error": "not found"})
        alive = self.server.node.process.poll() is None
        self._reply(
            200 if alive else 503,
            {
                "ok": alive,
                "head": self.server.writer.head.number,
                "isolated": self.server.node.isolated,
            },
        )

    def do_POST(self) -> None:
        body = self.read_body()
        if body is None:
            return None
        if self.path != "/":
            return self._reply(404, {"error": "not found"})
        return self._reply(200, self._rpc.answer(body))

    def refuse(self, status: int, message: str) -> None:
        """Responds without reading the body, so the connection cannot be used again."""
        self.close_connection = True
        self._reply(status, _error(None, INVALID_REQUEST, message))

    def _reply(self, status: int, content: object) -> None:
        self.send_json(status, json.dumps(content, separators=(",", ":")).encode())


def _error(number: object, code: int, message: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


def _is_short_history(params: list[object]) -> bool:
    """Whether a call asks for too many percentiles for each block, which would fill the node's
    memory.
    """
    asked = params[2:3]
    return not asked or (isinstance(asked[0], list) and len(asked[0]) <= MAX_PERCENTILES)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _refuse_depth(text: str) -> None:
    """Raises ValueError. Before parsing, since json recurses: where a library has raised Python's
    recursion limit (py_ecc, under eth_account, does) a nested body would end the process.
    """
    depth = 0
    for token in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token.group()[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")


def _now() -> int:
    return int(time.time())


def serve(node: Node, writer: Writer, port: int, strangers: Strangers | None = None) -> int:
    """Serves until SIGTERM (returns 0) or until anvil is gone (returns 1)."""
    try:
        server = GatewayServer(port, node, writer, strangers)
    except OSError:
        raise ChainError(
            f"port {port} is taken", "name another port, or 0 for a free one"
        ) from None

    def watch() -> None:
        node.process.wait()
        server.shutdown()

    asked = threading.Event()

    def stop(*_: object) -> None:
        if asked.is_set():  # a second signal stops at once; the journal is always complete
            os._exit(1)
        asked.set()
        threading.Thread(
            target=server.shutdown
        ).start()  # it waits for serve_forever, in this thread

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=watch, daemon=True).start()
    print(f"ready http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.05)
    ended = node.process.poll() is not None
    server.server_close()
    writer.close()
    if ended:
        tell("ended", "the chain node has stopped; start the ledger again, its journal is complete")
    return 1 if ended else 0


def _strangers(chosen: argparse.Namespace) -> Strangers | None:
    if chosen.identity is None:
        return None
    return Strangers(chosen.identity, chosen.senders or chosen.folder / SENDERS, chosen.strangers)


def leave_foreground() -> None:
    """If another program started this one, ignore its terminal's Ctrl-C: that program stops this
    one last.
    """
    if (sys.stdin is None or not sys.stdin.isatty()) and os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="chain.devnode.gateway", description="The door to the dev chain."
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--genesis-time", type=int)
    parser.add_argument("--anvil")
    parser.add_argument("--relax-isolation", action="store_true")
    parser.add_argument(
        "--snapshot-seconds",
        type=float,
        default=SNAPSHOT_SECONDS,
        help="time spent on blocks until the state is saved again",
    )
    parser.add_argument(
        "--identity",
        type=Path,
        help="the identity of the one deployment whose calls are taken; without it any transaction is",
    )
    parser.add_argument(
        "--senders",
        type=Path,
        help="a file of that deployment's own senders, one address a line (default: senders in the folder)",
    )
    parser.add_argument(
        "--strangers",
        type=float,
        default=RATE,
        metavar="BYTES",
        help="a second that all other senders together may add to the ledger",
    )
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    leave_foreground()
    try:
        anvil = find_anvil(chosen.anvil)
        node, writer = open_chain(
            chosen.folder,
            anvil,
            chosen.genesis_time,
            not chosen.relax_isolation,
            _now,
            chosen.snapshot_seconds,
        )
        try:
            return serve(node, writer, chosen.port, _strangers(chosen))
        finally:
            node.stop()
    except ChainError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
