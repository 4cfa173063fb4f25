"""Do printed intervals hold the truth? Disjoint simulated cohorts of one population, each evaluated
as a run would evaluate it.

The truth is the AUC that the same method, trained on as many people, reaches on people it has not
seen, on average over trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.pipeline import Pipeline

from analytics.evaluate import (
    Z_95,
    auc_interval_of,
    bootstrap_aucs,
    compare_auc,
    evaluate_model,
    gain_interval_of,
    placement_values,
)
from analytics.models.pipeline import build_model, predict
from analytics.models.registry import Blueprint
from analytics.simulate.known_truth import CLINICAL, Cohort, simulate_cohort
from analytics.threads import one_thread

Floats = NDArray[np.float64]
# Feature sets whose intervals are checked; the seed of the people that no cohort holds.
COVERED, UNSEEN_SEED = ("genes", "combined"), 10**6
KEPT = 20  # columns
UNCHECKED = {"assume_finite": True, "skip_parameter_validation": True}  # as in a run


def true_aucs(
    people: int, population: int = 1, variants: int = 200, cohorts: int = 40, tested: int = 4000
) -> dict[str, float]:
    """The AUC of logistic regression that was trained on so many people of a population, on people
    it has not seen: the mean over `cohorts` trainings. By feature set, and the gain of both over
    genes.
    """
    unseen = simulate_cohort(tested, UNSEEN_SEED, variants, population=population)
    totals = dict.fromkeys(COVERED, 0.0)
    for seed in range(cohorts):
        cohort = simulate_cohort(people, UNSEEN_SEED + 1 + seed, variants, population=population)
        for feature_set, model in _models(cohort).items():
            with one_thread(), config_context(**UNCHECKED):
                fitted = model.fit(_columns(cohort, feature_set), cohort.event)
            probability = predict(fitted, _columns(unseen, feature_set))
            placed = placement_values(probability, unseen.event)
            totals[feature_set] += float(placed[unseen.event == 1].mean()) / cohorts
    return {**totals, "gain": totals["combined"] - totals["genes"]}


def evaluate_cohort(
    people: int, seed: int, population: int = 1, variants: int = 200, samples: int = 50
) -> dict[str, dict[str, Any]]:
    """What a run would print of one cohort, by feature set and for the gain: the AUC, its interval
    by the bootstrap and the one of its predictions (DeLong).
    """
    cohort = simulate_cohort(people, seed, variants, population=population)
    models = {
        feature_set: (model, _columns(cohort, feature_set))
        for feature_set, model in _models(cohort).items()
    }
    with one_thread(), config_context(**UNCHECKED):
        scores = {
            name: evaluate_model(
                *model, cohort.event, folds=5, repeats=10, seed=1, calibrated=True, tick=_untold
            )
            for name, model in models.items()
        }
        aucs = bootstrap_aucs(models, cohort.event, folds=5, samples=samples, seed=1, tick=_untold)
    shown: dict[str, dict[str, Any]] = {
        name: {
            "auc": scores[name].auc,
            "bootstrap": auc_interval_of(scores[name], aucs[name]),
            "delong": scores[name].auc_interval,
        }
        for name in COVERED
    }
    gap, interval = compare_auc(scores["combined"], scores["genes"], cohort.event)
    spread = gain_interval_of(gap, aucs["combined"] - aucs["genes"])
    return {**shown, "gain": {"auc": gap, "bootstrap": spread, "delong": interval}}


def coverage_report(
    truth: Mapping[str, float], cohorts: Sequence[Mapping[str, Mapping[str, Any]]]
) -> dict[str, dict[str, float]]:
    """How often the intervals of disjoint cohorts hold the truth, and how wide they are beside an
    ideal interval: 2 x 1.96 standard deviations of the estimate over the cohorts.
    """
    report = {}
    for name, value in truth.items():
        estimates = np.array([cohort[name]["auc"] for cohort in cohorts])
        ideal = 2 * Z_95 * estimates.std(ddof=1)
        report[name] = {"truth": value, "mean": float(estimates.mean())}
        for method in ("bootstrap", "delong"):
            ends = np.array([cohort[name][method] for cohort in cohorts])
            inside = (ends[:, 0] <= value) & (value <= ends[:, 1])
            report[name] |= {
                f"{method}_covers": float(inside.mean()),
                f"{method}_width": float((ends[:, 1] - ends[:, 0]).mean() / ideal),
            }
    return report


def _models(cohort: Cohort) -> dict[str, Pipeline]:
    genes = cohort.dosage.shape[1]
    return {
        feature_set: build_model(
            Blueprint("logistic", genes, clinical, "score", KEPT, 0, "median", "z-score", 1)
        )
        for feature_set, clinical in zip(COVERED, (0, len(CLINICAL)), strict=True)
    }


def _columns(cohort: Cohort, feature_set: str) -> Floats:
    genes = cohort.dosage
    return genes if feature_set == "genes" else np.hstack([genes, cohort.matrix(list(CLINICAL))])


def _untold(_fraction: float) -> None:
    pass
