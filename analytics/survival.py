"""Survival analysis: Kaplan-Meier curves, Cox regression, concordance. Pure numerics, by numpy.

Everywhere time is (n,): days until the event or the end of follow-up, and event is (n,): true where
the event ended it; whoever has none is censored. Knows nothing of disclosure control.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Z_95 = 1.959963984540054
MOST_STEPS = 50  # of Newton; it needs about six
SETTLED = 1e-10  # a gain in log likelihood below this share ends it


@dataclass(frozen=True, slots=True)
class Curve:
    """A Kaplan-Meier curve: what holds from each distinct day with an event on. times (k,);
    at_risk: people under observation just before; survival: after it; greenwood: the sum of
    d / (n (n - d)), the variance of log survival; hazard: the sum of d / n (Nelson-Aalen).
    """

    times: Floats
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    survival: Floats
    greenwood: Floats
    hazard: Floats

    def at(self, day: float) -> tuple[float, float, float]:
        """(survival, lower end, upper end) on a day; the interval is `log_log_interval`."""
        before = int(np.searchsorted(self.times, day, "right"))
        if before == 0:
            return 1.0, 1.0, 1.0
        survival, greenwood = self.survival[before - 1], self.greenwood[before - 1]
        low, high = log_log_interval(survival, greenwood)
        return float(survival), float(low), float(high)

    def median(self) -> tuple[float | None, float | None, float | None]:
        """(median, lower end, upper end) in days: where the curve and the ends of its interval come
        to one half or below (Brookmeyer & Crowley 1982, by log-log intervals); None: never.
        """
        low, high = log_log_interval(self.survival, self.greenwood)
        return (
            self._first_half(self.survival),
            self._first_half(low),
            self._first_half(high),
        )

    def _first_half(self, values: Floats) -> float | None:
        reached = np.flatnonzero(values <= 0.5 + 1e-12)
        return float(self.times[reached[0]]) if len(reached) else None


@dataclass(frozen=True, slots=True)
class Cox:
    """A fitted Cox regression (Cox 1972), ties by Efron 1977. coefficients, errors: (p,) log hazard
    ratio of one unit and its standard error; centre: (p,) at which the baseline is; times (k,),
    hazard (k,): the cumulative baseline hazard from each day with an event on.
    """

    coefficients: Floats
    errors: Floats
    centre: Floats
    times: Floats
    hazard: Floats

    def score(self, x: Floats) -> Floats:
        """(n,) log hazard of x (n, p) over that of the centre: higher means earlier."""
        scored: Floats = (x - self.centre) @ self.coefficients
        return scored

    def risk(self, x: Floats, day: float) -> Floats:
        """(n,) predicted probability of the event until `day`."""
        before = int(np.searchsorted(self.times, day, "right"))
        reached = self.hazard[before - 1] if before else 0.0
        predicted: Floats = -np.expm1(-reached * np.exp(np.minimum(self.score(x), 700.0)))
        return predicted


def kaplan_meier(time: Floats, event: Flags) -> Curve:
    """The curve of Kaplan & Meier 1958; an event counts before a censoring of the same day."""
    event = event.astype(bool)
    times, events = np.unique(time[event], return_counts=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), times, "left")
    with np.errstate(divide="ignore"):
        greenwood: Floats = np.cumsum(events / (at_risk * (at_risk - events)), dtype=np.float64)
    survival: Floats = np.cumprod(1 - events / at_risk, dtype=np.float64)
    hazard: Floats = np.cumsum(events / at_risk, dtype=np.float64)
    return Curve(
        times,
        at_risk,
        events,
        survival,
        greenwood,
        hazard,
    )


def log_log_interval(survival: Floats, greenwood: Floats) -> tuple[Floats, Floats]:
    """The ends of the 95 % interval by log(-log S) with Greenwood's variance (Kalbfleisch &
    Prentice 1980): it stays within 0 and 1. Where S is 0 or 1 both ends are S.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.exp(Z_95 * np.sqrt(greenwood) / np.abs(np.log(survival)))
        low, high = survival**spread, survival ** (1 / spread)
    sure = (survival <= 0) | (survival >= 1)
    return np.where(sure, survival, low), np.where(sure, survival, high)


def null_residuals(time: Floats, event: Flags) -> Floats:
    """(n,) martingale residuals without covariates: event minus the hazard that was lived through.
    A column's covariance with them is the numerator of the score test of Cox regression.
    """
    curve = kaplan_meier(time, event)
    lived = np.append(0.0, curve.hazard)[np.searchsorted(curve.times, time, "right")]
    residuals: Floats = event - lived
    return residuals


def fit_cox(x: Floats, time: Floats, event: Flags, ridge: float = 0.0) -> Cox:
    """Newton's method on the partial likelihood of x (n, p), less ridge / 2 times the sum of
    squared coefficients. A column that tells nothing keeps the coefficient 0.
    """
    centre = x.mean(axis=0) if len(x) else np.zeros(x.shape[1])
    likelihood = _Likelihood(x - centre, time, event.astype(bool), ridge)
    coefficients = np.zeros(x.shape[1])
    value, gradient, information = likelihood.at(coefficients)
    for _ in range(MOST_STEPS):
        step = np.linalg.lstsq(information, gradient, rcond=None)[0]
        tried = likelihood.at(coefficients + step)
        while not _rises(tried[0], value) and np.abs(step).max(initial=0.0) > 1e-12:
            step = step / 2
            tried = likelihood.at(coefficients + step)
        if not _rises(tried[0], value):
            break
        settled = tried[0] - value <= SETTLED * (1 + abs(value))
        coefficients = coefficients + step
        value, gradient, information = tried
        if settled:
            break
    errors = np.sqrt(np.maximum(np.diag(np.linalg.pinv(information)), 0))
    return Cox(coefficients, errors, centre, *likelihood.baseline(coefficients))


def _rises(tried: float, value: float) -> bool:
    """An infinite likelihood is an underflow of what is summed, and no progress."""
    return bool(np.isfinite(tried)) and tried >= value


class _Likelihood:
    """The partial likelihood of people in order of time.

    Events of one day are taken one after the other: each counts the others of that day by a share
    (Efron). ends: positions of the events; first: where the people at risk then begin; share: how
    much of that day's events has left before each.
    """

    def __init__(self, x: Floats, time: Floats, event: Flags, ridge: float) -> None:
        order = np.argsort(time, kind="stable")
        self.x, self.ridge = x[order], ridge
        self.time, self.event = time[order], event[order]
        self.ends = np.flatnonzero(self.event)
        days = self.time[self.ends]
        self.first = np.searchsorted(self.time, days, "left")
        _, begins, self.group, size = np.unique(
            days, return_index=True, return_inverse=True, return_counts=True
        )
        rank = np.arange(len(days)) - begins[self.group]
        self.share = rank / size[self.group]

    def at(self, coefficients: Floats) -> tuple[float, Floats, Floats]:
        """(log likelihood, gradient (p,), information (p, p)), all with the penalty."""
        weight, shift, total = self._totals(coefficients)
        left = self._left(total)
        weighted = weight[:, None] * self.x
        tied = np.zeros((len(np.unique(self.group)), self.x.shape[1]))
        np.add.at(tied, self.group, weighted[self.ends])
        sums = np.cumsum(weighted[::-1], axis=0)[::-1][self.first]
        means = (sums - self.share[:, None] * tied[self.group]) / total[:, None]
        scores = self.x[self.ends] @ coefficients
        value = (
            scores - shift - np.log(total)
        ).sum() - self.ridge / 2 * coefficients @ coefficients
        gradient = self.x[self.ends].sum(axis=0) - means.sum(axis=0) - self.ridge * coefficients
        information = (self.x * (weight * left)[:, None]).T @ self.x - means.T @ means
        return float(value), gradient, information + self.ridge * np.eye(len(coefficients))

    def baseline(self, coefficients: Floats) -> tuple[Floats, Floats]:
        """(distinct days with an event, cumulative baseline hazard), with Efron's ties."""
        _, shift, total = self._totals(coefficients)
        days, last = np.unique(self.time[self.ends][::-1], return_index=True)
        hazard = np.cumsum(np.exp(-shift) / total)
        return days, hazard[len(self.ends) - 1 - last]

    def _totals(self, coefficients: Floats) -> tuple[Floats, float, Floats]:
        """(weight (n,), the shift that keeps it finite, weight at risk at each event)."""
        scores = self.x @ coefficients
        shift = float(scores.max(initial=-np.inf)) if len(scores) else 0.0
        weight = np.exp(scores - shift)
        at_risk = np.cumsum(weight[::-1])[::-1][self.first]
        tied = np.bincount(self.group, weight[self.ends])[self.group] if len(self.ends) else 0.0
        return weight, shift, at_risk - self.share * tied

    def _left(self, total: Floats) -> Floats:
        """(n,) the sum of 1 / total over the events at which each person is at risk."""
        begins = np.bincount(self.first, 1 / total, minlength=len(self.time))
        left: Floats = np.cumsum(begins)
        if len(self.ends):
            left[self.ends] -= np.bincount(self.group, self.share / total)[self.group]
        return left


def concordance(time: Floats, event: Flags, score: Floats) -> tuple[float, int]:
    """(pairs in order, pairs that can be compared), after Harrell 1982: of a pair, who has the
    event first should have the higher score; equal scores count half. A pair can be compared if the
    earlier time is an event; on the same day, an event is before a censoring.
    """
    before = time[:, None] < time[None, :]
    before |= (time[:, None] == time[None, :]) & ~event.astype(bool)[None, :]
    before &= event.astype(bool)[:, None]
    gap = score[:, None] - score[None, :]
    return float((before & (gap > 0)).sum() + 0.5 * (before & (gap == 0)).sum()), int(before.sum())
