"""Allowed licences of all dependencies, however a package words its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def third_party() -> Iterator[ModuleType]:
    """docs/third_party.py, as docs/generate.py finds it beside itself."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("third_party")
    sys.path.remove(str(ROOT / "docs"))


def install(folder: Path, name: str, *lines: str) -> None:
    """A distribution of the smallest kind: metadata and nothing else."""
    deployment = folder / f"{name.replace('-', '_')}-9.9.dist-info"
    deployment.mkdir(parents=True)
    (deployment / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 9.9", *lines, ""])
    )


GPL = "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"
MIT = "License-Expression: MIT"
MIT_TOO = "Classifier: License :: OSI Approved :: MIT License"
OPEN_TEXT = "Permission is hereby granted, free of charge, to any person obtaining a copy"


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"rlp": [GPL]}, "rlp"),
        (
            {"rlp": [MIT, "Requires-Dist: copyleft"], "copyleft": [GPL]},
            "copyleft",
        ),  # not named by us: brought
        (
            {"rlp": [MIT, "Requires-Dist: copyleft"], "copyleft": ["License: AGPL-3.0-or-later"]},
            "copyleft",
        ),
        ({"rlp": ["License-Expression: MIT AND LGPL-3.0-only"]}, "rlp"),
        (
            {"rlp": [MIT, GPL.replace("General", "Lesser General")], "copyleft": []},
            None,
        ),  # the expression counts
        ({"rlp": ["License: AGPL-3.0-only", MIT_TOO]}, "rlp"),
        ({"rlp": ["License: ask us"]}, "rlp"),
        ({"rlp": ["Summary: no licence at all"]}, "rlp"),
        ({"rlp": ["License-Expression: MIT OR GPL-3.0-only"]}, None),
        (
            {"torch": [MIT, "Requires-Dist: nvidia-cublas"], "nvidia-cublas": ["License: its own"]},
            None,
        ),
        *(
            ({"rlp": [MIT, f"Requires-Dist: {name}"], name: ["License: GPL-3.0-only"]}, name)
            for name in ("nvidia-copyleft", "cuda-copyleft", "triton")
        ),
        (
            {
                "torch": [MIT, "Requires-Dist: triton"],
                "rlp": [MIT, "Requires-Dist: triton"],
                "triton": [GPL],
            },
            "triton",
        ),
    ],
    ids=[
        "named by us",
        "brought",
        "brought, AGPL",
        "LGPL",
        "expression first",
        "taken back",
        "unknown",
        "none",
        "a choice",
        "a GPU build of torch",
        "called nvidia-",
        "called cuda-",
        "called triton",
        "not only of torch",
    ],
)
def test_a_licence_that_may_not_come_in_is_named(
    third_party: ModuleType,
    metadata: dict[str, list[str]],
    named: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, lines in metadata.items():
        install(tmp_path, name, *lines)
    monkeypatch.syspath_prepend(tmp_path)
    refused = third_party.refusals(third_party.collect())
    assert [sentence.split(" ")[0] for sentence in refused] == ([named] if named else [])


def test_a_name_of_a_gpu_build_that_is_named_by_us_is_looked_at(
    third_party: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "triton", GPL)
    monkeypatch.syspath_prepend(tmp_path)
    assert [part.licence for part in third_party._brought(["triton"])] == [
        "GNU General Public License v3 (GPLv3)"
    ]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("GNU Affero General Public License v3 or later (AGPLv3+)", False),
        ("GNU General Public License, version 3", False),
        (
            "GNU GENERAL PUBLIC LICENSE\n        Version 3, 29 June 2007\n        Everyone is permitted to copy",
            False,
        ),
        (
            f"MIT License\n        {OPEN_TEXT}\n        Parts of it under the GNU General Public License",
            False,
        ),
        ("EUPL-1.2", False),
        ("MIT AND EUPL-1.2", False),
        ("MIT, CC-BY-NC-4.0", False),
        ("CC BY-NC-SA 4.0", False),
        ("CC-BY-NC-4.0", False),
        ("for academic research use only", False),
        ("MIT, for research purposes", False),
        ("BSD, academic use", False),
        ("see LICENSE", False),
        ("MIT and Business Source License", False),
        ("SSPL or MIT for non-commercial work", False),
        ("", True),
        ("UNKNOWN", True),
        ("MIT", True),
        ("The MIT License (MIT)", True),
        ("BSD 3-Clause", True),
        (f"Copyright (c) 2020 Somebody\n        {OPEN_TEXT}", True),
        (
            "Redistribution and use in source and binary forms, with or without modification, are permitted",
            True,
        ),
    ],
)
def test_a_text_beside_a_permissive_classifier_counts_with_it(
    third_party: ModuleType,
    text: str,
    allowed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, "rlp", f"License: {text}", MIT_TOO)
    monkeypatch.syspath_prepend(tmp_path)
    (part,) = third_party._brought(["rlp"])
    assert third_party.allows(part.licence) is allowed, part.licence


def test_make_check_fails_on_such_a_licence(tmp_path: Path) -> None:
    install(tmp_path, "rlp", MIT, "Requires-Dist: copyleft")
    install(tmp_path, "copyleft", GPL)
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "copyleft may not be a run-time dependency: its licence is GNU General Public"
    )
