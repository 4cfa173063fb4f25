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
from governance.rules.replayed import ReplayedState
from governance.rules.state import NOBODY

_HINT = "look at the state and sign again"


def skipped_enrolment(
    domain: Domain,
    replayed: ReplayedState,
    message: Mapping[str, Any],
    registrar_signature: bytes,
    signer_signature: bytes,
) -> str:
    """The contract's word for why it would skip this enrolment, "" when nothing speaks against it."""
    registrar = replayed.members.get(
        _signer(domain, "Enrolment", message, registrar_signature), NOBODY
    )
    if registrar.role != Role.REGISTRAR or registrar.end <= replayed.time:
        return "NotARegistrar"
    if message["deadline"] < replayed.time:
        return "DeadlinePassed"
    if message["subject"] in replayed.signers:
        return "AlreadyEnrolled"
    own = _signer(domain, "Enrolment", message, signer_signature) == message["signer"]
    return "" if own else "SignatureInvalid"


def forged(
    domain: Domain,
    replayed: ReplayedState,
    kind: str,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """Why this is surely not the person's own, "" otherwise; keys never change, so an older fold will do."""
    reason = _foreign(domain, replayed, kind, message, signer, signature)
    return "" if reason == "NotEnrolled" else reason


def skipped_grant(
    domain: Domain,
    replayed: ReplayedState,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """The contract's word for why it would skip this consent, "" when nothing speaks against it."""
    held = replayed.consent(message["dataset"], message["subject"])
    return (
        _foreign(domain, replayed, "Grant", message, signer, signature)
        or ("DeadlinePassed" if message["deadline"] < replayed.time else "")
        or ("EpochStale" if message["epoch"] != held.epoch else "")
        or ("VersionStale" if message["replaces"] != held.version else "")
    )


def revocation_acts(
    domain: Domain,
    replayed: ReplayedState,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> bool:
    """Whether a revocation is her own and ends what holds now; an older one changes nothing. Raises Refused."""
    reason = _foreign(domain, replayed, "Revoke", message, signer, signature)
    if reason:
        raise Refused(reason, {}, _HINT)
    return bool(message["epoch"] == replayed.consent(message["dataset"], message["subject"]).epoch)


def refuse_repeated(replayed: ReplayedState, message: Mapping[str, Any]) -> None:
    """Raise Refused for an old revocation that is on the trail already."""
    name = sha256(words(message["subject"], message["dataset"], message["epoch"]))
    if name in replayed.recorded:
        raise Refused("AlreadyRecorded", {}, _HINT)


def refuse_all_skipped(reasons: list[str]) -> None:
    """Raise Refused when a batch would write nothing: its first item's reason."""
    if all(reasons):
        raise Refused(reasons[0], {}, _HINT)


def _foreign(
    domain: Domain,
    replayed: ReplayedState,
    kind: str,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """Why a message is not this person's own, "" when it is."""
    enrolled = replayed.signers.get(message["subject"])
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
