"""Genetic results in FHIR: withholding the genome withholds all results read from it.

The codes are those of the HL7 Genomics Reporting guide and of hospital exports: panels, components,
reports.
"""

import json
import time
from typing import Any

import pytest
from fhir_files import (
    ABOUT,
    ACT_CODE,
    CM,
    LOINC,
    bundle,
    concept,
    condition,
    observation,
    order,
    procedure,
)

from analytics.errors import PayloadError
from analytics.readers.clinical import is_record, read_clinical_record
from analytics.readers.codes import (
    SENSITIVE,
    SHIPPED,
    Coding,
    load_value_sets,
    sensitive_categories,
    why_unroutable,
)
from analytics.readers.fhir import Split, has_sensitive_codes, split_bundle, write_record
from analytics.readers.genotypes import is_genotypes
from analytics.vocabulary import Category

SUBJECT = "ab" * 32
ICD = "http://hl7.org/fhir/sid/icd-10"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
HGNC, HGVS = "http://www.genenames.org/geneId", "http://varnomen.hgvs.org"
GUIDE = "http://hl7.org/fhir/uv/genomics-reporting/StructureDefinition/"
R4_PROFILE = "http://hl7.org/fhir/StructureDefinition/"
DIAGNOSTIC_SERVICE = "http://terminology.hl7.org/CodeSystem/v2-0074"
VARIANT, BRCA1, GENE = (LOINC, "69548-6"), (LOINC, "21636-6"), (LOINC, "48018-6")
GLUCOSE = (LOINC, "2339-0")
PRESENT = {"valueCodeableConcept": concept((LOINC, "LA9633-4"))}
GE = {"category": [concept((DIAGNOSTIC_SERVICE, "GE"))]}


def split(*resources: dict[str, Any]) -> Split:
    return split_bundle(bundle(*resources), SUBJECT)


def kept(*resources: dict[str, Any]) -> Any:
    return split(*resources).report["kept"]


def report(*results: str, code: tuple[str, str] = (LOINC, "51969-4"), **more: Any) -> Any:
    """A DiagnosticReport, which is not taken itself, on the observations with these ids."""
    listed = [{"reference": f"Observation/{name}"} for name in results]
    stated = {"resourceType": "DiagnosticReport", "id": "r", "status": "final"}
    return {**stated, "code": concept(code), **ABOUT, "result": listed, **more}


ORDERED = {"system": "urn:x", "value": "ORD1"}
ORDER = {
    "resourceType": "ServiceRequest",
    "id": "sr",
    "status": "completed",
    "intent": "order",
    "code": concept(BRCA1),
    **ABOUT,
    "identifier": [{"value": "other"}, ORDERED],
}
SPECIMEN = {"resourceType": "Specimen", "id": "sp", **ABOUT}
BY_IDENTIFIER: tuple[dict[str, Any], ...] = (
    {"identifier": ORDERED},
    {"identifier": ORDERED, "type": "ServiceRequest"},
    {"identifier": ORDERED, "reference": "ServiceRequest/nowhere"},
    {"reference": "ServiceRequest?identifier=urn:x|ORD1"},
)


@pytest.mark.parametrize("named", BY_IDENTIFIER)
def test_an_order_named_by_its_identifier_reaches_its_results(named: dict[str, Any]) -> None:
    glucose = observation(GLUCOSE, basedOn=[named])
    assert kept(ORDER, glucose) == {"0": 1, "5": 1}
    assert kept({**ORDER, "code": concept(GLUCOSE)}, glucose) == {"0": 1, "2": 1}
    ordered = report("o", code=GLUCOSE, basedOn=[named])
    assert kept(ORDER, ordered, observation(GLUCOSE, id="o")) == {"0": 1, "5": 1}
    specimen = {**SPECIMEN, "request": [named]}
    drawn = observation(GLUCOSE, specimen={"reference": "Specimen/sp"})
    assert kept(ORDER, specimen, drawn, observation((LOINC, "4548-4"))) == {
        "0": 1,
        "2": 1,
        "5": 1,
    }
    assert kept(SPECIMEN, drawn) == {"0": 1, "2": 1}


def test_an_identifier_names_only_its_resource_and_type() -> None:
    """A common identifier of two results (an accession number) does not link them."""
    both = {"identifier": [ORDERED]}
    variant = observation(VARIANT, id="v", **both)
    assert kept(variant, observation(GLUCOSE, id="g", **both)) == {"0": 1, "2": 1, "5": 1}
    for reference in (
        {"identifier": {"system": "urn:y", "value": "ORD1"}},
        {"identifier": {"value": "ORD1"}},
        {"identifier": ORDERED, "type": "CarePlan"},
        {"identifier": {"system": 7, "value": ["ORD1"]}},
        {"identifier": None},
    ):
        ordered = observation(GLUCOSE, id="g", basedOn=[reference])
        assert split(ORDER, ordered).report["kept"].get("5") is None


def test_a_report_lists_its_results_by_identifier_too() -> None:
    listed = observation(GLUCOSE, identifier=[{"system": "urn:x", "value": "R1"}])
    other = observation((LOINC, "4548-4"), identifier=[{"system": "urn:x", "value": "R2"}])
    genetic_report = report(result=[{"identifier": {"system": "urn:x", "value": "R1"}}])
    assert kept(genetic_report, listed, other) == {"0": 1, "2": 1, "5": 1}
    # A genetic member marks its panel, but not the other members.
    panel = report("v", code=GLUCOSE, result=[{"identifier": i} for i in listed["identifier"]])
    assert kept({**panel, "hasMember": [{"reference": "Observation/v"}]}, listed, other) == {
        "0": 1,
        "2": 2,
    }


@pytest.mark.parametrize(
    "unread",
    [
        {"code": concept(("http://www.ama-assn.org/go/cpt", "81162"))},
        {"code": concept(("http://snomed.info/sct", "405825005"))},
        {"code": concept(BRCA1, ("http://www.ama-assn.org/go/cpt", "81162"))},
        {"code": {"text": "BRCA1 sequencing"}},
        {"code": 7},
    ],
)
def test_results_of_an_unreadable_order_or_report_are_held_back(unread: Any) -> None:
    """Like a drug for such a reason; the panel and other results of the visit are kept."""
    why = "of an order or report whose code is not known here"
    asked = {**ORDER, **unread}
    based = observation(GLUCOSE, id="o", basedOn=[{"reference": "ServiceRequest/sr"}])
    other = observation((LOINC, "4548-4"))
    named = observation(GLUCOSE, basedOn=[{"identifier": ORDERED}])
    listed = observation(GLUCOSE, id="o")
    ordered = report("o", code=GLUCOSE, basedOn=[{"reference": "ServiceRequest/sr"}])
    for resources in (
        (asked, based, other),
        (asked, named, other),
        (asked, ordered, listed, other),
        ({**report("o"), **unread}, listed, other),
    ):
        result: Any = split(*resources).report
        assert (result["held back"], result["kept"]) == ({why: 1}, {"0": 1, "2": 1})
    done = procedure(report=[{"reference": "DiagnosticReport/r"}])
    assert not split({**report(), **unread}, done).report["held back"]
    derived = observation(GLUCOSE, derivedFrom=[{"reference": "Observation/o"}])
    assert split(asked, based, derived).report["held back"] == {why: 2}


def test_many_names_of_one_identifier_are_linked_once_each() -> None:
    orders = [{**ORDER, "id": f"s{n}"} for n in range(4_000)]
    results = [
        observation(GLUCOSE, id=f"o{n}", basedOn=[{"identifier": ORDERED}]) for n in range(900)
    ]
    began = time.monotonic()
    assert kept(*orders, *results) == {"0": 1, "5": 900}
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("system", "code"),
    [
        # What the attack handed out.
        (LOINC, "69548-6"),
        (LOINC, "21636-6"),
        (CM, "Z13.71"),
        (CM, "Z13.79"),
        (CM, "Z14.1"),
        (CM, "Z15.01"),
        (CM, "Z1501"),
        (CM, "Z31.430"),
        (CM, "Z31.440"),
        (CM, "Z31.5"),
        (CM, "Z84.81"),
        (ACT_CODE, "GDIS"),
        # Single genes, whole genomes, karyotypes, tissue types, pharmacogenetics, and answers only
        # genetics has.
        (LOINC, "38530-2"),
        (LOINC, "62378-5"),
        (LOINC, "55208-3"),
        (LOINC, "81255-2"),
        (LOINC, "50995-0"),
        (LOINC, "94191-4"),
        (LOINC, "21667-1"),
        (LOINC, "94231-8"),
        (LOINC, "86206-0"),
        (LOINC, "86205-2"),
        (LOINC, "29770-5"),
        (LOINC, "57979-7"),
        (LOINC, "53040-2"),
        (LOINC, "81247-9"),
        (LOINC, "LA6668-3"),
        (LOINC, "LA6706-1"),
        (DIAGNOSTIC_SERVICE, "GE"),
        # Chromosomes, and mutations that have a diagnosis of their own.
        (CM, "Q90.9"),
        (CM, "Q99.2"),
        (ICD, "Q96"),
        (CM, "O28.5"),
        (ICD, "O28.5"),
        (CM, "Z36.0"),
        (ICD, "Z36.0"),
        (CM, "D68.51"),
        # Carriers of sickle-cell disease and of thalassaemia.
        *[(system, code) for system in (CM, ICD) for code in ("D57.3", "D56.3", "O35.1")],
        (CM, "O35.10X0"),
        (ICD, "D68.51"),
        # Systems that hold nothing else, as their senders spell them.
        ("http://www.genenames.org", "HGNC:1100"),
        ("http://www.genenames.org/geneId", "HGNC:1100"),
        ("https://genenames.org/", "BRCA1"),
        ("http://varnomen.hgvs.org", "NM_007294.3:c.68_69del"),
        ("http://www.ncbi.nlm.nih.gov/projects/SNP", "rs6025"),
        ("https://www.ncbi.nlm.nih.gov/snp/", "rs6025"),
        ("http://www.ncbi.nlm.nih.gov/clinvar", "17662"),
        ("http://www.sequenceontology.org", "SO:0000159"),
        ("http://sequenceontology.org", "SO:0000159"),
        ("urn:oid:2.16.840.1.113883.6.335", "17q21.31"),
        ("urn:oid:2.16.840.1.113883.6.281", "1100"),
        ("http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs", "x"),
        (INTERPRETATION, "CAR"),
        (INTERPRETATION, "CARRIER"),
    ],
)
def test_what_was_read_from_a_genome_has_the_genomes_category(system: str, code: str) -> None:
    assert sensitive_categories(Coding(system, code), SHIPPED) == {Category.GERMLINE_VARIANTS}


@pytest.mark.parametrize(
    ("system", "code"),
    [
        (LOINC, "2339-0"),
        (LOINC, "85337-4"),
        (LOINC, "LA9633-4"),
        (CM, "Z12.31"),
        (CM, "Z80.3"),
        (CM, "C50.911"),
        (CM, "D50.9"),
        (CM, "Q89.9"),
        (CM, "Z36.3"),
        (ICD, "O28.8"),
        (INTERPRETATION, "POS"),
        ("http://hospital.example/genenames.org", "1"),
        (DIAGNOSTIC_SERVICE, "CH"),
    ],
)
def test_other_codes_keep_their_category(system: str, code: str) -> None:
    assert Category.GERMLINE_VARIANTS not in sensitive_categories(Coding(system, code), SHIPPED)


def test_a_code_above_genetic_ones_is_too_broad() -> None:
    assert why_unroutable(Coding(CM, "Z13"), SHIPPED) == "code too broad"
    assert why_unroutable(Coding(CM, "Z84.8"), SHIPPED) == "code too broad"


GENETIC_RESOURCES = {
    "code": observation(VARIANT, **PRESENT),
    "second code": {**observation(), "code": concept(GLUCOSE, BRCA1)},
    "value": observation(GLUCOSE, valueCodeableConcept=concept((LOINC, "LA6668-3"))),
    "component": observation(GLUCOSE, component=[{"code": concept(GENE), **PRESENT}]),
    "component's value": observation(
        GLUCOSE,
        component=[
            {"code": concept(GLUCOSE), "valueCodeableConcept": concept((LOINC, "LA6683-2"))}
        ],
    ),
    "category": observation(GLUCOSE, **GE),
    "category of v2": observation(
        GLUCOSE, category=[concept(("urn:oid:2.16.840.1.113883.12.74", "GE"))]
    ),
    "label": observation(GLUCOSE, meta={"security": [{"system": ACT_CODE, "code": "GDIS"}]}),
    "method": observation(GLUCOSE, method=concept(VARIANT)),
    "extension": observation(
        GLUCOSE, extension=[{"url": "urn:x", "valueCodeableConcept": concept(BRCA1)}]
    ),
    "profile of the guide": observation(GLUCOSE, meta={"profile": [GUIDE + "variant|2.0.0"]}),
    "profile of R4": observation(GLUCOSE, meta={"profile": [R4_PROFILE + "observation-genetics"]}),
    "profile of mCODE": observation(
        GLUCOSE,
        meta={
            "profile": ["http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-genomic-variant"]
        },
    ),
    "a report of tissue types inside": observation(
        GLUCOSE,
        contained=[{**report(code=GLUCOSE), "meta": {"profile": [R4_PROFILE + "hlaresult"]}}],
    ),
    "extension of R4": observation(
        GLUCOSE,
        extension=[
            {
                "url": R4_PROFILE + "observation-geneticsGene",
                "valueCodeableConcept": {"text": "BRCA1"},
            }
        ],
    ),
    "gene as method": observation(GLUCOSE, method=concept((HGNC, "HGNC:1100"))),
    "variant as interpretation": observation(
        GLUCOSE, interpretation=[concept((HGVS, "NM_007294.3:c.68_69del"))]
    ),
    "a gene's system without a code": observation(GLUCOSE, method=concept((HGNC, None))),
    "carrier": observation(GLUCOSE, interpretation=[concept((INTERPRETATION, "CAR"))]),
    "carrier of STU3": observation(
        GLUCOSE,
        interpretation=[concept(("http://hl7.org/fhir/v3/ObservationInterpretation", "CAR"))],
    ),
    "a sequence inside": observation(
        GLUCOSE,
        contained=[{"resourceType": "MolecularSequence", "id": "s", "coordinateSystem": 0}],
    ),
    "diagnosis": condition((CM, "Z15.01")),
    "evidence's code": condition((CM, "C50.911"), evidence=[{"code": [concept(BRCA1)]}]),
    "reason of a drug": order(
        ("http://www.whocc.no/atc", "L02BA01"), reasonCode=[concept((CM, "Z15.01"))]
    ),
    "reason of a procedure": procedure(reasonCode=[concept((CM, "Z14.8"))]),
    "contained": observation(
        GLUCOSE,
        contained=[
            {"resourceType": "Observation", "id": "o", "status": "final", "code": concept(VARIANT)}
        ],
    ),
}


@pytest.mark.parametrize("where", GENETIC_RESOURCES)
def test_a_genetic_code_anywhere_in_a_resource_decides(where: str) -> None:
    result = split(GENETIC_RESOURCES[where])
    assert result.report["kept"] == {"0": 1, str(Category.GERMLINE_VARIANTS): 1}, result.report
    clinical = read_clinical_record(
        {Category.GERMLINE_VARIANTS: result.records[Category.GERMLINE_VARIANTS]}, SUBJECT
    )
    assert all(fact.category == Category.GERMLINE_VARIANTS for fact in clinical.facts)


def linked(name: str, target: str) -> Any:
    return {name: [{"reference": target}]}


MEMBER = observation(GLUCOSE, id="m")
PRESENT_VARIANT = observation(VARIANT, id="v", **PRESENT)
REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "s",
    "status": "completed",
    "intent": "order",
    "code": concept(BRCA1),
    **ABOUT,
}


PLAIN = (LOINC, "11502-2")
DRUG = ("http://www.whocc.no/atc", "L02BA01")
SEQUENCE = {"resourceType": "MolecularSequence", "id": "q", "coordinateSystem": 0}
ISSUE = {"resourceType": "DetectedIssue", "id": "i", "status": "final"}


def composition(*sections: Any, **more: Any) -> Any:
    stated = {"resourceType": "Composition", "id": "n", "status": "final", **ABOUT}
    return {**stated, "type": concept(PLAIN), "title": "x", "section": list(sections), **more}


def listing(code: tuple[str, str], *targets: str) -> Any:
    items = [{"item": {"reference": target}} for target in targets]
    stated = {"resourceType": "List", "id": "l", "status": "current", "mode": "working"}
    return {**stated, "code": concept(code), "entry": items}


@pytest.mark.parametrize(
    ("resources", "genetic"),
    [
        # A sequence is genetic by its type.
        ([SEQUENCE, observation(GLUCOSE, **linked("derivedFrom", "MolecularSequence/q"))], 1),
        # An order reaches the results of the report that was made for it, and what was made from
        # those.
        ([REQUEST, report("m", code=PLAIN, **linked("basedOn", "ServiceRequest/s")), MEMBER], 1),
        (
            [
                REQUEST,
                report("m", code=PLAIN, **linked("basedOn", "ServiceRequest/s")),
                MEMBER,
                observation(GLUCOSE, id="e", **linked("derivedFrom", "Observation/m")),
            ],
            2,
        ),
        ([report("m"), MEMBER, procedure(**linked("reasonReference", "Observation/m"))], 2),
        # A report marks what was made from it, by its code or by one of its results.
        ([report(), procedure(**linked("report", "DiagnosticReport/r"))], 1),
        (
            [
                PRESENT_VARIANT,
                report("v", code=PLAIN),
                procedure(**linked("report", "DiagnosticReport/r")),
            ],
            2,
        ),
        (
            [
                PRESENT_VARIANT,
                report("v", code=PLAIN),
                condition((CM, "C50.911"), evidence=[linked("detail", "DiagnosticReport/r")]),
            ],
            2,
        ),
        (
            [
                procedure(
                    reasonCode=[concept((CM, "Z14.8"))], **linked("report", "DiagnosticReport/r")
                ),
                report("m", code=PLAIN),
                MEMBER,
            ],
            2,
        ),
        (
            [
                condition((CM, "Z15.01"), id="c"),
                procedure(**linked("complicationDetail", "Condition/c")),
            ],
            2,
        ),
        (
            [
                PRESENT_VARIANT,
                condition((CM, "C50.911"), stage=[linked("assessment", "Observation/v")]),
            ],
            2,
        ),
        # A drug chosen by what a genome says, also through the issue or the risk that names it.
        ([PRESENT_VARIANT, order(DRUG, **linked("supportingInformation", "Observation/v"))], 2),
        (
            [
                PRESENT_VARIANT,
                {**ISSUE, **linked("implicated", "Observation/v")},
                order(DRUG, **linked("supportingInformation", "DetectedIssue/i")),
            ],
            2,
        ),
        (
            [
                PRESENT_VARIANT,
                {**ISSUE, "evidence": [linked("detail", "Observation/v")]},
                order(DRUG, **linked("detectedIssue", "DetectedIssue/i")),
            ],
            2,
        ),
        ([MEMBER, {**ISSUE, "code": concept(BRCA1), **linked("implicated", "Observation/m")}], 1),
        (
            [
                PRESENT_VARIANT,
                {"resourceType": "RiskAssessment", "id": "k", "status": "final", **ABOUT}
                | linked("basis", "Observation/v"),
                order(DRUG, **linked("supportingInformation", "RiskAssessment/k")),
            ],
            2,
        ),
        (
            [
                order(DRUG, id="d", reasonCode=[concept((CM, "Z15.01"))]),
                {
                    "resourceType": "MedicationAdministration",
                    "status": "completed",
                    "medicationCodeableConcept": concept(DRUG),
                    **ABOUT,
                    "effectiveDateTime": "2012-03-04",
                    "request": {"reference": "MedicationRequest/d"},
                },
            ],
            2,
        ),
        # A document by its section, a list by its code.
        ([MEMBER, composition({"code": concept(BRCA1), **linked("entry", "Observation/m")})], 1),
        ([MEMBER, composition(linked("entry", "Observation/m"), type=concept(BRCA1))], 1),
        (
            [
                MEMBER,
                composition(
                    {"code": concept(BRCA1), "section": [linked("entry", "Observation/m")]}
                ),
            ],
            1,
        ),
        ([MEMBER, listing(BRCA1, "Observation/m")], 1),
        # A contained resource references another resource of the file.
        (
            [
                REQUEST,
                observation(
                    GLUCOSE,
                    contained=[
                        {**report(), "id": "in", "code": concept(PLAIN)}
                        | linked("basedOn", "ServiceRequest/s")
                    ],
                ),
            ],
            1,
        ),
        # A panel or a report marks its members, also through a second panel or report.
        ([MEMBER, {**PRESENT_VARIANT, **linked("hasMember", "Observation/m")}], 2),
        ([MEMBER, report("m")], 1),
        ([MEMBER, report("m", code=(LOINC, "11502-2"), **GE)], 1),
        (
            [
                MEMBER,
                observation(GLUCOSE, id="p", **linked("hasMember", "Observation/m")),
                report("p"),
            ],
            2,
        ),
        # What was made from a genetic finding, asked for by a genetic test, or is evidenced by one.
        ([PRESENT_VARIANT, observation(GLUCOSE, **linked("derivedFrom", "Observation/v"))], 2),
        ([PRESENT_VARIANT, observation(GLUCOSE, **linked("hasMember", "Observation/v"))], 2),
        ([REQUEST, observation(GLUCOSE, **linked("basedOn", "ServiceRequest/s"))], 1),
        ([PRESENT_VARIANT, procedure(**linked("partOf", "Observation/v"))], 2),
        ([PRESENT_VARIANT, procedure(**linked("reasonReference", "Observation/v"))], 2),
        ([condition((CM, "Z15.01"), id="c"), {**MEMBER, **linked("focus", "Condition/c")}], 2),
        (
            [
                PRESENT_VARIANT,
                condition((CM, "C50.911"), id="c", evidence=[linked("detail", "Observation/v")]),
                procedure(**linked("reasonReference", "Condition/c")),
            ],
            3,
        ),
        (
            [
                PRESENT_VARIANT,
                condition((CM, "C50.911"), evidence=[linked("detail", "Observation/v")]),
            ],
            2,
        ),
        (
            [
                PRESENT_VARIANT,
                observation(GLUCOSE, id="d", **linked("derivedFrom", "Observation/v")),
                observation(GLUCOSE, id="e", **linked("derivedFrom", "Observation/d")),
            ],
            3,
        ),
    ],
)
def test_what_hangs_on_a_genetic_finding_goes_with_it(resources: list[Any], genetic: int) -> None:
    result = kept(*resources)
    assert result == {"0": 1, str(Category.GERMLINE_VARIANTS): genetic}
    assert kept(*reversed(resources)) == result, "the order of a file decides nothing"


def test_one_genetic_result_of_a_report_leaves_the_others_alone() -> None:
    both = report("m", "v", code=(LOINC, "11502-2"))
    assert kept(MEMBER, PRESENT_VARIANT, both) == {"0": 1, "2": 1, "5": 1}
    panel = observation(
        GLUCOSE,
        id="p",
        hasMember=[{"reference": "Observation/m"}, {"reference": "Observation/v"}],
    )
    assert kept(MEMBER, PRESENT_VARIANT, panel) == {"0": 1, "2": 1, "5": 2}


def test_a_shared_visit_document_or_list_does_not_make_genetic() -> None:
    visit = {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}}
    visit |= {"reasonCode": [concept((CM, "Z15.01"))]}
    here = {
        "encounter": {"reference": "Encounter/e"},
        "performer": [{"reference": "Organization/g"}],
    }
    lab = {"resourceType": "Organization", "id": "g", "type": [concept((DIAGNOSTIC_SERVICE, "GE"))]}
    apart = {"0": 1, "2": 1, "5": 1}
    assert kept(visit, lab, {**MEMBER, **here}, {**PRESENT_VARIANT, **here}) == apart
    sections = (
        {"code": concept(BRCA1), **linked("entry", "Observation/v")},
        {"code": concept(PLAIN), **linked("entry", "Observation/m")},
    )
    assert kept(MEMBER, PRESENT_VARIANT, composition(*sections)) == apart
    assert kept(MEMBER, PRESENT_VARIANT, listing(PLAIN, "Observation/v", "Observation/m")) == apart


@pytest.mark.parametrize(
    "gone",
    [
        {"reference": "Observation/elsewhere"},
        {"reference": "MolecularSequence/elsewhere", "type": "MolecularSequence"},
        {"reference": "#gone"},
        {"identifier": {"system": "urn:x", "value": "Canary"}},
        {"display": "Canary"},
    ],
)
def test_what_was_made_from_something_that_is_not_here_is_held_back(gone: Any) -> None:
    for resource in (
        observation(GLUCOSE, derivedFrom=[gone]),
        observation(GLUCOSE, derivedFrom=[{"reference": "Observation/m"}, gone]),
        condition((CM, "C50.911"), evidence=[{"detail": [gone]}]),
        condition((CM, "C50.911"), stage=[{"assessment": [gone]}]),
        order(DRUG, supportingInformation=[gone]),
        procedure(complicationDetail=[gone]),
        observation(GLUCOSE, contained=[{**MEMBER, "id": "in", "derivedFrom": [gone]}]),
    ):
        result = split(MEMBER, resource).report
        assert result["kept"] == {"0": 1, "2": 1}
        assert result["held back"] == {"made from something that is not in the file": 1}


def test_an_absent_order_holds_nothing_back() -> None:
    assert kept({**MEMBER, **linked("basedOn", "ServiceRequest/elsewhere")}) == {"0": 1, "2": 1}


def test_panels_that_reference_each_other_terminate() -> None:
    around = [
        observation(
            VARIANT if n == 0 else GLUCOSE,
            id=f"o{n}",
            **linked("hasMember", f"Observation/o{(n + 1) % 3000}"),
        )
        for n in range(3000)
    ]
    began = time.monotonic()
    assert kept(*around) == {"0": 1, "5": 3000}
    assert time.monotonic() - began < 30


def test_genetic_and_another_sensitive_category_is_held_back() -> None:
    two = split(
        observation(VARIANT, component=[{"code": concept((LOINC, "75622-1")), **PRESENT}]),
        observation((LOINC, "20447-9"), **linked("derivedFrom", "Observation/v")),
        PRESENT_VARIANT,
    )
    assert two.report["kept"] == {"0": 1, "5": 1}
    unknown = "a genomic result with a component that this reader does not know"
    assert two.report["held back"] == {"in two sensitive categories": 1, unknown: 1}
    both = load_value_sets(
        json.dumps(
            [{"category": Category.HIV, "system": "loinc", "source": "x", "codes": ["69548-6"]}]
        ).encode(),
        SHIPPED,
    )
    result_of_both = split_bundle(bundle(PRESENT_VARIANT), SUBJECT, both)
    assert result_of_both.report["held back"] == {"in two sensitive categories": 1}


def test_a_hospital_adds_its_own_genetic_codes() -> None:
    listed = {
        "category": Category.GERMLINE_VARIANTS,
        "system": "loinc",
        "source": "ours",
        "codes": ["2339-0"],
    }
    more = load_value_sets(json.dumps([listed]).encode(), SHIPPED)
    assert set(split_bundle(bundle(MEMBER), SUBJECT, more).records) == {
        0,
        Category.GERMLINE_VARIANTS,
    }


def test_a_genetic_record_is_neither_a_vcf_nor_packed() -> None:
    record = split(PRESENT_VARIANT).records[Category.GERMLINE_VARIANTS]
    assert is_record(record)
    assert not is_genotypes(record)
    assert not is_record(b"\x1f\x8b")
    assert not is_record(b"##fileformat=VCFv4.2\n")
    assert not is_record(b"VOLG")
    with pytest.raises(PayloadError):
        read_clinical_record({Category.GERMLINE_VARIANTS: record}, "cd" * 32)


def test_codes_are_found_in_elements_that_are_not_read() -> None:
    assert Category.GERMLINE_VARIANTS in SENSITIVE
    hidden = {"entry": [{"resource": {"component": [{"code": concept(BRCA1)}]}}]}
    assert has_sensitive_codes(json.dumps(hidden).encode(), SHIPPED)
    assert not has_sensitive_codes(json.dumps({"entry": [concept(GLUCOSE)]}).encode(), SHIPPED)
    with pytest.raises(PayloadError):
        has_sensitive_codes(b"{", SHIPPED)


@pytest.mark.parametrize(
    "codes", [[(CM, "Z15.01")], [(CM, "B20")], [(CM, "C50.911"), (CM, "Z14.1")]]
)
def test_a_record_older_than_the_list_tells_nothing_of_it(codes: list[tuple[str, str]]) -> None:
    """Older records of diagnoses may have such codes; consent for diagnoses must not reveal
    them."""
    resource = {
        "resourceType": "Condition",
        "code": concept(*codes),
        "subject": {"reference": f"urn:volens:subject:{SUBJECT}"},
        "onsetDateTime": "2011-02-03",
    }
    old = write_record([resource])
    shown = [fact.code for fact in read_clinical_record({1: old}, SUBJECT).facts]
    assert shown == [code for _, code in codes if code == "C50.911"]
    (belongs, *_) = (
        category
        for _, code in codes
        for category in sensitive_categories(Coding(CM, code), SHIPPED)
    )
    assert codes[-1][1] in [
        fact.code for fact in read_clinical_record({belongs: old}, SUBJECT).facts
    ]
