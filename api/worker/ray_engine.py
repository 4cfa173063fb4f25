"""Ray as the engine of runs: this process claims them, and workers that Ray starts carry them out.

Only ids cross: the run, the number of its claim, and the worker's account. A Ray worker (an actor)
opens ledger, bucket, database, broker and its own worker key on its own machine, and carries the
attempt out as a local worker does, in the same confined child. Nothing is put into Ray's object
store, and Ray repeats nothing: if a worker dies, its claim is given up here, and the run goes on
with its next attempt, which the ledger decides on anew.

Ray's ports take any code from whoever has its token. A Ray of this machine gets a new token at each
start, in a file that only this account reads; a cluster's token is named by VOLENS_RAY_TOKEN.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import chdir, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import structlog

from api.errors import ApiError, UsageError
from api.operate import logs
from api.operate.buckets import open_bucket
from api.operate.identity import read_identity
from api.operate.settings import Settings, set_for_ray
from api.operate.startup import START_FAULTS, not_started
from api.worker.supervisor import BOUND, FINISH, HOLD, Worker, open_worker, read_ledger
from chain.devnode.tether import leave_no_core
from chain.errors import ChainError
from chain.ledger import Ledger
from governance.errors import GovernanceError
from governance.objects.keys import replace_private
from governance.presence import SIGN_SECONDS
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES, open_database
from governance.readmodel.projection import BOUND_SECONDS, Projection
from governance.readmodel.tables import Claim
from governance.runs import give_up, still_held, take_next

DONE, FAULT, UNKNOWN = "done", "fault", "unknown"  # how an attempt went
ANSWER = 60.0  # seconds that a worker with nothing to do has to answer
PAUSE = 0.2  # seconds between two looks at the queue
AGAIN = 2.0  # seconds after a worker that could not be started, or died
STORE = 80 << 20  # bytes of Ray's object store, the least that it takes: nothing is put there
FOLDER, PREFIX = "ray-folder", "volens-ray-"  # the file that names our folder, and its name
INNER = "r"  # Ray opens its own folder to everybody; ours around it stays shut
CHECK = 1.0  # seconds between two checks whether Ray still runs
log = structlog.get_logger()


class Actor:
    """One worker in a process of Ray's, with a key of its own from its machine's home folder."""

    def __init__(self) -> None:
        leave_no_core()
        settings = Settings()
        name, self._lock = _free_key(settings)
        folder = settings.home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        logs.configure("worker", settings.log, (folder / f"{name}.log").open("a", buffering=1))
        try:
            self._worker: Worker = open_worker(settings.model_copy(update={"worker": name}))
        except START_FAULTS as error:
            not_started(error)
            raise SystemExit(1) from None
        self._signing = threading.Thread(target=self._sign, daemon=True)
        self._signing.start()
        read_ledger(self._worker, threading.Event(), quiet=True)
        self._worker.children.warm()
        log.info("ready")

    def account(self) -> str:
        """The account of its key, once it has read the ledger."""
        return self._worker.wallet.address

    def attempt(self, run: str, token: int) -> str:
        """Carry out an attempt of a run that was claimed for this worker; faults are logged here.

        Returns how it went: DONE, FAULT, or UNKNOWN if its database does not know the claim.
        """
        own = Claim(run=run, worker=self._worker.wallet.address, token=token, until=0)
        try:
            if not still_held(self._worker.engine, own):
                log.error(
                    "another database",
                    fact="the claim of the run is not in this worker's database",
                    hint="name the scheduler's database on this machine: VOLENS_DATABASE_URL",
                )
                return UNKNOWN
            self._worker.attempt(own)
        except (ChainError, GovernanceError, *OUTAGES) as error:
            log.warning("waiting", fact=str(error) if not isinstance(error, OUTAGES) else "")
            return FAULT
        except Exception as error:  # as a local worker: the run has failed, the worker goes on
            log.error("fault", kind=type(error).__name__)
            return FAULT
        return DONE

    def _sign(self) -> None:
        """Give signs of life while Ray does, and nobody else has the key; then end at once."""
        ray = os.getppid()
        try:
            while os.getppid() == ray and not self._worker.replaced:
                self._worker.sign_of_life()
                time.sleep(SIGN_SECONDS)
        finally:
            os._exit(1)


def _free_key(settings: Settings) -> tuple[str, Any]:
    """The name of a worker's key here that no other actor uses, and what holds it while open.

    Raises UsageError.
    """
    for name in settings.workers:
        path = settings.key_file(name)
        if path.exists():
            file = path.open("rb")
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return name, file
            file.close()
    raise UsageError(
        "this machine has no worker's key that is free",
        "make one more, and name all of them: VOLENS_WORKER=worker,worker-2",
    )


class Scheduler:
    """Claims runs for the workers that Ray runs, one thread a worker."""

    def __init__(self, settings: Settings, ray: ModuleType) -> None:
        """Raises START_FAULTS."""
        self._ray = ray
        self._engine = open_database(settings.database)
        ledger = Ledger.connect(settings.address("chain"), read_identity(settings))
        self._projection = Projection(self._engine, ledger, open_bucket(settings), BOUND_SECONDS)
        self._gpus = _gpus(settings, ray)
        self._actors: dict[int, Any] = {}
        self._busy: dict[int, bool] = {}

    def work(self, number: int, stop: threading.Event) -> None:
        """Give runs to worker `number` until `stop`; start it again whenever it dies."""
        while not stop.is_set():
            try:
                actor = self._start(number)
                account = str(self._ray.get(actor.account.remote()))
                self._feed(number, actor, account, stop)
            except Exception as error:  # whatever it was, the worker is started again
                log.warning("a worker of Ray ended", kind=type(error).__name__)
                self._kill(number)
                stop.wait(AGAIN)

    def _kill(self, number: int) -> None:
        with suppress(Exception):
            self._ray.kill(self._actors[number])

    def _start(self, number: int) -> Any:
        """A new actor. Ray neither starts it again nor repeats its calls."""
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": 0, "max_task_retries": 0}
        actor = self._ray.remote(Actor).options(**options).remote()
        self._actors[number] = actor
        return actor

    def _feed(self, number: int, actor: Any, account: str, stop: threading.Event) -> None:
        while not stop.is_set():
            own = self._next(account)
            if own is None:
                stop.wait(PAUSE)
                # Raises when the worker has died while it had nothing to do.
                self._ray.get(actor.account.remote(), timeout=ANSWER)
                continue
            self._busy[number] = True
            try:
                outcome = self._ray.get(actor.attempt.remote(own.run, own.token))
            except self._ray.exceptions.RayError:
                with suppress(*DATABASE_FAULTS, *OUTAGES):
                    give_up(self._engine, own)
                raise
            finally:
                self._busy[number] = False
            if outcome == FAULT:
                stop.wait(AGAIN)
            elif outcome == UNKNOWN:
                log.error("a worker of Ray uses another database; its log says more")
                with suppress(*DATABASE_FAULTS, *OUTAGES):
                    give_up(self._engine, own)
                stop.wait(HOLD)

    def _next(self, account: str) -> Claim | None:
        """The next run, claimed for this worker; None if none waits, or a part is away."""
        try:
            if self._projection.behind.is_set() and not self._projection.catch_up():
                return None
            self._projection.sync()
            return take_next(self._engine, account, int(time.time()), HOLD)
        except (ChainError, GovernanceError) as error:
            log.warning("waiting", fact=str(error))
        except (*DATABASE_FAULTS, *OUTAGES) as error:
            log.warning("waiting", kind=type(error).__name__)
        return None

    def close(self) -> None:
        """Leave Ray, and end it if it is of this machine."""
        with suppress(Exception):
            self._ray.shutdown()

    def end(self) -> None:
        """Let running attempts end by themselves for FINISH seconds, then kill their workers.

        A child dies with its worker.
        """
        until = time.monotonic() + FINISH
        while any(self._busy.values()) and time.monotonic() < until:
            time.sleep(0.05)
        for number in self._actors:
            self._kill(number)


def main(settings: Settings) -> int:
    """Schedule until SIGTERM; prints `ready` once Ray is, or logs why it cannot start.

    Its workers may still read the ledger then: `/health` says how many have.
    """
    logs.configure("worker", settings.log)
    stop = threading.Event()
    try:
        lock, folder = _make_folder(settings)
    except (*START_FAULTS, ApiError) as error:
        return not_started(error)
    try:
        scheduler, count = _open(settings, folder)
    except (*START_FAULTS, ApiError) as error:
        _remove(folder)
        return not_started(error)
    _stop_on_signals(stop)
    threads = [
        threading.Thread(target=scheduler.work, args=(number, stop), daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    parts = _parts_of_ray(os.getpid()) if not settings.ray_address() else []
    while not stop.wait(CHECK) and all(map(_lives, parts)):
        pass
    code = 0 if stop.is_set() else 1
    if code:
        log.error("a process of Ray ended, so nothing can be computed: all of it is ended")
    else:
        log.info("stopping")
        scheduler.end()
        closing = threading.Thread(target=scheduler.close, daemon=True)
        closing.start()
        closing.join(BOUND - FINISH)  # Ray may wait for what has gone
    _remove(folder)
    lock.close()
    log.info("stopped")
    sys.stderr.flush()
    os._exit(code)


def _make_folder(settings: Settings) -> tuple[TextIO, Path]:
    """A new folder for Ray's sockets, whose names must be short, and the open file in the home that
    names it; what a killed predecessor left is removed.

    Raises UsageError while another scheduler of this home holds that file.
    """
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (settings.home / FOLDER).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UsageError(
            "another process schedules runs with Ray on this home folder",
            "stop it, or give this one a home folder of its own",
        ) from None
    lock.seek(0)
    with suppress(OSError, ValueError):
        before = Path(lock.read())
        if before.name.startswith(PREFIX) and before.stat().st_uid == os.getuid():
            _remove(before)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock.truncate(0)
    lock.write(str(folder))
    lock.flush()
    return lock, folder


def _remove(folder: Path) -> None:
    """End what Ray has left running, which writes its logs into this folder, and remove it."""
    for pid in users_of(folder):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def users_of(folder: Path) -> list[int]:
    """The other processes of this account with a file open in a folder."""
    users = set()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(path).startswith(f"{folder}/"):
                users.add(int(path.parts[2]))
    return sorted(users - {os.getpid()})


def _parts_of_ray(scheduler: int) -> list[int]:
    """The processes of a Ray of this machine without which it computes nothing, by the process that
    started them.
    """
    own = Path(f"/proc/{scheduler}/task").glob("*/children")
    children = [int(pid) for path in own for pid in path.read_text().split()]
    return [pid for pid in children if _program(pid) in ("gcs_server", "raylet")]


def _program(pid: int) -> str:
    with suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        return os.path.basename(line.decode("utf-8", "replace"))
    return ""


def _lives(pid: int) -> bool:
    return _program(pid) != ""  # a process that has ended, and was not waited for, has none


def _open(settings: Settings, folder: Path) -> tuple[Scheduler, int]:
    """Start or join Ray. Raises START_FAULTS, ApiError."""
    address, names = settings.ray_address(), settings.workers
    count = settings.ray_workers or len(names)
    if not address and count > len(names):
        raise UsageError(
            f"{count} workers need as many keys, and VOLENS_WORKER names {len(names)}",
            "name more keys there, or ask for fewer workers: VOLENS_RAY_WORKERS",
        )
    token = settings.ray_token
    if address and token is None:
        raise UsageError("a Ray cluster needs its token", "name its file: VOLENS_RAY_TOKEN")
    if token is None:
        token = folder / "token"
        replace_private(token, secrets.token_hex(32).encode())
    own = folder / INNER
    set_for_ray(token.resolve(), own)
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed", "pip install 'volens[ray]'") from None
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "configure_logging": False,
        "namespace": "volens",
    }
    try:
        # Ray has its workers import from the folder where it is begun.
        with chdir(folder):
            if address:
                ray.init(address=address, **quiet)
            else:
                ray.init(
                    address="local",
                    num_cpus=count,
                    include_dashboard=False,
                    object_store_memory=STORE,
                    _temp_dir=str(own),
                    **quiet,
                )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        log.error("ray", kind=type(error).__name__)
        raise UsageError(
            f"Ray {'cannot be joined' if address else 'cannot be started'} ({type(error).__name__})",
            f"see that this machine is part of the cluster: ray start --address={address}"
            if address
            else "see its free memory and the space in its temporary folder",
        ) from None
    return Scheduler(settings, ray), count


def _gpus(settings: Settings, ray: ModuleType) -> int:
    """GPUs that Ray reserves for each worker."""
    if settings.device == "cpu":
        return 0
    return 1 if settings.device == "cuda" or ray.cluster_resources().get("GPU", 0) else 0


def _stop_on_signals(stop: threading.Event) -> None:
    """After Ray has been started, which sets handlers of its own."""

    def handle(*_: object) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
