"""What each call costs on the ledger, in list mode: gas, which no machine's speed changes."""

from __future__ import annotations

from typing import Any

from api.demo.stage import World
from chain.events import ConsentGranted, Enrolled

PEOPLE, FEW = 1000, 100


def measure_gas(url: str, people: int = PEOPLE, few: int = FEW) -> dict[str, Any]:
    """Gas of one person or of one call, on a deployment of its own.

    url: of a ledger that has no deployment yet, for another one takes no contracts of strangers. people: in one
    access, at least twice `few`, which are in the others.
    """
    world = World.create(url)
    subjects = world.enrol(people)
    known = list(world.subjects)
    enrolled = world.ledger.relay(
        "ConsentRegistry", "enrol", [world.enrolment(s, w) for s, w in _strangers(60)]
    )
    granted = world.grant(subjects)
    permit = world.permit()
    whole, part = (
        world.authorise(world.request_run(permit), some) for some in (subjects, subjects[:few])
    )
    run = world.request_run(permit)
    world.authorise(run, subjects[:few])
    seal = world.seal(run)
    looks = [world.view_output(run, name) for name in ("sol", "tess")]
    released = world.release(run, seal, subjects[:few], [0] * few)
    for subject in subjects[:few]:
        revoked = world.revoke(subject)
    refused = world.authorise(world.request_run(permit), subjects[: 2 * few])
    return {
        "enrol_per_person": enrolled.gas // len(enrolled.all(Enrolled)),
        "grant_per_person": granted.gas // len(granted.all(ConsentGranted)),
        "revoke": revoked.gas,
        f"authorise_per_person_of_{people}": whole.gas // len(known),
        f"authorise_per_person_of_{few}": part.gas // few,
        "authorise_per_person_half_denied": refused.gas // (2 * few),
        "look": looks[-1].gas,
        "release_per_person": released.gas // few,
        "transaction_limit": 1 << 24,
        "most_people": (1 << 24) * people // whole.gas,
    }


def _strangers(count: int) -> list[tuple[bytes, Any]]:
    from api.demo.stage import random32
    from chain.wallets import Wallet

    return [(random32(), Wallet.new()) for _ in range(count)]
