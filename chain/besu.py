"""The first block of a private ledger of Besu nodes that agree by QBFT, and the files by which they
find each other.

The forms are those of Besu's documentation (besu.hyperledger.org, release 26.3): "QBFT" for genesis
file and extra data, "Genesis file items", "Free gas network", "Node keys" for enode URLs, "Static
nodes" and "Use local permissioning". No test here runs Besu.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rlp
from eth_keys.datatypes import PrivateKey
from eth_utils.exceptions import ValidationError

from chain.errors import ChainError

HOST = "127.0.0.1"
FIRST_PORT = 30303  # of the first validator; the next one has the next port
BLOCK_SECONDS = 1  # a write waits for its block; empty blocks are made as well
ROUND_SECONDS = 4  # until another validator proposes, where one is away; doubled each time
EPOCH_BLOCKS = 30_000  # after which votes about validators are dropped
GAS_LIMIT = 60_000_000  # of a block, as on the dev chain
FORKS = ("shanghai", "cancun", "prague", "osaka")  # up to the one the contracts are compiled for
# By this constant Besu knows the blocks of its BFT protocols.
_MIX_HASH = "0x" + b"ctical byzantine fault tolerance".hex()


@dataclass(frozen=True, slots=True)
class Validator:
    """A node that makes blocks: its private key, and the port where it listens on this machine."""

    key: bytes = field(repr=False)
    port: int
    address: str = field(init=False)
    enode: str = field(init=False)

    def __post_init__(self) -> None:
        """Raises ChainError where the key is none."""
        try:
            public = PrivateKey(self.key).public_key
        except ValidationError:
            raise ChainError(
                "a validator's key file holds no private key", "restore it from a copy"
            ) from None
        object.__setattr__(self, "address", public.to_address())
        object.__setattr__(self, "enode", f"enode://{public.to_hex()[2:]}@{HOST}:{self.port}")


def genesis(validators: Sequence[Validator], chain_id: int, now: int) -> dict[str, Any]:
    """The genesis file of a ledger that these validators continue; its first block has the time
    `now`.

    Nobody pays on it and nobody owns anything: the base fee stays zero, as the fees of our
    transactions are, and no account has a balance.
    """
    return {
        "config": {
            "chainId": chain_id,
            "berlinBlock": 0,
            "londonBlock": 0,
            **{f"{fork}Time": 0 for fork in FORKS},
            "zeroBaseFee": True,
            "qbft": {
                "blockperiodseconds": BLOCK_SECONDS,
                "epochlength": EPOCH_BLOCKS,
                "requesttimeoutseconds": ROUND_SECONDS,
            },
        },
        "nonce": "0x0",
        "timestamp": hex(now),
        "extraData": extra_data([validator.address for validator in validators]),
        "gasLimit": hex(GAS_LIMIT),
        "baseFeePerGas": "0x0",
        "difficulty": "0x1",
        "mixHash": _MIX_HASH,
        "coinbase": "0x" + bytes(20).hex(),
        "alloc": {},
    }


def extra_data(validators: Sequence[str]) -> str:
    """RLP of 32 free bytes, the validators' addresses in ascending order, no vote, round 0, no
    seals.
    """
    addresses = sorted(bytes.fromhex(address[2:]) for address in validators)
    return f"0x{rlp.encode([bytes(32), addresses, [], 0, []]).hex()}"


def permissions(validators: Sequence[Validator]) -> str:
    """Besu's file (TOML) of the only nodes that a node speaks with."""
    return f"nodes-allowlist={json.dumps([validator.enode for validator in validators])}\n"


def failures_borne(validators: int) -> int:
    """How many of so many validators may be away, or lie, while the others still agree."""
    return (validators - 1) // 3
