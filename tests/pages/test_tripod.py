"""The report of a run: what TRIPOD+AI asks, filled from its parameters, its permit and its result."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from quiet import NOISE_KEY

from analytics.params import complete, parse_params
from analytics.run import run
from analytics.sample_size import least_to_develop
from analytics.simulate.rehearsal import invent
from api.pages import result_view, tripod
from chain.vocabulary import PermitStatus
from governance.readmodel.tables import Permit

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
ASKED: dict[str, dict[str, Any]] = {
    "evaluate": {
        "outcome": OUTCOME,
        "models": {"logistic": ["clinical"]},
        "genes": {"source": "none"},
        "folds": 2,
        "permutations": 19,
        "bootstraps": 0,
    },
    "survival": {
        "analysis": "survival",
        "outcome": OUTCOME,
        "strata": ["er_positive"],
        "permutations": 19,
        "bootstraps": 50,
    },
}
PERMIT = Permit(
    permit="aa" * 32,
    dataset="bb" * 32,
    applicant="0x" + "11" * 20,
    status=PermitStatus.APPROVED,
    expiry=2**40 - 1,
    need=1,
    categories=68,
    code="cc" * 32,
    params_schema="dd" * 32,
    minimum=10,
    output_classes=3,
    questions=12,
    document="ee" * 32,
    request_hash="ff" * 32,
    yes=2,
    no=1,
)
ATTEMPT = {"attempt": 1, "granted": 160, "block": 40, "record": None}
BY_THE_AUTHORS = "2 3a 3b 3c 6a 6c 8b 8c 9c 18a 18b 19 20b 25 26 27a 27b 27c".split()


@cache
def computed(analysis: str) -> bytes:
    params = complete(ASKED[analysis])
    people = invent(parse_params(params), 160, 1)
    return run(params, people, 10, noise_key=NOISE_KEY).result


def study_of(analysis: str, opened: bool = True, **changes: Any) -> tripod.Study:
    params = json.loads(complete(ASKED[analysis] | changes))
    run = {
        "params": json.dumps(params),
        "codeHash": "cc" * 32,
        "paramsHash": "99" * 32,
        "requested": 30,
        "attempts": [ATTEMPT],
        "outputs": [{"attempt": 1, "release": {"block": 44}}],
    }
    result = json.loads(computed(analysis)) if opened else None
    return tripod.Study(run, params, PERMIT, "A plan", "A hospital's cohort", result)


def items_of(study: tripod.Study) -> dict[str, tripod.Item]:
    return {item.number: item for item in tripod.fill(study)}


@pytest.mark.parametrize("analysis", tripod.PREDICTS)
def test_all_items_are_there_and_the_authors_are_left_what_nobody_recorded(analysis: str) -> None:
    items = items_of(study_of(analysis))
    assert len(items) == 52
    assert all(not items[number].answer for number in BY_THE_AUTHORS)
    filled = [number for number, item in items.items() if item.answer]
    assert len(filled) >= 28
    assert "None" not in " ".join(item.answer for item in items.values())


def test_it_says_what_the_record_says() -> None:
    study = study_of("evaluate")
    items, result = items_of(study), study.result or {}
    assert "tumour spreads within 5 years" in items["8a"].answer
    assert "2 folds" in items["12a"].answer
    assert "160 people" in items["5a"].answer
    assert "block 40" in items["5a"].answer
    assert "2 votes for, 1 against" in items["17"].answer
    row = result["rows"][0]
    assert f"AUC {row['auc']} % (95 %: {row['auc_interval'][0]}" in items["23a"].answer
    assert all(str(step["people"]) in items["20a"].answer for step in result["flow"])
    assert "160 people" in items["21"].answer
    assert "To develop a regression of 4 columns takes about" in items["10"].answer
    assert "block 30" in items["9a"].answer


def test_a_finding_is_not_followed_and_one_that_its_data_defines_is_marked() -> None:
    outcome = {"kind": "finding", "variable": "luminal_a"}
    asked = {"genes": {"source": "none"}, "assays": ["rna"], "models": {"logistic": ["rna"]}}
    items = items_of(study_of("evaluate", opened=False, outcome=outcome, **asked))
    assert "PAM50" in items["8a"].answer
    assert "is circular" in items["8a"].answer
    assert any("Nobody is followed" in item.answer for item in items.values())
    assert any("Of each assay (rna)" in item.answer for item in items.values())
    page = result_view.describe(
        {"analysis": "evaluate", "outcome": outcome, "granted": 40, "rows": [], "curves": []}, {}
    )
    assert "is circular" in dict(page["facts"])["Not independent of the data"]
    other = outcome | {"variable": "lobular"}
    page = result_view.describe(
        {"analysis": "evaluate", "outcome": other, "granted": 40, "rows": [], "curves": []}, {}
    )
    assert dict(page["facts"])["Outcome"] == "who has the finding “lobular histology”"
    assert "Not independent of the data" not in dict(page["facts"])


def test_what_only_the_result_says_is_told_apart_from_what_nobody_recorded() -> None:
    closed = items_of(study_of("evaluate", opened=False))
    unopened = {number for number, item in closed.items() if not item.opened}
    assert unopened == {"10", "20a", "21", "23a", "23b"}
    assert not any(closed[number].answer for number in unopened)


def test_groups_that_were_compared_are_said_and_none_where_none_were() -> None:
    assert "oestrogen receptor" in items_of(study_of("survival"))["12d"].answer
    assert not items_of(study_of("evaluate"))["14"].answer
    compared = study_of("evaluate", opened=False, fairness=["er_positive"])
    assert "oestrogen receptor" in items_of(compared)["14"].answer


def test_a_withheld_number_is_said_to_be_withheld() -> None:
    study = study_of("evaluate")
    rows = [{"model": "logistic", "feature_set": "clinical", "p": "0.0500"}]
    items = items_of(replace(study, result={**(study.result or {}), "rows": rows}))
    assert items["23a"].answer == "logistic on clinical data: withheld."
    without = {name: value for name, value in (study.result or {}).items() if name != "events"}
    assert not items_of(replace(study, result=without))["10"].answer


def test_the_least_sample_size_is_the_published_one() -> None:
    """Pre-eclampsia, 5 % with the outcome, 30 columns: 5,249 (Riley et al. 2020, the authors round
    R² to 0.05 first).
    """
    assert least_to_develop(0.05, 30) == pytest.approx(5249, rel=0.02)
    assert least_to_develop(0.5, 1) == 385  # of so few columns, the share itself decides
    assert least_to_develop(0.2, 40) > 3 * least_to_develop(0.2, 10)
