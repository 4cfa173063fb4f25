"""Open outputs on the reader's own machine (ciphertext from the API, key pieces from the broker);
receipts.

1. The X25519 pair that opens an output follows from the reader's own key, as on the pages, so that
   nothing of it must be kept. Each opening of a plan has a fresh pair, in a file of mode 0600.
2. Hash and key commitment are checked before decryption, the output commitment on the ledger after
   it.
3. The result is returned only if it and its salt match the ledger's commitment.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.client.client import Client
from api.errors import NotThere, RefusedByPolicy, VerificationFailed
from governance.errors import (
    BrokerRefused,
    BrokerUnavailable,
    GovernanceError,
    KeyFileUnreadable,
)
from governance.objects.broker_client import BrokerClient
from governance.objects.envelope import (
    OUTPUT,
    Label,
    decode_pieces,
    disclosure_commitment,
    open_message,
    output_commitment,
    read_header,
)
from governance.objects.keys import (
    RESULT_KEY,
    VIEW_KEY,
    PrivateKey,
    create_private,
    derived_pair,
    load_pair,
    new_pair,
    read_private,
)
from governance.objects.vault import open_record
from governance.rules.encoding import Malformed, canonical_json, part, raw, strict_json

_MAX = 64 << 20  # bytes of an output
WITHDRAWAL = "volens/withdrawal-receipt/2"


@dataclass(frozen=True, slots=True)
class Opened:
    """An output: result and disclosure record (JSON bytes), and the salt of its commitment."""

    result: bytes
    disclosure: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """A released result, the file of its receipt, and whether a broker's witness is in it."""

    opened: Opened
    receipt: Path
    witnessed: bool


def keep_pair(path: Path) -> bytes:
    """The public half of the key pair at `path`, which is made if there is none."""
    if not path.exists():
        private, _ = new_pair()
        create_private(path, private.private_bytes_raw())
    return load_pair(read_private(path, 32))[1]


def reading_key(
    client: Client, run: bytes, attempt: int = 0, key_file: Path | None = None
) -> bytes:
    """The public half of the key for a run's result, or with an attempt (from 1) for a checker's
    view of its output. key_file: of a key that an earlier version drew, where there is one.
    """
    return _pair_of(client, run, attempt, key_file)[1]


def view_once(client: Client, run: str, attempt: int, viewer_key: bytes) -> None:
    """Record a view, unless this view is already on the ledger: then the key may be opened again."""
    try:
        client.view_output(run, attempt, viewer_key)
    except RefusedByPolicy as refusal:
        if refusal.reason != "AlreadyRecorded":
            raise


def open_output(
    client: Client,
    broker: BrokerClient,
    run: Mapping[str, Any],
    key_file: Path | None = None,
    viewer: str | None = None,
    fetch: Callable[[str], bytes] | None = None,
) -> Opened:
    """Open the newest sealed output of a run (from `Client.run`): for a viewer after her view, else
    the analyst. key_file: of a key that was drawn, where there is such a file; else the key follows
    from the reader's. fetch: gives the ciphertext, of a plan that of `Client.plan`.

    Raises NotThere, BrokerRefused, BrokerUnavailable, VerificationFailed.
    """
    if not run["outputs"]:
        raise NotThere(
            404, "The run has no sealed output.", "Wait until it is sealed: volens run watch."
        )
    sealed = run["outputs"][-1]
    name, attempt = bytes.fromhex(run["run"]), int(sealed["attempt"])
    private, public = _pair_of(client, name, attempt if viewer else 0, key_file)
    if not viewer and public.hex() != run["resultKey"]:
        raise _elsewhere()
    blob = (fetch or client.output)(run["run"])
    authorised = next(entry for entry in run["attempts"] if entry["attempt"] == attempt)
    answer = broker.output_pieces(
        name,
        attempt,
        bytes.fromhex(authorised["tx"]),
        public,
        read_header(blob),
        client.wallet,
        viewer,
    )
    label = Label(client.identity_id, name, name, bytes.fromhex(run["dataset"]), OUTPUT, attempt)
    try:
        pieces = sorted(
            decode_pieces(open_message(private, answer.info, answer.sealed), answer.broker),
            key=lambda piece: piece.j,
        )
        plaintext = open_record(
            blob, bytes.fromhex(sealed["ciphertext"]), label, [piece.share for piece in pieces]
        )
    except GovernanceError as error:
        raise VerificationFailed(f"the output does not open: {error}", error.hint) from None
    opened = check_output(plaintext, name, attempt, bytes.fromhex(sealed["outputCommitment"]))
    check_disclosure(opened, name, attempt, bytes.fromhex(sealed["disclosureCommitment"]))
    return opened


def open_released(
    client: Client, broker: BrokerClient, run: Mapping[str, Any], key_file: Path, receipts: Path
) -> Released:
    """Open a released result, and keep the run's receipt in the folder `receipts`.

    Raises what `open_output` raises; RefusedByPolicy where its permit is suspended.
    """
    if run["shut"]:
        why, _, advice = run["shut"].partition(". ")
        raise RefusedByPolicy(409, f"{why}.", advice, "permit-suspended")
    opened = open_output(client, broker, run, key_file)
    try:
        witness = broker.witness()
    except (BrokerUnavailable, BrokerRefused):
        witness = None
    kept = write_receipt(receipts, run_receipt(client, run, opened, witness))
    return Released(opened, kept, witness is not None)


def run_receipt(
    client: Client, run: Mapping[str, Any], opened: Opened, witness: Mapping[str, Any] | None
) -> bytes:
    """The analyst's receipt of a released run (docs/ledger.md) as canonical JSON, without absent
    fields.
    """
    fields = receipt_fields(client.identity_id.hex(), run, witness)
    return canonical_json(fields | {"outputSalt": opened.salt.hex()})


def receipt_fields(
    identity: str, run: Mapping[str, Any], witness: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A released run's receipt but for the salt, which only a reader of the output has."""
    sealed = run["outputs"][-1]
    authorised = next(
        attempt for attempt in run["attempts"] if attempt["attempt"] == sealed["attempt"]
    )
    fields = {
        "type": "volens/run-receipt/2",
        "identity": identity,
        "run": run["run"],
        "attempt": sealed["attempt"],
        "permit": run["permit"],
        "listHash": authorised["listHash"],
        "granted": authorised["granted"],
        "sealHash": sealed["sealHash"],
        "outputCommitment": sealed["outputCommitment"],
        "releaseTx": sealed["release"]["tx"],
        "time": sealed["release"]["time"],
        "count": sealed["release"]["count"],
        "head": sealed["release"]["head"],
        "codeHash": run["codeHash"],
        "paramsHash": run["paramsHash"],
        "witness": witness,
    }
    return {name: value for name, value in fields.items() if value is not None}


def await_settled(client: Client, tx: str, seconds: float = 10.0) -> dict[str, Any]:
    """The withdrawal mined in `tx`, once all that can be stopped was stopped, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        withdrawal = next(row for row in client.withdrawals() if row["tx"] == tx)
        if withdrawal["settled"] or time.monotonic() > deadline:
            return withdrawal
        time.sleep(0.05)


def withdrawal_receipt(
    client: Client,
    receipt: Mapping[str, Any],
    followed: Mapping[str, Any],
    witness: Mapping[str, Any] | None,
) -> bytes:
    """A patient's receipt of a withdrawal, as canonical JSON: its position and its effect on each
    use.

    witness: for a head at or after `asOf`; without it, the receipt anchors no trail.
    """
    fields = {
        "type": WITHDRAWAL,
        "identity": client.identity_id.hex(),
        "subject": client.subject.hex() if client.subject else "",
        "receipt": dict(receipt),
        "dataset": followed["dataset"],
        "settled": followed["settled"],
        "asOf": followed["asOf"],
        "effects": [
            {k: v for k, v in effect.items() if v is not None} for effect in followed["effects"]
        ],
    }
    if witness is not None and witness["count"] >= followed["asOf"]["count"]:
        fields["witness"] = dict(witness)
    return canonical_json(fields)


def complete_receipts(client: Client, folder: Path) -> list[Path]:
    """Replace the incomplete withdrawal receipts in `folder` whose withdrawal is settled now.

    The earlier file is deleted only after the complete one is written. Returns the new files.
    """
    completed: list[Path] = []
    waiting = {}
    for path in sorted(folder.glob("*.json")):
        try:
            kept: Any = strict_json(path.read_bytes(), _MAX)
        except (OSError, Malformed):
            continue  # not a receipt
        if isinstance(kept, dict) and kept.get("type") == WITHDRAWAL and not kept.get("settled"):
            waiting[kept["receipt"]["tx"]] = (path, kept["receipt"])
    for withdrawal in client.withdrawals() if waiting else ():
        if withdrawal["settled"] and withdrawal["tx"] in waiting:
            path, receipt = waiting[withdrawal["tx"]]
            witness = client.trail_head()["witness"]
            completed.append(
                write_receipt(folder, withdrawal_receipt(client, receipt, withdrawal, witness))
            )
            path.unlink()
    return completed


def write_receipt(folder: Path, receipt: bytes) -> Path:
    """Write a receipt named by its hash, mode 0600, because a patient's contains the salt of her
    terms.
    """
    path = folder / f"{hashlib.sha256(receipt).hexdigest()[:16]}.json"
    if not path.exists():
        create_private(path, receipt)
    return path


def _pair_of(
    client: Client, run: bytes, attempt: int, key_file: Path | None
) -> tuple[PrivateKey, bytes]:
    """The pair in the file, or else the one that web/reading-keys.js derives as well."""
    if key_file is not None and key_file.exists():
        try:
            return load_pair(read_private(key_file, 32))
        except KeyFileUnreadable:
            raise _elsewhere() from None
    if attempt:
        return derived_pair(client.wallet.key, VIEW_KEY, run + attempt.to_bytes(4))
    return derived_pair(client.wallet.key, RESULT_KEY, run)


def _elsewhere() -> NotThere:
    return NotThere(
        404,
        "The key that opens this output is not here.",
        "Open it where the run was requested, or view it first: volens review open.",
    )


def check_output(plaintext: bytes, run: bytes, attempt: int, commitment: bytes) -> Opened:
    """Parse an output and check it against the commitment on the ledger.

    Raises VerificationFailed.
    """
    try:
        inside = strict_json(plaintext, _MAX)
        opened = Opened(
            part(inside, "result", str).encode(),
            part(inside, "disclosure", str).encode(),
            raw(part(inside, "salt"), 32),
        )
    except Malformed as error:
        raise VerificationFailed(
            f"the output is not of this format: {error}", "tell the operator"
        ) from None
    if output_commitment(run, attempt, opened.result, opened.salt) != commitment:
        raise VerificationFailed(
            "the output is not the one that was sealed", "tell the operator and an auditor"
        )
    return opened


def check_disclosure(opened: Opened, run: bytes, attempt: int, commitment: bytes) -> None:
    """Raise VerificationFailed unless the disclosure record is the one that was sealed."""
    if disclosure_commitment(run, attempt, opened.disclosure, opened.salt) != commitment:
        raise VerificationFailed(
            "the disclosure record is not the one that was sealed",
            "tell the operator and an auditor",
        )


def shown(opened: Opened) -> dict[str, Any]:
    """Result and disclosure as values for printing, with the salt that proves them."""
    return {
        "result": json.loads(opened.result),
        "disclosure": json.loads(opened.disclosure),
        "salt": opened.salt.hex(),
    }
