"""The command line's help: it is fast, and explains every command."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from speed import allowed

HEAVY = (
    "torch",
    "sklearn",
    "urllib3",
    "requests",
    "web3",
    "eth_abi",
    "fastapi",
    "sqlalchemy",
    "eth_account",
    "pydantic",
    "httpx",
    "numpy",
    "cryptography",
)
GROUPS = (
    "keys",
    "enrol",
    "consent",
    "access",
    "dataset",
    "permit",
    "run",
    "review",
    "result",
    "care",
    "plan",
    "trail",
    "care",
    "plan",
    "init",
)


@pytest.mark.alone
def test_help_comes_within_300_ms_over_bare_python() -> None:
    """Where files are read slowly, within three times what the library that writes the help takes
    to load.
    """
    bare = _least([sys.executable, "-c", "pass"])
    library = _least([sys.executable, "-c", "import typer.rich_utils"])
    helped = _least([sys.executable, "-c", "from api.cli import main; main()", "--help"])
    assert helped - bare < max(allowed(0.3), 3 * (library - bare))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from api.cli.root import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit: pass\n"
        f"print('LOADED', sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("group", GROUPS)
def test_each_command_that_signs_shows_an_example(volens, group: str) -> None:
    from typer.main import get_command

    from api.cli.root import app

    commands = get_command(app).commands[group].commands  # type: ignore[attr-defined]
    assert commands
    for name, command in commands.items():
        signs = any("--as" in option.opts for option in command.params)
        plain = (group, name) in (("consent", "show"), ("run", "cancel"), ("trail", "denials"))
        assert not signs or plain or "Example: `volens " in command.help, (group, name)


def test_every_command_of_the_protocol_is_there(volens) -> None:
    from typer.main import get_command

    from api.cli.root import app

    root = get_command(app)
    groups = {
        name: set(getattr(command, "commands", {}))
        for name, command in root.commands.items()  # type: ignore[attr-defined]
    }
    assert groups == {
        "keys": {"new", "show"},
        "care": {"appoint", "end", "list", "permit"},
        "plan": {"end", "export", "list", "open", "prognosis", "read", "request", "sign"},
        "demo": set(),
        "serve": set(),
        "worker": set(),
        "doctor": set(),
        "join": set(),
        "init": {"besu", "containers", "sign"},
        "enrol": {"invite", "submit"},
        "consent": {"grant", "show", "revoke", "withdrawals"},
        "role": {"list", "give", "name", "end", "cancel"},
        "committee": {"sign"},
        "dataset": {
            "register",
            "document",
            "dictionary",
            "features",
            "ingest",
            "ingests",
            "list",
            "void",
        },
        "permit": {"request", "document", "review", "vote", "show", "suspend", "reasons"},
        "run": {"request", "rehearse", "show", "watch", "cancel", "resume"},
        "review": {"list", "open", "approve", "reject"},
        "result": {"open"},
        "access": {"list"},
        "trail": {"export", "head", "hold", "denials"},
        "verify": set(),
        "rebuild": set(),
    }


def _least(argv: list[str]) -> float:
    took = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run(argv, capture_output=True, check=True)
        took.append(time.perf_counter() - began)
    return min(took)
