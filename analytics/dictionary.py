"""The data dictionary a custodian publishes: variables, units, and rounded numbers of people.

With it, an analyst can write a plan before requesting access. It contains no person's value, date
or code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from analytics.disclosure.counts import share
from analytics.disclosure.rounding import SMALLEST_COUNT, round_count
from analytics.readers.clinical import ClinicalRecord, value_at
from analytics.readers.codes import VARIABLES

COMPLETENESS_STEP = 5  # percent
_COLUMNS = (
    ("female", "0 or 1", 0),
    *((name, variable.unit, variable.category) for name, variable in VARIABLES.items()),
)


def describe(records: Sequence[ClinicalRecord], genotyped: int) -> dict[str, object]:
    """{"type", "people", "genotyped", "variables": [{"variable", "unit", "category", "people",
    "completeness"}]}.

    genotyped: how many of these people have germline variants. Counts are rounded to 5; None is
    fewer than 10. If fewer than 10 *lack* a variable it counts as complete, since each count
    reveals the other. completeness: whole percents in steps of 5, from the rounded counts alone.
    """
    total = len(records)
    counts = [
        sum(value_at(record, name, None) is not None for record in records)
        for name, _, _ in _COLUMNS
    ]
    return _dictionary([_shown(count, total) for count in counts], total, genotyped)


def could_describe(document: object, total: int, genotyped: int) -> bool:
    """Whether `describe` could return this for so many people; only rounded counts are free."""
    rows = document.get("variables") if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(rows) != len(_COLUMNS):
        return False
    counts: list[Any] = [row.get("people") if isinstance(row, dict) else "" for row in rows]
    possible = {_shown(count, total) for count in range(total + 1)}
    # Compared as text: in Python true equals 1, and 10.0 equals 10.
    return all(count is None or type(count) is int for count in counts) and (
        set(counts) <= possible
        and json.dumps(document, sort_keys=True)
        == json.dumps(_dictionary(counts, total, genotyped), sort_keys=True)
    )


def _dictionary(shown: Sequence[int | None], total: int, genotyped: int) -> dict[str, object]:
    """shown: the rounded count of each variable, None below 10."""
    everybody = round_count(total)
    rows: list[object] = [
        {
            "variable": name,
            "unit": unit,
            "category": category,
            "people": people,
            "completeness": None
            if people is None or everybody is None
            else share(people, everybody, COMPLETENESS_STEP),
        }
        for (name, unit, category), people in zip(_COLUMNS, shown, strict=True)
    ]
    return {
        "type": "volens/dictionary/1",
        "people": everybody,
        "genotyped": _shown(genotyped, total),
        "variables": rows,
    }


def _shown(count: int, total: int) -> int | None:
    """Rounded count, or None below 10 people."""
    if count < SMALLEST_COUNT:
        return None
    return round_count(total if total - count < SMALLEST_COUNT else count)
