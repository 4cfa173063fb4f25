"""The command `volens doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.cli import context as cli
from api.cli.context import AsJson
from api.errors import NotServing, VerificationFailed

if TYPE_CHECKING:
    from api.operate.doctor_files import Check

_COLOURS = {"ok": "green", "warn": "yellow", "down": "red", "bad": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Diagnose this deployment: services, identity, key holders, versions, disk, clock, queue,
    confinement.

    Each line has a state, its meaning and what to do. Exit code 6 when a service is down, 7 when
    something differs from its pinned value.
    """
    from dataclasses import asdict

    from api.operate.doctor import examine

    checks = examine(cli.settings())
    if as_json:
        cli.show({"checks": [asdict(check) for check in checks]}, True)
    else:
        _print(checks)
    down = [check for check in checks if check.state == "down"]
    if down:
        raise NotServing(f"{' and '.join(check.name for check in down)} did not answer", down[0].do)
    bad = [check.name for check in checks if check.state == "bad"]
    if bad:
        raise VerificationFailed(f"not as it should be: {', '.join(bad)}", "read the lines above")


def _print(checks: list[Check]) -> None:
    for check in checks:
        state = typer.style(f"{check.state:<6}", fg=_COLOURS[check.state])
        typer.echo(f"{state}{check.name}: {check.means}.")
        if check.do:
            typer.echo(f"      What to do: {check.do}.")
