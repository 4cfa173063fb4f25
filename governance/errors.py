"""Errors of the governance package: each has a fact and a hint what to do next."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_REASONS = Path(__file__).resolve().parent.parent / "contracts" / "reasons.json"


class GovernanceError(Exception):
    """A fact that stopped a call. `hint` says what the caller can do next.

    Neither holds personal data or key material.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# --- envelope ------------------------------------------------------------------------------------


class ObjectMalformed(GovernanceError):
    """The bytes are not an encrypted object of this format."""


class TooManyRecords(GovernanceError):
    """More records than the list of one ingest may have."""


class WrongObject(GovernanceError):
    """A valid object, but of another record, person, version or ledger than the requested one."""


class ObjectAltered(GovernanceError):
    """The bytes differ from those that the ledger, or the object's name, commits to."""


class KeyMismatch(GovernanceError):
    """The key is not the one the object was committed to; nothing was decrypted."""


class ChunkRefused(GovernanceError):
    """A chunk was changed, moved, or belongs to another object; `index` counts from 0."""

    def __init__(self, index: int) -> None:
        super().__init__(
            f"part {index} of the object is not the one that was written", "fetch the object again"
        )
        self.index = index


class ObjectTruncated(GovernanceError):
    """The object ends before its last chunk."""


class ShareRefused(GovernanceError):
    """A wrapped key share does not open here: made for another record, version, run, person or
    broker.
    """


class MessageRefused(GovernanceError):
    """A sealed message does not open: another recipient, another context, or it was changed."""


class MessageMalformed(GovernanceError):
    """A message opened, but is not a list of key pieces."""


# --- keys ----------------------------------------------------------------------------------------


class KeyFileExposed(GovernanceError):
    """Others may read the key file."""


class KeyFileUnreadable(GovernanceError):
    """The key file is absent or has another format."""


class SecretRefused(GovernanceError):
    """A sealed secret does not open with this key file, or was sealed for another use."""


# --- vault ---------------------------------------------------------------------------------------


class BucketUnavailable(GovernanceError):
    """The bucket does not respond, or responds with an error; nothing was read or written."""


class BucketNotStarted(GovernanceError):
    """The bucket emulator could not be started."""


class ObjectMissing(GovernanceError):
    """The bucket holds no object of this name."""


# --- what routes are asked -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReasonEntry:
    """One entry of contracts/reasons.json: why a person, a run, a key or an output was refused."""

    code: int
    slug: str
    sentence: str


@cache
def reasons() -> dict[int, ReasonEntry]:
    """Every reason by its code, as the contracts and brokers use them (docs/reasons.md)."""
    groups = json.loads(_REASONS.read_text(encoding="utf-8"))
    entries = {int(code): entry for group in groups.values() for code, entry in group.items()}
    return {code: ReasonEntry(code, slug, sentence) for code, (slug, sentence) in entries.items()}


def reason_of(code: int) -> ReasonEntry:
    """The reason with this code; a code that the table lacks is named by its number."""
    return reasons().get(
        code, ReasonEntry(code, f"reason-{code}", "The reason is not in the table.")
    )


class NotSignedIn(GovernanceError):
    """The caller is not signed in, or the session has ended."""


class NotAllowed(GovernanceError):
    """The caller is signed in, but not allowed to do this."""


class NotFound(GovernanceError):
    """There is no such dataset, permit, run, output or person."""


class RequestInvalid(GovernanceError):
    """The message is well-formed, but its content is invalid."""


class DecisionPending(GovernanceError):
    """Another decision on this output already waits for its second signature."""


class RequestRefused(GovernanceError):
    """The ledger recorded a refusal with a reason of the table."""

    def __init__(self, code: int, hint: str = "") -> None:
        self.reason = reason_of(code)
        super().__init__(self.reason.sentence, hint)


class BrokerUnavailable(GovernanceError):
    """A key broker does not respond."""


class QuestionMalformed(BrokerUnavailable):
    """A key broker cannot read a request: a fault of the asking program."""


class BrokerRefused(GovernanceError):
    """A key broker released no key; `reason` says why (contracts/reasons.json, 64-78)."""

    def __init__(self, code: int) -> None:
        self.reason = reason_of(code)
        super().__init__(self.reason.sentence, "nothing was decrypted; see the reason")


class LedgerInconsistent(GovernanceError):
    """The node's events do not follow from its transactions: somebody altered one of them."""


class LedgerBehind(LedgerInconsistent):
    """The node has lost a block that it showed before: restored from an older copy, or rewritten."""


class CatchingUp(GovernanceError):
    """This process has not read the whole ledger yet; it continues in the background. `progress` is
    its progress.
    """

    def __init__(self, block: int, newest: int) -> None:
        super().__init__(
            f"the ledger is still being read: block {block} of {newest}",
            "wait until it has been read; how far it is: volens doctor",
        )
        self.block, self.newest = block, newest


class DatabaseOfAnotherLedger(GovernanceError):
    """The database's rows were derived from another ledger."""


class DatabaseBroken(GovernanceError):
    """The database cannot be opened: no address of one, not reachable, damaged, or without its
    driver.
    """
