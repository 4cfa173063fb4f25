import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import StandardScaler

from analytics.catalogue import IMPUTERS, SCALERS, SELECTORS
from analytics.errors import InputsError
from analytics.features import (
    SCORES,
    Components,
    Fill,
    SideBySide,
    build_imputer,
    build_scaler,
    holds_genotypes,
    score_by_chi2,
    score_by_f,
    score_by_information,
    score_by_logistic,
)


def genotypes(seed: int, people: int = 60, columns: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Columns of all types: common, rare (two classes), constant; some follow the outcome."""
    generator = np.random.default_rng(seed)
    x = generator.binomial(2, generator.uniform(0.02, 0.6, columns), size=(people, columns)).astype(
        float
    )
    x[:, 0] = 1.0
    x[:, 1] = np.minimum(x[:, 1], 1)
    return x, (generator.random(people) < 0.2 + 0.25 * x[:, -1]).astype(np.int64)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@given(
    seed=st.integers(0, 2**32 - 1),
    people=st.integers(1, 9),
    missing=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_missing_values_are_filled_as_sklearn_fills_them(
    statistic: str, seed: int, people: int, missing: float
) -> None:
    """To the last bit, also for columns without any value, and for the people of the other fold."""
    generator = np.random.default_rng(seed)
    x, others = generator.normal(size=(2, people, 4))
    for matrix in (x, others):
        matrix[generator.random(matrix.shape) < missing] = np.nan
    ours = Fill(statistic).fit(x)
    theirs = SimpleImputer(strategy=statistic, keep_empty_features=True).fit(x)
    for matrix in (x, others):
        np.testing.assert_array_equal(ours.transform(matrix), theirs.transform(matrix))


def test_parts_stand_side_by_side_as_sklearn_puts_them() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(30, 7)), np.arange(30) % 2
    parts = [(SelectKBest(k=2), slice(0, 4)), (StandardScaler(), slice(4, 7))]
    ours = SideBySide(parts)
    theirs = ColumnTransformer([(str(at), *part) for at, part in enumerate(parts)])
    np.testing.assert_array_equal(ours.fit_transform(x, y), theirs.fit_transform(x, y))
    np.testing.assert_array_equal(clone(ours).fit(x, y).transform(x[:5]), theirs.transform(x[:5]))


def test_the_f_score_agrees_with_sklearn() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(50, 7)), np.array([0, 1] * 25)
    np.testing.assert_allclose(score_by_f(x, y), f_classif(x, y)[0], rtol=1e-9)


def test_a_column_that_separates_the_outcomes_scores_best_and_stays_finite() -> None:
    y = np.array([0, 1] * 10)
    x = np.column_stack([y + np.arange(20) / 50, y.astype(float)])
    scores = score_by_f(x, y)
    assert np.isfinite(scores).all()
    assert scores.argmax() == 1


def test_the_score_test_is_the_trend_test() -> None:
    """Cochran-Armitage in its usual form, from the table of one column."""
    x, y = genotypes(2)
    n, cases = len(y), y.sum()
    for column, score in zip(x.T, score_by_logistic(x, y), strict=True):
        t = sum(
            g * ((column == g) & (y == 1)).sum() * (n - cases)
            - g * ((column == g) & (y == 0)).sum() * cases
            for g in (1, 2)
        )
        total = np.array([(column == g).sum() for g in (0, 1, 2)])
        variance = (
            cases
            * (n - cases)
            / n
            * (total @ np.array([0, 1, 4]) * n - (total @ np.array([0, 1, 2])) ** 2)
        )
        assert score == pytest.approx(t**2 / variance if variance else 0.0)


def test_f_and_the_score_test_order_columns_alike() -> None:
    x, y = genotypes(2)
    np.testing.assert_array_equal(np.argsort(score_by_f(x, y)), np.argsort(score_by_logistic(x, y)))


def test_chi2_agrees_with_scipy_on_genotype_by_outcome() -> None:
    x, y = genotypes(3)
    for column, score in zip(x.T, score_by_chi2(x, y), strict=True):
        present = [g for g in (0, 1, 2) if (column == g).any()]
        table = [[((column == g) & (y == outcome)).sum() for g in present] for outcome in (0, 1)]
        p = chi2_contingency(table, correction=False).pvalue if len(present) > 1 else 1.0
        assert score == pytest.approx(-np.log(p), abs=1e-9)


def test_chi2_detects_effects_that_the_trend_test_misses() -> None:
    y = np.array([0, 1, 0] * 20)
    x = np.column_stack(
        [np.array([0.0, 1.0, 2.0] * 20), np.random.default_rng(1).binomial(2, 0.4, 60)]
    )
    assert score_by_logistic(x, y)[0] == pytest.approx(0)
    assert score_by_chi2(x, y).argmax() == 0


def test_chi2_refuses_expression() -> None:
    with pytest.raises(InputsError, match="genotype counts"):
        score_by_chi2(np.random.default_rng(1).normal(8, 1, (20, 3)), np.array([0, 1] * 10))


def test_chi2_of_a_large_cohort_does_not_underflow() -> None:
    y = np.array([0, 1] * 2000)
    x = np.column_stack([y, np.where(np.arange(4000) < 40, 1 - y, y), y * 2]).astype(float)
    scores = score_by_chi2(x, y)
    assert np.isfinite(scores).all()
    assert scores[0] > scores[1] > 1000


def test_information_agrees_with_sklearn() -> None:
    x, y = genotypes(4)
    expected = [mutual_info_score(column, y) for column in x.T]
    np.testing.assert_allclose(score_by_information(x, y), expected, atol=1e-12)
    z = np.random.default_rng(4).normal(8, 2, (60, 5))
    binned = [np.searchsorted(np.quantile(column, [1 / 3, 2 / 3]), column) for column in z.T]
    np.testing.assert_allclose(
        score_by_information(z, y), [mutual_info_score(column, y) for column in binned], atol=1e-12
    )


@pytest.mark.parametrize("name", SELECTORS)
def test_a_column_without_variance_scores_zero_without_warning(name: str) -> None:
    y = np.array([0, 1] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (0.0, 1.0) if name == "chi2" else (0.0, 0.1, 7.3e-9, 1e12):
            np.testing.assert_allclose(SCORES[name](np.full((20, 2), value), y), 0, atol=1e-12)


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_score_is_finite_and_does_not_depend_on_the_order_of_people(name: str, seed: int) -> None:
    x, y = genotypes(seed)
    y[:2] = [0, 1]
    order = np.random.default_rng(seed).permutation(len(y))
    scores = SCORES[name](x, y)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    np.testing.assert_allclose(SCORES[name](x[order], y[order]), scores, atol=1e-9)


def test_filled_genotypes_are_still_genotypes_and_expression_is_not() -> None:
    x, _ = genotypes(5)
    x[:10, 2] = 0.37
    assert holds_genotypes(x)
    assert not holds_genotypes(np.random.default_rng(1).random((20, 3)))
    assert not holds_genotypes(x - 1)


@pytest.mark.parametrize("name", IMPUTERS)
def test_gaps_are_filled_and_no_column_is_lost(name: str) -> None:
    x, _ = genotypes(6)
    x[::4, 3], x[:, 5] = np.nan, np.nan
    filled = build_imputer(name).fit(x).transform(x)  # type: ignore[attr-defined]
    assert filled.shape == x.shape
    assert np.isfinite(filled).all()
    assert (filled[:, 5] == 0).all()


@pytest.mark.parametrize("name", SCALERS)
def test_scaling_is_learned_from_the_training_people(name: str) -> None:
    x = np.array([[1.0], [2.0], [3.0]])
    scaler = build_scaler(name).fit(x)  # type: ignore[attr-defined]
    expected = {"z-score": (3 - 2) / np.std([1, 2, 3]), "min-max": 1.0}[name]
    assert scaler.transform([[4.0]])[0, 0] == pytest.approx(
        expected
    )  # nobody learned had more than 3


@pytest.mark.parametrize("name", SCALERS)
def test_one_unusual_value_moves_no_other_and_is_cut_to_the_tenth(name: str) -> None:
    x = np.random.default_rng(8).normal(size=(200, 3))
    x[5:20, 1] = np.nan
    x[:, 2] = np.arange(200) < 9  # fewer than ten differ: flat
    usual = build_scaler(name).fit(x).transform(x)  # type: ignore[attr-defined]
    x[0, :2] = 1000.0
    x[0, 2] = 1.0
    unusual = build_scaler(name).fit(x).transform(x)  # type: ignore[attr-defined]
    assert (unusual[:, 0] == unusual[0, 0]).sum() >= 10  # as the tenth largest, and those between
    assert unusual[0, 0] == pytest.approx(np.sort(usual[:, 0])[-10], abs=0.2)
    assert np.nanmax(np.abs(unusual[1:] - usual[1:])) < 0.2
    assert (np.isnan(unusual) == np.isnan(x)).all()
    assert len(np.unique(unusual[:, 2])) == 1


def test_components_weigh_as_much_as_a_scaled_column() -> None:
    x = np.random.default_rng(7).normal(size=(50, 20)) * np.arange(1, 21)
    turned = Components(3, 1).fit(x).transform(x)
    np.testing.assert_allclose(np.cov(turned.T), np.eye(3), atol=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # sklearn's share of no variance
def test_components_are_limited_and_constant_columns_give_zero() -> None:
    x = np.random.default_rng(8).normal(size=(6, 20))
    assert Components(10, 1).fit(x).transform(x).shape == (6, 5)
    assert not Components(2, 1).fit(np.ones((9, 4))).transform(np.full((3, 4), 5.0)).any()
