import copy
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir_files import (
    ABOUT,
    ACT_CODE,
    ATC,
    CM,
    CONFIDENTIALITY,
    LOINC,
    PCS,
    RXNORM,
    VERIFICATION,
    bundle,
    concept,
    condition,
    observation,
    order,
    procedure,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.errors import PayloadError
from analytics.readers import fhir
from analytics.readers.clinical import read_clinical_record
from analytics.readers.codes import (
    LOCAL,
    SENSITIVE,
    SHIPPED,
    UCUM,
    URIS,
    Coding,
    load_value_sets,
    sensitive_categories,
)
from analytics.readers.fhir import Split, bundle_of, split_bundle

SUBJECT = "ab" * 32
SYNTHEA = Path(__file__).parents[2] / "data" / "synthea"
FILES = sorted(SYNTHEA.glob("*.json.gz"))
SNOMED = "http://snomed.info/sct"


def split(*resources: dict[str, Any]) -> Split:
    return split_bundle(bundle(*resources), SUBJECT)


def entries_of(record: bytes) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in json.loads(record)["entry"]]


def only(*resources: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Category and reduced form of the only resource kept beside the patient."""
    ((category, record),) = [item for item in split(*resources).records.items() if item[0] != 0]
    (resource,) = entries_of(record)
    return category, resource


def held_back(*resources: dict[str, Any]) -> Any:
    result = split(*resources)
    assert set(result.records) == {0}
    return result.report["held back"]


def codings_in(value: Any) -> Iterator[Coding]:
    if isinstance(value, dict):
        if "system" in value and "code" in value:
            yield Coding(value["system"], value["code"])
        for item in value.values():
            yield from codings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from codings_in(item)


# --- what is kept
# ---------------------------------------------------------------------------------------------


def test_each_type_goes_to_its_category() -> None:
    result = split(condition((CM, "C50.911")), observation(), order((ATC, "L01EX02")), procedure())
    assert {
        category: len(entries_of(record)) for category, record in result.records.items()
    } == dict.fromkeys(range(5), 1)
    assert result.report["kept"] == {"0": 1, "1": 1, "2": 1, "3": 1, "4": 1}


def test_lifestyle_has_its_own_category() -> None:
    steps = observation(
        (LOINC, "41950-7"), valueQuantity={"value": 8000, "system": UCUM, "code": "1/d"}
    )
    assert only(steps)[0] == 9


def test_nothing_that_names_anybody_is_kept() -> None:
    patient = {
        "resourceType": "Patient",
        "id": "Canary-1",
        "gender": "female",
        "birthDate": "1960-05-17",
        "deceasedDateTime": "2019-08-07",
        "name": [{"family": "Canary"}],
        "telecom": [{"value": "Canary"}],
        "address": [{"city": "Canary"}],
        "identifier": [{"system": "urn:x", "value": "Canary"}],
        "contact": [{"name": {"text": "Canary"}}],
        "maritalStatus": {"text": "Canary"},
        "extension": [{"url": "urn:Canary", "valueString": "Canary"}],
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>Canary</script></div>',
        },
    }
    about = {"subject": {"reference": "Patient/Canary-1", "display": "Canary"}}
    noisy = {
        **about,
        "id": "Canary-2",
        "note": [{"text": "Canary"}],
        "meta": {"tag": [{"display": "Canary"}]},
        "encounter": {"reference": "Encounter/Canary"},
        "extension": [{"url": "urn:Canary", "valueString": "Canary"}],
        "text": patient["text"],
        "contained": [{"resourceType": "Patient", "id": "c", "name": [{"text": "Canary"}]}],
    }
    code = {
        "coding": [{"system": LOINC, "code": "4548-4", "display": "Canary", "version": "Canary"}],
        "text": "Canary",
    }
    amount = {"value": 7, "unit": "Canary", "system": UCUM, "code": "%"}
    resources = [
        patient,
        {
            **observation(),
            **noisy,
            "code": code,
            "valueQuantity": amount,
            "performer": [{"display": "Canary"}],
        },
        {**condition((CM, "C50.911")), **noisy, "recorder": {"display": "Canary"}},
        {**procedure(), **noisy},
    ]
    del resources[1]["valueInteger"]
    entries = [
        {"fullUrl": f"urn:uuid:Canary{n}", "resource": resource}
        for n, resource in enumerate(resources)
    ]
    for n, entry in enumerate(entries[1:]):
        entry["resource"]["id"] = f"Canary-{n + 2}"  # type: ignore[index]
    payload = json.dumps(
        {"resourceType": "Bundle", "type": "collection", "entry": entries}
    ).encode()
    result = split_bundle(payload, SUBJECT)
    assert set(result.records) == {0, 1, 2, 4}
    everything = b"".join(result.records.values()) + json.dumps(result.report).encode()
    assert b"Canary" not in everything
    assert b"script" not in everything
    (person,) = entries_of(result.records[0])
    assert (person["birthDate"], person["deceasedDateTime"]) == ("1960", "2019")
    (kept,) = entries_of(result.records[2])
    assert set(kept) == {"resourceType", "status", "code", "subject", "valueQuantity"}
    assert kept["subject"] == {"reference": f"urn:volens:subject:{SUBJECT}"}


def test_times_are_cut_to_the_day() -> None:
    assert only(order((ATC, "L01EX02")))[1]["authoredOn"] == "2012-03-04"
    assert only(condition((CM, "I10"), onsetDateTime="2011"))[1]["onsetDateTime"] == "2011"
    period = {"start": "2010-01-01", "end": "2010-02-02T00:00:00Z"}
    drug = {"resourceType": "MedicationStatement", "status": "active", **ABOUT}
    statement = {
        **drug,
        "medicationCodeableConcept": concept((ATC, "L01EX02")),
        "effectivePeriod": period,
    }
    assert only(statement)[1]["effectivePeriod"] == {"start": "2010-01-01", "end": "2010-02-02"}
    assert only(observation(effectivePeriod=period))[1]["effectiveDateTime"] == "2010-02-02"
    late = {**condition((CM, "I10")), "recordedDate": "2013-01-01"}
    del late["onsetDateTime"]
    assert only(late)[1]["recordedDate"] == "2013-01-01"


def test_an_annotation_in_a_unit_is_free_text() -> None:
    def unit(code: str) -> object:
        return only(observation(valueQuantity={"value": 7, "system": UCUM, "code": code}))[1][
            "valueQuantity"
        ]["code"]

    assert unit("{Canary}/min") == "1/min"
    assert unit("mg{Canary}/dL") == "mg/dL"
    assert unit("mL/min/{1.73_m2}") == "mL/min/{1.73_m2}"
    assert held_back(observation(valueQuantity={"value": 7, "system": UCUM, "code": "Ann Canary"}))


def test_a_medication_may_be_in_the_same_file() -> None:
    drug = {"resourceType": "Medication", "id": "m", "code": concept((RXNORM, "36437"))}
    category, kept = only(order(medicationReference={"reference": "Medication/m"}), drug)
    assert (category, kept["medicationCodeableConcept"]) == (16, concept((RXNORM, "36437")))
    inside = {**drug, "code": concept((ATC, "J05AR10"))}
    assert only(order(medicationReference={"reference": "#m"}, contained=[inside]))[0] == 19
    assert held_back(order(medicationReference={"reference": "Medication/elsewhere"})) == {
        "no code": 1
    }


def test_the_records_are_valid_r4_and_the_same_for_the_same_input() -> None:
    resources = [
        condition((CM, "I10")),
        observation(),
        order((ATC, "L01EX02")),
        condition((CM, "C50")),
        procedure(),
    ]
    result = split(*resources)
    for record in result.records.values():
        assert Bundle.model_validate(json.loads(record)).type == "collection"
    assert split(*resources) == result
    assert split(*resources[::-1]).records == result.records


# --- sensitive routing
# ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "category"),
    [
        (condition((CM, "F32.9")), 16),
        (order((RXNORM, "36437")), 16),
        (procedure((PCS, "GZ10ZZZ")), 16),
        (order((ATC, "N07BC02")), 17),
        (observation((LOINC, "43304-5")), 18),
        (order((ATC, "J05AR10")), 19),
        (order((ATC, "L01EX02"), (RXNORM, "1999667")), 19),
        (observation((LOINC, "56888-1")), 19),
        (observation(component=[{"code": concept((LOINC, "56888-1")), "valueInteger": 1}]), 19),
        (order((ATC, "L01EX02"), reasonCode=[concept((CM, "B20"))]), 19),
        (procedure(bodySite=[concept((CM, "F32"))]), 16),
        (observation(meta={"security": concept((ACT_CODE, "HIV"))["coding"]}), 19),
    ],
)
def test_a_sensitive_code_decides_whatever_the_type(
    resource: dict[str, Any], category: int
) -> None:
    assert only(resource)[0] == category


def test_a_drug_for_a_sensitive_diagnosis_is_sensitive() -> None:
    reason = condition((CM, "F10.20"), id="c")
    result = split(reason, order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}]))
    assert result.report["kept"] == {"0": 1, "17": 2}


def given_for(*references: Any, reason: dict[str, Any], full: str | None = None) -> Any:
    """The result for a drug given for these references; the reason is the only diagnosis."""
    exported = json.loads(bundle(reason, order((ATC, "C07AA05"), reasonReference=list(references))))
    exported["entry"][1] |= {} if full is None else {"fullUrl": full}
    report = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    return report["kept"], report["held back"]


@pytest.mark.parametrize(
    "reason",
    [
        condition(("http://snomed.info/sct", "35489007"), id="c1"),
        condition((CM, "I10"), ("urn:own", "x"), id="c1"),
        {**condition(id="c1"), "code": {"text": "Canary"}},
    ],
)
def test_a_drug_for_an_unreadable_reason_is_held_back(
    reason: dict[str, Any],
) -> None:
    kept, held_back = given_for({"reference": "Condition/c1"}, reason=reason)
    assert kept == {"0": 1}
    assert held_back["a reason whose code is not known here"] == 1
    assert given_for({"reference": "Condition/c1"}, reason=condition((CM, "I10"), id="c1"))[0] == {
        "0": 1,
        "1": 1,
        "3": 1,
    }


DEPRESSION = condition((CM, "F32.1"), id="c1")
AS_SENSITIVE, HELD_BACK = (
    ({"0": 1, "16": 2}, {}),
    ({"0": 1, "16": 1}, {"a reason that is not in the file": 1}),
)


@pytest.mark.parametrize(
    ("reference", "full", "becomes"),
    [
        ("Condition/c1", None, AS_SENSITIVE),
        ("Condition/c1/_history/1", None, AS_SENSITIVE),
        ("http://host/fhir/Condition/c1", None, AS_SENSITIVE),
        ("https://host/fhir/Condition/c1/_history/7", None, AS_SENSITIVE),
        ("http://host/fhir/Condition/c1", "urn:uuid:1", AS_SENSITIVE),
        ("http://host/fhir/Condition/c1", "http://host/fhir/Condition/c1", AS_SENSITIVE),
        ("http://host/fhir/Condition/c1/_history/1", "http://host/fhir/Condition/c1", AS_SENSITIVE),
        ("http://another/fhir/Condition/c1", "http://host/fhir/Condition/c1", HELD_BACK),
        ("Condition/c2", None, HELD_BACK),
        ("Condition/c1/_history/", None, HELD_BACK),
        ("http://host/fhir/Observation/c1", None, HELD_BACK),
        ("http://host/fhir/Condition/c1?x", None, HELD_BACK),
        ("Condition?identifier=x|1", None, HELD_BACK),
        ("#gone", None, HELD_BACK),
    ],
)
def test_a_reason_is_found_or_its_drug_is_held_back(
    reference: str, full: str | None, becomes: Any
) -> None:
    assert given_for({"reference": reference}, reason=DEPRESSION, full=full) == becomes
    harmless = condition((CM, "I10"), id="c3")
    both = split(
        DEPRESSION,
        harmless,
        order(
            (ATC, "C07AA05"),
            reasonReference=[
                {"reference": "Condition/c3"},
                {"display": "Canary", "identifier": {"value": "F32"}},
            ],
        ),
    )
    assert both.report["held back"] == {"a reason that is not in the file": 1}


def test_a_reason_of_another_version_is_not_the_reason() -> None:
    known = {**DEPRESSION, "meta": {"versionId": "2"}}
    assert given_for({"reference": "Condition/c1/_history/2"}, reason=known) == AS_SENSITIVE
    assert given_for({"reference": "Condition/c1/_history/1"}, reason=known) == HELD_BACK


def test_a_reason_is_read_once_however_often_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    walked, walk = [], fhir._walk

    def counted(value: Any) -> Iterator[Coding]:
        walked.append(isinstance(value, dict) and value.get("id"))
        return walk(value)

    monkeypatch.setattr(fhir, "_walk", counted)
    given = order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}] * 20)
    result = split(condition((CM, "F32"), id="c"), *[given] * 20)
    assert result.report["kept"] == {"0": 1, "16": 21}
    assert walked.count("c") <= 2  # for its marks, and for the medicines that it names


def test_a_drug_that_many_orders_name_does_not_multiply_the_file() -> None:
    drug = {"resourceType": "Medication", "id": "m", "code": concept(*[(ATC, "L01EX02")] * 65)}
    named = order(medicationReference={"reference": "Medication/m"})
    assert held_back(named, drug) == {"more codes than one thing has": 1}
    drug["code"]["coding"].pop()
    assert only(named, drug)[0] == 3
    with pytest.raises(PayloadError, match="records are larger"):
        split(drug, *[named] * 1_500)


def label(system: str | None, code: str | None) -> dict[str, Any]:
    return {"meta": {"security": concept((system, code))["coding"]}}


STU3_ACT, ACT_OID = "http://hl7.org/fhir/v3/ActCode", "urn:oid:2.16.840.1.113883.5.4"
STU3_CONFIDENTIALITY, ACT_REASON = (
    "http://hl7.org/fhir/v3/Confidentiality",
    ACT_CODE.replace("ActCode", "ActReason"),
)
UNKNOWN, MARKED = (
    "a security label that this reader does not know",
    "marked restricted by its source",
)
LABELS = [
    (ACT_CODE, "HIV", 19),
    (STU3_ACT, "HIV", 19),
    (ACT_OID, "HIV", 19),
    (ACT_CODE, "PSY", 16),
    (CONFIDENTIALITY, "R", MARKED),
    (CONFIDENTIALITY, "V", MARKED),
    (STU3_CONFIDENTIALITY, "R", MARKED),
    ("urn:oid:2.16.840.1.113883.5.25", "V", MARKED),
    (None, "HIV", UNKNOWN),
    (ACT_CODE, "SDV", UNKNOWN),
    (ACT_CODE, None, UNKNOWN),
    ("urn:x", "N", UNKNOWN),
    (None, "N", UNKNOWN),
    (CONFIDENTIALITY, "X", UNKNOWN),
    (CONFIDENTIALITY, "N", None),
    (CONFIDENTIALITY, "L", None),
    (CONFIDENTIALITY, "M", None),
    (CONFIDENTIALITY, "U", None),
    (STU3_CONFIDENTIALITY, "N", None),
    (ACT_REASON, "HTEST", None),
]


@pytest.mark.parametrize(("system", "code", "becomes"), LABELS)
def test_a_label_routes_or_holds_back_unless_it_is_known_to_be_harmless(
    system: str | None, code: str | None, becomes: int | str | None
) -> None:
    marked = label(system, code)
    inside = observation(contained=[{**condition((CM, "I10"), id="r"), **marked}])
    if code == "HTEST":  # of one result of a record that is real
        becomes = "test data in a record that is none"
    for resource in (observation(**marked), inside):
        if isinstance(becomes, str):
            assert held_back(resource) == {becomes: 1}
        else:
            assert only(resource)[0] == (2 if becomes is None else becomes)


@pytest.mark.parametrize(("system", "code", "becomes"), LABELS)
def test_a_label_of_the_file_or_person_applies_to_everything(
    system: str | None, code: str | None, becomes: int | str | None
) -> None:
    exported = json.loads(bundle(observation()))
    exported["entry"][0]["resource"] |= label(system, code)
    for payload in (json.dumps(exported).encode(), bundle(observation(), **label(system, code))):
        report = split_bundle(payload, SUBJECT).report
        if becomes is None:
            assert report["kept"] == {"0": 1, "2": 1}
        elif isinstance(becomes, int):  # a sensitive record holds no person
            assert (report["kept"], report["held back"]) == ({str(becomes): 1}, {MARKED: 1})
        else:
            assert (report["kept"], report["held back"]) == ({}, {becomes: 2})


def test_an_unknown_label_beside_a_sensitive_code_may_be_a_second_category() -> None:
    assert held_back(condition((CM, "F32.1"), **label(ACT_CODE, "SDV"))) == {UNKNOWN: 1}
    assert only(condition((CM, "F32.1"), **label(CONFIDENTIALITY, "R")))[0] == 16


def test_a_hospitals_own_labels_are_known() -> None:
    listed = [{"category": 19, "system": ACT_OID, "source": "a hospital", "codes": ["OWN"]}]
    sets = load_value_sets(json.dumps(listed).encode(), SHIPPED)
    assert set(
        split_bundle(bundle(observation(**label(ACT_OID, "OWN"))), SUBJECT, sets).records
    ) == {0, 19}


def test_long_lists_of_empty_entries_are_refused() -> None:
    with pytest.raises(PayloadError, match="more values than"):
        split_bundle(bundle(zq=[[]] * 150_000), SUBJECT)


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (condition((CM, "F32.9"), (CM, "B20")), "in two sensitive categories"),
        (condition((SNOMED, "86406008")), "unknown code system"),
        (condition((CM, "C50.911"), (SNOMED, "254837009")), "unknown code system"),
        (condition((SNOMED, None)), "no code"),
        (condition(), "no code"),
        ({**condition(), "code": {"text": "Canary"}}, "no code"),
        (condition((CM, "Z71")), "code too broad"),
        (condition((CM, "Ann")), "malformed code"),
        (observation((LOCAL, "hiv-status")), "unknown local code"),
        (observation(valueCodeableConcept=concept((SNOMED, "165816005"))), "unknown code system"),
        (observation(valueCodeableConcept={"text": "HIV positive"}), "no code"),
        (
            observation(component=[{"code": concept((SNOMED, "1")), "valueInteger": 1}]),
            "unknown code system",
        ),
        (
            observation(valueString="HIV positive"),
            "free text, or a kind of value that is not taken",
        ),
        (
            observation(component=[{"code": concept((LOINC, "8480-6")), "valueString": "Canary"}]),
            "free text, or a kind of value that is not taken",
        ),
        (
            observation(valueQuantity={"value": 7, "unit": "mg"}),
            "a quantity without number or UCUM unit",
        ),
        (observation(component=[]), "no value"),
        (order((ATC, "L01EX02"), reasonCode=[{"text": "for depression"}]), "unknown code system"),
        (
            observation(focus=[{"reference": "RelatedPerson/x"}]),
            "about somebody or something else than the person",
        ),
        (observation(status="entered-in-error"), "not a fact by its status"),
        (observation(status="preliminary"), "not a fact by its status"),
        (order((ATC, "L01EX02"), intent="plan"), "not a fact by its status"),
        (order((ATC, "L01EX02"), doNotPerform=True), "a modifier that this reader does not know"),
        (
            procedure(modifierExtension=[{"url": "urn:x"}]),
            "a modifier that this reader does not know",
        ),
        (
            observation(
                component=[
                    {
                        "code": concept((LOINC, "8480-6")),
                        "valueInteger": 1,
                        "modifierExtension": [{"url": "urn:x"}],
                    }
                ]
            ),
            "a modifier that this reader does not know",
        ),
        (procedure(status="not-done"), "not a fact by its status"),
        (
            condition((CM, "C50.911"), verificationStatus=concept((VERIFICATION, "refuted"))),
            "not a fact by its status",
        ),
        (
            condition(
                (CM, "C50.911"), meta={"security": concept((CONFIDENTIALITY, "R"))["coding"]}
            ),
            "marked restricted by its source",
        ),
    ],
)
def test_uninterpretable_resources_are_held_back_and_counted(
    resource: dict[str, Any], why: str
) -> None:
    assert held_back(resource) == {why: 1}


def test_a_stagings_focus_is_the_persons_own_cancer() -> None:
    cancer = condition((CM, "C50.911"), id="c")
    result = split(cancer, observation((LOINC, "21908-9"), focus=[{"reference": "Condition/c"}]))
    assert result.report["kept"] == {"0": 1, "1": 1, "2": 1}


def test_a_hospitals_own_value_sets_route_as_well() -> None:
    listed = [{"category": 19, "system": "rxnorm", "source": "a hospital", "codes": ["999999"]}]
    sets = load_value_sets(json.dumps(listed).encode(), SHIPPED)
    payload = bundle(order((RXNORM, "999999")))
    assert set(split_bundle(payload, SUBJECT).records) == {0, 3}
    assert set(split_bundle(payload, SUBJECT, sets).records) == {0, 19}


ORDINARY = [
    (CM, "C50.911"),
    (LOINC, "4548-4"),
    (ATC, "L01EX02"),
    (RXNORM, "314231"),
    (SNOMED, "1"),
    (None, "x"),
]
LISTED = st.sampled_from(
    sorted(
        (URIS.get(system, system), code)
        for system, codes in SHIPPED.categories.items()
        for code in codes
    )
)


@st.composite
def resources(draw: st.DrawFn) -> tuple[dict[str, Any], bool]:
    """A resource with codes anywhere in it, and whether one of them is sensitive."""
    codes: list[Any] = draw(
        st.lists(st.one_of(LISTED, st.sampled_from(ORDINARY)), min_size=1, max_size=3)
    )
    code = draw(st.sampled_from(ORDINARY[:4]))
    made: dict[str, Any] = draw(
        st.sampled_from(
            [
                condition(*codes),
                condition(code, evidence=[{"code": [concept(*codes)]}]),
                condition(
                    code, extension=[{"url": "urn:x", "valueCodeableConcept": concept(*codes)}]
                ),
                observation(code, valueCodeableConcept=concept(*codes)),
                observation(code, component=[{"code": concept(*codes), "valueInteger": 1}]),
                observation(code, method=concept(*codes)),
                order(*codes),
                order(code, reasonCode=[concept(*codes)]),
                order(
                    medicationReference={"reference": "#m"},
                    contained=[{"resourceType": "Medication", "id": "m", "code": concept(*codes)}],
                ),
                {**procedure(code), "usedCode": [concept(*codes)]},
            ]
        )
    )
    return copy.deepcopy(made), any(
        sensitive_categories(Coding(*coding), SHIPPED) for coding in codes
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(resources(), min_size=1, max_size=5))
def test_no_sensitive_resource_is_in_an_ordinary_record(
    made: list[tuple[dict[str, Any], bool]],
) -> None:
    marks = []
    for n, (resource, sensitive) in enumerate(made):
        for element in ("onsetDateTime", "effectiveDateTime", "authoredOn", "performedDateTime"):
            resource.pop(element, None)
        times = {
            "Condition": "onsetDateTime",
            "Observation": "effectiveDateTime",
            "MedicationRequest": "authoredOn",
        }
        resource[times.get(resource["resourceType"], "performedDateTime")] = f"19{n:02d}-01-01"
        marks += [f"19{n:02d}-01-01".encode()] if sensitive else []
    result = split(*(resource for resource, _ in made))
    for category, record in result.records.items():
        categories = {
            frozenset(sensitive_categories(coding, SHIPPED))
            for coding in codings_in(json.loads(record))
        }
        if category in SENSITIVE:
            assert categories <= {frozenset(), frozenset({category})}
        else:
            assert categories <= {frozenset()}
            assert not any(mark in record for mark in marks)
    assert sum(len(entries_of(record)) for record in result.records.values()) == sum(
        result.report["kept"].values()
    )  # type: ignore[attr-defined]
    assert sums(result.report) == 1 + len(made)


def sums(report: Any) -> int:
    return sum(sum(report[part].values()) for part in ("kept", "held back", "not taken"))


# --- hospital-like bundles
# ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_patient_of_the_fixture_is_split(path: Path) -> None:
    payload = gzip.decompress(path.read_bytes())
    result = split_bundle(payload, SUBJECT)
    report: Any = result.report
    assert sums(report) == report["seen"] == len(json.loads(payload)["entry"])
    assert report["kept"]["0"] == 1
    assert report["kept"]["2"] > 50
    assert report["held back"]["no code"] > 0  # SNOMED CT, taken out of the fixture
    patient = next(
        e["resource"]
        for e in json.loads(payload)["entry"]
        if e["resource"]["resourceType"] == "Patient"
    )
    everything = b"".join(result.records.values()).decode()
    identifiers = [identifier["value"] for identifier in patient["identifier"]]
    for secret in (patient["name"][0]["family"], patient["birthDate"], patient["id"], *identifiers):
        assert secret not in everything
    clinical = read_clinical_record(result.records, SUBJECT)
    assert clinical.birth_year == int(patient["birthDate"][:4])
    assert {"bmi", "systolic_mmhg"} & {reading.variable for reading in clinical.readings}
    assert len(clinical.readings) == report["values"]["read"] + report["values"].get("converted", 0)


def test_the_fixture_is_seven_people_and_small() -> None:
    assert len(FILES) == 7
    assert len(list(SYNTHEA.glob("*.vcf.gz"))) == 3
    assert sum(path.stat().st_size for path in SYNTHEA.iterdir()) < 1_500_000


def test_a_built_bundle_is_split_and_read() -> None:
    payload = bundle_of(
        SUBJECT,
        gender="male",
        birth_year=1950,
        conditions=[("icd-10-cm", "C50.911", "2010-05-06"), ("icd-10-cm", "F32.9", None)],
        observations=[
            ("bmi", 31.5, "2012-03-04"),
            ("smoker", 1, "2012"),
            ("metastasis", True, None),
            ("steps_per_day", 8000, "2012-03-04"),
            (("loinc", "56888-1"), False, "2012-03-04"),
        ],
        medications=[("rxnorm", "36437", "2012-03-04"), ("atc", "L01EX02", "2013-01-01")],
        procedures=[("icd-10-pcs", "0HBT0ZZ", "2012-03-04")],
    )
    assert Bundle.model_validate(json.loads(payload))
    result = split_bundle(payload, SUBJECT)
    assert result.report["kept"] == {
        "0": 1,
        "1": 1,
        "2": 3,
        "3": 1,
        "4": 1,
        "9": 1,
        "16": 2,
        "19": 1,
    }
    assert result.report["held back"] == {}
    clinical = read_clinical_record(result.records, SUBJECT)
    assert {(r.variable, r.value) for r in clinical.readings} == {
        ("bmi", 31.5),
        ("smoker", 1.0),
        ("metastasis", 1.0),
        ("steps_per_day", 8000.0),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"conditions": [("snomed", "1", None)]},
        {"observations": [("shoe_size", 43, None)]},
        {"observations": [("grade", 4, None)]},
    ],
)
def test_a_bundle_of_unknown_codes_is_not_built(arguments: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        bundle_of(SUBJECT, gender="male", birth_year=1950, **arguments)


def test_a_lost_resource_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy(list[Any]):
        """All are counted; the last is not looked at."""

        def __iter__(self) -> Iterator[Any]:
            return iter(self[:-1])

    read = fhir.read_source
    monkeypatch.setattr(
        fhir,
        "read_source",
        lambda *more: replace(source := read(*more), resources=Lossy(source.resources)),
    )
    with pytest.raises(PayloadError, match="do not add up"):
        split_bundle(bundle(condition((CM, "C50.911")), observation()), SUBJECT)
