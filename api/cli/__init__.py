"""The command line: commands use the API or local files; slow imports happen only in the command
itself.

It does not know rules or pages.

Exit codes: 0 ok, 1 the answer to a question was no, 2 usage, 3 refused by policy, 4 not found, 5
not authorised, 6 ledger, bucket or broker unavailable, 7 verification failed, 70 internal; of
`verify` also 8 (something was not checked) and 9 (anchored in part).
"""

from __future__ import annotations

import sys

USAGE, REFUSED, NOT_FOUND, NOT_AUTHORISED, UNAVAILABLE, NOT_VERIFIED, INTERNAL = (
    2,
    3,
    4,
    5,
    6,
    7,
    70,
)


def main() -> None:
    """Run one command and exit with its code; a failure is one sentence and what to do next, never
    a trace.
    """
    from api.cli.root import app

    try:
        app()
    except Exception as error:  # every error has its exit code
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    from analytics.errors import AnalyticsError
    from api.errors import Answered, ApiError
    from chain.errors import ChainError
    from governance.errors import GovernanceError
    from governance.rules.encoding import VerifyError

    if not isinstance(
        error, ApiError | ChainError | GovernanceError | VerifyError | AnalyticsError | OSError
    ):
        return _internal(error)
    if isinstance(error, OSError):
        _say("a file cannot be read or written", "check its name and rights")
        return USAGE
    reason = getattr(error, "reason", "")
    slug = getattr(reason, "slug", reason)
    _say(str(error).rstrip(".") + (f" [{slug}]" if slug else ""), error.hint)
    return INTERNAL if type(error) is Answered else code_of(error)


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    from api.errors import (
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


def _internal(error: Exception) -> int:
    import traceback

    places = [
        f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]
    ]
    _say("something failed that should not", "report it with these places: " + " ".join(places))
    return INTERNAL


def _say(fact: str, hint: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    console.print(_sentence(fact), style="bold red")
    if hint:
        console.print(_sentence(hint))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
