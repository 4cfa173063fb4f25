"""Writes the simulated cohort: one multi-sample VCF and one FHIR R4 bundle per person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.readers.fhir import bundle_of
from analytics.readers.vcf.header import LENGTHS
from analytics.simulate.known_truth import BLOCK, CLINICAL, LIFESTYLE, Cohort

BUILD = "GRCh38"
# ICD-10-CM: breast cancer; metastasis to an unspecified site
INDEX_CODE, EVENT_CODE = "C50.9", "C79.9"
FIRST_DAY = 16_000  # 2013-10-22, in days since 1970; diagnoses lie within the year after it
_BASES = "ACGT"
_DEPTHS, _QUALITIES = (31, 24, 40, 18), (99, 80, 60, 99)


def write_vcf(cohort: Cohort, names: Sequence[str]) -> bytes:
    """VCF 4.2 of all people (columns `names`), unphased, with GT, DP, GQ; in genome order."""
    contigs = [
        f"##contig=<ID={number},length={length},assembly={BUILD}>"
        for number, length in enumerate(LENGTHS[BUILD], 1)
    ]
    head = [
        "##fileformat=VCFv4.2",
        f"##reference={BUILD}",
        *contigs,
        '##FILTER=<ID=q10,Description="Quality below 10">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">',
        '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Genotype quality">',
        "\t".join(
            ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *names]
        ),
    ]
    columns = cohort.haplotypes.shape[2]
    texts = np.array(
        [[f"{min(a, b)}/{max(a, b)}" for b in range(3)] for a in range(3)], dtype=object
    )
    lines = []
    for column in genome_order(columns):
        first, second = cohort.haplotypes[:, :, column]
        calls = texts[first, second]
        cells = [
            f"{call}:{_DEPTHS[at % 4]}:{_QUALITIES[at % 4]}" if called else "./.:0:0"
            for at, (call, called) in enumerate(
                zip(calls, cohort.called[:, column], strict=True), column
            )
        ]
        lines.append("\t".join([*_site(cohort, int(column)), *cells]))
    return "\n".join([*head, *lines, ""]).encode()


def genome_order(columns: int) -> NDArray[np.int64]:
    """Columns sorted by chromosome and position: block b lies on chromosome b mod 22 + 1."""
    chromosome, position = places_of(np.arange(columns))
    return np.lexsort((position, chromosome))


def places_of(columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(chromosome, position) of each column."""
    block = columns // BLOCK
    return block % 22 + 1, 1_000_000 + (block // 22) * 100_000 + (columns % BLOCK) * 1_000


def name_of(cohort: Cohort, column: int) -> str:
    """chromosome:position:reference>alternative of a column's first alternative allele."""
    site = _site(cohort, column)
    return f"{site[0]}:{site[1]}:{site[3]}>{site[4].split(',')[0]}"


def write_bundle(cohort: Cohort, at: int, subject: str) -> bytes:
    """The bundle of person `at`: diagnosis, measurements before it, event, last visit."""
    diagnosis = FIRST_DAY + at * 7 % 365
    day = date_of(diagnosis)
    conditions: list[tuple[str, str, str | None]] = [("icd-10-cm", INDEX_CODE, day)]
    if cohort.event_day[at] >= 0:
        conditions.append(("icd-10-cm", EVENT_CODE, date_of(diagnosis + int(cohort.event_day[at]))))
    before = date_of(diagnosis - 14)
    observations: list[tuple[str | tuple[str, str], float | bool, str | None]] = [
        (name, float(cohort.values[name][at]), before)
        for name in (*CLINICAL, *LIFESTYLE)
        if not np.isnan(cohort.values[name][at])
    ]
    observations.append(
        ("heart_rate", 64.0 + at % 17, date_of(diagnosis + int(cohort.last_day[at])))
    )
    return bundle_of(
        subject,
        gender="female",
        birth_year=2013 - int(cohort.values["age_years"][at]),
        conditions=conditions,
        observations=observations,
        medications=[("rxnorm", "10324", date_of(diagnosis + 40))],
    )


def _site(cohort: Cohort, column: int) -> list[str]:
    chromosome, position = (int(value[0]) for value in places_of(np.array([column])))
    reference, first, second = (_BASES[(column + shift) % 4] for shift in (0, 1, 2))
    several = bool((cohort.haplotypes[:, :, column] == 2).any())
    passed = "q10" if column % 97 == 96 and column not in cohort.causal else "PASS"
    alternatives = f"{first},{second}" if several else first
    return [
        str(chromosome),
        str(position),
        ".",
        reference,
        alternatives,
        "60",
        passed,
        ".",
        "GT:DP:GQ",
    ]


def date_of(day: int) -> str:
    return str(np.datetime64(day, "D"))
