"""Groups compared on held-out predictions: the numbers, the intervals and what is printed of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quiet import NOISE, NOISE_KEY, OPEN_KEY, QUIET, subjects
from sklearn.metrics import roc_auc_score

from analytics.disclosure.fairness import gap_interval, group_step, perturb_group, show_gap
from analytics.disclosure.noise import BOUND, KEY_BYTES, Noise
from analytics.errors import ParamsError
from analytics.evaluate import Cells, Scores
from analytics.fairness_run import MEASURES, Group, measure_groups, weighted_auc
from analytics.params import complete, parse_params
from analytics.people import Input
from analytics.readers.person import Person
from analytics.run import run
from analytics.simulate.rehearsal import invent
from analytics.simulate.synthetic import simulate_people
from api.pages.output_checks import check_result
from api.pages.result_view import describe

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
ASKED: dict[str, Any] = {
    "outcome": OUTCOME,
    "models": {"logistic": ["clinical"]},
    "permutations": 19,
    "bootstraps": 0,
    "folds": 2,
}
# MetricFrame of fairlearn 0.15.0 on `predictions`: by_group (not, in the group), and
# difference(method="between_groups").
FAIRLEARN = {
    "auc": ((0.8708333333333333, 0.6625), 0.20833333333333337),
    "tpr": ((0.875, 0.7), 0.17500000000000004),
    "fpr": ((0.4, 0.4666666666666667), 0.06666666666666665),
}


def predictions() -> tuple[Scores, np.ndarray, np.ndarray]:
    """Of 240 people: scores, outcomes, and who is in a group for which they are worse."""
    at = np.arange(240)
    group, event = at * 7 % 3 == 0, (at * 5 % 4 == 0).astype(np.int64)
    risen = 0.3 * event * np.where(group, 0.3, 1) + 0.05 * group
    return scores_of(np.round((at * 37 % 101) / 101 * 0.6 + risen, 3)[None, :]), event, group


def scores_of(probabilities: np.ndarray) -> Scores:
    nothing = {"auc": 0.0, "error": 0.0, "between_folds": 0.0, "brier": None}
    return Scores(
        Cells(0, 0, 0, 0),
        placements=np.zeros(probabilities.shape[1]),
        probabilities=probabilities,
        positives=probabilities > 0.35,
        **nothing,
    )


def measured(
    scores: Scores, event: np.ndarray, group: np.ndarray, families: np.ndarray | None = None
) -> list[Group]:
    groups = [("no", np.flatnonzero(~group)), ("yes", np.flatnonzero(group))]
    return measure_groups(scores, event, groups, families, 1)


def test_groups_and_their_differences_are_those_of_fairlearn() -> None:
    no, yes = measured(*predictions())
    for at, name in enumerate(MEASURES):
        by_group, difference = FAIRLEARN[name]
        assert no.measured[0, at] == pytest.approx(by_group[0], abs=1e-12)
        assert yes.measured[0, at] == pytest.approx(by_group[1], abs=1e-12)
        gap = yes.measured[0, at] - no.measured[0, at]
        assert abs(gap) == pytest.approx(difference, abs=1e-12)
    assert [len(no.with_event) + len(no.without), len(yes.with_event) + len(yes.without)] == [
        160,
        80,
    ]


def test_a_weighted_auc_is_that_of_people_who_are_there_so_often() -> None:
    draw = np.random.default_rng(1)
    score, event = np.round(draw.random(60), 1), np.arange(60) % 2  # with ties
    weights = draw.integers(0, 4, (5, 60)).astype(np.float64)
    for auc, weight in zip(weighted_auc(score, event, weights), weights, strict=True):
        copies = np.repeat(np.arange(60), weight.astype(np.int64))
        assert auc == pytest.approx(roc_auc_score(event[copies], score[copies]), abs=1e-12)


def test_an_interval_is_as_wide_as_people_differ() -> None:
    """The standard error of a rate of n people, and wider where relatives are drawn together."""
    draw = np.random.default_rng(2)
    event, group = np.arange(800) % 2, np.arange(800) % 4 < 2
    scores = scores_of(draw.random((1, 800)))
    gaps = np.subtract(*(measures.measured[1:, 1] for measures in measured(scores, event, group)))
    rate = scores.positives[0]
    expected = sum(
        rate[(event == 1) & inside].var() / ((event == 1) & inside).sum()
        for inside in (group, ~group)
    )
    assert gaps.std() == pytest.approx(np.sqrt(expected), rel=0.12)
    twice = scores_of(np.repeat(scores.probabilities[:, :400], 2, axis=1))
    both = [np.repeat(of[:400], 2) for of in (event, group)]
    alone = np.subtract(*(measures.measured[1:, 1] for measures in measured(twice, *both))).std()
    together = np.subtract(
        *(
            measures.measured[1:, 1]
            for measures in measured(twice, *both, np.repeat(np.arange(400), 2))
        )
    ).std()
    assert together > 1.25 * alone  # the square root of 2


def test_a_group_has_the_noise_of_its_people() -> None:
    """The same people give the same numbers, another key others; the interval counts the noise."""
    exact, ids = (0.8, 0.7, 0.4), subjects(200)
    quiet, noisy, again, other = (
        perturb_group(noise, "yes: logistic", exact, ids[:60], ids[60:])
        for noise in (QUIET, NOISE, Noise(NOISE_KEY), Noise(b"o" * KEY_BYTES))
    )
    assert quiet.values == exact
    assert quiet.parts == (60, 140)
    assert noisy == again
    assert all(a != b for a, b in zip(noisy.values, exact, strict=True))
    assert noisy.values != other.values
    assert noisy.sizes != quiet.sizes or other.sizes != quiet.sizes
    assert all(abs(a - b) <= 2 * BOUND for a, b in zip(noisy.parts, quiet.parts, strict=True))
    for at in range(3):
        low, high = gap_interval(QUIET, "gap", ids[:60], 0.1, 0.05, (quiet, quiet), at)
        assert high - low > 2 * 1.96 * 0.05
        assert (low + high) / 2 == pytest.approx(0.1)


def test_the_step_holds_five_people_of_the_smallest_part() -> None:
    assert [group_step([least, 500]) for least in (9, 27, 28, 53, 103)] == [None, None, 20, 10, 5]


@pytest.mark.parametrize(
    ("gap", "interval", "step", "shown"),
    [
        (0.12, (0.03, 0.21), 5, {"gap": 10, "interval": [5, 20], "verdict": "higher"}),
        (-0.12, (-0.21, -0.03), 5, {"gap": -10, "interval": [-20, -5], "verdict": "lower"}),
        (0.12, (0.02, 0.22), 5, {"gap": 10, "interval": [0, 20], "verdict": "no difference shown"}),
        (0.2, (-0.01, 0.41), 5, {"verdict": "too few to tell"}),
        (0.5, (0.4, 0.6), None, {"verdict": "too few to tell"}),
        (np.nan, (np.nan, np.nan), 5, {"verdict": "too few to tell"}),
    ],
)
def test_a_difference_is_shown_by_what_is_printed_of_it(
    gap: float, interval: tuple[float, float], step: int | None, shown: dict[str, object]
) -> None:
    printed = show_gap(gap, interval, step)
    assert printed == (shown | {"step": step} if "gap" in shown else shown)


Records = Callable[[Sequence[Person]], list[Input]]


def people_of(people: int, worse: bool) -> list[Person]:
    """Simulated people; `worse`: the tumour's size says nothing of those with a receptor."""
    draw = np.random.default_rng(3)
    changed = []
    for at, person in enumerate(simulate_people(people, 1)):
        findings = replace(person.findings, er_positive=at % 2, grade=2)
        if worse and at % 2:
            findings = replace(findings, size_mm=float(draw.integers(5, 40)))
        changed.append(replace(person, findings=findings))
    return changed


@pytest.fixture(scope="module")
def printed(make_records: Records) -> tuple[dict[str, Any], dict[str, Any]]:
    params = complete(ASKED | {"fairness": ["er_positive", "age_years:31:50"]})
    done = run(params, make_records(people_of(400, worse=True)), 10, noise_key=OPEN_KEY)
    assert (done.output_class, done.statistics) == (1, 0)
    return json.loads(done.result), json.loads(done.disclosure)


def test_a_run_says_for_whom_the_model_is_worse(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, _ = printed
    receptor = result["fairness"][0]
    assert (receptor["by"], receptor["feature_set"]) == ("er_positive", "clinical")
    assert receptor["reference"] == "er_positive 0"
    gap = {row["measure"]: row for row in receptor["gaps"]}
    assert gap["auc"]["verdict"] == "lower"
    assert gap["auc"]["gap"] <= -15
    assert gap["auc"]["interval"][0] <= gap["auc"]["gap"] <= gap["auc"]["interval"][1] < 0
    better, worse = (group["auc"] for group in receptor["groups"])
    assert better > worse
    # Nobody is left out, so sizes would add up to the number that is not printed.
    assert all("people" not in group for group in receptor["groups"])


def test_a_group_of_few_is_named_and_nothing_is_told_of_it(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """About 10 of 400 are under 31."""
    result, record = printed
    age = result["fairness"][1]
    young = [row for row in age["gaps"] if row["group"] == "age_years under 31"]
    assert [row["verdict"] for row in young] == ["too few to tell"] * 3
    assert all(row.keys() == {"group", "measure", "verdict"} for row in young)
    assert {"group": "age_years under 31"} in age["groups"]
    withheld = [item["what"] for item in record["withheld"]]
    assert "tpr of age_years under 31: logistic/clinical" in withheld


def test_sizes_are_printed_only_if_every_group_is_told(make_records: Records) -> None:
    records = make_records(people_of(300, worse=False))
    records = [item for at, item in enumerate(records) if at >= 60 or item.category == 2]
    genes = {"models": {"logistic": ["genes"]}}  # whoever lacks them, the first 30, is left out
    rules = {"fairness": ["er_positive", "age_years:31"]}
    result = json.loads(
        run(complete(ASKED | genes | rules), records, 10, noise_key=NOISE_KEY).result
    )
    assert "people" in result
    receptor, age = (
        [group.get("people") for group in compared["groups"]] for compared in result["fairness"]
    )
    assert abs(sum(receptor) - result["people"]) <= 30  # each with its noise
    assert all(size % 5 == 0 for size in receptor)
    assert age == [None, None]


def test_few_profiles_are_not_compared(make_records: Records) -> None:
    few = ASKED | {"clinical": ["er_positive"], "fairness": ["er_positive"]}
    done = run(complete(few), make_records(people_of(200, worse=True)), 10, noise_key=NOISE_KEY)
    (compared,) = json.loads(done.result)["fairness"]
    assert {row["verdict"] for row in compared["gaps"]} == {"too few to tell"}


def test_checks_and_page_know_what_is_printed(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, record = printed
    params = complete(ASKED | {"fairness": ["er_positive", "age_years:31:50"]}).decode()
    checks = check_result(result, record, params, 0b0010, 10, result["granted"])
    assert [check for check in checks if not check.passed] == []
    shown = [
        plot for plot in describe(result, record)["shown"] if "good for everybody" in plot.title
    ]
    assert len(shown) == 2
    assert shown[0].title.endswith("Compared with oestrogen receptor positive: no")
    assert "other people would have trained" in shown[0].sentence
    assert len({plot.plot for plot in shown}) == 2
    assert "yes: false alarms" in shown[0].plot
    assert any("too few to tell" in row for row in shown[1].table.rows)


@pytest.mark.parametrize(
    "fairness",
    [
        ["female", "er_positive", "grade"],
        ["female", "female"],
        ["age_years"],
        ["metastasis"],
        ["shoe_size"],
        ["age_years:60:50"],
        "female",
    ],
)
def test_groups_that_are_refused(fairness: object) -> None:
    with pytest.raises(ParamsError):
        complete(ASKED | {"fairness": fairness})


def test_the_permit_must_have_what_groups_are_made_of() -> None:
    plain = parse_params(complete(ASKED))
    by_sex = parse_params(complete(ASKED | {"fairness": ["female"]}))
    assert set(by_sex.categories) - set(plain.categories) == {0}  # demographics


def test_a_rehearsal_invents_the_groups() -> None:
    params = complete(ASKED | {"fairness": ["female", "bmi:25"]})
    result = json.loads(
        run(params, invent(parse_params(params), 40, 1), 10, noise_key=NOISE_KEY).result
    )
    assert [compared["reference"].split()[0] for compared in result["fairness"]] == [
        "female",
        "bmi",
    ]


@pytest.mark.parametrize(
    ("planted", "path"),
    [
        ({"outcome": {**OUTCOME, "horizon_days": 730}}, "outcome"),
        ({"folds": 119}, "folds: 119"),
        (
            {"strata": [{"stratum": "er_positive MRN-12345"}]},
            "strata.0.stratum: er_positive MRN-12345",
        ),
        ({"explanations": [{"explanation": "shap-linear", "features": []}]}, "shap-linear"),
    ],
)
def test_what_nobody_asked_for_is_shown_to_the_checkers(
    printed: tuple[dict[str, Any], dict[str, Any]], planted: dict[str, Any], path: str
) -> None:
    result, record = printed
    params = complete(ASKED | {"fairness": ["er_positive", "age_years:31:50"]}).decode()
    checks = check_result(result | planted, record, params, 0b0010, 10, result["granted"])
    (wrong,) = [
        check for check in checks if check.text.startswith("Outcome, groups and explanations")
    ]
    assert any(path in location for location in wrong.places)


def test_the_name_of_a_group_cannot_hold_anything(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, record = printed
    params = complete(ASKED | {"fairness": ["er_positive", "age_years:31:50"]}).decode()
    for old, new in (
        ("er_positive 1", "er_positive MRN-12345"),
        ("age_years:31:50", "age_years:77"),
    ):
        planted = json.loads(json.dumps(result).replace(old, new))
        checks = check_result(planted, record, params, 0b0010, 10, planted["granted"])
        assert not all(check.passed for check in checks)
