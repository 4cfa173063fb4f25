"""1,000 people, 6 runs, 14 records each: everything restarts, and keys are still released.

`make soak` does the same with 200 runs, also beside two busy programs
(tests/faults/soak_history.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from history import Crowd, build, start_all
from speed import allowed

from api.demo import counts
from api.demo.stage import MemoryOutbox, random32
from api.operate.bootstrap import FOREVER
from chain.devnode.process import DevChain
from chain.ledger import Ledger
from governance.broker.custody import Broker
from governance.broker.endpoint import Server
from governance.broker.journal import MAX_LINE
from governance.objects.broker_client import BrokerClient
from governance.objects.envelope import (
    Header,
    Label,
    WrapItem,
    decode_pieces,
    decode_run_keys,
    join_shares,
    key_commitment,
    open_message,
    split_key,
)
from governance.objects.keys import new_pair
from governance.objects.leaves import Leaf, leaves_root
from governance.rules.ledger_data import identity_id

PEOPLE, RUNS, RECORDS = 1_000, 6, 14
HOME_CPU = 0.050  # seconds of computing for the first page
PIECES_SECONDS = (
    60.0  # that a worker waits for the keys of all of them at most; quadratic work took minutes
)
BATCH = 1_000  # records whose keys are wrapped at once


@dataclass
class Old:
    """The home of a deployment with a long history, and who can sign for its people."""

    home: Path
    crowd: Crowd


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    home = tmp_path_factory.mktemp("long")
    return Old(home, build(home, PEOPLE, RUNS))


@pytest.mark.timeout(300)
def test_every_part_starts_again_on_a_long_history(old: Old) -> None:
    """Broker, API and worker read all of it, and the first page is as fast as ever."""
    start = start_all(old.home)
    assert start.runs == RUNS
    assert start.steps > 5 * RUNS
    assert set(start.seconds) >= {"chain", "bucket", "broker", "api", "worker"}
    assert start.page_cpu <= allowed(HOME_CPU, time.process_time)


@pytest.fixture(scope="module")
def served(old: Old) -> Iterator[tuple[Crowd, Broker, BrokerClient]]:
    """The ledger of it, and its broker behind its own endpoint, in this process."""
    with DevChain.start(old.home / "chain") as chain:
        world = old.crowd.world
        identity = dict(world.ledger.identity)
        world.ledger = Ledger.connect(chain.url, identity, world.relayer, MemoryOutbox())
        broker = Broker(old.home / "broker", chain.url, identity, lambda: int(time.time()))
        while broker.behind.is_set():
            broker.catch_up()
        endpoint = Server(0, broker)
        threading.Thread(target=endpoint.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{endpoint.server_address[1]}"
        yield old.crowd, broker, BrokerClient(url, world.ledger.domain, identity_id(identity))
        endpoint.shutdown()
        endpoint.server_close()


@pytest.mark.timeout(300)
def test_fourteen_records_of_a_thousand_people_and_a_broker_that_starts_again(
    old: Old, served: tuple[Crowd, Broker, BrokerClient]
) -> None:
    """The answer's journal line was longer than what a start read: its keys were locked in for
    good.
    """
    crowd, broker, client = served
    world = crowd.world
    leaves, headers = _records(crowd, client)
    _register(crowd, client, leaves)
    run, (private, public) = world.request_run(crowd.permit), new_pair()
    receipt = world.authorise(run, crowd.people, workerKey=public)
    began = time.monotonic()
    answer = client.pieces(run, 1, receipt.tx, public, headers, world.people["wanda"])
    assert time.monotonic() - began < allowed(PIECES_SECONDS)
    _, encoded = decode_run_keys(open_message(private, answer.info, answer.sealed))
    pieces = decode_pieces(encoded, answer.broker)
    shares: dict[bytes, list[bytes]] = {}
    for piece in pieces:
        shares.setdefault(piece.record, []).append(piece.share)
    assert {name: key_commitment(join_shares(own)) for name, own in shares.items()} == {
        leaf.record: leaf.key_commitment for leaf in leaves
    }
    journal = old.home / "broker" / "journal.jsonl"
    assert max(map(len, journal.read_bytes().splitlines())) <= MAX_LINE
    assert counts.keys(str(journal)) == {f"{run.hex()}:1": sorted(p.hex() for p in crowd.people)}
    url, identity = str(world.ledger.node.url), dict(world.ledger.identity)
    again = Broker(old.home / "broker", url, identity, lambda: int(time.time()))
    assert again.journal_head()["head"] == broker.journal_head()["head"]
    assert again.journal_head()["count"] > 1


def test_the_check_of_records_is_linear(
    served: tuple[Crowd, Broker, BrokerClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each person's consent is looked at once, however many records she has."""
    crowd, _, client = served
    world = crowd.world
    leaves, headers = _records(crowd, client, 2)
    _register(crowd, client, leaves)
    run, (_, public) = world.request_run(crowd.permit), new_pair()
    receipt = world.authorise(run, crowd.people, workerKey=public)
    looked: list[bytes] = []
    still_willing = Broker._still_willing

    def note(self: Broker, subject: bytes, *rest: object) -> bool:
        looked.append(subject)
        return still_willing(self, subject, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Broker, "_still_willing", note)
    client.pieces(run, 1, receipt.tx, public, headers, world.people["wanda"])
    assert len(looked) == 2 * PEOPLE  # before the shares are opened, and after
    assert set(looked) == set(crowd.people)


def _records(
    crowd: Crowd, client: BrokerClient, each: int = RECORDS
) -> tuple[list[Leaf], list[Header]]:
    """So many records of each person with keys in the broker's custody; the objects themselves
    nobody reads here.
    """
    name = identity_id(crowd.world.ledger.identity)
    labels = [
        Label(name, random32(), subject, crowd.world.dataset, 2, 1)
        for subject in crowd.people
        for _ in range(each)
    ]
    leaves, headers = [], []
    for first in range(0, len(labels), BATCH):
        batch, keys = labels[first : first + BATCH], []
        items = []
        for label in batch:
            keys.append(random32())
            items += [
                WrapItem(label.subject, label.dataset, label.record, label.version, j, share)
                for j, share in enumerate(split_key(keys[-1]))
            ]
        wrapped = client.wrap(items)
        for number, (label, key) in enumerate(zip(batch, keys, strict=True)):
            own, commitment = tuple(wrapped[3 * number : 3 * number + 3]), key_commitment(key)
            headers.append(Header(label, own, commitment))
            ciphertext = sha256(label.record).digest()
            leaves.append(Leaf(label.record, label.subject, 2, 1, ciphertext, commitment))
    return leaves, headers


def _register(crowd: Crowd, client: BrokerClient, leaves: list[Leaf]) -> None:
    world, ingest = crowd.world, random32()
    root = leaves_root(ingest, world.dataset, leaves)
    message = {
        "ingest": ingest,
        "dataset": world.dataset,
        "leavesRoot": root,
        "count": len(leaves),
        "relaxed": 0,
        "deadline": FOREVER,
    }
    signature = world.by("omar", "RecordsRegistered", message)
    world.relay("AccessLedger", "registerRecords", "RecordsRegistered", message, signature)
    client.hand_over(ingest, [leaf.to_json() for leaf in leaves])
