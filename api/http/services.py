"""The services of the web process (ledger, database, bucket, broker, ...), composed at its start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from api.http.rate_limit import Decisions
from api.http.request_log import Metrics
from api.operate.buckets import open_bucket
from api.operate.health import Health, probes_of, workers_in
from api.operate.identity import read_identity
from api.operate.settings import Settings, checked_url
from chain.events import Head, Receipt
from chain.ledger import Ledger
from chain.wallets import load
from governance import withdrawal_effects
from governance.documents import Documents
from governance.errors import BrokerRefused, BrokerUnavailable, CatchingUp
from governance.objects.broker_client import BrokerClient
from governance.objects.vault import Bucket
from governance.presence import Presence
from governance.readmodel import queries as register
from governance.readmodel.database import Database, TableOutbox, open_database
from governance.readmodel.projection import BOUND_SECONDS, Projection
from governance.rules.ledger_data import identity_id
from governance.withdrawal_effects import Withdrawal

# Seconds of reading the ledger before the first request is accepted. The rest is read in the
# background.
FIRST_SECONDS = 2.0
# Seconds between two parts of the ledger, and after a part that could not be read.
BREATH, PAUSE = 0.01, 1.0
log = structlog.get_logger()


@dataclass(slots=True)
class Services:
    """Ledger (relaying), projection, bucket and broker of one deployment; `clock` gives seconds."""

    settings: Settings
    identity: Mapping[str, Any]
    ledger: Ledger
    engine: Database
    projection: Projection
    bucket: Bucket
    broker: BrokerClient
    documents: Documents
    audience: str  # the URL that a sign-in must name
    health: Health
    metrics: Metrics = field(default_factory=Metrics)
    decisions: Decisions = field(default_factory=Decisions)
    fault: Exception | None = None  # why the ledger cannot be read, while that lasts
    export: tuple[tuple[int, bytes], bytes] | None = None  # the newest trail's head, and its bundle
    clock: Callable[[], int] = lambda: int(time.time())

    @property
    def identity_id(self) -> str:
        return identity_id(self.identity).hex()

    def be_present(self) -> Presence:
        """Take the relay key over, for a process that serves. Raises the database's errors."""
        address = load(self.settings.key_file(self.settings.relay))[0].address
        return Presence(self.engine, address, "api", self.projection.reading)

    def check_read(self) -> None:
        """Raise CatchingUp while the ledger is being read: nothing is decided by a part of it.

        Raises the fault instead if the ledger cannot be read.
        """
        if self.projection.behind.is_set():
            if self.fault is not None:
                raise self.fault
            progress = self.projection.progress
            raise CatchingUp(progress.block, progress.newest)

    def keep_up(self) -> None:
        """Read the ledger in parts whenever this process is behind; for a background thread."""
        while self.projection.behind.wait():
            try:
                self.projection.catch_up()
                self.fault = None
                time.sleep(BREATH)
            except Exception as error:  # any error: requests report it, and reading is tried again
                self.fault = error
                log.warning("the ledger cannot be read", kind=type(error).__name__)
                time.sleep(PAUSE)

    def settle(self, receipt: Receipt) -> dict[str, Any]:
        """Project a mined step and return its position: {tx, block, blockHash, time, count, head}.

        While the ledger is still being read, the position comes from the receipt alone.
        """
        try:
            self.projection.sync()
            return register.find_receipt(self.engine, receipt.tx.hex())
        except CatchingUp:
            head = receipt.one(Head)
            return {
                "tx": receipt.tx.hex(),
                "block": receipt.block,
                "blockHash": receipt.block_hash.hex(),
                "time": int(self.ledger.block(receipt.block)["timestamp"], 16),
                "count": head.count,
                "head": head.head.hex(),
            }

    def withdrawals_of(
        self, subject: str, names: Sequence[str] | None = None
    ) -> tuple[list[Withdrawal], dict[str, Any]]:
        """A person's withdrawals with their effects, and the newest step {count, head} considered.

        names: only these runs.
        """
        newest = register.newest_step(self.engine)
        return withdrawal_effects.withdrawals_of(
            self.engine, subject, newest["count"], names
        ), newest

    def witness(self) -> dict[str, Any] | None:
        """The trail's head under the broker's signature, or None while the broker cannot give one."""
        try:
            return self.broker.witness()
        except (BrokerUnavailable, BrokerRefused):
            return None


def open_services(settings: Settings) -> Services:
    """Connect to everything.

    Raises NotServing, ChainError, GovernanceError when a part is missing.
    """
    identity = read_identity(settings)
    engine = open_database(settings.database)
    wallet, _ = load(settings.key_file(settings.relay))
    chain_url, broker_url = settings.address("chain"), settings.address("broker")
    ledger = Ledger.connect(chain_url, identity, wallet, TableOutbox(engine))
    bucket = open_bucket(settings)
    projection = Projection(engine, ledger, bucket, BOUND_SECONDS)
    until = time.monotonic() + FIRST_SECONDS
    while not projection.catch_up() and time.monotonic() < until:
        pass
    broker = BrokerClient(broker_url, ledger.domain, identity_id(identity))
    services = Services(
        settings,
        identity,
        ledger,
        engine,
        projection,
        bucket,
        broker,
        Documents(bucket),
        _audience(settings),
        Health(
            probes_of(settings),
            partial(workers_in, engine),
            {"api": projection.reading},
        ),
    )
    threading.Thread(target=services.keep_up, daemon=True).start()
    return services


def _audience(settings: Settings) -> str:
    """The one address that people call."""
    if settings.public_url:
        return checked_url(settings.public_url, "VOLENS_PUBLIC_URL")
    return settings.address("api")
