"""The worker's supervisor: takes runs one at a time and sees each through its attempts (api/worker/attempt.py)."""

from __future__ import annotations

import os
import signal
import sys
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
from api.operate.health import write_beat
from api.operate.identity import read_identity
from api.operate.settings import Settings
from api.operate.startup import START_FAULTS, not_started
from api.worker.attempt import Attempt, RunFailed
from api.worker.context import Context
from api.worker.sandbox import AttemptEnded, ForkServer
from chain.devnode.tether import leave_no_core
from chain.errors import ChainError
from chain.ledger import Ledger
from chain.wallets import load
from governance.errors import GovernanceError
from governance.objects.broker_client import BrokerClient
from governance.objects.vault import Bucket
from governance.readmodel.database import OUTAGES, TableOutbox, open_database
from governance.readmodel.projection import BOUND_SECONDS, Projection
from governance.readmodel.tables import Claim
from governance.rules.ledger_data import identity_id
from governance.runs import claim, fail, give_up, give_up_all, hold_on, waiting

HOLD = 60  # seconds a claim lasts without a sign of life
FINISH = 2.0  # seconds that an attempt has to end by itself once the worker is told to stop
TELL = 1.0  # seconds between two lines that say how far the ledger is read
BOUND = 7.0  # seconds after which the worker ends whatever it waits for; a restart finds everything as after a kill
log = structlog.get_logger()


class Worker(Context):
    """Takes runs one at a time and sees each through its attempts."""

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
            except (
                Exception
            ) as error:  # one run's fault must not end the worker; no values in the log
                place = traceback.extract_tb(error.__traceback__)[-1]
                log.error(
                    "fault",
                    kind=type(error).__name__,
                    module=Path(place.filename).name,
                    line=place.lineno,
                )
                stop.wait(1.0)

    def step(self) -> bool:
        """Take one run and see it through; False when none waits. Reads on first where the ledger is far ahead."""
        if self.projection.behind.is_set() and not self.projection.catch_up():
            return True
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
            Attempt(self, held).carry_out()
            give_up(self.engine, held)
        except AttemptEnded as ended:
            log.info("attempt ended", run=held.run[:8], why=str(ended), hint=ended.hint)
            wait_until = self.clock() + ended.pause
            beating.set()
            keeper.join()
            hold_on(self.engine, held, wait_until)
        except RunFailed as failed:
            log.warning("run failed", run=held.run[:8], why=str(failed))
            fail(self.engine, held, str(failed))
        except (ChainError, GovernanceError, KeyboardInterrupt, *OUTAGES):
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


def stop_on_signals(stop: threading.Event, children: ForkServer) -> Callable[[], None]:
    """SIGTERM and Ctrl-C: no further run; the running attempt ends by itself or with its child. Twice: at once.

    An attempt near its end is let finish; after FINISH seconds its child is killed, which ends the attempt as any other
    death of a child does; the run goes on with its next attempt when a worker is back. What is returned ends the last
    child; the caller MUST call it when no attempt runs any more.
    """
    idle = threading.Event()

    def end_children() -> None:
        log.info("stopping")
        until = time.monotonic() + BOUND
        if idle.wait(FINISH):
            return
        while time.monotonic() < until:
            children.end()  # again and again: the attempt may start one yet
            if idle.wait(0.25):
                return
        os._exit(0)

    ender = threading.Thread(target=end_children, daemon=True)

    def end(*_: object) -> None:
        if stop.is_set():
            os._exit(1)  # the children die with this process
        stop.set()
        ender.start()

    def rest() -> None:
        idle.set()
        if ender.ident is not None:
            ender.join()
        children.end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return rest


def open_worker(settings: Settings) -> Worker:
    """Connect to everything, and take up what a worker before left. Raises START_FAULTS.

    A host that cannot confine a child is refused before anything else.
    """
    confinement = Confinement.of(settings.relax, settings.home)
    if lacks := require(confinement).relaxed:
        log.warning("relaxed", why=f"children lack {describe(lacks)}")
    identity = read_identity(settings)
    wallet, _ = load(settings.key_file("worker"))
    engine = open_database(settings.database)
    # A seal or an authorisation that is late may be one that a withdrawal has overtaken: it is asked anew instead.
    ledger = Ledger.connect(
        settings.address("chain"), identity, wallet, TableOutbox(engine), resend=False
    )
    bucket = Bucket(settings.bucket_name, settings.address("bucket"))
    projection = Projection(engine, ledger, bucket, BOUND_SECONDS)
    give_up_all(engine, wallet.address)
    broker = BrokerClient(settings.address("broker"), ledger.domain, identity_id(identity))
    return Worker(
        wallet,
        ledger,
        engine,
        projection,
        bucket,
        broker,
        beat=lambda: beat(settings.worker_beat, projection),
        children=ForkServer(confinement=confinement),
        device=settings.device,
    )


def beat(path: Path, projection: Projection) -> None:
    """Show that the worker lives, and how far it is while it reads the ledger."""
    write_beat(path, projection.progress if projection.behind.is_set() else None)


def read_ledger(worker: Worker, stop: threading.Event) -> None:
    """Read the whole ledger before the first run is taken; prints `reading BLOCK NEWEST` now and then.

    Raises START_FAULTS.
    """
    told = time.monotonic()
    while not worker.projection.catch_up() and not stop.is_set():
        if time.monotonic() - told >= TELL:
            told, progress = time.monotonic(), worker.projection.progress
            print(f"reading {progress.block} {progress.newest}", flush=True)
            worker.beat()
    worker.beat()


def main() -> int:
    """Work until SIGTERM; prints `ready <address>` once the ledger is read, or logs one line why it cannot."""
    leave_no_core()
    settings = Settings()
    logs.configure("worker", settings.log)
    try:
        worker = open_worker(settings)
        stop = threading.Event()
        rest = stop_on_signals(stop, worker.children)
        read_ledger(worker, stop)
    except START_FAULTS as error:
        return not_started(error)
    print(f"ready {worker.wallet.address}", flush=True)
    with suppress(AttemptEnded):  # then the first attempt says why
        worker.children.warm()  # loads beside the first waiting, not before it
    worker.work(stop)
    rest()
    settings.worker_beat.unlink(missing_ok=True)  # nobody takes it for alive now
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
