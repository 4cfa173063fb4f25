"""Datasets, permits and runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import completion
from api.cli import context as cli
from api.cli.context import As, AsJson, DatasetId
from api.cli.ingest import ingest_records
from api.errors import Answered, NotServing, NotThere, UsageError
from governance.rules.vocabulary import DATASET_QUESTIONS, PERMIT_QUESTIONS

if TYPE_CHECKING:
    from analytics.code import Manifest
    from api.client.client import Client
    from governance.documents import Document

dataset = typer.Typer(help="Register a dataset and bring encrypted records in.")
permit = typer.Typer(help="Request, show, vote on and suspend permits.")
run = typer.Typer(help="Rehearse, request, follow, cancel and resume runs.")

PermitId = Annotated[str, typer.Argument(metavar="PERMIT", help="64 hex digits.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="64 hex digits.")]
DocumentFile = Annotated[
    Path,
    typer.Option(
        "--document",
        help="The public text that describes it: UTF-8, its first line `# TITLE`. Its hash is "
        "recorded, and everybody can read it.",
    ),
]
Send = Annotated[Path | None, typer.Option("--send", help="Send the text, if it is not there yet.")]
_USUAL_FLOOR = 10  # people; the usual floor of AccessLedger, which each deployment sets


@dataset.command("register")
def register_dataset(as_: As, document: DocumentFile, as_json: AsJson = False) -> None:
    """Register a new dataset in your name, as its custodian.

    Example: `volens dataset register --as omar --document cohort.md`
    """
    import secrets

    name, described = secrets.token_bytes(32), describe_file(document)
    me = cli.client(as_)
    answer = me.register_dataset(name, bytes.fromhex(described.digest))
    send_text(me, described)
    cli.show(
        answer | {"dataset": name.hex()},
        as_json,
        f"{name.hex()}\nRegistered in {cli.mined(answer['receipt'])}.",
    )


@dataset.command("list")
def list_datasets(as_json: AsJson = False) -> None:
    """Show every dataset with its number of encrypted records."""
    cli.table(
        cli.client().datasets(),
        ["dataset", "title", "records", "custodian"],
        as_json,
        "There is no dataset yet.",
    )


@dataset.command("document")
def show_dataset_document(name: DatasetId, send: Send = None, as_json: AsJson = False) -> None:
    """Show the text that describes a dataset, after comparing it with the hash on the ledger.

    Example: `volens dataset document DATASET`
    """
    reader = cli.client()
    cli.registered(reader, name)
    digest = next(row["document"] for row in reader.datasets() if row["dataset"] == name)
    _show_document(reader, digest, send, as_json)


dataset.command("ingest")(ingest_records)


@dataset.command("dictionary")
def show_dictionary(
    name: DatasetId,
    send: Annotated[
        Path | None, typer.Option("--send", help="Publish this file, as the dataset's custodian.")
    ] = None,
    as_: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Whose key signs in, to publish.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show the variables of a dataset, as its custodian published them; or publish them.

    Example: `volens dataset dictionary DATASET --send dictionary.json --as omar`
    """
    me = cli.client(as_)
    cli.registered(me, name)
    if send is not None:
        me.publish_dictionary(name, cli.read_json(send, "dictionary"))
    cli.table(
        me.dictionary(name)["variables"],
        ["variable", "unit", "people", "completeness"],
        as_json,
        "It names no variable.",
    )


@dataset.command("features")
def show_features(
    name: DatasetId,
    gene_sets: Annotated[
        Path | None,
        typer.Option(
            help="Publish this GMT file, so that runs may use its sets, as the dataset's custodian."
        ),
    ] = None,
    as_: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Whose key signs in, to publish.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show the assays of a dataset and the files of gene sets that runs may use, each by the sha256
    that a run's parameters name; or publish such a file.

    Example: `volens dataset features DATASET --gene-sets c5.go.bp.gmt --as omar`
    """
    me = cli.client(as_)
    cli.registered(me, name)
    if gene_sets is not None:
        from api.ingest.sources import send_gene_sets
        from api.operate.buckets import open_bucket

        row = send_gene_sets(open_bucket(cli.settings()), gene_sets)
        me.publish_gene_sets(name, row)
    features = me.features(name)
    rows = [
        {"kind": "assay", "name": row["assay"], "holds": f"{row['columns']} columns"}
        for row in features["assays"]
    ] + [
        {"kind": row["title"], "name": row["sha256"], "holds": f"{row['sets']} gene sets"}
        for row in features["sets"]
    ]
    cli.table(
        rows,
        ["kind", "name", "holds"],
        as_json,
        "It has no assays and no gene sets.",
    )


@dataset.command("ingests")
def list_ingests(name: DatasetId, as_json: AsJson = False) -> None:
    """Show the registrations of a dataset. While one is `missing`, no run on the dataset begins.

    Example: `volens dataset ingests DATASET`
    """
    me = cli.client()
    cli.table(
        me.ingests(cli.registered(me, name)),
        ["ingest", "records", "state"],
        as_json,
        "Nothing was registered for this dataset yet.",
    )


@dataset.command("void")
def void_records(
    name: DatasetId,
    ingest: Annotated[str, typer.Argument(metavar="INGEST", help="64 hex digits.")],
    as_: As,
    out: Annotated[
        Path | None, typer.Option("--out", help="For a committee: the file of the order.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Void a registration for good: its records exist no more.

    The dataset's custodian can do it alone. If the custodian blocks the dataset with a list that
    was never handed over, a quorum of the committee can do it: the first member begins an order,
    the others add their signatures with `volens committee sign`.

    Example: `volens dataset void DATASET INGEST --as omar`
    """
    from api.cli.committee import begin_void
    from api.client.orders import void_order

    me, into, which = cli.client(as_), cli.bytes32(name), cli.bytes32(ingest)
    listed = {row["dataset"]: row["custodian"] for row in me.datasets()}
    if all(row["ingest"] != ingest for row in me.ingests(cli.registered(me, name))):
        raise NotThere(
            404, "There is no such registration.", "Look at the list: volens dataset ingests"
        )
    if listed[name] != me.wallet.address:
        begin_void(which, me, out or Path(f"void-{ingest[:8]}.json"))
        return
    order = void_order(which, int(time.time())).signed_by(me)
    answer = me.void_records(into, order.message, list(order.signatures.values()))
    cli.show(answer, as_json, f"Taken back in {cli.mined(answer['receipt'])}.")


@permit.command("request")
def request_permit(
    name: DatasetId,
    as_: As,
    document: DocumentFile,
    purpose: Annotated[
        str,
        typer.Option(help="Comma-separated.", autocompletion=completion.purpose_names),
    ] = "cancer-research,outside-recipient",
    categories: Annotated[
        str, typer.Option(help="Comma-separated.", autocompletion=completion.category_names)
    ] = "observations,expression",
    output: Annotated[
        str,
        typer.Option(
            help="metrics, table or genomic; comma-separated.",
            autocompletion=completion.output_names,
        ),
    ] = "metrics",
    minimum: Annotated[
        int, typer.Option(min=1, help="Smallest cohort; the ledger's own floor may be higher.")
    ] = 10,
    questions: Annotated[
        int,
        typer.Option(
            min=1,
            max=PERMIT_QUESTIONS,
            help="How many different parameters its runs may have. The same again are free.",
        ),
    ] = 12,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How long the permit lasts.")] = 365,
    as_json: AsJson = False,
) -> None:
    """Ask the committee for a permit: who, what for, which data, with which code.

    A block ```study in the plan binds all runs to its people and outcome (docs/guide/analyst.md).

    Example: `volens permit request --as noor DATASET --document plan.md --purpose
    cancer-research,outside-recipient`
    """
    import secrets

    from analytics.code import manifest_of
    from analytics.errors import ParamsError
    from analytics.study import schema_of
    from governance.consent import CATEGORIES, PURPOSES, bits
    from governance.permits import OUTPUTS

    new, plan, code = secrets.token_bytes(32), describe_file(document), manifest_of()
    try:
        schema = schema_of(plan.text)
    except ParamsError as problem:
        raise UsageError(str(problem), f"{problem.hint} Nothing was signed.") from None
    me = cli.client(as_)
    answer = me.request_permit(
        {
            "permit": new,
            "dataset": cli.bytes32(name),
            "purposeNeed": bits(purpose.split(","), PURPOSES),
            "categories": bits(categories.split(","), CATEGORIES),
            "codeHash": code.digest,
            "paramsSchemaHash": schema,
            "minCohort": minimum,
            "outputClasses": bits(output.split(","), OUTPUTS),
            "questions": questions,
            "expiry": int(time.time()) + days * 86_400,
            "documentHash": bytes.fromhex(plan.digest),
        }
    )
    send_text(me, plan, code)
    cli.show(
        answer | {"permit": new.hex()},
        as_json,
        f"{new.hex()}\nRequested in {cli.mined(answer['receipt'])}.",
    )
    if minimum < _USUAL_FLOOR:
        typer.echo(
            f"The ledger's own floor may be higher than {minimum} people ({_USUAL_FLOOR} where nothing else was "
            "agreed); a run then needs as many as the floor says.",
            err=True,
        )


@permit.command("vote")
def vote(
    name: PermitId,
    as_: As,
    yes: Annotated[bool, typer.Option("--yes/--no", help="Your vote.")] = True,
    reason: Annotated[
        str, typer.Option(help="Why; a no needs it. Committee, applicant and auditors read it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Vote on a permit, as a member of the committee.

    The service keeps the reason beside the vote. The ledger has no field for it, and your signature
    does not cover it.

    Example: `volens permit vote --as pia PERMIT --no --reason "The plan names no method."`
    """
    cli.bytes32(name)
    me = cli.client(as_)
    answer = me.vote(name, yes, reason)
    cli.show(
        answer,
        as_json,
        f"Voted in {cli.mined(answer['receipt'])}. The permit is {me.permit(name)['status']}.",
    )


@permit.command("suspend")
def suspend(
    name: PermitId,
    as_: As,
    reason: Annotated[str, typer.Option(help="Why. Committee, applicant and auditors read it.")],
    as_json: AsJson = False,
) -> None:
    """Suspend an approved permit at once. One committee member or data-protection officer is
    enough.

    No run begins under it any more, no key leaves and nothing is released. This cannot be undone:
    later work needs a new permit. Results that were released and not opened yet stay shut.

    Example: `volens permit suspend --as dora PERMIT --reason "Data left the agreed machine."`
    """
    cli.bytes32(name)
    answer = cli.client(as_).suspend(name, reason)
    cli.show(answer, as_json, f"Suspended in {cli.mined(answer['receipt'])}.")


@permit.command("reasons")
def list_reasons(name: PermitId, as_: As, as_json: AsJson = False) -> None:
    """Show why members voted as they did, or suspended it, as they wrote beside what they signed.

    For the committee, data-protection officers, auditors and the applicant.

    Example: `volens permit reasons PERMIT --as noor`
    """
    cli.bytes32(name)
    rows = cli.client(as_).reasons(name)
    cli.table(rows, ["act", "account", "text"], as_json, "Nobody gave a reason.")


@permit.command("show")
def show_permit(
    name: Annotated[
        str, typer.Argument(metavar="[PERMIT]", help="A permit; without it, all.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show one permit, or all of them."""
    if name:
        cli.bytes32(name)
        answer = cli.client().permit(name)
        cli.show(answer if as_json else _permit_facts(answer), as_json)
        return
    cli.table(
        cli.client().permits(),
        [
            "permit",
            "title",
            "status",
            "yes",
            "no",
            "purposes",
            "categories",
            "minCohort",
            "questions",
            "asked",
        ],
        as_json,
        "Nobody has asked for a permit yet.",
    )


@permit.command("document")
def show_permit_document(name: PermitId, send: Send = None, as_json: AsJson = False) -> None:
    """Show the plan of a permit, after comparing it with the hash on the ledger.

    Example: `volens permit document PERMIT`
    """
    from analytics.code import manifest_of
    from api.http.code_manifests import write_manifest

    reader = cli.client()
    cli.bytes32(name)
    request = reader.permit(name)
    _show_document(reader, request["documentHash"], send, as_json)
    code = manifest_of()
    if send is not None and code.digest.hex() == request["codeHash"]:
        reader.send_code(request["codeHash"], write_manifest(code))


@permit.command("review")
def review_permit(name: PermitId, as_json: AsJson = False) -> None:
    """Show what to read before voting: the request, how many people are willing, what code would
    run, and what the applicant asked under earlier permits. The plan: `volens permit document`.

    Example: `volens permit review PERMIT`
    """
    cli.bytes32(name)
    reader = cli.client()
    review, request = reader.permit_review(name), reader.permit(name)
    study = _study_of(reader, request)
    lines = _review_lines(request, review, reader.names(), study)
    cli.show(review | {"study": study}, as_json, "\n".join(lines))


def _study_of(reader: Client, request: dict[str, Any]) -> dict[str, Any] | None:
    """The study that a permit is bound to, from its plan; None if each run says its own."""
    import json

    from analytics.code import params_schema_hash
    from analytics.study import bound_study

    schema = bytes.fromhex(request["paramsSchemaHash"])
    if schema == params_schema_hash():
        return None
    try:
        plan = reader.document(request["documentHash"])
    except NotThere:
        return None
    study = bound_study(schema, plan)
    return None if study is None else json.loads(study)


@run.command("request")
def request_run(
    name: PermitId,
    as_: As,
    params: Annotated[
        Path,
        typer.Option("--params", help="A JSON file; the schema is analytics/params-schema.json."),
    ],
    as_json: AsJson = False,
) -> None:
    """Request a run. The key that will open its result follows from yours.

    The file needs only the values that differ from the defaults, e.g. {"outcome": {"kind":
    "distant-metastasis", "horizon_days": 1825}}; what is signed is complete. Rehearse it first:
    `volens run rehearse --params params.json`

    Example: `volens run request --as noor PERMIT --params params.json`
    """
    from api.client import runs

    permit_id = cli.bytes32(name)
    wanted = runs.complete_params(cli.read_json(params, "file of parameters"))
    answer = runs.request_run(cli.client(as_), permit_id, wanted)
    cli.show(
        answer,
        as_json,
        f"{answer['run']}\nRequested in {cli.mined(answer['receipt'])}. "
        "Follow it: volens run watch RUN",
    )


@run.command("rehearse")
def rehearse_run(
    params: Annotated[Path, typer.Option("--params", help="A JSON file, as for `run request`.")],
    people: Annotated[int, typer.Option(min=10, max=2500, help="How many synthetic people.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Try a run on synthetic people on this machine: no permit, no ledger, no real data.

    Shows how long it takes and what its result looks like; its metrics mean nothing.

    Example: `volens run rehearse --params params.json --people 200`
    """
    import json

    from api.client.progress import in_terminal
    from api.client.runs import complete_params
    from api.worker.rehearsal import rehearse_here

    wanted = complete_params(cli.read_json(params, "file of parameters"))
    with in_terminal() as tell:
        done = rehearse_here(cli.settings(), wanted, people, tell)
    result, withheld = json.loads(done["result"]), json.loads(done["disclosure"])["withheld"]
    seconds = sum(float(spent) for spent in done["record"]["seconds"].values())
    lines = [
        f"{people} synthetic people, {seconds:.1f} s on {done['record']['device']}. {done['note']}",
        "What would be sealed:",
        json.dumps(result, indent=1, ensure_ascii=False),
    ]
    lines += [f"withheld: {item['what']} ({item['why']})" for item in withheld]
    cli.show({"params": wanted.decode(), **done, "result": result}, as_json, "\n".join(lines))


@run.command("show")
def show_run(name: RunId, as_json: AsJson = False) -> None:
    """Show the state of a run, its attempts and its sealed outputs."""
    cli.bytes32(name)
    cli.show(cli.client().run(name), as_json)


@run.command("watch")
def watch_run(
    name: RunId,
    seconds: Annotated[int, typer.Option(min=1, help="Give up after so many seconds.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it waits for the checkers, or has ended. Exit code 6 when it gives up
    before.

    Example: `volens run watch RUN`
    """
    from api.client import runs

    cli.bytes32(name)
    last = ""
    for state in runs.follow(cli.client(), name, seconds):
        line = _progress_line(state)
        if line != last and not as_json:
            typer.echo(line)
        last = line
    if as_json:
        cli.show(state, True)
    runs.check_outcome(state)
    if state["state"] not in (runs.SEALED, *runs.ENDS):
        raise runs.still_on_its_way(state, seconds)


@run.command("cancel")
def cancel_run(name: RunId, as_: As, as_json: AsJson = False) -> None:
    """Cancel your run; a worker that computes it stops."""
    cli.bytes32(name)
    answer = cli.client(as_).cancel(name)
    cli.show(answer, as_json, f"Cancelled in {cli.mined(answer['receipt'])}.")


@run.command("resume")
def resume_run(name: RunId, as_: As, as_json: AsJson = False) -> None:
    """Give your run sixteen more attempts after the first sixteen are used up (e.g. by a failing
    host).

    This is recorded on the ledger. The deadline of the request does not change.

    Example: `volens run resume --as noor RUN`
    """
    cli.bytes32(name)
    answer = cli.client(as_).resume(name)
    cli.show(answer, as_json, f"It goes on: {cli.mined(answer['receipt'])}.")


def _permit_facts(request: dict[str, Any]) -> dict[str, Any]:
    """A permit in words; --json shows the signed values."""
    from governance.consent import names_of
    from governance.permits import OUTPUT_NAMES

    words = {
        name: request[name]
        for name in ("permit", "title", "status", "dataset", "applicant", "purposes", "categories")
    }
    outputs = names_of(request["outputClasses"], OUTPUT_NAMES)
    hashes = ("documentHash", "codeHash", "paramsSchemaHash", "requestHash")
    return (
        words
        | {
            "outputs": outputs,
            "expiry": cli.day(request["expiry"] // 86_400),
            "minCohort": request["minCohort"],
            "questions": f"{request['asked']} of {request['questions']} asked",
            "yes": request["yes"],
            "no": request["no"],
        }
        | {name: request[name] for name in hashes}
    )


def _progress_line(state: dict[str, Any]) -> str:
    from api.client.runs import last_step

    step = last_step(state)
    return f"{state['state']}   {step[0]} {int(step[1] * 100)} %" if step else str(state["state"])


def _review_lines(
    request: dict[str, Any],
    review: dict[str, Any],
    names: dict[str, dict[str, Any]],
    study: dict[str, Any] | None,
) -> list[str]:
    """A permit's review in words."""
    import json

    applicant = request["applicant"]
    named = names.get(applicant)
    who = f"{named['name']}, {named['institution']} ({applicant})" if named else applicant
    code = review["code"]
    lines = [
        f"{request['title'] or 'A plan whose text nobody has sent'}",
        f"  applicant   {who}",
        f"  purposes    {', '.join(request['purposes'])}",
        f"  categories  {', '.join(request['categories'])}",
        f"  study       {json.dumps(study) if study else 'none: each run says whom it asks about'}",
        f"  willing     {review['willing'] or 'fewer than 10'} people today",
        f"  questions   {request['questions']} different ones at most, {request['asked']} asked so far",
        f"              {review['datasetQuestions']} of at most {DATASET_QUESTIONS} on this dataset, under all permits",
        f"  code        {'the code of this service' if code['current'] else 'other code than this service runs'}",
    ]
    if code["comparedWith"]:
        changes = code["changes"]
        lines.append(f"  compared with the approved permit {code['comparedWith']}:")
        lines += (
            ["    its manifest is not there, so nobody can say what changed"]
            if changes is None
            else [f"    {change}" for change in changes]
        )
    for earlier in review["earlier"]:
        lines.append(
            f"  earlier     {earlier['title'] or earlier['permit']}: {earlier['status']}, "
            f"{earlier['runs']} runs"
        )
        lines += [f"    asked {question}" for question in earlier["questions"]]
    return lines


def describe_file(path: Path) -> Document:
    """A file as a document, before its hash is signed. Raises UsageError."""
    from governance.documents import read_document
    from governance.errors import RequestInvalid

    if not path.is_file():
        raise UsageError("there is no such document", "name the file that describes it")
    try:
        return read_document(path.read_bytes())
    except RequestInvalid as error:
        raise UsageError(str(error), error.hint) from None


def send_text(me: Client, document: Document, code: Manifest | None = None) -> None:
    """Send a document, and the manifest of a code, whose hashes are on the ledger now."""
    from api.http.code_manifests import write_manifest

    try:
        me.send_document(document.text.encode())
        if code is not None:
            me.send_code(code.digest.hex(), write_manifest(code))
    except (Answered, NotServing) as problem:
        typer.echo(
            f"It is recorded, but not all of its text could be sent: {problem} "
            "Send it later: volens permit document or volens dataset document, with --send.",
            err=True,
        )


def _show_document(reader: Client, digest: str, send: Path | None, as_json: bool) -> None:
    if send is not None:
        document = describe_file(send)
        if document.digest != digest:
            raise UsageError(
                "this is another text than the one whose hash is on the ledger",
                "name exactly the file that was registered",
            )
        reader.send_document(document.text.encode())
    text = reader.document(digest)
    cli.show({"document": digest, "text": text}, as_json, text.rstrip("\n"))
