"""`volens(...)` runs a command in this process like its console script, on the deployment's home
folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import typer.main

from api.cli import main

# A process of its own builds the tree of commands once; here some hundred commands share one.
typer.main.get_command = cache(typer.main.get_command)


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


Volens = Callable[..., Result]


@pytest.fixture
def volens(deployment, monkeypatch, capfd, tmp_path) -> Volens:
    monkeypatch.setenv("VOLENS_HOME", str(deployment.home))
    monkeypatch.setenv("VOLENS_DATABASE_URL", deployment.settings.database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["volens", *arguments])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Result(code, out, err)

    return run
