"""Routes of what several people sign one after the other: orders of the committee, invitations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.http import requests as schemas
from api.http import responses as answers
from api.http.auth import Author, Parts, SignedIn
from api.http.problems import declared
from api.http.routes.serializers import show_reasons
from api.http.strict_route import Digest, StrictRoute
from chain.signatures import recover
from governance import invitations, orders, reasons

router = APIRouter(route_class=StrictRoute, tags=["shared work"])


@router.post("/orders", response_model=answers.Ordered, responses=declared(400, 403, 409, 413))
def sign_order(body: schemas.OrderBody, services: Parts, author: Author) -> Any:
    """Add a member's signature to an order of the committee. The quorum's last one carries it out."""
    services.projection.sync()
    kind = body.kind
    wire = body.message.model_dump()
    message, signature = schemas.message_of(kind, body.message), bytes.fromhex(body.signature)
    reason = reasons.check_reason(reasons.SIGN, body.reason)
    signer = recover(services.ledger.domain, kind, message, signature)
    reasons.check_author(author, signer, reason)
    digest, receipt = orders.sign(
        services.ledger,
        services.engine,
        services.projection.replayed,
        int(services.identity["quorum"]),
        kind,
        wire,
        message,
        signature,
        services.clock(),
    )
    reasons.keep_reason(services.engine, digest, reasons.SIGN, signer, reason, services.clock())
    return {"order": digest, "receipt": services.settle(receipt) if receipt else None}


@router.get("/orders", response_model=list[answers.Order], responses=declared())
def list_orders(services: Parts) -> Any:
    """Orders that wait for signatures, and those carried out lately, newest first. For everybody."""
    return [
        {
            "order": order.digest,
            "kind": order.kind,
            "message": order.message,
            "signers": list(order.signers),
            "by": order.by,
            "deadline": order.deadline,
            "tx": order.done or None,
        }
        for order in orders.list_orders(services.engine, services.clock())
    ]


@router.get(
    "/orders/{digest}/reasons",
    response_model=list[answers.GivenReason],
    responses=declared(401, 403),
)
def list_order_reasons(digest: Digest, services: Parts, caller: SignedIn) -> Any:
    """Why members signed an order: for the committee, data-protection officers and auditors."""
    reasons.check_reader(caller)
    return show_reasons(reasons.reasons_on(services.engine, [digest]))


@router.post("/invitations", response_model=answers.Invited, responses=declared(400, 403, 413))
def invite(body: schemas.InvitationBody, services: Parts) -> Any:
    """Keep a registrar's invitation until the person signs it too."""
    services.projection.sync()
    digest = invitations.invite(
        services.engine,
        services.ledger.domain,
        services.projection.replayed,
        body.enrolment.model_dump(),
        schemas.message_of("Enrolment", body.enrolment),
        bytes.fromhex(body.signature),
        services.clock(),
    )
    return {"invitation": digest}


@router.get("/invitations/{digest}", response_model=answers.Invitation, responses=declared(404))
def show_invitation(digest: Digest, services: Parts) -> Any:
    """An invitation, for the person whose key it names: nobody else can accept it."""
    services.projection.sync()
    known = invitations.find_invitation(
        services.engine, services.projection.replayed, digest, services.clock()
    )
    return {
        "invitation": known.digest,
        "enrolment": known.enrolment,
        "registrarSignature": known.signature,
        "state": known.state,
    }
