"""The place itself: start its parts, ask how they are, rebuild what is derived."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli import desk
from api.cli.desk import AsJson
from api.errors import NotServing, VerificationFailed

_NEED = ("ledger", "bucket", "broker")


def serve(
    demo: Annotated[bool, typer.Option("--demo", help="Serve the demo's home; its pages offer its people.")] = False,
) -> None:
    """Start ledger, bucket, broker, API, pages and worker on this machine, until Ctrl-C. People and keys are played."""
    from api.processes import serve as start

    raise typer.Exit(start(demo))


def worker() -> None:
    """Run one worker on a home folder whose other parts run already."""
    from api.worker import main

    raise typer.Exit(main())


def demo() -> None:
    """Play the whole story on real data with played people, and say what was measured."""
    from api.demo.story import main

    raise typer.Exit(main())


def doctor(as_json: AsJson = False) -> None:
    """Say how every part is, who holds the keys, and which protections are relaxed.

    Exit code 6 when a part is down.
    """
    settings = desk.settings()
    found = desk.client().health()
    facts: dict[str, Any] = {part: found[part]["state"] for part in found}
    facts |= {
        "custody": "1 broker (one operator holds every share)", "ledger nodes": "1 (a dev chain: not decentralised)",
        "relaxed": settings.relax or "nothing", "identity": _signers(), "exposed keys": _exposed_keys(),
        "relay": _relay_note(),
    }
    desk.show(facts, as_json)
    down = [part for part in _NEED if found[part]["state"] == "down"]
    if down:
        raise NotServing(f"{' and '.join(down)} did not answer", "start it: volens serve")


def rebuild(
    compare: Annotated[bool, typer.Option("--compare", help="Change nothing: name every row that differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive the database from ledger and bucket again. With --compare, find rows that somebody edited or deleted.

    Exit code 7 when --compare finds a difference.
    """
    from api.services import read_identity
    from chain.ledger import Ledger
    from governance.projection import Projection
    from governance.tables import open_database
    from governance.vault import Bucket

    settings = desk.settings()
    ledger = Ledger.connect(settings.address("chain"), read_identity(settings))
    projection = Projection(open_database(settings.database), ledger,
                            Bucket(settings.bucket_name, settings.address("bucket")))
    if not compare:
        counts = projection.rebuild()
        desk.show(counts, as_json)
        return
    differences = projection.compare()
    desk.show({"differences": differences}, as_json, "\n".join(differences) or "Every row follows from the ledger.")
    if differences:
        raise VerificationFailed("rows of the database do not follow from the ledger",
                                 "derive them again: volens rebuild")


def _signers() -> str:
    from api.services import read_identity

    identity = read_identity(desk.settings())
    return f"{len(identity['signatures'])} signatures, quorum {identity['quorum']}"


def _exposed_keys() -> str:
    """Key files that others may read."""
    folder = desk.settings().home / "keys"
    exposed = [path.stem for path in sorted(folder.glob("*.json")) if path.stat().st_mode & 0o077]
    return ", ".join(exposed) or "none"


def _relay_note() -> str:
    """The relay carries everybody's messages, so it should not be somebody with a role."""
    from chain.wallets import load

    settings = desk.settings()
    if not settings.key_file("relay").exists():
        return "not on this machine"
    from api.services import read_identity
    from chain.ledger import Ledger

    ledger = Ledger.connect(settings.address("chain"), read_identity(settings))
    role = ledger.read("PermitRegistry", "roleOf", load(settings.key_file("relay"))[0].address)[0]
    return "holds a role: use another key" if role else "holds no role"
