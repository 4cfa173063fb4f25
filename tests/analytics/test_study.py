"""The study in a permit's plan: what counts as one, and which runs it allows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analytics.code import params_schema_hash
from analytics.errors import ParamsError
from analytics.params import complete
from analytics.study import bound_study, check_study, find_study, may_show_study, schema_of
from api.pages.markdown import render_markdown

OUTCOME: dict[str, Any] = {
    "kind": "diagnosis",
    "index": ["icd-10-cm:C50"],
    "event": ["icd-10-cm:C79"],
    "horizon_days": 1825,
    "censoring": "exclude",
    "washout_days": 365,
}
STUDY: dict[str, Any] = {"cohort": {"age": [40, 70]}, "outcome": OUTCOME}


def plan(study: object = STUDY, *, fence: str = "```study", closing: str = "```") -> str:
    text = study if isinstance(study, str) else json.dumps(study, indent=1)
    return f"# A plan\n\nWho and what:\n\n{fence}\n{text}\n{closing}\n\nMore text.\n"


def run(**change: Any) -> str:
    return complete({**STUDY, **change}).decode()


def test_a_study_is_read_complete_and_in_one_form() -> None:
    study = find_study(plan())
    assert study is not None
    assert json.loads(study) == {
        "cohort": {"age": [40, 70], "with": [], "without": []},
        "outcome": {**OUTCOME, "lookback_days": 36_500, "risk_start_days": 1},
    }
    assert find_study(plan(json.dumps(STUDY))) == study
    assert find_study(plan().replace("\n", "\r\n")) == study


@pytest.mark.parametrize(
    "text",
    [
        plan("no JSON"),
        plan([STUDY]),
        plan({"cohort": {"age": [40, 70]}}),
        plan({**STUDY, "seed": 7}),
        plan({"outcome": {**OUTCOME, "horizon_days": 0}}),
        plan({"outcome": {**OUTCOME, "risk_start_days": 2000}}),
        plan('{"outcome": {}, "outcome": {}}'),
        plan() + plan(),
        plan(closing=""),
        # Shown as a block by Markdown, so a reader would take it for the study.
        plan(fence="~~~study", closing="~~~"),
        plan(fence="````study", closing="````"),
        plan(fence=" ```study"),
        plan(fence="> ```study"),
        plan(fence="``` Study"),
        plan() + plan(fence="~~~study", closing="~~~"),
        # In a list, in another block, in a comment that the page shows, or after a space of another
        # kind.
        plan(fence="- ```study", closing="  ```"),
        plan(fence="1. ```study", closing="   ```"),
        plan(fence="````\nAn example:\n```study", closing="```\n````"),
        plan(fence="~~~\n```study", closing="```\n~~~"),
        plan(fence="- text\n\n  ```study", closing="  ```"),
        plan(fence="\u00a0```study"),
        plan(fence="    ```study", closing="    ```"),
        plan(fence="- ```study", closing="  ```")
        + plan(fence="````\n```study", closing="```\n````"),
    ],
)
def test_what_looks_like_a_study_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParamsError):
        find_study(text)
    with pytest.raises(ParamsError):
        schema_of(text)
    assert bound_study(params_schema_hash(), text) is None


def test_a_plan_without_a_study_binds_nobody() -> None:
    text = "# A plan\n\nThe study of these people, in ```code``` and\n\n```json\n{}\n```\n"
    assert find_study(text) is None
    assert schema_of(text) == params_schema_hash()
    check_study(params_schema_hash(), None, run(outcome={**OUTCOME, "horizon_days": 30}))


def test_each_study_has_a_schema_of_its_own() -> None:
    other = {**STUDY, "outcome": {**OUTCOME, "washout_days": 364}}
    schemas = {params_schema_hash(), schema_of(plan()), schema_of(plan(other))}
    assert len(schemas) == 3
    assert bound_study(schema_of(plan()), plan()) == find_study(plan())
    assert bound_study(schema_of(plan()), plan(other)) is None
    assert bound_study(params_schema_hash(), plan()) is None


def test_runs_ask_about_the_study_with_any_model() -> None:
    schema = schema_of(plan())
    for params in (
        run(),
        run(models={"svm": ["clinical"]}, seed=3),
        run(outcome={**OUTCOME, "censoring": "event-free"}),
        complete({"analysis": "associate", **STUDY}).decode(),
    ):
        check_study(schema, plan(), params)
    without = {name: part for name, part in OUTCOME.items() if name != "censoring"}
    asked = {"analysis": "survival", "cohort": STUDY["cohort"], "outcome": without}
    check_study(schema, plan(), complete(asked).decode())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cohort": {"age": [40, 71]}}, "other people"),
        ({"cohort": {"age": [40, 70], "with": ["icd-10-cm:I10"]}}, "other people"),
        ({"outcome": {**OUTCOME, "horizon_days": 1826}}, "another outcome"),
        ({"outcome": {**OUTCOME, "washout_days": 0}}, "another outcome"),
        ({"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}}, "another outcome"),
    ],
)
def test_another_question_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ParamsError, match=why):
        check_study(schema_of(plan()), plan(), run(**change))


def test_a_run_without_an_outcome_is_about_others_than_the_study() -> None:
    """Whoever has no index diagnosis, or no known outcome, would be among them."""
    asked = {"analysis": "frequencies", "cohort": STUDY["cohort"], "sites": ["1:5:A>C"]}
    with pytest.raises(ParamsError, match="no outcome"):
        check_study(schema_of(plan()), plan(), complete(asked).decode())
    check_study(params_schema_hash(), None, complete(asked).decode())


def test_page_and_permit_read_the_same_block_as_the_study() -> None:
    """Whatever the page shows as a study binds, or cannot be asked for."""
    fences = ["```study", " ```study", "- ```study", "> ```study", "~~~study", "* - ```study"]
    for fence in [*fences, "````\n```study", "<!--\n```study", "text\n```study", "| a |\n```study"]:
        text = plan(fence=fence)
        shown = "<code>study\n" in render_markdown(text)
        try:
            bound = find_study(text) is not None
        except ParamsError:
            continue
        assert bound == shown, fence


@pytest.mark.parametrize(
    "text", [None, "# A plan without one\n", plan({"outcome": OUTCOME}), plan("not JSON")]
)
def test_without_the_plan_that_was_voted_on_nothing_runs(text: str | None) -> None:
    with pytest.raises(ParamsError):
        check_study(schema_of(plan()), text, run())


def test_what_a_reader_may_take_for_a_study_is_seen() -> None:
    outcome = json.dumps(STUDY)
    for fence in ("```study", "~~~study", "``` Study", "> ```study", "```\u0455tudy", "```json"):
        assert may_show_study(f"# Plan\n\n{fence}\n{outcome}\n```\n")
    assert not may_show_study("# Plan\n\nThe study of an outcome.\n")
