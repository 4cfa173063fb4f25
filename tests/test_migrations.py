"""A database of an earlier release: state is kept and changed, derived rows are made anew."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from rig import Rig
from sqlalchemy import Engine, create_engine, delete, func, insert, inspect, select, text, update

from api.demo.postgres import Postgres
from governance.errors import DatabaseBroken
from governance.readmodel import schema
from governance.readmodel.database import open_database
from governance.readmodel.projection import Projection
from governance.readmodel.tables import (
    PROJECTION,
    Approval,
    Block,
    DerivedSchema,
    Event,
    Row,
    SchemaVersion,
    table_of,
)

MIGRATIONS = Path(schema.__file__).parent / "migrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.db'}"
    else:
        yield postgres.url(f"d{secrets.token_hex(8)}")


def make_first_release(url: str) -> None:
    """The tables as they were before there were migrations: no version, one approval."""
    engine = create_engine(url)
    with engine.begin() as connection:
        schema.migrate(connection, "", schema.VERSIONS[0])
        connection.execute(text("DROP TABLE alembic_version"))
        Row.metadata.create_all(connection, tables=[table_of(noun) for noun in PROJECTION])
        connection.execute(insert(Approval).values(**APPROVAL))
        connection.execute(insert(Block).values(number=1, hash="a" * 64, timestamp=1))
    engine.dispose()


APPROVAL = {
    "run": "a" * 64,
    "attempt": 1,
    "checker": "0x" + "b" * 40,
    "decision": "{}",
    "signature": "c",
    "deadline": 1 << 40,
}


def differences(engine: Engine) -> list[object]:
    """What alembic would change so that the database has exactly the tables of the code."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        own = Row.metadata.tables.keys() - {SchemaVersion.__tablename__}
        return [
            difference
            for difference in compare_metadata(context, Row.metadata)
            if difference[0] not in ("add_table", "remove_table") or difference[1].name in own
        ]


def test_the_scripts_are_those_that_the_code_knows() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_current_head() == schema.VERSIONS[-1]
    names = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(names)) == schema.VERSIONS


def test_derived_tables_of_another_shape_have_a_version_of_their_own() -> None:
    """Else an older release would take the shape of a newer one for an earlier, and drop its rows.

    Whoever changes a derived table adds a script, empty if no state changes, and both values here.
    """
    assert schema.VERSIONS[-1] == "0006"
    assert schema.derived_fingerprint() == (
        "f8d9a013e9c513c1aec69e1f7b2ec1f8b5b97fd35e1cc90bfc90a1641d0797fa"
    )


def test_a_first_release_becomes_todays_and_keeps_what_cannot_be_derived(url: str) -> None:
    make_first_release(url)
    engine = open_database(url)
    assert differences(engine) == []
    with engine.connect() as connection:
        assert dict(connection.execute(select(Approval)).one()._mapping) == APPROVAL
        assert connection.execute(select(SchemaVersion.version_num)).scalar() == schema.VERSIONS[-1]
        # Its shape was unknown: it is derived again.
        assert connection.execute(select(func.count()).select_from(Block)).scalar() == 0
    assert differences(open_database(url)) == []


def test_processes_that_start_at_once_change_it_once(url: str) -> None:
    make_first_release(url)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(open_database, [url] * 4))
    assert [differences(engine) for engine in engines] == [[]] * 4


def test_a_new_database_is_like_a_changed_one(url: str) -> None:
    engine = open_database(url)
    assert differences(engine) == []
    with engine.connect() as connection:
        assert connection.execute(select(SchemaVersion.version_num)).scalars().all() == [
            schema.VERSIONS[-1]
        ]


def test_a_database_of_a_newer_release_is_left_alone(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(update(SchemaVersion).values(version_num="9999"))
        connection.execute(insert(Block).values(number=1, hash="a" * 64, timestamp=1))
    with pytest.raises(DatabaseBroken, match="a newer release"):
        open_database(url)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(Block)).scalar() == 1


def test_a_change_that_fails_leaves_the_old_tables(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_first_release(url)
    engine = create_engine(url)
    before = sorted(inspect(engine).get_table_names())

    def disk_full() -> str:
        raise OSError

    monkeypatch.setattr(schema, "derived_fingerprint", disk_full)  # asked for after the scripts
    with pytest.raises(DatabaseBroken):
        open_database(url)
    assert sorted(inspect(engine).get_table_names()) == before


def test_derived_tables_of_another_shape_are_written_again(rig: Rig) -> None:
    """The rows come back by themselves, from the ledger, and are the same."""
    projection = rig.projection("shape.db")
    projection.sync()
    rows, engine = projection.fingerprints(), projection._engine
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE events ADD COLUMN more INTEGER"))
        connection.execute(update(DerivedSchema).values(fingerprint="b" * 64))
    engine.dispose()
    again: Projection = rig.projection("shape.db")
    assert differences(again._engine) == []
    with again._engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(Event)).scalar() == 0
    again.sync()
    assert again.fingerprints() == rows


def test_a_database_that_is_up_to_date_is_opened_while_another_process_writes(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(delete(Event))
        open_database(url).dispose()  # waits for no lock
