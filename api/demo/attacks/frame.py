"""The class of attacks, outcomes of calls, and setups shared by several attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from api.demo.stage import World
from chain.artifacts import error_names
from chain.errors import Refused
from chain.events import ItemRefused, Receipt, ReleaseRefused, RevokeStale, RunRefused

Action = Callable[[World, bool], Receipt]


@dataclass(frozen=True, slots=True)
class Attack:
    """`action(world, forged)`; `expected` is the exact refusal of the forged call."""

    name: str
    attacker: str
    expected: str
    action: Action


TABLE: list[Attack] = []


def attack(
    name: str, attacker: str, expected: str, table: list[Attack] = TABLE
) -> Callable[[Action], Action]:
    """Adds the action to a table; by default to the one that the demo tries in full."""

    def add(action: Action) -> Action:
        table.append(Attack(name, attacker, expected, action))
        return action

    return add


def outcome(action: Callable[[], Receipt]) -> str:
    """The outcome of a call: the refusal's name, or 'accepted'."""
    try:
        receipt = action()
    except Refused as refusal:
        return refusal.name
    for event in receipt.events:
        if isinstance(event, ItemRefused):
            return error_names()[event.reason]
        if isinstance(event, RunRefused | ReleaseRefused):
            return f"reason {event.reason}"
        if isinstance(event, RevokeStale):
            return "RevokeStale"
    return "accepted"


def willing(world: World, count: int = 3) -> list[bytes]:
    """People who consented; reused as long as no test changes them."""
    subjects = world.enrol(count)
    world.grant(subjects)
    return subjects


def authorised(world: World) -> tuple[bytes, list[bytes]]:
    subjects = willing(world)
    run = world.request_run(world.permit())
    world.authorise(run, subjects)
    return run, subjects


def looked_at(world: World) -> tuple[bytes, list[bytes], bytes]:
    run, subjects = authorised(world)
    seal = world.seal(run)
    world.view_output(run, "sol")
    world.view_output(run, "tess")
    return run, subjects, seal
