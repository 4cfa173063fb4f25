"""A deployment on a ledger that is not ours: a node without our gateway, with a block each second,
on the genesis file that `volens init besu` writes.

The node is anvil alone, which knows neither QBFT nor the file's `extraData` and gas limit: it shows
that nothing asks for what our gateway or anvil has beyond the usual methods, and that accounts
without a balance can send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from founders import Founders
from plain_node import plain_node
from rig import Rig

from api.demo import story
from api.errors import NotServing
from api.operate import doctor
from api.operate.besu import write_network
from api.operate.processes import Parts
from api.operate.settings import Settings
from governance.objects.bucket_emulator import BucketProcess
from governance.readmodel import queries as register


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("besu")
    write_network(home, 4)
    return home / "besu" / "network" / "genesis.json"


@pytest.fixture
def founders(genesis: Path, tmp_path: Path) -> Iterator[Founders]:
    """Several founders, on a ledger where a transaction waits for the next second's block."""
    with plain_node(genesis, "--block-time", "1") as url:
        yield Founders(tmp_path, url)


def test_init_deploys_on_it_and_every_part_runs(founders: Founders, genesis: Path) -> None:
    founders.bootstrap()
    identity = json.loads((founders.op / "identity.json").read_text())
    assert identity["chainId"] == json.loads(genesis.read_text())["config"]["chainId"]
    settings = Settings(home=founders.op, chain_url=founders.chain, device="cpu")
    parts = Parts.start(settings)
    try:
        health = httpx.get(f"{parts.urls['api']}/health", timeout=30).json()
        assert {name: part["state"] for name, part in health.items()} == dict.fromkeys(health, "ok")
        checks = {check.name: check for check in doctor.examine(settings)}
    finally:
        parts.stop()
    assert parts.chain is None
    assert not (founders.op / "chain").exists()
    for name in ("ledger", "contracts", "identity", "broker", "api", "worker role", "clock"):
        assert checks[name].state == "ok", checks[name]
    assert "node anvil/" in checks["versions"].means


def test_a_run_is_recorded_computed_and_sealed_on_it(
    genesis: Path, bucket_process: BucketProcess, tmp_path: Path
) -> None:
    with plain_node(genesis) as url:
        rig = Rig.build(tmp_path, url, bucket_process)
        run, worker = rig.request(), rig.worker()
        worker.projection.sync()
        worker.step()
        assert register.find_run(worker.engine, run.hex()).state == "sealed"
        assert len(worker.projection.replayed.granted(run, 1)) == len(rig.subjects)
        assert rig.journal()
        rig.close()


def test_the_demo_stops_no_ledger_but_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOLENS_CHAIN_URL", "https://ledger.example.org")
    started: list[Settings] = []

    def start(settings: Settings) -> None:
        started.append(settings)
        raise NotServing("enough", "")

    monkeypatch.setattr(Parts, "start", start)
    with pytest.raises(NotServing):
        story.main(tmp_path / "demo")
    (settings,) = started
    assert settings.chain_url == settings.child_environment(tmp_path)["VOLENS_CHAIN_URL"] == ""


@pytest.mark.parametrize(
    ("client", "means"),
    [
        ("anvil/v1.7.1", "1 (a dev chain: not decentralised)"),
        ("besu/v26.3.0/linux-x86_64/openjdk-java-25", "1 is asked (besu/v26.3.0/"),
    ],
)
def test_the_doctor_says_what_kind_of_ledger_is_asked(client: str, means: str) -> None:
    ledger = SimpleNamespace(node=SimpleNamespace(call=lambda _method, _params: client))
    assert doctor._nodes(cast("Any", ledger)).means.startswith(means)
