"""`--version`, and what a shell completes: names of keys, and the names that commands accept."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analytics.code import code_hash
from api.cli import main

PROGRAM = str(Path(sys.executable).with_name("volens"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "keys").mkdir()
    for name in ("noor", "nils", "omar", "no name"):
        (tmp_path / "keys" / f"{name}.json").touch()
    monkeypatch.setenv("VOLENS_HOME", str(tmp_path))
    return tmp_path


def completed(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What bash is offered for the last word of a line."""
    monkeypatch.setattr(sys, "argv", [PROGRAM])
    monkeypatch.setenv("_VOLENS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("volens comm", ["committee"]),
        ("volens run cancel --as n", ["nils", "noor"]),
        ("volens init sign x.json --as o", ["omar"]),
        ("volens keys show no", ["noor"]),
        ("volens enrol invite --for om", ["omar"]),
        ("volens role give 0x a", ["analyst", "auditor"]),
        ("volens consent grant --preset ca", ["cancer", "care", "care-all"]),
        ("volens permit request --purpose methods,ca", ["methods,cancer-research", "methods,care"]),
        ("volens permit request --purpose care,ca", ["care,cancer-research"]),
        ("volens permit request --categories ob", ["observations"]),
        ("volens permit request --output metrics,", ["metrics,genomic", "metrics,table"]),
        ("volens review reject x --reason n", ["not-permitted"]),
    ],
)
def test_it_offers(words: str, offered: list[str], home: Path, monkeypatch, capsys) -> None:
    assert completed(words, monkeypatch, capsys) == offered


@pytest.mark.parametrize("setting", [("HOME", "nowhere"), ("API_PORT", "no number")])
def test_it_offers_no_names_where_there_are_none(
    setting: tuple[str, str], home: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv(f"VOLENS_{setting[0]}", setting[1])
    assert completed("volens run cancel --as n", monkeypatch, capsys) == []


def test_bash_reads_the_script_that_is_shown(home: Path) -> None:
    shell = (
        'eval "$(volens --show-completion bash)"; '
        "COMP_WORDS=(volens run cancel --as no); COMP_CWORD=4; _volens_completion volens; "
        'echo "${COMPREPLY[@]}"; complete -p volens'
    )
    environment = {
        "PATH": f"{Path(PROGRAM).parent}:{os.defpath}",
        "VOLENS_HOME": str(home),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run(
        ["bash", "-c", shell], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "noor",
        "complete -o default -F _volens_completion volens",
    ]


def test_the_version_and_the_code_hash(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["volens", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        f"volens {importlib.metadata.version('volens')}",
        f"code hash {code_hash().hex()}",
    ]
