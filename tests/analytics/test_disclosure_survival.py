"""Attacks on printed survival curves; each succeeds where its rule is taken out."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analytics.disclosure import survival as rules
from analytics.disclosure.survival import (
    Lives,
    Shown,
    calibration_groups,
    list_days,
    show_curve,
    show_strata,
)

HORIZON = 1000
DAYS = list_days(HORIZON)


def draw(people: int, seed: int, hazard: float = 0.35, ends: float = 1.6) -> Lives:
    """hazard: events in the time of the horizon; follow-up ends uniformly until `ends` horizons."""
    generator = np.random.default_rng(seed)
    happens = generator.exponential(HORIZON / hazard, people)
    censored = np.minimum(generator.uniform(0, ends * HORIZON, people), HORIZON)
    return Lives(np.ceil(np.minimum(happens, censored)), happens <= censored)


def tables_of(shown: Shown, lives: Lives) -> tuple[int, ...]:
    """The secret: how many had the event until each printed time."""
    return tuple(int((lives.event & (lives.time <= point.day)).sum()) for point in shown.points)


def moved(lives: Lives) -> Iterator[Lives]:
    """What else may have happened: everything that differs in one person of each kind."""
    for time, event in rules._neighbours(lives, DAYS):
        yield from (Lives(*one) for one in zip(time, event, strict=True))


def left_to_guess(lives: Lives, shown: Shown, enough: int = 5) -> int:
    """How many tables, up to `enough`, would have been printed like this, for whoever runs this code
    on everything that may have happened.
    """
    tables = {tables_of(shown, lives)}
    for other in moved(lives):
        alike = rules._tabulate(other.time[None], other.event[None], DAYS)
        if tables_of(shown, other) in tables:
            continue
        if rules._print(alike, 0, shown.step, DAYS) == shown == show_curve(other, HORIZON):
            tables.add(tables_of(shown, other))
            if len(tables) == enough:
                break
    return len(tables)


@pytest.mark.parametrize(("people", "seed"), [(100, 6), (150, 4), (600, 1)])
def test_at_least_five_tables_are_left(people: int, seed: int) -> None:
    lives = draw(people, seed)
    shown = show_curve(lives, HORIZON)
    assert shown is not None
    # The step follows from the number of people, or is the next one.
    assert shown.step == {100: 10, 150: 5, 600: 1}[people]
    assert left_to_guess(lives, shown) == 5


def test_without_the_rule_fewer_tables_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = draw(80, 1)
    assert show_curve(lives, HORIZON) is None
    monkeypatch.setattr(rules, "_is_hidden", lambda *_: True)
    shown = show_curve(lives, HORIZON)
    assert shown is not None
    assert left_to_guess(lives, shown) < 5


def test_between_two_times_ten_people_leave_and_ten_stay() -> None:
    for seed in range(4):
        lives = draw(1500, seed, ends=1.02)
        shown = show_curve(lives, HORIZON)
        assert shown is not None
        left = [int((lives.time >= day).sum()) for day in (0, *(p.day for p in shown.points))]
        assert all(before - after >= 10 for before, after in pairwise(left))
        assert left[-1] >= 10
        assert shown.reaches == (shown.points[-1].day == HORIZON)


def test_no_time_says_that_nobody_had_the_event() -> None:
    lives = draw(700, 1)
    late = replace(lives, time=np.where(lives.event, np.maximum(lives.time, 450), lives.time))
    shown = show_curve(late, HORIZON)
    assert shown is not None
    assert shown.points[0].day >= 500
    assert all(0 < point.survival < 100 for point in shown.points)


def test_few_censored_people_do_not_follow_from_those_at_risk() -> None:
    """With everybody's number, survival and those at risk would give the censored back."""
    lives = draw(600, 2, ends=8)
    shown = show_curve(lives, HORIZON)
    assert shown is not None
    for point in shown.points:
        censored = int((~lives.event & (lives.time < point.day)).sum())
        assert (point.censored is None) == (censored < 10)
        assert (point.at_risk is None) == (censored < 10)
        assert (point.at_risk or 0) % 5 == (point.censored or 0) % 5 == 0


@pytest.fixture(scope="module")
def strata() -> tuple[Lives, list[tuple[str, np.ndarray]]]:
    """Three groups of 600, 500 and 8 people."""
    parts = np.split(np.arange(1108), [600, 1100])
    return draw(1108, 3), list(zip(("a", "b", "c"), parts, strict=True))


def test_a_withheld_stratum_does_not_follow_from_the_others(
    strata: tuple[Lives, list[tuple[str, np.ndarray]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lives, groups = strata
    whole = show_curve(lives, HORIZON)
    assert set(show_strata(groups, lives, HORIZON, whole)) == {"a"}
    assert show_strata(groups, lives, HORIZON, None) == {}
    # Without the rule both others are printed: all less a and b is c, but for rounding.
    monkeypatch.setattr(rules, "_follow_from_nothing", lambda *_: True)
    assert set(show_strata(groups, lives, HORIZON, whole)) == {"a", "b"}


@pytest.mark.parametrize(
    ("sizes", "shown", "hidden"),
    [
        # (people, with the event, without) of the withheld strata.
        ([(14, 12, 2), (0, 0, 0)], ["c"], False),  # an empty one hides nothing
        ([(100, 40, 60), (1, 0, 1)], ["c"], False),  # nor does a single person
        ([(16, 16, 0), (16, 16, 0)], ["c"], False),  # everybody had the event
        ([(20, 8, 12), (15, 5, 10)], ["c"], True),
        ([], ["c"], True),
    ],
)
def test_withheld_strata_must_hide_each_other(
    sizes: list[tuple[int, int, int]], shown: list[str], hidden: bool
) -> None:
    named = {f"w{at}": size for at, size in enumerate(sizes)} | {"c": (200, 80, 120)}
    curve = show_curve(draw(200, 1), HORIZON)
    assert curve is not None
    secret = named.keys() - set(shown)
    assert rules._follow_from_nothing(named, dict.fromkeys(shown, curve), secret) is hidden


@pytest.mark.parametrize(("people", "hazard"), [(9, 0.5), (200, 0.02), (40, 8.0)])
def test_few_people_events_or_others_have_no_curve(people: int, hazard: float) -> None:
    assert show_curve(draw(people, 1, hazard=hazard), HORIZON) is None


def test_calibration_has_ten_of_each_in_a_group_and_hides_its_events() -> None:
    lives = draw(400, 4, ends=3)
    generator = np.random.default_rng(1)
    risk = np.clip(0.3 + 0.05 * (lives.event - 0.3) + generator.normal(0, 0.1, 400), 0, 1)
    printed = calibration_groups(risk, lives, HORIZON)
    assert printed is not None
    step, groups = printed
    assert (step, len(groups)) == (5, 4)
    assert all(seen % step == 0 and predicted % 5 == 0 for predicted, seen in groups)
    assert groups[0][1] < groups[-1][1]
    few = draw(60, 4)
    assert calibration_groups(risk[:60], few, HORIZON) is None or few.events >= 20


def test_a_calibration_that_leaves_few_tables_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_MOVED", 0)  # as if no other table printed the same
    lives = draw(400, 4, ends=3)
    assert calibration_groups(lives.event * 0.2 + 0.1, lives, HORIZON) is None
