"""Diagnose a deployment (`volens doctor`): checks, what each finding means and what to do about it.

Every check gives a result, even if services are down. States: ok; warn (it works, but needs
attention); down (a service does not answer); bad (something differs from its pinned value).
"""

from __future__ import annotations

import importlib.metadata
import platform
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx

from analytics.code import code_hash
from api.confinement import Confinement, NotConfined
from api.confinement.layers import HINT, describe
from api.confinement.probe import probe
from api.errors import ApiError
from api.operate import doctor_notices
from api.operate.buckets import GOOGLE, open_bucket
from api.operate.ceremony_files import proven_signers
from api.operate.doctor_files import SERVE, Check, committee, disk, key_files, rows
from api.operate.health import Health, probes_of, workers_of
from api.operate.identity import read_identity
from api.operate.ledger_lag import newest_block
from api.operate.settings import Settings
from chain.artifacts import CONTRACTS, load
from chain.errors import ChainError, IdentityMismatch, SignatureMalformed
from chain.events import RoleSet, parse_all
from chain.ledger import Ledger
from chain.signatures import Domain, domain_of, recover
from chain.vocabulary import Role
from chain.wallets import load as load_wallet
from governance.certificates import trusted
from governance.errors import BrokerRefused, GovernanceError, ObjectMissing
from governance.objects.broker_client import BrokerClient
from governance.rules.encoding import Malformed, VerifyError, number, part, raw, strict_json
from governance.rules.ledger_data import identity_id, parse_identity

SKEW = 60  # seconds between clock and newest block; beyond, brokers release no key
AGAIN = "start the ledger, then ask again"
RESTORE = "restore identity.json from another machine"
GIVE = "let a quorum of the committee give the role to a broker"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SET_AS = {
    "ledger": "VOLENS_CHAIN_URL",
    "bucket": "VOLENS_BUCKET_URL",
    "broker": "VOLENS_BROKER_URL",
    "api": "VOLENS_API",
}


def examine(settings: Settings) -> list[Check]:
    """Make every check, in the order in which they are shown."""
    try:
        # Nothing can be served before the ceremony is finished.
        if settings.ceremony_folder.exists() and not settings.identity_file.exists():
            unfinished = Check(
                "identity",
                "bad",
                "the key ceremony of this deployment is not finished",
                "continue it: volens init",
            )
            return [
                unfinished,
                *_each("key files", partial(key_files, settings)),
                *_each("disk", partial(disk, settings)),
            ]
        identity = read_identity(settings)
        identity_id(identity)
        problem = None
    except ApiError as error:
        problem = Check("identity", "bad", str(error), error.hint)
    except (Malformed, OSError) as error:
        message = (
            str(error) if isinstance(error, Malformed) else "the ledger identity cannot be read"
        )
        problem = Check("identity", "bad", message, RESTORE)
    if problem is not None:
        return [
            *_each("parts", partial(_parts, settings, {})),
            problem,
            *_each("disk", partial(disk, settings)),
        ]
    ledger, connection = _connect(settings, identity)
    live = _holders(ledger, Role.BROKER)
    points: dict[str, Callable[[], Check | Iterable[Check]]] = {
        "parts": lambda: _parts(
            settings,
            {
                "ledger": lambda: _node(connection),
                "bucket": lambda: _bucket(settings),
                "broker": lambda: _broker(settings, identity, ledger, live),
                "api": lambda: _api(settings, identity),
            },
        ),
        "contracts": lambda: connection,
        "identity": lambda: _signatures(identity, live),
    }
    if ledger is not None:
        points |= {
            "custody": partial(_custody, settings, live),
            "worker role": partial(_worker_role, settings, ledger),
            "relay": partial(_relay, settings, ledger),
        }
    points |= {
        "committee": lambda: committee(settings, identity, _holders(ledger, Role.COMMITTEE)),
        "key files": partial(key_files, settings),
        "disk": partial(disk, settings),
        "versions": partial(_versions, ledger),
        "confinement": partial(_confinement, settings),
        "relaxed": partial(_isolation, settings),
        "mail": partial(doctor_notices.mail, settings),
        "webhook": partial(doctor_notices.webhook, settings),
        "ledger nodes": partial(_nodes, ledger),
    }
    if ledger is not None:
        points |= {"clock": partial(_clock, ledger.node.url, time.time())}
    points |= {"rows": partial(rows, settings, ledger)}
    return [check for name, ask in points.items() for check in _each(name, ask)]


def _each(name: str, ask: Callable[[], Check | Iterable[Check]]) -> Iterator[Check]:
    """The results of a check. A check that fails is a result itself, and hides no other."""
    try:
        result = ask()
        yield from [result] if isinstance(result, Check) else result
    except Exception as error:  # any error: the doctor runs because something is broken
        yield Check(
            name,
            "bad",
            f"this could not be checked ({type(error).__name__})",
            "see the lines around it, and what the settings VOLENS_... name; then ask again",
        )


def _parts(settings: Settings, questions: Mapping[str, Callable[[], Check]]) -> Iterator[Check]:
    """Whether each service answers, and whether its answer proves that it is the right service."""
    try:
        probes = probes_of(settings)
        api = settings.address("api")
        addresses = {
            "ledger": settings.address("chain"),
            "bucket": settings.address("bucket"),
            "broker": settings.address("broker"),
            "api": api,
        }
    except ApiError as error:
        yield Check("parts", "down", str(error), error.hint)
        return
    probes |= {"api": lambda: httpx.get(f"{api}/health", timeout=3.0, verify=trusted())}
    wrong = {
        name
        for name, url in addresses.items()
        if not (_is_url(url) or (name == "bucket" and url.startswith(GOOGLE)))
    }
    probes |= dict.fromkeys(wrong, _unreachable)
    health = Health(probes, partial(workers_of, settings))
    for name, status in health.report(int(time.time())).items():
        if name in wrong:
            yield Check(
                name,
                "bad",
                "its address is invalid",
                f"correct it: {_SET_AS[name]}, or run.json in the home folder",
            )
        elif name == "bucket" and addresses[name].startswith(GOOGLE):
            yield from _each(name, partial(_bucket, settings))  # it says what is wrong itself
        elif status["state"] == "catching-up":
            yield Check(
                name,
                "warn",
                f"reads the ledger: block {status['block']} of {status['newest']}; "
                "it decides nothing before it has read all",
                "wait; the number rises by itself",
            )
        elif status["state"] == "ok" and name in questions:
            yield from _each(name, questions[name])
        elif status["state"] == "ok":
            yield Check(name, "ok", _of_workers(status["count"]) if name == "worker" else "answers")
        elif name == "worker":
            yield Check(
                name, "warn", "gave no recent sign of life, so runs wait", "start it: volens worker"
            )
        else:
            yield Check(name, "down", "did not answer", f"start it: {SERVE}")


def _of_workers(count: int) -> str:
    return "was alive a moment ago" if count == 1 else f"{count} were alive a moment ago"


def _is_url(text: str) -> bool:
    """Whether a request can be sent to this address."""
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and httpx.URL(text)
        )
    except (ValueError, httpx.InvalidURL):
        return False


def _unreachable() -> httpx.Response:
    raise httpx.UnsupportedProtocol("no address")


def _stranger(name: str, why: str) -> Check:
    return Check(
        name,
        "bad",
        f"something else answers there: {why}",
        f"see what its address names, and what took its port, then: {SERVE}",
    )


def _node(connection: Check) -> Check:
    """Whether a ledger answers; another check compares it with the pinned one."""
    if connection.state == "down":
        return _stranger("ledger", "it does not answer as a ledger does")
    return Check("ledger", "ok", "answers")


def _bucket(settings: Settings) -> Check:
    """The bucket must exist, and must not have an object that was never written."""
    bucket = open_bucket(settings)
    try:
        bucket.probe()
        bucket.get(f"o/{secrets.token_hex(32)}")
    except ObjectMissing:
        return Check("bucket", "ok", "answers, and has the bucket that is named")
    except GovernanceError as error:
        if settings.address("bucket").startswith(GOOGLE):
            return Check("bucket", "down", str(error), error.hint)
        return _stranger("bucket", str(error))
    return _stranger("bucket", "it has an object that was never written")


def _api(settings: Settings, identity: Mapping[str, Any]) -> Check:
    """The API must serve the ledger that is pinned here; its signatures are another check."""
    try:
        answer = httpx.get(f"{settings.address('api')}/identity", timeout=3.0, verify=trusted())
        same = identity_id(strict_json(answer.content)) == identity_id(identity)
    except (httpx.HTTPError, VerifyError):
        return _stranger("api", "it does not say which ledger it serves")
    if not same:
        return _stranger("api", "it serves another ledger than the pinned one")
    return Check("api", "ok", "answers, and serves the pinned ledger")


def _broker(
    settings: Settings, identity: Mapping[str, Any], ledger: Ledger | None, live: set[bytes] | None
) -> Check:
    """Check the broker's current witness: its signer must have signed the identity and hold its
    role.
    """
    pinned, domain, name = parse_identity(identity), domain_of(identity), identity_id(identity)
    try:
        witness = BrokerClient(settings.address("broker"), domain, name).witness()
        message = {
            "identity": name,
            "block": number(part(witness, "block")),
            "count": number(part(witness, "count")),
            "blockHash": raw(part(witness, "blockHash"), 32),
            "time": number(part(witness, "time")),
            "head": raw(part(witness, "head"), 32),
        }
        signer = _signer(domain, "Witness", message, raw(part(witness, "signature")))
    except BrokerRefused as error:
        return Check(
            "broker",
            "down",
            f"gives no witness now: {error}",
            "see the checks of ledger and clock",
        )
    except (GovernanceError, VerifyError, AttributeError):  # AttributeError: it is no JSON object
        return _stranger("broker", "it gives no signed witness")
    if signer is None or signer not in pinned.signatures.keys() - set(pinned.founders):
        return _stranger("broker", "its witness is not signed by a broker that signed the identity")
    if ledger is not None and not _is_of_now(ledger, message):
        return _stranger("broker", "its witness is an old one, or is of another ledger")
    if live is not None and signer not in live:
        return Check(
            "broker", "bad", "answers, but its role is over on the ledger: no key can leave", GIVE
        )
    return Check(
        "broker",
        "ok",
        "answers; its current witness is signed with the key that signed the identity",
    )


def _is_of_now(ledger: Ledger, witness: Mapping[str, Any]) -> bool:
    """Whether it names a recent block of this ledger; a block that our node lacks is newer than
    ours.
    """
    try:
        block, now = ledger.block(int(witness["block"])), ledger.now()
    except ChainError:
        return True
    return (
        block["hash"] == "0x" + witness["blockHash"].hex()
        and now - int(block["timestamp"], 16) <= SKEW
    )


def _connect(settings: Settings, identity: Mapping[str, Any]) -> tuple[Ledger | None, Check]:
    """Connect to the ledger and compare chain, genesis block and contracts with the pinned ones."""
    try:
        ledger = Ledger.connect(settings.address("chain"), identity)
    except IdentityMismatch as error:
        return None, Check("contracts", "bad", str(error), error.hint)
    except (ChainError, ApiError) as error:
        return None, Check(
            "contracts", "down", "the ledger was not compared with its identity", error.hint
        )
    except Exception:  # what answers is no node, and may say anything
        return None, Check(
            "contracts",
            "down",
            "the ledger was not compared with its identity",
            f"start it: {SERVE}",
        )
    count = len(identity["contracts"])
    return ledger, Check(
        "contracts", "ok", f"chain, genesis block and code of {count} contracts are the pinned ones"
    )


def _signer(
    domain: Domain, kind: str, message: Mapping[str, Any], signature: bytes
) -> bytes | None:
    """The signer's address (20 bytes); None for an invalid signature."""
    try:
        return bytes.fromhex(recover(domain, kind, message, signature).removeprefix("0x"))
    except SignatureMalformed:
        return None


def _signatures(identity: Mapping[str, Any], live: set[bytes] | None) -> Check:
    """Check the signatures of the identity: a quorum of founders, and brokers that hold the role.

    `live`: the holders of the broker's role on the ledger; None if unknown.
    """
    pinned, good = parse_identity(identity), proven_signers(identity)
    founders, others = good & set(pinned.founders), good - set(pinned.founders)
    if len(founders) < pinned.quorum or len(good) < len(pinned.signatures):
        message = (
            f"{len(founders)} of {pinned.quorum} founders' signatures over the identity are good"
        )
        return Check("identity", "bad", message, RESTORE)
    if not others:
        return Check("identity", "bad", "no broker signed it", RESTORE)
    if live is None:
        return Check(
            "identity",
            "warn",
            f"signed by {len(founders)} founders (quorum {pinned.quorum}) and "
            f"{len(others)} others; whether these are brokers was not read",
            AGAIN,
        )
    if others - live:
        return Check(
            "identity",
            "bad",
            f"{len(others - live)} of {len(good)} who signed it are no founders and do not "
            "hold the broker's role on the ledger",
            f"{RESTORE}; if the role is over: {GIVE}",
        )
    return Check(
        "identity",
        "ok",
        f"signed by {len(founders)} founders (quorum {pinned.quorum}) and {len(others)} "
        "of its brokers",
    )


def _holders(ledger: Ledger | None, role: int) -> set[bytes] | None:
    """The accounts that hold this role now (20 bytes each); None if it could not be read."""
    if ledger is None:
        return None
    where = {
        "address": ledger.domain.contracts["PermitRegistry"],
        "fromBlock": hex(ledger.identity["deployBlock"]),
    }
    try:
        given = parse_all(ledger.node.call("eth_getLogs", [where | {"toBlock": "latest"}]))
        candidates = {
            event.account for event in given if isinstance(event, RoleSet) and event.role == role
        }
        if role == Role.COMMITTEE:  # its first members have it from the contract's creation
            candidates |= set(ledger.identity["founders"])
        accounts = {raw(who, 20) for who in candidates}
        return {who for who in accounts if ledger.read("PermitRegistry", "isLive", who, role)}
    except Exception:  # what answers is no node, and may say anything
        return None


def _custody(settings: Settings, live: set[bytes] | None) -> Check:
    """Who could open data: the operators of the brokers' machines."""
    if live is not None and not live:
        return Check(
            "custody",
            "bad",
            "nobody holds the broker's role on the ledger: no key can leave, and no run can "
            "be computed",
            GIVE,
        )
    try:
        host = urlsplit(settings.address("broker")).hostname or ""
    except (ApiError, ValueError):
        live = None
    if live is None:
        return Check("custody", "warn", "who holds the keys could not be read", AGAIN)
    location = "on this machine" if host in _LOOPBACK else "on another machine"
    return Check(
        "custody",
        "warn",
        f"{len(live)} broker, 1 operator, 1 host ({location}): one operator holds every share "
        "of every key, and could open data without the ledger",
        "tell the people whose data it is, until several institutions run a broker each",
    )


def _worker_role(settings: Settings, ledger: Ledger) -> Check:
    """Whether the workers whose keys are here may compute, according to the ledger."""
    paths = [path for path in map(settings.key_file, settings.workers) if path.exists()]
    try:
        lack = [
            path.stem
            for path in paths
            if not ledger.read(
                "PermitRegistry", "isLive", load_wallet(path)[0].address, Role.WORKER
            )
        ]
    except ChainError as error:
        return Check("worker role", "warn", str(error), error.hint)
    if lack:
        return Check(
            "worker role",
            "bad",
            f"the key {lack[0]} here has no role on the ledger: it can compute no run",
            "let a quorum of the committee give it the role",
        )
    return Check(
        "worker role", "ok", "its key may compute" if paths else "its key is not on this machine"
    )


def _relay(settings: Settings, ledger: Ledger) -> Check:
    """The relay sends everybody's messages, so its account should not hold a role."""
    path = settings.key_file(settings.relay)
    try:
        has_role = (
            path.exists()
            and ledger.read("PermitRegistry", "roleOf", load_wallet(path)[0].address)[0]
        )
    except ChainError as error:
        return Check("relay", "warn", str(error), error.hint)
    if has_role:
        return Check(
            "relay", "warn", "its key holds a role: it could act, not only carry", "use another key"
        )
    return Check(
        "relay",
        "ok",
        "its key holds no role" if path.exists() else "its key is not on this machine",
    )


def _client(ledger: Ledger) -> str:
    """Name and version of the node's program, as it says itself."""
    try:
        return str(ledger.node.call("web3_clientVersion", []))[:40]
    except ChainError:
        return "does not answer"


def _versions(ledger: Ledger | None) -> Check:
    sources = sha256("".join(load(name).source_hash for name in CONTRACTS).encode()).hexdigest()[:8]
    parts = {
        "volens": importlib.metadata.version("volens"),
        "Python": platform.python_version(),
        "contracts": sources,
        "node": _client(ledger) if ledger is not None else "not asked",
        "models": code_hash().hex()[:8],
        **{name: importlib.metadata.version(name) for name in ("torch", "scikit-learn")},
    }
    return Check(
        "versions", "ok", ", ".join(f"{name} {version}" for name, version in parts.items())
    )


def _confinement(settings: Settings) -> Check:
    """The layers of confinement on this host, tried with a child that does nothing."""
    try:
        confinement = Confinement.of(settings.relax, settings.home)
    except NotConfined as error:
        return Check("confinement", "bad", str(error), error.hint)
    offer = probe(confinement)
    if not offer.relaxed:
        return Check("confinement", "ok", f"what reads plaintext has {offer}")
    lacks = describe(offer.relaxed)
    if not confinement.required & offer.relaxed:
        return Check("confinement", "warn", f"what reads plaintext lacks {lacks}", HINT)
    return Check(
        "confinement",
        "bad",
        f"what reads plaintext would lack {lacks}: "
        "nothing can be computed, rehearsed or ingested here",
        HINT,
    )


def _isolation(settings: Settings) -> Check:
    try:
        health = httpx.get(
            f"{settings.address('chain')}/health", timeout=1.0, verify=trusted()
        ).json()
        open_node = isinstance(health, dict) and health.get("isolated") is False
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, ApiError):
        open_node = False  # no dev chain answers; another check reports that
    if settings.relax or open_node:
        return Check(
            "relaxed",
            "warn",
            "isolation: the dev chain is not shut off from the network, and what reads plaintext "
            "lacks the layers that this host does not offer",
            "use a host with user namespaces, and unset VOLENS_RELAX",
        )
    return Check("relaxed", "ok", "nothing")


def _nodes(ledger: Ledger | None) -> Check:
    """What is asked for the ledger, by the name that its program gives itself."""
    if ledger is None:
        return Check("ledger nodes", "warn", "not asked: see the check of contracts", AGAIN)
    client = _client(ledger)
    if client.startswith("anvil/"):
        return Check(
            "ledger nodes",
            "warn",
            "1 (a dev chain: not decentralised); its operator can rewrite it, and is "
            "found out only by heads that others keep",
            "keep receipts and heads elsewhere: volens trail head",
        )
    return Check(
        "ledger nodes",
        "warn",
        f"1 is asked ({client}); which nodes make its blocks, and how many have to agree, is not "
        "checked here",
        "ask who runs them; keep receipts and heads elsewhere: volens trail head",
    )


def _clock(url: str, now: float) -> Check:
    try:
        _, timestamp = newest_block(url, renew=True)
    except ChainError as error:
        return Check("clock", "down", "the newest block could not be read", error.hint)
    difference = int(now - timestamp)
    if abs(difference) > SKEW:
        return Check(
            "clock",
            "warn",
            f"this machine's clock and the newest block differ by {difference} s: brokers let "
            "out no key",
            "set the clock (NTP), or see why the ledger makes no blocks",
        )
    return Check("clock", "ok", f"{difference} s after the newest block")
