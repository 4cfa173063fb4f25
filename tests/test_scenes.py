"""The further scenes of the demo: each shows one topic and reports whether its checks passed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.demo import attacks, others
from api.demo.others import SCENES, play_scene
from api.demo.wording import rule


@pytest.mark.parametrize("name", SCENES)
def test_each_holds_and_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few attacks and kills of each: all of them have tests of their own."""
    monkeypatch.setattr(others, "KILLS", 3)
    wordy = max(attacks.TABLE, key=lambda one: len(rule(one.expected)))
    monkeypatch.setattr(attacks, "TABLE", [*attacks.TABLE[::6], wordy])
    said: list[str] = []
    assert play_scene(name, said.append)
    assert name != "attacks" or any(
        f"{rule(wordy.expected)}  {wordy.name}" in line for line in said
    )
    assert said[-1].endswith(f"DONE: {name}")
    assert len(said) >= 6


def test_a_failing_scene_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that an attack must meet is another one: the scene names it and is not proven."""
    first = attacks.TABLE[0]
    monkeypatch.setattr(attacks, "TABLE", [replace(first, expected="another rule")])
    said: list[str] = []
    assert not play_scene("attacks", said.append)
    assert any("WRONG" in line and first.name in line and first.expected in line for line in said)
    assert "NOT PROVEN" in said[-1]
