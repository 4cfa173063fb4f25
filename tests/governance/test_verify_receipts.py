"""Receipts and witnesses: what they anchor, and which of their facts are checked."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from narrated import Judge, Narrative, as_bytes, bundle_of, reasons, replay, states
from rig import Rig

from api.client.client import Client
from api.client.results import withdrawal_receipt
from api.demo.forgeries import rewrite
from api.demo.stage import ROLE_DELAY, World, random32
from api.http.routes.serializers import show_effect, show_withdrawal
from chain.devnode.process import DevChain
from chain.ledger import message_tuple
from chain.wallets import Wallet
from governance import audit, verify, withdrawal_effects
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.vault import Bucket
from governance.readmodel import queries as register
from governance.readmodel.database import open_database
from governance.readmodel.projection import Projection
from governance.verify import (
    canonical,
    identity_id,
)


def patient_receipt(narrative: Narrative) -> dict[str, Any]:
    """A consent given through the real terms, as its holder keeps it (docs/ledger.md)."""
    world, subject, terms, salt = (
        narrative.world,
        narrative.names["subjects"][6],
        '{"type":"volens/terms/1"}',
        random32(),
    )
    commitment = hashlib.sha256(
        canonical(b"volens/terms/1", salt, hashlib.sha256(terms.encode()).digest())
    ).digest()
    message = world.grant_message(subject, termsCommitment=commitment)
    item = world.grant_item(message)
    world.ledger.relay("ConsentRegistry", "grant", [item])
    narrative.bundle = bundle_of(world)
    last = narrative.bundle["transactions"][-1]
    signed = {
        name: value.hex() if isinstance(value, bytes) else value for name, value in message.items()
    }
    count, head = world.ledger.head()
    return {
        "type": "volens/receipt/2",
        "identity": identity_id(narrative.bundle["identity"]).hex(),
        "subject": subject.hex(),
        "dataset": world.dataset.hex(),
        "epoch": 0,
        "version": 1,
        "tx": last["hash"],
        "block": last["block"],
        "blockHash": narrative.bundle["blocks"][str(last["block"])]["hash"],
        "time": narrative.bundle["blocks"][str(last["block"])]["timestamp"],
        "count": count,
        "head": head.hex(),
        "terms": terms,
        "termsSalt": salt.hex(),
        "signedMessage": signed,
        "signature": item[2].hex(),
        "witness": narrative.witness(count),
    }


def run_receipt(narrative: Narrative, nth: int = 2) -> dict[str, Any]:
    replayed = replay(narrative.bundle).replayed
    run, attempt = narrative.names["run"], replayed.attempts[narrative.names["run"], nth]
    steps = replay(narrative.bundle).steps
    count = 1 + next(
        i
        for i, step in enumerate(steps)
        if any(log.topics[0] == verify.TOPICS["Released"] for log in step.logs)
    )
    request = replayed.runs[run].request
    return {
        "type": "volens/run-receipt/2",
        "identity": identity_id(narrative.bundle["identity"]).hex(),
        "run": run.hex(),
        "attempt": nth,
        "permit": request["permit"].hex(),
        "listHash": attempt.list_hash.hex(),
        "granted": len(attempt.granted),
        "sealHash": narrative.names["seal"].hex(),
        "outputCommitment": attempt.seal["outputCommitment"].hex(),
        "outputSalt": "00" * 32,
        "releaseTx": steps[count - 1].tx.hash.hex(),
        "time": steps[count - 1].block.timestamp,
        "count": count,
        "head": steps[count - 1].head.hex(),
        "witness": narrative.witness(count),
        "codeHash": attempt.binding["codeHash"].hex(),
        "paramsHash": request["paramsHash"].hex(),
    }


@pytest.mark.parametrize("make", [patient_receipt, run_receipt])
def test_a_receipt_anchors_and_each_of_its_facts_is_checked(
    narrative: Narrative, make: Callable[[Narrative], dict[str, Any]]
) -> None:
    receipt = make(narrative)
    # A run's receipt is older than the last step: it vouches for no more than it knows.
    anchored = "ok" if receipt["count"] == narrative.bundle["head"]["count"] else "partly"
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", anchored]
    judge = Judge(narrative.bundle)
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
        assert judge.refuses(receipt | {name: other}), name
        assert judge.refuses({n: v for n, v in receipt.items() if n != name}), name
    for name in ("outputSalt", "granted", "attempt"):
        for other in (True, "00" * 31, "zz" * 32, {}):
            if name in receipt:
                assert judge.refuses(receipt | {name: other}), (name, other)
    for change in (
        {"note": "Nothing of yours was ever used."},
        {"identity": receipt["identity"]},
        {"broker": narrative.world.people["sol"].address},
        narrative.witness(receipt["count"], by="sol"),
        {"count": 1},
        {"signature": narrative.witness(1)["signature"]},
        {"block": 1},
        {"blockHash": "00" * 32},
    ):
        forged = receipt | {"witness": receipt["witness"] | change}
        assert judge.refuses(forged), change
    assert states(narrative.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"]


def withdrawal_receipts(
    narrative: Narrative, bucket: BucketProcess, who: int
) -> list[dict[str, Any]]:
    """What a patient keeps of each of her withdrawals, newest first, made as the service and her
    command make it.
    """
    subject, engine = narrative.names["subjects"][who], open_database("sqlite://")
    store = Bucket("volens", bucket.url)
    store.create()
    Projection(engine, narrative.world.ledger, store).sync()
    newest = register.newest_step(engine)
    assert newest == narrative.bundle["head"]
    me = Client("http://localhost", narrative.bundle["identity"], subject=subject)
    return [
        json.loads(
            withdrawal_receipt(
                me,
                register.find_receipt(engine, withdrawal.tx),
                show_withdrawal(withdrawal, newest),
                narrative.witness(newest["count"]),
            )
        )
        for withdrawal in withdrawal_effects.withdrawals_of(engine, subject.hex(), newest["count"])
    ]


@pytest.fixture
def withdrawn(narrative: Narrative, bucket_process: BucketProcess) -> dict[str, dict[str, Any]]:
    narrative.bundle = bundle_of(narrative.world)
    revoked = withdrawal_receipts(narrative, bucket_process, 0)[-1]
    narrowed = withdrawal_receipts(narrative, bucket_process, 1)[0]
    return {"revoked": revoked, "narrowed": narrowed}


@pytest.mark.parametrize("kind", ["revoked", "narrowed"])
def test_a_receipt_of_a_withdrawal_is_compared_whole(
    narrative: Narrative, withdrawn: dict[str, dict[str, Any]], kind: str
) -> None:
    receipt = withdrawn[kind]
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    effects, mined = receipt["effects"], receipt["receipt"]
    assert {row["was"] for row in effects} & {"sealed", "released"}
    forged = [receipt | {name: "00" * 31 + "01"} for name in ("identity", "subject", "dataset")]
    forged += [
        receipt
        | {"receipt": mined | {name: value + 1 if isinstance(value, int) else "00" * 31 + "01"}}
        for name, value in mined.items()
    ]
    forged += [
        receipt | {"asOf": receipt["asOf"] | {"count": receipt["asOf"]["count"] - 1}},
        receipt | {"asOf": {"count": mined["count"], "head": mined["head"]}},
        receipt | {"asOf": receipt["asOf"] | {"note": "All her data was deleted."}},
        receipt | {"asOf": receipt["asOf"] | {"identity": receipt["identity"]}},
        receipt | {"witness": receipt["witness"] | {"note": "All her data was deleted."}},
        receipt | {"witness": narrative.witness(mined["count"] + 1)},  # older than what is told
        receipt | {"witness": narrative.witness(receipt["asOf"]["count"], by="sol")},
        receipt | {"settled": not receipt["settled"]},
        receipt | {"effects": []},
        receipt | {"effects": effects[1:]},
        receipt | {"effects": [*effects, effects[0]]},
        receipt | {"effects": [*effects, effects[0] | {"run": "00" * 31 + "01"}]},
    ]
    for position, effect in enumerate(effects):
        for name, value in effect.items():
            changed_value: Any = (
                not value
                if isinstance(value, bool)
                else value + 1
                if isinstance(value, int)
                else "00" * 31 + "01"
                if name == "run"
                else "released"
                if value != "released"
                else "queued"
            )
            changed = [*effects]
            changed[position] = effect | {name: changed_value}
            forged.append(receipt | {"effects": changed})
            changed = [*effects]
            changed[position] = {n: v for n, v in effect.items() if n != name}
            forged.append(receipt | {"effects": changed})
            if value in (0, 1):  # the same to Python, and not to who reads the receipt
                changed = [*effects]
                changed[position] = effect | {
                    name: int(value) if isinstance(value, bool) else bool(value)
                }
                forged.append(receipt | {"effects": changed})
        for seconds in ("soon", "-1.00", "1e9", 3):
            changed = [*effects]
            changed[position] = effect | {"stopped": seconds}
            forged.append(receipt | {"effects": changed})
        if effect["was"] != "computing":
            changed = [*effects]
            changed[position] = effect | {"stopped": "1.00"}
            forged.append(receipt | {"effects": changed})
    forged += [
        {n: v for n, v in receipt.items() if n != name} for name in receipt if name != "witness"
    ]
    judge = Judge(narrative.bundle)
    for forgery in forged:
        assert judge.refuses(forgery), forgery
    assert states(narrative.bundle, receipts=[as_bytes(forged[0])])[2] == "no"
    assert len(forged) > 40


def test_a_withdrawal_receipt_without_a_witness_anchors_nothing(
    narrative: Narrative, withdrawn: dict[str, dict[str, Any]]
) -> None:
    """Who keeps it may have written it, for a trail that ends where that suits the exporter."""
    receipt = {n: v for n, v in withdrawn["revoked"].items() if n != "witness"}
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "not-checked"]
    forged = receipt | {"settled": not receipt["settled"]}
    assert states(narrative.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"]


def test_a_withdrawal_receipt_tells_what_followed_it(
    narrative: Narrative, withdrawn: dict[str, dict[str, Any]]
) -> None:
    """Emptied and told as of a step before the withdrawal, when nothing had followed yet."""
    receipt = withdrawn["revoked"]
    mined = receipt["receipt"]["count"]
    for count in (25, mined - 1):
        step = replay(narrative.bundle).steps[count - 1]
        as_of = {"count": count, "head": step.head.hex()}
        emptied = receipt | {"effects": [], "settled": True, "asOf": as_of}
        for witness in (narrative.witness(25), narrative.witness(mined), receipt["witness"]):
            forged = emptied | {"witness": witness}
            assert states(narrative.bundle, receipts=[as_bytes(forged)])[2] == "no"


def test_nothing_in_a_receipt_is_read_twice_or_not_at_all(
    narrative: Narrative, withdrawn: dict[str, dict[str, Any]]
) -> None:
    """A field inside `receipt` took the place of the outer one, which was shown and not checked."""
    receipt = withdrawn["revoked"]
    hidden = {name: receipt[name] for name in ("subject", "dataset", "effects", "settled")}
    shown = {"subject": "00" * 32, "dataset": "00" * 32, "effects": [], "settled": True}
    forged = receipt | shown | {"receipt": receipt["receipt"] | hidden}
    assert states(narrative.bundle, receipts=[as_bytes(forged)])[2] == "no"
    for make in (patient_receipt, run_receipt):
        forged = make(narrative) | {"sentence": "Nothing of yours was ever used."}
        assert states(narrative.bundle, receipts=[as_bytes(forged)])[2] == "no"
    forged = receipt | {"sentence": "Nothing of yours was ever used."}
    assert states(narrative.bundle, receipts=[as_bytes(forged)])[2] == "no"


def test_a_consent_receipt_is_of_the_message_that_the_ledger_took(narrative: Narrative) -> None:
    """Beside hers in the batch: a wider one in her name that nobody signed, which the contract
    skips.
    """
    world, (subject, stranger) = narrative.world, narrative.world.enrol(2)
    terms, salt = '{"type":"volens/terms/1"}', random32()
    bound = canonical(b"volens/terms/1", salt, hashlib.sha256(terms.encode()).digest())
    commitment = hashlib.sha256(bound).digest()
    message = world.grant_message(subject, termsCommitment=commitment)
    item = world.grant_item(message)
    wide = message | {"purposes": verify.PURPOSES, "untilDay": message["untilDay"] + 3650}
    junk = (message_tuple("Grant", wide), item[1], b"\x11" * 65)
    neighbour = world.grant_message(stranger, termsCommitment=commitment)
    others = world.grant_item(neighbour)
    unborn = message | {"replaces": 7}  # hers too, of a version that she never had: refused
    ahead = world.grant_item(unborn)
    world.ledger.relay("ConsentRegistry", "grant", [item, junk, others, ahead])
    narrative.bundle = bundle_of(world)
    count, head = world.ledger.head()
    step = replay(narrative.bundle).steps[count - 1]

    def kept(signed: dict[str, Any], signature: bytes) -> bytes:
        return as_bytes(
            {
                "type": "volens/receipt/2",
                "identity": identity_id(narrative.bundle["identity"]).hex(),
                "subject": subject.hex(),
                "dataset": world.dataset.hex(),
                "epoch": 0,
                "version": 1,
                **position_of(step, count, head),
                "terms": terms,
                "termsSalt": salt.hex(),
                "signedMessage": {
                    n: v.hex() if isinstance(v, bytes) else v for n, v in signed.items()
                },
                "signature": signature.hex(),
                "witness": narrative.witness(count),
            }
        )

    assert states(narrative.bundle, receipts=[kept(message, item[2])]) == ["ok", "ok", "ok"]
    for signed, signature in ((wide, junk[2]), (neighbour, others[2]), (unborn, ahead[2])):
        assert states(narrative.bundle, receipts=[kept(signed, signature)])[2] == "no"


def test_a_broker_is_judged_as_it_was_then(devchain: DevChain) -> None:
    """Its role ends, and it is given again later: what it witnessed before stays witnessed, and
    nothing else.
    """
    narrative = Narrative(World.create(devchain.url))
    receipt, world = run_receipt(narrative), narrative.world
    broker = world.people["bram"].address
    world.set_role(broker, "broker", end=world.ledger.now())
    narrative.bundle = bundle_of(world)
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "partly"]
    world.set_role(broker, "broker", start=world.ledger.now() + 10)
    narrative.bundle = bundle_of(world)
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "partly"]
    late = narrative.bundle | {"witnesses": [narrative.witness(narrative.bundle["head"]["count"])]}
    assert states(late) == ["ok", "ok", "not-checked"]
    assert "say nothing" in reasons(late)
    anchoring = receipt | {"witness": late["witnesses"][0]}
    assert states(narrative.bundle, receipts=[as_bytes(anchoring)]) == ["ok", "ok", "no"]


def test_a_broker_is_judged_by_the_time_that_it_signed(narrative: Narrative) -> None:
    """On a quiet ledger terms begin and end by time: long after the last step, and without a step
    of their own.
    """
    world, broker = narrative.world, Wallet.new()
    world.people["later"] = broker
    world.set_role(broker.address, "broker", end=world.ledger.now() + 3 * ROLE_DELAY)
    narrative.bundle, receipt = bundle_of(world), run_receipt(narrative)
    replayed_trail, last = replay(narrative.bundle), narrative.bundle["head"]
    _, start, end, _ = replayed_trail.replayed.members[bytes.fromhex(broker.address[2:])]
    assert (
        replayed_trail.steps[-1].block.timestamp < start < end
    )  # a new one begins after the delay
    block = replayed_trail.steps[-1].block.number + 1
    for time, live in ((start - 1, False), (start, True), (end - 1, True), (end, False)):
        seen = {"block": block, "blockHash": bytes(32), "time": time}
        witness = narrative.witness(last["count"], by="later", **seen)
        bundle = narrative.bundle | {"witnesses": [witness]}
        assert states(bundle, heads=[last]) == ["ok", "ok", "ok"], "a sound trail stays valid"
        assert ("1 of 1 witnesses in the trail's file say nothing" in reasons(bundle)) != live
        anchored = states(narrative.bundle, receipts=[as_bytes(receipt | {"witness": witness})])
        assert anchored == ["ok", "ok", "ok" if live else "no"], time


def test_an_export_stays_valid_when_its_brokers_term_is_over(rig: Rig) -> None:
    """The service still asks it for witnesses, and puts them into every export."""
    ledger, broker = rig.world.ledger, rig.broker.address
    for ended in (False, True):
        if ended:
            rig.world.set_role(broker, "broker", end=ledger.now())
            rig.world.enrol(1)
        witness = rig.broker.witness()
        assert witness["broker"] == broker
        bundle = audit.export_bundle(ledger, [witness])
        assert states(bundle, heads=[bundle["head"]]) == ["ok", "ok", "ok"]
        assert ("say nothing" in reasons(bundle)) == ended


def test_a_role_counts_from_the_block_that_gave_or_ended_it(devchain: DevChain) -> None:
    """Two blocks may have the same second: the block's number decides what the witness saw."""
    narrative = Narrative(World.create(devchain.url))
    world, receipt = narrative.world, run_receipt(narrative)
    before = narrative.bundle["head"]["count"]
    world.set_role(world.people["bram"].address, "broker", end=0)
    narrative.bundle = bundle_of(world)
    step, ended = replay(narrative.bundle).steps[before - 1 : before + 1]
    assert ended.block.number > step.block.number
    narrative.bundle["blocks"][str(ended.block.number)]["timestamp"] = step.block.timestamp
    narrative.bundle = rewrite(narrative.bundle)
    seen = {"block": ended.block.number, "blockHash": ended.block.hash}
    for witness, live in (
        (narrative.witness(before), True),
        (narrative.witness(before, **seen), False),
    ):
        anchored = states(narrative.bundle, receipts=[as_bytes(receipt | {"witness": witness})])
        assert anchored == ["ok", "ok", "partly" if live else "no"]


def test_a_witness_fits_between_the_steps_beside_it(narrative: Narrative) -> None:
    """Whose block is of another time than the trail leaves it saw another ledger: that is no honest
    export.
    """
    quiet = copy.copy(narrative)
    quiet.bundle = narrative.copy()
    last = quiet.bundle["transactions"][-1]
    block = quiet.bundle["blocks"].pop(str(last["block"]))
    last["block"] += 2  # so that two blocks without a step stand before it
    quiet.bundle["blocks"][str(last["block"])] = block | {"timestamp": block["timestamp"] + 9}
    quiet.bundle = rewrite(quiet.bundle)
    *_, step, end = replay(quiet.bundle).steps
    empty, time = end.block.number - 1, step.block.timestamp
    for seen, true in (
        ({"block": empty}, True),
        ({"block": empty, "time": end.block.timestamp}, True),
        ({"block": empty, "time": end.block.timestamp + 1}, False),
        ({"block": empty, "time": time - 1}, False),
        ({"block": step.block.number - 1}, False),
        ({"time": time + 1}, False),
    ):
        witness = quiet.witness(step.count, **seen)
        assert states(quiet.bundle | {"witnesses": [witness]})[1] == ("ok" if true else "no"), seen


@pytest.mark.parametrize(
    ("history", "was"),
    [
        # A request that was refused while the permit was voted on, and taken afterwards.
        (["0 RunRefused 33", "0 RunRequested", "1 RunAuthorised"], "computing"),
        # Too few people at first.
        (["0 RunRequested", "1 RunRefused 40", "1 RunAuthorised"], "computing"),
        # Another worker's attempt is refused while this one's output is sealed, and then released.
        (["0 RunRequested", "1 RunAuthorised", "1 Sealed", "2 RunRefused 40"], "sealed"),
        (
            ["0 RunRequested", "1 RunAuthorised", "1 Sealed", "2 RunRefused 40", "1 Released"],
            "released",
        ),
        # Its release was refused once, and can be signed anew.
        (["0 RunRequested", "1 RunAuthorised", "1 Sealed", "1 ReleaseRefused 36"], "sealed"),
        (["0 RunRequested", "1 RunRefused 40"], None),
        (["0 RunRequested", "1 RunAuthorised", "1 RunCancelled"], None),
    ],
)
def test_a_refusal_ends_no_run(history: list[str], was: str | None) -> None:
    """A withdrawal meets whatever was granted, also where something was refused before or after it."""
    past = []
    for step, event in enumerate(history, 1):
        attempt, name, *reason = event.split()
        past.append(verify.Past(name, step, int(attempt), int(reason[0]) if reason else 0))
    granted = [p.step for p in past if p.name == "RunAuthorised"]
    accesses = [verify.Access(1, True, step, 9) for step in granted]
    met = verify.use_met(bytes(32), len(past) + 1, past, accesses)
    assert (met.was if met else None) == was


def test_a_trail_that_is_too_large_is_not_called_forged(
    narrative: Narrative, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = as_bytes(narrative.bundle)
    monkeypatch.setattr(verify, "MAX_BUNDLE", len(data) - 1)
    verdicts = verify.examine(data, [narrative.bundle["head"]])
    assert verify.code_of(verdicts) == verify.NOT_CHECKED
    assert "MiB that this program reads" in verdicts["consistent"][1]


def position_of(step: verify.Step, count: int, head: bytes) -> dict[str, Any]:
    """The position of a receipt's step."""
    return {
        "tx": step.tx.hash.hex(),
        "block": step.block.number,
        "blockHash": step.block.hash.hex(),
        "time": step.block.timestamp,
        "count": count,
        "head": head.hex(),
    }


def receipt_at_once(
    narrative: Narrative, subject: bytes, stopped: float | None = None, state: str = ""
) -> dict[str, Any]:
    """A receipt of her withdrawal, the last step, as of that step; stopped, state: what its machine
    says of a run.
    """
    world = narrative.world
    narrative.bundle = bundle_of(world)
    count, head = world.ledger.head()
    trail = replay(narrative.bundle)
    step = trail.steps[count - 1]
    effects = [
        withdrawal_effects.Effect(
            use, stopped if verify.may_stop(use) else None, state or use.state
        )
        for use in trail._met(subject, world.dataset, step, count).values()
    ]
    shown = [show_effect(effect) for effect in effects]
    return {
        "type": "volens/withdrawal-receipt/2",
        "identity": identity_id(narrative.bundle["identity"]).hex(),
        "subject": subject.hex(),
        "dataset": world.dataset.hex(),
        "receipt": position_of(step, count, head),
        "asOf": {"count": count, "head": head.hex()},
        "settled": all(effect.ended for effect in effects),
        "effects": [{n: v for n, v in row.items() if v is not None} for row in shown],
        "witness": narrative.witness(count),
    }


def test_a_stop_contradicts_a_sealed_output(devchain: DevChain) -> None:
    """The receipt tells it as of her withdrawal; a later step of the trail shows the contrary."""
    narrative = Narrative(World.create(devchain.url), history=False)
    world, subjects = narrative.world, narrative.world.enrol(4)
    world.grant(subjects)
    run = world.request_run(world.permit())
    world.authorise(run, subjects)
    world.revoke(subjects[0])
    receipt = receipt_at_once(narrative, subjects[0], stopped=1.0)
    assert [effect["was"] for effect in receipt["effects"]] == ["computing"]
    assert receipt["settled"]
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    world.seal(run)
    narrative.bundle = bundle_of(world)
    assert "sealed all the same" in reasons(narrative.bundle, receipts=[as_bytes(receipt)])


@pytest.mark.parametrize("how", ["sealed", "sealed without her", "took her in", "resumed"])
def test_a_failed_run_contradicts_later_steps_of_the_run(devchain: DevChain, how: str) -> None:
    """That it failed is its machine's word, and settles her receipt; only its analyst can have it
    tried again.
    """
    narrative = Narrative(World.create(devchain.url), history=False)
    world, subjects = narrative.world, narrative.world.enrol(4)
    world.grant(subjects)
    run, other = world.request_run(world.permit()), world.request_run(world.permit())
    tries = 16 if how == "resumed" else 1
    for attempt in range(1, tries + 1):
        world.authorise(run, subjects, attempt=attempt)
    if how == "sealed without her":
        world.revoke(subjects[0])
    else:
        world.grant([subjects[0]], purposes=0b10)  # narrower, and enough
    receipt = receipt_at_once(narrative, subjects[0], state="failed")
    assert receipt["settled"]
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    if how == "resumed":
        world.resume(run)
    if how != "sealed":
        world.authorise(run, subjects, attempt=tries + 1)
    if how != "took her in":
        world.seal(run, attempt=tries + (how != "sealed"))
    narrative.bundle = bundle_of(world)
    facts = reasons(narrative.bundle, receipts=[as_bytes(receipt)])
    assert ("told as failed went on" in facts) == (how != "resumed"), facts
    anchored = states(narrative.bundle, receipts=[as_bytes(receipt)])[2]
    assert anchored == ("partly" if how == "resumed" else "no")
    assert {effect["run"] for effect in receipt["effects"]} == {run.hex(), other.hex()}


def test_before_and_after_are_decided_by_steps_not_by_blocks() -> None:
    """One block may hold an access and, behind it, the withdrawal that meets it."""
    history = [
        verify.Past("RunRequested", 1, 0, 0),
        verify.Past("RunAuthorised", 2, 1, 0),
    ]
    accesses = [verify.Access(attempt=1, granted=True, step=2, block=9)]
    use = verify.use_met(bytes(32), 3, history, accesses)
    assert use is not None
    assert (use.was, use.attempt) == ("computing", 1)
    earlier = verify.use_met(bytes(32), 2, history, accesses)
    assert earlier is not None
    assert earlier.was == "queued"


def test_facts_of_the_workers_machine_are_not_proven(
    narrative: Narrative, withdrawn: dict[str, dict[str, Any]]
) -> None:
    """Seconds, and a run that failed on its worker's machine: in no head, and told with a sentence
    that fits.
    """
    receipt = withdrawn["narrowed"]
    effects = [dict(effect) for effect in receipt["effects"]]
    open_one = next(effect for effect in effects if effect["state"] in ("queued", "authorised"))
    open_one["state"] = "failed"
    failed = receipt | {"effects": effects}
    facts = reasons(narrative.bundle, receipts=[as_bytes(failed)])
    assert states(narrative.bundle, receipts=[as_bytes(failed)]) == ["ok", "ok", "ok"], facts
    ended = next(
        effect for effect in effects if effect["state"] not in ("queued", "authorised", "failed")
    )
    ended["state"] = "failed"
    assert states(narrative.bundle, receipts=[as_bytes(receipt | {"effects": effects})])[2] == "no"


def test_only_a_step_that_takes_something_back_is_a_withdrawal(
    narrative: Narrative, withdrawn: dict[str, dict[str, Any]]
) -> None:
    """Her first grant, her grant after the withdrawal, and the enrolment are hers too, and take
    nothing back.
    """
    receipt, judge = withdrawn["revoked"], Judge(narrative.bundle)
    subject, refused = bytes.fromhex(receipt["subject"]), 0
    for step in replay(narrative.bundle).steps:
        if (
            any(subject in log.topics for log in step.logs)
            and step.tx.hash.hex() != receipt["receipt"]["tx"]
        ):
            mined = position_of(step, step.count, step.head)
            assert judge.refuses(receipt | {"receipt": mined})
            refused += 1
    assert refused >= 4


def test_facts_outside_the_trail_are_printed_as_unproven(
    narrative: Narrative, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trail, receipt = tmp_path / "trail.json", tmp_path / "receipt.json"
    trail.write_bytes(as_bytes(narrative.bundle))
    receipt.write_bytes(as_bytes(run_receipt(narrative)))
    for given in ([], ["--receipt", str(receipt)]):
        verify.main([str(trail), *given])
        line = "receipts    not proven   an output's salt, seconds, and that a run failed: "
        assert (line in capsys.readouterr().out) == bool(given)


def test_a_count_of_people_is_a_number(devchain: DevChain) -> None:
    """`granted`: true is no number of people, also where it was one."""
    narrative = Narrative(World.create(devchain.url, floor=1), history=False)
    world, subjects = narrative.world, narrative.world.enrol()
    world.grant(subjects)
    run = world.request_run(world.permit(minCohort=1))
    world.authorise(run, subjects)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.view_output(run, name)
    world.release(run, seal, subjects, [0])
    narrative.bundle, narrative.names = bundle_of(world), {"run": run, "seal": seal}
    receipt = run_receipt(narrative, 1)
    assert states(narrative.bundle, receipts=[as_bytes(receipt)]) == ["ok", "ok", "ok"]
    for name in ("granted", "attempt"):
        assert receipt[name] == 1
        forged = receipt | {name: True}
        assert states(narrative.bundle, receipts=[as_bytes(forged)])[2] == "no", name


def test_a_receipt_that_names_another_kind_of_call_is_answered(narrative: Narrative) -> None:
    receipt = patient_receipt(narrative)
    steps = replay(narrative.bundle).steps
    enrolled = next(
        step
        for step in steps
        if any(log.topics[0] == verify.TOPICS["Enrolled"] for log in step.logs)
    )
    forged = receipt | {"tx": enrolled.tx.hash.hex()}
    assert states(narrative.bundle, receipts=[as_bytes(forged)]) == ["ok", "ok", "no"]


def test_witnesses_in_the_bundle_are_checked_but_anchor_nothing(narrative: Narrative) -> None:
    bundle = narrative.copy() | {"witnesses": [narrative.witness(25)]}
    assert states(bundle) == ["ok", "ok", "not-checked"]
    bundle["witnesses"] = [narrative.witness(25) | {"head": narrative.witness(26)["head"]}]
    assert states(bundle)[1] == "no"
    bundle["witnesses"] = [
        narrative.witness(25) | {"signature": narrative.witness(26)["signature"]}
    ]
    assert states(bundle)[1] == "no"
    bundle["witnesses"] = [
        narrative.witness(25, by="sol") | {"broker": narrative.witness(25)["broker"]}
    ]
    assert states(bundle)[1] == "no"
    # True, and before he was a broker, or of somebody who never was one: nobody's word, and no
    # forgery.
    bundle["witnesses"] = [
        narrative.witness(25),
        narrative.witness(3),
        narrative.witness(25, by="sol"),
    ]
    assert states(bundle) == ["ok", "ok", "not-checked"]
    assert "2 of 3 witnesses in the trail's file say nothing" in reasons(bundle)


def test_a_held_head_is_of_its_own_ledger(narrative: Narrative) -> None:
    """A file of held heads names the ledger of each: one of another ledger vouches for nothing
    here.
    """
    head = narrative.bundle["head"]
    ours = {**head, "identity": identity_id(narrative.bundle["identity"]).hex()}
    assert states(narrative.bundle, heads=[ours]) == ["ok", "ok", "ok"]
    other = ours | {"identity": "00" * 32}
    assert states(narrative.bundle, heads=[other]) == ["ok", "ok", "no"]
    assert f"the head of step {head['count']} is of another ledger" in reasons(
        narrative.bundle, heads=[other]
    )


def test_the_identity_needs_a_quorum_of_founders(narrative: Narrative) -> None:
    for change in (
        lambda s: s.pop(narrative.world.people["pia"].address),
        lambda s: s.update({narrative.world.people["rui"].address: "00" * 65}),
    ):
        bundle = narrative.copy()
        change(bundle["identity"]["signatures"])
        assert "no" in states(bundle)


def test_a_witness_of_another_block_or_of_an_older_head_does_not_anchor_a_receipt(
    narrative: Narrative,
) -> None:
    receipt, world = run_receipt(narrative), narrative.world
    older = receipt | {"witness": narrative.witness(1)}
    assert states(narrative.bundle, receipts=[as_bytes(older)]) == ["ok", "ok", "no"]
    step = replay(narrative.bundle).steps[receipt["count"] - 1]
    message = {
        "identity": identity_id(narrative.bundle["identity"]),
        "block": step.block.number,
        "blockHash": bytes(32),
        "time": step.block.timestamp,
        "count": step.count,
        "head": step.head,
    }
    fork = receipt["witness"] | {
        "blockHash": "00" * 32,
        "signature": world.by("bram", "Witness", message).hex(),
    }
    assert states(narrative.bundle, receipts=[as_bytes(receipt | {"witness": fork})]) == [
        "ok",
        "ok",
        "no",
    ]
