"""The metrics of whom a model calls positive: what each is called, means and is computed as.

A metric is one entry here and one row of tests/analytics/test_metrics.py: what is printed of it,
its name on every page, its meaning, and what output checkers compare it with follow. No numpy: the
web process reads this too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Confusion(NamedTuple):
    """People, or shares of them: true and false positives, and all with the outcome and without."""

    tp: float
    fp: float
    events: float
    others: float


class Metric(NamedTuple):
    """compute: from 0 to 1, or below 0 if `signed`; it rises or falls with each of the prevalence,
    the recall and the share of false alarms alone. title: over a column; word: in a sentence;
    meaning: for who has not met it. of_the_called: about those who are called positive, so not
    printed where few are. signed: 0 is no extreme, since nobody can tell a number of people by it.
    """

    name: str
    title: str
    meaning: str
    compute: Callable[[Confusion], float]
    word: str
    of_the_called: bool = False
    signed: bool = False


def _part(part: float, others: float) -> float:
    return part / (part + others) if part + others else 0.0


def _balanced_accuracy(of: Confusion) -> float:
    return (_part(of.tp, of.events - of.tp) + _part(of.others - of.fp, of.fp)) / 2


def _net_benefit(of: Confusion) -> float:
    """Vickers & Elkin 2006, with the prevalence as threshold: true positives a person beyond
    treating nobody, or everybody, which are worth 0 there.
    """
    prevalence = _part(of.events, of.others)
    return prevalence * (_part(of.tp, of.events - of.tp) - _part(of.fp, of.others - of.fp))


METRICS = (
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        "the mean of the shares that are called right of those with the outcome and of those without "
        "it: 50 is chance",
        _balanced_accuracy,
        "balanced accuracy",
    ),
    Metric(
        "net_benefit",
        "net benefit, per 100 people",
        "of 100 people, those with the outcome who are called, less false alarms weighed by the "
        "threshold: above 0 the model is of more use than to call nobody",
        _net_benefit,
        "net benefit",
        signed=True,
    ),
    Metric(
        "accuracy",
        "accuracy",
        "the share that is called right; compare it with always giving the more frequent answer",
        lambda of: (of.tp + of.others - of.fp) / (of.events + of.others),
        "accuracy",
    ),
    Metric(
        "precision",
        "precision",
        "of those who are called, the share that has the outcome",
        lambda of: _part(of.tp, of.fp),
        "precision",
        of_the_called=True,
    ),
    Metric(
        "recall",
        "recall",
        "of those with the outcome, the share that is called",
        lambda of: _part(of.tp, of.events - of.tp),
        "recall",
    ),
    Metric(
        "f1",
        "F1",
        "the harmonic mean of precision and recall",
        lambda of: _part(2 * of.tp, of.fp + of.events - of.tp),
        "F1",
        of_the_called=True,
    ),
)
NAMES = tuple(metric.name for metric in METRICS)
