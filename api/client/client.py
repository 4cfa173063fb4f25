"""HTTP client of the API that signs messages: one method for each action, a typed error for each
failure.

1. The ledger identity is the caller's own copy: signatures are bound to that deployment, whatever
   the service says.
2. A sign-in names the address that was called, so a challenge relayed from another service is
   useless.
3. A private key never leaves the process; only messages and signatures are sent.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import httpx
from eth_utils.address import is_checksum_address

from api.errors import (
    Answered,
    NotAuthorised,
    NotAvailable,
    NotServing,
    NotThere,
    NotUnderstood,
    RefusedByPolicy,
    UsageError,
    VerificationFailed,
)
from chain.signatures import domain_of, typed_data
from chain.vocabulary import Role
from chain.wallets import Wallet
from governance.certificates import trusted
from governance.rules.encoding import Malformed, strict_json
from governance.rules.ledger_data import identity_id
from governance.rules.vocabulary import FOREVER

LARGEST = 1 << 28  # bytes of an answer, such as a trail
LISTED = 1000  # entries of a list in one answer
DEADLINE_SECONDS = 3600
_KINDS: dict[int, type[Answered]] = {
    401: NotAuthorised,
    403: NotAuthorised,
    404: NotThere,
    409: RefusedByPolicy,
}


class Client:
    """`wallet` signs; a patient also sets her `subject` (32 bytes).

    Without a wallet only public routes work.
    """

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
        datasets: list[dict[str, Any]] = self._ask("GET", "/datasets")
        return datasets

    def permits(self) -> list[dict[str, Any]]:
        """Every permit, those that end last first."""
        return self._all("/permits", {})

    def permit(self, permit: str) -> dict[str, Any]:
        return self._get(f"/permits/{permit}")

    def questions(self, permit: str) -> list[dict[str, Any]]:
        """The different questions that runs of a permit have asked: {params, current}."""
        return list(self._get(f"/permits/{permit}/questions")["asked"])

    def permit_review(self, permit: str) -> dict[str, Any]:
        """What the committee reads: how many are willing, what code would run, what was asked
        before.
        """
        return self._get(f"/permits/{permit}/review")

    def document(self, digest: str) -> str:
        """The text whose sha256 the ledger has for a dataset or a permit.

        Raises NotThere while nobody has sent it, VerificationFailed for another text.
        """
        text = str(self._get(f"/documents/{digest}")["text"])
        if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != digest:
            raise VerificationFailed(
                "the service gives another text than the one on the ledger",
                "do not decide by it; tell the operator and an auditor",
            )
        return text

    def send_document(self, data: bytes) -> dict[str, Any]:
        """Send the text of a registered dataset or a requested permit."""
        answer: dict[str, Any] = self._put(
            f"/documents/{hashlib.sha256(data).hexdigest()}", data, "text/plain; charset=utf-8"
        )
        return answer

    def send_code(self, code: str, manifest: bytes) -> None:
        """Send the manifest behind the code hash of a requested permit."""
        self._put(f"/code/{code}", manifest, "application/json")

    def dictionary(self, dataset: str) -> dict[str, Any]:
        """The variables of a dataset, as its custodian says. Raises NotThere."""
        return self._get(f"/datasets/{dataset}/dictionary")

    def publish_dictionary(self, dataset: str, dictionary: Mapping[str, Any]) -> None:
        """Publish a dataset's dictionary, as its custodian."""
        self._put_signed_in(f"/datasets/{dataset}/dictionary", dictionary)

    def features(self, dataset: str) -> dict[str, Any]:
        """The assays and files of gene sets of a dataset, as its custodian says; none if they said
        nothing."""
        try:
            return self._get(f"/datasets/{dataset}/features")
        except NotThere:
            return {"type": "volens/features/1", "assays": [], "sets": []}

    def publish_assays(self, dataset: str, columns: Mapping[str, int]) -> None:
        """Publish how many columns these assays have, beside what is published, as the custodian."""
        known = self.features(dataset)
        of = {**{row["assay"]: row["columns"] for row in known["assays"]}, **columns}
        assays = [{"assay": name, "columns": number} for name, number in sorted(of.items())]
        self._put_signed_in(f"/datasets/{dataset}/features", known | {"assays": assays})

    def publish_gene_sets(self, dataset: str, row: Mapping[str, Any]) -> None:
        """Publish that runs may use a file of gene sets, beside what is published, as the
        custodian.
        """
        known = self.features(dataset)
        others = [published for published in known["sets"] if published["sha256"] != row["sha256"]]
        self._put_signed_in(f"/datasets/{dataset}/features", known | {"sets": [*others, dict(row)]})

    def send_report(self, dataset: str, lines: Sequence[str]) -> None:
        """Keep the report of an ingest, as the dataset's custodian."""
        self._put_signed_in(f"/datasets/{dataset}/report", {"lines": list(lines)})

    def names(self) -> dict[str, dict[str, Any]]:
        """What accounts are called, by account."""
        known: dict[str, dict[str, Any]] = {}
        page: list[dict[str, Any]] = self._ask("GET", "/names")
        while page:
            known |= {entry["account"]: entry for entry in page}
            page = self._ask("GET", f"/names?after={page[-1]['account']}")
        return known

    def set_name(self, account: str, name: str, institution: str) -> dict[str, Any]:
        """Say what an account is called, as a member of the committee."""
        answer: dict[str, Any] = self._put_signed_in(
            f"/names/{account}", {"name": name, "institution": institution}
        )
        return answer

    def runs(self, state: str = "") -> list[dict[str, Any]]:
        """Every run, newest first; only those in `state` if given."""
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
        """A registrar's invitation: the enrolment with her signature, which the person then signs
        too.
        """
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
        """The invitation with the person's own signature: one item of `enrol`.

        Raises UsageError for another's.
        """
        if not {"enrolment", "registrarSignature"} <= invitation.keys():
            raise UsageError("this is no invitation of a registrar", "ask for the file again")
        message = unwire("Enrolment", invitation["enrolment"])
        if message["signer"] != self.wallet.signer or message["subject"] != self.subject:
            raise UsageError(
                "the invitation is for another person or key", "ask the registrar for your own"
            )
        return {
            "enrolment": invitation["enrolment"],
            "registrarSignature": invitation["registrarSignature"],
            "signerSignature": self._sign("Enrolment", message),
        }

    def enrol(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return self._post("/enrolments", {"items": list(items)})

    def consents(self) -> list[dict[str, Any]]:
        """Her own consents."""
        consents: list[dict[str, Any]] = self._get(
            f"/consents/{self._subject_id()}", signed_in=True
        )["consents"]
        return consents

    def consent_to(self, dataset: bytes) -> dict[str, Any] | None:
        """Her consent for one dataset, None before the first."""
        return next(
            (consent for consent in self.consents() if consent["dataset"] == dataset.hex()), None
        )

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
        message = {"subject": bytes.fromhex(self._subject_id()), "dataset": dataset, "epoch": epoch}
        return self._post(
            "/consents/revocations",
            {
                "revoke": wire("Revoke", message),
                "signer": self.wallet.signer.hex(),
                "signature": self._sign("Revoke", message),
            },
        )

    def withdrawals(self) -> list[dict[str, Any]]:
        """The caller's withdrawals and their effects, newest first."""
        return list(
            self._get(f"/subjects/{self._subject_id()}/withdrawals", signed_in=True)["withdrawals"]
        )

    def accesses(self, subject: bytes | None = None) -> list[dict[str, Any]]:
        """The uses of the caller's data; an auditor may ask for another person's."""
        wanted = subject.hex() if subject else self._subject_id()
        accesses: list[dict[str, Any]] = self._get(f"/subjects/{wanted}/accesses", signed_in=True)[
            "accesses"
        ]
        return accesses

    # -- committee, custodian, auditor

    def sign(self, kind: str, message: Mapping[str, Any]) -> bytes:
        """A signature for a message that several people sign, e.g. a RoleChange."""
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
        """Who holds which role: the founders (their roles are in no step) and all pages of the
        others.
        """
        roles: list[dict[str, Any]] = []
        page: list[dict[str, Any]] = self._ask("GET", "/roles")
        while page:
            roles += page
            page = self._ask("GET", f"/roles?after={roles[-1]['account']}")
        known = {entry["account"] for entry in roles}
        founders = [who for who in self.identity["founders"] if who not in known]
        ceremony = {"role": Role.COMMITTEE, "start": 0, "end": FOREVER, "version": 0}
        return [{"account": who, **ceremony} for who in founders] + roles

    def cancel_role(self, account: str, version: int) -> dict[str, Any]:
        """Cancel the role of a worker or broker that may not act yet."""
        message = {"account": account, "version": version, "deadline": _until(None)}
        return self._signed("/roles/cancellations", "cancel", "CancelRole", message)

    def suspend(self, permit: str, reason: str) -> dict[str, Any]:
        """The reason is for committee, applicant and auditors; the ledger has no field for it."""
        message = {"permit": bytes.fromhex(permit), "deadline": _until(None)}
        return self._signed(
            f"/permits/{permit}/suspension", "suspend", "Suspend", message, reason=reason
        )

    def ingests(self, dataset: bytes) -> list[dict[str, Any]]:
        """The registrations of records for a dataset, in order."""
        ingests: list[dict[str, Any]] = self._ask("GET", f"/datasets/{dataset.hex()}/ingests")
        return ingests

    def dataset_of(self, ingest: bytes) -> bytes:
        """The dataset of a registration. Raises NotThere."""
        for row in self.datasets():
            dataset = bytes.fromhex(row["dataset"])
            if any(entry["ingest"] == ingest.hex() for entry in self.ingests(dataset)):
                return dataset
        raise NotThere(
            404, "There is no such registration.", "Look at the list: volens dataset ingests"
        )

    def void_records(
        self, dataset: bytes, order: Mapping[str, Any], signatures: Sequence[bytes]
    ) -> dict[str, Any]:
        """Void a registration, with these signatures."""
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
        """Make the encrypted objects of `leaves` (JSON form) exist; their list goes to the bucket
        first.

        relaxed: the layers of confinement that were missing when they were read, as bits
        (docs/ledger.md).
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

    def vote(self, permit: str, yes: bool, reason: str = "") -> dict[str, Any]:
        """Vote on the request in the register; a no needs a reason, as a suspension does."""
        message = {
            "permit": bytes.fromhex(permit),
            "requestHash": bytes.fromhex(self.permit(permit)["requestHash"]),
            "yes": yes,
            "deadline": _until(None),
        }
        return self._signed(f"/permits/{permit}/votes", "vote", "Vote", message, reason=reason)

    def reasons(self, permit: str) -> list[dict[str, Any]]:
        """Why members voted as they did, or suspended it."""
        reasons: list[dict[str, Any]] = self._ask(
            "GET", f"/permits/{permit}/reasons", signed_in=True
        )
        return reasons

    def denials(self) -> list[dict[str, Any]]:
        """Every refusal on the ledger, oldest first."""
        return self._all("/trail/denials", {}, signed_in=True)

    # -- analyst

    def request_permit(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """`message` has the fields of PermitRequest except the deadline."""
        return self._signed(
            "/permits", "request", "PermitRequest", {**message, "deadline": _until(None)}
        )

    def request_run(
        self, permit: bytes, params: bytes, result_key: bytes, nonce: int, seconds: int = 86_400
    ) -> dict[str, Any]:
        """Request a run, which workers may begin within `seconds`.

        `result_key` (X25519) will open the released output; `nonce` is random and gives the run its
        id (`governance.permits.run_id`), so that its key can be stored before it is used.
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
        """Give a run that used up its attempts the same number again."""
        message = {
            "run": bytes.fromhex(run),
            "attempts": self.run(run)["attempt"],
            "deadline": _until(None),
        }
        return self._signed(f"/runs/{run}/resume", "resume", "Resume", message)

    # -- checkers

    def view_output(self, run: str, attempt: int, viewer_key: bytes) -> dict[str, Any]:
        """Record a view of an output; then brokers give key pieces to `viewer_key` (X25519)."""
        message = {
            "run": bytes.fromhex(run),
            "attempt": attempt,
            "viewerKey": viewer_key,
            "deadline": _until(None),
        }
        return self._signed(f"/runs/{run}/attempts/{attempt}/views", "review", "Review", message)

    def approve(self, run: str) -> dict[str, Any]:
        """Sign the release of the newest sealed output: the pending decision, or a new one."""
        run_state = self.run(run)
        message = self._decision(run_state, 0)
        if run_state["decision"] is not None:
            waiting = unwire("Decision", run_state["decision"]["decision"])
            if {**waiting, "deadline": 0} != {**message, "deadline": 0}:
                raise UsageError(
                    "the pending decision is on another output", "look at the run again"
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

    # -- a patient's own care

    def appointments(self) -> list[dict[str, Any]]:
        """A patient's newest appointments, or those in which a clinician is named."""
        listed: list[dict[str, Any]] = self._ask("GET", "/appointments", signed_in=True)
        return listed

    def appoint(self, message: Mapping[str, Any], clinician: str, salt: bytes) -> dict[str, Any]:
        """Appoint a clinician (an address), whom the signed hash hides; `message`: Appoint."""
        return self._signed(
            "/appointments",
            "appoint",
            "Appoint",
            message,
            signer=self.wallet.signer.hex(),
            clinician=clinician,
            salt=salt.hex(),
        )

    def plans(self) -> list[dict[str, Any]]:
        """A patient's plans, or those that a clinician asked for: newest first."""
        return self._all("/plans", {}, signed_in=True)

    def plan(self, run: str) -> dict[str, Any]:
        return self._get(f"/plans/{run}", signed_in=True)

    def request_plan(self, message: Mapping[str, Any], params: bytes) -> dict[str, Any]:
        """Ask for a plan; `message`: PlanRequest."""
        return self._signed("/plans", "request", "PlanRequest", message, params=params.decode())

    def view_plan(self, run: str, attempt: int, viewer_key: bytes) -> dict[str, Any]:
        """Record a look of the clinician at a plan; then brokers give key pieces to `viewer_key`."""
        path = f"/plans/{run}/attempts/{attempt}/views"
        return self._signed(path, "view", "PlanView", _viewing(run, attempt, viewer_key))

    def countersign(self, run: str, seal: Mapping[str, Any], notes: bytes) -> dict[str, Any]:
        """Countersign a sealed plan (`seal`: its newest output) with encrypted notes."""
        message = {
            "run": bytes.fromhex(run),
            "attempt": seal["attempt"],
            "sealHash": bytes.fromhex(seal["sealHash"]),
            "notesHash": hashlib.sha256(notes).digest(),
            "deadline": _until(None),
        }
        path = f"/plans/{run}/attempts/{seal['attempt']}/countersign"
        return self._signed(path, "countersign", "Countersign", message, notes=notes.hex())

    def open_plan(self, run: str, attempt: int, viewer_key: bytes) -> dict[str, Any]:
        """Record that the patient opens her plan; then brokers give key pieces to `viewer_key`."""
        path = f"/plans/{run}/attempts/{attempt}/openings"
        message = _viewing(run, attempt, viewer_key)
        signer = self.wallet.signer.hex()
        return self._signed(path, "opening", "PlanOpening", message, signer=signer)

    def end_plan(self, run: str) -> dict[str, Any]:
        """End a request that was not countersigned."""
        message = {"run": bytes.fromhex(run), "deadline": _until(None)}
        return self._signed(f"/plans/{run}/end", "end", "PlanEnd", message)

    def sealed_plan(self, run: str) -> bytes:
        """The newest sealed plan as ciphertext."""
        self._sign_in()
        return self._send("GET", f"/plans/{run}/output", None, self._bearer()).content

    def plan_notes(self, run: str) -> bytes:
        """The clinician's notes on a plan as ciphertext."""
        self._sign_in()
        return self._send("GET", f"/plans/{run}/notes", None, self._bearer()).content

    # -- sending

    def sign_in(self) -> int:
        """Open a session; returns the key's current role, 0 for none.

        Raises NotAuthorised for an unknown account.
        """
        challenge = self._ask("POST", "/sign-in/challenge")
        if challenge["audience"] != self.url:
            raise NotServing("the service names another address", "check the address: VOLENS_API")
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

    def _subject_id(self) -> str:
        if self.subject is None:
            raise UsageError("this key belongs to no patient", "use the key of an enrolled person")
        return self.subject.hex()

    def _sign(self, kind: str, message: Mapping[str, Any]) -> str:
        return self.sign(kind, message).hex()

    def _signed(
        self, path: str, name: str, kind: str, message: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        body = {name: wire(kind, message), "signature": self._sign(kind, message), **more}
        # A reason is taken from nobody but who signed.
        signed_in = bool(more.get("reason"))
        answer: dict[str, Any] = self._ask("POST", path, body, signed_in=signed_in)
        return answer

    def _get(self, path: str, signed_in: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = self._ask("GET", path, signed_in=signed_in)
        return body

    def _all(
        self, path: str, wanted: Mapping[str, str], signed_in: bool = False
    ) -> list[dict[str, Any]]:
        """All pages of a list.

        Duplicates are removed, because entries added meanwhile shift the pages.
        """
        entries: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            query = urlencode({**wanted, "limit": LISTED, "offset": offset})
            page = self._ask("GET", f"{path}?{query}", signed_in=signed_in)
            entries |= {json.dumps(entry, sort_keys=True): entry for entry in page}
            if len(page) < LISTED:
                return list(entries.values())
            offset += LISTED

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask("POST", path, body)
        return answer

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
        content = None if body is None else json.dumps(body).encode()
        typed = {"Content-Type": "application/json"} if body is not None else {}
        return self._request(method, path, content, {**typed, **headers})

    def _put(
        self, path: str, data: bytes, media: str, headers: Mapping[str, str] | None = None
    ) -> Any:
        return _parsed(self._request("PUT", path, data, {"Content-Type": media, **(headers or {})}))

    def _put_signed_in(self, path: str, body: Mapping[str, Any]) -> Any:
        self._sign_in()
        return self._put(path, json.dumps(body).encode(), "application/json", self._bearer())

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, content=content, headers=headers)
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
        return {name: _typed(type_, body[name]) for name, type_ in typed_data()["types"][kind]}
    except (KeyError, ValueError, TypeError):
        raise UsageError(
            f"this is not a signed message of type {kind}", "use the file as it was made"
        ) from None


def _typed(type_: str, value: Any) -> Any:
    """Raises ValueError or TypeError for what this type cannot hold: encoding it would fail."""
    if type_.startswith("bytes"):
        data = bytes.fromhex(value)
        if len(data) != int(type_[5:] or len(data)):
            raise ValueError
        return data
    if type_.startswith("uint"):
        number = int(value)
        if not 0 <= number < 1 << int(type_[4:]):
            raise ValueError
        return number
    if type_ == "address" and not is_checksum_address(value):
        raise ValueError
    if type_ == "bool" and not isinstance(value, bool):
        raise ValueError
    return value


def _sent(type_: str, value: Any) -> Any:
    if type_.startswith("bytes"):
        return value.hex()
    return str(value) if type_ == "uint256" else value


def _viewing(run: str, attempt: int, viewer_key: bytes) -> dict[str, Any]:
    return {
        "run": bytes.fromhex(run),
        "attempt": attempt,
        "viewerKey": viewer_key,
        "deadline": _until(None),
    }


def _until(deadline: int | None) -> int:
    return int(time.time()) + DEADLINE_SECONDS if deadline is None else deadline


def _parsed(answer: httpx.Response) -> Any:
    """Parse an answer's JSON; null is allowed, because nothing hashed is read this way."""
    try:
        return strict_json(answer.content, LARGEST)
    except Malformed:
        raise NotServing("the service gives an invalid answer", "check the address") from None


def _problem(answer: httpx.Response) -> Answered:
    try:
        body = _parsed(answer)
    except NotServing:
        body = {}
    problem = body if isinstance(body, dict) else {}
    detail = str(problem.get("detail") or "The service gives an invalid answer.")
    fields = problem.get("fields")
    if isinstance(fields, list) and fields:
        detail = f"{detail} {fields[0]}."
    status = answer.status_code
    kind = _KINDS.get(
        status, NotAvailable if status >= 502 else NotUnderstood if status < 500 else Answered
    )
    return kind(
        status,
        detail,
        str(problem.get("hint") or "Check the address."),
        str(problem.get("reason") or ""),
    )
