import json
from collections.abc import Callable
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

from analytics.errors import PayloadError
from analytics.readers.bundle import MAX_BYTES, MAX_ENTRIES, MAX_OBJECTS, MAX_VALUES
from analytics.readers.chart import read_chart
from analytics.readers.codes import UCUM
from analytics.readers.fhir import split_bundle

SUBJECT = "ab" * 32
STRANGER = "urn:volens:subject:" + "cd" * 32


def spoilt(spoil: Callable[[dict[str, Any]], object]) -> bytes:
    whole = json.loads(bundle(condition((CM, "C50.911"), id="c"), observation(id="o")))
    spoil(whole)
    return json.dumps(whole).encode()


def resource_of(whole: dict[str, Any], at: int) -> dict[str, Any]:
    found: dict[str, Any] = whole["entry"][at]["resource"]
    return found


BAD: dict[str, bytes] = {
    "not JSON": b"Canary",
    "a list": b"[]",
    "NaN": bundle(observation()).replace(b": 7", b": NaN"),
    "duplicate key": bundle().replace(b'"type":', b'"type": "collection", "type":'),
    "deep": bundle().replace(b'"p"', b"[" * 400 + b"]" * 400),
    "R5 bundle type": bundle(kind="subscription-notification"),
    "a document": bundle(kind="document"),
    "one page": bundle(link=[{"relation": "next", "url": "https://Canary"}]),
    "the last page": bundle(link=[{"relation": "previous", "url": "https://Canary"}]),
    "a total of more": searched(4, "match", "match", "include"),
    "a total of more without modes": bundle(observation(), kind="searchset", total=500),
    "a total as text": bundle(total="Canary"),
    "a deletion": asked("DELETE"),
    "a patch of whatever fits": asked("PATCH").replace(b'"zq"', b'"Observation?code=Canary"'),
    "a patch of nothing": asked("PATCH").replace(b', "url": "zq"', b""),
    "a total that only copies reach": spoilt(
        lambda b: (b["entry"].append(b["entry"][1]), b.update(type="searchset", total=4))
    ),
    "a read": asked("GET"),
    "a deletion in small letters": asked("delete"),
    "no entries": spoilt(lambda b: b.update(entry=[])),
    "no patient": spoilt(lambda b: b.update(entry=[{"resource": {"resourceType": "Encounter"}}])),
    "two patients": bundle({"resourceType": "Patient", "id": "q"}),
    "another subject": spoilt(lambda b: resource_of(b, 1)["subject"].update(reference="Patient/q")),
    "another volens subject": spoilt(
        lambda b: resource_of(b, 1)["subject"].update(reference=STRANGER)
    ),
    "another patient at an address": spoilt(
        lambda b: resource_of(b, 1)["subject"].update(reference="http://host/Patient/q")
    ),
    "her id at another address than hers": spoilt(
        lambda b: (
            b["entry"][0].update(fullUrl="http://host/Patient/p"),
            resource_of(b, 1)["subject"].update(reference="http://other/Patient/p"),
        )
    ),
    "another patient's version": spoilt(
        lambda b: resource_of(b, 1)["subject"].update(reference="Patient/q/_history/2")
    ),
    "same id": spoilt(
        lambda b: b["entry"].append({"resource": {**resource_of(b, 1), "recordedDate": "2011"}})
    ),
    "same id, a number written otherwise": bundle(
        observation(id="o", valueInteger=1), observation(id="o", valueInteger=True)
    ),
    "same fullUrl": spoilt(lambda b: [entry.update(fullUrl="urn:uuid:1") for entry in b["entry"]]),
    "its meta as text": bundle(meta="Canary"),
    "its labels as text": bundle(meta={"security": "Canary"}),
    "the patient's meta as text": spoilt(lambda b: resource_of(b, 0).update(meta="Canary")),
}

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
        spoilt(lambda b: b["entry"].append({"resource": {"resourceType": "Canary"}})),
        "not a type of FHIR R4",
    ),
    "type as list": (
        spoilt(lambda b: b["entry"].append({"resource": {"resourceType": ["Patient"]}})),
        "not a type of FHIR R4",
    ),
    "no subject": (
        spoilt(lambda b: resource_of(b, 2).pop("subject")),
        "does not say whom it is about: Observation",
    ),
    "subject by name": (
        spoilt(lambda b: resource_of(b, 2).update(subject={"display": "Canary"})),
        "does not say whom it is about: Observation",
    ),
    "status unknown to R4": (
        spoilt(lambda b: resource_of(b, 2).update(status="Canary")),
        "not valid FHIR R4: Observation.status",
    ),
    "no status": (
        spoilt(lambda b: resource_of(b, 2).pop("status")),
        "not valid FHIR R4: Observation.status",
    ),
    "verification unknown to R4": (
        spoilt(
            lambda b: resource_of(b, 1).update(verificationStatus=concept((VERIFICATION, "Canary")))
        ),
        "not valid FHIR R4: Condition.verificationStatus",
    ),
    "gender unknown to R4": (
        spoilt(lambda b: resource_of(b, 0).update(gender="Canary")),
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
        spoilt(lambda b: resource_of(b, 1).update(canary="Canary")),
        "not valid FHIR R4: Condition",
    ),
    "impossible date": (
        spoilt(lambda b: resource_of(b, 1).update(onsetDateTime="2019-02-30")),
        "not valid FHIR R4: Condition.onsetDateTime",
    ),
    "two values": (
        spoilt(lambda b: resource_of(b, 2).update(valueBoolean=True)),
        "not valid FHIR R4: Observation",
    ),
    "code as number": (
        spoilt(lambda b: resource_of(b, 1).update(code=7)),
        "not valid FHIR R4: Condition.code",
    ),
    "subject as number": (
        spoilt(lambda b: resource_of(b, 1).update(subject=7)),
        "not valid FHIR R4: Condition.subject",
    ),
    "impossible day": (
        spoilt(lambda b: resource_of(b, 2).update(effectiveDateTime="2019-02-31T08:00:00Z")),
        "not valid FHIR R4: Observation.effectiveDateTime",
    ),
    "a word in a list": (
        spoilt(lambda b: resource_of(b, 2)["code"]["coding"][0].update(code=["Canary"])),
        "not valid FHIR R4: Observation.code.coding.code",
    ),
    "unknown element below": (
        spoilt(lambda b: resource_of(b, 2)["code"]["coding"][0].update(Canary="Canary")),
        "not valid FHIR R4: Observation.code.coding",
    ),
    "birth date of words": (
        spoilt(lambda b: resource_of(b, 0).update(birthDate="Canary")),
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
        "about a patient at an address that the file does not give hers: Observation.subject",
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
        spoilt(lambda b: resource_of(b, 0).update(meta={"lastUpdated": "2019-02-03"})),
        "not valid FHIR R4: Patient.meta.lastUpdated",
    ),
    "a copy": (
        spoilt(lambda b: b["entry"].append(b["entry"][1])),
        "a copy of another resource of the file",
    ),
    "a copy of the patient": (
        spoilt(lambda b: b["entry"].append(b["entry"][0])),
        "a copy of another resource of the file",
    ),
    "a patch": (asked("PATCH"), "a change (PATCH), not a resource"),
    **{
        f"an entry that is {json.dumps(entry)}": (
            spoilt(lambda b, entry=entry: b["entry"].append(entry)),
            "an entry that has no resource",
        )
        for entry in ABSENT
    },
    "a contained type of its own": (
        spoilt(lambda b: resource_of(b, 2).update(contained=[{"resourceType": "Canary"}])),
        "not valid FHIR R4: Observation",
    ),
}


@pytest.mark.parametrize(("payload", "why"), UNFIT.values(), ids=UNFIT.keys())
def test_one_unfit_resource_is_held_back_alone_and_named(payload: bytes, why: str) -> None:
    """It refused the whole person, and said of nothing that it was the cause."""
    found = split_bundle(payload, SUBJECT)
    report: Any = found.report
    assert report["held back"] == {why: 1}
    assert sum(report["kept"].values()) == report["seen"] - 1 > 0
    everything = b"".join(found.records.values()) + json.dumps(report).encode()
    assert b"Canary" not in everything
    read_chart(found.records, SUBJECT)


def test_a_copy_is_held_back_and_the_resource_is_kept_once() -> None:
    report: Any = split_bundle(UNFIT["a copy"][0], SUBJECT).report
    assert report["kept"] == {"0": 1, "1": 1, "2": 1}
    person: Any = split_bundle(UNFIT["a copy of the patient"][0], SUBJECT).report
    assert person["kept"] == {"0": 1, "1": 1, "2": 1}


def test_a_resource_that_a_patch_changes_is_held_back_as_well() -> None:
    whole = json.loads(bundle(observation(id="o"), condition((CM, "I10"), id="c")))
    change = {"resource": {"resourceType": "Parameters"}}
    change["request"] = {"method": "PATCH", "url": "Observation/o"}
    whole["entry"].append(change)
    report: Any = split_bundle(json.dumps(whole).encode(), SUBJECT).report
    assert report["kept"] == {"0": 1, "1": 1}
    assert report["held back"] == {
        "a change (PATCH), not a resource": 1,
        "a change to it (PATCH) is in the file": 1,
    }


def test_a_device_of_the_file_is_no_patient_by_whatever_name() -> None:
    whole = json.loads(about("urn:uuid:7"))
    whole["entry"].append({"fullUrl": "urn:uuid:7", "resource": DEVICE})
    report: Any = split_bundle(json.dumps(whole).encode(), SUBJECT).report
    assert report["held back"] == {"about something else than a patient: Observation.subject": 1}


@pytest.mark.parametrize(
    "reference",
    ["Patient/p/_history/2", "http://host/fhir/Patient/p", "http://host/fhir/Patient/p/_history/2"],
)
def test_what_is_not_taken_may_name_her_in_any_way(reference: str) -> None:
    for element in ("subject", "patient", "beneficiary"):
        other = {"resourceType": "Claim", element: {"reference": reference}}
        report: Any = split_bundle(bundle(other, observation()), SUBJECT).report
        assert report["kept"] == {"0": 1, "2": 1}
        assert report["not taken"] == {"Claim": 1}


@pytest.mark.parametrize("element", ["subject", "patient", "beneficiary"])
def test_what_is_not_taken_may_be_about_anybody(element: str) -> None:
    """Her father's insurance and her mother's own entry refused her."""
    others = [
        {"resourceType": "Coverage", element: {"reference": reference}}
        for reference in ("Patient/father", *NOBODY)
    ]
    report: Any = split_bundle(bundle(*others, observation()), SUBJECT).report
    assert report["kept"] == {"0": 1, "2": 1}
    assert report["not taken"] == {"Coverage": len(others)}


def test_a_version_of_the_person_is_the_person() -> None:
    report: Any = split_bundle(about("Patient/p/_history/2"), SUBJECT).report
    assert report["kept"] == {"0": 1, "1": 1, "2": 1}


ELSEWHERE = "about a patient at an address that the file does not give hers"
OTHERS = "of something that is about somebody else"


def placed(*full_urls: str | None) -> Any:
    """What becomes of a patient and observations about Patient/p; their fullUrls, the patient's first."""
    whole = json.loads(bundle(*[observation(id=f"o{n}") for n, _ in enumerate(full_urls[1:])]))
    for entry, full_url in zip(whole["entry"], full_urls, strict=True):
        entry |= {} if full_url is None else {"fullUrl": full_url}
    report: Any = split_bundle(json.dumps(whole).encode(), SUBJECT).report
    return report["kept"], report["held back"]


@pytest.mark.parametrize(
    ("patient", "observed"),
    [
        ("http://a.org/fhir/Patient/p", "http://b.org/fhir/Observation/o0"),
        ("http://a.org/fhir/Patient/p", "https://a.org/fhir/Observation/o0"),
        ("http://a.org/fhir/Patient/p", "HTTP://b.org/fhir/Observation/o_0/_history/1"),
        ("http://a.org/fhir/Patient/p", "http://a.org/other/fhir/Observation/o0?x"),
    ],
)
def test_a_relative_reference_is_of_the_server_of_its_entry(patient: str, observed: str) -> None:
    """R4 bundle.html#references: Patient/p of another server is somebody else, and came in as hers."""
    kept, held = placed(patient, observed, "http://a.org/fhir/Observation/o1", "urn:uuid:1", None)
    assert kept == {"0": 1, "2": 3}
    assert held == {f"{ELSEWHERE}: Observation.subject": 1}


def test_the_one_server_of_a_file_is_hers() -> None:
    one, two = "http://a.org/fhir/Observation/o0", "http://b.org/fhir/Observation/o1"
    for patient in (None, "urn:uuid:1"):
        assert placed(patient, one, None) == ({"0": 1, "2": 2}, {})
        assert placed(patient, one, two) == ({"0": 1}, {f"{ELSEWHERE}: Observation.subject": 2})


def test_a_patient_without_an_id_is_known_by_her_address() -> None:
    whole = json.loads(bundle(observation()))
    del whole["entry"][0]["resource"]["id"]
    for entry, name in zip(whole["entry"], ("Patient/p/_history/4", "Observation/o"), strict=True):
        entry["fullUrl"] = f"http://a.org/fhir/{name}"
    assert split_bundle(json.dumps(whole).encode(), SUBJECT).report["kept"] == {"0": 1, "2": 1}


def test_a_reason_of_another_server_is_not_in_the_file() -> None:
    whole = json.loads(
        bundle(
            condition((CM, "I10"), id="c"),
            {
                **order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}]),
                "subject": {"reference": "http://a.org/fhir/Patient/p"},
            },
        )
    )
    for entry, name in zip(
        whole["entry"],
        ("a.org/fhir/Patient/p", "a.org/fhir/Condition/c", "b.org/fhir/MedicationRequest/m"),
        strict=True,
    ):
        entry["fullUrl"] = f"http://{name}"
    report: Any = split_bundle(json.dumps(whole).encode(), SUBJECT).report
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
# What is about whoever its subject is, and what of hers hangs on it.
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
    """One resource, and never the person: her other results are kept."""
    origin, hangs = HANGS[what]
    kind = hangs[-1]["resourceType"]
    other = observation((LOINC, "718-7"))
    full = json.loads(bundle({**origin, "subject": somebody}, *hangs, other))
    full["entry"][0]["fullUrl"] = "http://a.org/fhir/Patient/p"
    report: Any = split_bundle(json.dumps(full).encode(), SUBJECT).report
    assert (report["kept"], report["held back"]) == ({"0": 1, "2": 1}, {f"{OTHERS}: {kind}": 1})
    for hers in ({"subject": {"reference": "Patient/p"}}, {}):
        assert not split_bundle(bundle({**origin, **hers}, *hangs), SUBJECT).report["held back"]


def test_a_specimen_inside_that_is_of_somebody_else_is_seen() -> None:
    inside = {**SPECIMEN, "subject": {"reference": "Patient/9"}}
    found = split_bundle(
        bundle(observation(contained=[inside], specimen={"reference": "#s"})), SUBJECT
    )
    assert found.report["held back"] == {f"{OTHERS}: Observation": 1}


def test_a_date_of_change_of_the_file_says_nothing_of_its_resources() -> None:
    report: Any = split_bundle(bundle(observation(), meta={"lastUpdated": "2019-02-03"}), SUBJECT)
    assert report.report["kept"] == {"0": 1, "2": 1}


def test_what_is_held_back_still_tells_of_its_neighbours() -> None:
    """A diagnosis that is no R4 is in no record, and what was given for it is as sensitive as before."""
    spoilt_reason = condition((CM, "B20"), id="c", canary="Canary")
    given = order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}])
    found = split_bundle(bundle(spoilt_reason, given), SUBJECT)
    assert set(found.records) == {0, 19}
    stranger = {**observation(canary="Canary"), "subject": {"reference": "Patient/q"}}
    with pytest.raises(PayloadError, match="another subject"):
        split_bundle(bundle(stranger), SUBJECT)


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_a_file_that_cannot_be_trusted_is_refused_whole(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        split_bundle(payload, SUBJECT)
    assert "Canary" not in str(refused.value) + refused.value.hint
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_whole_answer_and_what_is_put_are_taken() -> None:
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
def test_how_an_entry_was_sent_may_be_broken(element: str, broken: object) -> None:
    payload = spoilt(
        lambda b: (b.update(type="searchset", total=3), b["entry"][1].update({element: broken}))
    )
    assert split_bundle(payload, SUBJECT).report["kept"] == {"0": 1, "1": 1, "2": 1}


def test_a_subject_is_64_hex_characters() -> None:
    with pytest.raises(PayloadError):
        split_bundle(bundle(), "Canary")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_file_is_split_or_refused_and_raises_nothing_else(data: st.DataObject) -> None:
    whole = json.loads(
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
    mutated(whole, data)
    try:
        found = split_bundle(json.dumps(whole).encode(), SUBJECT)
    except PayloadError:
        return
    report: Any = found.report
    assert (
        sum(sum(report[part].values()) for part in ("kept", "held back", "not taken"))
        == report["seen"]
    )
    read_chart(found.records, SUBJECT)


EXTENSION = {"url": "urn:x", "valueString": "x"}
TOO_MUCH: dict[str, tuple[bytes, str]] = {
    "bytes": (bundle()[:-1] + b" " * MAX_BYTES + b"}", "larger than"),
    "values": (bundle(zq=[0.5] * (MAX_VALUES + 1)), "more values than 200000"),
    "objects": (bundle(zq=[{"a": 1}] * (MAX_OBJECTS + 1)), "more objects than"),
    "entries": (bundle(*[{"resourceType": "Basic"}] * MAX_ENTRIES), f"1 to {MAX_ENTRIES} entries"),
    "a wide letter": (
        bundle(zq="x" * 4_000_000 + "W").replace(b'W"', '\U0001f600"'.encode()),
        "more memory than",
    ),
    "an escaped wide letter": (bundle(zq="x" * 4_000_000 + "\U0001f600"), "more memory than"),
    "a letter of two bytes": (bundle(zq="x" * 7_500_000 + "\u20ac"), "more memory than"),
}


@pytest.mark.parametrize(("payload", "why"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_what_no_persons_chart_needs_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(PayloadError, match=why):
        split_bundle(payload, SUBJECT)


@pytest.mark.parametrize("at", [0, 1])
def test_a_resource_of_more_values_than_a_statement_has_is_held_back(at: int) -> None:
    long = spoilt(lambda b: resource_of(b, at).update(extension=[EXTENSION] * 2_500))
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


def test_what_is_checked_before_parsing_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "analytics.readers.bundle.load_strict", lambda *_, **__: pytest.fail("it was parsed")
    )
    for name in ("bytes", "values", "objects", "a wide letter"):
        with pytest.raises(PayloadError):
            split_bundle(TOO_MUCH[name][0], SUBJECT)
