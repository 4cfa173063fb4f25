"""The effects of a withdrawal that a person sees: affected uses, time to stop, and what cannot be
undone.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

import httpx
import pytest

from analytics.params import complete
from api.client.results import withdrawal_receipt
from api.errors import NotAuthorised, NotThere
from governance import audit
from governance.permit_review import DAY, count_changed
from governance.readmodel import queries as register
from governance.rules.cli import examine
from governance.rules.encoding import canonical_json
from governance.runs import mark


def withdraw(deployment, subject: bytes) -> dict[str, Any]:
    """Withdraw through the endpoint; what is shown at once."""
    me = deployment.patient(subject)
    answer = me.revoke(deployment.world.dataset, me.consent_to(deployment.world.dataset)["epoch"])
    return withdrawal_of(deployment, subject, answer["receipt"]["tx"])


def withdrawal_of(deployment, subject: bytes, tx: str) -> dict[str, Any]:
    return next(
        withdrawal
        for withdrawal in deployment.patient(subject).withdrawals()
        if withdrawal["tx"] == tx
    )


def effect_on(shown: dict[str, Any], run: bytes) -> dict[str, Any]:
    return next(effect for effect in shown["effects"] if effect["run"] == run.hex())


def changed_since(deployment, run: bytes) -> int:
    """How many of a sealed output have withdrawn since, before it is rounded."""
    deployment.services.projection.sync()
    dataset = deployment.world.dataset.hex()
    return count_changed(deployment.services.engine, dataset, run.hex(), 1)


def asked(deployment) -> bytes:
    return deployment.world.request_run(deployment.world.permit())


def test_effects_of_a_withdrawal_are_private(deployment) -> None:
    mine, other = deployment.people(2)
    withdraw(deployment, mine)
    address = f"{deployment.url}/subjects/{mine.hex()}/withdrawals"
    assert httpx.get(address).status_code == 401
    for client in (
        deployment.patient(other),
        deployment.as_("noor"),
        deployment.as_("vera"),
        deployment.as_("dora"),
        deployment.as_("omar"),
    ):
        client.subject = client.subject or mine
        with pytest.raises(NotAuthorised):
            client._get(f"/subjects/{mine.hex()}/withdrawals", signed_in=True)
    assert len(deployment.patient(mine).withdrawals()) == 1
    assert deployment.patient(other).withdrawals() == []
    assert httpx.get(f"{deployment.url}/subjects/zq/withdrawals").status_code in (400, 401, 404)


def test_a_waiting_use_leaves_her_out(deployment) -> None:
    people = deployment.people(4)
    run = asked(deployment)
    shown = withdraw(deployment, people[0])
    effect = effect_on(shown, run)
    assert (shown["kind"], shown["settled"], shown["dataset"]) == (
        "revoked",
        True,
        deployment.world.dataset.hex(),
    )
    assert (effect["was"], effect["attempt"], effect["stopped"], effect["nextAttempt"]) == (
        "queued",
        0,
        None,
        0,
    )
    assert effect["sentence"] == "A use that was waiting leaves you out."
    deployment.world.authorise(run, people)
    effect = effect_on(withdrawal_of(deployment, people[0], shown["tx"]), run)
    assert effect["nextAttempt"] == 1
    assert effect["sentence"].endswith(
        f"started again without you (attempt 1, block {effect['nextBlock']})."
    )
    assert people[0] not in {
        who for who, *_ in deployment.services.projection.replayed.granted(run, 1)
    }


@pytest.mark.parametrize("how", ["narrowed", "given anew", "given anew after an attempt"])
def test_a_waiting_use_that_later_includes_her_is_reported_so(deployment, how: str) -> None:
    """She allowed less, or nothing for a while; when it began, what she allowed was enough."""
    people, world = deployment.people(4), deployment.world
    run, me, attempt = asked(deployment), deployment.patient(people[0]), 1
    if how == "narrowed":
        world.grant([people[0]], untilDay=world.ledger.now() // 86_400 + 20)
    else:
        withdraw(deployment, people[0])
        if how == "given anew after an attempt":
            world.authorise(run, people)
            attempt = 2
            (shown,) = me.withdrawals()
            assert "leaves you out. It was started again" in effect_on(shown, run)["sentence"]
        world.grant([people[0]])
    (shown,) = me.withdrawals()
    assert "leaves you out" in effect_on(shown, run)["sentence"]
    world.authorise(run, people, attempt=attempt)
    (shown,) = me.withdrawals()
    effect = effect_on(shown, run)
    assert (shown["settled"], effect["was"], effect["over"]) == (True, "queued", True)
    assert people[0] in {
        who for who, *_ in deployment.services.projection.replayed.granted(run, attempt)
    }
    assert effect["sentence"] == (
        "A use that was waiting took you in later, under what you allowed by then."
    )
    mined = register.find_receipt(deployment.services.engine, shown["tx"])
    receipt = withdrawal_receipt(me, mined, shown, deployment.services.witness())
    bundle = audit.export_bundle(world.ledger)
    verdicts = examine(canonical_json(bundle), [bundle["head"]], [receipt])
    assert verdicts["anchored"][0] == "ok", verdicts
    was = receipt.replace(effect["sentence"].encode(), b"A use that was waiting leaves you out.")
    assert was != receipt
    assert examine(canonical_json(bundle), receipts=[was])["anchored"][0] == "no"


def test_a_computing_use_is_settled_when_its_process_is_dead(deployment) -> None:
    people = deployment.people(4)
    run = asked(deployment)
    deployment.world.authorise(run, people)
    shown = withdraw(deployment, people[0])
    effect = effect_on(shown, run)
    assert (shown["settled"], effect["was"], effect["attempt"], effect["stopped"]) == (
        False,
        "computing",
        1,
        None,
    )
    assert effect["sentence"] == "A running use of your data is being stopped."
    time.sleep(0.2)
    mark(
        deployment.services.engine, f"stopped:{run.hex()}:1", "a person is no longer willing"
    )  # as the supervisor does
    shown = withdrawal_of(deployment, people[0], shown["tx"])
    effect = effect_on(shown, run)
    assert shown["settled"]
    assert 0.1 < float(effect["stopped"]) < 30
    assert effect["sentence"].startswith("A running use of your data was stopped after ")
    assert "what it had computed is gone" in effect["sentence"]


def test_a_process_that_died_before_the_mark_counts_as_stopped(deployment) -> None:
    """The worker saw the block, and stopped it, before the service had noted that the withdrawal
    was mined.
    """
    people = deployment.people(4)
    run = asked(deployment)
    deployment.world.authorise(run, people)
    mark(deployment.services.engine, f"stopped:{run.hex()}:1", "a person is no longer willing")
    time.sleep(0.05)
    shown = withdraw(deployment, people[0])
    effect = effect_on(shown, run)
    assert (shown["settled"], effect["was"], effect["stopped"]) == (True, "computing", "0.00")
    assert effect["sentence"] == (
        "A running use of your data was stopped; what it had computed is gone."
    )


def test_without_the_supervisors_mark_the_next_attempt_shows_the_end(deployment) -> None:
    """The seconds are this machine's and may be lost; that an attempt is over stands on the ledger."""
    people = deployment.people(4)
    run = asked(deployment)
    deployment.world.authorise(run, people)
    shown = withdraw(deployment, people[0])
    deployment.world.authorise(run, people, attempt=2)
    shown = withdrawal_of(deployment, people[0], shown["tx"])
    effect = effect_on(shown, run)
    assert (shown["settled"], effect["stopped"], effect["nextAttempt"]) == (True, None, 2)
    assert effect["sentence"] == (
        "A running use of your data was stopped; what it had computed is gone. It was "
        f"started again without you (attempt 2, block {effect['nextBlock']})."
    )


def test_a_use_with_another_end_is_settled_too(deployment) -> None:
    people = deployment.people(3)
    run = asked(deployment)
    deployment.world.authorise(run, people)
    shown = withdraw(deployment, people[0])
    assert not shown["settled"]
    deployment.as_("noor").cancel(run.hex())
    shown = withdrawal_of(deployment, people[0], shown["tx"])
    assert (shown["settled"], effect_on(shown, run)["state"]) == (True, "withdrawn")


def test_a_finished_output_is_held_back(deployment) -> None:
    people = deployment.people(4)
    before, at_once = asked(deployment), asked(deployment)
    deployment.world.authorise(before, people)
    deployment.world.seal(before)
    deployment.world.authorise(at_once, people)
    shown = withdraw(deployment, people[0])
    assert not shown["settled"]
    deployment.world.seal(at_once)  # its worker was faster than its own look at the ledger
    shown = withdrawal_of(deployment, people[0], shown["tx"])
    assert shown["settled"]
    was = effect_on(shown, before)
    assert (was["was"], was["sealed"], was["state"]) == ("sealed", False, "sealed")
    assert (
        was["sentence"]
        == "A finished output with your data in it is held back: the ledger refuses its release."
    )
    then = effect_on(shown, at_once)
    assert (then["was"], then["sealed"]) == ("computing", True)
    assert "finished as you withdrew; its output is held back" in then["sentence"]


def test_a_released_result_is_reported_as_irrevocable(deployment) -> None:
    world, people = deployment.world, deployment.people(3)
    run = asked(deployment)
    world.authorise(run, people)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.view_output(run, name)
    world.release(run, seal, people, [0] * 3)
    assert changed_since(deployment, run) == 0
    shown = withdraw(deployment, people[0])
    assert changed_since(deployment, run) == 1
    effect = effect_on(shown, run)
    assert (shown["settled"], effect["was"], effect["nextAttempt"]) == (True, "released", 0)
    assert (
        effect["sentence"]
        == "A result with your data in it had been released before; it cannot be called back."
    )
    world.grant([people[0]])
    assert changed_since(deployment, run) == 1  # who agreed again had withdrawn all the same


def test_a_report_counts_the_withdrawn_in_tens_and_once_a_month(deployment, monkeypatch) -> None:
    """Everybody may open it: a number of today would change as one person withdraws."""
    world, people = deployment.world, deployment.people(12)
    outcome = {"kind": "distant-metastasis", "horizon_days": 1825}
    params = complete({"analysis": "evaluate", "outcome": outcome})
    run = world.request_run(world.permit(), params=params)
    world.authorise(run, people)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.view_output(run, name)
    world.release(run, seal, people, [0] * 12)

    def withdrawn(days: int) -> str:
        deployment.services.projection.sync()
        moment = world.ledger.now() + days * DAY
        monkeypatch.setattr(deployment.services, "clock", lambda: moment)
        page = httpx.get(
            f"{deployment.url}/runs/{run.hex()}/report", headers={"Accept": "text/html"}
        ).text
        return re.search(r"Withdrawn since</dt><dd>(.*?) people of those in it, by 1 ", page)[1]

    for subject in people[:9]:
        world.revoke(subject)
    assert withdrawn(32) == "fewer than 10"
    world.revoke(people[9])
    assert withdrawn(0) == "fewer than 10"  # of this month, and so not yet
    assert withdrawn(32) == "10 to 19"
    world.grant([people[9]])
    assert withdrawn(32) == "10 to 19"  # who agreed again had withdrawn all the same


def test_uses_of_other_people_are_not_named(deployment) -> None:
    mine, *others = deployment.people(4)
    ended, never_in = asked(deployment), asked(deployment)
    deployment.as_("noor").cancel(ended.hex())
    deployment.world.authorise(never_in, others)
    assert not {ended.hex(), never_in.hex()} & {
        effect["run"] for effect in withdraw(deployment, mine)["effects"]
    }


def test_allowing_less_is_a_withdrawal_and_allowing_more_is_not(deployment) -> None:
    people = deployment.people(4)
    run = asked(deployment)
    deployment.world.authorise(run, people)
    deployment.world.grant([people[0]], untilDay=deployment.world.ledger.now() // 86_400 + 900)
    assert deployment.patient(people[0]).withdrawals() == []
    deployment.world.grant([people[0]], untilDay=deployment.world.ledger.now() // 86_400 + 20)
    (shown,) = deployment.patient(people[0]).withdrawals()
    assert (shown["kind"], shown["settled"], effect_on(shown, run)["was"]) == (
        "narrowed",
        False,
        "computing",
    )
    deployment.world.authorise(run, people, attempt=2)
    (shown,) = deployment.patient(people[0]).withdrawals()
    effect = effect_on(shown, run)
    assert (shown["settled"], effect["nextAttempt"]) == (
        True,
        0,
    )  # she is in attempt 2, as she now wishes
    assert "without you" not in effect["sentence"]
    deployment.world.revoke(people[0])
    newest, older = deployment.patient(people[0]).withdrawals()
    assert (newest["kind"], older["kind"]) == ("revoked", "narrowed")
    assert effect_on(newest, run)["attempt"] == 2


def test_nobody_is_told_what_is_not_there(deployment) -> None:
    stranger = deployment.patient(deployment.people(1)[0])
    stranger.subject = os.urandom(32)
    with pytest.raises((NotAuthorised, NotThere)):
        stranger.withdrawals()
