"""Single replayed steps: the contracts' reasons, order, encodings, and skipped items."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

import pytest
from narrated import ROOT, Narrative, bundle_of, calls, reasons, replay, states

from api.demo.forgeries import rewrite
from api.demo.stage import MemoryOutbox, World, random32
from chain.errors import ChainError, Refused
from chain.ledger import message_tuple
from chain.transactor import Transactor
from chain.wallets import Wallet
from governance import verify
from governance.verify import (
    Malformed,
    ReplayedState,
    parse_log,
    words,
)


def folded(world: World) -> ReplayedState:
    """The replayed state of a whole chain, with every signature checked; its head is the
    contract's.
    """
    bundle = bundle_of(world)
    assert (
        replay(bundle).replayed.head
        == replay(bundle, signed=True).replayed.head
        == bytes.fromhex(bundle["head"]["head"])
    )
    return replay(bundle, signed=True).replayed


def test_the_rules_give_every_reason_of_the_contracts(world: World) -> None:
    now, today = world.ledger.now(), world.ledger.now() // 86400
    subjects = world.enrol(9)
    world.grant(subjects[:4])
    for subject, change in zip(
        subjects[4:7],
        ({"fromDay": today + 9}, {"purposes": 1 << 3}, {"categories": 1}),
        strict=True,
    ):
        world.grant([subject], **change)
    world.grant([subjects[7]])
    world.revoke(subjects[7])
    permit, stranger = world.permit(expiry=now + 10**6), random32()
    run = world.request_run(permit)
    world.authorise(run, sorted([*subjects, stranger]), leaseSeconds=10**7)
    replayed = folded(world)
    attempt = replayed.attempts[run, 1]
    assert dict(attempt.denied) == dict(
        zip([stranger, *subjects[4:]], (1, 4, 6, 7, 3, 2), strict=True)
    )
    assert attempt.lease_until == replayed.time + 86400
    world.authorise(run, subjects, attempt=2, codeHash=random32())  # 38
    late = world.request_run(permit, deadline=world.ledger.now() + 3)
    time.sleep(5)  # until the deadline has passed, on a slow machine too
    world.authorise(late, subjects)  # 41
    rejected = world.permit(approve=())
    for name in ("pia", "quinn"):
        world.vote(rejected, name, yes=False)
    world.request_run(rejected)  # 39
    world.set_role(world.people["noor"].address, "analyst", end=world.ledger.now())
    world.authorise(run, subjects, attempt=2, by="wilma")  # 36
    world.set_role(world.people["wanda"].address, "worker", end=world.ledger.now())
    for refused in (
        partial(world.request_run, permit),
        partial(world.authorise, run, subjects, attempt=2),
    ):
        with pytest.raises(Refused, match="NotLive"):  # whose role has ended leaves no trace
            refused()
    assert folded(world).newest_attempt(run) == 1
    narrative = [
        log["data"]
        for tx in bundle_of(world)["transactions"]
        for log in tx["logs"]
        if log["topics"][0] == "0x" + verify.TOPICS["RunRefused"].hex()
    ]
    assert {int(data[-64:], 16) for data in narrative} >= {36, 38, 39}


def test_a_step_through_another_contract_or_out_of_order_is_refused(narrative: Narrative) -> None:
    for change in (
        {"to": narrative.bundle["identity"]["contracts"][2]["address"]},
        {"to": "0x" + "99" * 20},
    ):
        bundle = narrative.copy()
        bundle["transactions"][0].update(change)
        assert "was not sent to the PermitRegistry" in reasons(bundle)
    bundle = narrative.copy()
    bundle["transactions"].insert(1, bundle["transactions"][0])
    assert "does not follow" in reasons(bundle)
    bundle = narrative.copy()
    bundle["blocks"][str(bundle["transactions"][5]["block"])]["timestamp"] = 1
    assert "time" in reasons(bundle)


def test_an_odd_encoding_that_the_contracts_accept_is_accepted(narrative: Narrative) -> None:
    """Somebody relays a valid vote with its signature moved and slack behind it: no replay may stop
    there.
    """
    bundle = narrative.copy()
    item = bundle["transactions"][calls(bundle, "vote")[0]]
    raw = bytes.fromhex(item["input"][2:])
    head, tail = raw[: 4 + 4 * 32], raw[4 + 5 * 32 :]
    item["input"] = "0x" + (head + words(6 * 32) + b"\xee" * 32 + tail + b"\xdd" * 7).hex()
    bundle = rewrite(bundle)  # another call, so another head; every rule and signature holds
    assert states(bundle, heads=[bundle["head"]]) == ["ok", "ok", "ok"]


def test_dirty_bits_are_refused_as_solidity_does(narrative: Narrative) -> None:
    bundle = narrative.copy()
    data = bundle["transactions"][0]["input"]
    bundle["transactions"][0]["input"] = (
        data[:10] + "01" + data[12:]
    )  # above the 20 bytes of an address
    assert "bits that are not its own" in reasons(bundle)


@pytest.mark.parametrize("function", ["enrol", "grant"])
def test_the_rules_read_every_item_that_the_contract_reads(world: World, function: str) -> None:
    """Each word of a batch pointed out of the call or made dirty: the contract refuses the call, or
    both agree on it.

    The broken item is a stranger's, beside a good one: a reader stricter than the contract could be
    made to stop.
    """
    first, second = world.enrol(2)
    stranger, to = Wallet.new(), world.ledger.domain.contracts["ConsentRegistry"]
    sender = Transactor(
        world.ledger.node.call, Wallet.new(), MemoryOutbox(), world.ledger.domain.chain_id
    )

    def batch() -> bytes:
        items = (
            [
                world.enrolment(random32(), stranger, registrar="noor"),
                world.enrolment(random32(), stranger),
            ]
            if function == "enrol"
            else [
                world.grant_item(world.grant_message(second), stranger),
                world.grant_item(world.grant_message(first)),
            ]
        )
        return world.ledger.encode("ConsentRegistry", function, items)

    taken, refused = 0, 0
    for at in range(4 + 2 * 32, 4 + 18 * 32, 32):
        for word in (1 << 200, 1 << 255, 32, 0):
            data = batch()
            try:
                sender.send(to, data[:at] + words(word) + data[at + 32 :])
                taken += 1
            except ChainError:
                refused += 1
    assert taken > 5
    assert refused > 5
    assert folded(world).head == world.ledger.head()[1]


def test_every_skipped_item_is_skipped_for_the_contract_s_reason(world: World) -> None:
    people, today = world.enrol(2), world.ledger.now() // 86400
    (known, other), mine = people, world.subjects
    wallet, stranger = mine[known], random32()
    short = {
        "subject": stranger,
        "signer": wallet.signer[:19],
        "assurance": 1,
        "deadline": 2**40 - 1,
    }
    world.ledger.relay(
        "ConsentRegistry",
        "enrol",
        [
            world.enrolment(stranger, wallet, deadline=1),
            world.enrolment(known, mine[other]),
            world.enrolment(bytes(32), wallet),
            (message_tuple("Enrolment", short), bytes(65), bytes(65)),
            world.enrolment(stranger, wallet, registrar="omar"),
            (*world.enrolment(stranger, wallet)[:2], bytes(65)),
        ],
    )
    world.revoke(known)
    changes: list[dict[str, Any]] = [
        {"deadline": 1},
        {"epoch": 0},
        {"epoch": 2},  # ahead of the ledger, as the next: without a trace
        {"replaces": 1},
        {"fromDay": today + 9, "untilDay": today},
        {"untilDay": today - 1, "fromDay": 0},
        {"purposes": 0},
        {"categories": 0},
        {"purposes": 1 << 7},
        {"categories": 1 << 10},
    ]
    items = [world.grant_item(world.grant_message(known, **change)) for change in changes]
    message = world.grant_message(known)
    items += [
        world.grant_item(message, mine[other]),
        (message_tuple("Grant", message), mine[other].signer, bytes(65)),
        world.grant_item(world.grant_message(stranger), wallet),
        world.grant_item(message),
    ]
    world.ledger.relay("ConsentRegistry", "grant", items)
    assert len(folded(world).consents) == 1
    skipped = [
        log["data"][2:10]
        for tx in bundle_of(world)["transactions"]
        for log in tx["logs"]
        if log["topics"][0] == "0x" + verify.TOPICS["ItemRefused"].hex()
    ]
    assert set(skipped) == set(
        re.findall(r'"[A-Z]\w+ ([0-9a-f]{8})"', (ROOT / "governance" / "verify.py").read_text())
    )


def test_an_event_more_elsewhere_or_out_of_order_is_named(narrative: Narrative) -> None:
    bundle = narrative.copy()
    logs = bundle["transactions"][3]["logs"]
    logs.append(logs[-1] | {"index": 9})
    assert "event 3 should not be there" in reasons(bundle)
    logs.pop()
    logs[0]["address"] = "0x" + "99" * 20
    assert "event 1" in reasons(bundle)
    bundle = narrative.copy()
    bundle["transactions"][3]["logs"][1]["index"] = 0
    assert "not in order" in reasons(bundle)
    start = int(narrative.world.ledger.identity["deployBlock"])
    log = narrative.world.ledger.logs(start, start + 20)[0]
    with pytest.raises(Malformed, match="taken back"):
        parse_log(log | {"removed": True})
