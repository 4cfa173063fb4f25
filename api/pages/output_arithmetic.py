"""What follows from the numbers of an output by arithmetic: shares of so few people that a rule of
disclosure control withholds them, and numbers that cannot be true together.

Each comparison allows what rounding may have moved. The numbers of a row of metrics are computed
from the same perturbed rates (analytics/disclosure/counts.py), so their noise needs no allowance;
a life table's cells are perturbed one by one (analytics/disclosure/survival.py), which does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from math import erfc, sqrt
from typing import Any, TypeGuard

from analytics.disclosure.rounding import COUNT_GRID, SMALLEST_COUNT
from analytics.metrics import METRICS, Confusion
from analytics.strata import ALL
from api.pages.output_vocabulary import Findings, objects

_LARGEST = 10**9  # a larger number is no number of people and no percentage
_ROUNDED = COUNT_GRID // 2  # people that a printed count may be too small
_LIFE_TABLE = 3.0  # people that the noise of a life table's cells may take from a share
MOST_QUANTILES = 20  # that a scan prints (analytics/association.py, which loads numpy)
_NO_P = 1e-300  # below it libraries differ in where p becomes 0
_Range = tuple[float, float]
_ANY: _Range = (0.0, 1.0)
# (value, interval) that stand beside each other: in rows, and in other parts.
_INTERVALS = (
    *(("auc", "auc_interval"), ("survival", "interval"), ("share", "interval")),
    *(("risk", "risk_interval"), ("median", "median_interval"), ("c_index", "c_interval")),
    ("gap", "interval"),
)


def few_people(result: Mapping[str, Any]) -> Findings:
    """Shares that stand for fewer than 10 people, or for all but fewer, although the rules withhold
    such a share: even by the most people that the printed counts may stand for.
    """
    shares = [*_shares_of_rows(result), *_shares_of_groups(result)]
    if _is_number(baseline := result.get("baseline")):
        shares.append(("baseline", baseline, 1, _most(result, result), 0.0))
    wrong: Findings = []
    for path, value, step, people, allowed in shares:
        part = min(value, 100 - value) + step / 2
        if part * people / 100 + allowed < SMALLEST_COUNT:
            unit = "alleles" if path.endswith("frequency") and value < 50 else "people"
            wrong.append((path, f"{value} % of at most {people} {unit}"))
    return wrong


def few_to_read(result: Mapping[str, Any]) -> Findings:
    """Shares that the rules let stand, since their numbers have noise, and that stand for fewer than
    10 people or for all but fewer: the first times of a curve, and what a model gets right.
    """
    events, everybody = result.get("events"), _printed(result, result)
    strata = {str(row.get("stratum")): row for row in objects(result, "strata")}
    shares: list[tuple[str, Any, Any]] = []
    for at, row in enumerate(objects(result, "rows")):
        stratum = str(row.get("stratum"))
        own = strata.get(stratum, {})
        of = _printed(own, result) if stratum == ALL else own.get("people")
        shares += [
            (f"rows.{at}.survival", row.get("survival"), of),
            (f"rows.{at}.accuracy", row.get("accuracy"), everybody),
            (f"rows.{at}.recall", row.get("recall"), events),
        ]
    return [
        (path, f"{value} %, about {round(part)} of {people} people")
        for path, value, people in shares
        if _is_number(value)
        and _is_number(people)
        and 0 < (part := min(value, 100 - value) * people / 100) < SMALLEST_COUNT
    ]


def contradictions(result: Mapping[str, Any]) -> Findings:
    """Numbers that cannot be true together."""
    return [
        *_outside_their_interval(result),
        *_other_gains(result),
        *_impossible_metrics(result),
        *_rising(result),
        *_falling_curves(result),
        *_odd_quantiles(result),
        *_other_p_of_z(result),
        *_impossible_frequencies(result),
    ]


# --- shares ---------------------------------------------------------------------------------------


# path, percent, its step, of how many people or alleles at most, how many of them noise may take
_Share = tuple[str, Any, Any, int, float]


def _shares_of_rows(result: Mapping[str, Any]) -> Iterator[_Share]:
    """Of rows and strata: each needs 10 people of both kinds to be printed. Ten carriers have at
    least 10 of all alleles, which are two of each person; ten others lack 20.
    """
    for at, row in enumerate(objects(result, "rows")):
        for name in ("frequency", "share"):
            if _is_number(row.get(name)) and _is_number(row.get("step")):
                each = 2 if name == "frequency" and row[name] < 50 else 1
                yield f"rows.{at}.{name}", row[name], row["step"], each * _most(row, result), 0.0
    for at, row in enumerate(objects(result, "strata")):
        if _is_number(row.get("risk")) and _is_number(row.get("step")):
            people = _most(row, result)
            yield f"strata.{at}.risk", row["risk"], row["step"], people, _LIFE_TABLE


def _shares_of_groups(result: Mapping[str, Any]) -> Iterator[_Share]:
    """Of groups of calibration: people in groups of one size, with 10 of both kinds in each."""
    calibrations = [("calibration", result.get("calibration"), _LIFE_TABLE)]
    calibrations += [
        (f"curves.{at}.calibration", curve.get("calibration"), 0.0)
        for at, curve in enumerate(objects(result, "curves"))
    ]
    for path, shown, allowed in calibrations:
        if not isinstance(shown, Mapping):
            continue
        groups, step = shown.get("groups"), shown.get("step")
        if not isinstance(groups, list) or not _is_number(step):
            continue
        each = _most(result, result) // max(1, len(groups))
        for at, group in enumerate(groups):
            if isinstance(group, list) and len(group) == 2 and _is_number(group[1]):
                yield f"{path}.groups.{at}", group[1], step, each, allowed


def _printed(part: Mapping[str, Any], result: Mapping[str, Any]) -> Any:
    """The people of a part as printed, or else those of the result, or else whose data was opened."""
    return part.get("people", result.get("people", result.get("granted")))


def _most(part: Mapping[str, Any], result: Mapping[str, Any]) -> int:
    """The most people that a part can have."""
    granted = result.get("granted")
    for holder in (part, result):
        if _is_number(people := holder.get("people")):
            return int(people) + _ROUNDED
    return int(granted) if _is_number(granted) else 0


# --- contradictions -------------------------------------------------------------------------------


def _outside_their_interval(result: Mapping[str, Any]) -> Findings:
    """Values that do not lie in the interval around them. A value and its interval are rounded in
    the same steps, but for a share, which is kept from 0 and 100.
    """
    holders = [
        (f"{name}.{at}", row)
        for name in ("rows", "strata")
        for at, row in enumerate(objects(result, name))
    ]
    if isinstance(concordance := result.get("concordance"), Mapping):
        holders.append(("concordance", concordance))
    pairs = [(path, row, pair) for path, row in holders for pair in _INTERVALS]
    for at, gain in enumerate(objects(result, "gains")):
        pairs.append((f"gains.{at}", gain, ("auc", "interval")))
    for at, compared in enumerate(objects(result, "fairness")):
        for number, row in enumerate(objects(compared, "gaps")):
            pairs.append((f"fairness.{at}.gaps.{number}", row, ("gap", "interval")))
    wrong: Findings = []
    for path, row, (name, beside) in pairs:
        value, ends = row.get(name), row.get(beside)
        if name not in row or not isinstance(ends, list) or len(ends) != 2:
            continue
        low, middle, high = (_size(printed) for printed in (ends[0], value, ends[1]))
        moved = row["step"] if name == "share" and _is_number(row.get("step")) else 0
        if not low - moved <= middle <= high + moved:
            wrong.append((f"{path}.{name}", f"{value}, and its interval {ends[0]} to {ends[1]}"))
    return wrong


def _size(value: Any) -> float:
    """A printed number, and a median that is not reached as later than any time."""
    return value if _is_number(value) else float("inf")


def _other_gains(result: Mapping[str, Any]) -> Findings:
    """Gains that the two rows do not give: all three are rounded in the same steps."""
    step = (
        1 if "events" in result else 5
    )  # analytics/prediction.py: coarse where events are withheld
    aucs = {
        (str(row.get("model")), str(row.get("feature_set"))): row.get("auc")
        for row in objects(result, "rows")
    }
    wrong: Findings = []
    for at, gain in enumerate(objects(result, "gains")):
        more, less = (
            aucs.get((str(gain.get("model")), str(gain.get(key))))
            for key in ("feature_set", "over")
        )
        shown = gain.get("auc")
        if not _is_number(shown):
            continue
        if not (_is_number(more) and _is_number(less)):
            wrong.append((f"gains.{at}.auc", f"{shown}, and one of its rows has no AUC"))
        elif abs(more - less - shown) > step:
            wrong.append((f"gains.{at}.auc", f"{shown}, and its rows have {more} and {less}"))
    return wrong


def _impossible_metrics(result: Mapping[str, Any]) -> Findings:
    """Metrics of a row that no confusion matrix gives together: each must be in the range that the
    printed recall, balanced accuracy and share with the outcome leave it.
    """
    wrong: Findings = []
    for at, row in enumerate(objects(result, "rows")):
        step = row.get("step")
        if not _is_number(step) or "balanced_accuracy" not in row:
            continue
        rates = _rates_of(row, step)
        possible = [_ranges(prevalence, *rates) for prevalence in _outcome_rates(result)]
        possible = [
            ranges | {"f1": _meet(ranges["f1"], _harmonic(row, step))} for ranges in possible
        ]
        for metric in METRICS:
            if not _is_number(value := row.get(metric.name)):
                continue
            shown = _unrounded(value, step, inner=not metric.signed)
            if not any(_overlap(shown, ranges[metric.name]) for ranges in possible):
                wrong.append((f"rows.{at}.{metric.name}", value))
    return wrong


def _rates_of(row: Mapping[str, Any], step: float) -> tuple[_Range, _Range]:
    """Recall and specificity, whose mean is the balanced accuracy."""
    recall, balanced = (
        _unrounded(row[name], step) if _is_number(row.get(name)) else _ANY
        for name in ("recall", "balanced_accuracy")
    )
    least, most = 2 * balanced[0] - recall[1], 2 * balanced[1] - recall[0]
    return recall, (max(0.0, least), min(1.0, most))


def _ranges(prevalence: _Range, recall: _Range, specificity: _Range) -> dict[str, _Range]:
    """What each metric can be. Each falls or rises with every one of its rates alone, so its ends
    are at theirs.
    """
    corners = [
        Confusion(share * caught, (1 - share) * (1 - spared), share, 1 - share)
        for share, caught, spared in product(prevalence, recall, specificity)
    ]
    ranges = {}
    for metric in METRICS:
        values = [metric.compute(corner) for corner in corners]
        ranges[metric.name] = min(values), max(values)
    return ranges


def _part(part: float, others: float) -> float:
    return part / (part + others) if part + others else 0.0


def _harmonic(row: Mapping[str, Any], step: float) -> _Range:
    """F1 from the printed precision and recall, whose harmonic mean it is."""
    shown = [row.get(name) for name in ("precision", "recall")]
    ends = [_unrounded(value, step) for value in shown if _is_number(value)]
    if len(ends) < len(shown):
        return _ANY
    first, second = ends
    low, high = (2 * _part(a * b, a + b - a * b) for a, b in zip(first, second, strict=True))
    return low, high


def _outcome_rates(result: Mapping[str, Any]) -> list[_Range]:
    """The share with the event, from the share of the more frequent outcome: on either side of one
    half, or on one where the printed counts tell which.
    """
    baseline, events, people = (
        result.get("baseline"),
        result.get("events"),
        _printed(result, result),
    )
    if not _is_number(baseline):
        return [_ANY]
    low, high = _unrounded(baseline, 1)
    rarer, commoner = (1 - high, 1 - low), (low, high)
    if not (_is_number(events) and _is_number(people)):
        return [rarer, commoner]
    # Where people are withheld, fewer than 10 were left out (analytics/disclosure/counts.py).
    nearly = 2 * COUNT_GRID + SMALLEST_COUNT
    if 2 * events < people - nearly:
        return [rarer]
    return [commoner] if 2 * events > people + nearly else [rarer, commoner]


def _unrounded(value: float, step: float, inner: bool = True) -> _Range:
    """The fractions that are printed as a percentage. inner: kept one step from 0 and 100."""
    low, high = (value - step / 2) / 100, (value + step / 2) / 100
    if inner and value <= step:
        low = 0.0
    if inner and value >= 100 - step:
        high = 1.0
    return (max(0.0, low), min(1.0, high)) if inner else (low, high)


def _meet(first: _Range, second: _Range) -> _Range:
    return max(first[0], second[0]), min(first[1], second[1])


def _overlap(first: _Range, second: _Range) -> bool:
    """Whether two ranges have a number in common, but for what floating point loses."""
    low, high = _meet(first, second)
    return low <= high + 1e-9


def _rising(result: Mapping[str, Any]) -> Findings:
    """Curves of which more people are without the event later, more at risk, or fewer censored."""
    rows = [
        (f"rows.{at}", row) for at, row in enumerate(objects(result, "rows")) if "survival" in row
    ]
    return [
        (f"{path}.{name}", f"{after.get(name)} after {before.get(name)}")
        for (_, before), (path, after) in pairwise(rows)
        if before.get("stratum") == after.get("stratum")
        for name, sign in (("survival", 1), ("at_risk", 1), ("censored", -1))
        if _is_number(before.get(name))
        and _is_number(after.get(name))
        and sign * (after[name] - before[name]) > 0
    ]


def _falling_curves(result: Mapping[str, Any]) -> Findings:
    """ROC curves that fall or go back."""
    return [
        (f"curves.{at}.roc.{number}", f"{after} after {before}")
        for at, curve in enumerate(objects(result, "curves"))
        for number, (before, after) in enumerate(pairwise(_pairs(curve.get("roc"))), 1)
        if after[0] < before[0] or after[1] < before[1]
    ]


def _odd_quantiles(result: Mapping[str, Any]) -> Findings:
    """Quantiles of a scan that rise, or are more than a scan prints: a list of pairs could hold
    something else, such as somebody's genotypes.
    """
    quantiles = _pairs(result.get("quantiles"))
    wrong = [
        (f"quantiles.{number}", f"{after} after {before}")
        for number, (before, after) in enumerate(pairwise(quantiles), 1)
        if after[0] > before[0] or after[1] > before[1]
    ]
    if len(quantiles) > MOST_QUANTILES:
        wrong.append((f"quantiles.{MOST_QUANTILES}", f"{len(quantiles)} quantiles"))
    return wrong


def _other_p_of_z(result: Mapping[str, Any]) -> Findings:
    """p of a scan that are not the normal distribution's two-sided p of the z beside them. Where a
    scan takes p by the saddlepoint, its z is the one that has this p, and what is printed follows
    from the printed z (analytics/association.py).
    """
    wrong: Findings = []
    for at, row in enumerate(objects(result, "rows")):
        z, p = row.get("z"), row.get("p")
        try:
            size, shown = abs(float(str(z))), float(str(p))
        except ValueError:
            continue  # no number, which another check names
        exact = erfc(size / sqrt(2))
        # Two libraries may round a last digit that is nearly halfway otherwise.
        printed = {f"{exact * (1 + off):.1e}" for off in (-1e-9, 0, 1e-9)}
        if p not in printed and max(exact, shown) > _NO_P:
            wrong.append((f"rows.{at}.p", f"{p}, and z is {z}"))
    return wrong


def _pairs(points: Any) -> list[tuple[float, float]]:
    """The pairs of a list that are two numbers, printed as such or as decimals."""
    pairs = []
    for point in points if isinstance(points, list) else []:
        if isinstance(point, list) and len(point) == 2:
            try:
                pairs.append((float(point[0]), float(point[1])))
            except (TypeError, ValueError):
                continue
    return pairs


def _impossible_frequencies(result: Mapping[str, Any]) -> Findings:
    """Allele frequencies below those of so many carriers, each with one of the alleles at least."""
    wrong: Findings = []
    for at, row in enumerate(objects(result, "rows")):
        carriers, people = row.get("carriers"), _printed(row, result)
        frequency, step = row.get("frequency"), row.get("step")
        if not (_is_number(carriers) and _is_number(frequency) and _is_number(step)):
            continue
        if not _is_number(people):
            continue
        least = 100 * (carriers - _ROUNDED) / (2 * (people + _ROUNDED)) - step
        # No upper bound: with few known genotypes, few carriers have many of the known alleles.
        if frequency < least:
            wrong.append((f"rows.{at}.frequency", f"{frequency} %, and {carriers} carriers"))
    return wrong


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float) and abs(value) < _LARGEST
