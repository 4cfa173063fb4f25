"""Hundreds of malformed genomes and clinical records, each through the real parser sandbox: refused
or fully taken. What is wrong with one resource of a clinical record holds back that one, and the
report says so.

For each: the parent lives, nothing is reached over a network, no row is lost in silence, 2 s, 64
MB. A child is a fork of one process that has loaded the readers (a start of its own takes 0.4 s);
it runs the parser's own `main` under its own limits and confinement.
"""

from __future__ import annotations

import gzip as packing
import io
import json
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fhir_files as fhir
import pytest
import vcf_files as vcf
from extent import extent
from speed import allowed

from api.confinement import Confinement
from api.confinement.launching import launch, pid_of
from api.errors import UsageError
from api.ingest import parser_sandbox as sandbox

SUBJECT = "a" * 64
SECONDS, GROWTH = 4.0, 128 << 20  # a person's files may have 64 MiB
MUTANTS = extent(4, 2000)
SYNTHEA = Path(__file__).parents[1] / "data" / "synthea"
CANARY = "zq"  # stands in what the hostile inputs hold, and in no message
SERVER = """
import gc, os, signal, socket, sys
import analytics.readers.fhir, analytics.readers.vcf.split
from analytics.readers.resources import PROFILES
from api.ingest import parser as lanechild
from api.confinement.inside import Forks
from fhir.resources.R4B import get_fhir_model_class
for kind in ("Patient", *PROFILES):
    get_fhir_model_class(kind)
gc.freeze()  # what is loaded stays, and no child looks through it
requests, forks = socket.socket(fileno=int(sys.argv[1])), Forks()
while True:
    said, received, _, _ = socket.recv_fds(requests, 16, 3)
    if not said:
        break
    if not received:  # the pid of one that is over: how did it end, and how large was it?
        _, status, used = os.wait4(int(said), 0)
        seconds = used.ru_utime + used.ru_stime
        requests.send(f"{os.waitstatus_to_exitcode(status)} {used.ru_maxrss} {seconds}".encode())
        continue
    pid = forks.fork()
    if not pid:
        requests.close()
        for source, target in zip(received, (0, 1, int(said))):
            os.dup2(source, target)
        os._exit(lanechild.main(sys.argv[2]))
    process = os.pidfd_open(pid)
    socket.send_fds(requests, [str(pid).encode()], [process])
    for one in (process, *received):
        os.close(one)
"""


class Warm:
    """The process that has loaded the readers; `used` is (exit status, bytes, seconds of CPU) of
    the last child.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            confinement = Confinement()
            self.process = launch(
                [
                    sys.executable,
                    "-I",
                    "-c",
                    SERVER,
                    str(theirs.fileno()),
                    confinement.encode(),
                ],
                confinement,
                descriptors=(theirs.fileno(),),
            )
        self.used = (0, 0, 0.0)

    def fork(self, *descriptors: int) -> tuple[int, int]:
        """Its pid in the server's namespace, and its process descriptor."""
        socket.send_fds(self._socket, [str(descriptors[-1]).encode()], descriptors)
        answer, received, _, _ = socket.recv_fds(self._socket, 16, 1)
        return int(answer), received[0]

    def bury(self, pid: int) -> None:
        self._socket.send(str(pid).encode())
        status, kilobytes, seconds = self._socket.recv(64).split()
        self.used = int(status), int(kilobytes) * 1024, float(seconds)

    def counted(self, protocol: str, name: str) -> int:
        """A counter of the namespace that all children share (/proc/…/net/snmp)."""
        lines = Path(f"/proc/{self.process.pid}/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith(f"{protocol}:"))
        return int(values[names.index(name)])

    def end(self) -> None:
        self._socket.close()
        self.process.end()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    started = Warm()
    yield started
    started.end()


@pytest.fixture
def forked(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> Warm:
    """The parser sandbox with forks for children."""
    monkeypatch.setattr(sandbox, "_Parser", parser_of(warm))
    return warm


def parser_of(warm: Warm) -> type[sandbox._Parser]:
    """The parser sandbox's end of a child that is a fork of `warm`."""

    class Parser(sandbox._Parser):
        def __init__(self, descriptor: int, confinement: Confinement) -> None:
            assert confinement == Confinement()
            to_child, ours_out = os.pipe()
            ours_in, from_child = os.pipe()
            self._pid, self._descriptor = warm.fork(to_child, from_child, descriptor)
            os.close(to_child)
            os.close(from_child)
            os.set_blocking(ours_out, False)
            self._confinement, self._left = confinement, sandbox.WAIT
            self._process: Any = SimpleNamespace(
                pid=pid_of(self._descriptor),
                stdin=io.FileIO(ours_out, "w"),
                stdout=io.FileIO(ours_in, "r"),
            )

        def end(self) -> None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            os.close(self._descriptor)
            warm.bury(self._pid)
            self._process.stdin.close()
            self._process.stdout.close()

    return Parser


@dataclass
class Table:
    """What became of each input of a table; `wrong` says what should not have been."""

    warm: Warm
    base: int  # bytes of a child that read the good file
    refused: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # of those taken: why resources were not
    wrong: dict[str, str] = field(default_factory=dict)
    seconds: float = field(default_factory=lambda: allowed(SECONDS, time.process_time))
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    def add(
        self,
        name: str,
        kind: sandbox.Kind,
        data: bytes,
        request: Mapping[str, Any],
        expected: str | None,
    ) -> None:
        """expected: what its refusal, or the report of what was held back, must say; None where it
        says nothing.
        """
        frames: list[sandbox.Frame] = []
        try:
            frames.extend(sandbox.split(kind, io.BytesIO(data), request))
        except UsageError as error:
            self.refused[name] = str(error)
            self._check(
                name,
                "records came before the refusal",
                all(header["say"] != "record" for header, _ in frames),
            )
            self._check(name, f"no plain sentence: {error}", plain(error))
            self._check(
                name,
                f"said: {error}",
                expected is None or re.search(expected, str(error)) is not None,
            )
        except Exception as error:
            self.wrong[name] = f"raised {type(error).__name__}"
        else:
            self.taken.append(name)
            reasons = held_back(frames) if kind == "fhir" else ""
            if reasons:
                self.left_out[name] = reasons
            fits = expected is None or re.search(expected, reasons) is not None
            self._check(name, f"was taken; held back: {reasons}", fits)
            self._check(name, f"the report says {reasons}", CANARY not in reasons)
            count = vcf_lost if kind == "vcf" else bundle_lost
            self._check(name, "rows were lost in silence", not count(data, frames))
        status, size, seconds = self.warm.used  # of CPU: others may keep the machine busy
        self.slowest = max(self.slowest, (seconds, name))
        self.largest = max(self.largest, (size - self.base, name))
        self._check(name, f"took {seconds:.1f} s", seconds <= self.seconds)
        self._check(name, f"grew by {(size - self.base) >> 20} MB", size - self.base <= GROWTH)
        self._check(
            name, f"its reader ended by signal {-status}", status in (0, 1, -9)
        )  # -9 is ours

    def _check(self, name: str, what: str, holds: bool) -> None:
        if not holds:
            self.wrong[name] = f"{self.wrong.get(name, '')} {what}".strip()

    def __str__(self) -> str:
        return (
            f"{len(self.refused)} refused, {len(self.taken)} taken, {len(self.left_out)} of them with something held "
            f"back; slowest {self.slowest[0]:.2f} s "
            f"({self.slowest[1]}), largest growth {self.largest[0] / 2**20:.1f} MB ({self.largest[1]})"
        )


def plain(error: UsageError) -> bool:
    """A sentence for people: no value of the file, no path, nothing of Python."""
    words = f"{error} {error.hint}"
    strange = re.search(
        r"Traceback|Error\b|0x[0-9a-f]|[^\x20-\x7e…]|/(?:work|tmp|proc|home)|\.py", words
    )
    return not strange and CANARY not in words and 20 < len(words) < 400 and bool(error.hint)


def vcf_lost(data: bytes, frames: list[sandbox.Frame]) -> bool:
    """Whether a row of the file is in nobody's own file, or in no count of the report."""
    text = packing.decompress(data) if data[:2] == b"\x1f\x8b" else data
    rows = sum(1 for line in text.split(b"\n") if line and not line.startswith(b"#"))
    report = frames[-1][0]["report"]
    sources = [
        blobs[0] for header, blobs in frames if header["say"] == "record" and header["ordinal"] == 0
    ]
    own = {
        sum(1 for line in packing.decompress(source).split(b"\n") if line and line[:1] != b"#")
        for source in sources
    }
    counted = report["packed_records"] + sum(report["skipped"].values())
    return not (
        own == {rows} and report["records"] == rows == counted and len(sources) == report["people"]
    )


def held_back(frames: list[sandbox.Frame]) -> str:
    """Every reason for which a resource of the bundle was held back."""
    (report,) = frames[-1][0]["report"].values()
    return "; ".join(report["held back"])


def bundle_lost(data: bytes, frames: list[sandbox.Frame]) -> bool:
    """Whether a resource of the bundle is neither in a record nor counted as held back or not
    taken.
    """
    (report,) = frames[-1][0]["report"].values()
    refused, left = (sum(report[part].values()) for part in ("held back", "not taken"))
    records = [blobs[0] for header, blobs in frames if header["say"] == "record"]
    kept = sum(len(json.loads(record)["entry"]) for record in records)
    assert b"<script" not in b"".join(records)
    entries = json.loads(data, parse_int=str)["entry"]  # Python refuses an integer of 5,000 digits
    return len(entries) != kept + refused + left or kept != sum(report["kept"].values())


CLINICAL_RECORD = packing.decompress((SYNTHEA / "p4.json.gz").read_bytes())
GENOMES, NAMES = vcf.rich()
ASKED = {"subjects": vcf.subjects(NAMES), "build": vcf.BUILD}


@pytest.mark.campaign
def test_malformed_genomes(forked: Warm, record_property: Any) -> None:
    list(sandbox.split("vcf", io.BytesIO(GENOMES), ASKED))
    table = Table(forked, forked.used[1])
    bad = vcf.malformed()
    for name, (data, expected) in bad.items():
        build = name.split()[0] if name.endswith("was asked") else vcf.BUILD
        table.add(name, "vcf", data, ASKED | {"build": build}, expected)
    for seed in range(MUTANTS):
        table.add(f"mutant {seed}", "vcf", vcf.mutant(seed), ASKED, None)
    for n, path in enumerate(sorted(SYNTHEA.glob("*.vcf.gz"))):
        small, rng = path.read_bytes(), random.Random(n)
        sample = (
            packing.decompress(small).decode().split("#CHROM")[1].split("\n")[0].split("\t")[-1]
        )
        request = {"subjects": {sample: SUBJECT}, "build": vcf.BUILD}
        for k in range(10):
            deployment = rng.randrange(len(small))
            table.add(
                f"{path.name} {k}",
                "vcf",
                small[:deployment] + rng.randbytes(k % 3) + small[deployment + 1 :],
                request,
                None,
            )
    crowd = ASKED | {"subjects": vcf.subjects(vcf.CROWD)}
    for name, (data, expected) in (crowded := vcf.crowded()).items():
        table.add(f"crowd: {name}", "vcf", data, crowd, expected)
    finish(table, forked, record_property, len(bad) + MUTANTS + 30 + len(crowded))


def finish(table: Table, warm: Warm, record_property: Any, inputs: int) -> None:
    print(table)
    record_property("table", str(table))
    assert not table.wrong, f"{table}\n" + "\n".join(
        f"{name}: {what}" for name, what in table.wrong.items()
    )
    assert len(table.refused) + len(table.taken) == inputs
    assert len(table.refused) + len(table.left_out) >= extent(82, 200)
    # No refusal is the answer for a reader that met a fault of its own.
    assert [name for name, sentence in table.refused.items() if "read safely" in sentence] == []
    assert warm.process.alive
    assert (warm.counted("Tcp", "ActiveOpens"), warm.counted("Udp", "OutDatagrams")) == (0, 0)
    assert warm.counted("Ip", "OutNoRoutes") == 0, "somebody tried to reach an address"


@pytest.mark.campaign
def test_malformed_clinical_records(forked: Warm, record_property: Any) -> None:
    asked = {"subject": SUBJECT}
    list(sandbox.split("fhir", io.BytesIO(CLINICAL_RECORD), asked))
    table = Table(forked, forked.used[1])
    bad = fhir.malformed(CLINICAL_RECORD)
    for name, (data, expected) in bad.items():
        table.add(name, "fhir", data, asked, expected)
    small = fhir.bundle(
        fhir.condition((fhir.CM, "C50.911"), id="c"),
        fhir.observation(id="o"),
        fhir.procedure(),
        fhir.order((fhir.ATC, "L01EX02")),
        fhir.observation(valueQuantity=fhir.NUMBER),
        fhir.condition((fhir.CM, "B20")),
    )
    for seed in range(MUTANTS):
        table.add(
            f"mutant {seed}",
            "fhir",
            fhir.mutant(seed, small if seed % 4 else CLINICAL_RECORD),
            asked,
            None,
        )
    finish(table, forked, record_property, len(bad) + MUTANTS)


# -- each control is shown to be one: what it looks for is there when it should be


def test_a_reader_that_connects_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = "import socket\nfrom contextlib import suppress\nwith suppress(OSError):\n    "
    monkeypatch.setitem(
        globals(), "SERVER", tries + "socket.create_connection(('192.0.2.1', 9), 1)\n" + SERVER
    )
    started = Warm()
    pid, process = started.fork(
        *(os.open("/dev/null", os.O_RDWR) for _ in range(3))
    )  # answers: what comes before has happened
    os.close(process)
    started.bury(pid)
    assert started.counted("Ip", "OutNoRoutes") == 1
    interfaces = Path(f"/proc/{started.process.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert (
        interfaces[0].split(":")[1].split().count("0") == 16
    )  # nothing was ever sent or received, not even to itself
    started.end()


def test_a_lost_row_is_seen() -> None:
    frames = list(sandbox.split("vcf", io.BytesIO(GENOMES), ASKED))
    assert not vcf_lost(GENOMES, frames)
    assert vcf_lost(GENOMES + (vcf.row("2:9999", "0/0", "0/0", "0/1") + "\n").encode(), frames)
    lost = [
        (
            header,
            [packing.compress(packing.decompress(blobs[0]).rsplit(b"\n", 2)[0])]
            if "ordinal" in header and not header["ordinal"]
            else blobs,
        )
        for header, blobs in frames
    ]
    assert vcf_lost(GENOMES, lost)
    frames = list(sandbox.split("fhir", io.BytesIO(CLINICAL_RECORD), {"subject": SUBJECT}))
    assert not bundle_lost(CLINICAL_RECORD, frames)
    assert bundle_lost(fhir.bundle_with({}), frames)


def test_a_reader_that_crashes_or_grows_is_seen(
    forked: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(sandbox.split("vcf", io.BytesIO(GENOMES), ASKED))
    table = Table(forked, forked.used[1] - 2 * GROWTH, seconds=0.0)
    table.add("large and slow", "vcf", b"zq", ASKED, "something else")
    assert [word in table.wrong["large and slow"] for word in ("said", "took", "grew")] == [
        True
    ] * 3
    crash = "import ctypes\nlanechild.read_frame = lambda source: ctypes.string_at(0)\n"
    monkeypatch.setitem(
        globals(), "SERVER", SERVER.replace("requests, forks", crash + "requests, forks")
    )
    crashing = Warm()
    monkeypatch.setattr(sandbox, "_Parser", parser_of(crashing))
    table = Table(crashing, forked.used[1])
    table.add("crash", "vcf", GENOMES, ASKED, None)
    assert "its reader ended by signal 11" in table.wrong["crash"]
    crashing.end()
