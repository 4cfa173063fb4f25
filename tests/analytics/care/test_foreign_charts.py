"""Charts of files that nobody here wrote: each is read to the right facts, or refused for a reason.

Where the files are from: tests/data/foreign/SOURCES.md. The variants of the guide's examples are of
other genes than a plan asks about, so each is read as if it were of BRCA1.
"""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from charts import EVERYTHING, SUBJECT, value_of
from fhir_files import LOINC, concept
from genomic_files import BRCA1, GERMLINE, GRCH38, HGVS, PRESENT, component

from analytics.care.chart import read_chart
from analytics.care.entries import read_records
from analytics.care.facts import Fact, Reason
from analytics.care.interpreter import evaluate
from analytics.care.rule_set import shipped
from analytics.errors import PayloadError
from analytics.people import Input
from analytics.readers.clinical import day_number
from analytics.readers.code_map import load_code_map, with_maps
from analytics.readers.codes import SHIPPED
from analytics.readers.fhir import split_files

FOREIGN = Path(__file__).parents[2] / "data" / "foreign"
TODAY = day_number("2026-11-30")


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress((FOREIGN / name).read_bytes()))
    return loaded


GUIDE, PACK = load("hl7-genomics-reporting.json.gz"), load("synthea-genomics.json.gz")
# What the ids that stand for SNOMED CT's mean, and the codes of a national ICD-10.
SNOMED = {
    "910000007": {"to": "icd-10:C50.9"},
    "910000014": {"to": "icd-10:C34.9"},
    "910000001": {"to": "loinc:LA6576-8"},
    "910000008": {"to": "loinc:LA6577-6"},
    "910000009": {"to": "icd-10-pcs:0HBT0ZZ"},
    **{code: {"category": "procedures"} for code in ("910000004", "910000010", "910000011")},
}
NATIONAL = {"C50.919": {"to": "icd-10-cm:C50.919"}, "C34.90": {"to": "icd-10-cm:C34.90"}}
MAP = [
    {"system": "http://snomed.info/sct", "source": "test", "codes": SNOMED},
    {"system": "https://tiet.ai/fhir/CodeSystem/cie10-es", "source": "test", "codes": NATIONAL},
]
SETS = with_maps(SHIPPED, [load_code_map(json.dumps(MAP).encode())])


def facts_of(*bundles: dict[str, Any]) -> dict[str, Fact]:
    files = [json.dumps(bundle).encode() for bundle in bundles]
    records = split_files(files, [], SUBJECT, SETS).records
    inputs = [Input(SUBJECT, category, payload) for category, payload in records.items()]
    return read_chart(read_records(inputs, EVERYTHING, TODAY))


def components(resource: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["code"]["coding"][0]["code"]: part for part in resource.get("component", [])}


def variants(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [
        resource
        for resource in resources
        if resource.get("code", {}).get("coding") and is_variant(resource)
    ]


def is_variant(resource: dict[str, Any]) -> bool:
    return bool(resource["code"]["coding"][0].get("code") == "69548-6")


def as_brca1(bundle: dict[str, Any], at: int, **more: Any) -> dict[str, Any]:
    """The file with its variant number `at` as one of BRCA1, without the others and their classes."""
    changed = copy.deepcopy(bundle)
    listed = variants(changed)
    kept = listed[at]
    others = {id(variant) for variant in listed if variant is not kept}
    removed = {
        entry.get("fullUrl") for entry in changed["entry"] if id(entry["resource"]) in others
    }
    removed |= {f"Observation/{variant.get('id')}" for variant in listed if variant is not kept}
    changed["entry"] = [entry for entry in changed["entry"] if id(entry["resource"]) not in others]
    changed["entry"] = [
        entry
        for entry in changed["entry"]
        if not (
            "diagnostic-implication" in json.dumps(entry["resource"].get("code"))
            and removed & {link["reference"] for link in entry["resource"]["derivedFrom"]}
        )
    ]
    parts = components(kept)
    # A change on the chromosome or in the transcript of another gene would be a reason of its own.
    others_own = ("48018-6", "81290-9", "51958-7")
    kept["component"] = [part for code, part in parts.items() if code not in others_own]
    for coding in parts.get("48004-6", {}).get("valueCodeableConcept", {}).get("coding", []):
        coding["code"] = coding["code"].rpartition(":")[2]
    gene = {"code": concept((LOINC, "48018-6"))}
    kept["component"].append(
        {**gene, "valueCodeableConcept": concept(("http://www.genenames.org", BRCA1))}
    )
    for code, value in more.pop("coded", {}).items():
        if value is not None and code not in parts:
            kept["component"].append({"code": concept((LOINC, code))})
        for part in kept["component"]:
            if part["code"]["coding"][0]["code"] == code:
                part["valueCodeableConcept"] = concept((LOINC, value))
    kept.update(more)
    return changed


def without_labels(bundle: dict[str, Any]) -> dict[str, Any]:
    """The file without its own security labels, which this reader does not know."""
    changed = copy.deepcopy(bundle)
    for entry in changed["entry"]:
        entry["resource"].get("meta", {}).pop("security", None)
    return changed


SOURCE, SOMATIC, BUILD = Reason.SOURCE_CLASS_MISSING, Reason.SOMATIC_ONLY, Reason.BUILD_MISSING
# By example of the guide: why each of its variants is no germline finding, in order. None of its
# examples says Absent or No call.
EXAMPLES = {
    "oncology-diagnostic": [SOURCE],
    "oncologyexamples-r4": [BUILD] * 3,
    "oncology-report-example": [SOMATIC] * 12,
    "pgxexample": [SOURCE] * 2,
    "compound-heterozygote": [SOURCE] * 2,
    "cgexample": [Reason.HELD_BACK, Reason.HELD_BACK, SOURCE, SOURCE],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_guide_gives_no_finding_and_the_right_reason(name: str) -> None:
    example = GUIDE[name]
    reasons = [
        value_of(facts_of(as_brca1(example, at))["brca1_germline"])
        for at in range(len(variants(example)))
    ]
    assert reasons == EXAMPLES[name]
    assert set(GUIDE) == set(EXAMPLES)


def test_a_finding_of_the_guide_s_example_becomes_one_with_what_it_lacks() -> None:
    """BRAF V600E, pathogenic: said to be germline, and of GRCh38."""
    coded = {"48002-0": GERMLINE, "62374-4": GRCH38}
    example = as_brca1(GUIDE["oncology-diagnostic"], 0, coded=coded)
    # A protein's change alone.
    assert value_of(facts_of(example)["brca1_germline"]) == Reason.TEXT_ONLY
    kept = variants(example)[0]["component"]
    kept.append(component("48004-6", HGVS, "c.1799T>A"))
    assert value_of(facts_of(example)["brca1_germline"]) == "pathogenic"


# By fixture: its variants of PIK3CA, TP53 and BRCA1 as if of BRCA1's germline, Present (the pack
# gives no value). "oncogenic" is no class of LOINC, so that such an implication is held back.
HELD_BACK, PATHOGENIC = Reason.HELD_BACK, "pathogenic"
VALID = [HELD_BACK, HELD_BACK, PATHOGENIC]
REPORTS: dict[str, list[object]] = {
    "report-oc_0002": VALID,
    "negative-01-build-missing": [BUILD, HELD_BACK, PATHOGENIC],
    "negative-02-build-hg19": [BUILD, HELD_BACK, PATHOGENIC],
    "negative-03-source-class": VALID,
    "negative-04-hgvs-invalid": [HELD_BACK, HELD_BACK, PATHOGENIC],
    "negative-05-hgvs-text-only": [Reason.TEXT_ONLY, HELD_BACK, PATHOGENIC],
    "negative-06-variant-no-ge-category": VALID,
    "negative-07-classification-source": VALID,
    "negative-08-significance-on-variant": VALID,
    "negative-10-knowledge-release": VALID,
    "negative-14-germline-unlabelled": VALID,
    "negative-15-report-no-provenance": VALID,
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_the_pack_gives_what_its_variants_say(name: str) -> None:
    present = {"valueCodeableConcept": concept((LOINC, PRESENT))}
    file = without_labels(PACK[name])
    facts = [
        facts_of(as_brca1(file, at, coded={"48002-0": GERMLINE}, **present))["brca1_germline"]
        for at in range(3)
    ]
    assert [value_of(fact) for fact in facts] == REPORTS[name]


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_the_pack_as_it_is_gives_no_finding(name: str) -> None:
    """Its variants have no value, and a label of its own holds the germline one back."""
    labelled = Reason.NO_VALUE if "unlabelled" in name else Reason.HELD_BACK
    assert value_of(facts_of(PACK[name])["brca1_germline"]) == labelled
    assert value_of(facts_of(without_labels(PACK[name]))["brca1_germline"]) == Reason.NO_VALUE
    for at, somatic in enumerate([SOURCE if "source-class" in name else SOMATIC, SOMATIC]):
        fact = facts_of(as_brca1(without_labels(PACK[name]), at))["brca1_germline"]
        invalid = "hgvs-invalid" in name and at == 1
        assert value_of(fact) == (Reason.HELD_BACK if invalid else somatic)


@pytest.mark.parametrize(
    "name", ["negative-09-specimen-other-patient", "negative-13-subject-mismatch"]
)
def test_a_file_about_two_people_is_refused(name: str) -> None:
    with pytest.raises(PayloadError, match="more than one patient"):
        facts_of(PACK[name])


BREAST = {
    "sex": "female",
    "breast_cancer": True,
    "her2": "negative",
    "oestrogen_receptor": "positive",
    "progesterone_receptor": "positive",
    "tumour_size": "T2",
    "nodes": "N1",
    "metastatic": False,
    "chemotherapy": "none",
    "endocrine_therapy": "given",
    "earlier_parp_inhibitor": False,
    "medicines": (),
    "medicines_ever": ("atc:L01EF01", "rxnorm:10324"),
    "medicines_complete": True,
    "creatinine": Reason.NOT_RECORDED,
    "weight": Reason.NOT_RECORDED,
}
UNSTAGED = {
    **BREAST,
    **dict.fromkeys(["tumour_size", "nodes", "metastatic"], Reason.NOT_RECORDED),
}
LUNG = {
    **dict.fromkeys(["breast_cancer", "her2"], Reason.NOT_RECORDED),
    "tumour_size": Reason.NOT_RECORDED,  # its focus is the lung cancer
    "chemotherapy": Reason.NOT_UNDERSTOOD,  # its reason too
    "medicines_ever": ("rxnorm:2555", "rxnorm:56946"),
    "medicines_complete": True,
}
ONCOLOGY: dict[str, dict[str, object]] = {
    "oncology-oc_0002": BREAST,
    "negative-11-icdo-no-morphology": BREAST,
    "negative-12-staging-no-method": BREAST,
    "negative-16-stage-without-tnm": UNSTAGED,
    "oncology-oc_0003": LUNG,
    # Of a diagnosis that the map does not name, its medicines are held back with it.
    "oncology-oc_0001": {
        "medicines_complete": HELD_BACK,
        "chemotherapy": HELD_BACK,
        "tumour_size": Reason.NOT_RECORDED,  # and its stages
    },
}


@pytest.mark.parametrize("name", ONCOLOGY)
def test_an_oncology_file_is_read_by_a_code_map(name: str) -> None:
    facts = facts_of(PACK[name])
    assert {fact: value_of(facts[fact]) for fact in ONCOLOGY[name]} == ONCOLOGY[name]


# By file: what its plan offers, and why nothing else, as the fact or gate that stands against it.
NOT_RECORDED, TOO_OLD = Reason.NOT_RECORDED, Reason.TOO_OLD
NO_RESULT = {
    "brca-carrier": {"brca1_germline": NOT_RECORDED, "brca2_germline": NOT_RECORDED},
    "brca-confirm-call": {"brca_call": NOT_RECORDED},
}
# The newest entry of its medicines is older than a plan may take it for her list of today.
OF_MEDICINES = (
    "brivudine-fluoropyrimidine",
    "cyp2d6-tamoxifen",
    "dpyd-fluoropyrimidine-dose",
    "dpyd-test-before-fluoropyrimidine",
)
NOT_ASKED = {"menopause": NOT_RECORDED, "pregnant": NOT_RECORDED}
OLD_LIST = {rule: {"medicines": TOO_OLD} for rule in OF_MEDICINES}
OLD_LIST["pregnancy-medicines"] = {"medicines": TOO_OLD} | NOT_ASKED
NO_LIST = {
    rule: {"medicines": NOT_RECORDED, "medicines_complete": HELD_BACK} for rule in OF_MEDICINES
}
NO_LIST["pregnancy-medicines"] = NO_LIST["cyp2d6-tamoxifen"] | NOT_ASKED
NO_BREAST_CANCER = {
    "diet": {"breast_cancer": NOT_RECORDED},
    "exercise": {"breast_cancer": NOT_RECORDED},
    "brca-risk-assessment": dict.fromkeys(
        ["breast_cancer", "breast_cancer_in_family"], NOT_RECORDED
    ),
}
OF_BREAST_CANCER = ({"brca-risk-assessment", "diet", "exercise"}, {**NO_RESULT, **OLD_LIST})
PLANS: dict[str, tuple[set[str], dict[str, dict[str, Reason]]]] = {
    "oncology-oc_0002": OF_BREAST_CANCER,
    "negative-11-icdo-no-morphology": OF_BREAST_CANCER,
    "negative-12-staging-no-method": OF_BREAST_CANCER,
    "negative-16-stage-without-tnm": OF_BREAST_CANCER,
    "oncology-oc_0003": (set(), {**NO_RESULT, **OLD_LIST, **NO_BREAST_CANCER}),
    "oncology-oc_0001": (set(), {**NO_RESULT, **NO_LIST, **NO_BREAST_CANCER}),
}


@pytest.mark.parametrize("name", PLANS)
def test_an_oncology_file_gives_what_its_record_says_and_a_reason_for_all_else(name: str) -> None:
    by_rule = {
        evaluation.rule.id: evaluation
        for evaluation in evaluate(facts_of(PACK[name]), shipped(), TODAY)
    }
    offered, reasons = PLANS[name]
    assert {
        rule for rule, evaluation in by_rule.items() if evaluation.option is not None
    } == offered
    olaparib = by_rule.pop("olaparib-breast-cancer")
    assert {
        rule: {fact: value_of(evaluation.facts[fact]) for fact in evaluation.missing}
        for rule, evaluation in by_rule.items()
        if rule not in offered
    } == reasons
    # Her record says tamoxifen and palbociclib alone; of the others it does not say enough.
    closed = {gate.id for gate in olaparib.gates if gate.value is False}
    assert closed == ({"chemotherapy"} if offered else set())
    assert value_of(olaparib.facts["brca1_germline"]) == NOT_RECORDED


def test_every_fixture_of_the_pack_has_its_row() -> None:
    refused = {"negative-09-specimen-other-patient", "negative-13-subject-mismatch"}
    assert set(PLANS) == set(ONCOLOGY)
    others = {"report-oc_0001", "report-oc_0003"}  # of lung cancer, EGFR alone
    assert set(PACK) == set(REPORTS) | set(ONCOLOGY) | refused | others
    for name in others:
        assert value_of(facts_of(PACK[name])["brca1_germline"]) == Reason.NOT_RECORDED
