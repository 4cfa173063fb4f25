"""One log line and one count for each HTTP request, by the template of its route: its path may hold ids."""

from __future__ import annotations

import secrets
import time

import structlog
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STATIC = "/pages/static/"
disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began: nobody needs it
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
    """Outermost around the application: gives each request an id, counts it, and logs one line for it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, began, status = secrets.token_hex(8), time.monotonic(), 500

        async def send_numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = number
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=number):
            try:
                await self._app(scope, receive, send_numbered)
            finally:
                route = route_of(scope)
                self._metrics.requests.labels(route, str(status)).inc()
                if (
                    structlog.is_configured()
                ):  # not where a test holds the application in its own process
                    method = scope["method"] if scope["method"] in METHODS else "other"
                    spent = round(1000 * (time.monotonic() - began), 1)
                    log.info("request", method=method, route=route, status=status, ms=spent)


def route_of(scope: Scope) -> str:
    """The template of the route that took a request: never its path, which may hold ids."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return f"{STATIC}*" if scope["path"].startswith(STATIC) else "none"
