"""A call that the ledger did not answer: sent again as it was, or forgotten, and never made twice."""

from __future__ import annotations

from typing import Any

import pytest

from api.demo.stage import MemoryOutbox, World
from chain.errors import LedgerDown, LedgerUnsure
from chain.transactor import Transactor
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
    found = sender.resume()
    assert [receipt.tx for receipt in found] == ([tx] if resend or arrived else [])
    assert outbox.pending(wallet.address) == []
    sender.send(target, data)
    used = int(node.call("eth_getTransactionCount", [wallet.address, "latest"]), 16)
    assert used == len(found) + 1


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
