"""Sign-in: a challenge works once, for one service and one person; its session is hers alone."""

from __future__ import annotations

import hashlib
import time

import httpx
import pytest
from sqlalchemy import select

from api.demo.stage import random32
from api.errors import NotAuthorised, NotServing
from chain.wallets import Wallet
from governance.errors import NotSignedIn
from governance.readmodel.tables import Session
from governance.sessions import (
    CHALLENGE_SECONDS,
    SESSION_SECONDS,
    Caller,
    caller_of,
    open_challenge,
    open_session,
    prove,
)


def test_a_challenge_is_used_once(deployment) -> None:
    body = _signed(deployment, "noor", _challenge(deployment))
    assert httpx.post(f"{deployment.url}/sign-in", json=body).status_code == 200
    again = httpx.post(f"{deployment.url}/sign-in", json=body)
    assert again.status_code == 401
    assert again.headers["WWW-Authenticate"] == "Bearer"


def test_a_failed_sign_in_uses_the_challenge_too(deployment) -> None:
    nonce = _challenge(deployment)
    wrong = _signed(deployment, "noor", nonce) | {"account": deployment.world.people["sol"].address}
    assert httpx.post(f"{deployment.url}/sign-in", json=wrong).status_code == 401
    assert (
        httpx.post(f"{deployment.url}/sign-in", json=_signed(deployment, "noor", nonce)).status_code
        == 401
    )


def test_a_signature_for_another_audience_opens_nothing(deployment) -> None:
    body = _signed(deployment, "noor", _challenge(deployment), audience="http://phish.example")
    assert httpx.post(f"{deployment.url}/sign-in", json=body).status_code == 401


def test_the_client_refuses_to_sign_for_another_service(deployment, monkeypatch) -> None:
    noor = deployment.as_("noor")
    monkeypatch.setattr(deployment.services, "audience", "http://elsewhere.example")
    with pytest.raises(NotServing):
        noor.sign_in()


def test_an_old_or_future_signature_opens_nothing(deployment) -> None:
    for shift in (-CHALLENGE_SECONDS - 5, CHALLENGE_SECONDS + 5):
        body = _signed(deployment, "noor", _challenge(deployment), issued=int(time.time()) + shift)
        assert httpx.post(f"{deployment.url}/sign-in", json=body).status_code == 401


def test_an_expired_challenge_opens_nothing(deployment) -> None:
    services, now = deployment.services, int(time.time())
    nonce, expires = open_challenge(services.engine, now - CHALLENGE_SECONDS)
    assert expires <= now
    with pytest.raises(NotSignedIn, match="challenge"):
        _sign_in_inside(deployment, "noor", nonce, now)


def test_strangers_and_borrowed_ids_open_nothing(deployment) -> None:
    (subject,) = deployment.people()
    with pytest.raises(NotAuthorised):
        deployment.patient(subject, Wallet.new()).sign_in()
    with pytest.raises(NotAuthorised):
        deployment.patient(subject, deployment.world.people["noor"]).sign_in()
    deployment.world.people["nobody"] = Wallet.new()
    with pytest.raises(NotAuthorised):
        deployment.as_("nobody").sign_in()


def test_a_session_ends_and_only_its_hash_is_kept(deployment) -> None:
    services, now = deployment.services, int(time.time())
    nonce, _ = open_challenge(services.engine, now)
    token, expires = _sign_in_inside(deployment, "noor", nonce, now)
    assert expires == now + SESSION_SECONDS
    replayed = services.projection.replayed
    caller = Caller(deployment.world.people["noor"].address, "", 4)
    assert caller_of(services.engine, replayed, token, expires - 1) == caller
    with pytest.raises(NotSignedIn):
        caller_of(services.engine, replayed, token, expires)
    with services.engine.connect() as connection:
        kept = [row.token_hash for row in connection.execute(select(Session))]
    assert hashlib.sha256(token.encode()).hexdigest() in kept
    assert token not in kept


def test_a_role_is_read_at_each_request(deployment) -> None:
    deployment.world.people["eve"] = Wallet.new()
    deployment.world.set_role(
        deployment.world.people["eve"].address, "auditor", end=deployment.world.ledger.now() + 4000
    )
    eve = deployment.as_("eve")
    assert isinstance(eve.denials(), list)
    deployment.world.set_role(
        deployment.world.people["eve"].address, "auditor", end=deployment.world.ledger.now()
    )
    deployment.anybody().permits()  # the projection follows
    with pytest.raises(NotAuthorised):
        eve.denials()


def test_without_a_session_nothing_personal_is_shown(deployment) -> None:
    (subject,) = deployment.people()
    for path in (
        f"/consents/{subject.hex()}",
        f"/subjects/{subject.hex()}/accesses",
        "/trail/denials",
    ):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}):
            answer = httpx.get(deployment.url + path, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (
                401,
                "application/problem+json",
            )


def test_a_patient_s_account_is_enough_where_it_is_one_person_s(deployment) -> None:
    """A wallet knows no id. A role goes before it, and of several people none is chosen."""
    world = deployment.world
    (subject,) = deployment.people()
    world.people["own"] = world.subjects[subject]

    def session_of(name: str) -> Caller:
        body = _signed(deployment, name, _challenge(deployment))
        token = httpx.post(f"{deployment.url}/sign-in", json=body).json().get("token", "")
        services = deployment.services
        return caller_of(services.engine, services.projection.replayed, token, int(time.time()))

    address = world.people["own"].address
    assert session_of("own") == Caller(address, subject.hex(), 0)
    assert session_of("noor").subject == ""
    again = world.enrolment(random32(), world.people["own"])
    world.ledger.relay("ConsentRegistry", "enrol", [again])
    with pytest.raises(NotSignedIn):
        session_of("own")
    world.set_role(address, "auditor", end=world.ledger.now() + 4000)
    assert session_of("own") == Caller(address, "", 8)


def _challenge(deployment) -> str:
    return str(httpx.post(f"{deployment.url}/sign-in/challenge").json()["nonce"])


def _message(deployment, name: str, nonce: str, audience: str, issued: int) -> dict:
    return {
        "audience": audience,
        "account": deployment.world.people[name].address,
        "subject": bytes(32),
        "nonce": bytes.fromhex(nonce),
        "issuedAt": issued,
    }


def _signed(
    deployment, name: str, nonce: str, audience: str | None = None, issued: int | None = None
) -> dict:
    issued = int(time.time()) if issued is None else issued
    message = _message(deployment, name, nonce, audience or deployment.url, issued)
    signature = deployment.world.people[name].sign(
        deployment.world.ledger.domain, "SignIn", message
    )
    return {
        "account": message["account"],
        "subject": None,
        "nonce": nonce,
        "issuedAt": issued,
        "signature": signature.hex(),
    }


def _sign_in_inside(deployment, name: str, nonce: str, now: int) -> tuple[str, int]:
    body = _signed(deployment, name, nonce, issued=now)
    message = {"account": body["account"], "subject": "", "nonce": nonce, "issuedAt": now}
    services = deployment.services
    prove(
        services.engine,
        services.ledger.domain,
        services.audience,
        message,
        bytes.fromhex(body["signature"]),
        now,
    )
    return open_session(services.engine, services.projection.replayed, message, now)
