"""The bucket of encrypted objects, and the only two functions that seal and open them
(seal_records, open_record).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

from governance.errors import BucketUnavailable, ObjectAltered, ObjectMissing
from governance.objects.envelope import (
    Header,
    Label,
    WrappedShare,
    join_shares,
    key_commitment,
    object_name,
    open_object,
    read_header,
    seal_object,
    split_key,
)

MAX_OBJECT = 64 << 20  # bytes read of one object; this program writes less than 8 MiB
_CHUNK = 8 << 20  # bytes of one request; a larger object is sent in several, each tried again
Answer = TypeVar("Answer")
Shares = tuple[bytes, bytes, bytes]
_NAME = re.compile(r"o/[0-9a-f]{64}")
# Public texts: what kind they are is the beginning of their names.
DOCUMENT, CODE_MANIFEST, GENE_SETS = "d", "c", "g"


@dataclass(frozen=True, slots=True)
class _Timeouts:
    """Seconds: the longest wait of one request for the bucket's next bytes, and after how many no
    new attempt begins.
    """

    request: float
    attempts: float


_GOOGLE = "https://storage.googleapis.com"
_PERMISSIONS = (
    *("storage.objects.create", "storage.objects.get", "storage.objects.list"),
    *("storage.buckets.get", "storage.buckets.create"),
)
# Why Google answers 403, by its reasons and sentences, and what to do
# (https://cloud.google.com/storage/docs/json_api/v1/status-codes, google.api.ErrorReason).
_REFUSALS = (
    (
        re.compile(
            rb'"reason":\s*"(accountDisabled|userProjectAccountProblem|BILLING_DISABLED)"'
            rb"|billing account|configured billing|requires billing|billing disabled"
        ),
        "billing is off for the project of the bucket, so Google gives no access",
        "link the project to an active billing account, and try again in a few minutes",
    ),
    (
        re.compile(
            rb'"reason":\s*"(accessNotConfigured|SERVICE_DISABLED)"'
            rb"|API has not been used in project"
        ),
        "the Cloud Storage API is not enabled in the project of this machine's account",
        "enable storage.googleapis.com there, and try again in a few minutes",
    ),
    (
        re.compile(rb"prohibited by organization"),
        "the organisation's policy does not let this machine reach the bucket",
        "ask who keeps its service perimeters (VPC Service Controls) to let this machine in",
    ),
)
_UPLOADS = 2  # attempts at an upload that the bucket ends
_HERE, _AWAY = _Timeouts(1.5, 2.0), _Timeouts(10.0, 30.0)  # an emulator, Google's servers


@dataclass(frozen=True, slots=True)
class SealedObject:
    """An object for the bucket, with its hashes for the ledger (32 bytes each)."""

    blob: bytes
    ciphertext_hash: bytes
    key_commitment: bytes


def seal_records(
    records: Sequence[tuple[Label, bytes]],
    wrap: Callable[[list[Shares]], Sequence[Sequence[WrappedShare]]],
) -> list[SealedObject]:
    """Encrypts each (label, plaintext) under a key of its own, drawn here, used once and forgotten
    on return.

    `wrap` has the brokers wrap the three shares of every key, in order. A retry is a new call: new
    keys, new objects.
    """
    keys = [secrets.token_bytes(32) for _ in records]
    wrapped = wrap([split_key(key) for key in keys])
    sealed = []
    for key, (label, plaintext), shares in zip(keys, records, wrapped, strict=True):
        blob = seal_object(key, label, shares, plaintext)
        sealed.append(SealedObject(blob, sha256(blob).digest(), key_commitment(key)))
    return sealed


def open_record(
    blob: bytes, ciphertext_hash: bytes, label: Label, shares: Sequence[bytes]
) -> bytes:
    """The plaintext of the object that the ledger names: `ciphertext_hash` is from its leaf (or its
    Seal).

    Raises ObjectAltered, ShareRefused and what `open_object` raises; nothing is decrypted before
    the hash and the key commitment hold.
    """
    if sha256(blob).digest() != ciphertext_hash:
        raise ObjectAltered(
            "the object is not the one the ledger names", "fetch it again or restore the bucket"
        )
    return open_object(join_shares(shares), blob, label)


class Bucket:
    """Write-once objects under the hash of their bytes, in Google Cloud Storage or its emulator."""

    def __init__(
        self,
        name: str,
        url: str | None = None,
        *,
        project: str | None = None,
        endpoint: str | None = None,
    ) -> None:
        """A bucket by its name; nothing is asked before the first call.

        url: the address of an emulator, which needs no account. Without it the bucket is Google's,
        with the host's Application Default Credentials; project: what a new bucket belongs to;
        endpoint: another address of Google's, e.g. of one region.
        """
        self._name, self._url = name, url
        self._project, self._endpoint = project, endpoint

    @cached_property
    def _client(self) -> Any:
        # Imported here: the worker's child opens objects and has no network to fetch them with.
        import google.auth
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client  # type: ignore[import-untyped]

        options = ClientOptions(api_endpoint=self._url or self._endpoint or _GOOGLE)
        if self._url is None:
            try:
                # Address and credentials are given, or the client would take an emulator's from
                # its variables: an emulator is one only where VOLENS_BUCKET_URL says so.
                credentials, project = google.auth.default(scopes=Client.SCOPE)
                project = self._project or project
                return Client(project=project, credentials=credentials, client_options=options)
            except (
                Exception
            ):  # what is in a key file is read with few checks, so anything is raised
                raise _no_credentials() from None
        emulated = AnonymousCredentials()  # type: ignore[no-untyped-call]
        return Client(project="volens", credentials=emulated, client_options=options)

    @cached_property
    def _bucket(self) -> Any:
        return self._client.bucket(self._name)

    @cached_property
    def _limits(self) -> dict[str, Any]:
        return self._limits_of(_AWAY if self._url is None else _HERE)

    def _limits_of(self, timeouts: _Timeouts) -> dict[str, Any]:
        from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

        retry = DEFAULT_RETRY.with_timeout(timeouts.attempts).with_delay(0.1, 1.0)
        return {"timeout": timeouts.request, "retry": retry}

    def create(self, location: str | None = None) -> None:
        """Creates the bucket if it does not exist, closed to the public. Raises BucketUnavailable.

        location: where Google keeps it, e.g. `europe-west3`.
        """
        from google.api_core.exceptions import Conflict, NotFound

        def create() -> None:
            bucket = self._client.bucket(self._name)
            if self._url is None:
                bucket.iam_configuration.uniform_bucket_level_access_enabled = True
                bucket.iam_configuration.public_access_prevention = "enforced"
            self._client.create_bucket(bucket, location=location, **self._limits)

        try:
            _reach(create, Conflict, NotFound)
        except Conflict:
            return
        except NotFound:
            raise BucketUnavailable(
                "the project that the new bucket should belong to does not exist",
                "name the one that does",
            ) from None

    def probe(self) -> None:
        """Raises BucketUnavailable unless the bucket exists and responds."""
        if not _reach(lambda: self._bucket.exists(**self._limits)):
            raise _no_bucket()

    def put(self, blob: bytes) -> str:
        """Writes an object and returns its name; an existing object of this name has the same bytes
        and is kept.

        Raises BucketUnavailable.
        """
        return self._write(object_name(blob), blob)

    def put_list(self, root: bytes, data: bytes) -> str:
        """Writes the leaf list of the ingest with this root (32 bytes), under l/<root>."""
        return self._write(f"l/{root.hex()}", data)

    def put_text(self, kind: str, digest: bytes, data: bytes) -> str:
        """Writes a public text under its kind and hash (32 bytes): <kind>/<hash>."""
        return self._write(f"{kind}/{digest.hex()}", data)

    def find_text(self, kind: str, digest: bytes) -> bytes | None:
        """The public text of that hash, None if it was never written; the caller MUST compute the
        hash again.
        """
        try:
            return self._read(f"{kind}/{digest.hex()}", _HERE)  # a page waits for it
        except ObjectMissing:
            return None

    def _write(self, name: str, blob: bytes) -> str:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        def upload() -> None:
            # The precondition makes it safe to try again: an object is written once.
            self._bucket.blob(name, chunk_size=_CHUNK).upload_from_string(
                blob,
                content_type="application/octet-stream",
                if_generation_match=0,
                checksum="crc32c",
                **self._limits,
            )

        for _ in range(_UPLOADS):
            try:
                # ValueError: the bucket kept less of a part than the client has sent.
                _reach(upload, NotFound, PreconditionFailed, ValueError)
            except PreconditionFailed:
                # It is there already, unless a policy of the bucket's owner answers so too.
                if _reach(lambda: self._bucket.blob(name).exists(**self._limits)):
                    return name
                raise _refused_by_policy() from None
            except (NotFound, ValueError):
                self.probe()  # the upload is gone, or the bucket itself
            else:
                return name
        raise BucketUnavailable(
            "the bucket ended an upload before it was complete", "try again in a minute"
        )

    def get(self, name: str) -> bytes:
        """The object's bytes, hashed again. Raises ObjectMissing, ObjectAltered, BucketUnavailable."""
        if _NAME.fullmatch(name) is None:
            raise ObjectMissing("no object can have this name", "use the hash the ledger names")
        blob = self._read(name)
        if object_name(blob) != name:
            raise ObjectAltered(
                "the bucket holds other bytes than it was given", "restore the object from a copy"
            )
        return blob

    def get_header(self, name: str) -> Header:
        """The object's header, which is not secret. Raises as `get`, and Malformed."""
        return read_header(self.get(name))

    def get_list(self, root: bytes) -> bytes:
        """The leaf list of that root; the caller MUST compute the root again."""
        return self._read(f"l/{root.hex()}")

    def _read(self, name: str, timeouts: _Timeouts | None = None) -> bytes:
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        limits = self._limits_of(timeouts) if timeouts else self._limits
        try:
            # Without the client's checksum, which the bucket itself provides: the name is compared
            # instead.
            blob: bytes = _reach(
                lambda: self._bucket.blob(name).download_as_bytes(
                    end=MAX_OBJECT, checksum=None, **limits
                ),
                NotFound,
                RequestRangeNotSatisfiable,
            )
        except NotFound:
            self.probe()  # else the bucket itself is missing
            raise ObjectMissing(
                "the bucket has lost an object", "restore the bucket or ingest the record again"
            ) from None
        except RequestRangeNotSatisfiable:  # an object of no bytes
            blob = b""
        return blob


def _no_bucket() -> BucketUnavailable:
    return BucketUnavailable("the bucket does not exist", "make it, or name the one that does")


def _no_credentials() -> BucketUnavailable:
    return BucketUnavailable(
        "this machine has no usable credentials for Google Cloud Storage",
        "name a key file in GOOGLE_APPLICATION_CREDENTIALS, or give the machine a service account",
    )


def _refused_by_policy() -> BucketUnavailable:
    return BucketUnavailable(
        "a policy of the bucket's owner does not allow this",
        "look at the organisation's policies: where data may be kept, with which key, for how long",
    )


def _forbidden(body: bytes) -> BucketUnavailable:
    """What a refusal (403) means, by the body that Google answers: JSON with a reason, or a
    sentence where an object was asked for. Nothing of the body is shown.
    """
    for sign, problem, hint in _REFUSALS:
        if sign.search(body):
            return BucketUnavailable(problem, hint)
    missing = [name for name in _PERMISSIONS if re.search(rf"\b{re.escape(name)}\b".encode(), body)]
    return BucketUnavailable(
        "this machine's account may not do this in the bucket",
        f"give it {missing[0] if len(missing) == 1 else 'the permissions'}, as the operator's guide says",
    )


def _reach(call: Callable[[], Answer], *known: type[Exception]) -> Answer:
    """The bucket's response; `known` faults are raised unchanged, all others as BucketUnavailable."""
    from google.api_core.exceptions import (
        BadRequest,
        Conflict,
        Forbidden,
        PreconditionFailed,
        Unauthorized,
    )
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    try:
        return call()
    except known:
        raise
    except BucketUnavailable:
        raise
    except DefaultCredentialsError:
        raise _no_credentials() from None
    except (RefreshError, Unauthorized):
        raise BucketUnavailable(
            "Google does not accept this machine's credentials",
            "look whether the account or its key was deleted, and whether the clock is right",
        ) from None
    except Forbidden as error:
        raise _forbidden(getattr(error.response, "content", b"")) from None
    except PreconditionFailed:
        raise _refused_by_policy() from None
    except (BadRequest, Conflict):
        raise BucketUnavailable(
            "the bucket does not take the request",
            "look whether its name, project and location are right",
        ) from None
    except Exception as error:
        # An answer or a token that is none fails wherever the library reads it. What fails on its
        # way is repeated by the client, which says at last what it was.
        if isinstance(getattr(error, "cause", error), TransportError):
            raise BucketUnavailable(
                "the address where Google gives tokens does not answer",
                "look at this machine's network, and at `token_uri` in its key file",
            ) from None
        raise BucketUnavailable(
            "the bucket does not answer as it should",
            "look whether this machine reaches it (an emulator must run), then try again in a minute",
        ) from None
