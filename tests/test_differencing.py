"""Two association runs, the second without one person: it is withheld, with the reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import CHILDREN, Rig

from analytics.params import complete, parse_params
from analytics.people import Input, read_people
from analytics.readers.clinical import value_at
from analytics.readers.genotypes import read_genotypes
from analytics.simulate.rehearsal import invent
from analytics.vocabulary import Category
from api.worker.prior_results import list_earlier
from chain.devnode.process import DevChain
from chain.events import Released
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.ingest import Source
from governance.readmodel import queries as register

PEOPLE = 90
READ = 1 << 0 | 1 << 2 | 1 << Category.GERMLINE_VARIANTS
EVERYBODY: dict[str, Any] = {
    "analysis": "associate",
    "statistics": 1,
    "components": 0,
    "variants": {"min_maf": "0.4"},
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
}
TOO_FEW = "differs by fewer than 10 people from that of an earlier result"


@pytest.fixture(scope="module")
def made() -> list[Input]:
    return invent(parse_params(complete(EVERYBODY)), PEOPLE, 5)


@pytest.fixture(params=[PEOPLE])
def genomes(
    request: pytest.FixtureRequest,
    devchain: DevChain,
    bucket_process: BucketProcess,
    tmp_path: Path,
    made: list[Input],
) -> Iterator[Rig]:
    """Invented people with a clinical record and genotypes each, all willing."""
    CHILDREN.warm()  # in the thread that lives longest: children die with it
    rig = Rig.build(tmp_path, devchain.url, bucket_process, people=1)
    rig.subjects = rig.world.enrol(request.param)
    names = dict(zip(sorted({source.subject for source in made}), rig.subjects, strict=False))
    rig.ingest(
        [
            Source(
                names[source.subject],
                source.category,
                source.payload.replace(
                    source.subject.encode(), names[source.subject].hex().encode()
                ),
            )
            for source in made
            if source.subject in names
        ]
    )
    rig.world.grant(rig.subjects, categories=READ)
    yield rig
    rig.close()


def carry_out(rig: Rig, params: dict[str, Any], **permit: Any) -> tuple[bytes, str]:
    """A run that a worker took, and why it ended without an output ("": it has one)."""
    allowed = {"categories": READ, "outputClasses": 1 << 3, "minCohort": 10} | permit
    run, worker = (
        rig.request(rig.permit(**allowed), params=complete(params)),
        rig.worker(),
    )
    worker.projection.sync()
    assert worker.step()
    sealed, failure = (
        bool(worker.projection.replayed.attempts[run, 1].seal),
        register.failure_of(worker.engine, run.hex()),
    )
    assert sealed != bool(failure)
    return run, failure


def release(rig: Rig, run: bytes) -> None:
    projection = rig.projection()
    projection.sync()
    sealed = projection.replayed.attempts[run, 1]
    for name in ("sol", "tess"):
        rig.world.view_output(run, name)
    everybody, epochs = zip(*((who, epoch) for who, epoch, _ in sealed.granted), strict=True)
    assert rig.world.release(run, sealed.seal_hash, everybody, epochs).one(Released)


def frequencies(made: list[Input]) -> dict[str, Any]:
    packed = next(
        source.payload for source in made if source.category == Category.GERMLINE_VARIANTS
    )
    return {"analysis": "frequencies", "sites": [read_genotypes(packed, {}).sites.names()[0]]}


def earlier(rig: Rig, run: bytes) -> int:
    projection = rig.projection()
    projection.sync()
    return len(list_earlier(projection, run))


def test_a_scan_without_one_person_of_another_is_refused(genomes: Rig, made: list[Input]) -> None:
    ages = sorted(
        value_at(person.clinical, "age_years", None)
        for person in read_people(made, "none")
        if person.clinical
    )
    fewer = {**EVERYBODY, "cohort": {"age": [int(ages[0]) + 1, 130]}}
    assert ages.count(ages[0]) < 10
    first, failure = carry_out(genomes, EVERYBODY)
    assert failure == ""
    # While it may still be released, and when it is.
    assert TOO_FEW in carry_out(genomes, fewer)[1]
    release(genomes, first)
    run, failure = carry_out(genomes, fewer)
    assert TOO_FEW in failure
    assert earlier(genomes, run) == 1
    # A permit that cannot read what the first one read does not make it forgotten.
    sites = frequencies(made)
    assert TOO_FEW in carry_out(genomes, sites, categories=1 << Category.GERMLINE_VARIANTS)[1]
    # The same people again: that is for the dataset's budget to say.
    assert TOO_FEW not in carry_out(genomes, sites)[1]


@pytest.mark.parametrize("genomes", [60], indirect=True)
def test_who_withdrew_since_counts_and_what_nobody_can_release_does_not(
    genomes: Rig, made: list[Input]
) -> None:
    first, failure = carry_out(genomes, frequencies(made))
    assert failure == ""
    genomes.world.revoke(genomes.subjects[0])
    second, failure = carry_out(
        genomes, frequencies(made)
    )  # the first one's release would be refused
    assert failure == ""
    assert (earlier(genomes, first), earlier(genomes, second)) == (1, 0)
    release(genomes, second)
    genomes.world.revoke(genomes.subjects[1])
    third, failure = carry_out(genomes, frequencies(made))
    assert TOO_FEW in failure
    assert earlier(genomes, third) == 1


@pytest.mark.parametrize("genomes", [60], indirect=True)
def test_a_result_that_came_while_another_was_computed_is_compared_too(
    genomes: Rig, made: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers compute side by side: whoever seals last computes again."""
    calls = (
        itertools.count()
    )  # the first of an attempt is for its child, the second before the seal
    monkeypatch.setattr(
        "api.worker.attempt.list_earlier",
        lambda *where: list_earlier(*where) if next(calls) % 2 else [],
    )
    assert carry_out(genomes, frequencies(made))[1] == ""
    run, worker = (
        genomes.request(
            genomes.permit(categories=READ, outputClasses=1 << 3, minCohort=10),
            params=complete(frequencies(made)),
        ),
        genomes.worker(),
    )
    worker.projection.sync()
    assert worker.step()
    assert not worker.projection.replayed.attempts[run, 1].seal
    assert register.failure_of(worker.engine, run.hex()) == ""
