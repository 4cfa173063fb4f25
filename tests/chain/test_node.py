"""The connection to a node: every failure is one of ours, says nothing of an address, and nothing
but that node is asked, once.
"""

from __future__ import annotations

import ast
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from web3.exceptions import Web3Exception

from api.demo.stage import World, random32
from chain.artifacts import error_entries
from chain.errors import ChainError, LedgerDown, LedgerSlow, Refused
from chain.events import Head
from chain.ledger import Ledger
from chain.node import Node

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("contracts", "chain", "governance", "analytics", "api", "volens", "bench")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
# What never connects to a ledger, or reads one by itself.
WITHOUT = (
    "governance.broker.__main__",
    "governance.verify",
    "governance.rules.cli",
    "chain.devnode.gateway",
    "api.confinement.launcher",
    "api.worker.compute",
    "api.ingest.parser",
    "api.client.client",
    "api.cli.patient, api.cli.projects, api.cli.checks, api.cli.committee",
)


class Answering:
    """A server that answers whatever it is asked with these bytes, then says no more."""

    def __init__(self) -> None:
        self.answer = b""
        self.heard: list[bytes] = []  # heads of requests
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.tls: ssl.SSLContext | None = None
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            self._kept.append(connection)
            if self.tls is not None:
                try:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                except ssl.SSLError:  # the client trusts nobody who says that we are we
                    continue
                self._kept.append(connection)
            with connection.makefile("rb") as request:
                head = b"".join(iter(request.readline, b"\r\n"))
                length = next(
                    line for line in head.splitlines() if line.startswith(b"Content-Length")
                )
                request.read(int(length.split()[1]))
            self.heard.append(head)
            connection.sendall(self.answer)

    def close(self) -> None:
        for connection in (*self._kept, self._socket):
            connection.close()


@pytest.fixture
def answering() -> Iterator[Answering]:
    server = Answering()
    yield server
    server.close()


def response(body: bytes, status: str = "200 OK", head: str = "", length: int = -1) -> bytes:
    size = len(body) if length < 0 else length
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {size}\r\n\r\n".encode() + body


RESULT = b'{"jsonrpc": "2.0", "id": 0, "result": "0x1"}'


def test_a_result_is_what_the_node_gave(answering: Answering) -> None:
    answering.answer = response(RESULT)
    assert Node(answering.url).call("eth_chainId", []) == "0x1"
    assert Node(answering.url).w3.eth.chain_id == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", LedgerSlow),
        (b"HTTP/1.1 200 OK\r\n", LedgerSlow),
        (response(RESULT[:20], length=len(RESULT)), LedgerSlow),
        (b"not HTTP at all\r\n\r\n", LedgerDown),
        (response(RESULT, "503 Service Unavailable"), LedgerDown),
        (response(RESULT, "404 Not Found"), LedgerDown),
        (response(RESULT, "302 Found", "Location: http://localhost:9/secret\r\n"), LedgerDown),
        (response(RESULT, "307 Temporary Redirect", "Location: /secret\r\n"), LedgerDown),
        (response(b"<html>secret</html>"), LedgerDown),
        (response(b"\xff\xfe"), LedgerDown),
        (response(b""), LedgerDown),
        (response(b"[]"), LedgerDown),
        (response(b'{"id": 0, "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), LedgerDown),
        (response(b"[" * 100_000), LedgerDown),
        (response(b" " * 70_000_000 + RESULT), LedgerSlow),
        (response(b"7"), LedgerDown),
        (response(b'{"jsonrpc": "2.0", "id": 0}'), LedgerDown),
        (response(b'{"id": 0, "error": {"code": -32005, "message": "secret"}}'), LedgerSlow),
        (response(b'{"id": 0, "error": {"code": -32601, "message": "secret"}}'), ChainError),
        (response(b'{"id": 0, "error": "secret"}'), ChainError),
    ],
)
@pytest.mark.parametrize("ask", ["raw", "web3"])
def test_every_failure_is_ours_and_tells_of_nothing(
    answering: Answering, answer: bytes, kind: type[ChainError], ask: str
) -> None:
    answering.answer = answer
    node = Node(answering.url, timeout=0.3)
    asked: dict[str, Callable[[], Any]] = {
        "raw": lambda: node.call("eth_chainId", []),
        "web3": lambda: node.w3.eth.chain_id,
    }
    with pytest.raises(ChainError) as caught:
        asked[ask]()
    assert type(caught.value) is kind
    assert len(answering.heard) == 1  # not again, and nowhere else
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    sentence = f"{caught.value} {caught.value.hint}"
    for untold in ("http", "127.0.0.1", "localhost", "secret", "web3", "Traceback"):
        assert untold not in sentence


def test_where_nobody_listens_the_ledger_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(LedgerDown) as caught:
        Node(url).call("eth_chainId", [])
    assert type(caught.value) is LedgerDown


# --- the environment


def test_a_proxy_of_the_environment_is_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead one: whoever used it would reach nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in PROXIES:
        monkeypatch.setenv(name, dead)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    url = str(world.ledger.node.url)
    with pytest.raises(requests.exceptions.ProxyError):  # the twin
        requests.post(url, json={}, timeout=10)
    ledger = Ledger.connect(url, world.ledger.identity)
    assert ledger.head() == world.ledger.head()
    fresh = World.create(url)  # deploys, relays, reads receipts
    assert fresh.ledger.head_of(1) is not None
    program = f"from chain.node import Node; print(Node({url!r}).w3.eth.chain_id)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == [str(world.ledger.domain.chain_id)], done.stderr


def test_no_password_of_the_environment_is_sent(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """.netrc holds passwords by host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert requests.utils.get_netrc_auth(answering.url)  # the twin
    answering.answer = response(RESULT)
    Node(answering.url).call("eth_chainId", [])
    assert b"uthorization" not in answering.heard[0]


def test_authorities_are_those_of_the_system(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or of SSL_CERT_FILE: a hospital's own is not in the list that requests brings."""
    answering.answer = response(RESULT)
    answering.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = self_signed(tmp_path)
    answering.tls.load_cert_chain(certificate)
    url = answering.url.replace("http:", "https:")
    with pytest.raises(LedgerDown):
        Node(url, timeout=2.0).call("eth_chainId", [])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert Node(url).call("eth_chainId", []) == "0x1"


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a node")])
    now = datetime.now(UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(host, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "node.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return path


# --- what a contract says


def refused_with(answering: Answering, data: str) -> ChainError:
    body = f'{{"id": 0, "error": {{"code": 3, "message": "execution reverted", "data": "{data}"}}}}'
    answering.answer = response(body.encode())
    with pytest.raises(ChainError) as caught:
        Node(answering.url).w3.eth.call({"to": "0x" + "11" * 20, "data": "0x"})
    with pytest.raises(ChainError) as again:
        Node(answering.url).call("eth_sendRawTransaction", ["0x"])
    assert (type(caught.value), str(caught.value)) == (type(again.value), str(again.value))
    assert len(answering.heard) == 2
    return caught.value


def test_each_error_of_the_contracts_has_its_name_and_fields(answering: Answering) -> None:
    values = {
        "address": "0x" + "ab" * 20,
        "bytes32": b"\x07" * 32,
        "bytes4": b"\x01\x02\x03\x04",
        "string": "why",
    }
    shown = {
        "address": values["address"],
        "bytes32": "07" * 32,
        "bytes4": "01020304",
        "string": "why",
    }
    for selector, entry in error_entries().items():
        answering.heard.clear()
        types = [field["type"] for field in entry["inputs"]]
        data = selector + encode(types, [values.get(kind, 5) for kind in types])
        refusal = refused_with(answering, "0x" + data.hex())
        assert isinstance(refusal, Refused)
        assert refusal.name == entry["name"]
        assert refusal.fields == {
            field["name"]: shown.get(field["type"], 5) for field in entry["inputs"]
        }


@pytest.mark.parametrize(
    "data",
    [
        "0x08c379a0" + encode(["string"], ["secret"]).hex(),  # Error(string)
        "0x4e487b71" + encode(["uint256"], [0x77]).hex(),  # a panic of a number that nobody gave
        "0x4e487b71",
        "0xdeadbeef",
        "0xno hex at all",
        "0x" + next(s for s, e in error_entries().items() if e["inputs"]).hex(),  # fields missing
    ],
)
def test_what_is_no_error_of_the_contracts_is_a_refusal_without_a_name(
    answering: Answering, data: str
) -> None:
    assert str(refused_with(answering, data)) == "Reverted"


def test_a_contract_cannot_send_the_client_elsewhere(answering: Answering) -> None:
    """EIP-3668, which web3 follows unless it is told not to: a revert names addresses to ask."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.3)
        address = f"https://127.0.0.1:{elsewhere.getsockname()[1]}/{{sender}}/{{data}}"
        fields = ["0x" + "11" * 20, [address], b"", bytes(4), b""]
        lookup = encode(["address", "string[]", "bytes", "bytes4", "bytes"], fields)
        assert str(refused_with(answering, "0x556f1830" + lookup.hex())) == "Reverted"
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_no_name_is_looked_up_in_place_of_an_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """web3 would ask contracts of the Ethereum Name Service."""
    node = world.ledger.node
    monkeypatch.setattr(node, "make_request", lambda *_: pytest.fail("something was asked"))
    for use in (world.ledger.encode, world.ledger.read):
        with pytest.raises((Web3Exception, EncodingError, AttributeError)):
            use("PermitRegistry", "roleOf", "ada.eth")


# --- what is read


def test_a_step_is_read_with_its_block(world: World) -> None:
    world.register_dataset(random32())
    count, head = world.ledger.head()
    step = world.ledger.head_of(count)
    assert isinstance(step, Head)
    assert (step.count, step.head) == (count, head)
    assert step.block == int(world.ledger.block()["number"], 16)
    assert world.ledger.head(step.block) == (count, head)
    assert world.ledger.head(step.block - 1)[0] == count - 1
    assert world.ledger.head_of(count + 1) is None


# --- who loads it


@pytest.mark.parametrize("parts", WITHOUT)
def test_what_connects_to_no_ledger_does_not_load_web3(parts: str) -> None:
    program = f"import sys, {parts}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"web3", "aiohttp", "requests"} & set(done.stdout.split()) == set()


def test_web3_is_loaded_where_a_ledger_is_connected_to() -> None:
    """Else every start would pay for it, a command's too: so in functions only."""
    loaded = {}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
                if any(name.split(".")[0] == "web3" or name == "chain.node" for name in names):
                    loaded[path.relative_to(ROOT).as_posix()] = ast.unparse(node)
    assert set(loaded) == {"chain/node.py"}
