"""Signing in: a challenge works once, for one service and one person; what it opens is hers alone."""

from __future__ import annotations

import hashlib
import time

import httpx
import pytest
from sqlalchemy import select

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


def test_a_challenge_is_used_once(place) -> None:
    body = _signed(place, "noor", _challenge(place))
    assert httpx.post(f"{place.url}/sign-in", json=body).status_code == 200
    again = httpx.post(f"{place.url}/sign-in", json=body)
    assert again.status_code == 401
    assert again.headers["WWW-Authenticate"] == "Bearer"


def test_a_failed_sign_in_uses_the_challenge_too(place) -> None:
    nonce = _challenge(place)
    wrong = _signed(place, "noor", nonce) | {"account": place.world.people["sol"].address}
    assert httpx.post(f"{place.url}/sign-in", json=wrong).status_code == 401
    assert httpx.post(f"{place.url}/sign-in", json=_signed(place, "noor", nonce)).status_code == 401


def test_a_signature_for_another_audience_opens_nothing(place) -> None:
    body = _signed(place, "noor", _challenge(place), audience="http://phish.example")
    assert httpx.post(f"{place.url}/sign-in", json=body).status_code == 401


def test_the_client_refuses_to_sign_for_another_service(place, monkeypatch) -> None:
    noor = place.as_("noor")
    monkeypatch.setattr(place.services, "audience", "http://elsewhere.example")
    with pytest.raises(NotServing):
        noor.sign_in()


def test_an_old_or_future_signature_opens_nothing(place) -> None:
    for shift in (-CHALLENGE_SECONDS - 5, CHALLENGE_SECONDS + 5):
        body = _signed(place, "noor", _challenge(place), issued=int(time.time()) + shift)
        assert httpx.post(f"{place.url}/sign-in", json=body).status_code == 401


def test_an_expired_challenge_opens_nothing(place) -> None:
    services, now = place.services, int(time.time())
    nonce, expires = open_challenge(services.engine, now - CHALLENGE_SECONDS)
    assert expires <= now
    with pytest.raises(NotSignedIn, match="challenge"):
        _sign_in_inside(place, "noor", nonce, now)


def test_strangers_and_borrowed_ids_open_nothing(place) -> None:
    (subject,) = place.people()
    with pytest.raises(NotAuthorised):
        place.patient(subject, Wallet.new()).sign_in()
    with pytest.raises(NotAuthorised):
        place.patient(subject, place.world.people["noor"]).sign_in()
    place.world.people["nobody"] = Wallet.new()
    with pytest.raises(NotAuthorised):
        place.as_("nobody").sign_in()


def test_a_session_ends_and_only_its_hash_is_kept(place) -> None:
    services, now = place.services, int(time.time())
    nonce, _ = open_challenge(services.engine, now)
    token, expires = _sign_in_inside(place, "noor", nonce, now)
    assert expires == now + SESSION_SECONDS
    fold = services.projection.fold
    caller = Caller(place.world.people["noor"].address, "", 4)
    assert caller_of(services.engine, fold, token, expires - 1) == caller
    with pytest.raises(NotSignedIn):
        caller_of(services.engine, fold, token, expires)
    with services.engine.connect() as connection:
        kept = [row.token_hash for row in connection.execute(select(Session))]
    assert hashlib.sha256(token.encode()).hexdigest() in kept
    assert token not in kept


def test_a_role_is_read_at_each_request(place) -> None:
    place.world.people["eve"] = Wallet.new()
    place.world.set_role(
        place.world.people["eve"].address, "auditor", end=place.world.ledger.now() + 4000
    )
    eve = place.as_("eve")
    assert isinstance(eve.denials(), list)
    place.world.set_role(place.world.people["eve"].address, "auditor", end=place.world.ledger.now())
    place.anybody().permits()  # the projection follows
    with pytest.raises(NotAuthorised):
        eve.denials()


def test_without_a_session_nothing_personal_is_shown(place) -> None:
    (subject,) = place.people()
    for path in (
        f"/consents/{subject.hex()}",
        f"/subjects/{subject.hex()}/accesses",
        "/trail/denials",
    ):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}):
            answer = httpx.get(place.url + path, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (
                401,
                "application/problem+json",
            )


def _challenge(place) -> str:
    return str(httpx.post(f"{place.url}/sign-in/challenge").json()["nonce"])


def _message(place, name: str, nonce: str, audience: str, issued: int) -> dict:
    return {
        "audience": audience,
        "account": place.world.people[name].address,
        "subject": bytes(32),
        "nonce": bytes.fromhex(nonce),
        "issuedAt": issued,
    }


def _signed(
    place, name: str, nonce: str, audience: str | None = None, issued: int | None = None
) -> dict:
    issued = int(time.time()) if issued is None else issued
    message = _message(place, name, nonce, audience or place.url, issued)
    signature = place.world.people[name].sign(place.world.ledger.domain, "SignIn", message)
    return {
        "account": message["account"],
        "subject": None,
        "nonce": nonce,
        "issuedAt": issued,
        "signature": signature.hex(),
    }


def _sign_in_inside(place, name: str, nonce: str, now: int) -> tuple[str, int]:
    body = _signed(place, name, nonce, issued=now)
    message = {"account": body["account"], "subject": "", "nonce": nonce, "issuedAt": now}
    services = place.services
    prove(
        services.engine,
        services.ledger.domain,
        services.audience,
        message,
        bytes.fromhex(body["signature"]),
        now,
    )
    return open_session(services.engine, services.projection.fold, message, now)
