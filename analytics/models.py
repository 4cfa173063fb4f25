"""The models of the catalogue, each one scikit-learn Pipeline: everything that is fitted is fitted inside the
fold.

Imputation, scaling, selection and the classifier see the training people of a fold only (domain.md §7:
selection before cross-validation "finds" 90 % on noise).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

LAYERS = ("genes", "clinical", "combined")
GENES_KEPT = 10


def build_logistic(genes: int, clinical: int) -> Pipeline:
    """L2 logistic regression over a matrix whose first `genes` columns are expression, the next `clinical`
    findings.

    Genes: median, z-score, the GENES_KEPT best by F; findings: median, z-score. C = 0.1: more columns than
    events.
    """
    parts: list[tuple[str, Pipeline, slice]] = []
    if genes:
        steps = [*_filled_and_scaled(), ("select", SelectKBest(score_by_f, k=min(GENES_KEPT, genes)))]
        parts.append(("genes", Pipeline(steps), slice(0, genes)))
    if clinical:
        parts.append(("clinical", Pipeline(_filled_and_scaled()), slice(genes, genes + clinical)))
    classifier = LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=100)
    return Pipeline([("layers", ColumnTransformer(parts)), ("classify", classifier)])


def score_by_f(x: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """One-way F statistic of each column for two classes; 0 for a column without variance.

    x: (n, columns) without NaN; y: (n,) of 0 and 1. Equals sklearn's f_classif where that is defined.
    """
    ones, zeros = x[y == 1], x[y == 0]
    gap = ones.mean(axis=0) - zeros.mean(axis=0)
    between = gap**2 * len(ones) * len(zeros) / len(x)
    within = ((ones - ones.mean(axis=0)) ** 2).sum(axis=0) + ((zeros - zeros.mean(axis=0)) ** 2).sum(axis=0)
    # Rounding leaves a constant column a within of about 1e-30, not 0.
    varies = within > 1e-12 * len(x)
    result: NDArray[np.float64] = np.zeros(x.shape[1])
    result[varies] = between[varies] * (len(x) - 2) / within[varies]
    return result


def _filled_and_scaled() -> list[tuple[str, object]]:
    # keep_empty_features: a column that is missing in a whole training fold stays (as 0), so columns never
    # shift.
    return [("fill", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
