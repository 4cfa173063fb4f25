"""A clinician's pages: who appointed him, the request for a plan, and for a permit for care."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from analytics.code import params_schema_hash
from analytics.params import complete
from api.client.client import wire
from api.http.auth import Parts
from api.http.permit_review import running_code
from api.http.routes.care import describe_plan
from api.http.services import Services
from api.pages.care_rules import describe_rules
from api.pages.forms import DEADLINE_SECONDS, form_of, number_in
from api.pages.labels import DAY
from api.pages.patient import Hex32
from api.pages.permits import LONGEST_DAYS, YEAR_DAYS, as_row, care_points
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import Clinician, OwnOrigin
from chain.vocabulary import Category, OutputClass, PermitStatus, Purpose
from governance import care
from governance.documents import Document, read_document
from governance.errors import NotFound, RequestInvalid
from governance.readmodel import queries as register
from governance.readmodel.tables import Permit
from governance.rules.vocabulary import PERMIT_QUESTIONS
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
PAGE = 20  # plans
BEGIN_SECONDS = DAY  # until when a worker may begin a plan that is asked for now
_TEMPLATE = """# Plans of my patients' care

## Who I am
Where I work, and whom I treat.

## What the plans are for
What I discuss with a patient by such a plan, and what I do not decide by it.

## Which rules
Why these rules fit my patients and this country, and what is done when one of them is withdrawn.
"""


@router.get("/care")
def show_care(request: Request, services: Parts, me: Clinician, page: PageNumber = 1) -> Response:
    """Who appointed him and until when, a form to ask for a plan, and his plans, newest first."""
    services.projection.sync()
    plans = register.list_plans(
        services.engine, clinician=me.account, limit=PAGE + 1, offset=PAGE * (page - 1)
    )
    permits = _permits(services, me)
    usable = [permit for permit in permits if _may_ask_under(services, permit)]
    return render(
        request,
        "care.html",
        patients=_patients(services, me),
        permits=permits,
        usable=usable,
        plans=[describe_plan(services, plan) for plan in plans[:PAGE]],
        page=page,
        more=len(plans) > PAGE,
    )


@router.get("/care/ask")
def ask_for_plan(
    request: Request, services: Parts, me: Clinician, patient: Hex32 = "", permit: Hex32 = ""
) -> Response:
    """Exactly what he would sign to ask for a plan. Raises NotFound, RequestInvalid."""
    services.projection.sync()
    row = next(
        (candidate for candidate in _permits(services, me) if candidate.permit == permit), None
    )
    if row is None or not _may_ask_under(services, row):
        raise RequestInvalid(
            "no plan can be asked for under this permit now", "ask for another permit for care"
        )
    named = [
        appointment
        for appointment in _patients(services, me)
        if (appointment.subject, appointment.dataset) == (patient, row.dataset)
    ]
    if not named:
        raise NotFound(
            "this patient has not appointed you in the permit's dataset",
            "ask the patient, who appoints on the page “My own care”",
        )
    params = complete({"analysis": "plan"})
    message = {
        "permit": permit,
        "subject": patient,
        "salt": named[0].salt,
        "paramsHash": hashlib.sha256(params).hexdigest(),
        "nonce": "",  # drawn in the browser
        "deadline": services.clock() + BEGIN_SECONDS,
    }
    return render(
        request,
        "care-ask.html",
        patient=named[0],
        permit=row,
        message=message,
        params=params.decode(),
    )


@router.get("/care/permit")
def ask_for_care_permit(
    request: Request,
    services: Parts,
    me: Clinician,
    dataset: Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")] = "",
) -> Response:
    """The form of a permit for care; nothing is signed yet."""
    return render(request, "care-permit.html", **_form(services, dataset))


@router.post("/pages/care/permit/preview", dependencies=[OwnOrigin])
async def preview_care_permit(request: Request, services: Parts, me: Clinician) -> Response:
    """What would be signed, with the document as the committee will read it."""
    given = form_of(await request.body())

    def answer() -> Response:
        try:
            message, plan = _request_of(services, given)
        except RequestInvalid as error:
            again = _form(services, given.get("dataset", [""])[0], given) | {"problem": error}
            return render(request, "care-permit.html", 422, **again)
        permit = as_row(message, me)
        return render(
            request,
            "permit-preview.html",
            message=wire("PermitRequest", message),
            plan=plan,
            permit=permit,
            dataset=register.find_dataset(services.engine, permit.dataset),
            points=care_points(services, permit),
            rules=describe_rules(),
            command="volens care permit",
        )

    return await run_in_threadpool(answer)


def _patients(services: Services, me: Caller) -> list[care.Appointed]:
    """The live appointments in which he is named."""
    listed = care.appointments(
        services.engine, services.projection.replayed, services.clock(), clinician=me.account
    )
    return [appointment for appointment in listed if appointment.live]


def _permits(services: Services, me: Caller) -> list[Permit]:
    """His permits for care, whatever became of them."""
    listed = register.list_permits(services.engine, applicant=me.account)
    return [permit for permit in listed if permit.need == 1 << Purpose.CARE]


def _may_ask_under(services: Services, permit: Permit) -> bool:
    """Whether the committee approved it, it has not ended, and its rules are those of this service."""
    return (
        permit.status == PermitStatus.APPROVED
        and permit.expiry > services.clock()
        and permit.code == running_code()
    )


def _form(
    services: Services, dataset: str, given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    usual = {"plan": [_TEMPLATE], "days": [str(YEAR_DAYS)]}
    return {
        "datasets": register.list_datasets(services.engine),
        "dataset": dataset,
        "given": usual | dict(given or {}),
        "longest": LONGEST_DAYS,
        "rules": describe_rules(),
        "problem": None,
    }


def _request_of(
    services: Services, given: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], Document]:
    """The message of a filled form, and its document: every kind of data, since each patient says
    herself what her plan may use. Raises RequestInvalid, NotFound.
    """
    plan = read_document(given.get("plan", [""])[0].replace("\r\n", "\n").encode())
    if plan.text.strip() == _TEMPLATE.strip():
        raise RequestInvalid("the document is still the empty form", "write what it asks for")
    dataset = register.find_dataset(services.engine, given.get("dataset", [""])[0]).dataset
    days, now = (
        number_in(given, "days", 1, LONGEST_DAYS, "how many days it lasts"),
        services.clock(),
    )
    return {
        "permit": secrets.token_bytes(32),
        "dataset": bytes.fromhex(dataset),
        "purposeNeed": 1 << Purpose.CARE,
        "categories": sum(1 << category for category in Category),
        "codeHash": bytes.fromhex(running_code()),
        "paramsSchemaHash": params_schema_hash(),
        "minCohort": 1,
        "outputClasses": 1 << OutputClass.INDIVIDUAL,
        "questions": PERMIT_QUESTIONS,
        "expiry": now + days * DAY,
        "documentHash": hashlib.sha256(plan.text.encode()).digest(),
        "deadline": now + DEADLINE_SECONDS,
    }, plan
