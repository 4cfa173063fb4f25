"""Parser sandbox: a custodian's files are parsed in a confined child that dies with this process.

The child is not trusted, because it parses files of strangers. Its confinement (`api.confinement`)
is checked from outside before it gets a request. Every record is compared with the request, and
their number must equal the announced one. Other messages must pass `api.ingest.parser_messages`.
Plaintext comes through a pipe and is never on a disk.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from io import UnsupportedOperation
from typing import Any, BinaryIO, Literal, cast

from analytics.dictionary import could_describe
from api.confinement import ALL, Confinement, NotConfined
from api.confinement.launching import launch
from api.confinement.outside import layers_in_force
from api.errors import UsageError
from api.ingest.parser import GENETIC_RESULTS, MAX_COPIES, MAX_UNKNOWN, is_printable
from api.ingest.parser_messages import (
    are_fhir_reports,
    are_map_reports,
    failure_of,
    is_export_report,
    is_vcf_report,
)
from api.worker.frames import PipeClosed, read_frame, write_frame
from chain.vocabulary import Category

Kind = Literal["vcf", "fhir"]
Frame = tuple[dict[str, Any], list[bytes]]

MAX_FILE = 4 << 30  # bytes
SILENCE = 120.0  # seconds that the child may be silent
WAIT = 3600.0  # seconds to wait for the child in all
CATEGORIES = 32
PROGRAM = "import sys; from api.ingest.parser import main; sys.exit(main())"
_COPY = 1 << 20


def split(
    kind: Kind,
    file: BinaryIO | int,
    request: Mapping[str, Any],
    confinement: Confinement | None = None,
) -> Iterator[Frame]:
    """Checked frames of the child: `progress`, `record` with its payload, and finally `done` with
    the report.

    vcf: request {"subjects": subject by sample name, "build", "leaveOutUnlisted"}. fhir:
    {"subject"} for one bundle, or for several files in one {"bundles": [[subject, offset, length],
    …]} and {"lines": likewise, "patients": subject by patient id, "leaveOutUnlisted"}, where an
    NDJSON file of everybody has the subject "", and {"maps": [[offset, length], …]}. A pipe is
    copied into memory first. After an error, the frames received so far must be discarded. Closing
    the iterator ends the child. Raises UsageError.
    """
    descriptor, ours = _descriptor(file)
    try:
        child = _Parser(descriptor, confinement or Confinement())
        try:
            child.check()
            yield from _listen(
                child, {"kind": kind, "descriptor": descriptor, "request": dict(request)}
            )
        finally:
            child.end()
    finally:
        if ours:
            os.close(descriptor)


class _Parser:
    """The parent's side of the child: its two pipes, and the remaining time to wait for it."""

    def __init__(self, descriptor: int, confinement: Confinement) -> None:
        self._confinement, self._left = confinement, WAIT
        self.relaxed = int(ALL)  # until it was checked
        command = [sys.executable, "-I", "-c", PROGRAM, confinement.encode()]
        try:
            self._process = launch(command, confinement, pipes=True, descriptors=(descriptor,))
        except OSError:
            raise UsageError(
                "no process can be started that could read the file", "see: volens doctor"
            ) from None
        os.set_blocking(cast("BinaryIO", self._process.stdin).fileno(), False)

    def check(self) -> None:
        """Hear that it is confined, and verify it; missing layers are in `relaxed`.

        Raises UsageError.
        """
        header, _ = self.hear()
        landlock = header.get("landlock")
        if header.get("say") != "confined" or type(landlock) is not int:
            raise _unsafe()
        try:
            self.relaxed = int(
                self._confinement.check(layers_in_force(self._process.pid, landlock))
            )
        except NotConfined as error:
            raise UsageError(f"{error}; nothing of the file was read", error.hint) from None

    def say(self, header: Mapping[str, Any]) -> None:
        """Send a frame. Raises UsageError when the child is gone or does not read it."""
        try:
            write_frame(self, header)
        except (PipeClosed, OSError):
            raise _unsafe() from None

    def write(self, data: memoryview) -> int:
        stream = cast("BinaryIO", self._process.stdin)
        if not self._wait([], [stream]):
            raise PipeClosed("the child takes nothing")
        return os.write(stream.fileno(), data)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def hear(self) -> Frame:
        """The next frame.

        Raises UsageError when the child is gone, silent, or sends an invalid frame.
        """
        try:
            return read_frame(self)
        except (
            PipeClosed,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            OverflowError,
        ):
            raise _unsafe() from None

    def read(self, size: int) -> bytes:
        stream = cast("BinaryIO", self._process.stdout)
        if not self._wait([stream], []):
            raise PipeClosed("the child says nothing")
        return stream.read(min(size, _COPY))

    def _wait(self, readable: list[BinaryIO], writable: list[BinaryIO]) -> bool:
        """False after SILENCE, or WAIT in all; the caller's time for a record does not count."""
        start = time.monotonic()
        ready = select.select(readable, writable, [], max(0.0, min(SILENCE, self._left)))
        self._left -= time.monotonic() - start
        return any(ready)

    def end(self) -> None:
        """Kill it, and so delete its plaintext."""
        self._process.end()


def _listen(child: _Parser, asked: dict[str, Any]) -> Iterator[Frame]:
    child.say(asked)
    subjects = _subjects(asked)
    seen: set[tuple[str, int, int]] = set()
    while True:
        header, blobs = child.hear()
        kind_of_frame = header.get("say")
        if kind_of_frame == "failed":
            raise _failure(header, subjects)
        if kind_of_frame == "record":
            _check_record(asked["kind"], subjects, seen, header, blobs)
        elif kind_of_frame == "done":
            complete = len(seen) == (
                2 * len(subjects) if asked["kind"] == "vcf" else header.get("records")
            )
            if (
                blobs
                or not complete
                or header.get("records") != len(seen)
                or not _is_known(asked, subjects, header)
            ):
                raise _unsafe()
            header["relaxed"] = child.relaxed  # as checked from outside, not as reported
        elif kind_of_frame != "progress" or blobs or not _is_progress(header):
            raise _unsafe()
        yield header, blobs
        if kind_of_frame == "done":
            return


def _is_progress(header: Mapping[str, Any]) -> bool:
    """Whether it contains only a fraction; any other value could be text of a record."""
    share = header.get("fraction")
    return (
        set(header) == {"say", "fraction"}
        and isinstance(share, int | float)
        and not isinstance(share, bool)
        and 0 <= share <= 1
    )


def _failure(header: Mapping[str, Any], subjects: set[str]) -> UsageError:
    """In the reader's own words; a child that says others is not believed that either."""
    failure = failure_of(header, subjects)
    return UsageError(*failure) if failure is not None else _unsafe()


def _is_known(asked: Mapping[str, Any], subjects: set[str], done: Mapping[str, Any]) -> bool:
    """Whether report and dictionary are such as the reader writes: one is published, the other may
    be passed on.
    """
    if asked["kind"] == "vcf":
        return (
            set(done) == {"say", "records", "report", "copies", "females"}
            and is_vcf_report(done["report"])
            and _are_sexes(done["females"], subjects)
            and _are_pairs(done["copies"], subjects, done["report"]["copies"])
        )
    genotyped = asked["request"].get("genotyped", 0)
    return (
        set(done)
        == {"say", "records", "report", "export", "maps", "unknown", "dictionary", "females"}
        and _are_sexes(done["females"], subjects)
        and _are_unknown_codes(done["unknown"], len(subjects))
        and is_export_report(done["export"])
        and are_map_reports(done["maps"], len(asked["request"].get("maps", ())))
        and are_fhir_reports(done["report"], subjects)
        and could_describe(done["dictionary"], len(subjects), genotyped)
    )


def _are_unknown_codes(unknown: object, people: int) -> bool:
    """Whether these are rows of system, code, number of people and recognised, sorted.

    The words are the file's own, so they are for its custodian's screen and never sent.
    """
    if not isinstance(unknown, dict) or set(unknown) != {"codes", "others"}:
        return False
    rows, others = unknown["codes"], unknown["others"]
    return (
        isinstance(rows, list)
        and len(rows) <= MAX_UNKNOWN
        and type(others) is int
        and 0 <= others
        and all(
            isinstance(row, list)
            and len(row) == 4
            and isinstance(row[0], str)
            and isinstance(row[1], str)
            and is_printable(row[0], row[1])
            and type(row[2]) is int
            and 0 < row[2] <= people
            and type(row[3]) is bool
            for row in rows
        )
    )


def _are_sexes(females: object, subjects: set[str]) -> bool:
    """Whether this says yes or no about requested subjects."""
    return (
        isinstance(females, dict)
        and set(females) <= subjects
        and all(type(value) is bool for value in females.values())
    )


def _are_pairs(pairs: object, subjects: set[str], count: int) -> bool:
    """Whether these are as many pairs of requested subjects as the report counts."""
    return (
        isinstance(pairs, list)
        and len(pairs) == min(count, MAX_COPIES)
        and all(
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(subject, str) and subject in subjects for subject in pair)
            and pair[0] != pair[1]
            for pair in pairs
        )
    )


def _check_record(
    kind: Kind,
    subjects: set[str],
    seen: set[tuple[str, int, int]],
    header: Mapping[str, Any],
    blobs: list[bytes],
) -> None:
    """Check that a record has a requested subject and a valid key, and comes once; adds its key to
    `seen`.
    """
    subject, category, ordinal = (header.get(name) for name in ("subject", "category", "ordinal"))
    if (
        not isinstance(subject, str)
        or type(category) is not int
        or type(ordinal) is not int
        or len(blobs) != 1
    ):
        raise _unsafe()
    key = (subject, category, ordinal)
    if kind == "vcf":
        fits = category == Category.GERMLINE_VARIANTS and ordinal in (0, 1)
    else:
        wanted = GENETIC_RESULTS if category == Category.GERMLINE_VARIANTS else 0
        fits = category in range(CATEGORIES) and ordinal == wanted
    if subject not in subjects or not fits or key in seen:
        raise _unsafe()
    seen.add(key)


def _subjects(asked: Mapping[str, Any]) -> set[str]:
    request = asked["request"]
    if asked["kind"] == "vcf":
        return set(request["subjects"].values())
    if "subject" in request:
        return {request["subject"]}
    files = (*request.get("bundles", ()), *request.get("lines", ()))
    named = {subject for subject, _, _ in files if subject}
    return named | set(request.get("patients", {}).values())


def _descriptor(file: BinaryIO | int) -> tuple[int, bool]:
    """A read-only descriptor at its beginning, and whether the caller must close it.

    Raises UsageError.
    """
    descriptor = file if isinstance(file, int) else _descriptor_of(file)
    try:
        if descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode):
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                return descriptor, False
            return _open_again(descriptor), True
        stream = os.fdopen(file, "rb", closefd=False) if isinstance(file, int) else file
        memory = _copy(stream)
        try:
            return _open_again(memory), True
        finally:
            os.close(memory)
    except OSError:
        raise UsageError("the file cannot be read", "open it for reading") from None


def _open_again(descriptor: int) -> int:
    """The same file opened read-only, so that the child cannot write to it. Raises OSError."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def _descriptor_of(file: BinaryIO) -> int | None:
    try:
        return file.fileno()
    except UnsupportedOperation:  # bytes in memory
        return None


def _copy(stream: BinaryIO) -> int:
    """Copy a stream into a file in memory. Raises UsageError."""
    memory = os.memfd_create("ingest", os.MFD_CLOEXEC)
    size = 0
    try:
        while part := stream.read(_COPY):
            size += len(part)
            if size > MAX_FILE:
                raise UsageError(
                    "the file is larger than is allowed", f"split it: {MAX_FILE} bytes are the most"
                )
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(memory, rest) :]
    except BaseException:
        os.close(memory)
        raise
    return memory


def _unsafe() -> UsageError:
    return UsageError(
        "the file could not be read safely",
        "check it with another program; nothing of it was taken",
    )
