"""One governed run through the HTTP endpoints, with the answer of each endpoint."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.client.client import Client, wire
from api.demo.stage import CODE, SCHEMA, random32
from api.errors import NotAuthorised, NotThere, NotUnderstood, RefusedByPolicy
from api.http.strict_route import LargeRequest
from api.operate.bootstrap import FOREVER
from api.operate.health import Health
from chain.wallets import Wallet
from governance import consent
from governance.broker.endpoint import MAX_BODY
from governance.errors import TooManyRecords
from governance.objects.broker_client import BrokerClient
from governance.objects.ingest import MAX_LIST, MAX_RECORDS, Source, _batches, encrypt
from governance.objects.leaves import Leaf, leaves_root
from governance.orders import LONGEST_SECONDS
from governance.permits import run_id
from governance.rules.encoding import canonical_json, strict_json


def test_a_person_enrols_agrees_reads_and_withdraws(deployment) -> None:
    subject, wallet = random32(), Wallet.new()
    ada = deployment.patient(subject, wallet)
    invitation = deployment.as_("rita").invite(subject, wallet.signer)
    answer = ada.enrol([ada.accept(invitation)])
    assert answer["items"][0]["accepted"]
    assert answer["receipt"]["count"] == deployment.head()[0]

    offered = consent.offer(
        consent.PRESETS["cancer"],
        subject,
        deployment.world.dataset,
        0,
        0,
        deployment.world.ledger.now(),
        FOREVER,
    )
    granted = ada.grant([ada.signed_grant(offered.message)])
    proof = granted["items"][0]["proof"]
    assert proof["head"] == deployment.head()[1].hex()
    assert proof["witness"]["count"] >= proof["count"]
    assert "terms" not in proof
    receipt = strict_json(consent.patient_receipt(proof, offered.terms, offered.salt))
    assert receipt["termsSalt"] == offered.salt.hex()
    assert ada.consents()[0]["status"] == "live"

    ended = ada.revoke(deployment.world.dataset, 0)
    assert (ended["acted"], ended["current"], ended["state"]["status"]) == (True, 1, "revoked")
    again = ada.revoke(deployment.world.dataset, 0)
    assert (again["acted"], again["current"]) == (False, 1)
    assert again["receipt"]["count"] > ended["receipt"]["count"]  # it stands on the trail, once
    with pytest.raises(RefusedByPolicy) as repeated:
        ada.revoke(deployment.world.dataset, 0)
    assert repeated.value.reason == "AlreadyRecorded"
    assert again["state"]["epoch"] == 1


def test_patient_receipt_verifies_against_the_exported_trail(deployment) -> None:
    from governance.rules.trail import Replay

    (subject,) = deployment.people(1, agree=False)
    ada = deployment.patient(subject)
    offered = consent.offer(
        consent.PRESETS["health"],
        subject,
        deployment.world.dataset,
        0,
        0,
        deployment.world.ledger.now(),
        FOREVER,
    )
    proof = ada.grant([ada.signed_grant(offered.message)])["items"][0]["proof"]
    replay = Replay(ada.trail())
    replay.receipt(consent.patient_receipt(proof, offered.terms, offered.salt))
    with pytest.raises(Exception, match="not what its transaction recorded"):
        replay.receipt(consent.patient_receipt(proof, offered.terms, bytes(32)))


def test_one_refused_item_is_a_problem_and_many_are_answered_each(deployment) -> None:
    good, bad = deployment.people(2, agree=False)
    message = deployment.world.grant_message(bad, epoch=7)
    wrong = deployment.patient(bad).signed_grant(message)
    with pytest.raises(RefusedByPolicy) as refusal:
        deployment.anybody().grant([wrong])
    assert refusal.value.reason == "EpochStale"
    right = deployment.patient(good).signed_grant(deployment.world.grant_message(good))
    answer = deployment.anybody().grant([wrong, right])
    assert [item["accepted"] for item in answer["items"]] == [False, True]
    assert answer["items"][0]["reason"] == "EpochStale"
    assert answer["items"][1]["proof"]["subject"] == good.hex()


def test_permit_is_requested_voted_and_refuses_the_applicant(deployment) -> None:
    noor = deployment.as_("noor")
    permit = _request_permit(deployment, noor)
    assert noor.permit(permit)["status"] == "requested"
    with pytest.raises(RefusedByPolicy) as refusal:
        noor.vote(permit, True)
    assert refusal.value.reason == "ApplicantVoted"
    deployment.as_("pia").vote(permit, True)
    deployment.as_("quinn").vote(permit, True)
    shown = noor.permit(permit)
    assert (shown["status"], shown["yes"]) == ("approved", 2)
    assert shown in noor.permits()


def test_rows_of_another_process_may_be_ahead(deployment, tmp_path, monkeypatch) -> None:
    """A worker writes rows too: between this process's replay and its reading there may be more."""
    run = deployment.sealed_output(tmp_path / "key").run
    projection = deployment.services.projection
    projection.sync()
    (number,) = [key for key in projection.replayed.attempts if key[0].hex() == run]
    attempts, known = projection.replayed.attempts, projection.replayed.attempts[number]
    for before in (None, known._replace(seal={})):
        syncs = iter([before, known])

        def sync(syncs: Iterator[Any] = syncs) -> int:
            attempt = next(syncs, known)
            attempts.pop(number, None)
            if attempt is not None:
                attempts[number] = attempt
            return 0

        monkeypatch.setattr(projection, "sync", sync)
        (output,) = deployment.anybody().run(run)["outputs"]
        assert output["disclosureCommitment"] == known.seal["disclosureCommitment"].hex()
    monkeypatch.undo()


def test_a_refused_run_is_a_conflict_with_its_reason(deployment) -> None:
    noor = deployment.as_("noor")
    permit = _request_permit(deployment, noor)

    def refused(permit: str) -> RefusedByPolicy:
        with pytest.raises(RefusedByPolicy) as refusal:
            noor.request_run(bytes.fromhex(permit), b"{}", random32(), secrets.randbits(256))
        return refusal.value

    steps = deployment.head()[0]
    undecided, absent = refused(permit), refused(random32().hex())
    assert undecided.reason == "PermitUndecided"
    assert "has not decided on the permit yet" in str(undecided)
    assert absent.reason == "PermitUnknown"
    assert deployment.head()[0] == steps  # not yet decided: nothing is used up
    for name in ("pia", "quinn"):
        deployment.as_(name).vote(permit, False, "It names no method.")
    steps = deployment.head()[0]
    assert refused(permit).reason == "permit-rejected"
    assert deployment.head()[0] == steps + 1  # the refusal itself is on the trail


def test_a_run_is_released_by_two_checkers_who_viewed_it(deployment) -> None:
    noor, sol, tess = deployment.as_("noor"), deployment.as_("sol"), deployment.as_("tess")
    subjects, run = _sealed_run(deployment)
    with pytest.raises(RefusedByPolicy) as unseen:
        sol.approve(run)
    assert unseen.value.reason == "NotViewed"
    sol.view_output(run, 1, random32())
    tess.view_output(run, 1, random32())
    first = sol.approve(run)
    assert (first["released"], first["checkers"]) == (False, [sol.wallet.address])
    waiting = noor.run(run)["decision"]
    assert waiting["checkers"] == [sol.wallet.address]
    assert sol.approve(run)["released"] is False  # the same checker again is still one
    second = tess.approve(run)
    assert second["released"] is True
    assert set(second["checkers"]) == {sol.wallet.address, tess.wallet.address}
    shown = noor.run(run)
    assert (shown["state"], shown["decision"]) == ("released", None)
    assert shown["outputs"][0]["release"]["tx"] == second["receipt"]["tx"]
    assert shown["attempts"][0]["granted"] == len(subjects)


def test_release_is_refused_after_a_withdrawal_and_the_pending_yes_is_gone(deployment) -> None:
    sol, tess = deployment.as_("sol"), deployment.as_("tess")
    subjects, run = _sealed_run(deployment)
    sol.view_output(run, 1, random32())
    tess.view_output(run, 1, random32())
    sol.approve(run)
    deployment.world.revoke(subjects[0])
    with pytest.raises(RefusedByPolicy) as refusal:
        tess.approve(run)
    assert refusal.value.reason == "revoked"
    assert deployment.anybody().run(run)["state"] != "released"
    assert deployment.anybody().run(run)["decision"] is None


def test_a_question_that_is_paid_covers_the_release_about_who_is_left(deployment) -> None:
    """Somebody withdraws while the run waits: its next attempt, without her, needs no question of
    the permit, which has none left. After eight other lists the run ends, as steps and seconds of
    each are seen. Another run about the first people needs a question of its own.
    """
    world, people = deployment.world, deployment.people(12)
    permit = world.permit(questions=1)

    def attempted(*granted: list[bytes]) -> str:
        run = world.request_run(permit)
        for attempt, some in enumerate(granted, 1):
            world.authorise(run, some, attempt=attempt)
        return run.hex()

    run = attempted(people, people[1:])
    world.seal(bytes.fromhex(run), 2)
    for name in ("sol", "tess"):
        deployment.as_(name).view_output(run, 2, random32())
    deployment.as_("sol").approve(run)
    assert deployment.as_("tess").approve(run)["released"]
    for lists, reason in (
        ([people], "permit-questions"),
        ([people[1:], people[2:]], "permit-questions"),  # the first of it was asked before
    ):
        shown = deployment.anybody().run(attempted(*lists))
        assert (shown["state"], shown["reason"]["slug"]) == ("denied", reason)
    permit = world.permit(questions=1)
    shown = deployment.anybody().run(attempted(*(people[at:] for at in range(10))))
    assert (shown["state"], shown["reason"]["slug"]) == ("denied", "run-moved")


def test_an_approval_ends(deployment) -> None:
    """Else one checker could keep every other decision on an output out, for good."""
    sol, tess = deployment.as_("sol"), deployment.as_("tess")
    _, run = _sealed_run(deployment)
    sol.view_output(run, 1, random32())
    decision = sol._decision(sol.run(run), 0)
    for deadline in (int(time.time()) + LONGEST_SECONDS + 60, FOREVER):
        answer = httpx.post(
            f"{deployment.url}/runs/{run}/attempts/1/release",
            json={
                "decision": wire("Decision", decision | {"deadline": deadline}),
                "signature": sol.sign("Decision", decision | {"deadline": deadline}).hex(),
            },
        )
        assert answer.status_code == 422
        assert "more than 30 days away" in answer.json()["detail"]
    assert sol.run(run)["decision"] is None
    tess.view_output(run, 1, random32())
    assert tess.approve(run)["checkers"] == [tess.wallet.address]


def test_a_second_pending_decision_is_refused(deployment) -> None:
    sol, tess = deployment.as_("sol"), deployment.as_("tess")
    _, run = _sealed_run(deployment)
    for checker in (sol, tess):
        checker.view_output(run, 1, random32())
    sol.approve(run)
    other = sol._decision(sol.run(run), 0)
    other["deadline"] += 1
    with pytest.raises(RefusedByPolicy, match="second signature"):
        tess._signed(f"/runs/{run}/attempts/1/release", "decision", "Decision", other)
    with pytest.raises(RefusedByPolicy) as stranger:
        deployment.as_("noor").approve(run)
    assert stranger.value.reason in ("CheckerConflict", "NotLive")


def test_a_checkers_no_ends_the_run(deployment) -> None:
    sol = deployment.as_("sol")
    _, run = _sealed_run(deployment)
    sol.view_output(run, 1, random32())
    sol.reject(run, 96)
    shown = sol.run(run)
    assert (shown["state"], shown["reason"]["slug"]) == ("refused", "disclosure-risk")


def test_the_analyst_alone_cancels(deployment) -> None:
    noor = deployment.as_("noor")
    run = deployment.world.request_run(deployment.world.permit()).hex()
    with pytest.raises(RefusedByPolicy) as stranger:
        deployment.as_("sol").cancel(run)
    assert stranger.value.reason == "NotTheAnalyst"
    noor.cancel(run)
    assert noor.run(run)["state"] == "withdrawn"
    assert run in [row["run"] for row in noor.runs("withdrawn")]


def test_ingest_needs_the_signed_list_and_its_custodian(deployment) -> None:
    (subject,) = deployment.people()
    leaf = Leaf(random32(), subject, 6, 1, random32(), random32())
    ingest, dataset = random32(), deployment.world.dataset
    root = leaves_root(ingest, dataset, [leaf])
    with pytest.raises(RefusedByPolicy) as stranger:
        deployment.as_("rita").register_records(dataset, ingest, root, [leaf.to_json()])
    assert stranger.value.reason == "NotTheCustodian"
    omar = deployment.as_("omar")
    with pytest.raises(NotUnderstood, match="whose root was signed"):
        omar.register_records(dataset, ingest, random32(), [leaf.to_json()])
    before = _records(deployment)
    answer = omar.register_records(dataset, ingest, root, [leaf.to_json()])
    assert answer["receipt"]["count"] == deployment.head()[0]
    assert _records(deployment) == before + 1
    assert canonical_json([leaf.to_json()]) == deployment.services.bucket.get_list(root)


def test_an_ingest_takes_fourteen_records_of_a_thousand_people(deployment) -> None:
    """Each was encrypted and uploaded, and their list then refused: it had a limit of 4,000 of its
    own.
    """
    leaves = [
        Leaf(random32(), subject, 6, 1, random32(), random32())
        for subject in [random32() for _ in range(1_000)]
        for _ in range(14)
    ]
    ingest, dataset, omar = random32(), random32(), deployment.as_("omar")
    deployment.world.register_dataset(dataset)
    root, listed = leaves_root(ingest, dataset, leaves), [leaf.to_json() for leaf in leaves]
    assert omar.register_records(dataset, ingest, root, listed)["receipt"]["count"]
    broker = BrokerClient(
        deployment.settings.address("broker"), deployment.world.ledger.domain, omar.identity_id
    )
    broker.hand_over(ingest, listed)


def test_the_longest_list_of_an_ingest_fits_into_every_message_that_carries_it() -> None:
    """To the service and to the broker; with every number as long as it gets."""
    longest = Leaf(bytes(32), bytes(32), 31, 2**32 - 1, bytes(32), bytes(32))
    size = MAX_RECORDS * (len(json.dumps(longest.to_json())) + len(", "))
    assert size + 10_000 < min(LargeRequest.limit, MAX_BODY, MAX_LIST)


def test_what_one_ingest_cannot_hold_is_refused_before_anything_is_encrypted(deployment) -> None:
    sources = [Source(random32(), 6, b"{}")] * (MAX_RECORDS + 1)
    nothing: Any = None  # neither broker nor bucket is asked
    with pytest.raises(TooManyRecords, match="at most 20,000 records"):
        encrypt(sources, random32(), random32(), nothing, nothing)
    assert sum(map(len, _batches(iter(sources[1:])))) == MAX_RECORDS
    with pytest.raises(TooManyRecords):
        list(_batches(iter(sources)))


def test_a_role_needs_a_quorum(deployment) -> None:
    pia, quinn = deployment.as_("pia"), deployment.as_("quinn")
    change = {
        "account": Wallet.new().address,
        "role": 8,
        "start": 0,
        "end": FOREVER,
        "replaces": 0,
        "deadline": FOREVER,
    }
    with pytest.raises(RefusedByPolicy) as alone:
        pia.set_role(change, [pia.sign("RoleChange", change)])
    assert alone.value.reason == "QuorumMissing"
    both = [client.sign("RoleChange", change) for client in (pia, quinn)]
    assert pia.set_role(change, both[::-1])["receipt"]["head"]


def test_output_ciphertext_is_for_analyst_and_checkers_only(deployment) -> None:
    (subject,) = deployment.people()
    _, run = _sealed_run(deployment)
    with pytest.raises(NotAuthorised):
        deployment.patient(subject).output(run)
    with pytest.raises(NotAuthorised):
        deployment.as_("omar").output(run)
    for name in ("noor", "sol"):
        with pytest.raises(NotThere):  # this seal names an object that nobody wrote
            deployment.as_(name).output(run)


def test_accesses_and_denials_are_for_her_and_for_auditors(deployment) -> None:
    subjects, run = _sealed_run(deployment)
    hers = deployment.patient(subjects[0]).accesses()
    assert (hers[0]["run"], hers[0]["granted"], hers[0]["state"]) == (run, True, "sealed")
    assert deployment.as_("vera").accesses(subjects[0]) == hers
    for other in (deployment.patient(subjects[1]), deployment.as_("noor")):
        with pytest.raises(NotAuthorised):
            other.accesses(subjects[0])
    with pytest.raises(NotAuthorised):
        deployment.as_("noor").denials()
    assert isinstance(deployment.as_("vera").denials(), list)


def test_an_access_is_released_only_when_its_own_attempt_was(deployment) -> None:
    """She is in attempt 1, withdraws, and attempt 2 is released without her: nothing of hers left."""
    world, people = deployment.world, deployment.people(4)
    leaving, staying = people[0], people[1]
    run = world.request_run(world.permit(), "noor")

    def states(of: bytes) -> dict[int, str]:
        return {
            access["attempt"]: access["state"]
            for access in deployment.patient(of).accesses()
            if access["run"] == run.hex()
        }

    def check(attempt: int, seal: bytes, included: list[bytes]) -> None:
        for name in ("sol", "tess"):
            world.view_output(run, name, attempt)
        world.release(run, seal, included, [0] * len(included), attempt=attempt)

    world.authorise(run, people)
    assert states(leaving) == {1: "in progress"}
    seal = world.seal(run)
    assert states(leaving) == {1: "sealed"}
    world.revoke(leaving)
    check(1, seal, people)  # refused: she is in it, and no longer willing
    assert states(leaving) == {1: "ended"}
    world.authorise(run, people, attempt=2)
    assert states(leaving) == {1: "superseded", 2: "denied"}
    check(2, world.seal(run, 2), people[1:])
    assert states(leaving) == {1: "superseded", 2: "denied"}
    assert states(staying) == {1: "superseded", 2: "released"}


def test_head_identity_and_trail_agree(deployment) -> None:
    somebody = deployment.anybody()
    head = somebody.trail_head()
    assert (head["count"], head["head"]) == (deployment.head()[0], deployment.head()[1].hex())
    assert head["witness"]["head"] == head["head"]
    assert somebody._get("/identity") == dict(deployment.world.ledger.identity)
    assert somebody.trail()["head"]["count"] == head["count"]


def test_health_names_what_is_down(deployment) -> None:
    deployment.worker_alive(at=0)
    health = deployment.anybody().health()
    assert {part: health[part]["state"] for part in health} == {
        "ledger": "ok",
        "bucket": "ok",
        "broker": "ok",
        "worker": "down",
        "api": "ok",
    }
    deployment.worker_alive()
    worker = deployment.anybody().health()["worker"]
    assert (worker["state"], worker["count"]) == ("ok", 1)


def test_health_never_fails_and_remembers_since_when(deployment) -> None:
    reachable = {"there": True}

    def ask() -> httpx.Response:
        return httpx.get(
            f"{deployment.url}/identity" if reachable["there"] else "http://127.0.0.1:9/",
            timeout=1.0,
        )

    health = Health({"ledger": ask}, lambda _now: [])
    assert health.report(100)["ledger"] == {"state": "ok", "since": 100}
    reachable["there"] = False
    assert health.report(110)["ledger"] == {"state": "down", "since": 110}
    assert health.report(120)["ledger"] == {"state": "down", "since": 110}


def _request_permit(deployment, noor: Client) -> str:
    message = deployment.world.permit_request()
    noor.request_permit({name: value for name, value in message.items() if name != "deadline"})
    return bytes(message["permit"]).hex()


def _sealed_run(deployment) -> tuple[list[bytes], str]:
    """Three willing people, authorised and sealed by the demo worker; requested through the
    endpoint.
    """
    subjects = deployment.people(3)
    noor = deployment.as_("noor")
    permit, nonce = (
        deployment.world.permit(codeHash=CODE, paramsSchemaHash=SCHEMA),
        secrets.randbits(256),
    )
    answer = noor.request_run(permit, canonical_json({"model": "logistic"}), random32(), nonce)
    run = bytes.fromhex(answer["run"])
    assert run == run_id(noor.wallet.address, nonce)
    deployment.world.authorise(run, subjects)
    deployment.world.seal(run)
    return subjects, run.hex()


def _records(deployment) -> int:
    datasets = [
        dataset
        for dataset in deployment.anybody().datasets()
        if dataset["dataset"] == deployment.world.dataset.hex()
    ]
    return int(datasets[0]["records"])


def test_parameters_are_canonical_and_signed(deployment) -> None:
    noor, permit = deployment.as_("noor"), deployment.world.permit()
    for params in (b'{"model": "logistic"}', b"[1]", b'{"a":1,"a":1}', b'{"a":1.5}'):
        with pytest.raises(NotUnderstood):
            noor.request_run(permit, params, random32(), secrets.randbits(256))
    message = {
        "permit": permit,
        "paramsHash": hashlib.sha256(b"{}").digest(),
        "resultKey": random32(),
        "nonce": 1,
        "deadline": FOREVER,
    }
    with pytest.raises(NotUnderstood, match="not the signed ones"):
        noor._signed("/runs", "request", "RunRequest", message, params='{"a":1}')
