"""The page of a visitor's notices, and where she sets her mail address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from api.http.auth import Parts
from api.pages.forms import form_of, number_in
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import OwnOrigin, SignedIn
from governance.errors import NotFound, RequestInvalid
from governance.notices import addresses, deliveries, inbox
from governance.notices.kinds import KINDS, page_of

router = APIRouter(route_class=PageRoute)
PAGE = 30
_LATEST = 1 << 40
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{43}$")]


@router.get("/notices")
def show_notices(request: Request, services: Parts, me: SignedIn, page: PageNumber = 1) -> Response:
    """Her own notices by pages, newest first, and her own mail address."""
    known = inbox.list_notices(services.engine, me.recipient, PAGE + 1, PAGE * (page - 1))
    return render(
        request,
        "notices.html",
        notices=[
            (notice, KINDS[notice.kind].sentence, page_of(notice.kind, notice.about))
            for notice in known[:PAGE]
        ],
        until=max((notice.at for notice in known), default=0),
        page=page,
        more=len(known) > PAGE,
        mails=bool(services.settings.smtp_url),
        mine=addresses.addresses_of(services.engine, me.recipient),
        given_up=deliveries.count_given_up(services.engine, me.recipient),
        days=inbox.KEPT_SECONDS // 86_400,
        most=inbox.MOST_KEPT,
    )


@router.post("/pages/notices/read", dependencies=[OwnOrigin])
async def mark_read(request: Request, services: Parts, me: SignedIn) -> Response:
    """Mark what she has seen; what came since then stays unread."""
    given = form_of(await request.body())

    def answer() -> Response:
        until = number_in(given, "until", 0, _LATEST, "the time of the newest notice")
        inbox.mark_read(services.engine, me.recipient, until, services.clock())
        return RedirectResponse("/notices", 303)

    return await run_in_threadpool(answer)


@router.post("/pages/notices/address", dependencies=[OwnOrigin])
async def set_address(request: Request, services: Parts, me: SignedIn) -> Response:
    """Keep an address until she confirms it, or delete it."""
    given = form_of(await request.body())

    def answer() -> Response:
        if given.get("act", [""])[0] == "delete":
            addresses.remove(services.engine, me.recipient)
            return RedirectResponse("/notices", 303)
        if not services.settings.smtp_url:
            raise RequestInvalid("this deployment sends no mail", "look here for your notices")
        addresses.ask(
            services.engine, me.recipient, given.get("address", [""])[0], services.clock()
        )
        return RedirectResponse("/notices", 303)

    return await run_in_threadpool(answer)


@router.get("/notices/confirm/{token}")
def show_link(request: Request, token: Token) -> Response:
    """The page behind a mailed link. Opening it confirms nothing: mail programs open links, too."""
    return render(request, "notices-confirm.html", token=token, confirmed=False)


@router.post("/pages/notices/confirm", dependencies=[OwnOrigin])
async def confirm_address(request: Request, services: Parts) -> Response:
    """Use the link up. It needs no session: having the mail is the proof."""
    given = form_of(await request.body())

    def answer() -> Response:
        token = given.get("token", [""])[0]
        if not token:
            raise NotFound("the form names no link", "open the link of the mail again")
        addresses.confirm(services.engine, token, services.clock())
        return render(request, "notices-confirm.html", token="", confirmed=True)

    return await run_in_threadpool(answer)
