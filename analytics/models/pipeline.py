"""The pipeline around each model, one of scikit-learn: all fitting happens inside the fold.

Imputation, scaling, selection, principal components and the classifier see only the training people
of a fold (selection before cross-validation "finds" 90 % accuracy on noise).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import FeatureUnion, Pipeline

from analytics.catalogue import IMPUTERS, MODELS, SCALERS, SELECTORS
from analytics.errors import ParamsError
from analytics.features import SCORES, Components, SideBySide, build_imputer, build_scaler
from analytics.models import REGISTERED
from analytics.models.registry import Blueprint

# People of each outcome and columns (the last one clinical) of `warm_up`: above 15 columns, the
# neighbour search uses the same algorithm as in real runs.
WARM_PEOPLE, WARM_COLUMNS, WARM_KEPT = 20, 24, 20
CLASSIFY = "classify"  # the name of a pipeline's last step


def build_model(blueprint: Blueprint) -> Pipeline:
    """The unfitted pipeline. Raises ParamsError for an unknown name or invalid column counts.

    Clinical columns are never selected. Genes are imputed and selected unscaled, since chi2 counts
    genotypes, and scaled afterwards; clinical columns are scaled before imputation, since knn finds
    neighbours by distance.
    """
    if blueprint.model not in MODELS:
        raise ParamsError("a model's part is not one of " + ", ".join(MODELS))
    return Pipeline(
        [
            ("columns", build_columns(blueprint)),
            (CLASSIFY, REGISTERED[blueprint.model].build(blueprint)),
        ]
    )


def build_columns(blueprint: Blueprint) -> SideBySide:
    """What stands before a model: the unfitted imputation, selection, components and scaling.

    Raises ParamsError for an unknown name or invalid column counts.
    """
    _check(blueprint)
    parts: list[tuple[BaseEstimator, slice]] = []
    if blueprint.genes:
        parts.append((_build_gene_part(blueprint), slice(0, blueprint.genes)))
    if blueprint.clinical:
        steps = [
            ("scale", build_scaler(blueprint.scale)),
            ("fill", build_imputer(blueprint.impute)),
        ]
        columns = slice(blueprint.genes, blueprint.genes + blueprint.clinical)
        parts.append((Pipeline(steps), columns))
    return SideBySide(parts)


def predict(fitted: Pipeline, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) in [0, 1]: the predicted probability, or for a model without one (svm) the logistic
    function of its margin, so one half is margin 0 (see CALIBRATED in the catalogue). Which value
    predicts the event says `evaluate.decision_threshold`."""
    if hasattr(fitted, "predict_proba"):
        probability: NDArray[np.float64] = fitted.predict_proba(x)[:, 1]
    else:
        probability = expit(fitted.decision_function(x))
    return probability


def warm_up(names: Iterable[str] = MODELS) -> None:
    """Fit each of these models once on very little data, and load what it says it needs besides.

    Libraries load modules and search for one another at the first fit, which a confined process
    cannot do.
    """
    values = np.arange(2 * WARM_PEOPLE * WARM_COLUMNS, dtype=np.float64) % 7
    x, y = values.reshape(-1, WARM_COLUMNS), np.arange(2 * WARM_PEOPLE) % 2
    for number, name in enumerate(names):
        impute, scale = IMPUTERS[number % len(IMPUTERS)], SCALERS[number % len(SCALERS)]
        genes = WARM_COLUMNS - 1
        built = build_model(Blueprint(name, genes, 1, "f", WARM_KEPT, 1, impute, scale, 0))
        predict(built.fit(x, y), x)
        load = REGISTERED[name].load
        if load is not None:
            load()


def _check(blueprint: Blueprint) -> None:
    for name, known in (
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
