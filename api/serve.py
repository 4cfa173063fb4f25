"""The web process started by `volens serve`: logs, metrics, and a graceful stop.

`python -m api.serve` serves on the configured host and port. After a stop signal, it accepts no new
connection, gives requests in progress FINISH seconds, and ends with code 0; after a second signal,
it ends at once. The server's own request log is off, since paths hold ids: api/http/request_log.py
writes one line a request.
"""

from __future__ import annotations

import asyncio
import asyncio.constants
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn

from api.app import create_app
from api.http import metrics
from api.http.services import open_services
from api.http.timeouts import CONNECTIONS, open_as_many_files_as_allowed, timed_connections
from api.operate import logs
from api.operate.notifier import Notifier
from api.operate.settings import Settings
from api.operate.startup import START_FAULTS, not_started, replaced
from chain.devnode.tether import leave_no_core
from governance.presence import Presence

FINISH = 5  # seconds for requests in progress
HANDSHAKE = 10.0  # seconds for a connection to become encrypted; it is counted only then
log = structlog.get_logger()


class Server(uvicorn.Server):
    """Ends with code 0 after a stop signal, where the library would end as if killed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        yield

    def _end(self, *_: object) -> None:
        if self.should_exit:
            os._exit(1)
        self.should_exit = True


def caller_options(settings: Settings) -> dict[str, Any]:
    """Server options: the connection protocol, the certificate, and whose forwarded client
    addresses are trusted.

    None are trusted unless the settings name a proxy; then all connections come from its address.
    """
    proxied = bool(settings.proxies)
    return {
        "http": timed_connections(0 if proxied else CONNECTIONS),
        "ws": "none",
        "proxy_headers": proxied,
        "forwarded_allow_ips": settings.proxies,
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
    }


def main() -> int:
    """Serve until stopped; logs one line if it cannot start."""
    leave_no_core()
    open_as_many_files_as_allowed()
    settings = Settings()
    logs.configure("api", settings.log)
    try:
        settings.check_network()
        services = open_services(settings)
        notifier = Notifier(services.engine, services.projection, settings, services.audience)
    except START_FAULTS as error:
        return not_started(error)
    try:
        listener = _listen(settings.api_host, settings.api_port)
    except OSError as error:
        log.error(
            "not started",
            fact=f"the port of the API: {error.strerror}",
            hint="set another VOLENS_API_PORT",
        )
        return 1
    try:
        if settings.metrics_port:
            metrics.serve(services, settings.metrics_host, settings.metrics_port)
    except OSError as error:
        log.error(
            "not started",
            fact=f"the port for metrics: {error.strerror}",
            hint="set another VOLENS_METRICS_PORT",
        )
        return 1
    server = Server(
        uvicorn.Config(
            create_app(services),
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=FINISH,
            **caller_options(settings),
        )
    )
    try:
        # Only what listens takes the key over from an earlier process.
        presence, done = services.be_present(), threading.Event()
    except START_FAULTS as error:
        return not_started(error)
    if settings.tls_certificate:
        asyncio.constants.SSL_HANDSHAKE_TIMEOUT = HANDSHAKE  # the server leaves it at a minute
    log.info("started")
    threading.Thread(target=_keep_present, args=(presence, done, server), daemon=True).start()
    notifier.start(done)
    try:
        server.run(sockets=[listener])
    finally:
        done.set()
        presence.leave()
    if presence.replaced.is_set():
        return replaced()
    log.info("stopped")
    return 0 if server.started else 1


def _listen(host: str, port: int) -> socket.socket:
    """The socket of the API. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _keep_present(presence: Presence, done: threading.Event, server: Server) -> None:
    """Give signs of life; two processes that send under one key would take each other's numbers."""
    presence.keep_signing(done)
    if presence.replaced.is_set():
        server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
