"""The parameters of a run: params-schema.json as strict parsing into one dataclass."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.canonical import dump_canonical, load_strict
from analytics.errors import JsonRefused, ParamsError
from analytics.models import LAYERS

MAX_BYTES = 2048
# name: (least, most), both allowed; repeats from 10 because means over fewer betray cells (disclosure.py)
BOUNDS = {"folds": (2, 10), "repeats": (10, 50), "permutations": (19, 1000), "seed": (0, 2**32 - 1)}
HORIZON_DAYS = (1, 36_500)


@dataclass(frozen=True, slots=True)
class Params:
    """One approved analysis. layers: in LAYERS' order; horizon_days counts from diagnosis."""

    model: str
    layers: tuple[str, ...]
    horizon_days: int
    folds: int
    repeats: int
    permutations: int
    seed: int


def parse_params(params: bytes) -> Params:
    """Parameters from canonical JSON of at most 2 KiB, all seven fields present. Raises ParamsError.

    {"folds":5,"layers":["clinical","combined","genes"],"model":"logistic",
     "outcome":{"horizon_days":1825,"kind":"distant-metastasis"},"permutations":100,"repeats":10,"seed":7}
    """
    try:
        document = load_strict(params, max_bytes=MAX_BYTES, max_depth=3)
    except JsonRefused as refused:
        raise ParamsError(f"parameters: {refused}") from None
    if not isinstance(document, dict) or set(document) != {"model", "layers", "outcome", *BOUNDS}:
        raise ParamsError("parameters: they must be exactly model, layers, outcome, " + ", ".join(BOUNDS))
    numbers = {name: _integer(name, document[name], *bounds) for name, bounds in BOUNDS.items()}
    if document["model"] != "logistic":
        raise ParamsError("parameters: the model is not in the catalogue (logistic)")
    parsed = Params("logistic", _layers(document["layers"]), _horizon(document["outcome"]), **numbers)
    if dump_canonical(document) != params:
        raise ParamsError("parameters: they are not canonical JSON (sorted keys, no spaces)")
    return parsed


def _integer(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ParamsError(f"parameters: {name} is not an integer from {least} to {most}")
    return value


def _layers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or any(layer not in LAYERS for layer in value):
        raise ParamsError("parameters: layers is not a list of " + ", ".join(LAYERS))
    if len(set(value)) != len(value):
        raise ParamsError("parameters: layers names a layer twice")
    return tuple(layer for layer in LAYERS if layer in value)


def _horizon(value: object) -> int:
    if not isinstance(value, dict) or set(value) != {"kind", "horizon_days"} or value["kind"] != "distant-metastasis":
        raise ParamsError("parameters: outcome is not a distant-metastasis outcome with horizon_days")
    return _integer("outcome horizon_days", value["horizon_days"], *HORIZON_DAYS)
