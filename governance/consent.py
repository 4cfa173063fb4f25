"""Enrolment and consent: the offered grant, its relay to the ledger, and the receipt that the
person keeps.

The full terms and their salt never leave her client: the ledger holds a commitment, and the receipt
opens it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain.artifacts import error_names
from chain.consent_slot import epoch_of, status_of, takes_back
from chain.events import ConsentGranted, Enrolled, ItemRefused, Receipt, RevokeStale
from chain.ledger import Ledger, message_tuple
from chain.vocabulary import Category, Purpose
from governance.errors import RequestInvalid
from governance.rules.encoding import canonical, canonical_json

DAY = 86_400
NOTICE = Path(__file__).resolve().parent / "terms" / "notice-1.md"
BATCH = 60  # items of one transaction: all of them fit under the gas cap of EIP-7825

PURPOSES = {purpose.slug: purpose for purpose in Purpose}
CATEGORIES = {category.slug: category for category in Category}
_ORDINARY = (
    "demographics",
    "conditions",
    "observations",
    "medications",
    "procedures",
    "germline-variants",
    "expression",
    "imaging",
    "wearables",
    "lifestyle",
)


@dataclass(frozen=True, slots=True)
class Preset:
    """One ready-made choice: `sentence` is what it means, `days` how long it lasts."""

    name: str
    sentence: str
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    days: int


# The sensitive categories (16-19) are in none but one that names each: "all" never implies them.
# Without them no plan says that she takes no interacting medicine, so none proposes a dose of one.
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "health",
            "all health research, five years",
            ("health-research", "cancer-research", "methods", "outside-recipient"),
            _ORDINARY,
            1826,
        ),
        Preset(
            "cancer",
            "cancer research, not for profit, two years",
            ("cancer-research", "outside-recipient"),
            _ORDINARY[:7],
            730,
        ),
        Preset("care", "my own care only, ten years", ("care",), _ORDINARY, 3652),
        Preset(
            "care-all",
            "my own care only, with what the record says of mental health, alcohol and drugs, "
            "sexual health and HIV, ten years",
            ("care",),
            (*_ORDINARY, "mental-health", "substance-use", "sexual-health", "hiv"),
            3652,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A grant ready to be signed, with the terms (canonical JSON) and the salt that its commitment
    hides.
    """

    message: dict[str, Any]
    terms: bytes
    salt: bytes


def bits(names: Sequence[str], table: Mapping[str, int]) -> int:
    """The mask of these names. Raises RequestInvalid for a name that the table lacks."""
    unknown = [name for name in names if name not in table]
    if unknown or not names:
        raise RequestInvalid(
            "one of the names is not in the list", "choose among: " + ", ".join(sorted(table))
        )
    return sum(1 << bit for bit in {table[name] for name in names})


def names_of(mask: int, table: Mapping[str, int]) -> list[str]:
    """The names of a mask's bits, lowest first; a bit without a name is `bit-N`."""
    by_bit = {bit: name for name, bit in table.items()}
    return [by_bit.get(bit, f"bit-{bit}") for bit in range(32) if mask >> bit & 1]


def notice_hash() -> bytes:
    """sha256 of the notice that everybody is shown."""
    return hashlib.sha256(NOTICE.read_bytes()).digest()


def notice_points() -> list[tuple[str, str]]:
    """The notice as (what, sentence), for showing; the words are those of the file."""
    text = NOTICE.read_text(encoding="utf-8")
    return [
        (what, " ".join(rest.split()))
        for what, rest in re.findall(
            r"^- \*\*(.+?)\*\*:? (.+?)(?=^- |\Z)", text, re.MULTILINE | re.DOTALL
        )
    ]


def offer(
    preset: Preset,
    subject: bytes,
    dataset: bytes,
    epoch: int,
    replaces: int,
    now: int,
    deadline: int,
) -> Offer:
    """The grant of a preset from today (UTC) on, over the slot at `epoch` and version `replaces`."""
    today = now // DAY
    terms = canonical_json(
        {
            "type": "volens/terms/1",
            "preset": preset.name,
            "sentence": preset.sentence,
            "dataset": dataset.hex(),
            "purposes": list(preset.purposes),
            "categories": list(preset.categories),
            "fromDay": today,
            "untilDay": today + preset.days,
            "notice": notice_hash().hex(),
        }
    )
    salt = secrets.token_bytes(32)
    message = {
        "subject": subject,
        "dataset": dataset,
        "epoch": epoch,
        "replaces": replaces,
        "fromDay": today,
        "untilDay": today + preset.days,
        "purposes": bits(preset.purposes, PURPOSES),
        "categories": bits(preset.categories, CATEGORIES),
        "termsCommitment": hashlib.sha256(
            canonical(b"volens/terms/1", salt, hashlib.sha256(terms).digest())
        ).digest(),
        "noticeHash": notice_hash(),
        "deadline": deadline,
    }
    return Offer(message, terms, salt)


def enrol(ledger: Ledger, items: Sequence[tuple[Mapping[str, Any], bytes, bytes]]) -> Receipt:
    """Relay (enrolment, registrar's signature, signer's signature) each; a bad one is skipped by
    the contract.
    """
    return ledger.relay(
        "ConsentRegistry",
        "enrol",
        [
            (message_tuple("Enrolment", message), registrar, signer)
            for message, registrar, signer in items
        ],
    )


def grant(ledger: Ledger, items: Sequence[tuple[Mapping[str, Any], bytes, bytes]]) -> Receipt:
    """Relay (grant, signer, signature) each; a bad one is skipped by the contract."""
    return ledger.relay(
        "ConsentRegistry",
        "grant",
        [
            (message_tuple("Grant", message), signer, signature)
            for message, signer, signature in items
        ],
    )


def revoke(
    ledger: Ledger, message: Mapping[str, Any], signer: bytes, signature: bytes
) -> tuple[Receipt, int | None]:
    """Relay a revocation, before all other messages that wait: the receipt, and the current epoch
    when it was stale and changed nothing (else None).
    """
    receipt = ledger.relay(
        "ConsentRegistry",
        "revoke",
        message_tuple("Revoke", message),
        signer,
        signature,
        first=True,
    )
    stale = receipt.all(RevokeStale)
    return receipt, stale[0].current if stale else None


def acts_and_takes_back(ledger: Ledger, message: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a revocation is of the current epoch, and whether it takes anything back
    (`chain.consent_slot`), according to the contract.
    """
    slot = int(ledger.read("ConsentRegistry", "slotOf", message["subject"], message["dataset"]))
    epoch = epoch_of(slot)
    return epoch == int(message["epoch"]), takes_back(status_of(slot), epoch)


def outcomes(
    receipt: Receipt, sent: Sequence[Mapping[str, Any]], expected: Sequence[str]
) -> list[str]:
    """The result of each item of a batch: "" if it was accepted, else the error's name.

    An item without a known signer, or one that was refused before, leaves no event: `expected` has
    the result of `precheck` for each item.
    """
    refused = {
        event.index_: error_names().get(event.reason, "Reverted")
        for event in receipt.all(ItemRefused)
    }
    accepted = Counter(
        (event.subject, event.dataset if isinstance(event, ConsentGranted) else b"")
        for event in receipt.events
        if isinstance(event, ConsentGranted | Enrolled)
    )
    results = []
    for index, (message, seen) in enumerate(zip(sent, expected, strict=True)):
        key = (message["subject"], message.get("dataset", b""))
        reason = refused.get(index) or seen
        if not reason and not accepted[key]:
            reason = "NotTaken"  # the reason arose between the precheck and the block
        accepted[key] -= not reason
        results.append(reason)
    return results


def patient_receipt(shared: Mapping[str, Any], terms: bytes, salt: bytes) -> bytes:
    """Her receipt (docs/ledger.md) as canonical JSON: what the service answered, and what only she
    holds.

    A receipt without a witness leaves the field out: canonical JSON knows no null.
    """
    fields = dict(shared) | {"terms": terms.decode(), "termsSalt": salt.hex()}
    return canonical_json({name: value for name, value in fields.items() if value is not None})
