"""The doctor: each finding has a state, a meaning and what to do; what is down or altered has an exit code."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api import checkup
from api.checkup import examine
from api.settings import Settings
from governance.tables import open_database

Found = dict[str, dict[str, Any]]


@pytest.fixture
def told(place, volens) -> Callable[[], tuple[int, Found]]:
    def ask() -> tuple[int, Found]:
        place.services.projection.sync()
        said = volens("doctor", "--json")
        return said.code, {one["name"]: one for one in json.loads(said.out.splitlines()[0])["checks"]}

    return ask


@pytest.fixture
def home(place, volens, tmp_path, monkeypatch) -> Path:
    """Another machine's home with the same identity and addresses, and no key of the committee."""
    folder = tmp_path / "home"
    (folder / "keys").mkdir(parents=True)
    for name in ("identity.json", "run.json", "keys/relay.json"):
        shutil.copy(place.home / name, folder / name)
    monkeypatch.setenv("VOLENS_HOME", str(folder))
    return folder


def test_each_line_has_a_state_and_what_to_do(place, told) -> None:
    place.settings.worker_beat.touch()
    code, found = told()
    assert code == 0
    assert {name for name, one in found.items() if one["state"] == "warn"} == {"custody", "committee", "ledger nodes"}
    assert all(one["state"] in ("ok", "warn") and one["means"] for one in found.values())
    assert all(bool(one["do"]) == (one["state"] != "ok") for one in found.values())
    assert "1 operator" in found["custody"]["means"]
    assert "3 of 3 founders' keys" in found["committee"]["means"]
    assert not [one for one in found.values() if place.world.people["pia"].address in str(one)]


def test_a_machine_without_a_quorums_keys_is_not_the_committee(place, home, told) -> None:
    shutil.copy(place.home / "keys" / "pia.json", home / "keys")
    _, found = told()
    assert (found["committee"]["state"], found["committee"]["means"][:6]) == ("ok", "1 of 3")
    assert found["rows"]["state"] == "warn"
    assert not (home / "volens.db").exists()  # looking makes nothing


@pytest.mark.parametrize(("change", "name"), [
    (lambda identity: identity["contracts"][3].update(codeHash="00" * 32), "contracts"),
    (lambda identity: identity["signatures"].popitem(), "identity"),
    (lambda identity: identity["signatures"].update({identity["founders"][0]: "00" * 65}), "identity"),
    (lambda identity: identity.update(genesisHash="00" * 32), "contracts"),
])  # fmt: skip
def test_an_identity_that_was_altered_is_bad(home, told, change, name: str) -> None:
    identity = json.loads((home / "identity.json").read_text())
    change(identity)
    (home / "identity.json").write_text(json.dumps(identity))
    code, found = told()
    assert (code, found[name]["state"]) == (7, "bad")


def test_a_key_file_that_others_can_read_is_bad(home, told) -> None:
    (home / "keys" / "relay.json").chmod(0o644)
    code, found = told()
    assert (code, found["key files"]["state"]) == (7, "bad")


def test_a_part_that_is_down_does_not_hide_the_others(place, told, monkeypatch) -> None:
    monkeypatch.setenv("VOLENS_API", "http://127.0.0.1:9")
    code, found = told()
    assert (code, found["api"]["state"], found["identity"]["state"]) == (6, "down", "ok")
    monkeypatch.setenv("VOLENS_CHAIN_URL", "http://127.0.0.1:9")
    code, found = told()
    assert (code, found["ledger"]["state"], found["contracts"]["state"]) == (6, "down", "down")
    assert found["disk"]["state"] == "ok"


def test_an_empty_home_says_what_to_start(home, told, volens) -> None:
    (home / "identity.json").unlink()
    (home / "run.json").unlink()
    code, found = told()
    assert (code, found["parts"]["state"], found["identity"]["state"]) == (6, "down", "bad")
    assert "What to do: start it: volens serve." in volens("doctor").out


def test_relaxed_disk_clock_lag_and_queue_are_said(place, told, monkeypatch) -> None:
    monkeypatch.setenv("VOLENS_RELAX", "isolation")
    monkeypatch.setattr(checkup, "LOW_DISK", 1 << 62)
    monkeypatch.setattr(checkup, "LONG_QUEUE", -1)
    code, found = told()
    assert code == 0
    assert [found[name]["state"] for name in ("relaxed", "disk", "queue")] == ["warn"] * 3
    url = place.world.ledger.node.url
    assert checkup._clock(url, time.time()).state == "ok"
    for apart in (-90, 120):
        assert checkup._clock(url, time.time() + apart).state == "warn"
    place.services.projection.sync()
    engine = open_database(Settings(home=place.home).database)
    assert checkup._lag(engine, place.world.ledger).state == "ok"
    place.world.set_role(place.world.people["dora"].address, "protection")
    assert "lack 1 of the ledger's blocks" in checkup._lag(engine, place.world.ledger).means
    engine.dispose()


def test_no_finding_shows_a_path_or_a_key(place) -> None:
    text = str(examine(Settings(home=place.home)))
    assert str(place.home) not in text
    assert not [wallet for wallet in place.world.people.values() if wallet.key.hex() in text or wallet.address in text]
