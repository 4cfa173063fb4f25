"""Attack on a variant's z by an insider who knows this file, the numbers of people and events, and
the genotypes.

The attack is written independently of the product, in plain loops: for every possible table of
genotypes and outcomes, it computes the printed result, and excludes tables that print differently
from the observed result.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from math import exp, floor, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
from extent import extent
from quiet import QUIET
from scan_cohorts import asking, cohort_of, silent
from scipy.optimize import brentq
from scipy.stats import norm

from analytics import association
from analytics.association import associate, count_alleles, score_test
from analytics.disclosure import scan as disclosure_scan
from analytics.disclosure.scan import Table, choose_step, tabulate
from analytics.errors import CohortTooSmall

Counts = tuple[int, int, int]  # reference, heterozygous and homozygous people
Printed = tuple[int, int]  # step and z in tenths


def tables(every: Counts, events: int) -> Iterator[Counts]:
    """Every way that `events` of the people could have the event."""
    for positives in product(*(range(count + 1) for count in every)):
        if sum(positives) == events:
            yield positives


def z_of(positives: Counts, every: Counts, share: float, people: int) -> float:
    """Score over its standard deviation, everybody has weight share * (1 - share); beyond 2 the z
    of the saddlepoint's p."""
    known = sum(every)
    mean = (every[1] + 2 * every[2]) / known
    score = sum(
        copies * (positives[copies] - share * every[copies]) for copies in (1, 2)
    ) + mean * (share * known - sum(positives))
    information = sum(
        share * (1 - share) * every[copies] * (copies - mean) ** 2 for copies in (0, 1, 2)
    )
    z = score / sqrt(information)
    if abs(z) <= 2.00001:
        return z
    p = sum(tail(side * abs(round(score, 9)), every, round(share, 12), people) for side in (1, -1))
    return (1 if z > 0 else -1) * -float(norm.ppf(min(p, 1.0) / 2))


@cache
def tail(score: float, every: Counts, share: float, people: int) -> float:
    """Probability of a score at least as far out on its side, given the number of events (Skovgaard
    1987)."""
    mean = (every[1] + 2 * every[2]) / sum(every)
    groups = [(count, copies - mean) for copies, count in enumerate(every) if count]
    if people > sum(every):
        groups.append((people - sum(every), 0.0))

    def odds_at(t: float) -> float:
        """The shift of the log odds at which as many events are expected."""
        most = abs(t) * 2 + 1
        return brentq(lambda u: sum(n * (at(a * t + u) - share) for n, a in groups), -most, most)

    def at(tilt: float) -> float:
        return 1 / (1 + (1 - share) / share * exp(min(-tilt, 700.0)))

    def slope(t: float) -> float:
        u = odds_at(t)
        return sum(n * a * (at(a * t + u) - share) for n, a in groups)

    def sums(t: float, u: float) -> tuple[float, float, float, float]:
        """The cumulants, and their second derivatives."""
        spread = [(n * at(a * t + u) * (1 - at(a * t + u)), a) for n, a in groups]
        grown = sum(
            n * (log(1 - share + share * exp(min(a * t + u, 700.0))) - share * (a * t + u))
            for n, a in groups
        )
        return grown, *(sum(v * a**power for v, a in spread) for power in (2, 1, 0))

    _, _, _, events = sums(0, 0)
    end = (1 if score > 0 else -1) * 200 / max(abs(a) for _, a in groups)
    beyond = abs(slope(end)) < abs(score) - 1e-9
    if beyond:
        return 0.0
    last = abs(slope(end)) < abs(score) + 1e-9
    t = end if last else brentq(lambda t: slope(t) - score, 0, end, xtol=1e-13)
    u = odds_at(t)
    grown, a, b, c = sums(t, u)
    exponent = min(grown - t * score, 0.0)
    bound = min(exp(exponent) * sqrt(events / max(c, 1 / (2 * pi))), 1.0)
    if last:
        return bound
    w = sqrt(-2 * exponent)
    v = abs(t) * sqrt((a * c - b * b) / events)
    return min(bound, norm.cdf(-(w + log(v / w) / w)))


def nearest(z: float, step: int) -> int:
    return step * floor(10 * z / step + 0.5 + 1e-5)


@cache
def what_is_printed(every: Counts, events: int, share: float, people: int) -> dict[Counts, Printed]:
    printed: dict[Counts, Printed] = {}
    for step in (1, 2, 5, 10):
        shown = {
            positives: (step, nearest(z_of(positives, every, share, people), step))
            for positives in tables(every, events)
            if positives not in printed
        }
        alike = Counter(shown.values())
        printed |= {positives: row for positives, row in shown.items() if alike[row] >= 5}
    return printed


SITES = [
    ((20, 15, 5), 16),
    ((30, 25, 5), 20),
    ((12, 28, 20), 30),
    ((10, 30, 40), 12),
    ((150, 45, 5), 80),
]


@pytest.mark.parametrize(("every", "events"), SITES)
def test_no_z_is_printed_that_fewer_than_five_tables_share(every: Counts, events: int) -> None:
    # Of three people the genotype is unknown, two of them have the event.
    people = sum(every) + 3
    share = (events + 2) / people
    expected, printed = what_is_printed(every, events, share, people), {}
    for positives in tables(every, events):
        step = choose_step(Table(positives, every), share, people)
        if step:
            printed[positives] = (step, nearest(z_of(positives, every, share, people), step))
    assert printed == expected
    assert min(Counter(printed.values()).values()) >= 5
    assert len(printed) > 0.6 * sum(1 for _ in tables(every, events))


def test_without_a_hiding_step_no_z_is_printed() -> None:
    """With 20 heterozygous people each number with the event has a distinct z."""
    assert {choose_step(Table((25 - het, het, 0), (60, 20, 0)), 0.3, 80) for het in range(21)} == {
        0
    }


def test_without_counting_tables_a_z_reveals_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure_scan, "CANDIDATES_NEEDED", 1)
    every, events = SITES[0]
    shown = Counter(
        nearest(z_of(positives, every, 0.4, 40), choose_step(Table(positives, every), 0.4, 40))
        for positives in tables(every, events)
    )
    assert min(shown.values()) == 1


def test_the_table_of_a_column_gives_its_z() -> None:
    """As the scan computes it, with people of unknown genotype at the mean."""
    generator = np.random.default_rng(1)
    dosage, event = (
        generator.binomial(2, 0.4, 90).astype(float),
        (np.arange(90) % 3 == 0).astype(np.int64),
    )
    dosage[::7] = np.nan
    table = tabulate(dosage, event)
    assert (sum(table.every), sum(table.positives)) == (77, int(event[~np.isnan(dosage)].sum()))
    filled = np.where(np.isnan(dosage), np.nanmean(dosage), dosage)
    (exact,) = score_test(filled[:, None], event, np.empty((90, 0)))
    assert z_of(table.positives, table.every, 1 / 3, 90) == pytest.approx(exact, abs=1e-5)
    positives = np.array(table.positives[1:])[:, None]
    assert disclosure_scan._z_of(positives, table, 1 / 3, 90)[0] == pytest.approx(exact, abs=1e-5)


def scans(
    people: int, number: int
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, Any], dict[str, Any]]]:
    """(genotypes, outcomes, scan of the one variant, frequencies of the same people), where the
    scan says anything."""
    for seed in range(number):
        generator = np.random.default_rng(seed + 1000 * people)
        dosage = generator.binomial(2, 0.35, (people, 1)).astype(float)
        event = (
            generator.random(people) < 1 / (1 + np.exp(-(dosage[:, 0] - 0.9) * (seed % 5)))
        ).astype(np.int64)
        cohort = cohort_of(dosage, event, granted=people)
        loose = {"min_hwe": "0", "min_maf": "0"}
        try:
            scan: Any = associate(
                cohort, asking(components=0, statistics=1, variants=loose), silent, QUIET
            )[0]
            sites: Any = count_alleles(
                cohort, asking("frequencies", sites=["1:1:A>G"]), silent, QUIET
            )[0]
        except CohortTooSmall:
            continue
        yield dosage[:, 0], event, scan, sites


def insider(
    dosage: np.ndarray, event: np.ndarray, scan: dict[str, Any], sites: dict[str, Any]
) -> int:
    """How many tables fit the scan and the frequencies, at the exact sizes."""
    people, events = len(event), int(event.sum())
    (row,), (site,) = scan["rows"], sites["rows"]
    step, wanted, fitting = round(10 * float(row["step"])), round(10 * float(row["z"])), 0
    for het, hom in product(range(people + 1), repeat=2):
        carriers, alleles = het + hom, het + 2 * hom
        if not 10 <= carriers <= people - 10:
            continue
        if min(alleles, 2 * people - alleles) * min(events, people - events) < 10 * people:
            continue
        if "carriers" in site and 5 * ((carriers + 2) // 5) != site["carriers"]:
            continue
        if "frequency" in site:
            grid = site["step"]
            if grid * ((100 * alleles + grid * people) // (2 * grid * people)) != site["frequency"]:
                continue
        every = (people - carriers, het, hom)
        fitting += sum(
            (step, wanted) == printed
            for printed in what_is_printed(every, events, events / people, people).values()
        )
    return fitting


@pytest.mark.parametrize("people", [40, 60])
def test_a_scan_and_the_frequencies_of_the_same_people_leave_five_tables(people: int) -> None:
    left, campaign = [], extent(10, 100)
    for dosage, event, scan, sites in scans(people, campaign):
        assert "inflation" not in scan
        assert scan["quantiles"] == []
        left.append(insider(dosage, event, scan, sites))
    assert len(left) >= campaign // 3
    assert min(left) >= 5


def test_without_counting_tables_scan_and_frequencies_reveal_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same scans at the finest step, without counting the tables that fit."""
    monkeypatch.setattr(association, "choose_step", lambda *_: 1)
    left = []
    for dosage, event, scan, sites in scans(40, 15):
        (row,), every = scan["rows"], tuple(int((dosage == copies).sum()) for copies in (0, 1, 2))
        share = event.mean()
        left.append(
            sum(
                nearest(z_of(positives, every, share, len(event)), 1) == round(10 * float(row["z"]))  # type: ignore[arg-type]
                for positives in tables(every, int(event.sum()))
            )
        )  # type: ignore[arg-type]
        assert sites["rows"]
    assert min(left) < 5
