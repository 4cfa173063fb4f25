"""Measurements over time: what a run reads of them, what models are given, and what is printed."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quiet import NOISE_KEY, QUIET
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from analytics.cohort import Cohort, Member, select_people, series_matrix
from analytics.errors import ParamsError
from analytics.evaluate import predict_once
from analytics.models.pipeline import COMPONENT, build_model, open_model, predict
from analytics.models.registry import Blueprint
from analytics.params import SeriesRules, complete, parse_params
from analytics.people import Input, read_people
from analytics.prediction import FeatureSets, Row, evaluate_rows
from analytics.readers.clinical import Reading
from analytics.readers.fhir import split_bundle
from analytics.run import Result, run
from analytics.series import Steps, Summaries
from analytics.simulate.known_truth import HORIZON_DAYS
from analytics.simulate.rehearsal import invent
from analytics.simulate.series import (
    SCALES,
    WEEKS,
    SeriesCohort,
    simulate_series,
    write_series_bundle,
)
from analytics.vocabulary import Category
from api.pages.output_checks import check_result
from api.pages.result_view import describe
from api.pages.run_text import describe as describe_params
from api.pages.tripod import _predictors

PEOPLE = 150
RULES = SeriesRules(tuple(SCALES), 84, 7)
COLUMNS = WEEKS * len(SCALES)
ASKED: dict[str, Any] = {
    "outcome": {
        "kind": "diagnosis",
        "index": ["icd-10-cm:C50"],
        "event": ["icd-10-cm:C79"],
        "horizon_days": HORIZON_DAYS,
        "censoring": "exclude",
    },
    "series": {"variables": list(SCALES)},
    "clinical": ["bmi"],
    "genes": {"source": "none"},
    "models": {"lstm": ["combined"], "logistic": ["clinical", "series"]},
    "primary": "lstm",
    "explain": ["attention", "permutation"],
    "folds": 2,
    "repeats": 2,
    "permutations": 19,
    "bootstraps": 0,
}


def subject_of(at: int) -> str:
    return f"{(at + 1) * 0x9E3779B97F4A7C15 % 2**256:064x}"


@pytest.fixture(scope="module")
def truth() -> SeriesCohort:
    return simulate_series(PEOPLE, 1)


@pytest.fixture(scope="module")
def records(truth: SeriesCohort) -> list[Input]:
    """As ingest makes them of one bundle a person."""
    inputs = []
    for at in range(PEOPLE):
        split = split_bundle(write_series_bundle(truth, at, subject_of(at)), subject_of(at))
        assert split.report["held back"] == {}
        inputs += [Input(subject_of(at), kind, record) for kind, record in split.records.items()]
    return inputs


@pytest.fixture(scope="module")
def cohort(records: list[Input]) -> Cohort:
    params = parse_params(complete(ASKED))
    people = read_people(records, "none")
    return select_people(people, params.cohort, params.outcome, "none", 10, noise=QUIET)


@pytest.fixture(scope="module")
def printed(records: list[Input]) -> Result:
    return run(complete(ASKED), records, 10, noise_key=NOISE_KEY)


# --- what a run reads -----------------------------------------------------------------------------


def test_a_series_ends_on_the_index_day(truth: SeriesCohort, cohort: Cohort) -> None:
    """The values on the day after it, and years later, tell the event; none of them is read."""
    at = [[subject_of(n) for n in range(PEOPLE)].index(subject) for subject in cohort.subjects]
    np.testing.assert_allclose(series_matrix(cohort, RULES, QUIET), truth.matrix()[at])
    leaks = replace(cohort, members=tuple(replace(m, index=m.index + 1) for m in cohort.members))  # type: ignore[operator]
    ahead = series_matrix(leaks, SeriesRules(("steps_per_day",), 2, 1), QUIET)[:, 1]
    assert roc_auc_score(truth.event[at], -ahead) == 1


def member_with(cohort: Cohort, *readings: Reading) -> Cohort:
    """The cohort with other readings of its first member."""
    first = cohort.members[0]
    assert first.person.clinical is not None
    clinical = replace(first.person.clinical, readings=readings)
    changed = Member(replace(first.person, clinical=clinical), first.index, first.event)
    return replace(cohort, members=(changed, *cohort.members[1:]))


def test_values_of_a_step_become_their_mean_and_others_are_left_out(cohort: Cohort) -> None:
    day = cohort.members[0].index
    assert day is not None
    changed = member_with(
        cohort,
        Reading("sleep_hours", 6.0, day),
        Reading("sleep_hours", 8.0, day - 6),
        Reading("sleep_hours", 5.0, day - 7),
        Reading("sleep_hours", 4.0, day - 84),  # before the first day
        Reading("sleep_hours", 3.0, None),
        Reading("bmi", 30.0, day),
    )
    (row, *_) = series_matrix(changed, SeriesRules(("sleep_hours",), 84, 7), QUIET)
    assert row[-2:].tolist() == [5.0, 7.0]
    assert np.isnan(row[:-2]).all()
    assert np.isnan(series_matrix(member_with(cohort), RULES, QUIET)[0]).all()


def test_a_step_that_few_have_is_unknown_to_everybody(cohort: Cohort) -> None:
    people = cohort.members[:9]

    def known(members: tuple[Member, ...]) -> int:
        rules = SeriesRules(("steps_per_day",), 3660, 366)
        matrix = series_matrix(replace(cohort, members=members), rules, QUIET)
        return int((~np.isnan(matrix)).sum())

    assert known(people) == 0
    assert known(cohort.members[:10]) == 10


def test_a_rehearsal_invents_measurements_over_time() -> None:
    params = parse_params(complete(ASKED))
    people = read_people(invent(params, 30, 1), "none")
    invented = select_people(people, params.cohort, params.outcome, "none", 10, noise=QUIET)
    known = ~np.isnan(series_matrix(invented, RULES, QUIET))
    assert 0.7 < known.mean() < 0.9


# --- what models are given ------------------------------------------------------------------------


def test_summaries_are_mean_and_slope_of_what_is_known(truth: SeriesCohort) -> None:
    x = truth.matrix()[:20].copy()
    x[0, :WEEKS], x[1, 1:WEEKS] = np.nan, np.nan
    x[1, 0] = 5000.0
    summed = Summaries(WEEKS).fit(x).transform(x)
    assert summed.shape == (20, 2 * len(SCALES))
    assert np.isnan(summed[0, :2]).all()
    assert summed[1, 0] == 5000
    assert np.isnan(summed[1, 1])
    for person in range(2, 20):
        for series, values in enumerate(x[person].reshape(-1, WEEKS)):
            weeks = np.flatnonzero(~np.isnan(values))
            slope, _ = np.polyfit(weeks, values[weeks], 1)
            mean = values[weeks].mean()
            np.testing.assert_allclose(summed[person, 2 * series :][:2], [mean, slope])


def test_steps_are_cut_and_nothing_is_filled_in() -> None:
    x = np.random.default_rng(1).normal(size=(200, 4))
    x[50:90, 0] = np.nan  # lacked by forty
    x[:9, 1] = np.nan  # lacked by nine
    x[9:, 2] = np.nan  # had by nine
    x[0, 3] = 1e6
    read = Steps("z-score").fit(x).transform(x)
    values, known = read[:, :4], read[:, 4:]
    np.testing.assert_array_equal(known[:, 0], ~np.isnan(x[:, 0]))
    assert (values[50:90, 0] == 0).all()
    assert (known[:, 1] == 1).all()
    assert (values[:9, 1] == 0).all()
    assert not known[:, 2].any()
    assert not values[:, 2].any()
    assert values[0, 3] == np.sort(values[:, 3])[-10]


def test_nothing_of_the_test_fold_enters(truth: SeriesCohort) -> None:
    x, y = truth.matrix(), truth.event
    changed = x.copy()
    changed[90:] *= 3
    for model in ("lstm", "logistic"):
        fitted, again = (built(model).fit(series[:90], y[:90]) for series in (x, changed))
        np.testing.assert_array_equal(predict(fitted, x[90:]), predict(again, x[90:]))


def built(model: str, series: int = COLUMNS, clinical: int = 0) -> Any:
    plain = Blueprint(model, 0, clinical, "f", 0, 0, "median", "z-score", 1)
    return build_model(replace(plain, series=series, steps=WEEKS))


# --- the network ----------------------------------------------------------------------------------


def test_the_network_finds_a_shape_that_mean_and_slope_hide() -> None:
    """The best AUC that there is, by the simulated truth, is .80."""
    people, others = simulate_series(400, 2), simulate_series(1000, 3)
    aucs = {}
    for model in ("lstm", "logistic"):
        fitted = built(model).fit(people.matrix(), people.event)
        aucs[model] = roc_auc_score(others.event, predict(fitted, others.matrix()))
    assert aucs["lstm"] > 0.66
    assert aucs["logistic"] == pytest.approx(0.5, abs=0.06)
    assert roc_auc_score(others.event, others.shape) == pytest.approx(0.8, abs=0.03)


def test_other_columns_stand_beside_the_series() -> None:
    people, others = simulate_series(400, 2), simulate_series(1000, 3)
    x, unseen = (np.column_stack([group.bmi, group.matrix()]) for group in (people, others))
    alone = predict(built("lstm").fit(people.matrix(), people.event), others.matrix())
    beside = predict(built("lstm", clinical=1).fit(x, people.event), unseen)
    assert roc_auc_score(others.event, beside) > roc_auc_score(others.event, alone) + 0.03
    assert roc_auc_score(others.event, others.risk) == pytest.approx(0.84, abs=0.03)


def test_noise_is_noise_and_the_same_seed_gives_the_same_bits() -> None:
    aucs = []
    for seed in range(4):
        people = simulate_series(120, seed)
        event = np.random.default_rng(seed).permutation(people.event)
        scores = predict_once(built("lstm"), people.matrix(), event, folds=3, seed=seed)
        aucs.append(scores.placement[event == 1].mean())
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.06)
    first, again = (clone(built("lstm")).fit(people.matrix(), event) for _ in range(2))
    np.testing.assert_array_equal(predict(first, people.matrix()), predict(again, people.matrix()))


def test_attention_sums_to_one_over_the_steps_that_have_a_value(truth: SeriesCohort) -> None:
    x = truth.matrix().copy()
    x[0] = np.nan
    steps = np.arange(COLUMNS) % WEEKS
    x[1:40, steps == 4] = np.nan
    fitted = built("lstm").fit(x, truth.event)
    opened = open_model(fitted, COLUMNS)
    weights = opened.classifier.attention(opened.transform(x))
    assert weights.shape == (PEOPLE, WEEKS)
    assert not weights[0].any()
    assert not weights[1:40, 4].any()
    np.testing.assert_allclose(weights[1:].sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(predict(fitted, x)).all()
    np.testing.assert_array_equal(opened.origins, np.tile(np.arange(COLUMNS), 2))


def rows_of(people: SeriesCohort, **changes: Any) -> list[Row]:
    """The rows of a run on these people, without permutations."""
    asked = ASKED | {"models": {"logistic": ["clinical", "combined"]}, "primary": "logistic"}
    params = parse_params(complete(asked | changes))
    sets = FeatureSets(
        np.empty((len(people.event), 0)),
        people.bmi[:, None],
        (),
        clinical_names=("bmi",),
        series=people.matrix(),
        series_names=tuple(SCALES),
        steps=tuple(map(str, range(WEEKS))),
    )
    asked_once = replace(params, permutations=0, repeats=1)
    return evaluate_rows(people.event, sets, asked_once, "cpu", lambda *_: None)


@pytest.mark.parametrize("impute", ["median", "knn", "multiple"])
def test_series_are_fused_and_imputed_beside_clinical_columns(impute: str) -> None:
    people = simulate_series(150, 4)
    people.bmi[::7] = np.nan
    models = {"logistic": ["series", "combined", "fused"]}
    rows = rows_of(people, models=models, explain=["permutation"], impute=impute)
    assert [row.feature_set for row in rows] == ["series", "combined", "fused"]
    assert rows[2].scores.auc > 0.55


def test_each_series_is_a_part_of_its_own_to_every_explanation() -> None:
    explain = ["permutation", "shap-linear", "shapley-groups"]
    _, row = rows_of(simulate_series(120, 4), explain=explain)
    own = ("bmi", *(f"{name} over time" for name in SCALES))
    features = {explanation.explanation.name: explanation.features for explanation in row.explained}
    assert features == {
        "permutation": own,
        "shap-linear": (*own, "components of genes"),
        "shapley-groups": own,
    }
    for explained in row.explained:
        assert explained.used[:4].all()
        assert explained.columns.tolist() == [0, *[COMPONENT] * (len(explained.features) - 1)]
        assert explained.importance[0] == max(explained.importance)


# --- what is printed ------------------------------------------------------------------------------


def test_a_run_prints_series_beside_the_others(printed: Result) -> None:
    result = json.loads(printed.result)
    assert {(row["model"], row["feature_set"]) for row in result["rows"]} == {
        ("lstm", "combined"),
        ("logistic", "clinical"),
        ("logistic", "series"),
    }
    assert printed.output_class == 1


def test_attention_is_a_mean_of_everybody_in_steps(printed: Result) -> None:
    result, record = json.loads(printed.result), json.loads(printed.disclosure)
    attention, losses = result["explanations"]
    assert (attention["explanation"], attention["scale"]) == ("attention", "share")
    shares = [row["importance"] for row in attention["features"]]
    assert len(shares) <= 10
    assert all(share % int(attention["step"]) == 0 for share in shares)
    names = {row["feature"] for row in attention["features"]}
    assert names <= {f"{7 * n + 6} to {7 * n} days before" for n in range(WEEKS)}
    assert all(row.keys() == {"feature", "importance"} for row in attention["features"])
    assert {"bmi", "steps_per_day over time"} <= {row["feature"] for row in losses["features"]}
    assert {"what": "attention: lstm/combined", "step": attention["step"]}.items() <= next(
        entry for entry in record["coarsened"] if entry["what"].startswith("attention")
    ).items()


def test_checks_and_pages_know_what_is_printed(printed: Result) -> None:
    result, record = json.loads(printed.result), json.loads(printed.disclosure)
    params = complete(ASKED).decode()
    checks = check_result(result, record, params, 0b1110, 10, result["granted"])
    assert [check for check in checks if not check.passed] == []
    swapped = json.loads(printed.result)
    swapped["explanations"][0]["features"][0]["feature"] = "steps_per_day over time"
    checks = check_result(swapped, record, params, 0b1110, 10, swapped["granted"])
    assert [check for check in checks if not check.passed]
    shown = describe(result, record)["shown"]
    attention = next(plot for plot in shown if "by attention: LSTM on all data" in plot.title)
    assert "It is no cause" in attention.sentence
    assert "days before" in attention.plot
    first = [int(row[0].split()[0]) for row in attention.table.rows]
    assert first == sorted(first, reverse=True)
    assert any("steps a day over time" in str(plot.table) for plot in shown if plot.table)
    asked = dict(describe_params(params))
    assert asked["Measurements over time"].endswith(
        "the 84 days until the index diagnosis, in steps of 7"
    )


# --- parameters -----------------------------------------------------------------------------------


def test_usual_parameters_of_a_series_are_filled_in() -> None:
    params = parse_params(complete(ASKED))
    assert params.series == RULES
    assert params.gene_source == "none"
    assert params.kinds("combined") == ("clinical", "series")
    assert params.examined_feature_set == "combined"


@pytest.mark.parametrize(
    ("variables", "category"),
    [(["steps_per_day"], Category.LIFESTYLE), (["heart_rate"], Category.OBSERVATIONS)],
)
def test_the_consent_to_a_series_is_that_of_its_variables(
    variables: list[str], category: int
) -> None:
    asked = {**ASKED, "series": {"variables": variables}, "clinical": []}
    asked |= {"models": {"lstm": ["series"]}, "explain": []}
    categories = parse_params(complete(asked)).categories
    assert category in categories
    assert not {Category.LIFESTYLE, Category.OBSERVATIONS} - {category} & {*categories}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}}, "end on the index day"),
        ({"series": {"variables": ["grade"]}}, "not measured over time"),
        ({"series": {"variables": ["follow_up_days"]}}, "not measured over time"),
        ({"series": {"variables": ["unheard"]}}, "not measured over time"),
        ({"series": {"variables": []}}, "series.variables"),
        ({"series": {"variables": ["bmi"], "days": 85}}, "times series.step"),
        ({"series": {"variables": ["bmi"], "days": 7}}, "times series.step"),
        ({"series": {"variables": ["bmi"], "days": 189}}, "times series.step"),
        ({"clinical": []}, "needs genes"),
        ({"models": {"logistic": ["combined"]}, "primary": "logistic"}, "has not"),
        ({"models": {"lstm": ["clinical"]}}, "has not"),
        ({"models": {"lstm": ["genes"]}, "explain": []}, "needs genes"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], refused: str) -> None:
    with pytest.raises(ParamsError, match=refused):
        complete(ASKED | changes)


def test_a_feature_set_of_series_needs_one() -> None:
    without = {name: value for name, value in ASKED.items() if name != "series"}
    with pytest.raises(ParamsError, match="needs series"):
        complete(
            without | {"models": {"logistic": ["series"]}, "primary": "logistic", "explain": []}
        )


def test_a_report_names_the_series_among_the_predictors() -> None:
    class Study:
        params = json.loads(complete(ASKED))

    assert "steps a day" in _predictors(Study())  # type: ignore[arg-type]
