"""Output release: reviews of a sealed output, the two signatures over one decision, rejection.

1. A checker views the output (`view_output`, a transaction).
2. The first approval is stored with its decision (`approve`); the second checker signs the
   identical decision.
3. With two live checkers the contract reads every granted person's consent again, then releases or
   refuses.
The signer is checked here first only to keep invalid rows out of the table; the contract checks
everything again.
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
from chain.signatures import Domain, recover, typed_data
from chain.vocabulary import Role
from governance.errors import (
    DecisionPending,
    NotAllowed,
    NotFound,
    RequestInvalid,
    RequestRefused,
)
from governance.objects.broker_client import signer_of
from governance.orders import LONGEST_SECONDS
from governance.readmodel.tables import Approval
from governance.rules.encoding import canonical_json
from governance.rules.replayed import ReplayedState

_ONE_AT_A_TIME = threading.Lock()  # two simultaneous approvals must not both miss the other one


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision that waits for its second signature: its fields (bytes in hex) and its signers."""

    decision: dict[str, Any]
    checkers: tuple[str, ...]


def view_output(ledger: Ledger, review: Mapping[str, Any], signature: bytes) -> Receipt:
    """Record that a checker views the output; this receipt lets the broker release pieces to the
    review's key.
    """
    return ledger.relay("AccessLedger", "viewOutput", message_tuple("Review", review), signature)


def check_asker(
    domain: Domain, replayed: ReplayedState, analyst: str, question: Mapping[str, Any], now: int
) -> None:
    """Raise NotAllowed unless the run's analyst, or a live checker in whose name it is, signed this
    question for an output's key. The broker checks it again; strangers do not reach it.
    """
    signer = signer_of(domain, question)
    viewer = question.get("viewer")
    if viewer is None:
        holds = signer == bytes.fromhex(analyst[2:])
    else:
        holds = signer.hex() == viewer and replayed.member_live(signer, Role.CHECKER, now)
    if not holds:
        raise NotAllowed(
            "only the analyst of the run and checkers may ask for its key",
            "sign the question with the account in whose name it is",
        )


def reject(ledger: Ledger, decision: Mapping[str, Any], signature: bytes) -> Receipt:
    """Record a checker's rejection, which ends the run."""
    return ledger.relay("AccessLedger", "reject", message_tuple("Decision", decision), signature)


def checkers_of(receipt: Receipt) -> list[str]:
    """The two checkers who approved the release."""
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
    """Store one checker's approval; with the second, release and return the receipt (None: the
    second is missing).

    `replayed` is at the newest head. Raises NotFound, Refused (not a live checker who viewed it,
    another seal), RequestInvalid, DecisionPending, RequestRefused when the ledger recorded a
    refused release.
    """
    checker = recover(ledger.domain, "Decision", decision, signature)
    run, attempt = bytes(decision["run"]), int(decision["attempt"])
    with _ONE_AT_A_TIME:
        _check_may_sign(replayed, decision, bytes.fromhex(checker[2:]), now)
        if decision["deadline"] > now + LONGEST_SECONDS:
            # Until then no checker could sign another decision on this output.
            raise RequestInvalid(
                "the decision's deadline is more than 30 days away", "sign one with an earlier one"
            )
        signatures = _keep(engine, decision, checker, signature, now)
        if len(signatures) < 2:
            return None
        subjects, epochs = zip(
            *((subject, epoch) for subject, epoch, _ in replayed.granted(run, attempt)), strict=True
        )
        first_two = sorted(signatures, key=lambda account: int(account, 16))[:2]
        two = [signatures[account] for account in first_two]
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
        # Not after LedgerDown: the outcome is unknown then, and both approvals remain valid.
        _forget(engine, run.hex(), attempt)
    refused = receipt.all(ReleaseRefused)
    if refused:
        raise RequestRefused(
            refused[0].reason,
            "the output stays sealed; a new attempt runs without that person",
        )
    return receipt


def _check_may_sign(
    replayed: ReplayedState, decision: Mapping[str, Any], checker: bytes, now: int
) -> None:
    """The contract's checks of this signature, in its order; each refusal has the contract's name
    for it.
    """
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
    """Store this signature, and return all over this decision by checker. Raises DecisionPending."""
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
