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
from analytics.readers.codes import UCUM, URIS, VARIABLE_OF, VARIABLES, Coding, codings_of
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
_PERIODS = ("period", "effectivePeriod", "performedPeriod")
_AGE = VARIABLES["age_years"]
# LOINC: age; estimated, reported, calculated; at the taking of a specimen.
_AGES = frozenset(
    Coding(URIS["loinc"], code) for code in ("30525-0", "21611-9", "21612-7", "29553-5", "35659-2")
)
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "h": 1 / 8766}  # UCUM
EARLIEST = 1850  # year: an earlier date is a mistake, or stands for an unknown one
LONGEST = 120  # years of a life
UNTRUE = "a date that cannot be true"
BEFORE = "dated before the year of birth as it is grouped"
# They stand for an unknown date, so they would show by how much they were shifted.
_FOR_UNKNOWN = frozenset({"1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01", "1970-01-01"})


def tomorrow() -> str:
    """The last day that can have begun anywhere."""
    return str(np.datetime64("now") + np.timedelta64(1, "D"))[: len("2011-02-03")]


def open_periods(resource: dict[str, Any], last: str) -> None:
    """Take out the end of a treatment that is after the day `last`: it is planned, and no date of
    the person's record."""
    for name in _PERIODS[1:]:
        period = resource.get(name, {})
        if "end" in period and period["end"] > last[: len(period["end"])]:
            del period["end"]
        if name in resource and not period:
            del resource[name]


def check_dates(resource: Mapping[str, Any], last: str) -> None:
    """Raises HeldBack for a date before EARLIEST or after `last`: it would move the year of birth."""
    texts = [text for _, _, text in _dates(resource)]
    texts += [resource[name] for name in ("birthDate", "deceasedDateTime") if name in resource]
    if any(int(text[:4]) < EARLIEST or text > last[: len(text)] for text in texts):
        raise HeldBack(UNTRUE)


def group_ages(resource: Mapping[str, Any]) -> None:
    """Make an age of OLDEST or more OLDEST years, in any unit. Raises HeldBack if it cannot."""
    entire = _is_age(resource)
    for part in (resource, *resource.get("component", ())):
        if not (entire or _is_age(part)):
            continue
        if "valueInteger" in part:
            part["valueInteger"] = min(part["valueInteger"], OLDEST)
        elif "valueQuantity" in part:
            quantity = part["valueQuantity"]
            years = float(quantity["value"]) * _YEARS.get(quantity["code"], float("inf"))
            if quantity["code"] not in _YEARS or (years >= OLDEST and "comparator" in quantity):
                raise HeldBack("an age that cannot be grouped")
            if years >= OLDEST:
                part["valueQuantity"] = {"value": OLDEST, "system": UCUM, "code": "a"}
        elif any(name.startswith("value") for name in part):
            raise HeldBack("an age that cannot be grouped")


def _is_age(part: Mapping[str, Any]) -> bool:
    return any(
        coding in _AGES or VARIABLE_OF.get(coding) is _AGE
        for coding in codings_of(part.get("code"))
    )


def group_birth_year(resources: Iterable[dict[str, Any]], last: str) -> dict[int, str]:
    """Change a person's year of birth so that no age above OLDEST can be computed from it.

    The year of birth becomes the earliest with which she is OLDEST at the last date of all, as HHS
    reads the rule ("born in 1920 or before" for a visit in 2010); without any date, at the day
    `last`. Earlier ages of somebody who grew older than that are too low by the same number of
    years. Returns by identity what must be held back, and why: a date that no life reaches, and one
    from before the year that is then shown, which would say that it is not the year of birth.
    """
    listed = list(resources)
    patient = next((resource for resource in listed if resource["resourceType"] == "Patient"), {})
    if "birthDate" not in patient:
        return {}
    born = int(patient["birthDate"])
    years = {
        id(resource): [int(text[:4]) for _, _, text in _dates(resource)] for resource in listed
    }
    held_back = {
        key: UNTRUE for key, own in years.items() if any(year > born + LONGEST for year in own)
    }
    known = [year for key, own in years.items() if key not in held_back for year in own]
    known += [int(patient["deceasedDateTime"])] if "deceasedDateTime" in patient else []
    shown = max(born, max(known or [int(last[:4])]) - OLDEST)
    if shown > born:
        patient["birthDate"] = f"{shown:04d}"
        early = {key for key, own in years.items() if any(year < shown for year in own)}
        held_back |= dict.fromkeys(early - held_back.keys(), BEFORE)
    return held_back


def shift_dates(resource: dict[str, Any], weeks: int) -> None:
    """Shift the dates of a resource. A month or year alone is shifted from its middle. A date that
    stands for an unknown one stays.

    Raises HeldBack for what is no date.
    """
    for holder, name, text in _dates(resource):
        if text in _FOR_UNKNOWN:
            continue
        try:
            day = np.datetime64(text + _MIDDLE[len(text)], "D")
        except (ValueError, KeyError):
            raise HeldBack("a date that cannot be shifted") from None
        holder[name] = str(day + np.timedelta64(7 * weeks, "D"))[: len(text)]


def _dates(resource: Mapping[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """(object, element, date) of each date in a reduced resource, except years of a Patient."""
    holders: list[tuple[Any, Iterable[str]]] = [(resource, _DATES & resource.keys())]
    holders += [(resource[name], [*resource[name]]) for name in _PERIODS if name in resource]
    return [(holder, name, holder[name]) for holder, names in holders for name in names]
