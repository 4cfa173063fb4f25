"""The autoencoder beside principal component analysis."""

from dataclasses import replace

import numpy as np
import pytest
from scan_cohorts import silent
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from analytics.encoder import Autoencoder
from analytics.errors import ParamsError
from analytics.evaluate import predict_once
from analytics.features import Bounded, Components
from analytics.models.pipeline import COMPONENT, build_model, open_model
from analytics.models.registry import Blueprint
from analytics.params import complete, find_late_models, parse_params
from analytics.prediction import FeatureSets, evaluate_rows

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
PLAIN = Blueprint("logistic", 60, 0, "f", 5, 2, "median", "z-score", 1, encoder="autoencoder")


def surface(seed: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    """60 columns that lie around a bent surface, and where on it each person is (people, 2)."""
    draw, fixed = np.random.default_rng(seed), np.random.default_rng(5)
    at = draw.uniform(-1, 1, (people, 2))
    bent = np.hstack([np.cos(3 * at), np.sin(3 * at)])
    return bent @ fixed.normal(size=(4, 60)) + 0.5 * draw.normal(size=(people, 60)), at


def test_a_bent_surface_is_found_better_than_by_principal_components() -> None:
    """By how much of the place on the surface two components of unseen people tell."""
    scores = {Components: 0.0, Autoencoder: 0.0}
    for seed in range(3):
        (x, at), (unseen, where) = surface(seed, 400), surface(100 + seed, 400)
        scale = Bounded("z-score").fit(x)
        for kind in scores:
            turned = kind(2, 1).fit(scale.transform(x))
            known, new = (turned.transform(scale.transform(columns)) for columns in (x, unseen))
            scores[kind] += KNeighborsRegressor(10).fit(known, at).score(new, where) / 3
    assert scores[Autoencoder] > scores[Components] + 0.04


def test_a_straight_surface_is_found_as_well_as_by_principal_components() -> None:
    draw = np.random.default_rng(1)
    at = draw.normal(size=(400, 2))
    x = at @ draw.normal(size=(2, 60)) + 0.5 * draw.normal(size=(400, 60))
    scores = []
    for kind in (Components, Autoencoder):
        turned = kind(2, 1).fit(x[:200])
        known, new = turned.transform(x[:200]), turned.transform(x[200:])
        scores.append(LinearRegression().fit(known, at[:200]).score(new, at[200:]))
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def test_components_are_scaled_and_the_same_seed_gives_the_same_bits() -> None:
    x, _ = surface(1, 100)
    fitted = Autoencoder(3, 7).fit(x)
    turned = fitted.transform(x)
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(turned.std(axis=0), 1)
    np.testing.assert_array_equal(clone(fitted).fit(x).transform(x), turned)
    assert (Autoencoder(3, 8).fit(x).transform(x) != turned).any()


@pytest.mark.parametrize(("people", "columns"), [(3, 60), (20, 2), (20, 1)])
def test_few_people_or_columns_have_fewer_components(people: int, columns: int) -> None:
    turned = Autoencoder(5, 1).fit(surface(1, people)[0][:, :columns])
    assert turned.transform(surface(2, 9)[0][:, :columns]).shape == (
        9,
        min(people - 1, columns),
    )


@pytest.mark.filterwarnings("ignore")  # scikit-learn says that columns without variance have none
def test_columns_without_variance_give_zeros() -> None:
    assert not Autoencoder(2, 1).fit(np.zeros((30, 4))).transform(np.ones((5, 4))).any()


def test_it_is_fitted_on_the_training_people_of_a_fold() -> None:
    x, at = surface(1, 150)
    event = (at[:, 0] > 0).astype(np.int64)
    fitted = build_model(PLAIN).fit(x[:100], event[:100])
    opened = open_model(fitted, 60)
    assert (opened.origins == COMPONENT).sum() == 2
    alone = build_model(replace(PLAIN, seed=1)).fit(x[:100], event[:100])
    np.testing.assert_array_equal(
        fitted.predict_proba(x[100:110]), alone.predict_proba(x[100:])[:10]
    )


def test_it_finds_nothing_in_noise() -> None:
    aucs = []
    for seed in range(6):
        x = np.random.default_rng(seed).normal(size=(100, 60))
        scores = predict_once(build_model(PLAIN), x, np.arange(100) % 2, folds=2, seed=seed)
        aucs.append(scores.placement.mean())
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.06)


def test_a_run_takes_it_and_parameters_without_it_keep_their_bytes() -> None:
    genes = {"components": 2, "keep": 10, "select": "f", "source": "expression"}
    plain = {"outcome": OUTCOME, "genes": genes, "models": {"logistic": ["genes"]}}
    encoded = {**genes, "encoder": "autoencoder"}
    assert complete({**plain, "genes": {**genes, "encoder": "pca"}}) == complete(plain)
    assert b"encoder" not in complete(plain)
    params = complete({**plain, "genes": encoded, "bootstraps": 0})
    assert find_late_models(params.decode()) == ["autoencoder"]
    x, at = surface(1, 60)
    sets = FeatureSets(x, np.empty((60, 0)), (), None, tuple(map(str, range(60))))
    aucs = []
    for document in (params, complete({**plain, "bootstraps": 0})):
        asked = replace(parse_params(document), permutations=0, repeats=1, folds=2)
        (row,) = evaluate_rows((at[:, 0] > 0).astype(np.int64), sets, asked, "cpu", silent)
        aucs.append(row.scores.auc)
    assert aucs[0] != aucs[1]
    with pytest.raises(ParamsError, match="components is 0"):
        complete({**plain, "genes": {**encoded, "components": 0}})
    with pytest.raises(ParamsError, match="encoder"):
        complete({**plain, "genes": {**genes, "encoder": "tsne"}})
