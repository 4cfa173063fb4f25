"""The sandboxed parser process for ingested files: one file, one process, no network, disk or keys.

It confines itself (`api.confinement`) before it gets its request. Its parent
(api/ingest/parser_sandbox.py) passes an open descriptor, never a path. The whole file is checked
before the first record is sent; errors are sent as sentences without a value from the file.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from analytics.errors import AnalyticsError, PayloadError
from api.confinement import Confinement
from api.confinement.inside import confine
from api.worker.frames import PipeClosed, read_frame, write_frame
from chain.vocabulary import Category

# Ordinal of a record of genetic results from FHIR. It has the category, and so the consent, of the
# person's VCF (0) and packed genotypes (1), but is a separate object.
GENETIC_RESULTS = 2
MEMORY = 3 << 30  # bytes of address space
CPU_SECONDS = 1800
# Bytes of all bundles of one child, which keeps their records until all are read.
MAX_BUNDLES = 512 << 20
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

    The result names the first MAX_COPIES pairs of people who have the same genome.
    """
    # Slow to load, so only if needed. Its parent sets one thread for numerical libraries
    # (api/confinement/launching.py): each thread of a product takes memory of the address space.
    from analytics.readers.vcf.split import split_vcf

    sent = 0
    copies: list[list[str]] = []

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
    )
    return {"records": sent, "report": report.to_json(), "copies": copies[:MAX_COPIES]}


def split_bundles(sink: BinaryIO, descriptor: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """Split concatenated FHIR bundles, one for each person, into a record for each category.

    Each record is read again as a run will read it; the result includes the dictionary of all.
    """
    from analytics.dictionary import describe
    from analytics.readers.bundle import MAX_BYTES
    from analytics.readers.clinical import read_clinical_record
    from analytics.readers.codes import SHIPPED, load_value_sets
    from analytics.readers.fhir import split_bundle

    more = request.get("valueSets", "")
    sets = load_value_sets(more.encode(), SHIPPED) if more else SHIPPED
    bundles = request.get("bundles") or [[request["subject"], 0, os.fstat(descriptor).st_size]]
    if sum(length for _, _, length in bundles) > MAX_BUNDLES or any(
        b[2] > MAX_BYTES for b in bundles
    ):
        raise PayloadError("the bundles are larger than is allowed", "hand in fewer people at once")
    tell, splits, clinical_records = _teller(sink), [], []
    for done, (subject, offset, length) in enumerate(bundles):
        payload = os.pread(descriptor, length, offset)
        if len(payload) != length:
            raise PayloadError("the file of bundles is shorter than declared", "hand it in again")
        try:
            splits.append((subject, split_bundle(payload, subject, sets)))
            clinical_records.append(read_clinical_record(splits[-1][1].records, subject))
        except AnalyticsError as error:
            raise PayloadError(
                f"the bundle of {subject} cannot be taken: {error}", error.hint
            ) from None
        tell((done + 1) / len(bundles))
    for subject, split in splits:
        for category, payload in sorted(split.records.items()):
            ordinal = GENETIC_RESULTS if category == Category.GERMLINE_VARIANTS else 0
            _send_record(sink, subject, category, ordinal, payload)
    reports = {subject: dict(split.report) for subject, split in splits}
    return {
        "records": sum(len(split.records) for _, split in splits),
        "report": reports,
        "dictionary": describe(clinical_records, request.get("genotyped", 0)),
    }


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
