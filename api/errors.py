"""Errors of the API, client and command line, each with a hint what to do next."""

from __future__ import annotations


class ApiError(Exception):
    """Base: `str(error)` is the fact, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(hint)  # a notebook shows it below the fact


class UsageError(ApiError):
    """The caller's input is invalid."""


class Declined(ApiError):
    """The person answered no, so nothing was done."""


class NotServing(ApiError):
    """A required process does not run, or does not answer."""


class Answered(ApiError):
    """The API answered with a problem (RFC 9457): `status`, and `reason` where a rule refused."""

    def __init__(self, status: int, message: str, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason


class RefusedByPolicy(Answered):
    """409: a rule of the ledger forbids it; `reason` names the rule."""


class NotThere(Answered):
    """404."""


class NotAuthorised(Answered):
    """401 or 403: the caller is not signed in, or not allowed."""


class NotUnderstood(Answered):
    """400, 413, 415 or 422: the message is invalid."""


class NotAvailable(Answered):
    """503: ledger, bucket or broker does not answer."""


class VerificationFailed(ApiError):
    """Something differs from what the ledger says."""
