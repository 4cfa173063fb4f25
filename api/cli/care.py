"""Commands of a patient's own care: her appointment of a clinician, and the plans that he draws up."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import context as cli
from api.cli import decision
from api.cli.context import As, AsJson, DatasetId
from api.cli.decision import Yes
from api.cli.projects import DocumentFile
from api.errors import NotThere, UsageError
from governance.rules.vocabulary import PERMIT_QUESTIONS

if TYPE_CHECKING:
    from api.client.plans import OpenedPlan

care = typer.Typer(help="Appoint your clinician, end that, and ask for a permit for care.")
plan = typer.Typer(help="Ask for, open, countersign and read a patient's plan.")

PlanId = Annotated[str, typer.Argument(metavar="PLAN", help="64 hex digits.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write it into this file, for your eyes only.")
]
_DAY = 86_400
_YEAR = 365


@care.command("appoint")
def appoint(
    dataset: DatasetId,
    as_: As,
    clinician: Annotated[str, typer.Option(help="The address of the clinician's account.")],
    days: Annotated[int, typer.Option(min=1, max=3660, help="How long.")] = _YEAR,
    to_me: Annotated[
        bool,
        typer.Option("--to-me/--not-to-me", help="Whether you want to open the plans yourself."),
    ] = True,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Appoint a clinician: only this one may have a plan drawn up from your record.

    You see the notice and are asked before you sign. Another takes his place when you appoint
    another; allowing less ends it.

    Example: `volens care appoint --as ada DATASET --clinician 0x…`
    """
    from eth_utils.address import is_address, to_checksum_address

    from api.client.plans import appointment
    from governance.care import notice_points

    if not is_address(clinician):
        raise UsageError("an address has 0x and 40 hex digits", "ask your clinician for it")
    until = int(time.time()) // _DAY + days
    account = to_checksum_address(clinician)
    facts = [
        "You are about to appoint a clinician for your own care:",
        f"  account  {account}",
        f"  until    {cli.day(until)} (included); you can end it earlier, at any time",
        "  plans    " + ("you can open them once he has signed" if to_me else "you open none"),
        "What always holds (the notice, whose hash is signed as well):",
        *(f"  {what}: {sentence}" for what, sentence in notice_points()),
    ]
    typer.echo("\n".join(facts), err=as_json)
    decision.confirm("Sign this?", yes)
    me = cli.client(as_)
    message, salt = appointment(me, cli.bytes32(dataset), account, until, to_me)
    answer = me.appoint(message, account, salt)
    line = f"Appointed until {cli.day(until)}: {cli.mined(answer['receipt'])}."
    cli.show(answer | {"clinician": account, "untilDay": until}, as_json, line)


@care.command("end")
def end_appointment(dataset: DatasetId, as_: As, yes: Yes = False, as_json: AsJson = False) -> None:
    """End your appointment: no further plan is drawn, and your clinician opens none any more.

    Example: `volens care end --as ada DATASET`
    """
    from api.client.plans import appointment

    decision.confirm("End the appointment?", yes)
    me = cli.client(as_)
    mine = [row for row in me.appointments() if row["dataset"] == dataset]
    if not mine:
        raise NotThere(
            404, "You have appointed nobody in this dataset.", "There is nothing to end."
        )
    last, yesterday = mine[0], int(time.time()) // _DAY - 1
    message, salt = appointment(
        me, cli.bytes32(dataset), last["clinician"], yesterday, last["resultToMe"]
    )
    answer = me.appoint(message, last["clinician"], salt)
    cli.show(answer, as_json, f"Ended: {cli.mined(answer['receipt'])}.")


@care.command("list")
def list_appointments(as_: As, as_json: AsJson = False) -> None:
    """Show whom you appointed; as a clinician, who appointed you.

    Example: `volens care list --as cleo`
    """
    from governance.care import UNTOLD

    rows = [row | {"until": cli.day(row["untilDay"])} for row in cli.client(as_).appointments()]
    for row in rows:
        row.pop("salt")
        if row["clinician"] == UNTOLD and not as_json:
            row["clinician"] = "not told to this service"
    columns = ["subject", "dataset", "clinician", "until", "live", "resultToMe"]
    cli.table(rows, columns, as_json, "There is no appointment.")


@care.command("permit")
def request_permit(
    dataset: DatasetId,
    as_: As,
    document: DocumentFile,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How long the permit lasts.")] = _YEAR,
    as_json: AsJson = False,
) -> None:
    """Ask the committee, as a clinician, for a permit to draw up plans by the rules of this release.

    The committee votes on the rules, not on patients: each of them appoints you herself. The permit
    asks for every kind of data; what she leaves out, the plan does not see, and says so.

    Example: `volens care permit --as cleo DATASET --document plan.md`
    """
    import secrets

    from analytics.code import manifest_of, params_schema_hash
    from api.cli.projects import describe_file, send_text
    from chain.vocabulary import Category, OutputClass, Purpose

    new, described, code = secrets.token_bytes(32), describe_file(document), manifest_of()
    me = cli.client(as_)
    answer = me.request_permit(
        {
            "permit": new,
            "dataset": cli.bytes32(dataset),
            "purposeNeed": 1 << Purpose.CARE,
            "categories": sum(1 << category for category in Category),
            "codeHash": code.digest,
            "paramsSchemaHash": params_schema_hash(),
            "minCohort": 1,
            "outputClasses": 1 << OutputClass.INDIVIDUAL,
            "questions": PERMIT_QUESTIONS,
            "expiry": int(time.time()) + days * _DAY,
            "documentHash": bytes.fromhex(described.digest),
        }
    )
    send_text(me, described, code)
    line = f"{new.hex()}\nRequested in {cli.mined(answer['receipt'])}."
    cli.show(answer | {"permit": new.hex()}, as_json, line)


@plan.command("request")
def request(
    subject: Annotated[str, typer.Argument(metavar="PATIENT", help="Her id, 64 hex digits.")],
    as_: As,
    permit: Annotated[str, typer.Option(help="Your permit for care.")],
    as_json: AsJson = False,
) -> None:
    """Ask for a plan of a patient who appointed you: drawn from her records alone, as one access
    that she sees.

    Example: `volens plan request --as cleo PATIENT --permit PERMIT`
    """
    from analytics.params import complete
    from api.client.plans import request_plan

    cli.bytes32(subject)
    cli.bytes32(permit)
    answer = request_plan(cli.client(as_), permit, subject, complete({"analysis": "plan"}))
    line = f"{answer['run']}\nRequested in {cli.mined(answer['receipt'])}."
    cli.show(answer, as_json, line)


@plan.command("list")
def list_plans(as_: As, as_json: AsJson = False) -> None:
    """Show your plans; as a clinician, those that you asked for.

    Example: `volens plan list --as ada`
    """
    rows = [row | {"requested": cli.day(row["day"])} for row in cli.client(as_).plans()]
    cli.table(rows, ["run", "state", "requested", "subject"], as_json, "There is no plan.")


@plan.command("open")
def open_plan(plan_id: PlanId, as_: As, out: Out = None, as_json: AsJson = False) -> None:
    """Open, as its clinician, a plan that was drawn; your look is recorded first.

    Example: `volens plan open --as cleo PLAN --out plan.json`
    """
    from api.client.plans import open_as_clinician

    me = cli.client(as_)
    opened = open_as_clinician(me, cli.broker(me), _checked(plan_id), _key_file(as_, plan_id))
    _show(opened, out, as_json)


@plan.command("prognosis")
def prognosis(
    plan_id: PlanId,
    as_: As,
    run: Annotated[str, typer.Option(help="The released survival run, 64 hex digits.")],
    result: Annotated[
        Path, typer.Option(help="Its result: the file that `volens result open` wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write, for `volens plan sign`.")],
    as_json: AsJson = False,
) -> None:
    """Put beside a plan, as its clinician, what a released table says about people like her.

    The result is compared with the ledger's commitment. Nobody else's record is opened, and where
    she is not like the people of the table there is no curve.

    Example: `volens plan prognosis --as cleo PLAN --run RUN --result result.json --out group.json`
    """
    from api.client.plans import open_as_clinician
    from api.client.prognosis import draw_prognosis, prognosis_file
    from api.pages.care_view import about_the_patient

    cli.bytes32(run)
    me, released = cli.client(as_), cli.read_json(result, "opened result")
    opened = open_as_clinician(me, cli.broker(me), _checked(plan_id), _key_file(as_, plan_id))
    drawn = draw_prognosis(me, opened.plan, run, released)
    cli.write_json(out, prognosis_file(drawn, released), "the prognosis was drawn", private=True)
    lines = [*map(about_the_patient, drawn["sentences"]), f"The prognosis is in {out.name}."]
    cli.show(drawn, as_json, "\n".join(lines))


@plan.command("sign")
def sign(
    plan_id: PlanId,
    as_: As,
    decisions: Annotated[
        Path,
        typer.Option(
            help='JSON, for the rule of each option: {"RULE": {"decision": "accept", "note": "…"}}; '
            "accept, decline or defer."
        ),
    ],
    comment: Annotated[str, typer.Option(help="For the patient, about the plan.")] = "",
    prognosis: Annotated[
        Path | None,
        typer.Option(
            help="What a released table says of people like her: a file that `volens "
            "plan prognosis` wrote."
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Countersign a plan that you opened, with a decision on each item: then your patient may open
    it.

    You see what each decision agrees to, and are asked before you sign. Her consent and the appointment are read again.

    Example: `volens plan sign --as cleo PLAN --decisions decisions.json`
    """
    from analytics.care.rule_set import shipped
    from api.client.plans import notes_on, open_sealed, sign_plan, today
    from api.client.prognosis import read_file
    from api.pages.care_text import described, to_be_signed

    me, given = cli.client(as_), cli.read_json(decisions, "file of decisions")
    opened = open_sealed(me, cli.broker(me), me.plan(_checked(plan_id)), _key_file(as_, plan_id))
    inside, drawn = json.loads(opened.result), None
    if prognosis is not None:
        document = cli.read_json(prognosis, "file of a prognosis")
        drawn = read_file(me, inside, document)
    decided = notes_on(inside, given, comment, drawn)["items"]
    values = described(inside, {}, today(), shipped())
    typer.echo(to_be_signed(values, decided), err=as_json)
    decision.confirm("Sign this?", yes)
    answer = sign_plan(me, plan_id, opened, given, comment, drawn)
    cli.show(answer, as_json, f"Countersigned in {cli.mined(answer['receipt'])}.")


@plan.command("end")
def end_plan(plan_id: PlanId, as_: As, as_json: AsJson = False) -> None:
    """End, as its clinician, a request that you have not countersigned.

    Example: `volens plan end --as cleo PLAN`
    """
    answer = cli.client(as_).end_plan(_checked(plan_id))
    cli.show(answer, as_json, f"Ended in {cli.mined(answer['receipt'])}.")


@plan.command("read")
def read(plan_id: PlanId, as_: As, out: Out = None, as_json: AsJson = False) -> None:
    """Open your own plan, once your clinician has signed it; that you opened it is recorded.

    Example: `volens plan read --as ada PLAN`
    """
    from api.client.plans import open_as_patient

    me = cli.client(as_)
    opened = open_as_patient(me, cli.broker(me), _checked(plan_id), _key_file(as_, plan_id))
    _show(opened, out, as_json, hers=True)


@plan.command("export")
def export(
    plan_id: PlanId,
    as_: As,
    fhir: Annotated[Path, typer.Option(help="The file to write: a FHIR R4 Bundle.")],
) -> None:
    """Write a countersigned plan as a FHIR care plan that proposes, as its clinician or its patient;
    that it was opened is recorded.

    It has no name, no id and none of the clinician's words, and orders nothing.

    Example: `volens plan export --as ada PLAN --fhir plan.json`
    """
    from api.client.plan_fhir import export_plan
    from api.client.plans import open_as_clinician, open_as_patient

    cli.check_writable(fhir)
    me = cli.client(as_)
    read_by = open_as_clinician if me.subject is None else open_as_patient
    opened = read_by(me, cli.broker(me), _checked(plan_id), _key_file(as_, plan_id))
    document = export_plan(opened, plan_id, int(time.time()) // _DAY)
    cli.write_json(fhir, document, "the plan was opened", private=True)
    typer.echo(f"The care plan is in {fhir.name}.", err=True)


def _checked(plan_id: str) -> str:
    cli.bytes32(plan_id)
    return plan_id


def _key_file(name: str, plan_id: str) -> Path:
    return cli.settings().result_folder(name) / f"{plan_id}.plan.key"


def _show(opened: OpenedPlan, out: Path | None, as_json: bool = False, hers: bool = False) -> None:
    """For people as the page of the plan shows it; hers: for the patient. A file has the whole
    plan, which proves itself, for her page.
    """
    from analytics.care.drawn import is_out_of_date, not_in_force
    from analytics.care.rule_set import shipped
    from api.client.plans import confirmed, today, without_proposals

    if out is None and not as_json:
        from api.pages.care_text import described, for_clinician, for_patient

        values = described(opened.plan, opened.notes, today(), shipped())
        typer.echo(for_patient(values) if hers else for_clinician(values))
        return
    stopped = not_in_force(opened.plan, shipped(), today())
    if is_out_of_date(opened.plan, today()) or stopped:
        why = f"{stopped[0].title}: {stopped[0].why}" if stopped else "This plan is out of date"
        typer.echo(
            f"{why}. Its doses, proposals and notes are left out. Ask for a new one. If you take "
            "something because of it, do not change it by yourself: call your clinician.",
            err=True,
        )
        opened = without_proposals(opened)
    elif hers and out is None:
        opened = confirmed(opened)
    document: dict[str, Any] = {
        "plan": opened.plan,
        "notes": opened.notes,
        "disclosure": opened.disclosure,
        "salt": opened.salt,
    }
    if out is None:
        cli.show(document, True)
        return
    cli.write_json(out, document, "the plan was opened", private=True)
    typer.echo(f"The plan is in {out.name}.", err=True)
