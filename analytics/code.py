"""Hashes of the running code: codeHash and paramsSchemaHash of docs/ledger.md.

Imports no heavy module, so any process can call it. The hash is a statement, not an attestation: an
operator of the host can state any hash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path

from analytics.errors import CodeError

# Distributions the package may import; a test compares this with its import statements.
LIBRARIES = (
    "cyvcf2",
    "fhir.resources",
    "jsonschema",
    "numpy",
    "scikit-learn",
    "scipy",
    "threadpoolctl",
    "torch",
)
PACKAGE = Path(__file__).parent


def code_hash(package: Path | None = None) -> bytes:
    """32 bytes: sha256 over `canonical("volens/code/1", n, n pairs (path, sha256), m, m lines
    "name==version")`.

    Paths are posix, relative to `package` (default: the package of this module), sorted; every file
    counts except byte-code caches. Library lines are sorted and end with Python's. Raises CodeError
    for a link or a missing library.
    """
    root = PACKAGE if package is None else package
    files = sorted(
        (path.relative_to(root).as_posix(), path) for path in root.rglob("*") if _counts(path)
    )
    if not files:
        raise CodeError("the package folder holds no files")
    digest = hashlib.sha256(_field(b"volens/code/1") + _field(len(files).to_bytes(8, "big")))
    for name, path in files:
        digest.update(_field(name.encode()) + _field(hashlib.sha256(path.read_bytes()).digest()))
    lines = library_lines()
    digest.update(_field(len(lines).to_bytes(8, "big")))
    for line in lines:
        digest.update(_field(line.encode()))
    return digest.digest()


def library_lines() -> list[str]:
    """Sorted `name==version` of the libraries the package may import, then of Python.

    Without the local label of a version ("2.13.0+cpu" is 2.13.0): it names a build of the same
    source, and one analysis must have one code hash on machines with a GPU and without.
    """
    try:
        lines = sorted(
            f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in LIBRARIES
        )
    except importlib.metadata.PackageNotFoundError:
        raise CodeError("a library that the package needs is not installed") from None
    return [*lines, f"python=={platform.python_version()}"]


def params_schema_hash() -> bytes:
    """sha256 of the package's params-schema.json: the permit's paramsSchemaHash."""
    return hashlib.sha256((PACKAGE / "params-schema.json").read_bytes()).digest()


def _counts(path: Path) -> bool:
    if "__pycache__" in path.parts or path.suffix == ".pyc":
        return False
    if path.is_symlink():
        raise CodeError("the package folder holds a link")
    return path.is_file()


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
