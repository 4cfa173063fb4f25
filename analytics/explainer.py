"""Sums up what explanations say of the people who were held out of each fold; exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from analytics.evaluate import auc_with_error
from analytics.explanations import REGISTERED
from analytics.explanations.registry import AUC_LOSS, COLUMNS, Explanation, Unseen
from analytics.models.pipeline import COMPONENT, open_model

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
GENES, COMPONENTS = "genes", "principal components"  # parts that are no column


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a feature set, genes first: their matrix (n, columns), their names, and how
    many are genes."""

    x: Floats
    names: tuple[str, ...]
    genes: int


@dataclass(frozen=True, slots=True)
class Explained:
    """What an explanation says of everybody while held out; exact, so not for release.

    features: the names of its parts; columns: (parts,) the input column of each, COMPONENT for
    several. used: (parts,) whether any fold had it. importance: (parts,). errors: (parts,) standard
    errors of a loss of AUC, else None. direction: (parts,) 1 if higher values go with a higher
    prediction in every fold, -1 with a lower one, else 0.
    """

    explanation: Explanation
    features: tuple[str, ...]
    columns: Labels
    used: NDArray[np.bool_]
    importance: Floats
    errors: Floats | None
    direction: Labels


class Explainer:
    """Sums up one explanation over the folds of an evaluation, which it watches."""

    def __init__(self, name: str, columns: Columns, event: Labels, seed: int) -> None:
        self._explanation = REGISTERED[name]
        self._columns, self._event, self._seed = columns, event, seed
        own = np.arange(len(columns.names))
        if self._explanation.of == COLUMNS:
            self._features: tuple[str, ...] = (*columns.names, COMPONENTS)
            self._column_of = np.append(own, COMPONENT)
        else:
            together = [GENES] if columns.genes else []
            self._features = (*together, *columns.names[columns.genes :])
            several = np.full(len(together), COMPONENT)
            self._column_of = np.append(several, own[columns.genes :])
        parts, people = len(self._features), len(event)
        self._losses = np.zeros((people, parts))
        self._sizes, self._signs = np.zeros(parts), np.zeros(parts, np.int64)
        self._used = np.zeros(parts, np.bool_)
        self._people = self._folds = self._repeats = 0

    def watch(self, repeat: int, fitted: Pipeline, test: NDArray[np.bool_]) -> None:
        """Explain the predictions of those who were held out of a fold (`evaluate.Watch`)."""
        if self._explanation.passes and repeat >= self._explanation.passes:
            return
        model = open_model(fitted, len(self._columns.names))
        present, parts = np.unique(self._parts_of(model.origins), return_inverse=True)
        unseen = Unseen(
            model,
            model.transform(self._columns.x[~test]),
            model.transform(self._columns.x[test]),
            self._event[test],
            parts,
            self._seed + self._folds,
        )
        values = self._explanation.explain(unseen)
        self._used[present] = True
        self._folds += 1
        self._repeats = repeat + 1
        if self._explanation.summary == AUC_LOSS:
            self._losses[np.ix_(test, present)] += values
            return
        known = ~np.isnan(values[:, 0])
        self._people += int(known.sum())
        self._sizes[present] += np.abs(values[known]).sum(axis=0)
        self._signs[present] += _signs(values[known], unseen.test[known], parts)

    def finish(self) -> Explained:
        """The sums over all folds as one number of each part."""
        errors, signs = None, np.zeros(len(self._features), np.int64)
        if self._explanation.summary == AUC_LOSS:
            means = (self._losses / self._repeats).T
            losses = np.array([auc_with_error(mean, self._event) for mean in means])
            importance, errors = losses[:, 0], losses[:, 1]
        else:
            importance = self._sizes / self._people
            signs = np.where(np.abs(self._signs) == self._folds, np.sign(self._signs), 0)
        return Explained(
            self._explanation,
            self._features,
            self._column_of,
            self._used,
            importance,
            errors,
            signs,
        )

    def _parts_of(self, origins: Labels) -> Labels:
        """The part that each column of a classifier belongs to."""
        genes = self._columns.genes
        if self._explanation.of == COLUMNS:
            return np.where(origins == COMPONENT, len(self._features) - 1, origins)
        return np.where(origins < genes, 0, origins - genes + (genes > 0))


def _signs(values: Floats, columns: Floats, parts: Labels) -> Labels:
    """(parts,) whether values rise (1) or fall (-1) with the one column of their part; else 0."""
    signs = np.zeros(values.shape[1], np.int64)
    alone = np.flatnonzero(np.bincount(parts) == 1)
    at = np.array([np.flatnonzero(parts == part)[0] for part in alone], np.int64)
    centred = columns[:, at] - columns[:, at].mean(axis=0)
    signs[alone] = np.sign(np.einsum("ij,ij->j", values[:, alone], centred))
    return signs
