"""Manifests of code: which files and libraries a permit's code hash stands for, kept under that
hash.

With two of them the committee sees which files differ, not only that something does.
"""

from __future__ import annotations

from typing import Any

from analytics.code import Manifest
from governance.errors import NotFound, ObjectAltered, RequestInvalid
from governance.objects.vault import CODE_MANIFEST, Bucket
from governance.rules.encoding import Malformed, canonical_json, part, raw, strict_json

TYPE = "volens/code-manifest/1"
MAX_MANIFEST = 256 << 10  # bytes


def write_manifest(manifest: Manifest) -> bytes:
    """A manifest as canonical JSON."""
    return canonical_json(
        {"type": TYPE, "files": manifest.files, "libraries": list(manifest.libraries)}
    )


def read_manifest(data: bytes) -> Manifest:
    """Raises RequestInvalid."""
    try:
        document: Any = strict_json(data, MAX_MANIFEST)
        if part(document, "type", str) != TYPE or len(document) != 3:
            raise Malformed("it is of another type")
        files, libraries = part(document, "files", dict), part(document, "libraries", list)
        for name, file_hash in files.items():
            raw(file_hash, 32)
            if not name.isprintable():
                raise Malformed("a path cannot be shown")
        if not all(isinstance(line, str) and line.isprintable() for line in libraries):
            raise Malformed("a library line cannot be shown")
    except Malformed as error:
        raise RequestInvalid(
            f"this is no manifest of code: {error}", "send the one that volens writes"
        ) from None
    return Manifest(files, tuple(libraries))


def put_manifest(bucket: Bucket, digest: str, data: bytes) -> None:
    """Store a manifest; the caller MUST have checked that a permit names its hash.

    Raises RequestInvalid, BucketUnavailable.
    """
    manifest = read_manifest(data)
    if manifest.digest.hex() != digest:
        raise RequestInvalid(
            "the manifest is not the one with this hash", "send the manifest of exactly this code"
        )
    bucket.put_text(CODE_MANIFEST, bytes.fromhex(digest), write_manifest(manifest))


def get_manifest(bucket: Bucket, digest: str) -> Manifest:
    """Raises NotFound, ObjectAltered, BucketUnavailable."""
    data = bucket.find_text(CODE_MANIFEST, bytes.fromhex(digest))
    if data is None:
        raise NotFound(
            "nobody has sent the manifest of this code",
            "ask the applicant: volens permit document PERMIT --send FILE sends it with the plan",
        )
    try:
        manifest = read_manifest(data)
    except RequestInvalid:
        manifest = None
    if manifest is None or manifest.digest.hex() != digest:
        raise ObjectAltered(
            "the bucket's manifest is not of the code that the ledger names",
            "restore it from a copy",
        )
    return manifest
