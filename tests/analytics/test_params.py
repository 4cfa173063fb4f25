import json
from collections.abc import Callable

import jsonschema
import pytest

from analytics.code import PACKAGE
from analytics.errors import ParamsError
from analytics.params import parse_params

SCHEMA = json.loads((PACKAGE / "params-schema.json").read_bytes())

WRONG_FIELDS: dict[str, dict[str, object]] = {
    "unknown model": {"model": "svm"},
    "model as list": {"model": ["logistic"]},
    "no layer": {"layers": []},
    "unknown layer": {"layers": ["images"]},
    "layer twice": {"layers": ["genes", "genes"]},
    "layer as object": {"layers": [{}]},
    "layers as string": {"layers": "genes"},
    "one fold": {"folds": 1},
    "many folds": {"folds": 11},
    "folds as string": {"folds": "5"},
    "folds as bool": {"folds": True},
    "few repeats": {"repeats": 9},
    "many repeats": {"repeats": 51},
    "few permutations": {"permutations": 18},
    "many permutations": {"permutations": 1001},
    "negative seed": {"seed": -1},
    "large seed": {"seed": 2**32},
    "unknown field": {"columns": ["name"]},
    "outcome unknown": {"outcome": {"kind": "death", "horizon_days": 1825}},
    "outcome without horizon": {"outcome": {"kind": "distant-metastasis"}},
    "outcome with more": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825, "site": "bone"}},
    "horizon zero": {"outcome": {"kind": "distant-metastasis", "horizon_days": 0}},
    "horizon as string": {"outcome": {"kind": "distant-metastasis", "horizon_days": "1825"}},
    "outcome as string": {"outcome": "distant-metastasis"},
}


@pytest.mark.parametrize("change", WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
def test_parser_and_schema_refuse_the_same(change: dict[str, object], make_params: Callable[..., bytes]) -> None:
    params = make_params(**change)
    with pytest.raises(ParamsError):
        parse_params(params)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(params), SCHEMA)


def test_parser_and_schema_accept_the_same(make_params: Callable[..., bytes]) -> None:
    params = make_params(layers=["combined", "genes"], seed=2**32 - 1, folds=10, repeats=50, permutations=1000)
    jsonschema.validate(json.loads(params), SCHEMA)
    parsed = parse_params(params)
    assert parsed.layers == ("genes", "combined")
    assert (parsed.horizon_days, parsed.folds, parsed.seed) == (1825, 10, 2**32 - 1)


@pytest.mark.parametrize("missing", ["model", "layers", "outcome", "folds", "repeats", "permutations", "seed"])
def test_every_field_is_needed(missing: str, make_params: Callable[..., bytes]) -> None:
    document = json.loads(make_params())
    del document[missing]
    with pytest.raises(ParamsError):
        parse_params(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda params: params.replace(b'"seed":7', b'"seed":7,"seed":8'),
        lambda params: params.replace(b'"seed":7', b'"seed":NaN'),
        lambda params: params.replace(b'"seed":7', b'"seed":7.0'),
        lambda params: params.replace(b'"seed":7', b'"seed":null'),
        lambda params: params.replace(b'"seed":7', b'"seed": 7'),
        lambda params: params.replace(b'"seed":7', b'"seed":[[[[7]]]]'),
        lambda params: params.replace(b'"genes"', b'"\\u0067enes"'),
        lambda params: params[:-1] + b" " * 2048 + b"}",
        lambda params: b"[" + params + b"]",
        lambda params: params + b"\n",
        lambda params: params[:-1],
        lambda params: b"",
    ],
    ids="duplicate NaN decimal null space deep escape large list newline cut empty".split(),
)
def test_bytes_that_are_not_the_canonical_document_are_refused(
    spoil: Callable[[bytes], bytes], make_params: Callable[..., bytes]
) -> None:
    params = make_params()
    assert spoil(params) != params
    with pytest.raises(ParamsError):
        parse_params(spoil(params))
    parse_params(params)
