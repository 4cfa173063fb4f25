"""kill -9 at random times of any process of a deployment started by `volens serve`, and of its
database's server.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from copied_rows import copy_rows
from faults import oracle
from faults.operations import PARAMS

from analytics.code import code_hash, params_schema_hash
from analytics.simulate.synthetic import simulate_people
from api.client.client import Client
from api.demo.cast import CONSENT, Cast, Patient
from api.demo.postgres import Postgres
from api.demo.steps import request
from api.errors import Answered, NotServing
from api.ingest.sources import bring_in
from api.operate.bootstrap import key_of
from api.operate.processes import Parts
from api.operate.settings import LOCAL, Settings
from chain.errors import ChainError
from chain.ledger import Ledger
from chain.vocabulary import Role
from governance.consent import PURPOSES, bits, offer
from governance.errors import GovernanceError
from governance.objects.ingest import Source
from governance.objects.vault import Bucket
from governance.readmodel.database import open_database
from governance.readmodel.projection import Projection

PARTS = ("chain", "anvil", "api", "worker", "broker", "bucket")
DATABASE = "database"  # a part where it is a server
PEOPLE = 24
TIMEOUT = 60.0  # seconds until all parts answer again
AWAY = (
    Answered,
    NotServing,
    ChainError,
    GovernanceError,
    OSError,
    httpx.HTTPError,
)  # what callers meet meanwhile


@dataclass(frozen=True, slots=True)
class Outcome:
    """One injury: of which part, where, seconds until everything answered again, and what the judge
    found then.
    """

    operation: str
    target: str
    mode: str
    where: str
    seconds: float
    violations: list[str]


class ReportingParts(Parts):
    """The parts as `volens serve` starts them, with a worker that tells the judge what reached it
    (tests/faults/reporting_worker.py).
    """

    def launch_worker(self, name: str, awaited: bool = True) -> None:
        names = name if self.settings.engine == LOCAL else self.settings.worker
        environment = {"VOLENS_WORKER": names, "PYTHONPATH": str(Path(__file__).parents[1])}
        self._launch("faults.reporting_worker", name, environment=environment, awaited=awaited)


class ServedHome:
    """A served home, with willing people whose records are in the bucket, and a permit."""

    head: int | None = None  # the process of a Ray that others have started, if there is one

    def __init__(
        self,
        home: Path,
        postgres: Postgres | None = None,
        workers: Sequence[str] = ("worker",),
        engine: str = LOCAL,
        ray_token: Path | None = None,
        url: str = "",
    ) -> None:
        """url: of a database of `postgres`, otherwise a new one."""
        self.postgres = postgres
        if postgres and not url:
            url = postgres.url(f"d{secrets.token_hex(8)}")
        for name in workers[1:]:
            key_of(home, name)
        settings = Settings(
            home=home,
            database_url=url,
            worker=",".join(workers),
            engine=engine,
            ray_token=ray_token,
            device="cpu",
        )
        self.parts = ReportingParts.start(settings)
        self.cast = Cast(home, self.parts)
        for name in workers[1:]:  # the first has its role from the bootstrap
            self.cast.give_role(name, Role.WORKER)
        self.cast.enrol(PEOPLE, 0)
        omar = self.cast.client("omar")
        omar.register_dataset(self.cast.dataset, secrets.token_bytes(32))
        people = zip(self.cast.patients, simulate_people(PEOPLE, seed=3), strict=True)
        sources = [
            Source(who.subject, category, payload)
            for who, person in people
            for category, payload in (
                (2, person.observations(who.subject.hex())),
                (6, person.expression(who.subject.hex())),
            )
        ]
        bring_in(
            omar,
            self.cast.broker(),
            Bucket("volens", self.parts.urls["bucket"]),
            self.cast.dataset,
            sources,
        )
        self.cast.agree(self.cast.dataset, self.cast.patients)
        self.permit = self._permit()

    def _permit(self) -> bytes:
        noor, permit = self.cast.client("noor"), secrets.token_bytes(32)
        noor.request_permit(
            {
                "permit": permit,
                "dataset": self.cast.dataset,
                "categories": 1 << 2 | 1 << 6,
                "purposeNeed": bits(CONSENT.purposes[:1], PURPOSES),
                "codeHash": code_hash(),
                "paramsSchemaHash": params_schema_hash(),
                "minCohort": 1,
                "outputClasses": 1 << 1,
                "questions": 100,
                "expiry": int(time.time()) + 86_400,
                "documentHash": secrets.token_bytes(32),
            }
        )
        for name in ("pia", "quinn"):
            self.cast.client(name).vote(permit.hex(), True)
        return permit

    def go_on(self, who: Patient, until: float) -> None:
        """A person withdraws, a run is asked for and computed, she agrees again: each until it is
        done.
        """
        noor, dataset = self.cast.client("noor"), self.cast.dataset
        own = Client(self.parts.urls["api"], self.cast.identity, who.wallet, who.subject)

        def consent() -> dict[str, Any]:
            return own.consent_to(dataset) or {}

        def withdraw() -> bool:
            if consent()["status"] != "revoked":
                own.revoke(dataset, consent()["epoch"])
            return True

        def agree() -> bool:
            now = int(time.time())
            signed = offer(
                CONSENT,
                who.subject,
                dataset,
                consent()["epoch"],
                consent()["version"],
                now,
                now + 3600,
            )
            return own.grant([own.signed_grant(signed.message)])["items"][0]["accepted"]

        self._insist(withdraw, until)
        self._insist(lambda: request(self.cast, self.permit, PARAMS), until)
        self._insist(agree, until)
        self._insist(
            lambda: all(run["state"] not in ("queued", "authorised") for run in noor.runs()), until
        )

    def _insist(self, step: Callable[[], object], until: float) -> None:
        while time.monotonic() < until:
            with suppress(*AWAY):
                if step():
                    return
            time.sleep(0.1)
        raise TimeoutError("what people wanted to do could not be done")

    def kill(self, part: str) -> None:
        chain, bucket = self.parts.chain, self.parts.bucket
        if part == DATABASE:
            assert self.postgres is not None
            self.postgres.kill()
            return
        match part:
            case "chain":
                process = chain.process.pid
            case "anvil":
                children = Path(
                    f"/proc/{chain.process.pid}/task/{chain.process.pid}/children"
                ).read_text()
                process = int(children.split()[0])
            case "bucket":
                process = bucket.process.pid
            case _:
                process = self.parts.processes[part].pid
        os.kill(process, signal.SIGKILL)

    def start_again(self, part: str) -> float:
        """Seconds until it answers, and so do the others. Raises TimeoutError."""
        began = time.monotonic()
        match part:
            case "database":
                assert self.postgres is not None
                self.postgres.go()
            case "chain" | "anvil":
                self.parts.chain.stop()
                self.parts.start_chain()
            case "bucket":
                self.parts.bucket.stop()
                self.parts.start_bucket()
            case _:
                self.parts.stop_part(part)
                if part in self.parts.workers:
                    self.parts.launch_worker(part)
                else:
                    getattr(self.parts, f"launch_{part}")()
                self.parts.await_part(part)
        self._insist(self._all_answer, began + TIMEOUT)
        return time.monotonic() - began

    def _all_answer(self) -> bool:
        health = httpx.get(f"{self.parts.urls['api']}/health", timeout=TIMEOUT).json()
        return not self.parts.ended() and all(part["state"] == "ok" for part in health.values())

    def judge(self, folder: Path) -> list[str]:
        answers = self.cast.home / "answers.jsonl"
        if not answers.exists():
            return ["nobody told the judge what reached the worker"]
        return judge(
            self.cast.identity,
            self.parts.urls["chain"],
            self.parts.urls["bucket"],
            "volens",
            self.cast.home,
            answers,
            folder / f"{secrets.token_hex(4)}.db",
            self._rows(folder),
        )

    def _rows(self, folder: Path) -> Path:
        """The rows as a SQLite file, which the judge reads."""
        if self.postgres is None:
            return self.cast.home / "volens.db"
        engine = open_database(self.parts.settings.database)
        try:
            return copy_rows(engine, folder / f"{secrets.token_hex(4)}.db")
        finally:
            engine.dispose()


def judge(
    identity: dict[str, Any],
    chain: str,
    bucket: str,
    name: str,
    home: Path,
    answers: Path,
    rebuilt: Path,
    rows: Path,
) -> list[str]:
    """What the judge says of a home and its `rows`, beside rows derived anew in `rebuilt`."""
    engine = open_database(f"sqlite:///{rebuilt}")
    Projection(engine, Ledger.connect(chain, identity), Bucket(name, bucket)).sync()
    engine.dispose()
    return oracle.violations(
        {
            "rpc": chain,
            "contracts": [item["address"] for item in identity["contracts"]],
            "deployBlock": identity["deployBlock"],
            "chain": str(home / "chain"),
            "journal": str(home / "broker" / "journal.jsonl"),
            "answers": str(answers),
            "database": str(rows),
            "rebuilt": str(rebuilt),
            "bucket": f"{bucket}/storage/v1/b/{name}",
        }
    )


def kill_from_outside(
    times: int, seed: int = 4, parts: Sequence[str] = PARTS, postgres: Postgres | None = None
) -> list[Outcome]:
    """Each of the parts in turn, at a random moment of what people do meanwhile; on PostgreSQL, if
    a server is given.
    """
    probability, folder, outcomes = (
        random.Random(seed),
        Path(tempfile.mkdtemp(prefix="volens-outside-")),
        [],
    )
    served = ServedHome(folder / "home", postgres)
    try:
        for turn in range(times):
            part, after = parts[turn % len(parts)], probability.uniform(0.0, 1.5)
            with ThreadPoolExecutor(1) as pool:
                life = pool.submit(
                    served.go_on, served.cast.patients[turn % PEOPLE], time.monotonic() + 120
                )
                time.sleep(after)
                served.kill(part)
                seconds = served.start_again(part)
                error = life.exception()
            violations = [str(error)] if error else served.judge(folder)
            outcomes.append(
                Outcome("living", part, "outside", f"after {after:.2f} s", seconds, violations)
            )
    finally:
        served.parts.stop()
        shutil.rmtree(folder)
    return outcomes
