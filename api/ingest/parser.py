"""The sandboxed parser process for ingested files: one file, one process, no network, disk or keys.

It confines itself (`api.confinement`) before it gets its request. Its parent
(api/ingest/parser_sandbox.py) passes an open descriptor, never a path. The whole file is checked
before the first record is sent; errors are sent as sentences without a value from the file.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, BinaryIO

from analytics.errors import AnalyticsError, PayloadError
from analytics.readers.codes import Coding
from api.confinement import Confinement
from api.confinement.inside import confine
from api.worker.frames import PipeClosed, read_frame, write_frame
from chain.vocabulary import Category

if TYPE_CHECKING:
    from analytics.readers.code_map import CodeMap
    from analytics.readers.codes import ValueSets
    from analytics.readers.export import Export, File, Read, Span
    from analytics.readers.fhir import Split

# Ordinal of a record of genetic results from FHIR. It has the category, and so the consent, of the
# person's VCF (0) and packed genotypes (1), but is a separate object.
GENETIC_RESULTS = 2
MEMORY = 3 << 30  # bytes of address space
CPU_SECONDS = 1800
# Bytes of all bundles of one child, which keeps their records until all are read.
MAX_BUNDLES = 512 << 20
MAX_UNKNOWN = 1000  # codes of unknown systems that are named
_SYSTEM = re.compile(r"[!-~]{0,200}")
_CODE = re.compile(r"(?=.{1,64}\Z)[!-~]+(?: [!-~]+)*")
MAX_COPIES = 1000  # pairs of people with the same genome that are named


def limit() -> None:
    """Forbid writing to files and debuggers; bound memory and time."""
    import ctypes

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def main(confined_by: str = "") -> int:
    """Confine this process, report it, read one request, answer it.

    confined_by: Confinement.encode; by default the first argument of the command line.
    """
    confinement = Confinement.decode(confined_by or sys.argv[1])
    limit()
    landlock = confine(confinement)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not end up between frames
    try:
        write_frame(sink, {"say": "confined", "landlock": landlock})
        request, _ = read_frame(source)
        answer = {"vcf": split_file, "fhir": split_bundles}[request["kind"]]
        write_frame(
            sink, {"say": "done", **answer(sink, request["descriptor"], request["request"])}
        )
    except PipeClosed:
        return 1
    except MemoryError:
        _fail(sink, "the file needs more memory than its reader may use", "split it")
    except AnalyticsError as error:
        _fail(sink, str(error), error.hint)
    # A fault of the reader. No value from the file may leave this process in a message.
    except Exception:
        _fail(sink, "the file could not be read safely", "check the file with another program")
    return 0


def split_file(sink: BinaryIO, descriptor: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """Split a cohort's VCF: for each person a VCF (ordinal 0) and packed genotypes (ordinal 1).

    The result names the first MAX_COPIES pairs of people who have the same genome, and says of each
    person whether she is a female by her X chromosome.
    """
    # Slow to load, so only if needed. Its parent sets one thread for numerical libraries
    # (api/confinement/launching.py): each thread of a product takes memory of the address space.
    from analytics.readers.vcf.split import split_vcf

    sent = 0
    copies: list[list[str]] = []
    females: dict[str, bool] = {}

    def send(subject: str, *payloads: bytes) -> None:
        nonlocal sent
        for ordinal, payload in enumerate(payloads):
            _send_record(sink, subject, Category.GERMLINE_VARIANTS, ordinal, payload)
            sent += 1

    report = split_vcf(
        descriptor,
        request["subjects"],
        build=request["build"],
        sink=send,
        progress=_teller(sink),
        leave_out_unlisted=request.get("leaveOutUnlisted", False),
        copied=lambda subject, other: copies.append([subject, other]),
        sexed=females.update,
    )
    return {
        "records": sent,
        "report": report.to_json(),
        "copies": copies[:MAX_COPIES],
        "females": females,
    }


def split_bundles(sink: BinaryIO, descriptor: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """Split FHIR bundles and NDJSON into a record for each person and category.

    The descriptor has the files one after the other. Each record is read again as a run will read
    it; the result includes the dictionary of all.
    """
    from analytics.dictionary import describe
    from analytics.readers.clinical import read_clinical_record
    from analytics.readers.export import read_export

    def read(offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)

    sets, maps = _code_systems(read, request)
    bundles, lines = _files_of(descriptor, request)
    tell = _teller(sink)
    # Finding out whose each line is takes about a fifth of the time.
    sorted_out = 0.2 if lines else 0.0
    export = read_export(
        read,
        lines,
        request.get("patients", {}),
        request.get("leaveOutUnlisted", False),
        lambda part: tell(sorted_out * part),
        bundles,
    )
    spans: dict[str, list[Span]] = {subject: [] for subject in export.lines}
    spans |= {subject: [] for subject, _, _ in lines if subject}
    for subject, offset, length in bundles:
        spans.setdefault(subject, []).append((offset, length))
    splits: dict[str, Split] = {}
    clinical_records = []
    for done, (subject, places) in enumerate(spans.items(), 1):
        try:
            split = _split_person(
                read, subject, places, export, sets, shift=bool(request.get("shiftDates"))
            )
            clinical_records.append(read_clinical_record(split.records, subject))
        except AnalyticsError as error:
            raise PayloadError(
                f"the clinical record of {subject} cannot be taken: {error}", error.hint
            ) from None
        splits[subject] = split
        tell(1 - (1 - sorted_out) * (1 - done / len(spans)))
    for subject, split in splits.items():
        for category, payload in sorted(split.records.items()):
            ordinal = GENETIC_RESULTS if category == Category.GERMLINE_VARIANTS else 0
            _send_record(sink, subject, category, ordinal, payload)
    return {
        "records": sum(len(split.records) for split in splits.values()),
        "report": {subject: dict(split.report) for subject, split in splits.items()},
        "export": export.to_json(),
        "maps": [code_map.to_json() for code_map in maps],
        "unknown": _unknown([split.unknown for split in splits.values()], sets.recognised),
        "dictionary": describe(clinical_records, request.get("genotyped", 0)),
        "females": {
            subject: record.female
            for subject, record in zip(splits, clinical_records, strict=True)
            if record.female is not None
        },
    }


def _code_systems(read: Read, request: Mapping[str, Any]) -> tuple[ValueSets, list[CodeMap]]:
    """What the shipped and the custodian's code systems mean, and his maps. Raises PayloadError."""
    from analytics.readers.code_map import load_code_map, with_maps
    from analytics.readers.codes import SHIPPED, load_value_sets

    own = request.get("valueSets", "")
    sets = load_value_sets(own.encode(), SHIPPED) if own else SHIPPED
    maps = []
    for number, (offset, length) in enumerate(request.get("maps", []), 1):
        try:
            maps.append(load_code_map(read(offset, length)))
        except AnalyticsError as error:
            raise PayloadError(f"code map {number} cannot be taken: {error}", error.hint) from None
    return with_maps(sets, maps), maps


def _files_of(descriptor: int, request: Mapping[str, Any]) -> tuple[list[File], list[File]]:
    """The bundles and the NDJSON files of a request. Raises PayloadError if they are too large."""
    from analytics.readers.bundle import MAX_ALL_BYTES

    lines = [(str(subject), offset, length) for subject, offset, length in request.get("lines", [])]
    bundles = [(str(subject), *span) for subject, *span in request.get("bundles", [])]
    if "subject" in request:
        bundles = [(request["subject"], 0, os.fstat(descriptor).st_size)]
    size = sum(length for _, _, length in (*bundles, *lines))
    if size > MAX_BUNDLES or any(length > MAX_ALL_BYTES for _, _, length in bundles):
        raise PayloadError("the bundles are larger than is allowed", "hand in fewer people at once")
    return bundles, lines


def _split_person(
    read: Read,
    subject: str,
    places: Sequence[Span],
    export: Export,
    sets: ValueSets,
    shift: bool,
) -> Split:
    """One person's bundles (at `places`) and lines as records. Raises PayloadError."""
    from analytics.readers.bundle import MAX_ALL_BYTES
    from analytics.readers.fhir import split_files

    own, beside = export.lines.get(subject, []), export.beside.get(subject, [])
    if sum(length for _, length in (*places, *own, *beside)) > MAX_ALL_BYTES:
        raise PayloadError(
            "FHIR bundle: the files of one person have more bytes together than is allowed"
        )
    payloads = [read(*span) for span in places]
    if [len(payload) for payload in payloads] != [length for _, length in places]:
        raise PayloadError("the file of bundles is shorter than declared", "hand it in again")
    return split_files(
        payloads,
        [read(*span) for span in own],
        subject,
        sets,
        _draw_weeks() if shift else None,
        [read(*span) for span in beside],
        export.server if own else None,
    )


def _draw_weeks() -> int:
    """A number of weeks from -MAX_WEEKS to MAX_WEEKS, kept nowhere."""
    from analytics.readers.dates import MAX_WEEKS

    # 64 random bits: the remainder is even to one part in 10**17.
    return int.from_bytes(os.urandom(8), "big") % (2 * MAX_WEEKS + 1) - MAX_WEEKS


def _unknown(people: Sequence[Set[Coding]], recognised: Set[Coding]) -> dict[str, Any]:
    """The codes of unknown systems, with the number of people, those of most people first.

    Only what looks like a system and a code: others are counted.
    """
    counts = Counter(coding for codings in people for coding in codings)
    named = [
        (-people, coding.system or "", coding.code or "", coding in recognised)
        for coding, people in counts.items()
        if is_printable(coding.system or "", coding.code or "")
    ]
    rows = [[system, code, -negative, known] for negative, system, code, known in sorted(named)][
        :MAX_UNKNOWN
    ]
    return {"codes": rows, "others": len(counts) - len(rows)}


def is_printable(system: str, code: str) -> bool:
    """Whether system and code are such as FHIR has them, in ASCII: a terminal shows them."""
    return bool(_SYSTEM.fullmatch(system) and _CODE.fullmatch(code))


def _send_record(sink: BinaryIO, subject: str, category: int, ordinal: int, payload: bytes) -> None:
    write_frame(
        sink,
        {"say": "record", "subject": subject, "category": category, "ordinal": ordinal},
        payload,
    )


def _teller(sink: BinaryIO) -> Callable[[float], None]:
    """A function that sends the fraction done, whenever it has grown by a hundredth."""
    last = 0.0

    def tell(fraction: float) -> None:
        nonlocal last
        if fraction >= last + 0.01:
            last = fraction
            write_frame(sink, {"say": "progress", "fraction": fraction})

    return tell


def _fail(sink: BinaryIO, message: str, hint: str) -> None:
    write_frame(sink, {"say": "failed", "message": message, "hint": hint})


if __name__ == "__main__":
    sys.exit(main())
