from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import pytest
from extent import extent
from quiet import subjects
from scipy.special import expit, logit
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from analytics.disclosure.counts import Perturbation, Sizes
from analytics.disclosure.noise import KEY_BYTES, Noise
from analytics.disclosure.rounding import print_p
from analytics.errors import PredictionError
from analytics.evaluate import (
    ENOUGH_REACHED,
    PARTITIONS,
    Cells,
    Perturb,
    Scores,
    auc_interval_of,
    auc_with_error,
    bootstrap_aucs,
    calibration,
    compare_auc,
    count_cells,
    decision_threshold,
    evaluate_model,
    gain_interval_of,
    permutation_p,
    placement_values,
    predict_once,
    scaled_brier,
)
from analytics.models.pipeline import build_model, predict
from analytics.models.registry import Blueprint


def silent(_fraction: float) -> None:
    pass


def build(genes: int, clinical: int, model: str = "logistic") -> Pipeline:
    return build_model(
        Blueprint(model, genes, clinical, "f", min(10, genes), 0, "median", "z-score", 1)
    )


def evaluate(model: Pipeline, x: np.ndarray, y: np.ndarray, repeats: int = 10) -> Scores:
    return evaluate_model(
        model, x, y, folds=5, repeats=repeats, seed=1, calibrated=True, tick=silent
    )


def test_placements_are_the_auc() -> None:
    generator = np.random.default_rng(3)
    y, probability = generator.integers(0, 2, 80), generator.integers(0, 9, 80) / 8  # with ties
    assert auc_with_error(placement_values(probability, y), y)[0] == pytest.approx(
        metrics.roc_auc_score(y, probability)
    )


def test_the_interval_has_about_its_nominal_coverage() -> None:
    """Binormal scores one standard deviation apart: AUC = Phi(1/sqrt 2) = 0.760 (DeLong's
    components, 400 samples)."""
    generator = np.random.default_rng(4)
    y = np.array([1] * 35 + [0] * 154)
    covered = 0
    for _ in range(400):
        auc, error = auc_with_error(placement_values(generator.normal(size=189) + y, y), y)
        covered += abs(auc - 0.76025) <= 1.96 * error
    assert 0.91 <= covered / 400 <= 0.98


def test_the_paired_interval_of_a_model_with_itself_is_nothing() -> None:
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(60, 4)), np.array([0, 1] * 30)
    scores = evaluate(build(0, 4), x, y)
    assert compare_auc(scores, scores, y) == (0.0, (0.0, 0.0))


def scores_of(probability: np.ndarray, y: np.ndarray) -> Scores:
    """Scores of one pass in which everybody was in the same fold."""
    return Scores(
        cells=Cells(0, 0, 1, 1),
        auc=0.0,
        error=0.0,
        placements=placement_values(probability, y),
        between_folds=0.0,
        brier=None,
        probabilities=probability[None, :],
        positives=probability[None, :] > 0.5,
    )


def delong(first: np.ndarray, second: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(difference of the AUCs, standard error), as DeLong, DeLong & Clarke-Pearson 1988 write it:
    from the covariance of both AUCs, in plain loops."""
    positives, negatives = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    wins = np.array(
        [
            [
                [(score[i] > score[j]) + 0.5 * (score[i] == score[j]) for j in negatives]
                for i in positives
            ]
            for score in (first, second)
        ]
    )
    auc = wins.mean(axis=(1, 2))
    covariance = np.cov(wins.mean(axis=2)) / len(positives) + np.cov(wins.mean(axis=1)) / len(
        negatives
    )
    return float(auc[0] - auc[1]), float(np.sqrt([1, -1] @ covariance @ [1, -1]))


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(extent(1, 4)))
def test_the_paired_interval_agrees_with_delong_and_bootstrap(seed: int) -> None:
    generator = np.random.default_rng(seed)
    y = (np.arange(120) % 3 == 0).astype(np.int64)
    shared = generator.normal(size=120) + y
    # With ties.
    first, second = (np.round(shared + generator.normal(size=120), 1) for _ in range(2))
    gap, (low, high) = compare_auc(scores_of(first, y), scores_of(second, y), y)
    expected, error = delong(first, second, y)
    assert (gap, low, high) == pytest.approx(
        (expected, expected - 1.959964 * error, expected + 1.959964 * error)
    )
    gaps = []
    for _ in range(400):
        at = np.concatenate(
            [
                generator.choice(np.flatnonzero(y == outcome), int((y == outcome).sum()))
                for outcome in (0, 1)
            ]
        )
        gaps.append(
            metrics.roc_auc_score(y[at], first[at]) - metrics.roc_auc_score(y[at], second[at])
        )
    assert (high - low) / 2 / 1.959964 == pytest.approx(np.std(gaps), rel=0.2)


def test_signal_is_found_and_p_is_small() -> None:
    generator = np.random.default_rng(6)
    y = np.array([0, 1] * 40)
    x = generator.normal(size=(80, 10))
    x[:, 0] += 2 * y
    model = build(10, 0)
    scores = evaluate(model, x, y)
    assert scores.auc > 0.85
    result = permutation_p(model, x, y, scores.auc, folds=5, permutations=19, seed=1, tick=silent)
    assert result == (1 / 20, 19)


def test_permutations_stop_after_ten_reach_the_observed_auc() -> None:
    generator = np.random.default_rng(6)
    x, y = generator.normal(size=(30, 2)), np.array([0, 1] * 15)
    ticks: list[float] = []
    result = permutation_p(
        build(0, 2), x, y, 0.0, folds=3, permutations=500, seed=1, tick=ticks.append
    )
    assert result == (1.0, ENOUGH_REACHED)
    assert ticks[-1] == 1.0
    assert ticks == sorted(ticks)
    p, performed = permutation_p(
        build(0, 2), x, y, 0.55, folds=3, permutations=500, seed=1, tick=silent
    )
    assert ENOUGH_REACHED < performed < 500
    assert p == ENOUGH_REACHED / performed


def test_p_is_uniform_enough_without_signal() -> None:
    generator = np.random.default_rng(8)
    p_values = []
    for seed in range(16):
        x, y = generator.normal(size=(30, 2)), np.array([0, 1] * 15)
        model = build(0, 2)
        observed = predict_once(model, x, y, folds=2, seed=seed).auc(y)
        p_values.append(
            permutation_p(model, x, y, observed, folds=2, permutations=19, seed=seed, tick=silent)[
                0
            ]
        )
    assert 0.3 < np.mean(p_values) < 0.72
    assert sum(p <= 0.1 for p in p_values) <= 5


def perturbed(number: int, people: int, events: int) -> Perturb:
    """The noise of a cohort's AUC, by one of many keys."""
    noise, sizes = Noise(number.to_bytes(KEY_BYTES, "big")), Sizes(people, (), people, events)
    return partial(Perturbation(noise, subjects(people), sizes).rank, "AUC of row")


def test_p_of_the_printed_auc_is_not_too_small_without_a_signal() -> None:
    """The mean over repeats with its noise, beside permuted outcomes with theirs."""
    generator = np.random.default_rng(9)
    p_values = []
    for number in range(40):
        x, y = generator.normal(size=(60, 2)), np.array([0, 1, 0] * 20)
        model, perturb = build(0, 2), perturbed(number, 60, 20)
        passes = (predict_once(model, x, y, folds=2, seed=at).auc(y) for at in (0, number))
        observed = float(np.mean(list(passes)))
        given: dict[str, Any] = {"folds": 2, "permutations": 19, "seed": number, "tick": silent}
        p_values.append(permutation_p(model, x, y, observed, **given, perturb=perturb)[0])
    assert sum(p <= 0.1 for p in p_values) <= 8
    assert sum(p <= 0.5 for p in p_values) <= 27
    assert np.mean(p_values) > 0.4


def test_a_planted_effect_is_found_despite_the_noise() -> None:
    generator = np.random.default_rng(6)
    y = np.array([0, 1, 0] * 60)
    x = generator.normal(size=(180, 2))
    x[:, 0] += 0.8 * y
    given: dict[str, Any] = {"folds": 5, "permutations": 39, "seed": 1, "tick": silent}
    observed = evaluate(build(0, 2), x, y).auc
    values = [
        permutation_p(build(0, 2), x, y, observed, **given, perturb=perturbed(number, 180, 60))
        for number in range(5)
    ]
    assert values == [(1 / 40, 39)] * 5


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (1, "1"),
        (10 / 11, "1"),
        (10 / 12, "0.9"),
        (1 / 20, "0.05"),
        (10 / 199, "0.06"),
        (1 / 40, "0.03"),
        (1 / 1001, "0.001"),
    ],
)
def test_p_is_printed_as_finely_as_it_is_known(p: float, shown: str) -> None:
    assert print_p(p) == shown


def test_held_out_labels_do_not_affect_predictions() -> None:
    """Held-out predictions of a row must not change with the label of that row."""
    generator = np.random.default_rng(10)
    x, y = generator.normal(size=(40, 300)), np.array([0, 1] * 20)
    probability = predict_once(build(300, 0), x, y, folds=2, seed=1).probability
    train, test = next(iter(StratifiedKFold(2, shuffle=True, random_state=1).split(x, y)))
    alone = build(300, 0).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    np.testing.assert_array_equal(probability[test], alone)


@pytest.mark.parametrize(("model", "calibrated"), [("svm", False), ("logistic", True)])
def test_probabilities_are_the_held_out_predictions(model: str, calibrated: bool) -> None:
    """And a yes is what is above the event rate of the fold's training people; for svm margin 0."""
    generator = np.random.default_rng(11)
    x, y = generator.normal(size=(40, 6)), np.array([0, 0, 0, 1] * 10)
    scores = evaluate_model(
        build(6, 0, model), x, y, folds=5, repeats=3, seed=1, calibrated=calibrated, tick=silent
    )
    assert scores.probabilities.shape == (3, 40)
    above = 0.251 if calibrated else 0.5  # every fold has the same share
    assert count_cells(y, scores.probabilities > above) == scores.cells
    assert count_cells(y, scores.probabilities > 0.75 - above) != scores.cells
    assert (scores.brier is not None) == calibrated
    train, test = next(iter(StratifiedKFold(5, shuffle=True, random_state=3).split(x, y)))
    np.testing.assert_array_equal(
        scores.probabilities[2][test], predict(build(6, 0, model).fit(x[train], y[train]), x[test])
    )


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.0), (1.0, -0.7), (2.0, 0.3)])
def test_recalibration_recovers_the_distortion_of_probabilities(
    slope: float, intercept: float
) -> None:
    generator = np.random.default_rng(12)
    truth = expit(generator.normal(size=(3, 20_000)))[:1].repeat(3, axis=0)
    y = (generator.random(20_000) < truth[0]).astype(np.int64)
    probabilities = expit((logit(truth) - intercept) / slope)
    assert calibration(probabilities, y) == pytest.approx((slope, intercept), abs=0.1)


def test_recalibration_of_constant_or_certain_probabilities_is_finite() -> None:
    y = np.array([0, 1, 1] * 20)
    assert calibration(np.full((2, 60), 0.4), y) == pytest.approx((0, np.log(2)), abs=1e-3)
    assert np.isfinite(calibration(np.stack([y, y]).astype(float), y)).all()


class Undecided(ClassifierMixin, BaseEstimator):
    """An estimator that predicts NaN or infinity for some people."""

    def __init__(self, what: float) -> None:
        self.what = what

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        probabilities = np.full((len(x), 2), 0.5)
        probabilities[-1] = self.what
        return probabilities


@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_a_number_is_refused(what: float) -> None:
    """Every comparison with NaN is false: one such person would rank last, and only such people
    give an AUC of 0."""
    x, y = np.zeros((40, 1)), np.arange(40) % 2
    model = Pipeline([("classify", Undecided(what))])
    with pytest.raises(PredictionError, match="not a number"):
        evaluate(model, x, y)
    with pytest.raises(PredictionError, match="not a number"):
        permutation_p(model, x, y, 0.5, folds=5, permutations=3, seed=1, tick=silent)
    finite = Pipeline([("classify", Undecided(0.5))])
    assert evaluate(finite, x, y).auc == 0.5


def test_a_rare_event_is_predicted_too() -> None:
    """At one half nobody would be: the threshold is the event rate of the training people."""
    generator = np.random.default_rng(13)
    y = np.array([1] * 35 + [0] * 154)
    x = generator.normal(size=(189, 3))
    x[:, 0] += 0.7 * y
    scores = evaluate(build(0, 3), x, y, repeats=3)
    assert count_cells(y, scores.probabilities > 0.5).tp < 0.1 * 3 * 35
    assert scores.cells.tp > 0.5 * 3 * 35
    assert decision_threshold(y, True) == pytest.approx(35 / 189, abs=0.002)


def test_a_model_that_learns_nothing_says_no_to_everybody() -> None:
    """It predicts the event rate but for the last digit, which must not decide."""
    y = np.array([1] * 30 + [0] * 61)
    cells = evaluate(build(0, 1), np.zeros((91, 1)), y).cells
    assert (cells.tp, cells.fp) == (0, 0)


def test_the_scaled_brier_score_is_sklearns_over_that_of_the_event_rate() -> None:
    generator = np.random.default_rng(14)
    y = generator.integers(0, 2, 90)
    probabilities = generator.random((3, 90))
    ours = np.mean([metrics.brier_score_loss(y, row) for row in probabilities])
    reference = metrics.brier_score_loss(y, np.full(90, y.mean()))
    assert scaled_brier(probabilities, y) == pytest.approx(1 - ours / reference)
    assert scaled_brier(np.full((1, 90), y.mean()), y) == pytest.approx(0)
    assert scaled_brier(y[None, :].astype(float), y) == 1


def test_whoever_is_drawn_twice_is_never_in_training_and_test() -> None:
    """Nearest neighbours know everybody they were fitted on: with a copy of a person in training,
    noise would be predicted nearly without error.
    """
    generator = np.random.default_rng(15)
    x, y = generator.normal(size=(60, 4)), np.array([0, 1] * 30)
    model = build_model(Blueprint("knn", 0, 4, "f", 0, 0, "median", "z-score", 1))
    aucs = bootstrap_aucs({"knn": (model, x)}, y, folds=5, samples=20, seed=1, tick=silent)["knn"]
    assert aucs.shape == (20, PARTITIONS)
    assert abs(aucs.mean() - 0.5) < 0.12


def test_the_bootstrap_counts_what_another_training_would_change() -> None:
    """DeLong's interval is of given predictions. Where columns are chosen among many, most of the
    spread comes from the choice. And the gain of a model over itself has no spread.
    """
    inside, total, spreads = [], [], []
    for seed in range(2):
        generator = np.random.default_rng(seed)
        x, y = generator.normal(size=(80, 60)), np.array([0, 1] * 40)
        x[:, :3] += 0.6 * y[:, None]
        model = build(60, 0)
        scores = evaluate(model, x, y, repeats=3)
        aucs = bootstrap_aucs(
            {"one": (model, x), "two": (model, x)}, y, folds=5, samples=25, seed=1, tick=silent
        )
        np.testing.assert_array_equal(aucs["one"], aucs["two"])
        low, high = scores.auc_interval
        inside.append(high - low)
        low, high = auc_interval_of(scores, aucs["one"])
        assert (low + high) / 2 == pytest.approx(scores.auc)
        total.append(high - low)
        between = aucs["one"].mean(axis=1).var(ddof=1) - aucs["one"].var(axis=1, ddof=1).mean() / 2
        spreads.append(np.sqrt(between + scores.between_folds / 3))
    assert np.mean(total) > 1.2 * np.mean(inside)
    assert np.mean(total) == pytest.approx(2 * 1.96 * np.mean(spreads), rel=1e-3)


def test_the_folds_share_is_taken_out_of_the_interval_of_an_auc_and_not_of_a_gain() -> None:
    """Samples of people with a spread of .05, and folds with .03 on top."""
    generator = np.random.default_rng(17)
    samples = generator.normal(0, 0.05, (4000, 1)) + generator.normal(0, 0.03, (4000, PARTITIONS))
    y = np.array([0, 1] * 40)
    scores = evaluate(build(0, 1), generator.normal(size=(80, 1)), y, repeats=10)
    scores = replace(scores, auc=0.5, error=0.01, between_folds=0.02**2)
    low, high = auc_interval_of(scores, samples)
    assert high - low == pytest.approx(2 * 1.96 * np.hypot(0.05, 0.02 / np.sqrt(10)), rel=0.05)
    low, high = gain_interval_of(0.1, samples)
    assert high - low == pytest.approx(2 * 1.96 * np.hypot(0.05, 0.03), rel=0.05)
    # Where the samples tell nothing, the interval is that of the predictions.
    low, high = auc_interval_of(scores, generator.normal(0, 1e-4, (50, PARTITIONS)))
    assert high - low == pytest.approx(2 * 1.96 * 0.01, rel=0.01)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_a_sample_with_fewer_people_of_an_outcome_than_folds_is_evaluated() -> None:
    generator = np.random.default_rng(16)
    x, y = generator.normal(size=(60, 2)), np.array([1] * 10 + [0] * 50)
    model = build(0, 2)
    aucs = bootstrap_aucs({"one": (model, x)}, y, folds=10, samples=10, seed=1, tick=silent)
    assert np.isfinite(aucs["one"]).all()
