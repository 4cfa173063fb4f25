"""Roles, and the orders that several members of the committee sign."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import completion
from api.cli import context as cli
from api.cli.context import As, AsJson
from api.errors import NotThere, UsageError

if TYPE_CHECKING:
    from api.client.client import Client
    from api.client.orders import Order

role = typer.Typer(help="Give and end roles: several members of the committee sign.")
committee = typer.Typer(help="Sign orders that need several members of the committee.")

Account = Annotated[str, typer.Argument(metavar="ADDRESS", help="0x and 40 hex digits.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="The file of the order, for the other members.")
]


@role.command("list")
def list_roles(as_json: AsJson = False) -> None:
    """Show who holds which role, and from when to when."""
    reader = cli.client()
    names = reader.names()
    rows = [
        _shown(entry) | {"name": _named(names.get(entry["account"]))} for entry in reader.roles()
    ]
    columns = ["role", "name", "account", "from", "until", "version"]
    cli.table(rows, columns, as_json, "Nobody has a role but the founders.")


@role.command("give")
def give_role(
    account: Account,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ROLE",
            help="E.g. analyst, checker, worker.",
            autocompletion=completion.role_names,
        ),
    ],
    as_: As,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_600, help="Days until the role ends; default: no end."),
    ] = None,
    out: Out = None,
) -> None:
    """Begin an order that gives a role, with your signature as the first.

    The others add theirs with `volens committee sign`; the member with the last needed signature
    sends it. Once data exist, a new worker or broker may act only after the ledger's delay; until
    then any member can cancel it: `volens role cancel`.

    Example: `volens role give 0x… analyst --as pia`
    """
    from api.client.orders import role_order
    from api.operate.bootstrap import FOREVER, ROLES

    if name not in ROLES:
        raise UsageError("there is no such role", "choose: " + ", ".join(ROLES))
    me, now = cli.client(as_), int(time.time())
    end = now + days * 86_400 if days else FOREVER
    order = role_order(me, _address(account), ROLES[name], now, end=end)
    _begin(order, me, out or Path(f"give-{name}-{account[2:10]}.json"))


@role.command("name")
def name_account(
    account: Account,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    as_: As,
    institution: Annotated[str, typer.Option(help="Where it works.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what an account is called, also before it has a role, as a member of the committee.

    The ledger knows addresses only; pages and commands show the name beside them.

    Example: `volens role name 0x… "Noor Haddad" --institution "University of Porto" --as pia`
    """
    answer = cli.client(as_).set_name(_address(account), name, institution)
    cli.show(answer, as_json, f"{answer['account']} is called {_named(answer)}.")


@role.command("end")
def end_role(account: Account, as_: As, out: Out = None) -> None:
    """Begin an order that ends an account's role at once, with your signature as the first.

    Example: `volens role end 0x… --as pia`
    """
    from api.client.orders import role_of, role_order

    me, now = cli.client(as_), int(time.time())
    current = role_of(me, _address(account))
    if current is None:
        raise NotThere(404, "This account has no role.", "Look at the list: volens role list")
    order = role_order(
        me, current["account"], current["role"], now, current["start"], max(now, current["start"])
    )
    _begin(order, me, out or Path(f"end-role-{account[2:10]}.json"))


@role.command("cancel")
def cancel_role(account: Account, as_: As, as_json: AsJson = False) -> None:
    """Cancel a new worker or broker before it may act. One member of the committee is enough.

    Example: `volens role cancel 0x… --as rui`
    """
    from api.client.orders import role_of

    me = cli.client(as_)
    current = role_of(me, _address(account))
    if current is None:
        raise NotThere(404, "This account has no role.", "Look at the list: volens role list")
    answer = me.cancel_role(current["account"], current["version"])
    cli.show(answer, as_json, f"Stopped in {cli.mined(answer['receipt'])}.")


@committee.command("sign")
def sign_order(
    file: Annotated[Path, typer.Argument(help="An order that another member began.")],
    as_: As,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
) -> None:
    """Show what an order means, and add your signature. The last one that a quorum needs sends it.

    Example: `volens committee sign give-analyst-5aAeb605.json --as quinn`
    """
    from api.client.orders import read_order

    reader = cli.client()
    order = read_order(file, reader)
    typer.echo("\n".join(order.describe()))
    typer.echo("Signed so far: " + (", ".join(order.signatures) or "by nobody"))
    if not yes and not typer.confirm("Sign this?", err=True):
        raise UsageError("nothing was signed", "ask the sender of the order")
    _begin(order, cli.client(as_), file, described=True)


def begin_void(ingest: bytes, me: Client, out: Path) -> None:
    """Begin a committee's order that voids a registration of records."""
    from api.client.orders import void_order

    _begin(void_order(ingest, int(time.time())), me, out)


def _begin(order: Order, me: Client, path: Path, described: bool = False) -> None:
    """Sign; send the order if that makes a quorum, else write its file for the next member."""
    from api.client.joining import address_to_join

    if not described:
        typer.echo("\n".join(order.describe()))
    signed = order.signed_by(me)
    quorum = int(me.identity["quorum"])
    if len(signed.signatures) < quorum:
        signed.write(path, me)
        missing = quorum - len(signed.signatures)
        typer.echo(
            f"Signed. {missing} more signature{'s are' if missing > 1 else ' is'} needed: "
            f"send {path.name} to another member (volens committee sign {path.name} --as NAME), "
            "or give it to the page /roles."
        )
        return
    signatures = list(signed.signatures.values())
    join = ""
    if signed.kind == "RoleChange":
        answer = me.set_role(signed.message, signatures)
        if signed.message["end"] > time.time():
            address = address_to_join(cli.settings(), me.identity)
            join = f"\nWhoever has it joins with: volens join {address}"
    else:
        answer = me.void_records(
            me.dataset_of(signed.message["ingest"]), signed.message, signatures
        )
    path.unlink(missing_ok=True)
    typer.echo(f"Done in {cli.mined(answer['receipt'])}.{join}")


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    from api.operate.bootstrap import FOREVER, ROLES

    names = {number: name for name, number in ROLES.items()}
    now = time.time()
    state = (
        ""
        if entry["start"] <= now < entry["end"]
        else " (over)"
        if entry["end"] <= now
        else " (waits)"
    )
    return entry | {
        "role": names.get(entry["role"], str(entry["role"])) + state,
        "from": _moment(entry["start"]) if entry["start"] else "always",
        "until": "no end" if entry["end"] == FOREVER else _moment(entry["end"]),
    }


def _named(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    return ", ".join(filter(None, (entry["name"], entry["institution"])))


def _moment(seconds: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _address(text: str) -> str:
    from api.operate.ceremony_files import checked_address

    return checked_address(text, "account")
