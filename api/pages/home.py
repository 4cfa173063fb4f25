"""The home page, the way to an invitation, and the notice that is shown before consent."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.http.auth import Parts
from api.pages.rendering import PageRoute, render
from api.pages.runs import list_runs
from api.pages.session import Visitor
from api.pages.tasks import starts_of, tasks_of
from governance.consent import NOTICE, notice_hash, notice_points
from governance.errors import RequestInvalid
from governance.readmodel import queries as register

router = APIRouter(route_class=PageRoute)
_RECENT = 5
_INVITATION = re.compile(r"(?:.*/invitations/)?([0-9a-f]{64})", re.ASCII)


@router.get("/")
def show_home(request: Request, services: Parts, visitor: Visitor) -> Response:
    """What waits for the visitor; for others, what volens is and the newest runs of the register."""
    if visitor and not visitor.has_part:
        return render(request, "no-role.html")
    return render(
        request,
        "home.html",
        tasks=tasks_of(services, visitor) if visitor else [],
        starts=starts_of(visitor) if visitor else (),
        runs=list_runs(services, _RECENT),
        count=register.count_runs(services.engine),
        datasets=register.list_datasets(services.engine),
    )


@router.get("/invitations")
def open_invitation(request: Request, code: Annotated[str, Query(max_length=500)] = "") -> Response:
    """Lead to an invitation by its link or code; a form for it without one."""
    named = _INVITATION.fullmatch("".join(code.split()))
    if named:
        return RedirectResponse(f"/invitations/{named[1]}", 303)
    problem = RequestInvalid(
        "this is not the link or code of an invitation",
        "copy the whole link: it ends with 64 digits and letters from a to f",
    )
    return render(
        request, "invitation-code.html", 422 if code else 200, problem=problem if code else None
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
