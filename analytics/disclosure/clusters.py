"""What may be printed of clusters of people: with noise, and only of clusters that are more than
chance.

Who is in a cluster never leaves. Sizes and events get the noise of counts, by who is in the
cluster; silhouette, agreement and stability a part of it, since a person moves them by less than
one person. A cluster is described only if clusters are more than chance, and it comes again in most
samples of the people: others can change as a whole when one person comes or goes, which no noise
hides, and they mean nothing. Ten people, events and others are needed by the perturbed number
alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analytics.disclosure.counts import Z_95, Sizes, inner_percent, percent
from analytics.disclosure.noise import EVENT, PERSON, RANK, RATE, SPREAD, Noise
from analytics.disclosure.rounding import SMALLEST_COUNT, round_count

LARGEST_P = 0.05  # the largest p
LEAST_STABILITY = 75  # percent (Hennig 2007: a valid, stable cluster)
# Of a measure of all people, and of a share: the finest step that holds so many people.
STEPS, LEAST_IN_STEP = (1, 2, 5, 10), 5
STABILITY_STEP = 5  # percent
# A mean of z-scores: of at most so many columns of a cluster; a person moves it by some 0.8 people,
# a few by 3, and several are printed, so its noise is that of two people. A step, in tenths, holds
# 25 people.
MOST_FEATURES, MOVES = 5, 2.0
MEAN_STEPS, TENTHS_TIMES_PEOPLE = (2, 5, 10), 250


@dataclass(frozen=True, slots=True)
class Member:
    """Who is in one cluster, and who of them has the event; stability: mean Jaccard, 0 to 1."""

    ids: Sequence[str]
    affected: Sequence[str]
    stability: float


def find_step(people: int) -> int:
    """Of a percentage of so many people."""
    fine = (step for step in STEPS if step * people >= 100 * LEAST_IN_STEP)
    return next(fine, STEPS[-1])


def perturb_measure(
    noise: Noise, ids: Collection[str], sizes: Sizes, cell: str, value: float, part: float = RANK
) -> int:
    """A measure of how all people are grouped, -1 to 1, with its noise, in percent."""
    people = max(1, sizes.people)
    moved = value + part * noise.shift(PERSON, ids, cell, value) / people
    return min(100, percent(moved, find_step(people)))


def choose_number(
    noise: Noise, ids: Collection[str], sizes: Sizes, silhouettes: Mapping[int, float]
) -> int:
    """The number of clusters with the largest printed silhouette, the smallest of equals."""
    printed = {
        k: perturb_measure(noise, ids, sizes, f"silhouette of {k}", value)
        for k, value in silhouettes.items()
    }
    return max(sorted(printed), key=printed.__getitem__)


def order_by_size(noise: Noise, members: Sequence[Member]) -> list[Member]:
    """The largest first, by the perturbed numbers: an order by exact ones would tell which is
    larger.
    """
    return sorted(members, key=lambda member: -noise.count(PERSON, member.ids))


def describe_cluster(noise: Noise, number: int, member: Member, more: bool) -> dict[str, object]:
    """What is printed of one cluster. more: whether the clusters are more than chance."""
    people = noise.count(PERSON, member.ids)
    moved = RATE * noise.shift(PERSON, member.ids, "stability", member.stability) / max(1, people)
    stability = min(100, max(0, percent(member.stability + moved, STABILITY_STEP)))
    entry: dict[str, object] = {"cluster": number, "stability": stability}
    shown = round_count(people)
    if not more or stability < LEAST_STABILITY or shown is None:
        return entry
    entry["people"] = shown
    events = min(people, noise.count(EVENT, member.affected))
    if min(events, people - events) < SMALLEST_COUNT:
        return entry
    step, share = find_step(people), events / people
    # The noise of the numerator, and of the denominator by the share.
    error = math.hypot(
        math.sqrt(share * (1 - share) / people), SPREAD / people, share * SPREAD / people
    )
    ends = (max(0.0, share - Z_95 * error), min(1.0, share + Z_95 * error))
    return entry | {
        "events": round_count(events),
        "share": inner_percent(share, step),
        "interval": [percent(end, step) for end in ends],
        "step": step,
    }


def describe_means(
    noise: Noise, number: int, ids: Sequence[str], means: Mapping[str, float]
) -> list[dict[str, object]]:
    """How the people of a described cluster differ from all: means of z-scores in steps, the at
    most MOST_FEATURES that are furthest from 0 as printed. means: by column.
    """
    people = noise.count(PERSON, ids)
    step = next(
        (candidate for candidate in MEAN_STEPS if candidate * people >= TENTHS_TIMES_PEOPLE), None
    )
    if step is None:
        return []
    rounded = {
        name: step
        * math.floor(
            (10 * (mean + MOVES * noise.shift(PERSON, ids, f"mean of {name}", mean) / people))
            / step
            + 0.5
        )
        for name, mean in means.items()
    }
    largest = sorted((name for name in rounded if rounded[name]), key=lambda n: -abs(rounded[n]))
    return [
        {
            "cluster": number,
            "feature": name,
            "mean": f"{rounded[name] / 10:g}",
            "step": f"{step / 10:g}",
        }
        for name in largest[:MOST_FEATURES]
    ]


def list_withheld(
    rows: Sequence[Mapping[str, object]], more: bool, few: bool
) -> list[tuple[str, str]]:
    """(what, why) of the clusters that are not described, or without an outcome."""
    if few:
        return [("clusters", "the columns have fewer than 10 distinct feature profiles")]
    if not more:
        return [("sizes and outcomes of clusters", "they are no more than chance gives")]
    unstable = "it comes again in too few samples of the people, or has fewer than 10"
    withheld = []
    for row in rows:
        if "people" not in row:
            withheld.append((f"cluster {row['cluster']}", unstable))
        elif "events" not in row:
            why = "fewer than 10 people with the event or without"
            withheld.append((f"outcome of cluster {row['cluster']}", why))
    return withheld


def list_coarsened(
    rows: Sequence[Mapping[str, object]], profiles: Sequence[Mapping[str, object]]
) -> list[tuple[str, object, str]]:
    """(what, step, why) of what is in steps above 1 %."""
    why = "a finer step holds fewer than 5 people"
    shares = [
        (f"share with the outcome: cluster {row['cluster']}", row["step"], why)
        for row in rows
        if "step" in row and row["step"] != STEPS[0]
    ]
    steps = {profile["cluster"]: profile["step"] for profile in profiles}
    means = [
        (f"means of columns: cluster {number}", step, "one person must not be read from it")
        for number, step in steps.items()
    ]
    return [*shares, *means]
