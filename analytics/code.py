"""Hashes of the running code: codeHash and paramsSchemaHash of docs/ledger.md.

Imports no heavy module, so any process can call it. The hash is a statement, not an attestation: an
operator of the host can state any hash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path

from analytics.errors import CodeError

# Distributions the package may import; a test compares this with its import statements.
LIBRARIES = (
    "cyvcf2",
    "fhir.resources",
    "jsonschema",
    "markdown-it-py",
    "numpy",
    "scikit-learn",
    "scipy",
    "threadpoolctl",
    "torch",
)
PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the code hash is a hash of: the sha256 (hex) of each file by path, and library lines."""

    files: dict[str, str]
    libraries: tuple[str, ...]

    @property
    def digest(self) -> bytes:
        """32 bytes: sha256 over `canonical("volens/code/1", n, n pairs (path, sha256), m, m lines
        "name==version")`, paths sorted.
        """
        digest = hashlib.sha256(
            _field(b"volens/code/1") + _field(len(self.files).to_bytes(8, "big"))
        )
        for name, file_hash in sorted(self.files.items()):
            digest.update(_field(name.encode()) + _field(bytes.fromhex(file_hash)))
        digest.update(_field(len(self.libraries).to_bytes(8, "big")))
        for line in self.libraries:
            digest.update(_field(line.encode()))
        return digest.digest()


def code_hash(package: Path | None = None) -> bytes:
    """The digest of `manifest_of` this package."""
    return manifest_of(package).digest


def manifest_of(package: Path | None = None) -> Manifest:
    """The files of a package, and the libraries that it runs with.

    Paths are posix, relative to `package` (default: the package of this module); every file counts
    except byte-code caches. Library lines are sorted and end with Python's. Raises CodeError for a
    link or a missing library.
    """
    root = PACKAGE if package is None else package
    files = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if _counts(path)
    }
    if not files:
        raise CodeError("the package folder holds no files")
    return Manifest(files, tuple(library_lines()))


def changes_between(old: Manifest, new: Manifest) -> list[str]:
    """What differs, one line for each file and library, in words."""
    lines = []
    for name in sorted(old.files.keys() | new.files.keys()):
        if name not in new.files:
            lines.append(f"{name}: removed")
        elif name not in old.files:
            lines.append(f"{name}: new")
        elif old.files[name] != new.files[name]:
            lines.append(f"{name}: changed")
    lines += [f"without {line}" for line in old.libraries if line not in new.libraries]
    return lines + [f"with {line}" for line in new.libraries if line not in old.libraries]


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


def params_schema_hash(study: bytes | None = None) -> bytes:
    """The permit's paramsSchemaHash: sha256 of the package's params-schema.json; of a permit that
    is bound to a study, sha256 of that hash and the study's (analytics/study.py).
    """
    schema = hashlib.sha256((PACKAGE / "params-schema.json").read_bytes()).digest()
    if study is None:
        return schema
    return hashlib.sha256(schema + hashlib.sha256(study).digest()).digest()


def _counts(path: Path) -> bool:
    if "__pycache__" in path.parts or path.suffix == ".pyc":
        return False
    if path.is_symlink():
        raise CodeError("the package folder holds a link")
    return path.is_file()


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
