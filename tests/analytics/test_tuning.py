"""Settings are chosen within the fold, with relatives and copies in one inner fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from analytics.catalogue import GRID, MODELS
from analytics.evaluate import placement_values, predict_once
from analytics.folds import DIVIDES, INNER_FOLDS, Within, assign_folds, fit_copy
from analytics.fusion import Fused
from analytics.models.pipeline import build_model, predict
from analytics.models.registry import Blueprint
from analytics.params import complete, parse_params
from analytics.prediction import FeatureSets, evaluate_rows
from analytics.tuning import count_fits, search


def build(name: str, columns: int) -> Pipeline:
    return build_model(Blueprint(name, columns, 0, "f", columns, 0, "mean", "z-score", 1))


def doubled(
    seed: int, people: int = 60, columns: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """People twice: columns of noise that tell each apart, and one that tells the outcome a little.

    (x, y, who).
    """
    draw = np.random.default_rng(seed)
    who = np.tile(np.arange(people), 2)
    y = who % 2
    noise = draw.normal(size=(people, columns))[who]
    return np.hstack([noise, (y + draw.normal(size=2 * people))[:, None]]), y, who


@pytest.mark.parametrize("name", [name for name in MODELS if GRID[name]])
def test_the_fixed_setting_is_among_those_that_are_chosen_from(name: str) -> None:
    classifier = build(name, 3).steps[-1][1]
    for setting, values in GRID[name].items():
        assert classifier.get_params()[setting] in values
        assert len(values) <= 3
    assert count_fits(GRID[name]) == INNER_FOLDS * 3 + 1


@pytest.mark.parametrize("name", [name for name in MODELS if GRID[name]])
def test_each_model_is_fitted_with_the_setting_of_the_best_inner_auc(name: str) -> None:
    x, y, _ = doubled(1)
    fitted = search(build(name, 21), GRID[name], 1).fit(x, y)
    best = fitted.steps[-1][1]
    assert predict(fitted, x).shape == y.shape
    setting, values = next(iter(GRID[name].items()))
    means = []
    for value in values:
        model = build(name, 21).set_params(**{f"classify__{setting}": value})
        aucs = []
        for train, test in Within(1).split(x, y):
            probability = predict(clone(model).fit(x[train], y[train]), x[test])
            aucs.append(placement_values(probability, y[test])[y[test] == 1].mean())
        means.append(np.mean(aucs))
    assert best.best_params_ == {f"classify__{setting}": values[int(np.argmax(means))]}


def test_noise_stays_noise_while_settings_chosen_on_the_tested_people_do_not() -> None:
    grid = {"most": tuple(range(1, 40, 3))}
    within, outside = [], []
    for seed in range(12):
        draw = np.random.default_rng(seed)
        x, y = draw.normal(size=(60, 5)), np.arange(60) % 2
        tuned = search(build("knn", 5), grid, seed)
        within.append(predict_once(tuned, x, y, folds=5, seed=seed).auc(y))
        plain = [build("knn", 5).set_params(classify__most=most) for most in grid["most"]]
        outside.append(max(predict_once(m, x, y, folds=5, seed=seed).auc(y) for m in plain))
    assert abs(np.mean(within) - 0.5) <= 0.06
    assert np.mean(outside) > 0.56


def test_copies_of_one_person_are_in_one_inner_fold() -> None:
    """Apart, a weak penalty is rewarded for learning them by heart; together it is not."""
    x, y, who = doubled(1, columns=60)
    tuned = search(build("logistic", 61), {"C": (0.0001, 100.0)}, 1)
    apart, together = (fit_copy(tuned, x, y, of).steps[-1][1] for of in (None, who))
    assert apart.best_params_ == {"classify__C": 100.0}
    assert together.best_params_ == {"classify__C": 0.0001}
    assert apart.best_score_ > 0.75 > 0.65 > together.best_score_


def test_fused_weighs_nobody_by_her_own_copy() -> None:
    apart, together = [], []
    for seed in (1, 2, 3):
        x, y, who = doubled(seed)
        parts = [(build("knn", 20), slice(0, 20)), (build("logistic", 1), slice(20, 21))]
        model = Pipeline([(DIVIDES, Fused(parts, 1))])
        apart.append(fit_copy(model, x, y).steps[-1][1].weights_[0])
        together.append(fit_copy(model, x, y, who).steps[-1][1].weights_[0])
    assert np.mean(apart) > 0.6
    assert np.mean(together) < np.mean(apart) / 3


def test_a_group_that_leaves_one_outcome_alone_does_not_end_the_choice() -> None:
    y = np.arange(40) % 2
    together = np.where(y == 1, 0, 1 + np.arange(40))  # everybody with the event is related
    splits = Within(1).split(np.zeros((40, 1)), y, together)
    assert sorted(np.concatenate([test for _, test in splits]).tolist()) == list(range(40))
    assert all(set(y[train]) == {0, 1} for train, _ in splits)


def test_people_of_one_outcome_are_dealt_out_as_one() -> None:
    y = np.repeat(np.arange(20) % 2, 3)
    who = np.repeat(np.arange(20), 3)
    assigned = assign_folds(y, who, folds=5, seed=1)
    assert (assigned.reshape(20, 3) == assigned.reshape(20, 3)[:, :1]).all()
    assert np.bincount(assigned).tolist() == [12] * 5


def test_a_run_tunes_each_row_and_says_how_far_it_is() -> None:
    draw = np.random.default_rng(5)
    event = np.arange(60) % 2
    sets = FeatureSets(draw.normal(size=(60, 6)), draw.normal(size=(60, 2)) + event[:, None], ())
    asked = {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"logistic": ["clinical", "fused"]},
        "tune": True,
        "bootstraps": 0,
    }
    params = replace(parse_params(complete(asked)), repeats=2, permutations=2, folds=3)
    parts: list[float] = []
    rows = evaluate_rows(event, sets, params, "cpu", lambda _, part: parts.append(part))
    fixed = evaluate_rows(event, sets, replace(params, tune=False), "cpu", lambda *_: None)
    assert parts == sorted(parts)
    assert parts[-1] == pytest.approx(1)
    # The fused row takes twelve times as long: the first row is a thirteenth of the way.
    assert parts[3] == pytest.approx(1 / 13)
    assert [row.feature_set for row in rows] == ["clinical", "fused"]
    assert rows[0].scores.auc > 0.6
    assert any(
        not np.array_equal(a.scores.probabilities, b.scores.probabilities)
        for a, b in zip(rows, fixed, strict=True)
    )
