"""The tree of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from api.cli import care, checks, committee, patient, projects, serve
from api.cli.doctor import doctor
from api.cli.init import init
from api.cli.join import join

Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=lambda asked: _show_version() if asked else None,
        is_eager=True,
        help="Show the version, and the code hash of the analyses.",
    ),
]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def start(version: Version = False) -> None:
    """Consent and access to health data, recorded on a ledger: **no receipt, no key**.

    Start everything on this machine with `volens serve`, or watch the story with `volens demo`. Say who you are with
    `--as NAME`; the key of that name is in the home folder (VOLENS_HOME, ./.volens by default).
    """


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
    "care": care.care,
    "plan": care.plan,
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


def _show_version() -> None:
    """The release, and the hash that permits name: whose code an analysis runs. Raises typer.Exit."""
    from importlib.metadata import version

    from analytics.code import code_hash

    typer.echo(f"volens {version('volens')}\ncode hash {code_hash().hex()}")
    raise typer.Exit
