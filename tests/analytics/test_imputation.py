"""Imputers by regression: within the fold, without the outcome, and several of them by Rubin's
rules.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from quiet import NOISE_KEY
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 (allows the next line)
from sklearn.impute import IterativeImputer

from analytics.errors import ParamsError
from analytics.evaluate import evaluate_model, placement_values
from analytics.features import IMPUTATIONS, ROUNDS, Fill, build_gene_imputer, build_imputer
from analytics.folds import fit_copy
from analytics.imputation import BetweenImputations, Imputed, one_imputation
from analytics.models.pipeline import build_columns, build_model, predict
from analytics.models.registry import Blueprint
from analytics.params import complete, parse_params
from analytics.people import Input
from analytics.prediction import FeatureSets, evaluate_rows
from analytics.readers.person import Person
from analytics.run import run
from analytics.simulate.synthetic import simulate_people
from analytics.tuning import search

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
Records = Callable[[Sequence[Person]], list[Input]]


def blueprint(impute: str, columns: int = 2, model: str = "logistic", genes: int = 0) -> Blueprint:
    return Blueprint(model, genes, columns, "f", max(genes, 1), 0, impute, "z-score", 3)


def half_missing(people: int, seed: int, tells: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(columns, event): the first column carries the outcome and half of it is missing; the second
    goes with the first."""
    draw = np.random.default_rng(seed)
    first = draw.normal(size=people)
    x = np.column_stack([first, first + 0.2 * draw.normal(size=people)])
    event = (tells * first + draw.normal(size=people) > 0).astype(np.int64)
    x[draw.random(people) < 0.5, 0] = np.nan
    return x, event


def auc_of(impute: str, x: np.ndarray, event: np.ndarray, seed: int = 1) -> float:
    scores = evaluate_model(
        build_model(blueprint(impute, x.shape[1])),
        x,
        event,
        folds=5,
        repeats=1,
        seed=seed,
        calibrated=True,
        tick=lambda _: None,
    )
    return scores.auc


@pytest.mark.parametrize("impute", ["regression", "multiple"])
def test_what_is_missing_follows_from_the_other_columns(impute: str) -> None:
    x, _ = half_missing(400, 1)
    exact, _ = half_missing(400, 1)
    truth = np.random.default_rng(1).normal(size=400)
    filled = build_imputer(impute, 1).fit_transform(x)
    missing = np.isnan(x[:, 0])
    assert np.corrcoef(filled[missing, 0], truth[missing])[0, 1] > 0.9
    assert np.array_equal(filled[~missing], exact[~missing])
    spread = np.corrcoef(Fill("mean").fit_transform(x)[:, 0], truth)[0, 1]
    assert np.corrcoef(filled[:, 0], truth)[0, 1] > spread + 0.1


def test_regression_fills_in_what_scikit_learn_does() -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(300, 4)) + 2 * draw.normal(size=(300, 1))
    x[draw.random((300, 4)) < 0.2] = np.nan
    outside = IterativeImputer(max_iter=ROUNDS, random_state=1, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = outside.fit_transform(x[:200])
    imputer = build_imputer("regression").fit(x[:200])
    assert np.abs(imputer.fit_transform(x[:200]) - expected).max() < 0.1
    assert np.abs(imputer.transform(x[200:]) - outside.transform(x[200:])).max() < 0.1


def test_draws_differ_by_seed_and_vary_as_the_truth_does() -> None:
    x, _ = half_missing(300, 2)
    missing = np.isnan(x[:, 0])
    first, again, other = (build_imputer("multiple", seed).fit_transform(x) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first[missing], other[missing])
    mean = build_imputer("regression", 1).fit_transform(x)
    residual = (first - mean)[missing, 0].std()
    assert 0.1 < residual < 0.35  # 0.2 around the regression


def test_a_transformation_gives_the_same_however_often_it_was_asked() -> None:
    x, _ = half_missing(200, 3)
    imputer = build_imputer("multiple", 1).fit(x[:150])
    first = imputer.transform(x[150:])
    assert np.array_equal(first, imputer.transform(x[150:]))


def test_a_column_that_nobody_of_the_fold_has_stays() -> None:
    x = np.column_stack([np.full(30, np.nan), np.random.default_rng(1).normal(size=30)])
    for impute in ("regression", "multiple"):
        filled = build_imputer(impute).fit(x).transform(x)
        assert filled.shape == (30, 2)
        assert not np.isnan(filled).any()


@pytest.mark.parametrize("impute", ["regression", "multiple"])
def test_nobody_of_a_test_fold_changes_what_is_filled_in(impute: str) -> None:
    """A leak is planted in the people held out: in them the missing column says the outcome. What
    was fitted on the others does not know it; fitted on everybody, it does.
    """
    x, event = half_missing(200, 4)
    test = np.arange(200) < 60
    leaking = x.copy()
    leaking[test] = np.column_stack([50.0 * event[test], 50.0 * event[test]])
    model = build_model(blueprint(impute))
    plain, planted = (fit_copy(model, data[~test], event[~test]) for data in (x, leaking))
    assert np.array_equal(predict(plain, x[~test]), predict(planted, x[~test]))
    outside = build_columns(blueprint(impute)).fit(leaking, event).transform(x[~test])
    inside = build_columns(blueprint(impute)).fit(x[~test], event[~test]).transform(x[~test])
    assert not np.allclose(outside, inside)


@pytest.mark.parametrize("impute", ["regression", "multiple"])
def test_imputers_find_nothing_in_noise_and_more_than_a_mean_where_there_is_something(
    impute: str,
) -> None:
    noise = []
    for seed in range(8):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=(100, 3))
        x[draw.random((100, 3)) < 0.3] = np.nan
        noise.append(auc_of(impute, x, np.arange(100) % 2, seed))
    assert abs(np.mean(noise) - 0.5) <= 0.04
    x, event = half_missing(300, 5)
    alone = np.column_stack([x[:, 0], np.random.default_rng(1).normal(size=300)])
    assert auc_of(impute, x, event) > auc_of("mean", alone, event) + 0.03


@pytest.mark.parametrize("model", ["logistic", "svm", "knn"])
def test_predictions_are_the_mean_of_five_imputations(model: str) -> None:
    x, event = half_missing(80, 6)
    fitted = fit_copy(build_model(blueprint("multiple", model=model)), x, event)
    last = fitted.steps[-1][1]
    assert isinstance(last, Imputed)
    assert len(last.fitted_) == IMPUTATIONS == 5
    singles = []
    for number in range(IMPUTATIONS):
        with one_imputation(fitted, number):
            singles.append(
                last.predict_proba(x)[:, 1] if model != "svm" else last.decision_function(x)
            )
    every = last.predict_proba(x)[:, 1] if model != "svm" else last.decision_function(x)
    assert every == pytest.approx(np.mean(singles, axis=0))
    assert np.std(singles, axis=0).max() > 0.001
    assert ((predict(fitted, x) >= 0) & (predict(fitted, x) <= 1)).all()


def test_settings_are_chosen_for_all_imputations_together() -> None:
    x, event = half_missing(80, 7)
    tuned = fit_copy(search(build_model(blueprint("multiple")), {"C": (0.01, 1.0)}, 1), x, event)
    (_, best) = tuned.steps[-1]
    chosen = {m.named_steps["classify"].C for m in best.best_estimator_.steps[-1][1].fitted_}
    assert len(chosen) == 1
    assert chosen <= {0.01, 1.0}
    with one_imputation(tuned, 1):
        alone = predict(tuned, x)
    assert not np.array_equal(alone, predict(tuned, x))


def test_rubins_rules_by_hand() -> None:
    event = np.array([1, 1, 0, 0])
    between = BetweenImputations(event)
    scores = [
        np.array(row)
        for row in ([4, 3, 2, 1], [4, 2, 3, 1], [4, 1, 3, 2], [1, 2, 3, 4], [4, 3, 2, 1])
    ]
    everybody = np.ones(4, dtype=bool)
    for repeat in range(2):
        between.add(
            repeat, [placement_values(row.astype(float), event) for row in scores], everybody
        )
    aucs = [1.0, 0.75, 0.5, 0.0, 1.0]
    assert between.error() == pytest.approx(np.sqrt(1.2 * np.var(aucs, ddof=1)))


def test_genes_get_their_medians_and_alone_are_imputed_once() -> None:
    assert build_gene_imputer("multiple").get_params() == {"statistic": "median"}
    assert build_gene_imputer("mean").get_params() == {"statistic": "mean"}
    assert "columns" in build_model(blueprint("multiple", 0, genes=3)).named_steps


def asked(impute: str, **more: object) -> bytes:
    quick = {"folds": 2, "repeats": 2, "permutations": 19, "bootstraps": 0}
    models = {"logistic": ["clinical", "combined"]}
    return complete({"outcome": OUTCOME, "models": models, "impute": impute, **quick, **more})


def test_intervals_of_a_run_count_that_imputations_differ(
    make_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make_records(simulate_people(150, 1))
    params = asked("multiple", explain=["permutation"])
    done = run(params, records, 10, noise_key=NOISE_KEY).result
    assert done == run(params, records[::-1], 10, noise_key=NOISE_KEY).result
    result = json.loads(done)
    assert result["explanations"][0]["features"]
    monkeypatch.setattr(BetweenImputations, "error", lambda _: 0.1)
    wider = json.loads(run(params, records, 10, noise_key=NOISE_KEY).result)
    for row, other in zip(result["rows"], wider["rows"], strict=True):
        assert row["interval_method"] == "delong"
        assert other["auc_interval"][0] < row["auc_interval"][0]
    (gain, *_), (other, *_) = result["gains"], wider["gains"]
    assert other["interval"][0] < gain["interval"][0]


def test_a_row_knows_how_much_its_imputations_differ() -> None:
    x, event = half_missing(120, 8)
    sets = FeatureSets(
        np.random.default_rng(1).normal(size=(120, 2)), x, (), None, ("g", "h"), ("a", "b")
    )
    models = {"logistic": ["genes", "clinical", "fused"]}
    rows = evaluate_rows(
        event,
        sets,
        replace(parse_params(asked("multiple", models=models)), permutations=0),
        "cpu",
        lambda *_: None,
    )
    errors = {row.feature_set: row.between_error for row in rows}
    assert errors["genes"] == 0
    assert min(errors["clinical"], errors["fused"]) > 0.001
    once = parse_params(asked("regression", models={"logistic": ["clinical"]}))
    once = replace(once, permutations=0)
    (row,) = evaluate_rows(event, sets, once, "cpu", lambda *_: None)
    assert row.between_error == 0


def test_an_explanation_of_one_model_is_refused_of_several_imputations() -> None:
    for impute in ("regression", "multiple"):
        given = {"explain": ["shap-linear"], "models": {"logistic": ["clinical"]}}
        if impute == "multiple":
            with pytest.raises(ParamsError, match="shap-linear"):
                asked(impute, **given)
        else:
            assert parse_params(asked(impute, **given)).impute == impute


def test_clusters_are_imputed_once() -> None:
    clusters = {"analysis": "clusters", "outcome": OUTCOME}
    assert parse_params(complete({**clusters, "impute": "regression"})).impute == "regression"
    with pytest.raises(ParamsError, match="impute is not"):
        complete({**clusters, "impute": "multiple"})
