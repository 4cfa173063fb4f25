"""The broker's HTTP door: the standard library's server, JSON in and out, no key and no trace in any answer."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from governance.broker.custody import Broker, Refusal
from governance.errors import GovernanceError
from governance.verify import Malformed, strict_json

MAX_BODY = 16 << 20
PASSING = frozenset(
    {64, 79}
)  # reasons that go away by themselves: the ledger is away, or being read
BREATH, PAUSE = (
    0.01,
    1.0,
)  # seconds between two parts of the ledger, and after one that could not be read


class Door(BaseHTTPRequestHandler):
    """One request; the broker is the server's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60  # seconds for the rest of a request that was begun
    server: Server

    def do_GET(self) -> None:
        broker = self.server.broker
        doors = {
            "/identity": broker.identity,
            "/journal/head": broker.journal_head,
            "/witness": broker.witness,
        }
        if self.path == "/health":
            self._answer(200, broker.health())
        elif self.path in doors:
            self._serve(doors[self.path])
        else:
            self._answer(404, {"detail": "There is no such door."})

    def do_POST(self) -> None:
        broker = self.server.broker
        doors = {
            "/wrap": broker.wrap,
            "/records": broker.records,
            "/pieces": broker.pieces,
            "/output-pieces": broker.output_pieces,
        }
        length = self.headers.get("Content-Length", "")
        if self.path not in doors:
            self._answer(404, {"detail": "There is no such door."}, close=True)
        elif not length.isdecimal() or len(length) > 9 or int(length) > MAX_BODY:
            self._answer(413, {"detail": "The body is missing or too large."}, close=True)
        else:
            body = self.rfile.read(int(length))
            self._serve(lambda: doors[self.path](strict_json(body, MAX_BODY)))

    def _serve(self, work: Any) -> None:
        try:
            self._answer(200, work())
        except Refusal as refusal:
            self._answer(503 if refusal.reason in PASSING else 403, {"reason": refusal.reason})
        except (Malformed, GovernanceError) as error:
            self._answer(400, {"detail": str(error)})
        except ConnectionError:
            self.close_connection = True  # nobody is there to hear it
        except OSError:
            self._answer(503, {"detail": "The broker cannot write its journal, so no key leaves."})
        except (
            Exception
        ):  # no trace leaves; what went wrong is found by asking again with the log of the caller
            self._answer(500, {"detail": "The broker met a fault of its own; no key left."})

    def _answer(self, status: int, body: dict[str, Any], close: bool = False) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        if close:  # an unread body would be taken for the next request
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """No request log: what matters is in the journal."""


class Server(ThreadingHTTPServer):
    """Serves one broker on the loopback address."""

    daemon_threads = True

    def __init__(self, port: int, broker: Broker) -> None:
        super().__init__(("127.0.0.1", port), Door)
        self.broker = broker

    def handle_error(self, *_: object) -> None:
        """Whoever asked is gone, in the middle of an answer: no trace leaves, and nobody is left to tell."""


def serve(broker: Broker, port: int) -> None:
    """Answer until SIGTERM; prints the address once it listens."""
    server = Server(port, broker)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=keep_up, args=(broker,), daemon=True).start()
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    sys.stdout.flush()


def keep_up(broker: Broker) -> None:
    """Fold the ledger whenever the broker is behind, a part at a time, so that questions are answered in between."""
    while broker.behind.wait():
        time.sleep(BREATH if broker.catch_up() else PAUSE)
