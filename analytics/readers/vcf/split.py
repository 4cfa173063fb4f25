"""Splits a cohort's VCF into a VCF and packed genotypes for each person (category 5).

Every row is read twice in parallel: as text, which becomes the person's file, and by htslib
(through cyvcf2), which gives the genotypes. A row in which the two differ, or which only one of
them sees, is an error. No output is handed over before the entire file was read this way. htslib is
given a block of rows at a time, exactly as written out, under the written header, so oddities in
unused definitions or fields reach no parser.

A person's file has only that person's calls and nothing about others: text in INFO (carrier lists),
sample lines and paths of the header are left out, numbers and flags stay. Columns as in VCF 4.2 to
4.5, §1.6.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO

import numpy as np
from cyvcf2 import VCF, Variant
from numpy.typing import NDArray

from analytics.errors import PayloadError
from analytics.kinship import choose_common, relate
from analytics.readers.genotypes import Sites, build_sites, write_genotypes
from analytics.readers.vcf.calls import Calls, Row, VcfReport
from analytics.readers.vcf.genetic_sex import GeneticSex
from analytics.readers.vcf.header import LENGTHS, MAX_PEOPLE, Header, autosome, read_header
from analytics.readers.vcf.scan import BASES, Scan, scan_text
from analytics.readers.vcf.text import read_lines
from analytics.readers.vcf.writer import Sources

# Bytes that the people of one pass may take; a larger file is read in several passes.
MEMORY = 640 << 20
# Size of all people's files relative to the rows; 2,500 people with 500 numbers per row reach 250.
MAX_GROWTH = 300
SUBJECT_COLUMN = "subject"

_GROWTH_FROM = 64 << 20  # bytes: less output than this is harmless
_READING = 0.95  # of the time; the rest compares the people
_FIRST_CALL = 9  # columns of a row before the samples
_PER_VARIANT = 8  # bytes of a packed call while it is made
_SUBJECT = re.compile(r"[0-9a-f]{64}")
_RS = re.compile(rb"rs[0-9]{1,12}(?:;rs[0-9]{1,12})*")
_QUAL = re.compile(rb"\.|[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?")
_LEADING_PHASE = re.compile(rb"(^|\t)[/|]")
_SEX = {"X": "x", "Y": "y", "M": "mt", "MT": "mt"}


def split_vcf(
    fd: int,
    subjects: Mapping[str, str],
    *,
    build: str,
    sink: Callable[[str, bytes, bytes], None],
    progress: Callable[[float], None] = lambda fraction: None,
    leave_out_unlisted: bool = False,
    copied: Callable[[str, str], None] = lambda subject, other: None,
    sexed: Callable[[Mapping[str, bool]], None] = lambda females: None,
) -> VcfReport:
    """Pass (subject, source payload, packed payload) of each person to `sink`, after all checks.

    fd: an open, seekable descriptor of a VCF, plain, gzip or bgzip; it stays open. subjects:
    subject (64 hex) by sample name, only for samples of the file. build: GRCh37 or GRCh38.
    progress: called with the completed fraction. leave_out_unlisted: samples without a subject are
    left out and counted, and INFO too, since its numbers count them; otherwise they are an error.
    copied: called with every two subjects who have the same genome. sexed: called once with
    whether each person is a female by her X chromosome, without whom it does not tell. Raises
    PayloadError.
    """
    file = FileIO(fd, closefd=False)
    scan = scan_text(file)
    header = read_header(scan.header, build)
    people = _match(header.people, subjects, leave_out_unlisted)
    columns = np.array([at for at, name in enumerate(header.people) if name in subjects], np.intp)
    step = max(
        1,
        MEMORY
        // (2 * (scan.shared + scan.length // len(header.people)) + _PER_VARIANT * scan.alts),
    )
    report = None
    kinship, sex = _Kinship(people), GeneticSex(len(people), build)
    for start in range(0, len(people), step):
        batch = people[start : start + step]
        reading = _Reading(
            header, build, scan, columns, slice(start, start + len(batch)), None if start else sex
        )
        reading.read(file, lambda fraction: progress(_READING * fraction))
        report = report or reading.report
        sites = reading.sites()
        kinship.add(reading, sites)
        for i, subject in enumerate(batch):
            sink(subject, *reading.payloads(i, sites))
    if report is None:
        raise PayloadError("variant file: it has no person to write")
    females = sex.tell(people)
    report.sexed = len(females)
    sexed(females)
    kinship.count(report, copied, lambda fraction: progress(_READING + (1 - _READING) * fraction))
    return report


def _match(
    people: Sequence[str], subjects: Mapping[str, str], leave_out_unlisted: bool
) -> tuple[str, ...]:
    """Subjects in column order. Raises PayloadError if sample names and mapping do not match."""
    missing = len(set(people) - set(subjects))
    if missing and not leave_out_unlisted:
        raise PayloadError(
            f"variant file: {missing} of its samples have no subject",
            "Name a subject for each sample, or leave the others out: --leave-out-unlisted.",
        )
    if absent := len(set(subjects) - set(people)):
        raise PayloadError(
            f"variant file: {absent} of the named samples are not in it",
            "Name only samples that the file has.",
        )
    if not all(_SUBJECT.fullmatch(subject) for subject in subjects.values()):
        raise PayloadError("variant file: a subject is not 64 lower-case hexadecimal characters")
    if len(subjects) > MAX_PEOPLE:
        raise PayloadError(
            f"variant file: more than {MAX_PEOPLE} of its samples are to be written",
            "Split the file by people.",
        )
    if len(set(subjects.values())) != len(subjects):
        raise PayloadError(
            "variant file: two samples are named as the same subject",
            "A person is in the file once: keep one of the samples.",
        )
    return tuple(subjects[name] for name in people if name in subjects)


def _records(texts: list[bytes]) -> Iterator[Variant]:
    """htslib's records of the texts. Empties the list, to have long rows in memory only once.

    The text is in a data URL. The name or address of a file is never passed, since htslib would
    open connections.
    """
    text = b"".join(texts)
    texts.clear()
    encoded = b64encode(text)
    del text
    try:
        file = VCF("data:;base64," + encoded.decode())
        del encoded
        yield from file
    except Exception:  # cyvcf2 raises bare exceptions, which quote the row
        raise PayloadError("variant file: a row cannot be parsed") from None


def _site_of(fields: Sequence[bytes]) -> tuple[str, int, str, list[str]]:
    """Contig, position, REF and ALTs of a row. Raises PayloadError."""
    number = fields[1]
    if not number.isdigit() or len(number) > 10:
        raise PayloadError("variant file: a position is not a number")
    return fields[0].decode(), int(number), fields[3].decode(), fields[4].decode().split(",")


def _differs() -> PayloadError:
    return PayloadError(
        "variant file: two readings of its rows differ",
        "The file is damaged or was written to meanwhile; copy it again.",
    )


class _Kinship:
    """Compares all people, by the calls of a bounded number of variants."""

    def __init__(self, people: Sequence[str]) -> None:
        self._people = people
        self._columns: NDArray[np.intp] = np.empty(0, np.intp)
        self._dosage: list[NDArray[np.int8]] = []

    def add(self, reading: _Reading, sites: Sites) -> None:
        """Keep the calls of the people of a pass, in order, at variants that are common among all:
        those of a few would be variants at which they alone are alike.
        """
        if not self._dosage:
            passed = np.flatnonzero(sites.passed)
            self._columns = passed[choose_common(reading.counts()[:, passed])]
            self._chromosome = sites.chromosome[self._columns]
            self._position = sites.position[self._columns]
        self._dosage.append(reading.dosage(self._columns))

    def count(
        self,
        report: VcfReport,
        copied: Callable[[str, str], None],
        progress: Callable[[float], None],
    ) -> None:
        kinship = relate(np.concatenate(self._dosage), self._chromosome, self._position, progress)
        report.kinship = 0 if kinship.furthest is None else kinship.furthest + 1
        degrees = [degree for _, _, degree in kinship.pairs]
        report.copies, report.first_degree, report.second_degree, report.third_degree = (
            degrees.count(degree) for degree in range(4)
        )
        for first, second, degree in kinship.pairs:
            if degree == 0:
                copied(self._people[first], self._people[second])


class _Reading:
    """One pass over the whole file for some of the people whose columns are `columns`."""

    def __init__(
        self,
        header: Header,
        build: str,
        scan: Scan,
        columns: NDArray[np.intp],
        people: slice,
        sex: GeneticSex | None,
    ) -> None:
        """sex: counts the calls of chromosome X, of all people: once, however many passes."""
        self._samples = len(header.people)
        self._added = header.undefined(scan.filters, scan.formats)
        self.report = VcfReport(
            people=len(columns),
            left_out=self._samples - len(columns),
            undefined=len(self._added),
            build_unsaid=int(not header.says_build),
        )
        self._header, self._build, self._scan = header, build, scan
        self._columns, self._people, self._sex = columns, people, sex
        # Columns of all people whose records are written, in a row split into fields.
        self._columns_of_people = (columns + _FIRST_CALL).tolist()
        self._size = len(columns[people])  # people of this pass
        text = header.text(scan.names, self._added, SUBJECT_COLUMN)
        self._sources = Sources(self._size, text)
        samples = "\t".join(f"S{column}" for column in self._columns_of_people)
        self._head = header.text(scan.names, self._added, samples)  # for the blocks given to htslib
        self._grown = 0  # bytes of all people's rows without the calls, and of their packed calls
        self._contig, self._position = "", 0
        self._contigs: dict[str, int | None] = {}
        self._prefixed: bool | None = None
        self._formats: set[bytes] = set()
        self._chromosomes: list[int] = []
        self._positions: list[int] = []
        self._alleles: list[str] = []
        self._passed: list[bool] = []
        self._planes: list[NDArray[np.uint8]] = []  # (3, rows, size): dosage + 1, depth, quality
        self._counts: list[NDArray[np.int64]] = []  # (3, rows): people by genotype
        self._order: NDArray[np.intp] = np.empty(0, np.intp)  # of the rows, by genome

    def read(self, file: FileIO, progress: Callable[[float], None]) -> None:
        """Read every row as text and by htslib. Raises PayloadError."""
        digest = hashlib.sha256()
        file.seek(0)
        header = len(self._scan.header)
        for lines in read_lines(file):
            digest.update(b"\n".join(lines))
            rows, header = lines[header:], max(0, header - len(lines))
            self._take(rows)
            progress(
                (self._people.start + self._size * self.report.records / self._scan.rows)
                / self.report.people
            )
        report = self.report
        if digest.digest() != self._scan.digest:
            raise _differs()
        if (
            not report.records
            == self._scan.rows
            == report.packed_records + sum(report.skipped.values())
        ):
            raise _differs()

    def _take(self, lines: Sequence[bytes]) -> None:
        rows = []
        for line in lines:
            fields = line.split(b"\t")
            if len(fields) != _FIRST_CALL + self._samples:
                raise _differs()
            shared = self._shared(fields)
            site = _site_of(fields)
            packed = self._check_site(site, fields)
            self._grown += self.report.people * (len(shared) + _PER_VARIANT * len(packed))
            if self._grown > max(_GROWTH_FROM, MAX_GROWTH * self._scan.length):
                raise PayloadError(
                    "variant file: the columns that its people share are too long to repeat",
                    "Split the file by people.",
                )
            self.report.records += 1
            people = (
                [fields[at] for at in self._columns_of_people]
                if self.report.left_out
                else fields[_FIRST_CALL:]
            )
            rows.append(Row(site, shared, fields[8].split(b":"), people, packed))
        if not rows:
            return
        try:
            calls = self._calls(rows)
        except PayloadError:
            # htslib fails at the first invalid DP or GQ, and also at a damaged row: invalid values
            # are treated as absent, and any other fault is refused.
            before = self.report.unreadable
            for row in rows:
                self.report.clear(row, b"DP", False)
                self.report.clear(row, b"GQ", self._header.float_quality)
            if self.report.unreadable == before:
                raise
            calls = self._calls(rows)
        self._sources.add([row.shared for row in rows], [row.calls[self._people] for row in rows])
        if calls.packed:
            planes, counts = calls.pack(self._people)
            self._planes.append(planes)
            self._counts.append(counts)

    def _calls(self, rows: Sequence[Row]) -> Calls:
        """htslib's calls for the rows of a block. Raises PayloadError."""
        calls = Calls(len(self._columns_of_people), self._header.float_quality, self.report)
        texts = [self._head]
        for row in rows:
            people = b"\t".join(row.calls)
            if row.keys[0] == b"GT" and self._header.leading_phase:  # unknown to this htslib
                people = _LEADING_PHASE.sub(rb"\1", people)
            texts.append(row.shared + people + b"\n")
        records = _records(texts)
        for row in rows:
            record = next(records, None)
            if (
                record is None
                or (record.CHROM, record.POS, record.REF, record.ALT or ["."]) != row.site
            ):
                raise _differs()
            if row.packed:
                calls.add(record, row)
            elif self._sex and self._sex.takes(row, (record.FILTER or "PASS") == "PASS"):
                self._sex.add(record)
        if next(records, None) is not None:
            raise _differs()
        return calls

    def _shared(self, fields: Sequence[bytes]) -> bytes:
        """The nine columns that each file repeats, without free text. Raises PayloadError."""
        quality = fields[5]
        if not _QUAL.fullmatch(quality):
            quality = b"."
            self.report.unreadable += 1
        if fields[8] not in self._formats:
            self._add_format(fields[8])
        name = fields[2]
        if name != b"." and not _RS.fullmatch(name):
            name = b"."
            self.report.ids_removed += 1
        return b"\t".join(
            (
                *fields[:2],
                name,
                *fields[3:5],
                quality,
                fields[6],
                self._info(fields[7]),
                fields[8],
                b"",
            )
        )

    def _info(self, info: bytes) -> bytes:
        if info == b".":
            return info
        entries = info.split(b";")
        kept = []
        for entry in entries:
            name, sign, value = entry.partition(b"=")
            pattern = self._header.numbers.get(name)
            if pattern and pattern.fullmatch(sign + value):
                kept.append(entry)
        # Counts of alleles and carriers include the people who were left out.
        kept = [] if self.report.left_out else kept
        self.report.info_removed += len(entries) - len(kept)
        return b";".join(kept) or b"."

    def _add_format(self, text: bytes) -> None:
        keys = text.split(b":")
        if len(set(keys)) != len(keys):
            raise PayloadError("variant file: a row has a FORMAT field twice")
        if b"GT" in keys[1:]:
            raise PayloadError("variant file: the genotype (GT) is not first in FORMAT")
        self._formats.add(text)

    def _check_site(
        self, site: tuple[str, int, str, list[str]], fields: Sequence[bytes]
    ) -> list[int]:
        """Check position and alleles; the numbers of the ALTs to pack. Raises PayloadError."""
        contig, position, ref, alts = site
        self._follow(contig, position)
        self.report.not_passed += fields[6] not in (b"PASS", b".")
        chromosome = self._contigs[contig]
        if chromosome is None:
            return self._skip(_SEX.get(contig.removeprefix("chr"), "other-contig"))
        if not position:  # VCF's position before the first base
            return self._skip("position-0")
        if position > LENGTHS[self._build][chromosome - 1]:
            raise PayloadError(
                "variant file: a position lies beyond the end of its chromosome in the named build"
            )
        self.report.multiallelic += len(alts) > 1
        if fields[8].partition(b":")[0] != b"GT":
            return self._skip("no-genotypes")
        if any(alt.upper() == ref.upper() for alt in alts):
            raise PayloadError(
                "variant file: an alternative is equal to the reference",
                "Take such rows out, for example with bcftools view -e 'REF=ALT'.",
            )
        rows = self._packed_alts((contig, position), ref.upper(), alts)
        if rows:
            self.report.packed_records += 1
            self._chromosomes += [chromosome] * len(rows)
            self._positions += [position] * len(rows)
            self._passed += [fields[6] in (b"PASS", b".")] * len(rows)
        return rows

    def _packed_alts(self, position: tuple[str, int], ref: str, alts: Sequence[str]) -> list[int]:
        """Numbers of the ALTs in bases that occur once; they are recorded as packed rows.

        No copy of a variant that occurs several times is packed: their calls may differ (two probes
        of an array), and it is unknown which is right. Their rows stay in each person's file.
        """
        rows = [
            number
            for number, alt in enumerate(alts, 1)
            if BASES.fullmatch(alt.upper()) and BASES.fullmatch(ref)
        ]
        self.report.alleles_skipped += len(alts) - len(rows)
        once = [n for n in rows if (*position, ref, alts[n - 1].upper()) not in self._scan.repeated]
        self.report.repeated += len(rows) - len(once)
        if not once:
            return self._skip("repeated" if rows else "alleles")
        self.report.packed_rows += len(once)
        self._alleles += [f"{ref}>{alts[n - 1].upper()}" for n in once]
        return once

    def _follow(self, contig: str, position: int) -> None:
        """Check that the row follows the previous one in order. Raises PayloadError."""
        if contig != self._contig:
            if contig in self._contigs:
                raise PayloadError(
                    "variant file: the rows of a contig are not adjacent", "Sort the file."
                )
            self._contigs[contig] = autosome(contig)
            if autosome(contig.removeprefix("chr")) or contig.removeprefix("chr") in _SEX:
                if self._prefixed not in (None, contig.startswith("chr")):
                    raise PayloadError(
                        "variant file: it names some chromosomes 1 and others chr1",
                        "Rename them, for example with bcftools annotate --rename-chrs.",
                    )
                self._prefixed = contig.startswith("chr")
            self._contig = contig
        elif position < self._position:
            raise PayloadError(
                "variant file: the rows are not sorted by position", "Sort the file."
            )
        self._position = position

    def _skip(self, reason: str) -> list[int]:
        self.report.skipped[reason] = self.report.skipped.get(reason, 0) + 1
        return []

    def sites(self) -> Sites:
        """The packed variants by chromosome and position; the calls are sorted the same way."""
        if not self._alleles:
            raise self._nothing_packed()
        # Stable, so ALTs of a row stay in their order.
        self._order = order = np.lexsort((self._positions, self._chromosomes))
        self._planes = [
            np.ascontiguousarray(np.concatenate([block[plane] for block in self._planes])[order].T)
            for plane in range(3)
        ]
        columns = [
            np.array(column)[order] for column in (self._chromosomes, self._positions, self._passed)
        ]
        chromosomes, positions, passed = columns
        return build_sites(
            self._build, chromosomes, positions, [self._alleles[i] for i in order], passed
        )

    def _nothing_packed(self) -> PayloadError:
        """Why, if all rows of autosomes have one reason."""
        reasons = set(self.report.skipped) - {*_SEX.values(), "other-contig"}
        if reasons == {"no-genotypes"}:
            return PayloadError(
                "variant file: none of its variants can be packed, since no row has genotypes",
                "Have its caller write GT; dosages (DS) and likelihoods alone are not read.",
            )
        if reasons == {"repeated"}:
            return PayloadError(
                "variant file: none of its variants can be packed, since each stands there several times",
                "Keep one row of each, for example with bcftools norm --rm-dup exact.",
            )
        return PayloadError(
            "variant file: none of its variants can be packed",
            "Only variants of chromosomes 1 to 22 whose alternatives are written in bases can be.",
        )

    def counts(self) -> NDArray[np.int64]:
        """(3, variants) how many of all people have 0, 1 and 2 copies, in the order of `sites`."""
        return np.concatenate(self._counts, axis=1)[:, self._order]

    def dosage(self, columns: NDArray[np.intp]) -> NDArray[np.int8]:
        """(people of this pass, columns) as packed, in the order of `sites`."""
        calls: NDArray[np.int8] = self._planes[0][:, columns].view(np.int8) - 1
        return calls

    def payloads(self, i: int, sites: Sites) -> tuple[bytes, bytes]:
        """Source and packed payload of person i of this pass."""
        source = self._sources.take(i)
        dosage, depth, quality = (plane[i] for plane in self._planes)
        packed = write_genotypes(
            sites, hashlib.sha256(source).digest(), dosage.view(np.int8) - 1, depth, quality
        )
        return source, packed
