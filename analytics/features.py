"""Preprocessing: feature selection scores, imputation, scaling, principal components.

Everything here is fitted on the training people of a fold. Scores take x (n, columns) without NaN
and y (n,) of 0 and 1, work on all columns at once and return one number per column, higher for more
association; a column without variance scores 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from analytics.errors import InputsError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Classes = NDArray[np.int8]
Members: TypeAlias = Any  # scipy's csr_array, (columns, sets): 1 where a gene is in a set
CLASSES = 3
OUTERMOST = 10  # people at either end of a column whose values are cut to the next one's
REGRESSIONS = ("multiple", "regression")  # imputers
ROUNDS = 5  # of a regression of each column on the others
IMPUTATIONS = 5  # of `multiple`
RIDGE = 0.1  # keeps regressions on columns that say the same finite


def score_by_f(x: Floats, y: Labels) -> Floats:
    """One-way F statistic of two groups (Fisher 1925), (n-2) r²/(1-r²), as sklearn's f_classif."""
    r2 = _squared_correlation(x, y)
    scored: Floats = (len(y) - 2) * r2 / np.maximum(1 - r2, 1e-12)
    return scored


def score_by_logistic(x: Floats, y: Labels) -> Floats:
    """Score test of logistic regression on one column (Rao 1948), n r²; one degree of freedom.

    On genotype counts it is the trend test of Cochran 1954 and Armitage 1955. With two outcomes it
    orders columns as score_by_f does, since both grow with r².
    """
    scored: Floats = len(y) * _squared_correlation(x, y)
    return scored


def score_by_chi2(x: Floats, y: Labels) -> Floats:
    """Minus the log p of Pearson's chi-square (1900) on genotype (0, 1, 2) by outcome: detects
    dominant and recessive effects that the trend test misses.

    Uses p instead of the statistic, because a column has one or two degrees of freedom, depending
    on how many genotypes occur. Fractional counts, which imputation produces, are rounded. Raises
    InputsError when the columns are not genotypes.
    """
    if not holds_genotypes(x):
        raise InputsError(
            "chi2 needs genotype counts of 0, 1 and 2",
            "Choose f or mutual-information for expression.",
        )
    total, cases = _count_classes(_genotypes(x), y)
    share = y.mean()
    expected = total * share
    terms = (cases - expected) ** 2 / np.maximum(expected * (1 - share), 1e-12)
    statistic = terms.sum(axis=0)
    freedom = (total > 0).sum(axis=0) - 1
    # Exact tails without underflow: exp(-s/2) for two degrees of freedom, 2 Phi(-sqrt s) for one.
    one_degree = -np.log(2.0) - log_ndtr(-np.sqrt(statistic))
    scored: Floats = np.select([freedom == 2, freedom == 1], [statistic / 2, one_degree], 0.0)
    return scored


def score_by_information(x: Floats, y: Labels) -> Floats:
    """Mutual information with the outcome in nats, plug-in estimate (Cover & Thomas 2006, 2.3).

    Classes are the genotypes if the matrix contains genotypes, otherwise terciles of each column.
    """
    total, cases = _count_classes(_genotypes(x) if holds_genotypes(x) else _terciles(x), y)
    gained: Floats = np.zeros(x.shape[1])
    for observed, share in ((cases, y.mean()), (total - cases, 1 - y.mean())):
        ratio = observed / np.maximum(total * share, 1e-12)
        gained += (observed / len(y) * np.log(np.where(observed > 0, ratio, 1.0))).sum(axis=0)
    return np.maximum(gained, 0.0)


SCORES: Mapping[str, Callable[[Floats, Labels], Floats]] = {
    "chi2": score_by_chi2,
    "f": score_by_f,
    "mutual-information": score_by_information,
    "score": score_by_logistic,
}


def holds_genotypes(x: Floats) -> bool:
    """Whether an imputed matrix has allele counts: all within 0 to 2, most of them integers."""
    if x.size == 0 or x.min() < 0 or x.max() > CLASSES - 1:
        return False
    return bool((x == np.rint(x)).mean() > 0.5)


def build_imputer(name: str, seed: int = 0) -> BaseEstimator:
    """The imputer. A column missing in an entire fold stays (as 0), so columns never shift. seed:
    of what `multiple` draws.
    """
    if name == "knn":
        return KNNImputer(n_neighbors=5, keep_empty_features=True)
    return Regressed(name == "multiple", seed) if name in REGRESSIONS else Fill(name)


def build_gene_imputer(name: str) -> BaseEstimator:
    """As `build_imputer`; a regression of each of thousands of columns on all others is no use, so
    genes get their medians then."""
    return build_imputer("median" if name in REGRESSIONS else name)


def build_scaler(name: str) -> BaseEstimator:
    """The scaler: z-score, or min-max to [0, 1], of bounded columns, fitted on the training people."""
    return Bounded(name)


class Bounded(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scales columns after cutting each at its tenth smallest and tenth largest training value
    (with fewer than 100 people, a tenth of them).

    A single unusual value would otherwise turn a coefficient or take a cluster for itself, and so
    tell one person's outcome or presence, which no noise of a few people hides. A column in which
    fewer differ from the others is flat then: 0 for everybody.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        known = (~np.isnan(x)).sum(axis=0)
        outer = np.maximum(1, np.minimum(OUTERMOST, known // OUTERMOST))
        ordered, columns = np.sort(x, axis=0), np.arange(x.shape[1])  # NaN last
        low = ordered[np.minimum(outer, len(x)) - 1, columns]
        high = ordered[np.maximum(known - outer, 0), columns]
        # A column that nobody has stays unknown.
        self.low_, self.high_ = (np.where(known > 0, ends, 0.0) for ends in (low, high))
        scaler = StandardScaler() if self.name == "z-score" else MinMaxScaler()
        self.scaler_ = scaler.fit(np.clip(x, self.low_, self.high_))
        return self

    def transform(self, x: Floats) -> Floats:
        scaled: Floats = self.scaler_.transform(np.clip(x, self.low_, self.high_))
        return scaled


class SetMeans(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Each person's mean z over the genes of each set, as far as she has them; z by the mean and
    the standard deviation of the training people, after cutting as `Bounded` does. (The combined
    z-score of Lee et al. 2008, PLoS Comput Biol 4:e1000217, divides by the root of the number of
    genes instead.)

    members: (columns, sets) which genes are in which set.
    """

    def __init__(self, members: Members) -> None:
        self.members = members

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        self.scaler_ = Bounded("z-score").fit(x)
        return self

    def transform(self, x: Floats) -> Floats:
        z = self.scaler_.transform(x)
        known = ~np.isnan(z)
        numbers: Floats = known.astype(np.float64) @ self.members
        sums: Floats = np.where(known, z, 0.0) @ self.members
        return np.where(numbers > 0, sums / np.maximum(numbers, 1.0), np.nan)


class Fill(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fills what is missing with the column's mean or median, as sklearn's SimpleImputer does.

    That one works on masked arrays, which takes longer than the fit of a small model; a run has
    thousands.
    """

    def __init__(self, statistic: str) -> None:
        self.statistic = statistic

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        known = (~np.isnan(x)).sum(axis=0)
        if self.statistic == "mean":
            self.values_ = np.nansum(x, axis=0) / np.maximum(known, 1)
            return self
        ordered = np.sort(x, axis=0)  # NaN last
        last, columns = np.maximum(known - 1, 0), np.arange(x.shape[1])
        middle = (ordered[last // 2, columns] + ordered[(last + 1) // 2, columns]) / 2
        self.values_ = np.where(known > 0, middle, 0.0)
        return self

    def transform(self, x: Floats) -> Floats:
        filled: Floats = np.where(np.isnan(x), self.values_, x)
        return filled


class Regressed(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fills what is missing by linear regression on the other columns, each in turn, several times
    over (chained equations, van Buuren 2018): with the prediction, or with a draw of coefficients,
    variance and value (`mice.norm`). scikit-learn's IterativeImputer does the same, hundreds of
    times slower where it draws; a run has thousands of fits.

    The draws of a transformation follow from the seed, however many there were before it.
    """

    def __init__(self, draws: bool, seed: int) -> None:
        self.draws = draws
        self.seed = seed

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        self.fit_transform(x)
        return self

    def fit_transform(self, x: Floats, y: Labels | None = None) -> Floats:
        draw, missing = np.random.default_rng(self.seed), np.isnan(x)
        self.start_ = Fill("mean").fit(x)
        filled: Floats = self.start_.transform(x)
        self.lines_: list[tuple[Floats, float]] = [(np.zeros(x.shape[1]), 0.0)] * x.shape[1]
        for rest in range(ROUNDS)[::-1]:
            for column, absent in enumerate(missing.T):
                if (
                    absent.any() or not rest
                ):  # a complete column may be missing in people of a test fold
                    self.lines_[column] = self._regress(filled[~absent], column, draw)
                    filled[absent, column] = self._predict(filled[absent], column, draw)
        return filled

    def transform(self, x: Floats) -> Floats:
        draw, missing = np.random.default_rng(self.seed), np.isnan(x)
        filled: Floats = self.start_.transform(x)
        for _ in range(ROUNDS if missing.any() else 0):
            for column, absent in enumerate(missing.T):
                filled[absent, column] = self._predict(filled[absent], column, draw)
        return filled

    def _regress(self, x: Floats, column: int, draw: np.random.Generator) -> tuple[Floats, float]:
        """(coefficients, the constant in the column's own position; standard deviation around
        them).
        """
        values, design = x[:, column], _with_constant(x, column)
        penalty = np.full(x.shape[1], RIDGE)
        penalty[column] = RIDGE / 1000  # hardly any of the constant
        gram = design.T @ design + np.diag(penalty)
        coefficients = np.linalg.solve(gram, design.T @ values).astype(np.float64)
        squares = float(((values - design @ coefficients) ** 2).sum())
        freedom = max(1, len(values) - x.shape[1])
        if not self.draws:
            return coefficients, 0.0
        spread = float(np.sqrt(squares / draw.chisquare(freedom)))
        turned: Floats = np.linalg.solve(np.linalg.cholesky(gram).T, draw.normal(size=x.shape[1]))
        return coefficients + spread * turned, spread

    def _predict(self, x: Floats, column: int, draw: np.random.Generator) -> Floats:
        coefficients, spread = self.lines_[column]
        predicted: Floats = _with_constant(x, column) @ coefficients
        return predicted + spread * draw.normal(size=len(x)) if self.draws else predicted


def _with_constant(x: Floats, column: int) -> Floats:
    """(n, columns) with 1 in place of a column."""
    design = x.copy()
    design[:, column] = 1.0
    return design


class SideBySide(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Each part, a transformer and its columns, side by side, as sklearn's ColumnTransformer does
    without its checks of names and types.
    """

    def __init__(self, parts: Sequence[tuple[BaseEstimator, slice]]) -> None:
        self.parts = parts

    def fit(self, x: Floats, y: Labels) -> Self:
        self.fit_transform(x, y)
        return self

    def fit_transform(self, x: Floats, y: Labels) -> Floats:
        self.fitted_ = [(deepcopy(part), columns) for part, columns in self.parts]
        return np.hstack([part.fit_transform(x[:, columns], y) for part, columns in self.fitted_])

    def transform(self, x: Floats) -> Floats:
        return np.hstack([part.transform(x[:, columns]) for part, columns in self.fitted_])


class Components(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The first principal components, scaled to unit variance to weigh as much as z-scores.

    There are fewer than `count` if there are fewer training people or columns; a component without
    variance is 0.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        count = min(self.count, x.shape[0] - 1, x.shape[1])
        self.pca_ = PCA(count, random_state=self.seed).fit(x)
        variance = self.pca_.explained_variance_
        varies = variance > 1e-12 * max(float(variance.sum()), 1e-300)
        self.factor_ = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
        return self

    def transform(self, x: Floats) -> Floats:
        turned: Floats = self.pca_.transform(x) * self.factor_
        return turned


class PrincipalScores(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The first principal components, which keep their proportions: the first has unit variance, so
    that all of them together weigh like a z-score or somewhat more (Escofier & Pagès 1994).
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed

    def fit(self, x: Floats, y: Labels | None = None) -> Self:
        count = min(self.count, x.shape[0] - 1, x.shape[1])
        self.pca_ = PCA(count, random_state=self.seed).fit(x)
        first = float(self.pca_.explained_variance_[0])
        self.factor_ = 1 / np.sqrt(first) if first > 0 else 0.0
        return self

    def transform(self, x: Floats) -> Floats:
        turned: Floats = self.pca_.transform(x) * self.factor_
        return turned


def _squared_correlation(x: Floats, y: Labels) -> Floats:
    """(columns,) squared Pearson correlation with the outcome, 0 for a column without variance."""
    centred = x - x.mean(axis=0)
    spread = np.einsum("ij,ij->j", centred, centred)
    varies = spread > 0
    covered = (y - y.mean()) @ centred
    r2: Floats = np.zeros(x.shape[1])
    r2[varies] = covered[varies] ** 2 / (spread[varies] * len(y) * y.var())
    return np.minimum(r2, 1.0)


def _count_classes(classes: Classes, y: Labels) -> tuple[Floats, Floats]:
    """Number of people, and of those with the event, per class: two (CLASSES, columns)."""
    positives = np.flatnonzero(y == 1)
    total, cases = np.empty((2, CLASSES, classes.shape[1]))
    for number in range(CLASSES):
        member = classes == number
        total[number] = np.count_nonzero(member, axis=0)
        cases[number] = np.count_nonzero(member[positives], axis=0)
    return total, cases


def _genotypes(x: Floats) -> Classes:
    return np.rint(x).astype(np.int8)


def _terciles(x: Floats) -> Classes:
    low, high = np.quantile(x, [1 / 3, 2 / 3], axis=0)
    classes: Classes = (x > low).astype(np.int8) + (x > high).astype(np.int8)
    return classes
