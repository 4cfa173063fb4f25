"""Requests generated from the OpenAPI document by schemathesis, valid and invalid, and checks of
each answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation.modes import GenerationMode

NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)


def checks() -> list[Any]:
    return [CHECKS.get_one(name) for name in NAMES if name in CHECKS.get_all_names()]


def operations(document: dict[str, Any]) -> Iterator[Any]:
    for operation in schemathesis.openapi.from_dict(document).get_all_operations():
        yield operation.ok()


def attack(
    url: str,
    operation: Any,
    tokens: Sequence[str],
    examples: int,
    number: int,
    ids: Mapping[str, Any],
) -> tuple[Counter[int], list[str]]:
    """(how many answers of which status, what was wrong): an operation under every session, "" for
    none.

    `ids` holds values that exist, by the name of a path's parameter: most of the right requests use
    them.
    """
    statuses, wrong = Counter[int](), dict[str, None]()

    def send(case: Any, token: str, real: int, right: bool) -> None:
        if real and right:
            case.path_parameters = {
                name: ids.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = case.call(base_url=url, headers=headers, timeout=30)
        statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=checks())
        except (Failure, FailureGroup) as failure:
            kinds = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            for kind in kinds:
                wrong[
                    f"{case.method} {operation.path} {answer.status_code}: {kind.title}: {kind.message[:300]}"
                ] = None

    limits = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for mode in GenerationMode:
        made = given(
            operation.as_strategy(generation_mode=mode),
            st.sampled_from(tokens),
            st.integers(0, 3),
            st.just(mode == GenerationMode.POSITIVE),
        )
        with suppress(Unsatisfiable):  # without any part to it, no request is wrong
            seed(number)(limits(made(send)))()
    return statuses, list(wrong)


def campaign(deployment: Any, folder: Path, examples: int, number: int) -> Counter[int]:
    """Every operation with and without sessions of several roles; so many right and wrong requests
    of each.
    """
    sealed = deployment.sealed_output(folder / "key")
    (subject,) = deployment.people()
    clients = [
        deployment.patient(subject),
        *(deployment.as_(name) for name in ("noor", "sol", "vera", "omar")),
    ]
    for client in clients:
        client.sign_in()
    tokens = ["", "made-up", *(client._token for client in clients)]
    ids = {
        "run": sealed.run,
        "subject": subject.hex(),
        "dataset": deployment.world.dataset.hex(),
        "attempt": 1,
        "permit": deployment.anybody().permits()[-1]["permit"],
    }
    statuses, wrong, tried = Counter[int](), list[str](), 0
    for operation in operations(httpx.get(f"{deployment.url}/openapi.json").json()):
        answers, failures = attack(deployment.url, operation, tokens, examples, number, ids)
        statuses, wrong, tried = statuses + answers, wrong + failures, tried + 1
    print(
        f"{tried} operations, {sum(statuses.values())} requests: {dict(sorted(statuses.items()))}"
    )
    assert not wrong, "\n".join(wrong)
    assert tried >= 20
    assert not [status for status in statuses if status >= 500]
    return statuses
