"""The parser sandbox: no network, bounded resources, and complete results or none."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from families import Population
from vcf_files import cohort, gzip, header, in_memory, of_dosages, row, subjects, text

from analytics.dictionary import describe
from analytics.readers.clinical import ClinicalRecord
from analytics.readers.fhir import NOTES
from analytics.readers.genotypes import is_genotypes
from analytics.readers.vcf.calls import VcfReport
from api.confinement import Confinement, Layer
from api.errors import UsageError
from api.ingest import cohort_files as cohort_files
from api.ingest import parser_sandbox as sandbox

DATA, NAMES, DOSAGE = cohort(4, 50)
REQUEST = {"subjects": subjects(NAMES), "build": "GRCh38"}
ADA, BEN = "a" * 64, "b" * 64
OPEN = Confinement(Layer(0), Layer(0))  # no layer at all: the control of each attack


def program(lines: str) -> str:
    """A child with `lines` put between its imports and its work."""
    return f"""
import os, socket, sys, time
from api.ingest import parser as lanechild
from api.worker import frames as pipe
{lines}
sys.exit(lanechild.main())
"""


def answering(lines: str) -> str:
    """A child that answers any request with `lines`, where `sink` takes frames."""
    body = "\n".join(f"    {line}" for line in lines.splitlines())
    return program(f"def answer(sink, descriptor, request):\n{body}\nlanechild.split_file = answer")


@pytest.fixture
def memory_file() -> Iterator[int]:
    descriptor = in_memory(DATA)
    yield descriptor
    os.close(descriptor)


def records(frames: list[sandbox.Frame]) -> dict[tuple[str, int, int], bytes]:
    return {
        (message["subject"], message["category"], message["ordinal"]): blobs[0]
        for message, blobs in frames
        if message["say"] == "record"
    }


def unsafe(file: int, request: dict[str, Any] = REQUEST) -> None:
    with pytest.raises(UsageError, match="could not be read safely"):
        list(sandbox.split("vcf", file, request))


def test_a_cohort_is_split(memory_file: int, tmp_path: Path) -> None:
    frames = list(sandbox.split("vcf", memory_file, REQUEST))
    received = records(frames)
    assert set(received) == {
        (subject, 5, ordinal) for subject in REQUEST["subjects"].values() for ordinal in (0, 1)
    }
    for (_, _, ordinal), payload in received.items():
        assert is_genotypes(payload) == (ordinal == 1)
        if ordinal == 0:
            assert zlib.decompress(payload, 31).startswith(b"##fileformat=VCF")
    done, _ = frames[-1]
    assert done["say"] == "done"
    assert (done["report"]["people"], done["report"]["packed_rows"]) == (4, 50)
    path = tmp_path / "cohort.vcf.gz"
    path.write_bytes(gzip(DATA))
    with path.open("rb") as file:
        file.read(100)  # wherever it stands
        assert set(records(list(sandbox.split("vcf", file, REQUEST)))) == set(received)


def test_a_pipe_and_bytes_are_read_too() -> None:
    ours, theirs = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(theirs, DATA), os.close(theirs)))
    writer.start()
    assert len(records(list(sandbox.split("vcf", ours, REQUEST)))) == 8
    writer.join()
    os.close(ours)
    assert len(records(list(sandbox.split("vcf", io.BytesIO(DATA), REQUEST)))) == 8


def test_an_endless_pipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_FILE", 100)
    with pytest.raises(UsageError, match="larger than is allowed"):
        list(sandbox.split("vcf", io.BytesIO(DATA), REQUEST))


@pytest.mark.parametrize("passes", [1, 3])
def test_copies_and_relatives_are_reported(monkeypatch: pytest.MonkeyPatch, passes: int) -> None:
    """Counts in the report, which the service keeps; ids beside it, for the custodian alone."""
    population = Population(3, 30)
    p = population
    mother, father = p.founder(), p.founder()
    people = [
        mother,
        p.child(mother, father),
        p.founder(),
        mother,
        *(p.founder() for _ in range(5)),
    ]
    dosage = p.genotypes(*people)
    data = of_dosages(dosage, p.chromosome, p.position)
    if passes > 1:
        smaller = f"from analytics.readers.vcf import split\nsplit.MEMORY = {len(data) * 3 // 4}"
        monkeypatch.setattr(sandbox, "PROGRAM", program(smaller))
    names = subjects([f"P{i}" for i in range(9)])
    frames = list(sandbox.split("vcf", io.BytesIO(data), {"subjects": names, "build": "GRCh38"}))
    (done,) = (message for message, _ in frames if message["say"] == "done")
    report = done["report"]
    assert (report["copies"], report["first_degree"], report["second_degree"]) == (1, 2, 0)
    assert report["kinship"] == 4
    assert done["copies"] == [[names["P0"], names["P3"]]]
    sentences = "\n".join(cohort_files.sentences({"vcf": report}))
    assert "the same genome under two ids: 1 pairs" in sentences
    assert "relatives of the first degree: 2 pairs" in sentences
    assert names["P0"] not in sentences
    fractions = [message["fraction"] for message, _ in frames if message["say"] == "progress"]
    assert fractions == sorted(fractions)
    without = dosage[[0, 2, 4, 5, 6, 7, 8]]
    clean = of_dosages(without, p.chromosome, p.position)
    some = {"subjects": subjects([f"P{i}" for i in range(7)]), "build": "GRCh38"}
    (done,) = (
        message
        for message, _ in sandbox.split("vcf", io.BytesIO(clean), some)
        if "report" in message
    )
    assert (done["copies"], done["report"]["copies"], done["report"]["first_degree"]) == ([], 0, 0)


def test_calls_that_their_caller_marked_as_failed_are_said() -> None:
    calls = ["0/1:LowGQ", "0/1:PASS", "0/0:.", "1/1:LowGQ"]
    data = text([*header(NAMES), row("1:5", *calls, format_="GT:FT")])
    frames = list(sandbox.split("vcf", io.BytesIO(data), REQUEST))
    (report,) = (message["report"] for message, _ in frames if "report" in message)
    sentences = "\n".join(cohort_files.sentences({"vcf": report}))
    assert "marked as failed by their caller (FT): 2 calls; taken for missing" in sentences


def test_what_the_reader_refuses_is_said(memory_file: int) -> None:
    with pytest.raises(UsageError, match="another genome build") as caught:
        list(sandbox.split("vcf", memory_file, {**REQUEST, "build": "GRCh37"}))
    assert "positions are never converted" in caught.value.hint


def test_nothing_is_said_before_the_whole_file_was_checked() -> None:
    bad = in_memory(DATA + (row("2:999999", *["0/7"] * 4) + "\n").encode())
    frames = sandbox.split("vcf", bad, REQUEST)
    received = []
    with pytest.raises(UsageError, match="an allele that its row does not have"):
        received.extend(frames)
    os.close(bad)
    assert all(header["say"] != "record" for header, _ in received)


@pytest.fixture
def any_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed child's sentence as it is: how these tests hear from it."""
    monkeypatch.setattr(
        sandbox, "failure_of", lambda answer, _: (answer["message"], answer["hint"])
    )


@pytest.mark.usefixtures("any_words")
def test_the_child_reaches_no_network(memory_file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    tries = f"""
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2)
    reached = True
except OSError:
    reached = False
raise lanechild.PayloadError(f"reached {{reached}}")"""
    monkeypatch.setattr(sandbox, "PROGRAM", answering(tries))
    network = Layer.NETWORK  # alone: the namespace, without the filter of system calls
    for confinement in (Confinement(), Confinement(network, network)):
        with pytest.raises(UsageError, match="reached False"):
            list(sandbox.split("vcf", memory_file, REQUEST, confinement))
    with pytest.raises(UsageError, match="reached True"):
        list(sandbox.split("vcf", memory_file, REQUEST, OPEN))
    listening.close()


@pytest.mark.usefixtures("any_words")
def test_the_child_has_no_environment_of_ours(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setattr(
        sandbox, "PROGRAM", answering("raise lanechild.PayloadError(' '.join(sorted(os.environ)))")
    )
    with pytest.raises(UsageError) as caught:
        list(sandbox.split("vcf", memory_file, REQUEST))
    assert "SECRET" not in str(caught.value)
    assert "PATH" in str(caught.value)


def test_the_child_writes_no_file(
    memory_file: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = f"""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
open({str(tmp_path / "leak")!r}, 'wb', 0).write(b'x')"""
    monkeypatch.setattr(sandbox, "PROGRAM", answering(lines))
    unsafe(memory_file)
    assert not (tmp_path / "leak").exists()
    with pytest.raises(UsageError, match="could not be read safely"):  # its limit of 0 bytes alone
        list(sandbox.split("vcf", memory_file, REQUEST, OPEN))
    assert (tmp_path / "leak").read_bytes() == b""


@pytest.mark.parametrize(
    "fault",
    [
        "os.kill(os.getpid(), 11)",
        "os._exit(0)",
        "os.abort()",
        "import ctypes; ctypes.string_at(0)",
        "raise KeyError('canary')",
        "os.write(1, b'garbage' * 9)",
        "sink.write(b'\\0\\0\\0\\2[]'); sink.flush()",
        "os.write(1, (2 << 20).to_bytes(4, 'big') + b'[' * (2 << 20))",
    ],
)
def test_a_child_that_crashes_costs_nothing_else(
    memory_file: int, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", answering(fault))
    unsafe(memory_file)


def children() -> set[str]:
    """Children of ours that parse; other tests of this process may keep parts of their own running."""
    pids = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
            parses = b"lanechild" in path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent == str(os.getpid()) and parses:
            pids.add(path.parent.name)
    return pids


@pytest.mark.parametrize("where", ["main", "answer"])
def test_a_child_that_hangs_is_ended(
    memory_file: int, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = children()
    monkeypatch.setattr(sandbox, "SILENCE", 1.5)
    hang = "time.sleep(600)"
    monkeypatch.setattr(sandbox, "PROGRAM", program(hang) if where == "main" else answering(hang))
    start = time.monotonic()
    unsafe(memory_file)
    assert time.monotonic() - start < 10
    until = time.monotonic() + 5  # the system may take a moment to bury it
    while children() - before and time.monotonic() < until:
        time.sleep(0.01)
    assert children() <= before


@pytest.mark.parametrize(
    "frame",
    [
        "'fraction': 'BRCA1 c.68_69delAG, Ada Lovelace'",
        "'fraction': ['BRCA1']",
        "'fraction': True",
        "'fraction': 68.69",
        "'fraction': 0.5, 'of': 'Ada Lovelace'",
        "'of': 'Ada Lovelace'",
    ],
)
def test_progress_is_a_share_of_the_file_and_nothing_else(
    memory_file: int, monkeypatch: pytest.MonkeyPatch, frame: str
) -> None:
    message = f"pipe.write_frame(sink, {{'say': 'progress', {frame}}})\ntime.sleep(600)"
    monkeypatch.setattr(sandbox, "PROGRAM", answering(message))
    unsafe(memory_file)


def test_a_child_that_sends_byte_by_byte_is_ended(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "WAIT", 2.0)
    drip = "while True:\n    pipe.write_frame(sink, {'say': 'progress', 'fraction': 0.1})\n    time.sleep(0.2)"
    monkeypatch.setattr(sandbox, "PROGRAM", answering(drip))
    start = time.monotonic()
    unsafe(memory_file)
    assert time.monotonic() - start < 10


def test_a_child_that_takes_nothing_is_ended(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SILENCE", 1.5)
    monkeypatch.setattr(
        sandbox, "PROGRAM", program("lanechild.read_frame = lambda source: time.sleep(600)")
    )
    large = {"subjects": {f"P{i}" * 50: f"{i:064x}" for i in range(2_000)}, "build": "GRCh38"}
    unsafe(memory_file, large)


def test_the_child_ends_with_its_listener(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = "pipe.write_frame(sink, {'say': 'progress', 'fraction': 0.1})\ntime.sleep(600)"
    monkeypatch.setattr(sandbox, "PROGRAM", answering(wait))
    before = children()
    frames = sandbox.split("vcf", memory_file, REQUEST)
    next(frames)
    assert len(children() - before) == 1
    frames.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 5  # the system may take a moment to bury it
    while children() - before and time.monotonic() < until:
        time.sleep(0.01)
    assert children() <= before
    os.fstat(memory_file)  # the caller's stays open


def test_memory_is_bounded(memory_file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", answering("bytearray(4 << 30)"))
    with pytest.raises(UsageError, match="more memory"):
        list(sandbox.split("vcf", memory_file, REQUEST))


def test_a_bomb_is_refused() -> None:
    two = {"subjects": subjects(("a", "b")), "build": "GRCh38"}
    bomb = gzip(text(header(("a", "b"))) + (row("1:5", "0/1", "0/0") + "\n").encode() * 700_000, 9)
    with pytest.raises(UsageError, match="inflates to more"):
        list(sandbox.split("vcf", io.BytesIO(bomb), two))


def record(**change: Any) -> str:
    message = {"say": "record", "subject": f"{1:064x}", "category": 5, "ordinal": 0, **change}
    return f"pipe.write_frame(sink, {message!r}, b'x')"


COUNTS: dict[str, Any] = VcfReport().to_json()
CLINICAL_RECORD: dict[str, Any] = {
    "type": "volens/split/1",
    "seen": 5,
    "kept": {"0": 1},
    "held back": {"no code": 2, "not valid FHIR R4: Observation.code.coding": 1},
    "not taken": {"Encounter": 1},
    "values": {"read": 3, "unknown unit": 1},
    "notes": list(NOTES),
}
EVERYTHING = "\n".join(record(subject=f"{i:064x}", ordinal=n) for i in range(1, 5) for n in (0, 1))


@pytest.mark.parametrize(
    "message",
    [
        record(subject="0" * 64),
        record(subject=["x"]),
        record(category=6),
        record(category=True),
        record(ordinal=2),
        record() + "\n" + record(),
        "pipe.write_frame(sink, {'say': 'more'})",
        record().replace(", b'x')", ")"),
        record().replace(", b'x')", ", b'x', b'y')"),
        EVERYTHING
        + f"\nreturn {{'records': 7, 'report': {COUNTS!r}, 'copies': [], 'females': {{}}}}",
        *(
            EVERYTHING
            + f"\nreturn {{'records': 8, 'report': {report!r}, 'copies': [], 'females': {{}}}}"
            for report in (
                {},
                COUNTS | {"people": "hers"},
                COUNTS | {"people": -1},
                COUNTS | {"people": True},
                COUNTS | {"hers": 1},
                COUNTS | {"skipped": {"hers": 1}},
            )
        ),
        EVERYTHING
        + f"\nreturn {{'records': 8, 'report': {COUNTS!r}, 'copies': [], 'females': {{}}, 'x': {{'y': 'hers'}}}}",
        *(
            EVERYTHING
            + f"\nreturn {{'records': 8, 'report': {COUNTS!r}, 'copies': [], 'females': {females!r}}}"
            for females in ([], {"hers": True}, {f"{1:064x}": "hers"}, {f"{1:064x}": 1})
        ),
        *(
            EVERYTHING
            + f"\nreturn {{'records': 8, 'report': {COUNTS | {'copies': 1}!r}, 'copies': {copies!r}, 'females': {{}}}}"
            for copies in (
                [],
                [[f"{1:064x}", "hers"]],
                [[f"{1:064x}", f"{1:064x}"]],
                [[f"{1:064x}", [f"{2:064x}"]]],
                [[f"{1:064x}", f"{2:064x}"]] * 2,
                "hers",
            )
        ),
        EVERYTHING + f"\nreturn {{'records': 8, 'report': {COUNTS!r}}}",
        EVERYTHING + "\nreturn {'records': 8}",
        record() + "\nreturn {'records': 1, 'report': {}}",
    ],
)
def test_the_childs_messages_are_not_trusted(
    memory_file: int, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(
        sandbox,
        "PROGRAM",
        answering(message if "return" in message else message + "\ntime.sleep(600)"),
    )
    began = time.monotonic()
    unsafe(memory_file)
    assert time.monotonic() - began < 30, "it was given up for its silence, not for what it said"


def test_a_child_has_bounds_and_no_debugger(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = """
limits = [resource.getrlimit(one) for one in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)]
bound = limits == [(1800, 1800), (3 << 30, 3 << 30), (0, 0)] and dumpable == [0]
"""
    # Whether it may be debugged is asked before its confinement, which refuses to ask.
    asked = """
import ctypes, resource
dumpable, confine = [], lanechild.confine
def asking(confinement):
    dumpable.append(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    return confine(confinement)
lanechild.confine = asking
"""
    ended = f"return {{'records': 8 * bound, 'report': {COUNTS!r}, 'copies': [], 'females': {{}}}}"
    answer = answering(f"{checked}\n{EVERYTHING}\n{ended}")
    program_of_it = answer.replace("\ndef answer", f"\n{asked}\ndef answer")
    monkeypatch.setattr(sandbox, "PROGRAM", program_of_it)
    assert len(records(list(sandbox.split("vcf", memory_file, REQUEST)))) == 8


def test_the_control_of_a_lying_child_is_accepted(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = COUNTS | {"copies": 1}
    copies = [[f"{1:064x}", f"{2:064x}"]]
    ended = (
        f"\nreturn {{'records': 8, 'report': {report!r}, 'copies': {copies!r}, 'females': {{}}}}"
    )
    monkeypatch.setattr(sandbox, "PROGRAM", answering(EVERYTHING + ended))
    assert len(records(list(sandbox.split("vcf", memory_file, REQUEST)))) == 8


# -- FHIR bundles; the reader is tested where it is, so a small one stands in for it here

READER = program(
    """
import types
from analytics.errors import PayloadError
CHART = """
    + repr(CLINICAL_RECORD)
    + """
def report(kept):
    return dict(CHART, kept={"2": kept}, seen=kept + 4)
def split_files(payloads, lines, subject, *_):
    payload = b"".join(payloads)
    if payload == b"bad":
        raise PayloadError("FHIR bundle: it holds no Patient", "Export the patient with the records.")
    records = {2: payload, 0: subject.encode()}
    return types.SimpleNamespace(records=records, report=report(len(payload)), unknown=set())
sys.modules["analytics.readers.fhir"] = types.ModuleType("fhir")
sys.modules["analytics.readers.fhir"].split_files = split_files
from analytics.readers import clinical
clinical.read_clinical_record = lambda records, subject: clinical.ClinicalRecord(
    1960, True, (), (), None
)
"""
)


def test_bundles_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", READER)
    frames = list(sandbox.split("fhir", io.BytesIO(b"one"), {"subject": ADA}))
    assert records(frames) == {(ADA, 0, 0): ADA.encode(), (ADA, 2, 0): b"one"}
    assert frames[-1][0]["report"] == {ADA: CLINICAL_RECORD | {"kept": {"2": 3}, "seen": 7}}
    request = {"bundles": [[ADA, 0, 3], [BEN, 3, 4]]}
    frames = list(sandbox.split("fhir", io.BytesIO(b"onefour"), request))
    assert records(frames)[BEN, 2, 0] == b"four"
    assert len(records(frames)) == frames[-1][0]["records"] == 4
    assert frames[-1][0]["dictionary"]["type"] == "volens/dictionary/1"


DICTIONARY: dict[str, Any] = describe([ClinicalRecord(1960, True, (), (), None)], 0)
RESULT = """
EXPORT = {{"lines": 0, "unlisted": 0, "unlisted_people": 0, "nobody": {{}}}}
def answer(sink, descriptor, request):
    pipe.write_frame(
        sink, {{"say": "record", "subject": request["subject"], "category": {0}, "ordinal": {1}}}, b"x"
    )
    report, dictionary = {2}
    export = request.get("export", EXPORT)
    told = {{"report": report, "export": export, "dictionary": dictionary, "females": {{}}}}
    unknown = request.get("told unknown", {{"codes": [], "others": 0}})
    return {{"records": 1, **told, "maps": request.get("told maps", []), "unknown": unknown}}
lanechild.split_bundles = answer
"""


@pytest.mark.parametrize("category", [0, 1, 5, 19])
@pytest.mark.parametrize("ordinal", [0, 1, 2, 3])
def test_genetic_results_have_a_place_of_their_own_beside_the_genome(
    monkeypatch: pytest.MonkeyPatch, category: int, ordinal: int
) -> None:
    """A clinical record's record could otherwise be registered as a newer version of the person's
    VCF.
    """
    monkeypatch.setattr(
        sandbox,
        "PROGRAM",
        program(RESULT.format(category, ordinal, ({ADA: CLINICAL_RECORD}, DICTIONARY))),
    )
    asked = {"subject": ADA}
    if ordinal == (2 if category == 5 else 0):
        frames = list(sandbox.split("fhir", io.BytesIO(b"one"), asked))
        assert set(records(frames)) == {(ADA, category, ordinal)}
    else:
        with pytest.raises(UsageError, match="could not be read safely"):
            list(sandbox.split("fhir", io.BytesIO(b"one"), asked))


def variable(**change: Any) -> dict[str, Any]:
    first, *others = DICTIONARY["variables"]
    return DICTIONARY | {"variables": [first | change, *others]}


HERS = "7.1 mmol/l, BRCA1 c.68_69del"


@pytest.mark.parametrize(
    ("report", "dictionary"),
    [
        ({HERS: CLINICAL_RECORD}, DICTIONARY),
        ({}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"type": HERS}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"hers": 1}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"seen": HERS}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"seen": 6}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"values": {"read": 1_600_001}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"seen": 400_004, "kept": {"0": 400_000}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"seen": 1 << 50, "kept": {"0": (1 << 50) - 4}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"kept": {HERS: 1}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"held back": {HERS: 3}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"held back": {f"no code: {HERS}": 3}}}, DICTIONARY),
        (
            {ADA: CLINICAL_RECORD | {"held back": {"not valid FHIR R4: Observation.hers": 3}}},
            DICTIONARY,
        ),
        # Every word is R4's own, and no place in R4 is called so: thousands of words would spell
        # her genome.
        (
            {ADA: CLINICAL_RECORD | {"held back": {"not valid FHIR R4: Observation.gender": 3}}},
            DICTIONARY,
        ),
        (
            {
                ADA: CLINICAL_RECORD
                | {"held back": {"not valid FHIR R4: Observation.code.valueAge.code": 3}}
            },
            DICTIONARY,
        ),
        (
            {ADA: CLINICAL_RECORD | {"held back": {"not valid FHIR R4: code.Observation": 3}}},
            DICTIONARY,
        ),
        ({ADA: CLINICAL_RECORD | {"held back": {"no code": HERS}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"not taken": {"Hers": 1}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"values": {HERS: 1}}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD | {"notes": [HERS]}}, DICTIONARY),
        ({ADA: CLINICAL_RECORD}, {"type": "volens/dictionary/1", "people": HERS}),
        ({ADA: CLINICAL_RECORD}, HERS),
        ({ADA: CLINICAL_RECORD}, DICTIONARY | {"note": HERS}),
        ({ADA: CLINICAL_RECORD}, DICTIONARY | {"people": 10}),
        ({ADA: CLINICAL_RECORD}, DICTIONARY | {"genotyped": 10}),
        ({ADA: CLINICAL_RECORD}, variable(people=10)),
        ({ADA: CLINICAL_RECORD}, variable(people=HERS)),
        ({ADA: CLINICAL_RECORD}, variable(unit=HERS)),
        ({ADA: CLINICAL_RECORD}, variable(variable=HERS)),
        ({ADA: CLINICAL_RECORD}, variable(completeness=55)),
        ({ADA: CLINICAL_RECORD}, variable(category=False)),
    ],
)
def test_report_and_dictionary_hold_known_words_only(
    monkeypatch: pytest.MonkeyPatch, report: Any, dictionary: Any
) -> None:
    """The custodian publishes the dictionary: a child that was taken over had put the clinical
    record into it.
    """
    monkeypatch.setattr(sandbox, "PROGRAM", program(RESULT.format(0, 0, (report, dictionary))))
    with pytest.raises(UsageError, match="could not be read safely"):
        list(sandbox.split("fhir", io.BytesIO(b"one"), {"subject": ADA}))


GOOD: dict[str, Any] = {
    "subject": ADA,
    "export": {"lines": 9, "unlisted": 0, "unlisted_people": 0, "nobody": {"Basic": 1}},
    "told unknown": {"codes": [["urn:x", "K 1", 1, False]], "others": 3},
}


def test_a_good_report_on_lines_and_codes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = program(RESULT.format(0, 0, ({ADA: CLINICAL_RECORD}, DICTIONARY)))
    monkeypatch.setattr(sandbox, "PROGRAM", forged)
    done = list(sandbox.split("fhir", io.BytesIO(b"one"), GOOD))[-1][0]
    assert (done["export"], done["unknown"]) == (GOOD["export"], GOOD["told unknown"])


@pytest.mark.parametrize(
    "change", [{"lines": HERS}, {"nobody": {HERS: 1}}, {"nobody": {"Basic": -1}}, {HERS: 1}]
)
def test_the_report_on_ndjson_holds_counts_only(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """It goes to the service with the rest of the report."""
    forged = program(RESULT.format(0, 0, ({ADA: CLINICAL_RECORD}, DICTIONARY)))
    monkeypatch.setattr(sandbox, "PROGRAM", forged)
    good = GOOD["export"]
    with pytest.raises(UsageError, match="could not be read safely"):
        list(sandbox.split("fhir", io.BytesIO(b"one"), {"subject": ADA, "export": good | change}))


@pytest.mark.parametrize(
    "change",
    [
        {"told maps": [{"codes": 1, "ambiguous": 0, "recognised": 0}]},  # no map was given
        {"told unknown": {"codes": [["urn:x", "K1", 2, False]], "others": 0}},  # of one person
        {"told unknown": {"codes": [["urn:x", "K1", True, False]], "others": 0}},
        {"told unknown": {"codes": [["urn:x", "K\x1b[31m1", 1, False]], "others": 0}},
        {"told unknown": {"codes": [["urn:x", "K" * 65, 1, False]], "others": 0}},
        {"told unknown": {"codes": [["urn:x", "K1", 1, "hers"]], "others": 0}},
        {"told unknown": {"codes": [["urn:x", "K1", 1, False]] * 1001, "others": 0}},
        {"told unknown": {"codes": [], "others": "hers"}},
        {"told unknown": {"codes": [], "others": 0, "more": HERS}},
    ],
)
def test_codes_without_a_meaning_fit_on_a_screen(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """They are the file's own words, so their form is checked: no control characters, bounded."""
    forged = program(RESULT.format(0, 0, ({ADA: CLINICAL_RECORD}, DICTIONARY)))
    monkeypatch.setattr(sandbox, "PROGRAM", forged)
    with pytest.raises(UsageError, match="could not be read safely"):
        list(sandbox.split("fhir", io.BytesIO(b"one"), GOOD | change))


def test_a_failed_child_says_the_readers_sentences_only(
    memory_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = "raise lanechild.PayloadError({0!r}, {0!r})"
    monkeypatch.setattr(sandbox, "PROGRAM", answering(fails.format(HERS)))
    with pytest.raises(UsageError, match="could not be read safely") as refused:
        list(sandbox.split("vcf", memory_file, REQUEST))
    assert HERS not in refused.value.hint
    whose = f"the clinical record of {BEN} cannot be taken: FHIR bundle: it holds no Patient"
    monkeypatch.setattr(sandbox, "PROGRAM", answering(fails.format(whose)))
    with pytest.raises(
        UsageError, match=r"^the clinical record of … cannot"
    ):  # Ben was not asked for
        list(sandbox.split("vcf", memory_file, REQUEST))
    known = f"raise lanechild.PayloadError('FHIR bundle: it has more values than {HERS}', {HERS!r})"
    monkeypatch.setattr(sandbox, "PROGRAM", answering(known))
    with pytest.raises(UsageError, match=r"^FHIR bundle: it has more values than …$") as refused:
        list(sandbox.split("vcf", memory_file, REQUEST))
    assert refused.value.hint == ""


def test_a_bad_bundle_is_named_and_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", READER)
    received = []
    with pytest.raises(
        UsageError,
        match=f"the clinical record of {BEN} cannot be taken: FHIR bundle: it holds no Patient",
    ):
        received.extend(
            sandbox.split("fhir", io.BytesIO(b"onebad"), {"bundles": [[ADA, 0, 3], [BEN, 3, 3]]})
        )
    assert all(header["say"] == "progress" for header, _ in received)


@pytest.mark.parametrize(
    ("bundles", "message"),
    [
        ([[ADA, 0, 9]], "shorter than declared"),
        ([[ADA, 0, 65 << 20]], "larger than is allowed"),
        ([[ADA, 0, 60 << 20]] * 9, "larger than is allowed"),
        ([[ADA, 0, 8 << 20]] * 9, "have more bytes together"),
    ],
)
def test_places_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, bundles: list[Any], message: str
) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", READER)
    with pytest.raises(UsageError, match=message):
        list(sandbox.split("fhir", io.BytesIO(b"one"), {"bundles": bundles}))
