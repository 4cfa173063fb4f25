"""Names of models, feature sets, selectors, imputers, scalers and devices, and facts about models.

Loads no numerical library.
"""

from __future__ import annotations

from collections.abc import Mapping

from analytics.models import REGISTERED

# combined: all columns in one model. fused: a model on each kind of data and one on all, weighed
# (analytics/fusion.py). An assay that the parameters name is a feature set of its own.
COMBINED, FUSED = "combined", "fused"
TOGETHER = (COMBINED, FUSED)
FEATURE_SETS = ("genes", "clinical", "series", *TOGETHER)
# What gives the components that are added to gene columns.
PCA, AUTOENCODER = "pca", "autoencoder"
MODELS = tuple(REGISTERED)
SELECTORS = ("chi2", "f", "mutual-information", "score")
IMPUTERS = ("knn", "mean", "median", "multiple", "regression")
SCALERS = ("min-max", "z-score")
DEVICES = ("auto", "cpu", "cuda")
# Of each model what it says of itself (analytics/models/registry.py).
SHOWN: Mapping[str, str] = {name: model.shown for name, model in REGISTERED.items()}
IN_FULL: Mapping[str, str] = {name: model.in_full for name, model in REGISTERED.items()}
COST: Mapping[str, int] = {name: model.cost for name, model in REGISTERED.items()}
GRID: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    name: model.grid for name, model in REGISTERED.items()
}
CALIBRATED: Mapping[str, bool] = {name: model.calibrated for name, model in REGISTERED.items()}
RELEASABLE: Mapping[str, str | None] = {
    name: model.releasable for name, model in REGISTERED.items()
}


def estimates_probability(model: str, feature_set: str) -> bool:
    """Whether the row of a model predicts a probability: fused margins become one in any case."""
    return CALIBRATED[model] or feature_set == FUSED
