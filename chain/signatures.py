"""Signatures over typed data (EIP-712): one file of types for Solidity, Python and JavaScript.

EIP-712 with a salt per deployment (`contracts/typed-data.json`), secp256k1 wallets, low s (EIP-2)
and v 27 or 28 only: eth-account alone also accepts the high-s form of a signature, so `recover`
refuses what the contracts refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address

from chain.accounts import Account, encode_typed_data
from chain.errors import SignatureMalformed

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_FILE = Path(__file__).resolve().parent.parent / "contracts" / "typed-data.json"


@cache
def typed_data() -> dict[str, Any]:
    """The shared file: domain, types, and the contract of each type."""
    return dict(json.loads(_FILE.read_text(encoding="utf-8")))


@cache
def contract_of(kind: str) -> str:
    """The contract whose address is the verifying contract of this type."""
    return next(str(name) for name, types in typed_data()["contracts"].items() if kind in types)


@dataclass(frozen=True, slots=True)
class Domain:
    """One deployment's EIP-712 domain, with the address of each contract by name."""

    chain_id: int
    salt: bytes
    contracts: Mapping[str, str]

    def for_type(self, kind: str) -> dict[str, Any]:
        return {
            **typed_data()["domain"],
            "chainId": self.chain_id,
            "verifyingContract": self.contracts[contract_of(kind)],
            "salt": self.salt,
        }


def domain_of(identity: Mapping[str, Any]) -> Domain:
    """The domain of a ledger identity (JSON form, docs/ledger.md)."""
    addresses = {
        item["name"]: to_checksum_address(item["address"]) for item in identity["contracts"]
    }
    return Domain(
        int(identity["chainId"]), bytes.fromhex(identity["salt"].removeprefix("0x")), addresses
    )


def sign(key: bytes, domain: Domain, kind: str, message: Mapping[str, Any]) -> bytes:
    """65 bytes r ‖ s ‖ v over the typed message."""
    return bytes(Account.sign_message(_encode(domain, kind, message), key).signature)


def recover(domain: Domain, kind: str, message: Mapping[str, Any], signature: bytes) -> str:
    """The checksummed address that signed; raises SignatureMalformed for anything but a canonical
    signature.
    """
    check_shape(signature)
    try:
        return str(Account.recover_message(_encode(domain, kind, message), signature=signature))
    except (BadSignature, ValueError):
        raise SignatureMalformed(
            "the signature belongs to nobody", "sign the message again"
        ) from None


def check_shape(signature: bytes) -> None:
    """Raise SignatureMalformed unless 65 bytes, low s, v 27 or 28."""
    if len(signature) != 65:
        raise SignatureMalformed(
            f"a signature has 65 bytes, this one {len(signature)}", "send r ‖ s ‖ v"
        )
    if signature[64] not in (27, 28):
        raise SignatureMalformed(
            "the signature's last byte is neither 27 nor 28", "send r ‖ s ‖ v with v 27 or 28"
        )
    if int.from_bytes(signature[32:64]) > HALF_ORDER:
        raise SignatureMalformed(
            "the signature's s is in the upper half", "send the low-s form (EIP-2)"
        )


def address_of(key: bytes) -> str:
    """The checksummed address of a private key of 32 bytes."""
    return str(Account.from_key(key).address)


def _encode(domain: Domain, kind: str, message: Mapping[str, Any]) -> Any:
    fields = [{"name": name, "type": type_} for name, type_ in typed_data()["types"][kind]]
    return encode_typed_data(
        domain.for_type(kind), {kind: fields}, {f["name"]: message[f["name"]] for f in fields}
    )
