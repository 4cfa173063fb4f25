"""Attacks on authorisation, outputs and the trail."""

from __future__ import annotations

from collections.abc import Callable

from api.demo.attacks.frame import attack, authorised, looked_at, willing
from api.demo.stage import CODE, MemoryOutbox, World, random32
from chain.events import Receipt
from chain.transactor import Transactor


def _list_attack(world: World, alter: Callable[[list[bytes]], list[bytes]] | None) -> Receipt:
    """Relay a list that differs from the one that the worker signed."""
    subjects = willing(world, 4)
    run = world.request_run(world.permit())
    message = world.binding(run, subjects)
    given = alter(subjects) if alter else subjects
    return world.relay(
        "AccessLedger",
        "authorise",
        "WorkerBinding",
        message,
        world.by("wanda", "WorkerBinding", message),
        given,
    )


@attack("a shortened subject list", "operator", "ListMismatch")
def shortened(world: World, forged: bool) -> Receipt:
    return _list_attack(world, (lambda subjects: subjects[:-1]) if forged else None)


@attack("a padded subject list", "operator", "ListMismatch")
def padded(world: World, forged: bool) -> Receipt:
    return _list_attack(
        world, (lambda subjects: sorted([*subjects, random32()])) if forged else None
    )


@attack("a person counted twice", "worker", "NotAscending")
def duplicated(world: World, forged: bool) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    return world.authorise(run, sorted([*subjects, subjects[0]]) if forged else subjects)


@attack("a changed byte of code", "worker", "reason 38")
def changed_code(world: World, forged: bool) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    return world.authorise(
        run, subjects, codeHash=bytes([CODE[0] ^ 1]) + CODE[1:] if forged else CODE
    )


@attack("an authorisation used a second time", "operator", "AttemptOutOfOrder")
def second_use(world: World, forged: bool) -> Receipt:
    run, subjects = authorised(world)
    return world.authorise(run, subjects, attempt=1 if forged else 2)


@attack("fewer willing people than the minimum", "analyst", "reason 40")
def too_few(world: World, forged: bool) -> Receipt:
    subjects = willing(world, 2 if forged else 3)
    return world.authorise(world.request_run(world.permit()), subjects)


@attack("a seal by another worker", "worker", "WorkerMismatch")
def other_worker(world: World, forged: bool) -> Receipt:
    run, _ = authorised(world)
    by = "wilma" if forged else "wanda"
    message = world.seal_message(run)
    return world.relay("AccessLedger", "seal", "Seal", message, world.by(by, "Seal", message))


@attack("the analyst looks before the release", "analyst", "CheckerConflict")
def analyst_views(world: World, forged: bool) -> Receipt:
    run, _ = authorised(world)
    world.seal(run)
    return world.view_output(run, "noor" if forged else "sol")


@attack("a release by one checker", "checker", "SignersNotAscending")
def one_checker(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    return world.release(
        run, seal, subjects, [0] * 3, by=("sol", "sol") if forged else ("sol", "tess")
    )


@attack("a release signed by the analyst", "analyst", "CheckerConflict")
def analyst_releases(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    return world.release(
        run, seal, subjects, [0] * 3, by=("sol", "noor") if forged else ("sol", "tess")
    )


@attack("a release of something nobody looked at", "checker", "NotViewed")
def unseen(world: World, forged: bool) -> Receipt:
    run, subjects = authorised(world)
    seal = world.seal(run)
    world.view_output(run, "sol")
    if not forged:
        world.view_output(run, "tess")
    return world.release(run, seal, subjects, [0] * 3)


@attack("a release after a revocation", "operator", "reason 3")
def after_revocation(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    if forged:
        world.revoke(subjects[1])
    return world.release(run, seal, subjects, [0] * 3)


@attack("a release after a revocation and a new grant", "operator", "reason 75")
def after_regrant(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    if forged:
        world.revoke(subjects[1])
        world.grant([subjects[1]])
    return world.release(run, seal, subjects, [0] * 3)


@attack("a release of another output than was seen", "worker", "SealMismatch")
def other_output(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    return world.release(run, random32() if forged else seal, subjects, [0] * 3)


# Creation code of a contract that forwards calldata[32:] to the address in calldata[:32], and
# failures back.
FORWARDER = bytes.fromhex(
    "602c80600b6000396000f36020360360206000376000600060203603600060006000355af13d600060003e6027573d6000fd5b3d6000f3"
)


@attack("a signed message through a contract in between", "operator", "NotDirect")
def through_contract(world: World, forged: bool) -> Receipt:
    """Otherwise the evidence would not be the transaction's own input, and one transaction could
    make many steps.
    """
    (subject,) = world.enrol()
    item = world.grant_item(world.grant_message(subject))
    if not forged:
        return world.ledger.relay("ConsentRegistry", "grant", [item])
    # As the relay, because the ledger accepts contracts from known senders only.
    from chain.node import created_at

    call = world.ledger.node.call
    sender = Transactor(call, world.relayer, MemoryOutbox(), world.ledger.domain.chain_id)
    nonce = int(call("eth_getTransactionCount", [sender.address, "latest"]), 16)
    sender.send(None, FORWARDER)
    forwarder = created_at(sender.address, nonce)
    target = bytes.fromhex(world.ledger.domain.contracts["ConsentRegistry"][2:]).rjust(32, b"\0")
    return sender.send(forwarder, target + world.ledger.encode("ConsentRegistry", "grant", [item]))


@attack("a step on the trail by a stranger", "operator", "NotARegistry")
def stranger_step(world: World, forged: bool) -> Receipt:
    if forged:
        return world.ledger.relay("Trail", "append", 17, random32(), random32())
    return world.grant(world.enrol())
