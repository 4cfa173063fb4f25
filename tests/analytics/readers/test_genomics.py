"""Genomic results at ingest: what of a laboratory's report comes in, and what is held back."""

import json
import random
from typing import Any

import pytest
from fhir_files import LOINC, RXNORM, bundle, concept, observation, order
from genomic_files import (
    BRCA1,
    CYP2D6,
    GUIDE,
    HGNC,
    HGVS,
    UNCERTAIN,
    component,
    implication,
    report,
    variant,
)

from analytics.canonical import load_strict
from analytics.readers.clinical import day_number, read_clinical_record
from analytics.readers.codes import SHIPPED
from analytics.readers.fhir import Split, split_bundle, split_files
from analytics.readers.genomics import UNKNOWN_COMPONENT, UNKNOWN_VALUE
from analytics.readers.marks import (
    ALL_MEDICINES,
    RESULTS_NOT_FINAL,
    RESULTS_NOT_KEPT,
    TRUE_DATES,
    marks_of,
)
from analytics.vocabulary import Category

SUBJECT = "ab" * 32
GENOME = Category.GERMLINE_VARIANTS
CANARY = "Frau Muster, geb. 1960, sagt"
PHENOTYPE = {
    "code": concept((LOINC, "81259-4")),
    "valueCodeableConcept": {"text": CANARY, **concept(("http://snomed.info/sct", "254837009"))},
}
MODIFIED = {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}
CONCLUSION = {"code": concept((GUIDE, "conclusion-string")), "valueString": CANARY}


def split(*resources: dict[str, Any]) -> Split:
    return split_bundle(bundle(*resources), SUBJECT)


def record_of(result: Split, category: int = GENOME) -> Any:
    return load_strict(result.records[category], max_bytes=1 << 20, max_depth=16)


def results_of(result: Split) -> list[Any]:
    return [entry["resource"] for entry in record_of(result)["entry"]]


def components_of(result: dict[str, Any]) -> dict[str, Any]:
    return {
        part["code"]["coding"][0]["code"]: next(
            value for name, value in part.items() if name.startswith("value")
        )
        for part in result["component"]
    }


def test_a_report_comes_in_as_codes_and_its_words_do_not() -> None:
    note = {"note": [{"text": CANARY}], "interpretation": [{"text": CANARY}]}
    read = split(
        variant(
            more=(PHENOTYPE, CONCLUSION, component("48005-3", HGVS, "p.(Glu23ValfsTer17)")), **note
        ),
        implication(component=[component("53037-8", LOINC, UNCERTAIN), PHENOTYPE]),
        report("v", "i", conclusion=CANARY),
    )
    assert read.report["kept"] == {"0": 1, "5": 2}
    assert read.report["held back"] == {}
    assert CANARY.encode() not in b"".join(read.records.values())
    of_variant, of_implication = sorted(
        results_of(read), key=lambda result: "derivedFrom" in result
    )
    parts = components_of(of_variant)
    assert set(parts) == {"48018-6", "48004-6", "48005-3", "62374-4", "48002-0", "53034-5"}
    assert parts["48004-6"] == concept((HGVS, "NM_007294.4:c.68_69del"))
    assert of_variant["valueCodeableConcept"] == concept((LOINC, "LA9633-4"))
    assert set(components_of(of_implication)) == {"53037-8"}
    assert read_clinical_record({GENOME: read.records[GENOME]}, SUBJECT).facts == ()


def test_a_link_stays_and_the_ids_of_the_file_do_not() -> None:
    read = split(variant("secret-accession-77"), implication(UNCERTAIN, "secret-accession-77"))
    assert b"secret" not in read.records[GENOME]
    of_variant, of_implication = sorted(
        results_of(read), key=lambda result: "derivedFrom" in result
    )
    assert of_implication["derivedFrom"] == [{"reference": f"Observation/{of_variant['id']}"}]
    # The id says nothing but the content: the same file with other ids gives the same bytes.
    assert split(variant("x"), implication(UNCERTAIN, "x")).records == read.records


def test_the_order_of_the_file_changes_nothing() -> None:
    resources = [
        variant("a"), implication(UNCERTAIN, "a", name="i"), variant("b", CYP2D6, "c.1A>G"),
        implication(UNCERTAIN, "b", name="j"), report("a", "i"), order((RXNORM, "6918")),
    ]  # a table: one case a line  # fmt: skip
    records = split(*resources).records
    for seed in range(5):
        random.Random(seed).shuffle(resources)
        assert split(*resources).records == records


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (component("48004-6", HGVS, "NM_000546.6:c.524G>X"), UNKNOWN_VALUE),
        (component("48004-6", HGVS, "c.68_69del in the mother"), UNKNOWN_VALUE),
        (component("48005-3", HGVS, "p.Frau23Muster"), UNKNOWN_VALUE),
        (component("48018-6", HGNC, "BRCA1"), UNKNOWN_VALUE),
        (component("48002-0", "urn:lab", "germline"), UNKNOWN_VALUE),
        (component("82155-3", LOINC, "LA1-1"), UNKNOWN_COMPONENT),
        (component("4548-4", LOINC, "LA1-1"), UNKNOWN_COMPONENT),
        (component("81252-9", LOINC, "LA1-1") | MODIFIED, UNKNOWN_COMPONENT),
        ({"code": {"text": "lab's own"}, "valueString": CANARY}, UNKNOWN_COMPONENT),
        ({"code": concept((LOINC, "62374-4")), "valueString": f"GRCh38 {CANARY}"}, UNKNOWN_VALUE),
        ({"code": concept((LOINC, "48004-6")), "valueCodeableConcept": {"text": CANARY}}, UNKNOWN_VALUE),
        ({"code": concept((LOINC, "81258-6")), "valueQuantity": {"value": 1, "code": "mg"}}, UNKNOWN_VALUE),
        ({"code": concept((LOINC, "81258-6")), "valueQuantity": {"value": 1, "comparator": "<"}}, UNKNOWN_VALUE),
    ],
)  # a table: one case a line  # fmt: skip
def test_what_fits_no_pattern_holds_the_result_back(part: dict[str, Any], why: str) -> None:
    read = split(variant(change=None, more=(part,)), variant("w"))
    assert read.report["held back"] == {why: 1}
    assert CANARY.encode() not in b"".join(read.records.values())
    assert any(mark.startswith(RESULTS_NOT_KEPT) for mark in marks_of(record_of(read)))


@pytest.mark.parametrize(
    "part",
    [
        {"code": concept((LOINC, "48004-6")), "valueCodeableConcept": {"text": "c.68_69del"}},
        {"code": concept((LOINC, "48004-6")), "valueString": "c.68_69del"},
    ],
)
def test_a_change_in_text_alone_stays_text(part: dict[str, Any]) -> None:
    (kept,) = results_of(split(variant(change=None, more=(part,))))
    assert components_of(kept)["48004-6"] == "c.68_69del"


def test_an_implication_of_what_is_held_back_is_held_back() -> None:
    read = split(
        variant("bad", change="c.1Q>Z"), implication(UNCERTAIN, "bad"), variant("good", CYP2D6)
    )
    assert read.report["kept"] == {"0": 1, "5": 1}
    assert read.report["held back"] == {
        UNKNOWN_VALUE: 1,
        "made from a genomic result that is held back": 1,
    }


@pytest.mark.parametrize("status", ["preliminary", "registered", "partial", "entered-in-error"])
def test_a_report_that_is_not_final_takes_its_results_with_it(status: str) -> None:
    read = split(
        variant("a"),
        implication(UNCERTAIN, "a"),
        report("a", "i", status=status),
        variant("b", CYP2D6),
    )
    assert read.report["held back"] == {"a result of a report or panel that is not final": 2}
    assert f"{RESULTS_NOT_FINAL}/{BRCA1}" in marks_of(record_of(read))
    own = split(variant("a", status="preliminary"), variant("b", CYP2D6))
    assert own.report["held back"] == {"not a fact by its status": 1}
    assert f"{RESULTS_NOT_FINAL}/{BRCA1}" in marks_of(record_of(own))


def test_such_marks_are_in_the_record_of_the_genome_alone() -> None:
    read = split(variant("a", status="preliminary"), variant("b"), variant("c", change="c.1Q>Z"))
    assert marks_of(record_of(read)) == {
        TRUE_DATES,
        ALL_MEDICINES,
        f"{RESULTS_NOT_FINAL}/{BRCA1}",
        f"{RESULTS_NOT_KEPT}/{BRCA1}",
    }
    assert marks_of(record_of(read, 0)) == {TRUE_DATES, ALL_MEDICINES}


def test_a_day_of_issue_is_not_the_day_of_a_test() -> None:
    undated = {name: value for name, value in variant().items() if name != "effectiveDateTime"}
    (kept,) = results_of(split({**undated, "issued": "2024-05-06T00:00:00Z"}))
    assert "effectiveDateTime" not in kept


PHARMVAR = {"system": "http://www.pharmvar.org", "code": "CYP2D6", "display": "CYP2D6 *1/*4x2"}


@pytest.mark.parametrize(
    "value",
    [
        {"valueCodeableConcept": {"text": "*1/*4"}},
        {"valueCodeableConcept": {"coding": [PHARMVAR]}},
    ],
)
def test_a_genotype_is_its_star_alleles_and_nothing_else(value: dict[str, Any]) -> None:
    gene = [component("48018-6", HGNC, CYP2D6)]
    genotype = observation((LOINC, "84413-4"), component=gene, **value)
    (kept,) = results_of(split(genotype))
    assert kept["valueString"] in ("*1/*4", "CYP2D6 *1/*4x2")
    other = observation((LOINC, "84413-4"), component=gene, valueCodeableConcept={"text": CANARY})
    assert split(other).report["held back"] == {UNKNOWN_VALUE: 1}


STAGED = [
    (("21899-0",), {"valueString": "pT1c"}, "pT1c"),
    (("21899-0",), {"valueCodeableConcept": {"text": "ypT2"}}, "ypT2"),
    (("21900-6",), {"valueCodeableConcept": concept(("http://cancerstaging.org", "pN1a(sn)"))}, "pN1a(sn)"),
    (("21907-1",), {"valueCodeableConcept": concept(("https://www.uicc.org/resources/tnm", "cM0"))}, "cM0"),
    (("21907-1",), {"valueString": f"cM0 {CANARY}"}, None),
    (("21907-1",), {"valueString": "cT1"}, None),
    (("21907-1",), {"valueString": "M2"}, None),
]  # a table: one case a line  # fmt: skip


@pytest.mark.parametrize(("codes", "value", "kept"), STAGED)
def test_a_category_of_tnm_comes_in_if_it_is_nothing_else(
    codes: tuple[str], value: dict[str, Any], kept: str | None
) -> None:
    read = split(observation((LOINC, codes[0]), **value))
    if kept is None:
        assert Category.OBSERVATIONS not in read.records
        assert sum(read.report["held back"].values()) == 1
    else:
        (resource,) = [
            entry["resource"] for entry in record_of(read, Category.OBSERVATIONS)["entry"]
        ]
        assert resource["valueCodeableConcept"] == concept(("http://cancerstaging.org", kept))


UNREADABLE_DRUG = {"medicationCodeableConcept": {"text": CANARY}}
DISPENSE = {"resourceType": "MedicationDispense", "status": "completed", **UNREADABLE_DRUG}
OF_ORDER = {**DISPENSE, "authorizingPrescription": [{"reference": "MedicationRequest/o"}]}
SAME = {**OF_ORDER, "medicationCodeableConcept": concept((RXNORM, "6918"))}
TWO = {**OF_ORDER, "medicationCodeableConcept": concept((RXNORM, "6918"), (RXNORM, "6135"))}


@pytest.mark.parametrize(
    ("resources", "complete"),
    [
        ((order((RXNORM, "6918")),), True),
        ((order(**UNREADABLE_DRUG),), False),
        ((order(**UNREADABLE_DRUG, id="o") | {"status": "unknown"},), False),
        ((order(**UNREADABLE_DRUG) | {"status": "entered-in-error"},), True),
        ((order((RXNORM, "6918")) | {"status": "cancelled"},), True),
        ((order((RXNORM, "6918")) | {"intent": "plan"},), False),
        ((order((RXNORM, "6918")) | {"status": 7},), False),
        ((observation(valueString=CANARY),), True),
        ((DISPENSE,), False),
        (({"resourceType": "Rezept"},), False),
        ((order((RXNORM, "6918"), id="o"), SAME), True),
        ((order((RXNORM, "6918"), id="o"), OF_ORDER), False),  # in words alone: perhaps another
        ((order((RXNORM, "6918"), id="o"), TWO), False),
        ((order(**UNREADABLE_DRUG, id="o") | {"status": "draft"}, OF_ORDER), False),
    ],
)  # a table: one case a line  # fmt: skip
def test_each_record_tells_whether_a_medicine_could_be_missing(
    resources: tuple[dict[str, Any], ...], complete: bool
) -> None:
    for payload in split(*resources).records.values():
        record = load_strict(payload, max_bytes=1 << 20, max_depth=16)
        assert (ALL_MEDICINES in marks_of(record)) is complete  # type: ignore[arg-type]


@pytest.mark.parametrize("weeks", [0, 3])
def test_shifted_dates_are_not_called_true(weeks: int) -> None:
    """Not even where nought weeks were drawn: that would tell her dates in a shifted dataset."""
    read = split_files([bundle(variant())], [], SUBJECT, SHIPPED, weeks)
    assert TRUE_DATES not in marks_of(record_of(read))
    assert TRUE_DATES in marks_of(record_of(split(variant())))


def test_a_record_without_marks_has_none() -> None:
    assert (
        marks_of({})
        == marks_of({"meta": {"tag": [{"system": "urn:x", "code": TRUE_DATES}]}})
        == frozenset()
    )
    assert json.loads(split(variant()).records[GENOME])["type"] == "collection"


def statement(**period: str) -> dict[str, Any]:
    drug = order((RXNORM, "6918"))["medicationCodeableConcept"]
    stated = {"resourceType": "MedicationStatement", "status": "completed"}
    return {
        **stated,
        "subject": {"reference": "Patient/p"},
        "medicationCodeableConcept": drug,
        "effectivePeriod": period,
        "dateAsserted": "2020-01-01",
    }


def test_the_end_of_a_treatment_stays_and_research_counts_from_its_start() -> None:
    """It is shifted with all else, and an end that is only planned is no date of hers."""
    ended = split(statement(start="2023-01-02", end="2023-05-06T10:00:00Z"))
    (kept,) = [entry["resource"] for entry in record_of(ended, Category.MEDICATIONS)["entry"]]
    assert kept["effectivePeriod"] == {"start": "2023-01-02", "end": "2023-05-06"}
    assert "effectiveDateTime" not in kept
    (fact,) = read_clinical_record(dict(ended.records), SUBJECT).facts
    assert (fact.day, fact.recorded) == (day_number("2023-01-02"), None)
    shifted = split_files(
        [bundle(statement(start="2023-01-02", end="2023-05-06"))], [], SUBJECT, SHIPPED, 1
    )
    assert b'{"end":"2023-05-13","start":"2023-01-09"}' in shifted.records[Category.MEDICATIONS]
    planned = split(statement(start="2023-01-02", end="2999-01-01"))
    assert b'"effectivePeriod":{"start":"2023-01-02"}' in planned.records[Category.MEDICATIONS]
    (fact,) = read_clinical_record(dict(split(statement(end="2999-01-01")).records), SUBJECT).facts
    assert fact.day is None


def test_an_entry_without_a_resource_could_be_a_medicine_and_a_copy_is_none() -> None:
    drug = order((RXNORM, "6918"), id="o")
    file = json.loads(bundle(drug, drug))
    assert ALL_MEDICINES in marks_of(record_of(split_bundle(json.dumps(file).encode(), SUBJECT), 3))
    file["entry"].append({"fullUrl": "urn:uuid:1"})
    read = split_bundle(json.dumps(file).encode(), SUBJECT)
    assert read.report["held back"]["an entry that has no resource"] == 1
    assert ALL_MEDICINES not in marks_of(record_of(read, Category.MEDICATIONS))
