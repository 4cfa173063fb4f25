"""Pages of permits: the register, one permit with its plan beside the request, and a new request."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from eth_utils.address import to_checksum_address
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from analytics.errors import ParamsError
from analytics.study import may_show_study, schema_of
from api.client.client import wire
from api.http.auth import Parts
from api.http.permit_review import (
    describe_review,
    questions_about,
    questions_under,
    running_code,
    willing,
)
from api.http.routes.committee import PermitId
from api.http.services import Services
from api.pages import labels as words
from api.pages.care_rules import describe_rules
from api.pages.forms import DEADLINE_SECONDS, chosen_mask, form_of, number_in
from api.pages.labels import DAY
from api.pages.plan_text import compare, compare_terms
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.run_text import find_study_of, study_of
from api.pages.session import Analyst, OwnOrigin, Visitor
from chain.vocabulary import Category, OutputClass, PermitStatus, Purpose, Role
from governance import reasons
from governance.comments import LONGEST
from governance.consent import CATEGORIES, PURPOSES
from governance.documents import Document, read_document
from governance.errors import RequestInvalid
from governance.permit_review import runs_under
from governance.permits import OUTPUTS
from governance.readmodel import queries as register
from governance.readmodel.tables import Permit
from governance.rules.vocabulary import DATASET_QUESTIONS, PERMIT_QUESTIONS
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
PAGE = 20
YEAR_DAYS = 365
LONGEST_DAYS = 3660
USUAL_QUESTIONS = 12
DatasetId = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]
_FILTERS = {status.name.lower(): status for status in PermitStatus}
_SENSITIVE = (
    Category.MENTAL_HEALTH,
    Category.SUBSTANCE_USE,
    Category.SEXUAL_HEALTH,
    Category.HIV,
)
_TEMPLATE = """# Title of the project

## Question
What do you want to find out, and why does it need these people's data?

## Data
Which kinds of data, of whom, and why no fewer.

## Method
Which analysis, with which parameters, and how you will tell an effect from chance.

## What leaves
Which results you will ask to be released, and to whom they go.

## Risks
What could be learnt about a single person or a group, and what you do against it.
"""


@dataclass(frozen=True, slots=True)
class VoteShown:
    account: str
    yes: bool


@router.get("/permits")
def show_permits(
    request: Request, services: Parts, visitor: Visitor, status: str = "", page: PageNumber = 1
) -> Response:
    """The register of permits by pages, those that end last first; of one status if given."""
    permits = register.list_permits(
        services.engine, _FILTERS.get(status), limit=PAGE + 1, offset=PAGE * (page - 1)
    )
    return render(
        request,
        "permits.html",
        permits=permits[:PAGE],
        statuses=_FILTERS,
        wanted=status if status in _FILTERS else "",
        page=page,
        more=len(permits) > PAGE,
        may_ask=visitor is not None and visitor.role == Role.ANALYST,
    )


@router.get("/permits/new")
def ask_for_permit(
    request: Request, services: Parts, me: Analyst, dataset: DatasetId = ""
) -> Response:
    """The form of a new request; nothing is signed yet."""
    return render(request, "permit-new.html", **_form(services, dataset))


@router.post("/pages/permits/preview", dependencies=[OwnOrigin])
async def preview_permit(request: Request, services: Parts, me: Analyst) -> Response:
    """What would be signed, with the plan as the committee will read it."""
    given = form_of(await request.body())

    def answer() -> Response:
        try:
            message, plan = _request_of(services, given)
        except RequestInvalid as error:
            again = _form(services, given.get("dataset", [""])[0], given)
            return render(request, "permit-new.html", 422, **again | {"problem": error})
        permit = as_row(message, me)
        return render(
            request,
            "permit-preview.html",
            message=wire("PermitRequest", message),
            plan=plan,
            permit=permit,
            dataset=register.find_dataset(services.engine, permit.dataset),
            willing=willing(services, permit),
            points=_points(services, permit, plan),
            study=study_of(permit.params_schema, plan.text if plan else None),
            rules=None,
            command="volens permit request",
            **_questions(services, permit),
        )

    return await run_in_threadpool(answer)


@router.get("/permits/{permit}")
def show_permit(permit: PermitId, request: Request, services: Parts, visitor: Visitor) -> Response:
    """One permit: its plan beside the request that the ledger enforces, and what to know before a
    vote.
    """
    services.projection.sync()
    row = register.find_permit(services.engine, permit)
    replayed = services.projection.replayed.permits[bytes.fromhex(permit)]
    runs, count = runs_under(services.engine, permit)
    votes = [
        VoteShown(to_checksum_address(account), yes) for account, yes in replayed.votes.items()
    ]
    plan = services.documents.find(row.document)
    deadline = services.clock() + DEADLINE_SECONDS
    sees = reasons.may_read(visitor, row.applicant)
    given = reasons.reasons_on(services.engine, [permit]) if sees else []
    care = row.need == 1 << Purpose.CARE
    return render(
        request,
        "permit.html",
        reasons={(reason.account, reason.act): reason for reason in given},
        suspensions=[reason for reason in given if reason.act == reasons.SUSPEND],
        sees_reasons=sees,
        longest_reason=LONGEST,
        permit=row,
        plan=plan,
        study=study_of(row.params_schema, plan.text if plan else None),
        dataset=register.find_dataset(services.engine, row.dataset),
        review=describe_review(services, row),
        points=_points(services, row, plan),
        asked=len(questions_under(services, permit)),
        **_questions(services, row),
        votes=votes,
        quorum=services.identity["quorum"],
        rules=describe_rules() if care and row.code == running_code() else None,
        runs=runs,
        count=count,
        ballots=_ballots(services, row, visitor, votes),
        suspend={"permit": permit, "deadline": deadline}
        if _may_suspend(row, visitor, services.clock())
        else None,
        may_run=not care and _is_applicant(row, visitor) and row.status == PermitStatus.APPROVED,
        may_send=_is_applicant(row, visitor),
        over=row.expiry <= services.clock(),
    )


def _ballots(
    services: Services, permit: Permit, visitor: Caller | None, votes: Sequence[VoteShown]
) -> list[dict[str, Any]]:
    """The two votes of which this visitor may sign one; none if there is nothing to vote on."""
    if (
        visitor is None
        or visitor.role != Role.COMMITTEE
        or permit.status != PermitStatus.REQUESTED
        or permit.applicant == visitor.account
        or any(vote.account == visitor.account for vote in votes)
    ):
        return []
    ballot = {
        "permit": permit.permit,
        "requestHash": permit.request_hash,
        "deadline": services.clock() + DEADLINE_SECONDS,
    }
    return [ballot | {"yes": yes} for yes in ("true", "false")]


def _may_suspend(permit: Permit, visitor: Caller | None, now: int) -> bool:
    return (
        visitor is not None
        and visitor.role in (Role.COMMITTEE, Role.PROTECTION)
        and permit.status == PermitStatus.APPROVED
        and permit.expiry > now
    )


def _is_applicant(permit: Permit, visitor: Caller | None) -> bool:
    return visitor is not None and visitor.account == permit.applicant


def _questions(services: Services, permit: Permit) -> dict[str, int]:
    return {
        "about": questions_about(services, permit.dataset),
        "dataset_questions": DATASET_QUESTIONS,
    }


def _points(services: Services, permit: Permit, plan: Document | None) -> list[str]:
    """What a reader of the plan compares with the request: where it asks for much."""
    if permit.need == 1 << Purpose.CARE:
        return care_points(services, permit)
    floor = int(services.identity["cohortFloor"])
    points = []
    sensitive = sum(1 << category for category in _SENSITIVE if permit.categories >> category & 1)
    if sensitive:
        points.append(f"It asks for sensitive data: {words.categories(sensitive)}.")
    if permit.categories >> Category.GERMLINE_VARIANTS & 1:
        points.append("It asks for genomes, which say something about relatives as well.")
    if permit.need >> Purpose.COMPANY_RECIPIENT & 1:
        points.append("Results may go to companies.")
    if permit.need >> Purpose.FOR_PROFIT & 1:
        points.append("It is for profit.")
    if permit.output_classes & ~(1 << OutputClass.METRICS):
        points.append(f"More than metrics may leave: {words.outputs(permit.output_classes)}.")
    if permit.questions > USUAL_QUESTIONS:
        points.append(
            f"It asks for {permit.questions} different questions: the mean of more than "
            f"{USUAL_QUESTIONS} answers may tell about one person."
        )
    if permit.minimum <= floor:
        points.append(
            f"Its smallest cohort is {permit.minimum} people; the ledger's own floor is {floor}."
        )
    count = willing(services, permit)
    if count is None or count < permit.minimum:
        points.append(
            "Fewer people are willing today than its smallest cohort: no run could begin."
        )
    if permit.expiry - services.clock() > (YEAR_DAYS + 1) * DAY:
        points.append("It lasts longer than a year.")
    if permit.code != running_code():
        points.append("Its code is not the code of this service.")
    study = find_study_of(permit.params_schema, plan.text if plan else None)
    if study:
        points.append(
            f"Its runs can be about this study only: {words.study(study)}. Does the plan's text name the "
            "same people and the same outcome?"
        )
    if plan is not None:
        points += compare(plan.text, permit.need, study)
        points += compare_terms(
            plan.text,
            categories=permit.categories,
            questions=permit.questions,
            expiry=permit.expiry,
            now=services.clock(),
        )
    if plan is not None and not study and may_show_study(plan.text):
        points.append("Its plan names a study, but the permit is not bound to it: runs may differ.")
    return points


def care_points(services: Services, permit: Permit) -> list[str]:
    """What a reader compares in a request for single patients' own care."""
    points = ["It is for single patients, each of whom appoints this clinician herself."]
    if permit.expiry - services.clock() > (YEAR_DAYS + 1) * DAY:
        points.append("It lasts longer than a year; each rule is refused from its own day on.")
    if permit.code != running_code():
        points.append("Its code, and so its rules, are not those of this service.")
    return points


def _form(
    services: Services, dataset: str, given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """The values of the form: as given before, else the usual ones."""
    usual = {
        # Nothing that a person's consent has to allow is chosen for the applicant.
        "purposes": [],
        "categories": [],
        "outputs": ["metrics"],
        "minimum": ["20"],
        "questions": [str(USUAL_QUESTIONS)],
        "days": [str(YEAR_DAYS)],
        "plan": [_TEMPLATE],
    }
    return {
        "datasets": register.list_datasets(services.engine),
        "dataset": dataset,
        "purposes": {name: words.purpose_label(name) for name in PURPOSES},
        "categories": {name: words.category_label(name) for name in CATEGORIES},
        "outputs": {name: words.output_label(name) for name in OUTPUTS},
        "given": usual if given is None else {name: [] for name in usual} | dict(given),
        "longest": LONGEST_DAYS,
        "most_questions": PERMIT_QUESTIONS,
        "usual_questions": USUAL_QUESTIONS,
        "problem": None,
    }


def _request_of(
    services: Services, given: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], Document]:
    """The message of a filled form, and its plan. Raises RequestInvalid, NotFound."""
    plan = read_document(given.get("plan", [""])[0].replace("\r\n", "\n").encode())
    if plan.text.strip() == _TEMPLATE.strip():
        raise RequestInvalid("the plan is still the empty form", "write what you want to do")
    try:
        schema = schema_of(plan.text)
    except ParamsError as problem:
        raise RequestInvalid(str(problem), problem.hint) from None
    dataset = register.find_dataset(services.engine, given.get("dataset", [""])[0]).dataset
    days = number_in(given, "days", 1, LONGEST_DAYS, "how many days it lasts")
    now = services.clock()
    return {
        "permit": secrets.token_bytes(32),
        "dataset": bytes.fromhex(dataset),
        "purposeNeed": chosen_mask(given, "purposes", PURPOSES, "what it is for"),
        "categories": chosen_mask(given, "categories", CATEGORIES, "which data it needs"),
        "codeHash": bytes.fromhex(running_code()),
        "paramsSchemaHash": schema,
        "minCohort": number_in(given, "minimum", 1, (1 << 32) - 1, "the smallest cohort"),
        "outputClasses": chosen_mask(given, "outputs", OUTPUTS, "what may leave"),
        "questions": number_in(
            given, "questions", 1, PERMIT_QUESTIONS, "how many different questions it allows"
        ),
        "expiry": now + days * DAY,
        "documentHash": hashlib.sha256(plan.text.encode()).digest(),
        "deadline": now + DEADLINE_SECONDS,
    }, plan


def as_row(message: Mapping[str, Any], me: Caller) -> Permit:
    """The row that the request would have."""
    return Permit(
        permit=message["permit"].hex(),
        dataset=message["dataset"].hex(),
        applicant=me.account,
        status=PermitStatus.REQUESTED,
        expiry=message["expiry"],
        need=message["purposeNeed"],
        categories=message["categories"],
        code=message["codeHash"].hex(),
        params_schema=message["paramsSchemaHash"].hex(),
        minimum=message["minCohort"],
        output_classes=message["outputClasses"],
        questions=message["questions"],
        document=message["documentHash"].hex(),
        request_hash="",
        yes=0,
        no=0,
    )
