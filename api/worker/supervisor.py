"""The worker's supervisor: claims runs one at a time and carries out their attempts (attempt.py)."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from api.confinement import Confinement
from api.confinement.layers import describe
from api.confinement.probe import require
from api.operate import logs
from api.operate.buckets import open_bucket
from api.operate.identity import read_identity
from api.operate.settings import Settings
from api.operate.startup import START_FAULTS, not_started, replaced
from api.worker.attempt import Attempt, RunFailed
from api.worker.context import Context
from api.worker.sandbox import AttemptEnded, ForkServer
from chain.devnode.tether import leave_no_core
from chain.errors import ChainError
from chain.ledger import Ledger
from chain.wallets import load
from governance.errors import GovernanceError
from governance.objects.broker_client import BrokerClient
from governance.presence import Presence
from governance.readmodel.database import OUTAGES, TableOutbox, open_database
from governance.readmodel.projection import BOUND_SECONDS, Projection
from governance.readmodel.tables import Claim
from governance.rules.ledger_data import identity_id
from governance.runs import fail, give_up, give_up_all, hold_on, take_next

HOLD = 60  # seconds that a claim lasts without renewal
FINISH = 2.0  # seconds that the running attempt has to end by itself when the worker stops
TELL = 1.0  # seconds between two progress lines while the ledger is read
# Seconds after which a stopping worker exits, whatever it waits for. A restart treats this like a
# kill.
BOUND = 7.0
log = structlog.get_logger()


class Worker(Context):
    """Claims runs one at a time and carries out their attempts."""

    def work(self, stop: threading.Event, pause: float = 0.2) -> None:
        """Take runs until `stop` is set, or a later process works under this key; wait while
        another service is down.
        """
        while not stop.is_set() and not self.replaced:
            self.sign_of_life()
            try:
                if not self.step():
                    stop.wait(pause)
            except (ChainError, GovernanceError) as error:
                log.warning("waiting", fact=str(error))
                stop.wait(1.0)
            # A fault in one run must not end the worker. The log contains no values.
            except Exception as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                log.error(
                    "fault",
                    kind=type(error).__name__,
                    module=Path(frame.filename).name,
                    line=frame.lineno,
                )
                stop.wait(1.0)

    def step(self) -> bool:
        """Carry out one waiting run; False when there is none. Catches up with the ledger first."""
        if self.projection.behind.is_set() and not self.projection.catch_up():
            return True
        self.projection.sync()
        run_claim = take_next(self.engine, self.wallet.address, self.clock(), HOLD)
        if run_claim is None:
            return False
        self.attempt(run_claim)
        return True

    def attempt(self, run_claim: Claim) -> None:
        """Carry out the next attempt of a run that was claimed for this worker, wherever it was
        claimed (api/worker/ray_engine.py). Raises as `step`.
        """
        # Whoever wrote the run's row may have read further than our projection.
        while self.projection.behind.is_set() and not self.projection.catch_up():
            self.sign_of_life()
        self.projection.sync()
        self._see_through(run_claim)

    def _see_through(self, run_claim: Claim) -> None:
        beating = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(run_claim, beating), daemon=True)
        keeper.start()
        try:
            Attempt(self, run_claim).carry_out()
            give_up(self.engine, run_claim)
        except AttemptEnded as ended:
            log.info("attempt ended", run=run_claim.run[:8], why=str(ended), hint=ended.hint)
            wait_until = self.clock() + ended.pause
            beating.set()
            keeper.join()
            hold_on(self.engine, run_claim, wait_until)
        except RunFailed as failed:
            log.warning("run failed", run=run_claim.run[:8], why=str(failed))
            fail(self.engine, run_claim, str(failed))
        except (ChainError, GovernanceError, KeyboardInterrupt, *OUTAGES):
            give_up(self.engine, run_claim)
            raise
        except Exception:
            fail(
                self.engine,
                run_claim,
                "the worker failed with an internal error; its log names the line",
            )
            raise
        finally:
            beating.set()
            keeper.join()

    def _keep(self, run_claim: Claim, done: threading.Event) -> None:
        while not done.wait(HOLD / 12):
            self.sign_of_life()
            hold_on(self.engine, run_claim, self.clock() + HOLD)


def stop_on_signals(stop: threading.Event, children: ForkServer) -> Callable[[], None]:
    """Stop on SIGTERM and Ctrl-C: take no further run; the second signal exits at once.

    The running attempt has FINISH seconds to end by itself. Then its child is killed, which ends
    the attempt like any other death of a child; the run continues with its next attempt when a
    worker is back. The returned function ends the last child; the caller MUST call it when no
    attempt runs any more.
    """
    idle = threading.Event()

    def end_children() -> None:
        log.info("stopping")
        until = time.monotonic() + BOUND
        if idle.wait(FINISH):
            return
        while time.monotonic() < until:
            children.end()  # repeatedly, because the attempt may still start one
            if idle.wait(0.25):
                return
        os._exit(0)

    ender = threading.Thread(target=end_children, daemon=True)

    def handle_signal(*_: object) -> None:
        if stop.is_set():
            os._exit(1)  # the children die with this process
        stop.set()
        ender.start()

    def finish() -> None:
        idle.set()
        if ender.ident is not None:
            ender.join()
        children.end()

    signal.signal(signal.SIGTERM, handle_signal)
    signal.signal(signal.SIGINT, handle_signal)
    return finish


def open_worker(settings: Settings) -> Worker:
    """Connect to all services and release the claims of this worker's last process.

    Raises START_FAULTS. First checks that this host can confine a child.
    """
    confinement = Confinement.of(settings.relax, settings.home)
    if lacks := require(confinement).relaxed:
        log.warning("relaxed", why=f"children lack {describe(lacks)}")
    identity = read_identity(settings)
    wallet, _ = load(settings.key_file(settings.worker))
    engine = open_database(settings.database)
    # Old seals and authorisations are not resent: a withdrawal may have overtaken them. They are
    # requested anew.
    ledger = Ledger.connect(
        settings.address("chain"), identity, wallet, TableOutbox(engine), resend=False
    )
    bucket = open_bucket(settings)
    projection = Projection(engine, ledger, bucket, BOUND_SECONDS)
    presence = Presence(engine, wallet.address, "worker", projection.reading)
    give_up_all(engine, wallet.address)
    broker = BrokerClient(settings.address("broker"), ledger.domain, identity_id(identity))
    return Worker(
        wallet,
        ledger,
        engine,
        projection,
        bucket,
        broker,
        presence=presence,
        children=ForkServer(confinement=confinement),
        device=settings.device,
    )


def read_ledger(worker: Worker, stop: threading.Event, quiet: bool = False) -> None:
    """Read the whole ledger before the first run; prints `reading BLOCK NEWEST` every TELL seconds,
    unless `quiet`.

    Raises START_FAULTS.
    """
    last_printed = time.monotonic()
    while not worker.projection.catch_up() and not stop.is_set():
        if not quiet and time.monotonic() - last_printed >= TELL:
            last_printed, progress = time.monotonic(), worker.projection.progress
            print(f"reading {progress.block} {progress.newest}", flush=True)
            worker.sign_of_life()
    worker.sign_of_life()


def main(settings: Settings) -> int:
    """Work until SIGTERM; prints `ready <address>` once the ledger is read, or logs why it cannot
    start.
    """
    leave_no_core()
    logs.configure("worker", settings.log)
    try:
        worker = open_worker(settings)
        stop = threading.Event()
        finish = stop_on_signals(stop, worker.children)
        read_ledger(worker, stop)
    except START_FAULTS as error:
        return not_started(error)
    print(f"ready {worker.wallet.address}", flush=True)
    with suppress(AttemptEnded):  # the first attempt will report the error
        worker.children.warm()  # loads while the worker waits for its first run
    worker.work(stop)
    finish()
    if worker.replaced:
        return replaced()
    if worker.presence is not None:
        worker.presence.leave()
    log.info("stopped")
    return 0
