import hashlib

import numpy as np
import pytest

from analytics.errors import InputsError, PayloadError
from analytics.people import CLINICAL_RECORD, Input, read_people
from analytics.readers.expression import write_expression
from analytics.readers.fhir import bundle_of, split_bundle
from analytics.readers.genotypes import build_sites, write_genotypes
from analytics.vocabulary import Category

SUBJECT, OTHER = "ab" * 32, "cd" * 32
SOURCE = b"##fileformat=VCFv4.2\n"


def genotypes(source: bytes = SOURCE, dosage: int = 1) -> bytes:
    sites = build_sites("GRCh38", [1, 2], [5, 7], ["A>G", "C>T"], [True, True])
    plane = np.full(2, 30, np.uint8)
    return write_genotypes(
        sites, hashlib.sha256(source).digest(), np.full(2, dosage, np.int8), plane, plane
    )


def records(subject: str = SUBJECT) -> list[Input]:
    bundle = bundle_of(
        subject,
        gender="female",
        birth_year=1960,
        conditions=[("icd-10-cm", "C50.9", "2011-02-03")],
        observations=[("bmi", 24.5, "2011-01-01")],
    )
    clinical = [
        Input(subject, category, payload)
        for category, payload in split_bundle(bundle, subject).records.items()
    ]
    expression = Input(subject, Category.EXPRESSION, write_expression({"P1": "7.5"}))
    return [
        *clinical,
        expression,
        Input(subject, Category.GERMLINE_VARIANTS, SOURCE),
        Input(subject, Category.GERMLINE_VARIANTS, genotypes()),
    ]


def test_records_are_joined_by_subject() -> None:
    first, second = read_people([*records(), *records(OTHER)], "variants")
    assert (first.subject, second.subject) == (SUBJECT, OTHER)
    assert first.clinical is not None
    assert first.clinical.birth_year == 1960
    assert [fact.code for fact in first.clinical.facts] == ["C50.9"]
    assert first.genotypes is not None
    assert first.genotypes.dosage.tolist() == [1, 1]
    assert first.expression is None


@pytest.mark.parametrize("source", ["expression", "none"])
def test_a_gene_record_that_is_not_used_is_not_read(source: str) -> None:
    spoilt = [item for item in records() if item.category != Category.GERMLINE_VARIANTS] + [
        Input(SUBJECT, Category.GERMLINE_VARIANTS, b"spoilt")
    ]
    (person,) = read_people(spoilt, source)
    assert person.genotypes is None
    assert (person.expression is not None) == (source == "expression")


def test_people_of_a_file_share_their_list_of_sites() -> None:
    first, second = read_people([*records(), *records(OTHER)], "variants")
    assert first.genotypes is not None
    assert second.genotypes is not None
    assert first.genotypes.sites is second.genotypes.sites


def test_packed_genotypes_alone_are_enough_and_a_vcf_alone_is_not() -> None:
    (person,) = read_people([Input(SUBJECT, Category.GERMLINE_VARIANTS, genotypes())], "variants")
    assert person.clinical is None
    assert person.genotypes is not None
    with pytest.raises(InputsError):
        read_people([Input(SUBJECT, Category.GERMLINE_VARIANTS, SOURCE)], "variants")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ([Input(SUBJECT, Category.GERMLINE_VARIANTS, genotypes(dosage=2))], InputsError),
        ([Input(SUBJECT, Category.GERMLINE_VARIANTS, SOURCE + b"x")], InputsError),
        ([Input(SUBJECT, Category.EXPRESSION, write_expression({"P1": "7.5"}))], InputsError),
        ([records()[0]], InputsError),
        ([Input(SUBJECT, 7, b"{}")], InputsError),
        ([Input(SUBJECT, -1, b"{}")], InputsError),
        ([Input(SUBJECT.upper(), 1, b"{}")], InputsError),
        ([Input(SUBJECT + "\n", 1, b"{}")], InputsError),
        ([Input("../x", 1, b"{}")], InputsError),
        ([Input(OTHER, 1, records()[1].payload)], PayloadError),
        ([Input(OTHER, 2, records()[1].payload)], PayloadError),
        ([Input(OTHER, 2, b"Canary")], PayloadError),
        ([Input(OTHER, Category.GERMLINE_VARIANTS, b"VOLGCanary")], PayloadError),
    ],
    ids="packed-twice vcf-twice expression-twice chart-twice category negative capitals newline path somebody-else "
    "wrong-category text packed-text".split(),
)
def test_inconsistent_records_are_refused(more: list[Input], error: type[Exception]) -> None:
    assert records()[1].category in CLINICAL_RECORD
    with pytest.raises(error) as refused:
        read_people([*records(), *more], "variants")
    assert "Canary" not in str(refused.value)


def test_genotypes_of_another_vcf_are_refused() -> None:
    swapped = [
        Input(SUBJECT, Category.GERMLINE_VARIANTS, SOURCE),
        Input(SUBJECT, Category.GERMLINE_VARIANTS, genotypes(b"another person's file")),
    ]
    with pytest.raises(InputsError, match="another VCF"):
        read_people(swapped, "variants")


def test_sensitive_records_are_part_of_the_clinical_record() -> None:
    bundle = bundle_of(
        SUBJECT, gender="female", birth_year=1960, conditions=[("icd-10-cm", "F32.1", "2011-02-03")]
    )
    split = split_bundle(bundle, SUBJECT).records
    assert set(split) == {0, 16}
    (person,) = read_people(
        [Input(SUBJECT, category, payload) for category, payload in split.items()], "none"
    )
    assert person.clinical is not None
    assert [fact.category for fact in person.clinical.facts] == [16]


def genetic_record(subject: str = SUBJECT) -> Input:
    """A genetic result as FHIR: the same category as the VCF, and a separate record."""
    bundle = bundle_of(
        subject,
        gender="female",
        birth_year=1960,
        conditions=[("icd-10-cm", "Z15.01", "2011-02-03")],
    )
    records = split_bundle(bundle, subject).records
    assert set(records) == {0, Category.GERMLINE_VARIANTS}
    return Input(subject, Category.GERMLINE_VARIANTS, records[Category.GERMLINE_VARIANTS])


@pytest.mark.parametrize("source", ["variants", "expression", "none"])
def test_a_genome_and_genetic_results_are_one_person(source: str) -> None:
    (person,) = read_people([*records(), genetic_record()], source)
    assert person.clinical is not None
    assert [(fact.category, fact.code) for fact in person.clinical.facts] == [
        (1, "C50.9"),
        (Category.GERMLINE_VARIANTS, "Z15.01"),
    ]
    assert (person.genotypes is not None) == (source == "variants")


def test_genetic_results_alone_are_not_a_genome() -> None:
    (person,) = read_people([genetic_record()], "variants")
    assert person.genotypes is None
    assert person.clinical is not None
    with pytest.raises(InputsError, match="two records of one category"):
        read_people([*records(), genetic_record(), genetic_record()], "variants")
