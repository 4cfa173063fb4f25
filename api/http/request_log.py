"""One log line and one count for each HTTP request, by its route's template, because paths hold
ids.
"""

from __future__ import annotations

import secrets
import time

import structlog
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STATIC = "/pages/static/"
disable_created_metrics()  # type: ignore[no-untyped-call]
log = structlog.get_logger()


class Metrics:
    """The registry of one process, and the count of its requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "volens_requests",
            "Answered HTTP requests.",
            ["route", "status"],
            registry=self.registry,
        )


class Watch:
    """The outermost middleware: gives each request an id, counts it, and logs one line for it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began, status = secrets.token_hex(8), time.monotonic(), 500

        async def send_numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_numbered)
            finally:
                route = route_of(scope)
                self._metrics.requests.labels(route, str(status)).inc()
                # Not configured when a test runs the application in its own process.
                if structlog.is_configured():
                    method = scope["method"] if scope["method"] in METHODS else "other"
                    spent = round(1000 * (time.monotonic() - began), 1)
                    log.info("request", method=method, route=route, status=status, ms=spent)


def route_of(scope: Scope) -> str:
    """The template of a request's route; not its path, which may hold ids."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return f"{STATIC}*" if scope["path"].startswith(STATIC) else "none"
