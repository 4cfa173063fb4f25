"""An analyst's runs: parameters, request with a result key of its own, and following a run to its
end.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from api.client.client import Client
from api.client.results import reading_key
from api.errors import NotServing, NotThere, RefusedByPolicy, UsageError
from governance.consent import CATEGORIES, bits
from governance.permits import missing, run_id

SEALED, RELEASED = "sealed", "released"
ENDS = (RELEASED, "denied", "withdrawn", "refused", "failed")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds between two questions for a run's state


def complete_params(document: object) -> bytes:
    """Canonical parameters from a written document; missing ones get their defaults.

    Raises UsageError.
    """
    from analytics.errors import ParamsError
    from analytics.params import complete

    try:
        if not isinstance(document, dict):
            raise ParamsError("parameters: they are not one JSON object")
        return complete(document)
    except ParamsError as error:
        hint = (
            error.hint
            if error.hint != ParamsError.hint
            else "compare them with analytics/params-schema.json"
        )
        raise UsageError(str(error), f"{hint}; nothing was signed") from None


def check_permit(permit: Mapping[str, Any], params: bytes) -> None:
    """Check that the permit allows what these parameters need. Raises UsageError."""
    from analytics.params import parse_params

    wanted = parse_params(params)
    lacks = missing(
        bits(permit["categories"], CATEGORIES),
        permit["outputClasses"],
        wanted.categories,
        wanted.output_class,
    )
    if lacks:
        raise UsageError(
            f"the permit does not allow what these parameters need: {lacks}",
            "ask for another permit (--categories, --output), or change the parameters",
        )


def _check_study(client: Client, permit: Mapping[str, Any], params: bytes) -> None:
    """Check that the parameters ask about the permit's study. Raises UsageError, NotThere."""
    from analytics.code import params_schema_hash
    from analytics.errors import ParamsError
    from analytics.study import check_study

    schema = bytes.fromhex(permit["paramsSchemaHash"])
    plan = None
    if schema != params_schema_hash():
        with suppress(NotThere):
            plan = client.document(permit["documentHash"])
    try:
        check_study(schema, plan, params.decode())
    except ParamsError as problem:
        raise UsageError(str(problem), f"{problem.hint} Nothing was signed.") from None


def check_questions(
    permit: Mapping[str, Any], asked: Sequence[Mapping[str, Any]], params: bytes
) -> None:
    """Check that the permit has a question left for these parameters. Raises UsageError.

    asked: as `Client.questions` gives them.
    """
    digest = hashlib.sha256(params).hexdigest()
    before = [question["current"] for question in asked if question["params"] == digest]
    if len(asked) < permit["questions"] or any(before):
        return
    raise UsageError(
        f"this permit has 0 of {permit['questions']} different questions left"
        + (", and this one was asked before the dataset's records changed" if before else ""),
        "ask with exactly the parameters of an earlier run about the same records, or ask for another "
        "permit; nothing was signed",
    )


def request_run(client: Client, permit: bytes, params: bytes) -> dict[str, Any]:
    """Request a run under a permit; the key that will open its result follows from the analyst's.

    `params`: from `complete_params`. Raises UsageError for a permit that does not allow them.
    """
    given = client.permit(permit.hex())
    check_permit(given, params)
    _check_study(client, given, params)
    check_questions(given, client.questions(permit.hex()), params)
    nonce = secrets.randbits(256)
    result_key = reading_key(client, run_id(client.wallet.address, nonce))
    return client.request_run(permit, params, result_key, nonce)


def follow(
    client: Client, run: str, seconds: float, until: Sequence[str] = (SEALED, *ENDS)
) -> Iterator[dict[str, Any]]:
    """The states of a run until it has one of `until`, or for so many seconds.

    It asks less and less often while nothing changes.
    """
    deadline, pause, before = time.monotonic() + seconds, FIRST_PAUSE, None
    while True:
        state = client.run(run)
        yield state
        left = deadline - time.monotonic()
        if state["state"] in until or left <= 0:
            return
        seen = (state["state"], state["progress"][-1:])
        pause = FIRST_PAUSE if seen != before else min(pause * 1.2, LONGEST_PAUSE)
        before = seen
        time.sleep(min(pause, left))


def check_outcome(state: Mapping[str, Any]) -> None:
    """Raise RefusedByPolicy for a run that ended without an output, with the reason."""
    if state["state"] in ("denied", "refused", "failed"):
        reason = state["reason"] or {"sentence": state["failure"] or "", "slug": "failed"}
        raise RefusedByPolicy(
            409,
            f"The run ended: {reason['sentence']}",
            f"Look at it: volens run show {state['run']}",
            reason["slug"],
        )


def still_on_its_way(state: Mapping[str, Any], seconds: float) -> NotServing:
    """The error of somebody who waited so many seconds, and the run goes on."""
    return NotServing(
        f"gave up after {seconds:g} seconds: the run is still {state['state']}",
        "watch it again, or check whether a worker is alive: volens doctor",
    )


def last_step(state: Mapping[str, Any]) -> tuple[str, float] | None:
    """(step, fraction) of what a worker computes just now, None where none does."""
    if state["state"] != "computing" or not state["progress"]:
        return None
    step = state["progress"][-1]
    return str(step["step"]), step["fraction"] / 1000
