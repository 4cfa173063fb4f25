"""The dev chain as a process: how it starts, what it says when it cannot, and that nothing outlives
it.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from speed import allowed

from chain.devnode.anvil import find_anvil
from chain.devnode.process import DevChain, DevChainNotStarted
from chain.devnode.tether import tether
from chain.node import Node

ROOT = Path(__file__).parents[2]
ANVIL = find_anvil()


def ask(url: str, method: str, *params: object) -> object:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    with urllib.request.urlopen(url, body, timeout=10) as answer:
        return json.loads(answer.read())["result"]


def send(url: str) -> str:
    fields = {
        "nonce": 0,
        "to": "0x" + "11" * 20,
        "value": 0,
        "gas": 21_000,
        "gasPrice": 0,
        "chainId": 31337,
    }
    return ask(
        url,
        "eth_sendRawTransaction",
        Account.create().sign_transaction(fields).raw_transaction.to_0x_hex(),
    )


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def ends(pid: int, seconds: float = 3.0) -> bool:
    """Whether a process ends in time; one that only waits to be reaped has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (
            FileNotFoundError,
            ProcessLookupError,
        ):  # gone before it was opened, or before it was read
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[DevChain]:
    with DevChain.start(tmp_path / "chain", anvil=ANVIL) as started:
        yield started


def test_starts_quickly_and_keeps_the_ledger_over_a_stop(tmp_path: Path) -> None:
    first = DevChain.start(tmp_path / "chain", anvil=ANVIL)
    assert first.isolated
    assert 0 < first.seconds < allowed(5)
    sent = send(first.url)
    block = ask(first.url, "eth_getBlockByNumber", "0x1", False)
    first.stop()
    first.stop()
    assert first.process.returncode == 0
    with DevChain.start(tmp_path / "chain", first.port, anvil=ANVIL) as second:
        assert second.url == first.url
        assert ask(second.url, "eth_getBlockByNumber", "0x1", False) == block
        assert ask(second.url, "eth_getTransactionReceipt", sent)["blockHash"] == block["hash"]


def test_block_time_is_the_wall_clock(chain: DevChain) -> None:
    for _ in range(30):
        send(chain.url)
    head = ask(chain.url, "eth_getBlockByNumber", "latest", False)
    assert abs(int(head["timestamp"], 16) - time.time()) <= 2


def test_a_killed_gateway_takes_anvil_along_and_loses_nothing(chain: DevChain) -> None:
    send(chain.url)
    block = ask(chain.url, "eth_getBlockByNumber", "0x1", False)
    anvil = child_of(chain.process.pid)
    assert b"anvil" in Path(f"/proc/{anvil}/cmdline").read_bytes()
    chain.process.kill()
    assert ends(anvil)
    with DevChain.start(chain.folder, anvil=ANVIL) as again:
        assert ask(again.url, "eth_getBlockByNumber", "0x1", False) == block


def test_a_dead_anvil_ends_the_gateway_with_a_sentence(chain: DevChain) -> None:
    os.kill(child_of(chain.process.pid), signal.SIGKILL)
    assert chain.process.wait(timeout=5) == 1
    assert "the chain node has stopped" in (chain.folder / "gateway.log").read_text()


def test_a_request_to_a_dead_anvil_is_answered_with_an_error(chain: DevChain) -> None:
    anvil = child_of(chain.process.pid)
    connection = http.client.HTTPConnection("127.0.0.1", chain.port, timeout=10)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
    os.kill(anvil, signal.SIGSTOP)
    while Path(f"/proc/{anvil}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        time.sleep(0.01)
    connection.request("POST", "/", body)
    time.sleep(1.0)  # no event tells when one of the gateway's threads has passed it on
    os.kill(anvil, signal.SIGKILL)
    assert (
        json.loads(connection.getresponse().read())["error"]["message"]
        == "the chain node has stopped"
    )
    connection.close()


def test_a_killed_launcher_takes_the_chain_along(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from chain.devnode.process import DevChain\n"
        "chain = DevChain.start(Path(sys.argv[1]), anvil=sys.argv[2])\n"
        "print(chain.process.pid, flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "chain"), ANVIL],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    gateway = int(launcher.stdout.readline())
    anvil = child_of(gateway)
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    assert ends(gateway)
    assert ends(anvil)


@pytest.fixture
def no_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which `unshare` fails, as it does where user namespaces are switched off."""
    refusing = tmp_path / "bin" / "unshare"
    refusing.parent.mkdir()
    refusing.write_text(
        "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=os.pathsep)


@pytest.mark.usefixtures("no_namespaces")
def test_without_namespaces_it_says_so_and_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(DevChainNotStarted, match="no user and network namespaces") as refusal:
        DevChain.start(tmp_path / "chain", anvil=ANVIL)
    assert "VOLENS_RELAX=isolation" in refusal.value.hint


def test_without_the_program_it_names_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevChainNotStarted, match="the program unshare is missing"):
        DevChain.start(tmp_path / "chain", anvil=ANVIL)


@pytest.mark.usefixtures("no_namespaces")
def test_relaxed_isolation_starts_and_is_reported(tmp_path: Path) -> None:
    with DevChain.start(tmp_path / "chain", anvil=ANVIL, relax_isolation=True) as relaxed:
        assert not relaxed.isolated
        with urllib.request.urlopen(relaxed.url + "/health") as answer:
            assert json.loads(answer.read()) == {"ok": True, "head": 0, "isolated": False}


def test_each_reason_not_to_start_is_a_plain_sentence(chain: DevChain, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\nexec anvil\n")
    (tmp_path / "script").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            ("port .* is taken", {"folder": tmp_path / "a", "port": port, "anvil": ANVIL}),
            ("another gateway already serves", {"folder": chain.folder, "anvil": ANVIL}),
            ("was not found", {"folder": tmp_path / "b", "anvil": str(tmp_path / "absent")}),
            ("was not found", {"folder": tmp_path / "b", "anvil": str(tmp_path / "script")}),
            ("did not start", {"folder": tmp_path / "c", "anvil": "/bin/true"}),
            (
                "lies in the future",
                {"folder": tmp_path / "d", "anvil": ANVIL, "genesis_time": 1 << 40},
            ),
        ]
        for sentence, arguments in cases:
            with pytest.raises(DevChainNotStarted, match=sentence) as refusal:
                DevChain.start(**arguments)
            assert refusal.value.hint
            assert "Traceback" not in str(refusal.value)


def test_old_states_are_not_left_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """anvil's cache of old states would grow without end in the user's home, and outlive a killed
    node.
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with DevChain.start(tmp_path / "chain") as chain:
        node, sender = Node(chain.url), Account.create()
        for nonce in range(700):
            fields = {
                "to": sender.address,
                "nonce": nonce,
                "gas": 21000,
                "gasPrice": 0,
                "chainId": 31337,
                "value": 0,
            }
            node.call(
                "eth_sendRawTransaction",
                ["0x" + sender.sign_transaction(fields).raw_transaction.hex()],
            )
        chain.process.kill()
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_no_part_leaves_a_core_file() -> None:
    """Memory that holds keys is never written to the disk, whatever the shell allows that started
    the parts.
    """
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = subprocess.run(
        tether([sys.executable, "-c", program]),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=allow_cores,
    )
    assert done.stdout == "(0, 0)\n"


def allow_cores() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
