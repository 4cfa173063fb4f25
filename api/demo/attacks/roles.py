"""Attacks on roles, permits and signatures."""

from __future__ import annotations

import secrets

from api.demo.attacks.frame import attack, willing
from api.demo.stage import PARAMS, PARAMS_HASH, World, random32
from api.operate.bootstrap import FOREVER
from chain.events import Receipt
from chain.wallets import Wallet


@attack("a worker key of the relay's own under a live permit", "operator", "NotLive")
def own_worker(world: World, forged: bool) -> Receipt:
    subjects = willing(world)
    run = world.request_run(world.permit())
    world.people["relay"] = world.relayer
    return world.authorise(run, subjects, by="relay" if forged else "wanda")


@attack("the operator grants a role", "operator", "NotLive")
def operator_role(world: World, forged: bool) -> Receipt:
    world.people["relay"] = world.relayer
    return world.set_role(
        Wallet.new().address, "worker", by=("relay", "pia") if forged else ("quinn", "pia")
    )


@attack("one committee key alone", "committee member", "QuorumMissing")
def one_key(world: World, forged: bool) -> Receipt:
    return world.set_role(
        Wallet.new().address, "checker", by=("pia",) if forged else ("pia", "quinn")
    )


@attack("one committee key twice", "committee member", "SignersNotAscending")
def same_key_twice(world: World, forged: bool) -> Receipt:
    return world.set_role(
        Wallet.new().address, "checker", by=("pia", "pia") if forged else ("pia", "rui")
    )


@attack("a second role for one address", "committee", "RoleTaken")
def second_role(world: World, forged: bool) -> Receipt:
    return world.set_role(
        world.people["rita"].address if forged else Wallet.new().address, "custodian"
    )


@attack("the applicant votes for her own request", "analyst", "ApplicantVoted")
def applicant_votes(world: World, forged: bool) -> Receipt:
    return world.vote(world.permit(approve=()), "noor" if forged else "pia")


@attack("a vote for another text than was requested", "operator", "RequestMismatch")
def other_text(world: World, forged: bool) -> Receipt:
    permit = world.permit(approve=())
    return (
        world.vote(permit, "pia", requestHash=random32()) if forged else world.vote(permit, "pia")
    )


@attack("a signature of another type", "operator", "NotLive")
def other_type(world: World, forged: bool) -> Receipt:
    permit = world.permit()
    message = {"permit": permit, "deadline": FOREVER}
    kind = "Cancel" if forged else "Suspend"
    signature = world.by("pia", kind, {"run": permit, "deadline": FOREVER} if forged else message)
    return world.relay("PermitRegistry", "suspend", "Suspend", message, signature)


@attack("a signature for another contract", "operator", "NotTheCustodian")
def other_contract(world: World, forged: bool) -> Receipt:
    message = world.records()
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
    message = {
        "permit": permit,
        "paramsHash": PARAMS_HASH,
        "resultKey": random32(),
        "nonce": 7,
        "deadline": FOREVER,
    }
    by = "nick" if forged else "noor"
    return world.relay(
        "AccessLedger",
        "requestRun",
        "RunRequest",
        message,
        PARAMS,
        world.by(by, "RunRequest", message),
    )


@attack("a run request used up before the last vote", "stranger", "PermitUndecided")
def early_request(world: World, forged: bool) -> Receipt:
    """Its analyst already signed it; if it were refused and recorded, it would be lost at the last
    vote.
    """
    message = {
        "permit": world.permit(approve=("pia",) if forged else ("pia", "quinn")),
        "paramsHash": PARAMS_HASH,
        "resultKey": random32(),
        "nonce": secrets.randbits(256),
        "deadline": FOREVER,
    }
    signature = world.by("noor", "RunRequest", message)
    return world.relay("AccessLedger", "requestRun", "RunRequest", message, PARAMS, signature)


@attack("other parameters than were signed", "operator", "ParamsMismatch")
def other_params(world: World, forged: bool) -> Receipt:
    message = {
        "permit": world.permit(),
        "paramsHash": PARAMS_HASH,
        "resultKey": random32(),
        "nonce": 8,
        "deadline": FOREVER,
    }
    params = PARAMS + b" " if forged else PARAMS
    return world.relay(
        "AccessLedger",
        "requestRun",
        "RunRequest",
        message,
        params,
        world.by("noor", "RunRequest", message),
    )
