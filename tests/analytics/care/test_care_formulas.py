"""Three-valued logic, days, and the facts that are computed: exact, and against CPIC's table."""

from __future__ import annotations

import datetime
import itertools
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from care_people import CLEAR, TODAY, but, known
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.care.days import date_of, day_of, year_of
from analytics.care.facts import FACTS, Fact, Kind, Known, Reason, Unknown
from analytics.care.formulas import DERIVATIONS, derived
from analytics.care.logic import conjunction, disjunction, negation
from analytics.care.rule_set import shipped

YES, NO, UNSURE = True, False, None
# Kleene 1952, section 64: the strong tables.
AND = {
    (YES, YES): YES, (YES, NO): NO, (YES, UNSURE): UNSURE,
    (NO, YES): NO, (NO, NO): NO, (NO, UNSURE): NO,
    (UNSURE, YES): UNSURE, (UNSURE, NO): NO, (UNSURE, UNSURE): UNSURE,
}  # a table  # fmt: skip
OR = {
    (YES, YES): YES, (YES, NO): YES, (YES, UNSURE): YES,
    (NO, YES): YES, (NO, NO): NO, (NO, UNSURE): UNSURE,
    (UNSURE, YES): YES, (UNSURE, NO): UNSURE, (UNSURE, UNSURE): UNSURE,
}  # a table  # fmt: skip


def test_kleenes_tables() -> None:
    for pair in itertools.product((YES, NO, UNSURE), repeat=2):
        assert conjunction(pair) is AND[pair]
        assert disjunction(pair) is OR[pair]
    assert [negation(value) for value in (YES, NO, UNSURE)] == [NO, YES, UNSURE]
    assert (conjunction([]), disjunction([])) == (True, False)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([True, False, None])))
def test_many_are_as_two_and_two(values: list[bool | None]) -> None:
    both, either = True, False
    for value in values:
        both, either = AND[both, value], OR[either, value]  # type: ignore[assignment]
    assert (conjunction(values), disjunction(values)) == (both, either)
    assert negation(conjunction(values)) is disjunction(negation(value) for value in values)


@settings(deadline=None, max_examples=100)
@given(st.dates(datetime.date(1600, 1, 1), datetime.date(2400, 12, 31)))
def test_days_are_those_of_the_calendar(date: datetime.date) -> None:
    day = (date - datetime.date(1970, 1, 1)).days
    assert (day_of(date.isoformat()), date_of(day), year_of(day)) == (
        day,
        date.isoformat(),
        date.year,
    )


@pytest.mark.parametrize("text", ["2026-02-29", "2026-13-01", "2026-00-10", "26-1-1", "today"])
def test_no_date_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match=r"date|invalid literal|unpack"):
        day_of(text)


def clearance(**changes: object) -> Fact:
    facts = but(CLEAR, **changes)  # type: ignore[arg-type]
    return derived("creatinine_clearance", facts, TODAY, shipped().tables)


POSITIVE = st.decimals("20", "400", places=2), st.decimals("0.1", "25", places=2)


@settings(deadline=None, max_examples=100)
@given(*POSITIVE, st.integers(19, 110), st.sampled_from(["female", "male"]))
def test_clearance_is_the_formula_rounded_down(
    weight: Decimal, creatinine: Decimal, age: int, sex: str
) -> None:
    fact = clearance(
        weight=weight, creatinine=creatinine, age=known(Decimal(age), 0), sex=Known(sex, None)
    )
    assert isinstance(fact, Known)
    exact = Fraction(140 - age) * Fraction(weight) / (72 * Fraction(creatinine))
    exact *= Fraction(85, 100) if sex == "female" else 1
    assert isinstance(fact.value, Decimal)
    assert 0 <= exact - Fraction(fact.value) < Fraction(1, 1_000_000)
    # So no bound of a class is crossed by rounding.
    for bound in (31, 51):
        assert (fact.value >= bound) is (exact >= bound)


@settings(deadline=None, max_examples=100)
@given(*POSITIVE, st.decimals("0.1", "25", places=2))
def test_clearance_falls_as_creatinine_and_age_rise(
    weight: Decimal, creatinine: Decimal, more: Decimal
) -> None:
    low, high = sorted((creatinine, more))
    of = [clearance(weight=weight, creatinine=value) for value in (low, high)]
    older = clearance(weight=weight, creatinine=low, age=known(Decimal(69), 0))
    values = [fact.value for fact in (*of, older) if isinstance(fact, Known)]
    assert values[0] >= values[1]  # type: ignore[operator]
    assert values[0] > values[2]  # type: ignore[operator]


def test_the_older_age_of_a_year_of_birth() -> None:
    """Born in 1958: 67 or 68 on 30 November 2026; from a record of 2025 too."""
    of_last_year = known(Decimal(67), 365)
    for age in (of_last_year, known(Decimal(68), 0), Known(Decimal(68), None)):
        fact = clearance(age=age)
        assert isinstance(fact, Known)
        assert fact.value == Decimal(80)


@pytest.mark.parametrize(
    "changes",
    [
        {"creatinine": Decimal(88)},
        {"creatinine": Decimal(0)},
        {"weight": Decimal(0)},
        {"weight": Decimal(8000)},
        {"age": Decimal(10)},
        {"age": Decimal(150)},
        {"sex": "other"},
    ],
)
def test_what_is_not_plausible_is_not_computed(changes: dict[str, object]) -> None:
    fact = clearance(**changes)
    assert isinstance(fact, Unknown)
    assert fact.reason is Reason.NOT_UNDERSTOOD


@pytest.mark.parametrize("name", ["sex", "age", "weight", "creatinine"])
def test_no_clearance_without_an_input(name: str) -> None:
    assert clearance(**{name: Unknown(Reason.TOO_OLD)}) == Unknown(Reason.TOO_OLD)


def dpyd(variants: tuple[str, ...], positions: tuple[str, ...]) -> Fact:
    facts = {"dpyd_variants": known(variants), "dpyd_positions": known(positions)}
    return derived("dpyd_score", facts, TODAY, shipped().tables)


FOUR = ("c.1905+1G>A", "c.1679T>G", "c.2846A>T", "c.1236G>A")


def test_every_diplotype_of_cpic_has_its_score() -> None:
    table = json.loads((Path(__file__).parent / "dpyd-diplotypes.json").read_text())
    names = table["variants"]
    count = 0
    for n, row in enumerate(table["doubled_scores"]):
        for first, second, doubled in zip(itertools.repeat(names[n]), names[n:], row, strict=False):
            variants = tuple(name for name in (first, second) if name != "Reference")
            fact = dpyd(variants, FOUR)
            assert isinstance(fact, Known)
            # The two names of one haplotype on one person: CPIC's table has them on two copies.
            if {first, second} != {"c.1129-5923C>G", "c.1129-5923C>G, c.1236G>A (HapB3)"}:
                assert fact.value == Decimal(doubled) / 2, (first, second)
            count += 1
    assert count == 3570


def test_more_than_two_variants_count_as_the_two_lowest() -> None:
    assert dpyd(("c.2846A>T", "c.1905+1G>A (*2A)", "c.46C>G"), FOUR) == Known(
        Decimal("0.5"), TODAY - 5, ("Observation/5",)
    )


@pytest.mark.parametrize("position", range(4))
def test_a_position_without_call_gives_no_score(position: int) -> None:
    fact = dpyd((), FOUR[:position] + FOUR[position + 1 :])
    assert isinstance(fact, Unknown)
    assert fact.reason is Reason.NO_CALL


@pytest.mark.parametrize(
    ("diplotype", "score"),
    [("*1/*1", "2"), ("*1/*10", "1.25"), ("*4/*41", "0.25"), ("*4 / *5", "0"), ("*1x2/*4", "2")],
)
def test_cyp2d6_scores(diplotype: str, score: str) -> None:
    fact = derived(
        "cyp2d6_score", {"cyp2d6_diplotype": known((diplotype,))}, TODAY, shipped().tables
    )
    assert isinstance(fact, Known)
    assert fact.value == Decimal(score)


@pytest.mark.parametrize(
    "diplotypes", [("*1/*22",), ("*1",), ("*1/*4/*4",), (), ("*1/*4", "*1/*1")]
)
def test_cyp2d6_without_a_score(diplotypes: tuple[str, ...]) -> None:
    facts = {"cyp2d6_diplotype": known(diplotypes)}
    assert isinstance(derived("cyp2d6_score", facts, TODAY, shipped().tables), Unknown)


def test_derived_facts_have_their_kinds_and_inputs() -> None:
    for name, derivation in DERIVATIONS.items():
        assert {name, *derivation.inputs} <= FACTS.keys()
        assert not set(derivation.inputs) & DERIVATIONS.keys()
    assert FACTS["creatinine_clearance"].kind is Kind.NUMBER


@pytest.mark.parametrize("name", ["pregnant", "breast_feeding"])
@pytest.mark.parametrize("reason", list(Reason))
def test_menopause_excludes_only_what_was_never_recorded(name: str, reason: Reason) -> None:
    state = Unknown(reason)
    for sex, menopause in (("female", "after"), ("male", "before")):
        facts = {name: state, "sex": known(sex), "menopause": known(menopause)}
        fact = derived(f"{DERIVED[name]}_excluded", facts, TODAY, shipped().tables)
        if reason is Reason.NOT_RECORDED:
            assert isinstance(fact, Known)
            assert fact.value is True
        else:
            assert fact == state


DERIVED = {"pregnant": "pregnancy", "breast_feeding": "breast_feeding"}


@pytest.mark.parametrize("name", ["hepatic_impairment", "child_pugh"])
def test_the_liver_is_unknown_where_one_statement_is_in_doubt(name: str) -> None:
    facts = {"hepatic_impairment": known("none"), "child_pugh": known("A")}
    facts[name] = Unknown(Reason.NO_DATE)
    assert derived("liver", facts, TODAY, shipped().tables) == Unknown(Reason.NO_DATE)
    facts[name] = Unknown(Reason.NOT_RECORDED)
    assert isinstance(derived("liver", facts, TODAY, shipped().tables), Known)
