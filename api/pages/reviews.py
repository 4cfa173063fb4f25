"""Pages of output checkers: sealed outputs, and one output as its analyst would see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from analytics.disclosure.rounding import SMALLEST_COUNT
from api.http.auth import Parts
from api.http.routes.runs import RunId, describe_run
from api.http.services import Services
from api.pages import labels as words
from api.pages import result_check, result_view, run_text
from api.pages.forms import form_of
from api.pages.output_checks import check_result
from api.pages.output_places import in_words
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import Checker, OwnOrigin
from chain.vocabulary import Reason
from governance import release
from governance.comments import add_comment, comments_on
from governance.errors import NotAllowed, NotFound, reason_of
from governance.permit_review import runs_on
from governance.readmodel import queries as register
from governance.readmodel.tables import Run
from governance.readmodel.trail_queries import milestones
from governance.rules.encoding import canonical_json
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
PAGE = 20
DECISION_SECONDS = 7 * 86_400  # within which the second checker must sign the same decision
VIEW_SECONDS = 3600
REASONS = (Reason.DISCLOSURE_RISK, Reason.NOT_PERMITTED, Reason.OTHER)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sealed output that waits; `since` in seconds, `signed`: who approved it."""

    run: Run
    question: str
    since: int
    signed: tuple[str, ...]
    own: bool


@router.get("/reviews")
def show_reviews(request: Request, services: Parts, me: Checker, page: PageNumber = 1) -> Response:
    """Sealed outputs by pages, newest first."""
    runs = register.list_runs(services.engine, "sealed", PAGE + 1, PAGE * (page - 1))
    return render(
        request,
        "reviews.html",
        outputs=[_waiting(services, run, me) for run in runs[:PAGE]],
        page=page,
        more=len(runs) > PAGE,
    )


@router.get("/runs/{run}/review")
def review_output(run: RunId, request: Request, services: Parts, me: Checker) -> Response:
    """What was asked and permitted, the output once it is opened, and the decision."""
    services.projection.sync()
    return render(request, "review.html", **_facts(services, run, me))


@router.post("/pages/runs/{run}/review/result", dependencies=[OwnOrigin])
async def show_opened(run: RunId, request: Request, services: Parts, me: Checker) -> Response:
    """Check an output that this checker opened on her machine, show it with checks, and do not
    store it.
    """
    body = await request.body()

    def answer() -> Response:
        services.projection.sync()
        description = _sealed(services, run, me)
        if me.account not in description["attempts"][-1]["checkers"]:
            raise NotAllowed("you have not viewed this output", "open it first: it is recorded")
        result, disclosure = result_check.check_opened(description, body)
        permit = register.find_permit(services.engine, description["permit"])
        checks = check_result(
            result,
            disclosure,
            description["params"],
            permit.output_classes,
            permit.minimum,
            description["attempts"][-1]["granted"],
        )
        return render(
            request,
            "part-review-result.html",
            run=description,
            checks=in_words(checks, result, disclosure),
            raw=canonical_json(result).decode(),
            raw_disclosure=canonical_json(disclosure).decode(),
            **_drawn(result, disclosure),
        )

    return await run_in_threadpool(answer)


@router.post("/pages/runs/{run}/review/comments", dependencies=[OwnOrigin])
async def comment(run: RunId, request: Request, services: Parts, me: Checker) -> Response:
    """Keep a comment for the other checkers. A script gets the list alone: the page with the opened
    output stays.
    """
    given = form_of(await request.body())

    def answer() -> Response:
        description = _sealed(services, run, me)
        text = given.get("text", [""])[0]
        add_comment(
            services.engine, run, description["attempt"], me.account, text, services.clock()
        )
        if "text/html" not in request.headers.get("accept", ""):
            return render(request, "part-comments.html", comments=comments_on(services.engine, run))
        return RedirectResponse(f"/runs/{run}/review#comments", 303)

    return await run_in_threadpool(answer)


def _drawn(result: Mapping[str, Any], disclosure: Mapping[str, Any]) -> dict[str, Any]:
    """The output as its analyst would see it. One that is none of our results cannot be drawn: its
    checkers still read the checks and every byte of it.
    """
    try:
        return {"drawn": True, **result_view.describe(result, disclosure)}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return {"drawn": False}


def _people_of(services: Services, run: Run) -> int:
    """How many people's data its newest attempt opened, as on the ledger; 0 before the first."""
    attempts = register.attempts_of(services.engine, run.run)
    return attempts[-1].granted if attempts else 0


def _waiting(services: Services, run: Run, me: Caller) -> Waiting:
    pending = release.pending(services.engine, run.run, run.attempt, services.clock())
    return Waiting(
        run,
        words.question(run.params) or "A run",
        milestones(services.engine, run.run)["Sealed"][1],
        pending.checkers if pending else (),
        run.analyst == me.account,
    )


def _sealed(services: Services, run: str, me: Caller) -> dict[str, Any]:
    """A sealed run that this checker may review. Raises NotFound, NotAllowed."""
    row = register.find_run(services.engine, run)
    if row.analyst == me.account:
        raise NotAllowed("this is your own run", "another checker reviews it")
    description = describe_run(services, row)
    if not description["outputs"] or description["outputs"][-1]["attempt"] != row.attempt:
        raise NotFound("the run has no sealed output", "look at the list of outputs to check")
    return description


def _facts(services: Services, run: str, me: Caller) -> dict[str, Any]:
    description = _sealed(services, run, me)
    permit = register.find_permit(services.engine, description["permit"])
    viewed = description["attempts"][-1]["checkers"]
    decision = description["decision"]
    now = services.clock()
    message = {
        "run": run,
        "attempt": description["attempt"],
        "sealHash": description["outputs"][-1]["sealHash"],
        "reason": 0,
        "deadline": now + DECISION_SECONDS,
    }
    plan = services.documents.find(permit.document)
    others = [
        (other, _people_of(services, other))
        for other in runs_on(services.engine, permit.dataset)
        if other.run != run
    ]
    return {
        "run": description,
        "question": words.question(description["params"]) or "A run",
        "permit": permit,
        "asked": run_text.describe(description["params"]),
        "parameters": run_text.describe_all(description["params"]),
        "study": run_text.study_of(permit.params_schema, plan.text if plan else None),
        "others": others,
        "nearly_the_same": [
            other
            for other, people in others
            if other.state == "released"
            and 0 < abs(people - description["attempts"][-1]["granted"]) < SMALLEST_COUNT
        ],
        "since": milestones(services.engine, run)["Sealed"][1],
        "viewed": viewed,
        "has_viewed": me.account in viewed,
        "signers": decision["checkers"] if decision else [],
        "view": {
            "run": run,
            "attempt": description["attempt"],
            "viewerKey": "",  # drawn in the browser
            "deadline": now + VIEW_SECONDS,
        },
        "approval": decision["decision"] if decision else message,
        "rejection": message | {"reason": int(REASONS[0])},
        "reasons": [reason_of(int(reason)) for reason in REASONS],
        "comments": comments_on(services.engine, run),
        "open": description["state"] == "sealed",
    }
