"""The scene `reach`: a database server, several workers, Ray where it is installed, and a second
home that joins.

PostgreSQL is started where its programs and psycopg are installed, unless VOLENS_DATABASE_URL names
an empty database.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from analytics.params import complete
from analytics.simulate.known_truth import simulate_cohort
from analytics.simulate.synthetic import simulate_people
from api.client.joining import address_to_join, check_fingerprint, fetch_identity, keep
from api.demo.cast import Cast
from api.demo.postgres import Postgres, find_programs
from api.demo.steps import ask_permits, ingest_all, request
from api.errors import NotServing, UsageError, VerificationFailed
from api.operate.bootstrap import key_of
from api.operate.processes import Parts
from api.operate.settings import LOCAL, RAY, Settings
from chain.vocabulary import Role
from governance.readmodel.database import Database, is_in_use, open_database, server_version
from governance.rules.ledger_data import identity_id
from governance.runs import holders

WORKERS = ("worker", "worker-2")
PEOPLE, SIMULATED, VARIANTS, RUNS = 24, 8, 40, 6
SECONDS = 120.0
PARAMS = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"logistic": ["clinical"]},
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
    }
)
Say = Callable[[str], None]


def play(folder: Path, say: Say) -> bool:
    """Play the scene; whether everything was as expected. Raises UsageError, NotServing."""
    with contextlib.ExitStack() as stack:
        return _play(folder, say, _database() or _start_database(stack))


def _play(folder: Path, say: Say, database: str) -> bool:
    engine = _engine()
    settings = Settings(
        home=folder / "home",
        chain_url="",  # a temporary ledger
        database_url=database,
        worker=",".join(WORKERS),
        engine=engine,
    )
    for name in WORKERS:
        key_of(settings.home, name)
    rows = open_database(settings.database)
    say(f"   database   {_describe(rows)}")
    say(f"   engine     {_describe_engine(engine)}")
    parts = Parts.start(settings)
    try:
        cast = Cast(settings.home, parts)
        cast.give_role(WORKERS[1], Role.WORKER)
        cast.enrol(PEOPLE, SIMULATED)
        ingest_all(cast, simulate_people(PEOPLE, seed=3), simulate_cohort(SIMULATED, 3, VARIANTS))
        permit = ask_permits(cast)[0]["research"]
        cast.agree(cast.dataset, cast.patients)
        checks = [
            _join(folder, parts, cast, say),
            _share(rows, cast, permit, say),
            _lose_one(rows, cast, permit, say),
        ]
    finally:
        parts.stop()
        rows.dispose()
    return all(checks)


def _database() -> str:
    """The empty database that the settings name, or none. Raises UsageError for one in use."""
    url = Settings().database_url
    if url:
        engine = open_database(url)
        used = is_in_use(engine)
        engine.dispose()
        if used:
            raise UsageError(
                "the database that VOLENS_DATABASE_URL names belongs to a ledger",
                "name an empty one for the demo",
            )
    return url


def _start_database(stack: contextlib.ExitStack) -> str:
    """An empty database of a server that is stopped with the stack; none where the programs or the
    library are not installed.
    """
    if find_programs() is None or not _is_installed("psycopg"):
        return ""
    server = Postgres.start()
    stack.callback(server.stop)
    return server.url("volens")


def _engine() -> str:
    return RAY if _is_installed(RAY) else LOCAL


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _describe(rows: Database) -> str:
    version = server_version(rows)
    if not version:
        return (
            "SQLite; install PostgreSQL and pip install 'volens[postgres]', or name an empty "
            "database in VOLENS_DATABASE_URL, to see PostgreSQL"
        )
    return f"PostgreSQL {version}"


def _describe_engine(engine: str) -> str:
    if engine == LOCAL:
        return "each worker's own process; pip install 'volens[ray]' to see Ray"
    return f"Ray {importlib.metadata.version(RAY)}, which starts the workers"


def _join(folder: Path, parts: Parts, cast: Cast, say: Say) -> bool:
    """Another home pins the ledger by its fingerprint; a false one is refused."""
    address = address_to_join(
        parts.settings.model_copy(update={"api": parts.public_url}), cast.identity
    )
    elsewhere = Settings(home=folder / "elsewhere", api="", public_url="")
    identity = fetch_identity(address.url)
    try:
        check_fingerprint(identity, "0" * 64)
        refused = False
    except VerificationFailed:
        refused = True
    check_fingerprint(identity, address.fingerprint)
    keep(elsewhere, address.url, identity)
    joined = identity_id(identity) == identity_id(cast.identity)
    say(
        f"   joined     {address.url}, fingerprint {address.fingerprint[:8]}…; "
        f"a false one: {'REFUSED' if refused else 'ACCEPTED'}"
    )
    return joined and refused


def _share(rows: Database, cast: Cast, permit: bytes, say: Say) -> bool:
    """The workers share the runs, and each is computed once."""
    runs = [request(cast, permit, PARAMS) for _ in range(RUNS)]
    attempts = _await(cast, runs)
    shares = Counter(holders(rows, runs).values())
    count = cast.client("noor").health()["worker"]["count"]
    split = " and ".join(str(shares[name]) for name in sorted(shares))
    say(
        f"   {RUNS} runs     {count} workers alive, which computed {split} of them; "
        f"attempts of each: {', '.join(str(attempts[run]) for run in runs)}"
    )
    return set(attempts.values()) == {1} and len(shares) == len(WORKERS) == count


def _lose_one(rows: Database, cast: Cast, permit: bytes, say: Say) -> bool:
    """A process that computes is killed: its run goes on with the next attempt."""
    runs = [request(cast, permit, PARAMS) for _ in range(2)]
    part = cast.parts.workers[-1]
    time.sleep(0.5)
    os.kill(cast.parts.processes[part].pid, signal.SIGKILL)
    began = time.monotonic()
    cast.parts.start_again(part)
    attempts = _await(cast, runs)
    people = cast.keys().keys() - cast.logged().keys()
    say(
        f"   kill -9    {part} is back, and its runs done after {time.monotonic() - began:.1f} s; "
        f"attempts {', '.join(str(attempts[run]) for run in runs)}; unlogged decryptions {len(people)}"
    )
    return max(attempts.values()) <= 2 and not people


def _await(cast: Cast, runs: list[str]) -> dict[str, int]:
    """The attempts of each run, once all are sealed. Raises NotServing."""
    noor, deadline = cast.client("noor"), time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        states = {run["run"]: run for run in noor.runs() if run["run"] in runs}
        if all(states[run]["state"] == "sealed" for run in runs):
            return {run: int(states[run]["attempt"]) for run in runs}
        time.sleep(0.2)
    raise NotServing("the runs were not computed", "read the files under logs in the home folder")
