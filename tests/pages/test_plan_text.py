"""Passages of a plan beside a request that says something else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api import demo
from api.pages.plan_text import compare, compare_terms
from chain.vocabulary import Category, Purpose

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


NOW = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())
YEAR = 365 * 86_400
FINDINGS, GENOMES = 1 << Category.OBSERVATIONS, 1 << Category.GERMLINE_VARIANTS
DEMO = Path(demo.__file__).parent / "documents"


def request(years: float = 1, questions: int = 12, categories: int = FINDINGS) -> dict[str, int]:
    expiry = NOW + int(years * YEAR)
    return {"expiry": expiry, "questions": questions, "categories": categories, "now": NOW}


@pytest.mark.parametrize(
    ("passage", "asked", "says"),
    [
        ("The permit lasts 12 months.", request(3), "“permit lasts 12 months”, and"),
        ("The project runs for one year at most.", request(3), "“project runs for one year”"),
        ("Data are kept for six\nmonths.", request(), "“Data are kept for six months”"),
        ("All data will be deleted after 90 days.", request(), "“data will be deleted after 90"),
        (
            "We ask for access to the data for 6 months.",
            request(),
            "for 6 months”, and the request",
        ),
        ("A permit of two years is enough.", request(5), "“permit of two years”, and the request"),
        ("The permit should last no longer than 2 years.", request(5), "lasts until 30 November"),
        ("- Duration: 12 months", request(3), "“Duration: 12 months”"),
        ("We use the data until 31 December 2027.", request(3), "until 31 December 2027”, and"),
        ("The permit ends on December 31, 2027.", request(3), "ends on December 31, 2027”, and"),
        ("Access until the end of 2027.", request(3), "until the end of 2027”, and the request"),
        ("Data are deleted by the end of May 2028.", request(3), "by the end of May 2028”"),
        ("The permit runs until 2027-12-31.", request(3), "until 2027-12-31”, and the request"),
        ("At most 5 questions are asked.", request(), "“At most 5 questions”, and the request"),
        ("We ask up to two different questions.", request(questions=3), "asks for 3 different"),
        ("No more than five runs.", request(questions=6), "“No more than five runs”"),
        ("Findings only. No genetic data.", request(categories=GENOMES), "“No genetic data.”, and"),
        ("No genomes, nothing sensitive.", request(categories=GENOMES), "the request asks for gen"),
        ("It does not use germline variants.", request(categories=GENOMES), "asks for genomes."),
        ("No genetic data of any kind.", request(categories=GENOMES), "“No genetic data of any"),
        ("Genotypes are not needed.", request(categories=GENOMES), "“Genotypes are not needed.”"),
        (
            "Findings and genomes.",
            request(),
            "“Findings and genomes.”, and the request asks for no",
        ),
        ("Genetic data of all who agree.", request(), "the request asks for no genomes."),
    ],
)
def test_a_text_that_allows_less_than_the_request_is_a_point(
    passage: str, asked: dict[str, int], says: str
) -> None:
    """Nothing is refused: the reader compares."""
    plan = f"# Relapse\n\n## Data\n{passage}\n\n## Risks\nNone.\n"
    (point,) = compare_terms(plan, **asked)
    assert says in point
    assert point.startswith("The plan's text says “")


FAITHFUL = (
    *(
        "The permit lasts 12 months.",
        "Access until 30 November 2027.",
        "The permit ends in 2 years.",
    ),
    *("Data of the 6 months before the diagnosis.", "Data are used for 3 months of follow-up."),
    *("Women who took tamoxifen for 2 months.", "Relapse within 3 months; weeks 1 to 12."),
    *(
        "Records until 31 December 2019.",
        "Deaths until the end of 2026.",
        "The journal ends in 2027.",
    ),
    "Data are deleted 30 days after the permit ends.",
    *("At most twelve questions.", "Up to 20 questions.", "At most 3 genes are named."),
    *("Two questions: age, and grade.", "No question is asked again.", "At most 99 permutations."),
    *("At most 2 questions a month.", "At most one question about age.", "Data are kept for good."),
    *("Data are needed for 5 weeks after the diagnosis.", "Records for at least 12 weeks."),
    "The project may end on 31 February 2027.",
    *("Findings and gene activity.", "No genome-wide scan.", "The activity of 200 genes."),
    *("No genomes.", "Neither genotypes nor diagnoses.", "Somatic variants of tumour genomes."),
)
OF_GENOMES = (
    *(
        "Genomes of all who agree.",
        "No genomes leave the hospital.",
        "No genetic variant is named.",
    ),
    *("People with no genetic data are left out.", "Genetic data are needed, and nothing else."),
    *("No genetic data other than BRCA1.", "No genetic data of single people are printed."),
    *("We do not read genetic data of relatives.", "People who have no genomes are counted."),
)


@pytest.mark.parametrize(
    ("passage", "asked"),
    [(text, request()) for text in FAITHFUL]
    + [(text, request(categories=GENOMES)) for text in OF_GENOMES],
)
def test_a_text_that_agrees_gives_no_point(passage: str, asked: dict[str, int]) -> None:
    assert compare_terms(f"## Data\n{passage}\n", **asked) == []


@pytest.mark.parametrize("path", sorted(DEMO.glob("plan*.md")), ids=lambda path: path.stem)
def test_the_plans_of_the_demo_give_no_point(path: Path) -> None:
    asked = request(categories=GENOMES if path.stem == "plan-simulated" else FINDINGS)
    assert compare_terms(path.read_text(), **asked) == []


@pytest.mark.parametrize("unit", ["years", "questions"])
def test_no_number_in_a_text_breaks_the_page(unit: str) -> None:
    plan = f"The permit lasts {'9' * 5000} {unit}; at most {'9' * 5000} {unit}."
    assert compare_terms(plan, **request()) == []
    assert compare(plan, 0, SPREAD)
