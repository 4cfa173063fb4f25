"""A complete deployment for tests: dev chain, bucket, broker and web process, all real."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import structlog
import uvicorn
from copied_rows import copy_rows

from api.app import create_app
from api.client.client import Client
from api.client.results import keep_pair
from api.demo.postgres import Postgres
from api.demo.stage import CAST, World, random32
from api.http.services import Services, open_services
from api.operate.bootstrap import sign_identity
from api.operate.settings import Settings
from api.serve import caller_options
from chain.devnode.process import DevChain
from chain.devnode.tether import tether
from chain.wallets import Wallet, save
from governance.objects.broker_client import BrokerClient
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.envelope import (
    OUTPUT,
    Label,
    WrapItem,
    disclosure_commitment,
    output_commitment,
)
from governance.objects.vault import Bucket, seal_records
from governance.presence import Presence
from governance.rules.encoding import canonical_json

RESULT, DISCLOSURE = b'{"accuracy":"80"}', b'{"suppressed":3}'


@dataclass
class Sealed:
    """A sealed run, the file of its result key, and the broker that holds the output's key."""

    run: str
    key_file: Path
    broker: BrokerClient


@dataclass
class Deployment:
    """`as_` gives somebody's client; `enrol` and `agree` make a willing person through the
    endpoints.
    """

    url: str
    home: Path
    world: World
    services: Services
    settings: Settings

    def as_(self, name: str) -> Client:
        return Client(self.url, self.world.ledger.identity, self.world.people[name])

    def patient(self, subject: bytes, wallet: Wallet | None = None) -> Client:
        return Client(
            self.url, self.world.ledger.identity, wallet or self.world.subjects[subject], subject
        )

    def anybody(self) -> Client:
        return Client(self.url, self.world.ledger.identity)

    def head(self) -> tuple[int, bytes]:
        return self.world.ledger.head()

    def copy_rows(self, path: Path) -> Path:
        """A SQLite file with the rows of now, for a test that injures or multiplies them."""
        return copy_rows(self.services.engine, path)

    def worker_alive(self, at: float | None = None) -> Presence:
        """A worker's sign of life, of now or of another time."""
        address = self.world.people["wanda"].address
        clock = time.time if at is None else lambda: at
        return Presence(self.services.engine, address, "worker", clock=clock)

    def people(self, count: int = 1, agree: bool = True) -> list[bytes]:
        """New people, enrolled by the ledger's own endpoint, willing unless told otherwise."""
        subjects = self.world.enrol(count)
        if agree:
            self.world.grant(subjects)
        return subjects

    def sealed_output(
        self, key_file: Path, commit_to: bytes | None = None, result: bytes = RESULT
    ) -> Sealed:
        """A run of three willing people whose output was encrypted, wrapped by the broker, stored
        and sealed.
        """
        world, noor = self.world, self.as_("noor")
        subjects = self.people(3)
        answer = noor.request_run(
            world.permit(), b'{"model":"logistic"}', keep_pair(key_file), secrets.randbits(256)
        )
        run, salt = bytes.fromhex(answer["run"]), random32()
        world.authorise(run, subjects)
        broker = BrokerClient(
            self.settings.address("broker"), world.ledger.domain, noor.identity_id
        )
        inside = canonical_json(
            {
                "type": "volens/output/1",
                "salt": salt.hex(),
                "result": result.decode(),
                "disclosure": DISCLOSURE.decode(),
            }
        )
        label = Label(noor.identity_id, run, run, world.dataset, OUTPUT, 1)
        sealed = seal_records(
            [(label, inside)],
            lambda keys: [
                broker.wrap(
                    [
                        WrapItem(run, world.dataset, run, 1, j, share)
                        for j, share in enumerate(keys[0])
                    ]
                )
            ],
        )[0]
        self.services.bucket.put(sealed.blob)
        world.seal(
            run,
            outputCommitment=output_commitment(
                run, 1, result if commit_to is None else commit_to, salt
            ),
            ciphertextHash=sealed.ciphertext_hash,
            keyCommitment=sealed.key_commitment,
            disclosureCommitment=disclosure_commitment(run, 1, DISCLOSURE, salt),
        )
        return Sealed(run.hex(), key_file, broker)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A test that reads the log leaves none behind: the application in this process writes lines
    where one was made.
    """
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def devchain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevChain]:
    """The chain of the deployment, for all of these tests."""
    chain = DevChain.start(tmp_path_factory.mktemp("chain"))
    yield chain
    chain.stop()


@pytest.fixture(scope="session")
def deployment(
    devchain: DevChain, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Deployment]:
    """On PostgreSQL; the deployments of the pages' tests are on SQLite."""
    home = tmp_path_factory.mktemp("home")
    people = {name: Wallet.new() for name in ("pia", "quinn", "rui", *CAST)}
    people["bram"] = Wallet.of(_make_broker(home / "broker"))
    world = World.create(devchain.url, people=people, role_delay=0)
    world.people["vera"] = Wallet.new()
    world.set_role(world.people["vera"].address, "auditor")
    identity = dict(world.ledger.identity)
    identity["signatures"] = sign_identity(
        identity, [people["pia"], people["quinn"], people["bram"]]
    )
    world.ledger.identity = identity
    (home / "identity.json").write_text(json.dumps(world.ledger.identity))
    save(Wallet.new(), home / "keys" / "relay.json")
    for name, wallet in world.people.items():
        save(wallet, home / "keys" / f"{name}.json")
    url = _free_address()
    bucket = BucketProcess.start(home / "bucket")
    Bucket("volens", bucket.url).create()
    process, broker_url = _start_broker(home, devchain.url)
    (home / "run.json").write_text(
        json.dumps({"chain": devchain.url, "bucket": bucket.url, "broker": broker_url, "api": url})
    )
    settings = Settings(
        home=home,
        database_url=postgres.url("api"),
        rate_limit=1_000_000,  # these tests are refused a thousand times from one address
    )
    services = open_services(settings)
    server = _serve(services, url)
    yield Deployment(url, home, world, services, settings)
    server.should_exit = True
    process.terminate()
    process.wait()
    bucket.stop()


@pytest.fixture
def another_endpoint(deployment: Deployment) -> Iterator[Callable[..., str]]:
    """Serves the same place at another address, under other settings; returns the URL."""
    servers = []

    def open_endpoint(**change: object) -> str:
        url = _free_address()
        settings = deployment.settings.model_copy(update=change)
        servers.append(_serve(replace(deployment.services, settings=settings, audience=url), url))
        return url

    yield open_endpoint
    for server in servers:
        server.should_exit = True


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _make_broker(folder: Path) -> bytes:
    from governance.broker.custody import create

    create(folder)
    return (folder / "wallet").read_bytes()


def _start_broker(home: Path, node: str) -> tuple[subprocess.Popen[bytes], str]:
    argv = [
        sys.executable,
        "-m",
        "governance.broker",
        "--folder",
        str(home / "broker"),
        "--node",
        node,
        "--identity",
        str(home / "identity.json"),
    ]
    process = subprocess.Popen(tether(argv), stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, process.stdout.readline().decode().split()[1]


def _serve(services: Services, url: str) -> uvicorn.Server:
    config = uvicorn.Config(
        create_app(services),
        host="127.0.0.1",
        port=int(url.rsplit(":", 1)[1]),
        access_log=False,
        log_level="error",
        server_header=False,
        **caller_options(services.settings),
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    deadline = time.monotonic() + 60  # others may keep the machine busy
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    return server
