"""The tree of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from api.cli import checks, committee, patient, projects, serve
from api.cli.doctor import doctor
from api.cli.init import init
from api.cli.join import join

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Consent and access to health data, recorded on a ledger: **no receipt, no key**.

Start everything on this machine with `volens serve`, or watch the story with `volens demo`. Say who you are with
`--as NAME`; the key of that name is in the home folder (VOLENS_HOME, ./.volens by default).""",
)
for name, commands in {
    "keys": patient.keys,
    "enrol": patient.enrol,
    "consent": patient.consent,
    "access": patient.access,
    "role": committee.role,
    "committee": committee.committee,
    "dataset": projects.dataset,
    "permit": projects.permit,
    "run": projects.run,
    "review": checks.review,
    "result": checks.result,
    "trail": checks.trail,
}.items():
    app.add_typer(commands, name=name, no_args_is_help=True)
app.add_typer(init, name="init")
_SINGLE: dict[str, Callable[..., Any]] = {
    "join": join,
    "verify": checks.verify,
    "rebuild": serve.rebuild,
    "doctor": doctor,
    "serve": serve.serve,
    "worker": serve.worker,
    "demo": serve.demo,
}
for name, command in _SINGLE.items():
    app.command(name)(command)
