"""Services that cannot start, and invalid databases: one plain line, no value of a row, no trace."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from api.http.problems import problem_of
from api.operate.processes import Parts
from api.operate.settings import Settings
from chain.devnode.process import DevChain, DevChainNotStarted
from chain.wallets import Wallet, save
from governance.errors import DatabaseBroken
from governance.readmodel.database import open_database

LIMIT = resource.getrlimit(resource.RLIMIT_CORE)[1]
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
ID = "ab" * 32

BOTH = """
import os, resource, sys
from api import serve as serving
from api.worker import start as worker
for main in (serving.main, worker.main):
    if os.fork() == 0:
        status = main()
        print(status, *resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def test_a_part_that_cannot_start_says_one_line_and_leaves_no_core(
    deployment, tmp_path: Path
) -> None:
    """The disk is full as soon as the rows are derived (a trigger stands for it)."""
    engine = open_database(f"sqlite:///{tmp_path / 'volens.db'}")
    with engine.begin() as connection:
        for table in ("members", "subjects", "events"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER full_{table} BEFORE INSERT ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
    engine.dispose()
    for name in ("identity.json", "run.json"):
        (tmp_path / name).write_bytes((deployment.home / name).read_bytes())
    for name in ("relay", "worker"):
        save(Wallet.new(), tmp_path / "keys" / f"{name}.json")

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (LIMIT, LIMIT))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, FILES))

    done = subprocess.run(
        [sys.executable, "-c", BOTH],
        env=Settings().child_environment(tmp_path),
        capture_output=True,
        text=True,
        preexec_fn=limits,
        check=True,
    )
    assert "0x" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["part"], line["event"], line["fact"]) for line in lines] == [
        (part, "not started", "the database failed") for part in ("api", "worker")
    ]
    printed = [[int(number) for number in line.split()] for line in done.stdout.splitlines()]
    assert printed == [[1, 0, 0, FILES], [1, 0, 0, 256]]


@pytest.mark.parametrize(
    "kind",
    [
        "garbage",
        "cut in half",
        "a folder",
        "below a file",
        "nonsense",
        "postgresql://x/y",
        "postgresql://x:y/z",
        "foo://x",
    ],
)
def test_a_database_that_cannot_be_opened_is_said_to_be(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "some.db"
    if kind == "cut in half":
        open_database(f"sqlite:///{file}").dispose()
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if kind == "garbage":
        file.write_bytes(bytes(range(256)) * 20)
    if kind == "below a file":
        file.write_bytes(b"")
    url = {"a folder": f"sqlite:///{tmp_path}", "below a file": f"sqlite:///{file}/some.db"}.get(
        kind, kind
    )
    with pytest.raises(DatabaseBroken) as error:
        open_database(f"sqlite:///{file}" if kind in ("garbage", "cut in half") else url)
    assert error.value.hint
    assert "some.db" not in str(error.value)
    assert error.value.__suppress_context__
    assert problem_of(error.value).status_code == 503


@pytest.mark.parametrize("part", ["chain", "broker", "api", "worker"])
def test_no_part_imports_from_the_folder_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A module of that name would come before the standard library's, which all of them load."""
    folder, home = tmp_path / "stranger", tmp_path / "home"
    folder.mkdir()
    (folder / "socket.py").write_text("open(__file__ + '.ran', 'w')\nraise SystemExit(9)\n")
    parts = Parts(home, Settings(home=home, worker="worker"))
    parts.make_home()
    monkeypatch.chdir(folder)
    if part == "chain":
        with pytest.raises(DevChainNotStarted):
            DevChain.start(home / "chain", anvil=str(tmp_path / "no-anvil"))
    else:
        if part == "broker":
            parts.urls["chain"] = "http://127.0.0.1:9"
            parts.launch_broker()
        elif part == "api":
            parts.launch_api()
        else:
            parts.launch_worker("worker", awaited=False)
        (process,) = parts.processes.values()
        process.wait(60)  # there is no deployment, so it says so and ends
        process.kill()
    assert not (folder / "socket.py.ran").exists()


def test_an_error_of_the_database_names_no_value() -> None:
    engine = open_database("sqlite://")
    with engine.begin() as connection, pytest.raises(DatabaseError) as error:
        connection.exec_driver_sql("INSERT INTO subjects (subject) VALUES (?)", (ID,))
    assert ID not in str(error.value)
