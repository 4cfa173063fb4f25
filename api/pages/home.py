"""The home page, and the notice that is shown before consent."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.http.auth import Parts
from api.pages.rendering import PageRoute, render
from api.pages.runs import list_runs
from api.pages.session import Visitor
from api.pages.tasks import starts_of, tasks_of
from governance.consent import NOTICE, notice_hash, notice_points
from governance.readmodel import queries as register

router = APIRouter(route_class=PageRoute)
_RECENT = 5


@router.get("/")
def show_home(request: Request, services: Parts, visitor: Visitor) -> Response:
    """What waits for the visitor; for others, what volens is and the newest runs of the register."""
    return render(
        request,
        "home.html",
        tasks=tasks_of(services, visitor) if visitor else [],
        starts=starts_of(visitor) if visitor else (),
        runs=list_runs(services, _RECENT),
        count=register.count_runs(services.engine),
        datasets=register.list_datasets(services.engine),
    )


@router.get("/pages/notice")
def show_notice(request: Request) -> Response:
    """The notice as a page, and byte for byte, because its hash is in every consent."""
    raw = NOTICE.read_bytes()
    title, lead = raw.decode().split("\n\n")[:2]
    return render(
        request,
        "notice.html",
        title=title.removeprefix("# "),
        lead=lead,
        points=notice_points(),
        text=raw.decode(),
        digest=notice_hash().hex(),
    )
