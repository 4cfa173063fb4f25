"""Cohort selection: joins records by subject, determines outcomes, drops unknown outcomes.

Does not choose features by looking at outcomes: all fitting happens inside the fold
(models/pipeline.py). Missing values stay missing (NaN) until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics.disclosure.noise import BOUND, PERSON, Noise
from analytics.disclosure.rounding import SMALLEST_COUNT
from analytics.errors import CohortTooSmall, InputsError
from analytics.kinship import NOBODY, Relatives
from analytics.params import CohortRules, Outcome, SeriesRules
from analytics.readers.clinical import ClinicalRecord, Fact, matches, value_at
from analytics.readers.genotypes import Genotypes

# A probe measured in a smaller share of people is left out; gaps of other probes are imputed inside
# the fold.
PROBE_COVERAGE = 0.5
ANY_AGE = (0, 130)
# People of an outcome on whom no model is fitted: a bootstrap sample could have one of them alone.
TOO_FEW = 5
# The step of the flow chart at which people leave whose follow-up ended before the horizon.
NOT_CENSORED = "not censored before the horizon"
BEFORE_ALL = -(10**6)  # a day before every dated value


@dataclass(frozen=True, slots=True)
class Person:
    """One subject's parsed records; None if no record of that type was given, or it was not read.

    unread: the kinds of gene records that she has and this run does not read: expression, variants,
    and assays. By them it is known who was in an earlier run.
    """

    subject: str
    clinical: ClinicalRecord | None
    expression: Mapping[str, float] | None = None
    genotypes: Genotypes | None = None
    assays: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of gene records that she has."""
        read = {"expression": self.expression, "variants": self.genotypes}
        named = [name for name, record in read.items() if record is not None]
        return frozenset((*named, *self.assays)) | self.unread


@dataclass(frozen=True, slots=True)
class Member:
    """A person in the cohort: index day (None if undated), whether the event occurred, and days
    until it or until the end of follow-up, at most the horizon (0 without an outcome).
    """

    person: Person
    index: int | None
    event: bool | None
    days: float = 0.0


@dataclass(frozen=True, slots=True)
class Cohort:
    """The members in ascending order of subject; flow: (step, subjects left after it).

    relatives: of everybody granted, so that two members are also linked by somebody who is none.
    """

    members: tuple[Member, ...]
    flow: tuple[tuple[str, tuple[str, ...]], ...]
    granted: int
    relatives: Relatives = NOBODY

    @property
    def people(self) -> int:
        return len(self.members)

    @property
    def subjects(self) -> tuple[str, ...]:
        """(n,) who the members are."""
        return _subjects(self.members)

    @property
    def affected(self) -> tuple[str, ...]:
        """The subjects of the members with the event within the horizon."""
        return _subjects(member for member in self.members if member.event)

    @property
    def event(self) -> NDArray[np.int64]:
        """(n,) 1 = the event occurred within the horizon."""
        return np.array([bool(member.event) for member in self.members], dtype=np.int64)

    @property
    def days(self) -> NDArray[np.float64]:
        """(n,) days until the event or the end of follow-up, at most the horizon."""
        return np.array([member.days for member in self.members], dtype=np.float64)

    @property
    def families(self) -> NDArray[np.int64] | None:
        """(n,) each member's family, 0 to n - 1 by its first member; None if no two are related."""
        family = self.relatives.family
        names = [family.get(m.person.subject, m.person.subject) for m in self.members]
        number = {name: at for at, name in enumerate(dict.fromkeys(names))}
        return None if len(number) == len(names) else np.array([number[name] for name in names])

    @property
    def genotypes(self) -> list[Genotypes]:
        """The genotypes of each member, in order, if the cohort was selected by them."""
        return [
            member.person.genotypes
            for member in self.members
            if member.person.genotypes is not None
        ]


def select_people(
    people: Iterable[Person],
    rules: CohortRules,
    outcome: Outcome | None,
    source: str,
    minimum: int,
    relatives: Relatives = NOBODY,
    keep_censored: bool = False,
    noise: Noise | None = None,
    assays: Sequence[str] = (),
) -> Cohort:
    """Keep the people who have the records, fit the rules, and have a known outcome if needed.

    source: which gene record a person must have: expression, variants or none. assays: which assays
    besides. relatives: of all `people`, if source is variants. keep_censored: who was not followed
    to the horizon stays, as a person without the event until then. The same people serve every
    feature set, so feature sets are comparable. Raises CohortTooSmall below `minimum` people, or
    with too few with or without the event, for every analysis: a failed run also reveals
    information, without output review. The error does not give the number of people. Too few are
    below 10; with noise, of 6 to 9 some are enough, since else that a run fails would tell who is
    the tenth.
    """
    granted = list(people)
    left, flow = choose_members(granted, rules, outcome, source, relatives, keep_censored, assays)
    if len(left) < max(minimum, 1):
        raise CohortTooSmall("fewer people than the minimum remain after filtering")
    cohort = Cohort(tuple(left), tuple(flow), len(granted), relatives)
    affected = set(cohort.affected)
    for group in (
        cohort.affected,
        [subject for subject in cohort.subjects if subject not in affected],
    ):
        if outcome is not None and not _are_enough(group, noise):
            raise CohortTooSmall("one outcome has too few people")
    return cohort


def _are_enough(people: Sequence[str], noise: Noise | None) -> bool:
    """Whether so many have an outcome: 10 always, TOO_FEW never, and between them the more probably
    the more they are, so that one person changes it little."""
    if noise is None:
        return len(people) >= SMALLEST_COUNT
    least = TOO_FEW + noise.uniform("outcome", people) * (SMALLEST_COUNT - TOO_FEW)
    return len(people) > least


def choose_members(
    people: Iterable[Person],
    rules: CohortRules,
    outcome: Outcome | None,
    source: str,
    relatives: Relatives,
    keep_censored: bool = False,
    assays: Sequence[str] = (),
) -> tuple[list[Member], list[tuple[str, tuple[str, ...]]]]:
    """(members, flow chart) as in a Cohort, without a minimum size."""
    ordered = sorted(people, key=lambda person: person.subject)
    needs_clinical_record = (
        outcome is not None or rules.age != ANY_AGE or bool(rules.present or rules.absent)
    )
    left = [
        Member(person, None, None)
        for person in ordered
        if _has_records(person, (source, *assays), needs_clinical_record)
    ]
    flow = [("has the records", _subjects(left))]
    if outcome is not None and outcome.index:
        left = [
            Member(m.person, day, None)
            for m in left
            if (day := _first_day(m.person, outcome.index)) is not None
        ]
        flow.append(("has the index diagnosis", _subjects(left)))
        if outcome.washout_days:
            left = [m for m in left if _reaches_back(m, outcome.washout_days)]
            flow.append((f"observed for {outcome.washout_days} days before it", _subjects(left)))
    left = [member for member in left if _in_age_band(member, rules.age)]
    flow.append((f"aged {rules.age[0]} to {rules.age[1]}", _subjects(left)))
    if rules.present or rules.absent:
        left = [member for member in left if _fits_codes(member, rules)]
        flow.append(("has and lacks the named codes", _subjects(left)))
    if outcome is not None:
        left = [
            Member(m.person, m.index, followed[1], followed[0])
            for m in left
            if (followed := follow_up_of(m.person, m.index, outcome)) is not None
        ]
        flow.append(("outcome known", _subjects(left)))
        if outcome.excludes and not keep_censored and outcome.kind != "finding":
            left = [m for m in left if not is_censored(m.days, m.event, outcome)]
            flow.append((NOT_CENSORED, _subjects(left)))
    if source == "variants":
        left = _keep_one_of_each_genome(left, relatives.genome)
        flow.append(("one record of each genome", _subjects(left)))
    return left, flow


def _subjects(members: Iterable[Member]) -> tuple[str, ...]:
    return tuple(member.person.subject for member in members)


def _keep_one_of_each_genome(members: Sequence[Member], genome: Mapping[str, int]) -> list[Member]:
    """The first member of each genome; none if their outcomes differ.

    Copies are one person enrolled twice, identical twins, or a sample under another's name. Where
    they agree, one of them tells all. Where they do not, nobody knows to whom the genome belongs,
    and one of two outcomes may be another's.
    """
    copies: dict[object, list[Member]] = {}
    for member in members:
        subject = member.person.subject
        copies.setdefault(genome.get(subject, subject), []).append(member)
    return [same[0] for same in copies.values() if len({member.event for member in same}) == 1]


def follow_up_of(person: Person, index: int | None, outcome: Outcome) -> tuple[float, bool] | None:
    """(days, event): days at risk until the event, or without one until the end of follow-up, at
    most those until the horizon; None if either is unknown, or if the event was before the time at
    risk (`Outcome`).
    """
    clinical, horizon = person.clinical, float(outcome.horizon_days)
    if clinical is None:
        return None
    if outcome.kind == "finding":
        value = value_at(clinical, outcome.variable, None)
        return None if value is None else (0.0, bool(value))
    if outcome.kind == "distant-metastasis":
        occurred, days = (
            value_at(clinical, "metastasis", None),
            value_at(clinical, "follow_up_days", None),
        )
        if occurred is None or days is None:
            return None
        return min(days, horizon), bool(occurred) and days <= horizon
    if index is None or clinical.last_day is None:
        return None
    occurred_on = _days(person, outcome.event)
    before = index + outcome.risk_start_days - 1  # the day before the first at risk
    if any(index - outcome.lookback_days < day <= before for day in occurred_on):
        return None
    first = min((day for day in occurred_on if day > before), default=None)
    if first is not None and first - index <= horizon:
        return float(first - before), True
    if any(
        fact.day is None and matches(fact, pattern)
        for fact in clinical.facts
        for pattern in outcome.event
    ):
        return None  # it occurred on an unknown day
    if clinical.last_day < before:
        return None  # not followed until the time at risk
    return min(float(clinical.last_day - before), float(outcome.days_at_risk)), False


def is_censored(days: float, event: bool | None, outcome: Outcome) -> bool:
    """Whether follow-up ended before the horizon, without the event.

    Without these people the share with the event overstates the risk; the analysis `survival` keeps
    them (analytics/survival.py).
    """
    return not event and days < outcome.days_at_risk


def clinical_matrix(cohort: Cohort, variables: Sequence[str], noise: Noise) -> NDArray[np.float64]:
    """(n, variables) values at the index day; NaN is missing.

    Without an index day only undated values count: a dated one may be from after the predicted
    event. variables: names, and codes, which are 1, 0 or missing (`_has_code`). A code that fewer
    than 10 people have, or lack, or in which fewer than 10 differ from an earlier code, is 0 for
    everybody: metrics with and without it would tell about these few. Ten are needed by the
    perturbed number: by the exact one, whether the code is used would tell who is the tenth.
    """
    rows = [
        [
            _has_code(m, name)
            if ":" in name
            else _number(m.person.clinical, name, BEFORE_ALL if m.index is None else m.index)
            for name in variables
        ]
        for m in cohort.members
    ]
    matrix = np.array(rows, dtype=np.float64).reshape(cohort.people, len(variables))
    codes = [column for column, name in enumerate(variables) if ":" in name]
    cells = np.where(np.isnan(matrix), 2, matrix)  # yes, no, missing
    for at, column in enumerate(codes):
        groups = [cells[:, column] == value for value in (1, 0)]
        groups += [cells[:, column] != cells[:, other] for other in codes[:at]]
        if any(
            noise.count(PERSON, [cohort.subjects[at] for at in np.flatnonzero(inside).tolist()])
            < SMALLEST_COUNT
            for inside in groups
        ):
            matrix[:, column] = cells[:, column] = 0
    return matrix


def series_matrix(cohort: Cohort, rules: SeriesRules, noise: Noise) -> NDArray[np.float64]:
    """(n, variables times steps) mean values of each step, in order of time; NaN is a step without
    a value.

    Steps end on the index day: a later value, or an undated one, which may be later, is no part of
    a series. A step of a variable that fewer than 10 people have is unknown to everybody, by the
    perturbed number (`clinical_matrix`).
    """
    matrix = np.stack([_series_of(member, rules) for member in cohort.members])
    for column, known in enumerate(~np.isnan(matrix.T)):
        inside = [cohort.subjects[at] for at in np.flatnonzero(known).tolist()]
        if noise.count(PERSON, inside) < SMALLEST_COUNT:
            matrix[:, column] = np.nan
    return matrix


def _series_of(member: Member, rules: SeriesRules) -> NDArray[np.float64]:
    """(variables times steps,) mean values of one person."""
    shape = (len(rules.variables), rules.steps)
    sums, counts = np.zeros(shape), np.zeros(shape)
    clinical, index = member.person.clinical, member.index
    row_of = {name: row for row, name in enumerate(rules.variables)}
    for reading in clinical.readings if clinical is not None and index is not None else ():
        row = row_of.get(reading.variable)
        if row is None or reading.day is None or index is None:
            continue
        step = (reading.day - (index - rules.days + 1)) // rules.step
        if 0 <= step < rules.steps:
            sums[row, step] += reading.value
            counts[row, step] += 1
    means: NDArray[np.float64] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means.ravel()


def expression_matrix(
    cohort: Cohort, noise: Noise | None = None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(n, probes) log2 values, and the probes that half of the people have. Raises InputsError."""
    return _shared(cohort, [member.person.expression or {} for member in cohort.members], noise)


def assay_matrix(
    cohort: Cohort, name: str, noise: Noise | None = None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(n, columns) values of an assay, and the columns that half of the people have. Raises
    InputsError.
    """
    return _shared(cohort, [member.person.assays.get(name, {}) for member in cohort.members], noise)


def _shared(
    cohort: Cohort, records: Sequence[Mapping[str, float]], noise: Noise | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Half of the people by the perturbed number, where it could matter: which columns are used,
    and how many gene sets are measured, would tell by the exact one whether somebody is there.
    """
    counts: dict[str, int] = {}
    for record in records:
        for column in record:
            counts[column] = counts.get(column, 0) + 1
    half = PROBE_COVERAGE * len(records)

    def is_shared(column: str) -> bool:
        # In a small cohort the noise alone could say that nobody shares what everybody has.
        surely = counts[column] == len(records) or abs(counts[column] - half) > BOUND
        if noise is None or surely:
            return counts[column] >= half
        has = zip(cohort.subjects, records, strict=True)
        return noise.count(PERSON, [subject for subject, record in has if column in record]) >= half

    columns = tuple(sorted(filter(is_shared, counts)))
    if not columns:
        raise InputsError(
            "no probe is shared by half of the people", "Use records of one and the same platform."
        )
    rows = [[record.get(column, np.nan) for column in columns] for record in records]
    return np.array(rows, dtype=np.float64), columns


def _has_records(person: Person, kinds: Sequence[str], needs_clinical_record: bool) -> bool:
    if needs_clinical_record and person.clinical is None:
        return False
    return person.kinds >= {kind for kind in kinds if kind != "none"}


def _first_day(person: Person, patterns: Sequence[str]) -> int | None:
    return min(_days(person, patterns), default=None)


def _days(person: Person, patterns: Sequence[str]) -> list[int]:
    """The days of the dated facts that have one of these codes."""
    facts = person.clinical.facts if person.clinical else ()
    return [
        fact.day
        for fact in facts
        if fact.day is not None and any(matches(fact, pattern) for pattern in patterns)
    ]


def _reaches_back(member: Member, days: int) -> bool:
    """Whether a record begins at least so many days before the index day."""
    clinical = member.person.clinical
    first = None if clinical is None else clinical.first_day
    return member.index is not None and first is not None and first <= member.index - days


def _in_age_band(member: Member, band: tuple[int, int]) -> bool:
    """A person of unknown age is in only if the band allows every age."""
    age = _number(member.person.clinical, "age_years", member.index)
    return band == ANY_AGE if np.isnan(age) else band[0] <= age < band[1] + 1


def _fits_codes(member: Member, rules: CohortRules) -> bool:
    """Facts after day 0 are ignored; an undated fact may exclude a person but not include one."""
    facts = member.person.clinical.facts if member.person.clinical else ()
    undated: tuple[Fact, ...] = ()
    if member.index is not None:
        undated = tuple(fact for fact in facts if fact.day is None)
        facts = tuple(fact for fact in facts if fact.day is not None and fact.day <= member.index)
    has = [any(matches(fact, pattern) for fact in facts) for pattern in rules.present]
    lacks = [
        not any(matches(fact, pattern) for fact in (*facts, *undated)) for pattern in rules.absent
    ]
    return all(has) and all(lacks)


def _has_code(member: Member, pattern: str) -> float:
    """1 if a fact with this code is known to be from before the outcome, 0 if there is none.

    With an index day that is a fact dated on it or before, and recorded by then; an undated one may
    be later, so that alone leaves it unknown (NaN). Without an index day it is the other way round.
    """
    if member.person.clinical is None:
        return np.nan
    facts = [fact for fact in member.person.clinical.facts if matches(fact, pattern)]
    undated = any(fact.day is None for fact in facts)
    if member.index is None:
        return 1.0 if undated else np.nan if facts else 0.0
    if any(
        fact.day is not None and max(fact.day, fact.recorded or fact.day) <= member.index
        for fact in facts
    ):
        return 1.0
    return np.nan if undated else 0.0


def _number(clinical: ClinicalRecord | None, variable: str, day: int | None) -> float:
    value = None if clinical is None else value_at(clinical, variable, day)
    return np.nan if value is None else float(value)
