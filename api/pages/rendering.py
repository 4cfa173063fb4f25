"""Render pages from templates, and every error as a page in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException

from api.http.problems import problem_of
from api.http.services import Services
from api.http.strict_route import LargeRequest
from api.pages import labels as words
from api.pages import session as visitor
from api.pages.personas import names_of

PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]  # of a long list
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    short=words.short,
    day=words.day,
    role=words.role,
    state=words.state,
    purposes=words.purposes,
    recipients=words.recipients,
    categories=words.categories,
    iso=words.iso,
    clock=words.clock,
    step=words.step,
    question=words.question,
)


class PageRoute(APIRoute):
    """Turns every error inside a page route into a page in plain words."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        serve = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await serve(LargeRequest(request.scope, request.receive))
            except Exception as error:  # api.http.problems handles every error
                return page_of(request, error)

        return answer


def page_of(request: Request, error: Exception) -> Response:
    """The problem for an exception, as a page, or as JSON for a script."""
    if isinstance(error, RequestValidationError):
        error = HTTPException(404)  # an impossible address, or a form of another site
    answer = problem_of(error)
    if "text/html" not in request.headers.get("accept", "") and "hx-request" not in request.headers:
        return answer
    problem = json.loads(bytes(answer.body))
    if answer.status_code == 404 and isinstance(error, HTTPException):
        problem |= {
            "detail": "There is no such page.",
            "hint": "Look at the address, or start from the first page.",
        }
    page = render(request, "problem.html", answer.status_code, problem=problem)
    if answer.status_code == 401 and "hx-request" in request.headers:
        # Reload the page, which says that the session has ended.
        page.headers["HX-Refresh"] = "true"
    return page


async def answer_page(request: Request, error: Exception) -> Response:
    """Handle errors outside a route: an unknown address or method."""
    return page_of(request, error)


def render(request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template; every page knows its visitor, the time and whether the demo accounts are
    offered.
    """
    services: Services = request.app.state.services
    now, names = services.clock(), names_here(services)
    common = {
        "me": visitor.who_views(request, services),
        "path": request.url.path,
        "demo": services.settings.demo,
        "identity": services.identity_id,
        "when": lambda seconds: _when(seconds, now),
        "who": lambda address: _who(address, names),
    }
    return HTMLResponse(_TEMPLATES.get_template(name).render(common | context), status)


def names_here(services: Services) -> Mapping[str, str]:
    """Names by address, known only for the demo's personas."""
    if not services.settings.demo:
        return {}
    return names_of(services.settings.home)


def _who(address: str, names: Mapping[str, str]) -> Markup:
    return (
        Markup("<b>{}</b>").format(names[address])
        if address in names
        else Markup("<code>{}</code>").format(words.short(address))
    )


def _when(seconds: int, now: int) -> Markup:
    return Markup('<time datetime="{}">{} ({})</time>').format(
        words.iso(seconds), words.moment(seconds), words.ago(seconds, now)
    )
