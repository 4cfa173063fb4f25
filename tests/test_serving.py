"""Which services `volens serve` starts again, and after which pauses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from api.operate.processes import Parts
from api.operate.serving import LONGEST_PAUSE, STEADY_SECONDS, Keeper
from api.operate.settings import Settings
from api.operate.startup import REPLACED
from chain.errors import ChainError


@dataclass
class Fake:
    """Services that end when a test says so, and what was said of them."""

    codes: dict[str, int] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    fault: Exception | None = None
    used: bool = False
    now: float = 1000.0

    def ended(self) -> dict[str, int]:
        return dict(self.codes)

    def start_again(self, name: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.started.append(name)
        del self.codes[name]

    def key_in_use(self, name: str) -> bool:
        return self.used

    def tell(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def parts() -> Fake:
    return Fake()


@pytest.fixture
def keeper(parts: Fake) -> Keeper:
    return Keeper(cast("Any", parts), lambda: parts.now)


def test_a_service_is_said_to_have_ended_and_started_after_a_pause(
    parts: Fake, keeper: Keeper
) -> None:
    parts.codes = {"broker": -9}
    keeper.check()
    assert parts.lines == [
        "broker has ended (killed by signal 9). It is started again in 1 s: see logs/broker.log in the home folder."
    ]
    parts.now += 0.9
    keeper.check()
    assert parts.started == []
    parts.now += 0.1
    keeper.check()
    assert (parts.started, parts.lines[1:]) == (["broker"], ["broker was started again."])


def test_pauses_double_up_to_a_minute_and_are_short_again_after_a_steady_one(
    parts: Fake, keeper: Keeper
) -> None:
    pauses = []
    for _ in range(9):
        parts.codes = {"api": 1}
        keeper.check()
        began = parts.now
        while "api" in parts.codes:
            parts.now += 0.5
            keeper.check()
        pauses.append(parts.now - began)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    parts.now += STEADY_SECONDS
    parts.codes = {"api": 1}
    keeper.check()
    assert "started again in 1 s" in parts.lines[-1]


def test_one_that_cannot_be_started_is_tried_again_and_the_others_go_on(
    parts: Fake, keeper: Keeper
) -> None:
    parts.codes, parts.fault = {"chain": 1}, ChainError("port 5 is taken", "name another port")
    keeper.check()
    parts.now += 1
    keeper.check()
    assert parts.lines[-1] == "chain could not be started: port 5 is taken"
    parts.fault, parts.codes = None, {"chain": 1, "worker": 1}
    keeper.check()
    assert parts.lines[-2].startswith("chain has ended (exit code 1). It is started again in 2 s")
    parts.now += 1
    keeper.check()
    assert parts.started == ["worker"]
    parts.now += 1
    keeper.check()
    assert parts.started == ["worker", "chain"]


def test_one_whose_key_another_process_uses_stays_ended(parts: Fake, keeper: Keeper) -> None:
    """To start it again would end the other one, in turn and without an end."""
    parts.codes, parts.used = {"worker": REPLACED}, True
    keeper.check()
    assert parts.lines == [
        "worker has ended: another process uses its key. It is started again when that one has gone."
    ]
    parts.now += 1000
    keeper.check()
    assert (parts.started, len(parts.lines)) == ([], 1)
    parts.used = False
    keeper.check()
    assert parts.started == []  # looked at a moment ago
    parts.now += 1000
    keeper.check()
    assert parts.started == ["worker"]


def test_a_service_started_again_keeps_its_address(tmp_path) -> None:
    """The others go on asking there, whoever listens at it meanwhile."""
    parts = Parts(tmp_path, Settings(home=tmp_path))
    parts.urls["api"] = "http://127.0.0.1:4711"
    parts.serving = True
    assert parts._port("api") == 4711
