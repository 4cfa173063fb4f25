"""The index of the rules of care plans, their page, and what keeps them from being shipped."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from analytics.care.days import date_of, day_of
from analytics.care.rule_set import FOLDER, Rule, RuleSet, index_of, rule_set_of
from analytics.errors import AnalyticsError

JURISDICTION = "US"
_DOCUMENT = [
    "# Rules of care plans",
    "",
    "What a care plan is drawn from: facts in our words, each with its source, the day on which "
    "that was read and where, and the day from which the rule is refused. A committee approves "
    "the hash of the whole set. NCCN, ESMO, NICE, texts of PharmGKB and SNOMED CT are not in it.",
    "",
    "RxNorm's codes are courtesy of the US National Library of Medicine, which is not responsible "
    "for this product and does not endorse it. ATC's codes are those of the WHO Collaborating "
    "Centre for Drug Statistics Methodology.",
]


def files() -> dict[str, bytes]:
    """The files of the rule set, by name."""
    return {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.json"))}


def write_index() -> str:
    """analytics/care/rules/index.json."""
    return index_of(files(), JURISDICTION).decode()


def loaded() -> RuleSet:
    """The rule set with a fresh index. Raises RuleSetError."""
    return rule_set_of({**files(), "index.json": write_index().encode()})


def faults(today: datetime.date | None = None, rules: RuleSet | None = None) -> list[str]:
    """What is expired, does not stand, or is no rule with its source, one sentence each."""
    day = day_of((today or datetime.datetime.now(datetime.UTC).date()).isoformat())
    try:
        shipped = rules or loaded()
    except AnalyticsError as error:
        return [f"rules of care plans: {error}"]
    return [
        f"rules of care plans: {rule.id} {fault}"
        for rule in shipped.rules
        for fault in _faults(rule, day)
    ]


def write_page() -> list[str]:
    """docs/reference/care-rules.md, but for its last line."""
    rules = loaded()
    lines = [*_DOCUMENT, "", f"Hash of the rule set: `{rules.digest}`"]
    for rule in rules.rules:
        content = rule.content
        lines += [
            "",
            f"## {content['title']}",
            f"`{rule.id}`, version {content['version']}, jurisdiction {content['jurisdiction']}, "
            f"refused from {date_of(rule.expires)}.",
            "",
        ]
        lines += [_cited(source) for source in content["sources"]]
    return lines


def _faults(rule: Rule, today: int) -> Iterator[str]:
    if today >= rule.expires:
        yield f"expired on {date_of(rule.expires)}"
    for source in rule.sources:
        if source["status"] != "stands":
            yield f"rests on a source that is {source['status']}"
        if day_of(source["read_on"]) > today:
            yield f"was read on {source['read_on']}, which is yet to come"


def _cited(source: Any) -> str:
    return (
        f"- [{source['title']}]({source['url']}), {source['section']}; of {source['dated']}, read "
        f"on {source['read_on']} in {source['read_in']}. Licence: {source['licence']}."
    )
