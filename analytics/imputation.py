"""Multiple imputation (Rubin 1987): missing values are drawn several times, and predictions
averaged.

One filled-in value pretends to be known. So a model is fitted on IMPUTATIONS copies of the training
people, whose missing clinical values are each drawn from the posterior of a regression on the
others; a person is predicted by all of them, with draws of her own. No outcome is used, and nobody
of a test fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if

from analytics.features import IMPUTATIONS

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def _predicts_probability(imputed: Imputed) -> bool:
    return hasattr(imputed.members[0].steps[-1][1], "predict_proba")


class Imputed(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The same pipeline several times, with imputers of different seeds; its prediction is the
    mean.
    """

    def __init__(self, members: Sequence[Pipeline]) -> None:
        self.members = members

    def fit(self, x: Floats, y: Labels) -> Self:
        self.classes_ = np.unique(y)
        self.fitted_ = [member.fit(x, y) for member in self.members]
        self.used_ = self.fitted_
        return self

    def set_params(self, **settings: Any) -> Self:
        """Settings of the classifier, in every pipeline."""
        for member in self.members:
            last, _ = member.steps[-1]
            member.set_params(**{f"{last}__{name}": value for name, value in settings.items()})
        return self

    @available_if(_predicts_probability)  # type: ignore[untyped-decorator]
    def predict_proba(self, x: Floats) -> Floats:
        mean: Floats = np.mean([member.predict_proba(x) for member in self.used_], axis=0)
        return mean

    def decision_function(self, x: Floats) -> Floats:
        mean: Floats = np.mean([member.decision_function(x) for member in self.used_], axis=0)
        return mean


@contextmanager
def one_imputation(fitted: Pipeline, number: int) -> Iterator[None]:
    """Within it, predictions are those of one imputation alone."""
    every = _imputed_in(fitted)
    for imputed in every:
        imputed.used_ = imputed.fitted_[number : number + 1]
    try:
        yield
    finally:
        for imputed in every:
            imputed.used_ = imputed.fitted_


class BetweenImputations:
    """By how much the AUC differs between imputations: what a standard error must add (Rubin's
    rules).
    """

    def __init__(self, event: Labels) -> None:
        self._event = event
        self._placed = np.zeros((IMPUTATIONS, len(event)))
        self._repeats = 0

    def add(self, repeat: int, placed: Sequence[Floats], who: NDArray[np.bool_]) -> None:
        """By imputation the placement values (evaluate.placement_values) of those held out of a
        fold (`who`, of everybody).
        """
        self._repeats = repeat + 1
        for number, values in enumerate(placed):
            self._placed[number, who] += values

    def error(self) -> float:
        """The square root of (1 + 1/m) B, B the variance of the m AUCs; the total variance is that
        of one AUC and this.
        """
        aucs = (self._placed / self._repeats)[:, self._event == 1].mean(axis=1)
        return float(np.sqrt((1 + 1 / IMPUTATIONS) * aucs.var(ddof=1)))


def _imputed_in(fitted: Any) -> list[Imputed]:
    """Every multiple imputation in a fitted pipeline: of a model, a search, or parts that are
    fused.
    """
    last = fitted.steps[-1][1]
    if isinstance(last, Imputed):
        return [last]
    if hasattr(last, "best_estimator_"):
        return _imputed_in(last.best_estimator_)
    parts = getattr(last, "fitted_", ())
    return [imputed for part, _ in parts for imputed in _imputed_in(part)] if parts else []
