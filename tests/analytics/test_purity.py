"""Purity of the analytics package: its imports and calls must be in a list."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics.code import PACKAGE

STANDARD = {
    "__future__",
    "collections.abc",
    "dataclasses",
    "decimal",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "copy",
    "math",
    "pathlib",
    "re",
    "struct",
    "typing",
    "zlib",
}
LIBRARIES = {
    "analytics",
    "fhir",
    "jsonschema",
    "markdown_it",
    "numpy",
    "scipy",
    "sklearn",
    "threadpoolctl",
}
# Only these look at installed packages and their files, or at descriptors that they are handed.
FILES = {
    "code.py": {"importlib.metadata", "platform"},
    "care/chart.py": {"collections"},
    "care/facts.py": {"enum"},
    "care/interpreter.py": {"enum"},
    "care/prognosis.py": {"enum"},
    "clusters.py": {"warnings"},
    "imputation.py": {"contextlib"},
    "disclosure/noise.py": {"hmac", "statistics"},
    "registered.py": {"importlib.util", "pkgutil"},
    "encoder.py": {"torch"},
    "networks.py": {"torch", "torch.optim.adamw"},
    "recurrent.py": {"torch"},
    "readers/export.py": {"array"},
    "readers/gse7390.py": {"importlib.metadata"},
    "readers/tcga_brca.py": {"csv", "io", "zipfile"},
    "readers/vcf/split.py": {"base64", "io", "cyvcf2"},
    "readers/vcf/calls.py": {"cyvcf2"},
    "readers/vcf/genetic_sex.py": {"cyvcf2"},
    "vocabulary.py": {"enum"},
    "readers/vcf/scan.py": {"io"},
    "readers/vcf/text.py": {"io"},
}
# These read a file of the package itself.
OWN_FILES = {
    "care/dpyd.py",
    "care/medicine_table.py",
    "care/prognosis.py",
    "care/rule_set.py",
    "code.py",
    "params.py",
    "readers/codes.py",
}
REACHING_CALLS = {"open", "exec", "eval", "compile", "__import__", "input", "print", "breakpoint"}
REACHING_METHODS = {
    "read_bytes",
    "read_text",
    "write_bytes",
    "write_text",
    "unlink",
    "mkdir",
    "rename",
    "urlopen",
}


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield str(node.module)


def reaches_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in REACHING_CALLS:
                yield node.func.id
            elif isinstance(node.func, ast.Attribute) and node.func.attr in REACHING_METHODS:
                yield node.func.attr


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_a_module_imports_and_calls_only_what_is_listed(path: Path) -> None:
    name, tree = path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())
    allowed = STANDARD | FILES.get(name, set())
    strange = [
        module
        for module in imports_of(tree)
        if module not in allowed and module.split(".")[0] not in LIBRARIES
    ]
    assert strange == []
    assert set(reaches_of(tree)) <= ({"read_bytes"} if name in OWN_FILES else set())


@pytest.mark.parametrize(
    "line",
    [
        "import socket",
        "import time",
        "import os",
        "from os import environ",
        "import requests",
        "import random",
    ]
    + ["import io", "from cyvcf2 import VCF", "import torch", "from datetime import date"]
    + [f"from {room} import x" for room in ("governance", "chain", "api", "contracts")],
)
def test_forbidden_imports_are_detected(line: str) -> None:
    (module,) = imports_of(ast.parse(line))
    assert module not in STANDARD
    assert module.split(".")[0] not in LIBRARIES


def test_forbidden_calls_are_detected() -> None:
    tree = ast.parse("open('x'); path.read_text(); re.compile('x')")
    assert list(reaches_of(tree)) == ["open", "read_text"]
