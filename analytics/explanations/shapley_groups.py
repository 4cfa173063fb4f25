"""Exact Shapley values of groups: all genes together, and each clinical variable, of any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.explanations.registry import (
    GROUPS,
    MEAN_SIZE,
    PROBABILITY,
    Explanation,
    Unseen,
    register,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BACKGROUND = 20  # training people, drawn, whose columns replace those of a missing group
MOST_ROWS = 400_000  # predicted in a fold; beyond it, not everybody who is left out is explained
LEAST_EXPLAINED = 10  # people of a fold, if it has so many


def explain(unseen: Unseen) -> NDArray[np.float64]:
    """Shapley values (Shapley 1953) of the groups' contributions to the predicted probability.

    What a model predicts from some groups alone is its mean prediction where the other groups'
    columns are those of each background person: the interventional expectation (Janzing et al.
    2020). Every subset of groups is tried, so nothing is estimated but that mean. The values of a
    person sum to her prediction less the mean prediction of the background.
    """
    import numpy as np

    draw = np.random.default_rng(unseen.seed)
    groups = int(unseen.parts.max()) + 1
    background = unseen.train[draw.permutation(len(unseen.train))[:BACKGROUND]]
    most = max(LEAST_EXPLAINED, MOST_ROWS // (len(background) << groups))
    explained = np.sort(draw.permutation(len(unseen.test))[:most])
    values = np.full((len(unseen.test), groups), np.nan)
    worth = np.stack(
        [
            _worth(unseen, explained, background, (subset >> unseen.parts & 1).astype(np.bool_))
            for subset in range(1 << groups)
        ]
    )
    values[explained] = shapley_values(worth).T
    return values


def shapley_values(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(groups, n) Shapley values. worth: (2^groups, n) of every subset, by the bits of its number."""
    import numpy as np

    subsets = np.arange(len(worth))
    groups = len(worth).bit_length() - 1
    sizes = np.array([int(subset).bit_count() for subset in subsets])
    weights = _weights(groups)
    values = []
    for group in range(groups):
        without = subsets[(subsets >> group & 1) == 0]
        gained = worth[without | 1 << group] - worth[without]
        values.append(weights[sizes[without]] @ gained)
    return np.array(values)


def _worth(
    unseen: Unseen,
    explained: NDArray[np.int64],
    background: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(explained,) mean prediction with the `known` columns of each person, and the others of the
    background."""
    import numpy as np

    own = unseen.test[explained][:, None, :]
    rows = np.where(known, own, background[None, :, :]).reshape(-1, unseen.test.shape[1])
    means: NDArray[np.float64] = (
        unseen.model.predict(rows).reshape(len(explained), len(background)).mean(axis=1)
    )
    return means


def _weights(groups: int) -> NDArray[np.float64]:
    """By the size of a subset, its share in the mean over all orders of the groups."""
    from math import comb

    import numpy as np

    return np.array([1 / (groups * comb(groups - 1, size)) for size in range(groups)])


register(
    Explanation(
        name="shapley-groups",
        shown="Shapley values, of all genes and of each clinical variable",
        says="The mean size of what this part of the data adds to the predicted probability of "
        "somebody the model was not fitted on, compared with training people.",
        of=GROUPS,
        scale=PROBABILITY,
        background="training-people",
        summary=MEAN_SIZE,
        explain=explain,
        passes=2,
        most_groups=10,
    )
)
