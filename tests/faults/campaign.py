"""Kills, failures and hangs at every boundary of every operation, on real services; an independent
check after each.

The processes of the product are forked from this one, which has loaded everything: the ledger's
gateway, the broker, and the actor (the web process or the worker: whoever does the operation). One
of them is armed. Then what died is started again, the operation is repeated as its client would,
and tests/faults/oracle.py looks at the ledger, the journals, the rows and the bucket.
tests/faults/soak.py is the whole campaign (`make soak`); the tests take samples of it.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import boundaries, reporting_worker
from faults.operations import Operation
from faults.random_kills import Outcome, judge
from rig import Rig

import chain.devnode.gateway
import governance.broker.__main__
from analytics.simulate.synthetic import simulate_people
from api.demo.stage import World
from api.worker.sandbox import ForkServer
from api.worker.supervisor import Worker
from chain import events
from chain.devnode.anvil import find_anvil
from chain.ledger import Ledger, domain_of
from governance.objects.broker_client import BrokerClient
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.ingest import Source
from governance.objects.vault import Bucket
from governance.readmodel.database import TableOutbox, open_database
from governance.readmodel.projection import Projection
from governance.rules.ledger_data import identity_id

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 24  # ten of each outcome, the least that a run takes
TIMEOUT = 60.0  # seconds for an operation, injured or not: others may compute beside it


class Violated(AssertionError):
    """The judge found something, or an operation could not be done afterwards."""


class Part:
    """A forked process: the ledger's gateway, the broker, or an actor."""

    def __init__(
        self, work: Callable[[], object], counter: boundaries.Counter | None, hangs: bool = False
    ) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            with suppress(BaseException):
                os.dup2(write, 1)
                sys.stdout = os.fdopen(
                    1, "w", closefd=False
                )  # whoever runs the tests may have taken it
                if hangs:
                    boundaries.be_impatient()
                if counter is not None:
                    signal.signal(signal.SIGUSR1, counter.begin)
                    boundaries.arm(counter)
                status = int(bool(work()))
            os._exit(status)
        os.close(write)
        self._status: int | None = None

    def await_ready(self) -> None:
        """A server's first line. Raises Violated: a part that does not come back is a violation."""
        if not select.select([self._read], [], [], TIMEOUT)[0] or not os.read(
            self._read, 4096
        ).startswith(b"ready"):
            raise Violated("a part did not come back")

    def ended(self, seconds: float = 0.0) -> bool:
        deadline = time.monotonic() + seconds
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(0.002)
        return self._status is not None

    @property
    def did_it(self) -> bool:
        return self._status == 0

    def kill(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.ended(TIMEOUT)
        if self._read >= 0:
            os.close(self._read)
        self._read = -1


class Children(ForkServer):
    """Started by this process; a forked actor asks the same one, and is not its parent."""

    def __init__(self) -> None:
        super().__init__()
        self._owner = os.getpid()

    def warm(self) -> None:
        if os.getpid() == self._owner:
            super().warm()

    def forget(self) -> None:
        """A killed actor may have asked for a child and not heard of it."""
        while self._socket is not None and select.select([self._socket], [], [], 0.05)[0]:
            _, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
            for descriptor in descriptors:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                os.close(descriptor)


@dataclass
class Actor:
    """What a web process or worker holds, opened in its own process."""

    stage: Stage
    worker: bool

    def __post_init__(self) -> None:
        stage, rig = self.stage, self.stage.rig
        wallet = rig.world.people["wanda"] if self.worker else rig.world.relayer
        self.engine = open_database(stage.database)
        self.ledger = Ledger.connect(
            stage.url, stage.identity, wallet, TableOutbox(self.engine), resend=not self.worker
        )
        rig.world.ledger = self.ledger
        self.bucket = rig.bucket = Bucket(stage.bucket_name, stage.bucket.url)
        self.client = rig.client = stage.client()
        self.projection = Projection(self.engine, self.ledger, self.bucket)
        self.projection.sync()
        self.rig = rig

    def step(self) -> None:
        """As the worker's process does, and it tells the judge of each answer that reached it."""
        reporting_worker.tell(self.client, self.stage.answers)
        wallet = self.rig.world.people["wanda"]
        clock = self.stage.clock
        worker = Worker(
            wallet,
            self.ledger,
            self.engine,
            self.projection,
            self.bucket,
            self.client,
            clock=clock,
            children=self.stage.children,
            device="cpu",
        )
        while worker.step():
            pass


class Stage:
    """A deployment on real parts, with willing people whose records are in the bucket."""

    def __init__(self, folder: Path, bucket: BucketProcess, children: Children) -> None:
        self.folder, self.bucket, self.children = folder, bucket, children
        self.database = f"sqlite:///{folder / 'volens.db'}"
        self.answers, self.reached = folder / "answers.jsonl", folder / "reached"
        self.bucket_name = f"b{os.urandom(8).hex()}"
        self.ports = {name: _free_port() for name in ("gateway", "broker")}
        self.url = f"http://127.0.0.1:{self.ports['gateway']}"
        self.parts: dict[str, Part] = {}
        self.versions: dict[bytes, int] = {}  # of records that were ingested again
        self._turn = 0
        self.later = (
            0  # seconds that this stage's workers are ahead: pauses after an outage pass at once
        )
        self._build()

    def clock(self) -> int:
        return int(time.time()) + self.later

    def _build(self) -> None:
        self.launch("gateway")
        world = World.create(self.url, role_delay=0)
        self.identity = dict(world.ledger.identity)
        (self.folder / "identity.json").write_text(json.dumps(self.identity))
        address = governance.broker.__main__.create(self.folder / "broker")
        world.set_role(address, "broker")
        self.launch("broker")
        store = Bucket(self.bucket_name, self.bucket.url)
        store.create()
        self.rig = Rig(self.folder, world, store, self.bucket.log, None, None, self.client())  # type: ignore[arg-type]
        self.rig.subjects = world.enrol(PEOPLE)
        self.people = dict(zip(self.rig.subjects, simulate_people(PEOPLE, seed=3), strict=True))
        self.rig.ingest(
            [self.source(subject, category) for subject in self.rig.subjects for category in (2, 6)]
        )
        world.grant(self.rig.subjects)
        self.permit = self.rig.permit()
        self.mend()  # opens the database

    def source(self, subject: bytes, category: int) -> Any:
        person = self.people[subject]
        return Source(
            subject,
            category,
            (person.observations if category == 2 else person.expression)(subject.hex()),
        )

    def client(self) -> BrokerClient:
        domain = domain_of(self.identity)
        return BrokerClient(
            f"http://127.0.0.1:{self.ports['broker']}", domain, identity_id(self.identity)
        )

    def launch(
        self, name: str, counter: boundaries.Counter | None = None, hangs: bool = False
    ) -> None:
        """Start a server, in place of the one before."""
        if name in self.parts:
            self.parts[name].kill()
        self.parts[name] = Part(getattr(self, f"_serve_{name}"), counter, hangs)
        self.parts[name].await_ready()

    def _serve_gateway(self) -> int:
        return chain.devnode.gateway.main(
            [
                "--folder",
                str(self.folder / "chain"),
                "--port",
                str(self.ports["gateway"]),
                "--anvil",
                find_anvil(),
                "--snapshot-seconds",
                "0",
            ]
        )

    def _serve_broker(self) -> int:
        sys.argv = [
            "broker",
            "--folder",
            str(self.folder / "broker"),
            "--node",
            self.url,
            "--identity",
            str(self.folder / "identity.json"),
            "--port",
            str(self.ports["broker"]),
        ]
        return governance.broker.__main__.main()

    def mend(self) -> float:
        """Start again what died; seconds until all of it answers, with an actor that has finished
        what it left.
        """
        began = time.monotonic()
        for name, part in self.parts.items():
            if part.ended():
                self.launch(name)
        for worker in (False, True):
            actor = Part(lambda worker=worker: Actor(self, worker) and 0, None)
            if not actor.ended(TIMEOUT) or not actor.did_it:
                actor.kill()
                raise Violated("what was left could not be finished")
            actor.kill()
        return time.monotonic() - began

    def act(
        self,
        operation: Operation,
        counter: boundaries.Counter | None = None,
        hangs: bool = False,
        armed: int = 0,
    ) -> None:
        """The operation in a process of its own; counting begins with it, there or in the process
        `armed`.
        """

        def work() -> int:
            actor = Actor(self, operation.worker)
            if counter is not None:
                counter.begin()
            if armed:
                os.kill(armed, signal.SIGUSR1)
            operation.act(actor)
            actor.projection.sync()
            return 0

        actor = Part(work, counter, hangs)
        actor.ended(TIMEOUT)
        actor.kill()
        self.children.forget()

    def judge(self) -> list[str]:
        """What the judge says of everything that is left."""
        rebuilt = self.folder / f"{os.urandom(4).hex()}.db"
        return judge(
            self.identity,
            self.url,
            self.bucket.url,
            self.bucket_name,
            self.folder,
            self.answers,
            rebuilt,
            self.folder / "volens.db",
        )

    def injure(
        self, operation: Operation, target: str, mode: str, at: int, only: str = ""
    ) -> Outcome | None:
        """Strike at the `at`-th boundary of the target; None when the operation has fewer."""
        operation.prepare(self)
        self.reached.unlink(missing_ok=True)
        counter, hangs = boundaries.Counter(mode, at, self.reached, only), mode == "hang"
        if target == "actor":
            self.act(operation, counter, hangs)
        else:
            self.launch(target, counter, hangs)
            self.act(operation, None, hangs, self.parts[target].pid)
            if hangs:
                self.parts[target].kill()
        if not self.reached.exists():
            if target != "actor":
                self.launch(target)  # an armed one would strike at a later operation
            return None
        where = self.reached.read_text()
        if mode == "kill" and target != "actor" and not self.parts[target].ended(TIMEOUT):
            raise Violated("a part that killed itself lives on")  # it takes a moment to die
        seconds = self.mend()
        self.later += 100
        if not operation.is_done(self):
            self.act(operation)
        violations = self.judge()
        if not operation.is_done(self):
            violations.append("the operation could not be done afterwards")
        return Outcome(operation.name, target, mode, where, seconds, violations)

    def somebody(self) -> bytes:
        self._turn += 1
        return self.rig.subjects[self._turn % PEOPLE]

    def events(self, kind: type[Any]) -> list[Any]:
        ledger = self.rig.world.ledger
        return [
            event
            for event in events.parse_all(ledger.logs(0, int(ledger.block()["number"], 16)))
            if isinstance(event, kind)
        ]

    def close(self) -> None:
        for part in self.parts.values():
            part.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def stages() -> Iterator[Callable[[], Stage]]:
    """Makes stages, one after another, over one bucket and one server of computing children."""
    folder = Path(tempfile.mkdtemp(prefix="volens-kills-"))
    bucket, children = BucketProcess.start(folder / "bucket"), Children()
    children.warm()
    made: list[Stage] = []

    def make() -> Stage:
        for stage in made:
            stage.close()
        home = Path(tempfile.mkdtemp(prefix="stage-", dir=folder))
        made.append(Stage(home, bucket, children))
        return made[-1]

    try:
        yield make
    finally:
        for stage in made:
            stage.close()
        children.end()
        bucket.stop()
        shutil.rmtree(folder)


TARGETS = ("actor", "gateway", "broker")
AT_MOST = 40  # injuries on one stage: the judge reads all of it each time


def sweep(
    make: Callable[[], Stage],
    operation: type[Operation],
    target: str,
    mode: str,
    first: int = 1,
    step: int = 1,
) -> Iterator[Outcome]:
    """Strike at the first boundary, and every `step` further on, until the operation is over
    uninjured.
    """
    stage, at = make(), first
    for turn in itertools.count(1):
        outcome = stage.injure(operation(), target, mode, at)
        if outcome is None:
            return
        yield outcome
        at += step
        if turn % AT_MOST == 0:
            stage = make()
