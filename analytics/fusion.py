"""Late fusion: a model on each feature set, and a small model that weighs what they say.

Columns of few people in one model ("combined") can do worse than the best feature set alone: at 200
people, hundreds of variants drown a few findings. Fused, each feature set has a model of its own,
and its weight follows from how well it predicts people it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from analytics.folds import INNER_FOLDS, Within, fit_copy
from analytics.models.pipeline import predict

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
# Fits of each model, for the displayed progress: three parts on the inner folds, and on everybody.
FITS = 3 * (INNER_FOLDS + 1)
# Keeps the weights of separated outcomes finite; it changes no printed digit of others.
RIDGE = 1e-3


class Fused(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Stacking (Wolpert 1992; non-negative weights: Breiman 1996, Mach Learn 24:49) of one model
    for each part: its pipeline and its columns.

    A part's margin is the logit of its prediction. The weights, at least 0, and the intercept are
    those of logistic regression on margins that were predicted within the training people
    (`Within`); then each part is fitted on all of them.
    """

    def __init__(self, parts: Sequence[tuple[Pipeline, slice]], seed: int) -> None:
        self.parts = parts
        self.seed = seed

    def fit(self, x: Floats, y: Labels, groups: Labels | None = None) -> Self:
        """groups: (n,) who belongs together (`assign_folds`)."""
        self.classes_ = np.unique(y)
        margins = np.empty((len(y), len(self.parts)))
        for train, test in Within(self.seed).split(x, y, groups):
            together = None if groups is None else groups[train]
            for at, (part, columns) in enumerate(self.parts):
                fitted = fit_copy(part, x[train][:, columns], y[train], together)
                margins[test, at] = _margins(predict(fitted, x[test][:, columns]), len(y))
        self.weights_, self.intercept_ = weigh(margins, y)
        self.people_ = len(y)
        self.fitted_ = [
            (fit_copy(part, x[:, columns], y, groups), columns) for part, columns in self.parts
        ]
        return self

    def predict_proba(self, x: Floats) -> Floats:
        margins = [
            _margins(predict(fitted, x[:, columns]), self.people_)
            for fitted, columns in self.fitted_
        ]
        probability = expit(np.column_stack(margins) @ self.weights_ + self.intercept_)
        return np.column_stack([1 - probability, probability])


def weigh(margins: Floats, y: Labels) -> tuple[Floats, float]:
    """(weights (k,) of at least 0, intercept) of logistic regression on margins (n, k)."""
    columns = np.column_stack([margins, np.ones(len(y))])
    penalty = np.append(np.full(margins.shape[1], RIDGE), 0.0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        score = columns @ weights
        value = float((np.logaddexp(0, score) - y * score).sum() + penalty @ weights**2 / 2)
        return value, columns.T @ (expit(score) - y) + penalty * weights

    start = np.append(np.full(margins.shape[1], 1 / margins.shape[1]), 0.0)
    bounds = [(0, None)] * margins.shape[1] + [(None, None)]
    solution = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return solution[:-1], float(solution[-1])


def _margins(probability: Floats, people: int) -> Floats:
    """Logits; predictions within 1/(4n) of 0 or 1 are moved there, as n people tell no more."""
    edge = 0.25 / people
    margins: Floats = logit(np.clip(probability, edge, 1 - edge))
    return margins
