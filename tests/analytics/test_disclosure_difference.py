"""Differencing attack: an insider subtracts two runs of nearly the same people."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import floor
from typing import Any

import numpy as np
import pytest
from quiet import NOISE_KEY, QUIET
from scan_cohorts import silent, sites_of

from analytics.association import associate
from analytics.cohort import Cohort, Person, select_people
from analytics.disclosure.differencing import Earlier, TooFewDiffer, refuse_small_differences
from analytics.params import complete, parse_params
from analytics.people import Input
from analytics.readers.clinical import ClinicalRecord, Reading
from analytics.readers.genotypes import Genotypes
from analytics.run import run
from analytics.simulate.rehearsal import invent
from analytics.vocabulary import Category

ALL = (1 << 20) - 1  # every category
ANY = (0, 130)


def people_of(dosage: np.ndarray, event: np.ndarray) -> list[Person]:
    """One person per row (n, m), aged 40, 41, ... in order; relapsed at day 800 or followed to day
    4,000."""
    sites, known = sites_of(dosage.shape[1]), np.full(dosage.shape[1], 60, np.uint8)
    people = []
    for at, row in enumerate(dosage):
        values = {
            "age_years": 40.0 + at,
            "metastasis": float(event[at]),
            "follow_up_days": 800 if event[at] else 4000,
        }
        clinical = ClinicalRecord(
            None, None, (), tuple(Reading(name, float(v), None) for name, v in values.items()), None
        )
        people.append(
            Person(
                f"{at:064x}",
                clinical,
                None,
                Genotypes(sites, bytes(32), row.astype(np.int8), known, known),
            )
        )
    return people


def asked(age: tuple[int, int] = ANY, horizon: int = 1825, **changes: Any) -> bytes:
    document = {
        "analysis": "associate",
        "components": 0,
        "statistics": 1,
        "cohort": {"age": list(age)},
        "outcome": {"kind": "distant-metastasis", "horizon_days": horizon},
        "variants": {"min_hwe": "0", "min_maf": "0"},
    }
    return complete(document | changes)


def chosen(people: Sequence[Person], params: bytes) -> Cohort:
    parsed = parse_params(params)
    return select_people(people, parsed.cohort, parsed.outcome, "variants", 1)


def earlier_of(params: bytes, people: Sequence[Person]) -> Earlier:
    return Earlier(params, ALL, frozenset(person.subject for person in people), True)


def is_refused(people: Sequence[Person], params: bytes, *earlier: Earlier) -> bool:
    try:
        refuse_small_differences(chosen(people, params), parse_params(params), [], people, earlier)
    except TooFewDiffer:
        return True
    return False


@pytest.fixture(scope="module")
def sixty() -> list[Person]:
    generator = np.random.default_rng(1)
    return people_of(generator.binomial(2, 0.4, (60, 1)), np.arange(60) % 2)


@pytest.mark.parametrize(
    ("fewer", "refused"), [(0, False), (1, True), (9, True), (10, False), (25, False)]
)
def test_the_people_must_be_the_same_or_ten_of_them_differ(
    sixty: list[Person], fewer: int, refused: bool
) -> None:
    """Under the same rules. Under other rules, permission would reveal that nobody differs in what
    they require."""
    age = (40 + fewer, 130) if fewer else ANY
    narrow, wide = asked(age), asked()
    assert is_refused(sixty, narrow, earlier_of(wide, sixty)) == refused
    assert is_refused(sixty, wide, earlier_of(narrow, sixty)) == refused
    sites = complete(
        {"analysis": "frequencies", "sites": ["1:1:A>G"], "cohort": {"age": list(age)}}
    )
    assert is_refused(sixty, sites, earlier_of(wide, sixty)) == refused
    # The same people, under other rules.
    assert is_refused(sixty, asked((40, 130)), earlier_of(wide, sixty))
    # Five left out at either end are ten.
    assert not is_refused(sixty, asked((45, 130)), earlier_of(asked((40, 94)), sixty))


def test_each_earlier_run_is_compared(sixty: list[Person]) -> None:
    far, near = earlier_of(asked((60, 130)), sixty), earlier_of(asked((41, 130)), sixty)
    assert not is_refused(sixty, asked(), far)
    assert is_refused(sixty, asked(), far, near)


def test_people_not_granted_then_were_not_in_the_earlier_cohort(sixty: list[Person]) -> None:
    assert is_refused(sixty, asked(), earlier_of(asked(), sixty[3:]))
    assert not is_refused(sixty, asked(), earlier_of(asked(), sixty[10:]))


def test_changed_outcomes_of_few_people_are_a_difference(sixty: list[Person]) -> None:
    """The same people, and a horizon after which three more relapses have occurred."""
    when = Reading("follow_up_days", 2000.0, None)
    late = [
        replace(p, clinical=replace(p.clinical, readings=(*p.clinical.readings[:2], when)))
        if at in (1, 3, 5) and p.clinical
        else p
        for at, p in enumerate(sixty)
    ]
    assert not is_refused(late, asked(), earlier_of(asked(), late))
    assert is_refused(late, asked(horizon=2500), earlier_of(asked(), late))
    sites = complete({"analysis": "frequencies", "sites": ["1:1:A>G"]})
    # Which asks for no outcome.
    assert not is_refused(late, asked(horizon=2500), earlier_of(sites, late))


@pytest.mark.parametrize(
    ("gone", "fewer", "refused"),
    [
        (1, 0, True),
        (9, 0, True),
        (10, 0, True),
        (12, 1, True),
        (5, 5, True),
        (3, 10, False),
        (20, 9, True),
    ],
)
def test_withdrawn_people_may_have_been_in_the_earlier_cohort(
    sixty: list[Person], gone: int, fewer: int, refused: bool
) -> None:
    """Closed records cannot show membership; neither the withdrawn person nor a few more hide among
    ten who left."""
    earlier = earlier_of(asked(), sixty)
    assert is_refused(sixty[: 60 - gone], asked((40 + fewer, 130)), earlier) == refused


def test_an_unreadable_earlier_run_counts_as_the_same_people(sixty: list[Person]) -> None:
    """A permit of fewer categories, or old parameters, do not show who was in the cohort."""
    for changes in ({"readable": False}, {"params": b"{}"}):
        same, most, fewer = (
            replace(earlier_of(asked(), some), **changes) for some in (sixty, sixty[9:], sixty[10:])
        )
        assert is_refused(sixty, asked(), same)
        assert is_refused(sixty, asked((60, 130)), same)
        assert is_refused(sixty, asked(), most)
        assert not is_refused(sixty, asked(), fewer)


@pytest.mark.parametrize("measure", ["depth", "quality"])
def test_genotypes_of_few_that_another_rule_would_read_are_a_difference(
    sixty: list[Person], measure: str
) -> None:
    low: Any = {measure: np.full(1, 7, np.uint8)}
    doubtful = [
        replace(p, genotypes=replace(p.genotypes, **low)) if at == 4 and p.genotypes else p
        for at, p in enumerate(sixty)
    ]
    strict = asked(variants={"min_hwe": "0", "min_maf": "0", f"min_{measure}": 20})
    assert is_refused(doubtful, strict, earlier_of(asked(), doubtful))
    assert not is_refused(sixty, strict, earlier_of(asked(), sixty))  # here it reads the same
    assert not is_refused(doubtful, strict, earlier_of(asked((55, 130)), doubtful))


def tables(people: int, events: int) -> Iterator[tuple[int, ...]]:
    """Reference, heterozygous and homozygous people with the event, then those without."""
    for positives in product(range(events + 1), repeat=2):
        for negatives in product(range(people - events + 1), repeat=2):
            if sum(positives) <= events and sum(negatives) <= people - events:
                yield (
                    events - sum(positives),
                    *positives,
                    people - events - sum(negatives),
                    *negatives,
                )


def z_of(table: np.ndarray) -> np.ndarray:
    """The score test's z of tables (6, n)."""
    people, share = table.sum(axis=0), table[:3].sum(axis=0) / table.sum(axis=0)
    all_of = table[:3] + table[3:]
    alleles = all_of[1] + 2 * all_of[2]
    information = share * (1 - share) * (all_of[1] + 4 * all_of[2] - alleles**2 / people)
    return (table[1] + 2 * table[2] - alleles * share) / np.sqrt(np.maximum(information, 1e-9))


def test_the_difference_of_two_scans_would_reveal_a_genotype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second run is refused: an attacker who knows the sizes, and whom it leaves out, would learn
    a genotype that this person does not have."""
    monkeypatch.setattr("analytics.association.choose_step", lambda *_: 1)
    monkeypatch.setattr("analytics.association.LEAST_EXPECTED", 0)
    revealed = 0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        dosage = generator.binomial(2, 0.25, (36, 1))
        event = (generator.random(36) < 0.5).astype(np.int64)
        people = people_of(dosage, event)
        first, second = asked(), asked((41, 130))
        assert is_refused(people, second, earlier_of(first, people))
        shown: list[Any] = [
            associate(chosen(people, params), parse_params(params), silent, QUIET)[0]["rows"]
            for params in (first, second)
        ]
        wanted = [floor(10 * float(rows[0]["z"]) + 0.5) for rows in shown]
        candidates = np.array(list(tables(36, int(event.sum())))).T
        candidates = candidates[:, np.floor(10 * z_of(candidates) + 0.5 + 1e-5) == wanted[0]]
        left = set()
        for genotype in (0, 1, 2):
            without = candidates.copy()
            without[3 - 3 * int(event[0]) + genotype] -= 1
            without = without[:, without.min(axis=0) >= 0]
            if (np.floor(10 * z_of(without) + 0.5 + 1e-5) == wanted[1]).any():
                left.add(genotype)
        assert int(dosage[0, 0]) in left
        revealed += len(left) < 3
    assert revealed >= 3


@pytest.fixture(scope="module")
def records() -> list[Input]:
    return invent(parse_params(asked()), 60, 1)


def test_a_run_is_compared_and_a_prediction_is_not(records: list[Input]) -> None:
    params, subjects = (
        complete({"analysis": "frequencies", "sites": [site_in(records)]}),
        subjects_of(records),
    )
    same, other = (Earlier(params, ALL, frozenset(some), True) for some in (subjects, subjects[1:]))
    assert run(params, records, 10, earlier=[same], noise_key=NOISE_KEY) == run(
        params, records, 10, noise_key=NOISE_KEY
    )
    with pytest.raises(
        TooFewDiffer, match="differs by fewer than 10 people from that of an earlier result"
    ):
        run(params, records, 10, earlier=[same, other], noise_key=NOISE_KEY)
    prediction = complete(
        {
            "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
            "folds": 2,
            "models": {"logistic": ["clinical"]},
            "permutations": 19,
            "bootstraps": 0,
            "clinical": ["age_years"],
        }
    )
    assert run(prediction, records, 10, earlier=[other], noise_key=NOISE_KEY).statistics == 0


def test_an_earlier_cohort_is_that_of_the_records_it_could_read(records: list[Input]) -> None:
    """It had no record of three people, since its permit lacked their only category."""
    subjects = subjects_of(records)
    site = site_in(records)
    with_record = complete(
        {"analysis": "frequencies", "sites": [site], "cohort": {"without": ["icd-10-cm:Z99"]}}
    )
    had = [item for item in records if item.category in (0, 2, Category.GERMLINE_VARIANTS)]
    had = [item for item in had if item.category != 0 or item.subject not in subjects[:3]]
    assert (
        run(
            with_record,
            had,
            10,
            earlier=[Earlier(with_record, ALL, frozenset(subjects), True)],
            noise_key=NOISE_KEY,
        ).people
        == 60
    )
    with pytest.raises(TooFewDiffer):
        run(
            with_record,
            had,
            10,
            earlier=[
                Earlier(with_record, 1 << Category.GERMLINE_VARIANTS | 1, frozenset(subjects), True)
            ],
            noise_key=NOISE_KEY,
        )


def subjects_of(records: Sequence[Input]) -> list[str]:
    return sorted({item.subject for item in records})


def site_in(records: Sequence[Input]) -> str:
    from analytics.readers.genotypes import read_genotypes

    return read_genotypes(
        next(item.payload for item in records if item.category == Category.GERMLINE_VARIANTS), {}
    ).sites.names()[0]
