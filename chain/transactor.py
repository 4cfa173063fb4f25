"""Sends transactions: one sender for each key, signed bytes stored before they are sent.

1. The call is simulated first (`eth_estimateGas`): a refusal costs nothing and has its name.
2. The transaction is signed once and stored in the outbox.
3. The same bytes are sent, and sent again after a crash: they can never become a second
   transaction. A sender whose calls are useless later (`resend` false) drops them instead, and its
   next call takes their nonce.
4. Only a mined receipt with status 1 is a success, never the response to sending.
The caller MUST use one Transactor for a key.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from eth_utils.crypto import keccak

from chain.accounts import Account
from chain.errors import ChainError, LedgerBusy, LedgerDown, LedgerUnsure
from chain.events import Receipt, parse_all
from chain.wallets import Wallet

GAS_CAP = 16_777_216  # EIP-7825, a transaction
MOST_WAITING = 16  # calls that wait for their turn, each in a thread of its caller's
Call = Callable[[str, list[Any]], Any]


class Outbox(Protocol):
    """Durable storage of signed bytes until their receipt is seen."""

    def put(self, sender: str, nonce: int, tx: bytes, raw: bytes) -> None: ...
    def settle(self, tx: bytes) -> None: ...
    def pending(self, sender: str) -> list[tuple[int, bytes, bytes]]: ...


class _Turns:
    """A lock with two levels: whoever asks as `first` gets it before all others that wait.

    Of the others at most MOST_WAITING wait; a further one is refused at once.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting = {True: 0, False: 0}  # by whether they are first

    @contextmanager
    def take(self, first: bool) -> Iterator[None]:
        """Raises LedgerBusy."""
        with self._changed:
            if not first and self._waiting[False] >= MOST_WAITING:
                raise LedgerBusy(
                    "too many messages wait for the ledger, so this one was not sent",
                    "send it again in a minute",
                )
            self._waiting[first] += 1
            try:
                self._changed.wait_for(
                    lambda: not self._taken and (first or not self._waiting[True])
                )
            finally:
                self._waiting[first] -= 1
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


class Transactor:
    """Sends for one wallet; calls are serialised."""

    def __init__(
        self,
        call: Call,
        wallet: Wallet,
        outbox: Outbox,
        chain_id: int,
        timeout: float = 30.0,
        resend: bool = True,
    ) -> None:
        self.address = wallet.address
        self._call = call
        self._wallet = wallet
        self._outbox = outbox
        self._chain_id = chain_id
        self._timeout = timeout
        self._resend = resend
        self._turns = _Turns()

    def send(self, to: str | None, data: bytes, first: bool = False) -> Receipt:
        """Send one call (or, with `to` None, a deployment) and wait until it is mined.

        first: before the calls that wait already. Raises Refused if a contract refuses, LedgerBusy
        if too many wait, LedgerDown if the node does not respond; after its subclass LedgerUnsure
        the bytes are in the outbox, and `resume` finds out whether they were mined.
        """
        with self._turns.take(first):
            if self._outbox.pending(self.address):
                self._resume()
            request = {"from": self.address, "data": "0x" + data.hex()} | ({"to": to} if to else {})
            estimate = int(self._call("eth_estimateGas", [request]), 16)
            nonce = int(self._call("eth_getTransactionCount", [self.address, "latest"]), 16)
            fields: dict[str, Any] = {
                "type": 2,
                "chainId": self._chain_id,
                "nonce": nonce,
                "gas": min(GAS_CAP, estimate + estimate // 4 + 20_000),
                "maxFeePerGas": 0,
                "maxPriorityFeePerGas": 0,
                "value": 0,
                "data": data,
            } | ({"to": to} if to else {})
            raw = bytes(Account.sign_transaction(fields, self._wallet.key).raw_transaction)
            tx = keccak(raw)
            self._outbox.put(self.address, nonce, tx, raw)
            try:
                self._call("eth_sendRawTransaction", ["0x" + raw.hex()])
                return self._settle(tx, request)
            except LedgerDown as error:
                raise LedgerUnsure(str(error), error.hint) from None

    def resume(self) -> list[Receipt]:
        """Finish transactions signed before a crash: get the receipt, or else send again, or drop
        them.
        """
        with self._turns.take(first=True):
            return self._resume()

    def _resume(self) -> list[Receipt]:
        receipts = []
        for nonce, tx, raw in self._outbox.pending(self.address):
            if self._call("eth_getTransactionReceipt", ["0x" + tx.hex()]) is None:
                used = int(self._call("eth_getTransactionCount", [self.address, "latest"]), 16)
                # If another transaction took the nonce, this one can never be mined.
                if used > nonce or not self._resend:
                    self._outbox.settle(tx)
                    continue
                # A node refuses bytes that it has already and that wait for their block.
                if self._call("eth_getTransactionByHash", ["0x" + tx.hex()]) is None:
                    self._call("eth_sendRawTransaction", ["0x" + raw.hex()])
            receipts.append(self._settle(tx, None))
        return receipts

    def _settle(self, tx: bytes, request: dict[str, Any] | None) -> Receipt:
        deadline = time.monotonic() + self._timeout
        pause = 0.002
        while (raw := self._call("eth_getTransactionReceipt", ["0x" + tx.hex()])) is None:
            if time.monotonic() > deadline:
                raise LedgerDown(
                    "the transaction was sent but is not mined",
                    "wait, then ask again; it is not sent twice",
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        self._outbox.settle(tx)
        if int(raw["status"], 16) != 1:
            if request is not None:
                # Raises Refused with the name of the contract's error.
                self._call("eth_call", [request, raw["blockNumber"]])
            raise ChainError(
                "the transaction was mined but reverted", "look at the state and sign anew"
            )
        events = tuple(parse_all(raw["logs"]))
        block_hash = bytes.fromhex(raw["blockHash"][2:])
        return Receipt(tx, int(raw["blockNumber"], 16), block_hash, int(raw["gasUsed"], 16), events)
