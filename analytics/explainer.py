"""Sums up what explanations say of the people who were held out of each fold; exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from analytics.evaluate import Watch, auc_with_error
from analytics.explanations import REGISTERED
from analytics.explanations.registry import AUC_LOSS, COLUMNS, GENES, UNITED, Explanation, Unseen
from analytics.models.pipeline import COMPONENT, Opened, open_model

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


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
    errors of a loss of AUC, else None. direction: (parts,) mean of the values of
    whoever is above the fold's mean of the column, less those of whoever is below it: about as large as
    the importance if higher values go with a higher prediction in every fold, about as large and
    negative with a lower one, less if the folds differ; 0 for several columns.
    """

    explanation: Explanation
    features: tuple[str, ...]
    columns: Labels
    used: NDArray[np.bool_]
    importance: Floats
    errors: Floats | None
    direction: Floats


class Explainer:
    """Sums up one explanation over the folds of an evaluation (`watch_with`)."""

    def __init__(self, name: str, columns: Columns, event: Labels, seed: int) -> None:
        self._explanation = REGISTERED[name]
        self._columns, self._event, self._seed = columns, event, seed
        own = np.arange(len(columns.names))
        if self._explanation.of == COLUMNS:
            self._features: tuple[str, ...] = (*columns.names, UNITED)
            self._column_of = np.append(own, COMPONENT)
        else:
            together = [GENES] if columns.genes else []
            self._features = (*together, *columns.names[columns.genes :])
            several = np.full(len(together), COMPONENT)
            self._column_of = np.append(several, own[columns.genes :])
        parts, people = len(self._features), len(event)
        self._losses = np.zeros((people, parts))
        self._sizes, self._signed = np.zeros(parts), np.zeros(parts)
        self._used = np.zeros(parts, np.bool_)
        self._people = self._folds = self._repeats = 0

    def wants(self, repeat: int) -> bool:
        """Whether it explains the folds of a repeat."""
        return not self._explanation.passes or repeat < self._explanation.passes

    def add(self, repeat: int, model: Opened, train: Floats, who: NDArray[np.bool_]) -> None:
        """Explain the predictions of those who were held out of a fold (`who`, of everybody)."""
        test = model.transform(self._columns.x[who])
        present, parts = np.unique(self._parts_of(model.origins), return_inverse=True)
        seed = self._seed + self._folds
        unseen = Unseen(model, train, test, self._event[who], parts, seed)
        values = self._explanation.explain(unseen)
        self._used[present] = True
        self._folds += 1
        self._repeats = repeat + 1
        if self._explanation.summary == AUC_LOSS:
            self._losses[np.ix_(who, present)] += values
            return
        known = ~np.isnan(values[:, 0])
        self._people += int(known.sum())
        self._sizes[present] += np.abs(values[known]).sum(axis=0)
        self._signed[present] += _signed_sizes(values[known], test[known], parts)

    def finish(self) -> Explained:
        """The sums over all folds as one number of each part."""
        errors, direction = None, np.zeros(len(self._features))
        if self._explanation.summary == AUC_LOSS:
            means = (self._losses / self._repeats).T
            losses = np.array([auc_with_error(mean, self._event) for mean in means])
            importance, errors = losses[:, 0], losses[:, 1]
        else:
            importance = self._sizes / self._people
            direction = self._signed / self._people
        return Explained(
            self._explanation,
            self._features,
            self._column_of,
            self._used,
            importance,
            errors,
            direction,
        )

    def _parts_of(self, origins: Labels) -> Labels:
        """The part that each column of a classifier belongs to."""
        genes = self._columns.genes
        if self._explanation.of == COLUMNS:
            return np.where(origins == COMPONENT, len(self._features) - 1, origins)
        return np.where(origins < genes, 0, origins - genes + (genes > 0))


def watch_with(explainers: Sequence[Explainer], columns: Columns) -> Watch:
    """Lets each of them explain the folds of an evaluation."""

    def watch(repeat: int, fitted: Pipeline, who: NDArray[np.bool_]) -> None:
        wanting = [explainer for explainer in explainers if explainer.wants(repeat)]
        if wanting:
            model = open_model(fitted, len(columns.names))
            train = model.transform(columns.x[~who])
            for explainer in wanting:
                explainer.add(repeat, model, train, who)

    return watch


def _signed_sizes(values: Floats, columns: Floats, parts: Labels) -> Floats:
    """(parts,) sum of the values of whoever is above the mean of the one column of their part, less
    those of whoever is below it; else 0.

    columns: NaN is missing, as a fused model sees them.
    """
    signed = np.zeros(values.shape[1])
    alone = np.flatnonzero(np.bincount(parts) == 1)
    columns = columns[:, [np.flatnonzero(parts == part)[0] for part in alone]]
    known = ~np.isnan(columns)
    means = np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    side = np.sign(np.where(known, columns - means, 0.0))
    signed[alone] = np.einsum("ij,ij->j", values[:, alone], side)
    return signed
