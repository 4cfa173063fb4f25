"""Routes of roles, datasets, ingests and permits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from api.http import requests as schemas
from api.http import responses as answers
from api.http.auth import Author, Parts, SignedIn
from api.http.permit_review import (
    describe_permit,
    describe_review,
    keep_own_manifest,
    questions_under,
)
from api.http.problems import declared
from api.http.routes.serializers import show_reasons
from api.http.services import Services
from api.http.strict_route import MOST, LargeRoute, Limit, Offset, StrictRoute
from chain.errors import ChainError, LedgerUnsure
from chain.signatures import recover
from governance import permits, reasons
from governance.errors import RequestInvalid
from governance.objects import ingest
from governance.objects.leaves import leaf_of
from governance.readmodel import queries as register
from governance.readmodel.tables import Permit
from governance.sessions import Caller

router = APIRouter(route_class=StrictRoute, tags=["committee"])
lists = APIRouter(route_class=LargeRoute, tags=["committee"])
DatasetId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="A dataset's id, 32 bytes in hex.")
]
Account = Annotated[str, Query(pattern=r"^(0x[0-9a-fA-F]{40})?$", description="An address.")]
PermitId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="A permit's id, 32 bytes in hex.")
]


@router.post("/roles", response_model=answers.Written, responses=declared(400, 409, 413))
def set_role(body: schemas.RoleBody, services: Parts) -> Any:
    """Give or end a role, under the signatures of a quorum of the committee."""
    receipt = permits.set_role(
        services.ledger,
        schemas.message_of("RoleChange", body.change),
        [bytes.fromhex(signature) for signature in body.signatures],
    )
    return {"receipt": services.settle(receipt)}


@router.get("/roles", response_model=list[answers.Role], responses=declared())
def list_roles(services: Parts, after: Account = "", limit: Limit = 100) -> Any:
    """Who holds which role, by account; `after` is the last account of the page before. For
    everybody.
    """
    services.projection.sync()
    return [
        {
            "account": member.account,
            "role": member.role,
            "start": member.start,
            "end": member.end,
            "version": member.version,
        }
        for member in register.list_members(services.engine, after, limit)
    ]


@router.post(
    "/roles/cancellations", response_model=answers.Written, responses=declared(400, 409, 413)
)
def cancel_role(body: schemas.CancelRoleBody, services: Parts) -> Any:
    """Stop a new worker or broker before it acts: one committee member is enough."""
    receipt = permits.cancel_role(
        services.ledger,
        schemas.message_of("CancelRole", body.cancel),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.post("/datasets", response_model=answers.Written, responses=declared(400, 409, 413))
def register_dataset(body: schemas.DatasetBody, services: Parts) -> Any:
    """Register a dataset in its custodian's name, for good."""
    receipt = permits.register_dataset(
        services.ledger,
        schemas.message_of("RegisterDataset", body.registration),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.get("/datasets", response_model=list[answers.Dataset], responses=declared())
def list_datasets(services: Parts) -> Any:
    """The register of datasets, with how many encrypted objects each holds. For everybody."""
    services.projection.sync()
    return [
        {
            "dataset": row.dataset,
            "custodian": row.custodian,
            "document": row.document,
            "title": services.documents.title(row.document),
            "records": row.records,
        }
        for row in register.list_datasets(services.engine)
    ]


@lists.post(
    "/datasets/{dataset}/ingests", response_model=answers.Written, responses=declared(400, 409, 413)
)
def register_records(dataset: DatasetId, body: schemas.IngestBody, services: Parts) -> Any:
    """Make encrypted objects exist: the list goes into the bucket, then its root onto the ledger."""
    if body.registered.dataset != dataset:
        raise RequestInvalid("the signed message is for another dataset", "send it to that dataset")
    registered = schemas.message_of("RecordsRegistered", body.registered)
    leaves = [leaf_of(leaf.model_dump()) for leaf in body.leaves]
    services.projection.sync()
    permits.check_ingest(
        services.ledger.domain,
        services.projection.replayed,
        registered,
        bytes.fromhex(body.signature),
        leaves,
    )
    ingest.store_leaves(services.bucket, registered["leavesRoot"], leaves)
    receipt = permits.register_records(services.ledger, registered, bytes.fromhex(body.signature))
    return {"receipt": services.settle(receipt)}


@router.get(
    "/datasets/{dataset}/ingests", response_model=list[answers.Ingest], responses=declared(404)
)
def list_ingests(dataset: DatasetId, services: Parts) -> Any:
    """What was registered for a dataset, in order, and whether each list of records can be read.
    For everybody.

    While one cannot, no run begins: nobody can tell which version of a record is the newest.
    """
    services.projection.sync()
    return services.projection.ingests_of(bytes.fromhex(dataset))


@router.post(
    "/datasets/{dataset}/voids", response_model=answers.Written, responses=declared(400, 409, 413)
)
def void_records(dataset: DatasetId, body: schemas.VoidBody, services: Parts) -> Any:
    """Take a registration back for good: its custodian alone, or a quorum of the committee."""
    services.projection.sync()
    record = services.projection.replayed.ingests.get(bytes.fromhex(body.void.ingest))
    if record is not None and record.dataset.hex() != dataset:
        raise RequestInvalid("the registration is of another dataset", "send it to that dataset")
    receipt = permits.void_records(
        services.ledger,
        schemas.message_of("VoidRecords", body.void),
        [bytes.fromhex(signature) for signature in body.signatures],
    )
    return {"receipt": services.settle(receipt)}


@router.post("/permits", response_model=answers.Written, responses=declared(400, 409, 413))
def request_permit(body: schemas.PermitBody, services: Parts) -> Any:
    """Ask the committee for a permit; the applicant is who signed."""
    receipt = permits.request_permit(
        services.ledger,
        schemas.message_of("PermitRequest", body.request),
        bytes.fromhex(body.signature),
    )
    keep_own_manifest(services, body.request.codeHash)
    return {"receipt": services.settle(receipt)}


@router.get("/permits", response_model=list[answers.Permit], responses=declared())
def list_permits(services: Parts, limit: Limit = MOST, offset: Offset = 0) -> Any:
    """The public register of permits, those that end last first."""
    services.projection.sync()
    permits = register.list_permits(services.engine, limit=limit, offset=offset)
    return [_show(services, permit) for permit in permits]


@router.get("/permits/{permit}", response_model=answers.Permit, responses=declared(404))
def show_one_permit(permit: PermitId, services: Parts) -> Any:
    """One permit of the public register."""
    services.projection.sync()
    return _show(services, register.find_permit(services.engine, permit))


@router.get(
    "/permits/{permit}/review", response_model=answers.PermitReview, responses=declared(404)
)
def review_permit(permit: PermitId, services: Parts) -> Any:
    """What the committee reads before it votes: how many people are willing, what code would run,
    and what the applicant asked before. For everybody.
    """
    services.projection.sync()
    return describe_review(services, register.find_permit(services.engine, permit))


@router.get(
    "/permits/{permit}/questions", response_model=answers.Questions, responses=declared(404)
)
def list_questions(permit: PermitId, services: Parts) -> Any:
    """The different questions that runs of a permit have asked: to ask one of them again is free while
    neither the people nor the records have changed.
    """
    services.projection.sync()
    register.find_permit(services.engine, permit)
    return {"asked": questions_under(services, permit)}


@router.get(
    "/permits/{permit}/reasons",
    response_model=list[answers.GivenReason],
    responses=declared(401, 403, 404),
)
def list_reasons(permit: PermitId, services: Parts, caller: SignedIn) -> Any:
    """Why members voted as they did, or suspended it: for the committee, data-protection officers,
    auditors and the applicant.
    """
    services.projection.sync()
    reasons.check_reader(caller, register.find_permit(services.engine, permit).applicant)
    return show_reasons(reasons.reasons_on(services.engine, [permit]))


@router.post(
    "/permits/{permit}/votes", response_model=answers.Written, responses=declared(400, 409, 413)
)
def vote(permit: PermitId, body: schemas.VoteBody, services: Parts, author: Author) -> Any:
    """One committee member's yes or no; a no says why."""
    if body.vote.permit != permit:
        raise RequestInvalid("the signed vote is on another permit", "send it to that permit")
    act = reasons.APPROVE if body.vote.yes else reasons.REJECT
    message, signature = schemas.message_of("Vote", body.vote), bytes.fromhex(body.signature)
    with _reason_of(services, author, "Vote", message, signature, permit, act, body.reason):
        receipt = permits.vote(services.ledger, message, signature)
    return {"receipt": services.settle(receipt)}


@router.post(
    "/permits/{permit}/suspension",
    response_model=answers.Written,
    responses=declared(400, 409, 413),
)
def suspend(permit: PermitId, body: schemas.SuspendBody, services: Parts, author: Author) -> Any:
    """Suspend an approved permit at once, and say why: one committee member or data-protection
    officer is enough.
    """
    if body.suspend.permit != permit:
        raise RequestInvalid("the signed order is on another permit", "send it to that permit")
    act, text = reasons.SUSPEND, body.reason
    message, signature = schemas.message_of("Suspend", body.suspend), bytes.fromhex(body.signature)
    with _reason_of(services, author, "Suspend", message, signature, permit, act, text):
        receipt = permits.suspend(services.ledger, message, signature)
    return {"receipt": services.settle(receipt)}


@contextmanager
def _reason_of(
    services: Services,
    author: Caller | None,
    kind: str,
    message: Mapping[str, Any],
    signature: bytes,
    permit: str,
    act: str,
    text: str,
) -> Iterator[None]:
    """Keep the reason of a message before it is sent, since the answer may be lost; forget it if
    the ledger refuses the message. Raises RequestInvalid, NotSignedIn.
    """
    reason = reasons.check_reason(act, text)
    signer = recover(services.ledger.domain, kind, message, signature)
    reasons.check_author(author, signer, reason)
    kept = reasons.keep_reason(services.engine, permit, act, signer, reason, services.clock())
    try:
        yield
    except LedgerUnsure:  # it may be mined yet
        raise
    except ChainError:
        if kept:
            reasons.drop_reason(services.engine, permit, act, signer)
        raise


def _show(services: Services, permit: Permit) -> dict[str, Any]:
    return describe_permit(services, permit)
