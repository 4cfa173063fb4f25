"""An opened plan as plain text for the command line: what its page says, from the same values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from itertools import groupby
from operator import itemgetter
from typing import Any

from analytics.care.rule_set import RuleSet
from api.operate.logs import escape
from api.pages.care_view import DOES_NOT_APPLY, Item, describe, known_of
from api.pages.labels import day, short
from api.pages.rendering import render_part

WIDTH = 100
_BLOCKS = {"article", "h2", "h3", "h4", "li", "p", "section", "table", "tr", "ul"}
_LEFT_OUT = {
    "away",
    "no-print",
    "print-only",
}  # classes: for a screen reader, screen or paper alone
_DECIDED = {"accept": "accepted", "decline": "declined", "defer": "deferred"}


def described(
    plan: Mapping[str, Any], notes: Mapping[str, Any], today: int, rules: RuleSet
) -> dict[str, Any]:
    """As `care_view.describe`; of what was measured the newest value alone, so nothing is drawn."""
    newest = [entry | {"values": entry["values"][-1:]} for entry in plan.get("monitoring", ())]
    return describe({**plan, "monitoring": newest}, notes, today, rules)


def for_patient(opened: Mapping[str, Any]) -> str:
    """The text of the patient's page itself, so that it says no more than the page."""
    page = _PageText()
    page.feed(render_part("part-my-plan.html", opened=opened, plan={"subject": ""}))
    return _wrapped(page.lines)


def for_clinician(opened: Mapping[str, Any]) -> str:
    """The plan for its clinician: each option with its reason, then what gives none and why."""
    return _wrapped(_clinicians_lines(opened))


def to_be_signed(opened: Mapping[str, Any], decisions: Mapping[str, Any]) -> str:
    """What a countersignature agrees to: beside each item the decision on it."""
    lines = ["You are about to countersign this plan:", opened["plan"]["sentence"]]
    for item in opened["items"]:
        decided = decisions[item.rule]
        agreed = f". I agree: {item.agree}" if decided["decision"] == "accept" else ""
        lines += ["", f"{item.option['title']} [{item.pill}]", f"  {item.statement}"]
        if item.because:
            lines.append(f"  Because of {'; '.join(item.because)}.")
        lines += [f"  Warning: {warning}" for warning in item.warnings]
        if item.seen:
            lines.append(f"  Medicines seen: {', '.join(item.seen)}.")
        lines.append(f"  Your decision: {decided['decision']}{agreed}")
        if decided["note"]:
            lines.append(f"  Your note: {decided['note']}")
    return _wrapped(lines)


def _clinicians_lines(opened: Mapping[str, Any]) -> Iterator[str]:
    plan, over = opened["plan"], opened["out_of_date"]
    yield plan["sentence"]
    yield ""
    if opened["person"]:
        yield f"The patient: {', '.join(opened['person'])}"
    yield f"Drawn on {day(plan['today'])}. Not valid after {day(plan['valid_until'])}."
    yield f"Rules of jurisdiction {plan['jurisdiction']}, rule set {short(plan['rule_set'])}."
    if over:
        why = "; ".join(opened["aged"]) or "a fact is too old now, or a rule has expired"
        yield f"THIS PLAN IS OUT OF DATE: {why}. No option and no dose is shown. Ask for a new plan."
    if opened["before"] or opened["changed"]:
        yield "Drawn by older rules."
        yield from (f"  {line}" for line in opened["changed"])
    for part in opened["seen"]:
        yield f"Seen among the medicines: {_listed(part)}: see “{part['title']}”"
        yield from (f"  {reason}" for reason in part["reasons"])
    yield from opened["scores"]
    for item in opened["items"]:
        yield from ("", f"{item.option['title']} [{item.pill}]")
        yield from (f"  {line}" for line in _item_lines(item, opened))
    if not opened["items"]:
        yield from ("", "No option is open: see what was refused, and why.")
    if opened["schedule"] and not over:
        yield from ("", "Tests and visits")
        for rule, entries in groupby(opened["schedule"], itemgetter("rule")):
            yield f"  Because of “{opened['titles'][rule]}”:"
            yield from (f"  - {e['what']}: {e['first']}, {e['every']}" for e in entries)
    yield from ("", "No option, and why")
    for part in opened["refused"]:
        yield f"  - {part['title']}: {part['verdict']}. {' '.join(part['reasons'])}".rstrip()
        if part["change"] and part["verdict"] != DOES_NOT_APPLY:
            changed = " ".join(part["change"])
            yield f"    Looked at again if the record showed (no recommendation to do it): {changed}"
        if part["medicines"]:
            yield f"    Medicines on a list of this rule: {_listed(part)}"
    if opened["clinicians_prognosis"]:
        yield from ("", "How a group of people fared")
        yield from (f"  - {line}" for line in opened["clinicians_prognosis"]["sentences"])
    if opened["comment"] and not over and not opened["stopped"]:
        yield from ("", f"You wrote about the plan: {opened['comment']}")
    yield from (
        "",
        "Conditions, sources, formulas and values over time: on the page, or with --json.",
    )


def _item_lines(item: Item, opened: Mapping[str, Any]) -> Iterator[str]:
    option, over = item.option, opened["out_of_date"]
    if item.stopped and item.warns:
        yield (
            f"This statement does not stand any more: {item.stopped}. It advised against the "
            "medicine; that is no permission to give it. Ask for a new plan."
        )
    elif item.stopped:
        yield (
            f"Do not start by this option: {item.stopped}. Its dose is not shown; it is no reason to "
            "stop what was started. Ask for a new plan."
        )
    elif over and item.outlives:
        yield f"{item.outlives} (As of {day(opened['plan']['today'])}.)"
    if item.stopped or over:
        return
    yield option["action"] if item.dose and not item.warns else item.statement
    if item.dose:
        first = ", before a first cycle only" if "percent_of_usual_start" in option["dose"] else ""
        yield f"Dose by the rule{first}: {item.dose}"
    if item.because:
        yield f"Because of {'; '.join(item.because)}"
    facts = "; ".join(known_of(option, *option["gates"])) or "no fact"
    yield f"From {facts}. This holds until {day(option['holds_until'])}, included."
    if "basis" in option:
        yield f"Basis ({option.get('grade', 'no grade given')}): {option['basis']}"
    if "against" in option:
        yield f"Against it: {option['against']}"
    yield from (f"Warning: {warning}" for warning in item.warnings)
    if item.general:
        yield f"For everybody to whom this applies: {' '.join(item.general)}"
    if item.seen:
        yield f"Medicines on a list of this rule: {', '.join(item.seen)}"
    if item.decision:
        note = f": {item.note}" if item.note else ""
        yield f"You {_DECIDED[item.decision]} it{note}"


def _listed(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{entry['name']} ({entry['is_one_of']})" for entry in part["medicines"])


def _wrapped(lines: Iterable[str]) -> str:
    """Lines of at most `WIDTH` characters; what goes on stands further to the right. A note may hold
    anything: what would move a terminal's cursor is escaped.
    """
    pieces: list[str] = []
    for line in lines:
        pieces += textwrap.wrap(
            line,
            WIDTH,
            subsequent_indent=" " * (len(line) - len(line.lstrip(" -")) + 2),
            break_on_hyphens=False,
            break_long_words=False,
        ) or [""]
    return "\n".join(map(escape, pieces))


class _PageText(HTMLParser):
    """The lines of a page, without what is closed, drawn, or for a screen or paper alone."""

    def __init__(self) -> None:
        super().__init__()
        self._lines, self._left_out = [""], 0

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._lines if line.strip(" -")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = set((dict(attrs).get("class") or "").split())
        if tag == "br":
            return
        if self._left_out or tag in ("details", "svg") or classes & _LEFT_OUT:
            self._left_out += 1
        elif tag in _BLOCKS:
            self._lines += ["\n"] if tag == "h3" else []
            self._lines.append("- " if tag == "li" else "")
        elif tag in ("td", "th"):
            self._lines[-1] += "  "

    def handle_endtag(self, tag: str) -> None:
        if self._left_out:
            self._left_out -= 1
        elif tag in _BLOCKS:
            self._lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._left_out:
            before, words = self._lines[-1], " ".join(data.split())
            apart = " " if data[:1].isspace() and before and not before.endswith(" ") else ""
            after = " " if data[-1:].isspace() and words else ""
            self._lines[-1] = before + apart + words + after
