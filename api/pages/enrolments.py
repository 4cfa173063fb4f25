"""Pages of registrars, and the page on which an invited person accepts."""

from __future__ import annotations

import io
import secrets

import segno
from eth_utils.address import is_checksum_address
from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from api.http.auth import Parts
from api.http.services import Services
from api.http.strict_route import Digest
from api.pages.forms import form_of, number_in
from api.pages.labels import DAY
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import OwnOrigin, Registrar
from governance.errors import RequestInvalid
from governance.invitations import (
    LONGEST_SECONDS,
    InvitationState,
    find_invitation,
    invitations_by,
)

router = APIRouter(route_class=PageRoute)
PAGE = 20
SHEET = 24  # invitations on a sheet for printing
ASSURANCE = 1


@router.get("/enrolments")
def show_invitations(
    request: Request, services: Parts, me: Registrar, page: PageNumber = 1
) -> Response:
    """A registrar's invitations by pages, newest first, and the form of a new one."""
    services.projection.sync()
    known = _own(services, me.account, PAGE + 1, PAGE * (page - 1))
    return render(
        request,
        "enrolments.html",
        invitations=known[:PAGE],
        page=page,
        more=len(known) > PAGE,
        longest=LONGEST_SECONDS // DAY,
    )


@router.post("/pages/enrolments/preview", dependencies=[OwnOrigin])
async def preview_invitation(request: Request, services: Parts, me: Registrar) -> Response:
    """What a registrar would sign."""
    given = form_of(await request.body())

    def answer() -> Response:
        account = given.get("account", [""])[0].strip()
        # A wallet has no id of its own: then one is drawn for the person.
        subject = given.get("subject", [""])[0].strip() or secrets.token_hex(32)
        if not is_checksum_address(account):
            raise RequestInvalid(
                "the account is no address, or one of its letters is wrong",
                "copy it from where the key was made: 0x and 40 hex digits",
            )
        if len(subject) != 64 or any(digit not in "0123456789abcdef" for digit in subject):
            raise RequestInvalid(
                "the person's id is not 64 hex digits", "copy it from where the key was made"
            )
        days = number_in(given, "days", 1, LONGEST_SECONDS // DAY, "how many days it is good for")
        return render(
            request,
            "enrolment-preview.html",
            account=account,
            message={
                "subject": subject,
                "signer": account[2:].lower(),
                "assurance": ASSURANCE,
                "deadline": services.clock() + days * DAY,
            },
        )

    return await run_in_threadpool(answer)


@router.get("/enrolments/sheet")
def print_sheet(request: Request, services: Parts, me: Registrar) -> Response:
    """The open invitations as a sheet to print and cut: each with its address as a QR code."""
    services.projection.sync()
    known = [
        invitation
        for invitation in _own(services, me.account, SHEET * 4)
        if invitation.state == "open"
    ][:SHEET]
    return render(
        request,
        "enrolment-sheet.html",
        invitations=[
            (invitation, qr_of(f"{services.audience}/invitations/{invitation.digest}"))
            for invitation in known
        ],
        address=services.audience,
    )


@router.get("/invitations/{digest}")
def show_invitation(digest: Digest, request: Request, services: Parts) -> Response:
    """An invitation, for the person whom it names: she accepts it with her own key."""
    services.projection.sync()
    known = find_invitation(services.engine, services.projection.replayed, digest, services.clock())
    return render(request, "invitation.html", invitation=known)


def _own(services: Services, registrar: str, limit: int, offset: int = 0) -> list[InvitationState]:
    return invitations_by(
        services.engine, services.projection.replayed, registrar, services.clock(), limit, offset
    )


def qr_of(address: str) -> Markup:
    """An address as a QR code: SVG of black squares on white, for any reader."""
    buffer = io.BytesIO()
    segno.make(address, error="m", micro=False).save(
        buffer, kind="svg", xmldecl=False, svgns=True, scale=4, border=4, dark="#000", light="#fff"
    )
    return Markup(buffer.getvalue().decode())  # noqa: S704 (squares only; the address is in no text)
