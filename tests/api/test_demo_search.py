"""The demo's search for plaintext finds every kind of record, should one lie somewhere."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest

from analytics.known_truth import simulate_cohort
from analytics.known_truth_files import BUILD, write_bundle, write_vcf
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from api.demo.steps import fragment, hits, sampled
from api.lanes import Lanes
from governance.ingest import Source

IDS = [format(number, "064x") for number in range(1, 7)]


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """What six simulated people and one published one bring in."""
    cohort = simulate_cohort(len(IDS), 1, 80)
    samples = {f"S{at}": subject for at, subject in enumerate(IDS)}
    bundles = [(subject, write_bundle(cohort, at, subject)) for at, subject in enumerate(IDS)]
    person = load_gse7390(locate_gse7390())[0]
    return [*Lanes(BytesIO(write_vcf(cohort, list(samples))), samples, BUILD, bundles).sources(),
            Source(bytes(32), 2, person.observations("0" * 64)), Source(bytes(32), 6, person.expression("0" * 64))]


def test_some_of_each_kind_are_searched_for(sources: list[Source]) -> None:
    canaries: list[bytes] = []
    assert list(sampled(iter(sources), canaries)) == sources
    kinds = Counter((one.category, one.ordinal) for one in sources)
    assert {(5, 0), (5, 1), (0, 0), (1, 0), (2, 0), (6, 0)} <= kinds.keys()
    assert len(canaries) == sum(min(3, count) for count in kinds.values())


def test_a_record_that_lies_about_is_found(sources: list[Source], tmp_path: Path) -> None:
    for at, source in enumerate(sources):
        place = tmp_path / str(at)
        place.mkdir()
        canary = fragment(source)
        (place / "other").write_bytes(source.subject.hex().encode() + b"nothing of hers" * 64)
        assert hits(place, [canary]) == 0, source.category
        for form in (source.payload, source.payload.hex().encode()):
            (place / "record").write_bytes(form)
            assert hits(place, [canary]) > 0, source.category
