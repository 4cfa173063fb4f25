"""Rows, gains and curves of a prediction, compared with the exact scores."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import pytest
from quiet import NOISE_KEY, QUIET, subjects
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from analytics import prediction
from analytics.catalogue import MODELS, SELECTORS
from analytics.cohort import Cohort, Member, Person
from analytics.disclosure.noise import Noise
from analytics.errors import PredictionError
from analytics.evaluate import compare_auc, metrics_of
from analytics.metrics import NAMES
from analytics.models.pipeline import build_model
from analytics.models.registry import Blueprint
from analytics.params import Params, parse_params
from analytics.prediction import (
    FeatureSets,
    Row,
    describe_prediction,
    evaluate_rows,
    gather_feature_sets,
)
from analytics.readers.genotypes import Genotypes, build_sites

PEOPLE = 300


def silent(_phase: str, _fraction: float) -> None:
    pass


@pytest.fixture(scope="module")
def feature_sets() -> FeatureSets:
    generator = np.random.default_rng(1)
    event = np.arange(PEOPLE) % 3 == 0
    genes, clinical = generator.normal(size=(PEOPLE, 12)), generator.normal(size=(PEOPLE, 3))
    genes[:, 0] += event
    clinical[:, 0] += event
    return FeatureSets(genes, clinical, (("call-rate", 23),))


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    members = [Member(Person(f"{n:064x}", None), None, n % 3 == 0) for n in range(PEOPLE)]
    return Cohort(
        tuple(members),
        (("has the records", subjects(340)), ("outcome known at the horizon", subjects(PEOPLE))),
        400,
    )


@pytest.fixture(scope="module")
def params(make_params: Callable[..., bytes]) -> Params:
    models = {"svm": ["combined", "genes"], "logistic": ["genes", "clinical", "combined"]}
    return replace(parse_params(make_params(models=models, folds=5)), permutations=2)


@pytest.fixture(scope="module")
def rows(cohort: Cohort, feature_sets: FeatureSets, params: Params) -> list[Row]:
    return evaluate_rows(cohort.event, feature_sets, params, "cpu", silent)


def test_a_feature_set_has_its_columns_genes_first(feature_sets: FeatureSets) -> None:
    shapes = {
        feature_set: (
            feature_sets.matrix(feature_set)[0].shape,
            *feature_sets.matrix(feature_set)[1:],
        )
        for feature_set in ("genes", "clinical", "combined")
    }
    assert shapes == {
        "genes": ((300, 12), 12, 0),
        "clinical": ((300, 3), 0, 3),
        "combined": ((300, 15), 12, 3),
    }
    assert (feature_sets.matrix("combined")[0][:, :12] == feature_sets.genes).all()


@pytest.mark.filterwarnings("ignore")  # scikit-learn says that a column without variance has none
@pytest.mark.parametrize("select", SELECTORS)
def test_without_any_variant_the_run_continues_with_a_zero_column(
    make_params: Callable[..., bytes], select: str
) -> None:
    """A failure would reveal whether somebody carries a variant."""
    at = build_sites("GRCh38", [1], [5], ["A>G"], [True])
    calls = np.zeros(1, np.int8), np.full(1, 30, np.uint8), np.full(1, 99, np.uint8)
    people = [Person(f"{n:064x}", None, None, Genotypes(at, bytes(32), *calls)) for n in range(40)]
    cohort = Cohort(
        tuple(Member(person, None, n % 2 == 0) for n, person in enumerate(people)), (), 60
    )
    genes = {"source": "variants", "select": select, "keep": 20, "components": 2}
    models = MODELS if select == "chi2" else ("logistic",)
    params = parse_params(
        make_params(
            models={name: ["genes", "combined"] for name in models}, genes=genes, clinical=["grade"]
        )
    )
    params = replace(params, folds=2, repeats=2, permutations=1)
    feature_sets = gather_feature_sets(cohort, params, QUIET)
    rows = evaluate_rows(cohort.event, feature_sets, params, "cpu", silent)
    assert [row.scores.auc for row in rows] == [0.5] * 2 * len(models)
    result: Any = describe_prediction(cohort, feature_sets, rows, params, QUIET)[0]
    assert "used" not in result["variants"]


def test_metrics_of_a_single_variable_do_not_reveal_its_table(
    make_params: Callable[..., bytes], cohort: Cohort, feature_sets: FeatureSets
) -> None:
    """AUC, interval, gain and curve of one variable depend on only four cells."""
    finding = (np.arange(PEOPLE) % 7 == 0) | (np.arange(PEOPLE) % 3 == 0)
    single = replace(feature_sets, clinical=finding[:, None].astype(float))
    params = replace(parse_params(make_params(clinical=["er_positive"])), permutations=2)
    rows = evaluate_rows(cohort.event, single, params, "cpu", silent)
    shown, record = cast(
        "tuple[Any, Any]", describe_prediction(cohort, single, rows, params, QUIET)
    )
    by_feature_set = {row["feature_set"]: row for row in shown["rows"]}
    assert [
        "auc_interval" in by_feature_set[feature_set]
        for feature_set in ("genes", "clinical", "combined")
    ] == [
        True,
        False,
        True,
    ]
    assert by_feature_set["clinical"].get("auc", 0) % 5 == 0
    assert [gain["over"] for gain in shown["gains"]] == ["genes"]
    assert "clinical" not in [curve["feature_set"] for curve in shown["curves"]]
    assert "genes" in [curve["feature_set"] for curve in shown["curves"]]
    withheld = [item["what"] for item in record["withheld"]]
    assert "AUC interval, gain, Brier score: logistic/clinical" in withheld


def test_every_model_runs_on_every_requested_feature_set(rows: list[Row]) -> None:
    names = [
        "logistic/genes",
        "logistic/clinical",
        "logistic/combined",
        "svm/genes",
        "svm/combined",
    ]
    assert [row.name for row in rows] == names
    by_name = {row.name: row.scores.auc for row in rows}
    assert (
        by_name["logistic/combined"]
        > max(by_name["logistic/genes"], by_name["logistic/clinical"])
        > 0.65
    )


def test_printed_metrics_are_the_exact_ones_rounded(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, rows: list[Row]
) -> None:
    result, record = describe_prediction(cohort, feature_sets, rows, params, QUIET)
    shown: Any = result
    assert (shown["granted"], shown["people"], shown["events"], shown["baseline"]) == (
        400,
        300,
        100,
        67,
    )
    assert shown["flow"] == [
        {"step": "has the records", "people": 340},
        {"step": "outcome known at the horizon", "people": 300},
    ]
    assert shown["variants"] == {"used": 10, "left_out": [{"rule": "call-rate", "variants": 25}]}
    for row, printed in zip(rows, shown["rows"], strict=True):
        assert abs(printed["auc"] - 100 * row.scores.auc) <= 0.5
        exact = metrics_of(row.scores.cells)["accuracy"]
        assert abs(printed["accuracy"] - 100 * exact) <= printed["step"] / 2
    exact = {row.name: row.scores for row in rows}
    for gain in shown["gains"]:
        gap, interval = compare_auc(
            exact[f"{gain['model']}/combined"],
            exact[f"{gain['model']}/{gain['over']}"],
            cohort.event,
        )
        assert abs(gain["auc"] - 100 * gap) <= 0.5 + 1e-9
        # It counts the noise that the gain usually has.
        low, high = gain["interval"]
        assert -4 < low - 100 * interval[0] <= 0.5
        assert -0.5 <= high - 100 * interval[1] < 4
    assert [(gain["model"], gain["over"]) for gain in shown["gains"]] == [
        ("logistic", "genes"),
        ("logistic", "clinical"),
        ("svm", "genes"),
    ]
    assert {curve["model"] for curve in shown["curves"] if "calibration" in curve} == {"logistic"}
    assert record["statistic_class"] == "metrics"


def test_what_is_printed_has_its_noise_and_stays_near(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, rows: list[Row]
) -> None:
    first, again, other = (
        cast("Any", describe_prediction(cohort, feature_sets, rows, params, Noise(key))[0])
        for key in (NOISE_KEY, NOISE_KEY, bytes(32))
    )
    assert first == again
    for name in ("people", "rows", "gains", "curves"):
        assert first[name] != other[name]
    for row, printed in zip(rows, first["rows"], strict=True):
        # 100 people have the event: an AUC moves by at most 4.5 points.
        assert 0 < abs(printed["auc"] - 100 * row.scores.auc) <= 5
        low, high = printed["auc_interval"]
        exact = row.scores.auc_interval
        assert high - low > 100 * (exact[1] - exact[0])


def test_every_number_of_a_prediction_has_fixed_decimals_and_steps(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, rows: list[Row]
) -> None:
    """One more decimal of any number would bypass the counts of what fits."""
    shown: Any = describe_prediction(cohort, feature_sets, rows, params, QUIET)[0]
    calibrated = [curve["calibration"] for curve in shown["curves"] if "calibration" in curve]
    assert len(calibrated) == 3
    for calibration in calibrated:
        assert re.fullmatch(r"-?\d+\.\d", calibration["slope"])
        assert re.fullmatch(r"-?\d+\.\d", calibration["intercept"])
        assert calibration["step"] in (5, 10, 20)
        assert all(
            isinstance(a, int) and a % 5 == 0 and b % calibration["step"] == 0
            for a, b in calibration["groups"]
        )
    assert all(
        isinstance(value, int)
        for curve in shown["curves"]
        for point in curve["roc"]
        for value in point
    )
    for row in shown["rows"]:
        assert re.fullmatch(r"1|0\.0*[1-9]", row["p"])
        assert all(isinstance(value, int) for value in (row["auc"], *row["auc_interval"]))
        assert all(row[name] % row["step"] == 0 for name in NAMES if name in row)
    assert all(
        isinstance(value, int)
        for gain in shown["gains"]
        for value in (gain["auc"], *gain["interval"])
    )
    assert all(
        abs(value) <= 100 for gain in shown["gains"] for value in (gain["auc"], *gain["interval"])
    )


def test_the_flow_chart_of_a_prediction_hides_a_step_of_few(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, rows: list[Row]
) -> None:
    """A step that removes three people is merged with the next one, and all counts are rounded."""
    steps = (
        ("has the records", subjects(343)),
        ("aged 0 to 130", subjects(340)),
        ("has the codes", subjects(312)),
        ("outcome known", subjects(PEOPLE)),
    )
    shown, _ = describe_prediction(replace(cohort, flow=steps), feature_sets, rows, params, QUIET)
    assert shown["flow"] == [
        {"step": "has the records", "people": 345},
        {"step": "aged 0 to 130, has the codes", "people": 310},
        {"step": "outcome known", "people": 300},
    ]
    shown, _ = describe_prediction(
        replace(cohort, granted=309, flow=(("a", subjects(304)), ("b", subjects(PEOPLE)))),
        feature_sets,
        rows,
        params,
        QUIET,
    )
    assert shown["flow"] == []


def test_the_primary_models_intervals_count_the_training(
    make_params: Callable[..., bytes], cohort: Cohort, feature_sets: FeatureSets
) -> None:
    """Of the other models the interval is of the predictions, and says so."""
    params = parse_params(
        make_params(models={"logistic": ["genes", "combined"], "knn": ["combined"]}, bootstraps=25)
    )
    steps: list[str] = []
    rows = evaluate_rows(
        cohort.event,
        feature_sets,
        replace(params, permutations=1),
        "cpu",
        lambda step, _: steps.append(step),
    )
    assert steps[-1] == "bootstrap:logistic"
    assert [row.replicates is None for row in rows] == [True, False, False]
    result: Any = describe_prediction(cohort, feature_sets, rows, params, QUIET)[0]
    shown = {f"{row['model']}/{row['feature_set']}": row for row in result["rows"]}
    assert [row["interval_method"] for row in shown.values()] == ["delong", *["bootstrap"] * 2]
    low, high = shown["logistic/genes"]["auc_interval"]
    exact = rows[1].scores.auc_interval
    assert high - low > 100 * (exact[1] - exact[0])
    (gain,) = result["gains"]
    assert gain["interval_method"] == "bootstrap"
    assert gain["interval"][0] <= gain["auc"] <= gain["interval"][1]


def test_with_a_small_outcome_only_coarse_ranks_are_printed(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, rows: list[Row]
) -> None:
    few = Cohort(
        tuple(replace(m, event=n < 9) for n, m in enumerate(cohort.members)), cohort.flow, 400
    )
    few_rows = evaluate_rows(
        few.event, feature_sets, replace(params, models=(("logistic", ("genes",)),)), "cpu", silent
    )
    result, _ = describe_prediction(few, feature_sets, few_rows, params, QUIET)
    shown: Any = result
    assert not {"events", "baseline"} & shown.keys()
    assert shown["curves"] == []
    (row,) = shown["rows"]
    ranks = {"auc", "auc_interval", "scaled_brier"}
    assert row.keys() == ranks | {"model", "feature_set", "interval_method", "p", "permutations"}
    assert row["auc"] % 5 == 0


def test_a_model_that_predicts_no_number_is_named(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entire run is refused: a missing row would look like a model that was not requested."""

    def broken(blueprint: Blueprint) -> Pipeline:
        built = build_model(blueprint)
        if blueprint.model == "svm":
            built.steps[-1] = ("classify", NotANumber())
        return built

    monkeypatch.setattr(prediction, "build_model", broken)
    with pytest.raises(PredictionError, match="the model svm on genes predicted") as caught:
        evaluate_rows(cohort.event, feature_sets, params, "cpu", silent)
    assert "Leave the model out" in caught.value.hint
    sound = replace(params, models=(("logistic", ("genes",)),))
    assert len(evaluate_rows(cohort.event, feature_sets, sound, "cpu", silent)) == 1


class NotANumber(ClassifierMixin, BaseEstimator):
    """Fits nothing and predicts NaN, like a network with diverged weights."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 2), np.nan)
