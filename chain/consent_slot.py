"""The word that ConsentRegistry keeps of one person and dataset (docs/ledger.md, Consent slot), and what it means."""

from __future__ import annotations

from chain.vocabulary import ConsentStatus

_STATUS_AT, _EPOCH_AT, _EPOCH_BITS = 248, 216, 0xFFFFFFFF


def status_of(slot: int) -> int:
    return slot >> _STATUS_AT


def epoch_of(slot: int) -> int:
    return slot >> _EPOCH_AT & _EPOCH_BITS


def takes_back(status: int, epoch: int) -> bool:
    """Whether a withdrawal at this status and epoch ends a consent, or is the person's first word on the dataset.

    A further one of nothing counts too, for it makes a consent that is not mined yet worthless. But it is kept for
    ever, as every step, so nobody may send it as often as she likes.
    """
    return status == ConsentStatus.LIVE or epoch == 0
