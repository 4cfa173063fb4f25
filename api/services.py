"""What the web process stands on, composed once at its start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from api.errors import NotServing
from api.metrics import Metrics
from api.settings import Settings
from chain.events import Receipt
from chain.ledger import Ledger
from chain.wallets import load
from governance import aftermath, register
from governance.aftermath import Withdrawal
from governance.brokers import BrokerClient
from governance.errors import BrokerRefused, BrokerUnavailable
from governance.projection import Projection
from governance.tables import Database, TableOutbox, open_database
from governance.vault import Bucket
from governance.verify import identity_id, strict_json

BEAT_SECONDS = 15  # a worker that has not shown itself for so long is down
_PROBE_SECONDS = 1.0
_HEAD_QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}


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
    audience: str  # the URL that a sign-in must name
    health: Health
    metrics: Metrics = field(default_factory=Metrics)
    clock: Callable[[], int] = lambda: int(time.time())

    @property
    def identity_id(self) -> str:
        return identity_id(self.identity).hex()

    def settle(self, receipt: Receipt) -> dict[str, Any]:
        """Fold what was just mined, and say where it stands: {tx, block, blockHash, time, count, head}."""
        self.projection.sync()
        return register.find_receipt(self.engine, receipt.tx.hex())

    def withdrawals_of(self, subject: str) -> tuple[list[Withdrawal], dict[str, Any]]:
        """Her withdrawals and what followed, and the step {count, head} up to which the trail tells it."""
        newest = register.newest_step(self.engine)
        return aftermath.withdrawals_of(self.engine, subject, newest["count"]), newest

    def witness(self) -> dict[str, Any] | None:
        """The trail's head under the broker's signature, or None while the broker cannot give one."""
        try:
            return self.broker.witness()
        except (BrokerUnavailable, BrokerRefused):
            return None


def open_services(settings: Settings) -> Services:
    """Connect to everything. Raises NotServing, ChainError, GovernanceError when a part is missing."""
    identity = read_identity(settings)
    engine = open_database(settings.database)
    wallet, _ = load(settings.home / "keys" / "relay.json")
    chain_url, bucket_url, broker_url = (
        settings.address(part) for part in ("chain", "bucket", "broker")
    )
    ledger = Ledger.connect(chain_url, identity, wallet, TableOutbox(engine))
    bucket = Bucket(settings.bucket_name, bucket_url)
    projection = Projection(engine, ledger, bucket)
    projection.sync()
    broker = BrokerClient(broker_url, ledger.domain, identity_id(identity))
    return Services(
        settings,
        identity,
        ledger,
        engine,
        projection,
        bucket,
        broker,
        settings.address("api"),
        Health(settings, probes_of(settings)),
    )


def probes_of(settings: Settings) -> dict[str, Callable[[], httpx.Response]]:
    """The questions by which parts show that they live. Raises NotServing when nobody knows where one runs."""
    chain_url, bucket_url, broker_url = (
        settings.address(part) for part in ("chain", "bucket", "broker")
    )
    return {
        "ledger": lambda: httpx.post(chain_url, json=_HEAD_QUESTION, timeout=_PROBE_SECONDS),
        "bucket": lambda: httpx.get(
            f"{bucket_url}/storage/v1/b?project=volens", timeout=_PROBE_SECONDS
        ),
        "broker": lambda: httpx.get(f"{broker_url}/health", timeout=_PROBE_SECONDS),
    }


def read_identity(settings: Settings) -> Mapping[str, Any]:
    """The pinned ledger identity. Raises NotServing when there is none."""
    try:
        found = strict_json(settings.identity_file.read_bytes())
    except FileNotFoundError:
        raise NotServing(
            "there is no ledger identity in the home folder", "set one up: volens serve"
        ) from None
    if not isinstance(found, dict):
        raise NotServing(
            "the ledger identity cannot be read", "restore identity.json from another part"
        )
    return found


@dataclass(slots=True)
class Health:
    """Asks each part whether it lives, and remembers since when it has said so. Never raises."""

    settings: Settings
    probes: Mapping[str, Callable[[], httpx.Response]]  # answers 200 while the part lives
    since: dict[str, tuple[bool, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, now: int) -> dict[str, dict[str, Any]]:
        """{part: {state: "ok" or "down", since: seconds}} of ledger, bucket, broker and worker."""
        with ThreadPoolExecutor(len(self.probes)) as pool:
            alive = dict(zip(self.probes, pool.map(_answers, self.probes.values()), strict=True))
        alive["worker"] = self._worker_lives(now)
        with self.lock:
            for part, lives in alive.items():
                if self.since.get(part, (None, 0))[0] is not lives:
                    self.since[part] = (lives, now)
            return {
                part: {"state": "ok" if lives else "down", "since": self.since[part][1]}
                for part, lives in alive.items()
            }

    def _worker_lives(self, now: int) -> bool:
        try:
            return (
                abs(now - self.settings.worker_beat.stat().st_mtime) < BEAT_SECONDS
            )  # a beat to come is none, too
        except OSError:
            return False


def _answers(probe: Callable[[], httpx.Response]) -> bool:
    try:
        return probe().status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
