"""Attention of a recurrent network: how much each time step weighs in what it reads of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.explanations.registry import (
    MEAN_SIZE,
    SHARE,
    STEPS,
    Explanation,
    Unseen,
    register,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def explain(unseen: Unseen) -> NDArray[np.float64]:
    """By step, the share of the attention (Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473);
    0 for somebody without any value.
    """
    weights: NDArray[np.float64] = unseen.model.classifier.attention(unseen.test)
    return weights


register(
    Explanation(
        name="attention",
        shown="attention, of each time step (LSTM)",
        says="The mean share of its attention that the network gives to a time step of somebody it "
        "was not fitted on, all series together; a step without a value gets none. It tells where the "
        "network looks. It is no cause, and it does not say that other steps are of no use (Jain & "
        "Wallace 2019).",
        of=STEPS,
        scale=SHARE,
        background="none",
        summary=MEAN_SIZE,
        explain=explain,
        form="recurrent",
    )
)
