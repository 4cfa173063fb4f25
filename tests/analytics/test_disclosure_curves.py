"""Attack on curves by an insider who knows this file and the exact numbers of people and of events.

The attack is written independently of the product, in plain loops: for every possible table, it
computes the printed result, and excludes tables that print differently from the observed result.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pytest
from extent import extent
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.disclosure import curves as disclosure_curves
from analytics.disclosure.counts import (
    Counts,
    build_table,
    filter_counts,
    list_candidates,
    percent,
    possible_sizes,
)
from analytics.disclosure.curves import calibration_groups, roc_grid
from analytics.evaluate import Cells

Cut = tuple[tuple[int, ...], ...]  # the fifths of each group
Table = tuple[int, ...]  # events of each group


def nearest(part: int, whole: int, step: int) -> int:
    """part / whole in percent, to the nearest multiple of `step`, halves upwards."""
    return step * ((2 * 100 * part + step * whole) // (2 * step * whole))


def fifths_of(people: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(people), 5)]


def spreads(sizes: list[int], events: int) -> Iterator[Table]:
    """Every distribution of the events over the fifths."""
    if len(sizes) == 1:
        if events <= sizes[0]:
            yield (events,)
        return
    for first in range(min(sizes[0], events) + 1):
        for rest in spreads(sizes[1:], events - first):
            yield (first, *rest)


def cut_of(spread: Table, sizes: list[int]) -> Cut:
    def small(run: list[int]) -> bool:
        positives = sum(spread[at] for at in run)
        return min(positives, sum(sizes[at] for at in run) - positives) < 10

    runs: list[list[int]] = []
    for at in range(5):
        if runs and small(runs[-1]):
            runs[-1].append(at)
        else:
            runs.append([at])
    if len(runs) > 1 and small(runs[-1]):
        last = runs.pop()
        runs[-1].extend(last)
    return tuple(map(tuple, runs))


def fewer(groups: int, sizes: list[int]) -> Iterator[list[list[int]]]:
    runs = [[at] for at in range(groups)]
    while len(runs) >= 2:
        yield [list(run) for run in runs]
        pairs = [sum(sizes[at] for at in runs[n] + runs[n + 1]) for n in range(len(runs) - 1)]
        first = pairs.index(min(pairs))
        runs[first] += runs.pop(first + 1)


@cache
def what_is_printed(people: int, events: int, needed: int = 5) -> dict[Cut, dict[Table, Any]]:
    """By cut and events of its groups: (step, observed percents), if printed."""
    sizes, tables = fifths_of(people), defaultdict(set)
    for spread in spreads(sizes, events):
        cut = cut_of(spread, sizes)
        tables[cut].add(tuple(sum(spread[at] for at in run) for run in cut))
    by_cut: dict[Cut, dict[Table, Any]] = {}
    for cut, every in tables.items():
        wide = [sum(sizes[at] for at in run) for run in cut]
        printed: dict[Table, Any] = {}
        for runs in fewer(len(cut), wide):
            for step in (5, 10, 20):
                sums, shown = {}, {}
                for table in every - printed.keys():
                    sums[table] = tuple(sum(table[at] for at in run) for run in runs)
                    people_in = [sum(wide[at] for at in run) for run in runs]
                    shown[table] = (
                        step,
                        tuple(map(nearest, sums[table], people_in, [step] * len(runs))),
                    )
                different = Counter(
                    shown[table] for table in {sums[table]: table for table in sums}.values()
                )
                printed |= {
                    table: percents
                    for table, percents in shown.items()
                    if different[percents] >= needed
                }
        by_cut[cut] = printed
    return by_cut


def printed_calibration(spread: Table, people: int) -> Any:
    """The calibration that the product prints for a cohort with these events per fifth of predicted
    probability."""
    event = np.concatenate(
        [
            np.arange(size) < positives
            for positives, size in zip(spread, fifths_of(people), strict=True)
        ]
    )
    probabilities = np.linspace(0.1, 0.9, people)[None, :]
    calibration = calibration_groups(
        probabilities, event.astype(np.int64), Counts(people + 20, None, sum(spread))
    )
    return (
        None
        if calibration is None
        else (calibration[0], tuple(observed for _, observed in calibration[1]))
    )


def some_spreads(people: int, events: int, number: int, seed: int) -> list[Table]:
    generator = np.random.default_rng(seed)
    every = [
        spread
        for spread in spreads(fifths_of(people), events)
        if len(cut_of(spread, fifths_of(people))) > 1
    ]
    return [every[at] for at in generator.choice(len(every), number)]


@pytest.mark.campaign
@pytest.mark.parametrize(("people", "events"), [(100, 30), (189, 35), (120, 40)][: extent(2, 3)])
def test_no_calibration_is_printed_that_fewer_than_five_tables_share(
    people: int, events: int
) -> None:
    steps = set()
    for spread in some_spreads(people, events, extent(40, 120), 1):
        cut = cut_of(spread, fifths_of(people))
        table = tuple(sum(spread[at] for at in run) for run in cut)
        calibration, printed = (
            printed_calibration(spread, people),
            what_is_printed(people, events)[cut],
        )
        assert calibration == printed.get(table)
        if calibration is not None:
            steps.add(calibration[0])
            assert len({table for table, shown in printed.items() if shown == calibration}) >= 5
    assert steps


def test_possible_events_of_a_group_follow_from_its_construction() -> None:
    sizes = [20] * 5
    first, last = set(), set()
    for positives in product(range(21), repeat=3):
        if cut_of((*positives, 10, 10), sizes)[0] == (0, 1, 2):
            first.add(sum(positives))
        if cut_of((10, 10, *positives), sizes)[-1] == (2, 3, 4):
            last.add(sum(positives))
    assert set(np.flatnonzero(disclosure_curves._totals([20] * 3, False))) == first
    assert set(np.flatnonzero(disclosure_curves._totals([20] * 3, True))) == last
    assert first < last


def test_without_counting_tables_a_calibration_reveals_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The calibration of GSE7390 without the rule: only one table fits."""
    spread = (0, 6, 9, 10, 10)
    assert printed_calibration(spread, 189) == (10, (10, 30, 30))
    monkeypatch.setattr(disclosure_curves, "CANDIDATES_NEEDED", 1)
    assert printed_calibration(spread, 189) == (5, (15, 25, 25))
    printed = what_is_printed(189, 35, needed=1)[(0, 1, 2), (3,), (4,)]
    assert [table for table, shown in printed.items() if shown == (5, (15, 25, 25))] == [
        (15, 10, 10)
    ]


def test_the_calibrations_of_the_real_run_leave_five_tables(gse_metrics: dict[str, Any]) -> None:
    calibrations = [
        curve["calibration"] for curve in gse_metrics["curves"] if "calibration" in curve
    ]
    assert len(calibrations) >= 2  # of the third no level leaves five tables
    for calibration in calibrations:
        expected = (calibration["step"], tuple(observed for _, observed in calibration["groups"]))
        cuts = [
            [table for table, shown in printed.items() if shown == expected]
            for printed in what_is_printed(189, 35).values()
        ]
        assert sum(map(len, cuts)) >= 5
        assert all(observed % calibration["step"] == 0 for _, observed in calibration["groups"])


def test_uncountable_calibrations_are_finest_level_or_withheld(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disclosure_curves, "MOST_TABLES", 10)
    assert printed_calibration((0, 6, 9, 10, 10), 189) is None
    assert printed_calibration((20, 40, 60, 80, 100), 1000) == (5, (10, 20, 30, 40, 50))


def possible_of(events: int) -> set[int]:
    return set(range(events - 2, events + 3))


def curves_of(events: int, points: int) -> dict[tuple[int, ...], list[Table]]:
    """By printed curve, every pass that prints it; () is withheld."""
    possible, by_curve = possible_of(events), defaultdict(list)
    for passes in combinations_with_replacement(range(events + 1), points):
        drawn = disclosure_curves._round_rates(np.array(passes) / events, events, possible)
        by_curve[tuple(drawn.shown) if drawn else ()].append(passes)
    return by_curve


@pytest.mark.parametrize(("events", "points"), [(14, 3), (20, 3), (35, 2), (60, 1), (90, 1)])
def test_no_curve_is_printed_that_fewer_than_five_passes_share(events: int, points: int) -> None:
    by_curve = curves_of(events, points)
    withheld = by_curve.pop((), [])
    assert len(withheld) * 5 < sum(map(len, by_curve.values()))
    for passes in by_curve.values():
        assert len(passes) >= 5
        assert all(len(set(counts)) >= 2 for counts in zip(*passes, strict=True))


def test_without_counting_passes_a_curve_reveals_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure_curves, "LEAST_TABLES", 1)
    assert min(len(passes) for shown, passes in curves_of(35, 2).items() if shown) >= 5
    monkeypatch.setattr(disclosure_curves, "_curves_that_fit", lambda *_: 5)
    assert min(len(passes) for shown, passes in curves_of(35, 2).items() if shown) < 5


def matrices_behind(events: int, negatives: int) -> list[int]:
    """Of every row and curve that are printed together: how many matrices of the row lie on a pass
    that is printed as the curve. All passes are the same, and she knows it."""
    grid, people = np.arange(25, 100, 25), events + negatives
    rows, printed = defaultdict(list), {}
    for tp, fp in product(range(events + 1), range(negatives + 1)):
        table = build_table(
            {"a": Cells(tp, fp, events - tp, negatives - fp)}, people=people, events=events
        )
        if table:
            rows[table["a"].step, *table["a"].metrics.items()].append((tp, fp))
            printed[table["a"].step, *table["a"].metrics.items()] = table["a"]
    fitting = []
    for curve, passes in curves_of(events, len(grid)).items():
        drawn = curve and disclosure_curves._round_rates(
            np.array(passes[0]) / events, events, possible_of(events)
        )
        for name, row in rows.items() if drawn else ():
            if disclosure_curves._hides_row(
                drawn, grid, list_candidates(printed[name], people, events)
            ):
                fitting.append(
                    sum(
                        any(lies_on(curve_pass, tp, fp / negatives) for curve_pass in passes)
                        for tp, fp in row
                    )
                )
    return fitting


def lies_on(passes: Table, tp: int, rate: float) -> bool:
    """Whether the curve that rises by these true positives at 25, 50 and 75 % goes through (rate,
    tp)."""
    return all(
        count <= tp if x < rate else count >= tp
        for x, count in zip((0.25, 0.5, 0.75), passes, strict=True)
    )


def test_a_row_and_the_curve_beside_it_leave_five_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = matrices_behind(10, 40)
    assert len(counts) > 100
    assert min(counts) >= 5
    monkeypatch.setattr(disclosure_curves, "_hides_row", lambda *_: True)
    # Some fit no pass at all: their passes differed.
    assert min(n for n in matrices_behind(10, 40) if n) < 5


def test_a_curve_has_at_least_ten_people_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    event = np.array([1] * 40 + [0] * 30)
    probabilities = generator.random((10, 70)) + 0.3 * event
    sizes = [(70 + n, 40 + n) for n in range(-2, 3)]
    roc = roc_grid(probabilities, event, sizes)
    assert [x for x, _ in roc] == [0, 50, 100]
    assert roc_grid(probabilities, event, []) == []
    assert roc_grid(probabilities, event, [(50, 41), *sizes]) == []
    monkeypatch.setattr(disclosure_curves, "SMALLEST_COUNT", 1)
    assert (roc_grid(probabilities, event, sizes)[1][0] - 0) * 30 < 10 * 100


def test_without_the_point_rule_a_curve_reveals_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = np.array([1] * 12 + [0] * 120)
    probabilities = np.random.default_rng(3).random((10, 132)) + 0.2 * event
    sizes = [(132, 12)]
    # No step of 5, 10 or 20 % leaves five of 13 possible counts.
    assert roc_grid(probabilities, event, sizes) == []
    monkeypatch.setattr(disclosure_curves, "CANDIDATES_NEEDED", 1)
    curve = roc_grid(probabilities, event, sizes)
    assert any(sum(nearest(tp, 12, 20) == y for tp in range(13)) < 5 for _, y in curve[1:-1])


def test_the_grid_of_a_curve_depends_only_on_printed_counts() -> None:
    """Otherwise its width would reveal whether more than 100 people have no event."""
    generator = np.random.default_rng(2)
    for people in (148, 149, 150, 151):
        counts = filter_counts(granted=200, people=people, events=50)
        event = np.array([1] * 50 + [0] * (people - 50))
        sizes = possible_sizes(counts, {})
        assert counts.people == 150
        assert [x for x, _ in roc_grid(generator.random((10, people)), event, sizes)] == [
            0,
            20,
            40,
            60,
            80,
            100,
        ]


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 60), st.integers(10, 120), st.floats(0, 3), st.integers(0, 2**32 - 1))
def test_calibration_groups_hold_ten_people_of_both_outcomes(
    events: int, negatives: int, signal: float, seed: int
) -> None:
    event = np.array([1] * events + [0] * negatives)
    noise = np.random.default_rng(seed).normal(size=(2, events + negatives))
    probabilities = 1 / (1 + np.exp(-(noise + signal * event)))
    calibration = calibration_groups(probabilities, event, Counts(200, None, events))
    if calibration is not None:
        step, groups = calibration
        smallest = [
            min(min(event[part].sum(), (1 - event[part]).sum()) for part in parts)
            for parts in cuts_that_fit(groups, step, probabilities, event)
        ]
        assert len(groups) > 1
        assert max(smallest) >= 10
    assert calibration_groups(probabilities, event, Counts(200, None, None)) is None


def cuts_that_fit(
    groups: list[tuple[int, int]], step: int, probabilities: np.ndarray, event: np.ndarray
) -> list[list[np.ndarray]]:
    """Every way of joining fifths that would be printed as these groups."""
    fifths = np.array_split(np.argsort(probabilities.mean(axis=0), kind="stable"), 5)
    mean, fitting = probabilities.mean(axis=0), []
    for choice in range(2**4):
        parts = [fifths[0]]
        for at, fifth in enumerate(fifths[1:]):
            parts = (
                [*parts, fifth]
                if choice >> at & 1
                else [*parts[:-1], np.concatenate([parts[-1], fifth])]
            )
        printed = [
            (percent(float(mean[part].mean()), 5), nearest(int(event[part].sum()), len(part), step))
            for part in parts
        ]
        if printed == groups:
            fitting.append(parts)
    return fitting


def test_without_the_group_rule_calibration_groups_are_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = (np.arange(100) % 8 == 0).astype(np.int64)
    probabilities = np.linspace(0.9, 0.1, 100)[None, :]
    assert calibration_groups(probabilities, event, Counts(200, 100, 10)) is None
    monkeypatch.setattr(disclosure_curves, "SMALLEST_COUNT", 1)
    assert calibration_groups(probabilities, event, Counts(200, 100, 10)) is not None
