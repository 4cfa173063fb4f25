import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quiet import QUIET

from analytics import cohort as cohort_module
from analytics.cohort import (
    Cohort,
    Person,
    choose_members,
    clinical_matrix,
    expression_matrix,
    follow_up_of,
    is_censored,
    select_people,
)
from analytics.errors import CohortTooSmall, InputsError
from analytics.kinship import NOBODY
from analytics.params import CohortRules, Outcome, complete, parse_params
from analytics.people import read_people
from analytics.readers.clinical import ClinicalRecord, Fact, Reading
from analytics.readers.genotypes import Genotypes, build_sites
from analytics.simulate.rehearsal import invent

METASTASIS = Outcome("distant-metastasis", 1825)
DIAGNOSIS = Outcome("diagnosis", 1825, ("icd-10-cm:C50",), ("icd-10-cm:C79",))
EVERYBODY = CohortRules((0, 130), (), ())


def clinical(
    *facts: tuple[str, int | None],
    last: int | None = 9000,
    born: int | None = None,
    **values: float | None,
) -> ClinicalRecord:
    """facts: ICD-10-CM code and day; values: undated readings."""
    readings = [Reading(name, value, None) for name, value in values.items() if value is not None]
    return ClinicalRecord(
        born,
        None,
        tuple(Fact(1, "icd-10-cm", code, day) for code, day in facts),
        tuple(readings),
        last,
    )


def person(
    n: int,
    *,
    event: float | None = 0,
    days: float | None = 2000,
    genes: Mapping[str, float] | None = None,
    **values: float,
) -> Person:
    genes = {"a": 1.0, "b": 2.0} if genes is None else genes
    return Person(f"{n:064x}", clinical(metastasis=event, follow_up_days=days, **values), genes)


def outcome_of(of: Person, index: int | None, outcome: Outcome) -> bool | None:
    """What `evaluate` predicts of a person; None where she is left out."""
    followed = follow_up_of(of, index, outcome)
    if followed is None or (outcome.excludes and is_censored(*followed, outcome)):
        return None
    return followed[1]


def six() -> list[Person]:
    return [person(n, event=1 - n % 2, days=3000 if n % 2 else 100) for n in range(6)]


def select(people: list[Person], minimum: int = 2, **changes: Any) -> Cohort:
    given = {"rules": EVERYBODY, "outcome": METASTASIS, "source": "expression", **changes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort_module, "SMALLEST_COUNT", 0)  # a few people show what the rules do
        return select_people(people, minimum=minimum, **given)


@pytest.mark.parametrize(
    ("days", "event", "outcome"),
    [
        (1824, 1, True),
        (1825, 1, True),
        (1826, 1, False),
        (1826, 0, False),
        (1825, 0, False),
        (1824, 0, None),
        (None, 1, None),
        (1900, None, None),
    ],
)
def test_outcome_at_the_horizon(
    days: float | None, event: float | None, outcome: bool | None
) -> None:
    assert outcome_of(person(1, event=event, days=days), None, METASTASIS) is outcome


def test_a_finding_is_yes_or_no_and_nobody_without_it_stays() -> None:
    finding = Outcome("finding", 0, variable="er_positive")
    people = [
        Person(f"{at:064x}", clinical(er_positive=value)) for at, value in enumerate([1, 0, None])
    ]
    members, flow = choose_members(people, EVERYBODY, finding, "none", NOBODY)
    assert [member.event for member in members] == [True, False]
    assert [step for step, _ in flow][
        -1
    ] == "outcome known"  # nobody is followed, so nobody censored


@pytest.mark.parametrize(
    ("event", "last", "excluded", "free"),
    [
        (100 + 1824, 9000, True, True),
        (100 + 1825, 9000, True, True),
        (100 + 1826, 9000, False, False),
        (None, 100 + 1825, False, False),
        (None, 100 + 1824, None, False),
        (100, 9000, None, None),  # on the index day: the order is unknown
        (99, 9000, None, None),
        (500, 600, True, True),  # the event itself ends the follow-up
    ],
)
def test_outcome_of_a_diagnosis(
    event: int | None, last: int, excluded: bool | None, free: bool | None
) -> None:
    facts = [("C50.9", 100)] + ([] if event is None else [("C79.3", event)])
    diagnosed = Person("0" * 64, clinical(*facts, last=last))
    assert outcome_of(diagnosed, 100, DIAGNOSIS) is excluded
    assert outcome_of(diagnosed, 100, replace(DIAGNOSIS, excludes=False)) is free


@pytest.mark.parametrize(
    ("timing", "events", "followed"),
    [
        # (days at risk until it, whether the event was) of the first event in the time at risk
        ({}, [1001], (1, True)),
        ({}, [], (1825, False)),
        ({"risk_start_days": 31}, [1031], (1, True)),
        ({"risk_start_days": 31}, [1030], None),  # before the time at risk
        ({"risk_start_days": 31}, [1030, 1040], None),
        ({"risk_start_days": 31}, [2825], (1795, True)),
        ({"risk_start_days": 31}, [2826], (1795, False)),
        ({"lookback_days": 365}, [635, 1100], (100, True)),  # too long ago to count
        ({"lookback_days": 365}, [636, 1100], None),
        ({"lookback_days": 365}, [1000, 1100], None),  # on the index day
        ({}, [1, 1100], None),  # all history, unless said otherwise
    ],
)
def test_the_time_at_risk(
    timing: dict[str, int], events: list[int], followed: tuple[float, bool] | None
) -> None:
    diagnosed = Person("0" * 64, clinical(("C50", 1000), *(("C79", day) for day in events)))
    outcome = replace(DIAGNOSIS, **timing)
    assert follow_up_of(diagnosed, 1000, outcome) == followed
    if followed is not None:
        assert not is_censored(*followed, outcome)


def test_who_is_not_followed_until_the_time_at_risk_is_left_out() -> None:
    late = replace(DIAGNOSIS, risk_start_days=31)
    for last, followed in ((1029, None), (1030, (0, False)), (1031, (1, False))):
        diagnosed = Person("0" * 64, clinical(("C50", 1000), last=last))
        assert follow_up_of(diagnosed, 1000, late) == followed
        assert followed is None or is_censored(*followed, late)


def test_a_record_must_reach_back_over_the_washout() -> None:
    people = [
        Person(f"{n:064x}", replace(clinical(("C50", 1000)), first_day=1000 - back), {"a": 1.0})
        for n, back in enumerate((0, 364, 365, 366))
    ]
    for washout, left in ((0, 4), (365, 2)):
        cohort = select(people, outcome=replace(DIAGNOSIS, washout_days=washout), minimum=1)
        assert cohort.people == left
    assert len(dict(cohort.flow)["observed for 365 days before it"]) == 2


def test_an_outcome_without_clinical_record_or_index_is_unknown() -> None:
    assert outcome_of(Person("0" * 64, None), None, METASTASIS) is None
    assert outcome_of(Person("0" * 64, clinical(("C79", 5))), None, DIAGNOSIS) is None
    # It occurred on an unknown day.
    assert outcome_of(Person("0" * 64, clinical(("C50", 5), ("C79", None))), 5, DIAGNOSIS) is None


def test_people_are_sorted_by_subject_in_any_input_order() -> None:
    there, back = select(six()), select(six()[::-1])
    assert there.event.tolist() == back.event.tolist() == [1, 0, 1, 0, 1, 0]
    assert there == back


def test_the_minimum_applies_after_filtering_and_the_number_is_hidden() -> None:
    people = [
        *six(),
        person(6, days=100),
        Person(f"{7:064x}", clinical(metastasis=0, follow_up_days=9000)),
    ]
    assert select(people, 6).people == 6
    with pytest.raises(CohortTooSmall) as refused:
        select(people, 7)
    assert not any(character.isdigit() for character in str(refused.value) + refused.value.hint)


def test_an_empty_cohort_is_too_small_even_without_minimum() -> None:
    with pytest.raises(CohortTooSmall):
        select([], 0, source="none")


@pytest.mark.parametrize("rare", [0, 1])
def test_fewer_than_ten_of_an_outcome_are_refused(rare: int) -> None:
    for few in (0, 1, 9, 10):
        events = [rare] * few + [1 - rare] * 30
        people = [
            person(n, event=event, days=100 if event else 3000) for n, event in enumerate(events)
        ]
        if few == 10:
            assert select_people(people, EVERYBODY, METASTASIS, "expression", 2).people == 40
            continue
        with pytest.raises(CohortTooSmall) as refused:
            select_people(people, EVERYBODY, METASTASIS, "expression", 2)
        # The same for none and for nine.
        assert str(refused.value) == "one outcome has too few people"


def test_a_missing_value_is_missing_never_zero() -> None:
    people = six()
    people[0] = replace(people[0], expression={"a": 1.0})
    cohort = select(people)
    genes, probes = expression_matrix(cohort)
    assert math.isnan(genes[0, probes.index("b")])
    assert np.isnan(clinical_matrix(cohort, ["age_years", "grade"], QUIET)).all()


def test_a_probe_of_few_people_is_left_out() -> None:
    people = six()
    people[0] = replace(people[0], expression={"a": 1.0, "b": 2.0, "only-here": 3.0})
    assert expression_matrix(select(people))[1] == ("a", "b")


def test_no_shared_probe_is_refused() -> None:
    people = [
        replace(person_of_six, expression={f"p{n}": 1.0}) for n, person_of_six in enumerate(six())
    ]
    with pytest.raises(InputsError):
        expression_matrix(select(people))


def test_people_need_only_the_gene_record_that_is_used() -> None:
    people = [replace(someone, expression=None) for someone in six()]
    assert select(people, source="none").people == 6
    with pytest.raises(CohortTooSmall):
        select(people, source="variants")
    sites = build_sites("GRCh38", [1], [5], ["A>G"], [True])
    calls = np.zeros(1, np.int8), np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    with_genotypes = [
        replace(someone, genotypes=Genotypes(sites, bytes(32), *calls)) for someone in people
    ]
    cohort = select(with_genotypes, source="variants")
    assert len(cohort.genotypes) == 6


def test_without_outcome_or_rules_no_clinical_record_is_needed() -> None:
    people = [Person(f"{n:064x}", None, {"a": 1.0}) for n in range(4)]
    cohort = select(people, outcome=None)
    assert (cohort.people, cohort.event.tolist()) == (4, [0] * 4)
    with pytest.raises(CohortTooSmall):
        select(people, outcome=None, rules=CohortRules((40, 60), (), ()))


def test_the_age_band_has_both_ends_and_an_unknown_age_is_out() -> None:
    people = [person(n, age_years=age) for n, age in enumerate((39.9, 40, 60, 60.9, 61))] + [
        person(9)
    ]
    cohort = select(people, rules=CohortRules((40, 60), (), ()))
    assert [int(m.person.subject, 16) for m in cohort.members] == [1, 2, 3]
    assert select(people).people == 6


def test_codes_that_a_person_must_and_must_not_have() -> None:
    facts = ([("C50.1", 5)], [("C50.1", 5), ("E11", 7)], [("E11", 7)], [])
    people = [
        Person(f"{n:064x}", clinical(*some, metastasis=0, follow_up_days=2000), {"a": 1.0})
        for n, some in enumerate(facts)
    ]
    for present, absent, left in (
        (("icd-10-cm:C50",), (), [0, 1]),
        ((), ("icd-10-cm:E11",), [0, 3]),
        (("icd-10-cm:C50",), ("icd-10-cm:E11",), [0]),
    ):
        cohort = select(people, minimum=1, rules=CohortRules((0, 130), present, absent))
        assert [int(m.person.subject, 16) for m in cohort.members] == left


def test_facts_after_the_index_affect_neither_inclusion_nor_values() -> None:
    dated = (Reading("bmi", 20.0, 90), Reading("bmi", 30.0, 110))
    later = replace(clinical(("C50", 100), ("E11", 101), born=1950), readings=dated)
    rules = CohortRules((0, 130), (), ("icd-10-cm:E11",))
    cohort = select([Person("0" * 64, later)], 1, rules=rules, outcome=DIAGNOSIS, source="none")
    assert clinical_matrix(cohort, ["bmi", "age_years"], QUIET).tolist() == [[20.0, 20.0]]
    for day in (100, None):
        before = replace(later, facts=(*later.facts, Fact(1, "icd-10-cm", "E11", day)))
        with pytest.raises(CohortTooSmall):
            select([Person("0" * 64, before)], 1, rules=rules, outcome=DIAGNOSIS, source="none")


@pytest.mark.parametrize(
    ("facts", "outcome", "expected"),
    [
        # With an index day (100): known to be before it, after it, at an unknown time, never.
        ([("I10.9", 100)], DIAGNOSIS, 1.0),
        ([("I10", 40), ("I10", None)], DIAGNOSIS, 1.0),
        ([("I10", 101)], DIAGNOSIS, 0.0),
        ([("I10", None)], DIAGNOSIS, np.nan),
        ([("I11", 40)], DIAGNOSIS, 0.0),
        # Without one, a dated fact may be from after the event.
        ([("I10", None)], METASTASIS, 1.0),
        ([("I10", 40)], METASTASIS, np.nan),
        ([], METASTASIS, 0.0),
    ],
)
def test_a_code_is_a_predictor_if_it_was_known_before(
    facts: list[tuple[str, int | None]], outcome: Outcome, expected: float
) -> None:
    sure = [("I10", 40)] if outcome is DIAGNOSIS else [("I10", None)]
    column = predictor([facts, sure, []], outcome)
    assert np.array_equal(column, [expected] * 10 + [1.0] * 10 + [0.0] * 10, equal_nan=True)


def predictor(
    kinds: list[list[tuple[str, int | None]]], outcome: Outcome, each: int = 10
) -> list[float]:
    """The column of a code among so many people of each kind, by their facts."""
    index = [("C50", 100)] if outcome is DIAGNOSIS else []
    people = [
        Person(f"{n:064x}", clinical(*index, *facts, metastasis=n % 2, follow_up_days=2000.0))
        for n, facts in enumerate(facts for facts in kinds for _ in range(each))
    ]
    cohort = select(people, len(people), outcome=outcome, source="none")
    column: list[float] = clinical_matrix(cohort, ["size_mm", "icd-10-cm:I10"], QUIET)[
        :, 1
    ].tolist()
    return column


def test_a_code_that_few_people_have_or_lack_is_no_predictor() -> None:
    """With nine of them, a metric that it moves would be about these nine."""
    assert predictor([[("I10", 40)], []], DIAGNOSIS, 9) == [0.0] * 18
    assert predictor([[("I10", 40)], [("I10", 40)], []], DIAGNOSIS, 9) == [0.0] * 27


def test_no_few_people_differ_by_a_pair_of_codes() -> None:
    """By E11 and E11.9 together, three people would be known."""

    def columns(*kinds: tuple[int, str, int | None]) -> list[list[float]]:
        facts = [(code, day) for count, code, day in kinds for _ in range(count)]
        people = [
            Person(f"{n:064x}", clinical(("C50", 100), *([] if code == "" else [(code, day)])))
            for n, (code, day) in enumerate(facts)
        ]
        cohort = select(people, len(people), outcome=DIAGNOSIS, source="none")
        matrix = clinical_matrix(cohort, ["icd-10-cm:E11", "icd-10-cm:E11.9"], QUIET)
        totals: list[list[float]] = [matrix.sum(axis=0).tolist()]
        return totals

    assert columns((10, "E11.9", 40), (3, "E11.2", 40), (20, "", None)) == [[13, 0]]
    assert columns((10, "E11.9", 40), (10, "E11.2", 40), (20, "", None)) == [[20, 10]]


def test_a_code_recorded_later_was_not_known_before() -> None:
    late = clinical(("C50", 100), ("I10", 40))
    late = replace(
        late, facts=tuple(replace(f, recorded=200 if f.code == "I10" else None) for f in late.facts)
    )
    sure, none = clinical(("C50", 100), ("I10", 40)), clinical(("C50", 100))
    people = [Person(f"{n:064x}", (late, sure, none)[n % 3]) for n in range(30)]
    cohort = select(people, 30, outcome=DIAGNOSIS, source="none")
    column = clinical_matrix(cohort, ["icd-10-cm:I10"], QUIET)[:, 0].tolist()
    assert column == [0.0, 1.0, 0.0] * 10


def test_a_rehearsal_has_the_codes_that_it_asks_for() -> None:
    """Some of the invented people have them, some do not; all have what the cohort wants."""
    names = ["icd-10-cm:I10", "atc:C09AA05", "family-icd-10-cm:C50", "encounter-act-code:IMP"]
    asked: dict[str, Any] = {
        "outcome": {
            "kind": "diagnosis",
            "index": ["icd-10-cm:C50"],
            "event": ["icd-10-cm:C79"],
            "horizon_days": 1825,
            "censoring": "exclude",
            "washout_days": 365,
            "risk_start_days": 1820,
        },
        "cohort": {"with": ["allergy-atc:J01CA04"]},
        "clinical": names,
        "models": {"logistic": ["clinical"]},
        "genes": {"source": "none"},
    }
    params = parse_params(complete(asked))
    people = read_people(invent(params, 200, 1), params.gene_source)
    cohort = select(people, 200, rules=params.cohort, outcome=params.outcome, source="none")
    assert (0.2 < clinical_matrix(cohort, names, QUIET).mean(axis=0)).all()
    assert (clinical_matrix(cohort, names, QUIET).mean(axis=0) < 0.8).all()


def test_another_kind_of_fact_is_no_predictor() -> None:
    """A relative's disease, and an allergy to a drug."""
    record = clinical(("C50", 100))
    others = (Fact(5, "family-icd-10-cm", "I10", 40), Fact(3, "allergy-atc", "C09AA05", 40))
    records = [record, replace(record, facts=(*record.facts, *others))]
    people = [Person(f"{n:064x}", records[n % 2]) for n in range(20)]
    cohort = select(people, 20, outcome=DIAGNOSIS, source="none")
    names = ["icd-10-cm:I10", "family-icd-10-cm:I10", "atc:C09", "allergy-atc:C09"]
    assert clinical_matrix(cohort, names, QUIET).tolist() == [[0.0] * 4, [0.0, 1.0, 0.0, 0.0]] * 10


def test_without_an_index_no_dated_value_is_a_feature() -> None:
    """It may have been measured after the metastasis; an age at the last visit reveals the length
    of follow-up."""
    dated = (
        Reading("bmi", 20.0, 100),
        Reading("bmi", 30.0, 9000),
        Reading("age_years", 55.0, 9000),
    )
    both = [clinical(born=1950, metastasis=n, follow_up_days=2000.0, size_mm=7.0) for n in range(2)]
    both = [replace(record, readings=(*record.readings, *dated)) for record in both]
    cohort = select([Person(f"{n:064x}", record) for n, record in enumerate(both)], source="none")
    assert np.array_equal(
        clinical_matrix(cohort, ["bmi", "age_years", "size_mm"], QUIET),
        [[np.nan, np.nan, 7.0]] * cohort.people,
        equal_nan=True,
    )


def test_the_flow_adds_up() -> None:
    people = [
        person(n, event=n % 2, days=100 if n % 2 else 3000, age_years=30 + n) for n in range(40)
    ]
    people += [replace(person(50 + n), expression=None) for n in range(3)] + [
        person(60, days=50, age_years=45)
    ]
    random.Random(1).shuffle(people)
    cohort = select(people, rules=CohortRules((40, 60), (), ()))
    assert cohort.granted == 44
    assert tuple((name, len(left)) for name, left in cohort.flow) == (
        ("has the records", 41),
        ("aged 40 to 60", 22),
        ("outcome known", 22),
        ("not censored before the horizon", 21),
    )
    assert cohort.people == 21


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(InputsError):
        clinical_matrix(select(six()), ["favourite_colour"], QUIET)
