"""Samples of the kill campaign (`make soak` runs all), and tests of its oracle."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_utils.address import to_checksum_address
from faults import boundaries, oracle
from faults.campaign import Stage, Violated, stages, sweep
from faults.operations import Grant, Ingest, Operation, Release, Revoke, Run
from faults.random_kills import DATABASE, ServedHome, kill_from_outside
from speed import allowed

from api.demo.postgres import Postgres
from chain.devnode.snapshots import Snapshots
from chain.transactor import Transactor
from governance.broker.journal import Journal

ROOT = Path(__file__).resolve().parent.parent
RECOVERY = 3.0  # seconds
BESIDE_OTHERS = 2.0  # how much longer a whole home takes while other tests run


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[[], Stage]]:
    with stages() as maker:
        yield maker


@pytest.fixture(scope="module")
def same(make: Callable[[], Stage]) -> Callable[[], Stage]:
    """One stage for all samples, as a campaign has one for many injuries; a new one once it is
    closed.
    """
    kept: list[Stage] = []

    def get() -> Stage:
        if not kept or kept[0].parts["gateway"].ended():
            kept[:] = [make()]
        return kept[0]

    return get


@pytest.mark.parametrize(
    ("operation", "target", "mode", "first", "step"),
    [
        (Grant, "gateway", "kill", 2, 11),
        (Revoke, "actor", "fail", 5, 11),
        (Ingest, "actor", "kill", 4, 15),
        (Run, "actor", "kill", 11, 120),
        (Run, "broker", "kill", 9, 200),
        (Release, "actor", "kill", 30, 60),
    ],
)
def test_whatever_ends_it_nothing_is_lost_doubled_or_read_unrecorded(
    same: Callable[[], Stage],
    operation: type[Operation],
    target: str,
    mode: str,
    first: int,
    step: int,
) -> None:
    outcomes = list(sweep(same, operation, target, mode, first, step))
    assert outcomes
    assert [
        (outcome.where, violation) for outcome in outcomes for violation in outcome.violations
    ] == []
    assert max(outcome.seconds for outcome in outcomes) <= allowed(RECOVERY)


def test_killed_from_outside(postgres: Postgres) -> None:
    """The processes that `volens serve` starts, and its database's server, one after another while
    people go on.
    """
    outcomes = kill_from_outside(2, parts=("worker", DATABASE), postgres=postgres)
    assert [
        (outcome.target, violation) for outcome in outcomes for violation in outcome.violations
    ] == []
    assert max(outcome.seconds for outcome in outcomes) <= BESIDE_OTHERS * allowed(RECOVERY)


def test_it_is_back_when_all_parts_are() -> None:
    """The part that was killed answers at once here; another one takes two questions longer."""
    states = iter(["down", "down", "ok"])

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                json.dumps({"ledger": {"state": "ok"}, "bucket": {"state": next(states)}}).encode()
            )

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        nothing = lambda *_: None  # noqa: E731
        served = object.__new__(ServedHome)
        served.parts = SimpleNamespace(
            workers=[],
            urls={"api": f"http://127.0.0.1:{server.server_port}"},
            stop_part=nothing,
            launch_broker=nothing,
            await_part=nothing,
            ended=dict,
        )  # type: ignore[assignment]
        served.start_again("broker")
        server.shutdown()
    assert next(states, None) is None


# -- a fault planted on purpose: the judge says so


def sign_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was signed before a crash is not sent again: the same call is signed anew, under the
    next nonce.
    """

    def resume(self: Transactor) -> list[Any]:
        for _, tx, raw in self._outbox.pending(self.address):
            self._outbox.settle(tx)
            old = rlp_fields(raw)
            nonce = int(self._call("eth_getTransactionCount", [self.address, "latest"]), 16)
            anew = bytes(self._wallet_sign(old | {"nonce": nonce}))
            self._call("eth_sendRawTransaction", ["0x" + anew.hex()])
        return []

    def sign(self: Transactor, fields: dict[str, Any]) -> bytes:
        return bytes(Account.sign_transaction(fields, self._wallet.key).raw_transaction)

    monkeypatch.setattr(Transactor, "_wallet_sign", sign, raising=False)
    monkeypatch.setattr(Transactor, "_resume", resume)


def rlp_fields(raw: bytes) -> dict[str, Any]:
    chain_id, _, _, _, gas, to, _, data, *_ = rlp.decode(raw[1:])
    return {
        "type": 2,
        "chainId": int.from_bytes(chain_id),
        "gas": int.from_bytes(gas),
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        "to": to_checksum_address(to),
        "data": data,
    }


def journal_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of an answer is written when the next one is due."""
    append, waiting = Journal.append, list[Any]()

    def later(self: Journal, entry: dict[str, Any]) -> int:
        waiting.append(entry)
        return append(self, waiting.pop(0)) if len(waiting) > 1 else self.count

    monkeypatch.setattr(Journal, "append", later)


def snapshot_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is written under its name from the beginning."""

    def save(self: Snapshots, writes: int, dump: Iterable[bytes]) -> None:
        state = zlib.decompress(b"".join(dump), wbits=31)
        path = self._folder / f"state-{writes:010}-{sha256(state).hexdigest()}.json"
        with path.open("wb") as file:
            file.write(state[: len(state) // 2])
            file.flush()
            os.fsync(file.fileno())
            file.write(state[len(state) // 2 :])

    monkeypatch.setattr(Snapshots, "save", save)


@pytest.mark.parametrize(
    ("plant", "operation", "target", "where", "turns", "sentence"),
    [
        (
            sign_again,
            Grant,
            "actor",
            "Node.make_request done",
            range(2, 7),
            "I4: a call was mined twice",
        ),
        (
            journal_after_the_answer,
            Run,
            "broker",
            "Endpoint._answer done",
            range(1, 5),
            "I1: keys reached a worker and the journal does not know",
        ),
        (
            snapshot_overwritten,
            Grant,
            "gateway",
            "os.fsync done",
            range(1, 6),
            "half a state of the ledger stands under its name",
        ),
    ],
)
def test_a_planted_fault_is_seen(
    make: Callable[[], Stage],
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    operation: type[Operation],
    target: str,
    where: str,
    turns: range,
    sentence: str,
) -> None:
    plant(monkeypatch)
    stage, violations = make(), list[str]()
    for turn in turns:
        try:
            outcome = stage.injure(operation(), target, "kill", turn, where)
        except Violated as other:  # the fault broke more than what is looked for
            violations.append(str(other))
            stage = make()
            continue
        if outcome is None:  # the operation ended before that moment: the next may reach it
            violations.append(f"{where} was not reached {turn} times")
            continue
        violations += outcome.violations
        if sentence in violations:
            return
    pytest.fail(f"nobody saw it: {violations}")


# -- the judge stands alone, and the product has no hooks


def test_the_judge_imports_nothing_of_what_it_judges() -> None:
    lines = Path(oracle.__file__).read_text().splitlines()
    tree = ast.walk(ast.parse("\n".join(lines)))
    imported = {
        alias.name.split(".")[0]
        for node in tree
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        str(node.module).split(".")[0]
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & {"api", "chain", "contracts", "governance", "analytics"}
    done = subprocess.run(
        [sys.executable, "-I", oracle.__file__], capture_output=True, text=True, check=False
    )
    assert (
        "IndexError" in done.stderr
    )  # it starts without the product on its path, and wants its facts


def test_an_installed_product_has_no_hook() -> None:
    """What ends, fails or hangs a process here is wrapped around it by a test: no setting, no
    variable reaches it.
    """
    words = ("boundaries", "KILL_AT", "FAIL_AT", "HANG_AT", "VOLENS_TEST")
    for package in ("api", "chain", "governance", "analytics", "contracts"):
        for path in (ROOT / package).rglob("*.py"):
            assert not [word for word in words if word in path.read_text()], path
    assert Path(boundaries.__file__).parent == ROOT / "tests" / "faults"
