"""The models of the catalogue, each one scikit-learn Pipeline: all fitting happens inside the fold.

Imputation, scaling, selection, principal components and the classifier see only the training people
of a fold (selection before cross-validation "finds" 90 % accuracy on noise).
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

# People of each outcome and columns (the last one clinical) of `warm_up`: above 15 columns, the
# neighbour search uses the same algorithm as in real runs.
WARM_PEOPLE, WARM_COLUMNS, WARM_KEPT = 20, 24, 20
# Whether `predict` estimates a probability, or only orders people and gives the side of one half.
CALIBRATED: Mapping[str, bool] = {
    "boosting": True,
    "cnn": True,
    "forest": True,
    "knn": False,
    "logistic": True,
    "svm": False,
}
# None, or the reason why the file of a fitted model may not be released.
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
    """One model over a matrix with first `genes` gene columns (in genome order if there is one),
    then `clinical` clinical columns; either may be 0. NaN is missing.

    select, keep: the score that selects gene columns, and their number. components: number of
    principal components of all gene columns, which are appended. device: for cnn only.
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
    """The unfitted pipeline. Raises ParamsError for an unknown name or invalid column counts.

    Clinical columns are never selected. Genes are imputed and selected unscaled, since chi2 counts
    genotypes, and scaled afterwards; clinical columns are scaled before imputation, since knn finds
    neighbours by distance.
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
    """(n,) in [0, 1]; one half or more predicts the event. It is the predicted probability, or for
    a model without one (svm) the logistic function of its margin, so one half is margin 0 (see
    CALIBRATED)."""
    if hasattr(fitted, "predict_proba"):
        probability: NDArray[np.float64] = fitted.predict_proba(x)[:, 1]
    else:
        probability = expit(fitted.decision_function(x))
    return probability


def warm_up() -> None:
    """Fit each model once on very little data.

    Libraries load modules and search for one another at the first fit, which a confined process
    cannot do.
    """
    values = np.arange(2 * WARM_PEOPLE * WARM_COLUMNS, dtype=np.float64) % 7
    x, y = values.reshape(-1, WARM_COLUMNS), np.arange(2 * WARM_PEOPLE) % 2
    for number, name in enumerate(MODELS):
        impute, scale = IMPUTERS[number % len(IMPUTERS)], SCALERS[number % len(SCALERS)]
        genes = WARM_COLUMNS - 1
        built = build_model(Blueprint(name, genes, 1, "f", WARM_KEPT, 1, impute, scale, 0))
        predict(built.fit(x, y), x)


class Neighbours(KNeighborsClassifier):  # type: ignore[misc]
    """At most `most` nearest neighbours; fewer in a small fold: an error would reveal its size."""

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
    """Hyperparameters for 100s to 1000s of people and dozens of columns, tuned on simulations."""
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
            # Importing torch takes seconds and 200 MB, so it is imported only if a network is
            # requested.
            from analytics.networks import ConvolutionClassifier

            return ConvolutionClassifier(
                min(blueprint.keep, blueprint.genes), blueprint.seed, blueprint.device
            )
