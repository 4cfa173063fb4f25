"""A patient's own care: her appointment of a clinician, his requests and countersignatures, her
opening of a plan.

Nobody here has authority of its own: each function relays a signed message, and the contract checks
it. Who the appointed clinician is, the ledger hides behind a salt; she tells it this service, which
shows her and him what they may see.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address
from sqlalchemy import Engine, delete, insert, select

from chain.events import PlanRequested, Receipt, ReleaseRefused
from chain.ledger import Ledger, message_tuple
from chain.signatures import Domain
from governance.errors import NotAllowed, NotFound, RequestInvalid, RequestRefused
from governance.objects.broker_client import signer_of
from governance.objects.vault import Bucket
from governance.permits import check_params
from governance.readmodel.tables import AppointedClinician, Run
from governance.rules.encoding import sha256, words
from governance.rules.replayed import ReplayedState

NOTICE = Path(__file__).resolve().parent / "terms" / "care-1.md"
# The account of a clinician whom a patient named without telling this service.
UNTOLD = "0x" + "0" * 40
NOTES = "n"  # the kind of an object in the bucket: what a clinician noted on a plan, encrypted
MAX_NOTES = 64 << 10  # bytes
_POINT = re.compile(r"^- \*\*(.+?)\*\*:? (.+?)(?=^- |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Appointed:
    """An appointment as the ledger has it, and whom she named, UNTOLD if this service does not
    know. live: whether he may ask now.

    version: how often she has appointed or ended one; until_day: days since 1970.
    """

    dataset: str
    subject: str
    clinician: str
    version: int
    until_day: int
    result_to_me: bool
    live: bool
    salt: str


def notice_hash() -> bytes:
    """sha256 of the notice about care that she is shown before she appoints somebody."""
    return hashlib.sha256(NOTICE.read_bytes()).digest()


def notice_points() -> list[tuple[str, str]]:
    """The notice as (what, sentence), for showing; the words are those of the file."""
    text = NOTICE.read_text(encoding="utf-8")
    return [(what, " ".join(rest.split())) for what, rest in _POINT.findall(text)]


def hidden(clinician: str, salt: bytes) -> bytes:
    """How the ledger names a clinician's account: a hash that tells nobody who it is."""
    return sha256(words(bytes.fromhex(clinician[2:]), salt))


def plan_id(permit: bytes, clinician: str, nonce: int) -> bytes:
    """The id of the plan that this clinician asks for with this nonce."""
    return sha256(words(permit, bytes.fromhex(clinician[2:]), nonce))


def appoint(
    ledger: Ledger,
    engine: Engine,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
    clinician: str,
    salt: bytes,
) -> Receipt:
    """Relay an appointment, and keep whom it names.

    Raises RequestInvalid before anything is sent if the signed hash hides somebody else.
    """
    if hidden(clinician, salt) != message["clinician"]:
        raise RequestInvalid(
            "the signed appointment names another clinician, or another salt",
            "sign the hash of exactly this account and salt",
        )
    if message["noticeHash"] != notice_hash():
        raise RequestInvalid(
            "the appointment was signed under another notice about care",
            "show her the notice of this service, and let her sign again",
        )
    receipt = ledger.relay(
        "CareLedger", "appoint", message_tuple("Appoint", message), signer, signature
    )
    row = {
        "dataset": message["dataset"].hex(),
        "subject": message["subject"].hex(),
        "version": message["replaces"] + 1,
        "clinician": to_checksum_address(clinician),
        "salt": salt.hex(),
    }
    noun = AppointedClinician
    with engine.begin() as connection:
        same = (noun.dataset == row["dataset"], noun.subject == row["subject"])
        connection.execute(delete(noun).where(*same, noun.version < row["version"]))
        connection.execute(insert(noun).values(row))
    return receipt


def appointments(
    engine: Engine,
    replayed: ReplayedState,
    now: int,
    *,
    clinician: str = "",
    subject: str = "",
) -> list[Appointed]:
    """The newest appointments of a patient, or those in which this clinician is named.

    A patient's are those of the ledger: also one that was signed and sent without this service.
    """
    noun = AppointedClinician
    query = select(noun).order_by(noun.dataset, noun.subject)
    query = query.where(noun.clinician == clinician) if clinician else query
    query = query.where(noun.subject == subject) if subject else query
    with engine.connect() as connection:
        kept = {(row.dataset, row.subject): row for row in connection.execute(query)}
    pairs = set(kept)
    if subject:
        pairs |= {(name.hex(), subject) for name in replayed.datasets}
    listed = (_appointed(*pair, kept.get(pair), replayed, now // 86_400) for pair in sorted(pairs))
    return [
        appointment
        for appointment in listed
        if appointment is not None and (subject or appointment.clinician == clinician)
    ]


def _appointed(
    of: str, whose: str, row: Any, replayed: ReplayedState, today: int
) -> Appointed | None:
    """None if the ledger has no appointment; row: what this service keeps of one, if anything."""
    dataset, subject = bytes.fromhex(of), bytes.fromhex(whose)
    kept, consent = replayed.appointment(dataset, subject), replayed.consent(dataset, subject)
    if not kept.version:
        return None
    known = row is not None and kept.version == row.version
    every_kind = 2**32 - 1
    live = (
        today <= kept.until_day
        and kept.epoch == consent.epoch
        and not replayed.care_denied(dataset, subject, every_kind, today)
    )
    return Appointed(
        of,
        whose,
        row.clinician if known else UNTOLD,
        kept.version,
        kept.until_day,
        kept.result_to_me,
        live,
        row.salt if known else "",
    )


def request_plan(
    ledger: Ledger, request: Mapping[str, Any], params: str, signature: bytes
) -> tuple[bytes, Receipt]:
    """The plan's id and the receipt. Raises RequestInvalid before anything is sent."""
    receipt = ledger.relay(
        "CareLedger",
        "requestPlan",
        message_tuple("PlanRequest", request),
        check_params(params, request["paramsHash"]),
        signature,
    )
    return receipt.one(PlanRequested).run, receipt


def view_plan(ledger: Ledger, view: Mapping[str, Any], signature: bytes) -> Receipt:
    """Record that the clinician looks at a plan: the broker answers this receipt's key."""
    return ledger.relay("CareLedger", "viewPlan", message_tuple("PlanView", view), signature)


def countersign(
    ledger: Ledger, bucket: Bucket, message: Mapping[str, Any], signature: bytes, notes: bytes
) -> Receipt:
    """Keep the clinician's encrypted notes, and record his countersignature under them.

    Raises RequestInvalid for other notes than were signed, RequestRefused when the ledger recorded
    a refusal, BucketUnavailable.
    """
    if sha256(notes) != message["notesHash"] or len(notes) > MAX_NOTES:
        raise RequestInvalid(
            "the notes are not those that were signed, or longer than 64 KiB",
            "sign the sha256 of exactly these bytes",
        )
    bucket.put_text(NOTES, message["notesHash"], notes)
    receipt = ledger.relay(
        "CareLedger", "countersign", message_tuple("Countersign", message), signature
    )
    refused = receipt.all(ReleaseRefused)
    if refused:
        raise RequestRefused(refused[0].reason, "the plan stays sealed; ask her what she wants")
    return receipt


def open_plan(
    ledger: Ledger, opening: Mapping[str, Any], signer: bytes, signature: bytes
) -> Receipt:
    """Record that the patient opens her plan: the broker answers this receipt's key."""
    return ledger.relay(
        "CareLedger", "openPlan", message_tuple("PlanOpening", opening), signer, signature
    )


def end_plan(ledger: Ledger, message: Mapping[str, Any], signature: bytes) -> Receipt:
    """End a request that was not countersigned, under its clinician's signature."""
    return ledger.relay("CareLedger", "endPlan", message_tuple("PlanEnd", message), signature)


def notes_of(bucket: Bucket, replayed: ReplayedState, run: bytes) -> bytes:
    """The clinician's encrypted notes on a countersigned plan. Raises NotFound, BucketUnavailable."""
    digest = replayed.notes.get(run)
    notes = None if digest is None else bucket.find_text(NOTES, digest)
    if notes is None or sha256(notes) != digest:
        raise NotFound("there are no notes on this plan", "it has none before it is countersigned")
    return notes


def check_reader(replayed: ReplayedState, plan: Run, account: str, subject: str) -> None:
    """Raise NotAllowed unless the caller is the plan's clinician, or its patient after the
    countersignature.
    """
    run = replayed.runs[bytes.fromhex(plan.run)]
    hers = subject == plan.subject and run.ended == "released"
    if account != plan.analyst and not hers:
        raise NotAllowed(
            "only its clinician, and after his countersignature its patient, may read a plan",
            "sign in as one of them",
        )


def check_asker(
    domain: Domain, replayed: ReplayedState, plan: Run, question: Mapping[str, Any]
) -> None:
    """Raise NotAllowed unless the plan's clinician or its patient, in whose name it is, signed this
    question for its key. The broker checks it again; strangers do not reach it.
    """
    signer = signer_of(domain, question)
    hers = replayed.signers.get(bytes.fromhex(plan.subject), b"")
    if signer.hex() != question.get("viewer") or signer not in (
        bytes.fromhex(plan.analyst[2:]),
        hers,
    ):
        raise NotAllowed(
            "only the clinician and the patient of a plan may ask for its key",
            "sign the question with the account in whose name it is",
        )
