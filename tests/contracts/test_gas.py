"""What a person costs: the figure is asserted, since dense cohorts of thousands depend on it."""

from __future__ import annotations

from api.demo.stage import World
from chain.devchain import DevChain
from chain.events import AccessGranted, RunAuthorised


def test_authorise_costs_at_most_6000_gas_a_person(devchain: DevChain) -> None:
    world = World.create(devchain.url)
    subjects = world.enrol(1000)
    world.grant(subjects)
    run = world.request_run(world.permit())
    receipt = world.authorise(run, subjects)
    assert receipt.one(RunAuthorised).granted == 1000
    assert len(receipt.all(AccessGranted)) == 1000
    assert receipt.gas / 1000 <= 6000


def test_the_denied_cost_no_more_than_the_granted(devchain: DevChain) -> None:
    """An eighth withdrew: longer events, no further reading. (Who never answered costs about 8,600.)"""
    world = World.create(devchain.url)
    subjects = world.enrol(400)
    world.grant(subjects)
    for subject in subjects[::8]:
        world.revoke(subject)
    run = world.request_run(world.permit())
    receipt = world.authorise(run, subjects)
    assert receipt.one(RunAuthorised).denied == 50
    assert receipt.gas / 400 <= 6500
