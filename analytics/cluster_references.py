"""People without groups, with whom clusters are compared: three kinds, the hardest one counts.

- columns that are permuted each for itself, which keeps what each column is and breaks how they go
  together;
- one normal distribution with the same covariances (Liu et al. 2008, JASA 103:1281), in which columns
  go together and nobody is grouped;
- a Gaussian copula of the columns' ranks (Nelsen 2006, An Introduction to Copulas; Cario & Nelson 1997,
  NORTA), which keeps both: skewed columns, and yes or no, that go together are no groups either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
Known = NDArray[np.bool_]
Prepare = Callable[[Floats], Floats]
ROUNDS, LEAST_DRAWN = 4, 4000  # of people, to find how far columns of few values must go together


def permuted(x: Floats, prepare: Prepare, draw: np.random.Generator) -> Iterator[Floats]:
    """The people's columns (n, columns), each in an order of its own, prepared like theirs."""
    while True:
        yield prepare(draw.permuted(x, axis=0))


def normal(prepared: Floats, draw: np.random.Generator) -> Iterator[Floats]:
    """As many people of one normal distribution with the covariances of these prepared columns."""
    covariance = np.cov(prepared, rowvar=False).reshape(prepared.shape[1], prepared.shape[1])
    root = _root(covariance)
    while True:
        yield draw.normal(size=prepared.shape) @ root.T


def copula(x: Floats, prepare: Prepare, draw: np.random.Generator) -> Iterator[Floats]:
    """As many people of a Gaussian copula: each column has the values of x (n, columns; NaN is
    missing), and columns go together as far as theirs do, prepared like theirs."""
    known = ~np.isnan(x)
    root = _root(_latent(x, known, draw))
    while True:
        yield prepare(_with_values(x, known, draw.normal(size=x.shape) @ root.T))


def _latent(x: Floats, known: Known, draw: np.random.Generator) -> Floats:
    """The correlations of normal columns that, given the values of x, go together as x does: ties
    weaken a correlation, so the latent one is larger, found by trying."""
    target = _correlations(x, known)
    latent = target
    if all(
        len(np.unique(column[has])) == has.sum() for column, has in zip(x.T, known.T, strict=True)
    ):
        return latent
    for _ in range(ROUNDS):
        root, times = _root(latent), -(-LEAST_DRAWN // len(x))
        drawn = (_with_values(x, known, draw.normal(size=x.shape) @ root.T) for _ in range(times))
        seen = (
            sum((_correlations(values, known) for values in drawn), np.zeros_like(target)) / times
        )
        root = _root(np.clip(latent + target - seen, -1.0, 1.0))
        latent = root @ root.T
        size = np.sqrt(np.diag(latent))
        latent = latent / np.outer(size, size)
    return latent


def _correlations(x: Floats, known: Known) -> Floats:
    """Of the columns' normal scores (van der Waerden), each pair by whom both are known of."""
    ranks = rankdata(np.where(known, x, np.inf), axis=0)
    scores = norm.ppf(np.where(known, ranks, 1.0) / (known.sum(axis=0) + 1))
    mean = np.where(known, scores, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scores = np.where(known, scores - mean, 0)
    size = (scores**2).T @ known
    together: Floats = scores.T @ scores / np.sqrt(np.maximum(size * size.T, 1e-12))
    np.fill_diagonal(together, 1.0)
    return together


def _with_values(x: Floats, known: Known, latent: Floats) -> Floats:
    """The values of each column of x, in the order of the latent ones."""
    given = np.full_like(x, np.nan)
    for at, has in enumerate(known.T):
        order = rankdata(latent[has, at], method="ordinal") - 1
        given[has, at] = np.sort(x[has, at])[order]
    return given


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
