"""Survival runs: curves of all and by stratum, and cross-validated Cox regression, as printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analytics.cohort import Cohort, clinical_matrix
from analytics.disclosure.counts import (
    PROFILES_NEEDED,
    STEPS,
    Perturbation,
    Sizes,
    filter_counts,
    filter_flow,
    filter_variants,
    percent,
    perturb_interval,
    perturb_rank,
)
from analytics.disclosure.noise import PERSON, Noise
from analytics.disclosure.record import describe_table
from analytics.disclosure.rounding import SMALLEST_COUNT, print_p, round_count
from analytics.disclosure.survival import (
    Lives,
    Point,
    Shown,
    calibration_groups,
    show_curve,
    show_strata,
)
from analytics.evaluate import clip_auc
from analytics.models.pipeline import build_columns
from analytics.models.registry import Blueprint
from analytics.params import Params
from analytics.prediction import FeatureSets, sizes_of
from analytics.prognosis import Covariates, Prognosis, evaluate_cox
from analytics.strata import ALL, assign_strata, parse_split

Progress = Callable[[str, float], None]
NOT_REACHED = "not reached"
CONCORDANCE = "concordance"  # the cell of its noise


@dataclass(frozen=True, slots=True)
class Regression:
    """Cross-validated Cox regression and the perturbed number of distinct feature profiles behind
    it.
    """

    prognosis: Prognosis
    profiles: int

    @property
    def few(self) -> bool:
        """Whether so few profiles make its concordance depend on a few cells."""
        return self.profiles < PROFILES_NEEDED


def fit_regression(
    cohort: Cohort,
    feature_sets: FeatureSets,
    params: Params,
    progress: Progress,
    perturbation: Perturbation,
) -> Regression | None:
    """Cox regression on genes and clinical variables together; None if the parameters name none.

    Raises PredictionError and CohortTooSmall.
    """
    if not params.fits_cox:
        return None
    x, genes, clinical = feature_sets.matrix("combined")
    rules = params.genes
    keep, components = (
        (1, 0) if rules is None else (min(rules.keep, max(genes, 1)), rules.components)
    )
    columns = build_columns(
        Blueprint(
            "", genes, clinical, "score", keep, components, params.impute, params.scale, params.seed
        )
    )
    people = Covariates(columns, x, cohort.days, cohort.event == 1, feature_sets.families)
    horizon = 0 if params.outcome is None else params.outcome.days_at_risk
    prognosis = evaluate_cox(
        people,
        horizon,
        folds=params.folds,
        repeats=params.repeats,
        permutations=params.permutations,
        bootstraps=params.bootstraps,
        seed=params.seed,
        progress=progress,
        perturb=partial(perturbation.rank, CONCORDANCE),
    )
    return Regression(prognosis, perturbation.profiles(x))


def describe_survival(
    cohort: Cohort,
    feature_sets: FeatureSets,
    regression: Regression | None,
    params: Params,
    noise: Noise,
) -> tuple[dict[str, object], dict[str, object]]:
    """(result, disclosure record) as printed; withheld numbers are absent, with a reason."""
    horizon = 0 if params.outcome is None else params.outcome.days_at_risk
    lives = Lives(cohort.days, cohort.event == 1, cohort.subjects)
    sizes = sizes_of(cohort, noise)
    counts = filter_counts(sizes)
    groups = _stratify(cohort, params, noise)
    overall = None if counts.events is None else show_curve(noise, lives, horizon)
    shown = {} if overall is None else {ALL: overall}
    shown |= show_strata(noise, groups, lives, horizon)
    people = {name: round_count(noise.count(PERSON, lives[inside].ids)) for name, inside in groups}
    people[ALL] = counts.people
    result: dict[str, object] = {
        "granted": counts.granted,
        "flow": [
            {"step": name, "people": people}
            for name, people in filter_flow(sizes.granted, sizes.flow)
        ],
        "strata": [_describe_stratum(name, of, people[name]) for name, of in shown.items()],
        "rows": [_describe_point(name, of, at) for name, of in shown.items() for at in of.points],
    }
    if feature_sets.flow:
        result["variants"] = filter_variants(feature_sets.genes.shape[1], feature_sets.flow)
        result["kinship"] = cohort.relatives.reach
    printed = {
        "people": counts.people,
        "events": counts.events,
        "censored": None if overall is None else overall.censored,
    }
    result |= {name: value for name, value in printed.items() if value is not None}
    if regression is not None:
        result |= {"folds": params.folds, "repeats": params.repeats}
        result["covariates"] = [*params.clinical, *(["genes"] * (feature_sets.genes.shape[1] > 0))]
        step = STEPS[-1] if counts.events is None else STEPS[0]
        result["concordance"] = _describe_concordance(regression, cohort, sizes, noise, step)
        calibrated = (
            None
            if regression.few or overall is None
            else calibration_groups(noise, regression.prognosis.risk, lives, horizon)
        )
        if calibrated is not None:
            result["calibration"] = {
                "step": calibrated[0],
                "groups": [list(group) for group in calibrated[1]],
            }
    names = [ALL, *(name for name, _ in groups)]
    return result, describe_table(
        counts,
        shown,
        names,
        None if regression is None else (regression.few, "calibration" in result),
        params.repeats,
        bool(feature_sets.flow),
    )


def _stratify(cohort: Cohort, params: Params, noise: Noise) -> list[tuple[str, NDArray[np.int64]]]:
    """(name, positions of its people) of each stratum. That fewer than 10 lack a value is not told:
    they are in the curve of all, and in no stratum's.
    """
    splits = [parse_split(rule) for rule in params.strata]
    if not splits:
        return []
    values = clinical_matrix(cohort, [split.variable for split in splits], noise)
    groups = assign_strata(splits, values)
    unknown = [cohort.subjects[at] for at in groups[-1][1].tolist()]
    return groups[:-1] if noise.count(PERSON, unknown) < SMALLEST_COUNT else groups


def _describe_stratum(name: str, shown: Shown, people: int | None) -> dict[str, object]:
    """Risk at the horizon and median of a curve, read off its printed points: they tell no more.

    Half a step is what the rounding may have taken: the median is where the curve is surely at one
    half or below, and its interval surely holds that of the exact curve.
    """
    last = shown.points[-1]
    median, low, high = (
        _first_half(shown.points, lambda point: point.survival + shown.step / 2),
        _first_half(shown.points, lambda point: point.low - shown.step / 2),
        _first_half(shown.points, lambda point: point.high + shown.step / 2),
    )
    entry: dict[str, object] = {"stratum": name, "step": shown.step}
    if shown.reaches:
        entry["risk"] = 100 - last.survival
        entry["risk_interval"] = [100 - last.high, 100 - last.low]
    entry |= {"median": median, "median_interval": [low, high]}
    counts = {"people": people, "events": shown.events, "censored": shown.censored}
    return entry | {name: value for name, value in counts.items() if value is not None}


def _first_half(points: Sequence[Point], value: Callable[[Point], float]) -> int | str:
    """The first printed time at which a curve is at one half or below."""
    return next((point.day for point in points if value(point) <= 50), NOT_REACHED)


def _describe_point(name: str, shown: Shown, point: Point) -> dict[str, object]:
    counts = {"at_risk": point.at_risk, "censored": point.censored}
    return {
        "stratum": name,
        "days": point.day,
        "survival": point.survival,
        "interval": [point.low, point.high],
        "step": shown.step,
    } | {name: value for name, value in counts.items() if value is not None}


def _describe_concordance(
    regression: Regression, cohort: Cohort, sizes: Sizes, noise: Noise, step: int
) -> Mapping[str, object]:
    prognosis = regression.prognosis
    entry: dict[str, object] = {
        "baseline": 50,
        "p": print_p(prognosis.p),
        "permutations": prognosis.permutations,
    }
    if regression.few:
        return entry
    cell, affected = CONCORDANCE, cohort.affected
    value = perturb_rank(noise, affected, sizes, cell, prognosis.concordance)
    entry["c_index"] = percent(min(1.0, value), step)
    if prognosis.error is not None:
        interval = perturb_interval(noise, affected, sizes, cell, value, prognosis.error)
        entry["c_interval"] = [percent(end, step) for end in clip_auc(*interval)]
    return entry
