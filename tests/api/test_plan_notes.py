"""A clinician's notes on a plan: their form, with a group's prognosis in it or without."""

from __future__ import annotations

from typing import Any

import pytest

from analytics.care.prognosis import TYPE, State
from api.client.plans import NOTES, check_notes
from api.errors import UsageError

PROGNOSIS: dict[str, Any] = {
    "type": TYPE,
    "run": "ab" * 32,
    "seal": "cd" * 32,
    "state": State.SHOWN.value,
    "population": {"id": "GSE7390"},
    "end_point": "distant metastasis",
    "horizon_days": 1825,
    "sentences": ["The end point is distant metastasis."],
    "stratum": "all",
    "table": {"stratum": "all", "risk": 30},
    "points": [{"stratum": "all", "days": 1825, "survival": 70, "interval": [60, 80]}],
}


def notes(**more: Any) -> dict[str, Any]:
    return {"type": NOTES, "items": {}, "comment": "", **more}


def test_notes_may_have_a_prognosis() -> None:
    assert check_notes(notes()) == notes()
    assert check_notes(notes(prognosis=PROGNOSIS)) == notes(prognosis=PROGNOSIS)


@pytest.mark.parametrize(
    "wrong",
    [
        notes(prognosis={}),
        notes(prognosis="survival 70 percent"),
        notes(prognosis=PROGNOSIS | {"points": [{"days": 1825}]}),
        notes(prognosis=PROGNOSIS | {"sentences": ["x"] * 13}),
        notes(prognosis={name: PROGNOSIS[name] for name in PROGNOSIS if name != "seal"}),
        notes(forecast=PROGNOSIS),
    ],
)
def test_notes_of_another_form_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="group's prognosis"):
        check_notes(wrong)
