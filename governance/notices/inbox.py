"""A person's inbox: notices are added once, listed by pages, marked as read, and bounded.

A recipient is an account, or a patient's id. `add` runs in the caller's transaction: a notice is
kept with the change that it is about, or neither is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from eth_utils.address import to_checksum_address
from sqlalchemy import Connection, Engine, case, delete, func, select, update

from chain.vocabulary import Role
from governance.notices.kinds import KINDS
from governance.readmodel.database import insert_new
from governance.readmodel.tables import Notice
from governance.rules.replayed import ReplayedState

MOST_KEPT = 300  # of one recipient; the oldest read ones go first
KEPT_SECONDS = 180 * 86_400
_BATCH = 500  # names in one database query


@dataclass(frozen=True, slots=True)
class News:
    """A notice before it is kept. source: what caused it, e.g. a step of the trail; the same source
    and kind never make two notices for one recipient.
    """

    recipient: str
    kind: str
    source: str
    about: str
    at: int

    @property
    def origin(self) -> str:
        return sha256(f"{self.kind}:{self.source}".encode()).hexdigest()

    @property
    def id(self) -> str:
        return sha256(f"{self.origin}:{self.recipient}".encode()).hexdigest()


def is_patient(recipient: str) -> bool:
    return not recipient.startswith("0x")


def holders_of(replayed: ReplayedState, role: Role, now: int) -> list[str]:
    """The accounts that are live in a role."""
    members = list(replayed.members.items())  # another thread may add one
    return sorted(
        to_checksum_address(who)
        for who, member in members
        if member.role == role and member.start <= now < member.end
    )


def add(connection: Connection, news: Iterable[News]) -> None:
    """Keep what is new, and bound each inbox that it went to."""
    rows = [
        Notice(
            id=item.id,
            origin=item.origin,
            recipient=item.recipient,
            kind=item.kind,
            about=item.about,
            at=item.at,
        )
        for item in news
    ]
    for row in rows:
        if KINDS[row.kind].for_patients != is_patient(row.recipient):
            raise ValueError("a notice of this kind is not for this recipient")
    insert_new(connection, Notice, rows)
    recipients = sorted({row.recipient for row in rows})
    for first in range(0, len(recipients), _BATCH):
        _bound(connection, recipients[first : first + _BATCH])


def _bound(connection: Connection, recipients: Sequence[str]) -> None:
    count = func.count()
    full = (
        select(Notice.recipient, count)
        .where(Notice.recipient.in_(recipients))
        .group_by(Notice.recipient)
        .having(count > MOST_KEPT)
    )
    for recipient, kept in connection.execute(full).all():
        surplus = (
            select(Notice.id)
            .where(Notice.recipient == recipient)
            .order_by(case((Notice.read > 0, 0), else_=1), Notice.at, Notice.id)
            .limit(kept - MOST_KEPT)
        )
        connection.execute(delete(Notice).where(Notice.id.in_(surplus)))


def list_notices(engine: Engine, recipient: str, limit: int, offset: int = 0) -> list[Notice]:
    """Newest first."""
    query = (
        select(Notice)
        .where(Notice.recipient == recipient)
        .order_by(Notice.at.desc(), Notice.id)
        .limit(limit)
        .offset(offset)
    )
    with engine.connect() as connection:
        return [Notice(**row._mapping) for row in connection.execute(query)]


def count_unread(engine: Engine, recipient: str) -> int:
    query = (
        select(func.count())
        .select_from(Notice)
        .where(Notice.recipient == recipient, Notice.read == 0)
    )
    with engine.connect() as connection:
        return connection.execute(query).scalar_one()


def mark_read(engine: Engine, recipient: str, until: int, now: int) -> None:
    """Mark what the person has seen: her notices up to the time `until`."""
    unread = (Notice.recipient == recipient, Notice.read == 0, Notice.at <= until)
    with engine.begin() as connection:
        connection.execute(update(Notice).where(*unread).values(read=now))


def sweep(connection: Connection, now: int) -> None:
    """Delete what was kept long enough."""
    connection.execute(delete(Notice).where(Notice.at <= now - KEPT_SECONDS))
