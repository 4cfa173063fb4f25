"""The types of the replayed state: members, permits, consents, records, runs and attempts."""

from typing import Any, NamedTuple

from governance.rules.signatures import Args
from governance.rules.vocabulary import MAX_ATTEMPTS


class Member(NamedTuple):
    """A role of an account between two times (seconds); version counts its changes."""

    role: int
    start: int
    end: int
    version: int


NOBODY, NOTHING = Member(0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0)


class Permit(NamedTuple):
    """A permit as requested, and the votes on it by account."""

    applicant: bytes
    request: Args
    request_hash: bytes
    status: int
    votes: dict[bytes, bool]


class Consent(NamedTuple):
    """What one person allows with one dataset; days since 1970, purposes and categories as bits."""

    status: int
    epoch: int
    version: int
    from_day: int
    until_day: int
    purposes: int
    categories: int


class Appointment(NamedTuple):
    """Whom a patient appointed for her own care: a salted hash, bound to an epoch of her consent.
    result_to_me: whether she wants to open the plans.
    """

    clinician: bytes
    epoch: int
    version: int
    until_day: int
    result_to_me: bool


NOBODY_APPOINTED = Appointment(bytes(32), 0, 0, 0, False)


class Ingest(NamedTuple):
    """A registered list of records: Merkle root and count of its leaves."""

    dataset: bytes
    root: bytes
    count: int  # type: ignore[assignment]  # hides a tuple's own method
    relaxed: int
    void: bool


class Run(NamedTuple):
    """A requested run. resumed: how often it was given sixteen more attempts. ended: why, "" while
    it is open. moves: how often an attempt was about other people or records than the one before it.
    """

    analyst: bytes
    request: Args
    attempts: int
    ended: str
    resumed: int
    moves: int

    @property
    def is_care(self) -> bool:
        """Whether it draws up a plan from one patient's records: its request names her."""
        return "subject" in self.request


class Attempt(NamedTuple):
    """One attempt of a run.

    worker: empty if no signature was checked. granted: subject, epoch, version. denied: subject,
    reason. records: the state of the dataset that it reads. views: by the viewer's account, the
    newest key that she wants the output's key sealed to.
    """

    worker: bytes
    binding: Args
    granted: list[tuple[bytes, int, int]]
    denied: list[tuple[bytes, int]]
    lease_until: int
    records: int
    list_hash: bytes
    tx: bytes
    block: int
    seal: Args
    seal_hash: bytes
    views: dict[bytes, bytes]


Event = tuple[str, tuple[Any, ...], tuple[Any, ...]]  # name, indexed values, the others
Effect = tuple[int, bytes, list[Event]]  # kind of the step, words of its body, required events


def slot_of(consent: Consent) -> int:
    """The word that the contract stores (docs/ledger.md, Consent slot)."""
    shifts = (248, 216, 192, 168, 144, 112, 80)
    return sum(value << shift for value, shift in zip(consent, shifts, strict=True))


def most_attempts(run: Run) -> int:
    """How many attempts a run may have so far."""
    return MAX_ATTEMPTS * (run.resumed + 1)
