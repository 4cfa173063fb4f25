"""A long history: a broker reads it in pages that fit, lets out nothing meanwhile, and says how far
it is.
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
from rig import Rig

from api.demo.stage import World, random32
from chain.devnode.process import DevChain
from chain.errors import LedgerSlow
from chain.ledger import Ledger
from chain.paging import FIRST, LARGEST, RETRY_AFTER, TARGET, TOO_LARGE, Pages
from governance.broker import custody
from governance.broker import node as nodes
from governance.broker.custody import Broker, Refusal
from governance.broker.endpoint import keep_up
from governance.errors import BrokerRefused
from governance.readmodel.database import open_database
from governance.readmodel.projection import Projection
from governance.rules.encoding import canonical_json

DATASETS = 40  # blocks that a world gets beside those of its creation
WIDEST = 4  # blocks of which a narrow node gives the logs at once


@pytest.fixture
def rig_people() -> int:
    """Enough where nothing is trained."""
    return 6


class Narrow(ThreadingHTTPServer):
    """A node that cannot give the logs of more than WIDEST blocks: `fail` answers in its place."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Between)
        self.url = url
        self.fail: Callable[[BaseHTTPRequestHandler, Any], bytes] = too_large
        self.asked: list[int] = []  # widths
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """The client did not wait for the response."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Between(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Narrow

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        width = 0
        if asked["method"] == "eth_getLogs":
            where = asked["params"][0]
            width = int(where["toBlock"], 16) - int(where["fromBlock"], 16) + 1
            self.server.asked.append(width)
        if width > WIDEST:
            data = self.server.fail(self, asked)
        else:
            question = urllib.request.Request(
                self.server.url, body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(question, timeout=10) as answer:
                data = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def too_large(_handler: BaseHTTPRequestHandler, asked: Any) -> bytes:
    error = {"code": TOO_LARGE, "message": "query returned more than 10000 results"}
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode()


def too_late(_handler: BaseHTTPRequestHandler, asked: Any) -> bytes:
    time.sleep(0.8)
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": []}).encode()


def endless(_handler: BaseHTTPRequestHandler, asked: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": ["0" * 4_000_000]}).encode()


@pytest.fixture(scope="module")
def world(devchain: DevChain) -> World:
    """One for all tests: they read it."""
    world = World.create(devchain.url)
    for _ in range(DATASETS):
        world.register_dataset(random32())
    return world


@pytest.fixture
def narrow(world: World) -> Iterator[Narrow]:
    between = Narrow(str(world.ledger.node.url))
    yield between
    between.shutdown()
    between.server_close()


def broker_of(world: World, url: str, folder: Path) -> Broker:
    return Broker(folder / "broker", url, dict(world.ledger.identity), lambda: int(time.time()))


@pytest.mark.parametrize("fail", [too_large, too_late, endless])
def test_a_page_that_is_too_much_is_asked_for_in_halves(
    world: World, narrow: Narrow, tmp_path: Path, fail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One such page made the whole ledger unreadable, again and again at every start."""
    monkeypatch.setattr(nodes, "MAX_ANSWER", 2_000_000)
    narrow.fail = fail
    broker = broker_of(world, narrow.address, tmp_path)
    broker._node._connection.timeout = 0.4
    assert broker.witness()["count"] == world.ledger.head()[0]
    assert max(narrow.asked) > WIDEST  # it tried, and went on smaller


@pytest.mark.parametrize("fail", [too_large, too_late])
def test_the_rows_are_derived_in_halves_too(
    world: World, narrow: Narrow, tmp_path: Path, fail: Any
) -> None:
    narrow.fail = fail
    ledger = Ledger.connect(narrow.address, world.ledger.identity)
    ledger.node._request_kwargs["timeout"] = 0.4
    projection = Projection(open_database(f"sqlite:///{tmp_path}/v.db"), ledger, None)  # type: ignore[arg-type]
    projection.sync()
    assert projection.replayed.count == world.ledger.head()[0]
    first, last = world.ledger.identity["deployBlock"], int(world.ledger.block()["number"], 16)
    pages = list(ledger.all_logs(first, last))
    assert [log for page in pages for log in page] == world.ledger.logs(first, last)
    with pytest.raises(LedgerSlow):
        ledger.logs(first, last)  # the twin: all at once cannot be had


def test_pages_have_about_the_same_number_of_events() -> None:
    """Events count: full blocks make a page smaller, empty ones larger."""
    pages = Pages()
    assert pages.end(1, 1_000_000) == FIRST
    for _ in range(20):
        pages.took(pages.size, 0)
    assert pages.size == LARGEST
    for _ in range(20):
        pages.took(pages.size, 1_000 * pages.size)
        assert pages.size * 1_000 <= max(TARGET, 1_000)
    pages.took(pages.size, 50_000)
    assert pages.size == 1
    assert not pages.halve()


def test_a_failed_page_size_is_not_tried_again_at_once() -> None:
    """Else every second page would wait for the same node to fail again."""
    pages = Pages()
    for _ in range(3):
        pages.took(pages.size, 0)
    failed = pages.size
    assert pages.halve()
    for _ in range(RETRY_AFTER - 1):
        pages.took(pages.size, 0)
        assert pages.size == failed // 2
    pages.took(pages.size, 0)
    assert pages.size == failed


def test_nothing_leaves_a_broker_that_has_not_read_everything(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with a reason of its own, while the health says how far it is; once all is read, the
    same is answered.
    """
    monkeypatch.setattr(custody, "FOLLOW_SECONDS", -1.0)  # a question folds one page ...
    monkeypatch.setattr("chain.paging.FIRST", 4)  # ... of four blocks
    monkeypatch.setattr("chain.paging.LARGEST", 4)
    run = rig.request()
    fresh = Broker(
        rig.folder / "broker",
        rig.url,
        dict(rig.world.ledger.identity),
        lambda: int(time.time()),
    )
    monkeypatch.setattr(rig.endpoint, "broker", fresh)
    key = b"\x07" * 32
    receipt = rig.authorise(run, key)

    def ask() -> Any:
        wanda = rig.world.people["wanda"]
        return rig.client.pieces(run, 1, receipt.tx, key, rig.headers(), wanda)

    reasons, seen = [], []
    while not reasons or reasons[-1] is not None:
        seen.append(_health(rig))
        try:
            ask()
            reasons.append(None)
        except BrokerRefused as refusal:
            reasons.append(refusal.reason.slug)
    assert reasons[:-1] == ["catching-up"] * (len(reasons) - 1)
    assert len(reasons) > 2
    assert all(health["catchingUp"] for health in seen[:-1])
    blocks = [health["block"] for health in seen[1:]]
    assert blocks == sorted(set(blocks))  # every question brought it further
    end = _health(rig)
    assert (end["catchingUp"], end["block"]) == (False, end["newest"])
    assert len(rig.journal()) == 1


def _health(rig: Rig) -> dict[str, Any]:
    url = f"http://127.0.0.1:{rig.endpoint.server_address[1]}/health"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return dict(json.loads(answer.read()))


@pytest.mark.parametrize("endpoint", ["witness", "records"])
def test_every_endpoint_that_needs_the_ledger_refuses_meanwhile(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    broker = broker_of(world, str(world.ledger.node.url), tmp_path)
    question = {"ingest": "ab" * 32, "leaves": []}
    with monkeypatch.context() as slow:
        slow.setattr(custody, "FOLLOW_SECONDS", -1.0)
        with pytest.raises(Refusal) as refusal:
            broker.witness() if endpoint == "witness" else broker.records(question)
        assert refusal.value.reason == 79
        assert broker.behind.is_set()


def test_it_catches_up_in_the_background_between_requests(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background, a slice at a time: somebody who asks for its identity or health does not
    wait.
    """
    monkeypatch.setattr(custody, "SLICE_SECONDS", -1.0)
    broker = broker_of(world, str(world.ledger.node.url), tmp_path)
    threading.Thread(target=keep_up, args=(broker,), daemon=True).start()
    waits, deadline = [], time.monotonic() + 30
    while broker.behind.is_set() and time.monotonic() < deadline:
        began = time.monotonic()
        broker.journal_head()
        waits.append(time.monotonic() - began)
    assert not broker.behind.is_set()
    assert broker.health()["block"] == broker.health()["newest"] > 0
    assert max(waits) < 2.0


def test_a_start_believes_no_file_more_than_the_ledger(world: World, tmp_path: Path) -> None:
    """Nothing of the fold is kept: whatever lies in the broker's folder, a start executes every
    step again.
    """
    url = str(world.ledger.node.url)
    broker = broker_of(world, url, tmp_path)
    head = broker.witness()["head"]
    for name in ("fold.json", "checkpoint.json", "state.json"):
        (tmp_path / "broker" / name).write_bytes(canonical_json({"count": 1, "head": "00" * 32}))
    again = broker_of(world, url, tmp_path)
    assert again.health()["block"] == 0
    assert again.witness()["head"] == head
    assert again._node.replayed.signatures == broker._node.replayed.signatures > DATASETS


def test_answers_that_are_kept_for_a_second_question_are_bounded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was kept for ever: six megabytes for 1,000 people with 14 records each."""
    monkeypatch.setattr(custody, "KEPT_ANSWERS", 3_000)
    broker = broker_of(world, str(world.ledger.node.url), tmp_path)
    for number in range(10):
        broker._keep(bytes([number]), {"sealed": "00" * 500})
    assert list(broker._answered) == [b"\x07", b"\x08", b"\x09"]
    broker._keep(b"large", {"sealed": "00" * 9_000})
    assert list(broker._answered) == [b"large"]
