"""A person's decision on the command line: explain it first, then ask; there are no default
choices.

Her key is opened only after she agreed. A program that answers for her uses --yes, and must name
every choice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import context as cli
from api.errors import Declined, UsageError

if TYPE_CHECKING:
    from governance.consent import Preset

Yes = Annotated[
    bool,
    typer.Option("--yes", help="Sign without being asked: for programs. Everything must be named."),
]
WITHDRAWAL = """You are about to withdraw. You need no reason, and it has no disadvantage for \
your care. What follows:
  - From the block that records it on, nobody gets a key to your data: every new use is refused.
  - Uses that wait leave you out. Uses that are running are stopped, and what they had computed is \
thrown away.
  - Finished results that nobody has seen stay shut: the ledger refuses to release them with you \
in them.
  - What cannot be undone: results that were released before."""


def choose_preset(name: str, yes: bool) -> Preset:
    """The preset of this name, or the one that she chooses. Raises UsageError."""
    from governance.consent import PRESETS

    if name and name not in PRESETS:
        raise UsageError("there is no such preset", "choose among: " + ", ".join(PRESETS))
    if not name and yes:
        raise UsageError(
            "--yes signs what you chose, and you chose nothing",
            "name purposes and kinds of data with --preset: " + ", ".join(PRESETS),
        )
    if not name:
        typer.echo("What may your data be used for? You can agree to:", err=True)
        for preset in PRESETS.values():
            typer.echo(f"  {preset.name:<10}{preset.sentence}", err=True)
        name = _answered(lambda: typer.prompt("Your choice", err=True).strip())
        if name not in PRESETS:
            raise UsageError(
                "that is not one of the choices, so nothing was signed",
                "choose among: " + ", ".join(PRESETS),
            )
    return PRESETS[name]


def describe_terms(terms: Mapping[str, Any]) -> str:
    """The full description of the terms to sign."""
    from governance.consent import NOTICE

    notice = NOTICE.read_text(encoding="utf-8").partition("\n- ")[2].replace("**", "")
    recipients = [name for name in terms["purposes"] if name.endswith("-recipient")]
    purposes = [name for name in terms["purposes"] if name not in recipients]
    return "\n".join(
        [
            f"You are about to agree to {terms['sentence']}:",
            f"  dataset     {terms['dataset']}",
            f"  purposes    {', '.join(purposes)}",
            f"  categories  {', '.join(terms['categories'])}",
            "  recipients  "
            + (", ".join(recipients) or "nobody outside the organisation that holds the data"),
            f"  from        {cli.day(terms['fromDay'])}",
            f"  until       {cli.day(terms['untilDay'])} (included); "
            "you can withdraw earlier, at any time",
            "What always holds (the notice, whose hash is signed as well):",
            *(f"  {line.removeprefix('- ').strip()}" for line in notice.splitlines()),
        ]
    )


def describe_replacement(terms: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """The effect of these terms on the current consent; "" if there is none."""
    today = int(time.time()) // 86_400
    if before is None or before["status"] != "live" or before["untilDay"] < today:
        return ""
    lost = [
        name
        for kind in ("purposes", "categories")
        for name in before[kind]
        if name not in terms[kind]
    ]
    narrows = lost or terms["untilDay"] < before["untilDay"]
    return "It replaces your earlier consent for this dataset." + (
        "\nIt allows less than that one, so uses that are running stop." if narrows else ""
    )


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation; continue only after a yes. Raises Declined, UsageError."""
    if yes or _answered(lambda: typer.confirm(question, default=False, err=True)):
        return
    raise Declined("nothing was signed")


def _answered(ask: Any) -> Any:
    try:
        return ask()
    except (typer.Abort, OSError, RuntimeError):  # no answer, or no standard input
        typer.echo(err=True)  # after the question
        raise UsageError(
            "nobody answered the question, so nothing was signed",
            "answer it on a terminal; a program adds --yes to a command that names every choice",
        ) from None
