import ast
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analytics.code import LIBRARIES, PACKAGE, code_hash, library_lines, params_schema_hash
from analytics.errors import CodeError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(
            PACKAGE, tmp_path / "analytics", ignore=shutil.ignore_patterns("__pycache__")
        )
    )


def test_a_copy_has_the_same_hash(copy: Path) -> None:
    assert code_hash(copy) == code_hash()
    assert len(code_hash()) == 32


@pytest.mark.parametrize(
    "name", ["run.py", "readers/expression.py", "params-schema.json", "__init__.py"]
)
def test_one_byte_changes_it(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    assert code_hash(copy) != code_hash()


def test_a_renamed_or_added_file_changes_it(copy: Path) -> None:
    (copy / "evaluate.py").rename(copy / "evaluat.py")
    renamed = code_hash(copy)
    (copy / "weights.bin").write_bytes(b"")
    assert len({renamed, code_hash(copy), code_hash()}) == 3


def test_byte_code_caches_do_not(copy: Path) -> None:
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"x")
    (copy / "readers" / "__pycache__").mkdir()
    (copy / "readers" / "__pycache__" / "notes.txt").write_bytes(b"x")
    assert code_hash(copy) == code_hash()


def test_a_library_version_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before, version = code_hash(), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0" if name == "numpy" else version(name)
    )
    assert code_hash() != before


def test_a_build_label_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.13.0+cpu and 2.13.0+cu130 are one source, so machines with a GPU have the same
    hash."""
    hashes = []
    for label in ("", "+cpu", "+cu130"):
        monkeypatch.setattr(
            importlib.metadata, "version", lambda name, label=label: f"2.13.0{label}"
        )
        hashes.append(code_hash())
        assert "torch==2.13.0" in library_lines()
    assert len(set(hashes)) == 1


def test_links_are_refused(copy: Path) -> None:
    (copy / "more.py").symlink_to(copy / "run.py")
    with pytest.raises(CodeError):
        code_hash(copy)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeError):
        code_hash(tmp_path)


def test_the_encoding_is_the_documented_one(copy: Path) -> None:
    for path in sorted(copy.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (copy / "a.py").write_bytes(b"x = 1\n")

    def field(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    lines = [line.encode() for line in library_lines()]
    fields = [
        b"volens/code/1",
        (1).to_bytes(8, "big"),
        b"a.py",
        hashlib.sha256(b"x = 1\n").digest(),
    ]
    fields += [len(lines).to_bytes(8, "big"), *lines]
    assert code_hash(copy) == hashlib.sha256(b"".join(map(field, fields))).digest()


def test_the_schema_hash_is_of_the_file() -> None:
    assert (
        params_schema_hash()
        == hashlib.sha256((PACKAGE / "params-schema.json").read_bytes()).digest()
    )


def test_asking_for_the_hash_loads_nothing_heavy() -> None:
    script = (
        "import sys, analytics.code as c; c.code_hash(); "
        "print([m for m in ('numpy', 'sklearn', 'torch', 'scipy', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_library_the_package_imports_is_in_the_hash() -> None:
    distribution_of = {
        "sklearn": "scikit-learn",
        "fhir": "fhir.resources",
        "markdown_it": "markdown-it-py",
    }
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    outside = imported - sys.stdlib_module_names - {"analytics"}
    assert {distribution_of.get(name, name) for name in outside} == set(LIBRARIES)
