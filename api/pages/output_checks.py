"""Checks of an opened output that a machine can make for an output checker: what should not be in it.

They assist two people's judgement and replace none: an output that passes may still disclose, e.g.
together with an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analytics.catalogue import FEATURE_SETS, MODELS
from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT
from analytics.errors import ParamsError
from analytics.params import parse_params

# Everything that the analyses write (analytics/run.py); a part with another name is unknown.
_PARTS = frozenset(
    {
        *("type", "analysis", "params", "outcome", "kind", "horizon_days", "granted", "people"),
        *("events", "baseline", "folds", "repeats", "components", "covariates", "flow", "step"),
        *("rows", "gains", "curves", "variants", "quantiles", "inflation", "model", "feature_set"),
        *("p", "permutations", "auc", "auc_interval", "accuracy", "balanced_accuracy"),
        *("precision", "recall", "f1", "over", "interval", "roc", "calibration", "slope"),
        *("intercept", "groups", "variant", "z", "frequency", "carriers", "used", "left_out"),
        *("rule",),
    }
)
# And of what the disclosure record may hold (analytics/disclosure/record.py).
_DISCLOSED = frozenset(
    {
        *("type", "statistic_class", "statistics", "people", "rules", "coarsened", "withheld"),
        *("rule", "what", "why", "step", "at_least", "at_most", "below", "source", "to"),
        *("inference_auc_at_most", "people_a_step", "repeats", "tables_at_least"),
    }
)
_COUNTS = frozenset({"people", "events", "carriers"})  # of people, rounded
_METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
_ID = re.compile(r"[0-9a-f]{32,}")
_MOST_DIGITS = 6  # significant digits of a printed number
_LONGEST_TEXT, _LONGEST_REASON = 80, 160  # characters of a text in a result, and in the record
_MOST_SHOWN = 10  # places of one finding


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One check: passed or not, and the places where it is not."""

    text: str
    passed: bool
    places: tuple[str, ...] = ()


def check_result(
    result: Mapping[str, Any],
    disclosure: Mapping[str, Any],
    params: str,
    output_classes: int,
    minimum: int,
) -> list[OutputCheck]:
    """What the checker should see first. `params`, `output_classes` and `minimum` are the run's and
    its permit's.
    """
    values = list(_walk(result, ""))
    disclosed = list(_walk(disclosure, "disclosure"))
    counts = [(path, value) for path, name, value in values if name in _COUNTS]
    small = [(p, v) for p, v in counts if not isinstance(v, int) or 0 < v < SMALLEST_COUNT]
    exact = [(p, v) for p, v in counts if isinstance(v, int) and v % COUNT_GRID]
    unknown = [(path, "") for path, name, _ in values if name and name not in _PARTS]
    unknown += [(path, "") for path, name, _ in disclosed if name and name not in _DISCLOSED]
    texts = [
        (path, value)
        for most, part in ((_LONGEST_TEXT, values), (_LONGEST_REASON, disclosed))
        for path, name, value in part
        if isinstance(value, str) and name != "params" and (_ID.search(value) or len(value) > most)
    ]
    exact_numbers = [
        (path, value)
        for path, _, value in values
        if isinstance(value, int | float | str)
        and _digits(value) > _MOST_DIGITS
        and path != "params"
    ]
    granted = result.get("granted")
    return [
        _check("It is of a class that the permit allows.", _wrong_class(params, output_classes)),
        _check(
            f"At least {minimum} people are in it, as the permit wants.",
            [] if isinstance(granted, int) and granted >= minimum else [("granted", granted)],
        ),
        _check(f"No count of people is below {SMALLEST_COUNT}.", small),
        _check(f"Nobody's complement is below {SMALLEST_COUNT}.", _complements(result)),
        _check("Metrics are multiples of their row's step.", _off_step(result)),
        _check("Models and data have names of the catalogue.", _unknown_names(result)),
        _check(f"Counts of people are rounded to {COUNT_GRID}.", exact),
        _check("It holds nothing that this analysis does not write.", unknown),
        _check("No text in it is an id, or long enough to hold a record.", texts),
        _check(f"No number in it has more than {_MOST_DIGITS} digits that count.", exact_numbers),
    ]


def _check(text: str, wrong: list[tuple[str, Any]]) -> OutputCheck:
    places = tuple(f"{path}: {value}" if value != "" else path for path, value in wrong)
    return OutputCheck(text, not wrong, places[:_MOST_SHOWN])


def _complements(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Counts that leave so few others that those are told as well."""
    events = result.get("events")
    wrong = []
    for name in ("people", "granted"):
        total = result.get(name)
        if (
            isinstance(total, int)
            and isinstance(events, int)
            and 0 < total - events < SMALLEST_COUNT
        ):
            wrong.append(("events", f"{events} of {total} {name}"))
    return wrong


def _rows(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows = result.get("rows")
    listed = rows if isinstance(rows, list) else []
    return [(f"rows.{at}", row) for at, row in enumerate(listed) if isinstance(row, Mapping)]


def _off_step(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (f"{path}.{name}", row[name])
        for path, row in _rows(result)
        if isinstance(row.get("step"), int) and row["step"] > 0
        for name in _METRICS
        if name in row and not (isinstance(row[name], int) and row[name] % row["step"] == 0)
    ]


def _unknown_names(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (f"{path}.{name}", row[name])
        for path, row in _rows(result)
        for name, known in (("model", MODELS), ("feature_set", FEATURE_SETS))
        if name in row and row[name] not in known
    ]


def _wrong_class(params: str, output_classes: int) -> list[tuple[str, Any]]:
    try:
        allowed = output_classes >> parse_params(params.encode()).output_class & 1
    except ParamsError:
        allowed = 0
    return [] if allowed else [("analysis", "")]


def _digits(value: float | str) -> int:
    """The significant digits of a printed number, 0 for another text."""
    text = str(value)
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", text):
        return 0
    return len(text.partition("e")[0].replace(".", "").lstrip("-0"))


def _walk(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, name of the part, value) of everything in a document."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            inside = f"{path}.{key}" if path else str(key)
            yield inside, str(key), "" if isinstance(inner, Mapping | list) else inner
            if isinstance(inner, Mapping | list):
                yield from _walk(inner, inside, str(key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if isinstance(inner, Mapping | list):
                yield from _walk(inner, f"{path}.{at}", name)
            else:
                yield f"{path}.{at}", "", inner
