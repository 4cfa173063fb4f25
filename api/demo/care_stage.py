"""Signed messages of a patient's own care, with defaults, for the demo's attacks and the tests."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from api.demo.stage import DAY, World, random32
from api.operate.bootstrap import FOREVER
from chain.consent_slot import epoch_of
from chain.events import PlanRequested, Receipt, Sealed
from chain.ledger import message_tuple
from chain.vocabulary import OutputClass, Purpose

PLAN_PARAMS = b'{"analysis":"plan"}'
SALT = hashlib.sha256(b"salt of an appointment").digest()


def care_permit(
    world: World, by: str = "cleo", approve: Sequence[str] = ("pia", "quinn"), **change: Any
) -> bytes:
    """A clinician's permit with the given yes votes; returns its id."""
    needed = {
        "purposeNeed": 1 << Purpose.CARE,
        "outputClasses": 1 << OutputClass.INDIVIDUAL,
        "minCohort": 1,
    }
    request = world.permit_request(**needed | change)
    signature = world.by(by, "PermitRequest", request)
    world.relay("PermitRegistry", "requestPermit", "PermitRequest", request, signature)
    for name in approve:
        world.vote(request["permit"], name)
    return bytes(request["permit"])


def patient(world: World, **change: Any) -> bytes:
    """Somebody who allows her own care; returns her id."""
    (subject,) = world.enrol()
    world.grant([subject], **{"purposes": 1 << Purpose.CARE} | change)
    return subject


def appointment(world: World, subject: bytes, by: str = "cleo", **change: Any) -> dict[str, Any]:
    """The message by which she appoints a clinician until in a year."""
    stored = world.ledger.read("CareLedger", "appointmentOf", subject, world.dataset)
    clinician = bytes.fromhex(world.people[by].address[2:]).rjust(32, b"\0")
    return {
        "subject": subject,
        "dataset": world.dataset,
        "clinician": hashlib.sha256(clinician + SALT).digest(),
        "epoch": epoch_of(world.slot(subject)),
        "replaces": stored[2],
        "untilDay": world.ledger.now() // DAY + 365,
        "resultToMe": True,
        "noticeHash": random32(),
        "deadline": FOREVER,
    } | change


def send_appointment(world: World, message: dict[str, Any]) -> Receipt:
    return _hers(world, "appoint", "Appoint", message["subject"], message)


def appoint(world: World, subject: bytes, by: str = "cleo", **change: Any) -> Receipt:
    return send_appointment(world, appointment(world, subject, by, **change))


def plan_request(permit: bytes, subject: bytes) -> dict[str, Any]:
    """The message by which a clinician asks for a plan."""
    return {
        "permit": permit,
        "subject": subject,
        "salt": SALT,
        "paramsHash": hashlib.sha256(PLAN_PARAMS).digest(),
        "nonce": secrets.randbits(256),
        "deadline": FOREVER,
    }


def plan_binding(world: World, run: bytes) -> dict[str, Any]:
    """The message by which a worker asks to draw a plan, at its first attempt."""
    return {name: value for name, value in world.binding(run, ()).items() if name != "subjectsHash"}


def request_plan(
    world: World, permit: bytes, subject: bytes, by: str = "cleo", **change: Any
) -> bytes:
    """A mined request for a plan; returns its run id."""
    message = plan_request(permit, subject) | change
    receipt = world.relay(
        "CareLedger",
        "requestPlan",
        "PlanRequest",
        message,
        PLAN_PARAMS,
        world.by(by, "PlanRequest", message),
    )
    return receipt.one(PlanRequested).run


def authorise_plan(world: World, run: bytes, by: str = "wanda", **change: Any) -> Receipt:
    message = plan_binding(world, run) | change
    signature = world.by(by, "PlanBinding", message)
    return world.relay("CareLedger", "authorisePlan", "PlanBinding", message, signature)


def seal_plan(
    world: World, run: bytes, attempt: int = 1, by: str = "wanda", **change: Any
) -> bytes:
    """A sealed plan; returns the seal hash."""
    message = world.seal_message(run, attempt, outputClass=OutputClass.INDIVIDUAL) | change
    message.pop("statistics")
    signature = world.by(by, "PlanSeal", message)
    receipt = world.relay("CareLedger", "sealPlan", "PlanSeal", message, signature)
    return receipt.one(Sealed).sealHash


def view_plan(
    world: World, run: bytes, attempt: int = 1, by: str = "cleo", **change: Any
) -> Receipt:
    message = viewing(run, attempt) | change
    signature = world.by(by, "PlanView", message)
    return world.relay("CareLedger", "viewPlan", "PlanView", message, signature)


def countersign(
    world: World, run: bytes, seal: bytes, attempt: int = 1, by: str = "cleo", **change: Any
) -> Receipt:
    message = {
        "run": run,
        "attempt": attempt,
        "sealHash": seal,
        "notesHash": random32(),
        "deadline": FOREVER,
    } | change
    signature = world.by(by, "Countersign", message)
    return world.relay("CareLedger", "countersign", "Countersign", message, signature)


def open_plan(world: World, run: bytes, subject: bytes, attempt: int = 1, **change: Any) -> Receipt:
    return _hers(world, "openPlan", "PlanOpening", subject, viewing(run, attempt) | change)


def end_plan(world: World, run: bytes, by: str = "cleo") -> Receipt:
    message = {"run": run, "deadline": FOREVER}
    signature = world.by(by, "PlanEnd", message)
    return world.relay("CareLedger", "endPlan", "PlanEnd", message, signature)


def sealed_plan(world: World) -> tuple[bytes, bytes, bytes]:
    """A plan that its clinician viewed: the patient, the run, and the seal hash."""
    subject = patient(world)
    appoint(world, subject)
    run = request_plan(world, care_permit(world), subject)
    authorise_plan(world, run)
    seal = seal_plan(world, run)
    view_plan(world, run)
    return subject, run, seal


def viewing(run: bytes, attempt: int = 1) -> dict[str, Any]:
    """The message by which a plan is viewed, or opened, with a new key."""
    return {"run": run, "attempt": attempt, "viewerKey": random32(), "deadline": FOREVER}


def _hers(
    world: World, function: str, kind: str, subject: bytes, message: dict[str, Any]
) -> Receipt:
    wallet = world.subjects[subject]
    return world.ledger.relay(
        "CareLedger",
        function,
        message_tuple(kind, message),
        wallet.signer,
        wallet.sign(world.ledger.domain, kind, message),
    )
