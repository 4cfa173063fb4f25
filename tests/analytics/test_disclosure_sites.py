"""Attack on carriers and frequencies by an insider who knows the number of genotypes."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from analytics.disclosure import sites as disclosure_sites
from analytics.disclosure.sites import show_site

# Step of the frequency, whether carriers are printed.
LEVELS = [
    (1, True),
    (2, True),
    (5, True),
    (1, False),
]
Site = tuple[int, int, int]


def nearest(part: int, total: int, step: int) -> int:
    return step * ((2 * 100 * part + step * total) // (2 * step * total))


def sites(people: int) -> Iterator[Site]:
    for het in range(people + 1):
        for hom in range(people + 1 - het):
            if min(het + hom, people - het - hom) >= 10:
                yield people - het - hom, het, hom


@cache
def what_is_printed(people: int) -> dict[Site, dict[str, int]]:
    """The printed result by counts, at the finest level that five counts share."""
    printed: dict[Site, dict[str, int]] = {}
    for step, both in LEVELS:
        shown = {}
        for site in sites(people):
            if site not in printed:
                _, het, hom = site
                frequency = {"frequency": nearest(het + 2 * hom, 2 * people, step), "step": step}
                shown[site] = frequency | ({"carriers": 5 * ((het + hom + 2) // 5)} if both else {})
        alike = Counter(tuple(row.values()) for row in shown.values())
        printed |= {site: row for site, row in shown.items() if alike[tuple(row.values())] >= 5}
    return printed


@pytest.mark.parametrize("people", [20, 21, 30, 50, 100])
def test_no_site_is_printed_that_fewer_than_five_counts_share(people: int) -> None:
    printed = {site: show_site(*site) for site in sites(people)}
    assert printed == {site: what_is_printed(people).get(site, {}) for site in sites(people)}
    alike = Counter(tuple(sorted(shown.items())) for shown in printed.values() if shown)
    assert not alike or min(alike.values()) >= 5
    if people >= 50:
        assert sum(alike.values()) > 0.9 * len(printed)


def test_without_counting_frequency_and_carriers_reveal_genotypes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disclosure_sites, "CANDIDATES_NEEDED", 1)
    alike = Counter(tuple(show_site(*site).values()) for site in sites(30))
    assert min(alike.values()) == 1


def test_sites_of_many_people_are_finest_level_or_withheld(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(1)
    shown: list[Any] = [show_site(*generator.multinomial(5000, [0.6, 0.3, 0.1])) for _ in range(20)]
    assert all(row["step"] == 1 and "carriers" in row for row in shown)
    monkeypatch.setattr(disclosure_sites, "MOST_PEOPLE", 99)
    pairs = [(show_site(*site), what_is_printed(100).get(site)) for site in sites(100)]
    assert all(
        shown == (printed if printed and printed["step"] == 1 and "carriers" in printed else {})
        for shown, printed in pairs
    )


def test_nothing_is_printed_of_fewer_than_ten_carriers_or_others() -> None:
    assert show_site(191, 5, 4) == show_site(9, 100, 91) == {}
    assert show_site(100, 60, 40) == {"frequency": 35, "step": 1, "carriers": 100}
