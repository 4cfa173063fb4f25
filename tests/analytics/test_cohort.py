import math

import pytest

from analytics.cohort import Record, assemble_cohort, outcome_at
from analytics.errors import CohortTooSmall, InputsError
from analytics.readers.observations import Findings


def person(n: int, *, event: bool = False, days: float | None = 2000, genes: dict[str, float] | None = None) -> Record:
    return Record(f"{n:064x}", {"a": 1.0, "b": 2.0} if genes is None else genes, Findings(50, 20, 2, 1, days, event))


@pytest.mark.parametrize(
    ("days", "event", "outcome"),
    [
        (1824, True, True),
        (1825, True, True),
        (1826, True, False),
        (1826, False, False),
        (1825, False, False),
        (1824, False, None),
        (None, True, None),
        (1900, None, None),
    ],
)
def test_outcome_at_the_horizon(days: float | None, event: bool | None, outcome: bool | None) -> None:
    assert outcome_at(Findings(follow_up_days=days, metastasis=event), 1825) is outcome


def six() -> list[Record]:
    return [person(n, event=n % 2 == 0, days=100 if n % 2 == 0 else 3000) for n in range(6)]


def test_people_come_in_order_of_subject_whatever_the_input_order() -> None:
    there = assemble_cohort(six(), horizon_days=1825, needs_genes=True, minimum=6, per_class=2)
    back = assemble_cohort(reversed(six()), horizon_days=1825, needs_genes=True, minimum=6, per_class=2)
    assert there.event.tolist() == back.event.tolist() == [1, 0, 1, 0, 1, 0]


def test_minimum_counts_after_filtering_and_the_number_is_not_said() -> None:
    records = [*six(), person(6, days=100), Record(f"{7:064x}", None, Findings(follow_up_days=9000, metastasis=False))]
    assert assemble_cohort(records, horizon_days=1825, needs_genes=True, minimum=6, per_class=2).people == 6
    with pytest.raises(CohortTooSmall) as refused:
        assemble_cohort(records, horizon_days=1825, needs_genes=True, minimum=7, per_class=2)
    assert not any(character.isdigit() for character in str(refused.value) + refused.value.hint)


def test_nobody_at_all_is_too_small_even_without_minimum() -> None:
    with pytest.raises(CohortTooSmall):
        assemble_cohort([], horizon_days=1825, needs_genes=False, minimum=0, per_class=2)


def test_a_class_smaller_than_the_folds_is_refused() -> None:
    with pytest.raises(CohortTooSmall):
        assemble_cohort(six(), horizon_days=1825, needs_genes=True, minimum=2, per_class=4)


def test_a_missing_value_is_missing_never_zero() -> None:
    records = six()
    records[0] = Record(records[0].subject, {"a": 1.0}, Findings(follow_up_days=100, metastasis=True))
    cohort = assemble_cohort(records, horizon_days=1825, needs_genes=True, minimum=2, per_class=2)
    assert math.isnan(cohort.genes[0, cohort.probes.index("b")])
    assert all(math.isnan(value) for value in cohort.clinical[0])


def test_a_probe_of_few_people_is_left_out() -> None:
    records = six()
    records[0] = Record(records[0].subject, {"a": 1.0, "b": 2.0, "only-here": 3.0}, records[0].findings)
    cohort = assemble_cohort(records, horizon_days=1825, needs_genes=True, minimum=2, per_class=2)
    assert cohort.probes == ("a", "b")


def test_no_shared_probe_is_refused() -> None:
    records = [Record(r.subject, {f"p{n}": 1.0}, r.findings) for n, r in enumerate(six())]
    with pytest.raises(InputsError):
        assemble_cohort(records, horizon_days=1825, needs_genes=True, minimum=2, per_class=2)


def test_without_genes_nobody_is_lost_for_lacking_them() -> None:
    records = [Record(r.subject, None, r.findings) for r in six()]
    assert assemble_cohort(records, horizon_days=1825, needs_genes=False, minimum=6, per_class=2).people == 6
