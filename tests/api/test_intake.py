"""What a custodian may bring in, and what is refused before anything is encrypted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.demo.stage import random32
from api.errors import UsageError
from api.intake import from_folder, from_gse7390


def test_the_published_cohort_becomes_two_records_a_person(tmp_path: Path) -> None:
    ids = sorted(random32().hex() for _ in range(198))
    people = tmp_path / "people.json"
    people.write_text(json.dumps(ids))
    sources = from_gse7390(people)
    assert [source.subject.hex() for source in sources[::2]] == ids
    assert [source.category for source in sources[:2]] == [2, 6]
    assert json.loads(sources[1].payload)["type"] == "volens/expression/1"


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
