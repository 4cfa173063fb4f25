"""What a person does for herself: keys, enrolment, consent, and who used her data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import desk
from api.cli.desk import As, AsJson
from api.errors import RefusedByPolicy, UsageError

keys = typer.Typer(help="Make a key and show its public half.")
enrol = typer.Typer(help="Enrol: a registrar invites, the person accepts with her own key.")
consent = typer.Typer(help="Agree, look and withdraw.")
access = typer.Typer(help="Who used the data, why and when.")

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="64 hex digits, as `volens dataset list` shows it.")]


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="Letters, digits, - and _.")],
    patient: Annotated[bool, typer.Option("--patient", help="Draw a random patient id as well.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Without a password: for played people only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key of your own. It is kept encrypted under a password.

    Example: `volens keys new ada --patient`
    """
    import secrets

    from chain.wallets import Wallet, save

    path = desk.settings().key_file(name)
    password = None if plain else typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    wallet = Wallet.new()
    facts = {"subject": secrets.token_hex(32)} if patient else {}
    save(wallet, path, facts, password)
    desk.show({"name": name, "address": wallet.address, **facts}, as_json)


@keys.command("show")
def show_key(name: str, as_json: AsJson = False) -> None:
    """Show the public half of a key: what a registrar or the committee needs from you."""
    desk.show({"name": name} | _public(name), as_json)


@enrol.command("invite")
def invite(
    as_: As,
    name: Annotated[str, typer.Option("--for", help="A key in this home folder.")] = "",
    subject: Annotated[str, typer.Option(help="The person's id, from her `volens keys show`.")] = "",
    address: Annotated[str, typer.Option(help="Her address, from the same place.")] = "",
    out: Annotated[Path, typer.Option(help="Where the invitation goes.")] = Path("invitation.json"),
) -> None:
    """Sign, as a registrar, that a key belongs to a person you have seen.

    Example: `volens enrol invite --as rita --for ada`
    """
    facts = _public(name) if name else {"subject": subject, "address": address}
    if "subject" not in facts:
        raise UsageError("this key belongs to no patient", "make one with: volens keys new NAME --patient")
    if len(facts["address"]) != 42 or not facts["address"].startswith("0x"):
        raise UsageError("an address has 0x and 40 hex digits", "copy it from her `volens keys show`")
    signer = bytes.fromhex(facts["address"][2:])
    invitation = desk.client(as_).invite(desk.bytes32(facts["subject"]), signer)
    out.write_text(json.dumps(invitation), encoding="utf-8")
    typer.echo(f"The invitation is in {out.name}; it is valid for an hour. Hand it to her.")


@enrol.command("submit")
def submit(
    as_: As,
    invitation: Annotated[Path, typer.Argument(help="The registrar's file.")] = Path("invitation.json"),
    as_json: AsJson = False,
) -> None:
    """Accept an invitation with your own key: from then on only that key can agree for you.

    Example: `volens enrol submit --as ada invitation.json`
    """
    me = desk.client(as_)
    answer = me.enrol([me.accept(_read(invitation))])
    desk.show(answer, as_json, f"Enrolled in {desk.mined(answer['receipt'])}.")


@consent.command("grant")
def grant(
    dataset: Dataset, as_: As,
    preset: Annotated[str, typer.Option(help="health, cancer or care.")] = "cancer",
    as_json: AsJson = False,
) -> None:
    """Agree to a use of your data, and keep the receipt.

    Presets: `health` (all health research, five years), `cancer` (cancer research, not for profit, two years), `care`
    (your own care only). None of them covers mental health, substance use, sexual health or HIV.

    Example: `volens consent grant --as ada DATASET --preset cancer`
    """
    import time

    from api.results import write_receipt
    from governance import consent as consents

    if preset not in consents.PRESETS:
        raise UsageError("there is no such preset", "choose among: " + ", ".join(consents.PRESETS))
    me = desk.client(as_)
    before = me.consent_to(desk.bytes32(dataset)) or {"epoch": 0, "version": 0}
    if me.subject is None:
        raise UsageError("this key belongs to no patient", "use the key of an enrolled person")
    now = int(time.time())
    offered = consents.offer(consents.PRESETS[preset], me.subject, bytes.fromhex(dataset), before["epoch"],
                             before["version"], now, now + 3600)
    answer = me.grant([me.signed_grant(offered.message)])
    receipt = consents.patient_receipt(answer["items"][0]["proof"], offered.terms, offered.salt)
    kept = write_receipt(desk.settings().receipt_folder(as_), receipt)
    line = (f"You agreed to {consents.PRESETS[preset].sentence}, until {desk.day(offered.message['untilDay'])}: "
            f"{desk.mined(answer['receipt'])}.\nYour receipt: {kept.name}. Keep it: it alone holds the terms' salt.")
    desk.show(answer | {"receiptFile": kept.name}, as_json, line)
    if answer["note"]:
        typer.echo(answer["note"], err=True)


@consent.command("show")
def show_consents(as_: As, as_json: AsJson = False) -> None:
    """Show what you agreed to, and until when."""
    rows = [one | {"until": desk.day(one["untilDay"])} for one in desk.client(as_).consents()]
    desk.table(rows, ["dataset", "status", "until", "purposes", "categories"], as_json,
               "You have agreed to nothing: nobody may use your data.")


@consent.command("revoke")
def revoke(dataset: Dataset, as_: As, as_json: AsJson = False) -> None:
    """Withdraw. It takes effect in the block that records it; what was released before stays released.

    Example: `volens consent revoke --as ada DATASET`
    """
    me = desk.client(as_)
    before = me.consent_to(desk.bytes32(dataset)) or {"epoch": 0}
    answer = me.revoke(bytes.fromhex(dataset), before["epoch"])
    if not answer["acted"]:
        raise RefusedByPolicy(409, "A newer consent stands, so this changed nothing.",
                              "Look at it (volens consent show) and withdraw again.", "RevokeStale")
    desk.show(answer, as_json, f"You withdrew: {desk.mined(answer['receipt'])}. Nothing of yours is used any more.")


@access.command("list")
def list_accesses(
    as_: As,
    subject: Annotated[str, typer.Option(help="Another person's id: for auditors.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show every time somebody asked for your data, and what the ledger decided.

    Example: `volens access list --as ada`
    """
    found = desk.client(as_).accesses(desk.bytes32(subject) if subject else None)
    rows = [one | {"decision": "granted" if one["granted"] else one["reason"]["slug"],
                   "when": desk.day(one["time"] // 86_400)} for one in found]
    desk.table(rows, ["when", "decision", "analyst", "purposes", "categories", "state", "run", "block"], as_json,
               "Nobody has asked for these data.")


def _public(name: str) -> dict[str, Any]:
    """A key file's public facts, without opening the key."""
    body = _read(desk.settings().key_file(name))
    return {fact: body[fact] for fact in ("address", "subject") if fact in body}


def _read(path: Path) -> dict[str, Any]:
    from api.errors import NotThere
    from governance.verify import Malformed, strict_json

    try:
        found = strict_json(path.read_bytes())
    except FileNotFoundError:
        raise NotThere(404, "There is no such file.", "Check its name.") from None
    except Malformed:
        found = None
    if not isinstance(found, dict):
        raise UsageError("the file is not one of ours", "use the file as it was made")
    return found
