"""The birth of a played deployment: keys, contracts, roles, and the identity that everything else pins.

Order: keys for the founders and the broker → deploy → a quorum signs the roles → a quorum and the broker sign the
identity → the others start. Every key lies in a file here, so this is for one machine: people and roles are played.
A real deployment collects the same signatures from several people.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from api.errors import DoorError
from chain.ledger import Ledger, deploy, message_tuple
from chain.signatures import domain_of
from chain.transactor import Outbox
from chain.wallets import Wallet, load, save
from governance.broker.custody import create, endorse
from governance.verify import identity_id

FOREVER = 2**40 - 1
FLOOR = 10  # no cohort smaller than this, whatever a permit says
QUORUM = 2
FOUNDERS = {"pia": "committee", "quinn": "committee", "rui": "committee"}
STAFF = {
    "rita": ("registrar", 3),
    "omar": ("custodian", 2),
    "noor": ("analyst", 4),
    "sol": ("checker", 5),
    "tess": ("checker", 5),
    "vera": ("auditor", 8),
    "worker": ("worker", 10),
}
BROKER_ROLE = 9


def give_birth(home: Path, chain_url: str, outbox: Outbox) -> dict[str, Any]:
    """Deploy for a played cast and write identity.json; returns the identity. Keys that exist are kept."""
    keys = {name: _key(home, name) for name in [*FOUNDERS, *STAFF, "relay"]}
    broker = create(home / "broker")
    founders = [keys[name].address for name in FOUNDERS]
    identity = deploy(chain_url, keys["relay"], outbox, founders, QUORUM, secrets.token_bytes(32), FLOOR)
    ledger = Ledger.connect(chain_url, identity, keys["relay"], outbox)
    for account, role in [(keys[name].address, role) for name, (_, role) in STAFF.items()] + [(broker, BROKER_ROLE)]:
        set_role(ledger, [keys[name] for name in FOUNDERS][:QUORUM], account, role)
    identity["signatures"] = sign_identity(identity, [keys[name] for name in FOUNDERS][:QUORUM])
    identity["signatures"][broker] = endorse(home / "broker", identity).hex()
    home.joinpath("identity.json").write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")
    return identity


def set_role(ledger: Ledger, members: list[Wallet], account: str, role: int, end: int = FOREVER) -> None:
    """Set a role under the given members' signatures, from now on."""
    change = {
        "account": account,
        "role": role,
        "start": 0,
        "end": end,
        "nonce": secrets.randbits(256),
        "deadline": ledger.now() + 600,
    }
    signers = sorted(members, key=lambda wallet: int(wallet.address, 16))
    signatures = [wallet.sign(ledger.domain, "RoleChange", change) for wallet in signers]
    ledger.relay("PermitRegistry", "setRole", message_tuple("RoleChange", change), signatures)


def sign_identity(identity: dict[str, Any], members: list[Wallet]) -> dict[str, str]:
    """The members' signatures over the identity's id, by address."""
    domain, message = domain_of(identity), {"id": identity_id(identity)}
    return {wallet.address: wallet.sign(domain, "Identity", message).hex() for wallet in members}


def read_identity(home: Path) -> dict[str, Any] | None:
    """The pinned identity, or None before birth. Raises DoorError when the file is damaged."""
    path = home / "identity.json"
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DoorError("identity.json cannot be read", "restore it from another part, or start with an empty home")
    return found


def _key(home: Path, name: str) -> Wallet:
    path = home / "keys" / f"{name}.json"
    if not path.exists():
        save(Wallet.new(), path)
    return load(path)[0]
