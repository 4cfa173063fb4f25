"""Linear SHAP: the coefficient times the distance from the mean of the training people."""

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
    """Interventional Shapley values of a linear model (Lundberg & Lee 2017; Janzing et al. 2020,
    https://arxiv.org/abs/1910.13413), in log-odds: columns are taken as if they were independent.
    Their sum is the person's log-odds less the mean log-odds of the training people.
    """
    from analytics.models.pipeline import sum_by_part

    coefficients = unseen.model.classifier.coef_[0]
    return sum_by_part((unseen.test - unseen.train.mean(axis=0)) * coefficients, unseen.parts)


register(
    Explanation(
        name="shap-linear",
        shown="linear SHAP, of each column (logistic)",
        says="The mean size of what a column adds to the log-odds of somebody the model was not "
        "fitted on, compared with the mean of the training people.",
        of=COLUMNS,
        scale=LOG_ODDS,
        background="training-mean",
        summary=MEAN_SIZE,
        explain=explain,
        form="linear",
    )
)
