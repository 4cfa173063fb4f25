"""What clusters print of people of whom all but one are known
(tests/analytics/test_disclosure_noise.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from quiet import subjects

from analytics.clusterings import REGISTERED
from analytics.clusters import assign, centres_of, draw_people, silhouettes_of
from analytics.disclosure.clusters import (
    Member,
    describe_cluster,
    describe_means,
    perturb_measure,
)
from analytics.disclosure.counts import perturb_sizes
from analytics.disclosure.noise import Noise
from analytics.simulate.groups import simulate_groups

Numbers = list[float]
Print = Callable[[Noise, bool], Numbers]


def numbers_of(row: dict[str, Any]) -> Numbers:
    ends = row.get("interval", [0, 0])
    return [float(row.get(name, 0)) for name in ("people", "events", "share")] + [*map(float, ends)]


def outcome_in_a_cluster(trial: int) -> Print:
    """Clusters are known to the attacker; in which the one person is, too."""
    draw = np.random.default_rng(trial)
    cluster, event = draw.integers(0, 3, 200), draw.random(200) < 0.35
    ids = subjects(200)

    def printed(noise: Noise, happened: bool) -> Numbers:
        known = event.copy()
        known[0] = happened
        members = [
            Member(
                [ids[at] for at in np.flatnonzero(cluster == number)],
                [ids[at] for at in np.flatnonzero((cluster == number) & known)],
                0.9,
            )
            for number in range(3)
        ]
        affected = [ids[at] for at in np.flatnonzero(known)]
        sizes = perturb_sizes(noise, 250, (("all", ids),), ids, affected)
        rows = [describe_cluster(noise, at, member, True) for at, member in enumerate(members)]
        return [float(sizes.events), *(value for row in rows for value in numbers_of(row))]

    return printed


def presence_in_a_cluster(trial: int) -> Print:
    """The attacker knows all columns of everybody, and not whether the first person was there."""
    simulated = simulate_groups(160, trial)
    x = simulated.clinical
    ids = subjects(160)

    def printed(noise: Noise, there: bool) -> Numbers:
        inside = np.arange(0 if there else 1, 160)
        z = (x[inside] - x[inside].mean(axis=0)) / x[inside].std(axis=0)
        who = [ids[at] for at in inside]
        chosen = draw_people(len(z), np.random.default_rng(noise.seed("folds", who, 1)))
        drawn = REGISTERED["ward"].divide(z[chosen], 3, 0)
        labels = assign(z, centres_of(z[chosen], drawn))
        labels[chosen] = drawn
        sizes = perturb_sizes(noise, 200, (("all", who),), who, who[:50])
        numbers = [float(sizes.people)]
        numbers.append(
            float(perturb_measure(noise, who, sizes, "s", silhouettes_of(z[chosen], [drawn])[0]))
        )
        for label in np.argsort([z[labels == cluster, 0].mean() for cluster in range(3)]):
            mine = [who[at] for at in np.flatnonzero(labels == label)]
            row = describe_cluster(noise, 1, Member(mine, [], 0.9), True)
            means = dict(zip("abcd", z[labels == label].mean(axis=0).tolist(), strict=True))
            shown = {m["feature"]: m["mean"] for m in describe_means(noise, 1, mine, means)}
            numbers += [
                float(row.get("people", 0)),
                *(float(shown.get(name, 0)) for name in "abcd"),
            ]
        return numbers

    return printed
