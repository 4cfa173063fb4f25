"""Tampering with evidence besides the trail: the right check detects each change, and no false
alarms.
"""

from __future__ import annotations

import pytest

from api.client.results import keep_pair, open_output, run_receipt, withdrawal_receipt
from api.demo.evidence_tampers import TABLE, EvidenceTamper, Shelf, inside, noticed, untouched
from governance import consent
from governance.rules.ledger_data import parse_identity
from governance.rules.signatures import load_crypto
from governance.rules.trail import Replay


@pytest.fixture(scope="module")
def shelf(deployment, tmp_path_factory) -> Shelf:
    """A released result with its receipt, a consent's and a withdrawal's, and the trail that holds
    all three.
    """
    folder = tmp_path_factory.mktemp("shelf")
    world = deployment.world
    (subject,) = deployment.people(1, agree=False)
    ada = deployment.patient(subject)
    offered = consent.offer(
        consent.PRESETS["cancer"], subject, world.dataset, 0, 0, world.ledger.now(), 1 << 39
    )
    proof = ada.grant([ada.signed_grant(offered.message)])["items"][0]["proof"]
    world.request_run(world.permit())  # a use that her withdrawal meets
    sealed, other = (
        deployment.sealed_output(folder / name) for name in ("result.key", "other.key")
    )
    for name in ("sol", "tess"):
        checker = deployment.as_(name)
        for run in (sealed.run, other.run):
            checker.view_output(run, 1, keep_pair(folder / f"{name}.key"))
            open_output(
                checker,
                sealed.broker,
                checker.run(run),
                folder / f"{name}.key",
                checker.wallet.address,
            )
        checker.approve(sealed.run)
    noor = deployment.as_("noor")
    run = noor.run(sealed.run)
    opened = open_output(noor, sealed.broker, run, sealed.key_file)
    ended = ada.revoke(world.dataset, 0)["receipt"]
    followed = next(
        withdrawal for withdrawal in ada.withdrawals() if withdrawal["tx"] == ended["tx"]
    )
    assert followed["effects"]
    receipts = {
        "grant": consent.patient_receipt(proof, offered.terms, offered.salt),
        "run": run_receipt(noor, run, opened, sealed.broker.witness()),
        "stop": withdrawal_receipt(ada, ended, followed, sealed.broker.witness()),
    }
    files = [
        next(
            (deployment.home / "bucket").rglob(
                f"*{noor.run(output.run)['outputs'][-1]['ciphertext']}"
            )
        )
        for output in (sealed, other)
    ]
    bundle = noor.trail()
    journal = (deployment.home / "broker" / "journal.jsonl").read_bytes()
    replay = Replay(bundle, load_crypto(parse_identity(bundle["identity"])))
    return Shelf(
        (files[0], files[1]),
        deployment.services.bucket.get,
        journal,
        receipts,
        replay,
        inside(opened),
        bytes.fromhex(sealed.run),
        1,
        bytes.fromhex(run["outputs"][-1]["outputCommitment"]),
    )


@pytest.mark.parametrize("what", TABLE, ids=lambda what: what.name)
def test_the_expected_check_notices(shelf: Shelf, what: EvidenceTamper) -> None:
    word, reason = noticed(shelf, what)
    assert word == what.word
    assert reason
    assert noticed(shelf, untouched(what.word, what.receipt)) == ("", "")


def test_a_bucket_that_did_not_hash_again_would_hand_out_anything(
    shelf: Shelf, monkeypatch
) -> None:
    blob = shelf.objects[0].read_bytes()
    monkeypatch.setattr(
        "governance.objects.vault.object_name", lambda _: f"o/{shelf.objects[0].name}"
    )
    for name in (
        "an object's bit flipped",
        "an object cut short",
        "another object put in its place",
    ):
        assert noticed(shelf, next(tampering for tampering in TABLE if tampering.name == name)) == (
            "",
            "",
        )
    assert shelf.objects[0].read_bytes() == blob


@pytest.mark.parametrize(
    ("checks", "names"),
    [
        (
            "governance.broker.journal:Journal._follow",
            [tampering.name for tampering in TABLE if tampering.word == "journal"],
        ),
        (
            "governance.rules.trail:Replay._grants",
            [
                "other terms in a patient's receipt",
                "another consent in a patient's receipt",
                "another person's signature in a patient's receipt",
            ],
        ),
        ("governance.rules.trail:Replay._withdrawals", ["what became of her uses, told otherwise"]),
        (
            "governance.rules.trail:Replay._releases",
            [
                "fewer people in a run's receipt",
                "another output in a run's receipt",
                "other code in a run's receipt",
            ],
        ),
    ],
    ids=["journal", "consent", "withdrawal", "run"],
)
def test_without_the_check_the_change_gets_through(
    shelf: Shelf, monkeypatch, checks: str, names: list[str]
) -> None:
    monkeypatch.setattr(checks.replace(":", "."), lambda *_: True)
    for name in names:
        assert noticed(shelf, next(tampering for tampering in TABLE if tampering.name == name)) == (
            "",
            "",
        ), name


def test_the_table_has_no_duplicates() -> None:
    assert len({tampering.name for tampering in TABLE}) == len(TABLE)
    assert {tampering.word for tampering in TABLE} == {"object", "journal", "receipt", "result"}
