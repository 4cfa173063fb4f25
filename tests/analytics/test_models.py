from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from analytics.catalogue import CALIBRATED, IMPUTERS, MODELS, RELEASABLE, SCALERS, SELECTORS
from analytics.errors import InputsError, ParamsError
from analytics.models.pipeline import build_model, predict
from analytics.models.registry import Blueprint

PLAIN = Blueprint("logistic", 30, 4, "f", 10, 0, "median", "z-score", 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run; several threads may wait seconds for each other on a busy machine."""
    with threadpool_limits(1):
        yield


def draw(seed: int, n: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """30 genotype and 4 clinical columns, of which two and one carry the outcome."""
    generator = np.random.default_rng(seed)
    x = np.hstack(
        [generator.binomial(2, 0.4, (n, 30)).astype(float), generator.normal(size=(n, 4))]
    )
    risk = x[:, 4] - x[:, 21] + x[:, 31] + 0.5 * generator.normal(size=n)
    return x, (risk > np.median(risk)).astype(np.int64)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("genes", "clinical"), [(30, 4), (30, 0), (0, 4)])
def test_every_model_finds_a_planted_signal_in_every_feature_set(
    model: str, genes: int, clinical: int
) -> None:
    x, y = draw(1)
    x = x[:, :30] if not clinical else x[:, 30:] if not genes else x
    blueprint = replace(PLAIN, model=model, genes=genes, clinical=clinical, keep=min(10, genes))
    probability = predict(build_model(blueprint).fit(x[:100], y[:100]), x[100:])
    assert probability.shape == (60,)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert roc_auc_score(y[100:], probability) > 0.6


@pytest.mark.parametrize("model", MODELS)
def test_probabilities_are_deterministic_and_one_half_is_the_decision(
    model: str,
) -> None:
    x, y = draw(2)
    built = build_model(replace(PLAIN, model=model, components=2))
    first, again = (clone(built).fit(x, y) for _ in range(2))
    np.testing.assert_array_equal(predict(first, x), predict(again, x))
    undecided = predict(first, x) == 0.5
    np.testing.assert_array_equal(
        (predict(first, x) >= 0.5)[~undecided], first.predict(x)[~undecided] == 1
    )


def test_a_margin_of_zero_is_one_half() -> None:
    x, y = draw(3)
    fitted = build_model(replace(PLAIN, model="svm")).fit(x, y)
    np.testing.assert_array_equal(predict(fitted, x) >= 0.5, fitted.decision_function(x) >= 0)


def test_genes_are_selected_and_findings_are_not() -> None:
    x, y = draw(4)
    assert build_model(PLAIN).fit(x, y).named_steps["classify"].coef_.shape == (1, 10 + 4)
    assert build_model(replace(PLAIN, keep=30)).fit(x, y).named_steps["classify"].coef_.shape == (
        1,
        30 + 4,
    )
    assert build_model(replace(PLAIN, components=3)).fit(x, y).named_steps[
        "classify"
    ].coef_.shape == (1, 10 + 3 + 4)


@pytest.mark.parametrize("select", SELECTORS)
@pytest.mark.parametrize("scale", SCALERS)
def test_every_selector_keeps_the_columns_that_carry_the_outcome(select: str, scale: str) -> None:
    x, y = draw(5, n=400)
    chosen = build_model(replace(PLAIN, select=select, scale=scale)).fit(x, y)
    kept = chosen.named_steps["columns"].fitted_[0][0].named_steps["select"].get_support()
    assert kept[[4, 21]].all()
    assert kept.sum() == 10


def test_genotypes_are_counted_before_they_are_scaled_and_expression_is_not_counted() -> None:
    x, y = draw(6)
    with pytest.raises(InputsError, match="genotype counts"):
        build_model(replace(PLAIN, select="chi2")).fit(x + 6, y)


@pytest.mark.filterwarnings(
    "ignore:invalid value encountered"
)  # sklearn's, of a column that is all missing
@pytest.mark.parametrize("impute", IMPUTERS)
@pytest.mark.parametrize("missing", [np.s_[:, 2], np.s_[:, 32], np.s_[3, :], np.s_[::3, ::2]])
def test_gaps_are_filled_inside_the_pipeline(missing: tuple[object, ...], impute: str) -> None:
    x, y = draw(7)
    x[missing] = np.nan  # type: ignore[index]
    assert np.isfinite(
        predict(build_model(replace(PLAIN, impute=impute, components=2)).fit(x, y), x)
    ).all()


def test_imputed_values_come_only_from_the_training_people() -> None:
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    model = build_model(replace(PLAIN, genes=0, clinical=1)).fit(x, np.array([0, 0, 1, 1]))
    filled = model.named_steps["columns"].transform(np.array([[np.nan], [900.0]]))
    # The training median, which is also the training mean; the outlier beside it is not seen.
    assert filled[0, 0] == 0


def test_a_small_training_fold_has_fewer_neighbours() -> None:
    """A failure would reveal the number of people."""
    x, y = draw(8)
    fitted = [build_model(replace(PLAIN, model="knn")).fit(x[:n], y[:n]) for n in (10, 15, 16)]
    assert [model.named_steps["classify"].n_neighbors for model in fitted] == [10, 15, 15]
    assert all(np.isfinite(model.predict_proba(x[-5:])).all() for model in fitted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "tree"},
        {"select": "best"},
        {"impute": "zero"},
        {"scale": "rank"},
        {"genes": 0, "clinical": 0},
        {"keep": 0},
        {"genes": -1},
        {"components": -1},
    ],
)
def test_names_outside_the_catalogue_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParamsError):
        build_model(replace(PLAIN, **wrong))  # type: ignore[arg-type]


def test_every_model_is_listed_as_releasable_and_calibrated_or_not() -> None:
    assert set(CALIBRATED) == set(RELEASABLE) == set(MODELS)
    assert all(RELEASABLE.values())
    for model in ("knn", "svm"):
        assert "rows" in str(RELEASABLE[model])
        assert not CALIBRATED[model]
