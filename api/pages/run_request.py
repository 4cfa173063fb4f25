"""Pages that ask for a run: the form of its parameters, a rehearsal of them, and what is signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from analytics.code import params_schema_hash
from analytics.errors import ParamsError
from analytics.params import ANALYSES, GENE_RECORDS, OUTPUT_CLASSES, parse_params
from analytics.study import OTHER_OUTCOME, OTHER_STUDY, bound_study, check_study
from api.errors import NotServing, UsageError
from api.http.auth import Parts
from api.http.permit_review import questions_under, running_code, willing
from api.http.problems import TooMany
from api.http.services import Services
from api.pages import labels as words
from api.pages import run_text
from api.pages.forms import form_of
from api.pages.rehearsals import SECONDS, Rehearsals
from api.pages.rendering import PageRoute, render
from api.pages.run_form import (
    FieldInvalid,
    Given,
    form_parts,
    params_from,
    with_features,
    with_problem,
    with_variables,
)
from api.pages.session import Analyst, OwnOrigin
from chain.vocabulary import Category, PermitStatus
from governance import supplements
from governance.errors import NotAllowed, RequestInvalid, RequestRefused
from governance.permits import missing
from governance.precheck import refuse_question
from governance.readmodel import queries as register
from governance.readmodel.tables import Permit
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
BEGIN_SECONDS = 86_400  # within which a worker may begin
PermitId = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]


@router.get("/runs/new")
def ask_for_run(
    request: Request, services: Parts, me: Analyst, permit: PermitId, analysis: str = "evaluate"
) -> Response:
    """The form of a run's parameters; nothing is signed yet."""
    return _show_form(request, services, _own_permit(services, permit, me), analysis, None)


@router.post("/pages/runs/rehearse", dependencies=[OwnOrigin])
async def rehearse_run(request: Request, services: Parts, me: Analyst) -> Response:
    """The parameters computed on made-up people, above the same form. Nothing is recorded."""
    given = form_of(await request.body())
    rehearsals: Rehearsals = request.app.state.rehearsals

    def answer() -> Response:
        row = _own_permit(services, given.get("permit", [""])[0], me)
        analysis = given.get("analysis", [""])[0]
        status, rehearsed = 200, {}
        problem: Exception | None = None
        try:
            params = params_from(analysis, given)
            _check_allowed(services, row, params)
            rehearsed = rehearsals.rehearse(services.settings, me.account, params)
        except (RequestInvalid, UsageError) as error:
            status, problem = 422, error
        except TooMany as error:
            status, problem = 429, error
        except NotServing as error:
            status, problem = 503, error
        return _show_form(request, services, row, analysis, given, status, problem, rehearsed)

    return await run_in_threadpool(answer)


@router.post("/pages/runs/preview", dependencies=[OwnOrigin])
async def preview_run(request: Request, services: Parts, me: Analyst) -> Response:
    """What would be signed: the complete parameters, in words and word for word."""
    given = form_of(await request.body())

    def answer() -> Response:
        row = _own_permit(services, given.get("permit", [""])[0], me)
        analysis = given.get("analysis", [""])[0]
        try:
            params = params_from(analysis, given)
            _check_allowed(services, row, params)
            _check_question(services, row, params)
        except RequestInvalid as error:
            return _show_form(request, services, row, analysis, given, 422, error)
        return render(
            request,
            "run-preview.html",
            permit=row,
            params=params.decode(),
            question=words.question(params.decode()),
            in_words=run_text.describe(params.decode()),
            parameters=run_text.describe_all(params.decode()),
            willing=willing(services, row),
            asked=len(asked := questions_under(services, row.permit)),
            again=[
                question["current"]
                for question in asked
                if question["params"] == hashlib.sha256(params).hexdigest()
            ],
            message={
                "permit": row.permit,
                "paramsHash": hashlib.sha256(params).hexdigest(),
                "resultKey": "",  # both drawn in the browser
                "nonce": "",
                "deadline": services.clock() + BEGIN_SECONDS,
            },
        )

    return await run_in_threadpool(answer)


def _show_form(
    request: Request,
    services: Services,
    permit: Permit,
    analysis: str,
    given: Given | None,
    status: int = 200,
    problem: Exception | None = None,
    rehearsed: Mapping[str, Any] | None = None,
) -> Response:
    """The form of an analysis that the permit allows, with gene columns that it allows and the
    variables that the dataset has; above it a problem, or the result of a rehearsal.
    """
    allowed = [
        name for name, kind in OUTPUT_CLASSES.items() if permit.output_classes >> kind & 1
    ] or list(ANALYSES)
    chosen = analysis if analysis in allowed else allowed[0]
    source = next(
        (
            name
            for name, category in GENE_RECORDS.items()
            if name == "expression" and permit.categories >> category & 1
        ),
        "variants" if permit.categories >> Category.GERMLINE_VARIANTS & 1 else "expression",
    )
    bound = bound_study(bytes.fromhex(permit.params_schema), _plan_of(services, permit))
    study = None if bound is None else json.loads(bound)
    dictionary = supplements.find(services.engine, permit.dataset, "dictionary")
    features = supplements.find(services.engine, permit.dataset, "features")
    asked = with_features(form_parts(chosen, given, source, study), features)
    return render(
        request,
        "run-new.html",
        status,
        permit=permit,
        analysis=chosen,
        analyses=allowed,
        parts=with_problem(with_variables(asked, dictionary), problem),
        problem=problem,
        study=words.study(study) if study else "",
        rehearsal_seconds=f"{SECONDS:g}",
        **{"rehearsal": None, **(rehearsed or {})},
    )


def _own_permit(services: Services, permit: str, me: Caller) -> Permit:
    """An approved permit of the visitor's. Raises NotFound, NotAllowed, RequestInvalid."""
    row = register.find_permit(services.engine, permit)
    if row.applicant != me.account:
        raise NotAllowed("this is another analyst's permit", "ask for one of your own")
    if row.status != PermitStatus.APPROVED or row.expiry <= services.clock():
        raise RequestInvalid("no run can be asked for under this permit now", "look at its page")
    if row.code != running_code():
        raise RequestInvalid(
            "this permit is for other code than this service runs", "ask for a new permit"
        )
    return row


def _check_question(services: Services, permit: Permit, params: bytes) -> None:
    """Raise RequestInvalid if the ledger would refuse one different question more."""
    services.projection.sync()
    message = {
        "permit": bytes.fromhex(permit.permit),
        "paramsHash": hashlib.sha256(params).digest(),
    }
    try:
        refuse_question(services.projection.replayed, message)
    except RequestRefused as refusal:
        raise RequestInvalid(str(refusal), refusal.hint) from None


def _plan_of(services: Services, permit: Permit) -> str | None:
    """The plan of a permit that is bound to a study; None for others, and while nobody has sent it."""
    if bytes.fromhex(permit.params_schema) == params_schema_hash():
        return None
    plan = services.documents.find(permit.document)
    return None if plan is None else plan.text


def _check_allowed(services: Services, permit: Permit, params: bytes) -> None:
    """Raise RequestInvalid if the parameters need or ask what the permit does not allow."""
    schema = bytes.fromhex(permit.params_schema)
    try:
        check_study(schema, _plan_of(services, permit), params.decode())
    except ParamsError as problem:
        field = {OTHER_STUDY: "cohort", OTHER_OUTCOME: "outcome.kind"}.get(str(problem))
        if field is not None:
            raise FieldInvalid(field, str(problem), problem.hint) from None
        raise RequestInvalid(str(problem), problem.hint) from None
    wanted = parse_params(params)
    lacks = missing(
        permit.categories, permit.output_classes, wanted.categories, wanted.output_class
    )
    if lacks:
        raise RequestInvalid(
            f"the permit does not allow what these parameters need: {lacks}",
            "ask for another permit, or change the parameters",
        )
