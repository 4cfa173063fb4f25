"""Attacks on a patient's own care: who draws up, reads and opens a plan, and under which consent."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from api.demo.attacks.frame import Attack, attack
from api.demo.attacks.governance import somebody
from api.demo.care_stage import (
    appoint,
    appointment,
    authorise_plan,
    care_permit,
    countersign,
    end_plan,
    open_plan,
    patient,
    request_plan,
    seal_plan,
    sealed_plan,
    send_appointment,
    view_plan,
)
from api.demo.stage import CODE, DAY, World, random32
from api.operate.bootstrap import FOREVER
from chain.events import Receipt
from chain.ledger import message_tuple
from chain.vocabulary import Category, OutputClass, Purpose
from chain.wallets import Wallet

CARE_TABLE: list[Attack] = []
care_attack = partial(attack, table=CARE_TABLE)
CARE = 1 << Purpose.CARE


def asked(world: World) -> tuple[bytes, bytes]:
    """A patient, and the plan that her clinician asked for."""
    subject = patient(world)
    appoint(world, subject)
    return subject, request_plan(world, care_permit(world), subject)


def requested(world: World, by: str, **change: Any) -> Receipt:
    request = world.permit_request(**change)
    signature = world.by(by, "PermitRequest", request)
    return world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)


def last(world: World) -> Receipt:
    """A call that only shows that everything before it was accepted."""
    return world.set_role(Wallet.new().address, "auditor")


@care_attack("a care permit for an analyst", "analyst", "NotLive")
def analysts_care(world: World, forged: bool) -> Receipt:
    by = "noor" if forged else "cleo"
    individual = 1 << OutputClass.INDIVIDUAL
    return requested(world, by, purposeNeed=CARE, outputClasses=individual, minCohort=1)


@care_attack("a care permit that brings tables of a group", "clinician", "PermitInvalid")
def care_with_tables(world: World, forged: bool) -> Receipt:
    classes = 1 << OutputClass.INDIVIDUAL | (1 << OutputClass.TABLE if forged else 0)
    return requested(world, "cleo", purposeNeed=CARE, outputClasses=classes, minCohort=1)


@care_attack("a care permit over several people", "clinician", "PermitInvalid")
def care_of_many(world: World, forged: bool) -> Receipt:
    individual = 1 << OutputClass.INDIVIDUAL
    least = 2 if forged else 1
    return requested(world, "cleo", purposeNeed=CARE, outputClasses=individual, minCohort=least)


@care_attack("one person's result asked for as research", "analyst", "PermitInvalid")
def individual_research(world: World, forged: bool) -> Receipt:
    individual = 1 << OutputClass.INDIVIDUAL if forged else 0
    return requested(world, "noor", outputClasses=1 << OutputClass.METRICS | individual)


@care_attack("research under a care permit", "clinician", "NotForResearch")
def research_under_care(world: World, forged: bool) -> Receipt:
    """She became an analyst after the vote; the control asks under a permit for research."""
    name = somebody(world, "clinician", "nele")
    permit = care_permit(world, by=name)
    address = world.people[name].address
    world.set_role(address, "clinician", end=world.ledger.now())
    world.set_role(address, "analyst")
    if not forged:
        request = world.permit_request()
        signature = world.by(name, "PermitRequest", request)
        world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)
        for member in ("pia", "quinn"):
            world.vote(request["permit"], member)
        permit = request["permit"]
    world.request_run(permit, by=name)
    return last(world)


@care_attack("a plan under a permit for research", "clinician", "NotForCare")
def care_under_research(world: World, forged: bool) -> Receipt:
    """He was an analyst at the vote, and asks about a single patient as a clinician."""
    name, subject = somebody(world, "analyst", "nils"), patient(world)
    permit = b""
    if forged:
        request = world.permit_request()
        signature = world.by(name, "PermitRequest", request)
        world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)
        for member in ("pia", "quinn"):
            world.vote(request["permit"], member)
        permit = request["permit"]
    address = world.people[name].address
    world.set_role(address, "analyst", end=world.ledger.now())
    world.set_role(address, "clinician")
    appoint(world, subject, by=name)
    request_plan(world, permit or care_permit(world, by=name), subject, by=name)
    return last(world)


@care_attack("a plan asked for by a clinician who was dismissed", "clinician", "NotLive")
def asked_after_dismissal(world: World, forged: bool) -> Receipt:
    name, subject = somebody(world, "clinician", "naomi"), patient(world)
    appoint(world, subject, by=name)
    permit = care_permit(world, by=name)
    if forged:
        world.set_role(world.people[name].address, "clinician", end=world.ledger.now())
    request_plan(world, permit, subject, by=name)
    return last(world)


@care_attack("a plan under another clinician's permit", "clinician", "NotTheApplicant")
def borrowed_permit(world: World, forged: bool) -> Receipt:
    name, subject = somebody(world, "clinician", "nuria"), patient(world)
    appoint(world, subject, by=name)
    request_plan(world, care_permit(world, by="cleo" if forged else name), subject, by=name)
    return last(world)


@care_attack("a plan before the committee's last vote", "clinician", "NotForCare")
def asked_before_the_vote(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    permit = care_permit(world, approve=("pia",) if forged else ("pia", "quinn"))
    request_plan(world, permit, subject)
    return last(world)


@care_attack("a plan under a permit that ended", "clinician", "NotForCare")
def expired_permit(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject)
    expiry = world.ledger.now() + 3
    permit = care_permit(world, expiry=expiry if forged else FOREVER)
    if forged:
        time.sleep(3.1)
    request_plan(world, permit, subject)
    return last(world)


@care_attack("another clinician's plan of her", "clinician", "NotAppointed")
def other_clinician(world: World, forged: bool) -> Receipt:
    name, subject = somebody(world, "clinician", "nora"), patient(world)
    appoint(world, subject, by="cleo" if forged else name)
    request_plan(world, care_permit(world, by=name), subject, by=name)
    return last(world)


@care_attack("a plan of somebody who signed the first notice only", "clinician", "NotAppointed")
def first_notice(world: World, forged: bool) -> Receipt:
    """She allowed her own care and appointed nobody: that needs the notice about care."""
    subject = patient(world)
    if not forged:
        appoint(world, subject)
    request_plan(world, care_permit(world), subject)
    return last(world)


@care_attack("an appointment without consent to her own care", "clinician", "AppointmentInvalid")
def appointed_for_research(world: World, forged: bool) -> Receipt:
    subject = patient(world, purposes=1 << Purpose.GENERAL_RESEARCH if forged else CARE)
    return appoint(world, subject)


@care_attack("an appointment that she did not sign", "clinician", "SignatureInvalid")
def forged_appointment(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    message = appointment(world, subject)
    wallet = Wallet.new() if forged else world.subjects[subject]
    return world.ledger.relay(
        "CareLedger",
        "appoint",
        message_tuple("Appoint", message),
        world.subjects[subject].signer,
        wallet.sign(world.ledger.domain, "Appoint", message),
    )


@care_attack("an appointment replayed after she ended it", "clinician", "VersionStale")
def replayed_appointment(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    message = appointment(world, subject)
    if forged:
        send_appointment(world, message)
        appoint(world, subject, untilDay=0)
    return send_appointment(world, message)


@care_attack("an appointment withheld until after she withdrew", "clinician", "EpochStale")
def late_appointment(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    message = appointment(world, subject)
    if forged:
        world.revoke(subject)
        world.grant([subject], purposes=CARE)
    return send_appointment(world, message)


@care_attack("a plan after she ended the appointment", "worker", "reason 47")
def ended_appointment(world: World, forged: bool) -> Receipt:
    subject, run = asked(world)
    if forged:
        appoint(world, subject, untilDay=world.ledger.now() // DAY - 1)
    return authorise_plan(world, run)


@care_attack("a plan after she appointed another clinician", "worker", "reason 47")
def drawn_after_another(world: World, forged: bool) -> Receipt:
    subject, run = asked(world)
    if forged:
        appoint(world, subject, by="noor")
    return authorise_plan(world, run)


@care_attack("a plan after she narrowed her consent", "worker", "reason 47")
def narrowed_consent(world: World, forged: bool) -> Receipt:
    subject = patient(world, categories=1 << Category.OBSERVATIONS | 1 << Category.EXPRESSION)
    appoint(world, subject)
    run = request_plan(world, care_permit(world), subject)
    if forged:
        world.grant([subject], purposes=CARE, categories=1 << Category.OBSERVATIONS)
    return authorise_plan(world, run)


@care_attack("a plan after she withdrew", "worker", "reason 3")
def withdrawn(world: World, forged: bool) -> Receipt:
    subject, run = asked(world)
    if forged:
        world.revoke(subject)
    return authorise_plan(world, run)


@care_attack("a plan drawn for a clinician who was dismissed", "clinician", "reason 48")
def dismissed_clinician(world: World, forged: bool) -> Receipt:
    name, subject = somebody(world, "clinician", "nina"), patient(world)
    appoint(world, subject, by=name)
    run = request_plan(world, care_permit(world, by=name), subject, by=name)
    if forged:
        world.set_role(world.people[name].address, "clinician", end=world.ledger.now())
    return authorise_plan(world, run)


@care_attack("a plan by a worker with other code", "worker", "reason 38")
def other_code(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    return authorise_plan(world, run, codeHash=random32() if forged else CODE)


@care_attack("a plan by somebody who is no worker", "relay", "NotLive")
def no_worker(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    return authorise_plan(world, run, by="noor" if forged else "wanda")


@care_attack("a plan sealed as an output of research", "worker", "OutputClassRefused")
def plan_as_metrics(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    authorise_plan(world, run)
    kind = OutputClass.METRICS if forged else OutputClass.INDIVIDUAL
    seal_plan(world, run, outputClass=kind)
    return last(world)


@care_attack("a plan sealed by another worker", "worker", "WorkerMismatch")
def other_worker(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    authorise_plan(world, run)
    seal_plan(world, run, by="wilma" if forged else "wanda")
    return last(world)


@care_attack("a plan viewed by an analyst", "analyst", "NotTheClinician")
def analyst_views(world: World, forged: bool) -> Receipt:
    _, run, _ = sealed_plan(world)
    return view_plan(world, run, by="noor" if forged else "cleo")


@care_attack("a plan viewed after she withdrew", "clinician", "AppointmentInvalid")
def viewed_after_withdrawal(world: World, forged: bool) -> Receipt:
    subject, run, _ = sealed_plan(world)
    if forged:
        world.revoke(subject)
    return view_plan(world, run)


@care_attack(
    "a plan viewed after she appointed another clinician", "clinician", "AppointmentInvalid"
)
def viewed_after_another(world: World, forged: bool) -> Receipt:
    subject, run, _ = sealed_plan(world)
    if forged:
        appoint(world, subject, by="noor")
    return view_plan(world, run)


@care_attack("a countersignature after she appointed another clinician", "clinician", "reason 47")
def countersigned_after_another(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    if forged:
        appoint(world, subject, by="noor")
    return countersign(world, run, seal)


@care_attack("a plan countersigned unseen", "clinician", "NotViewed")
def countersigned_unseen(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    authorise_plan(world, run)
    seal = seal_plan(world, run)
    if not forged:
        view_plan(world, run)
    return countersign(world, run, seal)


@care_attack("a countersignature moved to another plan", "clinician", "SealMismatch")
def countersigned_other(world: World, forged: bool) -> Receipt:
    _, run, seal = sealed_plan(world)
    return countersign(world, run, random32() if forged else seal)


@care_attack("a countersignature by another clinician", "clinician", "NotTheClinician")
def countersigned_by_other(world: World, forged: bool) -> Receipt:
    _, run, seal = sealed_plan(world)
    by = somebody(world, "clinician", "nick") if forged else "cleo"
    return countersign(world, run, seal, by=by)


@care_attack("a countersignature after a withdrawal and a new consent", "clinician", "reason 75")
def countersigned_anew(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    if forged:
        world.revoke(subject)
        world.grant([subject], purposes=CARE)
        appoint(world, subject)
    return countersign(world, run, seal)


@care_attack("a plan opened before the countersignature", "patient", "NotCountersigned")
def opened_early(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    if not forged:
        countersign(world, run, seal)
    return open_plan(world, run, subject)


@care_attack("a plan opened that she did not ask for", "clinician", "NotHerPlan")
def opened_unasked(world: World, forged: bool) -> Receipt:
    subject = patient(world)
    appoint(world, subject, resultToMe=not forged)
    run = request_plan(world, care_permit(world), subject)
    authorise_plan(world, run)
    seal = seal_plan(world, run)
    view_plan(world, run)
    countersign(world, run, seal)
    return open_plan(world, run, subject)


@care_attack("a plan opened by another patient", "patient", "SignerMismatch")
def opened_by_other(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    countersign(world, run, seal)
    return open_plan(world, run, patient(world) if forged else subject)


@care_attack("a plan opened after she withdrew", "patient", "AppointmentInvalid")
def opened_after_withdrawal(world: World, forged: bool) -> Receipt:
    subject, run, seal = sealed_plan(world)
    countersign(world, run, seal)
    if forged:
        world.revoke(subject)
    return open_plan(world, run, subject)


@care_attack("a plan ended by another clinician", "clinician", "NotTheClinician")
def ended_by_other(world: World, forged: bool) -> Receipt:
    _, run = asked(world)
    return end_plan(world, run, by="noor" if forged else "cleo")


@care_attack("a plan released by two checkers as if it were research", "checkers", "RunUnknown")
def released_as_research(world: World, forged: bool) -> Receipt:
    """They would read it: the ledger of research knows no plan."""
    if forged:
        _, run, _ = sealed_plan(world)
        return world.view_output(run, "sol")
    subjects = world.enrol(3)
    world.grant(subjects)
    run = world.request_run(world.permit())
    world.authorise(run, subjects)
    seal = world.seal(run)
    for name in ("sol", "tess"):
        world.view_output(run, name)
    return world.release(run, seal, subjects, [0] * 3)
