"""The command `volens init`: the key ceremony of several people, with files that they exchange and
sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import context as cli
from api.cli.context import As, AsJson
from api.errors import NotAuthorised, UsageError

if TYPE_CHECKING:
    from api.operate.ceremony import CeremonyProgress
    from api.operate.ceremony_files import Request
    from api.operate.settings import Settings

init = typer.Typer(invoke_without_command=True)
MAX_CHAIN_ID = 4_503_599_627_370_476  # the largest that wallets take


@init.callback()
def go_on(context: typer.Context, as_json: AsJson = False) -> None:
    """Set up a deployment of several people, step by step; call it again after collecting
    signatures.

    It asks for a plan, deploys the contracts, writes what the founders have to sign as files under
    ceremony/ in the home folder, collects what they send back from ceremony/signed/, and says what
    is still missing from whom.
    """
    if context.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from api.operate.ceremony import Ceremony
    from governance.readmodel.database import TableOutbox, open_database

    settings = cli.settings()
    ceremony = Ceremony(settings.home.resolve())
    if settings.identity_file.exists():
        progress = ceremony.finished()
    else:
        plan = ceremony.prepare()
        with _chain(settings) as url:
            engine = open_database(settings.database)
            try:
                progress = ceremony.advance(plan, url, TableOutbox(engine))
            finally:
                engine.dispose()
    cli.show(asdict(progress), as_json, "\n".join(_lines(progress)))


@init.command("containers")
def containers(as_json: AsJson = False) -> None:
    """Write what docker-compose.yml needs beside the keys: the password of its database.

    Call it once the deployment is complete; a second time changes nothing.
    """
    from api.operate.besu import planned_id
    from api.operate.bootstrap import read_identity
    from api.operate.containers import write_secrets

    home = cli.settings().home.resolve()
    files = [path.name for path in write_secrets(home)]
    deployed = (read_identity(home) or {}).get("chainId")
    ledger = "besu" if deployed is not None and deployed == planned_id(home) else "dev"
    cli.show(
        {"files": files},
        as_json,
        f"{' and '.join(files)} are in containers/ in the home folder.\n"
        f"Next: VOLENS_UID=$(id -u) VOLENS_GID=$(id -g) docker compose --profile {ledger} --profile cpu up",
    )


@init.command("besu")
def besu(
    validators: Annotated[
        int,
        typer.Option(
            min=1, max=100, help="How many nodes make blocks; four bear the failure of one."
        ),
    ] = 4,
    chain_id: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_CHAIN_ID, help="The id of the new ledger; 0: a large one is drawn."
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the genesis file and the keys of a ledger of your own, for Besu nodes that agree by QBFT.

    Call it before anything is deployed. In the home folder, besu/network/ gets what all nodes share
    (genesis.json, static-nodes.json, permissions.toml), and besu/validator-1/ and so on the data
    folder of each node with its key. Keys are never overwritten, and a second call is refused.

    Then start the nodes, and deploy on one of them: VOLENS_CHAIN_URL=http://127.0.0.1:18545 volens init

    Example: `volens init besu --validators 4`
    """
    from api.operate.besu import COMPOSED, write_network

    network = write_network(cli.settings().home.resolve(), validators, chain_id)
    lines = [
        f"besu/ in the home folder has the genesis file of a ledger with the chain id {network.chain_id},",
        f"and a key for each of its {validators} validators: each belongs on its node only.",
    ]
    if not network.failures:
        lines.append(
            "Warning: no block is made while one of them is down. Four bear the failure of one."
        )
    if validators == COMPOSED:
        nodes = " ".join(f"besu-{number + 1}" for number in range(COMPOSED))
        lines += [
            "Next: VOLENS_UID=$(id -u) VOLENS_GID=$(id -g) docker compose --profile besu up -d "
            + nodes,
            "Then: VOLENS_CHAIN_URL=http://127.0.0.1:18545 volens init",
        ]
    else:
        lines.append(
            f"docker-compose.yml starts {COMPOSED} validators, so start these with Besu itself; then: "
            "VOLENS_CHAIN_URL=http://… volens init"
        )
    cli.show(
        {
            "chainId": network.chain_id,
            "validators": list(network.validators),
            "failures": network.failures,
        },
        as_json,
        "\n".join(lines),
    )


@init.command("sign")
def sign(
    file: Annotated[
        Path, typer.Argument(help="A file of `volens init` from the operator's machine.")
    ],
    as_: As = "",
    broker: Annotated[
        Path | None, typer.Option(help="The folder of a key broker that signs, instead of NAME.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file of the signatures.")] = None,
) -> None:
    """Show what a file of `volens init` means, and sign it with a key of this machine.

    Example: `volens init sign roles-to-sign.json --as pia`
    """
    from api.operate.ceremony_files import ROLES_STEP, Request, read_file
    from chain.ledger import check_creation, check_identity
    from chain.node import Node
    from governance.broker.custody import create

    if bool(as_) == (broker is not None):
        raise UsageError("it is not clear who signs", "say either --as NAME or --broker FOLDER")
    if broker is not None and not (broker / "wallet").is_file():
        raise UsageError(
            "there is no broker in this folder", "make one: python -P -m governance.broker --create"
        )
    request, settings = Request.parse(read_file(file)), cli.settings()
    if broker is not None and request.step == ROLES_STEP:
        raise UsageError(
            "a broker signs no roles, only the identity of a ledger",
            "wait for identity-to-sign.json",
        )
    if settings.chain_url:
        node = Node(settings.chain_url)
        check_identity(node, request.identity)
        check_creation(node, request.identity)
    typer.echo("\n".join(request.describe()))
    typer.echo(
        "The contracts were compared with your own node's: "
        "this release's code created them with these "
        "founders, this quorum, this smallest cohort and these times."
        if settings.chain_url
        else "The contracts were not compared: set VOLENS_CHAIN_URL to a node of your own to do so."
    )
    signer = create(broker) if broker is not None else _address(as_)
    if signer not in request.signers.values():
        raise NotAuthorised(
            403, "This key is not asked for a signature.", "See who is in the file: signers."
        )
    if not yes and not typer.confirm("Sign this?", err=True):
        raise UsageError("nothing was signed", "ask whoever sent the file what you doubt")
    document = request.signed(signer, _signatures(request, as_, broker))
    path = out or Path(f"{request.step}-signed-{as_ or 'broker'}.json")
    cli.write_json(path, document, "nothing else was changed")
    typer.echo(f"Signed. Send {path.name} back; your key stays here.")


def _address(name: str) -> str:
    """The address from the key's public half, so that no password is asked before the explanation."""
    path = cli.settings().key_file(name)
    if not path.exists():
        raise UsageError(f"there is no key named {name}", "make one: volens keys new NAME")
    return str(cli.read_json(path, "key file").get("address"))


def _signatures(request: Request, name: str, broker: Path | None) -> list[bytes]:
    from chain.signatures import domain_of
    from governance.broker.custody import endorse

    if broker is not None:
        return [endorse(broker, request.identity)]
    wallet, domain = cli.open_key(name)[0], domain_of(request.identity)
    return [wallet.sign(domain, kind, message) for kind, message in request.messages]


@contextmanager
def _chain(settings: Settings) -> Iterator[str]:
    """The ledger to deploy on: the configured one, or this home's dev chain while it is needed."""
    from api.operate.processes import Parts

    parts = Parts(settings.home.resolve(), settings)
    parts.make_home()
    parts.start_chain()
    try:
        yield parts.urls["chain"]
    finally:
        parts.stop()


def _lines(progress: CeremonyProgress) -> list[str]:
    if not progress.file:
        return [
            "The deployment is complete: a quorum and the broker signed identity.json in the "
            "home folder.",
            "Hand identity.json to everybody, then start: volens serve",
        ]
    what = {"roles": "The roles", "identity": "The identity of the ledger"}[progress.step]
    people = [name for name in progress.missing if name != "broker"]
    lines = [f"{what}: signed by {', '.join(progress.signed) or 'nobody yet'}."]
    if progress.renewed:
        lines.insert(
            0,
            "The earlier file has expired: there is a new one, and older signatures are void.",
        )
    if progress.lacking:
        lines.append(f"Missing: {progress.lacking} of {', '.join(people)}.")
    if "broker" in progress.missing:
        lines.append("Missing: the broker.")
    return [
        *lines,
        f"Send ceremony/{progress.file} to them. Each reads and signs it: "
        f"volens init sign {progress.file} --as NAME",
        "Put the signature files into ceremony/signed/, then: volens init",
    ]
