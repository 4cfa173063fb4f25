"""One attempt at a run: authorise it, pass ciphertext to the child, watch it, seal the output.

1. The child starts first; it states its key and its code hash.
2. `authorise` gets all candidates: check and record are one transaction, and its receipt is the
   credential.
3. Only then are objects fetched and key shares requested from the broker.
4. From then on the ledger is checked regularly; a person who is no longer willing ends the attempt.
5. The sealed output is put in the bucket; the ledger is checked once more; then the seal is signed
   and recorded.

Each step that others can see is taken only while this worker still holds the claim on the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import structlog

from analytics.code import params_schema_hash
from analytics.errors import ParamsError
from analytics.params import find_late_models, parse_params
from analytics.study import check_study
from api.worker.child_messages import (
    BEGINS,
    UNKNOWN,
    Phases,
    Progress,
    UnknownWords,
    failure_of,
    output_of,
)
from api.worker.context import Context
from api.worker.prior_results import list_earlier
from api.worker.sandbox import AttemptEnded, Child
from chain.errors import Refused
from chain.events import AccessGranted, Receipt, RunAuthorised, RunRefused
from chain.ledger import message_tuple
from chain.vocabulary import Role
from governance.documents import Documents
from governance.errors import (
    BrokerRefused,
    BrokerUnavailable,
    BucketUnavailable,
    ObjectAltered,
    ObjectMalformed,
    ObjectMissing,
)
from governance.objects.envelope import read_header
from governance.objects.leaves import Leaf
from governance.objects.vault import GENE_SETS
from governance.permits import missing
from governance.readmodel.tables import Claim
from governance.rules.ledger_data import identity_id
from governance.rules.state import most_attempts
from governance.rules.vocabulary import DAY, MAX_ATTEMPTS
from governance.rules.withdrawals import WORKER_REASONS
from governance.runs import keep_record, mark, still_held, tell
from governance.supplements import names_gene_sets

T = TypeVar("T")
REQUESTED_LEASE = 3600  # seconds asked for
FOLLOW = 0.5  # seconds between two checks of the ledger while a child computes
MAX_SUBJECTS = 1000
AT_ONCE = 3  # attempts that follow each other without a pause, whatever ended them
FIRST_REST, LONGEST_REST = 15, 600  # seconds
# Refusals of a seal by the contract that no further attempt would change.
WORKER_FAULT = "this worker's role or code is not what the permit allows"
FINAL_REFUSALS = {
    "OutputClassRefused": "the permit does not allow an output of this class",
    "BudgetSpent": "the dataset's budget of per-variant statistics is too small for this output",
}
log = structlog.get_logger()


class RunFailed(Exception):
    """The run cannot be computed; another attempt would end the same way."""


@dataclass(frozen=True, slots=True)
class Authorisation:
    """What `authorise` recorded: the granted people with their epochs, and where."""

    tx: bytes
    epochs: dict[bytes, int]
    lease_until: int


def rest_before(number: int) -> int:
    """Seconds to wait before an attempt, after a withdrawal ended the previous one.

    A person who consents and withdraws repeatedly would use up a run's attempts within seconds. The
    first few attempts follow at once.
    """
    later = (number - 1) % MAX_ATTEMPTS - AT_ONCE
    return 0 if later < 0 else int(min(FIRST_REST << later, LONGEST_REST))


@dataclass(slots=True)
class Attempt:
    """The next attempt at a claimed run; `seconds` is how long each phase outside the child took."""

    worker: Context
    claim: Claim
    run: bytes = field(init=False)
    number: int = field(init=False)
    permit: Mapping[str, Any] = field(init=False)
    seconds: dict[str, float] = field(default_factory=dict)
    authorised: bool = False
    # Earlier results, with which the child compares its cohort.
    earlier: list[dict[str, Any]] = field(default_factory=list)
    # The file of gene sets that the parameters name.
    gene_sets: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        replayed = self.worker.projection.replayed
        self.run = bytes.fromhex(self.claim.run)
        self.number = replayed.newest_attempt(self.run) + 1
        self.permit = replayed.permits[replayed.runs[self.run].request["permit"]].request

    @property
    def is_care(self) -> bool:
        """Whether it draws a patient's plan, on a ledger of its own."""
        return self.worker.projection.replayed.runs[self.run].is_care

    def carry_out(self) -> None:
        """Carry out the attempt up to its sealed output.

        Raises AttemptEnded, RunFailed, ChainError, GovernanceError.
        """
        worker, params = self.worker, self.worker.projection.params[self.run]
        self._check_parts()
        child = worker.children.child(find_late_models(params))
        try:
            child.say({"params": params})
            ready, _ = child.hear()
            # No data has been opened yet.
            if ready["say"] == "failed":
                raise RunFailed(str(ready["message"]))
            self._check_study(bytes.fromhex(ready["paramsSchema"]), params)
            self.gene_sets = self._find_gene_sets(params)
            if lacks := missing(
                self.permit["categories"],
                self.permit["outputClasses"],
                ready["categories"],
                ready["outputClass"],
            ):
                raise RunFailed(f"the permit does not allow what these parameters need: {lacks}")
            self._tell("asking the ledger", 0.0)
            with self._phase("consent"):
                receipt = self._authorise(ready, int(child.relaxed))
            if receipt is None:
                return
            self._tell("fetching", 0.0)
            self._hand_over(child, receipt, bytes.fromhex(ready["workerKey"]), params)
            try:
                done, blob = self._follow(child, receipt, params, ready["outputClass"])
            except UnknownWords:
                raise RunFailed(UNKNOWN) from None
            child.end()  # plaintext does not wait for the bucket and the ledger
            if not still_held(worker.engine, self.claim):
                raise AttemptEnded("another worker took the run")
            with self._phase("upload"):
                worker.bucket.put(blob)
                self._check_may_continue(receipt)
                self._seal(done)
            self._keep_record(done["record"])
            self._tell("sealed", 1.0)
        except BaseException as error:
            child.end()
            self._note_end(error)
            raise
        finally:
            child.end()

    def _check_study(self, computed_by: bytes, params: str) -> None:
        """Check that the parameters are of the permit's schema, and ask about its study.

        computed_by: the hash of the schema that the child read, whose files may be newer than ours.
        Raises RunFailed, and BucketUnavailable where the plan cannot be looked up.
        """
        schema, digest = self.permit["paramsSchemaHash"], self.permit["documentHash"].hex()
        if computed_by != params_schema_hash():
            raise RunFailed("the parameters' schema is not the one that this worker began with")
        plan = None
        try:
            if schema != params_schema_hash():
                plan = Documents(self.worker.bucket).find(digest)
            check_study(schema, None if plan is None else plan.text, params)
        except ParamsError as problem:
            raise RunFailed(str(problem)) from None

    def _find_gene_sets(self, params: str) -> list[bytes]:
        """The file of gene sets that the parameters name, if they need one. Raises RunFailed for
        one that is not the dataset's, and BucketUnavailable. The child compares its hash.
        """
        digest = parse_params(params.encode()).gene_sets
        if not digest:
            return []
        if not names_gene_sets(self.worker.engine, self.permit["dataset"].hex(), digest):
            raise RunFailed("the gene sets that the parameters name are not the dataset's")
        file = self.worker.bucket.find_text(GENE_SETS, bytes.fromhex(digest))
        if file is None:
            raise RunFailed("the file of gene sets is not in the bucket; its custodian can send it")
        return [file]

    def _note_end(self, error: BaseException) -> None:
        """Record that the child is dead: a patient who withdrew sees how long that took."""
        # Before, no data was open, and another attempt may still get the number.
        if self.authorised:
            mark(self.worker.engine, f"stopped:{self.claim.run}:{self.number}", str(error))
        self._tell("stopped", 0.0)

    def _check_parts(self) -> None:
        """Check that the data can be read before anything is put on the ledger.

        Raises GovernanceError.
        """
        worker, dataset = self.worker, self.permit["dataset"]
        if worker.projection.unread(dataset):
            raise AttemptEnded(
                "a list of the dataset's records cannot be read from the bucket", pause=10
            )
        worker.bucket.probe()
        worker.broker.witness()
        for ingest, leaves in worker.projection.lists_of(dataset).items():
            # Repairs a custodian's crash between mining and handing over.
            if ingest not in worker.handed:
                worker.broker.hand_over(ingest, [leaf.to_json() for leaf in leaves])
                worker.handed.add(ingest)

    def _authorise(self, ready: dict[str, Any], relaxed: int) -> Authorisation | None:
        """The receipt, or None when the ledger refused the run (its reason is on the trail).

        relaxed: the layers of confinement that the child lacks, as inspected from outside.
        """
        ledger = self.worker.ledger
        binding = {
            "run": self.run,
            "attempt": self.number,
            "workerKey": bytes.fromhex(ready["workerKey"]),
            "codeHash": bytes.fromhex(ready["codeHash"]),
            "leaseSeconds": REQUESTED_LEASE,
            "relaxed": relaxed,
            "deadline": ledger.now() + 300,
        }
        try:
            mined = self._ask_ledger(binding)
        except Refused as refusal:
            used = self.worker.projection.replayed.runs[self.run]
            if refusal.name == "AttemptOutOfOrder" and self.number > most_attempts(used):
                raise RunFailed(
                    f"the run used its {most_attempts(used)} attempts; its analyst can grant more"
                ) from None
            if refusal.name == "NotLive":
                raise RunFailed(WORKER_FAULT) from None
            raise AttemptEnded(f"the contract refused: {refusal.name}") from None
        finally:
            self.worker.projection.sync()
        if mined.all(RunRefused):
            reason = mined.one(RunRefused).reason
            log.info("run refused", run=self.run.hex()[:8], reason=reason)
            if reason in WORKER_REASONS:
                raise RunFailed(WORKER_FAULT)
            return None
        self.authorised = True
        epochs = {event.subject: event.epoch for event in mined.all(AccessGranted)}
        return Authorisation(mined.tx, epochs, mined.one(RunAuthorised).leaseUntil)

    def _ask_ledger(self, binding: dict[str, Any]) -> Receipt:
        """Check and record in one transaction: all candidates of research, or the patient of a
        plan, whom its request names. Raises Refused.
        """
        ledger, sign = self.worker.ledger, self.worker.wallet.sign
        if self.is_care:
            signature = sign(ledger.domain, "PlanBinding", binding)
            named = message_tuple("PlanBinding", binding)
            return ledger.relay("CareLedger", "authorisePlan", named, signature)
        subjects = self._candidates()
        binding |= {"subjectsHash": sha256(b"".join(subjects)).digest()}
        signature = sign(ledger.domain, "WorkerBinding", binding)
        named = message_tuple("WorkerBinding", binding)
        return ledger.relay("AccessLedger", "authorise", named, signature, subjects)

    def _candidates(self) -> list[bytes]:
        """All enrolled people with a registered record; the cohort is known only after decryption."""
        projection = self.worker.projection
        known = {leaf.subject for leaf in projection.records_of(self.permit["dataset"])}
        subjects = sorted(known & projection.replayed.signers.keys())
        if len(subjects) > MAX_SUBJECTS:
            raise RunFailed("the dataset has more people than one transaction can record")
        return subjects

    def _hand_over(
        self, child: Child, receipt: Authorisation, worker_key: bytes, params: str
    ) -> None:
        """Fetch the ciphertext of every granted person's records, ask the broker, and pass both on."""
        worker = self.worker
        if not worker.projection.replayed.member_live(
            worker.broker.address, Role.BROKER, worker.ledger.now()
        ):
            raise AttemptEnded("the key broker does not hold its role", pause=10)
        wanted = [
            leaf
            for leaf in worker.projection.records_of(self.permit["dataset"])
            if leaf.subject in receipt.epochs and self._readable(leaf.subject) >> leaf.category & 1
        ]
        if not wanted:
            raise RunFailed("nobody who agreed has a record of the permitted categories")
        try:
            with self._phase("fetch"):
                blobs = self._while_willing(receipt, lambda: self._fetch(wanted))
            with self._phase("keys"):
                headers = [read_header(blob) for blob in blobs]
                answer = self._while_willing(
                    receipt,
                    lambda: worker.broker.pieces(
                        self.run, self.number, receipt.tx, worker_key, headers, worker.wallet
                    ),
                )
        except BrokerRefused as refusal:
            raise AttemptEnded(f"the broker refused: {refusal.reason.slug}", pause=5) from None
        except (ObjectMissing, ObjectAltered, ObjectMalformed) as lost:
            raise RunFailed(f"an object of the dataset cannot be read: {lost}") from None
        except (BucketUnavailable, BrokerUnavailable) as away:
            raise AttemptEnded(str(away), pause=30) from None
        self.earlier = list_earlier(worker.projection, self.run)
        job = {
            "identity": identity_id(worker.ledger.identity).hex(),
            "run": self.run.hex(),
            "attempt": self.number,
            "dataset": self.permit["dataset"].hex(),
            "params": params,
            "device": worker.device,
            "minimum": self.permit["minCohort"],
            **self._plan_inputs(receipt),
            "broker": answer.broker.hex(),
            "exchangeKey": worker.broker.exchange_key.hex(),
            "info": answer.info.hex(),
            "earlier": self.earlier,
            "records": [
                {
                    "record": leaf.record.hex(),
                    "subject": leaf.subject.hex(),
                    "category": leaf.category,
                    "version": leaf.version,
                    "ciphertext": leaf.ciphertext.hex(),
                }
                for leaf in wanted
            ],
        }
        child.say(job, answer.sealed, *blobs, *self.gene_sets, watch=self._follower(receipt))

    def _fetch(self, wanted: list[Leaf]) -> list[bytes]:
        with ThreadPoolExecutor(8) as pool:
            return list(
                pool.map(lambda leaf: self.worker.bucket.get(f"o/{leaf.ciphertext.hex()}"), wanted)
            )

    def _readable(self, subject: bytes) -> int:
        """The categories of a person's records that are read: of a plan those of the permit that
        she allows; of research all of the permit, or she would not have been granted.
        """
        categories = int(self.permit["categories"])
        if self.is_care:
            replayed = self.worker.projection.replayed
            categories &= replayed.consent(self.permit["dataset"], subject).categories
        return categories

    def _plan_inputs(self, receipt: Authorisation) -> dict[str, Any]:
        """What a plan needs besides records: the day of the access, and the categories that she
        allows.
        """
        if not self.is_care:
            return {}
        (subject,) = receipt.epochs
        readable = self._readable(subject)
        return {
            "today": self.worker.ledger.now() // DAY,
            "granted": [category for category in range(32) if readable >> category & 1],
        }

    def _while_willing(self, receipt: Authorisation, work: Callable[[], T]) -> T:
        """The result of `work`; the ledger is checked before, during and after it."""
        self._check_may_continue(receipt)
        pool = ThreadPoolExecutor(1)
        try:
            future = pool.submit(work)
            while not wait([future], FOLLOW).done:
                self._check_may_continue(receipt)
            self._check_may_continue(receipt)
            return future.result()
        finally:
            pool.shutdown(wait=False)  # after an error, do not wait for the result

    def _follow(
        self, child: Child, receipt: Authorisation, params: str, output_class: int
    ) -> tuple[dict[str, Any], bytes]:
        """Listen until the output is sealed; a consent that changes meanwhile ends the attempt."""
        worker, follow = self.worker, self._follower(receipt)
        progress, clock = Progress(params), Phases()
        while True:
            header, blobs = child.hear(follow)
            match header.get("say"), len(blobs):
                case "progress", 0:
                    if new := progress.advance(header):
                        self._tell(*new)
                        if new[0] in BEGINS:
                            clock.enter(BEGINS[new[0]])
                case "wrap", 1:
                    clock.enter(BEGINS["wrap"])
                    shares = self._while_willing(
                        receipt, partial(worker.broker.wrap_sealed, blobs[0], [0, 1, 2])
                    )
                    child.say(
                        {"say": "wrapped"}, *(share.wrapped for share in shares), watch=follow
                    )
                case "done", 1:
                    done = output_of(header, blobs[0], output_class, worker.device)
                    done["record"] |= clock.end(child.pid)
                    return done, blobs[0]
                case "failed", 0:
                    raise RunFailed(failure_of(header))
                case _:
                    raise UnknownWords

    def _follower(self, receipt: Authorisation) -> Callable[[], None]:
        """A function that checks ledger and lease, but at most every FOLLOW seconds."""
        last_check = time.monotonic()

        def follow() -> None:
            nonlocal last_check
            if time.monotonic() - last_check >= FOLLOW:
                self._check_may_continue(receipt)
                last_check = time.monotonic()

        return follow

    def _check_may_continue(self, receipt: Authorisation) -> None:
        projection = self.worker.projection
        projection.sync()
        replayed, dataset = projection.replayed, self.permit["dataset"]
        if replayed.runs[self.run].ended or replayed.newest_attempt(self.run) != self.number:
            raise AttemptEnded("the run ended on the ledger")
        if any(
            replayed.consent(dataset, subject).epoch != epoch
            for subject, epoch in receipt.epochs.items()
        ):
            raise AttemptEnded("a person is no longer willing", pause=rest_before(self.number + 1))
        now = self.worker.ledger.now()
        run, attempt = replayed.runs[self.run], replayed.attempts[self.run, self.number]
        if self.is_care and replayed.plan_ended(run, attempt, now):
            raise AttemptEnded("the appointment, or the permit, has ended", pause=LONGEST_REST)
        if now > receipt.lease_until:
            raise AttemptEnded("the lease is over")

    def _seal(self, done: dict[str, Any]) -> None:
        ledger = self.worker.ledger
        now = list_earlier(self.worker.projection, self.run) if done["statistics"] else []
        if any(result not in self.earlier for result in now):
            raise AttemptEnded(
                "another result of the dataset was sealed meanwhile, "
                "and this one was not compared with it"
            )
        hashes = ("outputCommitment", "ciphertextHash", "keyCommitment", "disclosureCommitment")
        message = {
            "run": self.run,
            "attempt": self.number,
            **{name: bytes.fromhex(done[name]) for name in hashes},
            "outputClass": done["outputClass"],
            "statistics": done["statistics"],
            "deadline": ledger.now() + 300,
        }
        contract, function, kind = (
            ("CareLedger", "sealPlan", "PlanSeal")
            if self.is_care
            else ("AccessLedger", "seal", "Seal")
        )
        signature = self.worker.wallet.sign(ledger.domain, kind, message)
        try:
            ledger.relay(contract, function, message_tuple(kind, message), signature)
        except Refused as refusal:
            if refusal.name in FINAL_REFUSALS:
                raise RunFailed(FINAL_REFUSALS[refusal.name]) from None
            raise AttemptEnded(f"the contract refused the seal: {refusal.name}") from None
        self.worker.projection.sync()

    def _tell(self, step: str, fraction: float) -> None:
        tell(self.worker.engine, self.claim.run, self.number, step, fraction, self.worker.clock())

    def _keep_record(self, record: dict[str, Any]) -> None:
        """The run record: device and memory, and the seconds of every phase."""
        outside = {phase: f"{spent:.4f}" for phase, spent in self.seconds.items()}
        keep_record(
            self.worker.engine,
            self.claim.run,
            self.number,
            record | {"seconds": outside | record["seconds"]},
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
