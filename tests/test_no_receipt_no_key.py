"""No receipt, no key: the broker releases a key only for a mined, still valid receipt of that
access.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rig import Rig

from api.demo import counts
from api.demo.stage import CATEGORIES, DAY, World, random32
from api.operate.bootstrap import FOREVER
from chain.devnode.process import DevChain
from chain.wallets import Wallet
from governance.broker.custody import Broker, Refusal, read_noise_root
from governance.errors import BrokerRefused, BrokerUnavailable, LedgerBehind
from governance.objects.broker_client import BrokerAnswer, BrokerClient
from governance.objects.envelope import (
    Header,
    Label,
    WrapItem,
    decode_pieces,
    decode_run_keys,
    join_shares,
    key_commitment,
    open_message,
    read_header,
    split_key,
)
from governance.objects.ingest import Source, encrypt
from governance.objects.keys import new_pair, noise_key
from governance.objects.leaves import leaves_root
from governance.objects.vault import open_record
from governance.readmodel import queries as register
from governance.rules.encoding import Malformed


@pytest.fixture
def rig_people() -> int:
    """Enough where nothing is trained."""
    return 6


@dataclass
class Question:
    """What a worker asks the broker; a test changes one thing of it."""

    rig: Rig
    run: bytes = b""
    attempt: int = 1
    tx: bytes = b""
    worker_key: bytes = b""
    private: Any = None
    headers: list[Any] = field(default_factory=list)
    asker: Wallet | None = None  # the worker, unless a test says otherwise

    def ask(self) -> BrokerAnswer:
        return self.rig.client.pieces(
            self.run,
            self.attempt,
            self.tx,
            self.worker_key,
            self.headers,
            self.asker or self.rig.world.people["wanda"],
        )


def keys_of(question: Question) -> tuple[bytes, bytes]:
    """(the dataset's noise key, the encoded pieces) that the broker answers with."""
    answer = question.ask()
    return decode_run_keys(open_message(question.private, answer.info, answer.sealed))


def authorised(rig: Rig, permit: bytes | None = None, **change: Any) -> Question:
    """An honest question: an authorised attempt and every record of everybody in it."""
    private, public = new_pair()
    run = rig.request(permit)
    receipt = rig.authorise(run, public, **change)
    return Question(rig, run, 1, receipt.tx, public, private, rig.headers())


def newest(rig: Rig, question: Question) -> Question:
    """The same run's next attempt."""
    private, public = new_pair()
    receipt = rig.authorise(question.run, public, attempt=question.attempt + 1)
    return Question(
        rig, question.run, question.attempt + 1, receipt.tx, public, private, question.headers
    )


def test_an_honest_question_opens_every_record(rig: Rig) -> None:
    question = authorised(rig)
    pieces = decode_pieces(keys_of(question)[1], rig.client.address)
    for leaf, header in zip(rig.leaves, question.headers, strict=True):
        shares = [
            piece.share
            for piece in sorted(pieces, key=lambda p: p.j)
            if piece.record == leaf.record
        ]
        blob = rig.bucket.get(f"o/{leaf.ciphertext.hex()}")
        assert open_record(blob, leaf.ciphertext, header.label, shares).startswith(b"{")
    assert len(rig.journal()) == 1


def test_every_run_on_a_dataset_gets_the_same_noise_key_also_after_a_restart(rig: Rig) -> None:
    first, second = (keys_of(authorised(rig))[0] for _ in range(2))
    assert first == second
    root = read_noise_root(rig.folder / "broker")
    assert first == noise_key(root, rig.world.dataset) != noise_key(root, random32())
    Broker(rig.folder / "broker", "http://127.0.0.1:1", dict(rig.world.ledger.identity), int)
    assert read_noise_root(rig.folder / "broker") == root
    assert first.hex() not in str(rig.journal())


def test_the_same_question_again_is_the_same_answer_and_one_line(rig: Rig) -> None:
    question = authorised(rig)
    assert question.ask().sealed == question.ask().sealed
    assert len(rig.journal()) == 1


def forged(question: Question) -> None:
    question.tx = random32()


def foreign(question: Question) -> None:
    question.tx = authorised(question.rig).tx


def older_attempt(question: Question) -> None:
    newest(question.rig, question)


def other_worker(question: Question) -> None:
    question.worker_key = new_pair()[1]


def asked_by_a_stranger(question: Question) -> None:
    question.asker = Wallet.new()


def unregistered(question: Question) -> None:
    """Encrypted and in the bucket, but no ledger entry names it."""
    rig = question.rig
    subject = rig.subjects[0]
    (leaf,) = encrypt(
        [Source(subject, 2, b"{}", ordinal=7)],
        rig.world.dataset,
        rig.client_identity,
        rig.client,
        rig.bucket,
    )
    question.headers = rig.headers([leaf])


def older_version(question: Question) -> None:
    rig = question.rig
    first = rig.leaves[0]
    rig.ingest([Source(first.subject, first.category, b"{}")], {first.record: 1})


def not_granted(question: Question) -> None:
    """Somebody who had withdrawn before this attempt."""
    rig = question.rig
    rig.world.revoke(rig.subjects[0])
    after = newest(rig, question)
    question.attempt, question.tx, question.worker_key = after.attempt, after.tx, after.worker_key


def withdrawn(question: Question) -> None:
    question.rig.world.revoke(question.rig.subjects[0])


def withdrawn_and_agreed_again(question: Question) -> None:
    world, subject = question.rig.world, question.rig.subjects[0]
    world.revoke(subject)
    world.grant([subject])


def narrowed(question: Question) -> None:
    world = question.rig.world
    world.grant([question.rig.subjects[0]], categories=CATEGORIES & ~(1 << 2))


def suspend_permit_of(rig: Rig, run: bytes) -> None:
    message = {
        "permit": rig.broker._node.replayed.runs[run].request["permit"],
        "deadline": FOREVER,
    }
    signature = rig.world.by("dora", "Suspend", message)
    rig.world.relay("PermitRegistry", "suspend", "Suspend", message, signature)


def suspended(question: Question) -> None:
    suspend_permit_of(question.rig, question.run)


def cancelled(question: Question) -> None:
    world = question.rig.world
    message = {"run": question.run, "deadline": FOREVER}
    world.relay("AccessLedger", "cancel", "Cancel", message, world.by("noor", "Cancel", message))


def sealed(question: Question) -> None:
    question.rig.world.seal(question.run)


def worker_gone(question: Question) -> None:
    world = question.rig.world
    world.set_role(world.people["wanda"].address, "worker", 0, world.ledger.now())


def test_a_withdrawal_while_the_broker_unwraps(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unwrapping takes a while; what leaves afterwards is judged by the ledger as it is then."""
    question, unwrap = authorised(rig), Broker._unwrap
    first = iter([True])

    def slow(*arguments: Any) -> Any:
        if next(first, False):
            withdrawn(question)
        return unwrap(*arguments)

    monkeypatch.setattr(Broker, "_unwrap", slow)
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "consent-changed"
    assert rig.journal() == []


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (forged, "receipt-unknown"),
        (foreign, "other-run"),
        (older_attempt, "older-attempt"),
        (other_worker, "other-worker"),
        (asked_by_a_stranger, "other-worker"),
        (unregistered, "not-registered"),
        (older_version, "older-version"),
        (not_granted, "not-granted"),
        (withdrawn, "consent-changed"),
        (withdrawn_and_agreed_again, "consent-changed"),
        (narrowed, "consent-changed"),
        (suspended, "permit-suspended"),
        (cancelled, "cancelled"),
        (sealed, "lease-over"),
        (worker_gone, "worker-role"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_one_thing_wrong_and_no_key_leaves(
    rig: Rig, tamper: Callable[[Question], None], reason: str
) -> None:
    question = authorised(rig)
    question.ask()  # the control: until now it is honest
    lines = len(rig.journal())
    tamper(question)
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == reason
    assert len(rig.journal()) == lines


def test_a_lease_that_is_over(rig: Rig) -> None:
    question = authorised(rig, leaseSeconds=2)
    question.ask()
    time.sleep(3.1)
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "lease-over"
    assert len(rig.journal()) == 1


def test_a_category_outside_the_permit(rig: Rig) -> None:
    question = authorised(rig, permit=rig.permit(categories=1 << 6))
    asked = question.headers
    question.headers = [header for header in asked if header.label.category == 6]
    question.ask()
    question.headers = asked
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "category"


def test_a_share_wrapped_for_another_record_does_not_open(rig: Rig) -> None:
    question = authorised(rig)
    first, second = question.headers[:2]
    swapped = type(first)(first.label, second.shares, first.key_commitment)
    question.headers = [swapped]
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "not-registered"
    assert rig.journal() == []


def test_output_pieces_need_a_view_or_the_release(rig: Rig) -> None:
    """A viewer who did not look, and an analyst before the release, get nothing."""
    question = authorised(rig)
    rig.world.seal(question.run)
    header = question.headers[0]
    label = type(header.label)(
        rig.client_identity, question.run, question.run, rig.world.dataset, 255, 1
    )
    output = type(header)(label, header.shares, header.key_commitment)
    viewer = rig.world.people["sol"].address[2:].lower()
    for name, reason in ((viewer, "no-look"), (None, "not-released")):
        asker = rig.world.people["sol" if name else "noor"]
        with pytest.raises(BrokerRefused) as refusal:
            rig.client.output_pieces(
                question.run, 1, question.tx, question.worker_key, output, asker, name
            )
        assert refusal.value.reason.slug == reason
    assert rig.journal() == []


def test_ledger_stopped_means_no_fetch_and_no_key(tmp_path: Path, bucket_process: Any) -> None:
    """Through the worker: the ledger cannot be written, so nothing is read."""
    with DevChain.start(tmp_path / "chain") as chain:
        rig = Rig.build(tmp_path, chain.url, bucket_process, people=3)
        run = rig.request()
        worker = rig.worker()
        worker.projection.sync()
        fetches = rig.fetches()
        chain.stop()
        question = Question(rig, run, 1, random32(), new_pair()[1], None, rig.headers())
        fetches += len(question.headers)  # this test's own reading of public headers
        with pytest.raises(BrokerRefused) as refusal:
            question.ask()
        assert refusal.value.reason.slug == "ledger-down"
        with pytest.raises(Exception, match="ledger does not answer"):
            worker.step()
        assert rig.fetches() == fetches
        assert not (tmp_path / "broker" / "journal.jsonl").read_text()
        rig.close()


def test_a_ledger_restored_from_an_older_copy_gets_no_key(
    tmp_path: Path, bucket_process: Any
) -> None:
    """It is behind a receipt: nobody knows what it lost, a withdrawal perhaps.

    Also after everything is restarted.
    """
    folder = tmp_path / "chain"
    with DevChain.start(folder) as chain:
        rig = Rig.build(tmp_path, chain.url, bucket_process, people=3)
        older = (folder / "journal.jsonl").read_bytes()
        question = authorised(rig)
        worker = rig.worker()
        worker.projection.sync()
        question.ask()
    (folder / "journal.jsonl").write_bytes(older)
    with DevChain.start(folder, chain.port):
        authorised(rig)  # the same steps again: as many blocks, and other ones
        restarted = Broker(
            tmp_path / "broker",
            chain.url,
            dict(rig.world.ledger.identity),
            lambda: int(time.time()),
        )
        for broker in (rig.broker, restarted):
            with pytest.raises(Refusal) as refusal:
                broker.witness()
            assert refusal.value.reason == 71
        with pytest.raises(BrokerRefused, match="lost a block") as refused:
            question.ask()
        assert refused.value.reason.slug == "ledger-behind"
        for projection in (worker.projection, rig.projection()):
            with pytest.raises(LedgerBehind, match="lost blocks"):
                projection.sync()
    assert len(rig.journal()) == 1
    rig.close()


def test_another_ledger_behind_the_same_address(
    rig: Rig, devchain: DevChain, tmp_path: Path
) -> None:
    """A broker pinned to one deployment refuses a node that shows another chain."""
    with DevChain.start(tmp_path / "other") as other:
        broker = Broker(
            tmp_path / "second",
            other.url,
            dict(rig.world.ledger.identity),
            lambda: int(time.time()),
        )
        with pytest.raises(Refusal) as refusal:
            broker.witness()
        assert refusal.value.reason == 65


def test_journal_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the line cannot be written, no answer leaves."""
    question = authorised(rig)

    def full_disk(_entry: dict[str, Any]) -> int:
        raise OSError("no space")

    monkeypatch.setattr(rig.broker._journal, "append", full_disk)
    with pytest.raises(BrokerUnavailable):
        question.ask()
    monkeypatch.undo()
    question.ask()
    assert len(rig.journal()) == 1


def test_journal_first_removed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line written after the answer, a crash in between lets keys out that nobody can
    count.
    """
    question = authorised(rig)
    monkeypatch.setattr(
        rig.broker._journal, "append", lambda _entry: 0
    )  # the process dies before it is written
    assert question.ask().sealed
    assert counted("keys", str(rig.folder / "broker" / "journal.jsonl")) == {}


@pytest.mark.parametrize("rig_people", [24])
def test_keys_and_accesses_counted_by_programs_that_are_not_ours(rig: Rig) -> None:
    """Released is within granted at every moment, and equal for an attempt that was sealed."""
    worker, run = rig.worker(), rig.request()
    refused_by_broker = authorised(rig)
    worker.projection.sync()
    while register.find_run(worker.engine, run.hex()).state != "sealed":
        worker.step()
    keys = counted("keys", str(rig.folder / "broker" / "journal.jsonl"))
    identity = rig.world.ledger.identity
    logged = counted(
        "logged",
        rig.url,
        rig.world.ledger.domain.contracts["AccessLedger"],
        str(identity["deployBlock"]),
    )
    assert (
        keys[f"{run.hex()}:1"]
        == logged[f"{run.hex()}:1"]
        == {subject.hex() for subject in rig.subjects}
    )
    assert all(subjects <= logged[name] for name, subjects in keys.items())
    assert f"{refused_by_broker.run.hex()}:1" in logged
    assert f"{refused_by_broker.run.hex()}:1" not in keys


def counted(*arguments: str) -> dict[str, set[str]]:
    """The demo's counting script, run without any of our packages in reach."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", counts.__file__, *arguments], capture_output=True, check=True
    )
    return {name: set(subjects) for name, subjects in json.loads(done.stdout).items()}


def test_a_signature_by_another_broker_is_not_believed(
    rig: Rig, tmp_path: Path, devchain: DevChain
) -> None:
    other = Broker(
        tmp_path / "second",
        devchain.url,
        dict(rig.world.ledger.identity),
        lambda: int(time.time()),
    )
    question = authorised(rig)
    question.ask()
    rig.endpoint.broker = other  # the address stays, the broker behind it is another
    with pytest.raises((BrokerUnavailable, BrokerRefused)):
        question.ask()


def test_a_worlds_broker_reads_only_its_own_contracts(rig: Rig, devchain: DevChain) -> None:
    """Two deployments on one chain: the other one's steps are not this trail's."""
    before = rig.client.witness()["count"]
    World.create(devchain.url)
    assert rig.client.witness()["count"] == before
    assert (
        read_header(rig.bucket.get(f"o/{rig.leaves[0].ciphertext.hex()}")).label.identity
        == rig.client_identity
    )


def test_a_question_without_each_share_is_no_question(rig: Rig) -> None:
    """An empty question would be answered with nothing, and written down as if keys had left."""
    question = authorised(rig)
    first = question.headers[0]
    for shares in ((), first.shares[:2], (*first.shares, first.shares[0])):
        body = {
            "run": question.run.hex(),
            "attempt": 1,
            "tx": question.tx.hex(),
            "workerKey": question.worker_key.hex(),
            "records": [
                {
                    "record": first.label.record.hex(),
                    "version": 1,
                    "shares": [{"j": s.j, "wrapped": s.wrapped.hex()} for s in shares],
                }
            ],
        }
        with pytest.raises(Malformed):
            rig.broker.pieces(rig.client._signed(body, rig.world.people["wanda"]))
    assert rig.journal() == []
    question.ask()


def test_nobody_wraps_for_a_stranger(rig: Rig) -> None:
    item = WrapItem(random32(), rig.world.dataset, random32(), 1, 0, random32())
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.wrap([item])
    assert refusal.value.reason.slug == "not-enrolled"


def viewed(rig: Rig) -> list[Any]:
    """A sealed output that Sol has viewed; the arguments of his request."""
    question = authorised(rig)
    world, run, key = rig.world, question.run, random32()
    world.seal(run, keyCommitment=key_commitment(key))
    review = {"run": run, "attempt": 1, "viewerKey": question.worker_key, "deadline": FOREVER}
    world.relay("AccessLedger", "viewOutput", "Review", review, world.by("sol", "Review", review))
    label = type(question.headers[0].label)(rig.client_identity, run, run, world.dataset, 255, 1)
    items = [
        WrapItem(run, world.dataset, run, 1, j, share) for j, share in enumerate(split_key(key))
    ]
    output = type(question.headers[0])(label, tuple(rig.client.wrap(items)), key_commitment(key))
    sol = rig.world.people["sol"]
    return [run, 1, question.tx, question.worker_key, output, sol, sol.address[2:].lower()]


def dismiss_analyst(rig: Rig, run: bytes) -> None:
    world = rig.world
    world.set_role(world.people["noor"].address, "analyst", end=world.ledger.now())


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("consent-changed", lambda rig, run: rig.world.revoke(rig.subjects[0])),
        ("permit-suspended", suspend_permit_of),
        ("analyst-role", dismiss_analyst),
    ],
)
def test_a_view_of_an_output_that_cannot_be_released_any_more(
    rig: Rig, reason: str, change: Callable[[Rig, bytes], object]
) -> None:
    """She left after it was sealed, or the committee stopped it: the look is recorded, but its key
    stays.
    """
    ask = viewed(rig)
    rig.client.output_pieces(*ask)
    stranger = [*ask[:5], Wallet.new(), ask[6]]
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.output_pieces(*stranger)
    assert refusal.value.reason.slug == "no-look"
    change(rig, ask[0])
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.output_pieces(*ask)
    assert refusal.value.reason.slug == reason


def test_a_view_of_an_attempt_that_another_has_followed(rig: Rig) -> None:
    ask = viewed(rig)
    rig.client.output_pieces(*ask)
    rig.authorise(ask[0], new_pair()[1], attempt=2)
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.output_pieces(*ask)
    assert refusal.value.reason.slug == "older-attempt"


def test_a_view_under_a_permit_that_has_expired(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = viewed(rig)
    rig.client.output_pieces(*ask)
    permit = rig.broker._node.replayed.runs[ask[0]].request["permit"]
    expiry = rig.broker._node.replayed.permits[permit].request["expiry"]
    monkeypatch.setattr(rig.broker, "_still_willing", lambda *_: True)
    monkeypatch.setattr(rig.broker._node.replayed, "member_live", lambda *_: True)
    monkeypatch.setattr(rig.broker, "_clock", lambda: expiry)
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.output_pieces(*ask)
    assert refusal.value.reason.slug == "permit-expired"


def test_a_view_after_the_last_day_of_a_consent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consent that ends by its date keeps its epoch."""
    last_day = rig.world.ledger.now() // DAY + 2
    rig.world.grant(rig.subjects[:1], untilDay=last_day)
    ask = viewed(rig)
    rig.client.output_pieces(*ask)
    monkeypatch.setattr(rig.broker, "_clock", lambda: (last_day + 1) * DAY)
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.output_pieces(*ask)
    assert refusal.value.reason.slug == "consent-changed"


def test_a_dismissed_checker_gets_no_key(rig: Rig) -> None:
    ask, world = viewed(rig), rig.world
    rig.client.output_pieces(*ask)
    world.set_role(world.people["sol"].address, "checker", end=world.ledger.now())
    with pytest.raises(BrokerRefused) as refusal:
        rig.client.output_pieces(*ask)
    assert refusal.value.reason.slug == "no-look"


def test_a_request_without_records_or_with_one_twice_is_refused(rig: Rig) -> None:
    question = authorised(rig)
    for headers in ([], [question.headers[0]] * 2):
        question.headers = headers
        with pytest.raises(BrokerUnavailable, match="records are missing or named twice"):
            question.ask()
    assert rig.journal() == []


def test_a_role_that_ends_while_no_block_is_mined(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest block's time stands still where nobody calls; the broker reads its own clock too."""
    world = rig.world
    ends = world.ledger.now() + 600
    world.set_role(world.people["noor"].address, "analyst", end=ends)
    question = authorised(rig)
    assert question.ask().sealed
    monkeypatch.setattr(rig.broker, "_clock", lambda: ends)
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "analyst-role"


class Released:
    """A run released to Noor, with an output whose key the broker wrapped."""

    def __init__(self, rig: Rig) -> None:
        world, self.rig, self.key = rig.world, rig, random32()
        self.private, self.public = new_pair()
        run = self.run = rig.request(result_key=self.public)
        rig.authorise(run, new_pair()[1])
        items = [
            WrapItem(run, world.dataset, run, 1, j, share)
            for j, share in enumerate(split_key(self.key))
        ]
        label = Label(rig.client_identity, run, run, world.dataset, 255, 1)
        shares = tuple(rig.client.wrap(items))
        self.output = Header(label, shares, key_commitment(self.key))
        seal = world.seal(run, keyCommitment=key_commitment(self.key))
        for name in ("sol", "tess"):
            world.view_output(run, name)
        world.release(run, seal, rig.subjects, [0] * len(rig.subjects))

    def ask(self, asker: Wallet) -> Any:
        tx = self.rig.broker._node.replayed.attempts[self.run, 1].tx
        return self.rig.client.output_pieces(self.run, 1, tx, self.public, self.output, asker)


def test_only_the_analyst_gets_the_released_output(rig: Rig) -> None:
    """The question for a released output is signed by her who asked for the run. The key of the
    noise is not in the answer: it would take the noise out of the result.
    """
    released = Released(rig)
    with pytest.raises(BrokerRefused) as refusal:
        released.ask(Wallet.new())
    assert refusal.value.reason.slug == "not-released"
    answer = released.ask(rig.world.people["noor"])
    opened = open_message(released.private, answer.info, answer.sealed)
    root = read_noise_root(rig.folder / "broker")
    assert noise_key(root, rig.world.dataset) not in opened
    pieces = decode_pieces(opened, answer.broker)
    shares = [piece.share for piece in sorted(pieces, key=lambda p: p.j)]
    assert join_shares(shares) == released.key


def test_a_dismissed_analyst_gets_no_key(rig: Rig) -> None:
    """Also of a result that was released to her before."""
    released, world = Released(rig), rig.world
    noor = world.people["noor"]
    released.ask(noor)
    world.set_role(noor.address, "analyst", end=world.ledger.now())
    lines = len(rig.journal())
    with pytest.raises(BrokerRefused) as refusal:
        released.ask(noor)
    assert refusal.value.reason.slug == "analyst-role"
    assert len(rig.journal()) == lines


def test_a_result_of_a_suspended_permit_stays_shut(rig: Rig) -> None:
    released, noor = Released(rig), rig.world.people["noor"]
    released.ask(noor)
    suspend_permit_of(rig, released.run)
    with pytest.raises(BrokerRefused) as refusal:
        released.ask(noor)
    assert refusal.value.reason.slug == "permit-suspended"


def test_no_key_leaves_for_a_registration_that_was_taken_back(rig: Rig) -> None:
    """What it registered exists no more, and what stood there before counts again."""
    world, before = rig.world, list(rig.leaves)
    older = authorised(rig)
    subject = before[0].subject
    source = next(leaf for leaf in before if leaf.subject == subject)
    rig.ingest(
        [Source(subject, source.category, b"another record")], {source.record: source.version}
    )
    with pytest.raises(BrokerRefused) as refusal:
        older.ask()
    assert refusal.value.reason.slug == "older-version"
    ingest = list(rig.broker._node.replayed.ingests)[-1]
    world.void_records(ingest)
    rig.leaves = before
    assert newest(rig, older).ask().sealed


def test_a_list_that_was_never_handed_over_blocks_until_it_is_taken_back(rig: Rig) -> None:
    question = authorised(rig)
    ingest = rig.world.register_records()
    with pytest.raises(BrokerRefused) as refusal:
        question.ask()
    assert refusal.value.reason.slug == "older-version"
    rig.world.void_records(ingest, by=("pia", "quinn"))
    assert newest(rig, question).ask().sealed


def test_a_custodian_cannot_void_anothers_records(rig: Rig) -> None:
    """A record of the same id in another dataset, at a higher version: the first one's run goes on."""
    world = rig.world
    other = random32()
    world.register_dataset(other)
    leaf = rig.leaves[0]
    stolen = type(leaf)(leaf.record, leaf.subject, leaf.category, 999, random32(), random32())
    ingest = random32()
    root = leaves_root(ingest, other, [stolen])
    world.register_records(ingest=ingest, dataset=other, leavesRoot=root, count=1)
    rig.client.hand_over(ingest, [stolen.to_json()])
    assert authorised(rig).ask().sealed
    assert len(rig.journal()) == 1


def test_a_list_that_is_not_the_roots_is_not_kept(rig: Rig) -> None:
    leaf = rig.leaves[0]
    ingest = next(iter(rig.broker._node.replayed.ingests))
    with pytest.raises(BrokerUnavailable, match="root"):
        rig.client.hand_over(ingest, [leaf.to_json()])


def test_an_outage_costs_no_attempt(rig: Rig) -> None:
    """Broker or bucket away: nothing is put on the ledger that could not be followed by a reading."""
    run, worker = rig.request(), rig.worker()
    worker.projection.sync()
    worker.broker = BrokerClient("http://127.0.0.1:9", rig.world.ledger.domain, rig.client_identity)
    with pytest.raises(BrokerUnavailable):
        worker.step()
    assert worker.projection.replayed.newest_attempt(run) == 0


@pytest.mark.parametrize("rig_people", [24])
def test_odd_parameters_on_the_ledger_stop_nobody_else(rig: Rig) -> None:
    """Any bytes with the right hash may be signed: they fail their own run only."""
    odd, even = rig.request(params=b"\xff\xfe"), rig.request()
    worker = rig.worker()
    worker.projection.sync()
    for _ in range(4):
        worker.step()
    assert register.failure_of(worker.engine, odd.hex())
    assert register.find_run(worker.engine, even.hex()).state == "sealed"
