"""Bad requests: every endpoint answers with a problem, reveals neither internals nor input, and
does nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.demo.attacks import high_s
from api.http.problems import REFUSALS
from api.operate.bootstrap import FOREVER
from chain.artifacts import CONTRACTS, load

CANARY = "zqcanaryzq"
Change = Callable[[dict[str, Any]], object]


def _item(body: dict[str, Any]) -> dict[str, Any]:
    return body["items"][0]


# Each changes one thing of a consent that would be accepted.
CHANGES: dict[str, Change] = {
    "a field too many": lambda b: _item(b)["grant"].update({CANARY: 1}),
    "a field too many outside": lambda b: b.update({CANARY: 1}),
    "a field missing": lambda b: _item(b)["grant"].pop("deadline"),
    "an id with 0x": lambda b: _item(b)["grant"].update(subject="0x" + "ab" * 31),
    "an id in capitals": lambda b: _item(b)["grant"].update(subject="AB" * 32),
    "an id too short": lambda b: _item(b)["grant"].update(dataset="ab" * 31),
    "an id that is a path": lambda b: _item(b)["grant"].update(dataset="../../etc/passwd"),
    "an id that is an address": lambda b: _item(b)["grant"].update(dataset=f"http://{CANARY}/"),
    "an id with control characters": lambda b: _item(b)["grant"].update(
        dataset="ab\x00\x1b[31m" + CANARY
    ),
    "an id that is a statement": lambda b: _item(b)["grant"].update(
        dataset=f"'; drop table {CANARY}; --"
    ),
    "an id that is a number": lambda b: _item(b)["grant"].update(subject=7),
    "an id that is a list": lambda b: _item(b)["grant"].update(subject=["ab" * 32]),
    "an id that is nothing": lambda b: _item(b)["grant"].update(subject=None),
    "a number that is text": lambda b: _item(b)["grant"].update(epoch="0"),
    "a number that is true": lambda b: _item(b)["grant"].update(epoch=True),
    "a number below zero": lambda b: _item(b)["grant"].update(epoch=-1),
    "a number out of range": lambda b: _item(b)["grant"].update(untilDay=1 << 24),
    "a signature too short": lambda b: _item(b).update(signature="ab" * 64),
    "a signature too long": lambda b: _item(b).update(signature="ab" * 66),
    "a signature that is not hex": lambda b: _item(b).update(signature="zz" * 65),
    "a signature of high s": lambda b: _item(b).update(
        signature=high_s(bytes.fromhex(_item(b)["signature"])).hex()
    ),
    "a signature with v 0": lambda b: _item(b).update(signature=_item(b)["signature"][:-2] + "00"),
    "a signature of nobody": lambda b: _item(b).update(signature="00" * 64 + "1b"),
    "another's key": lambda b: _item(b).update(signer="ab" * 20),
    "no item": lambda b: b.update(items=[]),
    "too many items": lambda b: b.update(items=b["items"] * 61),
    "items that are an object": lambda b: b.update(items={"0": 1}),
    "an item that is text": lambda b: b.update(items=[CANARY]),
    "a past deadline": lambda b: _item(b)["grant"].update(deadline=1),
}
RAW: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{" + CANARY.encode(),
    "a key twice": b'{"items":[],"items":[]}',
    "not a number": b'{"items":[NaN]}',
    "infinity": b'{"items":[-Infinity]}',
    "a fraction": b'{"items":[0.5]}',
    "an exponent": b'{"items":[1e999999]}',
    "a huge number": b'{"items":[' + b"9" * 5000 + b"]}",
    "nested lists": b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"items":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "not UTF-8": b'{"items":["\xff\xfe"]}',
    "half a character": b'{"items":["\\ud800"]}',
    "a list": b"[]",
    "text": b'"' + CANARY.encode() + b'"',
    "null": b"null",
    "too large": b'{"items":["' + b"a" * (4 << 20) + b'"]}',
}
PATHS = {
    "an id that is a path": ("GET", "/permits/..%2f..%2fetc%2fpasswd"),
    "an id that is a word": ("GET", f"/permits/{CANARY}"),
    "an unknown permit": ("GET", "/permits/" + "0" * 64),
    "an unknown run": ("GET", "/runs/" + "0" * 64),
    "an attempt of zero": ("POST", "/runs/" + "0" * 64 + "/attempts/0/views"),
    "an attempt that is a word": ("POST", "/runs/" + "0" * 64 + f"/attempts/{CANARY}/release"),
    "an unknown state": ("GET", f"/runs?state={CANARY}"),
    "an unknown door": ("GET", f"/{CANARY}"),
    "an unknown method": ("DELETE", "/permits"),
    "the documentation's pages": ("GET", "/docs"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_message_is_a_problem_and_changes_nothing(deployment, name: str) -> None:
    (subject,) = deployment.people(1, agree=False)
    message = deployment.world.grant_message(subject, deadline=FOREVER)
    body = {"items": [deployment.patient(subject).signed_grant(message)]}
    head = deployment.head()
    CHANGES[name](body)
    _check(httpx.post(f"{deployment.url}/consents", json=body))
    assert deployment.head() == head
    assert deployment.world.slot(subject) == 0


@pytest.mark.parametrize("name", RAW)
def test_a_malformed_body_is_a_problem_at_every_endpoint(deployment, name: str) -> None:
    head = deployment.head()
    for path in ("/consents", "/sign-in", "/permits"):
        _check(
            httpx.post(
                f"{deployment.url}{path}",
                content=RAW[name],
                headers={"Content-Type": "application/json"},
            )
        )
    assert deployment.head() == head


@pytest.mark.parametrize("name", PATHS)
def test_a_bad_path_is_a_problem(deployment, name: str) -> None:
    method, path = PATHS[name]
    _check(httpx.request(method, deployment.url + path))


def test_a_body_of_another_type_is_a_problem(deployment) -> None:
    _check(
        httpx.post(
            f"{deployment.url}/permits", content=b"<a/>", headers={"Content-Type": "text/xml"}
        )
    )
    _check(httpx.post(f"{deployment.url}/permits", data={"request": CANARY}))


def test_a_body_may_be_larger_only_where_the_list_of_an_ingest_is_sent(deployment) -> None:
    large = b'{"items":["' + b"a" * (2 << 20) + b'"]}'
    headers = {"Content-Type": "application/json"}
    assert (
        httpx.post(f"{deployment.url}/permits", content=large, headers=headers).status_code == 413
    )
    for path, status in (("/enrolments", 413), (f"/datasets/{'0' * 64}/ingests", 422)):
        assert (
            httpx.post(deployment.url + path, content=large, headers=headers).status_code == status
        )


def test_a_message_for_another_path_is_refused(deployment) -> None:
    sol, run = deployment.as_("sol"), "ab" * 32
    message = {"run": bytes.fromhex(run), "attempt": 2, "viewerKey": bytes(32), "deadline": FOREVER}
    with pytest.raises(Exception, match="another run or attempt"):
        sol._signed(f"/runs/{run}/attempts/1/views", "review", "Review", message)


def test_an_unexpected_failure_shows_a_number_only(deployment, monkeypatch, capsys) -> None:
    def fail(*_: object) -> None:
        raise KeyError(f"/secret/{CANARY}")

    monkeypatch.setattr(deployment.services.projection, "sync", fail)
    answer = httpx.get(f"{deployment.url}/permits")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert re.fullmatch(r"[0-9a-f]{16}", answer.json()["request"])
    _shows_nothing(answer)
    logged = capsys.readouterr()
    assert answer.json()["request"] in logged.out + logged.err
    assert CANARY not in logged.out + logged.err


def test_a_ledger_that_is_down_is_reported(deployment, monkeypatch) -> None:
    from chain.errors import LedgerDown

    def fail(*_: object) -> None:
        raise LedgerDown(f"the ledger does not answer ({CANARY})")

    monkeypatch.setattr(deployment.services.projection, "sync", fail)
    answer = httpx.get(f"{deployment.url}/permits")
    assert (answer.status_code, answer.json()["reason"]) == (503, "ledger-down")
    _shows_nothing(answer)


def test_answers_are_neither_cached_nor_sniffed(deployment) -> None:
    for answer in (
        httpx.get(f"{deployment.url}/health"),
        httpx.get(f"{deployment.url}/nothing"),
        httpx.post(f"{deployment.url}/permits", content=b"{"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_openapi_declares_every_error_and_example(deployment) -> None:
    document = httpx.get(f"{deployment.url}/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert {"422", "500", "503"} <= operation["responses"].keys(), (method, path)
            for status, response in operation["responses"].items():
                wanted = "application/problem+json" if int(status) >= 400 else None
                assert wanted is None or list(response["content"]) == [wanted], (
                    method,
                    path,
                    status,
                )


def test_every_refusal_of_the_contracts_has_its_sentence() -> None:
    unseen = {
        "NotARegistry",
        "NotDirect",
        "NothingRecorded",  # told as the reason inside it
        "SlotsUnavailable",
        "ListMismatch",
        "LeaseOver",
        "WorkerMismatch",
        "AlreadySealed",
        "OutputClassRefused",
        "NotAscending",
        "TooManySubjects",
        "StringTooLong",
        "InvalidShortString",
        "ERC5267ExtensionsNotSupported",
    }
    named = {
        entry["name"]
        for contract in CONTRACTS
        for entry in load(contract).abi
        if entry["type"] == "error"
    }
    assert named - unseen <= REFUSALS.keys()


def _check(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    assert answer.json()["detail"].endswith(".")
    assert answer.json()["hint"].endswith(".")
    _shows_nothing(answer)


def _shows_nothing(answer: httpx.Response) -> None:
    shown = answer.text.replace("application/problem+json", "")
    assert CANARY not in shown
    assert "Traceback" not in shown
    assert not re.search(
        r"(/[\w.-]+){2,}|\.py\b|\bselect\b|\bError\b|Exception|pydantic|\bclass\b", shown, re.I
    ), shown
