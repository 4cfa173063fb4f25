"""Key files: private, whole after any crash, and useful for one purpose at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance.errors import KeyFileExposed, KeyFileUnreadable, SecretRefused
from governance.objects.keys import (
    FileKeyProvider,
    create_private,
    load_pair,
    new_pair,
    read_private,
    replace_private,
)


def test_a_secret_opens_with_its_key_file_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "broker.key"
    sealed = FileKeyProvider(path).seal(b"seed", b"subject 1")
    assert b"seed" not in sealed
    assert FileKeyProvider(path).open(sealed, b"subject 1") == b"seed"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_secret_opens_for_its_purpose_only(tmp_path: Path) -> None:
    keys, other = FileKeyProvider(tmp_path / "a"), FileKeyProvider(tmp_path / "b")
    sealed = keys.seal(b"seed", b"subject 1")
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for provider, mutant, purpose in [
        (keys, sealed, b"subject 2"),
        (other, sealed, b"subject 1"),
        (keys, sealed[:-1], b"subject 1"),
        (keys, flipped, b"subject 1"),
        (keys, b"", b"subject 1"),
    ]:
        with pytest.raises(SecretRefused):
            provider.open(mutant, purpose)


def test_each_seal_has_its_own_nonce(tmp_path: Path) -> None:
    keys = FileKeyProvider(tmp_path / "key")
    assert len({keys.seal(b"seed", b"p")[:12] for _ in range(100)}) == 100


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    FileKeyProvider(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyFileExposed):
        FileKeyProvider(tmp_path / "key")


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33])
def test_a_damaged_key_file_is_not_used_nor_replaced(tmp_path: Path, content: bytes) -> None:
    create_private(tmp_path / "key", content)
    with pytest.raises(KeyFileUnreadable):
        FileKeyProvider(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == content


def test_a_missing_file_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnreadable):
        read_private(tmp_path / "absent", 32)


def test_creating_never_replaces_and_replacing_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_private(path, b"first")
    with pytest.raises(FileExistsError):
        create_private(path, b"second")
    assert read_private(path, 5) == b"first"
    replace_private(path, b"third")
    assert read_private(path, 5) == b"third"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_a_pair_survives_its_32_bytes() -> None:
    private, public = new_pair()
    again, same = load_pair(private.private_bytes_raw())
    assert same == public
    assert again.private_bytes_raw() == private.private_bytes_raw()
    assert new_pair()[1] != public
