"""The simulated cohort: its truth, its files, runs from them, and the optimum."""

import json
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from quiet import NOISE_KEY

from analytics.disclosure.noise import Noise
from analytics.errors import CohortTooSmall, InputsError
from analytics.params import complete
from analytics.people import Input, read_people
from analytics.readers.clinical import value_at
from analytics.readers.fhir import bundle_of, split_bundle
from analytics.readers.vcf.split import split_vcf
from analytics.run import Result, run
from analytics.simulate.known_truth import (
    BLOCK,
    CLINICAL,
    HORIZON_DAYS,
    LIFESTYLE,
    RHO,
    Cohort,
    gain_fraction,
    simulate_cohort,
)
from analytics.simulate.known_truth_files import (
    BUILD,
    genome_order,
    name_of,
    write_bundle,
    write_vcf,
)
from analytics.vocabulary import Category

PEOPLE, COLUMNS = 120, 200
OUTCOME = {
    "kind": "diagnosis",
    "index": ["icd-10-cm:C50"],
    "event": ["icd-10-cm:C79"],
    "horizon_days": HORIZON_DAYS,
    "censoring": "exclude",
}
FEATURE_SETS = ["genes", "clinical", "combined"]


def subject_of(at: int) -> str:
    return f"{(at + 1) * 0x9E3779B97F4A7C15 % 2**256:064x}"


@pytest.fixture(scope="module")
def truth() -> Cohort:
    return simulate_cohort(PEOPLE, 3, COLUMNS)


@pytest.fixture(scope="module")
def records(truth: Cohort) -> list[Input]:
    """All records as ingest creates them from one multi-sample VCF and one bundle per person."""
    names = [f"S{at}" for at in range(PEOPLE)]
    inputs: list[Input] = []

    def keep(subject: str, source: bytes, packed: bytes) -> None:
        inputs.extend(
            [
                Input(subject, Category.GERMLINE_VARIANTS, source),
                Input(subject, Category.GERMLINE_VARIANTS, packed),
            ]
        )

    descriptor = os.memfd_create("cohort")
    try:
        os.write(descriptor, write_vcf(truth, names))
        subjects = {name: subject_of(at) for at, name in enumerate(names)}
        report = split_vcf(descriptor, subjects, build=BUILD, sink=keep)
    finally:
        os.close(descriptor)
    assert (report.people, report.records, report.multiallelic) == (PEOPLE, COLUMNS, 4)
    for at in range(PEOPLE):
        split = split_bundle(write_bundle(truth, at, subject_of(at)), subject_of(at))
        assert split.report["held back"] == {}
        inputs += [
            Input(subject_of(at), category, payload) for category, payload in split.records.items()
        ]
    return inputs


def test_the_truth_matches_the_documented_values() -> None:
    cohort = simulate_cohort(6000, 1)
    assert cohort.optimum["genes"] == pytest.approx(0.68, abs=0.015)
    assert cohort.optimum["combined"] == pytest.approx(0.78, abs=0.015)
    assert cohort.optimum["all"] == pytest.approx(0.81, abs=0.015)
    for feature_set, expected in cohort.optimum.items():
        assert cohort.best_rule[feature_set] == pytest.approx(expected, abs=0.025)
    copies = (cohort.haplotypes == 1).sum(axis=0)
    assert copies.mean(axis=0) / 2 == pytest.approx(cohort.frequency, abs=0.04)
    assert np.isnan(cohort.dosage).mean() == pytest.approx(0.02, abs=0.005)
    neighbours = [
        np.corrcoef(copies[:, at], copies[:, at + 1])[0, 1] for at in range(0, 400, BLOCK)
    ]
    strangers = [
        np.corrcoef(copies[:, at], copies[:, at - 1])[0, 1] for at in range(BLOCK, 400, BLOCK)
    ]
    assert 0.3 < np.mean(neighbours) < RHO  # cutting a correlation of 0.8 to alleles leaves less
    assert np.mean(np.abs(strangers)) < 0.05
    assert len({int(column) // BLOCK for column in cohort.causal}) == 8


def test_the_same_seed_gives_the_same_files(truth: Cohort) -> None:
    again, another_seed = simulate_cohort(PEOPLE, 3, COLUMNS), simulate_cohort(PEOPLE, 4, COLUMNS)
    names = [str(at) for at in range(PEOPLE)]
    assert write_vcf(again, names) == write_vcf(truth, names) != write_vcf(another_seed, names)
    assert write_bundle(again, 5, subject_of(5)) == write_bundle(truth, 5, subject_of(5))


def test_the_files_contain_the_simulated_values(truth: Cohort, records: list[Input]) -> None:
    people = {person.subject: person for person in read_people(records, "variants")}
    assert len(people) == PEOPLE
    order = genome_order(COLUMNS)
    for at in range(0, PEOPLE, 7):
        person = people[subject_of(at)]
        assert person.genotypes is not None
        assert person.clinical is not None
        packed = dict(
            zip(person.genotypes.sites.names(), person.genotypes.dosage.tolist(), strict=True)
        )
        expected = np.nan_to_num(truth.dosage[at, order], nan=-1)
        assert [packed[name_of(truth, column)] for column in order] == expected.tolist()
        for name in (*CLINICAL, *LIFESTYLE):
            value = value_at(person.clinical, name, None)
            assert value == (
                None if np.isnan(truth.values[name][at]) else pytest.approx(truth.values[name][at])
            )
        day = next(fact.day for fact in person.clinical.facts if fact.code == "C50.9")
        events = [
            fact.day - day
            for fact in person.clinical.facts
            if fact.code == "C79.9" and fact.day and day
        ]
        assert events == ([] if truth.event_day[at] < 0 else [truth.event_day[at]])


def run_on(records: list[Input], document: Mapping[str, object]) -> tuple[Result, dict[str, Any]]:
    params = complete(document)
    shuffled = list(records)
    random.Random(1).shuffle(shuffled)
    result = run(params, records, 50, noise_key=NOISE_KEY)
    assert run(params, shuffled, 50, noise_key=NOISE_KEY) == result
    return result, json.loads(result.result)


def test_prediction_from_files(truth: Cohort, records: list[Input]) -> None:
    genes = {"source": "variants", "select": "score", "keep": 20}
    result, metrics = run_on(
        records,
        {
            "outcome": OUTCOME,
            "genes": genes,
            "clinical": list(CLINICAL),
            "models": {"logistic": FEATURE_SETS},
            "permutations": 19,
            "bootstraps": 0,
        },
    )
    lost = (truth.event == 0) & (truth.last_day < HORIZON_DAYS)
    assert (result.people, result.output_class, result.statistics) == (
        PEOPLE - int(lost.sum()),
        1,
        0,
    )
    assert [row["feature_set"] for row in metrics["rows"]] == FEATURE_SETS
    assert all(row["auc"] > 50 for row in metrics["rows"] if row["feature_set"] != "genes")
    assert metrics["variants"]["used"] == 5 * round(metrics["variants"]["used"] / 5) <= COLUMNS + 4
    assert metrics["outcome"] == {"kind": "diagnosis", "horizon_days": HORIZON_DAYS}


def test_association_from_files(records: list[Input]) -> None:
    document = {
        "analysis": "associate",
        "outcome": OUTCOME,
        "clinical": list(CLINICAL),
        "statistics": 5,
    }
    result, metrics = run_on(records, document)
    assert result.output_class == 3
    assert 1 <= len(metrics["rows"]) <= result.statistics <= 0.128 * result.people
    assert json.loads(result.disclosure)["statistics"] == result.statistics
    assert metrics["covariates"] == list(CLINICAL)


def test_frequencies_from_files(truth: Cohort, records: list[Input]) -> None:
    columns = [1, 25, 41]
    sites = [name_of(truth, column) for column in columns]
    result, metrics = run_on(records, {"analysis": "frequencies", "sites": sites})
    assert (result.people, result.statistics, result.output_class) == (PEOPLE, 6, 3)
    for column, row in zip(columns, metrics["rows"], strict=True):
        assert abs(row["frequency"] - 50 * np.nanmean(truth.dosage[:, column])) <= 0.5
    with pytest.raises(InputsError):
        run_on(records, {"analysis": "frequencies", "sites": ["9:9:A>T"]})


def test_genetic_results_beside_the_genomes_change_no_analysis_of_variants(
    records: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the same category, so every run on variants receives them. Apart from the noise:
    with other records it is another question.
    """
    monkeypatch.setattr(Noise, "of_question", lambda noise, question: noise)
    results = [
        Input(
            subject_of(at),
            Category.GERMLINE_VARIANTS,
            split_bundle(genetic(at), subject_of(at)).records[Category.GERMLINE_VARIANTS],
        )
        for at in range(0, PEOPLE, 3)
    ]
    for document in (
        {"analysis": "associate", "outcome": OUTCOME, "statistics": 5},
        {"analysis": "frequencies", "sites": ["1:1000000:A>C"]},
    ):
        params = complete(document)
        assert run(params, records + results, 50, noise_key=NOISE_KEY) == run(
            params, records, 50, noise_key=NOISE_KEY
        )


def genetic(at: int) -> bytes:
    """A clinical record whose only content is a mutation of BRCA1."""
    status = [(("loinc", "21636-6"), True, "2012-01-01")]
    return bundle_of(subject_of(at), gender="female", birth_year=1960, observations=status)


def test_a_cohort_of_few_people_allows_no_scan(records: list[Input]) -> None:
    few = [item for item in records if item.subject in {subject_of(at) for at in range(30)}]
    with pytest.raises(CohortTooSmall):
        run(complete({"analysis": "associate", "outcome": OUTCOME}), few, 10, noise_key=NOISE_KEY)


def test_the_gain_is_measured_from_the_majority_to_the_best() -> None:
    assert gain_fraction(0.75, 0.8, 0.6) == pytest.approx(0.75)
    assert gain_fraction(0.6, 0.8, 0.6) == 0
