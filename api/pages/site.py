"""The application of the pages, and the middleware that routes requests to pages or to the API.

Pages get every request under /pages/, and every GET or HEAD that accepts HTML, unless only an API
route has that path; the API gets all others. So one address, e.g. /runs, shows a page to people and
JSON to programs, and the Accept header never keeps a request with effects from the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.services import Services
from api.operate.settings import THIS_MACHINE
from api.pages import (
    api_docs,
    appointments,
    care,
    datasets,
    deployment,
    enrolments,
    home,
    notices,
    patient,
    permits,
    plans,
    reviews,
    roles,
    run_request,
    runs,
    sign_in,
    trail,
)
from api.pages.rehearsals import Rehearsals
from api.pages.rendering import answer_page

ROUTERS = (
    home.router,
    api_docs.router,
    sign_in.router,
    patient.router,
    appointments.router,
    care.router,
    plans.router,  # after the pages of care that are not one plan's
    datasets.router,
    permits.router,
    run_request.router,  # before the page of one run
    runs.router,
    reviews.router,
    roles.router,
    enrolments.router,
    notices.router,
    trail.router,
    deployment.router,
)
STATIC = Path(__file__).resolve().parent / "static"
CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

# Swagger UI draws its arrows from images within its style sheet.
POLICIES = {"/docs": f"{CSP}; img-src 'self' data:"}


def create_pages(services: Services) -> FastAPI:
    """The pages over these services, with the demo accounts if the settings enable them."""
    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages.state.services = services
    pages.state.rehearsals = Rehearsals()
    for router in ROUTERS:
        pages.include_router(router)
    if services.settings.demo:
        from api.pages import demo_accounts

        demo_accounts.check_home(services.settings)
        pages.state.entrance = demo_accounts.Entrance(services.settings.demo_token)
        pages.include_router(demo_accounts.router)
    pages.mount("/pages/static", StaticFiles(directory=STATIC))
    pages.add_exception_handler(HTTPException, answer_page)
    return pages


class Front:
    """Middleware: sends each request to the pages or to the API, and adds the pages' headers."""

    def __init__(self, app: ASGIApp, pages: FastAPI, endpoints: Sequence[BaseRoute]) -> None:
        self._app, self._pages, self._endpoints = app, pages, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_page(scope):
            await self._app(scope, receive, send)
            return
        elsewhere = self._own_address(scope)
        if elsewhere:
            await RedirectResponse(elsewhere, 307)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Not no-referrer: with it a browser hides the origin of a form, which we check.
                headers = MutableHeaders(scope=message)
                headers.update(
                    {
                        "Content-Security-Policy": POLICIES.get(scope["path"], CSP),
                        "Referrer-Policy": "same-origin",
                        "Vary": "Accept",
                    }
                )
                if scope["path"].startswith("/pages/static/"):
                    headers["Cache-Control"] = "no-cache"  # cached, but revalidated each time
            await send(message)

        await self._pages(scope, receive, send_with_headers)

    def _own_address(self, scope: Scope) -> str:
        """Where a page called by another name of this machine is; "" for any other.

        Forms are accepted from our own address only, so the other name would sign nobody in.
        """
        audience: str = self._pages.state.services.audience
        called, own = Headers(scope=scope).get("host", ""), urlsplit(audience)
        name, _, port = called.rpartition(":")
        same = own.hostname in THIS_MACHINE and name in THIS_MACHINE and port == str(own.port)
        if not same or called == own.netloc or scope["method"] not in ("GET", "HEAD"):
            return ""
        path: str = scope["raw_path"].decode("latin-1")
        if not path.startswith("/"):
            return ""
        query: str = scope["query_string"].decode("latin-1")
        return audience + path + (f"?{query}" if query else "")

    def _is_page(self, scope: Scope) -> bool:
        if scope["path"].startswith("/pages/"):
            return True
        if scope["method"] not in ("GET", "HEAD") or "text/html" not in Headers(scope=scope).get(
            "accept", ""
        ):
            return False
        as_get = {**scope, "method": "GET"}
        return _takes(self._pages.routes, as_get) or not _takes(self._endpoints, as_get)


def _takes(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)
