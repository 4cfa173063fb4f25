"""Routes of a patient's own care: appointments, plans, looks, countersignatures and openings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from api.http import requests as schemas
from api.http import responses as answers
from api.http.auth import Parts, SignedIn
from api.http.problems import declared
from api.http.routes.runs import AttemptNumber, same_run, show_attempt, show_output
from api.http.routes.serializers import show_reason
from api.http.services import Services
from api.http.strict_route import MOST, Limit, Offset, StrictRoute
from chain.vocabulary import Role
from governance import care
from governance.errors import NotAllowed, NotFound, RequestInvalid
from governance.readmodel import queries as register
from governance.readmodel.tables import Run
from governance.sessions import Caller

router = APIRouter(route_class=StrictRoute, tags=["care"])
PlanId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="A plan's id, 32 bytes in hex.")
]
DAY = 86_400
# The state of a plan by its run's on the ledger.
_STATES = {
    "queued": "queued",
    "authorised": "computing",
    "sealed": "sealed",
    "released": "countersigned",
    "denied": "refused",
    "withdrawn": "ended",
}


@router.post("/appointments", response_model=answers.Written, responses=declared(400, 409, 413))
def appoint(body: schemas.AppointBody, services: Parts) -> Any:
    """A patient appoints her clinician, or ends an appointment with a day that is over. The ledger
    gets a hash that hides who it is; this service shows her and him.
    """
    receipt = care.appoint(
        services.ledger,
        services.engine,
        schemas.message_of("Appoint", body.appoint),
        bytes.fromhex(body.signer),
        bytes.fromhex(body.signature),
        body.clinician,
        bytes.fromhex(body.salt),
    )
    return {"receipt": services.settle(receipt)}


@router.get("/appointments", response_model=list[answers.Appointment], responses=declared(401, 403))
def list_appointments(services: Parts, caller: SignedIn) -> Any:
    """A patient's newest appointments, or those in which a clinician is named."""
    services.projection.sync()
    mine = (
        {"subject": caller.subject} if caller.subject else {"clinician": _clinician(caller).account}
    )
    listed = care.appointments(
        services.engine, services.projection.replayed, services.clock(), **mine
    )
    return [
        {
            "dataset": appointment.dataset,
            "subject": appointment.subject,
            "clinician": appointment.clinician,
            "version": appointment.version,
            "untilDay": appointment.until_day,
            "resultToMe": appointment.result_to_me,
            "live": appointment.live,
            "salt": appointment.salt,
        }
        for appointment in listed
    ]


@router.post("/plans", response_model=answers.PlanRequested, responses=declared(400, 409, 413))
def request_plan(body: schemas.PlanBody, services: Parts) -> Any:
    """The appointed clinician asks for a plan under his care permit."""
    run, receipt = care.request_plan(
        services.ledger,
        schemas.message_of("PlanRequest", body.request),
        body.params,
        bytes.fromhex(body.signature),
    )
    return {"run": run.hex(), "receipt": services.settle(receipt)}


@router.get("/plans", response_model=list[answers.Plan], responses=declared(401, 403))
def list_plans(services: Parts, caller: SignedIn, limit: Limit = MOST, offset: Offset = 0) -> Any:
    """The plans of a patient, or those that a clinician asked for: newest first."""
    services.projection.sync()
    mine = (
        {"subject": caller.subject} if caller.subject else {"clinician": _clinician(caller).account}
    )
    plans = register.list_plans(services.engine, **mine, limit=limit, offset=offset)
    return [describe_plan(services, plan) for plan in plans]


@router.get("/plans/{run}", response_model=answers.Plan, responses=declared(401, 403, 404))
def show_plan(run: PlanId, services: Parts, caller: SignedIn) -> Any:
    """Where a plan is: for its clinician and its patient. What it says is encrypted."""
    services.projection.sync()
    plan = register.find_plan(services.engine, run)
    if plan.subject != caller.subject and plan.analyst != caller.account:
        raise NotFound("there is no such plan of yours", "check the id")
    return describe_plan(services, plan)


@router.post(
    "/plans/{run}/attempts/{attempt}/views",
    response_model=answers.Written,
    responses=declared(400, 409, 413),
)
def view_plan(
    run: PlanId, attempt: AttemptNumber, body: schemas.PlanViewBody, services: Parts
) -> Any:
    """The clinician looks at a plan: the look is recorded first, then the broker gives key pieces
    to its key.
    """
    same_run(body.view.run, run, body.view.attempt, attempt)
    receipt = care.view_plan(
        services.ledger,
        schemas.message_of("PlanView", body.view),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.post(
    "/plans/{run}/attempts/{attempt}/countersign",
    response_model=answers.Written,
    responses=declared(400, 409, 413),
)
def countersign(
    run: PlanId, attempt: AttemptNumber, body: schemas.CountersignBody, services: Parts
) -> Any:
    """The clinician countersigns with his notes on each item; then its patient may open it. Her
    consent and the appointment are read again: a refusal is a 409 with its reason.
    """
    same_run(body.countersign.run, run, body.countersign.attempt, attempt)
    try:
        receipt = care.countersign(
            services.ledger,
            services.bucket,
            schemas.message_of("Countersign", body.countersign),
            bytes.fromhex(body.signature),
            bytes.fromhex(body.notes),
        )
    finally:
        services.projection.sync()  # a refusal is on the ledger as well
    return {"receipt": services.settle(receipt)}


@router.post(
    "/plans/{run}/attempts/{attempt}/openings",
    response_model=answers.Written,
    responses=declared(400, 409, 413),
)
def open_plan(
    run: PlanId, attempt: AttemptNumber, body: schemas.PlanOpeningBody, services: Parts
) -> Any:
    """A patient opens her countersigned plan: the opening is recorded first."""
    same_run(body.opening.run, run, body.opening.attempt, attempt)
    receipt = care.open_plan(
        services.ledger,
        schemas.message_of("PlanOpening", body.opening),
        bytes.fromhex(body.signer),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.post("/plans/{run}/end", response_model=answers.Written, responses=declared(400, 409, 413))
def end_plan(run: PlanId, body: schemas.PlanEndBody, services: Parts) -> Any:
    """The clinician ends a request that he has not countersigned."""
    same_run(body.end.run, run)
    receipt = care.end_plan(
        services.ledger,
        schemas.message_of("PlanEnd", body.end),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.get(
    "/plans/{run}/output",
    response_class=Response,
    responses={
        200: {"description": "The encrypted object.", "content": {"application/octet-stream": {}}},
        **declared(401, 403, 404),
    },
)
def fetch_plan(run: PlanId, services: Parts, caller: SignedIn) -> Response:
    """The sealed plan as ciphertext: for its clinician, and for its patient after the
    countersignature. Keys come from brokers.
    """
    return give_plan(run, services, caller)


def give_plan(run: str, services: Services, caller: Caller) -> Response:
    """The ciphertext of `fetch_plan`. Raises NotAllowed, NotFound."""
    plan = _readable(run, services, caller)
    outputs = register.outputs_of(services.engine, plan.run)
    if not outputs:
        raise NotFound("the plan is not drawn yet", "wait until it is sealed")
    blob = services.bucket.get(f"o/{outputs[-1].ciphertext}")
    return Response(blob, media_type="application/octet-stream")


@router.get(
    "/plans/{run}/notes",
    response_class=Response,
    responses={
        200: {"description": "The encrypted notes.", "content": {"application/octet-stream": {}}},
        **declared(401, 403, 404),
    },
)
def fetch_notes(run: PlanId, services: Parts, caller: SignedIn) -> Response:
    """What the clinician noted at his countersignature, as ciphertext, for the plan's readers."""
    _readable(run, services, caller)
    notes = care.notes_of(services.bucket, services.projection.replayed, bytes.fromhex(run))
    return Response(notes, media_type="application/octet-stream")


@router.post(
    "/plans/{run}/output-pieces",
    response_model=answers.OutputPieces,
    responses=declared(400, 403, 404, 409, 413),
)
def ask_for_plan_pieces(run: PlanId, body: schemas.OutputQuestion, services: Parts) -> Any:
    """Passes a reader's signed question for a plan's key on to the broker, and its answer back."""
    same_run(body.run, run)
    if [(item.record, item.version) for item in body.records] != [(run, body.attempt)]:
        raise RequestInvalid("a plan's record is its run and attempt", "ask for that one")
    services.projection.sync()
    plan = register.find_plan(services.engine, run)
    question = body.model_dump(exclude_none=True)
    care.check_asker(services.ledger.domain, services.projection.replayed, plan, question)
    return services.broker.pass_on(question)


def describe_plan(services: Services, plan: Run) -> dict[str, Any]:
    """The state of a plan, as `answers.Plan`; the database must be at the newest block."""
    permit = register.find_permit(services.engine, plan.permit)
    failure = register.failure_of(services.engine, plan.run)
    name = bytes.fromhex(plan.run)
    notes = services.projection.replayed.notes.get(name)
    working = plan.state in ("queued", "authorised")
    return {
        "run": plan.run,
        "permit": plan.permit,
        "dataset": permit.dataset,
        "subject": plan.subject,
        "clinician": plan.analyst,
        "state": "failed" if failure and working else _STATES[plan.state],
        "reason": show_reason(plan.reason),
        "failure": failure or None,
        "day": register.time_of_block(services.engine, plan.block) // DAY,
        "attempts": [
            show_attempt(services, plan.run, attempt)
            for attempt in register.attempts_of(services.engine, plan.run)
        ],
        "outputs": [
            show_output(services, output)
            for output in register.outputs_of(services.engine, plan.run)
        ],
        "notesHash": notes.hex() if notes else None,
    }


def _readable(run: str, services: Services, caller: Caller) -> Run:
    """The plan, which the caller may read. Raises NotAllowed, NotFound."""
    services.projection.sync()
    plan = register.find_plan(services.engine, run)
    care.check_reader(services.projection.replayed, plan, caller.account, caller.subject)
    return plan


def _clinician(caller: Caller) -> Caller:
    if caller.role != Role.CLINICIAN:
        raise NotAllowed("this list is for patients and clinicians", "sign in as one of them")
    return caller
