"""Tampering is detected: objects by the vault, the trail by `verify`, rows by `rebuild`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from removals import GATE, REMOVALS, VERIFIER, Removal, verifier_without
from rig import Rig

from api.demo.stage import World
from api.demo.tampers import TABLE, Reader, Tamper, detected, tamper
from chain.devnode.process import DevChain
from governance.audit import export_bundle
from governance.errors import GovernanceError
from governance.objects.envelope import CHUNK, TAG, Label, WrappedShare
from governance.objects.vault import open_record, seal_records
from governance.verify import canonical_json, examine

Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def bundle(devchain: DevChain) -> Bundle:
    """A trail with everything in it, exported while its true head is known elsewhere."""
    world = World.create(devchain.url)
    world.live_through()
    return export_bundle(world.ledger)


def test_the_untouched_trail_is_valid(bundle: Bundle) -> None:
    verdicts = examine(canonical_json(bundle), [bundle["head"]])
    assert {word: state for word, (state, _) in verdicts.items()} == dict.fromkeys(
        ("consistent", "signed", "anchored"), "ok"
    )


@pytest.mark.parametrize("what", TABLE, ids=lambda what: what.name)
def test_verify_names_every_tamper(bundle: Bundle, what: Tamper) -> None:
    changed = tamper(bundle, what)
    assert changed != bundle
    word, reason = detected(changed, bundle["head"])
    assert word == what.word
    assert any(word in reason for word in ("step", "head", "sign"))


@pytest.mark.parametrize(
    "what",
    [tampering for tampering in TABLE if tampering.word == "anchored"],
    ids=lambda what: what.name,
)
def test_without_a_held_head_such_a_trail_is_never_called_valid(
    bundle: Bundle, what: Tamper
) -> None:
    verdicts = examine(canonical_json(tamper(bundle, what)))
    assert [verdicts[word][0] for word in ("consistent", "signed", "anchored")] == [
        "ok",
        "ok",
        "not-checked",
    ]


def test_a_reader_of_many_copies_says_what_the_auditors_command_says(bundle: Bundle) -> None:
    """The demo reads its copies with one memory of who signed what."""
    reader = Reader(bundle["head"])
    assert reader.detected(bundle) == ("", "")
    for what in TABLE:
        changed = tamper(bundle, what)
        as_sent = json.loads(
            canonical_json(changed)
        )  # whose signature is looked at first depends on the order
        assert reader.detected(as_sent) == detected(changed, bundle["head"]), what.name


@pytest.mark.parametrize("removal", VERIFIER, ids=lambda removal: removal.control)
def test_without_the_check_the_tamper_gets_through(bundle: Bundle, removal: Removal) -> None:
    """Recomputed heads differ from the one that is held, so those tampers are tried where nobody
    holds one.
    """
    loose = verifier_without(removal).examine
    assert detected(bundle, bundle["head"], loose) == ("", "")
    for what in (tampering for tampering in TABLE if tampering.name in removal.attacks):
        head = bundle["head"] if what.word == "anchored" else None
        assert detected(tamper(bundle, what), head) != ("", "")
        assert detected(tamper(bundle, what), head, loose) == ("", ""), what.name


def test_tables_are_as_large_as_promised() -> None:
    assert len({what.name for what in TABLE}) == len(TABLE) >= 15
    removals = [*REMOVALS, *VERIFIER, *GATE]
    assert len({removal.control for removal in removals}) == len(removals) >= 12
    named = {name for removal in VERIFIER for name in removal.attacks}
    assert named <= {what.name for what in TABLE}


# -- objects

KEY_PARTS = 3
LABEL = Label(b"i" * 32, b"r" * 32, b"s" * 32, b"d" * 32, 6, 1)
PLAINTEXT = bytes(range(256)) * 1024  # four chunks


def sealed(label: Label = LABEL) -> tuple[bytes, list[bytes]]:
    kept: list[bytes] = []

    def wrap(keys: list[tuple[bytes, bytes, bytes]]) -> list[list[WrappedShare]]:
        kept.extend(keys[0])
        return [[WrappedShare(b"b" * 20, j, bytes(60)) for j in range(KEY_PARTS)]]

    return seal_records([(label, PLAINTEXT)], wrap)[0].blob, kept


def flipped(blob: bytes) -> bytes:
    return blob[:-100] + bytes([blob[-100] ^ 1]) + blob[-99:]


def swapped(blob: bytes) -> bytes:
    piece = CHUNK + TAG
    start = len(blob) - 4 * piece
    first, second = blob[start : start + piece], blob[start + piece : start + 2 * piece]
    return blob[:start] + second + first + blob[start + 2 * piece :]


def truncated(blob: bytes) -> bytes:
    return blob[: len(blob) - (CHUNK + TAG)]


def exchanged(_blob: bytes) -> bytes:
    return sealed(Label(b"i" * 32, b"q" * 32, b"s" * 32, b"d" * 32, 6, 1))[0]


@pytest.mark.parametrize(
    "change", [flipped, swapped, truncated, exchanged], ids=lambda change: change.__name__
)
@pytest.mark.parametrize(
    "ledger_hash_known", [True, False], ids=["by its hash", "by its own bytes"]
)
def test_the_vault_names_every_tampered_object(
    change: Callable[[bytes], bytes], ledger_hash_known: bool
) -> None:
    """Once against the hash on the ledger, once as if that had been forged too."""
    from hashlib import sha256

    blob, shares = sealed()
    assert open_record(blob, sha256(blob).digest(), LABEL, shares) == PLAINTEXT
    changed = change(blob)
    believed = sha256(blob if ledger_hash_known else changed).digest()
    with pytest.raises(GovernanceError) as refusal:
        open_record(changed, believed, LABEL, shares)
    expected = (
        "ObjectAltered"
        if ledger_hash_known
        else {
            "flipped": "ChunkRefused",
            "swapped": "ChunkRefused",
            "truncated": "ObjectTruncated",
            "exchanged": "WrongObject",
        }[change.__name__]
    )
    assert type(refusal.value).__name__ == expected


def test_an_object_exchanged_in_the_bucket_is_named(rig: Rig) -> None:
    """The bucket's own files are exchanged on disk: the run reads neither."""
    first, second = rig.leaves[:2]
    files = {
        leaf: next(rig.bucket_log.parent.rglob(f"*{leaf.ciphertext.hex()}"))
        for leaf in (first, second)
    }
    files[first].write_bytes(files[second].read_bytes())
    with pytest.raises(GovernanceError, match="other bytes"):
        rig.bucket.get(f"o/{first.ciphertext.hex()}")
