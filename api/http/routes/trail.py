"""Routes of the record: the trail for auditors, its head, the ledger identity, the health of all
services.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from api.http import responses as answers
from api.http.auth import Parts, PartsAnyway, SignedIn, require_role
from api.http.problems import declared
from api.http.routes.serializers import show_reason
from api.http.services import Services
from api.http.strict_route import MOST, Limit, Offset, StrictRoute
from chain.vocabulary import Role
from governance import audit
from governance.readmodel import queries as register
from governance.rules.encoding import canonical_json

EXPORTING = CapacityLimiter(1)  # exports at a time
PART = 64 << 10  # bytes written at once
KEPT_EXPORT = 16 << 20  # most bytes of an export that is kept for the next request
router = APIRouter(route_class=StrictRoute, tags=["record"])
_JSON: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As JSON.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.get("/trail", response_class=Response, responses={**_JSON, **declared()})
async def export_trail(services: PartsAnyway) -> Response:
    """Everything that an auditor needs to check the ledger without us: `python verify.py BUNDLE`."""
    # Anybody may request it, and it takes seconds: one at a time, and waiting uses no shared
    # thread.
    bundle = await to_thread.run_sync(_export, services, limiter=EXPORTING)
    # In parts, so that the unread rest is not copied into memory for each slow reader.
    length = {"content-length": str(len(bundle))}
    return StreamingResponse(_in_parts(bundle), headers=length, media_type="application/json")


async def _in_parts(bundle: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(bundle), PART):
        yield bundle[start : start + PART]


def _export(services: Services) -> bytes:
    """The bundle as of the newest step; the kept one if there is no newer step."""
    newest = services.ledger.head()
    kept = services.export
    if kept is None or kept[0] != newest:
        witness = services.witness()
        bundle = canonical_json(audit.export_bundle(services.ledger, [witness] if witness else []))
        kept = newest, bundle
        services.export = kept if witness and len(bundle) <= KEPT_EXPORT else None
    return kept[1]


@router.get("/trail/head", response_model=answers.TrailHead, responses=declared())
def show_head(services: PartsAnyway) -> Any:
    """The trail's newest head, with a broker's signature over its own node's answer."""
    count, head = services.ledger.head()
    block = services.ledger.block()
    return {
        "count": count,
        "head": head.hex(),
        "block": int(block["number"], 16),
        "blockHash": block["hash"].removeprefix("0x"),
        "time": int(block["timestamp"], 16),
        "witness": services.witness(),
    }


@router.get("/trail/denials", response_model=list[answers.Denial], responses=declared(401, 403))
def list_denials(services: Parts, caller: SignedIn, limit: Limit = MOST, offset: Offset = 0) -> Any:
    """The refusals on the ledger, oldest first: for auditors and the data-protection officer.

    At most `limit` of them after the first `offset`.
    """
    require_role(caller, Role.AUDITOR, Role.PROTECTION)
    services.projection.sync()
    return [
        {
            "run": denial.run,
            "attempt": denial.attempt,
            "subject": denial.subject or None,
            "reason": show_reason(denial.reason),
            "block": denial.block,
        }
        for denial in register.list_denials(services.engine, limit, offset)
    ]


@router.get("/identity", response_class=Response, responses={**_JSON, **declared()})
def show_identity(services: PartsAnyway) -> Response:
    """The ledger identity, signed by the first committee and the broker: pin it before you sign
    anything.
    """
    return Response(canonical_json(dict(services.identity)), media_type="application/json")


@router.get(
    "/health", response_model=answers.Health, response_model_exclude_none=True, responses=declared()
)
def show_health(services: PartsAnyway) -> Any:
    """The state of each service, and since when. Never fails because a service does."""
    return services.health.report(services.clock())
