"""What a custodian may bring in, and what is refused before anything is encrypted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.demo.stage import random32
from api.errors import UsageError
from api.intake import check_records, complete_params, from_folder, from_gse7390


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
    if kind == "another unit":
        quantity = next(one["resource"] for one in document["entry"] if "valueQuantity" in one["resource"])
        quantity["valueQuantity"]["code"] = "kg"
    return json.dumps(document).encode()


@pytest.mark.parametrize("kind", ["of somebody else", "no FHIR", "another unit"])
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
    good = {"folds": 5, "models": {"logistic": ["genes"]}, "permutations": 19, "repeats": 10, "seed": 7,
            "outcome": {"horizon_days": 1825, "kind": "distant-metastasis"}}
    assert json.loads(complete_params(good)).items() >= good.items()
    for bad in ({**good, "folds": 1}, {**good, "more": 1}, {"models": {"logistic": ["genes"]}}, [good]):
        with pytest.raises(UsageError, match="parameters: ") as refused:
            complete_params(bad)
        assert refused.value.hint.endswith("nothing was signed")


@pytest.mark.parametrize("text", ["[]", '{"a":1}', "[1.5]", "nonsense", json.dumps(["x"] * 198)])
def test_another_list_of_people_is_refused(tmp_path: Path, text: str) -> None:
    people = tmp_path / "people.json"
    people.write_text(text)
    with pytest.raises(UsageError):
        from_gse7390(people)


@pytest.mark.parametrize("name", ["x/expression.json", f"{'ab' * 32}/notes.json", f"{'ab' * 32}/expression.vcf"])
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
