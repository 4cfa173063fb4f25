"""Differencing check: refuses a second result about nearly the same people.

The difference of both results would reveal those who differ. A person differs who is in one cohort
only, or has another outcome in the other. It must be certain that at least 10 people differ; for
people who have withdrawn since, it is unknown whether they were in the earlier cohort. The same
people may be analysed again under the same rules: the budget of the dataset limits that. Under
other rules they may not, since permission would reveal that nobody differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analytics.cohort import Cohort, Person, choose_members
from analytics.disclosure.rounding import SMALLEST_COUNT
from analytics.errors import AnalyticsError, ParamsError
from analytics.kinship import Relatives
from analytics.params import Params, VariantRules, parse_params
from analytics.people import Input, read_people
from analytics.readers.genotypes import MISSING, Genotypes


class TooFewDiffer(AnalyticsError):
    """The cohort differs from that of an earlier result by fewer than 10 people."""

    hint = "Request the same people again, or people of whom at least 10 differ."


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run whose per-variant statistics are or may be released: its parameters, the categories it
    could read (a bit each) and the subjects that it was granted; readable: whether the present run
    reads all these categories."""

    params: bytes
    categories: int
    people: frozenset[str]
    readable: bool


def refuse_small_differences(
    cohort: Cohort,
    params: Params,
    inputs: Sequence[Input],
    people: Sequence[Person],
    earlier: Iterable[Earlier],
) -> None:
    """Raise TooFewDiffer if the statistics and those of an earlier run would reveal few people.

    cohort: selected by `params` from `people`, who were read from `inputs`.
    """
    outcomes = {member.person.subject: member.event for member in cohort.members}
    here = {person.subject: person for person in people}
    for run in earlier:
        earlier_cohort = _cohort_of(run, inputs, here, cohort.relatives)
        if earlier_cohort is None:
            # Anybody granted then may have been in that cohort, and nobody else was.
            least, same = len(outcomes.keys() - run.people), False
        else:
            earlier_outcomes, earlier_params = earlier_cohort
            least = _count_differences(outcomes, earlier_outcomes)
            same = (
                least == 0 and run.people <= here.keys() and earlier_params.cohort == params.cohort
            )
            # For some variants the genotypes of few people would differ.
            same = same and not _reads_differently(
                cohort.genotypes, params.variants, earlier_params.variants
            )
        if least < SMALLEST_COUNT and not same:
            raise TooFewDiffer(
                "the cohort differs by fewer than 10 people from that of an earlier result, and the "
                "two results together would tell about them"
            )


def _cohort_of(
    run: Earlier, inputs: Sequence[Input], here: Mapping[str, Person], relatives: Relatives
) -> tuple[dict[str, bool | None], Params] | None:
    """(outcome by subject, parameters) of an earlier run; None if its records cannot give it."""
    if not run.readable:
        return None
    try:
        params = parse_params(run.params)
    except ParamsError:  # the parameters have another version
        return None
    inputs_then = [item for item in inputs if item.subject in run.people]
    read = [item for item in inputs_then if run.categories >> item.category & 1]
    people = [here[subject] for subject in run.people & here.keys()]
    if len(read) < len(inputs_then):
        # A record of more categories may contain more than the earlier run read.
        people = [
            replace(person, genotypes=here[person.subject].genotypes)
            for person in read_people(read, "none")
        ]
    members, _ = choose_members(
        people,
        params.cohort,
        params.outcome,
        params.gene_source,
        relatives,
        assays=params.used_assays,
    )
    return {member.person.subject: member.event for member in members}, params


def _count_differences(now: Mapping[str, bool | None], then: Mapping[str, bool | None]) -> int:
    """How many people are in one cohort only, or have another outcome (None: no outcome)."""
    both = [(now[subject], then[subject]) for subject in now.keys() & then.keys()]
    return len(now.keys() ^ then.keys()) + sum(
        None not in pair and pair[0] != pair[1] for pair in both
    )


def _reads_differently(
    people: Iterable[Genotypes], ours: VariantRules, theirs: VariantRules
) -> bool:
    """Whether any genotype is known under one of the rules only."""
    if (ours.min_depth, ours.min_quality) == (theirs.min_depth, theirs.min_quality):
        return False
    known = (
        [
            (person.dosage != MISSING) & person.is_trusted(rules.min_depth, rules.min_quality)
            for rules in (ours, theirs)
        ]
        for person in people
    )
    return any(bool(np.any(first != second)) for first, second in known)
