"""Errors of the chain room: each names a fact and says what to do next."""

from __future__ import annotations


class ChainError(Exception):
    """A fact about the ledger that stopped a call.

    `hint` says what the caller can do next; neither holds personal data or key material.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class LedgerDown(ChainError):
    """The node cannot be reached or does not answer in time; nothing was read or written."""


class LedgerUnsure(LedgerDown):
    """The node stopped answering after a transaction was sent: it may be mined, now or when the node is back."""


class LedgerSlow(LedgerDown):
    """The node did not give this answer in time, or it is too large: a question about fewer blocks may be answered."""


class IdentityMismatch(ChainError):
    """The node answers, but it is not the ledger that was pinned."""


class Refused(ChainError):
    """A contract refused the call; `name` is the error's name in the ABI, `fields` its arguments."""

    def __init__(self, name: str, fields: dict[str, object], hint: str = "") -> None:
        shown = ", ".join(f"{key} {value}" for key, value in fields.items())
        super().__init__(f"{name}({shown})" if shown else name, hint)
        self.name = name
        self.fields = fields


class SignatureMalformed(ChainError):
    """Not a 65-byte, low-s, v 27/28 signature of a wallet key."""
