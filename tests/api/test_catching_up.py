"""While the API reads a long ledger it decides nothing, reports its progress, and accepts
withdrawals.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from in_process import ask

from api.client.client import wire
from api.errors import NotServing
from api.http.services import Services, open_services
from api.operate.doctor import examine
from api.operate.health import Health, probes_of, workers_in
from api.operate.processes import Parts
from api.worker.supervisor import open_worker, read_ledger
from chain.devnode.watched import Watched
from chain.errors import LedgerDown
from chain.wallets import Wallet, save
from governance.errors import CatchingUp
from governance.readmodel.projection import BOUND_SECONDS, Projection

ANYWAY = {"/health", "/identity", "/trail", "/trail/head", "/openapi.json"}  # they need no state


PARTS = 20  # in which the ledger is read here, however much other tests have written to it


@pytest.fixture
def slow(deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes one small page at a time, and nobody reads on by itself."""
    ledger = deployment.world.ledger
    blocks = int(ledger.block()["number"], 16) - int(ledger.identity["deployBlock"])
    page = max(4, blocks // PARTS)
    monkeypatch.setattr("chain.paging.FIRST", page)
    monkeypatch.setattr("chain.paging.LARGEST", page)
    monkeypatch.setattr("governance.readmodel.projection.SLICE_SECONDS", -1.0)
    monkeypatch.setattr("api.http.services.FIRST_SECONDS", -1.0)
    monkeypatch.setattr(Services, "keep_up", lambda _self: None)


@pytest.fixture
def behind(deployment, tmp_path: Path, slow: None) -> Iterator[Services]:
    """Services of the same place with rows of their own, which have read the first blocks only."""
    deployment.people(1)
    database = f"sqlite:///{tmp_path / 'volens.db'}"
    services = open_services(deployment.settings.model_copy(update={"database_url": database}))
    assert services.projection.behind.is_set()
    yield services
    services.engine.dispose()


def test_nothing_is_decided_by_a_part_of_the_ledger(behind: Services) -> None:
    """Every path that can be asked without an id, and the pages: refused with a reason of their
    own.
    """
    document = ask(behind, "GET", "/openapi.json").json()
    paths = [path for path in document["paths"] if "get" in document["paths"][path]]
    plain = [path.replace("{run}", "ab" * 32).replace("{subject}", "ab" * 32) for path in paths]
    asked = [path for path in plain if "{" not in path and path not in ANYWAY]
    assert len(asked) >= 6
    for path in asked:
        answer = ask(behind, "GET", path)
        assert (answer.status_code, answer.json()["reason"]) == (503, "catching-up"), path
        assert int(answer.headers["Retry-After"]) > 0
    for path in ("/", "/runs", "/trail", "/me"):
        page = ask(behind, "GET", path, headers={"Accept": "text/html"})
        assert page.status_code == 503
        assert "The ledger is still being read: block" in page.text
    for path in ANYWAY:
        assert ask(behind, "GET", path).status_code == 200


def test_catching_up_reports_progress_and_ends(deployment, behind: Services) -> None:
    seen = []
    while True:
        answer = ask(behind, "GET", "/health")
        assert answer.status_code == 200
        seen.append(answer.json()["api"])
        if behind.projection.catch_up():
            break
    assert {part["state"] for part in seen} == {"catching-up"}
    blocks = [part["block"] for part in seen]
    assert blocks == sorted(set(blocks))
    assert all(part["block"] < part["newest"] for part in seen)
    end = ask(behind, "GET", "/health").json()["api"]
    assert end["state"] == "ok"
    assert "block" not in end
    assert behind.projection.replayed.count == deployment.head()[0]
    assert ask(behind, "GET", "/runs").status_code == 200


def test_a_fault_while_catching_up_is_reported(
    behind: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that went away meanwhile is no ledger that is being read."""
    behind.fault = LedgerDown("the ledger does not answer", "start it")
    assert ask(behind, "GET", "/runs").json()["reason"] == "ledger-down"


def test_a_withdrawal_is_accepted_while_catching_up(deployment, behind: Services) -> None:
    """The contract is asked what holds; an old one is told from hers without the replay."""
    (subject,) = deployment.people(1)
    wallet, domain = deployment.world.subjects[subject], deployment.world.ledger.domain

    def withdraw(epoch: int, signer: Wallet = wallet) -> httpx.Response:
        message = {"subject": subject, "dataset": deployment.world.dataset, "epoch": epoch}
        body = {
            "revoke": wire("Revoke", message),
            "signer": wallet.signer.hex(),
            "signature": signer.sign(domain, "Revoke", message).hex(),
        }
        return ask(behind, "POST", "/consents/revocations", json=body)

    forged = withdraw(0, Wallet.new())
    assert (forged.status_code, forged.json()["reason"]) == (409, "SignatureInvalid")
    done = withdraw(0)
    assert (done.status_code, done.json()["acted"]) == (200, True)
    assert deployment.world.slot(subject) >> 248 == 2  # revoked
    assert behind.projection.behind.is_set()
    again = withdraw(0)
    assert (again.status_code, again.json()["acted"]) == (200, False)


def test_a_request_reads_for_a_bounded_time(deployment, tmp_path: Path, slow: None) -> None:
    """However much is new: it is refused, and the rest is read in the background."""
    projection = Projection(
        deployment.services.engine, deployment.world.ledger, deployment.services.bucket, bound=-1.0
    )
    with pytest.raises(CatchingUp):
        projection.sync()
    assert projection.behind.is_set()
    first = projection.progress
    with pytest.raises(CatchingUp):
        projection.sync()
    assert projection.progress == first  # at once, while somebody else reads on
    while not projection.catch_up():
        pass
    projection._bound = BOUND_SECONDS
    projection.sync()


# -- the worker, and whoever waits for a start


def test_a_worker_authorises_nothing_before_it_has_read_everything(
    deployment, tmp_path: Path, slow: None, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("api.worker.supervisor.TELL", 0.0)
    for name in ("identity.json", "run.json"):
        (tmp_path / name).write_bytes((deployment.home / name).read_bytes())
    save(deployment.world.people["wanda"], tmp_path / "keys" / "worker.json")
    settings = deployment.settings.model_copy(update={"home": tmp_path})
    worker = open_worker(settings)
    run = deployment.world.request_run(deployment.world.permit())
    assert not worker.projection.catch_up()
    worker.sign_of_life()
    health = Health(probes_of(settings), partial(workers_in, worker.engine))
    report = health.report(int(time.time()))["worker"]
    assert report["state"] == "catching-up"
    assert 0 < report["block"] < report["newest"]
    (point,) = [check for check in examine(settings) if check.name == "worker"]
    assert (point.state, "reads the ledger: block" in point.means) == ("warn", True)
    assert worker.step()  # it reads on instead of taking the run
    worker.projection._sync(None)
    assert worker.projection.replayed.newest_attempt(run) == 0
    worker.projection._start()  # as at a start
    read_ledger(worker, threading.Event())
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("reading ") for line in lines)
    (own,) = workers_in(worker.engine, int(time.time()))
    assert (own.account, own.block) == (worker.wallet.address, None)
    worker.children.end()


PART = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
began, (seconds, moves) = time.monotonic(), map(float, sys.argv[2:4])
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        spent = time.monotonic() - began
        block = int(100 * spent) if moves else 7
        said = {"ok": True, "catchingUp": spent < seconds, "block": block, "newest": 10**6}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


def _waited_for(deployment, tmp_path: Path, moves: int, monkeypatch) -> list[str]:
    """What a start says of a part that reads for three seconds, where one without progress is ended
    after one.
    """
    monkeypatch.setattr("api.operate.processes.START_SECONDS", 1.0)
    monkeypatch.setattr("api.operate.processes.TELL_SECONDS", 0.5)
    monkeypatch.setattr(
        "chain.devnode.watched._WORKING", 10.0
    )  # the part's own web server computes, too
    lines: list[str] = []
    parts = Parts(tmp_path, deployment.settings, tell=lines.append)
    port = parts._port("broker")
    argv = [sys.executable, "-c", PART, str(port), "3", str(moves)]
    parts.urls["broker"] = f"http://127.0.0.1:{port}"
    parts.processes["broker"] = subprocess.Popen(argv)
    parts.launched["broker"] = time.monotonic()
    try:
        parts.await_part("broker")
    finally:
        parts.stop_part("broker")
    return lines


def test_a_service_with_progress_is_waited_for(deployment, tmp_path: Path, monkeypatch) -> None:
    """Thirty seconds whatever the history: after that it was ended, at each start again."""
    lines = _waited_for(deployment, tmp_path, 1, monkeypatch)
    assert len(lines) > 2
    assert all(line.startswith("broker  reads the ledger: block ") for line in lines)


def test_a_service_without_progress_is_ended(deployment, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(NotServing, match="the broker did not start"):
        _waited_for(deployment, tmp_path, 0, monkeypatch)


def test_computing_is_progress_and_sleeping_is_none() -> None:
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while 1: pass'])"
    busy = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    idle = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.5)
        watched = {"busy": Watched(busy.pid, 1.0), "idle": Watched(idle.pid, 1.0)}
        stuck: dict[str, list[bool]] = {"busy": [], "idle": []}
        for _ in range(25):
            time.sleep(0.1)
            for name, watch in watched.items():
                stuck[name].append(watch.stuck())
        assert not any(stuck["busy"])  # its child computes
        assert stuck["idle"][-1]
    finally:
        os.killpg(busy.pid, signal.SIGKILL)
        idle.kill()
        for process in (busy, idle):
            process.wait()
