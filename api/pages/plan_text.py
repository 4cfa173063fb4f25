"""Passages of a plan that may say something else than its machine-readable request.

They are found by their words, so they only ask a reader to compare, and a plan without any may
still say something else.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from api.pages import labels as words
from api.pages.diagnoses import diagnoses
from api.pages.labels import LAST_SECOND
from chain.vocabulary import Category, Purpose

_MOST = 200  # signs of a passage
_MOST_PASSAGES = 3
_BLOCK = re.compile(r"^```.*?^```\s*?$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*(?:[#>*-]|\d+\.))")
_INSTITUTION = (
    r"(?:universit|hospital|institut|department|group|clinic|cent(?:re|er)|team|consorti)"
)
_WITHIN = re.compile(
    r"\bin-house\b|\binternal(?:ly)?\b|\bconfidential\b|\bpremises\b|\bnowhere\b"
    r"|\b(?:never|not) (?:be )?(?:leaves?|shared?|passed|given|sent|go)\b|\bnothing (?:leaves|outside)\b"
    r"|\bno (?:data|results?|records?)\b[^.;]{0,40}\b(?:leaves?|passed|given|shared|sent|go(?:es)?)\b"
    r"|\b(?:nobody|no one) (?:else|outside)\b|\bno (?:company|companies|outsiders?)\b"
    r"|\bshared? with (?:nobody|no one)\b|\b(?:to ourselves|with us)\b"
    rf"|\b(?:within|inside|only (?:at|in|by|to|for)) (?:the|our|this|my) (?:\w+ )?{_INSTITUTION}"
    rf"|\bonly (?:the|our|my) (?:\w+ )?{_INSTITUTION}|\bresults? (?:stays?|remains?|are kept) (?:at|in|on|here)\b",
    re.IGNORECASE,
)
_NUMBERS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), 1
    )
}
_NUMBER = r"(?P<number>\d{1,6}|" + "|".join(_NUMBERS) + ")"
_UNIT = r"(?P<unit>day|week|month|year)s?\b"
_TIME = re.compile(
    rf"(?P<deadline>\b(?:within|in|after|over|until|for) (?:the )?(?:next |first |following )?)?"
    rf"\b{_NUMBER}[\s-]*{_UNIT}",
    re.IGNORECASE,
)
_FILLERS = r"(?:(?:for|after|within|in|at|most|than|no|longer|more|up|to|the|next|only)\s+)*"
# How long the permit lasts, or data are kept: not a time of follow-up, or one that begins elsewhere.
_LASTS = re.compile(
    r"\b(?:(?:permit|permission|access|project|data|records?)\s+"
    r"(?:(?:will|shall|should|must|to|is|are|be)\s+)*"
    r"(?:lasts?|runs?|ends?|expires?|needed|required|kept|retained|stored|used|deleted|destroyed|valid)"
    r"|(?:permit|permission|access(?: to (?:the|these) (?:data|records))?)(?=\s+(?:of|for)\s)(?:\s+of)?"
    r"|(?:duration|retention|term of the permit)\s*(?:is|:))"
    rf"\s+{_FILLERS}{_NUMBER}[\s-]*{_UNIT}(?!\s+(?:of|before|after|earlier|from|prior)\b)",
    re.IGNORECASE,
)
_MONTHS = "january february march april may june july august september october november december"
_UNTIL = re.compile(
    r"\b(?:permit|permission|access|project|data|records?)\b[^.;]{0,60}?"
    r"\b(?:until|till|(?:ends?|expires?|deleted|destroyed)\s+(?:on|in|by|with|at))\s+(?:the\s+)?"
    r"(?:(?P<iso>20\d\d-\d\d-\d\d)\b|(?:end of\s+(?!20))?(?:(?P<day>\d{1,2})(?:st|nd|rd|th)?\s+)?"
    rf"(?P<month>end of|{_MONTHS.replace(' ', '|')})(?:\s+(?P<late_day>\d{{1,2}}))?,?"
    r"\s+(?P<year>20\d\d)\b)",
    re.IGNORECASE,
)
_QUESTIONS = re.compile(
    r"\b(?:at most|not more than|no more than|up to|a maximum of)\s+"
    rf"{_NUMBER}\s+(?:different\s+)?(?:questions?|runs?)\b"
    r"(?!\s+(?:per|an?|each|every|about|of|on|with|for)\b)",
    re.IGNORECASE,
)
_GENOMES = (
    r"(?:genomes?(?!-)|genotypes?|(?:genetic|genomic|germline|DNA) (?:data|variants|sequences?))"
)
_ONLY_SOME = r"(?!\s+(?:other|except|beyond|but|from|outside|of(?!\s+any\b))\b)"
_NO_GENOMES = re.compile(
    rf"(?<!with )(?<!have )(?<!has )\b(?:no|neither|nor) {_GENOMES}\b{_ONLY_SOME}"
    rf"|\b(?:do|does|will|shall) not (?:use|need|ask for|include|read|open) (?:any )?{_GENOMES}\b{_ONLY_SOME}"
    rf"|\b{_GENOMES} (?:is|are|will be) not (?:used|needed|requested|included|opened)\b",
    re.IGNORECASE,
)
# Of results, of people who are left out, of tumours: no kind of data that is asked for.
_OF_OTHERS = re.compile(
    r"\b(?:leaves?|printed|released|published|shared|passed|given|shown|named|sent|exported|go(?:es)?)\b"
    r"|\b(?:people|persons?|patients?|women|men|whose) (?:with|of|who have)\b|\b(?:tumou?rs?|somatic)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:no|not|never|neither|nor|none|without|nobody)\b", re.IGNORECASE)
_DATA_SECTION = re.compile(r"^#{1,6} +Data\b[^\n]*\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
_ROUNDED = 31  # days that a time in words may be shorter than the request's
_DAYS = {"day": 1.0, "week": 7.0, "month": 30.4, "year": 365.25}
_AGE = re.compile(
    r"\b(?:over|above|older than|under|below|younger than|aged?(?: from| of)?) (\d\d)\b"
    r"(?:\s*(?:to|-|–|and)\s*(\d\d)\b)?",
    re.IGNORECASE,
)
_DEATH = re.compile(r"\b(?:die[sd]?|dying|deaths?|mortality|surviv\w+)\b", re.IGNORECASE)
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
    passages = [sentence for sentence in _sentences(prose) if _WITHIN.search(sentence)][
        :_MOST_PASSAGES
    ]
    if recipients and passages:
        quoted = "” and “".join(passages)
        points.append(
            f"The plan says “{quoted}”, and the request lets results go to {' and '.join(recipients)}."
        )
    if study is None:
        return points
    return [*points, *_compare_people(prose, study), *_compare_outcome(prose, study["outcome"])]


def compare_terms(
    plan: str, *, categories: int, questions: int, expiry: int, now: int
) -> list[str]:
    """Where the text allows less than the request asks for: a shorter time, fewer questions, no
    genomes; or speaks of genomes that are not asked for. expiry, now: in seconds.
    """
    prose = _BLOCK.sub("", plan)
    text = _HEADING.sub(".", prose)
    today, end = (
        datetime.fromtimestamp(min(second, LAST_SECOND), UTC).date() for second in (now, expiry)
    )
    shorter = [
        _in_line(match[0])
        for match in _LASTS.finditer(text)
        if (end - today).days > 1.05 * _days_of(match) + _ROUNDED
    ]
    shorter += [
        _in_line(match[0])
        for match in _UNTIL.finditer(text)
        # A day that is past is of the records, e.g. of the last one.
        if (until := _date_of(match)) and today < until and (end - until).days > _ROUNDED
    ]
    points = []
    if shorter:
        points.append(
            f"The plan's text says “{'”, “'.join(dict.fromkeys(shorter))}”, and the request lasts until "
            f"{words.day(expiry // words.DAY)}."
        )
    fewer = [m for m in _QUESTIONS.finditer(text) if _number_of(m) < questions]
    if fewer:
        points.append(
            f"The plan's text says “{_in_line(fewer[0][0])}”, and the request asks for "
            f"{questions} different questions."
        )
    asked = categories >> Category.GERMLINE_VARIANTS & 1
    if asked:
        passages = [sentence for sentence in _sentences(prose) if _NO_GENOMES.search(sentence)]
    else:
        in_data = [
            sentence for part in _DATA_SECTION.findall(prose) for sentence in _sentences(part)
        ]
        passages = [
            sentence
            for sentence in in_data
            if re.search(rf"\b{_GENOMES}\b", sentence, re.IGNORECASE)
            and not _NEGATION.search(sentence)
        ]
    if passages := [passage for passage in passages if not _OF_OTHERS.search(passage)]:
        points.append(
            f"The plan's text says “{passages[0]}”, and the request asks for {'' if asked else 'no '}genomes."
        )
    return points


def _in_line(phrase: str) -> str:
    return " ".join(phrase.split())


def _date_of(match: re.Match[str]) -> date | None:
    """The last day that a phrase may mean, None for one that is in no calendar."""
    try:
        if match["iso"]:
            return date.fromisoformat(match["iso"])
        year, name = int(match["year"]), match["month"].lower()
        if name == "end of":
            return date(year, 12, 31)
        month = _MONTHS.split().index(name) + 1
        day = match["day"] or match["late_day"] or monthrange(year, month)[1]
        return date(year, month, int(day))
    except ValueError:
        return None


def _number_of(match: re.Match[str]) -> int:
    number = match["number"].lower()
    return _NUMBERS.get(number) or int(number)


def _compare_people(prose: str, study: Mapping[str, Any]) -> list[str]:
    """Where the text names an age that is no end of the study's."""
    cohort = study.get("cohort")
    if cohort is None:
        return []
    youngest, oldest = cohort["age"]
    ends = {youngest - 1, youngest, oldest, oldest + 1}
    others = [
        match[0]
        for match in _AGE.finditer(prose)
        if not {int(number) for number in match.groups() if number} <= ends
    ]
    if not others:
        return []
    return [
        f"The plan's text says “{others[0]}”, and its runs are about {words.people_of(cohort)}."
    ]


def _compare_outcome(prose: str, outcome: Mapping[str, Any]) -> list[str]:
    points, text = [], prose.casefold()
    if not any(stem in text for stem in _stems(outcome)):
        points.append(
            f"The plan's text does not name the outcome of its runs: {words.outcome_in_full(outcome)}."
        )
    elif death := _DEATH.search(prose):
        points.append(
            f"The plan's text says “{death[0]}”; what its runs predict is {words.outcome_in_full(outcome)}."
        )
    horizon = outcome.get("horizon_days", 0)
    times = [
        (match[0].strip(), _days_of(match), bool(match["deadline"]))
        for match in _TIME.finditer(prose)
    ]
    # A month more or less is the same time, rounded.
    others = [
        (phrase, until)
        for phrase, days, until in times
        if abs(days - horizon) > max(31, 0.05 * horizon)
    ]
    # Another time may be meant otherwise, unless it is until when something happens.
    shown = [phrase for phrase, until in others if until or len(others) == len(times)]
    if horizon and shown:
        points.append(
            f"The plan's text says “{'”, “'.join(dict.fromkeys(shown))}”, and its runs are about "
            f"{words.duration(horizon)}."
        )
    return points


def _days_of(match: re.Match[str]) -> float:
    return _number_of(match) * _DAYS[match["unit"].lower()]


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
