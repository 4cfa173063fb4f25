"""Sex by chromosome X: told for everybody in clean data, whatever way a male's calls are written."""

from __future__ import annotations

import numpy as np
import pytest
import vcf_files as vcf

from analytics.readers.vcf.genetic_sex import LEAST_VARIANTS
from analytics.readers.vcf.split import split_vcf


def sexes_of(data: bytes, people: int) -> tuple[dict[str, bool], int]:
    """(whether each is a female, by subject; how many the report counts)"""
    females: dict[str, bool] = {}
    report = split_vcf(
        vcf.in_memory(data),
        vcf.subjects([f"P{i}" for i in range(people)]),
        build=vcf.BUILD,
        sink=lambda *_: None,
        sexed=females.update,
    )
    assert report.skipped["x"] > 0
    return females, report.sexed


def truth(females: np.ndarray) -> dict[str, bool]:
    return {f"{at + 1:064x}": bool(female) for at, female in enumerate(females)}


@pytest.mark.parametrize("haploid", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_nobody_of_clean_data_is_told_wrongly(haploid: bool, share: float) -> None:
    rng = np.random.default_rng(4)
    females = rng.random(200) < share
    sexes, count = sexes_of(vcf.with_x(females, 3 * LEAST_VARIANTS, 1, haploid), 200)
    right = truth(females)
    assert all(right[subject] == female for subject, female in sexes.items())
    assert count == len(sexes) >= 180


def test_where_x_and_y_pair_nothing_is_told() -> None:
    females = np.arange(20) % 2 == 0
    assert sexes_of(vcf.with_x(females, 300, 1, first=20_000), 20) == ({}, 0)


@pytest.mark.parametrize(("people", "variants"), [(9, 300), (20, LEAST_VARIANTS - 1)])
def test_too_few_tell_nothing(people: int, variants: int) -> None:
    females = np.arange(people) % 2 == 0
    assert sexes_of(vcf.with_x(females, variants, 1), people) == ({}, 0)
