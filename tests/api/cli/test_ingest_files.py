"""Ingest of genomes and clinical records on the command line: complete and encrypted, or not at
all.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fhir_files as fhir
import genomic_files as genomic
import numpy as np
import pytest
import vcf_files as vcf
from extent import extent
from families import Population
from speed import allowed

from api.demo.stage import random32
from api.ingest import parser_sandbox as sandbox
from governance import supplements
from governance.objects.envelope import record_id

CANARY = "Kanarie"
MEASURED = """
import re, resource, sys, time
from pathlib import Path
from api.cli import main
began = time.monotonic()
try:
    main()
finally:
    own = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]  # ru_maxrss would be its parent's
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"measured {time.monotonic() - began:.2f} {int(own) >> 10} {child >> 10}", file=sys.stderr)
"""


@dataclass
class Cohort:
    """A dataset of its own, people, and their files in the working folder."""

    dataset: bytes
    people: list[bytes]
    options: list[str]

    def command(self, *more: str, fhir: bool = True) -> list[str]:
        options = self.options if fhir else self.options[:4]
        return ["dataset", "ingest", "--as", "omar", self.dataset.hex(), *options, "--json", *more]


def bundles_of(people: Sequence[bytes]) -> list[bytes]:
    """A clinical record each; the first person's has HIV, the second's a code of a system that
    nobody knows here.
    """
    private = {
        "text": {
            "status": "generated",
            "div": f"<div xmlns='http://www.w3.org/1999/xhtml'>{CANARY}</div>",
        }
    }
    usual = [
        fhir.condition((fhir.CM, "C50.911")),
        fhir.observation(note=[{"text": CANARY}], **private),
    ]
    first, second = fhir.condition((fhir.CM, "B20")), fhir.condition(("urn:hospital:own", CANARY))
    return [
        fhir.bundle(*usual, *([first] if n == 0 else [second] if n == 1 else []))
        for n, _ in enumerate(people)
    ]


@pytest.fixture
def cohort(deployment, tmp_path: Path) -> Cohort:
    dataset, people = random32(), deployment.people(6, agree=False)
    deployment.world.register_dataset(dataset)
    data, names, _ = vcf.cohort(6, 40)
    data = re.sub(rb"\tP(?=\d)", f"\t{CANARY}".encode(), data)
    data = data.replace(b"\tPASS\t.", f"\tPASS\tCARRIERS={CANARY}".encode())
    names = [name.replace("P", CANARY) for name in names]
    Path("cohort.vcf.gz").write_bytes(vcf.bgzip(data))
    write_samples(dict(zip(names, people, strict=True)))
    Path("bundles").mkdir()
    for subject, bundle in zip(people, bundles_of(people), strict=True):
        Path("bundles", f"{subject.hex()}.json").write_bytes(bundle)
    return Cohort(
        dataset,
        people,
        ["--vcf", "cohort.vcf.gz", "--samples", "samples.json", "--fhir", "bundles"],
    )


@pytest.fixture(autouse=True)
def _here(volens) -> None:
    """The working folder is the test's own before the files are made."""


def write_samples(samples: dict[str, bytes]) -> None:
    Path("samples.json").write_text(
        json.dumps({name: subject.hex() for name, subject in samples.items()})
    )


def registered(deployment, cohort: Cohort) -> dict[bytes, dict[tuple[int, int], int]]:
    """By person, how many records of each (category, version) the ledger knows."""
    deployment.services.projection.sync()
    opened: dict[bytes, dict[tuple[int, int], int]] = {}
    for leaf in deployment.services.projection.records_of(cohort.dataset):
        own = opened.setdefault(leaf.subject, {})
        own[leaf.category, leaf.version] = own.get((leaf.category, leaf.version), 0) + 1
    return opened


def objects(deployment) -> int:
    return sum(1 for path in (deployment.home / "bucket").rglob("*") if path.is_file())


def plaintext(deployment, before: set[Path]) -> list[str]:
    """Files of the home folder, or new among the temporary ones, that hold what only the inputs
    hold.
    """
    new = set(Path(tempfile.gettempdir()).iterdir()) - before
    traces = []
    for path in [
        *deployment.home.rglob("*"),
        *(inner for entry in new for inner in [entry, *entry.rglob("*")]),
    ]:
        if path.is_file():
            data = path.read_bytes()
            traces += [
                path.name
                for mark in (CANARY.encode(), b"##fileformat", b'"resourceType"')
                if mark in data
            ]
    return traces


def test_six_people_come_in(deployment, volens, cohort) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    result = volens(*cohort.command())
    assert result.code == 0, result
    answer = json.loads(result.out)
    mine = registered(deployment, cohort)
    genome, usual = {(5, 1): 2}, {(0, 1): 1, (1, 1): 1, (2, 1): 1}
    assert mine[cohort.people[0]] == genome | usual | {
        (19, 1): 1
    }  # what says HIV is in its own category
    assert all(mine[subject] == genome | usual for subject in cohort.people[1:])
    assert answer["records"] == 6 * 5 + 1
    report = answer["report"]
    assert (report["vcf"]["people"], report["vcf"]["records"], report["vcf"]["packed_rows"]) == (
        6,
        40,
        40,
    )
    assert report["fhir"]["bundles"] == 6
    assert report["fhir"]["kept"] == {
        "demographics": 6,
        "conditions": 6,
        "observations": 6,
        "hiv": 1,
    }
    assert report["fhir"]["held back"] == {"unknown code system": 1}
    assert CANARY not in result.out + result.err
    assert plaintext(deployment, before) == []

    again = volens(*cohort.command())  # a second delivery: the same records in a second version
    assert again.code == 0
    assert registered(deployment, cohort)[cohort.people[1]] == {
        (5, 2): 2,
        (0, 2): 1,
        (1, 2): 1,
        (2, 2): 1,
    }


def test_genetic_results_come_in_as_genomes_do(deployment, volens, cohort) -> None:
    """Beside the VCF and the packed genotypes, in their category: who withholds her genome
    withholds her BRCA1 status.

    Somebody without a genome in the file has the same place for them.
    """
    genetic = [
        fhir.condition((fhir.CM, "Z15.01")),
        fhir.observation(
            (fhir.LOINC, "21636-6"), valueCodeableConcept=fhir.concept((fhir.LOINC, "LA9633-4"))
        ),
        genomic.variant(note=[{"text": CANARY}]),
        genomic.implication(),
        genomic.variant("words", change=f"c.68_69del, {CANARY}"),
    ]
    (alone,) = deployment.people(1, agree=False)
    for subject in (cohort.people[0], alone):
        Path("bundles", f"{subject.hex()}.json").write_bytes(fhir.bundle(*genetic))
    result = volens(*cohort.command())
    assert result.code == 0, result
    mine = registered(deployment, cohort)
    assert mine[cohort.people[0]] == {(5, 1): 3, (0, 1): 1}
    assert mine[alone] == {(5, 1): 1, (0, 1): 1}
    leaves = deployment.services.projection.records_of(cohort.dataset)
    places = {leaf.record for leaf in leaves if leaf.subject == cohort.people[0]}
    assert places == {
        record_id(cohort.dataset, cohort.people[0], category, ordinal)
        for category, ordinal in ((0, 0), (5, 0), (5, 1), (5, 2))
    }
    report = json.loads(result.out)["report"]["fhir"]
    assert report["kept"]["germline-variants"] == 8
    assert report["held back"]["a genomic result with a value that fits no pattern"] == 2
    assert CANARY not in result.out


def test_a_dictionary_of_the_clinical_records_is_written(
    deployment, volens, tmp_path: Path
) -> None:
    """Which variables, in which units, for about how many: a plan can be written from it before
    anything is asked.
    """
    dataset, people = random32(), deployment.people(40, agree=False)
    deployment.world.register_dataset(dataset)
    write_samples({f"P{n}": subject for n, subject in enumerate(people[:20])})
    data, _, _ = vcf.cohort(20, 3)
    Path("cohort.vcf").write_bytes(data)
    Path("bundles").mkdir()
    for n, subject in enumerate(people):
        body = [fhir.condition((fhir.CM, "C50.911"))]
        bmi = {"value": 31.5, "system": fhir.UCUM, "code": "kg/m2"}
        body += [fhir.observation((fhir.LOINC, "39156-5"), valueQuantity=bmi)] * (n < 17)
        Path("bundles", f"{subject.hex()}.json").write_bytes(fhir.bundle(*body))
    cohort_files = ["--vcf", "cohort.vcf", "--samples", "samples.json", "--fhir", "bundles"]
    command = ["dataset", "ingest", "--as", "omar", dataset.hex()]
    result = volens(*command, *cohort_files, "--dictionary", "dictionary.json")
    assert result.code == 0, result
    text = Path("dictionary.json").read_text()
    dictionary = json.loads(text)
    assert (dictionary["people"], dictionary["genotyped"]) == (40, 20)
    (row,) = [row for row in dictionary["variables"] if row["variable"] == "bmi"]
    assert row == {
        "variable": "bmi",
        "unit": "kg/m2",
        "category": 2,
        "people": 15,
        "completeness": 40,
    }
    assert "31.5" not in text
    assert not any(subject.hex() in text for subject in people)
    again = volens(*command, *cohort_files, "--dictionary", "nowhere/dictionary.json")
    assert again.code == 2
    assert "cannot be written; nothing was done" in " ".join(again.err.split())
    alone = volens(*command, *cohort_files[:4], "--dictionary", "dictionary.json")
    assert "Name them with --fhir" in " ".join(alone.err.split())


def test_the_report_is_told_in_words(volens, cohort) -> None:
    arguments = [word for word in cohort.command() if word != "--json"]
    output = volens(*arguments).out
    assert "31 records encrypted and registered: block" in output
    assert "Genomes: 6 people, 40 rows, 40 of them packed as 40 variants;" in output
    assert (
        "Clinical records: 6 people; taken: 6 conditions, 6 demographics, 1 hiv, 6 observations."
        in output
    )
    assert "held back: 1 (unknown code system)" in output


def refused(
    deployment, volens, cohort: Cohort, sentence: str, *more: str, records: bool = False
) -> None:
    head, had = deployment.head(), objects(deployment)
    result = volens(*cohort.command(*more))
    assert result.code == 2, result
    assert sentence in " ".join(result.err.split())
    assert CANARY not in result.err
    assert (deployment.head(), registered(deployment, cohort)) == (head, {})
    assert records or objects(deployment) == had  # nothing was encrypted either


def test_another_build_is_refused(deployment, volens, cohort) -> None:
    refused(deployment, volens, cohort, "another genome build", "--build", "GRCh37")
    refused(deployment, volens, cohort, "neither GRCh37 nor GRCh38", "--build", "hg19")


def test_people_who_are_not_enrolled_are_left_out_when_that_is_asked_for(
    deployment, volens, cohort
) -> None:
    """A file of many, of whom two have enrolled, and which has no depth and says no build: all of
    it is counted.
    """
    mine = cohort.people[2:4]
    data, names, _ = vcf.cohort(6, 40)
    data = re.sub(rb"(:[0-9]+){2}(?=[\t\n])", b"", data).replace(b"GT:DP:GQ", b"GT")
    kept = [
        line for line in data.split(b"\n") if not re.match(rb"##(contig|FORMAT=<ID=(DP|GQ),)", line)
    ]
    Path("cohort.vcf.gz").write_bytes(vcf.bgzip(b"\n".join(kept)))
    write_samples(dict(zip(names[2:4], mine, strict=True)))
    refused(deployment, volens, cohort, "--leave-out-unlisted", records=True)
    result = volens(*cohort.command("--leave-out-unlisted", fhir=False))
    assert result.code == 0, result
    assert registered(deployment, cohort) == {subject: {(5, 1): 2} for subject in mine}
    report = json.loads(result.out)["report"]["vcf"]
    assert (report["people"], report["left_out"], report["build_unsaid"]) == (2, 4, 1)
    called = 2 * 40 - report["missing"]
    assert (report["without_depth"], report["without_quality"]) == (called, called)
    words = [w for w in cohort.command("--leave-out-unlisted", fhir=False) if w != "--json"]
    sentences = " ".join(volens(*words).out.split())
    assert "left out: 4 samples that the list does not name" in sentences
    assert f"without read depth (DP): {called} calls; no minimum leaves them out" in sentences
    assert "it is what you named with --build" in sentences


def test_copies_of_a_genome_are_named_to_the_custodian_alone(deployment, volens, cohort) -> None:
    """The service, which keeps the report, gets counts; the command's own output has the ids."""
    population = Population(3, 10)
    p = population
    mother = p.founder()
    people = [mother, p.child(mother, p.founder()), mother, *(p.founder() for _ in range(3))]
    data = vcf.of_dosages(p.genotypes(*people), p.chromosome, p.position)
    Path("cohort.vcf.gz").write_bytes(vcf.bgzip(data))
    write_samples({f"P{at}": subject for at, subject in enumerate(cohort.people)})
    first, _, third, *_ = (subject.hex() for subject in cohort.people)
    answer = json.loads(volens(*cohort.command(fhir=False)).out)
    assert answer["copies"] == [[first, third]]
    assert (answer["report"]["vcf"]["copies"], answer["report"]["vcf"]["first_degree"]) == (1, 2)
    words = [w for w in cohort.command(fhir=False) if w != "--json"]
    shown = " ".join(volens(*words).out.split())
    assert f"the genome of {first} is also that of {third}" in shown
    kept = supplements.find(deployment.services.engine, cohort.dataset.hex(), "report")
    assert "the same genome under two ids: 1 pairs" in str(kept)
    assert "relatives of the first degree: 2 pairs" in str(kept)
    assert first not in str(kept)


def test_every_sample_is_a_person_and_every_person_a_sample(deployment, volens, cohort) -> None:
    samples = {f"{CANARY}{n}": subject for n, subject in enumerate(cohort.people)}
    write_samples(dict(list(samples.items())[:5]))
    refused(deployment, volens, cohort, "1 of its samples have no subject")
    write_samples(samples | {"P9": deployment.people(1, agree=False)[0]})
    refused(deployment, volens, cohort, "1 of the named samples are not in it")
    write_samples(samples | {f"{CANARY}5": cohort.people[0]})
    refused(deployment, volens, cohort, "two samples are named as the same subject")
    stranger = random32()
    write_samples(samples | {f"{CANARY}5": stranger})
    refused(deployment, volens, cohort, f"Nobody is enrolled under {stranger.hex()}")
    for text in (
        "[]",
        "{}",
        '{"a": 7}',
        '{"a":"x"}',
        "zq",
        '{"a":"' + "0" * 64 + '","a":"' + "1" * 64 + '"}',
    ):
        Path("samples.json").write_text(text)
        refused(deployment, volens, cohort, "no JSON object of patient ids")


def test_a_sample_under_a_name_of_the_other_sex_is_named(deployment, volens, cohort) -> None:
    """To the custodian alone, before anything is registered; nobody is named where none is wrong."""
    subjects = [random32() for _ in range(24)]
    females = np.arange(24) % 2 == 0
    Path("cohort.vcf.gz").write_bytes(vcf.bgzip(vcf.with_x(females, 150, 1)))
    for path in Path("bundles").iterdir():
        path.unlink()
    for subject, female in zip(subjects, females, strict=True):
        bundle = bundles_of([b""])[0].decode()
        gender = "female" if female else "male"
        Path("bundles", f"{subject.hex()}.json").write_text(
            re.sub('"gender": ?"[a-z]+"', f'"gender": "{gender}"', bundle)
        )
    right = {f"P{at}": subject for at, subject in enumerate(subjects)}
    swapped = right | {"P3": subjects[4], "P4": subjects[3]}
    for samples, expected in ((right, []), (swapped, sorted(who.hex() for who in subjects[3:5]))):
        write_samples(samples)
        answer = json.loads(volens(*cohort.command("--dry-run")).out)
        assert answer["report"]["vcf"]["sexed"] >= 20
        assert answer["other_sex"] == expected
    shown = " ".join(
        volens(*(word for word in cohort.command("--dry-run") if word != "--json")).out.split()
    )
    assert f"{subjects[3].hex()}: chromosome X and the record's sex differ" in shown
    assert registered(deployment, cohort) == {}


def test_files_that_are_not_there(deployment, volens, cohort) -> None:
    refused(deployment, volens, cohort, "There is no such VCF file", "--vcf", "other.vcf")
    refused(
        deployment, volens, cohort, "does not hold SUBJECT.json, SUBJECT/ and", "--fhir", "nowhere"
    )
    Path("bundles", "notes.txt").write_text(CANARY)
    refused(deployment, volens, cohort, "does not hold SUBJECT.json, SUBJECT/ and")


@pytest.mark.parametrize("option", ["--shift-dates", "--code-map", "--patients", "--value-sets"])
def test_an_option_of_clinical_records_is_refused_without_them(volens, option: str) -> None:
    more = [option] if option == "--shift-dates" else [option, "nowhere.json"]
    for source in (["--from", "folder"], ["--vcf", "x.vcf", "--samples", "s.json"]):
        command = ["dataset", "ingest", "--as", "omar", "ab" * 32, "--dry-run", *source]
        result = volens(*command, *more)
        assert result.code == 2, result
        assert f"{option}: for clinical records, and there are none" in " ".join(result.err.split())


def test_an_export_of_many_people_is_registered(deployment, volens, cohort) -> None:
    """The same people as lines of NDJSON, and one of them in a folder of her own."""
    Path("export").mkdir()
    listed, lines = {}, []
    for number, subject in enumerate(cohort.people):
        path = Path("bundles", f"{subject.hex()}.json")
        text = path.read_text().replace('"Patient/p"', f'"Patient/p{number}"')
        resources = [entry["resource"] for entry in json.loads(text)["entry"]]
        resources[0]["id"] = f"p{number}"
        resources[2]["id"] = f"x{number}"
        if number == 0:
            Path("export", subject.hex()).mkdir()
            Path("export", subject.hex(), "all.json").write_bytes(path.read_bytes())
        else:
            listed[f"p{number}"] = subject.hex()
            lines += [json.dumps(resource) for resource in resources]
    # A report of HIV that names nobody lists a value of the sixth; one of the fifth, of the fourth.
    tests = {"resourceType": "DiagnosticReport", "status": "final", "id": "r"}
    tests["code"] = fhir.concept((fhir.LOINC, "75622-1"))
    for person, more in (("x5", {}), ("x3", {"subject": {"reference": "Patient/p4"}})):
        listed_by = {
            **tests,
            "id": f"r{person}",
            "result": [{"reference": f"Observation/{person}"}],
        }
        lines.append(json.dumps({**listed_by, **more}))
    Path("export", "everybody.ndjson").write_text("\n".join(lines))
    Path("patients.json").write_text(json.dumps(listed))
    options = ["--fhir", "export", "--patients", "patients.json"]
    command = ["dataset", "ingest", "--as", "omar", cohort.dataset.hex(), *options]
    result = volens(*command, "--dry-run")
    assert (result.code, registered(deployment, cohort)) == (0, {}), result
    result = volens(*command, "--report", "nowhere/report.json")
    assert (result.code, registered(deployment, cohort)) == (2, {}), result
    assert "cannot be written; nothing was done" in " ".join(result.err.split())
    result = volens(*command, "--report", "report.json")
    assert result.code == 0, result
    assert Path("report.json").stat().st_mode & 0o777 == 0o600
    mine = registered(deployment, cohort)
    usual = {(0, 1): 1, (1, 1): 1, (2, 1): 1}
    assert mine[cohort.people[0]] == usual | {(19, 1): 1}
    assert all(mine[cohort.people[at]] == usual for at in (1, 2, 4))
    assert mine[cohort.people[3]] == {(0, 1): 1, (1, 1): 1}
    assert mine[cohort.people[5]] == {(0, 1): 1, (1, 1): 1, (19, 1): 1}
    # The code that nobody knows is in the custodian's own file, and neither here nor there.
    assert "--report FILE names the codes of unknown systems" in result.out
    assert CANARY not in result.out + result.err
    assert CANARY in Path("report.json").read_text()


def test_one_bad_clinical_record_stops_everything(deployment, volens, cohort) -> None:
    """The genomes before it are encrypted by then; nothing of them is registered, and nobody gets
    their keys.
    """
    bad = Path("bundles", f"{cohort.people[3].hex()}.json")
    bad.write_bytes(bad.read_bytes().replace(b'"Patient/p"', f'"Patient/{CANARY}"'.encode()))
    refused(
        deployment,
        volens,
        cohort,
        f"The clinical record of {cohort.people[3].hex()} cannot be taken",
        records=True,
    )


def test_a_reader_that_dies_half_way(
    deployment, volens, cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = """
import os, sys
from api.ingest import parser as lanechild
say, said = lanechild._send_record, []
def some(*record):
    say(*record)
    said.append(1)
    if len(said) == 5:
        os._exit(9)
lanechild._send_record = some
sys.exit(lanechild.main())
"""
    program = sandbox.PROGRAM
    monkeypatch.setattr(sandbox, "PROGRAM", dies)
    refused(deployment, volens, cohort, "could not be read safely", records=True)
    monkeypatch.setattr(sandbox, "PROGRAM", program)
    assert volens(*cohort.command()).code == 0
    assert registered(deployment, cohort)[cohort.people[0]][5, 1] == 2


def process(deployment, arguments: Sequence[str]) -> subprocess.Popen[str]:
    environment = {"PATH": "/usr/bin:/bin", "VOLENS_HOME": str(deployment.home)}
    return subprocess.Popen(
        [sys.executable, "-c", MEASURED, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def large(deployment, people: int, variants: int) -> Cohort:
    """A cohort of a real size as bgzip; the calls of 500 rows stand there again and again."""
    dataset, subjects = random32(), deployment.people(people, agree=False)
    deployment.world.register_dataset(dataset)
    data, names, _ = vcf.cohort(people, 500)
    top = vcf.header(names)
    rows = [line.split("\t", 3) for line in data.decode().splitlines()[len(top) :]]
    lines = [
        "\t".join(("1", str(1000 + 100 * n), f"rs{n}", rows[n % 500][3])) for n in range(variants)
    ]
    Path("large.vcf.gz").write_bytes(vcf.bgzip(vcf.text([*top, *lines]), level=1))
    write_samples(dict(zip(names, subjects, strict=True)))
    return Cohort(dataset, subjects, ["--vcf", "large.vcf.gz", "--samples", "samples.json"])


def test_an_ingest_that_is_killed_leaves_nothing_registered(deployment) -> None:
    cohort = large(deployment, 40, 3000)
    head, had, before = (
        deployment.head(),
        objects(deployment),
        set(Path(tempfile.gettempdir()).iterdir()),
    )
    running = process(deployment, cohort.command())
    deadline = time.monotonic() + 60
    while objects(deployment) == had:
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.kill()
    running.communicate(timeout=10)
    assert (deployment.head(), registered(deployment, cohort)) == (head, {})
    assert plaintext(deployment, before) == []


@pytest.mark.campaign
def test_many_genomes(deployment, record_property: Any) -> None:
    """20,000 variants each: split, encrypted, uploaded and registered in a fifth of a second a
    person, in bounded memory.
    """
    people = extent(80, 200)
    cohort = large(deployment, people, 20_000)
    running = process(deployment, cohort.command())
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    seconds, parent, child = err.rpartition("measured ")[2].split()
    record_property("ingest", f"{seconds} s, parent {parent} MB, its reader {child} MB")
    print(
        f"\n{people} x 20,000: {seconds} s; peak memory: parent {parent} MB, its reader {child} MB"
    )
    assert json.loads(out)["records"] == 2 * people
    assert {tuple(own) for own in registered(deployment, cohort).values()} == {((5, 1),)}
    assert float(seconds) <= allowed(people / 5)
    assert (
        int(parent) <= 640
    )  # eight batches of 8 MiB on their way, each a few times over, however long the file is
    assert int(child) <= 640


def test_an_organisation_adds_its_own_sensitive_codes(deployment, volens, cohort) -> None:
    """The shipped lists are short: with the house's own, each diagnosis here counts as one of
    mental health.
    """
    own = [{"category": 16, "system": "icd-10-cm", "source": "our house", "codes": ["C50", "C79"]}]
    Path("own.json").write_text(json.dumps(own))
    assert volens(*cohort.command(), "--value-sets", "own.json").code == 0
    assert all(
        (16, 1) in records and (1, 1) not in records
        for records in registered(deployment, cohort).values()
    )


@pytest.mark.parametrize(
    "text", ["[", '[{"category": 3, "system": "icd-10-cm", "source": "x", "codes": ["C50"]}]']
)
def test_a_bad_list_of_sensitive_codes_brings_nothing_in(
    deployment, volens, cohort, text: str
) -> None:
    Path("own.json").write_text(text)
    refused(deployment, volens, cohort, "Value sets: ", "--value-sets", "own.json")
