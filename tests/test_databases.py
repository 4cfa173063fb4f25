"""PostgreSQL as the database: the same rows as in SQLite, and the same answers when it goes away."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig import Rig
from sqlalchemy import Engine, delete, insert, select

from api.demo.postgres import Postgres
from governance import runs as queue
from governance.errors import DatabaseBroken
from governance.readmodel import queries as register
from governance.readmodel.database import OUTAGES, open_database
from governance.readmodel.tables import Consent, Row, table_of

FAR = (1 << 40) - 1  # the latest second that the contracts take


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    return postgres.url(f"d{secrets.token_hex(8)}")


@pytest.fixture
def on_postgres(rig: Rig, postgres: Postgres) -> Rig:
    name = f"d{secrets.token_hex(8)}"
    rig.database_at = lambda file: postgres.url(f"{name}_{file.removesuffix('.db')}")
    return rig


def take(worker: object) -> None:
    while not worker.step():  # type: ignore[attr-defined]
        pass


def test_a_whole_run_leaves_the_rows_that_sqlite_has(on_postgres: Rig) -> None:
    """Made by a worker, derived again, and derived in another kind of database: all the same."""
    rig = on_postgres
    worker = rig.worker()
    run = rig.request()
    worker.projection.sync()
    take(worker)
    assert register.find_run(worker.engine, run.hex()).state == "sealed"
    rig.world.revoke(rig.subjects[0])
    worker.projection.sync()
    rows = worker.projection.fingerprints()
    rig.database_at = None
    light = rig.projection("light.db")
    light.sync()
    assert light.fingerprints() == rows
    assert worker.projection.compare() == []
    worker.projection.rebuild()
    assert worker.projection.fingerprints() == rows


def test_odd_parameters_are_a_row_and_stop_nothing(on_postgres: Rig) -> None:
    """PostgreSQL takes no text with a zero in it, and an analyst may sign any bytes."""
    projection = on_postgres.projection()
    run = on_postgres.request(params=b'{"a":"\0\xff"}')
    projection.sync()
    assert register.find_run(projection._engine, run.hex()).state == "queued"


def test_every_column_of_numbers_holds_the_largest_of_the_contracts(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        for noun in Row.__subclasses__():
            table = table_of(noun)
            values = {
                column.name: FAR if column.type.python_type is int else _filler(column)
                for column in table.columns
            }
            connection.execute(delete(table))
            connection.execute(insert(table).values(values))
            assert connection.execute(select(table)).one()._mapping == values


def _filler(column: object) -> object:
    return {str: "x", bytes: b"x", bool: True}[column.type.python_type]  # type: ignore[attr-defined]


def test_processes_that_start_at_once_make_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(open_database, [url] * 8))
    assert {engine.dialect.name for engine in engines} == {"postgresql"}


def test_a_run_is_claimed_by_one_of_many(url: str) -> None:
    engine = open_database(url)
    workers = [f"{number:064x}" for number in range(8)]
    for number in range(20):
        run, begin = f"{number:064x}", threading.Barrier(len(workers))

        def claim(worker: str, run: str = run, begin: threading.Barrier = begin) -> bool:
            begin.wait()
            return queue.claim(engine, run, worker, 1_000, 60) is not None

        with ThreadPoolExecutor(len(workers)) as pool:
            mine = list(pool.map(claim, workers))
        assert mine.count(True) == 1


def test_a_server_that_ends_is_an_outage_and_no_more(on_postgres: Rig, postgres: Postgres) -> None:
    """Of a row that was being written nothing stays, and the next attempt goes on by itself."""
    projection = on_postgres.projection()
    projection.sync()
    before = projection.fingerprints()
    with pytest.raises(OUTAGES):
        _delete_until_it_ends(projection._engine, postgres)
    with pytest.raises(OUTAGES):
        projection.fingerprints()
    postgres.go()
    assert projection.fingerprints() == before
    on_postgres.world.revoke(on_postgres.subjects[0])
    projection.sync()
    assert projection.compare() == []


def _delete_until_it_ends(engine: Engine, postgres: Postgres) -> None:
    with engine.begin() as connection:
        connection.execute(delete(Consent))
        postgres.kill()
        connection.execute(select(Consent))


def test_an_address_without_a_server_is_one_plain_sentence(postgres: Postgres) -> None:
    with pytest.raises(DatabaseBroken, match="does not answer"):
        open_database(f"postgresql+psycopg://volens@/nothing?host={postgres.folder / 'run'}")
    with pytest.raises(DatabaseBroken, match="does not answer"):
        open_database("postgresql+psycopg://volens:secret@127.0.0.1:1/volens")
