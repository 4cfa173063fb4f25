"""Metrics of one model: repeated stratified cross-validation, DeLong interval, permutation p.

Knows nothing of disclosure control: these metrics are exact and must pass analytics/disclosure
before release.
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
from analytics.models.pipeline import predict

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
    """The scores of one model on one feature set over all repeats; fractions in [0, 1].

    cells: confusion matrix summed over the repeats (every person is predicted once per repeat).
    placements: (n,) for each person, the share of people with the other outcome in the same test
    fold that the model orders correctly (ties count half), mean over the repeats. Their mean over
    the people with the event is the AUC.
    first_auc: AUC of the first repeat alone, the statistic that permutations are compared with.
    probabilities: (repeats, n) the `predict` value of each person while held out. These per-person
    values are never released; curves are computed from them on a coarse grid.
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

    Repeat r shuffles with seed + r, so every model uses the same folds.
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
    """One pass of stratified k-fold: (predicted probability, placement) of each held-out person.

    Raises PredictionError for a prediction that is not a finite number: every comparison with NaN
    is false, so the person would be ordered below everybody and the AUC would be 0.
    """
    probability, placements = np.zeros(len(y)), np.zeros(len(y))
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(x, y):
        fitted = clone(model).fit(x[train], y[train])
        probability[test] = predict(fitted, x[test])
        if not np.isfinite(probability[test]).all():
            raise PredictionError("a model predicted something that is not a number")
        placements[test] = placement_values(probability[test], y[test])
    return probability, placements


def placement_values(probability: Floats, y: Labels) -> Floats:
    """For each person, the share of the other outcome ordered correctly; ties count half."""
    positives, negatives = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    above = probability[positives][:, None] - probability[negatives][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    placements = np.zeros(len(y))
    placements[positives], placements[negatives] = wins.mean(axis=1), wins.mean(axis=0)
    return placements


def auc_with_error(placements: Floats, y: Labels) -> tuple[float, float]:
    """(AUC, standard error) from the components of DeLong, DeLong & Clarke-Pearson 1988."""
    positives, negatives = placements[y == 1], placements[y == 0]
    variance = positives.var(ddof=1) / len(positives) + negatives.var(ddof=1) / len(negatives)
    return float(positives.mean()), float(np.sqrt(variance))


def compare_auc(first: Scores, second: Scores, y: Labels) -> tuple[float, tuple[float, float]]:
    """AUC of `first` minus AUC of `second` on the same people, with paired 95 % interval."""
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
    """(p, permutations performed): how often permuted outcomes reach the one-pass AUC `observed`.

    Stops when ENOUGH_REACHED permutations have reached it: then p is their share of those performed
    (Besag & Clifford 1991), an unbiased estimate for far less work if there is no signal. Otherwise
    the observed outcome counts as one more permutation, so p is never 0 (Phipson & Smyth 2010).
    `observed` must also be a one-pass AUC: a mean over repeats varies less, so it is not
    comparable.
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
    """(slope, intercept) of logistic recalibration (Cox 1958), mean over repeats; ideally 1 and 0.

    probabilities: (repeats, n) held out; y: (n,). A slope below 1 means that they are too extreme;
    a slope of 0 means that they carry no information, for example when everybody has the same one.
    Values within 1/(4n) of 0 or 1 are moved to that distance, since n people cannot distinguish
    them.
    """
    edge = 0.25 / len(y)
    odds = logit(np.clip(probabilities, edge, 1 - edge))
    # A penalty this weak changes no printed digit and keeps a perfectly separated repeat finite.
    fits = [
        LogisticRegression(C=1e6, solver="newton-cholesky").fit(row[:, None], y) for row in odds
    ]
    slope, intercept = np.mean([(fit.coef_[0, 0], fit.intercept_[0]) for fit in fits], axis=0)
    return float(slope), float(intercept)


def count_cells(y: Labels, positive: NDArray[np.bool_]) -> Cells:
    """Confusion matrix of (repeats, n) predictions and (n,) outcomes, summed over the repeats."""
    positives, negatives = positive[:, y == 1], positive[:, y == 0]
    return Cells(
        int(positives.sum()), int(negatives.sum()), int((~positives).sum()), int((~negatives).sum())
    )


def metrics_of(cells: Cells) -> tuple[float, float, float, float, float]:
    """(accuracy, precision, recall, F1, balanced accuracy); both outcomes must occur.

    For a matrix summed over repeats, accuracy, recall and balanced accuracy are the means over the
    repeats; precision and F1 are computed from the summed counts, because their mean over passes is
    undefined when a pass predicts nobody positive, and biased otherwise (Forman & Scholz 2010).
    Precision without any positive prediction is 0.
    """
    tp, fp, fn, tn = cells.tp, cells.fp, cells.fn, cells.tn
    recall, specificity = tp / (tp + fn), tn / (tn + fp)
    precision = tp / (tp + fp) if tp + fp else 0.0
    f1 = 2 * tp / (2 * tp + fp + fn)
    return (tp + tn) / (tp + fp + fn + tn), precision, recall, f1, (recall + specificity) / 2
