"""The gateway over the real anvil: what is out of reach, how blocks are made, and what a restart
gives back.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocked import GENESIS, Gateway
from eth_account import Account

from chain.devnode.anvil import Node, find_anvil
from chain.devnode.gateway import (
    BAD_PARAMS,
    LARGE,
    MAX_BATCH,
    MAX_BODY,
    MAX_PERCENTILES,
    MAX_VALUES,
    READS,
    Rpc,
)
from chain.devnode.journal import JournalDamaged, JournalInUse
from chain.devnode.process import DevChain
from chain.devnode.writer import IDLE_SECONDS, GenesisDiffers, HistoryDiffers, open_chain
from chain.paging import TOO_LARGE

# Answers one more than its storage holds, and stores it.
COUNTER = "0x6d5f54600101805f555f5260205ff35f52600e6012f3"
ADDRESS = "0x" + "11" * 20


def sign(account, nonce: int, **changed: object) -> str:
    fields = {
        "nonce": nonce,
        "to": ADDRESS,
        "value": 0,
        "gas": 100_000,
        "gasPrice": 0,
        "chainId": 31337,
    }
    fields |= changed
    fields["to"] = bytes.fromhex(fields["to"][2:])  # as bytes, so that no checksum is asked for
    return account.sign_transaction(fields).raw_transaction.to_0x_hex()


def listening_ports(pid: int) -> list[int]:
    """TCP ports that are listened on in the network namespace of a process."""
    ports = []
    for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        local, state = row.split()[1], row.split()[3]
        if state == "0A":
            ports.append(int(local.split(":")[1], 16))
    return ports


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("shared") / "chain")
    yield gateway
    gateway.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    opened = Gateway(tmp_path / "chain")
    yield opened
    opened.close()


# --- what is out of reach
# ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "anvil_setStorageAt",
        "anvil_setBalance",
        "anvil_setCode",
        "anvil_setNonce",
        "anvil_impersonateAccount",
        "anvil_dropTransaction",
        "anvil_reset",
        "anvil_dumpState",
        "anvil_loadState",
        "anvil_mine",
        "hardhat_setStorageAt",
        "evm_mine",
        "evm_setNextBlockTimestamp",
        "evm_increaseTime",
        "evm_setAutomine",
        "evm_snapshot",
        "evm_revert",
        "debug_traceTransaction",
        "txpool_status",
        "txpool_content",
        "eth_accounts",
        "eth_sign",
        "eth_sendTransaction",
        "eth_sendUnsignedTransaction",
        "eth_getStorageAt",
        "eth_newFilter",
        "eth_subscribe",
        "rpc_modules",
        "web3_sha3",
        "ETH_CALL",
        "eth_call ",
        "",
    ],
)
def test_methods_off_the_list_do_not_exist(shared: Gateway, method: str) -> None:
    assert shared.refusal(method, ADDRESS, "0x0", "0x1")[0] == -32601


def test_a_forbidden_method_hidden_in_a_batch_changes_nothing(shared: Gateway) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": n, "method": method, "params": params}
        for n, (method, params) in enumerate(
            [
                ("eth_chainId", []),
                ("anvil_setBalance", [ADDRESS, "0xff"]),
                ("eth_getBalance", [ADDRESS, "latest"]),
            ]
        )
    ]
    _, answers = shared.post(json.dumps(calls).encode())
    assert [a["id"] for a in answers] == [0, 1, 2]
    assert answers[0]["result"] == "0x7a69"
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["result"] == "0x0"


def test_every_method_of_the_list_reaches_the_node(shared: Gateway) -> None:
    refused = {
        method for method in READS if shared.ask(method).get("error", {}).get("code") == -32601
    }
    assert refused == set()
    assert shared.result("web3_clientVersion").startswith("anvil/")


def test_anvils_own_port_cannot_be_reached(shared: Gateway) -> None:
    ports = listening_ports(shared.node.process.pid)
    assert ports, "anvil listens inside its namespace"
    assert not any(reachable(port) for port in ports)
    assert os.readlink(f"/proc/{shared.node.process.pid}/ns/net") != os.readlink(
        "/proc/self/ns/net"
    )


def test_without_isolation_the_same_probe_does_reach_anvil(tmp_path: Path) -> None:
    node = Node(tmp_path, find_anvil(), GENESIS, isolated=False)
    try:
        links = [
            os.readlink(entry)
            for entry in Path(f"/proc/{node.process.pid}/fd").iterdir()
            if entry.exists() or entry.is_symlink()
        ]
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ports = [
            int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes
        ]
        assert ports
        assert reachable(ports[0])
    finally:
        node.stop()


def test_the_folder_is_closed_to_others(shared: Gateway) -> None:
    assert shared.folder.stat().st_mode & 0o777 == 0o700
    assert (shared.folder / "journal.jsonl").stat().st_mode & 0o077 == 0


# --- how blocks are made
# ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_blockNumber", []),
        ("eth_getBlockByNumber", ["latest", False]),
        ("eth_getBlockByNumber", []),
        ("eth_call", [{"to": ADDRESS}, "latest"]),
        ("eth_call", [{"to": ADDRESS}]),
        ("eth_call", [{"to": ADDRESS}, "pending"]),
        ("eth_estimateGas", [{"to": ADDRESS}]),
    ],
)
def test_an_idle_head_is_renewed_when_the_newest_block_is_asked_for(
    shared: Gateway, method: str, params: list
) -> None:
    shared.result("eth_blockNumber")
    before = shared.height()
    shared.now += IDLE_SECONDS
    shared.ask(method, *params)
    assert shared.height() == before
    shared.now += 1
    shared.ask(method, *params)
    assert shared.height() == before + 1
    assert (
        int(shared.result("eth_getBlockByNumber", "latest", False)["timestamp"], 16) == shared.now
    )


def test_old_blocks_logs_and_health_make_no_block(shared: Gateway) -> None:
    shared.result("eth_blockNumber")
    before = shared.height()
    shared.now += 3600
    shared.result("eth_getBlockByNumber", "0x0", False)
    shared.result("eth_call", {"to": ADDRESS}, hex(before))
    shared.result("eth_getLogs", {"fromBlock": "0x0"})
    connection = http.client.HTTPConnection("127.0.0.1", shared.server.server_port)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {
        "ok": True,
        "head": before,
        "isolated": True,
    }
    connection.close()
    assert shared.height() == before


def test_fast_blocks_share_the_second_and_never_run_ahead(shared: Gateway) -> None:
    account = Account.create()
    for nonce in range(20):
        sent = shared.result("eth_sendRawTransaction", sign(account, nonce))
        block = shared.result("eth_getBlockByNumber", "latest", False)
        assert block["transactions"] == [sent]
        assert int(block["timestamp"], 16) == shared.now


def test_a_clock_set_back_does_not_stop_the_chain(shared: Gateway) -> None:
    account = Account.create()
    shared.result("eth_sendRawTransaction", sign(account, 0))
    newest = shared.now
    shared.now -= 50
    shared.result("eth_sendRawTransaction", sign(account, 1))
    assert shared.writer.head.time == newest
    shared.now = newest


def test_sync_sending_answers_with_the_receipt(shared: Gateway) -> None:
    receipt = shared.result("eth_sendRawTransactionSync", sign(Account.create(), 0))
    assert receipt["status"] == "0x1"
    assert int(receipt["blockNumber"], 16) == shared.height()


def test_many_clients_at_once_get_one_block_each(shared: Gateway) -> None:
    before, sent = shared.height(), []

    def client() -> None:
        account = Account.create()
        for nonce in range(5):
            sent.append(
                shared.result("eth_sendRawTransactionSync", sign(account, nonce))["blockNumber"]
            )

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(number, 16) for number in sent) == list(range(before + 1, before + 31))


ACCOUNT = Account.create()
REFUSED_TRANSACTIONS = {
    "nonce gap": sign(ACCOUNT, 5),
    "used nonce": "used",
    "another chain": sign(ACCOUNT, 1, chainId=1),
    "over the gas cap": sign(ACCOUNT, 1, gas=17_000_000),
    "too little gas": sign(ACCOUNT, 1, gas=20_000),
    "money it has not": sign(ACCOUNT, 1, value=1),
    "not a transaction": "0xc0",
    "signature changed": sign(ACCOUNT, 1)[:-2] + "zz",
    "odd digits": "0x123",
    "empty": "0x",
}


@pytest.mark.parametrize("name", REFUSED_TRANSACTIONS)
def test_a_refused_transaction_leaves_no_trace(gateway: Gateway, name: str) -> None:
    first = sign(ACCOUNT, 0)
    gateway.result("eth_sendRawTransaction", first)
    raw = REFUSED_TRANSACTIONS[name]
    assert gateway.refusal("eth_sendRawTransaction", first if raw == "used" else raw)[0] < 0
    # anvil notices a foreign chain id only while mining: that one costs an empty block
    assert gateway.height() == (2 if name == "another chain" else 1)
    sent = gateway.result("eth_sendRawTransaction", sign(ACCOUNT, 1))
    assert gateway.result("eth_getBlockByNumber", "latest", False)["transactions"] == [sent]
    hashes = gateway.hashes()
    assert gateway.reopen().hashes() == hashes


# --- what a restart gives back
# ----------------------------------------------------------------------------


def grow(gateway: Gateway) -> str:
    """Some blocks of every kind; returns the address of a contract whose counter stands at 2."""
    account = Account.create()
    gateway.result("eth_sendRawTransaction", sign(account, 0, to="", data=COUNTER))
    receipt = gateway.result(
        "eth_getTransactionReceipt",
        gateway.result("eth_getBlockByNumber", "latest", False)["transactions"][0],
    )
    gateway.now += IDLE_SECONDS + 1
    gateway.result("eth_blockNumber")
    for nonce in (1, 2):
        gateway.result("eth_sendRawTransaction", sign(account, nonce, to=Account.create().address))
        gateway.now += 1
        gateway.result(
            "eth_sendRawTransaction", sign(Account.create(), 0, to=receipt["contractAddress"])
        )
    return receipt["contractAddress"]


def count(gateway: Gateway, contract: str) -> int:
    return int(gateway.result("eth_call", {"to": contract}, hex(gateway.height())), 16)


def test_a_restart_gives_the_same_blocks_and_state(gateway: Gateway) -> None:
    contract = grow(gateway)
    hashes = gateway.hashes()
    assert count(gateway, contract) == 3
    again = gateway.reopen()
    assert again.hashes() == hashes
    assert len(hashes) == 7
    assert count(again, contract) == 3
    again.result("eth_sendRawTransaction", sign(Account.create(), 0, to=contract))
    assert count(again.reopen(), contract) == 4


@pytest.mark.parametrize("tail", ["", '{"time":17', '{"outcome":"0x12'])
def test_a_write_whose_outcome_was_lost_is_found_again(gateway: Gateway, tail: str) -> None:
    """What a kill between sending and recording leaves, with or without half a line after it."""
    grow(gateway)
    hashes = gateway.hashes()
    journal = gateway.folder / "journal.jsonl"
    gateway.server.shutdown()
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]) + tail)
    assert gateway.reopen().hashes() == hashes


def edit(lines: list[str], number: int, old: str, new: str) -> list[str]:
    assert old in lines[number]
    return [*lines[:number], lines[number].replace(old, new), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        (
            "time moved",
            lambda lines: edit(lines, 1, f'"time":{GENESIS + 100}', f'"time":{GENESIS + 101}'),
            HistoryDiffers,
        ),
        ("write dropped", lambda lines: lines[:1] + lines[3:], HistoryDiffers),
        (
            "writes swapped",
            lambda lines: lines[:1] + lines[3:5] + lines[1:3] + lines[5:],
            HistoryDiffers,
        ),
        (
            "transaction cut",
            lambda lines: edit(lines, 1, '"raw":"0xf8', '"raw":"0xf9'),
            HistoryDiffers,
        ),
        (
            "genesis moved",
            lambda lines: edit(lines, 0, str(GENESIS), str(GENESIS - 1)),
            HistoryDiffers,
        ),
        ("outcome dropped", lambda lines: lines[:2] + lines[3:], JournalDamaged),
        ("not JSON", lambda lines: [*lines[:3], "\x00\n", *lines[3:]], JournalDamaged),
        ("genesis dropped", lambda lines: lines[1:], JournalDamaged),
    ],
)
def test_a_changed_journal_is_not_served(
    tmp_path: Path, name: str, change, error: type[Exception]
) -> None:
    gateway = Gateway(tmp_path / "chain")
    grow(gateway)
    gateway.close()
    journal = gateway.folder / "journal.jsonl"
    journal.write_text("".join(change(journal.read_text().splitlines(keepends=True))))
    with pytest.raises(error):
        open_chain(gateway.folder, find_anvil(), None, True, lambda: gateway.now)


def test_the_write_is_on_disk_before_the_node_sees_it(gateway: Gateway) -> None:
    raw = sign(Account.create(), 0)
    gateway.node.process.send_signal(signal.SIGSTOP)  # the node takes nothing in
    sender = threading.Thread(target=gateway.ask, args=("eth_sendRawTransaction", raw))
    sender.start()
    deadline = time.monotonic() + 5
    while raw not in (gateway.folder / "journal.jsonl").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert raw in (gateway.folder / "journal.jsonl").read_text()
    gateway.node.process.send_signal(signal.SIGCONT)
    sender.join()
    assert gateway.height() == 1


def test_nothing_is_sent_when_the_journal_cannot_be_written(gateway: Gateway) -> None:
    account = Account.create()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (gateway.folder / "journal.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))  # a full disk, for this process
    try:
        code, message = gateway.refusal("eth_sendRawTransaction", sign(account, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, message) == (-32000, "the journal cannot be written; nothing was sent")
    assert gateway.height() == 0
    gateway.result("eth_sendRawTransaction", sign(account, 0))
    hashes = gateway.hashes()
    assert gateway.reopen().hashes() == hashes


def test_one_folder_has_one_gateway(shared: Gateway) -> None:
    with pytest.raises(JournalInUse):
        open_chain(shared.folder, find_anvil(), None, True, lambda: shared.now)


def test_genesis_time_is_the_folders_own_and_not_in_the_future(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "chain")
    gateway.close()
    for genesis in (GENESIS + 1, GENESIS + 1000):
        with pytest.raises(GenesisDiffers):
            open_chain(gateway.folder, find_anvil(), genesis, True, lambda: GENESIS + 100)


# --- requests that are none
# -------------------------------------------------------------------------------

CALL = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
MALFORMED = {
    "nothing": (b"", -32700),
    "half": (b'{"jsonrpc":"2.0"', -32700),
    "not a number": (b'{"id":NaN}', -32700),
    "not UTF-8": (b"\xff\xfe{}", -32700),
    "UTF-16": (json.dumps(CALL).encode("utf-16"), -32700),
    "nested": (b"[" * (MAX_VALUES // 2), -32700),
    "an open text": (b'"' + b'\\"' * 400_000, -32700),
    "an open object": (b'{"method":"' + b'\\"' * 400_000 + b"}", -32700),
    "too many values": (b"[" * (MAX_VALUES + 1), -32600),
    "endless digits": (b'{"id":' + b"9" * 5000 + b"}", -32700),
    "number": (b"1", -32600),
    "text": (b'"eth_chainId"', -32600),
    "null": (b"null", -32600),
    "empty batch": (b"[]", -32600),
    "long batch": (json.dumps([CALL] * (MAX_BATCH + 1)).encode(), -32600),
    "no id": (json.dumps(CALL | {"id": None}).encode(), -32600),
    "true as id": (json.dumps(CALL | {"id": True}).encode(), -32600),
    "list as id": (json.dumps(CALL | {"id": [1]}).encode(), -32600),
    "old version": (json.dumps(CALL | {"jsonrpc": "1.0"}).encode(), -32600),
    "method is a list": (json.dumps(CALL | {"method": ["eth_chainId"]}).encode(), -32600),
    "params is an object": (json.dumps(CALL | {"params": {}}).encode(), -32602),
    "half a character": (
        b'{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":["\\ud800"]}',
        -32602,
    ),
    "raw is a number": (
        json.dumps(CALL | {"method": "eth_sendRawTransaction", "params": [1]}).encode(),
        -32602,
    ),
    "raw is missing": (json.dumps(CALL | {"method": "eth_sendRawTransaction"}).encode(), -32602),
    "deep params": (
        b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":' + b"[" * 500 + b"]" * 500 + b"}",
        -32700,
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_body_gets_a_json_rpc_error(shared: Gateway, name: str) -> None:
    body, code = MALFORMED[name]
    status, answer = shared.post(body)
    assert status == 200
    assert answer["jsonrpc"] == "2.0"
    assert answer["error"]["code"] == code
    assert "Traceback" not in json.dumps(answer)
    assert shared.result("eth_chainId") == "0x7a69"


def test_a_bad_call_in_a_batch_does_not_spoil_the_others(shared: Gateway) -> None:
    _, answers = shared.post(json.dumps([CALL, 5, CALL | {"id": "x"}]).encode())
    assert [answer.get("result") for answer in answers] == ["0x7a69", None, "0x7a69"]
    assert answers[2]["id"] == "x"


def test_brackets_inside_a_text_are_no_nesting(shared: Gateway) -> None:
    assert shared.refusal("eth_getCode", "[" * 500 + '\\"' + "{" * 500)[0] == -32602


def test_a_body_too_long_or_of_unknown_length_is_not_read(shared: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", shared.server.server_port)) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1))
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    for head, status in (
        (b"", b"411"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: 1e3\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n", b"400"),
    ):
        with socket.create_connection(("127.0.0.1", shared.server.server_port)) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 " + status)
    assert shared.post(b"{}", path="/admin")[0] == 404


def test_one_connection_serves_many_requests(shared: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared.server.server_port)
    connection.connect()
    kept = connection.sock
    for _ in range(3):
        connection.request("POST", "/", json.dumps(CALL).encode())
        assert json.loads(connection.getresponse().read())["result"] == "0x7a69"
    assert connection.sock is kept
    assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.close()


def test_a_call_runs_on_no_more_gas_than_a_transaction_may_have(devchain: DevChain) -> None:
    """Code that answers with the gas it has: named, unnamed or far too much, and no state override
    counts.
    """
    from chain.node import Node

    code, cap = "0x5a60005260206000f3", 16_777_216  # GAS, MSTORE, RETURN
    node = Node(devchain.url)
    for extra in (
        {},
        {"gas": "0xffffffffffffff"},
        {"gasLimit": "0xffffffffff"},
        {"gas": "0xffffff"},
    ):
        assert int(node.call("eth_call", [{"data": code, **extra}, "latest"]), 16) < cap
    forged = {"0x" + "11" * 20: {"code": "0x60ff60005260206000f3"}}
    assert node.call("eth_call", [{"to": "0x" + "11" * 20, "data": "0x"}, "latest", forged]) == "0x"


def test_a_too_large_response_is_refused_and_the_connection_continues(
    shared: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for everything at once is told to ask for less; nobody else's answer is mixed up
    with it.
    """
    rpc = Rpc(shared.node, shared.writer)
    ask = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["0x0", False]}
    monkeypatch.setattr("chain.devnode.anvil.MAX_ANSWER", 100)
    answer = rpc.answer(json.dumps(ask).encode())
    assert isinstance(answer, dict)
    assert answer["error"]["code"] == TOO_LARGE
    monkeypatch.undo()
    answer = rpc.answer(json.dumps(ask | {"id": 2, "method": "eth_chainId", "params": []}).encode())
    assert answer == {"jsonrpc": "2.0", "id": 2, "result": "0x7a69"}
    rpc.close()


def test_a_history_of_fees_is_short(shared: Gateway) -> None:
    """The node gives a number for each percentile of each block: millions of them filled its memory
    and ended it.
    """
    asked = [50.0] * MAX_PERCENTILES
    assert shared.result("eth_feeHistory", "0x400", "latest", asked)
    assert shared.result("eth_feeHistory", "0x1", "latest")
    for percentiles in ([*asked, 50.0], [0] * (MAX_VALUES // 2), "0x", {"50": 1}):
        code, _ = shared.refusal("eth_feeHistory", "0x1", "latest", percentiles)
        assert code == BAD_PARAMS


@pytest.mark.parametrize("method", sorted(LARGE))
def test_reads_with_large_results_are_queued(
    shared: Gateway, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """While one is answered another waits, and what is small does not."""
    monkeypatch.setattr("chain.devnode.executions.WAIT_SECONDS", 0.1)
    params = [{"fromBlock": "0x0"}] if method == "eth_getLogs" else ["0x1", "latest"]
    with shared.server.shared.readings.taken(lambda: None):
        assert "too many large questions" in shared.refusal(method, *params)[1]
        assert shared.result("eth_blockNumber")
    shared.result(method, *params)


def test_the_answers_of_a_batch_are_bounded(
    shared: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 readings of the whole ledger in one body took 40 MB each, until their caller chose to
    read.
    """
    monkeypatch.setattr("chain.devnode.gateway.BATCH_BYTES", 2000)
    asked = [
        {"jsonrpc": "2.0", "id": n, "method": "eth_getBlockByNumber", "params": ["0x0", False]}
        for n in range(9)
    ]
    _, answers = shared.post(json.dumps(asked).encode())
    refused = [
        answer for answer in answers if "too large" in answer.get("error", {}).get("message", "")
    ]
    assert 0 < len(refused) < len(answers)
    assert [answer["id"] for answer in answers] == list(range(9))
