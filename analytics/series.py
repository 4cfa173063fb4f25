"""What models are given of series: the steps of each, or their mean and slope.

A matrix of series has `steps` columns for each variable, in order of time; NaN is a step without a
value. Everything here is fitted on the training people of a fold. No missing step is filled in.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from analytics.features import OUTERMOST, Bounded

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class Summaries(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Mean and slope (by step, least squares) of each series over the steps that have a value; NaN
    where there is none, or for the slope only one."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        self.series_ = x.shape[1] // self.steps
        return self

    def transform(self, x: Floats) -> Floats:
        values = x.reshape(len(x), -1, self.steps)
        known = ~np.isnan(values)
        count = known.sum(axis=2)
        many, several = np.maximum(count, 1), count > 1
        means = np.where(known, values, 0.0).sum(axis=2) / many
        times = np.where(known, np.arange(self.steps, dtype=np.float64), 0.0)
        times = np.where(known, times - (times.sum(axis=2) / many)[:, :, None], 0.0)
        spread = np.where(several, (times**2).sum(axis=2), 1.0)
        slopes = (times * np.where(known, values, 0.0)).sum(axis=2) / spread
        summed = (np.where(count > 0, means, np.nan), np.where(several, slopes, np.nan))
        return np.stack(summed, axis=2).reshape(len(x), -1)

    def origins(self) -> Labels:
        """A column of its series for each that `transform` makes."""
        return np.repeat(np.arange(self.series_) * self.steps, 2)


class Steps(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The scaled steps, 0 where there is no value, and then for each step whether there is one.

    Each step is cut at its outermost training values (`Bounded`). Whether somebody has a value is
    such a value too: where fewer than ten training people have one, nobody has, and where fewer
    than ten lack one, everybody has the mean (with fewer than 100 people, a tenth of them).
    """

    def __init__(self, scale: str) -> None:
        self.scale = scale

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        known = (~np.isnan(x)).sum(axis=0)
        outer = max(1, min(OUTERMOST, len(x) // OUTERMOST))
        self.nobody_, self.everybody_ = known < outer, len(x) - known < outer
        # A step that nobody has is flat, or sklearn's scaler would warn of it.
        self.scaler_ = Bounded(self.scale).fit(np.where(self.nobody_, 0.0, x))
        return self

    def transform(self, x: Floats) -> Floats:
        known = ((~np.isnan(x)) | self.everybody_) & ~self.nobody_
        scaled = np.where(np.isnan(x), 0.0, self.scaler_.transform(x))
        return np.hstack([np.where(known, scaled, 0.0), known.astype(np.float64)])

    def origins(self) -> Labels:
        """The column that each that `transform` makes comes from."""
        return np.tile(np.arange(len(self.nobody_)), 2)
