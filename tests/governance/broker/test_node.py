"""A broker believes its node for order and freshness only: each lie of a node is met with the right
refusal.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api.demo.stage import World
from chain.devnode.process import DevChain
from governance.broker.custody import Broker, Refusal
from governance.broker.journal import Journal, JournalBroken
from governance.rules.encoding import Malformed

Lie = Callable[[str, list[Any], Any], Any]


class Liar(ThreadingHTTPServer):
    """A node between the broker and the real one; `lie(method, params, answer)` alters what it
    says.
    """

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), Between)
        self.url, self.lie = url, truthful
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    lie: Lie


class Between(BaseHTTPRequestHandler):
    server: Liar

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        forward = urllib.request.Request(
            self.server.url, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(forward, timeout=10) as answer:
            reply = json.loads(answer.read())
        if "result" in reply:
            reply["result"] = self.server.lie(request["method"], request["params"], reply["result"])
        data = json.dumps(reply).encode().replace(b'"deep"', b"[" * 100_000 + b"]" * 100_000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def truthful(_method: str, _params: list[Any], answer: Any) -> Any:
    return answer


def other_head(method: str, _params: list[Any], answer: Any) -> Any:
    return answer[:-1] + ("0" if answer[-1] != "0" else "1") if method == "eth_call" else answer


def dropped_event(method: str, _params: list[Any], answer: Any) -> Any:
    return answer[:-2] if method == "eth_getLogs" else answer


def hidden_call(method: str, _params: list[Any], answer: Any) -> Any:
    """The newest transaction is not shown at all."""
    return (
        [log for log in answer if log["transactionHash"] != answer[-1]["transactionHash"]]
        if method == "eth_getLogs" and answer
        else answer
    )


def edited_input(method: str, _params: list[Any], answer: Any) -> Any:
    if method == "eth_getTransactionByHash":
        position = len(answer["input"]) // 2  # the last bytes may be padding that nobody reads
        answer["input"] = (
            answer["input"][:position]
            + format(int(answer["input"][position], 16) ^ 1, "x")
            + answer["input"][position + 1 :]
        )
    return answer


def old_head(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] == "latest":
        answer["timestamp"] = hex(int(answer["timestamp"], 16) - 3600)
    return answer


def other_chain(method: str, _params: list[Any], answer: Any) -> Any:
    return "0x1" if method == "eth_chainId" else answer


def deep_answer(method: str, _params: list[Any], answer: Any) -> Any:
    return "deep" if method == "eth_getLogs" else answer


def other_genesis(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] == "0x0":
        answer["hash"] = "0x" + "ab" * 32
    return answer


@pytest.fixture
def liar(devchain: DevChain) -> Iterator[Liar]:
    between = Liar(devchain.url)
    yield between
    between.shutdown()
    between.server_close()


def broker_of(world: World, url: str, folder: Path, ahead: int = 0) -> Broker:
    return Broker(
        folder / "broker", url, dict(world.ledger.identity), lambda: int(time.time()) + ahead
    )


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (other_head, 65),
        (dropped_event, 65),
        (hidden_call, 65),
        (edited_input, 65),
        (other_chain, 65),
        (other_genesis, 65),
        (old_head, 64),
        (deep_answer, 64),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_lie_of_a_node_is_refused(
    world: World, liar: Liar, tmp_path: Path, lie: Lie, reason: int
) -> None:
    world.grant(world.enrol(2))
    broker = broker_of(world, f"http://127.0.0.1:{liar.server_address[1]}", tmp_path)
    liar.lie = lie
    with pytest.raises(Refusal) as refusal:
        broker.witness()
    assert refusal.value.reason == reason
    liar.lie = truthful
    assert broker.witness()["count"] == world.ledger.head()[0]


def test_a_node_that_steps_back_or_rewrites_is_refused(
    world: World, liar: Liar, tmp_path: Path
) -> None:
    broker = broker_of(world, f"http://127.0.0.1:{liar.server_address[1]}", tmp_path)
    seen = broker.witness()["block"]

    def behind(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            answer["number"] = hex(seen - 1)
        return answer

    def rewritten(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == hex(seen):
            answer["hash"] = "0x" + "cd" * 32
        return answer

    again = broker_of(
        world, f"http://127.0.0.1:{liar.server_address[1]}", tmp_path
    )  # started anew in the same folder
    for lie in (behind, rewritten):
        liar.lie = lie
        for started in (broker, again):
            with pytest.raises(Refusal) as refusal:
                started.witness()
            assert refusal.value.reason == 71
    liar.lie = truthful
    assert again.witness()["block"] >= seen


def test_a_clock_far_from_the_ledgers_releases_nothing(
    world: World, devchain: DevChain, tmp_path: Path
) -> None:
    with pytest.raises(Refusal) as refusal:
        broker_of(world, devchain.url, tmp_path, ahead=3600).witness()
    assert refusal.value.reason == 64


def test_a_failure_in_between_is_not_another_ledger(
    world: World, liar: Liar, tmp_path: Path
) -> None:
    """The node dies while it is being read: the error says so, and nothing is lost."""
    broker = broker_of(world, f"http://127.0.0.1:{liar.server_address[1]}", tmp_path)
    calls: list[str] = []

    def failing(method: str, _params: list[Any], answer: Any) -> Any:
        calls.append(method)
        return None if method == "eth_getTransactionByHash" and calls.count(method) > 2 else answer

    liar.lie = failing
    with pytest.raises(Refusal) as refusal:
        broker.witness()
    assert refusal.value.reason == 64
    liar.lie = truthful
    assert broker.witness()["count"] == world.ledger.head()[0]


def test_a_broker_whose_memory_is_damaged_does_not_start(
    world: World, devchain: DevChain, tmp_path: Path
) -> None:
    broker_of(world, devchain.url, tmp_path).witness()
    (tmp_path / "broker" / "seen.json").write_bytes(b'{"block":1}')
    with pytest.raises(Malformed):
        broker_of(world, devchain.url, tmp_path)


def test_a_journal_that_was_edited_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, lambda digest: digest)
    for run in ("aa", "bb", "cc"):
        journal.append({"kind": "pieces", "run": run})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + b'{"torn')
    assert Journal(path, lambda digest: digest).count == 3
    for changed in (
        lines[0] + lines[2],
        lines[1] + lines[2],
        lines[0].replace(b"aa", b"ab") + lines[1],
    ):
        path.write_bytes(changed)
        with pytest.raises(JournalBroken):
            Journal(path, lambda digest: digest)
