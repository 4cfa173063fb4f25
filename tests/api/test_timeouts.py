"""Timeouts for slow clients: they are disconnected in time, and others are served."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPException, HTTPResponse
from typing import Any

import httpx
import pytest
import uvicorn

from api import serve as serving
from api.app import create_app
from api.client.client import wire
from api.http import timeouts as timeout
from api.http.problems import problem_of
from api.http.timeouts import Timeouts
from chain.errors import LedgerDown, LedgerUnsure

SHORT = 0.25  # seconds that a caller has in these tests
SOON = 3.0  # within which it has happened, also on a busy machine
HEAD = b"POST {path} HTTP/1.1\r\nHost: x\r\nOrigin: {url}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
Open = Callable[..., socket.socket]


@pytest.fixture
def connect(deployment) -> Iterator[Open]:
    """Opens connections to a URL, from an address of this machine."""
    with ExitStack() as opened:

        def open_one(url: str, local: str = "127.0.0.1") -> socket.socket:
            host, port = url.removeprefix("http://").split(":")
            made = socket.create_connection(
                (host, int(port)), timeout=10, source_address=(local, 0)
            )
            return opened.enter_context(closing(made))

        yield open_one


def head(url: str, path: str = "/consents") -> bytes:
    return HEAD.replace(b"{path}", path.encode()).replace(b"{url}", url.encode())


def drip(connection: socket.socket) -> float:
    """One byte after the other until the other side says something or ends: seconds until then."""
    began = time.monotonic()
    connection.settimeout(SHORT / 8)
    while time.monotonic() - began < SOON:
        try:
            connection.sendall(b"x")
            connection.recv(1, socket.MSG_PEEK)
            break
        except TimeoutError:
            continue
        except OSError:
            break
    connection.settimeout(10)
    return time.monotonic() - began


def answer(connection: socket.socket) -> tuple[HTTPResponse, Any]:
    """The next answer, whole; its body as JSON."""
    response = HTTPResponse(connection)
    response.begin()
    return response, json.loads(response.read())


@pytest.mark.parametrize(
    "begun",
    [
        "nothing",
        "a head",
        "a head behind a request",
        "a head after an answer",
        "a body after its answer",
    ],
)
def test_a_stalled_connection_is_closed(deployment, connect: Open, monkeypatch, begun: str) -> None:
    monkeypatch.setattr(timeout, "HEAD_SECONDS", SHORT)
    connection = connect(deployment.url)
    if begun == "nothing":
        connection.settimeout(SOON)
        assert connection.recv(1) == b""
        return
    if begun == "a head":
        connection.sendall(head(deployment.url))
    if begun == "a head behind a request":
        connection.sendall(b"GET /identity HTTP/1.1\r\nHost: x\r\n\r\nGET /identity HTTP/1.1\r\n")
        assert answer(connection)[0].status == 200
    if begun == "a head after an answer":
        connection.sendall(b"GET /identity HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(connection)[0].status == 200
        connection.sendall(b"GET /identity HTTP/1.1\r\nHost: ")
    if begun == "a body after its answer":
        connection.sendall(head(deployment.url, "/nowhere").replace(b": 9", b": 99999") + b"\r\n")
        assert answer(connection)[0].status == 404
    assert drip(connection) < SOON


def test_a_head_in_time_is_answered_however_long_its_answer_takes(
    deployment, connect: Open, monkeypatch
) -> None:
    monkeypatch.setattr(timeout, "HEAD_SECONDS", SHORT)
    connection = connect(deployment.url)
    connection.sendall(head(deployment.url) + b"\r\n{")
    time.sleep(2 * SHORT)
    connection.sendall(b'"a":"b"}')
    assert answer(connection)[0].status == 422
    connection.sendall(b"GET /identity HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer(connection)[0].status == 200


@pytest.mark.parametrize("path", ["/consents", "/consents/revocations", "/pages/session"])
def test_a_body_that_does_not_end_is_answered(
    deployment, connect: Open, monkeypatch, path: str
) -> None:
    monkeypatch.setattr(timeout, "BODY_SECONDS", SHORT)
    connection = connect(deployment.url)
    connection.sendall(head(deployment.url, path).replace(b": 9", b": 99999") + b"\r\n")
    assert SHORT / 2 < drip(connection) < SOON  # the clock of the other side began a little earlier
    response, body = answer(connection)
    assert (response.status, response.getheader("Content-Type")) == (
        400,
        "application/problem+json",
    )
    assert body["detail"] == "The body cannot be read."


def test_waiting_for_a_disconnect_has_no_limit(monkeypatch) -> None:
    """As a long answer does, once the whole body is there."""
    monkeypatch.setattr(timeout, "BODY_SECONDS", 0.05)
    came = iter(
        [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    )
    got = []

    async def receive() -> Any:
        await asyncio.sleep(0.1 * len(got))
        return next(came)

    async def app(_: Any, receive: Any, _send: Any) -> None:
        began = time.monotonic()
        got.append(await receive())
        got.append(await receive())
        got.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop of its own
        pool.submit(lambda: asyncio.run(Timeouts(app)({"type": "http"}, receive, None))).result()
    assert got[1]["type"] == "http.disconnect"
    assert got[2] >= 0.1


def served(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"GET /identity HTTP/1.1\r\nHost: x\r\n\r\n")
        return answer(connection)[0].status == 200
    except (OSError, HTTPException):
        return False


def test_one_address_has_so_many_connections(
    deployment, another_endpoint, connect: Open, monkeypatch
) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 5)
    url = another_endpoint()
    begun = [connect(url) for _ in range(5)]
    for caller in begun:
        caller.sendall(head(url))
    assert not served(connect(url))
    assert served(connect(url, "127.0.0.2"))
    begun[0].close()
    until = time.monotonic() + SOON
    while not served(connect(url)) and time.monotonic() < until:
        time.sleep(0.01)
    assert served(connect(url, "127.0.0.2"))
    assert time.monotonic() < until
    proxied = another_endpoint(proxies="127.0.0.1")
    many = [connect(proxied) for _ in range(10)]
    assert all(served(caller) for caller in many)


def test_requests_cut_off_by_a_stop_are_answered(deployment, connect: Open) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(deployment.services),
                log_config=None,
                timeout_graceful_shutdown=0,
                **serving.caller_options(deployment.settings),
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        connection = connect(url)
        connection.sendall(head(url) + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.should_exit = True
        response, body = answer(connection)
        thread.join(SOON)
    assert (response.status, response.getheader("Content-Type")) == (
        503,
        "application/problem+json",
    )
    assert response.getheader("Cache-Control") == "no-store"
    assert "look before you send it again" in body["hint"]


# -- what a request is does not depend on what its sender would like to read

JAVA = {"Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}


def test_requests_with_effects_reach_the_api(deployment) -> None:
    (subject,) = deployment.people()
    ada, message = (
        deployment.patient(subject),
        {"subject": subject, "dataset": deployment.world.dataset, "epoch": 0},
    )
    body = {
        "revoke": wire("Revoke", message),
        "signer": ada.wallet.signer.hex(),
        "signature": ada.sign("Revoke", message).hex(),
    }
    assert (
        httpx.post(f"{deployment.url}/consents/revocations", json=body, headers=JAVA).json()[
            "acted"
        ]
        is True
    )
    document = httpx.get(f"{deployment.url}/openapi.json", headers=JAVA).json()
    endpoints = [
        path for path, methods in document["paths"].items() if "post" in methods and "{" not in path
    ]
    assert len(endpoints) >= 6
    for path in endpoints:
        answer = httpx.post(deployment.url + path, content=b"{", headers=JAVA)
        assert answer.headers["content-type"].startswith("application/"), path
        assert answer.status_code != 404


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/names", "application/json", 200),
        ("/identity", "application/json", 200),
        ("/runs", "text/html", 200),
        ("/nowhere", "text/html", 404),
        ("/pages/nowhere", "text/html", 404),
        ("/", "text/html", 200),
    ],
)
def test_a_page_is_shown_where_there_is_one(deployment, path: str, kind: str, status: int) -> None:
    answer = httpx.get(deployment.url + path, headers=JAVA)
    assert (answer.headers["content-type"].split(";")[0], answer.status_code) == (kind, status)


def test_a_client_that_reads_no_answer_is_disconnected(
    deployment, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 exports that nobody read stayed in memory for as long as their callers liked."""
    monkeypatch.setattr(timeout, "ANSWER_SECONDS", SHORT)
    large = b"x" * (32 << 20)  # more than the kernel keeps between the two
    monkeypatch.setattr(deployment.services, "export", (deployment.head(), large))
    slow = connect(deployment.url)
    slow.sendall(b"GET /trail HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(SOON)
    taken = 0
    with suppress(OSError):
        while part := slow.recv(1 << 20):
            taken += len(part)
    assert taken < len(large)
    # A client that reads gets all of it.
    assert len(httpx.get(f"{deployment.url}/trail").content) == len(large)


def test_an_unsure_message_is_not_reported_as_unchanged() -> None:
    sent, down = problem_of(LedgerUnsure("gone")), problem_of(LedgerDown("gone"))
    assert b"may have taken effect" in sent.body
    assert b"nothing was read or changed" in down.body
    assert (sent.status_code, down.status_code) == (503, 503)


FRAMED = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 40\r\n",
    "a list of lengths": b"Content-Length: 2, 40\r\n",
    "a length and a transfer coding": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "a transfer coding and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 40\r\n",
    "a transfer coding of another name": b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n",
    "two transfer codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "a length with a sign": b"Content-Length: +2\r\n",
    "a folded line": b"X-A: b\r\n Content-Length: 40\r\nContent-Length: 2\r\n",
    "a folded length": b"Content-Length:\r\n 2\r\n",
    "a length behind a bare CR": b"X-A: b\rContent-Length: 40\r\nContent-Length: 2\r\n",
    "a space before the colon": b"Content-Length : 40\r\nContent-Length: 2\r\n",
    "a line that ends in LF alone": b"X-A: b\nContent-Length: 2\r\n",
}


@pytest.mark.parametrize("name", FRAMED)
def test_a_request_that_can_be_read_in_two_ways_is_refused(
    deployment, connect: Open, name: str
) -> None:
    """400, closed, and nothing behind it is taken for a request of its own (request smuggling)."""
    connection = connect(deployment.url)
    connection.sendall(
        b"POST /sign-in/challenge HTTP/1.1\r\nHost: x\r\n"
        + FRAMED[name]
        + b"\r\n"
        + b"0\r\n\r\nGET /identity HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    connection.settimeout(1)
    answer = b""
    try:
        while part := connection.recv(65_536):
            answer += part
    except TimeoutError:
        answer += b"(open)"
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not answer.endswith(b"(open)")
