"""The base of all rules: the replayed state, the transaction being read, and the checks of its
signatures.
"""

from typing import Any

from governance.rules.abi import TOPICS
from governance.rules.encoding import need, sha256, words
from governance.rules.ledger_data import Log, Transaction, origin_of, parse_identity
from governance.rules.questions import Questions
from governance.rules.signatures import Args, Crypto
from governance.rules.state import (
    NOBODY,
    NOTHING,
    Appointment,
    Attempt,
    Consent,
    Effect,
    Ingest,
    Member,
    Permit,
    Run,
)
from governance.rules.tables import Reason
from governance.rules.vocabulary import COMMITTEE, FOREVER, LIVE


def effect(
    kind: int, name: str, indexed: tuple[Any, ...], plain: tuple[Any, ...] = (), body: bytes = b""
) -> Effect:
    """What a call with one event leaves: the step's kind, the words of its body, and the event."""
    return kind, body or words(*indexed, *plain), [(name, indexed, plain)]


class Steps:
    """The state that the rules give, and the transaction that is executed now."""

    _tx: Transaction
    _logs: tuple[Log, ...]
    _crypto: Crypto | None

    def __init__(self, identity: object) -> None:
        self.identity = parse_identity(identity)
        self.members = {who: Member(COMMITTEE, 0, FOREVER, 0) for who in self.identity.founders}
        # By account: each of its roles, with the step that gave it.
        self.terms = dict[bytes, list[tuple[int, Member]]]()
        self.set_at = dict[bytes, int]()  # when an account's newest role was given
        self.committee_until = dict[bytes, int]()  # ends of committee terms that a change replaced
        self.datasets = dict[bytes, bytes]()  # dataset: custodian
        self.spent = dict[bytes, int]()  # dataset: what released statistics took of its BUDGET
        self.questions = Questions()
        self.permits = dict[bytes, Permit]()
        self.ingests = dict[bytes, Ingest]()  # in the ledger's order
        self.signers = dict[bytes, bytes]()
        self.consents = dict[tuple[bytes, bytes], Consent]()  # (dataset, subject)
        self.appointments = dict[tuple[bytes, bytes], Appointment]()  # (dataset, subject)
        self.notes = dict[bytes, bytes]()  # run: hash of what its clinician noted on the plan
        self.used_up = set[bytes]()  # hashes of refused messages, old revocations and views
        self.runs, self.attempts = dict[bytes, Run](), dict[tuple[bytes, int], Attempt]()
        # The number of steps, and the head after the last.
        self.count, self.head = 0, origin_of(self.identity)
        self.signatures = 0  # how many were checked
        self.position, self.time = (0, -1), 0  # (block, index) and time of the last transaction

    def consent(self, dataset: bytes, subject: bytes) -> Consent:
        return self.consents.get((dataset, subject), Consent(*NOTHING))

    def denied(
        self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int
    ) -> int:
        """0 if her consent allows all of it on that day, else the reason."""
        status, _, _, first, last, consented_purposes, consented_categories = self.consent(
            dataset, subject
        )
        if status != LIVE:
            if subject not in self.signers:
                return Reason.NOT_ENROLLED
            return Reason.REVOKED if status else Reason.ABSENT
        if not first <= day <= last:
            return Reason.NOT_YET if day < first else Reason.EXPIRED
        if purposes & ~consented_purposes:
            return Reason.PURPOSE
        return Reason.CATEGORY if categories & ~consented_categories else 0

    def consent_live(
        self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int
    ) -> bool:
        return not self.denied(dataset, subject, purposes, categories, day)

    def granted(self, run: bytes, attempt: int) -> list[tuple[bytes, int, int]]:
        """Subject, epoch and version of each granted person; empty for an unknown attempt."""
        return list(self.attempts[run, attempt].granted) if (run, attempt) in self.attempts else []

    def newest_attempt(self, run: bytes) -> int:
        """The number of the newest authorised attempt, 0 for none."""
        return self.runs[run].attempts if run in self.runs else 0

    def member_live(self, account: bytes, role: int, time: int) -> bool:
        member = self.members.get(account, NOBODY)
        return member.role == role and member.start <= time < member.end

    def member_then(self, account: bytes, role: int, step: int, time: int) -> bool:
        """Whether the account was live in the role at that step and time, regardless of later
        changes.
        """
        terms = [member for count, member in self.terms.get(account, []) if count <= step]
        member = terms[-1] if terms else NOBODY
        return member.role == role and member.start <= time < member.end

    def _become(self, account: bytes, member: Member) -> None:
        self.members[account] = member
        self.terms.setdefault(account, []).append((self.count + 1, member))

    def _claim(self, event: str, word: int, subject: bytes = b"") -> bytes:
        """Word number `word` of the call's first such event, indexed words first. Raises Malformed."""
        logs = [
            log
            for log in self._logs
            if log.topics[:1] == (TOPICS[event],) and subject in (b"", *log.topics[1:2])
        ]
        need(logs, f"the call must leave the event {event}")
        return (b"".join(logs[0].topics[1:]) + logs[0].data)[32 * word : 32 * word + 32]

    def _signer(self, kind: str, message: Args, signature: bytes, claimed: bytes) -> bytes:
        self.signatures += bool(self._crypto)
        return self._crypto.signer(kind, message, signature) if self._crypto else claimed[-20:]

    def _by(
        self, kind: str, message: Args, signature: bytes, claimed: bytes = b"", role: int = 0
    ) -> bytes:
        """The signer, in time and live in the role; without crypto the claimed one, or b"". Raises
        Malformed.
        """
        need(self.time <= message["deadline"], "the signed deadline had passed")
        who = self._signer(kind, message, signature, claimed)
        need(who or not self._crypto, f"the {kind} carries nobody's signature")
        need(
            claimed[-20:] in (b"", who),
            f"the {kind} is signed by 0x{who.hex()}, not by 0x{claimed[-20:].hex()}",
        )
        need(
            not who or not role or self.member_live(who, role, self.time),
            f"0x{who.hex()} is not live in that role",
        )
        return who

    def _unused(self, message: bytes) -> bytes:
        """The message's hash. Raises Malformed if it is recorded already: such a message has no
        second effect.
        """
        name = sha256(message)
        need(name not in self.used_up, "the same message is recorded already")
        return name
