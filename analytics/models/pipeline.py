"""The pipeline around each model, one of scikit-learn: all fitting happens inside the fold.

Imputation, scaling, selection, components and the classifier see only the training people of a fold
(selection before cross-validation "finds" 90 % accuracy on noise).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import FeatureUnion, Pipeline

from analytics.catalogue import AUTOENCODER, IMPUTERS, MODELS, SCALERS, SELECTORS
from analytics.errors import ParamsError
from analytics.features import (
    IMPUTATIONS,
    SCORES,
    Components,
    SetMeans,
    SideBySide,
    build_gene_imputer,
    build_imputer,
    build_scaler,
)
from analytics.imputation import Imputed
from analytics.models import REGISTERED
from analytics.models.registry import Block, Blueprint
from analytics.series import Steps, Summaries

# People of each outcome and columns (the last one clinical) of `warm_up`: above 15 columns, the
# neighbour search uses the same algorithm as in real runs.
WARM_PEOPLE, WARM_COLUMNS, WARM_KEPT = 20, 24, 20
WARM_STEPS = 3  # of a series, for a model that reads one
CLASSIFY = "classify"  # the name of a pipeline's last step
MOST_SEED = 2**32  # of the libraries' generators
# What a component of the first block of genes comes from, instead of a column; of the next block
# one less, and so on.
COMPONENT = -1


@dataclass(frozen=True, slots=True)
class Opened:
    """A fitted model in its two parts: what its columns become, and the classifier on those.

    origins: (columns of the classifier,) the input column that each comes from, or COMPONENT; a
    gene set is one input column here, in place of its genes. columns: None for a fused model or
    several imputations, whose parts have columns of their own: the input stays as it is.
    """

    columns: SideBySide | None
    classifier: Any
    origins: NDArray[np.int64]

    def transform(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x if self.columns is None else self.columns.transform(x)

    def predict(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `predict`, of columns that are transformed already."""
        return predict(self.classifier, columns)


def build_model(blueprint: Blueprint) -> Pipeline:
    """The unfitted pipeline. Raises ParamsError for an unknown name or invalid column counts.

    Clinical columns are never selected. Genes are imputed and selected unscaled, since chi2 counts
    genotypes, and scaled afterwards; clinical columns are scaled before imputation, since knn finds
    neighbours by distance.
    """
    if blueprint.model not in MODELS:
        raise ParamsError("a model's part is not one of " + ", ".join(MODELS))
    if blueprint.impute == "multiple" and blueprint.clinical:
        members = [_build_once(blueprint, number) for number in range(IMPUTATIONS)]
        return Pipeline([(CLASSIFY, Imputed(members))])
    return _build_once(blueprint)


def _build_once(blueprint: Blueprint, imputation: int = 0) -> Pipeline:
    return Pipeline(
        [
            ("columns", build_columns(blueprint, imputation)),
            (CLASSIFY, REGISTERED[blueprint.model].build(blueprint)),
        ]
    )


def build_columns(blueprint: Blueprint, imputation: int = 0) -> SideBySide:
    """What stands before a model: the unfitted imputation, selection, components and scaling.
    imputation: which of several, of `multiple`.

    Raises ParamsError for an unknown name or invalid column counts.
    """
    _check(blueprint)
    parts: list[tuple[BaseEstimator, slice]] = []
    first = 0
    for block in blueprint.of_genes:
        parts.append((_build_gene_part(blueprint, block), slice(first, first + block.columns)))
        first += block.columns
    if blueprint.clinical:
        steps = [
            ("scale", build_scaler(blueprint.scale)),
            ("fill", build_imputer(blueprint.impute, (blueprint.seed + imputation) % MOST_SEED)),
        ]
        columns = slice(blueprint.genes, blueprint.genes + blueprint.clinical)
        parts.append((Pipeline(steps), columns))
    if blueprint.series:
        start = blueprint.genes + blueprint.clinical
        parts.append((_build_series_part(blueprint), slice(start, start + blueprint.series)))
    return SideBySide(parts)


def predict(fitted: Any, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) in [0, 1]: the predicted probability, or for a model without one (svm) the logistic
    function of its margin, so one half is margin 0 (see CALIBRATED in the catalogue). Which value
    predicts the event says `evaluate.decision_threshold`."""
    if hasattr(fitted, "predict_proba"):
        probability: NDArray[np.float64] = fitted.predict_proba(x)[:, 1]
    else:
        probability = expit(fitted.decision_function(x))
    return probability


def open_model(fitted: Pipeline, columns: int) -> Opened:
    """The parts of a fitted pipeline, of which the settings may have been chosen (tuning.py).

    columns: number of input columns.
    """
    last = fitted.steps[-1][1]
    fitted = getattr(last, "best_estimator_", fitted)
    before = fitted.named_steps.get("columns")
    origins = np.arange(columns) if before is None else _origins(before)
    return Opened(before, fitted.steps[-1][1], origins)


def sum_by_part(values: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, parts) sums of the columns of each part. parts: (columns,) from 0."""
    order = np.argsort(parts, kind="stable")
    first = np.searchsorted(parts[order], np.arange(int(parts.max()) + 1))
    summed: NDArray[np.float64] = np.add.reduceat(values[:, order], first, axis=1)
    return summed


def warm_up(names: Iterable[str] = MODELS) -> None:
    """Fit each of these models, or the autoencoder, once on very little data, and load what it says
    it needs besides.

    Libraries load modules and search for one another at the first fit, which a confined process
    cannot do.
    """
    values = np.arange(2 * WARM_PEOPLE * WARM_COLUMNS, dtype=np.float64) % 7
    x, y = values.reshape(-1, WARM_COLUMNS), np.arange(2 * WARM_PEOPLE) % 2
    for number, name in enumerate(names):
        impute, scale = IMPUTERS[number % len(IMPUTERS)], SCALERS[number % len(SCALERS)]
        encodes = name == AUTOENCODER
        model = "logistic" if encodes else name
        series = WARM_STEPS * REGISTERED[model].reads_series
        blueprint = Blueprint(
            model, WARM_COLUMNS - 1 - series, 1, "f", WARM_KEPT, 1, impute, scale, 0
        )
        blueprint = replace(blueprint, series=series, steps=WARM_STEPS)
        built = build_model(replace(blueprint, encoder=name) if encodes else blueprint)
        predict(built.fit(x, y), x)
        load = REGISTERED[model].load
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
    counts = (blueprint.genes, blueprint.clinical, blueprint.series, blueprint.components)
    if (
        min(counts) < 0
        or blueprint.genes + blueprint.clinical + blueprint.series == 0
        or (blueprint.genes and blueprint.keep < 1)
    ):
        raise ParamsError("a model needs at least one column, and keeps at least one of its genes")


def _origins(fitted: SideBySide) -> NDArray[np.int64]:
    """The input column (or gene set) of each column that `build_columns` makes, or COMPONENT."""
    origins, first = [], 0
    for number, (part, columns) in enumerate(fitted.fitted_):
        sets = part.named_steps.get("sets")
        width = columns.stop - columns.start if sets is None else sets.members.shape[1]
        own = np.arange(first, first + width)
        first += width
        reader = part.steps[0][1]
        if isinstance(reader, Steps | Summaries):
            origins.append(own[reader.origins()])
            continue
        both = part.named_steps.get("both")
        chosen = part if both is None else dict(both.transformer_list)["chosen"]
        select = chosen.named_steps.get("select")
        origins.append(own if select is None else own[select.get_support()])
        if both is not None:
            turned = dict(both.transformer_list)["components"].named_steps["turn"]
            origins.append(np.full(len(turned.factor_), COMPONENT - number))
    return np.concatenate(origins)


def _build_gene_part(blueprint: Blueprint, block: Block) -> Pipeline:
    steps: list[tuple[str, BaseEstimator]] = [("scale", build_scaler(blueprint.scale))]
    if blueprint.keep < block.features:
        steps.insert(0, ("select", SelectKBest(SCORES[blueprint.select], k=blueprint.keep)))
    if blueprint.components:
        turned = Pipeline([("scale", build_scaler(blueprint.scale)), ("turn", _encoder(blueprint))])
        steps = [("both", FeatureUnion([("chosen", Pipeline(steps)), ("components", turned)]))]
    steps.insert(0, ("fill", build_gene_imputer(blueprint.impute)))
    if block.sets is not None:
        steps.insert(0, ("sets", SetMeans(block.sets)))
    return Pipeline(steps)


def _encoder(blueprint: Blueprint) -> BaseEstimator:
    """What gives the components of the genes; imports torch for the autoencoder alone."""
    if blueprint.encoder != AUTOENCODER:
        return Components(blueprint.components, blueprint.seed)
    from analytics.encoder import Autoencoder

    return Autoencoder(blueprint.components, blueprint.seed)


def _build_series_part(blueprint: Blueprint) -> Pipeline:
    """The steps for a model that reads them; else mean and slope, imputed as genes are: each series
    is regressed on no other column.
    """
    if REGISTERED[blueprint.model].reads_series:
        return Pipeline([("read", Steps(blueprint.scale))])
    return Pipeline(
        [
            ("summarise", Summaries(blueprint.steps)),
            ("scale", build_scaler(blueprint.scale)),
            ("fill", build_gene_imputer(blueprint.impute)),
        ]
    )
