"""What a machine tells a checker about an output: whatever is planted in it is named."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape
from quiet import OPEN_KEY

from analytics import association, evaluate, explanation_run, fairness_run, survival_run
from analytics.catalogue import MODELS
from analytics.disclosure import (
    clusters,
    counts,
    curves,
    explanations,
    fairness,
    record,
    rounding,
    scan,
    survival,
)
from analytics.disclosure.counts import STEPS, Counts
from analytics.disclosure.counts import Shown as Metrics
from analytics.kinship import REACHES
from analytics.params import complete, parse_params
from analytics.run import run
from analytics.simulate.rehearsal import invent
from analytics.variants import Variants
from api.pages import (
    output_arithmetic,
    output_numbers,
    output_places,
    output_vocabulary,
    rendering,
    result_view,
    reviews,
)
from api.pages.output_checks import RATE_STEP, OutputCheck, check_result

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
QUICK = {"outcome": OUTCOME, "folds": 2, "repeats": 2, "permutations": 19, "bootstraps": 0}
ASKED: dict[str, dict[str, Any]] = {
    "evaluate": QUICK
    | {
        "models": {"logistic": ["genes", "combined"]},
        "explain": ["permutation", "shap-linear", "shapley-groups"],
        "fairness": ["er_positive", "age_years:50:65"],
    },
    "survival": {
        "analysis": "survival",
        "outcome": OUTCOME,
        "strata": ["er_positive"],
        "permutations": 19,
        "bootstraps": 50,
    },
    "associate": {"analysis": "associate", "outcome": OUTCOME, "clinical": ["grade"]},
    "frequencies": {"analysis": "frequencies", "sites": ["1:1000:A>G"]},
    "clusters": {"analysis": "clusters", "outcome": OUTCOME, "references": 19, "resamples": 20},
}
SECRETS = (
    *("ada-lovelace-1815", "Ada Lovelace", "MRN 12345", "1961-03-12", "er_positive 7", "C50.9"),
    *("carries BRCA1 5382insC", "patient 7 relapsed", "7a" * 8, "svm/secret", "secret variants"),
)
ANY_CLASS, MINIMUM, PEOPLE = 0b1110, 10, 160


@cache
def computed(analysis: str) -> tuple[str, str, str]:
    """(parameters, result, disclosure record) of a real run on made-up people."""
    params = complete(ASKED[analysis])
    done = run(params, invent(parse_params(params), PEOPLE, 1), MINIMUM, noise_key=OPEN_KEY)
    return params.decode(), done.result.decode(), done.disclosure.decode()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document that is no list and no object."""
    if isinstance(value, dict | list):
        for at, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, at))
    else:
        yield path


def planted(analysis: str, path: tuple[Any, ...], value: Any) -> list[OutputCheck]:
    """The checks of an output with another value at one place of it."""
    params, *parts = computed(analysis)
    documents = copy.deepcopy([json.loads(part) for part in parts])
    holder: Any = documents
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return check_result(*documents, params, ANY_CLASS, MINIMUM, PEOPLE)


def places_of(analysis: str) -> list[tuple[Any, ...]]:
    return list(leaves([json.loads(part) for part in computed(analysis)[1:]]))


def names(checks: list[OutputCheck], text: str) -> bool:
    """Whether a check does not pass, or shows the text for a reader to judge."""
    return any(not check.passed or text in " ".join(check.places) for check in checks)


@pytest.mark.parametrize("analysis", list(ASKED))
def test_what_an_analysis_writes_passes(analysis: str) -> None:
    params, result, disclosure = computed(analysis)
    checks = check_result(
        json.loads(result), json.loads(disclosure), params, ANY_CLASS, MINIMUM, PEOPLE
    )
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("analysis", list(ASKED))
def test_a_secret_anywhere_in_an_output_is_named(analysis: str) -> None:
    """One of them in each place, in turn: those that stand beside each other get different ones."""
    missed = [
        (path, secret)
        for path, secret in zip(places_of(analysis), cycle(SECRETS), strict=False)
        if not names(planted(analysis, path, secret), secret)
    ]
    assert missed == []


# Any text with a sign that no name or reason of the program has: others may be one of them.
FOREIGN = st.tuples(st.text(), st.text()).map("¤".join)


@given(st.sampled_from(list(ASKED)), st.integers(0, 10**6), FOREIGN)
@settings(max_examples=300, deadline=None)
def test_any_text_anywhere_in_an_output_is_named(analysis: str, at: int, text: str) -> None:
    paths = places_of(analysis)
    assert names(planted(analysis, paths[at % len(paths)], text), text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(list(ASKED)), st.integers(0, 10**6), st.integers(0, 2), VALUES)
@settings(max_examples=200, deadline=None)
def test_no_output_breaks_the_checks(analysis: str, at: int, up: int, value: Any) -> None:
    paths = places_of(analysis)
    path = paths[at % len(paths)]
    assert planted(analysis, path[: max(2, len(path) - up)], value)


@pytest.mark.parametrize(
    ("analysis", "part"),
    [
        ("evaluate", (0, "analysis")),
        ("evaluate", (0, "rows", 0, "p")),
        ("evaluate", (0, "explanations", 0, "explanation")),
        ("evaluate", (0, "fairness", 0, "gaps", 0, "measure")),
        ("survival", (0, "rows", 0, "survival")),
        ("survival", (1, "withheld")),
        ("associate", (0, "rows", 0, "variant")),
    ],
)
def test_a_checker_reads_what_is_planted_even_where_nothing_can_be_drawn(
    analysis: str, part: tuple[Any, ...]
) -> None:
    """Above everything else, as text, and the page does not break."""
    secret = "<b>Ada Lovelace</b>"
    params, *parts = computed(analysis)
    documents = [json.loads(text) for text in parts]
    holder: Any = documents
    for step in part[:-1]:
        holder = holder[step]
    holder[part[-1]] = secret
    page = rendering._TEMPLATES.get_template("part-review-result.html").render(
        run={"outputs": [{"release": None}]},
        checks=check_result(*documents, params, ANY_CLASS, MINIMUM, PEOPLE),
        raw="",
        raw_disclosure="",
        **reviews._drawn(*documents),
    )
    named = page.index("&lt;b&gt;Ada Lovelace")
    assert page.index("not passed") < named < page.index("What only you can judge")
    assert secret not in page
    assert "Look at these first" in page


@pytest.mark.parametrize("analysis", list(ASKED))
def test_a_number_that_could_be_an_id_is_named(analysis: str) -> None:
    texts = cycle(("123456", "19610312", "1815", "0.123456", "1e99"))
    for path, text in zip(places_of(analysis), texts, strict=False):
        assert names(planted(analysis, path, text), text), (path, text)


@pytest.mark.parametrize("name", ["people", "events", "censored"])
def test_a_stratum_that_leaves_few_others_is_named(name: str) -> None:
    """The other one is withheld, and follows from the number of all."""
    params, *parts = computed("survival")
    result, disclosure = (json.loads(part) for part in parts)
    everybody, first, second = result["strata"]
    total = everybody.get(name, result["granted"])
    first[name] = total - 5
    second.pop(name)
    checks = check_result(result, disclosure, params, ANY_CLASS, MINIMUM, PEOPLE)
    assert [check for check in checks if not check.passed and "complement" in check.text]


@pytest.mark.parametrize("analysis", list(ASKED))
def test_places_are_named_as_the_page_names_them(analysis: str) -> None:
    """No name or path of the document is left: a checker reads tables."""
    _, *parts = computed(analysis)
    result, disclosure = (json.loads(part) for part in parts)
    paths = [".".join(map(str, path)) for path in leaves(result | {"disclosure": disclosure})]
    shown = output_places.in_words([OutputCheck("", False, tuple(paths))], result, disclosure)
    labels = dict(zip(paths, shown[0].places, strict=True))
    assert [label for label in labels.values() if re.search(r"_|[a-z]\.[a-z0-9]", label)] == []
    if analysis == "evaluate":
        assert labels["rows.0.auc"] == "the table, logistic on genes, AUC"
        assert labels["curves.0.roc.1.1"] == "curves, logistic on genes, ROC curve, no. 2, no. 2"
        assert labels["disclosure.people"] == "record of disclosure control, how many people"
    odd = OutputCheck("", False, ("patients.0.name: Ada", "rows.0.x_y: 1: 2", "a"))
    (named,) = output_places.in_words([odd], {"rows": 7, "a": ["ada"]}, {})
    assert named.places == ("patients, 0, name: Ada", "the table, 0, x_y: 1: 2", "a")


def test_an_emptied_record_is_named() -> None:
    checks = planted("evaluate", (1, "rules"), [])
    assert [check for check in checks if not check.passed and "says its rules" in check.text]


@pytest.mark.parametrize("analysis", list(ASKED))
def test_each_table_of_a_result_says_what_its_columns_mean(analysis: str) -> None:
    """Beside the table, folded where it is open: the model and the rounding as well."""
    _, *documents = computed(analysis)
    described = result_view.describe(*(json.loads(document) for document in documents))
    for shown in described["shown"]:
        assert [name for name, _ in shown.table.meanings] == shown.table.columns, shown.title
    page = rendering._TEMPLATES.get_template("part-review-result.html").render(
        run={"outputs": [{"release": None}]},
        checks=[],
        raw="",
        raw_disclosure="",
        drawn=True,
        **described,
    )
    first = described["shown"][0].table
    start, end = (
        page.index(f"<caption>{first.caption}"),
        page.index("</section>", page.index("<caption>")),
    )
    assert f'What the columns mean<span class="away">: {first.caption}' in page[start:end]
    for _, meaning in first.meanings:
        assert str(escape(meaning)) in page[start:end]


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ("genes", "with all data in one model instead of genes the AUC changes by +6 points"),
        ("clinical", "with all data in one model instead of clinical data the AUC changes by +6"),
    ],
)
def test_a_gain_is_a_sentence(over: str, sentence: str) -> None:
    gain = {"model": "svm", "feature_set": "combined", "over": over, "auc": 6, "interval": [-1, 9]}
    assert sentence in result_view._gain(gain)


def test_every_column_has_a_meaning() -> None:
    assert result_view._MEANINGS.keys() == result_view._COLUMNS.keys()


@pytest.mark.parametrize(("analysis", "part"), [("evaluate", "rows"), ("survival", "strata")])
def test_a_step_that_is_finer_than_its_people_allow_is_named(analysis: str, part: str) -> None:
    """Of 160 people, 1 % is fewer than two."""
    checks = planted(analysis, (0, part, 0, "step"), 1)
    wrong = [check for check in checks if not check.passed and "No step is finer" in check.text]
    assert wrong, checks
    assert wrong[0].places[0].startswith(f"{part}.0.step")


def test_a_name_that_only_a_reader_can_judge_is_shown_to_her() -> None:
    """A symbol is a name of a gene, or of a person: ADA is both."""
    paths = [path for path in places_of("evaluate") if path[-1] == "feature" and path[2] == 1]
    checks = planted("evaluate", paths[0], "ADA")
    assert all(check.passed for check in checks)
    assert any("ADA" in location for check in checks for location in check.places)
    assert any("only you can see" in check.text for check in checks)


@pytest.mark.parametrize(
    "name",
    [
        *("202240_at", "AFFX-BioB-5_at", "ILMN_1343291", "A_23_P1234", "ENSG00000012048.2", "672"),
        *("BRCA1", "HLA-DRB1", "C1orf112", "NM_007294.3"),
    ],
)
def test_usual_names_of_genes_have_a_form(name: str) -> None:
    assert output_vocabulary.PROBE.fullmatch(name)


def test_the_lists_are_those_of_the_program() -> None:
    """Repeated, since the web process does not load what computes."""
    assert output_vocabulary._MEASURES == fairness_run.MEASURES
    assert output_vocabulary._KINSHIPS == ("none", *REACHES)
    assert set(output_vocabulary._VERDICTS) == {
        *(fairness.TOO_FEW, fairness.NOT_SHOWN, fairness.HIGHER, fairness.LOWER)
    }
    assert output_vocabulary._NO_COMPONENTS == association.NO_COMPONENTS
    assert survival_run.NOT_REACHED == "not reached"
    assert {
        *(explanation_run.FEW_PROFILES, explanation_run.FEW_PEOPLE, explanation_run.OTHER_COLUMNS),
        fairness_run.WITHHELD,
    } <= output_vocabulary._REASONS
    assert output_numbers.ENOUGH_REACHED == evaluate.ENOUGH_REACHED
    assert output_vocabulary.METRIC_STEPS == STEPS
    assert output_vocabulary.SURVIVAL_STEPS == survival.STEPS
    assert output_vocabulary.CURVE_STEPS == curves.CURVE_STEPS
    assert output_vocabulary.GROUP_STEPS == fairness.GROUP_STEPS
    assert output_vocabulary.Z_STEPS == tuple(f"{step / 10:.1f}" for step in scan.Z_STEPS)
    assert output_vocabulary.EXPLANATION_STEPS == {
        "log-odds": tuple(f"{step / 100:g}" for step in explanations.SIZE_STEPS),
        "probability": tuple(f"{step:g}" for step in explanations.SIZE_STEPS),
        "share": tuple(f"{step:g}" for step in explanations.SIZE_STEPS),
        "auc": tuple(f"{step:g}" for step in explanations.LOSS_STEPS),
    }
    assert RATE_STEP == curves.CURVE_STEPS[0]
    assert output_vocabulary.LEAST_IN_STEP == {
        "evaluate": counts.LEAST_IN_STEP,
        "survival": survival.LEAST_IN_STEP,
        "clusters": clusters.LEAST_IN_STEP,
    }


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    """(analysis, record) with every reason that something is withheld or coarsened."""
    rows = [f"{model}/{kind}" for model in MODELS for kind in ("genes", "combined")]
    small, large = Counts(160, None, None), Counts(160, 130, 40)
    table = {name: Metrics(5, {"accuracy": 70}) for name in rows[1:]}
    curve = {"model": MODELS[0], "feature_set": "genes", "calibration": {"step": 20}}
    yield "evaluate", record.describe_metrics(small, {}, rows, [], 2, rows, True)
    yield "evaluate", record.describe_metrics(large, table, rows, [curve], 2)
    shown = survival.Shown(10, (), None, None, False)
    for regression in ((True, False), (False, False)):
        yield (
            "survival",
            record.describe_table(
                small, {"all": shown}, ["all", "er_positive 0"], regression, 2, True
            ),
        )
    sites = [{"variant": "1:1000:A>G", "step": 5, "frequency": 10}, {"variant": "1:1000:A>G"}]
    yield "frequencies", record.describe_genomic(small, 2, 3, 20, sites)
    hit = {"variant": "1:1000:A>G", "step": "0.5"}
    for printed in ({}, {"inflation": "1.0"}):
        scanned = {"rows": [hit], **printed}
        yield "associate", record.describe_genomic(small, 2, 3, 20, scan=scanned)


@pytest.mark.parametrize(("analysis", "written"), list(records()))
def test_every_reason_is_known(analysis: str, written: dict[str, Any]) -> None:
    asked = ASKED[analysis]
    if analysis == "evaluate":
        asked = QUICK | {"models": {name: ["genes", "combined"] for name in MODELS}}
    params = complete(asked)
    result = {"rows": [{"variant": "1:1000:A>G"}]}
    unknown = output_vocabulary.unknown_texts(
        result, written, parse_params(params), params.decode()
    )
    assert [text for text in unknown if text[0].startswith("disclosure")] == []


PARAMS = complete(QUICK | {"models": {"svm": ["genes"]}}).decode()
RESULT = {
    "type": "volens/result/3",
    "analysis": "evaluate",
    "params": hashlib.sha256(PARAMS.encode()).hexdigest(),
    "granted": 120,
    "people": 110,
    "events": 30,
    "rows": [{"model": "svm", "feature_set": "genes", "auc": 71, "accuracy": 70}],
    "curves": [
        {
            "model": "svm",
            "feature_set": "genes",
            "roc": [[0, 0], [20, 45], [40, 65], [60, 85], [80, 100], [100, 100]],
            "calibration": {"slope": "0.9", "step": 5, "groups": [[20, 20], [45, 50]]},
        }
    ],
}


def curve(**parts: object) -> dict[str, object]:
    return {"curves": [{"model": "svm", "feature_set": "genes", **parts}]}


RECORD = {
    "type": "volens/disclosure/1",
    "statistic_class": "metrics",
    "people": 120,
    "rules": [{"rule": "small counts", "at_least": 10}],
    "withheld": [{"what": "f1: svm/genes", "why": "fewer than 10 people are called positive"}],
}


@pytest.mark.parametrize("part", [{"patients": ["ada"]}, {"withheld": [{"why": "5e" * 32}]}])
def test_what_is_planted_in_the_disclosure_record_is_shown_too(part: dict[str, object]) -> None:
    """It leaves with the result."""
    checks = check_result(RESULT, RECORD | part, PARAMS, 2, 20, 120)
    assert [check for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"events": 3}, "below 10"),
        ({"events": 33}, "rounded to 5"),
        ({"people": "7"}, "below 10"),
        ({"granted": 12}, "At least 20"),
        ({"patients": ["ada"]}, "nothing that this analysis does not write"),
        ({"rows": [{"model": "5e" * 32, "auc": 71}]}, "id"),
        ({"rows": [{"model": "svm", "auc": "71.4285714"}]}, "digits that count"),
        ({"people": 180, "events": 175}, "complement"),
        ({"rows": [{"model": "svm", "step": 5, "accuracy": 81}]}, "multiples of"),
        ({"rows": [{"model": "svm", "step": 3, "accuracy": 81}]}, "rules of disclosure control"),
        ({"rows": [{"model": "ada-lovelace-1815"}]}, "every other text"),
        ({"params": "0" * 64}, "every other text"),
        ({"inflation": "x" * 81}, "long enough to hold a record"),
        # A step for each of 80 people without the event, and for each of 30 with it.
        (curve(roc=[[at, min(100, at + 20)] for at in range(101)]), "at least 10 people"),
        (curve(roc=[[0, 0], [5, 30], [10, 45], [100, 100]]), "at least 10 people"),
        (curve(pr=[[at, 80] for at in range(0, 101, 5)]), "at least 10 people"),
        (curve(roc=[[0, 0], [20, 43], [100, 100]]), "steps of at least 5 %"),
        (curve(roc=[[0, 0], [20, "43.3"], [100, 100]]), "steps of at least 5 %"),
        (curve(calibration={"groups": [[20, 17], [45, 50]]}), "steps of at least 5 %"),
        (curve(calibration={"groups": [[20, 0], [45, 50]]}), "0 or 100 %"),
        (curve(calibration={"groups": [[20, 15], [45, 100]]}), "0 or 100 %"),
        ({"baseline": 100}, "0 or 100 %"),
        ({"strata": [{"stratum": "all", "risk": 100}]}, "0 or 100 %"),
        ({"fairness": [{"gaps": [{"measure": "tpr", "gap": -100}]}]}, "0 or 100 %"),
        ({"rows": [{"model": "svm", "recall": 0}]}, "0 or 100 %"),
        ({"rows": [{"variant": "1:1:A>G", "frequency": 100}]}, "0 or 100 %"),
    ],
)
def test_what_is_planted_in_an_output_is_shown_first(
    part: dict[str, object], sentence: str
) -> None:
    assert all(check.passed for check in check_result(RESULT, RECORD, PARAMS, 2, 20, 120))
    checks = check_result(RESULT | part, RECORD, PARAMS, 2, 20, 120)
    assert [check.text for check in checks if not check.passed and sentence in check.text]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({}, "curves.0.roc.4: 100"),
        ({"rows": [{"model": "svm", "auc": 100}]}, "rows.0.auc: 100"),
        ({"rows": [{"model": "svm", "auc": 71, "auc_interval": [55, 100]}]}, "auc_interval: 100"),
    ],
)
def test_a_100_that_may_be_is_named_beside_the_sentence_about_shares(
    part: dict[str, object], named: str
) -> None:
    (check,) = [
        check
        for check in check_result(RESULT | part, RECORD, PARAMS, 2, 20, 120)
        if "0 or 100 %" in check.text
    ]
    assert check.passed
    assert "an end of an interval" in check.text
    assert any(named in location for location in check.places)


def test_an_output_of_another_class_is_shown_first() -> None:
    params = complete(ASKED["associate"]).decode()
    checks = check_result(RESULT, RECORD, params, 2, 20, 120)
    assert "It is of a class that the permit allows." in [
        check.text for check in checks if not check.passed
    ]


def test_parameters_that_cannot_be_read_pass_nothing() -> None:
    failed = [c.text for c in check_result(RESULT, RECORD, "{}", 2, 20, 120) if not c.passed]
    assert len(failed) == 2


def first_of(analysis: str, *names: str) -> tuple[Any, ...]:
    """The path of the first place with these names in a result, whatever positions lie between."""
    return next(
        (0, *path)
        for path in leaves(json.loads(computed(analysis)[1]))
        if tuple(name for name in path if isinstance(name, str)) == names
    )


@pytest.mark.parametrize(
    ("analysis", "names", "value"),
    [
        ("evaluate", ("rows", "auc"), 94.37),
        ("evaluate", ("rows", "auc_interval"), 91.31),
        ("evaluate", ("rows", "net_benefit"), 380),
        ("evaluate", ("baseline",), 52.17),
        ("evaluate", ("gains", "interval"), -3.71),
        ("evaluate", ("fairness", "gaps", "interval"), -13.1),
        ("evaluate", ("rows", "permutations"), 20),
        ("evaluate", ("rows", "permutations"), 9),
        ("evaluate", ("rows", "p"), "0"),
        ("evaluate", ("rows", "p"), "0.04"),
        ("evaluate", ("rows", "p"), 0.05),
        ("survival", ("concordance", "p"), "0.01"),
        ("associate", ("rows", "step"), "1.0"),
        ("clusters", ("p",), "0.02"),
        ("clusters", ("p",), "0.00"),
        ("evaluate", ("params",), 1234567),
        ("evaluate", ("threshold",), 61),
        ("survival", ("rows", "days"), 1823),
        ("survival", ("strata", "median"), 1789),
        ("survival", ("strata", "risk"), 51.7),
        ("survival", ("concordance", "c_index"), 75.31),
        ("survival", ("strata", "stratum"), 7),
        ("frequencies", ("rows", "frequency"), True),
    ],
)
def test_a_number_that_the_analysis_does_not_print_is_named(
    analysis: str, names: tuple[str, ...], value: Any
) -> None:
    """One with a fraction, of a day in between, of more draws than were asked for, or as an id."""
    path = first_of(analysis, *names)
    assert [check for check in planted(analysis, path, value) if not check.passed]


@pytest.mark.parametrize(
    ("analysis", "change"),
    [
        ("evaluate", {"quantiles": [12, 55]}),
        ("evaluate", {"median": 61}),
        ("evaluate", {"components": 3}),
        ("survival", {"silhouette": 20}),
        ("survival", {"profiles": [{"cluster": 1}]}),
        ("frequencies", {"auc": 94}),
        ("survival", {"strata": [{"stratum": "all", "people": 90, "events": 85}]}),
        ("survival", {"strata": [{"stratum": "all", "people": 90, "events": 90}]}),
    ],
)
def test_a_known_name_that_belongs_elsewhere_is_named(
    analysis: str, change: dict[str, Any]
) -> None:
    params, result, disclosure = computed(analysis)
    checks = check_result(
        json.loads(result) | change, json.loads(disclosure), params, ANY_CLASS, MINIMUM, PEOPLE
    )
    assert [check for check in checks if not check.passed]


def test_a_row_that_stands_twice_is_named() -> None:
    params, result, disclosure = computed("evaluate")
    document = json.loads(result)
    document["rows"].append(document["rows"][0])
    checks = check_result(document, json.loads(disclosure), params, ANY_CLASS, MINIMUM, PEOPLE)
    assert [check for check in checks if not check.passed]


@pytest.mark.parametrize(
    "change",
    [
        {"flow": ["Ada"]},
        {"flow": [{"rule": "age"}]},
        {"variants": {"left_out": [{"why": "Ada"}]}},
        {"variants": 3},
    ],
)
def test_an_output_whose_parts_are_none_of_ours_is_shown_with_its_checks(
    change: dict[str, Any],
) -> None:
    """The page is drawn without it, instead of failing after the checks have seen it."""
    params, result, disclosure = computed("evaluate")
    documents = json.loads(result) | change, json.loads(disclosure)
    checks = check_result(*documents, params, ANY_CLASS, MINIMUM, PEOPLE)
    drawn = reviews._drawn(*documents)
    assert [check for check in checks if not check.passed]
    assert drawn == {"drawn": False}


FEW = "No share stands for fewer than 10 people, or for all but fewer."


@pytest.mark.parametrize(
    ("analysis", "path", "value", "named"),
    [
        (
            "frequencies",
            ("rows", 0, "frequency"),
            1,
            "rows.0.frequency: 1 % of at most 320 alleles",
        ),
        ("frequencies", ("rows", 0, "frequency"), 97, "rows.0.frequency: 97 % of at most 160 peo"),
        ("evaluate", ("baseline",), 98, "baseline: 98 % of at most 160 people"),
        ("survival", ("strata", 1, "risk"), 1, "strata.1.risk: 1 % of at most "),
        ("survival", ("calibration", "groups", 0), [60, 5], "calibration.groups.0: 5 % of at mos"),
    ],
)
def test_a_share_of_fewer_than_ten_people_is_named(
    analysis: str, path: tuple[Any, ...], value: Any, named: str
) -> None:
    checks = planted(analysis, (0, *path), value)
    (few,) = [check for check in checks if check.text == FEW]
    assert not few.passed
    assert any(location.startswith(named) for location in few.places), few.places


@pytest.mark.parametrize(
    ("analysis", "name", "value", "named"),
    [
        ("survival", "survival", 95, "rows.0.survival: 95 %, about 8 of 160 people"),
        ("evaluate", "recall", 90, "rows.0.recall: 90 %, about 8 of "),
        ("evaluate", "accuracy", 95, "rows.0.accuracy: 95 %, about 8 of 160 people"),
    ],
)
def test_a_share_of_few_that_the_rules_let_stand_is_shown_to_a_reader(
    analysis: str, name: str, value: int, named: str
) -> None:
    checks = planted(analysis, (0, "rows", 0, name), value)
    (few,) = [check for check in checks if "only you can judge" in check.text]
    assert few.passed
    assert any(location.startswith(named) for location in few.places), few.places


@pytest.mark.parametrize("value", [0, 5])
def test_nobody_at_risk_is_a_small_count_too(value: int) -> None:
    checks = planted("survival", (0, "rows", 0, "at_risk"), value)
    assert [check for check in checks if not check.passed and "below 10" in check.text]


@pytest.mark.parametrize(
    ("analysis", "path", "value", "named"),
    [
        ("evaluate", ("rows", 0, "auc"), 71, "rows.0.auc: 71, and its interval"),
        ("evaluate", ("gains", 0, "auc"), 11, "gains.0.auc: 11, and its rows have"),
        ("evaluate", ("gains", 0, "over"), "clinical", "gains.0.auc"),
        ("evaluate", ("rows", 0, "accuracy"), 85, "rows.0.accuracy: 85"),
        ("evaluate", ("rows", 0, "precision"), 80, "rows.0.precision: 80"),
        ("evaluate", ("rows", 0, "f1"), 65, "rows.0.f1: 65"),
        ("evaluate", ("rows", 0, "net_benefit"), 30, "rows.0.net_benefit: 30"),
        ("evaluate", ("fairness", 0, "gaps", 0, "gap"), 40, "fairness.0.gaps.0.gap"),
        ("survival", ("rows", 1, "survival"), 90, "rows.1.survival"),
        ("survival", ("rows", 1, "at_risk"), 155, "rows.1.at_risk: 155 after "),
        ("survival", ("rows", 1, "censored"), 5, "rows.1.censored: 5 after "),
        ("survival", ("strata", 0, "median"), "not reached", ""),
        ("survival", ("strata", 0, "median"), 365, "strata.0.median: 365"),
        ("survival", ("concordance", "c_index"), 90, "concordance.c_index: 90"),
        ("evaluate", ("curves", 0, "roc"), [[40, 60], [60, 20]], "curves.0.roc.1"),
        ("evaluate", ("curves", 0, "roc"), [[40, 20], [20, 60]], "curves.0.roc.1"),
        ("associate", ("quantiles",), [["2.0", "1.0"], ["1.0", "2.0"]], "quantiles.1"),
        (
            "associate",
            ("quantiles",),
            [[f"{n}.0", "0.0"] for n in range(30, 0, -1)],
            "quantiles.20",
        ),
        ("frequencies", ("rows", 0, "frequency"), 3, "rows.0.frequency: 3 %, and"),
        ("associate", ("rows", 0, "p"), "0.0e+00", "rows.0.p: 0.0e+00, and z is"),
        ("associate", ("rows", 0, "z"), "1.0", "rows.0.p"),
    ],
)
def test_numbers_that_contradict_each_other_are_named(
    analysis: str, path: tuple[Any, ...], value: Any, named: str
) -> None:
    (agree,) = [c for c in planted(analysis, (0, *path), value) if "agree:" in c.text]
    assert agree.passed is (not named)
    assert not named or any(location.startswith(named) for location in agree.places), agree.places


@pytest.mark.parametrize(("at", "name"), [(0, "granted"), (1, "people")])
def test_people_that_differ_from_the_ledger_are_named(at: int, name: str) -> None:
    """In the result, or in the record that leaves with it."""
    checks = planted("evaluate", (at, name), PEOPLE - 1)
    assert [c for c in checks if not c.passed and f"as opened: {PEOPLE}." in c.text]


@given(st.integers(1, 99), st.integers(1, 99), st.integers(15, 85), st.sampled_from((1, 2, 5)))
@settings(max_examples=300, deadline=None)
def test_metrics_of_one_table_never_contradict_each_other(
    recall: int, alarm: int, share: int, step: int
) -> None:
    """Whatever a model gets right, as disclosure control prints it."""
    recalled, called, rate = recall / 100, alarm / 100, share / 100
    positives, alarms = recalled * rate, called * (1 - rate)
    metrics = {
        "accuracy": positives + 1 - rate - alarms,
        "precision": positives / (positives + alarms),
        "recall": recalled,
        "f1": 2 * positives / (positives + alarms + rate),
        "balanced_accuracy": (recalled + 1 - called) / 2,
    }
    row: dict[str, Any] = {
        name: counts.inner_percent(value, step) for name, value in metrics.items()
    }
    row |= {"step": step, "net_benefit": counts.percent(rate * (recalled - called), step)}
    baseline = counts.inner_percent(max(rate, 1 - rate))
    printed = {"granted": 1000, "events": 10 * share, "baseline": baseline, "rows": [row]}
    assert output_arithmetic.contradictions(printed) == []


def stack_of_one() -> Variants:
    nothing = np.empty(0)
    return Variants(("1:1000:A>G",), nothing, nothing, nothing, nothing, ())


def test_a_checker_counts_as_many_quantiles_as_a_scan_prints() -> None:
    assert output_arithmetic.MOST_QUANTILES == association.QUANTILES


@pytest.mark.parametrize("asked", [19, 39, 99, 1000])
def test_each_p_that_permutations_give_is_one_that_a_checker_expects(asked: int) -> None:
    params = parse_params(complete(ASKED["survival"] | {"permutations": asked}))
    for every in range(1, asked + 1):  # so many permutations in a row reach nothing, then all do
        p, made = evaluate.sequential_p(
            lambda number, first=every: float(number >= first), 1.0, asked, lambda _: None
        )
        printed = {"concordance": {"p": rounding.print_p(p), "permutations": made}}
        assert output_numbers.unexpected(printed, params) == []
    printed["concordance"]["p"] = rounding.print_p(0.5 / (asked + 1))
    assert output_numbers.unexpected(printed, params)


def test_the_p_of_each_z_is_one_that_a_checker_expects() -> None:
    variants = stack_of_one()
    for shown in range(-600, 601):
        row = association._describe_row(variants, association.Hit(0, 1, shown))
        assert output_arithmetic.contradictions({"rows": [row]}) == [], row


@pytest.mark.parametrize("variants", [10, 60, 300, 5000])
def test_the_quantiles_of_a_scan_of_any_size_agree(variants: int) -> None:
    """Rounded to one decimal, two that follow each other may be alike."""
    printed = association._quantiles(np.random.default_rng(3).normal(size=variants), 0)
    assert output_arithmetic.contradictions({"quantiles": printed}) == []
