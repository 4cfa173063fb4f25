"""Ingest genomes (VCF) and clinical records (FHIR): parsed in a sandbox (parser_sandbox.py), then
encrypted.
"""

from __future__ import annotations

import os
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

Tell = Callable[[str, float | None], None]


def _quiet(_step: str, _fraction: float | None) -> None:
    """No progress display."""


@dataclass(slots=True)
class CohortFiles:
    """A cohort's VCF and FHIR bundles as records.

    `report` and `dictionary` (the variables of the clinical records, with rounded numbers of
    people) are filled while the files are read: counts only, complete at the end.
    """

    vcf: BinaryIO | None
    samples: Mapping[str, str]  # subject by sample name
    build: str
    bundles: Sequence[tuple[str, bytes]]  # (subject, FHIR bundle)
    confinement: Confinement = field(default_factory=Confinement)
    leave_out_unlisted: bool = False  # samples of the VCF that `samples` does not name
    value_sets: str = ""  # JSON: more codes of sensitive categories than the shipped ones
    report: dict[str, Any] = field(default_factory=dict)
    relaxed: int = 0  # the layers of confinement that a parser lacked, as bits
    dictionary: dict[str, Any] = field(default_factory=dict)
    # Subjects who have the same genome: for the custodian's own screen, never sent.
    copies: list[list[str]] = field(default_factory=list)

    @property
    def subjects(self) -> set[str]:
        return {*self.samples.values(), *(subject for subject, _ in self.bundles)}

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
        if self.bundles:
            offsets, start = [], 0
            # In memory, never on a disk.
            with os.fdopen(os.memfd_create("bundles", os.MFD_CLOEXEC), "wb") as joined:
                for subject, bundle in self.bundles:
                    offsets.append([subject, start, joined.write(bundle)])
                    start += len(bundle)
                joined.flush()
                genotyped = len(
                    {subject for subject, _ in self.bundles}.intersection(self.samples.values())
                )
                request = {"bundles": offsets, "valueSets": self.value_sets, "genotyped": genotyped}
                yield from self._listen("fhir", joined, request, progress)

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
                    self.relaxed |= header["relaxed"]
                    self.dictionary = header.get("dictionary", self.dictionary)
                    self.copies = header.get("copies", self.copies)


def from_files(
    vcf: Path | None,
    samples: Path | None,
    build: str,
    fhir: Path | None,
    value_sets: Path | None = None,
    confinement: Confinement | None = None,
    leave_out_unlisted: bool = False,
) -> CohortFiles:
    """A VCF with the subject of each sample, and a folder of bundles SUBJECT.json; one may be
    absent. Raises UsageError.

    value_sets: a hospital's own codes of sensitive categories, added to the shipped ones.
    leave_out_unlisted: samples that the list does not name are left out of the records instead of
    being an error.
    """
    named: Mapping[str, str] = {}
    if vcf is not None:
        named = _samples(samples)
    bundles = [] if fhir is None else _bundles(fhir)
    if vcf is None and not bundles:
        raise UsageError(
            "there is nothing to ingest", "name --vcf and --samples, or --fhir, or --from"
        )
    sets = _value_sets(value_sets)
    return CohortFiles(
        None if vcf is None else open_file(vcf, "VCF file"),
        named,
        build,
        bundles,
        confinement or Confinement(),
        leave_out_unlisted,
        sets,
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


def _samples(path: Path | None) -> Mapping[str, str]:
    if path is None:
        raise UsageError(
            "a VCF names samples, not people",
            'say whose they are: --samples FILE with {"SAMPLE": "ID"}',
        )
    try:
        subjects = strict_json(read_file(path, MAX_JSON, "list of samples"))
    except Malformed:
        subjects = None
    if (
        not isinstance(subjects, dict)
        or not subjects
        or not all(is_id(subject) for subject in subjects.values())
    ):
        raise UsageError(
            "the list of samples is no JSON object of patient ids",
            'write {"SAMPLE": "64 hex digits"} for every sample of the file',
        )
    return subjects


def _bundles(folder: Path) -> list[tuple[str, bytes]]:
    from analytics.readers.bundle import MAX_BYTES

    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    if not paths or any(not is_id(path.stem) or path.suffix != ".json" for path in paths):
        raise UsageError(
            "the folder of bundles does not hold SUBJECT.json files alone",
            "subjects are 64 hex digits",
        )
    bundles, size = [], 0
    for path in paths:
        bundles.append((path.stem, read_file(path, MAX_BYTES, f"bundle {path.name}", follow=False)))
        size += len(bundles[-1][1])
        if size > MAX_BUNDLES:
            raise UsageError(
                "the bundles are larger than is allowed", "hand in fewer people at once"
            )
    return bundles


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
    return summary


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
    return lines


def _related(vcf: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on copies of a genome and on relatives among the people of this VCF."""
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
