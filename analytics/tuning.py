"""Chooses a model's settings within the training people of a fold.

Settings that are chosen with the people they are tested on look better than they are (Varma & Simon
2006, BMC Bioinformatics 7:91), so the search is part of what is fitted (nested cross-validation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from analytics.evaluate import Floats, Labels, placement_values
from analytics.folds import DIVIDES, INNER_FOLDS, Within
from analytics.models.pipeline import CLASSIFY, predict


def search(model: Pipeline, grid: Mapping[str, Sequence[float]], seed: int) -> Pipeline:
    """A pipeline that fits `model` with each setting of its classifier (all combinations of `grid`)
    on inner folds, and then with the best on everybody. The first of equally good ones is taken.
    """
    settings = {f"{CLASSIFY}__{name}": list(values) for name, values in grid.items()}
    best = GridSearchCV(model, settings, scoring=_auc, cv=Within(seed), error_score="raise")
    return Pipeline([(DIVIDES, best)])


def count_fits(grid: Mapping[str, Sequence[float]]) -> int:
    """How many fits a search takes for each fit without one."""
    combinations = 1
    for values in grid.values():
        combinations *= len(values)
    return INNER_FOLDS * combinations + 1


def _auc(fitted: Pipeline, x: Floats, y: Labels) -> float:
    """AUC on an inner fold; one half where it has one outcome only (a bootstrap sample can)."""
    return float(placement_values(predict(fitted, x), y)[y == 1].mean()) if y.any() else 0.5
