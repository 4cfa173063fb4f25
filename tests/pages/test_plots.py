"""The page of each kind of result, from the analysis itself on synthetic people."""

from __future__ import annotations

import json
import re
from functools import cache
from xml.etree import ElementTree

import pytest
from quiet import NOISE_KEY

from analytics.params import complete
from analytics.run import parse_params, run
from analytics.simulate.rehearsal import invent
from api.client.renamed_keys import RENAMED, with_current_keys
from api.pages import labels as words
from api.pages import rendering, result_view
from api.pages.output_checks import check_result
from api.pages.result_view import describe

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
SITE = "1:1000:A>G"
ASKED = {
    "evaluate": {
        "outcome": OUTCOME,
        "models": {"logistic": ["genes", "clinical", "combined"]},
        "folds": 2,
        "permutations": 19,
    },
    "survival": {
        "analysis": "survival",
        "outcome": OUTCOME,
        "strata": ["er_positive"],
        "permutations": 19,
        "bootstraps": 50,
    },
    "associate": {"analysis": "associate", "outcome": OUTCOME},
    "frequencies": {"analysis": "frequencies", "sites": [SITE]},
}
TITLES = {
    "evaluate": ["How well each model", "Found against false alarms: logistic on genes"],
    "survival": [
        "How many are without the event, over time",
        "The risk at the horizon",
        "How well Cox regression tells",
    ],
    "associate": ["The variants most associated", "All variants together, against chance"],
    "frequencies": ["How common each variant is"],
}


@cache
def computed(analysis: str) -> tuple[bytes, bytes]:
    params = complete(ASKED[analysis])
    found = run(params, invent(parse_params(params), 160, 1), 10, noise_key=NOISE_KEY)
    return found.result, found.disclosure


def a_result(analysis: str) -> tuple[dict, dict]:
    result, disclosure = computed(analysis)
    return json.loads(result), json.loads(disclosure)


@pytest.mark.parametrize("analysis", list(ASKED))
def test_a_result_from_before_its_keys_were_renamed_is_shown_alike(analysis: str) -> None:
    result, disclosure = a_result(analysis)
    old = json.dumps(result | {"type": "volens/result/2"})
    for before, now in RENAMED.items():
        old = old.replace(f'"{now}":', f'"{before}":')
    assert (old != json.dumps(result | {"type": "volens/result/2"})) == (analysis == "evaluate")
    assert with_current_keys(json.loads(old)) == result
    assert describe(json.loads(old), disclosure) == describe(result, disclosure)


@pytest.mark.parametrize("analysis", list(ASKED))
def test_each_plot_has_a_sentence_and_a_table_of_the_same(analysis: str) -> None:
    result, disclosure = a_result(analysis)
    page = describe(result, disclosure)
    shown = page["shown"]
    for title in TITLES[analysis]:
        assert any(one.title.startswith(title) for one in shown), title
    for one in shown:
        drawn = ElementTree.fromstring(one.plot)
        assert drawn.get("role") == "img"
        assert drawn.get("aria-label")
        assert "style" not in {
            name for element in drawn.iter() for name in (element.tag, *element.attrib)
        }
        assert one.sentence.endswith(".")
        assert one.table.rows
        assert all(len(row) == len(one.table.columns) for row in one.table.rows)
    assert page["withheld"] == disclosure["withheld"]
    for given, row in zip(result["rows"], shown[0].table.rows, strict=True):
        figures = {
            str(value)
            for name, value in given.items()
            if name not in ("model", "feature_set", "interval_method", "stratum")
            and not name.endswith("interval")
        }
        assert figures <= set(row), "a figure that was printed is not in the table"
    ids = [name for one in shown for name in re.findall(r'\bid="([^"]+)"', one.plot)]
    assert len(ids) == len(set(ids)), "two plots of one page share an id"


@pytest.mark.parametrize(
    "planted",
    [
        {"survival": 100},
        {"survival": 0},
        {"at_risk": 7},
        {"censored": 13},
        {"survival": 83, "step": 5},
        {"hazard": 1},
    ],
)
def test_what_is_planted_in_a_survival_curve_is_seen(planted: dict[str, int]) -> None:
    result, disclosure = a_result("survival")
    result["rows"][0] |= planted
    params = complete(ASKED["survival"]).decode()
    checks = check_result(result, disclosure, params, 0b1110, 10)
    assert [check for check in checks if not check.passed]


def test_a_calibration_of_single_per_cents_is_seen() -> None:
    result, disclosure = a_result("survival")
    result["calibration"] = {"step": 5, "groups": [[20, 13], [40, 45]]}
    params = complete(ASKED["survival"]).decode()
    checks = check_result(result, disclosure, params, 0b1110, 10)
    assert any("at least 5 %" in check.text for check in checks if not check.passed)


@pytest.mark.parametrize("analysis", list(ASKED))
def test_the_noise_in_a_result_is_named_with_its_bound(analysis: str) -> None:
    result, disclosure = a_result(analysis)
    assert "up to 15 people of noise" in dict(describe(result, disclosure)["facts"])["Noise"]
    older = disclosure | {"rules": disclosure["rules"][1:]}
    assert "Noise" not in dict(describe(result, older)["facts"])


def test_whoever_was_left_out_as_censored_is_named_with_what_it_means() -> None:
    result, disclosure = a_result("evaluate")
    assert "censored" not in result
    facts = dict(describe(result | {"censored": 40}, disclosure)["facts"])
    assert "40, left out" in facts["Follow-up ended before the horizon"]
    assert "is not the risk" in facts["Follow-up ended before the horizon"]
    result, disclosure = a_result("survival")
    facts = dict(describe(result, disclosure)["facts"])
    assert facts["Follow-up ended before the horizon"] == str(result["censored"])


def test_what_was_withheld_is_named_and_never_a_number() -> None:
    result, disclosure = a_result("frequencies")
    row = result["rows"][0]
    row.pop("frequency", None)
    row.pop("carriers", None)
    row.pop("step", None)
    row["variant"] = "<script>alert(1)</script>"
    result["rows"].append({"variant": SITE, "frequency": 7, "carriers": 20, "step": 1})
    page = describe(result, disclosure)
    assert page["shown"][0].table.rows[0] == [
        "<script>alert(1)</script>",
        "withheld",
        "withheld",
        "withheld",
    ]
    assert "<script" not in page["shown"][0].plot
    assert page["shown"][0].sentence.startswith("1 of 2 is shown")


@pytest.mark.parametrize(("interval", "p"), [([44, 60], "0.0100"), ([51, 60], "0.0600")])
def test_interval_and_p_must_both_say_that_it_is_no_guess(interval: list[int], p: str) -> None:
    result, disclosure = a_result("evaluate")
    for row in result["rows"]:
        row["auc"], row["auc_interval"], row["p"] = 52, interval, p
    assert (
        "None is shown to be better than guessing"
        in describe(result, disclosure)["shown"][0].sentence
    )
    for row in result["rows"]:
        row["auc_interval"], row["p"] = [51, 60], "0.0500"
    assert "p at most 0.05): logistic" in describe(result, disclosure)["shown"][0].sentence


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            complete(ASKED["evaluate"]).decode(),
            "How well can one predict whether a tumour spreads within 5 years?",
        ),
        (
            complete(ASKED["associate"]).decode(),
            "Which genetic variants go together with whether a tumour spreads",
        ),
        (
            complete(ASKED["survival"]).decode(),
            "How does the risk grow over time, and who has more of it: whether a tumour spreads",
        ),
        (complete(ASKED["frequencies"]).decode(), "How common are some genetic variants?"),
        (
            '{"analysis":"evaluate","outcome":{"kind":"diagnosis","horizon_days":30}}',
            "diagnosis follows within 30 days",
        ),
        ('{"analysis":"evaluate"}', ""),
        ('{"analysis":[1]}', ""),
        ("[]", ""),
        ("no JSON", ""),
        ("", ""),
        ('{"analysis":"evaluate","outcome":{"kind":[],"horizon_days":"x"}}', ""),
        ("[" * 2000, ""),
    ],
)
def test_a_run_s_question_is_read_from_its_parameters(params: str, said: str) -> None:
    found = words.question(params)
    assert said in found if said else found == ""


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("permute:svm/combined", "comparing with shuffled outcomes: SVM on genes + clinical"),
        ("evaluate:logistic/clinical", "testing the model: logistic on clinical data"),
        ("bootstrap:svm", "repeating everything on people drawn again: SVM"),
        ("sealed", "the output is sealed"),
        ("something new", "something new"),
    ],
)
def test_steps_in_words(step: str, said: str) -> None:
    assert words.step(step) == said


def test_times_beyond_the_calendar_break_no_page() -> None:
    """The ledger takes times up to 2^40 - 1, and what it has taken stays."""
    for seconds in (253_402_300_799, 253_402_300_800, (1 << 40) - 1):
        assert rendering._when(seconds, 0)
        assert words.iso(seconds)
        assert words.moment(seconds)


def test_a_scan_names_its_inflation_with_interval_and_why_it_has_no_components() -> None:
    result, disclosure = a_result("associate")
    assert result["inflation_interval"][0] <= result["inflation"] <= result["inflation_interval"][1]
    result |= {"components": 0, "components_omitted": "too few variants"}
    page = describe(result, disclosure)
    low, high = result["inflation_interval"]
    assert (
        f"Genomic inflation {result['inflation']} (95 %: {low} to {high});"
        in page["shown"][1].sentence
    )
    assert ("Why none", "too few variants") in page["facts"]
    assert ("Genome build", result["build"]) in page["facts"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("all", "all people"),
        ("not known", "not known"),
        ("er_positive 1", "oestrogen receptor positive: yes"),
        ("grade 2, female 0", "histological grade (1 to 3): 2, female: no"),
        ("age_years 50 to under 65", "age at diagnosis (years): 50 to under 65"),
    ],
)
def test_a_stratum_has_a_name_in_words(name: str, shown: str) -> None:
    assert result_view._group(name) == shown
