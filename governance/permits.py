"""What committee, custodian and analyst put on the ledger: roles, datasets, records, permits and
run requests.

Nobody here has authority of its own: each function relays a signed message and says what the ledger
made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chain.errors import Refused
from chain.events import Receipt, RunRefused, RunRequested
from chain.ledger import Ledger, message_tuple
from chain.signatures import Domain, recover
from chain.vocabulary import OutputClass
from governance.consent import CATEGORIES, names_of
from governance.errors import RequestInvalid, RequestRefused
from governance.objects.leaves import Leaf, leaves_root
from governance.rules.encoding import canonical_json, strict_json, words
from governance.rules.replayed import ReplayedState

MAX_PARAMS = 2048  # bytes
# The classes that research can release; no model is.
OUTPUTS = {
    output.slug: output for output in (OutputClass.METRICS, OutputClass.TABLE, OutputClass.GENOMIC)
}
# All that a permit can name: a plan of one patient's care is of a class of its own.
OUTPUT_NAMES = OUTPUTS | {OutputClass.INDIVIDUAL.slug: OutputClass.INDIVIDUAL}
Message = Mapping[str, Any]


def missing(allowed: int, outputs: int, categories: Iterable[int], output_class: int) -> str:
    """In words, what a run needs and its permit (bits of categories, of output classes) lacks; ""
    for nothing.
    """
    mask = sum(1 << category for category in categories if not allowed >> category & 1)
    lacks = [f"data of the kind {name}" for name in (names_of(mask, CATEGORIES) if mask else ())]
    if not outputs >> output_class & 1:
        lacks.append(f"output of the class {names_of(1 << output_class, OUTPUT_NAMES)[0]}")
    return ", ".join(lacks)


def set_role(ledger: Ledger, change: Message, signatures: Sequence[bytes]) -> Receipt:
    """Relay a role change under a quorum of committee signatures, in any order."""
    return ledger.relay(
        "PermitRegistry",
        "setRole",
        message_tuple("RoleChange", change),
        ascending(ledger, "RoleChange", change, signatures),
    )


def cancel_role(ledger: Ledger, order: Message, signature: bytes) -> Receipt:
    """Stop a new worker or broker before it acts, under one committee member's signature."""
    return ledger.relay(
        "PermitRegistry", "cancelRole", message_tuple("CancelRole", order), signature
    )


def register_dataset(ledger: Ledger, registration: Message, signature: bytes) -> Receipt:
    return ledger.relay(
        "PermitRegistry",
        "registerDataset",
        message_tuple("RegisterDataset", registration),
        signature,
    )


def check_ingest(
    domain: Domain,
    replayed: ReplayedState,
    registered: Message,
    signature: bytes,
    leaves: Sequence[Leaf],
) -> None:
    """Check, before anything is written, that the dataset's custodian signed exactly this list.

    Raises RequestInvalid, ObjectMalformed, Refused.
    """
    root = leaves_root(registered["ingest"], registered["dataset"], leaves)
    if root != registered["leavesRoot"] or len(leaves) != registered["count"]:
        raise RequestInvalid(
            "the list is not the one whose root was signed", "sign the root of exactly this list"
        )
    signer = recover(domain, "RecordsRegistered", registered, signature)
    if replayed.datasets.get(registered["dataset"]) != bytes.fromhex(signer[2:]):
        raise Refused("NotTheCustodian", {}, "let the custodian of the dataset sign")


def register_records(ledger: Ledger, registered: Message, signature: bytes) -> Receipt:
    """Relay an ingest; the caller MUST have put the objects and the leaf list into the bucket
    before.
    """
    return ledger.relay(
        "AccessLedger", "registerRecords", message_tuple("RecordsRegistered", registered), signature
    )


def void_records(ledger: Ledger, order: Message, signatures: Sequence[bytes]) -> Receipt:
    """Take a registration back, under its custodian's signature or a quorum's, in any order."""
    return ledger.relay(
        "AccessLedger",
        "voidRecords",
        message_tuple("VoidRecords", order),
        ascending(ledger, "VoidRecords", order, signatures),
    )


def request_permit(ledger: Ledger, request: Message, signature: bytes) -> Receipt:
    return ledger.relay(
        "PermitRegistry", "requestPermit", message_tuple("PermitRequest", request), signature
    )


def vote(ledger: Ledger, ballot: Message, signature: bytes) -> Receipt:
    return ledger.relay("PermitRegistry", "vote", message_tuple("Vote", ballot), signature)


def suspend(ledger: Ledger, order: Message, signature: bytes) -> Receipt:
    """Suspend an approved permit at once, under one committee member's or protection officer's
    signature.
    """
    return ledger.relay("PermitRegistry", "suspend", message_tuple("Suspend", order), signature)


def request_run(
    ledger: Ledger, request: Message, params: str, signature: bytes
) -> tuple[bytes, Receipt]:
    """The run's id and the receipt. Raises RequestInvalid before anything is sent; RequestRefused
    when the ledger recorded a refusal: its id is free again.
    """
    receipt = ledger.relay(
        "AccessLedger",
        "requestRun",
        message_tuple("RunRequest", request),
        check_params(params, request["paramsHash"]),
        signature,
    )
    refused = receipt.all(RunRefused)
    if refused:
        raise RequestRefused(refused[0].reason, "look at the permit: volens permit show")
    return receipt.one(RunRequested).run, receipt


def cancel_run(ledger: Ledger, cancel: Message, signature: bytes) -> Receipt:
    return ledger.relay("AccessLedger", "cancel", message_tuple("Cancel", cancel), signature)


def resume_run(ledger: Ledger, order: Message, signature: bytes) -> Receipt:
    """Give a run whose attempts are used up as many more, under the analyst's signature."""
    return ledger.relay("AccessLedger", "resume", message_tuple("Resume", order), signature)


def check_params(params: str, params_hash: bytes) -> bytes:
    """The parameters as bytes: a canonical JSON object of at most 2 KiB with the signed hash.
    Raises RequestInvalid, Malformed. What the values mean, the worker's code decides.
    """
    data = params.encode("utf-8", "surrogatepass")
    document = strict_json(data, MAX_PARAMS)
    if not isinstance(document, dict) or canonical_json(document) != data:
        raise RequestInvalid(
            "the parameters are not a canonical JSON object", "sort the keys and leave out spaces"
        )
    if hashlib.sha256(data).digest() != params_hash:
        raise RequestInvalid(
            "the parameters are not the signed ones", "sign the sha256 of exactly these bytes"
        )
    return data


def run_id(account: str, nonce: int) -> bytes:
    """The id of the run that this account requests with this nonce."""
    return hashlib.sha256(words(bytes.fromhex(account[2:]), nonce)).digest()


def ascending(
    ledger: Ledger, kind: str, message: Message, signatures: Sequence[bytes]
) -> list[bytes]:
    """The signatures in the contracts' order, by ascending signer. Raises SignatureMalformed."""
    return sorted(
        signatures, key=lambda signature: int(recover(ledger.domain, kind, message, signature), 16)
    )
