"""Metrics of one model: repeated stratified cross-validation, intervals, permutation p.

Knows nothing of disclosure control: these metrics are exact and must pass analytics/disclosure
before release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from analytics.errors import PredictionError
from analytics.folds import assign_folds, fit_copy
from analytics.metrics import METRICS, Confusion
from analytics.models.pipeline import predict

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Z_95 = 1.959963984540054
NO_MARGIN = 0.5  # `predict` of a model without a probability, where its margin is 0
# A model that has learnt nothing predicts the event rate as near as its solver ends: no "yes".
ROUNDING = 1e-3
ENOUGH_REACHED = 10
PARTITIONS = 2  # into folds, of each bootstrap sample
# What is told of each fold of an evaluation: the repeat, the fitted model, and (n,) who was held
# out.
Watch = Callable[[int, Pipeline, NDArray[np.bool_]], None]
# A statistic of outcomes (n,), with noise by who has the event.
Perturb = Callable[[Labels, float], float]


def exactly(_: Labels, value: float) -> float:
    """No noise: of simulated people and published data."""
    return value


@dataclass(frozen=True, slots=True)
class Cells:
    """A confusion matrix: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True, slots=True)
class Predictions:
    """One pass of cross-validation, by person (n,): everything while the person is held out.

    probability: what `predict` says; positive: whether that is a "yes" (`decision_threshold`);
    placement: the share of people with the other outcome in the same test fold that the model
    orders correctly (ties count half).
    """

    probability: Floats
    positive: NDArray[np.bool_]
    placement: Floats

    def auc(self, y: Labels) -> float:
        """The mean of the folds' AUCs, weighted by their people with the event."""
        return float(self.placement[y == 1].mean())


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one model on one feature set over all repeats; fractions in [0, 1].

    cells: confusion matrix summed over the repeats (every person is predicted once per repeat).
    error: standard error of the AUC of these predictions (DeLong): it leaves out that another
    sample of people would have trained another model, so its interval is too narrow for the method
    (`bootstrap_aucs`). brier: the scaled Brier score, a mean over the repeats: 1 - Brier / (rate (1
    - rate)); 1 is perfect, 0 or below no better than giving everybody the event rate (Steyerberg
    2010, Epidemiology 21:128); None for a model that estimates no probability. placements: (n,)
    mean over the repeats; their mean over the people with the event is the AUC. between_folds:
    variance of the AUC of one repeat, over the repeats: what other folds change. probabilities:
    (repeats, n) the `predict` value of each person while held out. These per-person values are
    never released; curves are computed from them on a coarse grid. positives: (repeats, n) whether
    that is a "yes".
    """

    cells: Cells
    auc: float
    error: float
    placements: Floats
    between_folds: float
    brier: float | None
    probabilities: Floats
    positives: NDArray[np.bool_]

    @property
    def called(self) -> NDArray[np.bool_]:
        """(n,) whom at least half of the repeats call positive."""
        called: NDArray[np.bool_] = 2 * self.positives.sum(axis=0) >= len(self.positives)
        return called

    @property
    def auc_interval(self) -> tuple[float, float]:
        """95 %, of these predictions."""
        return clip_auc(self.auc - Z_95 * self.error, self.auc + Z_95 * self.error)


def evaluate_model(
    model: Pipeline,
    x: Floats,
    y: Labels,
    *,
    folds: int,
    repeats: int,
    seed: int,
    calibrated: bool,
    tick: Callable[[float], None],
    families: Labels | None = None,
    watch: Watch | None = None,
) -> Scores:
    """Cross-validate `model` on x (n, columns; NaN = missing) and y (n,) of 0 and 1.

    Repeat r shuffles with seed + r, so every model uses the same folds. calibrated: whether the
    model estimates a probability (CALIBRATED in the catalogue). families: as in `assign_folds`.
    watch: is shown the model of each fold.
    """
    passes = []
    for repeat in range(repeats):
        passes.append(
            predict_once(
                model,
                x,
                y,
                folds=folds,
                seed=seed + repeat,
                calibrated=calibrated,
                families=families,
                watch=None if watch is None else partial(watch, repeat),
            )
        )
        tick((repeat + 1) / repeats)
    probabilities = np.stack([predicted.probability for predicted in passes])
    positives = np.stack([predicted.positive for predicted in passes])
    placements = np.mean([predicted.placement for predicted in passes], axis=0)
    auc, error = auc_with_error(placements, y)
    return Scores(
        cells=count_cells(y, positives),
        auc=auc,
        error=error,
        placements=placements,
        between_folds=_variance([predicted.auc(y) for predicted in passes]),
        brier=scaled_brier(probabilities, y) if calibrated else None,
        probabilities=probabilities,
        positives=positives,
    )


def predict_once(
    model: Pipeline,
    x: Floats,
    y: Labels,
    *,
    folds: int,
    seed: int,
    calibrated: bool = True,
    families: Labels | None = None,
    watch: Callable[[Pipeline, NDArray[np.bool_]], None] | None = None,
) -> Predictions:
    """One pass of stratified k-fold. Raises PredictionError as `_predict_folds` does."""
    assigned = assign_folds(y, families, folds=folds, seed=seed)
    return _predict_folds(model, x, y, assigned, families, calibrated, watch)


def _predict_folds(
    model: Pipeline,
    x: Floats,
    y: Labels,
    assigned: Labels,
    together: Labels | None,
    calibrated: bool,
    watch: Callable[[Pipeline, NDArray[np.bool_]], None] | None = None,
) -> Predictions:
    """Predict everybody of each fold (n,) by a model that is fitted on the others.

    together: (n,) as in `assign_folds`, for models that divide these others once more. Raises
    PredictionError for a prediction that is not a finite number: every comparison with NaN is
    false, so the person would be ordered below everybody and the AUC would be 0.
    """
    predicted = Predictions(np.zeros(len(y)), np.zeros(len(y), np.bool_), np.zeros(len(y)))
    for number in range(int(assigned.max()) + 1):
        train, test = assigned != number, assigned == number
        fitted = fit_copy(model, x[train], y[train], None if together is None else together[train])
        probability = predict(fitted, x[test])
        if not np.isfinite(probability).all():
            raise PredictionError("a model predicted something that is not a number")
        predicted.probability[test] = probability
        predicted.positive[test] = probability > decision_threshold(y[train], calibrated)
        predicted.placement[test] = placement_values(probability, y[test])
        if watch is not None:
            watch(fitted, test)
    return predicted


def decision_threshold(y: Labels, calibrated: bool) -> float:
    """Above it a prediction is a "yes": the event rate of the training people (y), or margin 0 for
    a model without a probability, which weighs both outcomes alike instead (svm).

    One half would be a "no" for everybody where the event is rare: at 35 of 189 no model finds
    anybody. At the event rate, a "yes" is a risk above the average.
    """
    return float(y.mean()) + ROUNDING if calibrated else NO_MARGIN


def bootstrap_aucs(
    models: Mapping[str, tuple[Pipeline, Floats]],
    y: Labels,
    *,
    folds: int,
    samples: int,
    seed: int,
    tick: Callable[[float], None],
    families: Labels | None = None,
) -> dict[str, Floats]:
    """(samples, PARTITIONS) AUC of each model, each the whole cross-validation on people drawn
    again with replacement (case bootstrap; Efron & Tibshirani 1993, ch. 17; Jiang, Varma & Simon
    2008, Stat Appl Genet Mol Biol 7:8), so that the spread contains that other people train another
    model.

    models: by name the pipeline and its columns (n, columns). All models see the same people, so
    differences are paired. Families (`assign_folds`) are drawn as one, since relatives do not vary
    independently (Field & Welsh 2007, J R Stat Soc B 69:369); those with the event in them and
    those without are drawn apart. Whoever is drawn twice is in one fold, else a model would be
    tested on the people it was fitted on. Each sample is divided into folds several times, so that
    the spread between people can be told from the spread between folds. About 63 % are drawn, so
    these AUCs are lower than that of everybody: only their spread is used (`auc_interval_of`,
    `gain_interval_of`). Raises PredictionError, and CohortTooSmall as `assign_folds` does.
    """
    draw = drawing(y, families, np.random.default_rng(seed))
    aucs = {name: np.empty((samples, PARTITIONS)) for name in models}
    for number in range(samples):
        drawn = draw()
        people, which = np.unique(drawn, return_inverse=True)
        kin = None if families is None else families[people]
        together = which if kin is None else kin[which]
        for partition in range(PARTITIONS):
            division = seed + PARTITIONS * number + partition
            assigned = assign_folds(y[people], kin, folds=folds, seed=division)[which]
            for name, (model, x) in models.items():
                predicted = _predict_folds(model, x[drawn], y[drawn], assigned, together, True)
                aucs[name][number, partition] = predicted.auc(y[drawn])
        tick((number + 1) / samples)
    return aucs


def drawing(
    y: Labels, families: Labels | None, generator: np.random.Generator
) -> Callable[[], Labels]:
    """Draws positions of people with replacement at each call, families as one; those with the
    event in them and those without are drawn apart.
    """
    family = np.arange(len(y)) if families is None else families
    relatives = [np.flatnonzero(family == number) for number in range(int(family.max()) + 1)]
    affected = np.array([y[members].max() for members in relatives])
    groups = [np.flatnonzero(affected == c) for c in (0, 1)]
    return lambda: np.concatenate(
        [relatives[at] for group in groups for at in generator.choice(group, len(group))]
    )


def auc_error_of(scores: Scores, replicates: Floats) -> float:
    """The standard error of an AUC from its bootstrap replicates (samples, PARTITIONS).

    Its variance is that between samples of people, without what the folds add to it, and what is
    left of the folds in the mean over the repeats; at least that of the predictions (DeLong). With
    the folds' whole share, intervals of 200 people were up to 1.5 times as wide as an ideal one
    (`coverage.coverage_report`): fewer people are drawn, and the folds matter more to fewer.
    """
    between, within = _split_variance(replicates)
    repeats = len(scores.probabilities)
    variance = between - within / PARTITIONS + scores.between_folds / repeats
    return max(float(np.sqrt(max(variance, 0.0))), scores.error)


def gain_error_of(replicates: Floats) -> float:
    """The standard error of a difference of AUCs from its bootstrap replicates (samples,
    PARTITIONS), with the spread of one division into folds: without it, intervals of 200 people
    were a sixth narrower than an ideal one.
    """
    between, within = _split_variance(replicates)
    return float(np.sqrt(between + within * (1 - 1 / PARTITIONS)))


def auc_interval_of(scores: Scores, replicates: Floats) -> tuple[float, float]:
    """The 95 % interval of an AUC by `auc_error_of`."""
    error = auc_error_of(scores, replicates)
    return clip_auc(scores.auc - Z_95 * error, scores.auc + Z_95 * error)


def gain_interval_of(gap: float, replicates: Floats) -> tuple[float, float]:
    """The 95 % interval of a difference of AUCs by `gain_error_of`."""
    error = gain_error_of(replicates)
    return clip_gain(gap - Z_95 * error, gap + Z_95 * error)


def _variance(values: list[float]) -> float:
    """Of at least two values; 0 of one."""
    return float(np.var(values, ddof=1)) if len(values) > 1 else 0.0


def _split_variance(replicates: Floats) -> tuple[float, float]:
    """Variance of the samples' means, and mean variance within a sample (one-way ANOVA)."""
    between = float(replicates.mean(axis=1).var(ddof=1))
    return between, float(replicates.var(axis=1, ddof=1).mean())


def clip_auc(low: float, high: float) -> tuple[float, float]:
    return max(0.0, low), min(1.0, high)


def clip_gain(low: float, high: float) -> tuple[float, float]:
    return max(-1.0, low), min(1.0, high)


def scaled_brier(probabilities: Floats, y: Labels) -> float:
    """1 - Brier score / (rate (1 - rate)), mean over repeats. probabilities: (repeats, n)."""
    rate = float(y.mean())
    return 1 - float(((probabilities - y) ** 2).mean()) / (rate * (1 - rate))


def placement_values(probability: Floats, y: Labels) -> Floats:
    """For each person, the share of the other outcome ordered correctly; ties count half.

    Half for everybody if all have the same outcome: a bootstrap sample can leave a fold so.
    """
    positives, negatives = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    if not len(positives) or not len(negatives):
        return np.full(len(y), 0.5)
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
    """AUC of `first` minus AUC of `second` on the same people, with the paired 95 % interval of
    these predictions (`Scores.auc_interval`).
    """
    gap, error = auc_with_error(first.placements - second.placements, y)
    return gap, clip_gain(gap - Z_95 * error, gap + Z_95 * error)


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
    families: Labels | None = None,
    perturb: Perturb = exactly,
) -> tuple[float, int]:
    """(p, permutations performed): how often permuted outcomes reach the AUC `observed`.

    perturb: adds the noise with which the AUC is printed, to the observed one and, as far as each
    permuted outcome has it, to the permuted ones: so neither p nor the time that it takes tells
    more than the printed AUC does. A permuted one is of one pass, so where `observed` is a mean
    over repeats, which varies less, p is too large rather than too small. See `sequential_p`.
    """
    generator = np.random.default_rng(seed)

    def auc(number: int) -> float:
        shuffled = generator.permutation(y)
        predicted = predict_once(
            model, x, shuffled, folds=folds, seed=seed + number, families=families
        )
        return perturb(shuffled, predicted.auc(shuffled))

    return sequential_p(auc, perturb(y, observed), permutations, tick)


def sequential_p(
    permuted: Callable[[int], float],
    observed: float,
    permutations: int,
    tick: Callable[[float], None],
) -> tuple[float, int]:
    """(p, permutations performed): how often the value of `permuted` (by number, from 1) reaches
    the `observed` one.

    Stops when ENOUGH_REACHED permutations have reached it: then p is their share of those performed
    (Besag & Clifford 1991), an unbiased estimate for far less work if there is no signal. Otherwise
    the observed outcome counts as one more permutation, so p is never 0 (Phipson & Smyth 2010).
    """
    reached = 0
    for number in range(1, permutations + 1):
        reached += permuted(number) >= observed
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


def metrics_of(cells: Cells) -> dict[str, float]:
    """Each metric, by name; both outcomes must occur.

    For a matrix summed over repeats, accuracy, recall and balanced accuracy are the means over the
    repeats; precision and F1 are computed from the summed counts, because their mean over passes is
    undefined when a pass predicts nobody positive, and biased otherwise (Forman & Scholz 2010).
    Precision without any positive prediction is 0. The threshold that a net benefit assumes is the
    share with the outcome (of the training people, taken as that of all).
    """
    confusion = Confusion(cells.tp, cells.fp, cells.tp + cells.fn, cells.fp + cells.tn)
    return {metric.name: metric.compute(confusion) for metric in METRICS}
