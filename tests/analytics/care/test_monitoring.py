"""Measurements over time in a plan: which values, in which unit, and when the next one is due."""

from __future__ import annotations

import json
import random
from datetime import date
from typing import Any

import pytest
from charts import EVERYTHING, SUBJECT, TODAY, bea, inputs_of, measured

from analytics.canonical import dump_canonical
from analytics.care.days import date_of
from analytics.care.laboratory import MONITORED
from analytics.care.monitoring import DAYS, MOST
from analytics.care.rule_set import FOLDER, shipped
from analytics.params import complete
from analytics.people import Input
from analytics.plan_run import run_plan
from analytics.readers.fhir import split_bundle
from analytics.vocabulary import Category
from api.demo.care_people import bea as eligible

PARAMS = complete({"analysis": "plan"})
STONES = measured("29463-7", 10, "[stone_av]", date_of(TODAY - 3))
OLAPARIB = "olaparib-breast-cancer"


def plan_of(*resources: dict[str, Any], withheld: frozenset[int] = frozenset()) -> dict[str, Any]:
    inputs = inputs_of(*resources, withheld=withheld)
    drawn: dict[str, Any] = json.loads(
        run_plan(PARAMS, inputs, EVERYTHING - withheld, TODAY).result
    )
    return drawn


def series_of(plan: dict[str, Any], name: str) -> dict[str, Any]:
    assert [measurement["fact"] for measurement in plan["monitoring"]] == list(MONITORED)
    return next(measurement for measurement in plan["monitoring"] if measurement["fact"] == name)


def numbers(series: dict[str, Any]) -> list[tuple[int, str]]:
    return [(value["day"] - TODAY, value["value"]) for value in series["values"]]


def weight(value: float, days_ago: int, **more: Any) -> dict[str, Any]:
    return measured("29463-7", value, "kg", date_of(TODAY - days_ago), **more)


def test_every_value_of_two_years_is_there_in_the_unit_of_the_fact() -> None:
    plan = plan_of(
        weight(60, DAYS),
        weight(70, DAYS + 1),
        measured("3141-9", 140, "[lb_av]", date_of(TODAY - 9)),
        weight(62.50, 3),
        weight(62, 3),
        measured("2160-0", 88.42, "umol/L", date_of(TODAY - 2)),
    )
    series = series_of(plan, "weight")
    assert (series["label"], series["unit"]) == ("weight", "kg")
    assert numbers(series) == [(-DAYS, "60"), (-9, "63.5029318"), (-3, "62"), (-3, "62.5")]
    assert all(len(value["sources"]) == 1 for value in series["values"])
    assert series_of(plan, "creatinine")["values"][0]["value"] == "1"
    assert "reason" not in series
    assert "next" not in series  # no open option has it measured again and again


def test_what_cannot_be_read_is_counted_and_shows_no_number() -> None:
    plan = plan_of(
        weight(62, 5),
        STONES,
        measured("29463-7", 9000, "kg", date_of(TODAY - 2)),
        measured("29463-7", 61, "kg", "2024-05"),
    )
    series = series_of(plan, "weight")
    assert (numbers(series), series["not_read"], series["earlier"]) == ([(-5, "62")], 3, 0)


def test_of_many_values_the_newest_stay() -> None:
    series = series_of(plan_of(*(weight(60 + at / 10, at) for at in range(MOST + 7))), "weight")
    assert (len(series["values"]), series["earlier"]) == (MOST, 7)
    assert numbers(series)[0] == (1 - MOST, "65.9")
    assert numbers(series)[-1] == (0, "60")


@pytest.mark.parametrize(
    ("resources", "withheld", "reason"),
    [
        ([], frozenset(), "not recorded"),
        ([weight(62, DAYS + 1)], frozenset(), "too old"),
        ([STONES], frozenset(), "a unit that cannot be converted"),
        ([weight(62, 3)], frozenset({Category.OBSERVATIONS}), "withheld by consent"),
    ],
)
def test_without_a_value_there_is_a_reason(
    resources: list[dict[str, Any]], withheld: frozenset[int], reason: str
) -> None:
    series = series_of(plan_of(*bea()[2:3], *resources, withheld=withheld), "weight")
    assert (series["values"], series["reason"]) == ([], reason)


def test_the_next_one_is_due_after_the_interval_of_an_open_option() -> None:
    split = split_bundle(json.dumps(eligible(date.fromisoformat(date_of(TODAY)))).encode(), SUBJECT)
    inputs = [Input(SUBJECT, category, payload) for category, payload in split.records.items()]
    plan = json.loads(run_plan(PARAMS, inputs, EVERYTHING, TODAY).result)
    assert OLAPARIB in [option["rule"] for option in plan["options"]]
    newest = series_of(plan, "platelets")["values"][-1]["day"]
    for name in MONITORED:
        due = {"day": newest + 30, "rule": OLAPARIB, "every_days": 30}
        assert series_of(plan, name)["next"] == due
    closed = plan_of(*bea())
    assert OLAPARIB not in [option["rule"] for option in closed["options"]]
    assert all("next" not in measurement for measurement in closed["monitoring"])


def test_a_rule_names_only_what_is_shown_over_time() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text())
    item = schema["$defs"]["rule"]["properties"]["schedule"]["items"]
    assert set(item["properties"]["measures"]["items"]["enum"]) == set(MONITORED)
    named = [
        name
        for rule in shipped().rules
        for item in rule.content["schedule"]
        for name in item.get("measures", ())
    ]
    assert sorted(named) == sorted(MONITORED)


def test_the_order_of_the_records_changes_nothing() -> None:
    resources = [*bea(), *(weight(60 + at, at) for at in range(5)), weight(60.0, 0)]
    expected = dump_canonical(plan_of(*resources))
    draw = random.Random(1)
    for _ in range(3):
        draw.shuffle(resources)
        assert dump_canonical(plan_of(*resources)) == expected
