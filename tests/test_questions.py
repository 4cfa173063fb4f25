"""A permit allows only so many different questions: the mean of many answers tells what one does
not, and a run that fails is an answer too, which no checker reviews.
"""

from __future__ import annotations

import json
from typing import Any

from rig import PARAMS, Rig

from analytics.canonical import dump_canonical
from analytics.simulate.synthetic import simulate_people
from chain.vocabulary import Reason
from governance.objects.ingest import Source
from governance.readmodel import queries as register

YOUNG = json.loads(PARAMS)["cohort"] | {"age": [0, 20]}


def asked(rig: Rig, permit: bytes, **changes: Any) -> tuple[str, int, str]:
    """(state, reason on the ledger, why it failed) of a run that the worker took."""
    params = dump_canonical(json.loads(PARAMS) | changes)
    run, worker = rig.request(permit, params=params), rig.worker()
    worker.projection.sync()
    assert worker.step()
    row = register.find_run(worker.engine, run.hex())
    return row.state, row.reason, register.failure_of(worker.engine, run.hex())


def test_a_permit_has_so_many_questions_and_no_more(rig: Rig) -> None:
    permit = rig.permit(questions=2)
    assert asked(rig, permit)[0] == "sealed"
    failed = asked(rig, permit, cohort=YOUNG)[2]
    assert "fewer people than the minimum" in failed  # it counts: it told something
    keys = len(rig.journal())
    denied = ("denied", Reason.PERMIT_QUESTIONS, "")
    assert asked(rig, permit, cohort=YOUNG | {"age": [0, 21]}) == denied
    assert asked(rig, permit, seed=2) == denied  # another view of the same people
    assert len(rig.journal()) == keys  # nothing was opened for them
    assert asked(rig, permit)[0] == "sealed"  # the same again is free
    other = asked(rig, rig.permit(), cohort=YOUNG | {"age": [0, 21]})
    assert "fewer people than the minimum" in other[2]  # the committee gave another permit


def test_the_same_question_about_new_records_is_another_one(rig: Rig) -> None:
    """Two answers before and after one person's records came differ by her alone."""
    permit, (person,) = rig.permit(questions=1), simulate_people(1, seed=4)
    assert asked(rig, permit)[0] == "sealed"
    assert asked(rig, permit)[0] == "sealed"  # the same, and free
    subject = rig.subjects[0]
    rig.ingest([Source(subject, 2, person.observations(subject.hex()))], {subject: 2})
    assert asked(rig, permit) == ("denied", Reason.PERMIT_QUESTIONS, "")
