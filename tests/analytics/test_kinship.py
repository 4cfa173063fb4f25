"""Kinship: the estimator, planted relatives and copies, and nobody in clean data."""

import json
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from families import Population
from hypothesis import given, settings
from hypothesis import strategies as st
from quiet import NOISE_KEY
from sklearn.model_selection import StratifiedKFold
from speed import allowed

from analytics import kinship
from analytics.cohort import Person, choose_members, select_people
from analytics.disclosure.differencing import Earlier, TooFewDiffer
from analytics.errors import CohortTooSmall
from analytics.evaluate import assign_folds, bootstrap_aucs, predict_once
from analytics.kinship import (
    MOST_VARIANTS,
    SAME_GENOME,
    THIRD,
    Kinship,
    Relatives,
    choose_common,
    count_genotypes,
    estimate,
    relate,
)
from analytics.models.pipeline import build_model
from analytics.models.registry import Blueprint
from analytics.params import CohortRules, Outcome, complete, parse_params
from analytics.people import Input
from analytics.readers.clinical import ClinicalRecord, Reading
from analytics.readers.genotypes import Genotypes, build_sites, is_genotypes
from analytics.run import run
from analytics.simulate import rehearsal
from analytics.simulate.known_truth import simulate_cohort
from analytics.simulate.known_truth_files import genome_order, places_of
from analytics.simulate.rehearsal import invent
from analytics.variants import find_relatives

EVERYBODY = CohortRules((0, 130), (), ())
METASTASIS = Outcome("distant-metastasis", 1825)


def by_counting(first: np.ndarray, second: np.ndarray) -> float:
    """Equation 11 of Manichaikul et al. 2010, from its counts of genotypes."""
    shared = (first >= 0) & (second >= 0)
    first, second = first[shared], second[shared]
    both = int(((first == 1) & (second == 1)).sum())
    opposite = int((np.abs(first - second) == 2).sum())
    fewer, more = sorted((int((first == 1).sum()), int((second == 1).sum())))
    return (both - 2 * opposite) / (2 * fewer) + 1 / 2 - (fewer + more) / (4 * fewer)


def places(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Chromosome and position of m variants over the genome."""
    at = np.arange(m) * 220 // m
    return (at // 10 + 1).astype(np.uint8), (1 + at % 10 * kinship.STRETCH).astype(np.uint32)


def slices(m: int, blocks: int = 20) -> list[slice]:
    edges = np.linspace(0, m, blocks + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def degrees(related: Kinship) -> dict[tuple[int, int], int]:
    return {(i, j): degree for i, j, degree in related.pairs}


def test_a_pair_counted_by_hand() -> None:
    """60 each of Aa-Aa, Aa-AA, AA-Aa, AA-aa and aa-aa: (60 - 2 x 60) / 240 + 1/2 - 240/480."""
    dosage = np.array([[1, 1, 0, 0, 2], [1, 0, 1, 2, 2]], np.int8).repeat(60, axis=1)
    value, *_ = estimate(dosage, slices(300), 1)
    assert by_counting(*dosage) == -0.25
    assert value[0, 1] == -0.25


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05, 0.3]))
def test_the_estimator_is_that_of_the_paper(seed: int, missing: float) -> None:
    draw = np.random.default_rng(seed)
    dosage = draw.binomial(2, draw.uniform(0.2, 0.8, 600), (5, 600)).astype(np.int8)
    dosage[draw.random(dosage.shape) < missing] = -1
    value, *_ = estimate(dosage, slices(600), 5)
    expected = [[by_counting(row, other) for other in dosage] for row in dosage]
    np.testing.assert_allclose(value, expected, atol=1e-5)


def test_the_standard_error_is_the_spread_over_unrelated_pairs() -> None:
    draw = np.random.default_rng(1)
    dosage = draw.binomial(2, draw.uniform(0.2, 0.8, 1000), (80, 1000)).astype(np.int8)
    value, error, _ = estimate(dosage, slices(1000, 50), 80)
    pairs = np.triu_indices(80, 1)
    assert np.sqrt((error[pairs] ** 2).mean()) == pytest.approx(value[pairs].std(), rel=0.15)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(9, 120)


@pytest.fixture(scope="module")
def families(population: Population) -> np.ndarray:
    """0 a copy of 1; 2 and 3 siblings, 4 their mother, 5 their half-sibling by her; 6 and 7 first
    cousins by siblings; 8 to 20 nobody's relatives."""
    p = population
    copied, mother, father, stepfather = (p.founder() for _ in range(4))
    siblings = [p.child(mother, father) for _ in range(2)]
    half = p.child(mother, stepfather)
    grandparents = p.founder(), p.founder()
    cousins = [p.child(p.child(*grandparents), p.founder()) for _ in range(2)]
    others = [p.founder() for _ in range(13)]
    return p.genotypes(copied, copied, *siblings, mother, half, *cousins, *others)


def test_copies_and_relatives_of_each_degree_are_recognised(
    population: Population, families: np.ndarray
) -> None:
    result = relate(families, population.chromosome, population.position)
    assert degrees(result) == {
        (0, 1): 0,
        (2, 3): 1,
        (2, 4): 1,
        (3, 4): 1,
        (4, 5): 1,
        (2, 5): 2,
        (3, 5): 2,
        (6, 7): 3,
    }
    assert result.furthest == 3
    family = result.groups(3)
    assert len(set(family.tolist())) == len(families) - 5
    assert len(set(result.groups(0).tolist())) == len(families) - 1
    assert family[0] == family[1] != family[2] == family[3] == family[4] == family[5] != family[6]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_neither_order_nor_counted_allele_matters(seed: int) -> None:
    population = Population(4, 10)
    p, draw = population, np.random.default_rng(seed)
    mother, father = p.founder(), p.founder()
    people = [mother, father, p.child(mother, father), mother, *(p.founder() for _ in range(4))]
    dosage = population.genotypes(*people)
    before = relate(dosage, population.chromosome, population.position)
    order, flipped = draw.permutation(len(people)), draw.random(dosage.shape[1]) < 0.5
    turned = np.where((dosage >= 0) & flipped, 2 - dosage, dosage)[order].astype(np.int8)
    after = relate(turned, population.chromosome, population.position)
    original = {
        (min(pair), max(pair)): degree
        for i, j, degree in after.pairs
        for pair in [(int(order[i]), int(order[j]))]
    }
    assert original == degrees(before)
    assert original[0, 3] == 0
    assert after.furthest == before.furthest


def truth(people: int, seed: int, variants: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The demo's simulated people: few variants, in blocks that are correlated."""
    simulated = simulate_cohort(people, seed, variants)
    order = genome_order(simulated.haplotypes.shape[2])
    dosage = np.where(simulated.called, (simulated.haplotypes == 1).sum(axis=0), -1)[:, order]
    chosen = choose_common(count_genotypes(dosage))
    chromosome, position = (part[chosen] for part in places_of(order))
    return (
        dosage[:, chosen].astype(np.int8),
        chromosome.astype(np.uint8),
        position.astype(np.uint32),
    )


@pytest.mark.parametrize(
    ("people", "variants", "seeds", "furthest"),
    [(100, 400, 10, 0), (350, 400, 3, 0), (1000, 400, 1, 0), (100, 2000, 10, 1)],
)
def test_nobody_is_related_in_clean_data(
    people: int, variants: int, seeds: int, furthest: int
) -> None:
    """By the cuts alone, hundreds would be: with 20 correlated blocks the estimator errs by .1."""
    for seed in range(seeds):
        dosage, chromosome, position = truth(people, seed, variants)
        result = relate(dosage, chromosome, position)
        assert result == Kinship(people, (), furthest)
    value, *_ = estimate(dosage, slices(dosage.shape[1]), people)
    assert (np.triu(value, 1) > THIRD).sum() > people / 10


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_related_among_independent_variants(seed: int) -> None:
    draw = np.random.default_rng(seed)
    dosage = draw.binomial(2, draw.uniform(0.1, 0.9, 4400), (200, 4400)).astype(np.int8)
    assert relate(dosage, *places(4400)) == Kinship(200, (), 2)


def test_a_copy_is_recognised_with_few_variants() -> None:
    """And with a call in a hundred wrong."""
    dosage, chromosome, position = truth(150, 1, 400)
    draw = np.random.default_rng(1)
    dosage[70] = dosage[3]
    wrong = draw.random(dosage.shape[1]) < 0.01
    dosage[70, wrong] = (dosage[70, wrong] + 1) % 3
    assert degrees(relate(dosage, chromosome, position)) == {(3, 70): 0}


def test_too_few_variants_tell_nothing() -> None:
    dosage, chromosome, position = truth(40, 1, 400)
    dosage[7] = dosage[3]
    here = chromosome <= 9
    assert relate(dosage[:, here], chromosome[here], position[here]) == Kinship(40, (), None)
    few = slice(None, None, 6)
    assert relate(dosage[:, few], chromosome[few], position[few]).pairs == ()
    assert relate(dosage[:1], chromosome, position).furthest is None
    assert relate(dosage[:, :0], chromosome[:0], position[:0]).furthest is None


def test_common_variants_are_chosen_at_even_distances() -> None:
    counts = np.array([[95, 90, 0, 3, 0], [5, 10, 10, 0, 0], [0, 0, 90, 3, 0]])
    assert choose_common(counts).tolist() == [1, 2, 3]
    many = np.tile([[5], [5], [5]], 3 * MOST_VARIANTS + 1)
    chosen = choose_common(many)
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST_VARIANTS, 0, 3 * MOST_VARIANTS)


@pytest.mark.alone
def test_many_people_take_seconds() -> None:
    draw = np.random.default_rng(1)
    dosage = draw.binomial(2, 0.3, (600, 10_000)).astype(np.int8)
    start = time.perf_counter()
    assert relate(dosage, *places(10_000)).pairs == ()
    assert time.perf_counter() - start < allowed(2)


def model(name: str, columns: int) -> Any:
    return build_model(Blueprint(name, columns, 0, "f", 20, 0, "mean", "z-score", 1))


def doubled(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """60 genomes that are noise, each twice, with an outcome each: (x, y, families)."""
    draw = np.random.default_rng(seed)
    family = np.tile(np.arange(60), 2)
    x = draw.binomial(2, 0.4, (60, 300)).astype(float)[family]
    return x, (np.arange(60) % 2)[family], family


@pytest.mark.parametrize("name", ["logistic", "knn"])
def test_noise_stays_noise_where_relatives_are_in_one_fold(name: str) -> None:
    apart, together = [], []
    for seed in range(8):
        x, y, family = doubled(seed)
        apart.append(predict_once(model(name, 300), x, y, folds=5, seed=seed).auc(y))
        predicted = predict_once(model(name, 300), x, y, folds=5, seed=seed, families=family)
        together.append(predicted.auc(y))
    assert np.mean(apart) > (0.95 if name == "knn" else 0.8)
    assert np.mean(together) <= 0.55


def test_families_are_drawn_and_tested_as_one() -> None:
    x, y, family = doubled(1)
    models = {"knn": (model("knn", 300), x)}
    settings = {"folds": 5, "samples": 12, "seed": 1}

    def tick(_fraction: float) -> None:
        pass

    apart = bootstrap_aucs(models, y, **settings, tick=tick)["knn"]  # type: ignore[arg-type]
    together = bootstrap_aucs(models, y, **settings, tick=tick, families=family)["knn"]  # type: ignore[arg-type]
    assert apart.mean() > 0.7
    assert together.mean() <= 0.56
    assert together.std() > 0


def test_without_relatives_the_folds_are_those_of_stratified_k_fold() -> None:
    y = (np.arange(50) % 3 == 0).astype(np.int64)
    splitter = StratifiedKFold(n_splits=5, shuffle=True, random_state=3)
    expected = np.empty(50, np.int64)
    for number, (_, test) in enumerate(splitter.split(y, y)):
        expected[test] = number
    np.testing.assert_array_equal(assign_folds(y, None, folds=5, seed=3), expected)
    family = np.arange(50) // 2
    together = assign_folds(y, family, folds=5, seed=3)
    np.testing.assert_array_equal(together[::2], together[1::2])
    assert np.bincount(together, minlength=5).tolist() == [10] * 5
    with pytest.raises(CohortTooSmall, match="not related"):
        assign_folds(y, np.where(y, 0, 1 + np.arange(50)), folds=5, seed=3)


def people_of(dosage: np.ndarray, events: np.ndarray, *where: np.ndarray) -> list[Person]:
    """Relapsed at day 800 or followed to day 4,000; subjects in order."""
    m = dosage.shape[1]
    sites = build_sites("GRCh38", *where, ["A>G"] * m, np.ones(m, np.uint8))
    full = np.full(m, 60, np.uint8)
    return [
        Person(
            f"{at:064x}",
            ClinicalRecord(
                None,
                None,
                (),
                (
                    Reading("metastasis", float(event), None),
                    Reading("follow_up_days", 800.0 if event else 4000.0, None),
                ),
                None,
            ),
            None,
            Genotypes(sites, bytes(32), row, full, full),
        )
        for at, (row, event) in enumerate(zip(dosage, events, strict=True))
    ]


def relatives_of(people: list[Person]) -> Relatives:
    return find_relatives({p.subject: p.genotypes for p in people if p.genotypes is not None})


def test_one_record_of_each_genome_stays_and_none_where_outcomes_differ() -> None:
    population = Population(5, 10)
    p = population
    mother = p.founder()
    child = p.child(mother, p.founder())
    others = [p.founder() for _ in range(40)]
    dosage = p.genotypes(others[0], others[0], others[1], others[1], mother, child, *others[2:])
    events = np.array([1, 1, 0, 1, 0, 1, *(np.arange(38) % 2)])
    people = people_of(dosage, events, p.chromosome, p.position)
    cohort = select_people(
        people, EVERYBODY, METASTASIS, "variants", 10, relatives=relatives_of(people)
    )
    kept = [int(member.person.subject, 16) for member in cohort.members]
    assert kept == [0, *range(4, 44)]
    assert (cohort.flow[-1][0], len(cohort.flow[-1][1])) == ("one record of each genome", 41)
    families = cohort.families
    assert families is not None
    assert families.tolist() == [0, 1, 1, *range(2, 40)]
    # Without an outcome, both records of a genome tell the same.
    members, flow = choose_members(people, EVERYBODY, None, "variants", relatives_of(people))
    assert [int(m.person.subject, 16) for m in members] == [0, 2, *range(4, 44)]
    assert (flow[-1][0], len(flow[-1][1])) == ("one record of each genome", 42)
    # Who is not in the cohort takes nobody's place.
    members, _ = choose_members(people[1:], EVERYBODY, None, "variants", relatives_of(people))
    assert int(members[0].person.subject, 16) == 1
    clean = people[6:]
    assert (
        select_people(
            clean, EVERYBODY, METASTASIS, "variants", 10, relatives=relatives_of(clean)
        ).families
        is None
    )


EVALUATE = {
    "models": {"knn": ["genes"], "logistic": ["genes"]},
    "primary": "logistic",
    "folds": 3,
    "genes": {"source": "variants", "keep": 20},
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "permutations": 19,
    "bootstraps": 0,
    "seed": 4,
}
FREQUENCIES = {"analysis": "frequencies", "sites": ["1:1000:A>G"]}


def records_with_copies(params: bytes, people: int, copied: int) -> list[Input]:
    """The records of invented people: the first `copied` of each outcome have genomes that others
    of that outcome have too."""
    inputs = invent(parse_params(params), people, 5)
    packed = [item for item in inputs if is_genotypes(item.payload)]
    last = len(packed) - 2 * copied
    genome = {item.subject: packed[last + at] for at, item in enumerate(packed[: 2 * copied])}
    return [
        Input(item.subject, item.category, genome.get(item.subject, item).payload)
        if is_genotypes(item.payload)
        else item
        for item in inputs
    ]


@pytest.fixture(autouse=True)
def _fewer_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "SITES", 400)


def test_a_run_drops_copies_and_finds_nothing_in_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    params = complete(EVALUATE)
    inputs = records_with_copies(params, 120, 30)
    output = run(params, inputs, 10, noise_key=NOISE_KEY)
    result = json.loads(output.result)
    assert output.people == 60
    assert result["flow"][-1]["people"] == result["people"]
    assert abs(result["people"] - 60) <= 15  # the bound of the noise
    assert result["flow"][-1]["step"].endswith("one record of each genome")
    assert max(row["auc"] for row in result["rows"]) <= 55
    assert result["kinship"] == "first-degree"
    rules = [rule["rule"] for rule in json.loads(output.disclosure)["rules"]]
    assert {"one record of each genome", "relatives in one fold"} <= set(rules)
    monkeypatch.setattr(kinship, "CUTS", (2.0,) * 4)
    unprotected = json.loads(run(params, inputs, 10, noise_key=NOISE_KEY).result)
    assert {row["model"]: row["auc"] for row in unprotected["rows"]}["knn"] > 80


def test_few_copies_are_not_counted_in_the_result() -> None:
    """Beside the people granted, the number of those left would tell how many genomes are copies."""
    params = complete(FREQUENCIES)
    clean, copied = (
        run(params, records_with_copies(params, 60, n), 10, noise_key=NOISE_KEY) for n in (0, 1)
    )
    assert (clean.people, copied.people) == (60, 58)
    before, after = json.loads(clean.result), json.loads(copied.result)
    assert "people" not in before | after
    assert before["flow"] == after["flow"] == []
    assert before["kinship"] == after["kinship"]


def test_earlier_runs_are_compared_by_the_same_members() -> None:
    """If copies stayed in the cohort of an earlier run, twenty people would seem to differ, and a
    second statistic about the same people would be allowed."""
    before, after = (complete(FREQUENCIES | {"cohort": {"age": [0, end]}}) for end in (130, 129))
    inputs = records_with_copies(before, 120, 10)
    earlier = Earlier(before, (1 << 20) - 1, frozenset(item.subject for item in inputs), True)
    assert run(before, inputs, 10, earlier=[earlier], noise_key=NOISE_KEY).people == 100
    with pytest.raises(TooFewDiffer):
        run(after, inputs, 10, earlier=[earlier], noise_key=NOISE_KEY)


def test_names_of_the_cuts() -> None:
    assert (SAME_GENOME, kinship.FIRST, kinship.SECOND, THIRD) == (0.354, 0.177, 0.0884, 0.0442)
