"""Fairness: whether the primary model is as good for one group of people as for another.

Groups are compared on the predictions of people while held out: true positive rate and false
positive rate of a "yes" at the model's threshold (equalised odds, Hardt et al. 2016) and the AUC
within a group. Differences are those of fairlearn's MetricFrame between two groups. Intervals are
by a bootstrap of the people, relatives together; they leave out that other people would have
trained another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.cohort import Cohort, clinical_matrix
from analytics.disclosure.counts import Counts, filter_counts, percent
from analytics.disclosure.fairness import (
    Perturbed,
    gap_interval,
    group_step,
    perturb_group,
    show_gap,
)
from analytics.disclosure.noise import Noise
from analytics.disclosure.rounding import SMALLEST_COUNT, round_count
from analytics.evaluate import Scores, drawing
from analytics.params import Params
from analytics.prediction import Row, sizes_of
from analytics.strata import assign_strata, parse_split

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
MEASURES = ("auc", "tpr", "fpr")
WITHHELD = "one of the groups has too few people with or without the event, or the interval is wide"
DRAWS = 400  # bootstrap samples: the standard deviation of so many is right within 4 %


@dataclass(frozen=True, slots=True)
class Group:
    """Some people, by their positions, and how well they are predicted: (1 + DRAWS, 3) MEASURES of
    themselves, then of each bootstrap sample."""

    name: str
    with_event: Labels
    without: Labels
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
        table = np.column_stack([auc, *rates])
        measured.append(Group(name, inside[y == 1], inside[y == 0], table))
    return measured


def weighted_auc(probability: Floats, y: Labels, weights: Floats) -> Floats:
    """(samples,) AUC of predictions (n,) where person i counts weights[sample, i] times; NaN where
    an outcome is missing.
    """
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
    result: dict[str, Any],
    record: dict[str, Any],
    row: Row,
    cohort: Cohort,
    params: Params,
    noise: Noise,
) -> None:
    """Write the comparisons of groups into the result and its disclosure record."""
    event, families = cohort.event, cohort.families
    counts = filter_counts(sizes_of(cohort, noise))
    entries = []
    for rule in params.fairness:
        split = parse_split(rule)
        assigned = assign_strata([split], clinical_matrix(cohort, [split.variable], noise))[:-1]
        groups = measure_groups(row.scores, event, assigned, families, params.seed)
        hidden = row.few or counts.events is None
        printer = _Printer(noise, cohort.subjects, rule, row)
        entries.append(printer.describe(groups, counts, hidden))
        record["withheld"] += [
            {"what": f"{gap['measure']} of {gap['group']}: {row.name}", "why": WITHHELD}
            for gap in entries[-1]["gaps"]
            if "gap" not in gap
        ]
    result["fairness"] = entries
    record["rules"].append({"rule": "groups compared", "people_at_least": SMALLEST_COUNT})


@dataclass(frozen=True, slots=True)
class _Printer:
    """What is printed of the groups of one rule: their exact measures get their noise."""

    noise: Noise
    subjects: Sequence[str]
    rule: str
    row: Row

    def describe(self, groups: Sequence[Group], counts: Counts, hidden: bool) -> dict[str, Any]:
        """The comparison with the largest group, as its rounded size says."""
        shown = {group.name: self._perturb(group) for group in groups}
        steps = {
            n: None if hidden else group_step(perturbed.parts) for n, perturbed in shown.items()
        }
        people = {n: round_count(perturbed.sizes.people) for n, perturbed in shown.items()}
        reference = max(groups, key=lambda group: people[group.name] or 0)
        complete = counts.people is not None and None not in steps.values()
        return {
            "by": self.rule,
            "model": self.row.model,
            "feature_set": self.row.feature_set,
            "reference": reference.name,
            "groups": [
                {"group": name}
                | ({"people": people[name]} if complete else {})
                | (
                    {}
                    if step is None
                    else {"auc": percent(shown[name].values[0], step), "step": step}
                )
                for name, step in steps.items()
            ],
            "gaps": [
                gap
                for group in groups
                if group is not reference
                for gap in self._gaps(group, reference, shown, hidden)
            ],
        }

    def _gaps(
        self, group: Group, reference: Group, shown: dict[str, Perturbed], hidden: bool
    ) -> list[dict[str, object]]:
        compared, largest = shown[group.name], shown[reference.name]
        step = None if hidden else group_step((*compared.parts, *largest.parts))
        errors = (group.measured - reference.measured)[1:].std(axis=0, ddof=1)
        events = self._ids([*group.with_event, *reference.with_event])
        gaps: list[dict[str, object]] = []
        for at, measure in enumerate(MEASURES):
            gap = compared.values[at] - largest.values[at]
            cell = f"{measure} of {group.name}, {self.rule}: {self.row.name}"
            interval = gap_interval(
                self.noise, cell, events, gap, float(errors[at]), (compared, largest), at
            )
            gaps.append({"group": group.name, "measure": measure} | show_gap(gap, interval, step))
        return gaps

    def _perturb(self, group: Group) -> Perturbed:
        return perturb_group(
            self.noise,
            f"{group.name}, {self.rule}: {self.row.name}",
            [float(value) for value in group.measured[0]],
            self._ids(group.with_event),
            self._ids(group.without),
        )

    def _ids(self, positions: Sequence[int] | Labels) -> list[str]:
        return [self.subjects[at] for at in positions]
