"""`volens serve`: start all services, start again what ends, stop on a signal.

A service that ends is said, and started again after a pause that doubles each time, while the
others go on: they refuse what needs it. One whose key another process uses stays ended until that
process has gone.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import structlog

from api.errors import ApiError
from api.operate import logs
from api.operate.bootstrap import check_demo_home, has_demo_accounts, read_identity
from api.operate.processes import Parts
from api.operate.settings import Settings
from api.operate.startup import REPLACED
from chain.errors import ChainError
from governance.errors import GovernanceError
from governance.presence import ALIVE_SECONDS
from governance.rules.ledger_data import identity_id

CHECK_SECONDS = 0.5
# Seconds before a service is started again: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY_SECONDS = 60.0  # after which the next pause is the first again
log = structlog.get_logger()


def serve(demo: bool = False, engine: str = "") -> int:
    """Start all services, print their addresses, keep them running until SIGTERM or Ctrl-C.

    demo: on the demo's home. engine: where runs are computed, instead of the setting.

    Raises NotServing, also when there is no such home.
    """
    settings = Settings(engine=engine) if engine else Settings()
    settings = _demo_settings(settings) if demo else settings
    logs.configure("serve", settings.log)
    stop, parts = threading.Event(), Parts(settings.home.resolve(), settings)

    def end(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            parts.kill()
            os._exit(1)
        stop.set()
        if not parts.serving:
            raise SystemExit(0)  # what was started so far is stopped

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    parts.tell = partial(print, flush=True)
    parts.start_all()
    keeper = Keeper(parts)
    try:
        _print_addresses(parts)
        while not stop.wait(CHECK_SECONDS):
            keeper.check()
        log.info("stopping")
    finally:
        parts.stop()
        log.info("stopped")
    return 0


class Keeper:
    """Starts services again that have ended."""

    def __init__(self, parts: Parts, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts, self._clock = parts, clock
        self._pause: dict[str, float] = {}  # by service, the newest
        self._started: dict[str, float] = {}  # when it was started again
        self._due: dict[str, float] = {}  # when it will be
        # Those whose key another process uses, and when that was last looked at.
        self._left: dict[str, float] = {}

    def check(self) -> None:
        """Say which services have ended since the last check, and start those whose pause is over."""
        for name, code in self._parts.ended().items():
            if name in self._left:
                self._check_key(name)
            elif name not in self._due:
                self._plan(name, code)
            elif self._clock() >= self._due[name]:
                del self._due[name]
                self._start(name)

    def _plan(self, name: str, code: int) -> None:
        if code == REPLACED:
            self._left[name] = self._clock()
            self._say(
                f"{name} has ended: another process uses its key. It is started again when that one "
                "has gone."
            )
            return
        now = self._clock()
        lived = now - self._started.get(name, float("-inf"))
        before = self._pause.get(name, FIRST_PAUSE / 2) if lived < STEADY_SECONDS else 0.0
        pause = min(max(2 * before, FIRST_PAUSE), LONGEST_PAUSE)
        self._pause[name], self._due[name] = pause, now + pause
        self._say(
            f"{name} has ended ({_how(code)}). It is started again in {pause:g} s: {_log(name)}"
        )

    def _check_key(self, name: str) -> None:
        if self._clock() - self._left[name] < ALIVE_SECONDS:
            return
        self._left[name] = self._clock()
        if not self._parts.key_in_use(name):
            del self._left[name]
            self._start(name)

    def _start(self, name: str) -> None:
        self._started[name] = self._clock()
        try:
            self._parts.start_again(name)
        except (ApiError, ChainError, GovernanceError, OSError) as error:
            self._say(f"{name} could not be started: {error}")
            return
        self._say(f"{name} was started again.")

    def _say(self, line: str) -> None:
        self._parts.tell(line)
        log.warning("a part ended or was started", fact=line)


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _log(name: str) -> str:
    files = {"chain": "chain/gateway.log", "bucket": "bucket/requests.log"}
    return f"see {files.get(name, f'logs/{name}.log')} in the home folder."


def _print_addresses(parts: Parts) -> None:
    for name in ("chain", "bucket", "broker", "api"):
        print(f"{name:<7} {parts.urls[name]}   {parts.seconds[name]:.1f} s", flush=True)
    for name in parts.workers:
        print(f"{name:<7} ready   {parts.seconds[name]:.1f} s", flush=True)
    print(f"metrics {parts.urls['metrics']}/metrics", flush=True)
    if has_demo_accounts(parts.home):
        print("This home contains everybody's key: these are demo accounts.", flush=True)
    else:
        identity = identity_id(read_identity(parts.home) or {}).hex()
        print(f"Others join with: volens join {parts.public_url}#{identity}", flush=True)
    print(f"Open {parts.address} in a browser.", flush=True)
    if parts.demo_token:
        print(
            "This address works once, for one browser, and gives it the keys of the demo accounts.",
            flush=True,
        )


def _demo_settings(settings: Settings) -> Settings:
    home = settings.home / "demo"
    check_demo_home(home)
    return settings.model_copy(update={"home": home, "demo": True})
