"""The models of the catalogue, each one scikit-learn Pipeline: everything that is fitted is fitted inside the fold.

Imputation, scaling, selection, principal components and the classifier see the training people of a fold only
(domain.md §7: selection before cross-validation "finds" 90 % on noise).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import SVC

from analytics.catalogue import IMPUTERS, MODELS, SCALERS, SELECTORS
from analytics.errors import ParamsError
from analytics.features import SCORES, Components, build_imputer, build_scaler

# People of each outcome and columns (the last a finding): above 15 columns neighbours are searched as in real runs.
WARM_PEOPLE, WARM_COLUMNS, WARM_KEPT = 20, 24, 20
# Whether `predict` is the model's estimate of a chance, or only orders people and says on which side of half they are.
CALIBRATED: Mapping[str, bool] = {
    "boosting": True,
    "cnn": True,
    "forest": True,
    "knn": False,
    "logistic": True,
    "svm": False,
}
# None, or why no file of a fitted model may leave.
RELEASABLE: Mapping[str, str | None] = {
    "boosting": "model release is off",
    "cnn": "model release is off",
    "forest": "model release is off",
    "knn": "it holds patients' rows (the training people are the model)",
    "logistic": "model release is off",
    "svm": "it holds patients' rows (support vectors)",
}


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One model over a matrix whose first `genes` columns are genes (in genome order where there is one) and whose
    next `clinical` are findings; either may be 0. NaN is missing.

    select, keep: by which score how many gene columns stay. components: principal components of all gene columns,
    appended. device: for cnn only.
    """

    model: str
    genes: int
    clinical: int
    select: str
    keep: int
    components: int
    impute: str
    scale: str
    seed: int
    device: str = "cpu"


def build_model(blueprint: Blueprint) -> Pipeline:
    """The unfitted pipeline. Raises ParamsError for a name outside the catalogue or counts that make no matrix.

    Findings are never selected. Genes are filled and chosen as they were measured, since chi2 counts genotypes, and
    scaled afterwards; findings are scaled before they are filled, since neighbours are found by distance.
    """
    _check(blueprint)
    parts: list[tuple[str, BaseEstimator, slice]] = []
    if blueprint.genes:
        parts.append(("genes", _build_gene_part(blueprint), slice(0, blueprint.genes)))
    if blueprint.clinical:
        steps = [
            ("scale", build_scaler(blueprint.scale)),
            ("fill", build_imputer(blueprint.impute)),
        ]
        columns = slice(blueprint.genes, blueprint.genes + blueprint.clinical)
        parts.append(("clinical", Pipeline(steps), columns))
    return Pipeline(
        [("columns", ColumnTransformer(parts)), ("classify", _build_classifier(blueprint))]
    )


def predict(fitted: Pipeline, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) in [0, 1], "event" from one half: the chance of the event, or for a model without chances (svm) the logistic
    function of its margin, so that one half is margin 0 (see CALIBRATED)."""
    if hasattr(fitted, "predict_proba"):
        probability: NDArray[np.float64] = fitted.predict_proba(x)[:, 1]
    else:
        probability = expit(fitted.decision_function(x))
    return probability


def warm_up() -> None:
    """Fit each model once on next to nothing.

    Libraries load parts of themselves, and look for one another, at the first fit, which a confined process cannot.
    """
    ordinary = np.arange(2 * WARM_PEOPLE * WARM_COLUMNS, dtype=np.float64) % 7
    x, y = ordinary.reshape(-1, WARM_COLUMNS), np.arange(2 * WARM_PEOPLE) % 2
    for number, name in enumerate(MODELS):
        impute, scale = IMPUTERS[number % len(IMPUTERS)], SCALERS[number % len(SCALERS)]
        genes = WARM_COLUMNS - 1
        built = build_model(Blueprint(name, genes, 1, "f", WARM_KEPT, 1, impute, scale, 0))
        predict(built.fit(x, y), x)


class Neighbours(KNeighborsClassifier):  # type: ignore[misc]
    """The nearest neighbours, at most `most`: fewer in a smaller training fold, since to refuse would count it."""

    def __init__(self, most: int) -> None:
        super().__init__(weights="distance")
        self.most = most

    def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> Self:
        self.n_neighbors = min(self.most, len(y))
        super().fit(x, y)
        return self


def _check(blueprint: Blueprint) -> None:
    for name, known in (
        (blueprint.model, MODELS),
        (blueprint.select, SELECTORS),
        (blueprint.impute, IMPUTERS),
        (blueprint.scale, SCALERS),
    ):
        if name not in known:
            raise ParamsError("a model's part is not one of " + ", ".join(known))
    counts = (blueprint.genes, blueprint.clinical, blueprint.components)
    if (
        min(counts) < 0
        or blueprint.genes + blueprint.clinical == 0
        or (blueprint.genes and blueprint.keep < 1)
    ):
        raise ParamsError("a model needs at least one column, and keeps at least one of its genes")


def _build_gene_part(blueprint: Blueprint) -> Pipeline:
    steps: list[tuple[str, BaseEstimator]] = [("scale", build_scaler(blueprint.scale))]
    if blueprint.keep < blueprint.genes:
        steps.insert(0, ("select", SelectKBest(SCORES[blueprint.select], k=blueprint.keep)))
    if blueprint.components:
        turned = Pipeline(
            [
                ("scale", build_scaler(blueprint.scale)),
                ("turn", Components(blueprint.components, blueprint.seed)),
            ]
        )
        steps = [("both", FeatureUnion([("chosen", Pipeline(steps)), ("components", turned)]))]
    return Pipeline([("fill", build_imputer(blueprint.impute)), *steps])


def _build_classifier(blueprint: Blueprint) -> BaseEstimator:
    """Settings for some hundred to some thousand people and some dozen columns, chosen on simulated people only."""
    match blueprint.model:
        case "logistic":
            return LogisticRegression(C=0.1, solver="newton-cholesky", max_iter=100)
        case "svm":
            return SVC(kernel="rbf", C=1.0, gamma="scale")
        case "knn":
            return Neighbours(15)
        case "forest":
            return RandomForestClassifier(
                50, min_samples_leaf=5, n_jobs=1, random_state=blueprint.seed
            )
        case "boosting":
            return HistGradientBoostingClassifier(
                max_iter=100,
                max_leaf_nodes=4,
                min_samples_leaf=10,
                early_stopping=False,
                random_state=blueprint.seed,
            )
        case _:
            # torch takes seconds and 200 MB to import: only who asks for a network pays.
            from analytics.networks import ConvolutionClassifier

            return ConvolutionClassifier(
                min(blueprint.keep, blueprint.genes), blueprint.seed, blueprint.device
            )
