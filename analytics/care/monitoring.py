"""Measurements over time: a person's values of the last two years, and when the next one is due.

They are shown beside a plan. No gate and no dose reads them: these read the newest value alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.care.entries import Records, is_final
from analytics.care.facts import Known, Reason, Value
from analytics.care.laboratory import MONITORED, measurements

DAYS = 730
MOST = 60  # values of one measurement


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one measurement, oldest first, each with its day.

    not_read: how many more have no day, are not final, in another unit or not plausible;
    earlier: how many were left out because there are more than `MOST`.
    """

    values: tuple[Known, ...] = ()
    not_read: int = 0
    earlier: int = 0


NOTHING_MEASURED: Mapping[str, Series] = {}


def read_series(records: Records) -> dict[str, Series]:
    """The values over time of each of `MONITORED`. The order of the records changes nothing."""
    return {name: _series(records, name) for name in MONITORED}


def _series(records: Records, name: str) -> Series:
    entries, read = measurements(records, name)
    sources: dict[tuple[int, Value], set[str]] = {}
    not_read = 0
    for entry in entries:
        value = read(entry) if is_final(entry) else Reason.NOT_FINAL
        if entry.day is not None and entry.day < records.today - DAYS:
            continue
        if entry.day is None or isinstance(value, Reason):
            not_read += 1
        else:
            sources.setdefault((entry.day, value), set()).add(entry.name)
    values = [
        Known(value, day, tuple(sorted(sources[day, value])))
        for day, value in sorted(sources, key=lambda of: (of[0], Decimal(str(of[1]))))
    ]
    return Series(tuple(values[-MOST:]), not_read, max(0, len(values) - MOST))


def next_due(
    name: str, series: Series, schedule: Iterable[Mapping[str, Any]], today: int
) -> dict[str, Any] | None:
    """The first day on which a rule of an open option asks for the next value, and that rule: today
    if there is no value. The day may have passed. None if no rule asks for one again and again.
    """
    last = series.values[-1].day if series.values else None
    due = [
        {
            "day": today if last is None else last + item["every_days"],
            "rule": item["rule"],
            "every_days": item["every_days"],
        }
        for item in schedule
        if name in item.get("measures", ())
    ]
    return min(due, key=lambda appointment: (appointment["day"], appointment["rule"]), default=None)
