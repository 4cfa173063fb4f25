"""A group's prognosis: the numbers of the released table, unchanged, or the reason for none."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from care_people import ADA, BEA, TODAY, but, known, without
from quiet import NOISE_KEY

from analytics.canonical import dump_canonical
from analytics.care.facts import Fact
from analytics.care.plan import draw_plan
from analytics.care.prognosis import (
    State,
    group_prognosis,
    is_prognosis,
    population_of,
    populations,
)
from analytics.care.rule_set import shipped
from analytics.errors import InputsError
from analytics.params import complete
from analytics.people import Input
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.readers.observations import Findings
from analytics.readers.person import Person
from analytics.run import run

HORIZON = 1825
OUTCOME = {"kind": "distant-metastasis", "horizon_days": HORIZON}
ASKED: dict[str, Any] = {"analysis": "survival", "outcome": OUTCOME, "clinical": []}
(POPULATION,) = populations()
DIAGNOSED = 300  # days ago, in `care_people`


def params_of(*strata: str, **more: Any) -> bytes:
    return complete({**ASKED, "strata": list(strata), **more})


PARAMS = params_of("er_positive")


def people_of(count: int) -> list[Person]:
    """One in five has no oestrogen receptor; of these few have the event."""
    draw = np.random.default_rng(7)
    return [
        Person(
            at,
            (("SIM000", "1.0"),),
            Findings(
                age_years=float(draw.integers(30, 60)),
                er_positive=int(at % 5 > 0),
                follow_up_days=float(draw.integers(60, 3000)),
                metastasis=bool(draw.random() < 0.4),
            ),
        )
        for at in range(count)
    ]


@pytest.fixture(scope="module")
def released(make_records: Callable[[Sequence[Person]], list[Input]]) -> bytes:
    """The result of a real run, as it is sealed: of ER-negative people there are too few."""
    return run(PARAMS, make_records(people_of(220)), 10, noise_key=NOISE_KEY).result


def plan_of(facts: dict[str, Fact]) -> dict[str, Any]:
    drawn: dict[str, Any] = draw_plan(facts, shipped(), TODAY)
    return drawn


def drawn(result: bytes, facts: dict[str, Fact], params: bytes = PARAMS) -> dict[str, Any]:
    return group_prognosis(result, params, plan_of(facts), POPULATION)


def with_params(result: bytes, params: bytes, **change: Any) -> bytes:
    """The same table as if these parameters had been asked."""
    document = json.loads(result) | {"params": hashlib.sha256(params).hexdigest()} | change
    return dump_canonical(document)


def text_of(prognosis: dict[str, Any]) -> str:
    return " ".join(prognosis["sentences"])


def test_curve_and_table_are_those_of_the_released_bytes(released: bytes) -> None:
    shown = drawn(released, ADA)
    printed = json.loads(released)
    assert shown["state"] == State.SHOWN
    assert shown["stratum"] == "er_positive 1"
    assert shown["points"] == [r for r in printed["rows"] if r["stratum"] == "er_positive 1"]
    (row,) = [row for row in printed["strata"] if row["stratum"] == "er_positive 1"]
    assert shown["table"] == row
    assert len(shown["points"]) >= 3
    assert all(len(point["interval"]) == 2 for point in shown["points"])
    assert shown["horizon_days"] == HORIZON


def test_the_end_point_is_named_and_is_no_overall_survival(released: bytes) -> None:
    shown = drawn(released, ADA)
    assert shown["end_point"] == "distant metastasis"
    assert "The end point is distant metastasis. It is not overall survival" in text_of(shown)
    assert "198 women with breast cancer in no lymph node" in text_of(shown)
    assert shown["population"]["source"]["read_on"]


def test_it_is_told_that_it_is_of_a_group_and_no_benefit_of_a_medicine(released: bytes) -> None:
    for facts in (ADA, BEA, but(ADA, nodes="N1"), without(ADA, "nodes")):
        text = text_of(drawn(released, facts))
        assert "no prediction for one person" in text
        assert "does not tell what a medicine would do for you" in text
        # Said only where olaparib is an option.
        assert ("olaparib was first approved in 2014" in text) is (facts is BEA)
    treated = text_of(drawn(released, ADA))
    assert "You had some (endocrine therapy: given), so your course differs." in treated
    untreated = but(ADA, endocrine_therapy="none")
    assert "You had some" not in text_of(drawn(released, untreated))


def test_a_stratum_that_is_suppressed_says_so(released: bytes) -> None:
    assert "er_positive 0" not in {row["stratum"] for row in json.loads(released)["rows"]}
    shown = drawn(released, but(ADA, oestrogen_receptor="negative"))
    assert shown["state"] == State.SUPPRESSED
    assert not {"points", "table"} & shown.keys()
    assert shown["sentences"][0].startswith("There is no group of ten or more like you")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"nodes": "N1"}, "N: N1 (the group: N0)"),
        ({"tumour_size": "T3"}, "T: T3 (the group: T1 or T2)"),
        ({"metastatic": True}, "distant metastases: yes"),
        ({"sex": "male"}, "sex: male"),
        ({"age": 62}, "not between 24 and 60"),
        ({"age": 23}, "not between 24 and 60"),
    ],
)
def test_outside_of_the_population_there_is_no_curve(
    released: bytes, change: dict[str, Any], word: str
) -> None:
    shown = drawn(released, but(ADA, **change))
    assert shown["state"] == State.OUTSIDE
    assert word in shown["sentences"][0]
    assert not {"points", "table", "stratum"} & shown.keys()


@pytest.mark.parametrize("missing", ["nodes", "tumour_size", "age", "oestrogen_receptor", "sex"])
def test_without_a_fact_that_decides_there_is_no_curve(released: bytes, missing: str) -> None:
    shown = drawn(released, without(ADA, missing))
    assert shown["state"] == State.NOT_KNOWN
    assert "not known whether you belong" in shown["sentences"][0]
    assert not {"points", "table", "stratum"} & shown.keys()


def test_an_age_at_the_bound_is_not_known(released: bytes) -> None:
    """Diagnosed in the calendar year of the plan: 61 by its year means 60 or 61 at diagnosis."""
    assert drawn(released, but(ADA, age=61))["state"] == State.NOT_KNOWN
    assert drawn(released, but(ADA, age=60))["state"] == State.SHOWN
    earlier = but(ADA, age=61, breast_cancer=known(True, 700))  # 2024: 59 or 60
    assert drawn(released, earlier)["state"] == State.SHOWN


def test_rules_of_the_cohort_that_leave_her_out_leave_no_curve(released: bytes) -> None:
    def state(cohort: dict[str, Any], age: int = 52) -> str:
        params = params_of("er_positive", cohort=cohort)
        shown = drawn(with_params(released, params), but(ADA, age=age), params)
        return str(shown["state"])

    assert state({"age": [40, 60]}) == State.SHOWN
    assert state({"age": [53, 60]}) == State.OUTSIDE
    assert state({"age": [52, 60]}) == State.NOT_KNOWN
    assert state({"with": ["icd-10:C50"]}) == State.NOT_KNOWN
    assert state({"without": ["icd-10:E11"]}) == State.NOT_KNOWN


@pytest.mark.parametrize(
    ("strata", "facts", "name"),
    [
        ((), ADA, "all"),
        (("female",), ADA, "female 1"),
        (("age_years:50",), ADA, "age_years 50 or more"),
        (("age_years:40:50",), but(ADA, age=45), "age_years 40 to under 50"),
        (("age_years:50",), but(ADA, age=50), ""),
        (("size_mm:20",), but(ADA, tumour_size="T2"), "size_mm 20 or more"),
        (("size_mm:20",), ADA, ""),  # T1 is up to 20 mm, and 20 mm is "20 or more"
        (("size_mm:30",), but(ADA, tumour_size="T2"), ""),
        (("size_mm:21",), ADA, "size_mm under 21"),
        (("grade",), ADA, ""),
        (("age_years:50", "er_positive"), ADA, "age_years 50 or more, er_positive 1"),
    ],
)
def test_her_stratum_is_the_only_one_in_which_she_can_be(
    released: bytes, strata: tuple[str, ...], facts: dict[str, Fact], name: str
) -> None:
    params = params_of(*strata)
    row = {"stratum": name, "days": 9, "survival": 91, "interval": [88, 97], "step": 1}
    table = with_params(released, params, rows=[row], strata=[{"stratum": name, "step": 1}])
    shown = drawn(table, facts, params)
    if name:
        assert (shown["state"], shown["stratum"], shown["points"]) == (State.SHOWN, name, [row])
    else:
        assert shown["state"] == State.NOT_KNOWN


def test_another_result_or_end_point_is_refused(released: bytes) -> None:
    plan = plan_of(ADA)
    with pytest.raises(InputsError, match="no survival table"):
        group_prognosis(released, params_of("female"), plan, POPULATION)
    other = {"kind": "diagnosis", "horizon_days": 900, "index": ["icd-10:C50"]}
    params = params_of(outcome=other | {"event": ["icd-10:C78"]})
    with pytest.raises(InputsError, match="end point"):
        group_prognosis(with_params(released, params), params, plan, POPULATION)
    evaluated = with_params(released, PARAMS, analysis="evaluate")
    with pytest.raises(InputsError, match="no survival table"):
        group_prognosis(evaluated, PARAMS, plan, POPULATION)


def test_a_diagnosis_of_several_entries_has_no_first_day(released: bytes) -> None:
    twice = known(True, DIAGNOSED)
    several = but(ADA, breast_cancer=type(twice)(True, twice.day, ("a", "b")))
    assert drawn(released, several)["state"] == State.NOT_KNOWN


def test_a_population_is_named_by_the_registered_text() -> None:
    assert population_of("# Tumours of GSE7390\n\n") is POPULATION
    assert population_of("# Tumours of GSE73901\n\n") is None
    assert population_of("# Records of a clinic\n\n") is None


def test_the_form_of_a_prognosis_is_bounded(released: bytes) -> None:
    right = drawn(released, ADA) | {"run": "ab" * 32, "seal": "cd" * 32}
    assert is_prognosis(right)
    none = drawn(released, but(ADA, nodes="N1")) | {"run": "ab" * 32, "seal": "cd" * 32}
    assert is_prognosis(none)
    changes: list[Callable[[dict[str, Any]], Any]] = [
        lambda document: document.update(type="volens/prognosis/2"),
        lambda document: document.update(run="ab"),
        lambda document: document.pop("seal"),
        lambda document: document.pop("points"),
        lambda document: document.update(state="certain"),
        lambda document: document.update(state=State.OUTSIDE.value),
        lambda document: document.update(surprise=1),
        lambda document: document.update(sentences=["x"] * 13),
        lambda document: document.update(sentences=["x" * 601]),
        lambda document: document.update(points=document["points"] * 20),
        lambda document: document["points"][0].update(interval=[1]),
        lambda document: document["points"][0].update(survival="91"),
        lambda document: document["points"][0].update(days=1 << 70),
        lambda document: document["points"][0].update(days=-1),
        lambda document: document.update(stratum=["all"]),
        lambda document: document.update(end_point={}),
        lambda document: document.update(table="all"),
        lambda document: document["population"].update(title="x" * 20_000),
    ]
    for change in changes:
        wrong = copy.deepcopy(right)
        change(wrong)
        assert not is_prognosis(wrong)
    assert not is_prognosis([])


def test_the_population_is_that_of_the_published_data(
    make_records: Callable[[Sequence[Person]], list[Input]],
) -> None:
    """Everybody of GSE7390 is within its bounds, and its real table gives a curve."""
    people = load_gse7390(locate_gse7390())
    ages = [person.findings.age_years for person in people]
    sizes = [person.findings.size_mm for person in people]
    assert (min(ages), max(ages)) == POPULATION.age
    assert all(0 < size <= 50 for size in sizes)  # T1 and T2
    params = params_of("er_positive", outcome=OUTCOME | {"horizon_days": 3650})
    table = run(params, make_records(people), 10, noise_key=NOISE_KEY).result
    shown = drawn(table, ADA, params)
    assert (shown["state"], shown["stratum"]) == (State.SHOWN, "er_positive 1")
    survival = [point["survival"] for point in shown["points"]]
    assert survival == sorted(survival, reverse=True)
    assert 60 <= survival[-1] <= 85  # of all, 73 to 94 percent after ten years (the paper)
