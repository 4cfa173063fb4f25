"""Checks before a transaction is sent: finds items that the contract would skip, forged or repeated
ones.

The contract skips such an item and mines the rest of the batch, so without these checks any caller
could make the relay pay for empty transactions. Only refusals that are certain at the newest
replayed step are made here; the contract decides everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.errors import Refused, SignatureMalformed
from chain.signatures import Domain, recover
from chain.vocabulary import Role
from governance.errors import RequestRefused
from governance.rules.encoding import sha256, words
from governance.rules.replayed import ReplayedState
from governance.rules.state import NOBODY

_HINT = "look at the state and sign again"
_QUESTIONS_HINT = (
    "ask with exactly the parameters of an earlier run (free while neither the people nor the dataset's "
    "records have changed), or ask for another permit: volens permit show"
)


def skipped_enrolment(
    domain: Domain,
    replayed: ReplayedState,
    message: Mapping[str, Any],
    registrar_signature: bytes,
    signer_signature: bytes,
) -> str:
    """The contract's name for the reason to skip this enrolment, "" if there is none."""
    registrar = replayed.members.get(
        _signer(domain, "Enrolment", message, registrar_signature), NOBODY
    )
    if registrar.role != Role.REGISTRAR or registrar.end <= replayed.time:
        return "NotARegistrar"
    if message["deadline"] < replayed.time:
        return "DeadlinePassed"
    if message["subject"] in replayed.signers:
        return "AlreadyEnrolled"
    signer = _signer(domain, "Enrolment", message, signer_signature)
    return "" if signer == message["signer"] else "SignatureInvalid"


def forged(
    domain: Domain,
    replayed: ReplayedState,
    kind: str,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """Why the person certainly did not sign this, "" otherwise; keys never change, so an older
    state is enough.
    """
    reason = _foreign(domain, replayed, kind, message, signer, signature)
    return "" if reason == "NotEnrolled" else reason


def skipped_grant(
    domain: Domain,
    replayed: ReplayedState,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> str:
    """The contract's name for the reason to skip this consent, "" if there is none."""
    current = replayed.consent(message["dataset"], message["subject"])
    return (
        _foreign(domain, replayed, "Grant", message, signer, signature)
        or ("DeadlinePassed" if message["deadline"] < replayed.time else "")
        or ("EpochStale" if message["epoch"] != current.epoch else "")
        or ("VersionStale" if message["replaces"] != current.version else "")
    )


def revocation_acts(
    domain: Domain,
    replayed: ReplayedState,
    message: Mapping[str, Any],
    signer: bytes,
    signature: bytes,
) -> bool:
    """Whether a revocation ends the current epoch; an older one changes nothing. Raises Refused if
    she did not sign it.
    """
    reason = _foreign(domain, replayed, "Revoke", message, signer, signature)
    if reason:
        raise Refused(reason, {}, _HINT)
    return bool(message["epoch"] == replayed.consent(message["dataset"], message["subject"]).epoch)


def refuse_question(replayed: ReplayedState, request: Mapping[str, Any]) -> None:
    """Raise RequestRefused for a run that asks one different question more than its permit or
    dataset bears: no attempt of it would ever be authorised. One that was asked of the same records
    passes: it is free if the same people are willing when it begins.
    """
    permit, params = replayed.permits.get(request["permit"]), request["paramsHash"]
    if permit is None or replayed.questions.may_be_free(permit.request, params):
        return
    reason = replayed.questions.reason(permit.request, params)
    if reason:
        raise RequestRefused(reason, _QUESTIONS_HINT)


def refuse_repeated(replayed: ReplayedState, message: Mapping[str, Any]) -> None:
    """Raise Refused for an old revocation that the trail has already."""
    name = sha256(words(message["subject"], message["dataset"], message["epoch"]))
    if name in replayed.used_up:
        raise Refused("AlreadyRecorded", {}, _HINT)


def refuse_all_skipped(reasons: list[str]) -> None:
    """Raise Refused with the first item's reason if the contract would skip the whole batch."""
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
    """Why the message is not signed by this person, "" if it is."""
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
