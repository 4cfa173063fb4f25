"""Which parts of a deployment live: a probe of each, and the beat of the worker.

A part that is reading the ledger lives, and says how far it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from api.operate.settings import Settings
from chain.paging import Progress
from governance.certificates import trusted

BEAT_SECONDS = 15  # a worker that has not shown itself for so long is down
_PROBE_SECONDS = 1.0
_HEAD_QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}


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
