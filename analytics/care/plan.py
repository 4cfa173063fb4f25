"""The plan of one patient: options with their basis, what was refused and why, what it rests on,
and until when it holds.

The same facts, rules and day give the same bytes (`analytics.canonical`), in whatever order the
facts come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from analytics.care.days import date_of
from analytics.care.drawn import to_be_known_first
from analytics.care.facts import FACTS, Fact, Facts, Known, Reason, Unknown
from analytics.care.formulas import DERIVATIONS
from analytics.care.interpreter import Evaluation, Gate, State, evaluate
from analytics.care.laboratory import MONITORED
from analytics.care.monitoring import NOTHING_MEASURED, Series, next_due
from analytics.care.rule_set import RuleSet, conditions_of, facts_of, leaves

TYPE = "volens/plan/1"
SENTENCE = (
    "Research demonstration. Not cleared or CE-marked, not for diagnosis or treatment; whoever "
    "uses it for care may need a device approval."
)
_WORDS: Mapping[bool | None, str] = {True: "yes", False: "no", None: "not known"}


def draw_plan(
    facts: Facts, rules: RuleSet, today: int, measured: Mapping[str, Series] = NOTHING_MEASURED
) -> dict[str, Any]:
    """The plan as canonical JSON holds it: strings, integers, lists and objects only.

    measured: her values over time (`monitoring.read_series`), which no option rests on.

    today and every other day are days since 1970-01-01. `valid_until` is the last day on which no
    fact that an option rests on is too old and no rule of an option is expired; today, if there is
    no option. Raises RuleSetError, as `evaluate` does.
    """
    evaluations = evaluate(facts, rules, today)
    offered = [e for e in evaluations if e.state is State.OPEN]
    schedule = [
        {"rule": e.rule.id, **{name: item[name] for name in item if name != "option"}}
        for e in offered
        if e.option and not e.option.get("advises_against")
        for item in e.rule.content["schedule"]
        if item.get("option", e.option["id"]) == e.option["id"]
    ]
    return {
        "type": TYPE,
        "sentence": SENTENCE,
        "jurisdiction": rules.jurisdiction,
        "rule_set": rules.digest,
        "today": today,
        "valid_until": min([_holds_until(e, today) for e in offered], default=today),
        "options": [_option(e, rules, today) for e in offered if not _is_lifestyle(e)],
        "lifestyle": [_option(e, rules, today) for e in offered if _is_lifestyle(e)],
        "refused": [_refusal(e, rules, today) for e in evaluations if e.state is not State.OPEN],
        "facts": _facts(facts, evaluations, today),
        "warnings": [warning for e in offered for warning in _warnings(e)],
        "schedule": schedule,
        "monitoring": [
            _monitored(name, measured.get(name, Series()), facts, schedule, today)
            for name in MONITORED
        ],
        "for_patient": [_for_patient(e) for e in evaluations if _concerns(e)],
    }


def _option(evaluation: Evaluation, rules: RuleSet, today: int) -> dict[str, Any]:
    option, content = evaluation.option or {}, evaluation.rule.content
    names = ("action", "advises_against", "no_next_dose", "dose", "basis", "grade")
    shown = {name: option[name] for name in names if name in option}
    against = {"against": content["against"]} if "against" in content else {}
    condition = facts_of(option["when"])
    return {
        **_head(evaluation),
        "option": option["id"],
        "holds_until": _holds_until(evaluation, today),
        **shown,
        **against,
        "computed": _computed(evaluation, [option["when"]]),
        "facts": [_fact(name, evaluation.facts[name], today) for name in sorted({*condition})],
        "gates": [_gate(gate, evaluation, today) for gate in evaluation.gates],
        "medicines": _medicines(evaluation, rules),
        "unlisted_medicines": list(evaluation.unlisted),
    }


def _refusal(evaluation: Evaluation, rules: RuleSet, today: int) -> dict[str, Any]:
    closed = [gate for gate in evaluation.gates if gate.value is False]
    missing = evaluation.missing if evaluation.state is State.UNKNOWN or closed else ()
    return {
        **_head(evaluation),
        "state": evaluation.state.value,
        "reasons": [*evaluation.refusals, *(gate.content["closed"] for gate in closed)],
        "closed": [gate.id for gate in closed],
        "missing": [_fact(name, evaluation.facts[name], today) for name in missing],
        "change": _change(evaluation, closed),
        "row": evaluation.row["id"] if evaluation.row else "",
        "medicines": _medicines(evaluation, rules),
        "gates": [_gate(gate, evaluation, today) for gate in evaluation.gates],
    }


def _change(evaluation: Evaluation, closed: Iterable[Gate]) -> list[str]:
    """What would change it: for the gates that say no, then for what is not known."""
    return [gate.content["change"] for gate in closed] + [
        _to_be_known(FACTS[name].label, evaluation.facts[name]) for name in evaluation.missing
    ]


def _to_be_known(label: str, fact: Fact) -> str:
    if isinstance(fact, Known):  # a value that does not decide, such as an equivocal one
        return f"To be known: {label}; {_text(fact)} does not decide."
    if fact.reason is Reason.WITHHELD:
        return f"Ask the patient: {label}; it is in what the consent withholds, or could be."
    detail = f": {fact.detail}" if fact.detail else ""
    return f"To be known: {label} ({fact.reason.value}{detail})."


def _medicines(evaluation: Evaluation, rules: RuleSet) -> list[dict[str, str]]:
    """Her medicines that were seen on a list of the rule, whatever else is not known."""
    return [
        {"code": code, "name": rules.lists[of][code], "is_one_of": rules.titles[of]}
        for code, of in evaluation.listed
    ]


def _head(evaluation: Evaluation) -> dict[str, Any]:
    content = evaluation.rule.content
    names = ("title", "medicine_in_words", "signs")
    return {
        "rule": evaluation.rule.id,
        "version": content["version"],
        **{name: content[name] for name in names if name in content},
        "category": content["category"],
        "expires": evaluation.rule.expires,
        "sources": [dict(source) for source in content["sources"]],
    }


def _gate(gate: Gate, evaluation: Evaluation, today: int) -> dict[str, Any]:
    return {
        "id": gate.id,
        "label": gate.content["label"],
        "value": _WORDS[gate.value],
        **{name: gate.content[name] for name in ("closed_as",) if name in gate.content},
        "computed": _computed(evaluation, [gate.content["when"]]),
        "facts": [_fact(name, evaluation.facts[name], today) for name in gate.facts],
    }


def _computed(evaluation: Evaluation, conditions: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The derived facts that are known, by name, with their unit; a bare number has none."""
    names = {leaf["fact"] for condition in conditions for leaf in leaves(condition)}
    return {
        name: " ".join([_text(fact), FACTS[name].unit.removeprefix("1")]).strip()
        for name in sorted(names & DERIVATIONS.keys())
        if isinstance(fact := evaluation.facts[name], Known)
    }


def _fact(name: str, fact: Fact, today: int) -> dict[str, Any]:
    """A fact with its value, day and age, or with the reason why it is unknown."""
    shown: dict[str, Any] = {"fact": name, "label": FACTS[name].label}
    if isinstance(fact, Known):
        shown |= {"value": _text(fact), "unit": FACTS[name].unit}
    else:
        shown |= {"reason": fact.reason.value, "detail": fact.detail}
    if fact.day is not None:
        shown |= {"day": fact.day, "age_days": today - fact.day}
    return shown | {"sources": sorted(fact.source)}


def _text(fact: Known) -> str:
    value = fact.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(sorted(value))
    if isinstance(value, int | Decimal):
        text = format(Decimal(value), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return value


def _facts(
    facts: Facts, evaluations: Iterable[Evaluation], today: int
) -> dict[str, list[dict[str, Any]]]:
    """What the rules read: the facts that are known, and those that are missing, each as the
    strictest rule may use it."""
    used: dict[str, Fact] = {}
    for evaluation in evaluations:
        for name in evaluation.rule.needs:
            fact = evaluation.facts[name]
            if name not in used or isinstance(used[name], Known):
                used[name] = fact
    return {
        "used": [_fact(n, f, today) for n, f in sorted(used.items()) if isinstance(f, Known)],
        "missing": [
            _fact(n, f, today) for n, f in sorted(used.items()) if not isinstance(f, Known)
        ],
        "not_read": [{"fact": name} for name in sorted(facts.keys() - used.keys())],
    }


def _monitored(
    name: str, series: Series, facts: Facts, schedule: Iterable[Mapping[str, Any]], today: int
) -> dict[str, Any]:
    """Her values of the last two years, or why there is none, and when the next one is due."""
    shown: dict[str, Any] = {
        "fact": name,
        "label": FACTS[name].label,
        "unit": FACTS[name].unit,
        "values": [
            {"day": value.day, "value": _text(value), "sources": sorted(value.source)}
            for value in series.values
        ],
        "not_read": series.not_read,
        "earlier": series.earlier,
    }
    if not series.values:
        fact = facts.get(name, Unknown(Reason.NOT_RECORDED))
        why = Reason.TOO_OLD if isinstance(fact, Known) else fact.reason
        shown["reason"] = why.value
    due = next_due(name, series, schedule, today)
    return shown if due is None else shown | {"next": due}


def _warnings(evaluation: Evaluation) -> list[dict[str, Any]]:
    """general: of everybody to whom the rule applies, not by something in her record."""
    listed = [
        {"rule": evaluation.rule.id, "text": warning["text"], "general": "when" not in warning}
        for warning in evaluation.warnings
    ]
    if evaluation.aged is not None:
        text = (
            f"The newest entry of the list of medicines is of {date_of(evaluation.aged)}: "
            "what is named from it may be taken still. Ask."
        )
        listed.append({"rule": evaluation.rule.id, "text": text, "general": False})
    if evaluation.unlisted:
        codes = ", ".join(evaluation.unlisted)
        text = f"On no list of this rule, to be compared with their own labels: {codes}."
        listed.append({"rule": evaluation.rule.id, "text": text, "general": False})
    return listed


def _holds_until(evaluation: Evaluation, today: int) -> int:
    """The last day: of the facts that gates and row of the table read, and of the rule. What counts
    although it is older than the rule allows, such as a spread of the cancer, ends nothing."""
    names = {
        name for condition in conditions_of(evaluation.rule.content) for name in facts_of(condition)
    }
    ends = [evaluation.rule.expires - 1]
    for name in names:
        fact, days = evaluation.facts[name], evaluation.rule.needs[name]
        if isinstance(fact, Known) and fact.day is not None and days is not None:
            ends += [fact.day + days] if fact.day + days >= today else []
    return min(ends)


def _is_lifestyle(evaluation: Evaluation) -> bool:
    return bool(evaluation.rule.content["category"] == "lifestyle")


def _concerns(evaluation: Evaluation) -> bool:
    """Whether she reads of it: of options, and of what something is missing for. The first gate of
    a rule says whom it is about: she does not read of medicines that are perhaps not hers."""
    about_her = all(gate.value is True for gate in evaluation.gates[:1])
    return evaluation.state is State.OPEN or (evaluation.state is State.UNKNOWN and about_her)


def _for_patient(evaluation: Evaluation) -> dict[str, Any]:
    about = evaluation.rule.content["for_patient"]
    if evaluation.option is not None:
        return {"rule": evaluation.rule.id, "text": f"{about} {evaluation.option['for_patient']}"}
    missing = [_fact(name, evaluation.facts[name], 0) for name in evaluation.missing]
    text = f"{about} The plan says nothing about it yet. {to_be_known_first(missing)}"
    return {"rule": evaluation.rule.id, "text": text}
