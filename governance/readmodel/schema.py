"""Makes the tables, and brings those of an earlier release up to date.

1. State cannot be derived, so its tables are changed step by step, by the scripts in `migrations`
   (alembic).
2. Derived tables that differ from this release's are dropped and made anew: the next projection
   writes their rows again.
Nothing of it is done to a database of a newer release.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, func, insert, inspect, select

from governance.errors import DatabaseBroken
from governance.readmodel.tables import (
    PROJECTION,
    DerivedSchema,
    PinnedLedger,
    Row,
    SchemaVersion,
    table_of,
)

# Scripts in `migrations/versions`, in order. The first describes the tables from before there were
# any scripts: such a database names no version.
VERSIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
_MAKING_TABLES = 0x766F6C656E73  # "volens", the name of a lock
_DERIVED = [table_of(noun) for noun in PROJECTION]


def prepare(engine: Engine) -> None:
    """Make what is missing, or change what is of an earlier release, in one transaction.

    Raises DatabaseBroken for a database of a newer release, and the driver's errors. A database
    that is up to date is only read: a long write of another process does not hold up a start.
    """
    with engine.connect() as connection:
        if _is_current(connection):
            return
    with engine.begin() as connection:
        _keep_others_out(connection)
        names = inspect(connection).get_table_names()
        if PinnedLedger.__tablename__ not in names:
            Row.metadata.create_all(connection)
            connection.execute(insert(SchemaVersion).values(version_num=VERSIONS[-1]))
            connection.execute(insert(DerivedSchema).values(fingerprint=derived_fingerprint()))
        elif not _is_current(connection):
            _upgrade(connection, _version(connection, names))


def _is_current(connection: Connection) -> bool:
    names = inspect(connection).get_table_names()
    return (
        _version(connection, names) == VERSIONS[-1]
        and connection.execute(select(DerivedSchema.fingerprint)).scalar() == derived_fingerprint()
    )


def _version(connection: Connection, names: list[str]) -> str:
    if SchemaVersion.__tablename__ not in names:
        return VERSIONS[0]
    return str(connection.execute(select(SchemaVersion.version_num)).scalar())


def _keep_others_out(connection: Connection) -> None:
    """Several processes start at once, and one of them makes the tables."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MAKING_TABLES)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection, version: str) -> None:
    if version not in VERSIONS:
        raise DatabaseBroken(
            "a newer release of volens has changed this database",
            "run that release or a later one, or name another database: VOLENS_DATABASE_URL",
        )
    if version != VERSIONS[-1]:
        migrate(connection, version, VERSIONS[-1])
    Row.metadata.drop_all(connection, tables=_DERIVED)
    Row.metadata.create_all(connection, tables=_DERIVED)
    connection.execute(delete(DerivedSchema))
    connection.execute(insert(DerivedSchema).values(fingerprint=derived_fingerprint()))


def migrate(connection: Connection, version: str, target: str) -> None:
    """Run the scripts from `version` ("": an empty database) to `target`, in the transaction of the
    caller.
    """
    # Imported only where a database is changed: every start would load it for nothing.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if version:
        command.stamp(config, version)
    command.upgrade(config, target)


@cache
def derived_fingerprint() -> str:
    """A hash of names, types, keys and indexes of the derived tables."""
    described = {
        table.name: {
            "columns": [
                [column.name, str(column.type), column.primary_key, column.nullable]
                for column in table.columns
            ],
            "indexes": sorted(
                [str(index.name), *(str(part) for part in index.expressions)]
                for index in table.indexes
            ),
        }
        for table in _DERIVED
    }
    return sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
