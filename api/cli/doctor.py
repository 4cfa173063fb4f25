"""Say how the place is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.cli import context as desk
from api.cli.context import AsJson
from api.errors import NotServing, VerificationFailed

if TYPE_CHECKING:
    from api.operate.doctor_files import Check

_COLOURS = {"ok": "green", "warn": "yellow", "down": "red", "bad": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Say how everything is: parts, identity, who holds the keys, versions, disk, clock, queue, relaxed protections.

    Each line has a state, what it means and what to do. Exit code 6 when a part is down, 7 when something is not what
    it was pinned to be.
    """
    from dataclasses import asdict

    from api.operate.doctor import examine

    checks = examine(desk.settings())
    if as_json:
        desk.show({"checks": [asdict(one) for one in checks]}, True)
    else:
        _print(checks)
    down = [one for one in checks if one.state == "down"]
    if down:
        raise NotServing(f"{' and '.join(one.name for one in down)} did not answer", down[0].do)
    bad = [one.name for one in checks if one.state == "bad"]
    if bad:
        raise VerificationFailed(f"not as it should be: {', '.join(bad)}", "read the lines above")


def _print(checks: list[Check]) -> None:
    for one in checks:
        state = typer.style(f"{one.state:<6}", fg=_COLOURS[one.state])
        typer.echo(f"{state}{one.name}: {one.means}.")
        if one.do:
            typer.echo(f"      What to do: {one.do}.")
