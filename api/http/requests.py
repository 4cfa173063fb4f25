"""Request bodies of the HTTP API: strict models, one for each signed type and each body.

Bytes are lowercase hex without 0x, addresses checksummed with 0x, numbers beyond 2^53 decimal
texts, times seconds. A signed message has exactly the fields of its type in
contracts/typed-data.json.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from eth_utils.address import is_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from chain.errors import SignatureMalformed
from chain.signatures import check_shape, typed_data
from chain.vocabulary import Role
from governance.comments import LONGEST
from governance.objects.ingest import MAX_RECORDS

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
    str,
    StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$"),
    AfterValidator(_checksummed),
    Field(examples=["0x52908400098527886E0F7030069857D2E4169EE7"]),
]
Signature = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{130}$"),
    AfterValidator(_well_formed),
    Field(
        description="r, s, v of 65 bytes; low s, v 27 or 28",
        examples=["1c" * 32 + "2d" * 32 + "1b"],
    ),
]
Number256 = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,77})$"),
    AfterValidator(_fits_256),
    Field(examples=["7"]),
]
U8 = Annotated[int, Field(ge=0, le=0xFF)]
U16 = Annotated[int, Field(ge=0, le=0xFFFF)]
U24 = Annotated[int, Field(ge=0, le=0xFFFFFF)]
U32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Seconds = Annotated[
    int, Field(ge=0, le=(1 << 40) - 1, description="seconds since 1970", examples=[1795500000])
]


class Incoming(BaseModel):
    """A request message: no value is converted, no field may be added."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Why = Annotated[
    str,
    Field(
        max_length=LONGEST,
        examples=["The plan names no method."],
        description="Why: kept by this service and not signed; the committee, data-protection "
        "officers, auditors and the applicant read it.",
    ),
]


def message_of(kind: str, model: BaseModel) -> dict[str, Any]:
    """A model as the typed message `kind`: hex as bytes, decimal texts as numbers."""
    given = model.model_dump()
    return {name: _typed(type_, given[name]) for name, type_ in typed_data()["types"][kind]}


def _typed(type_: str, value: Any) -> Any:
    if type_.startswith("bytes"):
        return bytes.fromhex(value)
    return int(value) if type_.startswith("uint") else value


# --- signed messages, by their types ------------------------------------------------------------


class RoleChange(Incoming):
    account: Address
    role: Annotated[int, Field(ge=min(Role), le=max(Role))]
    start: Seconds
    end: Seconds
    replaces: U32
    deadline: Seconds


class CancelRole(Incoming):
    account: Address
    version: U32
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
    questions: U16
    expiry: Seconds
    documentHash: Hex32
    deadline: Seconds


class Suspend(Incoming):
    permit: Hex32
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
    relaxed: U8
    deadline: Seconds


class VoidRecords(Incoming):
    ingest: Hex32
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


class Resume(Incoming):
    run: Hex32
    attempts: U32
    deadline: Seconds


class Appoint(Incoming):
    subject: Hex32
    dataset: Hex32
    clinician: Hex32 = Field(description="sha256(words(account, salt)): it hides who it is.")
    epoch: U32
    replaces: U24
    untilDay: U24
    resultToMe: bool
    noticeHash: Hex32
    deadline: Seconds


class PlanRequest(Incoming):
    permit: Hex32
    subject: Hex32
    salt: Hex32
    paramsHash: Hex32
    nonce: Number256
    deadline: Seconds


class PlanView(Incoming):
    run: Hex32
    attempt: U32
    viewerKey: Hex32
    deadline: Seconds


class Countersign(Incoming):
    run: Hex32
    attempt: U32
    sealHash: Hex32
    notesHash: Hex32
    deadline: Seconds


class PlanOpening(Incoming):
    run: Hex32
    attempt: U32
    viewerKey: Hex32
    deadline: Seconds


class PlanEnd(Incoming):
    run: Hex32
    deadline: Seconds


# --- bodies -------------------------------------------------------------------------------------


class SignInBody(Incoming):
    account: Address
    subject: Hex32 | None = Field(
        None,
        description="A patient's id; without it the account's role signs in, or, where it has none, "
        "the one person who is enrolled with it.",
    )
    nonce: Hex32
    issuedAt: Seconds
    signature: Signature


class RoleBody(Incoming):
    change: RoleChange
    signatures: Annotated[list[Signature], Field(min_length=1, max_length=32)]


class CancelRoleBody(Incoming):
    cancel: CancelRole
    signature: Signature


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
    leaves: Annotated[list[Leaf], Field(min_length=1, max_length=MAX_RECORDS)]


class VoidBody(Incoming):
    void: VoidRecords
    signatures: Annotated[list[Signature], Field(min_length=1, max_length=32)]


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


class SuspendBody(Incoming):
    suspend: Suspend
    signature: Signature
    reason: Why = Field("", description="A suspension has to say why.")


class RoleOrder(Incoming):
    kind: Literal["RoleChange"]
    message: RoleChange
    signature: Signature
    reason: Why = ""


class VoidOrder(Incoming):
    kind: Literal["VoidRecords"]
    message: VoidRecords
    signature: Signature
    reason: Why = ""


OrderBody = Annotated[RoleOrder | VoidOrder, Field(discriminator="kind")]


class InvitationBody(Incoming):
    enrolment: Enrolment
    signature: Signature


Rounded = Annotated[int, Field(ge=10, multiple_of=5)]  # people


class DictionaryRow(Incoming):
    variable: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    unit: Annotated[str, StringConstraints(pattern=r"^[!-~ ]{0,40}$")]
    category: Annotated[int, Field(ge=0, le=31)]
    people: Rounded | None
    completeness: Annotated[int, Field(ge=0, le=100, multiple_of=5)] | None


class DictionaryBody(Incoming):
    """What `volens dataset ingest --dictionary` writes: no count of people that is not rounded."""

    type: Literal["volens/dictionary/1"]
    people: Rounded | None
    genotyped: Rounded | None
    variables: Annotated[list[DictionaryRow], Field(max_length=200)]


class AssayRow(Incoming):
    assay: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,19}$")]
    columns: Annotated[int, Field(ge=1, le=1_000_000)]


class GeneSetsRow(Incoming):
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    title: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]
    sets: Annotated[int, Field(ge=1, le=20_000)]
    genes: Annotated[int, Field(ge=1, le=1_000_000)]


class FeaturesBody(Incoming):
    """The assays that a dataset has, and the files of gene sets that runs on it may use."""

    type: Literal["volens/features/1"]
    assays: Annotated[list[AssayRow], Field(max_length=40)]
    sets: Annotated[list[GeneSetsRow], Field(max_length=20)]


class ReportBody(Incoming):
    lines: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,300}$")]],
        Field(max_length=300, description="what was taken, held back and not taken, and why"),
    ]


class NameBody(Incoming):
    name: Annotated[str, Field(min_length=1, max_length=80, examples=["Noor Haddad"])]
    institution: Annotated[str, Field(max_length=120, examples=["University of Porto"])]


class VoteBody(Incoming):
    vote: Vote
    signature: Signature
    reason: Why = Field("", description="A vote of no has to say why.")


class RunBody(Incoming):
    request: RunRequest
    params: Annotated[
        str,
        Field(
            min_length=2,
            max_length=2048,
            examples=['{"model":"logistic"}'],
            description="canonical JSON, of which the request signs the sha256",
        ),
    ]
    signature: Signature


class CancelBody(Incoming):
    cancel: Cancel
    signature: Signature


class ResumeBody(Incoming):
    resume: Resume
    signature: Signature


class ReviewBody(Incoming):
    review: Review
    signature: Signature


class AppointBody(Incoming):
    appoint: Appoint
    signer: Signer
    signature: Signature
    clinician: Address = Field(description="Whom the hash hides; this service shows it to both.")
    salt: Hex32


class PlanBody(Incoming):
    request: PlanRequest
    params: Annotated[
        str,
        Field(
            min_length=2,
            max_length=2048,
            examples=['{"analysis":"plan"}'],
            description="canonical JSON, of which the request signs the sha256",
        ),
    ]
    signature: Signature


class PlanViewBody(Incoming):
    view: PlanView
    signature: Signature


class CountersignBody(Incoming):
    countersign: Countersign
    signature: Signature
    notes: Annotated[
        str,
        StringConstraints(pattern=r"^([0-9a-f]{2})*$"),
        Field(
            min_length=56,
            max_length=2 << 16,
            description="The clinician's notes in hex, encrypted for the plan's readers.",
        ),
    ]


class PlanOpeningBody(Incoming):
    opening: PlanOpening
    signer: Signer
    signature: Signature


class PlanEndBody(Incoming):
    end: PlanEnd
    signature: Signature


class WrappedShare(Incoming):
    j: Annotated[int, Field(ge=0, le=2)]
    wrapped: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{120}$")]


class OutputRecord(Incoming):
    record: Hex32
    version: U32
    shares: Annotated[list[WrappedShare], Field(min_length=1, max_length=3)]


class OutputQuestion(Incoming):
    """What is asked of the broker, signed by the reader (`question_digest` of the envelope)."""

    run: Hex32
    attempt: U32
    records: Annotated[list[OutputRecord], Field(min_length=1, max_length=1)]
    viewer: Signer | None = Field(
        None, description="The checker's account; without it the analyst asks, after the release."
    )
    signature: Signature


class DecisionBody(Incoming):
    decision: Decision
    signature: Signature
