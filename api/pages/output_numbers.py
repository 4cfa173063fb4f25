"""Where an output may have numbers: the whole ones that each analysis prints, by their path without
positions, and what is known of them beforehand.

A number elsewhere, one with a fraction that is no text, or a count of what was not asked for could
hold anything. The lists repeat what the computing room writes (analytics/run.py), as those of
output_vocabulary.py do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT, print_p
from analytics.metrics import NAMES
from analytics.params import Params
from analytics.strata import ALL
from api.pages.output_vocabulary import Findings, leaves, objects

_OF_ALL = (
    *("outcome.horizon_days", "granted", "people", "events", "censored", "flow.people"),
    *("variants.used", "variants.left_out.variants"),
)
_OF_ROWS = (*(*NAMES, "step", "auc", "auc_interval", "scaled_brier", "permutations"),)
_OF_STRATA = (
    *("people", "events", "censored", "median", "median_interval", "risk", "risk_interval", "step"),
)
_OF_CURVES = ("at_risk", "censored", "days", "interval", "step", "survival")
_OF_CLUSTERS = ("cluster", "stability", "people", "events", "share", "interval", "step")
INTEGERS: Mapping[str, frozenset[str]] = {
    "evaluate": frozenset(
        (
            *_OF_ALL,
            *("baseline", "folds", "repeats", "gene_sets.used", "gene_sets.left_out"),
            *(f"rows.{name}" for name in _OF_ROWS),
            *("gains.auc", "gains.interval", "curves.roc"),
            *("curves.calibration.groups", "curves.calibration.step"),
            *("explanations.features.importance", "fairness.gaps.gap", "fairness.gaps.interval"),
            *("fairness.gaps.step", "fairness.groups.auc", "fairness.groups.step"),
            "fairness.groups.people",
        )
    ),
    "survival": frozenset(
        (
            *_OF_ALL,
            *("folds", "repeats"),
            *(f"rows.{name}" for name in _OF_CURVES),
            *(f"strata.{name}" for name in _OF_STRATA),
            *("concordance.baseline", "concordance.c_index", "concordance.c_interval"),
            *("concordance.permutations", "calibration.groups", "calibration.step"),
        )
    ),
    "clusters": frozenset(
        (
            *_OF_ALL,
            *("clusters", "agreement", "agreement_expected", "silhouette", "references"),
            *(f"rows.{name}" for name in _OF_CLUSTERS),
            "profiles.cluster",
        )
    ),
    "associate": frozenset((*_OF_ALL, "components")),
    "frequencies": frozenset((*_OF_ALL, "rows.carriers", "rows.frequency", "rows.step")),
}
ENOUGH_REACHED = 10  # permutations after which no more are made (analytics/evaluate.py)
_MOST = 100  # of a percentage, and of a measure in hundredths
_PERCENT = frozenset(
    {
        *("baseline", "silhouette", "agreement", "agreement_expected", "gains.auc"),
        *(f"rows.{name}" for name in _OF_ROWS if name not in ("permutations", "step")),
        *("rows.survival", "rows.share", "rows.stability", "rows.frequency", "rows.interval"),
        *("strata.risk", "strata.risk_interval", "concordance.c_index", "concordance.c_interval"),
    }
)


def misplaced(result: Mapping[str, Any], asked: Params) -> Findings:
    """(path, value) of every number that this analysis does not print there, and of every value
    that is neither a number nor a text.
    """
    printed = INTEGERS[asked.analysis]
    return [
        (path, value)
        for path, name, value in leaves(result)
        if not isinstance(value, str)
        and (
            type(value) is not int
            or name not in printed
            or (name in _PERCENT and abs(value) > _MOST)
        )
    ]


def unexpected(result: Mapping[str, Any], asked: Params) -> Findings:
    """(path, value) of numbers that follow from the parameters, and are others: times of a curve,
    numbers of clusters, of draws and of permutations, and p values that no such number gives; and
    rows that stand twice.
    """
    wrong: Findings = []
    if asked.analysis == "survival" and asked.outcome is not None:
        wrong += _other_days(result, asked.outcome.horizon_days)
    if asked.analysis == "clusters":
        wrong += _other_clusters(result, asked)
    for path, row in (*_at(result, "rows"), ("concordance", result.get("concordance"))):
        made = row.get("permutations") if isinstance(row, Mapping) else None
        if isinstance(made, int) and made > asked.permutations:
            wrong.append((f"{path}.permutations", made))
    wrong += _other_p(result, asked)
    seen: list[Mapping[str, Any]] = []
    for path, row in _at(result, "rows"):
        if row in seen:
            wrong.append((path, "it stands twice"))
        seen.append(row)
    return wrong


def complements(result: Mapping[str, Any]) -> Findings:
    """Parts of people that leave so few others that those are told as well."""
    parts = [("", result), *_at(result, "rows"), *_at(result, "strata")]
    return [
        (f"{path}.events".lstrip("."), f"{events} of {total} {name}")
        for path, part in parts
        for name in ("people", "granted")
        if type(total := part.get(name)) is int
        and type(events := part.get("events")) is int
        and (0 < total - events < SMALLEST_COUNT or (path and total == events))
    ]


def complements_of_strata(result: Mapping[str, Any]) -> Findings:
    """Numbers of strata that leave so few others that a withheld stratum is told as well."""
    strata = [row for _, row in _at(result, "strata")]
    everybody = next((row for row in strata if row.get("stratum") == ALL), {})
    parts = [row for row in strata if row.get("stratum") != ALL]
    wrong: Findings = []
    for name in ("people", "events", "censored"):
        total = next(
            (of[name] for of in (everybody, result) if type(of.get(name)) is int),
            result.get("granted") if name == "people" else None,
        )
        printed = [row[name] for row in parts if type(row.get(name)) is int]
        if type(total) is not int or len(printed) == len(parts):
            continue
        # Both are rounded, so what is left is at most half a step more.
        if 0 < total - sum(printed) < SMALLEST_COUNT - COUNT_GRID // 2:
            wrong.append((f"strata.{name}", f"{sum(printed)} of {total}"))
    return wrong


def _other_days(result: Mapping[str, Any], horizon: int) -> Findings:
    """Only ends of tenths or fifths of the horizon are printed (analytics/disclosure/survival.py)."""
    days = {max(1, horizon * part // parts) for parts in (5, 10) for part in range(1, parts + 1)}
    times = [(f"{path}.days", row.get("days")) for path, row in _at(result, "rows")]
    for path, row in _at(result, "strata"):
        times.append((f"{path}.median", row.get("median")))
        interval = row.get("median_interval")
        for end in interval if isinstance(interval, list) else []:
            times.append((f"{path}.median_interval", end))
    return [(path, day) for path, day in times if type(day) is int and day not in days]


def _other_clusters(result: Mapping[str, Any], asked: Params) -> Findings:
    count = result.get("clusters")
    wrong: Findings = []
    numbers = [row.get("cluster") for _, row in _at(result, "rows")]
    if numbers and numbers != list(range(1, len(numbers) + 1)):
        wrong.append(("rows.cluster", numbers))
    if numbers and len(numbers) != count:
        wrong.append(("clusters", count))
    wrong += [
        (f"{path}.cluster", row.get("cluster"))
        for path, row in _at(result, "profiles")
        if row.get("cluster") not in numbers
    ]
    if result.get("references", asked.references) != asked.references:
        wrong.append(("references", result["references"]))
    return wrong


def _other_p(result: Mapping[str, Any], asked: Params) -> Findings:
    """p values that the permutations, or the draws without groups, cannot give, as printed
    (analytics/evaluate.py, analytics/clusters.py). Of n permutations the least is 1 / (n + 1).
    """
    if asked.analysis == "clusters":
        draws = asked.references + 1
        possible = [print_p(part / draws) for part in range(1, draws + 1)]
        return [("p", p) for p in [result.get("p")] if p is not None and p not in possible]
    if not asked.permutations:
        return []
    wrong: Findings = []
    for path, row in (*_at(result, "rows"), ("concordance", result.get("concordance"))):
        if not isinstance(row, Mapping) or "p" not in row:
            continue
        made = row.get("permutations")
        possible = []
        if type(made) is int and ENOUGH_REACHED <= made <= asked.permutations:
            possible = [print_p(ENOUGH_REACHED / made)]
        if made == asked.permutations:
            possible += [print_p((part + 1) / (made + 1)) for part in range(ENOUGH_REACHED)]
        if row["p"] not in possible:
            wrong.append((f"{path}.p", f"{row['p']}, and {made} permutations"))
    return wrong


def _at(result: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"{name}.{at}", row) for at, row in enumerate(objects(result, name))]
