"""The worker's supervisor: takes runs, gets them authorised, and passes ciphertext to a child it cannot look into.

1. A child is started before anything is asked; it names its key and its code.
2. Every candidate goes to `authorise`: the check and the record are one transaction, and its receipt is the credential.
3. Only then are objects fetched and brokers asked.
4. While the child computes, the ledger is followed: one person who is no longer willing ends the attempt.
5. What the child sealed is put in the bucket, then signed on the ledger.
Each step that others can see is taken only while the claim is still held.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from api.childprocess import AttemptEnded, Child
from api.services import read_identity
from api.settings import Settings
from chain.errors import ChainError, Refused
from chain.events import AccessGranted, RunAuthorised, RunRefused
from chain.ledger import Ledger, message_tuple
from chain.wallets import Wallet, load
from governance.brokers import BrokerClient
from governance.envelope import read_header
from governance.errors import (
    BrokerRefused,
    BrokerUnavailable,
    BucketUnavailable,
    GovernanceError,
    ObjectAltered,
    ObjectMalformed,
    ObjectMissing,
)
from governance.projection import Projection
from governance.runs import Claim, claim, fail, give_up, hold_on, still_held, tell, waiting
from governance.tables import Database, TableOutbox, open_database
from governance.vault import Bucket
from governance.verify import identity_id

LEASE = 3600  # seconds asked for
HOLD = 60  # seconds a claim lasts without a sign of life
FOLLOW = 0.5  # seconds between two looks at the ledger while a child computes
MAX_SUBJECTS = 1000
BROKER = 9  # the role
log = structlog.get_logger()


class RunFailed(Exception):
    """The run cannot be computed; another attempt would end the same way."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `authorise` recorded: the granted people with their epochs, and where."""

    tx: bytes
    epochs: dict[bytes, int]
    lease_until: int


@dataclass(slots=True)
class Worker:
    """One worker identity; `python` runs the child, which computes with the `analytics` package it finds."""

    wallet: Wallet
    ledger: Ledger
    engine: Database
    projection: Projection
    bucket: Bucket
    broker: BrokerClient
    clock: Callable[[], int] = lambda: int(time.time())
    beat: Callable[[], None] = lambda: None  # called every few seconds while the worker lives
    child_folder: Path | None = None  # where the child's packages are, when not this process's own
    isolated: bool = True
    handed: set[bytes] = field(default_factory=set)  # ingests whose list the broker has from us

    def work(self, stop: threading.Event, pause: float = 0.2) -> None:
        """Take runs until told to stop; a part that is down is waited for."""
        while not stop.is_set():
            self.beat()
            try:
                if not self.step():
                    stop.wait(pause)
            except (ChainError, GovernanceError) as error:
                log.warning("waiting", fact=str(error))
                stop.wait(1.0)
            except Exception as error:  # one run's fault must not end the worker; no values in the log
                place = traceback.extract_tb(error.__traceback__)[-1]
                log.error("fault", kind=type(error).__name__, module=Path(place.filename).name, line=place.lineno)
                stop.wait(1.0)

    def step(self) -> bool:
        """Take one run and see it through; False when none waits."""
        self.projection.sync()
        for run in waiting(self.engine, self.clock()):
            held = claim(self.engine, run, self.wallet.address, self.clock(), HOLD)
            if held is not None:
                self.projection.sync()  # whoever wrote the row may have been ahead of our fold
                self._see_through(held)
                return True
        return False

    def _see_through(self, held: Claim) -> None:
        beating = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(held, beating), daemon=True)
        keeper.start()
        try:
            self._attempt(held)
            give_up(self.engine, held)
        except AttemptEnded as ended:
            log.info("attempt ended", run=held.run[:8], why=str(ended))
            run = bytes.fromhex(held.run)
            self._tell(run, self.projection.fold.newest_attempt(run), "stopped", 0.0)
            wait_until = self.clock() + ended.pause
            beating.set()
            keeper.join()
            hold_on(self.engine, held, wait_until)
        except RunFailed as failed:
            log.warning("run failed", run=held.run[:8], why=str(failed))
            fail(self.engine, held, str(failed))
        except (ChainError, GovernanceError, KeyboardInterrupt):
            give_up(self.engine, held)
            raise
        except Exception:
            fail(self.engine, held, "the worker met a fault of its own; its log names the place")
            raise
        finally:
            beating.set()
            keeper.join()

    def _keep(self, held: Claim, done: threading.Event) -> None:
        while not done.wait(HOLD / 12):
            self.beat()
            hold_on(self.engine, held, self.clock() + HOLD)

    # -- one attempt

    def _attempt(self, held: Claim) -> None:
        run = bytes.fromhex(held.run)
        attempt = self.projection.fold.newest_attempt(run) + 1
        permit = self.projection.fold.permits[self.projection.fold.runs[run].request["permit"]].request
        self._check_parts(permit["dataset"])
        child = Child.start(self.child_folder, self.isolated)
        try:
            child.say({"params": self.projection.params[run]})
            ready, _ = child.hear()
            if ready["say"] == "failed":  # before anything is asked: nobody's data was opened for it
                raise RunFailed(str(ready["message"]))
            if bytes.fromhex(ready["paramsSchema"]) != permit["paramsSchemaHash"]:
                raise RunFailed("the permit is for another schema of parameters than this worker's")
            self._tell(run, attempt, "asking the ledger", 0.0)
            receipt = self._authorise(run, attempt, permit["dataset"], ready)
            if receipt is None:
                return
            self._tell(run, attempt, "fetching", 0.0)
            self._hand_over(child, run, attempt, permit, receipt, bytes.fromhex(ready["workerKey"]))
            done, blob = self._follow(child, run, attempt, permit["dataset"], receipt)
            if not still_held(self.engine, held):
                raise AttemptEnded("another worker took the run")
            self.bucket.put(blob)
            self._seal(run, attempt, done)
            self._tell(run, attempt, "sealed", 1.0)
        finally:
            child.end()

    def _check_parts(self, dataset: bytes) -> None:
        """Nothing is put on the ledger that could not be followed by a reading. Raises GovernanceError."""
        if self.projection.unread(dataset):
            raise AttemptEnded("a list of the dataset's records cannot be read from the bucket", pause=10)
        self.bucket.probe()
        self.broker.witness()
        for ingest, leaves in self.projection.lists_of(dataset).items():
            if ingest not in self.handed:  # a custodian's crash between mining and handing over ends here
                self.broker.hand_over(ingest, [leaf.to_json() for leaf in leaves])
                self.handed.add(ingest)

    def _authorise(self, run: bytes, attempt: int, dataset: bytes, ready: dict[str, Any]) -> Receipt | None:
        """The receipt, or None when the ledger refused the run (its reason is on the trail)."""
        subjects = self._candidates(dataset)
        binding = {
            "run": run,
            "attempt": attempt,
            "subjectsHash": sha256(b"".join(subjects)).digest(),
            "workerKey": bytes.fromhex(ready["workerKey"]),
            "codeHash": bytes.fromhex(ready["codeHash"]),
            "leaseSeconds": LEASE,
            "deadline": self.ledger.now() + 300,
        }
        signature = self.wallet.sign(self.ledger.domain, "WorkerBinding", binding)
        try:
            mined = self.ledger.relay(
                "AccessLedger", "authorise", message_tuple("WorkerBinding", binding), signature, subjects
            )
        except Refused as refusal:
            if refusal.name == "AttemptOutOfOrder" and attempt > 16:
                raise RunFailed("the run had its sixteen attempts") from None
            raise AttemptEnded(f"the contract refused: {refusal.name}") from None
        finally:
            self.projection.sync()
        if mined.all(RunRefused):
            reason = mined.one(RunRefused).reason
            log.info("run refused", run=run.hex()[:8], reason=reason)
            if reason in (37, 38):
                raise RunFailed("this worker's role or code is not what the permit allows")
            return None
        epochs = {event.subject: event.epoch for event in mined.all(AccessGranted)}
        return Receipt(mined.tx, epochs, mined.one(RunAuthorised).leaseUntil)

    def _candidates(self, dataset: bytes) -> list[bytes]:
        """Everybody enrolled who has a registered record: who fits is known only after decryption."""
        known = {leaf.subject for leaf in self.projection.records_of(dataset)}
        subjects = sorted(known & self.projection.fold.signers.keys())
        if len(subjects) > MAX_SUBJECTS:
            raise RunFailed("the dataset has more people than one transaction can record")
        return subjects

    def _hand_over(
        self, child: Child, run: bytes, attempt: int, permit: Mapping[str, Any], receipt: Receipt, worker_key: bytes
    ) -> None:
        """Fetch the ciphertext of every granted person's records, ask the broker, and pass both on."""
        if not self.projection.fold.member_live(self.broker.address, BROKER, self.ledger.now()):
            raise AttemptEnded("the key broker does not hold its role", pause=10)
        wanted = [
            leaf
            for leaf in self.projection.records_of(permit["dataset"])
            if leaf.subject in receipt.epochs and permit["categories"] >> leaf.category & 1
        ]
        if not wanted:
            raise RunFailed("nobody who agreed has a record of the permitted categories")
        try:
            with ThreadPoolExecutor(8) as pool:
                blobs = list(pool.map(lambda leaf: self.bucket.get(f"o/{leaf.ciphertext.hex()}"), wanted))
            headers = [read_header(blob) for blob in blobs]
            answer = self.broker.pieces(run, attempt, receipt.tx, worker_key, headers, self.wallet)
        except BrokerRefused as refusal:
            raise AttemptEnded(f"the broker refused: {refusal.reason.slug}", pause=5) from None
        except (ObjectMissing, ObjectAltered, ObjectMalformed) as lost:
            raise RunFailed(f"an object of the dataset cannot be read: {lost}") from None
        except (BucketUnavailable, BrokerUnavailable) as away:
            raise AttemptEnded(str(away), pause=30) from None
        stored = self.projection.params[run]
        child.say(
            {
                "identity": identity_id(self.ledger.identity).hex(),
                "run": run.hex(),
                "attempt": attempt,
                "dataset": permit["dataset"].hex(),
                "params": stored,
                "minimum": permit["minCohort"],
                "broker": answer.broker.hex(),
                "exchangeKey": self.broker.exchange_key.hex(),
                "info": answer.info.hex(),
                "records": [{"record": leaf.record.hex(), "subject": leaf.subject.hex(), "category": leaf.category,
                             "version": leaf.version, "ciphertext": leaf.ciphertext.hex()} for leaf in wanted],
            },
            answer.sealed,
            *blobs,
        )

    def _follow(
        self, child: Child, run: bytes, attempt: int, dataset: bytes, receipt: Receipt
    ) -> tuple[dict[str, Any], bytes]:
        """Listen until the output is sealed; a consent that changes meanwhile ends the attempt."""
        looked = told = time.monotonic()
        last = ""
        while True:
            heard = child.has_something(FOLLOW)
            if time.monotonic() - looked >= FOLLOW:
                self._check_still_willing(run, attempt, dataset, receipt)
                looked = time.monotonic()
            if not heard:
                continue
            said, blobs = child.hear()
            match said["say"]:
                case "progress":
                    if said["step"] != last or time.monotonic() - told >= FOLLOW:
                        self._tell(run, attempt, said["step"], said["fraction"])
                        last, told = said["step"], time.monotonic()
                case "wrap":
                    self._check_still_willing(run, attempt, dataset, receipt)
                    shares = self.broker.wrap_sealed(blobs[0], [0, 1, 2])
                    child.say({"say": "wrapped"}, *(share.wrapped for share in shares))
                case "done":
                    return said, blobs[0]
                case _:
                    raise RunFailed(str(said["message"]))

    def _check_still_willing(self, run: bytes, attempt: int, dataset: bytes, receipt: Receipt) -> None:
        self.projection.sync()
        fold = self.projection.fold
        if fold.runs[run].ended or fold.newest_attempt(run) != attempt:
            raise AttemptEnded("the run ended on the ledger")
        if any(fold.consent(dataset, subject).epoch != epoch for subject, epoch in receipt.epochs.items()):
            raise AttemptEnded("a person is no longer willing")
        if self.ledger.now() > receipt.lease_until:
            raise AttemptEnded("the lease is over")

    def _seal(self, run: bytes, attempt: int, done: dict[str, Any]) -> None:
        message = {
            "run": run,
            "attempt": attempt,
            **{
                name: bytes.fromhex(done[name])
                for name in ("outputCommitment", "ciphertextHash", "keyCommitment", "disclosureCommitment")
            },
            "outputClass": done["outputClass"],
            "statistics": done["statistics"],
            "deadline": self.ledger.now() + 300,
        }
        try:
            self.ledger.relay(
                "AccessLedger",
                "seal",
                message_tuple("Seal", message),
                self.wallet.sign(self.ledger.domain, "Seal", message),
            )
        except Refused as refusal:
            raise AttemptEnded(f"the contract refused the seal: {refusal.name}") from None
        self.projection.sync()

    def _tell(self, run: bytes, attempt: int, step: str, fraction: float) -> None:
        tell(self.engine, run.hex(), attempt, step, fraction, self.clock())


def main() -> int:
    """Work until SIGTERM; prints `ready <address>` once every part was reached."""
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.add_log_level,
                    structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )  # fmt: skip
    settings = Settings()
    identity = read_identity(settings)
    wallet, _ = load(settings.key_file("worker"))
    engine = open_database(settings.database)
    ledger = Ledger.connect(settings.address("chain"), identity, wallet, TableOutbox(engine))
    bucket = Bucket(settings.bucket_name, settings.address("bucket"))
    projection = Projection(engine, ledger, bucket)
    projection.sync()
    broker = BrokerClient(settings.address("broker"), ledger.domain, identity_id(identity))
    worker = Worker(
        wallet,
        ledger,
        engine,
        projection,
        bucket,
        broker,
        beat=settings.worker_beat.touch,
        isolated=settings.relax != "isolation",
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    settings.worker_beat.touch()
    print(f"ready {wallet.address}", flush=True)
    worker.work(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
