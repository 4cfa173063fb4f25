"""Mail addresses: each person sets her own, and confirms it by a link that is mailed to it.

1. `ask` keeps an address as pending, and puts a mail with a link into the deliveries.
2. `draw_token` makes the link's token when that mail is sent; only its hash is kept.
3. `confirm` uses the token up: from then on notices are mailed there.
An address is in this table only. Nothing is sent to one that is not confirmed, but its link.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, Engine, delete, select, update

from governance.errors import NotFound, RequestInvalid
from governance.notices import deliveries
from governance.readmodel.database import insert_new
from governance.readmodel.tables import MailAddress

LONGEST = 254  # characters of an address (RFC 5321)
LINK_SECONDS = 86_400
MOST_ASKED = 3  # links of one recipient and UTC day
_DAY = 86_400
# What a mail server takes without quotes. No space, line end, comma or bracket can be in it, so
# that an address is one address, in an envelope and in a header.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Addresses:
    """A person's confirmed address and the one that waits; "" for none."""

    confirmed: str
    pending: str


def addresses_of(engine: Engine, recipient: str) -> Addresses:
    """For the person herself; nobody else may see it."""
    query = select(MailAddress).where(MailAddress.recipient == recipient)
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return Addresses(row.address, row.pending) if row else Addresses("", "")


def checked_address(text: str) -> str:
    """Raises RequestInvalid, which does not repeat it."""
    text = text.strip(" ")
    local, _, host = text.rpartition("@")
    labels = host.split(".")
    right = len(text) <= LONGEST and _LOCAL.fullmatch(local) and len(labels) > 1
    if not (right and ".." not in local and local[-1] != "." and all(map(_is_label, labels))):
        raise RequestInvalid(
            "this is not a mail address that can be used here", "write it like ada@example.org"
        )
    return text


def _is_label(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None


def ask(engine: Engine, recipient: str, text: str, now: int) -> None:
    """Keep an address until it is confirmed, and mail a link to it. The address before stays in use
    until then. Raises RequestInvalid.
    """
    address, today = checked_address(text), now // _DAY
    own = MailAddress.recipient == recipient
    with engine.begin() as connection:
        insert_new(
            connection,
            MailAddress,
            [
                MailAddress(
                    recipient=recipient,
                    address="",
                    pending="",
                    token_hash="",
                    until=0,
                    asked_on=today,
                    asked=0,
                )
            ],
        )
        new_day = update(MailAddress).where(own, MailAddress.asked_on != today)
        connection.execute(new_day.values(asked_on=today, asked=0))
        allowed = update(MailAddress).where(own, MailAddress.asked < MOST_ASKED)
        counted = connection.execute(
            allowed.values(
                asked=MailAddress.asked + 1,
                pending=address,
                token_hash="",
                until=now + LINK_SECONDS,
            )
        )
        if counted.rowcount != 1:
            raise RequestInvalid(
                f"{MOST_ASKED} confirmations were asked for today already", "try again tomorrow"
            )
        deliveries.send_link(connection, recipient, now)


def draw_token(engine: Engine, recipient: str, now: int) -> tuple[str, str] | None:
    """The address that waits and a new token for its link; an earlier token ends. None if no
    address waits any more.
    """
    token = secrets.token_urlsafe(32)
    waits = (
        MailAddress.recipient == recipient,
        MailAddress.pending != "",
    )
    with engine.begin() as connection:
        drawn = connection.execute(
            update(MailAddress)
            .where(*waits)
            .values(token_hash=_hash(token), until=now + LINK_SECONDS)
        )
        address = connection.execute(select(MailAddress.pending).where(*waits)).scalar()
    return (address, token) if drawn.rowcount and address else None


def confirm(engine: Engine, token: str, now: int) -> None:
    """Use a link's token up. Raises NotFound."""
    waits = (
        MailAddress.token_hash == _hash(token),
        MailAddress.pending != "",
        MailAddress.until > now,
    )
    with engine.begin() as connection:
        confirmed = connection.execute(
            update(MailAddress)
            .where(*waits)
            .values(address=MailAddress.pending, pending="", token_hash="", until=0)
        )
    if confirmed.rowcount != 1:
        raise NotFound(
            "this link is used, replaced by a newer one, or older than a day",
            "enter the address again on the page of your notices",
        )


def remove(engine: Engine, recipient: str) -> None:
    """Delete a person's addresses, and what waits to be mailed to her."""
    with engine.begin() as connection:
        connection.execute(
            update(MailAddress)
            .where(MailAddress.recipient == recipient)
            .values(address="", pending="", token_hash="", until=0)
        )
        deliveries.drop_mails(connection, recipient)


def sweep(connection: Connection, now: int) -> None:
    """Forget addresses that nobody confirmed, and rows that only count yesterday's links."""
    old = (MailAddress.pending != "", MailAddress.until <= now)
    connection.execute(update(MailAddress).where(*old).values(pending="", token_hash="", until=0))
    empty = (MailAddress.address == "", MailAddress.pending == "")
    connection.execute(delete(MailAddress).where(*empty, MailAddress.asked_on < now // _DAY))


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
