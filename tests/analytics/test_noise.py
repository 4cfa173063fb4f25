from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.feature_selection import SelectKBest
from threadpoolctl import threadpool_limits

from analytics.catalogue import MODELS, SELECTORS
from analytics.evaluate import predict_once
from analytics.features import SCORES
from analytics.models.pipeline import build_model
from analytics.models.registry import Blueprint
from analytics.simulate.noise import leak_demonstration, noise_control

PEOPLE, COLUMNS, KEPT, SEEDS = 80, 300, 10, 6
# Three to four standard errors of a mean of SEEDS AUCs of PEOPLE.
BOUND = 0.1


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def mean_auc(model: str, select: str, inside: bool) -> float:
    """Mean AUC over SEEDS sets of genotypes that are independent of the outcome."""
    aucs = []
    for seed in range(SEEDS):
        x = np.random.default_rng(seed).binomial(2, 0.4, (PEOPLE, COLUMNS)).astype(float)
        y = np.arange(PEOPLE) % 2
        if not inside:
            x = SelectKBest(SCORES[select], k=KEPT).fit_transform(x, y)
        built = build_model(
            Blueprint(model, x.shape[1], 0, select, KEPT, 0, "mean", "z-score", seed)
        )
        aucs.append(predict_once(built, x, y, folds=2, seed=seed).placement.mean())
    return float(np.mean(aucs))


@pytest.mark.parametrize("select", SELECTORS)
@pytest.mark.parametrize("model", MODELS)
def test_no_model_finds_signal_in_noise(model: str, select: str) -> None:
    assert abs(mean_auc(model, select, inside=True) - 0.5) < BOUND


@pytest.mark.parametrize(
    ("model", "select"), [(model, "f") for model in MODELS] + [("logistic", s) for s in SELECTORS]
)
def test_the_same_check_fails_when_columns_are_selected_outside_the_fold(
    model: str, select: str
) -> None:
    assert mean_auc(model, select, inside=False) - 0.5 > 2 * BOUND


def test_the_leak_demonstration_is_high_outside_and_half_inside() -> None:
    shown = leak_demonstration(seeds=2, repeats=1)
    outside, inside = shown["outside"], shown["inside"]
    assert isinstance(outside, dict)
    assert isinstance(inside, dict)
    assert outside["accuracy"] > 0.88
    assert outside["auc"] > 0.95
    assert abs(inside["accuracy"] - 0.5) < 0.1
    assert abs(inside["auc"] - 0.5) < 0.1


def test_the_noise_control_reports_half_with_standard_error() -> None:
    (control,) = noise_control(seeds=40, models=["logistic"], columns=200)
    assert control["model"] == "logistic"
    assert abs(float(str(control["accuracy"])) - 0.5) < 0.02
    assert 0.004 < float(str(control["standard_error"])) < 0.012
