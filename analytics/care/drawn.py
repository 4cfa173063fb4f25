"""A plan that was drawn: how it is put into words, and whether it still stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analytics.care.facts import FACTS, Reason
from analytics.care.rule_set import RuleSet

# What a patient hears from her clinician first: inherited risk, or that a disease has spread, is no
# line of a list. Beginnings of the names of facts.
GENETIC = ("brca", "cyp2d6", "dpyd")
OF_THE_COURSE = "metastatic mds_aml nodes positive_nodes tumour_size complete_response cps_eg pneumonitis".split()
FROM_HER_CLINICIAN = (*GENETIC, *OF_THE_COURSE)
A_RESULT = "a result that your clinician speaks with you about"
_NOTHING_THERE = (Reason.NOT_RECORDED.value, Reason.WITHHELD.value)  # it tells of no result
# Why something is not known, for a patient.
_PLAIN_REASONS = {
    Reason.NOT_RECORDED.value: "not in your record",
    Reason.TOO_OLD.value: "too old",
    Reason.WITHHELD.value: "you keep it to yourself",
    Reason.NOT_FINAL.value: "not finished",
    Reason.NO_DATE.value: "without a day",
    Reason.CONFLICTING.value: "your record says two things",
}


@dataclass(frozen=True, slots=True)
class Change:
    """An item of a plan whose rule is not as it was: why, and whether it still stands in a newer
    version."""

    rule: str
    title: str
    why: str
    newer: bool = False


def items_of(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The options of a plan, those of lifestyle last."""
    return [*plan["options"], *plan["lifestyle"]]


def warns(item: Mapping[str, Any]) -> bool:
    """Whether an item is a warning: it advises against a medicine, and outlives its plan."""
    return bool(item.get("advises_against"))


def is_out_of_date(plan: Mapping[str, Any], today: int) -> bool:
    """Whether the last day is over on which a plan may be used. today: in days since 1970-01-01."""
    return today > int(plan["valid_until"])


def changes_since(plan: Mapping[str, Any], rules: RuleSet, today: int) -> Iterator[Change]:
    """What changed in the rules of the plan's items since it was drawn."""
    present = {rule.id: rule for rule in rules.rules}
    for item in items_of(plan):
        rule, name, title = present.get(item["rule"]), item["rule"], item["title"]
        if rule is None:
            yield Change(name, title, "this rule was withdrawn")
        elif any(source["status"] != "stands" for source in rule.sources):
            yield Change(name, title, "a source of this rule does not stand any more")
        elif today >= rule.expires:
            yield Change(name, title, "this rule has expired")
        elif rule.content["version"] != item["version"]:
            yield Change(name, title, "there is a newer version of this rule", newer=True)


def not_in_force(plan: Mapping[str, Any], rules: RuleSet, today: int) -> list[Change]:
    """The items of a plan whose rule does not stand any more."""
    return [change for change in changes_since(plan, rules, today) if not change.newer]


def dose_in_words(dose: Mapping[str, Any] | None) -> str:
    """A rule's dose: "200 mg, 2 times a day (tablets)"; nothing for none."""
    if dose is None:
        return ""
    if "percent_of_usual_start" in dose:
        share = f"{dose['percent_of_usual_start']} % of the starting dose that is otherwise right"
        return f"{share}; kidneys, liver and regimen are not counted here"
    times = f"{dose['times_a_day']} times a day" if dose["times_a_day"] != 1 else "once a day"
    return f"{dose['mg']} mg, {times} ({dose['form']})"


def to_be_known_first(missing: Iterable[Mapping[str, Any]]) -> str:
    """For a patient: what has to be known before a rule says something. missing: facts of a plan."""
    return f"To be known first: {', '.join(dict.fromkeys(map(_missing_in_words, missing)))}."


def _missing_in_words(fact: Mapping[str, Any]) -> str:
    reason = fact.get("reason", "")
    if fact["fact"].startswith(FROM_HER_CLINICIAN) and reason not in _NOTHING_THERE:
        return A_RESULT
    return f"{plain_label(fact['fact'])} ({_PLAIN_REASONS.get(reason, 'not clear')})"


def plain_label(name: str) -> str:
    """What a fact is called for a patient."""
    return FACTS[name].plain or FACTS[name].label
