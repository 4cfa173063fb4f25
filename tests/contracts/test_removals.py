"""A control that can be taken out without an attack getting through is no control: each is taken
out once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from removals import REMOVALS, Removal

import chain.ledger
from api.demo.attacks import CARE_TABLE, TABLE, high_s, outcome
from api.demo.stage import World
from chain.artifacts import Artifact, load
from chain.devnode.process import DevChain

ATTACKS = {attack.name: attack for attack in [*TABLE, *CARE_TABLE]}


@pytest.fixture
def without(
    monkeypatch: pytest.MonkeyPatch, compiled: Callable[[str], dict[str, Artifact]]
) -> Callable[[Removal], None]:
    """Deployments made after this call lack the control."""

    def remove(removal: Removal) -> None:
        changed = compiled(removal.control)
        assert any(changed[name].bytecode != load(name).bytecode for name in changed)
        monkeypatch.setattr(chain.ledger, "load", changed.__getitem__)

    return remove


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda r: r.control)
def test_without_the_control_the_attack_gets_through(
    devchain: DevChain, without: Callable[[Removal], None], removal: Removal
) -> None:
    without(removal)
    world = World.create(devchain.url)
    for name in removal.attacks:
        assert outcome(partial(ATTACKS[name].action, world, True)) == "accepted", name


def test_the_high_s_form_recovers_the_same_key() -> None:
    """The attack is real: the high-s form recovers the same address if s is not checked."""
    from eth_account import Account
    from eth_account.messages import encode_defunct

    from chain.wallets import Wallet

    wallet, message = Wallet.new(), encode_defunct(b"x")
    signature = bytes(Account.sign_message(message, wallet.key).signature)
    assert Account.recover_message(message, signature=high_s(signature)) == wallet.address
