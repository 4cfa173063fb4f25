"""A broker for other machines: it answers https, and asks its node by https."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from certificates import Authority

from api.demo.stage import World
from chain.bounded_http import BoundedHandler, BoundedServer
from chain.devnode.tether import tether
from governance.broker.custody import create
from governance.errors import BrokerRefused, BrokerUnavailable
from governance.objects.broker_client import BrokerClient
from governance.rules.ledger_data import identity_id


class Front(BoundedHandler):
    """Passes each question on to the chain: what a proxy before a node does."""

    max_body = 1 << 24
    chain = ""

    def do_POST(self) -> None:
        body = self.read_body()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.chain, body, headers)) as answer:
            self.send_json(200, answer.read())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def node(world: World, authority: Authority) -> Iterator[str]:
    """The ledger behind https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate("localhost"))
    Front.chain = str(world.ledger.node.url)
    server = BoundedServer(0, Front, tls=context)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def started(
    world: World, folder: Path, node: str, files: tuple[Path, Path], trusted: Path | None
) -> Iterator[str]:
    """A broker's process on https; its port."""
    (folder / "identity.json").write_text(json.dumps(dict(world.ledger.identity)))
    world.set_role(create(folder / "broker"), "broker")
    process = subprocess.Popen(
        tether(
            [
                sys.executable,
                "-m",
                "governance.broker",
                *("--folder", str(folder / "broker"), "--node", node),
                *("--identity", str(folder / "identity.json")),
                *("--certificate", str(files[0]), "--key", str(files[1])),
            ]
        ),
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin"} | ({"SSL_CERT_FILE": str(trusted)} if trusted else {}),
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[1]
    assert url.startswith("https://127.0.0.1:")
    yield url.replace("127.0.0.1", "localhost")
    process.terminate()
    process.wait()
    process.stdout.close()


def client_of(world: World, url: str, authority: Authority | None) -> BrokerClient:
    client = BrokerClient(url, world.ledger.domain, identity_id(world.ledger.identity))
    if authority is not None:
        context = ssl.create_default_context(cafile=authority.file)
        client._http = httpx.Client(base_url=url, verify=context)
    return client


def test_it_is_called_and_reads_its_node_by_https(
    world: World, node: str, authority: Authority, tmp_path: Path
) -> None:
    files = authority.certificate("localhost")
    with started(world, tmp_path, node, files, authority.file) as url:
        witness = client_of(world, url, authority).witness()
        assert witness["count"] == world.ledger.head()[0]
        with pytest.raises(BrokerUnavailable):  # nobody vouches for this certificate
            client_of(world, url, None).witness()
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https:", "http:") + "/health")


def test_a_client_that_never_shakes_hands_holds_up_nobody(
    world: World, node: str, authority: Authority, tmp_path: Path
) -> None:
    with started(world, tmp_path, node, authority.certificate("localhost"), authority.file) as url:
        port = int(url.rsplit(":", 1)[1])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        silent[0].sendall(b"GET / HTTP/1.1\r\n\r\n")  # and one speaks http
        assert client_of(world, url, authority).witness()["count"] > 0
        for connection in silent:
            connection.close()


def test_a_node_whose_certificate_nobody_vouches_for_is_not_read(
    world: World, node: str, authority: Authority, tmp_path: Path
) -> None:
    with started(world, tmp_path, node, authority.certificate("localhost"), None) as url:
        with pytest.raises(BrokerRefused, match="cannot reach the ledger"):
            client_of(world, url, authority).witness()


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "0.0.0.0"],
        ["--certificate", "CERTIFICATE"],
        ["--certificate", "CERTIFICATE", "--key", "OTHER"],
        ["--certificate", "NOTHING", "--key", "NOTHING"],
    ],
    ids=["plain", "half", "mismatch", "missing"],
)
def test_it_does_not_start_half_encrypted(
    options: list[str], authority: Authority, tmp_path: Path
) -> None:
    certificate, _ = authority.certificate("localhost")
    _, other = authority.certificate("other.example")
    (tmp_path / "identity.json").write_text("{}")
    named = {"CERTIFICATE": certificate, "OTHER": other, "NOTHING": tmp_path / "nothing"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "governance.broker",
            *("--folder", str(tmp_path / "broker"), "--node", "http://127.0.0.1:1"),
            *("--identity", str(tmp_path / "identity.json")),
            *(str(named.get(option, option)) for option in options),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "broker").exists()
