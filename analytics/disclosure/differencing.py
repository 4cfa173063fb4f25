"""Two results of nearly the same people tell of those who are in one of them only: the second is refused.

Everybody counts who is in one cohort and not in the other, or has another outcome there. It must be certain that they
are at least 10: of those who withdrew since nobody can say whether they were in the earlier one. The same people may be
asked about again under the same rules: that is what the budget of the dataset is for. Under other rules they may not,
since being allowed would tell that nobody differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analytics.cohort import Cohort, Person, choose_members
from analytics.disclosure.counts import SMALLEST_COUNT
from analytics.errors import AnalyticsError, ParamsError
from analytics.params import Params, VariantRules, parse_params
from analytics.people import Input, read_people
from analytics.readers.genotypes import MISSING, Genotypes


class TooFewDiffer(AnalyticsError):
    """The cohort differs from that of an earlier result by fewer than 10 people."""

    hint = "Ask for the same people again, or for people of whom at least 10 differ."


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run whose per-variant statistics are released, or may be: its parameters, the categories it could read (a bit
    each) and the subjects that it was granted; readable: whether the present run reads all these categories."""

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
    """Raises TooFewDiffer when the cohort's statistics beside those of an earlier run would tell of few people.

    cohort: chosen by `params` among `people`, who were read from `inputs`.
    """
    now = {member.person.subject: member.event for member in cohort.members}
    here = {person.subject: person for person in people}
    for one in earlier:
        then = _cohort_of(one, inputs, here)
        if then is None:  # any of those who were granted then may have been in it: others were not
            least, same = len(now.keys() - one.people), False
        else:
            was, asked = then
            least = _count_differences(now, was)
            same = least == 0 and one.people <= here.keys() and asked.cohort == params.cohort
            # Of one variant or another the genotypes of few would differ.
            same = same and not _read_otherwise(cohort.genotypes, params.variants, asked.variants)
        if least < SMALLEST_COUNT and not same:
            raise TooFewDiffer(
                "the cohort differs by fewer than 10 people from that of an earlier result, and the two "
                "results together would tell about them"
            )


def _cohort_of(
    one: Earlier, inputs: Sequence[Input], here: Mapping[str, Person]
) -> tuple[dict[str, bool | None], Params] | None:
    """(outcome by subject, parameters) of an earlier run, from the records that are here now; None where they do not
    say."""
    if not one.readable:
        return None
    try:
        params = parse_params(one.params)
    except ParamsError:  # of another version of the parameters
        return None
    hers = [item for item in inputs if item.subject in one.people]
    read = [item for item in hers if one.categories >> item.category & 1]
    people = [here[subject] for subject in one.people & here.keys()]
    if len(read) < len(hers):  # a chart of more categories may say more than was known then
        people = [
            replace(person, genotypes=here[person.subject].genotypes)
            for person in read_people(read, "none")
        ]
    members, _ = choose_members(people, params.cohort, params.outcome, params.gene_source)
    return {member.person.subject: member.event for member in members}, params


def _count_differences(now: Mapping[str, bool | None], then: Mapping[str, bool | None]) -> int:
    """How many are in one of the two only, or have another outcome; None is an outcome that was not asked for."""
    both = [(now[subject], then[subject]) for subject in now.keys() & then.keys()]
    return len(now.keys() ^ then.keys()) + sum(
        None not in pair and pair[0] != pair[1] for pair in both
    )


def _read_otherwise(people: Iterable[Genotypes], ours: VariantRules, theirs: VariantRules) -> bool:
    """Whether a genotype of anybody is known under one of the rules only."""
    if (ours.min_depth, ours.min_quality) == (theirs.min_depth, theirs.min_quality):
        return False
    known = (
        [
            (one.dosage != MISSING) & one.is_trusted(rules.min_depth, rules.min_quality)
            for rules in (ours, theirs)
        ]
        for one in people
    )
    return any(bool(np.any(one != other)) for one, other in known)
