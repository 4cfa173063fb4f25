"""A plan as FHIR: valid R4, a proposal and no order, without a name, an id or a clinician's words."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest
from charts import EVERYTHING, SUBJECT
from fhir.resources.R4B.bundle import Bundle

from analytics.care.days import date_of, day_of
from analytics.care.plan import SENTENCE
from analytics.params import complete
from analytics.people import Input
from analytics.plan_run import run_plan
from analytics.readers.fhir import split_bundle
from analytics.vocabulary import Category
from api.client.plan_fhir import export_plan
from api.client.plans import NOTES, OpenedPlan
from api.demo import care_people
from api.errors import UsageError

RUN = "5e" * 32
TODAY = day_of("2026-11-30")
OLAPARIB = "olaparib-breast-cancer"
NOTE = "Frau Muster will think about it"


def plan_of(file: dict[str, Any], withheld: frozenset[int] = frozenset()) -> dict[str, Any]:
    records = split_bundle(json.dumps(file).encode(), SUBJECT).records
    inputs = [
        Input(SUBJECT, category, payload)
        for category, payload in records.items()
        if category not in withheld
    ]
    params = complete({"analysis": "plan"})
    drawn: dict[str, Any] = json.loads(
        run_plan(params, inputs, EVERYTHING - withheld, TODAY).result
    )
    return drawn


BEA = plan_of(care_people.bea(date(2026, 11, 30)))
ADA = plan_of(care_people.ada(date(2026, 11, 30)))


def exported(plan: dict[str, Any], today: int = TODAY, **decisions: str) -> dict[str, Any]:
    items = {
        rule.replace("_", "-"): {"decision": decision, "note": NOTE}
        for rule, decision in decisions.items()
    }
    notes = {"type": NOTES, "items": items, "comment": NOTE}
    return export_plan(OpenedPlan(plan, notes, {}, ""), RUN, today)


def of_kind(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in resources if resource["resourceType"] == kind]


def proposed(bundle: dict[str, Any], title: str) -> dict[str, Any]:
    (task,) = [
        candidate
        for candidate in of_kind(bundle, "Task")
        if candidate["code"]["text"].startswith(title)
    ]
    return task


@pytest.mark.parametrize("plan", [ADA, BEA], ids=["ada", "bea"])
def test_it_is_valid_and_orders_nothing(plan: dict[str, Any]) -> None:
    bundle = exported(plan)
    assert Bundle.model_validate_json(json.dumps(bundle)).type == "collection"
    wrong = json.dumps(bundle).replace('"status": "draft"', '"status": ["draft"]')
    with pytest.raises(ValueError, match="status"):  # the entries are checked as well
        Bundle.model_validate_json(wrong)
    kinds = {entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert kinds == {"CarePlan", "Observation", "Task", "DetectedIssue", "Provenance"}
    intents = [
        resource["intent"] for resource in of_kind(bundle, "Task") + of_kind(bundle, "CarePlan")
    ]
    assert set(intents) == {"proposal"}
    addresses = {entry["fullUrl"] for entry in bundle["entry"]}
    assert len(addresses) == len(bundle["entry"])
    named = re.findall(r'"reference": "([^"]+)"', json.dumps(bundle))
    assert set(named) <= addresses
    assert exported(plan) == bundle


def test_the_care_plan_ends_when_the_plan_does_and_says_what_it_is() -> None:
    (care_plan,) = of_kind(exported(BEA), "CarePlan")
    assert care_plan["status"] == "draft"
    end = date_of(BEA["valid_until"])
    assert care_plan["period"] == {"start": "2026-11-30", "end": end}
    assert care_plan["description"].startswith(SENTENCE)
    country = care_plan["extension"][0]["valueCodeableConcept"]["coding"][0]
    assert (country["system"], country["code"]) == ("urn:iso:std:iso:3166", "US")
    tasks = of_kind(exported(BEA), "Task")
    assert len(care_plan["activity"]) == len(tasks)
    assert {task["restriction"]["period"]["end"] for task in tasks} == {end}


def test_a_dose_is_text_of_a_proposal() -> None:
    task = proposed(exported(BEA, olaparib_breast_cancer="accept"), "Olaparib")
    assert (task["status"], task["intent"]) == ("accepted", "proposal")
    assert "Dose: 200 mg, 2 times a day (tablets)." in task["description"]
    assert "Grade of the evidence: product label." in task["reasonCode"]["text"]
    facts = {fact["type"]["text"] for fact in task["input"]}
    assert {"weight", "creatinine in serum", "germline BRCA1", "HER2"} <= facts
    assert not [
        candidate
        for candidate in of_kind(exported(ADA), "Task")
        if "200 mg" in json.dumps(candidate)
    ]


@pytest.mark.parametrize(
    ("decision", "status"), [("accept", "accepted"), ("defer", "on-hold"), ("", "draft")]
)
def test_a_proposal_has_the_state_that_her_clinician_gave_it(decision: str, status: str) -> None:
    decisions = {"brca_carrier": decision} if decision else {}
    assert proposed(exported(BEA, **decisions), "Care of a person")["status"] == status


def test_what_her_clinician_has_not_agreed_with_has_no_dose() -> None:
    for decisions in ({"olaparib_breast_cancer": "defer"}, {}):
        assert "200 mg" not in json.dumps(exported(BEA, **decisions))


def test_a_plan_with_a_rule_that_is_not_in_force_does_not_leave() -> None:
    unknown = [item | {"rule": "a-rule-of-before"} for item in BEA["lifestyle"]]
    with pytest.raises(UsageError, match="this rule was withdrawn"):
        exported(BEA | {"lifestyle": unknown})


def test_what_her_clinician_declined_does_not_leave() -> None:
    text = json.dumps(of_kind(exported(BEA, olaparib_breast_cancer="decline"), "Task"))
    assert "Olaparib" not in text
    assert "200 mg" not in text
    assert "blood count" not in text  # its tests
    issues = of_kind(exported(BEA, olaparib_breast_cancer="decline"), "DetectedIssue")
    assert OLAPARIB not in json.dumps(issues)
    assert OLAPARIB in json.dumps(of_kind(exported(BEA), "DetectedIssue"))  # its warnings


def test_observations_are_the_facts_with_their_units_and_what_is_missing() -> None:
    withheld = frozenset({Category.SEXUAL_HEALTH})
    plan = plan_of(care_people.bea(date(2026, 11, 30)), withheld)
    observed = {
        observation["code"]["coding"][0]["code"]: observation
        for observation in of_kind(exported(plan), "Observation")
    }
    assert set(observed) == {
        fact["fact"] for fact in [*plan["facts"]["used"], *plan["facts"]["missing"]]
    }
    creatinine = observed["creatinine"]
    assert creatinine["code"]["coding"][1] == {"system": "http://loinc.org", "code": "2160-0"}
    quantity = creatinine["valueQuantity"]
    assert (quantity["value"], quantity["code"]) == (1.7, "mg/dL")
    assert re.fullmatch(r"2026-11-\d\d", creatinine["effectiveDateTime"])
    assert observed["metastatic"]["valueBoolean"] is False
    assert observed["nodes"]["valueString"] == "N0"
    absent = observed["dpyd_variants"]["dataAbsentReason"]
    assert (absent["coding"][0]["code"], absent["text"]) == ("unknown", "not recorded")
    masked = [observation for observation in observed.values() if "dataAbsentReason" in observation]
    assert "masked" in {
        observation["dataAbsentReason"]["coding"][0]["code"] for observation in masked
    }


def test_a_refusal_is_an_issue_with_its_reason_and_what_would_change_it() -> None:
    issues = of_kind(exported(ADA), "DetectedIssue")
    (issue,) = [listed for listed in issues if "Olaparib" in listed["code"]["text"]]
    assert issue["code"]["text"].startswith("no option: ")
    assert "No chemotherapy before" in issue["detail"]
    (refusal,) = [item for item in ADA["refused"] if item["rule"] == OLAPARIB]
    assert all(change in issue["detail"] for change in refusal["change"])


def test_provenance_names_run_rule_set_versions_and_dates() -> None:
    bundle = exported(BEA)
    (provenance,) = of_kind(bundle, "Provenance")
    values = {
        entity["what"]["identifier"]["system"]: entity["what"]["identifier"]["value"]
        for entity in provenance["entity"][:2]
    }
    assert values == {"urn:volens:run": RUN, "urn:volens:rule-set": BEA["rule_set"]}
    rules = {
        entity["what"]["identifier"]["value"]: entity["what"] for entity in provenance["entity"][2:]
    }
    every = [*BEA["options"], *BEA["lifestyle"], *BEA["refused"]]
    assert set(rules) == {f"{item['rule']}|{item['version']}" for item in every}
    assert "dated 2026-01-20, read on 2026-11-30" in rules[f"{OLAPARIB}|1"]["display"]
    (target,) = provenance["target"]
    addressed = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    assert addressed[target["reference"]]["resourceType"] == "CarePlan"


def test_no_name_no_id_and_none_of_the_clinicians_words_leave() -> None:
    text = json.dumps(exported(BEA, olaparib_breast_cancer="accept", brca_carrier="defer"))
    assert NOTE not in text
    assert SUBJECT not in text
    assert "identifier" not in re.sub(r'"identifier": \{"system": "urn:volens:', "", text)
    hashes = re.findall(r"[0-9a-f]{16,}", text)
    assert set(hashes) <= {RUN, BEA["rule_set"]}


def test_a_plan_leaves_only_signed_and_only_while_it_holds() -> None:
    with pytest.raises(UsageError, match="only after its clinician has signed"):
        export_plan(OpenedPlan(BEA, {}, {}, ""), RUN, TODAY)
    assert exported(BEA, BEA["valid_until"])
    with pytest.raises(UsageError, match="out of date"):
        exported(BEA, BEA["valid_until"] + 1)
