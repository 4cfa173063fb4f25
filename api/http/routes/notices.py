"""The route of a caller's own notices."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.http import responses as answers
from api.http.auth import Parts, SignedIn
from api.http.problems import declared
from api.http.strict_route import StrictRoute
from governance.notices import inbox
from governance.notices.kinds import KINDS, page_of

router = APIRouter(route_class=StrictRoute, tags=["shared work"])
MOST = inbox.MOST_KEPT


@router.get("/notices", response_model=answers.Notices, responses=declared(401))
def list_notices(
    services: Parts,
    caller: SignedIn,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> Any:
    """The caller's own notices, newest first, and how many she has not read."""
    known = inbox.list_notices(services.engine, caller.recipient, limit, offset)
    return {
        "unread": inbox.count_unread(services.engine, caller.recipient),
        "notices": [
            {
                "notice": notice.id,
                "kind": notice.kind,
                "sentence": KINDS[notice.kind].sentence,
                "href": page_of(notice.kind, notice.about),
                "at": notice.at,
                "read": notice.read or None,
            }
            for notice in known
        ],
    }
