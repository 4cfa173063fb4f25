"""How a group of people like a patient fared, read from a released survival table.

Never from another person's record: the input is the printed result of a run whose output was
released. The population that it came from is one of `populations.json`; outside of it, or where a
fact that would decide it is not known, there is no curve. Nothing is computed from the numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from analytics.care.days import year_of
from analytics.care.facts import FACTS
from analytics.errors import InputsError
from analytics.params import CohortRules, Params, parse_params
from analytics.strata import ALL, Split, parse_split

TYPE = "volens/prognosis/1"
MOST_POINTS, MOST_SENTENCES, LONGEST = 20, 12, 600  # points of a curve, sentences, characters
LARGEST = 16_384  # characters of all
LATEST = 36_525  # days of a point
ABOUT_GROUPS = (
    "This is how a group of people fared. It is no prediction for one person, and it does not tell "
    "what a medicine would do for you."
)
NOT_ALIKE = "There is no group of ten or more like you whose numbers may be told"
NO_COMPARISON = (
    "Survival under olaparib cannot be read from the hospital records of MIMIC-III: they end in "
    "2012, and olaparib was first approved in 2014."
)
FROM_DIAGNOSIS = "The curve counts from the diagnosis, not from today."
_HEX = re.compile(r"[0-9a-f]{64}")
# Of T1 to T3 the size in mm, from and to (AJCC): 20 mm is T1.
_SIZES = {
    "T1": (0.0, 20.0),
    "T2": (math.nextafter(20.0, math.inf), 50.0),
    "T3": (math.nextafter(50.0, math.inf), math.inf),
}
Span = tuple[float, float]  # the least and the largest value that is possible


class State(StrEnum):
    """Whether there is a curve, or why there is none."""

    SHOWN = "shown"
    SUPPRESSED = "no group of ten or more"
    OUTSIDE = "outside the population"
    NOT_KNOWN = "not known whether inside"


@dataclass(frozen=True, slots=True)
class Population:
    """Whom a dataset describes: entry of `populations.json`. facts: by the plan's fact, the words of
    those who are in it; age: in years at diagnosis, inclusive."""

    id: str
    title: str
    source: Mapping[str, str]
    outcome: str
    end_point: str
    not_the_end_point: str
    treatment: str
    age: tuple[int, int]
    facts: Mapping[str, tuple[str, ...]]


@cache
def populations() -> tuple[Population, ...]:
    """The populations of this release."""
    content = json.loads((Path(__file__).parent / "populations.json").read_bytes())
    return tuple(_population(entry) for entry in content)


def population_of(document: str) -> Population | None:
    """The population that a dataset's registered text names by its accession; None unless it is
    exactly one."""
    named = [
        population
        for population in populations()
        if re.search(rf"\b{re.escape(population.id)}\b", document)
    ]
    return named[0] if len(named) == 1 else None


def group_prognosis(
    result: bytes, params: bytes, plan: Mapping[str, Any], population: Population
) -> dict[str, Any]:
    """The curve and table of the stratum that she belongs to, or why there is none.

    result: of a released survival run, its exact bytes; params: the run's parameters; plan: her
    plan. Points and row are copied as they are printed. Raises InputsError for another kind of
    result or of end point, ParamsError.
    """
    printed, asked = json.loads(result), parse_params(params)
    outcome = asked.outcome
    if (
        printed.get("analysis") != "survival"
        or printed.get("params") != hashlib.sha256(params).hexdigest()
        or outcome is None
        or outcome.kind != population.outcome
    ):
        raise InputsError(
            "this is no survival table of the population's end point",
            "Name a released run with `analysis: survival` and its own result.",
        )
    facts = {fact["fact"]: fact for fact in plan["facts"]["used"]}
    outside, unknown = _doubts(population, asked.cohort, facts)
    stratum, unplaced = _stratum(asked, facts)
    rows = [row for row in printed["rows"] if row["stratum"] == stratum]
    if outside:
        state = State.OUTSIDE
    elif unknown or unplaced:
        state = State.NOT_KNOWN
    else:
        state = State.SHOWN if rows else State.SUPPRESSED
    why = outside or [*unknown, *unplaced]
    source = dict(population.source)
    shown: dict[str, Any] = {
        "type": TYPE,
        "state": state.value,
        "population": {"id": population.id, "title": population.title, "source": source},
        "end_point": population.end_point,
        "horizon_days": outcome.horizon_days,
        "sentences": _sentences(state, why, population, facts, _offers_olaparib(plan)),
    }
    if state in (State.SHOWN, State.SUPPRESSED):
        shown["stratum"] = stratum
    if state is State.SHOWN:
        shown["table"] = next(row for row in printed["strata"] if row["stratum"] == stratum)
        shown["points"] = rows
    return shown


def is_prognosis(document: object) -> bool:
    """Whether a document has the form of a prognosis with the run it is of, within its limits."""
    if not isinstance(document, dict) or document.get("type") != TYPE:
        return False
    needed = {"type", "run", "seal", "state", "population", "end_point", "horizon_days"}
    needed |= {"sentences"}
    curve = {"stratum", "table", "points"}
    sentences, points = document.get("sentences"), document.get("points", [])
    return (
        needed <= document.keys() <= needed | curve
        and all(_HEX.fullmatch(str(document[name])) is not None for name in ("run", "seal"))
        and document["state"] in list(State)
        and (document["state"] == State.SHOWN) == (curve <= document.keys())
        and all(isinstance(document.get(name, ""), str) for name in ("stratum", "end_point"))
        and isinstance(document.get("table", {}), dict)
        and isinstance(sentences, list)
        and len(sentences) <= MOST_SENTENCES
        and all(isinstance(sentence, str) and len(sentence) <= LONGEST for sentence in sentences)
        and isinstance(points, list)
        and len(points) <= MOST_POINTS
        and all(isinstance(point, dict) and _is_point(point) for point in points)
        and len(json.dumps(document)) <= LARGEST
    )


def _is_point(point: Mapping[str, Any]) -> bool:
    interval = point.get("interval")
    numbers = [point.get("days"), point.get("survival")]
    numbers += interval if isinstance(interval, list) and len(interval) == 2 else [None]
    return all(isinstance(number, int) and 0 <= number <= LATEST for number in numbers)


def _population(entry: Mapping[str, Any]) -> Population:
    low, high = entry["age_at_diagnosis"]
    words = ("id", "title", "source", "outcome", "end_point", "not_the_end_point", "treatment")
    facts = {name: tuple(values) for name, values in entry["facts"].items()}
    return Population(**{word: entry[word] for word in words}, age=(low, high), facts=facts)


def _doubts(
    population: Population, rules: CohortRules, facts: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """(why she is not like the people of the run, what would have to be known to tell)."""
    outside, unknown = [], []
    for name, words in population.facts.items():
        if name not in facts:
            unknown.append(FACTS[name].label)
        elif (value := facts[name]["value"]) not in words:
            outside.append(f"{FACTS[name].label}: {value} (the group: {' or '.join(words)})")
    low, high = max(population.age[0], rules.age[0]), min(population.age[1], rules.age[1])
    span = _age_at_diagnosis(facts)
    if span is not None and (span[1] < low or span[0] > high):
        outside.append(f"the age at diagnosis is not between {low} and {high}, as in the group")
    elif span is None or span[0] < low or span[1] > high:
        unknown.append(f"whether the age at diagnosis was between {low} and {high}")
    if rules.present or rules.absent:
        unknown.append("codes that the run asks for, which no plan has")
    return outside, unknown


def _stratum(params: Params, facts: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]]:
    """(the name of her stratum, as the run prints it; what is not known of it)."""
    labels, unknown = [], []
    for split in map(parse_split, params.strata):
        fitting = list(_fitting(split, _span(split.variable, facts)))
        if len(fitting) == 1:
            labels.append(fitting[0])
        else:
            unknown.append(f"the group by {split.variable}")
    return ", ".join(labels) or ALL, unknown


def _fitting(split: Split, span: Span | None) -> Iterator[str]:
    """The groups that hold every value which is possible."""
    for low, high in split.groups():
        if span is None:
            return
        inside = low <= span[0] and span[1] < high if split.cuts else span == (low, low)
        if inside:
            yield split.label(low)


def _span(variable: str, facts: Mapping[str, Mapping[str, Any]]) -> Span | None:
    """Her value of a variable of the dictionary; None if a plan does not tell it."""
    if variable == "age_years":
        return _age_at_diagnosis(facts)
    if variable == "size_mm":
        return _SIZES.get(_word("tumour_size", facts))
    names = {"er_positive": ("oestrogen_receptor", "positive"), "female": ("sex", "female")}
    if variable not in names or names[variable][0] not in facts:
        return None
    name, yes = names[variable]
    answer = float(_word(name, facts) == yes)
    return answer, answer


def _age_at_diagnosis(facts: Mapping[str, Mapping[str, Any]]) -> Span | None:
    """In years. Of a year of birth two ages are possible: her birthday may be later that year."""
    age, diagnosis = facts.get("age", {}), facts.get("breast_cancer", {})
    # Of several entries of the diagnosis the fact has the newest day, which may not be its first.
    if (
        not {"value", "day"} <= age.keys()
        or "day" not in diagnosis
        or len(diagnosis["sources"]) > 1
    ):
        return None
    older = int(age["value"]) - (year_of(age["day"]) - year_of(diagnosis["day"]))
    return float(older - 1), float(older)


def _offers_olaparib(plan: Mapping[str, Any]) -> bool:
    return any(option["rule"].startswith("olaparib") for option in plan["options"])


def _word(name: str, facts: Mapping[str, Mapping[str, Any]]) -> str:
    return str(facts[name]["value"]) if name in facts else ""


def _sentences(
    state: State,
    why: Sequence[str],
    population: Population,
    facts: Mapping[str, Mapping[str, Any]],
    olaparib: bool,
) -> list[str]:
    """What is said with the curve, or instead of it."""
    about = [f"The group: {population.title}.", ABOUT_GROUPS]
    about += [NO_COMPARISON] if olaparib else []
    match state:
        case State.OUTSIDE:
            return [f"You are not in this group: {'; '.join(why)}. So there is no curve.", *about]
        case State.NOT_KNOWN:
            missing = f"It is not known whether you belong to this group: {'; '.join(why)}."
            return [f"{missing} So there is no curve.", *about]
        case State.SUPPRESSED:
            return [f"{NOT_ALIKE}. So there is no curve.", *about]
    treated = [
        f"{FACTS[name].label}: {_word(name, facts)}"
        for name in ("chemotherapy", "endocrine_therapy")
        if _word(name, facts) not in ("", "none", "unsuitable")
    ]
    yours = f" You had some ({'; '.join(treated)}), so your course differs." if treated else ""
    return [
        f"The end point is {population.end_point}. {population.not_the_end_point}",
        f"{population.treatment}{yours}",
        FROM_DIAGNOSIS,
        *about,
    ]
