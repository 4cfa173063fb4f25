"""Clusters: groups that are there are recovered, and where there are none it says so."""

import numpy as np
import pytest
from extent import extent
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

from analytics.cluster_references import copula
from analytics.clusterings import REGISTERED
from analytics.clusters import (
    _Finder,
    assign,
    centres_of,
    find_clusters,
    gather_data,
    silhouettes_of,
)
from analytics.features import PrincipalScores
from analytics.simulate.groups import recover_groups, simulate_groups


@pytest.mark.parametrize(("method", "genes"), [("k-means", False), ("ward", True)])
def test_groups_that_are_there_are_recovered(method: str, genes: bool) -> None:
    index, p = recover_groups(method, simulate_groups(150, 1), genes, 1)
    assert index >= 0.8
    assert p == 0.05  # the least that 19 draws can give


@pytest.mark.parametrize("genes", [False, True], ids=["clinical", "genes"])
def test_without_groups_clusters_are_chance(genes: bool) -> None:
    """Of the quicker method; `make science` measures both on more cohorts. The draws without groups
    take their best number of clusters too: else the best of five would look like more than chance.
    """
    groups = [
        recover_groups("ward", simulate_groups(80, seed, apart=0.0), genes, seed)
        for seed in range(5)
    ]
    indices, ps = np.array(groups).T
    assert abs(indices.mean()) <= 0.04
    assert (ps <= 0.05).sum() <= 1
    assert ps.mean() > 0.25


def p_of(x: np.ndarray, clusters: int = 2) -> float:
    data = gather_data(np.empty((len(x), 0)), x, 1, 1, "mean", 1)
    ward, numbers = REGISTERED["ward"], [clusters]
    return find_clusters(ward, data, numbers, 1, 19, lambda _: clusters, lambda _: None).p


def test_columns_that_go_together_are_no_groups() -> None:
    """Permuted columns alone would call every correlation a cluster."""
    draw = np.random.default_rng(3)
    gradient = draw.normal(size=(150, 4)) + 1.5 * draw.normal(size=(150, 1))
    assert p_of(gradient) > 0.05
    assert p_of(gradient + 6 * (draw.random((150, 1)) < 0.5)) <= 0.05


def test_one_column_of_two_values_is_no_groups() -> None:
    """One normal distribution alone would call every yes and no a cluster."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=(150, 4))
    x[:, 0] = draw.random(150) < 0.3
    assert p_of(x) > 0.05


def yes_and_no(seed: int, apart: float = 0.0) -> np.ndarray:
    """Three yes or no and three skewed columns of 100 people that go together; `apart`: of three
    groups.
    """
    draw = np.random.default_rng(seed)
    z = 0.8 * draw.normal(size=(100, 1)) + 0.6 * draw.normal(size=(100, 6))
    skewed = np.exp(z[:, 3:]) + apart * (draw.integers(3, size=(100, 1)) == np.arange(3))
    return np.hstack([z[:, :3] > [-0.3, 0.3, 0.8], skewed])


@pytest.mark.campaign
def test_skewed_columns_and_yes_or_no_that_go_together_are_no_groups() -> None:
    """Without a reference that keeps both margins and covariances, each of these has p 0.05 or
    less.
    """
    cohorts = extent(3, 40)
    assert sum(p_of(yes_and_no(seed)) <= 0.05 for seed in range(cohorts)) <= max(1, cohorts // 10)
    assert p_of(yes_and_no(1, apart=16.0), 3) <= 0.05


def test_a_copula_keeps_values_and_how_they_go_together() -> None:
    x = yes_and_no(3).astype(float)
    x[:20, 0] = np.nan
    drawn = copula(x, lambda columns: columns, np.random.default_rng(1))
    many = [next(drawn) for _ in range(60)]
    assert all(
        np.array_equal(np.sort(copy, axis=0), np.sort(x, axis=0), equal_nan=True) for copy in many
    )
    together = np.mean([spearmanr(copy, nan_policy="omit").statistic for copy in many], axis=0)
    assert np.abs(together - spearmanr(x, nan_policy="omit").statistic).max() < 0.06


def test_the_nearest_centre_takes_whoever_was_not_drawn() -> None:
    simulated = simulate_groups(120, 5, groups=2, apart=8.0)
    data = gather_data(np.empty((120, 0)), simulated.clinical, 1, 1, "mean", 2)
    clusters = find_clusters(REGISTERED["k-means"], data, [2], 2, 1, lambda _: 2, lambda _: None)
    assert adjusted_rand_score(clusters.labels, simulated.group) == 1.0
    assert clusters.stability.min() == 1.0
    assert clusters.agreement == 1.0
    x = data.prepared()
    assert np.array_equal(assign(x, centres_of(x, clusters.labels)), clusters.labels)


def test_who_draws_the_clusters_goes_by_the_seed() -> None:
    """Who knows everybody but one person does not know of whom they are drawn, so a method that
    draws nothing itself gives other clusters with another key.
    """
    x = simulate_groups(60, 5, apart=0.0).clinical
    labels = []
    for seed in (1, 1, 2, 3):
        data = gather_data(np.empty((60, 0)), x, 1, 1, "mean", seed)
        labels.append(
            find_clusters(REGISTERED["ward"], data, [3], 1, 1, lambda _: 3, lambda _: None).labels
        )
    assert np.array_equal(labels[0], labels[1])
    assert adjusted_rand_score(labels[0], labels[2]) < 0.99
    assert adjusted_rand_score(labels[0], labels[3]) < 0.99


def test_stability_is_hennigs_mean_of_the_largest_jaccard() -> None:
    """By hand: a clustering that always puts everybody's first half apart, whatever the sample."""
    x = np.arange(12.0)[:, None]
    method = REGISTERED["ward"]
    draw = np.random.default_rng(1)
    labels = (np.arange(12) >= 6).astype(np.int64)
    samples = [np.random.default_rng(1).integers(12, size=12)]
    people = np.unique(samples[0])
    again = method.divide(x[samples[0]], 2, 0)
    at = [int(np.flatnonzero(samples[0] == person)[0]) for person in people]
    expected = [
        max(
            len(mine & other) / len(mine | other)
            for value in (0, 1)
            for other in [{p for p, where in zip(people, at, strict=True) if again[where] == value}]
        )
        for label in (0, 1)
        for mine in [{p for p in people if labels[p] == label}]
    ]
    got = _Finder(method, draw).stability(x, labels, 2, 1)
    assert got == pytest.approx(expected)


def test_one_cluster_has_no_silhouette_and_equal_rows_are_divided_less() -> None:
    assert silhouettes_of(np.ones((4, 1)), [np.zeros(4, dtype=np.int64)]) == [-1.0]
    finder = _Finder(REGISTERED["k-means"], np.random.default_rng(1))
    assert set(finder.divide(np.repeat([[0.0], [1.0]], 10, axis=0), 4)) == {0, 1}


def test_one_unusual_value_chooses_no_gene_and_fills_none() -> None:
    """A value of 1,000 in the gene that varies least, which a fifth of the people lack."""
    draw, nothing = np.random.default_rng(1), np.empty((120, 0))
    genes = draw.normal(size=(120, 30)) * np.linspace(1, 3, 30)
    genes[:24, 0] = np.nan
    usual = gather_data(genes, nothing, 5, 2, "mean", 1)
    genes[60, 0] = 1000.0
    assert np.array_equal(gather_data(genes, nothing, 5, 2, "mean", 1).x, usual.x)
    filled = gather_data(genes, nothing, 30, 2, "mean", 1).x[:24, 0]
    assert np.abs(filled).max() < 0.2


def test_who_decides_between_genes_that_vary_alike_goes_by_the_seed() -> None:
    """Who knows everybody but one person would tell her presence by the gene that is taken."""
    genes = np.random.default_rng(1).normal(size=(120, 30))
    kept = [gather_data(genes, np.empty((120, 0)), 1, 1, "mean", seed) for seed in range(12)]
    assert len({data.x.tobytes() for data in kept}) > 1


def test_genes_that_vary_most_are_kept_and_weigh_like_a_clinical_column() -> None:
    draw = np.random.default_rng(1)
    genes = draw.normal(size=(50, 6)) * [1, 5, 1, 4, 1, 3]
    genes[0, 1] = np.nan
    data = gather_data(genes, draw.normal(size=(50, 2)), 3, 2, "mean", 1)
    assert data.genes == 3
    inner = slice(5, -5)  # a tenth at either end is cut
    for kept, gene in zip(data.x[1:, :3].T, genes[1:, [1, 3, 5]].T, strict=True):
        assert np.array_equal(np.sort(kept)[inner], np.sort(gene)[inner])
    prepared = data.prepared()
    assert prepared.shape == (50, 4)
    assert prepared[:, 0].var(ddof=1) == pytest.approx(1.0)
    assert prepared[:, 1].var() <= 1.0
    with np.errstate(invalid="ignore"):
        assert not PrincipalScores(1, 1).fit_transform(np.ones((5, 2))).any()
