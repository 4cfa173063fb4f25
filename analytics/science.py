"""Benchmarks of the models: known-truth simulations, published data (GSE7390), pure noise; of the
association scan: p values without an association; of survival runs: the risk under censoring; of
explanations: whether they name the causal variants.

Metrics here are exact: they are about simulated people and a public data set (GSE7390), and pass no
disclosure filter. The caller writes the files; time and machine are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import sklearn
from scipy.stats import norm

from analytics.association import LEAST_EXPECTED, LEAST_MINOR_ALLELES, score_test
from analytics.catalogue import COMBINED, FUSED, GRID, MODELS
from analytics.clusterings import REGISTERED as CLUSTERINGS
from analytics.cohort import select_people
from analytics.disclosure.clusters import LARGEST_P
from analytics.disclosure.noise import KEY_BYTES, Noise
from analytics.disclosure.survival import Lives, show_curve
from analytics.evaluate import Z_95, Floats, Labels, auc_with_error, metrics_of
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.explanations.registry import COLUMNS
from analytics.models.pipeline import build_columns
from analytics.models.registry import Blueprint
from analytics.params import Params, complete, parse_params
from analytics.people import Input, read_people
from analytics.prediction import FeatureSets, Row, evaluate_rows, gather_feature_sets
from analytics.prognosis import Covariates, evaluate_cox
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.simulate.censoring import RISK, simulate_follow_up, true_risk
from analytics.simulate.groups import recover_groups, simulate_groups
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
# Fused sets take twelve fits where others take one, so they are measured for one model.
AS_GOOD = 0.01  # of an AUC
KEPT = 20  # columns
PRIMARY, SINGLE = "logistic", ("genes", "clinical", COMBINED)
FEATURE_SETS = (*SINGLE, FUSED)  # of people without series
DRAWS, FEW = 3, 500  # of the folds, and up to how many people
FOLLOW_UPS = (8.0, 4.0, 2.5)  # median years, of the people whose risk is printed
NOMINAL = (1e-3, 1e-4)  # p whose share is counted where there is no association
OUTCOME = {"kind": "distant-metastasis", "horizon_days": HORIZON_DAYS}


def known_truth_report(
    people: int = 2000,
    variants: int = 400,
    causal: int = 8,
    seeds: int = 5,
    models: Sequence[str] = ("logistic",),
    keep: int = KEPT,
    repeats: int = 3,
    device: str = "cpu",
    feature_sets: Sequence[str] = SINGLE,
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
            for feature_set in cohorts[0].optimum
        },
        "best_rule": {
            feature_set: float(np.mean([c.best_rule[feature_set] for c in cohorts]))
            for feature_set in cohorts[0].best_rule
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


def fusion_report(people: int, cohorts: int, variants: int = 400) -> dict[str, float]:
    """Logistic regression with fused feature sets beside each alone, on simulated cohorts.

    By feature set the mean AUC. as_good: the share of cohorts in which fused is at most AS_GOOD
    below the better of genes and clinical. gain_fraction: of the best possible rule's gain in
    accuracy over the majority (an expectation), by fused. Among few people one draw of the folds
    moves an AUC by more than AS_GOOD, so there they are drawn several times, as a run does.
    """
    repeats = DRAWS if people <= FEW else 1
    params = _params({PRIMARY: list(FEATURE_SETS)}, KEPT, repeats)
    simulated = [simulate_cohort(people, seed, variants) for seed in range(cohorts)]
    rows = [
        {row.feature_set: row for row in _evaluate(cohort, cohort.dosage, params, "cpu")}
        for cohort in simulated
    ]
    aucs = {name: np.array([of[name].scores.auc for of in rows]) for name in FEATURE_SETS}
    single = np.maximum(aucs["genes"], aucs["clinical"])
    accuracy, optimum, majority = np.mean(
        [
            (metrics_of(of[FUSED].scores.cells)["accuracy"], c.optimum[FUSED], _majority(c.event))
            for of, c in zip(rows, simulated, strict=True)
        ],
        axis=0,
    )
    return {
        **{name: float(auc.mean()) for name, auc in aucs.items()},
        "people": people,
        "cohorts": cohorts,
        "as_good": float((aucs[FUSED] >= single - AS_GOOD).mean()),
        "gain_fraction": gain_fraction(float(accuracy), float(optimum), float(majority)),
    }


def tuning_report(people: int, cohorts: int, variants: int = 400) -> dict[str, object]:
    """AUC of each model with settings to choose, fixed and chosen within the folds, on simulated
    cohorts (combined): {models: {name: {fixed, tuned}}}.
    """
    models = [name for name in MODELS if GRID[name]]
    fixed = _params({name: ["combined"] for name in models}, KEPT, repeats=1)
    aucs: dict[str, dict[str, float]] = {name: {"fixed": 0.0, "tuned": 0.0} for name in models}
    for seed in range(cohorts):
        cohort = simulate_cohort(people, seed, variants)
        for settings, params in (("fixed", fixed), ("tuned", replace(fixed, tune=True))):
            for row in _evaluate(cohort, cohort.dosage, params, "cpu"):
                aucs[row.model][settings] += row.scores.auc / cohorts
    return {"people": people, "cohorts": cohorts, "models": aucs}


def explanation_report(
    people: int, cohorts: int, variants: int = 400, causal: int = 8, repeats: int = 3
) -> dict[str, float]:
    """Whether explanations of logistic regression (combined) name the causal variants of simulated
    cohorts: the share of the causal ones among as many variants with the largest importance, by
    explanation, and as many that are drawn at random.
    """
    names = [
        name
        for name, explanation in EXPLANATIONS.items()
        if (explanation.of, explanation.form) == (COLUMNS, "linear")
    ]
    params = replace(_params({PRIMARY: ["combined"]}, KEPT, repeats), explain=tuple(names))
    recalls: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(cohorts):
        cohort = simulate_cohort(people, seed, variants, causal)
        (row,) = _evaluate(cohort, cohort.dosage, params, "cpu")
        for explained in row.explained:
            top = np.argsort(-explained.importance[: cohort.dosage.shape[1]])[:causal]
            recalls[explained.explanation.name].append(float(np.isin(cohort.causal, top).mean()))
    return {
        **{name: float(np.mean(recall)) for name, recall in recalls.items()},
        "random": causal / cohort.dosage.shape[1],
        "people": people,
        "cohorts": cohorts,
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
    chosen = {name: list(FEATURE_SETS if name == PRIMARY else SINGLE) for name in models}
    document = {"outcome": OUTCOME, "models": chosen}
    params = replace(
        parse_params(complete(document)), repeats=repeats, permutations=permutations, bootstraps=0
    )
    with (
        one_thread(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        cohort = select_people(
            read_people(inputs, "expression"), params.cohort, params.outcome, "expression", 1
        )
        rows = evaluate_rows(
            cohort.event,
            gather_feature_sets(cohort, params, Noise(bytes(KEY_BYTES))),
            params,
            device,
            _ignore,
        )
    by_name = {row.name: [row] for row in rows}
    shown: list[dict[str, object]] = [
        {
            "feature_set": row.feature_set,
            "model": row.model,
            "accuracy": metrics_of(row.scores.cells)["accuracy"],
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


def association_null_report(
    tests: int = 2_000_000,
    sizes: Sequence[tuple[int, int]] = ((200, 36), (1000, 180), (5000, 100)),
    frequencies: Sequence[float] = (0.01, 0.05, 0.2),
    least_expected: int = LEAST_EXPECTED,
) -> list[dict[str, object]]:
    """The scan's p without an association: the share below 0.001 and 0.0001, over that nominal.

    sizes: (people, events); frequencies: of the rarer allele; two covariates. Each of many draws of
    the outcome tests the same variants, until there are `tests`; a size and frequency at which
    fewer than 1 in 100 variants have the copies that a scan needs has none. normal: the same with
    p of the normal distribution everywhere, as without the saddlepoint.
    """
    rows: list[dict[str, object]] = []
    for people, events in sizes:
        for frequency in frequencies:
            draw = np.random.default_rng(people)
            dosage = draw.binomial(2, frequency, (people, 2000)).astype(np.float64)
            minor = np.minimum(dosage.sum(axis=0), 2 * people - dosage.sum(axis=0))
            share = min(events, people - events) / people
            tested = (minor >= LEAST_MINOR_ALLELES) & (minor * share >= least_expected)
            row: dict[str, object] = {"people": people, "events": events, "frequency": frequency}
            rows.append(row | {"tested": float(tested.mean())})
            if tested.mean() < 0.01:
                continue
            dosage = np.asfortranarray(dosage[:, tested])
            covariates = draw.normal(size=(people, 2))
            below, done = np.zeros((2, 2)), 0
            while done < tests:
                event = draw.permutation(np.arange(people) < events).astype(np.int64)
                both = (
                    score_test(dosage, event, covariates),
                    score_test(dosage, event, covariates, normal_within=np.inf),
                )
                p = 2 * norm.sf(np.abs(both))
                below += [(p < nominal).sum(axis=1) for nominal in NOMINAL]
                done += dosage.shape[1]
            relative = below / done / np.array(NOMINAL)[:, None]
            rows[-1] |= {"tests": done, "saddlepoint": relative[:, 0].tolist()}
            rows[-1] |= {"normal": relative[:, 1].tolist()}
    return rows


def survival_report(people: int = 4000, sets: int = 20) -> dict[str, object]:
    """The printed risk of simulated people whose true one is known, by how long they are followed
    up; and the concordance of Cox regression where no covariate matters.

    risk: by median years of follow-up, what a survival run prints of the last time it prints, and
    the truth then; share: with the event among those whose outcome at the horizon is known, as in
    `evaluate`. noise: mean and standard error over `sets` of 200 people.
    """
    rows: list[dict[str, object]] = []
    for median in FOLLOW_UPS:
        _, time, event = simulate_follow_up(people, 1, median)
        known = event | (time >= HORIZON_DAYS)
        row: dict[str, object] = {"median_years": median, "share": float(event[known].mean())}
        ids = [str(at) for at in range(people)]
        shown = show_curve(Noise(bytes(KEY_BYTES)), Lives(time, event, ids), HORIZON_DAYS)
        if shown is not None:
            last = shown.points[-1]
            row |= {"day": last.day, "printed": 1 - last.survival / 100}
            row |= {"truth": true_risk(last.day), "truth_at_horizon": RISK}
        rows.append(row)
    concordances = []
    for seed in range(sets):
        x, time, event = simulate_follow_up(200, seed, 4.0, effects=(0.0,) * 5)
        columns = build_columns(Blueprint("", 0, 5, "score", 1, 0, "median", "z-score", 1))
        with one_thread():
            prognosis = evaluate_cox(
                Covariates(columns, x, time, event),
                HORIZON_DAYS,
                folds=5,
                repeats=1,
                permutations=0,
                bootstraps=0,
                seed=seed,
                progress=_ignore,
            )
        concordances.append(prognosis.concordance)
    error = float(np.std(concordances, ddof=1) / np.sqrt(sets))
    noise = {"mean": float(np.mean(concordances)), "standard_error": error, "sets": sets}
    return {"people": people, "risk": rows, "noise": noise}


def cluster_report(cohorts: int = 10, people: int = 200) -> list[dict[str, object]]:
    """Clusters of simulated people in three known groups, and of people in none, by each method on
    clinical variables and on genes: mean adjusted Rand index with the groups, which are names only
    where there are none, and the share of cohorts in which p is at most 0.05.
    """
    rows: list[dict[str, object]] = []
    with one_thread():
        for method in CLUSTERINGS:
            for genes in (False, True):
                for apart in (5.0, 0.0):
                    recovered = [
                        recover_groups(
                            method, simulate_groups(people, seed, apart=apart), genes, seed
                        )
                        for seed in range(cohorts)
                    ]
                    row: dict[str, object] = {"method": method}
                    row["data"] = "genes" if genes else "clinical"
                    index, p = np.mean(
                        [(recovery, p <= LARGEST_P) for recovery, p in recovered], axis=0
                    )
                    row |= {"groups": 3 if apart else 0, "cohorts": cohorts}
                    rows.append(row | {"rand": float(index), "significant": float(p)})
    return rows


def _ignore(_phase: str, _fraction: float) -> None:
    pass


def _params(models: dict[str, list[str]], keep: int, repeats: int) -> Params:
    genes = {"source": "variants", "select": "score", "keep": keep}
    document = {"outcome": OUTCOME, "models": models, "genes": genes, "clinical": list(CLINICAL)}
    return replace(parse_params(complete(document)), repeats=repeats, permutations=0, bootstraps=0)


def _evaluate(cohort: Cohort, dosage: Floats, params: Params, device: str) -> list[Row]:
    names = tuple(f"variant {at}" for at in range(dosage.shape[1]))
    matrix = cohort.matrix(list(CLINICAL))
    feature_sets = FeatureSets(dosage, matrix, (), None, names, tuple(CLINICAL))
    with (
        one_thread(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        return evaluate_rows(cohort.event, feature_sets, params, device, _ignore)


def _describe(rows: Sequence[Row], cohorts: Sequence[Cohort]) -> dict[str, object]:
    """One model on one feature set, means over the cohorts."""
    accuracy = float(np.mean([metrics_of(row.scores.cells)["accuracy"] for row in rows]))
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
