"""The dictionary a custodian publishes: which variables a dataset has, in which unit, for about how many people.

A plan can then be written before anything is asked for. No value, date or code of anybody is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics.disclosure import SMALLEST_COUNT, round_count, share
from analytics.readers.chart import Chart, value_at
from analytics.readers.codes import VARIABLES

COMPLETENESS_STEP = 5  # percent


def describe(charts: Sequence[Chart], genotyped: int) -> dict[str, object]:
    """{"type", "people", "genotyped", "variables": [{"variable", "unit", "category", "people", "completeness"}]}.

    genotyped: how many of these people have germline variants. Counts are rounded to 5; None is fewer than 10.
    Where fewer than 10 *lack* a variable it counts as complete, since either count gives the other. completeness:
    whole percents in steps of 5, from the rounded counts alone.
    """
    total = len(charts)
    rows: list[object] = []
    for name, unit, category in [
        ("female", "0 or 1", 0),
        *((name, variable.unit, variable.category) for name, variable in VARIABLES.items()),
    ]:
        people, completeness = _shown(
            sum(value_at(chart, name, None) is not None for chart in charts), total
        )
        rows.append(
            {
                "variable": name,
                "unit": unit,
                "category": category,
                "people": people,
                "completeness": completeness,
            }
        )
    return {
        "type": "volens/dictionary/1",
        "people": round_count(total),
        "genotyped": _shown(genotyped, total)[0],
        "variables": rows,
    }


def _shown(count: int, total: int) -> tuple[int | None, int | None]:
    """Rounded count and completeness, or twice None below 10 people."""
    shown = round_count(total if total - count < SMALLEST_COUNT else count)
    everybody = round_count(total)
    if count < SMALLEST_COUNT or shown is None or everybody is None:
        return None, None
    return shown, share(shown, everybody, COMPLETENESS_STEP)
