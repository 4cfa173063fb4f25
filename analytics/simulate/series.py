"""Simulated people with measurements over time and a known truth: the shape of their steps.

Each person has weekly steps, heart rates and sleep in the twelve weeks until a diagnosis, with a
level and a trend of her own, weeks without a value, and noise. The steps also sag or bulge: in the
middle weeks they are lower than at both ends, or higher, by a `shape` that changes neither their
mean nor their slope. An event within five years has log odds of SHAPE a standard deviation of that
shape and BMI one of the body mass index. Values after the diagnosis tell the event: who reads them
looks ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from analytics.readers.fhir import bundle_of
from analytics.simulate.known_truth import HORIZON_DAYS
from analytics.simulate.known_truth_files import EVENT_CODE, FIRST_DAY, INDEX_CODE, date_of

Floats = NDArray[np.float64]
WEEKS, MISSING = 12, 0.2
SHAPE, BMI = 1.5, 0.7  # log odds
# variable: mean, standard deviation of a person's level, of her trend from end to end, of the
# shape, and of a week
SCALES = {
    "steps_per_day": (7000.0, 1500.0, 800.0, 1500.0, 900.0),
    "heart_rate": (68.0, 7.0, 3.0, 0.0, 4.0),
    "sleep_hours": (7.0, 0.7, 0.3, 0.0, 0.5),
}
DECIMALS = {"steps_per_day": 0, "heart_rate": 0, "sleep_hours": 1}


@dataclass(frozen=True, slots=True)
class SeriesCohort:
    """n people. values: by variable (n, WEEKS), NaN missing. shape, bmi: (n,) in standard
    deviations. event: (n,) 0 or 1. event_day, last_day: (n,) days after the diagnosis, event_day -1
    without.
    """

    values: dict[str, Floats]
    shape: Floats
    bmi: Floats
    event: NDArray[np.int64]
    event_day: NDArray[np.int64]
    last_day: NDArray[np.int64]

    def matrix(self) -> Floats:
        """(n, variables times WEEKS) values, as a run reads them."""
        return np.hstack([self.values[name] for name in SCALES])

    @property
    def risk(self) -> Floats:
        """(n,) the true log odds: who orders people by them has the best AUC there is."""
        return SHAPE * self.shape + BMI * self.bmi


def simulate_series(people: int, seed: int) -> SeriesCohort:
    """Deterministic in its arguments."""
    draw = np.random.default_rng(seed)
    over_time = np.linspace(-1, 1, WEEKS)
    bulge = over_time**2 - (over_time**2).mean()
    bulge /= np.sqrt((bulge**2).mean())
    shape, bmi = draw.normal(size=(2, people))
    event = (draw.random(people) < expit(SHAPE * shape + BMI * bmi)).astype(np.int64)
    values = {}
    for name, (mean, level, trend, curved, week) in SCALES.items():
        own = (
            level * draw.normal(size=(people, 1))
            + trend * draw.normal(size=(people, 1)) * over_time
        )
        noise = week * draw.normal(size=(people, WEEKS))
        value = mean + own + curved * shape[:, None] * bulge + noise
        value = np.round(np.maximum(value, mean / 50), DECIMALS[name])
        values[name] = np.where(draw.random((people, WEEKS)) < MISSING, np.nan, value)
    return SeriesCohort(
        values,
        shape,
        bmi,
        event,
        np.where(event == 1, draw.integers(60, HORIZON_DAYS, people), -1),
        draw.integers(HORIZON_DAYS + 30, 3000, people),
    )


def write_series_bundle(cohort: SeriesCohort, at: int, subject: str) -> bytes:
    """The bundle of person `at`: diagnosis, a value for each week before it, event, later values."""
    diagnosis = FIRST_DAY + at * 7 % 365
    conditions: list[tuple[str, str, str | None]] = [("icd-10-cm", INDEX_CODE, date_of(diagnosis))]
    if cohort.event[at]:
        event = date_of(diagnosis + int(cohort.event_day[at]))
        conditions.append(("icd-10-cm", EVENT_CODE, event))
    observations: list[tuple[str | tuple[str, str], float | bool, str | None]] = [
        (name, float(value), date_of(diagnosis - 7 * (WEEKS - 1 - week) - at % 7))
        for name, values in cohort.values.items()
        for week, value in enumerate(values[at])
        if not np.isnan(value)
    ]
    observations += [
        ("bmi", round(27.0 + 4.5 * float(cohort.bmi[at]), 1), date_of(diagnosis - 14)),
        ("steps_per_day", 1000.0 + 9000.0 * (1 - int(cohort.event[at])), date_of(diagnosis + 1)),
        ("heart_rate", 64.0 + at % 17, date_of(diagnosis + int(cohort.last_day[at]))),
    ]
    return bundle_of(
        subject,
        gender="female",
        birth_year=1950 + at % 25,
        conditions=conditions,
        observations=observations,
    )
