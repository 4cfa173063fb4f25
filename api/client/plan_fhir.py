"""A countersigned plan as a FHIR R4 Bundle: a care plan that proposes, and what it rests on.

Nothing in it can be dispensed or carried out as an order: options are Tasks that propose, with the
dose as text. It has no name and no id of a person, and none of the clinician's words: who reads it
into another system knows whose it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from analytics.care.days import date_of
from analytics.care.drawn import dose_in_words, is_out_of_date, items_of, not_in_force
from analytics.care.facts import FACTS, Kind, Reason
from analytics.care.rule_set import shipped
from analytics.readers.codes import UCUM, URIS
from api.client.plans import OpenedPlan
from api.errors import UsageError

Resource = dict[str, Any]
_PATIENT = {"display": "the person of this plan"}
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_COUNTRY = "urn:iso:std:iso:3166"
# How far her clinician went with a proposal.
_STATUS = {"accept": "accepted", "defer": "on-hold"}


def export_plan(opened: OpenedPlan, run: str, today: int) -> Resource:
    """The Bundle of a countersigned plan, without what its clinician declined.

    today: in days since 1970-01-01. Raises UsageError for a plan that is not countersigned, out of
    date, or with a rule that is not in force any more.
    """
    plan, notes = opened.plan, opened.notes
    if not notes:
        raise UsageError(
            "a plan leaves only after its clinician has signed it", "sign it: volens plan sign"
        )
    if is_out_of_date(plan, today):
        raise UsageError(
            f"the plan is out of date since {date_of(plan['valid_until'])}",
            "ask for a new one: volens plan request",
        )
    for change in not_in_force(plan, shipped(), today):
        raise UsageError(f"{change.title}: {change.why}", "ask for a new plan: volens plan request")
    decided = {rule: item["decision"] for rule, item in notes["items"].items()}
    bundle = _Entries(run)
    observations = {fact["fact"]: bundle.add(_observation(fact)) for fact in _facts(plan)}
    issues = [bundle.add(_issue(refusal, plan, observations)) for refusal in plan["refused"]]
    issues += [
        bundle.add(_warning(warning, plan))
        for warning in plan["warnings"]
        if decided.get(warning["rule"]) != "decline"
    ]
    tasks = [
        bundle.add(_proposal(option, plan, decided.get(option["rule"], ""), observations))
        for option in items_of(plan)
        if decided.get(option["rule"]) != "decline"
    ]
    tasks += [
        bundle.add(_scheduled(item, plan))
        for item in plan["schedule"]
        if decided.get(item["rule"]) != "decline"
    ]
    care_plan = bundle.add(_care_plan(plan, tasks, [*observations.values(), *issues]))
    bundle.add(_provenance(plan, run, care_plan))
    return {"resourceType": "Bundle", "type": "collection", "entry": bundle.entries}


class _Entries:
    """Entries of a Bundle, each under an address that follows from the run and its number."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.entries: list[Resource] = []

    def add(self, resource: Resource) -> Resource:
        """Keep it; the reference to it."""
        name = f"urn:volens:plan:{self.run}:{len(self.entries)}"
        address = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
        self.entries.append({"fullUrl": address, "resource": resource})
        return {"reference": address}


def _facts(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the rules read, and what is missing."""
    yield from plan["facts"]["used"]
    yield from plan["facts"]["missing"]


def _observation(fact: Mapping[str, Any]) -> Resource:
    """A fact with its value and day, or with the reason why there is none."""
    kind = FACTS[fact["fact"]]
    coding = [{"system": "urn:volens:fact", "code": fact["fact"]}]
    coding += [{"system": URIS["loinc"], "code": kind.loinc}] if kind.loinc else []
    shown: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": coding, "text": kind.label},
        "subject": _PATIENT,
    }
    if "day" in fact:
        shown["effectiveDateTime"] = date_of(fact["day"])
    if "reason" in fact:
        code = "masked" if fact["reason"] == Reason.WITHHELD else "unknown"
        absent = {"coding": [{"system": _ABSENT, "code": code}], "text": fact["reason"]}
        return shown | {"dataAbsentReason": absent}
    if kind.kind is Kind.NUMBER:
        unit = {"unit": kind.unit, "system": UCUM, "code": kind.unit}
        return shown | {"valueQuantity": {"value": float(fact["value"]), **unit}}
    if kind.kind is Kind.YES_NO:
        return shown | {"valueBoolean": fact["value"] == "yes"}
    return shown | {"valueString": fact["value"] or "none"}


def _task(what: str, description: str, plan: Mapping[str, Any], status: str) -> Resource:
    return {
        "resourceType": "Task",
        "status": status,
        "intent": "proposal",
        "code": {"text": what},
        "description": description,
        "for": _PATIENT,
        "authoredOn": date_of(plan["today"]),
        "restriction": {"period": {"end": date_of(plan["valid_until"])}},
    }


def _proposal(
    option: Mapping[str, Any],
    plan: Mapping[str, Any],
    decision: str,
    observations: Mapping[str, Resource],
) -> Resource:
    """An option: what is proposed, on what basis, by which facts."""
    agreed = decision == "accept" and "dose" in option
    dose = f" Dose: {dose_in_words(option['dose'])}." if agreed else ""
    read = {fact["fact"] for gate in option["gates"] for fact in gate["facts"]}
    read |= {fact["fact"] for fact in option["facts"]}
    task = _task(option["title"], f"{option['action']}{dose}", plan, _STATUS.get(decision, "draft"))
    basis = f"{option['basis']} Grade of the evidence: {option['grade']}."
    against = f" Against it: {option['against']}" if "against" in option else ""
    return task | {
        "reasonCode": {"text": f"{basis}{against}"},
        "input": [
            {"type": {"text": FACTS[name].label}, "valueReference": observations[name]}
            for name in sorted(read & observations.keys())
        ],
    }


def _scheduled(item: Mapping[str, Any], plan: Mapping[str, Any]) -> Resource:
    again = f", then every {item['every_days']} days" if "every_days" in item else ""
    return _task(f"{item['kind']}: {item['what']}", f"{item['first']}{again}", plan, "draft")


def _issue(
    refusal: Mapping[str, Any], plan: Mapping[str, Any], observations: Mapping[str, Resource]
) -> Resource:
    """What is no option, why not, and what would change that."""
    missing = [fact["fact"] for fact in refusal["missing"] if fact["fact"] in observations]
    reasons = refusal["reasons"] or ["It cannot be evaluated."]
    issue = _detected(f"no option: {refusal['title']}", [*reasons, *refusal["change"]], plan)
    evidence = [{"detail": [observations[name] for name in sorted(missing)]}] if missing else []
    return issue | ({"evidence": evidence} if evidence else {})


def _warning(warning: Mapping[str, Any], plan: Mapping[str, Any]) -> Resource:
    return _detected(f"warning of the rule {warning['rule']}", [warning["text"]], plan)


def _detected(what: str, sentences: Iterable[str], plan: Mapping[str, Any]) -> Resource:
    return {
        "resourceType": "DetectedIssue",
        "status": "final",
        "code": {"text": what},
        "patient": _PATIENT,
        "identifiedDateTime": date_of(plan["today"]),
        "detail": " ".join(sentences),
    }


def _care_plan(
    plan: Mapping[str, Any], tasks: Iterable[Resource], information: Iterable[Resource]
) -> Resource:
    country = {"coding": [{"system": _COUNTRY, "code": plan["jurisdiction"]}]}
    return {
        "resourceType": "CarePlan",
        "status": "draft",
        "intent": "proposal",
        "title": "Options of care by rules",
        "description": f"{plan['sentence']} The rules are those for {plan['jurisdiction']}.",
        "subject": _PATIENT,
        "created": date_of(plan["today"]),
        "period": {"start": date_of(plan["today"]), "end": date_of(plan["valid_until"])},
        "extension": [{"url": "urn:volens:jurisdiction", "valueCodeableConcept": country}],
        "activity": [{"reference": task} for task in tasks],
        "supportingInfo": list(information),
    }


def _provenance(plan: Mapping[str, Any], run: str, care_plan: Resource) -> Resource:
    """The run, the rule set, and each rule with its version and the dates of its sources."""
    rules = {item["rule"]: item for item in [*items_of(plan), *plan["refused"]]}
    entities = [_entity("urn:volens:run", run, "the run, as the ledger records it")]
    entities.append(_entity("urn:volens:rule-set", plan["rule_set"], "sha256 of the rule set"))
    entities += [
        _entity("urn:volens:rule", f"{name}|{rules[name]['version']}", _dated(rules[name]))
        for name in sorted(rules)
    ]
    return {
        "resourceType": "Provenance",
        "target": [care_plan],
        "recorded": f"{date_of(plan['today'])}T00:00:00Z",
        "agent": [
            _agent("assembler", "volens: a program that evaluates rules"),
            _agent("verifier", "the clinician whom the patient appointed, by a countersignature"),
        ],
        "entity": entities,
    }


def _dated(rule: Mapping[str, Any]) -> str:
    """The sources of a rule with their dates, and when they were read."""
    sources = [
        f"{source['title']}, dated {source['dated']}, read on {source['read_on']}"
        for source in rule["sources"]
    ]
    return f"{rule['title']}. {'; '.join(sources)}"


def _entity(system: str, value: str, display: str) -> Resource:
    what = {"identifier": {"system": system, "value": value}, "display": display}
    return {"role": "source", "what": what}


def _agent(part: str, display: str) -> Resource:
    kind = {"coding": [{"system": _AGENT, "code": part}]}
    return {"type": kind, "who": {"display": display}}
