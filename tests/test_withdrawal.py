"""Withdrawals at any moment of a run: computing on the person's data stops, and its results are
deleted.

Real chain, broker, bucket, worker and children. Each moment is drawn from a seed and counted from
the block of the attempt's authorisation: while objects are fetched, keys asked for, plaintext read,
models trained.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from extent import extent
from rig import CHILDREN, Rig
from speed import allowed

from analytics.params import complete
from api.worker.attempt import Attempt, rest_before
from api.worker.sandbox import Child, ForkServer
from api.worker.supervisor import Worker
from chain.devnode.process import DevChain
from chain.errors import LedgerDown, Refused
from chain.events import ReleaseRefused
from governance.objects.broker_client import BrokerClient
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.keys import new_pair
from governance.objects.vault import Bucket
from governance.readmodel import queries as register
from governance.readmodel.projection import Projection
from governance.runs import mark
from governance.withdrawal_effects import Withdrawal, withdrawals_of

# From sending the withdrawal until the child is dead: a block and a look at the ledger lie in it.
SECONDS = 2.0
TIMEOUT = 15.0  # seconds after which a child is said to go on
LONG = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"forest": ["genes"]},
        "folds": 2,
        "permutations": 1000,
        "bootstraps": 0,
        "repeats": 50,
    }
)


class Watched(ForkServer):
    """The session's fork server; keeps a descriptor of each child's process, to see when it is
    dead.
    """

    def __init__(self) -> None:
        self.processes: list[tuple[int, int]] = []  # (pid, process descriptor)

    def warm(self) -> None:
        CHILDREN.warm()

    def child(self, models: Iterable[str] = ()) -> Child:
        child = CHILDREN.child(models)
        self.processes.append((child.pid, os.pidfd_open(child.pid)))
        return child

    def end_all(self) -> None:
        for _, process in self.processes:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Moment:
    """One change of mind: in which attempt, how long after its authorisation, in which block, what
    became of it.
    """

    attempt: int
    subject: bytes
    after: float  # seconds
    block: int
    dead: float  # seconds from sending until the child was dead; infinite when it was not
    step: str  # what the worker had said last


@dataclass
class Scene:
    """A run on the rig, a worker in a thread, and somebody who looks at the ledger on her own."""

    rig: Rig
    run: bytes
    worker: Worker
    children: Watched
    ledger: Projection
    moments: list[Moment] = field(default_factory=list)

    def wait_for(self, attempt: int) -> float:
        """When this attempt, or a later one, was seen to be authorised."""
        deadline = time.monotonic() + 30
        while self.ledger.replayed.newest_attempt(self.run) < attempt:
            assert time.monotonic() < deadline, register.find_run(
                self.worker.engine, self.run.hex()
            )
            time.sleep(0.01)
            self.ledger.sync()
        return time.monotonic()

    def wait_until_it_computes(self) -> int:
        """The process descriptor of the first attempt's child."""
        deadline = self.wait_for(1) + 30
        while not any(
            step.step.startswith(("evaluate", "permute"))
            for step in register.progress_of(self.worker.engine, self.run.hex())
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process = self.children.processes[-1][1]
        assert not select.select([process], [], [], 0)[0]
        return process

    def change(self, subject: bytes, after: float, **narrower: Any) -> Moment:
        """Withdraw (or allow less) so many seconds after the next attempt's authorisation; wait for
        its child's end.
        """
        world = self.rig.world
        attempt = self.moments[-1].attempt + 1 if self.moments else 1
        began = self.wait_for(attempt)
        time.sleep(max(0.0, began + after - time.monotonic()))
        pid, process = self.children.processes[-1]
        assert not select.select([process], [], [], 0)[0], (
            "its child was dead before anybody changed her mind"
        )
        sent = time.monotonic()
        receipt = world.grant([subject], **narrower) if narrower else world.revoke(subject)
        mark(self.worker.engine, f"mined:{receipt.tx.hex()}")  # as the endpoint does
        steps = register.progress_of(self.worker.engine, self.run.hex())
        ended = select.select([process], [], [], TIMEOUT)[0]
        dead = time.monotonic() - sent if ended else float("inf")
        assert not ended or gone(pid)
        attempt = self.ledger.replayed.newest_attempt(self.run)
        done = Moment(
            attempt, subject, after, receipt.block, dead, steps[-1].step if steps else "-"
        )
        self.moments.append(done)
        return done

    def faults(self) -> list[str]:
        """What no change of mind may leave behind."""
        self.ledger.sync()
        violations, replayed = [], self.ledger.replayed
        lines = [json.loads(line) for line in self.rig.journal()]
        limit = allowed(SECONDS)
        for moment in self.moments:
            name = f"attempt {moment.attempt}"
            if moment.dead > limit:
                violations.append(f"{name}: its child lived {moment.dead:.2f} s")
            if any(replayed.attempts[self.run, moment.attempt].seal_hash):
                violations.append(f"{name}: it was sealed")
            keys = [
                line
                for line in lines
                if line["run"] == self.run.hex() and line["attempt"] == moment.attempt
            ]
            if any(line["block"] >= moment.block for line in keys):
                violations.append(f"{name}: a key left after the withdrawal's block")
            late = range(moment.attempt + 1, replayed.newest_attempt(self.run) + 1)
            if any(
                moment.subject in {who for who, *_ in replayed.granted(self.run, later)}
                for later in late
            ):
                violations.append(f"{name}: the person is in a later one")
        return violations

    def __str__(self) -> str:
        dead = sorted(moment.dead for moment in self.moments)
        steps = sorted({moment.step for moment in self.moments})
        return (
            f"{len(dead)} changes of mind, {self.moments[0].after:.2f} s and more after the authorisation, in "
            f"{', '.join(steps)}: child dead after {dead[0]:.2f} / {dead[len(dead) // 2]:.2f} / {dead[-1]:.2f} s "
            "(least / median / most)"
        )


def withdrawals_shown(engine: Any, subject: bytes) -> list[Withdrawal]:
    """What she is told of her withdrawals, by all that the ledger says so far."""
    return withdrawals_of(engine, subject.hex(), register.newest_step(engine)["count"])


def gone(pid: int) -> bool:
    """No such process, or one whose memory is given back and whose number its parent has not asked
    for yet.
    """
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "\nState:\tZ" in status.read_text()


@contextmanager
def playing(rig: Rig, params: bytes = LONG, **permit: Any) -> Iterator[Scene]:
    """The worker takes the run until the scene ends; then the run is cancelled, and the worker
    stops.
    """
    run, children, stop = (
        rig.request(rig.permit(**permit), params=params),
        Watched(),
        threading.Event(),
    )
    moments: list[Moment] = []
    worker = rig.worker(
        f"{run.hex()[:8]}.db", children=children, clock=lambda: int(time.time()) + 10 * len(moments)
    )  # pauses after a refusal pass at once
    thread = threading.Thread(target=worker.work, args=(stop, 0.02))
    thread.start()
    try:
        yield Scene(
            rig, run, worker, children, rig.projection(f"{run.hex()[:8]}-watch.db"), moments
        )
    finally:
        stop.set()
        cancel(rig, run)
        thread.join(20)
        assert not thread.is_alive()
        for _, process in children.processes:
            os.close(process)


def cancel(rig: Rig, run: bytes) -> None:
    message = {"run": run, "deadline": 2**40 - 1}
    try:
        rig.world.relay(
            "AccessLedger", "cancel", "Cancel", message, rig.world.by("noor", "Cancel", message)
        )
    except Refused:
        return  # it has ended


def refused_release(rig: Rig, run: bytes, sealed: Any) -> ReleaseRefused:
    """What the rules says when both checkers let attempt 1 out."""
    for name in ("sol", "tess"):
        rig.world.view_output(run, name)
    everybody, epochs = zip(*((who, epoch) for who, epoch, _ in sealed.granted), strict=True)
    return rig.world.release(run, sealed.seal_hash, everybody, epochs).one(ReleaseRefused)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt follows the one before at once: one scene ends more of them than a run does in
    months.
    """
    monkeypatch.setattr("api.worker.attempt.AT_ONCE", 99)


@pytest.fixture
def crowd(devchain: DevChain, bucket_process: BucketProcess, tmp_path: Path) -> Iterator[Rig]:
    CHILDREN.warm()  # in the thread that lives longest: children die with it
    rig = Rig.build(tmp_path, devchain.url, bucket_process, people=60)
    yield rig
    rig.close()


@pytest.mark.campaign
def test_a_withdrawal_at_any_moment(crowd: Rig, record_property: Any) -> None:
    rng, leaving, times = random.Random(8), list(crowd.subjects), extent(6, 8)
    rng.shuffle(leaving)
    before = set(Path(tempfile.gettempdir()).iterdir())
    lines = []
    for _ in range(extent(1, 2)):
        with playing(crowd) as scene:
            for _ in range(times):
                scene.change(leaving.pop(), rng.uniform(0.0, 1.2))
            last = scene.moments[-1].attempt + 1
            scene.wait_for(last)
            assert scene.faults() == [], str(scene)
            granted = [
                len(scene.ledger.replayed.granted(scene.run, attempt)) for attempt in (1, last)
            ]
            assert granted == [len(leaving) + times, len(leaving)]
            for attempt in range(1, last):
                with pytest.raises(
                    Refused
                ):  # the rules has no seal for an attempt that another one followed
                    scene.rig.world.seal(scene.run, attempt)
            assert register.find_run(scene.worker.engine, scene.run.hex()).state == "authorised"
            lines.append(str(scene))
    print("\n".join(lines))
    record_property("times", lines)
    assert plaintext(crowd, before) == []


def plaintext(rig: Rig, before: set[Path]) -> list[str]:
    """Files anywhere that a child could have written in which the beginning of a record stands."""
    folders = [
        rig.folder,
        Path("/dev/shm"),
        *(set(Path(tempfile.gettempdir()).iterdir()) - before),
    ]
    return [
        str(path)
        for folder in folders
        for path in (folder.rglob("*") if folder.is_dir() else [folder])
        if path.is_file() and b"volens/expression/1" in path.read_bytes()
    ]


def test_allowing_less_stops_a_run_and_allowing_more_does_not(crowd: Rig) -> None:
    rng = random.Random(9)
    general, categories = 0b10, 1 << 2 | 1 << 6
    ana, bea, cis, dea = crowd.subjects[:4]
    with playing(crowd) as scene:
        scene.change(ana, rng.uniform(0.2, 1.0), categories=1 << 2)  # no longer her expression data
        scene.change(bea, rng.uniform(0.2, 1.0), purposes=0b100)  # no longer this purpose
        soon = crowd.world.ledger.now() // 86_400 + 30
        shorter = scene.change(
            cis, rng.uniform(0.2, 1.0), untilDay=soon
        )  # still this use, but not for so long
        last = shorter.attempt + 1
        scene.wait_for(last)
        in_it = {who for who, *_ in scene.ledger.replayed.granted(scene.run, last)}
        assert in_it & {ana, bea, cis} == {cis}  # by her newer consent, which still allows this use
        assert scene.faults() == [f"attempt {shorter.attempt}: the person is in a later one"]
        time.sleep(0.5)
        crowd.world.grant(
            [dea], purposes=0b110 | general, categories=categories, untilDay=soon + 900
        )
        time.sleep(SECONDS)
        assert not select.select([scene.children.processes[-1][1]], [], [], 0)[0]
        scene.worker.projection.sync()
        for who, again in ((ana, 2), (bea, 3), (cis, 0)):  # where it was started again without them
            (change,) = withdrawals_shown(scene.worker.engine, who)
            (effect,) = change.effects
            assert (change.kind, change.settled, effect.use.was) == ("narrowed", True, "computing")
            assert effect.use.next_attempt == again
            assert effect.stopped is not None
            assert effect.stopped <= allowed(SECONDS)
        assert withdrawals_shown(scene.worker.engine, dea) == []


def test_a_cohort_that_becomes_too_small_ends_the_run(rig: Rig) -> None:
    CHILDREN.warm()
    with playing(rig, minCohort=len(rig.subjects)) as scene:
        scene.change(rig.subjects[0], 0.4)
        deadline = time.monotonic() + 10
        while (
            row := register.find_run(scene.worker.engine, scene.run.hex())
        ).state == "authorised":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (row.state, row.reason, row.attempt) == (
            "denied",
            40,
            1,
        )  # cohort below minimum
        assert scene.faults() == []
        (change,) = withdrawals_shown(scene.worker.engine, rig.subjects[0])
        (effect,) = change.effects
        assert (change.settled, effect.use.was, effect.state, effect.use.next_attempt) == (
            True,
            "computing",
            "denied",
            0,
        )
        # A worker that sealed it all the same would have something that the rules never lets out.
        rig.world.seal(scene.run, 1)
        scene.ledger.sync()
        refused = refused_release(rig, scene.run, scene.ledger.replayed.attempts[scene.run, 1])
        assert (refused.subject, refused.reason) == (rig.subjects[0], 3)


def test_a_waiting_run_leaves_her_out_and_a_finished_one_is_held_back(rig: Rig) -> None:
    first, second = rig.subjects[:2]
    run, worker = rig.request(), rig.worker()
    rig.world.revoke(first)
    assert worker.step()
    granted = rig.worker("other.db").projection
    granted.sync()
    sealed = granted.replayed.attempts[run, 1]
    assert (first, 3) in sealed.denied
    assert any(sealed.seal_hash)

    rig.world.revoke(second)
    refused = refused_release(rig, run, sealed)
    assert (refused.subject, refused.reason) == (second, 3)
    assert worker.step()  # queued again, and computed without her
    granted.sync()
    assert second not in {who for who, *_ in granted.replayed.granted(run, 2)}
    for who, was, again in ((first, "queued", 1), (second, "sealed", 2)):
        ((effect,),) = (change.effects for change in withdrawals_shown(worker.engine, who))
        assert (effect.use.was, effect.use.next_attempt, effect.stopped) == (was, again, None)


# -- after the last look at the ledger: while the output is sealed, uploaded, signed


@pytest.mark.parametrize(
    "moment", ["wrap", "done", "put", "put, and the ledger away when it is signed"]
)
def test_a_withdrawal_while_the_output_is_sealed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """No seal with her in it, and no key for the output asked for after she left; the next attempt
    is without her.
    """
    CHILDREN.warm()
    who, run, children = rig.subjects[0], rig.request(), Watched()
    worker, left, asked = rig.worker(children=children), list[int](), list[str]()
    hear, put, wrap = Child.hear, Bucket.put, BrokerClient.wrap_sealed

    def leave(now: str) -> None:
        asked.append(now)
        if now == moment and not left:
            left.append(rig.world.revoke(who).block)

    def hearing(child: Child, *watch: Any) -> Any:
        message, blobs = hear(child, *watch)
        leave(str(message["say"]))
        return message, blobs

    def putting(bucket: Bucket, blob: bytes) -> str:
        assert select.select([children.processes[-1][1]], [], [], 0)[0], (
            "the child lives while its output is uploaded"
        )
        leave("put")
        return put(bucket, blob)

    def wrapping(client: BrokerClient, *arguments: Any) -> Any:
        asked.append("key")
        return wrap(client, *arguments)

    monkeypatch.setattr(Child, "hear", hearing)
    monkeypatch.setattr(Bucket, "put", putting)
    monkeypatch.setattr(BrokerClient, "wrap_sealed", wrapping)
    if "away" in moment:
        go_away_once(rig, worker, lambda: left.append(rig.world.revoke(who).block), monkeypatch)
        with pytest.raises(LedgerDown):
            worker.step()
    else:
        assert worker.step()
        assert asked.count("key") == (moment != "wrap")
    for _ in range(3):
        worker.step()
    worker.projection.sync()
    first, second = (worker.projection.replayed.attempts[run, number] for number in (1, 2))
    assert left
    assert who in {subject for subject, *_ in first.granted}
    assert not any(first.seal_hash)
    assert who not in {subject for subject, *_ in second.granted}
    assert any(second.seal_hash)
    for _, process in children.processes:
        os.close(process)


def go_away_once(
    rig: Rig,
    worker: Worker,
    meanwhile: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ledger takes the worker's seal no further than its outbox; when it is back, the world is
    another.
    """
    transactor: Any = worker.ledger._transactor
    call, seal, armed = transactor._call, Attempt._seal, []

    def sealing(attempt: Attempt, done: dict[str, Any]) -> None:
        armed.append(len(armed))
        seal(attempt, done)

    def calling(method: str, params: list[Any]) -> Any:
        if armed == [0] and method == "eth_sendRawTransaction":
            armed.append(1)
            meanwhile()
            raise LedgerDown("the ledger does not answer", "wait")
        return call(method, params)

    monkeypatch.setattr(Attempt, "_seal", sealing)
    monkeypatch.setattr(transactor, "_call", calling)


# -- what else ends an attempt that computes


def test_a_cancelled_run_stops_computing(rig: Rig) -> None:
    CHILDREN.warm()
    with playing(rig) as scene:
        process = scene.wait_until_it_computes()
        cancel(rig, scene.run)
        assert select.select([process], [], [], TIMEOUT)[0], "its child goes on computing"
        scene.ledger.sync()
        assert not any(scene.ledger.replayed.attempts[scene.run, 1].seal_hash)
        time.sleep(0.3)
        assert register.find_run(scene.worker.engine, scene.run.hex()).state == "withdrawn"
        assert len(scene.children.processes) == 1


def test_an_attempt_that_another_one_overtook_stops_computing(rig: Rig) -> None:
    CHILDREN.warm()
    with playing(rig) as scene:
        process = scene.wait_until_it_computes()
        rig.authorise(scene.run, new_pair()[1], attempt=2)
        assert select.select([process], [], [], TIMEOUT)[0], "its child goes on computing"


def test_a_lease_that_ends_while_it_computes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    CHILDREN.warm()
    monkeypatch.setattr("api.worker.attempt.REQUESTED_LEASE", 2)
    with playing(rig) as scene:
        process = scene.wait_until_it_computes()
        time.sleep(3.5)  # blocks count whole seconds
        assert not select.select([process], [], [], 0)[0]
        rig.world.enrol(1)  # the contracts' time is that of the newest block
        assert select.select([process], [], [], TIMEOUT)[0], "its child goes on computing"


# -- each protection taken away: the same scene says so


def test_a_supervisor_that_does_not_follow_the_ledger_is_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    CHILDREN.warm()
    monkeypatch.setattr(sys.modules[__name__], "TIMEOUT", 2 * SECONDS)
    monkeypatch.setattr(Attempt, "_check_may_continue", lambda *_: None)
    with playing(rig) as scene:
        scene.change(rig.subjects[0], 0.5)
        assert any("its child lived" in fault for fault in scene.faults())
        scene.children.end_all()


def test_an_attempt_that_is_sealed_after_its_end_is_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    CHILDREN.warm()
    note_end = Attempt._note_end

    def seal_it(self: Attempt, error: BaseException) -> None:
        note_end(self, error)
        rig.world.seal(self.run, 1)

    monkeypatch.setattr(Attempt, "_note_end", seal_it)
    with playing(rig) as scene:
        scene.change(rig.subjects[0], 0.4)
        time.sleep(0.5)
        assert "attempt 1: it was sealed" in scene.faults()


def test_a_run_rests_before_the_attempts_that_withdrawals_end_one_after_the_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person who agreed and withdrew in turn used up the sixteen attempts of any run within
    seconds.
    """
    monkeypatch.setattr("api.worker.attempt.AT_ONCE", 3)
    rests = [rest_before(number) for number in range(1, 18)]
    assert rests[:6] == [0, 0, 0, 15, 30, 60]
    assert (sum(rests[:16]) > 3600, max(rests), rests[16]) == (
        True,
        600,
        0,
    )  # sixteen more begin anew
    monkeypatch.setattr("api.worker.attempt.AT_ONCE", 1)
    monkeypatch.setattr("api.worker.attempt.FIRST_REST", 600)  # the scene's clock runs ahead
    CHILDREN.warm()
    with playing(rig) as scene:
        scene.change(rig.subjects[0], 0.5)
        time.sleep(2 * SECONDS)
        assert rig.world.ledger.read("AccessLedger", "runOf", scene.run)[2] == 1
