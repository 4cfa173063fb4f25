"""Compares a run with a network on the GPU with the same run on the CPU, if there is a GPU."""

from __future__ import annotations

from typing import Any

from analytics.disclosure.noise import KEY_BYTES
from analytics.networks import describe_gpu, find_device
from analytics.params import complete, parse_params
from analytics.run import run
from analytics.simulate.rehearsal import invent
from bench.races import race

PEOPLE, PAIRS = 500, 3
_REQUEST = {
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "genes": {"source": "variants"},
    "models": {"cnn": ["combined"]},
    "permutations": 19,
    "bootstraps": 0,
}


def measure_device() -> dict[str, Any] | str:
    """{ratio, low, high, pairs, device, name, peak_bytes}: GPU / CPU seconds, or "not measured"."""
    if find_device("auto").type == "cpu":
        return "not measured"
    params = complete(_REQUEST)
    inputs = invent(parse_params(params), PEOPLE, seed=1)
    comparison = race(
        lambda: run(params, inputs, 1, device="cuda", noise_key=bytes(KEY_BYTES)),
        lambda: run(params, inputs, 1, device="cpu", noise_key=bytes(KEY_BYTES)),
        PAIRS,
    )
    return comparison | (describe_gpu("cuda") or {})
