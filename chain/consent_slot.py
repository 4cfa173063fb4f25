"""Decodes the consent word that ConsentRegistry stores for a person and dataset (docs/ledger.md,
Consent slot).
"""

from __future__ import annotations

from chain.vocabulary import ConsentStatus

_STATUS_AT, _EPOCH_AT, _EPOCH_BITS = 248, 216, 0xFFFFFFFF


def status_of(slot: int) -> int:
    return slot >> _STATUS_AT


def epoch_of(slot: int) -> int:
    return slot >> _EPOCH_AT & _EPOCH_BITS


def takes_back(status: int, epoch: int) -> bool:
    """Whether a withdrawal at this status and epoch ends a consent, or is the person's first
    message on the dataset.

    A first withdrawal without a consent counts, because it invalidates a consent that is not mined
    yet. Later ones do not: every step is kept for ever, so their number must be limited.
    """
    return status == ConsentStatus.LIVE or epoch == 0
