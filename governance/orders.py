"""Orders of the committee that wait for a quorum's signatures: role changes, voided registrations.

1. Each member signs the same message; `sign` checks the signer and keeps the signature.
2. With the quorum's last signature the message is sent to the contract, which checks all of them.
A signature is kept only from a live member, and every order ends with its deadline, so strangers
cannot fill the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, delete, func, select, update

from chain.events import Receipt
from chain.ledger import Ledger
from chain.signatures import recover
from chain.vocabulary import Role
from governance import permits
from governance.errors import NotAllowed, RequestInvalid
from governance.notices.inbox import News, add, holders_of
from governance.readmodel.database import insert_new
from governance.readmodel.tables import Order
from governance.rules.encoding import canonical_json, strict_json
from governance.rules.replayed import ReplayedState

KINDS: Mapping[str, Callable[[Ledger, Mapping[str, Any], Sequence[bytes]], Receipt]] = {
    "RoleChange": permits.set_role,
    "VoidRecords": permits.void_records,
}
LONGEST_SECONDS = 30 * 86_400  # until an order's deadline
MOST_OPEN = 200  # orders at a time
MOST_OF_ONE = 50  # that one member began, done and over ones among them
SHORTEST_SECONDS = 600  # until an order's deadline
KEPT_SECONDS = 30 * 86_400  # a finished order is shown so long


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order: its message as it is sent, its signatures by account, and the transaction that
    recorded it.
    """

    digest: str
    kind: str
    message: dict[str, Any]
    signatures: dict[str, str]
    by: str
    deadline: int
    done: str

    @property
    def signers(self) -> tuple[str, ...]:
        return tuple(self.signatures)


def sign(
    ledger: Ledger,
    engine: Engine,
    replayed: ReplayedState,
    quorum: int,
    kind: str,
    wire: Mapping[str, Any],
    message: Mapping[str, Any],
    signature: bytes,
    now: int,
) -> tuple[str, Receipt | None]:
    """Keep a member's signature; the quorum's last one sends the order. The order's digest, and the
    receipt once it was sent.

    `wire` is the message as it was sent, `message` the typed one; the state is at the newest head.
    Raises NotAllowed, RequestInvalid, SignatureMalformed, Refused.
    """
    signer = recover(ledger.domain, kind, message, signature)
    if not _is_member(replayed, signer, now):
        raise NotAllowed("only a member of the committee signs orders", "sign with a member's key")
    if not now + SHORTEST_SECONDS <= message["deadline"] <= now + LONGEST_SECONDS:
        raise RequestInvalid(
            "the order's deadline is less than ten minutes or more than 30 days away",
            "begin the order again",
        )
    text = canonical_json(dict(wire)).decode()
    digest = sha256(f"{kind}:{text}".encode()).hexdigest()
    signatures = _keep(
        engine,
        digest,
        kind,
        text,
        signer,
        signature,
        message["deadline"],
        now,
        holders_of(replayed, Role.COMMITTEE, now),
    )
    live = {who: given for who, given in signatures.items() if _is_member(replayed, who, now)}
    if len(live) < quorum:
        return digest, None
    receipt = KINDS[kind](ledger, message, [bytes.fromhex(given) for given in live.values()])
    with engine.begin() as connection:
        connection.execute(
            update(Order).where(Order.digest == digest).values(done=receipt.tx.hex())
        )
    return digest, receipt


def list_orders(engine: Engine, now: int) -> list[OpenOrder]:
    """Orders that wait, and those that were done lately, newest first; at most MOST_OPEN."""
    query = (
        select(Order)
        .where((Order.deadline > now) | (Order.done != ""), Order.at > now - KEPT_SECONDS)
        .order_by(Order.at.desc(), Order.digest)
        .limit(MOST_OPEN)
    )
    with engine.connect() as connection:
        return [
            OpenOrder(
                row.digest,
                row.kind,
                _object(row.message),
                _object(row.signatures),
                row.by,
                row.deadline,
                row.done,
            )
            for row in connection.execute(query)
        ]


def _is_member(replayed: ReplayedState, account: str, now: int) -> bool:
    return replayed.member_live(bytes.fromhex(account[2:]), Role.COMMITTEE, now)


def _keep(
    engine: Engine,
    digest: str,
    kind: str,
    text: str,
    signer: str,
    signature: bytes,
    deadline: int,
    now: int,
    members: Sequence[str],
) -> dict[str, str]:
    """Store the signature with those before it; all of them by account. Of a new order, the other
    members get a notice. Raises RequestInvalid.
    """
    with engine.begin() as connection:
        connection.execute(
            delete(Order).where(Order.deadline <= now, Order.at <= now - KEPT_SECONDS)
        )
        wanted = select(Order).where(Order.digest == digest)
        if connection.execute(wanted).first() is None:
            waiting = select(func.count()).select_from(Order).where(Order.done == "")
            if connection.execute(waiting.where(Order.deadline > now)).scalar_one() >= MOST_OPEN:
                raise RequestInvalid(
                    f"{MOST_OPEN} orders wait for signatures already", "sign or leave those first"
                )
            own = select(func.count()).select_from(Order).where(Order.by == signer)
            if connection.execute(own).scalar_one() >= MOST_OF_ONE:
                raise RequestInvalid(
                    f"this member began {MOST_OF_ONE} orders in 30 days", "let another one begin it"
                )
            others = [account for account in members if account != signer]
            add(connection, [News(who, "order-waits", digest, digest, now) for who in others])
            new = Order(
                digest=digest,
                kind=kind,
                message=text,
                signatures="{}",
                by=signer,
                at=now,
                deadline=deadline,
                done="",
            )
            insert_new(connection, Order, [new])
        # Locked: two processes that add signatures at once would lose one of them.
        row = connection.execute(wanted.with_for_update()).one()
        if row.done:
            raise RequestInvalid("this order was carried out already", "look at the list of roles")
        signatures = _object(row.signatures) | {signer: signature.hex()}
        text = canonical_json(signatures).decode()
        connection.execute(update(Order).where(Order.digest == digest).values(signatures=text))
    return signatures


def _object(text: str) -> dict[str, Any]:
    value: Any = strict_json(text.encode())
    return dict(value)
