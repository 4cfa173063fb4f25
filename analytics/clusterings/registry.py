"""What a clustering says of itself, and the list of clusterings.

Imports no numerical library, so that the command line and the pages can read the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics.registered import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustering:
    """One clustering of the catalogue.

    name: in parameters and results, and of its module with hyphens. shown: on pages. divide: (n,)
    labels from 0 of the rows of x (n, columns) in so many clusters (fewer, if fewer rows differ);
    seed: for what is drawn. Imports its libraries when it is called.
    """

    name: str
    shown: str
    divide: Callable[[NDArray[np.float64], int, int], NDArray[np.int64]]


# Each module of a clustering calls `register` once.
CLUSTERINGS: Registry[Clustering] = Registry("clustering", ("registry",))
register = CLUSTERINGS.register
