"""What a person costs: the figure is asserted, since dense cohorts of thousands depend on it."""

from __future__ import annotations

import pytest
from extent import extent

from api.demo.stage import World
from chain.devnode.process import DevChain
from chain.events import AccessGranted, RunAuthorised

PEOPLE, FEWER = extent(400, 1000), extent(200, 400)


def begun(world: World, people: list[bytes]) -> bytes:
    """A run whose first attempt counted its question, 70,000 once, however many people; a later one
    about others costs 30,000.
    """
    run = world.request_run(world.permit())
    world.authorise(run, people)
    return run


@pytest.mark.campaign
def test_authorise_costs_at_most_6000_gas_a_person(devchain: DevChain) -> None:
    world = World.create(devchain.url)
    subjects = world.enrol(PEOPLE)
    world.grant(subjects)
    receipt = world.authorise(begun(world, subjects), subjects, attempt=2)
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
    receipt = world.authorise(begun(world, subjects), subjects, attempt=2)
    assert receipt.one(RunAuthorised).denied == FEWER // 8
    assert receipt.gas / FEWER <= 6500
