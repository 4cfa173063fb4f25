"""Fixtures of the analytics tests: records under invented subject ids, and a run on GSE7390."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from quiet import NOISE_KEY
from threadpoolctl import threadpool_limits

from analytics.canonical import dump_canonical
from analytics.params import complete
from analytics.people import Input
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.readers.person import Person
from analytics.run import Result, run
from analytics.simulate.synthetic import simulate_people
from analytics.vocabulary import Category

OBSERVATIONS = 2
FEATURE_SETS = ["genes", "clinical", "combined"]
PARAMS: dict[str, Any] = json.loads(
    complete(
        {
            "models": {"logistic": FEATURE_SETS},
            "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
            "folds": 2,
            "repeats": 2,
            "permutations": 19,
            "bootstraps": 0,
            "seed": 7,
        }
    )
)


def subject_of(ordinal: int) -> str:
    return f"{(ordinal + 1) * 0x9E3779B97F4A7C15 % 2**256:064x}"


def records_of(people: Sequence[Person]) -> list[Input]:
    inputs = []
    for person in people:
        subject = subject_of(person.ordinal)
        inputs.append(Input(subject, Category.EXPRESSION, person.expression(subject)))
        inputs.append(Input(subject, OBSERVATIONS, person.observations(subject)))
    return inputs


def params_with(**changes: object) -> bytes:
    models = changes.get("models")
    if isinstance(models, dict) and models and "logistic" not in models:
        changes = {"primary": max(models), **changes}
    return dump_canonical({**PARAMS, **changes})


@pytest.fixture(scope="session")
def make_params() -> Callable[..., bytes]:
    return params_with


@pytest.fixture(scope="session")
def make_records() -> Callable[[Sequence[Person]], list[Input]]:
    return records_of


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run; several threads may wait seconds for each other on a busy machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def twenty() -> list[Input]:
    return records_of(simulate_people(20, 3))


@pytest.fixture(scope="session")
def gse_people() -> list[Person]:
    return load_gse7390(locate_gse7390())


@pytest.fixture(scope="session")
def gse_result(gse_people: list[Person]) -> Result:
    params = params_with(
        models=dict.fromkeys(("knn", "logistic", "svm"), FEATURE_SETS), folds=5, repeats=4
    )
    return run(params, records_of(gse_people), 10, noise_key=NOISE_KEY)


@pytest.fixture(scope="session")
def gse_metrics(gse_result: Result) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(gse_result.result)
    return metrics
