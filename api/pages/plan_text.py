"""Passages of a plan that may say something else than its machine-readable request.

They are found by their words, so they only ask a reader to compare, and a plan without any may
still say something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from api.pages import labels as words
from api.pages.diagnoses import diagnoses
from chain.vocabulary import Purpose

_MOST = 200  # signs of a passage
_BLOCK = re.compile(r"^```.*?^```\s*?$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*(?:[#>*-]|\d+\.))")
_WITHIN = re.compile(
    r"\bin-house\b|\binternal(?:ly)?\b|\b(?:never|not) (?:be )?(?:leaves?|shared?|passed|given)\b"
    r"|\b(?:nobody|no one|nothing) (?:else|outside)\b|\bconfidential\b"
    r"|\b(?:within|inside|only (?:at|in|by|to|for)|stays? (?:at|in)|remains? (?:at|in)) (?:the|our|this)"
    r" (?:\w+ )?(?:universit|hospital|institut|department|group|clinic|cent(?:re|er)|team|consorti)",
    re.IGNORECASE,
)
_TIME = re.compile(r"\b(\d+)[\s-]*(day|week|month|year)s?\b", re.IGNORECASE)
_DAYS = {"day": 1.0, "week": 7.0, "month": 30.4, "year": 365.25}
# Of a tumour that spreads; a diagnosis has its own name.
_SPREAD = ("metasta", "spread", "relapse", "recur", "dissemin", "progress")
_STEM = 5  # letters that two forms of a word have in common: "diabetes", "diabetic"
_SHORTEST = 4
# Words of names of diagnoses that tell no two of them apart.
_COMMON = frozenset(
    "cancer other disease diseases disorder disorders sites site with without named unspecified type".split()
)


def compare(plan: str, need: int, study: Mapping[str, Any] | None) -> list[str]:
    """What a reader should compare. need: the request's mask of purposes. study: the people and the
    outcome that its runs are bound to (analytics/study.py).
    """
    prose = _BLOCK.sub("", plan)
    points = []
    recipients = [
        name
        for purpose, name in (
            (Purpose.OUTSIDE_RECIPIENT, "researchers elsewhere"),
            (Purpose.COMPANY_RECIPIENT, "companies"),
        )
        if need >> purpose & 1
    ]
    passage = next((one for one in _sentences(prose) if _WITHIN.search(one)), None)
    if recipients and passage is not None:
        points.append(
            f"The plan says “{passage}”, and the request lets results go to {' and '.join(recipients)}."
        )
    return points + (_compare_outcome(prose, study["outcome"]) if study else [])


def _compare_outcome(prose: str, outcome: Mapping[str, Any]) -> list[str]:
    points, text = [], prose.casefold()
    if not any(stem in text for stem in _stems(outcome)):
        points.append(
            f"The plan's text does not name the outcome of its runs: {words.outcome_in_full(outcome)}."
        )
    horizon = outcome.get("horizon_days", 0)
    times = {
        f"{number} {unit.lower()}{'s' * (number != '1')}": int(number) * _DAYS[unit.lower()]
        for number, unit in _TIME.findall(prose)
    }
    # A month more or less is the same time, rounded.
    if (
        horizon
        and times
        and all(abs(days - horizon) > max(31, 0.05 * horizon) for days in times.values())
    ):
        points.append(
            f"The plan's text speaks of {', '.join(times)}, and its runs of {words.duration(horizon)}."
        )
    return points


def _stems(outcome: Mapping[str, Any]) -> list[str]:
    """Beginnings of the words that name an outcome, and its codes."""
    if outcome["kind"] == "distant-metastasis":
        return list(_SPREAD)
    codes = outcome.get("event", ())
    name = words.variable(outcome["variable"]) if "variable" in outcome else diagnoses(codes)
    named = re.findall(r"[a-z]+", name.casefold())
    stems = [word[:_STEM] for word in named if len(word) >= _SHORTEST and word not in _COMMON]
    return [*stems, *(code.rpartition(":")[2].casefold() for code in codes)]


def _sentences(prose: str) -> Iterator[str]:
    for sentence in _END_OF_SENTENCE.split(_HEADING.sub("\n\n", prose)):
        text = " ".join(sentence.split()).strip("#>*- ")
        if text:
            yield text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
