"""An opened plan of one patient's care as values for the pages: of its clinician, and of herself.

A plan is out of date after its last day, and then shows no option in words: no dose, no proposal
and no note, which could name one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from analytics.care.days import date_of
from analytics.care.drawn import (
    changes_since,
    dose_in_words,
    is_out_of_date,
    items_of,
    plain_label,
    warns,
)
from analytics.care.facts import FACTS, Kind
from analytics.care.interpreter import State
from analytics.care.medicine_table import names_by_code
from analytics.care.rule_set import RuleSet
from api.pages import plots, run_text
from api.pages.labels import duration

# How each derived fact is computed (analytics/care/formulas.py), in words.
FORMULAS: Mapping[str, str] = {
    "creatinine_clearance": (
        "(140 − age) × weight in kg ÷ (72 × creatinine in mg/dL), for women × 0.85 (Cockcroft and "
        "Gault 1976); never from an estimated filtration rate"
    ),
    "dpyd_score": (
        "the two lowest activity values added (CPIC); different variants are presumed to be on "
        "different copies of the gene: a test of their phase can confirm it"
    ),
    "cyp2d6_score": "the activity values of both alleles added (CPIC)",
    "hormone_receptor": "oestrogen receptor or progesterone receptor",
    "liver": "the worse of the recorded impairment and of what the Child-Pugh class says",
    "pregnancy_excluded": "recorded as absent, or impossible by sex or menopause",
    "breast_feeding_excluded": "recorded as absent, or impossible by sex or menopause",
}
UNITS: Mapping[str, str] = {"1": "", "a": "years", "10*9/L": "× 10⁹ per litre"}
DECISIONS: Mapping[str, str] = {
    "accept": "agrees with this and will speak with you about it",
    "decline": "decided not to use this suggestion",
    "defer": "decides about it later, with you",
}
_PLACES = 2  # of a value over time; the facts have it as exactly as a dose takes it
# What a value does not say by itself, in words.
_MEANINGS: Mapping[str, str] = {
    "tested variant not found": "the tested variant was not found, which does not exclude others",
    "uncertain significance": "a variant whose meaning is not known, from which nothing follows",
}
# The same for a patient: categories of T and N (AJCC, 8th edition, breast).
_PLAIN_VALUES: Mapping[str, str] = {
    "T0": "no tumour seen (T0)",
    "Tis": "in its place of origin alone (Tis)",
    "T1": "up to 2 cm (T1)",
    "T2": "more than 2 and up to 5 cm (T2)",
    "T3": "more than 5 cm (T3)",
    "T4": "grown into skin or chest wall (T4)",
    "N0": "none (N0)",
    "N1": "in a few (N1)",
    "N2": "in several (N2)",
    "N3": "in many (N3)",
}
# Concluded from a list of medicines in which there is none, not asked.
_FROM_THE_LIST = frozenset({"chemotherapy", "endocrine_therapy", "earlier_parp_inhibitor"})
# What she hears from her clinician first: inherited risk, or that a disease has spread, is no line of
# a list. Beginnings of the names of facts.
_GENETIC = ("brca", "cyp2d6", "dpyd")
_FROM_HER_CLINICIAN = (*_GENETIC, "metastatic", "mds_aml", "nodes", "positive_nodes", "tumour_size")
_CODE = re.compile(r"\b(?:rxnorm:[0-9]+|atc:[A-Z0-9]+)\b")


@dataclass(frozen=True, slots=True)
class Item:
    """An option of the plan with its clinician's decision, "" before his countersignature or where
    he made none.
    """

    rule: str
    option: Mapping[str, Any]
    dose: str
    computed: list[tuple[str, str, str]]  # what, its value, how it is computed
    warnings: list[str]  # by something in her record
    general: list[str]  # of everybody to whom the rule applies
    decision: str
    note: str
    for_patient: str
    stopped: str  # why the rule is not in force any more, "" if it is
    warns: bool  # it advises against a medicine
    title: str  # for herself: a point about her genes has none before her clinician agreed with it
    inputs: list[str]  # the measured values that its row of the rule rests on, each with its day


def describe(
    plan: Mapping[str, Any], notes: Mapping[str, Any], today: int, rules: RuleSet
) -> dict[str, Any]:
    """The values for the templates. notes: `{}` before the countersignature; today: in days."""
    decided: Mapping[str, Any] = notes.get("items", {})
    about_her = {entry["rule"]: entry["text"] for entry in plan["for_patient"]}
    changes = list(changes_since(plan, rules, today))
    stopped = {change.rule: change.why for change in changes if not change.newer}
    items = [
        _item(option, plan, decided.get(option["rule"], {}), about_her, stopped)
        for option in sorted(items_of(plan), key=warns, reverse=True)
    ]
    out_of_date = is_out_of_date(plan, today)
    offered = {item.rule for item in items}
    wanted = {item.rule for item in items if item.decision == "accept" and not item.stopped}
    titles = {item["rule"]: item["title"] for item in items_of(plan)}
    return {
        "plan": plan,
        "out_of_date": out_of_date,
        "before": plan["rule_set"] != rules.digest,
        "changed": [f"{change.title}: {change.why}" for change in changes],
        "items": items,
        "titles": titles,
        "comment": notes.get("comment", ""),
        "refused": [
            refusal
            | {
                "computed": _computed(refusal),
                "applies": _applies(refusal),
                "change": [line for line in refusal["change"] if not line.startswith("Nothing")],
            }
            for refusal in plan["refused"]
        ],
        "seen": [
            refusal
            for refusal in plan["refused"]
            if refusal["medicines"] and refusal["state"] == State.UNKNOWN
        ],
        "days_ago": max(0, today - plan["today"]),
        "warned": any(item.warns and item.decision for item in items),
        "person": [
            fact_in_words(fact)
            for name in ("sex", "age")
            for fact in plan["facts"]["used"]
            if fact["fact"] == name
        ],
        "not_known": [text for rule, text in about_her.items() if rule not in offered],
        "schedule": [entry | {"every": _every(entry)} for entry in plan["schedule"]],
        "her_schedule": [
            entry | {"every": _every(entry)}
            for entry in plan["schedule"]
            if entry["rule"] in wanted
        ],
        "her_facts": _her_facts(plan, items),
        "stopped": any(item.stopped for item in items),
        "measured": [
            _measured(measurement, out_of_date) for measurement in plan.get("monitoring", ())
        ],
        "wanted": wanted,
        "prognosis": _prognosis(notes.get("prognosis")),
        "decisions": DECISIONS,
        "in_words": fact_in_words,
        "plain_label": plain_label,
    }


def _measured(entry: Mapping[str, Any], out_of_date: bool) -> dict[str, Any]:
    """One measurement over time, with its plot if there are two values or more; the next day only
    while the plan is in force.
    """
    unit = UNITS.get(entry["unit"], entry["unit"])
    what = f"{entry['label']}, {unit}" if unit else entry["label"]
    due = None if out_of_date else entry.get("next")
    values = [(value["day"], round(float(value["value"]), _PLACES)) for value in entry["values"]]
    name = f"measured-{entry['fact']}"
    return {
        **entry,
        "unit": unit,
        "values": [{"day": day, "value": f"{value:g}"} for day, value in values],
        "next": due,
        "plot": plots.over_time(values, due and due["day"], name, what) if len(values) > 1 else "",
    }


def _prognosis(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the clinician put beside the plan about a group of people, with the curve of its rows
    as they were released.
    """
    if given is None:
        return None
    group = run_text.group(given.get("stratum", ""))
    points = [
        (round(row["days"] / 365.25, 1), row["survival"], *row["interval"])
        for row in given.get("points", ())
    ]
    plot = plots.survival_curves({group: points}, "prognosis", "years") if points else ""
    return {**given, "group": group, "plot": plot}


def fact_in_words(fact: Mapping[str, Any]) -> str:
    """The value of a known fact with its unit; medicines by their names where the table of
    medicines has one.
    """
    value, unit = str(fact["value"]), fact.get("unit", "")
    if fact["fact"] in ("medicines", "medicines_ever"):
        named = names_by_code()
        value = ", ".join(named.get(code, f"code {code}") for code in value.split(", ") if code)
    if fact["fact"] == "medicines_complete":
        value = (
            "no entry of this record that could be a medicine is missing; medicines from "
            "elsewhere, or without a prescription, are not in it"
        )
    if fact["fact"] in _FROM_THE_LIST and value in ("no", "none"):
        value = "none in this record"
    value = _MEANINGS.get(value, value)
    return " ".join([value or "none recorded", UNITS.get(unit, unit)]).strip()


def _her_facts(plan: Mapping[str, Any], items: Iterable[Item]) -> list[dict[str, Any]]:
    """The facts that were used, for herself: one of `_FROM_HER_CLINICIAN` only where her clinician
    agreed with an option that rests on it.
    """
    agreed = {
        fact["fact"]
        for item in items
        if item.decision == "accept"
        for part in (item.option, *item.option["gates"])
        for fact in part["facts"]
    }
    return [
        {
            "label": plain_label(fact["fact"]),
            "day": fact.get("day"),
            "words": "a result that your clinician speaks with you about"
            if fact["fact"].startswith(_FROM_HER_CLINICIAN) and fact["fact"] not in agreed
            else _PLAIN_VALUES.get(str(fact["value"]), fact_in_words(fact)),
        }
        for fact in plan["facts"]["used"]
        if fact["fact"] != "medicines_complete"
    ]


def _applies(part: Mapping[str, Any]) -> bool:
    """Whether a rule that is no option is about her at all: its first gate says whom it is for."""
    return not part["gates"] or part["gates"][0]["id"] not in part["closed"]


def _item(
    option: Mapping[str, Any],
    plan: Mapping[str, Any],
    decided: Mapping[str, str],
    about_her: Mapping[str, str],
    stopped: Mapping[str, str],
) -> Item:
    rule, decision = option["rule"], decided.get("decision", "")
    genetic = any(
        fact["fact"].startswith(_GENETIC) for gate in option["gates"] for fact in gate["facts"]
    )
    warnings = [warning for warning in plan["warnings"] if warning["rule"] == rule]
    return Item(
        rule,
        option,
        dose_in_words(option.get("dose")),
        _computed(option),
        [_named(warning["text"]) for warning in warnings if not warning.get("general")],
        [_named(warning["text"]) for warning in warnings if warning.get("general")],
        decision,
        decided.get("note", ""),
        about_her.get(rule, ""),
        stopped.get(rule, ""),
        warns(option),
        "A point about your genes" if genetic and decision != "accept" else option["title"],
        [
            f"{fact['label']} {fact_in_words(fact)}"
            + (f" ({date_of(fact['day'])})" if "day" in fact else "")
            for fact in option["facts"]
            if "value" in fact and FACTS[fact["fact"]].kind is Kind.NUMBER
        ],
    )


def _computed(part: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What an option or a refusal computes, with its value and formula, each once."""
    values = dict(part.get("computed", {}))
    for gate in part["gates"]:
        values |= gate["computed"]
    return [
        (
            FACTS[name].label if name in FACTS else name,
            _rounded(name, value),
            FORMULAS.get(name, ""),
        )
        for name, value in sorted(values.items())
    ]


def _named(text: str) -> str:
    """A text with the names of known medicines before their codes."""
    names = names_by_code()
    return _CODE.sub(
        lambda code: f"{names[code[0]]} ({code[0]})" if code[0] in names else code[0], text
    )


def _rounded(name: str, value: str) -> str:
    """A clearance to a tenth, downwards, so that it stays in its class. The plan has it whole."""
    if name != "creatinine_clearance":
        return value
    number, _, unit = value.partition(" ")
    return f"{Decimal(number).quantize(Decimal('0.1'), ROUND_DOWN)} {unit}"


def _every(entry: Mapping[str, Any]) -> str:
    days = entry.get("every_days")
    if days is None:
        return "once"
    return f"every {duration(days)}".replace("every 1 ", "every ")
