"""No receipt, no key, in her own care: what the broker releases for one patient's plan, and when
not any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from rig import Rig

from analytics.code import code_hash
from api.demo.care_stage import (
    appoint,
    authorise_plan,
    care_permit,
    countersign,
    end_plan,
    open_plan,
    patient,
    request_plan,
    seal_plan,
    view_plan,
)
from api.demo.stage import CATEGORIES, DAY, random32
from api.operate.bootstrap import FOREVER
from chain.devnode.process import DevChain
from chain.vocabulary import Category, Purpose
from chain.wallets import Wallet
from governance.errors import BrokerRefused
from governance.objects.broker_client import BrokerAnswer
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.envelope import (
    WrapItem,
    decode_pieces,
    decode_run_keys,
    join_shares,
    key_commitment,
    open_message,
    split_key,
)
from governance.objects.ingest import Source
from governance.objects.keys import new_pair
from governance.objects.leaves import Leaf

CARE = 1 << Purpose.CARE


@pytest.fixture(scope="module")
def kept_rig(
    devchain: DevChain, bucket_process: BucketProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    rig = Rig.build(tmp_path_factory.mktemp("care"), devchain.url, bucket_process, 2)
    yield rig
    rig.close()


@dataclass
class Scene:
    """A patient with two records, the plan that her clinician asked for, and an honest question."""

    rig: Rig
    permit: bytes
    subject: bytes
    leaves: list[Leaf]
    run: bytes = b""
    tx: bytes = b""
    public: bytes = b""
    private: Any = None
    attempt: int = 1
    asked: list[Leaf] = field(default_factory=list)
    seal: bytes = b""

    def draw(self) -> None:
        self.private, self.public = new_pair()
        receipt = authorise_plan(
            self.rig.world,
            self.run,
            workerKey=self.public,
            attempt=self.attempt,
            codeHash=code_hash(),
        )
        self.tx, self.asked = receipt.tx, self.leaves

    def ask(self) -> list[bytes]:
        """The records whose keys the broker answers with."""
        answer = self.rig.client.pieces(
            self.run,
            self.attempt,
            self.tx,
            self.public,
            self.rig.headers(self.asked),
            self.rig.world.people["wanda"],
        )
        _, pieces = decode_run_keys(open_message(self.private, answer.info, answer.sealed))
        return sorted({p.record for p in decode_pieces(pieces, self.rig.client.address)})


@pytest.fixture
def scene(kept_rig: Rig) -> Scene:
    world, categories = kept_rig.world, CATEGORIES
    subject = patient(world, categories=categories)
    leaves = kept_rig.ingest([Source(subject, n, b"{}") for n in (2, 6)])
    appoint(world, subject)
    permit = care_permit(world, codeHash=code_hash())
    scene = Scene(kept_rig, permit, subject, leaves)
    scene.run = request_plan(world, permit, subject)
    scene.draw()
    return scene


def test_an_honest_question_opens_her_records_and_nobody_elses(scene: Scene) -> None:
    assert scene.ask() == sorted(leaf.record for leaf in scene.leaves)
    others = [leaf for leaf in scene.rig.leaves if leaf.subject != scene.subject][:1]
    scene.asked = [*scene.leaves, *others]
    with pytest.raises(BrokerRefused) as refusal:
        scene.ask()
    assert refusal.value.reason.slug == "not-granted"


def test_a_category_that_she_left_out_stays_closed(scene: Scene) -> None:
    """For research she would have been left out; her plan is drawn without that category."""
    world = scene.rig.world
    world.grant([scene.subject], purposes=CARE, categories=1 << Category.OBSERVATIONS)
    appoint(world, scene.subject)
    scene.run = request_plan(world, scene.permit, scene.subject)
    scene.draw()
    with pytest.raises(BrokerRefused) as refusal:
        scene.ask()
    assert refusal.value.reason.slug == "category"
    scene.asked = [leaf for leaf in scene.leaves if leaf.category == Category.OBSERVATIONS]
    assert scene.ask() == [scene.asked[0].record]


def withdrew(scene: Scene) -> None:
    scene.rig.world.revoke(scene.subject)


def ended_the_appointment(scene: Scene) -> None:
    today = scene.rig.world.ledger.now() // DAY
    appoint(scene.rig.world, scene.subject, untilDay=today - 1)


def appointed_another(scene: Scene) -> None:
    appoint(scene.rig.world, scene.subject, by="noor")


def narrowed(scene: Scene) -> None:
    scene.rig.world.grant([scene.subject], purposes=CARE, categories=1 << Category.EXPRESSION)


def suspended(scene: Scene) -> None:
    message = {"permit": scene.permit, "deadline": FOREVER}
    signature = scene.rig.world.by("dora", "Suspend", message)
    scene.rig.world.relay("PermitRegistry", "suspend", "Suspend", message, signature)


def ended(scene: Scene) -> None:
    end_plan(scene.rig.world, scene.run)


def drawn_again(scene: Scene) -> None:
    authorise_plan(scene.rig.world, scene.run, attempt=2, codeHash=code_hash())


def dismissed(scene: Scene) -> None:
    world = scene.rig.world
    account = world.people["cleo"].address
    world.set_role(account, "clinician", end=world.ledger.now())


@pytest.fixture
def hired(kept_rig: Rig) -> Iterator[None]:
    yield
    kept_rig.world.set_role(kept_rig.world.people["cleo"].address, "clinician")


@pytest.mark.usefixtures("hired")
@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (withdrew, "revoked"),
        (ended_the_appointment, "appointment"),
        (appointed_another, "appointment"),
        (narrowed, "appointment"),
        (suspended, "permit-suspended"),
        (ended, "cancelled"),
        (drawn_again, "older-attempt"),
        (dismissed, "clinician-role"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_one_thing_wrong_and_no_key_leaves(
    scene: Scene, tamper: Callable[[Scene], None], reason: str
) -> None:
    scene.ask()  # the control: until now it is honest
    lines = len(scene.rig.journal())
    tamper(scene)
    with pytest.raises(BrokerRefused) as refusal:
        scene.ask()
    assert refusal.value.reason.slug == reason
    assert len(scene.rig.journal()) == lines


# -- the plan itself


@dataclass
class Output:
    """A sealed plan with a key of which the broker wrapped the shares, as a worker seals it."""

    scene: Scene
    key: bytes
    header: Any

    def pieces(self, asker: Wallet, key: bytes, viewer: str | None) -> BrokerAnswer:
        scene = self.scene
        return scene.rig.client.output_pieces(
            scene.run, scene.attempt, scene.tx, key, self.header, asker, viewer
        )

    def refused(self, asker: Wallet, key: bytes, viewer: str | None) -> str:
        with pytest.raises(BrokerRefused) as refusal:
            self.pieces(asker, key, viewer)
        return str(refusal.value.reason.slug)

    def opens(self, asker: Wallet, private: Any, key: bytes, viewer: str) -> bool:
        answer = self.pieces(asker, key, viewer)
        pieces = decode_pieces(
            open_message(private, answer.info, answer.sealed), self.scene.rig.client.address
        )
        return join_shares([p.share for p in sorted(pieces, key=lambda p: p.j)]) == self.key


@pytest.fixture
def output(scene: Scene) -> Output:
    rig, key = scene.rig, random32()
    like = rig.headers(scene.leaves)[0]
    label = type(like.label)(rig.client_identity, scene.run, scene.run, rig.world.dataset, 255, 1)
    shares = rig.client.wrap(
        [
            WrapItem(scene.run, rig.world.dataset, scene.run, 1, j, share)
            for j, share in enumerate(split_key(key))
        ]
    )
    header = type(like)(label, shares, key_commitment(key))
    scene.seal = seal_plan(rig.world, scene.run, keyCommitment=key_commitment(key))
    return Output(scene, key, header)


def viewer_of(wallet: Wallet) -> str:
    return wallet.address[2:].lower()


def test_her_clinician_opens_it_after_a_look_and_she_after_his_countersignature(
    output: Output,
) -> None:
    scene = output.scene
    world = scene.rig.world
    cleo, ada, noor = world.people["cleo"], world.subjects[scene.subject], world.people["noor"]
    private, public = new_pair()
    assert output.refused(cleo, public, viewer_of(cleo)) == "no-look"
    view_plan(world, scene.run, viewerKey=public)
    assert output.opens(cleo, private, public, viewer_of(cleo))
    assert output.refused(ada, public, viewer_of(ada)) == "no-look"
    assert output.refused(noor, public, viewer_of(noor)) == "no-look"
    countersign(world, scene.run, scene.seal)
    assert output.refused(ada, public, viewer_of(ada)) == "no-look"
    assert output.refused(cleo, public, None) == "not-released"  # there is no result key
    mine, hers = new_pair()
    open_plan(world, scene.run, scene.subject, viewerKey=hers)
    assert output.opens(ada, mine, hers, viewer_of(ada))
    assert output.refused(cleo, hers, viewer_of(ada)) == "no-look"  # in her name
    assert output.opens(cleo, private, public, viewer_of(cleo))  # he may look it up later


@pytest.mark.parametrize(
    ("tamper", "clinician", "patient"),
    [
        (withdrew, "revoked", "consent-changed"),
        (narrowed, "appointment", "consent-changed"),
        (appointed_another, "appointment", ""),
        (suspended, "permit-suspended", "permit-suspended"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_plan_opens_for_nobody_new_after_a_withdrawal(
    output: Output, tamper: Callable[[Scene], None], clinician: str, patient: str
) -> None:
    scene = output.scene
    world = scene.rig.world
    cleo, ada = world.people["cleo"], world.subjects[scene.subject]
    public, (mine, hers) = new_pair()[1], new_pair()
    view_plan(world, scene.run, viewerKey=public)
    countersign(world, scene.run, scene.seal)
    open_plan(world, scene.run, scene.subject, viewerKey=hers)
    tamper(scene)
    assert output.refused(cleo, public, viewer_of(cleo)) == clinician
    if patient:
        assert output.refused(ada, hers, viewer_of(ada)) == patient
    else:
        assert output.opens(ada, mine, hers, viewer_of(ada))
