"""What the ledger would skip, seen before a transaction is spent on it: forged items, and old ones sent again.

The contract skips such an item and mines the rest of the batch, so without this look anybody could make the relay write
transactions of nothing. Only what is certain at the fold's newest step is said; everything else the contract decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.errors import Refused, SignatureMalformed
from chain.signatures import Domain, recover
from chain.vocabulary import Role
from governance.rules.encoding import sha256, words
from governance.rules.replayed import Fold
from governance.rules.state import NOBODY

_HINT = "look at the state and sign again"


def skipped_enrolment(
    domain: Domain,
    fold: Fold,
    message: Mapping[str, Any],
    registrar_signature: bytes,
    signer_signature: bytes,
) -> str:
    """The contract's word for why it would skip this enrolment, "" when nothing speaks against it."""
    registrar = fold.members.get(_signer(domain, "Enrolment", message, registrar_signature), NOBODY)
    if registrar.role != Role.REGISTRAR or registrar.end <= fold.time:
        return "NotARegistrar"
    if message["deadline"] < fold.time:
        return "DeadlinePassed"
    if message["subject"] in fold.signers:
        return "AlreadyEnrolled"
    own = _signer(domain, "Enrolment", message, signer_signature) == message["signer"]
    return "" if own else "SignatureInvalid"


def forged(
    domain: Domain,
    fold: Fold,
    kind: str,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """Why this is surely not the person's own, "" otherwise; keys never change, so an older fold will do."""
    reason = _foreign(domain, fold, kind, message, signer, signature)
    return "" if reason == "NotEnrolled" else reason


def skipped_grant(
    domain: Domain, fold: Fold, message: Mapping[str, Any], signer: bytes, signature: bytes
) -> str:
    """The contract's word for why it would skip this consent, "" when nothing speaks against it."""
    held = fold.consent(message["dataset"], message["subject"])
    return (
        _foreign(domain, fold, "Grant", message, signer, signature)
        or ("DeadlinePassed" if message["deadline"] < fold.time else "")
        or ("EpochStale" if message["epoch"] != held.epoch else "")
        or ("VersionStale" if message["replaces"] != held.version else "")
    )


def revocation_acts(
    domain: Domain, fold: Fold, message: Mapping[str, Any], signer: bytes, signature: bytes
) -> bool:
    """Whether a revocation is her own and ends what holds now; an older one changes nothing. Raises Refused."""
    reason = _foreign(domain, fold, "Revoke", message, signer, signature)
    if reason:
        raise Refused(reason, {}, _HINT)
    return bool(message["epoch"] == fold.consent(message["dataset"], message["subject"]).epoch)


def refuse_repeated(fold: Fold, message: Mapping[str, Any]) -> None:
    """Raise Refused for an old revocation that is on the trail already."""
    name = sha256(words(message["subject"], message["dataset"], message["epoch"]))
    if name in fold.recorded:
        raise Refused("AlreadyRecorded", {}, _HINT)


def refuse_all_skipped(reasons: list[str]) -> None:
    """Raise Refused when a batch would write nothing: its first item's reason."""
    if all(reasons):
        raise Refused(reasons[0], {}, _HINT)


def _foreign(
    domain: Domain,
    fold: Fold,
    kind: str,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """Why a message is not this person's own, "" when it is."""
    enrolled = fold.signers.get(message["subject"])
    if enrolled is None:
        return "NotEnrolled"
    if signer != enrolled:
        return "SignerMismatch"
    return "" if _signer(domain, kind, message, signature) == signer else "SignatureInvalid"


def _signer(domain: Domain, kind: str, message: Mapping[str, Any], signature: bytes) -> bytes:
    try:
        return bytes.fromhex(recover(domain, kind, message, signature)[2:])
    except SignatureMalformed:
        return b""
