"""Commands of a person: keys, enrolment, consent, and who used her data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import completion, decision
from api.cli import context as cli
from api.cli.context import As, AsJson
from api.cli.decision import Yes
from api.errors import NotAuthorised, NotServing, NotThere, RefusedByPolicy, UsageError

if TYPE_CHECKING:
    from api.client.client import Client

keys = typer.Typer(help="Make a key and show its public half.")
enrol = typer.Typer(help="Enrol: a registrar invites, the person accepts with her own key.")
consent = typer.Typer(help="Give, show and withdraw consent.")
access = typer.Typer(help="Show who used your data, why and when.")

_REGISTRAR = 3  # docs/ledger.md
Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="64 hex digits, as `volens dataset list` shows it.")
]


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="Letters, digits, - and _.")],
    patient: Annotated[
        bool, typer.Option("--patient", help="Draw a random patient id as well.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Without a password: for demo accounts only.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key of your own. It is kept encrypted under a password.

    Example: `volens keys new ada --patient`
    """
    import secrets

    from chain.wallets import Wallet, save

    path = cli.settings().key_file(name)
    password = (
        None
        if plain
        else typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    )
    wallet = Wallet.new()
    facts = {"subject": secrets.token_hex(32)} if patient else {}
    save(wallet, path, facts, password)
    cli.show({"name": name, "address": wallet.address, **facts}, as_json)


@keys.command("show")
def show_key(
    name: Annotated[str, typer.Argument(autocompletion=completion.key_names)],
    as_json: AsJson = False,
) -> None:
    """Show the public half of a key: what a registrar or the committee needs from you."""
    cli.show({"name": name} | _public(name), as_json)


@enrol.command("invite")
def invite(
    as_: As,
    name: Annotated[
        str,
        typer.Option(
            "--for", help="A key in this home folder.", autocompletion=completion.key_names
        ),
    ] = "",
    subject: Annotated[
        str, typer.Option(help="The person's id, from her `volens keys show`.")
    ] = "",
    address: Annotated[str, typer.Option(help="Her address, from the same output.")] = "",
    out: Annotated[Path, typer.Option(help="The file of the invitation.")] = Path(
        "invitation.json"
    ),
) -> None:
    """Sign, as a registrar, that a key belongs to a person you have seen.

    Example: `volens enrol invite --as rita --for ada`
    """
    from api.client.joining import address_to_join

    facts = _public(name) if name else {"subject": subject, "address": address}
    if "subject" not in facts:
        raise UsageError(
            "this key belongs to no patient", "make one with: volens keys new NAME --patient"
        )
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", facts["address"]) is None:
        raise UsageError(
            "an address has 0x and 40 hex digits", "copy it from her `volens keys show`"
        )
    person, me = cli.bytes32(facts["subject"]), cli.client(as_)
    _check_registrar(me)
    join = str(address_to_join(cli.settings(), me.identity))
    invitation = me.invite(person, bytes.fromhex(facts["address"][2:])) | {"join": join}
    out.write_text(json.dumps(invitation), encoding="utf-8")
    typer.echo(
        f"The invitation is in {out.name}; it is valid for an hour. Hand it to her.\n"
        f"She joins with it, or with this address: volens join {join}"
    )


@enrol.command("submit")
def submit(
    as_: As,
    invitation: Annotated[Path, typer.Argument(help="The registrar's file.")] = Path(
        "invitation.json"
    ),
    as_json: AsJson = False,
) -> None:
    """Accept an invitation with your own key: from then on only that key can agree for you.

    Example: `volens enrol submit --as ada invitation.json`
    """
    me = cli.client(as_)
    answer = me.enrol([me.accept(_read(invitation))])
    cli.show(answer, as_json, f"Enrolled in {cli.mined(answer['receipt'])}.")


@consent.command("grant")
def grant(
    dataset: Dataset,
    as_: As,
    preset: Annotated[
        str,
        typer.Option(
            help="health, cancer, care or care-all; you are asked if you name none.",
            autocompletion=completion.preset_names,
        ),
    ] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Agree to a use of your data, and keep the receipt. You see the terms and are asked before you
    sign.

    Presets: `health` (all health research, five years), `cancer` (cancer research, not for profit,
    two years), `care` (your own care only). None of them covers mental health, substance use,
    sexual health or HIV; `care-all` is your own care with these, since a plan that does not see them
    cannot tell whether medicines go together. None is chosen for you.

    Example: `volens consent grant --as ada DATASET --preset cancer`
    """
    import time

    from api.client.results import write_receipt
    from governance import consent as consents

    subject = _public(as_).get("subject")
    if subject is None:
        raise UsageError("this key belongs to no patient", "use the key of an enrolled person")
    name = cli.registered(cli.client(), dataset)
    chosen, now = decision.choose_preset(preset, yes), int(time.time())
    read = consents.offer(chosen, cli.bytes32(subject), name, 0, 0, now, now)
    terms = json.loads(read.terms)
    typer.echo(decision.describe_terms(terms), err=as_json)
    decision.confirm("Sign this?", yes)
    me = cli.client(as_)  # asks for the password of a locked key
    before = me.consent_to(name)
    replaces = decision.describe_replacement(terms, before)
    if replaces:
        typer.echo(replaces, err=as_json)
        decision.confirm("Replace it?", yes)
    offered = consents.offer(
        chosen,
        cli.bytes32(subject),
        name,
        before["epoch"] if before else 0,
        before["version"] if before else 0,
        now,  # the time of the terms shown, also after midnight
        int(time.time()) + 3600,
    )
    answer = me.grant([me.signed_grant(offered.message)])
    receipt = consents.patient_receipt(answer["items"][0]["proof"], offered.terms, offered.salt)
    kept = write_receipt(cli.settings().receipt_folder(as_), receipt)
    line = (
        f"You agreed to {chosen.sentence}, until {cli.day(offered.message['untilDay'])}: "
        f"{cli.mined(answer['receipt'])}.\nYour receipt: {kept.name}. "
        "Keep it: it alone holds the terms' salt."
    )
    cli.show(answer | {"receiptFile": kept.name}, as_json, line)
    if answer["note"]:
        typer.echo(answer["note"], err=True)


@consent.command("show")
def show_consents(as_: As, as_json: AsJson = False) -> None:
    """Show your consents, and until when they hold."""
    me = cli.client(as_)
    _complete_receipts(me, as_)
    rows = [row | {"until": cli.day(row["untilDay"])} for row in me.consents()]
    cli.table(
        rows,
        ["dataset", "status", "until", "purposes", "categories"],
        as_json,
        "You have agreed to nothing: nobody may use your data.",
    )


@consent.command("revoke")
def revoke(dataset: Dataset, as_: As, yes: Yes = False, as_json: AsJson = False) -> None:
    """Withdraw. It takes effect in the block that records it; what was released before stays
    released.

    You see the effects and are asked before you sign. The command waits until running uses have
    stopped, for ten seconds at most, shows the effect on each, and keeps a receipt.

    Example: `volens consent revoke --as ada DATASET`
    """
    import time

    from api.client.results import await_settled, withdrawal_receipt, write_receipt

    name = cli.registered(cli.client(), dataset)
    typer.echo(decision.WITHDRAWAL, err=as_json)
    decision.confirm("Withdraw?", yes)
    me = cli.client(as_)  # asks for the password of a locked key
    before = me.consent_to(name) or {"epoch": 0}
    answer = me.revoke(name, before["epoch"])
    if not answer["acted"]:
        raise RefusedByPolicy(
            409,
            "A newer consent stands, so this changed nothing.",
            "Look at it (volens consent show) and withdraw again.",
            "RevokeStale",
        )
    live = [
        row
        for row in me.consents()
        if row["status"] == "live" and row["untilDay"] >= int(time.time()) // 86_400
    ]
    others = (
        f"\n{len(live)} of your other consents stay live: volens consent show --as {as_}"
        if live
        else ""
    )
    followed = await_settled(me, answer["receipt"]["tx"])
    receipt = withdrawal_receipt(me, answer["receipt"], followed, me.trail_head()["witness"])
    kept = write_receipt(cli.settings().receipt_folder(as_), receipt)
    sentences = "".join(f"\n- {effect['sentence']}" for effect in followed["effects"])
    done = (
        "Nothing of yours in it is used any more."
        if followed["settled"]
        else "Not everything has stopped yet; this receipt is completed when you look again: "
        f"volens consent withdrawals --as {as_}"
    )
    summary = (
        f"You withdrew your consent for this dataset: {cli.mined(answer['receipt'])}. "
        f"{done}{sentences}{others}"
    )
    shown = answer | {"withdrawal": followed, "receiptFile": kept.name}
    cli.show(shown, as_json, f"{summary}\nYour receipt: {kept.name}.")


@consent.command("withdrawals")
def show_withdrawals(as_: As, as_json: AsJson = False) -> None:
    """Show the effects of your withdrawals: what stopped, how fast, and what cannot be undone.

    Example: `volens consent withdrawals --as ada`
    """
    me = cli.client(as_)
    _complete_receipts(me, as_)
    withdrawals = me.withdrawals()
    nothing = [{"run": "-", "sentence": "No use of your data was open."}]
    rows = [
        {
            "block": withdrawal["block"],
            "kind": withdrawal["kind"],
            "run": effect["run"],
            "what followed": effect["sentence"],
        }
        for withdrawal in withdrawals
        for effect in withdrawal["effects"] or nothing
    ]
    cli.table(
        rows, ["block", "kind", "run", "what followed"], as_json, "You have withdrawn nothing."
    )


@access.command("list")
def list_accesses(
    as_: As,
    subject: Annotated[str, typer.Option(help="Another person's id: for auditors.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show every request for your data, the ledger's decision, and the outcome of that attempt.

    A run may need several attempts; only those in state `released` gave out a result with your data
    in it.

    Example: `volens access list --as ada`
    """
    accesses = cli.client(as_).accesses(cli.bytes32(subject) if subject else None)
    rows = [
        entry
        | {
            "decision": "granted" if entry["granted"] else entry["reason"]["slug"],
            "when": cli.day(entry["time"] // 86_400),
        }
        for entry in accesses
    ]
    columns = [
        "when",
        "decision",
        "state",
        "run",
        "attempt",
        "analyst",
        "purposes",
        "categories",
        "block",
    ]
    cli.table(rows, columns, as_json, "Nobody has asked for these data.")


def _complete_receipts(me: Client, as_: str) -> None:
    """Complete her receipts of withdrawals whose effects have ended meanwhile."""
    from api.client.results import complete_receipts

    for path in complete_receipts(me, cli.settings().receipt_folder(as_)):
        typer.echo(f"A receipt of a withdrawal of yours is complete now: {path.name}.", err=True)


def _public(name: str) -> dict[str, Any]:
    """A key file's public facts, without opening the key."""
    path = cli.settings().key_file(name)
    if not path.is_file():
        raise NotThere(404, f"There is no key named {name}.", "Make one: volens keys new NAME")
    body = _read(path)
    return {fact: body[fact] for fact in ("address", "subject") if fact in body}


def _check_registrar(me: Client) -> None:
    """Check that the signer is a registrar; the ledger would refuse others only after the person
    signed too.

    Not checked if the service does not answer; the ledger still refuses. Raises NotAuthorised.
    """
    try:
        role = me.sign_in()
    except NotServing:
        return
    if role != _REGISTRAR:
        raise NotAuthorised(
            403, "Only a registrar invites.", "Sign with a registrar's key, or ask the committee."
        )


def _read(path: Path) -> dict[str, Any]:
    from governance.rules.encoding import Malformed, strict_json

    try:
        document = strict_json(path.read_bytes())
    except FileNotFoundError:
        raise NotThere(404, "There is no such file.", "Check its name.") from None
    except Malformed:
        document = None
    if not isinstance(document, dict):
        raise UsageError("the file was not made by volens", "use the file as it was made")
    return document
