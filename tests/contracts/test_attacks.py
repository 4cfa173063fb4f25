"""Every attack meets its own refusal, and the same action with only the attacked field corrected
goes through.
"""

from __future__ import annotations

from collections import Counter

import pytest

from api.demo.attacks import CARE_TABLE, TABLE, Attack, outcome
from api.demo.stage import World
from chain.devnode.process import DevChain


@pytest.fixture(scope="module")
def stage(devchain: DevChain) -> World:
    return World.create(devchain.url)


@pytest.mark.parametrize("attack", [*TABLE, *CARE_TABLE], ids=lambda a: a.name)
def test_attack_is_refused_and_its_control_accepted(stage: World, attack: Attack) -> None:
    before = int(stage.ledger.block()["number"], 16)
    assert outcome(lambda: attack.action(stage, True)) == attack.expected
    assert outcome(lambda: attack.action(stage, False)) == "accepted"
    assert int(stage.ledger.block()["number"], 16) > before  # a founding has a ledger of its own


def test_no_reason_counts_for_more_than_four_attacks() -> None:
    for table in (TABLE, CARE_TABLE):
        counted = Counter(attack.expected for attack in table)
        assert len(table) >= 15
        assert max(counted.values()) <= 4, counted
