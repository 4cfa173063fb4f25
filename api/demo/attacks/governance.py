"""Attacks on the start and end of roles, on permits, and on repeated runs and registrations."""

from __future__ import annotations

from dataclasses import replace

from api.demo.attacks.frame import attack, authorised, looked_at, willing
from api.demo.stage import CATEGORIES, PARAMS, PARAMS_HASH, World, random32
from api.operate.bootstrap import FOREVER
from chain.errors import Refused
from chain.events import Receipt
from chain.vocabulary import Purpose, Role
from chain.wallets import Wallet

ATTEMPTS = 16


def somebody(world: World, role: str, name: str) -> str:
    """A new person in a role, so that her dismissal affects no other attack."""
    world.people[name] = Wallet.new()
    world.set_role(world.people[name].address, role)
    return name


def dismiss(world: World, name: str, role: str) -> Receipt:
    return world.set_role(world.people[name].address, role, end=world.ledger.now())


@attack("a withheld role change that revives a dismissed analyst", "analyst", "RoleVersionStale")
def revived_analyst(world: World, forged: bool) -> Receipt:
    """Two members signed an extension of her role; before it was sent, the committee dismissed her."""
    account = world.people[somebody(world, "analyst", "nils")].address
    role_fields = {"account": account, "role": Role.ANALYST, "start": 0, "end": FOREVER}
    change = role_fields | {"replaces": 1, "deadline": FOREVER}
    signatures = world.quorum("RoleChange", change, ("pia", "quinn"))
    if forged:
        dismiss(world, "nils", "analyst")
    return world.relay("PermitRegistry", "setRole", "RoleChange", change, signatures)


@attack("a result released to an analyst who was dismissed", "analyst", "reason 36")
def released_to_dismissed(world: World, forged: bool) -> Receipt:
    name, subjects = somebody(world, "analyst", "nele"), willing(world)
    request = world.permit_request()
    signature = world.by(name, "PermitRequest", request)
    world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)
    for member in ("pia", "quinn"):
        world.vote(request["permit"], member)
    run = world.request_run(request["permit"], by=name)
    world.authorise(run, subjects)
    seal = world.seal(run)
    for checker in ("sol", "tess"):
        world.view_output(run, checker)
    if forged:
        dismiss(world, name, "analyst")
    return world.release(run, seal, subjects, [0] * len(subjects))


@attack("a new worker that computes at once", "committee", "NotLive")
def hasty_worker(world: World, forged: bool) -> Receipt:
    """A stolen quorum gives the role to its own machine; the honest members have time to cancel it."""
    subjects = willing(world)
    run = world.request_run(world.permit())
    name = somebody(world, "worker", "wout") if forged else "wanda"
    return world.authorise(run, subjects, by=name)


@attack("a committee whose last quorum has an end", "committee", "LastQuorum")
def ending_committee(world: World, forged: bool) -> Receipt:
    """Afterwards nobody could ever give or end a role.

    The control ends a member whom others outlast.
    """
    far = world.ledger.now() + 10 * 365 * 86_400
    member = world.people[somebody(world, "committee", "zoe")].address
    if forged:
        for name in ("pia", "quinn"):
            world.set_role(world.people[name].address, "committee", end=far)
        member = world.people["rui"].address
    return world.set_role(member, "committee", end=far)


@attack("a ledger founded by a committee that ends", "committee", "LastQuorum")
def founded_by_few(world: World, forged: bool) -> Receipt:
    """During bootstrap a member's role may end at once; after the first dataset nobody could add
    one.
    """
    url, people = world.ledger.node.url, dict(world.people)
    fresh = World.create(url, relay=world.relayer, people=people, roles=False)
    fresh.set_role(people["omar"].address, "custodian")
    soon = fresh.ledger.now() + 3600
    for name in ("pia", "quinn") if forged else ("pia",):
        fresh.set_role(people[name].address, "committee", end=soon)
    return fresh.register_dataset()


@attack("a new worker stopped by a member to come", "committee member", "NotAMember")
def stopped_too_early(world: World, forged: bool) -> Receipt:
    """Her role has an end, so that she does not count for a lasting quorum in other attacks."""
    machine = world.people[somebody(world, "worker", "walt")].address
    year, now = 365 * 86_400, world.ledger.now()
    start = now + 30 * year if forged else 0
    world.people["yola"] = Wallet.new()
    world.set_role(world.people["yola"].address, "committee", start=start, end=now + 31 * year)
    return world.cancel_role(machine, by="yola")


@attack("a live worker stopped as if it were new", "committee member", "NotPending")
def stopped_worker(world: World, forged: bool) -> Receipt:
    name = "wanda" if forged else somebody(world, "worker", "wera")
    return world.cancel_role(world.people[name].address)


@attack("research under consents to her own care", "analyst", "PermitInvalid")
def care_for_research(world: World, forged: bool) -> Receipt:
    both = 1 << Purpose.CARE | 1 << Purpose.GENERAL_RESEARCH
    request = world.permit_request(purposeNeed=both if forged else 1 << Purpose.GENERAL_RESEARCH)
    signature = world.by("noor", "PermitRequest", request)
    return world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)


@attack("a rejected permit voted through later", "committee", "PermitNotOpen")
def rejected_permit(world: World, forged: bool) -> Receipt:
    permit = world.permit(approve=())
    if forged:
        for name in ("pia", "quinn"):
            world.vote(permit, name, yes=False)
    return world.vote(permit, "rui")


@attack("an old revocation sent twice to make the trail grow", "stranger", "AlreadyRecorded")
def repeated_revocation(world: World, forged: bool) -> Receipt:
    (subject,) = willing(world, 1)
    world.revoke(subject)
    if forged:
        world.revoke(subject, epoch=0)
        return world.revoke(subject, epoch=0)
    return world.revoke(subject)


@attack("a refused consent sent again to make the trail grow", "stranger", "MaskUnknown")
def repeated_refusal(world: World, forged: bool) -> Receipt:
    (subject,) = world.enrol()
    item = world.grant_item(
        world.grant_message(subject, categories=1 << 30 if forged else CATEGORIES)
    )
    receipt = world.ledger.relay("ConsentRegistry", "grant", [item])
    if not forged:
        return receipt
    receipt = world.ledger.relay("ConsentRegistry", "grant", [item])
    return replace(receipt, events=())  # it made another step, which the attack wants


@attack(
    "a refused request, attempt or release sent again to make the trail grow",
    "stranger",
    "AlreadyRecorded",
)
def repeated_refusals(world: World, forged: bool) -> Receipt:
    """Each of the three is refused, and sent again: the same message, or a new one of its kind."""
    rejected = world.permit(approve=())
    for name in ("pia", "quinn"):
        world.vote(rejected, name, yes=False)
    run, subjects, seal = looked_at(world)
    world.revoke(subjects[0])
    small = world.request_run(world.permit())  # two people are left

    def request(mark: int) -> Receipt:
        message = {
            "permit": rejected,
            "paramsHash": PARAMS_HASH,
            "resultKey": bytes(32),
            "nonce": mark,
            "deadline": FOREVER,
        }
        signature = world.by("noor", "RunRequest", message)
        return world.relay("AccessLedger", "requestRun", "RunRequest", message, PARAMS, signature)

    def attempt(mark: int) -> Receipt:
        return world.authorise(small, subjects, workerKey=bytes([mark]) * 32)

    def release(mark: int) -> Receipt:
        return world.release(run, seal, subjects, [0] * 3, deadline=FOREVER - mark)

    refused: list[Refused] = []
    calls = (request, attempt, release)
    for send in calls:
        first = send(1)
        try:
            send(1 if forged else 2)
        except Refused as error:
            refused.append(error)
    if len(refused) == len(calls):
        raise refused[0]
    return replace(first, events=())  # another step, which the attack wants


@attack(
    "an earlier look sent again, so that the key goes to its holder", "stranger", "AlreadyRecorded"
)
def repeated_view(world: World, forged: bool) -> Receipt:
    run, _ = authorised(world)
    world.seal(run)
    world.view_output(run, "sol", viewerKey=bytes([1]) * 32)
    world.view_output(run, "sol", viewerKey=bytes([2]) * 32)
    return world.view_output(run, "sol", viewerKey=bytes([1 if forged else 3]) * 32)


@attack("another custodian's registration taken back", "custodian", "QuorumMissing")
def foreign_void(world: World, forged: bool) -> Receipt:
    somebody(world, "custodian", "olga")
    return world.void_records(world.register_records(), by=("olga",) if forged else ("omar",))


@attack("a registration taken back that there never was", "custodian", "IngestUnknown")
def unknown_void(world: World, forged: bool) -> Receipt:
    return world.void_records(random32() if forged else world.register_records())


@attack("a run given more attempts while it has some left", "analyst", "AttemptOutOfOrder")
def early_resume(world: World, forged: bool) -> Receipt:
    run, subjects = authorised(world)
    for attempt in range(2, ATTEMPTS if forged else ATTEMPTS + 1):
        world.authorise(run, subjects, attempt=attempt)
    return world.resume(run, ATTEMPTS - 1 if forged else ATTEMPTS)


@attack("a released run begun again", "analyst", "RunEnded")
def released_again(world: World, forged: bool) -> Receipt:
    run, subjects, seal = looked_at(world)
    if forged:
        world.release(run, seal, subjects, [0] * len(subjects))
    return world.authorise(run, subjects, attempt=2)
