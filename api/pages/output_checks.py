"""Checks of an opened output that a machine can make for an output checker: what should not be in
it.

They assist two people's judgement and replace none: an output that passes may still disclose, e.g.
together with an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT
from analytics.errors import ParamsError
from analytics.explanations.registry import GENES
from analytics.metrics import METRICS, NAMES
from analytics.params import Params, parse_params
from api.pages.output_arithmetic import contradictions, few_people, few_to_read
from api.pages.output_numbers import complements, complements_of_strata, misplaced, unexpected
from api.pages.output_vocabulary import (
    fine_steps,
    names_to_read,
    objects,
    unknown_steps,
    unknown_texts,
)

# Everything that the analyses write (analytics/run.py); a part with another name is unknown.
_PARTS = frozenset(
    {
        *("type", "analysis", "params", "outcome", "kind", "horizon_days", "granted", "people"),
        *("events", "baseline", "folds", "repeats", "components", "covariates", "flow", "step"),
        *("rows", "gains", "curves", "variants", "quantiles", "inflation", "model", "feature_set"),
        *("p", "permutations", "auc", "auc_interval", *NAMES),
        *("scaled_brier", "interval_method", "threshold", "settings"),
        *("over", "interval", "roc", "calibration", "slope"),
        *("intercept", "groups", "variant", "z", "frequency", "carriers", "used", "left_out"),
        *("rule", "kinship", "build", "components_omitted", "inflation_interval"),
        *("strata", "stratum", "days", "survival", "at_risk", "censored", "risk", "risk_interval"),
        *("median", "median_interval", "concordance", "c_index", "c_interval"),
        *("explanations", "explanation", "scale", "background", "features", "feature"),
        *("importance", "direction", "beyond_chance", "fairness", "by", "reference", "group"),
        *("gaps", "measure", "gap", "verdict", "variable", "gene_sets"),
        *("method", "compared_by", "clusters", "cluster", "silhouette", "agreement", "references"),
        *("agreement_expected", "stability", "share", "profiles", "mean"),
    }
)
# And of what the disclosure record may hold (analytics/disclosure/record.py).
_DISCLOSED = frozenset(
    {
        *("type", "statistic_class", "statistics", "people", "rules", "coarsened", "withheld"),
        *("rule", "what", "why", "step", "at_least", "at_most", "below", "source", "to"),
        *("inference_auc_at_most", "people_a_step", "repeats", "tables_at_least"),
        "people_at_least",
    }
)
# Of people, rounded.
_COUNTS = frozenset({"people", "events", "carriers", "at_risk", "censored"})
_METRICS = (*(metric.name for metric in METRICS if not metric.signed), "survival", "share")
_SHARES = (*_METRICS, "frequency")
_ORDERS = ("auc", "c_index")  # measures of order, not of people
RATE_STEP = 5  # percent: the finest step of a curve's rates (CURVE_STEPS in analytics/disclosure)
_ALL_ALIKE = (0, 100, "0", "1", "100", "0.0", "1.0", "0.00", "1.00")
_ID = re.compile(r"[0-9a-f]{32,}")
_MOST_DIGITS = 6  # significant digits of a printed number
_LONGEST_TEXT, _LONGEST_REASON = 80, 160  # characters of a text in a result, and in the record
_MOST_SHOWN = 10  # places of one finding


_Value = tuple[str, str, Any]  # path, name of the part, value


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
    opened: int,
) -> list[OutputCheck]:
    """What the checker should see first. `params`, `output_classes` and `minimum` are the run's and
    its permit's; opened: how many people's data the ledger granted this attempt.
    """
    values = list(_walk(result, ""))
    disclosed = list(_walk(disclosure, "disclosure"))
    asked = _parsed(params)
    allowed = asked is not None and bool(output_classes >> asked.output_class & 1)
    return [
        _check("It is of a class that the permit allows.", [] if allowed else [("analysis", "")]),
        *_checks_of_people(result, disclosure, values, minimum, opened),
        *_checks_of_steps(result, values, asked),
        *_checks_of_contents(result, disclosure, asked, params),
        _check("It holds nothing that this analysis does not write.", _unknown(values, disclosed)),
        _check(
            "No text in it is an id, or long enough to hold a record.", _long(values, disclosed)
        ),
        _check(f"No number in it has more than {_MOST_DIGITS} digits that count.", _exact(values)),
    ]


def _checks_of_people(
    result: Mapping[str, Any],
    disclosure: Mapping[str, Any],
    values: list[_Value],
    minimum: int,
    opened: int,
) -> Iterator[OutputCheck]:
    """Numbers and shares of people."""
    granted, recorded = result.get("granted"), disclosure.get("people")
    yield _check(
        f"At least {minimum} people are in it, as the permit wants.",
        [] if isinstance(granted, int) and granted >= minimum else [("granted", granted)],
    )
    yield _check(
        f"Result and record say how many people's data the ledger records as opened: {opened}.",
        [
            (path, part)
            for path, part in (("granted", granted), ("disclosure.people", recorded))
            if type(part) is not int or part != opened
        ],
    )
    yield _check(f"No count of people is below {SMALLEST_COUNT}.", _small(_counts(values)))
    yield _check(
        f"Nobody's complement is below {SMALLEST_COUNT}.",
        [*complements(result), *complements_of_strata(result)],
    )
    yield _all_alike(result)
    yield _few(result)


def _checks_of_steps(
    result: Mapping[str, Any], values: list[_Value], asked: Params | None
) -> Iterator[OutputCheck]:
    """How far numbers are rounded."""
    yield _check("Metrics are multiples of their row's step.", _off_step(result))
    yield _check(
        f"One step of a curve holds at least {SMALLEST_COUNT} people: it draws no single person.",
        _fine_steps(result),
    )
    yield _check(
        f"Rates of curves and calibration are in steps of at least {RATE_STEP} %.",
        [(path, value) for path, value in _rates(result) if not _on_grid(value)],
    )
    yield _check(
        "Steps are those of the rules of disclosure control.",
        unknown_steps(result, asked) if asked else [],
    )
    yield _check(
        "No step is finer than its number of people allows.",
        fine_steps(result, asked) if asked else [],
    )
    yield _check(
        f"Counts of people are rounded to {COUNT_GRID}.",
        [(p, v) for p, v in _counts(values) if isinstance(v, int) and v % COUNT_GRID],
    )


def _checks_of_contents(
    result: Mapping[str, Any], disclosure: Mapping[str, Any], asked: Params | None, params: str
) -> Iterator[OutputCheck]:
    """Whether it is what was asked for, and agrees with itself."""
    yield _check(
        "The record of disclosure control says its rules.",
        [] if disclosure.get("rules") else [("disclosure.rules", "none")],
    )
    yield _check(
        "Numbers that follow from each other agree: a value with its interval, a gain with its two "
        "rows, the metrics of a row with each other, the times of a curve, and p with its z.",
        contradictions(result),
    )
    yield _check(
        "Every number stands where this analysis prints one, is whole where it prints whole ones, and "
        "is one that the parameters allow.",
        [*misplaced(result, asked), *unexpected(result, asked)] if asked else [],
    )
    yield _check(
        "Outcome, groups and explanations are those that were asked for, and every other text is "
        "one that the analysis writes.",
        _unasked(result, disclosure, asked, params),
    )
    yield _to_read(result, asked)


def _counts(values: list[_Value]) -> list[tuple[str, Any]]:
    return [(path, value) for path, name, value in values if name in _COUNTS]


def _small(counts: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(p, v) for p, v in counts if not isinstance(v, int) or v < SMALLEST_COUNT]


def _unknown(values: list[_Value], disclosed: list[_Value]) -> list[tuple[str, Any]]:
    """Parts with a name that no analysis gives."""
    return [
        (path, "")
        for known, part in ((_PARTS, values), (_DISCLOSED, disclosed))
        for path, name, _ in part
        if name and name not in known
    ]


def _long(values: list[_Value], disclosed: list[_Value]) -> list[tuple[str, Any]]:
    """Texts that are an id, or longer than a result's or a reason."""
    return [
        (path, value)
        for most, part in ((_LONGEST_TEXT, values), (_LONGEST_REASON, disclosed))
        for path, name, value in part
        if isinstance(value, str) and name != "params" and (_ID.search(value) or len(value) > most)
    ]


def _exact(values: list[_Value]) -> list[tuple[str, Any]]:
    """Numbers that are printed too exactly."""
    return [
        (path, value)
        for path, _, value in values
        if isinstance(value, int | float | str)
        and _digits(value) > _MOST_DIGITS
        and path != "params"
    ]


def _check(text: str, wrong: list[tuple[str, Any]]) -> OutputCheck:
    places = tuple(f"{path}: {value}" if value != "" else path for path, value in wrong)
    return OutputCheck(text, not wrong, places[:_MOST_SHOWN])


def _unasked(
    result: Mapping[str, Any], disclosure: Mapping[str, Any], asked: Params | None, params: str
) -> list[tuple[str, Any]]:
    """What names another outcome, group, explanation or part of the data than the parameters do,
    and every other text that the analysis does not write: a text could hold anything.
    """
    if asked is None:
        return [("parameters", "they cannot be read, so no text was compared with them")]
    wrong: list[tuple[str, Any]] = []
    if asked.outcome is not None and "outcome" in result:
        wrong += [("outcome", result["outcome"])] * (result["outcome"] != asked.outcome.described)
    wrong += [
        (name, result[name])
        for name in ("folds", "repeats")
        if name in result and result[name] != getattr(asked, name)
    ]
    wrong += _unasked_clusters(result, asked)
    return wrong + unknown_texts(result, disclosure, asked, params)


def _parsed(params: str) -> Params | None:
    """The parameters, None for those of another version."""
    try:
        return parse_params(params.encode())
    except ParamsError:
        return None


def _unasked_clusters(result: Mapping[str, Any], asked: Params) -> list[tuple[str, Any]]:
    """Another number of clusters than was asked for, or people compared by less."""
    clusters, wrong = result.get("clusters"), []
    if asked.clusters and clusters not in (None, asked.clusters):
        wrong.append(("clusters", clusters))
    compared = [*asked.clinical, *([GENES] if asked.gene_source != "none" else [])]
    if result.get("compared_by", compared) != compared:
        wrong.append(("compared_by", result["compared_by"]))
    return wrong


def _rows(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"rows.{at}", row) for at, row in enumerate(objects(result, "rows"))]


def _off_step(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    wrong = [
        (f"{path}.{name}", row[name])
        for path, row in _rows(result)
        if isinstance(row.get("step"), int) and row["step"] > 0
        for name in _METRICS
        if name in row and not (isinstance(row[name], int) and row[name] % row["step"] == 0)
    ]
    stepped = [
        (f"{path}.{name}", row.get(name), step) for path, row, name, step in _stepped(result)
    ]
    return wrong + [(path, value) for path, value, step in stepped if not _is_multiple(value, step)]


def _stepped(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str, Any]]:
    """(path, entry, name of its number, step) of explanations, of clusters, of variants and of
    groups that are compared.
    """
    for path, row in _rows(result):
        if "z" in row:
            yield path, row, "z", row.get("step")
    for at, shown in enumerate(objects(result, "explanations")):
        for number, row in enumerate(objects(shown, "features")):
            path = f"explanations.{at}.features.{number}"
            yield path, row, "importance", shown.get("step")
    for at, row in enumerate(objects(result, "profiles")):
        yield f"profiles.{at}", row, "mean", row.get("step")
    for at, compared in enumerate(objects(result, "fairness")):
        for part, name in (("gaps", "gap"), ("groups", "auc")):
            for number, row in enumerate(objects(compared, part)):
                if name in row:
                    yield f"fairness.{at}.{part}.{number}", row, name, row.get("step")


def _is_multiple(value: Any, step: Any) -> bool:
    """Whether a printed decimal is a multiple of a printed step; decimals are exact."""
    try:
        return Decimal(str(value)) % Decimal(str(step)) == 0
    except (InvalidOperation, ZeroDivisionError):
        return False


def _curves(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """(path, points) of every list of pairs, whatever it is called: a ROC or precision-recall
    curve, calibration groups.
    """

    def within(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        pairs = isinstance(value, list) and all(isinstance(p, list) and len(p) == 2 for p in value)
        if value and pairs and not path.endswith("interval"):
            yield path, value
            return
        for name, inner in parts:
            if isinstance(inner, Mapping | list):
                yield from within(inner, f"{path}.{name}")

    for name in ("curves", "calibration"):
        if isinstance(curves := result.get(name), Mapping | list):
            yield from within(curves, name)


def _fine_steps(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Curves in which one step of the grid is fewer people than may be counted.

    The most people that the printed counts allow: a step is not called too fine for its rounding.
    """
    people, events = (result.get(name) for name in ("people", "events"))
    total = people + COUNT_GRID if isinstance(people, int) else result.get("granted")
    if not isinstance(total, int):
        return []
    others = total - (events - COUNT_GRID if isinstance(events, int) else 0)
    wrong = []
    for path, points in _curves(result):
        if path.endswith(".groups"):
            continue
        xs = sorted({point[0] for point in points if isinstance(point[0], int)})
        steps = [after - before for before, after in pairwise(xs)]
        if steps and min(steps) * others < 100 * SMALLEST_COUNT:
            wrong.append((path, f"steps of {min(steps)} % of about {others} people"))
    return wrong


def _rates(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, points in _curves(result):
        for at, point in enumerate(points):
            for value in point:
                yield f"{path}.{at}", value


def _on_grid(value: Any) -> bool:
    return isinstance(value, int) and value % RATE_STEP == 0


def _all_alike(result: Mapping[str, Any]) -> OutputCheck:
    """Whether a share is 0 or 100 %; other percentages that are it are named, and pass."""
    wrong = [(path, value) for path, value in _proportions(result) if value in _ALL_ALIKE]
    text = "No share of people is 0 or 100 %, which would say the same of everybody in its group."
    others = [(path, value) for path, value in _other_percents(result) if value in _ALL_ALIKE]
    if wrong or not others:
        return _check(text, wrong)
    text += (
        " What is 0 or 100 here is an end of an interval, a point of a curve or a measure of order:"
    )
    return OutputCheck(text, True, _check("", others).places)


def _few(result: Mapping[str, Any]) -> OutputCheck:
    """Whether a share stands for few people; those that the rules let stand are named, and pass."""
    text = f"No share stands for fewer than {SMALLEST_COUNT} people, or for all but fewer."
    wrong = few_people(result)
    if wrong or not (named := few_to_read(result)):
        return _check(text, wrong)
    text = (
        f"Shares that stand for fewer than {SMALLEST_COUNT} people, or for all but fewer, are those of "
        "a curve's times or of a model's calls, whose numbers have noise. Whether they tell about "
        "somebody, only you can judge:"
    )
    return OutputCheck(text, True, _check("", named).places)


def _proportions(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every printed share of people."""
    if "baseline" in result:
        yield "baseline", result["baseline"]
    for path, row in _rows(result):
        yield from ((f"{path}.{name}", row[name]) for name in _SHARES if name in row)
    for at, row in enumerate(objects(result, "strata")):
        if "risk" in row:
            yield f"strata.{at}.risk", row["risk"]
    for path, points in _curves(result):
        if path.endswith(".groups"):
            yield from ((f"{path}.{at}", point[1]) for at, point in enumerate(points))
    for at, compared in enumerate(objects(result, "fairness")):
        for number, row in enumerate(objects(compared, "gaps")):
            # A difference of rates by 100: all of one group, and nobody of the other.
            if row.get("measure") != "auc" and row.get("gap") in (-100, 100):
                yield f"fairness.{at}.gaps.{number}", 100


def _other_percents(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The other printed percentages, but for the ends of a ROC curve, which are 0 and 100 always."""
    holders = _rows(result)
    holders += [(f"strata.{at}", row) for at, row in enumerate(objects(result, "strata"))]
    for at, compared in enumerate(objects(result, "fairness")):
        for number, row in enumerate(objects(compared, "groups")):
            holders.append((f"fairness.{at}.groups.{number}", row))
    if isinstance(concordance := result.get("concordance"), Mapping):
        holders.append(("concordance", concordance))
    for path, row in holders:
        for name, value in row.items():
            if name in _ORDERS:
                yield f"{path}.{name}", value
            elif name.endswith("interval") and "median" not in name and isinstance(value, list):
                yield from ((f"{path}.{name}", end) for end in value)
    for path, points in _curves(result):
        inner = points if path.endswith(".groups") else points[1:-1]
        yield from ((f"{path}.{at}", point[0]) for at, point in enumerate(inner))
        if inner is not points:
            yield from ((f"{path}.{at}", point[1]) for at, point in enumerate(inner, 1))


def _to_read(result: Mapping[str, Any], asked: Params | None) -> OutputCheck:
    """Names that the output chose: a name's form is checked above, and is no proof. They pass,
    named.
    """
    names = names_to_read(result, asked) if asked else []
    if not names:
        return OutputCheck("It names no gene column or variant that nobody asked for.", True)
    text = (
        "Gene columns and variants have names of a usual form. That each is one, only you can see:"
    )
    return OutputCheck(text, True, _check("", names).places)


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
