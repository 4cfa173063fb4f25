import numpy as np

from analytics.readers.expression import read_expression
from analytics.readers.observations import read_observations, validate_observations
from analytics.simulate.synthetic import HORIZON_DAYS, SIGNAL, simulate_people

SUBJECT = "0a" * 32


def test_same_seed_same_people() -> None:
    assert simulate_people(20, 3) == simulate_people(20, 3)
    assert simulate_people(20, 3) != simulate_people(20, 4)


def test_half_of_the_people_have_the_event_and_nobody_is_censored() -> None:
    findings = [person.findings for person in simulate_people(21, 5)]
    assert [person.metastasis for person in findings].count(True) == 10
    for person in findings:
        assert person.follow_up_days is not None
        assert bool(person.metastasis) == (person.follow_up_days <= HORIZON_DAYS)


def test_records_pass_ingest_like_real_ones() -> None:
    for person in simulate_people(20, 6):
        validate_observations(person.observations(SUBJECT))
        assert read_observations(person.observations(SUBJECT), SUBJECT) == person.findings
        assert len(read_expression(person.expression(SUBJECT))) == len(person.values)


def test_the_signal_is_in_the_first_probes_only() -> None:
    people = simulate_people(400, 7)
    genes = np.array([[float(value) for _, value in person.values] for person in people])
    event = np.array([person.findings.metastasis for person in people])
    gap = np.abs(genes[event].mean(axis=0) - genes[~event].mean(axis=0))
    assert gap[: len(SIGNAL)].min() > 1.0
    assert gap[len(SIGNAL) :].max() < 0.5
