"""Sign-in and sessions: single-use challenges, and session tokens of which only a hash is stored.

1. `open_challenge` draws a nonce that is valid for five minutes.
2. `prove` deletes it at first use, also if the checks of audience, time and signature then fail.
3. `open_session` checks the signer: a person enrolled with this key, or a holder of a live role.
   A wallet knows no id: a signer without a role who names none is the one person enrolled with it.
4. `caller_of` finds the session of a token and reads the role again at each request; `end` deletes
   the session.
Both tables are bounded: a flood of challenges or sign-ins cannot fill the database.
The caller MUST pass a replayed state at the newest head, and the service's own audience: a
signature for another service is refused.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    delete,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute

from chain.errors import SignatureMalformed
from chain.signatures import Domain, recover
from governance.errors import NotSignedIn
from governance.readmodel.queries import subjects_of
from governance.readmodel.tables import Challenge, Session
from governance.rules.replayed import ReplayedState

CHALLENGE_SECONDS = 300
SESSION_SECONDS = 900
MOST_CHALLENGES = 10_000  # open at once; beyond that the oldest are deleted
MOST_SESSIONS = 64  # of one account; beyond that the oldest end
NOBODY = "00" * 32  # the subject of a sign-in that is not a patient's
_AGAIN = "sign in again"


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in caller: a checksummed address, the subject id or "", and the role that is live
    now (0: none). `until`: the second at which the session ends.
    """

    account: str
    subject: str
    role: int
    until: int = field(default=0, compare=False)

    @property
    def has_part(self) -> bool:
        """Whether the caller is an enrolled person or holds a role now."""
        return bool(self.subject or self.role)

    @property
    def recipient(self) -> str:
        """Whose notices the caller sees: a patient's by her id, others' by account."""
        return self.subject or self.account


def open_challenge(engine: Engine, now: int) -> tuple[str, int]:
    """A new nonce (64 hex digits) and the second it expires at; deletes expired and surplus nonces."""
    nonce, expires = secrets.token_hex(32), now + CHALLENGE_SECONDS
    with engine.begin() as connection:
        connection.execute(delete(Challenge).where(Challenge.expires <= now))
        connection.execute(insert(Challenge).values(nonce=nonce, expires=expires))
        _sweep(connection, Challenge, Challenge.nonce, true(), MOST_CHALLENGES)
    return nonce, expires


def prove(
    engine: Engine,
    domain: Domain,
    audience: str,
    message: Mapping[str, Any],
    signature: bytes,
    now: int,
) -> None:
    """Raise NotSignedIn unless the named account signed this challenge for this service; the ledger
    is not read.

    `message` is {account, subject or "", nonce, issuedAt} with ids in hex.
    """
    _use_challenge(engine, str(message["nonce"]), now)
    if abs(now - int(message["issuedAt"])) > CHALLENGE_SECONDS:
        raise NotSignedIn(
            "the sign-in was signed too long ago, or in the future", "check the clock, then again"
        )
    subject = str(message["subject"])
    signed = {
        "audience": audience,
        "account": message["account"],
        "subject": bytes.fromhex(subject or NOBODY),
        "nonce": bytes.fromhex(str(message["nonce"])),
        "issuedAt": message["issuedAt"],
    }
    try:
        signer = recover(domain, "SignIn", signed, signature)
    except SignatureMalformed:
        raise NotSignedIn("the sign-in carries nobody's signature", _AGAIN) from None
    if signer != message["account"]:
        raise NotSignedIn("the sign-in is not signed by this account for this service", _AGAIN)


def open_session(
    engine: Engine, replayed: ReplayedState, message: Mapping[str, Any], now: int
) -> tuple[str, int]:
    """A bearer token and the second it expires at, after `prove` accepted this message. Raises
    NotSignedIn.
    """
    signer, subject = str(message["account"]), str(message["subject"])
    if not subject and not _live_role(replayed, signer, now):
        subject = _only_subject(engine, signer)
    _check_known(replayed, signer, subject, now)
    token, expires = secrets.token_urlsafe(32), now + SESSION_SECONDS
    with engine.begin() as connection:
        connection.execute(delete(Session).where(Session.expires <= now))
        connection.execute(
            insert(Session).values(
                token_hash=_hash(token), account=signer, subject=subject, expires=expires
            )
        )
        _sweep(connection, Session, Session.token_hash, Session.account == signer, MOST_SESSIONS)
    return token, expires


def caller_of(engine: Engine, replayed: ReplayedState, token: str, now: int) -> Caller:
    """The caller with this token. Raises NotSignedIn."""
    query = select(Session).where(Session.token_hash == _hash(token), Session.expires > now)
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotSignedIn("there is no such session, or it has ended", _AGAIN)
    return Caller(row.account, row.subject, _live_role(replayed, row.account, now), row.expires)


def end(engine: Engine, token: str) -> None:
    """Delete the session of this token, if it exists."""
    with engine.begin() as connection:
        connection.execute(delete(Session).where(Session.token_hash == _hash(token)))


def _sweep(
    connection: Connection,
    table: type[Challenge] | type[Session],
    key: InstrumentedAttribute[str],
    condition: ColumnElement[bool],
    most: int,
) -> None:
    """Keep the newest `most` rows."""
    count = connection.execute(
        select(func.count()).select_from(table).where(condition)
    ).scalar_one()
    if count > most:
        oldest = select(key).where(condition).order_by(table.expires).limit(count - most)
        connection.execute(delete(table).where(key.in_(oldest)))


def _use_challenge(engine: Engine, nonce: str, now: int) -> None:
    live = Challenge.nonce == nonce, Challenge.expires > now
    # Read first: an invented nonce must not take the database's write lock.
    with engine.connect() as connection:
        count = len(connection.execute(select(Challenge.nonce).where(*live)).all())
    if count:
        with engine.begin() as connection:
            count = connection.execute(delete(Challenge).where(*live)).rowcount
    if count != 1:
        raise NotSignedIn("the challenge is unknown, used or expired", "ask for a new challenge")


def _only_subject(engine: Engine, signer: str) -> str:
    """The id of the person enrolled with this account, "" for nobody. Raises NotSignedIn if there
    are several: none of them is chosen here.
    """
    subjects = subjects_of(engine, signer[2:].lower(), most=2)
    if len(subjects) > 1:
        raise NotSignedIn(
            "several people are enrolled with this account", "sign in with the id of one of them"
        )
    return subjects[0] if subjects else ""


def _check_known(replayed: ReplayedState, signer: str, subject: str, now: int) -> None:
    if subject:
        if replayed.signers.get(bytes.fromhex(subject)) != bytes.fromhex(signer[2:]):
            raise NotSignedIn(
                "nobody is enrolled under this id with this key",
                "accept your invitation first, or use the key of your enrolment",
            )
    elif not _live_role(replayed, signer, now):
        raise NotSignedIn(
            "this account holds no role now, and nobody is enrolled with it",
            "accept your invitation first, or choose the account of your enrolment or role",
        )


def _live_role(replayed: ReplayedState, account: str, now: int) -> int:
    member = replayed.members.get(bytes.fromhex(account[2:]))
    return member.role if member and member.start <= now < member.end else 0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
