"""Generated requests from the OpenAPI document: no internal errors, and only declared answers."""

from __future__ import annotations

import httpx
from api_schema import attack, campaign, operations

EXAMPLES = 2  # of right and of wrong requests each, an operation


def test_every_answer_is_declared_and_none_is_a_failure(deployment, tmp_path) -> None:
    statuses = campaign(deployment, tmp_path, EXAMPLES, 1)
    assert {200, 401, 403, 404, 422} <= statuses.keys()


def test_an_answer_that_is_not_declared_is_seen(deployment) -> None:
    """The judge is awake: one declaration is taken out of the document."""
    document = httpx.get(f"{deployment.url}/openapi.json").json()
    document["paths"] = {"/trail/denials": document["paths"]["/trail/denials"]}
    document["paths"]["/trail/denials"]["get"]["responses"].pop("401")
    _, wrong = attack(deployment.url, next(operations(document)), [""], 3, 1, {})
    assert any("401" in difference for difference in wrong)


def test_no_endpoint_accepts_another_method(deployment) -> None:
    with httpx.Client(base_url=deployment.url) as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            for method in {"PUT", "DELETE", "PATCH", "TRACE"} - {name.upper() for name in methods}:
                answer = client.request(method, path.replace("{", "").replace("}", ""))
                assert answer.status_code == 405, (method, path)
