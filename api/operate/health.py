"""Health of the services: a probe of each, and the workers' signs of life in the database.

A service that is reading the ledger is alive, and reports its progress.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from api.operate.buckets import GOOGLE, open_bucket
from api.operate.settings import Settings
from chain.paging import Progress
from governance.certificates import trusted
from governance.errors import GovernanceError
from governance.objects.vault import Bucket
from governance.presence import alive
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES, Database, open_database
from governance.readmodel.tables import Process

_PROBE_SECONDS = 1.0
_HEAD_QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}


def probes_of(settings: Settings) -> dict[str, Callable[[], httpx.Response]]:
    """A health request for each service. Raises NotServing when a service's address is unknown."""
    chain_url, broker_url = settings.address("chain"), settings.address("broker")
    bucket_url = settings.address("bucket")
    bucket = open_bucket(settings)
    return {
        "ledger": lambda: httpx.post(
            chain_url, json=_HEAD_QUESTION, timeout=_PROBE_SECONDS, verify=trusted()
        ),
        "bucket": lambda: (
            _ask(bucket)
            if bucket_url.startswith(GOOGLE)
            else httpx.get(
                f"{bucket_url}/storage/v1/b?project=volens",
                timeout=_PROBE_SECONDS,
                verify=trusted(),
            )
        ),
        "broker": lambda: httpx.get(
            f"{broker_url}/health", timeout=_PROBE_SECONDS, verify=trusted()
        ),
    }


@dataclass(slots=True)
class Health:
    """Probes each service, and remembers since when it has its state. Never raises.

    A service that is reading the ledger is `catching-up`, with its progress.
    """

    probes: Mapping[str, Callable[[], httpx.Response]]  # answers 200 while the service is alive
    workers: Callable[[int], Sequence[Process]]  # with a recent sign of life at a time
    # Services of this process.
    own_progress: Mapping[str, Callable[[], Progress | None]] = field(default_factory=dict)
    since: dict[str, tuple[str, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, now: int) -> dict[str, dict[str, Any]]:
        """{service: {state: ok, catching-up or down, since: seconds, block, newest}}, with the
        workers, whose `count` says how many are alive.
        """
        with ThreadPoolExecutor(len(self.probes)) as pool:
            report = dict(zip(self.probes, pool.map(_state_of, self.probes.values()), strict=True))
        report["worker"] = _state_of_workers(self.workers(now))
        report |= {part: _status("ok", ask()) for part, ask in self.own_progress.items()}
        with self.lock:
            for part, status in report.items():
                if self.since.get(part, ("", 0))[0] != status["state"]:
                    self.since[part] = (status["state"], now)
                status["since"] = self.since[part][1]
        return report


def workers_in(engine: Database, now: int) -> Sequence[Process]:
    """The workers that are alive, none while the database is away."""
    try:
        return alive(engine, "worker", now)
    except (*DATABASE_FAULTS, *OUTAGES):
        return []


def workers_of(settings: Settings, now: int) -> Sequence[Process]:
    """The same where no database is open; none if it cannot be opened. Makes none."""
    if not settings.has_database:
        return []
    try:
        engine = open_database(settings.database)
    except GovernanceError:
        return []
    try:
        return workers_in(engine, now)
    finally:
        engine.dispose()


def _state_of_workers(workers: Sequence[Process]) -> dict[str, Any]:
    """One that has read the ledger is enough; while all still read, the progress of the furthest."""
    if not workers:
        return {"state": "down", "count": 0}
    reading = [
        Progress(worker.block, worker.newest or 0) for worker in workers if worker.block is not None
    ]
    furthest = max(reading, key=lambda progress: progress.block, default=None)
    ready = len(reading) < len(workers)
    return _status("ok", None if ready else furthest) | {"count": len(workers)}


def _ask(bucket: Bucket) -> httpx.Response:
    """A response like the other services'. Raises BucketUnavailable."""
    bucket.probe()
    return httpx.Response(httpx.codes.OK)


def _state_of(probe: Callable[[], httpx.Response]) -> dict[str, Any]:
    try:
        answer = probe()
    except Exception:  # one part must not hide the others, whatever its answer does
        return {"state": "down"}
    if answer.status_code != httpx.codes.OK:
        return {"state": "down"}
    return _status("ok", progress_in(answer.content))


def progress_in(data: bytes) -> Progress | None:
    """The progress in a health response: {block, newest}, unless catchingUp is false; None if
    absent.
    """
    try:
        body: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(body, dict) and isinstance(body.get("api"), dict):
        body = body["api"]  # the API's report has one entry for each service
    if not isinstance(body, dict) or body.get("catchingUp") is False:
        return None
    block, newest = body.get("block"), body.get("newest")
    return Progress(block, newest) if type(block) is int and type(newest) is int else None


def _status(state: str, progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {"state": state}
    return {"state": "catching-up", "block": progress.block, "newest": progress.newest}
