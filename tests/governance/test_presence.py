"""Signs of life: who is alive, and which of two processes with one key goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chain.paging import Progress
from governance.presence import ALIVE_SECONDS, Presence, alive, is_alive
from governance.readmodel.database import open_database

ANN, BEN = "0x" + "a" * 40, "0x" + "b" * 40


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'volens.db'}")
    yield engine
    engine.dispose()


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_each_kind_lists_its_own_while_they_sign(engine: Engine) -> None:
    clock = Clock()
    ann = Presence(engine, ANN, "worker", clock=clock)
    Presence(engine, BEN, "worker", clock=clock)
    Presence(engine, "0x" + "c" * 40, "api", clock=clock)
    assert [instance.account for instance in alive(engine, "worker", 1_000)] == [ANN, BEN]
    clock.now += ALIVE_SECONDS
    ann._given = (0.0, False)
    ann.sign()
    assert [instance.account for instance in alive(engine, "worker", clock.now)] == [ANN]
    assert alive(engine, "worker", clock.now - ALIVE_SECONDS) != alive(engine, "worker", clock.now)
    ann.leave()
    assert alive(engine, "worker", clock.now) == []


def test_the_later_process_holds_the_key(engine: Engine) -> None:
    """The older one learns it at its next sign, and its leaving takes nothing from the later one."""
    older = Presence(engine, ANN, "worker")
    later = Presence(engine, ANN, "worker")
    done = threading.Event()
    keeper = threading.Thread(target=older.keep_signing, args=(done, 0.01), daemon=True)
    older._given = (0.0, True)
    keeper.start()
    assert older.replaced.wait(30)
    keeper.join(30)
    assert not later.replaced.is_set()
    older.leave()
    assert len(alive(engine, "worker", _now(engine))) == 1


def test_progress_is_told_and_its_end_at_once(engine: Engine) -> None:
    progress: list[Progress | None] = [Progress(3, 9)]
    presence = Presence(engine, ANN, "worker", lambda: progress[0])
    presence._given = (0.0, False)
    presence.sign()
    (own,) = alive(engine, "worker", _now(engine))
    assert (own.block, own.newest) == (3, 9)
    progress[0] = Progress(4, 9)
    presence.sign()  # a moment later: nothing is written
    (own,) = alive(engine, "worker", _now(engine))
    assert own.block == 3
    progress[0] = None
    presence.sign()
    (own,) = alive(engine, "worker", _now(engine))
    assert (own.block, own.newest) == (None, None)


def test_a_database_that_is_away_gets_no_sign_and_ends_nothing(engine: Engine) -> None:
    presence = Presence(engine, ANN, "worker")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE processes"))
    presence._given = (0.0, False)
    presence.sign()
    presence.leave()
    assert not presence.replaced.is_set()


def test_a_row_that_is_gone_is_written_again(engine: Engine) -> None:
    """A database restored from a copy has none of today's processes: nobody has taken the key."""
    presence = Presence(engine, ANN, "worker")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM processes"))
    presence._given = (0.0, False)
    presence.sign()
    assert not presence.replaced.is_set()
    assert is_alive(engine, ANN, _now(engine))
    assert not is_alive(engine, BEN, _now(engine))


def test_no_fault_of_the_database_ends_the_signing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are no outages by their class: a pool without connections, a server that only reads."""
    presence = Presence(engine, ANN, "worker")
    presence._given = (0.0, False)

    def exhausted(*_: object) -> None:
        raise PoolTimeout

    monkeypatch.setattr(engine, "begin", exhausted)
    presence.sign()
    presence.leave()


def _now(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT at FROM processes")).scalar() or 0)
