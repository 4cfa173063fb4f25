"""Integrated gradients of a network, from the mean of the training people to each person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.explanations.registry import (
    COLUMNS,
    LOG_ODDS,
    MEAN_SIZE,
    Explanation,
    Unseen,
    register,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def explain(unseen: Unseen) -> NDArray[np.float64]:
    """By column, the gradient of the log-odds on the straight line from the baseline, the mean of
    the training people, to the person, integrated (Sundararajan et al. 2017,
    https://arxiv.org/abs/1703.01365). The values of a person sum to her log-odds less those of the
    baseline.
    """
    from analytics.models.pipeline import sum_by_part

    values = unseen.model.classifier.integrated_gradients(unseen.test, unseen.train.mean(axis=0))
    return sum_by_part(values, unseen.parts)


register(
    Explanation(
        name="integrated-gradients",
        shown="integrated gradients, of each column (CNN)",
        says="The mean size of what a column adds to the log-odds of somebody the network was not "
        "fitted on, along the straight line from the mean of the training people to her.",
        of=COLUMNS,
        scale=LOG_ODDS,
        background="training-mean",
        summary=MEAN_SIZE,
        explain=explain,
        form="network",
    )
)
