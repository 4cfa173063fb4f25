"""Deliveries: notices on their way out, by mail or webhook, at least once.

1. `plan` makes the deliveries of new notices, once each.
2. `take` gives the next one that is due to one process, and moves its next time on: if that process
   is killed before it says how it went, another takes it after LEASE_SECONDS.
3. `done` ends it; `failed` lets it wait, one minute first, then twice as long, up to six hours, and
   gives it up after MOST_ATTEMPTS, which is about three days.
Each attempt has the same reference, by which a receiver knows a second copy. That of a mail is
drawn: the hash of a step and a patient's id could be compared with the ledger by any mail server on
the way.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from hashlib import sha256
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, update

from governance.notices.events import lock
from governance.notices.inbox import is_patient
from governance.readmodel.database import insert_new, upsert
from governance.readmodel.tables import Delivery, MailAddress, Notice

Channel = Literal["mail", "webhook"]
MAIL: Channel = "mail"
WEBHOOK: Channel = "webhook"
LINK = "confirm-address"  # the kind of the mail with the link that confirms an address
FIRST_PAUSE, LONGEST_PAUSE = 60, 6 * 3600
MOST_ATTEMPTS = 20
LEASE_SECONDS = 300  # more than a slow server may take for one mail
YOUNG_SECONDS = 3 * 86_400  # what happened before that is in the inbox only
KEPT_SECONDS = 14 * 86_400
_BATCH = 500
_WAITING, _SENT, _FAILED = "waiting", "sent", "failed"


def plan(engine: Engine, channels: Collection[Channel], now: int) -> bool:
    """Make the deliveries of notices that have none yet; returns whether there may be more."""
    new = select(Notice).where(Notice.planned.is_(False)).limit(_BATCH)
    with engine.connect() as connection:
        if connection.execute(new.limit(1)).first() is None:
            return False
    with engine.begin() as connection:
        lock(connection)
        notices = [Notice(**row._mapping) for row in connection.execute(new)]
        young = [notice for notice in notices if notice.at > now - YOUNG_SECONDS]
        rows: list[Delivery] = []
        if MAIL in channels:
            reachable = _reachable(connection, {notice.recipient for notice in young})
            rows += [
                _delivery(MAIL, notice.id, secrets.token_hex(32), notice, now)
                for notice in young
                if notice.recipient in reachable
            ]
        if WEBHOOK in channels:
            # One for all recipients, and none of what concerns a patient.
            own = {n.origin: n for n in young if not is_patient(n.recipient)}
            rows += [_delivery(WEBHOOK, origin, origin, n, now) for origin, n in own.items()]
        insert_new(connection, Delivery, rows)
        ids = [notice.id for notice in notices]
        connection.execute(update(Notice).where(Notice.id.in_(ids)).values(planned=True))
    return len(notices) == _BATCH


def _reachable(connection: Connection, recipients: Collection[str]) -> set[str]:
    query = select(MailAddress.recipient).where(
        MailAddress.recipient.in_(recipients), MailAddress.address != ""
    )
    return set(connection.execute(query).scalars())


def _delivery(channel: Channel, name: str, reference: str, notice: Notice, now: int) -> Delivery:
    return Delivery(
        channel=channel,
        name=name,
        reference=reference,
        recipient=notice.recipient if channel == MAIL else "",
        kind=notice.kind,
        about=notice.about if channel == WEBHOOK else "",
        at=notice.at,
        attempts=0,
        next_at=now,
        state=_WAITING,
    )


def send_link(connection: Connection, recipient: str, now: int) -> None:
    """Have a link mailed that confirms an address; an earlier one that still waits is replaced."""
    link = Delivery(
        channel=MAIL,
        name=sha256(f"{LINK}:{recipient}".encode()).hexdigest(),
        reference=secrets.token_hex(32),
        recipient=recipient,
        kind=LINK,
        about="",
        at=now,
        attempts=0,
        next_at=now,
        state=_WAITING,
    )
    upsert(connection, Delivery, [link])


def take(engine: Engine, channel: Channel, now: int) -> Delivery | None:
    """The next delivery that is due, for this process alone until LEASE_SECONDS from now."""
    due = select(Delivery).where(
        Delivery.channel == channel, Delivery.state == _WAITING, Delivery.next_at <= now
    )
    while True:
        with engine.connect() as connection:
            query = due.order_by(Delivery.next_at).limit(1)
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        known = Delivery(**row._mapping)
        taken = {"attempts": known.attempts + 1, "next_at": now + LEASE_SECONDS}
        with engine.begin() as connection:
            mine = connection.execute(
                update(Delivery).where(*_same(known), Delivery.next_at <= now).values(taken)
            )
        if mine.rowcount == 1:
            return Delivery(**{**row._mapping, **taken})


def address_for(engine: Engine, delivery: Delivery) -> str:
    """Where a mail goes now, "" if its recipient has no confirmed address any more."""
    query = select(MailAddress.address).where(MailAddress.recipient == delivery.recipient)
    with engine.connect() as connection:
        return str(connection.execute(query).scalar() or "")


def done(engine: Engine, delivery: Delivery) -> None:
    """It was sent, or nobody wants it any more."""
    with engine.begin() as connection:
        connection.execute(update(Delivery).where(*_same(delivery)).values(state=_SENT))


def failed(engine: Engine, delivery: Delivery, now: int) -> bool:
    """It could not be sent; returns whether it was given up."""
    over = delivery.attempts >= MOST_ATTEMPTS
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (delivery.attempts - 1))
    change = {"state": _FAILED} if over else {"next_at": now + pause}
    with engine.begin() as connection:
        connection.execute(update(Delivery).where(*_same(delivery)).values(change))
    return over


def count_given_up(engine: Engine, recipient: str) -> int:
    """Mails to this person that were given up lately."""
    query = (
        select(func.count())
        .select_from(Delivery)
        .where(Delivery.recipient == recipient, Delivery.state == _FAILED)
    )
    with engine.connect() as connection:
        return connection.execute(query).scalar_one()


def drop_mails(connection: Connection, recipient: str) -> None:
    """Nothing more is mailed to this person."""
    connection.execute(delete(Delivery).where(Delivery.recipient == recipient))


def sweep(connection: Connection, now: int) -> None:
    """Delete what was sent or given up long ago."""
    old = (Delivery.at <= now - KEPT_SECONDS, Delivery.state != _WAITING)
    connection.execute(delete(Delivery).where(*old))


def _same(delivery: Delivery) -> tuple[ColumnElement[bool], ...]:
    """The row, unless another process or a newer link has taken it over."""
    return (
        Delivery.channel == delivery.channel,
        Delivery.name == delivery.name,
        Delivery.reference == delivery.reference,
        Delivery.attempts == delivery.attempts,
        Delivery.state == _WAITING,
    )
