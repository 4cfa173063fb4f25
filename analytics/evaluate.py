"""Honest figures of one model: repeated stratified cross-validation, DeLong interval, permutation p.

Knows nothing of disclosure: its figures are exact and must pass disclosure.py before anything leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Z_95 = 1.959963984540054
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Cells:
    """A confusion matrix: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True, slots=True)
class Scores:
    """What one layer reached over all repeats; fractions in [0, 1].

    cells: confusion matrix summed over the repeats (every person predicted once a repeat).
    placements: (n,) of each person, the share of people of the other outcome in the same test fold that the
    model orders correctly (ties count half), mean over the repeats. Their mean over the people with the event
    is the AUC.
    first_auc: AUC of the first repeat alone, the statistic that permutations are compared with.
    """

    cells: Cells
    auc: float
    auc_interval: tuple[float, float]
    placements: Floats
    first_auc: float


def evaluate_model(
    model: Pipeline,
    x: Floats,
    y: Labels,
    *,
    folds: int,
    repeats: int,
    seed: int,
    tick: Callable[[float], None],
) -> Scores:
    """Cross-validate `model` on x (n, columns; NaN = missing) and y (n,) of 0 and 1.

    Repeat r shuffles with seed + r, so every model meets the same folds.
    """
    positive, placements = np.zeros((repeats, len(y)), dtype=np.bool_), np.zeros((repeats, len(y)))
    for repeat in range(repeats):
        chance, placements[repeat] = predict_once(model, x, y, folds=folds, seed=seed + repeat)
        positive[repeat] = chance >= THRESHOLD
        tick((repeat + 1) / repeats)
    mean = placements.mean(axis=0)
    auc, error = auc_with_error(mean, y)
    interval = (max(0.0, auc - Z_95 * error), min(1.0, auc + Z_95 * error))
    return Scores(count_cells(y, positive), auc, interval, mean, float(placements[0][y == 1].mean()))


def predict_once(model: Pipeline, x: Floats, y: Labels, *, folds: int, seed: int) -> tuple[Floats, Floats]:
    """One pass of stratified k-fold: (chance of the event, placement) of each person while held out."""
    chance, placements = np.zeros(len(y)), np.zeros(len(y))
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(x, y):
        fitted = clone(model).fit(x[train], y[train])
        chance[test] = fitted.predict_proba(x[test])[:, 1]
        placements[test] = place(chance[test], y[test])
    return chance, placements


def place(chance: Floats, y: Labels) -> Floats:
    """Share of people of the other outcome that each person is ordered correctly against; ties count half."""
    ones, zeros = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    above = chance[ones][:, None] - chance[zeros][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    placed = np.zeros(len(y))
    placed[ones], placed[zeros] = wins.mean(axis=1), wins.mean(axis=0)
    return placed


def auc_with_error(placements: Floats, y: Labels) -> tuple[float, float]:
    """(AUC, standard error) from the structural components of DeLong, DeLong & Clarke-Pearson 1988."""
    ones, zeros = placements[y == 1], placements[y == 0]
    variance = ones.var(ddof=1) / len(ones) + zeros.var(ddof=1) / len(zeros)
    return float(ones.mean()), float(np.sqrt(variance))


def compare_auc(first: Scores, second: Scores, y: Labels) -> tuple[float, tuple[float, float]]:
    """AUC of `first` minus AUC of `second` on the same people and folds, with its paired 95 % interval
    (DeLong)."""
    difference = first.placements - second.placements
    gap, error = auc_with_error(difference, y)
    return gap, (max(-1.0, gap - Z_95 * error), min(1.0, gap + Z_95 * error))


def permutation_p(
    model: Pipeline,
    x: Floats,
    y: Labels,
    observed: float,
    *,
    folds: int,
    permutations: int,
    seed: int,
    tick: Callable[[float], None],
) -> float:
    """Share of label shufflings whose one-pass AUC is at least `observed`, counting the observed one (never
    0).

    `observed` must be a one-pass AUC too: a mean over repeats varies less and would be compared with
    something else (Phipson & Smyth 2010 for the +1).
    """
    generator = np.random.default_rng(seed)
    reached = 0
    for number in range(permutations):
        shuffled = generator.permutation(y)
        _, placements = predict_once(model, x, shuffled, folds=folds, seed=seed + number + 1)
        reached += float(placements[shuffled == 1].mean()) >= observed
        tick((number + 1) / permutations)
    return (reached + 1) / (permutations + 1)


def count_cells(y: Labels, positive: NDArray[np.bool_]) -> Cells:
    """Confusion matrix of (repeats, n) predictions against (n,) outcomes, summed over the repeats."""
    sick, well = positive[:, y == 1], positive[:, y == 0]
    return Cells(int(sick.sum()), int(well.sum()), int((~sick).sum()), int((~well).sum()))


def figures_of(cells: Cells) -> tuple[float, float, float, float, float]:
    """(accuracy, precision, recall, F1, balanced accuracy) of a confusion matrix in which both outcomes
    occur.

    Of a matrix summed over repeats, accuracy, recall and balanced accuracy are the means over the repeats;
    precision and F1 are taken from the summed counts, because their mean over passes is undefined when a pass
    predicts nobody and biased otherwise (Forman & Scholz 2010). Precision without any positive prediction is
    0.
    """
    tp, fp, fn, tn = cells.tp, cells.fp, cells.fn, cells.tn
    recall, specificity = tp / (tp + fn), tn / (tn + fp)
    precision = tp / (tp + fp) if tp + fp else 0.0
    f1 = 2 * tp / (2 * tp + fp + fn)
    return (tp + tn) / (tp + fp + fn + tn), precision, recall, f1, (recall + specificity) / 2
