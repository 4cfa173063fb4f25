"""Reasons of votes, suspensions and orders: what a member wrote beside what she signed.

The ledger has no field for a reason, and her signature does not cover it: a reason is this
service's word, like a name. It comes in one request with the signed message, from the session of
the account that signed it: whoever passes another's signature on writes nothing in her name.
Committee, data-protection officers, auditors and the applicant read it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Engine, delete, func, select

from chain.vocabulary import Role
from governance.comments import checked_text
from governance.errors import NotAllowed, NotSignedIn, RequestInvalid
from governance.readmodel.database import insert_new
from governance.readmodel.tables import GivenReason
from governance.sessions import Caller

APPROVE, REJECT, SUSPEND, SIGN = "approve", "reject", "suspend", "sign"
_NEEDED = (REJECT, SUSPEND)
READERS = (Role.COMMITTEE, Role.PROTECTION, Role.AUDITOR)


def check_reason(act: str, text: str) -> str:
    """The text as it is kept, "" for none. Raises RequestInvalid where a reason is missing."""
    if text.strip():
        return checked_text(text, "a reason")
    if act in _NEEDED:
        raise RequestInvalid(
            "a rejection or suspension says why: its reason is missing",
            "write for the applicant what is wrong, and what would have to change",
        )
    return ""


def check_author(author: Caller | None, signer: str, text: str) -> None:
    """Raise NotSignedIn unless a text comes from the session of the account that signed."""
    if text and (author is None or author.account != signer):
        raise NotSignedIn(
            "a reason is taken only from the member who signed, and she is not signed in",
            "sign in with the key that signs",
        )


def keep_reason(engine: Engine, about: str, act: str, account: str, text: str, now: int) -> bool:
    """Keep a checked reason of a permit or order; the first one of this account's act stays.
    Whether it was kept now. The caller MUST have called `check_author`.
    """
    if not text:
        return False
    row = GivenReason(about=about, account=account, act=act, text=text, at=now)
    with engine.begin() as connection:
        known = connection.execute(select(func.count()).where(*_is(about, act, account))).scalar()
        insert_new(connection, GivenReason, [row])
    return not known


def drop_reason(engine: Engine, about: str, act: str, account: str) -> None:
    """Forget the reason of an act that the ledger refused."""
    with engine.begin() as connection:
        connection.execute(delete(GivenReason).where(*_is(about, act, account)))


def _is(about: str, act: str, account: str) -> tuple[ColumnElement[bool], ...]:
    return (
        GivenReason.about == about,
        GivenReason.act == act,
        GivenReason.account == account,
    )


def reasons_on(engine: Engine, about: Sequence[str]) -> list[GivenReason]:
    """The reasons given on these permits or orders, oldest first."""
    query = select(GivenReason).where(GivenReason.about.in_(about))
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(GivenReason.at, GivenReason.account))
        return [GivenReason(**row._mapping) for row in rows]


def may_read(reader: Caller | None, applicant: str = "") -> bool:
    """Whether this reader sees reasons; `applicant`: of the permit that they are about."""
    return reader is not None and (reader.role in READERS or reader.account == applicant)


def check_reader(reader: Caller, applicant: str = "") -> None:
    """Raises NotAllowed."""
    if not may_read(reader, applicant):
        raise NotAllowed(
            "the committee, data-protection officers, auditors and the applicant read reasons",
            "sign in with that role's key",
        )
