"""The law executed twice: whatever people do, the fold says what the contracts said, event for event, head for head."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.demo.stage import CATEGORIES, World
from chain.devchain import DevChain
from chain.errors import ChainError
from chain.wallets import Wallet
from governance.audit import export_bundle
from governance.verify import Replay, load_crypto, parse_identity, slot_of

PEOPLE = 4
who = st.integers(0, PEOPLE - 1)
mask = st.sampled_from([0, 1 << 1, 1 << 2, 0b110, 1 << 6, 1 << 7, 1 << 16 | 0b110])
kinds = st.sampled_from([CATEGORIES, 1 << 2, CATEGORIES | 1 << 5, 1 << 30, 0])
day = st.integers(-3, 3)
step = st.one_of(
    st.tuples(st.just("grant"), who, mask, kinds, day, day, st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("grant_by_other"), who),
    st.tuples(st.just("revoke"), who, st.integers(0, 3)),
    st.tuples(st.just("authorise"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("seal"), st.booleans()),
    st.tuples(st.just("look"), st.sampled_from(["sol", "tess"])),
    st.tuples(st.just("release"), st.booleans()),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("end_role"), st.sampled_from(["wanda", "noor", "sol"])),
)


class Life:
    """One deployment in which random things are tried; what the contracts refuse is simply not there."""

    def __init__(self, url: str) -> None:
        self.world = World.create(url, floor=2)
        self.subjects = self.world.enrol(PEOPLE)
        self.run = self.world.request_run(self.world.permit(minCohort=2))
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

    def authorise(self, back: int, strangers: bool) -> None:
        subjects = sorted([*self.subjects, secrets.token_bytes(32)] if strangers else self.subjects)
        self.world.authorise(self.run, subjects, attempt=max(1, self.attempt + 1 - back))
        self.attempt = self.world.ledger.read("AccessLedger", "runOf", self.run)[2]

    def seal_(self, other: bool) -> None:
        self.seal = self.world.seal(self.run, self.attempt, by="wilma" if other else "wanda")

    def look(self, name: str) -> None:
        self.world.look(self.run, name, self.attempt)

    def release(self, honest: bool) -> None:
        bundle = Replay(export_bundle(self.world.ledger))
        granted = bundle.fold.granted(self.run, self.attempt)
        epochs = [epoch if honest else epoch + 1 for _, epoch, _ in granted]
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


@settings(
    max_examples=12,
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
    fold = Replay(bundle, crypto).fold
    assert (fold.count, fold.head) == life.world.ledger.head()
    for subject in life.subjects:
        assert slot_of(fold.consent(life.world.dataset, subject)) == life.world.slot(subject)


def test_a_withdrawal_before_the_first_consent_is_a_withdrawal(
    devchain: DevChain, tmp_path: Path
) -> None:
    """Status and reason of a slot that was revoked while it was empty: 3 in the contract, 3 in the fold."""
    world = World.create(devchain.url, floor=1)
    first, second = world.enrol(2)
    world.grant([first])
    world.revoke(second, epoch=0)
    run = world.request_run(world.permit(minCohort=1))
    world.authorise(run, [first, second])
    fold = Replay(export_bundle(world.ledger)).fold
    assert fold.attempts[run, 1].denied == [(second, 3)]
