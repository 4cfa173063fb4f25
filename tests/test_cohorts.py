"""A permit allows only so many cohorts, because a failing run reveals something that no checker
reviews.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from rig import PARAMS, Rig

from analytics.canonical import dump_canonical
from api.worker import prior_results as earlier
from governance.readmodel import queries as register


def asked(rig: Rig, permit: bytes, **changes: Any) -> tuple[str, str]:
    """(state, why it failed) of a run that the worker took."""
    run, worker = (
        rig.request(permit, params=dump_canonical(json.loads(PARAMS) | changes)),
        rig.worker(),
    )
    worker.projection.sync()
    assert worker.step()
    return register.find_run(worker.engine, run.hex()).state, register.failure_of(
        worker.engine, run.hex()
    )


def test_a_permit_has_so_many_cohorts_and_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "COHORTS", 2)
    permit, young = rig.permit(), json.loads(PARAMS)["cohort"] | {"age": [0, 20]}
    assert asked(rig, permit)[0] == "sealed"
    assert (
        "fewer people than the minimum" in asked(rig, permit, cohort=young)[1]
    )  # it counts: it told something
    keys = len(rig.journal())
    state, why = asked(rig, permit, cohort=young | {"age": [0, 21]})
    assert (state, "asked about 10 cohorts" in why) == ("queued", True)
    assert len(rig.journal()) == keys  # nothing was opened for it
    assert asked(rig, permit, seed=2)[0] == "sealed"  # the same people, asked otherwise
    assert (
        asked(rig, rig.permit(), cohort=young | {"age": [0, 21]})[1] != why
    )  # the committee gave another


def test_without_the_rule_a_permit_is_good_for_any_number(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "COHORTS", 1)
    monkeypatch.setattr("api.worker.attempt.spends_too_many_cohorts", lambda *_: False)
    permit, outcome = rig.permit(), json.loads(PARAMS)["outcome"]
    found = [asked(rig, permit, outcome=outcome | {"horizon_days": 1825 - n})[0] for n in range(3)]
    assert found == ["sealed"] * 3
