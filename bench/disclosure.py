"""`python -m bench.disclosure`: how far printed metrics and curves are from the exact ones.

For simulated cohorts of four sizes: the share of each that is printed, and the mean error in points
(percent, of the noise and the rounding). docs/decisions/0035-noise.md has what it printed.
"""

from __future__ import annotations

import secrets

import numpy as np
from sklearn.metrics import roc_curve

from analytics.disclosure.counts import Calls, build_table, perturb_rank, perturb_sizes
from analytics.disclosure.curves import calibration_groups, roc_grid
from analytics.disclosure.noise import KEY_BYTES, Noise
from analytics.disclosure.survival import Lives, show_curve
from analytics.evaluate import count_cells, metrics_of, placement_values
from analytics.survival import kaplan_meier

SIZES = ((200, 36), (200, 100), (1000, 180), (5000, 900))  # people, with the event
COHORTS, REPEATS, HORIZON = 40, 10, 1000
Errors = dict[
    str, list[float]
]  # by number: mean error in points; empty list entries are not printed


def main() -> None:
    for people, events in SIZES:
        generator = np.random.default_rng(1)
        errors: Errors = {}
        for _ in range(COHORTS):
            noise = Noise(secrets.token_bytes(KEY_BYTES))
            for name, error in {
                **_of_a_row(noise, people, events, generator),
                **_of_a_curve(noise, people, events, generator),
            }.items():
                errors.setdefault(name, []).append(error)
        shown = ", ".join(f"{name} {_summarise(of)}" for name, of in errors.items())
        print(f"{people} people, {events} with the event: {shown}", flush=True)


def _summarise(errors: list[float]) -> str:
    printed = [error for error in errors if not np.isnan(error)]
    mean = f"{np.mean(printed):.1f}" if printed else "-"
    return f"{mean} ({100 * len(printed) // len(errors)} %)"


def _of_a_row(
    noise: Noise, people: int, events: int, generator: np.random.Generator
) -> dict[str, float]:
    """The error of each number of a model whose AUC is about 0.76; NaN where it is withheld."""
    event = (np.arange(people) < events).astype(np.int64)
    margin = generator.normal(size=people) + event
    margin = margin + generator.normal(0, 0.25, (REPEATS, people)) - 0.5
    probability = 1 / (1 + np.exp(-0.9 * (margin + np.log(events / (people - events)))))
    ids = [f"{at:064x}" for at in range(people)]
    affected = ids[:events]
    sizes = perturb_sizes(noise, people + 50, [("all", ids)], ids, affected)
    positive = probability > events / people
    cells = count_cells(event, positive)
    called = [ids[at] for at in np.flatnonzero(positive.mean(axis=0) >= 0.5)]
    shown = build_table(noise, {"a": Calls(cells, called)}, affected, sizes)["a"].metrics
    errors = {
        name: abs(shown.get(name, np.nan) - 100 * exact)
        for name, exact in metrics_of(cells).items()
    }
    auc = float(np.mean([placement_values(row, event)[event == 1].mean() for row in probability]))
    errors["AUC"] = 100 * abs(perturb_rank(noise, affected, sizes, "a", auc) - auc)
    points = roc_grid(noise, "a", probability, event, ids, sizes)[1:-1]
    grid = np.array([at for at, _ in points]) / 100
    exact = np.mean([np.interp(grid, *roc_curve(event, row)[:2]) for row in probability], axis=0)
    errors["ROC"] = _mean(
        [abs(rate - 100 * at) for (_, rate), at in zip(points, exact, strict=True)]
    )
    groups = calibration_groups(noise, probability, event, ids)
    parts = np.array_split(
        np.argsort(probability.mean(axis=0), kind="stable"), len(groups[1]) if groups else 1
    )
    errors["calibration"] = (
        _mean(
            [
                abs(seen - 100 * event[at].mean())
                for (_, seen), at in zip(groups[1], parts, strict=True)
            ]
        )
        if groups
        else np.nan
    )
    return errors


def _of_a_curve(
    noise: Noise, people: int, events: int, generator: np.random.Generator
) -> dict[str, float]:
    """The error of survival at the printed times; about so many have the event until the horizon."""
    happens = generator.exponential(HORIZON / (-1.35 * np.log(1 - events / people)), people)
    ends = np.minimum(generator.uniform(0, 2.5 * HORIZON, people), HORIZON)
    time, event = np.ceil(np.minimum(happens, ends)), happens <= ends
    shown = show_curve(noise, Lives(time, event, [f"{at:064x}" for at in range(people)]), HORIZON)
    exact = kaplan_meier(time, event)
    points = () if shown is None else shown.points
    return {
        "survival": _mean([abs(p.survival - 100 * exact.at(p.day)[0]) for p in points]),
    }


def _mean(errors: list[float]) -> float:
    return float(np.mean(errors)) if errors else np.nan


if __name__ == "__main__":
    main()
