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

import httpx
import pytest
from asked_runs import WORKERS, ask, await_all
from extent import extent
from fastapi.routing import APIRoute
from faults.random_kills import ServedHome
from sqlalchemy import func, select

from api.demo.postgres import Postgres
from api.errors import NotAvailable
from api.pages.site import ROUTERS
from governance.readmodel.database import open_database
from governance.readmodel.tables import Claim, Output


@pytest.fixture(scope="module")
def two(postgres: Postgres) -> Iterator[ServedHome]:
    folder = Path(tempfile.mkdtemp(prefix="volens-two-"))
    served = ServedHome(folder / "home", postgres, WORKERS)
    yield served
    served.parts.stop()
    shutil.rmtree(folder)


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


def test_every_page_is_there_also_on_postgresql(two: ServedHome) -> None:
    """Those without an id in their address, for a visitor and for each role."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    paths = {route.path for route in routes if "GET" in route.methods and "{" not in route.path}
    assert {"/", "/trail", "/runs"} < paths
    for name in ("", "ada", "noor", "pia", "vera", "rita", "omar"):
        for path in sorted(paths):
            assert page_of(two, path, name).status_code < 500, (name, path)


def test_a_database_that_is_away_is_an_outage_and_no_fault_of_the_program(
    two: ServedHome, postgres: Postgres
) -> None:
    postgres.kill()
    try:
        for path in ("/", "/runs", "/trail"):
            shown = page_of(two, path)
            assert (shown.status_code, "The database does not answer" in shown.text) == (503, True)
        with pytest.raises(NotAvailable, match="The database does not answer"):
            two.cast.client("noor").permits()
    finally:
        postgres.go()
    assert page_of(two, "/trail").status_code == 200


def page_of(two: ServedHome, path: str, name: str = "") -> httpx.Response:
    headers = {"Accept": "text/html"}
    if name:
        client = two.cast.client(name)
        client.sign_in()
        headers["Cookie"] = f"volens-session={client._token}"
    return httpx.get(two.parts.urls["api"] + path, headers=headers, timeout=30.0)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_worker_that_is_killed_costs_attempts_and_no_run(two: ServedHome, tmp_path: Path) -> None:
    """The other goes on; the killed one, started again, takes up what it had claimed."""
    draw = random.Random(6)
    for turn in range(extent(1, 20)):
        runs, victim = ask(two, 3), WORKERS[turn % len(WORKERS)]
        time.sleep(draw.uniform(0.2, 2.0))
        two.kill(victim)
        two.start_again(victim)
        assert max(await_all(two, runs).values()) <= 2
    assert two.judge(tmp_path) == []
