"""A patient's own care on her and her clinician's machines: appointments, requests, opened plans,
notes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.care.drawn import is_out_of_date, items_of, not_in_force, warns
from analytics.care.prognosis import is_prognosis
from analytics.care.rule_set import shipped
from api.client.client import DEADLINE_SECONDS, Client
from api.client.results import Opened, keep_pair, open_output, shown
from api.errors import NotThere, RefusedByPolicy, UsageError
from governance import care
from governance.objects.broker_client import BrokerClient
from governance.objects.notes import open_notes, seal_notes
from governance.rules.encoding import canonical_json, strict_json

DAY = 86_400
NOTES = "volens/plan-notes/1"
DECISIONS = ("accept", "decline", "defer")
LONGEST_NOTE = 2000  # characters


@dataclass(frozen=True, slots=True)
class OpenedPlan:
    """A plan and what its clinician noted on it; `notes` is empty before the countersignature.

    disclosure, salt: what proves against the ledger that it is the plan that was sealed.
    """

    plan: dict[str, Any]
    notes: dict[str, Any]
    disclosure: dict[str, Any]
    salt: str


def appointment(
    client: Client, dataset: bytes, clinician: str, until_day: int, result_to_me: bool
) -> tuple[dict[str, Any], bytes]:
    """The message by which a patient appoints a clinician, or ends that, and its salt.

    Raises UsageError if she has no live consent for the dataset.
    """
    consent = client.consent_to(dataset)
    if consent is None or client.subject is None:
        raise UsageError(
            "you have agreed to nothing in this dataset, so nobody can draw up a plan",
            "allow your own care first: volens consent grant --preset care",
        )
    earlier = [row for row in client.appointments() if row["dataset"] == dataset.hex()]
    salt = secrets.token_bytes(32)
    message = {
        "subject": client.subject,
        "dataset": dataset,
        "clinician": care.hidden(clinician, salt),
        "epoch": consent["epoch"],
        "replaces": max((row["version"] for row in earlier), default=0),
        "untilDay": until_day,
        "resultToMe": result_to_me,
        "noticeHash": care.notice_hash(),
        "deadline": int(time.time()) + DEADLINE_SECONDS,
    }
    return message, salt


def request_plan(
    client: Client, permit: str, subject: str, params: bytes, seconds: int = DAY
) -> dict[str, Any]:
    """Ask for a plan of a patient who appointed this clinician; workers may begin within `seconds`.

    Raises NotThere if she has not appointed him, UsageError for a permit that is not for care.
    """
    given = client.permit(permit)
    if given["purposes"] != ["care"]:
        raise UsageError(
            "this permit is not for care", "ask for one: volens permit request --purpose care"
        )
    mine = [
        row
        for row in client.appointments()
        if (row["subject"], row["dataset"]) == (subject, given["dataset"])
    ]
    if not mine or not mine[0]["live"]:
        raise NotThere(
            404,
            "The patient has not appointed you, or the appointment has ended.",
            "Ask the patient, who appoints with volens care appoint.",
        )
    message = {
        "permit": bytes.fromhex(permit),
        "subject": bytes.fromhex(subject),
        "salt": bytes.fromhex(mine[0]["salt"]),
        "paramsHash": hashlib.sha256(params).digest(),
        "nonce": secrets.randbits(256),
        "deadline": int(time.time()) + seconds,
    }
    return client.request_plan(message, params)


def open_as_clinician(client: Client, broker: BrokerClient, run: str, key_file: Path) -> OpenedPlan:
    """Open a sealed plan of this clinician's; the look is recorded first.

    Raises NotThere, RefusedByPolicy, VerificationFailed, BrokerRefused.
    """
    plan = client.plan(run)
    _recorded(client.view_plan, plan, key_file)
    return _opened(client, broker, plan, key_file)


def open_as_patient(client: Client, broker: BrokerClient, run: str, key_file: Path) -> OpenedPlan:
    """Open her countersigned plan; the opening is recorded first. Raises as `open_as_clinician`."""
    plan = client.plan(run)
    if plan["state"] != "countersigned":
        raise NotThere(
            404,
            "Your clinician has not signed this plan yet.",
            "Wait for it: nobody shows you a plan that he has not confirmed.",
        )
    _recorded(client.open_plan, plan, key_file)
    return _opened(client, broker, plan, key_file)


def sign_plan(
    client: Client,
    run: str,
    opened: Opened,
    decisions: Mapping[str, Any],
    comment: str,
    prognosis: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Countersign a plan that was opened here, with a decision for each of its items.

    decisions: by item (the id of its rule) {decision, note}; prognosis: of a group, drawn from a
    released table (`api.client.prognosis`). Raises UsageError.
    """
    plan, inside = client.plan(run), json.loads(opened.result)
    document = notes_on(inside, decisions, comment, prognosis)
    seal = _newest(plan)
    sealed = seal_notes(
        opened.salt, bytes.fromhex(run), int(seal["attempt"]), canonical_json(document)
    )
    return client.countersign(run, seal, sealed)


def notes_on(
    plan: Mapping[str, Any],
    decisions: Any,
    comment: str,
    prognosis: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The notes with a decision for each item of a plan that is in force. Raises UsageError."""
    if is_out_of_date(plan, today()):
        raise UsageError("the plan is out of date", "ask for a new one; end this one")
    for change in not_in_force(plan, shipped(), today()):
        raise UsageError(f"{change.title}: {change.why}", "end this plan and ask for a new one")
    if not isinstance(decisions, Mapping):
        raise UsageError(
            "the decisions are not one object", 'write {"RULE": {"decision": "accept"}}'
        )
    items = {item["rule"] for item in items_of(plan)}
    if set(decisions) != items:
        raise UsageError(
            "the decisions are not on each item of the plan, and on nothing else",
            f"decide on these: {', '.join(sorted(items)) or 'none, write {}'}",
        )
    beside = {} if prognosis is None else {"prognosis": dict(prognosis)}
    return check_notes({"type": NOTES, "items": dict(decisions), "comment": comment, **beside})


def today() -> int:
    """In days since 1970-01-01 (UTC), as a plan counts them."""
    return int(time.time()) // DAY


def confirmed(opened: OpenedPlan) -> OpenedPlan:
    """What a patient is shown of her plan: of the items those that her clinician agreed with, and
    what warns; of the others that there is a decision.
    """
    decisions = {rule: item["decision"] for rule, item in opened.notes["items"].items()}
    agreed = {rule for rule, decision in decisions.items() if decision == "accept"}
    agreed |= {option["rule"] for option in opened.plan["options"] if warns(option)}
    left_out = {item["rule"] for item in items_of(opened.plan)} - agreed
    parts = ("options", "lifestyle", "warnings", "schedule", "for_patient")
    plan = dict(opened.plan)
    for part in parts:
        plan[part] = [item for item in plan[part] if item["rule"] not in left_out]
    return OpenedPlan(plan, opened.notes, opened.disclosure, opened.salt)


def without_proposals(opened: OpenedPlan) -> OpenedPlan:
    """What is shown of a plan after its last day, or once a rule of it is not in force: facts,
    measurements and dates, and what advises against a medicine, but no dose, proposal, note or next
    day. It is not the sealed plan any more, so nothing proves it.
    """
    kept = ("type", "sentence", "jurisdiction", "rule_set", "today", "valid_until", "facts")
    plan = {name: opened.plan[name] for name in kept}
    plan["advised_against"] = [
        {name: option[name] for name in ("rule", "title", "action")}
        for option in opened.plan["options"]
        if warns(option)
    ]
    plan["monitoring"] = [
        {name: value for name, value in measurement.items() if name != "next"}
        for measurement in opened.plan["monitoring"]
    ]
    return OpenedPlan(plan, {}, {}, "")


def check_notes(document: Any) -> dict[str, Any]:
    """The notes, of the right form. Raises UsageError."""
    items = document.get("items") if isinstance(document, dict) else None
    right = (
        isinstance(items, dict)
        and {"type", "items", "comment"} == document.keys() - {"prognosis"}
        and ("prognosis" not in document or is_prognosis(document["prognosis"]))
        and document["type"] == NOTES
        and _is_note(document["comment"])
        and all(
            isinstance(item, dict)
            and set(item) == {"decision", "note"}
            and item["decision"] in DECISIONS
            and _is_note(item["note"])
            for item in items.values()
        )
    )
    if not right:
        raise UsageError(
            f"each item needs a decision ({', '.join(DECISIONS)}) and a note of at most "
            f"{LONGEST_NOTE} characters; a group's prognosis is as `volens plan prognosis` writes it",
            "look at the plan's items, and write one decision for each",
        )
    return dict(document)


def _is_note(text: object) -> bool:
    return isinstance(text, str) and len(text) <= LONGEST_NOTE


def _newest(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    if not plan["outputs"]:
        raise NotThere(404, "The plan is not drawn yet.", "Wait until it is sealed.")
    newest: Mapping[str, Any] = plan["outputs"][-1]
    return newest


def _recorded(record: Any, plan: Mapping[str, Any], key_file: Path) -> None:
    """Record a look or an opening, each with a key of its own: a later one, also on a page, makes
    the key of the one before useless.
    """
    attempt = int(_newest(plan)["attempt"])
    key_file.unlink(missing_ok=True)
    try:
        record(plan["run"], attempt, keep_pair(key_file))
    except RefusedByPolicy as refusal:
        if refusal.reason != "AlreadyRecorded":
            raise


def open_sealed(
    client: Client, broker: BrokerClient, plan: Mapping[str, Any], key_file: Path
) -> Opened:
    """The plan's bytes, checked against the ledger's commitments, after a recorded look."""
    if not key_file.exists():
        raise NotThere(
            404,
            "The key of your newest look at this plan is not here.",
            "Open the plan first: volens plan open, or volens plan read.",
        )
    viewer = client.wallet.signer.hex()
    return open_output(client, broker, plan, key_file, viewer, client.sealed_plan)


def _opened(
    client: Client, broker: BrokerClient, plan: Mapping[str, Any], key_file: Path
) -> OpenedPlan:
    opened = open_sealed(client, broker, plan, key_file)
    notes: Any = {}
    if plan["notesHash"] is not None:
        attempt = int(_newest(plan)["attempt"])
        sealed = client.plan_notes(plan["run"])
        text = open_notes(opened.salt, bytes.fromhex(plan["run"]), attempt, sealed)
        notes = check_notes(strict_json(text))
    inside = shown(opened)
    return OpenedPlan(inside["result"], notes, inside["disclosure"], inside["salt"])
