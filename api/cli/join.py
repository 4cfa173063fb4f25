"""The command `volens join`: pin a deployment's ledger identity on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import context as cli
from api.cli.context import AsJson
from api.errors import UsageError


def join(
    address: Annotated[
        str,
        typer.Argument(metavar="ADDRESS", help="URL#FINGERPRINT, or the file of an invitation."),
    ],
    as_json: AsJson = False,
) -> None:
    """Join a deployment on another machine, once, before anything else.

    Your invitation has its address and a fingerprint. Only a service that shows the ledger with this
    fingerprint is accepted. Without a fingerprint you are shown one, to compare it with what somebody
    you know reads out to you.

    Example: `volens join https://volens.example.org#3f0c…`
    """
    from api.client.joining import (
        Address,
        check_fingerprint,
        check_home,
        fetch_identity,
        grouped,
        keep,
    )
    from governance.rules.ledger_data import identity_id

    where, settings = Address.parse(_address_in(address)), cli.settings()
    identity = fetch_identity(where.url)
    shown = identity_id(identity).hex()
    check_home(settings, identity)
    if where.fingerprint:
        check_fingerprint(identity, where.fingerprint)
    else:
        typer.echo(f"The ledger that {where.url} shows has this fingerprint:\n", err=as_json)
        typer.echo(grouped(shown) + "\n", err=as_json)
        typer.echo(
            "Compare it with your invitation, or let somebody you know read theirs out to you "
            "(not over this service).",
            err=as_json,
        )
        if not typer.confirm("Is every digit the same?", err=True):
            raise UsageError("nothing was kept", "ask for an address with its fingerprint")
    keep(settings, where.url, identity)
    cli.show(
        {"url": where.url, "fingerprint": shown},
        as_json,
        f"Joined {where.url}. Its ledger's identity is in the home folder; every signature is bound "
        "to it.\nNext: make your key, volens keys new NAME (with --patient if you are one).",
    )


def _address_in(text: str) -> str:
    """The address itself, or the one in the file of an invitation."""
    if "://" in text or not Path(text).is_file():
        return text
    invitation: Any = cli.read_json(Path(text), "invitation")
    if not isinstance(invitation, dict) or not isinstance(invitation.get("join"), str):
        raise UsageError("the invitation names no address", "ask the registrar for the address")
    return str(invitation["join"])
