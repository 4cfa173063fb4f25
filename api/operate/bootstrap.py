"""Bootstrap a deployment: keys, contracts, roles, and the ledger identity that everything else
pins.

Order: keys for the founders and the broker → deploy → a quorum signs the roles → a quorum and the
broker sign the identity → the others start. `bootstrap` does all of it with every key in a file
here; api/operate/ceremony.py takes the same steps for several people who sign on several machines.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from api.errors import ApiError, NotServing
from chain.ledger import Ledger, deploy, message_tuple
from chain.signatures import domain_of
from chain.transactor import Outbox
from chain.vocabulary import Role
from chain.wallets import Wallet, load, save
from governance.broker.custody import create, endorse
from governance.objects.keys import replace_private
from governance.rules.ledger_data import identity_id

FOREVER = 2**40 - 1  # the last second the contracts know: no end, no deadline
FLOOR = 10  # no cohort smaller than this, whatever a permit says
QUORUM = 2
ROLE_DELAY = 48 * 3600  # seconds before a worker or broker that is added later may act
ROLES = {role.slug: role for role in Role}
FOUNDERS = ("pia", "quinn", "rui")
STAFF = {
    "rita": "registrar",
    "omar": "custodian",
    "noor": "analyst",
    "sol": "checker",
    "tess": "checker",
    "vera": "auditor",
    "worker": "worker",
}
DEMO_HOME = "volens-demo"  # the file that marks a home made by the demo, which may delete it
RELAY = "relay"


def bootstrap(home: Path, chain_url: str, outbox: Outbox) -> dict[str, Any]:
    """Deploy for the demo personas and write identity.json; returns the identity.

    Existing keys are kept.
    """
    keys = {name: key_of(home, name) for name in [*FOUNDERS, *STAFF]}
    broker = create(home / "broker")
    quorum = [keys[name] for name in FOUNDERS][:QUORUM]
    identity = deploy_contracts(
        home,
        chain_url,
        outbox,
        [keys[name].address for name in FOUNDERS],
        QUORUM,
        FLOOR,
        ROLE_DELAY,
    )
    ledger = connect(home, chain_url, outbox, identity)
    for account, role in [(keys[name].address, role) for name, role in STAFF.items()] + [
        (broker, "broker")
    ]:
        change = role_change(account, ROLES[role], ledger.now() + 600)
        relay_role(
            ledger,
            change,
            {member.address: member.sign(ledger.domain, "RoleChange", change) for member in quorum},
        )
    finish(
        home,
        identity,
        sign_identity(identity, quorum) | {broker: endorse(home / "broker", identity).hex()},
    )
    return identity


def deploy_contracts(
    home: Path,
    chain_url: str,
    outbox: Outbox,
    founders: Sequence[str],
    quorum: int,
    floor: int,
    role_delay: int,
) -> dict[str, Any]:
    """Put new contracts on the ledger with this home's relay key; returns the unsigned identity."""
    salt, relay = secrets.token_bytes(32), key_of(home, RELAY)
    return deploy(chain_url, relay, outbox, founders, quorum, salt, floor, role_delay)


def connect(home: Path, chain_url: str, outbox: Outbox, identity: Mapping[str, Any]) -> Ledger:
    """The new ledger through this home's relay key. Raises IdentityMismatch, LedgerDown."""
    return Ledger.connect(chain_url, identity, key_of(home, RELAY), outbox)


def role_change(
    account: str, role: int, deadline: int, replaces: int = 0, end: int = FOREVER
) -> dict[str, Any]:
    """The message that a quorum signs to give a role, from now on; `deadline` and `end` in seconds.

    replaces: the version of the account's role that this replaces, 0 if it never had one.
    """
    return {
        "account": account,
        "role": int(role),  # a plain number, as if read from a file
        "start": 0,
        "end": end,
        "replaces": replaces,
        "deadline": deadline,
    }


def relay_role(ledger: Ledger, change: Mapping[str, Any], signatures: Mapping[str, bytes]) -> None:
    """Set a role under a quorum's signatures, by address. Raises Refused."""
    ordered = [signatures[who] for who in sorted(signatures, key=lambda address: int(address, 16))]
    ledger.relay("PermitRegistry", "setRole", message_tuple("RoleChange", change), ordered)


def finish(home: Path, identity: dict[str, Any], signatures: Mapping[str, str]) -> None:
    """Write identity.json atomically, with the signatures by address; every service needs it to
    start.
    """
    identity["signatures"] = dict(signatures)
    replace_private(home / "identity.json", (json.dumps(identity, indent=1) + "\n").encode())


def check_demo_home(home: Path) -> None:
    """Raise NotServing unless the demo made this home: it may contain everybody's key."""
    if not (home / DEMO_HOME).is_file():
        raise NotServing("there is no home made by the demo", "run it first: volens demo")


def has_demo_accounts(home: Path) -> bool:
    """Whether this home contains a quorum's keys: then one person could sign for the committee."""
    identity = read_identity(home)
    return identity is not None and len(founders_here(home, identity)) >= int(identity["quorum"])


def founders_here(home: Path, identity: Mapping[str, Any]) -> list[str]:
    """The founders whose key files are in this home, by file name; no key is opened."""
    founders = {who.lower() for who in identity["founders"]}
    names = []
    for path in sorted((home / "keys").glob("*.json")):
        try:
            address = json.loads(path.read_text(encoding="utf-8")).get("address")
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if str(address).lower() in founders:
            names.append(path.stem)
    return names


def sign_identity(identity: dict[str, Any], members: list[Wallet]) -> dict[str, str]:
    """The members' signatures over the identity's id, by address."""
    domain, message = domain_of(identity), {"id": identity_id(identity)}
    return {wallet.address: wallet.sign(domain, "Identity", message).hex() for wallet in members}


def read_identity(home: Path) -> dict[str, Any] | None:
    """The pinned identity, or None before the ceremony.

    Raises ApiError when the file is damaged.
    """
    path = home / "identity.json"
    if not path.exists():
        return None
    try:
        identity = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        identity = None
    if not isinstance(identity, dict):
        raise ApiError(
            "identity.json cannot be read",
            "restore it from another machine, or start with an empty home",
        )
    return identity


def key_of(home: Path, name: str) -> Wallet:
    """The plain key of that name in this home, made if there is none.

    Raises ChainError for a locked one.
    """
    path = home / "keys" / f"{name}.json"
    if not path.exists():
        save(Wallet.new(), path)
    return load(path)[0]
