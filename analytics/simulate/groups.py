"""Simulated people in groups that are known, to see whether clusters find them; or in none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from analytics.clusterings import REGISTERED
from analytics.clusters import MOST_CLUSTERS, find_clusters, gather_data

CLINICAL, GENES, MARKERS = 4, 200, 40  # columns; MARKERS of the genes differ between groups
KEPT, COMPONENTS = 200, 5


@dataclass(frozen=True, slots=True)
class Groups:
    """group: (n,) from 0. event: (n,) more frequent the higher the group, if there are any.
    clinical: (n, CLINICAL); genes: (n, GENES).
    """

    group: NDArray[np.int64]
    event: NDArray[np.int64]
    clinical: NDArray[np.float64]
    genes: NDArray[np.float64]


def simulate_groups(people: int, seed: int, groups: int = 3, apart: float = 5.0) -> Groups:
    """People whose columns are normal around the centre of their group. apart: how far the centres
    are from each other in standard deviations; 0 for people without groups, who have a group by
    name only.
    """
    draw = np.random.default_rng(seed)
    group = draw.integers(groups, size=people)
    centres = apart * np.eye(groups, CLINICAL) / 2**0.5
    markers = apart / 4 * draw.normal(size=(groups, MARKERS))
    genes = draw.normal(size=(people, GENES))
    genes[:, :MARKERS] += markers[group]
    risk = 0.3 + (0.2 * (group - (groups - 1) / 2) if apart else 0.0)
    return Groups(
        group,
        (draw.random(people) < risk).astype(np.int64),
        draw.normal(size=(people, CLINICAL)) + centres[group],
        genes,
    )


def recover_groups(
    method: str, simulated: Groups, with_genes: bool, seed: int, references: int = 19
) -> tuple[float, float]:
    """(adjusted Rand index of the clusters and the groups, p); nothing is perturbed."""
    people = len(simulated.group)
    genes = simulated.genes if with_genes else np.empty((people, 0))
    clinical = np.empty((people, 0)) if with_genes else simulated.clinical
    data = gather_data(genes, clinical, KEPT, COMPONENTS, "median", seed)
    clusters = find_clusters(
        REGISTERED[method],
        data,
        range(2, MOST_CLUSTERS + 1),
        resamples=1,
        references=references,
        choose=lambda silhouettes: max(silhouettes, key=silhouettes.__getitem__),
        tick=lambda _: None,
    )
    return float(adjusted_rand_score(simulated.group, clusters.labels)), clusters.p
