import contextlib
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.canonical import dump_canonical
from analytics.catalogue import FEATURE_SETS, IMPUTERS, MODELS, SCALERS, SELECTORS
from analytics.code import PACKAGE
from analytics.errors import ParamsError
from analytics.params import (
    ANALYSES,
    Outcome,
    VariantRules,
    complete,
    find_late_models,
    parse_params,
)

SCHEMA = json.loads((PACKAGE / "params-schema.json").read_bytes())
METASTASIS: dict[str, object] = {"kind": "distant-metastasis", "horizon_days": 1825}
DIAGNOSIS: dict[str, object] = {
    "kind": "diagnosis",
    "index": ["icd-10-cm:C50"],
    "event": ["icd-10-cm:C79"],
    "horizon_days": 1825,
    "washout_days": 0,
    "lookback_days": 36_500,
    "risk_start_days": 1,
    "censoring": "exclude",
}
GENES = {"components": 0, "keep": 10, "select": "f", "source": "expression"}
COHORT = {"age": [0, 130], "with": [], "without": []}
VARIANTS: dict[str, object] = {
    "min_call_rate": "0.95",
    "min_depth": 0,
    "min_hwe": "0.000001",
    "min_maf": "0.01",
    "min_quality": 0,
    "passed_only": True,
}

WRONG_FIELDS: dict[str, dict[str, object]] = {
    "unknown analysis": {"analysis": "export"},
    "analysis as list": {"analysis": ["evaluate"]},
    "unknown model": {"models": {"tree": ["genes"]}},
    "models as list": {"models": ["logistic"]},
    "no model": {"models": {}},
    "no layer": {"models": {"logistic": []}},
    "assay in capitals": {"models": {"logistic": ["Images"]}},
    "layer twice": {"models": {"logistic": ["genes", "genes"]}},
    "layer as object": {"models": {"logistic": [{}]}},
    "layers as string": {"models": {"logistic": "genes"}},
    "one fold": {"folds": 1},
    "many folds": {"folds": 11},
    "folds as string": {"folds": "5"},
    "folds as bool": {"folds": True},
    "few repeats": {"repeats": 1},
    "many repeats": {"repeats": 51},
    "few permutations": {"permutations": 18},
    "many permutations": {"permutations": 1001},
    "few bootstraps": {"bootstraps": 24},
    "many bootstraps": {"bootstraps": 251},
    "negative bootstraps": {"bootstraps": -1},
    "tune is a number": {"tune": 1},
    "primary as list": {"primary": ["logistic"]},
    "negative seed": {"seed": -1},
    "large seed": {"seed": 2**32},
    "unknown field": {"columns": ["name"]},
    "outcome unknown": {"outcome": {"kind": "death", "horizon_days": 1825}},
    "outcome without horizon": {"outcome": {"kind": "distant-metastasis"}},
    "outcome with more": {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825, "site": "bone"}
    },
    "horizon zero": {"outcome": {"kind": "distant-metastasis", "horizon_days": 0}},
    "horizon as string": {"outcome": {"kind": "distant-metastasis", "horizon_days": "1825"}},
    "outcome as string": {"outcome": "distant-metastasis"},
    "diagnosis without event": {
        "outcome": {name: part for name, part in DIAGNOSIS.items() if name != "event"}
    },
    "diagnosis of nothing": {"outcome": {**DIAGNOSIS, "index": []}},
    "code without system": {"outcome": {**DIAGNOSIS, "index": ["C50"]}},
    "code with a space": {"outcome": {**DIAGNOSIS, "index": ["icd-10-cm:C 50"]}},
    "code twice": {"cohort": {**COHORT, "with": ["icd-10-cm:C50", "icd-10-cm:C50"]}},
    "17 codes": {"cohort": {**COHORT, "with": [f"icd-10-cm:C{n}" for n in range(10, 27)]}},
    "negative washout": {"outcome": {**DIAGNOSIS, "washout_days": -1}},
    "no look-back": {"outcome": {**DIAGNOSIS, "lookback_days": 0}},
    "at risk before the index day": {"outcome": {**DIAGNOSIS, "risk_start_days": 0}},
    "a washout of metastasis": {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825, "washout_days": 9}
    },
    "censoring unknown": {"outcome": {**DIAGNOSIS, "censoring": "guess"}},
    "gene source unknown": {"genes": {**GENES, "source": "proteins"}},
    "select unknown": {"genes": {**GENES, "select": "best"}},
    "keep none": {"genes": {**GENES, "keep": 0}},
    "genes without keep": {"genes": {"components": 0, "select": "f", "source": "expression"}},
    "impute unknown": {"impute": "zero"},
    "scale unknown": {"scale": "rank"},
    "clinical name": {"clinical": ["Age"]},
    "clinical twice": {"clinical": ["grade", "grade"]},
    "25 variables": {"clinical": [f"v{n}" for n in range(25)]},
    "age of one end": {"cohort": {**COHORT, "age": [40]}},
    "age of 131": {"cohort": {**COHORT, "age": [0, 131]}},
    "a fraction above 1": {"variants": {**VARIANTS, "min_maf": "1.5"}},
    "a fraction with exponent": {"variants": {**VARIANTS, "min_hwe": "1e-6"}},
    "a fraction as number": {"variants": {**VARIANTS, "min_maf": 0}},
    "passed as number": {"variants": {**VARIANTS, "passed_only": 1}},
}


@pytest.mark.parametrize("change", WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
def test_parser_and_schema_refuse_the_same(
    change: dict[str, object], make_params: Callable[..., bytes]
) -> None:
    params = make_params(**change)
    with pytest.raises(ParamsError) as refused:
        parse_params(params)
    assert not any(
        word in str(refused.value)
        for word in ("tree", "death", "bone", "proteins", "guess", "C 50")
    )
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(params), SCHEMA)


def test_an_error_describes_the_expected_field(make_params: Callable[..., bytes]) -> None:
    for change, sentence in (
        ({"folds": 11}, "folds is not an integer from 2 to 10"),
        ({"columns": 1}, "the document may have only analysis, assays, bootstraps, clinical"),
        ({"models": {"logistic": ["Images"]}}, "models.logistic"),
        ({"variants": {**VARIANTS, "min_maf": "2"}}, "variants.min_maf is not one of 0, 0.01"),
    ):
        with pytest.raises(ParamsError, match=sentence):
            parse_params(make_params(**change))


@pytest.mark.parametrize(
    "contradiction",
    [
        {"cohort": {**COHORT, "age": [60, 50]}},
        {"genes": {**GENES, "source": "none"}},
        {"clinical": []},
        {"genes": {**GENES, "select": "chi2"}},
        {"clinical": ["grade", "metastasis"]},
        {"clinical": ["follow_up_days"]},
        {"primary": "svm"},
    ],
    ids="age source clinical chi2 outcome follow-up primary".split(),
)
def test_parts_that_contradict_each_other_are_refused(
    contradiction: dict[str, object], make_params: Callable[..., bytes]
) -> None:
    with pytest.raises(ParamsError):
        parse_params(make_params(**contradiction))


@pytest.mark.parametrize(
    ("code", "categories"),
    [
        ("icd-10-cm:I10", {1}),
        ("icd-10:I1", {1}),
        ("atc:L02", {3}),
        ("rxnorm:10324", {3}),
        ("icd-10-pcs:0HBT0ZZ", {4}),
        ("icd-10-cm:F32.9", {16}),
        ("atc:J05AR10", {19}),
        ("icd-10-cm:Z15", {5}),
        ("family-icd-10-cm:C50", {5}),
        ("allergy-atc:J01", {3}),
        ("encounter-act-code:IMP", {4}),
        # Of several categories, or of nobody knows which.
        ("icd-10-cm:F", None),
        ("atc:J05", None),
        ("loinc:4548-4", None),
        ("local:grade-1", None),
        ("snomed:900000001", None),
        ("uncle-icd-10-cm:C50", None),
        ("encounter-loinc:4548-4", None),
        ("encounter-mapped:X", None),
        ("icd-10-cm:T36", None),
    ],
)
def test_a_code_as_predictor_needs_its_category(
    make_params: Callable[..., bytes], code: str, categories: set[int] | None
) -> None:
    """The permit must have it: without the category everybody would seem to lack the code."""
    asked = make_params(
        clinical=["grade", code], models={"logistic": ["clinical"]}, outcome=DIAGNOSIS
    )
    if categories is None:
        with pytest.raises(ParamsError, match="category of consent is not clear"):
            parse_params(asked)
    else:
        # Observations for the grade, and conditions for the codes of the outcome.
        assert set(parse_params(asked).categories) == categories | {1, 2}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (DIAGNOSIS, "icd-10-cm:C79"),
        (DIAGNOSIS, "icd-10-cm:C79.3"),
        (DIAGNOSIS, "icd-10-cm:C7"),
        (DIAGNOSIS, "icd-10:C79"),  # the other edition
        (DIAGNOSIS, "icd-10-cm:C50.9"),  # the index: everybody has it
        (METASTASIS, "icd-10-cm:C78"),
        (METASTASIS, "icd-10-cm:C80.0"),
        (METASTASIS, "icd-10:C97"),
        (METASTASIS, "encounter-icd-10-cm:C78"),  # a visit for it
    ],
)
def test_a_code_that_tells_the_outcome_is_no_predictor(
    make_params: Callable[..., bytes], outcome: dict[str, Any], code: str
) -> None:
    with pytest.raises(ParamsError, match="tells the outcome"):
        parse_params(make_params(clinical=["grade", code], outcome=outcome))
    code = code.removeprefix("encounter-")
    kin = make_params(clinical=["grade", f"family-{code}"], outcome=outcome)
    assert parse_params(kin).clinical == ("grade", f"family-{code}")


@pytest.mark.parametrize(
    ("params", "models"),
    [
        (complete({"models": {"cnn": ["genes"], "svm": ["genes"]}, "outcome": DIAGNOSIS}), ["cnn"]),
        (complete({"models": {"svm": ["genes"]}, "outcome": DIAGNOSIS}), []),
        (b'{"analysis":"frequencies"}', []),
        (b'{"models":7}', []),
        (b'{"models":["cnn"]}', ["cnn"]),
        (b"[" * 2000, []),
        (b"no JSON", []),
    ],
)
def test_models_that_are_loaded_late_are_found_in_any_text(
    params: bytes, models: list[str]
) -> None:
    assert find_late_models(params.decode()) == models


def test_parser_and_schema_accept_the_same(make_params: Callable[..., bytes]) -> None:
    params = make_params(
        models={"svm": ["combined", "genes"], "cnn": ["genes"]},
        seed=2**32 - 1,
        folds=10,
        repeats=50,
        permutations=1000,
        outcome=DIAGNOSIS,
    )
    jsonschema.validate(json.loads(params), SCHEMA)
    parsed = parse_params(params)
    assert parsed.models == (("cnn", ("genes",)), ("svm", ("genes", "combined")))
    assert (parsed.folds, parsed.seed) == (10, 2**32 - 1)
    assert parsed.outcome == Outcome(
        "diagnosis", 1825, ("icd-10-cm:C50",), ("icd-10-cm:C79",), True
    )
    assert parsed.variants == VariantRules(0.01, 0.95, 0.000001, 0, 0, True)


def test_the_schema_knows_the_catalogue_and_no_other_names() -> None:
    evaluate, feature_sets = (
        SCHEMA["$defs"]["evaluate"]["properties"],
        SCHEMA["$defs"]["feature_sets"],
    )
    assert tuple(sorted(evaluate["models"]["properties"])) == MODELS
    assert tuple(evaluate["genes"]["properties"]["select"]["enum"]) == SELECTORS
    assert (tuple(evaluate["impute"]["enum"]), tuple(evaluate["scale"]["enum"])) == (
        IMPUTERS,
        SCALERS,
    )
    assert tuple(feature_sets["items"]["anyOf"][0]["enum"]) == FEATURE_SETS
    assert tuple(name for name in SCHEMA["$defs"] if name in ANALYSES) == ANALYSES


def test_no_gene_record_is_needed_if_no_feature_set_uses_genes(
    make_params: Callable[..., bytes],
) -> None:
    assert parse_params(make_params()).gene_source == "expression"
    assert parse_params(make_params(models={"logistic": ["clinical"]})).gene_source == "none"
    assert (
        parse_params(complete({"analysis": "frequencies", "sites": ["1:5:A>G"]})).gene_source
        == "variants"
    )


@pytest.mark.parametrize(
    ("models", "primary"),
    [(["logistic", "cnn"], "logistic"), (["boosting", "cnn"], "cnn"), (["svm"], "svm")],
)
def test_the_primary_model_is_the_cheapest_unless_named(models: list[str], primary: str) -> None:
    document = {"outcome": DIAGNOSIS, "models": {name: ["clinical"] for name in models}}
    assert parse_params(complete(document)).primary == primary
    assert parse_params(complete({**document, "primary": models[-1]})).primary == models[-1]


def test_no_bootstrap_is_a_choice(make_params: Callable[..., bytes]) -> None:
    for samples in (0, 25, 250):
        assert parse_params(make_params(bootstraps=samples)).bootstraps == samples


def test_every_field_is_needed(make_params: Callable[..., bytes]) -> None:
    complete_params = json.loads(make_params())
    for missing in complete_params:
        with pytest.raises(ParamsError):
            parse_params(
                dump_canonical(
                    {name: part for name, part in complete_params.items() if name != missing}
                )
            )


@pytest.mark.parametrize(
    "document",
    [
        {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
        {"analysis": "survival", "outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
        {"analysis": "clusters", "outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
        {"analysis": "associate", "outcome": DIAGNOSIS, "variants": {"min_depth": 10}},
        {"analysis": "frequencies", "sites": ["22:5:A>G"], "cohort": {"age": [40, 60]}},
    ],
    ids=ANALYSES,
)
def test_omitted_fields_get_defaults(document: dict[str, Any]) -> None:
    params = complete(document)
    assert complete(json.loads(params)) == params
    parsed = parse_params(params)
    assert parsed.analysis == document.get("analysis", "evaluate")
    assert parsed.variants.min_depth == document.get("variants", {}).get("min_depth", 0)
    assert parsed.variants.min_maf == 0.01
    assert parsed.cohort.age == tuple(document.get("cohort", {}).get("age", (0, 130)))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"analysis": "export"},
        {"analysis": ["evaluate"]},
        {"analysis": "frequencies"},
        {"outcome": {1, 2}},
        {"outcome": DIAGNOSIS, "seed": 1.5},
        {"outcome": DIAGNOSIS, "variants": 7},
        {"outcome": DIAGNOSIS, 7: 7},
    ],
)
def test_incomplete_documents_without_defaults_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        complete(document)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda params: params.replace(b'"seed":7', b'"seed":7,"seed":8'),
        lambda params: params.replace(b'"seed":7', b'"seed":NaN'),
        lambda params: params.replace(b'"seed":7', b'"seed":7.0'),
        lambda params: params.replace(b'"seed":7', b'"seed":null'),
        lambda params: params.replace(b'"seed":7', b'"seed": 7'),
        lambda params: params.replace(b'"seed":7', b'"seed":[[[[[7]]]]]'),
        lambda params: params.replace(b'"genes"]', b'"\\u0067enes"]').replace(
            b'["genes"', b'["\\u0067enes"'
        ),
        lambda params: params.replace(b'"grade"', b'"grade\\n"'),
        lambda params: params[:-1] + b" " * 2048 + b"}",
        lambda params: b"[" + params + b"]",
        lambda params: params + b"\n",
        lambda params: params[:-1],
        lambda params: b"",
    ],
    ids="duplicate NaN decimal null space deep escape pattern-end large list newline cut empty".split(),
)
def test_bytes_that_are_not_the_canonical_document_are_refused(
    tamper: Callable[[bytes], bytes], make_params: Callable[..., bytes]
) -> None:
    params = make_params()
    assert tamper(params) != params
    with pytest.raises(ParamsError):
        parse_params(tamper(params))
    parse_params(params)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda part: (
        st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=3), part, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_parameters_are_valid_or_raise_params_error(
    data: st.DataObject,
) -> None:
    document = json.loads(complete({"outcome": DIAGNOSIS}))
    parent: Any = document
    while True:
        key = data.draw(
            st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent)))
        )
        if not isinstance(parent[key], dict | list) or not parent[key] or data.draw(st.booleans()):
            break
        parent = parent[key]
    parent[key] = data.draw(JUNK)
    with contextlib.suppress(ParamsError):  # and no other error
        parse_params(
            json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        )


def test_whatever_the_parameters_read_must_be_in_the_permit(
    make_params: Callable[..., bytes],
) -> None:
    """Without it nobody would have the value, and whoever is to be left out would stay in."""
    cohort = {"age": [40, 70], "with": ["atc:L02"], "without": ["icd-10-cm:B20", "icd-10-cm:F"]}
    asked = make_params(
        cohort=cohort, clinical=["age_years"], models={"logistic": ["clinical"]}, outcome=DIAGNOSIS
    )
    assert set(parse_params(asked).categories) == {1, 3, 19}
    asked = complete(
        {
            "analysis": "survival",
            "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
            "clinical": [],
            "strata": ["female", "bmi:25"],
        }
    )
    assert set(parse_params(asked).categories) == {0, 2}


def test_the_timing_of_a_study_is_completed_and_begins_before_it_ends(
    make_params: Callable[..., bytes],
) -> None:
    timing = {"washout_days", "lookback_days", "risk_start_days"}
    short = {name: part for name, part in DIAGNOSIS.items() if name not in timing}
    assert complete({"outcome": short}) == complete({"outcome": DIAGNOSIS})
    outcome = parse_params(complete({"outcome": {**short, "risk_start_days": 31}})).outcome
    assert outcome is not None
    assert outcome.days_at_risk == 1825 - 30
    with pytest.raises(ParamsError, match="risk_start_days is after"):
        complete({"outcome": {**short, "risk_start_days": 1826}})
