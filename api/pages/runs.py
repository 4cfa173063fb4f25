"""Pages of runs: the public list, one run with its progress, and its result for its analyst."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from analytics.disclosure.rounding import SMALLEST_COUNT
from analytics.errors import ParamsError
from analytics.params import parse_params
from api.client.results import receipt_fields
from api.http.auth import Parts
from api.http.routes.runs import RunId, describe_run, give_output
from api.http.routes.serializers import show_summary
from api.http.services import Services
from api.pages import labels as words
from api.pages import result_check, result_view, tripod
from api.pages.forms import DEADLINE_SECONDS
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import OwnOrigin, SignedIn, Visitor
from chain.vocabulary import Role
from governance.errors import NotAllowed, NotFound
from governance.permit_review import DAY, count_changed, count_withdrawn
from governance.readmodel import queries as register
from governance.readmodel.run_states import ENDS
from governance.readmodel.tables import Run
from governance.readmodel.trail_queries import milestones
from governance.rules.encoding import strict_json
from governance.runs import waiting
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
LINES = 200  # of the log on a page
PAGE = 50  # runs


@router.get("/runs")
def show_runs(
    request: Request, services: Parts, visitor: Visitor, page: PageNumber = 1
) -> Response:
    """All runs by pages, newest first: analyst, state and reason."""
    runs = list_runs(services, PAGE + 1, PAGE * (page - 1))
    mine = [run for run in runs if visitor and run["analyst"] == visitor.account]
    return render(
        request,
        "runs.html",
        runs=runs[:PAGE],
        mine={run["run"] for run in mine},
        page=page,
        more=len(runs) > PAGE,
    )


def list_runs(services: Services, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    """The newest runs, each with its question and a line that explains its state."""
    queue = waiting(services.engine)
    runs = register.list_runs(services.engine, "", limit, offset)
    shut = register.shut_among(services.engine, runs)
    return [_listed(services, run, queue, run.run in shut) for run in runs]


def _listed(services: Services, run: Run, queue: Sequence[str], shut: bool) -> dict[str, Any]:
    shown = show_summary(run, shut) if run.state in ENDS else describe_run(services, run, queue)
    line = _line(shown, _overtaken(services, shown))
    return shown | {"question": words.question(run.params), "line": line}


@router.get("/runs/{run}")
def show_run(run: RunId, request: Request, services: Parts, visitor: Visitor) -> Response:
    """One run: its state, progress, attempts and result."""
    facts = _facts(services, run, visitor, 0)
    key_here = facts["is_own"] and _demo_key_here(request, services, facts["run"]["analyst"])
    return render(request, "run.html", key_here=key_here, **facts)


@router.get("/pages/runs/{run}/live")
def show_live(
    run: RunId, request: Request, services: Parts, visitor: Visitor, seen: int = 0
) -> Response:
    """The parts of show_run that change, and the log's lines after the first `seen`."""
    return render(request, "part-run.html", **_facts(services, run, visitor, max(0, seen)))


@router.get("/runs/{run}/result")
def show_result(run: RunId, request: Request, services: Parts, me: SignedIn) -> Response:
    """The released result, opened with the demo analyst's key, which no other server has."""
    description = _released(services, run, me)
    if description["shut"]:
        why, _, advice = description["shut"].partition(". ")
        raise NotAllowed(why, advice)
    if not _demo_key_here(request, services, me.account):
        raise NotFound(
            "the key of this result is not here", "open it on your machine: volens result open"
        )
    from api.pages.demo_accounts import open_result

    shown = result_view.describe(*open_result(services, description, me.account))
    return render(request, "result.html", run=description, **shown)


@router.post("/pages/runs/{run}/result", dependencies=[OwnOrigin])
async def check_result(run: RunId, request: Request, services: Parts, me: SignedIn) -> Response:
    """Check an output that its reader opened on her machine, show it, and do not store it: for the
    analyst after its release, and for a checker whose view of it is on the ledger.
    """
    description = _opened_by(services, run, me)
    opened = result_check.check_opened(description, await request.body())
    shown = await run_in_threadpool(result_view.describe, *opened)
    return render(request, "part-result.html", run=description, **shown)


@router.get("/runs/{run}/report")
def show_report(run: RunId, request: Request, services: Parts, visitor: Visitor) -> Response:
    """What TRIPOD+AI asks of a paper, filled from the record, and where everything came from; with
    the result where the demo account of its analyst has the key.
    """
    services.projection.sync()
    description = describe_run(services, register.find_run(services.engine, run))
    is_own = visitor is not None and visitor.account == description["analyst"]
    result = None
    if (
        is_own
        and _is_open(description)
        and _demo_key_here(request, services, description["analyst"])
    ):
        from api.pages.demo_accounts import open_result

        result, _ = open_result(services, description, description["analyst"])
    return _report(request, services, "report.html", description, result, is_own)


@router.post("/pages/runs/{run}/report", dependencies=[OwnOrigin])
async def fill_report(run: RunId, request: Request, services: Parts, me: SignedIn) -> Response:
    """The items again, with a result that its analyst opened on her machine; it is not stored."""
    body = await request.body()

    def answer() -> Response:
        description = _released(services, run, me)
        result, _ = result_check.check_opened(description, body)
        return _report(request, services, "part-report.html", description, result, True)

    return await run_in_threadpool(answer)


@router.get("/pages/runs/{run}/output")
def fetch_output(run: RunId, services: Parts, me: SignedIn) -> Response:
    """The newest sealed output as ciphertext, as the API gives it for a bearer token."""
    return give_output(run, services, me)


@router.get("/pages/runs/{run}/receipt")
def fetch_receipt(run: RunId, services: Parts, me: SignedIn) -> Response:
    """The receipt of a released run but for the salt, which only the opened output has."""
    description = _released(services, run, me)
    return JSONResponse(receipt_fields(services.identity_id, description, services.witness()))


def _demo_key_here(request: Request, services: Services, account: str) -> bool:
    """Whether this is a demo account, and this browser may use the demo accounts' keys."""
    if not services.settings.demo:
        return False
    from api.pages.demo_accounts import entered, has_key

    return entered(request) and has_key(services, account)


def _released(services: Services, run: str, me: Caller) -> dict[str, Any]:
    """A run's description for its own analyst.

    Raises NotAllowed for others, NotFound before its release.
    """
    description = describe_run(services, register.find_run(services.engine, run))
    if description["analyst"] != me.account:
        raise NotAllowed(
            "only the analyst who asked for the run may see its result",
            "sign in with the analyst's key",
        )
    if description["state"] != "released":
        raise NotFound("the run has no released result", "wait until two checkers have released it")
    return description


def _predicts(params: str) -> bool:
    """Whether parameters ask for a prediction model; not for those of another version."""
    try:
        return parse_params(params.encode()).analysis in tripod.PREDICTS
    except ParamsError:
        return False


def _is_open(run: dict[str, Any]) -> bool:
    return run["state"] == "released" and not run["shut"]


def _report(
    request: Request,
    services: Services,
    template: str,
    run: dict[str, Any],
    result: dict[str, Any] | None,
    is_own: bool,
) -> Response:
    """Raises NotFound for a run that predicts nothing, or whose parameters are of another version."""
    if not _predicts(run["params"]):
        raise NotFound(
            "this run develops no prediction model that this version knows, so TRIPOD+AI asks nothing of it",
            "look at its result instead",
        )
    params: Any = strict_json(run["params"].encode())
    permit = register.find_permit(services.engine, run["permit"])
    described = register.document_of(services.engine, permit.dataset)
    requested = milestones(services.engine, run["run"])["RunRequested"][0]
    study = tripod.Study(
        run | {"requested": requested},
        params,
        permit,
        services.documents.title(permit.document),
        services.documents.title(described) if described else "",
        result,
    )
    attempt = tripod.released_attempt(study)
    return render(
        request,
        template,
        run=run,
        items=tripod.fill(study),
        permit=permit,
        attempt=attempt,
        withdrawn=attempt and _withdrawn(services, permit.dataset, run["run"], attempt["attempt"]),
        is_own=is_own,
        opened=result is not None,
        can_open=is_own and _is_open(run),
    )


def _opened_by(services: Services, run: str, me: Caller) -> dict[str, Any]:
    """A run's description for one who may have opened its output. Raises as `_released`."""
    description = describe_run(services, register.find_run(services.engine, run))
    if me.role == Role.CHECKER and description["outputs"]:
        newest = description["outputs"][-1]["attempt"]
        attempt = next(entry for entry in description["attempts"] if entry["attempt"] == newest)
        if me.account in attempt["checkers"]:
            return description
    return _released(services, run, me)


def _facts(services: Services, run: str, visitor: Caller | None, seen: int) -> dict[str, Any]:
    """The values for the run's templates; of its log the lines after the first `seen`, at most the
    newest LINES.
    """
    services.projection.sync()
    description = describe_run(services, register.find_run(services.engine, run))
    events = milestones(services.engine, run)
    permit = register.find_permit(services.engine, description["permit"])
    is_own = visitor is not None and visitor.account == description["analyst"]
    cancel = {"run": run, "deadline": services.clock() + DEADLINE_SECONDS}
    return {
        "run": description,
        "need": permit.need,
        "kinds": permit.categories,
        "stages": _stages(description, events),
        "ended": description["state"] in (*ENDS, "failed"),
        "is_own": is_own,
        "cancel": cancel,
        "line": _line(description, _overtaken(services, description)),
        "log": list(enumerate(description["progress"], 1))[seen:][-LINES:],
        "requested": events["RunRequested"],
        "predicts": _predicts(description["params"]),
    }


def _stages(run: dict[str, Any], happened: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The five stages of a run with the block that recorded each; `mark` is done, now or "" (not
    yet).
    """
    names = {
        "requested": "RunRequested",
        "authorised": "RunAuthorised",
        "computing": "",
        "sealed": "Sealed",
        "released": "Released",
    }
    at = {"queued": 0, "authorised": 1, "computing": 2, "sealed": 3, "released": 4}.get(
        run["state"]
    )
    stages = []
    for number, (stage, event) in enumerate(names.items()):
        block = happened[event][0] if event in happened else None
        if at is None:  # it ended early: its recorded stages stay done
            mark = "done" if block or (stage == "computing" and "Sealed" in happened) else ""
        else:
            mark = (
                "done"
                if number < at or run["state"] == "released"
                else "now"
                if number == at
                else ""
            )
        stages.append({"name": stage, "block": block if mark else None, "mark": mark})
    return stages


def _withdrawn(services: Services, dataset: str, run: str, attempt: int) -> str:
    """About how many people of a result have withdrawn since, in tens, on the first of this month:
    everybody may open the report every day, and would see a number of today change by one person.
    """
    today = services.clock() // DAY
    first = (today + 1 - datetime.fromtimestamp(today * DAY, UTC).day) * DAY
    people = count_withdrawn(services.engine, dataset, run, attempt, first)
    least = people // SMALLEST_COUNT * SMALLEST_COUNT
    most = least + SMALLEST_COUNT - 1
    number = f"{least} to {most}" if least else f"fewer than {SMALLEST_COUNT}"
    return f"{number} people of those in it, by {words.day(first // DAY)}"


def _overtaken(services: Services, run: dict[str, Any]) -> bool:
    """Whether somebody in a sealed output has withdrawn since: it cannot be released any more."""
    return run["state"] == "sealed" and 0 < count_changed(
        services.engine, run["dataset"], run["run"], run["attempt"]
    )


def _line(run: dict[str, Any], overtaken: bool) -> str:
    """One line that explains the run's state. overtaken: as `_overtaken` says."""
    reason = run["reason"]["sentence"] if run["reason"] else ""
    match run["state"]:
        case "failed":
            return words.sentence(run["failure"])
        case "queued" | "authorised" | "computing":
            now = (
                f"now: {words.step(run['progress'][-1]['step'])}"
                if run["progress"]
                else "it is about to begin"
            )
            return reason or words.sentence(run["waiting"] or now)
        case "sealed" if overtaken:
            return (
                "Somebody in it has withdrawn since it was computed, so the ledger refuses its release. Then "
                "it is computed again about those who are still willing, without a further question of the "
                "permit; its analyst need not ask again."
            )
        case "sealed":
            signed = len(run["decision"]["checkers"]) if run["decision"] else 0
            return f"Two checkers review the output before anybody else; {signed} of 2 have signed."
        case "released" if run["shut"]:
            return str(run["shut"])
        case "released":
            return (
                "Two checkers released the result to the analyst, "
                "and everybody in it was willing in that block."
            )
    return reason or "The analyst cancelled it."
