"""Authentication and authorisation of callers: the session behind a bearer token, as a dependency
of routes.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.http.services import Services
from governance.errors import NotAllowed, NotSignedIn
from governance.sessions import Caller, caller_of

COOKIE = "volens-session"  # of our own pages, which scripts cannot read
_bearer = HTTPBearer(auto_error=False, description="The token of POST /sign-in, for 15 minutes.")


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _read_services(request: Request) -> Services:
    """For routes that depend on the ledger's state.

    Raises CatchingUp until this process has read all of it.
    """
    services = services_of(request)
    services.check_read()
    return services


async def _services_anyway(request: Request) -> Services:
    """`async`, so that it needs no thread of the pool, which may be exhausted."""
    return services_of(request)


Parts = Annotated[Services, Depends(_read_services)]
# For the few routes that need no state of the ledger.
PartsAnyway = Annotated[Services, Depends(_services_anyway)]


def _caller(
    services: Parts, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    if credentials is None:
        raise NotSignedIn(
            "nobody is signed in", "sign in: POST /sign-in/challenge, then POST /sign-in"
        )
    return caller_of(
        services.engine, services.projection.replayed, credentials.credentials, services.clock()
    )


SignedIn = Annotated[Caller, Depends(_caller)]


def _author(
    request: Request,
    services: Parts,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller | None:
    token = credentials.credentials if credentials else ""
    if not token and request.headers.get("origin") == services.audience:
        token = request.cookies.get(COOKIE, "")
    try:
        return (
            caller_of(services.engine, services.projection.replayed, token, services.clock())
            if token
            else None
        )
    except NotSignedIn:
        return None


# Whose words come with a signed message: by token or, from our own pages, by their cookie. It gives
# no right to anything; it says only under whose name a text is kept.
Author = Annotated[Caller | None, Depends(_author)]


def require_self(caller: Caller, subject: str, *roles: int) -> None:
    """Raise NotAllowed unless the caller is that person, or holds one of the roles now."""
    if caller.subject != subject and caller.role not in roles:
        raise NotAllowed("only the person herself may see this", "sign in as her")


def require_role(caller: Caller, *roles: int) -> None:
    """Raise NotAllowed unless the caller holds one of the roles now."""
    if caller.role not in roles:
        raise NotAllowed(
            "this needs a role that the caller does not hold now", "sign in with that role's key"
        )
