"""Reviews, results, the trail and its verification."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import completion
from api.cli import context as cli
from api.cli.context import As, AsJson
from api.errors import NotThere, UsageError

review = typer.Typer(
    help="Review sealed outputs: two checkers view each, and two sign its release."
)
result = typer.Typer(help="Open a released result.")
trail = typer.Typer(help="The ledger's record, for auditors.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="64 hex digits.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write it to this file instead of the screen.")
]
REASONS = {"disclosure-risk": 96, "not-permitted": 97, "other": 98}


@review.command("list")
def list_sealed(as_json: AsJson = False) -> None:
    """Show the runs whose output waits for checkers."""
    cli.table(
        cli.client().runs("sealed"),
        ["run", "attempt", "permit", "analyst", "block"],
        as_json,
        "Nothing waits for a check.",
    )


@review.command("open")
def open_for_review(run: RunId, as_: As, out: Out = None) -> None:
    """View a sealed output. The view is recorded on the ledger before you get the key.

    Example: `volens review open --as sol RUN`
    """
    from api.client.results import open_output, reading_key, shown, view_once

    me = cli.client(as_)
    state = me.run(_checked(run))
    if not state["outputs"]:
        raise NotThere(
            404, "The run has no sealed output.", "Wait until it is sealed: volens run watch RUN"
        )
    attempt = state["outputs"][-1]["attempt"]
    key_file = cli.settings().result_folder(as_) / f"{run}.{attempt}.key"
    view_once(me, run, attempt, reading_key(me, bytes.fromhex(run), attempt, key_file))
    _write(shown(open_output(me, cli.broker(me), state, key_file, me.wallet.address)), out)


@review.command("approve")
def approve(run: RunId, as_: As, as_json: AsJson = False) -> None:
    """Sign the release of an output that you viewed. It is released when a second checker signs the
    same decision.

    Example: `volens review approve --as sol RUN`
    """
    answer = cli.client(as_).approve(_checked(run))
    line = (
        f"Released in {cli.mined(answer['receipt'])}."
        if answer["released"]
        else "Signed. A second checker's signature over the same decision is still missing."
    )
    cli.show(answer, as_json, line)


@review.command("reject")
def reject(
    run: RunId,
    as_: As,
    reason: Annotated[
        str,
        typer.Option(
            help="disclosure-risk, not-permitted or other.",
            autocompletion=completion.choices(REASONS),
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Reject an output that you viewed; the run ends.

    Example: `volens review reject --as tess RUN --reason disclosure-risk`
    """
    if reason not in REASONS:
        raise UsageError("there is no such reason", "choose among: " + ", ".join(REASONS))
    answer = cli.client(as_).reject(_checked(run), REASONS[reason])
    cli.show(answer, as_json, f"Rejected in {cli.mined(answer['receipt'])}.")


@result.command("open")
def open_result(
    run: RunId,
    as_: As,
    out: Out = None,
    gwas_ssf: Annotated[
        Path | None,
        typer.Option(
            "--gwas-ssf",
            help="Also write an association scan as GWAS-SSF 1.1: this .tsv, and its metadata.",
        ),
    ] = None,
) -> None:
    """Open a released result with the key made at its request, and keep the run's receipt.

    Example: `volens result open --as noor RUN --out result.json`
    """
    from api.client.gwas_ssf import write_gwas_ssf
    from api.client.results import open_released, shown

    me, settings = cli.client(as_), cli.settings()
    state = me.run(_checked(run))
    key_file = settings.result_folder(as_) / f"{run}.key"
    released = open_released(me, cli.broker(me), state, key_file, settings.receipt_folder(as_))
    if not released.witnessed:
        typer.echo("The broker gave no witness, so the receipt has none.", err=True)
    opened = shown(released.opened)
    _write(opened, out)
    typer.echo(f"The run's receipt: {released.receipt.name}", err=True)
    if gwas_ssf is not None:
        described = write_gwas_ssf(opened["result"], gwas_ssf)
        typer.echo(f"GWAS-SSF: {gwas_ssf.name}, described by {described.name}", err=True)


@trail.command("export")
def export_trail(
    out: Annotated[Path, typer.Argument(help="The file of the bundle.")] = Path("trail.json"),
) -> None:
    """Write everything an auditor needs into one file, and the checking program next to it.

    Example: `volens trail export trail.json`, then `python verify.py trail.json`
    """
    from governance.audit import PROGRAM
    from governance.rules.encoding import canonical_json

    bundle = cli.client().trail()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(canonical_json(bundle))
    program = out.with_name("verify.py")
    program.write_bytes(PROGRAM.read_bytes())
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    typer.echo(
        f"{bundle['head']['count']} steps are in {out}. "
        "Hold the last from a node of your own, then check them:\n"
        f"volens trail hold --node URL --trail {out}\npython {program} {out} --heads heads.jsonl\n"
        f"sha256 of {program.name}: {digest} (compare it with the one in the README)"
    )


@trail.command("head")
def show_head(as_json: AsJson = False) -> None:
    """Show the newest head. Keep it elsewhere: later it shows whether the end of the trail was cut
    off.
    """
    head = cli.client().trail_head()
    cli.show(head, as_json, f"{head['count']}:{head['head']}")


@trail.command("hold")
def hold_head(
    node: Annotated[str, typer.Option(help="The address of a node of your own.")] = "",
    broker: Annotated[str, typer.Option(help="The address of a key broker of your own.")] = "",
    trail_file: Annotated[
        Path | None,
        typer.Option("--trail", help="An exported trail: keep the head of its last step."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file of heads that you keep.")] = Path(
        "heads.jsonl"
    ),
    as_json: AsJson = False,
) -> None:
    """Keep a head from a node or broker of your own, to compare exports with it later.

    Trail and heads must come from different sources, because the exporter of the trail could also
    rewrite it. The new head is compared with the ledger identity in your home folder, and with the
    heads in the file.

    Example: `volens trail hold --node http://127.0.0.1:8545 --trail trail.json`, then
    `python verify.py trail.json --heads heads.jsonl`
    """
    from api.client import held_heads
    from api.operate.identity import read_identity

    if bool(node) == bool(broker):
        raise UsageError("the source of the head is not clear", "name --node URL or --broker URL")
    if broker and trail_file is not None:
        raise UsageError("a broker gives only its newest head", "ask a node, or leave out --trail")
    identity = read_identity(cli.settings())
    count = held_heads.last_step(trail_file) if trail_file is not None else 0
    head = (
        held_heads.from_node(node, identity, count)
        if node
        else held_heads.from_broker(broker, identity)
    )
    new = held_heads.keep(out, head)
    line = f"Step {head['count']} is {'kept' if new else 'kept already'} in {out.name}."
    cli.show(head | {"file": out.name}, as_json, line)


@trail.command("denials")
def list_denials(as_: As, as_json: AsJson = False) -> None:
    """Show every refusal on the ledger with its reason: for auditors and the data-protection
    officer.
    """
    cli.table(
        cli.client(as_).denials(),
        ["block", "run", "attempt", "subject", "reason"],
        as_json,
        "Nothing was refused.",
    )


def verify(
    bundle: Annotated[Path, typer.Argument(help="A file of `volens trail export`.")],
    head: Annotated[
        list[str] | None, typer.Option(metavar="COUNT:HEX", help="A head that you kept yourself.")
    ] = None,
    heads: Annotated[list[Path] | None, typer.Option(help="A file of `volens trail hold`.")] = None,
    receipt: Annotated[
        list[Path] | None, typer.Option(help="A receipt that somebody kept.")
    ] = None,
) -> None:
    """Check a bundle without network or database: *consistent*, *signed*, *anchored*. Valid needs
    all three.

    A trail is anchored to its end only if you give the head of its last step, or a receipt for it.
    Exit code: 0 valid, 7 not valid, 8 something was not checked, 9 anchored up to an earlier step
    only.

    Example: `volens verify trail.json --receipt my-receipt.json`
    """
    from governance.rules.cli import main

    if not bundle.is_file():
        raise UsageError("there is no such bundle", "export one: volens trail export")
    if not all(item.is_file() for item in heads or []):
        raise UsageError("there is no such file of heads", "keep some: volens trail hold")
    if not all(item.is_file() for item in receipt or []):
        raise UsageError(
            "there is no such receipt", "receipts are in the home folder: receipts/NAME/"
        )
    if not all(re.fullmatch(r"[0-9]{1,15}:(0x)?[0-9a-fA-F]{64}", item) for item in head or []):
        raise UsageError(
            "a head is a count, a colon and 64 hex digits", "copy it from: volens trail head"
        )
    arguments = [
        str(bundle),
        *(f"--head={item}" for item in head or []),
        *(f"--heads={item}" for item in heads or []),
        *(f"--receipt={item}" for item in receipt or []),
    ]
    if code := main(arguments):
        raise typer.Exit(code)


def _checked(run: str) -> str:
    return cli.bytes32(run).hex()


def _write(answer: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(answer, ensure_ascii=False, indent=1)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        typer.echo(f"Written to {out.name}.")
