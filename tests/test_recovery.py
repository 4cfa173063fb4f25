"""Recovery: ledger and bucket restore every row, and a dead child costs an attempt, never a record."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest
from rig import CHILDREN, PARAMS, Rig
from speed import allowed
from sqlalchemy import delete, update
from sqlalchemy.exc import OperationalError

import analytics
from analytics.code import code_hash
from analytics.params import complete
from analytics.study import schema_of
from api.worker.attempt import Attempt
from api.worker.sandbox import Child, ForkServer
from api.worker.supervisor import Worker
from governance.documents import Documents
from governance.errors import LedgerBehind, LedgerInconsistent
from governance.readmodel import queries as register
from governance.readmodel.tables import PROJECTION, Block, Consent, Run
from governance.rules.encoding import canonical_json

LONG = complete({**json.loads(PARAMS), "permutations": 1000, "repeats": 50})


def work(worker: Worker, run: bytes, wanted: str, seconds: float = 60) -> Run:
    """Let the worker go on until the run is as wanted."""
    deadline = time.monotonic() + seconds
    while (row := register.find_run(worker.engine, run.hex())).state != wanted:
        assert time.monotonic() < deadline, f"the run stays {row.state}"
        worker.step()
    return row


def test_a_whole_run_and_every_row_again(rig: Rig) -> None:
    run, queued = rig.request(), b""
    worker = rig.worker()
    worker.projection.sync()
    assert work(worker, run, "sealed").attempt == 1
    rig.world.view_output(run, "sol")
    rig.world.view_output(run, "tess")
    seal = worker.projection.replayed.attempts[run, 1].seal_hash
    worker.projection.sync()
    epochs = [epoch for _, epoch, _ in worker.projection.replayed.granted(run, 1)]
    rig.world.release(run, seal, rig.subjects, epochs)
    queued = rig.request()
    worker.projection.sync()
    before = worker.projection.fingerprints()

    worker.engine.dispose()
    for path in rig.folder.glob("volens.db*"):
        path.unlink()
    again = rig.worker()
    again.projection.sync()
    assert again.projection.fingerprints() == before
    counts = again.projection.rebuild()
    assert again.projection.fingerprints() == before
    assert min(counts.values()) > 0
    assert {name: count for name, (count, _) in before.items() if not count} == {}
    assert set(before) == {noun.__tablename__ for noun in PROJECTION}
    assert again.projection.compare() == []
    work(again, queued, "sealed")


def test_rebuild_compares_every_row(rig: Rig) -> None:
    projection = rig.projection()
    rig.request()
    projection.sync()
    victim = rig.subjects[0].hex()
    with projection._engine.begin() as connection:
        connection.execute(update(Consent).where(Consent.subject == victim).values(purposes=0xFFFF))
        connection.execute(delete(Run))
    differences = projection.compare()
    assert len(differences) == 2
    assert any(victim in line and "purposes edited" in line for line in differences)
    assert any(line.startswith("runs ") and line.endswith("deleted") for line in differences)
    projection.rebuild()
    assert projection.compare() == []


def test_an_edited_block_is_named_and_derived_again(rig: Rig) -> None:
    """To the projection it looks like a ledger that lost its blocks: nothing is served until it is
    looked into.
    """
    projection = rig.projection()
    projection.sync()
    with projection._engine.begin() as connection:
        connection.execute(update(Block).values(hash="00" * 32))
    again = rig.projection()
    with pytest.raises(LedgerBehind, match="lost blocks"):
        again.sync()
    assert any(
        line.startswith("blocks ") and line.endswith("hash edited") for line in again.compare()
    )
    again.rebuild()
    assert again.compare() == []


def test_a_killed_child_means_a_new_attempt_with_a_new_receipt(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []

    def remember(models: Iterable[str]) -> Child:
        started.append(ForkServer.child(CHILDREN, models))
        return started[-1]

    monkeypatch.setattr(CHILDREN, "child", remember)
    run = rig.request(params=LONG)
    worker = rig.worker()
    worker.projection.sync()
    stepping = threading.Thread(target=take, args=(worker,))
    stepping.start()
    await_step(rig, run, "evaluate")
    os.kill(started[0].pid, signal.SIGKILL)
    stepping.join(20)
    assert register.find_run(worker.engine, run.hex()).state == "authorised"
    stepping = threading.Thread(target=take, args=(worker,))
    stepping.start()
    await_step(rig, run, "evaluate", attempt=2)
    os.kill(started[1].pid, signal.SIGKILL)
    stepping.join(20)
    attempts = register.attempts_of(worker.engine, run.hex())
    assert [attempt.attempt for attempt in attempts] == [1, 2]
    assert attempts[0].tx != attempts[1].tx
    keys = {
        worker.projection.replayed.attempts[run, attempt.attempt].binding["workerKey"]
        for attempt in attempts
    }
    assert len(keys) == 2  # what was sealed to the first attempt's key opens for nobody now
    assert [line.count('"kind":"pieces"') for line in rig.journal()] == [1, 1]


@pytest.mark.parametrize(
    "fault", [OSError(28, "full"), OperationalError("commit", {}, OSError(28, "full"))], ids=repr
)
def test_a_full_disk_ends_no_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """What passes by itself is no fault of the run: its next attempt is made when there is room
    again.
    """

    def full(*_: object) -> None:
        raise fault

    run, worker = rig.request(), rig.worker()
    worker.projection.sync()
    with monkeypatch.context() as patched:
        patched.setattr(Attempt, "_seal", full)
        with pytest.raises(type(fault)):
            worker.step()
    assert not register.failure_of(worker.engine, run.hex())
    assert worker.step()
    row = register.find_run(worker.engine, run.hex())
    assert (row.state, row.attempt) == ("sealed", 2)


@pytest.mark.alone
def test_a_withdrawal_stops_the_training_and_the_next_attempt_is_without_her(
    rig: Rig,
) -> None:
    run = rig.request(params=LONG)
    worker = rig.worker()
    worker.projection.sync()
    stepping = threading.Thread(target=take, args=(worker,))
    stepping.start()
    await_step(rig, run, "evaluate")
    rig.world.revoke(rig.subjects[4])
    began = time.monotonic()
    stepping.join(20)
    assert time.monotonic() - began < allowed(2)
    lines = len(rig.journal())
    stepping = threading.Thread(target=take, args=(worker,))
    stepping.start()
    await_step(rig, run, "evaluate", attempt=2)
    rig.world.revoke(rig.subjects[5])
    stepping.join(20)
    second = worker.projection.replayed.attempts[run, 2]
    assert rig.subjects[4] not in [subject for subject, _, _ in second.granted]
    assert rig.subjects[4].hex() not in rig.journal()[lines]
    assert not worker.projection.replayed.attempts[run, 1].seal


def take(worker: Worker) -> None:
    """Take the next run as soon as it may be taken: after a dead child the worker pauses."""
    deadline = time.monotonic() + 30
    while not worker.step():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def await_step(rig: Rig, run: bytes, step: str, attempt: int = 1) -> None:
    engine = rig.projection()._engine
    deadline = time.monotonic() + 30
    while not any(
        s.attempt == attempt and s.step.startswith(step)
        for s in register.progress_of(engine, run.hex())
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("changed", [True, False], ids=["changed", "unchanged"])
def test_a_copied_package_counts_by_its_bytes(rig: Rig, tmp_path: Path, changed: bool) -> None:
    """One byte of code changed: refused by the ledger. The same copy unchanged: computed."""
    copy = tmp_path / "copy"
    shutil.copytree(
        Path(analytics.__file__).parent,
        copy / "analytics",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    if changed:
        module = copy / "analytics" / "models" / "forest.py"
        module.write_text(module.read_text() + "\n")
    assert (code_hash(copy / "analytics") == code_hash()) is not changed
    run = rig.request()
    worker = rig.worker(children=ForkServer(copy))
    worker.projection.sync()
    worker.step()
    row = register.find_run(worker.engine, run.hex())
    if changed:
        assert (row.state, row.reason, rig.journal()) == ("queued", 38, [])
        assert register.failure_of(worker.engine, run.hex())
    else:
        assert row.state == "sealed"


def test_too_few_records_fail_plainly(rig: Rig) -> None:
    """A cohort that shrinks below the minimum after decryption is refused inside the child, and
    said so.
    """
    run = rig.request(permit=rig.permit(minCohort=24), params=PARAMS)
    rig.ingest(
        [
            type(source)(source.subject, source.category, payload)
            for source, payload in _without_outcome(rig)
        ],
        {leaf.record: 1 for leaf in rig.leaves},
    )
    worker = rig.worker()
    worker.projection.sync()
    worker.step()
    assert register.find_run(worker.engine, run.hex()).state == "authorised"
    failure = register.failure_of(worker.engine, run.hex())
    assert failure
    assert "Traceback" not in failure
    assert worker.step() is False


def _without_outcome(rig: Rig):  # type: ignore[no-untyped-def]
    from governance.objects.ingest import Source

    bundle = canonical_json({"resourceType": "Bundle", "type": "collection", "entry": []})
    return [
        (Source(leaf.subject, leaf.category, b""), bundle)
        for leaf in rig.leaves[:2]
        if leaf.category == 2
    ]


def test_parameters_outside_the_schema_open_nobodys_data(rig: Rig) -> None:
    """The child reads them before the ledger is asked: no attempt, no key, and a plain sentence."""
    run = rig.request(params=b'{"model":"svm"}')
    worker = rig.worker()
    assert worker.step() is True
    assert register.find_run(worker.engine, run.hex()).attempt == 0
    assert rig.journal() == []
    assert "parameters" in register.failure_of(worker.engine, run.hex())


def test_a_permit_of_a_study_runs_with_its_plan_and_its_question_alone(rig: Rig) -> None:
    """Nobody has sent the plan, or the run asks about another outcome: no attempt, and no key."""
    outcome = {"kind": "distant-metastasis", "horizon_days": 1825}
    plan = f"# Plan\n\n```study\n{json.dumps({'outcome': outcome})}\n```\n"
    digest = sha256(plan.encode()).digest()
    permit = rig.permit(paramsSchemaHash=schema_of(plan), documentHash=digest)
    worker = rig.worker()
    of_study = rig.request(permit)
    assert worker.step() is True
    assert "which nobody has sent" in register.failure_of(worker.engine, of_study.hex())
    Documents(rig.bucket).put(digest.hex(), plan.encode())
    other = {"outcome": {**outcome, "horizon_days": 1826}}
    asked = rig.request(permit, params=complete({**json.loads(PARAMS), **other}))
    assert worker.step() is True
    assert "another outcome" in register.failure_of(worker.engine, asked.hex())
    assert rig.journal() == []
    again = rig.request(permit)
    assert worker.step() is True
    assert [register.find_run(worker.engine, run.hex()).attempt for run in (of_study, asked)] == [
        0,
        0,
    ]
    assert register.find_run(worker.engine, again.hex()).state == "sealed"


def test_a_child_of_another_schema_opens_nobodys_data(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are not those that this worker began with."""
    monkeypatch.setattr("api.worker.attempt.params_schema_hash", lambda: bytes(32))
    run, worker = rig.request(), rig.worker()
    assert worker.step() is True
    assert register.find_run(worker.engine, run.hex()).attempt == 0
    assert rig.journal() == []
    assert "this worker began with" in register.failure_of(worker.engine, run.hex())


def test_a_row_that_another_process_wrote_first(rig: Rig) -> None:
    """The table may be ahead of this worker's replay: it catches up instead of failing."""
    worker, other = rig.worker(), rig.projection()
    worker.projection.sync()
    run, sync = rig.request(), worker.projection.sync
    other.sync()
    calls: list[int] = []

    def late() -> int:
        calls.append(1)
        return sync() if len(calls) > 1 else 0

    worker.projection.sync = late  # type: ignore[method-assign]
    worker.step()
    assert register.find_run(worker.engine, run.hex()).state == "sealed"


def test_a_claim_ends_with_the_attempt(rig: Rig) -> None:
    """After a refused release the run is taken up at once, not when the claim runs out."""
    run = rig.request()
    worker = rig.worker()
    worker.projection.sync()
    work(worker, run, "sealed")
    for name in ("sol", "tess"):
        rig.world.view_output(run, name)
    worker.projection.sync()
    rig.world.revoke(rig.subjects[0])
    seal = worker.projection.replayed.attempts[run, 1].seal_hash
    rig.world.release(run, seal, rig.subjects, [0] * len(rig.subjects))
    assert worker.step() is True
    assert register.find_run(worker.engine, run.hex()).attempt == 2


def test_a_node_that_is_a_moment_behind_itself_is_asked_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It showed a call's log before it said in which block the call is: no reason to call the
    ledger inconsistent.
    """
    projection = rig.projection()
    projection.sync()
    rig.world.revoke(rig.subjects[0])
    asked, ask = [], projection._ledger.transaction

    def behind(tx: str) -> dict[str, object]:
        asked.append(tx)
        return ask(tx) | ({"blockNumber": None} if len(asked) <= late else {})

    monkeypatch.setattr(projection._ledger, "transaction", behind)
    late = 1
    projection.sync()
    assert not projection.replayed.consent_live(rig.world.dataset, rig.subjects[0], 0, 0, 20_000)
    rig.world.grant([rig.subjects[0]])
    late = 100
    with pytest.raises(LedgerInconsistent):
        projection.sync()
