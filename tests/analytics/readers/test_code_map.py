"""Code maps: what they bring in, and that they take no code out of its category."""

from __future__ import annotations

import json
from typing import Any

import fhir_files as fhir
import pytest

from analytics.errors import PayloadError
from analytics.readers import code_map
from analytics.readers.clinical import read_clinical_record
from analytics.readers.code_map import CodeMap, load_code_map, with_maps
from analytics.readers.codes import SHIPPED, URIS, Coding, load_value_sets
from analytics.readers.fhir import Split, split_bundle
from analytics.vocabulary import Category
from api.ingest.parser_messages import failure_of

SUBJECT = "ab" * 32
SNOMED, HOSPITAL = "http://snomed.info/sct", "urn:hospital:own"
NDC, LAB = "http://hl7.org/fhir/sid/ndc", "urn:hospital:lab"
# Invented ids of the form that SNOMED CT has.
TUMOUR, SADNESS, LIVER, DRUG = "900000001", "900000002", "900000003", "900000004"


def mapped(codes: dict[str, Any], system: str = SNOMED) -> bytes:
    return json.dumps({"system": system, "source": "invented", "codes": codes}).encode()


def optional(*systems: str) -> bytes:
    """A map that lets codes of these systems be left out beside a known one."""
    return json.dumps(
        [
            {"system": system, "source": "invented", "codes": {}, "optional": True}
            for system in systems
        ]
    ).encode()


def split(payload: bytes, *resources: dict[str, Any], **more: Any) -> Split:
    sets = with_maps(more.get("sets", SHIPPED), [load_code_map(payload)])
    return split_bundle(fhir.bundle(*resources), SUBJECT, sets)


def facts(result: Split) -> list[tuple[int, str, str]]:
    record = read_clinical_record(result.records, SUBJECT)
    return [(fact.category, fact.system, fact.code) for fact in record.facts]


def test_a_mapped_code_is_read_as_the_code_that_it_means() -> None:
    payload = mapped(
        {
            TUMOUR: {"to": "icd-10-cm:C50.9"},
            SADNESS: {"to": ["icd-10-cm:F32.9"]},
            DRUG: {"to": ["atc:L02BA01", "rxnorm:10324"]},
        }
    )
    tumour = fhir.condition((SNOMED, TUMOUR))
    result = split(payload, tumour, fhir.condition((SNOMED, SADNESS)), fhir.order((SNOMED, DRUG)))
    assert facts(result) == [
        (1, "icd-10-cm", "C50.9"),
        (3, "atc", "L02BA01"),
        (3, "rxnorm", "10324"),
        (16, "icd-10-cm", "F32.9"),
    ]
    assert result.report["held back"] == {}
    assert SNOMED not in b"".join(result.records.values()).decode()
    assert (
        result.records[1]
        == split_bundle(fhir.bundle(fhir.condition((fhir.CM, "C50.9"))), SUBJECT).records[1]
    )
    without = split_bundle(fhir.bundle(tumour), SUBJECT)
    assert without.report["held back"] == {"unknown code system": 1}


def test_values_reasons_and_orders_are_mapped_too() -> None:
    payload = mapped({TUMOUR: {"to": "loinc:85337-4"}, LIVER: {"to": "loinc:LA6576-8"}})
    receptor = fhir.observation(
        (SNOMED, TUMOUR), valueCodeableConcept=fhir.concept((SNOMED, LIVER))
    )
    readings = read_clinical_record(split(payload, receptor).records, SUBJECT).readings
    assert [(reading.variable, reading.value) for reading in readings] == [("er_positive", 1.0)]
    payload = mapped({SADNESS: {"to": "icd-10-cm:F32.9"}, LIVER: {"to": "icd-10-cm:K76.9"}})
    why = fhir.condition((SNOMED, SADNESS), id="c")
    given = fhir.order((fhir.RXNORM, "10324"), reasonReference=[{"reference": "Condition/c"}])
    assert split(payload, why, given).report["kept"] == {"0": 1, "16": 2}
    ordered = fhir.order((fhir.RXNORM, "10324"), reasonCode=[fhir.concept((SNOMED, LIVER))])
    assert split(payload, ordered).report["kept"] == {"0": 1, "3": 1}


def test_a_reason_in_words_alone_is_mapped_by_its_words() -> None:
    def ordered(text: str) -> dict[str, Any]:
        return fhir.order((fhir.RXNORM, "10324"), reasonCode=[{"text": text}])

    words = {"Bluthochdruck (schwer)": {"to": "icd-10:I10"}, "low mood": {"to": "icd-10-cm:F32.9"}}
    payload = json.dumps({"system": "words", "source": "ours", "codes": words}).encode()
    result = split(payload, ordered("bluthochdruck  (SCHWER)"), ordered("Low mood"))
    assert result.report["kept"] == {"0": 1, "3": 1, "16": 1}  # one of them in mental health
    assert "hochdruck" not in b"".join(result.records.values()).decode().casefold()
    others = split(payload, ordered("Something else"), ordered("x" * 101))
    assert others.report["held back"] == {"no code": 1, "unknown code system": 1}
    assert others.unknown == {Coding("urn:volens:words", "something else")}
    # In what an order contains, as beside it; and a file cannot write such a code itself.
    why = {**ordered("low mood"), "resourceType": "ServiceRequest", "id": "s"}
    inside = fhir.order((fhir.RXNORM, "10324"), basedOn=[{"reference": "#s"}], contained=[why])
    assert "3" not in split(payload, inside).report["kept"]
    own = fhir.condition(("urn:volens:words", "low mood"))
    assert split(payload, own).report["held back"] == {"unknown code system": 1}
    for words in ("  ", "x" * 101):
        bad = json.dumps(
            {"system": "words", "source": "ours", "codes": {words: {"to": "atc:A10BA02"}}}
        )
        with pytest.raises(PayloadError, match="1 to 100 characters"):
            load_code_map(bad.encode())
    both = {**ordered("low mood"), "reasonCode": [{"text": "low mood", "coding": []}]}
    assert split(payload, both).report["held back"] == {"no code": 1}  # not in words alone
    diagnosis = {**fhir.condition(), "code": {"text": "low mood"}}
    assert split(payload, diagnosis).report["held back"] == {"no code": 1}  # reasons alone


@pytest.mark.parametrize(
    "more",
    [
        {"specimen": {"display": "Urine"}},
        {"code": {"coding": [{"system": SNOMED, "code": LIVER, "display": "Creatinine, urine"}]}},
        {
            "code": fhir.concept((fhir.LOINC, "24323-8")),
            "component": [
                {
                    "code": {
                        "coding": [{"system": SNOMED, "code": LIVER}],
                        "text": "Creatinine, urine",
                    },
                    "valueInteger": 1,
                }
            ],
        },
    ],
    ids=["specimen", "display", "part of a panel"],
)
def test_words_beside_a_mapped_code_say_another_quantity_too(more: dict[str, Any]) -> None:
    payload = mapped({LIVER: {"to": "loinc:2160-0"}})
    serum = fhir.observation((SNOMED, LIVER), valueInteger=1)
    assert split(payload, serum).report["held back"] == {}
    held_back = split(payload, {**serum, **more}).report["held back"]
    assert held_back == {"its words say another quantity than its code": 1}


@pytest.mark.parametrize(
    ("meaning", "category"),
    [
        ({"to": "icd-10-cm:C50.9"}, 19),
        ({"category": "conditions"}, 19),
        ({"category": "hiv"}, 19),
        ({"to": "icd-10-cm:F32.9"}, None),  # in two sensitive categories: held back
        ({"category": "mental-health"}, None),
    ],
)
def test_a_map_takes_no_code_out_of_its_category(meaning: Any, category: int | None) -> None:
    """The custodian's value sets say HIV; so does a code beside it."""
    own = [{"category": 19, "system": SNOMED, "source": "own", "codes": [LIVER]}]
    listed = split(
        mapped({LIVER: meaning}),
        fhir.condition((SNOMED, LIVER)),
        sets=load_value_sets(json.dumps(own).encode(), SHIPPED),
    )
    beside = split(mapped({LIVER: meaning}), fhir.condition((SNOMED, LIVER), (fhir.CM, "B20")))
    for result in (listed, beside):
        kept = {"0": 1} if category is None else {"0": 1, str(category): 1}
        assert result.report["kept"] == kept


def test_a_category_alone_brings_in_the_code_under_a_system_of_our_own() -> None:
    payload = mapped(
        {"K7": {"category": "conditions"}, "K8": {"category": "substance-use"}}, HOSPITAL
    )
    result = split(payload, fhir.condition((HOSPITAL, "K7")), fhir.condition((HOSPITAL, "K8")))
    assert facts(result) == [(1, "mapped", "K7"), (17, "mapped", "K8")]
    procedure = split(payload, fhir.procedure((HOSPITAL, "K7")))
    assert procedure.report["held back"] == {"of another category than its code map says": 1}
    # That system is no way in for a file.
    known = fhir.condition(("urn:volens:mapped", "K7"))
    assert split(payload, known).report["held back"] == {"unknown code system": 1}
    forged = fhir.condition(("urn:volens:mapped", "K9"))
    assert split(payload, forged).report["held back"] == {"unknown code system": 1}
    assert split_bundle(fhir.bundle(forged), SUBJECT).report["held back"] == {
        "unknown code system": 1
    }


def test_the_category_of_a_map_is_compared_for_what_a_thing_is_only() -> None:
    codes = {"K7": {"category": "conditions"}, "K9": {"category": "lifestyle"}}
    payload = mapped(codes, HOSPITAL)
    why = fhir.procedure(reasonCode=[fhir.concept((HOSPITAL, "K7"))])
    assert split(payload, why).report["kept"] == {"0": 1, "4": 1}
    habit = split(payload, fhir.observation((HOSPITAL, "K9")))
    assert habit.report["kept"] == {"0": 1, "9": 1}


def test_a_target_that_is_too_broad_is_held_back_as_in_a_file() -> None:
    result = split(mapped({LIVER: {"to": "icd-10-cm:T36"}}), fhir.condition((SNOMED, LIVER)))
    assert result.report["held back"] == {"code too broad": 1}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "not well-formed"),
        (b"{}", "exactly system, source and codes"),
        (mapped({LIVER: {}}), "something else than to and category"),
        (mapped({LIVER: {"is": "x"}}), "something else than to and category"),
        (mapped({LIVER: {"to": []}}), "not 1 to 8 meanings"),
        (mapped({LIVER: {"to": "icd-10-cm:free text"}}), "no code of a known system"),
        (mapped({LIVER: {"to": "local:grade-4"}}), "no code of a known system"),
        (mapped({LIVER: {"to": 7}}), "no code of a known system"),
        (mapped({LIVER: {"category": "demographics"}}), "category is not known"),
        (mapped({LIVER: {"category": ["conditions"]}}), "category is not known"),
        (b"\r\n {}", "exactly system, source and codes"),
        (mapped({"C50": {"to": "icd-10-cm:C50"}}, URIS["icd-10"]), "a system that is known here"),
        (mapped({LIVER: {"to": "atc:L"}}, "urn:volens:mapped"), "a system that is known here"),
        (mapped({"1": {"to": "loinc:718-7"}}, "rxnorm"), "something else than its ingredients"),
        (mapped({"1": {"category": "hiv"}}, "rxnorm"), "something else than its ingredients"),
        (optional("icd-10"), "optional are codes of a system that is not known"),
        (optional(URIS["loinc"] + "/"), "optional are codes of a system that is not known"),
        (optional(SNOMED).replace(b"true", b"1"), "neither true nor false"),
        (b"what,is,this\n1,2,3\n", "names no columns"),
        (b"system,code,to\nurn:x,1\n", "not exactly system, code and to"),
        (b'system,code,to\nurn:x,"1', "quotation marks"),
        (b"\xff", "not UTF-8"),
        (b"id\tterm\nhers\tx\n", "does not begin with a concept"),
    ],
)
def test_a_malformed_map_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(PayloadError, match=f"^code map: .*{why}") as refused:
        load_code_map(payload)
    assert "hers" not in str(refused.value) + refused.value.hint
    header = {"message": f"code map 1 cannot be taken: {refused.value}", "hint": refused.value.hint}
    assert failure_of(header, set()) == (header["message"], refused.value.hint)


def test_hints_name_all_that_can_be_chosen() -> None:
    for payload, names in (
        (mapped({LIVER: {"category": "x"}}), code_map._CATEGORIES),
        (mapped({LIVER: {"to": "x"}}), code_map.TARGETS),
    ):
        with pytest.raises(PayloadError) as refused:
            load_code_map(payload)
        assert refused.value.hint.endswith(": " + ", ".join(names) + ".")


def test_a_table_is_a_map() -> None:
    rows = f"system,code,to\r\n{HOSPITAL},K7,icd-10-cm:I10\r\n{HOSPITAL},K7,atc:C03\r\n".encode()
    for payload in (rows, rows.replace(b",", b"\t")):
        (meaning,) = load_code_map(payload).codes.values()
        assert meaning.targets == (Coding(fhir.CM, "I10"), Coding(fhir.ATC, "C03"))


RF2 = (
    "id effectiveTime active moduleId refsetId referencedComponentId mapGroup mapPriority mapRule "
    "mapAdvice mapTarget correlationId mapCategoryId"
).split()


def rf2(
    *rows: tuple[str, str, str, str], refset: str = "6011000124106", active: str = "1"
) -> bytes:
    """A map of (concept, group, rule, target)."""
    lines = ["\t".join(RF2)]
    for concept, group, rule, target in rows:
        cells = ["x", "20260101", active, "1", refset, concept, group, "1", rule]
        lines.append("\t".join([*cells, f'ALWAYS "{target}', target, "1", "1"]))
    return ("\r\n".join(lines) + "\r\n").encode()


def test_rf2_gives_what_always_holds() -> None:
    conditional = (LIVER, "1", "IFA 445518008", "K76.9"), (LIVER, "1", "OTHERWISE TRUE", "K76.0")
    read = load_code_map(
        rf2(
            (TUMOUR, "1", "TRUE", "C50.9"),
            (SADNESS, "1", "TRUE", "B22.0"),
            (SADNESS, "2", "TRUE", "F02.80"),  # the second code is not lost
            *conditional,
            (DRUG, "1", "TRUE", ""),  # no code for it
        )
    )
    assert read.to_json() == {"codes": 2, "ambiguous": 2, "recognised": 0}
    assert read.codes[Coding(SNOMED, TUMOUR)].targets == (Coding(fhir.CM, "C50.9"),)
    assert len(read.codes[Coding(SNOMED, SADNESS)].targets) == 2
    international = load_code_map(rf2((TUMOUR, "1", "TRUE", "C50.9"), refset="447562003"))
    assert international.codes[Coding(SNOMED, TUMOUR)].targets == (Coding(URIS["icd-10"], "C50.9"),)
    for other in ({"active": "0"}, {"refset": "900000099"}):
        assert load_code_map(rf2((TUMOUR, "1", "TRUE", "C50.9"), **other)) == CodeMap({})


@pytest.mark.parametrize(
    "others", [[], [mapped({LIVER: {"category": "conditions"}})], ["international"]]
)
def test_an_ambiguous_concept_is_as_sensitive_as_all_its_codes(others: list[Any]) -> None:
    """No other map unlocks it, and beside a known code it still marks."""
    ambiguous = rf2((LIVER, "1", "IFA 248152002", "O98.71"), (LIVER, "1", "OTHERWISE TRUE", "B20"))
    sure = rf2((LIVER, "1", "TRUE", "R50"), refset="447562003")
    payloads = [ambiguous, *(sure if other == "international" else other for other in others)]
    sets = with_maps(SHIPPED, [load_code_map(payload) for payload in payloads])
    alone = split_bundle(fhir.bundle(fhir.condition((SNOMED, LIVER))), SUBJECT, sets)
    assert alone.report["held back"] == {"unknown code system": 1}
    beside = fhir.procedure(bodySite=[fhir.concept((SNOMED, LIVER))])
    assert split_bundle(fhir.bundle(beside), SUBJECT, sets).report["kept"] == {"0": 1, "19": 1}


def test_a_free_list_is_recognised_and_brings_in_nothing() -> None:
    listed = f"id\tactive\tterm\n{TUMOUR}\t1\tx\n{LIVER}\t0\tx\n".encode()
    assert load_code_map(listed).recognised == {Coding(SNOMED, TUMOUR)}
    result = split(listed, fhir.condition((SNOMED, TUMOUR)))
    assert result.report["held back"] == {"unknown code system": 1}


def test_a_code_of_an_optional_system_is_left_out_of_a_medicine_beside_a_known_one() -> None:
    both = fhir.order((fhir.RXNORM, "10324"), (NDC, "0310-0600"))
    medication = {
        "resourceType": "Medication",
        "id": "m",
        "code": fhir.concept((SNOMED, DRUG), (fhir.ATC, "L02BA01")),
    }
    referring = {
        **fhir.order(),
        "contained": [medication],
        "medicationReference": {"reference": "#m"},
    }
    result = split(optional(SNOMED, NDC), both, referring)
    assert result.report["held back"] == {}
    assert facts(result) == [(3, "atc", "L02BA01"), (3, "rxnorm", "10324")]
    kept = b"".join(result.records.values()).decode()
    assert not any(code in kept for code in (SNOMED, DRUG, NDC))
    without = split_bundle(fhir.bundle(both, referring), SUBJECT).report["held back"]
    assert without == {"unknown code system": 2}
    # It brings nothing in by itself.
    alone = split(optional(NDC), fhir.order((NDC, "0310-0600")))
    assert alone.report["held back"] == {"unknown code system": 1}


@pytest.mark.parametrize(
    "resource",
    [
        # A second code of a diagnosis, a result, an operation or a reason may turn the first around.
        fhir.condition((fhir.CM, "C50.911"), (SNOMED, TUMOUR)),
        fhir.observation(
            component=[
                {"code": fhir.concept((fhir.LOINC, "8480-6"), (LAB, "SYS")), "valueInteger": 120}
            ]
        ),
        fhir.observation(
            (fhir.LOINC, "85337-4"),
            valueCodeableConcept=fhir.concept((fhir.LOINC, "LA6576-8"), (SNOMED, LIVER)),
        ),
        {**fhir.procedure(), "code": fhir.concept((fhir.PCS, "0HTT0ZZ"), (SNOMED, LIVER))},
        fhir.order(
            (fhir.RXNORM, "10324"), reasonCode=[fhir.concept((SNOMED, TUMOUR), (fhir.CM, "C50.9"))]
        ),
        # One that is genetic by its system, one that is listed, and one that is malformed.
        fhir.order((fhir.RXNORM, "10324"), ("http://www.ncbi.nlm.nih.gov/clinvar", "1")),
        fhir.order((fhir.ATC, "Ann"), (SNOMED, DRUG)),
    ],
)
def test_nothing_else_is_left_out(resource: dict[str, Any]) -> None:
    result = split(optional(SNOMED, LAB, "http://www.ncbi.nlm.nih.gov/clinvar"), resource)
    assert result.report["kept"] == {"0": 1}
    assert sum(result.report["held back"].values()) == 1


def test_a_product_of_rxnorm_is_read_as_its_ingredients() -> None:
    products = {"860975": {"to": "atc:A10BA02"}, "900001": {"to": ["rxnorm:1", "atc:J05AR03"]}}
    payload = mapped(products, "rxnorm")
    metformin = fhir.order((fhir.RXNORM, "860975"))
    assert facts(split(payload, metformin)) == [(3, "atc", "A10BA02")]
    # What is in it decides about its category.
    against_hiv = split(payload, fhir.order((fhir.RXNORM, "900001")))
    assert against_hiv.report["kept"] == {"0": 1, "19": 1}
    in_a_circle = {"860975": {"to": "rxnorm:900001"}, "900001": {"to": "rxnorm:860975"}}
    circled = split(mapped(in_a_circle, URIS["rxnorm"]), metformin)
    assert facts(circled) == [(3, "rxnorm", "900001")]


def test_two_maps_say_both() -> None:
    maps = [
        load_code_map(mapped({LIVER: {"to": "icd-10-cm:K76.9"}})),
        load_code_map(mapped({LIVER: {"category": "mental-health"}})),
    ]
    result = split_bundle(
        fhir.bundle(fhir.condition((SNOMED, LIVER))), SUBJECT, with_maps(SHIPPED, maps)
    )
    assert {fact[0] for fact in facts(result)} == {Category.MENTAL_HEALTH}
