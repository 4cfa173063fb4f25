import ast
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fhir_files import (
    ATC,
    CM,
    LOINC,
    RXNORM,
    VERIFICATION,
    asked,
    bundle,
    concept,
    condition,
    mutated,
    nested,
    observation,
    order,
    procedure,
    searched,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from speed import allowed

from analytics.errors import PayloadError
from analytics.readers.bundle import (
    CONFIDENTIALITY,
    MAX_BYTES,
    MAX_ENTRIES,
    MAX_OBJECTS,
    MAX_VALUES,
    NO_TOTAL,
)
from analytics.readers.clinical import read_clinical_record
from analytics.readers.codes import UCUM
from analytics.readers.fhir import split_bundle
from api.ingest import parser_messages as lanewords

SUBJECT = "ab" * 32
STRANGER = "urn:volens:subject:" + "cd" * 32


def tampered(tamper: Callable[[dict[str, Any]], object]) -> bytes:
    exported = json.loads(bundle(condition((CM, "C50.911"), id="c"), observation(id="o")))
    tamper(exported)
    return json.dumps(exported).encode()


def resource_of(exported: dict[str, Any], at: int) -> dict[str, Any]:
    result: dict[str, Any] = exported["entry"][at]["resource"]
    return result


BAD: dict[str, bytes] = {
    "not JSON": b"Canary",
    "a list": b"[]",
    "NaN around the entries": bundle(zq=7).replace(b": 7", b": NaN"),
    "a long number around the entries": bundle(zq=7).replace(b": 7", b": " + b"7" * 41),
    "half a character around the entries": bundle(Canary="\ud800"),
    "half a character as a key around the entries": bundle(**{"\ud800": "Canary"}),
    "its entries twice": bundle().replace(b'"entry":', b'"entry": [], "entry":'),
    "duplicate key": bundle().replace(b'"type":', b'"type": "collection", "type":'),
    "deep": bundle().replace(b'"p"', b"[" * 400 + b"]" * 400),
    "R5 bundle type": bundle(kind="subscription-notification"),
    "a history": bundle(kind="history"),
    "one page": bundle(link=[{"relation": "next", "url": "https://Canary"}]),
    "the last page": bundle(link=[{"relation": "previous", "url": "https://Canary"}]),
    "a total of more": searched(4, "match", "match", "include"),
    "a total of more without modes": bundle(observation(), kind="searchset", total=500),
    "a patch of whatever fits": asked("PATCH").replace(b'"zq"', b'"Observation?code=Canary"'),
    "a patch of nothing": asked("PATCH").replace(b', "url": "zq"', b""),
    "a total that only copies reach": tampered(
        lambda b: (b["entry"].append(b["entry"][1]), b.update(type="searchset", total=4))
    ),
    "no entries": tampered(lambda b: b.update(entry=[])),
    "no patient": tampered(lambda b: b.update(entry=[{"resource": {"resourceType": "Encounter"}}])),
    "two patients": bundle({"resourceType": "Patient", "id": "q"}),
    "another subject": tampered(
        lambda b: resource_of(b, 1)["subject"].update(reference="Patient/q")
    ),
    "another volens subject": tampered(
        lambda b: resource_of(b, 1)["subject"].update(reference=STRANGER)
    ),
    "another patient at an address": tampered(
        lambda b: resource_of(b, 1)["subject"].update(reference="http://host/Patient/q")
    ),
    "her id at another address than hers": tampered(
        lambda b: (
            b["entry"][0].update(fullUrl="http://host/Patient/p"),
            resource_of(b, 1)["subject"].update(reference="http://other/Patient/p"),
        )
    ),
    "another patient's version": tampered(
        lambda b: resource_of(b, 1)["subject"].update(reference="Patient/q/_history/2")
    ),
    "two patients of one id": bundle({"resourceType": "Patient", "id": "p", "gender": "male"}),
    "no id of hers is valid": tampered(lambda b: resource_of(b, 0).update(id=5)),
    "she has no id": tampered(lambda b: resource_of(b, 0).pop("id")),
    "she has two ids": bundle(observation()).replace(b'"id": "p"', b'"id": "p", "id": "Canary"'),
    "her labels twice": bundle(observation()).replace(
        b'"id": "p"', b'"id": "p", "meta": {"security": [], "security": []}'
    ),
    "its meta as text": bundle(meta="Canary"),
    "its labels as text": bundle(meta={"security": "Canary"}),
    "the patient's meta as text": tampered(lambda b: resource_of(b, 0).update(meta="Canary")),
}

# A duplicate key is written with a sign that makes it unique in a dict and that `twice` removes.
COUNT = concept((LOINC, "718-7"))


def twice(*resources: dict[str, Any], **more: Any) -> bytes:
    return bundle(*resources, **more).replace(b'~"', b'"')


ABSENT: Any = ({"fullUrl": "urn:uuid:1"}, {"response": {"status": "201"}}, None, "Canary")
DEVICE = {"resourceType": "Device", "id": "d"}


NOBODY = (
    "Canary",
    "patient/q",
    "/Patient/q",
    "Patient/",
    "Patient/q/",
    "Patient?identifier=urn:x|1",
    "Patient/q/Observation/1",
    "Practitioner/q",
    "RelatedPerson/q",
    "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7",
)


def about(reference: str) -> bytes:
    return bundle({**observation(), "subject": {"reference": reference}}, condition((CM, "I10")))


# One resource is wrong, and only that one is held back: its type and element are R4's own words.
UNFIT: dict[str, tuple[bytes, str]] = {
    "unknown type": (
        tampered(lambda b: b["entry"].append({"resource": {"resourceType": "Canary"}})),
        "not a type of FHIR R4",
    ),
    "type as list": (
        tampered(lambda b: b["entry"].append({"resource": {"resourceType": ["Patient"]}})),
        "not a type of FHIR R4",
    ),
    "no subject": (
        tampered(lambda b: resource_of(b, 2).pop("subject")),
        "does not say whom it is about: Observation",
    ),
    "subject by name": (
        tampered(lambda b: resource_of(b, 2).update(subject={"display": "Canary"})),
        "does not say whom it is about: Observation",
    ),
    "status unknown to R4": (
        tampered(lambda b: resource_of(b, 2).update(status="Canary")),
        "not valid FHIR R4: Observation.status",
    ),
    "no status": (
        tampered(lambda b: resource_of(b, 2).pop("status")),
        "not valid FHIR R4: Observation.status",
    ),
    "verification unknown to R4": (
        tampered(
            lambda b: resource_of(b, 1).update(verificationStatus=concept((VERIFICATION, "Canary")))
        ),
        "not valid FHIR R4: Condition.verificationStatus",
    ),
    "gender unknown to R4": (
        tampered(lambda b: resource_of(b, 0).update(gender="Canary")),
        "not valid FHIR R4: Patient.gender",
    ),
    "intent unknown to R4": (
        bundle(order((ATC, "L01EX02"), intent="Canary")),
        "not valid FHIR R4: MedicationRequest.intent",
    ),
    "comparator unknown to R4": (
        bundle(
            observation(
                valueQuantity={"value": 1, "comparator": "Canary", "system": UCUM, "code": "%"}
            )
        ),
        "not valid FHIR R4: Observation.valueQuantity.comparator",
    ),
    "R5 medication": (
        bundle({**order(), "medication": {"concept": concept((RXNORM, "36437"))}}),
        "not valid FHIR R4: MedicationRequest",
    ),
    "unknown element": (
        tampered(lambda b: resource_of(b, 1).update(canary="Canary")),
        "not valid FHIR R4: Condition",
    ),
    "impossible date": (
        tampered(lambda b: resource_of(b, 1).update(onsetDateTime="2019-02-30")),
        "not valid FHIR R4: Condition.onsetDateTime",
    ),
    "two values": (
        tampered(lambda b: resource_of(b, 2).update(valueBoolean=True)),
        "not valid FHIR R4: Observation",
    ),
    "code as number": (
        tampered(lambda b: resource_of(b, 1).update(code=7)),
        "not valid FHIR R4: Condition.code",
    ),
    "subject as number": (
        tampered(lambda b: resource_of(b, 1).update(subject=7)),
        "not valid FHIR R4: Condition.subject",
    ),
    "impossible day": (
        tampered(lambda b: resource_of(b, 2).update(effectiveDateTime="2019-02-31T08:00:00Z")),
        "not valid FHIR R4: Observation.effectiveDateTime",
    ),
    "a word in a list": (
        tampered(lambda b: resource_of(b, 2)["code"]["coding"][0].update(code=["Canary"])),
        "not valid FHIR R4: Observation.code.coding.code",
    ),
    "unknown element below": (
        tampered(lambda b: resource_of(b, 2)["code"]["coding"][0].update(Canary="Canary")),
        "not valid FHIR R4: Observation.code.coding",
    ),
    "birth date of words": (
        tampered(lambda b: resource_of(b, 0).update(birthDate="Canary")),
        "not valid FHIR R4: Patient.birthDate",
    ),
    "about a device": (
        about("Device/d"),
        "about something else than a patient: Observation.subject",
    ),
    "about a place": (
        about("http://host/fhir/Location/d/_history/1"),
        "about something else than a patient: Observation.subject",
    ),
    "about a group": (
        about("Group/d"),
        "about something else than a patient: Observation.subject",
    ),
    "about a device inside": (
        bundle(
            {**observation(contained=[DEVICE]), "subject": {"reference": "#d"}},
        ),
        "about something else than a patient: Observation.subject",
    ),
    **{
        f"about {reference}": (
            about(reference),
            "does not clearly say whom it is about: Observation.subject",
        )
        for reference in NOBODY
    },
    "about nothing": (about(""), "not valid FHIR R4: Observation.subject.reference"),
    "about a patient inside": (
        bundle(
            {
                **observation(contained=[{"resourceType": "Patient", "id": "x"}]),
                "subject": {"reference": "#x"},
            }
        ),
        "does not clearly say whom it is about: Observation.subject",
    ),
    "about her id at some address": (
        about("http://host/fhir/Patient/p"),
        "about a patient at an address that the file does not give for the person: Observation.subject",
    ),
    "a number out of range": (
        bundle(observation(valueQuantity={"value": 5.25, "system": UCUM, "code": "%"})).replace(
            b"5.25", b"1e400"
        ),
        "a number out of range: Observation.valueQuantity",
    ),
    "a number out of all range": (
        bundle(
            {"resourceType": "Basic", "extension": [{"url": "x", "valueDecimal": 5.25}]}
        ).replace(b"5.25", b"1e9999999999999999999"),
        "a number out of range: Basic.extension",
    ),
    "a number out of range in an element that R4 does not have": (
        bundle(observation(Canary=5.25)).replace(b"5.25", b"1e400"),
        "a number out of range: Observation",
    ),
    "a number out of range in a type that R4 does not have": (
        bundle({"resourceType": "Canary", "x": 5.25}).replace(b"5.25", b"1e400"),
        "a number out of range",
    ),
    "deep and not taken": (
        bundle({"resourceType": "Basic", "extension": [nested(50)]}),
        "nested deeper than 32: Basic.extension",
    ),
    "deep and taken": (
        bundle(observation(extension=[nested(50)])),
        "nested deeper than 32: Observation.extension",
    ),
    "the patient's date of change": (
        tampered(lambda b: resource_of(b, 0).update(meta={"lastUpdated": "2019-02-03"})),
        "not valid FHIR R4: Patient.meta.lastUpdated",
    ),
    "a copy": (
        tampered(lambda b: b["entry"].append(b["entry"][1])),
        "a copy of another resource of the file",
    ),
    "a copy of the patient": (
        tampered(lambda b: b["entry"].append(b["entry"][0])),
        "a copy of another resource of the file",
    ),
    "a patch": (asked("PATCH"), "a change (PATCH), not a resource"),
    **{
        f"an entry that is {json.dumps(entry)}": (
            tampered(lambda b, entry=entry: b["entry"].append(entry)),
            "an entry that has no resource",
        )
        for entry in ABSENT
    },
    **{
        f"a number that is {text[:9]!r}": (
            bundle(observation(), condition((CM, "I10"))).replace(b": 7", b": " + text),
            f"JSON: {why}: Observation.valueInteger",
        )
        for text, why in {
            b"NaN": "NaN and Infinity are not JSON",
            b"-Infinity": "NaN and Infinity are not JSON",
            b"7" * 5000: "a number is too long",
            b"7." + b"7" * 5000: "a number is too long",
            b'7, "valueInteger": 7': "an object has the same key twice",
        }.items()
    },
    "a key twice below": (
        twice({**observation(), "code": {"text~": "Canary", **COUNT, "text": "Canary"}}),
        "JSON: an object has the same key twice: Observation.code",
    ),
    "a key twice and not R4's": (
        twice(observation(Canary=1, **{"Canary~": 2})),
        "JSON: an object has the same key twice: Observation",
    ),
    "its type twice": (
        twice({"resourceType~": "Canary", **observation()}),
        "JSON: an object has the same key twice",
    ),
    "half a character": (
        bundle({**observation(), "code": {**COUNT, "text": "Canary\ud800"}}),
        "JSON: a string holds half a character: Observation.code",
    ),
    "half a character as a key": (
        bundle(observation(**{"Canary\ud800": 1})),
        "JSON: a string holds half a character: Observation",
    ),
    "a fault of an entry": (
        tampered(lambda b: b["entry"][2].update(fullUrl="urn:x:1", search={"score": 9.5})).replace(
            b"9.5", b"NaN"
        ),
        "JSON: NaN and Infinity are not JSON: Observation",
    ),
    "two addresses of an entry": (
        tampered(lambda b: b["entry"][2].update({"fullUrl": "urn:x:1", "fullUrl~": "u:2"})).replace(
            b"~", b""
        ),
        "JSON: an object has the same key twice: Observation",
    ),
    "an entry that is not JSON": (
        tampered(lambda b: b["entry"].append("Canary\ud800")),
        "JSON: a string holds half a character",
    ),
    "a resource that is not JSON": (
        tampered(lambda b: b["entry"].append({"resource": "Canary\ud800"})),
        "JSON: a string holds half a character",
    ),
    "the patient's key twice": (
        bundle(observation()).replace(b'"id": "p"', b'"id": "p", "id": "p"'),
        "JSON: an object has the same key twice: Patient.id",
    ),
    "her meta twice": (
        bundle(observation()).replace(b'"id": "p"', b'"id": "p", "meta": {}, "meta": {}'),
        "JSON: an object has the same key twice: Patient.meta",
    ),
    "the patient's meta as null": (
        tampered(lambda b: resource_of(b, 0).update(meta=None)),
        "not valid FHIR R4: Patient.meta",
    ),
    "null for a value": (
        bundle(observation(note=None)),
        "not valid FHIR R4: Observation.note",
    ),
    "null below": (
        bundle(observation(extension=[{"url": "urn:x", "valueString": None}])),
        "not valid FHIR R4: Observation.extension",
    ),
    **{
        f"an id that is {value!r:.9}": (
            bundle(observation(id=value), condition((CM, "I10"))),
            "not valid FHIR R4: Observation.id",
        )
        for value in ("", 5, None, "Canary_1", "C" * 65, ["Canary"])
    },
    "an id of hers that is not valid": (
        tampered(
            lambda b: (
                resource_of(b, 0).update(id=5),
                b["entry"][0].update(fullUrl="urn:uuid:1"),
                [resource_of(b, n)["subject"].update(reference="urn:uuid:1") for n in (1, 2)],
            )
        ),
        "not valid FHIR R4: Patient.id",
    ),
    "a contained type of its own": (
        tampered(lambda b: resource_of(b, 2).update(contained=[{"resourceType": "Canary"}])),
        "not valid FHIR R4: Observation",
    ),
}


@pytest.mark.parametrize(("payload", "why"), UNFIT.values(), ids=UNFIT.keys())
def test_one_unfit_resource_is_held_back_alone_and_named(payload: bytes, why: str) -> None:
    """Once, such a resource refused all data of the person without naming the cause."""
    result = split_bundle(payload, SUBJECT)
    report: Any = result.report
    assert report["held back"] == {why: 1}
    assert sum(report["kept"].values()) == report["seen"] - 1 > 0
    everything = b"".join(result.records.values()) + json.dumps(report).encode()
    assert b"Canary" not in everything
    read_clinical_record(result.records, SUBJECT)


SAME = "another resource of the file has the same id or fullUrl"
PAIRS: dict[str, tuple[bytes, dict[str, int]]] = {
    "ids that are no ids": (
        bundle(observation(id=""), observation(id="", valueInteger=8), condition((CM, "I10"))),
        {"not valid FHIR R4: Observation.id": 2},
    ),
    "one id": (
        bundle(observation(id="x"), observation(id="x", valueInteger=8), condition((CM, "I10"))),
        {f"{SAME}: Observation.id": 2},
    ),
    "one id, a number written otherwise": (
        bundle(
            observation(id="o", valueInteger=1),
            observation(id="o", valueInteger=True),
            condition((CM, "I10")),
        ),
        {f"{SAME}: Observation.id": 2},
    ),
    "one id thrice": (
        bundle(
            observation(id="x"),
            observation(id="x", valueInteger=8),
            observation(id="x"),
            condition((CM, "I10")),
        ),
        {f"{SAME}: Observation.id": 2, "a copy of another resource of the file": 1},
    ),
    "one fullUrl": (
        tampered(lambda b: [b["entry"][n].update(fullUrl="urn:uuid:1") for n in (0, 2)]),
        {f"{SAME}: Patient.id": 1, f"{SAME}: Observation.id": 1},
    ),
    "one id of what is not taken": (
        bundle({"resourceType": "Basic", "id": "x"}, {"resourceType": "Basic", "id": "x", "y": 1}),
        {f"{SAME}: Basic.id": 2},
    ),
    "two resources in one entry": (
        tampered(
            lambda b: b["entry"].append(
                {"resource": condition((CM, "B20")), "resource~": observation()}
            )
        ).replace(b"~", b""),
        {
            "JSON: an object has the same key twice: Condition": 1,
            "JSON: an object has the same key twice: Observation": 1,
        },
    ),
    "an id of hers that another resource has as its address": (
        tampered(
            lambda b: (
                b["entry"][1].update(fullUrl="Patient/p"),
                b["entry"][0].update(fullUrl="urn:uuid:1"),
                resource_of(b, 2)["subject"].update(reference="urn:uuid:1"),
            )
        ),
        {f"{SAME}: Patient.id": 1, f"{SAME}: Condition.id": 1},
    ),
}


@pytest.mark.parametrize(("payload", "why"), PAIRS.values(), ids=PAIRS.keys())
def test_two_indistinguishable_resources_are_both_held_back(
    payload: bytes, why: dict[str, int]
) -> None:
    """Once, this refused all data of the person."""
    report: Any = split_bundle(payload, SUBJECT).report
    assert report["held back"] == why
    assert sum(report["kept"].values()) == report["seen"] - sum(why.values()) > 0


def test_a_name_of_two_resources_means_neither() -> None:
    """One of the two is HIV: a drug for either may be for it."""
    reasons = condition((CM, "B20"), id="c"), condition((CM, "I10"), id="c")
    given = order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}])
    for pair in (reasons, reasons[::-1]):
        report: Any = split_bundle(bundle(*pair, given), SUBJECT).report
        assert report["kept"] == {"0": 1}
        assert report["held back"]["a reason that is not in the file"] == 1


def test_an_address_shared_with_a_device_does_not_name_the_patient() -> None:
    exported = json.loads(bundle(DEVICE, observation(), condition((CM, "I10"))))
    for at in (0, 1):
        exported["entry"][at]["fullUrl"] = "urn:uuid:1"
    resource_of(exported, 2)["subject"] = {"reference": "urn:uuid:1"}
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {"1": 1}
    why = "does not clearly say whom it is about: Observation.subject"
    assert report["held back"] == {f"{SAME}: Patient.id": 1, f"{SAME}: Device.id": 1, why: 1}


def test_a_patient_without_valid_id_may_be_any_patient() -> None:
    """Possible resources of the patient are held back; with an invalid id, other people's files are
    indistinguishable."""
    exported = json.loads(bundle(observation(), {**condition((CM, "I10"))}))
    exported["entry"][0]["fullUrl"] = "urn:uuid:1"
    resource_of(exported, 0)["id"] = "Canary_1"
    resource_of(exported, 2)["subject"] = {"reference": "urn:uuid:1"}
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {"1": 1}
    assert report["held back"] == {
        "does not clearly say whom it is about: Observation.subject": 1,
        "not valid FHIR R4: Patient.id": 1,
    }
    with pytest.raises(PayloadError, match="its Patient has no valid id and no fullUrl"):
        split_bundle(BAD["no id of hers is valid"], SUBJECT)


def test_an_empty_second_fullurl_is_ignored() -> None:
    exported = json.loads(bundle(observation(), observation(valueInteger=8)))
    for entry, full_url in zip(exported["entry"], (None, "", ""), strict=True):
        entry["fullUrl"] = full_url
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {"0": 1, "2": 2}


@pytest.mark.parametrize("total", [None, "Canary", True, [], 0.5])
def test_a_total_that_is_not_a_number_is_ignored(total: object) -> None:
    report: Any = split_bundle(bundle(observation(), total=total), SUBJECT).report
    assert report["kept"] == {"0": 1, "2": 1}
    assert report["notes"][-1] == NO_TOTAL
    assert NO_TOTAL not in split_bundle(bundle(observation()), SUBJECT).report["notes"]  # type: ignore[operator]


def test_null_around_the_entries_is_ignored() -> None:
    payload = bundle(observation(), link=None, meta=None)
    assert split_bundle(payload, SUBJECT).report["kept"] == {"0": 1, "2": 1}


def test_a_number_out_of_range_around_a_resource_is_ignored() -> None:
    payload = bundle(observation(), zq=9.5).replace(b"9.5", b"1e400")
    assert split_bundle(payload, SUBJECT).report["kept"] == {"0": 1, "2": 1}


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("DELETE", "a deletion (DELETE), not a resource"),
        ("delete", "a deletion (DELETE), not a resource"),
        ("GET", "a search or read (GET), not a resource"),
        ("HEAD", "a search or read (HEAD), not a resource"),
    ],
)
def test_a_request_without_a_resource_is_not_taken(method: str, kind: str) -> None:
    report: Any = split_bundle(asked(method), SUBJECT).report
    assert (report["kept"], report["held back"]) == ({"0": 1, "2": 1}, {})
    assert report["not taken"] == {kind: 1}


def test_a_resource_that_is_deleted_as_well_is_held_back() -> None:
    gone = "a deletion of it (DELETE) is in the file"
    exported = json.loads(bundle(observation(id="o"), condition((CM, "I10"), id="c")))
    exported["entry"].append({"request": {"method": "DELETE", "url": "Observation/o"}})
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert (report["kept"], report["held back"]) == ({"0": 1, "1": 1}, {gone: 1})
    assert report["not taken"] == {"a deletion (DELETE), not a resource": 1}


def test_a_copy_is_held_back_and_the_resource_is_kept_once() -> None:
    report: Any = split_bundle(UNFIT["a copy"][0], SUBJECT).report
    assert report["kept"] == {"0": 1, "1": 1, "2": 1}
    person: Any = split_bundle(UNFIT["a copy of the patient"][0], SUBJECT).report
    assert person["kept"] == {"0": 1, "1": 1, "2": 1}


def test_a_resource_that_a_patch_changes_is_held_back_as_well() -> None:
    exported = json.loads(bundle(observation(id="o"), condition((CM, "I10"), id="c")))
    change = {"resource": {"resourceType": "Parameters"}}
    change["request"] = {"method": "PATCH", "url": "Observation/o"}
    exported["entry"].append(change)
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {"0": 1, "1": 1}
    assert report["held back"] == {
        "a change (PATCH), not a resource": 1,
        "a change to it (PATCH) is in the file": 1,
    }


def test_a_device_of_the_file_is_not_a_patient_under_any_name() -> None:
    exported = json.loads(about("urn:uuid:7"))
    exported["entry"].append({"fullUrl": "urn:uuid:7", "resource": DEVICE})
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["held back"] == {"about something else than a patient: Observation.subject": 1}


@pytest.mark.parametrize(
    "reference",
    ["Patient/p/_history/2", "http://host/fhir/Patient/p", "http://host/fhir/Patient/p/_history/2"],
)
def test_resources_not_taken_may_reference_the_person_in_any_way(reference: str) -> None:
    for element in ("subject", "patient", "beneficiary"):
        claim = {"resourceType": "Claim", element: {"reference": reference}}
        report: Any = split_bundle(bundle(claim, observation()), SUBJECT).report
        assert report["kept"] == {"0": 1, "2": 1}
        assert report["not taken"] == {"Claim": 1}


@pytest.mark.parametrize("element", ["subject", "patient", "beneficiary"])
def test_resources_not_taken_may_be_about_anybody(element: str) -> None:
    """A father's insurance and a mother's entry once refused the patient."""
    claims = [
        {"resourceType": "Coverage", element: {"reference": reference}}
        for reference in ("Patient/father", *NOBODY)
    ]
    report: Any = split_bundle(bundle(*claims, observation()), SUBJECT).report
    assert report["kept"] == {"0": 1, "2": 1}
    assert report["not taken"] == {"Coverage": len(claims)}


def test_a_version_of_the_person_is_the_person() -> None:
    report: Any = split_bundle(about("Patient/p/_history/2"), SUBJECT).report
    assert report["kept"] == {"0": 1, "1": 1, "2": 1}


ELSEWHERE = "about a patient at an address that the file does not give for the person"
OTHERS = "of something that is about somebody else"


def placed(*full_urls: str | None) -> Any:
    """The report for a patient and observations about Patient/p with these fullUrls."""
    exported = json.loads(bundle(*[observation(id=f"o{n}") for n, _ in enumerate(full_urls[1:])]))
    for entry, full_url in zip(exported["entry"], full_urls, strict=True):
        entry |= {} if full_url is None else {"fullUrl": full_url}
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    return report["kept"], report["held back"]


@pytest.mark.parametrize(
    ("patient", "observed"),
    [
        ("http://a.org/fhir/Patient/p", "http://b.org/fhir/Observation/o0"),
        ("http://a.org/fhir/Patient/p", "https://a.org:8443/fhir/Observation/o0"),
        ("http://a.org/fhir/Patient/p", "HTTP://b.org/fhir/Observation/o_0/_history/1"),
        ("http://a.org/fhir/Patient/p", "http://a.org/other/fhir/Observation/o0?x"),
    ],
)
def test_a_relative_reference_is_of_the_server_of_its_entry(patient: str, observed: str) -> None:
    """R4 bundle.html#references: Patient/p of another server is somebody else, and was once taken
    as the patient."""
    kept, held_back = placed(
        patient, observed, "http://a.org/fhir/Observation/o1", "urn:uuid:1", None
    )
    assert kept == {"0": 1, "2": 3}
    assert held_back == {f"{ELSEWHERE}: Observation.subject": 1}


def test_the_person_is_on_the_only_server_of_the_file() -> None:
    first, second = "http://a.org/fhir/Observation/o0", "http://b.org/fhir/Observation/o1"
    for patient in (None, "urn:uuid:1"):
        assert placed(patient, first, None) == ({"0": 1, "2": 2}, {})
        assert placed(patient, first, second) == (
            {"0": 1},
            {f"{ELSEWHERE}: Observation.subject": 2},
        )


@pytest.mark.parametrize(
    "name",
    [
        "https://a.org/fhir/Patient/p",
        "HTTP://A.Org/fhir/Patient/p",
        "https://a.org:443/fhir/Patient/p",
        "http://a.org:80/fhir/Patient/p/_history/3",
    ],
)
def test_an_address_is_recognised_in_any_spelling(name: str) -> None:
    """Once it counted as another person (R4 http.html; RFC 3986 section 6.2)."""
    about_her = {**observation(), "subject": {"reference": name}}
    exported = json.loads(bundle(about_her))
    exported["entry"][0]["fullUrl"] = "http://a.org/fhir/Patient/p"
    assert split_bundle(json.dumps(exported).encode(), SUBJECT).report["kept"] == {"0": 1, "2": 1}


@pytest.mark.parametrize(
    "name",
    [
        "https://a.org:80/fhir/Patient/p",
        "http://a.org/FHIR/Patient/p",
        "http://a.org.evil/fhir/Patient/p",
    ],
)
def test_a_different_address_is_another_person(name: str) -> None:
    about_her = {**observation(), "subject": {"reference": name}}
    exported = json.loads(bundle(about_her))
    exported["entry"][0]["fullUrl"] = "http://a.org/fhir/Patient/p"
    with pytest.raises(PayloadError, match="another subject"):
        split_bundle(json.dumps(exported).encode(), SUBJECT)


UUID = "0a8bd7e2-8d5c-4b7e-9d3b-2f1c5a7e9b10"


@pytest.mark.parametrize(
    ("own", "stated"),
    [
        ({"id": UUID}, f"urn:uuid:{UUID}"),
        ({"fullUrl": f"urn:uuid:{UUID}"}, f"Patient/{UUID}"),
        ({"fullUrl": f"urn:uuid:{UUID}", "id": UUID}, f"Patient/{UUID}"),
    ],
)
def test_a_uuid_is_recognised_in_any_spelling(own: dict[str, str], stated: str) -> None:
    exported = json.loads(bundle({**observation(), "subject": {"reference": stated}}))
    entry = exported["entry"][0]
    del entry["resource"]["id"]
    entry |= {name: value for name, value in own.items() if name == "fullUrl"}
    entry["resource"] |= {name: value for name, value in own.items() if name == "id"}
    assert split_bundle(json.dumps(exported).encode(), SUBJECT).report["kept"] == {"0": 1, "2": 1}


def test_a_repeated_patient_with_another_meta_is_one_person() -> None:
    """Exports that join several queries do this; the labels of both count."""
    exported = json.loads(bundle(observation()))
    again = copy.deepcopy(exported["entry"][0])
    again["resource"]["meta"] = {"versionId": "2", "lastUpdated": "2026-01-01T00:00:00Z"}
    exported["entry"].append(again)
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {"0": 1, "2": 1}
    assert report["held back"] == {"a copy of another resource of the file": 1}
    again["resource"]["meta"]["security"] = [{"system": CONFIDENTIALITY, "code": "R"}]
    report = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {}
    again["resource"]["gender"] = "male"
    with pytest.raises(PayloadError, match="more than one patient"):
        split_bundle(json.dumps(exported).encode(), SUBJECT)


@pytest.mark.parametrize("kind", ["batch", "document"])
def test_other_bundles_that_hold_a_chart_are_read(kind: str) -> None:
    composition = {"resourceType": "Composition", "id": "c"}
    payload = bundle(composition, observation(), kind=kind)
    assert split_bundle(payload, SUBJECT).report["kept"] == {"0": 1, "2": 1}


@pytest.mark.parametrize(
    ("stated", "kept"), [("N", {"0": 1, "2": 1}), (None, {"0": 1, "2": 1}), ("R", {}), (["V"], {})]
)
def test_the_confidentiality_of_a_document_applies_to_everything(
    stated: object, kept: object
) -> None:
    composition = {"resourceType": "Composition", "id": "c", "confidentiality": stated}
    payload = bundle(composition, observation(), kind="document")
    assert split_bundle(payload, SUBJECT).report["kept"] == kept


def test_null_is_not_a_label() -> None:
    exported = json.loads(bundle(observation())) | {"meta": {"security": None}}
    assert split_bundle(json.dumps(exported).encode(), SUBJECT).report["kept"] == {"0": 1, "2": 1}


def test_a_byte_order_mark_is_ignored() -> None:
    plain = bundle(observation())
    assert split_bundle(b"\xef\xbb\xbf" + plain, SUBJECT) == split_bundle(plain, SUBJECT)


def test_a_patient_without_an_id_is_known_by_address() -> None:
    exported = json.loads(bundle(observation()))
    del exported["entry"][0]["resource"]["id"]
    for entry, name in zip(
        exported["entry"], ("Patient/p/_history/4", "Observation/o"), strict=True
    ):
        entry["fullUrl"] = f"http://a.org/fhir/{name}"
    assert split_bundle(json.dumps(exported).encode(), SUBJECT).report["kept"] == {"0": 1, "2": 1}


def test_a_reason_of_another_server_is_not_in_the_file() -> None:
    exported = json.loads(
        bundle(
            condition((CM, "I10"), id="c"),
            {
                **order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}]),
                "subject": {"reference": "http://a.org/fhir/Patient/p"},
            },
        )
    )
    for entry, name in zip(
        exported["entry"],
        ("a.org/fhir/Patient/p", "a.org/fhir/Condition/c", "b.org/fhir/MedicationRequest/m"),
        strict=True,
    ):
        entry["fullUrl"] = f"http://{name}"
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["held back"] == {"a reason that is not in the file": 1}


@pytest.mark.parametrize(
    "url",
    [
        "http://hl7.org/fhir/StructureDefinition/observation-focusCode",
        "http://hl7.org/fhir/StructureDefinition/observation-focal-subject",
        "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.focus",
    ],
)
def test_an_observation_of_somebody_else_by_an_extension_is_held_back(url: str) -> None:
    mother = {"extension": [{"url": url, "valueCodeableConcept": {"text": "mother"}}]}
    why = "about somebody or something else than the person: Observation.extension"
    part = {"code": concept((LOINC, "8480-6")), "valueInteger": 1, **mother}
    for resource in (observation(**mother), observation(component=[part])):
        report: Any = split_bundle(bundle(resource, observation()), SUBJECT).report
        assert (report["kept"], report["held back"]) == ({"0": 1, "2": 1}, {why: 1})


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ("Patient", True),
        ("http://hl7.org/fhir/StructureDefinition/Patient", True),
        ("RelatedPerson", False),
        ("http://hl7.org/fhir/StructureDefinition/RelatedPerson", False),
        ("Group", False),
    ],
)
def test_a_subject_of_another_type_is_not_the_person(kind: str, taken: bool) -> None:
    typed = {**observation(), "subject": {"reference": "Patient/p", "type": kind}}
    report: Any = split_bundle(bundle(typed), SUBJECT).report
    why = {"does not clearly say whom it is about: Observation.subject": 1}
    assert report["held back"] == ({} if taken else why)


SOMEBODY_ELSE: tuple[dict[str, Any], ...] = (
    {"reference": "Patient/9"},
    {"reference": "http://b.org/fhir/Patient/9"},
    {"reference": "http://b.org/fhir/Patient/p"},
    {"reference": "Group/donors"},
    {"reference": "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"},
    {"reference": "Patient/p", "type": "RelatedPerson"},
)
TO_O, TO_S = {"reference": "Observation/o"}, {"reference": "Specimen/s"}
REPORT = {"resourceType": "DiagnosticReport", "id": "r", "status": "final"}
SPECIMEN = {"resourceType": "Specimen", "id": "s"}
ASKED = {"resourceType": "ServiceRequest", "id": "g", "code": concept((LOINC, "58410-2"))}
# Resources about their subject, and resources of the person that are linked to them.
HANGS: dict[str, tuple[dict[str, Any], tuple[dict[str, Any], ...]]] = {
    "specimen": (SPECIMEN, (observation(specimen=TO_S),)),
    "specimen of a specimen": (
        SPECIMEN,
        (
            {"resourceType": "Specimen", "id": "t", "parent": [TO_S]},
            observation(specimen={"reference": "Specimen/t"}),
        ),
    ),
    "report": (
        {**REPORT, "code": concept((LOINC, "58410-2")), "result": [TO_O]},
        (observation(id="o"),),
    ),
    "order": (ASKED, (observation(basedOn=[{"reference": "ServiceRequest/g"}]),)),
    "report of a procedure": (
        {**REPORT, "code": concept((LOINC, "58410-2"))},
        (procedure(report=[{"reference": "DiagnosticReport/r"}]),),
    ),
}


@pytest.mark.parametrize("somebody", SOMEBODY_ELSE, ids=str)
@pytest.mark.parametrize("what", HANGS)
def test_what_hangs_on_something_about_somebody_else_is_held_back(
    what: str, somebody: dict[str, Any]
) -> None:
    """Only that resource is held back: other results of the person are kept."""
    origin, hangs = HANGS[what]
    kind = hangs[-1]["resourceType"]
    other = observation((LOINC, "718-7"))
    full = json.loads(bundle({**origin, "subject": somebody}, *hangs, other))
    full["entry"][0]["fullUrl"] = "http://a.org/fhir/Patient/p"
    report: Any = split_bundle(json.dumps(full).encode(), SUBJECT).report
    assert (report["kept"], report["held back"]) == ({"0": 1, "2": 1}, {f"{OTHERS}: {kind}": 1})
    for same_person in ({"subject": {"reference": "Patient/p"}}, {}):
        assert not split_bundle(bundle({**origin, **same_person}, *hangs), SUBJECT).report[
            "held back"
        ]


def test_a_contained_specimen_of_somebody_else_is_detected() -> None:
    inside = {**SPECIMEN, "subject": {"reference": "Patient/9"}}
    result = split_bundle(
        bundle(observation(contained=[inside], specimen={"reference": "#s"})), SUBJECT
    )
    assert result.report["held back"] == {f"{OTHERS}: Observation": 1}


def test_the_last_updated_date_of_the_file_is_ignored() -> None:
    report: Any = split_bundle(bundle(observation(), meta={"lastUpdated": "2019-02-03"}), SUBJECT)
    assert report.report["kept"] == {"0": 1, "2": 1}


def test_what_is_held_back_still_tells_of_its_neighbours() -> None:
    """A diagnosis that is invalid R4 is in no record, but drugs for it stay sensitive."""
    spoilt_reason = condition((CM, "B20"), id="c", canary="Canary")
    given = order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}])
    result = split_bundle(bundle(spoilt_reason, given), SUBJECT)
    assert set(result.records) == {0, 19}
    stranger = {**observation(canary="Canary"), "subject": {"reference": "Patient/q"}}
    with pytest.raises(PayloadError, match="another subject"):
        split_bundle(bundle(stranger), SUBJECT)


GENE = {"resourceType": "ServiceRequest", "id": "g", "code": concept((LOINC, "69548-6"))}
# What is said twice of something genetic, and what hangs on each of both.
TWICE: dict[str, tuple[dict[str, Any], tuple[dict[str, Any], ...]]] = {
    "id": (
        {**GENE, "id~": "h"},
        tuple(observation(basedOn=[{"reference": f"ServiceRequest/{name}"}]) for name in "gh"),
    ),
    "code": (
        {**GENE, "code~": COUNT},
        (observation(basedOn=[{"reference": "ServiceRequest/g"}]),),
    ),
    "reference": (
        {
            **REPORT,
            "code": GENE["code"],
            "result": [{"reference": "Observation/a", "reference~": "Observation/b"}],
        },
        (observation(id="a"), observation(id="b")),
    ),
    "result": (
        {
            **REPORT,
            "code": GENE["code"],
            "result": [{"reference": "Observation/a"}],
            "result~": [{"reference": "Observation/b"}],
        },
        (observation(id="a"), observation(id="b")),
    ),
    "coding": (
        {
            **observation(hasMember=[{"reference": "Observation/a"}]),
            "code": {"coding": [{"system": LOINC, "code": "69548-6", "code~": "718-7"}]},
        },
        (observation(id="a"),),
    ),
    "system": (
        {
            **observation(hasMember=[{"reference": "Observation/a"}]),
            "code": {"coding": [{"system~": "urn:x", "system": LOINC, "code": "69548-6"}]},
        },
        (observation(id="a"),),
    ),
    "identifier": (
        {**GENE, "identifier": [{"system": "urn:a", "value": "1", "value~": "2"}]},
        tuple(
            observation(
                basedOn=[
                    {
                        "type": "ServiceRequest",
                        "identifier": {"system": "urn:a", "value": number},
                    }
                ]
            )
            for number in "12"
        ),
    ),
    "type": (
        {"resourceType~": "Basic", **GENE},
        (observation(basedOn=[{"reference": "ServiceRequest/g"}]),),
    ),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("what", TWICE)
def test_what_says_a_thing_twice_tells_its_neighbours_both(what: str, swapped: bool) -> None:
    """Parsers differ in which value they take: either may make a result genetic."""
    stated, hangs = TWICE[what]
    stated = dict(reversed(stated.items())) if swapped else stated
    report: Any = split_bundle(twice(stated, *hangs), SUBJECT).report
    assert set(report["kept"]) <= {"0", "5"}
    assert report["kept"].get("5", 0) + sum(report["held back"].values()) == len(hangs) + 1


def test_a_specimen_of_two_people_is_somebody_elses() -> None:
    for element in ("subject~", "reference~"):
        subject = {"reference": "Patient/p"}
        subject |= {"reference~": "Patient/9"} if element == "reference~" else {}
        specimen = {**SPECIMEN, "subject": subject}
        specimen |= {"subject~": {"reference": "Patient/9"}} if element == "subject~" else {}
        report: Any = split_bundle(twice(specimen, observation(specimen=TO_S)), SUBJECT).report
        assert report["held back"][f"{OTHERS}: Observation"] == 1


def test_an_order_of_a_held_back_medication_is_held_back() -> None:
    drug = {"resourceType": "Medication", "id": "m", "code": concept((ATC, "L01EX02"))}
    given = order(medicationReference={"reference": "Medication/m"})
    assert split_bundle(bundle(drug, given), SUBJECT).report["held back"] == {}
    report: Any = split_bundle(twice({**drug, "status": "active", "status~": "x"}, given), SUBJECT)
    assert report.report["held back"] == {
        "JSON: an object has the same key twice: Medication.status": 1,
        "its medication is held back": 1,
    }


def test_a_type_that_is_not_text_raises_no_error() -> None:
    """A list cannot be looked up in a set; references to such a resource raised TypeError."""
    strange = {"resourceType": ["Observation"], "id": "x"}
    reference = {"reference": "urn:uuid:1"}
    pointing = observation(
        focus=[reference],
        basedOn=[reference],
        extension=[{"url": "urn:x", "valueReference": reference}],
    )
    exported = json.loads(bundle(strange, pointing, observation()))
    exported["entry"][1]["fullUrl"] = "urn:uuid:1"
    report: Any = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    assert report["kept"] == {"0": 1, "2": 1}


def test_many_resources_of_one_name_are_read_quickly() -> None:
    """Converting the large one to text for each of the small ones takes minutes."""
    large = observation(id="x", note=[{"text": "x" * 3_000_000}])
    small = [{"resourceType": "Observation", "id": "x", "y": n} for n in range(10_000)]
    began = time.process_time()
    report: Any = split_bundle(bundle(large, *small), SUBJECT).report
    assert report["held back"] == {f"{SAME}: Observation.id": 10_001}
    assert time.process_time() - began < allowed(10, time.process_time)


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_an_untrustworthy_file_is_refused_entirely(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        split_bundle(payload, SUBJECT)
    assert "Canary" not in str(refused.value) + refused.value.hint
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_complete_search_answers_and_put_requests_are_taken() -> None:
    for payload in (
        searched(2, "match", "match", "include"),
        searched(3, "match", "match", "match"),
        searched(3, "match", "match", "include"),  # a server that counts all it sends
        asked("PUT"),
        bundle(
            observation(), kind="searchset", total=2, link=[{"relation": "self", "url": "urn:x"}]
        ),
    ):
        assert split_bundle(payload, SUBJECT).report["kept"]


@pytest.mark.parametrize("broken", [None, [], "Canary", 7, {}, {"method": None}, {"mode": ["x"]}])
@pytest.mark.parametrize("element", ["request", "search", "response"])
def test_a_malformed_request_of_an_entry_is_ignored(element: str, broken: object) -> None:
    payload = tampered(
        lambda b: (b.update(type="searchset", total=3), b["entry"][1].update({element: broken}))
    )
    assert split_bundle(payload, SUBJECT).report["kept"] == {"0": 1, "1": 1, "2": 1}


@pytest.mark.parametrize(
    ("identifier", "taken"),
    [
        ({"system": "urn:mrn", "value": "1"}, True),
        ({"system": "urn:mrn", "value": "1b"}, True),  # the person has two of this system
        ({"system": "urn:mrn", "value": "2"}, False),
        ({"system": "urn:insurance", "value": "2"}, True),  # nobody can say
        ({"value": "2"}, True),
        ({"system": "urn:mrn"}, True),
    ],
)
def test_a_reference_with_somebody_elses_identifier_is_held_back(
    identifier: dict[str, str], taken: bool
) -> None:
    exported = json.loads(
        bundle(observation(subject={"reference": "Patient/p", "identifier": identifier}))
    )
    exported["entry"][0]["resource"]["identifier"] = [
        {"system": "urn:mrn", "value": value} for value in ("1", "1b")
    ]
    report = split_bundle(json.dumps(exported).encode(), SUBJECT).report
    why = "its reference names the person, and its identifier somebody else: Observation.subject"
    assert report["held back"] == ({} if taken else {why: 1})
    assert lanewords.are_fhir_reports({SUBJECT: report}, {SUBJECT})


def test_a_subject_is_64_hex_characters() -> None:
    with pytest.raises(PayloadError):
        split_bundle(bundle(), "Canary")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_file_is_split_or_refused_and_raises_nothing_else(data: st.DataObject) -> None:
    exported = json.loads(
        bundle(
            condition((CM, "C50.911")),
            observation(
                component=[
                    {
                        "code": concept((LOINC, "8480-6")),
                        "valueQuantity": {"value": 120, "system": UCUM, "code": "mm[Hg]"},
                    }
                ]
            ),
            order((ATC, "L01EX02"), reasonCode=[concept((CM, "I10"))]),
        )
    )
    mutated(exported, data)
    try:
        result = split_bundle(json.dumps(exported).encode(), SUBJECT)
    except PayloadError:
        return
    report: Any = result.report
    assert (
        sum(sum(report[part].values()) for part in ("kept", "held back", "not taken"))
        == report["seen"]
    )
    read_clinical_record(result.records, SUBJECT)


EXTENSION = {"url": "urn:x", "valueString": "x"}
TOO_MUCH: dict[str, tuple[bytes, str]] = {
    "bytes": (bundle()[:-1] + b" " * MAX_BYTES + b"}", "larger than"),
    "values": (bundle(zq=[0.5] * (MAX_VALUES + 1)), "more values than 200000"),
    "objects": (bundle(zq=[{"a": 1}] * (MAX_OBJECTS + 1)), "more objects than"),
    "entries": (
        bundle(*[{"resourceType": "Basic"}] * MAX_ENTRIES),
        f"more entries than {MAX_ENTRIES}",
    ),
    "a wide letter": (
        bundle(zq="x" * 4_000_000 + "W").replace(b'W"', '\U0001f600"'.encode()),
        "more memory than",
    ),
    "an escaped wide letter": (bundle(zq="x" * 4_000_000 + "\U0001f600"), "more memory than"),
    "a letter of two bytes": (bundle(zq="x" * 7_500_000 + "\u20ac"), "more memory than"),
}


@pytest.mark.parametrize(("payload", "why"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_oversized_files_are_refused(payload: bytes, why: str) -> None:
    with pytest.raises(PayloadError, match=why):
        split_bundle(payload, SUBJECT)


@pytest.mark.parametrize("at", [0, 1])
def test_a_resource_of_more_values_than_a_statement_has_is_held_back(at: int) -> None:
    long = tampered(lambda b: resource_of(b, at).update(extension=[EXTENSION] * 2_500))
    report: Any = split_bundle(long, SUBJECT).report
    assert report["held back"] == {"more values than a statement about a person has": 1}
    assert sum(report["kept"].values()) == 2


def test_just_below_its_limits_a_file_is_taken() -> None:
    for payload in (
        bundle(zq="x" * 7_500_000),
        bundle(zq="x" * 7_500_000 + "\u00e9"),
        bundle(zq=[0.5] * (MAX_VALUES - 100)),
        bundle(zq=[{"a": 1}] * (MAX_OBJECTS - 100)),
        bundle(*[{"resourceType": "Basic"}] * (MAX_ENTRIES - 1)),
        bundle(observation(extension=[EXTENSION] * 1_600)),
    ):
        assert split_bundle(payload, SUBJECT).report["kept"]


def test_files_beyond_the_limits_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "analytics.readers.bundle.load_strict", lambda *_, **__: pytest.fail("it was parsed")
    )
    for name in ("bytes", "values", "objects", "a wide letter"):
        with pytest.raises(PayloadError):
            split_bundle(TOO_MUCH[name][0], SUBJECT)


OTHER = {"system": "urn:mrn", "value": "somebody else's"}


def report_with_identifier(*resources: dict[str, Any], **entry: str) -> Any:
    """The report of a bundle whose Patient has an identifier other than `OTHER`."""
    exported = json.loads(bundle(*resources))
    exported["entry"][0]["resource"]["identifier"] = [{"system": "urn:mrn", "value": "hers"}]
    exported["entry"][0] |= entry
    return split_bundle(json.dumps(exported).encode(), SUBJECT).report


@pytest.mark.parametrize(
    ("reference", "entry"),
    [
        ("Patient/p", {}),
        ("Patient/p/_history/1", {}),
        (f"urn:volens:subject:{SUBJECT}", {}),
        ("http://a.org/fhir/Patient/p", {"fullUrl": "http://a.org/fhir/Patient/p"}),
        (f"Patient/{UUID}", {"fullUrl": f"urn:uuid:{UUID}"}),
    ],
)
def test_an_identifier_is_checked_beside_any_reference(
    reference: str, entry: dict[str, str]
) -> None:
    same_person = observation(subject={"reference": reference})
    assert report_with_identifier(same_person, **entry)["kept"] == {"0": 1, "2": 1}
    about = {"reference": reference, "identifier": OTHER}
    result = report_with_identifier(observation(subject=about), **entry)
    assert result["kept"] == {"0": 1}


@pytest.mark.parametrize(
    "about", [{"reference": "Patient/p", "identifier": OTHER}, {"identifier": OTHER}]
)
def test_a_specimen_is_also_checked_by_its_identifier(about: dict[str, Any]) -> None:
    specimen = {"resourceType": "Specimen", "id": "s", "subject": about}
    drawn = observation(specimen={"reference": "Specimen/s"})
    assert report_with_identifier(specimen, drawn)["kept"] == {"0": 1}


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
@pytest.mark.parametrize(
    "url", ["Observation/o", "/Observation/o", "Observation/o?_cascade=delete"]
)
def test_a_changed_resource_is_found_under_any_name(method: str, url: str) -> None:
    exported = json.loads(bundle(observation(id="o")))
    change: dict[str, Any] = {"request": {"method": method, "url": url}}
    change |= {"resource": {"resourceType": "Binary"}} if method == "PATCH" else {}
    exported["entry"].append(change)
    assert split_bundle(json.dumps(exported).encode(), SUBJECT).report["kept"] == {"0": 1}


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_a_change_by_search_refuses_the_file(method: str) -> None:
    exported = json.loads(bundle(observation(id="o")))
    exported["entry"].append({"request": {"method": method, "url": "Observation?identifier=x"}})
    with pytest.raises(PayloadError, match=f"a {method} does not name"):
        split_bundle(json.dumps(exported).encode(), SUBJECT)


RESTRICTED = {"security": [{"system": CONFIDENTIALITY, "code": "R"}]}


@pytest.mark.parametrize("label", [RESTRICTED, {"security": [{"system": "urn:x", "code": "y"}]}])
@pytest.mark.parametrize("through", ["specimen", "derivedFrom", "medicine", "order"])
def test_a_label_applies_to_what_was_made_from_the_resource(
    label: dict[str, Any], through: str
) -> None:
    """Once, results of a restricted specimen, order or ingredient were kept."""
    source: dict[str, Any] = {"id": "s", "meta": label}
    match through:
        case "specimen":
            more = [source | {"resourceType": "Specimen"}]
            made = observation(specimen={"reference": "Specimen/s"})
        case "derivedFrom":
            more = [observation(id="s", meta=label)]
            made = observation(derivedFrom=[{"reference": "Observation/s"}])
        case "order":
            more = [source | {"resourceType": "ServiceRequest", "code": concept((LOINC, "718-7"))}]
            made = observation(basedOn=[{"reference": "ServiceRequest/s"}])
        case _:
            medicine = {"resourceType": "Medication", "id": "m", "code": concept((ATC, "L01EX02"))}
            medicine |= {"ingredient": [{"itemReference": {"reference": "Substance/s"}}]}
            more = [source | {"resourceType": "Substance"}, medicine]
            made = order((ATC, "L01EX02"), id="o")
            del made["medicationCodeableConcept"]
            made["medicationReference"] = {"reference": "Medication/m"}
    assert split_bundle(bundle(*more, made), SUBJECT).report["kept"] == {"0": 1}


def test_a_label_does_not_apply_to_the_listing_panel() -> None:
    """One restricted member of a panel does not restrict the others."""
    panel = observation(
        id="panel", hasMember=[{"reference": "Observation/a"}, {"reference": "Observation/b"}]
    )
    kept = split_bundle(
        bundle(panel, observation(id="a", meta=RESTRICTED), observation(id="b")), SUBJECT
    ).report["kept"]
    assert kept == {"0": 1, "2": 2}


def test_labels_within_the_patient_and_of_a_document_count() -> None:
    exported = json.loads(bundle(observation()))
    exported["entry"][0]["resource"]["_gender"] = {
        "extension": [
            {
                "url": "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label",
                "valueCoding": {"system": CONFIDENTIALITY, "code": "R"},
            }
        ]
    }
    assert split_bundle(json.dumps(exported).encode(), SUBJECT).report["kept"] == {"2": 1}
    document = {"resourceType": "Composition", "id": "c", "meta": RESTRICTED}
    assert (
        split_bundle(bundle(document, observation(), kind="document"), SUBJECT).report["kept"] == {}
    )


@pytest.mark.parametrize(
    "tamper",
    [
        {"fhir_comments": None},
        {
            "extension": [
                {
                    "url": "urn:a",
                    "extension": [
                        {
                            "url": "urn:b",
                            "extension": [
                                {
                                    "url": "urn:c",
                                    "extension": [
                                        {
                                            "url": "urn:d",
                                            "extension": [
                                                {
                                                    "url": "urn:e",
                                                    "extension": [
                                                        {
                                                            "url": "urn:f",
                                                            "extension": [
                                                                {
                                                                    "url": "urn:g",
                                                                    "extension": [
                                                                        {
                                                                            "url": "urn:h",
                                                                            "valueInteger": "zq",
                                                                        }
                                                                    ],
                                                                }
                                                            ],
                                                        }
                                                    ],
                                                }
                                            ],
                                        }
                                    ],
                                }
                            ],
                        }
                    ],
                }
            ]
        },
    ],
    ids=["an element of the library", "ten levels"],
)
def test_every_reason_is_one_that_the_parser_may_report(tamper: dict[str, Any]) -> None:
    """Otherwise the entire ingest was refused as unsafe, without a name."""
    report = split_bundle(bundle(observation(**tamper)), SUBJECT).report
    assert lanewords.are_fhir_reports({SUBJECT: report}, {SUBJECT}), report["held back"]


def test_every_reason_of_the_readers_is_known_to_the_parent() -> None:
    raising = 0
    for file in Path(lanewords.READERS).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "HeldBack":
                raising += 1
                assert file in lanewords.FHIR, file
                (why,) = node.args
                if isinstance(why, ast.Constant):
                    assert lanewords._is_reason(why.value), why.value
    assert raising > 20
