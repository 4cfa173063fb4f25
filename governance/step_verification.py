"""Verification of one step of the trail, from the ledger and not from the database: separate
checks, with their times.

A check is `ok` only after it was carried out; if a service does not respond it is `not-checked`,
never `ok`. The rules are executed again from the first block on with every signature, independent
of the state of the web process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from sqlalchemy import Engine, select

from chain import events as ev
from chain.errors import ChainError, LedgerDown, SignatureMalformed
from chain.ledger import Ledger
from chain.signatures import recover
from chain.vocabulary import Role
from governance.errors import BrokerRefused, BrokerUnavailable, BucketUnavailable, GovernanceError
from governance.objects.ingest import load_leaves
from governance.objects.vault import Bucket
from governance.readmodel.projection import Projection, event_values
from governance.readmodel.tables import Event
from governance.readmodel.trail_queries import Step, find_step
from governance.rules.encoding import VerifyError
from governance.rules.ledger_data import identity_id, parse_block, parse_log, parse_transaction
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import load_crypto

_MOST = 40  # objects of one list that are fetched
State = Literal["ok", "no", "not-checked"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; `sentence` states it, `milliseconds` is its duration."""

    name: str
    state: State
    sentence: str
    milliseconds: float


class _Differs(Exception):
    """A check that was carried out and failed."""


@dataclass(slots=True)
class Recheck:
    """The checks of one step; `witness` returns the broker's signed head, None without one."""

    ledger: Ledger
    engine: Engine
    projection: Projection
    bucket: Bucket
    witness: Callable[[], Mapping[str, Any] | None]
    step: Step
    # The state before this step, once it was computed.
    before: ReplayedState | None = field(default=None, init=False)

    def checks(self) -> list[Check]:
        """All checks of this step, in order. Never raises for a failed check."""
        named: list[tuple[str, Callable[[], str]]] = [
            ("The ledger's newest head is the one we computed", self._head),
            ("Our row says what the ledger's event says", self._rows),
            ("The rules, executed again up to this step", self._before),
            ("This step's signatures and result", self._this),
            ("A key broker, with a node of its own, vouches for it", self._witnessed),
        ]
        for event in self.step.events:
            if event.name == "RecordsSealed":
                named.append(
                    (
                        "The encrypted records are in the bucket",
                        partial(self._records, event.fields),
                    )
                )
            if event.name == "Sealed":
                named.append(
                    ("The encrypted output is in the bucket", partial(self._output, event.fields))
                )
        return [_timed(name, check) for name, check in named]

    def _head(self) -> str:
        count, head = self.ledger.head()
        self.projection.sync()
        if find_step(self.engine, count).head != head.hex():
            raise _Differs("The ledger ends in another value than our rows.")
        return f"Both have {count} steps and end in the same value."

    def _rows(self) -> str:
        logs = [
            log
            for log in self.ledger.logs(self.step.block, self.step.block)
            if log["transactionHash"] == f"0x{self.step.tx}"
        ]
        expected = [Event(**event_values(event, self.step.count)) for event in ev.parse_all(logs)]
        with self.engine.connect() as connection:
            query = select(Event).where(Event.tx == self.step.tx).order_by(Event.position)
            rows = [Event(**row._mapping) for row in connection.execute(query)]
        if not expected or rows != expected:
            raise _Differs(
                "A row of ours is not what the ledger says: derive them again with volens rebuild."
            )
        return f"{len(expected)} events were read from the ledger again; all rows are equal."

    def _before(self) -> str:
        replayed = ReplayedState(self.ledger.identity)
        self._replay(replayed, lambda tx: tx != self.step.tx)
        if replayed.count != self.step.count - 1:
            raise _Differs(
                f"The ledger has {replayed.count} steps before it, not {self.step.count - 1}."
            )
        self.before = replayed
        return (
            f"{replayed.count} steps before it follow from the rules, with "
            f"{replayed.signatures} signatures checked."
        )

    def _this(self) -> str:
        replayed = self.before
        if replayed is None:
            raise _Differs("The steps before it could not be executed.")
        before = replayed.signatures
        self._replay(replayed, lambda tx: tx == self.step.tx)
        if (replayed.count, replayed.head.hex()) != (self.step.count, self.step.head):
            raise _Differs("The step leads to another value than the recorded one.")
        valid = replayed.signatures - before
        return (
            f"{valid} signature{'s hold' if valid != 1 else ' holds'}, every event follows, and the value is the "
            "recorded one."
        )

    def _replay(self, replayed: ReplayedState, take: Callable[[str], bool]) -> None:
        """Execute the selected transactions up to this step, and none after it."""
        crypto = load_crypto(replayed.identity)
        for tx, logs in self._transactions():
            if take(tx):
                transaction = parse_transaction(self.ledger.transaction(f"0x{tx}"))
                block = parse_block(self.ledger.block(transaction.block))
                replayed.apply(block, transaction, [parse_log(log) for log in logs], crypto)
            if tx == self.step.tx:
                return

    def _transactions(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        first = int(self.ledger.identity["deployBlock"])
        for page in self.ledger.all_logs(first, self.step.block):
            by_tx: dict[str, list[dict[str, Any]]] = {}
            for log in page:
                by_tx.setdefault(log["transactionHash"].removeprefix("0x"), []).append(log)
            yield from by_tx.items()

    def _witnessed(self) -> str:
        witness = self.witness()
        if witness is None:
            raise BrokerUnavailable("the key broker gives no witness now", "try again in a minute")
        message = {
            "identity": identity_id(self.ledger.identity),
            "block": witness["block"],
            "count": witness["count"],
            "blockHash": bytes.fromhex(witness["blockHash"]),
            "time": witness["time"],
            "head": bytes.fromhex(witness["head"]),
        }
        signer = recover(
            self.ledger.domain, "Witness", message, bytes.fromhex(witness["signature"])
        )
        self.projection.sync()
        if not self.projection.replayed.member_live(
            bytes.fromhex(signer[2:]), Role.BROKER, self.ledger.now()
        ):
            raise _Differs("The witness is not signed by a live key broker.")
        if (
            witness["count"] < self.step.count
            or find_step(self.engine, witness["count"]).head != witness["head"]
        ):
            raise _Differs("The broker's head is older than this step, or another one.")
        return (
            f"It signed the value after step {witness['count']}, which rests on this step and is "
            "the same as ours."
        )

    def _records(self, fields: Mapping[str, Any]) -> str:
        ingest, dataset, root = (
            bytes.fromhex(fields[name]) for name in ("ingest", "dataset", "leavesRoot")
        )
        leaves = load_leaves(self.bucket, ingest, dataset, root)
        chosen = leaves[:: max(1, -(-len(leaves) // _MOST))]
        for leaf in chosen:
            self.bucket.get(f"o/{leaf.ciphertext.hex()}")
        return (
            f"The list of {len(leaves)} records has the recorded root; {len(chosen)} of them, spread over the "
            "list, were fetched and have the listed hash."
        )

    def _output(self, fields: Mapping[str, Any]) -> str:
        self.projection.sync()
        attempt = self.projection.replayed.attempts[
            bytes.fromhex(fields["run"]), int(fields["attempt"])
        ]
        blob = self.bucket.get(f"o/{attempt.seal['ciphertextHash'].hex()}")
        return f"It was fetched ({len(blob)} bytes) and has the hash that was sealed."


def _timed(name: str, check: Callable[[], str]) -> Check:
    began = time.perf_counter()
    state: State = "ok"
    try:
        sentence = check()
    except (_Differs, VerifyError, SignatureMalformed) as error:
        state, sentence = "no", str(error)
    except (LedgerDown, BrokerUnavailable, BrokerRefused, BucketUnavailable) as error:
        state, sentence = "not-checked", str(error)
    except (ChainError, GovernanceError) as error:
        state, sentence = "no", str(error)
    sentence = sentence[:1].upper() + sentence[1:].rstrip(".") + "."
    return Check(name, state, sentence, (time.perf_counter() - began) * 1000)
