"""The bucket over the real emulator and client: written once, hashed at every read, quick to say it
is away.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from governance.errors import (
    BucketNotStarted,
    BucketUnavailable,
    KeyMismatch,
    ObjectAltered,
    ObjectMissing,
    ShareRefused,
    WrongObject,
)
from governance.objects import envelope
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.envelope import Label, WrappedShare
from governance.objects.vault import MAX_OBJECT, Bucket, open_record, seal_records

ROOT = Path(__file__).parents[2]
LABEL = Label(b"i" * 32, b"r" * 32, b"s" * 32, b"d" * 32, 6, 1)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketProcess]:
    process = BucketProcess.start(tmp_path_factory.mktemp("bucket"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def bucket(emulator: BucketProcess) -> Bucket:
    opened = Bucket("vault", emulator.url)
    opened.create()
    opened.create()
    return opened


def on_disk(emulator: BucketProcess, name: str) -> Path:
    return emulator.folder / "objects" / "vault" / name


def log_after(emulator: BucketProcess, text: str) -> str:
    """The request log once `text` stands in it: the emulator answers first and writes the line
    then.
    """
    deadline = time.monotonic() + 3
    while text not in emulator.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    return emulator.log.read_text()


# --- the bucket
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 300_000, 9 << 20])
def test_what_was_put_is_got(bucket: Bucket, size: int) -> None:
    blob = secrets.token_bytes(size)
    name = bucket.put(blob)
    assert name == envelope.object_name(blob)
    assert bucket.get(name) == blob


def test_an_object_is_written_once(bucket: Bucket, emulator: BucketProcess) -> None:
    blob = b"once" + secrets.token_bytes(32)
    name = bucket.put(blob)
    written = on_disk(emulator, name).stat().st_mtime_ns
    assert bucket.put(blob) == name
    assert on_disk(emulator, name).stat().st_mtime_ns == written
    assert '" 412 ' in log_after(emulator, '" 412 ').replace('\\"', '"')


@pytest.mark.parametrize("content", [b"other bytes", b"", None])
def test_a_changed_file_is_noticed(
    bucket: Bucket, emulator: BucketProcess, content: bytes | None
) -> None:
    blob = secrets.token_bytes(1000)
    name = bucket.put(blob)
    on_disk(emulator, name).write_bytes(blob[:-1] if content is None else content)
    with pytest.raises(ObjectAltered):
        bucket.get(name)


def test_an_object_swapped_with_another_is_noticed(bucket: Bucket, emulator: BucketProcess) -> None:
    first, second = (bucket.put(secrets.token_bytes(1000)) for _ in range(2))
    on_disk(emulator, first).write_bytes(on_disk(emulator, second).read_bytes())
    with pytest.raises(ObjectAltered):
        bucket.get(first)


def test_an_object_grown_beyond_measure_is_not_read_to_its_end(
    bucket: Bucket, emulator: BucketProcess
) -> None:
    name = bucket.put(secrets.token_bytes(10))
    with on_disk(emulator, name).open("r+b") as file:
        file.truncate(8 * MAX_OBJECT)
    tracemalloc.start()
    with pytest.raises(ObjectAltered):
        bucket.get(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_OBJECT


@pytest.mark.parametrize(
    "name",
    [
        "o/" + "0" * 64,
        "o/" + "0" * 63,
        "o/../../etc/passwd",
        "",
        "o/" + "A" * 64,
        "o/" + "0" * 64 + "\n",
        "http://127.0.0.1/",
    ],
)
def test_a_name_without_object_is_missing(bucket: Bucket, name: str) -> None:
    with pytest.raises(ObjectMissing):
        bucket.get(name)


def test_a_name_of_another_form_is_not_even_asked_for(
    bucket: Bucket, emulator: BucketProcess
) -> None:
    with pytest.raises(ObjectMissing):
        bucket.get("o/../vault2/secret")
    name = bucket.put(secrets.token_bytes(50))
    bucket.get(name)
    asked = name.replace("/", "%2F")
    assert "vault2" not in log_after(emulator, f"GET /download/storage/v1/b/vault/o/{asked}")


def test_each_read_is_in_the_request_log(bucket: Bucket, emulator: BucketProcess) -> None:
    name = bucket.put(secrets.token_bytes(50))
    bucket.get(name)
    read = f"GET /download/storage/v1/b/vault/o/{name.replace('/', '%2F')}"
    assert read in log_after(emulator, read)


# --- a bucket that is away
# --------------------------------------------------------------------------------


def test_a_stopped_bucket_is_unavailable_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(BucketUnavailable):
        Bucket("vault", f"http://127.0.0.1:{port}").get("o/" + "0" * 64)
    assert time.monotonic() - began < 5


def test_a_silent_bucket_is_unavailable_soon() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=20) as silent:
        began = time.monotonic()
        with pytest.raises(BucketUnavailable):
            Bucket("vault", f"http://127.0.0.1:{silent.getsockname()[1]}").put(b"x")
        assert time.monotonic() - began < 5


def test_writing_to_a_bucket_that_does_not_exist_fails(emulator: BucketProcess) -> None:
    with pytest.raises(BucketUnavailable, match="does not exist"):
        Bucket("elsewhere", emulator.url).put(b"x")


# --- the emulator process
# ---------------------------------------------------------------------------------


def test_a_restart_keeps_the_objects(tmp_path: Path) -> None:
    first = BucketProcess.start(tmp_path / "bucket")
    bucket = Bucket("vault", first.url)
    bucket.create()
    name = bucket.put(b"kept")
    first.stop()
    first.stop()
    second = BucketProcess.start(tmp_path / "bucket", int(first.url.rsplit(":", 1)[1]))
    assert second.url == first.url
    assert bucket.get(name) == b"kept"
    second.stop()


def test_a_taken_port_is_a_typed_error(emulator: BucketProcess, tmp_path: Path) -> None:
    with pytest.raises(BucketNotStarted, match="is taken"):
        BucketProcess.start(tmp_path / "second", int(emulator.url.rsplit(":", 1)[1]))


def test_a_killed_launcher_takes_the_bucket_along(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from governance.objects.bucket_emulator import BucketProcess\n"
        "print(BucketProcess.start(Path(sys.argv[1])).url, flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "bucket")], stdout=subprocess.PIPE, cwd=ROOT
    )
    port = int(launcher.stdout.readline().decode().strip().rsplit(":", 1)[1])
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.02)
    pytest.fail("the bucket outlived its launcher")


# --- sealing and opening
# ----------------------------------------------------------------------------------


class Custody:
    """Wraps as a broker does, and keeps what it was given, so that the test can open."""

    def __init__(self) -> None:
        self.given: list[tuple[bytes, bytes, bytes]] = []

    def wrap(self, keys: Sequence[tuple[bytes, bytes, bytes]]) -> list[list[WrappedShare]]:
        self.given += keys
        return [
            [
                WrappedShare(b"b" * 20, j, envelope.wrap_share(b"e" * 32, b"C%d" % j, share))
                for j, share in enumerate(shares)
            ]
            for shares in keys
        ]


def test_a_record_goes_through_the_bucket_and_opens(bucket: Bucket) -> None:
    custody = Custody()
    sealed = seal_records([(LABEL, b"expression")], custody.wrap)[0]
    blob = bucket.get(bucket.put(sealed.blob))
    assert b"expression" not in blob
    assert open_record(blob, sealed.ciphertext_hash, LABEL, custody.given[0]) == b"expression"
    header = envelope.read_header(blob)
    assert header.key_commitment == sealed.key_commitment
    shares = [
        envelope.unwrap_share(b"e" * 32, b"C%d" % share.j, share.wrapped) for share in header.shares
    ]
    assert open_record(blob, sealed.ciphertext_hash, LABEL, shares) == b"expression"


def test_every_seal_draws_a_new_key(bucket: Bucket) -> None:
    custody = Custody()
    sealed = seal_records([(LABEL, b"same")] * 10, custody.wrap)
    assert (
        len({record.key_commitment for record in sealed})
        == len({record.ciphertext_hash for record in sealed})
        == 10
    )
    assert len({envelope.join_shares(shares) for shares in custody.given}) == 10


def test_only_the_object_the_ledger_names_is_opened() -> None:
    """A second valid object of the same record under the same label: only the hash tells them
    apart.
    """
    custody = Custody()
    old, new = seal_records([(LABEL, b"old"), (LABEL, b"new")], custody.wrap)
    assert open_record(new.blob, new.ciphertext_hash, LABEL, custody.given[1]) == b"new"
    with pytest.raises(ObjectAltered):
        open_record(old.blob, new.ciphertext_hash, LABEL, custody.given[0])
    with pytest.raises(KeyMismatch):
        open_record(old.blob, old.ciphertext_hash, LABEL, custody.given[1])
    with pytest.raises(WrongObject):
        open_record(
            old.blob,
            old.ciphertext_hash,
            Label(b"i" * 32, b"r" * 32, b"s" * 32, b"d" * 32, 6, 2),
            custody.given[0],
        )
    with pytest.raises(ShareRefused):
        open_record(old.blob, old.ciphertext_hash, LABEL, custody.given[0][:2])
