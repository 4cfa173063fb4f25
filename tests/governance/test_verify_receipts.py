"""Receipts and witnesses: what they anchor, and which of their facts are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from told import Told, as_bytes, bundle_of, replay, states

from api.demo.stage import random32
from governance import verify
from governance.verify import (
    canonical,
    identity_id,
)


def patient_receipt(told: Told) -> dict[str, Any]:
    """A consent given through the real terms, as its holder keeps it (protocol.md §1)."""
    world, subject, terms, salt = (
        told.world,
        told.names["subjects"][6],
        '{"type":"volens/terms/1"}',
        random32(),
    )
    commitment = hashlib.sha256(
        canonical(b"volens/terms/1", salt, hashlib.sha256(terms.encode()).digest())
    ).digest()
    message = world.grant_message(subject, termsCommitment=commitment)
    item = world.grant_item(message)
    world.ledger.relay("ConsentRegistry", "grant", [item])
    told.bundle = bundle_of(world)
    last = told.bundle["transactions"][-1]
    signed = {
        name: value.hex() if isinstance(value, bytes) else value for name, value in message.items()
    }
    count, head = world.ledger.head()
    return {
        "type": "volens/receipt/1",
        "identity": identity_id(told.bundle["identity"]).hex(),
        "subject": subject.hex(),
        "dataset": world.dataset.hex(),
        "epoch": 0,
        "version": 1,
        "tx": last["hash"],
        "block": last["block"],
        "blockHash": told.bundle["blocks"][str(last["block"])]["hash"],
        "count": count,
        "head": head.hex(),
        "terms": terms,
        "termsSalt": salt.hex(),
        "signedMessage": signed,
        "signature": item[2].hex(),
        "witness": told.witness(count),
    }


def run_receipt(told: Told) -> dict[str, Any]:
    fold = replay(told.bundle).fold
    run, attempt = told.names["run"], fold.attempts[told.names["run"], 2]
    steps = replay(told.bundle).steps
    count = 1 + next(
        i
        for i, step in enumerate(steps)
        if any(log.topics[0] == verify.TOPICS["Released"] for log in step.logs)
    )
    request = fold.runs[run].request
    return {
        "type": "volens/run-receipt/1",
        "identity": identity_id(told.bundle["identity"]).hex(),
        "run": run.hex(),
        "attempt": 2,
        "permit": request["permit"].hex(),
        "listHash": attempt.list_hash.hex(),
        "granted": 5,
        "sealHash": told.names["seal"].hex(),
        "outputCommitment": attempt.seal["outputCommitment"].hex(),
        "outputSalt": "00" * 32,
        "releaseTx": steps[count - 1].tx.hash.hex(),
        "count": count,
        "head": steps[count - 1].head.hex(),
        "witness": told.witness(count),
        "codeHash": attempt.binding["codeHash"].hex(),
        "paramsHash": request["paramsHash"].hex(),
    }


@pytest.mark.parametrize("make", [patient_receipt, run_receipt])
def test_a_receipt_anchors_and_each_of_its_facts_is_checked(
    told: Told, make: Callable[[Told], dict[str, Any]]
) -> None:
    receipt = make(told)
    assert states(told.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    for name, value in receipt.items():
        if name in ("witness", "outputSalt"):  # the salt opens the output, not the trail
            continue
        other: Any = (
            value + 1
            if isinstance(value, int)
            else {}
            if isinstance(value, dict)
            else "00" * 31 + "01"
        )
        assert states(told.bundle, receipts=[as_bytes(receipt | {name: other})]) == [
            "ok",
            "ok",
            "no",
        ], name
        assert (
            states(
                told.bundle, receipts=[as_bytes({n: v for n, v in receipt.items() if n != name})]
            )[2]
            == "no"
        ), name
    for change in (
        {"broker": told.world.people["sol"].address},
        told.witness(receipt["count"], by="sol"),
        {"count": 1},
        {"signature": told.witness(1)["signature"]},
        {"block": 1},
        {"blockHash": "00" * 32},
    ):
        forged = receipt | {"witness": receipt["witness"] | change}
        assert states(told.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"], change


def withdrawal_receipt(
    told: Told, who: int, event: str, run: str, was: str, attempt: int
) -> dict[str, Any]:
    """What a patient keeps of the first step that took something back, as her command writes it; one effect."""
    subject = told.names["subjects"][who]
    steps = replay(told.bundle).steps
    step = next(
        step
        for step in steps
        for log in step.logs
        if log.topics[:2] == (verify.TOPICS[event], subject)
        and (event == "ConsentRevoked" or any(log.data[:32]))
    )
    mined = {
        "tx": step.tx.hash.hex(),
        "block": step.block.number,
        "blockHash": step.block.hash.hex(),
        "count": step.count,
        "head": step.head.hex(),
    }
    effect = {
        "run": told.names[run].hex(),
        "was": was,
        "attempt": attempt,
        "sealed": False,
        "nextAttempt": 0,
        "nextBlock": 0,
        "state": "released",
        "sentence": "What became of it.",
    }
    return {
        "type": "volens/withdrawal-receipt/1",
        "identity": identity_id(told.bundle["identity"]).hex(),
        "subject": subject.hex(),
        "dataset": told.world.dataset.hex(),
        "receipt": mined,
        "settled": True,
        "effects": [effect],
    }


@pytest.mark.parametrize(
    "given",
    [
        (0, "ConsentRevoked", "run", "sealed", 1),
        (1, "ConsentGranted", "run", "released", 2),
    ],
    ids=["revoked", "narrowed"],
)
def test_a_receipt_of_a_withdrawal_anchors_and_its_ledger_facts_are_checked(
    told: Told, given: tuple[Any, ...]
) -> None:
    receipt = withdrawal_receipt(told, *given)
    assert states(told.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    assert states(told.bundle, receipts=[as_bytes(receipt | {"effects": []})]) == ["ok", "ok", "ok"]
    mined, (effect,) = receipt["receipt"], receipt["effects"]
    forged = [receipt | {name: "00" * 31 + "01"} for name in ("identity", "subject", "dataset")]
    forged += [
        receipt
        | {"receipt": mined | {name: value + 1 if isinstance(value, int) else "00" * 31 + "01"}}
        for name, value in mined.items()
    ]
    released = "sealed" if effect["was"] == "released" else "released"
    other = {
        "run": "00" * 31 + "01",
        "was": released,
        "attempt": 3 - effect["attempt"] if given[0] == 0 else 3,
    }
    forged += [receipt | {"effects": [effect | {name: value}]} for name, value in other.items()]
    if effect["was"] == "released":  # it is not hidden behind an attempt that she was not in
        forged.append(receipt | {"effects": [effect | {"was": "queued", "attempt": 0}]})
    forged += [
        {n: v for n, v in receipt.items() if n != name}
        for name in ("receipt", "effects", "subject", "dataset")
    ]
    for one in forged:
        assert states(told.bundle, receipts=[as_bytes(one)]) == ["ok", "ok", "no"], one


def test_only_a_step_that_takes_something_back_is_a_withdrawal(told: Told) -> None:
    """Her first grant, her grant after the withdrawal, and the enrolment are hers too, and take nothing back."""
    receipt = withdrawal_receipt(told, 0, "ConsentRevoked", "run", "sealed", 1)
    subject, refused = bytes.fromhex(receipt["subject"]), 0
    for step in replay(told.bundle).steps:
        if (
            any(subject in log.topics for log in step.logs)
            and step.tx.hash.hex() != receipt["receipt"]["tx"]
        ):
            mined = {
                "tx": step.tx.hash.hex(),
                "block": step.block.number,
                "blockHash": step.block.hash.hex(),
                "count": step.count,
                "head": step.head.hex(),
            }
            assert states(told.bundle, receipts=[as_bytes(receipt | {"receipt": mined})]) == [
                "ok",
                "ok",
                "no",
            ]
            refused += 1
    assert refused >= 4


def test_a_receipt_that_names_another_kind_of_call_is_answered(told: Told) -> None:
    receipt = patient_receipt(told)
    steps = replay(told.bundle).steps
    enrolled = next(
        one for one in steps if any(log.topics[0] == verify.TOPICS["Enrolled"] for log in one.logs)
    )
    forged = receipt | {"tx": enrolled.tx.hash.hex()}
    assert states(told.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"]


def test_witnesses_in_the_bundle_are_checked_but_anchor_nothing(told: Told) -> None:
    bundle = told.copy() | {"witnesses": [told.witness(3)]}
    assert states(bundle) == ["ok", "ok", "not-checked"]
    bundle["witnesses"] = [told.witness(3) | {"head": told.witness(4)["head"]}]
    assert states(bundle)[1] == "no"


def test_the_identity_needs_a_quorum_of_founders(told: Told) -> None:
    for change in (
        lambda s: s.pop(told.world.people["pia"].address),
        lambda s: s.update({told.world.people["rui"].address: "00" * 65}),
    ):
        bundle = told.copy()
        change(bundle["identity"]["signatures"])
        assert "no" in states(bundle)


def test_a_witness_of_another_block_or_of_an_older_head_does_not_anchor_a_receipt(
    told: Told,
) -> None:
    receipt, world = run_receipt(told), told.world
    older = receipt | {"witness": told.witness(1)}
    assert states(told.bundle, receipts=[as_bytes(older)]) == ["ok", "ok", "no"]
    step = replay(told.bundle).steps[receipt["count"] - 1]
    message = {
        "identity": identity_id(told.bundle["identity"]),
        "block": step.block.number,
        "blockHash": bytes(32),
        "count": step.count,
        "head": step.head,
    }
    fork = receipt["witness"] | {
        "blockHash": "00" * 32,
        "signature": world.by("bram", "Witness", message).hex(),
    }
    assert states(told.bundle, receipts=[as_bytes(receipt | {"witness": fork})]) == [
        "ok",
        "ok",
        "no",
    ]
