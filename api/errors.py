"""Errors of the doors: what a client is told, by kind; each carries the hint what to do next."""

from __future__ import annotations


class ApiError(Exception):
    """Base: `str(error)` is the fact, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ApiError):
    """The caller's input cannot be meant."""


class NotServing(ApiError):
    """A process that is needed does not run, or does not answer."""


class Answered(ApiError):
    """The API answered with a problem (RFC 9457): `status`, and `reason` where a rule refused."""

    def __init__(self, status: int, message: str, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason


class RefusedByPolicy(Answered):
    """409: a rule of the ledger stands against it; `reason` names it."""


class NotThere(Answered):
    """404."""


class NotAuthorised(Answered):
    """401 or 403: nobody is signed in, or it is not for her."""


class NotUnderstood(Answered):
    """400, 413, 415 or 422: the message cannot be meant."""


class NotAvailable(Answered):
    """503: ledger, bucket or broker does not answer."""


class VerificationFailed(ApiError):
    """Something is not what the ledger says it is."""
