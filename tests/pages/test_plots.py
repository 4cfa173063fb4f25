"""The page of each kind of result, from the analysis itself on synthetic people."""

from __future__ import annotations

import json
import re
from functools import cache
from xml.etree import ElementTree

import pytest
from grouped import people_in_groups
from playwright.sync_api import Browser
from quiet import NOISE_KEY

from analytics.params import complete
from analytics.people import Input
from analytics.run import parse_params, run
from analytics.simulate.rehearsal import invent
from analytics.vocabulary import Category
from api.client.renamed_keys import RENAMED, with_current_keys
from api.pages import labels as words
from api.pages import rendering, run_text
from api.pages.output_checks import check_result
from api.pages.result_view import describe
from volens.result import Outcome

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
    "clusters": {
        "analysis": "clusters",
        "outcome": OUTCOME,
        "method": "ward",
        "resamples": 20,
        "references": 19,
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
    "clusters": ["Groups of people whose data is alike"],
    "associate": ["The variants most associated", "All variants together, against chance"],
    "frequencies": ["How common each variant is"],
}


@cache
def computed(analysis: str) -> tuple[bytes, bytes]:
    params = complete(ASKED[analysis])
    done = run(params, invent(parse_params(params), 160, 1), 10, noise_key=NOISE_KEY)
    return done.result, done.disclosure


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
        assert any(plot.title.startswith(title) for plot in shown), title
    for plot in shown:
        drawn = ElementTree.fromstring(plot.plot)
        assert drawn.get("role") == "img"
        assert drawn.get("aria-label")
        assert "style" not in {
            name for element in drawn.iter() for name in (element.tag, *element.attrib)
        }
        assert plot.sentence.endswith(".")
        assert plot.table.rows
        assert all(len(row) == len(plot.table.columns) for row in plot.table.rows)
        assert [name for name, _ in plot.table.meanings] == plot.table.columns
    assert [entry["why"] for entry in page["withheld"]] == [
        entry["why"] for entry in disclosure["withheld"]
    ]
    for given, row in zip(result["rows"], shown[0].table.rows, strict=True):
        metrics = {
            str(value)
            for name, value in given.items()
            if name not in ("model", "feature_set", "interval_method", "stratum")
            and not name.endswith("interval")
        }
        assert metrics <= set(row), "a figure that was printed is not in the table"
    ids = [name for plot in shown for name in re.findall(r'\bid="([^"]+)"', plot.plot)]
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
    checks = check_result(result, disclosure, params, 0b1110, 10, result["granted"])
    assert [check for check in checks if not check.passed]


GROUPED = {**ASKED["clusters"], "genes": {"source": "expression"}, "clusters": 3}
GROUPED |= {"clinical": ["age_years", "size_mm"], "resamples": 20}


@cache
def grouped() -> tuple[bytes, bytes]:
    inputs = []
    for person in people_in_groups(240, 1):
        subject = f"{person.ordinal:064x}"
        inputs.append(Input(subject, Category.EXPRESSION, person.expression(subject)))
        inputs.append(Input(subject, Category.OBSERVATIONS, person.observations(subject)))
    done = run(complete(GROUPED), inputs, 10, noise_key=NOISE_KEY)
    return done.result, done.disclosure


def test_clusters_have_sizes_means_and_outcomes_each_with_a_sentence_and_a_table() -> None:
    result, disclosure = map(json.loads, grouped())
    sizes, means, outcome = describe(result, disclosure)["shown"]
    assert sizes.sentence.startswith("3 clusters, more than chance gives (p 0.05).")
    assert [row[0] for row in sizes.table.rows] == ["1", "2", "3"]
    assert means.title == "What the people of each cluster have in common"
    assert {"age at diagnosis (years)", "tumour size (mm)"} >= {row[1] for row in means.table.rows}
    assert outcome.title == "The outcome in each cluster"
    assert "differ" in outcome.sentence
    for plot in (sizes, means, outcome):
        assert ElementTree.fromstring(plot.plot).get("aria-label")
        assert plot.table.rows
    checks = check_result(
        result, disclosure, complete(GROUPED).decode(), 0b1110, 10, result["granted"]
    )
    assert [check for check in checks if not check.passed] == []
    facts = dict(describe(result, disclosure)["facts"])
    assert facts["Clusters are drawn by"] == "hierarchical, by Ward's method"
    assert (
        facts["People are compared by"] == "age at diagnosis (years), tumour size (mm), all genes"
    )


def test_clusters_are_frames_in_a_notebook() -> None:
    shown = Outcome(*map(json.loads, grouped()))
    assert list(shown.clusters().columns[:4]) == ["cluster", "people", "stability", "share"]
    assert shown.clusters()["low"].notna().any()
    assert shown.profiles()["mean"].abs().max() >= 1
    other = Outcome(*a_result("evaluate"))
    assert other.clusters().empty
    assert other.profiles().empty


def test_clusters_that_are_chance_are_not_described_and_it_says_so() -> None:
    result, disclosure = a_result("clusters")
    assert float(result["p"]) > 0.05
    (only,) = describe(result, disclosure)["shown"]
    assert only.sentence.startswith("No more than chance")
    none = result | {"rows": [], "profiles": []}
    (only,) = describe({n: v for n, v in none.items() if n != "p"}, disclosure)["shown"]
    assert only.sentence.startswith("None were drawn")


@pytest.mark.parametrize(
    "planted",
    [
        {"rows": {"share": 100, "step": 1}},
        {"rows": {"share": 33, "step": 5}},
        {"rows": {"people": 63}},
        {"profiles": {"mean": "0.37"}},
        {"profiles": {"feature": "SIM001"}},
        {"method": "k-means"},
        {"clusters": 4},
        {"compared_by": ["genes"]},
        {"members": 1},
    ],
)
def test_what_is_planted_in_clusters_is_seen(planted: dict[str, object]) -> None:
    result, disclosure = map(json.loads, grouped())
    for name, value in planted.items():
        if isinstance(value, dict):
            result[name][0] |= value
        else:
            result[name] = value
    checks = check_result(
        result, disclosure, complete(GROUPED).decode(), 0b1110, 10, result["granted"]
    )
    assert [check for check in checks if not check.passed]


def test_a_calibration_of_single_per_cents_is_seen() -> None:
    result, disclosure = a_result("survival")
    result["calibration"] = {"step": 5, "groups": [[20, 13], [40, 45]]}
    params = complete(ASKED["survival"]).decode()
    checks = check_result(result, disclosure, params, 0b1110, 10, result["granted"])
    assert any("at least 5 %" in check.text for check in checks if not check.passed)


EXPLAINED = complete(
    {
        "outcome": OUTCOME,
        "models": {"logistic": ["genes", "combined"]},
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
        "explain": ["permutation", "shap-linear", "shapley-groups"],
        "fairness": ["er_positive", "age_years:50:65"],
    }
)
BY_TWO = complete(ASKED["survival"] | {"strata": ["er_positive", "grade"], "bootstraps": 0})


@cache
def page_of(params: bytes, people: int) -> dict:
    done = run(params, invent(parse_params(params), people, 1), 10, noise_key=NOISE_KEY)
    return describe(json.loads(done.result), json.loads(done.disclosure))


def texts_of(page: dict) -> list[str]:
    """Everything that a reader of a result's page reads."""
    texts = [text for fact in page["facts"] for text in fact] + page["gains"]
    for part in ("withheld", "coarsened", "flow"):
        texts += [str(value) for item in page[part] for value in item.values()]
    for plot in page["shown"]:
        texts += [plot.title, plot.sentence, plot.table.caption, *plot.table.columns]
        texts += [value for row in plot.table.rows for value in row]
        if plot.plot:
            drawn = ElementTree.fromstring(plot.plot)
            texts += [drawn.get("aria-label", ""), *(node.text or "" for node in drawn.iter())]
    return texts


@pytest.mark.parametrize("params", [EXPLAINED, BY_TWO, complete(ASKED["associate"])])
def test_a_result_s_page_names_nothing_as_the_program_does(params: bytes) -> None:
    raw = re.compile(r"\b[a-z0-9]+_[a-z0-9_]+\b|\b(tpr|fpr|f1|roc)\b|/(genes|clinical|combined)\b")
    assert [text for text in texts_of(page_of(params, 160)) if raw.search(text)] == []


def test_where_nothing_can_be_told_of_groups_the_sentence_says_so_and_nothing_is_drawn() -> None:
    shown = [plot for plot in page_of(EXPLAINED, 60)["shown"] if "good for everybody" in plot.title]
    assert len(shown) == 2
    for plot in shown:
        assert plot.sentence.startswith(
            "There are too few people to tell whether any group differs"
        )
        assert plot.plot == ""
        assert plot.table.rows


def test_what_groups_show_comes_first() -> None:
    result, disclosure = a_result("evaluate")
    gap = {"group": "grade 3", "measure": "fpr", "step": 5}
    gaps = [
        gap | {"gap": 30, "interval": [10, 40], "verdict": "higher"},
        gap | {"measure": "auc", "gap": 0, "interval": [-10, 10], "verdict": "no difference shown"},
        gap | {"measure": "tpr", "verdict": "too few to tell"},
    ]
    compared = {"by": "grade", "model": "svm", "reference": "grade 1", "groups": [], "gaps": gaps}
    (plot,) = [
        candidate
        for candidate in describe(result | {"fairness": [compared]}, disclosure)["shown"]
        if "good for everybody" in candidate.title
    ]
    assert plot.sentence.startswith(
        "False alarms, of those without it: higher for histological grade: 3, by 30 points "
        "(95 %: 10 to 40). "
        "1 of 3 comparisons are of too few people to tell."
    )
    compared["gaps"] = gaps[1:2]
    shown = describe(result | {"fairness": [compared]}, disclosure)["shown"][-1]
    assert shown.sentence.startswith("No difference from histological grade: 1 is shown.")


def test_many_curves_are_drawn_apart_with_their_names_in_full() -> None:
    page = page_of(BY_TWO, 400)
    drawn = ElementTree.fromstring(page["shown"][0].plot)
    text = " ".join(node.text or "" for node in drawn.iter() if node.tag.endswith("text"))
    names = {row[0] for row in page["shown"][0].table.rows} - {"all people"}
    assert len(names) > 3
    for name in names:
        assert all(text.count(word) >= 1 for word in name.split())
    assert "…" not in text
    assert len(page["shown"][0].sentence) < 400


CUT = """() => [...document.querySelectorAll("svg")].flatMap((svg) => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter((text) => {
        const own = text.getBoundingClientRect();
        return own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1;
    }).map((text) => text.textContent);
})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_no_text_of_a_plot_is_cut(browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    pages = [page_of(EXPLAINED, 160), page_of(BY_TWO, 400)]
    drawn = "".join(plot.plot for shown in pages for plot in shown["shown"])
    page.set_content(
        f"<style>svg {{ display: block; max-width: 100%; height: auto }}</style>{drawn}"
    )
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


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
    ("params", "sentence"),
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
        (
            complete(ASKED["clusters"]).decode(),
            "Are there groups of people whose data is alike, and do they differ in whether",
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
def test_a_run_s_question_is_read_from_its_parameters(params: str, sentence: str) -> None:
    question = words.question(params)
    assert sentence in question if sentence else question == ""


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("permute:svm/combined", "comparing with shuffled outcomes: SVM on all data in one model"),
        ("evaluate:logistic/clinical", "testing the model: logistic on clinical data"),
        ("bootstrap:svm", "repeating everything on people drawn again: SVM"),
        ("sealed", "the output is sealed"),
        ("something new", "something new"),
    ],
)
def test_steps_in_words(step: str, sentence: str) -> None:
    assert words.step(step) == sentence


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
        ("grade 2, female 0", "histological grade: 2, female: no"),
        ("age_years 50 to under 65", "age at diagnosis: 50 to under 65 years"),
        ("bmi 25 or more", "body-mass index: 25 kg/m² or more"),
    ],
)
def test_a_stratum_has_a_name_in_words(name: str, shown: str) -> None:
    assert run_text.group(name) == shown
