"""Survival runs from parameters and records to the printed result."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quiet import OPEN_KEY

from analytics.canonical import dump_canonical
from analytics.errors import CohortTooSmall, ParamsError
from analytics.params import complete, parse_params
from analytics.people import Input
from analytics.readers.observations import Findings
from analytics.readers.person import Person
from analytics.run import run
from analytics.simulate.censoring import HORIZON_DAYS, simulate_follow_up
from analytics.simulate.rehearsal import invent
from analytics.strata import assign_strata, parse_split

OUTCOME = {"kind": "distant-metastasis", "horizon_days": HORIZON_DAYS}
QUICK = {"permutations": 19, "bootstraps": 0, "folds": 2, "repeats": 2}
ASKED: dict[str, Any] = {"analysis": "survival", "outcome": OUTCOME, **QUICK}
Records = Callable[[Sequence[Person]], list[Input]]


def people_of(people: int, seed: int, median: float = 4.0) -> list[Person]:
    """Age and size carry the risk; every second one has an oestrogen receptor."""
    x, time, event = simulate_follow_up(people, seed, median)
    return [
        Person(
            at,
            (("SIM000", f"{x[at, 2]:.4f}"), ("SIM001", f"{x[at, 0] - x[at, 1]:.4f}")),
            Findings(
                age_years=float(np.clip(round(55 + 8 * x[at, 0]), 20, 90)),
                size_mm=float(np.clip(round(25 + 6 * x[at, 1]), 2, 60)),
                grade=None,
                er_positive=at % 2,
                follow_up_days=float(time[at]),
                metastasis=bool(event[at]),
            ),
        )
        for at in range(people)
    ]


def computed(params: bytes, records: list[Input]) -> tuple[dict[str, Any], dict[str, Any]]:
    done = run(params, records, 10, noise_key=OPEN_KEY)
    return json.loads(done.result), json.loads(done.disclosure)


@pytest.fixture(scope="module")
def printed(make_records: Records) -> tuple[dict[str, Any], dict[str, Any]]:
    params = complete(
        {
            **ASKED,
            "clinical": ["age_years", "size_mm"],
            "strata": ["er_positive"],
            "permutations": 39,
            "bootstraps": 50,
        }
    )
    return computed(params, make_records(people_of(500, 1)))


def test_everybody_with_a_follow_up_stays(printed: tuple[dict[str, Any], dict[str, Any]]) -> None:
    result, record = printed
    assert result["granted"] == 500
    assert (result["type"], result["analysis"]) == ("volens/result/3", "survival")
    assert record["statistic_class"] == "table"
    assert result["censored"] >= 185
    assert "people" not in result  # nobody is left out
    everybody = next(row for row in result["strata"] if row["stratum"] == "all")
    assert abs(everybody["risk"] - 23.8) <= 5
    assert everybody["risk_interval"][0] < everybody["risk"] < everybody["risk_interval"][1]
    assert everybody["median"] == "not reached"
    assert everybody["events"] + everybody["censored"] <= 500


def test_curves_have_the_same_times_for_every_stratum(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, _ = printed
    names = {row["stratum"] for row in result["rows"]}
    assert names == {"all", "er_positive 0", "er_positive 1"}
    for row in result["rows"]:
        assert row["days"] in [HORIZON_DAYS * part // 10 for part in range(1, 11)]
        low, high = row["interval"]
        assert 0 <= low <= row["survival"] <= high <= 100
        assert row["survival"] % row["step"] == 0
        assert row.get("at_risk", 10) >= 10
        assert row.get("at_risk", 0) % 5 == 0


def test_cox_regression_finds_what_carries_the_risk(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, _ = printed
    shown = result["concordance"]
    assert 60 <= shown["c_index"] <= 80
    assert shown["c_interval"][0] < shown["c_index"] < shown["c_interval"][1]
    assert (shown["baseline"], shown["p"], shown["permutations"]) == (50, "0.03", 39)
    groups = result["calibration"]["groups"]
    assert groups[0][1] < groups[-1][1]
    assert all(abs(predicted - seen) <= 15 for predicted, seen in groups)


def test_without_covariates_there_are_curves_alone(make_records: Records) -> None:
    params = complete({**ASKED, "clinical": []})
    assert not parse_params(params).fits_cox
    result, _ = computed(params, make_records(people_of(200, 2)))
    assert result["rows"]
    assert not {"concordance", "calibration", "covariates", "folds"} & result.keys()


def test_genes_are_chosen_within_the_fold(make_records: Records) -> None:
    genes = {"source": "expression", "keep": 1}
    params = complete({**ASKED, "clinical": [], "genes": genes})
    assert (parse_params(params).gene_source, parse_params(params).categories) == (
        "expression",
        (2, 6),
    )
    result, _ = computed(params, make_records(people_of(300, 3)))
    assert result["covariates"] == ["genes"]
    assert result["concordance"]["c_index"] >= 58


def test_few_feature_profiles_have_no_concordance(make_records: Records) -> None:
    params = complete({**ASKED, "clinical": ["er_positive"]})
    result, record = computed(params, make_records(people_of(200, 2)))
    assert result["concordance"].keys() == {"baseline", "p", "permutations"}
    assert "calibration" not in result
    assert "concordance and its interval" in [item["what"] for item in record["withheld"]]


def test_a_run_is_the_same_bytes_in_any_order(make_records: Records) -> None:
    records = make_records(people_of(60, 4))
    params = complete({**ASKED, "clinical": ["age_years"]})
    assert run(params, records, 10, noise_key=OPEN_KEY) == run(
        params, records[::-1], 10, noise_key=OPEN_KEY
    )
    done = run(params, records, 10, noise_key=OPEN_KEY)
    assert done.output_class == 2
    assert OPEN_KEY.hex() not in str(done)
    assert OPEN_KEY.decode() not in str(done)
    assert run(params, records, 10, noise_key=bytes(32)).result != done.result


def test_ten_with_the_event_and_ten_without_are_needed(make_records: Records) -> None:
    healthy = [person for person in people_of(100, 1) if not person.findings.metastasis]
    with pytest.raises(CohortTooSmall):
        run(complete(ASKED), make_records(healthy), 10, noise_key=OPEN_KEY)


def test_steps_are_reported_in_order(make_records: Records) -> None:
    phases: list[tuple[str, float]] = []
    params = complete({**ASKED, "clinical": ["age_years"], "bootstraps": 50})
    run(
        params,
        make_records(people_of(90, 1)),
        10,
        lambda *step: phases.append(step),
        noise_key=OPEN_KEY,
    )
    steps = list(dict.fromkeys(step for step, _ in phases))
    assert steps == ["read", "compute", "cox", "permute", "bootstrap", "filter", "disclose"]
    assert [part for _, part in phases[2:]] == sorted(part for _, part in phases[2:])


@pytest.mark.parametrize(
    "outcome",
    [
        OUTCOME,
        {
            "kind": "diagnosis",
            "index": ["icd-10-cm:C50"],
            "event": ["icd-10-cm:C79"],
            "horizon_days": 1825,
        },
    ],
    ids=["metastasis", "diagnosis"],
)
def test_a_rehearsal_invents_censored_people(outcome: dict[str, Any]) -> None:
    params = complete({**ASKED, "outcome": outcome, "strata": ["er_positive", "age_years:55"]})
    result, _ = computed(params, invent(parse_params(params), 80, 1))
    assert abs(result["censored"] - 20) <= 15  # as many, but for the noise


def test_evaluate_says_how_many_it_left_out_as_censored(
    make_records: Records, make_params: Callable[..., bytes]
) -> None:
    people = people_of(300, 5)
    result, _ = computed(make_params(models={"logistic": ["clinical"]}), make_records(people))
    censored = sum(
        not person.findings.metastasis and person.findings.follow_up_days < HORIZON_DAYS
        for person in people
    )
    # The difference of the flow chart's numbers, which are all that it tells.
    assert result["censored"] == 5 * round((300 - result["flow"][-1]["people"]) / 5)
    assert abs(result["censored"] - censored) <= 5
    few = [person for person in people if person.findings.follow_up_days >= HORIZON_DAYS - 100]
    few += [person for person in people if person.findings.metastasis]
    unique = list({person.ordinal: person for person in few}.values())
    result, _ = computed(make_params(models={"logistic": ["clinical"]}), make_records(unique))
    assert "censored" not in result


@pytest.mark.parametrize(
    "change",
    [
        {"strata": ["er_positive", "grade", "female"]},
        {"strata": ["er_positive", "er_positive"]},
        {"strata": ["age_years:50", "age_years:60"]},
        {"strata": ["age_years"]},
        {"strata": ["er_positive:1"]},
        {"strata": ["age_years:60:50"]},
        {"strata": ["age_years:1:2:3:4"]},
        {"strata": ["metastasis"]},
        {"strata": ["shoe_size"]},
        {"strata": "grade"},
        {"genes": {"source": "expression", "select": "f"}},
        {"genes": {"keep": 101}},
        {"outcome": {**OUTCOME, "censoring": "exclude"}},
        {"clinical": ["follow_up_days"]},
        {"repeats": 1},
        {"models": {"logistic": ["clinical"]}},
    ],
)
def test_parameters_of_a_survival_run_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        complete({**ASKED, **change})


def test_every_field_is_needed() -> None:
    document = json.loads(complete(ASKED))
    for missing in document:
        with pytest.raises(ParamsError):
            parse_params(dump_canonical({k: v for k, v in document.items() if k != missing}))


def test_strata_list_every_group_and_cut_where_they_say() -> None:
    splits = [parse_split("age_years:50:65"), parse_split("er_positive")]
    values = np.array([[49, 1], [50, 1], [64.9, 1], [65, 1], [np.nan, 1], [50, np.nan]])
    groups = {name: inside.tolist() for name, inside in assign_strata(splits, values)}
    assert groups == {
        "age_years under 50, er_positive 0": [],
        "age_years under 50, er_positive 1": [0],
        "age_years 50 to under 65, er_positive 0": [],
        "age_years 50 to under 65, er_positive 1": [1, 2],
        "age_years 65 or more, er_positive 0": [],
        "age_years 65 or more, er_positive 1": [3],
        "not known": [4, 5],
    }


def test_that_few_lack_a_value_is_not_told(make_records: Records) -> None:
    people = people_of(300, 2)
    asked = complete(ASKED | {"clinical": [], "strata": ["er_positive"]})
    for lacking in (0, 5, 60):
        known = [
            replace(
                person,
                findings=replace(person.findings, er_positive=at % 2 if at >= lacking else None),
            )
            for at, person in enumerate(people)
        ]
        result, record = computed(asked, make_records(known))
        named = json.dumps([result["strata"], record["withheld"]])
        assert ("not known" in named) == (lacking >= 10)
