"""Sign-in and sign-out: the challenge and signature of the API, and a cookie set only by our own
pages.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from eth_utils.address import is_checksum_address
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import Field

from api.http.auth import COOKIE, Parts
from api.http.requests import Incoming
from api.pages.enrolments import qr_of
from api.pages.rendering import PageRoute, render
from api.pages.session import OwnOrigin
from chain.signatures import typed_data
from chain.vocabulary import Role
from governance import sessions
from governance.errors import RequestInvalid
from governance.sessions import SESSION_SECONDS, Caller

router = APIRouter(route_class=PageRoute)
SIGNED_HERE = (
    "SignIn",
    "Grant",
    "Revoke",
    "Cancel",
    "Vote",
    "Suspend",
    "PermitRequest",
    "RegisterDataset",
    "RunRequest",
    "Resume",
    "Review",
    "Decision",
    "RoleChange",
    "CancelRole",
    "Enrolment",
    "VoidRecords",
    "Statement",
    "Appoint",
    "PlanRequest",
    "PlanView",
    "PlanOpening",
    "Countersign",
    "PlanEnd",
)
_AFTER = re.compile(
    r"/(me|care|datasets|permits|runs|reviews|roles|enrolments|trail)([/?][A-Za-z0-9/?=&_-]*)?"
)


class SessionBody(Incoming):
    token: Annotated[str, Field(min_length=1, max_length=100)]


@router.get("/sign-in")
def show_sign_in(request: Request, services: Parts, next: str = "") -> Response:
    """Choose a key; in the demo, choose a demo account."""
    people: list[Any] = []
    shut = False
    if services.settings.demo:
        from api.pages.demo_accounts import entered, list_people

        shut = not entered(request)
        people = [] if shut else list_people(services)
    return render(
        request,
        "sign-in.html",
        people=people,
        shut=shut,
        after=next if _AFTER.fullmatch(next) else "",
    )


@router.get("/keys/new")
def show_new_key(request: Request) -> Response:
    """Make a key in the browser; nothing of it is sent here."""
    return render(request, "new-key.html")


@router.get("/pages/keys/{address}/qr")
def draw_address(address: Annotated[str, Path(pattern=r"^0x[0-9a-fA-F]{40}$")]) -> Response:
    """The address of a key as a QR code, for a registrar's scanner. Raises RequestInvalid."""
    if not is_checksum_address(address):
        raise RequestInvalid("one letter of the address is wrong", "copy it from where it was made")
    return Response(qr_of(address), media_type="image/svg+xml")


@router.get("/pages/signing")
def show_signing(services: Parts) -> Response:
    """For the signing script: fields and EIP-712 domain of each kind of message that pages sign,
    the ledger's identity, and its network for wallets.
    """
    domain = services.ledger.domain
    chain = {"id": domain.chain_id, "node": services.settings.public_chain_url}
    return JSONResponse(
        {"identity": services.identity_id, "chain": chain}
        | {
            kind: {
                "name": kind,
                "fields": typed_data()["types"][kind],
                "domain": domain.for_type(kind) | {"salt": domain.salt.hex()},
            }
            for kind in SIGNED_HERE
        }
    )


@router.post("/pages/session", dependencies=[OwnOrigin])
def keep_session(request: Request, body: SessionBody, services: Parts) -> Response:
    """Put a session's token into the cookie; the one that it had ends. Raises NotSignedIn for an
    invalid token.
    """
    services.projection.sync()
    caller = sessions.caller_of(
        services.engine, services.projection.replayed, body.token, services.clock()
    )
    before = request.cookies.get(COOKIE, "")
    if before != body.token:
        sessions.end(services.engine, before)
    answer = JSONResponse({"next": _first_page(caller)})
    answer.set_cookie(
        COOKIE,
        body.token,
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=services.audience.startswith("https:"),
    )
    return answer


@router.post("/pages/sign-out", dependencies=[OwnOrigin])
def sign_out(request: Request, services: Parts) -> Response:
    """End the session, here and in the browser."""
    sessions.end(services.engine, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _first_page(caller: Caller) -> str:
    if caller.subject:
        return "/me"
    return "/trail" if caller.role == Role.AUDITOR else "/"
