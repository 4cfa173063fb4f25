"""Responses of the HTTP API: plain models, with the same formats as api/http/requests.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.http import requests as schemas


class Challenge(BaseModel):
    nonce: str
    audience: str
    expires: int


class Session(BaseModel):
    token: str
    expires: int
    role: int = Field(
        description="The role that the account holds now (docs/ledger.md); 0 for none."
    )


class Receipt(BaseModel):
    """Where a message was mined, and its step of the trail; `time` is the block's, in seconds."""

    tx: str
    block: int
    blockHash: str
    time: int
    count: int
    head: str


class Written(BaseModel):
    receipt: Receipt


class Item(BaseModel):
    """The outcome of one item of a batch: the contract's refusal, or none."""

    index: int
    accepted: bool
    reason: str | None = None
    detail: str | None = None
    hint: str | None = None


class Enrolled(BaseModel):
    receipt: Receipt
    items: list[Item]


class Witness(BaseModel):
    """The trail's head under a broker's EIP-712 signature."""

    broker: str
    block: int
    blockHash: str
    time: int
    count: int
    head: str
    signature: str


class ConsentItem(Item):
    proof: dict[str, Any] | None = Field(
        None,
        description=(
            "Her receipt (docs/ledger.md) without the terms and their salt, which only she holds."
        ),
    )


class Consented(BaseModel):
    receipt: Receipt
    items: list[ConsentItem]
    note: str | None = None


class ConsentState(BaseModel):
    """Status 1 live, 2 revoked; both days are included."""

    dataset: str
    status: Literal["live", "revoked", "none"]
    epoch: int
    version: int
    fromDay: int
    untilDay: int
    purposes: list[str]
    categories: list[str]


class Revoked(BaseModel):
    """`acted` is false when a newer consent exists: then nothing changed, and `state` is the
    current consent.
    """

    acted: bool
    current: int
    receipt: Receipt
    state: ConsentState | None


class Consents(BaseModel):
    subject: str
    consents: list[ConsentState]


class Dataset(BaseModel):
    dataset: str
    custodian: str
    document: str = Field(description="sha256 of the document that describes it")
    title: str = Field(description="that document's title, empty while nobody has sent it")
    records: int


class Role(BaseModel):
    """An account's role by its number (docs/ledger.md); it holds while start <= now < end, in
    seconds.
    """

    account: str
    role: int
    start: int
    end: int
    version: int


class Ingest(BaseModel):
    """One registration of records.

    `missing`: its list was never handed over, which blocks the dataset.
    """

    ingest: str
    records: int
    state: Literal["readable", "missing", "void"]
    relaxed: int


class Ordered(BaseModel):
    """`receipt` is null until the quorum's last signature."""

    order: str
    receipt: Receipt | None


class Order(BaseModel):
    """An order of the committee. `tx` carried it out; null while signatures are missing."""

    order: str
    kind: Literal["RoleChange", "VoidRecords"]
    message: dict[str, Any]
    signers: list[str]
    by: str
    deadline: int
    tx: str | None


class Invited(BaseModel):
    invitation: str = Field(description="its address: /invitations/{invitation}")


class Invitation(Invited):
    enrolment: dict[str, Any]
    registrarSignature: str
    state: Literal["open", "accepted", "expired"]


class DocumentTitle(BaseModel):
    document: str = Field(description="its sha256")
    title: str = Field(description="its first heading")


class Document(DocumentTitle):
    text: str


class DictionaryRow(BaseModel):
    variable: str
    unit: str
    category: int
    people: int | None
    completeness: int | None


class Dictionary(BaseModel):
    """The variables of a dataset, as its custodian says; counts of people are rounded to 5."""

    type: str
    people: int | None
    genotyped: int | None
    variables: list[DictionaryRow]


class AssayRow(BaseModel):
    assay: str
    columns: int


class GeneSetsRow(BaseModel):
    sha256: str
    title: str
    sets: int
    genes: int


class Features(BaseModel):
    """The assays of a dataset and the files of gene sets that runs on it may use, as its custodian
    says.
    """

    type: str
    assays: list[AssayRow]
    sets: list[GeneSetsRow]


class Report(BaseModel):
    lines: list[str]


class CodeHash(BaseModel):
    code: str = Field(description="the code hash")


class CodeManifest(CodeHash):
    files: dict[str, str] = Field(description="the sha256 of each file, by path")
    libraries: list[str]


class Name(BaseModel):
    """What an account is called; `by` is the member of the committee who said so, `at` when."""

    account: str
    name: str
    institution: str
    by: str
    at: int


class GivenReason(BaseModel):
    """Why a member voted, suspended or signed: kept by this service, not on the ledger."""

    account: str
    act: Literal["approve", "reject", "suspend", "sign"]
    text: str
    at: int


class EarlierPermit(BaseModel):
    """Another permit of the same applicant, its newest questions, and the number of its runs."""

    permit: str
    title: str
    dataset: str
    status: Literal["requested", "approved", "suspended", "rejected"]
    expiry: int
    questions: list[str]
    runs: int


class CodeReview(BaseModel):
    """The code of a permit. `comparedWith` is the approved permit with other code that ends last;
    without the manifests of both, `changes` is null.
    """

    current: bool = Field(description="whether this service runs exactly this code")
    comparedWith: str | None
    changes: list[str] | None


class PermitReview(BaseModel):
    """What a member of the committee reads before voting."""

    willing: int | None = Field(
        description="people whose consent allows all of it today, rounded to 5; null: fewer than 10"
    )
    datasetQuestions: int = Field(
        description="different questions asked about its dataset so far, under all permits"
    )
    code: CodeReview
    earlier: list[EarlierPermit]


class Question(BaseModel):
    params: str = Field(description="sha256 of its parameters; the same ones, about other people")
    current: bool = Field(description="whether the dataset's records are still those it was about")


class Questions(BaseModel):
    asked: list[Question]


class Permit(BaseModel):
    permit: str
    dataset: str
    applicant: str
    status: Literal["requested", "approved", "suspended", "rejected"]
    expiry: int
    purposeNeed: int
    purposes: list[str]
    categories: list[str]
    codeHash: str
    paramsSchemaHash: str
    minCohort: int
    outputClasses: int
    questions: int = Field(description="how many different questions its runs may ask")
    asked: int = Field(description="how many different ones they have asked")
    documentHash: str = Field(description="sha256 of the document that describes the project")
    title: str = Field(description="that document's title, empty while nobody has sent it")
    requestHash: str
    yes: int
    no: int


class Reason(BaseModel):
    code: int
    slug: str
    sentence: str


class Attempt(BaseModel):
    attempt: int
    granted: int
    denied: int
    block: int
    tx: str
    leaseUntil: int
    listHash: str
    checkers: list[str] = Field(description="Checkers who viewed its output.")
    record: dict[str, Any] | None = Field(
        None, description="Device, peak memory in bytes and seconds by phase, once it is sealed."
    )


class Output(BaseModel):
    attempt: int
    sealHash: str
    ciphertext: str
    outputCommitment: str
    disclosureCommitment: str
    outputClass: int
    statistics: int
    release: Receipt | None


class PendingDecision(BaseModel):
    decision: schemas.Decision
    checkers: list[str]


class Step(BaseModel):
    attempt: int
    step: str
    fraction: int = Field(description="per mille")
    at: int


class RunSummary(BaseModel):
    run: str
    permit: str
    analyst: str
    state: str
    reason: Reason | None
    shut: str | None = Field(description="Why a released result can no longer be opened.")
    attempt: int
    block: int


class Run(RunSummary):
    failure: str | None = Field(description="Why no worker will try again.")
    waiting: str | None = Field(description="Why it is not being computed right now.")
    dataset: str
    codeHash: str
    params: str
    paramsHash: str
    resultKey: str
    deadline: int
    attempts: list[Attempt]
    outputs: list[Output]
    decision: PendingDecision | None
    progress: list[Step]


class RunRequested(Written):
    run: str


class OutputPieces(BaseModel):
    """The broker's answer as it gave it: `sealed` opens with the reader's key only."""

    broker: str
    sealed: str
    block: int
    blockHash: str
    leaseUntil: int
    signature: str = Field(description="The broker's; the reader checks it.")


class Approved(BaseModel):
    """`released` is false while the second checker's signature over the same decision is missing."""

    released: bool
    checkers: list[str]
    receipt: Receipt | None


class Appointment(BaseModel):
    """`clinician` is the account that she named, of zeros if this service was not told whom; `live`:
    whether he may ask for a plan now.
    """

    dataset: str
    subject: str
    clinician: str
    version: int
    untilDay: int
    resultToMe: bool
    live: bool
    salt: str = Field(
        description='It opens the hash by which the ledger names the clinician; "" if unknown.'
    )


class PlanRequested(Written):
    run: str


class Plan(BaseModel):
    """A plan of one patient's care; what it says stays encrypted."""

    run: str
    permit: str
    dataset: str
    subject: str
    clinician: str
    state: Literal["queued", "computing", "sealed", "countersigned", "refused", "ended", "failed"]
    reason: Reason | None
    failure: str | None
    day: int = Field(description="Of the request, in days since 1970.")
    attempts: list[Attempt]
    outputs: list[Output]
    notesHash: str | None


class Access(BaseModel):
    run: str
    attempt: int
    granted: bool
    reason: Reason | None
    block: int
    time: int
    tx: str
    analyst: str
    permit: str
    purposes: list[str]
    categories: list[str]
    state: Literal["denied", "released", "superseded", "sealed", "in progress", "ended"] = Field(
        description="Of this attempt: `superseded` by a newer one, `ended` without any output."
    )


class Accesses(BaseModel):
    subject: str
    accesses: list[Access]


class Effect(BaseModel):
    """A run affected by a withdrawal; `stopped` is the seconds until its process was dead."""

    run: str
    was: Literal["queued", "computing", "sealed", "released"]
    attempt: int
    stopped: str | None
    sealed: bool = Field(
        description="The attempt finished; the ledger refuses the release of its output."
    )
    nextAttempt: int
    nextBlock: int
    state: str
    over: bool = Field(description="A later attempt shows that this one has ended.")
    sentence: str


class AsOf(BaseModel):
    """A step of the trail."""

    count: int
    head: str


class Withdrawal(BaseModel):
    """`settled`: all that can be stopped was.

    `asOf`: the last step of the trail that `effects` covers.
    """

    dataset: str
    kind: Literal["revoked", "narrowed"]
    tx: str
    block: int
    time: int
    settled: bool
    asOf: AsOf
    effects: list[Effect]


class Withdrawals(BaseModel):
    subject: str
    withdrawals: list[Withdrawal]


class Denial(BaseModel):
    run: str
    attempt: int
    subject: str | None
    reason: Reason
    block: int


class TrailHead(BaseModel):
    count: int
    head: str
    block: int
    blockHash: str
    time: int
    witness: Witness | None


class Part(BaseModel):
    """`catching-up`: it runs and reads the ledger; `block` of `newest` is its progress."""

    state: Literal["ok", "catching-up", "down"]
    since: int
    count: int | None = Field(default=None, description="How many workers are alive.")
    block: int | None = None
    newest: int | None = None


class Health(BaseModel):
    ledger: Part
    bucket: Part
    broker: Part
    worker: Part
    api: Part


class Notice(BaseModel):
    """Something that concerns the caller; `href` is the page that it leads to, `read` when she
    marked it as read, or null.
    """

    notice: str
    kind: str
    sentence: str
    href: str
    at: int
    read: int | None


class Notices(BaseModel):
    unread: int
    notices: list[Notice]
