"""Errors of the chain package: each has a fact and a hint what to do next."""

from __future__ import annotations


class ChainError(Exception):
    """A fact about the ledger that stopped a call.

    `hint` says what the caller can do next; neither holds personal data or key material.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class LedgerDown(ChainError):
    """The node cannot be reached or does not respond in time; nothing was read or written."""


class LedgerUnsure(LedgerDown):
    """The node stopped responding after a transaction was sent, which may be mined now or when the
    node is back.
    """


class LedgerSlow(LedgerDown):
    """The response was too slow or too large: a request for fewer blocks may succeed."""


class LedgerBusy(ChainError):
    """Too many messages wait for the ledger; this one was not sent."""


class IdentityMismatch(ChainError):
    """The node responds, but its ledger is not the pinned one."""


class Refused(ChainError):
    """A contract refused the call; `name` is the error's name in the ABI, `fields` its arguments."""

    def __init__(self, name: str, fields: dict[str, object], hint: str = "") -> None:
        shown = ", ".join(f"{key} {value}" for key, value in fields.items())
        super().__init__(f"{name}({shown})" if shown else name, hint)
        self.name = name
        self.fields = fields


class SignatureMalformed(ChainError):
    """Not a 65-byte, low-s, v 27/28 signature of a wallet key."""
