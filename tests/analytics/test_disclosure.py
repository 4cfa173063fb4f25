"""Attacks on printed counts and metrics, independent of the product, in integer loops.

Two attackers read a printed result. The *outsider* knows the ledger's count and everything printed,
and combines the rows, which share one cohort. The *insider* also knows the exact size and the
product's rule, and excludes every matrix that would have been printed at a finer level.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.disclosure import counts as disclosure
from analytics.disclosure.counts import (
    CANDIDATES_NEEDED,
    Counts,
    baseline_at_most,
    build_table,
    count_candidates,
    filter_counts,
    filter_flow,
    filter_variants,
    genomic_bound,
    least_people,
    percent,
    plausible_sizes,
    share,
)
from analytics.disclosure.record import describe_genomic, describe_metrics
from analytics.disclosure.rounding import round_count
from analytics.evaluate import Cells, metrics_of
from analytics.run import Result

NAMES = ("accuracy", "precision", "recall", "f1", "balanced_accuracy")
LEVELS = [
    (1, NAMES),
    (2, NAMES),
    (5, NAMES),
    (5, ("accuracy", "balanced_accuracy")),
    (1, ("accuracy",)),
]
Matrix = tuple[int, int, int, int]  # true and false positives, false and true negatives


def nearest(part: int, whole: int, step: int) -> int:
    """part / whole in percent, to the nearest multiple of `step`, halves upwards."""
    return step * ((2 * 100 * part + step * whole) // (2 * step * whole))


def print_metrics(matrix: Matrix, step: int) -> dict[str, int]:
    tp, fp, fn, tn = matrix
    positives, negatives = tp + fn, tn + fp
    return {
        "accuracy": nearest(tp + tn, positives + negatives, step),
        "precision": nearest(tp, tp + fp, step) if tp + fp else 0,
        "recall": nearest(tp, positives, step),
        "f1": nearest(2 * tp, 2 * tp + fp + fn, step),
        "balanced_accuracy": nearest(
            tp * negatives + tn * positives, 2 * positives * negatives, step
        ),
    }


def matrices(people: int, events: int) -> Iterator[Matrix]:
    for tp in range(events + 1):
        for fp in range(people - events + 1):
            yield tp, fp, events - tp, people - events - fp


def attack(metrics: Mapping[str, int], step: int, people: int, events: int) -> list[Matrix]:
    """Every matrix whose metrics print as these do."""
    fitting = []
    for matrix in matrices(people, events):
        if "recall" in metrics and nearest(matrix[0], events, step) != metrics["recall"]:
            continue
        if nearest(matrix[0] + matrix[3], people, step) != metrics["accuracy"]:
            continue
        printed = print_metrics(matrix, step)
        if all(printed[name] == value for name, value in metrics.items()):
            fitting.append(matrix)
    return fitting


Rule = Callable[[int, int], int]
Printed = tuple[int, tuple[tuple[str, int], ...]]  # level and what it prints


def strict(every: int, unstruck: int) -> int:
    """The rule of the product: only matrices that no finer level prints count."""
    return unstruck


def careless(every: int, unstruck: int) -> int:
    """A weaker rule without the exclusion of finer levels."""
    return every


@cache
def what_is_printed(
    people: int, events: int, needed: int = 5, rule: Rule = strict
) -> dict[Matrix, Printed]:
    """For each printed matrix: its level and printed metrics."""
    printed: dict[Matrix, Printed] = {}
    everything = list(matrices(people, events))
    for level, (step, names) in enumerate(LEVELS):
        shown = {
            m: tuple((name, print_metrics(m, step)[name]) for name in names) for m in everything
        }
        every = Counter(shown.values())
        unstruck = Counter(metrics for m, metrics in shown.items() if m not in printed)
        for m, metrics in shown.items():
            if m not in printed and rule(every[metrics], unstruck[metrics]) >= needed:
                printed[m] = (level, metrics)
    return printed


def insider(
    shown: Any, people: int, events: int, needed: int = 5, rule: Rule = strict
) -> list[Matrix]:
    """Every matrix that would have been printed exactly like this row."""
    printed_metrics = {name: shown.metrics[name] for name in NAMES if name in shown.metrics}
    level = LEVELS.index((shown.step, tuple(printed_metrics)))
    wanted = (level, tuple(printed_metrics.items()))
    return [
        m
        for m, printed in what_is_printed(people, events, needed, rule).items()
        if printed == wanted
    ]


@pytest.mark.parametrize(
    ("count", "printed"), [(0, None), (9, None), (10, 10), (12, 10), (13, 15), (189, 190)]
)
def test_small_counts_are_suppressed_and_others_rounded(count: int, printed: int | None) -> None:
    assert round_count(count) == printed


def test_a_small_group_left_out_suppresses_the_people_count() -> None:
    assert filter_counts(granted=198, people=189, events=35).people is None
    assert filter_counts(granted=198, people=198, events=35).people is None
    assert filter_counts(granted=198, people=188, events=35).people == 190


def test_a_small_outcome_suppresses_the_baseline() -> None:
    for events in (9, 91):
        counts = filter_counts(granted=200, people=100, events=events)
        assert (counts, baseline_at_most(counts)) == (Counts(200, 100, None), None)
    counts = filter_counts(granted=400, people=300, events=12)
    assert (counts, baseline_at_most(counts)) == (Counts(400, 300, 10), 97)


def test_if_rounding_hides_nothing_the_events_are_suppressed() -> None:
    assert filter_counts(granted=60, people=50, events=38) == Counts(60, 50, 40)
    counts = filter_counts(granted=20, people=20, events=10)
    assert (counts, baseline_at_most(counts)) == (Counts(20, None, None), None)


def as_printed(granted: int, people: int, events: int) -> tuple[int | None, ...]:
    counts = filter_counts(granted=granted, people=people, events=events)
    return counts.people, counts.events, baseline_at_most(counts)


def exact_share(granted: int, people: int, events: int) -> tuple[int | None, ...]:
    """As the baseline was printed before: a whole percent of the exact numbers."""
    counts = filter_counts(granted=granted, people=people, events=events)
    return counts.people, counts.events, nearest(max(events, people - events), people, 1)


@pytest.mark.parametrize(("granted", "people"), [(120, 120), (130, 120), (200, 189), (400, 300)])
def test_who_knows_the_people_reads_no_events_out_of_the_baseline(
    granted: int, people: int
) -> None:
    """Often all of `granted` were analysed, and then the reader knows how many."""
    shown = {events: as_printed(granted, people, events) for events in range(10, people - 9)}
    for events, printed in shown.items():
        assert printed[2] is not None
        assert max(events, people - events) * 100 <= printed[2] * people
        same = [one for one, other in shown.items() if other == printed]
        # Nothing but the rounding of the events tells them apart.
        assert same == [one for one, other in shown.items() if other[1] == printed[1]]
        assert len(same) == 5 or {10, people - 10} & set(same)


def test_the_exact_share_would_tell_the_events() -> None:
    told = exact_share(120, 120, 55)
    assert told[1:] == (55, 54)
    assert [one for one in range(10, 111) if exact_share(120, 120, one) == told] == [55]


def outsiders_sizes(printed: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Every (people, events) that prints like this; `printed` lacks suppressed counts."""
    granted = printed["granted"]
    sizes = []
    for people in range(20, granted + 1):
        for events in range(10, people - 9):
            shown_people = 5 * ((people + 2) // 5) if granted - people >= 10 else None
            if (shown_people, 5 * ((events + 2) // 5)) != (
                printed.get("people"),
                printed["events"],
            ):
                continue
            sizes.append((people, events))
    largest = max((max(events, n - events) / n for n, events in sizes), default=0.0)
    # It follows from the counts, so it excludes none of these.
    assert printed.get("baseline") in (None, math.ceil(round(100 * largest, 9)))
    return sizes


SIZES = st.integers(20, 250).flatmap(
    lambda granted: st.integers(max(20, granted - 30), granted).flatmap(
        lambda people: st.tuples(st.just(granted), st.just(people), st.integers(0, people))
    )
)


@settings(max_examples=80, deadline=None)
@given(SIZES)
def test_printed_counts_leave_five_sizes_including_the_true_one(
    sizes: tuple[int, int, int],
) -> None:
    granted, people, events = sizes
    counts = filter_counts(granted=granted, people=people, events=events)
    printed = {
        "granted": granted,
        "people": counts.people,
        "events": counts.events,
        "baseline": baseline_at_most(counts),
    }
    if counts.events is None:
        assert printed["baseline"] is None
        assert plausible_sizes(counts) == []
        return
    plausible = outsiders_sizes(printed)
    assert (people, events) in plausible
    assert plausible_sizes(counts) == plausible
    assert len(plausible) >= 5
    assert least_people(counts) <= people


@pytest.mark.parametrize(
    "cells", [(8, 14, 27, 140), (0, 0, 35, 154), (0, 3, 35, 151), (35, 0, 0, 154), (1, 150, 34, 4)]
)
@pytest.mark.parametrize(("step", "names"), LEVELS)
def test_the_product_counts_what_the_attacker_finds(
    cells: Matrix, step: int, names: tuple[str, ...]
) -> None:
    row = {name: print_metrics(cells, step)[name] for name in names}
    assert row["accuracy"] == percent(metrics_of(Cells(*cells))[0], step)
    fitting = attack(row, step, 189, 35)
    assert cells in fitting
    assert count_candidates(row, step, 189, 35) == len(fitting)


def test_unrounded_percents_of_one_pass_reveal_the_cells() -> None:
    """The reason for the levels: printed in whole percents, these metrics leave a single matrix."""
    assert len(attack(print_metrics((8, 14, 27, 140), 1), 1, 189, 35)) == 1


def test_a_row_is_printed_at_the_finest_level_that_five_matrices_share() -> None:
    summed = {"a": Cells(80, 140, 270, 1400), "b": Cells(0, 10, 350, 1530)}
    table = build_table(summed, people=189, events=35)
    assert {name: (row.step, tuple(row.metrics)) for name, row in table.items()} == {
        "a": LEVELS[3],
        "b": LEVELS[2],
    }
    assert all(len(insider(row, 189, 35)) >= CANDIDATES_NEEDED for row in table.values())
    large = build_table({"a": Cells(5400, 1300, 1600, 6700)}, people=1500, events=700)
    assert (large["a"].step, tuple(large["a"].metrics)) == LEVELS[0]
    assert len(attack(large["a"].metrics, 1, 1500, 700)) >= CANDIDATES_NEEDED


def test_a_row_is_printed_the_same_beside_any_other_rows() -> None:
    cells = Cells(80, 140, 270, 1400)
    others = {f"r{n}": Cells(10 * n, 140, 350 - 10 * n, 1400) for n in range(17)}
    alone = build_table({"a": cells}, people=189, events=35)["a"]
    assert build_table({**others, "a": cells}, people=189, events=35)["a"] == alone


def test_a_small_cohort_withholds_the_row_rather_than_the_rule() -> None:
    assert build_table({"genes": Cells(100, 0, 0, 100)}, people=20, events=10) == {}


def test_nothing_about_thresholds_is_printed_with_a_small_outcome() -> None:
    summed = {"logistic/genes": Cells(20, 100, 70, 1700), "svm/genes": Cells(0, 0, 90, 1800)}
    for events in (9, 180):
        assert build_table(summed, people=189, events=events) == {}
    counts = filter_counts(granted=200, people=189, events=9)
    reasons = json.dumps(describe_metrics(counts, {}, list(summed), [], 10)["withheld"])
    assert "an outcome has fewer than 10 people" in reasons


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_row_is_ever_printed_that_fewer_than_five_matrices_share(data: st.DataObject) -> None:
    events = data.draw(st.integers(1, 40))
    people = events + data.draw(st.integers(1, 60))
    repeats = data.draw(st.integers(10, 50))
    summed = {}
    for number in range(data.draw(st.integers(0, 18))):
        tp, tn = (
            data.draw(st.integers(0, events * repeats)),
            data.draw(st.integers(0, (people - events) * repeats)),
        )
        summed[f"row{number}"] = Cells(
            tp, (people - events) * repeats - tn, events * repeats - tp, tn
        )
    table = build_table(summed, people=people, events=events)
    if min(events, people - events) < 10:
        assert table == {}
    for name, shown in table.items():
        cells = summed[name]
        printed = print_metrics((cells.tp, cells.fp, cells.fn, cells.tn), shown.step)
        assert shown.metrics == {metric: printed[metric] for metric in shown.metrics}
        assert len(insider(shown, people, events)) >= 5


def one_pass(people: int, events: int) -> dict[str, Cells]:
    """Rows of every tenth matrix, as ten equal repeats."""
    return {
        str(at): Cells(*(10 * n for n in m))
        for at, m in enumerate(matrices(people, events))
        if at % 10 == 0
    }


def test_with_a_smaller_number_of_matrices_the_attack_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disclosure, "CANDIDATES_NEEDED", 1)
    table = build_table(one_pass(100, 30), people=100, events=30)
    assert min(len(insider(shown, 100, 30, needed=1)) for shown in table.values()) == 1


def test_without_excluding_finer_levels_the_attack_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attacker who knows that finer levels come first excludes the matrices that pass there."""

    def counts_everything(people: int, events: int) -> list[np.ndarray]:
        tp, fp = np.indices((events + 1, people - events + 1)).reshape(2, -1)
        all_matrices = np.stack([tp, fp, events - tp, people - events - fp])
        printable = []
        for step, names in disclosure.LEVELS:
            keys, counts = np.unique(
                disclosure._keys(disclosure._percents(all_matrices, step), names),
                return_counts=True,
            )
            printable.append(keys[counts >= 5])
        return printable

    safe = build_table(one_pass(100, 30), people=100, events=30)
    assert min(len(insider(shown, 100, 30)) for shown in safe.values()) >= 5
    monkeypatch.setattr(disclosure, "_printable", counts_everything)
    table = build_table(one_pass(100, 30), people=100, events=30)
    left = {name: insider(shown, 100, 30, rule=careless) for name, shown in table.items()}
    betrayed = min(left, key=lambda name: len(left[name]))
    assert (
        len(left[betrayed])
        < 5
        <= len(attack(table[betrayed].metrics, table[betrayed].step, 100, 30))
    )


def test_every_printed_row_of_the_real_run_survives_the_outsider(
    gse_metrics: dict[str, Any],
) -> None:
    rows = [
        ({name: row[name] for name in NAMES if name in row}, row["step"])
        for row in gse_metrics["rows"]
        if "accuracy" in row
    ]
    assert len(rows) == 9
    sizes = outsiders_sizes(gse_metrics)
    assert (189, 35) in sizes
    fitting = {size: [attack(metrics, step, *size) for metrics, step in rows] for size in sizes}
    possible = [size for size in sizes if all(fitting[size])]
    assert len(possible) >= 5
    for at in range(len(rows)):
        assert sum(len(fitting[size][at]) for size in possible) >= 5


def test_every_printed_row_of_the_real_run_survives_the_insider(
    gse_metrics: dict[str, Any],
) -> None:
    printed = Counter(what_is_printed(189, 35).values())
    for row in gse_metrics["rows"]:
        metrics = tuple((name, row[name]) for name in NAMES if name in row)
        level = LEVELS.index((row["step"], tuple(name for name, _ in metrics)))
        assert printed[level, metrics] >= 5


def test_every_point_of_every_curve_of_the_real_run_survives(gse_metrics: dict[str, Any]) -> None:
    sizes = outsiders_sizes(gse_metrics)
    fewest_controls, events = min(n - e for n, e in sizes), {e for _, e in sizes}
    assert len(gse_metrics["curves"]) == 9
    for curve in gse_metrics["curves"]:
        assert (curve["roc"][0], curve["roc"][-1]) == ([0, 0], [100, 100])
        step = next(s for s in (20, 10, 5) if all(y % s == 0 for _, y in curve["roc"]))
        for (x, y), (following, _) in pairwise(curve["roc"]):
            assert (following - x) * fewest_controls >= 10 * 100
            if x:
                assert sum(nearest(tp, e, step) == y for e in events for tp in range(e + 1)) >= 5
    groups = [
        curve["calibration"]["groups"] for curve in gse_metrics["curves"] if "calibration" in curve
    ]
    assert 2 <= len(groups) <= 3  # svm and knn have no calibrated probabilities
    for group in groups:
        assert 2 <= len(group) <= 3  # 35 events make at most three groups of ten
        assert all(value % 5 == 0 for pair in group for value in pair)


FLOWS = st.integers(20, 400).flatmap(
    lambda granted: st.tuples(
        st.just(granted), st.lists(st.integers(0, 60), min_size=1, max_size=6)
    )
)


@settings(max_examples=200, deadline=None)
@given(FLOWS)
def test_no_printed_step_of_a_flow_left_out_fewer_than_ten(drawn: tuple[int, list[int]]) -> None:
    granted, losses = drawn
    left = [granted]
    for loss in losses:
        left.append(max(0, left[-1] - loss))
    flow = [(f"step {at}", people) for at, people in enumerate(left[1:])]
    exact = dict(flow)
    printed = filter_flow(granted, flow)
    before = granted
    for names, people in printed:
        after = exact[names.split(", ")[-1]]
        assert before - after >= 10
        assert people == round_count(after)
        before = after
    shown = filter_counts(granted=granted, people=left[-1], events=0).people
    final = [people for names, people in printed if names.endswith(flow[-1][0])]
    assert final == ([] if shown is None else [shown])


def test_without_merging_a_flow_would_reveal_small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = [("a", 196), ("b", 120), ("c", 117)]
    assert filter_flow(200, flow) == [("a, b, c", 115)]
    monkeypatch.setattr(disclosure, "SMALLEST_COUNT", 1)
    assert filter_flow(200, flow) == [("a", 195), ("b", 120), ("c", 115)]


def test_numbers_of_variants_are_rounded_like_people() -> None:
    assert filter_variants(393, (("not-passed", 7), ("call-rate", 12))) == {
        "used": 395,
        "left_out": [{"rule": "call-rate", "variants": 10}],
    }
    assert filter_variants(9, ()) == {"left_out": []}


@settings(max_examples=200)
@given(st.integers(0, 100_000))
def test_the_genomic_bound_is_never_exceeded(people: int) -> None:
    assert genomic_bound(people) * 1000 <= 128 * people
    assert (genomic_bound(people) + 1) * 1000 > 128 * people


def test_the_record_lists_what_was_done_without_candidate_counts(
    gse_result: Result, gse_metrics: dict[str, Any]
) -> None:
    record = json.loads(gse_result.disclosure)
    assert record["type"] == "volens/disclosure/1"
    assert (record["statistic_class"], record["statistics"], record["people"]) == (
        "metrics",
        0,
        198,
    )
    withheld = [item["what"] for item in record["withheld"]]
    assert "people" in withheld
    assert "people" not in gse_metrics
    assert [what for what in withheld if what.startswith("model file")] == [
        f"model file: {model}" for model in ("knn", "logistic", "svm")
    ]
    # The number of matrices at the exact size would reveal the size.
    assert {rule["rule"]: rule for rule in record["rules"]}["matrix count"] == {
        "rule": "matrix count",
        "at_least": 5,
    }
    coarsened = [item["what"] for item in record["coarsened"]]
    printed = {f"{row['model']}/{row['feature_set']}": row for row in gse_metrics["rows"]}
    for name, row in printed.items():
        missing = [metric for metric in NAMES if metric not in row]
        assert bool(missing) == any(what == f"{', '.join(missing)}: {name}" for what in withheld)
        assert (row["step"] > 1) == (f"threshold metrics: {name}" in coarsened)
    for curve in gse_metrics["curves"]:
        name, calibration = f"{curve['model']}/{curve['feature_set']}", curve.get("calibration")
        assert (f"roc: {name}" in withheld) == ("roc" not in curve)
        assert (f"calibration: {name}" in withheld) == (
            calibration is None and curve["model"] == "logistic"
        )
        assert (f"calibration: {name}" in coarsened) == (
            calibration is not None and calibration["step"] > 5
        )


def test_the_record_of_variants_counts_them() -> None:
    counts = filter_counts(granted=300, people=200, events=80)
    record = describe_genomic(counts, 10, 2, 25)
    assert (record["statistic_class"], record["statistics"], record["people"]) == (
        "genomic",
        10,
        300,
    )
    assert "2 variants" in json.dumps(record["withheld"])


def test_the_record_lists_coarsened_and_withheld_sites() -> None:
    counts = filter_counts(granted=300, people=200, events=200)
    sites = [
        {"variant": "1:1:A>G", "frequency": 20, "step": 1, "carriers": 70},
        {"variant": "1:2:A>G"},
        {"variant": "1:3:A>G", "frequency": 20, "step": 2, "carriers": 70},
        {"variant": "1:4:A>G", "frequency": 20, "step": 1},
    ]
    record: Any = describe_genomic(counts, 8, 0, 25, sites)
    assert [(entry["what"], entry["step"]) for entry in record["coarsened"]] == [
        ("frequency: 1:3:A>G", 2)
    ]
    assert [entry["what"] for entry in record["withheld"]] == [
        "frequency, carriers: 1:2:A>G",
        "carriers: 1:4:A>G",
    ]


@pytest.mark.parametrize(
    ("part", "whole", "step", "printed"),
    [(115, 200, 1, 58), (1, 40, 5, 5), (7, 40, 5, 20), (29, 200, 1, 15)],
)
def test_ties_of_counts_round_upwards(part: int, whole: int, step: int, printed: int) -> None:
    assert share(part, whole, step) == printed


@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([1, 2, 5, 10, 20]))
def test_shares_are_rounded_as_the_attacker_rounds(part: int, whole: int, step: int) -> None:
    assert share(part, whole, step) == nearest(part, whole, step)
