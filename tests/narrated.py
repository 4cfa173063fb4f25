"""One story on a real chain, as an exported trail, for several tests of the verifier."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from api.demo.care_stage import (
    authorise_plan,
    care_permit,
    countersign,
    end_plan,
    open_plan,
    request_plan,
    seal_plan,
    sealed_plan,
    view_plan,
)
from api.demo.forgeries import Rewriter
from api.demo.stage import World, random32
from chain.wallets import Wallet
from governance import verify
from governance.verify import (
    decode_call,
    examine,
    identity_id,
    load_crypto,
    parse_identity,
)

ROOT = Path(__file__).resolve().parents[1]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
IDENTITY = {
    "type": "volens/identity/3",
    "chainId": 31337,
    "genesisHash": "0x" + "11" * 32,
    "deployBlock": 5,
    "salt": "22" * 32,
    "contracts": [
        {"name": name, "address": f"0x{i:040x}", "codeHash": f"{i:064x}"}
        for i, name in enumerate(verify.CONTRACTS, 1)
    ],
    "quorum": 2,
    "cohortFloor": 10,
    "maxLease": 86_400,
    "roleDelay": 172_800,
    "founders": [f"0x{i:040x}" for i in (7, 8, 9)],
    "signatures": {},
}


def tell(world: World) -> dict[str, Any]:
    """Every kind of step at least once; returns the names that the tests ask for."""
    world.set_role(world.people["pia"].address, "committee")
    subjects = world.enrol(7)
    world.ledger.relay(
        "ConsentRegistry",
        "enrol",
        [
            world.enrolment(subjects[0], Wallet.new()),  # she is enrolled with another key
            world.enrolment(random32(), world.people["pia"], registrar="noor"),
        ],
    )
    world.grant(subjects[:6])
    unknown = world.grant_message(subjects[0], categories=1 << 30)
    world.ledger.relay(
        "ConsentRegistry",
        "grant",
        [
            world.grant_item(unknown),
            world.grant_item(world.grant_message(subjects[1]), world.subjects[subjects[2]]),
        ],
    )
    world.void_records(world.register_records())
    world.void_records(world.register_records(), by=("pia", "rui"))
    world.register_records()
    newcomer = Wallet.new().address
    world.set_role(newcomer, "worker")  # acts after two days
    world.cancel_role(newcomer)
    world.permit(approve=())
    world.vote(world.permit(approve=("pia",)), "quinn", yes=False)  # neither
    refused = world.permit(approve=())
    for name in ("pia", "rui"):
        world.vote(refused, name, yes=False)
    permit = world.permit()
    run = world.request_run(permit)
    world.authorise(run, subjects)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.view_output(run, name)
    flapping = world.request_run(permit)
    world.revoke(subjects[0])
    world.revoke(subjects[0], epoch=0)
    world.release(run, seal, subjects[:6], [0] * 6)  # refused: the first has revoked
    world.authorise(run, subjects, attempt=2)
    seal = world.seal(run, attempt=2)
    for name in ("sol", "tess"):
        world.view_output(run, name, attempt=2)
    world.release(run, seal, subjects[1:6], [0] * 5, attempt=2)
    small = world.request_run(permit)
    world.authorise(small, subjects[:3])  # refused: two willing, three needed
    cancel = {"run": small, "deadline": 2**40 - 1}
    world.relay("AccessLedger", "cancel", "Cancel", cancel, world.by("noor", "Cancel", cancel))
    world.authorise(small, subjects)  # refused: cancelled
    third = world.request_run(permit)
    world.authorise(third, subjects)
    no = {
        "run": third,
        "attempt": 1,
        "sealHash": world.seal(third),
        "reason": 98,
        "deadline": 2**40 - 1,
    }
    world.view_output(third, "sol")
    world.relay("AccessLedger", "reject", "Decision", no, world.by("sol", "Decision", no))
    world.grant([subjects[1]], purposes=0b10)  # narrower: a new epoch
    world.grant([subjects[0]])
    for attempt in range(1, 17):
        world.authorise(flapping, subjects, attempt=attempt)
    world.resume(flapping)
    world.authorise(flapping, subjects, attempt=17)
    tell_of_care(world)
    order = {"permit": permit, "deadline": 2**40 - 1}
    world.relay("PermitRegistry", "suspend", "Suspend", order, world.by("dora", "Suspend", order))
    world.request_run(permit)  # refused: suspended
    return {
        "subjects": subjects,
        "permit": permit,
        "run": run,
        "small": small,
        "third": third,
        "seal": seal,
    }


def tell_of_care(world: World) -> None:
    """Every kind of step of a patient's own care at least once."""
    subject, run, seal = sealed_plan(world)
    countersign(world, run, seal)
    open_plan(world, run, subject)
    permit = care_permit(world)
    end_plan(world, request_plan(world, permit, subject))
    waiting = request_plan(world, permit, subject)
    authorise_plan(world, waiting)
    seal = seal_plan(world, waiting)
    view_plan(world, waiting)
    late = request_plan(world, permit, subject)
    world.revoke(subject)
    countersign(world, waiting, seal)  # refused: she has withdrawn
    authorise_plan(world, late)  # refused: she has withdrawn


def bundle_of(world: World) -> dict[str, Any]:
    """The trail of a world as a bundle, with its identity signed by two founders and the broker."""
    ledger = world.ledger
    identity = copy.deepcopy(dict(ledger.identity))
    for name in ("pia", "quinn", "bram"):
        signature = world.by(name, "Identity", {"id": identity_id(identity)})
        identity["signatures"][world.people[name].address] = "0x" + signature.hex()
    logs: dict[str, list[Any]] = {}
    for log in ledger.logs(0, int(ledger.block()["number"], 16)):
        logs.setdefault(log["transactionHash"], []).append(log)
    transactions, blocks = [], {}
    for name, own in logs.items():
        tx = ledger.transaction(name)
        block = ledger.block(int(tx["blockNumber"], 16))
        blocks[str(int(block["number"], 16))] = {
            "hash": block["hash"],
            "timestamp": int(block["timestamp"], 16),
        }
        transactions.append(
            {
                "hash": name,
                "block": int(tx["blockNumber"], 16),
                "index": int(tx["transactionIndex"], 16),
                "to": tx["to"],
                "input": tx["input"],
                "logs": [
                    {
                        "address": log["address"],
                        "topics": log["topics"],
                        "data": log["data"],
                        "index": int(log["logIndex"], 16),
                    }
                    for log in own
                ],
            }
        )
    count, head = ledger.head()
    return {
        "type": "volens/trail/2",
        "identity": identity,
        "blocks": blocks,
        "transactions": transactions,
        "head": {"count": count, "head": head.hex()},
        "witnesses": [],
    }


class Narrative:
    """A world and its trail; with `history`, after everything that `tell` makes happen in it."""

    def __init__(self, world: World, history: bool = True) -> None:
        self.world, self.names = world, tell(world) if history else {}
        self.bundle = bundle_of(world)

    def copy(self) -> dict[str, Any]:
        return copy.deepcopy(self.bundle)

    def witness(self, count: int, by: str = "bram", **seen: Any) -> dict[str, Any]:
        """What a broker gives for step `count`; `seen`: another block, blockHash and time than the
        step's, signed.
        """
        step = replay(self.bundle).steps[count - 1]
        message = {
            "block": step.block.number,
            "blockHash": step.block.hash,
            "time": step.block.timestamp,
            "count": count,
            "head": step.head,
        } | seen
        identity = identity_id(self.bundle["identity"])
        signature = self.world.by(by, "Witness", {"identity": identity, **message})
        texts = {n: v.hex() if isinstance(v, bytes) else v for n, v in message.items()}
        broker = self.world.people[by].address
        return {"broker": broker, **texts, "signature": signature.hex()}


def replay(bundle: dict[str, Any], signed: bool = False) -> verify.Replay:
    crypto = load_crypto(parse_identity(bundle["identity"])) if signed else None
    return verify.Replay(bundle, crypto)


def states(bundle: object, **given: Any) -> list[str]:
    return [state for state, _ in examine(as_bytes(bundle), **given).values()]


def reasons(bundle: object, **given: Any) -> str:
    return " ".join(reason for _, reason in examine(as_bytes(bundle), **given).values())


class Judge:
    """What the auditor's program says of many receipts, one after the other, of a trail that it
    replays once.
    """

    def __init__(self, bundle: dict[str, Any]) -> None:
        self._replay = replay(bundle, signed=True)

    def refuses(self, receipt: dict[str, Any]) -> bool:
        try:
            self._replay.receipt(as_bytes(receipt))
        except verify.VerifyError:
            return True
        return False


def as_bytes(bundle: object) -> bytes:
    return bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()


def twisted(signature: bytes, how: str) -> bytes:
    high = (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    return {
        "high s": signature[:32] + high + bytes([55 - signature[64]]),
        "v 0": signature[:64] + bytes([signature[64] - 27]),
        "short": signature[:64],
        "zero": bytes(64) + b"\x1b",
    }[how]


class Forger(Rewriter):
    """As the demo's forger; `trusting`: the items of a batch are taken as signed, whatever the logs
    say.
    """

    def __init__(self, bundle: dict[str, Any], trusting: bool = False) -> None:
        super().__init__(bundle["identity"])
        self.trusting = trusting

    def _believed(self, position: int, index: int, event: Any) -> Any:
        return event if self.trusting else super()._believed(position, index, event)


def calls(bundle: dict[str, Any], function: str) -> list[int]:
    return [
        i
        for i, tx in enumerate(bundle["transactions"])
        if decode_call(bytes.fromhex(tx["input"][2:]))[1] == function
    ]
