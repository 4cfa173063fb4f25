"""Nearest neighbours that work in a training fold of any size."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier


class Neighbours(KNeighborsClassifier):  # type: ignore[misc]
    """At most `most` nearest neighbours; fewer in a small fold: an error would reveal its size."""

    def __init__(self, most: int) -> None:
        super().__init__(weights="distance")
        self.most = most

    def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> Self:
        self.n_neighbors = min(self.most, len(y))
        super().fit(x, y)
        return self
