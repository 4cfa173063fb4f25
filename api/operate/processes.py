"""Start all services on one machine in order, check their health, stop them in reverse order.

ledger → bucket → broker → api → workers. Each is a separate process that dies with this one.
`run.json` in the home folder has their addresses; a stopped home starts again with all its data.
Which of them are started again when they end: api/operate/serving.py.
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
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import httpx
import structlog

from api.errors import NotServing
from api.operate.besu import planned_id
from api.operate.bootstrap import (
    bootstrap,
    read_identity,
)
from api.operate.buckets import open_bucket
from api.operate.health import progress_in
from api.operate.settings import FOR_NOTICES, LOCAL, Settings
from chain.devnode.gateway import SENDERS
from chain.devnode.process import DevChain
from chain.devnode.tether import tether
from chain.devnode.watched import Watched
from chain.paging import Progress
from governance.certificates import trusted
from governance.errors import GovernanceError
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.keys import replace_private
from governance.objects.vault import Bucket
from governance.presence import is_alive
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES, TableOutbox, open_database

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

    @property
    def workers(self) -> list[str]:
        """The names of the workers that are started here, which are those of their keys; with Ray
        the first of them starts the others.
        """
        names = self.settings.workers
        return names if self.settings.engine == LOCAL else names[:1]

    def start_all(self, worker: bool = True) -> None:
        """Start all services, as `start` does."""
        self.settings.check_network()
        if self.settings.bucket_url:
            open_bucket(self.settings)  # asks nothing: a wrong address is said before all starts
        self.make_home()
        try:
            self.name_senders()
            self.start_chain()
            self.start_bucket()
            _bootstrap(self)
            self.name_senders()  # the bootstrap has made the keys
            self.launch_broker()
            self.launch_api()
            workers = self.workers if worker else []
            for name in workers:
                self.launch_worker(name)
            for name in ("broker", "api", *workers):
                self.await_part(name)
            self.serving = True
        except BaseException:
            self.stop()
            raise

    def make_home(self) -> None:
        os.umask(0o077)  # other accounts of this machine must not read who used which data
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def name_senders(self, *others: str) -> None:
        """Write the list of trusted senders for the dev chain: relay and worker of this home, and
        `others`.

        The settings may name more, e.g. the worker of another machine. No key is opened.
        """
        if self.settings.chain_url:
            return  # another ledger knows no such list
        own = (self.settings.relay, *self.settings.workers)
        local = [_address_in(self.settings.key_file(name)) for name in own]
        named = self.settings.senders.replace(",", " ").split()
        (self.home / "chain").mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = "".join(f"{sender}\n" for sender in (*local, *named, *others) if sender)
        replace_private(self.home / "chain" / SENDERS, lines.encode())

    def start_chain(self) -> None:
        """Start this home's dev chain, unless the settings name another ledger.

        Raises NotServing where nothing is deployed yet and it is not the one that `volens init
        besu` wrote: the deployment would be bound to it for ever.
        """
        planned = planned_id(self.home)
        if planned is not None and read_identity(self.home) is None:
            _check_planned(planned, self.settings.chain_url)
        if self.settings.chain_url:
            self._know("chain", self.settings.chain_url.rstrip("/"), 0.0)
            return
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
        scheme = "https" if self.settings.tls_certificate else "http"
        self._know("api", f"{scheme}://{_own_name(self.settings.api_host)}:{port}", 0.0)
        metrics_port = self.settings.metrics_port or self._port("metrics")
        self._know("metrics", f"http://{self.settings.metrics_host}:{metrics_port}", 0.0)
        environment = {"VOLENS_API_PORT": str(port), "VOLENS_METRICS_PORT": str(metrics_port)}
        if self.settings.demo:  # the token itself is in the printed address only
            self.demo_token = self.demo_token or secrets.token_urlsafe(32)
            environment["VOLENS_DEMO_TOKEN"] = sha256(self.demo_token.encode()).hexdigest()
        self._launch("api.serve", "api", environment=environment)

    @property
    def public_url(self) -> str:
        """Where people reach API and pages."""
        return self.settings.public_url.rstrip("/") or self.urls["api"]

    @property
    def address(self) -> str:
        """The address to open in a browser; with demo accounts it can be opened once."""
        url = self.public_url
        return (
            f"{url}/pages/demo-accounts/enter?token={self.demo_token}" if self.demo_token else url
        )

    def launch_worker(self, name: str, awaited: bool = True) -> None:
        """awaited: `await_part` is called next, which reads what the worker prints."""
        environment = {"VOLENS_WORKER": name} if self.settings.engine == LOCAL else {}
        self._launch("api.worker.start", name, environment=environment, awaited=awaited)

    def await_part(self, name: str) -> None:
        """Wait until a launched service has read the ledger and works.

        Only a service that shows no progress for START_SECONDS is ended. Raises NotServing.
        """
        process, began = self.processes[name], self.launched[name]
        ask = _PrintedLines(process) if name in self.workers else _HealthRequests(self.urls[name])
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

    def start_again(self, name: str) -> None:
        """Start a service that has ended, at the address where the others look for it.

        Does not wait until the broker, the API or a worker has read the ledger. Raises ChainError,
        GovernanceError, OSError.
        """
        match name:
            case "chain" if self.chain is not None:
                self.chain.stop()  # closes its output
                self.start_chain()
            case "bucket" if self.bucket is not None:
                self.bucket.stop()
                self.start_bucket()
            case "broker":
                self.launch_broker()
            case "api":
                self.launch_api()
            case _:
                self.launch_worker(name, awaited=False)

    def key_in_use(self, name: str) -> bool:
        """Whether a process of another home or hand uses the key of the API or of a worker."""
        key = self.settings.relay if name == "api" else name
        try:
            engine = open_database(self.settings.database)
        except GovernanceError:
            return True  # nothing is known, so nothing is taken away
        try:
            return is_alive(engine, _address_in(self.settings.key_file(key)), time.time())
        except (*DATABASE_FAULTS, *OUTAGES):
            return True
        finally:
            engine.dispose()

    def stop(self) -> None:
        """Stop all services in reverse order; the home keeps all data.

        API and worker end at the same time, because each may have work to finish.
        """
        finishing = [
            self.processes.pop(name) for name in (*self.workers, "api") if name in self.processes
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
        for process in self._running().values():
            process.kill()

    def ended(self) -> dict[str, int]:
        """The services that ended unexpectedly, by name, with their exit codes."""
        codes = {name: process.poll() for name, process in self._running().items()}
        return {name: code for name, code in codes.items() if code is not None}

    def _running(self) -> dict[str, subprocess.Popen[bytes]]:
        own = {"chain": self.chain, "bucket": self.bucket}
        return {name: part.process for name, part in own.items() if part is not None} | (
            self.processes
        )

    def _launch(
        self,
        module: str,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] = MappingProxyType({}),
        awaited: bool = False,
    ) -> None:
        """Start a Python service; its output goes to logs/<name>.log, unless `await_part` reads it."""
        if name in self.processes:
            _end(self.processes[name])
        known = self.settings.child_environment(self.home)
        if name != "api":
            known = {key: value for key, value in known.items() if key not in FOR_NOTICES}
        (self.home / "logs").mkdir(exist_ok=True)
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                # -P: else a module in the folder where this was called would be imported first.
                tether([sys.executable, "-P", "-m", module, *arguments], number=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if awaited else log,
                stderr=log,
                env={**known, **environment},
                start_new_session=True,
            )
        self.launched[name] = time.monotonic()

    def _know(self, name: str, url: str, seconds: float) -> None:
        self.urls[name], self.seconds[name] = url, seconds
        # Services that are not started yet keep their previous address.
        self.settings.model_copy(update={"home": self.home}).remember_address(name, url)

    def _port(self, name: str) -> int:
        """The previous port of this service if it is still free, so that clients find it again."""
        before = self.urls.get(name) or _read_urls(self.home).get(name, "")
        port = urlsplit(before).port or 0
        if self.serving:
            return port  # the other services go on asking there
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


def _check_planned(chain_id: int, url: str) -> None:
    from chain.node import Node

    if not url:
        raise NotServing(
            "the ledger of besu/ in the home folder has no deployment yet, and no node of it is named",
            "name one, VOLENS_CHAIN_URL=http://127.0.0.1:18545, or choose another VOLENS_HOME for a "
            "dev chain",
        )
    try:
        asked = int(Node(url.rstrip("/")).call("eth_chainId", []), 16)
    except (TypeError, ValueError):
        asked = -1
    if asked != chain_id:
        raise NotServing(
            "the node of VOLENS_CHAIN_URL is of another ledger than besu/ in the home folder",
            "name a node of that one, or choose another VOLENS_HOME",
        )


def _own_name(host: str) -> str:
    """The name by which this machine reaches what listens on `host`."""
    return "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "") else host  # noqa: S104


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
    """Reads a service's state from its health endpoint, on this machine."""

    def __init__(self, url: str) -> None:
        self._url = url
        # The certificate is for the name that others call; here it is only asked who is alive.
        self._verify = trusted() if url.startswith("http:") else False

    def __call__(self) -> bool | Progress:
        try:
            answer = httpx.get(f"{self._url}/health", timeout=2.0, verify=self._verify)
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
