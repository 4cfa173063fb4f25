"""Rehearsals on synthetic people: before a permit, without a service, and marked as meaningless."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

QUICK = {
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "models": {"logistic": ["genes"]},
    "folds": 2,
    "repeats": 2,
    "permutations": 19,
    "bootstraps": 0,
}


def write(document: object) -> list[str]:
    Path("params.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return ["run", "rehearse", "--params", "params.json", "--people", "60"]


@pytest.fixture
def nowhere(volens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder without keys, identity or services: there is nobody that could be asked for
    anything.
    """
    home = tmp_path / "nowhere"
    monkeypatch.setenv("VOLENS_HOME", str(home))
    return home


def test_nothing_is_needed_and_nothing_is_asked(nowhere: Path, volens) -> None:
    """And the same parameters give the same rehearsal."""
    result, again = (volens(*write(QUICK), "--json") for _ in range(2))
    assert result.code == 0, result
    answer = json.loads(result.out)
    assert answer["result"] == json.loads(again.out)["result"]
    assert "The people are synthetic" in answer["note"]
    assert json.loads(answer["params"])["folds"] == 2  # complete, as it would be signed
    assert answer["result"]
    assert float(answer["record"]["seconds"]["compute"]) > 0
    assert answer["record"]["peakMemory"] > 0
    assert not nowhere.exists()


def test_a_network_over_series_is_rehearsed(nowhere: Path, volens) -> None:
    """Its libraries are loaded before its process is confined."""
    diagnosis = {"kind": "diagnosis", "index": ["icd-10-cm:C50"], "event": ["icd-10-cm:C79"]}
    outcome = diagnosis | {"horizon_days": 1825, "censoring": "exclude"}
    asked = {"series": {"variables": ["steps_per_day"]}, "explain": ["attention"]}
    models = {"models": {"lstm": ["series"]}, "outcome": outcome}
    result = volens(*write(QUICK | models | asked), "--json")
    assert result.code == 0, result
    answer = json.loads(result.out)
    assert json.loads(answer["params"])["series"]["days"] == 84
    assert [row["model"] for row in answer["result"]["rows"]] == ["lstm"]
    assert answer["result"]["explanations"][0]["explanation"] == "attention"
    result = volens(*write(QUICK | models | asked | {"outcome": QUICK["outcome"]}))
    assert result.code != 0
    assert "series end on the index day" in result.out + result.err


def test_the_services_are_left_alone_where_they_run(deployment, volens) -> None:
    """The same people's data lie in the bucket beside it: no object is fetched, no key asked
    for, nothing recorded.
    """

    def seen() -> tuple[object, ...]:
        return (
            deployment.head(),
            (deployment.home / "broker" / "journal.jsonl").read_bytes(),
            (deployment.home / "bucket" / "requests.log").read_bytes(),
            sorted(path for path in deployment.home.rglob("*") if path.is_file()),
        )

    before = seen()
    assert before[2]  # the bucket does write down who asks it
    result = volens(*write(QUICK))
    assert (result.code, result.out.startswith("60 synthetic people")) == (0, True)
    assert seen() == before
    assert "What would be sealed" in result.out
    assert "its metrics mean nothing" in " ".join(volens("run", "rehearse", "--help").out.split())


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("zq", "The file of parameters cannot be read"),
        ("[]", "not one JSON object"),
        ('{"folds":2,"folds":3}', "The file of parameters cannot be read"),
        ('{"folds":NaN}', "cannot be read"),
        ({**QUICK, "folds": 99}, "folds"),
        ({**QUICK, "models": {}}, "models"),
        ({**QUICK, "models": {"oracle": ["genes"]}}, "models"),
        ({**QUICK, "permits": "all"}, "may have only"),
        ({**QUICK, "repeats": 1}, "repeats"),
        ({"folds": 2}, "outcome"),
    ],
)
def test_bad_parameters_are_refused_before_anything_starts(
    nowhere: Path, volens, document: object, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.worker.sandbox import ForkServer

    def start(_: ForkServer) -> None:
        raise AssertionError("a process was started for it")

    monkeypatch.setattr(ForkServer, "child", start)
    result = volens(*write(document))
    assert result.code == 2, result
    assert sentence in " ".join(result.err.split())
    assert not nowhere.exists()


@pytest.mark.parametrize("people", ["9", "2501", "many"])
def test_the_number_of_synthetic_people_is_limited(nowhere: Path, volens, people: str) -> None:
    assert volens(*write(QUICK)[:-1], people).code == 2


def test_a_failing_rehearsal_gives_a_hint(nowhere: Path, volens) -> None:
    """Ten invented people are too few for two folds with ten of each outcome: said as a run would
    say it.
    """
    result = volens(*write({**QUICK, "folds": 10})[:-1], "10")
    assert result.code == 2, result
    assert "too few people" in result.err
    assert len(result.err.strip().splitlines()) >= 2  # what it is, and what to do


def test_a_missing_file_is_named(nowhere: Path, volens) -> None:
    assert (
        "There is no such file of parameters"
        in volens("run", "rehearse", "--params", "none.json").err
    )
