"""Cross-validated Cox regression: concordance, its interval and permutation p, risk at the horizon.

As evaluate.py for models of a yes or no: whatever is fitted is fitted inside the fold, and these
values are exact and must pass analytics/disclosure before release.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from analytics.errors import PredictionError
from analytics.evaluate import Perturb, drawing, exactly, sequential_p
from analytics.features import SideBySide
from analytics.folds import assign_folds
from analytics.survival import Flags, Floats, concordance, fit_cox, null_residuals

Labels = NDArray[np.int64]
Progress = Callable[[str, float], None]
# As strong as that of the catalogue's logistic regression, whose C is 0.1.
RIDGE = 10.0


@dataclass(frozen=True, slots=True)
class Covariates:
    """What Cox regression is fitted on: columns, the unfitted preparation of x (n, columns; NaN is
    missing); time, event as in analytics/survival.py; families as in `assign_folds`.
    """

    columns: SideBySide
    x: Floats
    time: Floats
    event: Flags
    families: Labels | None = None


@dataclass(frozen=True, slots=True)
class Prognosis:
    """concordance: Harrell's C within the folds, mean over the repeats; error: its standard error,
    by a bootstrap of the whole cross-validation, None without one; p, permutations: of permuted
    follow-up; risk: (n,) predicted until the horizon while held out, mean over the repeats.
    """

    concordance: float
    error: float | None
    p: float
    permutations: int
    risk: Floats


def evaluate_cox(
    people: Covariates,
    horizon: float,
    *,
    folds: int,
    repeats: int,
    permutations: int,
    bootstraps: int,
    seed: int,
    progress: Progress,
    perturb: Perturb = exactly,
) -> Prognosis:
    """Repeat r shuffles with seed + r. perturb: as in `evaluate.permutation_p`.

    Raises PredictionError, and CohortTooSmall as `assign_folds`.
    """
    total = repeats + permutations + bootstraps
    time, event = people.time, people.event

    def folds_of(flags: Flags, families: Labels | None, number: int) -> Labels:
        return assign_folds(flags.astype(np.int64), families, folds=folds, seed=seed + number)

    passes = []
    for number in range(repeats):
        assigned = folds_of(event, people.families, number)
        passes.append(_predict_folds(people, people.x, time, event, assigned, horizon))
        progress("cox", (number + 1) / total)
    generator = np.random.default_rng(seed)

    def permuted(number: int) -> float:
        order = generator.permutation(len(time))
        assigned = folds_of(event[order], people.families, number)
        shuffled = _predict_folds(people, people.x, time[order], event[order], assigned, horizon)
        return perturb(event[order].astype(np.int64), shuffled[0])

    mean = float(np.mean([c for c, _ in passes]))
    p, performed = sequential_p(
        permuted,
        perturb(event.astype(np.int64), mean),
        permutations,
        lambda part: progress("permute", (repeats + part * permutations) / total),
    )
    error = None
    if bootstraps:
        replicates = _replicate(people, horizon, bootstraps, seed, folds_of, progress, total)
        error = float(replicates.std(ddof=1))
    return Prognosis(mean, error, p, performed, np.mean([risk for _, risk in passes], axis=0))


def _replicate(
    people: Covariates,
    horizon: float,
    samples: int,
    seed: int,
    folds_of: Callable[[Flags, Labels | None, int], Labels],
    progress: Progress,
    total: int,
) -> Floats:
    """(samples,) concordance of the whole cross-validation on people drawn again, as
    `evaluate.bootstrap_aucs` draws them: whoever is drawn twice is in one fold.
    """
    draw = drawing(people.event.astype(np.int64), people.families, np.random.default_rng(seed))
    replicates = np.empty(samples)
    for number in range(samples):
        drawn = draw()
        chosen, which = np.unique(drawn, return_inverse=True)
        related = None if people.families is None else people.families[chosen]
        assigned = folds_of(people.event[chosen], related, number)[which]
        replicates[number], _ = _predict_folds(
            people, people.x[drawn], people.time[drawn], people.event[drawn], assigned, horizon
        )
        progress("bootstrap", 1 - (samples - number - 1) / total)
    return replicates


def _predict_folds(
    people: Covariates, x: Floats, time: Floats, event: Flags, assigned: Labels, horizon: float
) -> tuple[float, Floats]:
    """(concordance over the pairs within folds, (n,) risk until the horizon while held out).

    Raises PredictionError for a score that is not a finite number.
    """
    ordered, comparable, risk = 0.0, 0, np.empty(len(time))
    for number in range(int(assigned.max()) + 1):
        train, test = assigned != number, assigned == number
        columns = clone(people.columns)
        residuals = null_residuals(time[train], event[train])
        cox = fit_cox(columns.fit_transform(x[train], residuals), time[train], event[train], RIDGE)
        unseen = columns.transform(x[test])
        score = cox.score(unseen)
        if not np.isfinite(score).all():
            raise PredictionError("Cox regression predicted something that is not a number")
        risk[test] = cox.risk(unseen, horizon)
        in_order, pairs = concordance(time[test], event[test], score)
        ordered, comparable = ordered + in_order, comparable + pairs
    return (ordered / comparable if comparable else 0.5), risk
