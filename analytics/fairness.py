"""Fairness: whether the primary model is as good for one group of people as for another.

Groups are compared on the predictions of people while held out: true positive rate and false
positive rate of a "yes" at the model's threshold (equalised odds, Hardt et al. 2016) and the AUC
within a group. Differences are those of fairlearn's MetricFrame between two groups. Intervals are by
a bootstrap of the people, relatives together; they leave out that other people would have trained
another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.cohort import Cohort, clinical_matrix
from analytics.disclosure.counts import Counts, filter_counts, percent
from analytics.disclosure.fairness import group_step, show_gap
from analytics.disclosure.rounding import SMALLEST_COUNT, round_count
from analytics.evaluate import Scores, clip_gain, drawing, spread_interval
from analytics.params import Params
from analytics.prediction import Row
from analytics.strata import assign_strata, parse_split

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
MEASURES = ("auc", "tpr", "fpr")
WITHHELD = "one of the groups has too few people with or without the event, or the interval is wide"
DRAWS = 400  # bootstrap samples: the standard deviation of so many is right within 4 %


@dataclass(frozen=True, slots=True)
class Group:
    """Some people, and how well they are predicted: (1 + DRAWS, 3) MEASURES of themselves, then of
    each bootstrap sample. parts: how many have the event, and how many not."""

    name: str
    people: int
    parts: tuple[int, int]
    measured: Floats


def measure_groups(
    scores: Scores,
    event: Labels,
    groups: Sequence[tuple[str, Labels]],
    families: Labels | None,
    seed: int,
) -> list[Group]:
    """Each group, by (name, positions), in all and in the same bootstrap samples."""
    draw = drawing(event, families, np.random.default_rng(seed))
    weights = np.ones((1 + DRAWS, len(event)))
    for number in range(1, 1 + DRAWS):
        weights[number] = np.bincount(draw(), minlength=len(event))
    yes = scores.positives.mean(axis=0)
    measured = []
    for name, inside in groups:
        y, w = event[inside], weights[:, inside]
        with np.errstate(invalid="ignore", divide="ignore"):  # a sample without such people
            rates = [
                (w[:, y == c] @ yes[inside][y == c]) / w[:, y == c].sum(axis=1) for c in (1, 0)
            ]
            auc = np.mean([weighted_auc(row[inside], y, w) for row in scores.probabilities], axis=0)
        events = int(y.sum())
        table = np.column_stack([auc, *rates])
        measured.append(Group(name, len(inside), (events, len(y) - events), table))
    return measured


def weighted_auc(probability: Floats, y: Labels, weights: Floats) -> Floats:
    """(samples,) AUC of predictions (n,) where person i counts weights[sample, i] times; NaN where an
    outcome is missing."""
    if not len(y):
        return np.full(len(weights), np.nan)
    order = np.argsort(probability, kind="stable")
    ordered = probability[order]
    first = np.flatnonzero(np.append(True, ordered[1:] > ordered[:-1]))  # of each tie
    positive, negative = (
        np.add.reduceat(weights[:, order] * (y[order] == c), first, axis=1) for c in (1, 0)
    )
    below = np.cumsum(negative, axis=1) - negative / 2
    auc: Floats = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return auc


def add_fairness(
    result: dict[str, Any], record: dict[str, Any], row: Row, cohort: Cohort, params: Params
) -> None:
    """Write the comparisons of groups into the result and its disclosure record."""
    event, families = cohort.event, cohort.families
    counts = filter_counts(granted=cohort.granted, people=cohort.people, events=int(event.sum()))
    entries = []
    for rule in params.fairness:
        split = parse_split(rule)
        assigned = assign_strata([split], clinical_matrix(cohort, [split.variable]))[:-1]
        groups = measure_groups(row.scores, event, assigned, families, params.seed)
        hidden = row.few or counts.events is None
        entries.append(_describe(rule, row, groups, counts, hidden))
        record["withheld"] += [
            {"what": f"{gap['measure']} of {gap['group']}: {row.name}", "why": WITHHELD}
            for gap in entries[-1]["gaps"]
            if "gap" not in gap
        ]
    result["fairness"] = entries
    record["rules"].append({"rule": "groups compared", "people_at_least": SMALLEST_COUNT})


def _describe(
    rule: str, row: Row, groups: Sequence[Group], counts: Counts, hidden: bool
) -> dict[str, Any]:
    """The comparison by one rule, with the largest group, as its rounded size says."""
    reference = max(groups, key=lambda group: round_count(group.people) or 0)
    gaps: list[dict[str, object]] = []
    for group in groups:
        if group is reference:
            continue
        step = None if hidden else group_step((*group.parts, *reference.parts))
        between = group.measured - reference.measured
        for measure, drawn in zip(MEASURES, between.T, strict=True):
            interval = spread_interval(float(drawn[0]), drawn[1:])
            shown = show_gap(float(drawn[0]), clip_gain(*interval), step)
            gaps.append({"group": group.name, "measure": measure} | shown)
    steps = [None if hidden else group_step(group.parts) for group in groups]
    complete = counts.people is not None and None not in steps
    return {
        "by": rule,
        "model": row.model,
        "feature_set": row.feature_set,
        "reference": reference.name,
        "groups": [
            {"group": group.name}
            | ({"people": round_count(group.people)} if complete else {})
            | ({} if step is None else {"auc": percent(group.measured[0, 0], step), "step": step})
            for group, step in zip(groups, steps, strict=True)
        ],
        "gaps": gaps,
    }
