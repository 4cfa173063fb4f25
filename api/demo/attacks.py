"""Attacks on the contracts: each is one action, tried once forged and once with only the attacked field corrected.

The demo's Mallory and `tests/contracts/test_attacks.py` run the same table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eth_utils.crypto import keccak

from api.demo.stage import CODE, FOREVER, PARAMS, PARAMS_HASH, MemoryOutbox, World, random32
from chain.artifacts import CONTRACTS, load
from chain.errors import Refused
from chain.events import ItemRefused, Receipt, ReleaseRefused, RevokeStale, RunRefused
from chain.ledger import created_at
from chain.signatures import HALF_ORDER
from chain.transactor import Transactor
from chain.wallets import Wallet

Action = Callable[[World, bool], Receipt]
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class Attack:
    """`action(world, forged)`; `expected` is what the forged one must meet, word for word."""

    name: str
    attacker: str
    expected: str
    action: Action


TABLE: list[Attack] = []


def attack(name: str, attacker: str, expected: str) -> Callable[[Action], Action]:
    def add(action: Action) -> Action:
        TABLE.append(Attack(name, attacker, expected, action))
        return action

    return add


def outcome(action: Callable[[], Receipt]) -> str:
    """What became of a call: the refusal's name, or 'accepted'."""
    try:
        receipt = action()
    except Refused as refusal:
        return refusal.name
    for event in receipt.events:
        if isinstance(event, ItemRefused):
            return error_names()[event.reason]
        if isinstance(event, RunRefused | ReleaseRefused):
            return f"reason {event.reason}"
        if isinstance(event, RevokeStale):
            return "RevokeStale"
    return "accepted"


def error_names() -> dict[bytes, str]:
    """Names of the contracts' errors by selector."""
    found = {}
    for contract in CONTRACTS:
        for entry in load(contract).abi:
            if entry["type"] == "error":
                types = ",".join(item["type"] for item in entry["inputs"])
                found[keccak(text=f"{entry['name']}({types})")[:4]] = str(entry["name"])
    return found


def high_s(signature: bytes) -> bytes:
    """The other signature of the same key over the same digest, which ECDSA itself accepts."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64])
    assert s > HALF_ORDER
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


# -- setting up ------------------------------------------------------------------------------------------------------


def willing(world: World, count: int = 3) -> list[bytes]:
    """People who agreed; the same ones again where a test does not change them."""
    subjects = world.enrol(count)
    world.grant(subjects)
    return subjects


def authorised(world: World) -> tuple[bytes, list[bytes]]:
    subjects = willing(world)
    run = world.request_run(world.permit())
    world.authorise(run, subjects)
    return run, subjects


def looked_at(world: World) -> tuple[bytes, list[bytes], bytes]:
    run, subjects = authorised(world)
    seal = world.seal(run)
    world.look(run, "sol")
    world.look(run, "tess")
    return run, subjects, seal


def signed_by(world: World, wallet: Wallet, contract: str, function: str, kind: str, message: dict[str, object]) -> Receipt:
    return world.relay(contract, function, kind, message, wallet.sign(world.ledger.domain, kind, message))


# -- roles and permits -----------------------------------------------------------------------------------------------


@attack("a worker key of the relay's own under a live permit", "operator", "NotLive")
def own_worker(world: World, forged: bool) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    world.people["relay"] = world.relayer
    return world.authorise(run, subjects, by="relay" if forged else "wanda")


@attack("the operator grants a role", "operator", "NotLive")
def operator_role(world: World, forged: bool) -> Receipt:
    world.people["relay"] = world.relayer
    return world.set_role(Wallet.new().address, "worker", by=("relay", "pia") if forged else ("quinn", "pia"))


@attack("one committee key alone", "committee member", "QuorumMissing")
def one_key(world: World, forged: bool) -> Receipt:
    return world.set_role(Wallet.new().address, "checker", by=("pia",) if forged else ("pia", "quinn"))


@attack("one committee key twice", "committee member", "SignersNotAscending")
def same_key_twice(world: World, forged: bool) -> Receipt:
    return world.set_role(Wallet.new().address, "checker", by=("pia", "pia") if forged else ("pia", "rui"))


@attack("a second role for one address", "committee", "RoleTaken")
def second_role(world: World, forged: bool) -> Receipt:
    return world.set_role(world.people["rita"].address if forged else Wallet.new().address, "custodian")


@attack("the applicant votes for her own request", "analyst", "ApplicantVoted")
def applicant_votes(world: World, forged: bool) -> Receipt:
    return world.vote(world.permit(approve=()), "noor" if forged else "pia")


@attack("a vote for another text than was requested", "operator", "RequestMismatch")
def other_text(world: World, forged: bool) -> Receipt:
    permit = world.permit(approve=())
    return world.vote(permit, "pia", requestHash=random32()) if forged else world.vote(permit, "pia")


@attack("a signature of another type", "operator", "NotLive")
def other_type(world: World, forged: bool) -> Receipt:
    permit = world.permit()
    message = {"permit": permit, "deadline": FOREVER}
    kind = "Cancel" if forged else "Suspend"
    signature = world.by("pia", kind, {"run": permit, "deadline": FOREVER} if forged else message)
    return world.relay("PermitRegistry", "suspend", "Suspend", message, signature)


@attack("a signature for another contract", "operator", "NotTheCustodian")
def other_contract(world: World, forged: bool) -> Receipt:
    message = {"ingest": random32(), "dataset": world.dataset, "leavesRoot": random32(), "count": 1, "deadline": FOREVER}
    domain = world.ledger.domain
    if forged:
        swapped = dict(domain.contracts) | {"AccessLedger": domain.contracts["ConsentRegistry"]}
        domain = type(domain)(domain.chain_id, domain.salt, swapped)
    signature = world.people["omar"].sign(domain, "RecordsRegistered", message)
    return world.relay("AccessLedger", "registerRecords", "RecordsRegistered", message, signature)


@attack("a permit used by another analyst", "analyst", "NotTheApplicant")
def other_analyst(world: World, forged: bool) -> Receipt:
    permit = world.permit()
    world.people["nick"] = Wallet.new()
    world.set_role(world.people["nick"].address, "analyst")
    message = {"permit": permit, "paramsHash": PARAMS_HASH, "resultKey": random32(), "nonce": 7, "deadline": FOREVER}
    by = "nick" if forged else "noor"
    return world.relay("AccessLedger", "requestRun", "RunRequest", message, PARAMS, world.by(by, "RunRequest", message))


@attack("other parameters than were signed", "operator", "ParamsMismatch")
def other_params(world: World, forged: bool) -> Receipt:
    message = {
        "permit": world.permit(), "paramsHash": PARAMS_HASH, "resultKey": random32(), "nonce": 8, "deadline": FOREVER,
    }
    params = PARAMS + b" " if forged else PARAMS
    return world.relay("AccessLedger", "requestRun", "RunRequest", message, params, world.by("noor", "RunRequest", message))


# -- enrolment and consent -------------------------------------------------------------------------------------------


@attack("enrolment without the registrar", "operator", "NotARegistrar")
def no_registrar(world: World, forged: bool) -> Receipt:
    world.people["relay"] = world.relayer
    item = world.enrolment(random32(), Wallet.new(), registrar="relay" if forged else "rita")
    return world.ledger.relay("ConsentRegistry", "enrol", [item])


@attack("enrolment of a key that did not sign", "registrar", "SignatureInvalid")
def no_key(world: World, forged: bool) -> Receipt:
    hers, other = Wallet.new(), Wallet.new()
    message, registrar, signature = world.enrolment(random32(), hers)
    if forged:
        fields = {"subject": message[0], "signer": hers.signer, "assurance": 1, "deadline": FOREVER}
        signature = other.sign(world.ledger.domain, "Enrolment", fields)
    return world.ledger.relay("ConsentRegistry", "enrol", [(message, registrar, signature)])


@attack("a grant by a third party", "operator", "SignerMismatch")
def third_party_grant(world: World, forged: bool) -> Receipt:
    (subject,) = world.enrol()
    mallory = Wallet.new()
    message, signer, signature = world.grant_item(world.grant_message(subject), mallory if forged else None)
    return world.ledger.relay("ConsentRegistry", "grant", [(message, mallory.signer if forged else signer, signature)])


@attack("a revocation by a third party", "operator", "SignatureInvalid")
def third_party_revoke(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    return world.revoke(subject, wallet=Wallet.new() if forged else None)


@attack("the high-s twin of a signature", "operator", "SignatureInvalid")
def high_s_twin(world: World, forged: bool) -> Receipt:
    (subject,) = world.enrol()
    message, signer, signature = world.grant_item(world.grant_message(subject))
    return world.ledger.relay("ConsentRegistry", "grant", [(message, signer, high_s(signature) if forged else signature)])


@attack("a grant after its deadline", "operator", "DeadlinePassed")
def late_grant(world: World, forged: bool) -> Receipt:
    return world.grant(world.enrol(), deadline=world.ledger.now() - 60 if forged else FOREVER)


@attack("a grant for a future epoch", "operator", "EpochStale")
def future_epoch(world: World, forged: bool) -> Receipt:
    return world.grant(world.enrol(), epoch=1 if forged else 0)


@attack("a grant that replaces a version there never was", "operator", "VersionStale")
def wrong_version(world: World, forged: bool) -> Receipt:
    return world.grant(world.enrol(), replaces=1 if forged else 0)


@attack("a withheld wide grant after a narrow one", "operator", "VersionStale")
def withheld_wide(world: World, forged: bool) -> Receipt:
    """She signs wide, changes her mind before it is sent, and signs narrow: only one of them can ever count."""
    (subject,) = world.enrol()
    wide = world.grant_item(world.grant_message(subject))
    narrow = world.grant_item(world.grant_message(subject, categories=1 << 2))
    if forged:
        world.ledger.relay("ConsentRegistry", "grant", [narrow])
        return world.ledger.relay("ConsentRegistry", "grant", [wide])
    return world.ledger.relay("ConsentRegistry", "grant", [narrow])


@attack("an old revocation after a new grant", "operator", "RevokeStale")
def old_revocation(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    world.revoke(subject)
    world.grant([subject])
    before = world.slot(subject)
    receipt = world.revoke(subject, epoch=0 if forged else 1)
    if forged and world.slot(subject) != before:
        raise AssertionError("a stale revocation changed the consent")
    return receipt


@attack("a grant of an epoch that was revoked", "operator", "EpochStale")
def revived_grant(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    held = world.grant_item(world.grant_message(subject, untilDay=world.ledger.now() // 86_400 + 900))
    if forged:
        world.revoke(subject)
    return world.ledger.relay("ConsentRegistry", "grant", [held])


# -- runs ------------------------------------------------------------------------------------------------------------


def _list_attack(world: World, alter: Callable[[list[bytes]], list[bytes]] | None) -> Receipt:
    """Relay another list than the one the worker signed."""
    subjects = willing(world, 4)
    run = world.request_run(world.permit())
    message = world.binding(run, subjects)
    given = alter(subjects) if alter else subjects
    return world.relay("AccessLedger", "authorise", "WorkerBinding", message, world.by("wanda", "WorkerBinding", message), given)


@attack("a shortened subject list", "operator", "ListMismatch")
def shortened(world: World, forged: bool) -> Receipt:
    return _list_attack(world, (lambda subjects: subjects[:-1]) if forged else None)


@attack("a padded subject list", "operator", "ListMismatch")
def padded(world: World, forged: bool) -> Receipt:
    return _list_attack(world, (lambda subjects: sorted([*subjects, random32()])) if forged else None)


@attack("a person counted twice", "worker", "NotAscending")
def duplicated(world: World, forged: bool) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    return world.authorise(run, sorted([*subjects, subjects[0]]) if forged else subjects)


@attack("a changed byte of code", "worker", "reason 38")
def changed_code(world: World, forged: bool) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    return world.authorise(run, subjects, codeHash=bytes([CODE[0] ^ 1]) + CODE[1:] if forged else CODE)


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


@attack("a model file as output", "worker", "OutputClassRefused")
def model_file(world: World, forged: bool) -> Receipt:
    run, _ = authorised(world)
    message = world.seal_message(run, outputClass=4 if forged else 1)
    return world.relay("AccessLedger", "seal", "Seal", message, world.by("wanda", "Seal", message))


@attack("the analyst looks before the release", "analyst", "CheckerConflict")
def analyst_looks(world: World, forged: bool) -> Receipt:
    run, _ = authorised(world)
    world.seal(run)
    return world.look(run, "noor" if forged else "sol")


@attack("a release by one checker", "checker", "SignersNotAscending")
def one_checker(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    return world.release(run, seal, subjects, [0] * 3, by=("sol", "sol") if forged else ("sol", "tess"))


@attack("a release signed by the analyst", "analyst", "CheckerConflict")
def analyst_releases(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    return world.release(run, seal, subjects, [0] * 3, by=("sol", "noor") if forged else ("sol", "tess"))


@attack("a release of something nobody looked at", "checker", "NotViewed")
def unseen(world: World, forged: bool) -> Receipt:
    run, subjects = authorised(world)
    seal = world.seal(run)
    world.look(run, "sol")
    if not forged:
        world.look(run, "tess")
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


# Creation code of a contract that forwards calldata[32:] to the address in calldata[:32], and failures back.
FORWARDER = bytes.fromhex(
    "602c80600b6000396000f3" "60203603602060003760006000602036036000600060003" "55af13d600060003e6027573d6000fd5b3d6000f3"
)


@attack("a signed message through a contract in between", "operator", "NotDirect")
def through_contract(world: World, forged: bool) -> Receipt:
    """The evidence would no longer be the transaction's own input, and one transaction could make many steps."""
    (subject,) = world.enrol()
    item = world.grant_item(world.grant_message(subject))
    if not forged:
        return world.ledger.relay("ConsentRegistry", "grant", [item])
    sender = Transactor(world.ledger.node.call, Wallet.new(), MemoryOutbox(), world.ledger.domain.chain_id)
    sender.send(None, FORWARDER)
    forwarder = created_at(sender.address, 0)
    target = bytes.fromhex(world.ledger.domain.contracts["ConsentRegistry"][2:]).rjust(32, b"\0")
    return sender.send(forwarder, target + world.ledger.encode("ConsentRegistry", "grant", [item]))


@attack("a step on the trail by a stranger", "operator", "NotARegistry")
def stranger_step(world: World, forged: bool) -> Receipt:
    if forged:
        return world.ledger.relay("Trail", "append", 17, random32())
    return world.grant(world.enrol())
