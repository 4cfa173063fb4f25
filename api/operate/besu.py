"""Write the files of a private Besu ledger (QBFT) into a deployment's folder: `volens init besu`."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from api.errors import NotServing, UsageError
from chain.besu import FIRST_PORT, Validator, failures_borne, genesis, permissions
from governance.objects.keys import read_private, replace_private

FOLDER, SHARED, GENESIS = "besu", "network", "genesis.json"  # as in docker-compose.yml
COMPOSED = 4  # validators there
KEY_DIGITS = 64
# Ids (EIP-155) by which wallets know large public ledgers, their test networks and development
# nodes: written down by hand, not compared with a register. https://chainlist.org has all.
KNOWN_IDS = {
    1: "Ethereum",
    10: "OP Mainnet",
    25: "Cronos",
    56: "BNB Smart Chain",
    61: "Ethereum Classic",
    97: "BNB Smart Chain Testnet",
    100: "Gnosis",
    130: "Unichain",
    137: "Polygon",
    146: "Sonic",
    250: "Fantom Opera",
    324: "zkSync",
    1101: "Polygon zkEVM",
    1337: "Geth Testnet",
    5000: "Mantle",
    8453: "Base",
    17000: "Holesky",
    31337: "the dev chain",
    42161: "Arbitrum One",
    42220: "Celo",
    43114: "Avalanche C-Chain",
    59144: "Linea",
    80002: "Amoy",
    81457: "Blast",
    84532: "Base Sepolia Testnet",
    421614: "Arbitrum Sepolia",
    534352: "Scroll",
    560048: "Hoodi",
    11155111: "Sepolia",
    11155420: "OP Sepolia Testnet",
}


@dataclass(frozen=True, slots=True)
class Network:
    """A ledger that nobody has started yet: its chain id, and its validators' addresses."""

    chain_id: int
    validators: tuple[str, ...]

    @property
    def failures(self) -> int:
        """How many validators may be away."""
        return failures_borne(len(self.validators))


def write_network(home: Path, count: int, chain_id: int = 0) -> Network:
    """Write a key for each validator, what all of them share, and at last the genesis file.

    Keys that an interrupted call left are kept. chain_id: drawn without one. Raises UsageError
    where there is a network or a deployed ledger already, KeyFileExposed, KeyFileUnreadable,
    ChainError.
    """
    folder = home / FOLDER
    shared = folder / SHARED
    if (shared / GENESIS).exists():
        raise UsageError(
            f"there is a network here already ({FOLDER}/{SHARED}/{GENESIS}), and nothing was changed",
            "start it; for another one, choose another VOLENS_HOME",
        )
    if (home / "identity.json").exists() or (home / "ceremony" / "state.json").exists():
        raise UsageError(
            "this deployment has a ledger already, which its identity names",
            "choose another VOLENS_HOME for a deployment on a new ledger",
        )
    if chain_id in KNOWN_IDS:
        raise UsageError(
            f"the chain id {chain_id} is that of {KNOWN_IDS[chain_id]}, and wallets would take this "
            "ledger for it",
            "leave --chain-id out: a large one is drawn",
        )
    for path in (home, folder, shared):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    validators = [
        Validator(_key_in(folder / f"validator-{number + 1}"), FIRST_PORT + number)
        for number in range(count)
    ]
    # From 2^31 on: hardly a network has such an id, and no wallet takes this ledger for another
    # one.
    chain_id = chain_id or 2**31 + secrets.randbelow(2**31)
    files = {
        "static-nodes.json": _json([validator.enode for validator in validators]),
        "permissions.toml": permissions(validators),
        GENESIS: _json(genesis(validators, chain_id, int(time.time()))),
    }
    for name, text in files.items():
        replace_private(shared / name, text.encode())
    return Network(chain_id, tuple(validator.address for validator in validators))


def planned_id(home: Path) -> int | None:
    """The chain id of the network that was written into this home, None without one. Raises
    NotServing.
    """
    path = home / FOLDER / SHARED / GENESIS
    try:
        return int(json.loads(path.read_bytes())["config"]["chainId"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise NotServing(
            f"{FOLDER}/{SHARED}/{GENESIS} in the home folder cannot be read", "restore it"
        ) from None


def _key_in(folder: Path) -> bytes:
    """The key of a validator's own folder, which is Besu's data path; drawn where there is none."""
    path = folder / "key"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        replace_private(path, secrets.token_hex(KEY_DIGITS // 2).encode())
    try:
        return bytes.fromhex(read_private(path, KEY_DIGITS).decode("ascii"))
    except ValueError:
        return b""  # refused as a key


def _json(document: object) -> str:
    return json.dumps(document, indent=1) + "\n"
