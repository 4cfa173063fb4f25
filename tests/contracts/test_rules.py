"""The remaining rules of the contracts: each is broken once, and gives its own error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from clocked import Gateway

from api.demo.attacks import outcome
from api.demo.attacks.frame import authorised, looked_at, willing
from api.demo.care_stage import (
    appoint,
    authorise_plan,
    care_permit,
    patient,
    request_plan,
    seal_plan,
)
from api.demo.stage import DAY, PARAMS, ROLES, World, random32
from api.operate.bootstrap import FOREVER
from chain.devnode.process import DevChain
from chain.devnode.writer import IDLE_SECONDS
from chain.events import (
    ConsentGranted,
    Enrolled,
    ItemRefused,
    Receipt,
    RoleSet,
    RunAuthorised,
    RunRefused,
)
from chain.ledger import MAX_LEASE
from chain.wallets import Wallet
from governance.audit import export_bundle
from governance.rules.ledger_data import parse_identity
from governance.rules.signatures import load_crypto
from governance.rules.trail import Replay

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


def plan_sealed_late(world: World) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    run = request_plan(world, care_permit(world), subject)
    authorise_plan(world, run, leaseSeconds=1)
    time.sleep(2.1)
    return seal_plan(world, run)


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
    name = somebody(world, "checker", "cora")
    run, _ = authorised(world)
    world.seal(run)
    retire(world, name, "checker")
    return world.view_output(run, name)


def released_by_a_former_checker(world: World) -> Receipt:
    name = somebody(world, "checker", "carl")
    run, subjects, seal = looked_at(world)
    world.view_output(run, name)
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


def request(world: World, permit: bytes, params: bytes = PARAMS) -> Receipt:
    """The run request of that permit which noor signed: the very same one each time."""
    message = {
        "permit": permit,
        "paramsHash": sha256(params).digest(),
        "resultKey": bytes(32),
        "nonce": int.from_bytes(permit),
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


def long_parameters(world: World) -> Receipt:
    return request(world, world.permit(), PARAMS.ljust(2049))


def a_permit_there_never_was(world: World) -> Receipt:
    return request(world, random32())


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
        (plan_sealed_late, "LeaseOver"),
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
        (a_permit_there_never_was, "PermitUnknown"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_rule_has_its_error(stage: World, rule: Rule, word: str) -> None:
    assert outcome(lambda: rule(stage)) == word


def test_a_member_who_is_ended_can_still_stop_a_worker(devchain: DevChain) -> None:
    """Two stolen keys of three would end the third member first, and then bring a machine of their
    own.
    """
    world = World.create(devchain.url)
    account, now = world.people["rui"].address, world.ledger.now()
    ended = world.set_role(account, "committee", end=now).one(RoleSet)
    delay = int(world.ledger.identity["roleDelay"])
    assert ended.end >= now + delay
    machine = Wallet.new().address
    world.set_role(machine, "worker")
    world.cancel_role(machine, by="rui")
    assert world.ledger.read("PermitRegistry", "isLive", account, 1)
    sooner = world.set_role(account, "committee", end=now).one(RoleSet)
    assert sooner.end == ended.end  # once more changes nothing
    other = world.people["quinn"].address
    assert outcome(lambda: world.set_role(other, "committee", end=now)) == "LastQuorum"


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[tuple[World, Gateway]]:
    """A world on a clock that the test moves."""
    gateway = Gateway(tmp_path / "chain")
    yield World.create(f"http://127.0.0.1:{gateway.server.server_port}"), gateway
    gateway.close()


def replayed(world: World) -> None:
    """The auditor's rules come to the same head."""
    bundle = export_bundle(world.ledger)
    replayed = Replay(bundle, load_crypto(parse_identity(bundle["identity"]))).replayed
    assert (replayed.count, replayed.head) == world.ledger.head()


def test_a_member_stops_what_was_given_while_she_still_was_one(
    clocked: tuple[World, Gateway],
) -> None:
    """Two stolen keys end the third member, wait until a second before, and bring their machine: it
    is still stopped.

    Also when she was given another role meanwhile; what was given after her end she does not stop.
    """
    world, gateway = clocked
    rui, now = world.people["rui"].address, world.ledger.now()
    ends = world.set_role(rui, "committee", end=now).one(RoleSet).end
    early, late = Wallet.new().address, Wallet.new().address
    gateway.now += ends - now - 1
    world.set_role(early, "worker")
    gateway.now += IDLE_SECONDS + 2
    world.set_role(rui, "auditor")
    world.set_role(late, "worker")
    assert not world.ledger.read("PermitRegistry", "isLive", rui, ROLES["committee"])
    assert outcome(lambda: world.cancel_role(late, by="rui")) == "NotAMember"
    assert outcome(lambda: world.cancel_role(early, by="sol")) == "NotAMember"
    world.cancel_role(early, by="rui")
    world.cancel_role(late, by="quinn")
    replayed(world)


@pytest.mark.parametrize(
    "change",
    [{"start": 0, "end": 1}, {"start": FOREVER - 1}],
    ids=["a term long over", "a term to come"],
)
def test_no_later_change_takes_from_a_member_what_she_may_stop(
    clocked: tuple[World, Gateway], change: dict[str, int]
) -> None:
    """Two stolen keys give her another term in the committee, which she is not in either."""
    world, gateway = clocked
    rui, now = world.people["rui"].address, world.ledger.now()
    ends = world.set_role(rui, "committee", end=now).one(RoleSet).end
    machine = Wallet.new().address
    gateway.now += ends - now - 1
    world.set_role(machine, "worker")
    gateway.now += IDLE_SECONDS + 2
    world.set_role(rui, "committee", **change)
    assert not world.ledger.read("PermitRegistry", "isLive", rui, ROLES["committee"])
    world.cancel_role(machine, by="rui")
    replayed(world)


def test_a_member_before_her_term_cancels_no_role(clocked: tuple[World, Gateway]) -> None:
    """Also not if the term is cancelled before it began: a term of no length gives no membership."""
    world, gateway = clocked
    start = world.ledger.now() + 86_400
    for name in ("yola", "zoe"):
        world.people[name] = Wallet.new()
        world.set_role(world.people[name].address, "committee", start=start)
    machine = Wallet.new().address
    world.set_role(machine, "worker")
    retire(world, "zoe", "committee")
    for name in ("yola", "zoe"):
        assert outcome(lambda: world.cancel_role(machine, by=name)) == "NotAMember"  # noqa: B023
    gateway.now += 86_401
    assert outcome(lambda: world.cancel_role(machine, by="zoe")) == "NotAMember"
    world.cancel_role(machine, by="yola")
    replayed(world)


def test_a_quorum_of_the_committee_has_no_end(clocked: tuple[World, Gateway]) -> None:
    """All of them with an end, or to begin one day: nobody could ever give a role again."""
    world, _ = clocked
    far = world.ledger.now() + 10 * 365 * 86_400
    pia, quinn = (world.people[name].address for name in ("pia", "quinn"))
    world.set_role(pia, "committee", end=far)
    zoe = Wallet.new().address
    world.set_role(zoe, "committee", start=far)
    assert outcome(lambda: world.set_role(quinn, "committee", end=far)) == "LastQuorum"
    world.set_role(Wallet.new().address, "committee")
    world.set_role(quinn, "committee", end=far)
    replayed(world)


def test_the_ceremony_ends_with_a_quorum_that_lasts(clocked: tuple[World, Gateway]) -> None:
    """With two of three members about to end, one would be left for good, and none could be added."""
    old, gateway = clocked
    world = World.create(old.ledger.node.url, roles=False)
    pia, quinn = (world.people[name].address for name in ("pia", "quinn"))
    world.set_role(world.people["omar"].address, "custodian")
    soon = world.ledger.now() + 3600
    for account in (pia, quinn):
        world.set_role(account, "committee", end=soon)
    assert outcome(world.register_dataset) == "LastQuorum"
    later = Wallet.new().address
    world.set_role(later, "committee", start=soon + 365 * 86_400)
    assert outcome(world.register_dataset) == "LastQuorum"
    world.set_role(quinn, "committee")
    world.register_dataset()
    gateway.now += 3601
    world.set_role(Wallet.new().address, "analyst", by=("quinn", "rui"))
    replayed(world)


def test_a_live_member_begins_no_later_by_a_change(clocked: tuple[World, Gateway]) -> None:
    """Else a change with a later start would end her at once, before the delay."""
    world, _ = clocked
    rui, later = world.people["rui"].address, world.ledger.now() + 365 * 86_400
    assert world.set_role(rui, "committee", start=later).one(RoleSet).start == 0
    assert world.ledger.read("PermitRegistry", "isLive", rui, ROLES["committee"])
    replayed(world)


def test_nobody_else_uses_up_an_enrolment(stage: World) -> None:
    """Who sees it on its way sends it with another signature in place of the patient's: that leaves
    nothing.
    """
    subject, wallet = random32(), Wallet.new()
    enrolment = stage.enrolment(subject, wallet)
    for junk in (bytes(65), b"", Wallet.new().sign(stage.ledger.domain, "Revoke", REVOKE)):
        burnt = (*enrolment[:2], junk)
        assert outcome(lambda: stage.ledger.relay("ConsentRegistry", "enrol", [burnt])) == (  # noqa: B023
            "SignatureInvalid"
        )
    receipt = stage.ledger.relay("ConsentRegistry", "enrol", [enrolment])
    assert receipt.one(Enrolled).subject == subject
    replayed(stage)


REVOKE = {"subject": bytes(32), "dataset": bytes(32), "epoch": 0}


def test_nobody_else_uses_up_a_worker_s_binding(clocked: tuple[World, Gateway]) -> None:
    """Another worker sends the same content, is refused, and the first one's own is still good."""
    world, gateway = clocked
    people = world.enrol(3)
    run = world.request_run(world.permit())
    somebody(world, "worker", "wilma")
    gateway.now += int(world.ledger.identity["roleDelay"]) + 1
    binding = world.binding(run, people)

    def sent(by: str) -> Receipt:
        signature = world.by(by, "WorkerBinding", binding)
        return world.relay(
            "AccessLedger", "authorise", "WorkerBinding", binding, signature, sorted(people)
        )

    assert sent("wilma").one(RunRefused).reason == 40  # nobody is willing yet
    world.grant(people)
    assert outcome(lambda: sent("wilma")) == "AlreadyRecorded"
    assert sent("wanda").one(RunAuthorised).granted == 3
    replayed(world)


def test_nobody_else_uses_up_what_is_ahead_of_the_ledger(stage: World) -> None:
    """Somebody who saw two messages sends the second one first: both are still good afterwards."""
    widened, returned = willing(stage, 2)

    def grant(item: tuple[object, ...]) -> Receipt:
        return stage.ledger.relay("ConsentRegistry", "grant", [item])

    wide = stage.grant_item(stage.grant_message(widened, purposes=0x7F))
    narrow = stage.grant_item(stage.grant_message(widened, replaces=2, categories=4))
    anew = stage.grant_item(stage.grant_message(returned, epoch=1))
    permit = stage.permit(approve=("pia",))
    before = stage.ledger.head()
    assert outcome(lambda: grant(narrow)) == "VersionStale"
    assert outcome(lambda: grant(anew)) == "EpochStale"
    assert outcome(lambda: request(stage, permit)) == "PermitUndecided"
    assert stage.ledger.head() == before
    grant(wide)
    grant(narrow)
    assert stage.slot(widened) >> 80 & 0xFFFFFFFF == 4
    stage.revoke(returned)
    assert grant(anew).one(ConsentGranted).epoch == 1
    stage.vote(permit, "quinn")
    request(stage, permit)
    replayed(stage)


def test_a_consent_ahead_is_left_out_of_a_batch_that_does_something(stage: World) -> None:
    first, second = stage.enrol(2)
    ahead = stage.grant_item(stage.grant_message(first, replaces=1, categories=4))
    item = stage.grant_item(stage.grant_message(second))
    receipt = stage.ledger.relay("ConsentRegistry", "grant", [ahead, item])
    assert not receipt.all(ItemRefused)
    stage.grant([first])
    assert stage.ledger.relay("ConsentRegistry", "grant", [ahead]).one(ConsentGranted).version == 2
    replayed(stage)


def test_dismissed_people_make_no_step(stage: World) -> None:
    """However many different messages an analyst, a worker or a custodian signs when the role has
    ended.
    """
    world = World.create(stage.ledger.node.url, role_delay=0)
    people = willing(world)
    permit, (run, _) = world.permit(), authorised(world)
    ingest = world.register_records()
    waiting = world.request_run(permit)
    for name, role in (("noor", "analyst"), ("wanda", "worker"), ("omar", "custodian")):
        retire(world, name, role)
    before = world.ledger.head()
    for rule in (
        lambda: world.request_run(permit),
        lambda: world.request_run(random32()),
        lambda: world.authorise(waiting, people),
        lambda: world.resume(run, 1),
        lambda: world.void_records(ingest),
    ):
        assert outcome(rule) == "NotLive"
    assert world.ledger.head() == before


def test_one_member_twice_is_no_quorum(stage: World) -> None:
    ingest = stage.register_records()
    for by in (("pia", "pia"), ("pia",)):
        assert outcome(lambda: stage.void_records(ingest, by)) == "QuorumMissing"  # noqa: B023
    stage.void_records(ingest, ("pia", "quinn"))


def test_a_replaced_consent_leaves_no_trace(stage: World) -> None:
    (subject,) = stage.enrol(1)
    first = stage.grant_item(stage.grant_message(subject, untilDay=stage.ledger.now() // 86_400))
    stage.grant([subject])
    before = stage.ledger.head()
    assert outcome(lambda: stage.ledger.relay("ConsentRegistry", "grant", [first])) == (
        "VersionStale"
    )
    assert stage.ledger.head() == before


def test_a_lease_ends_with_the_permit(stage: World) -> None:
    expiry = stage.ledger.now() + 600
    run = stage.request_run(stage.permit(expiry=expiry))
    receipt = stage.authorise(run, willing(stage), leaseSeconds=3600)
    assert receipt.one(RunAuthorised).leaseUntil == expiry


def test_a_plan_is_drawn_no_longer_than_the_appointment_lasts(stage: World) -> None:
    """Her consent and the permit last longer; the lease asked for is the longest there is."""
    subject = patient(stage)
    today = stage.ledger.now() // DAY
    appoint(stage, subject, untilDay=today)
    run = request_plan(stage, care_permit(stage), subject)
    receipt = authorise_plan(stage, run, leaseSeconds=DAY)
    assert receipt.one(RunAuthorised).leaseUntil == (today + 1) * DAY


@pytest.mark.parametrize(("permit_days", "longest"), [(365, MAX_LEASE), (0.5, DAY // 2)])
def test_a_lease_of_a_plan_is_bounded_by_its_longest_and_by_the_permit(
    stage: World, permit_days: float, longest: int
) -> None:
    subject = patient(stage)
    appoint(stage, subject)
    before = stage.ledger.now()
    permit = care_permit(stage, expiry=before + int(permit_days * DAY))
    receipt = authorise_plan(stage, request_plan(stage, permit, subject), leaseSeconds=2**32 - 1)
    until = receipt.one(RunAuthorised).leaseUntil
    assert before + longest <= until <= stage.ledger.now() + longest
