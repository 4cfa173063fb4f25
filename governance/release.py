"""From a sealed output to a released one: looks, the two signatures over one decision, rejection.

1. A checker looks (`look`, a transaction).
2. The first yes is kept with its decision (`approve`); the second checker signs the identical one.
3. With two live checkers the contract re-reads every granted person's consent, then releases or refuses.
Who may sign is checked here first only to keep strangers' rows out of the table; the contract checks all of it again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address
from sqlalchemy import Connection, Engine, delete, insert, select

from chain.errors import Refused
from chain.events import Receipt, Released, ReleaseRefused
from chain.ledger import Ledger, message_tuple
from chain.signatures import recover, typed_data
from chain.vocabulary import Role
from governance.errors import DecisionPending, NotFound, RequestRefused
from governance.readmodel.tables import Approval
from governance.rules.encoding import canonical_json
from governance.rules.replayed import ReplayedState

_ONE_AT_A_TIME = threading.Lock()  # two yeses at once must not both find the other one missing


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision that waits for its second signature: its fields (bytes in hex) and who signed it."""

    decision: dict[str, Any]
    checkers: tuple[str, ...]


def look(ledger: Ledger, review: Mapping[str, Any], signature: bytes) -> Receipt:
    """Record that a checker looks; the broker gives pieces to the review's key against this receipt."""
    return ledger.relay("AccessLedger", "viewOutput", message_tuple("Review", review), signature)


def reject(ledger: Ledger, decision: Mapping[str, Any], signature: bytes) -> Receipt:
    """Record a checker's no; the run ends."""
    return ledger.relay("AccessLedger", "reject", message_tuple("Decision", decision), signature)


def checkers_of(receipt: Receipt) -> list[str]:
    """The two who released."""
    released = receipt.one(Released)
    return [released.checkerA, released.checkerB]


def account_of(account: bytes) -> str:
    """20 bytes as a checksummed address."""
    return to_checksum_address(account)


def pending(engine: Engine, run: str, attempt: int, now: int) -> Pending | None:
    """The decision that waits for this attempt, if its deadline has not passed."""
    with engine.connect() as connection:
        rows = _waiting(connection, run, attempt, now)
    return (
        Pending(json.loads(rows[0].decision), tuple(row.checker for row in rows)) if rows else None
    )


def approve(
    ledger: Ledger,
    engine: Engine,
    replayed: ReplayedState,
    decision: Mapping[str, Any],
    signature: bytes,
    now: int,
) -> Receipt | None:
    """Keep one checker's yes; with the second, release and return the receipt (None: still one missing).

    `fold` is at the newest head. Raises NotFound, Refused (not a live checker who looked, another seal),
    DecisionPending, RequestRefused when the ledger recorded a refused release.
    """
    checker = recover(ledger.domain, "Decision", decision, signature)
    run, attempt = bytes(decision["run"]), int(decision["attempt"])
    with _ONE_AT_A_TIME:
        _check_may_sign(replayed, decision, bytes.fromhex(checker[2:]), now)
        signatures = _keep(engine, decision, checker, signature, now)
        if len(signatures) < 2:
            return None
        subjects, epochs = zip(
            *((subject, epoch) for subject, epoch, _ in replayed.granted(run, attempt)), strict=True
        )
        two = [
            signatures[checker]
            for checker in sorted(signatures, key=lambda account: int(account, 16))[:2]
        ]
        try:
            receipt = ledger.relay(
                "AccessLedger",
                "release",
                message_tuple("Decision", decision),
                list(subjects),
                list(epochs),
                two,
            )
        except Refused:
            _forget(engine, run.hex(), attempt)
            raise
        _forget(
            engine, run.hex(), attempt
        )  # not after LedgerDown: nothing is known then, and both still want it
    refused = receipt.all(ReleaseRefused)
    if refused:
        raise RequestRefused(
            refused[0].reason, "the output stays sealed; a new attempt runs without that person"
        )
    return receipt


def _check_may_sign(
    replayed: ReplayedState, decision: Mapping[str, Any], checker: bytes, now: int
) -> None:
    """What the contract would say to this signature, in its order; each refusal has the contract's name."""
    run, attempt = (
        replayed.runs.get(decision["run"]),
        replayed.attempts.get((decision["run"], decision["attempt"])),
    )
    if run is None:
        raise NotFound("there is no such run", "check the id; a new run shows up once it is mined")
    rules = {
        "ReasonInvalid": decision["reason"] == 0,
        "DeadlinePassed": now <= decision["deadline"],
        "RunEnded": not run.ended,
        "NotNewestAttempt": decision["attempt"] == run.attempts,
        "CheckerConflict": checker != run.analyst,
        "NotLive": replayed.member_live(checker, Role.CHECKER, now),
        "NotSealed": attempt is not None and attempt.seal_hash,
        "SealMismatch": attempt is not None and attempt.seal_hash == decision["sealHash"],
        "NotViewed": attempt is not None and checker in attempt.views,
    }
    for name, holds in rules.items():
        if not holds:
            raise Refused(name, {}, "the ledger's rules do not allow this")


def _keep(
    engine: Engine, decision: Mapping[str, Any], checker: str, signature: bytes, now: int
) -> dict[str, bytes]:
    """The signatures over this decision by checker, this one among them. Raises DecisionPending."""
    text = canonical_json(
        {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in (
                (name, decision[name]) for name, _ in typed_data()["types"]["Decision"]
            )
        }
    ).decode()
    run, attempt = bytes(decision["run"]).hex(), int(decision["attempt"])
    with engine.begin() as connection:
        others = [row for row in _waiting(connection, run, attempt, now) if row.checker != checker]
        if any(row.decision != text for row in others):
            raise DecisionPending(
                "another decision on this output waits for its second signature",
                "sign exactly that one: it is shown with the run",
            )
        connection.execute(
            delete(Approval).where(
                Approval.run == run,
                Approval.attempt == attempt,
                (Approval.checker == checker) | (Approval.deadline < now),
            )
        )
        connection.execute(
            insert(Approval).values(
                run=run,
                attempt=attempt,
                checker=checker,
                decision=text,
                signature=signature.hex(),
                deadline=decision["deadline"],
            )
        )
    return {checker: signature} | {row.checker: bytes.fromhex(row.signature) for row in others}


def _forget(engine: Engine, run: str, attempt: int) -> None:
    with engine.begin() as connection:
        connection.execute(delete(Approval).where(Approval.run == run, Approval.attempt == attempt))


def _waiting(connection: Connection, run: str, attempt: int, now: int) -> list[Any]:
    query = select(Approval).where(
        Approval.run == run, Approval.attempt == attempt, Approval.deadline >= now
    )
    return list(connection.execute(query.order_by(Approval.checker)))
