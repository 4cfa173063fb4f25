"""The web process as `volens serve` starts it: logs, figures, and an end that lets requests finish.

`python -m api.serving` serves on the configured host and port. Told to stop, it takes no new connection, gives those
that are being answered FINISH seconds, and ends with code 0; told twice, it ends at once. The server's own request log
is off, since paths hold ids: api/metrics.py writes one line a request.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn

from api import logs
from api.app import create_app
from api.errors import DoorError
from api.services import open_services
from api.settings import Settings
from chain.errors import ChainError
from governance.errors import GovernanceError

FINISH = 5  # seconds that requests in progress have
log = structlog.get_logger()


class Server(uvicorn.Server):
    """Ends with code 0 when it is told to, where the library would end as if killed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        yield

    def _end(self, *_: object) -> None:
        if self.should_exit:
            os._exit(1)
        self.should_exit = True


def proxy_options(settings: Settings) -> dict[str, Any]:
    """For the server: whose word for the caller's address it takes. Nobody's, unless the settings name a proxy."""
    return {"proxy_headers": bool(settings.proxies), "forwarded_allow_ips": settings.proxies}


def main() -> int:
    """Serve until stopped; one line says what is missing when it cannot."""
    settings = Settings()
    logs.configure("api", settings.log)
    try:
        services = open_services(settings)
        if settings.metrics_port:
            services.metrics.serve(services, settings.metrics_host, settings.metrics_port)
    except (DoorError, ChainError, GovernanceError) as error:
        log.error("not started", fact=str(error), hint=error.hint)
        return 1
    except OSError as error:
        log.error("not started", fact=f"the port for metrics: {error.strerror}", hint="set another VOLENS_METRICS_PORT")
        return 1
    server = Server(uvicorn.Config(
        create_app(services), host=settings.api_host, port=settings.api_port, access_log=False, log_config=None,
        log_level="warning", server_header=False, timeout_graceful_shutdown=FINISH, **proxy_options(settings),
    ))  # fmt: skip
    log.info("started")
    server.run()
    log.info("stopped")
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
