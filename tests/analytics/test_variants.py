"""Many people's genotypes as one matrix: joining, filters and their counts."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speed import allowed

from analytics.errors import InputsError
from analytics.readers.genotypes import Genotypes, Sites, build_sites
from analytics.variants import VariantRules, hardy_weinberg_p, stack

ALL = VariantRules(0.0, 0.0, 0.0, 0, 0, False)


def sites(*names: str, build: str = "GRCh38", failed: tuple[str, ...] = ()) -> Sites:
    parts = [name.split(":") for name in names]
    return build_sites(
        build,
        [int(part[0]) for part in parts],
        [int(part[1]) for part in parts],
        [part[2] for part in parts],
        [name not in failed for name in names],
    )


def person(
    at: Sites, *dosage: int, depth: int | list[int] = 30, quality: int | list[int] = 99
) -> Genotypes:
    n = len(at.alleles)
    return Genotypes(
        at,
        bytes(32),
        np.array(dosage, np.int8),
        np.broadcast_to(np.array(depth, np.uint8), n),
        np.broadcast_to(np.array(quality, np.uint8), n),
    )


THREE = sites("1:5:A>G", "1:5:A>T", "2:7:C>G", failed=("1:5:A>T",))


def test_one_file() -> None:
    variants = stack([person(THREE, 0, 1, 2), person(THREE, 1, -1, 2)], ALL)
    assert variants.names == ("1:5:A>G", "1:5:A>T", "2:7:C>G")
    assert (variants.chromosome.tolist(), variants.position.tolist()) == ([1, 1, 2], [5, 5, 7])
    np.testing.assert_array_equal(variants.dosage, [[0, 1, 2], [1, np.nan, 2]])
    assert variants.dosage.dtype == np.float64
    assert variants.frequency.tolist() == [0.25, 0.5, 1.0]
    assert [count for _, count in variants.flow] == [0, 0, 0, 0, 0]


def test_files_are_joined_by_position_and_alleles() -> None:
    second_file = sites("1:5:A>T", "1:6:A>G", "2:7:C>G", "2:7:C>T", "2:8:C>G", failed=("2:7:C>G",))
    people = [person(THREE, 0, 1, 2), person(second_file, 2, 1, 1, 0, 0)]
    variants = stack(people, ALL)
    assert variants.names == ("1:5:A>T", "2:7:C>G")
    assert variants.dosage.tolist() == [[1, 2], [2, 1]]
    assert variants.flow[0] == ("not-in-every-file", 3)
    turned = stack(people[::-1], ALL)
    assert turned.dosage.tolist() == variants.dosage.tolist()[::-1]
    none = stack(people, replace(ALL, passed_only=True))  # each fails in one of the files
    assert (none.names, none.dosage.shape) == ((), (2, 0))


def test_inconsistent_genotypes_are_refused() -> None:
    with pytest.raises(InputsError, match="no people"):
        stack([], ALL)
    with pytest.raises(InputsError, match="different genome builds"):
        stack([person(THREE, 0, 0, 0), person(sites("1:5:A>G", build="GRCh37"), 0)], ALL)


def test_files_may_share_no_variant() -> None:
    none = stack([person(sites("1:5:A>G"), 0), person(sites("1:5:A>T"), 0)], ALL)
    assert (none.names, none.dosage.shape) == ((), (2, 0))
    assert none.flow[0] == ("not-in-every-file", 1)


def test_low_calls_are_missing() -> None:
    # 0 would be low, too.
    people = [person(THREE, 1, 1, 1, depth=[9, 10, 11], quality=[20, 19, 20])]
    variants = stack(people, replace(ALL, min_depth=10, min_quality=20))
    assert variants.names == ("2:7:C>G",)
    assert dict(variants.flow)["call-rate"] == 2


@pytest.mark.parametrize(
    ("rule", "name", "removed"),
    [
        ({"passed_only": True}, "not-passed", "1:5:A>T"),
        ({"min_call_rate": 0.8}, "call-rate", "2:7:C>G"),
        ({"min_maf": 0.11}, "allele-frequency", "1:5:A>G"),
        ({"min_hwe": 0.01}, "hardy-weinberg", "1:5:A>T"),
    ],
)
def test_each_rule_removes_the_expected_variant(
    rule: dict[str, object], name: str, removed: str
) -> None:
    at = sites("1:5:A>G", "1:5:A>T", "2:7:C>G", "2:9:C>T", failed=("1:5:A>T",))
    columns = [
        [1] * 4 + [0] * 16,
        [1] * 20,
        [-1] * 5 + [1] * 6 + [0] * 9,
        [1] * 10 + [0] * 5 + [2] * 5,
    ]
    people = [person(at, *row) for row in zip(*columns, strict=True)]
    variants = stack(people, replace(ALL, **rule))  # type: ignore[arg-type]
    assert set(at.names()) - set(variants.names) == {removed}
    assert [rule for rule, count in variants.flow if count] == [name]
    assert dict(variants.flow)[name] == 1


def test_a_call_rate_that_is_met_exactly_is_met() -> None:
    people = [person(sites("1:5:A>G"), 1 if i < 7 else -1) for i in range(100)]
    assert stack(people, replace(ALL, min_call_rate=0.07)).names == ("1:5:A>G",)


def exact(no_copy: int, one_copy: int, two_copies: int) -> float:
    """Wigginton et al. (2005), equation 1 and the sum below it, in integers."""
    n, rare = (
        no_copy + one_copy + two_copies,
        min(2 * no_copy + one_copy, 2 * two_copies + one_copy),
    )

    def weight(h: int) -> Fraction:
        a, b = (rare - h) // 2, (2 * n - rare - h) // 2
        return Fraction(2**h, math.factorial(h) * math.factorial(a) * math.factorial(b))

    weights = {h: weight(h) for h in range(rare % 2, rare + 1, 2)}
    return float(sum(w for w in weights.values() if w <= weights[one_copy]) / sum(weights.values()))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 3).filter(sum), min_size=1, max_size=8))
def test_hardy_weinberg_is_the_exact_test(counts: list[tuple[int, int, int]]) -> None:
    no_copy, one_copy, two_copies = np.array(counts).T
    assert hardy_weinberg_p(no_copy, one_copy, two_copies) == pytest.approx(
        [exact(*case) for case in counts], rel=1e-9, abs=1e-12
    )


def test_hardy_weinberg_of_many_people_and_without_calls() -> None:
    # 100 people with 21 copies of the rare allele, as in table 1 of the paper.
    one_copy = np.arange(1, 22, 2)
    no_copy, two_copies = 100 - one_copy - (21 - one_copy) // 2, (21 - one_copy) // 2
    cases = zip(no_copy.tolist(), one_copy.tolist(), two_copies.tolist(), strict=True)
    assert hardy_weinberg_p(no_copy, one_copy, two_copies) == pytest.approx(
        [exact(*case) for case in cases], rel=1e-9
    )
    assert hardy_weinberg_p(*np.zeros((3, 2), np.int64)).tolist() == [1, 1]


@pytest.mark.alone
def test_hardy_weinberg_is_quick() -> None:
    rng = np.random.default_rng(1)
    calls = rng.binomial(2, rng.uniform(0, 1, 20_000), (2_000, 20_000)).astype(np.int8)
    calls[rng.random(calls.shape) < 0.02] = -1
    counts = [np.count_nonzero(calls == dosage, axis=0) for dosage in (0, 1, 2)]
    start = time.perf_counter()
    p = hardy_weinberg_p(*counts)
    took = time.perf_counter() - start
    print(f"{took:.2f} s for 20,000 variants of 2,000 people")
    assert took < allowed(2)
    assert 0.03 < (p < 0.05).mean() < 0.06


def random_people(n: int, m: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    dosage = rng.binomial(2, rng.uniform(0.1, 0.9, m), (n, m)).astype(float)
    dosage[rng.random((n, m)) < 0.03] = np.nan
    return dosage


def test_what_is_not_given_is_not_low() -> None:
    """Arrays and imputed data have no depth: a minimum keeps them, like PLINK's --vcf-min-dp."""
    strict = replace(ALL, min_depth=254, min_quality=254)
    absent = [person(THREE, 1, 1, 1, depth=[255, 255, 0], quality=[255, 20, 255])]
    assert stack(absent, strict).names == ("1:5:A>G",)
    assert stack([person(THREE, 1, 1, 1, depth=254, quality=254)], strict).names == THREE.names()
    assert stack([person(THREE, 1, 1, 1, depth=253, quality=254)], strict).names == ()
