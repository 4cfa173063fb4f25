"""The broker's HTTP endpoints: the standard library's server, JSON in and out. Keys leave only
sealed or wrapped, and no response has a traceback.
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
import time
from typing import Any

from chain.bounded_http import IDLE, LOOPBACK, BoundedHandler, BoundedServer
from chain.vocabulary import Reason
from governance.broker.custody import Broker, Refusal
from governance.errors import GovernanceError
from governance.rules.encoding import Malformed, strict_json

MAX_BODY = 16 << 20
# Temporary reasons: the ledger is down, or is still being read.
PASSING = frozenset({Reason.LEDGER_DOWN, Reason.CATCHING_UP})
# Seconds between two parts of the ledger, and after a part that could not be read.
SHORT_PAUSE, LONG_PAUSE = 0.01, 1.0


class Endpoint(BoundedHandler):
    """One connection; the broker is the server's."""

    max_body = MAX_BODY
    server: Server

    def do_GET(self) -> None:
        broker = self.server.broker
        endpoints = {
            "/identity": broker.identity,
            "/journal/head": broker.journal_head,
            "/witness": broker.witness,
        }
        if self.path == "/health":
            self._answer(200, broker.health())
        elif self.path in endpoints:
            self._serve(endpoints[self.path])
        else:
            self._answer(404, {"detail": "There is no such endpoint."})

    def do_POST(self) -> None:
        broker = self.server.broker
        endpoints = {
            "/wrap": broker.wrap,
            "/records": broker.records,
            "/pieces": broker.pieces,
            "/output-pieces": broker.output_pieces,
        }
        if self.path not in endpoints:
            self.refuse(404, "there is no such endpoint")
            return
        body = self.read_body()
        if body is not None:
            self._serve(lambda: endpoints[self.path](strict_json(body, MAX_BODY)))

    def _serve(self, work: Any) -> None:
        try:
            self._answer(200, work())
        except Refusal as refusal:
            self._answer(503 if refusal.reason in PASSING else 403, {"reason": refusal.reason})
        except (Malformed, GovernanceError) as error:
            self._answer(400, {"detail": str(error)})
        except ConnectionError:
            self.close_connection = True  # the client is gone
        except OSError:
            self._answer(503, {"detail": "The broker cannot write its journal, so no key leaves."})
        except Exception:  # no traceback leaves the broker
            self._answer(500, {"detail": "The broker had an internal error; no key left."})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_json(status, json.dumps(body).encode(), Cache_Control="no-store")


class Server(BoundedServer):
    """Serves one broker, on the loopback address unless told otherwise."""

    limits = BoundedServer.limits | {IDLE: 60.0}

    def __init__(
        self, port: int, broker: Broker, host: str = LOOPBACK, tls: ssl.SSLContext | None = None
    ) -> None:
        self.broker = broker
        super().__init__(port, Endpoint, host=host, tls=tls)


def serve(
    broker: Broker, port: int, host: str = LOOPBACK, tls: ssl.SSLContext | None = None
) -> None:
    """Serve until SIGTERM; prints the address once it listens."""
    server = Server(port, broker, host, tls)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=keep_up, args=(broker,), daemon=True).start()
    scheme = "https" if tls else "http"
    print(f"ready {scheme}://{host}:{server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    sys.stdout.flush()


def keep_up(broker: Broker) -> None:
    """Replay the ledger whenever the broker is behind, in parts, so that requests are served in
    between.
    """
    while broker.behind.wait():
        time.sleep(SHORT_PAUSE if broker.catch_up() else LONG_PAUSE)
