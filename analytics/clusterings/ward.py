"""Ward's method: hierarchical, joins the two groups that stay most alike (Ward 1963, JASA 58:236)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.clusterings.registry import Clustering, register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def divide(x: NDArray[np.float64], clusters: int, seed: int) -> NDArray[np.int64]:
    """Labels by scikit-learn's AgglomerativeClustering; draws nothing."""
    from sklearn.cluster import AgglomerativeClustering

    labels: NDArray[np.int64] = AgglomerativeClustering(clusters, linkage="ward").fit_predict(x)
    return labels


register(Clustering(name="ward", shown="hierarchical, by Ward's method", divide=divide))
