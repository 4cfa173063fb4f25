"""Clusters of people by their data, without the outcome, and whether they are more than chance.

Chance is people without groups (`cluster_references`). Clusters are drawn from a part of the people
that the seed chooses; the others belong to the nearest centre. So a large cohort costs no more than
MOST people, and who knows everybody but one person does not know of whom the clusters are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Loaded here for every run: a confined process loads nothing late.
from sklearn.cluster import AgglomerativeClustering, KMeans  # noqa: F401
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, pairwise_distances, silhouette_score
from sklearn.pipeline import Pipeline

from analytics.cluster_references import copula, normal, permuted
from analytics.clusterings.registry import Clustering
from analytics.features import (
    PrincipalScores,
    SideBySide,
    build_gene_imputer,
    build_imputer,
    build_scaler,
)

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Tick = Callable[[float], None]
MOST_CLUSTERS = 6
PART, MOST = 0.9, 1000  # of the people, and how many at most, of whom the clusters are drawn
HALVES = 10  # divisions of the people into two halves
HALVES_WITHOUT = 1  # of each draw without groups
MOST_SEED = 2**32  # of the libraries' generators


@dataclass(frozen=True, slots=True)
class Data:
    """What people are compared by: (n, columns), NaN is missing, first `genes` gene columns without
    missing values. components: of the genes."""

    x: Floats
    genes: int
    components: int
    impute: str
    seed: int

    @property
    def clinical(self) -> int:
        return int(self.x.shape[1]) - self.genes

    def prepared(self, x: Floats | None = None) -> Floats:
        """(n, columns) of numbers that weigh alike: principal components of the genes, of which the
        first has the variance of a clinical column, then z-scores of the clinical columns. x: other
        people's columns."""
        parts: list[tuple[Pipeline, slice]] = []
        scale = ("scale", build_scaler("z-score"))
        if self.genes:
            turn = ("turn", PrincipalScores(self.components, self.seed))
            parts.append((Pipeline([scale, turn]), slice(0, self.genes)))
        if self.clinical:
            fill = ("fill", build_imputer(self.impute, self.seed))
            parts.append((Pipeline([scale, fill]), slice(self.genes, self.x.shape[1])))
        x = self.x if x is None else x
        nobody = np.zeros(len(x), dtype=np.int64)  # no outcome is looked at
        return SideBySide(parts).fit_transform(x, nobody)


@dataclass(frozen=True, slots=True)
class Clusters:
    """labels: (n,) from 0. silhouettes: of each number of clusters that was tried. stability:
    (clusters,) mean Jaccard over resamples. agreement: adjusted Rand index of clusters that two
    halves of the people give, and what people without groups give. p: of the silhouettes
    (`largest_p`).
    """

    labels: Labels
    silhouettes: dict[int, float]
    stability: Floats
    agreement: float
    agreement_expected: float
    p: float


def gather_data(
    genes: Floats, clinical: Floats, keep: int, components: int, impute: str, seed: int
) -> Data:
    """The columns of a cohort: of the genes the `keep` that vary most, imputed.

    They are cut (`features.Bounded`) before anything is computed of them, and the drawn people
    choose: else one unusual value would choose its gene, or fill it where others lack it, and of
    two genes that vary alike the presence of one person would.
    """
    if genes.shape[1]:
        ends = build_scaler("z-score").fit(genes)
        genes = build_gene_imputer(impute).fit_transform(np.clip(genes, ends.low_, ends.high_))
        drawn = draw_people(len(genes), np.random.default_rng(seed))
        most = np.sort(np.argsort(-genes[drawn].var(axis=0), kind="stable")[:keep])
        genes = genes[:, most]
    return Data(np.hstack([genes, clinical]), genes.shape[1], components, impute, seed)


def find_clusters(
    method: Clustering,
    data: Data,
    tried: Sequence[int],
    resamples: int,
    references: int,
    choose: Callable[[dict[int, float]], int],
    tick: Tick,
) -> Clusters:
    """Clusters of everybody, and how sure they are. tried: numbers of clusters; choose: the one
    that is taken, from the silhouette of each; references: draws of each kind without groups.
    """
    draw = np.random.default_rng(data.seed)
    x = data.prepared()
    chosen = draw_people(len(x), draw)
    part = x[chosen]
    finder = _Finder(method, draw)
    partitions = {k: finder.divide(part, k) for k in tried}
    silhouettes = dict(zip(tried, silhouettes_of(part, partitions.values()), strict=True))
    k = choose(silhouettes)
    labels = assign(x, centres_of(part, partitions[k]))
    labels[chosen] = partitions[k]
    stability = finder.stability(part, partitions[k], k, resamples)
    tick(0.3)
    agreement = finder.agreement(part, k, HALVES)
    observed = list(silhouettes.values())
    expectations, ps = [], []
    columns = data.x[chosen]
    kinds = (
        permuted(columns, data.prepared, draw),
        normal(part, draw),
        copula(columns, data.prepared, draw),
    )
    for turn, kind in enumerate(kinds):
        expected, drawn = [], [observed]
        for at in range(references):
            other = next(kind)
            drawn.append(silhouettes_of(other, [finder.divide(other, k) for k in tried]))
            expected.append(finder.agreement(other, k, HALVES_WITHOUT))
            tick(0.3 + 0.7 * (turn + (at + 1) / references) / len(kinds))
        expectations.append(float(np.mean(expected)))
        ps.append(largest_p(np.array(drawn)))
    return Clusters(labels, silhouettes, stability, agreement, max(expectations), max(ps))


def largest_p(silhouettes: Floats) -> float:
    """p of the first row (of people, then of each draw without groups) by its largest standardised
    value over the numbers of clusters, and so does each draw: the choice among them is counted
    (Westfall & Young 1993, max-T). silhouettes: (1 + draws, numbers of clusters)."""
    spread = silhouettes.std(axis=0)
    gap = silhouettes - silhouettes.mean(axis=0)
    largest = (gap / np.where(spread > 0, spread, 1.0)).max(axis=1)
    return float((largest >= largest[0]).mean())


def draw_people(people: int, draw: np.random.Generator) -> Labels:
    """The positions of whom clusters are drawn, rising."""
    most = min(MOST, int(np.ceil(PART * people)))
    return np.sort(draw.permutation(people)[:most])


def silhouettes_of(x: Floats, partitions: Iterable[Labels]) -> list[float]:
    """The mean silhouette (Rousseeuw 1987, J Comput Appl Math 20:53) of each partition of the rows of x,
    -1 to 1; -1 for one cluster."""
    apart = pairwise_distances(x)
    return [
        float(silhouette_score(apart, labels, metric="precomputed"))
        if len(np.unique(labels)) > 1
        else -1.0
        for labels in partitions
    ]


def centres_of(x: Floats, labels: Labels) -> Floats:
    """(clusters, columns) means."""
    return np.array([x[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])


def assign(x: Floats, centres: Floats) -> Labels:
    """(n,) the nearest centre of each row."""
    distances = (centres**2).sum(axis=1) - 2 * x @ centres.T
    nearest: Labels = distances.argmin(axis=1).astype(np.int64)
    return nearest


@dataclass(frozen=True, slots=True)
class _Finder:
    """A clustering with its generator."""

    method: Clustering
    draw: np.random.Generator

    def divide(self, x: Floats, k: int) -> Labels:
        with warnings.catch_warnings():  # of fewer different rows than clusters
            warnings.simplefilter("ignore", ConvergenceWarning)
            divided = self.method.divide(x, k, int(self.draw.integers(MOST_SEED)))
        _, labels = np.unique(divided, return_inverse=True)
        return labels.astype(np.int64)

    def stability(self, x: Floats, labels: Labels, k: int, resamples: int) -> Floats:
        """Of each cluster the mean, over bootstrap samples of the people, of its largest Jaccard
        similarity to a cluster of the sample (Hennig 2007, Comput Stat Data Anal 52:258)."""
        total = np.zeros(int(labels.max()) + 1)
        for _ in range(resamples):
            sample = self.draw.integers(len(x), size=len(x))
            people, at = np.unique(sample, return_index=True)
            before, after = labels[people], self.divide(x[sample], k)[at]
            both = np.zeros((len(total), int(after.max()) + 1))
            np.add.at(both, (before, after), 1)
            either = both.sum(axis=1)[:, None] + both.sum(axis=0) - both
            total += (both / np.maximum(either, 1)).max(axis=1)
        stable: Floats = total / resamples
        return stable

    def agreement(self, x: Floats, k: int, times: int) -> float:
        """The mean adjusted Rand index (Hubert & Arabie 1985, J Classif 2:193) of everybody's
        clusters by the centres of two halves.
        """
        indices = []
        for _ in range(times):
            order = self.draw.permutation(len(x))
            first, second = (
                assign(x, centres_of(x[half], self.divide(x[half], k)))
                for half in (order[: len(x) // 2], order[len(x) // 2 :])
            )
            indices.append(adjusted_rand_score(first, second))
        return float(np.mean(indices))
