"""Yesterday's signatures on today's chain: same chain id, same addresses, another salt."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from narrated import tell_of_care

from api.demo.stage import MemoryOutbox, World, random32
from api.operate.bootstrap import FOREVER
from chain.devnode.process import DevChain
from chain.errors import ChainError
from chain.transactor import Transactor
from chain.wallets import Wallet
from governance.audit import export_bundle
from governance.rules.tables import CALLS


def lived(world: World) -> list[tuple[str, bytes]]:
    """A world in which everything happened once; every transaction's target and input, in order."""
    subjects = world.enrol(4)
    world.grant(subjects)
    run = world.request_run(world.permit())
    world.authorise(run, subjects)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.view_output(run, name)
    world.release(run, seal, subjects, [0] * 4)
    world.revoke(subjects[0])
    for name in ("sol", "tess"):  # the other ways a run can end, and what stops a permit
        other = world.request_run(world.permit())
        if name == "sol":
            message = {"run": other, "deadline": FOREVER}
            world.relay(
                "AccessLedger", "cancel", "Cancel", message, world.by("noor", "Cancel", message)
            )
            continue
        world.authorise(other, subjects[1:])
        decision = {
            "run": other,
            "attempt": 1,
            "sealHash": world.seal(other),
            "reason": 96,
            "deadline": FOREVER,
        }
        world.view_output(other, name)
        world.relay(
            "AccessLedger", "reject", "Decision", decision, world.by(name, "Decision", decision)
        )
    tell_of_care(world)
    world.void_records(world.register_records())
    newcomer = Wallet.new().address
    world.set_role(newcomer, "worker")
    world.cancel_role(newcomer)
    flapping = world.request_run(world.permit())
    for attempt in range(1, 17):
        world.authorise(flapping, subjects, attempt=attempt)
    world.resume(flapping)
    order = {"permit": world.permit(), "deadline": FOREVER}
    world.relay("PermitRegistry", "suspend", "Suspend", order, world.by("dora", "Suspend", order))
    return [
        (item["to"], bytes.fromhex(item["input"][2:]))
        for item in export_bundle(world.ledger)["transactions"]
    ]


@pytest.mark.parametrize(
    "same_salt", [False, True], ids=["another salt", "control removed: the same salt"]
)
def test_every_signature_replayed_on_a_second_deployment(tmp_path: Path, same_salt: bool) -> None:
    salt = random32()
    with DevChain.start(tmp_path / "first") as chain:
        first = World.create(chain.url, salt=salt)
        calls = lived(first)
        steps = first.ledger.head()[0]
    with DevChain.start(tmp_path / "second") as chain:
        second = World.create(
            chain.url,
            salt=salt if same_salt else random32(),
            relay=first.relayer,
            people=first.people,
            roles=False,
        )
        assert second.ledger.domain.contracts == first.ledger.domain.contracts
        assert second.ledger.domain.chain_id == first.ledger.domain.chain_id
        sender = Transactor(
            second.ledger.node.call, Wallet.new(), MemoryOutbox(), second.ledger.domain.chain_id
        )
        for to, data in calls:
            try:
                sender.send(to_checksum_address(to), data)
            except ChainError:
                continue
        assert second.ledger.head()[0] == (steps if same_salt else 0)
        assert {data[:4].hex() for _, data in calls} == set(CALLS)
