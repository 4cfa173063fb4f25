"""Routes of people: sign-in, enrolment, consents, withdrawals, accesses to their data."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Request

from api.http import requests as schemas
from api.http import responses as answers
from api.http.auth import Parts, PartsAnyway, SignedIn, require_self
from api.http.problems import OTHER_REFUSAL, REFUSALS, declared
from api.http.rate_limit import WITHDREW_NOTHING, check_rate_limit
from api.http.routes.serializers import show_consent, show_reason, show_withdrawal
from api.http.services import Services
from api.http.strict_route import ShortRoute, StrictRoute
from chain import consent_slot
from chain.errors import Refused
from chain.events import ConsentGranted, ItemRefused
from chain.vocabulary import Role
from governance import consent, precheck, sessions
from governance.errors import CatchingUp, NotFound
from governance.readmodel import queries as register
from governance.runs import mark

router = APIRouter(route_class=StrictRoute, tags=["people"])
withdrawals = APIRouter(route_class=ShortRoute, tags=["people"])
WITHDRAWING = CapacityLimiter(8)  # withdrawals at a time
SubjectId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="A person's id, 32 bytes in hex.")
]


@router.post("/sign-in/challenge", response_model=answers.Challenge, responses=declared())
def open_challenge(services: Parts) -> Any:
    """A challenge for one sign-in within five minutes. Sign it only for the address you called."""
    nonce, expires = sessions.open_challenge(services.engine, services.clock())
    return {"nonce": nonce, "audience": services.audience, "expires": expires}


@router.post("/sign-in", response_model=answers.Session, responses=declared(400, 401, 413))
def sign_in(body: schemas.SignInBody, services: Parts) -> Any:
    """A bearer token for 15 minutes: a patient's by her id and key, or by her key alone if it holds
    no role; anyone else's by a live role.
    """
    message = {
        "account": body.account,
        "subject": body.subject or "",
        "nonce": body.nonce,
        "issuedAt": body.issuedAt,
    }
    sessions.prove(
        services.engine,
        services.ledger.domain,
        services.audience,
        message,
        bytes.fromhex(body.signature),
        services.clock(),
    )
    services.projection.sync()
    token, expires = sessions.open_session(
        services.engine, services.projection.replayed, message, services.clock()
    )
    caller = sessions.caller_of(
        services.engine, services.projection.replayed, token, services.clock()
    )
    return {"token": token, "expires": expires, "role": caller.role}


@router.post("/enrolments", response_model=answers.Enrolled, responses=declared(400, 409, 413))
def enrol(body: schemas.EnrolmentsBody, services: Parts) -> Any:
    """Enrol people whom a registrar and their own keys signed for; a bad item is skipped and named."""
    items = [
        (
            schemas.message_of("Enrolment", item.enrolment),
            bytes.fromhex(item.registrarSignature),
            bytes.fromhex(item.signerSignature),
        )
        for item in body.items
    ]
    services.projection.sync()
    domain, replayed = services.ledger.domain, services.projection.replayed
    seen = [precheck.skipped_enrolment(domain, replayed, *item) for item in items]
    precheck.refuse_all_skipped(seen)
    receipt = consent.enrol(services.ledger, items)
    ends = consent.outcomes(receipt, [message for message, *_ in items], seen)
    return {"receipt": services.settle(receipt), "items": _items(ends)}


@router.post("/consents", response_model=answers.Consented, responses=declared(400, 409, 413))
def grant(body: schemas.ConsentsBody, services: Parts, request: Request) -> Any:
    """Put signed consents on the ledger. The answer has the parts of a receipt for each accepted
    one.
    """
    sent = [
        (
            schemas.message_of("Grant", item.grant),
            bytes.fromhex(item.signer),
            bytes.fromhex(item.signature),
        )
        for item in body.items
    ]
    domain, replayed = services.ledger.domain, services.projection.replayed
    # Needs no request to the ledger.
    precheck.refuse_all_skipped(
        [precheck.forged(domain, replayed, "Grant", *item) for item in sent]
    )
    services.projection.sync()
    seen = [precheck.skipped_grant(domain, replayed, *item) for item in sent]
    precheck.refuse_all_skipped(seen)
    people = [message["subject"].hex() for message, *_ in sent]
    accepted = (subject for subject, skipped in zip(people, seen, strict=True) if not skipped)
    services.decisions.check(accepted, request)
    receipt = consent.grant(services.ledger, sent)
    services.decisions.count(event.subject.hex() for event in receipt.all(ConsentGranted))
    services.decisions.count(people[event.index_] for event in receipt.all(ItemRefused))
    # A narrower consent stops running uses, as a withdrawal does.
    mark(services.engine, f"mined:{receipt.tx.hex()}")
    position = services.settle(receipt)
    witness = services.witness()
    items = _items(consent.outcomes(receipt, [message for message, *_ in sent], seen))
    granted = iter(receipt.all(ConsentGranted))
    for item, given in zip(items, body.items, strict=True):
        if item["accepted"]:
            item["proof"] = _proof(services, given, next(granted), position, witness)
    note = None if witness else "The key broker did not answer: the receipt has no witness."
    return {"receipt": position, "items": items, "note": note}


@withdrawals.post(
    "/consents/revocations", response_model=answers.Revoked, responses=declared(400, 409, 413)
)
async def revoke(body: schemas.RevocationBody, services: PartsAnyway, request: Request) -> Any:
    """Withdraw. A revocation of an older consent changes nothing; the answer then shows the current
    consent.

    It is also accepted while this service still reads the ledger: then the contract is asked for
    the current consent.
    """
    # In separate threads, because the other endpoints may have used up the shared ones.
    return await to_thread.run_sync(_revoke, body, services, request, limiter=WITHDRAWING)


def _revoke(body: schemas.RevocationBody, services: Services, request: Request) -> dict[str, Any]:
    call = (
        schemas.message_of("Revoke", body.revoke),
        bytes.fromhex(body.signer),
        bytes.fromhex(body.signature),
    )
    domain, projection = services.ledger.domain, services.projection
    precheck.refuse_all_skipped([precheck.forged(domain, projection.replayed, "Revoke", *call)])
    try:
        projection.sync()
        acts = precheck.revocation_acts(domain, projection.replayed, *call)
        current_consent = projection.replayed.consent(call[0]["dataset"], call[0]["subject"])
        takes_back = consent_slot.takes_back(current_consent.status, current_consent.epoch)
    except CatchingUp:  # the contract refuses a forged one before anything is spent on it
        acts, takes_back = consent.acts_and_takes_back(services.ledger, call[0])
    # A withdrawal with an effect is never refused. A repeated old withdrawal costs tokens, and a
    # withdrawal of no consent costs more, because each is a permanent step of the ledger.
    if not acts:
        check_rate_limit(request)
        precheck.refuse_repeated(projection.replayed, call[0])
    elif not takes_back:
        check_rate_limit(request, WITHDREW_NOTHING)
    receipt, stale = consent.revoke(services.ledger, *call)
    mark(services.engine, f"mined:{receipt.tx.hex()}")
    position = services.settle(receipt)
    state = None
    with suppress(NotFound):  # the person may not be in the rows yet
        rows = register.consents_of(services.engine, body.revoke.subject)
        consents = (show_consent(row) for row in rows if row.dataset == body.revoke.dataset)
        state = next(consents, None)
    if services.projection.behind.is_set():
        state = None  # the rows may be older than this withdrawal
    current = body.revoke.epoch + 1 if stale is None else stale
    return {"acted": stale is None, "current": current, "receipt": position, "state": state}


@router.get(
    "/consents/{subject}", response_model=answers.Consents, responses=declared(401, 403, 404)
)
def show_consents(subject: SubjectId, services: Parts, caller: SignedIn) -> Any:
    """A person's consents: for herself only."""
    require_self(caller, subject)
    services.projection.sync()
    return {
        "subject": subject,
        "consents": [show_consent(row) for row in register.consents_of(services.engine, subject)],
    }


@router.get(
    "/subjects/{subject}/accesses",
    response_model=answers.Accesses,
    responses=declared(401, 403, 404),
)
def show_accesses(subject: SubjectId, services: Parts, caller: SignedIn) -> Any:
    """The ledger's decisions on access to a person's data: for herself, or an auditor."""
    require_self(caller, subject, Role.AUDITOR)
    services.projection.sync()
    if bytes.fromhex(subject) not in services.projection.replayed.signers:
        raise NotFound("nobody is enrolled under this id", "check the id")
    accesses = register.accesses_of(services.engine, subject)
    return {
        "subject": subject,
        "accesses": [
            {
                "run": access.run,
                "attempt": access.attempt,
                "granted": access.granted,
                "reason": show_reason(access.reason),
                "block": access.block,
                "time": access.time,
                "tx": access.tx,
                "analyst": access.analyst,
                "permit": access.permit,
                "purposes": consent.names_of(access.need, consent.PURPOSES),
                "categories": consent.names_of(access.categories, consent.CATEGORIES),
                "state": access.state,
            }
            for access in accesses
        ],
    }


@router.get(
    "/subjects/{subject}/withdrawals",
    response_model=answers.Withdrawals,
    responses=declared(401, 403, 404),
)
def show_withdrawals(subject: SubjectId, services: Parts, caller: SignedIn) -> Any:
    """A person's withdrawals and their effects: for herself only."""
    require_self(caller, subject)
    services.projection.sync()
    withdrawals, as_of = services.withdrawals_of(subject)
    return {
        "subject": subject,
        "withdrawals": [show_withdrawal(withdrawal, as_of) for withdrawal in withdrawals],
    }


def _items(ends: list[str]) -> list[dict[str, Any]]:
    """The outcome of each item ("" for an accepted one); raises Refused when the only item was
    refused.
    """
    if len(ends) == 1 and ends[0]:
        raise Refused(ends[0], {}, "look at the state and sign again")
    items: list[dict[str, Any]] = []
    for index, reason in enumerate(ends):
        detail, hint = REFUSALS.get(reason, OTHER_REFUSAL) if reason else (None, None)
        items.append(
            {
                "index": index,
                "accepted": not reason,
                "reason": reason or None,
                "detail": detail,
                "hint": hint,
            }
        )
    return items


def _proof(
    services: Services,
    sent: schemas.GrantItem,
    event: ConsentGranted,
    receipt: dict[str, Any],
    witness: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "type": "volens/receipt/2",
        "identity": services.identity_id,
        "subject": sent.grant.subject,
        "dataset": sent.grant.dataset,
        "epoch": event.epoch,
        "version": event.version,
        **receipt,
        "signedMessage": sent.grant.model_dump(),
        "signature": sent.signature,
        "witness": witness,
    }
