"""Secrets at rest: a key file that seals small secrets, private files, and X25519 pairs."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.errors import KeyFileExposed, KeyFileUnreadable, SecretRefused
from governance.rules.encoding import canonical

# What a derived key opens: a run's result (the context is the run's id), or a checker's view of its
# output (the run's id and the attempt, 4 bytes).
RESULT_KEY = b"volens/result-key/1"
VIEW_KEY = b"volens/view-key/1"
PrivateKey = X25519PrivateKey  # opens what is sealed for its holder


class FileKeyProvider:
    """Seals secrets of a few bytes (seeds, private keys) under 32 random bytes in one file of mode
    0600.
    """

    def __init__(self, path: Path) -> None:
        """Reads the key file, or makes it. Raises KeyFileExposed, KeyFileUnreadable."""
        if not path.exists():
            create_private(path, secrets.token_bytes(32))
        self._cipher = AESGCM(read_private(path, 32))

    def seal(self, secret: bytes, purpose: bytes) -> bytes:
        """12 random bytes || AES-256-GCM; opens again for the same `purpose` only."""
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, secret, canonical(b"volens/sealed/1", purpose))

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """The secret. Raises SecretRefused."""
        try:
            return self._cipher.decrypt(
                sealed[:12], sealed[12:], canonical(b"volens/sealed/1", purpose)
            )
        except (InvalidTag, ValueError):
            raise SecretRefused(
                "a sealed secret does not open with this key file",
                "use the key file it was sealed with",
            ) from None


def create_private(path: Path, data: bytes) -> None:
    """Writes a new file of mode 0600 atomically; it is on disk on return. Raises FileExistsError."""
    temporary = _write_beside(path, data)
    try:
        os.link(temporary, path)  # unlike a rename, it never replaces a key that is already there
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Replaces a file of mode 0600 atomically: a crash leaves the old or the new file, complete."""
    _write_beside(path, data).replace(path)
    _sync_folder(path.parent)


def read_private(path: Path, size: int) -> bytes:
    """The `size` bytes of a file that only its owner may read. Raises KeyFileExposed,
    KeyFileUnreadable.
    """
    try:
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(size + 1)
    except OSError:
        raise KeyFileUnreadable(
            "the key file cannot be read", "name the folder it lies in"
        ) from None
    if mode & 0o077:
        raise KeyFileExposed(
            "others may read the key file", "take their rights away (chmod 600) and replace the key"
        )
    if len(data) != size:
        raise KeyFileUnreadable("the key file is damaged", "restore it from a copy")
    return data


def new_pair() -> tuple[PrivateKey, bytes]:
    """A fresh X25519 private key and its 32-byte public key."""
    private = X25519PrivateKey.generate()
    return private, private.public_key().public_bytes_raw()


def load_pair(raw: bytes) -> tuple[PrivateKey, bytes]:
    """The pair of the 32 private bytes that `private_bytes_raw()` gave."""
    private = X25519PrivateKey.from_private_bytes(raw)
    return private, private.public_key().public_bytes_raw()


def derived_pair(signing_key: bytes, purpose: bytes, context: bytes) -> tuple[PrivateKey, bytes]:
    """The pair that follows from a signing key (32 bytes) for one run: HKDF-SHA256 without salt,
    with info = purpose || context. Nothing of it must be kept; web/reading-keys.js does the same.
    """
    return load_pair(HKDF(SHA256(), 32, None, purpose + context).derive(signing_key))


def noise_key(root: bytes, dataset: bytes) -> bytes:
    """The key (32 bytes) of the noise in a dataset's results: HKDF-SHA256 (RFC 5869) of the
    broker's root secret without salt. The same for every run on the dataset, so that the same
    question has the same answer.
    """
    return HKDF(SHA256(), 32, None, canonical(b"volens/noise/1", dataset)).derive(root)


def _write_beside(path: Path, data: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
