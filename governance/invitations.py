"""Invitations: enrolments that a registrar signed and the person has not signed yet.

An invitation is shown to whoever has its address. It holds the person's id and key, which the
ledger shows once she is enrolled, and only her own key can accept it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, delete, func, select

from chain.signatures import Domain, recover
from chain.vocabulary import Role
from governance.errors import NotAllowed, NotFound, RequestInvalid
from governance.readmodel.database import upsert
from governance.readmodel.tables import Invitation
from governance.rules.encoding import canonical_json, strict_json
from governance.rules.replayed import ReplayedState

MOST_OPEN = 5000  # of one registrar
LONGEST_SECONDS = 90 * 86_400  # until an invitation's deadline
KEPT_SECONDS = 90 * 86_400  # an expired one is shown so long


@dataclass(frozen=True, slots=True)
class InvitationState:
    """An invitation as it was sent; state: open, accepted or expired."""

    digest: str
    enrolment: dict[str, Any]
    signature: str
    by: str
    at: int
    deadline: int
    state: str


def invite(
    engine: Engine,
    domain: Domain,
    replayed: ReplayedState,
    wire: Mapping[str, Any],
    message: Mapping[str, Any],
    signature: bytes,
    now: int,
) -> str:
    """Keep a registrar's invitation; its digest, which is its address.

    Raises NotAllowed, RequestInvalid, SignatureMalformed.
    """
    registrar = recover(domain, "Enrolment", message, signature)
    if not replayed.member_live(bytes.fromhex(registrar[2:]), Role.REGISTRAR, now):
        raise NotAllowed("only a registrar invites", "sign with a registrar's key")
    if not now < message["deadline"] <= now + LONGEST_SECONDS:
        raise RequestInvalid(
            "the invitation's deadline is over, or more than 90 days away", "begin it again"
        )
    if message["subject"] in replayed.signers:
        raise RequestInvalid("this person is enrolled already", "nothing is left to do")
    text = canonical_json(dict(wire)).decode()
    digest = sha256(text.encode()).hexdigest()
    with engine.begin() as connection:
        connection.execute(delete(Invitation).where(Invitation.deadline <= now - KEPT_SECONDS))
        count = select(func.count()).select_from(Invitation).where(Invitation.by == registrar)
        if connection.execute(count).scalar_one() >= MOST_OPEN:
            raise RequestInvalid(
                f"{MOST_OPEN} invitations of this registrar are kept already",
                "wait until old ones have expired",
            )
        upsert(
            connection,
            Invitation,
            [
                Invitation(
                    digest=digest,
                    subject=message["subject"].hex(),
                    enrolment=text,
                    signature=signature.hex(),
                    by=registrar,
                    at=now,
                    deadline=message["deadline"],
                )
            ],
        )
    return digest


def find_invitation(
    engine: Engine, replayed: ReplayedState, digest: str, now: int
) -> InvitationState:
    """Raises NotFound."""
    with engine.connect() as connection:
        row = connection.execute(
            select(Invitation).where(Invitation.digest == digest)
        ).one_or_none()
    if row is None:
        raise NotFound("there is no such invitation", "ask the registrar for a new one")
    return _state_of(Invitation(**row._mapping), replayed, now)


def invitations_by(
    engine: Engine, replayed: ReplayedState, registrar: str, now: int, limit: int, offset: int = 0
) -> list[InvitationState]:
    """A registrar's invitations, newest first."""
    query = (
        select(Invitation)
        .where(Invitation.by == registrar)
        .order_by(Invitation.at.desc(), Invitation.digest)
        .limit(limit)
        .offset(offset)
    )
    with engine.connect() as connection:
        rows = [Invitation(**row._mapping) for row in connection.execute(query)]
    return [_state_of(row, replayed, now) for row in rows]


def _state_of(row: Invitation, replayed: ReplayedState, now: int) -> InvitationState:
    accepted = bytes.fromhex(row.subject) in replayed.signers
    state = "accepted" if accepted else "open" if now < row.deadline else "expired"
    enrolment: Any = strict_json(row.enrolment.encode())
    return InvitationState(
        row.digest, dict(enrolment), row.signature, row.by, row.at, row.deadline, state
    )
