"""The demo's searches find plaintext in any encoding, and keys released after a withdrawal."""

from __future__ import annotations

import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.simulate.known_truth import simulate_cohort
from analytics.simulate.known_truth_files import BUILD, write_bundle, write_vcf
from api.demo.steps import fragment, hits, keys_after, sampled
from api.ingest.cohort_files import CohortFiles
from governance.objects.ingest import Source

IDS = [format(number, "064x") for number in range(1, 7)]


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """What six simulated people and one published one bring in."""
    cohort = simulate_cohort(len(IDS), 1, 80)
    samples = {f"S{at}": subject for at, subject in enumerate(IDS)}
    bundles = [(subject, write_bundle(cohort, at, subject)) for at, subject in enumerate(IDS)]
    person = load_gse7390(locate_gse7390())[0]
    return [
        *CohortFiles(BytesIO(write_vcf(cohort, list(samples))), samples, BUILD, bundles).sources(),
        Source(bytes(32), 2, person.observations("0" * 64)),
        Source(bytes(32), 6, person.expression("0" * 64)),
    ]


def test_some_of_each_kind_are_searched_for(sources: list[Source]) -> None:
    canaries: list[bytes] = []
    assert list(sampled(iter(sources), canaries)) == sources
    kinds = Counter((source.category, source.ordinal) for source in sources)
    assert {(5, 0), (5, 1), (0, 0), (1, 0), (2, 0), (6, 0)} <= kinds.keys()
    assert len(canaries) == sum(min(3, count) for count in kinds.values())


def test_a_plaintext_record_is_found(sources: list[Source], tmp_path: Path) -> None:
    for at, source in enumerate(sources):
        deployment = tmp_path / str(at)
        deployment.mkdir()
        canary = fragment(source)
        (deployment / "other").write_bytes(source.subject.hex().encode() + b"nothing of hers" * 64)
        assert hits(deployment, [canary]) == 0, source.category
        for form in (source.payload, source.payload.hex().encode()):
            (deployment / "record").write_bytes(form)
            assert hits(deployment, [canary]) > 0, source.category


def test_keys_of_hers_are_counted_from_the_block_of_her_withdrawal_on(tmp_path: Path) -> None:
    """Each line that names her at such a head, and no other; a broker's journal written by hand."""
    hers, other = "aa" * 32, "bb" * 32
    lines = [
        (44, [hers, other]),
        (45, [other]),
        (45, [hers]),
        (46, [hers, other]),
        (47, []),
        (47, [other]),
    ]
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "journal.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "seq": seq,
                    "kind": "pieces",
                    "run": "cc" * 32,
                    "attempt": 1,
                    "block": block,
                    "subjects": subjects,
                }
            )
            + "\n"
            for seq, (block, subjects) in enumerate(lines)
        )
    )
    cast: Any = SimpleNamespace(home=tmp_path)
    assert [keys_after(cast, bytes.fromhex(hers), block) for block in (44, 45, 46, 47)] == [
        3,
        2,
        1,
        0,
    ]
    assert keys_after(cast, bytes.fromhex(other), 45) == 3
