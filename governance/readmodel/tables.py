"""The database tables: rows derived from ledger events, and state that cannot be derived.

Derived rows can be thrown away and rebuilt (`volens rebuild`); state starts empty after a loss. Ids
and hashes are hex, accounts checksummed addresses, times seconds since 1970 unless they say
otherwise.
"""

from __future__ import annotations

from typing import Annotated

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

Hash = Annotated[str, mapped_column(String(64))]  # 32 bytes
Account = Annotated[str, mapped_column(String(42))]
LongText = Annotated[str, mapped_column(Text)]
# The contracts' times go up to 2^40 - 1. SQLite's INTEGER has 64 bits, and counts up by itself.
_Integer64 = BigInteger().with_variant(Integer, "sqlite")


class Row(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """A row, created and read by column names only: two columns of one type cannot be confused."""

    type_annotation_map = {int: _Integer64}  # noqa: RUF012 (read by SQLAlchemy, never changed)


def table_of(noun: type[Row]) -> Table:
    """The table of a row class."""
    table = noun.__table__
    if not isinstance(table, Table):
        raise TypeError(f"{noun.__name__} is not one table")
    return table


# --- derived from events -------------------------------------------------------------------------


class Block(Row):
    __tablename__ = "blocks"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[Hash]
    timestamp: Mapped[int]


class Event(Row):
    __tablename__ = "events"

    block: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)  # of the log in its block
    tx: Mapped[Hash] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(32), index=True)
    run: Mapped[Hash | None] = mapped_column(index=True)
    subject: Mapped[Hash | None] = mapped_column(index=True)
    step: Mapped[int] = mapped_column(nullable=True)  # the trail's count after this call
    fields: Mapped[LongText]  # canonical JSON


# The newest steps of a kind.
Index("events_by_name_and_step", Event.name, Event.step)


class Member(Row):
    """An account's role; `version` counts its changes."""

    __tablename__ = "members"

    account: Mapped[Account] = mapped_column(primary_key=True)
    role: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    version: Mapped[int]


class Subject(Row):
    """An enrolled person; `signer` is the key that signs for her."""

    __tablename__ = "subjects"

    subject: Mapped[Hash] = mapped_column(primary_key=True)
    signer: Mapped[str] = mapped_column(String(132), index=True)
    assurance: Mapped[int]
    block: Mapped[int]


class Dataset(Row):
    __tablename__ = "datasets"

    dataset: Mapped[Hash] = mapped_column(primary_key=True)
    custodian: Mapped[Account]
    document: Mapped[Hash]


class Consent(Row):
    """The newest consent of one person for one dataset; days are whole UTC days since 1970."""

    __tablename__ = "consents"

    dataset: Mapped[Hash] = mapped_column(primary_key=True)
    subject: Mapped[Hash] = mapped_column(primary_key=True)
    status: Mapped[int]
    epoch: Mapped[int]
    version: Mapped[int]
    from_day: Mapped[int]
    until_day: Mapped[int]
    purposes: Mapped[int]
    categories: Mapped[int]


class Permit(Row):
    __tablename__ = "permits"

    permit: Mapped[Hash] = mapped_column(primary_key=True)
    dataset: Mapped[Hash]
    applicant: Mapped[Account]
    status: Mapped[int]
    expiry: Mapped[int]
    need: Mapped[int]
    categories: Mapped[int]
    code: Mapped[Hash]
    params_schema: Mapped[Hash]
    minimum: Mapped[int]
    output_classes: Mapped[int]
    questions: Mapped[int]  # how many different ones its runs may ask
    document: Mapped[Hash]
    request_hash: Mapped[Hash]
    yes: Mapped[int]
    no: Mapped[int]


class Record(Row):
    """One sealed object of a dataset, which belongs to one custodian."""

    __tablename__ = "records"

    dataset: Mapped[Hash] = mapped_column(primary_key=True)
    record: Mapped[Hash] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    ingest: Mapped[Hash]
    subject: Mapped[Hash]
    category: Mapped[int]
    ciphertext: Mapped[Hash]  # sha256 of the object, which is its name in the bucket
    key_commitment: Mapped[Hash]


class Run(Row):
    __tablename__ = "runs"

    run: Mapped[Hash] = mapped_column(primary_key=True)
    permit: Mapped[Hash]
    analyst: Mapped[Account]  # of a plan, the clinician
    subject: Mapped[Hash] = mapped_column(index=True)  # of a plan, whose it is; "" for research
    params: Mapped[LongText]
    params_hash: Mapped[Hash]
    result_key: Mapped[Hash]
    deadline: Mapped[int]
    attempt: Mapped[int]  # newest authorised, 0 before the first
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[int]  # of the newest refusal, 0 when there is none
    block: Mapped[int]


class Access(Row):
    """The ledger's decision on one person in one attempt."""

    __tablename__ = "accesses"

    run: Mapped[Hash] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[Hash] = mapped_column(primary_key=True, index=True)
    granted: Mapped[bool]
    epoch: Mapped[int]
    version: Mapped[int]
    reason: Mapped[int]
    block: Mapped[int]
    tx: Mapped[Hash]


# People who were denied: few among very many accesses.
Index(
    "accesses_refused",
    Access.reason,
    sqlite_where=Access.granted.is_(False),
    postgresql_where=Access.granted.is_(False),
)


class Output(Row):
    __tablename__ = "outputs"

    run: Mapped[Hash] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    seal_hash: Mapped[Hash]
    ciphertext: Mapped[Hash]
    commitment: Mapped[Hash]
    output_class: Mapped[int]
    statistics: Mapped[int]
    released: Mapped[int]  # block of the release, 0 before it
    release_tx: Mapped[Hash]


PROJECTION: tuple[type[Row], ...] = (
    Block,
    Event,
    Member,
    Subject,
    Consent,
    Dataset,
    Permit,
    Record,
    Run,
    Access,
    Output,
)

# --- state ---------------------------------------------------------------------------------------


class PinnedLedger(Row):
    """The identity of the ledger that the rows come from."""

    __tablename__ = "pinned"

    identity: Mapped[Hash] = mapped_column(primary_key=True)


class SchemaVersion(Row):
    """The newest change of the tables of state that was made here (governance/readmodel/schema.py)."""

    __tablename__ = "alembic_version"

    version_num: Mapped[str] = mapped_column(String(32), primary_key=True)


class DerivedSchema(Row):
    """Which shape the derived tables have; those of another shape are made anew."""

    __tablename__ = "derived_schema"

    fingerprint: Mapped[Hash] = mapped_column(primary_key=True)


class Process(Row):
    """The newest sign of life of the worker or API process that uses a key
    (governance/presence.py).

    instance: drawn at its start; a later process with the same key replaces it. block, newest: the
    progress while it reads the ledger, else nothing.
    """

    __tablename__ = "processes"

    account: Mapped[Account] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    instance: Mapped[str] = mapped_column(String(32))
    at: Mapped[int]
    block: Mapped[int | None] = mapped_column(default=None)
    newest: Mapped[int | None] = mapped_column(default=None)


class OutboxEntry(Row):
    """A signed transaction that is not settled yet."""

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_by_sender", "sender", "nonce"),)

    tx: Mapped[Hash] = mapped_column(primary_key=True)
    sender: Mapped[Account]
    nonce: Mapped[int]
    raw: Mapped[bytes] = mapped_column(LargeBinary)


class Claim(Row):
    """A worker's hold on a run until `until`; a newer claim has a higher token, and ends this one
    (fencing).

    failed: why no worker will try the run again, in a plain sentence, "" while one may.
    """

    __tablename__ = "claims"

    run: Mapped[Hash] = mapped_column(primary_key=True)
    worker: Mapped[Hash]
    token: Mapped[int]
    until: Mapped[int]
    failed: Mapped[LongText] = mapped_column(default="")


class Challenge(Row):
    """A nonce for one sign-in."""

    __tablename__ = "challenges"

    nonce: Mapped[Hash] = mapped_column(primary_key=True)
    expires: Mapped[int]


class Session(Row):
    """A signed-in account, by the hash of its token."""

    __tablename__ = "sessions"

    token_hash: Mapped[Hash] = mapped_column(primary_key=True)
    account: Mapped[Account]
    subject: Mapped[Hash]
    expires: Mapped[int]


class Approval(Row):
    """A checker's approval that waits for a second one of the identical decision (canonical JSON,
    bytes in hex).
    """

    __tablename__ = "approvals"

    run: Mapped[Hash] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    checker: Mapped[Account] = mapped_column(primary_key=True)
    decision: Mapped[LongText]
    signature: Mapped[str] = mapped_column(String(130))
    deadline: Mapped[int]


class Progress(Row):
    """The progress of an attempt at a time; `fraction` in thousandths."""

    __tablename__ = "progress"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    run: Mapped[Hash] = mapped_column(index=True)
    attempt: Mapped[int]
    step: Mapped[str] = mapped_column(String(40))
    fraction: Mapped[int]
    at: Mapped[int]


class Mark(Row):
    """The time of an event by this machine's clock, in milliseconds: the ledger's blocks have whole
    seconds only.

    name: mined:<tx> of a consent, stopped:<run>:<attempt>.
    """

    __tablename__ = "marks"

    name: Mapped[str] = mapped_column(String(160), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    note: Mapped[LongText]


class Supplement(Row):
    """What a custodian added to a dataset's description: kind dictionary or report (JSON)."""

    __tablename__ = "supplements"

    dataset: Mapped[Hash] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    content: Mapped[LongText]
    at: Mapped[int]


class Comment(Row):
    """What an output checker wrote about an attempt's output, for the other checkers."""

    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    run: Mapped[Hash] = mapped_column(index=True)
    attempt: Mapped[int]
    account: Mapped[Account]
    text: Mapped[LongText]
    at: Mapped[int]


class AppointedClinician(Row):
    """Whom a patient appointed for her care, as she told this service: the ledger holds a hash with
    this salt. version: of the appointment.
    """

    __tablename__ = "appointed_clinicians"

    dataset: Mapped[Hash] = mapped_column(primary_key=True)
    subject: Mapped[Hash] = mapped_column(primary_key=True)
    version: Mapped[int]
    clinician: Mapped[Account] = mapped_column(index=True)
    salt: Mapped[Hash]


class GivenReason(Row):
    """Why a member voted, suspended or signed; about: the permit or the order's digest, act: which
    of these (governance/reasons.py).
    """

    __tablename__ = "reasons"

    about: Mapped[Hash] = mapped_column(primary_key=True)
    account: Mapped[Account] = mapped_column(primary_key=True)
    act: Mapped[str] = mapped_column(String(8), primary_key=True)
    text: Mapped[LongText]
    at: Mapped[int]


class Order(Row):
    """A message of the committee that waits for the signatures of a quorum.

    digest: sha256 of kind and message; message: canonical JSON, as it is sent; signatures:
    canonical JSON, by account; `by` began it at `at`; done: the transaction that recorded it, ""
    before.
    """

    __tablename__ = "orders"

    digest: Mapped[Hash] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    message: Mapped[LongText]
    signatures: Mapped[LongText]
    by: Mapped[Account]
    at: Mapped[int]
    deadline: Mapped[int]
    done: Mapped[Hash] = mapped_column(default="")


class Invitation(Row):
    """A registrar's signed enrolment, which the person has not signed yet: by the sha256 of its
    secret link.
    """

    __tablename__ = "invitations"

    digest: Mapped[Hash] = mapped_column(primary_key=True)
    subject: Mapped[Hash] = mapped_column(index=True)
    enrolment: Mapped[LongText]
    signature: Mapped[str] = mapped_column(String(130))
    by: Mapped[Account] = mapped_column(index=True)
    at: Mapped[int]
    deadline: Mapped[int]


class Name(Row):
    """What people call an account, as a member of the committee said.

    compared: the name without what people do not see, which no two accounts share; by: that
    member's account; at: when.
    """

    __tablename__ = "names"

    account: Mapped[Account] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    institution: Mapped[str] = mapped_column(String(120))
    compared: Mapped[str] = mapped_column(String(320), unique=True)
    by: Mapped[Account]
    at: Mapped[int]


class RunRecord(Row):
    """Device, memory and seconds of an attempt: facts about the machine, not about the result
    (canonical JSON).
    """

    __tablename__ = "run_records"

    run: Mapped[Hash] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    record: Mapped[LongText]


class Notice(Row):
    """Something that concerns a person: what happened, and when, but nothing of its content.

    id: sha256 of origin and recipient; origin: of kind and what caused it, so the same for each
    recipient. recipient: an account, or a patient's id. about: the run, permit, order, dataset or
    transaction. read: when, 0 before. planned: whether its deliveries were made.
    """

    __tablename__ = "notices"
    __table_args__ = (
        Index("notices_by_recipient", "recipient", "at"),
        Index("notices_unread", "recipient", "read"),
        Index("notices_by_time", "at"),
        Index("notices_unplanned", "planned"),
    )

    id: Mapped[Hash] = mapped_column(primary_key=True)
    origin: Mapped[Hash]
    recipient: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(24))
    about: Mapped[Hash]
    at: Mapped[int]
    read: Mapped[int] = mapped_column(default=0)
    planned: Mapped[bool] = mapped_column(default=False)


class NoticeCursor(Row):
    """The last event of the ledger of which notices were made."""

    __tablename__ = "notice_cursor"

    name: Mapped[str] = mapped_column(String(8), primary_key=True)
    block: Mapped[int]
    position: Mapped[int]


class Reminder(Row):
    """A question for a later time, whose answer may be a notice: does this still expire, has this
    withdrawal settled?

    since: when it was first asked, in seconds.
    """

    __tablename__ = "reminders"
    __table_args__ = (Index("reminders_due", "due"),)

    id: Mapped[Hash] = mapped_column(primary_key=True)
    recipient: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(24))
    about: Mapped[Hash]
    since: Mapped[int]
    due: Mapped[int]


class Delivery(Row):
    """A notice on its way out by mail or webhook. It names no address: that is read when it is
    sent.

    name: the notice's id, for a webhook its origin. reference: what the message itself is called,
    the same at each attempt; drawn, where an id could be compared with the ledger. state: waiting,
    sent or failed. next_at: when it is due; a process that sends it moves this on first.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("deliveries_due", "channel", "state", "next_at"),
        Index("deliveries_by_recipient", "recipient", "state"),
        Index("deliveries_by_time", "at"),
    )

    channel: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[Hash] = mapped_column(primary_key=True)
    reference: Mapped[Hash]
    recipient: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(24))
    about: Mapped[Hash]
    at: Mapped[int]
    attempts: Mapped[int]
    next_at: Mapped[int]
    state: Mapped[str] = mapped_column(String(8))


class MailAddress(Row):
    """Where a person wants to be told. Only she can see it; it is in no other table.

    pending: an address that waits for its confirmation, by the sha256 of a token until `until`.
    asked: confirmations of the UTC day `asked_on`.
    """

    __tablename__ = "mail_addresses"

    recipient: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[str] = mapped_column(String(254))
    pending: Mapped[str] = mapped_column(String(254))
    token_hash: Mapped[str] = mapped_column(String(64), index=True)
    until: Mapped[int]
    asked_on: Mapped[int]
    asked: Mapped[int]
