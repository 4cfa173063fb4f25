"""What a failed command says and with which code it exits: two sentences for people, one JSON
object for programs.
"""

from __future__ import annotations

import json
import sys
import traceback

DECLINED, USAGE, REFUSED, NOT_FOUND, NOT_AUTHORISED, UNAVAILABLE, NOT_VERIFIED = range(1, 8)
INTERNAL, INTERRUPTED = 70, 130
KINDS = {
    DECLINED: "declined",
    USAGE: "usage",
    REFUSED: "refused",
    NOT_FOUND: "not-found",
    NOT_AUTHORISED: "not-authorised",
    UNAVAILABLE: "unavailable",
    NOT_VERIFIED: "not-verified",
    INTERNAL: "internal",
    INTERRUPTED: "interrupted",
}


def report(error: Exception, as_json: bool) -> int:
    """Print a failure on standard error, as its last line with `as_json`; returns the exit code."""
    code, detail, hint, reason = _described(error)
    if as_json:
        _print_json(code, detail, hint, reason)
    else:
        _print(detail.rstrip(".") + (f" [{reason}]" if reason else ""), hint)
    return code


def report_end(code: int) -> None:
    """Print as JSON that a command ended with this code, and without an error of its own."""
    detail = "interrupted" if code == INTERRUPTED else f"the command ended with exit code {code}"
    _print_json(code, detail, "", "")


def _described(error: Exception) -> tuple[int, str, str, str]:
    """(exit code, detail, hint, reason) of any error."""
    import typer

    from analytics.errors import AnalyticsError
    from api.errors import Answered, ApiError
    from chain.errors import ChainError
    from governance.errors import GovernanceError
    from governance.rules.encoding import VerifyError

    if isinstance(error, ApiError | ChainError | GovernanceError | VerifyError | AnalyticsError):
        reason = getattr(error, "reason", "")
        code = INTERNAL if type(error) is Answered else code_of(error)
        return code, str(error), error.hint, str(getattr(reason, "slug", reason) or "")
    if isinstance(error, typer.Abort):
        return DECLINED, "aborted", "", ""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # the parser's own
        command = getattr(getattr(error, "ctx", None), "command_path", "volens")
        return error.exit_code, error.format_message(), f"read: {command} --help", ""
    if isinstance(error, OSError):
        return USAGE, "a file cannot be read or written", "check its name and rights", ""
    places = " ".join(
        f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]
    )
    return (
        INTERNAL,
        "something failed that should not",
        f"report it with these places: {places}",
        "",
    )


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    from api.errors import (
        Declined,
        NotAuthorised,
        NotAvailable,
        NotServing,
        NotThere,
        RefusedByPolicy,
        UsageError,
    )
    from api.errors import NotUnderstood as Unclear
    from api.errors import VerificationFailed as Failed
    from chain.errors import IdentityMismatch, LedgerDown, Refused
    from governance import errors as governed
    from governance.rules.encoding import VerifyError

    kinds: list[tuple[int, tuple[type[Exception], ...]]] = [
        (DECLINED, (Declined,)),
        (USAGE, (UsageError, Unclear, governed.RequestInvalid, governed.TooManyRecords)),
        (REFUSED, (RefusedByPolicy, Refused, governed.BrokerRefused, governed.RequestRefused)),
        (NOT_FOUND, (NotThere, governed.NotFound, governed.ObjectMissing)),
        (NOT_AUTHORISED, (NotAuthorised, governed.NotAllowed, governed.NotSignedIn)),
        (
            UNAVAILABLE,
            (
                NotAvailable,
                NotServing,
                LedgerDown,
                governed.BucketUnavailable,
                governed.BrokerUnavailable,
                governed.DatabaseBroken,
                governed.CatchingUp,
            ),
        ),
        (
            NOT_VERIFIED,
            (
                Failed,
                VerifyError,
                IdentityMismatch,
                governed.LedgerInconsistent,
                governed.DatabaseOfAnotherLedger,
                governed.ObjectAltered,
            ),
        ),
    ]
    return next((code for code, classes in kinds if isinstance(error, classes)), USAGE)


def _print_json(code: int, detail: str, hint: str, reason: str) -> None:
    error = {
        "kind": KINDS.get(code, "failed"),
        "detail": _sentence(detail),
        "hint": _sentence(hint) if hint else None,
        "reason": reason or None,
    }
    print(json.dumps({"error": error, "exit": code}, ensure_ascii=False), file=sys.stderr)


def _print(detail: str, hint: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    console.print(_sentence(detail), style="bold red")
    if hint:
        console.print(_sentence(hint))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
