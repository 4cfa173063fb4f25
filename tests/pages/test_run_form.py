"""The form of a run's parameters: what it sends, and where it says what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from run_forms import Given, usual_form

from analytics.params import ANALYSES, complete
from api.pages import labels as words
from api.pages import rendering, run_text
from api.pages.run_form import (
    FieldInvalid,
    FormPart,
    form_parts,
    params_from,
    with_features,
    with_problem,
    with_variables,
)


@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_form_that_nobody_changed_gives_valid_parameters(analysis: str) -> None:
    given = usual_form(analysis)
    assert json.loads(params_from(analysis, given))["analysis"] == analysis
    assert form_parts(analysis, given) == form_parts(analysis, None)


def test_groups_are_ticked_and_a_number_has_the_points_of_its_cut() -> None:
    given = usual_form("survival") | {"strata": ["er_positive", "age_years"]}
    assert json.loads(params_from("survival", given))["strata"] == [
        "er_positive",
        "age_years:50:65",
    ]
    given["strata.age_years"] = ["40, 60.5"]
    assert json.loads(params_from("survival", given))["strata"][1] == "age_years:40:60.5"
    part = next(part for part in form_parts("survival", given) if part.name == "strata")
    assert part.values == ("er_positive", "age_years")
    assert ("strata.age_years", ("40, 60.5",)) in [
        (inner.name, inner.values) for inner in part.parts
    ]


def test_groups_are_offered_by_what_the_dataset_has() -> None:
    rows = [
        {"variable": "grade", "people": 120, "completeness": 95},
        {"variable": "er_positive", "people": None, "completeness": None},
    ]
    parts = with_variables(form_parts("evaluate", None), {"variables": rows})
    offered = {part.name: [inner.name for inner in part.parts] for part in parts}
    assert offered["fairness"] == ["fairness.grade"]


def test_assays_and_gene_sets_are_offered_by_what_the_dataset_has() -> None:
    digest = "ab" * 32
    features = {
        "assays": [{"assay": "mirna", "columns": 12}],
        "sets": [{"sha256": digest, "title": "GO", "sets": 7, "genes": 90}],
    }

    def offered(parts: tuple[FormPart, ...]) -> dict[str, list[str]]:
        names = {}
        for part in parts:
            names |= {part.name: [name for name, _ in part.options]} | offered(part.parts)
        return names

    given = usual_form("evaluate")
    with_both = offered(with_features(form_parts("evaluate", given), features))
    assert with_both["genes.sets"] == ["", digest]
    assert "mirna" in with_both["models.knn"]
    assert "gene-sets" in with_both["genes.source"]
    with_none = offered(with_features(form_parts("evaluate", given), None))
    assert not {"genes.sets", "assays"} & with_none.keys()
    assert "gene-sets" not in with_none["genes.source"]
    changed = {
        "assays": ["mirna"],
        "models.logistic": ["genes", "mirna"],
        "genes.source": ["gene-sets"],
        "genes.sets": [digest],
        "outcome.kind": ["finding"],
        "outcome.finding.variable": ["lobular"],
    }
    asked = json.loads(params_from("evaluate", given | changed))
    assert (asked["assays"], asked["genes"]["sets"]) == (["mirna"], digest)
    assert asked["outcome"] == {"kind": "finding", "variable": "lobular"}
    with pytest.raises(FieldInvalid) as refused:
        params_from("evaluate", given | changed | {"genes.sets": [""]})
    assert refused.value.field == "genes.sets"


OF_DIAGNOSIS = {
    "outcome.kind": ["diagnosis"],
    "outcome.diagnosis.index": ["icd-10-cm:C50"],
    "outcome.diagnosis.event": ["icd-10-cm:C79"],
    "outcome.diagnosis.horizon_days": ["20"],
    "outcome.diagnosis.washout_days": ["0"],
    "outcome.diagnosis.lookback_days": ["9"],
    "outcome.diagnosis.risk_start_days": ["1"],
}
NO_MODELS = {name: [] for name in usual_form("evaluate") if name.startswith("models.")}


@pytest.mark.parametrize(
    ("analysis", "change", "field", "text"),
    [
        ("survival", {"folds": ["x"]}, "folds", "“Folds of the cross-validation” is a whole"),
        ("survival", {"bootstraps": ["12"]}, "bootstraps", "is not 0 for no bootstrap"),
        ("survival", {"cohort.age.0": ["50"], "cohort.age.1": ["40"]}, "cohort.age", "ends"),
        ("survival", {"cohort.with": ["breast cancer"]}, "cohort.with", "each system:beginning"),
        (
            *("survival", {"strata": ["grade", "female", "er_positive"]}, "strata"),
            "at most 2 can be chosen",
        ),
        (
            *("survival", {"strata": ["age_years"], "strata.age_years": ["65 50"]}),
            *("strata.age_years", "age at diagnosis is cut at one to three rising numbers"),
        ),
        (
            *("survival", {"strata": ["age_years"], "strata.age_years": [""]}),
            *("strata.age_years", "one to three rising numbers"),
        ),
        (
            *("survival", OF_DIAGNOSIS | {"outcome.diagnosis.event": ["C79"]}),
            *("outcome.diagnosis.event", "“Codes that are the outcome” is not 1 to 16 codes"),
        ),
        (
            *("survival", OF_DIAGNOSIS | {"outcome.diagnosis.risk_start_days": ["90"]}),
            *("outcome.diagnosis.risk_start_days", "is after"),
        ),
        ("survival", {"outcome.kind": []}, "outcome.kind", "does not say what is predicted"),
        ("evaluate", NO_MODELS, "models", "no model is chosen"),
        ("evaluate", {"primary": ["svm"]}, "primary", "is not one of the models"),
        ("evaluate", {"clinical": []}, "clinical", "a feature set needs clinical variables"),
        ("evaluate", {"genes.source": ["none"]}, "genes.source", "but “Gene columns from” is none"),
        ("evaluate", {"explain": ["integrated-gradients"]}, "explain", "integrated gradients"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_by_its_label(
    analysis: str, change: Given, field: str, text: str
) -> None:
    given: Any = usual_form(analysis) | change
    with pytest.raises(FieldInvalid) as wrong:
        params_from(analysis, given)
    assert wrong.value.field == field
    assert text in str(wrong.value)
    assert "_" not in str(wrong.value)
    parts = with_problem(form_parts(analysis, given), wrong.value)
    html = "".join(
        rendering._TEMPLATES.get_template("part-form.html").module.show(p) for p in parts
    )
    name = field.replace(".", "-")
    assert html.count(f'id="{name}-problem"') == 1  # beside the field, which refers to it
    assert f'{name}-problem"' in html.replace(f'id="{name}-problem"', "")
    assert f'id="{name}"' in html  # where the message's link leads


FILE = "ab" * 32
OF_SERIES = OF_DIAGNOSIS | {
    "outcome.diagnosis.horizon_days": ["365"],
    "outcome.diagnosis.lookback_days": ["365"],
    "outcome.diagnosis.censoring": ["exclude"],
}


@pytest.mark.parametrize(
    ("change", "field", "text", "hint"),
    [
        (
            {"genes.source": ["gene-sets"], "genes.sets": [""]},
            *("genes.sets", "“Gene columns from” is gene activity, as means of gene sets, and no"),
            "choose a file here",
        ),
        (
            {"genes.sets": [FILE]},
            *("genes.sets", "a file of gene sets is chosen, and “Gene columns from” is gene activ"),
            "or no file here",
        ),
        (
            {"genes.source": ["gene-sets"], "genes.sets": ["no digest"]},
            *("genes.sets", "“File of gene sets” is none that the dataset has"),
            "one that is listed",
        ),
        (
            {"models.logistic": ["genes", "mirna"]},
            *("models", "not ticked under “Assays, each a kind of data of its own”"),
            "tick the assay there too",
        ),
        ({"assays": ["genes"]}, "assays", "the dataset has no such assay", "that are listed"),
        ({"assays": ["a b"]}, "assays", "the dataset has no such assay", "that are listed"),
        (
            {"models.lstm": ["series"]},
            *("series", "none is ticked under “Measurements over time”"),
            "tick a variable under “Of these variables”",
        ),
        (
            {"series.variables": ["steps_per_day"]},
            *("series", "what is predicted has none"),
            "choose “whether a diagnosis follows another” under “What is predicted”",
        ),
        (
            OF_SERIES | {"series.variables": ["steps_per_day"], "series.days": ["10"]},
            *("series.days", "“In so many days until the index diagnosis” is not 2 to 26 times “D"),
            "84 days in steps of 7",
        ),
        (
            OF_SERIES | {"series.variables": ["lobular"]},
            *("series", "is not measured over time"),
            "steps a day",
        ),
        (
            {"genes.encoder": ["autoencoder"], "genes.components": ["0"]},
            *(
                "genes.components",
                "“Components from” is an autoencoder, and “Components added to th",
            ),
            "ask for one or more",
        ),
        (
            {"outcome.kind": ["finding"], "outcome.finding.variable": [""]},
            *("outcome.finding.variable", "“The finding”: none is chosen", "choose one"),
        ),
        (
            {"explain": ["attention"]},
            *("explain", "“attention” does not fit “The model whose intervals count"),
            "“permutation importance” and “Shapley values”, which explain every model",
        ),
        ({"impute": ["x"]}, "impute", "“Missing values are filled by” is not knn", "change it"),
    ],
)
def test_problems_of_newer_boxes_name_them_as_the_page_does_and_what_to_do(
    change: Given, field: str, text: str, hint: str
) -> None:
    with pytest.raises(FieldInvalid) as wrong:
        params_from("evaluate", usual_form("evaluate") | change)
    assert wrong.value.field == field
    assert text in str(wrong.value)
    assert hint in wrong.value.hint
    for sentence in (str(wrong.value), wrong.value.hint):
        assert not re.search(r"_|\b(genes|series|outcome|assays)\.[a-z0-9]", sentence)
    parts = with_problem(form_parts("evaluate", usual_form("evaluate") | change), wrong.value)
    folded = [part for part in flattened(parts) if part.folds and not part.is_open]
    assert field not in {inner.name for part in folded for inner in flattened((part,))}


def flattened(parts: Sequence[FormPart]) -> list[FormPart]:
    return [flat for part in parts for flat in (part, *flattened(part.parts))]


def shown_form(browser: Browser, parts: Sequence[FormPart], width: int) -> Page:
    html = "".join(
        rendering._TEMPLATES.get_template("part-form.html").module.show(p) for p in parts
    )
    css = (rendering.Path(rendering.__file__).parent / "static" / "pages.css").read_text()
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_content(
        f'<html lang="en"><title>Form</title><style>{css}</style><main><h1>Form</h1><form '
        f'class="parameters">{html}</form></main></html>'
    )
    return page


@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_form_is_short_on_a_telephone_without_a_dictionary(
    browser: Browser, analysis: str
) -> None:
    page = shown_form(browser, with_variables(form_parts(analysis, None), None), 390)
    assert page.evaluate("document.documentElement.scrollHeight") < 4500
    sent = page.evaluate("[...new FormData(document.querySelector('form')).keys()]")
    assert set(sent) >= {name for name, values in usual_form(analysis).items() if values}
    page.close()


def test_what_is_folded_opens_by_keyboard_and_stands_open_where_it_holds_something(
    browser: Browser,
) -> None:
    given: Any = usual_form("evaluate") | {"fairness": ["grade"], "variants.min_depth": ["12"]}
    page = shown_form(browser, with_variables(form_parts("evaluate", given), None), 390)
    series = page.locator("[name='series.variables']").first
    least = page.get_by_label("Least depth")
    assert not series.is_visible()
    page.locator("summary", has_text="Measurements over time").focus()
    page.keyboard.press("Enter")
    assert series.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("[name='series.variables']:checked").count() == 1
    assert least.is_visible()  # it was changed
    assert page.locator("[name=fairness]:checked").is_visible()
    assert not page.locator("[name=fairness][value=bmi]").is_visible()
    page.locator("summary", has_text="others: Compare that model").click()
    assert page.locator("[name=fairness][value=bmi]").is_visible()
    page.close()


def test_filters_of_genotypes_fold_only_where_genes_are_not_variants() -> None:
    def folds(analysis: str, change: Given) -> bool:
        parts = form_parts(analysis, usual_form(analysis) | change)
        return next(part.folds for part in parts if part.name == "variants")

    assert folds("evaluate", {})
    assert not folds("evaluate", {"genes.source": ["variants"]})
    assert not folds("evaluate", {"variants.passed_only": []})
    assert not folds("associate", {})


def test_a_form_takes_measurements_over_time_and_an_autoencoder() -> None:
    usual: Any = usual_form("evaluate")
    assert "series" not in parameters_of(usual)
    assert "encoder" not in parameters_of(usual)["genes"]
    given = usual | {"series.variables": ["steps_per_day"], "series.days": ["56"]}
    with pytest.raises(FieldInvalid, match="end on the day of the index diagnosis"):
        params_from("evaluate", given)
    given |= {"genes.components": ["2"], "genes.encoder": ["autoencoder"]}
    given |= OF_DIAGNOSIS | {"outcome.diagnosis.censoring": ["exclude"]}
    asked = parameters_of(given)
    assert asked["series"] == {"variables": ["steps_per_day"], "days": 56, "step": 7}
    assert asked["genes"]["encoder"] == "autoencoder"
    lines = dict(run_text.describe(params_from("evaluate", given).decode()))
    assert lines["Measurements over time"].startswith("steps a day: the 56 days until")


def parameters_of(given: Given) -> Any:
    return json.loads(params_from("evaluate", given))


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("width", [390, 1280])
def test_a_form_with_a_problem_has_no_barrier(browser: Browser, analysis: str, width: int) -> None:
    given = usual_form(analysis) | {"strata": ["age_years"], "fairness": ["bmi"]}
    parts = with_problem(form_parts(analysis, given), FieldInvalid("cohort.age", "it is wrong"))
    page = shown_form(browser, parts, width)
    assert Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if analysis == "survival":  # the cut of a number is asked for once it is chosen
        cut = page.get_by_label("age at diagnosis is cut at (years)")
        assert cut.is_visible()
        page.get_by_label("age at diagnosis", exact=True).uncheck()
        assert not cut.is_visible()
    page.close()


def test_a_request_is_read_in_words_before_it_is_signed() -> None:
    given = usual_form("survival") | {"strata": ["er_positive", "age_years"]}
    described = dict(run_text.describe(params_from("survival", given).decode()))
    assert described["Curves of"] == (
        "all people, and by oestrogen receptor positive and by age at diagnosis: under 50 years, "
        "50 to under 65 years, 65 years or more"
    )
    assert described["People"] == "people of any age"
    assert described["Kinds of data that it needs"] == "findings and lab values"
    given = usual_form("evaluate") | {"fairness": ["grade"], "explain": ["shap-linear"]}
    params = params_from("evaluate", given).decode()
    described = dict(run_text.describe(params))
    assert described["Models"] == (
        "logistic on genes, on clinical data, on all data in one model, on all data, a model each"
    )
    assert described["Explained"] == "logistic on all data in one model, by linear SHAP"
    assert (
        described["Compared between groups"]
        == "logistic on all data in one model, by histological grade"
    )
    assert (
        "gene activity and other molecules of the tumour"
        in described["Kinds of data that it needs"]
    )
    for _, value in [*run_text.describe(params), *run_text.describe_all(params)]:
        assert "_" not in value
    assert run_text.describe("{}") == []


def test_gene_sets_components_and_assays_are_read_in_words() -> None:
    """What is signed by means of gene sets read as if it were about genes."""
    asked = {
        "outcome": {"kind": "finding", "variable": "lobular"},
        "genes": {"source": "gene-sets", "sets": "ab" * 32, "components": 2},
        "assays": ["mirna"],
        "models": {"logistic": ["combined"]},
    }
    described = dict(run_text.describe(complete(asked).decode()))
    assert "means of gene sets (of the file abababab…abab)" in described["Genes"]
    assert "and 2 components of all, by principal component analysis" in described["Genes"]
    assert described["Assays"] == "mirna"


def test_ten_times_365_days_are_ten_years() -> None:
    assert [words.duration(days) for days in (3650, 3652, 3660, 365, 90, 1)] == [
        *("10 years", "10 years", "3660 days", "1 year", "90 days", "1 day")
    ]
