"""`make judges`: disclosure checkers that others wrote, as judges of what is printed.

They are installed in an environment of their own (.volens/judges), since ACRO needs an older pandas.
ACRO (github.com/AI-SDC/ACRO) says which strata it would suppress, and we count how many of those are
printed: few, which by their perturbed numbers have ten of each. SACRO-ML (github.com/AI-SDC/SACRO-ML)
learns to tell the results of cohorts with a person who has the event from those where she has not,
and the members of a model's training from others, as if models left.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from analytics.disclosure.counts import Calls, build_table, perturb_sizes
from analytics.disclosure.noise import KEY_BYTES, Noise
from analytics.disclosure.survival import Lives, list_days, show_curve, show_strata
from analytics.evaluate import count_cells
from analytics.metrics import NAMES

FOLDER = Path(".volens") / "judges"
ASK = Path(__file__).with_name("ask_judges.py")
COHORTS, PEOPLE, TRIALS, HORIZON = 40, 400, 400, 1000
MEMBERS = 200


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    strata, printed = _strata()
    asked = {
        "strata": strata,
        "answers": {
            "two survival curves, with and without a person": _answers(_of_two_curves),
            "two rows of a model, with and without a person": _answers(_of_two_rows),
        },
        "model": _model(),
    }
    (FOLDER / "asked.json").write_text(json.dumps(asked))
    print("Asking ACRO and SACRO-ML: about a minute.", flush=True)
    subprocess.run([sys.argv[1], ASK, FOLDER / "asked.json", FOLDER / "verdict.json"], check=True)
    verdict = json.loads((FOLDER / "verdict.json").read_text())
    suppressed = {tuple(stratum) for stratum in verdict["suppressed"]}
    print(f"ACRO {verdict['acro']}: of {len({tuple(row[:2]) for row in strata})} strata,")
    print(f"  {len(suppressed)} have a cell that it suppresses; {len(printed)} are printed;")
    print(f"  {len(suppressed & printed)} of the suppressed ones are printed")
    print(f"SACRO-ML {verdict['sacroml']}: AUC of its attack (50 % is guessing)")
    for name, auc in verdict["auc"].items():
        print(f"  {name}: {100 * auc:.0f} %")


def _strata() -> tuple[list[tuple[int, str, int]], set[tuple[int, str]]]:
    """((cohort, stratum, event) of each person, the strata that are printed)."""
    rows: list[tuple[int, str, int]] = []
    printed: set[tuple[int, str]] = set()
    for cohort in range(COHORTS):
        draw = np.random.default_rng(cohort)
        lives = _follow(PEOPLE, draw)
        sizes = draw.dirichlet([0.6] * 6)
        stratum = draw.choice(6, PEOPLE, p=sizes)
        groups = [(f"stratum {at}", np.flatnonzero(stratum == at)) for at in range(6)]
        printed |= {(cohort, name) for name in show_strata(_noise(), groups, lives, HORIZON)}
        rows += [
            (cohort, f"stratum {at}", int(event))
            for at, event in zip(stratum.tolist(), lives.event.tolist(), strict=True)
        ]
    return rows, printed


def _answers(of: Callable[[int, bool], list[float]]) -> list[list[list[float]]]:
    """What is printed in trials in which she has the event, and in those in which she has not."""
    return [
        [of(trial, happened) for trial in range(number, number + TRIALS)]
        for happened, number in ((True, 0), (False, TRIALS))
    ]


def _of_two_curves(trial: int, happened: bool) -> list[float]:
    draw = np.random.default_rng(trial)
    lives, noise = _follow(PEOPLE, draw), _noise()
    lives.time[0], lives.event[0] = draw.integers(50, 300) if happened else HORIZON, happened
    curves = (
        _numbers(noise.of_question(question), cohort)
        for question, cohort in (("with", lives), ("without", lives[np.arange(1, PEOPLE)]))
    )
    return [number - other for number, other in zip(*curves, strict=True)]


def _numbers(noise: Noise, lives: Lives) -> list[float]:
    shown = show_curve(noise, lives, HORIZON)
    points = {} if shown is None else {point.day: point for point in shown.points}
    return [
        float(value or 0)
        for day in list_days(HORIZON, PEOPLE).tolist()
        for point in [points.get(day)]
        for value in ((point.survival, point.at_risk, point.censored) if point else (0, 0, 0))
    ]


def _of_two_rows(trial: int, happened: bool) -> list[float]:
    draw, noise = np.random.default_rng(trial), _noise()
    event = (draw.random(PEOPLE) < 0.3).astype(np.int64)
    event[0] = happened
    positive = (draw.normal(size=PEOPLE) + event > 0.5)[None, :]
    rows = (
        _row(noise.of_question(question), event[first:], positive[:, first:], first)
        for question, first in (("with", 0), ("without", 1))
    )
    return [number - other for number, other in zip(*rows, strict=True)]


def _row(noise: Noise, event: np.ndarray, positive: np.ndarray, first: int) -> list[float]:
    ids = [f"{at:064x}" for at in range(first, PEOPLE)]
    affected, called = ([ids[at] for at in np.flatnonzero(of)] for of in (event, positive[0]))
    sizes = perturb_sizes(noise, PEOPLE + 50, [("all", ids)], ids, affected)
    table = build_table(noise, {"a": Calls(count_cells(event, positive), called)}, affected, sizes)
    metrics = table["a"].metrics
    return [float(sizes.events), *(float(metrics.get(name, 0)) for name in NAMES)]


def _model() -> list[list[list[float]]]:
    """The probabilities of a random forest for the people it was trained on, and for others."""
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(2 * MEMBERS, 20)), draw.integers(0, 2, 2 * MEMBERS)
    forest = RandomForestClassifier(100, random_state=1).fit(x[:MEMBERS], y[:MEMBERS])
    parts = (forest.predict_proba(part) for part in (x[:MEMBERS], x[MEMBERS:]))
    return [np.asarray(part).tolist() for part in parts]


def _follow(people: int, draw: np.random.Generator) -> Lives:
    happens = draw.exponential(HORIZON / 0.35, people)
    ends = np.minimum(draw.uniform(0, 1.6 * HORIZON, people), HORIZON)
    ids = [f"{at:064x}" for at in range(people)]
    return Lives(np.ceil(np.minimum(happens, ends)), happens <= ends, ids)


def _noise() -> Noise:
    return Noise(secrets.token_bytes(KEY_BYTES))


if __name__ == "__main__":
    main()
