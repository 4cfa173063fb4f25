"""Render pages from templates, and every error as a page in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
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
from api.pages.markdown import render_markdown
from api.pages.personas import names_of
from chain.vocabulary import Purpose
from governance import names as known_names
from governance.care import UNTOLD
from governance.notices.inbox import count_unread
from governance.readmodel import queries as register
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES

PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]  # of a long list
_OWN_PATH = re.compile(r"/[A-Za-z0-9/?=&_-]*")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
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
    plan_state=words.plan_state,
    purposes=words.purposes,
    needed_purposes=words.needed_purposes,
    recipients=words.recipients,
    categories=words.categories,
    outputs=words.outputs,
    permit_state=words.permit_state,
    iso=words.iso,
    clock=words.clock,
    minute=words.minute,
    step=words.step,
    question=words.question,
    sentence=words.sentence,
    variable=words.variable,
    markdown=render_markdown,
)
_TEMPLATES.globals["care_mask"] = 1 << Purpose.CARE  # of a permit for single patients' own care


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
    page = render(
        request, "problem.html", answer.status_code, problem=problem, came_from=_came_from(request)
    )
    if answer.status_code == 401 and "hx-request" in request.headers:
        # Reload the page, which says that the session has ended.
        page.headers["HX-Refresh"] = "true"
    return page


def _came_from(request: Request) -> str:
    """The path of our own page whose form was sent, "" for any other request."""
    services: Services = request.app.state.services
    referer = request.headers.get("referer", "")
    if request.method != "POST" or not referer.startswith(f"{services.audience}/"):
        return ""
    path = referer.removeprefix(services.audience)
    return path if _OWN_PATH.fullmatch(path) else ""


async def answer_page(request: Request, error: Exception) -> Response:
    """Handle errors outside a route: an unknown address or method."""
    return page_of(request, error)


def render(request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template; every page knows its visitor, the time and whether the demo accounts are
    offered.
    """
    services: Services = request.app.state.services
    now, names, me = services.clock(), Names(services), visitor.who_views(request, services)
    common = {
        "me": me,
        "left": max(0, me.until - now) if me else 0,  # seconds of the session
        "unread": _count_unread(services, me.recipient) if me else 0,
        "path": request.url.path,
        "demo": services.settings.demo,
        "identity": services.identity_id,
        "when": lambda seconds: _when(seconds, now),
        "who": names.show,
        "titled": lambda digest, name: _titled(services, digest, name),
        "dataset_named": lambda dataset: _titled(
            services, register.document_of(services.engine, dataset), dataset
        ),
    }
    return HTMLResponse(_TEMPLATES.get_template(name).render(common | context), status)


def render_part(name: str, **context: Any) -> str:
    """A part of a page that knows no visitor, for who reads it elsewhere."""
    return _TEMPLATES.get_template(name).render(context)


def _count_unread(services: Services, recipient: str) -> int:
    """0 while the database is away, so that a page can say so."""
    try:
        return count_unread(services.engine, recipient)
    except (*DATABASE_FAULTS, *OUTAGES):
        return 0


class Names:
    """What accounts are called: the committee's names, for the demo's personas also their own.

    Each account is asked for once a page.
    """

    def __init__(self, services: Services) -> None:
        self._engine = services.engine
        self._personas = names_of(services.settings.home) if services.settings.demo else {}
        self._known: dict[str, tuple[str, str]] = {}

    def of(self, address: str) -> tuple[str, str]:
        """(name, institution) of an account, "" for what nobody said."""
        if address not in self._known:
            row = known_names.names_of(self._engine, [address]).get(address)
            self._known[address] = (
                (row.name, row.institution) if row else (self._personas.get(address, ""), "")
            )
        return self._known[address]

    def get(self, address: str, otherwise: str) -> str:
        """The name of an account, `otherwise` for one without a name and for any other text."""
        return (_ADDRESS.fullmatch(address) and self.of(address)[0]) or otherwise

    def show(self, address: str, full: bool = False) -> Markup:
        """An account's name, or its shortened address; full: with institution and whole address."""
        if address == UNTOLD:
            return Markup("somebody whom this service was not told")
        name, institution = self.of(address)
        if full:
            shown = Markup("<b>{}</b>, ").format(name) if name else Markup()
            workplace = Markup("{}, ").format(institution) if institution else Markup()
            return shown + workplace + Markup('account <code class="hex">{}</code>').format(address)
        if name:
            return Markup("<b>{}</b>").format(name)
        return Markup("<code>{}</code>").format(words.short(address))


def _titled(services: Services, digest: str, name: str) -> Markup:
    """The title of a dataset or permit with its shortened id, which no two have in common."""
    title = services.documents.title(digest) if digest else ""
    short = Markup("<code>{}</code>").format(words.short(name))
    return Markup("{} ({})").format(title, short) if title else short


def _when(seconds: int, now: int) -> Markup:
    if seconds > words.LAST_SECOND:
        return Markup("without end")
    return Markup('<time datetime="{}">{} ({})</time>').format(
        words.iso(seconds), words.moment(seconds), words.ago(seconds, now)
    )
