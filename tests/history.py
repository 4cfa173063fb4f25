"""A long history on a served deployment's ledger: many people and runs, by signed calls, without
computing.

`Crowd.of(parts)` signs for everybody of a played deployment (api/operate/bootstrap.py);
`live(runs)` adds runs of everybody.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from api.client.client import Client
from api.demo.stage import MemoryOutbox, World, random32
from api.operate.bootstrap import FOREVER, FOUNDERS, STAFF, read_identity
from api.operate.processes import Parts, _bootstrap
from api.operate.settings import Settings
from chain.devnode.watched import cpu_seconds
from chain.ledger import Ledger
from chain.wallets import load

REPORTED = 20  # runs between two words about how far it is
ENDINGS = ("released", "sealed", "released", "cancelled")  # of the runs, in turn


@dataclass
class Crowd:
    """Enrolled, willing people of one deployment, and the permit that their runs are under."""

    world: World
    people: list[bytes]
    permit: bytes
    runs: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, home: Path, url: str, people: int) -> Crowd:
        """Enrols so many and lets them agree.

        The relay key is the deployment's own, and nobody else uses it.
        """
        identity = read_identity(home)
        assert identity is not None
        names = {name: load(home / "keys" / f"{name}.json")[0] for name in (*FOUNDERS, *STAFF)}
        names["wanda"] = names["worker"]
        relay, _ = load(home / "keys" / "relay.json")
        ledger = Ledger.connect(url, identity, relay, MemoryOutbox())
        world = World(ledger, names, random32(), relay)
        world.register_dataset()
        subjects = world.enrol(people)
        world.grant(subjects)
        return cls(world, subjects, world.permit())

    def live(self, runs: int, tell: Callable[[str], None] = lambda _: None) -> None:
        """So many more runs of everybody, each with its requests, looks and ends."""
        for number in range(len(self.runs), len(self.runs) + runs):
            self.runs.append(self.run(ENDINGS[number % len(ENDINGS)]))
            if len(self.runs) % REPORTED == 0:
                tell(f"{len(self.runs)} runs")

    def run(self, ending: str) -> bytes:
        """One run of everybody, as far as `ending`."""
        world = self.world
        run = world.request_run(self.permit)
        world.authorise(run, self.people)
        if ending == "cancelled":
            message = {"run": run, "deadline": FOREVER}
            signature = world.by("noor", "Cancel", message)
            world.relay("AccessLedger", "cancel", "Cancel", message, signature)
            return run
        seal = world.seal(run)
        for checker in ("sol", "tess"):
            world.view_output(run, checker)
        if ending == "released":
            epochs = [0] * len(self.people)
            world.release(run, seal, self.people, epochs)
        return run


@dataclass(frozen=True, slots=True)
class Start:
    """One start of every part on a history: seconds until each worked, and what was said meanwhile."""

    seconds: dict[str, float]
    lines: list[str]
    page_cpu: float  # seconds of computing for the first page
    runs: int
    steps: int


def build(
    home: Path, people: int, runs: int, tell: Callable[[str], None] = lambda _: None
) -> Crowd:
    """A new played deployment in `home` with so many runs of so many people; nothing of it runs
    afterwards.
    """
    parts = Parts(home.resolve(), Settings(home=home))
    parts.make_home()
    try:
        parts.start_chain()
        parts.start_bucket()
        _bootstrap(parts)
        parts.name_senders()
        crowd = Crowd.of(home, parts.urls["chain"], people)
        crowd.live(runs, tell)
    finally:
        parts.stop()
    return crowd


def start_all(home: Path, busy: int = 0) -> Start:
    """Start every part on the home, beside so many programs that only compute, look at what it
    says, and stop.
    """
    loops = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(busy)]
    lines: list[str] = []
    parts = Parts(home.resolve(), Settings(home=home), tell=lines.append)
    try:
        parts.start_all()
        url = parts.urls["api"]
        states = {name: part["state"] for name, part in httpx.get(f"{url}/health").json().items()}
        assert set(states.values()) == {"ok"}, states
        runs = len(Client(url, read_identity(home) or {}).runs())
        steps = httpx.get(f"{url}/trail/head").json()
        assert steps["witness"]["count"] == steps["count"]  # the broker's own replay, as far
        page_cpu = _cpu_of_page(url, parts.processes["api"].pid)
        return Start(dict(parts.seconds), lines, page_cpu, runs, steps["count"])
    finally:
        parts.stop()
        for loop in loops:
            loop.kill()
            loop.wait()


def _cpu_of_page(url: str, pid: int, times: int = 10, rounds: int = 4) -> float:
    """Seconds that the web process computes for its first page: the mean of the best round.

    The process follows the ledger meanwhile, and right after a start that costs more than a page.
    It is not the page's, so the round with the least of it counts; a page that reads the history
    would be slow in every round.
    """
    get = partial(httpx.get, f"{url}/", headers={"Accept": "text/html"})
    assert get().status_code == 200
    means = []
    for _ in range(rounds):
        before = cpu_seconds(pid)
        for _ in range(times):
            get()
        means.append((cpu_seconds(pid) - before) / times)
    return min(means)


def multiply_runs(source: str, target: str, runs: int, people: int) -> str:
    """A copy of a SQLite database with so many more runs of so many people each; returns one person
    who is in all.

    Of three runs two are released and one waits in the queue. The rows have the forms that the
    ledger's events give; for measuring what reads them.
    """
    import sqlite3

    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
        (permit,) = new.execute("SELECT permit FROM permits LIMIT 1").fetchone()
        subjects = [
            subject for (subject,) in new.execute("SELECT subject FROM subjects LIMIT ?", (people,))
        ]
        (block,) = new.execute("SELECT max(number) FROM blocks").fetchone()
        (step,) = new.execute("SELECT max(step) FROM events").fetchone()
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in _INSERTS}
        for number in range(runs):
            run, tx = random32().hex(), random32().hex()
            block, step = block + 1, step + 1
            queued = number % 3 == 2
            rows["blocks"].append((block, random32().hex(), 1_790_000_000 + number))
            state = "queued" if queued else "released"
            asked = (
                run,
                permit,
                "0x" + "ab" * 20,
                "",
                '{"model":"logistic"}',
                "cd" * 32,
                "ef" * 32,
            )
            rows["runs"].append((*asked, 2**40 - 1, 0 if queued else 1, state, 0, block))
            names = ["RunRequested"] if queued else _RELEASED
            events = [(name, run, None, _FIELDS.format(run=run)) for name in names]
            events += [
                ("AccessGranted", run, subject, _FIELDS.format(run=run))
                for subject in subjects
                if not queued
            ]
            head = json.dumps({"count": step, "head": "12" * 32})
            events.append(("Head", None, None, head))
            rows["events"] += [
                (block, position, tx, name, run, subject, step, fields)
                for position, (name, run, subject, fields) in enumerate(events)
            ]
            if not queued:
                rows["accesses"] += [
                    (run, 1, subject, 1, 0, 1, 0, block, tx) for subject in subjects
                ]
                rows["outputs"].append((run, 1, *["34" * 32] * 3, 1, 0, block, tx))
                rows["run_records"].append((run, 1, '{"seconds":{"consent":"0.5","keys":"0.7"}}'))
                rows["progress"] += [
                    (run, 1, name, 500, 1_790_000_000) for name in ("keys", "sealed")
                ]
            rows["marks"].append((f"mined:{tx}", 1_790_000_000_000, ""))
        for name, listed in rows.items():
            new.executemany(_INSERTS[name], listed)
    return subjects[0]


_RELEASED = ["RunRequested", "RunAuthorised", "Sealed", "OutputViewed", "OutputViewed", "Released"]
_FIELDS = (
    '{{"analyst":"0x00","attempt":1,"attemptEpochVersion":"72057594037927937","checkerA":"0x01","checkerB":"0x02","denied":0,'
    '"granted":9,"outputClass":1,"permit":"ab","reason":0,"relaxed":0,"run":"{run}","viewer":"0x01","worker":"0x03"}}'
)
_INSERTS = {
    "blocks": "INSERT INTO blocks VALUES (?,?,?)",
    "events": "INSERT INTO events VALUES (?,?,?,?,?,?,?,?)",
    "runs": "INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    "accesses": "INSERT INTO accesses VALUES (?,?,?,?,?,?,?,?,?)",
    "outputs": "INSERT INTO outputs VALUES (?,?,?,?,?,?,?,?,?)",
    "run_records": "INSERT INTO run_records VALUES (?,?,?)",
    "progress": "INSERT INTO progress (run, attempt, step, fraction, at) VALUES (?,?,?,?,?)",
    "marks": "INSERT INTO marks VALUES (?,?,?)",
}
