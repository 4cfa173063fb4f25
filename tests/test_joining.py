"""Three people on three machines: an operator serves over TLS, a patient and an analyst join.

Each machine is a home folder of its own with processes of its own, which share nothing but the
service's address.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Authority
from served import Served

from api.client import joining
from api.client.joining import Address
from api.errors import NotServing, UsageError
from api.operate.settings import Settings
from governance.rules.ledger_data import identity_id

PROGRAM = "from api.cli import main; main()"


@dataclass
class Result:
    code: int
    out: str
    err: str


@dataclass
class Machine:
    """A home folder and the environment of its processes."""

    home: Path
    environment: dict[str, str]

    def volens(self, *arguments: str, say: str = "") -> Result:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            input=say,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.home,
            env=self.environment,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)


@dataclass
class Network:
    authority: Authority
    served: Served
    url: str
    folder: Path

    def machine(self, name: str, trusting: bool = True) -> Machine:
        """A new machine; without `trusting` it knows no authority of the test's."""
        home = self.folder / name
        home.mkdir()
        environment = {"VOLENS_HOME": str(home / ".volens"), "PATH": "/usr/bin:/bin"}
        if trusting:
            environment["SSL_CERT_FILE"] = str(self.authority.file)
        return Machine(home, environment)

    @property
    def identity(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads((self.served.home / "identity.json").read_text())
        return kept

    @property
    def address(self) -> str:
        return f"{self.url}#{identity_id(self.identity).hex()}"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    authority = Authority(folder)
    certificate, key = authority.certificate("localhost")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"https://localhost:{port}"
    served = Served(
        folder / "operator",
        VOLENS_PUBLIC_URL=url,
        VOLENS_API_PORT=str(port),
        VOLENS_TLS_CERTIFICATE=str(certificate),
        VOLENS_TLS_KEY=str(key),
        SSL_CERT_FILE=str(authority.file),
    )
    yield Network(authority, served, url, folder)
    served.end(15)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def staff(network: Network) -> Machine:
    """The operator's home, which in this test has the registrar's and the committee's keys too."""
    environment = {
        "VOLENS_HOME": str(network.served.home),
        "VOLENS_PUBLIC_URL": network.url,
        "PATH": "/usr/bin:/bin",
        "SSL_CERT_FILE": str(network.authority.file),
    }
    return Machine(network.served.home, environment)


def register_dataset(staff: Machine) -> str:
    (staff.home / "description.md").write_text("# A dataset\n")
    result = staff.volens(
        "dataset", "register", "--as", "omar", "--document", "description.md", "--json"
    )
    assert result.code == 0, result.err
    return str(json.loads(result.out)["dataset"])


def test_a_patient_joins_with_her_invitation_and_agrees(network: Network, staff: Machine) -> None:
    ada = network.machine("ada")
    made = ada.volens("keys", "new", "ada", "--patient", "--plain", "--json")
    facts = json.loads(made.out)
    dataset = register_dataset(staff)
    invited = staff.volens(
        "enrol",
        "invite",
        "--as",
        "rita",
        "--subject",
        facts["subject"],
        "--address",
        facts["address"],
        "--out",
        str(ada.home / "invitation.json"),
    )
    assert f"volens join {network.address}" in invited.out
    joined = ada.volens("join", "invitation.json")
    assert (joined.code, joined.err) == (0, "")
    assert "Joined https://localhost:" in joined.out
    assert json.loads((ada.home / ".volens" / "identity.json").read_text()) == network.identity
    enrolled = ada.volens("enrol", "submit", "--as", "ada", "invitation.json")
    assert enrolled.code == 0, enrolled.err
    agreed = ada.volens("consent", "grant", "--as", "ada", dataset, "--preset", "cancer", "--yes")
    assert agreed.code == 0, agreed.err
    shown = json.loads(ada.volens("consent", "show", "--as", "ada", "--json").out)
    assert [consent["status"] for consent in shown] == ["live"]


def test_an_analyst_joins_by_address_and_signs_in(network: Network, staff: Machine) -> None:
    ben = network.machine("ben")
    address = json.loads(ben.volens("keys", "new", "ben", "--plain", "--json").out)["address"]
    begun = staff.volens("role", "give", address, "analyst", "--as", "pia")
    assert begun.code == 0, begun.err
    (order,) = staff.home.glob("give-analyst-*.json")
    given = staff.volens("committee", "sign", order.name, "--as", "quinn", "--yes")
    assert f"Whoever has it joins with: volens join {network.address}" in given.out
    assert ben.volens("join", network.address).code == 0
    assert ben.volens("join", network.address).code == 0  # a second time changes nothing
    (ben.home / "plan.md").write_text("# What I would like to know\n")
    dataset = register_dataset(staff)
    asked = ben.volens("permit", "request", "--as", "ben", dataset, "--document", "plan.md")
    assert asked.code == 0, asked.err


def test_without_a_fingerprint_one_is_shown_and_compared(network: Network) -> None:
    machine = network.machine("compares")
    refused = machine.volens("join", network.url, say="n\n")
    assert (refused.code, (machine.home / ".volens").exists()) == (2, False)
    digits = network.address.partition("#")[2]
    assert digits in "".join(refused.out.split())
    assert machine.volens("join", network.url, say="y\n").code == 0


def test_a_false_service_is_refused(network: Network) -> None:
    """Another ledger at the right address, however it is signed."""
    machine = network.machine("deceived")
    other = network.address[:-1] + ("0" if network.address[-1] != "0" else "1")
    refused = machine.volens("join", other)
    assert (refused.code, (machine.home / ".volens").exists()) == (7, False)
    assert "another ledger than your invitation names" in refused.err.replace("\n", " ")


def test_a_certificate_that_nobody_vouches_for_is_refused(network: Network) -> None:
    machine = network.machine("untrusting", trusting=False)
    refused = machine.volens("join", network.address)
    assert refused.code == 6
    assert "a certificate that this machine does not trust" in refused.err.replace("\n", " ")
    assert not (machine.home / ".volens").exists()


def test_a_home_of_another_ledger_is_left_alone(network: Network) -> None:
    machine = network.machine("elsewhere")
    assert machine.volens("join", network.address).code == 0
    kept = machine.home / ".volens" / "identity.json"
    other = json.loads(kept.read_text()) | {"salt": "0x" + "11" * 32}
    kept.write_text(json.dumps(other))
    refused = machine.volens("join", network.address)
    assert "this home folder belongs to another ledger" in refused.err.lower().replace("\n", " ")
    assert json.loads(kept.read_text()) == other


class Dripping:
    """A byte now and then."""

    def __len__(self) -> int:
        return 60_000

    def pieces(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.2)
            yield b" "


class Liar(BaseHTTPRequestHandler):
    """Answers every question with what a test gives it."""

    answer: tuple[int, bytes | Dripping] = (200, b"")

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            for piece in [body] if isinstance(body, bytes) else body.pieces():
                self.wfile.write(piece)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def liar() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Liar) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "change", "says"),
    [
        (200, b"<html>a home page</html>", "is no volens service"),
        (200, b"{}", "is no volens service"),
        (404, b"{}", "is no volens service"),
        (200, b"[" * 100_000, "is no volens service"),
        (200, {"signatures": {}}, "not signed by a quorum"),
        (200, {"quorum": 3}, "not signed by a quorum"),
        (200, {"founders": [f"0x{byte * 20}" for byte in ("11", "22", "33")]}, "not signed by"),
        (200, {"node": "http://node.example.org"}, "has other fields than its fingerprint covers"),
        (200, "contracts", "has other fields than its fingerprint covers"),
    ],
    ids=["page", "empty", "missing", "deep", "unsigned", "quorum", "founders", "more", "within"],
)
def test_what_is_no_signed_identity_is_refused(
    network: Network, liar: str, tmp_path: Path, status: int, change: Any, says: str
) -> None:
    identity = network.identity
    if change == "contracts":
        change = {"contracts": [contract | {"abi": []} for contract in identity["contracts"]]}
    body = change if isinstance(change, bytes) else json.dumps(identity | change).encode()
    Liar.answer = (status, body)
    environment = {"VOLENS_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    fingerprint = network.address.partition("#")[2]
    refused = Machine(tmp_path, environment).volens("join", f"{liar}#{fingerprint}")
    assert refused.code in (6, 7)
    assert says in refused.err.replace("\n", " ")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("kind", ["huge", "dripping"])
def test_an_answer_without_an_end_is_not_waited_for(
    liar: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "SECONDS", 2.0)
    Liar.answer = (200, b" " * (64 << 20)) if kind == "huge" else (200, Dripping())
    began = time.monotonic()
    with pytest.raises(NotServing):
        joining.fetch_identity(liar)
    assert time.monotonic() - began < 20


def test_a_home_that_runs_a_deployment_is_left_alone(network: Network, staff: Machine) -> None:
    before = (network.served.home / "run.json").read_bytes()
    refused = staff.volens("join", network.address)
    assert "runs a deployment of its own" in refused.err.replace("\n", " ")
    assert (network.served.home / "run.json").read_bytes() == before


def test_pages_and_api_answer_https_only_with_a_strict_header(network: Network) -> None:
    context = ssl.create_default_context(cafile=network.authority.file)
    for path in ("/", "/health"):
        answer = httpx.get(network.url + path, verify=context, headers={"Accept": "text/html"})
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
    with pytest.raises(httpx.HTTPError):
        httpx.get(network.url.replace("https:", "http:"))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://volens.example.org", "https://volens.example.org"),
        ("https://Volens.Example.org/", "https://volens.example.org"),
        ("https://volens.example.org:8443", "https://volens.example.org:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_address_is_read(text: str, url: str) -> None:
    assert Address.parse(text) == Address(url, "")
    spoken = " ".join(["ABCD"] * 16)
    assert Address.parse(f"{text}#{spoken}").fingerprint == "abcd" * 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "volens.example.org",
        "http://volens.example.org",
        "ftp://volens.example.org",
        "https://",
        "https://volens.example.org/path",
        "https://somebody@volens.example.org",
        "https://volens.example.org?x=1",
        "https://volens.example.org:0",
        "https://volens.example.org:99999",
        "https://[::1",
        f"https://volens.example.org#{'a' * 63}",
        f"https://volens.example.org#{'g' * 64}",
        "https://a..b",
        "https://.",
        f"https://{'a' * 64}.org",
        "https://ⓛocalhost",
        "https://vol\tens.example.org",
        "https://:pw@volens.example.org",
        "https://@volens.example.org",
        "https://[v1.abc]",
        "https://volens.example.org\0",
        "https://volens\u200b.example.org",
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


def test_a_certificate_and_an_address_that_do_not_fit_stop_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.certificate("localhost")
    _, other = authority.certificate("other.example")
    good = Settings(tls_certificate=certificate, tls_key=key, public_url="https://localhost:1")
    good.check_network()
    good.model_copy(update={"public_chain_url": "https://node.example.org/rpc"}).check_network()
    for change in (
        {"tls_key": None},
        {"tls_key": other},
        {"tls_certificate": tmp_path / "nothing.pem"},
        {"public_url": "http://localhost:1"},
        {"public_chain_url": "http://node.example.org"},
        {"public_chain_url": "https://node.example.org/rpc?key=1"},
        {"public_url": "http://volens.example.org", "tls_key": None, "tls_certificate": None},
    ):
        with pytest.raises(UsageError):
            good.model_copy(update=change).check_network()
