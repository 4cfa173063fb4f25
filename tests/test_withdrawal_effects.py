"""A withdrawal while another service is slow, and its receipt when a run ended unusually."""

from __future__ import annotations

import os
import select
import time
from typing import Any

import pytest
from rig import CHILDREN, Rig
from speed import allowed
from test_withdrawal import SECONDS, Watched, playing

from api.worker.attempt import Attempt, RunFailed
from chain.errors import Refused
from governance.objects.broker_client import BrokerClient
from governance.objects.keys import new_pair
from governance.objects.vault import Bucket
from governance.readmodel import queries as register
from governance.runs import mark
from governance.withdrawal_effects import Effect, Withdrawal, withdrawals_of

SLOW = SECONDS + 0.5  # that the other part takes


@pytest.mark.parametrize(
    ("part", "name"), [(Bucket, "get"), (BrokerClient, "pieces"), (BrokerClient, "wrap_sealed")]
)
def test_a_slow_part_delays_no_withdrawal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, part: Any, name: str
) -> None:
    """The child is dead before the part answers, and gets no key of hers if it had none."""
    CHILDREN.warm()
    who, run, children = rig.subjects[0], rig.request(), Watched()
    worker, answer, died = rig.worker(children=children), getattr(part, name), list[bool]()
    wait = lambda: bool(select.select([children.processes[0][1]], [], [], SLOW)[0])  # noqa: E731

    def slow(*arguments: Any) -> Any:
        if not died:
            died.append(False)
            rig.world.revoke(who)
            died[0] = wait()
        return answer(*arguments)

    monkeypatch.setattr(part, name, slow)
    assert worker.step()
    assert wait()
    assert died == [True]
    steps = [step.step for step in register.progress_of(worker.engine, run.hex())]
    assert ("decrypted" in steps) == (name == "wrap_sealed")
    for _, process in children.processes:
        os.close(process)


def withdrawal_of(engine: Any, subject: bytes) -> tuple[Withdrawal, tuple[Effect, ...]]:
    (change,) = withdrawals_of(engine, subject.hex(), register.newest_step(engine)["count"])
    return change, change.effects


def test_a_run_that_failed_is_over_for_everybody_in_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state on the ledger stays `authorised`; nobody is told that it goes on, and a withdrawal
    finds it ended.
    """
    CHILDREN.warm()
    run, worker, who = rig.request(), rig.worker(), rig.subjects[0]

    def fails(*_: Any) -> Any:
        raise RunFailed("a named site is not among the variants")

    monkeypatch.setattr(Attempt, "_follow", fails)
    assert worker.step()
    assert register.find_run(worker.engine, run.hex()).state == "authorised"
    assert [access.state for access in register.accesses_of(worker.engine, who.hex())] == ["ended"]
    receipt = rig.world.revoke(who)
    mark(worker.engine, f"mined:{receipt.tx.hex()}")
    worker.projection.sync()
    change, (effect,) = withdrawal_of(worker.engine, who)
    assert (change.settled, effect.state, effect.stopped) == (True, "failed", 0.0)
    assert "was stopped; what it had computed is gone" in effect.sentence


@pytest.mark.parametrize("error", [LookupError("a fault"), KeyboardInterrupt()])
def test_however_an_attempt_ends_its_end_is_known(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    CHILDREN.warm()
    rig.request()
    worker, who = rig.worker(), rig.subjects[0]

    def stops(*_: Any) -> Any:
        receipt = rig.world.revoke(who)
        mark(worker.engine, f"mined:{receipt.tx.hex()}")
        raise error

    monkeypatch.setattr(Attempt, "_follow", stops)
    with pytest.raises(type(error)):
        worker.step()
    worker.projection.sync()
    change, (effect,) = withdrawal_of(worker.engine, who)
    assert change.settled
    assert effect.stopped is not None
    assert 0 <= effect.stopped <= allowed(SECONDS)


def test_an_attempt_of_another_worker_is_not_said_to_be_stopped(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours ended when another one overtook it; hers, in which she is, goes on for all that we know."""
    CHILDREN.warm()
    who = rig.subjects[0]
    with playing(rig) as scene:
        process = scene.wait_until_it_computes()
        monkeypatch.setattr("api.worker.supervisor.take_next", lambda *_: None)
        rig.authorise(scene.run, new_pair()[1], attempt=2)
        assert select.select([process], [], [], SECONDS)[0]
        time.sleep(0.3)
        receipt = rig.world.revoke(who)
        mark(scene.worker.engine, f"mined:{receipt.tx.hex()}")
        scene.worker.projection.sync()
        change, (effect,) = withdrawal_of(scene.worker.engine, who)
        assert (effect.use.attempt, effect.use.was, effect.stopped, change.settled) == (
            2,
            "computing",
            None,
            False,
        )


def test_a_refused_worker_does_not_hide_the_run(rig: Rig) -> None:
    """Reason 38 is that worker's own fault: another one took the run, and she was in it."""
    who, run, projection = rig.subjects[0], rig.request(), rig.projection()
    rig.authorise(run, new_pair()[1], codeHash=b"\1" * 32)

    def authorise(attempt: int) -> None:
        rig.authorise(run, new_pair()[1], attempt=attempt)

    try:
        authorise(1)
    except Refused:
        authorise(2)
    rig.world.revoke(who)
    projection.sync()
    change, (effect,) = withdrawal_of(projection._engine, who)
    assert (effect.use.was, change.settled) == ("computing", False)
