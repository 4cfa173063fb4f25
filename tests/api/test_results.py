"""Opening outputs: only for the people that the ledger allows, and only the sealed output."""

from __future__ import annotations

import pytest

from api.client.results import keep_pair, open_output, run_receipt, write_receipt
from api.errors import NotThere, VerificationFailed
from governance.errors import BrokerRefused
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
    found = noor.run(sealed.run)
    opened = open_output(noor, sealed.broker, found, sealed.key_file)
    assert opened == seen
    receipt = run_receipt(noor, found, opened, sealed.broker.witness())
    kept = write_receipt(tmp_path / "receipts", receipt)
    assert kept.stat().st_mode & 0o777 == 0o600
    Replay(noor.trail()).receipt(receipt)


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
