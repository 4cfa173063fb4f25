"""Results share the category of their order, report or specimen, for every form of reference."""

import json
import time
from typing import Any

import pytest
from fhir_files import (
    ABOUT,
    ATC,
    CM,
    LOINC,
    bundle,
    concept,
    condition,
    observation,
    order,
    procedure,
)

from analytics.readers.fhir import split_bundle
from analytics.vocabulary import Category

SUBJECT = "ab" * 32
GENE, PLAIN = (LOINC, "69548-6"), (LOINC, "58410-2")
UUID = "urn:uuid:0b0e8b3a-1111-4222-8333-444455556666"
SERVER = "http://a.org/fhir"
HELD_BACK = "of a conditional reference that cannot be read"
ORDER: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "g",
    "status": "completed",
    "intent": "order",
    "code": concept(GENE),
    **ABOUT,
    "identifier": [{"system": "http://h.org/orders", "value": "Ä 7"}],
}
RESULT = observation(id="o")
TO_RESULT = {"reference": "Observation/o"}
INHERITED = condition((CM, "Z15.01"), id="c")


def report_of(*resources: dict[str, Any], full: dict[int, str] | None = None) -> Any:
    """The report of the resources. full: fullUrl by index in the file, the patient is 0."""
    exported = json.loads(bundle(*resources))
    for at, full_url in (full or {}).items():
        exported["entry"][at]["fullUrl"] = full_url
    return split_bundle(json.dumps(exported).encode(), SUBJECT).report


def based_on(reference: str, **more: Any) -> dict[str, Any]:
    return observation(id="o", basedOn=[{"reference": reference, **more}])


def without_id(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "id"}


def is_genetic(report: Any) -> bool:
    """Whether no observation is among the ordinary records."""
    assert not report["held back"]
    return set(report["kept"]) == {"0", str(Category.GERMLINE_VARIANTS)}


@pytest.mark.parametrize(
    "query",
    [
        "ServiceRequest?identifier=http://h.org/orders|Ä 7",
        "ServiceRequest?identifier=http://h.org/orders%7CÄ 7",
        "ServiceRequest?identifier=http%3A%2F%2Fh.org%2Forders%7C%C3%84%207",
        "ServiceRequest%3Fidentifier%3Dhttp://h.org/orders%7C%C3%84+7",
        "ServiceRequest?status=completed&identifier=http://h.org/orders|Ä 7",
        "ServiceRequest?identifier=http://h.org/orders|Ä 7&status=completed",
        "ServiceRequest?identifier=Ä 7",
        "http://a.org/fhir/ServiceRequest?identifier=Ä+7",
        "ServiceRequest?_id=g",
    ],
)
def test_a_conditional_reference_reaches_what_it_asks_for(query: str) -> None:
    assert is_genetic(report_of(ORDER, based_on(query)))
    assert not is_genetic(report_of({**ORDER, "code": concept(PLAIN)}, based_on(query)))
    another_order = {
        **ORDER,
        "id": "h",
        "identifier": [{"system": "http://h.org/orders", "value": "8"}],
    }
    assert not is_genetic(report_of(another_order, based_on(query)))


@pytest.mark.parametrize(
    "query",
    [
        "ServiceRequest?code=69548-6",
        "ServiceRequest?identifier=",
        "ServiceRequest?identifier=http://h.org/orders|",
        "ServiceRequest?identifier:of-type=x|MR|7",
        "ServiceRequest?identifier=7,8",
        "ServiceRequest?identifier=x\\|7",
        "ServiceRequest?identifier=x%257C7",
        "ServiceRequest?",
        "?" + "&" * 1_000,
    ],
)
def test_what_came_of_a_conditional_reference_that_cannot_be_read_is_held_back(query: str) -> None:
    report = report_of(based_on(query), observation())
    assert report["held back"] == {f"{HELD_BACK}: Observation.basedOn": 1}
    assert report["kept"] == {"0": 1, "2": 1}
    within = observation(contained=[{**ORDER, "id": "in", "basedOn": [{"reference": query}]}])
    assert report_of(within)["held back"] == {f"{HELD_BACK}: Observation.contained": 1}
    extended = observation(extension=[{"url": "urn:x", "valueReference": {"reference": query}}])
    assert report_of(extended)["held back"] == {f"{HELD_BACK}: Observation.extension": 1}
    specimen = {"resourceType": "Specimen", "id": "s", "request": [{"reference": query}]}
    drawn = observation(specimen={"reference": "Specimen/s"})
    assert report_of(specimen, drawn, observation())["held back"] == {HELD_BACK: 1}


@pytest.mark.parametrize("through", ["addresses", "goal", "activity", "priorPrescription"])
def test_actions_because_of_a_finding_share_its_category(through: str) -> None:
    """A care plan, its goal and an earlier prescription link a diagnosis and a later action."""
    carrier = condition((CM, "Z15.01"), id="c")
    plan = {"resourceType": "CarePlan", "id": "p", "status": "active", "intent": "plan", **ABOUT}
    goal = {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", **ABOUT}
    why, given = {"reference": "Condition/c"}, order((ATC, "L01XK01"), id="m")
    match through:
        case "addresses":
            more = [{**plan, "addresses": [why]}]
            given["basedOn"] = [{"reference": "CarePlan/p"}]
        case "goal":
            more = [{**plan, "goal": [{"reference": "Goal/g"}]}, {**goal, "addresses": [why]}]
            given["basedOn"] = [{"reference": "CarePlan/p"}]
        case "activity":
            activity = [{"reference": {"reference": "MedicationRequest/m"}}]
            more = [{**plan, "addresses": [why], "activity": activity}]
        case _:
            more = [order((ATC, "L01XK01"), id="m0", reasonReference=[why])]
            given["priorPrescription"] = {"reference": "MedicationRequest/m0"}
    assert is_genetic(report_of(carrier, *more, given))


@pytest.mark.parametrize("within", [False, True])
def test_a_medicine_shares_the_category_of_its_ingredients(within: bool) -> None:
    """An ingredient is named by a code or a reference; once only the code was checked."""
    part = {"resourceType": "Substance", "id": "s", "code": concept(GENE)}
    made = {"reference": "#s" if within else "Substance/s"}
    medicine = {"resourceType": "Medication", "id": "m", "code": concept((ATC, "L01XK01"))}
    medicine |= {"ingredient": [{"itemReference": made}]}
    given = order((ATC, "L01XK01"), id="o")
    del given["medicationCodeableConcept"]
    given["medicationReference"] = {"reference": "#m" if within else "Medication/m"}
    if within:
        given["contained"] = [part, medicine]
        assert is_genetic(report_of(given))
    else:
        assert is_genetic(report_of(part, medicine, given))


def test_a_genetic_report_that_may_list_anything_lists_everything_of_that_type() -> None:
    genetic_report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", **ABOUT}
    genetic_report |= {"code": concept(GENE), "result": [{"reference": "Observation?date=2020"}]}
    report = report_of(genetic_report, RESULT, condition((CM, "I10")))
    assert report["kept"] == {"0": 1, "1": 1, "5": 1}
    assert report_of({**genetic_report, "code": concept(PLAIN)}, RESULT)["kept"] == {"0": 1, "2": 1}


@pytest.mark.parametrize(
    ("order", "result", "reference"),
    [
        (f"{SERVER}/ServiceRequest/g", f"{SERVER}/Observation/o", "ServiceRequest/g"),
        (f"{SERVER}/ServiceRequest/g", "urn:uuid:1", "ServiceRequest/g"),
        (f"{SERVER}/ServiceRequest/g", "urn:uuid:1", f"{SERVER}/ServiceRequest/g/_history/2"),
        (f"{SERVER}/ServiceRequest/g", "urn:uuid:1", "https://A.org/fhir/ServiceRequest/g"),
        (f"{SERVER}/ServiceRequest/g/_history/3", "urn:uuid:1", f"{SERVER}/ServiceRequest/g"),
        (UUID.upper(), "urn:uuid:1", UUID),
        (UUID, "urn:uuid:1", UUID.upper()),
        (UUID, f"{SERVER}/Observation/o", UUID),
    ],
)
def test_an_order_without_an_id_is_found_by_its_address(
    order: str, result: str, reference: str
) -> None:
    full = {0: f"{SERVER}/Patient/p", 1: order, 2: result}
    assert is_genetic(report_of(without_id(ORDER), based_on(reference), full=full))


@pytest.mark.parametrize(
    "reference",
    ["servicerequest/G", "ServiceRequest/g/_history/9", "ServiceRequest%2Fg", "ServiceRequest/g#x"],
)
def test_letters_and_versions_do_not_hide_an_order(reference: str) -> None:
    versioned = {**ORDER, "meta": {"versionId": "2"}}
    assert is_genetic(report_of(versioned, based_on(reference)))


def test_the_order_of_another_server_is_another_order() -> None:
    full = {1: f"{SERVER}/ServiceRequest/g"}
    asked = based_on("http://b.org/fhir/ServiceRequest/g")
    assert report_of(ORDER, asked, full=full)["kept"] == {"0": 1, "2": 1}


def test_an_identifier_may_name_its_type_by_an_address() -> None:
    named = "http://hl7.org/fhir/StructureDefinition/ServiceRequest"
    asked = observation(basedOn=[{"type": named, "identifier": ORDER["identifier"][0]}])
    assert is_genetic(report_of(ORDER, asked))


IMPRESSION = {"resourceType": "ClinicalImpression", "id": "i", "status": "completed", **ABOUT}
TASK = {"resourceType": "Task", "id": "t", "status": "completed", "intent": "order"}
TO_ORDER = {"reference": "ServiceRequest/g"}


@pytest.mark.parametrize(
    "between",
    [
        {**IMPRESSION, "code": concept(GENE), "finding": [{"itemReference": TO_RESULT}]},
        {**IMPRESSION, "code": concept(GENE), "investigation": [{"item": [TO_RESULT]}]},
        {**TASK, "focus": TO_ORDER, "output": [{"valueReference": TO_RESULT}]},
        {
            **TASK,
            "input": [{"valueReference": TO_ORDER}],
            "output": [{"valueReference": TO_RESULT}],
        },
        {
            "resourceType": "DiagnosticReport",
            "id": "r",
            "status": "final",
            "code": concept(GENE),
            **ABOUT,
            "result": [{"reference": "Observation/o/_history/3"}],
        },
    ],
)
def test_resources_between_an_order_and_its_result_are_followed(between: dict[str, Any]) -> None:
    result = {**RESULT, "meta": {"versionId": "2"}}
    assert is_genetic(report_of(ORDER, between, result))
    assert is_genetic(report_of(result, between, ORDER))


def test_a_specimen_of_a_specimen_was_taken_for_the_same_order() -> None:
    first = {"resourceType": "Specimen", "id": "s", **ABOUT, "request": [TO_ORDER]}
    second = {"resourceType": "Specimen", "id": "t", "parent": [{"reference": "Specimen/s"}]}
    assert is_genetic(
        report_of(ORDER, first, second, observation(specimen={"reference": "Specimen/t"}))
    )


def with_extension(target: str, url: str = "workflow-reasonReference") -> dict[str, Any]:
    named = {"url": f"http://hl7.org/fhir/StructureDefinition/{url}"}
    return {"extension": [{**named, "valueReference": {"reference": target}}]}


@pytest.mark.parametrize(
    "resource",
    [
        procedure(**with_extension("Condition/c")),
        condition((CM, "C50.911"), **with_extension("Condition/c", "condition-dueTo")),
        observation(_status=with_extension("Condition/c")),
        observation(extension=[{"url": "urn:x", **with_extension("Condition/c")}]),
    ],
)
def test_what_an_extension_names_tells_as_much(resource: dict[str, Any]) -> None:
    assert is_genetic(report_of(INHERITED, resource))
    plain = condition((CM, "I10"), id="c")
    assert str(Category.GERMLINE_VARIANTS) not in report_of(plain, resource)["kept"]


def test_an_extension_that_names_a_visit_or_location_is_ignored() -> None:
    visit = {"resourceType": "Encounter", "id": "e", "reasonCode": [concept((CM, "Z15.01"))]}
    report = report_of(
        visit, observation(**with_extension("Encounter/e", "workflow-episodeOfCare"))
    )
    assert report["kept"] == {"0": 1, "2": 1}


def test_many_names_for_many_results_are_linked_once_each() -> None:
    lists = [
        {
            "resourceType": "List",
            "id": f"l{n}",
            "code": concept(GENE),
            "entry": [{"item": {"reference": "Observation?code=x"}}],
        }
        for n in range(2_500)
    ]
    results = [based_on("ServiceRequest?identifier=Ä 7") | {"id": f"o{n}"} for n in range(2_500)]
    began = time.monotonic()
    assert is_genetic(report_of(ORDER, *lists, *results))
    assert time.monotonic() - began < 30
