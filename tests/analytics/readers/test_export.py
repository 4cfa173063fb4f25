"""NDJSON exports of many people: which line is about whom, and several files of one person."""

from __future__ import annotations

import json
from typing import Any

import fhir_files as fhir
import pytest

from analytics.errors import PayloadError
from analytics.readers import bundle
from analytics.readers.clinical import read_clinical_record
from analytics.readers.export import Export, read_export
from analytics.readers.fhir import Split, split_bundle, split_files

ADA, BEN = "aa" * 32, "bb" * 32
PATIENTS = {"p": ADA, "q": BEN}
ADA_HERSELF = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960-05-17"}
BEN_HIMSELF = {"resourceType": "Patient", "id": "q", "gender": "male", "birthDate": "1950"}
OF_BEN = {"subject": {"reference": "https://hospital.example/fhir/Patient/q"}}
DRUG = {"resourceType": "Medication", "id": "m", "code": fhir.concept((fhir.RXNORM, "36437"))}
BY_REFERENCE = {"medicationReference": {"reference": "Medication/m"}}


def ndjson(*resources: Any, end: str = "\n") -> bytes:
    return "".join(json.dumps(resource) + end for resource in resources).encode()


def exported(*files: bytes, owner: str = "", **more: Any) -> tuple[bytes, Export]:
    """These files of everybody, or of the subject `owner`, one after the other, and their export."""
    joined = b"".join(files)
    places, at = [], 0
    for file in files:
        places.append((owner, at, len(file)))
        at += len(file)
    patients = {} if owner else more.pop("patients", PATIENTS)
    read = lambda offset, length: joined[offset : offset + length]  # noqa: E731
    return joined, read_export(read, places, patients, **more)


def lines_of(joined: bytes, export: Export, subject: str) -> list[bytes]:
    return [joined[at : at + length] for at, length in export.lines[subject]]


def kinds(joined: bytes, export: Export, subject: str) -> list[str]:
    lines = lines_of(joined, export, subject)
    return [json.loads(line)["resourceType"] for line in lines]


def test_each_line_goes_to_whom_it_names() -> None:
    people = b"\xef\xbb\xbf" + ndjson(ADA_HERSELF, BEN_HIMSELF, end="\r\n")
    conditions = ndjson(
        fhir.condition((fhir.CM, "C50.911")),
        {**fhir.condition((fhir.CM, "I10")), **OF_BEN},
    )
    others = b"\n" + ndjson(
        {**fhir.order(), **BY_REFERENCE},
        {"resourceType": "Organization", "id": "o"},
        {"resourceType": "Zq", "id": "o"},
    ).rstrip(b"\n")
    joined, export = exported(people, conditions, ndjson(DRUG), others)
    # The medication names nobody: it goes to the person whose order refers to it.
    assert kinds(joined, export, ADA) == [
        "Patient",
        "Condition",
        "MedicationRequest",
        "Medication",
    ]
    assert kinds(joined, export, BEN) == ["Patient", "Condition"]
    assert export.to_json() == {
        "lines": 8,
        "unlisted": 0,
        "unlisted_people": 0,
        "nobody": {"Organization": 1, "not a type of FHIR R4": 1},
    }
    lines = lines_of(joined, export, ADA)
    split = split_files([], lines, ADA)
    facts = read_clinical_record(split.records, ADA).facts
    assert [(fact.system, fact.code) for fact in facts] == [
        ("icd-10-cm", "C50.911"),
        ("rxnorm", "36437"),
    ]
    assert ADA in split.records[1].decode()
    assert "Patient/p" not in split.records[1].decode()


def test_lines_are_read_as_a_bundle_of_them_is() -> None:
    resources = [
        fhir.condition((fhir.CM, "C50.911")),
        fhir.condition((fhir.CM, "F32.9"), id="d"),
        fhir.order((fhir.RXNORM, "36437"), reasonReference=[{"reference": "Condition/d"}]),
        fhir.observation(status="zq"),
        {**fhir.observation(), "code": 7},
    ]
    together = split_bundle(fhir.bundle(*resources), ADA)
    lines = [json.dumps(resource).encode() for resource in (ADA_HERSELF, *resources)]
    assert split_files([], lines, ADA) == together
    assert together.report["held back"] == {
        "not valid FHIR R4: Observation.code": 1,
        "not valid FHIR R4: Observation.status": 1,
    }


def test_several_bundles_and_lines_are_one_record() -> None:
    first = fhir.bundle(fhir.condition((fhir.CM, "F32.9"), id="d"))
    why = [{"reference": "Condition/d"}]
    second = fhir.bundle(fhir.order((fhir.RXNORM, "36437"), reasonReference=why))
    line = json.dumps(fhir.condition((fhir.CM, "C50.911"))).encode()
    split = split_files([first, second], [line], ADA)
    # The order is for a depression that the other file has. The second Patient is a copy.
    assert split.report["kept"] == {"0": 1, "1": 1, "16": 2}
    assert split.report["held back"] == {"a copy of another resource of the file": 1}
    stranger = second.replace(b'"p"', b'"q"').replace(b"Patient/p", b"Patient/q")
    with pytest.raises(PayloadError, match="more than one patient"):
        split_files([first, stranger], [], ADA)


def test_the_files_of_one_person_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    file = fhir.bundle(fhir.condition((fhir.CM, "C50.911")))
    monkeypatch.setattr(bundle, "MAX_BYTES", len(file) + 1)
    split_files([file] * 7, [], ADA)
    with pytest.raises(PayloadError, match="larger than"):
        split_bundle(file + b" " * 9, ADA)  # as everywhere but at an ingest
    split_files([file + b" " * 9], [], ADA)
    with pytest.raises(PayloadError, match="larger than"):
        split_files([file] * 9, [], ADA)
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "MAX_ALL_ENTRIES", 3)
    split_files([], [json.dumps(ADA_HERSELF).encode()] * 3, ADA)
    with pytest.raises(PayloadError, match="more entries than 3"):
        split_files([], [json.dumps(ADA_HERSELF).encode()] * 4, ADA)


def test_who_is_not_listed_is_an_error_or_is_counted() -> None:
    files = (ndjson(ADA_HERSELF, BEN_HIMSELF), ndjson({**fhir.observation(), **OF_BEN}))
    ada = {"p": ADA}
    with pytest.raises(PayloadError, match=r"^line 2 of NDJSON file 1 cannot.* does not name its"):
        exported(*files, patients=ada)
    _, export = exported(*files, patients=ada, leave_out_unlisted=True)
    assert set(export.lines) == {ADA}
    assert (export.unlisted, export.unlisted_people) == (2, 1)
    with pytest.raises(PayloadError, match="names 1 patients of whom the NDJSON files say nothing"):
        exported(*files, patients={**PATIENTS, "r": "cc" * 32})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"zq", "not well-formed JSON"),
        (b"[]", "not a JSON object"),
        (b'{"resourceType": "Patient", "id": "p"', "not well-formed JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"x":' * 200 + b"1" + b"}" * 200, "nested deeper"),
    ],
)
def test_a_bad_line_is_named_with_its_file(line: bytes, why: str) -> None:
    good = ndjson(ADA_HERSELF, BEN_HIMSELF)
    with pytest.raises(PayloadError, match=f"^line 4 of NDJSON file 2 cannot be taken.*{why}"):
        exported(good, b"\n" + good + line + b"\n" + good)


def test_a_line_is_bounded_and_may_cross_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from analytics.readers import export as module

    long = {**fhir.condition((fhir.CM, "I10")), "note": [{"text": "x" * 3000}]}
    monkeypatch.setattr(module, "_COPY", 700)
    joined, export = exported(ndjson(ADA_HERSELF, long, long), owner=ADA)
    assert kinds(joined, export, ADA) == ["Patient", "Condition", "Condition"]
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    with pytest.raises(PayloadError, match="line 2 of NDJSON file 1 has more bytes"):
        exported(ndjson(ADA_HERSELF, long), owner=ADA)


def test_a_line_that_names_two_patients_is_nobodys() -> None:
    both = {**fhir.order((fhir.RXNORM, "36437")), "for": {"reference": "Patient/q"}}
    _, export = exported(ndjson(ADA_HERSELF, BEN_HIMSELF, both, DRUG))
    assert export.nobody == {"MedicationRequest": 1, "Medication": 1}


HIV_TEST = fhir.concept((fhir.LOINC, "75622-1"))
BLOOD = fhir.observation((fhir.LOINC, "718-7"), id="x")
LISTING = {"result": [{"reference": "Observation/x"}]}
ANTIVIRAL = {
    "resourceType": "Medication",
    "id": "m",
    "code": fhir.concept(("http://www.whocc.no/atc", "J05AF01")),
}
REPORT = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "code": HIV_TEST}
ORDER = {
    **{"resourceType": "ServiceRequest", "id": "o", "status": "completed", "intent": "order"},
    **{"code": HIV_TEST, "subject": {"reference": "Patient/p"}},
}
SPECIMEN = {"resourceType": "Specimen", "id": "s", "request": [{"reference": "ServiceRequest/o"}]}
FROM_SPECIMEN = {**BLOOD, "specimen": {"reference": "Specimen/s"}}
IRON = {**ANTIVIRAL, "id": "c", "code": fhir.concept(("http://www.whocc.no/atc", "B03BB01"))}
MADE_OF = {**IRON, "ingredient": [{"itemReference": {"reference": "Medication/m"}}]}


def split_of(joined: bytes, export: Export, subject: str) -> Split:
    beside = [joined[at : at + length] for at, length in export.beside.get(subject, ())]
    return split_files([], lines_of(joined, export, subject), subject, beside=beside)


@pytest.mark.parametrize(
    "resources",
    [
        pytest.param([{**REPORT, **LISTING}, BLOOD], id="report"),
        pytest.param(
            [BLOOD, {**REPORT, **LISTING, "subject": {"reference": "Group/g"}}], id="group"
        ),
        pytest.param(
            [{**REPORT, **LISTING, "subject": {"identifier": {"value": "7"}}}, BLOOD], id="logical"
        ),
        pytest.param([ORDER, SPECIMEN, FROM_SPECIMEN], id="specimen"),
        pytest.param(
            [
                ANTIVIRAL,
                fhir.order(contained=[MADE_OF], medicationReference={"reference": "#c"}),
            ],
            id="contained",
        ),
        pytest.param(
            [ANTIVIRAL, fhir.procedure(usedReference=[{"reference": "medication/M/_history/2"}])],
            id="used",
        ),
        pytest.param(
            [
                {**ANTIVIRAL, "identifier": [{"system": "urn:x", "value": "7"}]},
                fhir.procedure(
                    extension=[
                        {
                            "url": "urn:y",
                            "valueReference": {"identifier": {"system": "urn:x", "value": "7"}},
                        }
                    ]
                ),
            ],
            id="extension",
        ),
        pytest.param(
            [
                {
                    "resourceType": "Composition",
                    "id": "k",
                    "status": "final",
                    "confidentiality": "V",
                },
                BLOOD,
            ],
            id="document",
        ),
    ],
)
def test_lines_of_nobody_mark_as_in_one_bundle(resources: list[dict[str, Any]]) -> None:
    together = split_bundle(fhir.bundle(*resources), ADA)
    joined, export = exported(ndjson(*resources), ndjson(ADA_HERSELF), patients={"p": ADA})
    apart = split_of(joined, export, ADA)
    assert apart.records == together.records
    assert apart.report["held back"] == together.report["held back"]
    kept = together.report["kept"]
    assert "19" in kept or together.report["held back"], "else the test shows nothing"
    assert not export.nobody


def test_what_only_refers_to_other_people_stays_away() -> None:
    """A list of a ward, and a medication of two people, tell neither anything about the other."""
    members = [{"item": {"reference": f"Condition/{name}"}} for name in ("a", "b")]
    ward = {"resourceType": "List", "id": "w", "status": "current", "mode": "working"}
    of_ben = {"subject": {"reference": "Patient/q"}}
    both = [
        ADA_HERSELF,
        BEN_HIMSELF,
        fhir.condition((fhir.CM, "I10"), id="a"),
        {**fhir.condition((fhir.CM, "B20"), id="b"), **of_ben},
        {**ward, "entry": members},
        DRUG,
        {**fhir.order(), **BY_REFERENCE},
        {**fhir.order(id="n"), **BY_REFERENCE, **of_ben},
    ]
    joined, export = exported(ndjson(*both))
    assert split_of(joined, export, ADA).report["kept"] == {"0": 1, "1": 1, "16": 1}
    assert split_of(joined, export, BEN).report["kept"] == {"0": 1, "16": 1, "19": 1}


@pytest.mark.parametrize(
    ("theirs", "hers"),
    [
        ({"resourceType": "Specimen", "id": "s", **OF_BEN}, FROM_SPECIMEN),
        ({**ORDER, **OF_BEN}, {**BLOOD, "basedOn": [{"reference": "ServiceRequest/o"}]}),
        ({**REPORT, **LISTING, **OF_BEN}, BLOOD),
        ({**REPORT, **LISTING, "subject": {"reference": "Patient/r"}}, BLOOD),
        (
            {**ORDER, "for": {"reference": "Patient/q"}},
            {**BLOOD, "basedOn": [{"reference": "ServiceRequest/o"}]},
        ),
    ],
)
def test_a_line_about_somebody_else_holds_back_what_is_linked(
    theirs: dict[str, Any], hers: dict[str, Any]
) -> None:
    joined, export = exported(
        ndjson(ADA_HERSELF, BEN_HIMSELF, theirs, hers), leave_out_unlisted=True
    )
    split = split_of(joined, export, ADA)
    assert split.report["kept"] == {"0": 1}
    assert split.report["held back"] == {"of something that is about somebody else: Observation": 1}
    assert split.report["seen"] == 2, "nothing of the other line is hers"
    assert not split_of(joined, export, BEN).report["held back"]


def test_files_of_one_person_get_the_medications_of_everybody() -> None:
    orders = fhir.bundle(fhir.order(medicationReference={"reference": "Medication/m"}))
    everybody = ndjson(BEN_HIMSELF, ANTIVIRAL)
    joined = everybody + orders
    export = read_export(
        lambda offset, length: joined[offset : offset + length],
        [("", 0, len(everybody))],
        {"q": BEN},
        bundles=[(ADA, len(everybody), len(orders))],
    )
    split = split_files([orders], lines_of(joined, export, ADA), ADA)
    assert split.report["kept"] == {"0": 1, "19": 1}
    assert export.nobody == {}


def test_what_is_shared_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from analytics.readers import export as module

    monkeypatch.setattr(module, "MAX_SHARED", 0)
    with pytest.raises(PayloadError, match="too many lines that name nobody"):
        exported(ndjson(ADA_HERSELF, BEN_HIMSELF, ANTIVIRAL, {**fhir.order(), **BY_REFERENCE}))


@pytest.mark.parametrize("name", [{}, {"id": "MRN_77"}, {"id": 7}])
def test_a_patient_without_a_usable_id_is_an_error(name: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match=r"^line 2 of NDJSON file 1 .* a Patient has no id"):
        exported(ndjson(ADA_HERSELF, {"resourceType": "Patient", **name}), patients={"p": ADA})


def test_addresses_on_one_server_are_of_the_person_and_on_two_of_nobody_sure() -> None:
    def at(host: str, name: str) -> dict[str, Any]:
        about = {"subject": {"reference": f"https://{host}.example/fhir/Patient/p"}}
        return {**fhir.condition((fhir.CM, "I10"), id=name), **about}

    lines = ndjson(ADA_HERSELF, at("one", "a"), at("one", "b"))
    joined, export = exported(lines, patients={"p": ADA})
    split = split_files([], lines_of(joined, export, ADA), ADA, server=export.server)
    assert split.report["kept"] == {"0": 1, "1": 2}
    _, export = exported(lines, ndjson(at("two", "c")), patients={"p": ADA})
    assert export.server is None
