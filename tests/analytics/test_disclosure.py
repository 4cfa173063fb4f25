"""The attacker here is written apart from the product: exact fractions and plain loops, no shared code."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest

from analytics.disclosure import (
    CANDIDATES_NEEDED,
    STEPS,
    build_table,
    count_candidates,
    describe_disclosure,
    filter_counts,
    percent,
    plausible_sizes,
    round_count,
)
from analytics.evaluate import Cells, figures_of
from analytics.run import Result

NAMES = ("accuracy", "precision", "recall", "f1", "balanced_accuracy")


def shown(value: Fraction, step: int) -> int:
    return step * math.floor(100 * value / step + Fraction(1, 2))


def attack(row: tuple[int, ...], step: int, people: int, events: int) -> list[tuple[int, int]]:
    """Every (true positives, false positives) whose figures print as `row`."""
    found = []
    for tp in range(events + 1):
        recall = Fraction(tp, events)
        if shown(recall, step) != row[2]:
            continue
        for fp in range(people - events + 1):
            tn = people - events - fp
            figures = (
                Fraction(tp + tn, people),
                Fraction(tp, tp + fp) if tp + fp else Fraction(0),
                recall,
                Fraction(2 * tp, 2 * tp + fp + events - tp),
                (recall + Fraction(tn, people - events)) / 2,
            )
            if all(shown(value, step) == figure for value, figure in zip(figures, row, strict=True)):
                found.append((tp, fp))
    return found


@pytest.mark.parametrize(("count", "printed"), [(0, None), (9, None), (10, 10), (12, 10), (13, 15), (189, 190)])
def test_small_counts_are_suppressed_and_others_rounded(count: int, printed: int | None) -> None:
    assert round_count(count) == printed


def test_a_small_group_left_out_takes_the_people_count_with_it() -> None:
    assert filter_counts(granted=198, people=189, events=35).people is None
    assert filter_counts(granted=198, people=198, events=35).people is None
    assert filter_counts(granted=198, people=188, events=35).people == 190


def test_a_small_outcome_takes_the_baseline_with_it() -> None:
    assert filter_counts(granted=200, people=100, events=9).events is None
    assert filter_counts(granted=200, people=100, events=9).baseline is None
    assert filter_counts(granted=200, people=100, events=91).baseline is None
    counts = filter_counts(granted=200, people=100, events=10)
    assert (counts.events, counts.baseline) == (10, 90)


@pytest.mark.parametrize(
    ("granted", "people", "events"), [(198, 189, 35), (20, 20, 10), (1000, 700, 233), (60, 50, 38), (40, 40, 12)]
)
def test_the_true_size_is_among_the_plausible_ones(granted: int, people: int, events: int) -> None:
    counts = filter_counts(granted=granted, people=people, events=events)
    sizes = plausible_sizes(counts)
    assert (people, events) in sizes
    every = [
        (n, e)
        for n in range(2, granted + 1)
        for e in range(1, n)
        if filter_counts(granted=granted, people=n, events=e) == counts
    ]
    assert sizes == every


@pytest.mark.parametrize(
    "cells", [(8, 14, 27, 140), (0, 0, 35, 154), (0, 3, 35, 151), (35, 0, 0, 154), (1, 150, 34, 4)]
)
@pytest.mark.parametrize("step", STEPS)
def test_the_product_counts_what_the_attacker_finds(cells: tuple[int, int, int, int], step: int) -> None:
    row = tuple(percent(value, step) for value in figures_of(Cells(*cells)))
    found = attack(row, step, 189, 35)
    assert (cells[0], cells[1]) in found
    assert count_candidates(row, step, 189, 35) == len(found)


def test_whole_percents_of_one_pass_betray_the_cells() -> None:
    """Why the step exists: printed as they are, these figures leave a single matrix."""
    row = tuple(percent(value) for value in figures_of(Cells(8, 14, 27, 140)))
    assert len(attack(row, 1, 189, 35)) == 1


def test_a_row_is_coarsened_until_five_matrices_fit() -> None:
    counts = filter_counts(granted=198, people=189, events=35)
    summed = {"genes": Cells(80, 140, 270, 1400)}
    table = build_table(summed, counts)
    assert table.step > 1
    assert min(table.candidates["genes"]) >= CANDIDATES_NEEDED
    finer = tuple(percent(value, STEPS[STEPS.index(table.step) - 1]) for value in figures_of(summed["genes"]))
    at_finer = [attack(finer, STEPS[STEPS.index(table.step) - 1], *size) for size in plausible_sizes(counts)]
    assert sum(map(len, at_finer)) < CANDIDATES_NEEDED


def test_a_small_cohort_withholds_the_row_rather_than_the_rule() -> None:
    table = build_table({"genes": Cells(80, 20, 20, 80)}, filter_counts(granted=20, people=20, events=10))
    assert table.rows == {}
    assert table.withheld == ("genes",)


def test_nothing_about_thresholds_is_printed_with_a_small_outcome() -> None:
    counts = filter_counts(granted=200, people=189, events=9)
    table = build_table({"genes": Cells(20, 100, 70, 1700), "clinical": Cells(0, 0, 90, 1800)}, counts)
    assert table.rows == {}
    reasons = json.dumps(describe_disclosure(counts, table, 10)["withheld"])
    assert "an outcome has fewer than 10 people" in reasons


def test_every_printed_row_of_the_real_run_survives_the_attack(gse_figures: dict[str, Any]) -> None:
    """The outsider knows the ledger's count and everything printed; layers share one cohort, so she joins the rows."""
    step = gse_figures["step"]
    rows = [tuple(layer[name] for name in NAMES) for layer in gse_figures["layers"] if "accuracy" in layer]
    assert rows
    sizes = [
        (people, events)
        for people in range(189, 199)
        for events in range(33, 38)
        if shown(Fraction(people - events, people), 1) == gse_figures["baseline"]
    ]
    possible = [size for size in sizes if all(attack(row, step, *size) for row in rows)]
    for row in rows:
        assert sum(len(attack(row, step, *size)) for size in possible) >= 5


def test_the_record_says_what_was_done(gse_result: Result, gse_figures: dict[str, Any]) -> None:
    record = json.loads(gse_result.disclosure)
    assert record["type"] == "volens/disclosure/1"
    assert (record["statistic_class"], record["statistics"], record["people"]) == ("metrics", 0, 198)
    assert [item["what"] for item in record["withheld"]] == ["people"]
    assert "people" not in gse_figures
    (matrix_rule,) = [rule for rule in record["rules"] if rule["rule"] == "matrix count"]
    assert matrix_rule["step"] == gse_figures["step"]
    assert set(matrix_rule["found"]) == {"genes", "clinical", "combined"}
