"""Pages of one patient's plans: for the clinician who asked, and after his countersignature for
herself. What a plan says is opened in the reader's browser or on her machine, sent here to be
shown, and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from analytics.care.rule_set import shipped
from api.client.plans import check_notes
from api.errors import UsageError
from api.http.auth import Parts
from api.http.routes.care import PlanId, describe_plan, give_plan
from api.http.services import Services
from api.pages import care_view, result_check
from api.pages.forms import DEADLINE_SECONDS, file_in
from api.pages.labels import DAY
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import Clinician, OwnOrigin, Patient, SignedIn
from chain.vocabulary import PermitStatus
from governance import care
from governance.errors import (
    MessageRefused,
    NotAllowed,
    NotFound,
    RequestInvalid,
    reason_of,
)
from governance.objects.notes import open_notes
from governance.readmodel import queries as register
from governance.readmodel.tables import Run
from governance.readmodel.trail_queries import viewings
from governance.rules.encoding import Malformed, strict_json
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
PAGE = 20


@dataclass(frozen=True, slots=True)
class Reader:
    """A plan and how the visitor may read it: `shut` says why not now, "" if the ledger lets her."""

    row: Run
    plan: dict[str, Any]
    shut: str


@router.get("/care/{plan}")
def show_plan(plan: PlanId, request: Request, services: Parts, me: Clinician) -> Response:
    """Where a plan is, for its clinician: to open it, to end it."""
    reader = _clinicians(services, plan, me)
    return render(request, "care-plan.html", **_facts(services, reader))


@router.get("/me/plan")
def show_my_plans(request: Request, services: Parts, me: Patient, page: PageNumber = 1) -> Response:
    """Her plans, newest first."""
    rows = register.list_plans(
        services.engine, subject=me.subject, limit=PAGE + 1, offset=PAGE * (page - 1)
    )
    return render(
        request,
        "my-plans.html",
        plans=[describe_plan(services, row) for row in rows[:PAGE]],
        page=page,
        more=len(rows) > PAGE,
    )


@router.get("/me/plan/{plan}")
def show_my_plan(plan: PlanId, request: Request, services: Parts, me: Patient) -> Response:
    """One plan of hers: before the countersignature only that it is being drawn up."""
    reader = _hers(services, plan, me)
    return render(request, "my-plan.html", **_facts(services, reader))


@router.get("/pages/plans/{plan}")
def fetch_description(plan: PlanId, services: Parts, me: SignedIn) -> Response:
    """What a reader's browser needs to open the plan: as `GET /plans/{run}`."""
    return JSONResponse(_readers(services, plan, me).plan)


@router.get("/pages/plans/{plan}/output")
def fetch_sealed_plan(plan: PlanId, services: Parts, me: SignedIn) -> Response:
    """The sealed plan as ciphertext, as the API gives it for a bearer token."""
    return give_plan(plan, services, me)


@router.post("/pages/plans/{plan}/opened", dependencies=[OwnOrigin])
async def show_opened(plan: PlanId, request: Request, services: Parts, me: SignedIn) -> Response:
    """Check a plan that its reader opened, show it as options or in plain words, and do not store
    it. A form without script sends the file of the command line, and gets a page.
    """
    kind, body = request.headers.get("content-type", ""), await request.body()
    as_page = kind.startswith("multipart/")

    def answer() -> Response:
        opened = file_in(kind, body, "file") if as_page else body
        reader = _readers(services, plan, me)
        text, salt = _opened(services, reader, me, opened)
        notes = _notes(services, reader, salt)
        facts = _facts(services, reader)
        shown = care_view.describe(text, notes, facts["today"], shipped())
        part = "part-my-plan.html" if me.subject else "part-care-plan.html"
        template = "opened-plan.html" if as_page else part
        return render(request, template, part=part, salt=salt.hex(), opened=shown, **facts)

    return await run_in_threadpool(answer)


def _opened(
    services: Services, reader: Reader, me: Caller, body: bytes
) -> tuple[dict[str, Any], bytes]:
    """(plan, salt) of what the visitor opened. Raises NotAllowed, NotFound, RequestInvalid."""
    if reader.shut:
        raise NotAllowed(f"this plan opens for nobody now: {reader.shut}", "see its page")
    if not reader.plan["outputs"]:
        raise NotFound("the plan is not drawn yet", "wait until it is sealed")
    run, attempt = bytes.fromhex(reader.row.run), int(reader.plan["outputs"][-1]["attempt"])
    views = services.projection.replayed.attempts[run, attempt].views
    if bytes.fromhex(me.account[2:]) not in views:
        raise NotAllowed(
            "the ledger has no opening of this plan by you", "open it with your key: it is recorded"
        )
    return result_check.check_plan(reader.plan, body)


def _notes(services: Services, reader: Reader, salt: bytes) -> dict[str, Any]:
    """What the clinician noted, `{}` before his countersignature. Raises RequestInvalid for notes
    that are of another form.
    """
    if reader.plan["notesHash"] is None:
        return {}
    run, attempt = bytes.fromhex(reader.row.run), int(reader.plan["outputs"][-1]["attempt"])
    try:
        sealed = care.notes_of(services.bucket, services.projection.replayed, run)
        return check_notes(strict_json(open_notes(salt, run, attempt, sealed)))
    except (MessageRefused, Malformed, UsageError):
        raise RequestInvalid(
            "the clinician's notes on this plan cannot be read", "tell your clinician"
        ) from None


def _clinicians(services: Services, plan: str, me: Caller) -> Reader:
    """A plan of this clinician's. Raises NotFound."""
    services.projection.sync()
    row = register.find_plan(services.engine, plan)
    if row.analyst != me.account:
        raise NotFound("there is no such plan of yours", "look at your own plans")
    replayed = services.projection.replayed
    denied = replayed.plan_denied(replayed.runs[bytes.fromhex(plan)], services.clock())
    return Reader(row, describe_plan(services, row), reason_of(denied).sentence if denied else "")


def _hers(services: Services, plan: str, me: Caller) -> Reader:
    """A plan of this patient's. Raises NotFound."""
    services.projection.sync()
    row = register.find_plan(services.engine, plan)
    if row.subject != me.subject:
        raise NotFound("there is no such plan of yours", "look at your own plans")
    replayed, subject = services.projection.replayed, bytes.fromhex(row.subject)
    permit = register.find_permit(services.engine, row.permit)
    dataset, today = bytes.fromhex(permit.dataset), services.clock() // DAY
    denied = replayed.care_denied(dataset, subject, permit.categories, today)
    shut = reason_of(denied).sentence if denied else ""
    if not shut and permit.status == PermitStatus.SUSPENDED:
        shut = "The committee has suspended the permit by whose rules it was drawn."
    if not shut and not replayed.appointment(dataset, subject).result_to_me:
        shut = "You chose not to open plans yourself."
    return Reader(row, describe_plan(services, row), shut)


def _readers(services: Services, plan: str, me: Caller) -> Reader:
    """As `_hers` or `_clinicians`; hers after the countersignature. Raises NotFound, NotAllowed."""
    if not me.subject:
        return _clinicians(services, plan, me)
    reader = _hers(services, plan, me)
    if reader.plan["state"] != "countersigned":
        raise NotAllowed(
            "your clinician has not signed this plan yet", "nobody shows you one before that"
        )
    return reader


def _facts(services: Services, reader: Reader) -> dict[str, Any]:
    """The values for the templates of one plan, with the messages that its page may have signed."""
    plan, deadline = reader.plan, services.clock() + DEADLINE_SECONDS
    sealed = plan["outputs"][-1] if plan["outputs"] else None
    attempt = sealed["attempt"] if sealed else 0
    common = {"run": plan["run"], "attempt": attempt, "deadline": deadline}
    permit = register.find_permit(services.engine, plan["permit"])
    working = plan["state"] in ("queued", "computing", "sealed", "failed")
    return {
        "plan": plan,
        "today": services.clock() // DAY,
        "shut": reader.shut,
        "sealed": sealed,
        "viewings": viewings(services.engine, plan["run"]),
        "opening": common | {"viewerKey": ""},
        "countersign": common | {"sealHash": sealed["sealHash"] if sealed else "", "notesHash": ""},
        "end": {"run": plan["run"], "deadline": deadline} if working else None,
        "suspended": permit.status == PermitStatus.SUSPENDED,
        "may_sign": plan["state"] == "sealed",
    }
