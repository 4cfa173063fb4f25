"""Key custody: wraps key shares, and releases pieces of keys only against a mined, still valid
receipt.

The checks for `/pieces` (`Broker.pieces`), in this order, all against the broker's own replayed
state at its newest head:
1. `_follow`: the ledger responds and its clock agrees (64), it is the pinned one (65), it still has
   the blocks that earlier responses were based on (71), it follows the rules (65), and the broker
   has executed all of it (79);
2. `_attempt_of`: the receipt is mined (66) and of this run (67);
3. `_check_attempt`: the run is not cancelled (43), this is its newest attempt (68), for this worker
   key (69), its lease is running and its output is not yet sealed (70), the permit is not suspended
   (34), not rejected (39), not expired (35), analyst (36) and worker (37) still have their roles;
   of a plan, in the analyst's place (`_check_plan`): the clinician has the role (48), she allows her
   own care (1 to 7), her appointment of him lasts (47), her consent is of the same epoch (75);
4. `_check_asker`: the receipt's worker signed the request (69);
5. `_check_records`: every record is registered in the permit's dataset (72), in its latest version
   (73), its person granted in this attempt (74), her consent live at the same epoch (75), its
   category in the permit, and of a plan in her consent (76).
For `/output-pieces` (`Broker.output_pieces`), which gives the key of an output and no data key: 1
and 2, then that she who asks signed the look, opening or release (77, 78), and by who she is:
- `_viewer_key` for a checker: the newest attempt (68), the permit (34, 39, 35), the analyst's role
  (36), all consents live at the same epoch (75);
- `_plan_key` for a plan: the newest attempt (68), the permit (34, 39); for the clinician
  `_check_plan`, for the patient her consent (75);
- `_result_key` for the analyst: the permit (34, 39), her role (36).
Then, for both (`_release_pieces`):
6. a request that was answered before gets the same response again, without a journal line;
7. the shares are unwrapped, and must make the key that the ledger commits to (72); all checks are
   repeated at the head that is the newest by then;
8. that head is saved (`Node.save_head`), and the journal entry is written to disk;
9. one signed HPKE message to the receipt's key is sent; for `/pieces` it also holds the key of the
   noise in the dataset's results.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from chain.errors import SignatureMalformed
from chain.signatures import address_of, domain_of, recover, sign
from chain.vocabulary import PermitStatus, Reason, Role
from governance.broker.journal import Journal
from governance.broker.leaves import LeafLists
from governance.broker.node import (
    FOLLOW_SECONDS,
    CatchingUp,
    Head,
    LedgerBehind,
    Node,
    NodeDown,
    OtherLedger,
)
from governance.errors import GovernanceError
from governance.objects.envelope import (
    SHARES,
    Piece,
    WrapItem,
    decode_wrap_request,
    encode_pieces,
    encode_run_keys,
    join_shares,
    key_commitment,
    open_message,
    pieces_info,
    question_digest,
    seal_message,
    unwrap_share,
    wrap_context,
    wrap_info,
    wrap_share,
)
from governance.objects.keys import (
    FileKeyProvider,
    create_private,
    load_pair,
    new_pair,
    noise_key,
    read_private,
)
from governance.objects.leaves import Leaf
from governance.rules.encoding import Malformed, canonical, number, part, raw
from governance.rules.ledger_data import identity_id
from governance.rules.state import Attempt, Run
from governance.rules.vocabulary import CARE

DAY = 86_400  # seconds
NOISE_ROOT = b"volens/noise-root/1"  # what the secret behind every dataset's noise is sealed for
SLICE_SECONDS = 0.25  # of replaying at once in the background: a request waits no longer than that
KEPT_ANSWERS = 64 << 20  # bytes of responses that are kept to repeat them for the same request


class Refusal(Exception):
    """No key is released; `reason` is a code of contracts/reasons.json."""

    def __init__(self, reason: int) -> None:
        super().__init__(f"reason {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """One requested object, with the wrapped shares of its header: (j, wrapped)."""

    record: bytes
    version: int
    shares: tuple[tuple[int, bytes], ...]


def create(folder: Path) -> str:
    """Make a broker's keys (once) and return its address; possible before a ledger exists."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "wallet").exists():
        create_private(folder / "exchange", new_pair()[0].private_bytes_raw())
        create_private(folder / "wallet", secrets.token_bytes(32))
    provider = FileKeyProvider(folder / "provider")
    if not (folder / "noise").exists():
        create_private(folder / "noise", provider.seal(secrets.token_bytes(32), NOISE_ROOT))
    return address_of(read_private(folder / "wallet", 32))


def read_noise_root(folder: Path) -> bytes:
    """The secret (32 bytes) that the noise keys of all datasets are derived from."""
    provider = FileKeyProvider(folder / "provider")
    return provider.open((folder / "noise").read_bytes(), NOISE_ROOT)


def endorse(folder: Path, identity: dict[str, Any]) -> bytes:
    """The broker's signature over the identity of the ledger that it will serve."""
    key = read_private(folder / "wallet", 32)
    return sign(key, domain_of(identity), "Identity", {"id": identity_id(identity)})


class Broker:
    """One broker; every public method serves one endpoint and is safe for threads."""

    def __init__(
        self, folder: Path, node_url: str, identity: dict[str, Any], clock: Callable[[], int]
    ) -> None:
        self.address = create(folder)
        self._folder = folder
        self._clock = clock
        self._wallet = read_private(folder / "wallet", 32)
        self._exchange, self.exchange_key = load_pair(read_private(folder / "exchange", 32))
        self._provider = FileKeyProvider(folder / "provider")
        self._noise_root = read_noise_root(folder)
        self._domain = domain_of(identity)
        self._node = Node(node_url, identity, clock, folder / "seen.json")
        self._me = bytes.fromhex(self.address[2:])
        self._journal = Journal(folder / "journal.jsonl", self._statement)
        self._leaves = LeafLists(folder / "leaves")
        self._answered: dict[bytes, dict[str, Any]] = {}  # oldest first
        self._answered_bytes = 0
        self._lock = threading.RLock()
        # Set while more of the ledger is to be replayed than one request replays.
        self.behind = threading.Event()
        self.behind.set()

    # -- endpoints that release no plaintext of a key

    def identity(self) -> dict[str, Any]:
        """Who this broker is and the key to send shares to, signed."""
        digest = sha256(
            canonical(b"volens/broker/1", self._node.identity_id, self._me, self.exchange_key)
        ).digest()
        return {
            "broker": self.address,
            "exchangeKey": self.exchange_key.hex(),
            "ledger": self._node.identity_id.hex(),
            "signature": self._statement(digest).hex(),
        }

    def health(self) -> dict[str, Any]:
        """The broker's status: how many of the node's blocks it has replayed."""
        progress = self._node.progress
        return {
            "ok": True,
            "broker": self.address,
            "catchingUp": not progress.newest or not progress.complete,
            "block": max(0, progress.block),
            "newest": progress.newest,
        }

    def catch_up(self) -> bool:
        """Replay the next part of the ledger, and return whether that worked; clears `behind` at
        its end.

        Never raises: the next request gets the refusal.
        """
        with self._lock:
            try:
                self._follow(SLICE_SECONDS)
            except Refusal as refusal:
                return refusal.reason == Reason.CATCHING_UP
            self.behind.clear()
        return True

    def journal_head(self) -> dict[str, Any]:
        """The number of journal lines and the hash of the last line, signed."""
        with self._lock:
            digest = sha256(
                canonical(
                    b"volens/journal/1",
                    self._node.identity_id,
                    self._me,
                    self._journal.count,
                    self._journal.head,
                )
            ).digest()
            return {
                "count": self._journal.count,
                "head": self._journal.head.hex(),
                "signature": self._statement(digest).hex(),
            }

    def witness(self) -> dict[str, Any]:
        """The trail's head as this broker sees it, signed; never lower than before, and never a
        different one.
        """
        with self._lock:
            head = self._follow()
            self._node.save_head(head)
            message = {
                "identity": self._node.identity_id,
                "block": head.block.number,
                "blockHash": head.block.hash,
                "time": head.block.timestamp,
                "count": head.count,
                "head": head.value,
            }
            signature = sign(self._wallet, self._domain, "Witness", message)
        return {
            "broker": self.address,
            "block": head.block.number,
            "blockHash": head.block.hash.hex(),
            "time": head.block.timestamp,
            "count": head.count,
            "head": head.value.hex(),
            "signature": signature.hex(),
        }

    def wrap(self, request: object) -> dict[str, Any]:
        """Wrap key shares under the owner's seed, and return them in the same order.

        Anybody may ask: it gives back what was sent, encrypted. The owner is an enrolled subject,
        or a run with an authorised attempt (its output).
        """
        message = raw(part(request, "sealed"))
        items = decode_wrap_request(
            open_message(self._exchange, wrap_info(self._node.identity_id, self._me), message)
        )
        with self._lock:
            if not all(self._owned(item) for item in items):
                self._follow()  # the owner may be new; a known owner needs no newer head
            seeds: dict[bytes, bytes] = {}
            wrapped = [self._wrap(item, seeds) for item in items]
        statement = canonical(
            b"volens/wrapped/1", self._node.identity_id, sha256(message).digest(), *wrapped
        )
        digest = sha256(statement).digest()
        return {
            "broker": self.address,
            "wrapped": [share.hex() for share in wrapped],
            "signature": self._statement(digest).hex(),
        }

    def records(self, request: object) -> dict[str, Any]:
        """Keep the leaf list of a mined ingest, checked against its root."""
        ingest = raw(part(request, "ingest"), 32)
        with self._lock:
            self._follow()
            mined = self._node.replayed.ingests.get(ingest)
            if mined is None:
                raise Refusal(Reason.NOT_REGISTERED)
            count = self._leaves.add(ingest, mined, part(request, "leaves", list))
        return {"ingest": ingest.hex(), "count": count}

    # -- endpoints that release keys

    def pieces(self, request: object) -> dict[str, Any]:
        """Pieces of object keys for the worker of an authorised attempt."""
        run, attempt = raw(part(request, "run"), 32), number(part(request, "attempt"))
        tx = raw(part(request, "tx"), 32)
        worker_key = raw(part(request, "workerKey"), 32)
        wanted = [_wanted(item) for item in part(request, "records", list)]
        if not wanted or len({item.record for item in wanted}) != len(wanted):
            raise Malformed("records are missing or named twice")

        def check() -> tuple[Head, Attempt, dict[bytes, Leaf]]:
            head = self._follow()
            receipt = self._attempt_of(run, attempt, tx)
            self._check_attempt(
                self._node.replayed.runs[run], receipt, head, run, attempt, worker_key
            )
            self._check_asker(request, receipt.worker, Reason.OTHER_WORKER)
            return head, receipt, self._check_records(run, receipt, head, wanted)

        with self._lock:
            _, receipt, leaves = check()
            owners = [(item, leaves[item.record].subject) for item in wanted]
            commitments = {record: leaf.key_commitment for record, leaf in leaves.items()}
            return self._release_pieces(
                "pieces",
                run,
                attempt,
                tx,
                worker_key,
                owners,
                receipt,
                commitments,
                lambda: check()[0],
            )

    def output_pieces(self, request: object) -> dict[str, Any]:
        """Pieces of an output's key: for the viewer key of a mined review, or the run's result key
        after the release.
        """
        run, attempt = raw(part(request, "run"), 32), number(part(request, "attempt"))
        viewer = (
            raw(part(request, "viewer"), 20)
            if isinstance(request, dict) and "viewer" in request
            else None
        )
        wanted = [_wanted(item) for item in part(request, "records", list)]
        if [(item.record, item.version) for item in wanted] != [(run, attempt)]:
            raise Malformed("an output's record is its run and attempt")

        def check() -> tuple[Head, Attempt, bytes]:
            head = self._follow()
            receipt = self._attempt_of(run, attempt, None)
            stored = self._node.replayed.runs[run]
            key = (
                self._viewer_key(stored, receipt, head, viewer, attempt)
                if viewer
                else self._result_key(stored, attempt, head)
            )
            self._check_asker(
                request, viewer or stored.analyst, Reason.NO_LOOK if viewer else Reason.NOT_RELEASED
            )
            return head, receipt, key

        with self._lock:
            _, receipt, key = check()
            commitments = {run: bytes(receipt.seal["keyCommitment"])}
            return self._release_pieces(
                "look" if viewer else "result",
                run,
                attempt,
                receipt.tx,
                key,
                [(wanted[0], run)],
                receipt,
                commitments,
                lambda: check()[0],
            )

    # -- checks

    def _follow(self, seconds: float | None = None) -> Head:
        try:
            return self._node.follow(FOLLOW_SECONDS if seconds is None else seconds)
        except CatchingUp:
            self.behind.set()
            raise Refusal(Reason.CATCHING_UP) from None
        except NodeDown:
            raise Refusal(Reason.LEDGER_DOWN) from None
        except OtherLedger:
            raise Refusal(Reason.IDENTITY) from None
        except LedgerBehind:
            raise Refusal(Reason.LEDGER_BEHIND) from None

    def _attempt_of(self, run: bytes, attempt: int, tx: bytes | None) -> Attempt:
        attempts = self._node.replayed.attempts
        receipt = attempts.get((run, attempt))
        if receipt is not None and tx in (None, receipt.tx):
            return receipt
        run_of_tx = next(
            (name for (name, _), mined in attempts.items() if tx is not None and mined.tx == tx),
            None,
        )
        other = run_of_tx is not None and run_of_tx != run
        raise Refusal(Reason.OTHER_RUN if other else Reason.RECEIPT_UNKNOWN)

    def _check_attempt(
        self, run: Run, receipt: Attempt, head: Head, name: bytes, attempt: int, worker_key: bytes
    ) -> None:
        replayed, now = self._node.replayed, self._now(head)
        if run.ended == "cancelled":
            raise Refusal(Reason.CANCELLED)
        if attempt != replayed.newest_attempt(name):
            raise Refusal(Reason.OLDER_ATTEMPT)
        if worker_key != receipt.binding["workerKey"]:
            raise Refusal(Reason.OTHER_WORKER)
        if now > receipt.lease_until or receipt.seal_hash or run.ended:
            raise Refusal(Reason.LEASE_OVER)
        self._check_permit(run)
        self._check_expiry(run, now)
        if run.is_care:
            self._check_plan(run, receipt, now)
        elif not replayed.member_live(run.analyst, Role.ANALYST, now):
            raise Refusal(Reason.ANALYST_ROLE)
        if not replayed.member_live(receipt.worker, Role.WORKER, now):
            raise Refusal(Reason.WORKER_ROLE)

    def _check_plan(self, run: Run, receipt: Attempt, now: int) -> None:
        """The clinician's role, her consent as it was, and the appointment."""
        if reason := self._node.replayed.plan_ended(run, receipt, now):
            raise Refusal(reason)

    def _check_permit(self, run: Run) -> None:
        """A suspended permit releases no key any more, not even for outputs computed before."""
        status = self._node.replayed.permits[run.request["permit"]].status
        if status == PermitStatus.SUSPENDED:
            raise Refusal(Reason.PERMIT_SUSPENDED)
        if status != PermitStatus.APPROVED:
            raise Refusal(Reason.PERMIT_REJECTED)

    def _check_expiry(self, run: Run, now: int) -> None:
        if now >= self._node.replayed.permits[run.request["permit"]].request["expiry"]:
            raise Refusal(Reason.PERMIT_EXPIRED)

    def _now(self, head: Head) -> int:
        """Seconds: a ledger without calls may have no new block, so the broker's clock counts as
        well.
        """
        return max(head.block.timestamp, self._clock())

    def _check_asker(self, request: object, asker: bytes, reason: int) -> None:
        """The request must be signed by the account of the receipt: others get no response and no
        journal line.
        """
        signature = raw(part(request, "signature"))
        try:
            signer = recover(
                self._domain, "Statement", {"digest": question_digest(request)}, signature
            )
        except SignatureMalformed:
            raise Refusal(reason) from None
        if bytes.fromhex(signer[2:]) != asker:
            raise Refusal(reason)

    def _check_records(
        self, run: bytes, receipt: Attempt, head: Head, wanted: list[Wanted]
    ) -> dict[bytes, Leaf]:
        """The leaf of each record that this attempt may read; the work is linear in records and
        people.
        """
        replayed = self._node.replayed
        request = replayed.permits[replayed.runs[run].request["permit"]].request
        # While a list is missing, a newer version may exist.
        unknown = self._leaves.lacks(request["dataset"], replayed.ingests)
        epochs = {subject: epoch for subject, epoch, _ in receipt.granted}
        willing: dict[bytes, bool] = {}
        leaves = {}
        for item in wanted:
            leaf = self._leaves.find(
                request["dataset"], item.record, item.version, replayed.ingests
            )
            if leaf is None:
                raise Refusal(Reason.NOT_REGISTERED)
            newest = self._leaves.latest(request["dataset"], item.record, replayed.ingests)
            if unknown or item.version != newest:
                raise Refusal(Reason.OLDER_VERSION)
            subject = leaf.subject
            if subject not in epochs:
                raise Refusal(Reason.NOT_GRANTED)
            if subject not in willing:
                willing[subject] = self._still_willing(subject, epochs[subject], request, head)
            if not willing[subject]:
                raise Refusal(Reason.CONSENT_CHANGED)
            if not self._categories(run, subject) >> leaf.category & 1:
                raise Refusal(Reason.BROKERS_CATEGORY)
            leaves[item.record] = leaf
        return leaves

    def _categories(self, run: bytes, subject: bytes) -> int:
        """What a run may read of a person: for research she has allowed all that the permit asks
        for; of a plan she may leave out some.
        """
        replayed = self._node.replayed
        request = replayed.permits[replayed.runs[run].request["permit"]].request
        categories = int(request["categories"])
        if replayed.runs[run].is_care:
            categories &= replayed.consent(request["dataset"], subject).categories
        return categories

    def _still_willing(
        self, subject: bytes, epoch: int, request: Mapping[str, Any], head: Head
    ) -> bool:
        replayed, dataset, today = self._node.replayed, request["dataset"], self._now(head) // DAY
        same_epoch = replayed.consent(dataset, subject).epoch == epoch
        if request["purposeNeed"] == CARE:
            categories = request["categories"]
            return same_epoch and not replayed.care_denied(dataset, subject, categories, today)
        return same_epoch and replayed.consent_live(
            dataset, subject, request["purposeNeed"], request["categories"], today
        )

    def _viewer_key(
        self, run: Run, receipt: Attempt, head: Head, viewer: bytes, attempt: int
    ) -> bytes:
        """The checker's key, while the output could be released: permit and analyst live, all
        consents unchanged.
        """
        if run.is_care:
            return self._plan_key(run, receipt, head, viewer, attempt)
        replayed, now = self._node.replayed, self._now(head)
        viewed = viewer in receipt.views and replayed.member_live(viewer, Role.CHECKER, now)
        if run.ended or not viewed:
            raise Refusal(Reason.NO_LOOK)
        if attempt != run.attempts:
            raise Refusal(Reason.OLDER_ATTEMPT)
        self._check_permit(run)
        self._check_expiry(run, now)
        if not replayed.member_live(run.analyst, Role.ANALYST, now):
            raise Refusal(Reason.ANALYST_ROLE)
        request = replayed.permits[run.request["permit"]].request
        if not all(
            self._still_willing(subject, epoch, request, head)
            for subject, epoch, _ in receipt.granted
        ):
            raise Refusal(Reason.CONSENT_CHANGED)
        return receipt.views[viewer]

    def _plan_key(
        self, run: Run, receipt: Attempt, head: Head, viewer: bytes, attempt: int
    ) -> bytes:
        """The key of the clinician, while she is willing and he is hers; or the patient's own,
        after the countersignature and while she is willing.
        """
        if viewer not in receipt.views or run.ended == "cancelled":
            raise Refusal(Reason.NO_LOOK)
        if attempt != run.attempts:
            raise Refusal(Reason.OLDER_ATTEMPT)
        self._check_permit(run)
        now = self._now(head)
        if viewer == run.analyst:
            self._check_plan(run, receipt, now)
        else:
            request = self._node.replayed.permits[run.request["permit"]].request
            subject, epoch, _ = receipt.granted[0]
            if not self._still_willing(subject, epoch, request, head):
                raise Refusal(Reason.CONSENT_CHANGED)
        return receipt.views[viewer]

    def _result_key(self, run: Run, attempt: int, head: Head) -> bytes:
        """The analyst's key, after the release, while she holds her role and her permit is not
        suspended.
        """
        if run.is_care or run.ended != "released" or attempt != run.attempts:
            raise Refusal(Reason.NOT_RELEASED)
        self._check_permit(run)
        if not self._node.replayed.member_live(run.analyst, Role.ANALYST, self._now(head)):
            raise Refusal(Reason.ANALYST_ROLE)
        return bytes(run.request["resultKey"])

    # -- release of pieces

    def _release_pieces(
        self,
        kind: str,
        run: bytes,
        attempt: int,
        tx: bytes,
        key: bytes,
        owners: list[tuple[Wanted, bytes]],
        receipt: Attempt,
        commitments: Mapping[bytes, bytes],
        check: Callable[[], Head],
    ) -> dict[str, Any]:
        """Unwrap, check again, write the journal and return the response.

        check: repeats all checks at the newest head, because unwrapping takes time. A request that
        was answered before passed them just now, and returns its response without that.
        """
        records = sorted((item.record, item.version) for item, _ in owners)
        question = _name_of_question(kind, run, attempt, tx, key, [item for item, _ in owners])
        # The same request of the same worker gets the same response, without a second journal line.
        if question in self._answered:
            return self._answered[question]
        message = self._message(kind, run, owners, commitments)
        head = check()
        info = pieces_info(
            identity=self._node.identity_id,
            run=run,
            attempt=attempt,
            tx=tx,
            block_hash=head.block.hash,
            broker=self._me,
            worker_key=key,
            records=[record for record, _ in records],
            lease_end=receipt.lease_until,
        )
        sealed = seal_message(key, info, message)
        subjects = sorted({owner.hex() for _, owner in owners}) if kind == "pieces" else []
        self._node.save_head(head)
        self._journal.append(
            {
                "kind": kind,
                "run": run.hex(),
                "attempt": attempt,
                "tx": tx.hex(),
                "key": key.hex(),
                "block": head.block.number,
                "head": head.value.hex(),
                "subjects": subjects,
                "records": [[r.hex(), v] for r, v in records],
            }
        )
        digest = sha256(canonical(b"volens/answer/1", info, sha256(sealed).digest())).digest()
        answer = {
            "broker": self.address,
            "sealed": sealed.hex(),
            "block": head.block.number,
            "blockHash": head.block.hash.hex(),
            "leaseUntil": receipt.lease_until,
            "signature": self._statement(digest).hex(),
        }
        self._keep(question, answer)
        return answer

    def _message(
        self,
        kind: str,
        run: bytes,
        owners: list[tuple[Wanted, bytes]],
        commitments: Mapping[bytes, bytes],
    ) -> bytes:
        """The unwrapped pieces, before they are sealed. Raises Refusal as `_unwrap`."""
        request = self._node.replayed.runs[run].request
        dataset = self._node.replayed.permits[request["permit"]].request["dataset"]
        seeds: dict[bytes, bytes] = {}
        pieces = [
            piece
            for item, owner in owners
            for piece in self._unwrap(item, owner, dataset, commitments[item.record], seeds)
        ]
        message = encode_pieces(self._me, pieces)
        if kind != "pieces":
            return message
        # Only who computes on the data gets the key of the noise: whoever reads an output could
        # take the noise away with it.
        return encode_run_keys(noise_key(self._noise_root, dataset), message)

    def _keep(self, question: bytes, answer: dict[str, Any]) -> None:
        """Keep a response for a repeated request; the oldest are dropped first, so that memory is
        bounded.
        """
        self._answered[question] = answer
        self._answered_bytes += len(answer["sealed"])
        while self._answered_bytes > KEPT_ANSWERS and len(self._answered) > 1:
            oldest = self._answered.pop(next(iter(self._answered)))
            self._answered_bytes -= len(oldest["sealed"])

    def _unwrap(
        self,
        item: Wanted,
        owner: bytes,
        dataset: bytes,
        commitment: bytes,
        seeds: dict[bytes, bytes],
    ) -> list[Piece]:
        """The shares of the key that the ledger commits to. Raises Refusal for shares of any other
        key.

        seeds: the seeds that this request has needed so far, by owner.
        """
        if owner not in seeds:
            seeds[owner] = self._seed(owner, new=False)
        seed = seeds[owner]
        pieces = []
        for j, wrapped in item.shares:
            context = wrap_context(
                identity=self._node.identity_id,
                broker=self._me,
                subject=owner,
                dataset=dataset,
                record=item.record,
                version=item.version,
                j=j,
            )
            try:
                share = unwrap_share(seed, context, wrapped)
            except GovernanceError:
                # It was wrapped for another record, version, run or attempt.
                raise Refusal(Reason.NOT_REGISTERED) from None
            pieces.append(Piece(item.record, item.version, j, share))
        in_order = [piece.share for piece in sorted(pieces, key=lambda piece: piece.j)]
        if key_commitment(join_shares(in_order)) != commitment:
            raise Refusal(Reason.NOT_REGISTERED)
        return pieces

    def _owned(self, item: WrapItem) -> bool:
        """Whether the share's owner is an enrolled subject, or an authorised attempt with its
        output.
        """
        is_output = (
            item.subject == item.record
            and (item.record, item.version) in self._node.replayed.attempts
        )
        return item.subject in self._node.replayed.signers or is_output

    def _wrap(self, item: WrapItem, seeds: dict[bytes, bytes]) -> bytes:
        """Wrap one share. seeds: the seeds that this request has needed so far, by owner."""
        if not self._owned(item):
            raise Refusal(Reason.NOT_ENROLLED)
        if item.subject not in seeds:
            seeds[item.subject] = self._seed(item.subject, new=True)
        context = wrap_context(
            identity=self._node.identity_id,
            broker=self._me,
            subject=item.subject,
            dataset=item.dataset,
            record=item.record,
            version=item.version,
            j=item.j,
        )
        return wrap_share(seeds[item.subject], context, item.share)

    def _seed(self, owner: bytes, new: bool) -> bytes:
        """The owner's seed, drawn at the first wrap. Destroying the file is erasure."""
        path = self._folder / "seeds" / owner.hex()
        purpose = canonical(b"volens/seed/1", owner)
        if path.exists():
            return self._provider.open(path.read_bytes(), purpose)
        if not new:
            raise Refusal(Reason.NOT_REGISTERED)
        seed = secrets.token_bytes(32)
        create_private(path, self._provider.seal(seed, purpose))
        return seed

    def _statement(self, digest: bytes) -> bytes:
        return sign(self._wallet, self._domain, "Statement", {"digest": digest})


def _wanted(item: object) -> Wanted:
    shares = tuple(
        (number(part(share, "j")), raw(part(share, "wrapped")))
        for share in part(item, "shares", list)
    )
    if sorted(j for j, _ in shares) != list(range(SHARES)):
        raise Malformed("a record's request needs each of its shares once")
    return Wanted(raw(part(item, "record"), 32), number(part(item, "version")), shares)


def _name_of_question(
    kind: str, run: bytes, attempt: int, tx: bytes, key: bytes, items: Iterable[Wanted]
) -> bytes:
    """32 bytes that two requests have in common only if they ask for the same shares for the same
    key.
    """
    shares = [
        part for item in items for j, wrapped in item.shares for part in (item.record, j, wrapped)
    ]
    return sha256(canonical(b"volens/again/1", kind, run, attempt, tx, key, *shares)).digest()
