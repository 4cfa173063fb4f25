"""What the web process stands on, composed once at its start."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog

from api.errors import NotServing
from api.http.request_log import Metrics
from api.operate.settings import Settings
from chain.events import Head, Receipt
from chain.ledger import Ledger
from chain.paging import Progress
from chain.wallets import load
from governance import withdrawal_effects as aftermath
from governance.certificates import trusted
from governance.errors import BrokerRefused, BrokerUnavailable, CatchingUp
from governance.objects.broker_client import BrokerClient
from governance.objects.vault import Bucket
from governance.readmodel import queries as register
from governance.readmodel.projection import BOUND_SECONDS, Projection
from governance.readmodel.tables import Database, TableOutbox, open_database
from governance.verify import identity_id, strict_json
from governance.withdrawal_effects import Withdrawal

FIRST_SECONDS = (
    2.0  # of reading the ledger before the first request is taken; a longer one goes on behind them
)
BREATH, PAUSE = (
    0.01,
    1.0,
)  # seconds between two parts of the ledger, and after one that could not be read
BEAT_SECONDS = 15  # a worker that has not shown itself for so long is down
_PROBE_SECONDS = 1.0
_HEAD_QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
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
    audience: str  # the URL that a sign-in must name
    health: Health
    metrics: Metrics = field(default_factory=Metrics)
    fault: Exception | None = None  # why the ledger cannot be read on, while that lasts
    export: tuple[tuple[int, bytes], bytes] | None = None  # the newest trail's head, and its bundle
    clock: Callable[[], int] = lambda: int(time.time())

    @property
    def identity_id(self) -> str:
        return identity_id(self.identity).hex()

    def check_read(self) -> None:
        """Raise CatchingUp while the ledger is being read in the background: nothing is decided by a part of it.

        Where it cannot be read on, raises what stands against that.
        """
        if self.projection.behind.is_set():
            if self.fault is not None:
                raise self.fault
            progress = self.projection.progress
            raise CatchingUp(progress.block, progress.newest)

    def keep_up(self) -> None:
        """Read the ledger whenever this process is behind, a part at a time; for a thread of its own."""
        while self.projection.behind.wait():
            try:
                self.projection.catch_up()
                self.fault = None
                time.sleep(BREATH)
            except Exception as error:  # whatever it is: requests are told, and it is tried again
                self.fault = error
                log.warning("the ledger cannot be read on", kind=type(error).__name__)
                time.sleep(PAUSE)

    def settle(self, receipt: Receipt) -> dict[str, Any]:
        """Fold what was just mined, and say where it stands: {tx, block, blockHash, time, count, head}.

        While the ledger is still being read, the fold comes to this step later, and the receipt alone says it.
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
        """Her withdrawals and what followed, and the step {count, head} up to which the trail tells it.

        names: of these runs only.
        """
        newest = register.newest_step(self.engine)
        return aftermath.withdrawals_of(self.engine, subject, newest["count"], names), newest

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
        settings.address("api"),
        Health(settings, probes_of(settings), {"api": lambda: _of_projection(projection)}),
    )
    threading.Thread(target=services.keep_up, daemon=True).start()
    return services


def _of_projection(projection: Projection) -> Progress | None:
    return projection.progress if projection.behind.is_set() else None


def probes_of(settings: Settings) -> dict[str, Callable[[], httpx.Response]]:
    """The questions by which parts show that they live. Raises NotServing when nobody knows where one runs."""
    chain_url, bucket_url, broker_url = (
        settings.address(part) for part in ("chain", "bucket", "broker")
    )
    return {
        "ledger": lambda: httpx.post(
            chain_url, json=_HEAD_QUESTION, timeout=_PROBE_SECONDS, verify=trusted()
        ),
        "bucket": lambda: httpx.get(
            f"{bucket_url}/storage/v1/b?project=volens", timeout=_PROBE_SECONDS, verify=trusted()
        ),
        "broker": lambda: httpx.get(
            f"{broker_url}/health", timeout=_PROBE_SECONDS, verify=trusted()
        ),
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
    """Asks each part whether it lives, and remembers since when it has said so. Never raises.

    A part that is reading the ledger lives, and says how far it is: it is `catching-up`.
    """

    settings: Settings
    probes: Mapping[str, Callable[[], httpx.Response]]  # answers 200 while the part lives
    own: Mapping[str, Callable[[], Progress | None]] = field(
        default_factory=dict
    )  # of this process
    since: dict[str, tuple[str, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, now: int) -> dict[str, dict[str, Any]]:
        """{part: {state: ok, catching-up or down, since: seconds, block, newest}} of each part; the worker is one."""
        with ThreadPoolExecutor(len(self.probes)) as pool:
            found = dict(zip(self.probes, pool.map(_state_of, self.probes.values()), strict=True))
        found["worker"] = self._worker(now)
        found |= {part: _said("ok", ask()) for part, ask in self.own.items()}
        with self.lock:
            for part, said in found.items():
                if self.since.get(part, ("", 0))[0] != said["state"]:
                    self.since[part] = (said["state"], now)
                said["since"] = self.since[part][1]
        return found

    def _worker(self, now: int) -> dict[str, Any]:
        """By its beat: a young file, which says how far the ledger is read while that goes on."""
        try:
            young = (
                abs(now - self.settings.worker_beat.stat().st_mtime) < BEAT_SECONDS
            )  # a beat to come is none, too
            return _said("ok", read_beat(self.settings.worker_beat)) if young else {"state": "down"}
        except OSError:
            return {"state": "down"}


def write_beat(path: Path, progress: Progress | None = None) -> None:
    """Show that the worker lives, and how far it is while it reads the ledger."""
    text = (
        "" if progress is None else json.dumps({"block": progress.block, "newest": progress.newest})
    )
    if text or not path.exists() or path.stat().st_size:
        path.write_text(text, encoding="utf-8")
    else:
        path.touch()


def read_beat(path: Path) -> Progress | None:
    """How far the worker is with the ledger, None when it has read all of it. Raises OSError."""
    return progress_in(path.read_bytes())


def _state_of(probe: Callable[[], httpx.Response]) -> dict[str, Any]:
    try:
        answer = probe()
    except httpx.HTTPError:
        return {"state": "down"}
    if answer.status_code != httpx.codes.OK:
        return {"state": "down"}
    return _said("ok", progress_in(answer.content))


def progress_in(data: bytes) -> Progress | None:
    """The progress that a part tells, if it does: {block, newest}, and catchingUp where it is not always so."""
    try:
        said: Any = json.loads(data)
    except ValueError:
        return None
    if isinstance(said, dict) and isinstance(said.get("api"), dict):
        said = said["api"]  # of the API's own report
    if not isinstance(said, dict) or said.get("catchingUp") is False:
        return None
    block, newest = said.get("block"), said.get("newest")
    return Progress(block, newest) if type(block) is int and type(newest) is int else None


def _said(state: str, progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {"state": state}
    return {"state": "catching-up", "block": progress.block, "newest": progress.newest}
