"""The rules executed twice: random histories give the same events and heads in contracts and in
Python.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clocked import Gateway
from extent import extent
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from narrated import tell

import chain.ledger
from api.demo.care_stage import appoint, authorise_plan, care_permit, patient, request_plan
from api.demo.stage import CATEGORIES, PARAMS, World
from api.operate.bootstrap import FOREVER
from chain.artifacts import FOLDER, Artifact, error_names, load
from chain.devnode.process import DevChain
from chain.errors import ChainError, Refused
from chain.events import RunRefused
from chain.ledger import message_tuple
from chain.wallets import Wallet
from governance import verify
from governance.audit import export_bundle
from governance.verify import (
    CALLS,
    EVENTS,
    TOPICS,
    Replay,
    decode_call,
    load_crypto,
    parse_identity,
    slot_of,
    to_int,
)

PEOPLE = 4
who = st.integers(0, PEOPLE - 1)
mask = st.sampled_from([0, 1 << 1, 1 << 2, 0b110, 1 << 6, 1 << 7, 1 << 16 | 0b110])
kinds = st.sampled_from([CATEGORIES, 1 << 2, CATEGORIES | 1 << 5, 1 << 30, 0])
day = st.integers(-3, 3)
step = st.one_of(
    st.tuples(st.just("grant"), who, mask, kinds, day, day, st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("grant_by_other"), who),
    st.tuples(st.just("revoke"), who, st.integers(0, 3)),
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("authorise"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("seal"), st.booleans()),
    st.tuples(st.just("view_output"), st.sampled_from(["sol", "tess"])),
    st.tuples(st.just("release"), st.booleans()),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("end_role"), st.sampled_from(["wanda", "noor", "sol"])),
)


class Life:
    """One deployment in which random things are tried; what the contracts refuse is simply not
    there.
    """

    def __init__(self, url: str) -> None:
        self.world = World.create(url, floor=2)
        self.subjects = self.world.enrol(PEOPLE)
        self.permit = self.world.permit(minCohort=2, questions=2)
        self.run = self.world.request_run(self.permit)
        self.attempt, self.seal = 0, bytes(32)

    def grant(
        self,
        person: int,
        purposes: int,
        categories: int,
        start: int,
        length: int,
        epoch: int,
        lag: int,
    ) -> None:
        today = self.world.ledger.now() // 86_400
        message = self.world.grant_message(self.subjects[person])
        message |= {
            "purposes": purposes,
            "categories": categories,
            "fromDay": today + start,
            "untilDay": today + start + length,
            "epoch": max(0, message["epoch"] + epoch - 1),
            "replaces": max(0, message["replaces"] + lag - 1),
        }
        self.world.ledger.relay("ConsentRegistry", "grant", [self.world.grant_item(message)])

    def grant_by_other(self, person: int) -> None:
        other = Wallet.new()
        message, signer, signature = self.world.grant_item(
            self.world.grant_message(self.subjects[person]), other
        )
        items = [(message, other.signer, signature), (message, signer, signature)]
        self.world.ledger.relay("ConsentRegistry", "grant", items)

    def revoke(self, person: int, epoch: int) -> None:
        self.world.revoke(self.subjects[person], epoch=epoch)

    def ask(self, number: int) -> None:
        """From here on about a new run, with one of four questions; the permit allows two."""
        self.run = self.world.request_run(self.permit, params=PARAMS + b" " * number)
        self.attempt = 0

    def authorise(self, back: int, strangers: bool) -> None:
        subjects = sorted([*self.subjects, secrets.token_bytes(32)] if strangers else self.subjects)
        self.world.authorise(self.run, subjects, attempt=max(1, self.attempt + 1 - back))
        self.attempt = self.world.ledger.read("AccessLedger", "runOf", self.run)[2]

    def seal_(self, other: bool) -> None:
        self.seal = self.world.seal(self.run, self.attempt, by="wilma" if other else "wanda")

    def view_output(self, name: str) -> None:
        self.world.view_output(self.run, name, self.attempt)

    def release(self, control: bool) -> None:
        bundle = Replay(export_bundle(self.world.ledger))
        granted = bundle.replayed.granted(self.run, self.attempt)
        epochs = [epoch if control else epoch + 1 for _, epoch, _ in granted]
        self.world.release(
            self.run,
            self.seal,
            [subject for subject, _, _ in granted],
            epochs,
            attempt=self.attempt,
        )

    def cancel(self) -> None:
        message = {"run": self.run, "deadline": 2**40 - 1}
        self.world.relay(
            "AccessLedger", "cancel", "Cancel", message, self.world.by("noor", "Cancel", message)
        )

    def end_role(self, name: str) -> None:
        roles = {"wanda": "worker", "noor": "analyst", "sol": "checker"}
        self.world.set_role(
            self.world.people[name].address, roles[name], 0, self.world.ledger.now()
        )


@pytest.mark.campaign
@settings(
    max_examples=extent(5, 60),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)  # an example costs a deployment: a failing one is shown, not shrunk
@given(steps=st.lists(step, min_size=8, max_size=30))
def test_fold_and_contracts_agree(devchain: DevChain, steps: list[tuple[object, ...]]) -> None:
    life = Life(devchain.url)
    for name, *arguments in steps:
        act: Callable[..., None] = getattr(life, "seal_" if name == "seal" else str(name))
        try:
            act(*arguments)
        except ChainError:
            continue
    bundle = export_bundle(life.world.ledger)
    crypto = load_crypto(parse_identity(bundle["identity"]))
    replayed = Replay(bundle, crypto).replayed
    assert (replayed.count, replayed.head) == life.world.ledger.head()
    questions = life.world.ledger.read(
        "AccessLedger", "questionsOf", life.permit, life.world.dataset
    )
    assert questions == [len(replayed.questions.under(life.permit))] * 2
    for subject in life.subjects:
        assert slot_of(replayed.consent(life.world.dataset, subject)) == life.world.slot(subject)


def test_a_withdrawal_before_the_first_consent_is_a_withdrawal(
    devchain: DevChain, tmp_path: Path
) -> None:
    """Status and reason of a slot that was revoked while it was empty: 3 in the contract, 3 in the
    replayed rules.
    """
    world = World.create(devchain.url, floor=1)
    first, second = world.enrol(2)
    world.grant([first])
    world.revoke(second, epoch=0)
    run = world.request_run(world.permit(minCohort=1))
    world.authorise(run, [first, second])
    replayed = Replay(export_bundle(world.ledger)).replayed
    assert replayed.attempts[run, 1].denied == [(second, 3)]


# -- nothing of the rules is left out of the examples

PEOPLE_REASONS = {1, 2, 3, 4, 5, 6, 7}
RUN_REASONS = {34, 35, 36, 38, 39, 40, 41, 43, 44, 46, 47, 48}
RELEASE_REASONS = {3, 34, 36, 75}
DATASET_REASON = 45  # after a thousand questions: test_a_dataset_bears_so_many_questions
SKIPPED = {
    "DeadlinePassed",
    "AlreadyEnrolled",
    "SignerInvalid",
    "EpochStale",
    "WindowInvalid",
    "NothingGranted",
    "MaskUnknown",
}


def agree(world: World) -> Replay:
    """The replay after everything that happened, equal to the contracts' own head."""
    bundle = export_bundle(world.ledger)
    replayed = Replay(bundle, load_crypto(parse_identity(bundle["identity"])))
    assert (replayed.replayed.count, replayed.replayed.head) == world.ledger.head()
    return replayed


def everything(world: World, pass_time: Callable[[int], None]) -> None:
    """Every call of the contracts, every reason that they give, and every item that they skip."""
    tell(world)
    today = world.ledger.now() // 86_400
    people = world.enrol(9)
    world.grant(people[:3])
    short = {
        "subject": secrets.token_bytes(32),
        "signer": b"short",
        "assurance": 1,
        "deadline": FOREVER,
    }
    wallet = Wallet.new()
    enrolments = [
        world.enrolment(secrets.token_bytes(32), wallet, deadline=1),
        world.enrolment(people[0], world.subjects[people[0]]),
        (message_tuple("Enrolment", short), world.by("rita", "Enrolment", short), bytes(65)),
        (*world.enrolment(secrets.token_bytes(32), wallet)[:2], bytes(65)),
    ]
    world.ledger.relay("ConsentRegistry", "enrol", enrolments)
    changes: list[dict[str, object]] = [
        {"deadline": 1},
        {"fromDay": today + 9, "untilDay": today},
        {"purposes": 0},
        {"purposes": 1 << 7},
    ]
    grants = [world.grant_item(world.grant_message(people[0], **change)) for change in changes]
    world.ledger.relay("ConsentRegistry", "grant", grants)
    for person, change in zip(
        people[3:7],
        ({"fromDay": today + 9}, {"purposes": 1 << 3}, {"categories": 1}, {}),
        strict=True,
    ):
        world.grant([person], **change)
    before = world.grant_item(world.grant_message(people[6], purposes=1 << 3))
    ahead = [
        world.grant_item(world.grant_message(people[6], **change))
        for change in ({"epoch": 1}, {"replaces": 9})
    ]
    with pytest.raises(Refused, match="VersionStale"):
        world.ledger.relay("ConsentRegistry", "grant", ahead)
    world.revoke(people[6])
    world.ledger.relay("ConsentRegistry", "grant", [before, ahead[1]])
    permit = world.permit()
    run, small = world.request_run(permit), world.request_run(permit)
    world.authorise(run, sorted([*people, secrets.token_bytes(32)]))  # 1, 2, 3, 4, 6, 7
    world.authorise(small, people[:2])  # 40
    world.authorise(run, people, attempt=2, codeHash=secrets.token_bytes(32))  # 38
    late = world.request_run(permit, deadline=world.ledger.now() + 60)
    pass_time(61)
    world.authorise(late, people)  # 41
    cancelled = world.request_run(permit)
    order = {"run": cancelled, "deadline": FOREVER}
    world.relay("AccessLedger", "cancel", "Cancel", order, world.by("noor", "Cancel", order))
    world.authorise(cancelled, people)  # 43
    rejected = world.permit(approve=())
    for name in ("pia", "quinn"):
        world.vote(rejected, name, yes=False)
    world.request_run(rejected)  # 39
    over = world.permit(expiry=world.ledger.now() + 60)
    lapsing = world.grant_message(people[7], untilDay=today)
    world.ledger.relay("ConsentRegistry", "grant", [world.grant_item(lapsing)])
    pass_time(2 * 86_400)
    world.request_run(over)  # 35
    world.authorise(run, people, attempt=2)  # 5
    ready = []
    for _ in range(4):
        open_permit = world.permit()
        released = world.request_run(open_permit)
        world.authorise(released, people[:3])
        seal = world.seal(released)
        for name in ("sol", "tess"):
            world.view_output(released, name)
        ready.append((open_permit, released, seal))
    world.release(ready[3][1], ready[3][2], people[:3], [0] * 3)
    ask_too_much(world, people)
    refuse_care(world, pass_time)
    world.revoke(people[0])
    world.release(ready[0][1], ready[0][2], people[:3], [0] * 3)  # 3
    world.grant([people[0]])
    anew = FOREVER - 1  # the very same decision is recorded once
    world.release(ready[0][1], ready[0][2], people[:3], [0] * 3, deadline=anew)  # 75
    stop = {"permit": ready[1][0], "deadline": FOREVER}
    world.relay("PermitRegistry", "suspend", "Suspend", stop, world.by("rui", "Suspend", stop))
    world.release(ready[1][1], ready[1][2], people[:3], [0] * 3)  # 34
    world.request_run(ready[1][0])  # 34
    dismissed = world.people["noor"].address
    world.set_role(dismissed, "analyst", end=world.ledger.now())
    world.release(ready[2][1], ready[2][2], people[:3], [0] * 3)  # 36
    world.authorise(run, people, attempt=3)  # 36


def refuse_care(world: World, pass_time: Callable[[int], None]) -> None:
    """Every reason for which no plan is drawn."""
    subject, stranger = patient(world), patient(world, categories=1 << 2)
    appoint(world, subject)
    appoint(world, stranger)
    world.people["clara"] = Wallet.new()
    address = world.people["clara"].address
    world.set_role(address, "clinician")
    permit = care_permit(world)
    over = care_permit(world, expiry=world.ledger.now() + 600)
    late = request_plan(world, permit, subject, deadline=world.ledger.now() + 60)
    lapsed = request_plan(world, over, subject)
    narrow = request_plan(world, care_permit(world, categories=1 << 6), stranger)
    waiting = request_plan(world, permit, subject)
    pass_time(601)
    authorise_plan(world, late)  # 41
    authorise_plan(world, lapsed)  # 35
    authorise_plan(world, narrow)  # 7
    authorise_plan(world, waiting, codeHash=secrets.token_bytes(32))  # 38
    appoint(world, subject, untilDay=0)
    authorise_plan(world, waiting)  # 47
    appoint(world, subject, by="clara")
    world.set_role(address, "clinician", end=world.ledger.now())
    world.set_role(address, "clinician")
    dismissed = request_plan(world, care_permit(world, by="clara"), subject, by="clara")
    world.set_role(address, "clinician", end=world.ledger.now())
    authorise_plan(world, dismissed)  # 48
    stop = {"permit": permit, "deadline": FOREVER}
    world.relay("PermitRegistry", "suspend", "Suspend", stop, world.by("rui", "Suspend", stop))
    authorise_plan(world, waiting, workerKey=secrets.token_bytes(32))  # 34


def ask_too_much(world: World, people: list[bytes]) -> None:
    """What a run paid goes on with it, eight times, unless another run asked the same for nothing."""
    four, three, others = [*people[:3], people[8]], people[:3], [people[1], people[2], people[8]]
    world.grant([people[8]])

    def asked(permit: bytes, *attempts: tuple[int, int, list[bytes]]) -> list[int]:
        runs = [world.request_run(permit) for _ in range(3)]
        for run, attempt, granted in attempts:
            world.authorise(runs[run], granted, attempt=attempt)
        return world.ledger.read("AccessLedger", "questionsOf", permit, bytes(32))

    single = world.permit(questions=1)
    assert asked(single, *((0, 1 + at, (three, four)[at % 2]) for at in range(10))) == [1, 0]  # 46
    assert asked(single, (0, 1, four), (1, 1, three), (2, 1, three), (2, 2, others)) == [1, 0]  # 44
    two = world.permit(questions=2)
    shared = (0, 1, four), (1, 1, four), (1, 2, three), (2, 1, three), (2, 2, four)
    assert asked(two, *shared, (2, 3, others), (0, 2, others)) == [2, 0]  # 44, 44
    world.register_records()
    assert asked(two, (0, 1, four)) == [2, 0]  # 44


def test_a_dataset_bears_so_many_questions(
    devchain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three in place of a thousand, so that it does not take a thousand: in bytecode and rules.

    The other bound of a thousand in this contract, people of a run, becomes three as well.
    """

    def shrunk(name: str) -> Artifact:
        artifact = load(name)
        if name != "AccessLedger":
            return artifact
        thousand, three = (bytes([0x61]) + n.to_bytes(2, "big") for n in (1000, 3))
        assert artifact.bytecode.count(thousand) == 2
        return replace(artifact, bytecode=artifact.bytecode.replace(thousand, three))

    monkeypatch.setattr(chain.ledger, "load", shrunk)
    monkeypatch.setattr(verify, "DATASET_QUESTIONS", 3)
    world = World.create(devchain.url)
    people = world.enrol(3)
    world.grant(people)
    reasons = []
    for permit in (world.permit(), world.permit()):
        for params in (PARAMS, PARAMS, PARAMS + b" ", PARAMS + b"  "):
            mined = world.authorise(world.request_run(permit, params=params), people)
            reasons += [refusal.reason for refusal in mined.all(RunRefused)]
    assert reasons == [DATASET_REASON] * 4
    assert world.ledger.read("AccessLedger", "questionsOf", permit, world.dataset) == [0, 3]
    agree(world)


def test_every_call_reason_and_refusal_occurs(tmp_path: Path) -> None:
    """Counted over one life in which contracts and replayed rules agree: a rule missing on one side
    shows.
    """
    chain = Gateway(tmp_path / "chain")

    def pass_time(seconds: int) -> None:
        chain.now += seconds

    try:
        world = World.create(f"http://127.0.0.1:{chain.server.server_port}")
        everything(world, pass_time)
        replayed = agree(world)
    finally:
        chain.close()
    seen: dict[str, Counter[Any]] = {
        name: Counter() for name in ("calls", "people", "runs", "releases", "skipped", "events")
    }
    names = {topic: name for name, topic in TOPICS.items()}
    for step in replayed.steps:
        seen["calls"][decode_call(step.tx.input)[1]] += 1
        for log in step.logs:
            name = names[log.topics[0]]
            seen["events"][name] += 1
            if name == "AccessDenied":
                seen["people"][to_int(log.data[32:64])] += 1
            elif name == "RunRefused":
                seen["runs"][to_int(log.data[32:64])] += 1
            elif name == "ReleaseRefused":
                seen["releases"][to_int(log.data[64:96])] += 1
            elif name == "ItemRefused":
                seen["skipped"][error_names()[log.data[:4]]] += 1
    assert set(seen["calls"]) == {call.split()[1] for call in CALLS.values()}
    assert set(seen["events"]) == set(EVENTS)
    assert set(seen["people"]) == PEOPLE_REASONS
    # A plan is refused for a reason of its one person as well.
    assert set(seen["runs"]) - PEOPLE_REASONS == RUN_REASONS
    assert {3, 7} <= set(seen["runs"])
    assert set(seen["releases"]) >= RELEASE_REASONS
    assert set(seen["skipped"]) == SKIPPED
    table = json.loads((FOLDER / "reasons.json").read_text())
    given = {int(code) for code in re.findall(r"= (\d+);", (FOLDER / "Reasons.sol").read_text())}
    assert given == PEOPLE_REASONS | RUN_REASONS | {DATASET_REASON, 75}
    assert given <= {int(code) for codes in table.values() for code in codes}
