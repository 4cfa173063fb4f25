"""Foreign files from other packages: they are read, or refused for a documented reason.

Their origin, and other files that were tried, are listed in tests/data/foreign/SOURCES.md.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from analytics.errors import PayloadError
from analytics.readers.clinical import read_clinical_record
from analytics.readers.code_map import load_code_map, with_maps
from analytics.readers.codes import SHIPPED
from analytics.readers.export import read_export
from analytics.readers.fhir import split_bundle, split_files
from analytics.readers.genotypes import read_genotypes
from analytics.readers.vcf.split import VcfReport, split_vcf

FOREIGN = Path(__file__).parents[2] / "data" / "foreign"
SUBJECT = "ab" * 32
OTHER_BUILD = "names a genome build that is not read here"  # NCBI36, in the header's own words

# By file: what is counted of it (people, rows, packed rows, calls without depth, without quality).
READ: dict[str, tuple[int, int, int, int, int]] = {
    "pyvcf3-1kg-first-4-rows.vcf.gz": (629, 4, 4, 0, 0),
    "pyvcf3-issue-140-file1.vcf": (1, 17, 11, 0, 11),
    "pyvcf3-parse-meta-line.vcf": (1, 1, 1, 1, 1),
    "pyvcf3-samtools.vcf": (1, 11, 9, 9, 0),
    "pyvcf3-string_as_flag.vcf": (1, 4, 4, 0, 0),
    "pyvcf3-uncalled_genotypes.vcf": (3, 4, 6, 8, 8),
    "scikit-allel-test1.vcf": (4, 3, 3, 0, 0),
}
REFUSED = {
    "pyvcf3-example-4.0.vcf": OTHER_BUILD,
    "pyvcf3-example-4.1-bnd.vcf": "columns are not separated by tabs",
    "pyvcf3-example-4.1-sv.vcf": OTHER_BUILD,
    "pyvcf3-example-4.1.vcf": OTHER_BUILD,
    "pyvcf3-issue-16.vcf": "an empty line",
    # No line end at its end, and a column less than in the row before: it may have been cut.
    "pyvcf3-strelka.vcf": "ends in the middle",
    "scikit-allel-sample.utf8.vcf": "not one plain field for each column",  # letters beyond ASCII
    "scikit-allel-sample.vcf": OTHER_BUILD,
    "scikit-allel-test14.vcf": OTHER_BUILD,
    "scikit-allel-test63.vcf": OTHER_BUILD,
    "scikit-allel-unsorted.vcf": OTHER_BUILD,
}
# Those again without the line that names NCBI36, as files without that optional line are.
WITHOUT_BUILD: dict[str, tuple[int, int, int, int, int] | str] = {
    "pyvcf3-example-4.0.vcf": (3, 6, 7, 0, 0),
    "pyvcf3-example-4.1-sv.vcf": (1, 6, 1, 1, 0),
    "scikit-allel-sample.vcf": (3, 9, 8, 6, 8),
    "scikit-allel-test14.vcf": (3, 9, 8, 6, 8),
    "scikit-allel-test63.vcf": "an allele that its row does not have",
    "scikit-allel-unsorted.vcf": "not sorted",
}


def content(name: str) -> bytes:
    data = (FOREIGN / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def split(data: bytes) -> tuple[VcfReport, int]:
    """The report on everybody of a file, and for how many people records came out of it."""
    (columns,) = re.findall(rb"^#CHROM.*$", data, re.MULTILINE) or [b""]
    names = columns.decode().split("\t")[9:]
    taken: list[str] = []

    def keep(subject: str, _source: bytes, packed: bytes) -> None:
        read_genotypes(packed, {})
        taken.append(subject)

    descriptor = os.memfd_create("foreign")
    try:
        os.write(descriptor, data)
        subjects = {name: f"{at + 1:064x}" for at, name in enumerate(names)}
        report = split_vcf(descriptor, subjects, build="GRCh37", sink=keep)
    finally:
        os.close(descriptor)
    return report, len(taken)


def counted(report: VcfReport) -> tuple[int, int, int, int, int]:
    rows = report.records, report.packed_rows
    return (report.people, *rows, report.without_depth, report.without_quality)


@pytest.mark.parametrize("name", READ)
def test_a_foreign_vcf_is_read(name: str) -> None:
    report, people = split(content(name))
    assert counted(report) == READ[name]
    assert people == report.people
    assert report.build_unsaid == 1  # not one of them says its build in words that mean one


@pytest.mark.parametrize("name", REFUSED)
def test_a_foreign_vcf_is_refused_for_what_it_says(name: str) -> None:
    with pytest.raises(PayloadError, match=REFUSED[name]):
        split(content(name))


@pytest.mark.parametrize("name", WITHOUT_BUILD)
def test_a_foreign_vcf_that_names_no_build_is_not_refused_for_that(name: str) -> None:
    data = re.sub(rb"(?m)^##reference=.*\n", b"", content(name))
    expected = WITHOUT_BUILD[name]
    if isinstance(expected, str):
        with pytest.raises(PayloadError, match=expected):
            split(data)
    else:
        assert counted(split(data)[0]) == expected


@pytest.mark.parametrize(
    ("name", "kept", "unfit"),
    [
        # Its infusions have an element that R4 does not have there: only they are held back.
        ("clinosim-p1.json.gz", {"1", "3"}, {"not valid FHIR R4: MedicationAdministration.dosage"}),
        ("clinosim-p2.json.gz", {"1", "2", "3", "17"}, set()),
    ],
)
def test_a_foreign_bundle_is_read(name: str, kept: set[str], unfit: set[str]) -> None:
    result = split_bundle(content(name), SUBJECT)
    report: Any = result.report
    assert {"0", *kept} <= set(report["kept"])
    assert {why for why in report["held back"] if why.startswith("not valid")} == unfit
    parts = ("kept", "held back", "not taken")
    assert sum(sum(report[part].values()) for part in parts) == report["seen"]
    assert read_clinical_record(result.records, SUBJECT).birth_year is not None


SNOMED = "http://snomed.info/sct"


def test_a_foreign_export_comes_in_with_families() -> None:
    lines = content("clinosim-export.ndjson.gz")
    people = {"pt-05a9cdeaacc9": "aa" * 32, "pt-5fd01d76e178": "bb" * 32}
    export = read_export(lambda at, size: lines[at : at + size], [("", 0, len(lines))], people)
    of_each = {
        who: [lines[at : at + size] for at, size in spans] for who, spans in export.lines.items()
    }
    assert (export.nobody, export.unlisted) == ({}, 0)
    facts: set[str] = set()
    for who, resources in of_each.items():
        split: Any = split_files([], resources, who)
        # A copy of a line, two people in one file or a line that is nobody's would be refused.
        assert split.report["seen"] == len(resources)
        facts |= {fact.system for fact in read_clinical_record(split.records, who).facts}
    assert facts >= {"icd-10-cm", "family-icd-10-cm", "rxnorm"}
    # Its visits have a free-text service, and its allergies say in SNOMED CT that there is none.
    assert not any(system.startswith(("encounter-", "allergy-")) for system in facts)


def test_foreign_diagnoses_in_snomed_come_in_by_a_map() -> None:
    """Every diagnosis of this generator is SNOMED CT: without a map none comes in."""
    payload = content("synthea-visits.json.gz")
    without = split_bundle(payload, SUBJECT)
    assert "1" not in without.report["kept"]
    assert 20 < len(without.unknown)
    codes = {
        str(coding.code): {"to": "icd-10-cm:J02.9"}
        for coding in without.unknown
        if coding.system == SNOMED
    }
    named = {"system": SNOMED, "source": "invented", "codes": codes}
    sets = with_maps(SHIPPED, [load_code_map(json.dumps(named).encode())])
    mapped: Any = split_bundle(payload, SUBJECT, sets)
    assert mapped.report["kept"]["1"] == 20
    assert mapped.report["held back"] == {"no code": 21}  # visits for a reason in words


def test_every_file_has_its_source() -> None:
    text = (FOREIGN / "SOURCES.md").read_text()
    listed = set(re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE))
    files = {path.name for path in FOREIGN.iterdir()} - {"SOURCES.md"}
    assert listed == {name for name in files if not name.startswith("LICENSE-")}
    assert {*READ, *REFUSED} <= listed
    packages = {"clinosim", "hl7", "pyvcf3", "scikit", "synthea"}
    assert {name.split("-")[0] for name in listed} == packages
    assert all(path.stat().st_size < 40_000 for path in FOREIGN.iterdir())
