"""Gas cost of each ledger call in list mode; gas does not depend on the speed of the machine."""

from __future__ import annotations

from typing import Any

from api.demo.stage import World
from chain.events import ConsentGranted, Enrolled

PEOPLE, FEW = 1000, 100


def measure_gas(url: str, people: int = PEOPLE, few: int = FEW) -> dict[str, Any]:
    """Gas per person or per call, on a separate deployment.

    url: of a ledger without a deployment, since a deployed one accepts no foreign contracts.
    people: in one access, at least twice `few`, the number in the other accesses.
    """
    world = World.create(url)
    subjects = world.enrol(people)
    known = list(world.subjects)
    enrolled = world.ledger.relay(
        "ConsentRegistry", "enrol", [world.enrolment(s, w) for s, w in _strangers(60)]
    )
    granted = world.grant(subjects)
    permit = world.permit()
    all_authorised, few_authorised = (
        world.authorise(world.request_run(permit), people_of_run)
        for people_of_run in (subjects, subjects[:few])
    )
    run = world.request_run(permit)
    world.authorise(run, subjects[:few])
    seal = world.seal(run)
    views = [world.view_output(run, name) for name in ("sol", "tess")]
    released = world.release(run, seal, subjects[:few], [0] * few)
    for subject in subjects[:few]:
        revoked = world.revoke(subject)
    refused = world.authorise(world.request_run(permit), subjects[: 2 * few])
    return {
        "enrol_per_person": enrolled.gas // len(enrolled.all(Enrolled)),
        "grant_per_person": granted.gas // len(granted.all(ConsentGranted)),
        "revoke": revoked.gas,
        f"authorise_per_person_of_{people}": all_authorised.gas // len(known),
        f"authorise_per_person_of_{few}": few_authorised.gas // few,
        "authorise_per_person_half_denied": refused.gas // (2 * few),
        "look": views[-1].gas,
        "release_per_person": released.gas // few,
        "transaction_limit": 1 << 24,
        "most_people": (1 << 24) * people // all_authorised.gas,
    }


def _strangers(count: int) -> list[tuple[bytes, Any]]:
    from api.demo.stage import random32
    from chain.wallets import Wallet

    return [(random32(), Wallet.new()) for _ in range(count)]
