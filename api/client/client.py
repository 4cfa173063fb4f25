"""A caller of the API who signs for herself: one method an action, every failure a typed error.

1. The ledger identity is the caller's own copy: what is signed is bound to that deployment, whatever the service says.
2. A sign-in names the address that was called, so that a challenge relayed from elsewhere opens nothing.
3. A private key never leaves the process; messages go out with their signatures only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import httpx

from api.errors import (
    Answered,
    NotAuthorised,
    NotAvailable,
    NotServing,
    NotThere,
    NotUnderstood,
    RefusedByPolicy,
    UsageError,
)
from chain.signatures import domain_of, typed_data
from chain.vocabulary import Role
from chain.wallets import Wallet
from governance.certificates import trusted
from governance.rules.encoding import Malformed, strict_json
from governance.rules.ledger_data import identity_id
from governance.rules.vocabulary import FOREVER

LARGEST = 1 << 28  # bytes of an answer: a trail is one
LISTED = 1000  # entries of a list in one answer
DEADLINE_SECONDS = 3600
_KINDS: dict[int, type[Answered]] = {
    401: NotAuthorised,
    403: NotAuthorised,
    404: NotThere,
    409: RefusedByPolicy,
}


class Client:
    """`wallet` signs; a patient also names her `subject` (32 bytes). Without a wallet only public doors open."""

    def __init__(
        self,
        url: str,
        identity: Mapping[str, Any],
        wallet: Wallet | None = None,
        subject: bytes | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.identity = identity
        self.identity_id = identity_id(identity)
        self.domain = domain_of(identity)
        self.subject = subject
        self._wallet = wallet
        self._http = httpx.Client(base_url=self.url, timeout=120.0, verify=trusted())
        self._token, self._expires = "", 0

    @property
    def wallet(self) -> Wallet:
        """Raises UsageError when the client has none."""
        if self._wallet is None:
            raise UsageError("nobody is named who could sign", "say who you are: --as NAME")
        return self._wallet

    def close(self) -> None:
        self._http.close()

    # -- for everybody

    def health(self) -> dict[str, Any]:
        return self._get("/health")

    def datasets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "/datasets")
        return found

    def permits(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "/permits")
        return found

    def permit(self, permit: str) -> dict[str, Any]:
        return self._get(f"/permits/{permit}")

    def runs(self, state: str = "") -> list[dict[str, Any]]:
        """Every run, newest first, in `state` only when one is named."""
        return self._all("/runs", {"state": state} if state else {})

    def run(self, run: str) -> dict[str, Any]:
        return self._get(f"/runs/{run}")

    def trail(self) -> dict[str, Any]:
        """The bundle for `governance/verify.py`."""
        return self._get("/trail")

    def trail_head(self) -> dict[str, Any]:
        return self._get("/trail/head")

    # -- people

    def invite(
        self, subject: bytes, signer: bytes, assurance: int = 1, deadline: int | None = None
    ) -> dict[str, Any]:
        """A registrar's invitation: the enrolment with her signature, for the person to sign as well."""
        message = {
            "subject": subject,
            "signer": signer,
            "assurance": assurance,
            "deadline": _until(deadline),
        }
        return {
            "enrolment": wire("Enrolment", message),
            "registrarSignature": self._sign("Enrolment", message),
        }

    def accept(self, invitation: Mapping[str, Any]) -> dict[str, Any]:
        """The invitation with the person's own signature: one item of `enrol`. Raises UsageError for another's."""
        message = unwire("Enrolment", invitation["enrolment"])
        if message["signer"] != self.wallet.signer or message["subject"] != self.subject:
            raise UsageError(
                "the invitation is for another person or key", "ask the registrar for your own"
            )
        return {**invitation, "signerSignature": self._sign("Enrolment", message)}

    def enrol(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return self._post("/enrolments", {"items": list(items)})

    def consents(self) -> list[dict[str, Any]]:
        """Her own consents."""
        found: list[dict[str, Any]] = self._get(f"/consents/{self._own_id()}", signed_in=True)[
            "consents"
        ]
        return found

    def consent_to(self, dataset: bytes) -> dict[str, Any] | None:
        """Her consent for one dataset, None before the first."""
        return next((one for one in self.consents() if one["dataset"] == dataset.hex()), None)

    def signed_grant(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """One item of `grant`."""
        return {
            "grant": wire("Grant", message),
            "signer": self.wallet.signer.hex(),
            "signature": self._sign("Grant", message),
        }

    def grant(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return self._post("/consents", {"items": list(items)})

    def revoke(self, dataset: bytes, epoch: int) -> dict[str, Any]:
        """Withdraw her consent at this epoch."""
        message = {"subject": bytes.fromhex(self._own_id()), "dataset": dataset, "epoch": epoch}
        return self._post(
            "/consents/revocations",
            {
                "revoke": wire("Revoke", message),
                "signer": self.wallet.signer.hex(),
                "signature": self._sign("Revoke", message),
            },
        )

    def withdrawals(self) -> list[dict[str, Any]]:
        """What followed from each withdrawal of one's own, newest first."""
        return list(
            self._get(f"/subjects/{self._own_id()}/withdrawals", signed_in=True)["withdrawals"]
        )

    def accesses(self, subject: bytes | None = None) -> list[dict[str, Any]]:
        """Who used her data; another person's only for an auditor."""
        wanted = subject.hex() if subject else self._own_id()
        found: list[dict[str, Any]] = self._get(f"/subjects/{wanted}/accesses", signed_in=True)[
            "accesses"
        ]
        return found

    # -- committee, custodian, auditor

    def sign(self, kind: str, message: Mapping[str, Any]) -> bytes:
        """A signature to be collected with others', e.g. over a RoleChange."""
        return self.wallet.sign(self.domain, kind, message)

    def set_role(self, change: Mapping[str, Any], signatures: Sequence[bytes]) -> dict[str, Any]:
        return self._post(
            "/roles",
            {
                "change": wire("RoleChange", change),
                "signatures": [signature.hex() for signature in signatures],
            },
        )

    def roles(self) -> list[dict[str, Any]]:
        """Who holds which role: the founders, whose roles no step gave, and every page of the others."""
        found: list[dict[str, Any]] = []
        page: list[dict[str, Any]] = self._ask("GET", "/roles")
        while page:
            found += page
            page = self._ask("GET", f"/roles?after={found[-1]['account']}")
        known = {one["account"] for one in found}
        founders = [who for who in self.identity["founders"] if who not in known]
        ceremony = {"role": Role.COMMITTEE, "start": 0, "end": FOREVER, "version": 0}
        return [{"account": who, **ceremony} for who in founders] + found

    def cancel_role(self, account: str, version: int) -> dict[str, Any]:
        """Stop a worker or broker that does not act yet."""
        message = {"account": account, "version": version, "deadline": _until(None)}
        return self._signed("/roles/cancellations", "cancel", "CancelRole", message)

    def suspend(self, permit: str) -> dict[str, Any]:
        message = {"permit": bytes.fromhex(permit), "deadline": _until(None)}
        return self._signed(f"/permits/{permit}/suspension", "suspend", "Suspend", message)

    def ingests(self, dataset: bytes) -> list[dict[str, Any]]:
        """What was registered for a dataset, in order."""
        found: list[dict[str, Any]] = self._ask("GET", f"/datasets/{dataset.hex()}/ingests")
        return found

    def dataset_of(self, ingest: bytes) -> bytes:
        """The dataset that a registration is of. Raises NotThere."""
        for one in self.datasets():
            dataset = bytes.fromhex(one["dataset"])
            if any(entry["ingest"] == ingest.hex() for entry in self.ingests(dataset)):
                return dataset
        raise NotThere(
            404, "There is no such registration.", "Look at the list: volens dataset ingests"
        )

    def void_records(
        self, dataset: bytes, order: Mapping[str, Any], signatures: Sequence[bytes]
    ) -> dict[str, Any]:
        """Take a registration back under these signatures."""
        return self._post(
            f"/datasets/{dataset.hex()}/voids",
            {
                "void": wire("VoidRecords", order),
                "signatures": [signature.hex() for signature in signatures],
            },
        )

    def register_dataset(self, dataset: bytes, document_hash: bytes) -> dict[str, Any]:
        message = {"dataset": dataset, "documentHash": document_hash, "deadline": _until(None)}
        return self._signed("/datasets", "registration", "RegisterDataset", message)

    def register_records(
        self,
        dataset: bytes,
        ingest: bytes,
        root: bytes,
        leaves: Sequence[Mapping[str, Any]],
        relaxed: int = 0,
    ) -> dict[str, Any]:
        """Make the encrypted objects of `leaves` (JSON form) exist; their list goes to the bucket first.

        relaxed: the protections that were missing where they were read, as bits (docs/ledger.md).
        """
        message = {
            "ingest": ingest,
            "dataset": dataset,
            "leavesRoot": root,
            "count": len(leaves),
            "relaxed": relaxed,
            "deadline": _until(None),
        }
        return self._signed(
            f"/datasets/{dataset.hex()}/ingests",
            "registered",
            "RecordsRegistered",
            message,
            leaves=list(leaves),
        )

    def vote(self, permit: str, yes: bool) -> dict[str, Any]:
        """Vote on the request as the register shows it."""
        message = {
            "permit": bytes.fromhex(permit),
            "requestHash": bytes.fromhex(self.permit(permit)["requestHash"]),
            "yes": yes,
            "deadline": _until(None),
        }
        return self._signed(f"/permits/{permit}/votes", "vote", "Vote", message)

    def denials(self) -> list[dict[str, Any]]:
        """Every refusal on the ledger, oldest first."""
        return self._all("/trail/denials", {}, signed_in=True)

    # -- analyst

    def request_permit(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """`message` has the fields of PermitRequest but for the deadline."""
        return self._signed(
            "/permits", "request", "PermitRequest", {**message, "deadline": _until(None)}
        )

    def request_run(
        self, permit: bytes, params: bytes, result_key: bytes, nonce: int, seconds: int = 86_400
    ) -> dict[str, Any]:
        """Ask for a run, which workers may begin for so many seconds.

        `result_key` (X25519) will open the released output; `nonce` is random and gives the run its id
        (`governance.permits.run_id`), so that its key can be stored before it is used.
        """
        message = {
            "permit": permit,
            "paramsHash": hashlib.sha256(params).digest(),
            "resultKey": result_key,
            "nonce": nonce,
            "deadline": int(time.time()) + seconds,
        }
        return self._signed("/runs", "request", "RunRequest", message, params=params.decode())

    def cancel(self, run: str) -> dict[str, Any]:
        message = {"run": bytes.fromhex(run), "deadline": _until(None)}
        return self._signed(f"/runs/{run}/cancel", "cancel", "Cancel", message)

    def resume(self, run: str) -> dict[str, Any]:
        """Give a run whose attempts are used up as many more."""
        message = {
            "run": bytes.fromhex(run),
            "attempts": self.run(run)["attempt"],
            "deadline": _until(None),
        }
        return self._signed(f"/runs/{run}/resume", "resume", "Resume", message)

    # -- checkers

    def look(self, run: str, attempt: int, viewer_key: bytes) -> dict[str, Any]:
        """Record a look; brokers give pieces to `viewer_key` (X25519) from then on."""
        message = {
            "run": bytes.fromhex(run),
            "attempt": attempt,
            "viewerKey": viewer_key,
            "deadline": _until(None),
        }
        return self._signed(f"/runs/{run}/attempts/{attempt}/views", "review", "Review", message)

    def approve(self, run: str) -> dict[str, Any]:
        """Sign the release of the newest sealed output: the decision that waits already, or a new one."""
        found = self.run(run)
        message = self._decision(found, 0)
        if found["decision"] is not None:
            waiting = unwire("Decision", found["decision"]["decision"])
            if {**waiting, "deadline": 0} != {**message, "deadline": 0}:
                raise UsageError(
                    "the decision that waits is on another output", "look at the run again"
                )
            message = waiting
        return self._signed(
            f"/runs/{run}/attempts/{message['attempt']}/release", "decision", "Decision", message
        )

    def reject(self, run: str, reason: int) -> dict[str, Any]:
        """Refuse the release of the newest sealed output with a reason from 96 on."""
        message = self._decision(self.run(run), reason)
        return self._signed(
            f"/runs/{run}/attempts/{message['attempt']}/reject", "decision", "Decision", message
        )

    def output(self, run: str) -> bytes:
        """The newest sealed output as ciphertext."""
        self._sign_in()
        return self._send("GET", f"/runs/{run}/output", None, self._bearer()).content

    def _decision(self, run: Mapping[str, Any], reason: int) -> dict[str, Any]:
        if not run["outputs"] or run["outputs"][-1]["attempt"] != run["attempt"]:
            raise NotThere(
                404,
                "The newest attempt of the run has no sealed output.",
                "Wait until it is sealed.",
            )
        sealed = run["outputs"][-1]
        return {
            "run": bytes.fromhex(run["run"]),
            "attempt": sealed["attempt"],
            "sealHash": bytes.fromhex(sealed["sealHash"]),
            "reason": reason,
            "deadline": _until(None),
        }

    # -- sending

    def sign_in(self) -> int:
        """A new session; the role that the key holds now, 0 for none. Raises NotAuthorised when no account has it."""
        challenge = self._ask("POST", "/sign-in/challenge")
        if challenge["audience"] != self.url:
            raise NotServing(
                "the service says that it is another one", "check the address: VOLENS_API"
            )
        message = {
            "audience": self.url,
            "account": self.wallet.address,
            "subject": self.subject or bytes(32),
            "nonce": bytes.fromhex(challenge["nonce"]),
            "issuedAt": int(time.time()),
        }
        session = self._ask(
            "POST",
            "/sign-in",
            {
                "account": self.wallet.address,
                "subject": self.subject.hex() if self.subject else None,
                "nonce": challenge["nonce"],
                "issuedAt": message["issuedAt"],
                "signature": self._sign("SignIn", message),
            },
        )
        self._token, self._expires = session["token"], session["expires"]
        return int(session["role"])

    def _sign_in(self) -> None:
        if time.time() > self._expires - 30:
            self.sign_in()

    def _own_id(self) -> str:
        if self.subject is None:
            raise UsageError("this key belongs to no patient", "use the key of an enrolled person")
        return self.subject.hex()

    def _sign(self, kind: str, message: Mapping[str, Any]) -> str:
        return self.sign(kind, message).hex()

    def _signed(
        self, path: str, name: str, kind: str, message: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        return self._post(
            path, {name: wire(kind, message), "signature": self._sign(kind, message), **more}
        )

    def _get(self, path: str, signed_in: bool = False) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", path, signed_in=signed_in)
        return found

    def _all(
        self, path: str, wanted: Mapping[str, str], signed_in: bool = False
    ) -> list[dict[str, Any]]:
        """A list that the service gives in pieces, whole. What is added meanwhile may shift it by an entry."""
        found: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            query = urlencode({**wanted, "limit": LISTED, "offset": offset})
            page = self._ask("GET", f"{path}?{query}", signed_in=signed_in)
            found |= {json.dumps(one, sort_keys=True): one for one in page}
            if len(page) < LISTED:
                return list(found.values())
            offset += LISTED

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("POST", path, body)
        return found

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, signed_in: bool = False
    ) -> Any:
        if signed_in:
            self._sign_in()
        answer = self._send(method, path, body, self._bearer() if signed_in else {})
        return _parsed(answer)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError:
            raise NotServing("the service does not answer", "start it: volens serve") from None
        if answer.is_success:
            return answer
        raise _problem(answer)


def wire(kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """A typed message as it is sent: bytes as hex, 256-bit numbers as decimal texts."""
    return {name: _sent(type_, message[name]) for name, type_ in typed_data()["types"][kind]}


def unwire(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A typed message from its sent form. Raises UsageError for another form."""
    try:
        return {
            name: bytes.fromhex(body[name])
            if type_.startswith("bytes")
            else int(body[name])
            if type_.startswith("uint")
            else body[name]
            for name, type_ in typed_data()["types"][kind]
        }
    except (KeyError, ValueError, TypeError):
        raise UsageError(
            f"this is not a signed message of type {kind}", "use the file as it was made"
        ) from None


def _sent(type_: str, value: Any) -> Any:
    if type_.startswith("bytes"):
        return value.hex()
    return str(value) if type_ == "uint256" else value


def _until(deadline: int | None) -> int:
    return int(time.time()) + DEADLINE_SECONDS if deadline is None else deadline


def _parsed(answer: httpx.Response) -> Any:
    """The answer's JSON; JSON's null is allowed here, nothing that is hashed is read this way."""
    try:
        return strict_json(answer.content, LARGEST)
    except Malformed:
        raise NotServing(
            "the service answers with something that is not its own", "check the address"
        ) from None


def _problem(answer: httpx.Response) -> Answered:
    try:
        body = _parsed(answer)
    except NotServing:
        body = {}
    told = body if isinstance(body, dict) else {}
    detail = str(told.get("detail") or "The service answers with something that is not its own.")
    fields = told.get("fields")
    if isinstance(fields, list) and fields:
        detail = f"{detail} {fields[0]}."
    status = answer.status_code
    kind = _KINDS.get(
        status, NotAvailable if status >= 502 else NotUnderstood if status < 500 else Answered
    )
    return kind(
        status, detail, str(told.get("hint") or "Check the address."), str(told.get("reason") or "")
    )
