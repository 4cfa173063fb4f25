"""Nobody shuts a withdrawal out by asking: what makes the node execute code has a price and waits
its turn.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clocked import Gateway
from extent import extent
from speed import allowed

from api.demo.stage import World, random32
from chain.bounded_http import CONNECTIONS
from chain.devnode import executions, gateway
from chain.devnode.anvil import NodeRefused
from chain.devnode.executions import FOREIGN_GAS, GAS_CAP, SMALL, WAITING, Executions
from chain.devnode.gateway import BATCHES, SENDERS, Rpc, Shared
from chain.devnode.process import DevChain
from chain.ledger import message_tuple
from chain.wallets import Wallet

LOOP = {
    "data": "0x5b600056",
    "gas": hex(GAS_CAP),
}  # JUMPDEST PUSH1 0 JUMP, until the gas is used up
OWN, OTHER = "0x" + "11" * 20, "0x" + "22" * 20
WITHDRAWAL_SECONDS = 10.0  # on two cores beside the flood; without one it takes 0.1


@dataclass
class GuardedChain:
    """The ledger of one deployment, as `volens serve` sets it up."""

    chain: DevChain
    world: World

    def revoke(self, subject: bytes) -> float:
        """Withdraw as the service does, through its relay; the seconds it took."""
        message = {"subject": subject, "dataset": self.world.dataset, "epoch": 0}
        wallet, began = self.world.subjects[subject], time.monotonic()
        signature = wallet.sign(self.world.ledger.domain, "Revoke", message)
        revocation = message_tuple("Revoke", message)
        self.world.ledger.relay("ConsentRegistry", "revoke", revocation, wallet.signer, signature)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedChain]:
    folder = tmp_path_factory.mktemp("own")
    identity = folder / "identity.json"
    with DevChain.start(folder / "chain", identity=identity) as chain:
        world = World.create(chain.url)
        identity.write_text(json.dumps(world.ledger.identity))
        (folder / "chain" / SENDERS).write_text(world.relayer.address + "\n")
        yield GuardedChain(chain, world)


def call(method: str, *params: object, number: int = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def loops(_: GuardedChain) -> object:
    return [call("eth_call", LOOP, "latest", number=n) for n in range(1000)]


def estimates(_: GuardedChain) -> object:
    return call("eth_estimateGas", LOOP)


def large_calls(guarded: GuardedChain) -> object:
    """Forged consents, all in a calldata too large to be executed at once."""
    item = guarded.world.grant_item(guarded.world.grant_message(random32()), Wallet.new())
    data = guarded.world.ledger.encode("ConsentRegistry", "grant", [item] * 300)
    address = guarded.world.ledger.domain.contracts["ConsentRegistry"]
    return call("eth_estimateGas", {"to": address, "data": "0x" + data.hex()})


def small_calls(guarded: GuardedChain) -> object:
    address = guarded.world.ledger.domain.contracts["Trail"]
    data = "0x" + guarded.world.ledger.encode("Trail", "head").hex()
    return [
        call("eth_call", {"to": address, "data": data}, "latest", number=n) for n in range(1000)
    ]


def logs(guarded: GuardedChain) -> object:
    """Everything that ever happened, a megabyte."""
    if not guarded.world.subjects:
        guarded.world.grant(guarded.world.enrol(300))
    return call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})


FLOODS = [logs, loops, small_calls, estimates, large_calls][: extent(3, 5)]


@pytest.mark.alone
@pytest.mark.campaign
@pytest.mark.parametrize("what", FLOODS)
def test_a_withdrawal_is_done_during_a_flood_of_questions_and_right_after(
    guarded: GuardedChain, what: Any
) -> None:
    """Each caller asks again as soon as it has its answer, and comes again where its connection was
    ended.
    """
    subjects = guarded.world.enrol(4)
    guarded.world.grant(subjects)
    body = json.dumps(what(guarded)).encode()
    ended, asked = threading.Event(), []

    def flood() -> None:
        while not ended.is_set():
            line = http.client.HTTPConnection("127.0.0.1", guarded.chain.port, timeout=5)
            try:
                while not ended.is_set():
                    line.request("POST", "/", body)
                    asked.append(line.getresponse().read())
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                line.close()

    callers = [threading.Thread(target=flood) for _ in range(CONNECTIONS + 12)]
    for caller in callers:
        caller.start()
    try:
        time.sleep(2)
        during = [guarded.revoke(subject) for subject in subjects[:3]]
        ended.set()
        after = guarded.revoke(subjects[3])
    finally:
        ended.set()
        for caller in callers:
            caller.join()
    assert asked
    assert max(*during, after) < allowed(WITHDRAWAL_SECONDS), (during, after)


@pytest.mark.alone
def test_calls_of_a_closed_connection_are_not_executed(guarded: GuardedChain) -> None:
    """128 callers each left 66 seconds of work behind, and every place stayed taken meanwhile."""
    (subject,) = guarded.world.enrol()
    guarded.world.grant([subject])
    body = json.dumps(loops(guarded)).encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            line = stack.enter_context(
                socket.create_connection(("127.0.0.1", guarded.chain.port), 10)
            )
            line.sendall(head + body)
        time.sleep(0.5)
    assert guarded.revoke(subject) < allowed(WITHDRAWAL_SECONDS)


def test_the_rest_of_a_batch_is_left_when_its_caller_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that the caller sent behind its request do not hide that it has closed."""
    gateway, answered = Gateway(tmp_path / "chain"), []

    def answer(_: Rpc, request: Any) -> dict[str, object]:
        answered.append(request["id"])
        time.sleep(0.05)
        return {}

    try:
        monkeypatch.setattr(Rpc, "_answer_one", answer)
        body = json.dumps([call("eth_chainId", number=n) for n in range(40)]).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", gateway.server.server_port), 10) as line:
            line.sendall(head + body + b"POST / HTTP/1.1\r\n")
            while not answered:
                time.sleep(0.01)
        time.sleep(1)
        assert len(answered) < 15
    finally:
        gateway.close()


# -- the rule by itself


def rule() -> Executions:
    return Executions(lambda: frozenset({OWN}))


@pytest.mark.parametrize(
    ("call_", "cap"),
    [
        ({"to": OWN}, GAS_CAP),
        ({"to": OWN, "gas": hex(1 << 60)}, GAS_CAP),
        ({"to": OTHER}, FOREIGN_GAS),
        ({"data": "0x00", "gas": hex(1 << 60)}, GAS_CAP),  # creates a contract, one at a time
        ({"to": OTHER, "gasLimit": hex(GAS_CAP)}, FOREIGN_GAS),
    ],
)
def test_other_code_than_the_deployments_has_little_gas(call_: dict[str, Any], cap: int) -> None:
    (bounded, block) = rule().bounded([call_, "latest", {"overrides": {}}])
    assert isinstance(bounded, dict)
    assert int(bounded["gas"], 16) == cap
    assert "gasLimit" not in bounded
    assert block == "latest"


def test_before_there_is_a_deployment_any_code_has_a_transactions_gas() -> None:
    (bounded,) = Executions().bounded([{"data": "0x00"}])
    assert isinstance(bounded, dict)
    assert int(bounded["gas"], 16) == GAS_CAP


LARGE: dict[str, dict[str, Any]] = {
    "other code": {"to": OTHER, "data": "0x00"},
    "a creation": {"data": "0x00"},
    "much data": {"to": OWN, "data": "0x" + "00" * SMALL},
    "an authorisation": {"to": OWN, "data": "0x00", "authorizationList": []},
    "an access list": {"to": OWN, "data": "0x00", "accessList": []},
}


@pytest.mark.parametrize("name", LARGE)
def test_large_calls_wait_for_one_another_and_small_ones_for_nobody(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "WAIT_SECONDS", 0.1)
    shared = rule()
    large: list[object] = [LARGE[name], "latest"]
    small: list[object] = [{"to": OWN, "data": "0x00"}, "latest"]
    with shared.turn(large, lambda: None):
        with shared.turn(small, lambda: None):
            pass
        with pytest.raises(NodeRefused, match="too many large questions"):
            with shared.turn(large, lambda: None):
                pass
    with shared.turn(large, lambda: None):
        pass


def test_a_full_queue_refuses_at_once() -> None:
    shared, done = rule(), []

    def wait() -> None:
        with shared.turn([{}], lambda: None):
            done.append(1)

    threads = [threading.Thread(target=wait) for _ in range(WAITING)]
    with shared.turn([{}], lambda: None):
        for thread in threads:
            thread.start()
        while shared._large._slots._value:
            time.sleep(0.001)
        began = time.monotonic()
        with pytest.raises(NodeRefused), shared.turn([{}], lambda: None):
            pass
        assert time.monotonic() - began < allowed(1)
    for thread in threads:
        thread.join()
    assert len(done) == WAITING


def test_a_client_that_left_the_queue_is_not_executed() -> None:
    def gone() -> None:
        raise gateway.CallerGone

    shared = rule()
    with pytest.raises(gateway.CallerGone), shared.turn([{}], gone):
        raise AssertionError
    with shared.turn([{}], lambda: None):
        pass


class Nobody:
    """A node and a writer without clients."""


def test_batches_have_a_time_limit_and_a_maximum_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared: Any = Shared(rule())
    rpc = Rpc(Nobody(), Nobody(), None, shared)  # type: ignore[arg-type]
    body = json.dumps([call("no_such", number=n) for n in range(3)]).encode()
    answers: Any = rpc.answer(body)
    assert [reply["error"]["code"] for reply in answers] == [-32601] * 3
    monkeypatch.setattr(gateway, "BATCH_SECONDS", -1.0)
    answers = rpc.answer(body)
    assert [reply["id"] for reply in answers] == [0, 1, 2]
    assert {reply["error"]["message"] for reply in answers} == {
        "the batch took too long: ask for less"
    }
    for _ in range(BATCHES):
        shared.batches.acquire()
    answers = rpc.answer(body)
    assert "too many batches" in answers["error"]["message"]
