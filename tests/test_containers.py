"""docker-compose.yml: what it names exists, each container has its own files only, and its commands
make a healthy deployment.

No container engine is needed: the commands are run as processes, with the containers' paths and
ports replaced by the test's own, and PostgreSQL's programs in place of its image.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from eth_keys import keys
from founders import Founders

from api.demo.postgres import Postgres
from api.errors import UsageError
from api.operate.besu import COMPOSED, write_network
from api.operate.containers import write_secrets
from api.operate.processes import Parts
from api.operate.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BESU = {name: service for name, service in SERVICES.items() if name.startswith("besu-")}
OURS = {
    name: service
    for name, service in SERVICES.items()
    if name not in BESU and name not in ("database", "network")
}
PORTS = ("8545", "4443", "8546", "8000")
START_SECONDS = 120.0


def test_it_names_programs_options_and_settings_that_exist() -> None:
    assert {"chain", "database", "bucket", "broker", "api", "worker"} <= set(SERVICES)
    for service in OURS.values():
        checks = service.get("healthcheck", {}).get("test", [])[1:]
        for argv in (service["command"], checks):  # -P: imports nothing from its working folder
            assert argv[:1] != ["python"] or argv[1] == "-P"
        _, _, flag, module, *arguments = service["command"]
        if flag == "-m":
            assert importlib.util.find_spec(module) is not None
            source = ROOT / f"{module.replace('.', '/')}.py"
            source = source if source.exists() else ROOT / module.replace(".", "/") / "__main__.py"
            options = [option for option in arguments if option.startswith("--")]
            assert all(f'"{option}"' in source.read_text() for option in options)
        settings = {name.removeprefix("VOLENS_").lower() for name in service.get("environment", {})}
        assert settings <= set(Settings.model_fields)


def test_each_container_has_its_own_files_and_no_rights() -> None:
    assert [name for name, service in SERVICES.items() if service.get("ports")] == ["network"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["network"]["ports"])
    for name, service in SERVICES.items():
        owned = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert not owned & {"./.volens", "./.volens/keys", "./.volens/containers"}
        assert ("./.volens/broker" in owned) == (name == "broker")
        assert ("./.volens/database" in owned) == (name == "database")
        assert service["user"].split(":")[0] not in ("", "0", "root")
        assert not service.get("privileged")
        if name != "network":  # it holds the others' network, and does nothing
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["network_mode"] == "service:network"
        if name != "database":
            assert service["cap_drop"] == ["ALL"], name
    keys = {
        secret["source"]: name
        for name, service in SERVICES.items()
        for secret in service.get("secrets", [])
        if isinstance(secret, dict)
    }
    assert keys["relay-key"] == "api"
    assert keys["worker-key"].startswith("worker")


def test_a_gpu_is_reserved_where_a_profile_says_so() -> None:
    assert SERVICES["worker"]["profiles"] == ["gpu"]
    assert SERVICES["worker-ray"]["profiles"] == ["ray"]
    for name in ("worker", "worker-ray"):
        assert "nvidia" in json.dumps(SERVICES[name]["deploy"])


def test_a_profile_starts_one_ledger_and_every_part_waits_for_it() -> None:
    assert SERVICES["chain"]["profiles"] == ["dev"]
    assert {tuple(service["profiles"]) for service in BESU.values()} == {("besu",)}
    for name in ("broker", "api", "worker", "worker-cpu", "worker-ray"):
        for ledger in ("chain", "besu-1"):
            awaited = SERVICES[name]["depends_on"][ledger]
            assert awaited == {"condition": "service_healthy", "required": False}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The folder of a docker-compose.yml with what `volens init besu` writes beside it."""
    write_network(tmp_path / ".volens", COMPOSED)
    return tmp_path


def options_of(name: str) -> dict[str, str]:
    """What a Besu node is started with, from its command and its environment, by option."""
    words = [word.removeprefix("--").partition("=") for word in BESU[name]["command"]]
    given = {
        setting.removeprefix("BESU_").lower().replace("_", "-"): value
        for setting, value in BESU[name]["environment"].items()
    }
    return {option: value for option, _, value in words} | given


def test_besu_is_started_with_the_files_that_were_written(network: Path) -> None:
    enodes = json.loads((network / ".volens/besu/network/static-nodes.json").read_text())
    assert list(BESU) == [f"besu-{number + 1}" for number in range(COMPOSED)]
    for (name, service), enode in zip(BESU.items(), enodes, strict=True):
        here = {inside: network / path for path, inside, *_ in map(_parts, service["volumes"])}
        options = options_of(name)
        files = {
            option: _here(value, here)
            for option, value in options.items()
            if value.startswith("/volens/")
        }
        assert {option for option in files if option.endswith(("path", "file"))} == set(files)
        assert {path.name for path in files.values()} == {
            "genesis.json",
            "key",
            "permissions.toml",
            "static-nodes.json",
            name.replace("besu", "validator"),
        }
        assert all(path.exists() for path in files.values())
        # Its own key and data only, and what all share only to read.
        writable = [path for path, _, *mode in map(_parts, service["volumes"]) if mode != ["ro"]]
        assert writable == [f"./.volens/besu/{name.replace('besu', 'validator')}"]
        key = keys.PrivateKey(bytes.fromhex(files["node-private-key-file"].read_text()))
        assert enode == (
            f"enode://{key.public_key.to_bytes().hex()}@{options['p2p-host']}:{options['p2p-port']}"
        )


def test_besu_listens_inside_only_and_offers_what_is_used() -> None:
    assert {service["image"] for service in BESU.values()} == {"hyperledger/besu:26.3.0"}
    used = {options_of(name)["rpc-http-port"] for name in BESU} | set(PORTS)
    assert len(used) == len(BESU) + len(PORTS) - 1  # the first is asked where the dev chain is
    assert options_of("besu-1")["rpc-http-port"] == PORTS[0]
    assert SERVICES["network"]["ports"][1].endswith(f":{PORTS[0]}")
    for name, service in BESU.items():
        options = options_of(name)
        assert options["rpc-http-api"] == "ETH,WEB3"
        assert (options["min-gas-price"], options["discovery-enabled"]) == ("0", "false")
        assert options["p2p-interface"] == "127.0.0.1"
        assert (options["rpc-http-host"] == "127.0.0.1") == (name != "besu-1")
        # The image's entry script joins these words into one line of a shell.
        assert all(re.fullmatch(r"--[a-z0-9-]+(=[\w./:,-]+)?", word) for word in service["command"])


@pytest.mark.parametrize(("status", "healthy"), [("200 OK", True), ("503 Not Ready", False)])
def test_a_besu_node_is_healthy_once_it_says_that_it_is_ready(status: str, healthy: bool) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                asked.extend(iter(lines.readline, b"\r\n"))  # the shell sends line by line
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

        node = threading.Thread(target=answer)
        node.start()
        code = _ask_health("besu-1", server.getsockname()[1])
        node.join()
    assert (code == 0) == healthy
    assert asked[:2] == [b"GET /readiness?minPeers=2 HTTP/1.1\r\n", b"Host: localhost\r\n"]
    assert _ask_health("besu-1", 9) != 0


def _ask_health(name: str, port: int) -> int:
    """A node's health check, as Docker runs it after Compose has read `$$` as `$`."""
    argv = [word.replace("$$", "$") for word in BESU[name]["healthcheck"]["test"][1:]]
    environment = {"PATH": "/usr/bin:/bin", "BESU_RPC_HTTP_PORT": str(port)}
    return subprocess.run(argv, env=environment, stderr=subprocess.DEVNULL, timeout=30).returncode


def _parts(volume: str) -> list[str]:
    return volume.split(":")


def _here(path: str, mounts: dict[str, Path]) -> Path:
    inside = next(inside for inside in mounts if path == inside or path.startswith(f"{inside}/"))
    return mounts[inside] / path.removeprefix(inside).lstrip("/")


def test_the_image_carries_every_room_and_ends_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    rooms = ("contracts", "chain", "governance", "analytics", "api", "volens")
    assert [room for room in rooms if f"COPY {room} {room}\n" not in text] == []
    assert re.findall(r"^USER (\d+)", text, re.MULTILINE)[-1] != "0"


def test_passwords_are_made_once_and_for_this_account_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no deployment"):
        write_secrets(tmp_path)
    (tmp_path / "identity.json").write_text("{}")
    password, passfile = write_secrets(tmp_path)
    first = password.read_text()
    assert len(first) == 64
    assert passfile.read_text() == f"127.0.0.1:5432:volens:volens:{first}\n"
    assert write_secrets(tmp_path)[0].read_text() == first
    assert {path.stat().st_mode & 0o777 for path in (password, passfile)} == {0o600}
    named = {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert {f"./.volens/containers/{path.name}" for path in (password, passfile)} <= named


def test_the_next_command_names_the_ledger_that_was_made(tmp_path: Path) -> None:
    operator = Founders(tmp_path)
    network = write_network(operator.op, COMPOSED)
    for other in ({}, {"chainId": 31337}):  # deployed on the dev chain, whatever lies in besu/
        (operator.op / "identity.json").write_text(json.dumps(other))
        assert "--profile dev --profile cpu up" in operator.run("op", "init", "containers").text
    (operator.op / "identity.json").write_text(json.dumps({"chainId": network.chain_id}))
    assert "--profile besu --profile cpu up" in operator.run("op", "init", "containers").text


@dataclass
class Composed:
    """Containers as processes: `folder` is where docker-compose.yml would lie."""

    folder: Path
    database: str
    ports: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def up(self, name: str) -> None:
        """Start a service, and wait until its own health check says so."""
        service = SERVICES[name]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [self._inside(name, word) for word in service["command"]],
                env=self._environment(name),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy(name):
            assert self.running[name].poll() is None, (self.folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline, (self.folder / f"{name}.log").read_text()

    def healthy(self, name: str) -> bool:
        asked = [self._inside(name, word) for word in SERVICES[name]["healthcheck"]["test"][1:]]
        done = subprocess.run(
            asked, env=self._environment(name), capture_output=True, timeout=60, check=False
        )
        return done.returncode == 0

    def down(self) -> None:
        for process in reversed(self.running.values()):
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def _environment(self, name: str) -> dict[str, str]:
        given = SERVICES[name].get("environment", {})
        own = {key: self._inside(name, str(value)) for key, value in given.items()}
        if "VOLENS_DATABASE_URL" in own:
            own["VOLENS_DATABASE_URL"] = self.database
        return {"PATH": "/usr/bin:/bin", "VOLENS_DEVICE": "cpu"} | own

    def _inside(self, name: str, word: str) -> str:
        """A word of a command or setting, with the container's paths and ports as they are here."""
        if word == "python":
            return sys.executable
        for port in PORTS:
            word = re.sub(rf"\b{port}\b", self.ports[port], word)
        for here, inside in self._mounts(name):
            word = word.replace(inside, str(self.folder / here))
        return word

    def _mounts(self, name: str) -> list[tuple[str, str]]:
        """(path here, path in the container), the longest first."""
        service = SERVICES[name]
        mounts = [volume.split(":")[:2] for volume in service.get("volumes", [])]
        pairs = [(here, inside) for here, inside in mounts if not inside.startswith("/volens/home")]
        if service.get("tmpfs"):
            pairs.append((f"homes/{name}", "/volens/home"))
        return sorted(pairs, key=lambda pair: -len(pair[1]))

    def furnish(self, name: str) -> None:
        """What the container's own home holds: its secrets, and the files put into it."""
        service = SERVICES[name]
        inside = [volume.split(":")[:2] for volume in service.get("volumes", [])]
        inside += [
            (COMPOSE["secrets"][secret["source"]]["file"], secret["target"])
            for secret in service.get("secrets", [])
            if isinstance(secret, dict)
        ]
        for here, there in inside:
            if there.startswith("/volens/home"):
                target = self.folder / "homes" / name / there.removeprefix("/volens/home/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.folder / here, target)


@pytest.fixture
def composed(tmp_path: Path, postgres: Postgres) -> Iterator[Composed]:
    home = tmp_path / ".volens"
    Parts.start(Settings(home=home), worker=False).stop()  # the bootstrap of a deployment
    write_secrets(home)
    made = Composed(tmp_path, postgres.url(f"composed{os.getpid()}"))
    for port in PORTS:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            made.ports[port] = str(probe.getsockname()[1])
    yield made
    made.down()


def test_its_commands_make_a_healthy_deployment(composed: Composed) -> None:
    for name in ("chain", "bucket", "broker", "api", "worker-cpu"):
        composed.furnish(name)
        composed.up(name)
    url = f"http://127.0.0.1:{composed.ports['8000']}"
    health = httpx.get(f"{url}/health", timeout=30).json()
    assert {part: report["state"] for part, report in health.items()} == dict.fromkeys(health, "ok")
    assert health["worker"]["count"] == 1
    page = httpx.get(url, headers={"Accept": "text/html"}, follow_redirects=False)
    assert page.headers["location"] == f"http://localhost:{composed.ports['8000']}/"
    composed.running["broker"].kill()
    composed.running["broker"].wait()
    assert not composed.healthy("broker")
