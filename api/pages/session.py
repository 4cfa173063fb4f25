"""Sessions of page visitors: a token in a cookie that scripts cannot read, set only by our own
pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from api.http.auth import COOKIE, Parts
from api.http.services import Services
from chain.vocabulary import Role
from governance.errors import NotAllowed, NotSignedIn
from governance.sessions import Caller, caller_of


def who_views(request: Request, services: Services) -> Caller | None:
    """The signed-in visitor, or None; looked up once for each request."""
    if not hasattr(request.state, "visitor"):
        token = request.cookies.get(COOKIE, "")
        try:
            request.state.visitor = (
                caller_of(services.engine, services.projection.replayed, token, services.clock())
                if token
                else None
            )
        except NotSignedIn:
            request.state.visitor = None
    visitor: Caller | None = request.state.visitor
    return visitor


def _visitor(request: Request, services: Parts) -> Caller | None:
    services.projection.sync()  # roles as they are now
    return who_views(request, services)


Visitor = Annotated[Caller | None, Depends(_visitor)]


def _signed_in(request: Request, visitor: Visitor) -> Caller:
    if visitor is None:
        ended = COOKIE in request.cookies
        raise NotSignedIn(
            "your session has ended: it lasts 15 minutes" if ended else "nobody is signed in",
            "sign in with your key",
        )
    return visitor


SignedIn = Annotated[Caller, Depends(_signed_in)]


def check_patient(visitor: SignedIn) -> Caller:
    """The signed-in patient. Raises NotAllowed for everybody else."""
    if not visitor.subject:
        raise NotAllowed("this page is a patient's own", "sign in with a patient's key")
    return visitor


Patient = Annotated[Caller, Depends(check_patient)]


def _role_holder(role: Role, where: str) -> Callable[[Caller], Caller]:
    """A dependency: the signed-in holder of this role."""

    def check(visitor: SignedIn) -> Caller:
        if visitor.role != role:
            raise NotAllowed(f"this page is for {where}", "sign in with that role's key")
        return visitor

    return check


Analyst = Annotated[Caller, Depends(_role_holder(Role.ANALYST, "analysts"))]
Checker = Annotated[Caller, Depends(_role_holder(Role.CHECKER, "output checkers"))]
Custodian = Annotated[Caller, Depends(_role_holder(Role.CUSTODIAN, "custodians"))]
Registrar = Annotated[Caller, Depends(_role_holder(Role.REGISTRAR, "registrars"))]
Clinician = Annotated[Caller, Depends(_role_holder(Role.CLINICIAN, "clinicians"))]
Member = Annotated[Caller, Depends(_role_holder(Role.COMMITTEE, "members of the committee"))]


def own_origin(request: Request, services: Parts) -> None:
    """Raise NotAllowed unless one of our own pages sent this request; for all requests with
    effects.
    """
    if request.headers.get("origin") != services.audience:
        raise NotAllowed(
            "this was not sent from our own page", "open the page itself and try again there"
        )


OwnOrigin = Depends(own_origin)
