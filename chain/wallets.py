"""Wallets: a private key that signs typed data, in one file for each person.

Demo accounts' keys are plain files of mode 0600 (a scrypt keystore costs 0.7 s to open); a real
person's key is an encrypted keystore (Web3 Secret Storage, version 3).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain.accounts import Account
from chain.errors import ChainError
from chain.signatures import Domain, address_of, sign


@dataclass(frozen=True, slots=True)
class Wallet:
    """A key that can sign; its repr shows the address only."""

    key: bytes = field(repr=False)
    address: str

    @classmethod
    def new(cls) -> Wallet:
        return cls.of(secrets.token_bytes(32))

    @classmethod
    def of(cls, key: bytes) -> Wallet:
        return cls(key, address_of(key))

    def sign(self, domain: Domain, kind: str, message: Mapping[str, Any]) -> bytes:
        return sign(self.key, domain, kind, message)

    @property
    def signer(self) -> bytes:
        """The 20 bytes that are enrolled for this wallet."""
        return bytes.fromhex(self.address[2:])


def save(
    wallet: Wallet, path: Path, extra: Mapping[str, str] | None = None, password: str | None = None
) -> None:
    """Write a new key file of mode 0600; refuses to overwrite. `extra` holds public facts, e.g. the
    subject id.
    """
    body: dict[str, Any] = {"type": "volens/key/1", "address": wallet.address, **(extra or {})}
    if password is None:
        body["key"] = wallet.key.hex()
    else:
        body["keystore"] = Account.encrypt(wallet.key, password)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ChainError(
            f"the key file of {path.stem} exists", "choose another name; keys are never overwritten"
        ) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(body, file)


def is_locked(path: Path) -> bool:
    """Whether a key file needs a password; False where there is none, or none that can be read."""
    try:
        return '"keystore"' in path.read_text("utf-8", "replace")
    except OSError:
        return False


def load(path: Path, password: str | None = None) -> tuple[Wallet, dict[str, str]]:
    """The wallet of a key file and its public facts; raises ChainError when missing, damaged or
    locked.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if "keystore" in body:
            if password is None:
                raise ChainError(f"the key of {path.stem} is locked", "give its password")
            wallet = Wallet.of(bytes(Account.decrypt(body["keystore"], password)))
        else:
            wallet = Wallet.of(bytes.fromhex(body["key"]))
    except FileNotFoundError:
        raise ChainError(
            f"there is no key named {path.stem}", "make one: volens keys new NAME"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ChainError(
            f"the key file of {path.stem} cannot be read", "wrong password, or not a volens key"
        ) from None
    return wallet, {
        name: value for name, value in body.items() if name not in ("key", "keystore", "type")
    }
