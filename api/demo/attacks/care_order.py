"""Attacks on the order of a plan's steps: ended, of an older attempt, too late, or sent again."""

from __future__ import annotations

import hashlib
import time

from api.demo.attacks.care import asked, care_attack, last
from api.demo.attacks.governance import dismiss, somebody
from api.demo.care_stage import (
    PLAN_PARAMS,
    appoint,
    appointment,
    authorise_plan,
    care_permit,
    countersign,
    end_plan,
    open_plan,
    patient,
    plan_request,
    request_plan,
    seal_plan,
    sealed_plan,
    send_appointment,
    view_plan,
)
from api.demo.stage import World, random32
from api.operate.bootstrap import FOREVER
from chain.events import Receipt


def suspend(world: World, permit: bytes) -> None:
    message = {"permit": permit, "deadline": FOREVER}
    signature = world.by("dora", "Suspend", message)
    world.relay("PermitRegistry", "suspend", "Suspend", message, signature)


@care_attack("a plan viewed after it was ended", "clinician", "RunEnded")
def viewed_after_end(world: World, forged: bool) -> Receipt:
    _, run, _ = sealed_plan(world)
    if forged:
        end_plan(world, run)
    return view_plan(world, run)


@care_attack("a plan countersigned after it was ended", "clinician", "RunEnded")
def countersigned_after_end(world: World, forged: bool) -> Receipt:
    _, run, seal = sealed_plan(world)
    if forged:
        end_plan(world, run)
    return countersign(world, run, seal)


@care_attack("a plan drawn after it was ended", "worker", "RunEnded")
def drawn_after_end(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    if forged:
        end_plan(world, run)
    return authorise_plan(world, run)


@care_attack("a countersigned plan taken from her by its end", "clinician", "RunEnded")
def ended_after_countersignature(world: World, forged: bool) -> Receipt:
    _, run, seal = sealed_plan(world)
    if forged:
        countersign(world, run, seal)
    return end_plan(world, run)


@care_attack("a plan of an earlier attempt opened", "patient", "NotNewestAttempt")
def opened_earlier(world: World, forged: bool) -> Receipt:
    subject, run, _ = sealed_plan(world)
    authorise_plan(world, run, attempt=2)
    seal = seal_plan(world, run, attempt=2)
    view_plan(world, run, attempt=2)
    countersign(world, run, seal, attempt=2)
    return open_plan(world, run, subject, attempt=1 if forged else 2)


@care_attack("a plan of an earlier attempt viewed", "clinician", "NotNewestAttempt")
def viewed_earlier(world: World, forged: bool) -> Receipt:
    _, run, _ = sealed_plan(world)
    authorise_plan(world, run, attempt=2)
    seal_plan(world, run, attempt=2)
    return view_plan(world, run, attempt=1 if forged else 2)


@care_attack("a plan of an earlier attempt countersigned", "clinician", "NotNewestAttempt")
def countersigned_earlier(world: World, forged: bool) -> Receipt:
    _, run, _ = sealed_plan(world)
    authorise_plan(world, run, attempt=2)
    seal = seal_plan(world, run, attempt=2)
    view_plan(world, run, attempt=2)
    return countersign(world, run, seal, attempt=1 if forged else 2)


@care_attack("a plan of an earlier attempt sealed", "worker", "NotNewestAttempt")
def sealed_earlier(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    authorise_plan(world, run)
    authorise_plan(world, run, attempt=2)
    seal_plan(world, run, attempt=1 if forged else 2)
    return last(world)


@care_attack("a new attempt countersigned after a look at the one before", "clinician", "NotViewed")
def countersigned_after_earlier_view(world: World, forged: bool) -> Receipt:
    _, run, _ = sealed_plan(world)
    authorise_plan(world, run, attempt=2)
    seal = seal_plan(world, run, attempt=2)
    if not forged:
        view_plan(world, run, attempt=2)
    return countersign(world, run, seal, attempt=2)


@care_attack("a new attempt viewed under the seal of the one before", "clinician", "NotSealed")
def viewed_under_earlier_seal(world: World, forged: bool) -> Receipt:
    _, run, _ = sealed_plan(world)
    authorise_plan(world, run, attempt=2)
    if not forged:
        seal_plan(world, run, attempt=2)
    return view_plan(world, run, attempt=2)


@care_attack("a plan sealed after its lease", "worker", "LeaseOver")
def sealed_after_lease(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    authorise_plan(world, run, leaseSeconds=0 if forged else 3600)
    if forged:
        time.sleep(1.1)
    seal_plan(world, run)
    return last(world)


@care_attack("a plan sealed by a worker who was dismissed", "worker", "NotLive")
def sealed_after_dismissal(world: World, forged: bool) -> Receipt:
    """On a ledger of its own, where a new worker may act at once."""
    url, people = world.ledger.node.url, dict(world.people)
    fresh = World.create(url, relay=world.relayer, people=people, role_delay=0)
    name = somebody(fresh, "worker", "wim")
    _, run = asked(fresh)
    authorise_plan(fresh, run, by=name)
    if forged:
        dismiss(fresh, name, "worker")
    seal_plan(fresh, run, by=name)
    return last(fresh)


@care_attack("a plan sealed a second time", "worker", "AlreadySealed")
def sealed_again(world: World, forged: bool) -> Receipt:
    """It exchanges what the clinician viewed."""
    _, run = asked(world)
    authorise_plan(world, run)
    if forged:
        seal_plan(world, run)
    seal_plan(world, run)
    return last(world)


@care_attack("an appointment after its deadline", "clinician", "DeadlinePassed")
def appointed_late(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    deadline = world.ledger.now() - 1 if forged else FOREVER
    return send_appointment(world, appointment(world, subject, deadline=deadline))


@care_attack("a plan's request after its deadline", "clinician", "DeadlinePassed")
def requested_late(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    deadline = world.ledger.now() - 1 if forged else FOREVER
    request_plan(world, care_permit(world), subject, deadline=deadline)
    return last(world)


@care_attack("a plan drawn after its request's deadline", "worker", "reason 41")
def drawn_late(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    permit = care_permit(world)
    deadline = world.ledger.now() + 2 if forged else FOREVER
    run = request_plan(world, permit, subject, deadline=deadline)
    if forged:
        time.sleep(3.1)
    return authorise_plan(world, run)


@care_attack("a plan drawn under a permit that ended", "worker", "reason 35")
def drawn_after_expiry(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    expiry = world.ledger.now() + 6 if forged else FOREVER
    permit = care_permit(world, expiry=expiry)
    run = request_plan(world, permit, subject)
    if forged:
        time.sleep(6.1)
    return authorise_plan(world, run)


@care_attack("a plan drawn under a suspended permit", "worker", "reason 34")
def drawn_while_suspended(world: World, forged: bool) -> Receipt:
    subject, permit = patient(world), care_permit(world)
    appoint(world, subject)
    run = request_plan(world, permit, subject)
    if forged:
        suspend(world, permit)
    return authorise_plan(world, run)


@care_attack("a plan countersigned under a suspended permit", "clinician", "reason 34")
def countersigned_while_suspended(world: World, forged: bool) -> Receipt:
    subject, permit = patient(world), care_permit(world)
    appoint(world, subject)
    run = request_plan(world, permit, subject)
    authorise_plan(world, run)
    seal = seal_plan(world, run)
    view_plan(world, run)
    if forged:
        suspend(world, permit)
    return countersign(world, run, seal)


@care_attack("an earlier look at a plan sent again", "relay", "AlreadyRecorded")
def viewed_again(world: World, forged: bool) -> Receipt:
    """It puts the earlier key back, which somebody else may hold by now."""
    _, run, _ = sealed_plan(world)
    key = random32()
    view_plan(world, run, viewerKey=key)
    view_plan(world, run)
    return view_plan(world, run, viewerKey=key if forged else random32())


@care_attack("an earlier opening of a plan sent again", "relay", "AlreadyRecorded")
def opened_again(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    countersign(world, run, seal)
    key = random32()
    open_plan(world, run, subject, viewerKey=key)
    open_plan(world, run, subject)
    return open_plan(world, run, subject, viewerKey=key if forged else random32())


@care_attack("a refused attempt at a plan sent again later", "relay", "AlreadyRecorded")
def drawn_by_refused_binding(world: World, forged: bool) -> Receipt:
    subject, run = asked(world)
    appoint(world, subject, untilDay=0)
    key = random32()
    authorise_plan(world, run, workerKey=key)
    appoint(world, subject)
    return authorise_plan(world, run, workerKey=key if forged else random32())


@care_attack("a refused countersignature sent again later", "relay", "AlreadyRecorded")
def countersigned_by_refused(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    appoint(world, subject, untilDay=0)
    notes = random32()
    countersign(world, run, seal, notesHash=notes)
    appoint(world, subject)
    return countersign(world, run, seal, notesHash=notes if forged else random32())


@care_attack("a plan's request put in the place of an earlier one", "clinician", "RunExists")
def requested_again(world: World, forged: bool) -> Receipt:
    """It would be another patient's plan under the same id."""
    subject, other, permit = patient(world), patient(world), care_permit(world)
    appoint(world, subject)
    appoint(world, other)
    request_plan(world, permit, subject, nonce=4711)
    request_plan(world, permit, other, nonce=4711 if forged else 4712)
    return last(world)


@care_attack("one attempt at a plan too many", "worker", "AttemptOutOfOrder")
def drawn_too_often(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    most = 16
    for attempt in range(1, most + 1 if forged else most):
        authorise_plan(world, run, attempt=attempt)
    return authorise_plan(world, run, attempt=most + 1 if forged else most)


@care_attack("a plan by other parameters than were signed", "relay", "ParamsMismatch")
def other_params(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    message = plan_request(care_permit(world), subject)
    params = b'{"analysis":"risk"}' if forged else PLAN_PARAMS
    signature = world.by("cleo", "PlanRequest", message)
    return world.relay("CareLedger", "requestPlan", "PlanRequest", message, params, signature)


@care_attack("a plan by parameters of more than two kilobytes", "clinician", "ParamsMismatch")
def long_params(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    params = b"x" * (2049 if forged else 2048)
    digest = hashlib.sha256(params).digest()
    message = plan_request(care_permit(world), subject) | {"paramsHash": digest}
    signature = world.by("cleo", "PlanRequest", message)
    return world.relay("CareLedger", "requestPlan", "PlanRequest", message, params, signature)


@care_attack("an appointment for data that nobody registered", "patient", "DatasetUnknown")
def appointed_for_unknown(world: World, forged: bool) -> Receipt:
    """It ends an appointment, so that no consent is needed."""
    dataset = random32() if forged else world.dataset
    return appoint(world, patient(world), untilDay=0, dataset=dataset)
