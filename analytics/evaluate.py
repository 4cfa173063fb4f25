"""Honest figures of one model: repeated stratified cross-validation, DeLong interval, permutation p.

Knows nothing of disclosure: its figures are exact and must pass analytics/disclosure before anything leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from analytics.errors import PredictionError
from analytics.models import predict

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Z_95 = 1.959963984540054
THRESHOLD = 0.5
ENOUGH_REACHED = 10


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
    chances: (repeats, n) what `predict` said of each person while held out: a value a person, which never leaves the
    room; curves are drawn from it on a coarse grid.
    """

    cells: Cells
    auc: float
    auc_interval: tuple[float, float]
    placements: Floats
    first_auc: float
    probabilities: Floats


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
    probabilities, placements = np.zeros((2, repeats, len(y)))
    for repeat in range(repeats):
        probabilities[repeat], placements[repeat] = predict_once(
            model, x, y, folds=folds, seed=seed + repeat
        )
        tick((repeat + 1) / repeats)
    mean = placements.mean(axis=0)
    auc, error = auc_with_error(mean, y)
    interval = (max(0.0, auc - Z_95 * error), min(1.0, auc + Z_95 * error))
    cells = count_cells(y, probabilities >= THRESHOLD)
    return Scores(cells, auc, interval, mean, float(placements[0][y == 1].mean()), probabilities)


def predict_once(
    model: Pipeline, x: Floats, y: Labels, *, folds: int, seed: int
) -> tuple[Floats, Floats]:
    """One pass of stratified k-fold: (chance of the event, placement) of each person while held out.

    Raises PredictionError for a prediction that is not a finite number: every comparison with NaN is false, so it would
    be ordered below everybody and read as an AUC of 0.
    """
    probability, placements = np.zeros(len(y)), np.zeros(len(y))
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(x, y):
        fitted = clone(model).fit(x[train], y[train])
        probability[test] = predict(fitted, x[test])
        if not np.isfinite(probability[test]).all():
            raise PredictionError("a model predicted something that is not a number")
        placements[test] = place(probability[test], y[test])
    return probability, placements


def place(probability: Floats, y: Labels) -> Floats:
    """Share of people of the other outcome that each person is ordered correctly against; ties count half."""
    ones, zeros = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    above = probability[ones][:, None] - probability[zeros][None, :]
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
) -> tuple[float, int]:
    """(p, permutations performed): how often shuffled outcomes reach a one-pass AUC of at least `observed`.

    Stops when ENOUGH_REACHED shufflings have reached it: then p is their share of those performed (Besag & Clifford
    1991), an unbiased estimate for far less work where there is no signal. Otherwise the observed outcome counts as
    one more shuffling, so that p is never 0 (Phipson & Smyth 2010). `observed` must be a one-pass AUC too: a mean over
    repeats varies less and would be compared with something else.
    """
    generator = np.random.default_rng(seed)
    reached = 0
    for number in range(1, permutations + 1):
        shuffled = generator.permutation(y)
        _, placements = predict_once(model, x, shuffled, folds=folds, seed=seed + number)
        reached += float(placements[shuffled == 1].mean()) >= observed
        if reached == ENOUGH_REACHED:
            tick(1.0)
            return reached / number, number
        tick(number / permutations)
    return (reached + 1) / (permutations + 1), permutations


def calibration(probabilities: Floats, y: Labels) -> tuple[float, float]:
    """(slope, intercept) of logistic recalibration (Cox 1958), mean over the repeats; 1 and 0 are perfect.

    chances: (repeats, n) held-out chances; y: (n,). A slope below 1 says that they are too extreme; 0, that they say
    nothing, as where everybody gets one chance. Chances beyond 1/4n from 0 or 1 are moved there, since n people cannot
    tell them apart.
    """
    edge = 0.25 / len(y)
    odds = logit(np.clip(probabilities, edge, 1 - edge))
    # A penalty this weak changes no digit that is printed and keeps a perfectly separated repeat finite.
    fits = [
        LogisticRegression(C=1e6, solver="newton-cholesky").fit(row[:, None], y) for row in odds
    ]
    slope, intercept = np.mean([(fit.coef_[0, 0], fit.intercept_[0]) for fit in fits], axis=0)
    return float(slope), float(intercept)


def count_cells(y: Labels, positive: NDArray[np.bool_]) -> Cells:
    """Confusion matrix of (repeats, n) predictions against (n,) outcomes, summed over the repeats."""
    positives, negatives = positive[:, y == 1], positive[:, y == 0]
    return Cells(
        int(positives.sum()), int(negatives.sum()), int((~positives).sum()), int((~negatives).sum())
    )


def metrics_of(cells: Cells) -> tuple[float, float, float, float, float]:
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
