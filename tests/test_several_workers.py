"""Two workers on one PostgreSQL database: each run is computed once, whatever ends one of them.

`make soak` asks for a hundred runs, and kills workers at twenty random moments.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from extent import extent
from faults.operations import PARAMS
from faults.random_kills import ServedHome
from postgres import Postgres
from sqlalchemy import func, select

from api.demo.steps import request
from governance.readmodel.database import open_database
from governance.readmodel.tables import Claim, Output

WORKERS = ("worker", "worker-2")


@pytest.fixture(scope="module")
def two(postgres: Postgres) -> Iterator[ServedHome]:
    folder = Path(tempfile.mkdtemp(prefix="volens-two-"))
    served = ServedHome(folder / "home", postgres, WORKERS)
    yield served
    served.parts.stop()
    shutil.rmtree(folder)


def ask(two: ServedHome, count: int) -> list[str]:
    return [request(two.cast, two.permit, PARAMS) for _ in range(count)]


def await_all(two: ServedHome, runs: list[str]) -> dict[str, int]:
    """The attempts of each run, once all are sealed."""
    noor, deadline = two.cast.client("noor"), time.monotonic() + 60 + 10 * len(runs)
    while True:
        attempts = {
            run["run"]: run["attempt"]
            for run in noor.runs()
            if run["run"] in runs and run["state"] == "sealed"
        }
        if len(attempts) == len(runs):
            return attempts
        assert two.parts.ended() == {}
        assert time.monotonic() < deadline, f"{len(attempts)} of {len(runs)} runs are sealed"
        time.sleep(0.2)


@pytest.mark.campaign
def test_each_run_is_computed_once_and_both_take_some(two: ServedHome, tmp_path: Path) -> None:
    runs = ask(two, extent(6, 100))
    assert set(await_all(two, runs).values()) == {1}
    engine = open_database(two.parts.settings.database)
    with engine.connect() as connection:
        sealed = connection.execute(select(func.count()).select_from(Output)).scalar()
        claims = connection.execute(
            select(Claim.worker, Claim.token).where(Claim.run.in_(runs))
        ).all()
    engine.dispose()
    assert sealed == len(runs)
    assert {two.cast.client(name).wallet.address for name in WORKERS} == {who for who, _ in claims}
    assert {token for _, token in claims} == {1}
    assert two.cast.client("noor").health()["worker"]["count"] == 2
    assert two.judge(tmp_path) == []


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_worker_that_is_killed_costs_attempts_and_no_run(two: ServedHome, tmp_path: Path) -> None:
    """The other goes on; the killed one, started again, takes up what it had claimed."""
    chance = random.Random(6)
    for turn in range(extent(1, 20)):
        runs, victim = ask(two, 3), WORKERS[turn % len(WORKERS)]
        time.sleep(chance.uniform(0.2, 2.0))
        two.kill(victim)
        two.start_again(victim)
        assert max(await_all(two, runs).values()) <= 2
    assert two.judge(tmp_path) == []
