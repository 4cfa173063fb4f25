"""Rate limits: floods of forgeries are refused, while others are served and memory does not grow."""

from __future__ import annotations

import itertools
import json
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from speed import allowed
from sqlalchemy import func, select
from structlog.testing import capture_logs

from api.client.client import Client, wire
from api.demo.stage import random32
from api.http.problems import TooMany, problem_of
from api.http.rate_limit import (
    CLIENTS,
    DECISION_SECONDS,
    DECISIONS,
    DEEPEST,
    REFILL,
    WITHDREW_NOTHING,
    Decisions,
    RateLimit,
    client_of,
)
from chain.errors import LedgerBusy
from chain.transactor import MOST_WAITING
from chain.wallets import Wallet
from governance import audit, precheck, sessions
from governance.errors import NotSignedIn
from governance.readmodel import queries as register
from governance.readmodel.tables import Challenge

MOST = 500  # refusals at once, as set by default
FLOOD = 1000
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def no_refill(monkeypatch) -> None:
    """Nothing comes back, however slow this machine is."""
    monkeypatch.setattr("api.http.rate_limit.REFILL", 1e-6)


def rows(deployment, table) -> int:
    with deployment.services.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def forgeries(deployment, url: str) -> list[tuple[str, dict]]:
    """One each of a sign-in, a consent and a withdrawal, signed by somebody else than they say."""
    (subject,) = deployment.people()
    mallory = Client(url, deployment.world.ledger.identity, Wallet.new(), subject)
    signer = deployment.world.subjects[subject].signer.hex()
    noor = deployment.world.people["noor"].address
    grant = deployment.world.grant_message(subject)
    ended = {"subject": subject, "dataset": deployment.world.dataset, "epoch": 0}
    asked = {
        "audience": url,
        "account": noor,
        "subject": bytes(32),
        "nonce": random32(),
        "issuedAt": int(time.time()),
    }
    return [
        (
            "/sign-in",
            {
                "account": noor,
                "subject": None,
                "nonce": asked["nonce"].hex(),
                "issuedAt": asked["issuedAt"],
                "signature": mallory.sign("SignIn", asked).hex(),
            },
        ),
        ("/consents", {"items": [mallory.signed_grant(grant) | {"signer": signer}]}),
        (
            "/consents/revocations",
            {
                "revoke": wire("Revoke", ended),
                "signer": signer,
                "signature": mallory.sign("Revoke", ended).hex(),
            },
        ),
    ]


def withdrawal(deployment, url: str, subject: bytes, epoch: int = 0) -> dict:
    """A person's own, of her first consent or a later one."""
    ada = Client(url, deployment.world.ledger.identity, deployment.world.subjects[subject], subject)
    message = {"subject": subject, "dataset": deployment.world.dataset, "epoch": epoch}
    return {
        "revoke": wire("Revoke", message),
        "signer": ada.wallet.signer.hex(),
        "signature": ada.sign("Revoke", message).hex(),
    }


MALLORY = """
import collections, httpx, json, sys
url, count, made = json.load(sys.stdin)
found = collections.Counter()
with httpx.Client(base_url=url) as client:
    for n in range(count):
        path, body = made[n % len(made)]
        if n % 6 == 0:  # every second sign-in comes with a real challenge
            body = {**body, "nonce": client.post("/sign-in/challenge").json().get("nonce", body["nonce"])}
        found[client.post(path, json=body).status_code] += 1
print(json.dumps(found))
"""


def flood(deployment, url: str, count: int) -> subprocess.Popen[str]:
    """A process of its own, as an attacker is; it prints how many got which answer."""
    sends = subprocess.Popen(
        [sys.executable, "-c", MALLORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    json.dump([url, count, forgeries(deployment, url)], sends.stdin)
    sends.stdin.close()
    return sends


def times_of_others(deployment, url: str, seconds: float) -> list[float]:
    """The seconds of an honest sign-in and a look at the register, from another address, one after
    the other.
    """
    noor, times = Client(url, deployment.world.ledger.identity, deployment.world.people["noor"]), []
    noor._http = httpx.Client(
        base_url=url, transport=httpx.HTTPTransport(local_address="127.0.0.2")
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        noor.sign_in()
        noor.permits()
        times.append(time.perf_counter() - began)
        time.sleep(0.02)
    return times


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def newest(deployment) -> int:
    return int(deployment.world.ledger.block()["number"], 16)


def written_since(deployment, block: int) -> int:
    """Transactions in later blocks; the ledger renews its head by an empty one when it was idle."""
    node = deployment.world.ledger.node
    later = range(block + 1, newest(deployment) + 1)
    return sum(
        len(node.call("eth_getBlockByNumber", [hex(n), False])["transactions"]) for n in later
    )


def test_a_thousand_forgeries_are_refused_and_others_are_served(
    deployment, another_endpoint
) -> None:
    url = another_endpoint(rate_limit=MOST)
    times_of_others(deployment, url, 0.3)
    alone = p95(times_of_others(deployment, url, 1.0))
    kept = rows(deployment, Challenge)
    sends, during = flood(deployment, url, FLOOD), []
    block = newest(deployment)
    while sends.poll() is None:
        during += times_of_others(deployment, url, 0.3)
    statuses = {int(status): count for status, count in json.loads(sends.stdout.read()).items()}
    print(f"p95 {1000 * alone:.1f} ms alone, {1000 * p95(during):.1f} ms in the flood; {statuses}")
    assert sum(statuses.values()) == FLOOD
    assert not [status for status in statuses if status < 400 or status >= 500]
    assert statuses[429] > FLOOD / 2
    assert p95(during) < max(2 * alone, alone + allowed(0.1))  # others may keep this machine busy
    assert written_since(deployment, block) == 0
    assert rows(deployment, Challenge) - kept < MOST


def test_forged_and_stale_items_are_never_written(deployment) -> None:
    """The contract would skip them, in a transaction that the relay pays for."""
    made = forgeries(deployment, deployment.url)
    block = newest(deployment)
    for path, body in made:
        assert httpx.post(deployment.url + path, json=body).status_code in (401, 409)
    (subject,) = deployment.people(1, agree=False)
    item = deployment.patient(subject).signed_grant(deployment.world.grant_message(subject))
    deployment.anybody().grant([item])
    invitation = deployment.as_("rita").invite(subject, deployment.world.subjects[subject].signer)
    old = deployment.patient(subject).accept(invitation)
    forged = deployment.as_("noor").invite(random32(), Wallet.new().signer) | {
        "signerSignature": old["signerSignature"]
    }
    block = newest(deployment)
    for path, again, reason in (
        ("/consents", item, "VersionStale"),
        ("/enrolments", old, "AlreadyEnrolled"),
        ("/enrolments", forged, "NotARegistrar"),
    ):
        answer = httpx.post(deployment.url + path, json={"items": [again, again]})
        assert (answer.status_code, answer.json()["reason"]) == (409, reason)
    assert written_since(deployment, block) == 0


def test_without_the_precheck_every_forgery_would_be_written(deployment, monkeypatch) -> None:
    """A forgery is refused by the contract as well; a message of her own that can never hold is
    written, once.
    """
    (subject,) = deployment.people()
    me, made = deployment.patient(subject), dict(forgeries(deployment, deployment.url))
    old = me.signed_grant(deployment.world.grant_message(subject, deadline=1))
    monkeypatch.setattr(precheck, "refuse_all_skipped", lambda _: None)

    def steps(body: object) -> int:
        before = deployment.world.ledger.head()[0]
        assert httpx.post(f"{deployment.url}/consents", json=body).status_code == 409
        return deployment.world.ledger.head()[0] - before

    assert steps(made["/consents"]) == 0
    assert [steps({"items": [old]}) for _ in range(3)] == [1, 0, 0]


def test_a_recorded_view_is_not_recorded_again(deployment, tmp_path) -> None:
    """Its signature is public: whoever sent it again would make a step in the checker's name each
    time.
    """
    sealed, sol = deployment.sealed_output(tmp_path / "key"), deployment.as_("sol")
    reviews = [
        {
            "run": bytes.fromhex(sealed.run),
            "attempt": 1,
            "viewerKey": random32(),
            "deadline": 1 << 39,
        }
        for _ in range(2)
    ]
    bodies = [
        {"review": wire("Review", review), "signature": sol.sign("Review", review).hex()}
        for review in reviews
    ]
    path = f"{deployment.url}/runs/{sealed.run}/attempts/1/views"
    assert [httpx.post(path, json=body).status_code for body in bodies] == [200, 200]
    before = deployment.world.ledger.head()
    answers = [httpx.post(path, json=body) for body in (*bodies, *bodies)]
    assert {(answer.status_code, answer.json()["reason"]) for answer in answers} == {
        (409, "AlreadyRecorded")
    }
    assert deployment.world.ledger.head() == before


def test_a_withdrawal_is_accepted_without_tokens(deployment, another_endpoint, no_refill) -> None:
    url = another_endpoint(rate_limit=3)
    (subject,) = deployment.people()
    made = dict(forgeries(deployment, url))
    refused = [httpx.post(f"{url}/consents", json=made["/consents"]) for _ in range(3)]
    assert [answer.status_code for answer in refused] == [409, 429, 429]
    assert int(refused[-1].headers["Retry-After"]) >= 1
    assert refused[-1].headers["content-type"] == "application/problem+json"
    assert httpx.post(f"{url}/sign-in/challenge").status_code == 429
    assert httpx.get(f"{url}/permits").status_code == 200
    ada = Client(url, deployment.world.ledger.identity, deployment.world.subjects[subject], subject)
    assert ada.revoke(deployment.world.dataset, 0)["acted"]
    again = {
        "revoke": {"subject": subject.hex(), "dataset": deployment.world.dataset.hex(), "epoch": 0},
        "signer": ada.wallet.signer.hex(),
        "signature": ada.sign(
            "Revoke", {"subject": subject, "dataset": deployment.world.dataset, "epoch": 0}
        ).hex(),
    }
    assert httpx.post(f"{url}/consents/revocations", json=again).status_code == 429
    assert (
        httpx.post(f"{url}/consents/revocations", json=made["/consents/revocations"]).status_code
        == 409
    )


def test_without_the_limit_nobody_is_turned_away(deployment, another_endpoint, monkeypatch) -> None:
    monkeypatch.setattr(RateLimit, "left", lambda *_: 1.0)
    url = another_endpoint(rate_limit=1)
    assert [
        httpx.post(f"{url}/permits", content=b"{", headers=JSON).status_code for _ in range(5)
    ] == [400] * 5


def test_an_old_withdrawal_sent_again_costs(deployment, another_endpoint, no_refill) -> None:
    """Anybody can read it on the ledger and send it: once a step says that it is old, and each time
    it costs.
    """
    url = another_endpoint(rate_limit=12)
    (subject,) = deployment.people()
    body = withdrawal(deployment, url, subject)
    assert httpx.post(f"{url}/consents/revocations", json=body).json()["acted"]
    statuses = [httpx.post(f"{url}/consents/revocations", json=body).status_code for _ in range(20)]
    turned = statuses.index(429)
    assert statuses == [200] + [409] * (turned - 1) + [429] * (20 - turned)


def test_withdrawals_of_nothing_cost_and_one_of_something_is_always_taken(
    deployment, another_endpoint, no_refill
) -> None:
    """Each is a step for ever: one person who never agreed had filled the trail to its limit in an
    hour and a half.
    """
    url = another_endpoint(rate_limit=2 * WITHDREW_NOTHING)
    ((eve,), (ada,)) = deployment.people(agree=False), deployment.people()

    def send(who: bytes, epoch: int) -> int:
        body = withdrawal(deployment, url, who, epoch)
        return httpx.post(f"{url}/consents/revocations", json=body).status_code

    statuses = [send(eve, epoch) for epoch in range(5)]
    assert statuses == [200, 200, 200, 429, 429]  # the first is free
    assert send(ada, 0) == 200
    assert httpx.post(f"{url}/sign-in/challenge").status_code == 429


def test_consents_are_rate_limited_and_withdrawals_are_not(
    deployment, another_endpoint, monkeypatch
) -> None:
    """Agreeing and withdrawing in turn grew the trail without a limit, from whatever address it
    came.
    """
    monkeypatch.setattr("api.http.rate_limit.DECISIONS", 3)
    monkeypatch.setattr(deployment.services, "decisions", Decisions())
    eve, ada = deployment.people(2, agree=False)
    endpoints = itertools.cycle([another_endpoint(), another_endpoint(proxies="127.0.0.1")])

    def agree(who: bytes) -> int:
        own = deployment.patient(who)
        body = {"items": [own.signed_grant(deployment.world.grant_message(who))]}
        return httpx.post(f"{next(endpoints)}/consents", json=body).status_code

    def withdraw(who: bytes, epoch: int) -> int:
        url = next(endpoints)
        body = withdrawal(deployment, url, who, epoch)
        return httpx.post(f"{url}/consents/revocations", json=body).status_code

    for epoch in range(2):
        assert (agree(eve), withdraw(eve, epoch)) == (200, 200)
    forged = {"items": [deployment.patient(ada).signed_grant(deployment.world.grant_message(eve))]}
    assert (
        httpx.post(f"{next(endpoints)}/consents", json=forged).status_code == 409
    )  # costs her nothing
    assert (agree(eve), agree(eve), withdraw(eve, 2)) == (200, 429, 200)
    before = deployment.head()
    assert agree(eve) == 429
    assert deployment.head() == before
    assert agree(ada) == 200


def test_consent_tokens_refill_and_a_batch_counts_fully() -> None:
    now = 0.0
    decisions, request = (
        Decisions(lambda: now),
        cast("Any", SimpleNamespace(state=SimpleNamespace())),
    )
    decisions.count(["eve"] * DECISIONS)
    with pytest.raises(TooMany, match=r"1 of these people .* eve"):
        decisions.check(["ada", "eve", "eve"], request)
    assert request.state.idle > 0  # who asks in vain pays for it
    decisions.check(["ada"], request)
    for _ in range(3):
        with pytest.raises(TooMany, match="eve"):
            decisions.check(["eve"], request)
        now += DECISION_SECONDS
        decisions.check(["eve"], request)
        decisions.count(["eve"])


def test_nobody_can_use_up_another_persons_rate_limit(
    deployment, another_endpoint, monkeypatch
) -> None:
    """Whatever she signed can be read on the ledger and sent again, in one batch or many; it is no
    step.
    """
    monkeypatch.setattr("api.http.rate_limit.DECISIONS", 2)
    monkeypatch.setattr(deployment.services, "decisions", Decisions())
    (ada,) = deployment.people()
    url, own = another_endpoint(), deployment.patient(ada)
    ended = own.signed_grant(deployment.world.grant_message(ada, fromDay=1, untilDay=2))
    first = httpx.post(f"{url}/consents", json={"items": [ended, ended]})
    assert not first.json().get("items", [{}])[0].get("accepted")
    before = deployment.head()
    for _ in range(4):
        assert httpx.post(f"{url}/consents", json={"items": [ended] * 20}).status_code in (400, 409)
    assert deployment.head() == before
    narrower = own.signed_grant(deployment.world.grant_message(ada))
    assert httpx.post(f"{url}/consents", json={"items": [narrower] * 9}).status_code == 200


def test_refused_consents_cost_the_caller(
    deployment, another_endpoint, monkeypatch, no_refill
) -> None:
    monkeypatch.setattr("api.http.rate_limit.DECISIONS", 0)
    monkeypatch.setattr(deployment.services, "decisions", Decisions())
    (ada,) = deployment.people()
    url, own = another_endpoint(rate_limit=20), deployment.patient(ada)
    body = {"items": [own.signed_grant(deployment.world.grant_message(ada))]}
    details = [httpx.post(f"{url}/consents", json=body).json()["detail"] for _ in range(6)]
    assert [text.startswith("1 of these") for text in details] == [True] * 4 + [False] * 2


def test_whoever_signs_in_gets_the_challenge_back(deployment, another_endpoint, no_refill) -> None:
    url = another_endpoint(rate_limit=3)
    noor = Client(url, deployment.world.ledger.identity, deployment.world.people["noor"])
    for _ in range(5):
        noor.sign_in()
    assert [httpx.post(f"{url}/sign-in/challenge").status_code for _ in range(4)] == [
        200,
        200,
        200,
        429,
    ]


def test_a_429_costs_nothing(deployment, another_endpoint, no_refill) -> None:
    """Not even at the endpoint that everybody may knock at: whoever tries again and again waits no
    longer for it.
    """
    url = another_endpoint(rate_limit=1)
    (subject,) = deployment.people()
    body = withdrawal(deployment, url, subject)
    send = lambda: httpx.post(f"{url}/consents/revocations", json=body).status_code  # noqa: E731
    assert [send(), send()] == [200, 200]  # the second changes nothing, and costs

    def wait() -> int:
        return int(httpx.post(f"{url}/permits", content=b"{", headers=JSON).headers["Retry-After"])

    before = wait()
    assert [send() for _ in range(3)] == [429] * 3
    assert wait() == pytest.approx(
        before, abs=60 / 1e-4
    )  # a tenth of a token, in seconds without a refill


def test_requests_in_progress_cost_a_token(deployment, another_endpoint, no_refill) -> None:
    """Requests opened at once, none of them refused yet, are no way around."""
    url = another_endpoint(rate_limit=3)
    host, port = url.removeprefix("http://").split(":")
    opened = []
    for _ in range(3):
        opened.append(socket.create_connection((host, int(port)), timeout=10))
        opened[-1].sendall(
            b"POST /permits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 100")  # its body is waited for
    assert httpx.post(f"{url}/permits", content=b"{", headers=JSON).status_code == 429
    for connection in opened:
        connection.close()


def test_behind_a_named_proxy_each_client_has_a_rate_limit(
    deployment, another_endpoint, no_refill
) -> None:
    url = another_endpoint(rate_limit=2, proxies="127.0.0.1")

    def ask(forwarded: str) -> int:
        return httpx.post(
            f"{url}/permits", content=b"{", headers=JSON | {"X-Forwarded-For": forwarded}
        ).status_code

    assert [ask("203.0.113.7") for _ in range(3)] == [400, 400, 429]
    assert ask("203.0.113.8") == 400
    assert (
        ask("203.0.113.9, 203.0.113.7") == 429
    )  # what the client wrote itself stands before the proxy's word
    assert ask("198.51.100.1, 203.0.113.7") == 429


def test_an_unnamed_proxy_is_not_trusted_and_is_logged(
    deployment, another_endpoint, no_refill
) -> None:
    url = another_endpoint(rate_limit=2)
    with capture_logs() as logs:
        answers = [
            httpx.post(
                f"{url}/permits", content=b"{", headers=JSON | {"X-Forwarded-For": f"203.0.113.{n}"}
            )
            for n in range(4)
        ]
    assert [answer.status_code for answer in answers] == [400, 400, 429, 429]
    assert len([entry for entry in logs if "VOLENS_PROXIES" in entry["event"]]) == 1


def test_tokens_come_back_and_clients_are_bounded() -> None:
    now = [100.0]
    rate_limit = RateLimit(10, lambda: now[0])
    rate_limit.charge("a", 12)
    assert rate_limit.left("a") < 1
    now[0] += 4 / REFILL
    assert rate_limit.left("a") == pytest.approx(2)
    now[0] += 3600
    assert rate_limit.left("a") == 10
    rate_limit.charge("a", -5)
    assert rate_limit.left("a") == 10
    for n in range(2 * CLIENTS):
        rate_limit.charge(str(n), 1)
    assert len(rate_limit) == CLIENTS
    assert rate_limit.left(str(2 * CLIENTS - 1)) == 9
    rate_limit.charge("deep", 1e6)
    assert rate_limit.left("deep") == DEEPEST
    now[0] += 60
    assert rate_limit.left("deep") == pytest.approx(1)


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_a_client_is_an_address_or_an_ipv6_network(host: str, client: str) -> None:
    assert client_of({"type": "http", "client": (host, 1)}) == client
    assert client_of({"type": "http", "client": None}) == ""


def test_challenges_and_sessions_are_bounded(deployment, monkeypatch) -> None:
    services, now = deployment.services, int(time.time())
    monkeypatch.setattr(sessions, "MOST_CHALLENGES", 20)
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    newest = [sessions.open_challenge(services.engine, now + n)[0] for n in range(30)][-1]
    assert rows(deployment, Challenge) == 20
    sessions._use_challenge(services.engine, newest, now)
    deployment.world.people["mo"] = Wallet.new()
    deployment.world.set_role(deployment.world.people["mo"].address, "auditor")
    mo, tokens = deployment.as_("mo"), []
    for n in range(5):
        monkeypatch.setattr(services, "clock", lambda n=n: now + n)
        mo.sign_in()
        tokens.append(mo._token)
    replayed = services.projection.replayed
    for token in tokens[:2]:
        with pytest.raises(NotSignedIn):
            sessions.caller_of(services.engine, replayed, token, now)
    assert sessions.caller_of(services.engine, replayed, tokens[2], now).role == 8
    monkeypatch.setattr(sessions, "_sweep", lambda *_: None)
    assert sessions.open_challenge(services.engine, now)
    assert sessions.open_challenge(services.engine, now)
    assert rows(deployment, Challenge) > 20


CALLERS = 45  # more than the threads that all endpoints share


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every export and every look at the permits takes until the event is set."""
    ended = threading.Event()

    def wait(*_: Any, **__: Any) -> Any:
        ended.wait(60)
        return {}

    monkeypatch.setattr(audit, "export_bundle", wait)
    monkeypatch.setattr(register, "list_permits", wait)
    yield ended
    ended.set()


@pytest.mark.parametrize("path", ["/trail", "/permits"])
def test_a_withdrawal_does_not_wait_for_other_requests(
    deployment, stuck: threading.Event, path: str
) -> None:
    """60 callers of /trail, who need not sign in, kept a withdrawal waiting for 48 seconds."""
    (subject,) = deployment.people()
    ada = deployment.patient(subject)
    deployment.services.export = None
    with ThreadPoolExecutor(CALLERS) as pool:
        asked = [pool.submit(httpx.get, deployment.url + path, timeout=90) for _ in range(CALLERS)]
        time.sleep(1)
        assert ada.revoke(deployment.world.dataset, 0)["acted"]
        assert not any(request.done() for request in asked)
        stuck.set()


def test_a_withdrawal_comes_before_writes_that_wait_and_reads_are_served(
    deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a ledger with a block a second, a hundred registrations kept a withdrawal waiting for 40
    s, and all reads too.
    """
    transactor = deployment.services.ledger._transactor
    call, going_on = transactor._call, threading.Event()

    def slow(method: str, params: list[Any]) -> Any:
        if method == "eth_sendRawTransaction":
            assert going_on.wait(60)
        return call(method, params)

    (subject,) = deployment.people()
    ada = deployment.patient(subject)
    monkeypatch.setattr(transactor, "_call", slow)
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        try:
            writes = [
                pool.submit(deployment.as_("omar").register_dataset, random32(), random32())
                for _ in range(CALLERS)
            ]
            await_that(lambda: sum(write.done() for write in writes) == CALLERS - MOST_WAITING - 1)
            refused = [write.exception() for write in writes if write.done()]
            assert httpx.get(f"{deployment.url}/permits", timeout=10).status_code == 200
            withdrawal = pool.submit(ada.revoke, deployment.world.dataset, 0)
            await_that(lambda: transactor._turns._waiting[True] == 1)
        finally:
            going_on.set()
        recorded = [write.result()["receipt"]["count"] for write in writes if not write.exception()]
    assert {str(error) for error in refused} == {
        "Too many messages wait for the ledger, so this one was not sent."
    }
    assert len(recorded) == MOST_WAITING + 1
    assert sorted(recorded)[0] < withdrawal.result()["receipt"]["count"] < sorted(recorded)[1]
    answer = problem_of(LedgerBusy("too many wait"))
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)


def await_that(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_parsing_an_invalid_withdrawal_is_cheap(deployment) -> None:
    """The endpoint is never closed, and parsing a megabyte kept everybody waiting for most of a
    second.
    """
    answer = httpx.post(
        f"{deployment.url}/consents/revocations", content=b"[" + b"1," * 5_000 + b"1]"
    )
    assert answer.status_code == 413


def test_an_export_is_made_once_for_everybody_who_asks_of_the_same_trail(
    deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    export = audit.export_bundle

    def count(*given: Any) -> Any:
        made.append(1)
        return export(*given)

    monkeypatch.setattr(audit, "export_bundle", count)
    deployment.people(1)
    first = [httpx.get(f"{deployment.url}/trail").content for _ in range(3)]
    assert (len(made), len(set(first))) == (1, 1)
    deployment.people(1)
    assert httpx.get(f"{deployment.url}/trail").content != first[0]
    assert len(made) == 2


def test_unfinished_large_bodies_use_no_memory(deployment, another_endpoint) -> None:
    """Nobody has signed in, and each may have up to 8 MB: 40 of them had taken 310 MB."""
    host, port = another_endpoint().removeprefix("http://").split(":")
    head = (
        f"POST /datasets/{'ab' * 32}/ingests HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {8 << 20}\r\n\r\n["
    ).encode()
    part, before = b"1," * (3 << 20), resident()
    with ExitStack() as lines:
        for _ in range(20):
            line = lines.enter_context(socket.create_connection((host, int(port))))
            line.sendall(head + part)
        time.sleep(1)
        assert resident() - before < 60 << 20


def resident() -> int:
    """Bytes of this process, in which the endpoint is too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
