"""An ingest killed after its upload and retried with other bytes never reuses a key and nonce."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from hashlib import sha256

import pytest
from rig import Rig

from governance.objects.envelope import Header, read_header, record_id
from governance.objects.ingest import Source, encrypt
from governance.objects.vault import Bucket

FIRST, SECOND = (
    b'{"glucose":"5.1"}',
    b'{"glucose":"7.9"}',
)  # as long as each other: their XOR would tell both


@pytest.fixture
def rig_people() -> int:
    """Enough where nothing is trained."""
    return 6


def objects(rig: Rig) -> dict[str, bytes]:
    """The bucket's own files, by name."""
    contents = {}
    for path in (rig.bucket_log.parent / "objects").rglob(f"{rig.bucket._bucket.name}/o/*"):
        contents[path.name] = path.read_bytes()
    return contents


def killed_after_upload(rig: Rig, source: Source) -> bytes:
    """A process that ingests is killed as its object lies in the bucket, before anything is signed;
    the object.
    """
    before = objects(rig).keys()
    pid = os.fork()
    if pid == 0:
        put = Bucket.put

        def put_and_die(bucket: Bucket, blob: bytes) -> str:
            put(bucket, blob)
            os.kill(os.getpid(), signal.SIGKILL)
            return ""

        Bucket.put = put_and_die  # type: ignore[method-assign]
        rig.ingest([source])
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    (left,) = objects(rig).keys() - before
    return objects(rig)[left]


def same_key(first: bytes, second: bytes) -> list[str]:
    """What two objects share that they must not."""
    old, new = read_header(first), read_header(second)

    def body(blob: bytes) -> bytes:
        return blob[10 + int.from_bytes(blob[6:10], "big") :]

    def shares(header: Header) -> set[bytes]:
        return {share.wrapped for share in header.shares}

    length = min(len(FIRST), len(SECOND))
    together = bytes(
        a ^ b for a, b in zip(body(first)[:length], body(second)[:length], strict=True)
    )
    return [
        what
        for what, same in (
            ("key commitment", old.key_commitment == new.key_commitment),
            ("ciphertext hash", sha256(first).digest() == sha256(second).digest()),
            ("wrapped share", bool(shares(old) & shares(new))),
            ("key stream", together == bytes(a ^ b for a, b in zip(FIRST, SECOND, strict=True))),
        )
        if same
    ]


def source(rig: Rig, payload: bytes) -> Source:
    return Source(rig.subjects[0], 2, payload, ordinal=1)


def test_the_retry_has_another_key_and_both_commitments_differ(rig: Rig) -> None:
    orphan = killed_after_upload(rig, source(rig, FIRST))
    (leaf,) = rig.ingest([source(rig, SECOND)])
    second = objects(rig)[leaf.ciphertext.hex()]
    assert (
        read_header(orphan).label == read_header(second).label
    )  # the same record, in the same version
    assert same_key(orphan, second) == []
    assert leaf.key_commitment != read_header(orphan).key_commitment
    assert leaf.ciphertext != sha256(orphan).digest()


def test_only_the_retry_is_on_the_ledger(rig: Rig) -> None:
    orphan = killed_after_upload(rig, source(rig, FIRST))
    (leaf,) = rig.ingest([source(rig, SECOND)])
    projection = rig.projection()
    projection.sync()
    record = record_id(rig.world.dataset, rig.subjects[0], 2, 1)
    named = [
        row.ciphertext for row in projection.records_of(rig.world.dataset) if row.record == record
    ]
    assert named == [leaf.ciphertext]
    assert sha256(orphan).digest() not in named


def test_the_same_bytes_again_have_another_key_too(rig: Rig) -> None:
    orphan = killed_after_upload(rig, source(rig, FIRST))
    (leaf,) = rig.ingest([source(rig, FIRST)])
    assert read_header(orphan).key_commitment != leaf.key_commitment
    assert sha256(orphan).digest() != leaf.ciphertext


def test_a_key_made_of_the_records_name_would_be_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge is awake: with keys drawn from what stays the same, both plaintexts lie under one
    key and nonce.
    """
    drawn: Callable[[int], bytes] = lambda size: sha256(b"the record's name").digest()[:size]  # noqa: E731
    monkeypatch.setattr("governance.objects.vault.secrets.token_bytes", drawn)
    orphan = killed_after_upload(rig, source(rig, FIRST))
    (leaf,) = encrypt(
        [source(rig, SECOND)],
        rig.world.dataset,
        rig.client_identity,
        rig.client,
        rig.bucket,
    )
    assert {"key commitment", "key stream"} <= set(
        same_key(orphan, objects(rig)[leaf.ciphertext.hex()])
    )
