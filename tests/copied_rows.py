"""The rows of any database as a SQLite file, for tests that injure, multiply or judge them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select

from governance.readmodel.database import open_database
from governance.readmodel.tables import Row


def copy_rows(engine: Engine, path: Path) -> Path:
    """Write every row to a new SQLite file."""
    copy = open_database(f"sqlite:///{path}")
    with engine.connect() as rows, copy.begin() as written:
        for table in Row.metadata.sorted_tables:
            written.execute(delete(table))
            copied = [dict(row._mapping) for row in rows.execute(select(table))]
            if copied:
                written.execute(insert(table), copied)
    copy.dispose()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path
