"""The further scenes of the demo: each shows one topic and reports whether its checks passed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from api.demo import attacks, methods, others
from api.demo.others import SCENES, play_scene
from api.demo.wording import rule
from api.pages.result_view import Finding, Table

TEMPLATE = (methods.TEMPLATES / "report.html").read_text()
BEGIN_IN_TEMPLATE = tuple(re.findall(r"<!-- (?:end of )?methods -->", TEMPLATE))


@pytest.mark.parametrize("name", SCENES)
def test_each_holds_and_says_so(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A few attacks, kills and computations of each: all of them have tests of their own."""
    monkeypatch.setattr(others, "KILLS", 3)
    monkeypatch.setenv("VOLENS_HOME", str(tmp_path))
    few = {"permutations": 19, "bootstraps": 0, "folds": 2, "repeats": 2}
    asked = methods.ASKED["simulated"] | {"models": {"logistic": ["clinical"]}, "explain": []}
    monkeypatch.setattr(
        methods,
        "ASKED",
        {
            "survival": methods.ASKED["survival"] | few,
            "clusters": methods.ASKED["clusters"] | {"resamples": 20, "references": 19},
            "simulated": asked | few,
            "measured": methods.ASKED["measured"] | few | {"models": {"lstm": ["series"]}},
        },
    )
    monkeypatch.setattr(methods, "SIMULATED", 40)
    wordy = max(attacks.TABLE, key=lambda attack: len(rule(attack.expected)))
    monkeypatch.setattr(attacks, "TABLE", [*attacks.TABLE[::6], wordy])
    monkeypatch.setattr(attacks, "CARE_TABLE", attacks.CARE_TABLE[::6])
    lines: list[str] = []
    assert play_scene(name, lines.append)
    assert name != "attacks" or any(
        f"{rule(wordy.expected)}  {wordy.name}" in line for line in lines
    )
    # Its programs are installed for the tests, so the scene starts it by itself.
    assert name != "reach" or any("database   PostgreSQL" in line for line in lines)
    assert lines[-1].endswith(f"DONE: {name}")
    assert len(lines) >= 6
    assert (name == "science") == (tmp_path / "demo-science.html").exists()


def test_the_panels_of_science_are_put_into_the_report_of_the_demo_once(tmp_path: Path) -> None:
    """Whatever else it says stays, and a second play replaces the panels of the first."""
    panel = {
        "name": "research",
        "question": "How well?",
        "gains": [],
        "withheld": [{"what": "people", "why": "few <were> left out"}],
    }
    table = Table("Risks", ["people", "risk"], [["all", "20"]])
    (tmp_path / "demo").mkdir()
    report = tmp_path / "demo" / "report.html"
    report.write_text(f"<p>before</p>{methods.BEGIN}\n{methods.END}<p>after</p>")
    for title in ("A first risk", "A second risk"):
        finding = Finding(title, "Most stay without.", "<svg></svg>", table)
        assert methods.write(tmp_path, [panel | {"findings": [finding]}]) == report
    text = report.read_text()
    assert text.startswith("<p>before</p>")
    assert text.endswith("<p>after</p>")
    assert "A first risk" not in text
    assert text.count("A second risk") == 2  # the heading, and its table
    assert "<td>20</td>" in text
    assert "few &lt;were&gt; left out" in text
    assert BEGIN_IN_TEMPLATE == (methods.BEGIN, methods.END)


def test_a_failing_scene_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that an attack must meet is another one: the scene names it and is not proven."""
    first = attacks.TABLE[0]
    monkeypatch.setattr(attacks, "TABLE", [replace(first, expected="another rule")])
    lines: list[str] = []
    assert not play_scene("attacks", lines.append)
    assert any("WRONG" in line and first.name in line and first.expected in line for line in lines)
    assert "NOT PROVEN" in lines[-1]
