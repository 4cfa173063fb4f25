"""Every attack on endpoints gets its own refusal and changes nothing; its accepted control
succeeds.
"""

from __future__ import annotations

import importlib
import secrets
import time
from collections import Counter
from pathlib import Path

import pytest
from removals import GATE, Gate, module_without

from api.client.client import Client
from api.demo.attacks import ENDPOINT_ATTACKS, EndpointAttack, Endpoints, answered
from api.http.strict_route import StrictRequest
from api.pages.session import own_origin
from chain.wallets import Wallet
from governance.sessions import CHALLENGE_SECONDS, open_challenge

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def endpoints(deployment, tmp_path_factory) -> Endpoints:
    world = deployment.world
    ada, bea = (deployment.patient(subject) for subject in deployment.people(2))
    world.people["eve"] = Wallet.new()

    def demote(ended: bool) -> Client:
        end = world.ledger.now() + (0 if ended else 4000)
        world.set_role(world.people["eve"].address, "auditor", end=end)
        deployment.anybody().permits()  # the projection follows
        return deployment.as_("eve")

    def old_challenge() -> str:
        return open_challenge(deployment.services.engine, int(time.time()) - CHALLENGE_SECONDS)[0]

    permit = world.permit()
    sealed = deployment.sealed_output(tmp_path_factory.mktemp("doors") / "key")
    return Endpoints(
        deployment.url,
        deployment.as_,
        ada,
        bea,
        world.dataset,
        permit,
        sealed.run,
        lambda: world.request_run(permit, nonce=secrets.randbits(256)).hex(),
        old_challenge,
        demote,
    )


@pytest.mark.parametrize("attack", ENDPOINT_ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_refused_and_its_control_accepted(
    deployment, endpoints: Endpoints, attack: EndpointAttack
) -> None:
    slot = deployment.world.slot(endpoints.ada.subject)
    answer = attack.action(endpoints, True)
    assert answered(answer) == attack.expected, answer.text
    assert 400 <= answer.status_code < 500
    assert deployment.world.slot(endpoints.ada.subject) == slot
    control = attack.action(endpoints, False)
    assert answered(control) == "accepted", control.text


@pytest.mark.parametrize("gate", GATE, ids=lambda gate: gate.control)
def test_without_the_control_the_attack_gets_through(
    endpoints: Endpoints, gate: Gate, monkeypatch
) -> None:
    loose = module_without(ROOT / gate.file, gate.edits)
    for target in gate.places:
        module, name = target.split(":")
        monkeypatch.setattr(importlib.import_module(module), name, getattr(loose, name))
    for name in gate.attacks:
        attack = next(candidate for candidate in ENDPOINT_ATTACKS if candidate.name == name)
        assert answered(attack.action(endpoints, True)) == "accepted", name


def test_without_the_check_of_origin_every_sites_forms_are_taken(
    endpoints: Endpoints, monkeypatch
) -> None:
    monkeypatch.setattr(own_origin, "__code__", (lambda request, services: None).__code__)
    for name in (
        "a page's form sent from another site",
        "a page's form without an origin",
        "a page's form under another host's name",
        "a cookie alone ends somebody's session",
    ):
        attack = next(candidate for candidate in ENDPOINT_ATTACKS if candidate.name == name)
        assert answered(attack.action(endpoints, True)) in ("accepted", "303"), name


def test_without_a_limit_a_body_of_any_size_is_taken(endpoints: Endpoints, monkeypatch) -> None:
    monkeypatch.setattr(StrictRequest, "limit", 1 << 30)
    attack = next(
        candidate
        for candidate in ENDPOINT_ATTACKS
        if candidate.name == "a body that is larger than the route takes"
    )
    assert answered(attack.action(endpoints, True)) == "accepted"


def test_a_successful_attack_is_noticed(endpoints: Endpoints) -> None:
    """The table's judge: the honest request is no refusal; among refusals an acceptance counts, or
    another one.
    """
    from api.demo.attacks.endpoints import worst

    good, bad = endpoints.get("/permits"), endpoints.get("/permits/x")
    assert worst([bad, good, bad]) is good
    other = endpoints.get("/nowhere")
    assert worst([bad, bad]) is bad
    assert (
        answered(worst([other, bad]))
        == answered(worst([bad, other]))
        == "Not a valid message; Not found"
    )
    assert answered(good) == "accepted"
    assert answered(bad) != "accepted"


def test_the_table_is_as_large_as_promised() -> None:
    names = Counter(attack.name for attack in ENDPOINT_ATTACKS)
    assert len(names) == len(ENDPOINT_ATTACKS) >= 25
