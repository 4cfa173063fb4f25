"""Opening outputs: only for the people that the ledger allows, and only the sealed output."""

from __future__ import annotations

import httpx
import pytest

from api.client.results import keep_pair, open_output, run_receipt, write_receipt
from api.errors import NotThere, VerificationFailed
from api.pages.result_check import check_opened
from governance.errors import BrokerRefused, NotAllowed, RequestInvalid
from governance.objects.broker_client import BrokerClient
from governance.objects.envelope import disclosure_commitment, output_commitment
from governance.rules.encoding import canonical_json
from governance.rules.trail import Replay

RESULT, DISCLOSURE = b'{"accuracy":"80"}', b'{"suppressed":3}'  # what the place seals


@pytest.fixture
def sealed(deployment, tmp_path):
    return deployment.sealed_output(tmp_path / "result.key")


def test_checker_then_analyst_open_it_and_the_receipt_verifies(
    deployment, sealed, tmp_path
) -> None:
    noor, sol, tess = (deployment.as_(name) for name in ("noor", "sol", "tess"))
    with pytest.raises(BrokerRefused) as early:
        open_output(noor, sealed.broker, noor.run(sealed.run), sealed.key_file)
    assert early.value.reason.slug == "not-released"
    with pytest.raises(BrokerRefused) as unseen:
        open_output(sol, sealed.broker, sol.run(sealed.run), sealed.key_file, sol.wallet.address)
    assert unseen.value.reason.slug == "no-look"
    for checker in (sol, tess):
        viewer = tmp_path / checker.wallet.address
        checker.view_output(sealed.run, 1, keep_pair(viewer))
        seen = open_output(
            checker, sealed.broker, checker.run(sealed.run), viewer, checker.wallet.address
        )
        assert (seen.result, seen.disclosure) == (RESULT, DISCLOSURE)
        checker.approve(sealed.run)
    run = noor.run(sealed.run)
    opened = open_output(noor, sealed.broker, run, sealed.key_file)
    assert opened == seen
    receipt = run_receipt(noor, run, opened, sealed.broker.witness())
    kept = write_receipt(tmp_path / "receipts", receipt)
    assert kept.stat().st_mode & 0o777 == 0o600
    Replay(noor.trail()).receipt(receipt)


class ThroughTheApi(BrokerClient):
    """Asks for pieces as a browser does, which reaches no broker."""

    api = ""

    def _ask(self, method, path, body=None, seconds=30.0):
        if path != "/output-pieces":
            return super()._ask(method, path, body, seconds)
        answer = httpx.post(f"{self.api}/runs/{body['run']}{path}", json=body)
        if answer.status_code == 403:
            raise NotAllowed(answer.json()["detail"])
        if answer.status_code == 409:
            raise BrokerRefused(answer.json()["code"])
        assert answer.status_code == 200
        return answer.json()


def test_the_api_passes_question_and_answer_on(deployment, sealed, tmp_path, monkeypatch) -> None:
    """What the broker refuses stays refused; strangers and nonsense do not reach it."""
    passed: list[object] = []
    real = deployment.services.broker.pass_on
    monkeypatch.setattr(
        deployment.services.broker, "pass_on", lambda it: passed.append(it) or real(it)
    )
    noor, sol, tess = (deployment.as_(name) for name in ("noor", "sol", "tess"))
    broker = ThroughTheApi(deployment.settings.address("broker"), noor.domain, noor.identity_id)
    broker.api = deployment.url
    viewer, me = tmp_path / "viewer", sol.wallet.signer.hex()
    with pytest.raises(BrokerRefused) as early:
        open_output(noor, broker, noor.run(sealed.run), sealed.key_file)
    assert early.value.reason.slug == "not-released"
    sol.view_output(sealed.run, 1, keep_pair(viewer))
    run = sol.run(sealed.run)
    assert open_output(sol, broker, run, viewer, me).result == RESULT
    with pytest.raises(BrokerRefused) as unseen:
        open_output(tess, broker, run, viewer, tess.wallet.signer.hex())
    assert unseen.value.reason.slug == "no-look"
    for name, key in ((me, viewer), (None, sealed.key_file)):  # in another's name
        with pytest.raises(NotAllowed):
            open_output(tess, broker, run, key, name)
    shares = [{"j": j, "wrapped": "00" * 60} for j in range(3)]
    record = {"record": sealed.run, "version": 1, "shares": shares}
    question = {"run": sealed.run, "attempt": 1, "records": [record], "signature": "1c" * 64 + "1b"}
    vera = deployment.as_("vera").wallet  # no checker
    hers = {**question, "viewer": vera.signer.hex()}
    for path, change, status in (
        (sealed.run, broker._signed(hers, vera), 403),
        (sealed.run, {}, 403),
        ("ab" * 32, {"run": "ab" * 32, "records": [record | {"record": "ab" * 32}]}, 404),
        ("ab" * 32, {}, 422),
        (sealed.run, {"attempt": 2}, 422),
        (sealed.run, {"records": [record | {"record": "ab" * 32}]}, 422),
        (sealed.run, {"records": [record, record]}, 422),
        (sealed.run, {"records": [record | {"shares": shares + shares[:1]}]}, 422),
        (sealed.run, {"more": "x" * (1 << 20)}, 413),
    ):
        answer = httpx.post(f"{deployment.url}/runs/{path}/output-pieces", json=question | change)
        assert answer.status_code == status, (change, answer.text)
    assert len(passed) == 3


def test_another_output_than_the_sealed_one_is_noticed(deployment, tmp_path) -> None:
    sealed = deployment.sealed_output(tmp_path / "key", commit_to=b"something else")
    sol = deployment.as_("sol")
    sol.view_output(sealed.run, 1, keep_pair(tmp_path / "viewer"))
    with pytest.raises(VerificationFailed, match="not the one that was sealed"):
        open_output(
            sol, sealed.broker, sol.run(sealed.run), tmp_path / "viewer", sol.wallet.address
        )


def test_without_the_key_of_the_request_nothing_opens(deployment, sealed, tmp_path) -> None:
    noor = deployment.as_("noor")
    with pytest.raises(NotThere):
        open_output(noor, sealed.broker, noor.run(sealed.run), tmp_path / "elsewhere.key")


def test_a_disclosure_record_that_was_not_sealed_is_refused() -> None:
    """It leaves with the result: checkers must see the one that the ledger commits to."""
    run, salt, result = b"\1" * 32, b"\2" * 32, {"analysis": "evaluate"}
    sealed: dict[str, list[object]] = {"withheld": []}
    parts = [canonical_json(part) for part in (result, sealed)]
    description = {
        "run": run.hex(),
        "outputs": [
            {
                "attempt": 1,
                "outputCommitment": output_commitment(run, 1, parts[0], salt).hex(),
                "disclosureCommitment": disclosure_commitment(run, 1, parts[1], salt).hex(),
            }
        ],
    }

    def opened(disclosure: object) -> bytes:
        return canonical_json({"result": result, "disclosure": disclosure, "salt": salt.hex()})

    assert check_opened(description, opened(sealed)) == (result, sealed)
    with pytest.raises(RequestInvalid, match="disclosure record"):
        check_opened(description, opened({"withheld": [], "patients": ["ada"]}))
