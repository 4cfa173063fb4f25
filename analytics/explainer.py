"""Sums up what explanations say of the people who were held out of each fold; exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from analytics.evaluate import Watch, auc_with_error
from analytics.explanations import REGISTERED
from analytics.explanations.registry import (
    AUC_LOSS,
    COLUMNS,
    GENES,
    STEPS,
    UNITED,
    Explanation,
    Unseen,
)
from analytics.models.pipeline import COMPONENT, Opened, open_model

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a feature set, genes first: their matrix (n, columns), their names, and how
    many are genes; then clinical ones, then series.

    blocks: of each block of genes its name, its columns in the matrix, and how many of the names
    are its: fewer where gene sets stand for the genes. shown: (n, names) the values behind the
    names, None if those are the matrix. series: the last columns, that are series; those of one
    share its name. steps: the names of their time steps.
    """

    x: Floats
    names: tuple[str, ...]
    genes: int
    blocks: tuple[tuple[str, int, int], ...] = ()
    shown: Floats | None = None
    series: int = 0
    steps: tuple[str, ...] = ()

    @property
    def together(self) -> tuple[tuple[str, int, int], ...]:
        """The blocks of genes, each one group."""
        return self.blocks or (((GENES, self.genes, self.genes),) if self.genes else ())

    @property
    def name_of(self) -> Labels:
        """(columns of the matrix,) the name of each by its number; of a block of gene sets any of
        the block.
        """
        numbers, first = [], 0
        for _, columns, names in self.together:
            own = np.arange(first, first + names)
            numbers.append(own if columns == names else np.full(columns, first))
            first += names
        return np.concatenate([*numbers, np.arange(first, len(self.names))]).astype(np.int64)

    def values(self, at: int) -> Floats:
        """(n,) the values behind a name."""
        shown = self.x if self.shown is None else self.shown
        return shown[:, at]


@dataclass(frozen=True, slots=True)
class Explained:
    """What an explanation says of everybody while held out; exact, so not for release.

    features: the names of its parts; columns: (parts,) the input column of each, COMPONENT for
    several. used: (parts,) whether any fold had it. importance: (parts,). errors: (parts,) standard
    errors of a loss of AUC, else None. direction: (parts,) mean of the values of whoever is above
    the fold's mean of the column, less those of whoever is below it: about as large as the
    importance if higher values go with a higher prediction in every fold, about as large and
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
        self._features, self._column_of, self._part_of = _divide(columns, self._explanation.of)
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
        present, parts = np.unique(self._parts_of(model), return_inverse=True)
        seed = self._seed + self._folds
        unseen = Unseen(model, train, test, self._event[who], parts, seed)
        values = self._explanation.explain(unseen)
        if self._explanation.of == STEPS:
            present = np.arange(len(self._features))
        self._used[present] = True
        self._folds += 1
        self._repeats = repeat + 1
        if self._explanation.summary == AUC_LOSS:
            self._losses[np.ix_(who, present)] += values
            return
        known = ~np.isnan(values[:, 0])
        self._people += int(known.sum())
        self._sizes[present] += np.abs(values[known]).sum(axis=0)
        if self._explanation.of != STEPS:
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

    def _parts_of(self, opened: Opened) -> Labels:
        """The part that each column of a classifier belongs to."""
        of = self._explanation.of
        if of == STEPS:
            return np.zeros(len(opened.origins), np.int64)
        origins = opened.origins
        # Without columns of its own, the classifier sees the input as it is.
        part_of = self._part_of[self._columns.name_of] if opened.columns is None else self._part_of
        of_components = len(self._features) - 1 if of == COLUMNS else COMPONENT - origins
        return np.where(origins <= COMPONENT, of_components, part_of[origins])


def watch_with(explainers: Sequence[Explainer], columns: Columns) -> Watch:
    """Lets each of them explain the folds of an evaluation."""

    def watch(repeat: int, fitted: Pipeline, who: NDArray[np.bool_]) -> None:
        wanting = [explainer for explainer in explainers if explainer.wants(repeat)]
        if wanting:
            model = open_model(fitted, columns.x.shape[1])
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


def _divide(columns: Columns, of: str) -> tuple[tuple[str, ...], Labels, Labels]:
    """(names of the parts, the one column by name of each or COMPONENT, the part of each name) of
    an explanation of COLUMNS, GROUPS or STEPS. Groups of genes stand first, components of single
    columns last.
    """
    if of == STEPS:
        several = np.full(len(columns.steps), COMPONENT)
        return columns.steps, several, np.zeros(len(columns.names), np.int64)
    start, genes = len(columns.names) - columns.series, columns.genes
    clinical, own = columns.names[genes:start], np.arange(len(columns.names))
    series = tuple(dict.fromkeys(columns.names[start:]))
    if of == COLUMNS:
        before, of_genes, part_of_gene = columns.names[:genes], own[:genes], own[:genes]
        united: tuple[str, ...] = (UNITED,)
    else:
        before, united = tuple(name for name, _, _ in columns.together), ()
        of_genes = np.full(len(before), COMPONENT)
        sizes = [names for _, _, names in columns.together]
        part_of_gene = np.repeat(np.arange(len(before)), np.array(sizes, np.int64))
    several = np.full(len(series) + len(united), COMPONENT)
    first = len(before) + len(clinical)
    in_series = np.arange(columns.series) // max(1, len(columns.steps)) + first
    return (
        (*before, *clinical, *series, *united),
        np.concatenate([of_genes, own[genes:start], several]).astype(np.int64),
        np.concatenate([part_of_gene, np.arange(len(before), first), in_series]).astype(np.int64),
    )
