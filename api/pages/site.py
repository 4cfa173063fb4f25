"""The pages put together, and which requests are theirs.

Anything under /pages/ is for the pages, and so is a look (GET or HEAD) that asks for HTML, unless only a door has that
address; everything else is for the doors. So one address, e.g. /runs, shows a page to people and JSON to programs, and
nothing that is sent in is kept from a door by what its sender would like to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.services import Services
from api.pages import home, patient, runs, sign_in, trail
from api.pages.rendering import answer_page

STATIC = Path(__file__).resolve().parent / "static"
CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def create_pages(services: Services) -> FastAPI:
    """The pages over these services, with the demo's played people where the settings say so."""
    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages.state.services = services
    for router in (home.router, sign_in.router, patient.router, runs.router, trail.router):
        pages.include_router(router)
    if services.settings.demo:
        from api.pages import demo_accounts as played

        played.check_home(services.settings)
        pages.state.entrance = played.Entrance(services.settings.demo_token)
        pages.include_router(played.router)
    pages.mount("/pages/static", StaticFiles(directory=STATIC))
    pages.add_exception_handler(HTTPException, answer_page)
    return pages


class Front:
    """Sends each request to the pages or past them, and gives what the pages answer their headers."""

    def __init__(self, app: ASGIApp, pages: FastAPI, endpoints: Sequence[BaseRoute]) -> None:
        self._app, self._pages, self._doors = app, pages, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_page(scope):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Not no-referrer: with it a browser hides the origin of a form, which we check.
                headers = MutableHeaders(scope=message)
                headers.update(
                    {
                        "Content-Security-Policy": CSP,
                        "Referrer-Policy": "same-origin",
                        "Vary": "Accept",
                    }
                )
                if scope["path"].startswith("/pages/static/"):
                    headers["Cache-Control"] = (
                        "no-cache"  # kept, but asked for by its hash each time
                    )
            await send(message)

        await self._pages(scope, receive, send_with_headers)

    def _is_page(self, scope: Scope) -> bool:
        if scope["path"].startswith("/pages/"):
            return True
        if scope["method"] not in ("GET", "HEAD") or "text/html" not in Headers(scope=scope).get(
            "accept", ""
        ):
            return False
        look = {**scope, "method": "GET"}
        return _takes(self._pages.routes, look) or not _takes(self._doors, look)


def _takes(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)
