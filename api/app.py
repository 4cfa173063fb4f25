"""The web application: routes, middleware, headers and OpenAPI document over one set of services."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import Problem, answer_problem, declared
from api.http.rate_limit import Limits, RateLimit
from api.http.request_log import Watch
from api.http.routes import care, committee, documents, notices, people, runs, shared_work, trail
from api.http.services import Services
from api.http.timeouts import Timeouts
from api.pages.site import Front, create_pages

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

_ALWAYS_ENCRYPTED = {"Strict-Transport-Security": "max-age=31536000"}  # a year


def create_app(services: Services) -> FastAPI:
    """The application over these services; it opens and closes nothing itself."""
    app = _routes()
    app.state.services = services
    app.add_exception_handler(HTTPException, answer_problem)
    app.add_middleware(Front, pages=create_pages(services), endpoints=app.routes)
    settings = services.settings
    app.add_middleware(
        Limits, rate_limit=RateLimit(settings.rate_limit), behind_proxy=bool(settings.proxies)
    )
    app.add_middleware(Timeouts)
    encrypted = services.audience.startswith("https:")
    app.add_middleware(Headers, encrypted=encrypted)  # outside Timeouts, whose answers have them
    app.add_middleware(Watch, metrics=services.metrics)
    app.openapi = lambda: _document(app, services.audience)  # type: ignore[method-assign]
    return app


def describe_api() -> dict[str, Any]:
    """The OpenAPI document, as a running service answers it."""
    return _document(_routes())


def _routes() -> FastAPI:
    app = FastAPI(
        title="volens",
        version="1",
        docs_url=None,
        redoc_url=None,
        description="Consent and access to health data, recorded on a ledger: no receipt, no key.",
        generate_unique_id_function=_operation_id,
    )
    for router in (
        people.router,
        people.withdrawals,
        committee.router,
        committee.lists,
        documents.router,
        shared_work.router,
        notices.router,
        runs.router,
        care.router,
        trail.router,
    ):
        app.include_router(router)
    return app


class Headers:
    """Middleware: security headers against caching, sniffing, framing and foreign content, and
    where people call by https, against calls without it (RFC 6797).
    """

    def __init__(self, app: ASGIApp, encrypted: bool) -> None:
        self._app = app
        self._headers = _HEADERS | (_ALWAYS_ENCRYPTED if encrypted else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)  # pages set their own policy
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _document(app: FastAPI, server: str = "") -> dict[str, Any]:
    """The OpenAPI document, with our Problem schema instead of the framework's errors; `server`:
    the address of a running service.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=[{"url": server}] if server else None,
        )
        # Every POST and PUT may exceed the rate limit (api.http.rate_limit).
        for path in document["paths"].values():
            for response in (
                operation["responses"]
                for method, operation in path.items()
                if method in ("post", "put")
            ):
                response |= {str(status): problem for status, problem in declared(429).items()}
        schemas = document["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        app.openapi_schema = document
    return app.openapi_schema
