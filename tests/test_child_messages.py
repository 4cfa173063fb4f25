"""A computing child's unencrypted messages: no text of its own reaches a page, the database or a
log.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rig import CHILDREN, PARAMS, Rig
from speed import allowed
from sqlalchemy import text
from test_withdrawal import SECONDS
from test_worker import wait_until

from analytics.canonical import dump_canonical
from analytics.errors import PayloadError
from analytics.params import complete
from api.worker import child_messages as childwords
from api.worker import sandbox as childprocess
from api.worker.child_messages import (
    UNKNOWN,
    Phases,
    Progress,
    UnknownWords,
    failure_of,
    output_of,
    record_of,
    rounded,
    steps_of,
)
from api.worker.frames import PipeClosed, read_frame
from api.worker.rehearsal import rehearse
from api.worker.sandbox import AttemptEnded, Child, ForkServer
from api.worker.supervisor import Worker
from governance.errors import ChunkRefused, ObjectMalformed
from governance.readmodel import queries as register


class Hostile(ForkServer):
    """Children whose models are somebody else's: what they decrypted stands in their words, by the
    run's seed.
    """

    PROGRAM = """
import json, os, time
from analytics.errors import AnalyticsError
from api.worker import compute as child
import analytics.run
from analytics.models import pipeline
pipeline.warm_up = lambda _: None  # no model is fitted here
def run(params, inputs, minimum, tell, device, earlier, noise_key):
    plain = b"".join(one.payload for one in inputs)[:10_000].decode("latin-1")
    match json.loads(params)["seed"]:
        case 1: tell(plain, 0.5)
        case 2: tell(["read", plain], 0.5)
        case 3: raise AnalyticsError(plain)
        case 5: raise AnalyticsError("part " + plain[:24] + " of the object is not the one that was written")
        case 6:
            for _ in range(50): tell("read", ord(plain[0]) / 256), tell("compute", 0.0)
        case 7: tell("filter", 1.0)
        case 4:
            os.write(1, (1 << 15).to_bytes(4, "big"))
            while True:
                os.write(1, b" ")
                time.sleep(0.2)
analytics.run.run = run
sys.exit(child.serve({descriptor}, {confinement!r}))
"""


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    children = Hostile()
    yield children
    children.end()


@pytest.mark.parametrize("seed", [1, 2, 3, 6, 7])
def test_a_hostile_child_says_nothing_of_anybody(
    rig: Rig, hostile: Hostile, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    params = dump_canonical(json.loads(PARAMS) | {"seed": seed})
    worker, asked = rig.worker(children=hostile), rig.request(params=params)
    worker.step()
    row = register.find_run(worker.engine, asked.hex())
    assert row.state == "authorised"
    assert register.failure_of(worker.engine, asked.hex()) == UNKNOWN
    canary = "volens/expression/1"
    with worker.engine.connect() as connection:
        for table in ("progress", "claims", "marks"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert canary not in str(rows)
    assert canary not in "".join(capfd.readouterr())


def test_half_a_frame_delays_no_withdrawal(rig: Rig, hostile: Hostile) -> None:
    """A child that says a frame byte by byte holds the plaintext for no longer than one that is
    silent.
    """
    params = dump_canonical(json.loads(PARAMS) | {"seed": 4})
    worker, asked = rig.worker(children=hostile), rig.request(params=params)
    hostile.warm()  # in the thread that lives longest: children die with it
    working = threading.Thread(target=worker.step)
    working.start()
    try:
        assert wait_until(lambda: "decrypted" in steps_reported(worker, asked), 30)
        time.sleep(0.5)  # it is in the middle of its frame
        assert "stopped" not in steps_reported(worker, asked)
        rig.world.revoke(rig.subjects[0])
        working.join(allowed(SECONDS))
        assert not working.is_alive()
        assert steps_reported(worker, asked)[-1] == "stopped"
    finally:
        if working.is_alive():
            hostile.end()  # and with it the child that still goes on
        working.join()


def steps_reported(worker: Worker, asked: bytes) -> list[str]:
    return [step.step for step in register.progress_of(worker.engine, asked.hex())]


def saying(frame: bytes, monkeypatch: pytest.MonkeyPatch) -> Child:
    """A child that said so much and goes on no more; it has little time for a frame."""
    monkeypatch.setattr(childprocess, "FRAME", 0.3)
    source, sink = os.pipe()
    os.write(sink, frame)
    return Child(os.getpid(), -1, sink, source)


@pytest.mark.parametrize("watched", [None, lambda: None])
def test_a_frame_has_its_time_and_its_size(
    monkeypatch: pytest.MonkeyPatch, watched: Callable[[], None] | None
) -> None:
    begun = (1 << 15).to_bytes(4, "big") + b"{"
    with pytest.raises(AttemptEnded, match="says nothing"):
        saying(begun, monkeypatch).hear(watched)
    large = ((1 << 16) + 1).to_bytes(4, "big") + b"{"
    with pytest.raises(AttemptEnded, match="is gone"):
        saying(large, monkeypatch).hear(watched)
    frame = b'{"say": "x", "blobs": []}'
    message, _ = saying(len(frame).to_bytes(4, "big") + frame, monkeypatch).hear(watched)
    assert message == {"say": "x"}


def test_a_child_that_does_not_read_a_frame_is_watched_too() -> None:
    """A child could read half of its job, and have plaintext while it is still being told the rest."""

    class Changed(Exception): ...

    calls = 0

    def watch() -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise Changed

    source, sink = os.pipe()
    child = Child(os.getpid(), -1, sink, source)
    with pytest.raises(Changed):
        child.say({}, bytes(1 << 20), watch=watch)


def test_a_hostile_child_fills_no_blank(rig: Rig, hostile: Hostile) -> None:
    """A sentence of the code with a value in it: 72 bytes of a record had fitted into one."""
    params = dump_canonical(json.loads(PARAMS) | {"seed": 5})
    worker, asked = rig.worker(children=hostile), rig.request(params=params)
    worker.step()
    kept = register.failure_of(worker.engine, asked.hex())
    assert kept == "part … of the object is not the one that was written"


TWO_MODELS = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"svm": ["genes", "clinical"], "knn": ["genes"]},
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 25,
    }
).decode()
CLUSTERS = {
    "analysis": "clusters",
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "clusters": 2,
    "resamples": 20,
    "references": 19,
}
SCAN = {
    "analysis": "associate",
    "statistics": 1,
    "components": 2,
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
}


def test_steps_are_said_in_their_order_and_once() -> None:
    progress, shown = Progress(TWO_MODELS), []
    for step in steps_of(TWO_MODELS):
        for fraction in (0.1234, 0.5):  # as often as it likes, and with any fraction
            if new := progress.advance({"step": step, "fraction": fraction}):
                shown.append(new)
    assert shown[:4] == [
        ("decrypted", 0.0),
        ("read", 0.0),
        ("compute", 0.0),
        ("evaluate:knn/genes", 0.11),
    ]
    assert shown[-1] == ("disclose", 1.0)
    assert len(shown) == len({step for step, _ in shown}) == len(steps_of(TWO_MODELS))


@pytest.mark.parametrize(
    "steps",
    [
        ["decrypted", "read", "compute", "evaluate:svm/hers"],
        ["decrypted", "read", "compute", "evaluate:svm/combined"],
        ["decrypted", "read", "decrypted"],
        ["decrypted", "compute"],
        ["Read"],
        [["decrypted"]],
        [None],
        [*steps_of(TWO_MODELS), "decrypted"],
    ],
)
def test_other_progress_is_not_believed(steps: list[Any]) -> None:
    progress, (*expected, other) = Progress(TWO_MODELS), steps
    for step in expected:
        assert progress.advance({"step": step, "fraction": 0.5})
    with pytest.raises(UnknownWords):
        progress.advance({"step": other, "fraction": 0.5})


@pytest.mark.parametrize(
    "params",
    [
        TWO_MODELS,
        complete(SCAN).decode(),
        complete({"analysis": "frequencies", "sites": ["1:1000000:A>C"]}).decode(),
        complete({**CLUSTERS, "method": "ward"}).decode(),
        complete({**CLUSTERS, "method": "k-means"}).decode(),
    ],
)
def test_a_run_says_its_steps_in_this_order(params: str) -> None:
    """An honest child is never stopped for its words: what a computation says, on invented people."""
    people = 40 if params == TWO_MODELS else 200
    steps: list[str] = []
    rehearse(CHILDREN, params.encode(), people, "cpu", lambda step, _: steps.append(step))
    order = ["decrypted", *(step for at, step in enumerate(steps) if step not in steps[:at])]
    assert order == steps_of(params)
    assert steps == sorted(steps, key=order.index)


def test_there_are_as_many_sentences_as_the_readme_says() -> None:
    assert 300 < len(childwords._sentences()._patterns) < 450


@pytest.mark.parametrize(
    "message",
    [
        "fewer people than the minimum remain after filtering",
        "a subject has two records of one category",
        "the model svm on genes predicted something that is not a number",
        "expression record: the document is not UTF-8",
        "a variant chosen among so many for its size may count as 7 statistics, more "
        "than those who are surely in the cohort bear (0.128 each); named sites count once each",
        "the computation failed with an internal error",
        "the run needs more memory than a worker has",
        "the object is not the one the ledger names",
    ],
)
def test_sentences_of_the_code_pass(message: str) -> None:
    assert failure_of({"message": message}) == message


@pytest.mark.parametrize(
    ("raised", "kept"),
    [
        (ChunkRefused(7), "part … of the object is not the one that was written"),
        (
            ObjectMalformed("a field of an object does not have its 32 bytes"),
            "a field of an object does not have its … bytes",
        ),
        (
            PayloadError("clinical record: the document is larger than 4096 bytes"),
            "clinical record: the document is larger than … bytes",
        ),
    ],
)
def test_a_value_in_a_sentence_is_left_out(raised: Exception, kept: str) -> None:
    assert failure_of({"message": str(raised)}) == kept


@pytest.mark.parametrize(
    "message",
    [
        "volens/expression/1",
        "her glucose was 7.1",
        "the model hers on genes predicted something that is not a number",
        "a variant chosen among so many for its size may count as 7111 statistics, more "
        "than those who are surely in the cohort bear (0.128 each); named sites count once each",
        "fewer people than the minimum remain after filtering; 7.1",
        "fewer people than the minimum remain after filtering\n",
        "event hers (was) must say 0x7 where it says 0x1",  # governance/verify.py
        "not a number, of the auditor's file",
        "7.1 7.2",
        None,
        ["fewer people than the minimum remain after filtering"],
    ],
)
def test_other_sentences_do_not(message: object) -> None:
    with pytest.raises(UnknownWords):
        failure_of({"message": message})


PROPER = {
    "say": "done",
    "outputCommitment": "a" * 64,
    "ciphertextHash": sha256(b"blob").hexdigest(),
    "keyCommitment": "b" * 64,
    "disclosureCommitment": "c" * 64,
    "outputClass": 1,
    "statistics": 0,
    "record": {"device": "cpu", "name": "Haswell"},
}


def changed(**fields: Any) -> dict[str, Any]:
    return PROPER | fields


def recorded(**fields: Any) -> dict[str, Any]:
    record: Any = PROPER["record"]
    return PROPER | {"record": record | fields}


@pytest.mark.parametrize(
    "answer",
    [
        changed(note="hers"),
        changed(outputCommitment="A" * 64),
        changed(keyCommitment="hers"),
        changed(ciphertextHash="0" * 64),
        changed(outputClass=True),
        changed(outputClass=2),
        changed(statistics=-1),
        changed(statistics=1 << 40),
        changed(record="hers"),
        recorded(device="hers"),
        recorded(note="hers"),
        recorded(name=7),
        recorded(peakMemory=1 << 30),
        recorded(peak_bytes=1),
        recorded(seconds={"compute": "7.1000"}),
        recorded(device="cuda", name="her glucose", peak_bytes=1),  # there is no GPU
    ],
)
def test_another_word_about_the_output_is_not_believed(answer: dict[str, Any]) -> None:
    assert output_of(PROPER, b"blob", 1, "auto") == PROPER
    with pytest.raises(UnknownWords):
        output_of(answer, b"blob", 1, "auto")


def test_a_processor_has_one_of_a_few_names() -> None:
    answer = recorded(name="HER GLUCOSE IS 7")
    assert output_of(answer, b"blob", 1, "auto") == recorded(name="other")


def test_a_gpu_is_named_by_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = {"device": "cuda", "name": "her glucose is 7.1", "peak_bytes": 123_456_789}
    monkeypatch.setattr(childwords, "find_devices", lambda: ["/dev/nvidia0"])
    monkeypatch.setattr(childwords, "GPU_INFORMATION", str(tmp_path))
    assert record_of(usage, "auto")["name"] == "GPU"
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n")
    known = {"device": "cuda", "name": "NVIDIA H100 80GB HBM3", "peak_bytes": 120_000_000}
    assert record_of(usage, "auto") == record_of(usage, "cuda") == known
    for wrong, device in (
        (usage, "cpu"),  # whatever the job says
        (usage | {"peak_bytes": 1 << 60}, "cuda"),
        (usage | {"peak_bytes": True}, "cuda"),
        (usage | {"note": "hers"}, "cuda"),
    ):
        with pytest.raises(UnknownWords):
            record_of(wrong, device)


def test_seconds_and_memory_are_measured_here_and_rounded() -> None:
    clock = Phases()
    time.sleep(0.12)
    clock.enter("compute")
    measured = clock.end(os.getpid())
    assert set(measured["seconds"]) == {"decrypt", "compute"}
    assert 0.12 <= float(measured["seconds"]["decrypt"]) < 1.2
    numbers = [*map(float, measured["seconds"].values()), measured["peakMemory"]]
    assert numbers == [rounded(number) for number in numbers]
    assert (rounded(123.456), rounded(0.098765), rounded(0)) == (120.0, 0.099, 0.0)


@pytest.mark.parametrize(
    "header", [{"blobs": [-1]}, {"blobs": [True]}, {"blobs": 1}, {"blobs": ["1"]}, {}, [1], "blobs"]
)
def test_a_frame_says_how_long_its_blobs_are(header: object) -> None:
    """With a size below nothing its reader took all that came, and waited for the end."""
    data = json.dumps(header).encode()
    stream = io.BytesIO(len(data).to_bytes(4, "big") + data + b"x" * 100)
    with pytest.raises(PipeClosed):
        read_frame(stream)
    assert stream.read() == b"x" * 100
