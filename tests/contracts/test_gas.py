"""What a person costs: the figure is asserted, since dense cohorts of thousands depend on it."""

from __future__ import annotations

import pytest
from extent import extent

from api.demo.stage import World
from chain.devnode.process import DevChain
from chain.events import AccessGranted, RunAuthorised

PEOPLE, FEWER = extent(400, 1000), extent(200, 400)


def asked_before(world: World, people: list[bytes]) -> bytes:
    """A run with a question that is counted already: that is once 70,000, however many people."""
    permit = world.permit()
    world.authorise(world.request_run(permit), people)
    return world.request_run(permit)


@pytest.mark.campaign
def test_authorise_costs_at_most_6000_gas_a_person(devchain: DevChain) -> None:
    world = World.create(devchain.url)
    subjects = world.enrol(PEOPLE)
    world.grant(subjects)
    receipt = world.authorise(asked_before(world, subjects[:3]), subjects)
    assert receipt.one(RunAuthorised).granted == PEOPLE
    assert len(receipt.all(AccessGranted)) == PEOPLE
    assert receipt.gas / PEOPLE <= 6000


@pytest.mark.campaign
def test_the_denied_cost_no_more_than_the_granted(devchain: DevChain) -> None:
    """An eighth withdrew: longer events, no further reading. (Who never answered costs about
    8,600.)
    """
    world = World.create(devchain.url)
    subjects = world.enrol(FEWER)
    world.grant(subjects)
    for subject in subjects[::8]:
        world.revoke(subject)
    receipt = world.authorise(asked_before(world, subjects[1:4]), subjects)
    assert receipt.one(RunAuthorised).denied == FEWER // 8
    assert receipt.gas / FEWER <= 6500
