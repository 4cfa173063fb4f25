"""What the gateway and the key broker take from the line: one reading of a request, and no crowd of
waiters.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import httpx
import pytest
from speed import allowed

from api.demo.stage import World
from chain import bounded_http
from chain.bounded_http import (
    CONNECTIONS,
    IDLE,
    READING,
    SMALL_BODY,
    WRITING,
    BoundedHandler,
    BoundedServer,
)
from chain.devnode.process import DevChain
from governance.broker.custody import Broker
from governance.broker.endpoint import Server

BODY = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'
HALF_OPEN = 400
FLOODING = 40  # callers; more than are worked for and wait


@dataclass
class Endpoints:
    """The port of a server, the path that takes a POST, and the process in which its threads are."""

    port: int
    path: str
    pid: int

    def send(self, data: bytes) -> bytes:
        """All that comes back until the other side closes, or has nothing to say for half a second."""
        with closing(socket.create_connection(("127.0.0.1", self.port), 10)) as line:
            line.sendall(data)
            line.settimeout(0.5)
            received = b""
            try:
                while part := line.recv(65_536):
                    received += part
            except TimeoutError:
                return received + b"(open)"
            return received

    def threads(self) -> int:
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Threads:"))


@pytest.fixture(scope="module", params=["gateway", "broker"])
def endpoints(
    request: pytest.FixtureRequest, devchain: DevChain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoints]:
    if request.param == "gateway":
        yield Endpoints(devchain.port, "/", devchain.process.pid)
        return
    folder, identity = tmp_path_factory.mktemp("broker"), World.create(devchain.url).ledger.identity
    server = Server(0, Broker(folder, devchain.url, dict(identity), lambda: int(time.time())))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Endpoints(server.server_address[1], "/wrap", os.getpid())
    server.shutdown()
    server.server_close()


FRAMINGS: dict[str, Callable[[bytes], bytes]] = {
    "length and transfer coding": lambda _: (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    "transfer coding alone": lambda _: b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer coding of another name": lambda _: b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bad chunks": lambda _: b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "two lengths": lambda _: b"Content-Length: 0\r\nContent-Length: 59\r\n\r\n" + BODY,
    "two equal lengths": lambda _: b"Content-Length: 59\r\nContent-Length: 59\r\n\r\n" + BODY,
    "a list of lengths": lambda _: b"Content-Length: 59, 59\r\n\r\n" + BODY,
    "a length with a sign": lambda _: b"Content-Length: +59\r\n\r\n" + BODY,
    "a negative length": lambda _: b"Content-Length: -1\r\n\r\n" + BODY,
    "a length that is no number": lambda _: b"Content-Length: 1e3\r\n\r\n" + BODY,
    "a folded header": lambda _: (
        b"X-A: b\r\n Content-Length: 59\r\nContent-Length: 59\r\n\r\n" + BODY
    ),
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_body_that_can_be_read_in_two_ways_is_refused(endpoints: Endpoints, name: str) -> None:
    """400, closed, and nothing behind it is taken for a request of its own (request smuggling)."""
    head = f"POST {endpoints.path} HTTP/1.1\r\nHost: x\r\n".encode()
    answer = endpoints.send(head + FRAMINGS[name](b""))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not answer.endswith(b"(open)")


SECOND = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"  # what a smuggled body would be taken for
HEADS: dict[str, bytes] = {
    "a length behind a bare CR": b"X: a\rContent-Length: 59\r\n",
    "a length behind a bare CR at the end": b"Content-Length: 59\r\r\n",
    "a length behind a NUL": b"X: a\0Content-Length: 59\r\nContent-Length: 59\r\n",
    "a line that ends in LF alone": b"X: a\nContent-Length: 59\r\n",
    "a line From me": b"From me\r\nContent-Length: 59\r\n",
    "a line From me with a colon": b"From me: x\r\nContent-Length: 59\r\n",
    "a line without a colon": b"hello\r\nContent-Length: 59\r\n",
    "a line without a name": b": x\r\nContent-Length: 59\r\n",
    "a name with a bracket": b"X(Y: x\r\nContent-Length: 59\r\n",
    "a form feed": b"X: a\fContent-Length: 1\r\nContent-Length: 59\r\n",
    "two hosts": b"Host: y\r\nContent-Length: 59\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_can_be_read_in_two_ways_is_refused(endpoints: Endpoints, name: str) -> None:
    """The library's parser makes a header of what follows a lone CR; the check is of the bytes
    before it.
    """
    head = f"POST {endpoints.path} HTTP/1.1\r\nHost: x\r\n".encode()
    answer = endpoints.send(head + HEADS[name] + b"\r\n" + BODY + SECOND)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not answer.endswith(b"(open)")


@pytest.mark.parametrize(
    "head",
    [
        b"GET  /health HTTP/1.1\r\nHost: x\r\n",
        b"GET\t/health HTTP/1.1\r\nHost: x\r\n",
        b" GET /health HTTP/1.1\r\nHost: x\r\n",
        b"GET /health HTTP/1.1 \r\nHost: x\r\n",
        b"GET /health\r HTTP/1.1\r\nHost: x\r\n",
        b"GET /health HTTP/1.1\nHost: x\r\n",
        b"GET /health HTTP/2.0\r\nHost: x\r\n",
        b"GET /health\r\nHost: x\r\n",
        b"GET /health HTTP/1.1\r\nX: y\r\n",  # no host
    ],
)
def test_a_request_line_has_three_parts_and_a_host_behind_it(
    endpoints: Endpoints, head: bytes
) -> None:
    answer = endpoints.send(head + b"\r\n" + SECOND)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not answer.endswith(b"(open)")


@pytest.mark.parametrize("lines", [b"X: a\r\n" * 200, b"X: " + b"a" * 66_000 + b"\r\n"])
def test_the_size_of_a_head_is_limited(endpoints: Endpoints, lines: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", endpoints.port), 10)) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n" + lines)
        assert line.recv(100).startswith(b"HTTP/1.1 431 ")


def test_a_request_of_http_1_0_needs_no_host(endpoints: Endpoints) -> None:
    answer = endpoints.send(b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not answer.endswith(b"(open)")


@pytest.mark.parametrize("space", [b"Content-Length : 59\r\n", b"Content-Length\t: 59\r\n"])
def test_a_name_with_a_space_behind_it_is_no_length(endpoints: Endpoints, space: bytes) -> None:
    head = f"POST {endpoints.path} HTTP/1.1\r\nHost: x\r\n".encode()
    answer = endpoints.send(head + space + b"\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not answer.endswith(b"(open)")


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 00000000000005\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_body_where_none_belongs_is_refused(endpoints: Endpoints, more: bytes) -> None:
    answer = endpoints.send(b"GET /health HTTP/1.1\r\nHost: x\r\n" + more)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert not answer.endswith(b"(open)")
    fine = endpoints.send(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert fine.startswith(b"HTTP/1.1 200 ")
    assert fine.endswith(b"(open)")  # kept for the next request


def test_four_hundred_half_open_posts_do_not_shut_others_out(endpoints: Endpoints) -> None:
    """Each had a thread of its own for as long as it liked; now there are so many, and the oldest
    waiter gives way.
    """
    before, lines = endpoints.threads(), []
    begun = f"POST {endpoints.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 59\r\n\r\n{{".encode()
    try:
        for _ in range(HALF_OPEN):
            lines.append(socket.create_connection(("127.0.0.1", endpoints.port), 10))
            lines[-1].sendall(begun)
        assert endpoints.threads() <= before + CONNECTIONS + 2
        for _ in range(3):  # a newcomer is served at once
            began = time.monotonic()
            asked = http.client.HTTPConnection("127.0.0.1", endpoints.port, timeout=10)
            asked.request("GET", "/health")
            assert json.loads(asked.getresponse().read())["ok"] is True
            asked.close()
            assert time.monotonic() - began < 5
    finally:
        for line in lines:
            line.close()


@pytest.mark.alone
def test_large_bodies_wait_for_each_other_and_small_messages_do_not(endpoints: Endpoints) -> None:
    """Parsing comes before anybody is known: 128 bodies of a megabyte kept every place and every
    newcomer's answer.
    """
    body = b"[" + b"[]," * 60_000 + b"[]]"
    ended = threading.Event()

    def flood() -> None:
        while not ended.is_set():
            try:
                line = http.client.HTTPConnection("127.0.0.1", endpoints.port, timeout=30)
                with closing(line):
                    line.request("POST", endpoints.path, body)
                    line.getresponse().read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    callers = [threading.Thread(target=flood, daemon=True) for _ in range(FLOODING)]
    for caller in callers:
        caller.start()
    time.sleep(1)
    waited = []
    try:
        for _ in range(5):
            began = time.monotonic()
            with closing(
                http.client.HTTPConnection("127.0.0.1", endpoints.port, timeout=10)
            ) as line:
                line.request("POST", endpoints.path, BODY)
                assert line.getresponse().status < 500
            waited.append(time.monotonic() - began)
    finally:
        ended.set()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert max(waited) < allowed(2), waited
    deadline = time.monotonic() + 60
    while True:  # large messages are taken again
        with closing(http.client.HTTPConnection("127.0.0.1", endpoints.port, timeout=30)) as line:
            line.request("POST", endpoints.path, BODY + b" " * SMALL_BODY)
            if line.getresponse().status != 503:
                break
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_half_a_large_body_keeps_nobody_waiting(endpoints: Endpoints) -> None:
    """A body takes its turn when all of it has come: 18 idle callers had shut out every other large
    one.
    """
    began = f"POST {endpoints.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {SMALL_BODY + 9}\r\n\r\n[".encode()
    with ExitStack() as lines:
        for _ in range(40):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", endpoints.port), 10))
            line.sendall(began)
        time.sleep(0.5)
        for _ in range(3):
            start = time.monotonic()
            with closing(
                http.client.HTTPConnection("127.0.0.1", endpoints.port, timeout=30)
            ) as asking:
                asking.request("POST", endpoints.path, BODY + b" " * SMALL_BODY)
                assert asking.getresponse().status < 500
            assert time.monotonic() - start < allowed(2)


def test_a_body_of_very_many_values_is_refused_before_it_is_parsed(devchain: DevChain) -> None:
    answer = httpx.post(devchain.url, content=b"[" + b"[]," * 20_000 + b"[]]").json()
    assert "at most 20000 values" in answer["error"]["message"]


class Slow(BoundedHandler):
    """Answers a GET with as much as the path says; `hold` keeps it working."""

    hold = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/hold":
            self.hold.wait(10)
        self.send_json(200, b"x" * (int(self.path[1:]) if self.path[1:].isdigit() else 1))

    def do_POST(self) -> None:
        body = self.read_body()
        if body is not None:
            self.send_json(200, body)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[BoundedServer]:
    """Three connections at most, and half a second for everything."""
    monkeypatch.setattr(BoundedServer, "limits", {IDLE: 1.5, READING: 0.5, WRITING: 0.5})
    monkeypatch.setattr(bounded_http, "SLOT_SECONDS", 0.5)
    monkeypatch.setattr(bounded_http, "_CHECK_SECONDS", 0.05)
    server = BoundedServer(0, Slow, connections=3)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Slow.hold.clear()
    yield server
    Slow.hold.set()
    server.shutdown()
    server.server_close()


def line_to(server: BoundedServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), 10)


def ended_after(line: socket.socket, seconds: float = 5.0) -> float:
    began = time.monotonic()
    line.settimeout(seconds)
    try:
        while line.recv(1 << 20):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_a_server_that_ends_gives_the_answer_that_is_under_way(
    slow: BoundedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "LAST_SECONDS", 20.0)
    line = line_to(slow)
    line.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    with slow._changed:
        assert slow._changed.wait_for(lambda: not slow._answered_all(), 10)
    slow.shutdown()
    ending = threading.Thread(target=slow.server_close)
    ending.start()
    ending.join(0.3)
    assert ending.is_alive()
    Slow.hold.set()
    assert line.recv(1 << 10).startswith(b"HTTP/1.1 200")
    ending.join(10)
    assert not ending.is_alive()
    line.close()


@pytest.mark.parametrize(
    "begun", [b"GET", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"]
)
def test_a_slow_request_has_a_total_time_limit(slow: BoundedServer, begun: bytes) -> None:
    """A byte now and then renews nothing."""
    with closing(line_to(slow)) as line:
        began = time.monotonic()
        try:
            for byte in [begun, *[b"x"] * 60]:
                line.sendall(byte)
                time.sleep(0.1)
        except OSError:
            pass
        assert 0.3 < time.monotonic() - began < 3


def test_a_response_that_is_not_read_has_a_time_limit(slow: BoundedServer) -> None:
    with closing(line_to(slow)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + 5
        while slow._slots and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not slow._slots


def test_a_kept_connection_waits_longer(slow: BoundedServer) -> None:
    with closing(line_to(slow)) as line:
        for _ in range(2):
            line.sendall(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(0.9)
        assert ended_after(line) < 3


def test_a_connection_that_is_served_is_not_ended(slow: BoundedServer) -> None:
    """Of three, two are being answered: the third, which waits, gives way; when all are, the
    newcomer does.
    """
    busy = [line_to(slow) for _ in range(2)]
    for caller in busy:
        caller.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    waiter = line_to(slow)
    time.sleep(0.2)
    third = line_to(slow)
    third.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ended_after(waiter) < 2
    time.sleep(0.2)
    late = line_to(slow)
    assert ended_after(late) < 3
    Slow.hold.set()
    for caller in (*busy, third):
        assert caller.recv(1000).startswith(b"HTTP/1.1 200")
    for caller in (*busy, third, waiter, late):
        caller.close()
