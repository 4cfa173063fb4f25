"""What a computing child says in clear: nothing of its own choosing reaches a page, the database or a log."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from road import PARAMS, Road
from speed import allowed
from sqlalchemy import text
from test_change_of_mind import SECONDS
from test_worker import wait_until

import analytics
from analytics.canonical import dump_canonical
from api import child, childprocess, childwords
from api.childprocess import AttemptEnded, Child, ForkServer
from api.childwords import UNKNOWN, UnknownWords, failure_of, output_of, progress_of
from api.pipe import PipeClosed, read_frame
from api.worker import Worker
from governance import register


class Hostile(ForkServer):
    """Children whose models are somebody else's: what they decrypted stands in their words, by the run's seed."""

    PROGRAM = """
import json, os, time
from analytics.errors import AnalyticsError
from api import child
import analytics.run
def run(params, inputs, minimum, tell, device, earlier):
    plain = b"".join(one.payload for one in inputs)[:10_000].decode("latin-1")
    match json.loads(params)["seed"]:
        case 1: tell(plain, 0.5)
        case 2: tell('read', plain)
        case 3: raise AnalyticsError(plain)
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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hostile_child_says_nothing_of_anybody(
    road: Road, hostile: Hostile, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    params = dump_canonical(json.loads(PARAMS) | {"seed": seed})
    worker, asked = road.worker(children=hostile), road.request(params=params)
    worker.step()
    found = register.find_run(worker.engine, asked.hex())
    assert found.state == "authorised"
    assert register.failure_of(worker.engine, asked.hex()) == UNKNOWN
    canary = "volens/expression/1"
    with worker.engine.connect() as connection:
        for table in ("progress", "claims", "marks"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert canary not in str(rows)
    assert canary not in "".join(capfd.readouterr())


def test_half_a_frame_delays_no_withdrawal(road: Road, hostile: Hostile) -> None:
    """A child that says a frame byte by byte holds the plaintext for no longer than one that is silent."""
    params = dump_canonical(json.loads(PARAMS) | {"seed": 4})
    worker, asked = road.worker(children=hostile), road.request(params=params)
    hostile.warm()  # in the thread that lives longest: children die with it
    working = threading.Thread(target=worker.step)
    working.start()
    try:
        assert wait_until(lambda: "decrypted" in steps_of(worker, asked), 30)
        time.sleep(0.5)  # it is in the middle of its frame
        assert "stopped" not in steps_of(worker, asked)
        road.world.revoke(road.subjects[0])
        working.join(allowed(SECONDS))
        assert not working.is_alive()
        assert steps_of(worker, asked)[-1] == "stopped"
    finally:
        hostile.end()  # and with it the child, if it still goes on
        working.join()


def steps_of(worker: Worker, asked: bytes) -> list[str]:
    return [step.step for step in register.progress_of(worker.engine, asked.hex())]


def saying(said: bytes, monkeypatch: pytest.MonkeyPatch) -> Child:
    """A child that said so much and goes on no more; it has little time for a frame."""
    monkeypatch.setattr(childprocess, "FRAME", 0.3)
    source, sink = os.pipe()
    os.write(sink, said)
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
    whole = b'{"say": "x", "blobs": []}'
    said, _ = saying(len(whole).to_bytes(4, "big") + whole, monkeypatch).hear(watched)
    assert said == {"say": "x"}


def test_who_does_not_take_a_frame_is_watched_too() -> None:
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


@pytest.mark.parametrize(
    "said",
    [
        {"step": "evaluate:svm/hers", "fraction": 0.5},
        {"step": "Read", "fraction": 0.5},
        {"step": ["read"], "fraction": 0.5},
        {"step": "read", "fraction": 1.5},
        {"step": "read", "fraction": float("nan")},
        {"step": "read", "fraction": "0.5"},
        {"step": "read"},
        {},
    ],
)
def test_other_progress_is_not_believed(said: dict[str, Any]) -> None:
    assert progress_of({"step": "permute:svm/genes", "fraction": 0.123456}) == (
        "permute:svm/genes",
        0.12,
    )
    with pytest.raises(UnknownWords):
        progress_of(said)


def test_a_run_says_steps_that_are_known() -> None:
    """Every step that stands in the code of a computation: an honest child is never stopped for its words."""
    said = set()
    for file in [Path(child.__file__), *Path(str(analytics.__file__)).parent.glob("*.py")]:
        said.update(re.findall(r'(?:progress\(|"step": )"([a-z]+)"', file.read_text()))
    assert said == {step for step in childwords.STEPS if ":" not in step}


@pytest.mark.parametrize(
    "message",
    [
        "fewer people than the minimum remain after filtering",
        "a subject has two records of one category",
        "the model svm on genes predicted something that is not a number",
        "the computation met a fault of its own",
        "the run needs more memory than a worker has",
        "a field of an object does not have its 32 bytes",
    ],
)
def test_sentences_of_the_code_pass(message: str) -> None:
    assert failure_of({"message": message}) == message


@pytest.mark.parametrize(
    "message",
    [
        "volens/expression/1",
        "her glucose was 7.1",
        "the model " + "7" * 25 + " on genes predicted something that is not a number",
        "fewer people than the minimum remain after filtering; 7.1",
        "fewer people than the minimum remain after filtering\n",
        "7.1 7.2",
        None,
        ["fewer people than the minimum remain after filtering"],
    ],
)
def test_other_sentences_do_not(message: object) -> None:
    with pytest.raises(UnknownWords):
        failure_of({"message": message})


HONEST = {
    "say": "done",
    "outputCommitment": "a" * 64,
    "ciphertextHash": sha256(b"blob").hexdigest(),
    "keyCommitment": "b" * 64,
    "disclosureCommitment": "c" * 64,
    "outputClass": 1,
    "statistics": 0,
    "record": {
        "device": "cpu",
        "name": "AVX2",
        "peakMemory": 1 << 30,
        "seconds": {"decrypt": "0.1234", "compute": "12.0000"},
    },
}


def changed(**fields: Any) -> dict[str, Any]:
    return HONEST | fields


def recorded(**fields: Any) -> dict[str, Any]:
    record: Any = HONEST["record"]
    return HONEST | {"record": record | fields}


@pytest.mark.parametrize(
    "said",
    [
        changed(note="hers"),
        changed(outputCommitment="A" * 64),
        changed(keyCommitment="hers"),
        changed(ciphertextHash="0" * 64),
        changed(outputClass=True),
        changed(statistics=-1),
        changed(statistics=1 << 40),
        changed(record="hers"),
        recorded(device="hers"),
        recorded(name="HER GLUCOSE IS 7"),
        recorded(note="hers"),
        recorded(peakMemory="hers"),
        recorded(peakMemory=1 << 60),
        recorded(seconds="hers"),
        recorded(seconds={"hers": "1.0000"}),
        recorded(seconds={"compute": "7.1"}),
        recorded(seconds={"compute": "123456789012.0000"}),
    ],
)
def test_another_word_about_the_output_is_not_believed(said: dict[str, Any]) -> None:
    assert output_of(HONEST, b"blob") == HONEST
    with pytest.raises(UnknownWords):
        output_of(said, b"blob")


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
