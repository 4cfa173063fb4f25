"""Assigns people to folds: stratified by outcome, and people who belong together in one fold."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from analytics.errors import CohortTooSmall

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
INNER_FOLDS = 3  # within the training people of a fold
# The last step of a pipeline that divides its training people once more is named like this.
DIVIDES = "within"


def assign_folds(y: Labels, together: Labels | None, *, folds: int, seed: int) -> Labels:
    """(n,) the fold of each person, stratified by outcome.

    together: (n,) people with equal labels are in one fold: relatives, else a model would be tested
    on people whose genes it has learnt, and copies of one person in a bootstrap sample; None if
    everybody is separate. Raises CohortTooSmall if so many belong together that a model would be
    fitted on one outcome alone.
    """
    if together is None:
        return _assign(StratifiedKFold(folds, shuffle=True, random_state=seed), y, None)
    _, first, which = np.unique(together, return_index=True, return_inverse=True)
    if np.array_equal(y[first][which], y):  # each group has one outcome: dealt out like a person
        assigned = assign_folds(y[first], None, folds=folds, seed=seed)[which]
    else:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        assigned = _assign(splitter, y, together)
    if any(len(np.unique(y[assigned != number])) < 2 for number in range(folds)):
        raise CohortTooSmall("one outcome has too few people who are not related")
    return assigned


def fit_copy(model: Pipeline, x: Floats, y: Labels, together: Labels | None = None) -> Pipeline:
    """A fitted copy of a pipeline. together: as in `assign_folds`, for a last step that divides
    these people once more (`DIVIDES`)."""
    name, _ = model.steps[-1]
    inner = {} if together is None or name != DIVIDES else {f"{name}__groups": together}
    # Not sklearn's clone, which takes a tenth of a small model's training: it inspects each
    # signature.
    fitted: Pipeline = deepcopy(model).fit(x, y, **inner)
    return fitted


class Within:
    """The inner folds, as scikit-learn's searches ask for them (a cross-validation splitter).

    Where a group of relatives leaves one outcome alone, everybody is separate: who is held out of
    the outer fold is related to none of them, so only the choice made here gets worse.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def get_n_splits(self, *_: object, **__: object) -> int:
        return INNER_FOLDS

    def split(
        self, x: Floats, y: Labels, groups: Labels | None = None
    ) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """(train, test) people of each fold."""
        try:
            assigned = assign_folds(y, groups, folds=INNER_FOLDS, seed=self.seed)
        except CohortTooSmall:
            assigned = assign_folds(y, None, folds=INNER_FOLDS, seed=self.seed)
        return [
            (np.flatnonzero(assigned != number), np.flatnonzero(assigned == number))
            for number in range(INNER_FOLDS)
        ]


def _assign(
    splitter: StratifiedKFold | StratifiedGroupKFold, y: Labels, groups: Labels | None
) -> Labels:
    assigned = np.empty(len(y), np.int64)
    for number, (_, test) in enumerate(splitter.split(y, y, groups)):
        assigned[test] = number
    return assigned
