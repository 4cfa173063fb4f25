"""Holds one patient's facts against rules, on one day.

Each rule is open (one row of its table applies), closed (a known gate says no), cannot be
evaluated (a gate, or the row of the table, needs what is not known) or refuses (the rule itself
does not hold any more, or here). There is no option while anything that it needs is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from analytics.care.days import date_of
from analytics.care.facts import FACTS, Fact, FactKind, Facts, Kind, Known, Reason, Unknown
from analytics.care.formulas import DERIVATIONS, derived
from analytics.care.logic import Truth, conjunction, disjunction, negation
from analytics.care.rule_set import COMPLETE, Rule, RuleSet, conditions_of, facts_of, leaves
from analytics.errors import RuleSetError

_NOT_RECORDED = Unknown(Reason.NOT_RECORDED)
_NOTHING_NOW = (Reason.NOT_RECORDED, Reason.TOO_OLD, Reason.WITHHELD)
_ATC_LEVEL_5 = re.compile(r"atc:[A-Z][0-9]{2}[A-Z]{2}[0-9]{2}")
_ATC_ABOVE = re.compile(r"atc:[A-Z]([0-9]{2}[A-Z]{0,2})?")


class State(StrEnum):
    """What a rule says about one patient."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "cannot be evaluated"
    REFUSES = "refuses"


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate with its value, and the facts that it read."""

    id: str
    content: Mapping[str, Any]
    value: Truth
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one rule says. `option`: the row of its table, only if open; `refusals`: why the rule
    itself does not hold, all of them; `facts`: every fact that the rule reads, as it may be used
    on this day; `missing`: those without which it cannot be evaluated; `listed`: her medicines that
    are on a list of the rule, as (code, list); `row`: the row of its table that would apply,
    whatever the gates say; `unlisted`: those that are on none; `aged`: the day
    of her list of medicines where it is too old for more than what was on it."""

    rule: Rule
    state: State
    option: Mapping[str, Any] | None
    row: Mapping[str, Any] | None
    gates: tuple[Gate, ...]
    refusals: tuple[str, ...]
    warnings: tuple[Mapping[str, Any], ...]
    facts: Facts
    missing: tuple[str, ...]
    listed: tuple[tuple[str, str], ...]
    unlisted: tuple[str, ...]
    aged: int | None


def evaluate(facts: Facts, rules: RuleSet, today: int) -> tuple[Evaluation, ...]:
    """Every rule of the set, in the order of their ids. today: a day since 1970-01-01.

    facts: names of `FACTS`; what is missing is not recorded, what has another kind of value than
    its name says is not understood. Raises RuleSetError for a name that is no fact, or is one that
    is derived here, and for a rule of which two rows apply.
    """
    if strange := facts.keys() - (FACTS.keys() - DERIVATIONS.keys()):
        raise RuleSetError(f"{min(strange)} is no fact that a reader gives")
    checked = {name: _understood(name, fact) for name, fact in facts.items()}
    return tuple(_evaluated(rule, checked, rules, today) for rule in rules.rules)


def _evaluated(rule: Rule, facts: Facts, rules: RuleSet, today: int) -> Evaluation:
    usable = _Usable(rule, facts, rules, today)
    content = rule.content
    gates = tuple(
        Gate(gate["id"], gate, usable.truth(gate["when"]), tuple(sorted({*facts_of(gate["when"])})))
        for gate in content["gates"]
    )
    rows = [
        (option, usable.truth(option["when"], of_dose="dose" in option))
        for option in content["options"]
    ]
    refusals = tuple(_refusals(rule, rules.jurisdiction, today))
    state = _state([gate.value for gate in gates], [value for _, value in rows], refusals)
    certain = all(value is not None for _, value in rows)
    row = next((row for row, value in rows if value), None) if certain else None
    option = row if state is State.OPEN else None
    if option is not None and sum(value is True for _, value in rows) > 1:
        raise RuleSetError(f"two rows of {rule.id} apply")
    open_conditions = [gate.content["when"] for gate in gates if gate.value is None]
    if state is State.UNKNOWN and not open_conditions:
        open_conditions = [row["when"] for row, value in rows if value is None]
    missing = usable.missing(open_conditions)
    if state is State.UNKNOWN and not missing:  # all is known, and no row is for it
        missing = tuple(sorted({name for row, _ in rows for name in facts_of(row["when"])}))
    return Evaluation(
        rule=rule,
        state=state,
        option=option,
        row=row,
        gates=gates,
        refusals=refusals,
        warnings=tuple(
            warning
            for warning in content["warnings"]
            if "when" not in warning or usable.truth(warning["when"]) is not False
        ),
        facts=usable.facts,
        missing=missing,
        listed=usable.listed(),
        unlisted=usable.unlisted(),
        aged=usable.aged(),
    )


def _state(gates: list[Truth], rows: list[Truth], refusals: tuple[str, ...]) -> State:
    if refusals:
        return State.REFUSES
    passed = conjunction(gates)
    if passed is False:
        return State.CLOSED
    # A row that is unknown may be the one that applies, whatever another says.
    certain = passed is True and None not in rows and True in rows
    return State.OPEN if certain else State.UNKNOWN


def _refusals(rule: Rule, jurisdiction: str, today: int) -> Iterator[str]:
    """Why the rule itself does not hold, in a fixed order."""
    content = rule.content
    if content["jurisdiction"] not in ("any", jurisdiction):
        yield f"the rule is for {content['jurisdiction']}, not for {jurisdiction}"
    for source in rule.sources:
        if source["status"] != "stands":
            yield f"its source is {source['status']}: {source['title']}"
    if today >= rule.expires:
        yield f"the rule, or a list or table that it reads, expired on {date_of(rule.expires)}"


class _Usable:
    """The facts that one rule may use on one day: none older than the rule allows, those that are
    derived among them."""

    def __init__(self, rule: Rule, facts: Facts, rules: RuleSet, today: int) -> None:
        self._rules, self._rule = rules, rule
        usable = {
            name: _fresh(name, facts.get(name, _NOT_RECORDED), days, today, name in rule.lasting)
            for name, days in rule.needs.items()
        }
        # What is on a list of medicines that is too old may be taken still, as far as the rule
        # knows it. That nothing else is taken, nobody can say.
        self._aged = {
            name
            for name in COMPLETE
            if _is_too_old(usable.get(name)) and self._on_lists(facts[name])
        }
        for name in self._aged:
            usable[COMPLETE[name]] = usable[name]
            usable[name] = facts[name]
        self._derived = {
            name: derived(name, usable, today, rules.tables)
            for name, derivation in DERIVATIONS.items()
            if usable.keys() >= set(derivation.inputs)
        }
        self.facts: dict[str, Fact] = {**usable, **self._derived}

    def truth(self, condition: Mapping[str, Any], of_dose: bool = False) -> Truth:
        """The value of a condition: True, False, or None if it is not known.

        of_dose: whether a dose hangs on it; then nothing follows from a list that is too old.
        """
        if "all" in condition:
            return conjunction(self.truth(part, of_dose) for part in condition["all"])
        if "any" in condition:
            return disjunction(self.truth(part, of_dose) for part in condition["any"])
        if "not" in condition:
            return negation(self.truth(condition["not"], of_dose))
        value = None if of_dose and condition["fact"] in self._aged else self._compared(condition)
        return False if value is None and condition.get("on_unknown") == "no" else value

    def missing(self, conditions: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """The facts that the conditions hang on: those of parts that are unknown themselves. Of a
        derived fact of which every input is known, its own name."""
        return tuple(sorted({name for part in conditions for name in self._undecided(part)}))

    def listed(self) -> tuple[tuple[str, str], ...]:
        """Her medicines that are on lists of the rule, each with the list's name."""
        return self._on_lists(self.facts.get("medicines", _NOT_RECORDED))

    def unlisted(self) -> tuple[str, ...]:
        """Her medicines that are on none of the lists, if the rule reads any."""
        codes = _codes(self.facts.get("medicines", _NOT_RECORDED)) if self._lists() else ()
        return tuple(sorted({*codes} - {code for code, _ in self.listed()}))

    def aged(self) -> int | None:
        """The day of a list of medicines that is too old and names some of the rule's, or None."""
        fact = self.facts.get("medicines")
        return fact.day if "medicines" in self._aged and fact else None

    def _on_lists(self, medicines: Fact) -> tuple[tuple[str, str], ...]:
        pairs = {(code, name) for name in self._lists() for code in _codes(medicines)}
        return tuple(sorted(pair for pair in pairs if pair[0] in self._rules.lists[pair[1]]))

    def _lists(self) -> set[str]:
        conditions = conditions_of(self._rule.content)
        return {x["value"] for c in conditions for x in leaves(c) if x["op"] == "any of"}

    def _undecided(self, condition: Mapping[str, Any]) -> Iterator[str]:
        if self.truth(condition) is not None:
            return
        parts = [*condition.get("all", ()), *condition.get("any", ())]
        for part in [*parts, condition["not"]] if "not" in condition else parts:
            yield from self._undecided(part)
        if "fact" in condition:
            inputs = [n for n in facts_of(condition) if isinstance(self.facts[n], Unknown)]
            yield from inputs or [condition["fact"]]

    def _compared(self, leaf: Mapping[str, Any]) -> Truth:
        fact, value = self.facts[leaf["fact"]], leaf.get("value")
        op: str = leaf["op"]
        if op in ("known", "unknown"):
            return isinstance(fact, Known) == (op == "known")
        if op == "unrecorded":
            return isinstance(fact, Unknown) and fact.reason in _NOTHING_NOW
        if isinstance(fact, Unknown):
            return None
        if op == "any of":
            return self._any_of(leaf["fact"], fact, self._rules.lists[str(value)])
        if op == "after":
            other = self.facts[str(value)]
            if not isinstance(other, Known) or other.day is None or fact.day is None:
                return None
            return fact.day > other.day
        if fact.value in leaf.get("unclear", ()):
            return None
        if op in (">=", "<"):
            reached = Decimal(str(fact.value)) >= Decimal(str(value))
            return reached == (op == ">=")
        return (
            fact.value in value if op == "in" and isinstance(value, list) else fact.value == value
        )

    def _any_of(self, name: str, fact: Known, codes: Mapping[str, str]) -> Truth:
        """Whether a medicine is of the list: one that was seen is enough. "None of them" can be
        said only of a whole list whose every code is understood."""
        seen = disjunction(self._is_of(code, codes) for code in _codes(fact))
        complete = self.facts[COMPLETE[name]] if name in COMPLETE else Known(True, None)
        certain = isinstance(complete, Known) and complete.value is True
        return seen if seen is not False or certain else None

    def _is_of(self, code: str, codes: Mapping[str, str]) -> Truth:
        """Unknown for a code above ATC's last level that could hold one of the list, for an RxNorm
        code that was never read, and for any other system."""
        if code in codes:
            return True
        if _ATC_LEVEL_5.fullmatch(code):
            return False
        if _ATC_ABOVE.fullmatch(code):
            return None if any(listed.startswith(code) for listed in codes) else False
        return False if code in self._rules.read_codes else None


def _fresh(name: str, fact: Fact, days: int | None, today: int, lasting: bool) -> Fact:
    """The fact, or why its age forbids its use. days: the oldest that it may be, None for any.
    lasting: whether a "yes" may be of any age."""
    if isinstance(fact, Unknown):
        return fact
    if fact.day is not None and fact.day > today:
        return Unknown(Reason.NOT_UNDERSTOOD, "dated after today", fact.day, fact.source)
    if days is None or (lasting and fact.value is True):
        return fact
    if fact.day is None:
        return Unknown(Reason.NO_DATE, "", None, fact.source)
    if today - fact.day > days:
        detail = f"{_last(FACTS[name], fact)}{today - fact.day} days old, at most {days}"
        return Unknown(Reason.TOO_OLD, detail, fact.day, fact.source)
    return fact


def _last(kind: FactKind, fact: Known) -> str:
    """What a value that is too old was, for whoever renews it; nothing of a list."""
    if isinstance(fact.value, bool):
        return "yes, " if fact.value else "no, "
    unit = f" {kind.unit}" if kind.unit not in ("", "1") else ""
    return "" if isinstance(fact.value, tuple) else f"{fact.value}{unit}, "


def _is_too_old(fact: Fact | None) -> bool:
    return isinstance(fact, Unknown) and fact.reason is Reason.TOO_OLD


def _understood(name: str, fact: Fact) -> Fact:
    """The fact, if its value is of the kind that `FACTS` says."""
    if isinstance(fact, Unknown):
        return fact
    kind, value = FACTS[name], fact.value
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    right = {
        Kind.YES_NO: isinstance(value, bool),
        Kind.NUMBER: number and Decimal(str(value)).is_finite() and Decimal(str(value)) >= 0,
        Kind.WORD: isinstance(value, str) and value in kind.words,
        Kind.LIST: isinstance(value, tuple) and all(isinstance(code, str) for code in value),
    }[kind.kind]
    if right:
        return fact
    return Unknown(Reason.NOT_UNDERSTOOD, f"not a value of {kind.label}", fact.day, fact.source)


def _codes(fact: Fact) -> tuple[str, ...]:
    return fact.value if isinstance(fact, Known) and isinstance(fact.value, tuple) else ()
