"""Start all services on one machine in order, check their health, stop them in reverse order.

ledger → bucket → broker → api → worker. Each is a separate process that dies with this one.
`run.json` in the home folder has their addresses; a stopped home starts again with all its data.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, cast

import httpx
import structlog

from api.errors import NotServing
from api.operate import logs
from api.operate.bootstrap import (
    bootstrap,
    check_demo_home,
    has_demo_accounts,
    read_identity,
)
from api.operate.buckets import open_bucket
from api.operate.health import progress_in
from api.operate.settings import Settings
from chain.devnode.gateway import SENDERS
from chain.devnode.process import DevChain
from chain.devnode.tether import tether
from chain.devnode.watched import Watched
from chain.paging import Progress
from governance.certificates import trusted
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.keys import replace_private
from governance.objects.vault import Bucket
from governance.readmodel.database import TableOutbox, open_database

START_SECONDS = 30.0  # in which a starting service must show progress
TELL_SECONDS = 2.0  # between two progress lines of a service that reads the ledger
STOP_SECONDS = 8.0  # in which the API and the worker should end by themselves
log = structlog.get_logger()


@dataclass(slots=True)
class Parts:
    """Running services; `seconds` is how long each took to answer its first health request."""

    home: Path
    settings: Settings
    chain: DevChain | None = None
    bucket: BucketProcess | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    launched: dict[str, float] = field(default_factory=dict)
    serving: bool = False  # all services answered
    demo_token: str = field(default="", repr=False)  # opens the demo accounts in one browser, once
    tell: Callable[[str], None] = lambda _line: None  # prints the progress of a slow start

    @classmethod
    def start(cls, settings: Settings, worker: bool = True) -> Parts:
        """Start all services on the home folder, and bootstrap a demo deployment there if it has
        none.

        Raises NotServing, ChainError, GovernanceError, after stopping what was started. Call from a
        thread that lives as long as the services should.
        """
        parts = cls(settings.home.resolve(), settings)
        parts.start_all(worker)
        return parts

    def start_all(self, worker: bool = True) -> None:
        """Start all services, as `start` does."""
        self.make_home()
        try:
            self.name_senders()
            self.start_chain()
            self.start_bucket()
            _bootstrap(self)
            self.name_senders()  # the bootstrap has made the keys
            self.launch_broker()
            self.launch_api()
            if worker:
                self.launch_worker()
            for name in ("broker", "api", "worker") if worker else ("broker", "api"):
                self.await_part(name)
            self.serving = True
        except BaseException:
            self.stop()
            raise

    def make_home(self) -> None:
        os.umask(0o077)  # other accounts of this machine must not read who used which data
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def name_senders(self, *others: str) -> None:
        """Write the list of trusted senders for the ledger: relay and worker of this home, and
        `others`.

        The settings may name more, e.g. the worker of another machine. No key is opened.
        """
        own = (self.settings.relay, self.settings.worker)
        local = [_address_in(self.settings.key_file(name)) for name in own]
        named = self.settings.senders.replace(",", " ").split()
        (self.home / "chain").mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = "".join(f"{sender}\n" for sender in (*local, *named, *others) if sender)
        replace_private(self.home / "chain" / SENDERS, lines.encode())

    def start_chain(self) -> None:
        relaxed = self.settings.relax == "isolation"
        self.chain = DevChain.start(
            self.home / "chain",
            self._port("chain"),
            relax_isolation=relaxed,
            identity=self.home / "identity.json",
            tell=self.tell,
        )
        self._know("chain", self.chain.url, self.chain.seconds)

    def start_bucket(self) -> None:
        """Look at the bucket that the settings name, or start an emulator where they name none.

        Raises BucketUnavailable, UsageError.
        """
        began = time.monotonic()
        if self.settings.bucket_url:
            bucket = open_bucket(self.settings)
            if self.settings.bucket_location:
                bucket.create(self.settings.bucket_location)
            bucket.probe()
            self._know("bucket", self.settings.bucket_url, time.monotonic() - began)
            return
        self.bucket = BucketProcess.start(self.home / "bucket", self._port("bucket"))
        Bucket(self.settings.bucket_name, self.bucket.url).create()
        self._know("bucket", self.bucket.url, time.monotonic() - began)

    def launch_broker(self) -> None:
        self._know("broker", f"http://127.0.0.1:{self._port('broker')}", 0.0)
        port = self.urls["broker"].rsplit(":", 1)[1]
        folder, identity = str(self.home / "broker"), str(self.home / "identity.json")
        self._launch(
            "governance.broker",
            "broker",
            "--folder",
            folder,
            "--node",
            self.urls["chain"],
            "--identity",
            identity,
            "--port",
            port,
        )

    def launch_api(self) -> None:
        port = self.settings.api_port or self._port("api")
        self._know("api", f"http://{self.settings.api_host}:{port}", 0.0)
        metrics_port = self.settings.metrics_port or self._port("metrics")
        self._know("metrics", f"http://{self.settings.metrics_host}:{metrics_port}", 0.0)
        environment = {"VOLENS_API_PORT": str(port), "VOLENS_METRICS_PORT": str(metrics_port)}
        if self.settings.demo:  # the token itself is in the printed address only
            self.demo_token = secrets.token_urlsafe(32)
            environment["VOLENS_DEMO_TOKEN"] = sha256(self.demo_token.encode()).hexdigest()
        self._launch("api.serve", "api", **environment)

    @property
    def address(self) -> str:
        """The address to open in a browser; with demo accounts it can be opened once."""
        url = self.urls["api"]
        return (
            f"{url}/pages/demo-accounts/enter?token={self.demo_token}" if self.demo_token else url
        )

    def launch_worker(self) -> None:
        self._launch("api.worker.supervisor", "worker")

    def await_part(self, name: str) -> None:
        """Wait until a launched service has read the ledger and works.

        Only a service that shows no progress for START_SECONDS is ended. Raises NotServing.
        """
        process, began = self.processes[name], self.launched[name]
        ask = _PrintedLines(process) if name == "worker" else _HealthRequests(self.urls[name])
        if not self._await(name, process, ask):
            _end(self.processes.pop(name))
            raise NotServing(
                f"the {name} did not start", f"read logs/{name}.log in the home folder"
            )
        self.seconds[name] = time.monotonic() - began

    def _await(self, name: str, process: subprocess.Popen[bytes], ask: _Sign) -> bool:
        watched = Watched(process.pid, START_SECONDS)
        last_report = time.monotonic()
        while process.poll() is None and not watched.stuck():
            sign = ask()
            if sign is True:
                return True
            if isinstance(sign, Progress):
                watched.moved(sign)
                if time.monotonic() - last_report >= TELL_SECONDS:
                    last_report = time.monotonic()
                    self.tell(f"{name:<7} reads the ledger: block {sign.block} of {sign.newest}")
        return False

    def stop_part(self, name: str) -> None:
        """Stop one service; the others continue, and report when they need it."""
        if name == "chain" and self.chain is not None:
            self.chain.stop()
        elif name == "bucket" and self.bucket is not None:
            self.bucket.stop()
        elif name in self.processes:
            _end(self.processes.pop(name))

    def stop(self) -> None:
        """Stop all services in reverse order; the home keeps all data.

        API and worker end at the same time, because each may have work to finish.
        """
        finishing = [
            self.processes.pop(name) for name in ("worker", "api") if name in self.processes
        ]
        for process in finishing:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in finishing:
            _await_end(process, deadline)
        for name in ("broker", "bucket", "chain"):
            self.stop_part(name)

    def kill(self) -> None:
        """Kill all services at once, like a power failure; the next start recovers."""
        running = [
            *self.processes.values(),
            *(part.process for part in (self.bucket, self.chain) if part is not None),
        ]
        for process in running:
            process.kill()

    def broken(self) -> str | None:
        """The name of a service that ended unexpectedly, if any."""
        ended = [name for name, process in self.processes.items() if process.poll() is not None]
        if self.chain is not None and self.chain.process.poll() is not None:
            ended.append("chain")
        if self.bucket is not None and self.bucket.process.poll() is not None:
            ended.append("bucket")
        return ended[0] if ended else None

    def _launch(self, module: str, name: str, *arguments: str, **environment: str) -> None:
        """Start a Python service; its output goes to logs/<name>.log."""
        (self.home / "logs").mkdir(exist_ok=True)
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                tether([sys.executable, "-m", module, *arguments], number=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "worker" else log,
                stderr=log,
                env=self.settings.child_environment(self.home) | environment,
                start_new_session=True,
            )
        self.launched[name] = time.monotonic()

    def _know(self, name: str, url: str, seconds: float) -> None:
        self.urls[name], self.seconds[name] = url, seconds
        # Services that are not started yet keep their previous address.
        known = _read_urls(self.home) | self.urls
        temporary = self.home / ".run.json"
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(self.home / "run.json")

    def _port(self, name: str) -> int:
        """The previous port of this service if it is still free, so that clients find it again."""
        before = self.urls.get(name) or _read_urls(self.home).get(name, "")
        port = int(before.rsplit(":", 1)[1]) if before else 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


def serve(demo: bool = False) -> int:
    """Start all services, print their addresses, run until SIGTERM or Ctrl-C; `demo`: on the demo's
    home.

    Raises NotServing, also when there is no such home.
    """
    settings = _demo_settings(Settings()) if demo else Settings()
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
    try:
        _print_addresses(parts)
        while not stop.wait(0.5):
            ended = parts.broken()
            if ended is not None:
                raise NotServing(
                    f"the {ended} ended",
                    f"read logs/{ended}.log in the home folder, then start again",
                )
        log.info("stopping")
    finally:
        parts.stop()
        log.info("stopped")
    return 0


def _print_addresses(parts: Parts) -> None:
    for name in ("chain", "bucket", "broker", "api"):
        print(f"{name:<7} {parts.urls[name]}   {parts.seconds[name]:.1f} s", flush=True)
    print(
        f"worker  ready   {parts.seconds['worker']:.1f} s\nmetrics {parts.urls['metrics']}/metrics",
        flush=True,
    )
    if has_demo_accounts(parts.home):
        print("This home contains everybody's key: these are demo accounts.", flush=True)
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


def _address_in(path: Path) -> str:
    """The address in a key file, "" if there is none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _bootstrap(parts: Parts) -> None:
    if read_identity(parts.home) is None:
        # A demo committee must not replace the planned one.
        if parts.settings.ceremony_folder.exists():
            raise NotServing(
                "the key ceremony of this deployment is not finished", "continue it: volens init"
            )
        engine = open_database(parts.settings.database)
        bootstrap(parts.home, parts.urls["chain"], TableOutbox(engine))
        engine.dispose()


_Sign = Callable[[], "bool | Progress"]  # whether a service works, or its progress with the ledger


class _HealthRequests:
    """Reads a service's state from its health endpoint."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self) -> bool | Progress:
        try:
            answer = httpx.get(f"{self._url}/health", timeout=2.0, verify=trusted())
        except httpx.HTTPError:
            time.sleep(0.02)
            return False
        progress = progress_in(answer.content)
        if progress is None:
            return answer.status_code == httpx.codes.OK
        time.sleep(0.05)
        return progress


class _PrintedLines:
    """Reads the state of a service without endpoints from its output: `reading BLOCK NEWEST`, then
    `ready`.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._output = cast("BinaryIO", process.stdout)
        self._data = b""

    def __call__(self) -> bool | Progress:
        if not select.select([self._output], [], [], 0.1)[0]:
            return False
        self._data += os.read(self._output.fileno(), 4096)
        *lines, self._data = self._data.split(b"\n")
        for line in reversed(lines):
            word, *numbers = line.split()
            if word == b"ready":
                return True
            if word == b"reading" and len(numbers) == 2:
                return Progress(int(numbers[0]), int(numbers[1]))
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    _await_end(process, time.monotonic() + STOP_SECONDS)


def _await_end(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Wait until the deadline, then kill the process if it has not ended."""
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _read_urls(home: Path) -> dict[str, Any]:
    try:
        urls = json.loads((home / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return urls if isinstance(urls, dict) else {}
