from typing import Any

import pytest

from analytics.dictionary import describe
from analytics.readers.clinical import ClinicalRecord, Reading
from analytics.readers.codes import VARIABLES


def people(total: int, with_bmi: int) -> list[ClinicalRecord]:
    readings = (Reading("bmi", 31.4159, 12_345),)
    return [
        ClinicalRecord(1960, n % 2 == 0, (), readings if n < with_bmi else (), 15_000)
        for n in range(total)
    ]


def row(described: dict[str, Any], name: str) -> dict[str, Any]:
    (matching,) = [row for row in described["variables"] if row["variable"] == name]
    assert isinstance(matching, dict)
    return matching


def test_every_variable_is_listed_with_unit_and_category() -> None:
    described = describe(people(100, 60), 40)
    assert [row["variable"] for row in described["variables"]] == ["female", *VARIABLES]  # type: ignore[index,union-attr]
    assert (described["people"], described["genotyped"]) == (100, 40)
    bmi = {"variable": "bmi", "unit": "kg/m2", "category": 2, "people": 60, "completeness": 60}
    assert row(described, "bmi") == bmi
    assert row(described, "age_years")["people"] == 100


@pytest.mark.parametrize(
    ("total", "count", "shown"),
    [
        (100, 9, (None, None)),
        (100, 10, (10, 10)),
        (100, 62, (60, 60)),
        (100, 63, (65, 65)),
        (100, 90, (90, 90)),
        (100, 91, (100, 100)),  # nine lack it: shown as complete, since 91 would reveal it
        (100, 100, (100, 100)),
        (9, 9, (None, None)),
        (12, 5, (None, None)),  # both sides are small
        (198, 57, (55, 30)),
        (0, 0, (None, None)),
    ],
)
def test_counts_are_rounded_and_small_ones_suppressed_on_both_sides(
    total: int, count: int, shown: tuple[int | None, int | None]
) -> None:
    bmi = row(describe(people(total, count), 0), "bmi")
    assert (bmi["people"], bmi["completeness"]) == shown


def test_the_dictionary_contains_no_value() -> None:
    text = str(describe(people(100, 60), 40))
    assert all(secret not in text for secret in ("31.4", "12345", "15000", "1960"))
