"""The worker: ledger first, data last; rows are not trusted; a child has no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import CHILDREN, PARAMS, Rig
from speed import allowed
from sqlalchemy import delete, update

import analytics
from analytics.code import code_hash
from analytics.params import complete
from analytics.readers.assays import ordinal_of, write_assay
from api.worker.child_messages import find_peak
from api.worker.sandbox import AttemptEnded, Child, ForkServer
from chain.errors import LedgerDown
from chain.vocabulary import OutputClass
from governance.objects.ingest import Source
from governance.objects.vault import GENE_SETS
from governance.presence import Presence
from governance.readmodel import queries as register
from governance.readmodel.database import upsert
from governance.readmodel.tables import Record, Supplement
from governance.runs import waiting

TORCH = 50 << 20  # bytes of memory, at least
SITES = complete({"analysis": "frequencies", "sites": ["1:100:A>G"]})

MODELS = {"models": {"logistic": ["genes"]}, "folds": 2, "permutations": 19, "bootstraps": 0}
METASTASIS = {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}}
EXPLAINED = complete(METASTASIS | MODELS | {"explain": ["shap-linear"]})
BY_SEX = complete(METASTASIS | MODELS | {"fairness": ["female"]})


def see_through(rig: Rig, run: bytes) -> Any:
    worker = rig.worker()
    worker.projection.sync()
    worker.step()
    return worker


def test_the_ledger_is_written_before_a_byte_is_fetched(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger goes away at the very moment of asking: no object was handed out, no key left."""
    run, worker = rig.request(), rig.worker()
    worker.projection.sync()
    fetches = rig.fetches()

    def away(*_: object) -> None:
        raise LedgerDown("the ledger does not answer", "start it")

    monkeypatch.setattr(worker.ledger, "relay", away)
    with pytest.raises(LedgerDown):
        worker.step()
    assert rig.fetches() == fetches
    assert rig.journal() == []
    monkeypatch.undo()
    worker.step()
    assert register.find_run(worker.engine, run.hex()).state == "sealed"
    assert rig.fetches() == fetches + len(rig.leaves)


def test_everybody_with_a_record_is_asked_about(rig: Rig) -> None:
    """Who withdrew is denied on the ledger, not left out of the list."""
    rig.world.revoke(rig.subjects[3])
    run = rig.request()
    worker = see_through(rig, run)
    assert worker.projection.replayed.attempts[run, 1].denied == [(rig.subjects[3], 3)]
    assert len(worker.projection.replayed.granted(run, 1)) == len(rig.subjects) - 1


def test_edited_rows_change_neither_who_is_asked_nor_what_is_read(rig: Rig) -> None:
    """Somebody with the database takes one person out and points another's record elsewhere."""
    run, worker = rig.request(), rig.worker()
    worker.projection.sync()
    with worker.engine.begin() as connection:
        connection.execute(delete(Record).where(Record.subject == rig.subjects[0].hex()))
        hers = Record.subject == rig.subjects[1].hex()
        connection.execute(update(Record).where(hers).values(ciphertext="00" * 32))
    worker.step()
    assert register.find_run(worker.engine, run.hex()).state == "sealed"
    assert len(worker.projection.replayed.granted(run, 1)) == len(rig.subjects)
    assert worker.projection.compare()


def test_a_key_that_the_ledger_does_not_name_is_not_let_out(rig: Rig) -> None:
    """Anybody may have a key of her own wrapped for a record; the broker compares it with the leaf."""
    from test_no_receipt_no_key import authorised

    from governance.errors import BrokerRefused
    from governance.objects.envelope import WrapItem

    question = authorised(rig)
    header = question.headers[0]
    label = header.label
    items = [
        WrapItem(label.subject, label.dataset, label.record, 1, j, os.urandom(32)) for j in range(3)
    ]
    question.headers = [type(header)(label, tuple(rig.client.wrap(items)), header.key_commitment)]
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "not-registered"
    assert rig.journal() == []


def test_a_key_broker_without_its_role_is_asked_for_nothing(rig: Rig) -> None:
    """The broker itself cannot tell that the committee trusts another one."""
    run, worker = rig.request(), rig.worker()
    rig.world.set_role(rig.broker.address, "broker", end=rig.world.ledger.now())
    assert worker.step() is True
    assert worker.projection.replayed.newest_attempt(run) == 1
    assert register.find_run(worker.engine, run.hex()).state == "authorised"
    assert rig.journal() == []


def test_a_stopped_attempt_costs_a_run_no_place_in_the_queue(rig: Rig) -> None:
    """Who asked first is first: also when its newest state, an attempt that was stopped, is
    younger.
    """
    first, second = rig.request(), rig.request()
    rig.world.authorise(first, rig.subjects, codeHash=code_hash())
    worker = rig.worker()
    worker.projection.sync()
    states = [register.find_run(worker.engine, run.hex()) for run in (first, second)]
    assert [state.state for state in states] == ["authorised", "queued"]
    assert states[0].block > states[1].block
    assert waiting(worker.engine, worker.clock()) == [first.hex(), second.hex()]


def test_a_list_that_cannot_be_read_is_waited_for(rig: Rig) -> None:
    """A damaged list in the bucket: no run is authorised without the people in it, and the replay
    goes on.
    """
    run = rig.request()
    for path in rig.bucket_log.parent.rglob("*"):
        if path.is_file() and path.read_bytes()[:12].startswith(b'[{"category"'):
            path.write_bytes(b"[1]")
    worker = rig.worker()
    worker.projection.sync()
    assert worker.step() is True
    assert worker.projection.replayed.newest_attempt(run) == 0
    assert (
        worker.step() is False
    )  # it is held for a while, so that another dataset's run is taken first


@pytest.mark.parametrize(
    ("permit", "params", "lacks"),
    [
        ({"categories": 1 << 2}, PARAMS, "data of the kind expression"),
        ({"categories": 1 << 6}, PARAMS, "data of the kind observations"),
        ({"outputClasses": 1 << 3}, PARAMS, "output of the class metrics"),
        ({"categories": 1 << 5}, SITES, "output of the class genomic"),
        ({}, EXPLAINED, "output of the class genomic"),
        ({}, BY_SEX, "data of the kind demographics"),
    ],
)
def test_what_its_permit_does_not_allow_opens_nobody_s_data(
    rig: Rig, permit: dict[str, int], params: bytes, lacks: str
) -> None:
    run, worker = rig.request(rig.permit(**permit), params=params), rig.worker()
    assert worker.step()
    assert (worker.projection.replayed.newest_attempt(run), rig.journal()) == (0, [])
    assert lacks in register.failure_of(worker.engine, run.hex())


def test_named_genes_are_charged_to_the_budget_on_the_ledger(rig: Rig) -> None:
    """An explanation that may name genes is a genomic output, which costs a statistic at least."""
    classes = 1 << OutputClass.METRICS | 1 << OutputClass.GENOMIC
    run = rig.request(rig.permit(outputClasses=classes), params=EXPLAINED)
    worker = see_through(rig, run)
    assert register.find_run(worker.engine, run.hex()).state == "sealed"
    seal = worker.projection.replayed.attempts[run, 1].seal
    # Whose genes are named, and how many, is up to the noise of the run.
    assert seal["outputClass"] == OutputClass.GENOMIC
    assert seal["statistics"] >= 1


def test_a_lost_object_ends_the_run_at_once(rig: Rig) -> None:
    """One attempt, one sentence: trying again would mark everybody again for nothing."""
    run = rig.request()
    for path in rig.bucket_log.parent.rglob(f"*{rig.leaves[0].ciphertext.hex()}*"):
        path.unlink()
    worker = see_through(rig, run)
    assert worker.projection.replayed.newest_attempt(run) == 1
    assert "object" in register.failure_of(worker.engine, run.hex())
    assert rig.journal() == []


def test_a_newer_version_that_nobody_handed_over(rig: Rig) -> None:
    """The custodian stopped between mining and handing over: the old version stays shut, the worker
    mends it.
    """
    from test_no_receipt_no_key import authorised

    from governance.errors import BrokerRefused
    from governance.objects.ingest import Source

    question, leaf, hand_over = authorised(rig), rig.leaves[0], rig.client.hand_over
    rig.client.hand_over = lambda *_: None  # type: ignore[method-assign]
    rig.ingest([Source(leaf.subject, leaf.category, b"{}")], {leaf.record: 1})
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "older-version"
    rig.client.hand_over = hand_over  # type: ignore[method-assign]
    worker = rig.worker()
    worker.projection.sync()
    rig.request()
    assert worker.step() is True
    assert not rig.broker._leaves.lacks(rig.world.dataset, rig.broker._node.replayed.ingests)


def test_the_child_has_no_network_and_keeps_nothing() -> None:
    """Its own network namespace without an interface that is up, an empty environment, and its
    limits.
    """
    child = CHILDREN.child()
    try:
        child.say({"params": "{}"})
        message, _ = child.hear()
        assert message["say"] == "failed"  # these are no parameters: it got as far as reading them
    finally:
        child.end()
    child = CHILDREN.child()
    try:
        deployment = Path("/proc") / str(child.pid)
        wait_for_limits(deployment)
        assert os.readlink(deployment / "ns" / "net") != os.readlink("/proc/self/ns/net")
        routes = (deployment / "net" / "route").read_text().splitlines()
        assert len(routes) <= 1, routes  # at most the heading
        assert (deployment / "environ").read_bytes() == b""  # hidden; it is a fork of its server
        assert CHILDREN._server is not None
        environment = Path("/proc", str(CHILDREN._server.pid), "environ").read_bytes()
        names = {entry.split(b"=")[0] for entry in environment.split(b"\0") if entry}
        assert names == {b"PATH", b"LANG", b"OMP_NUM_THREADS", b"OPENBLAS_NUM_THREADS"}
        limits = (deployment / "limits").read_text()
        for name in ("Max core file size", "Max file size"):
            line = next(line for line in limits.splitlines() if line.startswith(name))
            assert line.split(name)[1].split()[:2] == ["0", "0"]
        assert len(list((deployment / "fd").iterdir())) <= 4, (
            "the server's socket, or another child's pipe, came along"
        )
    finally:
        child.end()


def test_children_are_processes_of_their_own_that_die_with_the_server() -> None:
    server = ForkServer()
    first, second = server.child(), server.child()
    try:
        assert first.pid != second.pid
        assert os.getsid(first.pid) == first.pid
        first.end()
        assert not first.alive
        assert second.alive
        server.end()
        assert wait_until(lambda: not second.alive)
        third = server.child()  # the next one starts a server again
        assert third.alive
        third.end()
    finally:
        second.end()
        server.end()


def test_libraries_that_take_seconds_are_loaded_for_the_first_child_that_needs_them(
    tmp_path: Path,
) -> None:
    """And not from code that was changed after the server's was hashed."""
    folder = Path(analytics.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(folder, tmp_path / "analytics", ignore=ignored)
    server = ForkServer(tmp_path)

    def memory(*models: str) -> int:
        child = server.child(models)
        try:
            return find_peak(child.pid) or 0
        finally:
            child.end()

    try:
        without = memory()
        module = tmp_path / "analytics" / "networks.py"
        source = module.read_text()
        module.write_text(source + "\n")
        with pytest.raises(AttemptEnded):
            memory("cnn")
        module.write_text(source)
        assert memory("cnn") > without + TORCH
        assert memory() > without + TORCH  # it stays loaded
    finally:
        server.end()


@pytest.mark.alone
def test_a_child_is_gone_at_once_also_in_the_middle_of_computing() -> None:
    child = CHILDREN.child()
    began = time.monotonic()
    child.end()
    assert time.monotonic() - began < allowed(1)
    assert gone(child.pid)


def test_what_a_child_started_is_gone_with_it() -> None:
    """A process that it forked, and that nobody else would end: its plaintext goes with the
    child's.
    """
    reading, telling = os.pipe()
    if (pid := os.fork()) == 0:  # as the server makes a child: a session of its own
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.write(telling, str(grandchild).encode())
        while True:
            time.sleep(60)
    started = int(os.read(reading, 16))
    (from_us, to_it), (from_it, to_us) = os.pipe(), os.pipe()
    child = Child(pid, os.pidfd_open(pid), to_it, from_it)
    assert not gone(started)
    child.end()
    try:
        assert wait_until(lambda: gone(started))
        assert gone(pid)
    finally:
        with suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)
        os.waitpid(pid, 0)
        for descriptor in (reading, telling, from_us, to_us):
            os.close(descriptor)


def gone(pid: int) -> bool:
    """No such process, or one whose memory is given back and whose number its parent has not asked
    for yet.
    """
    status = Path("/proc") / str(pid) / "status"
    return not status.exists() or "\nState:\tZ" in status.read_text()


def wait_until(fact: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.02)
    return fact()


def wait_for_limits(process: Path) -> None:
    deadline = time.monotonic() + 30
    while "Max file size             0" not in (process / "limits").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_ends_when_a_later_process_has_its_key(rig: Rig) -> None:
    """Two processes that send under one key would take each other's numbers and claims."""
    worker = rig.worker("replaced.db")
    address = worker.wallet.address
    worker.presence = Presence(worker.engine, address, "worker")
    working = threading.Thread(target=worker.work, args=(threading.Event(), 0.05), daemon=True)
    working.start()
    Presence(worker.engine, address, "worker")
    working.join(60)
    assert not working.is_alive()
    assert worker.replaced


def assayed(rig: Rig) -> str:
    """Gives everybody an assay, and the dataset a file of gene sets; its sha256."""
    draw = np.random.default_rng(1)
    rig.ingest(
        [
            Source(
                subject,
                6,
                write_assay("mirna", {f"M{at}": f"{draw.normal():.3f}" for at in range(12)}),
                ordinal_of("mirna"),
            )
            for subject in rig.subjects
        ]
    )
    genes = "\t".join(f"SIM{number:03d}" for number in range(10))
    file = f"SET_ONE\tx\t{genes}\nSET_TWO\tx\t{genes.replace('SIM00', 'SIM01')}\n".encode()
    digest = sha256(file).digest()
    rig.bucket.put_text(GENE_SETS, digest, file)
    return digest.hex()


def asked_with(digest: str) -> bytes:
    models = {"logistic": ["genes", "mirna"]}
    genes = {"source": "gene-sets", "sets": digest}
    return complete(METASTASIS | MODELS | {"models": models, "genes": genes, "assays": ["mirna"]})


def test_a_run_on_assays_and_gene_sets_is_sealed_once_the_dataset_has_them(rig: Rig) -> None:
    """The file is what the custodian published: another one in the bucket is none of the dataset's,
    and nobody's data is opened for it.
    """
    digest = assayed(rig)
    early, worker = rig.request(params=asked_with(digest)), rig.worker()
    worker.projection.sync()
    worker.step()
    assert register.failure_of(worker.engine, early.hex()) == (
        "the gene sets that the parameters name are not the dataset's"
    )
    row = {"sha256": digest, "title": "two sets", "sets": 2, "genes": 20}
    content = {
        "type": "volens/features/1",
        "assays": [],
        "sets": [row, row | {"sha256": "ab" * 32}],
    }
    supplement = Supplement(
        dataset=rig.world.dataset.hex(), kind="features", content=json.dumps(content), at=0
    )
    with worker.engine.begin() as connection:
        upsert(connection, Supplement, [supplement])
    lost = rig.request(params=asked_with("ab" * 32))
    worker.step()
    assert "not in the bucket" in str(register.failure_of(worker.engine, lost.hex()))
    assert rig.journal() == []  # no key has left custody
    run = rig.request(params=asked_with(digest))
    worker.step()
    assert register.find_run(worker.engine, run.hex()).state == "sealed"
