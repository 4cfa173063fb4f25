"""How a deployment is, point by point: what each finding means and what to do about it.

Every check answers, whatever else is down. States: ok; warn (it works, and should be looked at); down (a part does not
answer); bad (something is not what it was pinned to be).
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from analytics.code import code_hash
from api.birth import BROKER_ROLE, RELAY, founders_here
from api.errors import DoorError
from api.metrics import lag_of, newest_block
from api.services import Health, probes_of, read_identity
from api.settings import Settings
from chain.artifacts import CONTRACTS, load
from chain.errors import ChainError, IdentityMismatch, SignatureMalformed
from chain.events import RoleSet, parse_all
from chain.ledger import Ledger
from chain.signatures import domain_of, recover
from chain.wallets import load as load_wallet
from governance import figures
from governance.errors import GovernanceError
from governance.tables import Database, open_database
from governance.verify import Malformed, identity_id

State = Literal["ok", "warn", "down", "bad"]
LOW_DISK = 2 << 30  # bytes; a journal that cannot be written stops every access
SKEW = 60  # seconds between clock and newest block, after which brokers let out no key
LONG_QUEUE = 20  # runs
SERVE = "volens serve"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Check:
    """One point: what was found (`means`, in plain words), and what to do; nothing when all is well."""

    name: str
    state: State
    means: str
    do: str = ""


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order in which they are read."""
    found = [*_parts(settings)]
    try:
        identity = read_identity(settings)
    except DoorError as error:
        return [*found, Check("identity", "bad", str(error), error.hint), *_machine(settings)]
    ledger, connection = _connect(settings, identity)
    found += [connection, _signatures(identity)]
    if ledger is not None:
        found += [_custody(settings, ledger), _relay(settings, ledger)]
    found += [_committee(settings, identity), _keys(settings), *_machine(settings), _versions(ledger)]
    found += [_isolation(settings), _nodes()]
    if ledger is not None:
        found += [_clock(ledger.node.url, time.time())]
    return found + _rows(settings, ledger)


def _parts(settings: Settings) -> Iterator[Check]:
    try:
        probes = probes_of(settings)
        api = settings.address("api")
    except DoorError as error:
        yield Check("parts", "down", str(error), error.hint)
        return
    probes |= {"api": lambda: httpx.get(f"{api}/health", timeout=3.0)}
    for part, said in Health(settings, probes).report(int(time.time())).items():
        if said["state"] == "ok":
            yield Check(part, "ok", "answers" if part != "worker" else "was alive a moment ago")
        elif part == "worker":
            yield Check(part, "warn", "has not shown itself lately, so runs wait", "start it: volens worker")
        else:
            yield Check(part, "down", "did not answer", f"start it: {SERVE}")


def _connect(settings: Settings, identity: Mapping[str, Any]) -> tuple[Ledger | None, Check]:
    """A ledger whose chain, genesis block and four contracts are the pinned ones, or what is wrong."""
    try:
        ledger = Ledger.connect(settings.address("chain"), identity)
    except IdentityMismatch as error:
        return None, Check("contracts", "bad", str(error), error.hint)
    except (ChainError, DoorError) as error:
        return None, Check("contracts", "down", "the ledger was not compared with its identity", error.hint)
    count = len(identity["contracts"])
    return ledger, Check("contracts", "ok", f"chain, genesis block and code of {count} contracts are the pinned ones")


def _signatures(identity: Mapping[str, Any]) -> Check:
    """Who signed the identity, each signature checked."""
    founders, signed = {who.lower() for who in identity["founders"]}, set()
    try:
        message = {"id": identity_id(identity)}
        for who, signature in identity["signatures"].items():
            if recover(domain_of(identity), "Identity", message, bytes.fromhex(signature)).lower() == who.lower():
                signed.add(who.lower())
    except (SignatureMalformed, Malformed, ValueError):
        signed = set()
    quorum, by = int(identity["quorum"]), len(signed & founders)
    if by < quorum or len(signed) < len(identity["signatures"]):
        return Check("identity", "bad", f"{by} of {quorum} founders' signatures over the identity are good",
                     "restore identity.json from another part")
    others = len(signed - founders)
    return Check("identity", "ok", f"signed by {by} founders (quorum {quorum}) and {others} of its brokers")


def _custody(settings: Settings, ledger: Ledger) -> Check:
    """Everybody who was ever given the broker's role and holds it; whoever runs a broker's machine is its operator."""
    where = {"address": ledger.domain.contracts["PermitRegistry"], "fromBlock": hex(ledger.identity["deployBlock"])}
    try:
        given = parse_all(ledger.node.call("eth_getLogs", [where | {"toBlock": "latest"}]))
        candidates = {one.account for one in given if isinstance(one, RoleSet) and one.role == BROKER_ROLE}
        brokers = sum(bool(ledger.read("PermitRegistry", "isLive", who, BROKER_ROLE)) for who in candidates)
        host = urlsplit(settings.address("broker")).hostname or ""
    except (ChainError, DoorError):
        return Check("custody", "warn", "who holds the keys could not be read", "start the ledger, then ask again")
    place = "on this machine" if host in _LOOPBACK else "on another machine"
    return Check("custody", "warn", f"{brokers} broker, 1 operator, 1 host ({place}): one operator holds every share "
                 "of every key, and could open data without the ledger", "say so to the people whose data it is, until "
                 "each of several institutions runs a broker")


def _relay(settings: Settings, ledger: Ledger) -> Check:
    """The relay carries everybody's messages, so it should not be somebody with a role."""
    path = settings.key_file(RELAY)
    try:
        held = path.exists() and ledger.read("PermitRegistry", "roleOf", load_wallet(path)[0].address)[0]
    except ChainError as error:
        return Check("relay", "warn", str(error), error.hint)
    if held:
        return Check("relay", "warn", "its key holds a role: it could act, not only carry", "use another key")
    return Check("relay", "ok", "its key holds no role" if path.exists() else "its key is not on this machine")


def _committee(settings: Settings, identity: Mapping[str, Any]) -> Check:
    """How many founders' keys lie here: a quorum of them can give anybody any role."""
    here, quorum = founders_here(settings.home, identity), int(identity["quorum"])
    total = len(identity["founders"])
    said = f"{len(here)} of {total} founders' keys lie on this machine; {quorum} decide together"
    if len(here) >= quorum:
        return Check("committee", "warn", f"{said}: whoever holds this machine is the committee",
                     "played people only; for a real deployment: volens init")
    return Check("committee", "ok", said)


def _keys(settings: Settings) -> Check:
    exposed = sum(bool(path.stat().st_mode & 0o077) for path in (settings.home / "keys").glob("*.json"))
    if exposed:
        return Check("key files", "bad", f"{exposed} can be read by other accounts of this machine",
                     "chmod 600 them, and replace those keys")
    return Check("key files", "ok", "only their owner can read them")


def _machine(settings: Settings) -> Iterator[Check]:
    folder = settings.home if settings.home.exists() else Path()
    free = shutil.disk_usage(folder).free
    low = free < LOW_DISK
    yield Check("disk", "warn" if low else "ok", f"{free / (1 << 30):.1f} GB free where the home folder lies",
                "make room: when the journal cannot be written, nobody's data can be used" if low else "")


def _versions(ledger: Ledger | None) -> Check:
    anvil = "not asked"
    if ledger is not None:
        try:
            anvil = str(ledger.node.call("web3_clientVersion", []))[:40]
        except ChainError:
            anvil = "does not answer"
    law = sha256("".join(load(name).source_hash for name in CONTRACTS).encode()).hexdigest()[:8]
    parts = {"volens": importlib.metadata.version("volens"), "Python": platform.python_version(), "contracts": law,
             "node": anvil, "models": code_hash().hex()[:8],
             **{name: importlib.metadata.version(name) for name in ("torch", "scikit-learn")}}
    return Check("versions", "ok", ", ".join(f"{name} {version}" for name, version in parts.items()))


def _isolation(settings: Settings) -> Check:
    try:
        health = httpx.get(f"{settings.address('chain')}/health", timeout=1.0).json()
        open_node = isinstance(health, dict) and health.get("isolated") is False
    except (httpx.HTTPError, ValueError, DoorError):
        open_node = False  # no dev chain, or none that answers; its part says so
    if settings.relax or open_node:
        return Check("relaxed", "warn", "isolation: the dev chain and the computing processes are not shut off from "
                     "the network", "use a host with user namespaces, and take VOLENS_RELAX away")
    return Check("relaxed", "ok", "nothing")


def _nodes() -> Check:
    return Check("ledger nodes", "warn", "1 (a dev chain: not decentralised); its operator can rewrite it, and is "
                 "found out only by heads that others keep", "keep receipts and heads elsewhere: volens trail head")


def _clock(url: str, now: float) -> Check:
    try:
        _, timestamp = newest_block(url, renew=True)
    except ChainError as error:
        return Check("clock", "down", "the newest block could not be read", error.hint)
    apart = int(now - timestamp)
    if abs(apart) > SKEW:
        return Check("clock", "warn", f"this machine's clock and the newest block differ by {apart} s: brokers let "
                     "out no key", "set the clock (NTP), or see why the ledger makes no blocks")
    return Check("clock", "ok", f"{apart} s after the newest block")


def _rows(settings: Settings, ledger: Ledger | None) -> list[Check]:
    """How far the rows are behind the ledger, and how much waits."""
    here = settings.database.removeprefix("sqlite:///")
    if here != settings.database and not Path(here).exists():
        return [Check("rows", "warn", "there is no database on this machine", f"it is made by: {SERVE}")]
    try:
        engine = open_database(settings.database)
        found = [_queue(engine), *([_lag(engine, ledger)] if ledger is not None else [])]
        engine.dispose()
    except GovernanceError as error:
        return [Check("rows", "bad", str(error), error.hint)]
    return found


def _queue(engine: Database) -> Check:
    depth = figures.queue_depth(engine)
    if depth > LONG_QUEUE:
        return Check("queue", "warn", f"{depth} runs wait or are computed", "see how they get on: volens run show")
    return Check("queue", "ok", f"{depth} runs wait or are computed")


def _lag(engine: Database, ledger: Ledger) -> Check:
    try:
        blocks, seconds = lag_of(engine, ledger)
    except ChainError as error:
        return Check("chain lag", "down", "the ledger was not compared with the rows", error.hint)
    if blocks:
        return Check("chain lag", "warn", f"the rows lack {blocks} of the ledger's blocks, and are {seconds} s behind",
                     "they catch up by themselves; if they do not: volens rebuild")
    return Check("chain lag", "ok", "the rows hold everything that the ledger has")
