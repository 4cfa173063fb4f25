"""Printed survival curves: which times, steps and counts, from perturbed cells."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from quiet import NOISE, QUIET, subjects

from analytics.disclosure.survival import (
    Lives,
    Shown,
    calibration_groups,
    list_days,
    show_curve,
    show_strata,
)
from analytics.survival import kaplan_meier

HORIZON = 1000


def draw(people: int, seed: int, hazard: float = 0.35, ends: float = 1.6) -> Lives:
    """hazard: events in the time of the horizon; follow-up ends uniformly until `ends` horizons."""
    generator = np.random.default_rng(seed)
    happens = generator.exponential(HORIZON / hazard, people)
    censored = np.minimum(generator.uniform(0, ends * HORIZON, people), HORIZON)
    return Lives(np.ceil(np.minimum(happens, censored)), happens <= censored, subjects(people))


def printed(lives: Lives) -> Shown:
    shown = show_curve(NOISE, lives, HORIZON)
    assert shown is not None
    return shown


@pytest.mark.parametrize(("people", "step", "parts"), [(120, 5, 5), (300, 2, 5), (1000, 1, 10)])
def test_step_and_times_follow_from_the_number_of_people(
    people: int, step: int, parts: int
) -> None:
    shown = printed(draw(people, 4))
    assert shown.step == step
    assert {point.day for point in shown.points} <= set(list_days(HORIZON, people).tolist())
    assert len(list_days(HORIZON, people)) == parts


def test_without_noise_the_life_table_is_near_the_exact_curve() -> None:
    lives = draw(3000, 1)
    shown = show_curve(QUIET, lives, HORIZON)
    assert shown is not None
    exact = kaplan_meier(lives.time, lives.event)
    assert len(shown.points) == 10
    for point in shown.points:
        assert abs(point.survival - 100 * exact.at(point.day)[0]) <= 1
        assert point.low <= point.survival <= point.high


def test_intervals_count_the_noise() -> None:
    """Those of 200 people hold the exact curve, and are wider than its own."""
    inside = wider = points = 0
    for seed in range(20):
        lives = draw(200, seed)
        exact = kaplan_meier(lives.time, lives.event)
        for point in printed(lives).points:
            survival, low, high = exact.at(point.day)
            points += 1
            inside += point.low <= 100 * survival <= point.high
            wider += point.high - point.low >= 100 * (high - low)
    assert inside > 0.95 * points
    assert wider > 0.7 * points


def test_curves_fall_and_between_two_times_ten_people_leave() -> None:
    for seed in range(4):
        shown = printed(draw(1500, seed, ends=1.02))
        for before, after in pairwise(shown.points):
            assert before.survival >= after.survival
            assert (before.at_risk or 0) - (after.at_risk or 0) >= 5  # rounded to five
        assert all(point.at_risk is not None for point in shown.points)
        assert shown.reaches == (shown.points[-1].day == HORIZON)


def test_no_time_says_that_nobody_had_the_event() -> None:
    lives = draw(700, 1)
    late = replace(lives, time=np.where(lives.event, np.maximum(lives.time, 450), lives.time))
    assert all(0 < point.survival < 100 for point in printed(late).points)


def test_few_censored_people_are_not_counted() -> None:
    for point in printed(draw(600, 2, ends=8)).points:
        assert point.censored is None or point.censored >= 10
        assert (point.at_risk or 0) % 5 == (point.censored or 0) % 5 == 0


def test_a_small_stratum_is_withheld_and_does_not_follow_from_the_others() -> None:
    """All less the others is off by the noise of three numbers."""
    lives = draw(1108, 3)
    groups = list(zip(("a", "b", "c"), np.split(np.arange(1108), [600, 1100]), strict=True))
    shown = show_strata(NOISE, groups, lives, HORIZON)
    assert set(shown) == {"a", "b"}
    left = [
        NOISE.count("event", lives.who(lives.event))
        - sum(
            NOISE.count("event", lives[inside].who(lives[inside].event)) for _, inside in groups[:2]
        )
    ]
    assert abs(left[0] - int(lives[groups[2][1]].event.sum())) >= 1


@pytest.mark.parametrize(("people", "hazard"), [(9, 0.5), (200, 0.005), (30, 8.0)])
def test_few_people_events_or_others_have_no_curve(people: int, hazard: float) -> None:
    assert show_curve(NOISE, draw(people, 1, hazard=hazard), HORIZON) is None


def test_calibration_has_ten_of_each_in_a_group() -> None:
    lives = draw(400, 4, ends=3)
    generator = np.random.default_rng(1)
    risk = np.clip(0.3 + 0.05 * (lives.event - 0.3) + generator.normal(0, 0.1, 400), 0, 1)
    shown = calibration_groups(NOISE, risk, lives, HORIZON)
    assert shown is not None
    step, groups = shown
    assert step in (5, 10, 20)
    assert len(groups) >= 2
    assert all(seen % step == 0 and predicted % 5 == 0 for predicted, seen in groups)
    assert groups[0][1] < groups[-1][1]
    assert calibration_groups(NOISE, risk[:30], draw(30, 4), HORIZON) is None
