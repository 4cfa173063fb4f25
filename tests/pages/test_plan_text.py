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
AGED = SPREAD | {"cohort": {"age": [40, 70], "with": [], "without": []}}
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
        "Nothing leaves the university.",
        "Results remain with us.",
        "Only my group sees the results.",
        "No company will get any result.",
        "Results do not go to companies.",
        "The results stay on our premises.",
        "Results stay in Porto and go nowhere.",
        "We keep the results to ourselves.",
        "No data are passed to anybody outside the university.",
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
        "No data of children are used.",
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
            ["says “within 10 years”, and its runs are about 5"],
        ),
        ("Whose tumour spreads within 60 months? Data of 10 years.", SPREAD, []),
        (
            "Who is depressed a 1-year follow-up later?",
            SPREAD,
            ["does not name the outcome", "says “1-year”, and"],
        ),
        ("Whose tumour spreads within ten years?", SPREAD, ["says “within ten years”"]),
        ("Who relapses? Data of 10 years; 5 years of follow-up.", SPREAD, []),
        ("Who dies of a relapse?", SPREAD, ["says “dies”; what its runs predict is whether a"]),
        (
            "Relapse of women over 60?",
            AGED,
            ["says “over 60”, and its runs are about people aged 40"],
        ),
        ("Relapse of women aged 40 to 70?", AGED, []),
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


def test_a_harmless_passage_hides_no_other() -> None:
    plan = "Findings only, in-house ones. No company gets any of it."
    (point,) = compare(plan, COMPANY, None)
    assert "“Findings only, in-house ones.” and “No company gets any of it.”" in point
