"""A served deployment of several people: healthy, stopped during a run without leftover processes,
resumed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from faults import random_kills
from founders import FOUNDERS, STAFF, Founders
from served import Served
from speed import allowed

from analytics.params import complete
from api.demo.steps import request
from api.operate.processes import STOP_SECONDS
from governance.presence import SIGN_SECONDS
from governance.rules.ledger_data import identity_id

# Long enough to be met while it computes; nobody waits for its end.
PARAMS = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"forest": ["genes"]},
        "folds": 2,
        "repeats": 50,
        "permutations": 1000,
        "bootstraps": 0,
    }
)


def half_a_request(url: str) -> socket.socket:
    """A request whose body has not come yet."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n"
    )
    time.sleep(0.2)
    return connection


def lives(pid: int) -> bool:
    """One that has ended and that nobody has asked about since is still listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def founders(tmp_path_factory: pytest.TempPathFactory) -> Founders:
    founded = Founders(tmp_path_factory.mktemp("several"))  # with a dev chain of its own
    founded.bootstrap()
    return founded


@pytest.fixture(scope="module")
def served(founders: Founders) -> Iterator[Served]:
    running = Served(founders.op)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)


def test_a_bootstrapped_deployment_is_served_and_healthy(
    founders: Founders, served: Served
) -> None:
    result = founders.run("op", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(result.text)["checks"]}
    assert result.code == 0
    assert {name for name, check in checks.items() if check["state"] != "ok"} == {
        "custody",
        "ledger nodes",
    }, checks
    assert "1 operator" in checks["custody"]["means"]
    assert checks["committee"]["means"].startswith(
        "0 of 3 committee members' keys are on this machine; 2 decide"
    )
    assert "anvil/" in checks["versions"]["means"]
    assert not [line for line in served.printed if "demo accounts" in line]
    identity = json.loads((founders.op / "identity.json").read_text())
    joins = f"Others join with: volens join {served.urls['api']}#{identity_id(identity).hex()}"
    assert joins in served.printed
    assert b"volens_chain_lag_blocks 0.0" in httpx.get(served.urls["metrics"] + "/metrics").content


def test_a_second_api_that_cannot_listen_takes_nothing_from_the_first(
    founders: Founders, served: Served
) -> None:
    port = served.urls["api"].rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "api.serve"],
        env={"VOLENS_HOME": str(founders.op), "VOLENS_API_PORT": port, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "the port of the API" in done.stderr) == (1, True)
    time.sleep(2 * SIGN_SECONDS)
    assert served.process.poll() is None
    assert healthy(served.urls["api"])


@pytest.mark.parametrize("part", ["api.serve", "governance.broker", "chain.devnode.gateway"])
def test_a_part_that_is_killed_is_started_again(served: Served, part: str) -> None:
    """At the same address, and nothing else ends."""
    others = [pid for pid in served.processes() if part not in command(pid)]
    (killed,) = [pid for pid in served.processes() if part in command(pid)]
    os.kill(killed, signal.SIGKILL)
    lines = [served.next_line(), served.next_line()]
    assert "has ended (killed by signal 9). It is started again in 1 s: see " in lines[0]
    assert "was started again." in lines[1]
    deadline = time.monotonic() + 60
    while not healthy(served.urls["api"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if part != "chain.devnode.gateway":  # whose node ends with it
        assert all(lives(pid) for pid in others)
    assert served.process.poll() is None


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


def healthy(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health", timeout=5)
        return all(part["state"] == "ok" for part in answer.json().values())
    except httpx.HTTPError:
        return False


def test_stopping_in_a_run_leaves_no_process_and_the_run_resumes(
    founders: Founders, served: Served, monkeypatch
) -> None:
    for name in (*FOUNDERS, *STAFF):  # from here on one test plays everybody
        shutil.copy(founders.base / name / "keys" / f"{name}.json", founders.op / "keys")
    monkeypatch.setattr(
        random_kills, "ReportingParts", SimpleNamespace(start=lambda _settings: served)
    )
    home = random_kills.ServedHome(founders.op)
    run = request(home.cast, home.permit, PARAMS)
    home.cast.await_run(
        run, lambda shown: any(step["step"] == "compute" for step in shown["progress"])
    )
    before = served.processes()
    assert len(before) >= 7
    ours = [pid for pid in before if os.getpgid(pid) == os.getpgid(served.process.pid)]
    in_front = " ".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in ours)
    assert not [
        name for name in ("chain.devnode.gateway", "anvil", "api.") if name in in_front
    ]  # for whom Ctrl-C is not
    asked = half_a_request(served.urls["api"])
    code, seconds, log = served.end(signal.SIGTERM, meanwhile=lambda: asked.sendall(b"{}"))
    assert asked.recv(100).startswith(
        b"HTTP/1.1 4"
    )  # what was begun is answered: it is no valid message
    asked.close()
    assert (code, [line["event"] for line in log][-2:]) == (0, ["stopping", "stopped"])
    assert seconds < allowed(10)
    assert not [pid for pid in before if lives(pid)]
    for part in ("worker", "api", "broker"):
        last = json.loads((founders.op / "logs" / f"{part}.log").read_text().splitlines()[-1])
        assert (last["part"], last["event"]) == (part, "stopped")
    assert seconds <= STOP_SECONDS

    served.start()
    row = home.cast.await_run(run, lambda shown: shown["attempts"][-1]["attempt"] == 2, 60.0)
    assert row["state"] in ("authorised", "sealed")
    assert any("demo accounts" in line for line in served.printed)
    code, seconds, _ = served.end(signal.SIGINT, signal.SIGINT)
    assert (code, seconds < allowed(2)) == (1, True)
