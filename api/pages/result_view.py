"""A released result as a page shows it: each plot with its sentence and its table, and what was withheld.

Nothing is computed from the figures: sentences compare those that were printed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.renamed import with_current_keys
from api.pages import labels as words
from api.pages import plots

# Names of columns, in the order in which they are shown; others follow.
_COLUMNS = {
    "model": "model",
    "feature_set": "data",
    "variant": "variant",
    "auc": "AUC",
    "auc_interval": "AUC, 95 % interval",
    "p": "p",
    "z": "z",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "frequency": "frequency",
    "carriers": "carriers",
    "permutations": "shufflings",
    "step": "rounded to",
}
_FACTS = {
    "granted": "People whose data was opened",
    "people": "People in the analysis",
    "events": "Of them with the outcome",
    "baseline": "Right by always giving the more frequent answer",
    "folds": "Folds",
    "repeats": "Repeats",
    "components": "Ancestry components as covariates",
}
_DRAWING = threading.Lock()  # the library that draws is not made for threads


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` hold one text a column; the first names the row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding: a heading, what it says in a sentence, the plot (SVG, its texts escaped) and the same as a table."""

    title: str
    sentence: str
    plot: str
    table: Table


def describe(result: Mapping[str, Any], disclosure: Mapping[str, Any]) -> dict[str, Any]:
    """What the template lays out of a result of any version, and its disclosure record."""
    result = with_current_keys(result)
    with _DRAWING:
        shown = list(_SHOWN[result["analysis"]](result))
    return {
        "facts": _facts(result),
        "shown": shown,
        "gains": [_gain(one) for one in result.get("gains", [])],
        "flow": result.get("flow", []),
        "variants": result.get("variants", {}).get("left_out", []),
        "withheld": disclosure.get("withheld", []),
        "coarsened": disclosure.get("coarsened", []),
    }


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(said, str(result[name])) for name, said in _FACTS.items() if name in result]
    if "outcome" in result:
        asked = words.outcome_of(result["outcome"]["kind"], result["outcome"]["horizon_days"])
        found.insert(0, ("Outcome", asked))
    if result.get("covariates"):
        found.append(("Clinical covariates", ", ".join(result["covariates"]).replace("_", " ")))
    if "used" in result.get("variants", {}):
        found.append(("Variants looked at", str(result["variants"]["used"])))
    return found


def _prediction(result: Mapping[str, Any]) -> Iterable[Shown]:
    rows = [
        row
        | {"model": words.model(row["model"]), "feature_set": words.feature_set(row["feature_set"])}
        for row in result["rows"]
    ]
    better = [
        f"{row['model']} on {row['feature_set']}"
        for row in rows
        if words.is_better_than_chance(row)
    ]
    said = (
        f"Better than guessing (interval above 50, p at most 0.05): {', '.join(better)}."
        if better
        else "None is shown to be better than guessing: that takes an interval above 50 and p at most 0.05."
    )
    yield Shown(
        "How well each model tells those with the outcome from the others",
        f"An AUC of 50 is guessing, 100 is never wrong. {said} p comes from shuffling the outcomes.",
        plots.auc_intervals(rows, "auc"),
        _table("Figures, in percent where they are rates", rows),
    )
    for number, curve in enumerate(result["curves"]):
        name = f"{words.model(curve['model'])} on {words.feature_set(curve['feature_set'])}"
        if "roc" in curve:
            yield _roc(name, curve["roc"], number)
        if "calibration" in curve:
            yield _calibration(name, curve["calibration"], number)


def _roc(name: str, points: Sequence[Sequence[Any]], number: int) -> Shown:
    inner = [point for point in points if 0 < point[0] < 100]
    said = (
        f"With {inner[0][0]} % false alarms, {inner[0][1]} % of those with the outcome are found. "
        if inner
        else ""
    )
    return Shown(
        f"Found against false alarms: {name}",
        f"{said}The dashed line is guessing; every step holds at least ten people.",
        plots.roc_curve(points, f"roc{number}"),
        _pairs(f"ROC of {name}, percent", ("false alarms", "found"), points),
    )


def _calibration(name: str, found: Mapping[str, Any], number: int) -> Shown:
    low, high = found["groups"][0], found["groups"][-1]
    said = (
        f"Where {low[0]} % was predicted, {low[1]} % had the outcome; where {high[0]} %, {high[1]} %. "
        f"Slope {found['slope']}: 1.0 is perfect, below it predictions are too extreme. "
        f"What was predicted is rounded to 5 %, what was seen to {found['step']} %."
    )
    return Shown(
        f"Predicted against seen: {name}",
        said,
        plots.calibration(found["groups"], f"calibration{number}"),
        _pairs(f"Calibration of {name}, percent", ("predicted", "seen"), found["groups"]),
    )


def _inflation(result: Mapping[str, Any]) -> str:
    """Nothing where too few variants were tested for a figure that tells nothing of any of them."""
    return (
        f"Genomic inflation {result['inflation']}; 1.0 is what chance gives. "
        if "inflation" in result
        else ""
    )


def _association(result: Mapping[str, Any]) -> Iterable[Shown]:
    rows, first = result["rows"], result["rows"][0]
    yield Shown(
        "The variants that go most together with the outcome",
        f"{len(rows)} {'is' if len(rows) == 1 else 'are'} reported, the strongest is {first['variant']} "
        f"(p {first['p']}). More would tell who was in the cohort.",
        plots.manhattan(rows, "manhattan"),
        _table("Reported variants", rows),
    )
    yield Shown(
        "All variants together, against chance",
        f"{_inflation(result)}Above the dashed line, "
        "variants go together with the outcome more often than chance explains.",
        plots.qq(result["quantiles"], "qq"),
        _pairs("Quantiles of −log10 p", ("expected", "observed"), result["quantiles"]),
    )


def _frequencies(result: Mapping[str, Any]) -> Iterable[Shown]:
    rows = result["rows"]
    pairs = [(row["variant"], row.get("frequency")) for row in rows]
    shown = sum(value is not None for _, value in pairs)
    yield Shown(
        "How common each variant is",
        f"{shown} of {len(pairs)} {'is' if shown == 1 else 'are'} shown; one with fewer than 10 carriers, or "
        "10 others, or whose counts could be told from it, is withheld. Carriers are rounded to 5.",
        plots.bars(pairs, "frequency", "frequency, percent"),
        _table("Frequencies, percent", rows),
    )


_SHOWN = {"evaluate": _prediction, "associate": _association, "frequencies": _frequencies}


def _table(caption: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    names = {name for row in rows for name in row}
    chosen = [name for name in _COLUMNS if name in names] + sorted(names - set(_COLUMNS))
    return Table(
        caption,
        [_COLUMNS.get(name, name) for name in chosen],
        [[_text(row.get(name, "withheld")) for name in chosen] for row in rows],
    )


def _pairs(caption: str, columns: tuple[str, str], points: Sequence[Sequence[Any]]) -> Table:
    return Table(caption, list(columns), [[str(value) for value in point] for point in points])


def _text(value: Any) -> str:
    """A value as text; a pair is an interval."""
    return " to ".join(map(str, value)) if isinstance(value, list) else str(value)


def _gain(one: Mapping[str, Any]) -> str:
    """What more data added, in one sentence with its interval."""
    low, high = one["interval"]
    shown = "a gain" if low > 0 else "a loss" if high < 0 else "no gain shown"
    return (
        f"{words.model(one['model'])}: genes and clinical data together instead of {one['over']} alone change the "
        f"AUC by {_signed(one['auc'])} points (95 %: {_signed(low)} to {_signed(high)}): {shown}."
    )


def _signed(value: int) -> str:
    return f"{value:+}" if value else "0"
