"""Benchmarks of the models: known-truth simulations, published data (GSE7390), pure noise.

Metrics here are exact: they are about simulated people and a public data set (GSE7390), and pass no
disclosure filter. The caller writes the files; time and machine are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import sklearn

from analytics.catalogue import FEATURE_SETS, MODELS
from analytics.cohort import select_people
from analytics.evaluate import Z_95, Floats, Labels, auc_with_error, metrics_of
from analytics.params import Params, complete, parse_params
from analytics.people import Input, read_people
from analytics.prediction import FeatureSets, Row, evaluate_rows, gather_feature_sets
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.simulate.known_truth import (
    CLINICAL,
    HORIZON_DAYS,
    Cohort,
    gain_fraction,
    simulate_cohort,
)
from analytics.simulate.noise import leak_demonstration, noise_control
from analytics.threads import one_thread
from analytics.vocabulary import Category

OBSERVATIONS = 2
OUTCOME = {"kind": "distant-metastasis", "horizon_days": HORIZON_DAYS}


def known_truth_report(
    people: int = 2000,
    variants: int = 400,
    causal: int = 8,
    seeds: int = 5,
    models: Sequence[str] = ("logistic",),
    keep: int = 20,
    repeats: int = 3,
    device: str = "cpu",
    feature_sets: Sequence[str] = FEATURE_SETS,
) -> dict[str, object]:
    """Every model on simulated cohorts, and the best possible rule; means over `seeds` cohorts.

    optimum: expected accuracy of the best rule by feature set; best_rule: its accuracy on exactly
    these people. gain_fraction: of the optimum's gain over the majority; gain_fraction_best_rule:
    of the best rule's gain on the same outcomes. interval: 95 % (DeLong), of the mean AUC. gains:
    AUC of combined minus genes, paired.
    """
    params = _params({name: list(feature_sets) for name in models}, keep, repeats)
    cohorts = [simulate_cohort(people, seed, variants, causal) for seed in range(seeds)]
    evaluated = [_evaluate(c, c.dosage, params, device) for c in cohorts]
    by_name = {row.name: [rows[at] for rows in evaluated] for at, row in enumerate(evaluated[0])}
    described = [_describe(rows, cohorts) for rows in by_name.values()]
    return {
        "people": people,
        "variants": cohorts[0].dosage.shape[1],
        "causal": causal,
        "seeds": seeds,
        "kept": keep,
        "majority": float(np.mean([_majority(c.event) for c in cohorts])),
        "optimum": {
            feature_set: float(np.mean([c.optimum[feature_set] for c in cohorts]))
            for feature_set in (*FEATURE_SETS, "all")
        },
        "best_rule": {
            feature_set: float(np.mean([c.best_rule[feature_set] for c in cohorts]))
            for feature_set in (*FEATURE_SETS, "all")
        },
        f"gain_fraction_{causal}": {
            str(row["model"]): row["gain_fraction"]
            for row in described
            if row["feature_set"] == "combined"
        },
        f"gain_fraction_{causal}_best_rule": {
            str(row["model"]): row["gain_fraction_best_rule"]
            for row in described
            if row["feature_set"] == "combined"
        },
        "models": described,
        "gains": [
            _describe_gain(model, by_name, [cohort.event for cohort in cohorts])
            for model in models
            if {"genes", "combined"} <= set(feature_sets)
        ],
    }


def gse7390_report(
    permutations: int, repeats: int = 10, models: Sequence[str] = MODELS, device: str = "cpu"
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Every model on GSE7390: metastasis within five years. Raises SourceError if it is absent.

    The second list is the gain over genes alone: AUC of combined minus genes with its 95 %
    interval, paired.
    """
    inputs = []
    for person in load_gse7390(locate_gse7390()):
        subject = f"{person.ordinal:064x}"
        inputs.append(Input(subject, Category.EXPRESSION, person.expression(subject)))
        inputs.append(Input(subject, OBSERVATIONS, person.observations(subject)))
    document = {"outcome": OUTCOME, "models": {name: list(FEATURE_SETS) for name in models}}
    params = replace(parse_params(complete(document)), repeats=repeats, permutations=permutations)
    with (
        one_thread(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        cohort = select_people(
            read_people(inputs, "expression"), params.cohort, params.outcome, "expression", 1
        )
        rows = evaluate_rows(
            cohort.event, gather_feature_sets(cohort, params), params, device, _ignore
        )
    by_name = {row.name: [row] for row in rows}
    shown: list[dict[str, object]] = [
        {
            "feature_set": row.feature_set,
            "model": row.model,
            "accuracy": metrics_of(row.scores.cells)[0],
            "auc": row.scores.auc,
            "interval": list(row.scores.auc_interval),
            "baseline": _majority(cohort.event),
            "p": row.p,
        }
        for row in rows
    ]
    return shown, [_describe_gain(model, by_name, [cohort.event]) for model in models]


def noise_report(seeds: int = 80, models: Sequence[str] = MODELS) -> list[dict[str, object]]:
    """Every model on pure noise; interval: 95 %, of the mean accuracy."""
    rows = []
    for control in noise_control(seeds, models):
        accuracy, error = float(str(control["accuracy"])), float(str(control["standard_error"]))
        interval = [accuracy - Z_95 * error, accuracy + Z_95 * error]
        rows.append(_noise_row("noise", str(control["model"]), accuracy, control["auc"], interval))
    return rows


def leak_report(seeds: int = 3, repeats: int = 2) -> list[dict[str, object]]:
    """Leakage check: logistic regression on noise, columns selected outside and inside the fold."""
    shown = leak_demonstration(seeds=seeds, repeats=repeats)
    rows = []
    for where in ("outside", "inside"):
        metrics = cast("dict[str, float]", shown[where])
        rows.append(
            _noise_row(
                f"noise, chosen {where} the fold",
                "logistic",
                metrics["accuracy"],
                metrics["auc"],
                None,
            )
        )
    return rows


def _ignore(_phase: str, _fraction: float) -> None:
    pass


def _params(models: dict[str, list[str]], keep: int, repeats: int) -> Params:
    genes = {"source": "variants", "select": "score", "keep": keep}
    document = {"outcome": OUTCOME, "models": models, "genes": genes, "clinical": list(CLINICAL)}
    return replace(parse_params(complete(document)), repeats=repeats, permutations=0)


def _evaluate(cohort: Cohort, dosage: Floats, params: Params, device: str) -> list[Row]:
    feature_sets = FeatureSets(dosage, cohort.matrix(list(CLINICAL)), ())
    with (
        one_thread(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        return evaluate_rows(cohort.event, feature_sets, params, device, _ignore)


def _describe(rows: Sequence[Row], cohorts: Sequence[Cohort]) -> dict[str, object]:
    """One model on one feature set, means over the cohorts."""
    accuracy = float(np.mean([metrics_of(row.scores.cells)[0] for row in rows]))
    best, reached = (
        float(np.mean([by_feature_set[rows[0].feature_set] for by_feature_set in accuracies]))
        for accuracies in ([c.optimum for c in cohorts], [c.best_rule for c in cohorts])
    )
    majority = float(np.mean([_majority(cohort.event) for cohort in cohorts]))
    auc, interval = _mean_auc(
        [row.scores.placements for row in rows], [cohort.event for cohort in cohorts]
    )
    return {
        "model": rows[0].model,
        "feature_set": rows[0].feature_set,
        "accuracy": accuracy,
        "auc": auc,
        "interval": interval,
        "gain_fraction": gain_fraction(accuracy, best, majority),
        "gain_fraction_best_rule": gain_fraction(accuracy, reached, majority),
    }


def _describe_gain(
    model: str, by_name: dict[str, list[Row]], events: Sequence[Labels]
) -> dict[str, object]:
    both = zip(by_name[f"{model}/combined"], by_name[f"{model}/genes"], strict=True)
    gap, interval = _mean_auc(
        [more.scores.placements - less.scores.placements for more, less in both], events
    )
    return {"model": model, "over": "genes", "auc": gap, "interval": interval}


def _mean_auc(placements: Sequence[Floats], events: Sequence[Labels]) -> tuple[float, list[float]]:
    """(mean AUC, or mean difference of AUCs, and its 95 % interval) over independent cohorts."""
    aucs = [auc_with_error(placed, event) for placed, event in zip(placements, events, strict=True)]
    mean = float(np.mean([auc for auc, _ in aucs]))
    error = float(np.sqrt(sum(error**2 for _, error in aucs))) / len(aucs)
    return mean, [mean - Z_95 * error, mean + Z_95 * error]


def _majority(event: Labels) -> float:
    return max(float(event.mean()), 1 - float(event.mean()))


def _noise_row(
    feature_set: str, model: str, accuracy: object, auc: object, interval: object
) -> dict[str, object]:
    return {
        "feature_set": feature_set,
        "model": model,
        "accuracy": accuracy,
        "auc": auc,
        "interval": interval,
        "baseline": 0.5,
        "p": None,
    }
