"""The chart: what a person's records say for certain, and for all else the reason why not."""

import copy
import json
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from charts import (
    EVERYTHING,
    LOCAL,
    SUBJECT,
    TODAY,
    bea,
    chart,
    coded,
    inputs_of,
    measured,
    medicine,
    staged,
    value_of,
)
from fhir_files import (
    ATC,
    CM,
    LOINC,
    PCS,
    RXNORM,
    bundle,
    concept,
    condition,
    observation,
    order,
    procedure,
)
from genomic_files import (
    ABSENT,
    BENIGN,
    BRCA2,
    CYP2D6,
    DPYD,
    GRCH37,
    GUIDE,
    HGNC,
    HGVS,
    HOMOZYGOUS,
    INDETERMINATE,
    LIKELY_BENIGN,
    LIKELY_PATHOGENIC,
    NO_CALL,
    PATHOGENIC,
    SOMATIC,
    UNCERTAIN,
    component,
    implication,
    report,
    variant,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.care.chart import read_chart
from analytics.care.dpyd import DECREASED, NORMAL, VARIANTS
from analytics.care.entries import Entry, newest, read_records, yes_or_no
from analytics.care.facts import FACTS, Fact, Known, Reason, Unknown
from analytics.care.formulas import DERIVATIONS
from analytics.care.rule_set import shipped
from analytics.care.variants import FULL_FUNCTION, NO_FUNCTION
from analytics.errors import InputsError
from analytics.people import Input
from analytics.readers.clinical import day_number
from analytics.readers.code_map import load_code_map, with_maps
from analytics.readers.codes import SHIPPED, UCUM, URIS
from analytics.readers.fhir import split_bundle, split_files, write_record
from analytics.readers.genotypes import build_sites, write_genotypes
from analytics.readers.marks import ALL_MEDICINES, TRUE_DATES
from analytics.vocabulary import Category

FIRST = day_number("2024-05-06")
TEXT_CHANGE = {
    "code": {"coding": [{"system": LOINC, "code": "48004-6"}]},
    "valueCodeableConcept": {"text": "NM_007294.4:c.68_69del"},
}
GRCH37_CHANGE = component("81290-9", HGVS, "NC_000017.10:g.41276045_41276046del")
LOW = component("variant-confidence-status", "http://x", "low")
LOW["code"]["coding"][0]["system"] = (
    "http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs"
)
TWO = [variant("a"), variant("b", change="NM_007294.4:c.5266dup")]
DUP = "NM_007294.4:c.5266dup"
G_DUP = component("81290-9", HGVS, "NC_000017.11:g.43057063dup")
G_LOSS = component("81290-9", HGVS, "NC_000017.11:g.43124028_43124029del")
DUPLICATION = variant(change=DUP)
GENOMIC = variant("g", change=None, more=(G_DUP,))
GENOMIC_ABSENT = variant("g", change=None, more=(G_DUP,), value=ABSENT)
UNDATED = {"effectiveDateTime": "2024-05"}
OF_RELATIVE = {
    "url": "http://hl7.org/fhir/StructureDefinition/family-member-history-genetics-observation",
    "valueReference": {"reference": "Observation/v"},
}


def history(code: str = "MTH", **more: Any) -> dict[str, Any]:
    """A relative with breast cancer."""
    role = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
    return {
        "resourceType": "FamilyMemberHistory",
        "id": "f",
        "status": "completed",
        "patient": {"reference": "Patient/p"},
        "relationship": concept((role, code)),
        "condition": [{"code": concept((CM, "C50.911"))}],
        **more,
    }


def specimen(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/p"}, **more}


def class_of(gene: str) -> list[dict[str, Any]]:
    return [component("53037-8", LOINC, BENIGN), component("48018-6", HGNC, gene)]


# What a laboratory wrote of BRCA1, and what is known by it.
BRCA1: dict[str, tuple[list[dict[str, Any]], object]] = {
    "pathogenic": ([variant(), implication()], "pathogenic"),
    "likely pathogenic": ([variant(), implication(LIKELY_PATHOGENIC)], "likely pathogenic"),
    "of uncertain significance": ([variant(), implication(UNCERTAIN)], "uncertain significance"),
    "likely benign": ([variant(), implication(LIKELY_BENIGN)], "likely benign"),
    "benign": ([variant(), implication(BENIGN)], "benign"),
    "absent": ([variant(value=ABSENT)], "tested variant not found"),
    "no call": ([variant(value=NO_CALL), implication()], Reason.NO_CALL),
    "indeterminate": ([variant(value=INDETERMINATE), implication()], Reason.INDETERMINATE),
    "no value": ([variant(value=None), implication()], Reason.NO_VALUE),
    "another value": ([variant(value="LA6576-8"), implication()], Reason.NOT_UNDERSTOOD),
    "somatic": ([variant(source=SOMATIC), implication()], Reason.SOMATIC_ONLY),
    "source class missing": ([variant(source=None), implication()], Reason.SOURCE_CLASS_MISSING),
    "likely germline": ([variant(source="LA18194-3"), implication()], Reason.SOURCE_CLASS_MISSING),
    "build missing": ([variant(build=None), implication()], Reason.BUILD_MISSING),
    "GRCh37": ([variant(build=GRCH37), implication()], Reason.BUILD_MISSING),
    "GRCh37 position": ([variant(more=(GRCH37_CHANGE,)), implication()], Reason.BUILD_MISSING),
    "text alone": ([variant(change=None, more=(TEXT_CHANGE,)), implication()], Reason.TEXT_ONLY),
    "protein alone": (
        [variant(change=None, more=(component("48005-3", HGVS, "p.Glu23fs"),)), implication()],
        Reason.TEXT_ONLY,
    ),
    "low confidence": ([variant(more=(LOW,)), implication()], Reason.INDETERMINATE),
    "not classified": ([variant()], Reason.NOT_RECORDED),
    "two classifications": (
        [variant(), implication(), implication(UNCERTAIN, name="j")],
        Reason.CONFLICTING,
    ),
    "two that agree": ([variant(), implication(), implication(name="j")], "pathogenic"),
    "classified together": ([*TWO, implication(PATHOGENIC, "a", "b")], Reason.NOT_UNDERSTOOD),
    "unknown class": ([variant(), implication("LA1-1")], Reason.NOT_UNDERSTOOD),
    "variant without a day": ([variant(**UNDATED), implication()], Reason.NO_DATE),
    "class without a day": ([variant(), implication(**UNDATED)], Reason.NO_DATE),
    "present and absent": ([variant("a"), variant("b", value=ABSENT)], Reason.CONFLICTING),
    "germline and somatic": (
        [variant(), implication(), variant("s", source=SOMATIC)],
        "pathogenic",
    ),
    "of the tumour, beside one of the germline": (
        [variant("a"), implication(UNCERTAIN, "a"), variant("b", change="c.1A>G", source=SOMATIC)],
        "uncertain significance",
    ),
    "the worse of two": (
        [*TWO, implication(UNCERTAIN, "a"), implication(LIKELY_PATHOGENIC, "b", name="j")],
        "likely pathogenic",
    ),
    "one of two without call": (
        [
            variant("a"),
            implication(UNCERTAIN, "a"),
            variant("b", change="c.5266dup", value=NO_CALL),
        ],
        Reason.NO_CALL,
    ),
    "a carrier with a failed second": (
        [variant("a"), implication(PATHOGENIC, "a"), variant("b", change="c.1A>G", value=NO_CALL)],
        "pathogenic",
    ),
    "preliminary": ([variant(status="preliminary"), variant("o", BRCA2)], Reason.NOT_FINAL),
    "of a preliminary report": (
        [variant(), implication(), report("v", "i", status="preliminary"), variant("o", BRCA2)],
        Reason.NOT_FINAL,
    ),
    "of a withdrawn report": (
        [
            variant(),
            implication(),
            report("v", "i", status="entered-in-error"),
            variant("o", BRCA2),
        ],
        Reason.NOT_FINAL,
    ),
    "held back": ([variant(change="c.1Q>Z"), variant("o", BRCA2)], Reason.HELD_BACK),
    "held back, gene unknown": (
        [variant(gene="BRCA", change="c.1A>G"), variant("o", BRCA2)],
        Reason.HELD_BACK,
    ),
    "of another gene, held back": (
        [variant(), implication(), variant("o", BRCA2, change="c.1Q>Z")],
        "pathogenic",
    ),
    "absent beside another gene, held back": (
        [variant(value=ABSENT), variant("o", BRCA2, change="c.1Q>Z")],
        "tested variant not found",
    ),
    "a second classification held back": (
        [variant(), implication(), implication(UNCERTAIN, name="j", valueString="so it seems")],
        Reason.HELD_BACK,
    ),
    "a second classification not final": (
        [variant(), implication(), implication(UNCERTAIN, name="j", status="preliminary")],
        Reason.HELD_BACK,
    ),
    "absent beside one held back": (
        [variant(value=ABSENT), variant("o", change="c.1Q>Z")],
        Reason.HELD_BACK,
    ),
    "benign in the genome's numbers": (
        [DUPLICATION, implication(), GENOMIC, implication(BENIGN, "g", name="j")],
        Reason.CONFLICTING,
    ),
    "absent in the genome's numbers": (
        [DUPLICATION, implication(), GENOMIC_ABSENT],
        Reason.CONFLICTING,
    ),
    "pathogenic in both": (
        [DUPLICATION, implication(), GENOMIC, implication(PATHOGENIC, "g", name="j")],
        "pathogenic",
    ),
    "both numbers beside the genome's": (
        [variant(change=DUP, more=(G_DUP,)), implication(), GENOMIC_ABSENT],
        Reason.CONFLICTING,
    ),
    "both numbers beside others of the genome": (
        [variant(more=(G_LOSS,)), implication(), GENOMIC_ABSENT],
        "pathogenic",
    ),
    "benign by another transcript": (
        [
            DUPLICATION,
            implication(),
            variant("t", change="NM_007300.4:c.5329dup"),
            implication(BENIGN, "t", name="j"),
        ],
        Reason.CONFLICTING,
    ),
    "benign by another transcript and the same genomic change": (
        [
            variant(change=DUP, more=(G_DUP,)),
            implication(),
            variant("t", change="NM_007300.4:c.5329dup", more=(G_DUP,)),
            implication(BENIGN, "t", name="j"),
        ],
        Reason.CONFLICTING,
    ),
    "a transcript of TP53": (
        [variant(change="NM_000546.6:c.68_69del"), implication()],
        Reason.NOT_UNDERSTOOD,
    ),
    "a transcript of BRCA2": (
        [variant(change="NM_000059.4:c.68_69del"), implication()],
        Reason.NOT_UNDERSTOOD,
    ),
    "a transcript of BRCA2 beside it": (
        [variant(more=(component("51958-7", "x", "LRG_293t1"),)), implication()],
        Reason.NOT_UNDERSTOOD,
    ),
    "the name of BRCA2": (
        [variant(change="NM_007294.4(BRCA2):c.68_69del"), implication()],
        Reason.NOT_UNDERSTOOD,
    ),
    "its own LRG": ([variant(change="LRG_292t1:c.68_69del"), implication()], "pathogenic"),
    "its own region": ([variant(change="NG_005905.2:c.68_69del"), implication()], "pathogenic"),
    "two genes": (
        [variant(more=(component("48018-6", HGNC, BRCA2),)), implication()],
        Reason.NOT_UNDERSTOOD,
    ),
    "another gene": ([variant(gene=BRCA2, change="c.1A>G"), implication()], Reason.NOT_RECORDED),
    "nothing": ([], Reason.NOT_RECORDED),
    "of a relative, by her history": (
        [variant(), implication(), history(extension=[OF_RELATIVE])],
        Reason.HELD_BACK,
    ),
    "derived from a relative's history": (
        [variant(derivedFrom=[{"reference": "FamilyMemberHistory/f"}]), implication(), history()],
        Reason.HELD_BACK,
    ),
    **{
        f"of a specimen {list(more.values())}": (
            [variant(specimen={"reference": "Specimen/s"}), implication(), specimen(**more)],
            expected,
        )
        for more, expected in (
            ({"subject": {"display": "mother"}}, Reason.HELD_BACK),
            (
                {"type": concept(("http://terminology.hl7.org/CodeSystem/v2-0487", "AMN"))},
                Reason.HELD_BACK,
            ),
            ({"type": {"text": "Chorionic villi"}}, Reason.HELD_BACK),
            ({"type": {"text": "Umbilical cord blood"}}, Reason.HELD_BACK),
            ({"type": {"text": "Tumor tissue, FFPE"}}, Reason.HELD_BACK),
            ({"type": {"text": "Plasma cell-free DNA"}}, Reason.HELD_BACK),
            (
                {"type": concept(("http://terminology.hl7.org/CodeSystem/v2-0487", "TUMOR"))},
                Reason.HELD_BACK,
            ),
            ({"type": {"text": "EDTA blood"}}, "pathogenic"),
        )
    },
    "hers, beside a relative's with a class": (
        [
            variant(),
            implication(),
            variant("r", change=DUP),
            implication(UNCERTAIN, "r", name="j"),
            history(extension=[{**OF_RELATIVE, "valueReference": {"reference": "Observation/r"}}]),
        ],
        "pathogenic",
    ),
    **{
        f"a newer class {what}": (
            [variant(), implication(), implication(BENIGN, *origins, name="j", **more)],
            expected,
        )
        for what, origins, more, expected in (
            ("of a variant that is not in the file", ("gone",), {}, Reason.HELD_BACK),
            ("of no variant", (), {"derivedFrom": []}, Reason.HELD_BACK),
            ("with its gene", ("gone",), {"component": class_of("HGNC:1100")}, Reason.HELD_BACK),
            ("of another gene", ("gone",), {"component": class_of(BRCA2)}, "pathogenic"),
            ("that was withdrawn", ("gone",), {"status": "entered-in-error"}, "pathogenic"),
        )
    },
    "a newer class of a variant that is not kept": (
        [
            variant(),
            implication(),
            variant("n", change="c.1Q>Z"),
            implication(BENIGN, "n", name="j"),
        ],
        Reason.HELD_BACK,
    ),
    "significance on the variant alone": (
        [variant(more=(component("53037-8", LOINC, PATHOGENIC),))],
        Reason.NOT_RECORDED,
    ),
    "significance on the variant differs": (
        [variant(more=(component("53037-8", LOINC, UNCERTAIN),)), implication()],
        Reason.CONFLICTING,
    ),
}


@pytest.mark.parametrize("case", BRCA1)
def test_the_laboratory_s_report_decides_about_brca(case: str) -> None:
    resources, expected = BRCA1[case]
    fact = chart(*resources)["brca1_germline"]
    assert value_of(fact) == expected
    if isinstance(fact, Known):
        assert fact.day == FIRST
        assert fact.source


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("NM_000059.4:c.5946del", "pathogenic"),
        ("LRG_293t1:c.5946del", "pathogenic"),
        ("NM_007294.4:c.5946del", Reason.NOT_UNDERSTOOD),
        ("LRG_292t1:c.5946del", Reason.NOT_UNDERSTOOD),
    ],
)
def test_a_transcript_of_brca1_is_none_of_brca2(change: str, expected: object) -> None:
    facts = chart(variant(gene=BRCA2, change=change), implication())
    assert value_of(facts["brca2_germline"]) == expected


def test_a_classification_has_its_own_day() -> None:
    later = implication(effectiveDateTime="2024-05-20")
    fact = chart(variant(), later)["brca1_germline"]
    assert isinstance(fact, Known)
    assert fact.day == day_number("2024-05-20")


def test_what_is_not_read_of_a_report_is_what_it_advises() -> None:
    guide = "http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs"
    advice = implication() | {
        "id": "t",
        "code": {"coding": [{"system": guide, "code": "therapeutic-implication"}]},
        "component": [component("51963-7", RXNORM, "1597582")],
    }
    facts = chart(variant(), implication(), advice)
    assert value_of(facts["brca1_germline"]) == "pathogenic"
    assert "rxnorm:1597582" not in str(facts)


def test_every_fact_is_named_and_has_the_kind_of_its_name() -> None:
    facts = chart(*bea())
    assert set(facts) == set(FACTS) - set(DERIVATIONS)
    for name, fact in facts.items():
        if isinstance(fact, Known):
            kind, value = FACTS[name], fact.value
            assert type(value) is {"yes or no": bool, "number": Decimal}.get(
                kind.kind, str if kind.words else tuple
            ), name
            assert not kind.words or value in kind.words, name


def test_a_chart_that_answers_all_gates_of_olaparib() -> None:
    facts = chart(*bea())
    expected = {
        "sex": "female",
        "age": Decimal(64),
        "brca1_germline": "pathogenic",
        "brca2_germline": Reason.NOT_RECORDED,
        "breast_cancer": True,
        "her2": "negative",
        "oestrogen_receptor": "negative",
        "progesterone_receptor": "negative",
        "tumour_size": "T2",
        "nodes": "N0",
        "metastatic": False,
        "chemotherapy": "adjuvant",
        "endocrine_therapy": "none",
        "earlier_parp_inhibitor": False,
        "medicines": ("rxnorm:6809",),
        "medicines_ever": ("rxnorm:3639", "rxnorm:56946", "rxnorm:6809"),
        "medicines_complete": True,
        "weight": Decimal("61.5"),
        "creatinine": Decimal("1.4"),
        "haemoglobin": Decimal("12.1"),
        "neutrophils": Decimal("2.9"),
        "platelets": Decimal(210),
        "pregnant": False,
        "menopause": "after",
        "mds_aml": Reason.NOT_RECORDED,
        "complete_response": Reason.NOT_RECORDED,
    }
    assert {name: value_of(facts[name]) for name in expected} == expected
    last = facts["chemotherapy"]
    assert last.day == day_number("2024-04-10")


def test_a_chart_with_products_and_second_codes_says_the_same_by_a_map() -> None:
    """Each medicine has a code of the pharmacy's own beside it, and metformin is a product."""
    pharmacy = "urn:hospital:pharmacy"
    written = copy.deepcopy(bea())
    for number, resource in enumerate(written):
        for coding in resource.get("medicationCodeableConcept", {}).get("coding", []):
            if coding["code"] == "A10BA02":  # metformin 500 mg tablet
                coding.update(system=RXNORM, code="861007")
        if "medicationCodeableConcept" in resource:
            own = {"system": pharmacy, "code": f"K{number}", "display": "Own name"}
            resource["medicationCodeableConcept"]["coding"].append(own)
    code_map = [
        {"system": pharmacy, "source": "test", "codes": {}, "optional": True},
        {"system": "rxnorm", "source": "test", "codes": {"861007": {"to": "rxnorm:6809"}}},
    ]
    sets = with_maps(SHIPPED, [load_code_map(json.dumps(code_map).encode())])
    values = {name: value_of(fact) for name, fact in chart(*written, sets=sets).items()}
    assert values == {name: value_of(fact) for name, fact in chart(*bea()).items()}
    assert value_of(chart(*written)["medicines_complete"]) == Reason.HELD_BACK


UNITS = "http://unitsofmeasure.org"
ICD_O = "http://terminology.hl7.org/CodeSystem/icd-o-3"
DAY = {"effectiveDateTime": "2024-05-20"}
LESS = {"valueQuantity": {"value": 1, "comparator": "<", "system": UNITS, "code": "mg/dL"}}
BELOW_ONE = observation((LOINC, "2160-0"), **LESS, **DAY)
PREGNANT_NOW = condition((CM, "Z33.1"), onsetDateTime="2024-05-01")
ABSENT_AND_LOW = measured(
    "2160-0", 0.7, "mg/dL", "2024-05-28", dataAbsentReason=concept((LOINC, "error"))
)
MOLES_OF_HB = measured("59260-0", 4.5, "mmol/L", "2024-05-28")
WITHOUT_CLOTHES = measured("8351-9", 38, "kg", "2024-05-28")
NO_HER2 = coded("85319-2", "LA6577-6", "2024-02-01")
ER_SHARE = measured("14228-1", 90, "%", "2024-05-28")
NOT_PREGNANT_HERE = coded("82810-3", "LA26683-5")
SERUM, IN_BLOOD = (
    measured(code, 1.4, "mg/dL", day)
    for code, day in (("2160-0", "2024-05-20"), ("59826-8", "2024-05-21"))
)
DIALYSIS = procedure((PCS, "5A1D70Z")) | {"performedDateTime": "2024-05-01"}
NO_IMPAIRMENT, MILD = (
    coded("hepatic-impairment", f"impairment-{word}", system=LOCAL) for word in ("none", "mild")
)
NOT_A_STAGE = staged("21899-0", "free", "2024-02-03")
CLINICAL_STATUS = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def ended(code: str, status: str) -> dict[str, Any]:
    """A diagnosis of long ago with a status, without the day of its end."""
    return condition((CM, code), clinicalStatus=concept((CLINICAL_STATUS, status)))


def bounded(code: str, comparator: str, value: float) -> dict[str, Any]:
    """A filtration rate beyond a bound."""
    result = measured(code, value, "mL/min/{1.73_m2}")
    result["valueQuantity"]["comparator"] = comparator
    return result


def judged(code: str, system: str = "v3-ObservationInterpretation") -> dict[str, Any]:
    """A newer, lower creatinine with an interpretation."""
    interpreted = concept((f"http://terminology.hl7.org/CodeSystem/{system}", code))
    return measured("2160-0", 1.0, "mg/dL", "2024-05-28", interpretation=[interpreted])


def from_specimen(**state: Any) -> list[dict[str, Any]]:
    """A newer, lower creatinine with its specimen."""
    drawn = {"specimen": {"reference": "Specimen/s"}}
    return [measured("2160-0", 1.0, "mg/dL", "2024-05-28", **drawn), specimen(**state)]


def in_state(code: str) -> list[dict[str, Any]]:
    state = concept(("http://terminology.hl7.org/CodeSystem/v2-0493", code))
    return from_specimen(condition=[state])


TEST_LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
TEST_DATA = measured("2160-0", 1.0, "mg/dL", "2024-05-28", meta={"security": [TEST_LABEL]})
NO_BLOOD_DISEASE = observation((LOCAL, "mds-aml"), valueBoolean=False, **DAY)


def failure(code: str, onset: str = "2022-05-01", abatement: str | None = None) -> dict[str, Any]:
    """A disease of kidney or liver."""
    ended = {} if abatement is None else {"abatementDateTime": abatement}
    return condition((CM, code), onsetDateTime=onset, **ended)


PREGNANT_ONCE = condition((CM, "Z33.1"), onsetDateTime="2021-05-01")
NOT_FEEDING = observation((LOCAL, "breast-feeding"), valueBoolean=False, **DAY)
CLASS_C = coded("child-pugh-class", "child-pugh-c", system=LOCAL)
METASTASIS = condition((CM, "C78.7"), onsetDateTime="2024-03-01")
UNSUITABLE = observation((LOCAL, "endocrine-therapy-unsuitable"), valueBoolean=True, **DAY)
BFARM_ATC, ATC_OID = "http://fhir.de/CodeSystem/bfarm/atc", "urn:oid:2.16.840.1.113883.6.73"
BOTH_CODES = order((RXNORM, "860975"), (ATC, "A10BA02")) | {"authoredOn": "2024-05-20"}
STRANGE_ONCE = order((RXNORM, "860975")) | {"status": "stopped", "authoredOn": "2020-01-01"}
IN_WORDS = order(medicationCodeableConcept={"text": "Paxlovid"})
MEASURED = [
    ([measured("14682-9", 88.42, "umol/L")], "creatinine", Decimal(1)),
    ([SERUM, measured("2160-0", 1.0, "mg/dL", "2024-05-01")], "creatinine", Decimal("1.4")),
    ([SERUM, measured("2160-0", 0.9, "mg/dL", "2024-05-01")], "creatinine", Reason.CONFLICTING),
    ([SERUM, measured("2160-0", 0.9, "mg/dL", "2024-04-18")], "creatinine", Decimal("1.4")),
    ([measured("2160-0", 1.4, "mg/dL"), measured("2160-0", 1.42, "mg/dL")], "creatinine", Decimal("1.42")),
    ([measured("2160-0", 1.4, "mg/dL"), measured("2160-0", 2.8, "mg/dL")], "creatinine", Reason.CONFLICTING),
    ([measured("2160-0", 1.4, "g/L")], "creatinine", Reason.UNIT),
    ([measured("2160-0", 140, "mg/dL")], "creatinine", Reason.NOT_UNDERSTOOD),
    ([measured("2160-0", 1.4, "mg/dL", None)], "creatinine", Reason.NO_DATE),
    ([measured("2160-0", 1.4, "mg/dL", "2024-05")], "creatinine", Reason.NO_DATE),
    ([measured("2160-0", 1.4, "mg/dL", "2024-06-04")], "creatinine", Reason.NO_DATE),
    ([measured("38483-4", 1.4, "mg/dL")], "creatinine", Reason.NOT_UNDERSTOOD),
    ([SERUM, IN_BLOOD], "creatinine", Reason.NOT_UNDERSTOOD),
    ([SERUM, failure("N17.9", "2024-05-10")], "creatinine", Reason.NOT_UNDERSTOOD),
    ([SERUM, failure("N17.9", "2020-05-10")], "creatinine", Decimal("1.4")),
    ([SERUM, failure("N17.9", "2024-05-01", "2024-05-09")], "creatinine", Decimal("1.4")),
    *(([SERUM, failure(code, "2019")], "creatinine", Reason.NOT_UNDERSTOOD)
      for code in ("Z99.2", "N18.4")),
    ([SERUM, failure("N18.30", "2019")], "creatinine", Decimal("1.4")),
    *(([measured(code, 28, "mL/min/{1.73_m2}")], "reported_clearance", Decimal(28))
      for code in ("62238-1", "98979-8", "33914-3")),
    ([measured("2164-2", 0.5, "mL/s")], "reported_clearance", Decimal(30)),
    ([measured("2164-2", 52, "ml/min"), measured("98979-8", 28, "mL/min/1.73m2")],
     "reported_clearance", Decimal(28)),
    ([bounded("98979-8", "<", 15)], "reported_clearance", Decimal(15)),
    ([bounded("98979-8", ">", 60)], "reported_clearance", Decimal(60)),
    ([measured("98979-8", 28, "mg/dL")], "reported_clearance", Reason.UNIT),
    ([SERUM, DIALYSIS], "creatinine", Reason.NOT_UNDERSTOOD),
    *(([SERUM, ended(code, status)], "creatinine", Reason.NOT_UNDERSTOOD)
      for code in ("N18.6", "Z99.2") for status in ("remission", "resolved", "inactive")),
    ([SERUM, ended("N17.9", "resolved")], "creatinine", Decimal("1.4")),
    ([SERUM, failure("Z99.2", "2019-01-01", "2020-01-01")], "creatinine", Decimal("1.4")),
    *(([SERUM, judged(code)], "creatinine", Reason.HELD_BACK) for code in ("QCF", "HM", "<", ">")),
    ([SERUM, judged("QCF", "v2-0078")], "creatinine", Reason.HELD_BACK),
    ([SERUM, judged("L")], "creatinine", Decimal("1.0")),
    ([SERUM, *from_specimen(status="unsatisfactory")], "creatinine", Reason.HELD_BACK),
    ([SERUM, *in_state("HEM")], "creatinine", Reason.HELD_BACK),
    ([SERUM, *in_state("COOL")], "creatinine", Decimal("1.0")),
    ([SERUM, TEST_DATA], "creatinine", Reason.HELD_BACK),
    *(([SERUM, measured(code, 0.7, "mg/dL", "2024-05-28")], "creatinine", Reason.NOT_UNDERSTOOD)
      for code in ("21232-4", "35203-9", "11041-1", "11042-9", "51619-5", "51620-3", "101475-2", "40248-7")),
    ([SERUM, ABSENT_AND_LOW], "creatinine", Reason.HELD_BACK),
    ([measured("718-7", 12, "g/dL"), MOLES_OF_HB], "haemoglobin", Reason.NOT_UNDERSTOOD),
    ([measured("29463-7", 61, "kg"), WITHOUT_CLOTHES], "weight", Reason.NOT_UNDERSTOOD),
    ([NOT_PREGNANT_HERE, coded("80384-1", "LA6576-8", "2024-05-28")], "pregnant", True),
    ([NOT_PREGNANT_HERE, coded("80384-1", "LA6577-6", "2024-05-28")], "pregnant", False),
    ([NOT_PREGNANT_HERE, measured("21198-7", 45000, "m[IU]/mL", "2024-05-28")], "pregnant", Reason.NOT_UNDERSTOOD),
    ([measured("33914-3", 50, "mL/min")], "creatinine", Reason.NOT_RECORDED),
    ([BELOW_ONE], "creatinine", Reason.NOT_UNDERSTOOD),
    ([measured("29463-7", 150, "[lb_av]")], "weight", Decimal("68.0388555")),
    ([measured("29463-7", 61, "kg"), measured("29463-7", 60, "kg")], "weight", Decimal(60)),
    ([measured("26499-4", 2900, "/uL")], "neutrophils", Decimal("2.9")),
    ([measured("718-7", 121, "g/L")], "haemoglobin", Decimal("12.1")),
    ([measured("29463-7", 135, "kg"), measured("29463-7", 61, "kg", "2024-05-13")], "weight", Reason.CONFLICTING),
    ([measured("29463-7", 61, "kg"), measured("29463-7", 73.3, "kg", "2024-05-13")], "weight", Reason.CONFLICTING),
    ([measured("29463-7", 61, "kg"), measured("29463-7", 73.2, "kg", "2024-05-13")], "weight", Decimal(61)),
    ([measured("29463-7", 135, "kg"), measured("29463-7", 61, "kg", "2024-04-15")], "weight", Reason.CONFLICTING),
    ([measured("29463-7", 61, "kg"), measured("29463-7", 135, "kg", "2024-02-09")], "weight", Decimal(61)),
    *(([measured(code, value, unit)], name, Decimal(expected)) for code, value, unit, name, expected in (
        ("2160-0", 1.4, "mg/dl", "creatinine", "1.4"),
        ("2160-0", 14, "mg/L", "creatinine", "1.4"),
        ("14682-9", 88.42, "umol/l", "creatinine", "1"),
        ("718-7", 12.1, "g/dl", "haemoglobin", "12.1"),
        ("718-7", 121, "g/l", "haemoglobin", "12.1"),
        ("718-7", 7.5, "mmol/l", "haemoglobin", "12.08550"),
        ("777-3", 210, "10*9/l", "platelets", "210"),
        ("777-3", 210, "10^9/L", "platelets", "210"),
        ("777-3", 210, "10*3/ul", "platelets", "210"),
        ("777-3", 210, "10*3/mm3", "platelets", "210"),
        ("777-3", 210, "/nL", "platelets", "210"),
        ("777-3", 210000, "{cells}/uL", "platelets", "210"),
        ("29463-7", 2000, "[oz_av]", "weight", "56.699046250"),
    )),
    *(([measured("718-7", 12, unit)], "haemoglobin", Reason.UNIT) for unit in ("G/DL", "mg/dl", "G/L")),
    ([measured("2160-0", 1.4, "mg/dL") | {"code": concept((LOINC + "/", "2160-0"))}], "creatinine", Decimal("1.4")),
    ([coded("82810-3", "LA15173-0")], "pregnant", True),
    ([coded("82810-3", "LA4489-6")], "pregnant", Reason.NOT_UNDERSTOOD),
    ([coded("82810-3", "LA26683-5", "2024-01-01"), PREGNANT_NOW], "pregnant", True),
    ([coded("82810-3", "LA26683-5", "2024-05-20"), PREGNANT_ONCE], "pregnant", False),
    *(([NOT_PREGNANT_HERE, observation((LOINC, code), valueDateTime="2024-12-01", effectiveDateTime="2024-05-28")],
      "pregnant", Reason.HELD_BACK) for code in ("11778-8", "11779-6", "11780-4", "11781-2")),
    *(([NOT_PREGNANT_HERE, measured(code, 8, "wk", "2024-05-28")], "pregnant", Reason.NOT_UNDERSTOOD)
      for code in ("49051-6", "11884-4", "11885-1", "18185-9")),
    *(([NOT_PREGNANT_HERE, condition((CM, code), onsetDateTime="2024-04-20", **more)], "pregnant", expected)
      for code in ("O09.91", "Z34.91") for more, expected in (
          ({"recordedDate": "2024-05-28"}, Reason.CONFLICTING),
          ({"recordedDate": "2024-05-19"}, False),
          ({"recordedDate": "2024-05-28", "abatementDateTime": "2024-05-01"}, False),
      )),
    ([], "pregnant", Reason.NOT_RECORDED),
    ([NOT_FEEDING], "breast_feeding", False),
    *(([NOT_FEEDING, condition((CM, code), onsetDateTime="2024-05-25")], "breast_feeding", Reason.CONFLICTING)
      for code in ("Z39.1", "O80", "O92.70", "Z37.0")),
    ([NOT_FEEDING, condition((CM, "O80"), onsetDateTime="2014-05-25")], "breast_feeding", False),
    ([NOT_FEEDING, condition((CM, "I10"), onsetDateTime="2024-05-25")], "breast_feeding", False),
    ([coded("menopausal-status", "before-menopause", system=LOCAL)], "menopause", "before"),
    ([coded("child-pugh-class", "child-pugh-b", system=LOCAL)], "hepatic_impairment", "moderate"),
    ([coded("hepatic-impairment", "impairment-none", system=LOCAL)], "hepatic_impairment", "none"),
    ([coded("hepatic-impairment", "impairment-none", system=LOCAL), CLASS_C], "hepatic_impairment", Reason.CONFLICTING),
    ([NO_IMPAIRMENT, failure("K74.60")], "hepatic_impairment", Reason.CONFLICTING),
    ([NO_IMPAIRMENT, ended("K74.60", "resolved")], "hepatic_impairment", Reason.CONFLICTING),
    ([MILD, failure("K74.60")], "hepatic_impairment", "mild"),
    ([MILD, failure("K72.90")], "hepatic_impairment", Reason.CONFLICTING),
    *(([NO_IMPAIRMENT, failure(code)], "hepatic_impairment", Reason.CONFLICTING) for code in ("K76.82", "K91.82")),
    ([NO_IMPAIRMENT, failure("K72.90", "2020-01-01", "2020-02-01")], "hepatic_impairment", "none"),
    ([], "hepatic_impairment", Reason.NOT_RECORDED),
    ([observation((LOCAL, "cps-eg-score"), valueInteger=3, effectiveDateTime="2024-05-01")], "cps_eg", Decimal(3)),
    ([condition((CM, "D46.9"))], "mds_aml", True),
    *(([NO_BLOOD_DISEASE, condition((CM, code))], "mds_aml", Reason.NOT_UNDERSTOOD)
      for code in ("Z85.6", "C92.90", "C95.90")),
    ([NO_BLOOD_DISEASE, condition((CM, "C95.10"))], "mds_aml", False),
    ([ended("C92.01", "remission")], "mds_aml", True),
    ([condition((CM, "Z86.711"))], "thrombosis", True),
    ([condition((CM, "J84.9"))], "pneumonitis", True),
    ([condition((CM, "I26.99"))], "thrombosis", True),
    ([condition((CM, "I83.90"))], "thrombosis", Reason.NOT_RECORDED),
    *(([condition((CM, code))], "thrombosis", True) for code in ("I81", "I80.8", "G08", "O22.30", "I82.401")),
    *(([condition((CM, code))], "thrombosis", Reason.NOT_RECORDED) for code in ("I80.00", "I63.9")),
]  # a table: one case a line  # fmt: skip
SNOMED = "http://snomed.info/sct"
FOURTH = {"coding": [{"system": SNOMED, "code": "2640006", "display": "Stage 4 (qualifier value)"}]}
GROUP_IN_SNOMED = observation((LOINC, "21908-9"), valueCodeableConcept=FOURTH, **DAY)
UNCLEAR: list[dict[str, Any]] = [
    {"text": "Stage IV"},
    {"text": "advanced"},
    FOURTH,
    {"text": "cM1"},
]
EARLY = [{"text": "Stage IIA"}, {"text": "AJCC stage 2"}, {"text": "pT2"}, concept(("x", "IIIB"))]


def at_stage(summary: dict[str, Any], code: str = "C50.912") -> dict[str, Any]:
    return condition((CM, code), stage=[{"summary": summary}])


LARGE_ONCE = staged("21899-0", "pT3", "2020-01-05")
OTHER_BREAST, OTHER_SITE, SAME_TUMOUR = (
    [condition((CM, first), onsetDateTime="2020-01-02"), condition((CM, then), onsetDateTime=day)]
    for first, then, day in (
        ("C50.911", "C50.912", "2020-01-02"),
        ("C50.4", "C50.2", "2024-01-02"),
        ("C50.411", "C50.911", "2024-01-02"),
    )
)
TUMOUR = [
    ([coded("48676-1", "LA6576-8")], "her2", "positive"),
    ([coded("48676-1", "LA11884-6")], "her2", "equivocal"),
    ([coded("85319-2", "LA11884-6"), coded("85318-4", "LA6577-6")], "her2", "negative"),
    ([coded("85319-2", "LA6576-8"), coded("85318-4", "LA6577-6")], "her2", Reason.CONFLICTING),
    ([coded("85319-2", "LA6577-6", "2020-01-01"), coded("85319-2", "LA6576-8")], "her2", "positive"),
    ([coded("85319-2", "LA6577-6", None)], "her2", Reason.NO_DATE),
    ([coded("85319-2", "LA1-1")], "her2", Reason.NOT_UNDERSTOOD),
    ([], "her2", Reason.NOT_RECORDED),
    ([staged("21905-5", "cT2"), staged("21899-0", "pT1c", "2023-11-01")], "tumour_size", "T1"),
    ([staged("21905-5", "cT3", "2023-01-01"), staged("21899-0", "ypT0")], "tumour_size", Reason.NOT_RECORDED),
    ([staged("21899-0", "pT2", "2024-01-05"), staged("21899-0", "two", "2024-02-01")], "tumour_size", Reason.HELD_BACK),
    ([staged("21899-0", "pT1c"), staged("21899-0", "pT2")], "tumour_size", Reason.CONFLICTING),
    ([staged("21899-0", "pTis(DCIS)")], "tumour_size", "Tis"),
    ([staged("21899-0", "cT2", "2024-01-01"), staged("21905-5", "cT3")], "tumour_size", Reason.NOT_RECORDED),
    ([staged("21899-0", "ypT1"), NOT_A_STAGE, staged("21900-6", "ypN0")], "complete_response", Reason.HELD_BACK),
    ([staged("21905-5", "cT1"), staged("21899-0", "pT2", "2010-01-01")], "tumour_size", Reason.CONFLICTING),
    ([coded("72383-3", "LA6577-6")], "her2", "negative"),
    ([coded("85319-2", "LA6576-8", "2024-01-31"), NO_HER2], "her2", Reason.CONFLICTING),
    ([coded("85319-2", "LA6576-8", "2020-01-31"), NO_HER2], "her2", "negative"),
    ([coded("85319-2", "LA11884-6", "2024-01-31"), NO_HER2], "her2", "negative"),
    ([*OTHER_BREAST, coded("85319-2", "LA6576-8", "2020-01-31"), NO_HER2], "her2", Reason.CONFLICTING),
    ([*OTHER_SITE, coded("85319-2", "LA6576-8", "2020-01-31"), NO_HER2], "her2", Reason.CONFLICTING),
    ([*SAME_TUMOUR, coded("85319-2", "LA6576-8", "2020-01-31"), NO_HER2], "her2", "negative"),
    ([*OTHER_BREAST, coded("85319-2", "LA6577-6", "2020-01-31"), NO_HER2], "her2", "negative"),
    ([*OTHER_BREAST, LARGE_ONCE, staged("21899-0", "pT1c")], "tumour_size", Reason.CONFLICTING),
    ([*SAME_TUMOUR, LARGE_ONCE, staged("21899-0", "pT1c")], "tumour_size", "T1"),
    ([coded("85337-4", "LA6577-6"), ER_SHARE], "oestrogen_receptor", Reason.NOT_UNDERSTOOD),
    ([coded("85319-2", "LA6577-6"), measured("74860-8", 2.4, "1", "2024-05-21")], "her2", Reason.NOT_UNDERSTOOD),
    ([staged("21900-6", "pN1a(sn)")], "nodes", "N1"),
    ([staged("21899-0", "ypT0"), staged("21900-6", "ypN0")], "complete_response", True),
    ([staged("21899-0", "ypTis"), staged("21900-6", "ypN0(i+)")], "complete_response", False),
    ([staged("21899-0", "ypT1a"), staged("21900-6", "ypN0")], "complete_response", False),
    ([staged("21899-0", "ypT0")], "complete_response", Reason.NOT_RECORDED),
    *(([coded("85319-2", "LA6577-6", "2024-02-01"), condition((CM, code), onsetDateTime="2024-03-01")],
       "her2", value)
      for code, value in (("Z17.31", Reason.CONFLICTING), ("Z17.410", Reason.CONFLICTING), ("Z17.32", "negative"),
                          ("Z17.411", "negative"), ("Z17.0", "negative"))),
    ([coded("85337-4", "LA6577-6", "2024-02-01"), condition((CM, "Z17.0"), onsetDateTime="2024-03-01")],
     "oestrogen_receptor", Reason.CONFLICTING),
    ([coded("85337-4", "LA6577-6", "2024-02-01"), condition((CM, "Z17.0"), onsetDateTime="2020-03-01")],
     "oestrogen_receptor", "negative"),
    ([staged("21907-1", "cM0")], "metastatic", False),
    ([staged("21907-1", "cM1"), staged("21907-1", "cM0", "2024-05-01")],
     "metastatic", Reason.CONFLICTING),
    ([staged("21907-1", "cM0"), condition((CM, "C79.51"))], "metastatic", True),
    *(([staged("21907-1", "cM0"), staged(code, text, "2023-02-01")], "metastatic", Reason.NOT_UNDERSTOOD)
      for code in ("21908-9", "21902-2", "21914-7") for text in ("IV", "Stage IV", "stage 4", "IVB")),
    ([staged("21907-1", "cM0"), GROUP_IN_SNOMED], "metastatic", Reason.NOT_UNDERSTOOD),
    ([staged("21907-1", "cM0"), staged("21908-9", "spread")], "metastatic", Reason.HELD_BACK),
    ([staged("21907-1", "cM0"), staged("21908-9", "spread", "2023-02-01")], "metastatic", False),
    ([staged("21907-1", "cM0"), staged("21902-2", "IIA", "2024-05-01")], "metastatic", False),
    ([staged("21902-2", "IIA")], "metastatic", Reason.NOT_RECORDED),
    ([staged("21907-1", "cM1"), staged("21902-2", "IV")], "metastatic", True),
    *(([staged("21907-1", "cM0"), at_stage(summary)], "metastatic", Reason.NOT_UNDERSTOOD) for summary in UNCLEAR),
    *(([staged("21907-1", "cM0"), at_stage(summary)], "metastatic", False) for summary in EARLY),
    ([staged("21907-1", "cM0"), at_stage({"text": "IV"}, "C44.91")], "metastatic", False),
    ([staged("21907-1", "cM0"), at_stage({"text": "IV"}, "C34.9")], "metastatic", Reason.CONFLICTING),
    ([condition((CM, "C77.3"))], "metastatic", Reason.NOT_RECORDED),
    *(([staged("21907-1", "cM0"), condition((CM, code))], "metastatic", True)
      for code in ("C77.1", "C77.2", "C77.4", "C77.5", "C77.8", "J91.0", "R18.0")),
    ([observation((LOINC, "21893-3"), valueInteger=4, effectiveDateTime="2024-02-01")], "positive_nodes", Decimal(4)),
    ([condition((CM, "D05.10"))], "breast_cancer", Reason.NOT_RECORDED),
    ([condition((ICD_O, "C50.4"), (ICD_O, "8500/3"))], "breast_cancer", True),
    ([condition((ICD_O, "C50.4"), (ICD_O, "8500/2"))], "breast_cancer", Reason.NOT_RECORDED),
    ([condition((CM, "Z80.3"))], "breast_cancer_in_family", True),
]  # a table: one case a line  # fmt: skip
SURGERY = procedure((PCS, "0HTT0ZZ")) | {"performedDateTime": "2024-02-01"}
BIOPSY = procedure((PCS, "0HBT3ZX")) | {"performedDateTime": "2024-02-01"}
AROUND = {"start": "2024-01-01", "end": "2024-03-05"}
ENDING = {"end": "2024-03-05"}
CANCER = condition((CM, "C50.912"), onsetDateTime="2024-01-02")
ALLERGY = {
    "resourceType": "AllergyIntolerance",
    "patient": {"reference": "Patient/p"},
    "code": concept((RXNORM, "1597582")),
}


def of_breast(day: str) -> dict[str, Any]:
    return procedure((PCS, "0HTT0ZZ")) | {"performedDateTime": day}


# Medicines that stand elsewhere than in an entry of one: used, in a list, suspected, paid for.
PILL = {"resourceType": "Medication", "id": "pill", "code": concept((ATC, "J02AC02"))}
CLAIM = {
    "resourceType": "Claim",
    "status": "active",
    "patient": {"reference": "Patient/p"},
    "item": [{"sequence": 1, "productOrService": concept((ATC, "J02AC02"))}],
}
IN_OTHER_PLACES: list[list[dict[str, Any]]] = [
    [procedure(usedCode=[concept((ATC, "J02AC02"))]) | {"performedDateTime": "2024-05-01"}],
    [procedure(usedReference=[{"reference": "Medication/pill"}]), PILL],
    [procedure(contained=[PILL], usedReference=[{"reference": "#pill"}])],
    [
        {
            "resourceType": "List",
            "status": "current",
            "mode": "working",
            "subject": {"reference": "Patient/p"},
            "entry": [{"item": {"reference": "Medication/pill"}}],
        },
        PILL,
    ],
    [CLAIM],
    [CLAIM | {"resourceType": "ExplanationOfBenefit"}],
]
# In a system that needs a map, or in words: none of them is on any list.
NOBODY_KNOWS: list[dict[str, Any]] = [
    *(
        CLAIM | {"item": [{"sequence": 1, "productOrService": concept((system, "0093-0900"))}]}
        for system in ("http://hl7.org/fhir/sid/ndc", "https://dmd.nhs.uk")
    ),
    PILL | {"code": {"text": "Ketoconazole 200 mg"}},
    PILL | {"code": concept(("http://snomed.info/sct", "387216007"))},
]
WITH_AN_INGREDIENT = order() | {
    "contained": [
        {
            "resourceType": "Medication",
            "id": "m",
            "code": concept((ATC, "A10BA02")),
            "ingredient": [{"itemCodeableConcept": concept((ATC, "J02AC02"))}],
        }
    ],
    "medicationReference": {"reference": "#m"},
    "authoredOn": "2024-05-20",
}
REACTION = ALLERGY | {
    "code": concept((ATC, "N02BE01")),
    "reaction": [{"substance": concept((ATC, "L01XK01")), "manifestation": [concept((CM, "R21"))]}],
}
OLD_SETTING = coded("chemotherapy-setting", "setting-neoadjuvant", "2010-01-01", LOCAL)
GIVEN_BEFORE = medicine("L01DB01", "2024-01-05", "completed")
GIVEN_AFTER = medicine("L01DB01", "2024-03-05", "completed")
OF_ANOTHER_DISEASE = medicine("L01DB01", "2014-03-05", "completed")
BEFORE_CANCER = medicine("L01DB01", "2023-10-05", "completed")
SETTING = coded("chemotherapy-setting", "setting-neoadjuvant", system=LOCAL)
CREAM = order((RXNORM, "4492")) | {"authoredOn": "2024-03-05", "status": "completed"}
SESSION = condition((CM, "Z51.11"), onsetDateTime="2024-03-05")
LOINC_SERUM = {"system": LOINC, "code": "2160-0"}
IN_MILLIGRAMS = {"value": 0.9, "unit": "mg/dl", "system": UCUM, "code": "mg/dL"}
CAME_FOR_IT = {
    "resourceType": "Encounter",
    "status": "finished",
    "class": {"system": URIS["act-code"], "code": "AMB"},
    "type": [concept((CM, "Z51.89"))],
    "subject": {"reference": "Patient/p"},
    "period": {"start": "2024-05-28", "end": "2024-05-28"},
    "reasonCode": [concept((CM, "Z51.11"))],
}
SKIN = concept((SNOMED, "6064005"))
ROUTES = "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration"
IN_EYE = concept((ROUTES, "OPTHALTA"))


def reasoned(*codes: str, start: str = "2024-03-05", **more: Any) -> dict[str, Any]:
    """Doxorubicin for these diseases."""
    reasons = [concept((CM, code)) for code in codes]
    return medicine("L01DB01", start, "completed") | {"reasonCode": reasons} | more


OVARY = condition((CM, "C56.9"), id="c")
FOR_OVARY = medicine("L01DB01", "2024-03-05", "completed")
FOR_OVARY |= {"reasonReference": [{"reference": "Condition/c"}]}
LATER_FOR_OVARY = reasoned("C56.9", start="2024-05-10")


def by(*routes: dict[str, Any]) -> dict[str, Any]:
    return CREAM | {"dosageInstruction": [{"route": route} for route in routes]}


CREAM_STATED = {
    "resourceType": "MedicationStatement", "status": "active", "subject": {"reference": "Patient/p"},
    "medicationCodeableConcept": concept((RXNORM, "4492")), "effectiveDateTime": "2024-03-05",
    "dosage": [{"route": {"text": "Topical"}}],
}  # a table: one element a line  # fmt: skip
ITRACONAZOLE, CARBAMAZEPINE = "J02AC02", "N03AF01"
INHIBITOR, INDUCER = ("rxnorm:28031",), ("rxnorm:2002",)
LONG_AGO = "2022-07-01"  # 701 days before TODAY


def days(value: int, code: str = "d") -> dict[str, Any]:
    return {"value": value, "system": UCUM, "code": code}


THRICE = {"numberOfRepeatsAllowed": 3, "expectedSupplyDuration": days(90)}


def dosed(code: str, since: str, **bounds: Any) -> dict[str, Any]:
    timing = {"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d", **bounds}}}
    return medicine(code, since, "completed") | {"dosageInstruction": [timing]}


def supplied(code: str, since: str, **supply: Any) -> dict[str, Any]:
    return medicine(code, since, "completed") | {"dispenseRequest": supply}


def handed_out(code: str, since: str, on: str, **more: Any) -> list[dict[str, Any]]:
    """A completed order, and what was handed out on it."""
    dispense = {
        "resourceType": "MedicationDispense",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
        "medicationCodeableConcept": concept((ATC, code)),
        "whenHandedOver": f"{on}T10:00:00+02:00",
        "authorizingPrescription": [{"reference": "MedicationRequest/m"}],
    }
    return [medicine(code, since, "completed") | {"id": "m"}, dispense | more]


def taken(status: str, **when: Any) -> dict[str, Any]:
    statement = {**order((ATC, CARBAMAZEPINE)), "resourceType": "MedicationStatement"}
    del statement["intent"], statement["authoredOn"]
    return statement | {"status": status, **when}


GIVEN_ONCE = {"resourceType": "MedicationAdministration"}


def given_by(route: str) -> dict[str, Any]:
    """One infusion or instillation of chemotherapy, by this way."""
    given = taken("completed", effectiveDateTime="2024-03-01") | GIVEN_ONCE
    return given | {
        "medicationCodeableConcept": concept((ATC, "L01DB01")),
        "dosage": {"route": {"text": route}},
    }


ADVICE = observation(
    (GUIDE, "therapeutic-implication"),
    component=[component("51963-7", RXNORM, "1597582")],
    effectiveDateTime="2024-05-20",
)
MEDICINES = [
    (handed_out(ITRACONAZOLE, "2024-02-27", "2024-05-22"), "medicines", INHIBITOR),
    (handed_out(ITRACONAZOLE, LONG_AGO, "2024-05-22"), "medicines", INHIBITOR),
    (handed_out(ITRACONAZOLE, LONG_AGO, "2024-05-22"), "medicines_complete", True),
    (handed_out(ITRACONAZOLE, LONG_AGO, "2022-08-22"), "medicines", ()),
    (handed_out(ITRACONAZOLE, "2023-12-14", "2024-03-12", daysSupply=days(90)), "medicines", INHIBITOR),
    (handed_out(CARBAMAZEPINE, "2023-06-14", "2023-12-12", daysSupply=days(90)), "medicines", INDUCER),
    ([supplied(CARBAMAZEPINE, "2024-02-22", **THRICE)], "medicines", INDUCER),
    ([supplied(CARBAMAZEPINE, "2023-09-01", numberOfRepeatsAllowed=2)], "medicines", INDUCER),
    ([supplied(CARBAMAZEPINE, LONG_AGO, numberOfRepeatsAllowed=10**9)], "medicines", INDUCER),
    ([supplied(CARBAMAZEPINE, "2023-12-01", expectedSupplyDuration=days(6, "mo"))], "medicines", INDUCER),
    ([supplied(CARBAMAZEPINE, LONG_AGO, numberOfRepeatsAllowed=2)], "medicines", ()),
    ([supplied(ITRACONAZOLE, LONG_AGO, validityPeriod={"end": "2027-01-01"})], "medicines", INHIBITOR),
    ([supplied(ITRACONAZOLE, LONG_AGO, validityPeriod={"end": "2023-07-01"})], "medicines", ()),
    ([dosed(ITRACONAZOLE, LONG_AGO, boundsPeriod={"start": LONG_AGO, "end": "2024-05-01"})], "medicines", INHIBITOR),
    ([dosed(ITRACONAZOLE, LONG_AGO, boundsDuration=days(2, "a"))], "medicines", INHIBITOR),
    # What says its end, or was given once, is over after a month; what does not, after three.
    ([taken("completed", effectivePeriod={"start": LONG_AGO, "end": "2024-05-10"})], "medicines", INDUCER),
    ([taken("completed", effectivePeriod={"start": LONG_AGO, "end": "2024-04-10"})], "medicines", ()),
    ([taken("completed", effectiveDateTime="2024-04-10")], "medicines", INDUCER),
    ([taken("completed", effectiveDateTime="2024-05-10") | GIVEN_ONCE], "medicines", INDUCER),
    ([taken("completed", effectiveDateTime="2024-04-10") | GIVEN_ONCE], "medicines", ()),
    ([dosed(ITRACONAZOLE, LONG_AGO, boundsRange={"low": days(1), "high": days(100, "wk")})], "medicines", INHIBITOR),
    ([dosed(ITRACONAZOLE, LONG_AGO, boundsDuration=days(14))], "medicines", ()),
    *(([dosed(ITRACONAZOLE, LONG_AGO, boundsDuration={"value": 24, "unit": unit})], "medicines", INHIBITOR)
      for unit in ("months", "Monate", "cycles")),
    *(([dosed(ITRACONAZOLE, LONG_AGO, boundsDuration={"value": 14, **unit})], "medicines", ())
      for unit in ({}, {"unit": "days"}, {"code": "day"}, {"unit": "h"})),
    ([dosed(ITRACONAZOLE, LONG_AGO, count=700)], "medicines", INHIBITOR),
    ([dosed(ITRACONAZOLE, LONG_AGO, count=1400, frequency=2)], "medicines", INHIBITOR),
    ([dosed(ITRACONAZOLE, LONG_AGO, count=14)], "medicines", ()),
    ([dosed(ITRACONAZOLE, LONG_AGO, boundsDuration={"value": 14, "unit": "day(s)"})], "medicines", ()),
    ([supplied(ITRACONAZOLE, "2024-01-02", quantity={"value": 180})], "medicines", INHIBITOR),
    ([supplied(ITRACONAZOLE, "2024-01-02", quantity={"value": 10})], "medicines", ()),
    (handed_out(CARBAMAZEPINE, "2023-06-14", "2023-12-12", quantity={"value": 180}), "medicines", INDUCER),
    ([taken("stopped", effectivePeriod={"start": "2022-07-01"}, dateAsserted="2024-05-28")], "medicines", INDUCER),
    ([taken("stopped", effectivePeriod={"start": "2022-07-01", "end": "2022-08-01"}, dateAsserted="2024-05-28")],
     "medicines", ()),
    ([medicine(CARBAMAZEPINE, "2023-07-01", "stopped")], "medicines", INDUCER),
    ([medicine(CARBAMAZEPINE, "2023-02-20", "stopped")], "medicines", ()),
    ([taken("stopped", effectiveDateTime="2023-07-01")], "medicines", INDUCER),
    ([taken("stopped", effectivePeriod={"start": "2023-07-01"})], "medicines", INDUCER),
    ([taken("stopped", effectivePeriod={"start": "2023-07-01", "end": "2023-09-01"})], "medicines", ()),
    ([medicine("L01DB01", "2023-09-01", "stopped")], "medicines", ()),
    ([order((RXNORM, "6135"), dosageInstruction=[{"route": SKIN}])], "medicines", ()),
    ([order((RXNORM, "6135"), dosageInstruction=[{"route": {"text": "oral"}}])], "medicines", ("rxnorm:6135",)),
    ([order((ATC, "J01MA02"), dosageInstruction=[{"route": IN_EYE}])], "medicines", ()),
    ([order((RXNORM, "4492"), dosageInstruction=[{"route": SKIN}])], "medicines", ()),
    *(([order((RXNORM, "6135"), dosageInstruction=[{"route": SKIN | route, **more}])], "medicines", ("rxnorm:6135",))
      for route, more in (({"text": "Oral"}, {}), ({}, {"text": "1 tablet by mouth"}),
                          ({}, {"patientInstruction": "p.o."}))),
    *(([order((ATC, code))], "medicines_complete", Reason.NOT_UNDERSTOOD)
      for code in ("R03DA74", "N02BA71", "M03BB72", "A03CA34", "N07XX59")),
    ([order((ATC, "L02BA01"), authoredOn="2024-06-01")], "endocrine_therapy", "none"),
    ([order((ATC, "L02BA01")) | {"status": "on-hold"}], "endocrine_therapy", "none"),
    ([order((ATC, "L02BG04"), reasonCode=[concept((CM, "N97.0"))])], "endocrine_therapy", "none"),
    ([condition((CM, "C50.9"), onsetDateTime="2024-01-01"), order((ATC, "L02BA01"), authoredOn="1995-02-01")],
     "endocrine_therapy", "none"),
    ([order((RXNORM, "860975"), dosageInstruction=[{"route": IN_EYE}])], "medicines_complete", True),
    ([medicine("A10BA02"), ADVICE], "medicines_complete", True),
    ([medicine("L01DB01", "2024-01-05", "completed")], "chemotherapy", "setting not said"),
    ([medicine("L01DB01", "2024-01-05", "completed"), SURGERY], "chemotherapy", "neoadjuvant"),
    ([medicine("L01DB01", "2024-03-05", "completed"), SURGERY], "chemotherapy", "adjuvant"),
    ([medicine("L01DB01", "2024-03-05", "completed"), BIOPSY], "chemotherapy", "setting not said"),
    ([medicine("L01DB01", "2024-02-01", "completed"), SURGERY], "chemotherapy", "setting not said"),
    ([medicine("L01DB01", "2024-03-05", "completed"), SETTING], "chemotherapy", "neoadjuvant"),
    ([GIVEN_BEFORE, SURGERY, of_breast("2014-02-01")], "chemotherapy", "neoadjuvant"),
    ([GIVEN_AFTER, of_breast("2014-02-01")], "chemotherapy", "setting not said"),
    ([GIVEN_AFTER, SURGERY, of_breast("2023-07-01")], "chemotherapy", "adjuvant"),
    ([GIVEN_AFTER, SURGERY, of_breast("2024-05-01")], "chemotherapy", "setting not said"),
    ([OF_ANOTHER_DISEASE, CANCER], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([BEFORE_CANCER, CANCER, SETTING], "chemotherapy", "neoadjuvant"),
    ([GIVEN_AFTER, SURGERY, OLD_SETTING], "chemotherapy", "adjuvant"),
    ([OF_ANOTHER_DISEASE, GIVEN_AFTER, CANCER, SURGERY], "chemotherapy", "adjuvant"),
    ([medicine("L01AA01", "2024-03-05", "completed"), CANCER], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([CREAM], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([by(SKIN)], "chemotherapy", "none"),
    ([by({"text": "cutaneous use"})], "chemotherapy", "none"),
    ([by(IN_EYE)], "chemotherapy", "none"),
    ([CREAM_STATED], "chemotherapy", "none"),
    ([by(SKIN, {"text": "intravenous"})], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([by(SKIN, {})], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([reasoned("C50.912"), SURGERY], "chemotherapy", "adjuvant"),
    ([reasoned("C56.9"), SURGERY], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([reasoned("M05.9"), SURGERY], "chemotherapy", Reason.NOT_UNDERSTOOD),
    ([FOR_OVARY, OVARY, SURGERY], "chemotherapy", Reason.NOT_UNDERSTOOD),
    *(([reasoned(*codes), SURGERY], "chemotherapy", "adjuvant")
      for codes in (("C56.9", "C50.912"), ("Z51.11",), ("C79.51",), ("N63.0",), ("D05.10",), ("R92.8",))),
    ([reasoned("C56.9"), GIVEN_BEFORE, SURGERY], "chemotherapy", "neoadjuvant"),
    ([medicine("L01AA01", "2024-03-05", "completed"), GIVEN_AFTER], "chemotherapy", "setting not said"),
    ([medicine("L01AA01", "2024-03-05", "completed"), SETTING], "chemotherapy", "neoadjuvant"),
    ([medicine("L01AA01", "2024-03-05", "completed"), SESSION], "chemotherapy", "setting not said"),
    ([medicine("L01DB01", "2024-03-05", "completed"), METASTASIS], "chemotherapy", "metastatic"),
    ([medicine("L01DB01", "2024-02-05", "completed"), SURGERY, METASTASIS], "chemotherapy", "setting not said"),
    ([medicine("L01AA01", "2024-03-05", "completed"), CAME_FOR_IT], "chemotherapy", "setting not said"),
    ([medicine("L01DB01", "2024-03", "completed")], "chemotherapy", Reason.NO_DATE),
    ([procedure((PCS, "3E03305")) | {"performedDateTime": "2024-03-05"}], "chemotherapy", "setting not said"),
    ([procedure((PCS, "3E03305"), performedPeriod=AROUND), SURGERY], "chemotherapy", "setting not said"),
    ([procedure((PCS, "3E03305"), performedPeriod=ENDING), SURGERY], "chemotherapy", "setting not said"),
    ([medicine("A10BA02")], "chemotherapy", "none"),
    ([], "chemotherapy", Reason.NOT_RECORDED),
    ([medicine("L02BG04")], "endocrine_therapy", "given"),
    ([medicine("A10BA02"), UNSUITABLE], "endocrine_therapy", "unsuitable"),
    ([medicine("L01XK02", "2020-01-01", "stopped")], "earlier_parp_inhibitor", True),
    ([medicine("A10BA02")], "earlier_parp_inhibitor", False),
    ([medicine("A10BA02"), ALLERGY], "earlier_parp_inhibitor", True),
    ([], "earlier_parp_inhibitor", Reason.NOT_RECORDED),
    ([medicine("A10BA02"), order((RXNORM, "860975"))], "earlier_parp_inhibitor", Reason.NOT_UNDERSTOOD),
    ([order((RXNORM, "1597582"))], "medicines", ("rxnorm:1597582",)),
    ([order((BFARM_ATC, "J01FA09"))], "medicines", ("rxnorm:21212",)),
    ([order((BFARM_ATC, "J05AR22"))], "medicines", ("rxnorm:1306284",)),  # of the record for HIV
    ([order((ATC_OID, "J01FA09"))], "medicines", ("rxnorm:21212",)),
    ([order((RXNORM, "197517"))], "medicines", ("rxnorm:21212",)),
    ([medicine("J05AR22")], "medicines", ("rxnorm:1306284",)),  # cobicistat, of the record for HIV
    *(([medicine("A10BA02"), *elsewhere], "medicines_complete", Reason.HELD_BACK) for elsewhere in IN_OTHER_PLACES),
    *(([medicine(ITRACONAZOLE), *elsewhere], "medicines_complete", True) for elsewhere in IN_OTHER_PLACES),
    *(([medicine(ITRACONAZOLE), other], "medicines_complete", Reason.HELD_BACK) for other in NOBODY_KNOWS),
    ([medicine("A10BA02"), CLAIM | {"status": "cancelled"}], "medicines_complete", True),
    ([WITH_AN_INGREDIENT], "medicines", ("rxnorm:28031", "rxnorm:6809")),
    ([medicine("A10BA02"), REACTION], "earlier_parp_inhibitor", True),
    ([medicine("C08CA01")], "medicines_complete", Reason.NOT_UNDERSTOOD),
    ([medicine("C09AA05")], "medicines_complete", True),
    ([medicine("C09AA")], "medicines_complete", Reason.NOT_UNDERSTOOD),
    ([order((RXNORM, "860975"))], "medicines_complete", Reason.NOT_UNDERSTOOD),
    ([BOTH_CODES], "medicines_complete", Reason.NOT_UNDERSTOOD),
    ([medicine("A10BA02"), STRANGE_ONCE], "medicines_complete", True),
    ([medicine("A10BA02"), IN_WORDS], "medicines_complete", Reason.HELD_BACK),
    ([medicine("A10BA02"), observation(valueString="takes nothing else")], "medicines_complete", True),
    ([], "medicines_complete", Reason.NOT_RECORDED),
    ([medicine("J01FA09", "2024-05-20", "completed")], "medicines", ("rxnorm:21212",)),
    ([medicine("J01FA09", "2024-04-20", "completed")], "medicines", ("rxnorm:21212",)),
    ([medicine("J01FA09", "2024-02-20", "completed")], "medicines", ()),
    ([medicine("L01XA02", "2024-04-20", "completed")], "medicines", ()),  # infusions
    ([medicine("L01XA02", "2024-05-10")], "chemotherapy", Reason.NOT_FINAL),
    ([medicine("L01BC52", "2024-04-20", "completed")], "chemotherapy", Reason.NOT_UNDERSTOOD),
    # A day that is known to a year or a month only is over when that is.
    *(([taken("completed", **when)], "medicines", ()) for when in (
        {"effectiveDateTime": "2015"}, {"effectivePeriod": {"start": "2015-02", "end": "2015-03"}})),
    ([medicine(CARBAMAZEPINE, "2019-04", "completed")], "medicines", ()),
    ([medicine(CARBAMAZEPINE, "2024-05", "completed")], "medicines", INDUCER),
    # Whatever is no PARP inhibitor by its code is none, also if it may interact.
    *(([medicine("A10BA02"), medicine(code, "2023-01-01", "completed")], "earlier_parp_inhibitor", expected)
      for code, expected in (("L01FF02", False), ("N05BA06", False), ("A02BD", False),
                             *((code, Reason.NOT_UNDERSTOOD) for code in ("L01XX46", "L01XX99", "L01")))),
    *(([medicine("A10BA02"), handed_out(ITRACONAZOLE, LONG_AGO, "2024-05-22", status=status)[1]],
       "medicines_complete", expected)
      for status, expected in (("cancelled", True), ("declined", True), ("completed", Reason.HELD_BACK))),
    *(([medicine("A10BA02") | {"intent": "plan"} | reported], "medicines_complete", expected)
      for reported, expected in (({"reportedBoolean": True}, True), ({}, Reason.HELD_BACK))),
    # Chemotherapy into a cavity is none for the breast.
    *(([given_by(route), SURGERY], "chemotherapy", Reason.NOT_UNDERSTOOD)
      for route in ("Intravesical route", "Intra-arterial (hepatic)", "Intraperitoneal")),
    ([given_by("Intravenous route"), SURGERY], "chemotherapy", "adjuvant"),
    ([medicine("A04AA55", "2024-05-10")], "medicines_complete", Reason.NOT_UNDERSTOOD),
    ([order((ATC, "N02BE01"), (RXNORM, "856987"))], "medicines_complete", Reason.NOT_UNDERSTOOD),
    ([medicine("J01FA09", "2014-04-20", "active")], "medicines", ("rxnorm:21212",)),
    ([medicine("J01FA09", "2024", "completed")], "medicines", ("rxnorm:21212",)),
]  # a table: one case a line  # fmt: skip


def about(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A result whose focus is this diagnosis."""
    return result | {"focus": [{"reference": f"Condition/{name}"}]}


BREAST = condition((CM, "C50.912"), onsetDateTime="2024-01-02", id="breast")
LUNG = condition((CM, "C34.11"), id="lung")
BOTH = [BREAST, LUNG]
LESION = {"resourceType": "BodyStructure", "id": "t", "patient": {"reference": "Patient/p"}}
OF_LESION = staged("21907-1", "cM1", "2024-03-01") | {"focus": [{"reference": "BodyStructure/t"}]}
COLON, LUNG_ICD_O = condition((CM, "C18.7")), condition((ICD_O, "C34.1"), (ICD_O, "8140/3"))
OVARY_ONCE, BASAL_CELL = condition((CM, "Z85.43")), condition((CM, "C44.311"))
UNREAD = condition((SNOMED, "1"), id="unread")
IN_BONE = condition((CM, "C79.51"), onsetDateTime="2024-05-01", id="bone")
ICD = "http://hl7.org/fhir/sid/icd-10"
TWO_FOCUSES = [condition((ICD, "C50.4"), id="one"), condition((ICD, "C50.4"), id="two")]
SMALL, FREE = staged("21899-0", "pT1c"), staged("21907-1", "cM0")
NO_NODES = staged("21900-6", "pN0")
FIVE = observation((LOINC, "21893-3"), valueInteger=5, effectiveDateTime="2024-03-01")
HER2, NOT_HER2 = coded("48676-1", "LA6576-8", "2023-02-01"), coded("48676-1", "LA6577-6")
RESIDUAL = [staged("21899-0", "ypT2", "2020-05-01"), staged("21900-6", "ypN1", "2020-05-01")]
PANCREAS = condition((CM, "C25.9"), onsetDateTime="2024-03-01")
MEN = [condition((CM, "C50.921")), condition((CM, "C50.922"))]
INFLAMMATORY = [condition((CM, "C50.A1")), condition((CM, "C50.912"))]
AGAIN = [
    condition((CM, "C50.912"), onsetDateTime="2018-01-02", abatementDateTime="2019-01-02"),
    condition((CM, "C50.912"), onsetDateTime="2024-01-02"),
]
DOUBT, UNREAD_VALUE = Reason.CONFLICTING, Reason.NOT_UNDERSTOOD


def german(code: str, certainty: str, **more: Any) -> dict[str, Any]:
    """A diagnosis with the certainty that a German code has."""
    url = "http://fhir.de/StructureDefinition/icd-10-gm-diagnosesicherheit"
    system = "https://fhir.kbv.de/CodeSystem/KBV_CS_SFHIR_ICD_DIAGNOSESICHERHEIT"
    listed = [{"url": url, "valueCoding": {"system": system, "code": certainty}}]
    diagnosed = condition((ICD, code), **more)
    diagnosed["code"]["coding"][0] |= {"extension": listed}
    return diagnosed


def come_back(status: str) -> dict[str, Any]:
    return CANCER | {"clinicalStatus": concept((CLINICAL_STATUS, status))}


LONG_AGO = [of_breast("2012-02-01"), medicine("L01DB01", "2012-03-05", "completed")]
YEAR = [of_breast("2023-05-01"), medicine("L01DB01", "2023-06-02", "completed")]
OVER_A_YEAR = [of_breast("2023-05-01"), medicine("L01DB01", "2023-06-01", "completed")]
SPREAD_ONCE = condition((CM, "C78.7"), onsetDateTime="2022-03-01")
NEGATIVE = coded("85319-2", "LA6577-6", "2024-02-01")
OF_STOMACH = medicine("L01FD01", "2024-03-05", "completed") | {
    "reasonCode": [concept((CM, "C16.9"))]
}
IN_SNOMED = staged("21907-1", "cM1", "2024-05-25") | {"code": concept((SNOMED, "399387003"))}
MARROW = coded("59847-4", "9989/3", "2024-05-28")
MARROW |= {"valueCodeableConcept": concept((ICD_O, "9989/3"))}
CONCLUDED = {
    "resourceType": "DiagnosticReport",
    "status": "final",
    "code": concept((LOINC, "24323-8")),
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2024-05-28",
    "conclusionCode": [concept((CM, "C78.7"))],
}
DUCTAL = MARROW | {"valueCodeableConcept": concept((ICD_O, "8500/3"))}
FOR_MDS = procedure((PCS, "07DR3ZX")) | {
    "performedDateTime": "2024-05-28",
    "reasonCode": [concept((CM, "D46.9"))],
}
COURSE = [
    ([german("C50.4", "A")], "breast_cancer", Reason.NOT_RECORDED),
    ([german("C50.4", "V")], "breast_cancer", Reason.NOT_RECORDED),
    *(([german("C50.4", mark)], "breast_cancer", True) for mark in "GZ"),
    *(([FREE, german("C79.3", mark, onsetDateTime="2024-03-01")], "metastatic", value)
      for mark, value in (("V", Reason.HELD_BACK), ("A", False), ("Z", UNREAD_VALUE), ("G", True))),
    ([german("C79.3", "V")], "metastatic", Reason.NOT_RECORDED),
    ([FREE, SPREAD_ONCE], "metastatic", True),
    ([FREE, ended("C79.51", "resolved")], "metastatic", UNREAD_VALUE),
    *(([FREE, come_back(status)], "metastatic", UNREAD_VALUE) for status in ("recurrence", "relapse")),
    ([FREE, come_back("active")], "metastatic", False),
    ([staged("21907-1", "rcM0"), come_back("recurrence")], "metastatic", False),
    ([come_back("recurrence"), METASTASIS], "metastatic", True),
    ([*LONG_AGO, FREE], "chemotherapy", Reason.TOO_OLD),
    ([*OVER_A_YEAR, FREE], "chemotherapy", Reason.TOO_OLD),
    ([*YEAR, FREE], "chemotherapy", "adjuvant"),
    ([*LONG_AGO, FREE, SETTING], "chemotherapy", Reason.TOO_OLD),
    ([*LONG_AGO, METASTASIS], "chemotherapy", "setting not said"),
    ([FREE, IN_SNOMED], "metastatic", Reason.HELD_BACK),
    *(([NEGATIVE, medicine(code, "2024-03-05", "completed")], "her2", DOUBT)
      for code in ("L01FD01", "L01FD02", "L01FD03", "L01EH01", "L01XC03")),
    *(([NEGATIVE, order((RXNORM, code)) | {"authoredOn": "2024-03-05", "status": "completed"}], "her2", DOUBT)
      for code in ("224905", "1298944", "1371041")),
    ([NEGATIVE, medicine("L01FD01", "2023-03-05", "completed")], "her2", "negative"),
    ([NEGATIVE, medicine("L01FD01", "2023-03-05", "active")], "her2", DOUBT),
    ([NEGATIVE, medicine("L01FD04", "2024-03-05", "completed")], "her2", "negative"),
    ([NEGATIVE, OF_STOMACH], "her2", "negative"),
    *(([coded(old, "LA6577-6"), coded(code, "LA6576-8", "2024-05-28")], name, UNREAD_VALUE)
      for name, old, code in (("her2", "48676-1", "48675-3"), ("oestrogen_receptor", "16112-5", "10480-2"),
                              ("progesterone_receptor", "16113-3", "10861-3"))),
    ([NO_BLOOD_DISEASE, MARROW], "mds_aml", True),
    ([NO_BLOOD_DISEASE, DUCTAL], "mds_aml", False),
    ([NO_BLOOD_DISEASE, FOR_MDS], "mds_aml", Reason.HELD_BACK),
    ([NO_BLOOD_DISEASE, FOR_MDS | {"performedDateTime": "2024-05-01"}], "mds_aml", False),
    ([NO_BLOOD_DISEASE, FOR_MDS, condition((CM, "D46.9"))], "mds_aml", True),
    ([NO_BLOOD_DISEASE, FOR_MDS | {"reasonCode": [concept((CM, "C50.912"))]}], "mds_aml", False),
    # Any diagnosis of which a "no" is stated, also as a reason, a value or a conclusion alone.
    ([NO_BLOOD_DISEASE, coded("29308-4", "D46.9", "2024-05-28") | {"valueCodeableConcept": concept((CM, "D46.9"))}],
     "mds_aml", Reason.HELD_BACK),
    ([NO_BLOOD_DISEASE, CONCLUDED], "mds_aml", Reason.HELD_BACK),
    *(([NO_BLOOD_DISEASE, FOR_MDS | {"reasonCode": [concept((CM, code))]}], "mds_aml", Reason.HELD_BACK)
      for code in ("C79.51", "O09.91", "K74.60", "J70.2", "I82.401")),
]  # a table: one case a line  # fmt: skip
WHOSE = [
    ([*BOTH, about(SMALL, "breast"), about(staged("21899-0", "pT2a", "2024-03-01"), "lung")], "tumour_size", "T1"),
    ([*BOTH, about(NO_NODES, "breast"), about(staged("21900-6", "pN1", "2024-03-01"), "lung")], "nodes", "N0"),
    ([*BOTH, about(FREE, "breast"), about(staged("21907-1", "cM1b", "2024-03-01"), "lung")], "metastatic", False),
    ([*BOTH, about(FREE, "breast"), about(staged("21908-9", "IV", "2024-03-01"), "lung")], "metastatic", False),
    ([*BOTH, about(HER2, "breast"), about(NOT_HER2, "lung")], "her2", "positive"),
    ([BREAST, FREE, about(staged("21907-1", "cM1", "2024-03-01"), "elsewhere")], "metastatic", Reason.HELD_BACK),
    ([BREAST, LESION, FREE, OF_LESION], "metastatic", Reason.HELD_BACK),
    ([BREAST, FREE, OF_LESION | {"focus": [{"reference": "urn:uuid:1"}]}], "metastatic", Reason.HELD_BACK),
    ([*BOTH, about(FIVE, "lung")], "positive_nodes", Reason.NOT_RECORDED),
    ([*BOTH, about(FIVE, "breast")], "positive_nodes", Decimal(5)),
    ([BREAST, about(SMALL, "breast")], "tumour_size", "T1"),
    ([BREAST, IN_BONE, about(NOT_HER2, "bone")], "her2", "negative"),
    ([BREAST, UNREAD, SMALL, about(staged("21899-0", "pT2", "2024-03-01"), "unread")], "tumour_size", Reason.HELD_BACK),
    *(([BREAST, other, staged("21899-0", "pT3")], "tumour_size", DOUBT)
      for other in (COLON, LUNG, LUNG_ICD_O, OVARY_ONCE, condition((CM, "C44.92")))),
    *(([BREAST, other, staged("21899-0", "pT3")], "tumour_size", "T3")
      for other in (BASAL_CELL, IN_BONE, *(condition((CM, code)) for code in ("D05.12", "C77.3", "Z85.3")))),
    *(([BREAST, COLON, result], name, DOUBT) for result, name in (
        (NO_NODES, "nodes"), (FREE, "metastatic"), (NOT_HER2, "her2"), (FIVE, "positive_nodes"),
        (coded("85337-4", "LA6577-6"), "oestrogen_receptor"), (RESIDUAL[0], "complete_response"))),
    ([BREAST, PANCREAS, METASTASIS], "metastatic", DOUBT),
    ([*BOTH, METASTASIS, about(staged("21907-1", "cM1"), "breast")], "metastatic", True),
    ([*BOTH, METASTASIS, about(FREE, "breast")], "metastatic", DOUBT),
    ([*OTHER_BREAST, GIVEN_AFTER, SURGERY], "chemotherapy", DOUBT),
    ([*OTHER_BREAST, GIVEN_AFTER, SURGERY, SETTING], "chemotherapy", "neoadjuvant"),
    ([*AGAIN, GIVEN_AFTER, SURGERY], "chemotherapy", DOUBT),
    ([BREAST, OVARY, GIVEN_AFTER, SURGERY], "chemotherapy", DOUBT),
    ([BREAST, OVARY, reasoned("C50.912"), SURGERY], "chemotherapy", "adjuvant"),
    ([BREAST, PANCREAS, GIVEN_AFTER, SURGERY, SETTING], "chemotherapy", "neoadjuvant"),
    ([BREAST, PANCREAS, GIVEN_AFTER, SURGERY, OLD_SETTING], "chemotherapy", DOUBT),
    ([*OTHER_BREAST, FIVE], "positive_nodes", DOUBT),
    ([*OTHER_BREAST, *RESIDUAL], "complete_response", DOUBT),
    ([*RESIDUAL], "complete_response", False),
    ([*OTHER_BREAST, NOT_HER2], "her2", DOUBT),
    ([*OTHER_BREAST, SMALL], "tumour_size", DOUBT),
    ([BREAST, FIVE, NO_NODES], "positive_nodes", DOUBT),
    ([BREAST, FIVE, staged("21900-6", "pN2")], "positive_nodes", Decimal(5)),
    *(([*pair, HER2, NOT_HER2], "her2", DOUBT) for pair in (MEN, INFLAMMATORY)),
    ([*TWO_FOCUSES, about(HER2, "one"), about(NOT_HER2, "two")], "her2", DOUBT),
    ([*TWO_FOCUSES, about(HER2, "one"), about(NOT_HER2, "one")], "her2", "negative"),
]  # a table: one case a line  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "name", "expected"), [*MEASURED, *TUMOUR, *MEDICINES, *COURSE, *WHOSE]
)
def test_each_fact_is_a_value_or_a_reason(
    resources: list[dict[str, Any]], name: str, expected: object
) -> None:
    assert value_of(chart(*resources)[name]) == expected


CODING = "NM_000110.4:"
SPLICE, REDUCED = CODING + "c.1905+1G>A", CODING + "c.2846A>T"


def without_gene(change: str | None, *more: dict[str, Any]) -> dict[str, Any]:
    """A result of another laboratory, which names no gene by code."""
    result = variant("w", change=change, more=more)
    parts = result["component"]
    return result | {
        "component": [part for part in parts if part["code"]["coding"][0]["code"] != "48018-6"]
    }


PANEL = ("c.1905+1G>A", "c.1679T>G", "c.2846A>T", "c.1236G>A")
NONE_OF_PANEL = [variant(f"p{at}", DPYD, CODING + name, ABSENT) for at, name in enumerate(PANEL)]
IN_WORDS = observation((LOINC, "79719-1"), valueString="Intermediate metabolizer")
HAPLOTYPE = observation(
    (LOINC, "84414-2"), valueString="*2A", component=[component("48018-6", HGNC, DPYD)]
)
DPYD_CASES: dict[str, tuple[list[dict[str, Any]], object]] = {
    "heterozygous": ([variant(gene=DPYD, change=SPLICE)], ("c.1905+1G>A",)),
    "homozygous": (
        [variant(gene=DPYD, change=SPLICE, zygosity=HOMOZYGOUS)],
        ("c.1905+1G>A", "c.1905+1G>A"),
    ),
    "two": (
        [variant("a", DPYD, SPLICE), variant("b", DPYD, REDUCED)],
        ("c.1905+1G>A", "c.2846A>T"),
    ),
    "absent": ([variant(gene=DPYD, change=SPLICE, value=ABSENT)], ()),
    "no call": ([variant(gene=DPYD, change=SPLICE, value=NO_CALL)], Reason.NO_CALL),
    "one without call": (
        [variant("a", DPYD, SPLICE, ABSENT), variant("b", DPYD, REDUCED, NO_CALL)],
        Reason.NO_CALL,
    ),
    "unknown variant": ([variant(gene=DPYD, change=CODING + "c.7A>G")], Reason.NOT_UNDERSTOOD),
    "zygosity missing": ([variant(gene=DPYD, change=SPLICE, zygosity=None)], Reason.NOT_RECORDED),
    "without a transcript": ([variant(gene=DPYD, change="c.1905+1G>A")], Reason.NOT_UNDERSTOOD),
    "another transcript": (
        [variant(gene=DPYD, change="NM_001160301.1:c.1905+1G>A")],
        Reason.NOT_UNDERSTOOD,
    ),
    "transcript beside it": (
        [variant(gene=DPYD, change="c.1905+1G>A", more=(component("51958-7", "x", "NM_000110.4"),))],
        ("c.1905+1G>A",),
    ),
    "genomic": (
        [variant(gene=DPYD, change=None, more=(component("81290-9", HGVS, "NC_000001.11:g.97450058C>T"),))],
        ("c.1905+1G>A",),
    ),
    "its parts disagree": (
        [variant(gene=DPYD, change=REDUCED, more=(component("81290-9", HGVS, "NC_000001.11:g.97450058C>T"),))],
        Reason.NOT_UNDERSTOOD,
    ),
    "HapB3 by both": (
        [variant("a", DPYD, CODING + "c.1129-5923C>G"), variant("b", DPYD, CODING + "c.1236G>A")],
        ("c.1129-5923C>G",),
    ),
    "HapB3 by its mark": ([variant(gene=DPYD, change=CODING + "c.1236G>A")], ("c.1236G>A",)),
    "somatic": ([variant(gene=DPYD, change=SPLICE, source=SOMATIC)], Reason.NOT_RECORDED),
    "a second result without its gene": ([*NONE_OF_PANEL, without_gene(SPLICE)], Reason.NOT_UNDERSTOOD),
    "another, by its place": (
        [*NONE_OF_PANEL, without_gene(None, component("81290-9", HGVS, "NC_000001.11:g.97450058C>T"))],
        Reason.NOT_UNDERSTOOD,
    ),
    "another, by its place in GRCh37": (
        [*NONE_OF_PANEL, without_gene(None, component("81290-9", HGVS, "NC_000001.10:g.97915614C>T"))],
        Reason.NOT_UNDERSTOOD,
    ),
    "one of another gene without its gene": ([*NONE_OF_PANEL, without_gene("NM_000059.4:c.5946del")], ()),
    "a phenotype in words": ([*NONE_OF_PANEL, IN_WORDS], Reason.HELD_BACK),
    "a haplotype alone": ([*NONE_OF_PANEL, HAPLOTYPE], Reason.HELD_BACK),
    "one held back": (
        [variant("a", DPYD, SPLICE, ABSENT), variant("b", DPYD, "c.1Q>Z")],
        Reason.HELD_BACK,
    ),
    "two calls differ": (
        [variant("a", DPYD, SPLICE, ABSENT), variant("b", DPYD, SPLICE)],
        Reason.CONFLICTING,
    ),
}  # a table: one case a line  # fmt: skip


@pytest.mark.parametrize("case", DPYD_CASES)
def test_dpyd_of_a_report(case: str) -> None:
    resources, expected = DPYD_CASES[case]
    assert value_of(chart(*resources)["dpyd_variants"]) == expected


def genotypes(
    *rows: tuple[int, int, str, int],
    build: str = "GRCh38",
    depth: int = 255,
    quality: int = 255,
    passed: int = 1,
) -> bytes:
    """Packed genotypes of (chromosome, position, alleles, dosage); 255 is "not given"."""
    ordered = sorted(rows)
    chromosome, position, alleles, dosage = zip(*ordered, strict=True)
    sites = build_sites(build, chromosome, position, alleles, [passed] * len(rows))
    given = (np.full(len(rows), value, np.uint8) for value in (depth, quality))
    return write_genotypes(sites, bytes(32), np.array(dosage, np.int8), *given)


def site(name: str, dosage: int) -> tuple[int, int, str, int]:
    return 1, VARIANTS[name].position, VARIANTS[name].alleles, dosage


CALLS: dict[str, tuple[bytes, object]] = {
    "heterozygous": (genotypes(site("c.1905+1G>A", 1)), True),
    "homozygous": (genotypes(site("c.2846A>T", 2)), True),
    "reference": (genotypes(site("c.1905+1G>A", 0), site("c.1898delC", 0)), Reason.NO_REPORT),
    "of normal function": (genotypes(site("c.85T>C", 1)), Reason.NO_REPORT),
    "no call": (genotypes(site("c.1905+1G>A", -1), site("c.2846A>T", 0)), Reason.NO_REPORT),
    "few reads": (genotypes(site("c.1905+1G>A", 1), depth=9), Reason.NO_REPORT),
    "enough reads": (genotypes(site("c.1905+1G>A", 1), depth=10, quality=20), True),
    "low quality": (genotypes(site("c.1905+1G>A", 1), quality=19), Reason.NO_REPORT),
    "filtered": (genotypes(site("c.1905+1G>A", 1), passed=0), Reason.NO_REPORT),
    "another allele there": (
        genotypes((1, VARIANTS["c.1905+1G>A"].position, "C>G", 1)),
        True,
    ),
    "no position of the table": (genotypes((2, 5, "A>G", 1)), Reason.NO_REPORT),
    "GRCh37": (genotypes(site("c.1905+1G>A", 1), build="GRCh37"), Reason.BUILD_MISSING),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_of_dpyd_is_a_reason_for_a_test_and_gives_no_score(case: str) -> None:
    payload, expected = CALLS[case]
    facts = chart(genotypes=payload)
    assert value_of(facts["dpyd_call"]) == expected
    assert value_of(facts["dpyd_variants"]) == value_of(facts["dpyd_positions"]) == Reason.NO_REPORT


def test_a_variant_of_normal_function_is_no_conflict_unless_it_was_tested() -> None:
    payload = genotypes(site("c.85T>C", 1), site("c.1905+1G>A", 0))
    assert value_of(chart(*NONE_OF_PANEL, genotypes=payload)["dpyd_variants"]) == ()
    tested = variant("n", DPYD, CODING + "c.85T>C", ABSENT)
    facts = chart(*NONE_OF_PANEL, tested, genotypes=payload)
    assert value_of(facts["dpyd_variants"]) == Reason.CONFLICTING


def test_variants_of_normal_function_are_those_of_the_table() -> None:
    values = shipped().tables.dpyd_values
    assert {name for name, value in values.items() if value == 1} == NORMAL


def test_report_and_vcf_must_agree_in_dpyd() -> None:
    reported = variant(gene=DPYD, change=SPLICE, value=ABSENT)
    facts = chart(reported, genotypes=genotypes(site("c.1905+1G>A", 1)))
    assert value_of(facts["dpyd_variants"]) == Reason.CONFLICTING
    facts = chart(reported, genotypes=genotypes(site("c.1905+1G>A", 0), site("c.2846A>T", 0)))
    assert value_of(facts["dpyd_variants"]) == ()


HAPB3 = [*NONE_OF_PANEL[:3], variant("h", DPYD, CODING + "c.1236G>A")]
ELSEWHERE = (1, VARIANTS["c.1905+1G>A"].position, "C>G", 1)
NO_ZYGOSITY = variant(gene=DPYD, change=SPLICE, zygosity=None)
BESIDE_CALLS: dict[str, tuple[list[dict[str, Any]], bytes, object]] = {
    "no call beside a call that differs": (
        NONE_OF_PANEL,
        genotypes(site("c.1905+1G>A", -1), site("c.2846A>T", 1)),
        Reason.CONFLICTING,
    ),
    "a variant outside the panel": (
        NONE_OF_PANEL,
        genotypes(site("c.1898delC", 1)),
        Reason.CONFLICTING,
    ),
    "no variant outside the panel": (NONE_OF_PANEL, genotypes(site("c.1898delC", 0)), ()),
    "a variant that the table does not have": (
        NONE_OF_PANEL,
        genotypes(ELSEWHERE, site("c.46C>G", -1)),
        Reason.CONFLICTING,
    ),
    "HapB3 by its other variant": (
        HAPB3,
        genotypes(site("c.1129-5923C>G", 1), site("c.1236G>A", 1)),
        ("c.1236G>A",),
    ),
    "HapB3 that the report lacks": (
        NONE_OF_PANEL,
        genotypes(site("c.1129-5923C>G", 1)),
        Reason.CONFLICTING,
    ),
    "no call at a reported position": (NONE_OF_PANEL, genotypes(site("c.2846A>T", -1)), ()),
    "copies not said": ([NO_ZYGOSITY], genotypes(site("c.1905+1G>A", 0)), Reason.NOT_RECORDED),
}


@pytest.mark.parametrize("case", BESIDE_CALLS)
def test_dpyd_of_a_report_beside_a_vcf(case: str) -> None:
    resources, payload, expected = BESIDE_CALLS[case]
    assert value_of(chart(*resources, genotypes=payload)["dpyd_variants"]) == expected


@pytest.mark.parametrize("genes", [[component("48018-6", HGNC, DPYD)], []])
@pytest.mark.parametrize("status", ["final", "preliminary"])
def test_a_genotype_of_dpyd_is_not_read_and_nothing_replaces_it(
    genes: list[dict[str, Any]], status: str
) -> None:
    written = observation((LOINC, "84413-4"), component=genes, valueString="*2A/*2A")
    payload = genotypes(*(site(name, 0) for name in PANEL))
    reason = Reason.NOT_UNDERSTOOD if status == "final" else Reason.NOT_FINAL
    # Without any other result, ingest writes no record that could tell of one that is not final.
    for others in ([], NONE_OF_PANEL) if status == "final" else (NONE_OF_PANEL,):
        facts = chart(written | {"status": status}, *others, genotypes=payload)
        assert value_of(facts["dpyd_variants"]) == reason
        if status == "final":
            assert value_of(facts["dpyd_positions"]) == reason


def test_a_call_of_brca_is_a_reason_for_a_test_and_no_finding() -> None:
    facts = chart(genotypes=genotypes((17, 43124027, "ACT>A", 1)))
    assert value_of(facts["brca_call"]) is True
    assert (
        value_of(facts["brca1_germline"]) == value_of(facts["brca2_germline"]) == Reason.NO_REPORT
    )
    assert (
        value_of(chart(genotypes=genotypes((17, 43124027, "ACT>A", 0)))["brca_call"])
        == Reason.NO_REPORT
    )
    filtered = genotypes((17, 43124027, "ACT>A", 1), passed=0)
    assert value_of(chart(genotypes=filtered)["brca_call"]) == Reason.NO_REPORT
    assert value_of(chart()["brca_call"]) == Reason.NOT_RECORDED


POOR, INTERMEDIATE, NORMAL_ONE = "LA9657-3", "LA10317-8", "LA25391-6"


def metaboliser(code: str, value: str) -> dict[str, Any]:
    """What a laboratory says that the product of a gene does."""
    return coded(code, value, "2024-05-20")


@pytest.mark.parametrize(
    ("resources", "stated", "expected"),
    [
        (NONE_OF_PANEL, NORMAL_ONE, ()),
        (NONE_OF_PANEL, POOR, Reason.CONFLICTING),
        (NONE_OF_PANEL, "LA1-1", Reason.CONFLICTING),
        (HAPB3, INTERMEDIATE, ("c.1236G>A",)),
        (HAPB3, POOR, Reason.CONFLICTING),
        (HAPB3, NORMAL_ONE, Reason.CONFLICTING),
        ([variant("a", DPYD, SPLICE), variant("b", DPYD, REDUCED)], POOR, ("c.1905+1G>A", "c.2846A>T")),
        ([variant("a", DPYD, SPLICE), variant("b", DPYD, REDUCED)], INTERMEDIATE, Reason.CONFLICTING),
        ([variant(gene=DPYD, change=REDUCED, zygosity=HOMOZYGOUS)], INTERMEDIATE, ("c.2846A>T",) * 2),
    ],
)  # a table: one case a line  # fmt: skip
def test_a_phenotype_that_contradicts_the_variants_leaves_them_in_doubt(
    resources: list[dict[str, Any]], stated: str, expected: object
) -> None:
    facts = chart(*resources, metaboliser("79719-1", stated))
    assert value_of(facts["dpyd_variants"]) == expected


def test_alleles_are_called_without_function_as_the_tables_of_the_rules_call_them() -> None:
    tables = shipped().tables
    for names, values, value in (
        (DECREASED, tables.dpyd_values, Decimal("0.5")),
        (NO_FUNCTION, tables.cyp2d6_values, Decimal(0)),
        (FULL_FUNCTION, tables.cyp2d6_values, Decimal(1)),
    ):
        assert {values[name] for name in names} == {value}
    halves = {name for name, value in tables.dpyd_values.items() if value == Decimal("0.5")}
    assert halves & VARIANTS.keys() == DECREASED


OF_TUMOUR = [component("48018-6", HGNC, CYP2D6), component("48002-0", LOINC, SOMATIC)]


def diplotype(text: str, name: str = "g", **elements: Any) -> dict[str, Any]:
    return {
        **observation((LOINC, "84413-4"), component=[component("48018-6", HGNC, CYP2D6)]),
        "id": name,
        "valueCodeableConcept": {"text": text},
        "effectiveDateTime": "2024-05-06",
        **elements,
    }


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([diplotype("*1/*4")], ("*1/*4",)),
        ([diplotype("CYP2D6 *1/*4x2")], ("*1/*4x2",)),
        ([diplotype("CYP2C19 *1/*2")], Reason.CONFLICTING),
        ([diplotype("*1/*4"), diplotype("*4/*1", "h")], ("*1/*4",)),
        ([diplotype("*1/*4"), diplotype("*4/*4", "h")], Reason.CONFLICTING),
        ([diplotype("*1/*4", effectiveDateTime="2024")], Reason.NO_DATE),
        ([diplotype("poor metaboliser"), variant()], Reason.HELD_BACK),
        ([diplotype("*4/*4", component=OF_TUMOUR)], Reason.NOT_RECORDED),
        ([diplotype("CYP2D6 *1/*4", component=[])], ("*1/*4",)),
        ([diplotype("*1/*1"), diplotype("CYP2D6 *4/*4", "h", component=[])], Reason.CONFLICTING),
        ([diplotype("*1/*1"), diplotype("CYP2C19 *2/*2", "h", component=[])], ("*1/*1",)),
        ([diplotype("*1/*1"), diplotype("*4/*4", "h", component=[])], Reason.NOT_UNDERSTOOD),
        *(
            ([diplotype(text), metaboliser("79715-9", stated)], expected or (text,))
            for text, stated, expected in (
                ("*1/*1", POOR, Reason.CONFLICTING),
                ("*1/*1", INTERMEDIATE, Reason.CONFLICTING),
                ("*1/*1", NORMAL_ONE, None),
                ("*1/*4", INTERMEDIATE, None),
                ("*1/*4", NORMAL_ONE, None),
                ("*1/*4", "LA1-1", Reason.CONFLICTING),
                ("*4/*5", POOR, None),
                ("*4/*5", INTERMEDIATE, Reason.CONFLICTING),
                ("*10/*41", NORMAL_ONE, Reason.CONFLICTING),
                ("*1/*1", "LA10315-2", Reason.CONFLICTING),
                ("*1x2/*1", "LA10315-2", None),
            )
        ),
        ([], Reason.NOT_RECORDED),
    ],
)
def test_cyp2d6_is_what_a_laboratory_reports(
    resources: list[dict[str, Any]], expected: object
) -> None:
    assert value_of(chart(*resources)["cyp2d6_diplotype"]) == expected


def test_cyp2d6_is_never_read_from_a_vcf() -> None:
    """rs3892097, *4: its copies are not known from calls."""
    facts = chart(genotypes=genotypes((22, 42128945, "C>T", 1)))
    assert value_of(facts["cyp2d6_diplotype"]) == Reason.NOT_RECORDED


WITHHELD = [
    (Category.HIV, "medicines_complete"),
    (Category.MENTAL_HEALTH, "medicines_complete"),
    (Category.SUBSTANCE_USE, "medicines_complete"),
    (Category.SEXUAL_HEALTH, "medicines_complete"),
    (Category.MEDICATIONS, "medicines"),
    (Category.GERMLINE_VARIANTS, "brca1_germline"),
    (Category.GERMLINE_VARIANTS, "dpyd_variants"),
    (Category.OBSERVATIONS, "her2"),
    (Category.OBSERVATIONS, "creatinine"),
    (Category.CONDITIONS, "breast_cancer"),
    (Category.CONDITIONS, "metastatic"),
    (Category.DEMOGRAPHICS, "age"),
]
NO_CHEMOTHERAPY = [medicine("A10BA02")]


@pytest.mark.parametrize(("category", "name"), WITHHELD)
def test_what_she_withholds_is_a_reason_and_never_no(category: int, name: str) -> None:
    assert value_of(chart(*bea(), withheld={category})[name]) == Reason.WITHHELD


@pytest.mark.parametrize("category", [Category.PROCEDURES, Category.CONDITIONS, Category.HIV])
def test_no_chemotherapy_is_not_said_where_it_could_be_withheld(category: int) -> None:
    assert value_of(chart(*NO_CHEMOTHERAPY)["chemotherapy"]) == "none"
    facts = chart(*NO_CHEMOTHERAPY, withheld={category})
    assert value_of(facts["chemotherapy"]) == Reason.WITHHELD


def test_a_medicine_of_a_withheld_category_is_not_told() -> None:
    for written in (
        medicine("J05AR22"),
        *(order((uri, "J05AR22")) for uri in (BFARM_ATC, ATC_OID)),
    ):
        facts = chart(*bea(), written, withheld={Category.HIV})
        assert "rxnorm:1306284" not in str(facts)
        assert value_of(facts["medicines_complete"]) == Reason.WITHHELD


def test_an_older_record_does_not_tell_what_she_withholds() -> None:
    """It may hold a code that is now of another category: among the medicines one against HIV."""
    medicine_order = order((ATC, "J05AR22")) | {
        "subject": {"reference": f"urn:volens:subject:{SUBJECT}"}
    }
    payload = write_record([medicine_order], {TRUE_DATES, ALL_MEDICINES})
    inputs = [Input(SUBJECT, Category.MEDICATIONS, payload)]
    without = read_chart(read_records(inputs, EVERYTHING - {Category.HIV}, TODAY))
    assert "rxnorm:1306284" not in str(without)
    assert value_of(read_chart(read_records(inputs, EVERYTHING, TODAY))["medicines_ever"]) == (
        "rxnorm:1306284",
    )


def test_the_last_day_of_chemotherapy_is_the_end_of_its_last_period() -> None:
    period = {"start": "2024-02-20", "end": "2024-04-30"}
    given = procedure((PCS, "3E03305")) | {"performedPeriod": period}
    fact = chart(given, SURGERY)["chemotherapy"]
    assert (value_of(fact), fact.day) == ("adjuvant", day_number("2024-04-30"))


def test_a_visit_for_chemotherapy_is_a_day_of_it() -> None:
    fact = chart(GIVEN_AFTER, SURGERY, CAME_FOR_IT)["chemotherapy"]
    assert (value_of(fact), fact.day) == ("adjuvant", day_number("2024-05-28"))
    held_back = CAME_FOR_IT | {"type": [{"text": "Tagesklinik"}]}
    blood = measured("718-7", 12, "g/dL")
    fact = chart(GIVEN_AFTER, SURGERY, blood, held_back)["chemotherapy"]
    assert (value_of(fact), fact.day) == ("adjuvant", day_number("2024-05-28"))
    # It is told in the record of procedures alone: who withholds those tells of no chemotherapy.
    records = inputs_of(GIVEN_AFTER, SURGERY, blood, held_back)
    marked = {item.category for item in records if b"chemotherapy-session" in item.payload}
    assert marked == {Category.PROCEDURES}


@pytest.mark.parametrize(
    "words",
    [
        {"code": {**concept((LOINC, "2160-0")), "text": "Kreatinin im Urin"}},
        {"code": {"coding": [{**LOINC_SERUM, "display": "Creatinine [Mass/volume] in Urine"}]}},
        *(
            {"code": {**concept((LOINC, "2160-0")), "text": text}}
            for text in ("Creatinine, Ur", "U-Kreatinin", "Kreatinin i.U.", "Krea (U)", "CREA-U")
        ),
        {"valueQuantity": {"value": 0.9, "unit": "mmol/L", "system": UCUM, "code": "mg/dL"}},
    ],
)
def test_a_result_whose_words_say_something_else_leaves_doubt(words: dict[str, Any]) -> None:
    serum = measured("2160-0", 1.4, "mg/dL", "2024-05-20")
    other = measured("2160-0", 0.9, "mg/dL", "2024-05-28") | words
    assert value_of(chart(serum, other)["creatinine"]) == Reason.HELD_BACK
    usual = "Creatinine [Mass/volume] in Serum or Plasma"
    named = {"coding": [{**LOINC_SERUM, "display": usual}], "text": "Kreatinin"}
    assert value_of(
        chart(other | {"code": named, "valueQuantity": IN_MILLIGRAMS})["creatinine"]
    ) == Decimal("0.9")


def test_a_result_from_urine_is_none_of_serum() -> None:
    urine = {"resourceType": "Specimen", "id": "s", "type": {"text": "Urine specimen"}}
    other = measured("2160-0", 0.9, "mg/dL") | {
        "specimen": {"reference": "#s"},
        "contained": [urine],
    }
    assert value_of(chart(other)["creatinine"]) == Reason.NOT_RECORDED


def test_an_order_of_chemotherapy_lasts_as_long_as_it_says() -> None:
    """Its counts are those after the last day of it, not after the day of the order."""
    ended = dosed(
        "L01DB01", "2024-03-01", boundsPeriod={"start": "2024-03-01", "end": "2024-05-28"}
    )
    fact = chart(SURGERY, ended)["chemotherapy"]
    assert (value_of(fact), fact.day) == ("adjuvant", day_number("2024-05-28"))
    longer = dosed(
        "L01DB01", "2024-03-01", boundsPeriod={"start": "2024-03-01", "end": "2024-09-01"}
    )
    assert chart(SURGERY, longer)["chemotherapy"].day == TODAY


def test_a_chart_is_refused_where_its_dates_may_be_shifted() -> None:
    shifted = split_files([bundle(*bea())], [], SUBJECT, SHIPPED, 0).records
    inputs = [Input(SUBJECT, category, payload) for category, payload in shifted.items()]
    with pytest.raises(InputsError, match="may have been shifted"):
        read_chart(read_records(inputs, EVERYTHING, TODAY))


def test_a_record_of_an_earlier_version_has_no_marks_and_no_chart() -> None:
    old = [
        Input(
            record.subject,
            record.category,
            record.payload.replace(b'"meta":', b'"language":"en","meta_":'),
        )
        for record in inputs_of(*bea())
    ]
    with pytest.raises(InputsError, match="may have been shifted"):
        read_chart(read_records(old, EVERYTHING, TODAY))


def test_a_chart_is_of_one_person_and_of_what_she_granted() -> None:
    inputs = inputs_of(*bea())
    with pytest.raises(InputsError, match="exactly one person"):
        read_chart(read_records([*inputs, Input("cd" * 32, 1, b"{}")], EVERYTHING, TODAY))
    with pytest.raises(InputsError, match="exactly one person"):
        read_chart(read_records([], EVERYTHING, TODAY))
    with pytest.raises(InputsError, match="leaves out"):
        read_chart(read_records(inputs, EVERYTHING - {Category.CONDITIONS}, TODAY))


def test_an_age_that_was_grouped_is_not_an_age() -> None:
    file = bundle(*bea()).replace(b'"1960-05-17"', b'"1930-05-17"')
    records = split_files([file], [], SUBJECT).records
    inputs = [Input(SUBJECT, category, payload) for category, payload in records.items()]
    assert (
        value_of(read_chart(read_records(inputs, EVERYTHING, TODAY))["age"])
        == Reason.NOT_UNDERSTOOD
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_records_changes_nothing(seed: int) -> None:
    """Of the file, of the entries of a record, and of the records."""
    resources = [*bea(), measured("2160-0", 1.41, "mg/dL"), implication(UNCERTAIN, name="j")]
    expected = chart(*resources)
    draw = random.Random(seed)
    draw.shuffle(resources)
    inputs = inputs_of(*resources)
    draw.shuffle(inputs)
    assert read_chart(read_records(inputs, EVERYTHING, TODAY)) == expected


def test_facts_that_are_unknown_tell_no_word_of_the_record() -> None:
    canary = "Frau Muster"
    noted = [
        resource | {"note": [{"text": canary}]}
        for resource in bea()
        if resource["resourceType"] != "Encounter"
    ]
    facts = chart(*noted, observation((LOINC, "2160-0"), valueString=canary))
    assert canary not in str(facts)
    assert any(isinstance(fact, Unknown) for fact in facts.values())


@pytest.mark.parametrize(
    ("name", "code", "question"),
    [
        ("mds_aml", "D46.9", "mds-aml"),
        ("pneumonitis", "J70.2", "pneumonitis"),
        ("thrombosis", "I26.99", "venous-thromboembolism"),
    ],
)
def test_that_a_disease_is_absent_is_stated_and_never_read_from_silence(
    name: str, code: str, question: str
) -> None:
    stated = observation((LOCAL, question), valueBoolean=False, effectiveDateTime="2024-05-20")
    diagnosed = condition((CM, code), onsetDateTime="2024-05-01")
    assert value_of(chart(measured("29463-7", 62, "kg"))[name]) == Reason.NOT_RECORDED
    assert value_of(chart(stated)[name]) is False
    assert value_of(chart(stated, diagnosed)[name]) is True  # a diagnosis outweighs the answer
    withheld = chart(stated, withheld=(Category.CONDITIONS,))[name]
    assert value_of(withheld) == Reason.WITHHELD


def newer(first: dict[str, Any], day: str | None, name: str) -> Any:
    """What a chart says of an entry of 2024-05-20 beside the same of another day."""
    dated = {} if day is None else {"effectiveDateTime": day}
    other = {key: value for key, value in first.items() if key != "effectiveDateTime"}
    return value_of(chart(first, other | dated)[name])


NO_MDS, NO_PNEUMONITIS = (
    observation((LOCAL, question), valueBoolean=False, **DAY)
    for question in ("mds-aml", "pneumonitis")
)
ASKED = [
    (measured("2160-0", 1.4, "mg/dL"), "creatinine"),
    (coded("85319-2", "LA6577-6"), "her2"),
    (NO_MDS, "mds_aml"),
    (coded("hepatic-impairment", "impairment-none", system=LOCAL), "hepatic_impairment"),
    (coded("82810-3", "LA26683-5"), "pregnant"),
]


@pytest.mark.parametrize("day", [None, "2024-06-04", "2024-05", "2024"])
@pytest.mark.parametrize(("entry", "name"), ASKED, ids=[name for _, name in ASKED])
def test_an_entry_that_may_be_newer_leaves_the_dated_one_in_doubt(
    entry: dict[str, Any], name: str, day: str | None
) -> None:
    assert newer(entry, day, name) == Reason.NO_DATE


@pytest.mark.parametrize("day", ["2024-04", "2023"])
@pytest.mark.parametrize(("entry", "name"), ASKED, ids=[name for _, name in ASKED])
def test_an_entry_that_is_surely_older_changes_nothing(
    entry: dict[str, Any], name: str, day: str
) -> None:
    assert newer(entry, day, name) == value_of(chart(entry)[name])


@pytest.mark.parametrize(
    ("status", "day", "expected"),
    [
        ("preliminary", 20, Reason.NOT_FINAL),
        ("registered", 21, Reason.NOT_FINAL),
        ("unknown", None, Reason.NOT_FINAL),
        ("preliminary", 19, True),
        ("entered-in-error", 21, True),
        ("cancelled", 21, True),
    ],
)
def test_a_result_that_is_not_final_and_as_new_leaves_the_final_one_in_doubt(
    status: str, day: int | None, expected: bool | Reason
) -> None:
    final = Entry("a", 2, {"status": "final", "valueBoolean": True}, 20, frozenset())
    other = Entry("b", 2, {"status": status, "valueBoolean": False}, day, frozenset(), day)
    fact = newest([final, other], yes_or_no, Unknown(Reason.NOT_RECORDED))
    assert value_of(fact) == expected


RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def coded_so(system: str | None) -> dict[str, Any]:
    """A creatinine with its code in this system."""
    coding = {"code": "2160-0"} | ({} if system is None else {"system": system})
    return measured("2160-0", 3.1, "mg/dL") | {"code": {"coding": [coding]}}


# What ingest does not keep of a result as new as the one that was read, or newer.
NOT_KEPT: dict[str, tuple[dict[str, Any], Reason]] = {
    "a unit that is not of UCUM": (
        observation((LOINC, "2160-0"), valueQuantity={"value": 3.1, "unit": "mg/dL"}),
        Reason.HELD_BACK,
    ),
    "text": (observation((LOINC, "2160-0"), valueString="3.1 mg/dL"), Reason.HELD_BACK),
    "a modifier": (
        measured("2160-0", 3.1, "mg/dL", modifierExtension=[{"url": "http://x/y"}]),
        Reason.HELD_BACK,
    ),
    "a part of a panel in another unit": (
        observation(
            (LOINC, "24323-8"),
            component=[{"code": concept((LOINC, "2160-0")), "valueString": "3.1"}],
        ),
        Reason.HELD_BACK,
    ),
    "preliminary": (measured("2160-0", 3.1, "mg/dL", status="preliminary"), Reason.NOT_FINAL),
    "registered": (observation((LOINC, "2160-0"), status="registered"), Reason.NOT_FINAL),
    "not valid": (measured("2160-0", 3.1, "mg/dL", status="done"), Reason.NOT_FINAL),
    **{
        f"LOINC as {system}": (coded_so(system), Reason.HELD_BACK)
        for system in (
            "urn:oid:2.16.840.1.113883.6.999",
            "https://loinc.org",
            "LOINC",
            None,
        )
    },
    "a coding that is no list": (
        measured("2160-0", 3.1, "mg/dL")
        | {"code": {"coding": {"system": LOINC, "code": "2160-0"}}},
        Reason.HELD_BACK,
    ),
    "restricted": (
        measured("2160-0", 3.1, "mg/dL", meta={"security": [RESTRICTED]}),
        Reason.HELD_BACK,
    ),
}


def of_patient(patient: dict[str, Any]) -> dict[str, Fact]:
    """The chart of a file with this Patient."""
    file = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient}]}
    records = split_bundle(json.dumps(file).encode(), SUBJECT).records
    inputs = [Input(SUBJECT, category, payload) for category, payload in records.items()]
    return read_chart(read_records(inputs, EVERYTHING, TODAY))


def load(inputs: list[Input], category: int) -> Any:
    return json.loads(next(record.payload for record in inputs if record.category == category))


@pytest.mark.parametrize("case", NOT_KEPT)
def test_a_result_that_ingest_does_not_keep_leaves_an_older_one_in_doubt(case: str) -> None:
    other, reason = NOT_KEPT[case]
    other = {name: value for name, value in other.items() if name != "effectiveDateTime"}
    first = measured("2160-0", 1.4, "mg/dL")
    for day in ("2024-05-20", "2024-05-30", "2024-05", "2024-09-09", "soon"):
        assert value_of(chart(first, other | {"effectiveDateTime": day})["creatinine"]) == reason
    assert value_of(chart(first, other)["creatinine"]) == reason  # without any day
    for day in ("2024-05-19", "2024-04", "2023"):
        older = chart(first, other | {"effectiveDateTime": day})
        assert value_of(older["creatinine"]) == Decimal("1.4")


KETOCONAZOLE = concept((ATC, "J02AB02"))
NEWER = measured("2160-0", 3.1, "mg/dL", "2024-05-28", id="c1")
REPORT = {
    "resourceType": "DiagnosticReport",
    "status": "final",
    "code": concept((LOINC, "24323-8")),
    "subject": {"reference": "Patient/p"},
}
INSIDE: dict[str, dict[str, Any]] = {
    "a report": REPORT | {"contained": [NEWER]},
    "another result": observation((LOINC, "24323-8"), valueInteger=1, contained=[NEWER]),
    "Parameters": {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": NEWER}]},
}  # a table: one case a line  # fmt: skip


@pytest.mark.parametrize("where", INSIDE)
def test_a_result_inside_something_else_leaves_an_older_one_in_doubt(where: str) -> None:
    facts = chart(measured("2160-0", 1.4, "mg/dL"), INSIDE[where])
    assert value_of(facts["creatinine"]) == Reason.HELD_BACK


@pytest.mark.parametrize("status", ["preliminary", "cancelled", "entered-in-error"])
def test_a_report_that_is_withdrawn_takes_its_results_with_it(status: str) -> None:
    listing = REPORT | {"status": status, "result": [{"reference": "Observation/c1"}]}
    lower = measured("2160-0", 0.7, "mg/dL", "2024-05-28", id="c1")
    panel = observation((LOINC, "24323-8"), hasMember=listing["result"], status=status)
    for around in (listing, panel):
        facts = chart(measured("2160-0", 1.4, "mg/dL"), lower, around)
        assert value_of(facts["creatinine"]) == Reason.HELD_BACK


@pytest.mark.parametrize(
    "hidden",
    [
        {"resourceType": "SupplyDelivery", "suppliedItem": {"itemCodeableConcept": KETOCONAZOLE}},
        {"resourceType": "CarePlan", "activity": [{"detail": {"productCodeableConcept": KETOCONAZOLE}}]},
        {"resourceType": "Parameters", "parameter": [{"resource": medicine("J02AB02")}]},
        observation((LOINC, "10160-0"), valueCodeableConcept=KETOCONAZOLE),
        {"resourceType": "MedicationDispense", "status": "completed", "whenHandedOver": "2024-05-28",
         "medicationCodeableConcept": KETOCONAZOLE,
         "authorizingPrescription": [{"reference": "MedicationRequest/old"}]},
        {"resourceType": "MedicationDispense", "status": "completed", "whenHandedOver": "2024-05-28",
         "contained": [{"resourceType": "Medication", "id": "k", "code": KETOCONAZOLE}],
         "medicationReference": {"reference": "#k"},
         "authorizingPrescription": [{"reference": "MedicationRequest/old"}]},
    ],
)  # a table: one case a line  # fmt: skip
def test_a_medicine_inside_something_else_makes_the_list_incomplete(hidden: dict[str, Any]) -> None:
    old = medicine("A10BA02", "2024-01-10", "completed") | {"id": "old"}
    assert value_of(chart(old)["medicines_complete"]) is True
    assert value_of(chart(old, hidden)["medicines_complete"]) == Reason.HELD_BACK


def test_the_file_of_a_second_ingest_is_not_read_beside_the_first() -> None:
    inputs = inputs_of(measured("2160-0", 1.4, "mg/dL"))
    with pytest.raises(InputsError, match="two records of one kind"):
        read_records([*inputs, *inputs], EVERYTHING, TODAY)


@pytest.mark.parametrize(
    "code", ["Z94.81", "Z94.84", "T86.09", "T86.5", "D89.811", "30243G2", "30233Y3"]
)
def test_after_a_transplant_a_test_may_show_the_donor_s_genes(code: str) -> None:
    infusion = procedure((PCS, code)) | {"performedDateTime": "2020-01-01"}
    transplant = infusion if code[0] == "3" else condition((CM, code), onsetDateTime="2020-01-01")
    facts = chart(*bea(), diplotype("*1/*1"), *NONE_OF_PANEL, transplant)
    for name in ("brca1_germline", "dpyd_variants", "cyp2d6_diplotype"):
        assert value_of(facts[name]) == Reason.INDETERMINATE
    for of_liver in (condition((CM, "Z94.4")), procedure((PCS, "0FY00Z0"))):
        facts = chart(*bea(), diplotype("*1/*1"), *NONE_OF_PANEL, of_liver)
        assert value_of(facts["brca1_germline"]) == "pathogenic"
        for name in ("dpyd_variants", "cyp2d6_diplotype"):
            assert value_of(facts[name]) == Reason.INDETERMINATE
    own, blood = (procedure((PCS, code)) for code in ("30243Y0", "30233N1"))
    assert value_of(chart(*bea(), own, blood)["brca1_germline"]) == "pathogenic"


def test_a_diplotype_beside_one_that_is_not_final_is_none() -> None:
    newer = diplotype("*4/*4", "h") | {"status": "preliminary"}
    facts = chart(diplotype("*1/*1"), newer)
    assert value_of(facts["cyp2d6_diplotype"]) == Reason.NOT_FINAL


@pytest.mark.parametrize(("code", "kin"), [("HUSB", False), ("STPMTH", False), ("MTH", True)])
def test_cancer_of_somebody_who_is_no_kin_is_no_family_history(code: str, kin: bool) -> None:
    facts = chart(variant(), history(code, extension=[OF_RELATIVE]))
    assert (value_of(facts["breast_cancer_in_family"]) is True) is kin


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_what_never_was_a_result_leaves_nothing_in_doubt(status: str) -> None:
    other = measured("2160-0", 3.1, "mg/dL", "2024-05-25", status=status)
    assert value_of(chart(measured("2160-0", 1.4, "mg/dL"), other)["creatinine"]) == Decimal("1.4")


@pytest.mark.parametrize(
    ("first", "code", "name"),
    [
        (coded("85319-2", "LA6577-6"), (LOINC, "85318-4"), "her2"),
        (coded("85337-4", "LA6577-6"), (LOINC, "16112-5"), "oestrogen_receptor"),
        (coded("82810-3", "LA26683-5"), (LOINC, "2118-8"), "pregnant"),
        (NO_MDS, (LOCAL, "mds-aml"), "mds_aml"),
        (staged("21899-0", "pT2"), (LOINC, "21899-0"), "tumour_size"),
        (staged("21907-1", "cM0"), (LOINC, "21901-4"), "metastatic"),
        (measured("777-3", 210, "10*9/L"), (LOINC, "26515-7"), "platelets"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fact_is_in_doubt_by_a_code_of_its_own(
    first: dict[str, Any], code: tuple[str, str], name: str
) -> None:
    snomed = concept(("http://snomed.info/sct", "10828004"))
    other = observation(code, valueCodeableConcept=snomed, effectiveDateTime="2024-05-30")
    assert isinstance(chart(first)[name], Known)
    assert value_of(chart(first, other)[name]) == Reason.HELD_BACK


def test_of_what_is_not_kept_only_the_code_and_the_day_are_written() -> None:
    text = observation((LOINC, "2160-0"), valueString="3.1 mg/dL", effectiveDateTime="2024-05-30")
    glucose = observation((LOINC, "2345-7"), valueString="5", effectiveDateTime="2024-05-30")
    record = load(inputs_of(measured("2160-0", 1.4, "mg/dL"), text, glucose), Category.OBSERVATIONS)
    marks = {tag["code"] for tag in record["meta"]["tag"]}
    assert marks == {TRUE_DATES, ALL_MEDICINES, "observation-held-back/2160-0/2024-05-30"}


def test_shifted_records_have_no_mark_with_a_day() -> None:
    text = observation((LOINC, "2160-0"), valueString="3.1", effectiveDateTime="2024-05-30")
    lines = bundle(measured("2160-0", 1.4, "mg/dL"), text)
    shifted = split_files([lines], [], SUBJECT, weeks=3).records[Category.OBSERVATIONS]
    assert b"2024-05-30" not in shifted


def test_the_parts_of_a_panel_are_results() -> None:
    parts = [
        {
            "code": concept((LOINC, code)),
            "valueQuantity": {"value": value, "system": UCUM, "code": unit},
        }
        for code, value, unit in (("718-7", 9.1, "g/dL"), ("777-3", 60, "10*9/L"))
    ]
    panel = observation((LOINC, "58410-2"), component=parts, effectiveDateTime="2024-05-25")
    facts = chart(measured("718-7", 12.1, "g/dL"), measured("777-3", 210, "10*9/L"), panel)
    assert value_of(facts["haemoglobin"]) == Decimal("9.1")
    assert value_of(facts["platelets"]) == Decimal(60)


def coded_part(url: str, code: str) -> dict[str, Any]:
    return {"url": url, "valueCodeableConcept": concept(("x", code))}


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ({"valueCode": "F"}, "female"),
        ({"valueCode": "UNK"}, "female"),
        ({"extension": [coded_part("value", "female-typical"), coded_part("type", "76689-9")]}, "female"),
        ({"valueCodeableConcept": {"text": "man"}}, Reason.CONFLICTING),
        ({"valueCode": "M"}, Reason.CONFLICTING),
        ({"valueCode": "OTH"}, Reason.CONFLICTING),
        ({"extension": [{"url": "value", "valueCodeableConcept": concept(("x", "male"))}]}, Reason.CONFLICTING),
    ],
)  # a table: one case a line  # fmt: skip
def test_a_sex_at_birth_that_differs_from_the_gender_leaves_it_in_doubt(
    extension: dict[str, Any], expected: object
) -> None:
    url = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex"
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960"}
    patient |= {"extension": [{"url": url, **extension}]}
    assert value_of(of_patient(patient)["sex"]) == expected


def test_a_sex_that_was_observed_and_differs_from_the_gender_leaves_it_in_doubt() -> None:
    assert value_of(chart(coded("76689-9", "LA3-6"))["sex"]) == "female"
    assert value_of(chart(coded("76689-9", "LA2-8"))["sex"]) == Reason.CONFLICTING


@pytest.mark.parametrize("death", [{"deceasedBoolean": True}, {"deceasedDateTime": "2024-05-02"}])
def test_no_plan_is_drawn_of_somebody_who_has_died(death: dict[str, Any]) -> None:
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960"}
    with pytest.raises(InputsError, match="has died"):
        of_patient(patient | death)
    assert value_of(of_patient(patient | {"deceasedBoolean": False})["sex"]) == "female"


VITAL = observation(
    (LOINC, "67162-8"), valueCodeableConcept=concept(("http://mii/Vitalstatus", "T"))
)
LEFT = {
    "resourceType": "Encounter",
    "status": "finished",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
    "subject": {"reference": "Patient/p"},
}
DISPOSITION = "http://terminology.hl7.org/CodeSystem/discharge-disposition"


def left(code: str) -> dict[str, Any]:
    return LEFT | {"hospitalization": {"dischargeDisposition": concept((DISPOSITION, code))}}


@pytest.mark.parametrize(
    "death",
    [VITAL, left("exp"), observation((LOINC, "81956-5"), valueDateTime="2024-05-02")],
)
def test_a_death_that_something_else_than_the_patient_says_is_read(death: dict[str, Any]) -> None:
    with pytest.raises(InputsError, match="has died"):
        chart(death)
    for other in (
        VITAL | {"valueCodeableConcept": concept(("http://mii/Vitalstatus", "L"))},
        death | {"status": "entered-in-error"},
        left("home"),
    ):
        assert value_of(chart(other)["sex"]) == "female"


def test_a_germline_variant_in_few_reads_is_no_finding() -> None:
    for value, unit, expected in (
        (0.48, "1", "pathogenic"),
        (48, "%", "pathogenic"),
        (0.12, "1", Reason.INDETERMINATE),
        (12, "%", Reason.INDETERMINATE),
        (12, "1", Reason.INDETERMINATE),
    ):
        share = {
            "code": concept((LOINC, "81258-6")),
            "valueQuantity": {"value": value, "system": UCUM, "code": unit},
        }
        facts = chart(variant(more=(share,)), implication())
        assert value_of(facts["brca1_germline"]) == expected


def test_a_class_of_the_liver_without_a_day_leaves_its_impairment_in_doubt() -> None:
    none = coded("hepatic-impairment", "impairment-none", system=LOCAL)
    undated = coded("child-pugh-class", "child-pugh-c", None, LOCAL)
    assert value_of(chart(none, undated)["hepatic_impairment"]) == Reason.NO_DATE


NOT_PREGNANT = coded("82810-3", "LA26683-5")
ACTIVE = {
    "clinicalStatus": {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                "code": "active",
            }
        ]
    }
}


@pytest.mark.parametrize(
    ("code", "pregnant"),
    [
        ("Z32.01", True),
        ("Z3A.10", True),
        ("O00.1", True),
        ("O60.0", True),
        ("O80", True),
        ("O99.0", True),
        ("O9A.1", True),
        ("O85", Reason.NOT_RECORDED),
        ("O92.7", Reason.NOT_RECORDED),
        ("Z32.02", Reason.NOT_RECORDED),
    ],
)
def test_diagnoses_of_a_pregnancy(code: str, pregnant: bool | Reason) -> None:
    assert value_of(chart(condition((CM, code)))["pregnant"]) == pregnant


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([condition((CM, "Z33.1"), onsetDateTime="2024-05-20")], Reason.CONFLICTING),
        ([condition((CM, "Z33.1"), onsetDateTime="2024-05")], Reason.NO_DATE),
        ([condition((CM, "Z33.1"), **ACTIVE)], True),
        ([condition((CM, "Z33.1"), **ACTIVE, abatementDateTime="2012-01-01")], False),
        ([condition((CM, "Z33.1"), abatementDateTime="2024-05-25")], Reason.CONFLICTING),
        ([coded("82810-3", "LA15173-0")], Reason.CONFLICTING),
        ([coded("2106-3", "LA6576-8")], Reason.CONFLICTING),
        ([coded("2118-8", "LA6576-8", "2024-05-21")], True),
        ([coded("2118-8", "LA6577-6", "2024-05-21")], False),
    ],
)
def test_a_negative_status_never_hides_a_pregnancy(
    resources: list[dict[str, Any]], expected: bool | Reason
) -> None:
    assert value_of(chart(NOT_PREGNANT, *resources)["pregnant"]) == expected
    assert value_of(chart(coded("2106-3", "LA6577-6"))["pregnant"]) == Reason.NOT_RECORDED


@pytest.mark.parametrize(
    "coding",
    [
        *((CM, code) for code in ("C92.30", "C93.10", "C94.40", "C95.00")),
        *((ICD_O, code) for code in ("9861/3", "9985/3", "9980/3", "9989/3", "9840/3")),
    ],
)
def test_every_code_of_mds_and_aml_outweighs_a_no(coding: tuple[str, str]) -> None:
    assert value_of(chart(NO_MDS, condition(coding))["mds_aml"]) is True
    assert value_of(chart(NO_MDS, condition((ICD_O, "8500/3")))["mds_aml"]) is False


def test_a_later_no_erases_no_earlier_yes() -> None:
    earlier = {"valueBoolean": True, "effectiveDateTime": "2020-01-01"}
    assert value_of(chart(NO_MDS, NO_MDS | earlier)["mds_aml"]) is True
    fact = chart(NO_PNEUMONITIS, NO_PNEUMONITIS | earlier)["pneumonitis"]
    assert value_of(fact) == Reason.CONFLICTING


def named(text: str, **more: Any) -> dict[str, Any]:
    """A result with a name alone, or with a code that is not known."""
    return measured("2160-0", 3.1, "mg/dL", "2024-05-28") | {"code": {"text": text, **more}}


UNKNOWN_CODE = concept((SNOMED, "70901006"))


@pytest.mark.parametrize(
    ("first", "other", "name"),
    [
        (measured("2160-0", 1.4, "mg/dL"), named("Kreatinin (Serum)"), "creatinine"),
        (measured("2160-0", 1.4, "mg/dL"), named("Creatinine", **UNKNOWN_CODE), "creatinine"),
        (measured("777-3", 210, "10*9/L"), named("Thrombozyten"), "platelets"),
        (measured("718-7", 12, "g/dL"), named("Hemoglobin"), "haemoglobin"),
        *(
            (measured("2160-0", 1.4, "mg/dL"), named(text), "creatinine")
            for text in ("CREA", "Creat (S)", "Serum creat level", "S-Kreatinin", "CREA_S")
        ),
        *(
            (measured("718-7", 12, "g/dL"), named(text), "haemoglobin")
            for text in ("Hb", "HGB", "Hämoglobin")
        ),
        *(
            (measured("751-8", 3, "10*9/L"), named(text), "neutrophils")
            for text in ("ANC", "Neutrophile (abs.)", "Neut #")
        ),
        (measured("777-3", 210, "10*9/L"), named("PLT"), "platelets"),
        *(
            (measured("29463-7", 61, "kg"), named(text), "weight")
            for text in ("Weight", "O/E - weight", "Körpergewicht", "Body weight")
        ),
        *(
            (coded("85319-2", "LA6577-6"), named(text), "her2")
            for text in (
                "HER2 by FISH",
                "HER2/neu",
                "ERBB2",
                "c-erbB-2",
                "c-erb-B2",
                "HercepTest",
                "Human epidermal growth factor receptor 2 status",
            )
        ),
        (coded("85337-4", "LA6577-6"), named("Östrogenrezeptor"), "oestrogen_receptor"),
        (coded("85339-0", "LA6577-6"), named("Progesteron-Rezeptor"), "progesterone_receptor"),
        (
            staged("21907-1", "cM0"),
            staged("399387003", "M1", "2024-05-28") | {"code": concept((SNOMED, "399387003"))},
            "metastatic",
        ),
    ],
)
def test_a_result_that_has_a_name_alone_leaves_an_older_one_in_doubt(
    first: dict[str, Any], other: dict[str, Any], name: str
) -> None:
    assert value_of(chart(first, other)[name]) == Reason.HELD_BACK
    others = [
        named(text)
        for text in (
            "Creatinine, urine",
            "Creatine kinase",
            "Hemoglobin A1c",
            "HbA1c",
            "HBs antigen",
            "Mean corpuscular hemoglobin",
            "MCH (Hb/Ery)",
            "Neutrophils %",
            "Mean platelet volume",
            "Birth weight",
            "Ideal body weight",
            "Lean body weight",
            "Body weight pre pregnancy",
            "Weight for height",
            "Weight-bearing",
            "Estrogen",
            "glucose",
        )
    ]
    assert isinstance(chart(first, *others)[name], Known)


ABSENT_BRCA1 = variant(value=ABSENT)
REPORT_WITH_BRCA1 = REPORT | {"contained": [named("BRCA1 sequencing") | {"id": "b"}]}
GENETICS = concept(("http://terminology.hl7.org/CodeSystem/v2-0074", "GE"))


@pytest.mark.parametrize(
    ("other", "in_doubt"),
    [
        (named("BRCA1 sequencing"), {"brca1_germline"}),
        (named("BRCA1/2 panel"), {"brca1_germline", "dpyd_variants"}),
        (named("Panel") | {"valueString": "DPYD: *2A found"}, {"dpyd_variants"}),
        (named("Panel", **UNKNOWN_CODE) | {"category": [GENETICS]}, {"brca1_germline", "dpyd_variants"}),
        (named("BRCA1 sequencing") | {"status": "preliminary"}, {"brca1_germline"}),
        (named("BRCA1 sequencing") | {"status": "entered-in-error"}, set()),
        (REPORT_WITH_BRCA1, {"brca1_germline"}),
        (named("Panel") | {"category": [{"text": "laboratory"}]}, set()),
    ],
)  # a table: one case a line  # fmt: skip
def test_a_genetic_result_of_an_unknown_code_leaves_no_variant_in_doubt(
    other: dict[str, Any], in_doubt: set[str]
) -> None:
    other.pop("valueQuantity", None) if "valueString" in other else None
    facts = chart(ABSENT_BRCA1, *NONE_OF_PANEL, other)
    unknown = {
        name
        for name in ("brca1_germline", "dpyd_variants")
        if value_of(facts[name]) in (Reason.HELD_BACK, Reason.NOT_FINAL)
    }
    assert unknown == in_doubt


VERIFICATION_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
LATER = {"onsetDateTime": "2024-05-30"}
DENIALS: list[tuple[dict[str, Any], str, object]] = [
    (NO_MDS, "mds_aml", False),
    (NO_PNEUMONITIS, "pneumonitis", False),
    (
        observation((LOCAL, "venous-thromboembolism"), valueBoolean=False, **DAY),
        "thrombosis",
        False,
    ),
    (staged("21907-1", "cM0", "2024-05-20"), "metastatic", False),
    (coded("82810-3", "LA26683-5"), "pregnant", False),
    (NO_IMPAIRMENT, "hepatic_impairment", "none"),
    (MILD, "hepatic_impairment", "mild"),
]


def not_kept(code: str, status: str = "unconfirmed", **more: Any) -> dict[str, Any]:
    return condition((CM, code), verificationStatus=concept((VERIFICATION_STATUS, status)), **more)


@pytest.mark.parametrize(("denial", "name", "value"), DENIALS)
def test_a_diagnosis_that_was_not_kept_leaves_a_no_in_doubt(
    denial: dict[str, Any], name: str, value: object
) -> None:
    for other in (
        condition((SNOMED, "1"), **LATER),
        condition(onsetDateTime="2024-05-20") | {"code": {"text": "myelodysplasia"}},
        condition((SNOMED, "1"), onsetDateTime="2011-01-01", recordedDate="2024-05-30"),
        condition((SNOMED, "1"), onsetDateTime="2024"),
        *(not_kept(code, **LATER) for code in ("D46.9", "C79.51", "J70.2", "I26.99", "O80", "K74.60", "Z85.6")),
        not_kept("C50.912", stage=[{"summary": FOURTH}], **LATER),
        {**REPORT, "contained": [condition((SNOMED, "1"), id="i", **LATER)]},
    ):  # a table: one case a line  # fmt: skip
        assert value_of(chart(denial, other)[name]) == Reason.HELD_BACK, other
    for other in (
        condition((SNOMED, "1"), onsetDateTime="2024-05-19"),
        not_kept("I10", **LATER),
        not_kept("D46.9", "refuted", **LATER),
        not_kept("D46.9", "entered-in-error", **LATER),
        condition((CM, "I10"), (SNOMED, "1"), **LATER),
    ):
        assert value_of(chart(denial, other)[name]) == value, other


def allergic(**more: Any) -> dict[str, Any]:
    person = {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/p"}}
    return {**person, "code": concept((SNOMED, "1")), **more}


ALLERGY_STATUS = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


@pytest.mark.parametrize(
    ("allergy", "expected"),
    [
        (allergic(), Reason.HELD_BACK),
        (allergic(category=["medication"]), Reason.HELD_BACK),
        (allergic(code={"text": "Lynparza"}), Reason.HELD_BACK),
        (allergic(verificationStatus=concept((ALLERGY_STATUS, "unconfirmed"))), Reason.HELD_BACK),
        (allergic(category=["food"]), False),
        (allergic(code=concept((SNOMED, "716186003"))), False),
        (allergic(verificationStatus=concept((ALLERGY_STATUS, "refuted"))), False),
    ],
)
def test_an_allergy_that_was_not_kept_leaves_no_parp_inhibitor_before_in_doubt(
    allergy: dict[str, Any], expected: object
) -> None:
    facts = chart(medicine("A10BA02"), allergy)
    assert value_of(facts["earlier_parp_inhibitor"]) == expected
    assert value_of(facts["medicines_complete"]) is True


def test_a_diagnosis_that_was_not_kept_leaves_its_last_day_alone() -> None:
    records = inputs_of(NO_MDS, medicine("A10BA02"), condition((SNOMED, "1"), **LATER))
    for category, expected in (
        (Category.OBSERVATIONS, {TRUE_DATES, ALL_MEDICINES, "condition-held-back/2024-05-30"}),
        (Category.MEDICATIONS, {TRUE_DATES, ALL_MEDICINES}),
    ):
        assert {tag["code"] for tag in load(records, category)["meta"]["tag"]} == expected
    sensitive = condition((SNOMED, "1"), (CM, "F32.1"), (CM, "B20"), (CM, "O80"), **LATER)
    assert b"2024-05-30" not in b"".join(record.payload for record in inputs_of(NO_MDS, sensitive))


def test_the_last_day_of_chemotherapy_is_also_that_of_another_disease() -> None:
    fact = chart(GIVEN_BEFORE, LATER_FOR_OVARY, SURGERY)["chemotherapy"]
    assert (value_of(fact), fact.day) == ("neoadjuvant", day_number("2024-05-10"))
    ordered = medicine("L01DB01") | {"reasonCode": [concept((CM, "C56.9"))]}
    assert value_of(chart(GIVEN_BEFORE, ordered, SURGERY)["chemotherapy"]) == Reason.NOT_FINAL


def test_no_code_of_a_reason_is_kept_with_a_medicine() -> None:
    record = inputs_of(reasoned("C56.9", dosageInstruction=[{"route": SKIN}]))
    text = json.dumps(load(record, Category.MEDICATIONS))
    assert "C56" not in text
    assert "6064005" not in text
    assert "for-another-disease" in text


def test_an_allergy_to_a_medicine_is_read_by_its_code() -> None:
    assert value_of(chart(medicine("A10BA02"))["allergies"]) == Reason.NOT_RECORDED
    allergy = allergic(code=concept((ATC, "L01BC06")))
    assert value_of(chart(medicine("A10BA02"), allergy)["allergies"]) == ("rxnorm:194000",)


def test_a_lack_of_dpd_that_is_diagnosed_leaves_a_normal_gene_in_doubt() -> None:
    lacking = condition((CM, "E79.8"))
    assert value_of(chart(*NONE_OF_PANEL, lacking)["dpyd_variants"]) == Reason.CONFLICTING
    assert value_of(chart(*NONE_OF_PANEL)["dpyd_variants"]) == ()


@pytest.mark.parametrize(
    ("beside", "sex"),
    [
        (coded("76691-5", "LA22880-1"), Reason.CONFLICTING),  # female-to-male
        (coded("76691-5", "LA22878-5"), Reason.CONFLICTING),  # a man
        (coded("76691-5", "LA22879-3"), "female"),
        (coded("46098-0", "LA2-8"), Reason.CONFLICTING),
        (condition((CM, "F64.0")), Reason.CONFLICTING),
        (condition((CM, "Z87.890")), Reason.CONFLICTING),
    ],
)
def test_a_sex_that_something_else_contradicts_is_in_doubt(
    beside: dict[str, Any], sex: object
) -> None:
    assert value_of(chart(beside)["sex"]) == sex


@pytest.mark.parametrize(
    "newer",
    [
        coded("11449-6", "LA15173-0", "2024-05-28"),
        measured("45194-8", 5000, "m[IU]/mL", "2024-05-28"),
    ],
)
def test_a_newer_pregnancy_in_another_code_counts(newer: dict[str, Any]) -> None:
    facts = chart(coded("82810-3", "LA26683-5", "2024-05-25"), newer)
    assert value_of(facts["pregnant"]) is not False


def test_breast_feeding_is_read_by_its_code() -> None:
    denied = observation((LOCAL, "breast-feeding"), valueBoolean=False, **DAY)
    assert value_of(chart(denied)["breast_feeding"]) is False
    fed = coded("63895-7", "LA33-6", "2024-05-28")
    assert value_of(chart(denied, fed)["breast_feeding"]) is True


def test_what_was_not_kept_is_known_also_without_a_record_of_its_kind() -> None:
    """A visit for chemotherapy, and a genomic result, that alone would be of their category."""
    visit = CAME_FOR_IT | {"type": [concept((SNOMED, "1"))]}
    given_before = medicine("L01DB01", "2024-03-01", "completed")
    fact = chart(given_before, visit)["chemotherapy"]
    assert not isinstance(fact, Known) or fact.day == day_number("2024-05-28")
    alone = named("DPYD genotyping") | {"valueString": "*1/*2A"}
    assert value_of(chart(alone)["dpyd_variants"]) == Reason.HELD_BACK


@pytest.mark.parametrize(
    "name",
    ["Dihydropyrimidine dehydrogenase genotyping", "DPD-Defizienz", "Uracil in plasma"],
)
def test_a_result_of_the_enzyme_is_one_of_its_gene(name: str) -> None:
    facts = chart(*NONE_OF_PANEL, named(name) | {"valueString": "found"})
    assert value_of(facts["dpyd_variants"]) == Reason.HELD_BACK


def test_withheld_procedures_leave_the_last_day_of_chemotherapy_unknown() -> None:
    facts = chart(*bea(), withheld=[Category.PROCEDURES])
    assert value_of(facts["chemotherapy"]) == Reason.WITHHELD


@pytest.mark.parametrize(
    "sensitive",
    [
        order((ATC, "J05AE03")) | {"authoredOn": "2024-05-23"},
        {
            **CAME_FOR_IT,
            "type": [concept((CM, "F33.1"))],
            "period": {"start": "2024-05-23", "end": "2024-05-23"},
        },
    ],
)
def test_a_reason_of_something_sensitive_leaves_no_day(sensitive: dict[str, Any]) -> None:
    """Its code is of another category, so it is noted as not kept; of the day nothing may be."""
    because = sensitive | {"reasonCode": [concept((CM, "J70.2"))]}
    open_to_all = [
        record.payload
        for record in inputs_of(medicine("A10BA02"), NO_MDS, because)
        if record.category in (Category.OBSERVATIONS, Category.MEDICATIONS, Category.CONDITIONS)
    ]
    assert b"2024-05-23" not in b"".join(open_to_all)
    ordinary = medicine("A10BA03", "2024-05-23") | {"reasonCode": [concept((CM, "J70.2"))]}
    records = inputs_of(medicine("A10BA02"), NO_MDS, ordinary)
    assert "condition-held-back/2024-05-23" in json.dumps(load(records, Category.OBSERVATIONS))


def test_what_was_handed_out_for_something_sensitive_leaves_no_days() -> None:
    first, dispense = handed_out(ITRACONAZOLE, "2024-05-20", "2024-05-29", daysSupply=days(30))
    assert "lasts/39" in json.dumps(load(inputs_of(first, dispense), Category.MEDICATIONS))
    labelled = dispense | {"meta": {"security": [RESTRICTED]}}
    assert "lasts/39" not in json.dumps(load(inputs_of(first, labelled), Category.MEDICATIONS))


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("NM_007294.4:c.(4185+1_4186-1)_(4357+1_4358-1)del", True),
        ("NM_007294.4:c.(?_-232)_(80+1_81-1)del", True),
        ("NM_007294.4:c.(4185+1)_(4357+1_4358-1)del", False),
    ],
)
def test_a_deleted_exon_is_a_change(change: str, read: bool) -> None:
    fact = chart(variant(change=change), implication())["brca1_germline"]
    assert (value_of(fact) == "pathogenic") == read


def test_a_report_to_which_something_was_added_is_final() -> None:
    facts = chart(variant(), implication(), report("v", "i", status="appended"))
    assert value_of(facts["brca1_germline"]) == "pathogenic"


@pytest.mark.parametrize(
    "stated",
    [
        {"doseAndRate": [{"doseQuantity": {"unit": "tab", "value": 1}}]},
        {"patientInstruction": "take with food daily"},
        {"text": "240 mg SR once daily"},
    ],
)
def test_topical_that_a_dosage_contradicts_is_taken(stated: dict[str, Any]) -> None:
    azole = medicine(ITRACONAZOLE) | {
        "dosageInstruction": [{"route": {"text": "topical"}, **stated}]
    }
    assert value_of(chart(azole)["medicines"]) == INHIBITOR


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"reasonCode": [concept((CM, "D24.2"))]}, "setting not said"),
        ({"reasonCode": [concept((CM, "Z40.01"))]}, "setting not said"),
        ({"status": "in-progress"}, "setting not said"),
        ({"performedDateTime": "2023-11-20"}, "setting not said"),  # before the diagnosis
        ({"reasonCode": [concept((CM, "C50.912"))]}, "adjuvant"),
        ({}, "adjuvant"),
    ],
)
def test_an_operation_for_something_else_says_nothing_of_chemotherapy(
    change: dict[str, Any], setting: str
) -> None:
    facts = chart(given_by("Intravenous route"), BREAST, SURGERY | change)
    assert value_of(facts["chemotherapy"]) == setting
