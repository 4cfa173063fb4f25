"""Printed counts and metrics: what is rounded, suppressed and withheld, after the noise."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quiet import NOISE, QUIET, subjects

from analytics.disclosure import counts as disclosure
from analytics.disclosure.counts import (
    Calls,
    Counts,
    Shown,
    Sizes,
    baseline_of,
    build_table,
    filter_counts,
    filter_flow,
    filter_variants,
    genomic_bound,
    least_people,
    perturb_sizes,
    share,
)
from analytics.disclosure.noise import BOUND, Noise
from analytics.disclosure.record import describe_genomic, describe_metrics
from analytics.disclosure.rounding import round_count
from analytics.evaluate import Cells, metrics_of
from analytics.metrics import NAMES
from analytics.run import Result


def nearest(part: int, total: int, step: int) -> int:
    """part / whole in percent, to the nearest multiple of `step`, halves upwards."""
    return step * ((2 * 100 * part + step * total) // (2 * step * total))


def sizes_of(granted: int, people: int, events: int) -> Sizes:
    return Sizes(granted, (("all", people),), people, events)


def table_of(noise: Noise, cells: Cells, people: int) -> dict[str, Shown]:
    """One row of one pass, by a cohort whose first people have the event."""
    ids, events = subjects(people), cells.tp + cells.fn
    called = [*ids[: cells.tp], *ids[events : events + cells.fp]]
    sizes = perturb_sizes(noise, people + 50, [("all", ids)], ids, ids[:events])
    return build_table(noise, {"a": Calls(cells, called)}, ids[:events], sizes)


@pytest.mark.parametrize(
    ("count", "printed"), [(0, None), (9, None), (10, 10), (12, 10), (13, 15), (189, 190)]
)
def test_small_counts_are_suppressed_and_others_rounded(count: int, printed: int | None) -> None:
    assert round_count(count) == printed


def test_a_small_group_left_out_suppresses_the_people_count() -> None:
    assert filter_counts(sizes_of(198, 189, 35)).people is None
    assert filter_counts(sizes_of(198, 188, 35)).people == 190


def test_a_small_outcome_suppresses_the_events() -> None:
    for events in (9, 91):
        assert filter_counts(sizes_of(200, 100, events)) == Counts(200, 100, None)
    assert filter_counts(sizes_of(400, 300, 12)) == Counts(400, 300, 10)
    assert baseline_of(sizes_of(400, 300, 12)) == 96


def test_numbers_of_a_cohort_fall_and_are_within_the_bound() -> None:
    ids = subjects(300)
    for key in range(40):
        noise = Noise(bytes([key]) * 32)
        flow = [("a", ids[:290]), ("b", ids[:288]), ("c", ids[:250])]
        sizes = perturb_sizes(noise, 300, flow, ids[:250], ids[:60])
        left = [people for _, people in sizes.flow]
        assert left == sorted(left, reverse=True)
        assert abs(sizes.people - 250) <= 2 * BOUND
        assert abs(sizes.events - 60) <= BOUND
        assert sizes.granted == 300
        counts = filter_counts(sizes)
        assert least_people(counts) <= 250


def test_without_noise_metrics_are_the_exact_ones_rounded() -> None:
    cells = Cells(80, 140, 270, 1400)
    (row,) = table_of(QUIET, cells, 1890).values()
    assert row.step == 1
    for name, exact in metrics_of(cells).items():
        assert abs(row.metrics[name] - 100 * exact) <= 0.5


@pytest.mark.parametrize(("people", "events", "step"), [(189, 35, 5), (300, 120, 2), (900, 400, 1)])
def test_a_row_is_always_printed_in_a_step_of_its_rarer_outcome(
    people: int, events: int, step: int
) -> None:
    cells = Cells(events // 2, people // 4, events - events // 2, people - events - people // 4)
    (row,) = table_of(NOISE, cells, people).values()
    assert (row.step, tuple(row.metrics)) == (step, NAMES)
    assert all(value % step == 0 and 0 <= value <= 100 for value in row.metrics.values())


def test_precision_of_few_who_are_called_positive_is_withheld() -> None:
    (row,) = table_of(QUIET, Cells(4, 5, 96, 95), 200).values()
    assert set(NAMES) - set(row.metrics) == {"precision", "f1"}
    (row,) = table_of(QUIET, Cells(5, 5, 95, 95), 200).values()
    assert set(row.metrics) == set(NAMES)


def test_a_row_is_printed_the_same_beside_any_other_rows() -> None:
    ids = subjects(189)
    sizes = perturb_sizes(NOISE, 200, [("all", ids)], ids, ids[:35])
    row = {"a": Calls(Cells(8, 14, 27, 140), ids[:22])}
    others = {f"r{n}": Calls(Cells(n, 14, 35 - n, 140), ids[:n]) for n in range(17)}
    alone = build_table(NOISE, row, ids[:35], sizes)["a"]
    assert build_table(NOISE, others | row, ids[:35], sizes)["a"] == alone


def test_nothing_about_thresholds_is_told_with_a_small_outcome() -> None:
    rows = ["logistic/genes", "svm/genes"]
    counts = filter_counts(sizes_of(200, 189, 9))
    reasons = json.dumps(describe_metrics(counts, {}, rows, [], 10)["withheld"])
    assert "an outcome has fewer than 10 people" in reasons


def test_rows_and_curves_of_the_real_run_are_printed_in_their_steps(
    gse_metrics: dict[str, Any],
) -> None:
    assert len(gse_metrics["rows"]) == len(gse_metrics["curves"]) == 9
    for row in gse_metrics["rows"]:
        assert all(row[name] % row["step"] == 0 for name in NAMES if name in row)
    for curve in gse_metrics["curves"]:
        assert (curve["roc"][0], curve["roc"][-1]) == ([0, 0], [100, 100])
        assert [x for x, _ in curve["roc"]] == [0, 20, 40, 60, 80, 100]


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
    shown = filter_counts(sizes_of(granted, left[-1], 0)).people
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


def test_the_record_says_that_there_is_noise_and_lists_what_was_coarsened(
    gse_result: Result, gse_metrics: dict[str, Any]
) -> None:
    record = json.loads(gse_result.disclosure)
    assert record["type"] == "volens/disclosure/1"
    assert (record["statistic_class"], record["statistics"], record["people"]) == (
        "metrics",
        0,
        198,
    )
    rules = {rule["rule"]: rule for rule in record["rules"]}
    assert rules["noise before rounding"]["at_most"] == 15
    withheld = [item["what"] for item in record["withheld"]]
    assert ("people" in withheld) == ("people" not in gse_metrics)
    assert [what for what in withheld if what.startswith("model file")] == [
        f"model file: {model}" for model in ("knn", "logistic", "svm")
    ]
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
    counts = filter_counts(sizes_of(300, 200, 80))
    record = describe_genomic(counts, 10, 2, 25)
    assert (record["statistic_class"], record["statistics"], record["people"]) == (
        "genomic",
        10,
        300,
    )
    assert "2 variants" in json.dumps(record["withheld"])


def test_the_record_lists_coarsened_and_withheld_sites() -> None:
    counts = filter_counts(sizes_of(300, 200, 200))
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
    ("part", "total", "step", "printed"),
    [(115, 200, 1, 58), (1, 40, 5, 5), (7, 40, 5, 20), (29, 200, 1, 15)],
)
def test_ties_of_counts_round_upwards(part: int, total: int, step: int, printed: int) -> None:
    assert share(part, total, step) == printed


@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([1, 2, 5, 10, 20]))
def test_shares_are_rounded_as_the_attacker_rounds(part: int, total: int, step: int) -> None:
    assert share(part, total, step) == nearest(part, total, step)
