"""Snapshots of the dev chain: a restart from one gives the same ledger, and one that lies or broke
is not used.
"""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from extent import extent
from speed import allowed

from api.demo.stage import World
from chain.devnode.anvil import NodeGone, NodeRefused, Wire, find_anvil
from chain.devnode.process import DevChain
from chain.devnode.snapshots import GENERATIONS, Snapshots
from chain.devnode.writer import Writer, open_chain
from chain.errors import LedgerDown
from chain.ledger import Ledger
from chain.node import Node
from chain.wallets import Wallet


def snapshots(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.json"))


def begun_from(chain: DevChain) -> str:
    """The state that the running anvil was started with, or nothing."""
    children = (
        Path(f"/proc/{chain.process.pid}/task/{chain.process.pid}/children").read_text().split()
    )
    words = Path(f"/proc/{children[0]}/cmdline").read_text().split("\0")
    return Path(words[words.index("--load-state") + 1]).name if "--load-state" in words else ""


def everything(ledger: Ledger, known: list[Any] | None = None) -> list[Any]:
    """What anybody can ask about every block, transaction and log of the chain, and about its
    state.

    known: what was found before; then as many blocks are asked for. Asking for the newest may make
    an empty one.
    """
    newest = int(ledger.block()["number"], 16) if known is None else len(known[0]) - 1
    blocks = [ledger.node.call("eth_getBlockByNumber", [hex(n), True]) for n in range(newest + 1)]
    hashes = [transaction["hash"] for block in blocks for transaction in block["transactions"]]
    return [
        blocks,
        [ledger.node.call("eth_getTransactionReceipt", [transaction]) for transaction in hashes],
        ledger.logs(0, newest),
        ledger.head(),
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World, list[Any]]:
    """A folder with a ledger, two snapshots and writes after the newest; its world; everything on
    it.
    """
    folder = tmp_path_factory.mktemp("kept") / "chain"
    with DevChain.start(folder, snapshot_seconds=0) as chain:
        world = World.create(chain.url)
        world.grant(world.enrol(20))
        # A state is written after a call, when enough was mined since the last: so calls go on
        # until there are enough.
        until(lambda: bool(world.register_records()) and len(snapshots(folder)) == GENERATIONS, 60)
        everyone = everything(world.ledger)
    with DevChain.start(folder) as chain:  # no snapshot is due: these writes are the tail
        world.ledger = Ledger.connect(
            chain.url, world.ledger.identity, world.relayer, world.ledger._transactor._outbox
        )
        world.set_role(Wallet.new().address, "auditor")
        everyone = everything(world.ledger)
    return folder, world, everyone


def until(reached: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_restart_from_a_snapshot_gives_the_same_ledger(
    kept: tuple[Path, World, list[Any]], tmp_path: Path
) -> None:
    folder, world, everyone = kept
    copy = copied(folder, tmp_path / "copy")
    with DevChain.start(copy) as chain:
        assert begun_from(chain) == snapshots(copy)[-1].name
        ledger = Ledger.connect(chain.url, world.ledger.identity)
        assert everything(ledger, everyone) == everyone
    for path in snapshots(copy):
        path.unlink()
    with DevChain.start(copy) as chain:
        assert begun_from(chain) == ""
        assert everything(Ledger.connect(chain.url, world.ledger.identity), everyone) == everyone


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def forge(path: Path) -> None:
    """Another value in one storage slot, under the name that fits."""
    state = json.loads(path.read_bytes())
    storage = max((account["storage"] for account in state["accounts"].values()), key=len)
    slot = next(iter(storage))
    storage[slot] = "0x" + "0" * 63 + "7"
    data = json.dumps(state).encode()
    path.unlink()
    path.with_name(f"{path.name[:16]}-{sha256(data).hexdigest()}.json").write_bytes(data)


def misplace(path: Path) -> None:
    """A sound state that is said to be one write older than it is: a write would be made twice."""
    path.rename(path.with_name(f"state-{int(path.name[6:16]) - 1:010}-{path.name[17:]}"))


def put_ahead(path: Path) -> None:
    path.rename(path.with_name(f"state-{int(path.name[6:16]) + 1000:010}-{path.name[17:]}"))


@pytest.mark.parametrize("harm", [flip, cut, empty, forge, misplace, put_ahead])
@pytest.mark.parametrize("generations", [1, GENERATIONS])
def test_a_snapshot_that_broke_or_lies_is_not_used(
    kept: tuple[Path, World, list[Any]],
    tmp_path: Path,
    harm: Callable[[Path], None],
    generations: int,
) -> None:
    """The older one is used, or the journal alone, and the ledger is the same."""
    folder, world, everyone = kept
    copy = copied(folder, tmp_path / "copy")
    complete = [path.name for path in snapshots(copy)][:-generations]
    for path in snapshots(copy)[-generations:]:
        harm(path)
    with DevChain.start(copy) as chain:
        assert begun_from(chain) == (complete[-1] if complete else "")
        assert everything(Ledger.connect(chain.url, world.ledger.identity), everyone) == everyone


def test_a_snapshot_without_a_later_block_is_left_alone(tmp_path: Path) -> None:
    """Nothing proves its state: a forged one would be accepted."""
    folder = tmp_path / "chain"
    with DevChain.start(folder, snapshot_seconds=0) as chain:
        transfer(Node(chain.url), 0)
        until(lambda: len(snapshots(folder)) == 1)
    with DevChain.start(folder) as chain:
        assert begun_from(chain) == ""
        transfer(Node(chain.url), 1)
    with DevChain.start(folder) as chain:
        assert begun_from(chain) != ""


SENDER = Account.from_key(b"\1" * 32)
KILLS = extent(8, 40)


def transfer(node: Node, nonce: int) -> str:
    return str(node.call("eth_sendRawTransaction", [signed(nonce)]))


def signed(nonce: int) -> str:
    fields = {
        "to": SENDER.address,
        "nonce": nonce,
        "gas": 21000,
        "gasPrice": 0,
        "chainId": 31337,
        "value": 0,
    }
    return "0x" + SENDER.sign_transaction(fields).raw_transaction.hex()


def test_a_snapshot_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended before its last step, it left nothing under its name; what it left is taken away."""

    def ends(path: Path, _to: Path) -> Path:
        raise KeyboardInterrupt

    saved = Snapshots(tmp_path)
    dump = [gzip.compress(b'{"state":1}')]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", ends)
        with pytest.raises(KeyboardInterrupt):
            saved.save(1, dump)
    assert snapshots(tmp_path) == []
    assert list(tmp_path.iterdir()) != []
    again = Snapshots(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for writes in range(4):
        again.save(writes, dump)
    assert [snapshot.writes for snapshot in again.before(4)] == [3, 2]
    assert [snapshot.writes for snapshot in again.before(3)] == [2]


@pytest.mark.parametrize("damage", ["nothing", "no gzip", "cut"])
def test_a_dump_that_broke_is_no_snapshot(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(b"state" * 1_000)
    dumps = {"nothing": b"", "no gzip": b"no gzip", "cut": packed[:-4]}
    with pytest.raises(OSError, match="dump"):
        Snapshots(tmp_path).save(1, [dumps[damage]])
    assert snapshots(tmp_path) == []


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Path, Writer]]:
    """A ledger in this process that dumps its state after every write."""
    folder = tmp_path / "chain"
    node, writer = open_chain(
        folder, find_anvil(), None, True, lambda: int(time.time()), snapshot_seconds=0
    )
    yield folder, writer
    writer.close()
    node.stop()


def test_a_state_that_is_larger_than_any_answer_is_kept(
    opened: tuple[Path, Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger continues, as after a failed snapshot."""
    folder, writer = opened
    writer.send(signed(0))
    until(lambda: len(snapshots(folder)) == 1)
    monkeypatch.setattr("chain.devnode.anvil.MAX_ANSWER", 4_000)
    for nonce in range(1, 20):
        writer.send(signed(nonce))
    with closing(writer._node.connect()) as wire, pytest.raises(NodeRefused, match="too large"):
        wire.call("anvil_dumpState")
    before = snapshots(folder)[-1]

    def later() -> bool:
        writer.send(signed(len(sent)))
        sent.append(0)
        return snapshots(folder)[-1] > before

    sent = [0] * 20
    until(later)


def test_a_failed_snapshot_does_not_stop_the_ledger(
    opened: tuple[Path, Writer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, writer = opened
    dumped = []

    def ends(wire: Wire, method: str) -> Iterator[bytes]:
        dumped.append(method)
        yield b"a part"
        wire.close()
        raise NodeGone("it went away", "wait")

    monkeypatch.setattr(Wire, "stream", ends)
    for nonce in range(3):
        writer.send(signed(nonce))
        until(lambda: len(dumped) > nonce and not writer._saving.locked())  # noqa: B023
    assert snapshots(folder) == []
    assert "no snapshot" in capsys.readouterr().err


def kill(chain: DevChain, after: float) -> None:
    """kill -9 after so many seconds; without any, in the middle of the next snapshot."""
    deadline = time.monotonic() + (after or 5)
    while time.monotonic() < deadline and (
        after or not (chain.folder / "state.unfinished").exists()
    ):
        time.sleep(0.0002)
    chain.process.kill()


def transfers_until_away(node: Node, known: dict[int, str]) -> int:
    """Send transfers, and note the block that each is said to be in, until the ledger is away."""
    nonce = int(node.call("eth_getTransactionCount", [SENDER.address, "latest"]), 16)
    with suppress(LedgerDown):
        while True:
            receipt = node.call("eth_getTransactionReceipt", [transfer(node, nonce)])
            known[int(receipt["blockNumber"], 16)] = receipt["blockHash"]
            nonce += 1
    return nonce


@pytest.mark.campaign
def test_killed_in_the_middle_many_times(tmp_path: Path) -> None:
    """kill -9 at any moment, also in a snapshot: what was answered stands, block by block, and
    nothing stands twice.
    """
    probability, folder = random.Random(20), tmp_path / "chain"
    known: dict[int, str] = {}  # blocks that somebody was told of
    used = unfinished = 0
    seconds: list[float] = []
    for turn in range(KILLS):
        with DevChain.start(folder, snapshot_seconds=0) as chain:
            seconds.append(chain.seconds)
            used += begun_from(chain) != ""
            node = Node(chain.url)
            head = int(node.call("eth_blockNumber", []), 16)
            blocks = [node.call("eth_getBlockByNumber", [hex(n), False]) for n in range(head + 1)]
            assert head >= max(known, default=0)
            assert {n: blocks[n]["hash"] for n in known} == known
            sent = int(node.call("eth_getTransactionCount", [SENDER.address, "latest"]), 16)
            assert sent == sum(len(block["transactions"]) for block in blocks)
            killer = threading.Thread(
                target=kill, args=(chain, turn % 2 * probability.uniform(0.02, 0.2))
            )
            killer.start()
            transfers_until_away(node, known)
            killer.join()
        unfinished += (folder / "state.unfinished").exists()
    print(
        f"\n{len(known)} blocks over {KILLS} kills, {unfinished} of them in a snapshot; "
        f"restart {max(seconds):.2f} s at most"
    )
    assert used >= KILLS // 2
    assert unfinished >= KILLS // 8
    assert max(seconds) < allowed(3)
