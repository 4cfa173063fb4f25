"""Error responses (RFC 9457 problem details): maps every error to a status and a plain sentence.

Responses never repeat the caller's input and never show internals: no class, path, statement or
trace.
"""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from chain.errors import (
    ChainError,
    LedgerBusy,
    LedgerDown,
    LedgerUnsure,
    Refused,
    SignatureMalformed,
)
from chain.vocabulary import Reason
from governance.errors import (
    BrokerRefused,
    BrokerUnavailable,
    BucketUnavailable,
    CatchingUp,
    DatabaseBroken,
    DecisionPending,
    GovernanceError,
    LedgerBehind,
    LedgerInconsistent,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ObjectAltered,
    ObjectMalformed,
    ObjectMissing,
    RequestInvalid,
    RequestRefused,
)
from governance.readmodel.database import DatabaseAway
from governance.rules.encoding import Finding, Malformed

READ_AGAIN = 5  # seconds of the Retry-After header while this process catches up
SEND_AGAIN = 30  # seconds of that header while too many messages wait for the ledger
log = structlog.get_logger()

# What each refusal of the contracts means, and what to do. The names come from the contracts
# (docs/ledger.md).
REFUSALS = {
    "AlreadyEnrolled": ("This person is enrolled already.", "Use the key of that enrolment."),
    "AlreadyRecorded": (
        "This message is on the ledger already, and changes nothing a second time.",
        "Look at what it is about; if you mean it again, sign a new one.",
    ),
    "AlreadyVoted": ("This member has voted on the permit already.", "A vote cannot be changed."),
    "ApplicantVoted": (
        "The applicant of a permit does not vote on it.",
        "Let another member vote.",
    ),
    "BudgetSpent": (
        "The dataset's budget of per-variant statistics is too small for this output.",
        "Ask for fewer variants; what was released before stays counted.",
    ),
    "CheckerConflict": (
        "The analyst of a run does not check its output.",
        "Let another checker do it.",
    ),
    "DatasetExists": ("The dataset is registered already.", "Register another id."),
    "DatasetUnknown": ("There is no such dataset.", "Look at the list of datasets."),
    "DeadlinePassed": ("The signed deadline has passed.", "Sign again with a later deadline."),
    "EpochStale": (
        "The consent has changed since this was signed, or what this follows is not recorded yet.",
        "Look at the consent: sign again if it changed, send this again if it comes first.",
    ),
    "AppointmentInvalid": (
        "She does not allow this now, or her clinician is another.",
        "Look at her appointment: volens care list.",
    ),
    "NotAppointed": (
        "She has not appointed this clinician.",
        "Ask the patient, who appoints with volens care appoint.",
    ),
    "NotCountersigned": (
        "The plan is not countersigned by its clinician.",
        "Wait for it: volens plan list.",
    ),
    "NotForCare": (
        "The permit is not for care, not approved, or has expired.",
        "Ask for one: volens care permit.",
    ),
    "NotForResearch": (
        "The permit is for the care of single patients.",
        "Ask for a permit for research: volens permit request.",
    ),
    "NotHerPlan": (
        "She said that she does not want to open plans.",
        "Appoint again with --to-me, if you want to.",
    ),
    "NotTheClinician": (
        "Only the clinician who asked for the plan may do this.",
        "Let that clinician sign.",
    ),
    "AttemptOutOfOrder": (
        "The run has attempts left, or is at another one.",
        "Look at the run: volens run show.",
    ),
    "IngestExists": ("This ingest is registered already.", "Nothing is left to do."),
    "IngestUnknown": (
        "There is no such registration, or it is void already.",
        "Look at the list: volens dataset ingests.",
    ),
    "LastQuorum": (
        "The committee would be left without a quorum that lasts.",
        "Add a member without an end first.",
    ),
    "MaskUnknown": (
        "A purpose or category is not one that exists.",
        "Choose among the documented ones.",
    ),
    "NotAMember": (
        "The signer is no member of the committee, and was none after the role was given.",
        "Let a member sign: volens role list.",
    ),
    "NotARegistrar": (
        "The enrolment is not signed by a live registrar.",
        "Ask a registrar for an invitation.",
    ),
    "NotEnrolled": ("This person is not enrolled.", "Enrol first."),
    "NotLive": (
        "The signer does not hold the role that this needs now.",
        "Ask the committee for the role.",
    ),
    "NotNewestAttempt": (
        "This is not the newest attempt of the run.",
        "Look at the run and sign again.",
    ),
    "NotPending": (
        "No worker or broker of this account is waiting to act.",
        "End a role that acts already: volens role end.",
    ),
    "NotSealed": ("The run has no sealed output.", "Wait until it is sealed."),
    "NotTheAnalyst": ("Only the analyst of a run may do this.", "Sign with the analyst's key."),
    "NotTheApplicant": (
        "Only the applicant of a permit may use it.",
        "Request a permit of your own.",
    ),
    "NotTheCustodian": (
        "Only the custodian of a dataset may do this.",
        "Sign with the custodian's key.",
    ),
    "NotViewed": (
        "A checker decides only after looking at this output.",
        "Look first: volens review open.",
    ),
    "NothingGranted": ("The consent allows nothing.", "Name a purpose and a category."),
    "NothingRegistered": ("The list of records is empty.", "Name at least one record."),
    "ParamsMismatch": (
        "The parameters are not the signed ones.",
        "Sign exactly the parameters that you send.",
    ),
    "PermitExists": ("There is a permit with this id already.", "Choose another id."),
    "PermitInvalid": (
        "The permit asks for purposes, categories or outputs that cannot be.",
        "Correct the request.",
    ),
    "PermitNotOpen": ("The permit is not in a state that allows this.", "Look at the permit."),
    "PermitUndecided": (
        "The committee has not decided on the permit yet.",
        "Wait for the votes (volens permit show), then ask again.",
    ),
    "PermitUnknown": ("There is no such permit.", "Look at the list of permits."),
    "QuorumMissing": ("Too few committee members signed.", "Collect the missing signatures."),
    "ReasonInvalid": ("The reason does not fit the decision.", "0 releases, 96 to 98 reject."),
    "RoleVersionStale": (
        "The role was changed since this was signed.",
        "Look at the role (volens role list) and sign again.",
    ),
    "RequestMismatch": (
        "The vote is on another request than the one stored.",
        "Look at the permit and sign again.",
    ),
    "RoleTaken": (
        "The account holds another role.",
        "One account has one role: use another account.",
    ),
    "RoleWindowInvalid": ("The role would end before it begins.", "Correct start and end."),
    "RunEnded": ("The run has ended.", "Request a new run."),
    "RunExists": ("This run was requested already.", "Use another number for a new run."),
    "RunUnknown": ("There is no such run.", "Check the id."),
    "SealMismatch": (
        "The decision is on another output than the sealed one.",
        "Look at the run and sign again.",
    ),
    "SignatureInvalid": (
        "The signature is not that of the named key over this message.",
        "Sign again.",
    ),
    "SignerInvalid": ("The signer is not a wallet of 20 bytes.", "Enrol with a wallet key."),
    "SignerMismatch": ("The key is not the one that was enrolled.", "Use the enrolled key."),
    "SignersNotAscending": ("Somebody signed twice.", "Two different people must sign."),
    "TooManyItems": (
        "The batch holds more items than one transaction takes.",
        "Send fewer at once.",
    ),
    "VersionStale": (
        "A newer consent stands where this one wants to, or what this follows is not recorded yet.",
        "Look at the consent: sign again if it changed, send this again if it comes first.",
    ),
    "WindowInvalid": ("The consent would end before it begins, or has ended.", "Correct the days."),
}
OTHER_REFUSAL = ("The ledger's rules do not allow this.", "Look at the state and sign again.")

# By pydantic's type of error; pydantic's own messages may show internal names.
_FIELDS = {
    "missing": "is missing",
    "extra_forbidden": "holds a field that this message does not have",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "has the wrong form",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "too_long": "has too many entries",
    "too_short": "has too few entries",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is not one of the values",
}


class Problem(BaseModel):
    """An RFC 9457 problem, with a hint what to do next."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Refused by the ledger",
                    "status": 409,
                    "detail": "The signed deadline has passed.",
                    "hint": "Sign again with a later deadline.",
                    "reason": "DeadlinePassed",
                }
            ]
        }
    )

    type: str = Field(description="Always about:blank: the status and the reason tell the problem.")
    title: str
    status: int
    detail: str = Field(description="One plain sentence.")
    hint: str = Field(description="What to do next.")
    reason: str | None = Field(
        None, description="The rule that refused: a contract's error or a reason's slug."
    )
    code: int | None = Field(None, description="The number of the reason, where it has one.")
    fields: list[str] | None = Field(
        None, description="What is wrong with which field of the message."
    )
    request: str | None = Field(None, description="Names this failure in the service's log.")


_TITLES = {
    400: "Malformed",
    401: "Not signed in",
    403: "Not for you",
    404: "Not found",
    405: "No such method",
    409: "Refused by the ledger",
    413: "Too large",
    415: "Not JSON",
    422: "Not a valid message",
    429: "Too many requests",
    500: "Failed",
    503: "Not available",
}


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route: these problems, and those that every route may answer with."""
    media = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _TITLES[status], "content": media}
        for status in (*statuses, 422, 500, 503)
    }


class BodyTooLarge(GovernanceError):
    """The body is larger than this route accepts."""


class TooMany(GovernanceError):
    """Too many requests of this client were refused."""


def problem(status: int, detail: str, hint: str, **more: object) -> JSONResponse:
    """A problem as a response; fields that are None are left out."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Failed"),
        "status": status,
        "detail": detail,
        "hint": hint,
    } | {name: value for name, value in more.items() if value is not None}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def problem_of(error: Exception) -> JSONResponse:
    """The problem response for an exception; an unexpected one is logged under a random id."""
    if isinstance(error, RequestValidationError):
        return problem(
            422,
            "The message does not have the required form.",
            "Compare it with the documentation.",
            fields=_field_sentences(error.errors()),
        )
    if isinstance(error, HTTPException):
        unread = error.__cause__  # set when our own reader refused the body
        return (
            problem_of(unread)
            if isinstance(unread, Malformed | BodyTooLarge)
            else _of_http(error.status_code)
        )
    if isinstance(error, Malformed):
        return problem(
            400, _sentence(str(error)), "Send strict JSON: UTF-8, whole numbers, no key twice."
        )
    if isinstance(error, CatchingUp):
        answer = problem(503, _sentence(str(error)), _sentence(error.hint), reason="catching-up")
        answer.headers["Retry-After"] = str(READ_AGAIN)
        return answer
    if isinstance(error, LedgerBehind):
        return problem(503, _sentence(str(error)), _sentence(error.hint), reason="ledger-behind")
    if isinstance(error, Finding | LedgerInconsistent):
        return problem(
            503,
            "The ledger's record is inconsistent, so nothing is served from it.",
            "Let an auditor verify the trail.",
            reason="identity",
        )
    if isinstance(error, Refused):
        detail, hint = REFUSALS.get(error.name, OTHER_REFUSAL)
        return problem(409, detail, hint, reason=error.name)
    if isinstance(error, RequestRefused):
        return problem(
            409, str(error), _sentence(error.hint), reason=error.reason.slug, code=error.reason.code
        )
    if isinstance(error, BrokerRefused):
        passing = error.reason.code in (Reason.LEDGER_DOWN, Reason.CATCHING_UP)
        return problem(
            503 if passing else 409,
            error.reason.sentence,
            "Try again in a minute." if passing else "No key was given out; look at the run.",
            reason=error.reason.slug,
            code=error.reason.code,
        )
    if isinstance(error, ChainError):
        return _of_chain(error)
    if isinstance(error, GovernanceError):
        for error_class, status in _STATUS.items():
            if isinstance(error, error_class):
                return problem(status, _sentence(str(error)), _sentence(error.hint))
    if isinstance(error, DatabaseAway):
        log.warning("database-outage", kind=type(error.orig).__name__)
        return problem(
            503,
            "The database does not answer.",
            "What you sent may not be done: look in a minute, and send it again if it is not.",
            reason="database",
        )
    return _unexpected(error)


_STATUS: dict[type[Exception], int] = {
    NotSignedIn: 401,
    NotAllowed: 403,
    NotFound: 404,
    ObjectMissing: 404,
    DecisionPending: 409,
    BodyTooLarge: 413,
    TooMany: 429,
    RequestInvalid: 422,
    ObjectMalformed: 422,
    BucketUnavailable: 503,
    BrokerUnavailable: 503,
    ObjectAltered: 503,
    DatabaseBroken: 503,
}


async def answer_problem(_: Request, error: Exception) -> JSONResponse:
    """Handle errors outside a route: an unknown path or method."""
    return problem_of(error)


def _of_http(status: int) -> JSONResponse:
    known = {
        400: ("The body cannot be read.", "Send JSON in UTF-8."),
        404: ("There is no such endpoint.", "Look at the documentation."),
        405: ("This endpoint does not accept that method.", "Look at the documentation."),
    }
    return problem(
        status, *known.get(status, ("The request cannot be served.", "Look at the documentation."))
    )


def _of_chain(error: ChainError) -> JSONResponse:
    if isinstance(error, SignatureMalformed):
        return problem(422, _sentence(str(error)), _sentence(error.hint), reason="SignatureInvalid")
    if isinstance(error, LedgerBusy):
        answer = problem(503, _sentence(str(error)), _sentence(error.hint), reason="ledger-busy")
        answer.headers["Retry-After"] = str(SEND_AGAIN)
        return answer
    if isinstance(error, LedgerUnsure):
        return problem(
            503,
            "The ledger stopped answering after the message was sent: it may have taken effect.",
            "Look at the state before you send it again; it is not sent twice.",
            reason="ledger-down",
        )
    if isinstance(error, LedgerDown):
        return problem(
            503,
            "The ledger does not answer, so nothing was read or changed.",
            "Try again in a minute; a message that was sent is not sent twice.",
            reason="ledger-down",
        )
    return problem(
        503,
        "The ledger did not take the message.",
        "Look at the state, then try again.",
        reason="ledger-down",
    )


def _field_sentences(errors: Sequence[Any]) -> list[str]:
    """One sentence for each field: its path and what is wrong, never its value."""
    sentences = []
    for error in errors[:20]:
        path = [str(step) for step in error["loc"]]
        if error["type"] == "extra_forbidden":
            path = path[:-1]  # the last step is the sender's input
        sentences.append(f"{'.'.join(path)} {_FIELDS.get(error['type'], 'has the wrong form')}")
    return sentences


def _unexpected(error: Exception) -> JSONResponse:
    """Log an unexpected error with its lines, without any value."""
    request = secrets.token_hex(8)
    frames = [
        f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-6:]
    ]
    log.error("unexpected", request=request, kind=type(error).__name__, places=frames)
    return problem(
        500,
        "Something failed that should not.",
        "Report it with the request's number.",
        request=request,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""
