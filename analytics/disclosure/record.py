"""Disclosure record (SATRE 3.3.09) as JSON: rules, coarsened and withheld values, reasons.

Not listed: merged steps of the flow chart, numbers of variants below 10, QQ quantiles that are left
out, and suppressed events of an association scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.catalogue import RELEASABLE, estimates_probability
from analytics.disclosure.clusters import LEAST_STABILITY
from analytics.disclosure.counts import (
    CANDIDATES_NEEDED,
    PROFILES_NEEDED,
    STEPS,
    Counts,
    Shown,
)
from analytics.disclosure.curves import CURVE_STEPS
from analytics.disclosure.noise import BOUND
from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT
from analytics.disclosure.survival import Shown as Curve
from analytics.kinship import SAME_GENOME, THIRD
from analytics.metrics import NAMES

_PEOPLE = {
    "what": "people",
    "why": "fewer than 10 were left out; beside granted it would tell how many",
}
_COUNTS = (
    {"rule": "small counts", "below": SMALLEST_COUNT, "source": "ACRO"},
    {"rule": "rounded counts", "to": COUNT_GRID},
)
_NOISE = {
    "rule": "noise before rounding",
    "at_most": BOUND,
    "source": "keyed by the question and the set of people",
}
_NO_CURVE = "it has fewer than 50 people, or fewer than 10 with the event or without"
_ONE_GENOME = {
    "rule": "one record of each genome",
    "at_least": f"{SAME_GENOME}",
    "source": "KING-robust",
}
_RELATIVES = {"rule": "relatives in one fold", "at_least": f"{THIRD}", "source": "KING-robust"}


def describe_metrics(
    counts: Counts,
    table: Mapping[str, Shown],
    rows: Sequence[str],
    curves: Sequence[Mapping[str, Any]],
    repeats: int,
    few: Sequence[str] = (),
    genotyped: bool = False,
) -> dict[str, object]:
    """The record of model metrics. rows: "model/feature set" of everything that was evaluated;
    curves: as printed; few: the rows whose feature set has too few distinct feature profiles;
    genotyped: whether people were chosen by genotypes, so that relatives are known."""
    small = "an outcome has fewer than 10 people"
    withheld: list[object] = []
    coarsened: list[object] = []
    for name in rows:
        shown = table.get(name)
        missing = [name for name in NAMES if shown is None or name not in shown.metrics]
        if missing:
            why = small if counts.events is None else "fewer than 10 people are called positive"
            withheld.append({"what": f"{', '.join(missing)}: {name}", "why": why})
        if shown is not None and shown.step > STEPS[0]:
            why = "a finer step holds fewer than 2 people of the rarer outcome"
            coarsened.append({"what": f"threshold metrics: {name}", "step": shown.step, "why": why})
    for name in few:
        why = f"its feature set has fewer than {PROFILES_NEEDED} distinct feature profiles"
        what = f"AUC interval, gain, Brier score: {name}"
        withheld.append({"what": what, "why": why})
        coarsened.append({"what": f"AUC: {name}", "step": STEPS[-1], "why": why})
    if counts.events is not None:
        _describe_curves(rows, curves, coarsened, withheld)
    if counts.people is None:
        withheld.append(_PEOPLE)
    if counts.events is None:
        withheld.append({"what": "events, baseline, threshold metrics, curves", "why": small})
        what = "auc, interval, gains, Brier score"
        coarsened.append({"what": what, "step": STEPS[-1], "why": small})
    for model in sorted({name.partition("/")[0] for name in rows}):
        withheld.append(
            {"what": f"model file: {model}", "why": RELEASABLE[model] or "model release is off"}
        )
    rules: list[object] = [
        _NOISE,
        *_COUNTS,
        *((_ONE_GENOME, _RELATIVES) if genotyped else ()),
        {"rule": "means over repeats", "repeats": repeats},
        {"rule": "distinct feature profiles", "at_least": PROFILES_NEEDED},
        {"rule": "curves", "people_a_step": SMALLEST_COUNT},
        {
            "rule": "never leaves",
            "what": ["per-person values", "coefficients", "fold membership", "model files"],
        },
    ]
    return _record("metrics", 0, counts, rules, coarsened, withheld)


def describe_table(
    counts: Counts,
    shown: Mapping[str, Curve],
    strata: Sequence[str],
    regression: tuple[bool, bool] | None,
    repeats: int,
    genotyped: bool = False,
) -> dict[str, object]:
    """The record of survival curves. shown: the printed ones, by stratum; strata: the names of all;
    regression: whether Cox regression has too few distinct feature profiles, and whether its
    calibration is printed; None without one."""
    withheld: list[object] = [_PEOPLE] if counts.people is None else []
    coarsened: list[object] = []
    for name in strata:
        curve = shown.get(name)
        if curve is None:
            withheld.append({"what": f"survival: {name}", "why": _NO_CURVE})
            continue
        if curve.step > STEPS[0]:
            why = "a finer step holds fewer than 5 people"
            coarsened.append({"what": f"survival: {name}", "step": curve.step, "why": why})
        if not curve.reaches:
            why = "fewer than 10 people are at risk at the horizon, or nobody or everybody would be"
            withheld.append({"what": f"risk at the horizon: {name}", "why": why})
    if regression is not None:
        few, calibrated = regression
        if few:
            why = f"the covariates have fewer than {PROFILES_NEEDED} distinct feature profiles"
            withheld.append({"what": "concordance and its interval", "why": why})
        elif counts.events is None:
            why = "an outcome has fewer than 10 people"
            coarsened.append({"what": "concordance", "step": STEPS[-1], "why": why})
        if not calibrated:
            why = "a group has too few people of an outcome, or there are too few profiles"
            withheld.append({"what": "calibration at the horizon", "why": why})
    rules: list[object] = [
        _NOISE,
        *_COUNTS,
        *((_ONE_GENOME, _RELATIVES) if genotyped else ()),
        {"rule": "curves", "people_a_step": SMALLEST_COUNT},
        {"rule": "means over repeats", "repeats": repeats},
        {"rule": "distinct feature profiles", "at_least": PROFILES_NEEDED},
        {"rule": "never leaves", "what": ["per-person values", "coefficients", "fold membership"]},
    ]
    return _record("table", 0, counts, rules, coarsened, withheld)


def describe_clusters(
    counts: Counts,
    coarsened: Sequence[tuple[str, object, str]],
    withheld: Sequence[tuple[str, str]],
    genotyped: bool = False,
) -> dict[str, object]:
    """The record of clusters of people. coarsened: (what, step, why); withheld: (what, why)."""
    rules: list[object] = [
        _NOISE,
        *_COUNTS,
        *((_ONE_GENOME,) if genotyped else ()),
        {"rule": "distinct feature profiles", "at_least": PROFILES_NEEDED},
        {"rule": "stability of a described cluster, percent", "at_least": LEAST_STABILITY},
        {"rule": "never leaves", "what": ["per-person values", "who is in a cluster", "centres"]},
    ]
    return _record(
        "table",
        0,
        counts,
        rules,
        [{"what": what, "step": step, "why": why} for what, step, why in coarsened],
        [
            *([_PEOPLE] if counts.people is None else []),
            *({"what": what, "why": why} for what, why in withheld),
        ],
    )


def describe_genomic(
    counts: Counts,
    statistics: int,
    missing: int,
    allowed: int,
    sites: Sequence[Mapping[str, Any]] = (),
    scan: Mapping[str, Any] | None = None,
) -> dict[str, object]:
    """The record of per-variant statistics, which count as `statistics` towards the bound. missing:
    number of requested variants that are not reported; allowed: genomic_bound of the fewest people
    that `counts` admits; sites: the rows of frequencies, scan: the association, both as printed."""
    withheld: list[object] = [_PEOPLE] if counts.people is None else []
    if missing:
        why_missing = "more would tell who was in the cohort, or fewer than 5 tables would fit"
        withheld.append({"what": f"{missing} variants", "why": why_missing})
    why = "fewer than 5 genotype counts would fit"
    coarsened: list[object] = [
        {
            "what": f"frequency: {site['variant']}",
            "step": site["step"],
            "why": why + " at finer steps",
        }
        for site in sites
        if site.get("step", 1) > 1
    ]
    for site in sites:
        missed = ", ".join(name for name in ("frequency", "carriers") if name not in site)
        if missed:
            small = why if "frequency" in site else "fewer than 10 carriers or others, or " + why
            withheld.append({"what": f"{missed}: {site['variant']}", "why": small})
    if scan is not None:
        coarsened += [
            {
                "what": f"z: {row['variant']}",
                "step": row["step"],
                "why": "fewer than 5 tables of genotypes and outcomes would fit at finer steps",
            }
            for row in scan["rows"]
            if row["step"] != "0.1"
        ]
        if "inflation" not in scan:
            withheld.append(
                {"what": "inflation", "why": "of so few variants it would tell the z of one"}
            )
        elif "inflation_interval" not in scan:
            withheld.append(
                {
                    "what": "interval of the inflation",
                    "why": "of so few independent variants an end would tell the z of one",
                }
            )
    rules: list[object] = [
        _NOISE,
        *_COUNTS,
        _ONE_GENOME,
        {"rule": "table count", "at_least": CANDIDATES_NEEDED},
        {"rule": "genomic bound", "at_most": allowed, "inference_auc_at_most": "0.60"},
        {
            "rule": "never leaves",
            "what": ["genotypes", "per-person values", "statistics of other variants"],
        },
    ]
    return _record("genomic", statistics, counts, rules, coarsened, withheld)


def _describe_curves(
    rows: Sequence[str],
    curves: Sequence[Mapping[str, Any]],
    coarsened: list[object],
    withheld: list[object],
) -> None:
    """Add the coarsened and withheld curves of a cohort whose events are printed."""
    by_name = {f"{curve['model']}/{curve['feature_set']}": curve for curve in curves}
    few = "too few people of an outcome for the noise, or too few distinct feature profiles"
    for name in rows:
        curve = by_name.get(name, {})
        model, _, feature_set = name.partition("/")
        calibrated = estimates_probability(model, feature_set)
        due = ("roc", "calibration") if calibrated else ("roc",)
        withheld += [{"what": f"{kind}: {name}", "why": few} for kind in due if kind not in curve]
        step = curve.get("calibration", {}).get("step", CURVE_STEPS[0])
        if step > CURVE_STEPS[0]:
            coarsened.append(
                {
                    "what": f"calibration: {name}",
                    "step": step,
                    "why": "a finer step holds less than the noise",
                }
            )


def _record(
    kind: str,
    statistics: int,
    counts: Counts,
    rules: list[object],
    coarsened: list[object],
    withheld: list[object],
) -> dict[str, object]:
    return {
        "type": "volens/disclosure/1",
        "statistic_class": kind,
        "statistics": statistics,
        "people": counts.granted,
        "rules": rules,
        "coarsened": coarsened,
        "withheld": withheld,
    }
