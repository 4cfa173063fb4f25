"""Passages of a plan beside a request that says something else."""

from __future__ import annotations

from typing import Any

import pytest

from api.pages.plan_text import compare
from chain.vocabulary import Purpose

OUTSIDE, COMPANY = 1 << Purpose.OUTSIDE_RECIPIENT, 1 << Purpose.COMPANY_RECIPIENT
SPREAD = {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}}
DIABETES = {
    "outcome": {
        "kind": "diagnosis",
        "index": ["icd-10-cm:C50"],
        "event": ["icd-10-cm:E11"],
        "horizon_days": 1825,
    }
}
FINDING = {"outcome": {"kind": "finding", "variable": "er_positive"}}
PLAN = (
    "# Who relapses\n\n## Question\nWhose tumour spreads within five years?\n\n## What leaves\n{}\n"
)


@pytest.mark.parametrize(
    "passage",
    [
        "The results stay within the university.",
        "Everything is kept confidential.",
        "Results are used in-house.",
        "No result leaves us: it is not shared.",
        "Metrics go only to the team.",
        "Nobody outside will see them.",
    ],
)
def test_a_promise_to_keep_results_is_shown_beside_the_recipients(passage: str) -> None:
    (point,) = compare(PLAN.format(passage), OUTSIDE | COMPANY, None)
    assert f"The plan says “{passage}”" in point
    assert point.endswith("results go to researchers elsewhere and companies.")
    assert compare(PLAN.format(passage), 1 << Purpose.HEALTH_RESEARCH, None) == []


@pytest.mark.parametrize(
    "passage",
    [
        "Metrics, to the journal that prints them.",
        "Relapse within 5 years; the analysis is within the permit.",
        "Researchers of three universities read them.",
    ],
)
def test_other_passages_are_none(passage: str) -> None:
    assert compare(PLAN.format(passage), OUTSIDE, SPREAD) == []


@pytest.mark.parametrize(
    ("plan", "study", "expected"),
    [
        (PLAN, SPREAD, []),
        (PLAN, DIABETES, ["does not name the outcome of its runs: whether type 2"]),
        ("Who gets type 2 diabetes?", DIABETES, []),
        ("Who gets E11 after C50?", DIABETES, []),
        ("Whose tumour has oestrogen receptors, within 5 years?", FINDING, []),
        (
            "Who relapses within 5 years?",
            FINDING,
            ["does not name the outcome of its runs: who has"],
        ),
        (
            "Whose tumour spreads within 10 years?",
            SPREAD,
            ["speaks of 10 years, and its runs of 5"],
        ),
        ("Whose tumour spreads within 60 months, or 10 years?", SPREAD, []),
        (
            "Who is depressed a 1-year follow-up later?",
            SPREAD,
            ["does not name the outcome", "speaks of 1 year, and"],
        ),
        # The study itself is no text of the plan.
        ('Who?\n\n```study\n{"outcome": "metastasis, 5 years"}\n```\n', SPREAD, ["does not name"]),
    ],
)
def test_an_outcome_that_the_text_does_not_name_is_a_point(
    plan: str, study: dict[str, Any], expected: list[str]
) -> None:
    points = compare(plan, 0, study)
    assert len(points) == len(expected), points
    assert all(part in point for part, point in zip(expected, points, strict=True)), points


def test_a_long_passage_is_cut() -> None:
    (point,) = compare(f"Kept in-house {'and more ' * 100}.", OUTSIDE, None)
    assert len(point) < 300
