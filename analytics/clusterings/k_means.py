"""k-means: groups around as many centres (Lloyd 1982, IEEE Trans Inf Theory 28:129)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.clusterings.registry import Clustering, register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STARTS = 3  # from which the best is taken


def divide(x: NDArray[np.float64], clusters: int, seed: int) -> NDArray[np.int64]:
    """Labels by scikit-learn's KMeans, from several starts by k-means++."""
    from sklearn.cluster import KMeans

    labels: NDArray[np.int64] = KMeans(clusters, n_init=STARTS, random_state=seed).fit_predict(x)
    return labels


register(Clustering(name="k-means", shown="k-means", divide=divide))
