"""Late fusion: a model on each feature set, weighed by what each says of people it has not seen."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from analytics.evaluate import predict_once
from analytics.folds import DIVIDES
from analytics.fusion import Fused, weigh
from analytics.models.pipeline import build_model
from analytics.models.registry import Blueprint
from analytics.simulate.known_truth import CLINICAL, simulate_cohort

Parts = list[tuple[Pipeline, slice]]


def build(genes: int, clinical: int, model: str = "logistic") -> Pipeline:
    return build_model(
        Blueprint(model, genes, clinical, "score", min(20, max(genes, 1)), 0, "mean", "z-score", 1)
    )


def parts_of(genes: int, clinical: int, model: str = "logistic") -> Parts:
    return [
        (build(genes, 0, model), slice(0, genes)),
        (build(0, clinical, model), slice(genes, genes + clinical)),
        (build(genes, clinical, model), slice(0, genes + clinical)),
    ]


def test_the_weights_are_those_of_logistic_regression_where_none_is_negative() -> None:
    generator = np.random.default_rng(1)
    margins = generator.normal(size=(2000, 2))
    y = (generator.random(2000) < expit(margins @ [0.8, 0.3] - 0.5)).astype(int)
    weights, intercept = weigh(margins, y)
    free = LogisticRegression(C=np.inf, tol=1e-8).fit(margins, y)
    np.testing.assert_allclose(weights, free.coef_[0], atol=2e-3)
    assert intercept == pytest.approx(free.intercept_[0], abs=2e-3)


def test_a_part_that_orders_people_the_wrong_way_gets_no_weight() -> None:
    """Its negative weight would be what the training people's noise says."""
    generator = np.random.default_rng(2)
    margins = generator.normal(size=(300, 2))
    y = (generator.random(300) < expit(margins @ [1.5, -0.7])).astype(int)
    weights, _ = weigh(margins, y)
    assert weights[1] == 0
    assert weights[0] > 0.5


def test_separated_outcomes_give_finite_weights() -> None:
    y = np.arange(40) % 2
    weights, intercept = weigh(np.column_stack([4.0 * y - 2, np.zeros(40)]), y)
    assert np.isfinite([*weights, intercept]).all()


def test_few_findings_are_not_drowned_by_many_variants() -> None:
    """At 200 people one model of everything is worse than the findings alone; fused it is not."""
    aucs = []
    for seed in range(3):
        cohort = simulate_cohort(200, seed, 200, 8)
        findings = cohort.matrix(list(CLINICAL))
        x = np.hstack([cohort.dosage, findings])
        genes, clinical = cohort.dosage.shape[1], findings.shape[1]
        fused = Pipeline([(DIVIDES, Fused(parts_of(genes, clinical), 1))])
        aucs.append(
            [
                predict_once(model, columns, cohort.event, folds=5, seed=1).auc(cohort.event)
                for model, columns in (
                    (build(0, clinical), findings),
                    (build(genes, clinical), x),
                    (fused, x),
                )
            ]
        )
    clinical_auc, combined_auc, fused_auc = np.mean(aucs, axis=0)
    assert fused_auc > combined_auc
    assert fused_auc > clinical_auc - 0.01


def test_margins_come_from_people_who_were_not_fitted_on() -> None:
    """Nearest neighbours know whom they were fitted on: weighed by those predictions, noise that
    one part has learnt by heart would outweigh a finding.
    """
    generator = np.random.default_rng(3)
    y = np.arange(120) % 2
    x = np.hstack([generator.normal(size=(120, 30)), (generator.normal(size=120) + y)[:, None]])
    parts = [(build(30, 0, "knn"), slice(0, 30)), (build(0, 1), slice(30, 31))]
    fitted = Fused(parts, 1).fit(x, y)
    assert fitted.weights_[1] > 2 * fitted.weights_[0]


@pytest.mark.parametrize("model", ["logistic", "svm"])
def test_it_gives_probabilities_and_the_same_ones_again(model: str) -> None:
    generator = np.random.default_rng(4)
    y = np.arange(60) % 2
    x = generator.normal(size=(60, 8)) + 0.5 * y[:, None]
    fused = Fused(parts_of(5, 3, model), 1)
    probability = clone(fused).fit(x, y).predict_proba(x)
    assert ((probability > 0) & (probability < 1)).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_array_equal(clone(fused).fit(x, y).predict_proba(x), probability)
