"""Shared parts of all commands: common options, keys, the client, printing of answers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import completion
from api.errors import NotThere, UsageError

if TYPE_CHECKING:
    from api.client.client import Client
    from api.operate.settings import Settings
    from chain.wallets import Wallet
    from governance.objects.broker_client import BrokerClient

As = Annotated[
    str,
    typer.Option(
        "--as", metavar="NAME", help="Whose key signs.", autocompletion=completion.key_names
    ),
]
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="64 hex digits.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs, failures too.")]
_HEX32 = re.compile(r"[0-9a-f]{64}")


def settings() -> Settings:
    from api.operate.settings import read_settings

    return read_settings()


def open_key(name: str) -> tuple[Wallet, dict[str, str]]:
    """The wallet of a name and its public facts; a locked one asks for its password."""
    from chain.wallets import is_locked, load

    path = settings().key_file(name)
    password = typer.prompt("Password", hide_input=True, err=True) if is_locked(path) else None
    return load(path, password)


def client(name: str = "") -> Client:
    """A client that signs as `name`, or without a name reads public routes."""
    from api.client.client import Client
    from api.operate.identity import read_identity

    if not name:
        return Client(settings().address("api"), read_identity(settings()))
    wallet, facts = open_key(name)
    subject = bytes32(facts["subject"]) if "subject" in facts else None
    return Client(settings().address("api"), read_identity(settings()), wallet, subject)


def broker(of: Client) -> BrokerClient:
    from governance.objects.broker_client import BrokerClient

    return BrokerClient(settings().address("broker"), of.domain, of.identity_id)


def bytes32(text: str) -> bytes:
    """An id of 64 hex digits. Raises UsageError."""
    if _HEX32.fullmatch(text) is None:
        raise UsageError(
            "an id has 64 hex digits, lowercase", "copy it from a list, e.g. volens dataset list"
        )
    return bytes.fromhex(text)


def registered(of: Client, dataset: str) -> bytes:
    """The id of an existing dataset, because a signature for another one would be useless. Raises
    NotThere.
    """
    name = bytes32(dataset)
    if all(row["dataset"] != dataset for row in of.datasets()):
        raise NotThere(404, "There is no such dataset.", "Look at the list: volens dataset list")
    return name


def read_json(path: Path, what: str) -> Any:
    """Read strict JSON; `what` names the file in errors. Raises UsageError for any problem."""
    from governance.rules.encoding import Malformed, strict_json

    if not path.is_file():
        raise UsageError(f"there is no such {what}", "check its name")
    try:
        return strict_json(path.read_bytes())
    except Malformed as error:
        raise UsageError(
            f"the {what} cannot be read: {error}", "write strict JSON: UTF-8, no key twice"
        ) from None


def check_writable(*paths: Path | None) -> None:
    """Check that these files can be written, before anything is done. Raises UsageError."""
    for path in paths:
        if path is not None and (
            path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)
        ):
            raise UsageError(
                f"{path.name} cannot be written; nothing was done",
                "name a file in a folder that exists",
            )


def write_json(path: Path, document: Any, before: str, private: bool = False) -> None:
    """Write readable JSON; `before` says what was already done, for the error.

    private: only the user of this computer who writes it may read it. Raises UsageError.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    mode = 0o600 if private else 0o666
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            if private:  # a file that was there before keeps its mode
                os.fchmod(file.fileno(), mode)
            file.write(text.encode())
    except OSError:
        raise UsageError(
            f"{path.name} cannot be written; {before}", "name a file in a folder that exists"
        ) from None


def show(answer: Any, as_json: bool, line: str = "") -> None:
    """Print an answer: JSON for programs, `line` or its fields for people."""
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    elif line:
        typer.echo(line)
    else:
        for name, value in dict(answer).items():
            typer.echo(f"{name:<18}{_plain(value)}")


def table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool, empty: str
) -> None:
    """Print rows, as blocks if the screen is too narrow; prints `empty` if there are none."""
    if as_json:
        typer.echo(json.dumps(list(rows), ensure_ascii=False))
        return
    if not rows:
        typer.echo(empty)
        return
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    shown = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        shown.add_row(*(_plain(row[column]) for column in columns))
    console = Console(markup=False, highlight=False)
    # ids are copied from here: never cut or fold one because the screen is narrow or the output
    # goes to a file
    needed = Measurement.get(console, console.options.update(width=10_000), shown).maximum
    if console.is_terminal and needed > console.width:
        typer.echo(
            "\n\n".join(
                "\n".join(f"{column:<12}{_plain(row[column])}" for column in columns)
                for row in rows
            )
        )
        return
    console.width = max(console.width, needed)
    console.print(shown)


def mined(receipt: Mapping[str, Any]) -> str:
    """The position of a mined message, for people."""
    return f"block {receipt['block']}, step {receipt['count']} of the trail"


def day(number: int) -> str:
    """A day since 1970 as a date; what lies after the calendar is "for ever"."""
    from datetime import UTC, date, datetime

    if number >= (date.max - date(1970, 1, 1)).days:
        return "for ever"
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, dict) and "sentence" in value:
        return str(value["sentence"])
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
