import warnings

import numpy as np
import pytest
from sklearn.feature_selection import f_classif

from analytics.models import GENES_KEPT, build_logistic, score_by_f


def test_the_f_score_is_sklearns() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(50, 7)), np.array([0, 1] * 25)
    np.testing.assert_allclose(score_by_f(x, y), f_classif(x, y)[0], rtol=1e-9)


def test_a_column_without_variance_scores_zero_and_warns_nobody() -> None:
    x, y = np.full((20, 2), 0.1), np.array([0, 1] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score_by_f(x, y).tolist() == [0, 0]


def test_genes_are_selected_and_findings_are_not() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(60, 34)), np.array([0, 1] * 30)
    model = build_logistic(30, 4).fit(x, y)
    assert model.named_steps["classify"].coef_.shape == (1, GENES_KEPT + 4)


@pytest.mark.parametrize("missing", [np.s_[:, 2], np.s_[3, :], np.s_[::3, ::2]])
def test_gaps_are_filled_inside_the_pipeline(missing: tuple[object, ...]) -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(40, 9)), np.array([0, 1] * 20)
    x[missing] = np.nan  # type: ignore[index]
    assert np.isfinite(build_logistic(5, 4).fit(x, y).predict_proba(x)).all()


def test_what_fills_a_gap_comes_from_the_training_people_only() -> None:
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    model = build_logistic(0, 1).fit(x, np.array([0, 0, 1, 1]))
    filled = model.named_steps["layers"].transform(np.array([[np.nan], [900.0]]))
    assert filled[0, 0] == 0  # the training median, which is also the training mean; the outlier beside it is not seen
