"""What each explanation says of held-out people: its definition, and a known truth."""

import copy
from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from analytics.catalogue import MODELS
from analytics.errors import ParamsError
from analytics.evaluate import evaluate_model
from analytics.explainer import Columns, Explainer, watch_with
from analytics.explanations import REGISTERED
from analytics.explanations.registry import COLUMNS, Unseen
from analytics.explanations.shapley_groups import shapley_values
from analytics.fusion import Fused
from analytics.models import REGISTERED as CATALOGUE
from analytics.models.pipeline import COMPONENT, build_model, open_model
from analytics.models.registry import Blueprint
from analytics.params import complete, parse_params
from analytics.prediction import FeatureSets, evaluate_rows
from analytics.science import explanation_report
from analytics.tuning import search
from analytics.vocabulary import OutputClass

OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
GENES, CLINICAL = 12, 3
NAMES = (*(f"gene{at}" for at in range(GENES)), "age", "size", "grade")


def drawn(people: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two genes and the last clinical column carry the outcome; a twentieth of all is missing."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(people, GENES + CLINICAL))
    event = (x @ np.eye(GENES + CLINICAL)[[0, 1, -1]].sum(axis=0) + draw.normal(size=people)) > 0
    x[draw.random(x.shape) < 0.05] = np.nan
    return x, event.astype(np.int64)


def unseen_of(model: str, of: str, keep: int = 4, components: int = 0) -> tuple[Unseen, np.ndarray]:
    """A model fitted on 80 people and 20 others, and the test people's raw columns."""
    x, event = drawn(100)
    blueprint = Blueprint(model, GENES, CLINICAL, "f", keep, components, "median", "z-score", 1)
    fitted = build_model(blueprint).fit(x[:80], event[:80])
    opened = open_model(fitted, x.shape[1])
    parts = opened.origins
    if of != COLUMNS:
        parts = np.where(parts < GENES, 0, parts - GENES + 1)
    _, parts = np.unique(parts, return_inverse=True)
    columns = (opened.transform(x[:80]), opened.transform(x[80:]))
    return Unseen(opened, *columns, event[80:], parts, 1), x[80:]


def test_linear_values_sum_to_the_log_odds_less_those_of_the_background() -> None:
    unseen, _ = unseen_of("logistic", COLUMNS)
    values = REGISTERED["shap-linear"].explain(unseen)
    margin = unseen.model.classifier.decision_function
    assert (
        np.abs(values.sum(axis=1) - margin(unseen.test) + margin(unseen.train).mean()).max() < 1e-6
    )


def test_linear_values_are_shapley_values_of_the_log_odds() -> None:
    """By their definition: every subset of columns, the others those of each training person."""
    unseen, _ = unseen_of("logistic", COLUMNS, keep=2)
    values = REGISTERED["shap-linear"].explain(unseen)
    columns, person = unseen.test.shape[1], unseen.test[0]

    def worth(known: tuple[int, ...]) -> float:
        rows = unseen.train.copy()
        rows[:, list(known)] = person[list(known)]
        return float(unseen.model.classifier.decision_function(rows).mean())

    for column in range(columns):
        others = [other for other in range(columns) if other != column]
        value = sum(
            factorial(size)
            * factorial(columns - size - 1)
            / factorial(columns)
            * (worth((*known, column)) - worth(known))
            for size in range(columns)
            for known in combinations(others, size)
        )
        assert abs(value - values[0, column]) < 1e-9


@pytest.mark.parametrize("model", [name for name in MODELS if name != "cnn"])
def test_group_values_of_any_model_sum_to_the_prediction_less_the_background(model: str) -> None:
    unseen, _ = unseen_of(model, "groups")
    values = REGISTERED["shapley-groups"].explain(unseen)
    assert values.shape == (20, 1 + CLINICAL)
    draw = np.random.default_rng(unseen.seed)
    background = unseen.train[draw.permutation(len(unseen.train))[:20]]
    expected = unseen.model.predict(unseen.test) - unseen.model.predict(background).mean()
    assert np.abs(values.sum(axis=1) - expected).max() < 1e-6


def test_shapley_values_of_a_textbook_game() -> None:
    """Gloves: one left (bit 0), two right ones; a pair is worth 1. Left has 2/3, each right 1/6."""
    worth = np.array([[float(bool(subset & 1 and subset & 6))] for subset in range(8)])
    assert np.allclose(shapley_values(worth)[:, 0], [2 / 3, 1 / 6, 1 / 6])


def test_integrated_gradients_sum_to_the_log_odds_less_those_of_the_baseline() -> None:
    """And are the gradient's mean over the straight line, which takes many steps to sum up."""
    import torch

    unseen, _ = unseen_of("cnn", COLUMNS, keep=8)
    values = REGISTERED["integrated-gradients"].explain(unseen)
    network = copy.deepcopy(unseen.model.classifier.network_).double()
    ends = torch.from_numpy(np.vstack([unseen.train.mean(axis=0), unseen.test]))
    with torch.no_grad():
        margin = network(ends).numpy()
    assert np.abs(values.sum(axis=1) - (margin[1:] - margin[0])).max() < 1e-6
    assert np.abs(margin[1:] - margin[0]).max() > 0.1
    steps = (torch.arange(4000, dtype=torch.float64)[:, None] + 0.5) / 4000
    line = (ends[0] + steps * (ends[1] - ends[0])).requires_grad_()
    (slopes,) = torch.autograd.grad(network(line).sum(), line)
    assert np.allclose((slopes.mean(dim=0) * (ends[1] - ends[0])).numpy(), values[0], atol=1e-4)


def test_shuffling_a_part_costs_what_the_model_had_of_it() -> None:
    unseen, _ = unseen_of("logistic", "groups")
    lost = REGISTERED["permutation"].explain(unseen)[unseen.event == 1].mean(axis=0)
    genes, age, size, grade = lost
    assert genes > grade > max(age, size) + 0.05
    nothing = replace(unseen, test=np.tile(unseen.test[:1], (20, 1)))
    assert not REGISTERED["permutation"].explain(nothing).any()


def test_columns_come_from_where_the_model_took_them() -> None:
    unseen, raw = unseen_of("logistic", COLUMNS, keep=3, components=2)
    origins = unseen.model.origins
    assert sum(origins == COMPONENT) == 2
    assert (origins[-CLINICAL:] == np.arange(GENES, GENES + CLINICAL)).all()
    for at, origin in enumerate(origins):
        if origin != COMPONENT:
            known = ~np.isnan(raw[:, origin])
            made = unseen.test[:, at]
            uncut = known & (made > made[known].min()) & (made < made[known].max())
            order = np.argsort(raw[known, origin])
            assert (
                np.diff(made[known][order]) >= -1e-12
            ).all()  # cut at both ends (features.Bounded)
            assert np.corrcoef(raw[uncut, origin], made[uncut])[0, 1] > 1 - 1e-9


def test_chosen_settings_and_fused_models_can_be_opened() -> None:
    x, event = drawn(60)
    blueprint = Blueprint("logistic", GENES, CLINICAL, "f", 4, 0, "median", "z-score", 1)
    tuned = search(build_model(blueprint), {"C": (0.1, 1.0)}, 1).fit(x, event)
    opened = open_model(tuned, x.shape[1])
    assert np.allclose(opened.predict(opened.transform(x)), tuned.predict_proba(x)[:, 1])
    part = build_model(blueprint)
    fused = Pipeline([("within", Fused([(part, slice(0, GENES + CLINICAL))], 1))]).fit(x, event)
    opened = open_model(fused, x.shape[1])
    assert np.allclose(opened.predict(opened.transform(x)), fused.predict_proba(x)[:, 1])


def test_everybody_is_explained_by_models_that_have_not_seen_her() -> None:
    x, event = drawn(200)
    columns = Columns(x, NAMES, GENES)
    explainer = Explainer("shap-linear", columns, event, 1)
    explaining = watch_with([explainer], columns)
    shown: list[np.ndarray] = []

    def watch(repeat: int, fitted: Pipeline, test: np.ndarray) -> None:
        shown.append(test)
        explaining(repeat, fitted, test)

    blueprint = Blueprint("logistic", GENES, CLINICAL, "f", 4, 0, "median", "z-score", 1)
    settings = {"folds": 4, "repeats": 2, "seed": 1, "calibrated": True}
    evaluate_model(build_model(blueprint), x, event, **settings, tick=lambda _: None, watch=watch)
    assert (np.sum(shown, axis=0) == 2).all()
    explained = explainer.finish()
    assert explained.features == (*NAMES, "components of genes")
    assert not explained.used[-1]
    top = [explained.features[at] for at in np.argsort(-explained.importance)[:3]]
    assert set(top) == {"gene0", "gene1", "grade"}
    sizes, directions = explained.importance, explained.direction
    causes = [0, 1, GENES + 2]
    assert directions[causes] == pytest.approx(sizes[causes], rel=0.03)


@pytest.mark.parametrize(
    ("model", "feature_set"), [("logistic", "combined"), ("knn", "combined"), ("logistic", "fused")]
)
def test_explaining_a_model_changes_nothing_else_and_says_the_same_again(
    model: str, feature_set: str
) -> None:
    x, event = drawn(60)
    feature_sets = FeatureSets(x[:, :GENES], x[:, GENES:], (), None, NAMES[:GENES], NAMES[GENES:])
    explain = ["permutation", "shap-linear", "shapley-groups"]
    if (model, feature_set) != ("logistic", "combined"):
        explain.remove("shap-linear")
    asked = {"outcome": OUTCOME, "models": {model: [feature_set]}, "explain": explain, "folds": 2}
    params = parse_params(complete(asked | {"bootstraps": 0}))
    params = replace(params, permutations=0, repeats=1)
    rows = [
        evaluate_rows(event, feature_sets, changed, "cpu", lambda *_: None)[0]
        for changed in (params, params, replace(params, explain=()))
    ]
    assert [explained.explanation.name for explained in rows[0].explained] == explain
    for first, second in zip(rows[0].explained, rows[1].explained, strict=True):
        assert (first.importance == second.importance).all()
        assert (
            np.abs(first.direction) <= first.importance + 1e-9
        ).all() or first.errors is not None
    assert not rows[2].explained
    assert (rows[0].scores.probabilities == rows[2].scores.probabilities).all()


def test_the_true_causes_are_on_top() -> None:
    """8 causal variants among 400, of 1,000 people; 20 columns are kept in each fold."""
    report = explanation_report(people=1000, cohorts=1, repeats=1)
    assert report["random"] == 8 / 400
    assert report["shap-linear"] >= 0.75


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"models": {"svm": ["combined"]}, "explain": ["shap-linear"]}, "has not"),
        ({"models": {"logistic": ["combined"]}, "explain": ["integrated-gradients"]}, "has not"),
        ({"models": {"logistic": ["fused"]}, "explain": ["shap-linear"]}, "has not"),
        ({"explain": ["lime"]}, "explain"),
        ({"explain": "permutation"}, "explain"),
        ({"explain": ["permutation", "permutation"]}, "explain"),
        (
            {
                "explain": ["shapley-groups"],
                "clinical": [
                    *("age_years", "size_mm", "grade", "er_positive", "bmi", "height_cm"),
                    *("weight_kg", "heart_rate", "egfr", "hba1c_percent"),
                ],
            },
            "at most ten groups",
        ),
    ],
)
def test_explanations_that_a_model_has_not_are_refused(
    changes: dict[str, object], refused: str
) -> None:
    with pytest.raises(ParamsError, match=refused):
        complete({"outcome": OUTCOME, "models": {"logistic": ["combined"]}} | changes)


def test_a_result_that_names_genes_is_of_the_class_of_per_variant_statistics() -> None:
    def output_class(models: dict[str, list[str]], *explain: str) -> int:
        asked = {"outcome": OUTCOME, "models": models, "explain": list(explain)}
        return parse_params(complete(asked)).output_class

    both = {"logistic": ["clinical", "combined"]}
    assert output_class(both, "shap-linear") == OutputClass.GENOMIC
    assert output_class(both, "permutation", "shapley-groups") == OutputClass.METRICS
    assert output_class({"logistic": ["clinical"]}, "shap-linear") == OutputClass.METRICS
    assert output_class(both) == OutputClass.METRICS
    parsed = parse_params(complete({"outcome": OUTCOME, "models": both, "explain": []}))
    assert parsed.examined_feature_set == "combined"


def test_each_explanation_says_what_it_needs() -> None:
    forms = {model.form for model in CATALOGUE.values()}
    for name, explanation in REGISTERED.items():
        assert explanation.form in forms, name
        assert explanation.says.endswith(".")
