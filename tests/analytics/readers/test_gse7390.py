import sys
from pathlib import Path

import pytest

from analytics.cohort import follow_up_of, is_censored
from analytics.errors import SourceError
from analytics.params import Outcome
from analytics.people import Input, read_people
from analytics.readers.expression import read_expression
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.readers.observations import read_observations, validate_observations
from analytics.readers.person import Person

SUBJECT = "5e" * 32


def test_198_people_35_events_among_189_known(gse_people: list[Person]) -> None:
    assert [person.ordinal for person in gse_people] == list(range(198))
    within = Outcome("distant-metastasis", 1825)
    records = [
        Input(
            SUBJECT[:61] + f"{person.ordinal:03x}",
            2,
            person.observations(SUBJECT[:61] + f"{person.ordinal:03x}"),
        )
        for person in gse_people
    ]
    followed = [follow_up_of(person, None, within) for person in read_people(records, "none")]
    assert [event for _, event in filter(None, followed)].count(True) == 35
    assert [is_censored(*known, within) for known in filter(None, followed)].count(True) == 9
    assert None not in followed


def test_values_keep_their_meaning(gse_people: list[Person]) -> None:
    first = gse_people[0]
    payload = first.observations(SUBJECT)
    validate_observations(payload)
    findings = read_observations(payload, SUBJECT)
    assert (findings.age_years, findings.size_mm, findings.grade, findings.er_positive) == (
        57,
        30,
        3,
        0,
    )
    assert (findings.follow_up_days, findings.metastasis) == (723, True)
    expression = read_expression(first.expression(SUBJECT))
    assert len(expression) == 76
    assert expression["219340_s_at"] == 7.01410950575358


def test_the_two_unknown_grades_are_missing(gse_people: list[Person]) -> None:
    assert sum(person.findings.grade is None for person in gse_people) == 2


def test_the_gpl_package_is_not_imported(gse_people: list[Person]) -> None:
    assert "sksurv" not in sys.modules


@pytest.mark.parametrize("cut", [0, 400, 6000, -300])
def test_a_damaged_file_is_one_typed_error(cut: int, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.arff"
    damaged.write_bytes(locate_gse7390().read_bytes()[:cut])
    with pytest.raises(SourceError):
        load_gse7390(damaged)


def test_an_absent_file_is_one_typed_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        load_gse7390(tmp_path / "absent.arff")
