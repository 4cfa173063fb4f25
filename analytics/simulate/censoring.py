"""Simulated follow-up with a known risk: an event at a constant hazard that depends on covariates,
and a follow-up that ends at random, whatever becomes of the person.
"""

from __future__ import annotations

import numpy as np

from analytics.survival import Flags, Floats

YEAR, HORIZON_DAYS = 365.25, 1825
RISK = 0.238  # true, within the horizon
EFFECTS = (0.6, -0.4, 0.0)  # log hazard ratios of one standard deviation


def true_risk(day: float, hazard: float | None = None) -> float:
    """The mean risk until a day over people whose covariates are standard normal."""
    hazard = yearly_hazard() if hazard is None else hazard
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    spread = float(np.sqrt(np.square(EFFECTS).sum()))
    risk = 1 - np.exp(-hazard * day / YEAR * np.exp(spread * nodes))
    return float(risk @ weights / weights.sum())


def yearly_hazard() -> float:
    """The hazard of an average person at which the mean risk within the horizon is RISK."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if true_risk(HORIZON_DAYS, middle) < RISK else (low, middle)
    return low


def simulate_follow_up(
    people: int, seed: int, median_years: float, effects: tuple[float, ...] = EFFECTS
) -> tuple[Floats, Floats, Flags]:
    """(x (n, effects), time, event) until HORIZON_DAYS; follow-up ends uniformly until twice its
    median. Deterministic in its arguments.
    """
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(people, len(effects)))
    happens = draw.exponential(size=people) / (yearly_hazard() * np.exp(x @ effects)) * YEAR
    ends = np.minimum(draw.uniform(0, 2 * median_years * YEAR, people), HORIZON_DAYS)
    return x, np.ceil(np.minimum(happens, ends)), happens <= ends
