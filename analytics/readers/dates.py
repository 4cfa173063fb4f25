"""De-identification of a person's reduced resources: old ages are grouped, dates may be shifted.

Ages of 90 and more are one group, and the year of birth says no more than that (45 CFR
164.514(b)(2)(i)(C)). A shift moves all dates of one person by the same whole weeks, so intervals
and days of the week stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from analytics.readers.clinical import OLDEST
from analytics.readers.codes import VARIABLE_OF, VARIABLES, codings_of, measure
from analytics.readers.resources import HeldBack

MAX_WEEKS = 26  # of a shift, to either side
_DATES = frozenset(
    {
        "abatementDateTime",
        "authoredOn",
        "date",
        "dateAsserted",
        "effectiveDateTime",
        "onsetDateTime",
        "performedDateTime",
        "recordedDate",
    }
)
# What makes a day of a year, a month and a day, by their length.
_MIDDLE = {4: "-07-15", 7: "-15", 10: ""}
_PERIOD = "period"
_AGE = VARIABLES["age_years"]


def group_old_ages(resources: Iterable[dict[str, Any]]) -> None:
    """Change a person's resources so that no age above OLDEST can be computed from them.

    The year of birth becomes the earliest with which she is OLDEST at the last date of all, as HHS
    reads the rule ("born in 1920 or before" for a visit in 2010). Earlier ages of somebody who grew
    older than that are too low by the same number of years.
    """
    listed = list(resources)
    patients = [one for one in listed if one["resourceType"] == "Patient"]
    years = [int(text[:4]) for one in listed for _, _, text in _dates(one)]
    years += [int(one["deceasedDateTime"]) for one in patients if "deceasedDateTime" in one]
    for patient in patients:
        if "birthDate" in patient and years:
            earliest = max(years) - OLDEST
            patient["birthDate"] = f"{max(int(patient['birthDate']), earliest):04d}"
    for one in listed:
        for part in (one, *one.get("component", ())):
            if any(VARIABLE_OF.get(coding) is _AGE for coding in codings_of(part.get("code"))):
                number = measure(_AGE, part).number
                if number is not None and number > OLDEST:
                    part["valueQuantity"] = part["valueQuantity"] | {"value": OLDEST}


def shift_dates(resource: dict[str, Any], weeks: int) -> None:
    """Shift the dates of a resource. A month or year alone is shifted from its middle.

    Raises HeldBack for a date that would leave the years 1 to 9999.
    """
    for holder, name, text in _dates(resource):
        try:
            day = np.datetime64(text + _MIDDLE[len(text)], "D")
        except (ValueError, KeyError):
            raise HeldBack("a date that cannot be shifted") from None
        shifted = str(day + np.timedelta64(7 * weeks, "D"))
        if len(shifted) != len("2011-02-03") or shifted < "0001":
            raise HeldBack("a date that cannot be shifted")
        holder[name] = shifted[: len(text)]


def _dates(resource: Mapping[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """(object, element, date) of each date in a reduced resource, except years of a Patient."""
    period = resource.get(_PERIOD, {})
    holders: list[tuple[Any, Iterable[str]]] = [
        (resource, _DATES & resource.keys()),
        (period, period.keys()),
    ]
    return [(holder, name, holder[name]) for holder, names in holders for name in names]
