"""The rest of the law: each rule broken once, and the contract's own word for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from api.birth import FOREVER
from api.demo.attacks import outcome
from api.demo.attacks.frame import authorised, looked_at, willing
from api.demo.stage import PARAMS, World, random32
from chain.devchain import DevChain
from chain.events import Receipt, RoleSet, RunAuthorised
from chain.wallets import Wallet

Rule = Callable[[World], Receipt]


@pytest.fixture(scope="module")
def stage(devchain: DevChain) -> World:
    return World.create(devchain.url)


def somebody(world: World, role: str, name: str) -> str:
    """A new holder of a role, whose end does not disturb the others."""
    world.people[name] = Wallet.new()
    world.set_role(world.people[name].address, role)
    return name


def retire(world: World, name: str, role: str) -> None:
    world.set_role(world.people[name].address, role, 0, world.ledger.now())


def sealed_late(world: World) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    world.authorise(run, subjects, leaseSeconds=1)
    time.sleep(2.1)
    message = world.seal_message(run)
    return world.relay("AccessLedger", "seal", "Seal", message, world.by("wanda", "Seal", message))


def sealed_twice(world: World) -> Receipt:
    run, _ = authorised(world)
    world.seal(run)
    message = world.seal_message(run)
    return world.relay("AccessLedger", "seal", "Seal", message, world.by("wanda", "Seal", message))


def sealed_by_a_former_worker(world: World) -> Receipt:
    world = World.create(world.ledger.node.url, role_delay=0)
    name = somebody(world, "worker", "will")
    subjects = willing(world)
    run = world.request_run(world.permit())
    world.authorise(run, subjects, by=name)
    retire(world, name, "worker")
    message = world.seal_message(run)
    return world.relay("AccessLedger", "seal", "Seal", message, world.by(name, "Seal", message))


def looked_at_by_a_former_checker(world: World) -> Receipt:
    name = somebody(world, "checker", "cleo")
    run, _ = authorised(world)
    world.seal(run)
    retire(world, name, "checker")
    return world.look(run, name)


def released_by_a_former_checker(world: World) -> Receipt:
    name = somebody(world, "checker", "carl")
    run, subjects, seal = looked_at(world)
    world.look(run, name)
    retire(world, name, "checker")
    return world.release(run, seal, subjects, [0] * 3, by=("sol", name))


def the_same_run_again(world: World) -> Receipt:
    permit = world.permit()
    world.request_run(permit, nonce=4711)
    world.request_run(permit, nonce=4711)
    raise AssertionError("the second request went through")


def the_same_ingest_again(world: World) -> Receipt:
    ingest = world.register_records()
    world.register_records(ingest=ingest)
    raise AssertionError("the second registration went through")


def cancelled_by_another(world: World) -> Receipt:
    message = {"run": world.request_run(world.permit()), "deadline": FOREVER}
    return world.relay(
        "AccessLedger", "cancel", "Cancel", message, world.by("sol", "Cancel", message)
    )


def released_with_a_reason(world: World) -> Receipt:
    run, subjects, seal = looked_at(world)
    return world.release(run, seal, subjects, [0] * 3, reason=96)


def a_role_change_again(world: World) -> Receipt:
    account = Wallet.new().address
    world.set_role(account, "checker")
    return world.set_role(account, "checker", replaces=0)


def the_quorum_ends_itself(world: World) -> Receipt:
    fresh = World.create(world.ledger.node.url, roles=False)
    now = fresh.ledger.now()
    fresh.set_role(fresh.people["rui"].address, "committee", 0, now)
    return fresh.set_role(fresh.people["pia"].address, "committee", 0, now)


def voted_twice(world: World) -> Receipt:
    permit = world.permit(approve=("pia",))
    return world.vote(permit, "pia")


def voted_by_a_stranger(world: World) -> Receipt:
    world.people["zoe"] = Wallet.new()
    return world.vote(world.permit(approve=()), "zoe")


def the_same_dataset_again(world: World) -> Receipt:
    return world.register_dataset()


def fewer_than_the_floor(world: World) -> Receipt:
    """The permit would be content with one; the contract is not."""
    return world.authorise(world.request_run(world.permit(minCohort=1)), willing(world, 2))


def a_batch_without_end(world: World) -> Receipt:
    item = world.enrolment(random32(), Wallet.new())
    return world.ledger.relay("ConsentRegistry", "enrol", [item] * 257)


def a_role_for_nobody(world: World) -> Receipt:
    return world.set_role("0x" + "00" * 20, "registrar")


def long_parameters(world: World) -> Receipt:
    from hashlib import sha256

    params = PARAMS.ljust(2049)
    message = {
        "permit": world.permit(),
        "paramsHash": sha256(params).digest(),
        "resultKey": random32(),
        "nonce": 5,
        "deadline": FOREVER,
    }
    return world.relay(
        "AccessLedger",
        "requestRun",
        "RunRequest",
        message,
        params,
        world.by("noor", "RunRequest", message),
    )


def a_refused_release_used_later(world: World) -> Receipt:
    """The analyst was dismissed when two checkers signed; she is back, and nobody has signed anew."""
    world = World.create(world.ledger.node.url)
    run, subjects, seal = looked_at(world)
    retire(world, "noor", "analyst")
    assert outcome(lambda: world.release(run, seal, subjects, [0] * 3)) == "reason 36"
    world.set_role(world.people["noor"].address, "analyst")
    return world.release(run, seal, subjects, [0] * 3)


def a_refused_attempt_used_later(world: World) -> Receipt:
    subjects, key = willing(world, 2), random32()
    run = world.request_run(world.permit())
    (third,) = world.enrol(1)
    everybody = sorted([*subjects, third])
    assert outcome(lambda: world.authorise(run, everybody, workerKey=key)) == "reason 40"
    world.grant([third])
    return world.authorise(run, everybody, workerKey=key)


def an_accepted_consent_again(world: World) -> Receipt:
    (subject,) = world.enrol(1)
    item = world.grant_item(world.grant_message(subject))
    world.ledger.relay("ConsentRegistry", "grant", [item])
    return world.ledger.relay("ConsentRegistry", "grant", [item])


def an_accepted_enrolment_again(world: World) -> Receipt:
    item = world.enrolment(random32(), Wallet.new())
    world.ledger.relay("ConsentRegistry", "enrol", [item])
    return world.ledger.relay("ConsentRegistry", "enrol", [item])


def a_consent_for_no_dataset(world: World) -> Receipt:
    (subject,) = world.enrol(1)
    item = world.grant_item(world.grant_message(subject, dataset=random32()))
    return world.ledger.relay("ConsentRegistry", "grant", [item])


def a_withdrawal_for_no_dataset(world: World) -> Receipt:
    (subject,) = world.enrol(1)
    message = {"subject": subject, "dataset": random32(), "epoch": 0}
    wallet = world.subjects[subject]
    signature = wallet.sign(world.ledger.domain, "Revoke", message)
    return world.relay("ConsentRegistry", "revoke", "Revoke", message, wallet.signer, signature)


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (a_refused_release_used_later, "AlreadyRecorded"),
        (a_refused_attempt_used_later, "AlreadyRecorded"),
        (an_accepted_consent_again, "VersionStale"),
        (an_accepted_enrolment_again, "AlreadyEnrolled"),
        (a_consent_for_no_dataset, "DatasetUnknown"),
        (a_withdrawal_for_no_dataset, "DatasetUnknown"),
        (sealed_late, "LeaseOver"),
        (sealed_twice, "AlreadySealed"),
        (sealed_by_a_former_worker, "NotLive"),
        (looked_at_by_a_former_checker, "NotLive"),
        (released_by_a_former_checker, "NotLive"),
        (the_same_run_again, "RunExists"),
        (the_same_ingest_again, "IngestExists"),
        (cancelled_by_another, "NotTheAnalyst"),
        (released_with_a_reason, "ReasonInvalid"),
        (a_role_change_again, "RoleVersionStale"),
        (the_quorum_ends_itself, "LastQuorum"),
        (voted_twice, "AlreadyVoted"),
        (voted_by_a_stranger, "NotLive"),
        (the_same_dataset_again, "DatasetExists"),
        (fewer_than_the_floor, "reason 40"),
        (a_batch_without_end, "TooManyItems"),
        (a_role_for_nobody, "RoleWindowInvalid"),
        (long_parameters, "ParamsMismatch"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_rule_has_its_word(stage: World, rule: Rule, word: str) -> None:
    assert outcome(lambda: rule(stage)) == word


def test_a_member_who_is_ended_can_still_stop_a_worker(devchain: DevChain) -> None:
    """Two stolen keys of three would end the third member first, and then bring a machine of their own."""
    world = World.create(devchain.url)
    account, now = world.people["rui"].address, world.ledger.now()
    ended = world.set_role(account, "committee", end=now).one(RoleSet)
    delay = int(world.ledger.identity["roleDelay"])
    assert ended.end >= now + delay
    machine = Wallet.new().address
    begins = world.set_role(machine, "worker").one(RoleSet).start
    world.cancel_role(machine, by="rui")
    assert world.ledger.read("PermitRegistry", "isLive", account, 1)
    assert begins >= ended.end  # whoever waits for the worker has waited for the member too
    sooner = world.set_role(account, "committee", end=now).one(RoleSet)
    assert sooner.end == ended.end  # once more changes nothing
    other = world.people["quinn"].address
    assert outcome(lambda: world.set_role(other, "committee", end=now)) == "LastQuorum"


def test_a_lease_ends_with_the_permit(stage: World) -> None:
    expiry = stage.ledger.now() + 600
    run = stage.request_run(stage.permit(expiry=expiry))
    receipt = stage.authorise(run, willing(stage), leaseSeconds=3600)
    assert receipt.one(RunAuthorised).leaseUntil == expiry
