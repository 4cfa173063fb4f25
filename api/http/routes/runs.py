"""Routes of runs: request, progress, cancellation, output review, release, rejection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response

from api.http import requests as schemas
from api.http import responses as answers
from api.http.auth import Parts, SignedIn
from api.http.problems import declared
from api.http.routes.serializers import show_summary
from api.http.services import Services
from api.http.strict_route import MOST, Limit, Offset, StrictRoute
from chain.vocabulary import Role
from governance import permits, precheck, release
from governance.errors import NotAllowed, NotFound, RequestInvalid
from governance.readmodel import queries as register
from governance.readmodel.tables import Output, Run
from governance.rules.state import Attempt as ReplayedAttempt
from governance.sessions import Caller

router = APIRouter(route_class=StrictRoute, tags=["runs"])
RunId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="A run's id, 32 bytes in hex.")]
AttemptNumber = Annotated[int, Path(ge=1, le=16)]
State = Literal["queued", "authorised", "sealed", "released", "denied", "withdrawn", "refused"]


@router.post("/runs", response_model=answers.RunRequested, responses=declared(400, 409, 413))
def request_run(body: schemas.RunBody, services: Parts) -> Any:
    """Ask for a run under an approved permit. A refusal of the ledger is a 409 with its reason."""
    message = schemas.message_of("RunRequest", body.request)
    services.projection.sync()
    precheck.refuse_question(services.projection.replayed, message)
    try:
        run, receipt = permits.request_run(
            services.ledger,
            message,
            body.params,
            bytes.fromhex(body.signature),
        )
    finally:
        services.projection.sync()  # a refusal is on the ledger as well
    return {"run": run.hex(), "receipt": services.settle(receipt)}


@router.get("/runs", response_model=list[answers.RunSummary], responses=declared())
def list_runs(
    services: Parts, state: State | None = None, limit: Limit = MOST, offset: Offset = 0
) -> Any:
    """The public register of runs, newest first: at most `limit` of them after the first `offset`."""
    services.projection.sync()
    runs = register.list_runs(services.engine, state or "", limit, offset)
    shut = register.shut_among(services.engine, runs)
    return [show_summary(run, run.run in shut) for run in runs]


@router.get("/runs/{run}", response_model=answers.Run, responses=declared(404))
def show_run(run: RunId, services: Parts) -> Any:
    """The state of a run: attempts, outputs, checkers, and the decision that waits for a second
    signature.
    """
    services.projection.sync()
    return describe_run(services, register.find_run(services.engine, run))


@router.post(
    "/runs/{run}/cancel", response_model=answers.Written, responses=declared(400, 409, 413)
)
def cancel_run(run: RunId, body: schemas.CancelBody, services: Parts) -> Any:
    """The analyst cancels the run."""
    same_run(body.cancel.run, run)
    receipt = permits.cancel_run(
        services.ledger, schemas.message_of("Cancel", body.cancel), bytes.fromhex(body.signature)
    )
    return {"receipt": services.settle(receipt)}


@router.post(
    "/runs/{run}/resume", response_model=answers.Written, responses=declared(400, 409, 413)
)
def resume(run: RunId, body: schemas.ResumeBody, services: Parts) -> Any:
    """Give a run that used up its attempts the same number again, in the analyst's name."""
    same_run(body.resume.run, run)
    receipt = permits.resume_run(
        services.ledger, schemas.message_of("Resume", body.resume), bytes.fromhex(body.signature)
    )
    return {"receipt": services.settle(receipt)}


@router.post(
    "/runs/{run}/attempts/{attempt}/views",
    response_model=answers.Written,
    responses=declared(400, 409, 413),
)
def view_output(
    run: RunId, attempt: AttemptNumber, body: schemas.ReviewBody, services: Parts
) -> Any:
    """A checker views an output: the view is recorded first, then the broker gives key pieces to
    the viewer key.
    """
    same_run(body.review.run, run, body.review.attempt, attempt)
    receipt = release.view_output(
        services.ledger,
        schemas.message_of("Review", body.review),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.post(
    "/runs/{run}/attempts/{attempt}/release",
    response_model=answers.Approved,
    responses=declared(400, 404, 409, 413),
)
def approve(run: RunId, attempt: AttemptNumber, body: schemas.DecisionBody, services: Parts) -> Any:
    """One checker's yes. The second yes to the identical decision releases, if all granted people
    are still willing.
    """
    same_run(body.decision.run, run, body.decision.attempt, attempt)
    decision = schemas.message_of("Decision", body.decision)
    services.projection.sync()
    try:
        receipt = release.approve(
            services.ledger,
            services.engine,
            services.projection.replayed,
            decision,
            bytes.fromhex(body.signature),
            services.clock(),
        )
    finally:
        services.projection.sync()
    if receipt is None:
        waiting = release.pending(services.engine, run, attempt, services.clock())
        return {
            "released": False,
            "checkers": list(waiting.checkers) if waiting else [],
            "receipt": None,
        }
    return {
        "released": True,
        "checkers": release.checkers_of(receipt),
        "receipt": services.settle(receipt),
    }


@router.post(
    "/runs/{run}/attempts/{attempt}/reject",
    response_model=answers.Written,
    responses=declared(400, 409, 413),
)
def reject(run: RunId, attempt: AttemptNumber, body: schemas.DecisionBody, services: Parts) -> Any:
    """One checker's no, with its reason; the run ends."""
    same_run(body.decision.run, run, body.decision.attempt, attempt)
    receipt = release.reject(
        services.ledger,
        schemas.message_of("Decision", body.decision),
        bytes.fromhex(body.signature),
    )
    return {"receipt": services.settle(receipt)}


@router.get(
    "/runs/{run}/output",
    response_class=Response,
    responses={
        200: {"description": "The encrypted object.", "content": {"application/octet-stream": {}}},
        **declared(401, 403, 404),
    },
)
def fetch_output(run: RunId, services: Parts, caller: SignedIn) -> Response:
    """The newest sealed output as ciphertext: for the analyst of the run and for checkers. Keys
    come from brokers.
    """
    return give_output(run, services, caller)


def give_output(run: str, services: Services, caller: Caller) -> Response:
    """The ciphertext of `fetch_output`. Raises NotAllowed, NotFound."""
    services.projection.sync()
    run_row = register.find_run(services.engine, run)
    if caller.account != run_row.analyst and caller.role != Role.CHECKER:
        raise NotAllowed(
            "only the analyst of the run and checkers may fetch its output",
            "sign in as one of them",
        )
    outputs = register.outputs_of(services.engine, run)
    if not outputs:
        raise NotFound("the run has no sealed output", "wait until it is sealed")
    return Response(
        services.bucket.get(f"o/{outputs[-1].ciphertext}"), media_type="application/octet-stream"
    )


@router.post(
    "/runs/{run}/output-pieces",
    response_model=answers.OutputPieces,
    responses=declared(400, 403, 404, 409, 413),
)
def ask_for_pieces(run: RunId, body: schemas.OutputQuestion, services: Parts) -> Any:
    """Passes a reader's signed question for an output's key on to the broker, and its answer back:
    it is sealed for the reader, who checks that the broker gave it.
    """
    same_run(body.run, run)
    if [(item.record, item.version) for item in body.records] != [(run, body.attempt)]:
        raise RequestInvalid("an output's record is its run and attempt", "ask for that one")
    services.projection.sync()
    analyst = register.find_run(services.engine, run).analyst
    question = body.model_dump(exclude_none=True)
    release.check_asker(
        services.ledger.domain, services.projection.replayed, analyst, question, services.clock()
    )
    return services.broker.pass_on(question)


def same_run(signed_run: str, run: str, signed_attempt: int = 0, attempt: int = 0) -> None:
    """Raise RequestInvalid unless a signed message is for the run (and attempt) of its address."""
    if signed_run != run or signed_attempt != attempt:
        raise RequestInvalid(
            "the signed message is for another run or attempt", "send it to that one"
        )


def describe_run(
    services: Services, run: Run, queue: Sequence[str] | None = None
) -> dict[str, Any]:
    """The state of a run, as `answers.Run`; the database must be at the newest block.

    queue: the waiting runs, if they were already read.
    """
    permit = register.find_permit(services.engine, run.permit)
    waiting = release.pending(services.engine, run.run, run.attempt, services.clock())
    steps, failure = (
        register.progress_of(services.engine, run.run),
        register.failure_of(services.engine, run.run),
    )
    shut = bool(register.shut_among(services.engine, [run]))
    return show_summary(run, shut) | {
        "state": _doing(run, steps, failure),
        "failure": failure or None,
        "waiting": None if failure else register.why_waiting(services.engine, run, queue),
        "dataset": permit.dataset,
        "codeHash": permit.code,
        "params": run.params,
        "paramsHash": run.params_hash,
        "resultKey": run.result_key,
        "deadline": run.deadline,
        "attempts": [
            show_attempt(services, run.run, attempt)
            for attempt in register.attempts_of(services.engine, run.run)
        ],
        "outputs": [
            show_output(services, output)
            for output in register.outputs_of(services.engine, run.run)
        ],
        "decision": {"decision": waiting.decision, "checkers": list(waiting.checkers)}
        if waiting and run.state == "sealed"
        else None,
        "progress": [
            {"attempt": step.attempt, "step": step.step, "fraction": step.fraction, "at": step.at}
            for step in steps
        ],
    }


def _doing(run: Run, steps: list[register.Step], failure: str) -> str:
    """The ledger's state, or the worker's more precise one: computing, failed."""
    if run.state not in ("queued", "authorised"):
        return run.state
    if failure:
        return "failed"
    computing = run.state == "authorised" and any(
        step.attempt == run.attempt and step.fraction for step in steps
    )
    return "computing" if computing else run.state


def show_attempt(services: Services, run: str, attempt: register.Attempt) -> dict[str, Any]:
    """An attempt of a run or plan, as `answers.Attempt`."""
    known = _replayed(services, run, attempt.attempt)
    return {
        "attempt": attempt.attempt,
        "granted": attempt.granted,
        "denied": attempt.denied,
        "block": attempt.block,
        "tx": attempt.tx,
        "leaseUntil": known.lease_until,
        "listHash": known.list_hash.hex(),
        "checkers": [release.account_of(viewer) for viewer in known.views],
        "record": register.record_of(services.engine, run, attempt.attempt),
    }


def _replayed(services: Services, run: str, attempt: int, sealed: bool = False) -> ReplayedAttempt:
    """An attempt as this process has replayed it. Another process (a worker) writes rows as well,
    so that they may be ahead of what this one has replayed: then it replays on.
    """
    number = bytes.fromhex(run), attempt
    known = services.projection.replayed.attempts.get(number)
    if known is None or (sealed and not known.seal):
        services.projection.sync()
        known = services.projection.replayed.attempts[number]
    return known


def show_output(services: Services, output: Output) -> dict[str, Any]:
    """A sealed output of a run or plan, as `answers.Output`."""
    mined = register.find_receipt(services.engine, output.release_tx) if output.released else None
    seal = _replayed(services, output.run, output.attempt, sealed=True).seal
    return {
        "attempt": output.attempt,
        "sealHash": output.seal_hash,
        "ciphertext": output.ciphertext,
        "outputCommitment": output.commitment,
        "disclosureCommitment": seal["disclosureCommitment"].hex(),
        "outputClass": output.output_class,
        "statistics": output.statistics,
        "release": mined,
    }
