"""Client of a key broker: HTTP requests with signed responses.

HPKE seals messages to the recipient but does not authenticate the sender, so the broker's signature
over each response is checked here, against the address in its first response. Whether that address
holds the broker role is checked by who sends it shares: the worker (`Attempt._hand_over`) and the
custodian (`api.ingest.sources.check_broker`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx

from chain.errors import SignatureMalformed
from chain.signatures import Domain, recover
from chain.wallets import Wallet
from governance.certificates import trusted
from governance.errors import (
    BrokerRefused,
    BrokerUnavailable,
    QuestionMalformed,
    RequestInvalid,
)
from governance.objects.envelope import (
    Header,
    WrapItem,
    WrappedShare,
    encode_wrap_request,
    pieces_info,
    question_digest,
    seal_message,
    wrap_info,
)
from governance.rules.encoding import canonical

TIMEOUT = 30.0  # seconds for a response
RECORD_SECONDS = 0.01  # more for each requested key: ten times the usual time


@dataclass(frozen=True, slots=True)
class BrokerAnswer:
    """A sealed message with key pieces, and the values of its HPKE info."""

    sealed: bytes
    info: bytes
    broker: bytes


def signer_of(domain: Domain, question: Mapping[str, Any]) -> bytes:
    """The account (20 bytes) that signed a question as it is sent, b"" for nobody's signature."""
    digest, signature = question_digest(question), bytes.fromhex(question["signature"])
    try:
        return bytes.fromhex(recover(domain, "Statement", {"digest": digest}, signature)[2:])
    except SignatureMalformed:
        return b""


class BrokerClient:
    """One broker; `identity_id` is the ledger it must serve."""

    def __init__(self, url: str, domain: Domain, identity_id: bytes) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, verify=trusted())
        self._domain = domain
        self._identity = identity_id
        self._who: tuple[bytes, bytes] | None = None

    @property
    def address(self) -> bytes:
        """20 bytes; the caller MUST check that it holds the broker role."""
        return self._identify()[0]

    @property
    def exchange_key(self) -> bytes:
        """The X25519 key that shares are sealed to."""
        return self._identify()[1]

    def wrap(self, items: Sequence[WrapItem]) -> list[WrappedShare]:
        """The items' shares, wrapped by this broker, in order."""
        broker, key = self._identify()
        message = seal_message(key, wrap_info(self._identity, broker), encode_wrap_request(items))
        return self.wrap_sealed(message, [item.j for item in items])

    def wrap_sealed(self, message: bytes, numbers: Sequence[int]) -> list[WrappedShare]:
        """As `wrap`, for a message that another program sealed; `numbers` are its shares' j."""
        broker, _ = self._identify()
        answer = self._ask("POST", "/wrap", {"sealed": message.hex()})
        wrapped = [bytes.fromhex(share) for share in answer["wrapped"]]
        digest = sha256(
            canonical(b"volens/wrapped/1", self._identity, sha256(message).digest(), *wrapped)
        ).digest()
        self._check(digest, answer["signature"], broker)
        return [WrappedShare(broker, j, share) for j, share in zip(numbers, wrapped, strict=True)]

    def hand_over(self, ingest: bytes, leaves: Sequence[Mapping[str, Any]]) -> None:
        """Give the broker the leaf list of a mined ingest."""
        self._ask("POST", "/records", {"ingest": ingest.hex(), "leaves": list(leaves)})

    def pieces(
        self,
        run: bytes,
        attempt: int,
        tx: bytes,
        worker_key: bytes,
        headers: Sequence[Header],
        asker: Wallet,
    ) -> BrokerAnswer:
        """Pieces for the worker of an authorised attempt, `asker`. Raises BrokerRefused,
        BrokerUnavailable.
        """
        question: dict[str, Any] = {
            "run": run.hex(),
            "attempt": attempt,
            "tx": tx.hex(),
            "workerKey": worker_key.hex(),
            "records": [self._record(header) for header in headers],
        }
        seconds = TIMEOUT + RECORD_SECONDS * len(headers)
        answer = self._ask("POST", "/pieces", self._signed(question, asker), seconds)
        return self._answer(
            answer, run, attempt, tx, worker_key, [header.label.record for header in headers]
        )

    def output_pieces(
        self,
        run: bytes,
        attempt: int,
        tx: bytes,
        key: bytes,
        header: Header,
        asker: Wallet,
        viewer: str | None = None,
    ) -> BrokerAnswer:
        """Pieces of an output's key: for a viewer's mined review, or without one for the run's
        result key after the release.

        `asker` signs the question: the viewer, or the run's analyst.

        `tx` is the transaction that authorised the attempt, `key` the public key the pieces are
        sealed to.
        """
        question: dict[str, Any] = {
            "run": run.hex(),
            "attempt": attempt,
            "records": [self._record(header)],
        }
        if viewer is not None:
            question["viewer"] = viewer
        answer = self._ask("POST", "/output-pieces", self._signed(question, asker))
        return self._answer(answer, run, attempt, tx, key, [run])

    def pass_on(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The broker's answer to a question about an output that another program signed, as it is:
        the asker MUST check it. Raises BrokerRefused, BrokerUnavailable, RequestInvalid.
        """
        try:
            return self._ask("POST", "/output-pieces", question)
        except QuestionMalformed as error:
            raise RequestInvalid(str(error), "ask for the output as it was sealed") from None

    def witness(self) -> dict[str, Any]:
        """The trail's head as the broker signs it (docs/ledger.md)."""
        return self._ask("GET", "/witness")

    def journal_head(self) -> dict[str, Any]:
        return self._ask("GET", "/journal/head")

    def _signed(self, question: dict[str, Any], asker: Wallet) -> dict[str, Any]:
        signature = asker.sign(self._domain, "Statement", {"digest": question_digest(question)})
        return question | {"signature": signature.hex()}

    def _record(self, header: Header) -> dict[str, Any]:
        broker, _ = self._identify()
        shares = [
            {"j": s.j, "wrapped": s.wrapped.hex()} for s in header.shares if s.broker == broker
        ]
        return {
            "record": header.label.record.hex(),
            "version": header.label.version,
            "shares": shares,
        }

    def _answer(
        self,
        answer: Mapping[str, Any],
        run: bytes,
        attempt: int,
        tx: bytes,
        key: bytes,
        records: Sequence[bytes],
    ) -> BrokerAnswer:
        broker, _ = self._identify()
        info = pieces_info(
            identity=self._identity,
            run=run,
            attempt=attempt,
            tx=tx,
            block_hash=bytes.fromhex(answer["blockHash"]),
            broker=broker,
            worker_key=key,
            records=records,
            lease_end=int(answer["leaseUntil"]),
        )
        sealed = bytes.fromhex(answer["sealed"])
        statement = canonical(b"volens/answer/1", info, sha256(sealed).digest())
        self._check(sha256(statement).digest(), answer["signature"], broker)
        return BrokerAnswer(sealed, info, broker)

    def _identify(self) -> tuple[bytes, bytes]:
        if self._who is None:
            answer = self._ask("GET", "/identity")
            broker, key = bytes.fromhex(answer["broker"][2:]), bytes.fromhex(answer["exchangeKey"])
            digest = sha256(canonical(b"volens/broker/1", self._identity, broker, key)).digest()
            self._check(digest, answer["signature"], broker)
            self._who = (broker, key)
        return self._who

    def _check(self, digest: bytes, signature: str, broker: bytes) -> None:
        try:
            signer = recover(
                self._domain, "Statement", {"digest": digest}, bytes.fromhex(signature)
            )
        except (SignatureMalformed, ValueError):
            signer = ""
        if bytes.fromhex(signer[2:]) != broker:
            raise BrokerUnavailable(
                "the key broker's answer is not signed by it, or is of another ledger",
                "check that broker and ledger belong together: volens doctor",
            )

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float = TIMEOUT,
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body, timeout=seconds)
            content: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError, RecursionError):
            raise BrokerUnavailable(
                "the key broker does not answer", "start it: volens serve"
            ) from None
        if answer.status_code == 200:
            return content
        if isinstance(content.get("reason"), int):
            raise BrokerRefused(content["reason"])
        kind = QuestionMalformed if answer.status_code == 400 else BrokerUnavailable
        raise kind(
            f"the key broker refused the question: {content.get('detail', 'no detail')}",
            "this is a fault of the asking program",
        )
