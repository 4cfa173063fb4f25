"""Messages on the wire: strict models of what is sent in, plain models of what goes out.

Bytes are lowercase hex without 0x, addresses checksummed with 0x, numbers beyond 2^53 decimal texts, times seconds.
A signed message has exactly the fields of its type in contracts/typed-data.json.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from eth_utils.address import is_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from chain.errors import SignatureMalformed
from chain.signatures import check_shape, typed_data

MAX_LEAVES = 4000
MAX_ITEMS = 60  # of one transaction


def _checksummed(value: str) -> str:
    if not is_checksum_address(value):
        raise ValueError("not checksummed")
    return value


def _well_formed(value: str) -> str:
    try:
        check_shape(bytes.fromhex(value))
    except SignatureMalformed:
        raise ValueError("not canonical") from None
    return value


def _fits_256(value: str) -> str:
    if int(value) >= 1 << 256:
        raise ValueError("too large")
    return value


Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(examples=["5e" * 32])]
Signer = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$"), Field(examples=["7f" * 20])]
Address = Annotated[
    str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$"), AfterValidator(_checksummed),
    Field(examples=["0x52908400098527886E0F7030069857D2E4169EE7"])]
Signature = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{130}$"), AfterValidator(_well_formed),
    Field(description="r, s, v of 65 bytes; low s, v 27 or 28", examples=["1c" * 32 + "2d" * 32 + "1b"])]
Number256 = Annotated[
    str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,77})$"), AfterValidator(_fits_256), Field(examples=["7"])]
U8 = Annotated[int, Field(ge=0, le=0xFF)]
U16 = Annotated[int, Field(ge=0, le=0xFFFF)]
U24 = Annotated[int, Field(ge=0, le=0xFFFFFF)]
U32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Seconds = Annotated[int, Field(ge=0, le=(1 << 40) - 1, description="seconds since 1970", examples=[1795500000])]


class Incoming(BaseModel):
    """A message that is sent in: nothing is converted, nothing may be added."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def message_of(kind: str, model: BaseModel) -> dict[str, Any]:
    """A model as the typed message `kind`: hex as bytes, decimal texts as numbers."""
    given = model.model_dump()
    return {name: _typed(type_, given[name]) for name, type_ in typed_data()["types"][kind]}


def _typed(type_: str, value: Any) -> Any:
    if type_.startswith("bytes"):
        return bytes.fromhex(value)
    return int(value) if type_.startswith("uint") else value


# --- signed messages, by their types ----------------------------------------------------------------------------

class RoleChange(Incoming):
    account: Address
    role: Annotated[int, Field(ge=1, le=10)]
    start: Seconds
    end: Seconds
    nonce: Number256
    deadline: Seconds


class RegisterDataset(Incoming):
    dataset: Hex32
    documentHash: Hex32
    deadline: Seconds


class PermitRequest(Incoming):
    permit: Hex32
    dataset: Hex32
    purposeNeed: U32
    categories: U32
    codeHash: Hex32
    paramsSchemaHash: Hex32
    minCohort: U32
    outputClasses: U16
    expiry: Seconds
    documentHash: Hex32
    deadline: Seconds


class Vote(Incoming):
    permit: Hex32
    requestHash: Hex32
    yes: bool
    deadline: Seconds


class Enrolment(Incoming):
    subject: Hex32
    signer: Signer
    assurance: U8
    deadline: Seconds


class Grant(Incoming):
    subject: Hex32
    dataset: Hex32
    epoch: U32
    replaces: U24
    fromDay: U24
    untilDay: U24
    purposes: U32
    categories: U32
    termsCommitment: Hex32
    noticeHash: Hex32
    deadline: Seconds


class Revoke(Incoming):
    subject: Hex32
    dataset: Hex32
    epoch: U32


class RecordsRegistered(Incoming):
    ingest: Hex32
    dataset: Hex32
    leavesRoot: Hex32
    count: U32
    deadline: Seconds


class RunRequest(Incoming):
    permit: Hex32
    paramsHash: Hex32
    resultKey: Hex32
    nonce: Number256
    deadline: Seconds


class Review(Incoming):
    run: Hex32
    attempt: U32
    viewerKey: Hex32
    deadline: Seconds


class Decision(Incoming):
    run: Hex32
    attempt: U32
    sealHash: Hex32
    reason: U8
    deadline: Seconds


class Cancel(Incoming):
    run: Hex32
    deadline: Seconds


# --- bodies ---------------------------------------------------------------------------------------------------

class SignInBody(Incoming):
    account: Address
    subject: Hex32 | None = Field(None, description="A patient's id; without it the account's role signs in.")
    nonce: Hex32
    issuedAt: Seconds
    signature: Signature


class RoleBody(Incoming):
    change: RoleChange
    signatures: Annotated[list[Signature], Field(min_length=1, max_length=32)]


class DatasetBody(Incoming):
    registration: RegisterDataset
    signature: Signature


class Leaf(Incoming):
    """One encrypted object: `ciphertext` is its sha256 and its name in the bucket."""

    record: Hex32
    subject: Hex32
    category: Annotated[int, Field(ge=0, le=31)]
    version: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
    ciphertext: Hex32
    keyCommitment: Hex32


class IngestBody(Incoming):
    registered: RecordsRegistered
    signature: Signature
    leaves: Annotated[list[Leaf], Field(min_length=1, max_length=MAX_LEAVES)]


class EnrolmentItem(Incoming):
    enrolment: Enrolment
    registrarSignature: Signature
    signerSignature: Signature


class EnrolmentsBody(Incoming):
    items: Annotated[list[EnrolmentItem], Field(min_length=1, max_length=MAX_ITEMS)]


class GrantItem(Incoming):
    grant: Grant
    signer: Signer
    signature: Signature


class ConsentsBody(Incoming):
    items: Annotated[list[GrantItem], Field(min_length=1, max_length=MAX_ITEMS)]


class RevocationBody(Incoming):
    revoke: Revoke
    signer: Signer
    signature: Signature


class PermitBody(Incoming):
    request: PermitRequest
    signature: Signature


class VoteBody(Incoming):
    vote: Vote
    signature: Signature


class RunBody(Incoming):
    request: RunRequest
    params: Annotated[str, Field(min_length=2, max_length=2048, examples=['{"model":"logistic"}'],
                                 description="canonical JSON, of which the request signs the sha256")]
    signature: Signature


class CancelBody(Incoming):
    cancel: Cancel
    signature: Signature


class ReviewBody(Incoming):
    review: Review
    signature: Signature


class DecisionBody(Incoming):
    decision: Decision
    signature: Signature


# --- answers --------------------------------------------------------------------------------------------------

class Challenge(BaseModel):
    nonce: str
    audience: str
    expires: int


class Session(BaseModel):
    token: str
    expires: int


class Receipt(BaseModel):
    """Where a message was mined; count and head are absent when it changed nothing."""

    tx: str
    block: int
    blockHash: str
    count: int | None
    head: str | None


class Written(BaseModel):
    receipt: Receipt


class Item(BaseModel):
    """What became of one item of a batch: the contract's refusal, or none."""

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
    count: int
    head: str
    signature: str


class ConsentItem(Item):
    proof: dict[str, Any] | None = Field(
        None, description="Her receipt (protocol.md section 1) but for the terms and their salt, which only she holds.")


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
    """`acted` is false when a newer consent stands: then nothing changed, and `state` is what holds now."""

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
    records: int


class Permit(BaseModel):
    permit: str
    dataset: str
    applicant: str
    status: Literal["requested", "approved", "suspended"]
    expiry: int
    purposeNeed: int
    purposes: list[str]
    categories: list[str]
    codeHash: str
    paramsSchemaHash: str
    minCohort: int
    outputClasses: int
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
    checkers: list[str] = Field(description="Who looked at its output.")


class Output(BaseModel):
    attempt: int
    sealHash: str
    ciphertext: str
    outputCommitment: str
    outputClass: int
    statistics: int
    release: Receipt | None


class PendingDecision(BaseModel):
    decision: Decision
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
    attempt: int
    block: int


class Run(RunSummary):
    failure: str | None = Field(description="Why no worker will try again.")
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


class Approved(BaseModel):
    """`released` is false while the second checker's signature over the same decision is missing."""

    released: bool
    checkers: list[str]
    receipt: Receipt | None


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
    state: str


class Accesses(BaseModel):
    subject: str
    accesses: list[Access]


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
    witness: Witness | None


class Part(BaseModel):
    state: Literal["ok", "down"]
    since: int


class Health(BaseModel):
    ledger: Part
    bucket: Part
    broker: Part
    worker: Part
