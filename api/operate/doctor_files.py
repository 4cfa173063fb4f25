"""Checks of the doctor on files: permissions of keys and pinned files, the committee's keys, disk,
rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from api.operate.bootstrap import founders_here
from api.operate.ledger_lag import lag_of
from api.operate.settings import Settings
from chain.errors import ChainError
from chain.ledger import Ledger
from governance.errors import GovernanceError, NotFound
from governance.readmodel import statistics
from governance.readmodel.database import DATABASE_FAULTS, OUTAGES, Database, open_database
from governance.readmodel.trail_queries import find_step

State = Literal["ok", "warn", "down", "bad"]
LOW_DISK = 2 << 30  # bytes; a journal that cannot be written stops every access
LONG_QUEUE = 20  # runs
BROKER_FILES = ("wallet", "exchange", "provider")
SERVE = "volens serve"


@dataclass(frozen=True, slots=True)
class Check:
    """One result: the finding (`means`, in plain words), and what to do, which is empty if all is
    well.
    """

    name: str
    state: State
    means: str
    do: str = ""


def committee(settings: Settings, identity: Mapping[str, Any], members: set[bytes] | None) -> Check:
    """Count the committee's keys on this machine: a quorum of them can give anybody any role.

    `members`: who holds the role on the ledger now; None if unknown, then the founders are used.
    """
    who = identity["founders"] if members is None else ["0x" + member.hex() for member in members]
    here, quorum = founders_here(settings.home, {"founders": who}), int(identity["quorum"])
    whose = "founders'" if members is None else "committee members'"
    message = (
        f"{len(here)} of {len(who)} {whose} keys are on this machine; {quorum} decide together"
    )
    if len(here) >= quorum:
        return Check(
            "committee",
            "warn",
            f"{message}: whoever controls this machine is the committee",
            "for demo accounts only; for a real deployment: volens init",
        )
    return Check("committee", "ok", message)


def key_files(settings: Settings) -> Check:
    """Check that other accounts can neither read keys (people's, broker's) nor write pinned files.

    An account that can write the home or keys/ can replace the pinned identity or a key, even if
    the file is closed.
    """
    home, broker = settings.home, settings.home / "broker"
    private = [*(home / "keys").glob("*.json"), *(broker / name for name in BROKER_FILES), broker]
    exposed = sum(bool(path.stat().st_mode & 0o077) for path in private if path.exists())
    pinned = {
        "the home folder": home,
        "keys/": home / "keys",
        "identity.json": settings.identity_file,
        "run.json": settings.run_file,
    }
    open_to_all = [
        name for name, path in pinned.items() if path.exists() and path.stat().st_mode & 0o022
    ]
    means, do = [], []
    if exposed:
        means.append(f"other accounts of this machine can read {exposed} of keys/ and broker/")
        do.append("chmod 600 the files, 700 the folder broker/, and replace those keys")
    if open_to_all:
        means.append(
            f"other accounts of this machine can write {', '.join(open_to_all)}, and so exchange "
            "a key or what is pinned"
        )
        do.append(
            "chmod 700 the folders, 600 the files, then compare identity.json with another machine's"
        )
    if means:
        return Check("key files", "bad", "; ".join(means), "; ".join(do))
    return Check(
        "key files", "ok", "only their owner can read them, and nobody else can exchange them"
    )


def disk(settings: Settings) -> Check:
    folder = settings.home if settings.home.exists() else Path()
    free = shutil.disk_usage(folder).free
    low = free < LOW_DISK
    return Check(
        "disk",
        "warn" if low else "ok",
        f"{free / (1 << 30):.1f} GB free on the disk of the home folder",
        "make room: when the journal cannot be written, nobody's data can be used" if low else "",
    )


def rows(settings: Settings, ledger: Ledger | None) -> Iterator[Check]:
    """Check the lag of the rows behind the ledger, and the queue."""
    if not settings.has_database:
        yield Check(
            "rows", "warn", "there is no database on this machine", f"this makes it: {SERVE}"
        )
        return
    try:
        engine = open_database(settings.database)
        try:
            yield queue(engine)
            if ledger is not None:
                yield lag(engine, ledger)
        finally:
            engine.dispose()
    except GovernanceError as error:
        yield Check("rows", "bad", str(error), error.hint)
    except (*DATABASE_FAULTS, *OUTAGES):
        yield Check(
            "rows",
            "bad",
            "the database cannot be read",
            "see its disk; put a damaged file aside, then derive the rows anew: volens rebuild",
        )


def queue(engine: Database) -> Check:
    depth = statistics.queue_depth(engine)
    if depth > LONG_QUEUE:
        return Check(
            "queue",
            "warn",
            f"{depth} runs wait or are computed",
            "see their state: volens run show",
        )
    return Check("queue", "ok", f"{depth} runs wait or are computed")


def lag(engine: Database, ledger: Ledger) -> Check:
    """Compare the newest row with the newest block, and the ledger's head with its row; no other
    row.
    """
    try:
        # First, because a step that is mined meanwhile may be in the rows or not.
        count, head = ledger.head()
        blocks, seconds = lag_of(engine, ledger)
    except ChainError as error:
        return Check("chain lag", "down", "the ledger was not compared with the rows", error.hint)
    if blocks:
        return Check(
            "chain lag",
            "warn",
            f"the rows lack {blocks} of the ledger's blocks, and are {seconds} s behind",
            "they catch up by themselves; if they do not: volens rebuild",
        )
    try:
        same = count == 0 or find_step(engine, count).head == head.hex()
    except NotFound:
        same = False
    if not same:
        return Check(
            "chain lag",
            "bad",
            f"the rows lack step {count}, the ledger's newest, or have another one",
            "see which rows differ: volens rebuild --compare; then: volens rebuild",
        )
    return Check(
        "chain lag",
        "ok",
        f"no block with steps is newer than the newest row, and step {count}, the ledger's "
        "newest, is in the rows with the same head; older rows were not compared "
        "(volens rebuild --compare compares all)",
    )
