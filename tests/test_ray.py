"""Ray as the engine: the same attempts, in the same confined children, whatever ends one of them.

`make soak` asks for a hundred runs, and kills scheduler and workers at twenty random moments.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from asked_runs import WORKERS, ask, await_all
from extent import extent
from faults.random_kills import ServedHome

from api.demo.postgres import Postgres
from api.errors import UsageError
from api.operate.settings import Settings
from api.worker import ray_engine
from api.worker.ray_engine import (
    DONE,
    FOLDER,
    UNKNOWN,
    Actor,
    _make_folder,
    _parts_of_ray,
    users_of,
)
from governance.readmodel.database import open_database
from governance.readmodel.tables import Claim
from governance.runs import claim


@pytest.fixture(scope="module", params=("local", "cluster")[: extent(1, 2)])
def rayed(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[ServedHome]:
    """A served home whose runs two workers of Ray compute: one of its own, or a cluster's."""
    folder = Path(tempfile.mkdtemp(prefix="volens-rayed-"))
    url = postgres.url(f"d{secrets.token_hex(8)}")
    with cluster(folder, url) if request.param == "cluster" else nullcontext() as joined:
        served = ServedHome(
            folder / "home",
            postgres,
            WORKERS,
            f"ray://{joined.address}" if joined else "ray",
            ray_token=joined.token if joined else None,
            url=url,
        )
        served.head = joined.head if joined else None
        yield served
        served.parts.stop()
    shutil.rmtree(folder)


@dataclass
class Cluster:
    address: str
    token: Path
    head: int


@contextmanager
def cluster(folder: Path, database: str) -> Iterator[Cluster]:
    """A Ray that somebody else has started, on this machine; its workers find the home by its
    environment, as on a machine that joins (docs/guide/operator.md).
    """
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = {
        "PATH": "/usr/bin:/bin",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "VOLENS_HOME": str(folder / "home"),
        "VOLENS_DATABASE_URL": database,
        "VOLENS_WORKER": ",".join(WORKERS),
        "VOLENS_DEVICE": "cpu",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started = ("start", "--head", f"--port={port}", f"--temp-dir={folder / 'r'}", "--num-cpus=2")
    head = subprocess.Popen(
        [str(Path(sys.executable).with_name("ray")), *started, "--block"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Cluster(_head_of(head, port), token, head.pid)
    finally:
        head.terminate()
        head.wait()


def _head_of(head: subprocess.Popen[bytes], port: int) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert head.poll() is None
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return f"127.0.0.1:{port}"
        time.sleep(0.1)
    raise TimeoutError("Ray's head did not start")


def actors(rayed: ServedHome) -> list[int]:
    """The processes of this Ray's workers: the children of its raylet, which other tests' have not."""
    root = rayed.parts.processes["worker"].pid if rayed.head is None else rayed.head
    named = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _read(path).startswith(b"ray::Actor")
    ]
    return [pid for pid in named if root in _ancestors(pid)]


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
        pid = int(fields[1]) if fields else 0
        yield pid


def await_actors(rayed: ServedHome) -> list[int]:
    """The same, once there is one: after a kill they take seconds to be back."""
    deadline = time.monotonic() + 60
    while not (pids := actors(rayed)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return pids


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def head_in(folder: Path) -> str:
    """The address of Ray's head, which it passes to its other processes."""
    lines = (_read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))
    named = [re.search(rb"gcs-address=([^\0]+)", line) for line in lines if bytes(folder) in line]
    return next(match[1].decode() for match in named if match)


def folder_of(rayed: ServedHome) -> Path:
    return Path((rayed.cast.home / FOLDER).read_text())


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_each_run_is_computed_once_by_one_of_rays_workers(
    rayed: ServedHome, tmp_path: Path
) -> None:
    runs = ask(rayed, extent(4, 100))
    assert set(await_all(rayed, runs).values()) == {1}
    assert len(actors(rayed)) == 2
    assert rayed.cast.client("noor").health()["worker"]["count"] == 2
    assert rayed.judge(tmp_path) == []


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_whatever_is_killed_no_run_is_lost_and_no_key_leaves_unrecorded(
    rayed: ServedHome, tmp_path: Path
) -> None:
    """A worker of Ray's, or the scheduler with all of Ray, while people withdraw and agree."""
    draw, people = random.Random(8), rayed.cast.patients
    for turn in range(extent(1, 21)):
        with ThreadPoolExecutor(1) as pool:
            life = pool.submit(rayed.go_on, people[turn % len(people)], time.monotonic() + 120)
            time.sleep(draw.uniform(0.1, 2.0))
            if turn % 3 == 0:
                os.kill(draw.choice(await_actors(rayed)), signal.SIGKILL)
            elif turn % 3 == 1 and rayed.parts.settings.engine == "ray":
                end_all_by_one_of_rays_own(rayed, draw)
            else:
                rayed.kill("worker")
                rayed.start_again("worker")
        assert life.exception() is None
        assert rayed.judge(tmp_path) == []
    assert rayed.parts.ended() == {}


def end_all_by_one_of_rays_own(rayed: ServedHome, draw: random.Random) -> None:
    """The scheduler sees it, ends what is left, and is started again."""
    process, folder = rayed.parts.processes["worker"], folder_of(rayed)
    os.kill(draw.choice(_parts_of_ray(process.pid)), signal.SIGKILL)
    assert process.wait(60) == 1
    deadline = time.monotonic() + 10
    while users_of(folder):  # killed, and not gone yet
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not folder.exists()
    rayed.start_again("worker")


def test_two_schedulers_of_one_home_exclude_each_other(tmp_path: Path) -> None:
    """The second would take the folder of the first for one that was left."""
    settings = Settings(home=tmp_path)
    lock, folder = _make_folder(settings)
    with pytest.raises(UsageError, match="another process schedules runs"):
        _make_folder(settings)
    assert folder.is_dir()
    lock.close()
    again, other = _make_folder(settings)
    assert not folder.exists()
    again.close()
    shutil.rmtree(other)


def test_ray_takes_nothing_from_who_has_no_token(rayed: ServedHome) -> None:
    """Any program of this machine reaches its ports."""
    engine = rayed.parts.settings.engine
    if engine == "ray":
        folder = folder_of(rayed)
        token, address = folder / "token", head_in(folder)
        assert (token.stat().st_mode & 0o077, folder.stat().st_mode & 0o077) == (0, 0)
    else:
        token, address = rayed.cast.home.parent / "token", engine.removeprefix("ray://")
    began = time.monotonic()
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token.read_text()}
    assert gets_in(address, 60, own)
    timeout = max(8.0, 3 * (time.monotonic() - began))
    others: list[dict[str, str]] = [
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)},
        {"RAY_AUTH_MODE": "disabled"},
    ]
    with ThreadPoolExecutor(len(others)) as pool:
        assert list(pool.map(partial(gets_in, address, timeout), others)) == [False, False]


def gets_in(address: str, seconds: float, environment: dict[str, str]) -> bool:
    """Whether a program with this environment can use Ray; one that is refused tries for long."""
    program = f"import ray; ray.init(address={address!r}, log_to_driver=False); print('in')"
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PATH": "/usr/bin:/bin"} | environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return "in" in done.stdout.split()
    return False


@pytest.mark.parametrize(
    "engine", ["", "spark", "ray://", "ray://host", "ray://host:x", "http://h:1"]
)
def test_what_names_no_engine_is_refused(engine: str) -> None:
    with pytest.raises(UsageError, match="names no engine"):
        Settings(engine=engine).ray_address()


def test_rays_workers_import_nothing_from_the_folder_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray puts the folder of whoever begins it on its workers' path."""
    begun_in: list[Path] = []

    def begin(**_: object) -> None:
        begun_in.append(Path.cwd())
        raise RuntimeError

    (tmp_path / "stranger").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path / "stranger")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=begin))
    monkeypatch.setattr(ray_engine, "set_for_ray", lambda *_: None)
    with pytest.raises(UsageError, match="cannot be started"):
        ray_engine._open(Settings(engine="ray"), tmp_path / "own")
    assert begun_in == [tmp_path / "own"]


def test_engines_are_named() -> None:
    assert Settings(engine="ray").ray_address() == ""
    assert Settings(engine="ray://head.example:6379").ray_address() == "head.example:6379"


def test_a_worker_with_another_database_computes_nothing(tmp_path: Path) -> None:
    """It would know of no claim, and record accesses for attempts that end at once, without an end."""
    actor = object.__new__(Actor)
    engine = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    computed: list[Claim] = []
    actor._worker = SimpleNamespace(  # type: ignore[assignment]
        engine=engine, wallet=SimpleNamespace(address="0x" + "a" * 40), attempt=computed.append
    )
    assert actor.attempt("b" * 64, 1) == UNKNOWN
    assert computed == []
    assert claim(engine, "b" * 64, "0x" + "a" * 40, 1_000, 60) is not None
    assert actor.attempt("b" * 64, 1) == DONE
    assert [run.run for run in computed] == ["b" * 64]
