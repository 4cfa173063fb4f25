"""Printed ROC points and calibration groups."""

import numpy as np
import pytest
from quiet import NOISE, QUIET, subjects
from sklearn.metrics import roc_curve

from analytics.disclosure.counts import Sizes
from analytics.disclosure.curves import calibration_groups, curve_step, roc_grid


def draw(events: int, others: int, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(outcomes (n,), probabilities (10, n)) of a model."""
    event = np.array([1] * events + [0] * others)
    generator = np.random.default_rng(1)
    margin = generator.normal(size=events + others) + signal * event
    return event, 1 / (1 + np.exp(-margin - generator.normal(0, 0.2, (10, events + others))))


@pytest.mark.parametrize(("people", "step"), [(24, None), (25, 20), (50, 10), (100, 5), (900, 5)])
def test_a_step_holds_the_spread_of_the_noise(people: int, step: int | None) -> None:
    assert curve_step(people) == step


def test_without_noise_the_points_are_those_of_the_mean_curve() -> None:
    event, probability = draw(300, 500)
    sizes = Sizes(900, (), 800, 300)
    points = roc_grid(QUIET, "a", probability, event, subjects(800), sizes)
    assert [at for at, _ in points] == [0, 20, 40, 60, 80, 100]
    for at, rate in points[1:-1]:
        exact = [np.interp(at / 100, *roc_curve(event, row)[:2]) for row in probability]
        assert abs(rate - 100 * np.mean(exact)) <= 2.5


def test_a_curve_rises_and_has_ten_people_a_step() -> None:
    event, probability = draw(40, 30)
    points = roc_grid(NOISE, "a", probability, event, subjects(70), Sizes(90, (), 70, 40))
    assert [at for at, _ in points] == [0, 50, 100]
    event, probability = draw(20, 300, signal=0.2)
    points = roc_grid(NOISE, "a", probability, event, subjects(320), Sizes(400, (), 320, 20))
    rates = [rate for _, rate in points]
    assert rates == sorted(rates)
    assert all(rate % 20 == 0 for rate in rates)


def test_few_people_of_an_outcome_have_no_curve() -> None:
    event, probability = draw(12, 100)
    assert roc_grid(NOISE, "a", probability, event, subjects(112), Sizes(150, (), 112, 12)) == []
    event, probability = draw(100, 12)
    assert roc_grid(NOISE, "a", probability, event, subjects(112), Sizes(150, (), 112, 100)) == []


def test_two_rows_have_noise_of_their_own() -> None:
    event, probability = draw(100, 200)
    sizes = Sizes(400, (), 300, 100)
    drawn = {
        tuple(roc_grid(NOISE, name, probability, event, subjects(300), sizes)) for name in "abcdef"
    }
    assert len(drawn) > 1


def test_calibration_groups_are_large_and_near_the_truth() -> None:
    event, probability = draw(300, 500)
    shown = calibration_groups(NOISE, probability, event, subjects(800))
    assert shown is not None
    step, groups = shown
    assert (step, len(groups)) == (5, 5)
    parts = np.array_split(np.argsort(probability.mean(axis=0), kind="stable"), 5)
    for (predicted, observed), part in zip(groups, parts, strict=True):
        assert abs(predicted - 100 * probability[:, part].mean()) <= 2.5 + 9 * 100 / len(part)
        assert abs(observed - 100 * event[part].mean()) <= 100 * 15 / len(part) + 2.5
    event, probability = draw(15, 60)
    assert calibration_groups(NOISE, probability, event, subjects(75)) is None
