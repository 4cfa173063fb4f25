"""A custodian's files on their way in: parsed in a confined child that dies with us, never here.

The child is not believed: it parses what strangers wrote. It is looked at from outside, and gets no request unless it
is confined (`api.confinement`). Every record it says is compared with what was asked for, and only the number it
announces, all of it, makes a whole. Beside records it says only what `api.ingest.parser_messages` knows. Plaintext
comes through a pipe and lies on no disk.
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
from api.confinement.outside import look
from api.errors import UsageError
from api.ingest.parser import GENETIC_RESULTS
from api.ingest.parser_messages import are_fhir_reports, failure_of, is_vcf_report
from api.worker.frames import PipeClosed, read_frame, write_frame
from chain.vocabulary import Category

Kind = Literal["vcf", "fhir"]
Frame = tuple[dict[str, Any], list[bytes]]

MAX_FILE = 4 << 30  # bytes
SILENCE = 120.0  # seconds the child may say nothing
WAIT = 3600.0  # seconds it may be waited for in all
CATEGORIES = 32
PROGRAM = "import sys; from api.ingest.parser import main; sys.exit(main())"
_COPY = 1 << 20


def split(
    kind: Kind,
    file: BinaryIO | int,
    request: Mapping[str, Any],
    confinement: Confinement | None = None,
) -> Iterator[Frame]:
    """Frames of the child, checked: `progress`, `record` with its payload, and in the end `done` with the report.

    vcf: request {"subjects": subject by sample name, "build", "leaveOutUnlisted"}. fhir: {"subject"} for one bundle,
    or {"bundles": [[subject, offset, length], …]} for several in one file. A pipe is copied into memory first. What
    was yielded before an error must be thrown away. Closing the iterator ends the child. Raises UsageError.
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
    """Our end of the child: its two pipes, and how long it may be waited for."""

    def __init__(self, descriptor: int, confinement: Confinement) -> None:
        self._confinement, self._left = confinement, WAIT
        self.relaxed = int(ALL)  # until it was looked at
        command = [sys.executable, "-I", "-c", PROGRAM, confinement.encode()]
        try:
            self._process = launch(command, confinement, pipes=True, descriptors=(descriptor,))
        except OSError:
            raise UsageError(
                "no process can be started that could read the file", "see: volens doctor"
            ) from None
        os.set_blocking(cast("BinaryIO", self._process.stdin).fileno(), False)

    def check(self) -> None:
        """Hear that it is confined, and look whether it is; what it lacks is `relaxed`. Raises UsageError."""
        said, _ = self.hear()
        landlock = said.get("landlock")
        if said.get("say") != "confined" or type(landlock) is not int:
            raise _unsafe()
        try:
            self.relaxed = int(self._confinement.check(look(self._process.pid, landlock)))
        except NotConfined as error:
            raise UsageError(f"{error}; nothing of the file was read", error.hint) from None

    def say(self, header: Mapping[str, Any]) -> None:
        """Raises UsageError when the child is gone or does not take it."""
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
        """Nothing is held back."""

    def hear(self) -> Frame:
        """The next frame. Raises UsageError when the child is gone, silent, or says what is no frame."""
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
        """False after SILENCE, or WAIT in all; the time its listener takes for a record does not count."""
        start = time.monotonic()
        found = select.select(readable, writable, [], max(0.0, min(SILENCE, self._left)))
        self._left -= time.monotonic() - start
        return any(found)

    def end(self) -> None:
        """Kill it, and with it the plaintext it held."""
        self._process.end()


def _listen(child: _Parser, asked: dict[str, Any]) -> Iterator[Frame]:
    child.say(asked)
    subjects = _subjects(asked)
    seen: set[tuple[str, int, int]] = set()
    while True:
        header, blobs = child.hear()
        said = header.get("say")
        if said == "failed":
            raise _failure(header, subjects)
        if said == "record":
            _check_record(asked["kind"], subjects, seen, header, blobs)
        elif said == "done":
            whole = len(seen) == (
                2 * len(subjects) if asked["kind"] == "vcf" else header.get("records")
            )
            if (
                blobs
                or not whole
                or header.get("records") != len(seen)
                or not _is_known(asked, subjects, header)
            ):
                raise _unsafe()
            header["relaxed"] = child.relaxed  # our own look at it, not its word
        elif said != "progress" or blobs or not _is_progress(header):
            raise _unsafe()
        yield header, blobs
        if said == "done":
            return


def _is_progress(header: Mapping[str, Any]) -> bool:
    """Whether it is a share of the file and nothing else; any other value there could be a record's own text."""
    share = header.get("fraction")
    return (
        set(header) == {"say", "fraction"}
        and isinstance(share, int | float)
        and not isinstance(share, bool)
        and 0 <= share <= 1
    )


def _failure(header: Mapping[str, Any], subjects: set[str]) -> UsageError:
    """In the reader's own words; a child that says others is not believed that either."""
    found = failure_of(header, subjects)
    return UsageError(*found) if found is not None else _unsafe()


def _is_known(asked: Mapping[str, Any], subjects: set[str], done: Mapping[str, Any]) -> bool:
    """Whether report and dictionary are such as the reader writes: one is published, the other may be passed on."""
    if asked["kind"] == "vcf":
        return set(done) == {"say", "records", "report"} and is_vcf_report(done["report"])
    genotyped = asked["request"].get("genotyped", 0)
    return (
        set(done) == {"say", "records", "report", "dictionary"}
        and are_fhir_reports(done["report"], subjects)
        and could_describe(done["dictionary"], len(subjects), genotyped)
    )


def _check_record(
    kind: Kind,
    subjects: set[str],
    seen: set[tuple[str, int, int]],
    header: Mapping[str, Any],
    blobs: list[bytes],
) -> None:
    """A record is of somebody that was asked for, of a place that exists, and comes once; it is added to `seen`."""
    subject, category, ordinal = (header.get(name) for name in ("subject", "category", "ordinal"))
    if (
        not isinstance(subject, str)
        or type(category) is not int
        or type(ordinal) is not int
        or len(blobs) != 1
    ):
        raise _unsafe()
    place = (subject, category, ordinal)
    if kind == "vcf":
        fits = category == Category.GERMLINE_VARIANTS and ordinal in (0, 1)
    else:
        wanted = GENETIC_RESULTS if category == Category.GERMLINE_VARIANTS else 0
        fits = category in range(CATEGORIES) and ordinal == wanted
    if subject not in subjects or not fits or place in seen:
        raise _unsafe()
    seen.add(place)


def _subjects(asked: Mapping[str, Any]) -> set[str]:
    request = asked["request"]
    if asked["kind"] == "vcf":
        return set(request["subjects"].values())
    return (
        {subject for subject, _, _ in request["bundles"]}
        if "bundles" in request
        else {request["subject"]}
    )


def _descriptor(file: BinaryIO | int) -> tuple[int, bool]:
    """A descriptor that can only be read, from its beginning, and whether it is ours to close. Raises UsageError."""
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
    """The same file, for reading only: the child could otherwise write into it. Raises OSError."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def _descriptor_of(file: BinaryIO) -> int | None:
    try:
        return file.fileno()
    except UnsupportedOperation:  # bytes in memory
        return None


def _copy(stream: BinaryIO) -> int:
    """A file in memory with what the stream gives. Raises UsageError."""
    memory = os.memfd_create("lane", os.MFD_CLOEXEC)
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
