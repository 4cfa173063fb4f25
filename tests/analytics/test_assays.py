"""Assays and gene sets in runs: known truth, what a fold may see, and what leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quiet import NOISE_KEY, OPEN_KEY
from scipy.special import expit

from analytics.cohort import (
    Cohort,
    Member,
    Person,
    choose_members,
    expression_matrix,
    select_people,
)
from analytics.disclosure.noise import Noise
from analytics.errors import CohortTooSmall, InputsError, ParamsError
from analytics.features import SetMeans
from analytics.kinship import NOBODY
from analytics.models.pipeline import build_model
from analytics.models.registry import Block, Blueprint
from analytics.params import Params, complete, parse_params
from analytics.people import Input, read_people
from analytics.prediction import FeatureSets, Part, _members, evaluate_rows
from analytics.readers.assays import write_assay
from analytics.readers.expression import write_expression
from analytics.readers.fhir import bundle_of, split_bundle
from analytics.readers.gene_sets import GeneSets
from analytics.run import run
from analytics.simulate.rehearsal import invent, invent_gene_sets
from analytics.vocabulary import Category, OutputClass
from api.pages.output_checks import check_result

Floats = NDArray[np.float64]
QUICK: dict[str, Any] = {
    "outcome": {"kind": "finding", "variable": "er_positive"},
    "clinical": [],
    "folds": 2,
    "repeats": 2,
    "permutations": 19,
    "bootstraps": 0,
}
ASSAYED = QUICK | {
    "genes": {"source": "none"},
    "assays": ["methylation", "mirna"],
    "models": {"logistic": ["methylation", "mirna", "combined", "fused"]},
}
SETS = QUICK | {
    "genes": {"source": "gene-sets", "sets": "ab" * 32},
    "models": {"logistic": ["genes"]},
}


def parsed(*changes: dict[str, Any]) -> Params:
    document: dict[str, Any] = {}
    for change in changes:
        document |= change
    return parse_params(complete(document))


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"models": {"logistic": ["images"]}}, "neither a usual one nor one of assays"),
        (
            {"assays": ["genes"], "models": {"logistic": ["combined"]}},
            "a feature set or source already",
        ),
        ({"assays": []}, "assays"),
        ({"assays": ["mirna", "mirna"]}, "assays"),
        ({"models": {"logistic": ["genes"]}}, "genes.source is none"),
        ({"models": {"logistic": ["clinical"]}}, "clinical is empty"),
        ({"assays": ["mirna"], "models": {"logistic": ["fused"]}}, "genes.source is none"),
        ({"genes": {"source": "variants", "select": "chi2"}}, "assays have none"),
        ({"genes": {"source": "gene-sets"}}, "genes.sets is the sha256"),
        ({"genes": {"source": "expression", "sets": "ab" * 32}}, "genes.sets is the sha256"),
        ({"genes": {"source": "gene-sets", "sets": "AB" * 32}}, "genes.sets is not"),
        ({"outcome": {"kind": "finding", "variable": "grade"}}, "not a variable that is yes or no"),
        ({"outcome": {"kind": "finding", "variable": "metastasis"}}, "not a variable that is yes"),
        ({"clinical": ["er_positive"]}, "is among clinical, strata or fairness"),
        ({"fairness": ["er_positive"]}, "is among clinical, strata or fairness"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ParamsError, match=what):
        parsed(ASSAYED, change)


def test_what_a_run_needs_and_examines() -> None:
    params = parsed(ASSAYED, {"explain": ["shap-linear"]})
    assert params.models[0][1] == ("methylation", "mirna", "combined", "fused")
    assert (params.gene_source, params.used_assays) == ("none", ("methylation", "mirna"))
    assert params.categories == (Category.OBSERVATIONS, Category.EXPRESSION)
    assert params.examined_groups == ("methylation", "mirna")
    # Names of an assay's columns are statistics of each.
    assert params.output_class == OutputClass.GENOMIC
    alone = parsed(ASSAYED, {"models": {"logistic": ["mirna"]}})
    assert (alone.used_assays, alone.examined_feature_set) == (("mirna",), "mirna")
    assert parsed(SETS).gene_source == "expression"
    # Of the usual variables those are left that are not the outcome.
    usual = json.loads(complete({"outcome": QUICK["outcome"]}))
    assert usual["clinical"] == ["age_years", "grade", "size_mm"]


# --- known truth ----------------------------------------------------------------------------------


def simulated(seed: int, people: int = 300) -> tuple[FeatureSets, NDArray[np.int64]]:
    """Two assays that each tell a part of the outcome, and one that is noise."""
    draw = np.random.default_rng(seed)
    latent = draw.normal(size=(2, people))
    event = (draw.random(people) < expit(1.6 * latent.sum(axis=0))).astype(np.int64)
    parts = []
    for at, name in enumerate(("rna", "methylation", "noise")):
        x = draw.normal(size=(people, 30))
        if name != "noise":
            x[:, :3] += 1.5 * latent[at][:, None]
        names = tuple(f"{name}:C{column}" for column in range(30))
        parts.append(Part(name, x, names, Block(30)))
    nothing = np.empty((people, 0))
    return FeatureSets(nothing, nothing, (), assays=tuple(parts)), event


def aucs_of(feature_sets: FeatureSets, event: NDArray[np.int64], *chosen: str) -> dict[str, float]:
    asked = {"assays": ["rna", "methylation", "noise"], "models": {"logistic": list(chosen)}}
    params = replace(parsed(ASSAYED, asked), permutations=1, folds=3)
    rows = evaluate_rows(event, feature_sets, params, "cpu", lambda *_: None)
    return {row.feature_set: row.scores.auc for row in rows}


def test_fused_assays_tell_no_less_than_the_best_of_them() -> None:
    names = ("rna", "methylation", "noise", "combined", "fused")
    cohorts = [aucs_of(*simulated(seed), *names) for seed in range(2)]
    aucs = {name: float(np.mean([cohort[name] for cohort in cohorts])) for name in names}
    best = max(aucs["rna"], aucs["methylation"])
    assert best > 0.65
    assert aucs["fused"] >= best - 0.01
    assert aucs["combined"] > best  # they tell different parts


def test_an_assay_of_noise_tells_nothing() -> None:
    """Of many people: of few, noise goes with an outcome by chance, in every fold alike."""
    assert aucs_of(*simulated(1, 2000), "noise")["noise"] == pytest.approx(0.5, abs=0.06)


# --- gene sets ------------------------------------------------------------------------------------


def test_a_set_is_the_mean_z_of_its_genes_by_the_training_people_alone() -> None:
    draw = np.random.default_rng(1)
    genes = tuple(f"G{number}" for number in range(12))
    x = draw.normal(5, 2, (200, 12))
    x[draw.random(x.shape) < 0.05] = np.nan
    sets: GeneSets = {"S_ONE": genes[:6], "S_TWO": (*genes[4:], "UNKNOWN"), "S_FEW": genes[:4]}
    names, members, left_out = _members(sets, genes)
    assert (names, left_out) == (("S_ONE", "S_TWO"), 1)
    train, test = x[:150], x[150:]
    known = [np.sort(column[~np.isnan(column)]) for column in train.T]
    cut = [np.clip(column, column[9], column[-10]) for column in known]
    z = np.stack(
        [
            (np.clip(values, column[9], column[-10]) - within.mean()) / within.std()
            for values, column, within in zip(test.T, known, cut, strict=True)
        ],
        axis=1,
    )
    expected = np.column_stack([np.nanmean(z[:, :6], axis=1), np.nanmean(z[:, 4:], axis=1)])
    np.testing.assert_allclose(SetMeans(members).fit(train).transform(test), expected)
    # The same within a model: one whose held-out people are shifted differs in nothing it has
    # learnt.
    y = np.arange(150) % 2
    blueprint = Blueprint(
        "logistic", 12, 0, "f", 2, 0, "median", "z-score", 1, blocks=(Block(12, members),)
    )
    fitted = build_model(blueprint).fit(train, y)
    part, _ = fitted.named_steps["columns"].fitted_[0]
    means = part.named_steps["sets"].scaler_.scaler_.mean_
    np.testing.assert_allclose(means, [within.mean() for within in cut])


def test_no_set_has_enough_measured_genes() -> None:
    with pytest.raises(InputsError, match="no gene set has 5 genes that are measured"):
        _members({"S_FEW": ("G1", "G2", "G3", "G4")}, ("G1", "G2", "G3", "G4"))


# --- whole runs -----------------------------------------------------------------------------------


def finding_records(subject: str, positive: bool) -> list[Input]:
    bundle = bundle_of(
        subject,
        gender="female",
        birth_year=1960,
        observations=[("er_positive", float(positive), None)],
    )
    parts = split_bundle(bundle, subject).records
    return [Input(subject, category, payload) for category, payload in parts.items()]


@pytest.fixture(scope="module")
def people() -> list[Input]:
    """120 people with an expression record of 40 genes, of whom 115 have an assay as well. The
    first ten genes go with the finding.
    """
    draw, inputs = np.random.default_rng(5), []
    for number in range(120):
        subject, positive = f"{number + 1:064x}", bool(number % 2)
        values = draw.normal(8, 1, 40) + positive * (np.arange(40) < 10)
        genes = {f"GENE{at}": f"{value:.3f}" for at, value in enumerate(values)}
        inputs += finding_records(subject, positive)
        inputs.append(Input(subject, Category.EXPRESSION, write_expression(genes)))
        if number < 115:
            assay = write_assay("mirna", {f"hsa-mir-{at}": genes[f"GENE{at}"] for at in range(20)})
            inputs.append(Input(subject, Category.EXPRESSION, assay))
    return inputs


def checked(document: dict[str, Any], inputs: list[Input], **more: Any) -> dict[str, Any]:
    """A run's result, after what a machine checks of an output found nothing."""
    params = complete(document)
    made = run(params, inputs, 10, noise_key=OPEN_KEY, **more)
    result, disclosure = json.loads(made.result), json.loads(made.disclosure)
    checks = check_result(result, disclosure, params.decode(), 0b1110, 10, result["granted"])
    assert [
        check for check in checks if not check.passed and "permit wants" not in check.text
    ] == []
    shown: dict[str, Any] = result
    return shown


def test_gene_sets_are_explained_by_their_names(people: list[Input]) -> None:
    sets: GeneSets = {
        "TRUE_SET": tuple(f"GENE{at}" for at in range(10)),
        "OTHER_SET": tuple(f"GENE{at}" for at in range(10, 30)),
        "SMALL_SET": ("GENE1", "GENE2", "GENE3", "GENE4", "ELSEWHERE"),
    }
    asked = SETS | {"explain": ["shap-linear", "permutation"]}
    result = checked(asked, people, gene_sets=sets)
    assert result["gene_sets"] == {"used": 2, "left_out": 1}
    assert result["outcome"] == {"kind": "finding", "variable": "er_positive"}
    assert result["rows"][0]["auc"] > 80
    by_name = {part["explanation"]: part["features"] for part in result["explanations"]}
    assert by_name["permutation"][0]["feature"] == "genes"
    assert {row["feature"] for row in by_name["shap-linear"]} <= sets.keys()


def test_sets_are_charged_as_genes_are(people: list[Input]) -> None:
    """A set's mean says of a person what a gene's value says: its name costs as much."""
    sets: GeneSets = {
        f"SET_{at}": tuple(f"GENE{(at + n) % 40}" for n in range(5)) for at in range(40)
    }
    asked = complete(SETS | {"explain": ["shap-linear"], "genes": SETS["genes"] | {"keep": 40}})
    of_sets = run(asked, people, 10, noise_key=NOISE_KEY, gene_sets=sets)
    assert (of_sets.output_class, of_sets.statistics >= 1) == (OutputClass.GENOMIC, True)


@pytest.mark.parametrize("sets", [None, {"SET_A": ("GENE1",)}], ids=["absent", "too many"])
def test_a_run_has_the_gene_sets_that_it_names_or_none(
    people: list[Input], sets: GeneSets | None
) -> None:
    asked = SETS if sets is None else ASSAYED
    with pytest.raises(InputsError, match="gene sets"):
        run(complete(asked), people, 10, noise_key=NOISE_KEY, gene_sets=sets)


def test_assays_beside_genes_and_who_lacks_one_is_left_out(people: list[Input]) -> None:
    asked = QUICK | {
        "genes": {"source": "expression", "components": 2},
        "assays": ["mirna"],
        "models": {"logistic": ["mirna", "combined"]},
        "explain": ["shap-linear", "shapley-groups"],
    }
    result = checked(asked, people)
    assert [row["feature_set"] for row in result["rows"]] == ["mirna", "combined"]
    assert [(gain["feature_set"], gain["over"]) for gain in result["gains"]] == [
        ("combined", "mirna")
    ]
    groups = {row["feature"] for row in result["explanations"][1]["features"]}
    assert groups == {"genes", "mirna"}
    params = parsed(asked)
    persons = read_people(people, params.gene_source, params.used_assays)
    cohort = select_people(
        persons, params.cohort, params.outcome, params.gene_source, 1, assays=params.used_assays
    )
    assert (len(persons), cohort.people) == (120, 115)
    assayed = asked | {"assays": ["proteins"], "models": {"logistic": ["proteins"]}, "explain": []}
    with pytest.raises(CohortTooSmall):
        run(complete(assayed), people, 10, noise_key=NOISE_KEY)


def test_a_column_of_two_assays_is_told_apart() -> None:
    feature_sets, _ = simulated(1, 40)
    names = feature_sets.columns("combined").names
    assert len(set(names)) == len(names) == 90
    assert feature_sets.columns("noise").together == (("noise", 30, 30),)


def test_two_records_of_one_assay_are_refused(people: list[Input]) -> None:
    assay = next(item for item in people if item.payload.startswith(b'{"assay"'))
    with pytest.raises(InputsError, match="two records of one assay"):
        read_people([*people, assay], "none", ["mirna"])


def test_what_was_not_read_still_tells_who_was_in_an_earlier_run(people: list[Input]) -> None:
    """A scan that reads genomes compares its people with those of a run on expression or assays."""
    for person in read_people(people, "none"):
        assert person.assays == {}
        assert person.kinds >= {"expression"}
    assert sum("mirna" in person.kinds for person in read_people(people, "variants")) == 115
    params = parsed(QUICK, {"models": {"logistic": ["genes"]}})
    unread = read_people(people, "variants")
    then, _ = choose_members(unread, params.cohort, params.outcome, params.gene_source, NOBODY)
    assert len(then) == 120


def test_no_single_person_decides_whether_a_column_is_used() -> None:
    """Half of forty people have it: by the exact number, one more or less would be seen in the
    number of measured gene sets.
    """
    persons = [
        Person(f"{at:064x}", None, {"A": 1.0} | ({"B": 1.0} if at < 20 else {})) for at in range(40)
    ]
    cohort = Cohort(tuple(Member(person, None, None) for person in persons), (), 40)
    used = {expression_matrix(cohort, Noise(bytes([key]) * 32))[1] for key in range(20)}
    assert used == {("A",), ("A", "B")}
    assert expression_matrix(cohort)[1] == ("A", "B")


def test_what_everybody_has_is_shared_in_a_small_cohort_too() -> None:
    persons = [Person(f"{at:064x}", None, {"A": 1.0}) for at in range(10)]
    cohort = Cohort(tuple(Member(person, None, None) for person in persons), (), 10)
    for key in range(40):
        assert expression_matrix(cohort, Noise(bytes([key]) * 32))[1] == ("A",)


@pytest.mark.parametrize("asked", [ASSAYED, SETS], ids=["assays", "gene sets"])
def test_a_rehearsal_invents_assays_and_gene_sets(asked: dict[str, Any]) -> None:
    asked = asked | {"models": {"logistic": [asked["models"]["logistic"][0]]}}
    params = parsed(asked)
    checked(asked, invent(params, 60, 1), gene_sets=invent_gene_sets(params))


def test_every_kind_of_data_in_one_run() -> None:
    """Gene sets or genes, assays, clinical variables and series: each is a part, and none
    another's.
    """
    document = {
        "outcome": {
            "kind": "diagnosis",
            "index": ["icd-10-cm:C50"],
            "event": ["icd-10-cm:C79"],
            "censoring": "event-free",
            "horizon_days": 1825,
        },
        "genes": {"source": "expression", "components": 2},
        "assays": ["mirna"],
        "clinical": ["age_years", "grade"],
        "series": {"variables": ["steps_per_day"]},
        "models": {"logistic": ["mirna", "series", "combined"]},
        "explain": ["permutation"],
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
    }
    params = parse_params(complete(document))
    result = checked(document, invent(params, 160, 1))
    assert [row["feature_set"] for row in result["rows"]] == ["mirna", "series", "combined"]
    parts = {feature["feature"] for feature in result["explanations"][0]["features"]}
    assert parts == {"genes", "mirna", "age_years", "grade", "steps_per_day over time"}
    assert parts == set(params.examined_groups)
