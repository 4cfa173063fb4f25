"""A call that the ledger did not answer: sent again as it was, or forgotten, and never made twice."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from plain_node import plain_node

from api.demo.stage import MemoryOutbox, World
from api.operate.besu import write_network
from chain.errors import LedgerBusy, LedgerDown, LedgerUnsure
from chain.node import Node
from chain.transactor import MOST_WAITING, Transactor
from chain.wallets import Wallet


@pytest.mark.parametrize("resend", [True, False])
@pytest.mark.parametrize("arrived", [True, False])
def test_a_call_without_an_answer(world: World, resend: bool, arrived: bool) -> None:
    """`arrived`: the ledger took it, and only the answer was lost."""
    node, wallet, outbox, away = world.ledger.node, Wallet.new(), MemoryOutbox(), [True]

    def call(method: str, params: list[Any]) -> Any:
        if method == "eth_sendRawTransaction" and away and away.pop():
            if arrived:
                node.call(method, params)
            raise LedgerDown("it does not answer", "wait")
        return node.call(method, params)

    sender = Transactor(call, wallet, outbox, world.ledger.domain.chain_id, resend=resend)
    data = world.ledger.encode("PermitRegistry", "permitOf", bytes(32))
    target = world.ledger.domain.contracts["PermitRegistry"]
    with pytest.raises(LedgerUnsure):  # never "nothing was changed"
        sender.send(target, data)
    ((nonce, tx, _),) = outbox.pending(wallet.address)
    assert nonce == 0
    receipts = sender.resume()
    assert [receipt.tx for receipt in receipts] == ([tx] if resend or arrived else [])
    assert outbox.pending(wallet.address) == []
    sender.send(target, data)
    used = int(node.call("eth_getTransactionCount", [wallet.address, "latest"]), 16)
    assert used == len(receipts) + 1


def test_pending_transactions_are_finished_before_state_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the lost grant is mined first, and the next, signed before, replaces a version that is
    no longer there.
    """
    subjects = world.enrol(1)
    transactor = world.ledger._transactor
    call = transactor._call

    def away(method: str, params: list[Any]) -> Any:
        if method == "eth_sendRawTransaction":
            raise LedgerDown("it does not answer", "wait")
        return call(method, params)

    with monkeypatch.context() as patched:
        patched.setattr(transactor, "_call", away)
        with pytest.raises(LedgerDown):
            world.grant(subjects)
    assert len(world.ledger.resume()) == 1
    world.grant(subjects)


def test_a_call_that_waits_for_its_block_is_not_called_refused(tmp_path: Path) -> None:
    """A node refuses the same bytes a second time while it has them."""
    network = write_network(tmp_path, 1)
    with plain_node(tmp_path / "besu" / "network" / "genesis.json", "--no-mining") as url:
        node, wallet, outbox = Node(url), Wallet.of(secrets.token_bytes(32)), MemoryOutbox()
        sender = Transactor(node.call, wallet, outbox, network.chain_id, timeout=0.2)
        with pytest.raises(LedgerUnsure):
            sender.send("0x" + "11" * 20, b"\x01")
        for _ in range(2):
            with pytest.raises(LedgerDown, match="is not mined"):
                sender.send("0x" + "11" * 20, b"\x02")
        ((_, tx, _),) = outbox.pending(wallet.address)
        node.call("evm_mine", [])
        assert [receipt.tx for receipt in sender.resume()] == [tx]


def test_whoever_is_first_waits_for_one_call_and_too_many_others_are_refused(world: World) -> None:
    node, sent, taken, going_on = world.ledger.node, [], Event(), Event()

    def call(method: str, params: list[Any]) -> Any:
        if method == "eth_estimateGas":
            sent.append(params[0]["data"])
            taken.set()
            assert going_on.wait(60)
        return node.call(method, params)

    sender = Transactor(call, Wallet.new(), MemoryOutbox(), world.ledger.domain.chain_id)
    data = world.ledger.encode("PermitRegistry", "permitOf", bytes(32))
    last = world.ledger.encode("PermitRegistry", "permitOf", bytes([1]) * 32)
    target = world.ledger.domain.contracts["PermitRegistry"]
    with ThreadPoolExecutor(MOST_WAITING + 2) as pool:
        try:
            calls = [pool.submit(sender.send, target, data)]
            assert taken.wait(60)
            calls += [pool.submit(sender.send, target, data) for _ in range(MOST_WAITING)]
            until_waiting(sender, MOST_WAITING)
            with pytest.raises(LedgerBusy):
                sender.send(target, data)
            calls.append(pool.submit(sender.send, target, last, True))
            until_waiting(sender, MOST_WAITING + 1)
        finally:
            going_on.set()
        assert len([future.result(60) for future in calls]) == MOST_WAITING + 2
    assert sent.index("0x" + last.hex()) == 1


def until_waiting(sender: Transactor, count: int) -> None:
    deadline = time.monotonic() + 60
    while sum(sender._turns._waiting.values()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
