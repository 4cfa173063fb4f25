"""Ingest genomes (VCF) and clinical records (FHIR): parsed in a sandbox (parser_sandbox.py), then
encrypted.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from api.confinement import Confinement
from api.errors import UsageError
from api.ingest.parser import MAX_BUNDLES
from api.ingest.parser_sandbox import Kind, split
from api.ingest.sources import is_id, open_file, read_file
from governance.consent import CATEGORIES
from governance.objects.ingest import Source
from governance.rules.encoding import MAX_JSON, Malformed, strict_json

MAX_VALUE_SETS = 4 << 20  # bytes

_NUMBERED = re.compile(r"(?:NDJSON file|code map) [0-9]{1,5}\b")
_COPY = 1 << 20
MAX_LINES = 25  # codes of unknown systems on the screen

Tell = Callable[[str, float | None], None]


def _quiet(_step: str, _fraction: float | None) -> None:
    """No progress display."""


@dataclass(frozen=True, slots=True)
class LineFile:
    """An NDJSON file; one of everybody has the subject ""."""

    subject: str
    path: Path
    name: str  # as the custodian knows it


@dataclass(slots=True)
class CohortFiles:
    """A cohort's VCF and FHIR files as records.

    `report` and `dictionary` (the variables of the clinical records, with rounded numbers of
    people) are filled while the files are read: counts only, complete at the end.
    """

    vcf: BinaryIO | None
    samples: Mapping[str, str]  # subject by sample name
    build: str
    bundles: Sequence[tuple[str, bytes]]  # (subject, FHIR bundle); several may be of one subject
    confinement: Confinement = field(default_factory=Confinement)
    # Samples of the VCF that `samples` does not name, and patients that `patients` does not.
    leave_out_unlisted: bool = False
    value_sets: str = ""  # JSON: more codes of sensitive categories than the shipped ones
    lines: Sequence[LineFile] = ()
    patients: Mapping[str, str] = field(default_factory=dict)  # subject by patient id in `lines`
    maps: Sequence[tuple[str, bytes]] = ()  # (name, content) of the custodian's code maps
    shift_dates: bool = False  # of each person by a random number of weeks
    report: dict[str, Any] = field(default_factory=dict)
    relaxed: int = 0  # the layers of confinement that a parser lacked, as bits
    dictionary: dict[str, Any] = field(default_factory=dict)
    # Subjects who have the same genome: for the custodian's own screen, never sent.
    copies: list[list[str]] = field(default_factory=list)
    # Whether each subject is a female, by her X chromosome and by her record: to find samples under
    # another's name. Likewise for the screen, and kept nowhere.
    females: dict[str, dict[str, bool]] = field(default_factory=dict)
    # Codes of unknown systems, each [system, code, people, whether a list has it], and how many
    # others: in the files' own words, so likewise.
    unknown: dict[str, Any] = field(default_factory=lambda: {"codes": [], "others": 0})

    @property
    def subjects(self) -> set[str]:
        return {*self.samples.values(), *self._clinical()}

    @property
    def other_sex(self) -> list[str]:
        """Subjects whose X chromosomes are of another sex than their record says."""
        genomes, records = self.females.get("vcf", {}), self.females.get("fhir", {})
        return sorted(
            subject
            for subject in genomes.keys() & records.keys()
            if genomes[subject] != records[subject]
        )

    def _clinical(self) -> set[str]:
        named = {file.subject for file in self.lines if file.subject}
        return {*(subject for subject, _ in self.bundles), *named, *self.patients.values()}

    def sources(self, progress: Tell = _quiet) -> Iterator[Source]:
        """Every record, in the child's order.

        After a UsageError, discard the records received so far.
        """
        if self.vcf is not None:
            request = {
                "subjects": dict(self.samples),
                "build": self.build,
                "leaveOutUnlisted": self.leave_out_unlisted,
            }
            yield from self._listen("vcf", self.vcf, request, progress)
        if self.bundles or self.lines:
            # In memory, never on a disk.
            with os.fdopen(os.memfd_create("bundles", os.MFD_CLOEXEC), "wb") as joined:
                bundles = [
                    [subject, joined.tell(), joined.write(bundle)]
                    for subject, bundle in self.bundles
                ]
                lines = [
                    [file.subject, joined.tell(), _append(file, joined)] for file in self.lines
                ]
                maps = [[joined.tell(), joined.write(content)] for _, content in self.maps]
                joined.flush()
                request = {
                    "maps": maps,
                    "shiftDates": self.shift_dates,
                    "bundles": bundles,
                    "lines": lines,
                    "patients": dict(self.patients),
                    "leaveOutUnlisted": self.leave_out_unlisted,
                    "valueSets": self.value_sets,
                    "genotyped": len(self._clinical().intersection(self.samples.values())),
                }
                try:
                    yield from self._listen("fhir", joined, request, progress)
                except UsageError as error:
                    raise UsageError(self._named(str(error)), error.hint) from None

    def _named(self, message: str) -> str:
        """A message of the parser, which knows only the numbers of the files, with their names."""
        names = {f"NDJSON file {number}": file.name for number, file in enumerate(self.lines, 1)}
        names |= {f"code map {n}": f"code map {name}" for n, (name, _) in enumerate(self.maps, 1)}
        return _NUMBERED.sub(lambda match: names.get(match[0], match[0]), message)

    def _listen(
        self, kind: Kind, file: BinaryIO, request: dict[str, Any], progress: Tell
    ) -> Iterator[Source]:
        for header, blobs in split(kind, file, request, self.confinement):
            match header["say"]:
                case "record":
                    yield Source(
                        bytes.fromhex(header["subject"]),
                        header["category"],
                        blobs[0],
                        header["ordinal"],
                    )
                case "progress":
                    progress(f"reading {kind}", header["fraction"])
                case _:
                    self.report[kind] = header["report"]
                    if kind == "fhir" and self.lines:
                        self.report["export"] = header["export"]
                    if kind == "fhir" and self.maps:
                        self.report["maps"] = [
                            {"name": name, "sha256": hashlib.sha256(content).hexdigest(), **counts}
                            for (name, content), counts in zip(
                                self.maps, header["maps"], strict=True
                            )
                        ]
                    self.relaxed |= header["relaxed"]
                    self.dictionary = header.get("dictionary", self.dictionary)
                    self.copies = header.get("copies", self.copies)
                    self.females[kind] = header["females"]
                    self.unknown = header.get("unknown", self.unknown)


def from_files(
    vcf: Path | None,
    samples: Path | None,
    build: str,
    fhir: Path | None,
    value_sets: Path | None = None,
    confinement: Confinement | None = None,
    leave_out_unlisted: bool = False,
    patients: Path | None = None,
    code_maps: Sequence[Path] = (),
    shift_dates: bool = False,
) -> CohortFiles:
    """A VCF with the subject of each sample, and a folder of FHIR files; one may be absent.

    In the folder: SUBJECT.json is a bundle; SUBJECT/ holds bundles and NDJSON of one person; any
    other NDJSON file is of many people, whom `patients` names. value_sets: a hospital's own codes
    of sensitive categories, added to the shipped ones. code_maps: what codes of other systems mean
    (analytics/readers/code_map.py). leave_out_unlisted: samples and patients
    that the lists do not name are left out instead of being an error. Raises UsageError.
    """
    named: Mapping[str, str] = {}
    if vcf is not None:
        named = _subjects_of(samples, _SAMPLES)
    bundles, lines = ([], []) if fhir is None else _fhir_files(fhir)
    if vcf is None and not bundles and not lines:
        raise UsageError(
            "there is nothing to ingest", "name --vcf and --samples, or --fhir, or --from"
        )
    of_many = any(not file.subject for file in lines)
    if patients is not None and not of_many:
        raise UsageError(
            "a list of patients says whose the lines of NDJSON files are, and there are none",
            "leave --patients out, or put FILE.ndjson into the folder of --fhir",
        )
    from analytics.readers.code_map import MAX_BYTES as MAX_MAP

    sets = _value_sets(value_sets)
    return CohortFiles(
        None if vcf is None else open_file(vcf, "VCF file"),
        named,
        build,
        bundles,
        confinement or Confinement(),
        leave_out_unlisted,
        sets,
        lines,
        _subjects_of(patients, _PATIENTS) if of_many else {},
        [(path.name, read_file(path, MAX_MAP, f"code map {path.name}")) for path in code_maps],
        shift_dates,
    )


def _value_sets(path: Path | None) -> str:
    """The file's text, checked with the child's reader before any other file is read."""
    from analytics.errors import PayloadError
    from analytics.readers.codes import load_value_sets

    data = b"" if path is None else read_file(path, MAX_VALUE_SETS, "file of value sets")
    try:
        if data:
            load_value_sets(data)
    except PayloadError as error:
        raise UsageError(str(error), error.hint) from None
    return data.decode()


# What a list names, what lies in a file without it, and how it is written.
_SAMPLES = (
    "samples",
    "a VCF names samples, not people",
    '--samples FILE with {"SAMPLE": "ID"}',
)
_PATIENTS = (
    "patients",
    "NDJSON files name a hospital's patients, not subjects",
    '--patients FILE with {"PATIENT": "ID"}',
)


def _subjects_of(path: Path | None, what: tuple[str, str, str]) -> Mapping[str, str]:
    """Subject by the name that a file has for the person. Raises UsageError."""
    names, why, how = what
    if path is None:
        raise UsageError(why, f"say whose they are: {how}")
    try:
        subjects = strict_json(read_file(path, MAX_JSON, f"list of {names}"))
    except Malformed:
        subjects = None
    if (
        not isinstance(subjects, dict)
        or not subjects
        or not all(is_id(subject) for subject in subjects.values())
    ):
        raise UsageError(
            f"the list of {names} is no JSON object of patient ids",
            f'write {{"{names[:-1].upper()}": "64 hex digits"}} for every one of the file',
        )
    return subjects


def _fhir_files(folder: Path) -> tuple[list[tuple[str, bytes]], list[LineFile]]:
    """The bundles and NDJSON files of a folder, not larger than is allowed. Raises UsageError."""
    from analytics.readers.bundle import MAX_ALL_BYTES

    bundles: list[tuple[str, bytes]] = []
    lines: list[LineFile] = []
    size = 0
    for subject, path in _paths(folder):
        name = str(path.relative_to(folder))
        if path.suffix == ".ndjson":
            with open_file(path, f"file {name}", follow=False) as file:
                size += os.fstat(file.fileno()).st_size
            lines.append(LineFile(subject, path, name))
        else:
            bundle = read_file(path, MAX_ALL_BYTES, f"bundle {name}", follow=False)
            bundles.append((subject, bundle))
            size += len(bundle)
        if size > MAX_BUNDLES:
            raise UsageError(
                "the bundles are larger than is allowed", "hand in fewer people at once"
            )
    return bundles, lines


def _paths(folder: Path) -> list[tuple[str, Path]]:
    """(subject, file) of all files of a folder, "" for NDJSON of many people. Raises UsageError."""
    files: list[tuple[str, Path]] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix == ".ndjson":
            files.append(("", path))
        elif path.suffix == ".json" and is_id(path.stem):
            files.append((path.stem, path))
        elif is_id(path.name) and path.is_dir() and not path.is_symlink():
            own = sorted(path.iterdir())
            files += [(path.name, file) for file in own]
            if not own or any(file.suffix not in (".json", ".ndjson") for file in own):
                raise UsageError(
                    f"the folder {path.name} does not hold .json and .ndjson files alone",
                    "put the bundles and NDJSON files of this person into it, and nothing else",
                )
        else:
            files = []
            break
    if not files:
        raise UsageError(
            "the folder of FHIR files does not hold SUBJECT.json, SUBJECT/ and .ndjson files alone",
            "subjects are 64 hex digits; no links",
        )
    return files


def _append(file: LineFile, joined: BinaryIO) -> int:
    """Copy an NDJSON file to the end of another; its length. Raises UsageError."""
    size = 0
    with open_file(file.path, f"file {file.name}", follow=False) as source:
        while part := source.read(_COPY):
            size += joined.write(part)
            if size > MAX_BUNDLES:
                raise UsageError(
                    f"the file {file.name} is larger than is allowed",
                    "hand in fewer people at once",
                )
    return size


def summarise(report: Mapping[str, Any]) -> dict[str, Any]:
    """A summary of a report: the counts of all bundles added up."""
    summary: dict[str, Any] = {}
    if "vcf" in report:
        summary["vcf"] = report["vcf"]
    if "fhir" in report:
        parts: dict[str, Counter[str]] = {
            name: Counter() for name in ("kept", "held back", "not taken")
        }
        for bundle_report in report["fhir"].values():
            for name, counts in parts.items():
                counts.update(bundle_report[name])
        numbers = {str(number): name for name, number in CATEGORIES.items()}
        parts["kept"] = Counter(
            {numbers.get(number, number): n for number, n in parts["kept"].items()}
        )
        summary["fhir"] = {
            "bundles": len(report["fhir"]),
            **{name: dict(counts) for name, counts in parts.items()},
        }
    summary |= {name: report[name] for name in ("export", "maps") if name in report}
    return summary


def full_report(cohort: CohortFiles) -> dict[str, Any]:
    """The summary, and what only the custodian may see, of files that were read."""
    return {
        "report": summarise(cohort.report),
        "copies": cohort.copies,
        "other_sex": cohort.other_sex,
        "unknown_codes": cohort.unknown,
    }


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """A summary for people: what was taken, held back and not taken, and why."""
    lines = []
    if "vcf" in summary:
        vcf = summary["vcf"]
        lines.append(
            f"Genomes: {vcf['people']} people, {vcf['records']} rows, "
            f"{vcf['packed_records']} of them packed as {vcf['packed_rows']} variants; {vcf['missing']} calls missing."
        )
        lines += [f"  not packed: {n} ({why})" for why, n in vcf["skipped"].items()]
        lines += [f"  {sentence}" for sentence in (*_lacking(vcf), *_related(vcf))]
    if "fhir" in summary:
        fhir = summary["fhir"]
        kept = ", ".join(f"{n} {name}" for name, n in sorted(fhir["kept"].items()))
        lines.append(f"Clinical records: {fhir['bundles']} people; taken: {kept}.")
        lines += [f"  held back: {n} ({why})" for why, n in sorted(fhir["held back"].items())]
        lines += [f"  not taken: {n} ({kind})" for kind, n in sorted(fhir["not taken"].items())]
    for code_map in summary.get("maps", ()):
        lines.append(
            f"Code map {code_map['name']} (sha256 {code_map['sha256']}): {code_map['codes']} codes with a meaning, "
            f"{code_map['ambiguous']} whose meaning depends on more, {code_map['recognised']} without one."
        )
    if "export" in summary:
        export = summary["export"]
        lines.append(f"NDJSON: {export['lines']} lines.")
        if export["unlisted"]:
            lines.append(
                f"  left out: {export['unlisted']} lines about {export['unlisted_people']} "
                "patients that the list does not name"
            )
        lines += [f"  about nobody: {n} ({kind})" for kind, n in export["nobody"].items()]
    return lines


def unknown_codes(unknown: Mapping[str, Any]) -> list[str]:
    """What held resources back for want of a meaning, the codes of most people first.

    For the custodian's own screen: exact numbers, and the files' own words.
    """
    if not unknown["codes"]:
        return []
    lines = ["Codes of unknown systems, by people; --code-map brings in what they hold back:"]
    for system, code, people, recognised in unknown["codes"][:MAX_LINES]:
        lines.append(f"  {people:>6}  {system}  {code}{'  (listed)' if recognised else ''}")
    more = len(unknown["codes"]) - MAX_LINES + unknown["others"]
    return lines + ([f"  and {more} more: --report FILE names up to 1000"] if more > 0 else [])


def _related(vcf: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on sex, copies of a genome and relatives among the people of this VCF."""
    if vcf["sexed"]:
        yield (
            f"chromosome X tells the sex of {vcf['sexed']} people: compared with the clinical records that "
            "are handed in with it"
        )
    if not vcf["kinship"]:
        yield "too few people or variants to tell copies of a genome, or relatives"
        return
    if vcf["copies"]:
        yield (
            f"the same genome under two ids: {vcf['copies']} pairs; one person twice, identical "
            "twins, or a sample under another's name"
        )
    degrees = [("first", vcf["first_degree"]), ("second", vcf["second_degree"])]
    degrees.append(("third", vcf["third_degree"]))
    for degree, pairs in degrees:
        if pairs:
            yield f"relatives of the {degree} degree: {pairs} pairs; runs keep them in one fold"
    if vcf["kinship"] <= len(degrees):
        yield f"relatives of the {degrees[vcf['kinship'] - 1][0]} degree or further cannot be told: too few variants"


def _lacking(vcf: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on optional information that this VCF lacks; nothing is filled in."""
    if vcf["left_out"]:
        yield f"left out: {vcf['left_out']} samples that the list does not name, and INFO, "
        "which counts them"
    for name, what in (("without_depth", "read depth (DP)"), ("without_quality", "quality (GQ)")):
        if vcf[name]:
            yield f"without {what}: {vcf[name]} calls; no minimum leaves them out"
    if vcf["unreadable"]:
        yield f"no number, or below zero: {vcf['unreadable']} of QUAL, DP and GQ; taken for absent"
    if vcf["polyploid_calls"]:
        yield f"more than two alleles: {vcf['polyploid_calls']} calls; taken for missing"
    if vcf["failed_calls"]:
        yield (
            f"marked as failed by their caller (FT): {vcf['failed_calls']} calls; taken for missing"
        )
    if vcf["repeated"]:
        yield f"the same variant several times: {vcf['repeated']} copies; none of them is packed"
    if vcf["undefined"]:
        yield (
            f"not defined in the header: {vcf['undefined']} filters or FORMAT fields; "
            "kept as they are"
        )
    if vcf["build_unsaid"]:
        yield "the header does not say its genome build: it is what you named with --build"
